"""Templates of command sets: whatever was decoded before, a message is what ``decode_command`` makes of its bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from movescu._runtime.record import replace
from movescu.dimse.command_templates import CommandReader
from movescu.dimse.messages import (
    CFindRSP,
    CGetRSP,
    CMoveRSP,
    CStoreRQ,
    Message,
    decode_command,
    encode_command,
    has_blanks,
)
from movescu.errors import ProtocolError

NUMBERS = st.integers(0, 0xFFFF)
FEW = st.sampled_from((0, 1, 2, 0xFF00))
CLASSES = st.sampled_from(("1.2", "1.2.840.10008.5.1.4.1.1.2"))
COMMENTS = st.sampled_from((None, "why", "because"))
MESSAGES = st.one_of(
    st.builds(CStoreRQ, CLASSES, NUMBERS, st.sampled_from(("1.2.34", "1.2.35", "1.23")), FEW, COMMENTS, NUMBERS),
    st.builds(CStoreRQ, CLASSES, NUMBERS, st.sampled_from(("1.2.34", "1.2.35"))),
    st.builds(CFindRSP, NUMBERS, FEW, st.none() | CLASSES, error_comment=COMMENTS, command_data_set_type=FEW),
    st.builds(CMoveRSP, NUMBERS, FEW, st.none() | CLASSES, *[st.none() | NUMBERS] * 4, error_comment=COMMENTS),
    st.builds(CGetRSP, NUMBERS, FEW, CLASSES, *[NUMBERS] * 4),
)


def assert_same(reader: CommandReader, data: bytes) -> None:
    noted: dict[str, None] = {}
    try:
        expected: Message | None = decode_command(data, noted)
    except ProtocolError:
        with pytest.raises(ProtocolError):
            reader.decode(data)
        return
    assert reader.decode(data) == expected
    if not isinstance(expected, CStoreRQ):  # what one sender does again and again is noted once
        assert list(reader.oddities) == list(noted)
        assert not reader.blanks


@settings(deadline=None, max_examples=50)
@given(st.lists(MESSAGES, min_size=2, max_size=6), st.data())
def test_message_is_decoded_alike_whatever_came_before(messages: list[Message], data: st.DataObject) -> None:
    reader = CommandReader()
    for message in messages:
        encoded = bytearray(encode_command(message))
        if data.draw(st.booleans()):
            encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
        assert_same(reader, bytes(encoded))
        reader.oddities.clear()


def test_second_message_id_of_a_response_counts_on_every_association() -> None:
    once = encode_command(CFindRSP(7, 0, "1.2"))
    for number in (8, 9, 8):
        second = bytes.fromhex("0000 2001 02000000") + number.to_bytes(2, "little")
        length = (len(once) - 12 + len(second)).to_bytes(4, "little")
        assert_same(CommandReader(), once[:8] + length + once[12:] + second)


def test_pending_responses_have_their_own_numbers() -> None:
    for message in (CMoveRSP(7, 0xFF00, "1.2", 300, 1, 0, 0), CMoveRSP(8, 0xFF00, "1.2", 0, 299, 1, 2)):
        assert_same(CommandReader(), encode_command(message))
        assert_same(CommandReader(), encode_command(replace(message, status=0xB000)))
        assert_same(CommandReader(), encode_command(replace(message, failed=None)))


def test_response_may_be_changed_without_changing_the_next_one() -> None:
    encoded = encode_command(CMoveRSP(7, 0xFF00, "1.2", 2, 1, 0, 0))
    CommandReader().decode(encoded)
    changed = CommandReader().decode(encoded)
    assert isinstance(changed, CMoveRSP)
    changed.status = 1
    assert CommandReader().decode(encoded) == CMoveRSP(7, 0xFF00, "1.2", 2, 1, 0, 0)


def test_oddities_of_a_sender_are_noted_on_each_of_its_associations() -> None:
    request = CStoreRQ("1.2", 1, "1.2.3", move_originator_ae_title="ME", move_originator_message_id=5)
    encoded = encode_command(request)
    wrong = encoded[:8] + bytes(4) + encoded[12:]
    for number in (1, 2):
        reader = CommandReader()
        assert reader.decode(wrong) == request
        assert reader.oddities, number


def test_request_of_another_retrieve_has_its_own_ids() -> None:
    first = CStoreRQ("1.2", 1, "1.2.3 ", move_originator_ae_title="ME", move_originator_message_id=5)
    second = replace(first, message_id=9, affected_sop_instance_uid="1.2.34", move_originator_message_id=6)
    CommandReader().decode(encode_command(first))
    reader = CommandReader()
    assert reader.decode(encode_command(second)) == second
    assert not reader.blanks
    assert reader.decode(encode_command(first)) == replace(first, affected_sop_instance_uid="1.2.3")
    assert reader.blanks == has_blanks(b"1.2.3 ")
