"""Real sockets: every failure of a connection has an error of its own, and none waits forever."""

from __future__ import annotations

import os
import socket
import struct
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from wire import WAIT, WatchedSocket, black_hole, loopback, read_all, read_exactly, soon

from movescu.errors import ConnectError, ConnectionLostError, ListenError, PrivilegesError, TimedOutError
from movescu.transport import network
from movescu.transport.deadlines import Deadline, Silence
from movescu.transport.sockets import Transport, connect, listen, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
NOBODY = 65534


@contextmanager
def transports() -> Iterator[tuple[Transport, socket.socket]]:
    with loopback() as (near, far):
        yield Transport(near, "the peer"), far


@contextmanager
def port_that_refuses() -> Iterator[int]:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        yield sock.getsockname()[1]


# -- connecting ------------------------------------------------------------------------------------------------------


def test_refused_connection_is_reported_with_host_port_and_hint() -> None:
    with port_that_refuses() as port, pytest.raises(ConnectError, match=f"{HOST} port {port}: Connection refused") as e:
        connect(HOST, port, WAIT)
    assert "running" in e.value.hint


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example"])
def test_unresolvable_host_name_is_an_error_without_a_traceback(host: str) -> None:
    with pytest.raises(ConnectError, match="cannot be resolved") as e:
        connect(host, 104, WAIT)
    assert "spelling" in e.value.hint


@pytest.mark.parametrize(
    ("host", "advice"),
    [
        ("ARCHIVE@host.invalid:104", "leave out the one after it"),
        ("ARCHIVE@host.invalid", "write ARCHIVE@host.invalid:104 as one word, or -aec ARCHIVE host.invalid 104"),
        ("::1", "needs -i6"),
    ],
)
def test_address_in_another_form_has_advice(host: str, advice: str) -> None:
    with pytest.raises(ConnectError, match="cannot be resolved") as e:
        connect(host, 104, WAIT, ip="4")
    assert advice in e.value.hint


def test_resolver_that_never_answers_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own limits are the system's, and may be minutes."""
    ask, over = socket.getaddrinfo, threading.Event()

    def slow(host: str, port: int, *how: int) -> object:
        if socket.AI_NUMERICHOST in how:
            return ask(host, port, *how)
        over.wait(WAIT)
        raise socket.gaierror

    monkeypatch.setattr(network, "getaddrinfo", slow)
    try:
        with pytest.raises(TimedOutError, match="connecting to archive"):
            connect("archive.example.org", 104, 0.05)
        with pytest.raises(TimedOutError, match="looking up archive"):
            resolve("archive.example.org", seconds=0.05)
        assert resolve(HOST, seconds=0.05) == (HOST,)
    finally:
        over.set()


def test_host_that_never_answers_times_out() -> None:
    with black_hole() as port, pytest.raises(TimedOutError, match=f"connecting to {HOST} port"):
        connect(HOST, port, 0.2)


def test_next_address_is_tried_if_the_first_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((HOST, 0)) as server, port_that_refuses() as closed:
        port = server.getsockname()[1]
        kind = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        found = [
            (999, *kind, ("::1", port)),  # a family that the system does not have
            (socket.AF_INET, *kind, (HOST, closed)),
            (socket.AF_INET, *kind, (HOST, port)),
        ]
        monkeypatch.setattr(network, "getaddrinfo", lambda *_: found)
        transport = connect("somewhere", port, WAIT)
        assert transport.peer == f"somewhere port {port}"
        assert transport.local_address == HOST
        transport.close()


def test_failed_connection_leaves_no_descriptor() -> None:
    with port_that_refuses() as port:
        before = len(os.listdir("/proc/self/fd"))  # a count is all that is wanted
        for _ in range(20):
            with pytest.raises(ConnectError):
                connect(HOST, port, WAIT)
        assert len(os.listdir("/proc/self/fd")) == before


# -- listening -------------------------------------------------------------------------------------------------------


def test_port_in_use_is_reported_with_a_hint() -> None:
    with listen(HOST, 0) as server:
        port = server.getsockname()[1]
        with pytest.raises(ListenError, match=f"port {port}: Address already in use") as e:
            listen(HOST, port)
    assert "--port" in e.value.hint


def test_port_just_closed_can_be_listened_on_again() -> None:
    with listen(HOST, 0) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        address = server.getsockname()
        accepted.close()  # our side closes first and stays in TIME_WAIT
        client.recv(1)
    listen(*address).close()


@pytest.mark.parametrize(("address", "port"), [(HOST, 65_536), ("192.0.2.1", 0)])
def test_invalid_port_or_address_is_an_error_without_a_traceback(address: str, port: int) -> None:
    with pytest.raises(ListenError, match=f"cannot listen on port {port}"):
        listen(address, port)


@contextmanager
def unprivileged() -> Iterator[None]:
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) == 0:
        pytest.skip("every port is everybody's here")
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_privileged_port_is_an_error_of_its_own() -> None:
    with unprivileged(), pytest.raises(PrivilegesError, match="port 1: Permission denied") as e:
        listen(HOST, 1)
    assert "1024" in e.value.hint


# -- receiving and sending -------------------------------------------------------------------------------------------


def test_reset_is_a_lost_connection() -> None:
    with transports() as (transport, far):
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        with pytest.raises(ConnectionLostError, match="the peer lost: Connection reset by peer"):
            transport.receive_into(memoryview(bytearray(10)), soon())


def test_close_is_received_as_zero_bytes() -> None:
    with transports() as (transport, far):
        far.close()
        assert transport.receive_into(memoryview(bytearray(10)), soon()) == 0


def test_silent_peer_times_out_with_the_name_of_the_wait() -> None:
    with transports() as (transport, _):
        for deadline in (Deadline(0.01, "the answer"), Silence(0.01, "the answer")):
            with pytest.raises(TimedOutError, match="timed out: the answer"):
                transport.receive_into(memoryview(bytearray(10)), deadline)


def test_peer_that_reads_nothing_times_out() -> None:
    with transports() as (transport, _), pytest.raises(TimedOutError, match="the answer"):
        transport.send(bytes(64 << 20), Silence(0.05, "the answer"))


def test_send_to_a_vanished_peer_is_a_lost_connection() -> None:
    with transports() as (transport, far):
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        with pytest.raises(ConnectionLostError, match="the peer lost"):
            transport.send(bytes(64 << 20), soon())


def test_wait_without_limit_after_a_limited_one_has_none() -> None:
    with transports() as (transport, far):
        buffer = memoryview(bytearray(10))
        with pytest.raises(TimedOutError):
            transport.receive_into(buffer, Silence(0.01, "the answer"))
        thread = threading.Timer(0.05, far.sendall, (b"late",))
        thread.start()
        assert transport.receive_into(buffer, Silence(None, "the answer")) == 4
        thread.join()


def test_data_that_the_system_sends_in_pieces_arrives_whole() -> None:
    with loopback() as (near, far):
        watched = WatchedSocket.taking_over(near)
        watched.most_per_send = 1000
        transport = Transport(watched, "the peer")
        data = bytes(range(256)) * 17
        transport.send(data, soon())
        assert read_exactly(far, len(data)) == data
        transport.close()


def test_stop_receiving_wakes_a_thread_that_receives() -> None:
    with transports() as (transport, _):
        received: list[int] = []
        thread = threading.Thread(
            target=lambda: received.append(transport.receive_into(memoryview(bytearray(9)), soon()))
        )
        thread.start()
        transport.stop_receiving()
        thread.join(WAIT)
        assert received == [0]


def test_stop_receiving_after_close_does_nothing() -> None:
    with transports() as (transport, _):
        transport.close()
        transport.stop_receiving()
        assert transport.local_address == ""


# -- latency ---------------------------------------------------------------------------------------------------------


def test_small_messages_leave_at_once() -> None:
    with transports() as (transport, _):
        assert transport._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert transport._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


ARMED = ("option", socket.IPPROTO_TCP, getattr(socket, "TCP_QUICKACK", None), 1)


@contextmanager
def watched() -> Iterator[tuple[Transport, WatchedSocket, socket.socket]]:
    """A transport whose calls of the system are noted, once its time-out is set."""
    with loopback() as (near, far):
        sock = WatchedSocket.taking_over(near)
        transport = Transport(sock, "the peer")
        far.sendall(b"12345")
        transport.receive_into(memoryview(bytearray(5)), Silence(WAIT, "it"))
        sock.calls.clear()
        yield transport, sock, far
        transport.close()


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="this system has no TCP_QUICKACK")
@pytest.mark.not_without("quick-ack", "windows")
def test_ack_is_sent_before_the_next_wait() -> None:
    """A sender with Nagle's algorithm sends the rest of a message only then; held back, each ACK costs 40 ms."""
    with watched() as (transport, sock, far):
        for _ in range(3):
            far.sendall(b"12345")
            transport.receive_into(memoryview(bytearray(10)), Silence(WAIT, "it"))
        far.sendall(b"12345")
        assert transport.readable(WAIT)
        assert sock.calls == [("receive", 5), ARMED, ("receive", 5), ARMED, ("receive", 5), ARMED]


def test_ack_carried_by_a_message_costs_no_call() -> None:
    with watched() as (transport, sock, far):
        for _ in range(3):
            far.sendall(b"12345")
            transport.receive_into(memoryview(bytearray(10)), Silence(WAIT, "it"))
            transport.send(b"123", Silence(WAIT, "it"))
        assert [call for call in sock.calls if call[0] != "send"] == [("receive", 5)] * 3


def test_alternating_limits_do_not_set_the_socket_timeout_again() -> None:
    with watched() as (transport, sock, far):
        for seconds in (None, WAIT, None, 2 * WAIT):
            far.sendall(b"12345")
            transport.receive_into(memoryview(bytearray(5)), Silence(seconds, "it"))
        assert sock.calls == [("receive", 5)] * 4


def test_short_wait_does_not_shorten_the_next() -> None:
    with transports() as (transport, far):
        with pytest.raises(TimedOutError):
            transport.receive_into(memoryview(bytearray(5)), Silence(0.01, "it"))
        timer = threading.Timer(0.05, far.sendall, (b"12345",))
        timer.start()
        assert transport.receive_into(memoryview(bytearray(5)), Silence(WAIT, "it")) == 5
        timer.join()
        transport.close()


def test_bytes_that_a_peer_sent_before_it_closed_are_received() -> None:
    with transports() as (transport, far):
        far.sendall(b"last words")
        far.close()
        buffer = memoryview(bytearray(100))
        assert transport.receive_into(buffer, soon()) == 10
        transport.close()


# -- deadlines -------------------------------------------------------------------------------------------------------


def test_deadline_holds_for_all_waits_together() -> None:
    deadline = Deadline(WAIT, "it")
    first = deadline.remaining()
    assert first is not None
    assert 0 < (deadline.remaining() or 0) < first <= WAIT
    with pytest.raises(TimedOutError, match="timed out: it"):
        Deadline(0.0, "it").remaining()
    assert Deadline(None, "it").remaining() is None


def test_silence_starts_again_with_each_wait() -> None:
    silence = Silence(0.5, "it")
    assert silence.remaining() == silence.remaining() == 0.5
    assert Silence(None, "it").remaining() is None


def test_expired_deadline_raises_without_a_receive() -> None:
    with transports() as (transport, far):
        far.sendall(b"there")
        with pytest.raises(TimedOutError):
            transport.receive_into(memoryview(bytearray(10)), Deadline(-1.0, "it"))
        with pytest.raises(TimedOutError):
            transport.send(b"here", Deadline(-1.0, "it"))
        transport.close()
        assert read_all(far) == b""


def test_unread_bytes_are_no_silence_of_the_peer() -> None:
    with transports() as (transport, far):
        assert not transport.is_unread
        far.sendall(b"there")
        assert transport.readable(WAIT)
        assert transport.is_unread
        assert transport.receive_at_hand(memoryview(bytearray(10))) == 5
        assert not transport.is_unread
        transport.close()
        assert not transport.is_unread


@pytest.mark.not_without("epoll", "poll", "windows")  # only readable sockets are received from there
def test_receiving_at_hand_does_not_wait() -> None:
    with transports() as (transport, _):
        assert transport.receive_at_hand(memoryview(bytearray(10))) == -1
