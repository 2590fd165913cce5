"""What Ctrl-C and a request to terminate do while a retrieve runs: nothing partial is left in either case."""

from __future__ import annotations

import functools
import signal
import sys
import threading

from movescu._runtime.late_log import is_loading, logger_of
from movescu.cli.exit_codes import ExitCode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Final, Protocol, Self

    class Cancellable(Protocol):
        """What can be cancelled: a retrieve, or many."""

        @property
        def cancelled(self) -> bool:
            """Whether it was."""

        @property
        def moving(self) -> bool:
            """Whether there is anything to cancel."""

        def cancel(self) -> None:
            """Cancel it."""


_log: Final = logger_of("movescu.cli")


class Signals:
    """The handlers, as a context manager.

    The first Ctrl-C sends C-CANCEL and lets the archive come to its end, or ends the wait for what is still on its way;
    a second one, SIGTERM and SIGHUP abort. While that goes on, for some seconds at most, further ones change nothing:
    they would leave temporary files. To be left after the retrieval. A signal that is ignored stays so (``nohup``).
    """

    def __init__(self) -> None:
        self.retrieval: Cancellable | None = None
        self._ending = False
        self._before: dict[int, Callable[[int, FrameType | None], object] | int] = {}

    def __enter__(self) -> Self:
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
        """Cancel at first, then abort."""
        if self._ending:
            return
        retrieval = self.retrieval
        if retrieval is None or retrieval.cancelled or not retrieval.moving:
            self._ending = True
            raise KeyboardInterrupt
        retrieval.cancel()  # before anything is said: whoever reads it may interrupt again at once
        if not is_loading():
            _log.warning("cancelling; interrupt again to abort")

    def terminate(self, number: int, _: FrameType | None) -> None:
        """Abort."""
        if not self._ending:
            self._ending = True
            if not is_loading():
                _log.critical("terminated by %s", signal.Signals(number).name)
            sys.exit(_BY_SIGNAL[number])


_HANDLERS: Final = (
    (signal.SIGINT, Signals.interrupt),
    (signal.SIGTERM, Signals.terminate),
    (signal.SIGHUP, Signals.terminate),
)
_BY_SIGNAL: Final[dict[int, ExitCode]] = {
    signal.SIGTERM: ExitCode.TERMINATED,
    signal.SIGHUP: ExitCode.HUNG_UP,
}
