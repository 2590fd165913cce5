"""The association with the archive: the requester's side of C-FIND, C-MOVE and C-GET (PS3.4 C.4.1 to C.4.3).

Opens the association, sends one request after the other and waits for the responses within the limits of
``transport.deadlines``; another thread can cancel the request. The receiving side is in ``storage_server``; ``handle``
joins the two.
"""

from __future__ import annotations

import contextlib
import itertools
from functools import partial

from movescu import errors
from movescu._runtime.late_log import logger_of
from movescu.dictionary.uids import VERIFICATION
from movescu.dimse.status import SUCCESS, StatusClass, status_name
from movescu.errors import PeerError
from movescu.retrieve.archive_link import ArchiveLink
from movescu.retrieve.config import GET_CLASSES, MODELS
from movescu.retrieve.stragglers import shortest
from movescu.transport import network
from movescu.transport.deadlines import BoundedSilence, Deadline, Patience, Silence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

    from movescu.query.identifier import Identifier
    from movescu.retrieve.config import Config
    from movescu.retrieve.observer import Observer
    from movescu.retrieve.service_choice import ServiceChoice
    from movescu.services.find import FindResponse
    from movescu.services.move import MoveResponse, MoveSCU
    from movescu.services.store import StorageSCP
    from movescu.transport.connection import Connection
    from movescu.transport.tls import TLS
    from movescu.ul.negotiation import Context

_log: Final = logger_of("movescu.retrieve")

_FAREWELL: Final = 1.0
"""Seconds. Wait for A-RELEASE-RP once the total timeout has expired."""

_ENDED: Final = (errors.AssociationAbortedError, errors.AssociationReleasedError, errors.ConnectionLostError)
"""Ends of an association by which some archives refuse a second request on it."""

_ECHO_SECONDS: Final = 30.0
"""Seconds. Wait for the C-ECHO response if no DIMSE timeout is set."""


class ArchiveAssociation(ArchiveLink):
    """An association with the archive; it can be opened again after it was lost.

    ``moved``: returns when a byte last arrived on a storage association; an archive that is sending objects is not
    silent. ``arrived``: number of objects. ``message_ids``: for C-MOVE requests; shared by associations whose message
    IDs must differ. ``meanwhile``: called after each C-MOVE request is sent, while the archive works on it. For the
    others see ``ArchiveLink``.
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
        service: ServiceChoice | None = None,
    ) -> None:
        super().__init__(
            config,
            tls=tls,
            until=until,
            further=further,
            observer=observer,
            querying=querying,
            on_connected=on_connected,
            service=service,
        )
        self._moved = moved
        self._arrived = arrived
        self._message_ids = message_ids if message_ids is not None else itertools.cycle(range(1, 0x10000))
        self._meanwhile = meanwhile
        self._wakened, self._wake = network.socketpair()
        self._wakened.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._wake.setblocking(False)  # noqa: FBT003 - as above
        self.answered = False
        """Whether the archive sent anything for the last C-GET request."""
        self.cancelled = False
        """Whether ``cancel`` was called."""
        self.moving = False
        """Whether a request for objects is in progress."""
        self.unfinished: MoveResponse | None = None
        """What the archive counted for a request whose final response is missing."""
        self.cancel_sent = False
        """Whether C-CANCEL was sent for the current or last request."""
        self._cancel_asked = False  # the same, but for ``Request.cancel_after``

    def close(self) -> None:
        """Abort the association, if open, and close the sockets of ``cancel``."""
        with contextlib.ExitStack() as stack:  # runs every callback, last one first, even if one raises
            stack.callback(self._wake.close)
            stack.callback(self._wakened.close)
            stack.callback(self.abort)

    # -- C-MOVE and C-GET ----------------------------------------------------------------------------------------------

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
            data = identifier.encode(context.transfer_syntax)
            response = self._carry_out(scu, connection, data, on_response, on_request, within)
        finally:
            self.answered = scu.answered
        try:
            with self._ending_on_error(connection):
                scu.finish(response, within, limits.unannounced, self._wakened.fileno())
        except PeerError as error:  # behind a final response, this is no loss of the association
            self.dropped += 1
            _log.warning("the association ended while objects followed the final response: %s", error)
        return response

    def _carry_out(
        self,
        scu: MoveSCU,
        connection: Connection,
        identifier: bytes,
        on_response: Callable[[MoveResponse], None] | None,
        on_request: Callable[[int], None] | None,
        within: Deadline | None = None,
    ) -> MoveResponse:
        self.moving, self.cancel_sent, self._cancel_asked, self.unfinished = True, False, False, None
        try:
            with self._ending_on_error(connection):
                uncounted = self._config.receive is None
                patience = self._patience(
                    connection,
                    lambda: max(scu.progressed(uncounted=uncounted), self._moved()),
                    silent_where=f"where a {scu.service} response is due",
                    within=within,
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
                self._served += 1
                return response
        except PeerError:
            self.unfinished = scu.unfinished
            raise
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
        gets = self.service.gets
        if (connection.has_more if gets else connection.at_hand) and not self.cancelled:
            return  # a message that has begun has a limit of its own, if it may be an object
        config = self._config
        # Nothing to spare a thread: none stores, or this one does.
        awake = config.request.cancel_after > 0 or not config.listens or gets
        while True:
            if self.cancelled and not self._cancel_asked:
                self._cancel_asked = True
                self._cancel(scu, patience)
                patience.cancelled()
            if not (connection.at_hand or self.cancelled or awake) and (seconds := scu.rest()):
                connection.rest(seconds, self._wakened.fileno())
            if connection.readable(patience.remaining(), self._wakened.fileno()):
                # What is at hand lies in the buffer that the next bytes would be received into.
                if not (connection.secured or connection.at_hand):
                    connection.take()
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
            raise PeerError(
                f"the archive answers C-ECHO with status 0x{status:04x} ({status_name(status)})",
                hint="check the archive's log",
            )

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
        _log.info("%s instead of a response; requesting again over a new association", error)
        try:
            self.open()
        except PeerError:
            raise error from None

    def _patience(
        self,
        connection: Connection,
        progressed: Callable[[], float],
        silent_where: str = "where a C-FIND response is due",
        within: Deadline | None = None,
    ) -> Patience:
        config = self._config
        return Patience(
            silence=config.timeouts.dimse,
            stall=config.timeouts.stall,
            until=self._until,
            moved=lambda: max(connection.last_activity, self._moved()),
            progressed=progressed,
            silent_where=silent_where,
            within=within,
        )
