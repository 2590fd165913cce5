"""Push parser of an encoded data set (PS3.5 section 7).

``Parser`` takes the bytes of a data set in chunks of any size and calls a ``Handler``: with whole elements if the value
is small, with the parts of large values, with sequences, items and the fragments of encapsulated pixel data (PS3.5
A.4). It holds at most one small value and the stack of open levels, never recurses, and raises only ``DataSetError``.
The VRs are in ``dictionary.vr``; ``transcoder`` inflates deflated data sets.

Tolerated, because peers send it and most programs read it: tags out of order or repeated, odd lengths, unknown VRs, a
delimiter with a length, an item of undefined length that ends with the enclosing sequence of explicit length. With a
note in ``oddities``: a delimiter at the end of, or after, a sequence, an item or pixel data of explicit length; pixel
data whose last delimiter is missing; padding after the data set, of one byte repeated; in implicit VR a private
element that is a sequence by the dictionary and has no items, which becomes UN. No byte of a value is lost by that.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, Protocol

from movescu.dictionary.vr import (
    ITEM,
    ITEM_END,
    KNOWN,
    LONG,
    MAX_DEPTH,
    PIXEL_DATA,
    SEQUENCE_END,
    UNDEFINED,
    Buffer,
    Vocabulary,
    tag_text,
)
from movescu.errors import DataSetError

if TYPE_CHECKING:
    from movescu.dictionary.uids import TransferSyntax

SMALL: Final = 65_536
"""Bytes. Values up to this size reach the handler whole, larger ones in parts."""
NO_DELIMITER: Final = "no delimiter at the end"
"""The oddity of pixel data whose last delimiter is missing."""
PART: Final = 1 << 20
"""Bytes. Largest part of a value, which bounds the memory of a handler that copies it."""

_EXPLICIT_SHORT: Final = {True: Struct(">HH2sH"), False: Struct("<HH2sH")}
_IMPLICIT: Final = {True: Struct(">HHI"), False: Struct("<HHI")}
_LENGTH: Final = {True: Struct(">I"), False: Struct("<I")}
_FAR: Final = 1 << 62  # the end of a level that only the end of the data set limits
_PADS: Final = {0x0000: b"\0", 0x2020: b" ", 0xFFFF: b"\xff"}
"""Bytes that peers put after a data set, by their value as a group or an element number."""
_SPECIAL: Final = frozenset((ITEM >> 16, *_PADS))
"""Groups that may be something else than an element."""
_PADDINGS: Final = frozenset(pad * size for pad in _PADS.values() for size in range(1, 8))
"""Padding that is too short for the header of an element."""


class Handler(Protocol):
    """The callbacks of a ``Parser``. Buffers are borrowed for the call; ``big`` is the byte order of a value.

    A value comes as one ``element``, or as ``begin``, any number of ``part`` and ``end``. A fragment comes as
    ``begin_fragment``, any number of ``part`` and ``end``.
    """

    def element(self, tag: int, vr: bytes, value: Buffer, big: bool) -> None:  # noqa: FBT001 - called for every element
        """Handle an element with its value."""

    def begin(self, tag: int, vr: bytes, length: int, big: bool) -> None:  # noqa: FBT001 - as above
        """Handle the header of an element whose value of ``length`` bytes follows in parts."""

    def part(self, data: Buffer) -> None:
        """Handle the next bytes of the current value or fragment."""

    def end(self) -> None:
        """End the current value or fragment."""

    def begin_sequence(self, tag: int) -> None:
        """Begin a sequence."""

    def end_sequence(self) -> None:
        """End the innermost sequence."""

    def begin_item(self) -> None:
        """Begin an item of the innermost sequence."""

    def end_item(self) -> None:
        """End the innermost item."""

    def begin_fragments(self, tag: int) -> None:
        """Begin encapsulated pixel data; the first fragment is the Basic Offset Table (PS3.5 A.4)."""

    def begin_fragment(self, length: int) -> None:
        """Begin a fragment of ``length`` bytes, which follow in parts."""

    def end_fragments(self) -> None:
        """End encapsulated pixel data."""


class _Level:
    """An open data set, item, sequence or sequence of fragments; ``end`` counts from the start of the data set."""

    __slots__ = ("big", "end", "implicit", "kind", "tag", "undefined", "vocabulary")

    def __init__(self, kind: int, tag: int, end: int, *, undefined: bool, implicit: bool, big: bool) -> None:
        self.kind = kind
        self.tag = tag
        self.end = end
        self.undefined = undefined
        self.implicit = implicit
        self.big = big
        self.vocabulary = Vocabulary() if implicit and kind == _ITEM else None


_ITEM, _SEQUENCE, _FRAGMENTS = range(3)


class Parser:
    """Parses a data set that is not deflated; ``offset`` is the number of bytes parsed."""

    def __init__(self, syntax: TransferSyntax, handler: Handler) -> None:
        self.offset = 0
        self._handler = handler
        self._encapsulated = syntax.encapsulated
        self._levels: list[_Level] = []
        self._level: _Level
        self._open(_ITEM, 0, _FAR, undefined=False, implicit=syntax.implicit, big=syntax.big_endian)  # the data set
        self._tail = bytearray()  # received bytes of an incomplete header or small value
        self._need = 0  # bytes the tail must have before parsing can continue
        self._left = 0  # remaining bytes of a large value
        self._empty = True
        self._last = 0  # tag of the last element header
        self._behind = -1  # offset after something of explicit length, where a delimiter closes nothing
        self._fragments = 0  # items of pixel data, the offset table included
        self._pad = b""  # byte of the padding after the data set that is being read
        self.oddities: dict[str, int] = {}
        """Tolerated violations of PS3.5, in words, and the first tag with each."""

    def feed(self, data: memoryview) -> None:
        """Parse the next bytes. Raise ``DataSetError`` if they are malformed."""
        if self._pad:
            self._skip_padding(data)
            self.offset += len(data)
            return
        if self._tail:
            self._tail += data
            if len(self._tail) < self._need:
                return
            data = memoryview(self._tail)
        used = self._run(data)
        self._tail = bytearray(data[used:])

    def finish(self) -> None:
        """End the data set. Raise ``DataSetError`` if it is incomplete or empty."""
        if len(self._levels) == 2 and self._level.kind == _FRAGMENTS and not self._left:
            self._end_undelimited()
        elif len(self._levels) == 1 and not self._empty and bytes(self._tail) in _PADDINGS:
            self.note_padding()
            self._tail.clear()
        if self._left or self._tail or len(self._levels) > 1:
            where = "" if len(self._levels) == 1 else f" inside {tag_text(self._level.tag)}"
            raise self._error(f"the data set ends{where} before it is complete", self.offset)
        if self._empty:
            raise self._error("the data set is empty", 0)

    def _end_undelimited(self) -> None:
        """End pixel data at the end of the data set, if nothing but its delimiter, or a part of that, is missing."""
        delimiter = _IMPLICIT[self._level.big].pack(SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF, 0)
        if self._fragments > 1 and delimiter.startswith(self._tail):
            self.oddities.setdefault(NO_DELIMITER, PIXEL_DATA)
            self._tail.clear()
            self._levels.pop()
            self._level = self._levels[-1]
            self._handler.end_fragments()

    def note_padding(self) -> None:
        """Record padding after the data set."""
        self.oddities.setdefault("bytes after the last element,", self._last)

    def _skip_padding(self, data: memoryview) -> None:
        """Skip bytes of the padding after the data set. Raise ``DataSetError`` for anything else."""
        rest = bytes(data).lstrip(self._pad)
        if rest:
            raise self._error("bytes that are no element follow the data set", self.offset + len(data) - len(rest))

    def _run(self, data: memoryview) -> int:
        """Parse as much as possible; return the number of bytes consumed."""
        position, size, base = 0, len(data), self.offset
        while True:
            if self._left:
                position = self._pass(data, position)
                if self._left:
                    break
            level = self._level
            if base + position == level.end:
                self._run_out(level)
                continue
            if size - position < 8:
                self._need = 8
                if base + position + 8 > level.end:
                    raise self._error(f"a header runs past the end of {tag_text(level.tag)}", base + position)
                break
            self.offset = base + position
            if level.kind == _ITEM:
                used = self._element(data, position, level)
            elif level.kind == _SEQUENCE:
                used = self._item(data, position, level)
            else:
                used = self._fragment(data, position, level)
            if not used:
                break
            position += used
        self.offset = base + position
        return position

    def _pass(self, data: memoryview, position: int) -> int:
        """Pass the received part of a large value to the handler."""
        stop = min(len(data), position + self._left)
        self._left -= stop - position
        while position < stop:
            following = min(stop, position + PART)
            self._handler.part(data[position:following])
            position = following
        if not self._left:
            self._handler.end()
        return position

    def _element(self, data: memoryview, position: int, level: _Level) -> int:
        """Read an element header, and the value if it is small; give the bytes used, 0 if more must come first."""
        if level.vocabulary is not None:
            group, element, length = _IMPLICIT[level.big].unpack_from(data, position)
        else:
            group, element, vr, length = _EXPLICIT_SHORT[level.big].unpack_from(data, position)
        tag, head = group << 16 | element, 8
        if group in _SPECIAL and (used := self._special(data, position, tag, level)):
            return used
        self._last = tag
        if level.vocabulary is not None:
            vr = level.vocabulary.vr(tag)
            if vr == b"SQ" and group & 1:
                vr = self._private_vr(data, position, tag, length)
        else:
            if vr in LONG or (vr not in KNOWN and vr.isalpha() and vr.isupper()):
                if len(data) - position < 12:
                    self._need = 12
                    return 0
                head, length = 12, _LENGTH[level.big].unpack_from(data, position + 8)[0]
            if vr not in KNOWN:
                self.oddities.setdefault("unknown VR", tag)
                vr = b"UN"
        return self._found(data, position, tag, vr if element else b"UL", head, length, level) if vr else 0

    def _found(
        self, data: memoryview, position: int, tag: int, vr: bytes, head: int, length: int, level: _Level
    ) -> int:
        """Handle an element whose header of ``head`` bytes was read."""
        undefined = length == UNDEFINED
        end = level.end if undefined else self.offset + head + length
        if end > level.end:
            raise self._error(f"{tag_text(tag)}: length {length} runs past the end of {tag_text(level.tag)}")
        if undefined or vr == b"SQ":
            self._container(tag, vr, end, level, undefined=undefined)
            return head
        return self._value(data, position, tag, vr, head, length, level)

    def _special(self, data: memoryview, position: int, tag: int, level: _Level) -> int:
        """Handle a delimiter, or padding after the data set; 0 for an element."""
        if tag >> 16 == ITEM >> 16:
            return self._delimiter(tag, level)
        return len(data) - position if self._is_padding(data, position, tag >> 16) else 0

    def _is_padding(self, data: memoryview, position: int, group: int) -> bool:
        """Return True if there is no element but padding after the data set, which is then skipped."""
        pad = _PADS.get(group, b"")
        if not pad or self._empty or len(self._levels) > 1 or data[position : position + 8] != 8 * pad:
            return False
        self._pad = pad
        self._skip_padding(data[position:])
        self.note_padding()
        return True

    def _private_vr(self, data: memoryview, position: int, tag: int, length: int) -> bytes:
        """Return the VR of a private element in implicit VR that is SQ by the dictionary; empty if more must come."""
        if length in (0, UNDEFINED):
            return b"SQ"
        if length >= 8 and len(data) - position < 16:
            self._need = 16
            return b""
        if length >= 8 and _IMPLICIT[self._level.big].unpack_from(data, position + 8)[0] == ITEM >> 16:
            return b"SQ"
        self.oddities.setdefault("a private sequence without items, taken as UN,", tag)
        return b"UN"

    def _value(
        self, data: memoryview, position: int, tag: int, vr: bytes, head: int, length: int, level: _Level
    ) -> int:
        """Handle a small value, or the beginning of a large one."""
        if tag == PIXEL_DATA:
            if self._encapsulated and vr in LONG and len(self._levels) == 1:
                raise self._error("(7FE0,0010): pixel data of defined length in an encapsulated transfer syntax")
            self._behind = self.offset + head + length
        if length > SMALL:
            self._handler.begin(tag, vr, length, level.big)
            self._left = length
        else:
            if len(data) - position < head + length:
                self._need = head + length
                return 0
            value = data[position + head : position + head + length]
            if level.vocabulary is not None:
                level.vocabulary.learn(tag, value)
            self._handler.element(tag, vr, value, level.big)
            head += length
        self._empty = False
        return head

    def _container(self, tag: int, vr: bytes, end: int, level: _Level, *, undefined: bool) -> None:
        """Open a sequence or encapsulated pixel data; UN of undefined length is an implicit one (PS3.5 6.2.2)."""
        if vr in {b"SQ", b"UN"}:
            implicit = level.implicit or vr == b"UN"
            big = level.big and vr == b"SQ"
            if len(self._levels) >= 2 * MAX_DEPTH:
                raise self._error(f"{tag_text(tag)}: sequences are nested deeper than {MAX_DEPTH}")
            self._handler.begin_sequence(tag)
            self._open(_SEQUENCE, tag, end, undefined=undefined, implicit=implicit, big=big)
        elif tag == PIXEL_DATA and vr in {b"OB", b"OW"} and self._encapsulated and not level.implicit:
            self._handler.begin_fragments(tag)
            self._fragments = 0
            self._open(_FRAGMENTS, tag, end, undefined=True, implicit=False, big=level.big)
        else:
            raise self._error(f"{tag_text(tag)}: undefined length in VR {vr.decode()}, which requires a defined one")
        self._empty = False

    def _open(self, kind: int, tag: int, end: int, *, undefined: bool, implicit: bool, big: bool) -> None:
        self._level = _Level(kind, tag, end, undefined=undefined, implicit=implicit, big=big)
        self._levels.append(self._level)

    def _run_out(self, level: _Level) -> None:
        """Close a level at its end; of levels of undefined length, only an item may end without a delimiter."""
        if level.undefined and level.kind != _ITEM:
            raise self._error(f"{tag_text(level.tag)}: a sequence of undefined length has no delimiter", level.end)
        if not level.undefined:
            self._behind = level.end
        self._close()

    def _close(self) -> None:
        level = self._levels.pop()
        self._level = self._levels[-1]
        if level.kind == _ITEM:
            self._handler.end_item()
        else:
            self._handler.end_sequence()

    def _delimiter(self, tag: int, level: _Level) -> int:
        """Handle a tag of group FFFE in place of an element: the end of this item, or a stray delimiter."""
        if tag == ITEM_END and len(self._levels) > 1 and (level.undefined or self.offset + 8 == level.end):
            if not level.undefined:
                self._note_stray(level.tag)
            self._close()
        elif tag in (ITEM_END, SEQUENCE_END) and self.offset == self._behind:
            self._note_stray(self._last)
        else:
            raise self._error(f"{tag_text(tag)} found where an element belongs")
        return 8

    def _note_stray(self, tag: int) -> None:
        """Record a delimiter that closes nothing; another may follow it."""
        self.oddities.setdefault("an unnecessary delimiter", tag)
        self._behind = self.offset + 8

    def _item(self, data: memoryview, position: int, level: _Level) -> int:
        """Parse an item header or the delimiter of a sequence (PS3.5 7.5)."""
        group, element, length = _IMPLICIT[level.big].unpack_from(data, position)
        tag = group << 16 | element
        if tag == SEQUENCE_END and (level.undefined or self.offset + 8 == level.end):
            if not level.undefined:
                self._note_stray(level.tag)
            self._close()
        elif tag == ITEM_END and self.offset == self._behind:
            self._note_stray(level.tag)
        elif tag == ITEM:
            undefined = length == UNDEFINED
            end = level.end if undefined else self.offset + 8 + length
            if end > level.end:
                raise self._error(f"{tag_text(level.tag)}: item length {length} runs past the end of the sequence")
            self._handler.begin_item()
            self._open(_ITEM, level.tag, end, undefined=undefined, implicit=level.implicit, big=level.big)
        else:
            raise self._error(f"{tag_text(tag)} found where an item of {tag_text(level.tag)} belongs")
        return 8

    def _fragment(self, data: memoryview, position: int, level: _Level) -> int:
        """Parse a fragment header or the sequence delimiter (PS3.5 A.4)."""
        group, element, length = _IMPLICIT[level.big].unpack_from(data, position)
        tag = group << 16 | element
        if tag == SEQUENCE_END:
            self._levels.pop()
            self._level = self._levels[-1]
            self._handler.end_fragments()
        elif tag == ITEM and length != UNDEFINED and self.offset + 8 + length <= level.end:
            self._handler.begin_fragment(length)
            self._fragments += 1
            self._left = length
            if not length:
                self._handler.end()
        else:
            raise self._error(f"{tag_text(tag)} of length {length} found where a fragment of pixel data belongs")
        return 8

    def _error(self, message: str, offset: int | None = None) -> DataSetError:
        at = self.offset if offset is None else offset
        return DataSetError(f"{message} (at byte {at} of the data set)", offset=at)
