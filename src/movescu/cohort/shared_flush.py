"""Flushes that several jobs share: the objects of all that have been delivered within a second.

A flush takes as long as the disk needs, however many files there are. With one for each entry, the disk would decide
how many small entries are retrieved in a second. So a job whose objects have all been delivered waits here, while its
worker carries out the next one. A thread flushes for all of them: a second after the first, when they are many, or at
once if the driver has nothing else to do. Then it concludes them, in the order of their delivery. No verdict is given
before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from movescu._runtime import clock
from movescu.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    class Delivered(Protocol):
        """A job whose objects have been delivered."""

        def conclude(self, failure: StoreError | None) -> None:
            """Judge the job, and report on it; ``failure``: of the flush. Default: None, it succeeded."""


TOGETHER: Final = 1.0
"""Seconds within which delivered jobs share a flush."""
MOST: Final = 256
"""Highest number of jobs that share one."""


class SharedFlush:
    """Flushes for delivered jobs, and concludes them.

    ``flush``: flushes what was stored before its call. ``on_error``: called with the exception that ended the thread.
    """

    def __init__(self, flush: Callable[[], None], on_error: Callable[[BaseException], None]) -> None:
        self._flush = flush
        self._on_error = on_error
        self._changed = clock.Condition()
        self._waiting: list[Delivered] = []
        self._hurries = self._closed = False
        self._thread: clock.Thread | None = None

    def add(self, job: Delivered, on_added: Callable[[], None]) -> None:
        """Flush for a job, and conclude it, soon. ``on_added``: called before that, when ``hurry`` has an effect."""
        with self._changed:
            self._waiting.append(job)
            on_added()
            if self._thread is None:
                self._thread = clock.Thread(target=self._work, name="movescu-flush", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def hurry(self) -> None:
        """Flush at once for the jobs that wait now."""
        with self._changed:
            if self._waiting:
                self._hurries = True
                self._changed.notify_all()

    def close(self) -> None:
        """End the thread once no job waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            while jobs := self._next():
                failure = None
                try:
                    self._flush()
                except StoreError as error:
                    failure = error
                for job in jobs:
                    job.conclude(failure)
        except BaseException as error:  # noqa: BLE001 - raised in the driver's thread
            self._on_error(error)

    def _next(self) -> list[Delivered]:
        """Return the jobs to flush for next, none when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            self._changed.wait_for(lambda: self._hurries or self._closed or len(self._waiting) >= MOST, TOGETHER)
            jobs, self._waiting, self._hurries = self._waiting, [], False
            return jobs
