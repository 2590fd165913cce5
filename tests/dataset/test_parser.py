"""The parser refuses malformed data sets with tag and offset, whatever the bytes and the chunks they arrive in."""

from __future__ import annotations

import struct
import time
import zlib

import pytest
from encoded import NAME, REQUEST, UNDEFINED, deflate, el, encode, fragments, item, item_end, sequence_end

from movescu.dataset.transcoder import Encoding, MemorySink, Recoder, recode, scan
from movescu.dictionary import uids
from movescu.dictionary.vr import MAX_DEPTH
from movescu.errors import DataSetError

ELE, ILE, DEFLATED = uids.EXPLICIT_LITTLE, uids.IMPLICIT_LITTLE, uids.DEFLATED_LITTLE
JPEG = uids.TRANSFER_SYNTAXES["1.2.840.10008.1.2.4.50"]
name = encode([NAME])
pixels = el(0x7FE00010, "OW", b"abcd")


def nested(depth: int, syntax: uids.TransferSyntax = ELE) -> bytes:
    """Return ``depth`` nested sequences of undefined length."""
    vr = None if syntax.implicit else "SQ"
    opened = el(REQUEST, vr, item(b"", UNDEFINED), length=UNDEFINED)
    return opened * depth + (item_end() + sequence_end()) * depth


@pytest.mark.parametrize(
    ("data", "syntax", "said"),
    [
        (b"", ELE, "empty"),
        (b"", DEFLATED, "ends before"),
        (deflate(b""), DEFLATED, "empty"),
        (name[:3], ELE, "ends before it is complete"),
        (name[:6], ELE, "ends before it is complete"),
        (name[:-1], ELE, "ends before it is complete"),
        (name + pixels[:-1], ELE, "ends before it is complete"),
        (name + pixels[:11], ELE, "ends before it is complete"),
        (el(0x00420011, "OB", b"ab", length=0xFFFFFFFE), ELE, "ends before it is complete"),
        (el(0x00100010, None, b"ab", length=UNDEFINED), ILE, r"\(0010,0010\): undefined length in VR PN"),
        (el(0x00420011, "OB", item(b"ab") + sequence_end(), length=UNDEFINED), ELE, "undefined length in VR OB"),
        (fragments(b"", b"ab"), ELE, "undefined length in VR OB"),
        (pixels, JPEG, "defined length in an encapsulated"),
        (fragments(b"", b"ab")[:-9], JPEG, r"inside \(7FE0,0010\)"),
        (fragments(b"")[:-8], JPEG, r"inside \(7FE0,0010\)"),
        (name + b"\0\0\x20", ELE, "ends before it is complete"),
        (name + bytes(12) + name, ELE, "bytes that are no element"),
        (fragments(b"", b"ab")[:-8] + name, JPEG, r"\(0010,0010\) of length .* where a fragment"),
        (el(0x7FE00010, "OB", item(b"", UNDEFINED), length=UNDEFINED), JPEG, "where a fragment"),
        (el(REQUEST, "SQ", item(name), length=UNDEFINED), ELE, r"inside \(0040,0275\)"),
        (el(REQUEST, "SQ", item(name, UNDEFINED), length=UNDEFINED), ELE, r"inside \(0040,0275\)"),
        (el(REQUEST, "SQ", item(name), length=99), ELE, r"inside \(0040,0275\)"),
        (el(REQUEST, "SQ", item(name, 99)), ELE, "runs past the end"),
        (el(REQUEST, "SQ", item(name[:-2])), ELE, "runs past the end"),
        (el(REQUEST, "SQ", item(name + b"\x10\0\x20\0")), ELE, "runs past the end"),
        (el(REQUEST, "SQ", item(name) + bytes(4)), ELE, "runs past the end"),
        (el(REQUEST, "SQ", name), ELE, r"\(0010,0010\) found where an item"),
        (el(REQUEST, "SQ", item(el(REQUEST, "SQ", b"", length=4))), ELE, "runs past the end"),
        (item_end() + name, ELE, r"\(FFFE,E00D\) found where an element"),
        (sequence_end() + name, ELE, r"\(FFFE,E0DD\) found where an element"),
        (item(b"") + name, ELE, r"\(FFFE,E000\) found where an element"),
        (b"not deflated at all", DEFLATED, "not deflated"),
        (zlib.compress(name), DEFLATED, "not deflated"),
        (deflate(name)[:-2], DEFLATED, "ends before"),
    ],
)
def test_malformed_data_set_is_refused_with_tag_and_offset(data: bytes, syntax: uids.TransferSyntax, said: str) -> None:
    with pytest.raises(DataSetError, match=said):
        recode(data, syntax, Encoding())
    with pytest.raises(DataSetError, match=said):
        scan(data, syntax, Encoding())
    recoder = Recoder(syntax, Encoding(), MemorySink(), spool=MemorySink)
    with pytest.raises(DataSetError, match=said):
        feed_in_bytes(recoder, data)


def feed_in_bytes(recoder: Recoder, data: bytes) -> None:
    for position in range(len(data)):
        recoder.feed(memoryview(data)[position : position + 1])
    recoder.finish()


def test_error_states_the_offset_in_the_data_set() -> None:
    with pytest.raises(DataSetError) as caught:
        recode(name + el(REQUEST, "SQ", item(name, 99)), ELE, Encoding())
    assert caught.value.offset == len(name) + 12
    assert f"byte {len(name) + 12}" in str(caught.value)


@pytest.mark.row("26")
@pytest.mark.row("IC-DCMTK-0003")
@pytest.mark.parametrize("syntax", [ELE, ILE])
def test_nesting_beyond_the_limit_is_refused_without_a_crash(syntax: uids.TransferSyntax) -> None:
    at_limit = nested(MAX_DEPTH, syntax)
    written = recode(at_limit, syntax, Encoding())
    assert recode(written, syntax, Encoding(explicit_length=False)) == at_limit
    assert scan(written, syntax, Encoding())[1]
    assert scan(at_limit, syntax, Encoding(explicit_length=False))[1]
    for depth in (MAX_DEPTH + 1, 100_000):
        data = nested(depth, syntax)
        start = time.thread_time()
        with pytest.raises(DataSetError, match="nested deeper than 64"):
            recode(data, syntax, Encoding())
        with pytest.raises(DataSetError, match="nested deeper than 64"):
            scan(data, syntax, Encoding())
        assert time.thread_time() - start < 1, "the depth costs more than linear time"


def test_empty_items_take_linear_time() -> None:
    """With quadratic time, a single object could block a receiver for hours."""

    def seconds(count: int) -> float:
        data = el(REQUEST, "SQ", item(b"") * count)
        start = time.thread_time()
        recode(data, ELE, Encoding(explicit_length=False))
        return time.thread_time() - start

    short, long = min(seconds(20_000) for _ in range(3)), min(seconds(80_000) for _ in range(3))
    assert long < 10 * short


def test_parser_takes_linear_time_for_single_bytes() -> None:
    data = el(0x00100020, "LO", b"x" * 60_000)
    start = time.thread_time()
    recoder = Recoder(ELE, Encoding(), MemorySink(), spool=MemorySink)
    feed_in_bytes(recoder, data)
    assert time.thread_time() - start < 5


def test_identity_is_read_in_any_order_and_place() -> None:
    uid = el(0x00080018, "UI", b"1.2.3\0")
    other = el(0x00080018, "UI", b"9.9\0")
    inside = el(REQUEST, "SQ", item(other))
    for data in (uid + name, name + uid, inside + uid, uid + other, name + inside + uid + other):
        identity, _ = scan(data, ELE, Encoding())
        assert identity.sop_instance_uid == "1.2.3"
        assert identity.sop_class_uid is None
        recoder = Recoder(ELE, Encoding(), MemorySink(), spool=MemorySink)
        recoder.feed(memoryview(data))
        assert recoder.finish() == identity


@pytest.mark.parametrize(
    ("value", "expected"), [(b"1.2\0", "1.2"), (b"1. 2 ", "1.2"), (b"", ""), (b"1.2\xff\0", "1.2\ufffd")]
)
def test_identity_has_no_padding(value: bytes, expected: str) -> None:
    assert scan(el(0x00080016, "UI", value), ELE, Encoding())[0].sop_class_uid == expected


def test_unknown_vr_is_read_with_a_32_bit_length() -> None:
    data = struct.pack("<HH2sHI", 0x10, 0x11, b"ZZ", 0, 2) + b"ab" + struct.pack("<HH2sH", 0x10, 0x12, b"z?", 2) + b"cd"
    assert recode(data, ELE, Encoding()) == el(0x00100011, "UN", b"ab") + el(0x00100012, "UN", b"cd")
