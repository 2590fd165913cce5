"""A storage SCP in this process with a folder of its own, and storage clients that say to it whatever a test wants.

``Sender`` speaks in messages, over movescu's own layers; ``Raw`` in bytes. Data sets are made here byte by byte.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any, Self

import invariants
from encoded import el
from wire import WAIT, read_pdu

from movescu.dictionary.uids import DEFLATED_LITTLE, EXPLICIT_LITTLE, VERIFICATION
from movescu.dimse.exchange import Exchange
from movescu.dimse.messages import CStoreRQ, CStoreRSP, Message, decode_command, encode_command
from movescu.services.store import Received, StorageSCP
from movescu.storage.options import StorageOptions
from movescu.storage.receiver import receiver_factory
from movescu.storage.writer import OutputDirectory
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Deadline
from movescu.transport.listener import Listener
from movescu.transport.sockets import connect, listen
from movescu.ul.negotiation import AcceptorPolicy, propose, user_information
from movescu.ul.pdu import (
    PDU,
    AssociateRQ,
    PDataTF,
    PDUType,
    PresentationDataValue,
    ProposedContext,
    ReleaseRQ,
    decode_pdu,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from movescu.dictionary.uids import TransferSyntax
    from movescu.storage.incoming_object import Incoming

HOST = "127.0.0.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"

COMMAND, LAST = 1, 2
"""Bits of the message control header (PS3.8 E.2)."""


def uid(value: str) -> bytes:
    """Pad a UID."""
    data = value.encode("latin-1")
    return data + b"\0" * (len(data) & 1)


def data_set(class_uid: str = CT, instance_uid: str = "1.2.3", rest: bytes = b"") -> bytes:
    """Make a small object, explicit VR little endian; ``rest`` is what stands behind its UIDs."""
    own = el(0x00080016, "UI", uid(class_uid)) + el(0x00080018, "UI", uid(instance_uid))
    return own + (rest or el(0x00100010, "PN", b"Doe^Jane"))


def store_command(**elements: bytes | None) -> bytes:
    """Make the command set of a C-STORE request, element by element: ``e0002=None`` leaves one out, bytes replace it.

    Elements stand by their number in group 0000. The group length is right unless it is given.
    """
    own: dict[int, bytes] = {
        0x0002: uid(CT),
        0x0100: struct.pack("<H", 0x0001),
        0x0110: struct.pack("<H", 7),
        0x0700: struct.pack("<H", 0),
        0x0800: struct.pack("<H", 1),
        0x1000: uid("1.2.3"),
    }
    given = {int(name[1:], 16): value for name, value in elements.items()}
    values = {number: value for number, value in (own | given).items() if value is not None and number}
    body = b"".join(el(number, None, values[number]) for number in sorted(values))
    return el(0, None, given.get(0) or struct.pack("<I", len(body))) + body


def pdv(context_id: int, control: int, data: bytes) -> bytes:
    """Encode a P-DATA-TF with one fragment."""
    return PDataTF((PresentationDataValue(context_id, control, data),)).encode()


def store_message(data: bytes, context_id: int = 1, **elements: bytes | None) -> bytes:
    """Encode a whole C-STORE request with its data set."""
    return pdv(context_id, COMMAND | LAST, store_command(**elements)) + pdv(context_id, LAST, data)


def association_request(
    classes: Sequence[str] = (CT, MR, VERIFICATION),
    syntaxes: Iterable[TransferSyntax] = (EXPLICIT_LITTLE,),
    calling: str = "SENDER",
) -> AssociateRQ:
    """Propose these classes on contexts 1, 3, 5 and so on."""
    return AssociateRQ("ANY", calling, propose(classes, syntaxes), user_information(0))


class Raw:
    """The bytes of a connection; a context manager."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), WAIT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        self.socket.sendall(data)

    def send_ignoring_the_end(self, data: bytes) -> None:
        """Send bytes to a peer that may have had enough."""
        try:
            self.socket.sendall(data)
        except OSError:
            return

    def associate(self, request: AssociateRQ | None = None) -> None:
        """Have an association accepted."""
        self.send((request or association_request()).encode())
        assert read_pdu(self.socket)[:1] == bytes((PDUType.ASSOCIATE_AC,))

    def reply(self) -> PDU | None:
        """Give the next PDU, None for the end of the connection."""
        try:
            pdu = read_pdu(self.socket)
        except ConnectionResetError:
            return None
        return decode_pdu(pdu[0], pdu[6:]) if pdu else None

    def status(self) -> int:
        """Give the status of the C-STORE response that comes next."""
        pdu = self.reply()
        assert isinstance(pdu, PDataTF), pdu
        message = decode_command(bytes(pdu.values[0].data))
        assert isinstance(message, CStoreRSP), message
        invariants.heard(message)
        return message.status

    def rest(self) -> list[PDU]:
        """Give every PDU up to the end of the connection."""
        pdus = []
        while (pdu := self.reply()) is not None:
            pdus.append(pdu)
        return pdus

    def reset(self) -> None:
        """End the connection by a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def release(self) -> None:
        """Release the association."""
        self.send(ReleaseRQ().encode())
        assert read_pdu(self.socket)[:1] == bytes((PDUType.RELEASE_RP,))


class Sender:
    """A storage SCU that says whatever a test wants it to."""

    def __init__(self, port: int, request: AssociateRQ | None = None) -> None:
        self.connection = Connection.request(connect(HOST, port, WAIT), request or association_request(), WAIT)
        self.exchange = Exchange(self.connection)
        self.deadline = Deadline(WAIT, "the answer")

    def ask(self, message: Message, data: bytes | None = None, context_id: int = 1) -> Message:
        """Send a message and give the response."""
        self.exchange.send(context_id, message, self.deadline, data)
        return self.exchange.receive_response(self.deadline)[1]

    def store(self, data: bytes, *, instance_uid: str = "1.2.3", class_uid: str = CT, context_id: int = 1) -> CStoreRSP:
        """Store an object and give the response."""
        response = self.ask(CStoreRQ(class_uid, 7, instance_uid), data, context_id)
        assert isinstance(response, CStoreRSP)
        assert response.message_id_being_responded_to == 7
        invariants.heard(response)
        return response

    def begin(self, data: bytes, *, instance_uid: str = "1.2.3", context_id: int = 1) -> None:
        """Send a request and all but the last fragment of its data set."""
        self.connection.send(
            [PDataTF((PresentationDataValue(context_id, 3, encode_command(CStoreRQ(CT, 7, instance_uid))),))],
            self.deadline,
        )
        room = 16000
        values = (PresentationDataValue(context_id, 0, data[at : at + room]) for at in range(0, len(data), room))
        self.connection.send([PDataTF((value,)) for value in values], self.deadline)

    def release(self) -> None:
        """Release the association."""
        self.connection.release(self.deadline)


class Station:
    """A storage SCP with a folder, and what it counted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.received: list[Received] = []
        self.broken_off: list[str] = []
        self.listener: Listener | None = None
        self._closers: list[Callable[[], None]] = []

    def listen(
        self,
        *,
        store_timeout: float = WAIT,
        artim: float = WAIT,
        maximum_associations: int = 64,
        syntaxes: tuple[TransferSyntax, ...] = (EXPLICIT_LITTLE, DEFLATED_LITTLE),
        side_by_side: bool = False,
        **options: Any,  # fields of StorageOptions
    ) -> int:
        """Start it with these storage options; gives its port."""
        directory = None if options.get("ignore") else OutputDirectory(str(self.folder))
        policy = AcceptorPolicy(lambda _: True, syntaxes)
        factory = receiver_factory(StorageOptions(str(self.folder), **options), directory)
        scp = StorageSCP(
            policy,
            factory,
            self.received.append,
            on_broken_off=self._note_broken_off,
            side_by_side=side_by_side,
            store_timeout=store_timeout,
        )
        listener = self.listener = Listener(
            listen(HOST, 0), scp.serve, artim_timeout=artim, maximum_associations=maximum_associations
        )
        self._closers += [listener.close, *([directory.close] if directory else [])]
        return listener.port

    def _note_broken_off(self, incoming: Incoming) -> None:
        self.broken_off.append(incoming.request.affected_sop_instance_uid)

    def open(self, **options: Any) -> Sender:
        """Start it with these storage options, and open an association to it. ``syntaxes``: that it is in."""
        syntaxes = options.pop("syntaxes", (EXPLICIT_LITTLE,))
        port = self.listen(syntaxes=syntaxes, **options)
        sender = Sender(port, association_request(syntaxes=syntaxes))
        self._closers.insert(0, sender.connection.abort)
        return sender

    def raw(self, **options: Any) -> Raw:
        """Start it with these storage options, and give the bytes of an association to it."""
        raw = Raw(self.listen(**options))
        raw.associate()
        return raw

    def still_serves(self) -> None:
        """Assert that a sound sender stores an object."""
        assert self.listener is not None
        sender = Sender(self.listener.port)
        assert sender.store(data_set(instance_uid="1.2.77"), instance_uid="1.2.77").status == 0
        sender.release()

    def wait_until_idle(self) -> None:
        """Wait until no association and no other connection is open."""
        assert self.listener is not None
        listener = self.listener
        with listener.changed:
            assert listener.changed.wait_for(lambda: not listener.open_associations and not listener.unassociated, WAIT)

    def close(self) -> None:
        """Stop it."""
        while self._closers:
            self._closers.pop(0)()

    @property
    def files(self) -> list[str]:
        """The names of all files in the folder, sorted."""
        return sorted(path.name for path in self.folder.iterdir() if path.suffix != ".lock")


def contexts(*pairs: tuple[int, str, str]) -> tuple[ProposedContext, ...]:
    """Propose contexts by ID, abstract syntax and transfer syntax, sound or not."""
    return tuple(ProposedContext(context_id, abstract, (syntax,)) for context_id, abstract, syntax in pairs)
