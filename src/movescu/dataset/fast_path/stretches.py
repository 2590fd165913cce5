"""Stretches of elements that successive objects share, and that ``scan`` passes in one step (PS3.5 section 7.1).

The objects of a series differ in some values, few of which differ in length, so that the headers in between stand at
the same distances. A stretch is the constant part: the headers, and UIDs with their values. One call of ``struct``
extracts the constants and the ends of texts; if the constants are equal and no text ends with two spaces, walking
element by element would have accepted the stretch as well.

The constants include the lengths of their elements, so a stretch is valid wherever an element begins: it may become
useless, never wrong. Stretches are learnt from two successive objects of those that were walked mostly element by
element: from two in eight at first, later from two in 64.
"""

from __future__ import annotations

from itertools import pairwise
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu.dataset.fast_path import kinds
from movescu.dictionary.vr import PIXEL_DATA, UNDEFINED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

WORTH: Final = 12
"""Elements walked one by one that make an object worth learning from."""
_SHORTEST: Final = 3
_LONGEST: Final = 32  # elements; a long stretch that does not match wastes the more
_MOST: Final = 4096  # stretches kept
_OFTEN, _SELDOM = 8, 64  # learn from two objects in so many: among the first 32, and later
_FIRST: Final = 32

Stretch = tuple["Callable[[bytes, int], tuple[bytes, ...]]", tuple[bytes, ...], int, int, int]
"""Extractor of constants and ends of texts, alternating; the constants; size in bytes; first and last tag."""


class _Element(NamedTuple):
    """An element of a stretch: ``constant``, then ``skipped`` bytes, then ``end`` bytes at the end of a text."""

    tag: int
    constant: bytes
    skipped: int
    end: int


class Stretches:
    """The stretches of one encoding. Shared by threads; one may drop what another has learnt, which is harmless."""

    def __init__(self) -> None:
        self.by_header: dict[bytes, Stretch] = {}
        """The stretches by their first eight bytes."""
        self._seen = 0
        self._last: frozenset[tuple[_Element | None, _Element | None]] = frozenset()

    def learn(self, elements: Callable[[], Iterator[_Element | None]]) -> None:
        """Learn from an object; ``elements`` yields its elements in order, None where a stretch has to end."""
        self._seen += 1
        if self._seen > 2 and self._seen % (_OFTEN if self._seen < _FIRST else _SELDOM) > 1:
            return
        found = list(elements())
        pairs = frozenset(pairwise(found))
        if self._last:
            for stretch in _common(found, self._last):
                self._keep(stretch)
        self._last = pairs

    def _keep(self, elements: Sequence[_Element]) -> None:
        header = elements[0].constant[:8]
        if len(elements) < _SHORTEST:
            for element in elements:
                self.by_header.pop(element.constant[:8], None)
        elif len(self.by_header) < _MOST or header in self.by_header:
            fields = Struct("<" + "".join(f"{len(e.constant)}s{e.skipped}x{e.end}s" for e in elements))
            constants = tuple(element.constant for element in elements)
            self.by_header[header] = fields.unpack_from, constants, fields.size, elements[0].tag, elements[-1].tag


def _common(
    elements: Sequence[_Element | None], pairs: frozenset[tuple[_Element | None, _Element | None]]
) -> Iterator[list[_Element]]:
    """Yield the runs of ascending tags in which all neighbours were neighbours in the other object too."""
    stretch: list[_Element] = []
    for element in elements:
        if element is None:
            if stretch:
                yield stretch
            stretch = []
            continue
        if stretch and (
            len(stretch) == _LONGEST or (stretch[-1], element) not in pairs or element.tag <= stretch[-1].tag
        ):
            yield stretch
            stretch = []
        stretch.append(element)
    if stretch:
        yield stretch


def explicit_elements(
    raw: bytes, order: str, kind_of: Mapping[bytes, int], noted: frozenset[int]
) -> Iterator[_Element | None]:
    """Yield the elements of a walked data set in explicit VR, of all levels in turn, up to pixel data.

    Yield None for an element that no stretch may contain, such as those to be noted.
    """
    header, long_length = Struct(order + "HH2sH").unpack_from, Struct(order + "I").unpack_from
    position, ends = 0, set[int]()
    while position + 8 <= len(raw):
        if position in ends:
            yield None
        group, number, vr, length = header(raw, position)
        tag, kind = group << 16 | number, kind_of.get(vr) if group != 0xFFFE else None  # items have no VR
        if tag == PIXEL_DATA:
            return
        if kind in (kinds.PLAIN, kinds.TEXTUAL, kinds.UID):
            yield None if tag in noted else _element(raw, position, tag, kind, length)
            position += 8 + length
        elif kind in (kinds.LONG_PLAIN, kinds.LONG_TEXT):
            yield None
            position += 12 + long_length(raw, position + 8)[0]
        else:  # a sequence, an item or a delimiter: go on with its content
            yield None
            position += 12 if kind == kinds.SEQUENCE else 8
            ends.add(position + long_length(raw, position - 4)[0])


def implicit_elements(raw: bytes, order: str, noted: frozenset[int]) -> Iterator[_Element | None]:
    """Yield the same for implicit VR: only tags in the dictionary, as the VR of others depends on a creator."""
    header, kind_of = Struct(order + "HHI").unpack_from, kinds.implicit()
    position, ends = 0, set[int]()
    while position + 8 <= len(raw):
        if position in ends:
            yield None
        group, number, length = header(raw, position)
        tag = group << 16 | number
        kind = kind_of.get(tag)
        if tag == PIXEL_DATA:
            return
        if kind in (kinds.PLAIN, kinds.TEXTUAL, kinds.UID):
            yield None if tag in noted else _element(raw, position, tag, kind, length)
            position += 8 + length
        else:
            yield None
            position += 8
            if kind == kinds.SEQUENCE or group == 0xFFFE or length == UNDEFINED:
                ends.add(position + length)
            else:
                position += length


def _element(raw: bytes, position: int, tag: int, kind: int, length: int) -> _Element | None:
    """Return an element for a stretch, None if it has to be checked each time."""
    behind = position + 8 + length
    if not tag & 0xFFFF or length & 1 or behind > len(raw):
        return None
    if kind == kinds.UID:
        sound = not length or kinds.sound_uid(raw[position + 8 : behind])
        return _Element(tag, raw[position:behind], 0, 0) if sound else None
    end = 2 if kind == kinds.TEXTUAL and length else 0
    return _Element(tag, raw[position : position + 8], length - end, end)
