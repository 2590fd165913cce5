"""A crash at every call on the disk, and what ``--resume`` makes of what is left.

After a kill everything is left; after a loss of power, of the changes that were not flushed, any. Whichever are left, a
retrieve that resumes ends with the same objects as one that was never interrupted, and with nothing else.
"""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

import pytest
from effort import some
from simulation.checker import broken
from simulation.world import World

from movescu import Retry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from simulation.disk import Disk

RESUME = Retry(resume=True)
STATES = int(os.environ.get("MOVESCU_SIMULATE", "0")) or 3
"""States of the disk that are tried for each crash, if there are more."""

SETTINGS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "end": ({"count": 3}, {}),
    "object": ({"count": 2}, {"durability": "object"}),
    "named": ({"count": 2, "unnamed": False}, {}),
    "get": ({"count": 2, "by": "get"}, {}),
    "folders": ({"count": 2}, {"layout": "study", "retry": RESUME}),
}


CHANGING = frozenset(("openat", "write", "writev", "link", "unlink", "replace", "mkdir", "fsync", "syncfs", "commit"))
"""Calls that change what a crash may leave: one right before any other call leaves what the one before it would."""
DAYS = 2 * 86400.0
"""Seconds until the machine has its power again: a temporary file whose lock was lost is left for a day."""


def crashes(world: Mapping[str, Any], retrieve: Mapping[str, Any]) -> Iterator[World]:
    """Yield the worlds in which the retrieve ended, each before another call on the disk: one in two, or all."""
    with World(**world) as clean:
        told = clean.retrieve(**retrieve)
    assert told.complete
    calls = [call for call, before in enumerate(clean.disk.names[:-1], start=2) if before in CHANGING]
    for call in some(calls, 2):
        first, outcome = interrupted(world, retrieve, call)
        assert outcome == "crashed"
        yield first


def interrupted(world: Mapping[str, Any], retrieve: Mapping[str, Any], call: int) -> tuple[World, str]:
    """Run a retrieve that ends before a call on the disk."""
    with World(**world) as first:
        first.disk.crash_at = call
        told = first.retrieve(**retrieve)
    return first, told.outcome


def resumed(disk: Disk, world: Mapping[str, Any], retrieve: Mapping[str, Any], later: float = 0.0) -> list[str]:
    """Resume on a disk, some seconds later; return the broken promises."""
    with World(**world).on(disk) as second:
        second.scheduler.now += later
        told = second.retrieve(**{**retrieve, "retry": RESUME})
        there, stable = disk.objects(), disk.objects(stable=True)
        found = broken(second.objects, second.acknowledged, told.outcome, there, stable)
        if told.outcome != "complete":
            found.append(f"the outcome is {told.outcome}: {told.error or told.result}")
        found += [f"{name} is left over" for name in disk.files() if ".movescu-" in name]
    return found


def states(first: World, seed: int) -> Iterator[list[bool]]:
    """Which of the changes that are not flushed the disk has after a loss of power: all choices, or some."""
    count, random = first.disk.changes(), first.scheduler.random
    random.seed(seed)
    if 2**count <= STATES:
        yield from (list(kept) for kept in itertools.product((False, True), repeat=count))
        return
    yield [False] * count
    yield [True] * count
    for number in range(STATES - 2):
        lost = random.randrange(count)
        yield [n != lost for n in range(count)] if number % 2 == 0 else [random.random() < 0.5 for _ in range(count)]


@pytest.mark.parametrize("setting", SETTINGS)
def test_resume_completes_what_was_killed(setting: str) -> None:
    world, retrieve = SETTINGS[setting]
    wrong = {}
    for first in crashes(world, retrieve):
        lost = broken(first.objects, first.acknowledged, "killed", first.disk.objects(), {})
        if lost := lost + resumed(first.disk.after_kill(first.scheduler), world, retrieve):
            wrong[f"{first.disk.calls} {first.disk.names[-2:]}"] = lost
    assert not wrong, "\n".join(f"{call} {what}" for call, what in wrong.items())


@pytest.mark.parametrize("setting", SETTINGS)
def test_resume_completes_what_lost_its_power(setting: str) -> None:
    world, retrieve = SETTINGS[setting]
    wrong = {}
    for first in crashes(world, retrieve):
        for kept in states(first, first.disk.calls):
            disk = first.disk.after_power_failure(first.scheduler, kept)
            acknowledged = first.acknowledged if retrieve.get("durability") == "object" else ()
            lost = [f"{uid} was acknowledged and is lost" for uid in missing(first, disk, acknowledged)]
            if lost := lost + resumed(disk, world, retrieve, DAYS):
                wrong[f"{first.disk.calls} {first.disk.names[-2:]} {kept}"] = lost
    assert not wrong, "\n".join(f"{call} {what}" for call, what in wrong.items())


def missing(world: World, disk: Disk, uids: Iterable[str]) -> list[str]:
    there = [*disk.objects().values()]
    return [uid for uid in uids if not any(data.endswith(world.objects[uid]) for data in there)]
