"""Archives in virtual time for ``cohort.admission``: slots that change, absences, windows, requests of random lengths.

``simulate`` runs a cohort against one archive as the runner does: it asks for advice, sends, echoes or waits. Nothing
of it takes real time. A request that finds no slot is refused; one sent while the archive is away fails at once.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from dataclasses import dataclass, field

from movescu.cohort.admission import Admission, Fate, RequestEnd, Stop


@dataclass
class World:
    """An archive. ``slots``: (from when, how many), in order. ``absences``: (from, to). ``closed``: (from, to), when
    nothing may be sent to it.

    ``seconds``: of a request, at least half and at most one and a half times. ``latency``: of a refusal.
    """

    slots: list[tuple[float, int]]
    absences: list[tuple[float, float]] = field(default_factory=list)
    closed: list[tuple[float, float]] = field(default_factory=list)
    seconds: float = 1.0
    latency: float = 0.02
    seed: int = 0

    def slots_at(self, now: float) -> int:
        return [number for since, number in self.slots if since <= now][-1]

    def is_away(self, now: float) -> bool:
        return any(begin <= now < end for begin, end in self.absences)

    def is_closed(self, now: float) -> bool:
        return any(begin <= now < end for begin, end in self.closed)

    def changes_at(self, now: float) -> float:
        """When it opens or closes next."""
        return min((time for both in self.closed for time in both if time > now), default=float("inf"))

    def away_from(self, now: float) -> float:
        """When it goes away next."""
        return min((begin for begin, _ in self.absences if begin > now), default=float("inf"))


@dataclass
class Course:
    """What came of a cohort."""

    done: list[int] = field(default_factory=list)
    left: int = 0
    ended: float = 0.0
    refusals: int = 0
    sent: int = 0
    asked: int = 0
    """How often advice was asked for."""
    echoes: int = 0
    idle: float = 0.0
    """Slots times seconds in which a slot was free and an entry waited, while the archive was there."""
    stop: Stop | None = None
    counted: dict[int, int] = field(default_factory=dict)
    """Refusals that counted against an entry."""


def simulate(world: World, admission: Admission, entries: int) -> Course:
    """Run a cohort."""
    return _Cohort(world, admission, entries).run()


class _Cohort:
    def __init__(self, world: World, admission: Admission, entries: int) -> None:
        self.world, self.admission, self.course = world, admission, Course()
        self.chance = random.Random(world.seed)
        self.waiting: deque[int] = deque(range(entries))
        self.events: list[tuple[float, int, str, int]] = []  # time, number, what ends, entry
        self.now, self.number, self.serving = 0.0, 0, 0
        self.tickets: dict[int, int] = {}

    def run(self) -> Course:
        course = self.course
        while self.waiting or self.events:
            course.asked += 1
            held = self.world.is_closed(self.now)
            advice = self.admission.advice(self.now, held=held)
            assert not (held and (advice.send or advice.echo))
            if advice.stop is not None and not self.events:
                course.stop = advice.stop
                break
            if advice.send and self.waiting:
                self.send(self.waiting.popleft())
            elif advice.echo:
                self.admission.echo_started()
                course.echoes += 1
                self.later(self.world.latency, "echo", -1)
            else:
                until = float("inf") if advice.send or advice.stop else self.now + advice.seconds
                self.wait(min(until, self.world.changes_at(self.now)))
        course.left += len(self.waiting)
        course.refusals = self.admission.refusals
        return course

    def later(self, seconds: float, what: str, entry: int) -> None:
        self.number += 1
        heapq.heappush(self.events, (self.now + seconds, self.number, what, entry))

    def send(self, entry: int) -> None:
        world = self.world
        self.tickets[entry] = self.admission.started()
        self.course.sent += 1
        if world.is_away(self.now):
            self.later(world.latency, "away", entry)
        elif self.serving >= world.slots_at(self.now):
            self.later(world.latency, "refused", entry)
        else:
            self.serving += 1
            self.admission.accepted()
            seconds, left = world.seconds * self.chance.uniform(0.5, 1.5), world.away_from(self.now) - self.now
            self.later(min(seconds, left), "lost" if left < seconds else "good", entry)

    def wait(self, until: float) -> None:
        at = self.events[0][0] if self.events else float("inf")
        assert min(at, until) < float("inf"), "nothing is awaited, and nothing happens"
        before, self.now = self.now, max(self.now, min(at, until))
        if self.waiting and not (self.world.is_away(before) or self.world.is_closed(before)):
            free = max(self.world.slots_at(before) - self.serving, 0)
            self.course.idle += free * (self.now - before)
        if at <= until:
            self.end(*heapq.heappop(self.events)[2:])
        else:
            assert self.now > before, "a busy loop"

    def end(self, what: str, entry: int) -> None:
        if what == "echo":
            self.admission.echo_ended(self.now, answered=not self.world.is_away(self.now))
            return
        self.serving -= what in ("good", "lost")
        ending = {"good": RequestEnd.GOOD, "refused": RequestEnd.REFUSED}.get(what, RequestEnd.AWAY)
        fate = self.admission.ended(self.tickets.pop(entry), ending, self.now)
        if ending is RequestEnd.GOOD:
            self.course.done.append(entry)
            self.course.ended = self.now
        elif fate is Fate.DONE:
            self.course.left += 1
        else:
            counted = self.course.counted
            counted[entry] = counted.get(entry, 0) + (fate is Fate.AGAIN_COUNTED)
            self.waiting.appendleft(entry)
