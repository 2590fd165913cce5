"""Measure the data set codec: ``scan`` of a canonical CT, ``recode`` and ``Recoder`` of small and large objects.

Run ``python bench/codec.py``. The CT has about 150 elements, three sequences and 512 KB of pixel data.
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING

from movescu.dataset.transcoder import Encoding, GroupLength, MemorySink, Recoder, recode, scan
from movescu.dictionary import tags as dictionary
from movescu.dictionary import uids

if TYPE_CHECKING:
    from collections.abc import Callable

ELEMENTS = 150


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    """Encode an element in explicit VR little endian."""
    if vr in {b"OW", b"SQ", b"UN"}:
        return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def ct(pixels: int) -> bytes:
    """Return a canonical CT image in explicit VR little endian with ``pixels`` bytes of pixel data."""
    values = {
        "CS": b"CT",
        "DA": b"20260101",
        "DS": b"1.25\\1.25 ",
        "IS": b"12",
        "LO": b"Some description of it",
        "SH": b"0123",
        "TM": b"101010.123456 ",
        "US": b"\1\0",
    }
    body = element(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.2\0") + element(0x00080018, b"UI", b"1.2.3.4.5.6\0")
    item = element(0x00081150, b"UI", b"1.2.840.10008.5.1.4.1.1.2\0") + element(0x00081155, b"UI", b"1.2.3\0")
    for tag in (0x00081110, 0x00081111, 0x00081140):
        body += element(tag, b"SQ", struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item)
    known = [(tag, vr) for tag, vr in sorted(dictionary.tags().items()) if tag > 0x00100000 and vr in values]
    for tag, vr in known[: ELEMENTS - 24]:
        body += element(tag, vr.encode(), values[vr])
    body += element(0x00290010, b"LO", b"ACME 1.0")
    for i in range(12):
        body += element(0x00291001 + i, b"UN", b"what")
    return body + element(0x7FE00010, b"OW", bytes(pixels))


def best(function: Callable[[], object], repeat: int) -> float:
    """Return the shortest time of a number of runs, in seconds."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def stream(data: bytes, encoding: Encoding) -> None:
    """Feed an object to a ``Recoder`` in chunks, as from a network."""
    recoder = Recoder(uids.EXPLICIT_LITTLE, encoding, MemorySink(), spool=MemorySink)
    view = memoryview(data)
    for position in range(0, len(view), 1 << 17):
        recoder.feed(view[position : position + (1 << 17)])
    recoder.finish()


def main() -> None:
    """Print the table."""
    explicit, implicit = ct(512 * 1024), recode(ct(512 * 1024), uids.EXPLICIT_LITTLE, Encoding(uids.IMPLICIT_LITTLE))
    for name, data, syntax in (
        ("explicit", explicit, uids.EXPLICIT_LITTLE),
        ("implicit", implicit, uids.IMPLICIT_LITTLE),
    ):
        assert scan(data, syntax, Encoding())[1]  # noqa: S101 - otherwise the figure would be of another path
        seconds = best(lambda data=data, syntax=syntax: scan(data, syntax, Encoding()), 200)  # type: ignore[misc]
        print(f"scan, canonical CT, {name}: {seconds * 1e6:.0f} us")
    small = ct(0)
    encodings = {
        "as received": Encoding(),
        "+tb": Encoding(uids.EXPLICIT_BIG),
        "+ti": Encoding(uids.IMPLICIT_LITTLE),
        "+g": Encoding(group_length=GroupLength.CREATE),
        "-e": Encoding(explicit_length=False),
        "+td": Encoding(uids.DEFLATED_LITTLE),
    }
    large = ct(64 << 20)
    for name, encoding in encodings.items():
        few = best(lambda encoding=encoding: recode(small, uids.EXPLICIT_LITTLE, encoding), 50)  # type: ignore[misc]
        many = best(lambda encoding=encoding: stream(large, encoding), 3)  # type: ignore[misc]
        print(f"recode {name}: {few * 1e6:.0f} us for the elements of a CT, {64 / many:.0f} MiB/s for 64 MiB")


if __name__ == "__main__":
    main()
