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
from movescu.services.move import MoveSCU

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from movescu.dimse.exchange import Exchange
    from movescu.services.store import StorageSCP
    from movescu.transport.deadlines import Deadline
    from movescu.ul.negotiation import Context

_log: Final = logger_of("movescu.get")


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
            self._scp.dispatch(exchange, context_id, message, self._archive)
            # What this side took to store is no silence of the archive.
            self._stored = exchange.connection.last_activity = clock.now()
