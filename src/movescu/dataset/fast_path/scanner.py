"""Fast path: what of a received data set has to be written otherwise, decided by a walk (PS3.5 section 7).

A ``Scanner`` passes a whole object in one step, if it is like earlier ones (``stretches``), and has it walked otherwise
(``scan``). It never raises: data that cannot be read are not canonical, and ``recode`` reports the error.
"""

from __future__ import annotations

from contextlib import suppress
from struct import error as struct_error
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu.dataset.encoding import Encoding, GroupLength, Identity
from movescu.dataset.fast_path import kinds, scan
from movescu.dataset.fast_path.nesting import Nesting
from movescu.dataset.fast_path.scan import Found, Way
from movescu.dataset.fast_path.shapes import Shapes
from movescu.dataset.fast_path.stretches import WORTH
from movescu.dataset.identity import CLASS_UID, IDENTITY, INSTANCE_UID
from movescu.dictionary import tags as dictionary

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from movescu.dataset.fast_path.stretches import Stretch
    from movescu.dictionary.uids import TransferSyntax
    from movescu.dictionary.vr import Buffer

_META: Final = {"<": (b"\0\0", b"\1\0", b"\2\0"), ">": (b"\0\0", b"\0\1", b"\0\2")}
"""Groups that do not belong into a data set, by byte order."""
_HEAD: Final = 1 << 15  # bytes; the pixel data of most objects begins in them, and copying more would be slow


@dictionary.derived
def _scanners() -> dict[tuple[TransferSyntax, Encoding, frozenset[int]], Scanner]:
    """Return the scanners of all encodings met so far: what they have learnt depends on the dictionary."""
    return {}


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
    """Walk a whole data set, see ``Scanner``."""
    return scanner(syntax, encoding, noted).adapted(data)


def adapted_head(
    data: Buffer, syntax: TransferSyntax, encoding: Encoding, noted: frozenset[int] = IDENTITY
) -> Adapted | None:
    """Walk the first bytes of a data set, see ``Scanner``."""
    return scanner(syntax, encoding, noted).adapted_head(data)


def scanner(syntax: TransferSyntax, encoding: Encoding, noted: frozenset[int] = IDENTITY) -> Scanner:
    """Return the scanner of an encoding. ``noted``: the tags of the elements to note; it includes ``IDENTITY``."""
    scanners, key = _scanners(), (syntax, encoding, noted)
    found = scanners.get(key)
    if found is None:
        found = scanners[key] = Scanner(syntax, encoding, noted)
    return found


class Scanner:
    """The walk of the data sets of one transfer syntax, to be written in one encoding."""

    def __init__(self, syntax: TransferSyntax, encoding: Encoding, noted: frozenset[int]) -> None:
        target = encoding.transfer_syntax or syntax
        self._changes_all = (
            syntax.deflated
            or (target.implicit, target.big_endian, target.deflated) != (syntax.implicit, syntax.big_endian, False)
            or encoding.group_length is GroupLength.CREATE
            or bool(encoding.file_padding)
            or bool(encoding.item_padding)
        )
        self._way = Way(syntax, encoding, noted)

    def adapted(self, data: Buffer) -> Adapted | None:
        """Walk a whole data set; None if anything but the delimitation of sequences has, or may have, to change."""
        found = self._walk(data)
        return found if found is not None and not found.missing else None

    def adapted_head(self, data: Buffer) -> Adapted | None:
        """Walk the first bytes of a data set, if they reach into native pixel data.

        Return None if they do not, or if it takes more bytes to decide. The caller has to check what follows the pixel
        data.
        """
        head = data if len(data) <= _HEAD else bytes(data[:_HEAD])
        found = self._walk(head)
        if head is not data and (found is None or found.missing <= 0):
            head = data
            found = self._walk(head)
        if found is None or None in (found.identity.sop_class_uid, found.identity.sop_instance_uid):
            return None  # without its identity the pixel data is in the wrong place: the identity may follow
        missing = found.missing + len(head) - len(data)
        if missing <= 0:
            return None
        result = data if found.data is head else b"".join((found.data, data[len(head) :]))
        return Adapted(found.identity, result, found.found, missing)

    def _walk(self, data: Buffer) -> Adapted | None:
        if self._changes_all:
            return None
        raw = data if isinstance(data, bytes) else bytes(data)
        stretch = self._way.stretches.top.by_header.get(raw[:8])
        if stretch and not stretch.changed and stretch.reaches(stretch.size, len(raw)):
            found: Found = {}
            if stretch.matches(raw, 0, len(raw), found):  # the usual object of a series
                return Adapted(_identity(found), data, found, stretch.size - len(raw))
            stretch = None
        return self._walk_on(data, raw, stretch)

    def _walk_on(self, data: Buffer, raw: bytes, stretch: Stretch | None) -> Adapted | None:
        """Walk an object, the first elements at one step if they pass as a stretch."""
        way = self._way
        found: Found = {}
        nesting: Nesting[Any] = Nesting(raw, way.order, explicit_length=way.explicit_length)
        position, grouped = 0, False
        if stretch and stretch.passes(raw, 0, len(raw), found, nesting):
            position = stretch.size
        if not (stretch and stretch.reaches(position, len(raw))):
            if raw[:2] in _META[way.order]:
                return None
            walk = scan.implicit if way.implicit else scan.explicit
            try:
                walked = walk(raw, way, found, nesting, position, stretch.end_tag if stretch and position else -1)
            except (struct_error, IndexError):
                return None
            if walked is None:
                return None
            position, grouped, singly = walked
            if singly >= WORTH:
                with suppress(struct_error, IndexError):  # the last header may be cut
                    self._learn(raw)
        if not nesting.changed:
            return Adapted(_identity(found), data, found, position - len(raw))
        return None if grouped else Adapted(_identity(found), nesting.splice(), found, position - len(raw))

    def _learn(self, raw: bytes) -> None:
        """Learn the stretches of this object, so that similar ones are walked in fewer steps."""
        way = self._way
        kind_of: Mapping[Any, int] = kinds.implicit() if way.implicit else way.vrs
        options = {"implicit": way.implicit, "explicit_length": way.explicit_length}
        way.stretches.learn(lambda: Shapes(raw, way.order, kind_of, way.noted, **options))


def _identity(found: Found) -> Identity:
    return Identity(_uid(found.get(CLASS_UID)), _uid(found.get(INSTANCE_UID)))


def _uid(element: tuple[bytes, bytes] | None) -> str | None:
    return None if element is None else element[1].strip(b"\0").decode("ascii", "replace")
