"""The retrieves of a client that have not ended: what ``Client.close`` has to end and wait for."""

from __future__ import annotations

from movescu._runtime import clock
from movescu.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class Unfinished(Protocol):
        """What is needed of a retrieve here."""

        @property
        def started(self) -> bool:
            """Whether it runs in a thread of its own."""

        def cancel(self) -> None:
            """Cancel it."""

        def settle(self, seconds: float) -> None:
            """Wait for its end."""


class RunningRetrieves:
    """The retrieves of a client that have not ended. Thread-safe."""

    def __init__(self) -> None:
        self._receiving: dict[int, Unfinished] = {}
        self._unfinished: dict[int, Unfinished] = {}  # those too that have not begun, or whose files are flushed
        self._lock = clock.RLock()
        self._closed = False

    def begin(self, one: Unfinished) -> bool:
        """Add a retrieve that receives objects. Return True if it is the only one. Raise ``UsageError`` if closed."""
        with self._lock:
            self.expect(one)
            self._receiving[id(one)] = one
            return len(self._receiving) == 1

    def expect(self, one: Unfinished) -> None:
        """Add a retrieve that is about to run. Raise ``UsageError`` if closed."""
        with self._lock:
            if self._closed:
                raise UsageError("the client is closed", hint="make a new client")
            self._unfinished[id(one)] = one

    def end(self, one: Unfinished) -> None:
        """Record that a retrieve receives no more objects."""
        with self._lock:
            self._receiving.pop(id(one), None)

    def finish(self, one: Unfinished) -> None:
        """Forget a retrieve that has ended."""
        with self._lock:
            self._unfinished.pop(id(one), None)

    def close(self) -> tuple[Unfinished, ...]:
        """Take no more retrieves, and return those that have not ended."""
        with self._lock:
            self._closed = True
            return tuple(self._unfinished.values())


def settle(retrieves: Sequence[Unfinished], seconds: float, *, abort: bool) -> None:
    """Wait for the end of cancelled retrieves, for a limited time in all.

    ``abort``: not for those in threads of the caller, who wants to end.
    """
    until = clock.now() + seconds
    for one in retrieves:
        if one.started or not abort:
            one.settle(max(until - clock.now(), 0.0))
