"""The slots of the test archive: how many requests or associations it serves at once, and how it refuses others."""

from __future__ import annotations

import contextlib
from enum import Enum, auto
from typing import TYPE_CHECKING

from movescu._runtime import clock

if TYPE_CHECKING:
    from collections.abc import Iterator


class Refusal(Enum):
    """A way in which an archive refuses what it has no slot for."""

    STATUS = auto()
    """C-MOVE ends with A701 (PS3.4 table C.4-2)."""
    SUB_OPERATIONS = auto()
    """C-MOVE ends with A702, and counts nothing as failed."""
    REJECT = auto()
    """A transient rejection of the association (PS3.8 9.3.4)."""
    SILENCE = auto()
    """The association request is answered once a slot is free."""


class Slots:
    """Counts what is served. Thread-safe. ``refused``: how often something was refused."""

    def __init__(self) -> None:
        self._served = 0
        self._changed = clock.Condition()
        self.refused = 0

    @contextlib.contextmanager
    def taken(self, number: int, *, waiting: bool = False) -> Iterator[bool]:
        """Take one of ``number`` slots for the time of the block; 0 is no limit. Return False if none is free.

        ``waiting``: wait for one. Default: False.
        """
        if not number:
            yield True
            return
        with self._changed:
            while waiting and self._served >= number:
                self._changed.wait()
            free = self._served < number
            self._served += free
            self.refused += not free
        try:
            yield free
        finally:
            with self._changed:
                self._served -= free
                self._changed.notify_all()
