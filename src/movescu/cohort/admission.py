"""When an archive is sent its next request: slots, refusals and absences. No I/O; time is an argument.

Theory. An archive serves a number of requests at once, which it does not report: it refuses the others, by a status
(A701, or A702 without failed sub-operations), a transient rejection, or silence (PS3.4 table C.4-2, PS3.8 9.3.4). A
refusal while ``n`` requests were under way, the refused one included, shows that there were fewer than ``n`` slots; so
the ceiling becomes ``max(1, n - 1)``. Slots that other clients of the archive took become free again, so a learned
ceiling is probed: after ``PROBE_AFTER`` good requests or ``PROBE_SECONDS`` without a refusal it is raised by one. Each
probe costs one refusal at most, so that of ``N`` requests by ``J`` workers at most ``J + N / PROBE_AFTER`` are refused
by an archive whose slots do not change. A given ceiling is never exceeded.

A refusal is no failure of the entry: the request is sent again once another one has ended. If no other request was
under way, the archive refuses this entry, or serves other clients. Then the request is sent again after a pause, which
doubles from ``PAUSE`` to ``LONGEST_PAUSE`` seconds, and the refusal counts against it.

An archive that cannot be reached is away. After ``BREAKS_AFTER`` such failures without an answer in between nothing is
sent any more; one probe (a C-ECHO) after ``FIRST_ECHO`` seconds, and further ones at growing intervals up to
``LONGEST_ECHO`` seconds, find out when it is back. The entries are requested again, with no failure counted. If it
stays away for ``patience`` seconds, or if it never accepted an association, the cohort stops: an archive that was never
there is most likely a mistake. Time in which nothing may be sent at all, as outside of a window, does not count as an
absence, since nothing could find out its end. The cohort also stops if C-ECHO was answered ``UNANSWERED`` times and the
requests after it never were: the archive rejects them on purpose, for example because it does not know our AE title.

A request that ends as ``UNREACHED`` was carried out by the archive, which could not connect to our port; one that ends
as ``UNKNOWN``, by an archive that does not know where that is. After ``STOPS_AFTER`` of these without a good one in
between, the cohort stops, as each further one would fail in the same way. It stops at once if a request finds our disk
full; its entry goes back unharmed, like one that the archive refused.
"""

from __future__ import annotations

from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

PROBE_AFTER: Final = 50
"""Good requests after which a learned ceiling is raised by one."""
PROBE_SECONDS: Final = 300.0
PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
BREAKS_AFTER: Final = 3
FIRST_ECHO: Final = 5.0
LONGEST_ECHO: Final = 60.0
UNANSWERED: Final = 3
STOPS_AFTER: Final = 3
PATIENCE: Final = 12 * 3600.0
"""Seconds that an archive may be away by default."""


class RequestEnd(Enum):
    """How a request ended, as far as it says something about the archive."""

    GOOD = auto()
    """The archive carried it out."""
    FAILED = auto()
    """The archive answered, and the request failed for a reason of its own."""
    REFUSED = auto()
    """The archive has no slot for it, as a status or a transient rejection says."""
    AWAY = auto()
    """No association could be had, or it was lost before anything was answered."""
    SILENT = auto()
    """The association request was not answered: a refusal while others are under way, else an absence."""
    UNREACHED = auto()
    """The archive could not connect to our port: sub-operations failed and nothing connected."""
    UNKNOWN = auto()
    """The archive does not know the move destination (A801)."""
    NO_SPACE = auto()
    """The archive carried it out, but our disk is full."""
    NOT_FLUSHED = auto()
    """The archive carried it out, but the objects cannot be flushed to our disk, nor any later ones."""
    HOPELESS = auto()
    """No other request would be answered either: an unknown host, a permanent rejection."""


class Fate(Enum):
    """What becomes of the entry of a request that ended."""

    DONE = auto()
    """Its result counts."""
    AGAIN = auto()
    """It goes back, unharmed."""
    AGAIN_COUNTED = auto()
    """It goes back, and the refusal counts against it: nothing else was under way."""


class Stop(StrEnum):
    """Why no more requests are sent."""

    AWAY = "the archive cannot be reached"
    UNREACHED = "the archive cannot connect to our port"
    UNKNOWN = "the archive does not know the move destination"
    NO_SPACE = "the disk of the output directory is full"
    NOT_FLUSHED = "stored objects cannot be flushed to the disk"
    HOPELESS = "the archive does not accept our requests"


_AT_ONCE: Final = {
    RequestEnd.HOPELESS: (Stop.HOPELESS, Fate.DONE),
    RequestEnd.NO_SPACE: (Stop.NO_SPACE, Fate.AGAIN),
    RequestEnd.NOT_FLUSHED: (Stop.NOT_FLUSHED, Fate.DONE),
}
"""Ends of a request that stop the cohort, and what becomes of its entry."""
_IN_VAIN: Final = {RequestEnd.UNREACHED: Stop.UNREACHED, RequestEnd.UNKNOWN: Stop.UNKNOWN}


class Advice(NamedTuple):
    """What to do next: send a request or a C-ECHO, wait, or stop.

    ``seconds``: how long to wait at most, unless a request ends before; infinite if only that can change the advice.
    """

    send: bool = False
    echo: bool = False
    seconds: float = 0.0
    stop: Stop | None = None


class Admission:
    """Admission of requests to one archive.

    ``jobs``: highest number of requests at once. ``slots``: that the archive is known to have. Default: None, they are
    learned. ``patience``: seconds that the archive may be away once it was there. ``answered``: whether it was
    there in an earlier run. Default: False. ``jitter``: factor on each pause. Default: 1.
    """

    def __init__(
        self,
        jobs: int,
        *,
        slots: int | None = None,
        patience: float = PATIENCE,
        answered: bool = False,
        jitter: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self._most = jobs if slots is None else min(jobs, slots)
        self.ceiling = self._most
        """Requests that may be under way at once."""
        self._alone: dict[int, bool] = {}  # requests under way; whether no other was, as long as they have been
        self._delivered: set[int] = set()  # those of them that the archive has carried out
        self._number = 0
        self.refusals = 0
        """Refusals so far."""
        self.away_since: float | None = None
        """Since when the archive has been away; None while it is there."""
        self.next_echo = 0.0
        """When the next probe of an absent archive is due."""
        self.stop: Stop | None = None
        """Why no more requests are sent; None while they are."""
        self._patience = patience
        self._answered = answered
        self._jitter = jitter
        self._good = 0  # requests since the ceiling last changed
        self._changed = 0.0  # when that was
        self._lost = 0  # failures to reach the archive without an answer in between
        self._unanswered = 0  # absences since a request was last answered
        self._in_vain = 0  # requests that ended so, without a good one in between
        self._pause = PAUSE
        self._not_before = 0.0
        self._echoing = False
        self._echo_pause = FIRST_ECHO
        self._held_at: float | None = None  # when advice was last asked for while nothing might be sent

    @property
    def deadline(self) -> float:
        """When an absent archive is given up; infinite while it is there."""
        return float("inf") if self.away_since is None else self.away_since + self._patience

    def advice(self, now: float, *, held: bool = False) -> Advice:
        """Return what to do now; ``started`` or ``echo_started`` records that it was done.

        ``held``: the run itself sends nothing now, whatever the archive allows. Default: False.
        """
        if self._held_at is not None and self.away_since is not None:
            self.away_since += now - max(self._held_at, self.away_since)
        self._held_at = now if held else None
        if self.stop is None and now >= self.deadline:
            self.stop = Stop.AWAY
        if self.stop is not None:
            return Advice(stop=self.stop)
        if held:
            return Advice(seconds=float("inf"))
        if self.away_since is not None:
            due = self.deadline if self._echoing else min(self.next_echo, self.deadline)
            return Advice(echo=due <= now, seconds=max(due - now, 0.0))
        self._probe(now)
        full = self.under_way >= self.ceiling or (self._lost and not self._answered)
        wait = self._until_probe(now) if full else self._not_before - now
        return Advice(send=wait <= 0, seconds=max(wait, 0.0))

    def _probe(self, now: float) -> None:
        """Raise a learned ceiling by one, if that is due."""
        if self.ceiling < self._most and (self._good >= PROBE_AFTER or self._until_probe(now) <= 0):
            self._set_ceiling(self.ceiling + 1, now)

    def _until_probe(self, now: float) -> float:
        if self.ceiling >= self._most:
            return float("inf")
        return self._changed + PROBE_SECONDS - now

    def _set_ceiling(self, ceiling: int, now: float) -> None:
        self.ceiling, self._good, self._changed = ceiling, 0, now

    @property
    def under_way(self) -> int:
        """Number of requests sent that take one of the archive's slots."""
        return len(self._alone) - len(self._delivered)

    def absence(self, now: float) -> tuple[float, float] | None:
        """Return seconds until an absent archive is probed next, and until it is given up; None if it is there."""
        if self.away_since is None:
            return None
        return max(self.next_echo - now, 0.0), max(self.deadline - now, 0.0)

    def started(self) -> int:
        """Record that a request is sent, and return its number."""
        self._number += 1
        alone = not self.under_way
        if not alone:
            self._alone = dict.fromkeys(self._alone, False)
        self._alone[self._number] = alone
        return self._number

    def accepted(self) -> None:
        """Record that the archive accepted an association: if it goes away now, it is worth waiting for."""
        self._answered = True

    def delivered(self, number: int) -> None:
        """Record that the archive has carried out a request, and serves the next one; ``ended`` follows."""
        self.accepted()
        self._delivered.add(number)

    def ended(self, number: int, ending: RequestEnd, now: float) -> Fate:
        """Record the end of a request, and return what becomes of its entry."""
        alone = self._alone.pop(number)
        self._delivered.discard(number)
        if ending is RequestEnd.SILENT:
            # Who never answered has no slots, either.
            return self._lose(now) if alone or not self._answered else self._refuse(now, alone=False)
        if ending is not RequestEnd.AWAY:
            self._unanswered = 0
        if ending not in (RequestEnd.AWAY, RequestEnd.HOPELESS):
            self._is_back()
        if ending in _AT_ONCE:
            stop, fate = _AT_ONCE[ending]
            self.stop = self.stop or stop
            return fate
        if ending is RequestEnd.AWAY:
            return self._lose(now)
        if ending is RequestEnd.REFUSED:
            return self._refuse(now, alone=alone)
        if ending in _IN_VAIN:
            self._in_vain += 1
            if self._in_vain >= STOPS_AFTER:
                self.stop = self.stop or _IN_VAIN[ending]
        elif ending is RequestEnd.GOOD:
            self._good += 1
            self._in_vain, self._pause = 0, PAUSE
        return Fate.DONE

    def withdrawn(self, number: int) -> None:
        """Record that nothing will be known of the end of a request."""
        del self._alone[number]
        self._delivered.discard(number)

    def _refuse(self, now: float, *, alone: bool) -> Fate:
        self.refusals += 1
        self._set_ceiling(min(self.ceiling, max(1, self.under_way)), now)
        if not alone:
            return Fate.AGAIN
        self._not_before = now + self._pause * self._jitter()
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return Fate.AGAIN_COUNTED

    def _lose(self, now: float) -> Fate:
        self._lost += 1
        if not self._answered:
            if self.under_way == 0 or self._lost >= BREAKS_AFTER:
                self.stop = self.stop or Stop.AWAY
            return Fate.DONE
        if self.away_since is None and self._lost >= BREAKS_AFTER:
            self._unanswered += 1
            if self._unanswered > UNANSWERED:
                self.stop = Stop.HOPELESS
            self.gone(now)
        elif self.away_since is None:
            self._not_before = max(self._not_before, now + PAUSE * self._jitter())
        return Fate.AGAIN

    def _is_back(self) -> None:
        self._answered, self._lost, self.away_since = True, 0, None

    def echo_started(self) -> None:
        """Record that the probe of an absent archive is sent."""
        self._echoing = True

    def gone(self, now: float) -> None:
        """Record that the archive does not answer a C-ECHO by which it was to show that it is there."""
        if self.away_since is None:
            self.away_since, self._echo_pause = now, FIRST_ECHO
            self.next_echo = now + self._echo_pause * self._jitter()

    def echo_ended(self, now: float, *, answered: bool) -> None:
        """Record whether the archive answered the probe."""
        self._echoing = False
        if answered:
            self._is_back()
            return
        self._echo_pause = min(2 * self._echo_pause, LONGEST_ECHO)
        self.next_echo = now + self._echo_pause * self._jitter()
