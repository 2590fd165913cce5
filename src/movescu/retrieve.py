"""Retrieving objects: a listener, C-MOVE requests, and the tally of what was asked for against what arrived.

``Retriever`` listens before it asks, keeps both sides going at once, waits for objects that are still on their way when
the final response is there, and gives a ``RetrieveResult`` that says what the archive counted and what was stored.
How long it waits at the end is ``awaiting``'s; what of the result is a failure, and which exit code that has, is for
``cli.report``.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

from movescu.awaiting import Awaiting, shortest
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
from movescu.uids import VERIFICATION, may_be_storage, storage_classes
from movescu.ul.negotiation import AcceptorPolicy, not_granted, propose, retrieval_negotiation, user_information
from movescu.ul.pdu import AssociateRQ

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from movescu.dataset.query import Identifier
    from movescu.net.tls import TLS, TLSOptions
    from movescu.options import ListenOptions, RetrieveOptions
    from movescu.storage.receiver import Incoming, ObjectReceiver
    from movescu.ul.negotiation import Context

_log: Final = logging.getLogger("movescu.retrieve")

_FAREWELL: Final = 1.0
"""Seconds that an archive has for the answer to a release request when the time for all is over."""


class NoPresentationContextError(PeerError):
    """The archive accepted no presentation context for C-MOVE."""


class Retriever:
    """Makes C-MOVE requests of one archive and receives what it sends.

    A context manager, to be used step by step: ``open``, ``move`` as often as wanted, ``finish``, ``release``.
    ``watch`` is given what receives an object, for each of them, and gives what takes its place.
    """

    def __init__(
        self, options: RetrieveOptions, *, watch: Callable[[ObjectReceiver], ObjectReceiver] | None = None
    ) -> None:
        self._options = options
        self._watch = watch
        self._tally = Tally()
        self._responses: list[MoveResponse] = []
        self._until = None if options.total_timeout is None else time.monotonic() + options.total_timeout
        self._awaiting = Awaiting(options, self._tally, self._responses, self._until)
        self._directory: OutputDirectory | None = None
        self._listener: Listener | None = None
        self._scp: StorageSCP | None = None
        self._connection: Connection | None = None
        self._scu: MoveSCU | None = None
        self._context: Context | None = None
        self._tls = _make_tls(options.tls, accepting=options.listen is not None)
        self._cancelled = False
        self._moving = False
        self._finishing = False
        self._lost = False
        self._wakened, self._wake = _no_socket(), _no_socket()

    def __enter__(self) -> Self:
        self._wakened, self._wake = socket.socketpair()
        self._wakened.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._wake.setblocking(False)  # noqa: FBT003 - as above
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.ExitStack() as stack:  # each is done, whatever another one raises; the last one first
            stack.callback(self._wake.close)
            stack.callback(self._wakened.close)
            if self._directory is not None:
                stack.callback(self._directory.close)
            if self._listener is not None:
                stack.callback(self._listener.close)
            if self._connection is not None:
                stack.callback(self._connection.abort)

    # -- the steps -------------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Open the output directory and the port, where there is one.

        Raises ``DirectoryNotFoundError``, ``DirectoryNotWritableError``, ``ListenError``.
        """
        own, options = self._options.listen, self._options
        if own is None:
            return
        if own.storage.to_files:
            self._directory = OutputDirectory(own.storage.directory, own.storage.durability)
            self._directory.remove_leftovers()
        # As titles are read from a request: without the blanks around them (PS3.8 table 9-11).
        called = frozenset((options.destination.strip(),)) if own.require_called_ae_title else frozenset[str]()
        policy = AcceptorPolicy(
            _storage_policy(own),
            own.transfer_syntaxes,
            options.maximum_length,
            calling_ae_titles=frozenset(own.calling_ae_titles),
            called_ae_titles=called,
        )
        self._scp = StorageSCP(
            policy,
            self._watched(receiver_factory(own.storage, self._directory)),
            self._tally.count,
            on_broken_off=self._tally.count_broken_off,
            store_timeout=shortest(options.store_timeout, options.dimse_timeout),
        )
        self._listener = Listener(
            listen(own.address, own.port, options.ip),
            self._scp.serve,
            maximum_associations=own.maximum_associations,
            maximum_length=options.maximum_length,
            artim_timeout=options.acse_timeout or 30.0,
            prepare=self._prepare(own),
        )
        _log.info("listening on port %d", self._listener.port)

    def _watched(self, factory: Callable[[Incoming], ObjectReceiver]) -> Callable[[Incoming], ObjectReceiver]:
        watch = self._watch
        return factory if watch is None else lambda incoming: watch(factory(incoming))

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
        request = association_request(options)
        _log.info("requesting association with %s at %s port %d", options.called_ae_title, options.host, options.port)
        transport = connect(options.host, options.port, self._at_most(options.connect_timeout), options.ip)
        with contextlib.ExitStack() as stack:
            stack.callback(transport.close)
            if self._tls is not None:
                seconds = self._at_most(options.acse_timeout)
                self._tls.secure_request(transport, options.host, Deadline(seconds, "securing the connection"))
            seconds = self._at_most(options.acse_timeout)
            stack.pop_all()
        self._connection = Connection.request(transport, request, seconds)
        for what in not_granted(
            request.user_information.extended_negotiations, self._connection.peer_information.extended_negotiations
        ):
            _log.warning("the archive does not grant %s", what)
        self._take_answer(self._connection)

    def _take_answer(self, connection: Connection) -> None:
        options = self._options
        move_class = MODELS[options.model][1]
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

        Raises ``PeerError`` if the association ends before. It is aborted then: an archive that was given up stops.
        """
        assert self._scu is not None  # noqa: S101 - open() comes first
        assert self._context is not None  # noqa: S101 - as above
        assert self._connection is not None  # noqa: S101 - as above
        data = identifier.encode(self._context.transfer_syntax)
        self._moving = self._lost = True
        try:
            with self._connection.closing_on_error():
                response = self._exchange_responses(self._scu, data, self._patience(), on_response)
            self._lost = False
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
        with contextlib.suppress(OSError):  # full: it has been woken; closed: there is nobody to wake
            self._wake.send(b"\0")
        if self._listener is not None:
            with self._listener.changed:
                self._listener.changed.notify_all()

    @property
    def moving(self) -> bool:
        """Whether a request, or the wait for what is still on its way, is there to be cancelled."""
        return self._moving or self._finishing

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
                    patience.cancelled()
                if connection.readable(patience.remaining(), self._wakened.fileno()):
                    return
                with contextlib.suppress(BlockingIOError):
                    self._wakened.recv(64)
                patience.over()

        return attend

    def finish(self) -> RetrieveResult:
        """Wait for what is still on its way, and give the result.

        The wait ends at once if nothing is missing and no storage association is open, or if it was cancelled; else
        after ``linger`` seconds of silence, or when the open associations have been silent for ``store_timeout``. Then
        the port is closed, and what was stored is flushed to the disk, if durability asks for it. Raises
        ``StoreError`` if that fails.
        """
        self._finishing = True
        try:
            return self._finish()
        finally:
            self._finishing = False

    def _finish(self) -> RetrieveResult:
        if self._listener is not None:
            self._awaiting.wait(self._listener, lost=self._lost, cancelled=lambda: self._cancelled)
            self._listener.close()  # what would come now would be in no count, and not flushed
        if self._directory is not None:
            self._directory.flush()
        rejected = tuple(self._scp.rejected) if self._scp is not None else ()
        cancelled = any(response.status_class is StatusClass.CANCEL for response in self._responses)
        broken_off = () if cancelled else tuple(sorted(self._tally.broken_off))
        expected = self._awaiting.expected if self._listener is not None else 0
        cut_off = self._awaiting.cut_off
        return RetrieveResult(tuple(self._responses), self._tally, expected, rejected, broken_off, cut_off)

    def release(self) -> None:
        """Release the association. Raises ``PeerError`` if the archive does not confirm.

        It need not if objects were awaited after its final response: it may have ended the idle association then.
        """
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        ended = self._awaiting.waited and connection.readable(0)
        left = None if self._until is None else max(self._until - time.monotonic(), _FAREWELL)
        seconds = shortest(self._options.acse_timeout, left)
        try:
            connection.release(Deadline(seconds, "waiting for the answer to the release request"))
        except PeerError as error:
            if not ended:
                raise
            _log.info("the archive ended its association while objects still came: %s", error)

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
        assert self._scu is not None  # noqa: S101 - as above
        connection, scu, listener, options = self._connection, self._scu, self._listener, self._options

        def received() -> float:
            return 0.0 if listener is None else listener.last_activity

        return Patience(
            silence=options.dimse_timeout,
            stall=options.stall_timeout,
            until=self._until,
            moved=lambda: max(connection.last_activity, received()),
            progressed=lambda: max(scu.progressed(uncounted=listener is None), received()),
        )

    @property
    def own_address(self) -> tuple[str, int]:
        """Address and port at which an archive reaches our storage SCP; the port is 0 if there is none."""
        address = self._connection.local_address if self._connection is not None else ""
        return address, self._listener.port if self._listener is not None else 0

    @property
    def tally(self) -> Tally:
        """What has come to our own port so far; it goes on counting."""
        return self._tally

    @property
    def arrived(self) -> int:
        """How many objects have come to our own port so far, stored or not."""
        return self._tally.arrived


def _no_socket() -> socket.socket:
    """Make a socket that was closed."""
    sock = socket.socket()
    sock.close()
    return sock


def association_request(options: RetrieveOptions, *further: str) -> AssociateRQ:
    """Make the request for the association of a retrieve; ``further`` abstract syntaxes are proposed beside its own."""
    model = MODELS[options.model]
    return AssociateRQ(
        called_ae_title=options.called_ae_title,
        calling_ae_title=options.calling_ae_title,
        contexts=propose((*model, *further), options.transfer_syntaxes),
        user_information=replace(
            user_information(options.maximum_length),
            extended_negotiations=retrieval_negotiation(
                model[1], relational=options.relational, enhanced_conversion=options.enhanced_conversion
            ),
            user_identity=options.user_identity,
        ),
    )


def _make_tls(options: TLSOptions | None, *, accepting: bool) -> TLS | None:
    if options is None:
        return None
    from movescu.net.tls import TLS  # noqa: PLC0415 - ssl takes 10 ms to load

    return TLS(options, accepting=accepting)


def _storage_policy(own: ListenOptions) -> Callable[[str], bool]:
    classes = storage_classes()
    return lambda uid: uid in classes or uid == VERIFICATION or (own.accept_unknown and may_be_storage(uid))
