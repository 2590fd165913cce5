"""The rules of the encoder, each as input bytes and expected output bytes."""

from __future__ import annotations

import struct

import encoded
import pytest
from encoded import UNDEFINED, el, encode, fragments, item, item_end, sequence_end

from movescu.dataset.encoder import MAX_OPEN
from movescu.dataset.transcoder import Encoding, GroupLength, recode
from movescu.dictionary import uids
from movescu.errors import DataSetError

ELE, EBE, ILE = uids.EXPLICIT_LITTLE, uids.EXPLICIT_BIG, uids.IMPLICIT_LITTLE
JPEG = uids.TRANSFER_SYNTAXES["1.2.840.10008.1.2.4.50"]
DEFAULT = Encoding()
CREATE, REMOVE = Encoding(group_length=GroupLength.CREATE), Encoding(group_length=GroupLength.REMOVE)
UNDEFINED_LENGTHS = Encoding(explicit_length=False)
NAME = b"\x10\0\x10\0PN\2\0AB"
SQ = b"\x40\0\x75\x02SQ\0\0"


def group_length(group: int, value: int) -> bytes:
    return el(group << 16, "UL", value.to_bytes(4, "little"))


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("CS", b"CT  ", b"CT"),
        ("CS", b"    ", b""),
        ("LO", b" a b\\c  ", b" a b\\c"),
        ("LO", b" a b\\c   ", b" a b\\c"),
        ("LO", b"abc   ", b"abc "),
        ("PN", b"abc", b"abc "),
        ("PN", b"ab ", b"ab"),
        ("UT", b"text    ", b"text"),
        ("SH", b"ab\0\0", b"ab\0\0"),
        ("UI", b"1.2\0", b"1.2\0"),
        ("UI", b"1.2\0\0\0", b"1.2\0"),
        ("UI", b"1.22\0\0", b"1.22"),
        ("UI", b" 1. 2\n\0", b"1.2\0"),
        ("UI", b"1.2", b"1.2\0"),
        ("OB", b"a  ", b"a  \0"),
        ("OW", b"abc", b"abc\0"),
        ("US", b"abc", b"abc\0"),
        ("UN", b"ab  ", b"ab  "),
        ("OB", b"ab\0\0", b"ab\0\0"),
    ],
)
def test_padding_is_stripped_and_lengths_are_made_even(vr: str, value: bytes, expected: bytes) -> None:
    assert recode(el(0x00100010, vr, value), ELE, DEFAULT) == el(0x00100010, vr, expected)


@pytest.mark.parametrize(
    ("vr", "little", "big"),
    [
        ("US", b"abcd", b"badc"),
        ("SS", b"abcd", b"badc"),
        ("AT", b"\x10\0\x20\0", b"\0\x10\0\x20"),
        ("OW", b"abcd", b"badc"),
        ("UL", b"abcd", b"dcba"),
        ("SL", b"abcd", b"dcba"),
        ("FL", b"abcd", b"dcba"),
        ("OF", b"abcdefgh", b"dcbahgfe"),
        ("OL", b"abcdefgh", b"dcbahgfe"),
        ("FD", b"abcdefgh", b"hgfedcba"),
        ("OD", b"abcdefgh", b"hgfedcba"),
        ("OV", b"abcdefgh", b"hgfedcba"),
        ("SV", b"abcdefgh", b"hgfedcba"),
        ("UV", b"abcdefgh", b"hgfedcba"),
        ("OB", b"abcd", b"abcd"),
        ("UN", b"abcd", b"abcd"),
        ("LO", b"abcd", b"abcd"),
        ("UL", b"abcdef", b"dcbaef"),
    ],
)
def test_numbers_keep_their_value_in_the_other_byte_order(vr: str, little: bytes, big: bytes) -> None:
    ours, theirs = el(0x00991001, vr, little), el(0x00991001, vr, big, ">")
    assert recode(ours, ELE, Encoding(EBE)) == theirs
    assert recode(theirs, EBE, Encoding(ELE)) == ours


@pytest.mark.parametrize("vr", ["UN", "UT", "UC", "UR", "OF", "OD", "OL", "OV", "SV", "UV"])
def test_vr_added_since_1993_is_written_as_ob_with_the_same_bytes(vr: str) -> None:
    expected = el(0x00991001, "OB", b"abcdefgh")
    assert recode(el(0x00991001, vr, b"abcdefgh"), ELE, Encoding(new_vr=False)) == expected
    big = el(0x00991001, "OB", b"abcdefgh", ">")
    assert recode(el(0x00991001, vr, b"abcdefgh"), ELE, Encoding(EBE, new_vr=False)) == big


@pytest.mark.parametrize(
    ("size", "new_vr", "expected"),
    [(65534, True, b"LO\xfe\xff"), (65536, True, b"UN\0\0\0\0\1\0"), (65536, False, b"OB\0\0\0\0\1\0")],
)
def test_value_too_long_for_a_16_bit_length_is_kept_whole(
    size: int, new_vr: bool, expected: bytes
) -> None:  # a parameter
    data = el(0x00100020, None, b"x" * size)
    written = recode(data, ILE, Encoding(ELE, new_vr=new_vr))
    assert written == b"\x10\0\x20\0" + expected + b"x" * size


def test_number_relabelled_for_its_length_is_not_swapped() -> None:
    written = recode(el(0x00280010, None, b"ab" * 40000), ILE, Encoding(EBE))
    assert written == el(0x00280010, "UN", b"ab" * 40000, ">")


@pytest.mark.parametrize(
    ("data", "encoding", "expected"),
    [
        (group_length(0x10, 99) + NAME, DEFAULT, group_length(0x10, 10) + NAME),
        (group_length(0x10, 99), DEFAULT, group_length(0x10, 0)),
        (NAME, DEFAULT, NAME),
        (NAME, CREATE, group_length(0x10, 10) + NAME),
        (group_length(0x0F, 1) + NAME, CREATE, group_length(0x10, 10) + NAME),
        (group_length(0x10, 10) + NAME, REMOVE, NAME),
        (el(0x00100000, "UN", b"ab") + NAME, DEFAULT, group_length(0x10, 10) + NAME),
        (
            SQ + b"\x12\0\0\0" + item(NAME),
            CREATE,
            group_length(0x40, 42) + SQ + b"\x1e\0\0\0" + item(group_length(0x10, 10) + NAME),
        ),
    ],
)
def test_group_lengths_are_corrected_added_or_removed(data: bytes, encoding: Encoding, expected: bytes) -> None:
    assert recode(data, ELE, encoding) == expected


def test_group_length_counts_written_bytes_not_received_ones() -> None:
    inner = el(0x00400275, "SQ", item(NAME + item_end(), UNDEFINED) + sequence_end(), length=UNDEFINED)
    written = recode(group_length(0x40, len(inner)) + inner, ELE, DEFAULT)
    assert written == group_length(0x40, 30) + SQ + b"\x12\0\0\0" + item(NAME)
    assert recode(written, ELE, UNDEFINED_LENGTHS) == group_length(0x40, len(inner)) + inner


@pytest.mark.parametrize(
    ("explicit", "undefined"),
    [
        (
            SQ + b"\x12\0\0\0" + item(NAME),
            SQ + b"\xff" * 4 + item(NAME + item_end(), UNDEFINED) + sequence_end(),
        ),
        (SQ + b"\0\0\0\0", SQ + b"\xff" * 4 + sequence_end()),
        (SQ + b"\x08\0\0\0" + item(b""), SQ + b"\xff" * 4 + item(item_end(), UNDEFINED) + sequence_end()),
    ],
)
def test_sequences_have_lengths_or_delimiters_as_requested(explicit: bytes, undefined: bytes) -> None:
    for data in (explicit, undefined):
        assert recode(data, ELE, DEFAULT) == explicit
        assert recode(data, ELE, UNDEFINED_LENGTHS) == undefined


def test_elements_are_sorted_and_the_first_of_equal_ones_kept() -> None:
    first, second, later = el(0x00100010, "PN", b"AB"), el(0x00100010, "PN", b"CD"), el(0x00100020, "LO", b"EF")
    assert recode(later + first + second, ELE, DEFAULT) == first + later
    nested = SQ + b"\x26\0\0\0" + item(later + first + second)
    assert recode(nested, ELE, DEFAULT) == SQ + b"\x1c\0\0\0" + item(first + later)


def test_group_lengths_count_the_sorted_elements() -> None:
    first, second, later = el(0x00100010, "PN", b"AB"), el(0x00100010, "PN", b"CD"), el(0x00200010, "SH", b"EF")
    data = group_length(0x20, 1) + later + first + second + group_length(0x10, 2)
    assert recode(data, ELE, DEFAULT) == group_length(0x10, 10) + first + group_length(0x20, 10) + later
    assert recode(data, ELE, CREATE) == group_length(0x10, 10) + first + group_length(0x20, 10) + later


def padding(size: int) -> bytes:
    return el(0xFFFCFFFC, "OB", bytes(size))


def sequence(content: bytes) -> bytes:
    return el(0x00400275, "SQ", item(content))


@pytest.mark.parametrize(
    ("file_padding", "item_padding", "offset", "expected"),
    [
        (0, 0, 0, NAME + sequence(NAME)),
        (16, 0, 0, NAME + sequence(NAME) + padding(12)),
        (16, 0, 6, NAME + sequence(NAME) + padding(6)),
        (16, 0, 8, NAME + sequence(NAME)),
        (64, 0, 4, NAME + sequence(NAME) + padding(8)),
        (0, 16, 0, NAME + sequence(NAME + padding(10))),
        (0, 10, 0, NAME + sequence(NAME)),
        (3, 0, 0, NAME + sequence(NAME + padding(4)) + padding(4)),
    ],
)
def test_trailing_padding_is_removed_or_fills_file_and_items(
    file_padding: int, item_padding: int, offset: int, expected: bytes
) -> None:
    data = NAME + sequence(NAME + padding(4)) + padding(4)
    encoding = Encoding(file_padding=file_padding, item_padding=item_padding)
    assert recode(data, ELE, encoding, file_offset=offset) == expected


def test_un_of_undefined_length_becomes_a_sequence() -> None:
    data = el(0x00091001, "UN", item(el(0x00280010, None, b"\1\2")) + sequence_end(), length=UNDEFINED)
    assert recode(data, ELE, DEFAULT) == el(0x00091001, "SQ", item(el(0x00280010, "US", b"\1\2")))
    assert recode(data, ELE, Encoding(EBE)) == el(
        0x00091001, "SQ", item(el(0x00280010, "US", b"\2\1", ">"), order=">"), ">"
    )


def test_un_of_defined_length_is_unchanged_even_if_its_tag_is_known() -> None:
    assert recode(el(0x00280010, "UN", b"\1\2"), ELE, Encoding(EBE)) == el(0x00280010, "UN", b"\1\2", ">")


def test_fragments_are_copied_and_padded_to_even_length() -> None:
    assert recode(fragments(b"\0\0\0\0", b"abc"), JPEG, UNDEFINED_LENGTHS) == fragments(b"\0\0\0\0", b"abc\0")


def test_compressed_pixel_data_is_never_written_as_uncompressed() -> None:
    with pytest.raises(DataSetError, match=r"\(7FE0,0010\)"):
        recode(fragments(b"", b"abcd"), JPEG, Encoding(ELE))


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ([(0x00280103, b"\1\0"), (0x00280106, b"ab")], b"SS"),
        ([(0x00280103, b"\0\0"), (0x00280106, b"ab")], b"US"),
        ([(0x00280106, b"ab")], b"US"),
        ([(0x00280103, b"\1\0"), (0x00281101, b"abcdef")], b"US"),
        ([(0x7FE00010, b"ab")], b"OW"),
        ([(0x60023000, b"ab")], b"OW"),
        ([(0x50003000, b"ab")], b"OB"),
        ([(0x54001004, b"\x10\0"), (0x54001010, b"ab")], b"OW"),
        ([(0x54001004, b"\x08\0"), (0x54001010, b"ab")], b"OB"),
        ([(0x54001010, b"ab")], b"OB"),
        ([(0x00283006, b"ab")], b"OW"),
        ([(0x00290010, b"SIEMENS CSA HEADER"), (0x00291008, b"ab")], b"CS"),
        ([(0x00290011, b"SIEMENS CSA HEADER"), (0x00291108, b"ab")], b"CS"),
        ([(0x00290010, b"SIEMENS CSA HEADER"), (0x00291108, b"ab")], b"UN"),
        ([(0x00090010, b"ab")], b"LO"),
        ([(0x00091001, b"ab")], b"UN"),
        ([(0x00100001, b"ab")], b"UN"),
    ],
)
def test_value_from_implicit_vr_gets_the_vr_of_its_context(elements: list[tuple[int, bytes]], expected: bytes) -> None:
    written = recode(b"".join(el(tag, None, value) for tag, value in elements), ILE, Encoding(ELE))
    tag, value = elements[-1]
    assert written.endswith(el(tag, expected.decode(), value))


@pytest.mark.parametrize("layout", [encoded.LITTLE, encoded.BIG, encoded.IMPLICIT])
def test_object_in_every_encoding_is_recoded_to_canonical_bytes(layout: encoded.Layout) -> None:
    source = {encoded.LITTLE: ELE, encoded.BIG: EBE, encoded.IMPLICIT: ILE}
    for target, syntax in source.items():
        for undefined in (False, True):
            data = encode(encoded.RICH, layout._replace(undefined=undefined))
            assert recode(data, source[layout], Encoding(syntax)) == encode(encoded.RICH, target)


def test_number_of_open_elements_is_limited() -> None:
    tags = (tag for tag in range(1, MAX_OPEN + 16) if tag & 0xFFFF)
    many = b"".join(struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, b"LO", 0) for tag in tags)
    with pytest.raises(DataSetError, match="more than"):
        recode(many, ELE, DEFAULT)


def test_sequence_beyond_32_bits_is_written_without_a_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object with four GiB of frames in one sequence would be lost if this were an error."""
    monkeypatch.setattr("movescu.dataset.encoder.MAX_LENGTH", 60)
    small, large = sequence(NAME), el(0x00400555, "SQ", item(NAME) * 4)
    data = small + large
    delimited = el(0x00400555, "SQ", item(NAME) * 4 + sequence_end(), length=UNDEFINED)
    assert recode(data, ELE, DEFAULT) == small + delimited
    with_lengths = el(0x00400275, "SQ", item(group_length(0x10, 10) + NAME))
    assert recode(NAME + data, ELE, CREATE).startswith(group_length(0x10, 10) + NAME + with_lengths)
    assert group_length(0x40, 0)[:4] not in recode(group_length(0x40, 1) + data, ELE, DEFAULT)
