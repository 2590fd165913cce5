"""The scope of a request: what all its keys select, and the unique keys by which C-MOVE requests it (PS3.4 C.6).

A C-MOVE identifier has the unique keys of its level and of those above, and nothing else (PS3.4 C.4.2.1.4.1). An
archive may ignore other keys, and then sends more than was requested. So a request with other keys, or without a unique
key, is resolved first: C-FIND lists what all of its keys match, and C-MOVE requests that by unique keys.

Each key belongs to a level of the information model; in Study Root those of the patient belong to the study (PS3.4
C.6.2.1). A key that is in no table, or whose level is below that of the request, is one of the request's own level.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu.dataset.character_sets import SPECIFIC_CHARACTER_SET
from movescu.dictionary import tags as dictionary
from movescu.dictionary.uids import MAXIMUM_UID_LENGTH
from movescu.dictionary.vr import tag_text
from movescu.errors import UsageError
from movescu.query.key import quoted
from movescu.query.levels import LEVEL, MODELS, UNIQUE_KEYS
from movescu.query.matching import is_empty, is_universal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from movescu.query.identifier import Identifier
    from movescu.query.key import Key

_log: Final = logger_of("movescu.query")

LEVELS: Final = tuple(UNIQUE_KEYS)

# Attributes of each level (PS3.4 tables C.6-1 to C.6-5, and PS3.3 where archives know more), by tag.
_ATTRIBUTES: Final = {
    "PATIENT": (
        *(0x00100010, 0x00100020, 0x00100021, 0x00100024, 0x00100030, 0x00100032, 0x00100040, 0x00101000, 0x00101001),
        *(0x00101002, 0x00102160, 0x00104000, 0x00201200, 0x00201202, 0x00201204),
    ),
    "STUDY": (
        *(0x00080020, 0x00080030, 0x00080050, 0x00080051, 0x00080061, 0x00080062, 0x00080090, 0x00081030, 0x00081032),
        *(0x00081048, 0x00081060, 0x00081080, 0x00101010, 0x00101020, 0x00101030, 0x00102180, 0x001021B0, 0x0020000D),
        *(0x00200010, 0x00201070, 0x00201206, 0x00201208, 0x00321060),
    ),
    "SERIES": (
        *(0x00080021, 0x00080031, 0x00080060, 0x00080070, 0x00080080, 0x00081010, 0x0008103E, 0x0008103F, 0x00081040),
        *(0x00081050, 0x00081070, 0x00081090, 0x00180015, 0x00181000, 0x00181030, 0x0020000E, 0x00200011, 0x00200060),
        *(0x00201209, 0x00400244, 0x00400245, 0x00400250, 0x00400251, 0x00400253, 0x00400254, 0x00400275),
    ),
}
_LEVEL_OF: Final = {tag: level for level, tags in _ATTRIBUTES.items() for tag in tags}
# Keys that qualify the query and select nothing: character set, level, Retrieve AE Title, view, offset from UTC.
_MODIFIERS: Final = frozenset((SPECIFIC_CHARACTER_SET, LEVEL, 0x00080053, 0x00080054, 0x00080056, 0x00080201))


class Scope:
    """The scope of one request. ``model``: PATIENT, STUDY or PSONLY."""

    def __init__(self, identifier: Identifier, model: str) -> None:
        self.identifier = identifier
        self.model = model
        self.level = identifier.text(LEVEL)
        """Query/Retrieve Level; empty if there is none."""
        self.character_set = identifier.get(SPECIFIC_CHARACTER_SET)
        self._given = {key.tag: key for key in selecting(identifier)}
        self._keys = {tag: key for tag, key in self._given.items() if not is_universal(key)}
        self._unique = {name: self._values(name) for name in LEVELS}
        self._filters: dict[tuple[str, bool], dict[int, Key]] = {}

    def _values(self, level: str) -> tuple[str, ...]:
        key = self._keys.get(UNIQUE_KEYS[level])
        if key is None:
            return ()
        return (key.text,) if level == "PATIENT" else listed(key.text)

    def unique(self, level: str) -> tuple[str, ...]:
        """Return the values of the unique key of a level, none if it is empty."""
        return self._unique[level]

    def filters(self, level: str, *, patient_root: bool) -> Mapping[int, Key]:
        """Return the keys of a C-FIND at a level other than the unique ones, by tag.

        Without ``patient_root`` in Study Root. At a level below that of the request there are none.
        """
        if self.level not in LEVELS:
            return {}
        known = self._filters.get((level, patient_root))
        if known is None:
            unique = {UNIQUE_KEYS[name] for name in LEVELS[0 if patient_root else 1 :]}
            known = self._filters[level, patient_root] = {
                tag: key
                for tag, key in self._keys.items()
                if tag not in unique and self._level_of(tag, patient_root=patient_root) == level
            }
        return known

    def _last(self, *, patient_root: bool) -> int:
        """Return the index of the lowest level at which the request's other keys are used."""
        return max(LEVELS.index(self.level), 0 if patient_root else 1)

    def _level_of(self, tag: int, *, patient_root: bool) -> str:
        first, last = 0 if patient_root else 1, self._last(patient_root=patient_root)
        return LEVELS[min(max(LEVELS.index(_LEVEL_OF.get(tag, "IMAGE")), first), last)]

    @property
    def is_exact(self) -> bool:
        """Whether the keys can go into a C-MOVE unchanged: unique keys that each name one entity, and no others.

        An empty key of a lower level, or an empty member of a list, might select more.
        """
        if self.level not in MODELS[self.model] or not self.unique(self.level):
            return False
        own = MODELS[self.model]
        unique = {UNIQUE_KEYS[level] for level in own[: own.index(self.level) + 1]}
        values = (value for tag in unique if tag in self._keys for value in self._keys[tag].text.split("\\"))
        return self._given.keys() <= unique and all(is_usable(value.strip()) for value in values)

    def may_exceed(self, studies: int) -> bool:
        """Return True if the keys may match more than a number of studies, which they do not name one by one."""
        levels = LEVELS[1 : LEVELS.index(self.level) + 1] if self.level in LEVELS else ()
        return all(len(self.unique(level)) > studies or not self.unique(level) for level in levels)

    def check(self, *, patterns: bool = False, everything: bool = False) -> None:
        """Raise ``UsageError`` unless the keys select something definite.

        A wild card in a UID, or a backslash in a Patient ID, would request more than it names. An empty unique key
        without another key of its level would request everything, which is a mistake. ``patterns``: wild cards in
        unique keys are meant. ``everything``: everything is meant.
        """
        levels = MODELS[self.model]
        if self.level not in levels:
            what = f"{self.level!r} is not a level of this model" if self.level else "is missing"
            raise UsageError(f"QueryRetrieveLevel {what}", hint=f"give one of {', '.join(levels)}")
        for level in LEVELS:
            for value in self.unique(level):
                usable = "\\" not in value if patterns else is_usable(value, patient=level == "PATIENT")
                if not usable:
                    raise UsageError(
                        f"{keyword(UNIQUE_KEYS[level])} {quoted(value[:80])} does not name one entity",
                        hint="give it without wild cards and backslashes; other keys may have them",
                    )
        for level in LEVELS[LEVELS.index(self.level) + 1 :]:
            if UNIQUE_KEYS[level] in self._keys:
                raise UsageError(
                    f"{keyword(UNIQUE_KEYS[level])} is a key of level {level}, below {self.level}",
                    hint=f"give QueryRetrieveLevel={level}",
                )
        patient_root = "PATIENT" in levels
        filters = self.filters(self.level, patient_root=patient_root).values()
        selects = any(map(_names, self.unique(self.level))) or any(map(_selects, filters))
        if not selects and not everything:
            raise UsageError(
                f"{self._slip()}: everything would match", hint=f"{_SLIPS[self.level]}; --all if everything is meant"
            )

    def _slip(self) -> str:
        """Say why the keys select nothing: wild cards alone, or no value."""
        own, unique = self.level, keyword(UNIQUE_KEYS[self.level])
        given = self._with_values()
        if not given:
            return f"{unique} is empty and no other key of level {own} has a value"
        what = f"{', '.join(given)} {'select' if len(given) > 1 else 'selects'} nothing at level {own}"
        return what if unique in given else f"{what}, and {unique} is empty"

    def _with_values(self) -> list[str]:
        return [keyword(tag) for tag, key in self._given.items() if not is_empty(key.value)]

    def check_query(self, *, everything: bool = False, by: str = "--all") -> None:
        """Raise ``UsageError`` unless the keys are those of a query that selects something at some level.

        ``everything``: everything is meant. ``by``: how to say so, for the message.
        """
        if any("\\" in value for value in self.unique("PATIENT")):
            raise UsageError(
                "PatientID has a backslash: it would be a list of patients", hint="query each patient separately"
            )
        for level in LEVELS[LEVELS.index(self.level) + 1 :]:
            if UNIQUE_KEYS[level] in self._keys:
                raise UsageError(
                    f"{keyword(UNIQUE_KEYS[level])} is a key of level {level}, below {self.level}",
                    hint=f"query level {level}",
                )
        if everything or any(_names(value) for level in LEVELS for value in self.unique(level)):
            return
        if not any(_selects(key) for tag, key in self._keys.items() if tag not in UNIQUE_KEYS.values()):
            given = self._with_values()
            what = f"{', '.join(given)} {'select' if len(given) > 1 else 'selects'} nothing" if given else ""
            raise UsageError(
                f"{what or 'no key has a value'}: everything in the archive would match",
                hint=f"give a key with a value, or {by} if everything is meant",
            )

    @property
    def natural_level(self) -> str:
        """Level of a query that names none: Query/Retrieve Level, else the lowest of its keys, at least STUDY."""
        if self.level in LEVELS:
            return self.level
        levels = (level_of(tag) for tag in self._keys)
        return max((*(level for level in levels if level), "STUDY"), key=LEVELS.index)

    @property
    def patterns(self) -> tuple[str, ...]:
        """Keywords of the unique keys with wild cards."""
        return tuple(
            keyword(UNIQUE_KEYS[level])
            for level in LEVELS
            if any("*" in value or "?" in value for value in self.unique(level))
        )

    def note_blank(self) -> None:
        """Log a warning for each unique key that is empty if no lower one, down to the request's level, has a value."""
        own = LEVELS[: LEVELS.index(self.level) + 1] if self.level in LEVELS else ()
        for number, level in enumerate(own):
            key = self._given.get(UNIQUE_KEYS[level])
            if key is not None and is_empty(key.value) and not any(map(self.unique, own[number:])):
                _log.warning("%s is empty: all that the other keys match is requested", keyword(key.tag))


_SLIPS: Final = {
    "PATIENT": "give PatientID",
    "STUDY": "give StudyInstanceUID or another key of studies, such as AccessionNumber; "
    "for all studies of a patient, QueryRetrieveLevel=PATIENT and PatientID",
    "SERIES": "give SeriesInstanceUID or another key of series, such as Modality; for a whole study, "
    "QueryRetrieveLevel=STUDY",
    "IMAGE": "give SOPInstanceUID; for a whole series, QueryRetrieveLevel=SERIES",
}


def selecting(keys: Iterable[Key]) -> Iterator[Key]:
    """Yield the keys that select something if they have a value: not those that qualify the query."""
    return (key for key in keys if key.tag & 0xFFFF and not (key.tag in _MODIFIERS or key.is_creator))


def level_of(tag: int) -> str:
    """Return the level to which an attribute belongs, empty if it is not in the tables."""
    return "IMAGE" if tag == UNIQUE_KEYS["IMAGE"] else _LEVEL_OF.get(tag, "")


def is_usable(value: str, *, patient: bool = False) -> bool:
    """Return True if a value of a unique key names one entity; ``patient``: of Patient ID, which may have wild cards.

    A UID that is too long, a list or a pattern would ask for something else.
    """
    if patient:
        return "\\" not in value
    return 0 < len(value) <= MAXIMUM_UID_LENGTH and not any(mark in value for mark in "\\*?")


def listed(value: str) -> tuple[str, ...]:
    """Return the UIDs of a list."""
    return tuple(uid for part in value.split("\\") if (uid := part.strip()))


def keyword(tag: int) -> str:
    """Return the keyword of an attribute, or its tag."""
    return dictionary.keyword_of(tag) or tag_text(tag)


def _names(value: str) -> bool:
    """Return True if a unique key's value is more than wild cards."""
    return bool(value.strip("*?. "))


def _selects(key: Key) -> bool:
    """Return True if a key is more than wild cards and delimiters, with which an archive may match everything."""
    return any(_selects(nested) for item in key.items for nested in item) or bool(key.value.strip(b"*?\\^=- \0"))
