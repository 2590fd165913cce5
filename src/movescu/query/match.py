"""A match of a C-FIND: the attributes of one patient, study, series or object (PS3.4 C.4.1.1.3.2).

Values are kept as the archive sent them, with their character set, and decoded when they are read. A match has the
attributes of the entities above it too: a series those of its study.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu.dataset.character_sets import EXTENDED, SPECIFIC_CHARACTER_SET, decode, terms_of
from movescu.dataset.encoding import Encoding
from movescu.dataset.transcoder import recode
from movescu.dataset.values import elements
from movescu.dictionary import tags as dictionary
from movescu.dictionary.uids import EXPLICIT_LITTLE
from movescu.dictionary.vr import KNOWN, LONG
from movescu.query.levels import LEVEL, UNIQUE_KEYS
from movescu.query.matching import number_of
from movescu.query.scope import LEVELS, keyword

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date

    from pydicom import Dataset

    from movescu.dictionary.uids import TransferSyntax

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "PATIENT": (
        *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "NumberOfPatientRelatedStudies"),
        *("NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances"),
    ),
    "STUDY": (
        *("PatientID", "PatientName", "StudyDate", "StudyTime", "ModalitiesInStudy", "StudyDescription"),
        *("AccessionNumber", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "StudyInstanceUID"),
    ),
    "SERIES": (
        *("PatientID", "StudyDate", "Modality", "SeriesNumber", "SeriesDescription", "BodyPartExamined"),
        *("NumberOfSeriesRelatedInstances", "SeriesInstanceUID", "StudyInstanceUID"),
    ),
    "IMAGE": (
        *("PatientID", "Modality", "SeriesNumber", "InstanceNumber", "SOPClassUID", "SOPInstanceUID"),
        *("SeriesInstanceUID", "StudyInstanceUID"),
    ),
}
"""Attributes of a match at each level, in the order in which they are shown."""

RETURN_KEYS: Final[Mapping[str, tuple[int, ...]]] = {
    "PATIENT": (
        *(0x00100010, 0x00100020, 0x00100030, 0x00100040),
        *(0x00201200, 0x00201202, 0x00201204),
    ),
    "STUDY": (*(0x00080020, 0x00080030, 0x00080050, 0x00080061, 0x00081030, 0x0020000D, 0x00201206, 0x00201208),),
    "SERIES": (0x00080060, 0x0008103E, 0x00180015, 0x0020000E, 0x00200011, 0x00201209),
    "IMAGE": (0x00080016, 0x00080018, 0x00200013),
}
"""Tags of the attributes of an entity of each level that a C-FIND requests."""

COUNTS: Final[Mapping[str, Mapping[str, int]]] = {
    "PATIENT": {"STUDY": 0x00201200, "SERIES": 0x00201202, "IMAGE": 0x00201204},
    "STUDY": {"SERIES": 0x00201206, "IMAGE": 0x00201208},
    "SERIES": {"IMAGE": 0x00201209},
}
"""Tags of the numbers of entities below, by level and level below (PS3.4 tables C.6-1 to C.6-3)."""


class Attribute(NamedTuple):
    """An attribute of a match, in explicit VR little endian; ``terms``: its Specific Character Set."""

    vr: bytes
    value: bytes
    terms: tuple[str, ...] = ("",)

    @property
    def texts(self) -> tuple[str, ...]:
        """The values as text, none if the attribute is empty. What its character set lacks is replaced."""
        if self.vr == b"SQ":
            return ()
        text = decode(self.value, self.terms) if self.vr in EXTENDED else None
        if text is None:
            codec = "utf-8" if self.terms == ("ISO_IR 192",) else "latin-1"
            text = self.value.decode(codec, "replace")
        parts = [text] if self.vr in _ONE_VALUE else text.split("\\")
        parts = [part.strip(" \0") for part in parts]
        return tuple(parts) if any(parts) else ()


_ONE_VALUE: Final = frozenset((b"LT", b"ST", b"UR", b"UT"))
_NUMBERS: Final = frozenset((b"IS", b"DS"))
_BINARY: Final = frozenset((b"US", b"SS", b"UL", b"SL", b"UV", b"SV"))


class Match:
    """A patient, study, series or object that an archive has for the keys of a query.

    Attributes are read by keyword, as ``match["StudyDescription"]``: text, empty if the archive has no value, with
    backslashes between several. The properties have types. ``level``: PATIENT, STUDY, SERIES or IMAGE.
    """

    def __init__(self, level: str, attributes: Mapping[int, Attribute]) -> None:
        self.level = level
        """Level of the query: PATIENT, STUDY, SERIES or IMAGE."""
        self.attributes = dict(attributes)

    def __repr__(self) -> str:
        return f"<Match: {self.level} {self.uid!r}>"

    # -- by tag or keyword -------------------------------------------------------------------------------------------

    def texts(self, tag: int) -> tuple[str, ...]:
        """Return the values of an attribute as text, by tag."""
        attribute = self.attributes.get(tag)
        if attribute is None:
            return ()
        if attribute.vr in _BINARY:
            size = 2 if attribute.vr[1:] == b"S" else 4 if attribute.vr[1:] == b"L" else 8
            parts = (attribute.value[at : at + size] for at in range(0, len(attribute.value), size))
            signed = attribute.vr[:1] == b"S"
            return tuple(str(int.from_bytes(part, "little", signed=signed)) for part in parts)
        return attribute.texts

    def text(self, tag: int) -> str:
        """Return an attribute as text, by tag."""
        return "\\".join(self.texts(tag))

    def __getitem__(self, name: str) -> str:
        tag = dictionary.tag_of(name)
        if tag is None:
            raise KeyError(name)
        return self.text(tag)

    def __iter__(self) -> Iterator[str]:
        """Yield the keywords of the attributes that have a value."""
        return (keyword(tag) for tag in sorted(self.attributes) if self.texts(tag))

    def value(self, tag: int) -> object:
        """Return an attribute for JSON: a number for a count or IS, a list for several values, None for none."""
        attribute = self.attributes.get(tag)
        values = [_plain(attribute.vr, text) for text in self.texts(tag)] if attribute is not None else []
        return None if not values else values[0] if len(values) == 1 else values

    # -- typed -------------------------------------------------------------------------------------------------------

    @property
    def uid(self) -> str:
        """Value of the unique key of the level: Patient ID, or the UID of the study, series or object."""
        return self.text(UNIQUE_KEYS[self.level])

    @property
    def patient_id(self) -> str:
        """Patient ID."""
        return self.text(UNIQUE_KEYS["PATIENT"])

    @property
    def patient_name(self) -> str:
        """Patient's Name."""
        return self["PatientName"]

    @property
    def study_uid(self) -> str:
        """Study Instance UID."""
        return self.text(UNIQUE_KEYS["STUDY"])

    @property
    def series_uid(self) -> str:
        """Series Instance UID."""
        return self.text(UNIQUE_KEYS["SERIES"])

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID."""
        return self.text(UNIQUE_KEYS["IMAGE"])

    @property
    def study_date(self) -> date | None:
        """Study Date, None if the archive has none or not a valid one."""
        from datetime import date  # late: slow to load

        digits = self["StudyDate"].replace(".", "")
        try:
            return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
        except ValueError:
            return None

    @property
    def accession_number(self) -> str:
        """Accession Number."""
        return self["AccessionNumber"]

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modality of a series, Modalities in Study of a study."""
        return self.texts(0x00080060 if self.level in ("SERIES", "IMAGE") else 0x00080061)

    @property
    def description(self) -> str:
        """Description of the series or study."""
        return self["SeriesDescription" if self.level in ("SERIES", "IMAGE") else "StudyDescription"]

    @property
    def studies(self) -> int | None:
        """Number of studies, None if unknown."""
        return self.count("STUDY")

    @property
    def series(self) -> int | None:
        """Number of series, None if unknown."""
        return self.count("SERIES")

    @property
    def objects(self) -> int | None:
        """Number of objects, None if unknown."""
        return 1 if self.level == "IMAGE" else self.count("IMAGE")

    def count(self, level: str) -> int | None:
        """Return the number of entities of a level below, None if unknown; 1 at the match's own level."""
        if level == self.level:
            return 1
        tag = COUNTS.get(self.level, {}).get(level)
        return None if tag is None else number_of(self.text(tag))

    # -- for other uses ------------------------------------------------------------------------------------------------

    @property
    def keys(self) -> dict[str, str]:
        """Keys that retrieve the match, for ``Client.retrieve``: its level, and the unique keys down to it."""
        names = LEVELS[:1] if self.level == "PATIENT" else LEVELS[1 : LEVELS.index(self.level) + 1]
        unique = {keyword(UNIQUE_KEYS[name]): self.text(UNIQUE_KEYS[name]) for name in names}
        return {"QueryRetrieveLevel": self.level} | {name: value for name, value in unique.items() if value}

    @property
    def dataset(self) -> Dataset:
        """The match as a data set."""
        from pydicom.filebase import DicomBytesIO  # late: slow to load, and few need it
        from pydicom.filereader import read_dataset

        found = self.attributes | {LEVEL: Attribute(b"CS", self.level.encode() + b" " * (len(self.level) & 1))}
        own = found.get(UNIQUE_KEYS[self.level], Attribute(b"UI", b"")).terms
        data = b"".join(
            _element(tag, one.vr, one.value)
            for tag, one in sorted(found.items())
            if one.vr not in EXTENDED or one.value.isascii() or one.terms == own
        )
        buffer = DicomBytesIO(data)
        return read_dataset(buffer, is_implicit_VR=False, is_little_endian=True)


def _plain(vr: bytes, text: str) -> object:
    if vr in _NUMBERS or vr in _BINARY:
        try:
            return int(text) if vr != b"DS" else float(text)
        except ValueError:
            return text
    return text


def _element(tag: int, vr: bytes, value: bytes) -> bytes:
    """Encode an element in explicit VR little endian."""
    if vr in LONG or vr not in KNOWN:
        return struct.pack("<HH2sxxI", tag >> 16, tag & 0xFFFF, vr, len(value)) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def attributes_of(data: bytes, syntax: TransferSyntax) -> dict[int, Attribute]:
    """Return the attributes of an answer by tag. Raise ``DataSetError`` if it is malformed."""
    encoded = recode(data, syntax, Encoding(transfer_syntax=EXPLICIT_LITTLE)) if data else b""
    found = {tag: (vr, value) for tag, vr, value in elements(encoded) if tag & 0xFFFF}
    _, character_set = found.get(SPECIFIC_CHARACTER_SET, (b"", b""))
    terms = terms_of(character_set) if character_set else ("",)
    return {tag: Attribute(vr, value, terms) for tag, (vr, value) in found.items()}


def count_attribute(number: int) -> Attribute:
    """Return a number of entities as an attribute."""
    text = str(number).encode()
    return Attribute(b"IS", text + b" " * (len(text) & 1))
