"""Orders to a running list: pause, resume, and request an incomplete entry again."""

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
        """Pause or resume the list: while paused, running requests continue and no further one starts."""
        self.paused = paused

    def retry(self, number: int) -> None:
        """Request an entry again if it ended incomplete."""
        self._retries.append(number)

    def tasks(self, ends: EntryEnds) -> Iterator[Task]:
        """Yield the entries to request again, and withdraw their ends."""
        while self._retries:
            found = ends.reopen_incomplete(self._retries.popleft())
            if found is not None:
                row, end = found
                yield Task([row], Postponed(stored=end.stored, size=end.size))
