"""C-MOVE as SCP of the Query/Retrieve service class: PS3.4 C.4.2.3 and PS3.7 9.1.4.

Takes the objects and the destination of a request, runs the sub-operations (``suboperations`` sends them), and reports
each by a pending response. The final response has the counts and the Failed SOP Instance UID List. Between two
sub-operations it checks for C-CANCEL.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from movescu._runtime.late_log import logger_of
from movescu.dimse import status as codes
from movescu.dimse.messages import DATA_SET_PRESENT, CCancelRQ, CGetRQ, CGetRSP, CMoveRQ, CMoveRSP
from movescu.errors import AbortReason, AssociationReleasedError, InterruptedConnectionError, ProtocolError
from movescu.testing.faults import Faults, end
from movescu.testing.query import IdentifierError, encode_uids
from movescu.transport.deadlines import Silence

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from movescu.dimse.exchange import Exchange
    from movescu.testing.stored_objects import Entry
    from movescu.testing.suboperations import SubOperationOutcome
    from movescu.ul.negotiation import Context

_log: Final = logger_of("movescu.testing")

FAILED_SOP_INSTANCE_UID_LIST: Final = 0x00080058
UNABLE_TO_PERFORM_SUB_OPERATIONS: Final = 0xA702  # PS3.4 table C.4-2

_MOST_COUNTED: Final = 0xFFFF  # the counts are of VR US; archives omit larger ones
_COMMENT_LENGTH: Final = 64  # characters of Error Comment (0000,0902), LO
_SILENCE: Final = Silence(30.0, "the client of the archive is silent in the middle of a message")


class Plan(NamedTuple):
    """The objects of a request, and the generator that sends them."""

    entries: Sequence[Entry]
    outcomes: Generator[SubOperationOutcome]


class UnknownDestinationError(IdentifierError):
    """The archive does not know the move destination: status A801."""


@dataclass(slots=True)
class _Tally:
    """The counts of a C-MOVE response (PS3.7 table 9.1-4)."""

    remaining: int
    completed: int = 0
    failed: int = 0
    warning: int = 0
    failed_uids: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        return self.completed + self.failed + self.warning

    def count(self, outcome: SubOperationOutcome) -> None:
        self.remaining -= 1
        kind = codes.status_class(outcome.status)
        if kind is codes.StatusClass.SUCCESS:
            self.completed += 1
        elif kind is codes.StatusClass.WARNING:
            self.warning += 1
        else:
            self.failed += 1
            self.failed_uids.append(outcome.entry.sop_instance_uid)

    def status(self) -> int:
        """Return the status of the final response (PS3.4 table C.4-2)."""
        if not self.failed:
            return codes.SUCCESS
        succeeded = self.completed + self.warning
        return codes.SUB_OPERATIONS_WITH_FAILURES if succeeded else UNABLE_TO_PERFORM_SUB_OPERATIONS


class MoveSCP:
    """The SCP's side of one C-MOVE request; ``get_scp`` derives from it."""

    service = "C-MOVE"
    """Name of the service, for messages."""

    def __init__(self, exchange: Exchange, context: Context, request: CMoveRQ | CGetRQ, faults: Faults) -> None:
        self._exchange = exchange
        self._context = context
        self._request = request
        self._faults = faults
        self._tally = _Tally(0)

    def serve(self, plan: Callable[[], Plan], later: Callable[[Generator[SubOperationOutcome], float], None]) -> None:
        """Carry out the request.

        ``plan`` returns its objects, or raises ``IdentifierError``. ``later`` carries out, in the background, the
        sub-operations that remain after the final response. Raise ``PeerError`` if the association ends before.
        """
        try:
            entries, outcomes = plan()
        except IdentifierError as error:
            self._refuse(error)
            return
        self._tally = _Tally(len(entries))
        self._end_if_due()
        with contextlib.ExitStack() as stack:
            stack.callback(outcomes.close)
            cancelled = self._carry_out(outcomes)
            if self._early:
                stack.pop_all()
                self._respond(codes.SUCCESS, completed=len(entries))
                later(outcomes, self._faults.late)
                return
        self._conclude(codes.CANCEL if cancelled else self._tally.status())

    def _carry_out(self, outcomes: Generator[SubOperationOutcome]) -> bool:
        """Run and report the sub-operations, to the last or an early end. Return True after C-CANCEL."""
        while not self._early and (outcome := next(outcomes, None)) is not None:
            self._tally.count(outcome)
            self._end_if_due()
            self._respond(codes.PENDING)
            if self._cancelled():
                return True
        return False

    @property
    def _early(self) -> bool:
        return self._tally.done == self._faults.success_after

    def _end_if_due(self) -> None:
        ending = self._faults.main_ends_by
        if ending is not None and self._tally.done >= self._faults.main_ends_after:
            end(self._exchange.connection, ending)
            raise InterruptedConnectionError(f"the association ends by {ending.name} in the middle of a {self.service}")

    def _cancelled(self) -> bool:
        """Return True if the client has sent C-CANCEL, the only message allowed here (PS3.7 9.3.3.3, 9.3.4.3)."""
        connection = self._exchange.connection
        if not connection.readable(0):
            return False
        received = self._exchange.receive(_SILENCE)
        if received is None:
            connection.confirm_release(_SILENCE)
            raise AssociationReleasedError(
                f"{connection.peer} released the association in the middle of a {self.service}"
            )
        message = received[1]
        if not isinstance(message, CCancelRQ):
            raise ProtocolError(
                f"{message.name} in the middle of a {self.service}", abort_reason=AbortReason.UNEXPECTED_PDU_PARAMETER
            )
        return message.message_id_being_responded_to == self._request.message_id

    # -- responses -----------------------------------------------------------------------------------------------------

    def _conclude(self, status: int) -> None:
        if self._faults.no_final_response or self._faults.endless_pending is not None:
            self._never_conclude(self._faults.endless_pending)
        self._respond(status, completed=self._tally.completed + self._faults.overcount)

    def _never_conclude(self, interval: float | None) -> NoReturn:
        """Send a pending response at each interval, or none at all, until the client ends the association."""
        while True:
            if self._exchange.connection.readable(interval):
                self._cancelled()
            else:
                self._respond(codes.PENDING)

    def _refuse(self, error: IdentifierError) -> None:
        _log.warning("%s refused: %s", self.service, error)
        unknown = isinstance(error, UnknownDestinationError)
        response = self._response(codes.MOVE_DESTINATION_UNKNOWN if unknown else codes.DATA_SET_DOES_NOT_MATCH)
        response.error_comment = str(error)[:_COMMENT_LENGTH]
        response.offending_elements = error.offending_elements
        self._exchange.send(self._context.context_id, response, _SILENCE)

    def _respond(self, status: int, *, completed: int | None = None) -> None:
        tally = self._tally
        response = self._response(status)
        counts = (tally.remaining, tally.completed if completed is None else completed, tally.failed, tally.warning)
        if max(counts) <= _MOST_COUNTED:
            response.remaining, response.completed, response.failed, response.warning = counts
            if status not in (codes.PENDING, codes.CANCEL):  # none can remain (PS3.7 9.1.4.1.7)
                response.remaining = None
        identifier = None
        if status != codes.PENDING and tally.failed_uids:
            response.command_data_set_type = DATA_SET_PRESENT
            syntax = self._context.transfer_syntax
            identifier = encode_uids(FAILED_SOP_INSTANCE_UID_LIST, tally.failed_uids, syntax)
        self._exchange.send(self._context.context_id, response, _SILENCE, identifier)

    def _response(self, status: int) -> CMoveRSP | CGetRSP:
        return CMoveRSP(self._request.message_id, status, self._request.affected_sop_class_uid)
