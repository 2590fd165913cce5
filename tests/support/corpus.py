"""DICOM files for the tests, and what compares and reads them back.

``bundled`` lists the files that pydicom brings along (local ones: nothing is downloaded). ``make_study`` writes CT
series of any size; ``make_objects`` writes one small object for each of any storage classes. Making is fast: the header
is encoded once by pydicom, and each object is that header with its UIDs, all of one length, put in their places.
``dataset_equal`` and ``check_readable`` are the judges of what arrived; neither uses any code of movescu.
"""

from __future__ import annotations

import functools
import io
import math
import subprocess
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pydicom
import pydicom.data
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from pydicom.dataelem import DataElement
    from pydicom.tag import BaseTag

    Difference = tuple[str, BaseTag, str]  # the element's place, its tag, and how it differs

CT_BYTES = 512 * 512 * 2
SPARSE_FROM = 16 << 20  # from here on pixel data is a hole with marks: a 300 MB file is made in no time

SEVERAL_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.1": "CR",
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.6.1": "US",
    "1.2.840.10008.5.1.4.1.1.7": "OT",
    "1.2.840.10008.5.1.4.1.1.20": "NM",
    "1.2.840.10008.5.1.4.1.1.128": "PT",
    "1.2.840.10008.5.1.4.1.1.12.1": "XA",
}
"""Storage classes that every archive takes, with a modality for each."""

NOT_STORABLE = {
    "MR_truncated.dcm": "pixel data ends early",
    "rtplan_truncated.dcm": "ends inside an element",
    "SC_rgb_jpeg.dcm": "encoded otherwise than its file meta says",
}
"""Files of pydicom that archives rightly refuse."""

_UID_ROOT = "1.2.826.0.1.3680043.8.498"
_PATTERN = bytes(range(251)) * 256  # a prime period, so that no exchange of blocks goes unseen
_OW_AND_OB = "VR OW and OB"
_PLACES = {"study": "1.1", "series": "1.2", "instance": "1.3"}  # placeholders begin with these


class Instance(NamedTuple):
    """One object on disk."""

    path: Path
    sop_class_uid: str
    instance_uid: str
    series_uid: str
    study_uid: str
    patient_id: str
    transfer_syntax_uid: str

    @property
    def is_compressed(self) -> bool:
        """Whether its pixel data is encapsulated."""
        return bool(UID(self.transfer_syntax_uid).is_encapsulated)


def paths(instances: Iterable[Instance]) -> list[Path]:
    """The files, as ``load`` of a peer wants them."""
    return [instance.path for instance in instances]


@functools.cache
def bundled() -> tuple[Instance, ...]:
    """pydicom's own test files that can be stored: with SOP, series and study UIDs, and whole.

    An instance UID occurs once: where pydicom has one object in several encodings, the first by file name.
    """
    root = Path(pydicom.data.__file__).parent
    files = sorted((root / "test_files").rglob("*")) + sorted((root / "charset_files").rglob("*"))
    found: dict[str, Instance] = {}
    for file in files:
        if file.is_file() and file.name not in NOT_STORABLE and (instance := _describe(file)):
            found.setdefault(instance.instance_uid, instance)
    return tuple(found.values())


def make_study(
    folder: Path,
    *,
    patients: int = 1,
    studies: int = 1,
    series: int = 1,
    instances: int = 1,
    size: int = CT_BYTES,
    seed: int = 0,
) -> list[Instance]:
    """Write CT objects: so many patients, studies of each, series of each study, instances of each series.

    ``size`` is the length of the pixel data in bytes, rounded down to whole rows. UIDs and patient IDs depend on
    ``seed`` and the counts alone; two lots with different seeds (below 1000) have
    none in common.
    """
    template = _Template(CTImageStorage, "CT", size)
    made = []
    for patient in range(patients):
        for study in range(studies):
            for number in range(series):
                identity = (seed, patient, study, number)
                made += [template.write(folder, identity, instance) for instance in range(instances)]
    return made


def make_objects(folder: Path, classes: Mapping[str, str] = SEVERAL_CLASSES, *, seed: int = 0) -> list[Instance]:
    """Write one small object for each storage class, all of one study, each in a series of its own."""
    return [
        _Template(class_uid, modality, 2048).write(folder, (seed, 0, 0, number), 0)
        for number, (class_uid, modality) in enumerate(classes.items())
    ]


def dataset_equal(file_a: Path, file_b: Path, ignore: Collection[int] = (), *, by_dcmtk: bool = False) -> bool:
    """Whether two files hold the same data set; group 0002 and tags in ``ignore`` aside, at every depth.

    Raises ``AssertionError`` with a line for each element that differs, so ``assert dataset_equal(a, b)`` tells which.
    ``by_dcmtk``: one of them was sent by something that is built on DCMTK (dcmqrscp, Orthanc, dcmsend). That changes
    three things on the way, none of them the receiver's fault, and they are forgiven: it corrects group lengths, drops
    data set trailing padding, and gives encapsulated pixel data the VR OB.
    """
    forgiven = _is_dcmtk_change if by_dcmtk else _is_no_change
    with _quiet_pydicom():
        found = _differences(pydicom.dcmread(file_a), pydicom.dcmread(file_b), ignore)
        lines = [f"{where}: {what}" for where, tag, what in found if not forgiven(tag, what)]
    if lines:
        shown = "\n".join(f"  {line}" for line in lines[:20])
        raise AssertionError(f"{len(lines)} elements differ between {file_a} and {file_b}:\n{shown}")
    return True


def check_readable(files: Iterable[Path]) -> None:
    """Raise ``AssertionError`` unless pydicom (every element, nested ones too) and dcmdump can read all these files."""
    names = [str(file) for file in files]
    assert names, "no file to read"
    with _quiet_pydicom():
        for name in names:
            for _ in pydicom.dcmread(name).iterall():
                pass
    result = subprocess.run(["dcmdump", "-q", *names], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if result.returncode:
        # Quiet gives no reasons: ask again, for errors only.
        again = subprocess.run(["dcmdump", "-ll", "error", *names], check=False, capture_output=True)
        raise AssertionError(f"dcmdump ends with {result.returncode}: {again.stderr.decode(errors='replace')[-2000:]}")


class _Template:
    """An encoded object of one class and size, with placeholders for what makes an instance."""

    def __init__(self, class_uid: str, modality: str, size: int) -> None:
        self.class_uid = class_uid
        self.columns = math.isqrt(size // 2)
        self.rows = size // 2 // self.columns
        self.size = self.rows * self.columns * 2
        self.header = self._encode(modality)

    def write(self, folder: Path, identity: Sequence[int], instance: int) -> Instance:
        seed, patient, study, _ = identity
        patient_id = f"PATIENT{seed:03}{patient:04}"
        study_uid = _uid(seed, patient, study)
        series_uid = _uid(*identity)
        instance_uid = _uid(*identity, instance)
        header = self.header
        for placeholder, value in (
            (_placeholder("study", 3), study_uid),
            (_placeholder("series", 4), series_uid),
            (_placeholder("instance", 5), instance_uid),
            ("PATIENT0000000", patient_id),
            ("+12345", f"{instance + 1:06}"),
        ):
            header = header.replace(placeholder.encode(), value.encode())
        path = folder / f"{instance_uid}.dcm"
        _write_with_pixels(path, header, self.size, instance)
        return Instance(
            path, self.class_uid, instance_uid, series_uid, study_uid, patient_id, str(ExplicitVRLittleEndian)
        )

    def _encode(self, modality: str) -> bytes:
        """The file up to the first byte of the pixel data."""
        dataset = FileDataset(None, {}, preamble=bytes(128), file_meta=self._meta())
        dataset.SOPClassUID = self.class_uid
        dataset.SOPInstanceUID = _placeholder("instance", 5)
        dataset.StudyDate, dataset.StudyTime = "20240229", "120000"
        dataset.AccessionNumber, dataset.StudyID = "A1", "1"
        dataset.Modality = modality
        dataset.StudyDescription = "made for a test"
        dataset.ReferringPhysicianName = "Test^Referrer"
        dataset.PatientName, dataset.PatientID = "Test^Patient", "PATIENT0000000"
        dataset.PatientBirthDate, dataset.PatientSex = "19700101", "O"
        dataset.StudyInstanceUID = _placeholder("study", 3)
        dataset.SeriesInstanceUID = _placeholder("series", 4)
        dataset.SeriesNumber, dataset.InstanceNumber = "1", "+12345"
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.Rows, dataset.Columns = self.rows, self.columns
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        # The pixel data's element header (PS3.5 7.1.2) by hand: pydicom would want the value with it.
        return buffer.getvalue() + b"\xe0\x7f\x10\x00OW\x00\x00" + self.size.to_bytes(4, "little")

    def _meta(self) -> FileMetaDataset:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = self.class_uid
        meta.MediaStorageSOPInstanceUID = _placeholder("instance", 5)
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        return meta


def _uid(*numbers: int) -> str:
    """Numbers with a constant count of digits, so that every UID of a level has one length."""
    return ".".join([_UID_ROOT, *(str(100000 + number) for number in numbers)])


def _placeholder(level: str, count: int) -> str:
    return _PLACES[level].ljust(len(_uid(*range(count))), "7")


def _write_with_pixels(path: Path, header: bytes, size: int, instance: int) -> None:
    """Pixel data that differs from instance to instance and from place to place."""
    start = instance % 251
    with path.open("wb") as file:
        file.write(header)
        if size < SPARSE_FROM:
            repeats = -(-(start + size) // len(_PATTERN))
            file.write(memoryview(_PATTERN * repeats)[start : start + size])
            return
        for offset in range(0, size, SPARSE_FROM):
            file.seek(len(header) + offset)
            file.write(_PATTERN[start : start + 1000])
        file.truncate(len(header) + size)


def _describe(file: Path) -> Instance | None:
    """The object in a file; nothing where it lacks what an archive needs."""
    try:
        with _quiet_pydicom():
            dataset = pydicom.dcmread(file, stop_before_pixels=True)
            instance = Instance(
                file,
                str(dataset.SOPClassUID),
                str(dataset.SOPInstanceUID),
                str(dataset.SeriesInstanceUID),
                str(dataset.StudyInstanceUID),
                str(dataset.get("PatientID", "")),
                str(dataset.file_meta.TransferSyntaxUID),
            )
    except (InvalidDicomError, AttributeError):
        return None
    return instance if all(instance[1:5]) else None


def _is_dcmtk_change(tag: BaseTag, what: str) -> bool:
    pixel_data_vr = tag == 0x7FE00010 and what == _OW_AND_OB
    return tag.element == 0 or tag == 0xFFFCFFFC or pixel_data_vr


def _is_no_change(_tag: BaseTag, _what: str) -> bool:
    return False


def _differences(a: Dataset, b: Dataset, ignore: Collection[int], where: str = "") -> Iterator[Difference]:
    for tag in sorted({*a.keys(), *b.keys()} - set(ignore)):
        place = f"{where}{tag} {pydicom.datadict.keyword_for_tag(tag)}".rstrip()
        if tag not in a or tag not in b:
            yield place, tag, f"only in the {'first' if tag in a else 'second'}"
            continue
        if a[tag].VR != b[tag].VR:
            yield place, tag, f"VR {a[tag].VR} and {b[tag].VR}"
        if a[tag].VR == b[tag].VR == "SQ":
            yield from _item_differences(a[tag], b[tag], ignore, place)
        elif a[tag].value != b[tag].value:
            yield place, tag, f"{_short(a[tag].value)} and {_short(b[tag].value)}"


def _item_differences(a: DataElement, b: DataElement, ignore: Collection[int], place: str) -> Iterator[Difference]:
    if len(a.value) != len(b.value):
        yield place, a.tag, f"{len(a.value)} and {len(b.value)} items"
        return
    for number, (item_a, item_b) in enumerate(zip(a.value, b.value, strict=True)):
        yield from _differences(item_a, item_b, ignore, f"{place}[{number}] > ")


def _short(value: object) -> str:
    text = repr(value)
    size = f" ({len(value)} bytes)" if isinstance(value, bytes) else ""
    return text[:60] + ("..." if len(text) > 60 else "") + size


def _quiet_pydicom() -> warnings.catch_warnings[None]:
    """Odd values are what the sample files are for; only what cannot be read at all counts."""
    return warnings.catch_warnings(action="ignore")
