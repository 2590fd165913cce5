"""The entries of a list that this run may request: those that no other run of the cohort holds or has ended.

An entry that another run holds goes to the end of the queue. It is looked up again until that run has ended it, which
is its verdict here, too, or has given it back. A run may correct its verdict later, when another object takes the place
of one that the entry relies on; so the verdicts that were taken over are looked up again when nothing else is left to
do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu.cohort.entry_verdict import COMPLETE, Held
from movescu.cohort.task import Task

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterator

    from movescu.cohort.entry_verdict import EntryVerdict
    from movescu.cohort.hooks import Hooks
    from movescu.cohort.journal import Journal
    from movescu.query.request_list import Row

_log: Final = logger_of("movescu.retrieve")

_PAUSE: Final = 0.5
"""Seconds between two checks of an entry that another run holds."""


class SharedEntries:
    """Takes entries from a queue; not thread-safe. ``journal``: None, all entries are ours.

    ``key_of``: returns the key of an entry in the journal. ``on_verdict``: called with entries that another run ended.
    ``hooks``: commands that some run has to start for a complete entry. Default: none.
    """

    def __init__(
        self,
        journal: Journal | None,
        key_of: Callable[[Row], str],
        on_verdict: Callable[[Row, EntryVerdict], None],
        hooks: Hooks | None = None,
    ) -> None:
        self._journal, self._hooks = journal, hooks
        self._key_of = key_of
        self._on_verdict = on_verdict
        self._ours: set[int] = set()
        """Numbers of the entries that this run holds."""
        self._next: dict[int, float] = {}
        """Time of the next check of entries that other runs hold, by number."""

        self._taken: dict[int, Row] = {}
        """Entries whose ends were taken over from other runs, by number."""
        self._complete: set[int] = set()
        """Numbers of those that were taken over as complete."""

    @property
    def taken(self) -> tuple[Row, ...]:
        """The entries whose ends were taken over from other runs."""
        return tuple(self._taken.values())

    def paths(self) -> Iterator[str]:
        """Yield the paths of these entries' files, below the output directory."""
        for row in self.taken:
            assert self._journal is not None  # nothing is taken over without one
            yield from self._journal.paths_of(self._key_of(row))

    def corrected(self) -> Iterator[tuple[Row, EntryVerdict | None]]:
        """Yield the entries that were taken over as complete and are not any more, with their ends, None without one.

        One without an end may be taken again.
        """
        if self._journal is None or not self._complete:
            return
        taken = {self._key_of(self._taken[number]): self._taken[number] for number in self._complete}
        for key, verdict in self._journal.verdicts():
            if (row := taken.get(key)) is None or (verdict is not None and verdict.outcome == COMPLETE):
                continue
            self._complete.discard(row.number)
            if verdict is None:
                del self._taken[row.number]
            yield row, verdict

    def take(self, waiting: deque[Task]) -> Task | None:
        """Remove and return the first task whose entry this run can hold, None if other runs hold all of them."""
        for _ in range(len(waiting)):
            task = waiting.popleft()
            while not self._is_ours(task.row):
                if task.row.number in self._next:
                    waiting.append(task)
                    break
                if len(task.chain) == 1:
                    break
                task = Task(task.chain[1:])
            else:
                return task
        return None

    def _is_ours(self, row: Row) -> bool:
        """Return True if this run holds an entry from now on; else it has a time in ``_next``, or has ended."""
        if self._journal is None or row.number in self._ours:
            return True
        now = clock.now()
        if self._next.get(row.number, 0.0) > now:
            return False
        hooks = self._hooks
        # A command that was started may have moved or changed the files.
        answer = self._journal.claim(
            self._key_of(row), is_done=lambda here: here if hooks is None else hooks.has_entered(row)
        )
        if isinstance(answer, Held):
            if answer.owner is not None and row.number not in self._next:
                _log.info("entry %d: in progress by %s", row.number, answer.owner.text)
            self._next[row.number] = now + _PAUSE
            return False
        self._next.pop(row.number, None)
        if answer is None:
            self._ours.add(row.number)
            return True
        _log.info("entry %d: %s, by %s", row.number, answer.state, answer.owner.text)
        self._taken[row.number] = row
        if answer.outcome == COMPLETE:
            self._complete.add(row.number)
        self._on_verdict(row, answer)
        return False
