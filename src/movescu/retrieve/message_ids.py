"""Message IDs of C-MOVE requests (PS3.7 9.1.4.1.1)."""

from __future__ import annotations

from movescu._runtime import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class MessageIDs:
    """Message IDs for several threads: 1 to 65535, then from 1 again (PS3.7 9.1.4.1.1)."""

    def __init__(self) -> None:
        self._number = 0
        self._lock = clock.Lock()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> int:
        with self._lock:
            self._number = self._number % 0xFFFF + 1
            return self._number
