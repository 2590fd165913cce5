"""Data dictionary files named by the environment variable DCMDICTPATH, in the syntax of DCMTK's ``dicom.dic``.

A line has fields separated by tabs: tag, VR, keyword and, optionally, VM and a source, which is ignored. Blank lines
and lines that begin with ``#`` are skipped. A tag has one of these forms:

============================ ===========================================================================
``(gggg,eeee)``              one element
``(gggg-gggg,eeee)``         the even groups of a range; with ``-o-`` the odd ones, with ``-u-`` all
``(gggg,eeee-eeee)``         the same for element numbers
``(gggg,"CREATOR",ee)``      a private element in any block its creator reserved (PS3.5 7.8.1)
``(gggg,"CREATOR",eeee)``    a private element with exactly this number, 1000 or above
============================ ===========================================================================

VRs are those of PS3.5 6.2 and DCMTK's own: ``xs`` (US or SS), ``lt`` (US, SS or OW), ``ox`` (OB or OW), ``px`` (OW),
``up`` (UL), ``na`` (none). Later lines override earlier ones, in the same file or another. A line that cannot be read
is logged and skipped.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu.dictionary import tags as dictionary
from movescu.dictionary.tags import Range, Rows
from movescu.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

VARIABLE: Final = "DCMDICTPATH"

_log: Final = logger_of("movescu.dictionary")

_STANDARD: Final = (
    "AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV"
)
_VRS: Final = {
    **{vr: vr for vr in _STANDARD.split()},
    "xs": "US or SS",
    "lt": "US or SS or OW",
    "ox": "OB or OW",
    "px": "OW",
    "up": "UL",
    "na": "",
}
_PART: Final = r"([0-9a-fA-F]{1,4})(?:\s*-\s*(?:([oOeEuU])\s*-\s*)?([0-9a-fA-F]{1,4}))?\s*"
_TAG: Final = re.compile(rf'\(\s*{_PART},\s*(?:"([^"]*)"\s*,\s*)?{_PART}\)\Z')
_VM: Final = re.compile(r"[0-9]*(-?[0-9]*[nN]?)?\Z")
_PARITY: Final = {"e": 0, "o": 1, "u": None, None: 0}


class _LineError(Exception):
    """A line that is not a dictionary entry."""


def use_dictionaries(path: str | None) -> None:
    """Replace the dictionary of PS3.6 by the files of a path, separated as in PATH; keep it if the path is empty.

    Log files and lines that cannot be read as errors. Raise ``UsageError`` if no entry could be read.
    """
    if not path:
        return
    rows = Rows()
    for name in filter(None, path.split(os.pathsep)):
        _read(name, rows)
    if not (rows.single or rows.odd or rows.private or rows.ranges):
        raise UsageError(
            f"no data dictionary loaded, check environment variable: {VARIABLE}",
            hint=f"unset {VARIABLE} to use the built-in dictionary",
        )
    dictionary.use(rows)


def _read(name: str, rows: Rows) -> None:
    try:
        with open(name, encoding="latin-1") as file:
            add_lines(file, name, rows)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        _log.error("cannot read dictionary %s: %s", name, reason)


def add_lines(lines: Iterable[str], name: str, rows: Rows) -> None:
    """Add the lines of a file to a dictionary; log invalid ones as errors."""
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            _add(line.rstrip(), rows)
        except _LineError as error:
            _log.error("dictionary %s, line %d: %s", name, number, error)


def _add(line: str, rows: Rows) -> None:
    fields = line.split("\t")
    if not 3 <= len(fields) <= 5:
        raise _LineError(f"{'too few' if len(fields) < 3 else 'too many'} fields: {len(fields)}")
    keyword = "".join(fields[2].split())
    vm = "".join(fields[3].split()) if len(fields) > 3 else "1"
    if not vm or not _VM.match(vm):
        raise _LineError(f"bad VM field: {fields[3]}")
    places = _places(fields[0].strip())
    vr = _VRS.get("".join(fields[1].split()))
    if vr is None:
        raise _LineError(f"bad VR field: {fields[1]}")
    if vr:
        _put(rows, places, (vr, vm, keyword))


def _places(text: str) -> Range:
    """Parse a tag field."""
    match = _TAG.match(text)
    if match is None:
        raise _LineError(f"bad tag field: {text}")
    groups, group_parity = _span(*match.group(1, 2, 3))
    elements, element_parity = _span(*match.group(5, 6, 7))
    return Range(groups, group_parity, elements, element_parity, match[4] or None)


def _span(low: str, letter: str | None, high: str | None) -> tuple[tuple[int, int], int | None]:
    first = int(low, 16)
    if high is None:
        return (first, first), None
    return (first, int(high, 16)), _PARITY[letter and letter.lower()]


def _put(rows: Rows, places: Range, row: tuple[str, str, str]) -> None:
    if places.creator is not None:
        of_creator = rows.private.setdefault(places.creator, {})
    if places.groups[0] != places.groups[1] or places.elements[0] != places.elements[1]:
        _put_range(rows, places, row)
        return
    tag = places.groups[0] << 16 | places.elements[0]
    if places.creator is not None:
        of_creator[tag] = row[0]
    else:
        (rows.odd if tag & 0x10000 else rows.single)[tag] = row


def _put_range(rows: Rows, places: Range, row: tuple[str, str, str]) -> None:
    """Insert a range before the first that contains it, so that the narrower one is found; replace an equal one."""
    for index, (other, _) in enumerate(rows.ranges):
        if other == places:
            rows.ranges[index] = (places, row)
            return
        if places.is_part_of(other):
            rows.ranges.insert(index, (places, row))
            return
    rows.ranges.append((places, row))
