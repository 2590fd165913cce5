"""UIDs from the head of a streamed data set: the study and series of an object.

Only the top level (PS3.5 section 7) is parsed, up to the last requested tag; a plain head needs no parser. After an
error in the data set the UIDs found so far remain: reporting the error is left to the storage.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from struct import Struct
from struct import error as struct_error
from typing import TYPE_CHECKING, Final

from movescu.dataset.identity import IdentityReader
from movescu.dataset.transcoder import Reader
from movescu.dictionary.vr import KNOWN, LONG, Buffer, uid_text
from movescu.errors import DataSetError

if TYPE_CHECKING:
    from movescu.dictionary.uids import TransferSyntax


_EXPLICIT: Final = Struct("<HH2sH").unpack_from
_IMPLICIT: Final = Struct("<HHI").unpack_from
_LONG_LENGTH: Final = Struct("<I").unpack_from
_UNDEFINED: Final = 0xFFFFFFFF
_FRONT: Final = 1 << 14  # bytes; the UIDs of most objects are in them

_sizes: Final[defaultdict[tuple[bool, tuple[int, ...]], dict[bytes, int]]] = defaultdict(dict)
"""Size of header and value of an element that is passed, by its header: an object shares most headers with the one
before. By implicit VR and the tags that are looked for; these, and elements that need a closer look, are not in it."""
_MOST_SIZES: Final = 8192
_text: Final = lru_cache(64)(uid_text)  # those of the object before, mostly


def uids_at_front(  # noqa: C901, PLR0912 - one loop over the elements, for each object
    data: memoryview, syntax: TransferSyntax, tags: tuple[int, ...]
) -> dict[int, str] | None:
    """Return the values of UID elements at the top level by tag, as ``Peek`` finds them, but fast.

    ``tags``: in ascending order. Return None for a data set that is not plain up to the last of them (big endian,
    deflated, or with undefined lengths), or has not arrived as far as that.
    """
    if syntax.big_endian or syntax.deflated:
        return None
    found: dict[int, str] = {}
    raw = bytes(data[:_FRONT])
    position, last, implicit = 0, tags[-1], syntax.implicit
    sizes = _sizes[implicit, tags]
    size_of = sizes.get
    try:
        while True:
            while size := size_of(header := raw[position : position + 8]):
                position += size
            if implicit:
                group, element, length = _IMPLICIT(header)
                start = position + 8
            else:
                group, element, vr, length = _EXPLICIT(header)
                start = position + 8
                if vr in LONG:
                    (length,) = _LONG_LENGTH(raw, start)
                    start += 4
                elif vr not in KNOWN:
                    return None
            tag = group << 16 | element
            if tag > last:
                return found
            if length == _UNDEFINED:
                return None
            end = start + length
            if tag in tags:
                found.setdefault(tag, _text(raw[start:end]))
                if len(found) == len(tags) and end <= len(raw):
                    return found
            elif start == position + 8 and len(sizes) < _MOST_SIZES:
                sizes[header] = 8 + length
            position = end
    except struct_error:
        return None


class _EnoughError(Exception):
    """The last requested tag has been passed."""


class Peek(IdentityReader):
    """Collects the values of UID elements by tag in ``uids`` from the bytes as received."""

    def __init__(self, syntax: TransferSyntax, tags: tuple[int, ...]) -> None:
        super().__init__()
        self._syntax = syntax
        self._tags = tags
        self._last = max(tags)
        self._is_fresh = True
        self._reader: Reader | None = None
        self.uids: dict[int, str] = {}

    def feed(self, fragment: memoryview) -> None:
        """Parse the next bytes, which are borrowed."""
        if self._is_fresh:
            self._is_fresh = False
            found = uids_at_front(fragment, self._syntax, self._tags)
            if found is None:
                self._reader = Reader(self._syntax, self)
            else:
                self.uids = found
        if self._reader is None:
            return
        try:
            self._reader.feed(fragment)
        except (_EnoughError, DataSetError):
            self._reader = None

    def element(self, tag: int, vr: bytes, value: Buffer, big: bool) -> None:  # noqa: ARG002, FBT001 - see Handler
        """Record a requested UID."""
        if self._depth:
            return
        if tag in self._tags:
            self.uids.setdefault(tag, uid_text(value))
        if tag >= self._last:
            raise _EnoughError

    def begin(self, tag: int, vr: bytes, length: int, big: bool) -> None:  # noqa: ARG002, FBT001 - see Handler
        """Skip a large value."""
        if not self._depth and tag >= self._last:
            raise _EnoughError

    def begin_fragments(self, tag: int) -> None:  # noqa: ARG002 - see Handler
        """Stop at pixel data."""
        raise _EnoughError
