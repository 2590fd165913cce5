"""Stretches of elements that successive objects share, and that ``scan`` passes in one step (PS3.5 section 7.1).

The objects of a series differ in some values, few of which differ in length, so that all headers in between stand at
the same distances. A stretch is a run of elements, with their sequences. Three calls of ``struct`` extract its
constants (all headers), the ends of its texts and its UIDs; if the constants are equal, no text has excess padding and
the UIDs are sound, walking element by element would have accepted it as well. The constants include the lengths of
the elements, so a stretch is valid wherever an element begins: it may become useless, never wrong.

Two successive objects show which elements differ in shape, or are missing from one. A stretch ends before such an
element, and the next one begins with it. Stretches are found by their first header, which includes the length: there is
one for each length seen so far. They are learnt from objects that were mostly walked element by element: two in eight,
and fewer and fewer while that brings nothing new.
"""

from __future__ import annotations

from itertools import pairwise
from struct import Struct
from typing import TYPE_CHECKING, Final

from movescu.dataset.fast_path.shapes import BEYOND, CONSTANT, TEXT, UID, Shape, Shapes
from movescu.dictionary.vr import BLANKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from movescu.dataset.fast_path.nesting import Begun, Nesting, Saved

WORTH: Final = 12
"""Elements walked one by one that make an object worth learning from."""
_SHORTEST: Final = 2
_LONGEST: Final = 256  # elements
_MOST: Final = 4096  # stretches kept
_MOST_DIFFERENT: Final = 64  # elements; more are those of different series, which are forgotten
_OFTEN, _SELDOM = 8, 256  # learn from two objects in so many: at first, and when nothing new was learnt for long
_PADDED: Final = b"  "
_NULLS: Final = b"\0\0"


class Stretch:
    """A run of elements of known shapes. ``size``: in bytes. ``tag``, ``end_tag``: of its first and last element."""

    __slots__ = (
        *("_begun", "_constants", "_constants_of", "_ends_of", "_has_pixels", "_needed"),
        *("_noted", "_noted_of", "_uids_of", "changed", "end_tag", "size", "tag"),
    )

    def __init__(self, shapes: list[Shape]) -> None:
        constants, ends, uids, noted = _Fields(), _Fields(), _Fields(), _Fields()
        self._noted: list[tuple[int, bytes]] = []
        """Tags and VRs of the elements that are noted."""
        begun: list[Begun] = []
        for shape in shapes:
            begun += [(constants.size + at, kind, size) for at, kind, size in shape.begun]
            for span in shape.spans:
                constants.add(span.size, taken=span.size if span.kind == CONSTANT else 0)
                ends.add(span.size, taken=2 if span.kind in (TEXT, UID) else 0)
                uids.add(span.size, taken=span.size if span.kind == UID else 0)
                noted.add(span.size, taken=span.size if span.noted else 0, always=span.noted)
                if span.noted:
                    self._noted.append((shape.tag, shape.vr))
        self.size = constants.size
        last = shapes[-1].spans[-1]
        self._has_pixels = last.kind == BEYOND
        self._needed = self.size - (last.size if self._has_pixels else 0)
        self.tag, self.end_tag = shapes[0].tag, shapes[-1].tag
        self._begun = tuple(begun)
        self.changed = any(shape.changed for shape in shapes)
        """Whether a sequence or item in it is not delimited as requested."""
        self._constants_of, self._ends_of, self._uids_of = constants.reader(), ends.reader(), uids.reader()
        self._noted_of = noted.reader()
        spans = [span for shape in shapes for span in shape.spans if span.kind != BEYOND]
        whole = b"".join(span.constant or bytes(span.size) for span in spans)
        self._constants = self._constants_of(whole, 0)

    def reaches(self, position: int, size: int) -> bool:
        """Return True if nothing follows this in an object of ``size`` bytes, in which it ended at a position."""
        return position == size > 0 or (position > size and self._has_pixels)

    def passes(
        self, raw: bytes, position: int, stop: int, found: dict[int, tuple[bytes, bytes]], nesting: Nesting[Saved]
    ) -> bool:
        """Return True as ``matches`` does, and add the sequences to ``nesting``."""
        if not self.matches(raw, position, stop, found):
            return False
        if self._begun:
            nesting.pass_over(position, self._begun, changed=self.changed)
        return True

    def matches(self, raw: bytes, position: int, stop: int, found: dict[int, tuple[bytes, bytes]]) -> bool:
        """Return True if the walk would accept the next ``size`` bytes; pixel data may end behind ``stop``.

        Then add the noted elements to ``found``, VR and value by tag.
        """
        if self._needed > stop - position or self._constants_of(raw, position) != self._constants:
            return False
        ends = self._ends_of(raw, position)
        if _PADDED in ends or _NULLS in ends:
            return False
        uids = b"".join(self._uids_of(raw, position))
        if uids.translate(None, BLANKS) != uids:
            return False
        if self._noted:
            for (tag, vr), value in zip(self._noted, self._noted_of(raw, position), strict=True):
                found[tag] = vr, value
        return True


class _Fields:
    """Makes a reader of fields with gaps between them; successive ones are one."""

    def __init__(self) -> None:
        self.size = 0
        """Bytes so far."""
        self._fields: list[list[int]] = []  # beginning and end

    def add(self, size: int, *, taken: int, always: bool = False) -> None:
        """Add bytes, of which the last ``taken`` are read; ``always``: as a field of its own, even if it is empty."""
        begin, self.size = self.size + size - taken, self.size + size
        if always or (taken and not (self._fields and taken == size and self._fields[-1][1] == begin)):
            self._fields.append([begin, self.size])
        elif taken:
            self._fields[-1][1] = self.size

    def reader(self) -> Callable[[bytes, int], tuple[bytes, ...]]:
        """Return the function that extracts the fields from a buffer at a position."""
        text, at = "<", 0
        for begin, end in self._fields:
            text += f"{begin - at}x{end - begin}s"
            at = end
        return Struct(text).unpack_from


class Stretches:
    """The stretches of one encoding. Shared by threads; one may drop what another has learnt, which is harmless."""

    def __init__(self) -> None:
        self.top = Level()
        """Those of a data set itself, with sequences and noted elements in them."""
        self.inner = Level()
        """Those of items."""
        self._seen = 0
        self._every = _OFTEN

    def learn(self, shapes: Callable[[], Shapes]) -> None:
        """Learn from a walked object; ``shapes`` returns its shapes.

        Whenever that brought nothing new, the next time is twice as far away: to learn costs as much as 30 walks.
        """
        self._seen += 1
        if self._seen > 2 and self._seen % self._every > 1:
            return
        found = shapes()
        known = self.top.known + self.inner.known
        self.top.learn([found.top], alike=True)
        self.inner.learn([_without_items(item) for item in found.inner], alike=False)
        is_second = self._seen % self._every == 1
        if is_second and self._seen > 2 * _OFTEN:
            news = self.top.known + self.inner.known != known
            self._every = _OFTEN if news else min(2 * self._every, _SELDOM)


def _without_items(shapes: Iterable[Shape | None]) -> list[Shape | None]:
    """Return the shapes without those of sequences, whose depth is limited."""
    return [None if shape is None or shape.begun else shape for shape in shapes]


class Level:
    """The stretches of data sets or of items."""

    def __init__(self) -> None:
        self.by_header: dict[bytes, Stretch] = {}
        """The stretches by their first eight bytes."""
        self._last: dict[int, Shape] = {}
        """The shapes of the last object learnt from, or of all items, by tag."""
        self._different: set[int] = set()
        """The tags of elements that differ from object to object, or follow one that is not in all."""

    @property
    def known(self) -> int:
        """Number of stretches and of elements that differ."""
        return len(self.by_header) + len(self._different)

    def learn(self, items: list[list[Shape | None]], *, alike: bool) -> None:
        """Learn from an object's data set, or from its items; ``alike``: an element may be expected in each."""
        if len(self._different) > _MOST_DIFFERENT:
            self._different.clear()
        is_first = not self._last
        for item in items:
            shapes = {shape.tag: shape for shape in item if shape is not None}
            self._different.update(tag for tag in shapes.keys() & self._last.keys() if shapes[tag] != self._last[tag])
            if alike:
                if not is_first:
                    self._different |= _beside_gaps(shapes, self._last) | _beside_gaps(self._last, shapes)
                self._last = shapes
            else:
                self._last |= shapes
        if not is_first:
            for item in items:
                for stretch in self._divided(item):
                    self._keep(stretch)

    def _divided(self, shapes: Iterable[Shape | None]) -> Iterator[list[Shape]]:
        """Yield the runs of elements without one that differs, except as the first."""
        stretch: list[Shape] = []
        for shape in shapes:
            if shape is None or shape.tag in self._different or len(stretch) == _LONGEST:
                if stretch:
                    yield stretch
                stretch = []
            if shape is not None and (shape.tells_length or shape.tag not in self._different):
                stretch.append(shape)
        if stretch:
            yield stretch

    def _keep(self, shapes: list[Shape]) -> None:
        header = shapes[0].header
        if len(shapes) < _SHORTEST:
            self.by_header.pop(header, None)
        elif len(self.by_header) < _MOST or header in self.by_header:
            self.by_header[header] = Stretch(shapes)


def _beside_gaps(shapes: dict[int, Shape], others: dict[int, Shape]) -> set[int]:
    """Return the tags that are not in the other object, and those that follow them."""
    missing = (pair for pair in pairwise([*shapes, 0]) if pair[0] not in others)
    return {tag for pair in missing for tag in pair}
