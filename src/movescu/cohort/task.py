"""Tasks that wait to be requested: an entry, or a part of one that is requested series by series (``--split``).

An entry for more objects than that is listed first. Its series become tasks of their own, which may run side by side.
Then the entry is requested as a whole: by its list, which was made after all of them, only what is missing is requested
once more. It is complete only if this last list and the disk say so, and if that list accounts for whatever the archive
stated against a part (``request_state.Statement``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from movescu._runtime.record import replace
from movescu.cohort.entries import entry_event
from movescu.cohort.postponed import Postponed
from movescu.events import EntryState
from movescu.query.levels import LEVEL
from movescu.retrieve.causes import INTERRUPTED, cause_of
from movescu.retrieve.evidence import joined

if TYPE_CHECKING:
    from movescu.cohort.gathered_objects import Gathered
    from movescu.cohort.job import JobVerdict
    from movescu.events import EntryEvent
    from movescu.query.identifier import Identifier
    from movescu.query.request_list import Row
    from movescu.retrieve.causes import Cause
    from movescu.retrieve.request_state import Statement
    from movescu.retrieve.result import Result


@dataclass(slots=True)
class Task:
    """The first entry of a chain, or a part of it. ``split``: that it belongs to; its last task has no ``part``."""

    chain: list[Row]
    earlier: Postponed = field(default_factory=Postponed)
    part: Identifier | None = None
    split: Split | None = None

    @property
    def row(self) -> Row:
        """The entry."""
        return self.chain[0]

    @property
    def end(self) -> EntryEvent | None:
        """The end of the entry if nothing more is requested; None if nothing was."""
        if self.split is None:
            return self.earlier.end
        return self.split.interrupted

    @property
    def identifier(self) -> Identifier:
        """The keys to request."""
        return self.row.identifier if self.part is None else self.part


class RunningTask(NamedTuple):
    """A task whose job is with a worker, and the reports on that job."""

    job: int
    task: Task
    gathered: Gathered


class Split:
    """An entry that is requested in parts; ``last``: the task that follows them."""

    def __init__(self, whole: Task, parts: list[Identifier]) -> None:
        self.last = Task(whole.chain, whole.earlier, None, self)
        self.parts = [Task(whole.chain, Postponed(), part, self) for part in parts]
        self._open = len(parts)
        self._statements: list[tuple[Identifier, Statement]] = []  # with the keys of the part

    @property
    def interrupted(self) -> EntryEvent:
        """The end of the entry if no more parts are requested."""
        whole = self.last.earlier
        state = EntryState.PARTIAL if whole.stored else EntryState.FAILED
        return entry_event(self.last.row, state, INTERRUPTED, stored=whole.stored, size=whole.size, attempts=1)

    def part_ended(self, task: Task, verdict: JobVerdict) -> Task | None:
        """Record the end of a part; return the last task once all have ended."""
        assert task.part is not None
        known = verdict.earlier or task.earlier.earlier
        self._statements += [(task.part, said) for earlier in known for said in earlier.statements]
        whole, stored = self.last.earlier, verdict.result
        whole.earlier = tuple(one.with_parts(known) for one in whole.earlier)
        whole.stored += task.earlier.stored + (0 if stored is None else stored.stored)
        whole.size += task.earlier.size + (0 if stored is None else stored.size)
        self._open -= 1
        return None if self._open else self.last

    def judged(
        self, result: Result | None, cause: Cause | None, gathered: Gathered
    ) -> tuple[Result | None, Cause | None]:
        """Return result and cause of the last task, corrected by the failures of the parts."""
        standing = [
            said.evidence
            for part, said in self._statements
            if not _accounted(said, part, dict.fromkeys(gathered.of_part(part)))
        ]
        if result is None or not standing:
            return result, cause
        result = replace(result, evidence=joined((result.evidence, *standing)))
        return result, cause_of(result)


def _accounted(said: Statement, part: Identifier, listed: dict[str, None]) -> bool:
    """Return True if a later list of a part's series accounts for a statement; a list of objects does not grow."""
    fixed = part.text(LEVEL) == "IMAGE"
    return (replace(said, listed=max(said.listed, len(listed))) if fixed else said).is_accounted_for(listed)
