"""The last resort: ends the process if something blocks after a signal or ``--total-timeout``.

A handler of Python runs in the main thread, between two of its calls. If one of them blocks (a log into a pipe that
nobody reads, a FIFO, a disk that hangs), the handler never runs. The system's own handler writes each signal into a
socket (``signal.set_wakeup_fd``), and a thread that does nothing else reads it: it gives the program ``_GRACE`` seconds
to end by itself, and then ends it. No acknowledged object is lost; at worst, a temporary file stays, or a report is
incomplete.

A signal that arrives just before a call waits, or in another thread, is seen when the call returns. So until each
signal is answered, the thread interrupts the call of the main thread every ``_PAUSE`` seconds, by a signal (SIGURG)
whose handler does nothing: the process would else be ended without an A-ABORT.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from time import monotonic

from movescu.cli.exit_codes import ExitCode
from movescu.transport import network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Final, Self

_GRACE: Final = 10.0
"""Seconds from the end that is wanted to that of the process; closing the port may take 5 of them."""
_ANSWER: Final = 5.0
"""Seconds for the handler of the first interrupt, which asks the archive to cancel."""
_PAUSE: Final = 0.05
_URGENT: Final = getattr(signal, "SIGURG", None)  # Windows has none
ENDS_AT_ONCE: Final[dict[int, ExitCode]] = {
    int(getattr(signal, name)): code
    for name, code in (
        ("SIGTERM", ExitCode.TERMINATED),
        ("SIGHUP", ExitCode.HUNG_UP),
        ("SIGBREAK", ExitCode.TERMINATED),  # of Windows
    )
    if hasattr(signal, name)
}
"""Exit codes of the signals that end the process, of those that the system has."""


class LastResort:
    """Context manager of a run. ``total``: seconds that it may take, 0 for no limit."""

    def __init__(self, total: float) -> None:
        self._until = monotonic() + total if total else None
        self._asked: float | None = None  # until when an interrupt has to be answered
        self._end: float | None = None  # of the process
        self._code = ExitCode.ASSOCIATION_LOST
        self._interrupts = 0
        self._signals_seen = 0  # interrupts, and signals that end the process
        self._before = -1
        self._main = 0  # the main thread, if its calls can be interrupted
        self._interrupt_at = 0.0
        self._read: network.socket
        self._write: network.socket
        self._thread: threading.Thread | None = None
        self.is_begun = False
        """Whether a request may have been sent: before, ``total`` ends the process without further ado."""
        self.answered = 0
        """Number of these signals whose handler has returned or raised."""

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._read, self._write = network.socketpair()  # Windows cannot wait on a pipe
            self._read.settimeout(0)
            self._write.settimeout(0)
            self._before = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
            if _URGENT is not None and signal.getsignal(_URGENT) == signal.SIG_DFL:
                signal.signal(_URGENT, _do_nothing)
                self._main = threading.get_ident()
            self._thread = threading.Thread(target=self._watch, name="movescu-last-resort", daemon=True)
            self._thread.start()
            _current.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            _current.remove(self)
            signal.set_wakeup_fd(self._before)
            self._write.send(b"\0")  # no signal: the end of the watch
            self._thread.join()
            if self._main and _URGENT is not None:
                signal.signal(_URGENT, signal.SIG_DFL)
            self._read.close()
            self._write.close()

    def _watch(self) -> None:
        poll = network.poll()
        poll.register(self._read, network.POLLIN)
        while True:
            seconds = self._judge(monotonic())
            poll.poll(None if seconds is None else seconds * 1000 + 1)
            for number in self._signals():
                if number == 0:
                    return
                self._note(number)

    def _judge(self, now: float) -> float | None:
        """End the process if it is time; return the seconds until the next look, None for no limit."""
        if self._until is not None and now >= self._until:
            self._until = None
            self._end_by(now + (_GRACE if self.is_begun else 0), ExitCode.ASSOCIATION_LOST)
        if self._asked is not None and self.answered >= self._interrupts:
            self._asked = None
        if self._asked is not None and now >= self._asked:
            self._end_by(now, ExitCode.INTERRUPTED)
        if self._end is not None and now >= self._end:
            os._exit(self._code)
        times = [time for time in (self._until, self._asked, self._end) if time is not None]
        if self._main and _URGENT is not None and self.answered < self._signals_seen:
            if now >= self._interrupt_at:
                if hasattr(signal, "pthread_kill"):
                    signal.pthread_kill(self._main, _URGENT)
                else:  # the system prefers the main thread
                    os.kill(os.getpid(), _URGENT)
                self._interrupt_at = now + _PAUSE
            times.append(self._interrupt_at)
        return max(min(times) - now, 0.0) if times else None

    def _note(self, number: int) -> None:
        """Record a signal: the first interrupt needs an answer only, any other signal ends the process."""
        now = monotonic()
        if number == signal.SIGINT or number in ENDS_AT_ONCE:
            self._signals_seen += 1
            self._interrupt_at = now + _PAUSE
        if number == signal.SIGINT:
            self._interrupts += 1
            if self._interrupts == 1:
                self._asked = now + _ANSWER
            else:
                self._end_by(now + _GRACE, ExitCode.INTERRUPTED)
        elif number in ENDS_AT_ONCE:
            self._end_by(now + _GRACE, ENDS_AT_ONCE[number])

    def _end_by(self, time: float, code: ExitCode) -> None:
        if self._end is None or time < self._end:
            self._end, self._code = time, code

    def _signals(self) -> bytes:
        with contextlib.suppress(BlockingIOError):
            return self._read.recv(512)
        return b""


def _do_nothing(_: int, __: FrameType | None) -> None:
    """Do nothing: an interrupted call returns to the interpreter, which then runs the handlers of all signals."""


_current: list[LastResort] = []


def begin() -> None:
    """Record that requests may be sent from now on: their associations are given time to end."""
    for one in _current:
        one.is_begun = True


def answer() -> None:
    """Record that the handler of a signal has returned or raised."""
    for one in _current:
        one.answered += 1


def quieten() -> None:
    """Stop logging if standard error cannot take a line now: who wants to end does not wait for a reader."""
    poll = network.poll()
    poll.register(2, network.POLLOUT)
    try:
        is_writable = bool(poll.poll(0))
    except OSError:  # Windows waits on sockets alone
        return
    if not is_writable:
        if (logging := sys.modules.get("logging")) is not None:
            logging.disable(logging.CRITICAL)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
