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


class Dictionary(NamedTuple):
    """The rows of DCMTK's dictionary, by what a data set has to hold for them to be looked up."""

    always: list[str]
    """Of ranges of tags, group lengths among them, and of what is written into every file."""
    by_word: dict[int, list[str]]
    """By the four bytes of a tag, as a little endian number: in little and in big endian data sets."""
    by_creator: dict[bytes, list[str]]
    """By the private creator."""
    halves: npt.NDArray[np.bool_]
    """Of each number of 16 bits, whether it is half of such a word: few words of an image are both."""


@cache
def installed() -> Dictionary:
    """Read the dictionaries that Debian's DCMTK has; nothing where it has them elsewhere."""
    read = Dictionary([], {}, {}, np.zeros(1 << 16, np.bool_))
    for file in sorted(Path("/usr/share").glob("libdcmtk*/*.dic")):
        if file.name in {"dicom.dic", "private.dic"}:
            for text in re.findall(r"^\(.*\n", file.read_text("latin-1"), re.MULTILINE):
                tag = re.match(r"\((\w{4}),(\w{4})\)", text)
                creator = re.match(r'\([^,]*,"(.*)",[^,]*\)', text)
                if creator:
                    read.by_creator.setdefault(creator[1].encode("latin-1"), []).append(text)
                elif not tag or not 0x0008 <= int(tag[1], 16) < 0xFFFA:
                    read.always.append(text)
                else:
                    for order in "<>":
                        group, element = struct.unpack(
                            "<HH", struct.pack(f"{order}HH", int(tag[1], 16), int(tag[2], 16))
                        )
                        read.by_word.setdefault(element << 16 | group, []).append(text)
                        read.halves[[group, element]] = True
    return read


def write_dictionary(job: Job, path: Path) -> bool:
    """Write a dictionary of all that may be in the data set: each tag and creator whose bytes occur at any place."""
    data = zlib.decompressobj(-15).decompress(job.data) if job.syntax == DEFLATED else job.data
    rows = installed()
    kept = [*rows.always, *(text for name, texts in rows.by_creator.items() if name in data for text in texts)]
    words = set[int]()
    for start in range(4):
        end = start + (len(data) - start) // 4 * 4
        all_words = np.frombuffer(data[start:end], "<u4")
        words.update(all_words[rows.halves[all_words & 0xFFFF] & rows.halves[all_words >> 16]].tolist())
    kept += {text for word in words for text in rows.by_word.get(word, [])}
    path.write_text("".join(kept), "latin-1")
    return bool(kept)
