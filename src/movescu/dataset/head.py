r"""Values from the head of a data set, as text, from which a layout makes names (PS3.5 sections 6 and 7).

Top-level elements are read up to the last wanted tag, usually from a file that is being written. A data set as
``encoder`` writes it is walked in one loop. Whatever that loop cannot handle goes to the parser: a deflated data set, a
sequence of undefined length, a head of more than 8 KiB. Text is decoded by the Specific Character Set.
"""

from __future__ import annotations

from functools import cache
from struct import Struct, iter_unpack
from struct import error as struct_error
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu.dataset.character_sets import EXTENDED, SPECIFIC_CHARACTER_SET, decode, terms_of
from movescu.dataset.identity import IdentityReader
from movescu.dataset.transcoder import Reader
from movescu.dataset.values import FLOATS, INTEGERS, SIGNED
from movescu.dictionary import tags as dictionary
from movescu.dictionary.vr import KNOWN, LONG, PIXEL_REPRESENTATION, UNITS, Buffer, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable

    from movescu.dataset.fast_path.scan import Found
    from movescu.dictionary.uids import TransferSyntax

_FIRST: Final = 8 << 10  # bytes; a CT of 150 elements has 5 KiB before its pixel data
_BLOCK: Final = 1 << 16
_SHORT: Final = KNOWN - LONG
_INTEGER: Final = {16: "H", 32: "I", 64: "Q"}  # bits -> format character of struct, unsigned


def read_head(read: Callable[[int, int], bytes], syntax: TransferSyntax, tags: frozenset[int]) -> dict[int, str]:
    """Return the values of the tags present (see ``find`` and ``texts``)."""
    return texts(find(read, syntax, companions(tags)), tags, big=syntax.big_endian)


def companions(tags: frozenset[int]) -> frozenset[int]:
    """Return the given tags and those of the elements on which their reading as text depends."""
    signed = {PIXEL_REPRESENTATION} if any(dictionary.vr_of(tag) == "US or SS" for tag in tags) else set()
    return tags | {SPECIFIC_CHARACTER_SET} | signed


# -- finding elements --------------------------------------------------------------------------------------------------


def find(read: Callable[[int, int], bytes], syntax: TransferSyntax, tags: frozenset[int]) -> Found:
    """Return the elements with the given tags, which include their ``companions``; of equal tags, the first.

    ``read`` returns bytes of the data set by position and size, fewer at its end. Raise ``DataSetError`` if the head is
    malformed; errors of ``read`` pass through.
    """
    data = read(0, _FIRST)
    found = None
    if not syntax.deflated:
        walk = _implicit if syntax.implicit else _explicit
        found = walk(data, _plan(tags, syntax.big_endian), whole=len(data) < _FIRST)
    return _parse(read, syntax, tags) if found is None else found


class _Plan(NamedTuple):
    """What to look for: the wanted tags by the integer value of their four bytes, and how to read headers."""

    wanted: dict[int, int]
    awaited: frozenset[int]
    """The walk ends when all of these are found."""
    last: int
    explicit: Struct
    implicit: Struct
    long_length: Struct

    def beyond(self, number: int) -> bool:
        """Return True if a tag, given as in ``wanted``, follows all wanted ones."""
        return (number if self.explicit.format[0] == ">" else _swapped(number)) > self.last


@cache
def _plan(tags: frozenset[int], big: bool) -> _Plan:  # noqa: FBT001 - a key of the cache
    order = ">" if big else "<"
    return _Plan(
        {tag if big else _swapped(tag): tag for tag in tags},
        # Many data sets have no character set, and it precedes the others: do not wait for it beside them.
        tags - {SPECIFIC_CHARACTER_SET} or tags,
        max(tags),
        Struct(order + "I2sH"),
        Struct(order + "II"),
        Struct(order + "I"),
    )


def _swapped(tag: int) -> int:
    """Return the integer value of a tag's four bytes in little endian: group and element are swapped."""
    return tag >> 16 | (tag & 0xFFFF) << 16


def _explicit(data: bytes, plan: _Plan, *, whole: bool) -> Found | None:
    """Walk explicit VR; return None if the loop cannot handle an element, or more bytes are needed.

    The walk ends when all tags are found, else at an element with a long VR after the last wanted tag, at the latest
    at pixel data.
    """
    header, long_length, wanted, short = plan.explicit.unpack_from, plan.long_length.unpack_from, plan.wanted, _SHORT
    position, size, left = 0, len(data), len(plan.awaited)
    found: Found = {}
    try:
        while position < size and left:
            number, vr, length = header(data, position)
            position += 8
            if vr not in short:
                if vr not in LONG:
                    return None
                if plan.beyond(number):
                    return found
                (length,) = long_length(data, position)
                position += 4
            position += length
            if number in wanted:
                _note(found, wanted[number], vr, data, position, length)
                left -= wanted[number] in plan.awaited
    except (struct_error, IndexError):
        return None
    return found if not left or (whole and position == size) else None


def _implicit(data: bytes, plan: _Plan, *, whole: bool) -> Found | None:
    """Walk implicit VR as ``_explicit`` does, up to the first tag after the last wanted one."""
    header, wanted = plan.implicit.unpack_from, plan.wanted
    position, size = 0, len(data)
    found: Found = {}
    try:
        while position < size:
            number, length = header(data, position)
            position += 8 + length
            if number in wanted:
                tag = wanted[number]
                _note(found, tag, b"SQ" if dictionary.vr_of(tag) == "SQ" else b"", data, position, length)
            elif plan.beyond(number):
                return found
    except (struct_error, IndexError):
        return None
    return found if whole and position == size else None


def _note(found: Found, tag: int, vr: bytes, data: bytes, end: int, length: int) -> None:
    """Record an element. Raise ``IndexError`` if its tag is repeated, it is a sequence, or it exceeds the data."""
    if tag in found or vr == b"SQ" or end > len(data):
        raise IndexError
    found[tag] = vr, data[end - length : end]


def _parse(read: Callable[[int, int], bytes], syntax: TransferSyntax, wanted: frozenset[int]) -> Found:
    """Find the elements with the parser."""
    finder = _Finder(wanted)
    reader = Reader(syntax, finder)
    position = 0
    try:
        while block := read(position, _BLOCK):
            reader.feed(memoryview(block))
            position += len(block)
        reader.finish()
    except _EnoughError:
        pass
    return finder.found


class _EnoughError(Exception):
    """The last wanted tag has been passed."""


class _Finder(IdentityReader):
    """A handler that keeps wanted top-level elements, the first of equal tags, and stops after the last one."""

    def __init__(self, wanted: frozenset[int]) -> None:
        super().__init__()
        self._wanted = wanted
        self._end = max(wanted)
        self.found: Found = {}

    def element(self, tag: int, vr: bytes, value: Buffer, big: bool) -> None:  # noqa: ARG002, FBT001 - see Handler
        """Keep an element if it is wanted."""
        if not self._depth:
            if tag in self._wanted:
                self.found.setdefault(tag, (vr, bytes(value)))
            self._look(tag)

    def begin(self, tag: int, vr: bytes, length: int, big: bool) -> None:  # noqa: ARG002, FBT001 - see Handler
        """Skip a value that is too long for a name."""
        if not self._depth:
            self._look(tag)

    def begin_sequence(self, tag: int) -> None:
        """Enter a sequence."""
        if not self._depth:
            self._look(tag)
        super().begin_sequence(tag)

    def begin_fragments(self, tag: int) -> None:
        """Stop at encapsulated pixel data."""
        self._look(tag)

    def _look(self, tag: int) -> None:
        if tag > self._end:
            raise _EnoughError


# -- reading values ----------------------------------------------------------------------------------------------------


def texts(found: Found, tags: frozenset[int], *, big: bool) -> dict[int, str]:
    r"""Return the values of found tags: without padding, numbers in decimal, multiple values separated by ``\``.

    ``found`` includes the ``companions`` of the tags; ``big`` is its byte order.
    """
    character_set = found[SPECIFIC_CHARACTER_SET][1] if SPECIFIC_CHARACTER_SET in found else b""
    vocabulary = None
    result: dict[int, str] = {}
    for tag, (vr, value) in found.items() if tags else ():
        if not vr:
            vocabulary = vocabulary or Vocabulary()
            vr = vocabulary.vr(tag)  # noqa: PLW2901 - implicit VR: look it up
            vocabulary.learn(tag, value)
        if tag in tags:
            result[tag] = _text(vr, value, character_set, big=big)
    return result


def _text(vr: bytes, value: bytes, character_set: bytes, *, big: bool) -> str:
    if vr in UNITS:
        form = _form(vr.decode(), ">" if big else "<")
        if form is None or len(value) % UNITS[vr]:
            return ""
        return "\\".join(str(number) for (number,) in iter_unpack(form, value))
    text = None
    if vr in EXTENDED and not (value.isascii() and b"\x1b" not in value):  # plain ASCII is the same in all sets
        text = decode(value, terms_of(character_set))
    return (value.decode("latin-1") if text is None else text).strip(" \0")


def _form(vr: str, order: str) -> str | None:
    """Return the ``struct`` format of a numeric VR, None for other VRs."""
    if vr in FLOATS:
        return order + FLOATS[vr][1:]
    if vr not in INTEGERS:
        return None
    letter = _INTEGER[INTEGERS[vr]]
    return order + (letter.lower() if vr in SIGNED else letter)
