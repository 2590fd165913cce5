"""Signal handlers of a running retrieve: cancel or abort, leaving no partial file."""

from __future__ import annotations

import functools
import signal
import sys
import threading

from movescu._runtime.late_log import is_loading, logger_of
from movescu.cli import last_resort, streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Final, Protocol, Self

    class Cancellable(Protocol):
        """Retrieve, or list of retrieves, that can be cancelled."""

        @property
        def cancelled(self) -> bool:
            """Whether ``cancel`` was called."""

        @property
        def moving(self) -> bool:
            """Whether a request or its objects are outstanding."""

        def cancel(self) -> None:
            """Send C-CANCEL, or stop waiting for outstanding objects."""


_log: Final = logger_of("movescu.cli")


class Signals:
    """Context manager that installs the handlers.

    The first Ctrl-C sends C-CANCEL and awaits the archive's final response, or ends the wait for outstanding objects; a
    second one, SIGTERM and SIGHUP abort. Further signals during an abort are ignored, since they would leave temporary
    files. SIGUSR1 prints a status line. The context must outlive the retrieval. A signal that is ignored stays ignored
    (``nohup``). ``begins``: requests may be sent from now on. Default: True.
    """

    def __init__(self, *, begins: bool = True) -> None:
        self._begins = begins
        self.retrieval: Cancellable | None = None
        self.status: Callable[[], str] = lambda: "nothing requested yet"
        """Returns the current progress as a line."""
        self._ending = False
        self._before: dict[int, Callable[[int, FrameType | None], object] | int] = {}

    def __enter__(self) -> Self:
        if self._begins:
            last_resort.begin()
        if threading.current_thread() is threading.main_thread():
            for number, handler in _HANDLERS:
                before = signal.getsignal(number)
                if before not in (None, signal.SIG_IGN):
                    self._before[number] = before
                    signal.signal(number, functools.partial(handler, self))
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def interrupt(self, _: int, __: FrameType | None) -> None:
        """Cancel the retrieval, or abort if it is already cancelled.

        Raises ``KeyboardInterrupt`` to abort.
        """
        try:
            self._interrupt()
        finally:
            last_resort.answer()

    def _interrupt(self) -> None:
        if self._ending:
            return
        retrieval = self.retrieval
        if retrieval is None or retrieval.cancelled or not retrieval.moving:
            self._ending = True
            last_resort.quieten()
            raise KeyboardInterrupt
        retrieval.cancel()  # before the message: its reader may interrupt again at once
        last_resort.quieten()
        if not is_loading():
            _log.warning("cancelling; interrupt again to abort")

    def terminate(self, number: int, _: FrameType | None) -> None:
        """Abort. Raises ``SystemExit``."""
        try:
            self._terminate(number)
        finally:
            last_resort.answer()

    def _terminate(self, number: int) -> None:
        if self._ending:
            return
        self._ending = True
        last_resort.quieten()
        if not is_loading():
            _log.critical("terminated by %s", signal.Signals(number).name)
        sys.exit(last_resort.ENDS_AT_ONCE[number])

    def report(self, _: int, __: FrameType | None) -> None:
        """Print the status line to standard error."""
        try:
            streams.write(sys.stderr, f"{self.status()}\n")
        except RuntimeError:  # the interrupted thread was writing: a buffered stream is not reentrant
            return


_HANDLERS: Final = tuple(
    (int(getattr(signal, name)), handler)
    for name, handler in (
        ("SIGINT", Signals.interrupt),
        ("SIGTERM", Signals.terminate),
        ("SIGHUP", Signals.terminate),
        ("SIGBREAK", Signals.terminate),  # of Windows: Ctrl-Break, and the console window is closed
        ("SIGUSR1", Signals.report),
    )
    if hasattr(signal, name)
)
