"""What ``station`` is, by C-GET: what a test sends arrives over the association of a request, in a whole retrieve.

The client of the library retrieves in a thread, and the test is the archive: it says whatever it wants, as to the
storage SCP of ``Station``. Presentation contexts have the IDs that the client proposed, which ``GetRaw`` puts in place
of 1 and 3 in what the test sends.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import scripted
from station import CT, HOST, MR, Raw, Sender, Station, data_set
from wire import WAIT

from movescu.cohort.client import Client
from movescu.dictionary.uids import EXPLICIT_LITTLE
from movescu.dimse.exchange import Exchange
from movescu.errors import MovescuError
from movescu.query.identifier import make_identifier
from movescu.retrieve.config import AE, Config, Receive, Request, RetrieveBy, Timeouts
from movescu.storage.options import StorageOptions
from movescu.transport.deadlines import Deadline
from movescu.ul.negotiation import AcceptorPolicy, answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from movescu.dictionary.uids import TransferSyntax
    from movescu.dimse.messages import CStoreRSP, Message
    from movescu.retrieve.result import Result

_KEYS = ("QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2")
_UNUSED = 253
"""A context that the client has not been granted."""


class GetSender(Sender):
    """The archive of a C-GET that is in progress, as the client of its storage service."""

    def __init__(self, sock: socket.socket, syntaxes: Sequence[TransferSyntax]) -> None:
        self._session = session = scripted.Session(sock)
        request = session.read_request()
        policy = AcceptorPolicy(lambda _: True, (*syntaxes, EXPLICIT_LITTLE), 16384)
        session.accept_as(request, answer(request, policy))
        session.expect_get({0x0020000D: "1.2", 0x00080062: f"{CT}\\{MR}"})
        self.connection = session.connection
        self.exchange = Exchange(self.connection)
        self.deadline = Deadline(WAIT, "the answer")

    def context_of(self, class_uid: str) -> int:
        """Return the ID of a class's context."""
        contexts = self.connection.contexts.values()
        return next((one.context_id for one in contexts if one.abstract_syntax == class_uid), _UNUSED)

    def ask(self, message: Message, data: bytes | None = None, context_id: int = 1) -> Message:
        """Send a message on the context that a test means by 1 or 3, and give the response."""
        return super().ask(message, data, self.context_of({1: CT, 3: MR}[context_id]))

    def store(self, data: bytes, *, instance_uid: str = "1.2.3", class_uid: str = CT, context_id: int = 1) -> CStoreRSP:
        """Store an object and give the response."""
        return super().store(data, instance_uid=instance_uid, class_uid=class_uid, context_id=context_id)

    def release(self) -> None:
        """End the request, and await the release."""
        self._session.respond(0)
        self._session.expect_end_or_release()


class GetRaw(Raw):
    """The bytes of the association of a C-GET; contexts 1 and 3 of a test are those of CT and MR."""

    def __init__(self, sender: GetSender, sock: socket.socket) -> None:
        self.socket = sock
        sock.settimeout(WAIT)
        self._ids = {1: sender.context_of(CT), 3: sender.context_of(MR)}

    def associate(self, request: object = None) -> None:
        """Nothing: the association stands."""

    def send(self, data: bytes) -> None:
        """Send bytes, P-DATA-TFs on contexts of the association."""
        super().send(self._placed(data))

    def send_ignoring_the_end(self, data: bytes) -> None:
        """Send bytes to a peer that may have had enough."""
        with suppress(OSError):
            self.send(data)

    def _placed(self, data: bytes) -> bytes:
        """Replace the context IDs of all values, as far as their lengths are true."""
        placed, at = bytearray(data), 0
        while len(placed) - at >= 12 and placed[at] == 4:
            end = at + 6 + int.from_bytes(placed[at + 2 : at + 6], "big")
            at += 6
            while at + 6 <= min(end, len(placed)):
                length = int.from_bytes(placed[at : at + 4], "big")
                placed[at + 4] = self._ids.get(placed[at + 4], _UNUSED)
                at += 4 + length
            at = end
        return bytes(placed)


class GetStation(Station):
    """A client that retrieves by C-GET into a folder, from the test."""

    def __init__(self, folder: Any) -> None:
        super().__init__(folder)
        self._running: list[tuple[threading.Thread, socket.socket]] = []
        self.result: Result | None = None
        self.error: MovescuError | None = None
        self._broken_off: set[str] = set()

    def open(self, **options: Any) -> GetSender:
        """Begin a retrieve with these storage options, and give its archive."""
        return self._begin(**options)[0]

    def raw(self, **options: Any) -> Raw:
        """Begin a retrieve, and give the bytes of its association."""
        return GetRaw(*self._begin(**options))

    def _begin(
        self,
        *,
        syntaxes: tuple[TransferSyntax, ...] = (EXPLICIT_LITTLE,),
        store_timeout: float = WAIT,
        **options: Any,
    ) -> tuple[GetSender, socket.socket]:
        with socket.create_server((HOST, 0)) as listening:
            listening.settimeout(WAIT)
            config = Config(
                AE(HOST, listening.getsockname()[1]),
                timeouts=Timeouts(store=store_timeout),
                receive=Receive(None, transfer_syntaxes=syntaxes),
                request=Request(model="STUDY"),
                retrieve_by=RetrieveBy.GET,
            )
            storage = StorageOptions(str(self.folder), **options)
            thread = threading.Thread(target=self._run, args=(config, storage), name="client of a C-GET")
            thread.start()
            sock, _ = listening.accept()
        self._running.append((thread, sock))
        return GetSender(sock, syntaxes), sock

    def _run(self, config: Config, storage: StorageOptions) -> None:
        try:
            with Client.configured(config, storage) as client:
                self.result = client.prepare([make_identifier(_KEYS)]).run()
                client.release()
        except MovescuError as error:
            self.error = error

    @property
    def broken_off(self) -> list[str]:
        """The objects that broke off, by SOP instance UID."""
        self.wait_until_idle()
        return [] if self.result is None else list(self.result.broken_off)

    @broken_off.setter
    def broken_off(self, value: list[str]) -> None:
        """Let the base class begin with none."""

    def still_serves(self) -> None:
        """Assert that a sound archive is retrieved from afterwards."""
        self.wait_until_idle()
        sender = self.open()
        assert sender.store(data_set(instance_uid="1.2.77"), instance_uid="1.2.77").status == 0
        sender.release()
        self.wait_until_idle()
        assert self.result is not None
        assert self.result.stored == 1

    def wait_until_idle(self) -> None:
        """Wait until every retrieve has ended."""
        for thread, _ in self._running:
            thread.join(WAIT)
            assert not thread.is_alive(), "the retrieve goes on"

    def close(self) -> None:
        """End the associations that a test left open, and the retrieves with them."""
        for thread, sock in self._running:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            thread.join(WAIT)
            sock.close()
        super().close()
