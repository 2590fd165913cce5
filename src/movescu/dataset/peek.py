"""UIDs from the head of a data set that streams by: which study and series an object belongs to.

Reads the top level (PS3.5 section 7) up to the last of the tags that are wanted, and takes no notice of what follows.
A data set that cannot be read gives what was found before: whether it is any good is for those who store it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from movescu.dataset.identity import IdentityReader
from movescu.dataset.transcoder import Reader
from movescu.dictionary.vr import Buffer, uid_text
from movescu.errors import DataSetError

if TYPE_CHECKING:
    from movescu.dictionary.uids import TransferSyntax


class _EnoughError(Exception):
    """All that is wanted has gone by."""


class Peek(IdentityReader):
    """Finds the values of UID elements, by tag, in ``uids``; is fed the bytes as they were received."""

    def __init__(self, syntax: TransferSyntax, tags: tuple[int, ...]) -> None:
        super().__init__()
        self._tags = tags
        self._last = max(tags)
        self._reader: Reader | None = Reader(syntax, self)
        self.uids: dict[int, str] = {}

    def feed(self, fragment: memoryview) -> None:
        """Take the next bytes, borrowed."""
        if self._reader is None:
            return
        try:
            self._reader.feed(fragment)
        except (_EnoughError, DataSetError):
            self._reader = None

    def element(self, tag: int, vr: bytes, value: Buffer, big: bool) -> None:  # noqa: ARG002, FBT001 - see Handler
        """Take an element."""
        if self._depth:
            return
        if tag in self._tags:
            self.uids.setdefault(tag, uid_text(value))
        if tag >= self._last:
            raise _EnoughError

    def begin(self, tag: int, vr: bytes, length: int, big: bool) -> None:  # noqa: ARG002, FBT001 - see Handler
        """Pass over a large value."""
        if not self._depth and tag >= self._last:
            raise _EnoughError

    def begin_fragments(self, tag: int) -> None:  # noqa: ARG002 - see Handler
        """End at pixel data."""
        raise _EnoughError
