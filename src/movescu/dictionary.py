"""The data dictionary: tag <-> keyword <-> value representation <-> multiplicity (PS3.6 sections 6 to 9).

The data are text files made by ``tools/make_dictionary.py``; each is read when first asked for, so that a program
that meets only explicit VR reads none of them. Ambiguous VRs stay as PS3.6 writes them ("US or SS"): which one holds
in a given data set (PS3.5 annex A.1) is decided by ``movescu.dataset``. Reading DCMDICTPATH files is not done here.

=============== ==================================================================== ==========================
file            a line                                                               time to read
=============== ==================================================================== ==========================
tags.txt        VR, then all its tags as 8 hexadecimal digits each                   0.7 ms
keywords.txt    tag, VM, keyword                                                     3.5 ms
repeaters.txt   tag with x for any digit, VR, VM, keyword (PS3.5 7.6)                0.2 ms
private.txt     creator, then VR=6 digits each: group, last byte of the element      0.3 ms
=============== ==================================================================== ==========================
"""

from __future__ import annotations

import os
from array import array
from functools import cache
from sys import byteorder
from typing import Final

_DATA: Final = os.path.join(os.path.dirname(__file__), "data")  # noqa: PTH118, PTH120 - pathlib costs 10 ms at start


def _lines(name: str) -> list[str]:
    """Read the lines of a data file, without the line of provenance."""
    with open(os.path.join(_DATA, name), encoding="utf-8") as file:  # noqa: PTH118, PTH123 - as above
        return file.read().split("\n")[1:-1]


@cache
def tags() -> dict[int, str]:
    """Give the VR of every tag of PS3.6 that is a single number; do not change the dictionary."""
    result: dict[int, str] = {}
    for line in _lines("tags.txt"):
        vr, _, digits = line.partition("\t")
        numbers = array("I", bytes.fromhex(digits))
        if byteorder == "little":
            numbers.byteswap()
        result.update(dict.fromkeys(numbers, vr))
    return result


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
    if tag & 0x10000:
        return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else None
    row = _repeating(tag)
    return None if row is None else row[0]


@cache
def _keywords() -> tuple[dict[int, tuple[str, str]], dict[str, int]]:
    """Give tag -> (VM, keyword) and keyword -> tag."""
    rows = [line.split(" ") for line in _lines("keywords.txt")]
    by_tag = {int(tag, 16): (vm, keyword) for tag, vm, keyword in rows}
    return by_tag, {keyword: tag for tag, (_, keyword) in by_tag.items()}


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


def tag_of(keyword: str) -> int | None:
    """Give the tag of a keyword, in PS3.6's spelling, of an element that is a single number; None if unknown."""
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
    return creator in _private()


def private_vr(creator: str, tag: int) -> str | None:
    """Give the VR of a private element (PS3.5 7.8.1), any block, of a creator; None if this creator is not known."""
    if creator not in _private():
        return None
    return _private_of(creator).get(tag >> 8 & 0xFFFF00 | tag & 0xFF)
