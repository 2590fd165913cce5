"""Preamble and File Meta Information of a DICOM file: PS3.10 section 7.1, written and read.

Group 0002 is always explicit VR little endian. Which elements are written is what DCMTK's movescu writes; the
implementation is our own.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final, NamedTuple

from movescu._runtime import version
from movescu.errors import DataSetError

PREAMBLE: Final = bytes(128) + b"DICM"
"""128 zero bytes, never what a peer might like to see executed, and the prefix (PS3.10 7.1)."""

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
    """Return everything in front of the data set; ``source_ae_title`` goes to (0002,0016) where it is not None."""
    sop_class, rest = _around(sop_class_uid, transfer_syntax_uid, source_ae_title)
    sop_instance = _ui(0x0003, sop_instance_uid)
    length = len(_VERSION) + len(sop_class) + len(sop_instance) + len(rest)
    return b"".join((_GROUP_LENGTH, length.to_bytes(4, "little"), _VERSION, sop_class, sop_instance, rest))


@lru_cache(64)
def _around(sop_class_uid: str, transfer_syntax_uid: str, source_ae_title: str | None) -> tuple[bytes, bytes]:
    """Return what stands before and behind (0002,0003): the same for all objects of a series."""
    source = b"" if source_ae_title is None else _ae(0x0016, source_ae_title)
    return _ui(0x0002, sop_class_uid), _ui(0x0010, transfer_syntax_uid) + _IMPLEMENTATION + source


class FileMeta(NamedTuple):
    """What is read of a file's meta information; ``length``: bytes in front of the data set."""

    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    length: int


def decode_file_meta(data: bytes | memoryview) -> FileMeta | None:
    """Read group 0002 of a file; None if it has neither a ``DICM`` prefix nor begins with that group.

    The group length is not relied on: the group ends where another one begins. Raise ``DataSetError`` if the meta
    information breaks off or names no transfer syntax.
    """
    values: dict[int, str] = {}
    if bytes(data[128:132]) == b"DICM":
        position = len(PREAMBLE)
    elif bytes(data[:2]) == b"\2\0" and bytes(data[4:6]).isalpha():  # written without preamble, as pydicom may
        position = 0
    else:
        return None
    while bytes(data[position : position + 2]) == b"\2\0":
        element, start, end = _read_element(data, position)
        if end > len(data):
            raise DataSetError(f"file meta information breaks off in (0002,{element:04X})", offset=position)
        if element in (0x0002, 0x0003, 0x0010):
            values[element] = bytes(data[start:end]).decode("latin-1").rstrip("\0 ")
        position = end
    if not values.get(0x0010):
        raise DataSetError("file meta information names no transfer syntax (0002,0010)", offset=position)
    return FileMeta(values[0x0010], values.get(0x0002, ""), values.get(0x0003, ""), position)


def _read_element(data: bytes | memoryview, position: int) -> tuple[int, int, int]:
    """Return element number, start and end of the value."""
    try:
        element, vr, length = struct.unpack_from("<H2sH", data, position + 2)
        start = position + 8
        if vr in _LONG_VRS:
            (length,) = struct.unpack_from("<I", data, position + 8)
            start = position + 12
    except struct.error:
        raise DataSetError("file meta information breaks off", offset=position) from None
    return element, start, start + length
