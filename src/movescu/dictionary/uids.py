"""Transfer syntaxes, storage SOP classes and the other well-known UIDs (PS3.6 annex A), as tables.

The storage classes are read from ``data/storage_sop_classes.tsv``: UID, keyword of PS3.6, prefix of the names of
files of that class, whether the 2014 manual lists the class, and whether it is retired. ``TransferSyntax`` states
what a transfer syntax means for the encoding of a data set (PS3.5 section 10, annex A), so that no other module
compares transfer syntax UIDs for that.
"""

from __future__ import annotations

import os
from functools import cache

from movescu._runtime import data_file
from movescu._runtime.record import Record
from movescu.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
VERIFICATION: Final = "1.2.840.10008.1.1"

PATIENT_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.1.1"
PATIENT_ROOT_MOVE: Final = "1.2.840.10008.5.1.4.1.2.1.2"
STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE: Final = "1.2.840.10008.5.1.4.1.2.2.2"
PATIENT_STUDY_ONLY_FIND: Final = "1.2.840.10008.5.1.4.1.2.3.1"
PATIENT_STUDY_ONLY_MOVE: Final = "1.2.840.10008.5.1.4.1.2.3.2"
PATIENT_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.1.3"
STUDY_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"
PATIENT_STUDY_ONLY_GET: Final = "1.2.840.10008.5.1.4.1.2.3.3"

MAXIMUM_UID_LENGTH: Final = 64
"""Characters of a UID (PS3.5 9.1)."""


class TransferSyntax(Record):
    """The encoding of a data set (PS3.5 section 10); ``name`` is its name in PS3.6 table A-1."""

    uid: str
    name: str
    implicit: bool = False
    big_endian: bool = False
    deflated: bool = False
    encapsulated: bool = False

    @classmethod
    def of(cls, uid: str) -> TransferSyntax:
        """Return the transfer syntax of a UID. Raise ``UsageError`` if the UID is not that of one for objects."""
        try:
            return TRANSFER_SYNTAXES[uid]
        except (KeyError, TypeError):
            raise UsageError(
                f"{uid!r} is not the UID of a transfer syntax for objects",
                hint="pydicom.uid has names for them, such as JPEG2000Lossless",
            ) from None

    def __hash__(self) -> int:  # of one field, as it runs for each object
        return hash(self.uid)


IMPLICIT_LITTLE: Final = TransferSyntax("1.2.840.10008.1.2", "Implicit VR Little Endian", implicit=True)
EXPLICIT_LITTLE: Final = TransferSyntax("1.2.840.10008.1.2.1", "Explicit VR Little Endian")
DEFLATED_LITTLE: Final = TransferSyntax("1.2.840.10008.1.2.1.99", "Deflated Explicit VR Little Endian", deflated=True)
EXPLICIT_BIG: Final = TransferSyntax("1.2.840.10008.1.2.2", "Explicit VR Big Endian", big_endian=True)

UNCOMPRESSED: Final = (EXPLICIT_LITTLE, EXPLICIT_BIG, IMPLICIT_LITTLE)
"""The uncompressed transfer syntaxes, in DCMTK's order of preference."""

# Every transfer syntax of the 2026 standard whose data set is explicit VR little endian with pixel data in
# encapsulated form (PS3.5 A.4), in numerical order of PS3.6 table A-1; the retired JPEG processes come last.
_ENCAPSULATED: Final = (
    ("1.2.840.10008.1.2.1.98", "Encapsulated Uncompressed Explicit VR Little Endian"),
    ("1.2.840.10008.1.2.4.50", "JPEG Baseline (Process 1)"),
    ("1.2.840.10008.1.2.4.51", "JPEG Extended (Process 2 & 4)"),
    ("1.2.840.10008.1.2.4.57", "JPEG Lossless, Non-Hierarchical (Process 14)"),
    ("1.2.840.10008.1.2.4.70", "JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14 SV1)"),
    ("1.2.840.10008.1.2.4.80", "JPEG-LS Lossless Image Compression"),
    ("1.2.840.10008.1.2.4.81", "JPEG-LS Lossy (Near-Lossless) Image Compression"),
    ("1.2.840.10008.1.2.4.90", "JPEG 2000 Image Compression (Lossless Only)"),
    ("1.2.840.10008.1.2.4.91", "JPEG 2000 Image Compression"),
    ("1.2.840.10008.1.2.4.92", "JPEG 2000 Part 2 Multi-component Image Compression (Lossless Only)"),
    ("1.2.840.10008.1.2.4.93", "JPEG 2000 Part 2 Multi-component Image Compression"),
    ("1.2.840.10008.1.2.4.100", "MPEG2 Main Profile / Main Level"),
    ("1.2.840.10008.1.2.4.100.1", "Fragmentable MPEG2 Main Profile / Main Level"),
    ("1.2.840.10008.1.2.4.101", "MPEG2 Main Profile / High Level"),
    ("1.2.840.10008.1.2.4.101.1", "Fragmentable MPEG2 Main Profile / High Level"),
    ("1.2.840.10008.1.2.4.102", "MPEG-4 AVC/H.264 High Profile / Level 4.1"),
    ("1.2.840.10008.1.2.4.102.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.1"),
    ("1.2.840.10008.1.2.4.103", "MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1"),
    ("1.2.840.10008.1.2.4.103.1", "Fragmentable MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1"),
    ("1.2.840.10008.1.2.4.104", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video"),
    ("1.2.840.10008.1.2.4.104.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video"),
    ("1.2.840.10008.1.2.4.105", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video"),
    ("1.2.840.10008.1.2.4.105.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video"),
    ("1.2.840.10008.1.2.4.106", "MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2"),
    ("1.2.840.10008.1.2.4.106.1", "Fragmentable MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2"),
    ("1.2.840.10008.1.2.4.107", "HEVC/H.265 Main Profile / Level 5.1"),
    ("1.2.840.10008.1.2.4.108", "HEVC/H.265 Main 10 Profile / Level 5.1"),
    ("1.2.840.10008.1.2.4.110", "JPEG XL Lossless"),
    ("1.2.840.10008.1.2.4.111", "JPEG XL JPEG Recompression"),
    ("1.2.840.10008.1.2.4.112", "JPEG XL"),
    ("1.2.840.10008.1.2.4.201", "High-Throughput JPEG 2000 Image Compression (Lossless Only)"),
    ("1.2.840.10008.1.2.4.202", "High-Throughput JPEG 2000 with RPCL Options Image Compression (Lossless Only)"),
    ("1.2.840.10008.1.2.4.203", "High-Throughput JPEG 2000 Image Compression"),
    ("1.2.840.10008.1.2.5", "RLE Lossless"),
    ("1.2.840.10008.1.2.8.1", "Deflated Image Frame Compression"),
    ("1.2.840.10008.1.2.4.52", "JPEG Extended (Process 3 & 5)"),
    ("1.2.840.10008.1.2.4.53", "JPEG Spectral Selection, Non-Hierarchical (Process 6 & 8)"),
    ("1.2.840.10008.1.2.4.54", "JPEG Spectral Selection, Non-Hierarchical (Process 7 & 9)"),
    ("1.2.840.10008.1.2.4.55", "JPEG Full Progression, Non-Hierarchical (Process 10 & 12)"),
    ("1.2.840.10008.1.2.4.56", "JPEG Full Progression, Non-Hierarchical (Process 11 & 13)"),
    ("1.2.840.10008.1.2.4.58", "JPEG Lossless, Non-Hierarchical (Process 15)"),
    ("1.2.840.10008.1.2.4.59", "JPEG Extended, Hierarchical (Process 16 & 18)"),
    ("1.2.840.10008.1.2.4.60", "JPEG Extended, Hierarchical (Process 17 & 19)"),
    ("1.2.840.10008.1.2.4.61", "JPEG Spectral Selection, Hierarchical (Process 20 & 22)"),
    ("1.2.840.10008.1.2.4.62", "JPEG Spectral Selection, Hierarchical (Process 21 & 23)"),
    ("1.2.840.10008.1.2.4.63", "JPEG Full Progression, Hierarchical (Process 24 & 26)"),
    ("1.2.840.10008.1.2.4.64", "JPEG Full Progression, Hierarchical (Process 25 & 27)"),
    ("1.2.840.10008.1.2.4.65", "JPEG Lossless, Hierarchical (Process 28)"),
    ("1.2.840.10008.1.2.4.66", "JPEG Lossless, Hierarchical (Process 29)"),
)

TRANSFER_SYNTAXES: Final[dict[str, TransferSyntax]] = {
    syntax.uid: syntax
    for syntax in (
        IMPLICIT_LITTLE,
        EXPLICIT_LITTLE,
        DEFLATED_LITTLE,
        EXPLICIT_BIG,
        *(TransferSyntax(uid, name, encapsulated=True) for uid, name in _ENCAPSULATED),
    )
}
"""The transfer syntaxes that a Storage SCP may be sent, by UID."""

# DCMTK's order of preference. Of several transfer syntaxes in a presentation context the first of these is accepted
# (PS3.8 9.3.3.2), so the order decides the encoding of the files.
_ENCAPSULATED_FIRST: Final = (
    *("4.91", "4.90", "4.51", "4.50", "4.70", "4.81", "4.80", "5"),
    *("4.100", "4.101", "4.102", "4.103", "4.104", "4.105", "4.106", "4.107", "4.108"),
)

ALL_TRANSFER_SYNTAXES: Final = (
    *(
        TRANSFER_SYNTAXES[uid]
        for uid in dict.fromkeys(
            (*(f"1.2.840.10008.1.2.{uid}" for uid in _ENCAPSULATED_FIRST), *(uid for uid, _ in _ENCAPSULATED))
        )
    ),
    DEFLATED_LITTLE,
    *UNCOMPRESSED,
)
"""The same in order of preference (``--accept-all``): encapsulated, deflated, native ones."""


OTHER_TRANSFER_SYNTAXES: Final = TransferSyntax("*", "transfer syntaxes unknown to this program", encapsulated=True)
"""Stands for all that are not in the table, among those that an acceptor accepts (``--accept-nonstandard``)."""


def unknown_transfer_syntax(uid: str) -> TransferSyntax:
    """Return a transfer syntax that no table has: nothing but its UID is known, so its data sets are not parsed."""
    return TransferSyntax(uid, uid, encapsulated=True)


class StorageClass(Record):
    """A storage SOP class (PS3.4 B.5); the names of its files begin with ``prefix``."""

    uid: str
    keyword: str
    prefix: str
    retired: bool


@cache
def storage_classes() -> dict[str, StorageClass]:
    """Return the storage SOP classes by UID, in the order of the data file."""
    path = os.path.join(os.path.dirname(__file__), "data", "storage_sop_classes.tsv")
    rows = [line.split("\t") for line in data_file.read(path).decode("ascii").splitlines()[1:]]
    return {uid: StorageClass(uid, keyword, prefix, retired == "yes") for uid, keyword, prefix, _, retired in rows}


def may_be_storage(uid: str) -> bool:
    """Return True if a UID not in the table may be a storage SOP class: private, or new in PS3.4 B.5.

    All other UIDs of the standard identify classes of other services, or no class.
    """
    return bool(uid) and (not uid.startswith("1.2.840.10008.") or uid.startswith("1.2.840.10008.5.1.4.1.1."))


def uid_name(uid: str) -> str:
    """Return the name or keyword of a UID for messages, or the UID itself if this module has none."""
    if uid in TRANSFER_SYNTAXES:
        return TRANSFER_SYNTAXES[uid].name
    if uid in storage_classes():
        return storage_classes()[uid].keyword
    return _NAMES.get(uid, uid)


_NAMES: Final = {
    APPLICATION_CONTEXT: "DICOM Application Context Name",
    VERIFICATION: "Verification",
    PATIENT_ROOT_FIND: "PatientRootQueryRetrieveInformationModelFind",
    PATIENT_ROOT_MOVE: "PatientRootQueryRetrieveInformationModelMove",
    STUDY_ROOT_FIND: "StudyRootQueryRetrieveInformationModelFind",
    STUDY_ROOT_MOVE: "StudyRootQueryRetrieveInformationModelMove",
    PATIENT_STUDY_ONLY_FIND: "PatientStudyOnlyQueryRetrieveInformationModelFind",
    PATIENT_STUDY_ONLY_MOVE: "PatientStudyOnlyQueryRetrieveInformationModelMove",
    PATIENT_ROOT_GET: "PatientRootQueryRetrieveInformationModelGet",
    STUDY_ROOT_GET: "StudyRootQueryRetrieveInformationModelGet",
    PATIENT_STUDY_ONLY_GET: "PatientStudyOnlyQueryRetrieveInformationModelGet",
}
