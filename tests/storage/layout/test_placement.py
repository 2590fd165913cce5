"""Placement: the path of each received object with a layout, in the command and in the library."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage

from movescu.dataset.encoding import Encoding
from movescu.dataset.file_meta import decode_file_meta
from movescu.dictionary.uids import DEFLATED_LITTLE, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, TRANSFER_SYNTAXES
from movescu.dimse.messages import CStoreRQ
from movescu.errors import StoreError
from movescu.storage import files
from movescu.storage.durability import Durability
from movescu.storage.incoming_object import Incoming
from movescu.storage.layout.template import parse_layout
from movescu.storage.options import StorageOptions
from movescu.storage.receiver import receiver_factory
from movescu.storage.writer import OutputDirectory
from movescu.ul.negotiation import Context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from movescu.dictionary.uids import TransferSyntax

JPEG = TRANSFER_SYNTAXES["1.2.840.10008.1.2.4.70"]
SYNTAXES = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED_LITTLE, JPEG)
TEMPLATE = "{PatientID}/{SeriesNumber:03}/{InstanceNumber:04}.dcm"


def encoded(
    syntax: TransferSyntax = EXPLICIT_LITTLE, *, uid: str = "1.2.3", pixels: int = 64, **values: Any
) -> bytes:  # whatever pydicom takes
    """Give a data set as a sender has it: with a sequence of undefined length in front of what is wanted."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, uid
    item = Dataset()
    item.PatientID, item.SeriesNumber = "of the item", 99
    dataset.ReferencedStudySequence = Sequence([item])
    dataset["ReferencedStudySequence"].is_undefined_length = True
    for keyword, value in ({"PatientID": "Ü 1", "SeriesNumber": 7, "InstanceNumber": 12} | values).items():
        setattr(dataset, keyword, value)
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.Rows = dataset.Columns = 8
    dataset.BitsAllocated = 8
    dataset.PixelData = encapsulate([bytes(pixels)]) if syntax.encapsulated else bytes(pixels)
    dataset["PixelData"].VR = "OB" if syntax.encapsulated else "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax.uid
    file = BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    meta = decode_file_meta(file.getvalue())
    assert meta
    return file.getvalue()[meta.length :]


class Store:
    """An output directory with a layout, and what is told of the files in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: list[tuple[str, str]] = []
        self._directory: OutputDirectory | None = None

    def open(self, template: str = TEMPLATE, **options: Any) -> None:
        self.close()
        made = StorageOptions(str(self.folder), layout=parse_layout(template), **options)
        self._directory = OutputDirectory(str(self.folder), made.durability)
        self._factory = receiver_factory(made, self._directory, lambda uid, path: self.kept.append((uid, path)))

    def receive(self, data: bytes, syntax: TransferSyntax = EXPLICIT_LITTLE, *, uid: str = "1.2.3") -> None:
        request = CStoreRQ(CTImageStorage, 1, uid)
        receiver = self._factory(Incoming(request, Context(1, CTImageStorage, syntax), "SENDER"))
        try:
            for position in range(0, len(data), 16_384):
                receiver.write(memoryview(data)[position : position + 16_384])
            receiver.finish()
        except BaseException:
            receiver.discard()
            raise

    def flush(self) -> None:
        assert self._directory
        self._directory.flush()

    def close(self) -> None:
        if self._directory is not None:
            self._directory.close()
            self._directory = None

    @property
    def files(self) -> list[str]:
        """All files but our own, those that begin with a dot, of which none may be temporary."""
        paths = [path for path in self.folder.rglob("*") if not path.is_dir()]
        assert not [path for path in paths if path.suffix == ".part"]
        return sorted(str(path.relative_to(self.folder)) for path in paths if not path.name.startswith("."))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    (tmp_path / "out").mkdir()
    made = Store(tmp_path / "out")
    made.open()
    yield made
    made.close()


MODES: dict[str, dict[str, Any]] = {
    "normal": {},
    "as received": {"bit_preserving": True},
    "as received, without file meta": {"bit_preserving": True, "file_format": False},
    "undefined lengths": {"encoding": Encoding(explicit_length=False)},
}


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.uid)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pixels", [64, 3 << 20], ids=["small", "large"])
def test_object_of_any_encoding_and_size_is_where_its_attributes_say(
    store: Store, syntax: TransferSyntax, mode: str, pixels: int
) -> None:
    store.open(**MODES[mode])
    store.receive(encoded(syntax, pixels=pixels), syntax)
    assert store.files == ["Ü 1/007/0012.dcm"]
    assert store.kept == [("1.2.3", "Ü 1/007/0012.dcm")]
    if "without" not in mode:
        assert dcmread(store.folder / store.files[0]).SOPInstanceUID == "1.2.3"


@pytest.mark.parametrize("target", [IMPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED_LITTLE], ids=lambda syntax: syntax.uid)
def test_object_written_in_another_syntax_has_the_same_place(store: Store, target: TransferSyntax) -> None:
    store.open(encoding=Encoding(transfer_syntax=target))
    store.receive(encoded())
    assert store.files == ["Ü 1/007/0012.dcm"]
    assert dcmread(store.folder / store.files[0]).PatientID == "Ü 1"


@pytest.mark.parametrize("pixels", [64, 200_000], ids=["small", "large"])
@pytest.mark.parametrize("behind", [False, True])
def test_values_are_found_wherever_they_stand_in_the_data_set(store: Store, pixels: int, *, behind: bool) -> None:
    data = encoded(pixels=pixels)
    start = data.rindex(b"\x10\0\x20\0LO")
    moved, rest = data[start : start + 12], data[:start] + data[start + 12 :]
    store.receive(rest + moved if behind else moved + rest)
    assert store.files == ["Ü 1/007/0012.dcm"]


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG], ids=lambda syntax: syntax.uid)
@pytest.mark.parametrize("pixels", [64, 200_000], ids=["small", "large"])
def test_parsed_object_is_not_read_back(
    store: Store, syntax: TransferSyntax, pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(files, "pread")
    store.receive(encoded(syntax, pixels=pixels), syntax)
    assert store.files == ["Ü 1/007/0012.dcm"]


def test_objects_of_interleaved_series_have_their_own_folders(store: Store) -> None:
    """Folders are made of the bytes of values once; what else these mean has to count."""
    store.open("{PatientID}/{SamplesPerPixel}/{SOPInstanceUID}/{InstanceNumber}")
    latin = encoded(uid="1.1", SamplesPerPixel=8)
    for _ in range(2):
        store.receive(latin, uid="1.1")
        store.receive(latin.replace(b"ISO_IR 100", b"ISO_IR 144"), uid="1.1")
        store.receive(encoded(EXPLICIT_BIG, uid="1.1", SamplesPerPixel=2048), EXPLICIT_BIG, uid="1.1")
        store.receive(encoded(uid="1.2", SamplesPerPixel=8), uid="1.2")
        store.receive(encoded(IMPLICIT_LITTLE, uid="1.1", PatientID="1", SamplesPerPixel=8), IMPLICIT_LITTLE, uid="1.1")
    assert store.files == ["1/8/1.1/12", "Ü 1/2048/1.1/12", "Ü 1/8/1.1/12", "Ü 1/8/1.2/12", "м 1/8/1.1/12"]


def test_many_series_keep_their_folders(store: Store) -> None:
    for _ in range(2):
        for number in range(100):
            store.receive(encoded(uid=f"1.{number}", SeriesNumber=number), uid=f"1.{number}")
    assert store.files == [f"Ü 1/{number:03}/0012.dcm" for number in range(100)]


def test_missing_values_have_their_default_text(store: Store) -> None:
    store.open("{StudyDate}/{SeriesNumber:03|none}/{SOPInstanceUID}")
    store.receive(encoded(SeriesNumber=""))
    assert store.files == ["unknown/none/1.2.3"]


def test_objects_of_equal_name_are_both_kept_and_a_repeated_one_is_kept_once(store: Store) -> None:
    first, second = encoded(uid="1.2.3"), encoded(uid="1.2.4")
    for _ in range(2):  # the second time by another run
        store.receive(first)
        store.receive(second, uid="1.2.4")
        assert store.files == ["Ü 1/007/0012.1.2.4.dcm", "Ü 1/007/0012.dcm"]
        assert [str(dcmread(store.folder / file).SOPInstanceUID) for file in store.files] == ["1.2.4", "1.2.3"]
        store.open()
    changed = encoded(uid="1.2.4", StationName="other")
    store.receive(changed, uid="1.2.4")
    assert len(store.files) == 2
    assert dcmread(store.folder / store.files[0]).StationName == "other"


def test_objects_of_equal_name_are_both_kept_without_file_meta(store: Store) -> None:
    store.open(file_format=False)
    for uid in ("1.2.3", "1.2.4", "1.2.3"):
        store.receive(encoded(uid=uid), uid=uid)
    assert store.files == ["Ü 1/007/0012.1.2.4.dcm", "Ü 1/007/0012.dcm"]


def test_file_that_is_not_an_object_is_kept(store: Store) -> None:
    (store.folder / "Ü 1" / "007").mkdir(parents=True)
    (store.folder / "Ü 1" / "007" / "0012.dcm").write_text("notes")
    store.receive(encoded())
    assert store.files == ["Ü 1/007/0012.1.2.3.dcm", "Ü 1/007/0012.dcm"]
    assert (store.folder / "Ü 1" / "007" / "0012.dcm").read_text() == "notes"


def test_object_is_not_lost_to_another_of_its_name_at_the_same_moment(store: Store) -> None:
    uids = [f"1.2.{number}" for number in range(40)]
    objects = {uid: encoded(uid=uid) for uid in uids}
    start = threading.Barrier(4)

    def receive(own: list[str]) -> None:
        start.wait()
        for uid in own:
            store.receive(objects[uid], uid=uid)

    threads = [threading.Thread(target=receive, args=(uids[number::4],)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(str(dcmread(store.folder / file).SOPInstanceUID) for file in store.files) == sorted(uids)


def test_objects_of_equal_name_are_both_kept_without_hard_links(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2)

    def link(*_: object, **__: object) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.2)  # whether the other one has come as far, having seen that the name is free
        raise PermissionError(1, "Operation not permitted")  # as vfat has it

    monkeypatch.setattr(files, "link", link)
    objects = {uid: encoded(uid=uid) for uid in ("1.2.3", "1.2.4")}
    threads = [
        threading.Thread(target=store.receive, args=(data,), kwargs={"uid": uid}) for uid, data in objects.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(str(dcmread(store.folder / file).SOPInstanceUID) for file in store.files) == sorted(objects)


@pytest.mark.parametrize("state", ["named", "unnamed"])
def test_object_that_another_process_writes_at_the_same_moment_is_not_replaced(
    store: Store, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    link = files.link

    def late(source: str, name: str, **where: Any) -> None:  # the folders of both
        if name == "0012.dcm":
            (store.folder / "Ü 1" / "007" / name).write_text("of the other process")
        link(source, name, **where)

    monkeypatch.setattr(files, "link", late)
    if state == "named":
        monkeypatch.setattr("movescu.storage.writer._UNNAMED", 0)
    store.receive(encoded())
    assert (store.folder / "Ü 1" / "007" / "0012.dcm").read_text() == "of the other process"
    monkeypatch.undo()
    store.receive(encoded())  # asked for again
    assert store.files == ["Ü 1/007/0012.1.2.3.dcm", "Ü 1/007/0012.dcm"]


@pytest.mark.not_without("hard-links", "directories", "windows")  # nor renames to new names alone
def test_file_of_another_run_is_not_replaced_where_there_are_no_hard_links(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run has just named its file, between our look and our rename."""
    other = store.folder / "Ü 1" / "007" / "0012.dcm"

    def no_link(_source: str, name: str, **_where: Any) -> None:
        if name == other.name and not other.exists():
            other.write_text("of the other run")
        raise PermissionError(errno.EPERM, "no hard links")

    monkeypatch.setattr(files, "link", no_link)
    monkeypatch.setattr("movescu.storage.writer._UNNAMED", 0)
    store.receive(encoded())
    assert other.read_text() == "of the other run"
    assert store.files == ["Ü 1/007/0012.1.2.3.dcm", "Ü 1/007/0012.dcm"]


def test_object_that_another_run_stores_beside_a_third_one_at_the_same_moment_has_one_file(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.receive(encoded(uid="1.2.9"), uid="1.2.9")
    link, beside = files.link, store.folder / "Ü 1" / "007" / "0012.1.2.3.dcm"

    def late(source: str, name: str, **where: Any) -> None:  # the folders of both
        if name == beside.name and not beside.exists():
            beside.write_bytes((store.folder / source).read_bytes())
        link(source, name, **where)

    monkeypatch.setattr(files, "link", late)
    store.receive(encoded())
    assert store.files == ["Ü 1/007/0012.1.2.3.dcm", "Ü 1/007/0012.dcm"]


def test_object_whose_name_and_alternatives_are_all_taken_is_refused(store: Store) -> None:
    folder = store.folder / "Ü 1" / "007"
    folder.mkdir(parents=True)
    for mark in ("", ".1.2.3", *(f".1.2.3_{number}" for number in range(2, 10))):
        (folder / f"0012{mark}.dcm").write_text("no object")
    before = store.files
    with pytest.raises(StoreError, match="every alternative"):
        store.receive(encoded())
    assert store.files == before
    (folder / "0012.1.2.3_9.dcm").unlink()
    store.receive(encoded())
    assert store.files == before


@pytest.mark.parametrize("what", ["folder", "deeper folder"])
def test_link_is_never_followed_out_of_the_directory(store: Store, tmp_path: Path, what: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    place = store.folder / "Ü 1" if what == "folder" else store.folder / "Ü 1" / "007"
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        store.receive(encoded())
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert store.files == []


def test_link_in_place_of_a_file_is_not_followed(store: Store, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (store.folder / "1.2.3").symlink_to(tmp_path / "target")
    store.open("{SOPInstanceUID}")
    store.receive(encoded())
    assert (tmp_path / "target").read_text() == "precious"
    assert not (store.folder / "1.2.3").is_symlink()


def test_file_in_place_of_a_folder_fails_that_object_alone(store: Store) -> None:
    (store.folder / "Ü 1").write_text("no folder")
    with pytest.raises(StoreError, match="Not a directory"):
        store.receive(encoded())
    store.receive(encoded(PatientID="2"))
    assert store.files == ["2/007/0012.dcm", "Ü 1"]


@pytest.mark.parametrize("named", [False, True])
def test_removed_folder_is_made_again(store: Store, monkeypatch: pytest.MonkeyPatch, *, named: bool) -> None:
    if named:
        monkeypatch.setattr("movescu.storage.writer._UNNAMED", 0)
    store.open("study")
    store.receive(encoded(StudyInstanceUID="1", SeriesInstanceUID="2"))
    (store.folder / "1" / "2" / "1.2.3.dcm").unlink()
    (store.folder / "1" / "2").rmdir()
    with pytest.raises(StoreError, match="No such file"):
        store.receive(encoded(StudyInstanceUID="1", SeriesInstanceUID="2"))
    store.receive(encoded(StudyInstanceUID="1", SeriesInstanceUID="2"))
    assert store.files == ["1/2/1.2.3.dcm"]


def test_descriptors_of_many_folders_are_closed(store: Store) -> None:
    before = len(os.listdir("/proc/self/fd"))  # names are enough
    store.open("{PatientID}/{SOPInstanceUID}")
    for number in range(100):
        store.receive(encoded(PatientID=f"{number}"))
    assert len(store.files) == 100
    assert len(os.listdir("/proc/self/fd")) < before + 100
    store.close()
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("data", [b"\xff\xfe\xfd" * 50, b"\x08\0\x05\0CS\xff\xff", b""])
def test_bit_preserving_stores_an_unreadable_object_under_its_flat_name_with_a_warning(
    store: Store, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store.open(bit_preserving=True)
    store.receive(data)
    assert store.files == ["CT.1.2.3"]
    assert store.kept == [("1.2.3", "CT.1.2.3")]
    assert "cannot be read" in caplog.text


@pytest.mark.not_without("directories", "hard-links", "unnamed-files", "windows")
def test_new_folder_is_flushed_before_an_object_in_it_is_acknowledged(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    fsync = files.fsync

    def watched(fd: int) -> None:
        flushed.append(os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), store.folder))  # no path
        fsync(fd)

    monkeypatch.setattr(files, "fsync", watched)
    store.open("study", durability=Durability.OBJECT)
    store.receive(encoded(StudyInstanceUID="1", SeriesInstanceUID="2"))
    assert {".", "1", "1/2"} <= set(flushed)
    flushed.clear()
    store.receive(encoded(StudyInstanceUID="1", SeriesInstanceUID="2", uid="1.2.4"), uid="1.2.4")
    assert len(flushed) == 3  # the file before it has its name and behind that, and the folder in which it is
    assert flushed[2] == "1/2"


@pytest.mark.not_without("directories", "windows")
@pytest.mark.parametrize("count", [2, 40])
def test_files_and_folders_are_flushed_before_the_end_without_syncfs(
    store: Store, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    flushed: set[str] = set()
    fsync = files.fsync

    def watched(fd: int) -> None:
        flushed.add(os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), store.folder))  # no path
        fsync(fd)

    monkeypatch.setattr(files, "fsync", watched)
    monkeypatch.setattr("movescu.storage.files.find_syncfs", lambda: None)
    store.open("study")
    for number in range(count):
        uid = f"1.{number}"
        store.receive(encoded(uid=uid, StudyInstanceUID=f"{number}", SeriesInstanceUID="2"), uid=uid)
    store.flush()
    assert {".", *(str(number) for number in range(count)), *(f"{number}/2" for number in range(count))} <= flushed
    of_objects = {name for name in flushed if name.endswith((".dcm", ".part", " (deleted)"))}
    assert len(of_objects) == count
