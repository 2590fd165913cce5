r"""Values from the head of a data set, as text: what a layout makes names of (PS3.5 sections 6 and 7).

Reads top-level elements up to the last of the tags that are wanted, wherever the bytes are: in a file that is being
written, mostly. A data set as ``encoder`` writes it is walked in one loop, 15 us for the 60 elements that a CT has up
to its series number. What that loop does not understand goes to the parser: a deflated data set, a sequence of
undefined length, a head of more than 8 KiB. Text is decoded by the Specific Character Set.
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

_FIRST: Final = 8 << 10  # bytes; the whole header of a CT of 150 elements has 5 KiB
_BLOCK: Final = 1 << 16
_SHORT: Final = KNOWN - LONG
_INTEGER: Final = {16: "H", 32: "I", 64: "Q"}  # bits -> the letter of struct, capital where there is no sign


def read_head(read: Callable[[int, int], bytes], syntax: TransferSyntax, tags: frozenset[int]) -> dict[int, str]:
    """Return the values of tags that are there (see ``find`` and ``texts``)."""
    return texts(find(read, syntax, companions(tags)), tags, big=syntax.big_endian)


def companions(tags: frozenset[int]) -> frozenset[int]:
    """Return the tags of what has to be found so that the values of some tags can be read as text, these among them."""
    signed = {PIXEL_REPRESENTATION} if any(dictionary.vr_of(tag) == "US or SS" for tag in tags) else set()
    return tags | {SPECIFIC_CHARACTER_SET} | signed


# -- finding them ------------------------------------------------------------------------------------------------------


def find(read: Callable[[int, int], bytes], syntax: TransferSyntax, tags: frozenset[int]) -> Found:
    """Find elements by their tags, ``companions`` among them, in the head of a data set; of equal ones the first.

    ``read`` gives bytes of the data set: from a position on, as many as asked for or all that there are. Raises
    ``DataSetError`` if the head cannot be read, and what ``read`` raises.
    """
    data = read(0, _FIRST)
    found = None
    if not syntax.deflated:
        walk = _implicit if syntax.implicit else _explicit
        found = walk(data, _plan(tags, syntax.big_endian), whole=len(data) < _FIRST)
    return _parse(read, syntax, tags) if found is None else found


class _Plan(NamedTuple):
    """What to look for: the wanted tags by the number that their four bytes make, and how headers are read."""

    wanted: dict[int, int]
    awaited: frozenset[int]
    """The wanted tags that end the walk when all of them are found."""
    last: int
    explicit: Struct
    implicit: Struct
    long_length: Struct

    def beyond(self, number: int) -> bool:
        """Return True if the tag that makes a number comes behind all that are wanted."""
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
    """Return the number that the bytes of a tag make in little endian, where group and element come one by one."""
    return tag >> 16 | (tag & 0xFFFF) << 16


def _explicit(data: bytes, plan: _Plan, *, whole: bool) -> Found | None:
    """Walk explicit VR; None if something is not as the loop knows it, or more bytes are needed.

    It ends when all is found, else at a long VR behind the last tag that is wanted: pixel data at the latest.
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
    """Walk implicit VR, as ``_explicit`` does, to the first tag behind the last one that is wanted."""
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
    """Note an element; ``IndexError`` if it is the second of its tag, a sequence or beyond the data."""
    if tag in found or vr == b"SQ" or end > len(data):
        raise IndexError
    found[tag] = vr, data[end - length : end]


def _parse(read: Callable[[int, int], bytes], syntax: TransferSyntax, wanted: frozenset[int]) -> Found:
    """Have the parser find them."""
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
    """All that may be wanted has gone by."""


class _Finder(IdentityReader):
    """A handler that keeps the first of equal elements at the top level, and ends behind the last one wanted."""

    def __init__(self, wanted: frozenset[int]) -> None:
        super().__init__()
        self._wanted = wanted
        self._end = max(wanted)
        self.found: Found = {}

    def element(self, tag: int, vr: bytes, value: Buffer, big: bool) -> None:  # noqa: ARG002, FBT001 - see Handler
        """Take an element."""
        if not self._depth:
            if tag in self._wanted:
                self.found.setdefault(tag, (vr, bytes(value)))
            self._look(tag)

    def begin(self, tag: int, vr: bytes, length: int, big: bool) -> None:  # noqa: ARG002, FBT001 - see Handler
        """Pass over a value that is too long for a name."""
        if not self._depth:
            self._look(tag)

    def begin_sequence(self, tag: int) -> None:
        """Go down."""
        if not self._depth:
            self._look(tag)
        super().begin_sequence(tag)

    def begin_fragments(self, tag: int) -> None:
        """End at encapsulated pixel data."""
        self._look(tag)

    def _look(self, tag: int) -> None:
        if tag > self._end:
            raise _EnoughError


# -- reading them ------------------------------------------------------------------------------------------------------


def texts(found: Found, tags: frozenset[int], *, big: bool) -> dict[int, str]:
    r"""Return the values of tags that were found: without padding, numbers in decimal, ``\`` between several.

    ``found`` has the ``companions`` of the tags; ``big`` is its byte order.
    """
    character_set = found[SPECIFIC_CHARACTER_SET][1] if SPECIFIC_CHARACTER_SET in found else b""
    vocabulary = None
    result: dict[int, str] = {}
    for tag, (vr, value) in found.items() if tags else ():
        if not vr:
            vocabulary = vocabulary or Vocabulary()
            vr = vocabulary.vr(tag)  # noqa: PLW2901 - that of implicit VR
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
    if vr in EXTENDED and not (value.isascii() and b"\x1b" not in value):  # else it is the same in all of them
        text = decode(value, terms_of(character_set))
    return (value.decode("latin-1") if text is None else text).strip(" \0")


def _form(vr: str, order: str) -> str | None:
    """Return the form of a number for ``struct``, None if it is none that ``str`` writes."""
    if vr in FLOATS:
        return order + FLOATS[vr][1:]
    if vr not in INTEGERS:
        return None
    letter = _INTEGER[INTEGERS[vr]]
    return order + (letter.lower() if vr in SIGNED else letter)
