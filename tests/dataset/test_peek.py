"""Study and series from the head of a data set: by the parser, and by the fast way, which must agree with it."""

from __future__ import annotations

import struct

import corpus
import pytest
from scripted import data_set

from movescu.dataset.file_meta import decode_file_meta
from movescu.dataset.peek import Peek, uids_at_front
from movescu.dictionary.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE, TRANSFER_SYNTAXES

TAGS = 0x0020000D, 0x0020000E


def element(tag: int, vr: bytes, value: bytes, *, implicit: bool) -> bytes:
    value += b"\0" * (len(value) & 1)
    if implicit:
        return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value
    if vr == b"SQ":
        return struct.pack("<HH2sxxI", tag >> 16, tag & 0xFFFF, vr, len(value)) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


@pytest.mark.parametrize("implicit", [False, True])
def test_uids_of_the_top_level_are_found_and_those_of_items_are_not(*, implicit: bool) -> None:
    syntax = IMPLICIT_LITTLE if implicit else EXPLICIT_LITTLE
    nested = element(0x0020000D, b"UI", b"9.9", implicit=implicit)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(nested)) + nested
    data = b"".join(
        (
            element(0x00081200, b"SQ", item, implicit=implicit),
            element(0x0020000D, b"UI", b"1.2", implicit=implicit),
            element(0x0020000E, b"UI", b"1.2.3", implicit=implicit),
            element(0x00280010, b"US", b"\1\0", implicit=implicit),
        )
    )
    expected = {0x0020000D: "1.2", 0x0020000E: "1.2.3"}
    assert uids_at_front(memoryview(data), syntax, TAGS) == expected
    for end in range(len(data)):  # cut anywhere, it finds all or does not answer
        assert uids_at_front(memoryview(data[:end]), syntax, TAGS) in (None, expected)
    assert uids_at_front(memoryview(data[-10:]), syntax, TAGS) == {}


def test_fast_way_agrees_with_the_parser_on_pydicoms_files() -> None:
    fast = 0
    for file in (one.path for one in corpus.bundled()):
        data = file.read_bytes()
        meta = decode_file_meta(data)
        if meta is None or meta.transfer_syntax_uid not in TRANSFER_SYNTAXES:
            continue
        syntax, view = TRANSFER_SYNTAXES[meta.transfer_syntax_uid], memoryview(data_set(file))
        peek = Peek(syntax, TAGS)
        peek.feed(view[:4])  # too few bytes for the fast way
        peek.feed(view[4:])
        if (found := uids_at_front(view, syntax, TAGS)) is not None:
            fast += 1
            assert found == peek.uids, file
    assert fast > 30
