"""The association with the archive: the requester's side of C-FIND, C-MOVE and C-GET (PS3.4 C.4.1 to C.4.3).

Opens the association, sends one request after the other and waits for the responses within the limits of
``transport.deadlines``; another thread can cancel the request. The receiving side is in ``storage_server``; ``handle``
joins the two.
"""

from __future__ import annotations

import contextlib
import itertools
from functools import partial

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu.dictionary.uids import VERIFICATION
from movescu.dimse.status import SUCCESS, StatusClass
from movescu.errors import NoPresentationContextError, PeerError, TimedOutError
from movescu.retrieve.association_request import association_request, query_request, warn_of_missing
from movescu.retrieve.config import GET_CLASSES, MODELS
from movescu.retrieve.service_choice import ServiceChoice
from movescu.retrieve.stragglers import shortest
from movescu.transport import network
from movescu.transport.connection import Connection
from movescu.transport.deadlines import BoundedSilence, Deadline, Patience, Silence
from movescu.transport.sockets import connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

    from movescu.dimse.exchange import Exchange
    from movescu.query.identifier import Identifier
    from movescu.retrieve.association_request import StorageContext
    from movescu.retrieve.config import Config
    from movescu.retrieve.observer import Observer
    from movescu.services.find import FindResponse
    from movescu.services.move import MoveResponse, MoveSCU
    from movescu.services.store import StorageSCP
    from movescu.transport.tls import TLS
    from movescu.ul.negotiation import Context

_log: Final = logger_of("movescu.retrieve")

_FAREWELL: Final = 1.0
"""Seconds. Wait for A-RELEASE-RP once the total timeout has expired."""

_ECHO_SECONDS: Final = 30.0
"""Seconds. Wait for the C-ECHO response if no DIMSE timeout is set."""


class ArchiveAssociation:
    """An association with the archive; it can be opened again after it was lost.

    ``until``: deadline of the whole retrieve, on the monotonic clock. ``moved``: returns when a byte last arrived on a
    storage association; an archive that is sending objects is not silent. ``message_ids``: for C-MOVE requests; shared
    by associations whose message IDs must differ. ``further``: abstract syntaxes to propose beside the model's own.
    ``meanwhile``: called after each C-MOVE request is sent, while the archive works on it. ``observer``: notified when
    the association opens and ends. ``querying``: for C-FIND alone; nothing that retrieves is
    proposed. ``service``: C-MOVE or C-GET. Default: as configured.
    """

    def __init__(  # noqa: PLR0913 - options of a retrieve, each with a default
        self,
        config: Config,
        *,
        tls: TLS | None = None,
        until: float | None = None,
        moved: Callable[[], float] = lambda: 0.0,
        message_ids: Iterator[int] | None = None,
        further: tuple[str, ...] = (),
        meanwhile: Callable[[], None] = lambda: None,
        observer: Observer | None = None,
        querying: bool = False,
        service: ServiceChoice | None = None,
    ) -> None:
        self.service = ServiceChoice(config) if service is None else service
        """The service that retrieves."""
        self.storage: tuple[StorageContext, ...] = ()
        """Presentation contexts for the objects of C-GET, proposed by ``open``. Default: common ones."""
        self.answered = False
        """Whether the archive sent anything for the last C-GET request."""
        self._querying = querying
        self._config = config
        self._tls = tls
        self._until = until
        self._moved = moved
        self._message_ids = message_ids if message_ids is not None else itertools.cycle(range(1, 0x10000))
        self._further = further
        self._meanwhile = meanwhile
        self._observer = observer
        self._connection: Connection | None = None
        self._local_address = ""
        self._exchange: Exchange | None = None
        self._wakened, self._wake = network.socketpair()
        self._wakened.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._wake.setblocking(False)  # noqa: FBT003 - as above
        self.cancelled = False
        """Whether ``cancel`` was called."""
        self.moving = False
        """Whether a C-MOVE request is in progress."""
        self.cancel_sent = False
        """Whether C-CANCEL was sent for the current or last request."""
        self._cancel_asked = False  # the same, but for ``Request.cancel_after``

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
        if self._querying:
            request = query_request(config)
        else:
            classes, storage = self.service.classes(config.request.model), self._storage_contexts()
            request = association_request(config, *self._further, retrieving=classes, storage=storage)
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
            if self._tls is not None:
                seconds = self._at_most(config.timeouts.acse)
                self._tls.secure_request(transport, config.archive.host, Deadline(seconds, "securing the connection"))
            seconds = self._at_most(config.timeouts.acse)
            stack.pop_all()
        self._connection = connection = Connection.request(transport, request, seconds)
        self._local_address = connection.local_address
        warn_of_missing(request.user_information, connection.peer_information)
        if self._querying:
            if not connection.contexts:
                raise NoPresentationContextError(
                    f"no acceptable presentation context: the archive does not offer C-FIND to {config.ae_title!r}",
                    hint="check the archive's configuration for this AE title, or try other transfer syntaxes (-xi)",
                )
        else:
            self.service.require(config, frozenset(one.abstract_syntax for one in connection.contexts.values()))

    def _storage_contexts(self) -> tuple[StorageContext, ...]:
        if not self.service.gets or self._config.receive is None:
            return ()
        if not self.storage:
            from movescu.retrieve.storage_plan import filled  # late: needed for C-GET alone

            self.storage = filled((), self._config.receive)
        return self.storage

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

    # -- C-MOVE and C-GET ----------------------------------------------------------------------------------------------

    def move(
        self,
        identifier: Identifier,
        on_response: Callable[[MoveResponse], None] | None = None,
        on_request: Callable[[int], None] | None = None,
    ) -> MoveResponse:
        """Send a C-MOVE request and return its final response (PS3.7 9.1.4).

        ``on_response`` is called with each response, ``on_request`` with the message ID before the request is sent.
        Raise ``PeerError`` if the association ends before the final response. The association is then aborted so that
        the archive stops sending.
        """
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
        return self._carry_out(scu, connection, identifier.encode(context.transfer_syntax), on_response, on_request)

    def get(
        self,
        identifier: Identifier,
        scp_within: Callable[[Deadline], StorageSCP],
        on_response: Callable[[MoveResponse], None] | None = None,
        on_request: Callable[[int], None] | None = None,
    ) -> MoveResponse:
        """Send a C-GET request, store what arrives, and return its final response (PS3.7 9.1.3); see ``move``.

        ``scp_within`` returns the SCP of the objects; it is called with the limit on the archive within a message.
        """
        from movescu.services.get import GetSCU  # late: not needed to connect

        connection, context = self._ready(GET_CLASSES[self._config.request.model])
        config, limits = self._config, self._config.timeouts
        seconds = shortest(limits.store, limits.dimse, limits.stall)
        within = BoundedSilence(seconds, "the archive is silent in the middle of an object", self._until)
        scu = GetSCU(
            self._exchange_on(connection),
            context,
            scp_within(within),
            config.archive.title,
            read_pending=config.request.read_pending,
            priority=config.request.priority,
        )
        try:
            return self._carry_out(scu, connection, identifier.encode(context.transfer_syntax), on_response, on_request)
        finally:
            self.answered = scu.answered

    def _carry_out(
        self,
        scu: MoveSCU,
        connection: Connection,
        identifier: bytes,
        on_response: Callable[[MoveResponse], None] | None,
        on_request: Callable[[int], None] | None,
    ) -> MoveResponse:
        self.moving, self.cancel_sent, self._cancel_asked = True, False, False
        try:
            with self._ending_on_error(connection):
                uncounted = self._config.receive is None
                patience = self._patience(
                    connection,
                    lambda: max(scu.progressed(uncounted=uncounted), self._moved()),
                    silent_where=f"where a {scu.service} response is due",
                )
                message_id = next(self._message_ids)
                if on_request is not None:
                    on_request(message_id)
                scu.request(identifier, patience, message_id)
                self._meanwhile()
                attend = partial(self._attend, scu, connection, patience)
                for number, response in enumerate(scu.responses(patience, attend), start=1):
                    if on_response is not None:
                        on_response(response)
                    if number == self._config.request.cancel_after and response.status_class is StatusClass.PENDING:
                        self._cancel(scu, patience)
                return response
        finally:
            self.moving = False

    def _cancel(self, scu: MoveSCU, patience: Patience) -> None:
        self.cancel_sent = True
        scu.cancel(patience)

    def cancel(self) -> None:
        """Send C-CANCEL for the current request. Safe from any thread and from a signal handler."""
        self.cancelled = True
        with contextlib.suppress(OSError):  # full: already woken; closed: nothing to wake
            self._wake.send(b"\0")

    def _attend(self, scu: MoveSCU, connection: Connection, patience: Patience) -> None:
        """Wait for the archive's next message, and send C-CANCEL once if asked meanwhile."""
        if connection.at_hand and not self.cancelled:
            return
        config = self._config
        # Nothing to spare a thread: none stores, or this one does.
        awake = config.request.cancel_after > 0 or not config.listens or self.service.gets
        while True:
            if self.cancelled and not self._cancel_asked:
                self._cancel_asked = True
                self._cancel(scu, patience)
                patience.cancelled()
            if not (connection.at_hand or self.cancelled or awake) and (seconds := scu.rest()):
                connection.rest(seconds, self._wakened.fileno())
            if connection.readable(patience.remaining(), self._wakened.fileno()):
                return
            with contextlib.suppress(BlockingIOError):
                self._wakened.recv(64)
            patience.over()

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

        connection, context = self._ready(abstract_syntax)
        patience = self._patience(connection, lambda: connection.last_activity)
        scu = FindSCU(self._exchange_on(connection), context)
        with self._ending_on_error(connection):
            scu.request(identifier.encode(context.transfer_syntax), patience, next(self._message_ids))
            for response in scu.responses(patience):
                yield response, context

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

    def _patience(
        self,
        connection: Connection,
        progressed: Callable[[], float],
        silent_where: str = "where a C-FIND response is due",
    ) -> Patience:
        config = self._config
        return Patience(
            silence=config.timeouts.dimse,
            stall=config.timeouts.stall,
            until=self._until,
            moved=lambda: max(connection.last_activity, self._moved()),
            progressed=progressed,
            silent_where=silent_where,
        )


def release_quietly(association: ArchiveAssociation) -> None:
    """Release an association whose work is done: a missing confirmation changes nothing."""
    with contextlib.suppress(PeerError):
        association.release()
