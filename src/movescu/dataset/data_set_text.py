"""Data sets as text for the log: one line per element, with tag, VR, value, length and keyword.

Intended for identifiers, which are short: long values and data sets are truncated. Text is decoded as UTF-8, else as
Latin 1, whatever the Specific Character Set.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from movescu._runtime.hex_dump import text_of
from movescu.dataset.encoding import Encoding
from movescu.dataset.parser import Parser
from movescu.dataset.transcoder import recode
from movescu.dictionary import tags as dictionary
from movescu.dictionary.uids import EXPLICIT_LITTLE
from movescu.dictionary.vr import TEXT
from movescu.errors import DataSetError

if TYPE_CHECKING:
    from movescu.dictionary.uids import TransferSyntax
    from movescu.dictionary.vr import Buffer

_MOST_LINES: Final = 500
_LONGEST: Final = 64  # bytes of a value
_LARGEST: Final = 1 << 20  # bytes of a data set that are parsed
_NUMBERS: Final = {
    b"US": "H",
    b"SS": "h",
    b"UL": "I",
    b"SL": "i",
    b"UV": "Q",
    b"SV": "q",
    b"FL": "f",
    b"FD": "d",
}
_CUT: Final = "  and so on"


def data_set_text(title: str, data: Buffer, syntax: TransferSyntax) -> str:
    """Return a data set as lines below a title; after malformed data, the last line states the error."""
    lines = _Lines(title)
    try:
        if syntax.deflated:
            data, syntax = recode(bytes(data), syntax, Encoding(transfer_syntax=EXPLICIT_LITTLE)), EXPLICIT_LITTLE
        if len(data):
            parser = Parser(syntax, lines)
            parser.feed(memoryview(data)[:_LARGEST])
            if len(data) <= _LARGEST:
                parser.finish()
    except DataSetError as error:
        lines.add(f"cannot be read: {error}")
    return text_of(lines.lines)


class _Lines:
    """A handler of ``Parser`` that collects lines."""

    def __init__(self, title: str) -> None:
        self.lines = [title]
        self._depth = 1
        self._begun = ""

    def add(self, text: str) -> None:
        """Add a line, up to the maximum."""
        if len(self.lines) < _MOST_LINES:
            self.lines.append("  " * self._depth + text)
        elif self.lines[-1] != _CUT:
            self.lines.append(_CUT)

    def element(self, tag: int, vr: bytes, value: Buffer, big: bool) -> None:  # noqa: FBT001 - of the protocol
        """Write an element."""
        self.add(f"{_head(tag, vr)} {_value(vr, bytes(value), big=big)}  # {len(value)}{_keyword(tag)}")

    def begin(self, tag: int, vr: bytes, length: int, big: bool) -> None:  # noqa: ARG002, FBT001 - of the protocol
        """Write an element without its value."""
        self.add(f"{_head(tag, vr)} ...  # {length}{_keyword(tag)}")

    def part(self, data: Buffer) -> None:
        """Skip a part of a value."""

    def end(self) -> None:
        """Skip the end of a value."""

    def begin_sequence(self, tag: int) -> None:
        """Write the header of a sequence."""
        self.add(f"{_head(tag, b'SQ')} {_keyword(tag).lstrip()}")
        self._depth += 1

    def end_sequence(self) -> None:
        """Leave a level."""
        self._depth -= 1

    def begin_item(self) -> None:
        """Write the beginning of an item."""
        self.add("item")
        self._depth += 1

    def end_item(self) -> None:
        """Leave a level."""
        self._depth -= 1

    def begin_fragments(self, tag: int) -> None:
        """Write encapsulated pixel data without its value."""
        self.add(f"{_head(tag, b'OB')} encapsulated")

    def begin_fragment(self, length: int) -> None:
        """Skip a fragment."""

    def end_fragments(self) -> None:
        """Skip the end of encapsulated pixel data."""


def _head(tag: int, vr: bytes) -> str:
    return f"({tag >> 16:04x},{tag & 0xFFFF:04x}) {vr.decode('latin-1')}"


def _keyword(tag: int) -> str:
    return f" {dictionary.keyword_of(tag) or ''}".rstrip()


def _value(vr: bytes, value: bytes, *, big: bool) -> str:
    if not value:
        return "(no value)"
    cut = value[:_LONGEST]
    more = "..." if len(cut) < len(value) else ""
    if vr in TEXT or vr == b"UI":
        try:
            text = cut.decode()
        except UnicodeDecodeError:
            text = cut.decode("latin-1")
        return f"[{text.rstrip(chr(0) if vr == b'UI' else ' ')}{more}]"
    if vr in _NUMBERS:
        number = Struct((">" if big else "<") + _NUMBERS[vr])
        whole = cut[: len(cut) // number.size * number.size]
        return "\\".join(str(each) for (each,) in number.iter_unpack(whole)) + more
    if vr == b"AT" and not len(value) % 4:
        pair = Struct(">HH" if big else "<HH")
        return "\\".join(f"({group:04x},{element:04x})" for group, element in pair.iter_unpack(cut)) + more
    return cut.hex(" ") + more
