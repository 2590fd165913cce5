"""The data dictionary: tag <-> keyword <-> value representation <-> multiplicity (PS3.6 sections 6 to 9, annex A).

The data are text files made by ``tools/make_dictionary.py``. Each is read on first use, so that a program which meets
only explicit VR reads none of them. Ambiguous VRs stay as PS3.6 writes them ("US or SS"); ``vr.Vocabulary`` decides
which one applies in a given data set (PS3.5 annex A.1). ``use`` replaces the whole dictionary by one from elsewhere,
such as the files that ``files`` reads.

=============== ====================================================================
file            a line
=============== ====================================================================
tags.txt        VR, then all its tags as 8 hexadecimal digits each
keywords.txt    tag, VM, keyword
repeaters.txt   tag with x for any digit, VR, VM, keyword (PS3.5 7.6)
private.txt     creator, then VR=6 digits each: group, last byte of the element
uids.txt        UID, keyword, DCMTK's name if it differs (PS3.6 annex A)
=============== ====================================================================
"""

from __future__ import annotations

import os
from array import array
from functools import cache
from sys import byteorder

from movescu._runtime import data_file
from movescu._runtime.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, TypeVar

    _T = TypeVar("_T")


_DATA: Final = os.path.join(os.path.dirname(__file__), "data")


def _lines(name: str) -> list[str]:
    """Read the lines of a data file, except the first, which states its provenance."""
    return _text(name).decode().split("\n")[1:-1]


class Range(Record):
    """The tags of a row that stands for many.

    The parity of group and element is 0 for even numbers only, 1 for odd numbers only, None for both.
    """

    groups: tuple[int, int]
    group_parity: int | None
    elements: tuple[int, int]
    element_parity: int | None
    creator: str | None = None

    def contains(self, group: int, element: int) -> bool:
        """Return True if a tag is in the range."""
        return (
            self.groups[0] <= group <= self.groups[1]
            and self.elements[0] <= element <= self.elements[1]
            and self.group_parity in (None, group & 1)
            and self.element_parity in (None, element & 1)
        )

    def is_part_of(self, other: Range) -> bool:
        """Return True if every tag of this range is in the other."""
        return (
            other.groups[0] <= self.groups[0]
            and self.groups[1] <= other.groups[1]
            and other.elements[0] <= self.elements[0]
            and self.elements[1] <= other.elements[1]
            and other.group_parity in (None, self.group_parity)
            and other.element_parity in (None, self.element_parity)
            and self.creator == other.creator
        )


class Rows:
    """A dictionary that replaces PS3.6. A row is VR, VM and keyword."""

    def __init__(self) -> None:
        self.single: dict[int, tuple[str, str, str]] = {}
        """Tags of even groups."""
        self.odd: dict[int, tuple[str, str, str]] = {}
        """Tags of odd groups, without a creator."""
        self.private: dict[str, dict[int, str]] = {}
        """Creator -> tag -> VR; an element below 0x1000 stands for the element of any block (PS3.5 7.8.1)."""
        self.ranges: list[tuple[Range, tuple[str, str, str]]] = []
        """The first range that contains a tag applies."""

    def find(self, tag: int, creator: str | None = None) -> tuple[str, str, str] | None:
        """Return the row of the first range that contains a tag, None if there is none."""
        group, element = tag >> 16, tag & 0xFFFF
        for places, row in self.ranges:
            if places.creator == creator and (
                places.contains(group, element) or (creator is not None and places.contains(group, element & 0xFF))
            ):
                return row
        return None

    def keyword_tags(self) -> dict[str, int]:
        """Return keyword -> tag; the first tag of a range; even groups take precedence over odd ones."""
        result = {row[2]: tag for tag, row in self.odd.items()}
        for places, row in reversed(self.ranges):
            if places.creator is None:
                result[row[2]] = places.groups[0] << 16 | places.elements[0]
        return result | {row[2]: tag for tag, row in reversed(self.single.items())}


_rows: Rows | None = None
_derived: Final[list[Callable[[], None]]] = []


def derived(make: Callable[[], _T]) -> Callable[[], _T]:
    """Cache a function that derives a value from the dictionary until ``use`` replaces the dictionary."""
    cached = cache(make)
    _derived.append(cached.cache_clear)
    return cached


def use(rows: Rows | None) -> None:
    """Replace the dictionary, or restore PS3.6 with None. Do not call it while data sets are read."""
    global _rows  # noqa: PLW0603 - one dictionary for the whole program, as in DCMTK
    _rows = rows
    for clear in _derived:
        clear()


@derived
def tags() -> dict[int, str]:
    """Return the VR of every single tag of an even group; the caller must not modify the dictionary."""
    if _rows is not None:
        return {tag: row[0] for tag, row in _rows.single.items()}
    result: dict[int, str] = {}
    for line in _lines("tags.txt"):
        vr, _, digits = line.partition("\t")
        numbers = array("I", bytes.fromhex(digits))
        if byteorder == "little":
            numbers.byteswap()
        result.update(dict.fromkeys(numbers, vr))
    return result


def search_vr(tag: int) -> str | None:
    """Return the VR of a tag of ``tags()`` by searching the text: faster than making the table for one tag."""
    if _rows is not None:
        return tags().get(tag)
    text, digits = _text("tags.txt"), b"%08x" % tag
    place = text.find(digits)
    while place >= 0:
        begin = text.rfind(b"\t", 0, place) + 1
        if (place - begin) % 8 == 0:
            return text[text.rfind(b"\n", 0, begin) + 1 : begin - 1].decode()
        place = text.find(digits, place + 1)
    return None


@cache
def _text(name: str) -> bytes:
    return data_file.read(os.path.join(_DATA, name))


@cache
def _repeaters() -> tuple[tuple[int, dict[int, tuple[str, str, str]]], ...]:
    """Return (mask, masked tag -> VR, VM, keyword) of the repeating tags."""
    result: dict[int, dict[int, tuple[str, str, str]]] = {}
    for line in _lines("repeaters.txt"):
        pattern, vr, vm, keyword = line.split("\t")
        mask = int("".join("0" if digit == "x" else "f" for digit in pattern), 16)
        result.setdefault(mask, {})[int(pattern.replace("x", "0"), 16)] = (vr, vm, keyword)
    return tuple(result.items())


def _repeating(tag: int) -> tuple[str, str, str] | None:
    """Return the row of a repeating group or element; odd groups are private and never repeat (PS3.5 7.6)."""
    if _rows is not None:
        return _rows.odd.get(tag) or _rows.find(tag)
    if tag >> 16 & 1:
        return None
    for mask, rows in _repeaters():
        row = rows.get(tag & mask)
        if row is not None:
            return row
    return None


def vr_of(tag: int) -> str | None:
    """Return the VR of a tag, which may be ambiguous ("US or SS"); None for an unknown or private element.

    Group lengths are UL in every group (PS3.5 7.2) and private creators LO (PS3.5 7.8.1).
    """
    vr = tags().get(tag)
    if vr is not None:
        return vr
    if not tag & 0xFFFF:
        return "UL"
    if tag & 0x10000 and 0x10 <= tag & 0xFFFF <= 0xFF:
        return "LO"
    row = _repeating(tag)
    return None if row is None else row[0]


@derived
def _keywords() -> tuple[dict[int, tuple[str, str]], dict[str, int]]:
    """Return tag -> (VM, keyword) and keyword -> tag, the first tag if it repeats."""
    if _rows is not None:
        return {tag: row[1:] for tag, row in _rows.single.items()}, _rows.keyword_tags()
    repeating = {row[2]: tag for mask, table in _repeaters() for tag, row in table.items()}
    rows = [line.split(" ") for line in _lines("keywords.txt")]
    by_tag = {int(tag, 16): (vm, keyword) for tag, vm, keyword in rows}
    return by_tag, repeating | {keyword: tag for tag, (_, keyword) in by_tag.items()}


def keyword_of(tag: int) -> str | None:
    """Return the keyword of a tag, repeating ones included; None if it has none."""
    row = _keywords()[0].get(tag)
    if row is not None:
        return row[1]
    repeating = _repeating(tag)
    return None if repeating is None else repeating[2]


def vm_of(tag: int) -> str | None:
    """Return the value multiplicity of a tag as PS3.6 writes it ("1", "2-2n"); None if unknown."""
    row = _keywords()[0].get(tag)
    if row is not None:
        return row[0]
    repeating = _repeating(tag)
    return None if repeating is None else repeating[1]


def keywords() -> list[str]:
    """Return the keywords an identifier can have: all but those of command sets and file meta information."""
    return [keyword for keyword, tag in _keywords()[1].items() if tag >= 0x00080000]


def tag_of(keyword: str) -> int | None:
    """Return the tag of a keyword (case-sensitive), the first one if it repeats; None if unknown.

    Nearly all keywords are found by searching the text, which saves making a table of all of them.
    """
    if _rows is None and keyword.isalnum():
        text = _text("keywords.txt")
        place = text.find(f" {keyword}\n".encode())
        if place >= 0:
            begin = text.rfind(b"\n", 0, place) + 1
            return int(text[begin : begin + 8], 16)
    return _keywords()[1].get(keyword)


@cache
def _private() -> dict[str, str]:
    """Return creator -> the rest of its line, which is parsed only for the creators met in a data set."""
    return {creator: rest for creator, _, rest in (line.partition("\t") for line in _lines("private.txt"))}


@cache
def _private_of(creator: str) -> dict[int, str]:
    """Return 24-bit number of group and last byte of the element -> VR."""
    rows = [field.partition("=") for field in _private()[creator].split("\t")]
    return {int(places[i : i + 6], 16): vr for vr, _, places in rows for i in range(0, len(places), 6)}


def knows_creator(creator: str) -> bool:
    """Return True if the dictionary has elements of a private creator."""
    if _rows is not None:
        return bool(_rows.odd) or creator in _rows.private
    return creator in _private()


def private_vr(creator: str, tag: int) -> str | None:
    """Return the VR of a creator's private element in any block (PS3.5 7.8.1); None if unknown."""
    if _rows is not None:
        return _loaded_private_vr(_rows, creator, tag)
    if creator not in _private():
        return None
    return _private_of(creator).get(tag >> 8 & 0xFFFF00 | tag & 0xFF)


def _loaded_private_vr(rows: Rows, creator: str, tag: int) -> str | None:
    of_creator = rows.private.get(creator)
    if of_creator is None or tag >> 16 in (1, 3, 5, 7, 0xFFFF):  # groups that PS3.5 7.8 forbids
        return None
    vr = of_creator.get(tag) or of_creator.get(tag & 0xFFFF00FF)
    if vr is not None:
        return vr
    row = rows.find(tag, creator)
    return None if row is None else row[0]


@cache
def _uids() -> dict[str, str]:
    """Return keyword or DCMTK's name -> UID."""
    rows = [line.split(" ") for line in _lines("uids.txt")]
    return {name: uid for uid, *names in rows for name in names}


def uid_of(name: str) -> str | None:
    """Return the UID of a keyword of PS3.6 annex A or of DCMTK's name for it; None if unknown."""
    return _uids().get(name)
