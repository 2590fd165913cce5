"""Result of a retrieve: the source of the report, of the exit code and of a program's decisions."""

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
    """Result of a retrieve: final responses, objects that arrived, and the evidence for ``judgement``.

    ``stored``, ``failed``: objects that arrived and were stored, or not. ``size``: bytes of the data sets stored.
    ``arrived``: objects that arrived for the request, stored or not; one that arrived twice for a request counts once.
    """

    responses: tuple[MoveResponse, ...]
    stored: int
    failed: int
    size: int
    arrived: int
    evidence: Evidence
    failures: dict[str, str]
    """Why objects were not stored, by SOP instance UID; at most 1000."""
    rejected: tuple[RejectedClass, ...] = ()
    """SOP classes with presentation contexts that a sender proposed and we did not accept."""
    broken_off: tuple[str, ...] = ()
    """SOP instance UIDs of objects whose transfer broke off; none after C-CANCEL, which explains it."""
    verified: bool = False
    """Whether the objects were compared with the archive's list (C-FIND)."""
    missing_uids: tuple[str, ...] = ()
    """SOP instance UIDs of objects that the archive lists and that were not stored."""
    extra_uids: tuple[str, ...] = ()
    """SOP instance UIDs of objects that arrived and that the archive does not list."""
    already_there: int = 0
    """Number of objects that were stored before and not requested."""
    attempts: int = 1
    unlisted: str = ""
    """Why the archive could not be queried (C-FIND), else empty."""
    errors: tuple[str, ...] = ()
    """Errors that ended the association with the archive before a final response."""
    unfound: tuple[str, ...] = ()
    """Unique key values of the requests for which the archive lists nothing."""
    unmet: str = ""
    """Which conditions of the selection no series meets, though the archive has some; else empty."""
    fallback: str = ""
    """Why C-MOVE replaced C-GET, else empty."""
    service: str = "C-MOVE"
    """C-MOVE or C-GET, whichever carried out the last request."""

    @property
    def expected(self) -> int:
        """Number of objects that the archive counts as delivered; if it does not count, of those that arrived."""
        return self.arrived + self.evidence.short

    @property
    def missing(self) -> int:
        """Number of objects that the archive lists or, without a list, counts as delivered, and that did not arrive."""
        return max(self.evidence.missing, self.evidence.short)

    @property
    def judgement(self) -> Judgement:
        """The outcome and its reasons."""
        from movescu.retrieve.judgement import judge  # late: needed after the final response

        return judge(self.evidence)

    @property
    def outcome(self) -> str:
        """``complete``, ``not found``, ``incomplete``, ``cancelled`` or ``failed``; see ``judgement``."""
        return self.judgement.outcome.value

    @property
    def complete(self) -> bool:
        """Whether every object was stored, as far as can be known."""
        return self.outcome == "complete"

    def raise_for_incomplete(self) -> None:
        """Raise ``IncompleteError`` unless the retrieve is complete."""
        if not self.complete:
            from movescu.retrieve.causes import cause_of  # late: needed after a failure alone

            cause = cause_of(self)
            what = "nothing found" if self.outcome == "not found" else f"retrieve {self.outcome}"
            statuses = (f"status 0x{one.status:04x} ({one.status_name})" for one in self.responses if one.status)
            reasons = (reason.words for reason in self.judgement.reasons)
            why = "; ".join(dict.fromkeys((cause.words, *self.errors, *reasons, *statuses)))
            counts = [f"{self.stored} object{'' if self.stored == 1 else 's'} stored"]
            counts += [
                f"{number} {word}" for number, word in ((self.failed, "failed"), (self.missing, "missing")) if number
            ]
            if undelivered := sum(one.failed or 0 for one in self.responses):
                counts.append(f"{undelivered} not delivered, as the archive counts")
            raise IncompleteError(f"{what}: {', '.join(counts)}; {why}", hint=cause.advice)

    def as_dict(self) -> dict[str, object]:
        """Return the result in JSON types."""
        return {
            "outcome": self.outcome,
            "reasons": [reason.words for reason in self.judgement.reasons],
            **{name: getattr(self, name) for name in ("stored", "failed", "size", "expected", "missing", "verified")},
            "already_there": self.already_there,
            "attempts": self.attempts,
            **({"fallback": self.fallback} if self.fallback else {}),
            "statuses": [f"0x{response.status:04x}" for response in self.responses],
            "missing_sop_instance_uids": list(self.missing_uids),
            "extra_sop_instance_uids": list(self.extra_uids),
            "failures": dict(self.failures),
            "errors": [*self.errors, *filter(None, (self.unmet, self.unlisted))],
        }

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={n}" for name in ("stored", "failed", "missing") if (n := getattr(self, name)))
        return f"<Result {self.outcome}{': ' if numbers else ''}{numbers}>"
