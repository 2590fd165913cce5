"""Flushes that several jobs share."""

from __future__ import annotations

from queue import SimpleQueue
from typing import TYPE_CHECKING

from movescu.cohort.shared_flush import MOST, SharedFlush
from movescu.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

import contextlib

PATIENCE = 30.0


class Disk:
    """What was stored, and what of it is flushed; ``concluded``: the jobs with what was flushed then."""

    def __init__(self) -> None:
        self.stored = self.flushed = self.flushes = 0
        self.error: Exception | None = None
        self.concluded: SimpleQueue[tuple[int, int, StoreError | None]] = SimpleQueue()
        self.errors: SimpleQueue[BaseException] = SimpleQueue()

    def flush(self) -> None:
        self.flushes += 1
        if self.error is not None:
            raise self.error
        self.flushed = self.stored

    def shared(self) -> AbstractContextManager[SharedFlush]:
        @contextlib.contextmanager
        def closing() -> Iterator[SharedFlush]:
            shared = SharedFlush(self.flush, self.errors.put)
            yield shared
            shared.close()

        return closing()

    def add(self, shared: SharedFlush) -> None:
        self.stored += 1
        shared.add(Job(self, self.stored), lambda: None)


class Job:
    def __init__(self, disk: Disk, number: int) -> None:
        self.disk, self.number = disk, number

    def conclude(self, failure: StoreError | None) -> None:
        self.disk.concluded.put((self.number, self.disk.flushed, failure))


def test_many_jobs_are_flushed_for_at_once_and_concluded_in_order() -> None:
    disk = Disk()
    with disk.shared() as shared:
        for _ in range(MOST):
            disk.add(shared)
        found = [disk.concluded.get(timeout=PATIENCE) for _ in range(MOST)]
    assert [number for number, _, _ in found] == list(range(1, MOST + 1))
    assert all(flushed >= number and failure is None for number, flushed, failure in found)
    assert disk.flushes < 10


def test_job_is_flushed_for_at_once_if_the_driver_has_nothing_else_to_do() -> None:
    disk = Disk()
    with disk.shared() as shared:
        shared.hurry()  # nothing waits
        for number in (1, 2):
            disk.add(shared)
            shared.hurry()
            assert disk.concluded.get(timeout=PATIENCE) == (number, number, None)
    assert disk.flushes == 2


def test_failure_of_a_flush_is_that_of_each_job_and_not_of_the_next() -> None:
    disk = Disk()
    disk.error = StoreError("cannot flush")
    with disk.shared() as shared:
        for _ in range(2):
            disk.add(shared)
        shared.hurry()
        assert [disk.concluded.get(timeout=PATIENCE) for _ in range(2)] == [(1, 0, disk.error), (2, 0, disk.error)]
        disk.error = None
        disk.add(shared)
        shared.hurry()
        assert disk.concluded.get(timeout=PATIENCE) == (3, 3, None)


def test_unexpected_error_ends_the_thread_and_is_told() -> None:
    disk = Disk()
    disk.error = RuntimeError("a bug")
    with disk.shared() as shared:
        disk.add(shared)
        shared.hurry()
        assert disk.errors.get(timeout=PATIENCE) is disk.error
