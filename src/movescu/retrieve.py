"""Retrieving objects: a listener, C-MOVE requests, and the tally of what was asked for against what arrived.

``Retriever`` listens before it asks, keeps both sides going at once, waits for objects that are still on their way when
the final response is there, and gives a ``RetrieveResult`` that says what the archive counted and what was stored.
What of it is a failure, and which exit code that has, is for ``cli.main``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

from movescu.dimse.exchange import Exchange
from movescu.dimse.status import StatusClass
from movescu.errors import PeerError, TimedOutError
from movescu.net.connection import Connection
from movescu.net.listener import Listener
from movescu.net.patience import Patience
from movescu.net.transport import Deadline, Transport, connect, listen
from movescu.options import MODELS
from movescu.services.move import MoveResponse, MoveSCU
from movescu.services.store import StorageSCP
from movescu.storage.receiver import receiver_factory
from movescu.storage.writer import OutputDirectory
from movescu.tally import RetrieveResult, Tally
from movescu.uids import VERIFICATION, storage_classes
from movescu.ul.negotiation import AcceptorPolicy, propose, retrieval_negotiation, user_information
from movescu.ul.pdu import AssociateRQ

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from movescu.dataset.query import Identifier
    from movescu.net.tls import TLS, TLSOptions
    from movescu.options import ListenOptions, RetrieveOptions
    from movescu.ul.negotiation import Context

_log: Final = logging.getLogger("movescu.retrieve")


class NoPresentationContextError(PeerError):
    """The archive accepted no presentation context for C-MOVE."""


class Retriever:
    """Makes C-MOVE requests of one archive and receives what it sends.

    A context manager, to be used step by step: ``open``, ``move`` as often as wanted, ``finish``, ``release``.
    """

    def __init__(self, options: RetrieveOptions) -> None:
        self._options = options
        self._tally = Tally()
        self._responses: list[MoveResponse] = []
        self._until = None if options.total_timeout is None else time.monotonic() + options.total_timeout
        self._directory: OutputDirectory | None = None
        self._listener: Listener | None = None
        self._scp: StorageSCP | None = None
        self._connection: Connection | None = None
        self._scu: MoveSCU | None = None
        self._context: Context | None = None
        self._tls = _make_tls(options.tls)
        self._cancelled = False
        self._moving = False
        self._wakened, self._wake = os.pipe()
        os.set_blocking(self._wakened, False)

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
        os.close(self._wake)
        os.close(self._wakened)

    # -- the steps -------------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Open the output directory and the port, where there is one.

        Raises ``DirectoryNotFoundError``, ``DirectoryNotWritableError``, ``ListenError``.
        """
        own, options = self._options.listen, self._options
        if own is None:
            return
        if not own.storage.ignore:
            self._directory = OutputDirectory(own.storage.directory, own.storage.durability)
        called = frozenset((options.destination,)) if own.require_called_ae_title else frozenset[str]()
        policy = AcceptorPolicy(
            _storage_policy(own),
            own.transfer_syntaxes,
            options.maximum_length,
            calling_ae_titles=frozenset(own.calling_ae_titles),
            called_ae_titles=called,
        )
        factory = receiver_factory(own.storage, self._directory)
        self._scp = StorageSCP(policy, factory, self._tally.count, store_timeout=options.store_timeout)
        self._listener = Listener(
            listen(own.address, own.port, options.ip),
            self._scp.serve,
            maximum_associations=own.maximum_associations,
            maximum_length=options.maximum_length,
            artim_timeout=options.acse_timeout or 30.0,
            prepare=self._prepare(own),
        )
        _log.info("listening on port %d", self._listener.port)

    def _prepare(self, own: ListenOptions) -> Callable[[Transport, Deadline], None] | None:
        """Give what has to be done with a connection before it may ask for an association, None for nothing."""
        steps: list[Callable[[Transport, Deadline], None]] = []
        if own.access_rules:
            from movescu.net.guard import Guard  # noqa: PLC0415 - for those alone who ask for it

            steps.append(Guard(host_lookup=own.host_lookup))
        if self._tls is not None:
            steps.append(self._tls.secure_accepted)

        def prepare(transport: Transport, deadline: Deadline) -> None:
            for step in steps:
                step(transport, deadline)

        return prepare if steps else None

    def open(self) -> None:
        """Connect and negotiate the association. Raises ``PeerError``."""
        options = self._options
        move_class = MODELS[options.model][1]
        request = AssociateRQ(
            called_ae_title=options.called_ae_title,
            calling_ae_title=options.calling_ae_title,
            contexts=propose(MODELS[options.model], options.transfer_syntaxes),
            user_information=replace(
                user_information(options.maximum_length),
                extended_negotiations=retrieval_negotiation(
                    move_class, relational=options.relational, enhanced_conversion=options.enhanced_conversion
                ),
                user_identity=options.user_identity,
            ),
        )
        _log.info("requesting association with %s at %s port %d", options.called_ae_title, options.host, options.port)
        transport = connect(options.host, options.port, self._at_most(options.connect_timeout), options.ip)
        if self._tls is not None:
            seconds = self._at_most(options.acse_timeout)
            self._tls.secure_request(transport, options.host, Deadline(seconds, "securing the connection"))
        self._connection = Connection.request(transport, request, self._at_most(options.acse_timeout))
        self._take_answer(self._connection, move_class)

    def _take_answer(self, connection: Connection, move_class: str) -> None:
        options = self._options
        identity, reply = options.user_identity, connection.peer_information
        if identity is not None and identity.positive_response_requested and reply.user_identity_response is None:
            _log.warning("the archive did not say that it took the user identity: it may not know of any")
        contexts = (c for c in connection.contexts.values() if c.abstract_syntax == move_class)
        self._context = next(contexts, None)
        if self._context is None:
            raise NoPresentationContextError(
                "no acceptable presentation context: the archive does not offer C-MOVE in the "
                f"{options.model} model to {options.calling_ae_title!r}",
                hint="try another model (-P, -S, -O) or other transfer syntaxes (-xi)",
            )
        self._scu = MoveSCU(
            Exchange(connection),
            self._context,
            options.destination,
            read_pending=options.read_pending,
            priority=options.priority,
        )

    def move(self, identifier: Identifier, on_response: Callable[[MoveResponse], None] | None = None) -> MoveResponse:
        """Make one request and wait for its final response; ``on_response`` is told each of them.

        Raises ``PeerError`` if the association ends before.
        """
        assert self._scu is not None  # noqa: S101 - open() comes first
        assert self._context is not None  # noqa: S101 - as above
        patience = self._patience()
        self._moving = True
        try:
            response = self._exchange_responses(
                self._scu, identifier.encode(self._context.transfer_syntax), patience, on_response
            )
        finally:
            self._moving = False
        self._responses.append(response)
        return response

    def _exchange_responses(
        self,
        scu: MoveSCU,
        identifier: bytes,
        patience: Patience,
        on_response: Callable[[MoveResponse], None] | None,
    ) -> MoveResponse:
        scu.request(identifier, patience)
        for number, response in enumerate(scu.responses(patience, self._attendant(patience)), start=1):
            if on_response is not None:
                on_response(response)
            if number == self._options.cancel_after and response.status_class is StatusClass.PENDING:
                scu.cancel(patience)
        return response

    def cancel(self) -> None:
        """Send C-CANCEL for the request that is under way, and wait no longer when it has ended.

        Safe from any thread, and from a signal handler.
        """
        self._cancelled = True
        os.write(self._wake, b"\0")
        if self._listener is not None:
            with self._listener.changed:
                self._listener.changed.notify_all()

    @property
    def moving(self) -> bool:
        """Whether a request is under way, so that there is something to cancel."""
        return self._moving

    @property
    def cancelled(self) -> bool:
        """Whether ``cancel`` was called."""
        return self._cancelled

    def _attendant(self, patience: Patience) -> Callable[[], None]:
        """Make what waits for the archive's next message, and cancels when that is wanted: once for a request."""
        assert self._connection is not None  # noqa: S101 - open() comes first
        assert self._scu is not None  # noqa: S101 - as above
        connection, scu = self._connection, self._scu
        sent = False

        def attend() -> None:
            nonlocal sent
            while True:
                if self._cancelled and not sent:
                    sent = True
                    scu.cancel(patience)
                if connection.readable(patience.remaining(), self._wakened):
                    return
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wakened, 64)
                patience.over()

        return attend

    def finish(self) -> RetrieveResult:
        """Wait for what is still on its way, and give the result.

        The wait ends at once if nothing is missing and no storage association is open, or if it was cancelled; else
        after ``linger`` seconds without an object, or when the open associations have been silent for
        ``store_timeout``. Then what was stored is flushed to the disk, if durability asks for it. Raises
        ``StoreError`` if that fails.
        """
        if self._listener is not None:
            final = time.monotonic()
            with self._listener.changed:
                while (seconds := self._wait_for(self._listener, final)) > 0:
                    self._listener.changed.wait(seconds)
        if self._directory is not None:
            self._directory.flush()
        rejected = tuple(self._scp.rejected) if self._scp is not None else ()
        return RetrieveResult(tuple(self._responses), self._tally, self._expected(), rejected)

    def release(self) -> None:
        """Release the association. Raises ``PeerError`` if the archive does not confirm."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.release(Deadline(self._options.acse_timeout, "waiting for the answer to the release request"))

    def abort(self) -> None:
        """Abort the association."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.abort()

    # -- time ----------------------------------------------------------------------------------------------------------

    def _at_most(self, seconds: float | None) -> float | None:
        """Limit a wait to what is left of the time for all. Raises ``TimedOutError`` if nothing is."""
        if self._until is None:
            return seconds
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimedOutError("timed out: the time for the whole retrieve is over")
        return left if seconds is None else min(seconds, left)

    def _patience(self) -> Patience:
        assert self._connection is not None  # noqa: S101 - open() comes first
        connection, options = self._connection, self._options
        return Patience(
            silence=options.dimse_timeout,
            stall=options.stall_timeout,
            until=self._until,
            heard=lambda: connection.last_activity,
            moved=lambda: max(connection.last_activity, self._tally.last_arrival, self._last_stored_byte()),
        )

    def _last_stored_byte(self) -> float:
        if self._listener is None:
            return 0.0
        with self._listener.changed:
            return max((c.last_activity for c in self._listener.open_associations), default=0.0)

    @property
    def own_address(self) -> tuple[str, int]:
        """Address and port at which an archive reaches our storage SCP; the port is 0 if there is none."""
        address = self._connection.local_address if self._connection is not None else ""
        return address, self._listener.port if self._listener is not None else 0

    @property
    def arrived(self) -> int:
        """How many objects have come to our own port so far, stored or not."""
        return self._tally.arrived

    # -- the tally ---------------------------------------------------------------------------------------------------

    def _expected(self) -> int:
        """How many objects the archive says it sent to us."""
        if self._listener is None:
            return 0
        elsewhere = self._options.destination != self._options.calling_ae_title
        if elsewhere and not self._tally.arrived:
            # The destination may be a third party's title, with --port given all the same; then nothing comes to us.
            return 0
        return sum((response.completed or 0) + (response.warning or 0) for response in self._responses)

    def _wait_for(self, listener: Listener, final: float) -> float:
        """Give the seconds that are still worth waiting, 0 for none; end associations that have gone silent."""
        now = time.monotonic()
        connections = listener.open_associations
        limit = float("inf") if self._until is None else self._until - now
        if self._cancelled or limit <= 0:
            return 0.0
        if not connections:
            complete = self._tally.arrived >= self._expected()
            return 0.0 if complete else min(max(final, self._tally.last_arrival) + self._options.linger - now, limit)
        waits = [limit]
        for connection in connections:
            left = max(connection.last_activity, final) + self._options.store_timeout - now
            if left <= 0:
                connection.interrupt("the storage client did not end its association after the final response")
                left = 1.0
            waits.append(left)
        return min(waits)


def _make_tls(options: TLSOptions | None) -> TLS | None:
    if options is None:
        return None
    from movescu.net.tls import TLS  # noqa: PLC0415 - ssl takes 10 ms to load

    return TLS(options)


def _storage_policy(own: ListenOptions) -> Callable[[str], bool]:
    classes = storage_classes()
    return lambda uid: uid in classes or uid == VERIFICATION or own.accept_unknown
