"""The end of a retrieve: waiting for objects that are still on their way when the final response is there.

Archives may announce success before they store, open a storage association late, or never end one (the manual's Known
Problem). What was counted and did not come is awaited for a while of silence; an open association is awaited as long as
it moves. When a wait is over for want of time, what was left open is told.
"""

from __future__ import annotations

import time

from movescu._runtime.late_log import logger_of
from movescu.dimse.status import StatusClass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from movescu.retrieve.config import Config
    from movescu.retrieve.tally import Round
    from movescu.transport.connection import Connection
    from movescu.transport.listener import Listener

_log: Final = logger_of("movescu.retrieve")

_GLANCE: Final = 1.0
"""Seconds between two looks at what the end waits for, should nothing call for one earlier."""


class Awaiting:
    """Decides how long to wait for what a round has asked for, by what the archive counted and what arrived.

    ``until``: when all has to be over, on the monotonic clock. ``alone``: all storage associations are of this round;
    else they tell nothing of it, and its silence is the time in which no object of its own came.
    """

    def __init__(self, config: Config, one: Round, until: float | None, *, alone: bool = True) -> None:
        self._alone = alone
        self._config = config
        self._round = one
        self._until = until
        self.waited = False
        """Whether there was something to wait for."""
        self.cut_off = 0
        """How many storage associations were open when the time was over, and may have had more to send."""

    @property
    def expected(self) -> int:
        """How many objects the archive says it sent to us."""
        elsewhere = self._config.move_destination != self._config.ae_title
        if elsewhere and not self._round.tally.arrived:
            # The destination may be a third party's title, with --port given all the same; then nothing comes to us.
            return 0
        return sum((response.completed or 0) + (response.warning or 0) for response in self._round.responses)

    @property
    def _complete(self) -> bool:
        """Whether nothing is missing of what the archive counted, or of what is wanted."""
        return self._round.tally.arrived >= self.expected or self._round.satisfied()

    @property
    def _counted(self) -> bool:
        """Whether the archive told how many objects it sent; some never do."""
        told = (r for r in self._round.responses if r.status_class in (StatusClass.SUCCESS, StatusClass.WARNING))
        return all(response.completed is not None for response in told)

    def wait(self, listener: Listener, *, cancelled: Callable[[], bool]) -> None:
        """Wait for what is still on its way."""
        final = time.monotonic()
        with listener.changed:
            while not cancelled() and (seconds := self._seconds(listener, final)) > 0:
                # Not longer at once: a signal handler that cancels may run between the look and the wait.
                listener.changed.wait(min(seconds, _GLANCE))
            if not (cancelled() or (self._counted and self._complete)):
                self.cut_off = len(listener.open_associations)
        self.waited = time.monotonic() - final > _GLANCE

    def _seconds(self, listener: Listener, final: float) -> float:
        """Give the seconds that are still worth waiting, 0 for none; end associations that have gone silent."""
        now = time.monotonic()
        limit = float("inf") if self._until is None else self._until - now
        if limit <= 0:
            return 0.0
        if not self._alone:
            wanting = not (self._complete and self._counted)
            return min(max(final, self._round.touched) + self._config.timeouts.linger - now, limit) if wanting else 0.0
        if listener.open_associations:
            return min(limit, *(self._seconds_for(c, final, now) for c in listener.open_associations))
        if not self._complete or (listener.unassociated and not self._counted):
            return min(max(final, listener.last_activity) + self._config.timeouts.linger - now, limit)
        return 0.0

    def _seconds_for(self, connection: Connection, final: float, now: float) -> float:
        """Give the seconds until the next look at an open association; end it if it has gone silent."""
        if not connection.waiting or connection.is_unread:  # it is our own side that takes its time
            return _GLANCE
        config, since = self._config, connection.last_activity
        if self._round.lost:  # what is idle now has been given up with its archive
            silence = shortest(config.timeouts.store, config.timeouts.dimse, config.timeouts.stall)
        else:
            silence, since = config.timeouts.store, max(since, final)
        left = float("inf") if silence is None else since + silence - now
        if left > 0:
            return left
        _log.warning("storage association with %s: ended, for it was silent for %g s", connection.peer, silence)
        connection.interrupt("the storage client did not end its association after the final response")
        return _GLANCE


def shortest(*limits: float | None) -> float | None:
    """Give the shortest of some limits in seconds, None if there is none."""
    return min((limit for limit in limits if limit is not None), default=None)
