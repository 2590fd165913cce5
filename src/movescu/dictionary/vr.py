"""Value representations (PS3.5 6.2, 7.1), the tags that structure a data set, and the VR of a tag in implicit VR.

``Vocabulary`` determines the VR of an element in implicit VR (PS3.5 A.1 and 7.8.1), and resolves an ambiguous one as
DCMTK does. ``dataset.parser`` and ``dataset.encoder`` use these tables to read and write data sets.
"""

from __future__ import annotations

from movescu.dictionary import tags as dictionary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

Buffer = bytes | bytearray | memoryview

MAX_DEPTH: Final = 64
"""Maximum nesting of sequences. The deepest IODs nest about a dozen; DCMTK's stack overflows at 10^5."""

UNDEFINED: Final = 0xFFFFFFFF
ITEM: Final = 0xFFFEE000
ITEM_END: Final = 0xFFFEE00D
SEQUENCE_END: Final = 0xFFFEE0DD
PIXEL_DATA: Final = 0x7FE00010
TRAILING_PADDING: Final = 0xFFFCFFFC

LONG: Final = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
"""VRs whose header has two reserved bytes and a length of 32 bits (PS3.5 table 7.1-1)."""
TEXT: Final = frozenset(
    (b"AE", b"AS", b"CS", b"DA", b"DS", b"DT", b"IS", b"LO", b"LT", b"PN", b"SH", b"ST", b"TM", b"UC", b"UR", b"UT")
)
"""VRs of characters that are padded with a space (PS3.5 6.2); UI, padded with NUL, is not among them."""
UNITS: Final = {
    **dict.fromkeys((b"AT", b"OW", b"SS", b"US"), 2),
    **dict.fromkeys((b"FL", b"OF", b"OL", b"SL", b"UL"), 4),
    **dict.fromkeys((b"FD", b"OD", b"OV", b"SV", b"UV"), 8),
}
"""Bytes per unit of byte ordering (PS3.5 7.3); the other VRs are not affected by it."""
BLANKS: Final = b" \t\n\v\f\r"
"""Characters that no UID contains; DCMTK removes them from anywhere in a UI value."""
KNOWN: Final = LONG | TEXT | UNITS.keys() | {b"UI"}


PIXEL_REPRESENTATION: Final = 0x00280103
_WAVEFORM_BITS_ALLOCATED: Final = 0x54001004
# "US or SS" that depends on Pixel Representation; all other tags of that VR are US, as in DCMTK 3.6.7.
_FOLLOWS_PIXELS: Final = frozenset(
    (
        *(0x00189810, 0x00280106, 0x00280107, 0x00280108, 0x00280109, 0x00280120, 0x00280121, 0x00283002),
        *(0x00409211, 0x00409216, 0x00603004, 0x00603006),
    )
)
# "OB or OW" that depends on Waveform Bits Allocated (PS3.3 C.10.9.1).
_FOLLOWS_WAVEFORM: Final = frozenset((0x54000110, 0x54000112, 0x5400100A, 0x54001010))


def tag_text(tag: int) -> str:
    """Format a tag as the standard does: (gggg,eeee) in hexadecimal."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


@dictionary.derived
def _plain() -> dict[int, bytes]:
    """Return tag -> VR, as bytes, for unambiguous VRs: faster than a dictionary call per tag."""
    return {tag: vr.encode() for tag, vr in dictionary.tags().items() if len(vr) == 2}


def uid_text(value: Buffer) -> str:
    """Return a UI value as text, without padding and blanks."""
    return bytes(value).translate(None, BLANKS).strip(b"\0").decode("ascii", "replace")


class Vocabulary:
    """Determines the VR of the elements of one data set or item in implicit VR.

    Some VRs depend on the values of other elements (PS3.5 A.1), private ones on their creator (PS3.5 7.8.1). Both
    must precede the element in the same data set or item; ``learn`` remembers them.
    """

    __slots__ = ("_creators", "_plain", "_signed", "_waveform")

    def __init__(self) -> None:
        self._plain = _plain()
        self._signed: bool | None = None
        self._waveform: bytes | None = None
        self._creators: dict[int, str] = {}

    def vr(self, tag: int) -> bytes:
        """Return the VR of an element, UN if the dictionary lacks it."""
        plain = self._plain.get(tag)
        if plain is not None:
            return plain
        if tag & 0x10000 and tag & 0xFFFF > 0xFF:
            creator = self._creators.get(tag >> 8)
            found = dictionary.vr_of(tag) if creator is None else dictionary.private_vr(creator, tag)
        else:
            found = dictionary.vr_of(tag)
        if found is None:
            return b"UN"
        return found.encode() if len(found) == 2 else self._ambiguous(tag, found)

    def _ambiguous(self, tag: int, found: str) -> bytes:
        if found == "US or SS":
            return b"SS" if self._signed and tag in _FOLLOWS_PIXELS else b"US"
        if found != "OB or OW" or tag == PIXEL_DATA or tag & 0xFF01FFFF == 0x60003000:
            return b"OW"
        return self._waveform or b"OB" if tag in _FOLLOWS_WAVEFORM else b"OB"

    def learn(self, tag: int, value: Buffer) -> None:
        """Remember an element on which the VR of later ones may depend; of equal tags, the first counts."""
        if tag == PIXEL_REPRESENTATION:
            if self._signed is None:
                self._signed = int.from_bytes(value[:2], "little") == 1
        elif tag == _WAVEFORM_BITS_ALLOCATED:
            if self._waveform is None:
                self._waveform = b"OW" if int.from_bytes(value[:2], "little") != 8 and len(value) else b"OB"
        elif tag & 0x10000 and 0x10 <= tag & 0xFFFF <= 0xFF and len(value) <= 66:
            creator = bytes(value).rstrip(b" \0").decode("latin-1")
            if dictionary.knows_creator(creator):
                self._creators.setdefault(tag >> 16 << 8 | tag & 0xFF, creator)
