"""The writer alone, on the simulated disk: what it says is flushed outlasts a loss of power, whatever was written how.

Files in folders or not, few or many, new, of the same content, in place of others, or of an earlier run that relied on
nothing; with ``O_TMPFILE`` and ``syncfs`` or without; flushed together or one by one. One call may fail.
"""

from __future__ import annotations

import errno
import os
import random
from typing import TYPE_CHECKING

import pytest
from simulation.disk import PATH
from simulation.world import World

from movescu.errors import StoreError
from movescu.storage import durability
from movescu.storage.durability import Durability
from movescu.storage.writer import OutputDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEDS = int(os.environ.get("MOVESCU_SIMULATE", "0")) or 24
FIRST = int(os.environ.get("MOVESCU_SEED", "0"))


class Writing:
    """A run that stores files and flushes them; ``wrong``: files that were to be on the disk and are not."""

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch, *, fail: int = 0) -> None:
        self.random = choice = random.Random(seed)
        self.durability = choice.choice((Durability.END, Durability.END, Durability.OBJECT))
        self.grouped = choice.random() < 0.3
        self.number = choice.choice((1, 3, 15, 16, 17, 30))
        self.paths = [f"{choice.choice(('', '', '1/', '1/2/', '3/4/5/'))}CT.{number}" for number in range(self.number)]
        self.committed: dict[str, bytes] = {}
        self.wrong: list[str] = []
        self.outcomes: list[str] = []
        monkeypatch.setattr(durability, "_BEHIND", choice.choice((400, 1 << 20)))  # bytes
        world = World(seed, count=1, unnamed=choice.random() < 0.6, syncfs=choice.random() < 0.6, switching=0.1)
        with world:
            self.disk = world.disk
            self._store_earlier()
            directory = OutputDirectory(PATH, self.durability, grouped=self.grouped)
            self.disk.calls, self.disk.fail_at, self.disk.failing = 0, fail, errno.EIO
            self.disk.names.clear()
            try:
                self._run(world, directory)
            finally:
                directory.close()

    def _store_earlier(self) -> None:
        """Store some files as a run did that was killed before it flushed anything."""
        directory = OutputDirectory(PATH, Durability.OFF)
        for path in self.paths:
            if self.random.random() < 0.3:
                self._store(directory, path)
        directory.close()
        self.earlier = dict(self.committed)
        self.committed.clear()

    def _store(self, directory: OutputDirectory, path: str) -> None:
        data = bytes([self.random.randrange(2)]) * 50
        file = directory.create()
        try:
            file.begin(b"meta", data)
        except StoreError:
            file.discard()
            raise
        file.commit(path)
        self.committed[path] = b"meta" + data

    def _run(self, world: World, directory: OutputDirectory) -> None:
        for path in self.paths:
            try:
                if path in self.earlier and self.random.random() < 0.5:
                    directory.rely(path, len(self.earlier[path]))
                    self.committed[path] = self.earlier[path]
                else:
                    self._store(directory, path)
                    if self.durability is Durability.OBJECT:
                        self._compare("acknowledged", path)
            except StoreError as error:
                self.committed.pop(path, None)
                self.outcomes.append(str(error))
            if self.random.random() < 0.1:
                self._flush(directory)
            world.scheduler.pause()
        self._flush(directory)

    def _flush(self, directory: OutputDirectory) -> None:
        try:
            directory.flush()
        except StoreError as error:
            self.outcomes.append(str(error))
            return
        self._compare("flushed", *self.committed)

    def _compare(self, what: str, *paths: str) -> None:
        stable = self.disk.files(stable=True)
        self.wrong += [f"{path} was {what}" for path in paths if stable.get(path) != self.committed[path]]


def failing(clean: Writing, seed: int) -> Iterator[int]:
    """Yield numbers of calls that may fail: a few, and each kind of flush."""
    names = clean.disk.names
    flushes = [number for number, name in enumerate(names, start=1) if name in ("fsync", "syncfs")]
    yield from sorted({*random.Random(seed).sample(range(1, len(names) + 1), 4), *flushes[:2], *flushes[-3:]})


@pytest.mark.parametrize("part", range(2))
def test_flushed_files_outlast_a_loss_of_power(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(FIRST + part, FIRST + SEEDS, 2):
        clean = Writing(seed, monkeypatch)
        assert (clean.outcomes, clean.wrong) == ([], []), seed
        for call in failing(clean, seed):
            failed = Writing(seed, monkeypatch, fail=call)
            assert not failed.wrong, (seed, call, failed.disk.failed, failed.outcomes)
