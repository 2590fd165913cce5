"""What the debug output of all layers has in common: its lowest level, lines of text that are safe, and bytes.

Text of a peer may hold anything; here it becomes one line that no terminal obeys.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final

TRACE: Final = 5
"""The level of ``logging`` below DEBUG, at which bytes are shown."""

_MOST_BYTES: Final = 512
_LONGEST: Final = 256  # characters of a line
_ESCAPES: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {9: "\\t", 10: "\\n", 13: "\\r"}


def text_of(lines: Iterable[str]) -> str:
    """Join lines, each of them made safe and not too long."""
    return "\n".join(map(_safe, lines))


def _safe(line: str) -> str:
    line = line.translate(_ESCAPES)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def hex_text(what: str, data: bytes | bytearray | memoryview) -> str:
    """Give the first bytes as lines of sixteen, in hexadecimal and as ASCII, below a line that says what they are."""
    return text_of((f"{what}, {len(data)} bytes", *_hex_lines(bytes(data[:_MOST_BYTES])), *_more(len(data))))


def _hex_lines(data: bytes) -> Iterator[str]:
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        characters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"  {start:04x}  {row.hex(' '):<47}  {characters}"


def _more(size: int) -> Iterator[str]:
    if size > _MOST_BYTES:
        yield f"  {size - _MOST_BYTES} more bytes"
