"""PDUs that PS3.8 forbids, on the wire to our storage SCP: what comes back, what is on the disk, who is served next.

Bytes go over a plain socket; behind each hostile connection a sound one stores an object.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

import invariants
import pytest
from station import (
    COMMAND,
    CT,
    LAST,
    MR,
    Raw,
    Sender,
    Station,
    association_request,
    contexts,
    data_set,
    pdv,
    store_command,
    store_message,
)
from wire import WAIT, read_all

from movescu._runtime.record import replace
from movescu.dictionary.uids import EXPLICIT_LITTLE
from movescu.ul.pdu import Abort, AssociateAC, AssociateRJ, PDataTF, PresentationDataValue, ReleaseRP, ReleaseRQ

if TYPE_CHECKING:
    from collections.abc import Callable

    from invariants import Invariants

    from movescu.ul.pdu import PDU

NEXT = "1.2.77"
REQUEST = association_request()
ELE = EXPLICIT_LITTLE.uid


def pdu(kind: int, body: bytes, length: int | None = None) -> bytes:
    """Encode a PDU; its length may lie."""
    return struct.pack(">BxI", kind, len(body) if length is None else length) + body


def item(kind: int, body: bytes, length: int | None = None) -> bytes:
    """Encode an item; its length may lie."""
    return struct.pack(">BxH", kind, len(body) if length is None else length) + body


def request_of(*items: bytes, version: int = 1) -> bytes:
    """Encode an A-ASSOCIATE-RQ of any items."""
    return pdu(1, struct.pack(">H2x", version) + b"ANY".ljust(16) + b"SENDER".ljust(16) + bytes(32) + b"".join(items))


CONTEXT = item(0x20, b"\1\0\0\0" + item(0x30, CT.encode()) + item(0x40, ELE.encode()))


def still_served(port: int) -> None:
    """A sound sender stores an object."""
    sender = Sender(port)
    assert sender.store(data_set(instance_uid=NEXT), instance_uid=NEXT).status == 0
    sender.release()


def answer_to(port: int, data: bytes) -> PDU | None:
    """Send bytes on a fresh connection; give what comes back."""
    with Raw(port) as raw:
        raw.send(data)
        return raw.reply()


def answer_within(port: int, data: bytes) -> PDU | None:
    """Send bytes on an association; give what comes back."""
    with Raw(port) as raw:
        raw.associate()
        raw.send(data)
        return raw.reply()


def answer_in(either: Station, data: bytes, **options: Any) -> PDU | None:
    """Send bytes on an association, or as an archive that carries out a C-GET; give what comes back."""
    with either.raw(**options) as raw:
        raw.send(data)
        return raw.reply()


def is_abort(answer: PDU | None, reason: int) -> bool:
    """Whether the provider aborted for this reason (PS3.8 table 9-26)."""
    return answer == Abort(2, reason)


# -- association requests ----------------------------------------------------------------------------------------------

BROKEN_REQUESTS = {
    "length 0": pdu(1, b""),
    "ends within the titles": pdu(1, bytes(40)),
    "an item header cut off": request_of(CONTEXT, b"\x50\0"),
    "an item cut off": request_of(CONTEXT, item(0x50, b"", 100)),
    "a sub-item cut off": request_of(item(0x20, b"\1\0\0\0" + item(0x30, b"", 20))),
    "a context without its ID": request_of(item(0x20, b"")),
    "a context without transfer syntax": request_of(item(0x20, b"\1\0\0\0" + item(0x30, CT.encode()))),
}


@pytest.mark.row("1")
@pytest.mark.parametrize("what", BROKEN_REQUESTS)
def test_request_that_is_cut_off_is_aborted(station: Station, what: str) -> None:
    port = station.listen()
    assert is_abort(answer_to(port, BROKEN_REQUESTS[what]), 6)
    still_served(port)


BROKEN_SUB_ITEMS = {
    "51H of 3 bytes": item(0x50, item(0x51, b"\0\0\1")),
    "53H of 3 bytes": item(0x50, item(0x53, b"\0\1\0")),
    "54H without roles": item(0x50, item(0x54, struct.pack(">H", len(CT)) + CT.encode())),
    "54H, a UID past its end": item(0x50, item(0x54, b"\xff\xff" + CT.encode())),
    "56H, a UID past its end": item(0x50, item(0x56, b"\0\x50" + CT.encode())),
    "57H, a list past its end": item(0x50, item(0x57, b"\0\0\0\0\0\x09ab")),
    "58H of 1 byte": item(0x50, item(0x58, b"\1")),
    "58H, a field past its end": item(0x50, item(0x58, b"\1\0\xff\xff")),
    "a sub-item past its item": item(0x50, item(0x52, b"1.2.3", 500)),
}


@pytest.mark.row("DCMTK-69f67a781")
@pytest.mark.parametrize("what", BROKEN_SUB_ITEMS)
def test_sub_item_that_is_too_short_is_aborted(station: Station, what: str) -> None:
    port = station.listen()
    assert is_abort(answer_to(port, request_of(CONTEXT, BROKEN_SUB_ITEMS[what])), 6)
    still_served(port)


@pytest.mark.row("CVE-2015-8979")
@pytest.mark.parametrize("length", [len(CONTEXT), 0x7FFF, 0xFFFF])
def test_presentation_context_longer_than_its_pdu_is_aborted(station: Station, length: int) -> None:
    port = station.listen()
    assert is_abort(answer_to(port, request_of(item(0x20, CONTEXT[4:], length))), 6)
    still_served(port)


@pytest.mark.row("2")
@pytest.mark.row("DCMTK-69f67a781")
@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("associated", [False, True])
def test_four_gigabytes_are_refused_at_the_header(station: Station, kind: int, associated: bool) -> None:  # a parameter
    port = station.listen()
    answer = (answer_within if associated else answer_to)(port, struct.pack(">BxI", kind, 0xFFFFFFFF))
    assert is_abort(answer, 6)
    still_served(port)


@pytest.mark.row("3")
def test_unknown_type_and_data_before_an_association_are_aborted(station: Station) -> None:
    port = station.listen()
    assert is_abort(answer_to(port, pdu(0x55, bytes(4))), 1)
    assert isinstance(answer_to(port, store_message(data_set())), Abort)
    assert is_abort(answer_within(port, pdu(0x55, bytes(4))), 1)
    still_served(port)


@pytest.mark.row("3")
def test_data_on_a_context_that_was_not_negotiated_is_aborted(either: Station) -> None:
    assert is_abort(answer_in(either, store_message(data_set(), context_id=9)), 6)
    either.still_serves()


@pytest.mark.row("4")
@pytest.mark.parametrize("version", [0, 2, 0x8000])
def test_another_protocol_version_is_rejected(station: Station, version: int) -> None:
    port = station.listen()
    assert answer_to(port, request_of(CONTEXT, version=version)) == AssociateRJ(1, 2, 2)
    still_served(port)


@pytest.mark.row("4")
def test_bit_0_alone_is_tested_of_the_version(station: Station) -> None:
    with Raw(station.listen()) as raw:
        raw.associate(replace(REQUEST, protocol_version=0xFFFF))
        raw.send(store_message(data_set()))
        assert raw.status() == 0


@pytest.mark.row("6")
@pytest.mark.parametrize("context_id", [0, 2, 254])
def test_even_context_id_is_accepted_with_one_warning(
    station: Station, caplog: pytest.LogCaptureFixture, context_id: int
) -> None:
    port = station.listen()
    for _ in range(2):
        with Raw(port) as raw:
            raw.associate(replace(REQUEST, contexts=contexts((context_id, CT, ELE), (1, MR, ELE))))
            raw.send(store_message(data_set(), context_id=context_id))
            assert raw.status() == 0
            raw.release()
    assert station.files == ["CT.1.2.3", invariants.GOOD]
    (said,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING" and "same content" not in r.msg]
    assert "even presentation context IDs" in said


@pytest.mark.row("6")
def test_data_on_an_even_context_that_was_not_negotiated_is_aborted(station: Station) -> None:
    port = station.listen()
    assert is_abort(answer_within(port, store_message(data_set(), context_id=2)), 6)
    still_served(port)


@pytest.mark.row("53")
@pytest.mark.parametrize("length", [0, 2, 5, 6, 10])
def test_release_request_of_another_length_is_answered_with_a_warning(
    station: Station, caplog: pytest.LogCaptureFixture, length: int
) -> None:
    port = station.listen()
    for _ in range(2):
        with Raw(port) as raw:
            raw.associate()
            raw.send(store_message(data_set()))
            assert raw.status() == 0
            raw.send(pdu(5, bytes(length)))
            assert raw.reply() == ReleaseRP()
    assert station.broken_off == []
    (said,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "RELEASE-RQ of another length" in said


@pytest.mark.row("7")
def test_context_ids_that_occur_twice_and_none_at_all_are_aborted(station: Station) -> None:
    port = station.listen()
    assert is_abort(answer_to(port, replace(REQUEST, contexts=contexts((1, CT, ELE), (1, MR, ELE))).encode()), 6)
    assert is_abort(answer_to(port, replace(REQUEST, contexts=()).encode()), 6)
    still_served(port)


@pytest.mark.row("CVE-2024-23912")
def test_application_context_of_64_kilobytes_is_no_harm(station: Station) -> None:
    with Raw(station.listen()) as raw:
        raw.associate(replace(REQUEST, application_context="1." + "2" * 0xFFFD))
        raw.send(store_message(data_set()))
        assert raw.status() == 0


@pytest.mark.row("CVE-2024-23912")
def test_more_items_than_anybody_needs_are_aborted(station: Station) -> None:
    port = station.listen()
    many = [item(0x20, bytes((i, 0, 0, 0)) + item(0x30, CT.encode()) + item(0x40, b"") * 8000) for i in (3, 5, 7)]
    with Raw(port) as raw:
        raw.associate(replace(REQUEST, contexts=contexts(*((2 * i + 1, CT, ELE) for i in range(128)))))
        raw.release()
    assert isinstance(answer_to(port, request_of(CONTEXT, *many[:2])), AssociateAC)
    assert is_abort(answer_to(port, request_of(CONTEXT, *many)), 6)
    still_served(port)


@pytest.mark.row("pynetdicom-1086")
@pytest.mark.parametrize("kind", [1, 4])
def test_half_a_gigabyte_without_an_association_takes_no_memory(station: Station, kind: int) -> None:
    port = station.listen()
    block = bytes(1 << 20)
    still_served(port)
    before = invariants.resident()
    with Raw(port) as raw:
        raw.send(struct.pack(">BxI", kind, 500 << 20))
        for _ in range(500):
            try:
                raw.send(block)
            except OSError:  # it has had enough
                break
    station.wait_until_idle()
    assert invariants.peak() < before + (5 << 20)
    still_served(port)


# -- P-DATA ------------------------------------------------------------------------------------------------------------

BROKEN_VALUES = {
    "longer than its PDU": pdu(4, struct.pack(">IBB", 100, 1, 3) + bytes(10)),
    "length 0": pdu(4, struct.pack(">IBB", 0, 1, 3)),
    "length 1": pdu(4, struct.pack(">IBB", 1, 1, 3)),
    "80000010": pdu(4, struct.pack(">IBB", 0x80000010, 1, 3) + bytes(0x10)),
    "FFFFFFFF": pdu(4, struct.pack(">IBB", 0xFFFFFFFF, 1, 3) + bytes(0x10)),
    "the second one": pdu(4, struct.pack(">IBB", 2, 1, 0) + struct.pack(">IBB", 0xFFFFFFFE, 1, 3)),
    "a header cut off": pdu(4, b"\0\0\0"),
    "none": pdu(4, b""),
}


@pytest.mark.row("5")
@pytest.mark.row("DCMTK-69f67a781")
@pytest.mark.parametrize("what", BROKEN_VALUES)
def test_presentation_data_value_whose_length_lies_is_aborted(either: Station, what: str) -> None:
    assert is_abort(answer_in(either, BROKEN_VALUES[what]), 6)
    either.still_serves()


@pytest.mark.row("8")
def test_pdu_of_more_than_128_kilobytes_is_aborted_at_its_header(either: Station) -> None:
    assert is_abort(answer_in(either, struct.pack(">BxI", 4, 1 << 20)), 6)
    assert is_abort(answer_in(either, struct.pack(">BxI", 4, 131_073)), 6)
    either.still_serves()


@pytest.mark.row("8")
@pytest.mark.parametrize("longest", [16385, 131_072])
def test_pdu_longer_than_we_announced_is_taken_with_one_warning(
    station: Station, sandbox: Invariants, caplog: pytest.LogCaptureFixture, longest: int
) -> None:
    sandbox.exact["CT.1.2.3"] = LARGE
    room = longest - 6
    fragments = [LARGE[at : at + room] for at in range(0, len(LARGE), room)]
    port = station.listen()
    for _ in range(2):
        with Raw(port) as raw:
            raw.associate()
            raw.send(pdv(1, COMMAND | LAST, store_command()))
            for number, fragment in enumerate(fragments, 1):
                raw.send(pdv(1, LAST if number == len(fragments) else 0, fragment))
            assert raw.status() == 0
            raw.release()
    (said,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "16384 bytes" in said


COMMAND_SET = pdv(1, COMMAND | LAST, store_command())
OUT_OF_PLACE = {
    "9": (COMMAND_SET, pdv(1, 0, data_set()[:20]), COMMAND_SET),
    "10": (COMMAND_SET, COMMAND_SET),
    "11": (COMMAND_SET, pdv(3, LAST, data_set())),
    "11, later": (COMMAND_SET, pdv(1, 0, data_set()[:20]), pdv(3, LAST, data_set()[20:])),
    "a data set first": (pdv(1, LAST, data_set()),),
    "a command on two contexts": (pdv(1, COMMAND, store_command()[:20]), pdv(3, COMMAND | LAST, store_command()[20:])),
}


@pytest.mark.row("9")
@pytest.mark.row("10")
@pytest.mark.row("11")
@pytest.mark.parametrize("what", OUT_OF_PLACE)
@pytest.mark.parametrize("together", [False, True])
def test_fragment_out_of_place_is_aborted_and_leaves_no_file(
    either: Station, what: str, together: bool
) -> None:  # a parameter
    with either.raw() as raw:
        if together:
            raw.send(b"".join(OUT_OF_PLACE[what]))
        else:
            for part in OUT_OF_PLACE[what]:
                raw.send_ignoring_the_end(part)
        assert is_abort(raw.reply(), 5)
    either.wait_until_idle()
    assert either.files == [invariants.GOOD]
    either.still_serves()


# -- an end amid a data set --------------------------------------------------------------------------------------------


def leave_within_a_pdu(raw: Raw) -> None:
    """Close the connection when a PDU is there in part."""
    raw.send(pdv(1, 0, bytes(100))[:50])
    raw.socket.close()


ENDS: dict[str, Callable[[Raw], None]] = {
    "abort": lambda raw: raw.send(Abort().encode()),
    "close": lambda raw: raw.socket.close(),
    "half-close": lambda raw: raw.socket.shutdown(socket.SHUT_WR),
    "reset": Raw.reset,
    "release": lambda raw: raw.send(ReleaseRQ().encode()),
    "garbage": lambda raw: raw.send(b"\xff" * 20),
    "within a PDU": leave_within_a_pdu,
}
MODES: dict[str, dict[str, Any]] = {"normal": {}, "+B": {"bit_preserving": True}, "-F": {"file_format": False}}
LARGE = data_set(rest=struct.pack("<HH2sxxI", 0x7FE0, 0x10, b"OW", 200_000) + bytes(200_000))


@pytest.mark.row("12")
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("mode", MODES)
def test_whoever_leaves_amid_a_data_set_leaves_the_good_copy(either: Station, mode: str, end: str) -> None:
    values = [data_set()[:30]] if end == "close" else [LARGE[at : at + 10_000] for at in range(0, 150_000, 10_000)]
    with either.raw(**MODES[mode]) as raw:
        raw.send(store_message(data_set()))
        assert raw.status() == 0
        good = (either.folder / "CT.1.2.3").read_bytes()
        raw.send(pdv(1, COMMAND | LAST, store_command()))
        for value in values:
            raw.send(pdv(1, 0, value))
        ENDS[end](raw)
    either.wait_until_idle()
    assert (either.folder / "CT.1.2.3").read_bytes() == good
    assert either.files == ["CT.1.2.3", invariants.GOOD]
    assert either.broken_off == ["1.2.3"]


@pytest.mark.row("12")
def test_release_amid_a_data_set_is_confirmed(station: Station) -> None:
    with Raw(station.listen()) as raw:
        raw.associate()
        raw.send(pdv(1, COMMAND | LAST, store_command()) + pdv(1, 0, data_set()[:30]) + ReleaseRQ().encode())
        assert raw.reply() == ReleaseRP()


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.row("13")
def test_fifty_connections_that_trickle_are_ended_by_the_time_since_their_accept(station: Station) -> None:
    port = station.listen(artim=0.3)
    trickling = [socket.create_connection(("127.0.0.1", port), WAIT) for _ in range(50)]
    for sock in trickling:
        sock.sendall(REQUEST.encode()[:10])
    still_served(port)
    for sock in trickling[:25]:
        sock.sendall(REQUEST.encode()[10:20])
    assert [read_all(sock) for sock in trickling] == [b""] * 50
    for sock in trickling:
        sock.close()
    still_served(port)


@pytest.mark.row("14")
@pytest.mark.parametrize("at", ["within a PDU", "between two fragments", "within a command", "before its data set"])
def test_silence_amid_a_message_ends_the_association(either: Station, at: str) -> None:
    begun = {
        "within a PDU": store_message(data_set())[:-10],
        "between two fragments": COMMAND_SET + pdv(1, 0, data_set()[:20]),
        "within a command": pdv(1, COMMAND, store_command()[:20]),
        "before its data set": COMMAND_SET,
    }
    assert answer_in(either, begun[at], store_timeout=0.05) == Abort(0, 0)
    assert either.files == [invariants.GOOD]


@pytest.mark.row("15")
def test_second_association_is_served_while_the_first_is_amid_an_object(station: Station) -> None:
    port = station.listen()
    with Raw(port) as first:
        first.associate()
        first.send(COMMAND_SET + pdv(1, 0, data_set()[:20]))
        still_served(port)
        first.send(pdv(1, LAST, data_set()[20:]))
        assert first.status() == 0


@pytest.mark.row("16")
def test_release_request_that_crosses_ours_ends_in_a_release(station: Station) -> None:
    """Ours is the acceptor here, Sta9 to Sta12 of the requestor are in ``tests/transport/test_connection.py``."""
    sender = station.open()
    with sender.connection.closing_on_error():
        sender.connection._association.release_request()
        sender.connection._flush(sender.deadline)
        sender.connection.release(sender.deadline)
    still_served(station.listener.port if station.listener else 0)


@pytest.mark.row("5")
def test_several_values_in_one_pdu_are_what_the_standard_allows(either: Station) -> None:
    values = (
        PresentationDataValue(1, COMMAND, store_command()[:30]),
        PresentationDataValue(1, COMMAND | LAST, store_command()[30:]),
        PresentationDataValue(1, 0, data_set()[:11]),
        PresentationDataValue(1, 0, b""),
        PresentationDataValue(1, LAST, data_set()[11:]),
    )
    with either.raw() as raw:
        raw.send(PDataTF(values).encode())
        assert raw.status() == 0
