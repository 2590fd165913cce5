"""A cohort of a million studies from five archives, in virtual time: what limits it, and what the admission costs.

``python bench/cohort_simulation.py [--studies N] [--jobs N] [--seed N]`` drives ``cohort.admission``, the same that a
list uses, with a simulated clock. Nothing waits; it takes a few minutes. The archives are made up after real ones:
others take their slots and give them back in the course of a day, some are asked at night only, all are away now and
then. Printed are, for each archive, the days, the share of its slots that stood empty although entries waited,
refusals, lost requests and probes; for all of them, what this machine has to do, and so what limits first
(``docs/cohort.md``).
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from movescu.cohort.admission import Admission, Fate, RequestEnd

DAY: Final = 86400.0
OBJECT: Final = 0.5e6
"""Bytes of an object, on average."""
MEDIAN: Final = 60e6
"""Bytes of a study: the median of a log-normal distribution, and the standard deviation of its logarithm."""
SPREAD: Final = 1.2
LATENCY: Final = 0.02
"""Seconds of a refusal, a C-ECHO or a failed connection."""


@dataclass(frozen=True)
class Kind:
    """An archive. ``rate``: bytes a second of one request; ``overhead``: seconds of one (C-FIND, look-up, association).

    ``slots``: free at night and by day. ``window``: hours in which it may be asked; None: any. ``outages``: days from
    one to the next, on average; ``outage``: their median in seconds.
    """

    name: str
    share: float
    rate: float
    overhead: float
    slots: tuple[int, int]
    window: tuple[int, int] | None = None
    outages: float = 30.0
    outage: float = 1800.0


KINDS: Final = (
    Kind("large PACS", 0.35, 4e6, 0.4, (8, 3)),
    Kind("old PACS, nights only", 0.15, 1.5e6, 1.5, (2, 1), (20, 6), outages=7.0),
    Kind("archive with tape", 0.10, 3e6, 12.0, (6, 6), outages=14.0, outage=7200.0),
    Kind("VNA", 0.30, 6e6, 0.2, (16, 12)),
    Kind("department, nights only", 0.10, 2e6, 0.5, (3, 1), (19, 7), outages=20.0),
)


@dataclass
class Account:
    """What came of an archive."""

    name: str
    ended: float = 0.0
    open_slots: float = 0.0
    """Slots times seconds that could have been used, while entries waited."""
    empty_slots: float = 0.0
    sent: int = 0
    refusals: int = 0
    echoes: int = 0
    losses: int = 0
    stop: str = ""
    ends: list[tuple[float, float]] = field(default_factory=list)
    """When a study ended, and its bytes."""


class Course:
    """An archive in virtual time."""

    def __init__(self, kind: Kind, studies: int, jobs: int, chance: random.Random) -> None:
        self.kind, self.chance = kind, chance
        self.account = Account(kind.name)
        self.admission = Admission(jobs, jitter=lambda: chance.uniform(0.8, 1.2))
        self.waiting = deque(MEDIAN * math.exp(chance.gauss(0.0, SPREAD)) for _ in range(studies))
        self.events: list[tuple[float, int, str, int, float]] = []
        self.now, self.number, self.serving = 0.0, 0, 0
        self.outages: list[tuple[float, float]] = []
        at = 3 * DAY
        while len(self.outages) < 500:
            at += chance.expovariate(1.0) * kind.outages * DAY + 60.0
            self.outages.append((at, at + kind.outage * math.exp(chance.gauss(0.0, 0.8))))
            at = self.outages[-1][1]
        self.begins = [begin for begin, _ in self.outages]

    def _slots(self) -> int:
        hour = self.now % DAY / 3600
        return self.kind.slots[0] if hour < 7 or hour >= 19 else self.kind.slots[1]

    def _away(self) -> bool:
        place = bisect_right(self.begins, self.now)
        return place > 0 and self.now < self.outages[place - 1][1]

    def _next_outage(self) -> float:
        place = bisect_right(self.begins, self.now)
        return self.begins[place] if place < len(self.begins) else math.inf

    def _shut(self) -> float:
        """Seconds until the window opens, 0 within it."""
        if self.kind.window is None:
            return 0.0
        begin, end = (hour * 3600.0 for hour in self.kind.window)
        since = (self.now - begin) % DAY
        return 0.0 if since < (end - begin) % DAY else DAY - since

    def run(self) -> Account:
        """Run the cohort of this archive."""
        account = self.account
        while self.waiting or self.events:
            advice, shut = self.admission.advice(self.now), self._shut()
            if advice.stop is not None and not self.events:
                account.stop = advice.stop
                break
            if not shut and advice.send and self.waiting:
                self._send(self.waiting.popleft())
            elif not shut and advice.echo:
                self.admission.echo_started()
                account.echoes += 1
                self._later(LATENCY, "echo")
            else:
                seconds = shut or (math.inf if advice.send or advice.stop else advice.seconds)
                self._wait(self.now + seconds, idle=not shut)
        account.ended, account.refusals = self.now, self.admission.refusals
        return account

    def _later(self, seconds: float, what: str, job: int = 0, size: float = 0.0) -> None:
        self.number += 1
        heapq.heappush(self.events, (self.now + seconds, self.number, what, job, size))

    def _send(self, size: float) -> None:
        job = self.admission.started()
        self.account.sent += 1
        if self._away():
            self._later(LATENCY, "away", job, size)
        elif self.serving >= self._slots():
            self._later(LATENCY, "refused", job, size)
        else:
            self.serving += 1
            self.admission.accepted()
            seconds = self.kind.overhead + size / self.kind.rate
            left = self._next_outage() - self.now
            self._later(min(seconds, left), "lost" if left < seconds else "good", job, size)

    def _wait(self, until: float, *, idle: bool) -> None:
        before, at = self.now, self.events[0][0] if self.events else math.inf
        self.now = min(at, max(until, before))
        if self.now == math.inf:
            raise RuntimeError("nothing is awaited")
        if idle and self.waiting and not self._away():
            slots = min(self._slots(), self.admission._most)  # noqa: SLF001 - jobs are a limit, too
            self.account.open_slots += slots * (self.now - before)
            self.account.empty_slots += max(slots - self.serving, 0) * (self.now - before)
        if at <= until:
            self._end(*heapq.heappop(self.events)[2:])

    def _end(self, what: str, job: int, size: float) -> None:
        if what == "echo":
            self.admission.echo_ended(self.now, answered=not self._away())
            return
        self.serving -= what in ("good", "lost")
        ends = {"good": RequestEnd.GOOD, "refused": RequestEnd.REFUSED}
        fate = self.admission.ended(job, ends.get(what, RequestEnd.AWAY), self.now)
        if what == "good":
            self.account.ends.append((self.now, size))
            return
        self.account.losses += what == "lost"
        if fate is not Fate.DONE:
            (self.waiting.appendleft if what == "refused" else self.waiting.append)(size)


def busiest(ends: list[tuple[float, float]], seconds: float) -> tuple[float, float, float]:
    """Return the highest studies, objects and bytes a second, over slices of some seconds."""
    slices: dict[int, tuple[int, float]] = {}
    for at, size in ends:
        studies, total = slices.get(int(at / seconds), (0, 0.0))
        slices[int(at / seconds)] = studies + 1, total + size
    studies = max(one for one, _ in slices.values()) / seconds
    size = max(total for _, total in slices.values()) / seconds
    return studies, size / OBJECT, size


def main() -> None:
    """Run the simulation and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)  # noqa: S311 - no secret
    every: list[tuple[float, float]] = []
    print("| archive | studies | days | slots empty | refusals | losses | C-ECHO |\n|---|---|---|---|---|---|---|")
    for kind in KINDS:
        one = Course(kind, int(kind.share * arguments.studies), arguments.jobs, chance).run()
        idle = one.empty_slots / max(one.open_slots, 1.0)
        days = f"{one.ended / DAY:.1f}{f' ({one.stop})' if one.stop else ''}"
        numbers = f"{len(one.ends)} | {days} | {idle:.1%} | {one.refusals} | {one.losses} | {one.echoes}"
        print(f"| {one.name} | {numbers} |")
        every += one.ends
    every.sort()
    size, seconds = sum(one for _, one in every), max(at for at, _ in every)
    flushes = len({int(at) for at, _ in every})
    studies, objects, rate = busiest(every, 3600.0)
    print(f"\nall: {len(every)} studies, {size / 1e12:.0f} TB, {size / OBJECT / 1e6:.0f} million objects")
    print(
        f"journal: {len(every) / seconds:.2f} entries a second on average, {studies:.1f} in the busiest hour; ", end=""
    )
    print(f"with one flush a second at most, {flushes / seconds:.2f} flushes a second")
    print(f"busiest hour: {rate / 1e6:.0f} MB/s, {objects:.0f} objects a second")


if __name__ == "__main__":
    main()
