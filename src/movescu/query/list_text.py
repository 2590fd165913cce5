"""The text of a request list: character encoding, delimiter, and records with their line numbers.

Spreadsheets, databases and scripts write CSV in many ways (RFC 4180 describes one): fields in quotes may contain
delimiters and line breaks; Excel announces its delimiter with a line ``sep=;``, marks UTF-8 and UTF-16 with a byte
order mark, and keeps leading zeros as ``="00123"``. Lines without text, and lines that begin
with ``#`` and have fewer cells than the first record, are skipped.
"""

from __future__ import annotations

import csv
import re
import sys
from io import StringIO
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu.errors import UsageError
from movescu.query.find_responses import is_find_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STANDARD_INPUT: Final = "-"
DELIMITERS: Final = "\t;,|"

_SEP: Final = re.compile(r'(?i)\ufeff?"?sep=([^"\r\n]|\\t)"?\s*\Z')
_AS_TEXT: Final = re.compile(r'="([^"]*)"\Z')

# First bytes of files that are often given in place of a list, what they are, and what to do.
_CSV: Final = "save it as CSV UTF-8 and give that file"
_ZIP: Final = b"PK\3\4"
_ZIPPED: Final = (
    (b"xl/", "an Excel workbook (.xlsx)"),
    (b"opendocument.spreadsheet", "an OpenDocument spreadsheet (.ods)"),
)
_BINARY: Final = (
    (_ZIP, "a ZIP file", "unpack it and give the list in it"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (.xls)", _CSV),
    (b"%PDF", "a PDF document", "export the list as CSV"),
    (b"\x1f\x8b", "a gzip file", "unpack it and give the list in it"),
    (b"SQLite format 3\0", "an SQLite database", "export the table as CSV"),
)


class ListRecord(NamedTuple):
    """A record of a list: number of its first line, and the text of its cells."""

    line: int
    cells: list[str]


def shown_name(path: str) -> str:
    """Return the name of a list for messages."""
    return "standard input" if path == STANDARD_INPUT else repr(path)


def read_text(path: str) -> str:
    """Return the text of a list; bytes that are not text in its encoding become surrogates.

    Raise ``UsageError`` if the file cannot be read or is not text.
    """
    data = _read(path)
    _refuse_binary(path, data)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = _utf_16(path, data, "utf-16")
    elif b"\0" in data[:2]:  # without a byte order mark: the first characters are ASCII
        text = _utf_16(path, data, "utf-16-be" if data[0] == 0 else "utf-16-le")
    else:
        text = data.decode("utf-8-sig", "surrogateescape")
    if "\0" in text and not is_find_log(text):  # which has the padding of UIDs
        raise UsageError(f"the list {shown_name(path)} is not text", hint=f"if it is a spreadsheet, {_CSV}")
    return text


def _read(path: str) -> bytes:
    try:
        if path == STANDARD_INPUT:
            return sys.stdin.buffer.read() if sys.stdin is not None else b""
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read the list {path!r}: {reason}") from error


def _refuse_binary(path: str, data: bytes) -> None:
    """Raise ``UsageError``, which names the kind of file, for a workbook or another file that is not text."""
    found = next(((kind, hint) for start, kind, hint in _BINARY if data.startswith(start)), None)
    if data.startswith(_ZIP):
        spreadsheet = next((name for mark, name in _ZIPPED if mark in data), None)
        found = found if spreadsheet is None else (spreadsheet, _CSV)
    if found is not None:
        raise UsageError(f"the list {shown_name(path)} is {found[0]}, not text", hint=found[1])
    if data[128:132] == b"DICM":
        raise UsageError(f"the list {shown_name(path)} is a DICOM file", hint="give it as a query file, without --list")


def _utf_16(path: str, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UsageError(f"the list {shown_name(path)} is not text: {error}", hint=_CSV) from None


def read_records(path: str, text: str, is_column: Callable[[str], bool]) -> list[ListRecord]:
    """Return the records of a list, the first one included; ``is_column``: whether a cell names a column.

    The delimiter is the announced one, else the one by which the first record names most columns. Raise
    ``UsageError``, which states the line, if a quoted field does not end.
    """
    lines = StringIO(text, newline="")
    skipped, delimiter = _announced(lines)
    lines.seek(0)
    return list(_records(path, lines, delimiter or _delimiter(path, text, is_column), skipped))


def _announced(lines: StringIO) -> tuple[int, str]:
    """Return the number of the line that announces the delimiter, and the delimiter; 0 and "" without one."""
    for number, line in enumerate(lines, start=1):
        if _is_text(line):
            match = _SEP.match(line)
            return (number, match[1].replace("\\t", "\t")) if match else (0, "")
    return 0, ""


def _delimiter(path: str, text: str, is_column: Callable[[str], bool]) -> str:
    best, most = ",", (0, 0)
    for mark in DELIMITERS:
        try:
            first = next(_records(path, StringIO(text, newline=""), mark, 0), None)
        except UsageError:  # with another delimiter, a quote ends elsewhere
            continue
        cells = [] if first is None else first.cells
        found = sum(map(is_column, cells)), len(cells)
        if found > most:
            best, most = mark, found
    return best


def _is_text(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _records(path: str, lines: StringIO, delimiter: str, skipped: int) -> Iterator[ListRecord]:
    number, begun, width = 0, 0, 1

    def is_entry(line: str) -> bool:
        """Return True for a line that only looks like a comment: it has as many cells as the first record."""
        return width > 1 and line.count(delimiter) >= width - 1

    def source() -> Iterator[str]:
        nonlocal number, begun
        for line in lines:
            number += 1
            if begun or (number > skipped and (_is_text(line) or is_entry(line))):
                begun = begun or number
                yield line

    reader = csv.reader(source(), delimiter=delimiter, skipinitialspace=delimiter not in "\t ", strict=True)
    while True:
        begun = 0
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fault = "a quoted field does not end" if "end of data" in str(error) else str(error)
            raise UsageError(
                f"line {begun or number} of {shown_name(path)}: {fault}",
                hint="double each quote within quotes, and put one at both ends",
            ) from None
        cells = [_plain(cell) for cell in cells]
        width = max(width, len(cells))
        if any(cell.strip(DELIMITERS) for cell in cells):  # of a list with one column, the delimiter is unknown
            yield ListRecord(begun, cells)


def _plain(cell: str) -> str:
    """Return a cell without blanks around it, and without Excel's mark of text."""
    stripped = cell.strip()
    match = _AS_TEXT.match(stripped)
    return stripped if match is None else match[1].strip()
