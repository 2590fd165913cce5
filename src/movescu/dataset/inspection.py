"""Inspection of a data set that is kept as received: its violations of PS3.5, in words (``+B``).

A data set that the fast path accepts has none. Any other is parsed, in blocks, without being held or changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu.dataset.encoder import BLANK_UID
from movescu.dataset.encoding import META_GROUPS, NO_PIXELS, Encoding
from movescu.dataset.fast_path.scanner import adapted, adapted_head
from movescu.dataset.identity import IdentityReader
from movescu.dataset.parser import Parser
from movescu.dictionary.uids import TRANSFER_SYNTAXES
from movescu.dictionary.vr import BLANKS, PIXEL_DATA, Buffer

if TYPE_CHECKING:
    from collections.abc import Callable

    from movescu.dictionary.uids import TransferSyntax

_HEAD: Final = 1 << 16  # bytes; a small object is whole in them
_BLOCK: Final = 1 << 20
_UNDEFINED: Final = Encoding(explicit_length=False)
_DEFINED: Final = Encoding()


def oddities_of(read: Callable[[int, int], bytes], size: int, syntax: TransferSyntax) -> dict[str, int]:
    """Return the violations of PS3.5 in words, each with the first tag that has it; errors of ``read`` pass through.

    ``read`` returns bytes of the data set by position and size. A deflated data set, and one whose transfer syntax is
    unknown, is not inspected. Raise ``DataSetError`` if the data set cannot be parsed.
    """
    if syntax.deflated or syntax.uid not in TRANSFER_SYNTAXES:
        return {}
    head = read(0, min(size, _HEAD))
    if _is_sound(head, size, syntax):
        return {}
    reader = _OddityReader()
    parser = Parser(syntax, reader)
    position = 0
    block = head
    while block:
        parser.feed(memoryview(block))
        position += len(block)
        block = read(position, _BLOCK)
    parser.finish()
    return parser.oddities | reader.oddities


def _is_sound(head: bytes, size: int, syntax: TransferSyntax) -> bool:
    """Return True if the fast path accepts the data set, in either delimitation of sequences."""
    if len(head) < size:
        found = adapted_head(head, syntax, _DEFINED) or adapted_head(head, syntax, _UNDEFINED)
        return found is not None and found.missing == size - len(head)
    found = adapted(head, syntax, _DEFINED) or adapted(head, syntax, _UNDEFINED)
    return found is not None and not head.endswith(NO_PIXELS)


class _OddityReader(IdentityReader):
    """A handler that notes what an encoder would correct."""

    def __init__(self) -> None:
        super().__init__()
        self.oddities: dict[str, int] = {}
        self._last = [-1]

    def _note(self, what: str, tag: int) -> None:
        self.oddities.setdefault(what, tag)

    def _look(self, tag: int, length: int) -> None:
        if length & 1:
            self._note("odd length", tag)
        if tag == PIXEL_DATA and not length:
            self._note("no pixels", tag)
        if tag <= self._last[-1]:
            self._note("tags out of order", tag)
        if not self._depth and tag >> 16 in META_GROUPS:
            self._note(f"elements of group {tag >> 16:04X}", tag)
        self._last[-1] = max(tag, self._last[-1])

    def element(self, tag: int, vr: bytes, value: Buffer, big: bool) -> None:  # noqa: ARG002, FBT001 - see Handler
        """Look at an element."""
        self._look(tag, len(value))
        if vr == b"UI" and len(bytes(value).translate(None, BLANKS)) != len(value):
            self._note(BLANK_UID, tag)

    def begin(self, tag: int, vr: bytes, length: int, big: bool) -> None:  # noqa: ARG002, FBT001 - see Handler
        """Look at the header of a large element."""
        self._look(tag, length)

    def begin_sequence(self, tag: int) -> None:
        """Look at a sequence, and enter it."""
        self._look(tag, 0)
        super().begin_sequence(tag)

    def begin_item(self) -> None:
        """Begin the order of tags anew."""
        self._last.append(-1)

    def end_item(self) -> None:
        """Return to the order of tags outside."""
        self._last.pop()
