"""Attribute matching: whether a C-FIND response matches a key (PS3.4 C.2.2.2).

An archive may match by fewer keys than it was sent, or more loosely than requested. So each response is compared here
with every key of the request. Patient ID and UIDs are compared literally, for they name one entity and no set of
them: some archives take a wild card in a Patient ID for one.

Steps of the standard, as ``matches`` takes them: universal matching (C.2.2.2.3), list of UID matching (C.2.2.2.2),
range matching (C.2.2.2.5), wild card matching (C.2.2.2.4), single value matching (C.2.2.2.1), sequence matching
(C.2.2.2.6).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from movescu.dataset.character_sets import EXTENDED, decode
from movescu.dataset.values import elements, items

if TYPE_CHECKING:
    from collections.abc import Callable

    from movescu.query.key import Key

PATIENT_ID: Final = 0x00100020

_RANGES: Final = frozenset((b"DA", b"DT", b"TM"))
_NUMBERS: Final = frozenset((b"DS", b"IS"))
_WILD: Final = frozenset((b"AE", b"CS", b"LO", b"LT", b"PN", b"SH", b"ST", b"UC", b"UR", b"UT"))
_TEXT: Final = _RANGES | _NUMBERS | _WILD | {b"UI", b"AS"}
_ONE_VALUE: Final = frozenset((b"LT", b"ST", b"UR", b"UT"))


def is_universal(key: Key) -> bool:
    """Return True if a key matches everything: it is empty, or made of wild cards alone (PS3.4 C.2.2.2.3)."""
    if key.vr == b"SQ":
        return not any(nested.value or nested.items for item in key.items for nested in item)
    text = key.value.strip(b" \0")
    return not text.strip(b"*\\ ") or (key.vr in _RANGES and text == b"-")


def matches(key: Key, value: bytes, terms: tuple[str, ...] = ("",), own: tuple[str, ...] = ("",)) -> bool:
    """Return True if an element's value matches a key; ``terms``: the character set of the value, ``own``: of the key.

    An element with several values matches if one of them does, as Modalities in Study has it (PS3.4 C.6.2.1.3).
    """
    if is_universal(key):
        return True
    if key.vr == b"SQ":
        return _sequence_matches(key, value, terms, own)
    if key.vr not in _TEXT:
        return value == key.value
    test = _test_of(key, own)
    vr = b"LT" if key.tag == PATIENT_ID else key.vr  # a backslash in a Patient ID separates no values
    return any(test(part) for part in _parts(vr, value, terms))


def is_empty(value: bytes) -> bool:
    """Return True if a value is empty, as an archive returns a key that it does not support."""
    return not value.strip(b" \0")


def _sequence_matches(key: Key, value: bytes, terms: tuple[str, ...], own: tuple[str, ...]) -> bool:
    """Return True if an item matches all keys of the item in the key (PS3.4 C.2.2.2.6)."""
    wanted = [nested for item in key.items for nested in item]
    return any(
        all(matches(one, found.get(one.tag, b""), terms, own) for one in wanted)
        for found in ({tag: content for tag, _, content in elements(item)} for item in items(value))
    )


def _parts(vr: bytes, value: bytes, terms: tuple[str, ...]) -> list[str]:
    text = None if vr not in EXTENDED else decode(value, terms)
    if text is None:
        text = value.decode("latin-1")
    parts = [text] if vr in _ONE_VALUE else text.split("\\")
    return [part.strip(" \0") for part in parts]


@lru_cache(maxsize=256)
def _test_of(key: Key, own: tuple[str, ...]) -> Callable[[str], bool]:
    """Return the test that a single value has to pass."""
    if key.tag == PATIENT_ID:  # a backslash in it is a mistake, not a list separator
        literal = _parts(b"LT", key.value, own)[0]
        return lambda text: text == literal
    tests = [_single(key.vr, part) for part in _parts(key.vr, key.value, own)]
    return lambda text: any(test(text) for test in tests)


def _single(vr: bytes, wanted: str) -> Callable[[str], bool]:
    """Return the test for one value of a key: a range, a number, a pattern or a literal."""
    if vr in _RANGES:
        return _moments(wanted)
    if vr in _NUMBERS:
        number = _number(wanted)
        return lambda text: text == wanted or (number is not None and _number(text) == number)
    folded = _folded(vr, wanted)
    if vr in _WILD and ("*" in wanted or "?" in wanted):
        pattern = re.compile(_expression(folded), re.DOTALL)
        return lambda text: any(pattern.fullmatch(one) for one in _representations(vr, text))
    return lambda text: folded in _representations(vr, text)


def _representations(vr: bytes, text: str) -> tuple[str, ...]:
    """Return the texts that a key may match: of a person name, all component groups and each of them (PS3.5 6.2.1)."""
    if vr != b"PN":
        return (text,)
    return (_folded(vr, text), *(_folded(vr, group) for group in text.split("=")))


def _moments(wanted: str) -> Callable[[str], bool]:
    """Return the test for a date, a time, or a range: padded to equal length, they can be compared as text."""
    first, hyphen, last = _WITHOUT_OFFSET.sub(r"\1", wanted).partition("-")
    if not hyphen:
        moment = _digits(first)
        return lambda text: _digits(text) == moment
    low, high = _digits(first), _digits(last, "9") if last.strip() else "~"
    return lambda text: bool(text) and low <= _digits(text) <= high


_WITHOUT_OFFSET: Final = re.compile(r"(\d{4,14}(?:\.\d{1,6})?)[+-](?:0\d|1[0-4])[0-5]\d\b")
"""A date and time with its offset from UTC, which is not compared (PS3.5 6.2, DT)."""


def _digits(text: str, padding: str = "0") -> str:
    """Return the digits of a date or time, padded to the longest; ACR-NEMA put separators between them."""
    text = _WITHOUT_OFFSET.sub(r"\1", text)
    return "".join(filter(str.isdigit, text)).ljust(20, padding)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def number_of(text: str) -> int | None:
    """Return a number of entities from an Integer String, perhaps with a sign (PS3.5 6.2), None if it is none."""
    digits = text.strip().removeprefix("+")
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < _LONGEST_NUMBER else None


_LONGEST_NUMBER: Final = 20  # digits; an Integer String has 12 characters


def _folded(vr: bytes, text: str) -> str:
    """Return the text to compare; PS3.4 C.2.2.2.1 leaves the case of person names to the archive."""
    return text.rstrip("^=").casefold() if vr == b"PN" else text


def _expression(wanted: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in wanted)
