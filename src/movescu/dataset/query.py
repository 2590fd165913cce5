"""Identifiers of C-MOVE requests, from ``-k`` keys and query files: PS3.4 C.4.2.1.4.1.

An identifier is held as the bytes of a data set in explicit VR little endian. Keys stand in front of the query file's
elements, and recoding sorts by tag and keeps the first of equal ones: so a key replaces what the file has, and of
two keys the left one counts, as with DCMTK. Values are never silently changed but for padding (PS3.5 6.2).
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from movescu import dictionary
from movescu.dataset.elements import LONG, TEXT
from movescu.dataset.encoding import Encoding
from movescu.dataset.filemeta import decode_file_meta
from movescu.dataset.recode import recode
from movescu.errors import DataSetError, UsageError
from movescu.uids import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, TRANSFER_SYNTAXES, TransferSyntax, uid_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LITTLE: Final = Encoding(transfer_syntax=EXPLICIT_LITTLE)
_TAG: Final = re.compile(r"\s*\(?\s*(?:0[xX])?([0-9a-fA-F]{1,8}),\s*(?:0[xX])?([0-9a-fA-F]{1,8})[^=]*\Z")
_AT: Final = re.compile(r"\(?([0-9a-fA-F]{4}),([0-9a-fA-F]{4})\)?\Z")
_INTEGER: Final = re.compile(r"\s*[+-]?[0-9]+")
_NUMBER: Final = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")

_FIRST_TAG: Final = 0x00080000  # commands and file meta information have lower ones

_INTEGERS: Final = {"US": "H", "SS": "H", "UL": "I", "SL": "I", "UV": "Q", "SV": "Q"}
_FLOATS: Final = {"FL": "f", "FD": "d", "OF": "f", "OD": "d"}
_HEX_UNITS: Final = {"OB": 1, "UN": 1, "OW": 2, "OL": 4, "OV": 8}
# Which of several possible VRs a key has (PS3.6, "US or SS"); the same choice as DCMTK's.
_AMBIGUOUS: Final = {"US or SS": "US", "US or OW": "US", "US or SS or OW": "US", "OB or OW": "OW"}


@dataclass(frozen=True, slots=True)
class Identifier:
    """The data set of a C-MOVE request, in explicit VR little endian."""

    data: bytes

    def encode(self, syntax: TransferSyntax) -> bytes:
        """Give its bytes in the transfer syntax of the presentation context; always of even length."""
        data = recode(self.data, EXPLICIT_LITTLE, Encoding(transfer_syntax=syntax))
        return data + b"\0" * (len(data) & 1)  # only deflated data can be odd (PS3.5 A.5)

    def values(self) -> dict[int, bytes]:
        """Give the values of the top level by tag."""
        return {tag: value for tag, _, value in _elements(self.data)}


def make_identifier(keys: Iterable[str], query_file: str | None = None) -> Identifier:
    """Make the identifier of one request; ``keys`` as after ``-k``.

    Raises ``UsageError``, which names the key or file and what is wrong with it.
    """
    data = b"".join(_key_element(key) for key in keys)
    if query_file is not None:
        data += read_query_file(query_file)
    return Identifier(recode(data, EXPLICIT_LITTLE, _LITTLE) if data else b"")


def check_key(key: str) -> None:
    """Raise ``UsageError`` if a key cannot be used."""
    _key_element(key)


def _key_element(key: str) -> bytes:
    name, _, value = key.partition("=")
    tag = _parse_tag(name)
    group, element = tag >> 16, tag & 0xFFFF
    vr = dictionary.vr_of(tag)
    if vr is None:
        raise UsageError(f"unknown tag: ({group:04x},{element:04x})", hint=f"in the key {key!r}")
    vr = _AMBIGUOUS.get(vr, vr)
    if len(vr) != 2 or group == 0xFFFE:
        raise UsageError(f"cannot create element for tag: ({group:04x},{element:04x})")
    try:
        data = _encode_value(vr, value)
    except (ValueError, OverflowError, struct.error):
        raise UsageError(
            f'cannot put tag value: ({group:04x},{element:04x})="{value}"', hint=f"the value does not fit VR {vr}"
        ) from None
    if vr.encode() in LONG:
        return struct.pack("<HH2sxxI", group, element, vr.encode(), len(data)) + data
    if len(data) > 0xFFFE:
        raise UsageError(f"value of key ({group:04x},{element:04x}) is longer than 65534 bytes")
    return struct.pack("<HH2sH", group, element, vr.encode(), len(data)) + data


def _parse_tag(name: str) -> int:
    match = _TAG.match(name)
    if match:
        return (int(match[1], 16) & 0xFFFF) << 16 | int(match[2], 16) & 0xFFFF
    tag = dictionary.tag_of(name)
    if tag is None:
        tag = dictionary.tag_of(name.removeprefix("RETIRED_"))
    if tag is None and len(name) == 8:
        try:
            return int(name, 16)
        except ValueError:
            pass
    if tag is None:
        raise UsageError(
            f"bad key format or dictionary name not found in dictionary: {name}",
            hint='write a key as gggg,eeee="value" or Keyword="value", with the keywords of PS3.6: PatientID="123"',
        )
    return tag


def _encode_value(vr: str, value: str) -> bytes:
    """Encode the text of a key as PS3.5 6.2 has it for its VR, in little endian. Raises ``ValueError``."""
    if vr.encode() in TEXT or vr == "UI":
        data = os.fsencode(value).rstrip(b" ")
        return data + (b"\0" if vr == "UI" else b" ") * (len(data) & 1)
    parts = value.split("\\") if value else []
    if vr in _INTEGERS:
        bits = 8 * struct.calcsize("<" + _INTEGERS[vr])
        numbers = [int(_leading(_INTEGER, part)) % (1 << bits) for part in parts]
        return struct.pack(f"<{len(numbers)}{_INTEGERS[vr]}", *numbers)
    if vr in _FLOATS:
        return struct.pack(f"<{len(parts)}{_FLOATS[vr]}", *(float(_leading(_NUMBER, part)) for part in parts))
    if vr == "AT":
        return b"".join(struct.pack("<HH", *_parse_at(part)) for part in parts)
    if vr in _HEX_UNITS:
        data = b"".join(int(part, 16).to_bytes(_HEX_UNITS[vr], "little") for part in parts)
        return data + b"\0" * (len(data) & 1)
    if value:
        raise ValueError(vr)  # a sequence
    return b""


def _leading(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.match(text)
    if match is None:
        raise ValueError(text)
    return match[0]


def _parse_at(text: str) -> tuple[int, int]:
    match = _AT.match(text)
    if match is None:
        raise ValueError(text)
    return int(match[1], 16), int(match[2], 16)


def read_query_file(path: str) -> bytes:
    """Read a query file; give its data set in explicit VR little endian.

    Part 10 files in any transfer syntax whose data set is not encapsulated, and bare data sets in implicit or
    explicit VR, whose syntax is detected. Raises ``UsageError``.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs 10 ms at start
            data = file.read()
    except OSError as error:
        raise UsageError(f"cannot read query file {path!r}: {error.strerror}") from error
    try:
        return _read_data_set(data)
    except DataSetError as error:
        raise UsageError(
            f"query file {path!r} is not DICOM: {error}",
            hint="a query file is a DICOM file or data set with the keys of the request (dump2dcm makes one)",
        ) from error


def _read_data_set(data: bytes) -> bytes:
    if not data:
        raise DataSetError("the file is empty", offset=0)
    meta = decode_file_meta(data)
    if meta is None:
        syntax, position = _detect(data), 0
    else:
        position = meta.length
        if meta.transfer_syntax_uid not in TRANSFER_SYNTAXES:
            raise DataSetError(f"transfer syntax {meta.transfer_syntax_uid!r} is not known")
        syntax = TRANSFER_SYNTAXES[meta.transfer_syntax_uid]
        if syntax.encapsulated:
            raise DataSetError(f"a query cannot be in {uid_name(syntax.uid)}")
    elements = memoryview(data)[position:]
    if not elements:
        raise DataSetError("there is no data set", offset=position)
    query = recode(elements, syntax, _LITTLE)
    if not any(tag >= _FIRST_TAG for tag, _, _ in _elements(query)):
        raise DataSetError("there is no element that a query could have", offset=position)
    return query


def _detect(data: bytes) -> TransferSyntax:
    """Tell the transfer syntax of a bare data set: a VR behind the tag is explicit VR, a small group little endian."""
    explicit = len(data) >= 6 and data[4:6].isalpha() and data[4:6].isupper()
    if not explicit:
        return IMPLICIT_LITTLE
    little, big = int.from_bytes(data[:2], "little"), int.from_bytes(data[:2], "big")
    return EXPLICIT_LITTLE if little <= big else EXPLICIT_BIG


def _elements(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Walk the top level of a data set that ``recode`` made in explicit VR little endian: all lengths are known."""
    position = 0
    while position < len(data):
        group, element, vr, length = struct.unpack_from("<HH2sH", data, position)
        position += 8
        if vr in LONG:
            (length,) = struct.unpack_from("<I", data, position)
            position += 4
        yield group << 16 | element, vr, data[position : position + length]
        position += length


def values_of(data: bytes | bytearray, syntax: TransferSyntax) -> dict[int, bytes]:
    """Give the values of the top level of a received identifier by tag, in little endian. Raises ``DataSetError``."""
    return Identifier(recode(data, syntax, _LITTLE)).values() if data else {}
