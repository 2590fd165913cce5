"""The index against the directory: every whole object, and no other."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest

from movescu._runtime import clock
from movescu.dataset.file_meta import encode_file_meta
from movescu.dictionary.uids import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, TransferSyntax
from movescu.errors import DataSetMismatchError, StoreError
from movescu.storage import files
from movescu.storage.file_names import UNKNOWN_PREFIX
from movescu.storage.index import examination, index, states
from movescu.storage.index import flat as flat_index
from movescu.storage.index.database import FILE_NAME
from movescu.storage.index.examination import defect_of, fits, instance_in, whole_instance
from movescu.storage.index.index import KeptIndex, open_index
from movescu.storage.layout.template import parse_layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from movescu.storage.index.index import Index
    from movescu.storage.layout.template import Layout

CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY = parse_layout("study")


def element(order: str, tag: int, vr: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) & 1)
    return struct.pack(f"{order}HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


MADE: dict[str, None] = {}
"""UIDs of the objects of a test."""


@pytest.fixture(autouse=True)
def nothing_made() -> None:
    MADE.clear()


def an_object(uid: str, pixels: int = 100, *, meta: bool = True, syntax: TransferSyntax = EXPLICIT_LITTLE) -> bytes:
    MADE[uid] = None
    order = ">" if syntax.big_endian else "<"
    head = element(order, 0x80016, b"UI", CT.encode()) + element(order, 0x80018, b"UI", uid.encode())
    data = head + struct.pack(f"{order}HH2sxxI", 0x7FE0, 0x10, b"OW", pixels) + bytes(pixels)
    if syntax.implicit:
        parts = ((0x80016, CT.encode()), (0x80018, uid.encode()), (0x7FE00010, bytes(pixels)))
        data = b"".join(
            struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value) + (len(value) & 1))
            + value
            + b"\0" * (len(value) & 1)
            for tag, value in parts
        )
    return (encode_file_meta(CT, uid, syntax.uid) if meta else b"") + data


@pytest.mark.parametrize("data", [an_object("1.2.3"), an_object("1.2.3")[:-8], encode_file_meta(CT, "1.2.3", "1.2.9")])
@pytest.mark.parametrize("further", [b"", element("<", 0x00020100, b"UI", b"1.2")])
def test_file_meta_that_was_written_is_taken_for_what_it_says(tmp_path: Path, data: bytes, further: bytes) -> None:
    syntax = EXPLICIT_LITTLE if EXPLICIT_LITTLE.uid.encode() in data else TransferSyntax("1.2.9", "unknown")
    meta = encode_file_meta(CT, "1.2.3", syntax.uid)
    assert data.startswith(meta)
    (tmp_path / "object").write_bytes(meta + further + data[len(meta) :])
    for parsed in (True, False):
        with (tmp_path / "object").open("rb") as file:
            decoded = defect_of(file.fileno(), "1.2.3", syntax, parsed=parsed)
            assert defect_of(file.fileno(), "1.2.3", syntax, parsed=parsed, meta=meta) == decoded
            assert defect_of(file.fileno(), "1.2.3", syntax, parsed=parsed, meta=b"other" + meta) == decoded


def test_object_that_cannot_be_read_to_its_end_is_not_whole_as_it_was_received(tmp_path: Path) -> None:
    (tmp_path / "object").write_bytes(an_object("1.2.3")[:-8])
    with (tmp_path / "object").open("rb") as file:
        assert "cannot be read" in defect_of(file.fileno(), "1.2.3", EXPLICIT_LITTLE, parsed=False)


def test_object_of_a_file_is_known_from_its_file_meta_or_its_data_set(tmp_path: Path) -> None:
    """Of a file that was cut, the file meta may be all there is."""
    long = element("<", 0x80008, b"CS", b"A" * 64000)
    meta, without_uid = (encode_file_meta(CT, uid, EXPLICIT_LITTLE.uid) for uid in ("1.2.3", ""))
    data = an_object("1.2.3", meta=False)
    found = []
    for content in (meta, without_uid + data, without_uid + long * 3 + data, data, long * 3 + data, data[:20], b""):
        (tmp_path / "object").write_bytes(content)
        with (tmp_path / "object").open("rb") as file:
            found.append(instance_in(file.fileno(), EXPLICIT_LITTLE))
    assert found == ["1.2.3"] * 5 + [None] * 2


def test_file_that_vanishes_while_it_is_looked_for_is_missing(tmp_path: Path) -> None:
    directory = files.openat(str(tmp_path), files.READ_DIRECTORY)
    assert whole_instance("gone", directory) is None
    assert not fits("gone", directory, ("1.2", ""))
    files.close(directory)


def put(folder: Path, name: str, data: bytes) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def known(folder: Path, *, flat: bool = False) -> set[str]:
    """Which objects of the test a new run finds."""
    with closing(open_index(str(folder), None if flat else STUDY)) as opened:
        return {uid for uid in MADE if opened.whole(uid)}


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were opened to see what they hold."""
    paths: list[str] = []
    look = whole_instance

    def watched(path: str, directory: int) -> str | None:
        paths.append(path)
        return look(path, directory)

    monkeypatch.setattr(index, "whole_instance", watched)
    return paths


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("meta", [True, False])
@pytest.mark.parametrize("pixels", [100, 300_000])
@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG], ids=lambda syntax: syntax.uid)
def test_index_has_whole_objects_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, pixels: int, syntax: TransferSyntax, *, flat: bool, meta: bool
) -> None:
    data = an_object("1.2.3", pixels, meta=meta, syntax=syntax)
    put(tmp_path, "CT.1.2.3", data)
    put(tmp_path, "CT.1.2.4", an_object("1.2.4", pixels, meta=meta, syntax=syntax)[:-2])  # as DCMTK leaves it
    put(tmp_path, "CT.1.2.5", b"")
    put(tmp_path, "notes.txt", b"no object")
    (tmp_path / "CT.1.2.6").symlink_to(tmp_path / "CT.1.2.3")
    (tmp_path / "CT.1.2.7").mkdir()
    put(tmp_path, ".1.2.8", an_object("1.2.8"))  # of another program
    MADE.update(dict.fromkeys(("1.2.5", "1.2.6", "1.2.7")))
    assert known(tmp_path, flat=flat) == {"1.2.3"}
    with closing(open_index(str(tmp_path), None if flat else STUDY)) as opened:
        assert not opened.whole("1.2.9")
        assert not opened.whole(""), "the object without a UID"
    assert not caplog.records


@pytest.mark.parametrize("flat", [True, False])
def test_file_with_a_block_that_was_never_written_is_not_whole(tmp_path: Path, *, flat: bool) -> None:
    """A loss of power leaves it so: of the right size, and with zeros where there were pixels."""
    data = an_object("1.2.3", 300_000)
    with (tmp_path / "CT.1.2.3").open("wb") as file:
        file.write(data[:65536])
        file.seek(200_000)
        file.write(data[200_000:])
        file.flush()
        if os.lseek(file.fileno(), 0, os.SEEK_HOLE) == len(data):
            pytest.skip("this file system has no holes")
    put(tmp_path, "CT.1.2.4", an_object("1.2.4", 300_000))
    opened = open_index(str(tmp_path), None if flat else parse_layout("study"))
    assert [uid for uid in ("1.2.3", "1.2.4") if opened.whole(uid)] == ["1.2.4"]
    opened.close()


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("told", ["error", "nothing"])
def test_object_is_whole_on_a_file_system_that_tells_no_holes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, *, flat: bool
) -> None:
    def unknown(*_: int) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    if told == "error":
        monkeypatch.setattr(files, "lseek", unknown)
    else:
        monkeypatch.setattr(examination, "_SEEK_HOLE", None)
    put(tmp_path, "CT.1.2.3", an_object("1.2.3"))
    assert known(tmp_path, flat=flat) == {"1.2.3"}


@pytest.mark.parametrize("flat", [True, False])
def test_large_object_that_was_cut_anywhere_is_not_whole(tmp_path: Path, *, flat: bool) -> None:
    """Of a large object, what is missing from its first 64 KiB is compared with the size of the file."""
    meta = len(an_object("1.1", 0)) - len(an_object("1.1", 0, meta=False))
    head = (1 << 16) - meta
    cuts = (0, 2, meta, 2 * meta, head, 2 * head)
    for number, cut in enumerate(cuts):
        pixels = (2 if cut == 2 else 4) * head - len(an_object("1.1", 0, meta=False))
        data = an_object(f"1.{number}", pixels)
        put(tmp_path, f"CT.1.{number}", data[: len(data) - cut])
    assert known(tmp_path, flat=flat) == {"1.0"}


@pytest.mark.parametrize("flat", [True, False])
def test_object_that_was_whole_once_is_whole_only_while_its_file_is(tmp_path: Path, *, flat: bool) -> None:
    data = an_object("1.2.3")
    put(tmp_path, "CT.1.2.3", data)
    opened = open_index(str(tmp_path), None if flat else STUDY)
    with closing(opened):
        assert opened.whole("1.2.3")
        put(tmp_path, "CT.1.2.3", an_object("1.2.3", 200))
        os.utime(tmp_path / "CT.1.2.3", ns=(7, 7))
        assert opened.whole("1.2.3"), "a longer one is examined"
        put(tmp_path, "CT.1.2.3", data[:-112])
        assert opened.whole("1.2.3") is False, "a file that was cut is not whole, though it can be read"
        assert opened.whole("1.2.3") is False
        put(tmp_path, "CT.1.2.4", an_object("1.2.4"))
        opened.add("1.2.4", "CT.1.2.4")
        assert opened.whole("1.2.4")
        (tmp_path / "CT.1.2.4").unlink()
        assert not opened.whole("1.2.4")
        (tmp_path / "CT.1.2.4").symlink_to(tmp_path / "CT.1.2.3")
        assert not opened.whole("1.2.4")


@pytest.mark.parametrize("flat", [True, False])
def test_object_that_was_added_without_a_file_is_whole_once_it_has_one(tmp_path: Path, *, flat: bool) -> None:
    with closing(open_index(str(tmp_path), None if flat else STUDY)) as opened:
        opened.add("1.2.3", "CT.1.2.3")
        assert not opened.whole("1.2.3"), "it was removed at once"
        put(tmp_path, "CT.1.2.3", an_object("1.2.3"))
        opened.add("1.2.4", "CT.1.2.4")
        put(tmp_path, "CT.1.2.4", an_object("1.2.4"))
    assert known(tmp_path, flat=flat) == {"1.2.3", "1.2.4"}


def test_flat_object_that_was_added_without_a_file_is_found_when_it_has_one(tmp_path: Path) -> None:
    with closing(open_index(str(tmp_path), None)) as opened:
        opened.add("1.2.3", "CT.1.2.3")
        put(tmp_path, "CT.1.2.3", an_object("1.2.3"))
        assert opened.whole("1.2.3")


def test_flat_object_is_found_beside_what_is_no_file_of_it(tmp_path: Path) -> None:
    for name in ("A.1.2.3", "B.1.2.3", "D.1.2.3", "E.1.2.3"):
        (tmp_path / name).mkdir()
    put(tmp_path, "C.1.2.3", an_object("1.2.3"))
    put(tmp_path, "F.1.2.3", an_object("1.2.4"))
    assert known(tmp_path, flat=True) == {"1.2.3"}


@pytest.mark.parametrize("flat", [True, False])
def test_file_that_cannot_be_read_any_more_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, flat: bool
) -> None:
    put(tmp_path, "CT.1.2.3", an_object("1.2.3"))
    assert known(tmp_path, flat=flat) == {"1.2.3"}

    def damaged(*_: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files, "pread", damaged)
    assert known(tmp_path, flat=flat) == set()


@pytest.mark.not_without("directories", "windows")
@pytest.mark.parametrize("flat", [True, False])
def test_index_holds_no_descriptor_of_the_objects_it_was_asked_for(tmp_path: Path, *, flat: bool) -> None:
    for number in range(6):
        put(tmp_path, f"CT.1.{number}", an_object(f"1.{number}") if number < 4 else b"no object")
        put(tmp_path, f"{number}/CT.2.{number}", an_object(f"2.{number}"))
    before = descriptors(tmp_path)
    opened = open_index(str(tmp_path), None if flat else STUDY)
    between = descriptors(tmp_path)
    for uid in (*MADE, "1.9"):
        opened.path(uid)
        opened.path(uid, ("1.2", "1.2.3"))
    assert descriptors(tmp_path) - between <= flat, "but for the names that are still to be read"
    opened.close()
    assert descriptors(tmp_path) == before


@pytest.mark.not_without("directories", "windows")
def test_flat_index_that_has_read_some_names_closes_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flat_index, "_AT_ONCE", 1)
    for number in range(3):
        put(tmp_path, f"CT.1.{number}", an_object(f"1.{number}"))
    before = descriptors(tmp_path)
    opened = open_index(str(tmp_path), None)
    assert not opened.whole("1.9")
    opened.close()
    assert descriptors(tmp_path) == before


def descriptors(folder: Path) -> int:
    """How many files and folders of a folder this process has open."""
    found = 0
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{number}").startswith(str(folder))
    return found


def test_flat_index_examines_a_file_again_only_if_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examined: list[str] = []

    def watched(path: str, directory: int) -> str | None:
        examined.append(path)
        return whole_instance(path, directory)

    monkeypatch.setattr(flat_index, "whole_instance", watched)
    put(tmp_path, "CT.1.2.3", an_object("1.2.3"))
    with closing(open_index(str(tmp_path), None)) as opened:
        assert [opened.whole(uid) for uid in ("1.2.3", "1.2.3", "1.2.9", "1.2.9")] == [True, True, False, False]
        assert examined == ["CT.1.2.3"]
        os.utime(tmp_path / "CT.1.2.3", ns=(7, 7))
        assert opened.whole("1.2.3")
    assert examined == ["CT.1.2.3"] * 2


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("size", [0, 200_000])
def test_object_is_whole_for_the_study_and_series_that_its_file_names(tmp_path: Path, size: int, *, flat: bool) -> None:
    bulk = struct.pack("<HH2sxxI", 0x9, 0x1010, b"OB", size) + bytes(size)
    place = element("<", 0x20000D, b"UI", b"1.2") + element("<", 0x20000E, b"UI", b"1.2.1")
    data = an_object("1.2.3")
    put(tmp_path, "CT.1.2.3", data[:-112] + bulk + place + data[-112:])
    put(tmp_path, "CT.1.2.4", an_object("1.2.4"))
    with closing(open_index(str(tmp_path), None if flat else STUDY)) as opened:
        for again in (False, True):
            if again:
                opened.add("1.2.3", "CT.1.2.3")
            for study, series, here in (("1.2", "1.2.1", 1), ("", "", 1), ("1.2", "", 1), ("1.3", "1.2.1", 0)):
                assert (opened.path("1.2.3", (study, series)) is not None) is bool(here)
        assert opened.path("1.2.3", ("1.2", "1.2.2")) is None
        assert opened.path("1.2.9", ("1.2", "1.2.1")) is None, "there is no such object"
        assert opened.path("1.2.4", ("1.2", "1.2.1")) == "CT.1.2.4", "it names none"


@pytest.mark.parametrize("flat", [True, False])
def test_file_whose_meta_names_another_object_than_its_data_set_is_neither(tmp_path: Path, *, flat: bool) -> None:
    data = an_object("1.2.3", meta=False)
    put(tmp_path, "CT.1.2.3", encode_file_meta(CT, "1.2.4", EXPLICIT_LITTLE.uid) + data)
    put(tmp_path, "CT.1.2.4", encode_file_meta(CT, "1.2.4", EXPLICIT_LITTLE.uid) + data)
    MADE["1.2.4"] = None
    assert known(tmp_path, flat=flat) == set()


def test_object_that_was_stored_as_received_is_whole_only_with_its_uid(tmp_path: Path) -> None:
    (tmp_path / "object").write_bytes(element("<", 0x100010, b"PN", b"Doe "))
    with (tmp_path / "object").open("rb") as file:
        assert (
            defect_of(file.fileno(), "1.2.3", EXPLICIT_LITTLE, parsed=False) == "its data set has no SOP Instance UID"
        )
        assert defect_of(file.fileno(), "1.2.3", EXPLICIT_LITTLE, parsed=True) == "", "the request has it"
    (tmp_path / "object").write_bytes(an_object("1.2.4", meta=False))
    for parsed in (True, False):
        with (tmp_path / "object").open("rb") as file, pytest.raises(DataSetMismatchError, match=r"1\.2\.4 differs"):
            defect_of(file.fileno(), "1.2.3", EXPLICIT_LITTLE, parsed=parsed)


def test_flat_name_with_another_object_is_not_believed(tmp_path: Path) -> None:
    put(tmp_path, "CT.1.2.3", an_object("1.2.4"))
    opened = open_index(str(tmp_path), None)
    assert not opened.whole("1.2.3")
    assert not (tmp_path / FILE_NAME).exists()
    opened.add("1.2.3", "CT.1.2.3")
    assert opened.whole("1.2.3")
    opened.close()


def test_objects_of_one_run_are_known_to_the_next_without_examination(tmp_path: Path, looked_at: list[str]) -> None:
    opened = open_index(str(tmp_path), STUDY)
    for number in range(5):
        put(tmp_path, f"a/b/{number}.dcm", an_object(f"1.{number}"))
        opened.add(f"1.{number}", f"a/b/{number}.dcm")
        assert opened.whole(f"1.{number}")
    assert not opened.whole("1.9")
    opened.close()
    assert known(tmp_path) == {"1.0", "1.1", "1.2", "1.3", "1.4"}
    assert looked_at == []


def test_files_changed_added_or_removed_by_others_are_noticed(tmp_path: Path, looked_at: list[str]) -> None:
    for number in range(3):
        put(tmp_path, f"a/{number}.dcm", an_object(f"1.{number}"))
    put(tmp_path, "gone/x.dcm", an_object("1.9"))
    assert known(tmp_path) == {"1.0", "1.1", "1.2", "1.9"}
    looked_at.clear()
    put(tmp_path, "a/1.dcm", an_object("1.1")[:-2])
    (tmp_path / "a" / "2.dcm").unlink()
    (tmp_path / "gone" / "x.dcm").unlink()
    (tmp_path / "gone").rmdir()
    put(tmp_path, "b/c/3.dcm", an_object("1.3"))
    assert known(tmp_path) == {"1.0", "1.3"}
    assert sorted(looked_at) == ["b/c/3.dcm"]  # a smaller file was cut: it need not be read
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        names = database.execute("SELECT folder, name FROM index_files ORDER BY 1, 2").fetchall()
    assert names == [(b"a/", b"0.dcm"), (b"a/", b"1.dcm"), (b"b/c/", b"3.dcm")]


def test_file_removed_or_changed_during_the_run_is_not_whole(tmp_path: Path) -> None:
    put(tmp_path, "a/1.dcm", an_object("1.1"))
    put(tmp_path, "a/2.dcm", an_object("1.2"))
    opened = open_index(str(tmp_path), STUDY)
    (tmp_path / "a" / "1.dcm").unlink()
    put(tmp_path, "a/2.dcm", an_object("1.2")[:-2])
    assert not opened.whole("1.1")
    assert not opened.whole("1.2")
    opened.close()


@pytest.mark.parametrize("removed", [True, False])
def test_object_with_two_files_is_whole_while_one_of_them_is(tmp_path: Path, *, removed: bool) -> None:
    put(tmp_path, "a/1.dcm", an_object("1.1"))
    put(tmp_path, "b/1.dcm", an_object("1.1"))
    assert known(tmp_path) == {"1.1"}
    with closing(open_index(str(tmp_path), STUDY)) as opened:
        assert not opened.whole("1.9")
        if removed:
            (tmp_path / "a" / "1.dcm").unlink()
        else:
            put(tmp_path, "a/1.dcm", b"no object")
        assert opened.path("1.1") == "b/1.dcm"
    assert known(tmp_path) == {"1.1"}


def test_file_that_was_only_touched_is_whole_and_one_that_was_cut_is_not(
    tmp_path: Path, looked_at: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Whichever object is asked for first: the comparison sees the files, too."""
    for number in range(3):
        put(tmp_path, f"a/{number}.dcm", an_object(f"1.{number}"))
    assert known(tmp_path) == {"1.0", "1.1", "1.2"}
    os.utime(tmp_path / "a" / "0.dcm", ns=(7, 7))
    os.utime(tmp_path / "a" / "1.dcm")
    put(tmp_path, "a/2.dcm", an_object("1.2")[:-112])  # which can be parsed
    with closing(open_index(str(tmp_path), STUDY)) as opened:
        assert not opened.whole("1.9")
    assert known(tmp_path) == {"1.0", "1.1"}
    os.utime(tmp_path / "a" / "0.dcm", ns=(8, 8))
    looked_at.clear()
    for _ in range(2):
        assert known(tmp_path) == {"1.0", "1.1"}
    assert looked_at == ["a/0.dcm"], "once"
    assert not caplog.records


@pytest.mark.row("86")
@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"\xa5" * 5000)])
def test_lost_or_damaged_index_is_made_again(tmp_path: Path, damage: object) -> None:
    put(tmp_path, "a/1.dcm", an_object("1.1"))
    assert known(tmp_path) == {"1.1"}
    assert callable(damage)
    damage(tmp_path / FILE_NAME)
    assert known(tmp_path) == {"1.1"}


@pytest.mark.parametrize("flushed", [True, False])
@pytest.mark.parametrize("lost", [True, False])
def test_unflushed_files_are_examined_again_after_a_power_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looked_at: list[str], *, flushed: bool, lost: bool
) -> None:
    opened = open_index(str(tmp_path), STUDY)
    put(tmp_path, "a/1.dcm", an_object("1.1", 100))
    opened.add("1.1", "a/1.dcm")
    if flushed:
        opened.flushed()
    opened.close()
    lost = lost and not flushed
    if lost:  # the file has its size and time, and not its content
        status = (tmp_path / "a" / "1.dcm").stat()
        (tmp_path / "a" / "1.dcm").write_bytes(bytes(status.st_size))
        os.utime(tmp_path / "a" / "1.dcm", ns=(status.st_atime_ns, status.st_mtime_ns))
    monkeypatch.setattr(index, "_boot", lambda: "another")
    assert known(tmp_path) == (set() if lost else {"1.1"})
    assert bool(looked_at) is not flushed


def test_unflushed_files_are_examined_again_where_no_system_tells_whether_it_was_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looked_at: list[str]
) -> None:
    monkeypatch.setattr(files, "boot_id", str)
    with closing(open_index(str(tmp_path), STUDY)) as opened:
        put(tmp_path, "a/1.dcm", an_object("1.1"))
        opened.add("1.1", "a/1.dcm")
    assert known(tmp_path) == {"1.1"}
    assert looked_at == ["a/1.dcm"]


def test_folder_of_received_objects_that_was_removed_is_no_error(tmp_path: Path) -> None:
    with closing(open_index(str(tmp_path), STUDY)) as opened:
        for name in "ab":
            put(tmp_path, f"{name}/1.dcm", an_object(name))
            opened.add(name, f"{name}/1.dcm")
        opened.save()
        shutil.rmtree(tmp_path / "a")
    assert known(tmp_path) == {"b"}


def test_file_that_was_added_in_the_moment_of_the_comparison_is_found(tmp_path: Path) -> None:
    """Its folder has the time then that it had before."""
    put(tmp_path, "a/1.dcm", an_object("1.1"))
    assert known(tmp_path) == {"1.1"}
    times = (tmp_path / "a").stat()
    put(tmp_path, "a/2.dcm", an_object("1.2"))
    os.utime(tmp_path / "a", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert known(tmp_path) == {"1.1", "1.2"}


@pytest.mark.parametrize("inode", [1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_inode_of_any_number_can_be_noted(inode: int) -> None:
    """Some network file systems use all 64 bits; SQLite has a sign."""
    noted = [states.state_of(os.stat_result((0o100644, one, 0, 1, 0, 0, 7, 0, 0, 0)))[3] for one in (inode, inode ^ 1)]
    assert len({*noted, 5}) == 3
    with closing(sqlite3.connect(":memory:")) as database:
        assert [database.execute("SELECT ?", (one,)).fetchone()[0] for one in noted] == noted


def test_folder_is_settled_when_a_further_change_has_another_time_on_every_file_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The times of FAT are even seconds."""
    monkeypatch.setattr(clock, "wall", lambda: 1.7e9)
    times = (1_699_999_997_900_000_000, 1_699_999_998_100_000_000, 1_700_000_001_000_000_000)
    assert [states.is_settled((time, 1)) for time in times] == [True, False, False]


def test_undecodable_name_is_found_again(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe.dcm")
    put(tmp_path, name, an_object("1.1"))
    assert known(tmp_path) == {"1.1"} == known(tmp_path)


def test_link_to_another_folder_is_not_followed(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/1.dcm", an_object("1.1"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "elsewhere")
    assert known(tmp_path / "out") == set()


KILLED = """
import os, signal, sys, threading
from pathlib import Path
from movescu.storage import files
from movescu.storage.file_names import UNKNOWN_PREFIX
from movescu.storage.index import flat as flat_index
from movescu.storage.index import index, states
from movescu.storage.layout.template import parse_layout
index._OFTEN = 0.01
folder, source = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()
opened = index.open_index(str(folder), parse_layout("study"))
noted, keep = threading.Event(), opened.save
opened.save = lambda: (keep(), noted.set())
(folder / "a").mkdir()
for number in range(300):
    (folder / "a" / f"{number}.dcm").write_bytes(source.replace(b"1.000", b"1.%03d" % number))
    opened.add(f"1.{number:03}", f"a/{number}.dcm")
    if number == 199:
        assert noted.wait(60)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_run_costs_the_examination_of_its_last_objects(tmp_path: Path, looked_at: list[str]) -> None:
    (tmp_path / "source").write_bytes(an_object("1.000"))
    MADE.update((f"1.{number:03}", None) for number in range(300))
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", KILLED, str(tmp_path / "out"), str(tmp_path / "source")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert known(tmp_path / "out") == {f"1.{number:03}" for number in range(300)}
    assert len(looked_at) < 300


@pytest.mark.parametrize("layout", [None, STUDY], ids=["flat", "folders"])
def test_files_of_an_unfinished_run_are_flushed_when_relied_on(tmp_path: Path, layout: Layout | None) -> None:
    relied: list[tuple[str, int]] = []
    name = "CT.1.1" if layout is None else "a/1.dcm"
    data = an_object("1.1")
    opened = open_index(str(tmp_path), layout)
    put(tmp_path, name, data)
    opened.add("1.1", name)
    opened.close()  # and no flush had ended
    opened = open_index(str(tmp_path), layout, rely=lambda *what: relied.append(what))
    assert opened.whole("1.1")
    opened.close()
    assert relied == [(name, len(data))]


@pytest.mark.parametrize("layout", [None, STUDY], ids=["flat", "folders"])
def test_file_whose_flush_failed_is_missing_however_whole_it_reads(tmp_path: Path, layout: Layout | None) -> None:
    for number, changed in enumerate((7, 8)):
        put(tmp_path, f"CT.1.{number}", an_object(f"1.{number}"))
        os.utime(tmp_path / f"CT.1.{number}", ns=(changed, changed))
    for _ in range(2):  # the second run has it in its database
        with closing(open_index(str(tmp_path), layout, doubted=lambda changed: changed == 7)) as opened:
            assert [opened.whole(uid) for uid in ("1.0", "1.1")] == [False, True]
    with closing(open_index(str(tmp_path), layout)) as opened:
        assert opened.whole("1.0")


@pytest.mark.parametrize("saved", ["never", "before", "in vain before", "in vain after"])
def test_files_of_a_finished_flush_are_not_flushed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looked_at: list[str], saved: str
) -> None:
    relied: list[tuple[str, int]] = []
    opened = open_index(str(tmp_path), STUDY)
    put(tmp_path, "a/1.dcm", an_object("1.1"))
    opened.add("1.1", "a/1.dcm")
    if saved == "in vain before":
        save_in_vain(opened, monkeypatch)
    elif saved != "never":
        opened.save()
    opened.flushed()
    if saved == "in vain after":
        save_in_vain(opened, monkeypatch)
    opened.close()
    monkeypatch.setattr(index, "_boot", lambda: "another")
    opened = open_index(str(tmp_path), STUDY, rely=lambda *what: relied.append(what))
    assert opened.whole("1.1")
    opened.close()
    assert not relied
    assert not looked_at


def test_flushed_file_that_was_changed_is_flushed_again_when_relied_on(tmp_path: Path) -> None:
    put(tmp_path, "a/1.dcm", an_object("1.1"))
    with closing(open_index(str(tmp_path), STUDY)) as opened:
        opened.add("1.1", "a/1.dcm")
        opened.flushed()
    put(tmp_path, "a/1.dcm", an_object("1.1", 200))
    relied: list[str] = []
    with closing(open_index(str(tmp_path), STUDY, rely=lambda path, _: relied.append(path))) as opened:
        assert opened.whole("1.1")
    assert relied == ["a/1.dcm"]


def save_in_vain(opened: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Save onto a full disk, which is noticed at the end."""
    assert isinstance(opened, KeptIndex)
    save = opened._save

    def failing(*arguments: Any) -> None:
        save(*arguments)
        full()

    with monkeypatch.context() as patch:
        patch.setattr(opened, "_save", failing)
        with pytest.raises(StoreError, match="full"):
            opened.save()


def test_added_objects_are_saved_while_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def saved() -> int:
        with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
            return int(database.execute("SELECT count(*) FROM index_files").fetchone()[0])

    monkeypatch.setattr(index, "_OFTEN", 0.01)
    with closing(open_index(str(tmp_path), STUDY)) as opened:
        for number in range(6):
            if number == 2:
                monkeypatch.setattr(index, "_OFTEN", 600.0)
                monkeypatch.setattr(index, "_MANY", 4)
            put(tmp_path, f"a/{number}.dcm", an_object(f"1.{number}"))
            opened.add(f"1.{number}", f"a/{number}.dcm")
            while number in (0, 1, 5) and saved() <= number:
                time.sleep(0.002)


def test_index_that_cannot_be_saved_now_is_saved_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(index, "_OFTEN", 0.001)
    tried = threading.Event()
    opened = open_index(str(tmp_path), STUDY)
    assert isinstance(opened, KeptIndex)
    save = opened._save

    def again(*arguments: Any) -> None:
        save(*arguments)
        tried.set()

    def failing(*_: object) -> None:
        monkeypatch.setattr(opened, "_save", again)
        full()

    monkeypatch.setattr(opened, "_save", failing)
    put(tmp_path, "a/1.dcm", an_object("1.1"))
    opened.add("1.1", "a/1.dcm")
    assert tried.wait(30)
    opened.close()
    assert "not up to date" in caplog.text
    assert known(tmp_path) == {"1.1"}


def test_object_that_is_added_while_others_cannot_be_saved_stays_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_index(str(tmp_path), STUDY)
    assert isinstance(opened, KeptIndex)
    assert not opened.whole("1.9"), "so that the directory is not compared again"
    for number in (1, 2):
        put(tmp_path, f"a/{number}.dcm", an_object(f"1.{number}"))
    opened.add("1.1", "a/1.dcm")

    def failing(*_: object) -> None:
        opened.add("1.2", "a/2.dcm")
        full()

    with monkeypatch.context() as patch:
        patch.setattr(opened, "_save", failing)
        with pytest.raises(StoreError, match="full"):
            opened.save()
    assert [opened.whole(uid) for uid in ("1.1", "1.2")] == [True, True]
    opened.close()
    assert opened._keeper is not None
    assert not opened._keeper.is_alive(), "it would use a database that is closed"


def test_file_of_others_is_found_beside_received_ones_though_its_folder_has_the_time_of_before(tmp_path: Path) -> None:
    put(tmp_path, "a/1.dcm", an_object("1.1"))
    settle(tmp_path)
    assert known(tmp_path) == {"1.1"}
    with closing(open_index(str(tmp_path), STUDY)) as opened:
        put(tmp_path, "a/2.dcm", an_object("1.2"))
        opened.add("1.2", "a/2.dcm")
        put(tmp_path, "a/3.dcm", an_object("1.3"))
        os.utime(tmp_path / "a", (1e9, 1e9))
    assert known(tmp_path) == {"1.1", "1.2", "1.3"}


def test_folder_of_received_objects_is_listed_again_if_it_has_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(open_index(str(tmp_path), STUDY)) as opened:
        for folder in ("a", "b", "c"):
            put(tmp_path, f"{folder}/{folder}.dcm", an_object(folder))
            opened.add(folder, f"{folder}/{folder}.dcm")
        put(tmp_path, "b/other.dcm", an_object("1.1"))
        put(tmp_path, "a/.hidden", b"")
        for folder in ("a", "b"):
            os.utime(tmp_path / folder, (1e9, 1e9))
    times = (tmp_path / "c").stat()
    put(tmp_path, "c/next.dcm", an_object("1.2"))
    os.utime(tmp_path / "c", ns=(times.st_atime_ns, times.st_mtime_ns))  # in the same moment
    listed: list[str] = []

    def watched(folder: str, directory: int) -> object:
        listed.append(folder)
        return states.scan(folder, directory)

    with monkeypatch.context() as patch:
        patch.setattr(index, "scan", watched)
        assert known(tmp_path) == {"a", "b", "c", "1.1", "1.2"}
    assert sorted(listed)[:3] == ["", "b/", "c/"]


def test_flush_of_new_files_does_not_cover_those_found(tmp_path: Path) -> None:
    relied: list[tuple[str, int]] = []
    put(tmp_path, "a/1.dcm", an_object("1.1"))
    opened = open_index(str(tmp_path), STUDY)
    put(tmp_path, "a/2.dcm", an_object("1.2"))
    opened.add("1.2", "a/2.dcm")
    opened.flushed()
    opened.close()
    opened = open_index(str(tmp_path), STUDY, rely=lambda *what: relied.append(what))
    assert opened.whole("1.1")
    assert opened.whole("1.2")
    opened.close()
    assert [path for path, _ in relied] == ["a/1.dcm"]


def test_flush_reads_no_indexed_file(tmp_path: Path) -> None:
    """At a million files a scan takes a quarter of a second, for each entry of a list."""
    opened = open_index(str(tmp_path), STUDY)
    assert isinstance(opened, KeptIndex)
    statements: list[str] = []
    opened._database.set_trace_callback(statements.append)
    put(tmp_path, "a/1.dcm", an_object("1.1"))
    opened.add("1.1", "a/1.dcm")
    opened.flushed()
    opened.save()
    assert [one for one in statements if one.startswith("INSERT OR REPLACE INTO index_files")]
    assert not [one for one in statements if "DELETE" in one or "SELECT" in one]
    opened.close()


@pytest.mark.row("85")
def test_file_changed_in_place_is_not_believed_though_size_and_time_are_those_noted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "a/1.dcm", an_object("1.1"))
    assert known(tmp_path) == {"1.1"}
    file = tmp_path / "a" / "1.dcm"
    status = file.stat()
    file.write_bytes(bytes(status.st_size))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    opened = open_index(str(tmp_path), STUDY)
    assert not opened.whole("1.1")
    opened.close()
    assert not caplog.records


@pytest.mark.row("85")
def test_file_with_another_head_is_not_believed_though_its_state_is_that_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a/1.dcm", an_object("1.1"))
    assert known(tmp_path) == {"1.1"}
    file = tmp_path / "a" / "1.dcm"
    before = file.stat()
    file.write_bytes(bytes(before.st_size))
    monkeypatch.setattr(states, "state_of", lambda _: (before.st_size, before.st_mtime_ns, before.st_ctime_ns, 1))
    opened = open_index(str(tmp_path), STUDY)
    assert not opened.whole("1.1")
    opened.close()


@pytest.mark.parametrize("flat", [True, False])
def test_whole_objects_are_found_without_reading_the_names_in_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, flat: bool
) -> None:
    """A million files are not listed for one study."""
    for number in range(3):
        put(tmp_path, f"CT.1.{number}" if flat else f"a/{number}.dcm", an_object(f"1.{number}"))
    known(tmp_path, flat=flat)
    read: list[object] = []
    scandir = files.scandir

    def watched(where: int) -> Iterator[os.DirEntry[str]]:
        for entry in scandir(where):
            read.append(entry)
            yield entry

    monkeypatch.setattr(files, "scandir", watched if flat else read.append)
    opened = open_index(str(tmp_path), None if flat else STUDY)
    assert all(opened.whole(f"1.{number}") for number in range(3))
    assert not read
    monkeypatch.undo()
    opened.close()


def test_flat_object_in_a_large_directory_is_found_under_any_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flat_index, "_AT_ONCE", 2)
    for number in range(9):
        put(tmp_path, f"{'MR' if number & 1 else 'UNKNOWN'}.1.{number}", an_object(f"1.{number}"))
    put(tmp_path, "mine.1.99", an_object("1.99"))
    opened = open_index(str(tmp_path), None)
    assert [opened.whole(f"1.{number}") for number in range(15)] == [True] * 9 + [False] * 6
    assert opened.whole("1.99"), "all names have been read for those that are missing"
    opened.close()


def test_several_threads_find_every_object_of_a_large_flat_directory(tmp_path: Path) -> None:
    uids = [f"1.2.{number}" for number in range(1500)]
    for number, uid in enumerate(uids):
        put(tmp_path, f"{('CT', 'MR', 'US', UNKNOWN_PREFIX)[number % 4]}.{uid}", an_object(uid))
    absent = [f"1.3.{number}" for number in range(300)]
    directory = open_index(str(tmp_path), None)
    with closing(directory), ThreadPoolExecutor(8) as pool:
        found = list(pool.map(directory.whole, [*uids, *absent]))
    assert found == [True] * len(uids) + [False] * len(absent)


def test_unchanged_folders_are_not_listed_for_an_object_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        put(tmp_path, f"{number}/x/1.dcm", an_object(f"1.{number}"))
    settle(tmp_path)
    known(tmp_path)
    put(tmp_path, "1/x/2.dcm", an_object("1.9"))
    listed: list[str] = []

    def watched(folder: str, directory: int) -> object:
        listed.append(folder)
        return states.scan(folder, directory)

    monkeypatch.setattr(index, "scan", watched)
    opened = open_index(str(tmp_path), STUDY)
    assert opened.whole("1.9")
    assert not opened.whole("1.10")
    assert listed == ["", "1/x/"], "the database changes the first"
    opened.close()


def settle(folder: Path) -> None:
    """Have the folders below one changed long ago."""
    for one in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        os.utime(one, (1e9, 1e9))


def test_index_of_an_unchanged_directory_lists_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor its own folder, which another run keeps as it was, as it has the database open."""
    put(tmp_path, "a/1.dcm", an_object("1.1"))
    for _ in range(2):
        with closing(open_index(str(tmp_path), STUDY)) as opened:
            settle(tmp_path)
            assert not opened.whole("1.9")
        monkeypatch.setattr(index, "scan", None)


def test_folder_that_vanished_hides_no_other(tmp_path: Path) -> None:
    """Though the folder above has the time that it had before."""
    for name in "abc":
        put(tmp_path, f"above/{name}/1.dcm", an_object(f"{name}.1"))
    settle(tmp_path)
    assert known(tmp_path) == {"a.1", "b.1", "c.1"}
    shutil.rmtree(tmp_path / "above" / "b")
    put(tmp_path, "above/a/2.dcm", an_object("a.2"))
    put(tmp_path, "above/c/2.dcm", an_object("c.2"))
    os.utime(tmp_path / "above", (1e9, 1e9))
    assert known(tmp_path) == {"a.1", "a.2", "c.1", "c.2"}


def test_objects_of_a_folder_that_was_moved_away_and_back_are_found(tmp_path: Path) -> None:
    put(tmp_path, "a/1.dcm", an_object("1.1"))
    settle(tmp_path)
    assert known(tmp_path) == {"1.1"}
    (tmp_path / "a").rename(tmp_path.with_name("elsewhere"))
    assert known(tmp_path) == set()
    tmp_path.with_name("elsewhere").rename(tmp_path / "a")
    assert known(tmp_path) == {"1.1"}


def test_file_that_was_found_while_the_disk_was_full_shares_no_flush_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looked_at: list[str]
) -> None:
    """A run that could not be saved has no number: the next one gets it."""
    put(tmp_path, "a/1.dcm", an_object("1.1"))
    opened = open_index(str(tmp_path), STUDY)
    assert isinstance(opened, KeptIndex)
    write = opened._write

    def failing(*arguments: Any) -> None:
        write(*arguments)
        full()

    with monkeypatch.context() as patch:
        patch.setattr(opened, "_write", failing)
        assert opened.whole("1.1")
    put(tmp_path, "a/2.dcm", an_object("1.2"))
    opened.add("1.2", "a/2.dcm")
    opened.flushed()
    opened.save()
    os.utime(tmp_path / "a" / "2.dcm", ns=(7, 7))
    assert opened.whole("1.2"), "it is noted anew"
    opened.close()
    looked_at.clear()
    monkeypatch.setattr(index, "_boot", lambda: "another")
    relied: list[str] = []
    with closing(open_index(str(tmp_path), STUDY, rely=lambda path, _: relied.append(path))) as opened:
        assert opened.whole("1.2")
    assert looked_at == relied == ["a/2.dcm"]


IMAGE = element("<", 0x280010, b"US", b"\x02\0") + element("<", 0x280011, b"US", b"\x02\0")
LONG = struct.pack("<HH2sxxI", 0x7FE0, 0x10, b"OW", 8) + bytes(8)
EMPTY = struct.pack("<HH2sxxI", 0x7FE0, 0x10, b"OW", 0)
FRAGMENTS = struct.pack("<HH2sxxI", 0x7FE0, 0x10, b"OB", 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0)
END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
FRAGMENT = struct.pack("<HHI", 0xFFFE, 0xE000, 4) + bytes(4)


def icon(pixels: bytes) -> bytes:
    begin = struct.pack("<HH2sxxI", 0x88, 0x200, b"SQ", len(pixels) + 8)
    return begin + struct.pack("<HHI", 0xFFFE, 0xE000, len(pixels)) + pixels


ICON = icon(LONG)
BULK = struct.pack("<HH2sxxI", 0x9, 0x1010, b"OB", 1_200_000) + bytes(1_200_000)
MANY = struct.pack("<HH2sxxI", 0x7FE0, 0x10, b"OW", 200_000) + bytes(200_000)
BEHIND = struct.pack("<HH2sxxI", 0xFFFC, 0xFFFC, b"OB", 2) + bytes(2)
NOTHING = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
PRIVATE = struct.pack("<HH", 0x7FE1, 0x1010)
LATE = PRIVATE + BULK[4:]
RLE = TransferSyntax("1.2.840.10008.1.2.5", "RLE", encapsulated=True)


@pytest.mark.row("80")
@pytest.mark.parametrize("bulk", [b"", BULK], ids=["small", "large"])
@pytest.mark.parametrize(
    ("content", "syntax", "whole"),
    [
        (IMAGE + LONG, EXPLICIT_LITTLE, True),
        (IMAGE, EXPLICIT_LITTLE, False),
        (IMAGE + EMPTY, EXPLICIT_LITTLE, False),
        (IMAGE + ICON, EXPLICIT_LITTLE, False),
        (IMAGE + ICON + LONG, EXPLICIT_LITTLE, True),
        (b"", EXPLICIT_LITTLE, True),
        (element("<", 0x280010, b"US", b"\0\0") + element("<", 0x280011, b"US", b"\0\0"), EXPLICIT_LITTLE, True),
        (IMAGE + struct.pack("<HH2sxxI", 0x7FE0, 8, b"OF", 8) + bytes(8), EXPLICIT_LITTLE, True),
        (IMAGE + FRAGMENTS + FRAGMENT + END, RLE, True),
        (IMAGE + FRAGMENTS + END, RLE, False),
        (IMAGE, RLE, False),
        (IMAGE + MANY + BEHIND, EXPLICIT_LITTLE, True),
        (IMAGE + icon(MANY) + BEHIND, EXPLICIT_LITTLE, False),
        (IMAGE + icon(FRAGMENTS + FRAGMENT + END), RLE, False),
        (IMAGE + FRAGMENTS + NOTHING + END, RLE, False),
        (IMAGE + FRAGMENTS[:-8] + FRAGMENT + END, RLE, False),
        (IMAGE + FRAGMENTS[:-8] + FRAGMENT * 2 + END, RLE, True),
        (IMAGE + FRAGMENTS + FRAGMENT, RLE, False),
        (IMAGE[:10], EXPLICIT_LITTLE, True),
        (IMAGE + LONG + LATE + BEHIND, EXPLICIT_LITTLE, True),
        (IMAGE + LATE, EXPLICIT_LITTLE, False),
        (IMAGE + PRIVATE + FRAGMENTS[4:] + FRAGMENT + END, RLE, False),
    ],
    ids=[
        "pixels", "cut", "empty", "icon alone", "icon and pixels", "no image", "no size", "float", "fragments",
        "no fragments", "cut encapsulated", "many pixels", "large icon alone", "icon of fragments", "empty fragment",
        "offset table alone", "offset table and fragment", "no delimiter",
        "rows alone", "pixels before others", "others behind no pixels", "private fragments",
    ],
)  # fmt: skip
def test_image_without_its_pixels_is_not_whole(
    tmp_path: Path, content: bytes, syntax: TransferSyntax, bulk: bytes, *, whole: bool
) -> None:
    MADE["1.1"] = None
    head = element("<", 0x80016, b"UI", CT.encode()) + element("<", 0x80018, b"UI", b"1.1")
    put(tmp_path, "CT.1.1", encode_file_meta(CT, "1.1", syntax.uid) + head + bulk + content)
    assert known(tmp_path, flat=True) == ({"1.1"} if whole else set())
    assert known(tmp_path) == ({"1.1"} if whole else set())
    for parsed in (False, True):
        with (tmp_path / "CT.1.1").open("rb") as file:
            found = defect_of(file.fileno(), "1.1", syntax, parsed=parsed)
        undelimited = content.endswith(FRAGMENT)  # which its parser has told
        assert (found == "") is (whole or (parsed and undelimited))


@pytest.mark.parametrize(
    ("tag", "vr"),
    [(0x7FE00009, b"OD"), (0x00287FE0, b"UR"), (0x00420011, b"OB"), (0x56000020, b"OF"), (0x7FE00008, b"OF")],
    ids=["doubles", "address", "document", "spectroscopy", "floats"],
)
@pytest.mark.parametrize("fast", [True, False])
def test_image_is_whole_with_what_it_may_have_in_place_of_pixel_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: int, vr: bytes, *, fast: bool
) -> None:
    if not fast:
        monkeypatch.setattr(examination, "_AT_ONCE", 0)
        monkeypatch.setattr(examination, "_META", 512)
    head = element("<", 0x80016, b"UI", CT.encode()) + element("<", 0x80018, b"UI", b"1.1")
    content = struct.pack("<HH2sxxI", tag >> 16, tag & 0xFFFF, vr, 1000) + b"x" * 1000
    put(tmp_path, "CT.1.1", encode_file_meta(CT, "1.1", EXPLICIT_LITTLE.uid) + head + IMAGE + content)
    MADE["1.1"] = None
    assert known(tmp_path, flat=True) == {"1.1"}


def test_index_of_a_directory_that_is_gone_is_an_error(tmp_path: Path) -> None:
    before = descriptors(tmp_path)
    with pytest.raises(StoreError, match="cannot read"):
        open_index(str(tmp_path / "gone"), STUDY)
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(StoreError, match="not a regular file"):
        open_index(str(tmp_path), STUDY)
    assert descriptors(tmp_path) == before


def test_full_disk_makes_no_whole_file_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a/1.dcm", an_object("1.1"))
    relied: list[tuple[str, int]] = []
    opened = open_index(
        str(tmp_path), STUDY, rely=lambda *what: relied.append(what), doubted=lambda changed: changed == 7
    )
    assert isinstance(opened, KeptIndex)
    data = an_object("1.2")
    put(tmp_path, "b/c/2.dcm", data[:-112] + element("<", 0x20000D, b"UI", b"1.9") + data[-112:])
    put(tmp_path, "b/c/4.dcm", an_object("1.4"))
    os.utime(tmp_path / "b" / "c" / "4.dcm", ns=(7, 7))
    monkeypatch.setattr(opened, "_write", full)
    assert not opened.whole("1.4")
    assert opened.whole("1.1")
    assert opened.path("1.2", ("1.8", "")) is None, "it is of another study"
    assert opened.path("1.2", ("1.9", "")) == "b/c/2.dcm"
    files_of = ("a/1.dcm", "b/c/2.dcm")
    assert relied == [(path, (tmp_path / path).stat().st_size) for path in files_of], "and to be flushed"
    os.utime(tmp_path / "b" / "c" / "2.dcm", ns=(7, 7))
    assert not opened.whole("1.2"), "it was changed since"
    assert not opened.whole("1.3")
    monkeypatch.undo()
    opened.close()
    assert known(tmp_path) == {"1.1", "1.2", "1.4"}


def full(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


def test_comparison_of_many_folders_takes_one_commit(tmp_path: Path) -> None:
    for number in range(30):
        put(tmp_path, f"{number}/1.dcm", an_object(f"1.{number}"))
    opened = open_index(str(tmp_path), STUDY)
    assert isinstance(opened, KeptIndex)
    statements: list[str] = []
    opened._database.set_trace_callback(statements.append)
    assert opened.whole("1.1")
    assert statements.count("COMMIT") == 1
    opened.close()


def test_file_changed_before_it_is_saved_is_not_believed(tmp_path: Path) -> None:
    opened = open_index(str(tmp_path), STUDY)
    put(tmp_path, "a/1.dcm", an_object("1.1"))
    opened.add("1.1", "a/1.dcm")
    put(tmp_path, "a/1.dcm", an_object("1.1")[:-2])
    assert not opened.whole("1.1")
    opened.close()
    assert known(tmp_path) == set()
