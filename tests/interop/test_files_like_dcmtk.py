"""Who exchanges the binary and runs ``diff -r`` sees nothing: our files beside those of DCMTK's movescu.

Both programs retrieve the same objects from the same archive under the same output options, and every file is held
against its twin, with the implementation's UID and version name, and the length of group 0002, masked. The options are
the pairwise covering list of ``corpora``; run with ``-s`` to see the counts.
"""

from __future__ import annotations

import re
import subprocess
import warnings
import zlib
from typing import TYPE_CHECKING

import command
import corpora
import corpus
import delivery
import encoded
import pydicom
import pytest

if TYPE_CHECKING:
    from pathlib import Path

_IMPLEMENTATION = re.compile(rb"\x02\0\x12\0UI..[\d.]+\0?\x02\0\x13\0SH..[A-Z0-9_. ]+", re.DOTALL)
_FILE_PADDING = re.compile(rb"(\xfc\xff\xfc\xff|\xff\xfc\xff\xfc)(OB\0\0)?.{4}\0*\Z", re.DOTALL)
_PADDING_GROUP = re.compile(rb"(\xfc\xff|\xff\xfc)\0\0(UL\x04\0|UL\0\x04|\x04\0\0\0).{4}", re.DOTALL)
_COMPRESSIBLE = ("+te", "+tb", "+ti", "+td")  # not with the acceptance of compressed transfer syntaxes

REFUSED_BY_DCMTK = {
    "blanks that bring text to nothing": "DCMTK loses its place after 70,000 blanks in implicit VR and aborts",
    **dict.fromkeys(
        ("fall.dcm", "hotiron.dcm", "hotmetalblue.dcm", "pet.dcm", "pet20step.dcm", "spring.dcm", "summer.dcm"),
        "Color Palette Storage is no storage class for DCMTK 3.6.7",
    ),
    "winter.dcm": "as above",
}
"""Objects that DCMTK does not store, and why: there is nothing to compare ours with. All others are compared."""

DIFFERENT = {"group 0002 in the data set": "left out: readers take it for the file meta information"}
"""Objects whose files differ, and why; docs/differences.md has a row for each."""


def masked(file: Path, multiple: int) -> bytes:
    """The bytes of a file, without what each implementation says of itself, and held to its ``+p``.

    The padding at the end of a file counts the file meta, whose length is each implementation's own; the length of its
    group, if the object has one, counts the padding.
    """
    data = file.read_bytes()
    if data[128:132] != b"DICM":
        return data
    end = 144 + int.from_bytes(data[140:144], "little")
    meta, body = data[144:end], data[end:]
    if multiple:
        body = zlib.decompress(body, -15) if encoded.DEFLATED.encode() in meta else body
        assert (end + len(body)) % multiple == 0, file.name
        body = _PADDING_GROUP.sub(b"(padding)", _FILE_PADDING.sub(b"", body))
    return data[:140] + _IMPLEMENTATION.sub(b"(implementation)", meta) + body


def compare(tmp_path: Path, objects: list[delivery.Delivered], options: tuple[str, ...]) -> None:
    """Deliver to both programs, and hold their files against each other."""
    results = {}
    for program in (command.movescu, command.dcmtk):
        folder = tmp_path / program.__name__
        folder.mkdir()
        results[program.__name__] = delivery.deliver(program, objects, *options, folder=folder)
    ours, theirs = results["movescu"], results["dcmtk"]
    assert set(ours.statuses.values()) == {0}, ours.statuses
    assert {name for name, status in theirs.statuses.items() if status != 0} <= REFUSED_BY_DCMTK.keys()
    files = {thing.name: file_of(thing, ours) for thing in objects}
    stored = {name: theirs.outcome.files.get(file.name) for name, file in files.items() if theirs.statuses[name] == 0}
    assert len(stored) > len(objects) * 0.9
    multiple = int(options[options.index("+p") + 1]) if "+p" in options else 0
    different = [
        name for name, file in stored.items() if file is None or masked(file, multiple) != masked(files[name], multiple)
    ]
    counts = f"{len(stored)} files compared, {len(stored) - len(different)} equal"
    print(f"\n{' '.join(options)}: {counts}")  # noqa: T201 - the counts are asked for
    assert set(different) <= DIFFERENT.keys()


def file_of(thing: delivery.Delivered, result: delivery.Delivery) -> Path:
    """The file of an object, found by its UID; its whole name is compared with DCMTK's."""
    return next(path for name, path in result.outcome.files.items() if name.partition(".")[2] == thing.sop_instance_uid)


def accepting(options: tuple[str, ...]) -> tuple[str, ...]:
    """Add the acceptance of as many transfer syntaxes as the options allow."""
    return ("+xd" if set(_COMPRESSIBLE) & set(options) else "+xa", *options)


def suitable(objects: list[delivery.Delivered], options: tuple[str, ...]) -> list[delivery.Delivered]:
    """Leave out compressed objects where the options exclude them."""
    if set(_COMPRESSIBLE) & set(options):
        return [thing for thing in objects if thing.transfer_syntax_uid in corpora.UNCOMPRESSED]
    return objects


ROWS = [*corpora.pairwise_options(), ("-F",), ("-F", "+te"), ("-F", "+td"), ("-F", "+g", "-e"), ("+B",), ("+B", "-F")]


@pytest.mark.parametrize("options", ROWS, ids=" ".join)
@pytest.mark.sampled(5)
@pytest.mark.debian_12("dcmtk")
def test_every_made_object_is_the_same_file(tmp_path: Path, options: tuple[str, ...]) -> None:
    objects = suitable(corpora.made(), options)
    compare(tmp_path, objects, accepting(options))
    if "+B" not in options:  # those are as broken as they came
        check_readable(tmp_path / "movescu", objects, options)


def check_readable(folder: Path, objects: list[delivery.Delivered], options: tuple[str, ...]) -> None:
    """Have pydicom and dcmdump read every file, bare data sets with the force that they need.

    Left out: objects that begin with group 0000, which pydicom takes for a command, and bare deflated data sets, which
    nothing tells from noise.
    """
    bare = "-F" in options
    left_out = {thing.sop_instance_uid for thing in objects if thing.name == "bytes of zero at the end"}
    if bare and "+te" not in options:
        left_out |= {thing.sop_instance_uid for thing in objects if thing.transfer_syntax_uid == encoded.DEFLATED}
    files = [file for file in folder.iterdir() if file.name.partition(".")[2] not in left_out]
    if not bare:
        corpus.check_readable(files)
    elif "+td" not in options:
        for file in files:
            with warnings.catch_warnings(action="ignore"):
                assert list(pydicom.dcmread(file, force=True).iterall())
            subprocess.run(
                ["dcmdump", "-q", "-f", detect(file.read_bytes()), file], check=True, stdout=subprocess.DEVNULL
            )


def detect(data: bytes) -> str:
    """dcmdump's option for the transfer syntax of a bare data set."""
    if not data[4:6].isalpha():
        return "-ti"
    return "-te" if data[0] else "-tb"


BUNDLED_ROWS = [(), ("-e", "+g"), ("+te", "-u"), ("+ti",), ("+tb", "-g"), ("+td",), ("+B",)]


@pytest.mark.parametrize("options", BUNDLED_ROWS, ids=" ".join)
@pytest.mark.sampled(4)
def test_pydicoms_files_are_the_same_files(tmp_path: Path, options: tuple[str, ...]) -> None:
    compare(tmp_path, suitable(corpora.bundled(), options), accepting(options))
    corpus.check_readable(sorted((tmp_path / "movescu").iterdir()))
