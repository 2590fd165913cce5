"""The presentation contexts to propose for the objects of a C-GET (PS3.4 C.4.3, PS3.7 D.3.3.4).

An association has 128 contexts, and an archive sends only what it has one for. The native transfer syntaxes of a
storage class share a context; each compressed one has its own, as archives take the syntax that suits them out of a
shared context, and then fail for an object in another. What one association has no room for is left to further rounds:
the same request over another association, whose contexts the earlier ones did not have, so that no object is sent
twice.

If the classes of the objects are known, only these count. Otherwise the storage classes of PS3.4 B.5 are proposed, the
common ones first, and compressed transfer syntaxes with classes that have pixels.
"""

from __future__ import annotations

from functools import cache
from itertools import chain

from movescu.dictionary.uids import OTHER_TRANSFER_SYNTAXES, may_be_storage, storage_classes
from movescu.retrieve.association_request import MOST_STORAGE_CONTEXTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Final

    from movescu.dictionary.uids import TransferSyntax
    from movescu.retrieve.association_request import StorageContext
    from movescu.retrieve.config import Receive

MOST_ROUNDS: Final = 12
"""Associations over which one request is repeated at most, if the classes of its objects are unknown."""

_FIRST_SYNTAXES: Final = 4
"""Compressed transfer syntaxes that precede classes that are less common."""

_COMMON: Final = tuple(
    f"1.2.840.10008.5.1.4.1.1.{part}"
    for part in (
        *("2", "4", "7", "1", "1.1", "6.1", "3.1", "128", "20", "12.1", "12.2", "1.2", "88.67", "11.1", "88.59"),
        *("88.22", "88.33", "88.11", "88.34", "104.1", "481.1", "481.2", "481.3", "481.5", "481.8", "66.4", "66.1"),
        *("66", "67", "2.1", "4.1", "13.1.3", "130", "1.1.1", "1.2.1", "1.3", "7.1", "7.2", "7.3", "7.4"),
        *("77.1.4", "77.1.1", "77.1.5.1", "77.1.5.4", "77.1.6", "9.1.1", "9.1.2", "88.50", "481.4", "481.7", "11.2"),
    )
)
"""Storage classes that most archives have, the most frequent first."""


def accepts(own: Receive, sop_class_uid: str) -> bool:
    """Return True if objects of a class may be stored."""
    return sop_class_uid in storage_classes() or (own.accept_unknown and may_be_storage(sop_class_uid))


def contexts_for(classes: Iterable[str], own: Receive) -> tuple[StorageContext, ...]:
    """Return the contexts that objects of some classes may need: native ones first, then by transfer syntax."""
    wanted = [uid for uid in classes if accepts(own, uid)]
    native, compressed = _split(own.accepted)
    pixels = [uid for uid in wanted if _may_have_pixels(uid)]
    return tuple(
        chain(((uid, native) for uid in wanted if native), ((uid, (one,)) for one in compressed for uid in pixels))
    )


def default_contexts(own: Receive) -> tuple[StorageContext, ...]:
    """Return the contexts for objects of unknown classes, the most likely first."""
    return _default(own.accepted)


@cache
def _default(syntaxes: tuple[TransferSyntax, ...]) -> tuple[StorageContext, ...]:
    native, compressed = _split(syntaxes)
    common = [uid for uid in _COMMON if uid in storage_classes()]
    rare = [uid for uid, one in storage_classes().items() if uid not in _COMMON and not one.retired]
    retired = [uid for uid, one in storage_classes().items() if one.retired]
    common_pixels, rare_pixels = ([uid for uid in some if _may_have_pixels(uid)] for some in (common, rare))
    first, rest = compressed[:_FIRST_SYNTAXES], compressed[_FIRST_SYNTAXES:]
    return tuple(
        chain(
            _natives(common, native),
            ((uid, (one,)) for one in first for uid in common_pixels),
            _natives((*rare, *retired), native),
            ((uid, (one,)) for one in rest for uid in common_pixels),
            ((uid, (one,)) for one in first for uid in rare_pixels),
        )
    )


def _natives(classes: Iterable[str], native: tuple[str, ...]) -> Iterator[StorageContext]:
    return ((uid, native) for uid in classes if native)


def rounds(needed: Sequence[StorageContext], tried: Iterable[StorageContext], room: int) -> list[list[StorageContext]]:
    """Divide the contexts that were not tried yet into those of one association after the other."""
    before = set(tried)
    left = [context for context in dict.fromkeys(needed) if context not in before]
    return [left[start : start + room] for start in range(0, len(left), room)]


def filled(
    needed: Sequence[StorageContext], own: Receive, room: int = MOST_STORAGE_CONTEXTS
) -> tuple[StorageContext, ...]:
    """Fill an association up with contexts that the next request may need."""
    return tuple(dict.fromkeys(chain(needed, default_contexts(own))))[:room]


def _split(syntaxes: Iterable[TransferSyntax]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the UIDs of the native transfer syntaxes and of the compressed ones, deflated ones among these."""
    known = [one for one in syntaxes if one is not OTHER_TRANSFER_SYNTAXES]
    compressed = [one.uid for one in known if one.encapsulated or one.deflated]
    return tuple(one.uid for one in known if one.uid not in compressed), tuple(compressed)


def _may_have_pixels(sop_class_uid: str) -> bool:
    """Return True if objects of a class may be compressed, as far as its name tells."""
    known = storage_classes().get(sop_class_uid)
    if known is None:
        return True
    return any(part in known.keyword for part in ("Image", "Segmentation", "Volume", "ParametricMap", "RTDose"))
