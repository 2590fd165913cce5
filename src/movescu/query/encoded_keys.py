"""Keys from an encoded data set, as a query file or pydicom holds it (PS3.5 section 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from movescu.dataset.encoder import MAX_OPEN, swap
from movescu.dataset.transcoder import MAX_HELD, Reader
from movescu.dictionary.vr import UNITS, tag_text
from movescu.errors import DataSetError
from movescu.query.key import Key, ordered

if TYPE_CHECKING:
    from movescu.dictionary.uids import TransferSyntax
    from movescu.dictionary.vr import Buffer


def keys_of(data: Buffer, syntax: TransferSyntax) -> tuple[Key, ...]:
    """Return the keys of a data set in order of tags. Raise ``DataSetError`` if it is malformed."""
    handler = _KeyReader()
    reader = Reader(syntax, handler, MAX_HELD)
    reader.feed(memoryview(data))
    reader.finish()
    return handler.keys()


class _KeyReader:
    """The parser's handler that makes keys."""

    def __init__(self) -> None:
        self._levels: list[list[Key]] = [[]]
        self._sequences: list[tuple[int, list[list[Key]]]] = []
        self._count = 0  # elements of the open levels
        self._large: tuple[int, bytes, bool] = (0, b"", False)
        self._parts: list[bytes] = []

    def keys(self) -> tuple[Key, ...]:
        """Return the keys read."""
        return ordered(self._levels[0])

    def element(self, tag: int, vr: bytes, value: Buffer, big: bool) -> None:  # noqa: FBT001 - see Handler
        """Take a key."""
        data = bytes(value)
        unit = UNITS.get(vr, 1) if big else 1
        if unit > 1:
            data = swap(data + b"\0" * (len(data) & 1), unit)  # padded first, as by the encoder
        self._take(Key(tag, vr, data))

    def begin(self, tag: int, vr: bytes, length: int, big: bool) -> None:  # noqa: ARG002, FBT001 - see Handler
        """Begin a large value."""
        self._large, self._parts = (tag, vr, big), []

    def part(self, data: Buffer) -> None:
        """Keep a part of a large value."""
        self._parts.append(bytes(data))

    def end(self) -> None:
        """Take the key of a large value."""
        tag, vr, big = self._large
        self.element(tag, vr, b"".join(self._parts), big)

    def begin_sequence(self, tag: int) -> None:
        """Begin a sequence."""
        self._sequences.append((tag, []))

    def end_sequence(self) -> None:
        """Take the key of a sequence."""
        tag, items = self._sequences.pop()
        self._take(Key(tag, b"SQ", items=items))

    def begin_item(self) -> None:
        """Begin an item."""
        self._levels.append([])

    def end_item(self) -> None:
        """End an item."""
        item = self._levels.pop()
        self._count -= len(item)
        self._sequences[-1][1].append(item)

    def begin_fragments(self, tag: int) -> None:
        """Refuse encapsulated pixel data."""
        raise DataSetError(f"{tag_text(tag)}: a query cannot have encapsulated pixel data")

    def begin_fragment(self, length: int) -> None:
        """Ignore a fragment: ``begin_fragments`` has refused it."""

    def end_fragments(self) -> None:
        """Ignore the end of fragments, as above."""

    def _take(self, key: Key) -> None:
        self._count += 1
        if self._count > MAX_OPEN:  # as many as the encoder takes
            raise DataSetError(f"{tag_text(key.tag)}: more than {MAX_OPEN} elements in data set and open items")
        self._levels[-1].append(key)
