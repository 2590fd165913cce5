"""Debug output shared by all layers: the TRACE level, lines safe for a terminal, and hex dumps.

Text from a peer may contain control characters; escaping them keeps it on one line and the terminal unaffected.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final

TRACE: Final = 5
"""A level of ``logging`` below DEBUG, at which bytes are logged."""

_MOST_BYTES: Final = 512
_LONGEST: Final = 256  # characters of a line
_ESCAPES: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {9: "\\t", 10: "\\n", 13: "\\r"}


def text_of(lines: Iterable[str]) -> str:
    """Join lines, with control characters escaped and long lines truncated."""
    return "\n".join(map(_safe, lines))


def _safe(line: str) -> str:
    line = line.translate(_ESCAPES)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def hex_text(what: str, data: bytes | bytearray | memoryview) -> str:
    """Return a hex dump of the first bytes, sixteen a line, below a line that names them and their number."""
    return text_of((f"{what}, {len(data)} bytes", *_hex_lines(bytes(data[:_MOST_BYTES])), *_more(len(data))))


def _hex_lines(data: bytes) -> Iterator[str]:
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        characters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"  {start:04x}  {row.hex(' '):<47}  {characters}"


def _more(size: int) -> Iterator[str]:
    if size > _MOST_BYTES:
        yield f"  {size - _MOST_BYTES} more bytes"
