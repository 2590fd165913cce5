"""The end of a retrieve: the wait for objects that are still on their way after the final response (PS3.4 C.4.2).

Archives may announce success before they store, open a storage association late, or never end one (the manual's Known
Problem). What the archive counted and what C-FIND listed decide how long to wait:

- Everything listed or, without a list, everything counted has arrived, and no more than was counted: nothing is
  awaited. If the port is about to close, senders get ``FAREWELL`` seconds of silence to end their associations, after
  ``complete`` was called, so that the archive's own association is released first. Otherwise they are left alone.
- Objects are missing, or nothing was counted and nothing has arrived: until ``linger`` seconds of silence without a
  storage association (``unannounced`` if nothing was counted: mostly, there is nothing); with one, until its sender has
  been silent for ``store`` seconds.
- More arrived than was counted: the counts say nothing about the end, and open associations are awaited in the same
  way.

An association that carried C-ECHO alone does not count as open; one that carried nothing yet gets ``linger`` seconds.
If a timeout ends the wait, open ones are counted as cut off.
"""

from __future__ import annotations

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu.dimse.status import StatusClass
from movescu.retrieve.tally import delivered_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from movescu.retrieve.config import Config
    from movescu.retrieve.tally import Round
    from movescu.transport.connection import Connection
    from movescu.transport.listener import Listener

_log: Final = logger_of("movescu.retrieve")

FAREWELL: Final = 2.0
"""Seconds. Silence between messages after which a sender's association is ended once everything has arrived."""
_GLANCE: Final = 1.0
"""Seconds. Longest interval between two checks of the wait."""


class Awaiting:
    """The wait for the objects of a round, by the archive's counts and the objects that arrived.

    ``until``: deadline, on the monotonic clock. ``alone``: all storage associations belong to this round; otherwise
    they say nothing about it, and silence is the time without an object of its own. ``closing``: the port closes after
    the wait. ``complete``: called with this wait once everything has arrived, before senders are awaited.
    """

    def __init__(
        self,
        config: Config,
        one: Round,
        until: float | None,
        *,
        alone: bool = True,
        closing: bool = True,
        complete: Callable[[Awaiting], None] = lambda _: None,
    ) -> None:
        self._alone = alone
        self._closing = closing
        self._config = config
        self._round = one
        self._until = until
        self._on_complete = complete
        self.waited = False
        """Whether objects were awaited."""
        self.cut_off = 0
        """Number of storage associations still open, perhaps with more to send, when a timeout expired."""

    @property
    def elsewhere(self) -> bool:
        """Whether the archive may have sent to a third party: to another title than ours, and nothing arrived."""
        return not self._config.is_own_destination and not self._round.arrived

    @property
    def expected(self) -> int:
        """Number of objects that the archive counts as delivered to us."""
        return 0 if self.elsewhere else sum(map(delivered_of, self._round.statements))

    @property
    def _counted(self) -> bool:
        """Whether the archive counts the objects that it sends; some never do."""
        told = (r for r in self._round.responses if r.status_class in (StatusClass.SUCCESS, StatusClass.WARNING))
        return all(response.completed is not None or response.pending_completed for response in told)

    @property
    def _satisfied(self) -> bool | None:
        """Whether everything listed has arrived; None without a list."""
        return None if self._round.satisfied is None else self._round.satisfied()

    @property
    def _complete(self) -> bool:
        """Whether everything listed has arrived, or everything counted."""
        if self._satisfied:
            return True
        return self._counted and self._round.arrived >= self.expected and not self._silent

    @property
    def _silent(self) -> bool:
        """Whether a success neither counted nor brought anything; it may have been announced before the objects."""
        one = self._round
        successful = any(response.status_class is StatusClass.SUCCESS for response in one.responses)
        failed = any(response.failed or response.failed_sop_instance_uids for response in one.responses)
        return successful and not (self.elsewhere or self.expected or one.arrived or failed)

    @property
    def _is_wanting(self) -> bool:
        """Whether counts, the list or their absence say that objects are still to come."""
        return self._counted or self._silent or self._satisfied is False

    @property
    def _linger(self) -> float:
        """Seconds to wait for the next object: less than by default if none was announced."""
        timeouts = self._config.timeouts
        return timeouts.unannounced if self._silent else timeouts.linger

    @property
    def _exceeded(self) -> bool:
        """Whether more objects arrived than the archive counted, so that its counts are no end."""
        return self._round.arrived > self.expected and self._satisfied is None

    @property
    def _ended(self) -> bool:
        """Whether nothing is left to wait for but senders that end their associations."""
        return self._complete and not (self._exceeded or self._round.lost)

    def wait(self, listener: Listener, *, cancelled: Callable[[], bool]) -> None:
        """Wait for objects that are still on their way, and for senders to end their associations."""
        final = clock.now()
        told = False
        with listener.changed:
            while not cancelled():
                if not told and self._ended and not any(c.is_within_message for c in self._open(listener)):
                    told = True
                    self.waited = clock.now() - final > _GLANCE
                    listener.changed.release()  # ``complete`` waits for the archive
                    try:
                        self._on_complete(self)
                    finally:
                        listener.changed.acquire()
                if (seconds := self._seconds(listener, final)) <= 0:
                    break
                # Bounded: a signal handler that cancels may run between the check and the wait.
                listener.changed.wait(min(seconds, _GLANCE))
            if self._alone and not (cancelled() or self._complete or self._round.lost):
                self.cut_off = len(self._open(listener))
        self.waited = clock.now() - final > _GLANCE

    @staticmethod
    def _open(listener: Listener) -> list[Connection]:
        """Return the open associations, but for those that carried C-ECHO and no object."""
        return [c for c in listener.open_associations if c.has_carried_objects or not c.has_carried_echo]

    def _seconds(self, listener: Listener, final: float) -> float:
        """Return the seconds left to wait, 0 for none; end associations that have gone silent."""
        now = clock.now()
        limit = float("inf") if self._until is None else self._until - now
        if limit <= 0:
            return 0.0
        found = self._open(listener)
        if self._ended and not self._closing:  # idle ones may serve the next retrieve
            found = [one for one in found if one.is_within_message]
        lost = self._round.lost
        if not self._alone:
            silent = max(final, self._round.touched) + self._config.timeouts.linger - now
            return 0.0 if lost or self._complete else min(silent, limit)
        if found:
            return min(limit, *(self._seconds_for(one, final, now) for one in found))
        if lost or self._complete or not (self._is_wanting or listener.unassociated):
            return 0.0
        return min(max(final, listener.last_activity) + self._linger - now, limit)

    def _seconds_for(self, connection: Connection, final: float, now: float) -> float:
        """Return the seconds until the next check of an open association; end it if it has gone silent."""
        if not connection.waiting or connection.is_unread:  # waiting for our side, not for the sender
            return _GLANCE
        config, since = self._config, connection.last_activity
        if not connection.has_carried_objects:
            silence = min(config.timeouts.linger, config.timeouts.store)
        elif self._round.lost:  # after the archive was lost, an idle sender is unlikely to go on
            idle = shortest(config.timeouts.store, config.timeouts.dimse, config.timeouts.stall)
            assert idle is not None
            silence = idle
        else:
            silence, since = config.timeouts.store, max(since, final)
        if self._ended and not connection.is_within_message:
            silence = min(silence, FAREWELL)
        if (left := since + silence - now) > 0:
            return left
        level = _log.info if self._ended else _log.warning
        level("storage association with %s: ended after %g s of silence", connection.peer, silence)
        connection.interrupt("the sender did not end its association after the final response")
        return _GLANCE


def shortest(*limits: float | None) -> float | None:
    """Return the shortest of some timeouts in seconds, None if none is set."""
    return min((limit for limit in limits if limit is not None), default=None)
