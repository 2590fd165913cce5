"""Flushes that several jobs share: the objects of all that have been delivered within a second.

A flush takes as long as the disk needs, however many files there are. With one for each entry, the disk would decide
how many small entries are retrieved in a second. So a job whose objects have all been delivered joins a batch and
waits, while its worker carries out the next one. The first job of the batch flushes for all of them: a second after it
joined, when the batch is full, or at once if the driver has nothing else to do. No verdict is given before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu._runtime import clock

if TYPE_CHECKING:
    from collections.abc import Callable

TOGETHER: Final = 1.0
"""Seconds within which delivered jobs share a flush."""
MOST: Final = 64
"""Highest number of jobs that share one."""


class _Batch:
    def __init__(self) -> None:
        self.jobs = 0
        self.hurries = self.ended = False
        self.error: BaseException | None = None


class SharedFlush:
    """Flushes for the jobs of several threads. ``flush``: flushes what was stored before its call."""

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._changed = clock.Condition()
        self._open: _Batch | None = None
        """The batch that further jobs join."""

    def wait(self, on_joined: Callable[[], None]) -> None:
        """Wait until what was stored so far is flushed. Raise what ``flush`` raises.

        ``on_joined``: called once ``hurry`` has an effect on the wait.
        """
        with self._changed:
            batch = self._open
            first = batch is None
            if batch is None:
                batch = self._open = _Batch()
            batch.jobs += 1
            on_joined()
            if not first:
                if batch.jobs == MOST:
                    self._changed.notify_all()
                self._changed.wait_for(lambda: batch.ended)
            else:
                self._changed.wait_for(lambda: batch.hurries or batch.jobs >= MOST, TOGETHER)
                self._open = None
        if first:
            self._flush_for(batch)
        if batch.error is not None:
            raise batch.error

    def _flush_for(self, batch: _Batch) -> None:
        try:
            self._flush()
        except BaseException as error:  # noqa: BLE001 - raised by each job of the batch
            batch.error = error
        with self._changed:
            batch.ended = True
            self._changed.notify_all()

    def hurry(self) -> None:
        """Flush for the jobs that wait now."""
        with self._changed:
            if self._open is not None:
                self._open.hurries = True
                self._changed.notify_all()
