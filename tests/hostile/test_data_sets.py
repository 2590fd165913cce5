"""Data sets that are none, lie, or are meant to exhaust their reader: the status of each, and what is on the disk."""

from __future__ import annotations

import logging
import struct
import zlib
from random import Random
from typing import TYPE_CHECKING, Any

import invariants
import pytest
from encoded import REQUEST, UNDEFINED, deflate, el, fragments, item, item_end, sequence_end
from station import CT, Sender, Station, data_set, uid

from movescu.dataset.file_meta import decode_file_meta
from movescu.dataset.transcoder import Encoding
from movescu.dictionary.uids import DEFLATED_LITTLE, EXPLICIT_LITTLE, IMPLICIT_LITTLE, TRANSFER_SYNTAXES

if TYPE_CHECKING:
    from invariants import Invariants


@pytest.fixture
def station(either: Station) -> Station:
    """Every data set arrives over a storage association, and over that of a C-GET."""
    return either


NAME = el(0x00100010, "PN", b"Doe^Jane")
LONG = 3 << 20  # bytes behind which a data set is not held whole any more
PIXELS = el(0x7FE00010, "OW", bytes(LONG))


def whole(rest: bytes) -> bytes:
    """An object with these elements behind its UIDs."""
    return data_set(rest=NAME + rest)


def nested(depth: int, *, undefined: bool) -> bytes:
    """Sequences in each other."""
    if undefined:
        begin = el(REQUEST, "SQ", item(b"", UNDEFINED), length=UNDEFINED)
        return whole(begin * depth + (item_end() + sequence_end()) * depth)
    data = bytearray()  # lengths that all run to the end: each a header of 20 bytes
    for level in range(depth, 0, -1):
        inner = 20 * level - 12
        data += el(REQUEST, "SQ", b"", length=inner) + item(b"", inner - 8)
    return whole(bytes(data))


NO_DATA_SETS = {
    "25: a length past the end": whole(el(0x00100020, "LO", b"ID", length=500)),
    "25: a long length past the end": whole(el(0x7FE00010, "OW", bytes(100), length=0x7FFFFFFE)),
    "25: past the end of much": whole(PIXELS[:-1000]),
    "25: an item past its sequence": whole(el(REQUEST, "SQ", item(NAME, 500))),
    "26: depth 1000": nested(1000, undefined=True),
    "26: depth 1000, with lengths": nested(1000, undefined=False),
    "26: depth 100,000": nested(100_000, undefined=True),
    "27: a sequence without end": whole(el(REQUEST, "SQ", item(NAME), length=UNDEFINED)),
    "27: an item without end": whole(el(REQUEST, "SQ", item(NAME, UNDEFINED), length=UNDEFINED)),
    "27: pixel data without end": whole(fragments(b"", b"1234")[:-8]),
    "31: empty": b"",
    "31: random": Random(1).randbytes(5000),
    "31: random and much": Random(2).randbytes(LONG),
    "31: zeros": bytes(5000),
    "cut off in a header": whole(b"\x10\0\x20"),
    "cut off": whole(el(0x00100020, "LO", b"IDENTITY"))[:-3],
    "a lying group length that hides elements": whole(el(0x00090000, "UL", b"\xff\xff\xff\xff"))[:-1],
    "a sequence tag that is text": whole(el(REQUEST, "LO", item(b"")[:7])),
    "a tag of an item where an element belongs": whole(item(NAME)),
}


@pytest.mark.row("25")
@pytest.mark.row("26")
@pytest.mark.row("27")
@pytest.mark.row("31")
@pytest.mark.row("CVE-2022-2121")
@pytest.mark.row("IC-DCMTK-0003")
@pytest.mark.parametrize("what", [name for name in NO_DATA_SETS if "text" not in name])
def test_what_is_no_data_set_is_refused_and_the_association_lives(station: Station, what: str) -> None:
    sender = station.open()
    assert sender.store(data_set()).status == 0
    good = (station.folder / "CT.1.2.3").read_bytes()
    before = invariants.resident()
    response = sender.store(NO_DATA_SETS[what])
    assert response.status == 0xC000
    assert response.error_comment
    assert invariants.peak() < before + (16 << 20)
    assert (station.folder / "CT.1.2.3").read_bytes() == good
    assert station.files == ["CT.1.2.3", invariants.GOOD]
    assert sender.store(data_set(instance_uid="1.2.4"), instance_uid="1.2.4").status == 0


@pytest.mark.row("26")
def test_nesting_of_64_is_stored(station: Station, sandbox: Invariants) -> None:
    data = nested(64, undefined=False)
    sandbox.exact["CT.1.2.3"] = data
    assert station.open().store(data).status == 0


# -- what is stored all the same, with a word about it -----------------------------------------------------------------

ID = el(0x00420010, "ST", b"ID")
META = el(0x00020010, "UI", uid("1.2.840.10008.1.2.5"))
ODD = {
    "29: no pixels": (whole(el(0x00280010, "US", b"\0\0") + el(0x7FE00010, "OW", b"")), "no pixels"),
    "29: an unknown VR": (whole(el(0x00100020, "ZZ", b"")[:6] + b"\0\0" + struct.pack("<I", 2) + b"ID"), "unknown VR"),
    "29: tags out of order": (
        data_set(rest=el(0x00200010, "SH", b"ID") + NAME),
        "out of order",
    ),
    "29: a tag twice": (whole(el(0x00100020, "LO", b"ID") + el(0x00100020, "LO", b"id")), "out of order"),
    "30: odd text": (whole(el(0x00100020, "LO", b"ODD")), "odd length"),
    "30: odd bytes": (whole(el(0x00420011, "OB", b"ODD")), "odd length"),
    "30: odd inside an item": (whole(el(REQUEST, "SQ", item(el(0x00100020, "LO", b"ODD")))), "odd length"),
    "30: odd and large": (whole(el(0x00420011, "OB", bytes(LONG + 1))), "odd length"),
    "30: odd pixels": (whole(el(0x7FE00010, "OB", bytes(LONG + 1))), "odd length"),
    "55: a zero": (whole(b"\0"), "after the last element"),
    "55: two zeros": (whole(bytes(2)), "after the last element"),
    "55: 12 zeros": (whole(bytes(12)), "after the last element"),
    "55: 5000 zeros": (whole(bytes(5000)), "after the last element"),
    "55: blanks": (whole(b"   "), "after the last element"),
    "55: a zero behind much": (whole(PIXELS + b"\0"), "after the last element"),
    "55: 100,000 zeros behind much": (whole(PIXELS + bytes(100_000)), "after the last element"),
    "56: an item delimiter": (whole(el(REQUEST, "SQ", item(NAME) + item_end())), "delimiter"),
    "56: an item delimiter within": (whole(el(REQUEST, "SQ", item(NAME + item_end()))), "delimiter"),
    "56: a sequence delimiter": (whole(el(REQUEST, "SQ", item(NAME)) + sequence_end() + ID), "delimiter"),
    "56: both": (whole(el(REQUEST, "SQ", item(NAME)) + item_end() + sequence_end() + ID), "delimiter"),
    "56: behind pixels": (whole(el(0x7FE00010, "OW", bytes(8)) + sequence_end()), "delimiter"),
    "56: behind many pixels": (whole(PIXELS + sequence_end()), "delimiter"),
    "59: group 0002": (META + whole(b""), "group 0002"),
    "59: group 0000": (el(0x00000002, "UI", uid(CT)) + whole(b""), "group 0000"),
    "59: group 0002, out of order": (whole(META), "group 0002"),
    "59: group 0002, a sequence": (el(0x00020010, "SQ", item(NAME)) + whole(b""), "group 0002"),
}
STRIPPED = ("55", "59")
"""Situations in which the file has what ``whole(b"")`` has, and whatever stands in the middle."""


@pytest.mark.row("29")
@pytest.mark.row("30")
@pytest.mark.row("55")
@pytest.mark.row("56")
@pytest.mark.row("59")
@pytest.mark.row("CVE-2025-14607")
@pytest.mark.parametrize("what", ODD)
def test_odd_data_set_is_stored_with_one_warning(station: Station, what: str, caplog: pytest.LogCaptureFixture) -> None:
    data, said = ODD[what]
    assert station.open().store(data).status == 0
    assert station.files == ["CT.1.2.3", invariants.GOOD]
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert {r.name for r in caplog.records if r.levelno == logging.WARNING} == {"movescu.dataset"}
    assert len(warnings) == 1, warnings
    assert said in warnings[0]
    assert "1.2.3" in warnings[0]
    if what.startswith(STRIPPED):
        content = (station.folder / "CT.1.2.3").read_bytes()
        meta = decode_file_meta(content)
        assert meta is not None
        assert content[meta.length :] == whole(PIXELS if "much" in what else b"")


@pytest.mark.row("57")
@pytest.mark.parametrize("missing", [8, 5])
@pytest.mark.parametrize("size", [4, LONG])
def test_pixel_data_without_their_last_delimiter_are_stored_with_it(
    station: Station, sandbox: Invariants, caplog: pytest.LogCaptureFixture, missing: int, size: int
) -> None:
    jpeg = TRANSFER_SYNTAXES["1.2.840.10008.1.2.4.50"]
    data = whole(fragments(b"", b"1" * size))
    sandbox.exact["CT.1.2.3"] = data
    sender = station.open(syntaxes=(jpeg,))
    assert sender.store(data[:-missing]).status == 0
    sender.release()
    (said,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "no delimiter at the end at (7FE0,0010)" in said


@pytest.mark.row("58")
@pytest.mark.parametrize("value", [b"text that is no item", b"AB", b"\xfe\xff\0"], ids=["text", "short", "odd"])
def test_private_sequence_by_the_dictionary_that_is_none_becomes_un(
    station: Station, sandbox: Invariants, caplog: pytest.LogCaptureFixture, value: bytes
) -> None:
    own = el(0x00080016, None, uid(CT)) + el(0x00080018, None, uid("1.2.3"))
    data = own + el(0x00290010, None, b"SIEMENS MEDCOM HEADER ") + el(0x00291040, None, value)
    encoding = Encoding(transfer_syntax=EXPLICIT_LITTLE)
    sender = station.open(syntaxes=(IMPLICIT_LITTLE,), encoding=encoding)
    assert sender.store(data).status == 0
    sender.release()
    padded = value + b"\0" * (len(value) & 1)
    before = data_set(rest=el(0x00290010, "LO", b"SIEMENS MEDCOM HEADER "))
    sandbox.exact["CT.1.2.3"] = before + el(0x00291040, "UN", padded)
    (said,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "(0029,1040)" in said


@pytest.mark.row("25")
@pytest.mark.row("55")
@pytest.mark.parametrize("behind", [b"\x10", b"\x10\0\x20\0LO", bytes(12) + NAME, b"\0\1", bytes(8) + b"\1"])
def test_bytes_behind_a_data_set_that_are_no_padding_are_refused(station: Station, behind: bytes) -> None:
    assert station.open().store(whole(behind)).status == 0xC000
    assert station.files == [invariants.GOOD]


def test_sound_data_set_is_stored_without_a_warning(station: Station, caplog: pytest.LogCaptureFixture) -> None:
    sender = station.open()
    assert sender.store(whole(el(REQUEST, "SQ", item(NAME), length=UNDEFINED) + b"")).status == 0xC000
    caplog.clear()
    for number, rest in enumerate((b"", PIXELS, el(0x00100020, "LO", b"ID    "), el(REQUEST, "SQ", item(NAME)))):
        instance_uid = f"1.2.5.{number}"
        data = data_set(instance_uid=instance_uid, rest=NAME + rest)
        assert sender.store(data, instance_uid=instance_uid).status == 0
    assert not [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.row("29")
@pytest.mark.row("30")
@pytest.mark.row("60")
def test_bit_preserving_keeps_an_odd_data_set_as_it_came_with_the_warning(
    station: Station, sandbox: Invariants, caplog: pytest.LogCaptureFixture
) -> None:
    sender = station.open(bit_preserving=True)
    for number, (data, said) in enumerate(ODD.values()):
        # group 0002 at its start is taken for a part of the file meta information, by every reader
        sandbox.exact[f"CT.1.2.6.{number}"] = whole(b"") if data.startswith(b"\2\0") else data
        caplog.clear()
        assert sender.store(data, instance_uid=f"1.2.6.{number}").status == 0
        assert (station.folder / f"CT.1.2.6.{number}").read_bytes().endswith(data)
        (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
        assert said in warning
        assert f"1.2.6.{number} is stored as received" in warning


@pytest.mark.row("60")
def test_bit_preserving_keeps_what_is_no_data_set_and_says_so(
    station: Station, sandbox: Invariants, caplog: pytest.LogCaptureFixture
) -> None:
    sender = station.open(bit_preserving=True)
    for number, data in enumerate((whole(NAME)[:-3], Random(1).randbytes(5000), b"")):
        sandbox.exact[f"CT.1.2.6.{number}"] = data
        caplog.clear()
        assert sender.store(data, instance_uid=f"1.2.6.{number}").status == 0
        (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
        assert "not a valid data set" in warning


def test_bit_preserving_keeps_a_sound_data_set_without_a_warning(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    sender = station.open(bit_preserving=True)
    sequence = el(REQUEST, "SQ", item(NAME + item_end(), UNDEFINED) + sequence_end(), length=UNDEFINED)
    for number, rest in enumerate((b"", PIXELS, el(0x00100020, "LO", b"ID  "), sequence, sequence + PIXELS)):
        instance_uid = f"1.2.6.{number}"
        data = data_set(instance_uid=instance_uid, rest=NAME + rest)
        assert sender.store(data, instance_uid=instance_uid).status == 0
    assert not [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.row("CVE-2025-14607")
@pytest.mark.parametrize("seed", range(4))
def test_no_flipped_byte_lets_an_exception_out(
    station: Station, sandbox: Invariants, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    sender = station.open()
    source = Random(seed)
    rest = el(REQUEST, "SQ", item(NAME + el(REQUEST, "SQ", item(NAME)))) + el(0x00280010, "US", b"\1\0")
    sandbox.keeps = False  # a flipped byte may be one of a value, and pydicom is no judge of the others
    for number in range(60):
        data = bytearray(whole(rest))
        for _ in range(source.randint(1, 4)):
            data[source.randrange(60, len(data))] = source.randrange(256)
        assert sender.store(bytes(data)).status in (0, 0xC000, 0xA900), number
    for path in station.folder.iterdir():
        if path.name != invariants.GOOD:
            path.unlink()
    assert "Traceback" not in caplog.text


# -- bombs -------------------------------------------------------------------------------------------------------------


def deflating(station: Station, **options: Any) -> Sender:  # fields of StorageOptions
    """Open an association for deflated objects."""
    return station.open(syntaxes=(DEFLATED_LITTLE,), **options)


def bomb(size: int) -> bytes:
    """Deflate zeros without holding them."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    parts = [deflater.compress(data_set() + el(0x7FE00010, "OB", b"", length=size))]
    parts += [deflater.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join([*parts, deflater.flush()])


@pytest.mark.row("28")
@pytest.mark.row("CVE-2026-3650")
@pytest.mark.parametrize("either", [Station], indirect=True)  # it takes seconds
def test_bomb_takes_no_memory_and_no_more_disk_than_is_allowed(station: Station, sandbox: Invariants) -> None:
    sandbox.keeps = False
    large = bomb(300 << 20)
    assert len(large) < 400_000
    sender = deflating(station, maximum_inflated=100 << 20)
    before = invariants.resident()
    response = sender.store(large)
    assert response.status == 0xC000
    assert "inflates to more than 100 MiB" in (response.error_comment or "")
    assert invariants.peak() < before + (24 << 20)
    assert station.files == [invariants.GOOD]
    assert sender.store(deflate(data_set())).status == 0
    sender.release()


@pytest.mark.row("28")
@pytest.mark.parametrize("mode", [{"bit_preserving": True}, {}], ids=["bit preserving", "normal"])
def test_what_inflates_to_what_is_allowed_is_stored_deflated(
    station: Station, sandbox: Invariants, mode: dict[str, bool]
) -> None:
    data = bomb(20 << 20)
    sandbox.keeps = False
    sender = deflating(station, maximum_inflated=100 << 20, **mode)
    before = invariants.resident()
    assert sender.store(data).status == 0
    sender.release()
    assert invariants.peak() < before + (24 << 20)
    content = (station.folder / "CT.1.2.3").read_bytes()
    meta = decode_file_meta(content)
    assert meta is not None
    assert len(content) < 100_000
    assert zlib.decompress(content[meta.length :], -15) == zlib.decompress(data, -15)


@pytest.mark.row("CVE-2026-3650")
def test_short_fragments_and_lying_lengths_take_no_memory(station: Station, sandbox: Invariants) -> None:
    jpeg = TRANSFER_SYNTAXES["1.2.840.10008.1.2.4.50"]
    sandbox.keeps = False
    sender = station.open(syntaxes=(jpeg,))
    before = invariants.resident()
    for values in ((b"", b"1"), (b"", b""), (b"12", b"1"), (b"\xff" * 4, b"x" * 3)):
        assert sender.store(data_set(rest=NAME + fragments(*values))).status == 0
    lying = data_set(rest=NAME + el(0x00420011, "OB", b"x" * 100, length=0xFFFFFFF0))
    assert sender.store(lying).status == 0xC000
    cut = data_set(rest=NAME + fragments(b"", b"1234")[:-12])
    assert sender.store(cut).status == 0xC000
    assert invariants.peak() < before + (8 << 20)
    sender.release()


@pytest.mark.row("CVE-2026-3650")
@pytest.mark.parametrize("either", [Station], indirect=True)  # it takes seconds
def test_more_elements_than_anybody_needs_are_refused_by_the_name_of_the_limit(
    station: Station, sandbox: Invariants
) -> None:
    sandbox.keeps = False
    sender = station.open()
    many = b"".join(el(0x00091001, "LO", b"") for _ in range(270_000))  # out of order, so that each has to be noted
    before = invariants.resident()
    response = sender.store(data_set(rest=NAME + many))
    assert response.status == 0xC000
    assert "more than 262144 elements" in (response.error_comment or "")
    assert invariants.peak() < before + (24 << 20)


@pytest.mark.row("CVE-2026-5441")
def test_pixel_data_are_never_decoded(station: Station, sandbox: Invariants) -> None:
    """An evil image is stored as it came: nobody here looks into it."""
    jpeg = TRANSFER_SYNTAXES["1.2.840.10008.1.2.4.50"]
    evil = b"\xff\xd8\xff\xc0\0\x0b\x08\xff\xff\xff\xff\1\1\x11\0" + bytes(101)
    lies = el(0x00280008, "IS", b"2147483647") + el(0x00280010, "US", b"\xff\xff") + el(0x00280011, "US", b"\xff\xff")
    data = data_set(rest=NAME + lies + fragments(b"\xff\xff\xff\x7f", evil))
    sandbox.exact["CT.1.2.3"] = data
    sender = station.open(syntaxes=(jpeg,))
    assert sender.store(data).status == 0
    sender.release()


@pytest.mark.row("CVE-2019-11687")
@pytest.mark.parametrize("mode", [{}, {"bit_preserving": True}])
def test_preamble_is_zeros_whatever_is_sent(station: Station, sandbox: Invariants, mode: dict[str, bool]) -> None:
    """There is no way for a preamble over the network but one: a file sent in place of a data set."""
    sender = station.open(**mode)
    assert sender.store(data_set()).status == 0
    file = b"MZ\x90\0".ljust(128, b"\xcc") + b"DICM" + el(0x00020010, "UI", uid(CT)) + data_set(instance_uid="1.2.4")
    sandbox.exact["CT.1.2.4"] = file
    assert sender.store(file, instance_uid="1.2.4").status == (0 if mode else 0xC000)
    for name in station.files:
        if name != invariants.GOOD:
            assert (station.folder / name).read_bytes()[:132] == bytes(128) + b"DICM"
