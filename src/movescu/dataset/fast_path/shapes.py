"""Shapes of elements: what ``stretches`` compares instead of walking an object (PS3.5 sections 7.1 and 7.5).

The shape of an element is its header, and which bytes of its value have to be checked: the end of a text, a whole UID,
none of a number. The shape of a sequence is that of its items, with their headers and delimiters. The walk treats two
elements of equal shape alike, if the bytes to be checked are valid.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu.dataset.fast_path import kinds
from movescu.dataset.fast_path.nesting import BEGIN, HEADER, Begun
from movescu.dataset.identity import IDENTITY
from movescu.dataset.parser import SMALL
from movescu.dictionary.vr import ITEM, ITEM_END, PIXEL_DATA, SEQUENCE_END, TRAILING_PADDING, UNDEFINED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

CONSTANT, SKIPPED, TEXT, UID, BEYOND = range(5)
"""What is checked of a span: that it is always the same; nothing; its last two bytes; all of it; nothing, for it may
not have arrived yet."""
_PIXELS: Final = (kinds.PLAIN, kinds.LONG_PLAIN)
_LONG: Final = (kinds.LONG_PLAIN, kinds.LONG_TEXT, kinds.SEQUENCE)


class Span(NamedTuple):
    """Successive bytes of an element; ``constant``: those of a constant span. ``noted``: the value is noted."""

    kind: int
    size: int
    constant: bytes = b""
    noted: bool = False


class Shape(NamedTuple):
    """The shape of an element with its content.

    ``begun``: the beginnings and ends of its sequences and items, as ``nesting`` records them, from its first byte on.
    ``changed``: whether any of them is not delimited as requested.
    """

    tag: int
    vr: bytes
    spans: tuple[Span, ...]
    begun: tuple[Begun, ...] = ()
    changed: bool = False

    @property
    def header(self) -> bytes:
        """Its first eight bytes."""
        return self.spans[0].constant[:8]

    @property
    def tells_length(self) -> bool:
        """Whether those bytes tell the length of its value."""
        return len(self.spans[0].constant) == 8

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return sum(span.size for span in self.spans)


class Shapes:
    """The shapes of a walked data set, up to its native pixel data: ``top``, and ``inner``, a list for each item.

    None stands for an element that has to be walked each time. ``kind_of``: kinds by VR, or by tag in implicit VR.
    Raise ``struct.error`` or ``IndexError`` if the data set is cut.
    """

    def __init__(
        self,
        raw: bytes,
        order: str,
        kind_of: Mapping[Any, int],
        noted: frozenset[int],
        *,
        implicit: bool,
        explicit_length: bool,
    ) -> None:
        self._raw = raw
        self._kind_of = kind_of
        self._noted = noted
        self._implicit = implicit
        self._explicit_length = explicit_length
        self._item = HEADER[order]
        self._header = Struct(order + ("HHI" if implicit else "HH2sH")).unpack_from
        self._long_length = Struct(order + "I").unpack_from
        self.inner: list[list[Shape | None]] = []
        self.top, _ = self._level(0, len(raw), top=True)

    def _level(self, position: int, end: int, *, top: bool) -> tuple[list[Shape | None], int]:
        """Return the shapes of a level, and where it ends."""
        shapes: list[Shape | None] = []
        while position + 8 <= end:
            tag, vr, kind, head, length = self._read(position)
            if tag == ITEM_END:
                break
            if tag == PIXEL_DATA and top:
                if kind in _PIXELS and length != UNDEFINED and not length & 1 and tag not in self._noted:
                    header = Span(CONSTANT, head, self._raw[position : position + head])
                    shapes.append(Shape(tag, vr, (header, Span(BEYOND, length))))
                break
            shape: Shape | None
            if kind == kinds.SEQUENCE and (length or not self._explicit_length):
                shape, position = self._sequence(position, tag, vr, head, length)
            else:
                shape = self._element(position, tag, vr, kind, head, length, top=top)
                position += head + length
            shapes.append(shape)
        return shapes, position

    def _read(self, position: int) -> tuple[int, bytes, int | None, int, int]:
        """Return the tag, VR, kind, size of header and length of value of an element."""
        if self._implicit:
            group, element, length = self._header(self._raw, position)
            tag = group << 16 | element
            return tag, b"", self._kind_of.get(tag), 8, length
        group, element, vr, length = self._header(self._raw, position)
        kind = self._kind_of.get(vr) if group != 0xFFFE else None  # items have no VR
        if kind in _LONG:
            return group << 16 | element, vr, kind, 12, self._long_length(self._raw, position + 8)[0]
        return group << 16 | element, vr, kind, 8, length

    def _element(
        self, position: int, tag: int, vr: bytes, kind: int | None, head: int, length: int, *, top: bool
    ) -> Shape | None:
        """Return the shape of an element without items, None if it has to be walked."""
        noted = top and tag in self._noted
        if (
            kind in (None, kinds.RELABELLED)
            or not tag & 0xFFFF
            or tag >= TRAILING_PADDING
            or length & 1
            or position + head + length > len(self._raw)  # an undefined length, too
            or (noted and (length > SMALL or (tag in IDENTITY and kind != kinds.UID)))
        ):
            return None
        spans = [Span(CONSTANT, head, self._raw[position : position + head])]
        if length or noted:
            looked_at = SKIPPED
            if length and kind == kinds.UID:
                looked_at = UID
            elif length and kind in (kinds.TEXTUAL, kinds.LONG_TEXT):
                looked_at = TEXT
            spans.append(Span(looked_at, length, noted=noted))
        return Shape(tag, vr, tuple(spans))

    def _sequence(self, start: int, tag: int, vr: bytes, head: int, length: int) -> tuple[Shape | None, int]:
        """Return the shape of a sequence, None if something in it has to be walked; and where it ends."""
        raw, undefined, whole = self._raw, length == UNDEFINED, True
        spans = [Span(CONSTANT, head, raw[start : start + head])]
        begun: list[Begun] = [(head, BEGIN, undefined)]
        changed = undefined == self._explicit_length
        position = start + head
        end = len(raw) if undefined else position + length

        def constant(size: int) -> None:
            if size:
                spans.append(Span(CONSTANT, size, raw[position : position + size]))

        while True:
            closing = 0
            if undefined or position < end:
                group, element, size = self._item(raw, position)
                closing = 8 * (group << 16 | element == SEQUENCE_END)
                if not closing and group << 16 | element != ITEM:
                    raise IndexError
            if closing or (position >= end and not undefined):
                constant(closing)
                begun.append((position - start, SEQUENCE_END, closing))
                break
            constant(8)
            position += 8
            item_undefined = size == UNDEFINED
            changed |= item_undefined == self._explicit_length
            begun.append((position - start, BEGIN, item_undefined))
            shapes, behind = self._level(position, end if item_undefined else position + size, top=False)
            self.inner.append(shapes)
            for shape in shapes:
                if shape is None:
                    whole = False
                    break
                spans += shape.spans
                begun += [(position - start + at, kind, size) for at, kind, size in shape.begun]
                changed |= shape.changed
                position += shape.size
            position = behind
            closing = 8 * item_undefined
            constant(closing)
            begun.append((position - start, ITEM_END, closing))
            position += closing
        return Shape(tag, vr, tuple(spans), tuple(begun), changed) if whole else None, position + closing
