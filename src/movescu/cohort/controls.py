"""What a person may tell a running list: pause, go on, and request an entry again that has ended."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from movescu.cohort.postponed import Postponed
from movescu.cohort.task import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from movescu.cohort.entry_ends import EntryEnds


class Controls:
    """Orders to a runner, which carries them out in its own thread. All methods but ``tasks`` are safe from any thread.

    ``keeps``: entries that were not complete can be retried. Default: False; their ends are not kept.
    """

    def __init__(self, *, keeps: bool = False) -> None:
        self.keeps = keeps
        self.paused = False
        """Whether no further request is started."""
        self._retries = deque[int]()

    def pause(self, *, paused: bool) -> None:
        """Start no further request, or go on; running ones are not touched."""
        self.paused = paused

    def retry(self, number: int) -> None:
        """Request an entry again that has ended and is not complete."""
        self._retries.append(number)

    def tasks(self, ends: EntryEnds) -> Iterator[Task]:
        """Yield the entries to request again, whose ends do not count any more."""
        while self._retries:
            found = ends.reopen_incomplete(self._retries.popleft())
            if found is not None:
                row, end = found
                yield Task([row], Postponed(stored=end.stored, size=end.size))
