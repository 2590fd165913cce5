"""Keys of a request as values: made by every reader, encoded last (PS3.4 C.2.2.1, C.4.2.1.4.1).

``key_text`` makes keys of ``-k``; ``dump_text``, ``json_model`` and ``encoded_keys`` make them of query files,
``python_keys`` of a program's mappings and data sets. ``identifier`` puts them in order and encodes them.
"""

from __future__ import annotations

from movescu._runtime.record import Record
from movescu.dictionary.vr import BLANKS, KNOWN, LONG, TEXT, TRAILING_PADDING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

MAX_SHORT: Final = 0xFFFE
"""Bytes. Longest value of even length in a VR with a 16-bit length."""


def quoted(text: str) -> str:
    """Return a text in quotation marks for a message, with control characters escaped, but no backslash doubled."""
    return repr(text).replace("\\\\", "\\")


class Key(Record):
    """A key: tag, VR and value; a sequence has items of keys instead of a value.

    The value is held as the bytes of the value field, numbers in little endian, and not as text or numbers: archives
    get what the user wrote, even if it is malformed for its VR or its character set, and no typed value could hold
    that. Padding of text and UIDs (PS3.5 6.2) is no part of the value. A group length has none: encoding calculates it.
    """

    tag: int
    vr: bytes
    value: bytes
    items: tuple[tuple[Key, ...], ...]

    def __init__(self, tag: int, vr: bytes, value: bytes = b"", items: Iterable[Iterable[Key]] = ()) -> None:
        if vr not in KNOWN:
            vr = b"UN"
        if not tag & 0xFFFF:
            vr, value, items = b"UL", b"", ()
        own = self.__dict__
        own["tag"], own["vr"], own["value"] = tag, vr, _unpadded(vr, value)
        own["items"] = tuple(map(ordered, items)) if items else ()
        if vr == b"UI" and len(own["value"]) < len(value):
            own["_joined"] = _has_blanks(value)

    @property
    def joined(self) -> bool:
        """Whether blanks inside a UID were removed, as DCMTK does: the value is another UID than the user wrote."""
        return bool(self.__dict__.get("_joined"))

    @property
    def text(self) -> str:
        """The value as text, one character per byte, without blanks at its ends: to be compared or sent back."""
        return self.value.decode("latin-1").strip("\0 ")

    @property
    def is_creator(self) -> bool:
        """Whether the key is a private creator (PS3.5 7.8.1)."""
        return bool(self.tag & 0x10000) and 0x10 <= self.tag & 0xFFFF <= 0xFF


def key_of(tag: int, vr: str, value: bytes) -> Key:
    """Return a key with a value. Raise ``ValueError`` if the value is too long for the VR."""
    code = vr.encode()
    if code not in LONG and len(value) > MAX_SHORT:
        raise ValueError(f"is longer than {MAX_SHORT} bytes")
    return Key(tag, code, value)


def ordered(keys: Iterable[Key]) -> tuple[Key, ...]:
    """Return the keys in order of tags; the first of equal tags counts, and trailing padding is left out."""
    first: dict[int, Key] = {}
    for key in keys:
        if key.tag != TRAILING_PADDING or key.vr == b"SQ":
            first.setdefault(key.tag, key)
    return tuple([first[tag] for tag in sorted(first)])


def _has_blanks(value: bytes) -> bool:
    """Return True if one of the UIDs of a value has blanks that are not padding at its ends."""
    parts = (part.strip(BLANKS + b"\0") for part in value.split(b"\\"))
    return any(part.translate(None, BLANKS) != part for part in parts)


def _unpadded(vr: bytes, value: bytes) -> bytes:
    """Return a text or UID without padding, any other value with an even length."""
    if vr in TEXT:
        return value.rstrip(b" ")
    if vr == b"UI":
        return value.translate(None, BLANKS).rstrip(b"\0")
    return value + b"\0" * (len(value) & 1)
