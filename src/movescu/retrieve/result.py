"""Result of a retrieve: what programs, the report and the exit code are made from."""

from __future__ import annotations

from movescu._runtime.record import Record
from movescu.errors import IncompleteError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from movescu.retrieve.evidence import Evidence
    from movescu.retrieve.judgement import Judgement
    from movescu.services.move import MoveResponse
    from movescu.ul.negotiation import RejectedClass


class Result(Record):
    """Result of a retrieve: the final response of each request, what arrived, and the evidence that it is judged by.

    ``stored``, ``failed``: objects that arrived and were stored, or not. ``size``: bytes of their data sets.
    ``arrived``: each as often as it was sent.
    """

    responses: tuple[MoveResponse, ...]
    stored: int
    failed: int
    size: int
    arrived: int
    evidence: Evidence
    failures: dict[str, str]
    """Why objects were not stored, by SOP instance UID; a thousand at most."""
    rejected: tuple[RejectedClass, ...] = ()
    """SOP classes of which a sender proposed contexts that were not accepted."""
    broken_off: tuple[str, ...] = ()
    """SOP instance UIDs of objects that came in part only; none after C-CANCEL, where that is no wonder."""
    verified: bool = False
    """Whether what is there was compared with what the archive lists."""
    missing_uids: tuple[str, ...] = ()
    """SOP instance UIDs of objects that the archive lists and that are not there."""
    extra_uids: tuple[str, ...] = ()
    """SOP instance UIDs of objects that came and that the archive does not list."""
    already_there: int = 0
    """Objects that were there before and were not asked for."""
    attempts: int = 1
    unlisted: str = ""
    """Why the archive did not tell what it holds, where it was asked."""
    errors: tuple[str, ...] = ()
    """What ended the association with the archive before a final response."""
    unfound: tuple[str, ...] = ()
    """Values of the requests' unique keys that the archive lists nothing for."""

    @property
    def expected(self) -> int:
        """How many objects ought to have arrived, by the archive's counts; where it does not count, what arrived."""
        return self.arrived + self.evidence.short

    @property
    def missing(self) -> int:
        """How many objects did not arrive that the archive lists or, if it was not asked, counts as delivered."""
        return max(len(self.missing_uids), self.evidence.short)

    @property
    def judgement(self) -> Judgement:
        """The outcome, and why."""
        from movescu.retrieve.judgement import judge  # not before there is something to judge

        return judge(self.evidence)

    @property
    def outcome(self) -> str:
        """In a word: ``complete``, ``incomplete``, ``cancelled``, or ``failed``; see ``judgement``."""
        return self.judgement.outcome.value

    @property
    def complete(self) -> bool:
        """Whether everything is there, as far as can be known."""
        return self.outcome == "complete"

    def raise_for_incomplete(self) -> None:
        """Raise ``IncompleteError`` unless everything is there, as far as can be known."""
        if not self.complete:
            statuses = (f"status 0x{one.status:04x} ({one.status_name})" for one in self.responses if one.status)
            reasons = (reason.words for reason in self.judgement.reasons)
            why = "; ".join(dict.fromkeys((*self.errors, *reasons, *statuses)))
            raise IncompleteError(
                f"the retrieve is {self.outcome}: {self.stored} object{'' if self.stored == 1 else 's'} stored, "
                f"{self.failed} failed, {self.missing} missing; {why}"
            )

    def as_dict(self) -> dict[str, object]:
        """Return the result in types that JSON knows."""
        return {
            "outcome": self.outcome,
            "reasons": [reason.words for reason in self.judgement.reasons],
            **{name: getattr(self, name) for name in ("stored", "failed", "size", "expected", "missing", "verified")},
            "already_there": self.already_there,
            "attempts": self.attempts,
            "statuses": [f"0x{response.status:04x}" for response in self.responses],
            "missing_sop_instance_uids": list(self.missing_uids),
            "extra_sop_instance_uids": list(self.extra_uids),
            "failures": dict(self.failures),
            "errors": [*self.errors, *((self.unlisted,) if self.unlisted else ())],
        }

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={n}" for name in ("stored", "failed", "missing") if (n := getattr(self, name)))
        return f"<Result {self.outcome}{': ' if numbers else ''}{numbers}>"
