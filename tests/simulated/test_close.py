"""Closing a client in the middle of a retrieve that runs in its own thread, at a moment that the seed chooses.

After ``Client.close`` nothing of the client goes on: no thread, no descriptor, no call on the disk, however slow that
is and whatever the archive does. The retrieve has a result or an error, and its events end.
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from effort import examples
from simulation.checker import broken
from simulation.disk import PATH
from simulation.network import HOST
from simulation.world import PORT, STUDY, World

from movescu import AE, Client, Directory, Request, Retry
from movescu.errors import MovescuError
from movescu.testing import Faults

SEEDS = int(os.environ.get("MOVESCU_SIMULATE", "0")) or examples(96)
FIRST = int(os.environ.get("MOVESCU_SEED", "1"))
PARTS = 4
LATER = 1000.0
"""Seconds after which anything that goes on would have shown."""


def scene(seed: int) -> tuple[World, dict[str, Any], random.Random]:
    choice = random.Random(seed)
    faults = choice.choice(
        (
            *[Faults()] * 3,
            Faults(never_release=True),
            Faults(success_after=3, late=5.0),
            Faults(fail_every=3),
            Faults(pause=1.0),
            Faults(no_final_response=True),
            Faults(endless_pending=1.0),
        )
    )
    world = World(
        seed,
        count=choice.choice((3, 9, 20)),
        associations=choice.choice((1, 2, 3)),
        switching=choice.choice((0.05, 0.2, 0.5)),
        unnamed=choice.random() < 0.8,
        faults=faults,
    )
    durability = choice.choice(("end", "end", "object"))
    world.disk.flush_seconds = choice.choice((0.0, 0.1) if durability == "object" else (0.0, 0.1, 3.0))
    retry = Retry(retries=choice.choice((0, 1)), resume=choice.random() < 0.3)
    to = Directory(PATH, durability=durability, layout=choice.choice(("flat", "flat", "study")))
    world.by = choice.choice(("move", "move", "get"))
    return world, {"to": to, "retry": retry}, choice


def closed_in_the_middle(seed: int) -> list[str]:
    """Close a client in the middle of a retrieve; return what is wrong after that."""
    world, settings, choice = scene(seed)
    with world, world.archive() as archive:
        ae, request = AE(HOST, archive.port, "ARCHIVE"), Request(model="STUDY", ip="4")
        client = Client(ae, listen=PORT, request=request, retrieve=world.by, **settings)
        client.open()
        retrieve = client.start({"StudyInstanceUID": STUDY})
        world.scheduler.elsewhere(choice.randint(0, 400))
        begun = world.scheduler.now
        client.close(abort=choice.random() < 0.3)
        wrong = [f"close took {world.scheduler.now - begun} s"] if world.scheduler.now - begun > 100.0 else []
        threads = {"movescu-retrieve", "movescu-flusher", "movescu-index", "movescu-leftovers"}
        wrong += [f"{name} goes on" for name in world.scheduler.living() if name in threads]
        wrong += [f"descriptor {fd} is open" for fd in world.disk.open]
        if PORT in world.network.listening:
            wrong.append("the port is open")
        calls = world.disk.calls
        world.scheduler.sleep(LATER)
        wrong += [f"{name} after the end" for name in world.disk.names[calls:]]
        list(retrieve)  # the events end
        try:
            told = retrieve.result().outcome
        except MovescuError as error:
            told = type(error).__name__
        wrong += broken(world.objects, world.acknowledged, told, world.disk.objects(), world.disk.objects(stable=True))
    return wrong


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_goes_on_after_close(part: int) -> None:
    found = {seed: closed_in_the_middle(seed) for seed in range(FIRST + part, FIRST + SEEDS, PARTS)}
    assert not any(found.values()), "\n".join(f"seed {seed}: {wrong}" for seed, wrong in found.items() if wrong)
