"""An archive that does what a test tells it, step by step: also what no real server can be brought to do.

``archive`` runs a script, a function of a ``Session``, against the first association that it is asked for; ``sender``
is the other half of an archive, a storage client. Both stand on movescu's own layers, which the real servers of
``peers`` check: what is scripted here is the order of messages, and the end of connections.

A script's errors come out of the ``with`` block. Every wait in it ends after ``PATIENCE``.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import invariants

from movescu._runtime.record import replace
from movescu.dataset.file_meta import decode_file_meta
from movescu.dataset.transcoder import values_of
from movescu.dictionary.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from movescu.dimse.exchange import Exchange
from movescu.dimse.messages import (
    DATA_SET_PRESENT,
    NO_DATA_SET,
    CCancelRQ,
    CEchoRQ,
    CEchoRSP,
    CFindRQ,
    CFindRSP,
    CGetRQ,
    CGetRSP,
    CMoveRQ,
    CMoveRSP,
    CStoreRQ,
    CStoreRSP,
    Message,
)
from movescu.dimse.status import PENDING, SUCCESS
from movescu.testing.query import encode_identifier
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Deadline
from movescu.transport.sockets import Transport, connect
from movescu.ul.association import Association
from movescu.ul.indications import AbortIndication, ProviderAbortIndication, ReleaseIndication
from movescu.ul.negotiation import AcceptorPolicy, answer, propose, user_information
from movescu.ul.pdu import AssociateAC, AssociateRJ, AssociateRQ, PDataTF, PresentationDataValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from corpus import Instance

    Script = Callable[["Session"], None]

HOST = "127.0.0.1"
PATIENCE = 30.0


def soon() -> Deadline:
    """Give a deadline that is reached only if something hangs."""
    return Deadline(PATIENCE, "a scripted peer waited for the program under test")


class Session:
    """The archive's side of one association: each method is one step."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.connection = Connection(Transport(sock, "the program under test"), Association())
        self._message_id = 0
        self._context_id = 0
        self._move_class = ""
        self._response: type[CMoveRSP | CGetRSP] = CMoveRSP
        self.identifier = b""
        """The data set of the C-MOVE request last read."""

    def read_request(self) -> AssociateRQ:
        """Wait for the A-ASSOCIATE-RQ and leave it unanswered."""
        return self.connection.receive_request(PATIENCE)

    def accept(
        self, abstract_syntaxes: Callable[[str], bool] = lambda _: True, *, maximum_length: int = 16384
    ) -> AssociateRQ:
        """Accept the association, with the contexts of these abstract syntaxes."""
        request = self.read_request()
        policy = AcceptorPolicy(abstract_syntaxes, (EXPLICIT_LITTLE, IMPLICIT_LITTLE), maximum_length)
        self.connection.accept(request, answer(request, policy), soon())
        self._exchange = Exchange(self.connection)
        return request

    def accept_with(self, request: AssociateRQ, **said: Any) -> None:  # fields of UserInformation
        """Accept a request that was read, and say this in the user information."""
        reply = answer(request, AcceptorPolicy(lambda _: True, (EXPLICIT_LITTLE, IMPLICIT_LITTLE)))
        self.accept_as(request, replace(reply, user_information=replace(reply.user_information, **said)))

    def accept_as(self, request: AssociateRQ, reply: AssociateAC) -> None:
        """Accept a request that was read, with an answer that need not fit it."""
        self.connection.accept(request, reply, soon())
        self._exchange = Exchange(self.connection)

    def reject(self, result: int, source: int, reason: int) -> None:
        """Reject the association."""
        self.read_request()
        self.connection.reject(AssociateRJ(result, source, reason))

    def expect_move(self) -> CMoveRQ:
        """Wait for a C-MOVE request, with its identifier."""
        context_id, message = self._receive()
        assert isinstance(message, CMoveRQ), message
        self._context_id, self._message_id = context_id, message.message_id
        self._move_class = message.affected_sop_class_uid
        self.identifier = b"".join(bytes(part) for part in self._exchange.data_set(soon()))
        return message

    def expect_request(self) -> None:
        """Wait for a C-MOVE or C-GET request, with its identifier."""
        self._context_id, message = self._receive()
        assert isinstance(message, CMoveRQ | CGetRQ), message
        self._message_id, self._move_class = message.message_id, message.affected_sop_class_uid
        self._response = CGetRSP if isinstance(message, CGetRQ) else CMoveRSP
        self.identifier = b"".join(bytes(part) for part in self._exchange.data_set(soon()))

    def expect_get(self, *told: Mapping[int, str]) -> CGetRQ:
        """Wait for a C-GET request, with its identifier; ``sender`` sends over its association.

        ``told``: values by tag, which answer each C-FIND request before it.
        """
        while True:
            self._context_id, message = self._receive()
            self.identifier = b"".join(bytes(part) for part in self._exchange.data_set(soon()))
            if not (told and isinstance(message, CFindRQ)):
                break
            self._send_matches(message, told, SUCCESS)
        assert isinstance(message, CGetRQ), message
        self._message_id = message.message_id
        self._move_class, self._response = message.affected_sop_class_uid, CGetRSP
        return message

    @property
    def sender(self) -> Sender:
        """A storage client over this association, for C-GET."""
        return Sender(self.connection)

    def serve_finds(self, listed: Sequence[Instance], counts: Mapping[str, int] | None = None) -> CMoveRQ | None:
        """Answer C-FIND requests about objects until the C-MOVE request, or until the release, which is confirmed.

        ``counts``: numbers of objects by UID of the study or series, returned beside the matches.
        """
        while (received := self._exchange.receive(soon())) is not None:
            self._context_id, request = received
            self.identifier = b"".join(bytes(part) for part in self._exchange.data_set(soon()))
            if isinstance(request, CMoveRQ):
                self._message_id, self._move_class = request.message_id, request.affected_sop_class_uid
                return request
            assert isinstance(request, CFindRQ), request
            keys = values_of(self.identifier, self.connection.contexts[self._context_id].transfer_syntax)
            texts = {tag: value.decode("latin-1").strip("\0 ") for tag, value in keys.items()}
            self._send_matches(request, _matches(texts, listed, counts or {}), SUCCESS)
        self.connection.confirm_release(soon())
        return None

    def answer_find(self, *matches: Mapping[int, str], status: int = SUCCESS, pending: int = PENDING) -> None:
        """Wait for a C-FIND request and answer it with these values by tag; ``status`` is the final one."""
        context_id, request = self._receive()
        assert isinstance(request, CFindRQ), request
        self._context_id = context_id
        self.identifier = b"".join(bytes(part) for part in self._exchange.data_set(soon()))
        self._send_matches(request, matches, status, pending)

    def _send_matches(
        self, request: CFindRQ, matches: Iterable[Mapping[int, str]], status: int, pending: int = PENDING
    ) -> None:
        context_id = self._context_id
        syntax = self.connection.contexts[context_id].transfer_syntax
        for match in matches:
            values = {tag: value.encode() + b" " * (len(value) & 1) for tag, value in match.items()}
            response = CFindRSP(request.message_id, pending, command_data_set_type=DATA_SET_PRESENT)
            self._exchange.send(context_id, response, soon(), encode_identifier(values, syntax))
        self._exchange.send(context_id, CFindRSP(request.message_id, status), soon())

    def answer_echo(self) -> None:
        """Answer a C-ECHO request."""
        received = self._exchange.receive(soon())
        assert received is not None
        self._context_id, request = received
        assert isinstance(request, CEchoRQ), request
        self.send(CEchoRSP(request.message_id, SUCCESS, request.affected_sop_class_uid))

    def expect_cancel(self) -> tuple[int, CCancelRQ]:
        """Wait for a C-CANCEL request; gives its presentation context too."""
        context_id, message = self._receive()
        assert isinstance(message, CCancelRQ), message
        return context_id, message

    def pending(self, completed: int = 0) -> None:
        """Send a pending response."""
        self.respond(PENDING, completed=completed, remaining=1)

    def respond(
        self,
        status: int = SUCCESS,
        *,
        completed: int | None = None,
        remaining: int | None = None,
        failed: int | None = None,
        failed_uids: Sequence[str] = (),
        comment: str | None = None,
        message_id: int | None = None,
        announce_data_set: bool = False,
    ) -> None:
        """Send a response to the request last read; ``message_id``: to another one.

        ``announce_data_set``: say that a data set follows, and send none.
        """
        message = self._response(
            self._message_id if message_id is None else message_id,
            status,
            self._move_class,
            remaining=remaining,
            completed=completed,
            failed=failed,
            warning=None if completed is None else 0,
            error_comment=comment,
            command_data_set_type=DATA_SET_PRESENT if failed_uids or announce_data_set else NO_DATA_SET,
        )
        self._exchange.send(self._context_id, message, soon(), _failed_list(failed_uids) if failed_uids else None)

    def send(self, message: Message) -> None:
        """Send any message on the context of the request."""
        self._exchange.send(self._context_id, message, soon())

    def send_bytes(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        self._socket.settimeout(PATIENCE)
        self._socket.sendall(data)

    @contextmanager
    def gathered(self) -> Iterator[bytearray]:
        """Gather the bytes of what the block sends, which is not sent."""
        gathered = bytearray()
        with patch.object(self.connection._transport, "send", lambda data, _: gathered.extend(data)):
            yield gathered

    def expect_release(self) -> None:
        """Wait for the release request and confirm it."""
        assert self._exchange.receive(soon()) is None, "a message where a release was due"
        self.connection.confirm_release(soon())

    def expect_abort(self) -> None:
        """Wait for an A-ABORT."""
        _expect_abort(self.connection)

    def receive(self) -> tuple[int, Message] | None:
        """Wait for a message, None for a release request, which is not answered."""
        return self._exchange.receive(soon())

    def await_close(self) -> None:
        """Wait until the program closes the connection; this side leaves it open."""
        self._socket.settimeout(PATIENCE)
        with suppress(ConnectionResetError):
            while self._socket.recv(1 << 16):
                pass

    def expect_end_or_release(self) -> None:
        """Wait for the end of the association, whichever; a release is confirmed."""
        indication = self.connection.next(soon())
        if isinstance(indication, ReleaseIndication):
            self.connection.confirm_release(soon())
        else:
            assert isinstance(indication, AbortIndication | ProviderAbortIndication), indication

    def expect_end(self) -> None:
        """Wait for an A-ABORT, or the end of the connection."""
        indication = self.connection.next(soon())
        assert isinstance(indication, AbortIndication | ProviderAbortIndication), indication

    def abort(self) -> None:
        """Abort the association."""
        self.connection.abort()

    def release(self) -> None:
        """Release the association from this side."""
        self.connection.release(soon())

    def close(self) -> None:
        """End the connection without a word."""
        self._socket.close()

    def reset(self) -> None:
        """End the connection by a TCP reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def _receive(self) -> tuple[int, Message]:
        received = self._exchange.receive(soon())
        assert received is not None, "a release where a request was due"
        return received


def _matches(keys: Mapping[int, str], listed: Sequence[Instance], counts: Mapping[str, int]) -> list[dict[int, str]]:
    """Give what an archive of these objects answers to a C-FIND of a study, a series, or objects."""
    level = keys[0x00080052]
    found: dict[str, dict[int, str]] = {}
    for one in listed:
        own = {0x0020000D: one.study_uid, 0x0020000E: one.series_uid, 0x00080018: one.instance_uid}
        if all(not keys.get(tag) or value in keys[tag].split("\\") for tag, value in own.items()):
            tag = {"STUDY": 0x0020000D, "SERIES": 0x0020000E, "IMAGE": 0x00080018}[level]
            found[own[tag]] = {name: value for name, value in own.items() if name in keys}
            if (number := counts.get(own[tag])) is not None:
                found[own[tag]][0x00201208 if level == "STUDY" else 0x00201209] = str(number)
    return list(found.values())


class Archive:
    """A scripted archive that is listening; ``AET`` is what it wants to be called, though it takes any name."""

    AET = "SCRIPTED"

    def __init__(self, *scripts: Script, host: str = HOST) -> None:
        self._scripts = scripts
        self._listening = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._listening.settimeout(PATIENCE)
        self.port: int = self._listening.getsockname()[1]
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="scripted archive")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, as arguments of the command."""
        return HOST, self.port

    def start(self) -> None:
        """Wait for the association, in a thread."""
        self._thread.start()

    def finish(self) -> None:
        """Wait for the end of the script, and raise what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def explain(self, failure: BaseException) -> None:
        """Add to another failure how far the script came."""
        with suppress(OSError):  # the association has been there
            self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        failure.add_note(f"the scripted archive: {self._error or 'its script came to its end'}")

    def _run(self) -> None:
        try:
            with self._listening:
                for script in self._scripts[:-1]:
                    with self._listening.accept()[0] as sock:
                        script(Session(sock))
                sock, _ = self._listening.accept()
            with sock:
                self._scripts[-1](Session(sock))
        except BaseException as error:  # noqa: BLE001 - it is raised in the test's own thread
            self._error = error


@contextmanager
def archive(*scripts: Script, host: str = HOST) -> Iterator[Archive]:
    """Run a script against the first association, and others against those that follow."""
    running = Archive(*scripts, host=host)
    running.start()
    try:
        yield running
    except BaseException as failure:
        running.explain(failure)
        raise
    running.finish()


class Sender:
    """A storage client with an open association."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._exchange = Exchange(connection)
        self._message_id = 0

    def store(self, instance: Instance, originator: str | None = Archive.AET, data: bytes | None = None) -> int:
        """Send an object; gives the status of the response. ``originator``: the Move Originator's AE title.

        As some archives do, it names itself by default.

        ``data``: send these bytes as its data set.
        """
        request, context_id = self._request(instance)
        request.move_originator_ae_title = originator
        self._exchange.send(context_id, request, soon(), data_set(instance.path) if data is None else data)
        _, response = self._exchange.receive_response(soon())
        assert isinstance(response, CStoreRSP), response
        assert response.message_id_being_responded_to == request.message_id
        invariants.heard(response)
        return response.status

    def begin(self, instance: Instance) -> None:
        """Send the request and the first bytes of an object."""
        request, context_id = self._request(instance)
        self._exchange.send(context_id, request, soon())
        self._begun, self._rest = context_id, data_set(instance.path)
        self.go_on()

    def go_on(self) -> None:
        """Send another 10,000 bytes of the object that was begun."""
        part, self._rest = self._rest[:10_000], self._rest[10_000:]
        value = PresentationDataValue(self._begun, 0 if self._rest else 2, part)
        self.connection.send([PDataTF((value,))], soon())

    def complete(self) -> int:
        """Send the rest of the object that was begun; gives the status of the response."""
        while self._rest:
            self.go_on()
        _, response = self._exchange.receive_response(soon())
        assert isinstance(response, CStoreRSP), response
        invariants.heard(response)
        return response.status

    def send_bytes(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        self.connection._transport.send(data, soon())

    def expect_abort(self) -> None:
        """Wait for an A-ABORT."""
        _expect_abort(self.connection)

    def _request(self, instance: Instance) -> tuple[CStoreRQ, int]:
        self._message_id += 1
        contexts = self.connection.contexts.values()
        context = next(c for c in contexts if c.abstract_syntax == instance.sop_class_uid)
        request = CStoreRQ(
            instance.sop_class_uid,
            self._message_id,
            instance.instance_uid,
            move_originator_ae_title=Archive.AET,
            move_originator_message_id=1,
        )
        return request, context.context_id


def _expect_abort(connection: Connection) -> None:
    indication = connection.next(soon())
    assert isinstance(indication, AbortIndication | ProviderAbortIndication), indication
    assert not isinstance(indication, ProviderAbortIndication) or indication.abort, "closed without an A-ABORT"


@contextmanager
def sender(
    port: int, instances: Sequence[Instance], *, release: bool = True, transport: Transport | None = None
) -> Iterator[Sender]:
    """Open a storage association to this machine for the classes of these objects; at the end release it, or abort it.

    ``transport``: over a connection that stands already.

    The objects are explicit VR little endian, as ``corpus`` makes them.
    """
    classes = tuple(dict.fromkeys(instance.sop_class_uid for instance in instances))
    request = AssociateRQ("MOVESCU", Archive.AET, propose(classes, (EXPLICIT_LITTLE,)), user_information(16384))
    connection = Connection.request(transport or connect(HOST, port, PATIENCE), request, PATIENCE)
    with connection.closing_on_error():
        yield Sender(connection)
        if release:
            connection.release(soon())
        else:
            connection.abort()


def data_set(file: Path) -> bytes:
    """The data set of a Part 10 file, as its bytes."""
    data = file.read_bytes()
    meta = decode_file_meta(data)
    assert meta is not None
    return data[meta.length :]


def _failed_list(uids: Sequence[str]) -> bytes:
    """An identifier with the Failed SOP Instance UID List (0008,0058), explicit VR little endian."""
    value = "\\".join(uids).encode()
    value += b"\0" * (len(value) & 1)
    return struct.pack("<HH2sH", 0x0008, 0x0058, b"UI", len(value)) + value
