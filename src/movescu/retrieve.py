"""Retrieving objects: a listener, C-MOVE requests, and the tally of what was asked for against what arrived.

``Retriever`` listens before it asks, keeps both sides going at once, waits for objects that are still on their way when
the final response is there, and gives a ``RetrieveResult`` that says what the archive counted and what was stored.
What of it is a failure, and which exit code that has, is for ``cli.main``.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from movescu.dimse.exchange import Exchange
from movescu.dimse.status import SUCCESS, StatusClass
from movescu.errors import PeerError
from movescu.net.connection import Connection
from movescu.net.listener import Listener
from movescu.net.transport import Silence, connect, listen
from movescu.services.move import MoveResponse, MoveSCU
from movescu.services.store import Received, StorageSCP
from movescu.storage.receiver import StorageOptions, receiver_factory
from movescu.storage.writer import OutputDirectory
from movescu.uids import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    PATIENT_ROOT_FIND,
    PATIENT_ROOT_MOVE,
    PATIENT_STUDY_ONLY_FIND,
    PATIENT_STUDY_ONLY_MOVE,
    STUDY_ROOT_FIND,
    STUDY_ROOT_MOVE,
    VERIFICATION,
    TransferSyntax,
    storage_classes,
)
from movescu.ul.negotiation import AcceptorPolicy, propose, user_information
from movescu.ul.pdu import AssociateRQ

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from movescu.dataset.query import Identifier
    from movescu.ul.negotiation import Context

_log: Final = logging.getLogger("movescu.retrieve")

MODELS: Final = {
    "PATIENT": (PATIENT_ROOT_FIND, PATIENT_ROOT_MOVE),
    "STUDY": (STUDY_ROOT_FIND, STUDY_ROOT_MOVE),
    "PSONLY": (PATIENT_STUDY_ONLY_FIND, PATIENT_STUDY_ONLY_MOVE),
}
"""FIND and MOVE SOP class of each information model (PS3.4 C.6)."""

UNCOMPRESSED: Final = (EXPLICIT_LITTLE, EXPLICIT_BIG, IMPLICIT_LITTLE)

_REPORTED_FAILURES: Final = 1000  # objects that were not stored and are remembered one by one


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """Our own storage SCP. ``port`` 0 lets the system choose; ``address`` empty means all interfaces."""

    port: int
    address: str = ""
    transfer_syntaxes: tuple[TransferSyntax, ...] = UNCOMPRESSED
    accept_unknown: bool = False
    maximum_associations: int = 64
    storage: StorageOptions = field(default_factory=StorageOptions)


@dataclass(frozen=True, slots=True)
class RetrieveOptions:
    """What to ask, whom, and how long to wait. Times are in seconds, None means no limit.

    ``move_destination``: AE title that the archive is to send to, None for our own. ``linger``: how long, after the
    final response, objects that it counted are waited for in silence. ``store_timeout``: how long a storage
    association may be silent in the middle of a message, or after the final response.
    """

    host: str
    port: int
    calling_ae_title: str = "MOVESCU"
    called_ae_title: str = "ANY-SCP"
    move_destination: str | None = None
    model: str = "PATIENT"
    transfer_syntaxes: tuple[TransferSyntax, ...] = UNCOMPRESSED
    maximum_length: int = 16384
    connect_timeout: float | None = None
    acse_timeout: float | None = 30.0
    dimse_timeout: float | None = None
    linger: float = 10.0
    store_timeout: float = 60.0
    cancel_after: int = 0
    read_pending: bool = False
    listen: ListenOptions | None = None


class NoPresentationContextError(PeerError):
    """The archive accepted no presentation context for C-MOVE."""


@dataclass(slots=True)
class Tally:
    """What arrived at our own port so far. ``size`` counts bytes of data sets."""

    stored: int = 0
    failed: int = 0
    size: int = 0
    failures: list[Received] = field(default_factory=list)
    """The first thousand objects that were not stored."""


@dataclass(frozen=True, slots=True)
class RetrieveResult:
    """What a retrieve came to: the final response of each request, and what arrived.

    ``expected``: objects that the archive says it delivered, where they were to come to us.
    """

    responses: tuple[MoveResponse, ...]
    tally: Tally
    expected: int

    @property
    def missing(self) -> int:
        """How many objects the archive counts as delivered that did not arrive."""
        return max(self.expected - self.tally.stored - self.tally.failed, 0)


class Retriever:
    """Makes C-MOVE requests of one archive and receives what it sends.

    A context manager, to be used step by step: ``open``, ``move`` as often as wanted, ``finish``, ``release``.
    """

    def __init__(self, options: RetrieveOptions) -> None:
        self._options = options
        self._tally = Tally()
        self._lock = threading.Lock()
        self._responses: list[MoveResponse] = []
        self._last_arrival = 0.0
        self._associations = 0
        self._directory: OutputDirectory | None = None
        self._listener: Listener | None = None
        self._connection: Connection | None = None
        self._scu: MoveSCU | None = None
        self._context: Context | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.abort()
        if self._listener is not None:
            self._listener.close()
        if self._directory is not None:
            self._directory.close()

    # -- the steps -------------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Open the output directory and the port, where there is one.

        Raises ``DirectoryNotFoundError``, ``DirectoryNotWritableError`` and ``ListenError``.
        """
        own = self._options.listen
        if own is None:
            return
        if not own.storage.ignore:
            self._directory = OutputDirectory(own.storage.directory, own.storage.durability)
        policy = AcceptorPolicy(_storage_policy(own), own.transfer_syntaxes, self._options.maximum_length)
        scp = StorageSCP(
            policy,
            receiver_factory(own.storage, self._directory),
            self._count,
            store_timeout=self._options.store_timeout,
        )
        self._listener = Listener(
            listen(own.address, own.port),
            scp.serve,
            maximum_associations=own.maximum_associations,
            maximum_length=self._options.maximum_length,
            artim_timeout=self._options.acse_timeout or 30.0,
        )
        _log.info("listening on port %d", self._listener.port)

    def open(self) -> None:
        """Connect and negotiate the association. Raises ``PeerError``."""
        options = self._options
        request = AssociateRQ(
            called_ae_title=options.called_ae_title,
            calling_ae_title=options.calling_ae_title,
            contexts=propose(MODELS[options.model], options.transfer_syntaxes),
            user_information=user_information(options.maximum_length),
        )
        _log.info("requesting association with %s at %s port %d", options.called_ae_title, options.host, options.port)
        transport = connect(options.host, options.port, options.connect_timeout)
        connection = Connection.request(transport, request, options.acse_timeout)
        self._connection = connection
        move_class = MODELS[options.model][1]
        contexts = (c for c in connection.contexts.values() if c.abstract_syntax == move_class)
        self._context = next(contexts, None)
        if self._context is None:
            raise NoPresentationContextError(
                "no acceptable presentation context: the archive does not offer C-MOVE in the "
                f"{options.model} model to {options.calling_ae_title!r}",
                hint="try another model (-P, -S, -O) or other transfer syntaxes (-xi)",
            )
        destination = options.move_destination or options.calling_ae_title
        self._scu = MoveSCU(Exchange(connection), self._context, destination, read_pending=options.read_pending)

    def move(self, identifier: Identifier, on_response: Callable[[MoveResponse], None] | None = None) -> MoveResponse:
        """Make one request and wait for its final response; ``on_response`` is told each of them.

        Raises ``PeerError`` if the association ends before.
        """
        assert self._scu is not None  # noqa: S101 - open() comes first
        assert self._context is not None  # noqa: S101 - as above
        options = self._options
        deadline = Silence(options.dimse_timeout, "the archive is silent where a C-MOVE response is due")
        self._scu.request(identifier.encode(self._context.transfer_syntax), deadline)
        for number, response in enumerate(self._scu.responses(deadline), start=1):
            if on_response is not None:
                on_response(response)
            if number == options.cancel_after and response.status_class is StatusClass.PENDING:
                self._scu.cancel(deadline)
        self._responses.append(response)
        return response

    def finish(self) -> RetrieveResult:
        """Wait for what is still on its way, and give the result.

        The wait ends at once if nothing is missing and no storage association is open; else after ``linger`` seconds
        without an object, or when the open associations have been silent for ``store_timeout``. Then what was stored
        is flushed to the disk, if durability asks for it. Raises ``StoreError`` if that fails.
        """
        if self._listener is not None:
            final = time.monotonic()
            with self._listener.changed:
                while (seconds := self._wait_for(self._listener, final)) > 0:
                    self._listener.changed.wait(seconds)
        if self._directory is not None:
            self._directory.flush()
        return RetrieveResult(tuple(self._responses), self._tally, self._expected())

    def release(self) -> None:
        """Release the association. Raises ``PeerError`` if the archive does not confirm."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.release(Silence(self._options.acse_timeout, "waiting for the answer to the release request"))

    def abort(self) -> None:
        """Abort the association."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.abort()

    @property
    def own_address(self) -> tuple[str, int]:
        """Address and port at which an archive reaches our storage SCP; the port is 0 if there is none."""
        address = self._connection.local_address if self._connection is not None else ""
        return address, self._listener.port if self._listener is not None else 0

    @property
    def arrived(self) -> int:
        """How many objects have come to our own port so far, stored or not."""
        return self._tally.stored + self._tally.failed

    # -- the tally ---------------------------------------------------------------------------------------------------

    def _count(self, received: Received) -> None:
        """Count an object; called by the threads of the storage associations."""
        with self._lock:
            tally = self._tally
            tally.size += received.size
            if received.status == SUCCESS:
                tally.stored += 1
            else:
                tally.failed += 1
                if len(tally.failures) < _REPORTED_FAILURES:
                    tally.failures.append(received)
            self._last_arrival = time.monotonic()

    def _expected(self) -> int:
        """How many objects the archive says it sent to us."""
        if self._listener is None:
            return 0
        elsewhere = self._options.move_destination not in (None, self._options.calling_ae_title)
        if elsewhere and not self._tally.stored and not self._tally.failed:
            # The destination may be a third party's title, with --port given all the same; then nothing comes to us.
            return 0
        return sum((response.completed or 0) + (response.warning or 0) for response in self._responses)

    def _wait_for(self, listener: Listener, final: float) -> float:
        """Give the seconds that are still worth waiting, 0 for none; end associations that have gone silent."""
        now = time.monotonic()
        connections = listener.open_associations
        if not connections:
            complete = self._tally.stored + self._tally.failed >= self._expected()
            return 0.0 if complete else max(final, self._last_arrival) + self._options.linger - now
        waits = []
        for connection in connections:
            left = max(connection.last_activity, final) + self._options.store_timeout - now
            if left <= 0:
                connection.interrupt("the storage client did not end its association after the final response")
                left = 1.0
            waits.append(left)
        return min(waits)


def _storage_policy(own: ListenOptions) -> Callable[[str], bool]:
    classes = storage_classes()
    return lambda uid: uid in classes or uid == VERIFICATION or own.accept_unknown
