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


class Patience(Deadline):
    """The timeouts of the wait for a response, in seconds; None is no limit.

    ``moved`` returns when the last byte arrived over any association, on the monotonic clock; ``progressed`` when the
    last byte of an object did, or the counts of the archive's responses last changed. ``until``: the point on that
    clock by which the whole retrieve has to end. ``silent_where``: what the archive owes, for the error.
    """

    __slots__ = ("_begun", "_cancelled", "_moved", "_progressed", "_silence", "_silent_where", "_stall", "_until")

    def __init__(
        self,
        *,
        silence: float | None,
        stall: float | None,
        until: float | None,
        moved: Callable[[], float],
        progressed: Callable[[], float],
        silent_where: str = "where a C-MOVE response is due",
    ) -> None:
        super().__init__(None, "waiting for the archive")
        self._begun = clock.now()
        self._silence, self._stall, self._until = silence, stall, until
        self._moved, self._progressed = moved, progressed
        self._silent_where = silent_where
        self._cancelled: float | None = None

    def cancelled(self) -> None:
        """Record that C-CANCEL was sent; from now on the archive may be silent for ``CANCEL_SECONDS`` only.

        An archive that honours C-CANCEL responds soon; the objects of one that does not are still received.
        """
        self._cancelled = clock.now()

    def remaining(self) -> float | None:
        """Return the seconds until the first of the timeouts. Raise ``TimedOutError`` if one has expired."""
        now = clock.now()
        moved = max(self._begun, self._moved())
        limits = []
        if self._silence is not None:
            text = f"the archive has been silent for {self._silence:g} s {self._silent_where}"
            limits.append((moved + self._silence - now, text))
        if self._stall is not None:
            left = max(self._begun, self._progressed()) + self._stall - now
            limits.append((left, f"no object has arrived, and no count of the archive changed, for {self._stall:g} s"))
        if self._cancelled is not None:
            left = max(moved, self._cancelled) + CANCEL_SECONDS - now
            limits.append((left, f"the archive has been silent for {CANCEL_SECONDS:g} s after C-CANCEL"))
        if self._until is not None:
            limits.append((self._until - now, "the time for the whole retrieve is over"))
        if not limits:
            return None
        left, what = min(limits)
        if left <= 0:
            raise TimedOutError(f"timed out: {what}")
        return left

    def over(self) -> bool:
        """Return False: the wait goes on, as bytes have arrived elsewhere. Raise ``TimedOutError`` otherwise."""
        self.remaining()
        return False
