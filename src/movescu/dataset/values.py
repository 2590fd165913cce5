r"""Encoding of values written as text (PS3.5 section 6.2), and the elements of a recoded data set (7.1).

Keys (``-k``) and the text form of ``dump2dcm`` share this syntax: components separated by ``\``, numbers in decimal,
OB, OW and UN in hexadecimal, AT as ``(gggg,eeee)``, UIDs also as ``=Name``. The bytes equal those of DCMTK 3.6.7,
which takes the number at the beginning of a component and truncates it to the VR. If that changes the value,
``encode_value`` says so in a remark for the caller to show. All bytes are explicit VR little endian.
"""

from __future__ import annotations

import re
import struct

from movescu._runtime.record import Record
from movescu.dictionary import tags as dictionary
from movescu.dictionary.vr import BLANKS, LONG, TEXT, Vocabulary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

INTEGERS: Final = {"US": 16, "SS": 16, "UL": 32, "SL": 32, "OL": 32, "UV": 64, "SV": 64, "OV": 64}
"""VRs of decimal integers -> size in bits."""
SIGNED: Final = frozenset(("SS", "SL", "SV"))
FLOATS: Final = {"FL": "<f", "OF": "<f", "FD": "<d", "OD": "<d"}
HEXADECIMAL: Final = {"OB": 1, "UN": 1, "OW": 2}
"""VRs of hexadecimal numbers -> size in bytes."""

_INTEGER: Final = r"[ \t\r\n\v\f]*([+-]?[0-9]+)"
_FLOAT: Final = (
    r"[ \t\r\n\v\f]*([+-]?(?:[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?|(?i:inf|nan)))"
)
_HEX: Final = r"[ \t\r\n\v\f]*([+-]?)(?:0[xX](?=[0-9a-fA-F]))?([0-9a-fA-F]+)"
_AT: Final = r"\(\s*(?:0[xX])?([0-9a-fA-F]+),\s*(?:0[xX])?([0-9a-fA-F]+)"


class Encoded(Record):
    """An encoded value; ``remark`` says how it differs from the text, empty if it does not."""

    data: bytes
    remark: str = ""


def key_vr(tag: int) -> str | None:
    """Return the VR of a key or line that does not state one; None if the dictionary lacks the tag.

    An ambiguous VR becomes the one that DCMTK uses if no other element decides.
    """
    vr = dictionary.search_vr(tag) or dictionary.vr_of(tag)
    return vr if vr is None or len(vr) == 2 else Vocabulary().vr(tag).decode()


def elements(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield tag, VR and value of each top-level element of the output of ``recode``, which has explicit lengths."""
    position = 0
    while position < len(data):
        group, number, vr, length = struct.unpack_from("<HH2sH", data, position)
        position += 8
        if vr in LONG:
            (length,) = struct.unpack_from("<I", data, position)
            position += 4
        yield group << 16 | number, vr, data[position : position + length]
        position += length


def items(value: bytes) -> Iterator[bytes]:
    """Yield the content of each item of a sequence in the output of ``recode``."""
    position = 0
    while position < len(value):
        (length,) = struct.unpack_from("<I", value, position + 4)
        yield value[position + 8 : position + 8 + length]
        position += 8 + length


def is_text(vr: str) -> bool:
    """Return True if values of a VR are text."""
    return vr.encode() in TEXT or vr == "UI"


def encode_value(vr: str, text: bytes) -> Encoded:
    """Encode a value; text VRs keep the given bytes, and UIDs their blanks, which a ``Key`` removes.

    Raise ``ValueError`` if the text is invalid for the VR.
    """
    if vr == "UI":
        return _uids(text)
    if vr.encode() in TEXT:
        return Encoded(pad(text.rstrip(b" "), b" "))
    if not text:
        return Encoded(b"")
    if vr == "SQ":
        raise ValueError("a sequence has items, not a value")
    data, exact = _NUMBERS[vr](vr, text.decode("latin-1").split("\\"))
    return Encoded(pad(data), "" if exact else f"the value is not a valid {vr}; it is sent as {_shown(vr, data)}")


def pad(data: bytes, padding: bytes = b"\0") -> bytes:
    """Pad a value to even length (PS3.5 7.1.1)."""
    return data + padding * (len(data) & 1)


def _uids(text: bytes) -> Encoded:
    if text.startswith(b"="):
        return Encoded(pad(_uid(text[1:].decode("latin-1")).encode()))
    return Encoded(pad(text), "blanks were removed from the UID" if text.translate(None, BLANKS) != text else "")


def _uid(name: str) -> str:
    uid = dictionary.uid_of(name)
    if uid is None:
        raise ValueError(f"no UID is named {name!r}")
    return uid


def _leading(form: str, text: str) -> re.Match[str]:
    match = re.compile(form).match(text)
    if match is None:
        raise ValueError("not a number" if text else "a number is missing")
    return match


def _integers(vr: str, parts: list[str]) -> tuple[bytes, bool]:
    bits, data, exact = INTEGERS[vr], bytearray(), True
    for part in parts:
        match = _leading(_INTEGER, part)
        number = int(match[1][:40])  # more digits than any VR can hold
        low, high = (-(1 << bits - 1), 1 << bits - 1) if vr in SIGNED else (0, 1 << bits)
        exact = exact and match.end() == len(part.rstrip()) and low <= number < high
        if vr in SIGNED:
            number = min(max(number, -(1 << 63)), (1 << 63) - 1)
        elif abs(number) >= 1 << 64:
            number = (1 << 64) - 1
        data += (number % (1 << bits)).to_bytes(bits // 8, "little")
    return bytes(data), exact


def _floats(vr: str, parts: list[str]) -> tuple[bytes, bool]:
    data, exact = bytearray(), True
    for part in parts:
        match = _leading(_FLOAT, part)
        number = abs(float(match[1])) if "nan" in match[1].lower() else float(match[1])
        exact = exact and match.end() == len(part.rstrip())
        try:
            data += struct.pack(FLOATS[vr], number)
        except OverflowError:
            data += struct.pack(FLOATS[vr], float("inf") if number > 0 else float("-inf"))
            exact = False
    return bytes(data), exact


def _hexadecimals(vr: str, parts: list[str]) -> tuple[bytes, bool]:
    size, data, exact = HEXADECIMAL[vr], bytearray(), True
    for part in parts:
        match = _leading(_HEX, part)
        number = int(match[2], 16) * (-1 if match[1] == "-" else 1)
        exact = exact and match.end() == len(part.rstrip()) and 0 <= number < 1 << 8 * size
        data += (number % (1 << 8 * size)).to_bytes(size, "little")
    return bytes(data), exact


def _tags(_: str, parts: list[str]) -> tuple[bytes, bool]:
    data, exact = bytearray(), True
    for part in parts:
        match = re.compile(_AT).match(part)
        if match is None:
            raise ValueError("a tag must have the form (gggg,eeee)")
        group, number = int(match[1], 16), int(match[2], 16)
        exact = exact and group <= 0xFFFF >= number and part[match.end() :].strip() == ")"
        data += struct.pack("<HH", group & 0xFFFF, number & 0xFFFF)
    return bytes(data), exact


_NUMBERS: Final[dict[str, Callable[[str, list[str]], tuple[bytes, bool]]]] = {
    **dict.fromkeys(INTEGERS, _integers),
    **dict.fromkeys(FLOATS, _floats),
    **dict.fromkeys(HEXADECIMAL, _hexadecimals),
    "AT": _tags,
}


def _shown(vr: str, data: bytes) -> str:
    """Format an encoded numeric value as text."""
    if vr in FLOATS:
        return "\\".join(str(number) for (number,) in struct.iter_unpack(FLOATS[vr], data))
    if vr == "AT":
        return "\\".join(f"({group:04x},{number:04x})" for group, number in struct.iter_unpack("<HH", data))
    size = HEXADECIMAL.get(vr) or INTEGERS[vr] // 8
    numbers = (int.from_bytes(data[i : i + size], "little", signed=vr in SIGNED) for i in range(0, len(data), size))
    return "\\".join(f"{number:0{2 * size}x}" if vr in HEXADECIMAL else str(number) for number in numbers)
