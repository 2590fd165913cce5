"""Data sets as text for the log: an element on a line, with its tag, VR, value, length and keyword.

Made for identifiers, which are short: what goes on for long is cut. Values are shown in UTF-8 or Latin 1 as they
come, without regard to Specific Character Set.
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
_LARGEST: Final = 1 << 20  # bytes of a data set that are looked at
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
    """Return a data set as lines below a title; what cannot be read ends them with a line that says so."""
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
    """Writes the lines; told by a ``Parser``."""

    def __init__(self, title: str) -> None:
        self.lines = [title]
        self._depth = 1
        self._begun = ""

    def add(self, text: str) -> None:
        """Add a line, as long as there are not too many."""
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
        """Pass over a part of a value."""

    def end(self) -> None:
        """Pass over the end of a value."""

    def begin_sequence(self, tag: int) -> None:
        """Go one level down."""
        self.add(f"{_head(tag, b'SQ')} {_keyword(tag).lstrip()}")
        self._depth += 1

    def end_sequence(self) -> None:
        """Go one level up."""
        self._depth -= 1

    def begin_item(self) -> None:
        """Write where an item begins."""
        self.add("item")
        self._depth += 1

    def end_item(self) -> None:
        """Go one level up."""
        self._depth -= 1

    def begin_fragments(self, tag: int) -> None:
        """Write encapsulated pixel data without their value."""
        self.add(f"{_head(tag, b'OB')} encapsulated")

    def begin_fragment(self, length: int) -> None:
        """Pass over a fragment."""

    def end_fragments(self) -> None:
        """Pass over the end."""


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
