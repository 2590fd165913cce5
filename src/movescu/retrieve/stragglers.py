"""The end of a retrieve: the wait for objects that are still on their way after the final response (PS3.4 C.4.2).

Archives may announce success before they store, open a storage association late, or never end one (the manual's Known
Problem). Objects that were counted but have not arrived are awaited until ``linger`` seconds of silence; an open
association is awaited while data arrives. If a timeout ends the wait, the associations still open are counted.
"""

from __future__ import annotations

from movescu._runtime import clock
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
"""Seconds. Longest interval between two checks of the wait."""


class Awaiting:
    """The wait for the objects of a round, by the archive's counts and the objects that arrived.

    ``until``: deadline, on the monotonic clock. ``alone``: all storage associations belong to this round; otherwise
    they say nothing about it, and silence is the time without an object of its own.
    """

    def __init__(self, config: Config, one: Round, until: float | None, *, alone: bool = True) -> None:
        self._alone = alone
        self._config = config
        self._round = one
        self._until = until
        self.waited = False
        """Whether objects were awaited."""
        self.cut_off = 0
        """Number of storage associations still open, perhaps with more to send, when a timeout expired."""

    @property
    def expected(self) -> int:
        """Number of objects that the archive counts as sent to us."""
        elsewhere = self._config.move_destination != self._config.ae_title
        if elsewhere and not self._round.tally.arrived:
            # Even with --port, the destination may be a third party; then no object is sent to us.
            return 0
        return sum((response.completed or 0) + (response.warning or 0) for response in self._round.responses)

    @property
    def _complete(self) -> bool:
        """Whether all counted objects, or all wanted ones, have arrived."""
        return self._round.tally.arrived >= self.expected or self._round.satisfied()

    @property
    def _counted(self) -> bool:
        """Whether the archive counts the objects that it sends; some never do."""
        told = (r for r in self._round.responses if r.status_class in (StatusClass.SUCCESS, StatusClass.WARNING))
        return all(response.completed is not None for response in told)

    def wait(self, listener: Listener, *, cancelled: Callable[[], bool]) -> None:
        """Wait for objects that are still on their way."""
        final = clock.now()
        with listener.changed:
            while not cancelled() and (seconds := self._seconds(listener, final)) > 0:
                # Bounded: a signal handler that cancels may run between the check and the wait.
                listener.changed.wait(min(seconds, _GLANCE))
            if not (cancelled() or (self._counted and self._complete)):
                self.cut_off = len(listener.open_associations)
        self.waited = clock.now() - final > _GLANCE

    def _seconds(self, listener: Listener, final: float) -> float:
        """Return the seconds left to wait, 0 for none; end associations that have gone silent."""
        now = clock.now()
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
        """Return the seconds until the next check of an open association; end it if it has gone silent."""
        if not connection.waiting or connection.is_unread:  # waiting for our side, not for the sender
            return _GLANCE
        config, since = self._config, connection.last_activity
        if self._round.lost:  # after the archive was lost, an idle sender is unlikely to go on
            silence = shortest(config.timeouts.store, config.timeouts.dimse, config.timeouts.stall)
        else:
            silence, since = config.timeouts.store, max(since, final)
        left = float("inf") if silence is None else since + silence - now
        if left > 0:
            return left
        _log.warning("storage association with %s: ended after %g s of silence", connection.peer, silence)
        connection.interrupt("the sender did not end its association after the final response")
        return _GLANCE


def shortest(*limits: float | None) -> float | None:
    """Return the shortest of some timeouts in seconds, None if none is set."""
    return min((limit for limit in limits if limit is not None), default=None)
