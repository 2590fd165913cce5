"""The data dictionary: tag <-> keyword <-> value representation <-> multiplicity (PS3.6 sections 6 to 9, annex A).

The data are text files made by ``tools/make_dictionary.py``; each is read when first asked for, so that a program
that meets only explicit VR reads none of them. Ambiguous VRs stay as PS3.6 writes them ("US or SS"): which one holds
in a given data set (PS3.5 annex A.1) is decided by ``movescu.dataset``. Instead of these, ``use`` puts a dictionary
from elsewhere in force, whole; ``files`` reads such.

=============== ==================================================================== ==========================
file            a line                                                               time to read
=============== ==================================================================== ==========================
tags.txt        VR, then all its tags as 8 hexadecimal digits each                   0.7 ms
keywords.txt    tag, VM, keyword                                                     3.5 ms
repeaters.txt   tag with x for any digit, VR, VM, keyword (PS3.5 7.6)                0.2 ms
private.txt     creator, then VR=6 digits each: group, last byte of the element      0.3 ms
uids.txt        UID, keyword, DCMTK's name if it is another (PS3.6 annex A)          0.3 ms
=============== ==================================================================== ==========================
"""

from __future__ import annotations

import os
from array import array
from functools import cache
from sys import byteorder

from movescu._runtime.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, TypeVar

    _T = TypeVar("_T")


_DATA: Final = os.path.join(os.path.dirname(__file__), "data")


def _lines(name: str) -> list[str]:
    """Read the lines of a data file, without the line of provenance."""
    with open(os.path.join(_DATA, name), encoding="utf-8") as file:
        return file.read().split("\n")[1:-1]


class Range(Record):
    """A row for many tags. ``parity`` of group and element: 0 even numbers only, 1 odd ones only, None both."""

    groups: tuple[int, int]
    group_parity: int | None
    elements: tuple[int, int]
    element_parity: int | None
    creator: str | None = None

    def contains(self, group: int, element: int) -> bool:
        """Tell whether a tag is one of them."""
        return (
            self.groups[0] <= group <= self.groups[1]
            and self.elements[0] <= element <= self.elements[1]
            and self.group_parity in (None, group & 1)
            and self.element_parity in (None, element & 1)
        )

    def is_part_of(self, other: Range) -> bool:
        """Tell whether every tag of this is one of the other's."""
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
    """A dictionary from elsewhere. A row is VR, VM and keyword."""

    def __init__(self) -> None:
        self.single: dict[int, tuple[str, str, str]] = {}
        """Tags of even groups."""
        self.odd: dict[int, tuple[str, str, str]] = {}
        """Tags of odd groups, without a creator."""
        self.private: dict[str, dict[int, str]] = {}
        """Creator -> tag -> VR; elements below 0x1000 stand for those of any block (PS3.5 7.8.1)."""
        self.ranges: list[tuple[Range, tuple[str, str, str]]] = []
        """The first that contains a tag holds."""

    def find(self, tag: int, creator: str | None = None) -> tuple[str, str, str] | None:
        """Find a tag among the ranges."""
        group, element = tag >> 16, tag & 0xFFFF
        for places, row in self.ranges:
            if places.creator == creator and (
                places.contains(group, element) or (creator is not None and places.contains(group, element & 0xFF))
            ):
                return row
        return None

    def keyword_tags(self) -> dict[str, int]:
        """Give keyword -> tag, of ranges the first tag; the standard's rows before those of odd groups."""
        result = {row[2]: tag for tag, row in self.odd.items()}
        for places, row in reversed(self.ranges):
            if places.creator is None:
                result[row[2]] = places.groups[0] << 16 | places.elements[0]
        return result | {row[2]: tag for tag, row in reversed(self.single.items())}


_rows: Rows | None = None
_derived: Final[list[Callable[[], None]]] = []


def derived(make: Callable[[], _T]) -> Callable[[], _T]:
    """Decorate a function that makes something of the dictionary: it is called once for each that comes in force."""
    cached = cache(make)
    _derived.append(cached.cache_clear)
    return cached


def use(rows: Rows | None) -> None:
    """Put another dictionary in force instead of PS3.6, or with None PS3.6 again; not while data sets are read."""
    global _rows  # noqa: PLW0603 - one dictionary holds for the whole program, as with DCMTK
    _rows = rows
    for clear in _derived:
        clear()


@derived
def tags() -> dict[int, str]:
    """Give the VR of every tag of an even group that is a single number; do not change the dictionary."""
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
    """Give the VR of a single tag of ``tags()`` from the text as it stands: in 0.05 ms, where the table takes 2."""
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
    with open(os.path.join(_DATA, name), "rb") as file:
        return file.read()


@cache
def _repeaters() -> tuple[tuple[int, dict[int, tuple[str, str, str]]], ...]:
    """Give (mask, value under the mask -> VR, VM, keyword) for the tags that stand for many."""
    result: dict[int, dict[int, tuple[str, str, str]]] = {}
    for line in _lines("repeaters.txt"):
        pattern, vr, vm, keyword = line.split("\t")
        mask = int("".join("0" if digit == "x" else "f" for digit in pattern), 16)
        result.setdefault(mask, {})[int(pattern.replace("x", "0"), 16)] = (vr, vm, keyword)
    return tuple(result.items())


def _repeating(tag: int) -> tuple[str, str, str] | None:
    """Find a tag of a repeating group or element; odd groups are private and never repeat (PS3.5 7.6)."""
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
    """Give the VR of a tag, "US or SS" and the like included; None where only a dictionary of its maker could tell.

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
    """Give tag -> (VM, keyword) and keyword -> tag, of repeating ones the first tag."""
    if _rows is not None:
        return {tag: row[1:] for tag, row in _rows.single.items()}, _rows.keyword_tags()
    repeating = {row[2]: tag for mask, table in _repeaters() for tag, row in table.items()}
    rows = [line.split(" ") for line in _lines("keywords.txt")]
    by_tag = {int(tag, 16): (vm, keyword) for tag, vm, keyword in rows}
    return by_tag, repeating | {keyword: tag for tag, (_, keyword) in by_tag.items()}


def keyword_of(tag: int) -> str | None:
    """Give the keyword of a tag of PS3.6, repeating ones included; None if it has none."""
    row = _keywords()[0].get(tag)
    if row is not None:
        return row[1]
    repeating = _repeating(tag)
    return None if repeating is None else repeating[2]


def vm_of(tag: int) -> str | None:
    """Give the value multiplicity of a tag as PS3.6 writes it ("1", "2-2n"); None if it is not in PS3.6."""
    row = _keywords()[0].get(tag)
    if row is not None:
        return row[0]
    repeating = _repeating(tag)
    return None if repeating is None else repeating[1]


def keywords() -> list[str]:
    """Give the keywords that an identifier can have: those of elements that are neither commands nor file meta."""
    return [keyword for keyword, tag in _keywords()[1].items() if tag >= 0x00080000]


def tag_of(keyword: str) -> int | None:
    """Give the tag of a keyword, in the dictionary's spelling, the first one if it repeats; None if unknown.

    Nearly all are found in the text as it stands, in 0.1 ms, without a table of all of them.
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
    """Give creator -> the rest of its line, which is parsed only for creators that are met."""
    return {creator: rest for creator, _, rest in (line.partition("\t") for line in _lines("private.txt"))}


@cache
def _private_of(creator: str) -> dict[int, str]:
    """Give group and last byte of the element, as one number of 24 bits, -> VR."""
    rows = [field.partition("=") for field in _private()[creator].split("\t")]
    return {int(places[i : i + 6], 16): vr for vr, _, places in rows for i in range(0, len(places), 6)}


def knows_creator(creator: str) -> bool:
    """Tell whether there is a dictionary for a private creator."""
    if _rows is not None:
        return bool(_rows.odd) or creator in _rows.private
    return creator in _private()


def private_vr(creator: str, tag: int) -> str | None:
    """Give the VR of a private element (PS3.5 7.8.1), any block, of a creator; None if this creator is not known."""
    if _rows is not None:
        return _loaded_private_vr(_rows, creator, tag)
    if creator not in _private():
        return None
    return _private_of(creator).get(tag >> 8 & 0xFFFF00 | tag & 0xFF)


def _loaded_private_vr(rows: Rows, creator: str, tag: int) -> str | None:
    of_creator = rows.private.get(creator)
    if of_creator is None or tag >> 16 in (1, 3, 5, 7, 0xFFFF):  # groups that nobody may use (PS3.5 7.8)
        return None
    vr = of_creator.get(tag) or of_creator.get(tag & 0xFFFF00FF)
    if vr is not None:
        return vr
    row = rows.find(tag, creator)
    return None if row is None else row[0]


@cache
def _uids() -> dict[str, str]:
    """Give keyword, or DCMTK's name, -> UID."""
    rows = [line.split(" ") for line in _lines("uids.txt")]
    return {name: uid for uid, *names in rows for name in names}


def uid_of(name: str) -> str | None:
    """Give the UID of a keyword of PS3.6 annex A, or of the name that DCMTK prints for it; None if unknown."""
    return _uids().get(name)
