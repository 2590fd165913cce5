"""Preamble and File Meta Information of a DICOM file: encoder and decoder (PS3.10 section 7.1).

Group 0002 is always explicit VR little endian. The elements written are the same as DCMTK's movescu writes, with the
Implementation Class UID and Version Name of this program.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final, NamedTuple

from movescu._runtime import version
from movescu.errors import DataSetError

PREAMBLE: Final = bytes(128) + b"DICM"
"""128 zero bytes, so that no peer can make the file executable, and the prefix (PS3.10 7.1)."""

_LONG_VRS: Final = frozenset(
    (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN", b"UT", b"UC", b"UR", b"SQ", b"SV", b"UV")
)


def _element(element: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", 0x0002, element, vr, len(value)) + value


def _ui(element: int, value: str) -> bytes:
    data = value.encode("latin-1", "replace")
    return _element(element, b"UI", data + b"\0" * (len(data) & 1))


def _ae(element: int, value: str) -> bytes:
    data = value.encode("latin-1", "replace")
    return _element(element, b"AE", data + b" " * (len(data) & 1))


_VERSION: Final = struct.pack("<HH2sxxI", 0x0002, 0x0001, b"OB", 2) + b"\0\1"
_VERSION_NAME: Final = version.VERSION_NAME.encode()
_IMPLEMENTATION: Final = _ui(0x0012, version.CLASS_UID) + _element(
    0x0013, b"SH", _VERSION_NAME + b" " * (len(_VERSION_NAME) & 1)
)


_GROUP_LENGTH: Final = PREAMBLE + struct.pack("<HH2sH", 0x0002, 0x0000, b"UL", 4)


def encode_file_meta(
    sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae_title: str | None = None
) -> bytes:
    """Encode all that precedes the data set; (0002,0016) is written unless ``source_ae_title`` is None."""
    uid = sop_instance_uid.encode("latin-1", "replace")
    if len(uid) & 1:
        uid += b"\0"
    before, after = _around(sop_class_uid, transfer_syntax_uid, source_ae_title, len(uid))
    return b"".join((before, uid, after))


@lru_cache(64)
def _around(
    sop_class_uid: str, transfer_syntax_uid: str, source_ae_title: str | None, length: int
) -> tuple[bytes, bytes]:
    """Encode what stands before and after the value of (0002,0003), for all objects of a series; ``length``: of it."""
    source = b"" if source_ae_title is None else _ae(0x0016, source_ae_title)
    after = _ui(0x0010, transfer_syntax_uid) + _IMPLEMENTATION + source
    before = _VERSION + _ui(0x0002, sop_class_uid) + struct.pack("<HH2sH", 0x0002, 0x0003, b"UI", length)
    return _GROUP_LENGTH + (len(before) + length + len(after)).to_bytes(4, "little") + before, after


class FileMeta(NamedTuple):
    """Decoded file meta information; ``length`` is the number of bytes that precede the data set."""

    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    length: int


def decode_file_meta(data: bytes | memoryview) -> FileMeta | None:
    """Decode group 0002 of a file; return None if there is neither a ``DICM`` prefix nor that group at the start.

    The group length may be wrong and is ignored: the group ends where another begins. Raise ``DataSetError`` if the
    meta information is truncated or names no transfer syntax.
    """
    values: dict[int, str] = {}
    if bytes(data[128:132]) == b"DICM":
        position = len(PREAMBLE)
    elif bytes(data[:2]) == b"\2\0" and bytes(data[4:6]).isalpha():  # pydicom can write files without preamble
        position = 0
    else:
        return None
    while bytes(data[position : position + 2]) == b"\2\0":
        element, start, end = _read_element(data, position)
        if end > len(data):
            raise DataSetError(f"file meta information is truncated in (0002,{element:04X})", offset=position)
        if element in (0x0002, 0x0003, 0x0010):
            values[element] = bytes(data[start:end]).decode("latin-1").rstrip("\0 ")
        position = end
    if not values.get(0x0010):
        raise DataSetError("file meta information names no transfer syntax (0002,0010)", offset=position)
    return FileMeta(values[0x0010], values.get(0x0002, ""), values.get(0x0003, ""), position)


def _read_element(data: bytes | memoryview, position: int) -> tuple[int, int, int]:
    """Return the element number, and start and end of the value."""
    try:
        element, vr, length = struct.unpack_from("<H2sH", data, position + 2)
        start = position + 8
        if vr in _LONG_VRS:
            (length,) = struct.unpack_from("<I", data, position + 8)
            start = position + 12
    except struct.error:
        raise DataSetError("file meta information is truncated", offset=position) from None
    return element, start, start + length
