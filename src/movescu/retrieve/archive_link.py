"""The link to the archive: an association that is opened, released, aborted, and opened again (PS3.8 7).

``association`` has the services that use it.
"""

from __future__ import annotations

import contextlib

from movescu import errors
from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu.errors import LateObjectsError, NoPresentationContextError, PeerError, ProtocolError, TimedOutError
from movescu.retrieve.association_request import (
    association_request,
    query_request,
    warn_of_missing,
)
from movescu.retrieve.service_choice import ServiceChoice
from movescu.retrieve.stragglers import shortest
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Deadline
from movescu.transport.sockets import connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Final

    from movescu.dimse.exchange import Exchange
    from movescu.retrieve.association_request import StorageContext
    from movescu.retrieve.config import Config
    from movescu.retrieve.observer import Observer
    from movescu.transport.tls import TLS
    from movescu.ul.negotiation import Context

_log: Final = logger_of("movescu.retrieve")

_FAREWELL: Final = 1.0
"""Seconds. Wait for A-RELEASE-RP once the total timeout has expired."""

_ENDED: Final = (errors.AssociationAbortedError, errors.AssociationReleasedError, errors.ConnectionLostError)
"""Ends of an association by which some archives refuse a second request on it."""

_ECHO_SECONDS: Final = 30.0
"""Seconds. Wait for the C-ECHO response if no DIMSE timeout is set."""


class ArchiveLink:
    """An association with the archive, without the services over it.

    ``until``: deadline of the whole retrieve, on the monotonic clock. ``further``: abstract syntaxes to propose beside
    the model's own. ``observer``: notified when the association opens and ends. ``querying``: for C-FIND alone; nothing
    that retrieves is proposed. ``on_connected``: called with the archive's address. ``service``: C-MOVE or C-GET.
    Default: as configured.
    """

    def __init__(  # noqa: PLR0913 - options of a retrieve, each with a default
        self,
        config: Config,
        *,
        tls: TLS | None = None,
        until: float | None = None,
        further: tuple[str, ...] = (),
        observer: Observer | None = None,
        querying: bool = False,
        on_connected: Callable[[str], None] = lambda _: None,
        service: ServiceChoice | None = None,
    ) -> None:
        self._on_connected = on_connected
        self.service = ServiceChoice(config) if service is None else service
        """The service that retrieves."""
        self.storage: tuple[StorageContext, ...] = ()
        """Presentation contexts for the objects of C-GET, proposed by ``open``. Default: common ones."""
        self._querying = querying
        self._config = config
        self._tls = tls
        self._until = until
        self._further = further
        self._observer = observer
        self._connection: Connection | None = None
        self._local_address = ""
        self._exchange: Exchange | None = None
        self.dropped = 0
        """Number of objects that followed the final responses of C-GET and were not stored."""
        self._served = 0  # requests that the archive answered on this association

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
            self._on_connected(transport.peer_address)
            if self._tls is not None:
                seconds = self._at_most(config.timeouts.acse)
                self._tls.secure_request(transport, config.archive.host, Deadline(seconds, "securing the connection"))
            seconds = self._at_most(config.timeouts.acse)
            stack.pop_all()
        self._served = 0
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
        if self._connection is not None:
            for context in self._connection.contexts.values():
                if context.abstract_syntax == abstract_syntax:
                    return context
        return None

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
        """Release the association (PS3.8 7.2).

        Raise ``LateObjectsError`` if objects arrive meanwhile (C-GET), ``PeerError`` if the archive does not confirm.
        """
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        left = None if self._until is None else max(self._until - clock.now(), _FAREWELL)
        seconds = shortest(self._config.timeouts.acse, left)
        deadline = Deadline(seconds, "waiting for the answer to the release request")
        exchange = self._exchange
        if not self.service.gets or exchange is None or exchange.connection is not connection:
            exchange = None
        try:
            (connection if exchange is None else exchange).release(deadline)
        except PeerError as error:
            self._tell("lost", error)
            self._note_dropped(exchange)
            raise
        self._tell("released")
        self._note_dropped(exchange)

    def _note_dropped(self, exchange: Exchange | None) -> None:
        """Raise ``LateObjectsError`` if objects arrived during the release."""
        if exchange is not None and (number := exchange.dropped):
            self.dropped += number
            _log.warning("the archive sent objects after its final response; they are not stored")
            raise LateObjectsError(
                f"the archive sent {number} object{'' if number == 1 else 's'} after its final response, when the "
                "association was being released: not stored",
                hint="repeat the request, and check the archive's log",
            )

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

    def _ending_on_error(self, connection: Connection) -> AbstractContextManager[None]:
        """Abort and forget the association if an error leaves the block."""
        return _Ending(self, connection)

    def _end(self, connection: Connection, error: BaseException) -> None:
        try:
            connection.abort(error if isinstance(error, ProtocolError) else None)
        finally:
            self._connection = None
        if isinstance(error, PeerError):
            self._tell("lost", error)

    def _at_most(self, seconds: float | None) -> float | None:
        """Return a timeout cut to the time left for the retrieve. Raise ``TimedOutError`` if none is left."""
        if self._until is None:
            return seconds
        left = self._until - clock.now()
        if left <= 0:
            raise TimedOutError("timed out: the time for the whole retrieve is over")
        return left if seconds is None else min(seconds, left)


class _Ending:
    """See ``ArchiveLink._ending_on_error``; a class, as a generator takes longer, and each request needs one."""

    __slots__ = ("_connection", "_link")

    def __init__(self, link: ArchiveLink, connection: Connection) -> None:
        self._link = link
        self._connection = connection

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, _kind: object, error: BaseException | None, _frames: object) -> None:
        if error is not None:
            self._link._end(self._connection, error)  # noqa: SLF001 - of this module's own class
