"""Fast path: detection of data sets that need no recoding (PS3.5 section 7).

``adapted`` walks the bytes of a whole object in one loop with minimal work per element. It gives up as soon as
``Encoder`` would write something else, and leaves the object to ``recode``: a value with padding to strip, an odd
length, a tag out of order, a wrong group length. Only the delimitation of sequences is changed here (``nesting``). It
never raises: data that cannot be read are not canonical, and ``recode`` reports the error. The walk notes requested
elements: the identity always, and for a layout those that make up its names. Elements that an object shares with the
previous ones are passed in one step (``stretches``).

The two loops, for explicit and implicit VR, are long and alike on purpose: a function call per element would be a
large part of the total cost.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from struct import Struct
from struct import error as struct_error
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from movescu.dataset.encoding import Encoding, GroupLength, Identity
from movescu.dataset.fast_path import kinds
from movescu.dataset.fast_path.kinds import LONG_TEXT, PLAIN, RELABELLED, SEQUENCE, SIMPLE, TEXTUAL, UID, sound_uid
from movescu.dataset.fast_path.nesting import HEADER, Nesting
from movescu.dataset.fast_path.shapes import Shapes
from movescu.dataset.fast_path.stretches import WORTH, Stretches
from movescu.dataset.identity import CLASS_UID, IDENTITY, INSTANCE_UID
from movescu.dataset.parser import SMALL
from movescu.dictionary import tags as dictionary
from movescu.dictionary.vr import ITEM_END, PIXEL_DATA, TRAILING_PADDING, UNDEFINED, Buffer, Vocabulary

if TYPE_CHECKING:
    from movescu.dictionary.uids import TransferSyntax

    _State = tuple[int, int, int]
    _Walked = tuple["Found", int, Nesting[_State] | Nesting[tuple[int, int, int, Vocabulary]], bool, int]

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
def _stretches() -> defaultdict[tuple[bool, bool, bool, bool], defaultdict[frozenset[int], Stretches]]:
    """Return the learnt stretches by implicit VR, byte order, VRs since 1993, explicit lengths; then tags to note."""
    return defaultdict(lambda: defaultdict(Stretches))


def _stretches_for(syntax: TransferSyntax, encoding: Encoding, noted: frozenset[int]) -> Stretches:
    return _stretches()[syntax.implicit, syntax.big_endian, encoding.new_vr, encoding.explicit_length][noted]


_IN_ITEM: Final = (-1, -1, -1)
"""Last tag, mark and group at the beginning of an item."""
_EXPLICIT_HEADER: Final = {order: Struct(order + "HH2sH").unpack_from for order in "<>"}
_LONG_LENGTH: Final = {order: Struct(order + "I").unpack_from for order in "<>"}
_LAST_OF_META: Final = 0x0002  # groups up to it do not belong into a data set
_HEAD: Final = 1 << 15  # bytes; the pixel data of most objects begins in them, and copying more would be slow


class Adapted(NamedTuple):
    """Result of a walk.

    ``data`` equals what ``recode`` would make of the bytes, and is the same object if nothing has to change. ``found``
    are the noted elements. ``missing`` is the number of bytes of the pixel data's value not yet received.
    """

    identity: Identity
    data: Buffer
    found: Found
    missing: int


def unchanged(data: Buffer, syntax: TransferSyntax, encoding: Encoding) -> Identity | None:
    """Return the identity of a data set that ``recode`` would leave unchanged; None if it would or might change it."""
    found = adapted(data, syntax, encoding)
    return found.identity if found is not None and found.data is data else None


def adapted(
    data: Buffer, syntax: TransferSyntax, encoding: Encoding, noted: frozenset[int] = IDENTITY
) -> Adapted | None:
    """Walk a whole data set; return None if anything but the delimitation of sequences has, or may have, to change.

    ``noted`` are the tags of the elements to note; it includes ``IDENTITY``.
    """
    found = _walk(data, syntax, encoding, noted)
    return found if found is not None and not found.missing else None


def adapted_head(
    data: Buffer, syntax: TransferSyntax, encoding: Encoding, noted: frozenset[int] = IDENTITY
) -> Adapted | None:
    """Walk the first bytes of a data set, if they reach into native pixel data.

    Return None if they do not, or if it takes more bytes to decide. The caller has to check what follows the pixel
    data.
    """
    head = data if len(data) <= _HEAD else bytes(data[:_HEAD])
    found = _walk(head, syntax, encoding, noted)
    if head is not data and (found is None or found.missing <= 0):
        head = data
        found = _walk(head, syntax, encoding, noted)
    if found is None or None in (found.identity.sop_class_uid, found.identity.sop_instance_uid):
        return None  # without its identity the pixel data is in the wrong place: the identity may follow
    missing = found.missing + len(head) - len(data)
    if missing <= 0:
        return None
    result = data if found.data is head else b"".join((found.data, data[len(head) :]))
    return Adapted(found.identity, result, found.found, missing)


def _walk(data: Buffer, syntax: TransferSyntax, encoding: Encoding, noted: frozenset[int]) -> Adapted | None:
    target = encoding.transfer_syntax or syntax
    if (
        syntax.deflated
        or (target.implicit, target.big_endian, target.deflated) != (syntax.implicit, syntax.big_endian, False)
        or encoding.group_length is GroupLength.CREATE
        or encoding.file_padding
        or encoding.item_padding
    ):
        return None
    if int.from_bytes(data[:2], "big" if syntax.big_endian else "little") <= _LAST_OF_META:
        return None
    walk = _implicit if syntax.implicit else _explicit
    try:
        walked = walk(data, syntax, encoding, noted)
    except (struct_error, IndexError):
        return None
    if walked is None:
        return None
    found, position, nesting, grouped, singly = walked
    if singly >= WORTH:
        with suppress(struct_error, IndexError):  # the last header may be cut
            _learn(data, syntax, encoding, noted)
    identity = Identity(_uid(found.get(CLASS_UID)), _uid(found.get(INSTANCE_UID)))
    missing = position - len(data)
    if not nesting.changed:
        return Adapted(identity, data, found, missing)
    return None if grouped else Adapted(identity, nesting.splice(), found, missing)


def _uid(element: tuple[bytes, bytes] | None) -> str | None:
    return None if element is None else element[1].strip(b"\0").decode("ascii", "replace")


def _learn(data: Buffer, syntax: TransferSyntax, encoding: Encoding, noted: frozenset[int]) -> None:
    """Learn the stretches of this object, so that similar ones are walked in fewer steps."""
    kind_of = kinds.implicit() if syntax.implicit else kinds.EXPLICIT if encoding.new_vr else kinds.EXPLICIT_OLD
    _stretches_for(syntax, encoding, noted).learn(
        lambda: Shapes(
            bytes(data),
            ">" if syntax.big_endian else "<",
            kind_of,
            noted,
            implicit=syntax.implicit,
            explicit_length=encoding.explicit_length,
        )
    )


def _explicit(  # noqa: C901, PLR0911, PLR0912, PLR0915 - one loop, see above
    data: Buffer, syntax: TransferSyntax, encoding: Encoding, noted: frozenset[int]
) -> _Walked | None:
    order = ">" if syntax.big_endian else "<"
    header, long_length = _EXPLICIT_HEADER[order], _LONG_LENGTH[order]
    explicit_length, remove = encoding.explicit_length, encoding.group_length is GroupLength.REMOVE
    encapsulated = syntax.encapsulated
    keeps_fragments = (encoding.transfer_syntax or syntax).encapsulated
    kind_of = (kinds.EXPLICIT if encoding.new_vr else kinds.EXPLICIT_OLD).get
    raw = data if isinstance(data, bytes) else bytes(data)
    met = _MET[syntax.big_endian, encoding.new_vr][noted]
    known = met.get
    learnt = _stretches_for(syntax, encoding, noted)
    top, inner = learnt.top.by_header.get, learnt.inner.by_header.get
    stretches = top
    found: Found = {}
    nesting: Nesting[_State] = Nesting(data, order, explicit_length=explicit_length)
    # ``end`` is the end of the level, ``mark`` that of the group according to its length element (-1: none), ``stop``
    # the nearer of the two. ``grouped``: there was a group length.
    position, last, mark, group, depth, grouped, singly = 0, -1, -1, -1, 0, False, 0
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
                return (found, position, nesting, grouped, singly) if reaches else None
            if last >= TRAILING_PADDING:
                return None
            if not depth:
                return (found, position, nesting, grouped, singly) if last >= 0 else None
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
                if tag != PIXEL_DATA or vr != b"OB" or not encapsulated or not keeps_fragments:
                    return None
                position = _fragments(raw, position, order)
            else:
                position += n
                if n & 1 or (kind == LONG_TEXT and n and raw[position - 1] == 32 == raw[position - 2]):
                    return None
                if tag == PIXEL_DATA and encapsulated and not depth:
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


def _implicit(  # noqa: C901, PLR0911, PLR0912, PLR0915 - one loop, see above
    data: Buffer, syntax: TransferSyntax, encoding: Encoding, noted: frozenset[int]
) -> _Walked | None:
    order = ">" if syntax.big_endian else "<"
    header = HEADER[order]
    explicit_length, remove = encoding.explicit_length, encoding.group_length is GroupLength.REMOVE
    known_tags = kinds.implicit()
    kind_of = known_tags.get
    raw = data if isinstance(data, bytes) else bytes(data)
    met = _implicit_met()[noted]
    known = met.get
    learnt = _stretches_for(syntax, encoding, noted)
    top, inner = learnt.top.by_header.get, learnt.inner.by_header.get
    stretches = top
    vocabulary = Vocabulary()
    found: Found = {}
    nesting: Nesting[tuple[int, int, int, Vocabulary]] = Nesting(data, order, explicit_length=explicit_length)
    position, last, mark, group, depth, grouped, singly = 0, -1, -1, -1, 0, False, 0  # as in _explicit
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
                return (found, position, nesting, grouped, singly) if reaches else None
            if last >= TRAILING_PADDING:
                return None
            if not depth:
                return (found, position, nesting, grouped, singly) if last >= 0 else None
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
                    return None  # as in _explicit
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
