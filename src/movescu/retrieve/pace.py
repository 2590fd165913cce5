"""The rate limit of receiving, for archives that must not be slowed down.

``Pace`` delays our reads; TCP flow control then slows the sender.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu.errors import UsageError
from movescu.retrieve.observer import Observer

if TYPE_CHECKING:
    from movescu.storage.incoming_object import Incoming

_RATE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMG]?)(?:i?B)?(?:/s)?\Z", re.IGNORECASE)
_FACTORS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_BURST: Final = 0.1  # seconds of unused rate that may be caught up


class Pace(Observer):
    """Limits all storage associations together to a number of bytes per second."""

    watches = True

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._lock = clock.Lock()
        self._next = 0.0

    def fragments(self, incoming: Incoming, fragments: tuple[memoryview, ...]) -> None:  # noqa: ARG002 - of its base
        """Delay the sender."""
        self.take(sum(map(len, fragments)))

    def take(self, size: int) -> None:
        """Wait until ``size`` more bytes are within the rate."""
        with self._lock:
            now = clock.now()
            self._next = max(self._next, now - _BURST) + size / self._rate
            left = self._next - now
        if left > 0:
            clock.sleep(left)


def parse_rate(text: str) -> float:
    """Parse bytes per second: 500K, 20M, 1.5G, in powers of 1024. Raise ``UsageError`` for any other text."""
    match = _RATE.match(text)
    rate = float(match[1]) * _FACTORS[match[2].upper()] if match else 0.0
    if rate < 1:
        raise UsageError(f"{text!r} is not a rate", hint="write bytes per second, as in 500K or 20M")
    return rate
