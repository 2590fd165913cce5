"""Queries of the test archive: PS3.4 C.2.2.2 (matching), C.3 and C.6 (models), C.4.1 to C.4.3 (services).

One table has the keys that archives usually support. A key may be used at its own level and below, so every query is
relational. Values are compared byte by byte, in any character set. ``archive`` sends the answers.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from movescu.dataset.encoding import Encoding
from movescu.dataset.transcoder import recode, values_of
from movescu.dictionary import tags as dictionary
from movescu.dictionary.uids import (
    IMPLICIT_LITTLE,
    PATIENT_ROOT_FIND,
    PATIENT_ROOT_GET,
    PATIENT_ROOT_MOVE,
    PATIENT_STUDY_ONLY_FIND,
    PATIENT_STUDY_ONLY_GET,
    PATIENT_STUDY_ONLY_MOVE,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
)
from movescu.errors import DataSetError, MovescuError
from movescu.testing.stored_objects import (
    SERIES_INSTANCE_UID,
    SOP_INSTANCE_UID,
    SPECIFIC_CHARACTER_SET,
    STUDY_INSTANCE_UID,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from movescu.dictionary.uids import TransferSyntax
    from movescu.testing.stored_objects import Entry

QUERY_RETRIEVE_LEVEL: Final = 0x00080052
RETRIEVE_AE_TITLE: Final = 0x00080054
PATIENT_ID: Final = 0x00100020

UNIQUE_KEYS: Final = {
    "PATIENT": PATIENT_ID,
    "STUDY": STUDY_INSTANCE_UID,
    "SERIES": SERIES_INSTANCE_UID,
    "IMAGE": SOP_INSTANCE_UID,
}
"""The levels from the top, each with its unique key (PS3.4 C.6)."""

_ALL: Final = tuple(UNIQUE_KEYS)
MODELS: Final[Mapping[str, tuple[str, ...]]] = {
    PATIENT_ROOT_FIND: _ALL,
    PATIENT_ROOT_MOVE: _ALL,
    PATIENT_ROOT_GET: _ALL,
    STUDY_ROOT_FIND: _ALL[1:],
    STUDY_ROOT_MOVE: _ALL[1:],
    STUDY_ROOT_GET: _ALL[1:],
    PATIENT_STUDY_ONLY_FIND: _ALL[:2],
    PATIENT_STUDY_ONLY_MOVE: _ALL[:2],
    PATIENT_STUDY_ONLY_GET: _ALL[:2],
}
"""The levels of each information model by its SOP classes."""

GET_CLASSES: Final = frozenset((PATIENT_ROOT_GET, STUDY_ROOT_GET, PATIENT_STUDY_ONLY_GET))
"""The SOP classes of C-GET."""

# Attributes of the entities of each level (PS3.4 C.6.1.1), by keyword.
_KEYS: Final = {
    "PATIENT": "PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex PatientComments",
    "STUDY": "StudyDate StudyTime AccessionNumber StudyID StudyInstanceUID StudyDescription ReferringPhysicianName "
    "NameOfPhysiciansReadingStudy AdmittingDiagnosesDescription PatientAge PatientSize PatientWeight Occupation "
    "AdditionalPatientHistory",
    "SERIES": "Modality SeriesNumber SeriesInstanceUID SeriesDate SeriesTime SeriesDescription BodyPartExamined "
    "ProtocolName Manufacturer InstitutionName StationName OperatorsName PerformingPhysicianName "
    "PerformedProcedureStepStartDate PerformedProcedureStepStartTime",
    "IMAGE": "InstanceNumber SOPInstanceUID SOPClassUID ContentDate ContentTime AcquisitionDate AcquisitionTime "
    "ImageType NumberOfFrames AcquisitionNumber",
}

# Attributes of an entity of the first level that count, or collect values of, its entities of the other.
_COUNTS: Final = (
    ("PATIENT", "NumberOfPatientRelatedStudies", "STUDY"),
    ("PATIENT", "NumberOfPatientRelatedSeries", "SERIES"),
    ("PATIENT", "NumberOfPatientRelatedInstances", "IMAGE"),
    ("STUDY", "NumberOfStudyRelatedSeries", "SERIES"),
    ("STUDY", "NumberOfStudyRelatedInstances", "IMAGE"),
    ("SERIES", "NumberOfSeriesRelatedInstances", "IMAGE"),
)
_COLLECTIONS: Final = (("STUDY", "ModalitiesInStudy", "Modality"), ("STUDY", "SOPClassesInStudy", "SOPClassUID"))


def _tag(keyword: str) -> int:
    tag = dictionary.tag_of(keyword)
    assert tag is not None, keyword  # the tables above hold keywords of PS3.6
    return tag


def stored_tags() -> tuple[int, ...]:
    """Return the tags of all attributes to read from an object's header."""
    return tuple(_tag(keyword) for keywords in _KEYS.values() for keyword in keywords.split())


class IdentifierError(MovescuError):
    """The identifier of a request does not fit its SOP class: status A900 (PS3.4 tables C.4-1, C.4-2).

    ``offending_elements``: the tags at fault.
    """

    def __init__(self, message: str, offending_elements: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.offending_elements = offending_elements


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed identifier: its level, the levels of its model down to that, and its keys by tag."""

    level: str
    levels: tuple[str, ...]
    keys: Mapping[int, bytes]

    @property
    def studies(self) -> tuple[str, ...]:
        """The studies that it names; none if it may match others."""
        wanted = _text(self.keys.get(STUDY_INSTANCE_UID, b""))
        return tuple(wanted.split("\\")) if wanted.strip("*") else ()


def read_query(identifier: bytes, syntax: TransferSyntax, sop_class_uid: str) -> Query:
    """Parse an identifier as received. Raise ``IdentifierError`` if that fails or its level is not the model's."""
    try:
        values = values_of(identifier, syntax)
    except DataSetError as error:
        raise IdentifierError(f"the identifier cannot be read: {error}") from error
    keys = {tag: value for tag, value in values.items() if tag & 0xFFFF}  # group lengths are not keys
    level = _text(keys.pop(QUERY_RETRIEVE_LEVEL, b""))
    levels = MODELS[sop_class_uid]
    if level not in levels:
        raise IdentifierError(f"query/retrieve level {level!r} is not a level of the model", (QUERY_RETRIEVE_LEVEL,))
    return Query(level, levels[: levels.index(level) + 1], keys)


# -- C-MOVE ----------------------------------------------------------------------------------------------------------


def select(entries: Iterable[Entry], query: Query) -> list[Entry]:
    """Return the objects that match the unique keys of the level and above (PS3.4 C.4.2.1.4.1).

    Raise ``IdentifierError`` if the identifier has no unique key of its level.
    """
    own = UNIQUE_KEYS[query.level]
    if not _text(query.keys.get(own, b"")):
        raise IdentifierError(f"no unique key for level {query.level}", (own,))
    keys = [(tag, query.keys[tag]) for tag in UNIQUE_KEYS.values() if tag in query.keys]
    return [entry for entry in entries if all(matches(tag, key, entry.values.get(tag, b"")) for tag, key in keys)]


# -- C-FIND ----------------------------------------------------------------------------------------------------------


def find(entries: Iterable[Entry], query: Query, ae_title: str) -> Iterator[tuple[dict[int, bytes], bool]]:
    """Yield the matches of a C-FIND identifier: values by tag, and whether the archive supports every key.

    ``ae_title``: the value of Retrieve AE Title (0008,0054).
    """
    known = _known_tags(query)
    common = {QUERY_RETRIEVE_LEVEL: _even(query.level), RETRIEVE_AE_TITLE: _even(ae_title)}
    supported = query.keys.keys() <= known | {SPECIFIC_CHARACTER_SET, RETRIEVE_AE_TITLE}
    for entity in _entities(entries, query.level):
        values = _values(entity, query)
        if all(matches(tag, key, values.get(tag, b"")) for tag, key in query.keys.items() if tag in known):
            answer = {tag: values.get(tag, b"") if tag in known else b"" for tag in query.keys}
            if character_set := values.get(SPECIFIC_CHARACTER_SET):
                answer[SPECIFIC_CHARACTER_SET] = character_set
            yield answer | common, supported


def _known_tags(query: Query) -> set[int]:
    # In a model without the patient level its attributes belong to the study (PS3.4 C.6.2.1).
    levels = _ALL[: _ALL.index(query.level) + 1]
    tags = {_tag(keyword) for level in levels for keyword in _KEYS[level].split()}
    return tags | {_tag(keyword) for level, keyword, _ in (*_COUNTS, *_COLLECTIONS) if level == query.level}


def _entities(entries: Iterable[Entry], level: str) -> Iterable[list[Entry]]:
    """Group objects by the entities of a level."""
    entities: dict[str, list[Entry]] = {}
    for entry in entries:
        entities.setdefault(entry.text(UNIQUE_KEYS[level]), []).append(entry)
    return entities.values()


def _values(entity: Sequence[Entry], query: Query) -> dict[int, bytes]:
    """Return the attributes of an entity: those of its first object, and counts and collections over all of them."""
    values = dict(entity[0].values)
    for level, keyword, counted in _COUNTS:
        if level == query.level and (tag := _tag(keyword)) in query.keys:
            values[tag] = _even(str(len({entry.text(UNIQUE_KEYS[counted]) for entry in entity})))
    for level, keyword, collected in _COLLECTIONS:
        if level == query.level and (tag := _tag(keyword)) in query.keys:
            found = dict.fromkeys(entry.text(_tag(collected)) for entry in entity)
            values[tag] = _even("\\".join(found), b"\0" if collected.endswith("UID") else b" ")
    return values


# -- matching --------------------------------------------------------------------------------------------------------


def matches(tag: int, key: bytes, value: bytes) -> bool:
    """Return True if a value matches a key (PS3.4 C.2.2.2): universal, list of UIDs, range, wild card, single value."""
    wanted = _text(key)
    if not wanted.strip("*"):
        return True
    vr = dictionary.vr_of(tag)
    values = [part.strip() for part in _text(value).split("\\")]
    if vr == "UI":
        return any(uid in wanted.split("\\") for uid in values)
    if vr in ("DA", "TM") and "-" in wanted:
        return any(_in_range(part, wanted) for part in values)
    # Person names match in any case: PS3.4 C.2.2.2.1 leaves that to the archive.
    pattern = re.compile("|".join(map(_expression, wanted.split("\\"))), re.DOTALL | (re.IGNORECASE * (vr == "PN")))
    return any(pattern.fullmatch(part) for part in values)


def _in_range(value: str, wanted: str) -> bool:
    first, _, last = (part.strip() for part in wanted.partition("-"))
    return bool(value) and (not first or value >= first) and (not last or value[: len(last)] <= last)


def _expression(wanted: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in wanted.strip())


def _text(value: bytes) -> str:
    return value.decode("latin-1").strip("\0 ")


# -- identifiers -----------------------------------------------------------------------------------------------------


def encode_identifier(values: Mapping[int, bytes], syntax: TransferSyntax) -> bytes:
    """Encode text and UIDs by tag as a data set in a transfer syntax."""
    # By way of implicit VR: its lengths have 32 bits for every VR, and recoding looks up the VRs.
    data = b"".join(
        struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value for tag, value in sorted(values.items())
    )
    encoded = recode(data, IMPLICIT_LITTLE, Encoding(transfer_syntax=syntax))
    return encoded + b"\0" * (len(encoded) & 1)  # only deflated data can be odd (PS3.5 A.5)


def encode_uids(tag: int, uids: Iterable[str], syntax: TransferSyntax) -> bytes:
    """Encode a data set of one element, a list of UIDs."""
    return encode_identifier({tag: _even("\\".join(uids), b"\0")}, syntax)


def _even(text: str, padding: bytes = b" ") -> bytes:
    data = text.encode("latin-1", "replace")
    return data + padding * (len(data) & 1)
