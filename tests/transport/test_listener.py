"""The listener: senders are served whatever other peers do, and no thread or descriptor is left behind."""

from __future__ import annotations

import os
import resource
import socket
import struct
import threading
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from wire import LAST, WAIT, acceptance, p_data, read_all, read_pdu, request, soon

from movescu.errors import AssociationAbortedError, AssociationRejectedError, MovescuError, ProtocolError
from movescu.transport import listener as module
from movescu.transport.connection import Connection
from movescu.transport.listener import Listener
from movescu.transport.sockets import connect, listen
from movescu.ul.indications import Fragment, ReleaseIndication
from movescu.ul.pdu import Abort, AssociateRJ, ReleaseRQ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from movescu.transport.deadlines import Deadline
    from movescu.transport.sockets import Transport
    from movescu.ul.pdu import AssociateRQ

HOST = "127.0.0.1"
ECHO = p_data((1, LAST, b"echo"))


def serve(connection: Connection, asked: AssociateRQ) -> None:
    """Accept, send back every fragment, confirm the release."""
    connection.accept(asked, acceptance(asked), soon())
    with connection.closing_on_error():
        while isinstance(indication := connection.next(soon()), Fragment):
            connection.send([p_data((1, indication.control, bytes(indication.data)))], soon())
        if not isinstance(indication, ReleaseIndication):
            connection.fragment(indication)
        connection.confirm_release(soon())


@contextmanager
def listening(
    handler: Callable[[Connection, AssociateRQ], None] = serve, *, maximum: int = 64, artim: float = WAIT
) -> Iterator[Listener]:
    server = Listener(listen(HOST, 0), handler, maximum_associations=maximum, artim_timeout=artim)
    try:
        yield server
    finally:
        server.close()


def associate(server: Listener) -> Connection:
    return Connection.request(connect(HOST, server.port, WAIT), request(), WAIT)


def echo(connection: Connection) -> bytes:
    connection.send([ECHO], soon())
    return bytes(connection.next_fragment(soon()).data)


def wait_until(server: Listener, condition: Callable[[], bool]) -> None:
    with server.changed:
        assert server.changed.wait_for(condition, WAIT)


@pytest.fixture(autouse=True)
def _others() -> Iterator[None]:
    """Leave out the threads of archives that other tests of this process still use."""
    before = {*threading.enumerate()}
    OTHERS.update(before)
    yield
    OTHERS.difference_update(before)


OTHERS: set[threading.Thread] = set()


def threads() -> set[threading.Thread]:
    """Give the threads of listeners of the test, once those that have said goodbye are gone."""
    own = {thread for thread in {*threading.enumerate()} - OTHERS if thread.name.startswith("movescu-")}
    for thread in own:
        if thread.name == "movescu-association":
            thread.join(WAIT)
    return {thread for thread in own if thread.is_alive()}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # a count is all that is wanted


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# -- limits ----------------------------------------------------------------------------------------------------------


def test_association_beyond_the_limit_is_rejected_transiently_and_the_others_go_on() -> None:
    with listening() as server, ExitStack() as stack:
        connections = [associate(server) for _ in range(64)]
        for connection in connections:
            stack.callback(connection.close)
        with pytest.raises(AssociationRejectedError, match="local limit exceeded") as e:
            associate(server)
        assert (e.value.result, e.value.source, e.value.reason) == (2, 3, 2)
        assert [echo(connection) for connection in connections] == [b"echo"] * 64
        connections[0].release(soon())
        wait_until(server, lambda: len(server.open_associations) == 63)
        again = associate(server)
        stack.callback(again.close)
        assert echo(again) == b"echo"


@pytest.mark.row("15")
def test_associations_are_served_in_parallel() -> None:
    together = threading.Barrier(4, timeout=WAIT)

    def meet(connection: Connection, asked: AssociateRQ) -> None:
        together.wait()  # breaks, and the association with it, unless all four are served at once
        serve(connection, asked)

    with listening(meet) as server, ExitStack() as stack:
        socks = [stack.enter_context(socket.create_connection((HOST, server.port), WAIT)) for _ in range(4)]
        for sock in socks:
            sock.sendall(request().encode())
        assert [read_pdu(sock)[:1] for sock in socks] == [b"\x02"] * 4


@pytest.mark.row("13")
def test_idle_connections_do_not_keep_senders_out() -> None:
    with listening(maximum=2) as server, ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(socket.create_connection((HOST, server.port), WAIT))
        for _ in range(2):
            connection = associate(server)
            stack.callback(connection.close)
            assert echo(connection) == b"echo"


@pytest.mark.row("13")
def test_idle_connections_beyond_the_limit_are_closed_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAXIMUM_UNASSOCIATED", 3)
    with listening() as server, ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection((HOST, server.port), WAIT)) for _ in range(5)]
        assert [read_all(sock) for sock in idle[:2]] == [b"", b""]  # they were closed
        for sock in idle[2:]:
            sock.sendall(request().encode())
            assert read_pdu(sock)[:1] == b"\x02"


@pytest.mark.row("13")
def test_artim_runs_from_the_accept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done with a connection first, looking it up or securing it, takes of the same time."""
    left: list[float] = []
    receive = Connection.receive_request

    def note(connection: Connection, seconds: float) -> AssociateRQ:
        left.append(seconds)
        return receive(connection, seconds)

    monkeypatch.setattr(Connection, "receive_request", note)

    def prepare(_: Transport, deadline: Deadline) -> None:
        assert deadline.at is not None
        threading.Event().wait(0.2)

    server = Listener(listen(HOST, 0), serve, artim_timeout=0.3, prepare=prepare)
    with socket.create_connection((HOST, server.port), WAIT) as sock:
        assert read_all(sock) == b""
    server.close()
    assert left[0] <= 0.1


@pytest.mark.row("13")
def test_artim_ends_a_connection_without_a_whole_request() -> None:
    with listening(artim=0.1) as server, ExitStack() as stack:
        silent, slow = (stack.enter_context(socket.create_connection((HOST, server.port), WAIT)) for _ in range(2))
        slow.sendall(request().encode()[:50])
        assert read_all(silent) == read_all(slow) == b""


def test_peer_that_stays_after_its_rejection_is_disconnected() -> None:
    with listening(maximum=0) as server, socket.create_connection((HOST, server.port), WAIT) as sock:
        sock.sendall(request().encode())
        assert read_all(sock) == AssociateRJ(2, 3, 2).encode()


@pytest.mark.row("93")
def test_associations_of_hosts_without_trust_make_room_oldest_first() -> None:
    server = Listener(listen(HOST, 0), serve, maximum_associations=2, artim_timeout=WAIT, is_trusted=lambda _: False)
    with closing(server), ExitStack() as stack:
        oldest, other, newest = (stack.enter_context(closing(associate(server))) for _ in range(3))
        assert (echo(other), echo(newest)) == (b"echo", b"echo")
        with pytest.raises(MovescuError):
            echo(oldest)


@pytest.mark.row("96")
def test_requests_that_are_not_whole_are_bounded_in_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAXIMUM_HELD", 1 << 20)
    head = struct.pack(">BxI", 1, 1 << 20)
    with listening() as server, ExitStack() as stack:
        socks = [stack.enter_context(socket.create_connection((HOST, server.port), WAIT)) for _ in range(8)]
        for sock in socks:
            try:
                sock.sendall(head + bytes(400_000))
            except OSError:
                continue  # closed already
        wait_until(server, lambda: server.unassociated <= 2)
        assert echo(stack.enter_context(closing(associate(server)))) == b"echo"


@pytest.mark.row("98")
def test_listener_survives_whatever_fails_as_it_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [MemoryError("no memory"), ImportError("no module"), OSError(24, "Too many open files")]

    def fail_first(*arguments: object) -> Connection:
        if failures:
            raise failures.pop()
        return Connection(*arguments)  # type: ignore[arg-type] # passed on

    monkeypatch.setattr("movescu.transport.listener.Connection", fail_first)
    with listening() as server:
        for _ in range(3):
            with socket.create_connection((HOST, server.port), WAIT) as sock:
                assert read_all(sock) == b""
        connection = associate(server)
        assert echo(connection) == b"echo"
        connection.release(soon())


# -- one does not end the others -------------------------------------------------------------------------------------


def test_service_that_fails_ends_its_own_association_only(caplog: pytest.LogCaptureFixture) -> None:
    def fail_on_rubbish(connection: Connection, asked: AssociateRQ) -> None:
        connection.accept(asked, acceptance(asked), soon())
        while isinstance(indication := connection.next(soon()), Fragment):
            if bytes(indication.data) == b"rubbish":
                raise ZeroDivisionError("our mistake")
            connection.send([ECHO], soon())
        connection.confirm_release(soon())

    with listening(fail_on_rubbish) as server:
        good, bad = associate(server), associate(server)
        bad.send([p_data((1, LAST, b"rubbish"))], soon())
        with pytest.raises(AssociationAbortedError), bad.closing_on_error():
            bad.next_fragment(soon())
        assert echo(good) == b"echo"
        good.release(soon())
        later = associate(server)
        later.release(soon())
    assert "our mistake" in caplog.text


def test_protocol_error_of_a_peer_closes_its_connection_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(_: Connection, __: AssociateRQ) -> None:
        raise ProtocolError("no")

    with listening(refuse) as server, socket.create_connection((HOST, server.port), WAIT) as sock:
        sock.sendall(request().encode())
        assert read_all(sock) == b""
    assert "Traceback" not in caplog.text


BAD = {
    "nothing": b"",
    "no DICOM": b"GET / HTTP/1.0\r\n\r\n",
    "half a request": request().encode()[:40],
    "abort at once": Abort().encode(),
    "request and abort": request().encode() + Abort().encode(),
    "request and garbage": request().encode() + b"\xff" * 20,
    "request and release": request().encode() + ReleaseRQ().encode(),
}


@pytest.mark.row("CVE-2021-41687")
def test_listener_survives_bad_peers_of_every_kind() -> None:
    with listening() as server:
        associate(server).release(soon())
        wait_until(server, lambda: not server._threads)
        before = descriptors()
        for _ in range(8):
            for data in BAD.values():
                for end in (socket.socket.close, reset):
                    sock = socket.create_connection((HOST, server.port), WAIT)
                    sock.sendall(data)
                    end(sock)
        connection = associate(server)  # behind all of them in the queue
        assert echo(connection) == b"echo"
        connection.release(soon())
        wait_until(server, lambda: not server._threads)
        assert descriptors() == before


# -- the end ---------------------------------------------------------------------------------------------------------


def test_close_ends_and_joins_everything() -> None:
    before = descriptors()
    server = Listener(listen(HOST, 0), serve)
    port = server.port
    connections = [associate(server) for _ in range(5)]
    idle = [socket.create_connection((HOST, port), WAIT) for _ in range(5)]
    server.close()
    server.close()
    assert threads() == set()
    for connection in connections:
        with pytest.raises(MovescuError), connection.closing_on_error():
            connection.next_fragment(soon())
    for sock in idle:
        assert read_all(sock) == b""
        sock.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((HOST, port), WAIT)
    assert descriptors() == before


def test_close_while_peers_connect_leaves_nothing() -> None:
    before = descriptors()
    for _ in range(20):
        server = Listener(listen(HOST, 0), serve)
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(socket.create_connection((HOST, server.port), WAIT)).sendall(request().encode())
            server.close()
    assert threads() == set()
    assert descriptors() == before


@pytest.mark.row("CVE-2021-41687")
def test_listener_leaks_neither_threads_nor_descriptors() -> None:
    with listening() as server:
        for count in range(201):
            connection = associate(server)
            assert echo(connection) == b"echo"
            connection.release(soon())
            if count == 0:
                wait_until(server, lambda: not server._threads)
                before = descriptors()
        wait_until(server, lambda: not server._threads and not server.open_associations)
        assert len(threads()) == 1  # the one that accepts
        assert descriptors() == before


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 5, limits[1]))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        try:
            while True:
                stack.callback(os.close, os.dup(0))
        except OSError:
            yield


def test_peer_is_served_once_descriptors_are_free_again(caplog: pytest.LogCaptureFixture) -> None:
    """The loop must not spin meanwhile: it would take the processor from the associations that are open."""
    with listening() as server, socket.socket() as sock:
        associate(server).release(soon())
        wait_until(server, lambda: not server._threads)
        sock.settimeout(WAIT)
        with no_descriptors_left():
            sock.connect((HOST, server.port))
            sock.sendall(request().encode())
            threading.Event().wait(0.3)  # long enough for thousands of turns of a loop that spins
        assert read_pdu(sock)[:1] == b"\x02"
    assert 1 <= caplog.text.count("cannot accept a connection: Too many open files") < 20


def test_peer_without_a_thread_is_closed_and_the_next_one_served(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    refused: list[threading.Thread] = []

    def refuse_once(thread: threading.Thread) -> None:
        if thread.name == "movescu-association" and not refused:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    with listening() as server:
        monkeypatch.setattr(threading.Thread, "start", refuse_once)
        with socket.create_connection((HOST, server.port), WAIT) as sock:
            assert read_all(sock) == b""
        connection = associate(server)
        assert echo(connection) == b"echo"
        connection.release(soon())
