"""What the walk has to look at in a value, by its VR: the tables of ``scan`` and ``stretches`` (PS3.5 section 6.2).

Most elements need little: the next one begins behind the value, and a text must not end with a pair of blanks, which
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
"""Nothing to look at; the end; the whole value; both with a length of 32 bits; items; a VR that is not to be kept."""
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
"""The same where VRs since 1993 are not wanted."""


def of_vr(vr: bytes) -> int:
    """Give the kind of a VR in implicit VR, where no length has 16 bits."""
    return TEXTUAL if vr in TEXT else _kind(vr)


@dictionary.derived
def implicit() -> dict[int, int]:
    """Give the kind of every tag of PS3.6; an ambiguous VR is never text."""
    simple = {LONG_PLAIN: PLAIN, LONG_TEXT: TEXTUAL}
    return {tag: simple.get(kind := _kind(vr.encode()), kind) for tag, vr in dictionary.tags().items()}


def sound_uid(value: bytes) -> bool:
    """Tell whether ``recode`` leaves a UID that is not empty as it is."""
    return not (len(value) & 1 or value[-2] == 0 == value[-1] or value.translate(None, BLANKS) != value)
