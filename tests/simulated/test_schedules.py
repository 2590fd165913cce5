"""Schedules: the same retrieve with its threads in other orders, and bytes in other pieces, one for each seed.

``MOVESCU_SIMULATE=N`` runs N seeds instead of 160, from ``MOVESCU_SEED`` on.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace
from typing import Any

import pytest
from effort import examples
from simulation.checker import broken
from simulation.threads import DeadlockError
from simulation.world import World

from movescu import Retry
from movescu.testing import Ending, Faults

SEEDS = int(os.environ.get("MOVESCU_SIMULATE", "0")) or examples(160)
FIRST = int(os.environ.get("MOVESCU_SEED", "1"))
PARTS = 8
NO_GET: tuple[dict[str, Any], ...] = ({"accept_no_get": True}, {"get_status": 0x0122}, {"get_status": 0x0211})
"""Archives without C-GET, which ``auto`` falls back for."""


def scene(seed: int) -> tuple[World, dict[str, Any]]:
    """Return a world and the settings of a retrieve, both of the seed's choice."""
    choice = random.Random(seed)
    faults = choice.choice(
        (
            *[Faults()] * 4,
            Faults(fail_every=3),
            Faults(drop_every=4),
            Faults(sender_ends_by=choice.choice(list(Ending)), sender_ends_in=choice.randint(1, 6)),
            Faults(main_ends_by=choice.choice(list(Ending)), main_ends_after=choice.randint(0, 6)),
            Faults(success_after=choice.randint(0, 6), late=choice.choice((0.0, 1.0, 30.0))),
            Faults(never_release=True),
        )
    )
    world = World(
        seed,
        count=choice.choice((1, 5, 9, 40)),
        large=choice.choice((0, 0, 1)),
        associations=choice.choice((1, 2, 2, 3, 4)),
        switching=choice.choice((0.02, 0.1, 0.4)),
        short=choice.choice((0.0, 0.0, 0.2)),
        unnamed=choice.random() < 0.8,
        faults=faults,
    )
    retry = Retry(verify=choice.random() < 0.3, retries=choice.choice((0, 0, 2)))
    as_command = choice.random() < 0.7
    world.by = choice.choice(("move", "move", "get", "auto"))
    if world.by == "auto" and choice.random() < 0.5:
        world.faults = replace(faults, **choice.choice(NO_GET))
    return world, {"retry": retry, "durability": choice.choice(("end", "end", "object")), "as_command": as_command}


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_that_was_acknowledged_is_lost_in_any_schedule(part: int) -> None:
    wrong = {}
    for seed in range(FIRST + part, FIRST + SEEDS, PARTS):
        world, settings = scene(seed)
        each_flushed = settings["durability"] == "object"
        with world:
            try:
                told = world.retrieve(**settings)
            except DeadlockError as error:
                wrong[seed] = [f"deadlock {error}"]
                world.scheduler.failures.clear()
                continue
            there, stable = world.disk.objects(), world.disk.objects(stable=True)
            acknowledged, outcome = world.acknowledged, told.outcome
            found = broken(world.objects, acknowledged, outcome, there, stable, each_flushed=each_flushed)
            found += [f"{name} goes on after the end" for name in world.scheduler.living()]
            found += [f"descriptor {fd} is open after the end" for fd in [*world.disk.open, *world.network.sockets]]
            found += [f"{name} is left over" for name in world.disk.files() if name.startswith(".")]
        if found:
            wrong[seed] = found
    assert not wrong, "\n".join(f"seed {seed}: {what}" for seed, what in wrong.items())
