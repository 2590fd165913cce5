"""PDUs and items: encoding and decoding against the bytes of PS3.8 9.3 and PS3.7 annex D, and malformed PDUs."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire import p_data

from movescu.errors import AbortReason, ProtocolError
from movescu.ul.items import MAXIMUM_ITEMS
from movescu.ul.pdu import (
    PDU,
    Abort,
    AnsweredContext,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    PDataTF,
    PresentationDataValue,
    ProposedContext,
    ReleaseRP,
    ReleaseRQ,
    decode_pdu,
)
from movescu.ul.user_information import (
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    RoleSelection,
    UserIdentity,
    UserInformation,
)

INVALID = AbortReason.INVALID_PDU_PARAMETER_VALUE


def text(value: str) -> str:
    """Give the hexadecimal digits of ASCII text."""
    return value.encode("ascii").hex()


# -- the bytes, written by hand --------------------------------------------------------------------------------------

APPLICATION = "10 00 0015" + text("1.2.840.10008.3.1.1.1")
TITLES = text("ANY-SCP         ") + text("MOVESCU         ") + "00" * 32
CONTEXT_RQ = (
    "20 00 002e 01 00 00 00"  # presentation context item, ID 1
    + ("30 00 0011" + text("1.2.840.10008.1.1"))
    + ("40 00 0011" + text("1.2.840.10008.1.2"))
)
CONTEXT_RQ_2 = (
    "20 00 0045 03 00 00 00"
    + ("30 00 0011" + text("1.2.840.10008.1.1"))
    + ("40 00 0011" + text("1.2.840.10008.1.2"))
    + ("40 00 0013" + text("1.2.840.10008.1.2.1"))
)
CONTEXT_AC = "21 00 0019 01 00 00 00" + ("40 00 0011" + text("1.2.840.10008.1.2"))
CONTEXT_AC_REFUSED = "21 00 0019 03 00 03 00" + ("40 00 0011" + text("1.2.840.10008.1.2"))
MAXIMUM = "51 00 0004 00004000"

PROPOSED = ProposedContext(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",))
PROPOSED_2 = ProposedContext(3, "1.2.840.10008.1.1", ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1"))
ANSWERED = AnsweredContext(1, 0, "1.2.840.10008.1.2")
ANSWERED_REFUSED = AnsweredContext(3, 3, "1.2.840.10008.1.2")


def item(kind: str, body: str) -> str:
    return f"{kind}00{len(bytes.fromhex(body)):04x}{body}"


def associate(kind: str, *items: str, version: str = "0001") -> bytes:
    body = bytes.fromhex(version + "0000" + TITLES + "".join(items))
    return bytes.fromhex(kind + "00") + len(body).to_bytes(4, "big") + body


def rq(information: UserInformation, *contexts: ProposedContext) -> AssociateRQ:
    return AssociateRQ("ANY-SCP", "MOVESCU", contexts or (PROPOSED,), information)


def decode(data: bytes) -> PDU:
    assert int.from_bytes(data[2:6], "big") == len(data) - 6
    return decode_pdu(data[0], data[6:])


PLAIN = UserInformation(maximum_length=16384)

PDUS: dict[str, tuple[PDU, bytes]] = {
    "A-ASSOCIATE-RQ": (
        rq(PLAIN, PROPOSED, PROPOSED_2),
        associate("01", APPLICATION, CONTEXT_RQ, CONTEXT_RQ_2, "50 00 0008", MAXIMUM),
    ),
    "A-ASSOCIATE-AC": (
        AssociateAC("ANY-SCP", "MOVESCU", (ANSWERED, ANSWERED_REFUSED), PLAIN),
        associate("02", APPLICATION, CONTEXT_AC, CONTEXT_AC_REFUSED, "50 00 0008", MAXIMUM),
    ),
    "A-ASSOCIATE-RJ": (AssociateRJ(2, 3, 2), bytes.fromhex("03 00 00000004 00 02 03 02")),
    "P-DATA-TF": (p_data((1, 3, b"\xaa\xbb\xcc")), bytes.fromhex("04 00 00000009 00000005 01 03 aabbcc")),
    "P-DATA-TF, two PDVs, one without data": (
        p_data((1, 0, b"\xaa"), (255, 2, b"")),
        bytes.fromhex("04 00 0000000d 00000003 01 00 aa 00000002 ff 02"),
    ),
    "A-RELEASE-RQ": (ReleaseRQ(), bytes.fromhex("05 00 00000004 00000000")),
    "A-RELEASE-RP": (ReleaseRP(), bytes.fromhex("06 00 00000004 00000000")),
    "A-ABORT by the user": (Abort(0, 0), bytes.fromhex("07 00 00000004 0000 00 00")),
    "A-ABORT by the provider": (Abort(2, 6), bytes.fromhex("07 00 00000004 0000 02 06")),
}

# sub-items of user information (PS3.8 D.1, PS3.7 D.3.3)
SUB_ITEMS: dict[str, tuple[UserInformation, str]] = {
    "maximum length": (UserInformation(maximum_length=131072), "51 00 0004 00020000"),
    "maximum length, unlimited": (UserInformation(maximum_length=0), "51 00 0004 00000000"),
    "implementation class UID": (
        UserInformation(implementation_class_uid="1.2.3"),
        "52 00 0005" + text("1.2.3"),
    ),
    "asynchronous operations window": (UserInformation(asynchronous_operations=(1, 256)), "53 00 0004 0001 0100"),
    "role selection": (
        UserInformation(role_selections=(RoleSelection("1.2", scu_role=False, scp_role=True),)),
        "54 00 0007 0003" + text("1.2") + "00 01",
    ),
    "two role selections": (
        UserInformation(
            role_selections=(
                RoleSelection("1.2", scu_role=True, scp_role=False),
                RoleSelection("1.3", scu_role=True, scp_role=True),
            )
        ),
        "54 00 0007 0003" + text("1.2") + "01 00" + "54 00 0007 0003" + text("1.3") + "01 01",
    ),
    "implementation version name": (UserInformation(implementation_version_name="ABC"), "55 00 0003" + text("ABC")),
    "SOP class extended negotiation": (
        UserInformation(extended_negotiations=(ExtendedNegotiation("1.2", b"\x01\x00\x02"),)),
        "56 00 0008 0003" + text("1.2") + "010002",
    ),
    "SOP class common extended negotiation": (
        UserInformation(common_extended_negotiations=(CommonExtendedNegotiation("1.2", "1.2.3", ("1.4", "1.5.6")),)),
        "57 00 001a 0003" + text("1.2") + "0005" + text("1.2.3") + "000c 0003" + text("1.4") + "0005" + text("1.5.6"),
    ),
    "user identity, name and passcode": (
        UserInformation(user_identity=UserIdentity(2, b"me", b"secret", positive_response_requested=True)),
        "58 00 000e 02 01 0002" + text("me") + "0006" + text("secret"),
    ),
    "user identity, name alone": (
        UserInformation(user_identity=UserIdentity(1, b"me")),
        "58 00 0008 01 00 0002" + text("me") + "0000",
    ),
    "user identity, server response": (
        UserInformation(user_identity_response=b"ticket"),
        "59 00 0008 0006" + text("ticket"),
    ),
}


@pytest.mark.parametrize(("pdu", "data"), PDUS.values(), ids=PDUS)
def test_pdu_encodes_and_decodes_to_the_same_bytes(pdu: PDU, data: bytes) -> None:
    assert pdu.encode().hex(" ") == data.hex(" ")
    assert decode(data) == pdu


@pytest.mark.parametrize(("information", "digits"), SUB_ITEMS.values(), ids=SUB_ITEMS)
def test_sub_item_encodes_and_decodes_to_the_same_bytes(information: UserInformation, digits: str) -> None:
    data = associate("01", APPLICATION, CONTEXT_RQ, item("50", bytes.fromhex(digits).hex()))
    assert rq(information).encode().hex(" ") == data.hex(" ")
    assert decode(data) == rq(information)


def test_sub_items_are_encoded_in_ascending_order() -> None:
    digits = "".join(SUB_ITEMS[name][1] for name in ("maximum length", "implementation class UID"))
    information = UserInformation(maximum_length=131072, implementation_class_uid="1.2.3")
    data = associate("01", APPLICATION, CONTEXT_RQ, item("50", bytes.fromhex(digits).hex()))
    assert rq(information).encode() == data
    backwards = SUB_ITEMS["implementation class UID"][1] + SUB_ITEMS["maximum length"][1]
    assert decode(associate("01", APPLICATION, CONTEXT_RQ, item("50", bytes.fromhex(backwards).hex()))) == rq(
        information
    )


# -- what is tolerated -----------------------------------------------------------------------------------------------

UNKNOWN_ITEM = "ee 00 0003 010203"


def test_unknown_items_are_skipped_at_every_level() -> None:
    context = bytes.fromhex(CONTEXT_RQ)[4:].hex() + UNKNOWN_ITEM
    user = MAXIMUM + UNKNOWN_ITEM + item("5f", "ff")
    data = associate("01", UNKNOWN_ITEM, APPLICATION, item("20", context), UNKNOWN_ITEM, item("50", user), UNKNOWN_ITEM)
    assert decode(data) == rq(PLAIN)


def test_request_decoder_skips_context_items_of_an_answer() -> None:
    assert decode(associate("01", APPLICATION, CONTEXT_RQ, CONTEXT_AC, "50 00 0008", MAXIMUM)) == rq(PLAIN)


def test_uids_and_titles_lose_their_padding() -> None:
    padded = (
        "20 00 0030 01 000000" + item("30", text("1.2.840.10008.1.1") + "00") + item("40", text("1.2.840.10008.1.2 "))
    )
    assert decode(associate("01", APPLICATION, padded, "50 00 0008", MAXIMUM)) == rq(PLAIN)


def test_refused_context_may_have_no_transfer_syntax() -> None:
    pdu = decode(associate("02", APPLICATION, CONTEXT_AC, "21 00 0004 03 00 04 00", "50 00 0008", MAXIMUM))
    assert isinstance(pdu, AssociateAC)
    assert pdu.contexts == (ANSWERED, AnsweredContext(3, 4, ""))


def test_reserved_bytes_are_not_tested() -> None:
    assert decode(bytes.fromhex("05 ff 00000004 deadbeef")) == ReleaseRQ()
    assert decode(bytes.fromhex("07 ff 00000004 dead 00 00")) == Abort(0, 0)
    assert decode(bytes.fromhex("03 ff 00000004 de 01 01 01")) == AssociateRJ(1, 1, 1)


def test_ae_title_is_cut_at_sixteen_characters_and_padded_with_blanks() -> None:
    data = AssociateRQ("A" * 20, "ÄÖ", (PROPOSED,), PLAIN).encode()
    assert data[10:42] == b"A" * 16 + b"\xc4\xd6" + b" " * 14


@pytest.mark.parametrize("secret", ["primary", "secondary"])
def test_passcode_is_hidden_in_the_representation_that_logs_print(secret: str) -> None:
    assert secret not in repr(UserIdentity(2, b"primary", b"secondary"))


def test_rejection_and_abort_describe_themselves_in_words() -> None:
    assert AssociateRJ(1, 1, 3).describe() == (
        "rejected permanently by the service user: calling AE title not recognized"
    )
    assert AssociateRJ(9, 8, 7).describe() == "result 9 by the source 8: reason 7"
    assert Abort(0, 0).describe() == "by the peer's application"
    assert Abort(2, 2).describe() == "by the peer's service provider: unexpected PDU"
    assert Abort(2, 77).describe() == "by the peer's service provider: reason 77"


# -- what is refused -------------------------------------------------------------------------------------------------

WHOLE = associate("01", APPLICATION, CONTEXT_RQ, "50 00 0008", MAXIMUM)[6:]
EVEN = CONTEXT_RQ.replace("20 00 002e 01", "20 00 002e 02")

BROKEN: dict[str, tuple[int, bytes, str]] = {
    "empty A-ASSOCIATE-RQ": (1, b"", "protocol version"),
    "no room for the titles": (1, WHOLE[:30], "calling AE title"),
    "item header cut": (1, WHOLE[:70], "item 10H|length of item"),
    "item longer than the PDU": (1, WHOLE[:-1], "item 50H"),
    "context item longer than the PDU": (1, bytes.fromhex("00010000" + TITLES + "20 00 ffff 01 000000"), "item 20H"),
    "sub-item longer than its item": (1, associate("01", CONTEXT_RQ, item("50", "51 00 0005 00004000"))[6:], "51H"),
    "maximum length of two bytes": (
        1,
        associate("01", CONTEXT_RQ, item("50", "51 00 0002 4000"))[6:],
        "maximum length",
    ),
    "role selection without roles": (1, associate("01", CONTEXT_RQ, item("50", "54 00 0003 0001 31"))[6:], "SCU role"),
    "UID longer than its sub-item": (1, associate("01", CONTEXT_RQ, item("50", "56 00 0003 ffff 31"))[6:], "SOP class"),
    "related class longer than the list": (
        1,
        associate("01", CONTEXT_RQ, item("50", "57 00 0009 0000 0000 0003 0004 31"))[6:],
        "related general SOP class",
    ),
    "user identity cut": (1, associate("01", CONTEXT_RQ, item("50", "58 00 0005 02 00 0009 31"))[6:], "primary field"),
    "no presentation context": (1, associate("01", APPLICATION, "50 00 0008", MAXIMUM)[6:], "no presentation context"),
    "the same context ID twice": (1, associate("01", APPLICATION, CONTEXT_RQ, CONTEXT_RQ)[6:], "more than once"),
    "context without abstract syntax": (1, associate("01", "20 00 0004 01 000000")[6:], "not 0 and 0"),
    "context without transfer syntax": (
        1,
        associate("01", item("20", "01000000" + item("30", text("1.2"))))[6:],
        "not 1 and 0",
    ),
    "context with two abstract syntaxes": (
        1,
        associate("01", item("20", "01000000" + item("30", "31") * 2 + item("40", "31")))[6:],
        "not 2 and 1",
    ),
    "context answered twice": (2, associate("02", CONTEXT_AC, CONTEXT_AC)[6:], "more than once"),
    "answered context of three bytes": (2, associate("02", "21 00 0003 01 00 00")[6:], "reserved byte"),
    "A-ASSOCIATE-RJ of three bytes": (3, b"\0\1\1", "reason"),
    "P-DATA-TF without a PDV": (4, b"", "without a PDV"),
    "PDV longer than its PDU": (4, bytes.fromhex("00000006 01 03 aabbcc"), "PDV needs 4 bytes, 3 are left"),
    "PDV length 0": (4, bytes.fromhex("00000000"), "PDV length 0"),
    "PDV length 1": (4, bytes.fromhex("00000001 01"), "PDV length 1"),
    "PDV length 80000010": (4, bytes.fromhex("80000010 01 03"), "PDV needs"),
    "PDV length FFFFFFFF": (4, bytes.fromhex("ffffffff 01 03"), "PDV needs"),
    "PDV header cut": (4, bytes.fromhex("0000 0003"), "message control header|context ID"),
    "bytes behind the last PDV": (4, bytes.fromhex("00000003 01 03 aa 0000"), "PDV length"),
}


@pytest.mark.parametrize(("kind", "body", "message"), BROKEN.values(), ids=BROKEN)
def test_malformed_pdu_is_refused_with_the_name_of_its_field(kind: int, body: bytes, message: str) -> None:
    with pytest.raises(ProtocolError, match=message) as raised:
        decode_pdu(kind, body)
    assert raised.value.abort_reason is INVALID


@pytest.mark.parametrize("context_id", ["00", "02"])
def test_even_context_id_is_decoded(context_id: str) -> None:
    decoded = decode_pdu(1, associate("01", APPLICATION, EVEN.replace("2e 02", f"2e {context_id}"))[6:])
    assert isinstance(decoded, AssociateRQ)
    assert [context.context_id for context in decoded.contexts] == [int(context_id)]


@pytest.mark.parametrize("size", [0, 3, 5])
def test_pdu_that_carries_nothing_is_decoded_at_any_length(size: int) -> None:
    assert decode_pdu(5, bytes(size)) == ReleaseRQ()
    assert decode_pdu(6, bytes(size)) == ReleaseRP()
    assert decode_pdu(7, bytes(size)) == Abort(0, 0)


@pytest.mark.parametrize("kind", [0x00, 0x08, 0xFF])
def test_unknown_pdu_is_refused_as_unrecognized(kind: int) -> None:
    with pytest.raises(ProtocolError, match=f"{kind:02X}H") as raised:
        decode_pdu(kind, b"")
    assert raised.value.abort_reason is AbortReason.UNRECOGNIZED_PDU


@pytest.mark.parametrize("name", ["A-ASSOCIATE-RQ", "A-ASSOCIATE-AC", "A-ASSOCIATE-RJ", "P-DATA-TF"])
def test_truncated_pdu_is_never_decoded(name: str) -> None:
    pdu, data = PDUS[name]
    for end in range(6, len(data)):
        try:
            assert decode_pdu(data[0], data[6:end]) != pdu
        except ProtocolError:
            continue


# -- properties ------------------------------------------------------------------------------------------------------

uids = st.text("0123456789.", min_size=1, max_size=64)
titles = st.text("ABCXYZ_-0189", max_size=16)
numbers = st.integers(0, 0xFFFF)
identities = st.builds(UserIdentity, st.integers(0, 255), st.binary(max_size=40), st.binary(max_size=40), st.booleans())
informations = st.builds(
    UserInformation,
    maximum_length=st.none() | st.integers(0, 0xFFFFFFFF),
    implementation_class_uid=uids | st.just(""),
    implementation_version_name=titles,
    asynchronous_operations=st.none() | st.tuples(numbers, numbers),
    role_selections=st.lists(st.builds(RoleSelection, uids, st.booleans(), st.booleans()), max_size=3).map(tuple),
    extended_negotiations=st.lists(st.builds(ExtendedNegotiation, uids, st.binary(max_size=9)), max_size=3).map(tuple),
    common_extended_negotiations=st.lists(
        st.builds(CommonExtendedNegotiation, uids, uids, st.lists(uids, max_size=3).map(tuple)), max_size=2
    ).map(tuple),
    user_identity=st.none() | identities,
    user_identity_response=st.none() | st.binary(max_size=40),
)
context_ids = st.integers(0, 127).map(lambda i: 2 * i + 1)
syntaxes = st.lists(uids, min_size=1, max_size=4).map(tuple)
proposals = st.lists(
    st.builds(ProposedContext, context_ids, uids, syntaxes), min_size=1, max_size=5, unique_by=lambda c: c.context_id
).map(tuple)
answers = st.lists(
    st.builds(AnsweredContext, context_ids, st.integers(0, 255), uids), max_size=5, unique_by=lambda c: c.context_id
).map(tuple)
byte = st.integers(0, 255)
values = st.builds(PresentationDataValue, byte, byte, st.binary(max_size=60))
pdus = st.one_of(
    st.builds(AssociateRQ, titles, titles, proposals, informations, uids, numbers),
    st.builds(AssociateAC, titles, titles, answers, informations, uids, numbers),
    st.builds(AssociateRJ, byte, byte, byte),
    st.builds(PDataTF, st.lists(values, min_size=1, max_size=4).map(tuple)),
    st.just(ReleaseRQ()),
    st.just(ReleaseRP()),
    st.builds(Abort, byte, byte),
)


@settings(deadline=None)
@given(pdus)
def test_generated_values_survive_encoding_and_decoding(pdu: PDU) -> None:
    assert decode(pdu.encode()) == pdu


@settings(deadline=None)
@given(st.lists(pdus, min_size=2, max_size=4))
def test_repeated_pdu_is_what_it_was(several: list[PDU]) -> None:
    for pdu in (*several, *several):
        assert decode(pdu.encode()) == pdu


def test_association_request_with_a_password_is_not_kept() -> None:
    identity = UserIdentity(2, b"me", b"secret")
    for information, kept in ((UserInformation(1), True), (UserInformation(1, user_identity=identity), False)):
        encoded = AssociateRQ("A", "B", (ProposedContext(1, "1.2", ("1.2.840.10008.1.2",)),), information).encode()
        assert (decode(encoded) is decode(encoded)) == kept


@settings(deadline=None)
@given(byte, st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_protocol_error(kind: int, body: bytes) -> None:
    with_head = WHOLE[:68] + body
    for candidate in (body, with_head):
        try:
            decode_pdu(kind, candidate)
        except ProtocolError:
            continue


@settings(deadline=None)
@given(st.data())
def test_flipped_byte_raises_nothing_but_protocol_error(data: st.DataObject) -> None:
    encoded = bytearray(data.draw(pdus).encode())
    position = data.draw(st.integers(6, len(encoded) - 1))
    encoded[position] = data.draw(byte)
    try:
        decode_pdu(encoded[0], encoded[6:])
    except ProtocolError:
        return


def test_pdu_with_too_many_items_is_refused_with_the_limit() -> None:
    content = b"\1\0\0\0" + b"\x30\0\0\x051.2.3" + b"\x40\0\0\0" * 16_000
    context = struct.pack(">BxH", 0x20, len(content)) + content
    body = struct.pack(">H", 1) + bytes(66) + context
    assert isinstance(decode_pdu(1, body), AssociateRQ)
    with pytest.raises(ProtocolError, match=f"more than {MAXIMUM_ITEMS} items"):
        decode_pdu(1, body + context.replace(b"\1", b"\3", 1))
