"""The association without a socket: every state and its visible effects, every split of the bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire import COMMAND, LAST, Plain, acceptance, feed, machines, p_data, request

from movescu.errors import AbortReason, ProtocolError
from movescu.ul.association import LONGEST_P_DATA, MAXIMUM_ASSOCIATE_LENGTH, PART, Association
from movescu.ul.indications import Fragment, Indication, ProviderAbortIndication
from movescu.ul.pdu import PDU, Abort, AssociateRJ, ReleaseRP, ReleaseRQ
from movescu.ul.state_table import State

NOW = 100.0
ARTIM = 30.0
INVALID = AbortReason.INVALID_PDU_PARAMETER_VALUE
UNEXPECTED = AbortReason.UNEXPECTED_PDU


def aborted(reason: AbortReason) -> Plain:
    return "ProviderAbortIndication", None, reason


def requestor(state: State) -> Association:
    """Give a machine that asked for the association, in one of its states."""
    machine = Association()
    machine.associate_request(request())
    if state is State.STA4:
        return machine
    machine.transport_connected(NOW)
    if state is State.STA5:
        machine.data_to_send()
        return machine
    machine, _ = machines()
    if state is not State.STA6:
        machine.release_request()
    if state in (State.STA9, State.STA11):
        feed(machine, ReleaseRQ().encode())
    if state is State.STA11:
        machine.release_response(NOW)
    machine.data_to_send()
    assert machine.state is state
    return machine


def acceptor(state: State) -> Association:
    """Give a machine that was asked for the association, in one of its states."""
    machine = Association()
    machine.transport_connected(NOW)
    if state is State.STA2:
        return machine
    if state is State.STA3:
        feed(machine, request().encode())
        return machine
    _, machine = machines()
    if state is State.STA8:
        feed(machine, ReleaseRQ().encode())
    if state in (State.STA10, State.STA12):
        machine.release_request()
        feed(machine, ReleaseRQ().encode())
    if state is State.STA12:
        feed(machine, ReleaseRP().encode())
    if state is State.STA13:
        machine.abort_request(NOW)
    machine.data_to_send()
    assert machine.state is state
    return machine


def machine_in(state: State) -> Association:
    by_acceptor = (State.STA2, State.STA3, State.STA8, State.STA10, State.STA12, State.STA13)
    return acceptor(state) if state in by_acceptor else requestor(state)


# -- two machines back to back ---------------------------------------------------------------------------------------


def test_association_is_established_carries_data_both_ways_and_is_released() -> None:
    one, two = Association(), Association()
    one.associate_request(request())
    assert (one.state, one.data_to_send()) == (State.STA4, b"")
    one.transport_connected(NOW)
    two.transport_connected(NOW)
    assert (two.state, two.artim_deadline) == (State.STA2, NOW + ARTIM)
    assert feed(two, one.data_to_send()) == [("AssociateIndication", request())]
    assert (two.state, two.artim_deadline) == (State.STA3, None)
    two.associate_accept(acceptance(maximum_length=4096))
    assert feed(one, two.data_to_send()) == [("AssociateConfirmation", acceptance(maximum_length=4096))]
    assert (one.state, two.state) == (State.STA6, State.STA6)
    assert one.contexts == two.contexts == frozenset({1})
    assert (one.peer_maximum_length, two.peer_maximum_length) == (4096, 16384)
    one.p_data_request([p_data((1, COMMAND | LAST, b"question")), p_data((1, LAST, b"more"))])
    assert feed(two, one.data_to_send()) == [("Fragment", 1, 3, b"question"), ("Fragment", 1, 2, b"more")]
    two.p_data_request([p_data((1, COMMAND | LAST, b"answer"))])
    assert feed(one, two.data_to_send()) == [("Fragment", 1, 3, b"answer")]
    one.release_request()
    assert feed(two, one.data_to_send()) == [("ReleaseIndication", False)]
    two.p_data_request([p_data((1, LAST, b"last words"))])  # AR-7
    assert feed(one, two.data_to_send()) == [("Fragment", 1, 2, b"last words")]  # AR-6
    two.release_response(NOW)
    assert (two.state, two.artim_deadline, two.closed) == (State.STA13, NOW + ARTIM, False)
    assert feed(one, two.data_to_send()) == [("ReleaseConfirmation",)]
    assert (one.state, one.closed) == (State.STA1, True)
    assert two.transport_closed(NOW) == []
    assert (two.state, two.artim_deadline, two.closed) == (State.STA1, None, True)


def test_release_collision_ends_on_both_sides() -> None:
    one, two = machines()
    one.release_request()
    two.release_request()
    from_one, from_two = one.data_to_send(), two.data_to_send()
    assert feed(one, from_two) == feed(two, from_one) == [("ReleaseIndication", True)]
    assert (one.state, two.state) == (State.STA9, State.STA10)
    one.release_response(NOW)
    assert feed(two, one.data_to_send()) == [("ReleaseConfirmation",)]
    assert (one.state, two.state) == (State.STA11, State.STA12)
    two.release_response(NOW)
    assert feed(one, two.data_to_send()) == [("ReleaseConfirmation",)]
    assert (one.state, one.closed, two.state) == (State.STA1, True, State.STA13)


def test_rejection_reaches_the_requestor_and_closes() -> None:
    one, two = requestor(State.STA5), acceptor(State.STA3)
    two.associate_reject(AssociateRJ(2, 3, 2), NOW)
    assert (two.state, two.artim_deadline) == (State.STA13, NOW + ARTIM)
    assert feed(one, two.data_to_send()) == [("AssociateConfirmation", AssociateRJ(2, 3, 2))]
    assert (one.state, one.closed) == (State.STA1, True)


def test_another_protocol_version_is_rejected_by_the_provider() -> None:
    machine = acceptor(State.STA2)
    data = bytearray(request().encode())
    data[6:8] = b"\0\2"
    assert feed(machine, bytes(data)) == []
    assert machine.data_to_send() == AssociateRJ(1, 2, 2).encode()
    assert (machine.state, machine.artim_deadline) == (State.STA13, ARTIM)


def test_request_with_further_protocol_versions_is_accepted() -> None:
    machine = acceptor(State.STA2)
    data = bytearray(request().encode())
    data[6:8] = b"\0\3"
    assert [name for name, *_ in feed(machine, bytes(data))] == ["AssociateIndication"]


def test_abort_reaches_the_other_side_and_closes() -> None:
    one, two = machines()
    one.abort_request(NOW)
    assert (one.state, one.artim_deadline) == (State.STA13, NOW + ARTIM)
    assert feed(two, one.data_to_send()) == [("AbortIndication", Abort(0, 0))]
    assert (two.state, two.closed) == (State.STA1, True)


def test_abort_for_a_protocol_error_has_its_reason() -> None:
    one, two = machines()
    one.abort_request(NOW, ProtocolError("no such thing", abort_reason=AbortReason.UNEXPECTED_PDU_PARAMETER))
    assert feed(two, one.data_to_send()) == [("ProviderAbortIndication", Abort(2, 5), None)]


# -- each state, by what can be seen ---------------------------------------------------------------------------------

OPEN = [State(n) for n in range(2, 13) if n != 4]
ABORTED_BY_PROVIDER = [state for state in OPEN if state is not State.STA2]


@pytest.mark.parametrize("state", ABORTED_BY_PROVIDER)
def test_malformed_pdu_aborts_with_its_reason_and_the_rest_is_not_decoded(state: State) -> None:
    machine = machine_in(state)
    assert feed(machine, b"\x09\0\0\0\0\0" + Abort().encode()) == [aborted(AbortReason.UNRECOGNIZED_PDU)]
    assert machine.data_to_send() == Abort(2, 1).encode()
    assert (machine.state, machine.closed, machine.artim_deadline) == (State.STA13, False, ARTIM)
    assert feed(machine, request().encode()) == []


UNEXPECTED_PDUS: dict[State, PDU] = {
    State.STA3: request(),
    State.STA5: ReleaseRQ(),
    State.STA6: ReleaseRP(),
    State.STA7: request(),
    State.STA8: p_data((1, 2, b"late")),
    State.STA9: ReleaseRP(),
    State.STA10: p_data((1, 2, b"late")),
    State.STA11: ReleaseRQ(),
    State.STA12: ReleaseRP(),
}


@pytest.mark.parametrize("state", UNEXPECTED_PDUS)
def test_pdu_out_of_order_aborts_the_association(state: State) -> None:
    machine = machine_in(state)
    assert feed(machine, UNEXPECTED_PDUS[state].encode()) == [aborted(UNEXPECTED)]
    assert machine.data_to_send() == Abort(2, 2).encode()
    assert (machine.state, machine.artim_deadline) == (State.STA13, ARTIM)


@pytest.mark.parametrize("pdu", [acceptance(), AssociateRJ(1, 1, 1), p_data((1, 3, b"x")), ReleaseRQ(), ReleaseRP()])
def test_first_pdu_other_than_a_request_is_aborted(pdu: ReleaseRQ) -> None:
    machine = acceptor(State.STA2)
    assert feed(machine, pdu.encode()) == []
    assert machine.data_to_send() == Abort(0, 0).encode()
    assert (machine.state, machine.artim_deadline) == (State.STA13, ARTIM)


@pytest.mark.parametrize("state", [State.STA2, State.STA13])
@pytest.mark.parametrize("event", ["abort", "artim"])
def test_abort_or_artim_before_the_association_just_closes(state: State, event: str) -> None:
    machine = machine_in(state)
    indications = machine.artim_expired(NOW) if event == "artim" else feed(machine, Abort().encode())
    assert indications == []
    assert (machine.state, machine.closed, machine.artim_deadline) == (State.STA1, True, None)
    assert machine.data_to_send() == b""


@pytest.mark.parametrize("state", ABORTED_BY_PROVIDER)
def test_abort_of_the_peer_is_indicated_once_and_closes(state: State) -> None:
    machine = machine_in(state)
    assert feed(machine, Abort(0, 0).encode() + Abort(2, 0).encode()) == [("AbortIndication", Abort(0, 0))]
    assert (machine.state, machine.closed, machine.data_to_send()) == (State.STA1, True, b"")


@pytest.mark.parametrize("state", [*ABORTED_BY_PROVIDER, State.STA4])
def test_lost_connection_is_indicated(state: State) -> None:
    machine = machine_in(state)
    (indication,) = machine.transport_closed(NOW)
    assert indication == ProviderAbortIndication()
    assert (machine.state, machine.closed) == (State.STA1, True)


@pytest.mark.parametrize("state", [state for state in OPEN if state is not State.STA2])
def test_abort_request_is_sent_from_every_state(state: State) -> None:
    machine = machine_in(state)
    machine.abort_request(NOW)
    assert machine.data_to_send() == Abort(0, 0).encode()
    assert (machine.state, machine.artim_deadline) == (State.STA13, NOW + ARTIM)


def test_abort_while_connecting_only_closes() -> None:
    machine = requestor(State.STA4)
    machine.abort_request(NOW)
    assert (machine.state, machine.closed, machine.data_to_send()) == (State.STA1, True, b"")


def test_bytes_after_the_end_are_dropped_until_the_peer_closes() -> None:
    machine = acceptor(State.STA13)
    assert feed(machine, p_data((1, 2, b"late")).encode() + ReleaseRQ().encode() + ReleaseRP().encode()) == []
    assert (machine.state, machine.closed, machine.data_to_send()) == (State.STA13, False, b"")
    assert feed(machine, request().encode()) == []
    assert machine.data_to_send() == Abort(2, 2).encode()  # AA-7


def test_close_before_a_request_indicates_nothing() -> None:
    machine = acceptor(State.STA2)
    assert machine.transport_closed(NOW) == []
    assert (machine.state, machine.artim_deadline, machine.closed) == (State.STA1, None, True)


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        (p_data((1, 2, b"late")), [aborted(UNEXPECTED)]),
        (Abort(0, 0), [("AbortIndication", Abort(0, 0))]),
        (ReleaseRQ(), [aborted(UNEXPECTED)]),
    ],
    ids=["data", "abort", "release"],
)
def test_pdu_right_after_a_release_request_is_handled_after_it(behind: Abort, expected: list[Plain]) -> None:
    _, machine = machines()
    data = p_data((1, 3, b"last")).encode() + ReleaseRQ().encode() + behind.encode()
    assert feed(machine, data) == [("Fragment", 1, 3, b"last"), ("ReleaseIndication", False), *expected]


def test_data_before_an_abort_in_the_same_read_is_kept_and_data_after_it_is_dropped() -> None:
    _, machine = machines()
    data = p_data((1, 3, b"before")).encode() + Abort(2, 0).encode() + p_data((1, 3, b"behind")).encode()
    assert feed(machine, data) == [("Fragment", 1, 3, b"before"), ("ProviderAbortIndication", Abort(2, 0), None)]


# -- every split -----------------------------------------------------------------------------------------------------

CONVERSATION = b"".join(
    (
        p_data((1, 1, b"command, ")).encode(),
        p_data((1, 3, b"whole")).encode(),
        p_data((1, 0, b"data"), (1, 0, b""), (1, 2, b"end")).encode(),  # the table's way between two of the fast one
        p_data((1, 2, b"")).encode(),
        p_data((1, 0xFE, b"reserved bits are not looked at")).encode(),
        ReleaseRQ().encode(),
    )
)
EXPECTED: list[Plain] = [
    ("Fragment", 1, 1, b"command, "),
    ("Fragment", 1, 3, b"whole"),
    ("Fragment", 1, 0, b"data"),
    ("Fragment", 1, 0, b""),
    ("Fragment", 1, 2, b"end"),
    ("Fragment", 1, 2, b""),
    ("Fragment", 1, 2, b"reserved bits are not looked at"),
    ("ReleaseIndication", False),
]


def test_conversation_gives_equal_events_however_it_is_split() -> None:
    for split in range(len(CONVERSATION) + 1):
        _, machine = machines()
        assert feed(machine, CONVERSATION[:split]) + feed(machine, CONVERSATION[split:]) == EXPECTED, split


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 13])
def test_conversation_in_small_pieces_gives_equal_events(size: int) -> None:
    _, machine = machines()
    assert feed(machine, CONVERSATION, size) == EXPECTED


@pytest.mark.parametrize("size", [1, 2, 100, 1 << 20])
def test_request_in_pieces_is_one_request(size: int) -> None:
    asked = request(contexts=128)
    assert feed(acceptor(State.STA2), asked.encode(), size) == [("AssociateIndication", asked)]


def messages(events: list[Plain]) -> list[tuple[int, bytes]]:
    """What the fragments amount to: kind and bytes of each command and data set."""
    whole, data = [], b""
    for name, _, control, part in events:
        assert name == "Fragment"
        assert isinstance(control, int)
        assert isinstance(part, bytes)
        data += part
        if control & 2:
            whole.append((control & 1, data))
            data = b""
    assert not data
    return whole


class TableOnly(Association):
    """A machine without the fast path."""

    def _take_p_data(self) -> None:
        pass


def established(kind: type[Association], maximum_length: int = 64) -> Association:
    machine = kind(maximum_length=maximum_length)
    machine.transport_connected(0.0)
    feed(machine, request(contexts=2).encode())
    machine.associate_accept(acceptance(request(contexts=2)))
    machine.data_to_send()
    return machine


pdv = st.tuples(st.sampled_from([1, 1, 1, 3, 5, 0]), st.integers(0, 255), st.binary(max_size=30))
pieces = st.one_of(
    st.lists(pdv, min_size=1, max_size=3).map(lambda values: p_data(*values).encode()),
    st.sampled_from([ReleaseRQ().encode(), Abort().encode(), ReleaseRP().encode(), bytes.fromhex("040000000000")]),
    st.binary(max_size=12),
)
streams = st.lists(pieces, max_size=8).map(b"".join)


@settings(deadline=None)
@given(streams, st.integers(1, 80))
def test_fast_path_gives_the_same_indications_as_the_table(stream: bytes, size: int) -> None:
    fast, slow = established(Association), established(TableOnly)
    assert feed(fast, stream, size) == feed(slow, stream)
    assert (fast.state, fast.closed, fast.data_to_send()) == (slow.state, slow.closed, slow.data_to_send())


@settings(deadline=None)
@given(st.sampled_from(OPEN), streams | st.binary(max_size=60), st.integers(1, 80))
def test_random_bytes_in_any_state_raise_nothing_and_reach_the_end(state: State, stream: bytes, size: int) -> None:
    machine = machine_in(state)
    feed(machine, stream, size)
    machine.transport_closed(NOW)
    assert machine.closed
    assert machine.state is State.STA1


# -- lies about lengths ----------------------------------------------------------------------------------------------


def header(kind: int, length: int) -> bytes:
    return struct.pack(">BxI", kind, length)


@pytest.mark.parametrize("state", ABORTED_BY_PROVIDER)
def test_pdu_of_four_gigabytes_is_refused_at_the_header(state: State) -> None:
    for kind in range(1, 8):
        machine = machine_in(state)
        assert feed(machine, header(kind, 0xFFFFFFFF)) == [aborted(INVALID)], kind
        assert machine.data_to_send() == Abort(2, 6).encode(), kind


@pytest.mark.parametrize(("kind", "length"), [(3, 0), (3, 3), (3, 5), (5, 1025), (6, 1025), (7, 1025)])
def test_pdu_of_fixed_length_is_refused_without_its_fields_or_with_too_many(kind: int, length: int) -> None:
    _, machine = machines()
    assert feed(machine, header(kind, length)) == [aborted(INVALID)]


@pytest.mark.parametrize("length", [0, 3, 5, 1024])
@pytest.mark.parametrize(("kind", "indication"), [(5, "ReleaseIndication"), (7, "AbortIndication")])
def test_pdu_that_carries_nothing_may_have_another_length(kind: int, indication: str, length: int) -> None:
    _, machine = machines()
    assert [name for name, *_ in feed(machine, header(kind, length) + bytes(length))] == [indication]
    assert len(machine.oddities) == 1


def test_release_response_may_have_another_length() -> None:
    machine, _ = machines()
    machine.release_request()
    assert feed(machine, header(6, 3) + bytes(3)) == [("ReleaseConfirmation",)]
    assert machine.oddities


@pytest.mark.row("97")
def test_empty_fragments_cost_no_more_than_their_bytes() -> None:
    stream = p_data((1, 0, b"")).encode() * 10_000 + p_data(*((1, 0, b"") for _ in range(10_000))).encode()
    machine = established(Association, 131_072)
    events: list[Indication] = []
    while stream:
        buffer = machine.get_buffer()
        size = min(len(buffer), len(stream))
        buffer[:size] = stream[:size]
        stream = stream[size:]
        events += machine.buffer_updated(size, 0.0)
    assert len(events) == 20_000
    assert len({id(event) for event in events}) == 1


def test_p_data_longer_than_announced_is_taken_up_to_128_kilobytes() -> None:
    _, machine = machines(maximum_length=4096)
    assert feed(machine, p_data((1, 2, bytes(4090))).encode()) == [("Fragment", 1, 2, bytes(4090))]
    assert not machine.oddities
    for size in (4091, LONGEST_P_DATA - 6):
        data = p_data((1, 2, bytes(size))).encode()
        assert messages(feed(machine, data * 3, 5000)) == [(0, bytes(size))] * 3
    (said,) = machine.oddities
    assert "4096 bytes" in said
    assert feed(machine, header(4, LONGEST_P_DATA + 1)) == [aborted(INVALID)]


def test_p_data_before_the_association_is_judged_by_what_will_be_announced() -> None:
    machine = acceptor(State.STA2)
    feed(machine, header(4, 16385))
    assert machine.state is State.STA13
    assert not machine.oddities


def test_data_on_a_context_that_was_not_accepted_is_refused() -> None:
    _, machine = machines()
    assert feed(machine, p_data((3, 3, b"x")).encode()) == [aborted(INVALID)]


def test_data_is_refused_if_no_context_was_accepted() -> None:
    machine = acceptor(State.STA3)
    reply = acceptance()
    machine.associate_accept(type(reply)("A", "B", (), reply.user_information))
    assert feed(machine, p_data((1, 3, b"x")).encode()) == [aborted(INVALID)]


def test_flood_without_an_association_is_not_held() -> None:
    machine = acceptor(State.STA2)
    block = b"\x04\0\x1d\xcd\x65\0" + bytes(1 << 16)  # a P-DATA-TF of 500 MB, as it says
    for _ in range(100):
        feed(machine, block)
    assert machine.state is State.STA13
    assert len(machine._buffer) <= 4096


def test_flood_of_small_pdus_after_the_end_is_not_held() -> None:
    machine = acceptor(State.STA13)
    feed(machine, p_data((1, 2, bytes(100))).encode() * 20_000)
    assert len(machine._buffer) <= 128 * 1024


def test_long_request_takes_memory_only_as_its_bytes_arrive() -> None:
    machine = acceptor(State.STA2)
    feed(machine, header(1, MAXIMUM_ASSOCIATE_LENGTH))
    assert len(machine._buffer) <= 4096
    feed(machine, bytes(10_000))
    assert len(machine._buffer) <= 32_768


def test_request_with_a_64_kilobyte_application_context_is_read() -> None:
    asked = type(request())("A", "B", request().contexts, request().user_information, "1" * 65_535)
    assert feed(acceptor(State.STA2), asked.encode(), 1000) == [("AssociateIndication", asked)]


# -- the receive buffer ----------------------------------------------------------------------------------------------


def test_borrowed_views_are_valid_until_the_next_get_buffer() -> None:
    _, machine = machines()
    payloads = [bytes([n]) * 1000 for n in range(40)]
    stream = b"".join(p_data((1, 0, payload)).encode() for payload in payloads)
    seen: list[bytes] = []
    position = 0
    while position < len(stream):
        free = machine.get_buffer()
        count = min(len(free), 7777, len(stream) - position)
        free[:count] = stream[position : position + count]
        position += count
        indications = machine.buffer_updated(count, 0.0)
        fragments = [i for i in indications if isinstance(i, Fragment)]
        assert all(fragment.data.obj is machine._buffer for fragment in fragments)  # borrowed, not copied
        seen += [bytes(fragment.data) for fragment in fragments]
    assert seen == payloads


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5000), max_size=30), st.integers(1, 20_000))
def test_data_is_received_as_it_was_sent(sizes: list[int], chunk: int) -> None:
    _, machine = machines()
    pattern = bytes(range(256)) * 20
    expected = [("Fragment", 1, 0, pattern[:size]) for size in sizes]
    assert feed(machine, b"".join(p_data((1, 0, pattern[:size])).encode() for size in sizes), chunk) == expected


@pytest.mark.parametrize("maximum_length", [16, 4096, 16384, 131072])
def test_pdu_of_the_longest_length_always_fits_the_buffer(maximum_length: int) -> None:
    _, machine = machines(maximum_length)
    data = p_data((1, 2, bytes(maximum_length - 6))).encode()
    whole = messages(feed(machine, data * 5, maximum_length // 2 + 1))
    assert [len(data) for _, data in whole] == [maximum_length - 6] * 5


# -- fragments that are handed out in part ---------------------------------------------------------------------------

LONG = bytes(range(256)) * 300
LONG_STREAM = b"".join(
    p_data(value).encode() for value in ((1, 3, b"command"), (1, 0, LONG), (1, 2, LONG[::-1]), (1, 3, b"command"))
)


@pytest.mark.parametrize("size", [1, 1000, PART - 1, PART, PART + 13, len(LONG), len(LONG) + 20, 100_000, 200_000])
def test_long_fragment_is_returned_in_parts_that_make_up_the_whole(size: int) -> None:
    machine = established(Association, 100_000)
    events = feed(machine, LONG_STREAM, size)
    assert messages(events) == [(1, b"command"), (0, LONG + LONG[::-1]), (1, b"command")]
    assert machine.state is State.STA6
    assert not machine.unfinished
    if PART <= size < len(LONG):
        assert len(events) > 4


def test_fragment_in_part_is_unfinished_until_its_end_arrives() -> None:
    machine = established(Association, 100_000)
    feed(machine, LONG_STREAM[: len(LONG)])
    assert machine.unfinished
    assert machine.transport_closed(0.0)[-1].__class__.__name__ == "ProviderAbortIndication"


def test_release_request_within_a_fragment_still_gets_its_end() -> None:
    machine = established(Association, 100_000)
    first = feed(machine, LONG_STREAM[:50_000])
    machine.release_request()
    rest = feed(machine, LONG_STREAM[50_000:] + ReleaseRP().encode())
    assert messages(first + rest[:-1]) == [(1, b"command"), (0, LONG + LONG[::-1]), (1, b"command")]
    assert rest[-1][0] == "ReleaseConfirmation"


def test_fragment_is_dropped_after_an_abort_request() -> None:
    machine = established(Association, 100_000)
    feed(machine, LONG_STREAM[:50_000])
    machine.abort_request(0.0)
    assert feed(machine, LONG_STREAM[50_000:]) == []
    assert machine.state is State.STA13


def test_receive_buffer_is_never_empty() -> None:
    machine = acceptor(State.STA2)
    machine.get_buffer()[:6] = header(1, MAXIMUM_ASSOCIATE_LENGTH)
    machine.buffer_updated(6, 0.0)
    for _ in range(100):
        free = machine.get_buffer()
        assert len(free) > 0
        machine.buffer_updated(len(free), 0.0)
        if machine.state is not State.STA2:
            break
    assert machine.state is State.STA13


def test_pdus_that_wait_are_sent_together() -> None:
    one, _ = machines()
    one.p_data_request([p_data((1, 3, b"a")), p_data((1, 2, b"b"))])
    assert one.data_to_send() == p_data((1, 3, b"a")).encode() + p_data((1, 2, b"b")).encode()
    assert one.data_to_send() == b""
