"""Kinds of elements by VR: what ``scan`` and ``stretches`` have to check of a value (PS3.5 section 6.2).

Most elements need little: the next one begins behind the value, and text must not end with two spaces, which
``recode`` would strip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu.dataset.encoding import SINCE_1993
from movescu.dictionary import tags as dictionary
from movescu.dictionary.vr import BLANKS, KNOWN, LONG, TEXT

if TYPE_CHECKING:
    from collections.abc import Mapping

PLAIN, TEXTUAL, UID, LONG_PLAIN, LONG_TEXT, SEQUENCE, RELABELLED = range(7)
"""Check nothing; the end; the whole value; the first two with a 32-bit length; items; a VR to be relabelled."""
SIMPLE: Final = (PLAIN, TEXTUAL)


def _kind(vr: bytes) -> int:
    if vr == b"SQ":
        return SEQUENCE
    if vr == b"UI":
        return UID
    if vr in TEXT:
        return LONG_TEXT if vr in LONG else TEXTUAL
    return LONG_PLAIN if vr in LONG else PLAIN


EXPLICIT: Final[Mapping[bytes, int]] = {vr: _kind(vr) for vr in KNOWN}
EXPLICIT_OLD: Final[Mapping[bytes, int]] = {**EXPLICIT, **dict.fromkeys(SINCE_1993, RELABELLED)}
"""The same without the VRs added since 1993 (-u)."""


def of_vr(vr: bytes) -> int:
    """Return the kind of a VR in implicit VR, where all lengths have 32 bits."""
    return TEXTUAL if vr in TEXT else _kind(vr)


@dictionary.derived
def implicit() -> dict[int, int]:
    """Return the kind of every tag in the dictionary; an ambiguous VR is never text."""
    simple = {LONG_PLAIN: PLAIN, LONG_TEXT: TEXTUAL}
    return {tag: simple.get(kind := _kind(vr.encode()), kind) for tag, vr in dictionary.tags().items()}


def sound_uid(value: bytes) -> bool:
    """Return True if ``recode`` would not change a non-empty UID."""
    return not (len(value) & 1 or value[-2] == 0 == value[-1] or value.translate(None, BLANKS) != value)
