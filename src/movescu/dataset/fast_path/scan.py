"""Fast path: the walk of a data set, to detect that it needs no recoding (PS3.5 section 7).

It visits the elements in one loop with minimal work for each. It gives up as soon as ``Encoder`` would write something
else: a value with padding to strip, an odd length, a tag out of order, a wrong group length. Only the delimitation of
sequences is changed here (``nesting``). The walk notes requested elements: the identity always, and for a layout those
that make up its names. Elements that an object shares with earlier ones are passed in one step (``stretches``).

The two loops, for explicit and implicit VR, are long and alike on purpose: a function call per element would be a
large part of the total cost.
"""

from __future__ import annotations

from collections import defaultdict
from struct import Struct
from typing import TYPE_CHECKING, Final, TypeAlias

from movescu.dataset.encoding import Encoding, GroupLength
from movescu.dataset.fast_path import kinds
from movescu.dataset.fast_path.kinds import LONG_TEXT, PLAIN, RELABELLED, SEQUENCE, SIMPLE, TEXTUAL, UID, sound_uid
from movescu.dataset.fast_path.nesting import HEADER, Nesting
from movescu.dataset.fast_path.stretches import Stretches
from movescu.dataset.identity import IDENTITY
from movescu.dataset.parser import SMALL
from movescu.dictionary import tags as dictionary
from movescu.dictionary.vr import ITEM_END, PIXEL_DATA, TRAILING_PADDING, UNDEFINED, Buffer, Vocabulary

if TYPE_CHECKING:
    from typing import Any

    from movescu.dictionary.uids import TransferSyntax

    _Nesting = Nesting[Any]
    """Saved are last tag, mark and group of a level, in implicit VR also the private tags known there."""
    _Walked = tuple[int, bool, int]
    """Where the walk has ended, whether there were group lengths, and how many elements were walked one by one."""

Found: TypeAlias = "dict[int, tuple[bytes, bytes]]"
"""VR and value of noted top-level elements by tag, in the order of the data set. The VR is empty in implicit VR if the
walk did not need it; a value larger than ``SMALL`` is left empty."""
_Met: TypeAlias = "defaultdict[frozenset[int], dict[bytes, tuple[int, int, bool]]]"

_MET: Final[dict[tuple[bool, bool], _Met]] = {
    (big, new): defaultdict(dict) for big in (False, True) for new in (False, True)
}
"""Cache of element headers, by byte order and whether VRs since 1993 are kept, then by the tags to note: an object
shares most of its headers with the previous one. A header maps to the tag, the size of header and value, and whether
the value is text that must not end with two spaces. Elements that need other checks are not cached: those to note,
UIDs, sequences, 32-bit lengths, group lengths. So noting costs the other elements nothing."""
_MOST_MET: Final = 8192


@dictionary.derived
def _implicit_met() -> _Met:
    """Return the same cache for implicit VR, with tags in the dictionary only: others depend on a creator."""
    return defaultdict(dict)


@dictionary.derived
def _stretches() -> defaultdict[tuple[bool, bool, bool, bool, bool], defaultdict[frozenset[int], Stretches]]:
    """Return the learnt stretches by all that a walk of them depends on, then by the tags to note."""
    return defaultdict(lambda: defaultdict(Stretches))


_IN_ITEM: Final = (-1, -1, -1)
"""Last tag, mark and group at the beginning of an item."""
_EXPLICIT_HEADER: Final = {order: Struct(order + "HH2sH").unpack_from for order in "<>"}
_LONG_LENGTH: Final = {order: Struct(order + "I").unpack_from for order in "<>"}


class Way:
    """What the walks of one encoding share. ``noted``: the tags of the elements to note."""

    def __init__(self, syntax: TransferSyntax, encoding: Encoding, noted: frozenset[int]) -> None:
        self.noted = noted
        self.order = ">" if syntax.big_endian else "<"
        self.implicit = syntax.implicit
        self.encapsulated = syntax.encapsulated
        self.keeps_fragments = (encoding.transfer_syntax or syntax).encapsulated
        self.explicit_length = encoding.explicit_length
        self.remove = encoding.group_length is GroupLength.REMOVE
        self.vrs = kinds.EXPLICIT if encoding.new_vr else kinds.EXPLICIT_OLD
        self.met = _implicit_met()[noted] if syntax.implicit else _MET[syntax.big_endian, encoding.new_vr][noted]
        key = (syntax.implicit, syntax.big_endian, syntax.encapsulated, encoding.new_vr, encoding.explicit_length)
        self.stretches = _stretches()[key][noted]


def explicit(  # noqa: C901, PLR0911, PLR0912, PLR0915 - one loop, see above
    raw: bytes, way: Way, found: Found, nesting: _Nesting, position: int, last: int
) -> _Walked | None:
    """Walk from a position on, behind an element; None if anything has, or may have, to change. In explicit VR."""
    order, noted, explicit_length, remove = way.order, way.noted, way.explicit_length, way.remove
    header, long_length = _EXPLICIT_HEADER[order], _LONG_LENGTH[order]
    kind_of = way.vrs.get
    met = way.met
    known = met.get
    top, inner = way.stretches.top.by_header.get, way.stretches.inner.by_header.get
    stretches = top
    # ``end`` is the end of the level, ``mark`` that of the group according to its length element (-1: none), ``stop``
    # the nearer of the two. ``grouped``: there was a group length.
    mark, group, depth, grouped, singly = -1, -1, 0, False, 0
    end = stop = len(raw)
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
                return (position, grouped, singly) if reaches else None
            if last >= TRAILING_PADDING:
                return None
            if not depth:
                return (position, grouped, singly) if last >= 0 else None
            position, end, saved = nesting.end_item(position)
            last, mark, group = saved or _IN_ITEM
            depth -= saved is not None
            stretches = inner if depth else top
            stop = mark if 0 <= mark < end else end
            continue
        while position < stop:
            head = raw[position : position + 8]
            stretch = stretches(head)
            if stretch and stretch.tag > last and stretch.passes(raw, position, stop, found, nesting):
                position += stretch.size
                last = stretch.end_tag
                continue
            if not (element := known(head)):
                break
            tag, size, text = element
            singly += 1
            if tag <= last:
                return None
            position += size
            if text and raw[position - 1] == 32 == raw[position - 2]:
                return None
            last = tag
        if position >= stop:
            continue
        singly += 1
        g, e, vr, n = header(raw, position)
        tag = g << 16 | e
        if tag <= last:
            return None
        kind = kind_of(vr)
        if kind == TEXTUAL:
            position += 8 + n
            if n & 1 or raw[position - 1] == 32 == raw[position - 2]:
                return None
            if e and tag not in noted and len(met) < _MOST_MET:
                met[raw[position - 8 - n : position - n]] = (tag, 8 + n, n > 0)
        elif kind == PLAIN:
            position += 8 + n
            if n & 1:
                return None
            if e and tag not in noted and len(met) < _MOST_MET:
                met[raw[position - 8 - n : position - n]] = (tag, 8 + n, False)
        elif kind == UID:
            position += 8 + n
            if n:
                value = raw[position - n : position]
                if not sound_uid(value):
                    return None
        elif kind is None or kind == RELABELLED:
            if tag != ITEM_END or mark >= 0 or last >= TRAILING_PADDING:
                return None
            position, end, saved = nesting.delimit_item(position)
            last, mark, group = saved or _IN_ITEM
            depth -= saved is not None
            stretches = inner if depth else top
            stop = mark if 0 <= mark < end else end
            continue
        else:
            if n:
                return None
            n = long_length(raw, position + 8)[0]
            position += 12
            if kind == SEQUENCE:
                if not e:
                    return None
                if n or not explicit_length:
                    position, end, saved = nesting.begin(position, n, end, (tag, mark, group))
                    last, mark, group = saved or _IN_ITEM
                    depth += saved is None
                    stretches = inner if depth else top
                    stop = mark if 0 <= mark < end else end
                    continue
            elif n == UNDEFINED:
                if tag != PIXEL_DATA or vr != b"OB" or not way.encapsulated or not way.keeps_fragments:
                    return None
                position = _fragments(raw, position, order)
            else:
                position += n
                if n & 1 or (kind == LONG_TEXT and n and raw[position - 1] == 32 == raw[position - 2]):
                    return None
                if tag == PIXEL_DATA and way.encapsulated and not depth:
                    return None
        if tag in noted and not depth:
            if kind != UID and tag in IDENTITY:
                return None  # a UID in another VR: IdentityReader finds it
            found[tag] = vr, raw[position - n : position] if n <= SMALL else b""
        last = tag
        if not e:
            if vr != b"UL" or n != 4 or remove or mark >= 0:
                return None
            group, mark, grouped = g, position + long_length(raw, position - 4)[0], True
            stop = min(end, mark)


def implicit(  # noqa: C901, PLR0911, PLR0912, PLR0915 - one loop, see above
    raw: bytes, way: Way, found: Found, nesting: _Nesting, position: int, last: int
) -> _Walked | None:
    """Walk in implicit VR, like ``explicit``."""
    order, noted, explicit_length, remove = way.order, way.noted, way.explicit_length, way.remove
    header = HEADER[order]
    known_tags = kinds.implicit()
    kind_of = known_tags.get
    met = way.met
    known = met.get
    top, inner = way.stretches.top.by_header.get, way.stretches.inner.by_header.get
    stretches = top
    vocabulary = Vocabulary()
    mark, group, depth, grouped, singly = -1, -1, 0, False, 0  # as in explicit
    end = stop = len(raw)
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
                return (position, grouped, singly) if reaches else None
            if last >= TRAILING_PADDING:
                return None
            if not depth:
                return (position, grouped, singly) if last >= 0 else None
            position, end, saved = nesting.end_item(position)
            last, mark, group, vocabulary = saved or (*_IN_ITEM, Vocabulary())
            depth -= saved is not None
            stretches = inner if depth else top
            stop = mark if 0 <= mark < end else end
            continue
        while position < stop:
            head = raw[position : position + 8]
            stretch = stretches(head)
            if stretch and stretch.tag > last and stretch.passes(raw, position, stop, found, nesting):
                position += stretch.size
                last = stretch.end_tag
                continue
            if not (element := known(head)):
                break
            tag, size, text = element
            singly += 1
            if tag <= last:
                return None
            position += size
            if text and raw[position - 1] == 32 == raw[position - 2]:
                return None
            last = tag
        if position >= stop:
            continue
        singly += 1
        g, e, n = header(raw, position)
        tag = g << 16 | e
        if tag <= last:
            return None
        position += 8
        kind = kind_of(tag)
        if kind is None:
            if g == 0xFFFE:
                if tag != ITEM_END or mark >= 0 or last >= TRAILING_PADDING:
                    return None
                position, end, saved = nesting.delimit_item(position - 8)
                last, mark, group, vocabulary = saved or (*_IN_ITEM, Vocabulary())
                depth -= saved is not None
                stretches = inner if depth else top
                stop = mark if 0 <= mark < end else end
                continue
            vr = vocabulary.vr(tag)
            kind = kinds.of_vr(vr)
            if g & 1 and n <= 66:
                vocabulary.learn(tag, raw[position : position + n])
            if vr == b"UN" and n == UNDEFINED:
                kind = SEQUENCE
        if kind == TEXTUAL:
            position += n
            if n & 1 or (n and raw[position - 1] == 32 == raw[position - 2]):
                return None
        elif kind == UID:
            position += n
            if n:
                value = raw[position - n : position]
                if not sound_uid(value):
                    return None
        elif kind == SEQUENCE:
            if n or not explicit_length:
                position, end, saved = nesting.begin(position, n, end, (tag, mark, group, vocabulary))
                last, mark, group, vocabulary = saved or (*_IN_ITEM, Vocabulary())
                depth += saved is None
                stretches = inner if depth else top
                stop = mark if 0 <= mark < end else end
                continue
        else:
            position += n
            if n & 1:
                return None
        last = tag
        if tag in noted:
            if not depth:
                if kind != UID and tag in IDENTITY:
                    return None  # as in explicit
                found[tag] = b"", raw[position - n : position] if n <= SMALL else b""
        elif e and n < UNDEFINED and kind in SIMPLE and tag in known_tags and len(met) < _MOST_MET:
            met[raw[position - 8 - n : position - n]] = (tag, 8 + n, kind == TEXTUAL and n > 0)
        if not e:
            if n != 4 or remove or mark >= 0:
                return None
            group, mark, grouped = g, position + int.from_bytes(raw[position - 4 : position], "little"), True
            stop = min(end, mark)


def _fragments(data: Buffer, position: int, order: str) -> int:
    """Return the position after encapsulated pixel data (PS3.5 A.4). Raise ``IndexError`` if it is malformed."""
    header = HEADER[order]
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
