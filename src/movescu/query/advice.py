"""Warnings about likely mistakes in a request: values that violate their VR, keys that do not fit the query model.

``of_values`` checks values against PS3.5 table 6.2-1, with the wild cards, ranges and lists of UIDs that PS3.4 C.2.2.2
allows in queries. ``of_levels`` checks keys against PS3.4 C.4.2.1.4.1 and C.6: a C-MOVE states its level, the unique
key of each level down to it, and none below. Nothing is changed or refused: archives differ in what they accept, and
the user may know better. Messages contain no values, which may be a patient's, but dates other than that of birth. Only
``keys_only``, on request, changes something: it reduces a query file to the keys of a C-MOVE. ``check_uids`` refuses
UIDs that would name something else, where requests need not be DCMTK's.
"""

from __future__ import annotations

import re

from movescu.dataset import character_sets
from movescu.dictionary import tags as dictionary
from movescu.dictionary.vr import tag_text
from movescu.errors import UsageError
from movescu.query.key import quoted
from movescu.query.levels import LEVEL, MODELS, UNIQUE_KEYS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Final

    from movescu.query.key import Key

    Check = Callable[[str], str]

_LENGTHS: Final = {"AE": 16, "CS": 16, "DS": 16, "IS": 12, "LO": 64, "LT": 10240, "SH": 16, "ST": 1024, "UI": 64}
"""Maximum characters of one value (PS3.5 table 6.2-1)."""
_ONE_VALUE: Final = frozenset(("LT", "ST", "UR", "UT"))
"""VRs with a single value, in which a backslash is an ordinary character."""
_TIME: Final = r"([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?"
_DATE_TIME: Final = r"\d{4}(\d\d(\d\d((\d\d)(\d\d(\d\d(\.\d{1,6})?)?)?)?)?)?([+-]\d{4})?"
_PATTERNS: Final = {
    "AE": (r"[\x20-\x5b\x5d-\x7e]*", "characters not allowed in an AE title"),
    "AS": (r"\d{3}[DWMY]", "not an age, such as 042Y"),
    "CS": (
        r"[A-Z0-9 _*?]*",
        "characters other than capital letters, digits, space, _ and wild cards",
    ),
    "DS": (r" *[+-]?(\d+\.?\d*|\.\d+)([Ee][+-]?\d+)? *", "not a decimal number"),
    "DT": (
        rf"{_DATE_TIME} *|{_DATE_TIME}- *|-{_DATE_TIME} *|{_DATE_TIME}-{_DATE_TIME} *",
        "not a date and time, such as 20260131120000",
    ),
    "IS": (r" *[+-]?\d{1,10} *", "not an integer"),
    "TM": (rf"{_TIME} *|{_TIME}- *|-{_TIME} *|{_TIME}-{_TIME} *", "not a time, such as 101500"),
    "UI": (r"(0|[1-9]\d*)(\.(0|[1-9]\d*))*", "not a UID: numbers separated by dots, without leading zeros"),
    "UR": (r"[!-~]*", "characters not allowed in a URI"),
}
# Tests that most values pass, so that the pattern need not be compiled.
_PLAIN: Final[Mapping[str, Callable[[str], bool]]] = {
    "CS": lambda part: part.isalnum() and part.isupper(),
    "UI": lambda part: all(n.isdigit() and (n == "0" or n[0] != "0") for n in part.split(".")),
}
_OF_UIDS: Final = b"0123456789.*?\\"
_BIRTH_DATE: Final = 0x00100030
_DATE: Final = r"(\d{4})(\d\d)(\d\d)"
_CONTROLS: Final = r"[\x00-\x1a\x1c-\x1f\x7f]"  # ESC is part of code extensions
_CONTROLS_OF_TEXTS: Final = r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]"
_TEXTS: Final = frozenset(("LT", "ST", "UT"))
_CHECKED: Final = frozenset(
    (b"DA", b"LO", b"LT", b"PN", b"SH", b"ST", b"UC", b"UT", *(vr.encode() for vr in _PATTERNS))
)


def of_values(keys: Iterable[Key], terms: tuple[str, ...], path: str = "") -> Iterator[str]:
    """Yield a message for each invalid value; ``terms``: their character set, ``path``: of the item with the keys."""
    for key in keys:
        for number, item in enumerate(key.items):
            yield from of_values(item, terms, f"{path}{_name(key.tag)}[{number}].")
        if key.vr in _CHECKED and key.value:
            fault = _fault(key.vr.decode(), key.value, terms)
            if fault and key.vr == b"DA" and key.tag != _BIRTH_DATE:
                fault = fault.replace("the value", quoted(key.value.decode("ascii", "replace").strip()), 1)
            if fault:
                yield f"{path}{_name(key.tag)}: {fault}"


def _fault(vr: str, value: bytes, terms: tuple[str, ...]) -> str:
    """Return what is wrong with an element's value, empty if nothing."""
    extended = vr.encode() in character_sets.EXTENDED
    if not extended or terms == ("",):
        if not value.isascii():
            return "the value is not ASCII" + (", and SpecificCharacterSet is missing" if extended else "")
        terms = ("",)
    try:
        text = character_sets.decode(value, terms)
    except ValueError as error:
        return str(error)
    if text is None:
        return f"the value is not valid in the character set {terms[0]}"
    text = text.rstrip("\0") if vr == "UI" else text
    parts = [text] if vr in _ONE_VALUE else text.split("\\")
    return next(filter(None, (_part_fault(vr, part) for part in parts)), "")


def of_text(vr: str, text: str) -> str:
    """Return what is wrong with a single value, empty if nothing."""
    return _part_fault(vr, text)


def _part_fault(vr: str, part: str) -> str:
    """Return what is wrong with one of the values of an element, empty if nothing."""
    if not part.strip():
        return ""
    if not part.isprintable() and re.compile(_CONTROLS_OF_TEXTS if vr in _TEXTS else _CONTROLS).search(part):
        return "the value has control characters"
    if vr == "PN":
        return _name_fault(part)
    longest = _LENGTHS.get(vr)
    if longest is not None and len(part.strip(" ")) > longest:
        return f"the value has {len(part.strip(' '))} characters; {longest} are allowed"
    return _pattern_fault(vr, part.strip(" "))


def _pattern_fault(vr: str, part: str) -> str:
    if vr == "DA":
        return "" if _is_date(part) else "the value is not a date, such as 20260131, or a range of dates"
    form, complaint = _PATTERNS.get(vr, ("", ""))
    if (
        not complaint
        or (vr in _PLAIN and part.isascii() and _PLAIN[vr](part))
        or re.compile(form, re.ASCII).fullmatch(part)
    ):
        return ""
    return f"the value {'is' if complaint.startswith('not ') else 'has'} {complaint}"


def _name_fault(name: str) -> str:
    """Check a person name: up to three groups of five components, 64 characters a group (PS3.5 6.2.1)."""
    groups = name.split("=")
    if len(groups) > 3:
        return "the name has more than three component groups (=)"
    if any(len(group) > 64 for group in groups):
        return "the name has more than 64 characters"
    if any(group.count("^") > 4 for group in groups):
        return "the name has more than five components (^)"
    return ""


def _is_date(part: str) -> bool:
    """Return True for a date of the calendar, or a range of dates."""
    match = re.compile(rf"{_DATE}|{_DATE}-|-{_DATE}|{_DATE}-{_DATE}", re.ASCII).fullmatch(part)
    if match is None:
        return False
    numbers = [int(number) for number in match.groups() if number is not None]
    dates = [numbers[i : i + 3] for i in range(0, len(numbers), 3)]
    return all(year and 1 <= month <= 12 and 1 <= day <= _days(year, month) for year, month, day in dates)


def _days(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 or year % 400 == 0) else 28
    return 30 if month in {4, 6, 9, 11} else 31


def check_uids(keys: Iterable[Key]) -> None:
    """Raise ``UsageError``, which names the key, if a UID has characters that no UID has, wild cards apart.

    DCMTK removes blanks from inside a UID, which then is another one, and sends all other characters.
    """
    for key in keys:
        for item in key.items:
            check_uids(item)
        if key.joined or (key.vr == b"UI" and key.value.translate(None, _OF_UIDS)):
            what = "blanks in it" if key.joined else "characters other than digits and dots"
            raise UsageError(
                f"{_name(key.tag)}: the UID has {what}: it would name something else", hint="check how it was copied"
            )


def of_levels(keys: Iterable[Key], model: str, *, relational: bool = False) -> Iterator[str]:
    """Yield a message for each key that is missing or wrong in a query model: PATIENT, STUDY or PSONLY."""
    values = {key.tag: key.value.rstrip(b" \0") for key in keys}
    levels = MODELS[model]
    if not values.get(LEVEL):
        yield f"QueryRetrieveLevel is missing; give {_level_for(values, model)}"
        return
    level = values[LEVEL].decode("latin-1")
    if level.strip().upper() in levels and level not in levels:
        yield f"QueryRetrieveLevel {level[:16]!r} is not written in capital letters; give {level.strip().upper()}"
        return
    if level not in levels:
        yield f"QueryRetrieveLevel {level[:16]!r} is not a level of this model; give one of {', '.join(levels)}"
        return
    depth = levels.index(level)
    for other in levels[:depth] if not relational else ():
        if not values.get(UNIQUE_KEYS[other]):
            remedy = "; add it, or use -S (Study Root)" if other == "PATIENT" and level in MODELS["STUDY"] else ""
            missing = f"{_name(UNIQUE_KEYS[other])} is missing; level {level} needs the unique keys of the levels above"
            yield missing + remedy
    if not values.get(UNIQUE_KEYS[level]):
        yield (
            f"{_name(UNIQUE_KEYS[level])} is missing; it identifies what to retrieve at level {level}: an archive may "
            "send more than is meant, even all that it has"
        )
    for other in levels[depth + 1 :]:
        if UNIQUE_KEYS[other] in values:
            yield f"{_name(UNIQUE_KEYS[other])} is a key of level {other}, below {level}"


def _level_for(values: Mapping[int, bytes], model: str) -> str:
    """Return the level of the lowest unique key with a value, or the levels of the model if there is none."""
    named = [level for level in MODELS[model] if values.get(UNIQUE_KEYS[level])]
    return named[-1] if named else f"one of {', '.join(MODELS[model])}"


def of_doubts(keys: Iterable[Key], model: str) -> Iterator[str]:
    """Yield a message for each key of a C-MOVE that an archive may take for more than it names."""
    given = {key.tag: key for key in keys if key.tag & 0xFFFF}
    values = {tag: key.value.strip(b" \0") for tag, key in given.items()}
    if values.get(LEVEL, b"").decode("latin-1") not in MODELS[model]:
        return
    if b"\\" in values.get(UNIQUE_KEYS["PATIENT"], b""):
        yield "PatientID has a backslash: an archive may take its parts for several patients, or match none"
    for level, tag in UNIQUE_KEYS.items():
        text = values.get(tag, b"")
        if b"*" in text or b"?" in text:
            entity = {"PATIENT": "patient", "STUDY": "study", "SERIES": "series", "IMAGE": "object"}[level]
            yield (
                f"{_name(tag)} has wild cards: an archive may send every {entity} that matches, or none; --resolve "
                "matches it by C-FIND first"
            )
    others = [_name(tag) for tag, key in given.items() if (values[tag] or key.items) and not _is_key(key)]
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        kind = "not a key of C-MOVE" if len(others) == 1 else "not keys of C-MOVE"
        yield (
            f"{', '.join(others[:3])}{more}: {kind}; an archive may ignore what it does not expect and send all that "
            "the unique keys match; --resolve matches every key by C-FIND first"
        )


def _is_key(key: Key) -> bool:
    """Return True for what a C-MOVE identifier has: unique keys, and what qualifies them."""
    return key.is_creator or key.tag in _QUALIFIERS or key.tag in UNIQUE_KEYS.values()


_QUALIFIERS: Final = frozenset((character_sets.SPECIFIC_CHARACTER_SET, LEVEL, 0x00080053, 0x00080054, 0x00080201))
"""Elements of an identifier that select nothing."""


def keys_only(keys: Iterable[Key], model: str, level: str) -> list[Key]:
    """Return only the level, the unique keys of the model down to ``level`` and the character set."""
    levels = MODELS[model]
    if level in levels:
        levels = levels[: levels.index(level) + 1]
    kept = {character_sets.SPECIFIC_CHARACTER_SET, LEVEL, *(UNIQUE_KEYS[level] for level in levels)}
    return [key for key in keys if key.tag in kept]


def _name(tag: int) -> str:
    return dictionary.keyword_of(tag) or tag_text(tag)
