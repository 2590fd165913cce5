"""Timeouts: of an operation, of each wait, and of a retrieve.

``Patience`` has three timeouts at once, each with its own error: silence where a response is due (``-td``), no progress
(``--stall-timeout``), and the time for the whole retrieve (``--total-timeout``). As with DCMTK, no archive is silent
while its objects arrive, for many send no response but the final one. An archive that sends pending responses forever,
and nothing else, is not silent but makes no progress. No timeout needs a timer or a thread: each is checked when a wait
begins and when it ends.
"""

from __future__ import annotations

from movescu._runtime import clock
from movescu.errors import TimedOutError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final


_NEVER: Final = float("inf")
_FRESH: Final = 0.01
"""Part of a limit for which its end is not computed again: progress meanwhile makes the wait end no later."""
_ALL_OVER: Final = "timed out: the time for the whole retrieve is over"

CANCEL_SECONDS: Final = 10.0
"""Seconds that an archive may be silent after C-CANCEL: whoever interrupts a program once expects it to end."""


class Deadline:
    """A point in time, ``seconds`` from now, by which an operation has to end; None is no limit.

    ``what``: the operation, for the error.
    """

    __slots__ = ("at", "what")

    def __init__(self, seconds: float | None, what: str) -> None:
        self.at = None if seconds is None else clock.now() + seconds
        self.what = what

    def remaining(self) -> float | None:
        """Return the seconds left, None for no limit. Raise ``TimedOutError`` if none are left."""
        if self.at is None:
            return None
        left = self.at - clock.now()
        if left <= 0:
            raise self.expired()
        return left

    def expired(self) -> TimedOutError:
        """Return the error that says that this deadline has passed."""
        return TimedOutError(f"timed out: {self.what}")

    def over(self) -> bool:
        """Return True if a wait of ``remaining`` seconds without a byte is the end, False if the wait goes on."""
        return True

    @property
    def within(self) -> Deadline:
        """The deadline for the rest of a message that has arrived in part."""
        return self


class Silence(Deadline):
    """A limit on each single wait: the ``seconds`` that the peer may be silent.

    ``within``: the limit in the middle of a message. Default: the same.
    """

    __slots__ = ("_within", "seconds")

    def __init__(self, seconds: float | None, what: str, within: Deadline | None = None) -> None:
        super().__init__(None, what)
        self.seconds = seconds
        self._within = within

    @property
    def within(self) -> Deadline:
        """The limit in the middle of a message."""
        return self if self._within is None else self._within

    def remaining(self) -> float | None:
        """Return the seconds of each wait."""
        return self.seconds


class BoundedSilence(Silence):
    """A limit on each single wait, and a point in time, on the monotonic clock, by which all of them have to end.

    ``until``: None is no such point.
    """

    __slots__ = ("_until",)

    def __init__(self, seconds: float | None, what: str, until: float | None) -> None:
        super().__init__(seconds, what)
        self._until = until

    def remaining(self) -> float | None:
        """Return the seconds of the next wait. Raise ``TimedOutError`` if the time is over."""
        if self._until is None:
            return self.seconds
        left = self._until - clock.now()
        if left <= 0:
            raise TimedOutError(_ALL_OVER)
        return left if self.seconds is None else min(self.seconds, left)

    def over(self) -> bool:
        """Return True: a wait without a byte is the end. Raise ``TimedOutError`` if the time is over."""
        self.remaining()
        return True


class Patience(Deadline):
    """The timeouts of the wait for a response, in seconds; None is no limit.

    ``moved`` returns when the last byte arrived over any association, on the monotonic clock; ``progressed`` when the
    last byte of an object did, or the counts of the archive's responses last changed. ``until``: the point on that
    clock by which the whole retrieve has to end. ``silent_where``: what the archive owes, for the error. ``within``:
    the limit in the middle of a message. Default: the same.
    """

    __slots__ = (
        *("_begun", "_cancelled", "_ends", "_fresh", "_fresh_until", "_moved", "_progressed"),
        *("_silence", "_silent_where", "_stall", "_until", "_within"),
    )

    def __init__(
        self,
        *,
        silence: float | None,
        stall: float | None,
        until: float | None,
        moved: Callable[[], float],
        progressed: Callable[[], float],
        silent_where: str = "where a C-MOVE response is due",
        within: Deadline | None = None,
    ) -> None:
        super().__init__(None, "waiting for the archive")
        self._begun = clock.now()
        self._silence, self._stall, self._until = silence, stall, until
        self._moved, self._progressed = moved, progressed
        self._silent_where = silent_where
        self._within = within
        self._cancelled: float | None = None
        self._fresh = _FRESH * min((one for one in (silence, stall) if one is not None), default=0.0)
        self._ends = self._fresh_until = 0.0

    @property
    def within(self) -> Deadline:
        """The limit in the middle of a message."""
        return self if self._within is None else self._within

    def cancelled(self) -> None:
        """Record that C-CANCEL was sent; from now on the archive may be silent for ``CANCEL_SECONDS`` only.

        An archive that honours C-CANCEL responds soon; the objects of one that does not are still received.
        """
        self._cancelled = clock.now()
        self._fresh = self._fresh_until = 0.0

    def remaining(self) -> float | None:
        """Return the seconds until the first of the timeouts. Raise ``TimedOutError`` if one has expired."""
        now, ends = clock.now(), _NEVER
        if now < self._fresh_until:
            return self._ends - now
        moved = max(self._begun, self._moved())
        if self._silence is not None:
            ends = moved + self._silence
        if self._stall is not None:
            ends = min(ends, max(self._begun, self._progressed()) + self._stall)
        if self._cancelled is not None:
            ends = min(ends, max(moved, self._cancelled) + CANCEL_SECONDS)
        if self._until is not None:
            ends = min(ends, self._until)
        if ends <= now:
            raise self._expired(moved)
        self._ends, self._fresh_until = ends, min(now + self._fresh, ends)
        return None if ends == _NEVER else ends - now

    def _expired(self, moved: float) -> TimedOutError:
        """Return the error of the timeout that expired first, in words."""
        limits = []
        if self._silence is not None:
            limits.append((moved + self._silence, f"silent for {self._silence:g} s {self._silent_where}"))
        if self._cancelled is not None:
            ends = max(moved, self._cancelled) + CANCEL_SECONDS
            limits.append((ends, f"silent for {CANCEL_SECONDS:g} s after C-CANCEL"))
        limits = [(ends, f"the archive has been {text}") for ends, text in limits]
        if self._stall is not None:
            text = f"no object has arrived, and no count of the archive changed, for {self._stall:g} s"
            limits.append((max(self._begun, self._progressed()) + self._stall, text))
        if self._until is not None:
            limits.append((self._until, "the time for the whole retrieve is over"))
        return TimedOutError(f"timed out: {min(limits)[1]}")

    def over(self) -> bool:
        """Return False: the wait goes on, as bytes have arrived elsewhere. Raise ``TimedOutError`` otherwise."""
        self.remaining()
        return False
