"""Flushes that several jobs share."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from movescu.cohort.shared_flush import MOST, SharedFlush
from movescu.errors import StoreError

PATIENCE = 30.0


class Disk:
    """What was stored, and what of it is flushed."""

    def __init__(self) -> None:
        self.stored = self.flushed = self.flushes = 0
        self.error: StoreError | None = None
        self._lock = threading.Lock()

    def store(self) -> int:
        with self._lock:
            self.stored += 1
            return self.stored

    def flush(self) -> None:
        self.flushes += 1
        self.flushed = self.stored
        if self.error is not None:
            raise self.error


def test_full_batch_is_flushed_at_once_for_all_of_its_jobs() -> None:
    disk = Disk()
    shared = SharedFlush(disk.flush)

    def job() -> bool:
        number = disk.store()
        shared.wait(lambda: None)
        return number <= disk.flushed

    with ThreadPoolExecutor(MOST) as pool:
        jobs = [pool.submit(job) for _ in range(MOST)]
        assert all(one.result(PATIENCE) for one in jobs)
    assert disk.flushes == 1


def test_jobs_are_flushed_at_once_if_the_driver_has_nothing_else_to_do() -> None:
    disk = Disk()
    shared, joined = SharedFlush(disk.flush), threading.Semaphore(0)
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(shared.wait, joined.release) for _ in range(3)]
        for _ in jobs:
            assert joined.acquire(timeout=PATIENCE)
        shared.hurry()
        for one in jobs:
            one.result(PATIENCE)
        again = pool.submit(shared.wait, joined.release)
        assert joined.acquire(timeout=PATIENCE)
        shared.hurry()
        again.result(PATIENCE)
    assert disk.flushes == 2
    shared.hurry()  # nobody waits


def test_failure_of_a_flush_is_that_of_each_job() -> None:
    disk = Disk()
    disk.error = StoreError("cannot flush")
    shared, joined = SharedFlush(disk.flush), threading.Semaphore(0)
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(shared.wait, joined.release) for _ in range(2)]
        for _ in jobs:
            assert joined.acquire(timeout=PATIENCE)
        shared.hurry()
        for one in jobs:
            with pytest.raises(StoreError, match="cannot flush"):
                one.result(PATIENCE)
