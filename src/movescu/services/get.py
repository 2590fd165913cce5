"""The SCU of the Query/Retrieve service class, C-GET: PS3.4 C.4.3 and PS3.7 9.1.3.

The archive stores the objects over the association of the request: between the request and its responses, C-STORE
requests arrive on the presentation contexts for which this side proposed the SCP role (PS3.7 D.3.3.4). A ``StorageSCP``
carries them out, one after the other. The responses are those of C-MOVE.
"""

from __future__ import annotations

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu.dimse import PRIORITY_MEDIUM
from movescu.dimse.messages import CEchoRQ, CGetRQ, CGetRSP, CStoreRQ, Message
from movescu.dimse.status import StatusClass
from movescu.errors import PeerError
from movescu.services.move import MoveSCU
from movescu.ul.indications import Fragment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from movescu.dimse.exchange import Exchange
    from movescu.services.move import MoveResponse
    from movescu.services.store import StorageSCP
    from movescu.transport.deadlines import Deadline
    from movescu.ul.negotiation import Context

_log: Final = logger_of("movescu.get")

_COMMAND: Final = 1  # message control header, bit 0 (PS3.8 E.2)


class GetSCU(MoveSCU):
    """Query/Retrieve SCU: sends C-GET requests on one presentation context, and stores what arrives meanwhile.

    ``scp``: carries out the C-STORE requests. ``archive``: AE title of the archive, the objects' sender.
    ``read_pending``: see ``MoveSCU``.
    """

    service = "C-GET"
    _response = CGetRSP

    def __init__(
        self,
        exchange: Exchange,
        context: Context,
        scp: StorageSCP,
        archive: str,
        *,
        read_pending: bool = False,
        priority: int = PRIORITY_MEDIUM,
    ) -> None:
        super().__init__(exchange, context, "", read_pending=read_pending, priority=priority)
        self._scp = scp
        self._archive = archive
        self._stored = 0.0
        self._objects = 0  # C-STORE requests since the last C-GET request
        self.answered = False
        """Whether the archive sent anything for the last request, an object or a response."""

    def progressed(self, *, uncounted: bool) -> float:
        """Return when the last byte of an object arrived, or the counts last changed, on the monotonic clock."""
        connection = self._exchange.connection
        arrived = connection.last_activity if connection.is_within_message else self._stored
        return max(arrived, super().progressed(uncounted=uncounted))

    def request(self, identifier: bytes, deadline: Deadline, message_id: int = 0) -> int:
        """Send a request, and return its message ID; see ``MoveSCU``."""
        self.answered = False
        self._objects = 0
        return super().request(identifier, deadline, message_id)

    def _message(self) -> CGetRQ:
        _log.info("C-GET request sent (MsgID %d)", self._message_id)
        return CGetRQ(self._context.abstract_syntax, self._message_id, self._priority)

    def _next(self, deadline: Deadline, attend: Callable[[], None] | None) -> Message:
        """Carry out the C-STORE requests before the next response, and return that."""
        exchange = self._exchange
        while True:
            if attend is not None:
                attend()
            context_id, message = exchange.receive_response(deadline)
            self.answered = True
            if not isinstance(message, CStoreRQ | CEchoRQ):
                return message
            self._carry_out(context_id, message)

    def _carry_out(self, context_id: int, message: CStoreRQ | CEchoRQ) -> None:
        self._objects += isinstance(message, CStoreRQ)
        self._scp.dispatch(self._exchange, context_id, message, self._archive)
        # What this side took to store is no silence of the archive.
        self._stored = self._exchange.connection.last_activity = clock.now()

    def finish(self, final: MoveResponse, deadline: Deadline, silence: float, wake: int) -> None:
        """Carry out C-STORE requests behind the final response, which PS3.7 9.1.3 allows before it alone.

        Those that have been received are carried out without a wait. The silence, in seconds, after which there is no
        other is awaited if the archive reports success without a count and without an object, and after each object
        that its counts do not have. ``deadline``: within a message. ``wake``: the wait also ends when this descriptor
        is readable. Raise ``PeerError`` if an object breaks off; any other end of the association is left to the
        release.
        """
        exchange, connection = self._exchange, self._exchange.connection
        counted = final.completed is not None or final.pending_completed > 0
        silent = final.status_class is StatusClass.SUCCESS and not (counted or self._objects)
        while connection.has_more or connection.readable(silence if silent else 0, wake):
            try:
                first = connection.peek(deadline)
            except PeerError:
                return
            if not (isinstance(first, Fragment) and first.control & _COMMAND):
                return  # the end, or a list of failed objects that was given up
            received = exchange.receive(deadline)
            if received is not None and isinstance(received[1], CStoreRQ | CEchoRQ):
                if not isinstance(received[1], CEchoRQ):
                    _log.warning("the archive sent an object after its final response, against PS3.7 9.1.3")
                self._carry_out(received[0], received[1])
            delivered = max((final.completed or 0) + (final.warning or 0), final.pending_completed)
            silent = self._objects != delivered
