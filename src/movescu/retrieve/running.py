"""The retrieves of a client that have not ended: what ``Client.close`` has to end and wait for."""

from __future__ import annotations

from movescu._runtime import clock
from movescu.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from movescu.retrieve.handle import Retrieve


class RunningRetrieves:
    """The retrieves of a client that have not ended. Thread-safe."""

    def __init__(self) -> None:
        self._receiving: dict[int, Retrieve] = {}
        self._unfinished: dict[int, Retrieve] = {}  # those too that have not begun, or whose files are flushed
        self._lock = clock.RLock()
        self._closed = False

    def begin(self, one: Retrieve) -> bool:
        """Add a retrieve that receives objects. Return True if it is the only one. Raise ``UsageError`` if closed."""
        with self._lock:
            self.expect(one)
            self._receiving[id(one)] = one
            return len(self._receiving) == 1

    def expect(self, one: Retrieve) -> None:
        """Add a retrieve that is about to run. Raise ``UsageError`` if closed."""
        with self._lock:
            if self._closed:
                raise UsageError("the client is closed", hint="make a new client")
            self._unfinished[id(one)] = one

    def end(self, one: Retrieve) -> None:
        """Record that a retrieve receives no more objects."""
        with self._lock:
            self._receiving.pop(id(one), None)

    def finish(self, one: Retrieve) -> None:
        """Forget a retrieve that has ended."""
        with self._lock:
            self._unfinished.pop(id(one), None)

    def close(self) -> tuple[Retrieve, ...]:
        """Take no more retrieves, and return those that have not ended."""
        with self._lock:
            self._closed = True
            return tuple(self._unfinished.values())
