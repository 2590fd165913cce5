"""The target of several retrieves at once: they share flushes, and none relies on one that does not cover it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from movescu.errors import StoreError
from movescu.storage.options import StorageOptions
from movescu.storage.target import Target

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 30.0


class Arrivals:
    """A lock that tells how many threads want it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.wanted = threading.Semaphore(0)

    def __enter__(self) -> None:
        self.wanted.release()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@pytest.mark.parametrize("fails", [False, True], ids=["succeeds", "fails"])
def test_retrieves_that_end_during_a_flush_share_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    target: Any = Target(StorageOptions(directory=str(tmp_path)), grouped=True)
    arrivals, begun, go_on, flushes = Arrivals(), threading.Event(), threading.Event(), []
    outcomes: list[str] = []

    def flush() -> None:
        flushes.append(1)
        begun.set()
        assert go_on.wait(PATIENCE)
        if fails and len(flushes) == 2:
            raise StoreError("no space")

    def end() -> None:
        try:
            target.flush()
            outcomes.append("flushed")
        except StoreError:
            outcomes.append("failed")

    monkeypatch.setattr(target, "_flushing", arrivals)
    monkeypatch.setattr(target._directory, "flush", flush)
    threads = [threading.Thread(target=end) for _ in range(5)]
    threads[0].start()
    assert begun.wait(PATIENCE)
    for thread in threads[1:]:
        thread.start()
    for _ in threads:
        assert arrivals.wanted.acquire(timeout=PATIENCE)
    go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(flushes) == (3 if fails else 2)
    assert sorted(outcomes) == ["failed"] * fails + ["flushed"] * (5 - fails)
    target.flush()
    assert len(flushes) == (4 if fails else 3), "what is stored later needs a flush of its own"
    monkeypatch.undo()
    target.close()
