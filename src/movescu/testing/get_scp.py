"""C-GET as SCP of the Query/Retrieve service class: PS3.4 C.4.3.3 and PS3.7 9.1.3.

The sub-operations go over the association of the request, on the presentation contexts for which the client proposed
the SCP role. The responses are those of C-MOVE (``move_scp``). C-CANCEL may arrive where a C-STORE response is due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from movescu.dimse.messages import CCancelRQ, CGetRQ, CGetRSP
from movescu.testing.move_scp import MoveSCP, Plan
from movescu.testing.suboperations import Destination, Outgoing, OwnAssociation

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from movescu.dimse.exchange import Exchange
    from movescu.dimse.messages import Message
    from movescu.testing.faults import Faults
    from movescu.testing.stored_objects import Entry
    from movescu.testing.suboperations import SubOperationOutcome
    from movescu.ul.negotiation import Context


class GetSCP(MoveSCP):
    """The SCP's side of one C-GET request. ``outgoing``: ends waits when the archive ends."""

    service = "C-GET"

    def __init__(
        self, exchange: Exchange, context: Context, request: CGetRQ, faults: Faults, outgoing: Outgoing
    ) -> None:
        super().__init__(exchange, context, request, faults)
        self._sender = OwnAssociation(exchange, Destination("", "", 0, "", "", 0), faults, outgoing, self._noted)
        self._cancel_received = False

    def serve_entries(self, select: Callable[[], Sequence[Entry]]) -> None:
        """Carry out the request; ``select`` returns its objects, or raises ``IdentifierError``."""

        def plan() -> Plan:
            entries = select()
            return Plan(entries, self._sender.send_all(entries))

        self.serve(plan, _drop)

    def _noted(self, message: Message) -> bool:
        """Take a C-CANCEL that arrived where a C-STORE response is due; False for any other message."""
        if not isinstance(message, CCancelRQ):
            return False
        self._cancel_received |= message.message_id_being_responded_to == self._request.message_id
        return True

    def _cancelled(self) -> bool:
        received, self._cancel_received = self._cancel_received, False  # once: what arrives after it is to be read
        return received or super()._cancelled()

    def _response(self, status: int) -> CGetRSP:
        return CGetRSP(self._request.message_id, status, self._request.affected_sop_class_uid)


def _drop(outcomes: Generator[SubOperationOutcome], _: float) -> None:
    """Carry out nothing after the final response: the association belongs to the next request."""
    outcomes.close()
