"""Failures that may be the first signs of an absence: held until it is known whether the archive is there.

An archive that shuts down fails its running requests by a status before it goes away; their entries are not to blame.
So the end of an entry that failed for a passing cause is held. It becomes final when a request that was sent later has
been carried out. If the archive turns out to be away instead, the entry is requested again, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from movescu._runtime.record import replace
from movescu.cohort.admission import RequestEnd
from movescu.cohort.entries import end_of
from movescu.cohort.job import JobVerdict
from movescu.retrieve.causes import WORKERS_LOST, Fault
from movescu.retrieve.evidence import Evidence, joined
from movescu.retrieve.result import Result

if TYPE_CHECKING:
    from movescu.cohort.gathered_objects import Gathered
    from movescu.cohort.task import RunningTask, Task
    from movescu.events import EntryEvent
    from movescu.retrieve.causes import Cause

_MOST: Final = 64
"""Highest number of ends held at once; an archive may fail every entry."""


class HeldEnd(NamedTuple):
    """The end of a task; see ``Runner``."""

    task: Task
    gathered: Gathered
    verdict: JobVerdict
    result: Result | None
    cause: Cause | None

    @property
    def event(self) -> EntryEvent:
        """The event of the end."""
        return self.task.earlier.whole_end(end_of(self.task.row, self.verdict, self.result, self.cause))

    @property
    def is_doubtful(self) -> bool:
        """Whether the entry may have failed because the archive was about to go away."""
        if self.result is None or self.cause is None or self.task.earlier.reconsidered:
            return False
        answered = bool(self.verdict.result and self.verdict.result.responses)
        elsewhere = self.cause.fault in (Fault.ARCHIVE, Fault.NETWORK, Fault.SENDER)
        failed = self.verdict.end in (RequestEnd.FAILED, RequestEnd.GOOD)
        return answered and failed and self.cause.passing and elsewhere and not self.result.complete


def end_without_worker(running: RunningTask) -> HeldEnd:
    """Return the end of a task whose workers ended unexpectedly: no more is known of it than before."""
    evidence = Evidence(lost=True)
    result = running.task.earlier.result or Result((), 0, 0, 0, 0, evidence, {})
    result = replace(result, evidence=joined((result.evidence, evidence)), errors=(*result.errors, WORKERS_LOST.words))
    verdict = JobVerdict(running.job, RequestEnd.FAILED, None, WORKERS_LOST)
    return HeldEnd(running.task, running.gathered, verdict, result, WORKERS_LOST)


class HeldEnds:
    """A queue of held ends, oldest first."""

    def __init__(self) -> None:
        self._held: list[HeldEnd] = []
        self._touched = 0

    def touch(self, job: int) -> None:
        """Record that the archive was away while jobs up to this number ran."""
        self._touched = max(self._touched, job)

    def is_touched(self, end: HeldEnd) -> bool:
        """Return True if the archive was away while the job of an end ran."""
        return end.verdict.job <= self._touched

    def __bool__(self) -> bool:
        return bool(self._held)

    def hold(self, end: HeldEnd) -> list[HeldEnd]:
        """Hold an end; return the oldest ends beyond ``_MOST``, which are final."""
        self._held.append(end)
        most, self._held = self._held[:-_MOST], self._held[-_MOST:]
        return most

    def before(self, job: int) -> list[HeldEnd]:
        """Remove and return the ends of jobs before a number."""
        earlier = [end for end in self._held if end.verdict.job < job]
        self._held = [end for end in self._held if end.verdict.job >= job]
        return earlier

    def all(self) -> list[HeldEnd]:
        """Remove and return all ends."""
        held, self._held = self._held, []
        return held
