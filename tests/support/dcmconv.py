"""DCMTK's dcmconv as the oracle of the codec's tests: the same writer as its movescu's, without a network.

Four fifths of the time of a run of dcmconv go into reading its dictionary, 400 KB of text. So each data set comes with
a dictionary of its own: every row of DCMTK's that could be looked up for these bytes.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from encoded import DEFLATED, el

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


def convert(job: Job, directory: Path, dictionary: Path | None) -> Converted:
    """Run dcmconv on one data set; without a dictionary of its own, with the one that is installed."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        source, target = Path(name) / "in", Path(name) / "out"
        source.write_bytes(part10(job.syntax, job.data))
        done = subprocess.run(
            ["dcmconv", *job.options, str(source), str(target)],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            env=os.environ | ({"DCMDICTPATH": str(dictionary)} if dictionary else {}),
        )
        if done.returncode or not target.exists():
            return Converted(0, None, done.stderr.strip())
        return Converted(*data_set_of(target.read_bytes()), done.stderr.strip())


def convert_all(jobs: Iterable[Job]) -> list[Converted]:
    """Run dcmconv on many, some at a time (5 ms each), in memory where there is a file system for that."""
    memory = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name, ThreadPoolExecutor(4) as pool:
        folder, dictionaries = Path(name), dict[tuple[str, bytes], Path | None]()

        def run(job: Job) -> Converted:
            return convert(job, folder, dictionaries[job.syntax, job.data])

        todo = list(jobs)
        for job in todo:
            if (job.syntax, job.data) not in dictionaries:
                path = folder / f"{len(dictionaries)}.dic"
                dictionaries[job.syntax, job.data] = path if write_dictionary(job, path) else None
        return list(pool.map(run, todo))


class Row(NamedTuple):
    """A row of DCMTK's dictionary: its tag, or its private creator, or neither where it is of a range of tags."""

    text: str
    tag: int | None
    creator: bytes | None

    @property
    def is_always_needed(self) -> bool:
        """Whether it is looked up without being in the data set: group lengths, the file meta, items, padding."""
        return self.creator is None and (self.tag is None or not 0x00080000 <= self.tag < 0xFFFA0000)


@cache
def installed() -> list[Row]:
    """Read the dictionaries that Debian's DCMTK has; nothing where it has them elsewhere."""
    rows = []
    for file in sorted(Path("/usr/share").glob("libdcmtk*/*.dic")):
        if file.name in {"dicom.dic", "private.dic"}:
            for text in re.findall(r"^\(.*", file.read_text("latin-1"), re.MULTILINE):
                tag = re.match(r"\((\w{4}),(\w{4})\)", text)
                creator = re.match(r'\([^,]*,"(.*)",[^,]*\)', text)
                number = int(tag[1] + tag[2], 16) if tag else None
                rows.append(Row(text, number, creator[1].encode("latin-1") if creator else None))
    return rows


def write_dictionary(job: Job, path: Path) -> bool:
    """Write a dictionary of all that may be in the data set: each tag and creator whose bytes occur at any place."""
    data = zlib.decompressobj(-15).decompress(job.data) if job.syntax == DEFLATED else job.data
    found = set[int]()
    for start in range(4):
        end = start + (len(data) - start) // 4 * 4
        words = np.frombuffer(data[start:end], "<u4")
        found.update(words[_halves()[words & 0xFFFF] & _halves()[words >> 16]].tolist())
    creators = {creator for creator in {row.creator for row in installed()} if creator is not None and creator in data}
    kept = [
        row.text
        for row in installed()
        if row.is_always_needed
        or row.creator in creators
        or (row.tag is not None and not found.isdisjoint(_as_read(row.tag)))
    ]
    path.write_text("".join(f"{text}\n" for text in kept), "latin-1")
    return bool(kept)


@cache
def _halves() -> npt.NDArray[np.bool_]:
    """Tell of each number of 16 bits whether it is half of a tag of the dictionary: few words of an image are both."""
    table = np.zeros(1 << 16, np.bool_)
    for row in installed():
        for word in _as_read(row.tag) if row.tag is not None else ():
            table[[word & 0xFFFF, word >> 16]] = True
    return table


def _as_read(tag: int) -> tuple[int, int]:
    """Give a tag as four bytes of a little and a big endian data set, both read as one little endian number."""
    group, element = tag >> 16, tag & 0xFFFF
    return element << 16 | group, int.from_bytes(struct.pack(">HH", group, element), "little")
