"""The storage SCP: the response to each object, and the state of the disk at that time (PS3.4 table B.2-1)."""

from __future__ import annotations

import struct
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from encoded import el
from station import CT, MR, Station, data_set, uid

from movescu.dataset.file_meta import decode_file_meta
from movescu.dictionary.uids import EXPLICIT_LITTLE, VERIFICATION
from movescu.dimse.messages import CEchoRQ, CEchoRSP, CFindRQ, CStoreRQ, Message
from movescu.errors import AssociationAbortedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    (tmp_path / "in").mkdir()
    made = Station(tmp_path / "in")
    yield made
    made.close()


def test_object_is_stored_and_counted_before_the_success_response(station: Station) -> None:
    response = station.open().store(data_set())
    assert (response.status, response.affected_sop_class_uid, response.affected_sop_instance_uid) == (0, CT, "1.2.3")
    assert station.files == ["CT.1.2.3"]
    assert [received.status for received in station.received] == [0]
    content = (station.folder / "CT.1.2.3").read_bytes()
    meta = decode_file_meta(content)
    assert meta is not None
    assert (meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax_uid) == (CT, "1.2.3", EXPLICIT_LITTLE.uid)
    assert content[meta.length :] == data_set()


LARGE = el(0x00100010, "PN", b"Doe^Jane") + struct.pack("<HH2sxxI", 0x7FE0, 0x10, b"OW", 3 << 20) + bytes(3 << 20)

BROKEN = {
    "empty": b"",
    "no data set at all": b"\xff\xfe\xfd" * 50,
    "ends inside an element": data_set()[:-3],
    "ends inside a large element": data_set(rest=LARGE)[:-1000],
    "without a SOP instance UID": el(0x00080016, "UI", uid(CT)),
    "without a SOP class UID": el(0x00080018, "UI", uid("1.2.3")),
}


@pytest.mark.parametrize("what", BROKEN)
def test_invalid_object_is_refused_by_name_and_the_next_one_stored(station: Station, what: str) -> None:
    (station.folder / "CT.1.2.3").write_bytes(b"good")
    sender = station.open()
    response = sender.store(BROKEN[what])
    assert response.status == 0xC000
    assert response.error_comment
    assert len(response.error_comment) <= 64
    assert station.files == ["CT.1.2.3"]
    assert (station.folder / "CT.1.2.3").read_bytes() == b"good"
    assert sender.store(data_set(instance_uid="1.2.4"), instance_uid="1.2.4").status == 0
    assert station.files == ["CT.1.2.3", "CT.1.2.4"]


@pytest.mark.parametrize(
    "data",
    [data_set(instance_uid="6.6.6"), data_set(class_uid=MR), data_set(MR, "6.6.6", LARGE)],
    ids=["of another instance", "of another class", "large"],
)
def test_object_other_than_its_request_is_refused(station: Station, data: bytes) -> None:
    (station.folder / "CT.1.2.3").write_bytes(b"good")
    assert station.open().store(data).status == 0xA900
    assert station.files == ["CT.1.2.3"]
    assert (station.folder / "CT.1.2.3").read_bytes() == b"good"


@pytest.mark.parametrize("rest", [b"", LARGE], ids=["small", "large"])
def test_object_that_cannot_be_written_is_refused_and_the_association_goes_on(station: Station, rest: bytes) -> None:
    (station.folder / "CT.1.2.3").mkdir()
    sender = station.open()
    assert sender.store(data_set(rest=rest)).status == 0xA700
    assert sender.store(data_set(instance_uid="1.2.4", rest=rest), instance_uid="1.2.4").status == 0
    assert station.files == ["CT.1.2.3", "CT.1.2.4"]


def test_error_comment_does_not_reveal_local_directories(station: Station) -> None:
    (station.folder / "CT.1.2.3").mkdir()
    comment = station.open().store(data_set()).error_comment or ""
    assert "cannot be stored: Is a directory" in comment
    assert str(station.folder) not in comment


def test_uid_with_blanks_is_stored_without_them(station: Station) -> None:
    response = station.open().store(data_set(instance_uid="1.2 .3"), instance_uid=" 1.2.3 ")
    assert (response.status, response.affected_sop_instance_uid) == (0, "1.2.3")
    assert station.files == ["CT.1.2.3"]


def test_object_of_another_class_than_its_context_is_refused(station: Station) -> None:
    sender = station.open()
    assert sender.store(data_set(), context_id=3).status == 0x0122
    assert sender.store(data_set(VERIFICATION), class_uid=VERIFICATION, context_id=5).status == 0x0122
    assert station.files == []


def test_overlong_uid_is_refused_and_the_association_goes_on(station: Station) -> None:
    sender = station.open()
    long = "1." + "2" * 63
    assert sender.store(data_set(instance_uid=long), instance_uid=long).status == 0x0117
    assert sender.store(data_set()).status == 0


def test_sender_that_vanishes_within_an_object_leaves_the_good_copy(station: Station) -> None:
    (station.folder / "CT.1.2.3").write_bytes(b"good")
    sender = station.open()
    request = CStoreRQ(CT, 1, "1.2.3")
    pdus = list(sender.exchange._pdus(1, 0, data_set(rest=LARGE), last=False))
    sender.exchange.send(1, request, sender.deadline)
    sender.connection.send(pdus, sender.deadline)
    station.close()
    assert station.files == ["CT.1.2.3"]
    assert (station.folder / "CT.1.2.3").read_bytes() == b"good"
    assert station.received == []


def test_ignoring_receiver_accepts_anything_and_stores_nothing(station: Station) -> None:
    sender = station.open(ignore=True)
    assert [sender.store(data).status for data in BROKEN.values()] == [0] * len(BROKEN)
    assert station.files == []


@pytest.mark.parametrize("what", BROKEN)
def test_bit_preserving_receiver_stores_anything_as_received(station: Station, what: str) -> None:
    assert station.open(bit_preserving=True).store(BROKEN[what]).status == 0
    content = (station.folder / "CT.1.2.3").read_bytes()
    meta = decode_file_meta(content)
    assert meta is not None
    assert content[meta.length :] == BROKEN[what]
    assert b"\2\0\x16\0AE\6\0SENDER" in content[: meta.length]


PADDING = struct.pack("<HH2sxxI", 0xFFFC, 0xFFFC, b"OB", 64) + bytes(64)
HEAD = data_set(rest=el(0x00100010, "PN", b"Doe^Jane"))
LARGE_ONES = {
    "canonical": (HEAD + LARGE[16:], HEAD + LARGE[16:]),
    "with trailing padding": (HEAD + LARGE[16:] + PADDING, HEAD + LARGE[16:]),
    "out of order": (LARGE[16:] + HEAD, HEAD + LARGE[16:]),
    "with an odd element before": (
        HEAD + el(0x00100020, "LO", b"ID  ") + LARGE[16:],
        HEAD + el(0x00100020, "LO", b"ID") + LARGE[16:],
    ),
}


@pytest.mark.parametrize("what", LARGE_ONES)
def test_large_object_in_many_pieces_is_stored_correctly(station: Station, what: str) -> None:
    sent, stored = LARGE_ONES[what]
    assert station.open(file_format=False).store(sent).status == 0
    assert station.files == ["CT.1.2.3"]
    assert (station.folder / "CT.1.2.3").read_bytes() == stored


def test_file_without_file_format_is_the_data_set_alone(station: Station) -> None:
    station.open(file_format=False).store(data_set())
    assert (station.folder / "CT.1.2.3").read_bytes() == data_set()


def test_echo_request_gets_success(station: Station) -> None:
    response = station.open().ask(CEchoRQ(VERIFICATION, 3), context_id=5)
    assert response == CEchoRSP(3, 0, VERIFICATION)


@pytest.mark.parametrize("message", [CFindRQ(CT, 1), CStoreRQ(CT, 1, "1.2.3", command_data_set_type=0x0101)])
def test_message_unexpected_by_a_storage_scp_ends_the_association(station: Station, message: Message) -> None:
    sender = station.open()
    sender.exchange.send(1, message, sender.deadline)
    with pytest.raises(AssociationAbortedError):
        sender.exchange.receive(sender.deadline)
    assert station.files == []


def test_error_of_a_refused_object_holds_none_of_its_bytes(station: Station) -> None:
    sender = station.open()
    value = struct.pack("<HH2sxxI", 0x11, 0x1001, b"OB", 900_000) + bytes(900_000)
    cut_off = data_set(rest=el(0x00110010, "LO", b"OURS") + value)[:-3]
    tracemalloc.start()
    try:
        for _ in range(10):
            assert sender.store(cut_off).status == 0xC000
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(station.received) == 10
    assert held < 2 * len(cut_off)
