"""Limits on waiting: a point in time, a limit on each wait, and how long a retrieve waits for its archive.

``Patience`` has three limits at once, each with its own error. Silence where a response is due (``-td``), a standstill
of everything (``--stall-timeout``), and the time for all of it (``--total-timeout``). As with DCMTK, an archive whose
objects come in is not silent: many say nothing else until the final response. One that sends pending responses for
ever, and nothing else, is not silent and stands still. None of the limits wants a timer or a thread: they are looked at
when a wait begins and when it ends.
"""

from __future__ import annotations

import time

from movescu.errors import TimedOutError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final


CANCEL_SECONDS: Final = 10.0
"""How long an archive may be silent after C-CANCEL. A supervisor interrupts once and expects an end."""


class Deadline:
    """A point in time until which something may take; ``None`` seconds means for ever.

    ``what`` names the wait in the error that its end raises.
    """

    __slots__ = ("at", "what")

    def __init__(self, seconds: float | None, what: str) -> None:
        self.at = None if seconds is None else time.monotonic() + seconds
        self.what = what

    def remaining(self) -> float | None:
        """Give the seconds that are left, None for no limit; raises ``TimedOutError`` once there are none."""
        if self.at is None:
            return None
        left = self.at - time.monotonic()
        if left <= 0:
            raise self.expired()
        return left

    def expired(self) -> TimedOutError:
        """Make the error of this deadline."""
        return TimedOutError(f"timed out: {self.what}")

    def over(self) -> bool:
        """Tell, after a wait of ``remaining`` seconds that brought nothing, whether there is no more to wait for."""
        return True

    @property
    def within(self) -> Deadline:
        """The limit on waiting for the rest of what has come in part."""
        return self


class Silence(Deadline):
    """A limit on each single wait, however many there are: how long the peer may keep still.

    ``within``: another limit for the waits in the middle of a message.
    """

    __slots__ = ("_within", "seconds")

    def __init__(self, seconds: float | None, what: str, within: Deadline | None = None) -> None:
        super().__init__(None, what)
        self.seconds = seconds
        self._within = within

    @property
    def within(self) -> Deadline:
        """The limit on waiting for the rest of what has come in part."""
        return self if self._within is None else self._within

    def remaining(self) -> float | None:
        """Give the seconds that each wait may take."""
        return self.seconds


class Patience(Deadline):
    """The limits on waiting for one response; times are in seconds, None means no limit.

    ``moved`` tells when a byte last came in, over whatever association, on the monotonic clock; ``progressed`` when one
    of an object did, or the archive last counted on. ``until`` is the point on that clock at which the whole retrieve
    has to be over.
    """

    __slots__ = ("_begun", "_cancelled", "_moved", "_progressed", "_silence", "_stall", "_until")

    def __init__(
        self,
        *,
        silence: float | None,
        stall: float | None,
        until: float | None,
        moved: Callable[[], float],
        progressed: Callable[[], float],
    ) -> None:
        super().__init__(None, "waiting for the archive")
        self._begun = time.monotonic()
        self._silence, self._stall, self._until = silence, stall, until
        self._moved, self._progressed = moved, progressed
        self._cancelled: float | None = None

    def cancelled(self) -> None:
        """Note that C-CANCEL has been sent: an archive that heeds it says so soon, and one that sends on is heard."""
        self._cancelled = time.monotonic()

    def remaining(self) -> float | None:
        """Give the seconds until the first of the limits; raises its ``TimedOutError`` if one is reached."""
        now = time.monotonic()
        moved = max(self._begun, self._moved())
        limits = []
        if self._silence is not None:
            text = f"the archive is silent for {self._silence:g} s where a C-MOVE response is due"
            limits.append((moved + self._silence - now, text))
        if self._stall is not None:
            left = max(self._begun, self._progressed()) + self._stall - now
            limits.append((left, f"no object has come, and the archive has not counted on, for {self._stall:g} s"))
        if self._cancelled is not None:
            left = max(moved, self._cancelled) + CANCEL_SECONDS - now
            limits.append((left, f"the archive is silent for {CANCEL_SECONDS:g} s after C-CANCEL"))
        if self._until is not None:
            limits.append((self._until - now, "the time for the whole retrieve is over"))
        if not limits:
            return None
        left, what = min(limits)
        if left <= 0:
            raise TimedOutError(f"timed out: {what}")
        return left

    def over(self) -> bool:
        """Raise if a limit is reached by now; otherwise something has moved, and the wait goes on."""
        self.remaining()
        return False
