"""DCMTK's dcmconv as the oracle of the codec's tests: the same writer as its movescu's, without a network."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from encoded import el

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Job(NamedTuple):
    """A data set to convert: its transfer syntax UID, its bytes, and options of dcmconv."""

    syntax: str
    data: bytes
    options: Sequence[str]


class Converted(NamedTuple):
    """What dcmconv wrote: the bytes before the data set, and the data set; None if it refused."""

    before: int
    data: bytes | None
    said: str


def part10(syntax: str, data: bytes) -> bytes:
    """Put preamble and file meta before a data set."""
    uid = syntax.encode() + b"\0" * (len(syntax) & 1)
    meta = el(0x00020001, "OB", b"\0\1") + el(0x00020002, "UI", b"1.2.840.10008.5.1.4.1.1.7\0")
    meta += el(0x00020003, "UI", b"1.2.3.4\0") + el(0x00020010, "UI", uid) + el(0x00020012, "UI", b"1.2.3\0")
    return bytes(128) + b"DICM" + el(0x00020000, "UL", struct.pack("<I", len(meta))) + meta + data


def data_set_of(file: bytes) -> tuple[int, bytes]:
    """Split a file that has a group length in its meta: bytes before the data set, the data set."""
    before = 144 + int.from_bytes(file[140:144], "little")
    return before, file[before:]


def convert(job: Job, directory: Path) -> Converted:
    """Run dcmconv on one data set."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        source, target = Path(name) / "in", Path(name) / "out"
        source.write_bytes(part10(job.syntax, job.data))
        done = subprocess.run(
            ["dcmconv", *job.options, str(source), str(target)],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode or not target.exists():
            return Converted(0, None, done.stderr.strip())
        return Converted(*data_set_of(target.read_bytes()), done.stderr.strip())


def convert_all(jobs: Iterable[Job]) -> list[Converted]:
    """Run dcmconv on many, some at a time (13 ms each), in memory where there is a file system for that."""
    memory = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name, ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda job: convert(job, Path(name)), jobs))
