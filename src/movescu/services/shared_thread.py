"""The shared thread: storage associations (PS3.4 annex B) take turns in one thread while their objects are small.

Theory. Each association has a thread of its own, for its sender may be slow. But the threads of several senders of
small objects hinder each other: the interpreter's lock changes hands at each system call, and each time a thread has to
be woken, which costs more than storing the object. So the threads that wait for their next message share their
connections, and one of them serves every message that has arrived whole.

An association is given back to its own thread whenever the shared thread might have to wait for it: a message that is
large or not whole yet, the end of the association, an error, a sender that does not read its responses. If the disk is
slow, or flushed for each object, nothing is shared for a while: the threads then wait in parallel. A callback of the
caller may wait for anything; then nothing is shared at all (``side_by_side`` of ``StorageSCP``).
"""

from __future__ import annotations

import contextlib
import select

from movescu._runtime import clock
from movescu.transport import network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from movescu.dimse.exchange import Exchange

_READY: Final[int] = select.EPOLLIN | select.EPOLLOUT if hasattr(select, "epoll") else 0
"""The socket is readable, and writable for a response."""
_ASKED: Final[int] = _READY | select.EPOLLRDHUP | select.EPOLLPRI | select.EPOLLET if _READY else 0
"""Events polled for, edge-triggered, so that a writable socket alone is no event. An end of the connection, and urgent
data, that arrive together with a message have to be reported with it: they would have no edge of their own later."""
_LARGEST: Final = 1 << 16  # bytes of a message served for another thread; larger ones are better copied in parallel
_FEWEST, _MOST = 16, 1024  # messages that an association serves in its own thread after it was given back
_SLOW: Final = 0.005  # seconds; if messages take longer on average, the sharing stops for ``_WHILE``
_WHILE: Final = 1.0  # seconds
_OF_LATE: Final = 8  # messages in the average: the first one loads modules, and any may lose its processor


class _Seat:
    """An association; ``serve`` serves its next message, and returns True if there may be another."""

    def __init__(self, exchange: Exchange, serve: Callable[[], bool], lock: clock.Lock) -> None:
        self.exchange = exchange
        self.connection = exchange.connection
        self.serve = serve
        self.changed = clock.Condition(lock)
        self.shared = False  # its own thread waits until it is given back
        self.alone = 0  # messages that its own thread still serves
        self.next_alone = _FEWEST
        self.error: BaseException | None = None


class Turns:
    """The storage associations of one SCP, and the thread that serves the shared ones."""

    def __init__(self) -> None:
        self._lock = clock.Lock()
        self._seats: dict[int, _Seat] = {}  # by descriptor
        self._server: _Seat | None = None  # its thread serves the shared ones
        self._poll: select.epoll | None = None
        self._average = 0.0  # seconds that messages took of late
        self._not_before = 0.0  # nothing is shared before this time, on the monotonic clock

    def run(self, exchange: Exchange, serve: Callable[[], bool]) -> None:
        """Serve an association message by message until ``serve`` returns False.

        Call it in the association's own thread: it raises what ``serve`` raises, in whichever thread that ran.
        """
        if not _READY or exchange.connection.secured:  # bytes that TLS has buffered are no event of the socket
            while serve():
                pass
            return
        seat = _Seat(exchange, serve, self._lock)
        descriptor = exchange.connection.fileno()
        with self._lock:
            self._seats[descriptor] = seat
        try:
            self._await_turn(seat)
            while serve():
                self._await_turn(seat)
        finally:
            with self._lock:
                if self._seats.get(descriptor) is seat:  # else the descriptor belongs to another connection by now
                    del self._seats[descriptor]
                if not self._seats and self._poll is not None:
                    self._poll.close()
                    self._poll = None

    def _await_turn(self, seat: _Seat) -> None:
        """Return when this thread has to serve the next message. Raise the error that the shared thread got."""
        if len(self._seats) < 2:
            return
        if seat.alone or seat.connection.has_more or clock.now() < self._not_before:
            seat.alone = max(seat.alone - 1, 0)
            return
        with self._lock:
            seat.connection.leave(clock.now())
            seat.shared = True  # from here on the shared thread may serve it
            try:
                if self._poll is None:
                    assert network.epoll is not None  # it has the constants above, too
                    self._poll = network.epoll()
                self._poll.register(seat.connection, _ASKED)
            except OSError:  # out of descriptors or memory
                seat.shared = False
                return
            while seat.shared and self._server is not None:
                seat.changed.wait()
            if seat.shared:
                self._server = seat
        if seat.shared:
            self._serve_all(seat)
        if seat.error is not None:
            error, seat.error = seat.error, None
            raise error

    def _serve_all(self, own: _Seat) -> None:
        """Serve the shared associations until ``own`` is given back to this thread, or is the only one left."""
        assert self._poll is not None  # made before the first association was shared
        try:
            while own.shared and len(self._seats) > 1:
                for descriptor, events in self._poll.poll():
                    seat = self._seats.get(descriptor)
                    if seat is not None and seat.shared and not self._is_served(seat, events):
                        self._give_back(seat)
        finally:
            self._give_back(own)
            with self._lock:
                self._server = None
                for seat in self._seats.values():
                    if seat.shared:
                        seat.changed.notify()  # its thread is the next shared one
                        break

    def _is_served(self, seat: _Seat, events: int) -> bool:
        """Serve the message that has arrived, if no wait is needed; False if the association has to be given back."""
        begun = clock.now()
        if begun < self._not_before:
            return False
        if events != _READY:  # a newly registered socket is reported as writable, which is not a message
            return events == select.EPOLLOUT
        try:
            if not self._is_taken(seat):
                return False
        except BaseException as error:  # noqa: BLE001 - raised again in the association's own thread
            seat.error = error
            return False
        now = clock.now()
        self._average += (now - begun - self._average) / _OF_LATE
        if self._average > _SLOW:
            self._average = 0.0
            self._not_before = now + _WHILE
        seat.connection.leave(now)
        return True

    @staticmethod
    def _is_taken(seat: _Seat) -> bool:
        """Receive and serve a message; False if the association's own thread has to go on."""
        size = seat.connection.take()
        if size < 0:
            return True  # its bytes were received with the last message
        if size > _LARGEST or not seat.exchange.has_message:
            seat.alone = seat.next_alone
            seat.next_alone = min(2 * seat.next_alone, _MOST)
            return False
        seat.next_alone = max(seat.next_alone // 2, _FEWEST)
        return seat.serve() and not seat.connection.has_more

    def _give_back(self, seat: _Seat) -> None:
        with self._lock:
            if seat.shared and self._poll is not None:
                seat.shared = False
                with contextlib.suppress(OSError, ValueError):  # closed
                    self._poll.unregister(seat.connection)
                seat.changed.notify()
