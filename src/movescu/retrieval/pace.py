"""For archives that must not be disturbed: how fast objects are taken.

``Pace`` holds the receiving back, and by way of TCP the sender.
"""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING, Final

from movescu.errors import UsageError

if TYPE_CHECKING:
    from movescu.storage.incoming_object import ObjectReceiver

_RATE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMG]?)(?:i?B)?(?:/s)?\Z", re.IGNORECASE)
_FACTORS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_BURST: Final = 0.1  # seconds of silence that may be made good


class Pace:
    """Limits what comes in over all storage associations together to so many bytes a second."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._next = 0.0

    def watch(self, receiver: ObjectReceiver) -> ObjectReceiver:
        """Give a receiver that does as this one does, and no faster than allowed."""
        return _Paced(self, receiver)

    def take(self, size: int) -> None:
        """Wait until so many bytes may have come."""
        with self._lock:
            now = time.monotonic()
            self._next = max(self._next, now - _BURST) + size / self._rate
            left = self._next - now
        if left > 0:
            time.sleep(left)


class _Paced:
    def __init__(self, pace: Pace, receiver: ObjectReceiver) -> None:
        self._pace = pace
        self._receiver = receiver

    def write(self, *fragments: memoryview) -> None:
        """Take the next bytes of the data set."""
        self._receiver.write(*fragments)
        self._pace.take(sum(map(len, fragments)))

    def finish(self) -> None:
        """Keep the object."""
        self._receiver.finish()

    def discard(self) -> None:
        """Keep nothing of the object."""
        self._receiver.discard()


def parse_rate(text: str) -> float:
    """Read bytes a second: 500K, 20M, 1.5G, in powers of 1024. Raises ``UsageError``."""
    match = _RATE.match(text)
    rate = float(match[1]) * _FACTORS[match[2].upper()] if match else 0.0
    if rate < 1:
        raise UsageError(f"{text!r} is no rate", hint="give bytes a second, as in 500K or 20M")
    return rate
