"""A whole retrieve in the simulated world, without a fault of the disk or the network, and one with an archive's."""

from __future__ import annotations

import time

import pytest
from simulation.checker import broken
from simulation.world import World

from movescu import Retry
from movescu.testing import Faults


def promises(world: World, outcome: str) -> list[str]:
    there, stable = world.disk.objects(), world.disk.objects(stable=True)
    return broken(world.objects, world.acknowledged, outcome, there, stable)


@pytest.mark.parametrize("by", ["move", "get"])
def test_plain_retrieve_brings_every_object_and_leaves_nothing_else(by: str) -> None:
    with World(count=8, large=2, by=by) as world:
        told = world.retrieve()
        assert told.complete
        assert promises(world, told.outcome) == []
        assert len(world.disk.files()) == 8
        assert not world.disk.open
        assert not world.network.sockets
        assert not world.scheduler.living()


@pytest.mark.parametrize("by", ["move", "get"])
def test_third_of_the_objects_that_fail_each_time_is_retrieved_in_the_end(by: str) -> None:
    """The pauses between the attempts, a minute and more in all, take no time here."""
    begun = time.perf_counter()
    with World(count=30, large=1, faults=Faults(fail_every=3), by=by) as world:
        start = world.scheduler.now
        told = world.retrieve(retry=Retry(verify=True, retries=2, pause=60.0))
        assert told.complete
        assert promises(world, told.outcome) == []
        assert told.result is not None
        assert told.result.attempts > 2
        assert world.scheduler.now - start > 60.0
    assert time.perf_counter() - begun < 20.0


@pytest.mark.parametrize("by", ["move", "get"])
def test_object_that_never_comes_is_missed(by: str) -> None:
    """The archive counts it as sent: only the list shows that it was not."""
    with World(count=6, faults=Faults(drop_every=6), by=by) as world:
        told = world.retrieve(retry=Retry(verify=True))
        assert told.outcome == "incomplete"
        assert told.result is not None
        assert told.result.missing_uids == (list(world.objects)[5],)
        assert promises(world, told.outcome) == []


def test_world_is_the_same_for_the_same_seed() -> None:
    traces = []
    for seed in (1, 1, 2):
        with World(seed, associations=3, switching=0.2, short=0.2) as world:
            world.retrieve()
            traces.append((world.scheduler.trace, tuple(world.disk.names), world.network.calls))
    assert traces[0] == traces[1]
    assert traces[0] != traces[2]
