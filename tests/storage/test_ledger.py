"""What counts as whole in an output directory: the file that was written, of the object that is listed."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from movescu.dictionary.uids import EXPLICIT_LITTLE, TRANSFER_SYNTAXES
from movescu.dimse.messages import CStoreRQ
from movescu.storage.incoming_object import Incoming
from movescu.storage.index.examination import NOWHERE
from movescu.storage.layout.template import parse_layout
from movescu.storage.ledger import Ledger
from movescu.storage.options import StorageOptions
from movescu.storage.target import Target
from movescu.storage.writer import OutputDirectory
from movescu.ul.negotiation import Context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
RLE = TRANSFER_SYNTAXES["1.2.840.10008.1.2.5"]
HERE = ("1.2", "1.2.3")
GONE = "its file was deleted after it was stored"
CHANGED = "its file was changed after it was stored"
TWO = "two different objects have this UID"
ELSEWHERE = "its file is not the object that the archive lists, but one of another study or series"


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) & 1)
    return (
        bytes((tag >> 16 & 0xFF, tag >> 24, tag & 0xFF, tag >> 8 & 0xFF))
        + vr
        + len(value).to_bytes(2, "little")
        + value
    )


class Run:
    """A run of the program into a directory."""

    def __init__(self, folder: Path, *, layout: str, indexed: bool) -> None:
        options = StorageOptions(directory=str(folder), layout=parse_layout(layout))
        self.folder = folder
        self.target = Target(options, indexed=indexed, proved=True)

    def store(
        self,
        uid: str = "1.2.3.4",
        *,
        place: tuple[str, str] = HERE,
        name: str = "Doe",
        sop_class: str = CT,
        image: bool = False,
        undelimited: bool = False,
    ) -> Path:
        """Store an object, and return its file."""
        before = {path: path.stat().st_ino for path in self.files}
        syntax = RLE if undelimited else EXPLICIT_LITTLE
        incoming = Incoming(CStoreRQ(sop_class, 1, uid), Context(1, sop_class, syntax), "ARCHIVE")
        receiver = self.target.receiver(incoming)
        data = element(0x00080016, b"UI", sop_class.encode()) + element(0x00080018, b"UI", uid.encode())
        data += element(0x00100010, b"PN", name.encode())
        data += element(0x0020000D, b"UI", place[0].encode()) + element(0x0020000E, b"UI", place[1].encode())
        if image:
            data += element(0x00280010, b"US", b"\2\0") + element(0x00280011, b"US", b"\2\0")
        if undelimited:
            data += (
                b"\xe0\x7f\x10\0OB\0\0" + b"\xff" * 4 + (b"\xfe\xff\0\xe0" + (4).to_bytes(4, "little") + b"data") * 2
            )
        receiver.write(memoryview(data))
        receiver.finish()
        new = [path for path in self.files if before.get(path) != path.stat().st_ino]
        return new[0] if new else next(iter(before))

    @property
    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file() and not path.name.startswith("."))

    def check(self, uid: str = "1.2.3.4", place: tuple[str, str] = HERE, row: int | None = None) -> str:
        """Return why an object is not whole, empty if it is."""
        [found] = self.target.check([{uid: place}], row)
        assert not found.keys() - {uid}
        return found.get(uid, "")


@pytest.fixture(params=["flat", "study"])
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["proved", "indexed"])
def run(tmp_path: Path, layout: str, request: pytest.FixtureRequest) -> Iterator[Run]:
    made = Run(tmp_path, layout=layout, indexed=request.param)
    yield made
    made.target.close()


def earlier(folder: Path, layout: str, **stored: object) -> None:
    """Store an object in a run of its own."""
    one = Run(folder, layout=layout, indexed=True)
    one.store(**stored)  # type: ignore[arg-type] # keywords of store
    one.target.flush()
    one.target.close()
    for path in one.files:
        os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("place", [HERE, ("", ""), ("1.2", ""), ("", "1.2.3")])
def test_stored_object_is_whole_where_it_is_listed(run: Run, place: tuple[str, str]) -> None:
    path = run.store()
    [stored] = run.target.files_of(["1.2.3.4", "1.2.3.9"])
    assert (stored.uid, run.folder / stored.path, stored.size) == ("1.2.3.4", path, path.stat().st_size)
    assert run.check(place=place) == ""


@pytest.mark.parametrize("place", [("1.9", "1.2.3"), ("1.2", "1.2.9"), ("1.9", "1.2.9"), ("", "1.2.9")])
def test_object_of_another_study_or_series_is_not_the_one_that_is_listed(run: Run, place: tuple[str, str]) -> None:
    run.store()
    assert run.check(place=place) == ELSEWHERE


def test_file_that_is_gone_or_changed_is_not_whole_but_one_with_another_mode_is(run: Run) -> None:
    path = run.store()
    path.chmod(0o600)
    assert run.check(row=1) == ""
    data = path.read_bytes()
    path.write_bytes(data.replace(b"Doe", b"Roe"))
    os.utime(path, ns=(5, 5))
    assert run.check(row=1) == CHANGED
    path.unlink()
    assert run.check(row=1) == GONE
    assert run.target.files_of(["1.2.3.4"]) == []


@pytest.mark.parametrize("other", [{"name": "Roe"}, {"sop_class": MR}, {"place": ("1.8", "1.8.3")}])
def test_two_different_objects_of_one_uid_are_no_success_even_if_one_is_sent_again(
    run: Run, other: dict[str, str]
) -> None:
    run.store()
    run.store(**other)  # type: ignore[arg-type] # keywords of store
    run.store(**other)  # type: ignore[arg-type] # as above
    assert not run.target.whole("1.2.3.4")
    assert run.check() == TWO
    assert not run.target.superseded


def test_object_that_is_sent_twice_is_one(run: Run) -> None:
    run.store()
    run.store()
    assert len(run.files) == 1
    assert run.check() == ""
    assert not run.target.superseded


def test_file_with_another_object_is_not_whole_though_it_has_size_and_time_of_the_first(run: Run) -> None:
    path = run.store()
    times = path.stat()
    data = path.read_bytes().replace(b"1.2.3.4", b"1.2.3.5")
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert run.check() == CHANGED


def test_object_that_is_nowhere_is_gone_if_there_is_an_index(run: Run) -> None:
    assert run.check("1.2.3.9") == ("" if run.target.index is None else GONE)


def test_object_that_an_earlier_retrieve_of_the_run_stored_is_compared_with_the_list_of_the_next(
    tmp_path: Path, layout: str
) -> None:
    run = Run(tmp_path, layout=layout, indexed=True)
    run.store()
    assert run.check() == ""
    before = len(os.listdir("/proc/self/fd"))
    assert run.check(place=("1.9", "")) == ELSEWHERE
    assert len(os.listdir("/proc/self/fd")) <= before
    run.target.close()


def test_object_replaces_a_file_that_somebody_changed(run: Run) -> None:
    path = run.store()
    path.write_bytes(path.read_bytes().replace(b"Doe", b"Roe"))
    os.utime(path, ns=(5, 5))
    assert run.check(row=1) == CHANGED
    run.store()
    assert run.check(row=1) == ""


def test_image_without_pixels_is_not_whole_until_it_arrives_again(run: Run) -> None:
    run.store(image=True)
    assert run.check(row=1) == "an image without pixel data"
    assert not run.target.whole("1.2.3.4")
    run.store(name="Roe")
    assert run.check(row=1) == ""
    assert run.target.whole("1.2.3.4") is (run.target.index is not None)
    assert not run.target.superseded, "the first one was of this run"


def test_object_whose_pixel_data_ends_without_a_delimiter_is_not_whole(run: Run) -> None:
    run.store(undelimited=True)
    assert run.check() == "its pixel data ends without a delimiter: fragments may be missing"


def test_object_that_arrives_after_another_one_was_missing_is_whole(tmp_path: Path, layout: str) -> None:
    run = Run(tmp_path, layout=layout, indexed=True)
    assert not run.target.whole("1.2.3.4")
    run.store()
    assert run.target.whole("1.2.3.4")
    run.target.close()


def test_equal_files_of_two_names_are_one_object_and_different_ones_two(tmp_path: Path) -> None:
    """As one data set that is sent in two SOP classes, and stored without file meta."""
    with closing(OutputDirectory(str(tmp_path))) as directory:
        ledger = Ledger(directory)
        for uid, contents in (("1.1", (b"data", b"data")), ("1.2", (b"data", b"dada"))):
            for name, content in zip(("CT", "MR"), contents, strict=True):
                file = directory.create()
                file.begin(b"", content)
                file.commit(f"{name}.{uid}")
                ledger.kept(uid, f"{name}.{uid}")
        assert ledger.check([dict.fromkeys(("1.1", "1.2"), NOWHERE)]) == [{"1.2": TWO}]


def test_file_that_cannot_be_opened_to_look_at_it_is_not_whole(
    tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, layout=layout, indexed=True)
    path = run.store()
    assert run.check() == ""
    monkeypatch.setattr(OutputDirectory, "open_file", unreadable)
    assert run.check() == GONE, "it was to be compared with the list of the next request"
    monkeypatch.undo()
    run.store()
    path.chmod(0o600)
    monkeypatch.setattr(OutputDirectory, "open_file", unreadable)
    assert run.check() == CHANGED
    run.target.close()


def test_file_that_a_command_rewrote_is_taken_and_flushed_as_it_is_now_if_it_is_whole(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = run.store(name="Somebody")
    assert run.check(row=1) == ""
    name, data = str(path.relative_to(run.folder)), path.read_bytes()
    relied: list[tuple[str, int]] = []
    monkeypatch.setattr(OutputDirectory, "rely", lambda _, *what: relied.append(what))
    for changed in (data.replace(b"1.2.3.4", b"1.2.3.5"), b"no object"):
        path.write_bytes(changed)
        os.utime(path, ns=(5, 5))
        run.target.renew("1.2.3.4", name)
        assert run.check(row=1) == CHANGED
    path.unlink()
    run.target.renew("1.2.3.4", name)
    assert run.check(row=1) == GONE
    assert not relied
    path.write_bytes(data.replace(element(0x00100010, b"PN", b"Somebody"), element(0x00100010, b"PN", b"Doe")))
    run.target.renew("1.2.3.4", name)
    assert relied == [(name, path.stat().st_size)]
    assert run.check(row=1) == ""
    assert run.check(place=("1.9", "1.2.3")) == ELSEWHERE, "it is of the study that it was of"
    assert run.target.whole("1.2.3.4") is (run.target.index is not None)


def unreadable(*_: object) -> int:
    raise PermissionError(13, "Permission denied")


def test_file_that_vanishes_when_the_index_has_found_it_is_gone(
    tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, layout=layout, indexed=True)
    run.store()
    assert run.check() == ""
    monkeypatch.setattr(OutputDirectory, "status", lambda *_: None)
    assert run.check() == GONE
    run.target.close()


def test_entry_that_relied_on_an_object_learns_of_another_one_that_came_later(run: Run) -> None:
    run.store()
    run.store("1.2.3.5")
    assert run.check(row=1) == run.check(row=2) == run.check("1.2.3.5", row=3) == ""
    assert run.target.relied_on("1.2.3.4")
    run.store()
    assert run.target.late() == {}
    run.store(name="Roe")
    assert run.target.late() == {1: {"1.2.3.4": TWO}, 2: {"1.2.3.4": TWO}}


def test_entry_that_relied_on_an_object_learns_of_one_without_pixels_in_its_place(run: Run) -> None:
    path = run.store()
    assert run.check(row=1) == ""
    path.write_bytes(b"changed by somebody")
    run.store(image=True)
    assert run.target.late() == {1: {"1.2.3.4": "an image without pixel data"}}


def test_entry_that_relied_on_an_object_of_an_earlier_run_learns_of_another_one(tmp_path: Path, layout: str) -> None:
    earlier(tmp_path, layout)
    run = Run(tmp_path, layout=layout, indexed=True)
    assert run.check(row=1) == ""
    run.store(name="Roe")
    assert run.target.late() == {1: {"1.2.3.4": TWO}}
    assert not run.target.superseded
    run.target.close()


def test_other_object_that_comes_after_one_was_checked_and_forgotten_is_a_second_one(run: Run) -> None:
    run.store()
    assert run.check() == ""
    run.store(name="Roe")
    assert run.check() == TWO
    assert not run.target.superseded
    run.store(name="Roe")
    assert run.check() == "", "what is forgotten is not held against a later retrieve"


@pytest.mark.parametrize("deleted", [False, True])
def test_object_beside_a_file_that_somebody_changed_is_no_second_one(run: Run, *, deleted: bool) -> None:
    path = run.store()
    path.write_bytes(path.read_bytes().replace(b"Doe", b"Roe"))
    os.utime(path, ns=(5, 5))
    if deleted:
        path.unlink()
    run.store(sop_class=MR)
    assert run.check() == ""


def test_object_that_was_kept_for_an_earlier_request_of_the_run_is_whole_while_its_file_is(
    tmp_path: Path, layout: str
) -> None:
    run = Run(tmp_path, layout=layout, indexed=False)
    path = run.store()
    run.store("1.2.3.5", image=True)
    assert not run.target.whole("1.2.3.4")
    run.target.keep(["1.2.3.4", "1.2.3.5", "1.2.3.6"])
    assert run.target.whole("1.2.3.4")
    assert not run.target.whole("1.2.3.5"), "it has no pixels"
    assert not run.target.whole("1.2.3.6"), "it was not stored"
    path.unlink()
    assert not run.target.whole("1.2.3.4")
    run.target.close()


def test_image_without_pixels_is_not_whole_for_a_run_that_finds_it_as_it_was(tmp_path: Path, layout: str) -> None:
    first = Run(tmp_path, layout=layout, indexed=True)
    first.store(image=True)
    first.store("1.2.3.5")
    first.target.flush()
    first.target.close()
    run = Run(tmp_path, layout=layout, indexed=True)
    assert [run.target.whole(uid) for uid in ("1.2.3.4", "1.2.3.5")] == [False, True]
    run.target.close()


def test_image_without_pixels_is_not_whole_for_the_next_run(tmp_path: Path, layout: str) -> None:
    earlier(tmp_path, layout, image=True)
    earlier(tmp_path, layout, uid="1.2.3.5")
    run = Run(tmp_path, layout=layout, indexed=True)
    assert [run.target.whole(uid) for uid in ("1.2.3.4", "1.2.3.5")] == [False, True]
    run.target.close()


def test_object_that_is_wrong_for_one_of_two_requests_is_relied_on_by_neither(run: Run) -> None:
    run.store()
    assert run.target.check([{"1.2.3.4": HERE}, {"1.2.3.4": ("1.9", "")}], 1) == [{}, {"1.2.3.4": ELSEWHERE}]
    assert not run.target.relied_on("1.2.3.4")


def test_object_that_is_not_whole_is_relied_on_by_nobody(run: Run) -> None:
    run.store()
    run.store(name="Roe")
    assert run.check(row=1) == TWO
    assert not run.target.relied_on("1.2.3.4")
    assert run.target.late() == {}


def test_checked_object_of_no_entry_is_forgotten(run: Run) -> None:
    run.store()
    assert run.check() == ""
    assert run.target.late() == {}
    assert not run.target.relied_on("1.2.3.4")


@pytest.mark.parametrize("indexed", [False, True])
def test_another_version_of_an_object_of_an_earlier_run_supersedes_it(
    tmp_path: Path, layout: str, *, indexed: bool
) -> None:
    earlier(tmp_path, layout)
    run = Run(tmp_path, layout=layout, indexed=indexed)
    run.store()
    assert (run.check(row=1), run.target.superseded) == ("", set()), "it is the same object"
    run.target.close()
    earlier(tmp_path, layout, uid="1.2.3.5")
    run = Run(tmp_path, layout=layout, indexed=indexed)
    run.store("1.2.3.5", name="Roe")
    assert (run.check("1.2.3.5", row=1), run.target.superseded) == ("", {"1.2.3.5"})
    run.target.close()


def test_object_of_an_earlier_run_is_whole_for_its_own_study_alone(tmp_path: Path, layout: str) -> None:
    earlier(tmp_path, layout)
    run = Run(tmp_path, layout=layout, indexed=True)
    assert run.target.whole("1.2.3.4", HERE)
    assert run.target.whole("1.2.3.4")
    assert not run.target.whole("1.2.3.4", ("1.2", "1.2.9"))
    assert not run.target.whole("1.2.3.4", ("1.9", "1.2.3"))
    assert not run.target.whole("1.2.3.9", HERE)
    run.target.close()


def test_each_of_two_objects_of_one_uid_is_found_in_its_own_study(tmp_path: Path) -> None:
    other = ("1.8", "1.8.3")
    earlier(tmp_path, "study", name="One")
    earlier(tmp_path, "study", place=other, name="Other")
    for place, name in ((HERE, b"One "), (other, b"Other ")):
        run = Run(tmp_path, layout="study", indexed=True)
        assert run.target.whole("1.2.3.4", place)
        [stored] = run.target.files_of(["1.2.3.4"])
        assert name in (tmp_path / stored.path).read_bytes()
        assert run.check(place=place) == ""
        run.target.close()
