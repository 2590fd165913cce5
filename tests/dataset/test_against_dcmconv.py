"""Output of the codec compared with that of DCMTK's dcmconv, byte for byte.

dcmconv of DCMTK 3.6.7 shares its writer with DCMTK's movescu. Run with ``-s`` to see the counts.
"""

from __future__ import annotations

import itertools
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import encoded
import pydicom.data
import pytest
from dcmconv import Converted, Job, convert_all, data_set_of
from effort import is_whole, some
from pairwise import pairwise

from movescu.dataset.transcoder import Encoding, GroupLength, MemorySink, Recoder, recode, scan
from movescu.dictionary import tags as dictionary
from movescu.dictionary import uids
from movescu.errors import DataSetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

pytestmark = pytest.mark.skipif(shutil.which("dcmconv") is None, reason="needs DCMTK's dcmconv (Debian: dcmtk)")

Choice = tuple[tuple[str, ...], dict[str, object]]  # options of dcmconv, fields of Encoding
AXES: tuple[tuple[Choice, ...], ...] = (
    (
        ((), {}),
        (("+te",), {"transfer_syntax": uids.EXPLICIT_LITTLE}),
        (("+tb",), {"transfer_syntax": uids.EXPLICIT_BIG}),
        (("+ti",), {"transfer_syntax": uids.IMPLICIT_LITTLE}),
        (("+td",), {"transfer_syntax": uids.DEFLATED_LITTLE}),
    ),
    (((), {}), (("-u",), {"new_vr": False})),
    (
        ((), {}),
        (("+g",), {"group_length": GroupLength.CREATE}),
        (("-g",), {"group_length": GroupLength.REMOVE}),
    ),
    (((), {}), (("-e",), {"explicit_length": False})),
    (
        (("-p",), {}),
        (("+p", "128", "16"), {"file_padding": 128, "item_padding": 16}),
        (("+p", "0", "6"), {"item_padding": 6}),
        (("+p", "512", "0"), {"file_padding": 512}),
    ),
)

EXCEPTIONS = {
    "text of odd length": "PS3.5 6.2 pads text with a space, DCMTK 3.6.7 with NUL",
    "OW of odd length": "PS3.5 7.1.1 wants an even length, DCMTK 3.6.7 writes OW as it is",
    "group length of eight bytes": "UL of multiplicity 1 has four bytes; DCMTK keeps what was beyond them",
    "item delimiter in the data set": "DCMTK drops everything after it and reports success; here it is an error",
    "item longer than its sequence": "DCMTK reads on in what follows the sequence; here it is an error",
    "VR letters that DCMTK uses inside": "DCMTK takes 'ox' for its internal VR of that name; here it is unknown",
    "tags newer than DCMTK's dictionary": "pydicom's dictionary is of 2024, that of 3.6.7 of 2022",
    "private tags of which the dictionaries differ": "pydicom's private dictionary is not DCMTK's",
    "private creator after an element out of order": "DCMTK overlooks that creator; PS3.5 7.8.1 wants it heeded",
    "bytes of zero at the end": "DCMTK takes them for an element of group 0000; here they are padding",
    "sequences nested too deep": "64 is the limit here; DCMTK has none and overflows its stack at 10^5",
}
"""Objects of ``encoded.exceptions`` -> reason for the difference."""

CORPUS_EXCEPTIONS = {"DICOMDIR-nooffset": "an item claims more bytes than its sequence, which DCMTK reads past"}
"""Files of pydicom -> reason for the difference."""


class Case(NamedTuple):
    """One object under one combination of options."""

    name: str
    syntax: str
    data: bytes
    options: tuple[str, ...]
    encoding: Encoding

    @property
    def job(self) -> Job:
        return Job(self.syntax, self.data, self.options)


def choices() -> list[tuple[tuple[str, ...], Encoding]]:
    """Return combinations that cover every pair of choices of two axes; the first is the command's default."""
    result = []
    for row in pairwise(AXES):
        options, fields = zip(*row, strict=True)
        merged: dict[str, object] = {}
        for field in fields:
            merged |= field
        result.append((tuple(itertools.chain(*options)), Encoding(**merged)))  # type: ignore[arg-type] # one per axis
    return result


def ours(case: Case, before: int) -> bytes | None:
    try:
        return recode(case.data, uids.TRANSFER_SYNTAXES[case.syntax], case.encoding, file_offset=before)
    except DataSetError:
        return None


def streamed(case: Case, before: int, sizes: Iterable[int]) -> bytes | None:
    """Feed an object in chunks of odd sizes, each from one buffer that is overwritten after the call."""
    sink = MemorySink()
    syntax = uids.TRANSFER_SYNTAXES[case.syntax]
    recoder = Recoder(syntax, case.encoding, sink, file_offset=before, spool=MemorySink)
    buffer, position = bytearray(1 << 16), 0
    try:
        for size in itertools.cycle(sizes):
            part = case.data[position : position + size]
            if not part:
                break
            buffer[: len(part)] = part
            recoder.feed(memoryview(buffer)[: len(part)])
            position += size
        recoder.finish()
    except DataSetError:
        return None
    return bytes(sink.data)


def difference(mine: bytes | None, theirs: Converted) -> str:
    """Return where two data sets differ, for the message of a failed test."""
    if mine is None or theirs.data is None:
        return f"movescu {'refuses' if mine is None else 'writes'}, dcmconv {theirs.said or 'writes'}"
    at = next(
        (i for i, (a, b) in enumerate(zip(mine, theirs.data, strict=False)) if a != b), min(len(mine), len(theirs.data))
    )
    around = slice(max(0, at - 16), at + 16)
    return f"at {at}: movescu {mine[around]!r}, dcmconv {theirs.data[around]!r}"


def differing(cases: list[Case]) -> Iterator[tuple[Case, str]]:
    """Return the differences from dcmconv, and print the counts."""
    counts = {"equal": 0, "refused by both": 0, "different": 0}
    for case, theirs in zip(cases, convert_all(case.job for case in cases), strict=True):
        mine = ours(case, theirs.before)
        if mine != theirs.data:
            counts["different"] += 1
            yield case, difference(mine, theirs)
        else:
            counts["refused by both" if mine is None else "equal"] += 1
    print(f"\ncompared with dcmconv: {len(cases)}, {counts}")  # noqa: T201 - the counts are asked for


def test_made_object_is_written_as_by_dcmtk_under_every_pair_of_options() -> None:
    """Each object is tested under the default and every second combination, its neighbour under the others."""
    cases = [
        Case(name, syntax, data, options, encoding)
        for number, (name, (syntax, data)) in enumerate(some(encoded.objects().items(), 6))
        for turn, (options, encoding) in enumerate(choices())
        if not turn or (number + turn) % 2
    ]
    wrong = [f"{case.name} {' '.join(case.options)}: {why}" for case, why in differing(cases)]
    assert not wrong, "\n".join(wrong)


def bundled() -> list[tuple[str, str, bytes]]:
    """Return pydicom's files, except those without file meta and the largest: name, transfer syntax, data set."""
    result = []
    for path in sorted(Path(pydicom.data.__file__).parent.rglob("*")):
        file = path.read_bytes() if path.is_file() and path.stat().st_size < 1 << 21 else b""
        if file[128:136] != b"DICM\2\0\0\0":
            continue
        before, data = data_set_of(file)
        at = file.find(b"\2\0\x10\0UI", 0, before)
        length = struct.unpack_from("<H", file, at + 6)[0]
        syntax = file[at + 8 : at + 8 + length].rstrip(b"\0 ").decode()
        if at > 0 and syntax in uids.TRANSFER_SYNTAXES:
            result.append((path.name, syntax, data))
    return result


def test_files_of_pydicom_are_written_as_by_dcmtk() -> None:
    rows = choices()
    cases = []
    for number, (name, syntax, data) in enumerate(bundled()):
        turns = [0, *((number * 7 + step) % len(rows) for step in range(1, 6 if is_whole() else 2))]
        cases += [Case(name, syntax, data, *rows[turn]) for turn in dict.fromkeys(turns)]
    assert len(cases) > (600 if is_whole() else 200), "pydicom's files are not there"
    wrong = [(case, why) for case, why in differing(cases)]
    unexpected = [
        f"{case.name} {' '.join(case.options)}: {why}" for case, why in wrong if case.name not in CORPUS_EXCEPTIONS
    ]
    assert not unexpected, "\n".join(unexpected)
    assert {case.name for case, _ in wrong} == CORPUS_EXCEPTIONS.keys(), "an exception is none any more"


@pytest.mark.debian_12("dcmtk")
def test_listed_exceptions_differ_and_no_others() -> None:
    objects = encoded.exceptions()
    assert objects.keys() == EXCEPTIONS.keys()
    options = ("+te", "-p")
    encoding = Encoding(transfer_syntax=uids.EXPLICIT_LITTLE)
    cases = [Case(name, *objects[name], options, encoding) for name in EXCEPTIONS]
    assert [case.name for case, _ in differing(cases)] == list(EXCEPTIONS)


@pytest.mark.parametrize(
    ("options", "encoding"),
    [
        (("+td", "+cl", "9", "-p"), Encoding(uids.DEFLATED_LITTLE, compression_level=9)),
        (("+td", "+cl", "1", "-p"), Encoding(uids.DEFLATED_LITTLE, compression_level=1)),
        (("+p", "0", "3"), Encoding(item_padding=3)),
        (("+te", "+p", "5", "4"), Encoding(uids.EXPLICIT_LITTLE, file_padding=5, item_padding=4)),
    ],
)
@pytest.mark.sampled(2)
def test_options_outside_the_pairs_are_written_as_by_dcmtk(options: tuple[str, ...], encoding: Encoding) -> None:
    # With an odd +p DCMTK leaves wrong group lengths, and blanks at the end of text, as they are.
    left_as_they_are = ("group length", "every VR", "blank", "disordered")
    cases = [
        Case(name, syntax, data, options, encoding)
        for name, (syntax, data) in some(encoded.objects().items(), 3)
        if not (encoding.keeps_padding and any(word in name for word in left_as_they_are))
    ]
    wrong = [f"{case.name}: {why}" for case, why in differing(cases)]
    assert not wrong, "\n".join(wrong)


def test_large_object_in_chunks_becomes_the_same_file_as_in_one_piece() -> None:
    rows = choices()
    for number, (name, (syntax, data)) in enumerate(some(encoded.objects().items(), 3)):
        for sizes in ((1,), (7, 1, 13), (4096, 1), (65535,)):
            if len(data) > 100_000 and sizes[0] == 1:
                continue
            case = Case(name, syntax, data, *rows[number % len(rows)])
            assert streamed(case, 350, sizes) == ours(case, 350), (name, case.options, sizes)


def test_object_is_unchanged_only_if_recoding_does_not_change_it() -> None:
    agreed = 0
    for name, (syntax, data) in some(encoded.objects().items(), 3):
        for options, encoding in choices():
            mine = ours(Case(name, syntax, data, options, encoding), 0)
            try:
                unchanged = scan(data, uids.TRANSFER_SYNTAXES[syntax], encoding)[1]
            except DataSetError:
                assert mine is None, (name, options)
                continue
            assert not unchanged or mine == data, (name, options)
            agreed += unchanged
    assert agreed > (20 if is_whole() else 6), "nothing is ever unchanged: every object would be recoded"


def test_tags_of_the_dictionary_get_the_vr_of_dcmtk() -> None:
    """In implicit VR only the dictionary gives the VR: a wrong one would corrupt a user's values."""
    newer = 0
    skipped = {0x00287FE0}  # a URL in place of pixel data: dcmconv refuses to convert such an object
    tags = [t for t in sorted(dictionary.tags()) if t > 0x00080000 and t not in skipped and t >> 16 != 0xFFFE]
    for signed in (b"\0\0", b"\1\0"):
        data = b"".join(encoded.el(tag, None, signed if tag == 0x00280103 else b"") for tag in tags)
        (theirs,) = convert_all([Job(encoded.ILE, data, ("+te", "-p"))])
        assert theirs.data is not None
        mine = headers(recode(data, uids.IMPLICIT_LITTLE, Encoding(uids.EXPLICIT_LITTLE)))
        expected = headers(theirs.data)
        assert mine.keys() == expected.keys()
        wrong = {f"{tag:08x}": (vr, expected[tag]) for tag, vr in mine.items() if expected[tag] not in {vr, b"UN"}}
        assert not wrong
        newer = sum(expected[tag] != vr for tag, vr in mine.items())
    assert newer < 250, "DCMTK calls more tags unknown than its dictionary of 2022 lacks"


def headers(data: bytes) -> dict[int, bytes]:
    """Read the VRs of a data set of empty values and one of two bytes, in explicit VR little endian."""
    result, position = {}, 0
    while position < len(data):
        group, element, vr = struct.unpack_from("<HH2s", data, position)
        result[group << 16 | element] = vr
        position += 12 if vr.decode() in encoded.LONG_VRS else 8 + struct.unpack_from("<H", data, position + 6)[0]
    return result
