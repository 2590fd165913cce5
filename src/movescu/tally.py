"""What a retrieve came to: what arrived at our own port, against what the archive says it sent."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from movescu.dimse.status import SUCCESS

if TYPE_CHECKING:
    from movescu.services.move import MoveResponse
    from movescu.services.store import Received
    from movescu.ul.negotiation import RejectedClass

_REPORTED_FAILURES: Final = 1000  # objects that were not stored and are remembered one by one


class Tally:
    """What arrived at our own port so far; counted by the threads of the storage associations."""

    def __init__(self) -> None:
        self.stored = 0
        self.failed = 0
        self.size = 0
        """Bytes of data sets."""
        self.failures: list[Received] = []
        """The first thousand objects that were not stored."""
        self.last_arrival = 0.0
        """When the last object was complete, on the monotonic clock."""
        self._lock = threading.Lock()

    @property
    def arrived(self) -> int:
        """How many objects came, stored or not."""
        return self.stored + self.failed

    def count(self, received: Received) -> None:
        """Count an object."""
        with self._lock:
            self.size += received.size
            if received.status == SUCCESS:
                self.stored += 1
            else:
                self.failed += 1
                if len(self.failures) < _REPORTED_FAILURES:
                    self.failures.append(received)
            self.last_arrival = time.monotonic()


@dataclass(frozen=True, slots=True)
class RetrieveResult:
    """What a retrieve came to: the final response of each request, and what arrived.

    ``expected``: objects that the archive says it delivered, where they were to come to us.
    """

    responses: tuple[MoveResponse, ...]
    tally: Tally
    expected: int
    rejected: tuple[RejectedClass, ...] = ()
    """SOP classes that a sender proposed and that were not accepted."""

    @property
    def missing(self) -> int:
        """How many objects the archive counts as delivered that did not arrive."""
        return max(self.expected - self.tally.arrived, 0)
