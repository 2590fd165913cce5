"""Lists of requests (``--list``): the rows of a CSV file, or lines of text, as identifiers.

The first line names the columns by keyword or tag, separated by commas, semicolons or tabs. Without such a line, the
file is a list of Study Instance UIDs, one per line. Empty rows, rows that begin with ``#`` and the line ``sep=;`` that
Excel writes are skipped. Keys common to all rows are given separately.

Unless a column states it, the level of the rows is the lowest to which a column belongs (``scope``): a row with an
accession number and a patient ID requests a study. A blank cell that leaves a row without its unique key is an error,
because the row would request more than the others.
"""

from __future__ import annotations

import csv
import hashlib
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from movescu.dictionary.uids import EXPLICIT_LITTLE
from movescu.errors import UsageError
from movescu.query.identifier import make_identifier
from movescu.query.key_text import parse_tag
from movescu.query.levels import LEVEL, MODELS, UNIQUE_KEYS
from movescu.query.scope import LEVELS, Scope, level_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from movescu.query.identifier import Identifier

STANDARD_INPUT: Final = "-"

_SEP: Final = re.compile(r"(?i)sep=(.)\s*\Z")
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)+\Z")
_DELIMITERS: Final = "\t;,"


@dataclass(frozen=True, slots=True)
class Row:
    """A request of a list. ``number`` is its position, from 1; ``text`` its keys, for messages.

    ``columns``: the cells that are not keys, by heading, for the report. ``keys``: its own keys, as after ``-k``.
    """

    number: int
    text: str
    identifier: Identifier
    columns: tuple[tuple[str, str], ...] = ()
    keys: tuple[str, ...] = ()

    def key(self, archive: str) -> str:
        """Return a digest that identifies the request to ``archive``, independent of its position in a list."""
        request = self.identifier.encode(EXPLICIT_LITTLE)
        return hashlib.sha256(archive.encode("utf-8", "surrogateescape") + b"\0" + request).hexdigest()


def read_rows(path: str, keys: Sequence[str] = (), *, model: str | None = None) -> list[Row]:
    """Read a list; ``keys``, as after ``-k``, are added to each row that does not have them.

    Raise ``UsageError``, which names the line, if one is invalid.
    """
    lines = [(number, line) for number, line in enumerate(_lines(path), start=1) if line.strip() and line[0] != "#"]
    delimiter = ""
    if lines and (match := _SEP.match(lines[0][1])):
        delimiter, lines = match[1], lines[1:]
    if not lines:
        raise UsageError(f"the list {path!r} has no rows")
    delimiter = delimiter or next((mark for mark in _DELIMITERS if mark in lines[0][1]), ",")
    columns, rest = _columns(_cells(lines[0][1], delimiter)), lines[1:]
    if columns is None:
        columns, rest = ["StudyInstanceUID"], lines
    level = _level([*columns, *(key for key in keys if key.partition("=")[2])], MODELS[model or "PATIENT"])
    full = ((line, cells) for line, text in rest if any(cells := _cells(text, delimiter)))
    rows = []
    for number, (line, cells) in enumerate(full, start=1):
        try:
            rows.append(_row(number, cells, columns, keys, level, model))
        except UsageError as error:
            raise UsageError(f"line {line} of {path!r}: {error}", hint=error.hint) from error
    if not rows:
        raise UsageError(f"the list {path!r} has no rows")
    return rows


def _lines(path: str) -> Iterable[str]:
    try:
        if path == STANDARD_INPUT:
            return sys.stdin.read().splitlines() if sys.stdin is not None else []
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            return file.read().splitlines()
    except OSError as error:
        raise UsageError(f"cannot read the list {path!r}: {error.strerror}") from error


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]


def _columns(cells: list[str]) -> list[str] | None:
    """Return the names of the columns; None if this is a row of UIDs. Raise ``UsageError`` if a name is unknown."""
    if len(cells) == 1 and _UID.match(cells[0]):
        return None
    tags: set[int] = set()
    for cell in cells:
        try:
            tag = parse_tag(cell)
        except UsageError as error:
            raise UsageError(
                f"the first line of the list does not name columns: {cell!r}: {error}",
                hint="name the columns by keyword, as in PatientID,StudyInstanceUID",
            ) from error
        if tag in tags:
            raise UsageError(f"the first line of the list names {cell} twice", hint="keep one column of it")
        tags.add(tag)
    return cells


def _row(number: int, cells: list[str], columns: list[str], keys: Sequence[str], level: str, model: str | None) -> Row:
    if len(cells) != len(columns):
        raise UsageError(
            f"the row has {len(cells)} column{'' if len(cells) == 1 else 's'}, the first line has {len(columns)}"
        )
    own = [f"{name}={value}" for name, value in zip(columns, cells, strict=True) if value]
    all_keys = [*own, *keys]
    given = {parse_tag(name) for name, _, value in (key.partition("=") for key in all_keys) if value}
    if LEVEL not in given:
        if not level:
            raise UsageError("none of the columns determines the level", hint="give QueryRetrieveLevel with -k")
        all_keys.append(f"QueryRetrieveLevel={level}")
    identifier = make_identifier(all_keys)
    scope = Scope(identifier, model or "PATIENT")
    _refuse_blanks(columns, cells, scope)
    scope.check()
    return Row(number, ", ".join(own), identifier, keys=tuple(own))


def _refuse_blanks(columns: list[str], cells: list[str], scope: Scope) -> None:
    """Raise ``UsageError`` for a blank unique key, or any blank in a row without one: it would match everything."""
    for name, value in zip(columns, cells, strict=True):
        if not value and (parse_tag(name) in UNIQUE_KEYS.values() or not scope.unique(scope.level)):
            raise UsageError(
                f"{name} is blank: the row would request more than the others",
                hint="fill it in, remove the row, or move it to a list without that column",
            )


def _level(names: Iterable[str], levels_of_model: Sequence[str]) -> str:
    """Return the lowest level to which keys belong, limited to the model; empty if none has a known level."""
    levels = {level_of(parse_tag(name.partition("=")[0])) for name in names} - {""}
    lowest = max(levels, key=LEVELS.index, default="")
    return lowest if lowest in levels_of_model or not lowest else levels_of_model[0 if lowest == "PATIENT" else -1]
