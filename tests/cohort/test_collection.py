"""The files of workers with directories of their own, brought together: none is lost or replaced, whatever happens."""

from __future__ import annotations

import errno
import os
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from movescu.cohort.cluster import collection as module
from movescu.cohort.cluster.collection import Collected, Collection, collect
from movescu.cohort.cluster.own_directory import MANIFEST
from movescu.cohort.journal import Journal
from movescu.cohort.journal_file import FILE_NAME
from movescu.errors import DirectoryNotFoundError, StoreError, UsageError
from movescu.events import EntryEvent, EntryState
from movescu.storage.folders import flush_folder, locked_folder
from movescu.storage.ledger import StoredFile
from movescu.storage.manifest_lines import manifest_line
from movescu.storage.writer import OutputDirectory

if TYPE_CHECKING:
    from collections.abc import Mapping


def worker(top: Path, name: str, objects: Mapping[str, bytes], **manifest: bytes) -> Path:
    """Make the folder of a worker; ``manifest``: other contents than those of its files."""
    folder = top / name
    for path, content in objects.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    told = {**objects, **manifest}
    lines = (manifest_line(os.fsencode(path), sha256(content).hexdigest().encode()) for path, content in told.items())
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).write_bytes(b"".join(lines))
    return folder


def files(top: Path) -> dict[str, bytes]:
    found = (path for path in top.rglob("*") if path.is_file() and path.name not in (MANIFEST, FILE_NAME))
    return {str(path.relative_to(top)): path.read_bytes() for path in found if not path.name.startswith(FILE_NAME)}


def problems_of(told: Collected) -> dict[str, str]:
    return dict(told.problems)


def test_files_of_all_workers_are_brought_to_their_paths_and_the_folders_are_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worker(tmp_path, "W1", {"1.dcm": b"one", "a/b/2.dcm": b"two"})
    worker(tmp_path, "W2", {"a/3.dcm": b"three"})
    (tmp_path / "W2" / ".movescu.sqlite").touch()
    (tmp_path / "other").mkdir()
    told = collect(tmp_path)
    assert told == Collected(2, 3, 0, 0, 0, ())
    assert told
    assert files(tmp_path) == {"1.dcm": b"one", "a/b/2.dcm": b"two", "a/3.dcm": b"three"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.dcm", "a", "other"]
    assert [text for text in caplog.messages if "has no journal" in text]
    assert collect(tmp_path) == Collected(0, 0, 0, 0, 0, ())
    assert [text for text in caplog.messages if "has no directories of workers" in text]


def test_names_are_flushed_before_the_first_ones_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker(tmp_path, "W1", {"1.dcm": b"one", "a/b/2.dcm": b"two"})
    steps: list[tuple[str, str]] = []
    flush, unlink = flush_folder, os.unlink

    def flushed(path: str) -> None:
        steps.append(("flush", os.path.relpath(path, tmp_path)))
        flush(path)

    def unlinked(path: str, **_: Any) -> None:
        steps.append(("unlink", os.path.relpath(path, tmp_path)))
        unlink(path)

    monkeypatch.setattr(module, "flush_folder", flushed)
    monkeypatch.setattr("movescu.cohort.cluster.collection.os.unlink", unlinked)
    assert Collection(str(tmp_path), lambda *_: None).collect("W1") == set()
    assert {path for step, path in steps[:3] if step == "flush"} == {".", "a", "a/b"}
    assert steps[3:] == [("unlink", "W1/1.dcm"), ("unlink", "W1/a/b/2.dcm")]


def test_collection_that_was_interrupted_is_repeated(tmp_path: Path) -> None:
    folder = worker(tmp_path, "W1", {"1.dcm": b"one", "2.dcm": b"two", "3.dcm": b"three"})
    (tmp_path / "1.dcm").hardlink_to(folder / "1.dcm")
    (folder / "2.dcm").rename(tmp_path / "2.dcm")
    assert collect(tmp_path) == Collected(1, 2, 1, 0, 0, ())
    assert files(tmp_path) == {"1.dcm": b"one", "2.dcm": b"two", "3.dcm": b"three"}


def test_file_that_several_workers_have_is_kept_once(tmp_path: Path) -> None:
    for name in ("W1", "W2"):
        worker(tmp_path, name, {"1.dcm": b"one"})
    assert collect(tmp_path) == Collected(2, 1, 0, 1, 0, ())
    assert files(tmp_path) == {"1.dcm": b"one"}


def test_file_with_a_problem_stays_with_its_folder_and_the_others_are_collected(tmp_path: Path) -> None:
    objects = {"1.dcm": b"one", "2.dcm": b"two", "3.dcm": b"three", "5.dcm": b"five"}
    folder = worker(tmp_path, "W1", objects, **{"2.dcm": b"other", "4.dcm": b"four"})
    worker(tmp_path, "W2", {"6.dcm": b"six"})
    (tmp_path / "3.dcm").write_bytes(b"of another")
    told: list[str] = []
    found = collect(tmp_path, on_problem=lambda path, _: told.append(path))
    assert problems_of(found) == {
        "W1/2.dcm": "has other content than when it was stored",
        "W1/3.dcm": "differs from the file of this name in the directory; both stay",
        "W1/4.dcm": "is missing, and is not in the directory either",
    }
    assert sorted(told) == ["W1/2.dcm", "W1/3.dcm", "W1/4.dcm"]
    assert not found
    assert (found.folders, found.collected) == (2, 3)
    assert not (tmp_path / "W2").exists()
    left = {"W1/2.dcm": b"two", "W1/3.dcm": b"three"}
    brought = {"1.dcm": b"one", "5.dcm": b"five", "6.dcm": b"six"}
    assert files(tmp_path) == {**brought, "3.dcm": b"of another", **left}
    assert (folder / MANIFEST).exists(), "for the next collection"


def test_file_that_no_manifest_names_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = worker(tmp_path, "W1", {"a/1.dcm": b"one"})
    (folder / "a" / "2.dcm").write_bytes(b"two")
    assert collect(tmp_path) == Collected(1, 1, 0, 0, 1, ())
    assert files(tmp_path) == {"a/1.dcm": b"one", "W1/a/2.dcm": b"two"}
    assert "1 file of requests that never ended will stay in the folders of workers" in caplog.text
    worker(tmp_path, "W2", {})
    for name in ("3.dcm", "4.dcm"):
        (tmp_path / "W2" / name).touch()
    collect(tmp_path)
    assert "2 files of requests that never ended" in caplog.text


@pytest.mark.parametrize("path", ["../1.dcm", "a/../../1.dcm", "/1.dcm"])
def test_path_that_leaves_the_directory_is_not_followed(tmp_path: Path, path: str) -> None:
    top = tmp_path / "run"
    top.mkdir()
    folder = worker(top, "W1", {})
    (folder / MANIFEST).write_bytes(
        b"".join(manifest_line(f"{path}{number}".encode(), b"0" * 64) for number in range(2))
    )
    found = collect(top)
    assert len(found.problems) == 2
    assert all("which is not in this folder" in words for _, words in found.problems)


@pytest.mark.parametrize("made", ["file", "folder", "worker"])
def test_link_that_makes_both_names_of_a_file_one_loses_nothing(tmp_path: Path, made: str) -> None:
    top = tmp_path / "run"
    top.mkdir()
    path = "a/1.dcm" if made == "folder" else "1.dcm"
    folder = worker(tmp_path if made == "worker" else top, "W1", {path: b"one", "z.dcm": b"z"})
    if made == "file":
        (top / "1.dcm").symlink_to("W1/1.dcm")
    elif made == "folder":
        (top / "a").symlink_to("W1/a")
    else:
        (top / "W1").symlink_to(folder)
    found = collect(top)
    assert [place for place, words in found.problems if "is a link" in words] == [
        "W1" if made == "worker" else f"W1/{path}"
    ]
    assert (folder / path).read_bytes() == b"one"
    assert (top / "z.dcm").exists() is (made != "worker"), "the others are collected"


def test_name_that_is_a_folder_in_the_directory_is_a_problem(tmp_path: Path) -> None:
    worker(tmp_path, "W1", {"1.dcm": b"one"})
    (tmp_path / "1.dcm").mkdir()
    [(path, words)] = collect(tmp_path).problems
    assert (path, words) == ("W1/1.dcm", "cannot be read, or compared with the directory: Is a directory")
    assert files(tmp_path) == {"W1/1.dcm": b"one"}


def test_damaged_line_is_a_problem_and_hides_no_other(tmp_path: Path) -> None:
    folder = worker(tmp_path, "W1", {"1.dcm": b"one"})
    with (folder / MANIFEST).open("ab") as manifest:
        manifest.write(b"0123  2.dcm\n# 3.dcm\n")
    found = collect(tmp_path).problems
    assert found == tuple((f"W1/{MANIFEST}", f"is damaged in line {number}") for number in (2, 3))
    assert (tmp_path / "1.dcm").exists()
    assert (folder / MANIFEST).exists()


def test_line_that_was_never_finished_is_none(tmp_path: Path) -> None:
    folder = worker(tmp_path, "W1", {"1.dcm": b"one"})
    with (folder / MANIFEST).open("ab") as manifest:
        manifest.write(b"0123")
    assert collect(tmp_path) == Collected(1, 1, 0, 0, 0, ())


def test_folder_that_is_mounted_into_the_directory_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = worker(tmp_path, "W1", {"1.dcm": b"one"})
    (tmp_path / "1.dcm").write_bytes(b"one")
    monkeypatch.setattr("movescu.cohort.cluster.collection.os.path.samefile", lambda *_: True)  # as a mount makes it
    assert problems_of(collect(tmp_path)) == {
        "W1/1.dcm": "is in the directory already, for its folder is mounted there, too"
    }
    assert (folder / "1.dcm").read_bytes() == b"one"


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSPC])
def test_file_that_cannot_be_linked_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    folder = worker(tmp_path, "W1", {"a/1.dcm": b"one"})

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    steps: list[str] = []
    fsync, rename = os.fsync, os.rename

    def flushed(fd: int) -> None:
        steps.append("fsync")
        fsync(fd)

    def renamed(*paths: str) -> None:
        steps.append("rename")
        rename(*paths)

    monkeypatch.setattr("movescu.cohort.cluster.collection.os.link", refuse)
    monkeypatch.setattr("movescu.cohort.cluster.collection.os.fsync", flushed)
    monkeypatch.setattr("movescu.cohort.cluster.collection.os.rename", renamed)
    if number == errno.ENOSPC:
        with pytest.raises(StoreError, match="No space left"):
            collect(tmp_path)
        assert files(folder) == {"a/1.dcm": b"one"}
        return
    assert collect(tmp_path) == Collected(1, 1, 0, 0, 0, ())
    assert files(tmp_path) == {"a/1.dcm": b"one"}
    assert steps[:2] == ["fsync", "rename"]


def test_copy_that_fails_leaves_the_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker(tmp_path, "W1", {"1.dcm": b"one"})

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "other file system")

    def full(_: Any, copy: Any, __: int) -> None:
        copy.write(b"o")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("movescu.cohort.cluster.collection.os.link", refuse)
    with monkeypatch.context() as patch:
        patch.setattr("movescu.cohort.cluster.collection.shutil.copyfileobj", full)
        with pytest.raises(StoreError, match="No space left"):
            collect(tmp_path)
    assert files(tmp_path) == {"W1/1.dcm": b"one"}
    with monkeypatch.context() as patch:
        patch.setattr("movescu.cohort.cluster.collection.shutil.copyfileobj", lambda _, copy, __: copy.write(b"bad"))
        assert list(problems_of(collect(tmp_path))) == ["W1/1.dcm"]
    assert files(tmp_path) == {"W1/1.dcm": b"one"}


# -- the journal -------------------------------------------------------------------------------------------------------


def noted(top: Path, *paths: str, journal: Path | None = None) -> None:
    """Have a journal that names these files."""
    stored = {str(number): StoredFile(str(number), path, 3) for number, path in enumerate(paths)}
    with Journal(
        str(journal or top / FILE_NAME), str(top), files_of=lambda uids: [stored[uid] for uid in sorted(uids)]
    ) as made:
        made.note("one", EntryEvent(row=1, state=EntryState.COMPLETE), [], list(stored))


def paths_of(top: Path, journal: Path | None = None) -> list[str]:
    with Journal(str(journal or top / FILE_NAME), str(top)) as made:
        return sorted(made.paths_of("one"))


@pytest.mark.parametrize("elsewhere", [True, False])
def test_journal_names_the_files_where_they_are(tmp_path: Path, *, elsewhere: bool) -> None:
    top = tmp_path / "run"
    top.mkdir()
    journal = tmp_path / "journal" if elsewhere else None
    worker(top, "W1", {"1.dcm": b"one", "2.dcm": b"two"}, **{"2.dcm": b"other"})
    noted(top, "W1/1.dcm", "W1/2.dcm", journal=journal)
    assert [path for path, _ in collect(top, journal=journal).problems] == ["W1/2.dcm"]
    assert paths_of(top, journal) == ["1.dcm", "W1/2.dcm"]
    (top / "W1" / "2.dcm").write_bytes(b"other")
    assert collect(top, journal=journal)
    assert paths_of(top, journal) == ["1.dcm", "2.dcm"]


def test_journal_keeps_a_folder_with_too_many_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker(tmp_path, "W0", {"0.dcm": b"zero"}, **{"0.dcm": b"other"})
    monkeypatch.setattr(module, "_MOST", 1)
    objects = {"1.dcm": b"one", "2.dcm": b"two", "3.dcm": b"three"}
    worker(tmp_path, "W1", objects, **{"2.dcm": b"other", "3.dcm": b"other"})
    noted(tmp_path, *(f"W1/{name}" for name in objects), "W0/0.dcm", "W0/gone.dcm")
    assert len(collect(tmp_path).problems) == 4
    assert paths_of(tmp_path) == ["W0/0.dcm", "W1/1.dcm", "W1/2.dcm", "W1/3.dcm", "gone.dcm"], "W0 has one"
    (tmp_path / "gone.dcm").touch()
    (tmp_path / "W0" / "0.dcm").write_bytes(b"other")
    for name in ("2.dcm", "3.dcm"):
        (tmp_path / "W1" / name).write_bytes(b"other")
    assert collect(tmp_path)
    assert paths_of(tmp_path) == ["0.dcm", *sorted(objects), "gone.dcm"]


def test_file_that_the_journal_has_and_nobody_else_is_missed(tmp_path: Path) -> None:
    worker(tmp_path, "W1", {"1.dcm": b"one"})
    (tmp_path / "here.dcm").touch()
    noted(tmp_path, "W1/1.dcm", "W1/gone.dcm", "W9/1.dcm", "here.dcm")
    found = problems_of(collect(tmp_path))
    assert found == dict.fromkeys(("gone.dcm", "W9/1.dcm"), "is missing, and the journal has it")


def test_file_that_is_missing_is_told_once(tmp_path: Path) -> None:
    worker(tmp_path, "W1", {}, **{"1.dcm": b"one"})
    noted(tmp_path, "W1/1.dcm")
    assert [path for path, _ in collect(tmp_path).problems] == ["W1/1.dcm"]


def test_journal_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    worker(tmp_path, "W1", {"1.dcm": b"one"})
    with pytest.raises(UsageError, match="there is no journal"):
        collect(tmp_path, journal=tmp_path / "gone")
    assert files(tmp_path) == {"W1/1.dcm": b"one"}


@pytest.mark.not_without("locks", "directories", "windows")
def test_directory_in_which_another_process_collects_or_stores_is_left_alone(tmp_path: Path) -> None:
    folder = worker(tmp_path, "W1", {"1.dcm": b"one"})
    with locked_folder(str(tmp_path), waiting=False), pytest.raises(UsageError, match="another collection"):
        collect(tmp_path)
    for place in (folder, tmp_path):
        with closing(OutputDirectory(str(place))), pytest.raises(UsageError, match="a process is storing into"):
            collect(tmp_path)
    assert files(tmp_path) == {"W1/1.dcm": b"one"}


def test_directory_that_a_run_uses_is_left_alone(tmp_path: Path) -> None:
    worker(tmp_path, "W1", {"1.dcm": b"one"})
    with Journal(str(tmp_path / FILE_NAME), str(tmp_path)), pytest.raises(UsageError, match="is storing into"):
        collect(tmp_path)
    assert files(tmp_path) == {"W1/1.dcm": b"one"}
    with pytest.raises(DirectoryNotFoundError):
        collect(tmp_path / "gone")
    with pytest.raises(DirectoryNotFoundError):
        collect(Path(tmp_path / "W1" / "1.dcm"))
