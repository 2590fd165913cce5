"""Leftovers of killed runs are removed, and the files of live ones are not: with processes that are really killed."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from command import NAMED_FILES

from movescu.errors import StoreError
from movescu.storage import leftovers
from movescu.storage.writer import OutputDirectory

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86400

pytestmark = pytest.mark.not_without("locks", "windows")  # temporary files of killed runs stay for a day then

OTHER_RUN = """
import sys
from movescu.storage.writer import OutputDirectory

directory = OutputDirectory(sys.argv[1])
files = [directory.create() for _ in range(2)]
files[0].begin(b"meta", b"half an object")
sys.stdout.write("ready\\n")
sys.stdout.flush()
sys.stdin.read()
"""


class OtherRun:
    """A process that is amid two objects, alive until it is killed."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", NAMED_FILES + OTHER_RUN, str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()
        assert self._process.returncode == -signal.SIGKILL


def sweep(folder: Path) -> None:
    """What the next run does."""
    directory = OutputDirectory(str(folder))
    directory.remove_leftovers()
    directory.close()


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def kinds(folder: Path) -> list[str]:
    return sorted(name.rpartition(".")[2] for name in names(folder) if name.startswith(".movescu-"))


@pytest.mark.row("37")
def test_next_run_removes_leftovers_of_a_killed_one_and_nothing_of_a_live_one(tmp_path: Path) -> None:
    (tmp_path / "CT.1").write_bytes(b"good")
    killed, live = OtherRun(tmp_path), OtherRun(tmp_path)
    try:
        killed.kill()
        assert kinds(tmp_path) == ["lock"] * 2 + ["part"] * 4
        sweep(tmp_path)
        assert kinds(tmp_path) == ["lock"] + ["part"] * 2
    finally:
        live.kill()
    sweep(tmp_path)
    assert names(tmp_path) == ["CT.1"]


def test_runs_of_one_process_keep_each_others_files(tmp_path: Path) -> None:
    other = OutputDirectory(str(tmp_path))
    file = other.create()
    file.begin(b"meta", b"data")
    sweep(tmp_path)
    file.commit("CT.1")
    other.close()
    assert names(tmp_path) == ["CT.1"]
    assert (tmp_path / "CT.1").read_bytes() == b"metadata"


BOOT = leftovers._boot()
HERE, ELSEWHERE = f"{BOOT}-1-0000abcd", "0000f00d-1-0000abcd"


@pytest.mark.parametrize(
    ("mark", "with_lock", "age", "removed"),
    [
        (HERE, True, 0, True),
        (HERE, False, 0, False),  # no lock could be made: it may be alive
        (HERE, False, 2 * DAY, True),
        (ELSEWHERE, True, 0, False),  # its lock may be one that our system does not see
        (ELSEWHERE, True, 2 * DAY, True),
        (ELSEWHERE, False, 0, False),
        (ELSEWHERE, False, 2 * DAY, True),
    ],
)
def test_file_is_removed_only_if_it_is_certain_to_be_left_over(
    tmp_path: Path, mark: str, *, with_lock: bool, age: int, removed: bool
) -> None:
    files = [tmp_path / f".movescu-{mark}-17.part", *([tmp_path / f".movescu-{mark}.lock"] if with_lock else [])]
    for file in files:
        file.touch()
        written = file.stat().st_mtime - age
        os.utime(file, (written, written))
    sweep(tmp_path)
    assert names(tmp_path) == ([] if removed else sorted(file.name for file in files))


def test_held_lock_outweighs_any_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("movescu.storage.writer._UNNAMED", 0)
    other = OutputDirectory(str(tmp_path))
    other.create()
    for file in tmp_path.iterdir():
        os.utime(file, (0, 0))
    sweep(tmp_path)
    assert kinds(tmp_path) == ["lock", "part"]
    other.close()


@pytest.mark.parametrize("name", ["notes.part", ".movescu-notes.part", f".movescu-{HERE}-1.part.bak", f"{HERE}.lock"])
def test_files_of_other_names_are_kept(tmp_path: Path, name: str) -> None:
    (tmp_path / f".movescu-{HERE}.lock").touch()
    (tmp_path / name).touch()
    os.utime(tmp_path / name, (0, 0))
    sweep(tmp_path)
    assert names(tmp_path) == [name]


def test_link_of_a_temporary_name_is_removed_and_its_target_kept(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "out" / f".movescu-{HERE}.lock").touch()
    (tmp_path / "out" / f".movescu-{HERE}-1.part").symlink_to(victim)
    sweep(tmp_path / "out")
    assert names(tmp_path / "out") == []
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize("planted", ["pipe", "link"])
def test_lock_that_is_no_file_neither_hangs_the_run_nor_leads_it_elsewhere(tmp_path: Path, planted: str) -> None:
    (tmp_path / "out").mkdir()
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    lock = tmp_path / "out" / f".movescu-{HERE}.lock"
    if planted == "pipe":
        os.mkfifo(lock)
    else:
        lock.symlink_to(victim)
    sweep(tmp_path / "out")
    assert victim.read_bytes() == b"precious"


def test_run_without_a_lock_stores_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: int) -> None:
        raise OSError(95, "Operation not supported")

    # As some network file systems have it; none is at hand here.
    monkeypatch.setattr("movescu.storage.files.flock", unsupported)
    other = OutputDirectory(str(tmp_path))
    file = other.create()
    sweep(tmp_path)
    file.begin(b"", b"data")
    file.commit("CT.1")
    other.close()
    assert names(tmp_path) == ["CT.1"]


def test_run_out_of_descriptors_is_not_swept_and_stores_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(_: int) -> int:
        raise OSError(24, "Too many open files")

    directory = OutputDirectory(str(tmp_path))
    monkeypatch.setattr("movescu.storage.files.dup", exhausted)
    directory.remove_leftovers()
    file = directory.create()
    file.begin(b"", b"data")
    file.commit("CT.1")
    directory.close()
    assert names(tmp_path) == ["CT.1"]


@pytest.mark.parametrize("needed", ["files have names", "a name is taken", ""])
def test_directory_of_very_many_names_is_swept_by_runs_that_need_temporary_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needed: str
) -> None:
    monkeypatch.setattr("movescu.storage.writer._LARGE_DIRECTORY", -1)
    if needed == "files have names":
        monkeypatch.setattr("movescu.storage.writer._UNNAMED", 0)
    elif not OutputDirectory(str(tmp_path))._try_unnamed():
        pytest.skip("files have names here before they are whole")
    (tmp_path / f".movescu-{HERE}.lock").touch()
    (tmp_path / f".movescu-{HERE}-1.part").touch()
    with closing(OutputDirectory(str(tmp_path))) as directory:
        directory.remove_leftovers()
        for content in (b"data", b"more") if needed == "a name is taken" else ():
            file = directory.create()
            file.begin(b"", content)
            file.commit("CT.1")
    assert ("part" in kinds(tmp_path)) is not bool(needed)


def test_removed_directory_does_not_fail_the_sweep(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    directory = OutputDirectory(str(tmp_path / "out"))
    for file in (tmp_path / "out").iterdir():
        file.unlink()
    (tmp_path / "out").rmdir()
    directory.remove_leftovers()
    with pytest.raises(StoreError):
        directory.create()
    directory.close()


def test_leftovers_of_very_many_runs_are_removed_by_several_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "_MOST_LOCKS", 2)
    for number in range(3):
        for end in (".lock", "-1.part"):
            (tmp_path / f".movescu-{BOOT}-{number}-0000abcd{end}").touch()
    sweep(tmp_path)
    assert kinds(tmp_path) == ["lock", "part"]
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_lock_removed_before_it_was_held_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock = fcntl.flock
    others: list[str] = []

    def flock_after_a_sweep(fd: int, how: int) -> None:
        if not others:  # another run's sweep, between the making of our lock and the holding of it
            [lock] = tmp_path.iterdir()
            others.append(lock.name)
            lock.unlink()
        flock(fd, how)

    monkeypatch.setattr("movescu.storage.files.flock", flock_after_a_sweep)
    directory = OutputDirectory(str(tmp_path))
    held = names(tmp_path)
    assert len(held) == 1
    assert held != others
    directory.create().discard()
    directory.close()
    assert names(tmp_path) == []
