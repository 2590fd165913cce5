"""Messages over a real connection: fragments of every size, and peers that send them out of order."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from wire import COMMAND, LAST, WAIT, WatchedSocket, acceptance, loopback, p_data, raw_peer, read_pdu, request, soon

from movescu.dimse.exchange import MAXIMUM_COMMAND_LENGTH, Exchange
from movescu.dimse.messages import CEchoRQ, CEchoRSP, CMoveRSP, CStoreRQ, Message, encode_command
from movescu.errors import AbortReason, AssociationAbortedError, AssociationReleasedError, ProtocolError
from movescu.transport.connection import Connection
from movescu.transport.sockets import Transport
from movescu.ul.association import Association
from movescu.ul.pdu import Abort, PDataTF, ReleaseRP, ReleaseRQ, decode_pdu

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

ECHO = CEchoRQ("1.2.840.10008.1.1", 7)
STORE = CStoreRQ("1.2.840.10008.5.1.4.1.1.2", 8, "1.2.3.4")
DATA = bytes(range(256)) * 300


def command(message: Message, context_id: int = 1) -> PDataTF:
    return p_data((context_id, COMMAND | LAST, encode_command(message)))


@contextmanager
def peer_sends(*pdus: PDataTF | ReleaseRQ | Abort) -> Iterator[tuple[Exchange, socket.socket]]:
    """Give an Exchange whose peer has sent the PDUs, in one piece."""
    with raw_peer() as (connection, far):
        far.sendall(b"".join(pdu.encode() for pdu in pdus))
        with connection.closing_on_error():
            yield Exchange(connection), far
        connection.close()


def read(exchange: Exchange) -> bytes:
    return b"".join(map(bytes, exchange.data_set(soon())))


# -- receiving -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 7, 100, 16378])
def test_message_is_assembled_from_fragments_of_any_size(size: int) -> None:
    encoded = encode_command(STORE)
    pdus = []
    for kind, data in ((COMMAND, encoded), (0, DATA[: 3000 * size])):
        for start in range(0, len(data), size):
            last = LAST if start + size >= len(data) else 0
            pdus.append(p_data((1, kind | last, data[start : start + size])))
    with raw_peer() as (connection, far):
        sender = threading.Thread(target=far.sendall, args=(b"".join(pdu.encode() for pdu in pdus),))
        sender.start()
        exchange = Exchange(connection)
        assert exchange.receive(soon()) == (1, STORE)
        assert exchange.data_set_announced
        assert read(exchange) == DATA[: 3000 * size]
        assert not exchange.data_set_announced
        sender.join()
        connection.close()


def test_message_in_one_pdu_is_received() -> None:
    both = p_data(
        (1, COMMAND, encode_command(STORE)[:9]), (1, COMMAND | LAST, encode_command(STORE)[9:]), (1, LAST, b"ab")
    )
    with peer_sends(both, command(ECHO, 3)) as (exchange, _):
        assert exchange.receive(soon()) == (1, STORE)
        assert read(exchange) == b"ab"
        assert exchange.receive(soon()) == (3, ECHO)


def test_requests_sent_without_waiting_for_responses_are_received_in_order() -> None:
    second = CStoreRQ(STORE.affected_sop_class_uid, 9, "1.2.3.5")
    with peer_sends(command(STORE), p_data((1, LAST, b"one")), command(second), p_data((1, LAST, b"two"))) as (
        exchange,
        _,
    ):
        assert exchange.receive(soon()) == (1, STORE)
        assert read(exchange) == b"one"
        assert exchange.receive(soon()) == (1, second)
        assert read(exchange) == b"two"


def test_unread_data_set_is_dropped_before_the_next_command() -> None:
    with peer_sends(command(STORE), p_data((1, 0, b"un")), p_data((1, LAST, b"read")), command(ECHO)) as (exchange, _):
        assert exchange.receive(soon()) == (1, STORE)
        assert exchange.receive(soon()) == (1, ECHO)


def test_partly_read_data_set_is_dropped_before_the_next_command() -> None:
    with peer_sends(command(STORE), p_data((1, 0, b"begun")), p_data((1, LAST, b"rest")), command(ECHO)) as (
        exchange,
        _,
    ):
        exchange.receive(soon())
        assert bytes(next(exchange.data_set(soon()))) == b"begun"
        assert exchange.receive(soon()) == (1, ECHO)


def test_message_without_a_data_set_waits_for_none() -> None:
    with peer_sends(command(ECHO)) as (exchange, _):
        exchange.receive(soon())
        assert read(exchange) == b""


def test_release_request_ends_the_messages() -> None:
    with peer_sends(command(ECHO), ReleaseRQ()) as (exchange, far):
        assert exchange.receive(soon()) == (1, ECHO)
        assert exchange.receive(soon()) is None
        far.close()
        exchange.connection.confirm_release(soon())


# -- mixed up --------------------------------------------------------------------------------------------------------

HALF = p_data((1, COMMAND, encode_command(STORE)[:9]))
MIXED_UP = {
    "data set where a command is due": ((p_data((1, LAST, b"data")),), "where a command is due"),
    "command begun on one context, gone on with on another": (
        (HALF, p_data((3, COMMAND | LAST, encode_command(STORE)[9:]))),
        "context 3 instead of 1",
    ),
    "data set inside a command": ((HALF, p_data((1, LAST, b"data"))), "where a command is due"),
    "endless command in one fragment": (
        tuple(p_data((1, COMMAND, bytes(16378))) for _ in range(5)),
        f"more than {MAXIMUM_COMMAND_LENGTH} bytes",
    ),
    "no command at all": ((p_data((1, COMMAND | LAST, b"rubbish")),), "command set"),
    "empty command": ((p_data((1, COMMAND | LAST, b"")),), "no command field"),
}


@pytest.mark.parametrize(("pdus", "message"), MIXED_UP.values(), ids=MIXED_UP)
def test_fragment_other_than_a_command_aborts_the_association(pdus: tuple[PDataTF, ...], message: str) -> None:
    check_aborted(lambda exchange: exchange.receive(soon()), message, *pdus)


MIXED_UP_DATA = {
    "command inside the data set": (command(ECHO), "a command inside a data set"),
    "data set on another context": (p_data((3, LAST, b"data")), "context 3 instead of 1"),
}


@pytest.mark.parametrize(("pdu", "message"), MIXED_UP_DATA.values(), ids=MIXED_UP_DATA)
def test_fragment_other_than_a_data_set_aborts_the_association(pdu: PDataTF, message: str) -> None:
    def receive(exchange: Exchange) -> None:
        exchange.receive(soon())
        read(exchange)

    check_aborted(receive, message, command(STORE), p_data((1, 0, b"begun")), pdu)


def check_aborted(receive: Callable[[Exchange], object], message: str, *pdus: PDataTF) -> None:
    """Check that the error names the mistake, and that the peer gets its A-ABORT from the provider."""
    with raw_peer() as (connection, far):
        far.sendall(b"".join(pdu.encode() for pdu in pdus))
        far.shutdown(1)
        exchange = Exchange(connection)
        with pytest.raises(ProtocolError, match=message), connection.closing_on_error():
            receive(exchange)
        abort = read_pdu(far)
        assert abort[:1] == b"\x07"
        assert abort[8] == 2


def test_single_fragment_that_is_too_long_for_a_command_is_refused() -> None:
    with raw_peer(maximum_length=131072) as (connection, far):
        sender = threading.Thread(
            target=far.sendall, args=(p_data((1, COMMAND | LAST, bytes(MAXIMUM_COMMAND_LENGTH + 8))).encode(),)
        )
        sender.start()
        with pytest.raises(ProtocolError, match="more than"):
            Exchange(connection).receive(soon())
        sender.join()
        connection.close()


# -- responses -------------------------------------------------------------------------------------------------------

PENDING = CMoveRSP(1, 0xFF00, command_data_set_type=1)
FINAL = CMoveRSP(1, 0)


@pytest.mark.parametrize(
    "between",
    [(), (p_data((1, LAST, b"identifier")),), (p_data((1, 0, b"in two")), p_data((1, LAST, b"pieces")))],
    ids=["absent", "one fragment", "two fragments"],
)
def test_data_set_announced_by_a_pending_response_may_arrive_or_not(between: tuple[PDataTF, ...]) -> None:
    with peer_sends(command(PENDING), *between, command(FINAL)) as (exchange, _):
        assert exchange.receive_response(soon()) == (1, PENDING)
        exchange.forget_data_set()
        assert exchange.receive_response(soon()) == (1, FINAL)


def test_data_set_may_be_skipped_once_only() -> None:
    again = p_data((1, LAST, b"again"))
    with raw_peer() as (connection, far):
        far.sendall(command(PENDING).encode() + again.encode() + again.encode())
        exchange = Exchange(connection)
        exchange.receive_response(soon())
        exchange.forget_data_set()
        with pytest.raises(ProtocolError, match="where a command is due"):
            exchange.receive_response(soon())
        connection.close()


def test_release_in_place_of_a_response_is_confirmed_and_reported() -> None:
    with raw_peer() as (connection, far):
        far.sendall(ReleaseRQ().encode())
        far.shutdown(1)
        with pytest.raises(AssociationReleasedError, match="before its final response"):
            Exchange(connection).receive_response(soon())
        assert read_pdu(far) == ReleaseRP().encode()


def test_abort_in_the_segment_of_a_response_is_reported_as_an_abort() -> None:
    with raw_peer() as (connection, far):
        far.sendall(command(FINAL).encode() + Abort(0, 0).encode())
        exchange = Exchange(connection)
        assert exchange.receive_response(soon()) == (1, FINAL)
        with pytest.raises(AssociationAbortedError):
            exchange.send(1, ECHO, soon())
        connection.close()


# -- sending ---------------------------------------------------------------------------------------------------------


def sent(limit: int, data: bytes | None) -> list[PDataTF]:
    """Give the PDUs in which a message leaves to a peer that takes ``limit`` bytes."""
    pdus: list[PDataTF] = []

    def read_message(far: socket.socket) -> None:
        while not pdus or not (
            pdus[-1].values[-1].control & LAST and (data is None or not pdus[-1].values[0].control & 1)
        ):
            raw = read_pdu(far)
            pdu = decode_pdu(raw[0], raw[6:])
            assert isinstance(pdu, PDataTF)
            assert limit == 0 or len(raw) - 6 <= limit
            pdus.append(pdu)

    with raw_peer(peer_maximum_length=limit) as (connection, far):
        reader = threading.Thread(target=read_message, args=(far,))
        reader.start()
        Exchange(connection).send(3, STORE, soon(), data)
        reader.join()
        connection.close()
    return pdus


@pytest.mark.parametrize("limit", [8, 9, 100, 16384, 0])
@pytest.mark.parametrize("data", [None, b"", DATA[:1], DATA[:2000]], ids=["none", "empty", "one byte", "2000 bytes"])
def test_pdus_never_exceed_the_maximum_length_of_the_peer(limit: int, data: bytes | None) -> None:
    values = [value for pdu in sent(limit, data) for value in pdu.values]
    assert {value.context_id for value in values} == {3}
    parts = {kind: [v for v in values if v.control & COMMAND == kind] for kind in (COMMAND, 0)}
    assert b"".join(v.data for v in parts[COMMAND]) == encode_command(STORE)
    assert b"".join(v.data for v in parts[0]) == (data or b"")
    for fragments in parts.values():
        assert [v.control & LAST for v in fragments] == [0] * (len(fragments) - 1) + [LAST] * bool(fragments)
        assert all(len(v.data) % 2 == 0 for v in fragments[:-1])


def test_data_set_larger_than_a_batch_arrives_whole() -> None:
    data = DATA * 120
    assert len(data) > 2 * (4 << 20)
    assert b"".join(bytes(v.data) for pdu in sent(131072, data) for v in pdu.values if not v.control & 1) == data


@pytest.mark.parametrize("limit", range(1, 8))
def test_peer_with_a_maximum_length_without_room_for_data_is_aborted(limit: int) -> None:
    with raw_peer(peer_maximum_length=limit) as (connection, _):
        with pytest.raises(ProtocolError, match=f"at most {limit} bytes") as raised:
            Exchange(connection)
        assert raised.value.abort_reason is AbortReason.INVALID_PDU_PARAMETER_VALUE
        connection.close()


def test_message_with_its_data_set_is_sent_with_one_system_call() -> None:
    """Nagle's algorithm, or an ACK held back, costs 40 ms for each further one."""
    with loopback() as (near, far):
        watched = WatchedSocket.taking_over(near)
        connection = Connection(Transport(watched, "peer"), Association())
        far.sendall(request().encode())
        connection.accept(connection.receive_request(WAIT), acceptance(), soon())
        exchange = Exchange(connection)
        watched.calls.clear()
        exchange.send(1, STORE, soon(), DATA[:40_000])
        exchange.send(1, CEchoRSP(7, 0), soon())
        assert [call[0] for call in watched.calls if call[0] == "send"] == ["send", "send"]
        connection.close()
