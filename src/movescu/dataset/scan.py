"""The hot path: whether a received data set has to change at all (PS3.5 section 7).

``unchanged`` walks the bytes of a whole object in one loop with next to no work per element and gives up, for
``recode`` to look closer, as soon as something is not as ``Encoder`` would write it: a value with padding to strip,
an odd length, a tag out of order, a delimiter where a length is wanted, a wrong group length. It never raises: what
cannot be read is not canonical, and the slow way says what is wrong. ``IdentityReader`` is the handler of that way.

The two loops, for explicit and implicit VR, are long and alike on purpose: a call per element would cost as much as
the rest of the work (0.1 of 0.35 us).
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import TYPE_CHECKING, Final

from movescu import dictionary

from .elements import (
    BLANKS,
    ITEM_END,
    KNOWN,
    LONG,
    MAX_DEPTH,
    PIXEL_DATA,
    TEXT,
    TRAILING_PADDING,
    UNDEFINED,
    Buffer,
    Vocabulary,
    uid_text,
)
from .encoding import SINCE_1993, Encoding, GroupLength, Identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from movescu.uids import TransferSyntax

_CLASS_UID: Final = 0x00080016
_INSTANCE_UID: Final = 0x00080018
_IDENTITY: Final = frozenset((_CLASS_UID, _INSTANCE_UID))
_PLAIN, _TEXT, _UI, _LONG, _LONG_TEXT, _SQ, _RELABELLED = range(7)


def _kind(vr: bytes) -> int:
    if vr == b"SQ":
        return _SQ
    if vr == b"UI":
        return _UI
    if vr in TEXT:
        return _LONG_TEXT if vr in LONG else _TEXT
    return _LONG if vr in LONG else _PLAIN


_EXPLICIT_KINDS: Final = {vr: _kind(vr) for vr in KNOWN}
_OLD_KINDS: Final = {**_EXPLICIT_KINDS, **dict.fromkeys(SINCE_1993, _RELABELLED)}


@dictionary.derived
def _implicit_kinds() -> dict[int, int]:
    """Give the kind of every tag of PS3.6; an ambiguous VR is never text."""
    simple = {_LONG: _PLAIN, _LONG_TEXT: _TEXT}
    return {tag: simple.get(kind := _kind(vr.encode()), kind) for tag, vr in dictionary.tags().items()}


def unchanged(data: Buffer, syntax: TransferSyntax, encoding: Encoding) -> Identity | None:
    """Give the identity of a data set that ``recode`` would leave as it is; None if it would not, or may not."""
    found = _walk(data, syntax, encoding)
    if found is None or found[1] != len(data) or _overlooks(found[0], data, syntax):
        return None
    return found[0]


def _overlooks(identity: Identity, data: Buffer, syntax: TransferSyntax) -> bool:
    """Tell whether a UID that was not found may stand there in another VR than UI."""
    if None not in (identity.sop_class_uid, identity.sop_instance_uid):
        return False
    tag = Struct(">HH" if syntax.big_endian else "<HH").pack
    whole = bytes(data)  # such objects are refused anyway: here it may take its time
    return any(tag(each >> 16, each & 0xFFFF) in whole for each in _IDENTITY)


def unchanged_head(data: Buffer, syntax: TransferSyntax, encoding: Encoding) -> tuple[Identity, int] | None:
    """Tell whether the first bytes of a data set reach into native pixel data, and stay as they are so far.

    Gives the identity and how many bytes of the pixel data's value are still to come; None if they do not, or more
    bytes are needed to tell. What comes behind the pixel data has to be looked at by who asks.
    """
    found = _walk(data, syntax, encoding)
    if found is None or found[1] <= len(data) or None in (found[0].sop_class_uid, found[0].sop_instance_uid):
        return None  # without its identity the pixel data is in the wrong place: the identity may follow
    return found[0], found[1] - len(data)


def _walk(data: Buffer, syntax: TransferSyntax, encoding: Encoding) -> tuple[Identity, int] | None:
    """Give the identity and where the last element ends, which may be beyond the data if it is native pixel data."""
    target = encoding.transfer_syntax or syntax
    if (
        syntax.deflated
        or (target.implicit, target.big_endian, target.deflated) != (syntax.implicit, syntax.big_endian, False)
        or encoding.group_length is GroupLength.CREATE
        or encoding.file_padding
        or encoding.item_padding
    ):
        return None
    walk = _implicit if syntax.implicit else _explicit
    try:
        found = walk(data, syntax, encoding)
    except (struct_error, IndexError):
        return None
    if found is None:
        return None
    uids, position = found
    return Identity(uids.get(_CLASS_UID), uids.get(_INSTANCE_UID)), position


def _explicit(  # noqa: C901, PLR0911, PLR0912, PLR0915 - one loop, see above
    data: Buffer, syntax: TransferSyntax, encoding: Encoding
) -> tuple[dict[int, str], int] | None:
    order = ">" if syntax.big_endian else "<"
    header = Struct(order + "HH2sH").unpack_from
    long_length = Struct(order + "I").unpack_from
    next_item = _item_reader(data, order, explicit_length=encoding.explicit_length)
    explicit_length, remove = encoding.explicit_length, encoding.group_length is GroupLength.REMOVE
    encapsulated = syntax.encapsulated
    keeps_fragments = (encoding.transfer_syntax or syntax).encapsulated
    kinds = (_EXPLICIT_KINDS if encoding.new_vr else _OLD_KINDS).get
    uids: dict[int, str] = {}
    stack: list[tuple[int, int, int, int, int]] = []
    # The level ends at ``end``, the group whose length was given at ``mark`` (-1: none), the sequence around the level
    # at ``sequence_end``; ``stop`` is where one of the first two has to be looked at.
    position, last, mark, group, sequence_end = 0, -1, -1, -1, -1
    end = stop = len(data)
    while True:
        if position >= stop:
            if mark >= 0:
                if position != mark or last >> 16 != group or (position < end and header(data, position)[0] == group):
                    return None
                mark, stop = -1, end
                if position < end:
                    continue
            if position != end:
                return (uids, position) if position > end and last == PIXEL_DATA and not stack else None
            if last >= TRAILING_PADDING:
                return None
            if not stack:
                return (uids, position) if last >= 0 else None
            if not explicit_length:
                return None
            if position == sequence_end:
                sequence_end, end, last, mark, group = stack.pop()
                stop = mark if 0 <= mark < end else end
                continue
            position, end = next_item(position, sequence_end)
            stop, last = end, -1
            continue
        g, e, vr, n = header(data, position)
        tag = g << 16 | e
        if tag <= last:
            return None
        kind = kinds(vr)
        if kind == _TEXT:
            position += 8 + n
            if n & 1 or data[position - 1] == 32 == data[position - 2]:
                return None
        elif kind == _PLAIN:
            position += 8 + n
            if n & 1:
                return None
        elif kind == _UI:
            position += 8 + n
            if n:
                value = bytes(data[position - n : position])
                if n & 1 or value[-2] == 0 == value[-1] or value.translate(None, BLANKS) != value:
                    return None
                if not stack and tag in _IDENTITY:
                    uids[tag] = value.strip(b"\0").decode("ascii", "replace")
            elif not stack and tag in _IDENTITY:
                uids[tag] = ""
        elif kind is None or kind == _RELABELLED:
            if tag != ITEM_END or explicit_length or not stack or mark >= 0 or last >= TRAILING_PADDING:
                return None
            if long_length(data, position + 4)[0]:
                return None
            position, end = next_item(position + 8, sequence_end)
            stop, last = end, -1
            if end < 0:
                sequence_end, end, last, mark, group = stack.pop()
                stop = mark if 0 <= mark < end else end
            continue
        else:
            if n:
                return None
            n = long_length(data, position + 8)[0]
            position += 12
            if kind == _SQ:
                if (n == UNDEFINED) == explicit_length or len(stack) >= MAX_DEPTH or not e:
                    return None
                if n:
                    stack.append((sequence_end, end, tag, mark, group))
                    sequence_end = position + n if explicit_length else end
                    if explicit_length and sequence_end > stop:
                        return None
                    position, end = next_item(position, sequence_end)
                    stop, last, mark = end, -1, -1
                    if end < 0:
                        sequence_end, end, last, mark, group = stack.pop()
                        stop = mark if 0 <= mark < end else end
                    continue
            elif n == UNDEFINED:
                if tag != PIXEL_DATA or vr != b"OB" or not encapsulated or not keeps_fragments:
                    return None
                position = _fragments(data, position, order)
            else:
                position += n
                if n & 1 or (kind == _LONG_TEXT and n and data[position - 1] == 32 == data[position - 2]):
                    return None
                if tag == PIXEL_DATA and encapsulated and not stack:
                    return None
        last = tag
        if not e:
            if vr != b"UL" or n != 4 or remove or mark >= 0:
                return None
            group, mark = g, position + long_length(data, position - 4)[0]
            stop = min(end, mark)


def _implicit(  # noqa: C901, PLR0911, PLR0912, PLR0915 - one loop, see above
    data: Buffer, syntax: TransferSyntax, encoding: Encoding
) -> tuple[dict[int, str], int] | None:
    order = ">" if syntax.big_endian else "<"
    header = Struct(order + "HHI").unpack_from
    next_item = _item_reader(data, order, explicit_length=encoding.explicit_length)
    explicit_length, remove = encoding.explicit_length, encoding.group_length is GroupLength.REMOVE
    kinds = _implicit_kinds().get
    vocabulary = Vocabulary()
    uids: dict[int, str] = {}
    stack: list[tuple[int, int, int, int, int, Vocabulary]] = []
    position, last, mark, group, sequence_end = 0, -1, -1, -1, -1  # as in _explicit
    end = stop = len(data)
    while True:
        if position >= stop:
            if mark >= 0:
                if position != mark or last >> 16 != group or (position < end and header(data, position)[0] == group):
                    return None
                mark, stop = -1, end
                if position < end:
                    continue
            if position != end:
                return (uids, position) if position > end and last == PIXEL_DATA and not stack else None
            if last >= TRAILING_PADDING:
                return None
            if not stack:
                return (uids, position) if last >= 0 else None
            if not explicit_length:
                return None
            if position == sequence_end:
                sequence_end, end, last, mark, group, vocabulary = stack.pop()
                stop = mark if 0 <= mark < end else end
                continue
            position, end = next_item(position, sequence_end)
            stop, last, vocabulary = end, -1, Vocabulary()
            continue
        g, e, n = header(data, position)
        tag = g << 16 | e
        if tag <= last:
            return None
        position += 8
        kind = kinds(tag)
        if kind is None:
            if g == 0xFFFE:
                if tag != ITEM_END or explicit_length or not stack or n or mark >= 0 or last >= TRAILING_PADDING:
                    return None
                position, end = next_item(position, sequence_end)
                stop, last, vocabulary = end, -1, Vocabulary()
                if end < 0:
                    sequence_end, end, last, mark, group, vocabulary = stack.pop()
                    stop = mark if 0 <= mark < end else end
                continue
            vr = vocabulary.vr(tag)
            kind = _TEXT if vr in TEXT else _kind(vr)
            if g & 1 and n <= 66:
                vocabulary.learn(tag, data[position : position + n])
            if vr == b"UN" and n == UNDEFINED:
                kind = _SQ
        if kind == _TEXT:
            position += n
            if n & 1 or (n and data[position - 1] == 32 == data[position - 2]):
                return None
        elif kind == _UI:
            position += n
            if n:
                value = bytes(data[position - n : position])
                if n & 1 or value[-2] == 0 == value[-1] or value.translate(None, BLANKS) != value:
                    return None
                if not stack and tag in _IDENTITY:
                    uids[tag] = value.strip(b"\0").decode("ascii", "replace")
            elif not stack and tag in _IDENTITY:
                uids[tag] = ""
        elif kind == _SQ:
            if (n == UNDEFINED) == explicit_length or len(stack) >= MAX_DEPTH:
                return None
            if n:
                stack.append((sequence_end, end, tag, mark, group, vocabulary))
                sequence_end = position + n if explicit_length else end
                if explicit_length and sequence_end > stop:
                    return None
                position, end = next_item(position, sequence_end)
                stop, last, mark, vocabulary = end, -1, -1, Vocabulary()
                if end < 0:
                    sequence_end, end, last, mark, group, vocabulary = stack.pop()
                    stop = mark if 0 <= mark < end else end
                continue
        else:
            position += n
            if n & 1:
                return None
        last = tag
        if not e:
            if n != 4 or remove or mark >= 0:
                return None
            group, mark = g, position + int.from_bytes(data[position - 4 : position], "little")
            stop = min(end, mark)


def _item_reader(data: Buffer, order: str, *, explicit_length: bool) -> Callable[[int, int], tuple[int, int]]:
    """Make the function that reads an item header and gives where the item's content begins and its level ends.

    It raises ``IndexError``, a way out that both loops have anyway, if no item of the wanted kind stands there; an end
    of -1 says that a sequence delimiter did. In sequences of undefined length the level ends with the sequence's.
    """
    header = Struct(order + "HHI").unpack_from

    def read(position: int, sequence_end: int) -> tuple[int, int]:
        group, element, length = header(data, position)
        if group == 0xFFFE:
            end = position + 8 + length
            if element == 0xE000 and explicit_length and end <= sequence_end:
                return position + 8, end
            if element == 0xE000 and not explicit_length and length == UNDEFINED:
                return position + 8, sequence_end
            if element == 0xE0DD and not explicit_length and not length:
                return position + 8, -1
        raise IndexError

    return read


def _fragments(data: Buffer, position: int, order: str) -> int:
    """Walk encapsulated pixel data (PS3.5 A.4) and give the position after it, or ``IndexError``."""
    header = Struct(order + "HHI").unpack_from
    while True:
        group, element, length = header(data, position)
        position += 8
        if group != 0xFFFE or length & 1:
            raise IndexError
        if element == 0xE000:
            position += length
        elif element == 0xE0DD and not length:
            return position
        else:
            raise IndexError


class IdentityReader:
    """A handler that takes nothing from a data set but its identity."""

    def __init__(self) -> None:
        self._depth = 0
        self._uids: dict[int, str] = {}

    def identity(self) -> Identity:
        """Give what was found, the first of equal tags."""
        return Identity(self._uids.get(_CLASS_UID), self._uids.get(_INSTANCE_UID))

    def element(self, tag: int, vr: bytes, value: Buffer, big: bool) -> None:  # noqa: ARG002, FBT001 - see Handler
        """Take an element."""
        if not self._depth and tag in _IDENTITY:
            self._uids.setdefault(tag, uid_text(value))

    def begin(self, tag: int, vr: bytes, length: int, big: bool) -> None:  # noqa: ARG002, FBT001 - see Handler
        """Pass over a large value; a UID it cannot be."""
        if not self._depth and tag in _IDENTITY:
            self._uids.setdefault(tag, "")

    def part(self, data: Buffer) -> None:
        """Pass over a part."""

    def end(self) -> None:
        """Pass over an end."""

    def begin_sequence(self, tag: int) -> None:  # noqa: ARG002 - see Handler
        """Go down."""
        self._depth += 1

    def end_sequence(self) -> None:
        """Go up."""
        self._depth -= 1

    def begin_item(self) -> None:
        """Pass over an item header."""

    def end_item(self) -> None:
        """Pass over an item's end."""

    def begin_fragments(self, tag: int) -> None:
        """Pass over the header of encapsulated pixel data."""

    def begin_fragment(self, length: int) -> None:
        """Pass over a fragment header."""

    def end_fragments(self) -> None:
        """Pass over the end of encapsulated pixel data."""
