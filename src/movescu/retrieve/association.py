"""The association with the archive: the requester's side of C-FIND and C-MOVE (PS3.4 C.4.1, C.4.2).

Opens the association, sends one request after the other and waits for the responses within the limits of
``transport.deadlines``; another thread can cancel the request. The receiving side is in ``storage_server``; ``handle``
joins the two.
"""

from __future__ import annotations

import contextlib
import itertools
from functools import partial

from movescu import errors
from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu.dictionary.uids import VERIFICATION
from movescu.dimse.status import SUCCESS, StatusClass
from movescu.errors import NoPresentationContextError, PeerError, TimedOutError
from movescu.retrieve.config import MODELS
from movescu.retrieve.proposals import association_request, query_request
from movescu.retrieve.stragglers import shortest
from movescu.transport import network
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Deadline, Patience, Silence
from movescu.transport.sockets import connect
from movescu.ul.negotiation import not_granted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

    from movescu.dimse.exchange import Exchange
    from movescu.query.identifier import Identifier
    from movescu.retrieve.config import Config
    from movescu.retrieve.observer import Observer
    from movescu.services.find import FindResponse
    from movescu.services.move import MoveResponse, MoveSCU
    from movescu.transport.tls import TLS
    from movescu.ul.negotiation import Context

_log: Final = logger_of("movescu.retrieve")

_FAREWELL: Final = 1.0
"""Seconds. Wait for A-RELEASE-RP once the total timeout has expired."""

_ENDED: Final = (errors.AssociationAbortedError, errors.AssociationReleasedError, errors.ConnectionLostError)
"""Ends of an association by which some archives refuse a second request on it."""

_ECHO_SECONDS: Final = 30.0
"""Seconds. Wait for the C-ECHO response if no DIMSE timeout is set."""


class ArchiveAssociation:
    """An association with the archive; it can be opened again after it was lost.

    ``until``: deadline of the whole retrieve, on the monotonic clock. ``moved``: returns when a byte last arrived on a
    storage association; an archive that is sending objects is not silent. ``arrived``: number of objects.
    ``message_ids``: for C-MOVE requests; shared by associations whose message IDs must differ. ``further``: abstract
    syntaxes to propose beside the model's own. ``meanwhile``: called after each C-MOVE request is sent, while the
    archive works on it. ``observer``: notified when the association opens and ends. ``querying``: for C-FIND alone;
    C-MOVE is not proposed. ``on_connected``: called with the archive's address.
    """

    def __init__(  # noqa: PLR0913 - options of a retrieve, each with a default
        self,
        config: Config,
        *,
        tls: TLS | None = None,
        until: float | None = None,
        moved: Callable[[], float] = lambda: 0.0,
        arrived: Callable[[], int] = lambda: 0,
        message_ids: Iterator[int] | None = None,
        further: tuple[str, ...] = (),
        meanwhile: Callable[[], None] = lambda: None,
        observer: Observer | None = None,
        querying: bool = False,
        on_connected: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._on_connected = on_connected
        self._querying = querying
        self._config = config
        self._tls = tls
        self._until = until
        self._moved = moved
        self._arrived = arrived
        self._message_ids = message_ids if message_ids is not None else itertools.cycle(range(1, 0x10000))
        self._further = further
        self._meanwhile = meanwhile
        self._observer = observer
        self._connection: Connection | None = None
        self._local_address = ""
        self._exchange: Exchange | None = None
        self._served = 0  # requests that the archive answered on this association
        self._wakened, self._wake = network.socketpair()
        self._wakened.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._wake.setblocking(False)  # noqa: FBT003 - as above
        self.cancelled = False
        """Whether ``cancel`` was called."""
        self.moving = False
        self.unfinished: MoveResponse | None = None
        """What the archive counted for a request whose final response is missing."""
        """Whether a C-MOVE request is in progress."""
        self.cancel_sent = False
        """Whether C-CANCEL was sent for the current or last request."""

    def close(self) -> None:
        """Abort the association, if open, and close the sockets of ``cancel``."""
        with contextlib.ExitStack() as stack:  # runs every callback, last one first, even if one raises
            stack.callback(self._wake.close)
            stack.callback(self._wakened.close)
            stack.callback(self.abort)

    # -- the association -----------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether the association is established."""
        return self._connection is not None

    def open(self) -> None:
        """Connect and negotiate the association (PS3.8 7.1). Raise ``PeerError`` if either fails."""
        try:
            self._open()
        except PeerError as error:
            self._tell("failed", error)
            raise
        self._tell("opened")

    def _tell(self, state: str, error: PeerError | None = None) -> None:
        if self._observer is not None:
            self._observer.archive(state, self._config, error)

    def _open(self) -> None:
        config = self._config
        request = query_request(config) if self._querying else association_request(config, *self._further)
        _log.info(
            "requesting association with %s at %s port %d",
            config.archive.title,
            config.archive.host,
            config.archive.port,
        )
        transport = connect(
            config.archive.host, config.archive.port, self._at_most(config.timeouts.connect), config.request.ip
        )
        with contextlib.ExitStack() as stack:
            stack.callback(transport.close)
            self._on_connected(transport.peer_address)
            if self._tls is not None:
                seconds = self._at_most(config.timeouts.acse)
                self._tls.secure_request(transport, config.archive.host, Deadline(seconds, "securing the connection"))
            seconds = self._at_most(config.timeouts.acse)
            stack.pop_all()
        self._served = 0
        self._connection = connection = Connection.request(transport, request, seconds)
        self._local_address = connection.local_address
        for what in not_granted(
            request.user_information.extended_negotiations, connection.peer_information.extended_negotiations
        ):
            _log.warning("the archive does not grant %s", what)
        identity, reply = config.request.user_identity, connection.peer_information
        if identity is not None and identity.positive_response_requested and reply.user_identity_response is None:
            _log.warning("the archive did not acknowledge the user identity: it may not support user identities")
        if self._querying:
            if not connection.contexts:
                raise NoPresentationContextError(
                    f"no acceptable presentation context: the archive does not offer C-FIND to {config.ae_title!r}",
                    hint="check the archive's configuration for this AE title, or try other transfer syntaxes (-xi)",
                )
        elif self.context(MODELS[config.request.model][1]) is None:
            raise NoPresentationContextError(
                "no acceptable presentation context: the archive does not offer C-MOVE in the "
                f"{config.request.model} model to {config.ae_title!r}",
                hint="try another model (-P, -S, -O) or other transfer syntaxes (-xi)",
            )

    def context(self, abstract_syntax: str) -> Context | None:
        """Return the accepted presentation context of an abstract syntax, None if there is none."""
        contexts = self._connection.contexts.values() if self._connection is not None else ()
        return next((context for context in contexts if context.abstract_syntax == abstract_syntax), None)

    def grants_relational(self, abstract_syntax: str) -> bool:
        """Return True if the archive accepted relational queries with a C-FIND class (PS3.4 C.5.1.1)."""
        if self._connection is None or not self._querying:
            return False
        granted = self._connection.peer_information.extended_negotiations
        return any(
            one.sop_class_uid == abstract_syntax and one.service_class_application_information[:1] == b"\1"
            for one in granted
        )

    @property
    def local_address(self) -> str:
        """Local address of the last connection, empty before the first."""
        return self._local_address

    def ended(self) -> bool:
        """Return True if the archive has sent anything unasked, most likely the association's end. Do not wait."""
        return self._connection is not None and self._connection.readable(0)

    def release(self) -> None:
        """Release the association (PS3.8 7.2). Raise ``PeerError`` if the archive does not confirm."""
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        left = None if self._until is None else max(self._until - clock.now(), _FAREWELL)
        seconds = shortest(self._config.timeouts.acse, left)
        try:
            connection.release(Deadline(seconds, "waiting for the answer to the release request"))
        except PeerError as error:
            self._tell("lost", error)
            raise
        self._tell("released")

    def abort(self) -> None:
        """Abort the association, if established (PS3.8 7.3)."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.abort()
            self._tell("aborted")

    def interrupt(self) -> None:
        """Make the thread that waits for the archive lose it. Safe from any thread."""
        if (connection := self._connection) is not None:
            connection.interrupt("the client is closed")

    # -- C-MOVE --------------------------------------------------------------------------------------------------------

    def move(
        self,
        identifier: Identifier,
        on_response: Callable[[MoveResponse], None] | None = None,
        on_request: Callable[[int], None] | None = None,
    ) -> MoveResponse:
        """Send a C-MOVE request and return its final response (PS3.7 9.1.4).

        ``on_response`` is called with each response, ``on_request`` with the message ID before the request is sent.
        Raise ``PeerError`` if the association ends before the final response; ``unfinished`` then has what the archive
        counted until then. The association is aborted so that the archive stops sending.
        """
        responded = False

        def noted(response: MoveResponse) -> None:
            nonlocal responded
            responded = True
            if on_response is not None:
                on_response(response)

        served, arrived = self._served, self._arrived()
        try:
            return self._move(identifier, noted, on_request)
        except _ENDED as error:
            if not served or responded or self._arrived() > arrived:
                raise
            self._open_again(error)
            return self._move(identifier, on_response, on_request)

    def _move(
        self,
        identifier: Identifier,
        on_response: Callable[[MoveResponse], None] | None,
        on_request: Callable[[int], None] | None,
    ) -> MoveResponse:
        from movescu.services.move import MoveSCU  # late: not needed to connect

        connection, context = self._ready(MODELS[self._config.request.model][1])
        config = self._config
        scu = MoveSCU(
            self._exchange_on(connection),
            context,
            config.move_destination,
            read_pending=config.request.read_pending,
            priority=config.request.priority,
        )
        data = identifier.encode(context.transfer_syntax)
        self.moving, self.cancel_sent, self.unfinished = True, False, None
        try:
            with self._ending_on_error(connection):
                response = self._exchange_responses(scu, connection, data, on_response, on_request)
                self._served += 1
                return response
        except PeerError:
            self.unfinished = scu.unfinished
            raise
        finally:
            self.moving = False

    def _exchange_responses(
        self,
        scu: MoveSCU,
        connection: Connection,
        identifier: bytes,
        on_response: Callable[[MoveResponse], None] | None,
        on_request: Callable[[int], None] | None,
    ) -> MoveResponse:
        uncounted = self._config.receive is None
        patience = self._patience(connection, lambda: max(scu.progressed(uncounted=uncounted), self._moved()))
        message_id = next(self._message_ids)
        if on_request is not None:
            on_request(message_id)
        scu.request(identifier, patience, message_id)
        self._meanwhile()
        attendant = self._attendant(scu, connection, patience)
        for number, response in enumerate(scu.responses(patience, attendant), start=1):
            if on_response is not None:
                on_response(response)
            if number == self._config.request.cancel_after and response.status_class is StatusClass.PENDING:
                self._cancel(scu, patience)
        return response

    def _cancel(self, scu: MoveSCU, patience: Patience) -> None:
        self.cancel_sent = True
        scu.cancel(patience)

    def cancel(self) -> None:
        """Send C-CANCEL for the current request. Safe from any thread and from a signal handler."""
        self.cancelled = True
        with contextlib.suppress(OSError):  # full: already woken; closed: nothing to wake
            self._wake.send(b"\0")

    def _attendant(self, scu: MoveSCU, connection: Connection, patience: Patience) -> Callable[[], None]:
        """Return a function that waits for the archive's next message, and sends C-CANCEL once if asked meanwhile."""
        sent = False
        awake = self._config.request.cancel_after > 0 or self._config.receive is None  # nothing to spare a thread

        def attend() -> None:
            nonlocal sent
            while True:
                if self.cancelled and not sent:
                    sent = True
                    self._cancel(scu, patience)
                    patience.cancelled()
                if not (connection.at_hand or self.cancelled or awake) and (seconds := scu.rest()):
                    connection.rest(seconds, self._wakened.fileno())
                if connection.readable(patience.remaining(), self._wakened.fileno()):
                    return
                with contextlib.suppress(BlockingIOError):
                    self._wakened.recv(64)
                patience.over()

        return attend

    def take_up(self, *, until: float | None, observer: Observer | None) -> None:
        """Reset the association for the next retrieve."""
        self._until, self._observer, self.cancelled = until, observer, False
        with contextlib.suppress(BlockingIOError):
            self._wakened.recv(64)

    def echo(self) -> None:
        """Send C-ECHO (PS3.7 9.1.5). Raise ``PeerError`` unless the archive answers with success."""
        from movescu.services.echo import EchoSCU  # late: not needed for C-MOVE

        connection, context = self._ready(VERIFICATION)
        silence = Silence(self._config.timeouts.dimse or _ECHO_SECONDS, "waiting for the answer to C-ECHO")
        with self._ending_on_error(connection):
            status = EchoSCU(self._exchange_on(connection), context).echo(silence)
        if status != SUCCESS:
            raise PeerError(f"the archive answers C-ECHO with status 0x{status:04x}", hint="check the archive's log")

    # -- C-FIND --------------------------------------------------------------------------------------------------------

    def find(self, abstract_syntax: str, identifier: Identifier) -> Iterator[tuple[FindResponse, Context]]:
        """Send a C-FIND request and yield its responses, each with its presentation context (PS3.7 9.1.2).

        Read the iterator to its end before the next request. Raise ``NoPresentationContextError`` if the abstract
        syntax was not accepted, ``PeerError`` if the association ends; it is then aborted.
        """
        from movescu.services.find import FindSCU  # late: not needed for C-MOVE

        served, responded = self._served, False
        while True:
            connection, context = self._ready(abstract_syntax)
            patience = self._patience(connection, partial(getattr, connection, "last_activity"))
            scu = FindSCU(self._exchange_on(connection), context)
            try:
                with self._ending_on_error(connection):
                    scu.request(identifier.encode(context.transfer_syntax), patience, next(self._message_ids))
                    for response in scu.responses(patience):
                        responded = True
                        yield response, context
            except _ENDED as error:
                if not served or responded:
                    raise
                served = 0
                self._open_again(error)
            else:
                self._served += 1
                return

    def _open_again(self, error: PeerError) -> None:
        """Open an association instead of one that ended without a response; raise its error if there can be none."""
        if self.cancelled:
            raise error
        _log.info("%s instead of a response; asking again on a new association", error)
        try:
            self.open()
        except PeerError:
            raise error from None

    # -- common to all services --------------------------------------------------------------------------------------

    def _ready(self, abstract_syntax: str) -> tuple[Connection, Context]:
        context = self.context(abstract_syntax)
        if self._connection is None or context is None:
            raise NoPresentationContextError(f"the archive does not offer {abstract_syntax}")
        return self._connection, context

    def _exchange_on(self, connection: Connection) -> Exchange:
        """Return the exchange of the association: it knows earlier requests, to which late responses may arrive."""
        if self._exchange is None or self._exchange.connection is not connection:
            from movescu.dimse.exchange import Exchange  # late: not needed to connect

            self._exchange = Exchange(connection)
        return self._exchange

    @contextlib.contextmanager
    def _ending_on_error(self, connection: Connection) -> Iterator[None]:
        """Abort and forget the association if an error leaves the block."""
        try:
            with connection.closing_on_error():
                yield
        except PeerError as error:
            self._connection = None
            self._tell("lost", error)
            raise
        except BaseException:
            self._connection = None
            raise

    def _at_most(self, seconds: float | None) -> float | None:
        """Return a timeout cut to the time left for the retrieve. Raise ``TimedOutError`` if none is left."""
        if self._until is None:
            return seconds
        left = self._until - clock.now()
        if left <= 0:
            raise TimedOutError("timed out: the time for the whole retrieve is over")
        return left if seconds is None else min(seconds, left)

    def _patience(self, connection: Connection, progressed: Callable[[], float]) -> Patience:
        config = self._config
        return Patience(
            silence=config.timeouts.dimse,
            stall=config.timeouts.stall,
            until=self._until,
            moved=lambda: max(connection.last_activity, self._moved()),
            progressed=progressed,
        )
