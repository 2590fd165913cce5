"""The timeouts of a wait, on a clock set by the test: which expires first, what restarts it, and its message."""

from __future__ import annotations

import select
import socket
import threading
import time
from contextlib import closing

import pytest
from wire import WAIT, loopback, soon

from movescu.errors import TimedOutError
from movescu.transport import deadlines as module
from movescu.transport.deadlines import CANCEL_SECONDS, Patience, Silence
from movescu.transport.listener import Listener
from movescu.transport.sockets import Transport, connect, listen

START = 1000.0


class Clock:
    """The monotonic clock, and when something last moved on it."""

    def __init__(self) -> None:
        self.time = START
        self.moved = 0.0

    def now(self) -> float:
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "clock", clock)
    return clock


def limits(
    clock: Clock, *, silence: float | None = None, stall: float | None = None, until: float | None = None
) -> Patience:
    return Patience(
        silence=silence, stall=stall, until=until, moved=lambda: clock.moved, progressed=lambda: clock.moved
    )


def test_wait_without_limits_has_no_end(clock: Clock) -> None:
    patience = limits(clock)
    clock.time += 1e9
    assert patience.remaining() is None
    assert not patience.over()


@pytest.mark.parametrize(
    ("silence", "stall", "until", "left", "message"),
    [
        (5.0, None, None, 5.0, "the archive has been silent for 5 s where a C-MOVE response is due"),
        (None, 5.0, None, 5.0, "no object has arrived, and no count of the archive changed, for 5 s"),
        (None, None, START + 5, 5.0, "the time for the whole retrieve is over"),
        (3.0, 4.0, START + 5, 3.0, "silent for 3 s"),
        (4.0, 3.0, START + 5, 3.0, "no object has arrived, and no count of the archive changed, for 3 s"),
        (4.0, 5.0, START + 3, 3.0, "the time for the whole retrieve"),
    ],
)
def test_first_timeout_ends_the_wait_and_is_named(
    clock: Clock, silence: float | None, stall: float | None, until: float | None, left: float, message: str
) -> None:
    patience = limits(clock, silence=silence, stall=stall, until=until)
    assert patience.remaining() == left
    clock.time += left - 0.5
    assert not patience.over()
    clock.time += 0.5
    with pytest.raises(TimedOutError, match=f"timed out: .*{message}"):
        patience.over()
    with pytest.raises(TimedOutError, match=message):
        patience.remaining()


@pytest.mark.parametrize("kind", ["silence", "stall"])
def test_progress_restarts_silence_and_stall_timeouts(clock: Clock, kind: str) -> None:
    patience = limits(clock, silence=5.0) if kind == "silence" else limits(clock, stall=5.0)
    for _ in range(10):
        clock.time += 4
        clock.moved = clock.time - 1
        assert patience.remaining() == 4.0


def test_bytes_without_progress_restart_the_silence_timeout_only(clock: Clock) -> None:
    patience = Patience(silence=2.0, stall=5.0, until=None, moved=lambda: clock.time, progressed=lambda: START)
    clock.time += 4
    assert patience.remaining() == 1.0
    clock.time += 1
    with pytest.raises(TimedOutError, match="no object has arrived"):
        patience.remaining()


def test_total_timeout_is_never_restarted(clock: Clock) -> None:
    patience = limits(clock, until=START + 5)
    clock.time = clock.moved = START + 5
    with pytest.raises(TimedOutError, match="the whole retrieve"):
        patience.remaining()


def test_activity_before_the_wait_does_not_shorten_it(clock: Clock) -> None:
    clock.moved = START - 1000
    assert limits(clock, silence=5.0, stall=6.0).remaining() == 5.0


def test_socket_wait_goes_on_while_bytes_arrive_elsewhere() -> None:
    with loopback() as (near, far), closing(Transport(near, "the peer")) as transport:
        asked = 0

        def moved() -> float:
            nonlocal asked
            asked += 1
            if asked == 20:
                far.sendall(b"!")
            return time.monotonic()

        patience = Patience(silence=0.02, stall=0.02, until=None, moved=moved, progressed=moved)
        assert transport.receive_into(memoryview(bytearray(8)), patience) == 1
        assert asked >= 20


def test_socket_wait_ends_with_the_message_of_the_timeout() -> None:
    with loopback() as (near, _), closing(Transport(near, "the peer")) as transport:
        patience = Patience(silence=None, stall=0.05, until=None, moved=lambda: 0.0, progressed=lambda: 0.0)
        with pytest.raises(TimedOutError, match="no object has arrived"):
            transport.receive_into(memoryview(bytearray(8)), patience)


def test_message_that_has_begun_may_have_its_own_deadline() -> None:
    within = soon()
    assert Silence(None, "a request", within).within is within
    silence = Silence(1.0, "the rest of a message")
    assert silence.within is silence
    assert within.within is within


# -- peers that are gone -----------------------------------------------------------------------------------------------


def keeps_alive(sock: socket.socket) -> bool:
    """Whether a peer whose machine is gone is found, and in minutes, not in the system's hours."""
    idle, interval, count = (
        sock.getsockopt(socket.IPPROTO_TCP, option)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    )
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) and idle + interval * count <= 180


@pytest.mark.not_without("quick-ack", "windows")  # the system's hours it is, there
def test_connections_of_both_directions_use_keepalive() -> None:
    accepted: list[bool] = []
    prepared = threading.Event()

    def prepare(transport: Transport, _: object) -> None:
        accepted.append(keeps_alive(transport._socket))
        prepared.set()

    with closing(Listener(listen("127.0.0.1", 0), lambda *_: None, prepare=prepare)) as listener:
        transport = connect("127.0.0.1", listener.port, WAIT)
        assert keeps_alive(transport._socket)
        assert prepared.wait(WAIT)
        transport.close()
    assert accepted == [True]


# -- a listener's end --------------------------------------------------------------------------------------------------


class InterruptedCloseError(Exception):
    """What a signal handler raises in the middle of something."""


def test_listener_whose_close_was_interrupted_can_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = Listener(listen("127.0.0.1", 0), lambda *_: None)
    with socket.create_connection(("127.0.0.1", listener.port), WAIT) as sock:

        def join(_: threading.Thread, __: float | None = None) -> None:
            raise InterruptedCloseError

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "join", join)
            with pytest.raises(InterruptedCloseError):
                listener.close()
        listener.close()
        assert select.select([sock], [], [], WAIT)[0]  # closed, not forgotten
    assert not [thread for thread in listener._threads if thread.is_alive()]
    listener.close()


def test_archive_that_is_silent_after_c_cancel_times_out() -> None:
    moved = [time.monotonic()]
    patience = Patience(silence=None, stall=None, until=None, moved=lambda: moved[0], progressed=lambda: moved[0])
    assert patience.remaining() is None
    patience.cancelled()
    left = patience.remaining()
    assert left is not None
    assert 0 < left <= CANCEL_SECONDS
    moved[0] = time.monotonic() + 100  # objects that still come are heard
    left = patience.remaining()
    assert left is not None
    assert left > CANCEL_SECONDS
