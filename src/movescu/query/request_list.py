"""A list of requests: the rows of a CSV file, or lines of text, as identifiers (``--list``).

The first line names the columns by keyword, or by tag; commas, semicolons or tabs part them. A file without such a line
is a list of Study Instance UIDs, one a line. Empty lines and those that begin with ``#`` are passed over. What all rows
have in common is given as further keys; the level of a row is that of its lowest unique key, if none of them says it.
"""

from __future__ import annotations

import csv
import hashlib
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from movescu.errors import UsageError
from movescu.query.identifier import make_identifier
from movescu.query.keys import parse_tag
from movescu.query.levels import LEVEL, UNIQUE_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from movescu.query.identifier import Identifier

STANDARD_INPUT: Final = "-"

_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)+\Z")
_DELIMITERS: Final = "\t;,"


@dataclass(frozen=True, slots=True)
class Row:
    """A request of a list. ``number``: its place in the list, from 1; ``text``: what it asks for, for people."""

    number: int
    text: str
    identifier: Identifier

    def key(self, archive: str) -> str:
        """Give what tells the request from others, wherever it stands in a list; ``archive``: whom it is for."""
        return hashlib.sha256(archive.encode("utf-8", "surrogateescape") + b"\0" + self.identifier.data).hexdigest()


def read_rows(path: str, keys: Sequence[str] = (), *, model: str | None = None) -> list[Row]:
    """Read a list; ``keys``, as after ``-k``, hold for each row that does not have its own.

    Raises ``UsageError``, which names the line and what is wrong with it.
    """
    lines = [(number, line) for number, line in enumerate(_lines(path), start=1) if line.strip() and line[0] != "#"]
    if not lines:
        raise UsageError(f"the list {path!r} has no rows")
    delimiter = next((mark for mark in _DELIMITERS if mark in lines[0][1]), ",")
    columns, rest = _columns(_cells(lines[0][1], delimiter)), lines[1:]
    if columns is None:
        columns, rest = ["StudyInstanceUID"], lines
    return [
        _row(number, path, line, _cells(text, delimiter), columns, keys, model)
        for number, (line, text) in enumerate(rest, start=1)
    ]


def _lines(path: str) -> Iterable[str]:
    try:
        if path == STANDARD_INPUT:
            return sys.stdin.read().splitlines() if sys.stdin is not None else []
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:  # noqa: PTH123 - as elsewhere
            return file.read().splitlines()
    except OSError as error:
        raise UsageError(f"cannot read the list {path!r}: {error.strerror}") from error


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]


def _columns(cells: list[str]) -> list[str] | None:
    """Give the names of the columns; None if this is a row already."""
    if len(cells) == 1 and _UID.match(cells[0]):
        return None
    for cell in cells:
        try:
            parse_tag(cell)
        except UsageError as error:
            raise UsageError(
                f"the first line of the list names no column: {cell!r}: {error}",
                hint="name the columns by keyword, as in PatientID,StudyInstanceUID",
            ) from error
    return cells


def _row(
    number: int, path: str, line: int, cells: list[str], columns: list[str], keys: Sequence[str], model: str | None
) -> Row:
    if len(cells) != len(columns):
        raise UsageError(f"line {line} of {path!r} has {len(cells)} columns, where there are {len(columns)}")
    own = [f"{name}={value}" for name, value in zip(columns, cells, strict=True) if value]
    all_keys = [*own, *keys]
    try:
        if LEVEL not in set(_tags(all_keys)):
            all_keys.append(f"QueryRetrieveLevel={_level(all_keys)}")
        return Row(number, ", ".join(own), make_identifier(all_keys, model=model))
    except UsageError as error:
        raise UsageError(f"line {line} of {path!r}: {error}", hint=error.hint) from error


def _tags(keys: Iterable[str]) -> Iterator[int]:
    for key in keys:
        name, _, value = key.partition("=")
        if value:
            yield parse_tag(name)


def _level(keys: Iterable[str]) -> str:
    given = set(_tags(keys))
    levels = [name for name, tag in UNIQUE_KEYS.items() if tag in given]
    if not levels:
        raise UsageError("there is no unique key, and no level")
    return levels[-1]
