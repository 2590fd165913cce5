"""Storage associations that take turns in one thread, as long as their objects are small (PS3.4 annex B).

Each association has a thread of its own, for its peer may be slow. But where several send small objects at once, their
threads are in each other's way: the interpreter's lock changes hands at each call of the system, and each time a thread
has to be woken. So threads that wait for their next message leave their connections to one of them, which serves
whatever has come whole. Objects of 8 KB over four associations take 160 to 190 us instead of 360, and half the
processor time.

Whatever may keep that thread waiting is given back to the thread whose association it is: a message that is not whole
yet or is large, the end of the association, an error, a peer that does not read our responses. Where the disk is slow,
or flushed for each object, nobody shares for a while: there it is better to wait side by side. What a caller has called
for each object may wait for anything: then nobody shares at all.
"""

from __future__ import annotations

import contextlib
import select
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from movescu.dimse.exchange import Exchange

_READY: Final[int] = select.EPOLLIN | select.EPOLLOUT if hasattr(select, "epoll") else 0
"""Something has come, and there is room for a response."""
_ASKED: Final[int] = _READY | select.EPOLLRDHUP | select.EPOLLPRI | select.EPOLLET if _READY else 0
"""Asked for by edges, so that room alone is no event. An end that comes together with a message has to be told with it,
and so has urgent data: it would stay behind the message without an edge of its own."""
_LARGEST: Final = 1 << 16  # bytes of a message that another thread serves; the copying of larger ones goes side by side
_FEWEST, _MOST = 16, 1024  # messages that an association which had to be given back is left to its own thread
_SLOW: Final = 0.005  # seconds for one message, from which on nobody shares for a while
_WHILE: Final = 1.0  # seconds


class _Seat:
    """An association. ``serve`` serves its next message and tells whether there may be another."""

    def __init__(self, exchange: Exchange, serve: Callable[[], bool], lock: threading.Lock) -> None:
        self.exchange = exchange
        self.connection = exchange.connection
        self.serve = serve
        self.changed = threading.Condition(lock)
        self.shared = False  # whether its own thread waits for being given it back
        self.alone = 0  # messages that are left to its own thread
        self.next_alone = _FEWEST
        self.error: BaseException | None = None


class Turns:
    """The storage associations of one SCP, and which thread serves their next messages."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seats: dict[int, _Seat] = {}  # by descriptor
        self._server: _Seat | None = None  # whose thread serves the shared ones
        self._poll: select.epoll | None = None
        self._not_before = 0.0  # nothing is shared until then, on the monotonic clock

    def run(self, exchange: Exchange, serve: Callable[[], bool]) -> None:
        """Have an association served, message by message, until ``serve`` says that it was the last.

        To be called in a thread for this association, where all that ``serve`` raises is raised too.
        """
        if not _READY or exchange.connection.secured:  # what TLS has decrypted already no system call tells
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
                if self._seats.get(descriptor) is seat:  # else it is closed, and another connection's by now
                    del self._seats[descriptor]
                if not self._seats and self._poll is not None:
                    self._poll.close()
                    self._poll = None

    def _await_turn(self, seat: _Seat) -> None:
        """Return when its own thread has to serve the next message; raise what another one met."""
        if len(self._seats) < 2:
            return
        if seat.alone or seat.connection.has_more or time.monotonic() < self._not_before:
            seat.alone = max(seat.alone - 1, 0)
            return
        with self._lock:
            seat.connection.leave(time.monotonic())
            seat.shared = True  # from now on it may be served, if there is who serves
            try:
                if self._poll is None:
                    self._poll = select.epoll()
                self._poll.register(seat.connection, _ASKED)
            except OSError:  # no descriptor is left, or no memory
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
        """Serve whatever comes on shared associations, until this thread's own needs it, or is the only one left."""
        assert self._poll is not None  # made before the first was shared
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
                        seat.changed.notify()  # it is the next one
                        break

    def _is_served(self, seat: _Seat, events: int) -> bool:
        """Serve what has come, if that can be done without waiting; False if the association has to be given back."""
        begun = time.monotonic()
        if begun < self._not_before:
            return False
        if events != _READY:  # an association that is new here is told to have room: that is nothing
            return events == select.EPOLLOUT
        try:
            if not self._is_taken(seat):
                return False
        except BaseException as error:  # noqa: BLE001 - raised where the association is served otherwise
            seat.error = error
            return False
        now = time.monotonic()
        if now - begun > _SLOW:
            self._not_before = now + _WHILE
        seat.connection.leave(now)
        return True

    @staticmethod
    def _is_taken(seat: _Seat) -> bool:
        """Take in what has come and serve it; False if its own thread has to go on."""
        size = seat.connection.take()
        if size < 0:
            return True  # it came with what had come before
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
