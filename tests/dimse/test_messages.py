"""Command sets: encoding and decoding against the bytes of PS3.7 9.3, and malformed ones."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from movescu._runtime.record import names_of
from movescu.dimse.messages import (
    NO_DATA_SET,
    CCancelRQ,
    CEchoRQ,
    CEchoRSP,
    CFindRQ,
    CFindRSP,
    CMoveRQ,
    CMoveRSP,
    CStoreRQ,
    CStoreRSP,
    Message,
    decode_command,
    decode_ui,
    encode_command,
    has_blanks,
)
from movescu.errors import AbortReason, ProtocolError


def text(value: str) -> str:
    return value.encode("latin-1").hex()


def command(*elements: str, group_length: int | None = None) -> bytes:
    """Put the group length (0000,0000) before the elements."""
    body = bytes.fromhex("".join(elements))
    length = len(body) if group_length is None else group_length
    return bytes.fromhex("0000 0000 04000000") + struct.pack("<I", length) + body


CLASS_UID = "0000 0200 04000000" + text("1.2") + "00"  # (0000,0002), padded to an even length
MESSAGE_ID = "0000 1001 02000000 0700"  # (0000,0110)
RESPONDED_TO = "0000 2001 02000000 0700"  # (0000,0120)
PRIORITY = "0000 0007 02000000 0000"  # (0000,0700)
HIGH = "0000 0007 02000000 0100"
WITHOUT = "0000 0008 02000000 0101"  # (0000,0800)
WITH = "0000 0008 02000000 0100"
SUCCESS = "0000 0009 02000000 0000"  # (0000,0900)
INSTANCE_UID = "0000 0010 06000000" + text("1.2.34")  # (0000,1000)
OFFENDING = "0000 0109 08000000 0800 5200 1000 2000"  # (0000,0901): (0008,0052) and (0010,0020)
COMMENT = "0000 0209 04000000" + text("why ")  # (0000,0902), padded


def code(number: int) -> str:
    """Give the command field (0000,0100)."""
    return "0000 0001 02000000" + struct.pack("<H", number).hex()


def count(element: int, value: int) -> str:
    return "0000" + struct.pack("<HIH", element, 2, value).hex()


MESSAGES: dict[str, tuple[Message, bytes]] = {
    "C-ECHO-RQ": (CEchoRQ("1.2", 7), command(CLASS_UID, code(0x0030), MESSAGE_ID, WITHOUT)),
    "C-ECHO-RSP": (CEchoRSP(7, 0, "1.2"), command(CLASS_UID, code(0x8030), RESPONDED_TO, WITHOUT, SUCCESS)),
    "C-FIND-RQ": (CFindRQ("1.2", 7), command(CLASS_UID, code(0x0020), MESSAGE_ID, PRIORITY, WITH)),
    "C-FIND-RSP": (
        CFindRSP(7, 0xA900, "1.2", (0x00080052, 0x00100020), "why"),
        command(
            CLASS_UID,
            code(0x8020),
            RESPONDED_TO,
            WITHOUT,
            "0000 0009 02000000 00a9",
            OFFENDING,
            COMMENT,
        ),
    ),
    "C-STORE-RQ": (
        CStoreRQ("1.2", 7, "1.2.34"),
        command(CLASS_UID, code(0x0001), MESSAGE_ID, PRIORITY, WITH, INSTANCE_UID),
    ),
    "C-STORE-RQ of a C-MOVE": (
        CStoreRQ("1.2", 7, "1.2.34", 1, "MOVESCU", 258),
        command(
            CLASS_UID,
            code(0x0001),
            MESSAGE_ID,
            HIGH,
            WITH,
            INSTANCE_UID,
            "0000 3010 08000000" + text("MOVESCU "),
            "0000 3110 02000000 0201",
        ),
    ),
    "C-STORE-RSP": (
        CStoreRSP(7, 0, "1.2", "1.2.34"),
        command(CLASS_UID, code(0x8001), RESPONDED_TO, WITHOUT, SUCCESS, INSTANCE_UID),
    ),
    "C-STORE-RSP without UIDs": (CStoreRSP(7, 0), command(code(0x8001), RESPONDED_TO, WITHOUT, SUCCESS)),
    "C-MOVE-RQ": (
        CMoveRQ("1.2", 7, "DEST"),
        command(CLASS_UID, code(0x0021), MESSAGE_ID, "0000 0006 04000000" + text("DEST"), PRIORITY, WITH),
    ),
    "C-MOVE-RSP": (
        CMoveRSP(7, 0xFF00, "1.2", 1, 2, 3, 4),
        command(
            CLASS_UID,
            code(0x8021),
            RESPONDED_TO,
            WITHOUT,
            "0000 0009 02000000 00ff",
            count(0x1020, 1),
            count(0x1021, 2),
            count(0x1022, 3),
            count(0x1023, 4),
        ),
    ),
    "C-MOVE-RSP without counts": (
        CMoveRSP(7, 0xA801, error_comment="who?"),
        command(code(0x8021), RESPONDED_TO, WITHOUT, "0000 0009 02000000 01a8", "0000 0209 04000000" + text("who?")),
    ),
    "C-CANCEL-RQ": (CCancelRQ(7), command(code(0x0FFF), RESPONDED_TO, WITHOUT)),
}


@pytest.mark.parametrize(("message", "data"), MESSAGES.values(), ids=MESSAGES)
def test_message_encodes_and_decodes_to_the_same_bytes(message: Message, data: bytes) -> None:
    assert encode_command(message).hex(" ") == data.hex(" ")
    assert decode_command(data) == message


# -- what is tolerated -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 0xFFFFFFFF])
def test_wrong_group_length_is_tolerated(length: int) -> None:
    data = command(CLASS_UID, code(0x0030), MESSAGE_ID, WITHOUT, group_length=length)
    assert decode_command(data) == CEchoRQ("1.2", 7)


def test_missing_group_length_is_tolerated() -> None:
    assert decode_command(command(CLASS_UID, code(0x0030), MESSAGE_ID, WITHOUT)[12:]) == CEchoRQ("1.2", 7)


def test_unknown_elements_are_ignored() -> None:
    data = command("0000 0100 04000000 00000000", CLASS_UID, code(0x0030), MESSAGE_ID, WITHOUT, INSTANCE_UID)
    assert decode_command(data) == CEchoRQ("1.2", 7)


def test_data_set_type_other_than_0101_announces_a_data_set() -> None:
    message = decode_command(command(CLASS_UID, code(0x0020), MESSAGE_ID, PRIORITY, "0000 0008 02000000 fefe"))
    assert message.command_data_set_type == 0xFEFE
    assert message.command_data_set_type != NO_DATA_SET


def test_values_lose_their_padding() -> None:
    data = command(CLASS_UID, code(0x0021), MESSAGE_ID, "0000 0006 08000000" + text(" DEST   "), PRIORITY, WITH)
    assert decode_command(data) == CMoveRQ("1.2", 7, "DEST")


def test_move_destination_is_sent_without_blanks_around_it() -> None:
    assert encode_command(CMoveRQ("1.2", 7, "  DEST ")) == encode_command(CMoveRQ("1.2", 7, "DEST"))


def test_empty_optional_element_counts_as_absent() -> None:
    data = command(code(0x8021), RESPONDED_TO, WITHOUT, SUCCESS, "0000 2110 00000000", "0000 0209 00000000")
    assert decode_command(data) == CMoveRSP(7, 0)


@pytest.mark.parametrize("element", [0x0700, 0x1030, 0x1031])
@pytest.mark.parametrize("value", [None, b"", b"\1", b"\1\0\0\0"], ids=["absent", "empty", "1", "4"])
def test_store_request_may_lack_what_a_storage_scp_has_no_use_for(element: int, value: bytes | None) -> None:
    elements = [e for e in elements_of(MESSAGES["C-STORE-RQ of a C-MOVE"][1]) if e[0] != element]
    if value is not None:
        elements = sorted([*elements, (element, value)])
    oddities: dict[str, None] = {}
    message = decode_command(joined(elements[1:]), oddities)
    assert isinstance(message, CStoreRQ)
    assert message.affected_sop_instance_uid == "1.2.34"
    assert any(f"{element:04X})" in text for text in oddities) == (
        element == 0x0700 or (element == 0x1031 and bool(value))
    ), oddities


def test_elements_of_other_groups_are_ignored_with_a_note() -> None:
    oddities: dict[str, None] = {}
    data = command(CLASS_UID, code(0x0030), MESSAGE_ID, WITHOUT) + bytes.fromhex("1000 1000 04000000 446f6520")
    assert decode_command(data, oddities) == CEchoRQ("1.2", 7)
    assert list(oddities) == ["elements of other groups than 0000 in commands (PS3.7 6.3.1)"]


@pytest.mark.parametrize("padding", [b" ", b"\n", b"\t", b"\r\n", b"\0 ", b" \0", b"\v\f"])
def test_white_space_behind_a_uid_is_padding(padding: bytes) -> None:
    assert decode_ui(b"1.2.3" + padding) == "1.2.3"
    assert has_blanks(b"1.2.3" + padding)
    assert not has_blanks(b"1.2.3\0")


# -- what is refused -------------------------------------------------------------------------------------------------

Element = tuple[int, bytes]


def elements_of(data: bytes) -> list[Element]:
    elements, position = [], 0
    while position < len(data):
        _, number, length = struct.unpack_from("<HHI", data, position)
        elements.append((number, data[position + 8 : position + 8 + length]))
        position += 8 + length
    return elements


def joined(elements: list[Element]) -> bytes:
    return b"".join(struct.pack("<HHI", 0, number, len(value)) + value for number, value in elements)


# what PS3.7 9.3 makes mandatory, by element number; UIDs of responses are not
MANDATORY = {
    "C-ECHO-RQ": (0x0002, 0x0100, 0x0110, 0x0800),
    "C-ECHO-RSP": (0x0100, 0x0120, 0x0800, 0x0900),
    "C-FIND-RQ": (0x0002, 0x0100, 0x0110, 0x0700, 0x0800),
    "C-FIND-RSP": (0x0100, 0x0120, 0x0800, 0x0900),
    "C-STORE-RQ": (0x0002, 0x0100, 0x0110, 0x0800, 0x1000),
    "C-STORE-RSP": (0x0100, 0x0120, 0x0800, 0x0900),
    "C-MOVE-RQ": (0x0002, 0x0100, 0x0110, 0x0600, 0x0700, 0x0800),
    "C-MOVE-RSP": (0x0100, 0x0120, 0x0800, 0x0900),
    "C-CANCEL-RQ": (0x0100, 0x0120, 0x0800),
}
NEEDED = [(name, element) for name, elements in MANDATORY.items() for element in elements]
NUMERIC = [
    (name, element)
    for name, (_, data) in MESSAGES.items()
    for element, _ in elements_of(data)[1:]
    if element not in (0x0002, 0x0600, 0x0902, 0x1000, 0x1030)
    and not (name.startswith("C-STORE-RQ") and element in (0x0700, 0x1031))
]


def refused(data: bytes) -> str:
    with pytest.raises(ProtocolError) as raised:
        decode_command(data)
    assert raised.value.abort_reason is AbortReason.INVALID_PDU_PARAMETER_VALUE
    return str(raised.value)


@pytest.mark.parametrize(("name", "element"), NEEDED)
def test_mandatory_element_that_is_absent_or_empty_is_refused(name: str, element: int) -> None:
    elements = elements_of(MESSAGES[name][1])
    absent = joined([e for e in elements if e[0] != element])
    empty = joined([(n, b"" if n == element else value) for n, value in elements])
    for data in (absent, empty):
        assert f"(0000,{element:04X})" in refused(data)


@pytest.mark.parametrize(("name", "element"), NUMERIC)
def test_number_of_the_wrong_length_is_refused(name: str, element: int) -> None:
    elements = elements_of(MESSAGES[name][1])
    shorter = joined([(n, value[:-1] if n == element else value) for n, value in elements])
    longer = joined([(n, value + b"\0" if n == element else value) for n, value in elements])
    for data in (shorter, longer):
        assert f"(0000,{element:04X})" in refused(data)


def test_uid_of_nothing_but_padding_is_refused() -> None:
    assert "affected_sop_class_uid" in refused(command("0000 0200 02000000 0000", code(0x0030), MESSAGE_ID, WITHOUT))


@pytest.mark.parametrize("number", [0x0000, 0x0011, 0x0100, 0x0140, 0xFFFF])
def test_unknown_command_is_refused_with_its_number(number: int) -> None:
    assert f"{number:04X}H" in refused(command(CLASS_UID, code(number), MESSAGE_ID, WITHOUT))


BROKEN = {
    "nothing": (b"", "no command field"),
    "seven bytes": (bytes(7), "7 bytes are left over"),
    "an element longer than the rest": (bytes.fromhex("0000 0001 ffffffff 3000"), "2 are left"),
    "an element of another group, cut off": (
        command(code(0x0030)) + bytes.fromhex("0800 1600 04000000 0000"),
        "(0008,0016)",
    ),
}


@pytest.mark.parametrize(("data", "message"), BROKEN.values(), ids=BROKEN)
def test_invalid_command_set_is_refused(data: bytes, message: str) -> None:
    assert message in refused(data)


# -- properties ------------------------------------------------------------------------------------------------------

us = st.integers(0, 0xFFFF)
uid = st.text("0123456789.", min_size=1, max_size=64)
words = st.text("ABC abc_-19", min_size=1, max_size=64).map(str.strip).filter(bool)
BY_NAME = {
    "affected_sop_class_uid": uid,
    "affected_sop_instance_uid": uid,
    "move_destination": words,
    "move_originator_ae_title": st.none() | words,
    "error_comment": st.none() | words,
    "offending_elements": st.lists(st.integers(0, 0xFFFFFFFF), max_size=3).map(tuple),
    "remaining": st.none() | us,
    "completed": st.none() | us,
    "failed": st.none() | us,
    "warning": st.none() | us,
    "move_originator_message_id": st.none() | us,
}
KINDS = [CEchoRQ, CEchoRSP, CFindRQ, CFindRSP, CStoreRQ, CStoreRSP, CMoveRQ, CMoveRSP, CCancelRQ]


@settings(deadline=None)
@given(st.data())
def test_generated_values_survive_encoding_and_decoding(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    values = {name: data.draw(BY_NAME.get(name, us), name) for name in names_of(kind)}
    message: Message = kind(**values)
    encoded = encode_command(message)
    assert len(encoded) % 2 == 0
    assert decode_command(encoded) == message


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_protocol_error(data: bytes) -> None:
    for candidate in (data, command(CLASS_UID, code(0x8021), RESPONDED_TO) + data):
        try:
            decode_command(candidate)
        except ProtocolError:
            continue
