"""The writer alone, on the simulated disk: whatever is written how, and whichever call fails.

Files in folders or not, few or many, new, of the same content, in place of others, beside others of their name, or of
an earlier run that was killed before it flushed anything; with ``O_TMPFILE`` and ``syncfs`` or without; flushed
together or one by one. A file has its name with its whole content only, and what is said to be flushed outlasts a loss
of power.
"""

from __future__ import annotations

import errno
import gc
import os
import random
from typing import TYPE_CHECKING, Any

import pytest
from simulation.disk import PATH, SHORT
from simulation.world import World

from movescu.errors import StoreError
from movescu.storage import durability, files
from movescu.storage.durability import Durability
from movescu.storage.failed_flushes import FILE_NAME
from movescu.storage.naming import Alternative, Naming
from movescu.storage.writer import ObjectFile, OutputDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEDS = int(os.environ.get("MOVESCU_SIMULATE", "0")) or 10
FIRST = int(os.environ.get("MOVESCU_SEED", "0"))
META = b"meta"


class Run:
    """A run that stores files and flushes them; ``wrong``: what does not hold of the disk, or of what was said."""

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch, *, fail: int = 0) -> None:
        self.random = choice = random.Random(seed)
        self.durability = (Durability.END, Durability.OBJECT, Durability.END)[seed % 3]
        self.grouped = choice.random() < 0.3
        self.beside = choice.random() < 0.3  # whether an object leaves the file of another one of its name alone
        number = choice.choice((3, 15, 16, 17, 20))
        self.paths = [f"{choice.choice(('', '', '1/', '1/2/', '3/4/5/'))}CT.{number}" for number in range(number)]
        self.paths += choice.sample(self.paths, number // 3)
        self.committed: dict[str, bytes] = {}
        self.wrong: list[str] = []
        self.errors: list[str] = []
        monkeypatch.setattr(durability, "_BEHIND", choice.choice((400, 1 << 20)))  # bytes
        world = World(seed, count=1, unnamed=seed % 2 == 0, syncfs=seed % 4 < 2, switching=0.1)
        self.scheduler = world.scheduler
        with world:
            self.disk = world.disk
            self._store_earlier()
            self.scheduler.now += 10.0
            self.directory = OutputDirectory(PATH, self.durability, grouped=self.grouped)
            self.disk.calls, self.disk.fail_at = 0, fail
            self.disk.failing = choice.choice((errno.EIO, errno.ENOSPC, SHORT))
            self.disk.names.clear()
            try:
                self._run()
            finally:
                self.disk.fail_at = 0
                self.directory.close()
                self.directory.close()
                gc.collect()  # folders that an exception held are closed in this world, not in the next
            self.wrong += [f"{name} is left" for name in self.disk.files() if ".movescu-" in name and not fail]
            self.wrong += [f"{name} goes on" for name in self.scheduler.living()]
            self.wrong += [f"descriptor {fd} is open" for fd in self.disk.open if not fail]

    def _store_earlier(self) -> None:
        """Store some files as a run did that was killed before it flushed anything."""
        self.directory = OutputDirectory(PATH, Durability.OFF)
        for path in self.paths:
            if self.random.random() < 0.3:
                self._store(path)
        self.directory.close()
        self.earlier = dict(self.disk.objects())
        self.committed.clear()

    def _run(self) -> None:
        for path in self.paths:
            self.scheduler.now += 1.0
            try:
                if path in self.earlier and self.random.random() < 0.3:
                    self._rely(path)
                else:
                    self._store(path)
            except StoreError as error:
                self.errors.append(str(error))
            if self.random.random() < 0.1:
                self._flush()
            self.scheduler.pause()
        self._flush()

    def _rely(self, path: str) -> None:
        status = self.directory.status(path)
        if status is not None:
            self.directory.rely(path, status.st_size)
            self.committed[path] = self.disk.objects()[path]

    def _store(self, path: str) -> None:
        """Store an object of one of two contents, in one of several ways."""
        if self.random.random() < 0.3:
            self.directory.prepare()
        own = bytes([self.random.randrange(2)])
        before = self.disk.objects()
        file = self.directory.create() if self.random.random() < 0.9 else self.directory.spool()
        try:
            self._write(file, own)
            if not file.name and not self.directory._unnamed:  # to be read again, or given up
                file.discard()
                return
            path, expected = self._expected(path, own, before)
            naming, found = file.commit(path, self._alternative(path, own) if self.beside else None)
        except StoreError:
            file.discard()
            self.committed.pop(path, None)
            raise
        self.committed[found] = META + own * 50
        if (naming, found) != expected and not self.disk.failed:
            self.wrong.append(f"{found} is {naming} instead of {expected}")
        if naming is not Naming.SAME:
            status = self.directory.status(found)
            if not self.disk.failed and (status is None or not self.directory.wrote(status)):
                self.wrong.append(f"{found} is not known to be new")
        self._compare("stored", self.disk.objects(), found)
        if self.directory._flusher._durability is Durability.OBJECT:
            self._compare("acknowledged", self.disk.files(stable=True), found)

    def _write(self, file: ObjectFile, own: bytes) -> None:
        """Write, correct, cut and continue it."""
        how = self.random.randrange(3)
        if how == 0:
            file.begin(META, own * 20, own * 30)
        elif how == 1:
            file.begin(META, b"?" * 20)
            file.write(own * 30)
            file.patch(0, own * 20)
        else:
            file.begin(META, own * 25, b"?" * 60)
            file.truncate(25)
            file.write(own * 25)
        if file.read(10, 20) != own * 20 and not self.disk.failed:
            self.wrong.append("what was written is not read")

    def _expected(self, path: str, own: bytes, before: dict[str, bytes]) -> tuple[str, tuple[Naming, str]]:
        content = META + own * 50
        expected = path
        if self.beside and before.get(path, content) != content:
            expected = f"{path}.2"
        naming = Naming.CREATED if expected not in before else Naming.REPLACED
        return path, (Naming.SAME if before.get(expected) == content else naming, expected)

    def _alternative(self, path: str, own: bytes) -> Alternative:
        return Alternative(lambda: (f"{path}.2",), lambda fd: files.pread(fd, 1, len(META)) != own)

    def _flush(self) -> None:
        try:
            self.directory.flush()
        except StoreError as error:
            self.errors.append(str(error))
            return
        self._compare("flushed", self.disk.files(stable=True), *self.committed)

    def _compare(self, what: str, there: dict[str, bytes], *paths: str) -> None:
        self.wrong += [f"{path} was {what}" for path in paths if there.get(path) != self.committed[path]]


def test_flush_that_failed_is_not_made_good_by_the_next() -> None:
    """The system reports a write error once: what the first flush could not write is lost."""
    for grouped in (False, True):
        with World(count=1) as world:
            directory = OutputDirectory(PATH, grouped=grouped)
            for number in range(2):
                file = directory.create()
                file.begin(META, b"data")
                file.commit(f"CT.{number}")
                if not number:
                    world.disk.fail_at = world.disk.calls + (1 if grouped else 2)
                with pytest.raises(StoreError, match="Input/output error"):
                    directory.flush()
            assert world.disk.failed == ("syncfs" if grouped else "fsync")
            assert world.disk.files(stable=True)[FILE_NAME].strip(), "later runs know it, even after a loss of power"
            directory.close()
            assert not world.disk.open


def commit(directory: OutputDirectory, data: bytes = b"data", name: str = "CT.1") -> Naming:
    file = directory.create()
    file.begin(META, data)
    return file.commit(name)[0]


NO_FOLDER = pytest.mark.not_without("unnamed-files", "directories", "windows")  # other flushes, or none of a folder


@NO_FOLDER
@pytest.mark.not_without("unnamed-files")  # flushes come in another order
def test_file_whose_flush_failed_is_written_anew_when_its_object_comes_again() -> None:
    """The first copy is that of a run which was killed before it flushed: kept, it would be acknowledged and lost."""
    calls: list[int] = []
    for fail in (False, True):
        with World(count=1) as world:
            earlier = OutputDirectory(PATH, Durability.OFF)
            commit(earlier)
            earlier.close()
            directory = OutputDirectory(PATH, Durability.OBJECT)
            begun = world.disk.calls
            world.disk.fail_at = begun + calls[1] if fail else 0  # the flush of the file that is there
            if fail:
                with pytest.raises(StoreError, match="Input/output error"):
                    commit(directory)
                with pytest.raises(StoreError, match="Input/output error"):
                    directory.flush()
            assert commit(directory) is (Naming.REPLACED if fail else Naming.SAME)
            calls += [at for at, name in enumerate(world.disk.names[begun:], start=1) if name == "fsync"]
            assert world.disk.files(stable=True)["CT.1"] == META + b"data"
            directory.close()


@pytest.mark.not_without("unnamed-files")  # flushes come in another order
@pytest.mark.parametrize("which", [2, pytest.param(3, marks=NO_FOLDER)], ids=["the file again", "the folder"])
def test_file_whose_name_could_not_be_flushed_is_written_anew(which: int) -> None:
    with World(count=1) as world:
        directory = OutputDirectory(PATH, Durability.OBJECT)
        fsync, calls = files.fsync, list[int]()

        def failing(fd: Any) -> None:
            calls.append(fd)
            if len(calls) == which:
                raise OSError(errno.EIO, "Input/output error")
            fsync(fd)

        files.fsync = failing
        with pytest.raises(StoreError, match="Input/output error"):
            commit(directory)
        directory.close()
        world.scheduler.now += 60.0
        later = OutputDirectory(PATH, Durability.OBJECT)
        assert commit(later) is Naming.REPLACED
        assert commit(later) is Naming.SAME
        later.close()


@pytest.mark.parametrize("what", ["few", "many", "none alone", "relied on", "kept", "meanwhile"])
def test_files_whose_flush_failed_are_written_anew_by_the_next_run(what: str) -> None:
    with World(count=1, syncfs=what != "none alone") as world:
        if what in ("relied on", "kept"):
            earlier = OutputDirectory(PATH, Durability.OFF)
            commit(earlier)
            earlier.close()
            world.scheduler.now += 3600.0
        directory = OutputDirectory(PATH, grouped=what != "few")
        if what == "relied on":
            directory.rely("CT.1", 8)
        elif what != "meanwhile":
            commit(directory)

        def failing(fd: Any) -> None:  # noqa: ARG001 - in place of both
            if what == "meanwhile":
                world.scheduler.now += 3600.0
                commit(directory)
            raise OSError(errno.EIO, "Input/output error")

        fsync = files.fsync
        if what == "meanwhile":
            commit(directory, name="CT.2")
        else:
            files.fsync = failing
        directory._flusher._syncfs = directory._flusher._syncfs and failing
        for _ in range(2):
            with pytest.raises(StoreError, match="Input/output error"):
                directory.flush()
        files.fsync = fsync
        directory.close()
        world.scheduler.now += 3600.0
        later = OutputDirectory(PATH)
        assert commit(later) is Naming.REPLACED
        assert commit(later) is Naming.SAME
        later.flush()
        assert world.disk.files(stable=True)["CT.1"] == META + b"data"
        later.close()
        assert not world.disk.open


@pytest.mark.parametrize("before", [False, True])
def test_folders_of_an_object_outlast_a_loss_of_power_once_it_is_acknowledged(*, before: bool) -> None:
    """Those, too, that another run has just made."""
    with World(count=1) as world:
        if before:
            earlier = OutputDirectory(PATH, Durability.OFF)
            commit(earlier, name="1/2/CT.2")
            earlier.close()
        directory = OutputDirectory(PATH, Durability.OBJECT)
        commit(directory, name="1/2/CT.1")
        assert world.disk.files(stable=True)["1/2/CT.1"] == META + b"data"
        directory.close()


def test_nothing_is_flushed_where_that_is_left_to_the_system() -> None:
    with World(count=1) as world:
        directory = OutputDirectory(PATH, Durability.OFF)
        commit(directory)
        directory.rely("CT.1", 8)
        directory.flush()
        assert not {"fsync", "syncfs"} & set(world.disk.names)
        directory.close()


def test_file_of_an_earlier_run_that_cannot_be_flushed_alone_is_an_error() -> None:
    with World(count=1, syncfs=False) as world:
        earlier = OutputDirectory(PATH, Durability.OFF)
        for number in (1, 2):
            commit(earlier, name=f"CT.{number}")
        earlier.close()
        directory = OutputDirectory(PATH, grouped=True)
        directory.rely("CT.1", 8)
        world.disk.fail_at = world.disk.calls + 3  # openat, fstat, fsync
        with pytest.raises(StoreError, match=r"cannot flush 'CT\.2'.*Input/output error"):
            directory.rely("CT.2", 8)
        assert world.disk.failed == "fsync"
        directory.close()


def test_name_that_a_file_gets_behind_a_flush_is_flushed_by_the_next() -> None:
    with World(count=1) as world:
        directory = OutputDirectory(PATH, grouped=True)
        link = files.link

        def late(*arguments: Any, **folders: Any) -> None:
            directory.flush()
            link(*arguments, **folders)

        files.link = late
        commit(directory)
        directory.flush()
        assert "CT.1" in world.disk.files(stable=True)
        directory.close()


def test_flush_waits_for_the_one_in_the_background_which_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system tells a write error once, to whoever flushes first."""
    monkeypatch.setattr(durability, "_BEHIND", 1)
    with World(count=1) as world:
        directory = OutputDirectory(PATH, grouped=True)
        begun: list[int] = []

        def syncfs(fd: int) -> None:
            begun.append(fd)
            if len(begun) == 1:
                world.scheduler.sleep(5.0)
                raise OSError(errno.EIO, "Input/output error")

        files.find_syncfs = lambda: syncfs
        commit(directory)
        world.scheduler.elsewhere(1)
        assert begun
        with pytest.raises(StoreError, match="Input/output error"):
            directory.flush()
        directory.close()


def test_file_of_an_earlier_run_is_flushed_though_nothing_else_was_stored() -> None:
    with World(count=1) as world:
        earlier = OutputDirectory(PATH, Durability.OFF)
        commit(earlier)
        earlier.close()
        directory = OutputDirectory(PATH, grouped=True)
        directory.rely("CT.1", 8)
        directory.flush()
        assert world.disk.files(stable=True) == world.disk.files()
        directory.close()


def test_flush_fails_if_the_one_in_the_background_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durability, "_BEHIND", 1)
    with World(count=1) as world:
        world.disk.flush_seconds = 5.0
        directory = OutputDirectory(PATH, grouped=True)
        begun = world.disk.calls
        commit(directory)
        world.disk.fail_at = begun + len(world.disk.names[begun:]) + 1  # what the thread calls next
        world.scheduler.elsewhere(1)
        assert world.disk.failed == "syncfs"
        with pytest.raises(StoreError, match="Input/output error"):
            directory.flush()
        directory.close()


def failing(clean: Run, seed: int) -> Iterator[int]:
    """Yield numbers of calls that may fail: some, and some flushes."""
    names = clean.disk.names
    flushes = [number for number, name in enumerate(names, start=1) if name in ("fsync", "syncfs")]
    some = random.Random(seed).sample(range(1, len(names) + 1), 5)
    yield from sorted({*some, *flushes[:2], *flushes[-3:]})


@pytest.mark.parametrize("part", range(5))
def test_flushed_files_outlast_a_loss_of_power(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(FIRST + part, FIRST + SEEDS, 5):
        clean = Run(seed, monkeypatch)
        assert (clean.errors, clean.wrong) == ([], []), seed
        for call in failing(clean, seed):
            failed = Run(seed, monkeypatch, fail=call)
            assert not failed.wrong, (seed, call, failed.disk.failed, failed.errors)
