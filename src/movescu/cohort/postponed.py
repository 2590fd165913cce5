"""What is known of an entry that is requested again: the archive's list and statements stay, and so do its objects."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace as changed
from typing import TYPE_CHECKING

from movescu._runtime.record import replace
from movescu.events import EntryState

if TYPE_CHECKING:
    from movescu.cohort.job import JobVerdict
    from movescu.events import EntryEvent
    from movescu.retrieve.causes import Cause
    from movescu.retrieve.earlier_request import EarlierRequest
    from movescu.retrieve.result import Result


@dataclass(slots=True)
class Postponed:
    """An entry over all of its jobs.

    ``refusals``: refusals that count against it. ``losses``: associations that it lost. ``workers``:
    workers that ended during one of its jobs. ``result``, ``cause``,
    ``listed``: of the last job that had an association. ``earlier``: of the last job that learned anything. ``stored``,
    ``size``: objects and bytes of all of them. ``end``: how the last job ended; None before that. ``reconsidered``: it
    failed before the archive went away, and was requested again.
    """

    refusals: int = 0
    losses: int = 0
    workers: int = 0
    result: Result | None = None
    cause: Cause | None = None
    listed: bool = False
    earlier: tuple[EarlierRequest, ...] = ()
    stored: int = 0
    size: int = 0
    end: EntryEvent | None = None
    reconsidered: bool = False

    def continued(self, result: Result | None, cause: Cause | None) -> tuple[Result | None, Cause | None]:
        """Return result and cause of another job, in view of those before."""
        if result is None or self.result is None or result.responses:
            return result, cause
        # Nothing was requested since. What the archive said stands, unless a list made afterwards accounts for it.
        if self.listed:
            return replace(result, responses=self.result.responses), cause
        return self.result, self.cause

    def whole_end(self, end: EntryEvent) -> EntryEvent:
        """Return the end of another job as that of the entry."""
        stored = min(self.stored, end.already_there)  # by this run, before a postponement
        own = stored and end.state is EntryState.COMPLETE_BEFORE
        return changed(
            end,
            state=EntryState.COMPLETE if own else end.state,
            stored=end.stored + stored,
            already_there=end.already_there - stored,
            size=end.size + self.size,
            attempts=end.attempts + self.refusals,
        )

    def keep(self, verdict: JobVerdict, result: Result | None, end: EntryEvent) -> None:
        """Keep what a job brought, before another one; ``result``: in view of those before."""
        self.end = end
        self.earlier = verdict.earlier or self.earlier
        if verdict.result is not None:
            self.result, self.cause, self.listed = result, verdict.cause, verdict.listed
            self.stored += verdict.result.stored
            self.size += verdict.result.size
