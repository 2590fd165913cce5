"""The objects that the pages of the documentation name, for ``python -m movescu.testing --demo``.

Four studies of three patients; their UIDs are short, so that they can be typed. Pixels are those of a phantom: an
ellipse that grows and shrinks from slice to slice, so that a converter to NIfTI makes a volume of a series.

========= ======== ========= ====================================================================
study     patient  accession contents
========= ======== ========= ====================================================================
1.2.3     PAT001   A1003     CT, series 1.2.3.1 of two slices
1.2.4     PAT001   A1004     CT, series 1.2.4.1 of one slice, without date and series number
1.2.5     PAT002   A1005     CT, series 1.2.5.1 of one slice, compressed (RLE Lossless)
1.2.6     PAT003   A1006     MR, series 1.2.6.1 of twelve slices and 1.2.6.2 of eight
========= ======== ========= ====================================================================
"""

from __future__ import annotations

import contextlib
import tempfile
from array import array
from pathlib import Path
from sys import byteorder
from typing import TYPE_CHECKING, Final, NamedTuple

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, RLELossless

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

_SIDE: Final = 64
"""Rows and columns of an image."""


class _Series(NamedTuple):
    study: int
    number: int
    slices: int
    patient: str
    name: str
    date: str
    description: str

    @property
    def is_mr(self) -> bool:
        return self.study == 6


_SERIES: Final = (
    _Series(3, 1, 2, "PAT001", "Doe^Jane", "20260114", "axial"),
    _Series(4, 1, 1, "PAT001", "Doe^Jane", "", "scout"),
    _Series(5, 1, 1, "PAT002", "Roe^Richard", "20260116", "axial"),
    _Series(6, 1, 12, "PAT003", "Poe^Paula", "20260120", "T1 axial"),
    _Series(6, 2, 8, "PAT003", "Poe^Paula", "20260120", "T2 axial"),
)


@contextlib.contextmanager
def folder_of_objects() -> Iterator[str]:
    """Write the objects into a temporary folder, which is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="movescu-demo-") as folder:
        write_objects(folder)
        yield folder


def write_objects(folder: str | os.PathLike[str]) -> None:
    """Write the objects into a folder, each as a DICOM file named by its SOP Instance UID."""
    for series in _SERIES:
        for number in range(1, series.slices + 1):
            _write(Path(folder), series, number)


def _write(folder: Path, series: _Series, number: int) -> None:
    study_uid = f"1.2.{series.study}"
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 100"
    image.SOPClassUID = MRImageStorage if series.is_mr else CTImageStorage
    image.SOPInstanceUID = f"{study_uid}.{series.number}.{number}"
    image.StudyDate = image.SeriesDate = series.date
    image.StudyTime = "101500" if series.date else ""
    image.AccessionNumber = f"A100{series.study}"
    image.Modality = "MR" if series.is_mr else "CT"
    image.Manufacturer = "movescu"
    image.StudyDescription = "MR head" if series.is_mr else "CT abdomen"
    image.SeriesDescription = series.description
    image.PatientName, image.PatientID = series.name, series.patient
    image.PatientBirthDate, image.PatientSex = "19700101", "O"
    image.StudyInstanceUID, image.SeriesInstanceUID = study_uid, f"{study_uid}.{series.number}"
    image.StudyID = str(series.study)
    image.SeriesNumber = series.number if series.date else None
    image.InstanceNumber = number
    image.FrameOfReferenceUID = f"{study_uid}.{series.number}.9"
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.ImagePositionPatient = [-_SIDE, -_SIDE, 4 * number]
    image.SliceThickness, image.PixelSpacing = 4, [2, 2]
    _add_pixels(image, series, number)
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if series.study == 5:
        image.file_meta.TransferSyntaxUID = RLELossless
        image.PixelData = encapsulate([_run_lengths(image.PixelData)])
        image["PixelData"].VR = "OB"
    image.save_as(folder / image.SOPInstanceUID, enforce_file_format=True)


def _add_pixels(image: Dataset, series: _Series, number: int) -> None:
    if series.is_mr:
        image.ScanningSequence, image.SequenceVariant, image.MRAcquisitionType = "SE", "NONE", "2D"
        image.RepetitionTime, image.EchoTime, image.MagneticFieldStrength = 500, 10, 1.5
        image.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    else:
        image.KVP = 120
        image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        image.RescaleIntercept, image.RescaleSlope = -1024, 1
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows = image.Columns = _SIDE
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.PixelData = _phantom(1 - abs(2 * number - series.slices - 1) / (2 * series.slices))


def _phantom(size: float) -> bytes:
    """Return an ellipse with a brighter core; ``size``: of its axes, 1 is that of the largest slice."""
    middle, pixels = (_SIDE - 1) / 2, array("H")
    for row in range(_SIDE):
        for column in range(_SIDE):
            distance = ((row - middle) / (28 * size)) ** 2 + ((column - middle) / (22 * size)) ** 2
            pixels.append(0 if distance > 1 else 1000 if distance > 0.2 else 1600)
    if byteorder == "big":
        pixels.byteswap()
    return pixels.tobytes()


def _run_lengths(pixels: bytes) -> bytes:
    """Return a frame as RLE Lossless (PS3.5 annex G): a segment for the high bytes, another for the low ones."""
    segments = [_packed(pixels[offset::2]) for offset in (1, 0)]
    offsets = (2, 64, 64 + len(segments[0]), *[0] * 13)
    return b"".join((*(number.to_bytes(4, "little") for number in offsets), *segments))


def _packed(data: bytes) -> bytes:
    """Return a segment in runs of one byte, 128 at most; rows are packed one by one, and the length is even."""
    packed = bytearray()
    for start in range(0, len(data), _SIDE):
        row, place = data[start : start + _SIDE], 0
        while place < len(row):
            length = len(row[place:]) - len(row[place:].lstrip(row[place : place + 1]))
            packed += bytes((257 - length, row[place])) if length > 1 else bytes((0, row[place]))
            place += length
    return bytes(packed + b"\0" * (len(packed) % 2))
