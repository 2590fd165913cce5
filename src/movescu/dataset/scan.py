"""The hot path: whether a received data set has to change at all (PS3.5 section 7).

``adapted`` walks the bytes of a whole object in one loop with next to no work per element and gives up, for ``recode``
to look closer, as soon as something is not as ``Encoder`` would write it: a value with padding to strip, an odd length,
a tag out of order, a wrong group length. Lengths of sequences alone are changed here (``nesting``). It never raises:
what cannot be read is not canonical, and the slow way says what is wrong. ``IdentityReader`` is the handler of that
way.

The two loops, for explicit and implicit VR, are long and alike on purpose: a call per element would cost as much as
the rest of the work (0.1 of 0.35 us).
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import TYPE_CHECKING, Final

from movescu import dictionary

from .encoding import SINCE_1993, Encoding, GroupLength, Identity
from .nesting import Nesting
from .vr import (
    BLANKS,
    ITEM_END,
    KNOWN,
    LONG,
    PIXEL_DATA,
    TEXT,
    TRAILING_PADDING,
    UNDEFINED,
    Buffer,
    Vocabulary,
    uid_text,
)

if TYPE_CHECKING:
    from movescu.uids import TransferSyntax

    _State = tuple[int, int, int]
    _Walked = tuple[dict[int, str], int, Nesting[_State] | Nesting[tuple[int, int, int, Vocabulary]], bool]

_CLASS_UID: Final = 0x00080016
_INSTANCE_UID: Final = 0x00080018
_IDENTITY: Final = frozenset((_CLASS_UID, _INSTANCE_UID))
_MET: Final[dict[tuple[bool, bool], dict[bytes, tuple[int, int, bool]]]] = {
    (big, new): {} for big in (False, True) for new in (False, True)
}
"""Headers of elements that were met, by byte order and whether VRs since 1993 are wanted: an object has most of its
headers in common with the one before. Gives tag, bytes of header and value, and whether a pair of blanks at its end has
to go. Elements that need more than that are not kept: UIDs, sequences, 32 bit lengths, group lengths. 27 us of 64
elements became 17."""
_MOST_MET: Final = 8192


@dictionary.derived
def _implicit_met() -> dict[bytes, tuple[int, int, bool]]:
    """Give the same for implicit VR, where only elements of PS3.6 are kept: their VR does not depend on a creator."""
    return {}


_IN_ITEM: Final = (-1, -1, -1)
"""Last tag, mark and group at the beginning of an item."""
_PLAIN, _TEXT, _UI, _LONG, _LONG_TEXT, _SQ, _RELABELLED = range(7)
_HEAD: Final = 1 << 15  # bytes in which the pixel data of most objects begins; copying more of them would cost 20 us
_SIMPLE: Final = (_PLAIN, _TEXT)


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
    found = adapted(data, syntax, encoding)
    return found[0] if found is not None and found[1] is data else None


def adapted(data: Buffer, syntax: TransferSyntax, encoding: Encoding) -> tuple[Identity, Buffer] | None:
    """Give the identity of a data set, and what ``recode`` would make of it: the data itself if nothing has to change.

    None if more than lengths of sequences has, or may have, to change.
    """
    found = _walk(data, syntax, encoding)
    if found is None or found[1] != len(data):
        return None
    return found[0], found[2]


def adapted_head(data: Buffer, syntax: TransferSyntax, encoding: Encoding) -> tuple[Identity, Buffer, int] | None:
    """Do the same with the first bytes of a data set, if they reach into native pixel data.

    Gives also how many bytes of the pixel data's value are still to come; None if they do not reach it, or more bytes
    are needed to tell. What comes behind the pixel data has to be looked at by who asks.
    """
    head = data if len(data) <= _HEAD else bytes(data[:_HEAD])
    found = _walk(head, syntax, encoding)
    if head is not data and (found is None or found[1] <= len(head)):
        head = data
        found = _walk(head, syntax, encoding)
    if found is None or found[1] <= len(data) or None in (found[0].sop_class_uid, found[0].sop_instance_uid):
        return None  # without its identity the pixel data is in the wrong place: the identity may follow
    identity, end, result = found
    return identity, data if result is head else b"".join((result, data[len(head) :])), end - len(data)


def _walk(data: Buffer, syntax: TransferSyntax, encoding: Encoding) -> tuple[Identity, int, Buffer] | None:
    """Give the identity, where the last element ends, and the bytes of the result.

    That end may be beyond the data if the element is native pixel data.
    """
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
    uids, position, nesting, grouped = found
    identity = Identity(uids.get(_CLASS_UID), uids.get(_INSTANCE_UID))
    if not nesting.changed:
        return identity, position, data
    return None if grouped else (identity, position, nesting.splice())


def _explicit(  # noqa: C901, PLR0911, PLR0912, PLR0915 - one loop, see above
    data: Buffer, syntax: TransferSyntax, encoding: Encoding
) -> _Walked | None:
    order = ">" if syntax.big_endian else "<"
    header = Struct(order + "HH2sH").unpack_from
    long_length = Struct(order + "I").unpack_from
    explicit_length, remove = encoding.explicit_length, encoding.group_length is GroupLength.REMOVE
    encapsulated = syntax.encapsulated
    keeps_fragments = (encoding.transfer_syntax or syntax).encapsulated
    kinds = (_EXPLICIT_KINDS if encoding.new_vr else _OLD_KINDS).get
    raw = data if isinstance(data, bytes) else bytes(data)
    met = _MET[syntax.big_endian, encoding.new_vr]
    known = met.get
    uids: dict[int, str] = {}
    nesting: Nesting[_State] = Nesting(data, order, explicit_length=explicit_length)
    # The level ends at ``end``, the group whose length was given at ``mark`` (-1: none); ``stop`` is where one of them
    # has to be looked at. ``grouped``: a group length was met.
    position, last, mark, group, depth, grouped = 0, -1, -1, -1, 0, False
    end = stop = len(data)
    while True:
        if position >= stop:
            if mark >= 0:
                if position != mark or last >> 16 != group or (position < end and header(raw, position)[0] == group):
                    return None
                mark, stop = -1, end
                if position < end:
                    continue
            if position != end:
                reaches = position > end and last == PIXEL_DATA and not depth
                return (uids, position, nesting, grouped) if reaches else None
            if last >= TRAILING_PADDING:
                return None
            if not depth:
                return (uids, position, nesting, grouped) if last >= 0 else None
            position, end, saved = nesting.end_item(position)
            last, mark, group = saved or _IN_ITEM
            depth -= saved is not None
            stop = mark if 0 <= mark < end else end
            continue
        while position < stop and (element := known(raw[position : position + 8])):
            tag, size, text = element
            if tag <= last:
                return None
            position += size
            if text and raw[position - 1] == 32 == raw[position - 2]:
                return None
            last = tag
        if position >= stop:
            continue
        g, e, vr, n = header(raw, position)
        tag = g << 16 | e
        if tag <= last:
            return None
        kind = kinds(vr)
        if kind == _TEXT:
            position += 8 + n
            if n & 1 or raw[position - 1] == 32 == raw[position - 2]:
                return None
            if e and tag not in _IDENTITY and len(met) < _MOST_MET:
                met[raw[position - 8 - n : position - n]] = (tag, 8 + n, n > 0)
        elif kind == _PLAIN:
            position += 8 + n
            if n & 1:
                return None
            if e and tag not in _IDENTITY and len(met) < _MOST_MET:
                met[raw[position - 8 - n : position - n]] = (tag, 8 + n, False)
        elif kind == _UI:
            position += 8 + n
            if n:
                value = raw[position - n : position]
                if n & 1 or value[-2] == 0 == value[-1] or value.translate(None, BLANKS) != value:
                    return None
                if not depth and tag in _IDENTITY:
                    uids[tag] = value.strip(b"\0").decode("ascii", "replace")
            elif not depth and tag in _IDENTITY:
                uids[tag] = ""
        elif kind is None or kind == _RELABELLED:
            if tag != ITEM_END or mark >= 0 or last >= TRAILING_PADDING:
                return None
            position, end, saved = nesting.delimit_item(position)
            last, mark, group = saved or _IN_ITEM
            depth -= saved is not None
            stop = mark if 0 <= mark < end else end
            continue
        else:
            if n:
                return None
            n = long_length(raw, position + 8)[0]
            position += 12
            if kind == _SQ:
                if not e:
                    return None
                if n or not explicit_length:
                    position, end, saved = nesting.begin(position, n, end, (tag, mark, group))
                    last, mark, group = saved or _IN_ITEM
                    depth += saved is None
                    stop = mark if 0 <= mark < end else end
                    continue
            elif n == UNDEFINED:
                if tag != PIXEL_DATA or vr != b"OB" or not encapsulated or not keeps_fragments:
                    return None
                position = _fragments(raw, position, order)
            else:
                position += n
                if n & 1 or (kind == _LONG_TEXT and n and raw[position - 1] == 32 == raw[position - 2]):
                    return None
                if tag == PIXEL_DATA and encapsulated and not depth:
                    return None
        if kind != _UI and tag in _IDENTITY and not depth:
            return None  # a UID all the same: the slow way finds it
        last = tag
        if not e:
            if vr != b"UL" or n != 4 or remove or mark >= 0:
                return None
            group, mark, grouped = g, position + long_length(raw, position - 4)[0], True
            stop = min(end, mark)


def _implicit(  # noqa: C901, PLR0911, PLR0912, PLR0915 - one loop, see above
    data: Buffer, syntax: TransferSyntax, encoding: Encoding
) -> _Walked | None:
    order = ">" if syntax.big_endian else "<"
    header = Struct(order + "HHI").unpack_from
    explicit_length, remove = encoding.explicit_length, encoding.group_length is GroupLength.REMOVE
    known_tags = _implicit_kinds()
    kinds = known_tags.get
    raw = data if isinstance(data, bytes) else bytes(data)
    met = _implicit_met()
    known = met.get
    vocabulary = Vocabulary()
    uids: dict[int, str] = {}
    nesting: Nesting[tuple[int, int, int, Vocabulary]] = Nesting(data, order, explicit_length=explicit_length)
    position, last, mark, group, depth, grouped = 0, -1, -1, -1, 0, False  # as in _explicit
    end = stop = len(data)
    while True:
        if position >= stop:
            if mark >= 0:
                if position != mark or last >> 16 != group or (position < end and header(raw, position)[0] == group):
                    return None
                mark, stop = -1, end
                if position < end:
                    continue
            if position != end:
                reaches = position > end and last == PIXEL_DATA and not depth
                return (uids, position, nesting, grouped) if reaches else None
            if last >= TRAILING_PADDING:
                return None
            if not depth:
                return (uids, position, nesting, grouped) if last >= 0 else None
            position, end, saved = nesting.end_item(position)
            last, mark, group, vocabulary = saved or (*_IN_ITEM, Vocabulary())
            depth -= saved is not None
            stop = mark if 0 <= mark < end else end
            continue
        while position < stop and (element := known(raw[position : position + 8])):
            tag, size, text = element
            if tag <= last:
                return None
            position += size
            if text and raw[position - 1] == 32 == raw[position - 2]:
                return None
            last = tag
        if position >= stop:
            continue
        g, e, n = header(raw, position)
        tag = g << 16 | e
        if tag <= last:
            return None
        position += 8
        kind = kinds(tag)
        if kind is None:
            if g == 0xFFFE:
                if tag != ITEM_END or mark >= 0 or last >= TRAILING_PADDING:
                    return None
                position, end, saved = nesting.delimit_item(position - 8)
                last, mark, group, vocabulary = saved or (*_IN_ITEM, Vocabulary())
                depth -= saved is not None
                stop = mark if 0 <= mark < end else end
                continue
            vr = vocabulary.vr(tag)
            kind = _TEXT if vr in TEXT else _kind(vr)
            if g & 1 and n <= 66:
                vocabulary.learn(tag, raw[position : position + n])
            if vr == b"UN" and n == UNDEFINED:
                kind = _SQ
        if kind == _TEXT:
            position += n
            if n & 1 or (n and raw[position - 1] == 32 == raw[position - 2]):
                return None
        elif kind == _UI:
            position += n
            if n:
                value = raw[position - n : position]
                if n & 1 or value[-2] == 0 == value[-1] or value.translate(None, BLANKS) != value:
                    return None
                if not depth and tag in _IDENTITY:
                    uids[tag] = value.strip(b"\0").decode("ascii", "replace")
            elif not depth and tag in _IDENTITY:
                uids[tag] = ""
        elif kind == _SQ:
            if n or not explicit_length:
                position, end, saved = nesting.begin(position, n, end, (tag, mark, group, vocabulary))
                last, mark, group, vocabulary = saved or (*_IN_ITEM, Vocabulary())
                depth += saved is None
                stop = mark if 0 <= mark < end else end
                continue
        else:
            position += n
            if n & 1:
                return None
        last = tag
        if e and n < UNDEFINED and kind in _SIMPLE and tag in known_tags and len(met) < _MOST_MET:
            met[raw[position - 8 - n : position - n]] = (tag, 8 + n, kind == _TEXT and n > 0)
        if not e:
            if n != 4 or remove or mark >= 0:
                return None
            group, mark, grouped = g, position + int.from_bytes(raw[position - 4 : position], "little"), True
            stop = min(end, mark)


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
