"""Names of files that are taken: by the same object, another one, or one that differs in case alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from injected import can_mount, remount, tmpfs

from movescu.dataset.file_meta import encode_file_meta
from movescu.dictionary.uids import EXPLICIT_LITTLE
from movescu.errors import DataSetError, DirectoryNotFoundError, DirectoryNotWritableError, StoreError
from movescu.storage import files, naming
from movescu.storage.naming import Alternative, Naming, check_name, has_same_content
from movescu.storage.writer import OutputDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CT = "1.2.840.10008.5.1.4.1.1.2"
UID = b"\x08\0\x18\0UI\x06\x001.2.3\0"
WHOLE = encode_file_meta(CT, "1.2.3", EXPLICIT_LITTLE.uid) + UID
CUT = WHOLE[:-3]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[OutputDirectory]:
    opened = OutputDirectory(str(tmp_path))
    yield opened
    opened.close()


def store(
    directory: OutputDirectory, path: str, data: bytes, alternative: Alternative | None = None
) -> tuple[str, str]:
    file = directory.create()
    file.begin(b"", data)
    outcome, name = file.commit(path, alternative)
    return outcome.name, name


@pytest.mark.parametrize("path", ["CT.1.2.3", "a/b/CT.1.2.3"])
def test_whole_file_is_not_replaced_by_an_object_that_is_cut(
    directory: OutputDirectory, tmp_path: Path, path: str
) -> None:
    store(directory, path, WHOLE)
    with pytest.raises(DataSetError, match="is incomplete") as caught:
        store(directory, path, CUT)
    assert path in str(caught.value)
    assert (tmp_path / path).read_bytes() == WHOLE
    assert store(directory, path, WHOLE + b"\x10\0\x10\0PN\x02\0A ") == ("REPLACED", path)


def test_file_that_is_cut_is_replaced_by_any_object(directory: OutputDirectory, tmp_path: Path) -> None:
    store(directory, "CT.1.2.3", CUT)
    assert store(directory, "CT.1.2.3", CUT[:-1]) == ("REPLACED", "CT.1.2.3")
    assert store(directory, "CT.1.2.3", WHOLE) == ("REPLACED", "CT.1.2.3")
    assert (tmp_path / "CT.1.2.3").read_bytes() == WHOLE


def test_object_whose_name_differs_in_case_alone_replaces_no_other(
    directory: OutputDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a file system of Windows or macOS has it, where the names of both are one, and the first is listed."""
    store(directory, "CT.1.2.ab", WHOLE)
    monkeypatch.setattr(files, "listdir", lambda _: ["CT.1.2.AB"])
    with pytest.raises(DataSetError, match=r"does not distinguish its name 'CT\.1\.2\.ab'"):
        store(directory, "CT.1.2.ab", WHOLE + UID)
    assert (tmp_path / "CT.1.2.ab").read_bytes() == WHOLE


@pytest.mark.not_without("directories", "windows")
def test_name_with_letters_that_is_listed_as_it_is_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "CT.1.2.ab").touch()
    fd = files.openat(str(tmp_path), files.READ_DIRECTORY)
    check_name("folder/CT.1.2.ab", fd)
    files.close(fd)


@pytest.mark.parametrize(("name", "reads"), [("CT.1.2.3", 0), ("a/CT.1.2.3.dcm", 0), ("CT.1.2.3a", 1)])
def test_no_directory_is_read_for_the_name_of_a_valid_uid(
    name: str, reads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading the names of a large directory would take seconds for each object."""
    read: list[int] = []

    def listdir(where: int) -> list[str]:
        read.append(where)
        return [name]

    monkeypatch.setattr(files, "listdir", listdir)
    check_name(name, 7)
    assert read == [7] * reads


def test_object_is_stored_beside_others_of_its_name(directory: OutputDirectory, tmp_path: Path) -> None:
    def beside(data: bytes) -> Alternative:
        return Alternative(lambda: ("CT.2", "CT.3"), lambda fd: files.pread(fd, 1, 0) != data[:1])

    assert store(directory, "CT.1", b"a", beside(b"a")) == ("CREATED", "CT.1")
    assert store(directory, "CT.1", b"b", beside(b"b")) == ("CREATED", "CT.2")
    assert store(directory, "CT.1", b"b", beside(b"b")) == ("SAME", "CT.2")
    assert store(directory, "CT.1", b"b2", beside(b"b")) == ("REPLACED", "CT.2")
    assert store(directory, "CT.1", b"c", beside(b"c")) == ("CREATED", "CT.3")
    with pytest.raises(StoreError, match="every alternative"):
        store(directory, "CT.1", b"d", beside(b"d"))
    assert sorted(file.read_bytes() for file in tmp_path.glob("CT.*")) == [b"a", b"b2", b"c"]


@pytest.mark.parametrize(("one", "other"), [(b"12345678", b"12345678"), (b"", b""), (b"1234", b"1234")])
def test_content_is_compared_block_by_block_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one: bytes, other: bytes
) -> None:
    monkeypatch.setattr(naming, "_BLOCK", 4)

    def same(first: bytes, second: bytes) -> bool:
        fds = []
        for name, data in (("one", first), ("other", second)):
            (tmp_path / name).write_bytes(data)
            fds.append(os.open(tmp_path / name, os.O_RDONLY))
        found = has_same_content(*fds)
        for fd in fds:
            os.close(fd)
        return found

    assert same(one, other)
    assert not same(one, other + b"9")
    for at in range(len(one)):
        assert not same(one, other[:at] + b"X" + other[at + 1 :])


def test_effects_of_a_commit_have_names() -> None:
    assert {one.name for one in Naming} == {"CREATED", "REPLACED", "SAME"}


@pytest.mark.parametrize(("kind", "words"), [("missing", "does not exist"), ("file", "is not a directory")])
def test_path_that_is_no_directory_is_an_error_that_says_why(tmp_path: Path, kind: str, words: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DirectoryNotFoundError, match=f"output directory {words}: .*{kind}"):
        OutputDirectory(str(tmp_path / kind))


@pytest.mark.skipif(not can_mount(), reason="mounting needs root's privileges")
def test_directory_on_a_read_only_disk_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "size=1m") as folder:
        remount(folder, "ro")
        with pytest.raises(DirectoryNotWritableError, match="read-only file system"):
            OutputDirectory(str(folder))


@pytest.mark.parametrize("denied", [os.W_OK, os.X_OK], ids=["write", "search"])
def test_directory_that_this_user_may_not_write_to_or_search_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, denied: int
) -> None:
    """Root, who may do both everywhere, cannot try it."""
    monkeypatch.setattr(files, "access", lambda _, wanted: not wanted & denied)
    with pytest.raises(DirectoryNotWritableError, match="permission denied"):
        OutputDirectory(str(tmp_path))


def test_directory_that_cannot_be_opened_is_an_error_that_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object, **__: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(files, "openat", exhausted)
    with pytest.raises(DirectoryNotWritableError, match="Too many open files"):
        OutputDirectory(str(tmp_path))
