"""Timeouts in simulated time: silence of hours, and retrieves of days, in milliseconds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from simulation.world import World

from movescu import Timeouts
from movescu.testing import Faults

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulation.world import Told

HOUR = 3600.0


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    begun = time.perf_counter()
    yield
    assert time.perf_counter() - begun < 10.0


def run(faults: Faults, timeouts: Timeouts, count: int = 4, by: str = "move") -> tuple[float, Told]:
    """Run a retrieve and return how many seconds it took on the clock of its world, and what was told."""
    with World(count=count, large=0, faults=faults, by=by) as world:
        begun = world.scheduler.now
        told = world.retrieve(timeouts=timeouts)
        assert not world.scheduler.living()
        return world.scheduler.now - begun, told


def errors(told: Told) -> str:
    return str(told.error) if told.result is None else "; ".join(told.result.errors)


@pytest.mark.parametrize("by", ["move", "get"])
def test_archive_that_takes_most_of_an_hour_for_each_object_is_awaited(by: str) -> None:
    seconds, told = run(Faults(pause=0.9 * HOUR), Timeouts(), count=40, by=by)
    assert told.complete
    assert seconds == pytest.approx(36 * HOUR, rel=0.01)


@pytest.mark.parametrize("by", ["move", "get"])
def test_retrieve_without_progress_ends_after_the_stall_timeout(by: str) -> None:
    seconds, told = run(Faults(no_final_response=True), Timeouts(), by=by)
    assert not told.complete
    assert "no object has arrived, and no count of the archive changed, for 3600 s" in errors(told)
    assert seconds == pytest.approx(HOUR, rel=0.01)


@pytest.mark.parametrize("by", ["move", "get"])
def test_pending_responses_forever_are_no_progress(by: str) -> None:
    seconds, told = run(Faults(endless_pending=600.0), Timeouts(dimse=1000.0), by=by)
    assert not told.complete
    assert "no count of the archive changed" in errors(told)
    assert seconds == pytest.approx(HOUR, rel=0.01)


@pytest.mark.parametrize("by", ["move", "get"])
def test_silent_archive_is_left_after_the_dimse_timeout(by: str) -> None:
    seconds, told = run(Faults(no_final_response=True), Timeouts(dimse=7 * HOUR, stall=None), by=by)
    assert not told.complete
    assert "the archive has been silent for 25200 s" in errors(told)
    assert seconds == pytest.approx(7 * HOUR, rel=0.01)


@pytest.mark.parametrize("by", ["move", "get"])
def test_whole_retrieve_ends_after_the_total_timeout(by: str) -> None:
    seconds, told = run(Faults(pause=0.5 * HOUR), Timeouts(total=24.25 * HOUR), count=60, by=by)
    assert not told.complete
    assert "the time for the whole retrieve is over" in errors(told)
    assert seconds == pytest.approx(24.25 * HOUR, rel=0.01)


@pytest.mark.parametrize(("late", "complete"), [(5.0, True), (8 * HOUR, False)])
def test_objects_after_the_final_response_are_awaited_for_the_linger_time(late: float, complete: bool) -> None:
    seconds, told = run(Faults(success_after=0, late=late), Timeouts(linger=HOUR))
    assert told.complete is complete
    assert seconds == pytest.approx(late if complete else HOUR, abs=10.0)


def test_sender_that_never_releases_is_not_awaited_once_everything_has_arrived() -> None:
    seconds, told = run(Faults(never_release=True), Timeouts(store=2 * HOUR))
    assert told.complete
    assert seconds < 10.0


def test_sender_that_never_releases_is_awaited_for_the_store_timeout_while_objects_are_missing() -> None:
    seconds, told = run(Faults(never_release=True, drop_every=4), Timeouts(store=2 * HOUR))
    assert told.outcome == "incomplete"
    assert seconds == pytest.approx(2 * HOUR, abs=10.0)
