"""The judgement of a retrieve: from evidence to an outcome, with reasons (PS3.4 C.4.2, PS3.7 9.1.4).

All that is known about a retrieve is in one record, ``evidence.Evidence``: the archive's statuses and counts, objects
that arrived, were stored or broke off, and the archive's list (C-FIND). ``judge`` is a pure function of it. Each kind
of evidence of failure is a ``Reason`` with the best outcome that it leaves possible; the outcome of a retrieve is the
worst of these. The judgement is therefore monotone: more evidence of failure never makes an outcome better.

An archive contradicts its own list by a final status, a failed or remaining count, objects counted and not arrived,
or by ending the association. A list made before such a statement never overrides it: the archive may have objects that
this list did not. A list made after it decides, together with the stored objects: ``request_state.Statement`` says when
a list accounts for a statement, which is then no evidence any more. Nothing undoes that objects are missing, that there
was no list, or that the disk failed.
"""

from __future__ import annotations

from enum import Enum, StrEnum

from movescu._runtime.record import Record
from movescu.dimse.status import CANCEL, SUB_OPERATIONS_WITH_FAILURES, SUCCESS
from movescu.retrieve.evidence import is_stopped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from movescu.retrieve.evidence import Evidence


class Outcome(StrEnum):
    """Outcome of a retrieve, from best to worst."""

    COMPLETE = "complete"
    NOT_FOUND = "not found"
    INCOMPLETE = "incomplete"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Reason(Enum):
    """A kind of evidence of failure, with the best outcome that it leaves possible."""

    REFUSED = "final status of failure", Outcome.FAILED
    LOST = "association lost", Outcome.FAILED
    CANCELLED = "cancelled from our side", Outcome.CANCELLED
    STOPPED = "the archive cancelled, unasked", Outcome.INCOMPLETE
    WARNED = "final status of warning", Outcome.INCOMPLETE
    COUNTED_AS_FAILED = "failed sub-operations", Outcome.INCOMPLETE
    REMAINING = "sub-operations not carried out", Outcome.INCOMPLETE
    SHORT = "counted as delivered and not arrived", Outcome.INCOMPLETE
    NOT_STORED = "arrived and not stored", Outcome.INCOMPLETE
    BROKEN_OFF = "transfer broke off", Outcome.INCOMPLETE
    CUT_OFF = "time over", Outcome.INCOMPLETE
    LATE = "sent after the final response", Outcome.INCOMPLETE
    MISSING = "listed and not here", Outcome.INCOMPLETE
    UNLISTED = "no list to verify with", Outcome.INCOMPLETE
    NOTHING_FOUND = "nothing found", Outcome.NOT_FOUND
    UNFOUND = "not everything found", Outcome.INCOMPLETE
    UNFLUSHED = "not flushed to the disk", Outcome.INCOMPLETE

    def __init__(self, words: str, outcome: Outcome) -> None:
        self.words = words
        self.outcome = outcome


_NO_FAILURE: Final = (SUCCESS, CANCEL, SUB_OPERATIONS_WITH_FAILURES)
"""Final statuses that are not failures (PS3.4 table C.4-2); any other is one, known or not."""

_TESTS: Final[dict[Reason, Callable[[Evidence], object]]] = {
    Reason.REFUSED: lambda e: any(status not in _NO_FAILURE for status in e.statuses),
    Reason.LOST: lambda e: e.lost,
    Reason.CANCELLED: lambda e: e.cancelled,
    Reason.STOPPED: is_stopped,
    Reason.WARNED: lambda e: SUB_OPERATIONS_WITH_FAILURES in e.statuses,
    Reason.COUNTED_AS_FAILED: lambda e: e.failed,
    Reason.REMAINING: lambda e: e.remaining,
    Reason.SHORT: lambda e: e.short,
    Reason.NOT_STORED: lambda e: e.not_stored,
    Reason.BROKEN_OFF: lambda e: e.broken_off,
    Reason.CUT_OFF: lambda e: e.cut_off,
    Reason.LATE: lambda e: e.late,
    Reason.MISSING: lambda e: e.missing,
    Reason.UNLISTED: lambda e: e.unlisted,
    Reason.NOTHING_FOUND: lambda e: e.nothing_found,
    Reason.UNFOUND: lambda e: e.unfound,
    Reason.UNFLUSHED: lambda e: e.unflushed,
}


class Judgement(Record):
    """The outcome of a retrieve and its reasons; no reasons means complete."""

    outcome: Outcome
    reasons: tuple[Reason, ...] = ()


_OUTCOMES: Final = tuple(Outcome)


def judge(evidence: Evidence) -> Judgement:
    """Return the outcome that the evidence leaves possible, with all reasons."""
    reasons = tuple([reason for reason, test in _TESTS.items() if test(evidence)])
    worst = max((_OUTCOMES.index(reason.outcome) for reason in reasons), default=0)
    return Judgement(_OUTCOMES[worst], reasons)
