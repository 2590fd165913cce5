"""Nesting of sequences and items in a single walk, and the change between their two delimitations (PS3.5 7.5).

Many archives send sequences of undefined length, while files have explicit lengths unless ``-e`` is given. If nothing
else has to change, the data set is spliced: its own bytes, with other lengths in between, and with or without
delimiters. ``scan`` walks the elements. Anything that violates the standard raises ``IndexError``, upon which the data
set goes to ``transcoder``.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from movescu.dictionary.vr import ITEM, ITEM_END, MAX_DEPTH, SEQUENCE_END, UNDEFINED

if TYPE_CHECKING:
    from movescu.dictionary.vr import Buffer

Saved = TypeVar("Saved")

HEADER: Final = {order: Struct(order + "HHI").unpack_from for order in "<>"}
"""Reader of the tag and length of an item, or of an element in implicit VR, by byte order."""
BEGIN: Final = 0
"""Kind of a record: a sequence or item begins."""
Begun = tuple[int, int, int]
"""A record: position, kind (``BEGIN``, or the tag of the delimiter), undefined length or size of the delimiter."""


class Nesting(Generic[Saved]):
    """The open sequences of a walk. ``Saved`` is the state that the walk restores after a sequence.

    Each step returns the position at which to continue, the latest end of the level there, and the saved state if the
    sequence has ended, None at the beginning of an item.
    """

    __slots__ = (
        *(
            "_begun",
            "_data",
            "_end",
            "_explicit",
            "_header",
            "_item_undefined",
            "_order",
            "_passed",
            "_stack",
            "_undefined",
        ),
        "changed",
    )

    def __init__(self, data: Buffer, order: str, *, explicit_length: bool) -> None:
        self.changed = False
        """Whether any sequence or item so far is not delimited as requested."""
        self._data = data
        self._order = order
        self._header = HEADER[order]
        self._explicit = explicit_length
        self._stack: list[tuple[int, bool, bool, int, Saved]] = []
        self._end = 0  # latest end of the open sequence
        self._undefined = self._item_undefined = False
        self._begun: list[Begun] = []
        self._passed: list[tuple[int, int, tuple[Begun, ...]]] = []
        """Sequences that were not walked: the number of records before theirs, and the position that these are from."""

    @property
    def depth(self) -> int:
        """Number of open sequences."""
        return len(self._stack)

    def begin(self, position: int, length: int, end: int, saved: Saved) -> tuple[int, int, Saved | None]:
        """Begin a sequence whose items start at ``position``; ``end`` is the end of the enclosing level."""
        undefined = length == UNDEFINED
        last = end if undefined else position + length
        if last > end or len(self._stack) >= MAX_DEPTH:
            raise IndexError
        self._stack.append((self._end, self._undefined, self._item_undefined, end, saved))
        self._end, self._undefined = last, undefined
        self._begun.append((position, BEGIN, undefined))
        self.changed |= undefined == self._explicit
        return self._next(position)

    def _next(self, position: int) -> tuple[int, int, Saved | None]:
        """Read the header of the next item, or the end of the sequence."""
        if not self._undefined and position == self._end:
            return self._leave(position, 0)
        group, element, length = self._header(self._data, position)
        tag = group << 16 | element
        if tag == SEQUENCE_END and self._undefined and not length:
            return self._leave(position, 8)
        position += 8
        undefined = length == UNDEFINED
        end = self._end if undefined else position + length
        if tag != ITEM or end > self._end:
            raise IndexError
        self._item_undefined = undefined
        self._begun.append((position, BEGIN, undefined))
        self.changed |= undefined == self._explicit
        return position, end, None

    def end_item(self, position: int) -> tuple[int, int, Saved | None]:
        """End an item of explicit length."""
        if self._item_undefined:
            raise IndexError
        self._begun.append((position, ITEM_END, 0))
        return self._next(position)

    def delimit_item(self, position: int) -> tuple[int, int, Saved | None]:
        """End an item of undefined length at its delimiter."""
        if not self._stack or not self._item_undefined or self._header(self._data, position)[2]:
            raise IndexError
        self._begun.append((position, ITEM_END, 8))
        return self._next(position + 8)

    def _leave(self, position: int, delimiter: int) -> tuple[int, int, Saved]:
        self._begun.append((position, SEQUENCE_END, delimiter))
        self._end, self._undefined, self._item_undefined, end, saved = self._stack.pop()
        return position + delimiter, end, saved

    def pass_over(self, position: int, begun: tuple[Begun, ...], *, changed: bool) -> None:
        """Record whole sequences that were not walked, at their distances from a position."""
        self._passed.append((len(self._begun), position, begun))
        self.changed |= changed

    def splice(self) -> bytes:
        """Return the data set with its sequences and items delimited as requested."""
        for before, position, begun in reversed(self._passed):
            self._begun[before:before] = [(position + at, kind, size) for at, kind, size in begun]
        pack = Struct(self._order + "I").pack
        delimiter = Struct(self._order + "HHI").pack
        lengths = self._lengths() if self._explicit else {}
        view = memoryview(self._data)
        pieces: list[Buffer] = []
        copied = 0
        for number, (position, kind, size) in enumerate(self._begun):
            if kind == BEGIN:
                pieces += (view[copied : position - 4], pack(lengths.get(number, UNDEFINED)))
                copied = position
            elif self._explicit:
                pieces.append(view[copied:position])
                copied = position + size
            elif not size:
                pieces += (view[copied:position], delimiter(kind >> 16, kind & 0xFFFF, 0))
                copied = position
        return b"".join((*pieces, view[copied:]))

    def _lengths(self) -> dict[int, int]:
        """Return the explicit length of each sequence and item, by the index of its beginning."""
        lengths: dict[int, int] = {}
        open_ones: list[tuple[int, int, int]] = []
        left_out = 0  # bytes of delimiters so far
        for number, (position, kind, size) in enumerate(self._begun):
            if kind == BEGIN:
                open_ones.append((number, position, left_out))
            else:
                begun, start, before = open_ones.pop()
                lengths[begun] = position - start - (left_out - before)
                left_out += size
        return lengths
