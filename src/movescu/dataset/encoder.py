"""Encoder of data sets in a requested encoding (PS3.5 sections 6 and 7, annex A).

``Encoder`` is a ``Handler``: it writes the elements that a parser finds to an ``Output``, in the byte order and VR of
the target, with group lengths, sequence lengths and trailing padding as ``Encoding`` requests, sorted by tag and each
tag once. Its output equals that of DCMTK 3.6.7 byte for byte, with the exceptions listed below. It raises
``DataSetError`` for encapsulated pixel data that would have to be decompressed.

Where this differs from DCMTK
-----------------------------
Where DCMTK's output violates the standard:

* Text of odd length is padded with a space (PS3.5 6.2); DCMTK uses NUL.
* OW of odd length is padded with NUL (PS3.5 7.1.1); DCMTK does not pad it.
* A group length element always has four bytes (PS3.6: UL, VM 1); DCMTK keeps the received size.
* With an odd number for +p DCMTK keeps group lengths as received, even if wrong; here they are corrected.
* A private creator out of order applies to the elements after it; DCMTK 3.6.7 misses some of those.

Where the dictionaries differ: this one comes from pydicom (PS3.6 of 2024, and pydicom's private dictionaries), that of
3.6.7 from PS3.6 of 2022. From implicit VR, some tags that DCMTK writes as UN get their VR, and some private ones get
another. With +cl 0, which compresses nothing, the stored blocks of the deflated stream differ in size.

Where DCMTK ignores an error: an item delimiter outside of items silently ends the data set, and an item longer than its
sequence swallows what follows. Both are a ``DataSetError`` here, and so is nesting beyond 64 levels.
"""

from __future__ import annotations

from array import array
from struct import Struct
from typing import TYPE_CHECKING, Final

from movescu.dataset.encoding import SINCE_1993, Encoding, GroupLength, Identity
from movescu.dataset.identity import CLASS_UID, IDENTITY, INSTANCE_UID
from movescu.dictionary.vr import (
    BLANKS,
    ITEM,
    ITEM_END,
    LONG,
    PIXEL_DATA,
    SEQUENCE_END,
    TEXT,
    TRAILING_PADDING,
    UNDEFINED,
    UNITS,
    Buffer,
    tag_text,
    uid_text,
)
from movescu.errors import DataSetError

if TYPE_CHECKING:
    from collections.abc import Callable

    from movescu.dataset.output import ByteSink, Output
    from movescu.dictionary.uids import TransferSyntax

MAX_OPEN: Final = 1 << 18
"""Maximum number of elements in all open levels; their positions, 12 bytes each, are kept until the level ends."""

BLANK_UID: Final = "blanks in a UID"
"""The oddity of a UID with blanks, which are removed (-up)."""
_PADDING_LENGTH: Final = TRAILING_PADDING & 0xFFFF0000
MAX_LENGTH: Final = 0xFFFFFFFE
"""Bytes. A longer sequence or item has undefined length, a longer group no group length (+eo of DCMTK)."""

_CODES: Final = {2: "H", 4: "I", 8: "Q"}  # array type codes by size; 4 and 8 hold on every platform CPython runs on


def swap(value: Buffer, unit: int) -> bytes:
    """Reverse the bytes of every whole unit of 2, 4 or 8 bytes; keep a remainder."""
    whole = len(value) // unit * unit
    numbers = array(_CODES[unit])
    numbers.frombytes(value[:whole])
    numbers.byteswap()
    return numbers.tobytes() + bytes(value[whole:])


class _Open:
    """An open data set or item, and what has to be corrected at its end."""

    __slots__ = ("disordered", "group", "last", "length_at", "starts", "tags", "too_long")

    def __init__(self) -> None:
        self.tags = array("I")
        self.starts = array("Q")
        self.last = -1
        self.disordered = False
        self.group = -1
        self.too_long: set[int] = set()  # tags of group lengths beyond 32 bits, to be removed
        self.length_at = -1  # position of the value of this group's length element, -1 if it has none


class _Value:
    """A value received in parts."""

    __slots__ = ("big", "carry", "drop", "kept", "length", "start", "tag", "unit", "vr")

    def __init__(self, tag: int, vr: bytes, length: int, start: int) -> None:
        self.tag = tag
        self.vr = vr
        self.length = length  # as stated in its header
        self.start = start  # position of its header
        self.kept = start  # position after the last byte that is not padding
        self.unit = 1  # bytes to swap together
        self.carry = b""  # bytes of an incomplete unit
        self.drop = False


class Encoder:
    """Writes elements to ``output``; ``spool`` makes a scratch file in case a large level has to be sorted.

    ``left_out``: groups that are not written, of the top level. Default: none.
    """

    def __init__(
        self,
        syntax: TransferSyntax,
        encoding: Encoding,
        output: Output,
        *,
        file_offset: int,
        left_out: frozenset[int] = frozenset(),
        spool: Callable[[], ByteSink],
    ) -> None:
        self._output = output
        self._encoding = encoding
        self._syntax = syntax
        self._spool = spool
        self._file_offset = file_offset
        self._left_out = left_out
        self._drop_from = -1  # position of a sequence that is left out, while it is open
        self._implicit = syntax.implicit
        self._big = syntax.big_endian
        order = ">" if syntax.big_endian else "<"
        self._short = Struct(order + "HH2sH").pack
        self._long = Struct(order + "HH2sHI").pack
        self._plain = Struct(order + "HHI").pack  # implicit VR, items and delimiters
        self._u32 = Struct(order + "I").pack
        self._unknown = b"UN" if encoding.new_vr else b"OB"
        self._labels = {} if encoding.new_vr else dict.fromkeys(SINCE_1993, b"OB")
        self._drops_padding = not encoding.keeps_padding
        # With an odd padding DCMTK changes neither padding nor group lengths; here group lengths are corrected.
        self._group_length = GroupLength.RECALCULATE if encoding.keeps_padding else encoding.group_length
        self._level = _Open()
        self._levels = [self._level]
        self._lengths: list[int] = []  # positions after the length fields of open sequences and items
        self._count = 0  # elements whose positions are kept
        self._value: _Value | None = None
        self._uids: dict[int, str] = {}
        self.oddities: dict[str, int] = {}
        """Violations of PS3.5, corrected or kept, in words, and the first tag with each."""

    def finish(self) -> Identity:
        """Complete the data set: sort it, set the last lengths, pad the file; return its identity."""
        self._end_level(0, self._file_offset, self._encoding.file_padding)
        self._output.flush()
        return Identity(self._uids.get(CLASS_UID), self._uids.get(INSTANCE_UID))

    # Elements

    def element(self, tag: int, vr: bytes, value: Buffer, big: bool) -> None:  # noqa: FBT001 - see Handler
        """Write an element."""
        if not self._admit(tag):
            return
        if tag in IDENTITY and len(self._levels) == 1:
            self._uids.setdefault(tag, uid_text(value))
        if len(value) & 1:
            self.oddities.setdefault("odd length", tag)
        elif tag == PIXEL_DATA and not len(value):
            self.oddities.setdefault("no pixels", tag)
        if vr in TEXT:
            value = bytes(value).rstrip(b" ")
            if len(value) & 1:
                value += b" "
        elif vr == b"UI":
            whole = bytes(value)
            value = whole.translate(None, BLANKS)
            if len(value) != len(whole):
                self.oddities.setdefault(BLANK_UID, tag)
            value = value.rstrip(b"\0")
        if len(value) & 1:
            value = bytes(value) + b"\0"
        unit = self._unit(vr, len(value), big) if big or self._big else 1
        self._output.write(self._header(tag, vr, len(value)))
        self._output.write(swap(value, unit) if unit > 1 else value)

    def begin(self, tag: int, vr: bytes, length: int, big: bool) -> None:  # noqa: FBT001 - see Handler
        """Write the header of a value received in parts, with its length if nothing is stripped."""
        self._value = value = _Value(tag, vr, length, self._output.position)
        if not self._admit(tag):
            value.drop = True
            return
        if tag in IDENTITY and len(self._levels) == 1:
            self._uids.setdefault(tag, "")  # more than 64 characters (PS3.5 9.1): not a UID
        if length & 1:
            self.oddities.setdefault("odd length", tag)
        value.start = self._output.position
        value.unit = self._unit(vr, length + (length & 1), big)
        self._output.write(self._header(tag, vr, length + (length & 1)))
        value.kept = self._output.position

    def part(self, data: Buffer) -> None:
        """Write the next bytes of the value."""
        value = self._value
        assert value is not None  # the parser calls begin() first
        if value.drop:
            return
        if value.unit > 1:
            data = value.carry + bytes(data) if value.carry else data
            whole = len(data) // value.unit * value.unit
            value.carry = bytes(data[whole:])
            data = swap(data[:whole], value.unit)
        elif value.vr in TEXT or value.vr == b"UI":
            data = bytes(data) if value.vr in TEXT else bytes(data).translate(None, BLANKS)
            stripped = len(data.rstrip(b" " if value.vr in TEXT else b"\0"))
            if stripped:
                value.kept = self._output.position + stripped
        self._output.write(data)

    def end(self) -> None:
        """Pad the value; if it is text, strip it and correct its header."""
        value = self._value
        assert value is not None  # the parser calls begin() first
        self._value = None
        if value.drop:
            return
        if value.vr in TEXT or value.vr == b"UI":
            self._end_text(value)
            return
        rest = value.carry + b"\0" if value.length & 1 else value.carry
        self._output.write(swap(rest, value.unit) if len(rest) == value.unit > 1 else rest)

    def _end_text(self, value: _Value) -> None:
        output = self._output
        before = len(self._header(value.tag, value.vr, value.length + (value.length & 1)))
        output.truncate(value.kept)
        size = value.kept - value.start - before
        if size & 1:
            output.write(b" " if value.vr in TEXT else b"\0")
            size += 1
        header = self._header(value.tag, value.vr, size)
        if len(header) == before:
            output.patch(value.start, header)
        else:  # stripped, the length fits 16 bits
            text = output.read(value.start + before, size)
            output.truncate(value.start)
            output.write(header + text)

    def _admit(self, tag: int) -> bool:
        """Record the beginning of an element; return False if the caller must not write it."""
        level = self._level
        group = tag >> 16
        if group in self._left_out and level is self._levels[0]:
            self.oddities.setdefault(f"elements of group {group:04X}, left out,", tag)
            return False
        if not tag & 0xFFFF:
            if self._group_length is GroupLength.RECALCULATE:
                self._write_group_length(tag)
            return False
        if tag == TRAILING_PADDING and self._drops_padding:
            return False
        if group != level.group:
            if self._group_length is GroupLength.CREATE:
                self._write_group_length(group << 16)
            else:
                self._end_group(level)
                level.group = group
        self._place(level, tag)
        return True

    def _place(self, level: _Open, tag: int) -> None:
        if tag > level.last:
            level.last = tag
        else:
            level.disordered = True
            self.oddities.setdefault("tags out of order", tag)
        level.tags.append(tag)
        level.starts.append(self._output.position)
        self._count += 1
        if self._count > MAX_OPEN:
            raise DataSetError(f"{tag_text(tag)}: more than {MAX_OPEN} elements in data set and open items")

    def _write_group_length(self, tag: int) -> None:
        level = self._level
        self._end_group(level)
        self._place(level, tag)
        self._output.write(self._header(tag, b"UL", 4) + bytes(4))
        level.group = tag >> 16
        level.length_at = self._output.position - 4

    def _end_group(self, level: _Open) -> None:
        """Set the group length: the bytes from after its element to here, the end of the group (PS3.5 7.2)."""
        if level.length_at >= 0:
            size = self._output.position - level.length_at - 4
            if size <= MAX_LENGTH:
                self._output.patch(level.length_at, self._u32(size))
            else:
                level.too_long.add(level.group << 16)
            level.length_at = -1

    def _header(self, tag: int, vr: bytes, length: int) -> bytes:
        """Encode an element header (PS3.5 7.1.2, 7.1.3); a value too long for a 16-bit length becomes UN."""
        if self._implicit:
            return self._plain(tag >> 16, tag & 0xFFFF, length)
        if vr in LONG:
            return self._long(tag >> 16, tag & 0xFFFF, self._labels.get(vr, vr), 0, length)
        if length > 0xFFFF:
            return self._long(tag >> 16, tag & 0xFFFF, self._unknown, 0, length)
        return self._short(tag >> 16, tag & 0xFFFF, vr, length)

    def _unit(self, vr: bytes, length: int, big: bool) -> int:  # noqa: FBT001 - once per element
        """Return the bytes to swap together, 1 for none; values relabelled as UN or OB are little endian."""
        relabelled = vr in self._labels or (length > 0xFFFF and vr not in LONG)
        return UNITS.get(vr, 1) if big != (self._big and not relabelled) else 1

    # Sequences

    def begin_sequence(self, tag: int) -> None:
        """Write the header of a sequence."""
        if not self._admit(tag):
            if tag >> 16 in self._left_out and self._level is self._levels[0]:
                self._drop_from = self._output.position
            else:  # (FFFC,FFFC) as a sequence
                self._place(self._level, tag)
        self._output.write(self._header(tag, b"SQ", UNDEFINED))
        self._lengths.append(self._output.position)

    def end_sequence(self) -> None:
        """Set the length of the sequence, or write its delimiter (PS3.5 7.5.1)."""
        self._end_length(SEQUENCE_END)
        if self._drop_from >= 0 and self._level is self._levels[0]:
            self._output.truncate(self._drop_from)
            self._drop_from = -1

    def begin_item(self) -> None:
        """Write the header of an item."""
        self._output.write(self._plain(ITEM >> 16, ITEM & 0xFFFF, UNDEFINED))
        self._lengths.append(self._output.position)
        self._level = _Open()
        self._levels.append(self._level)

    def end_item(self) -> None:
        """Sort and pad the item, and set its length or write its delimiter."""
        start = self._lengths[-1]
        self._end_level(start, 0, self._encoding.item_padding)
        self._count -= len(self._level.tags)
        self._levels.pop()
        self._level = self._levels[-1]
        self._end_length(ITEM_END)

    def _end_length(self, delimiter: int) -> None:
        start = self._lengths.pop()
        size = self._output.position - start
        if self._encoding.explicit_length and size <= MAX_LENGTH:
            self._output.patch(start - 4, self._u32(size))
        else:
            self._output.write(self._plain(delimiter >> 16, delimiter & 0xFFFF, 0))

    def _end_level(self, start: int, before: int, padding: int) -> None:
        """End a data set or item; its content begins at ``start``, ``before`` bytes into the unit to be padded."""
        level = self._level
        self._end_group(level)
        if level.disordered or level.too_long:
            self._sort(level)
        if padding and self._drops_padding:
            self._pad(
                self._output.position - start + before, padding, grouped=max(level.tags, default=0) == _PADDING_LENGTH
            )

    def _pad(self, size: int, multiple: int, *, grouped: bool) -> None:
        """Write Data Set Trailing Padding (PS3.10 7.2) unless ``size`` is a multiple already.

        ``grouped``: the last element is the group length of the padding, and counts it.
        """
        if size % multiple:
            head = 8 if self._implicit else 12
            count = min(-(size + head) % multiple, MAX_LENGTH)
            if grouped:
                self._output.patch(self._output.position - 4, self._u32(min(head + count, MAX_LENGTH)))
            self._output.write(self._header(TRAILING_PADDING, b"OB", count))
            self._output.write_zeros(count)

    def _sort(self, level: _Open) -> None:
        """Sort the elements of a level by tag, keep the first of equal tags, and recalculate group lengths."""
        tags, starts = level.tags, level.starts
        ends = starts[1:]
        ends.append(self._output.position)
        order: list[int] = []
        for index in sorted(range(len(tags)), key=tags.__getitem__):
            if tags[index] not in level.too_long and (not order or tags[order[-1]] != tags[index]):
                order.append(index)
        self._output.permute(starts[0], [(starts[i], ends[i] - starts[i]) for i in order], self._spool)
        end = group_end = self._output.position
        group = -1
        for index in reversed(order):
            if tags[index] >> 16 != group:
                group, group_end = tags[index] >> 16, end
            if not tags[index] & 0xFFFF:
                self._output.patch(end - 4, self._u32(min(group_end - end, MAX_LENGTH)))
            end -= ends[index] - starts[index]

    # Encapsulated pixel data

    def begin_fragments(self, tag: int) -> None:
        """Write the header of encapsulated pixel data, always as OB (PS3.5 A.4)."""
        if not self._syntax.encapsulated:
            raise DataSetError(f"{tag_text(tag)}: encapsulated pixel data cannot be written as {self._syntax.name}")
        self._admit(tag)
        self._output.write(self._header(tag, b"OB", UNDEFINED))

    def begin_fragment(self, length: int) -> None:
        """Write the header of a fragment."""
        self._output.write(self._plain(ITEM >> 16, ITEM & 0xFFFF, length + (length & 1)))
        self._value = _Value(ITEM, b"OB", length, self._output.position)

    def end_fragments(self) -> None:
        """Write the delimiter of encapsulated pixel data."""
        self._output.write(self._plain(SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF, 0))
