"""The n-th failure: each call on the disk, and each on a socket, fails once, each in its turn.

Whatever failed, and whatever the program made of it, nothing that the sender was told is stored may be lost, and
``complete`` may be said only of a retrieve whose objects are all whole and flushed.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from effort import some
from simulation.checker import broken
from simulation.disk import SHORT
from simulation.world import World

from movescu import Retry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Setting(NamedTuple):
    """How objects are stored, in which world."""

    name: str
    world: Mapping[str, Any] = {}
    retrieve: Mapping[str, Any] = {}

    def run(self, *, fail: int = 0, failing: int | str = errno.EIO, reset: int = 0) -> tuple[World, str, list[str]]:
        """Run a retrieve in which one call fails; return the world, what was told, and the broken promises."""
        with World(**self.world) as world:
            world.disk.fail_at, world.disk.failing, world.network.fail_at = fail, failing, reset
            told = world.retrieve(**self.retrieve)
            found = broken(
                world.objects,
                world.acknowledged,
                told.outcome,
                world.disk.objects(),
                world.disk.objects(stable=True),
                each_flushed=self.retrieve.get("durability") == "object",
            )
            if isinstance(told.error, OSError):
                found.append(f"the caller gets {told.error!r}")
            world.scheduler.drain()
            found += world.scheduler.failures
            world.scheduler.failures.clear()
            found += [f"{name} goes on after the end" for name in world.scheduler.living()]
            found += [f"descriptor {fd} is open after the end" for fd in [*world.disk.open, *world.network.sockets]]
        return world, told.outcome, found


WAYS = [errno.EIO, errno.ENOSPC, errno.EINTR, errno.EMFILE, errno.ENOMEM, SHORT]

SETTINGS = [
    Setting("flushed at the end"),
    Setting("many", {"count": 18, "large": 0}),
    Setting("many without syncfs", {"count": 18, "large": 0, "syncfs": False}),
    Setting("each flushed", {"count": 3}, {"durability": "object"}),
    Setting("with names", {"count": 3, "unnamed": False}),
    Setting("by C-GET", {"count": 3, "by": "get"}),
    Setting("in folders", {"count": 3}, {"layout": "study", "retry": Retry(resume=True)}),
]


@pytest.mark.parametrize("failing", WAYS, ids=lambda one: errno.errorcode.get(one, one))
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
@pytest.mark.sampled(6)
def test_failing_call_on_the_disk_loses_nothing_that_was_promised(setting: Setting, failing: int | str) -> None:
    world, outcome, found = setting.run()
    assert (outcome, found) == ("complete", [])
    wrong = {}
    for number in numbers(world.disk.names, failing):
        after, outcome, found = setting.run(fail=number, failing=failing)
        if found:
            wrong[f"{number} {after.disk.failed}"] = (outcome, found)
    assert not wrong, "\n".join(f"{call}: {what}" for call, what in wrong.items())


def numbers(names: list[str], failing: int | str) -> Iterator[int]:
    """The numbers of the calls that can fail in this way; of a kind that repeats, some."""
    seen: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if failing == SHORT and name not in ("write", "writev", "pwrite", "pread"):
            continue
        seen[name] = seen.get(name, 0) + 1
        if EVERY or seen[name] <= (5 if failing == errno.EIO else 2):
            yield number


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
@pytest.mark.sampled(5)
def test_what_a_failed_flush_lost_is_stored_anew_by_the_next_run(setting: Setting, *, resume: bool) -> None:
    """Its files are read whole, and the system has reported the error: the next flush succeeds, without them."""
    clean, _, _ = setting.run()
    retrieve = {**setting.retrieve, "retry": Retry(resume=resume)}
    wrong = {}
    for number in flushes(clean.disk.names):
        first, outcome, found = setting.run(fail=number)
        assert found == []
        with World(**setting.world).on(first.disk.after_kill(first.scheduler)) as second:
            second.scheduler.now += 3600.0
            told = second.retrieve(**retrieve)
            there, stable = second.disk.objects(), second.disk.objects(stable=True)
            found = broken(second.objects, second.acknowledged, told.outcome, there, stable)
            if found or not told.complete:
                wrong[f"{number} {first.disk.failed} ({outcome})"] = (told.outcome, found)
    assert not wrong, "\n".join(f"{call}: {what}" for call, what in wrong.items())


def flushes(names: list[str]) -> list[int]:
    """The numbers of the first and last flushes."""
    found = [number for number, name in enumerate(names, start=1) if name in ("fsync", "syncfs")]
    return sorted({*found[:3], *found[-3:]})


EVERY = bool(os.environ.get("MOVESCU_SIMULATE"))


@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize("by", ["move", "get"])
def test_reset_connection_loses_nothing_that_was_promised(by: str, retries: int) -> None:
    setting = Setting("", {"count": 4, "by": by}, {"retry": Retry(retries=retries, pause=1.0)})
    world, outcome, found = setting.run()
    assert (outcome, found) == ("complete", [])
    wrong = {}
    for number in some(range(1, world.network.calls + 1), 3):
        after, outcome, found = setting.run(reset=number)
        if found:
            wrong[f"{number} {after.network.failed}"] = (outcome, found)
    assert not wrong, "\n".join(f"{call}: {what}" for call, what in wrong.items())
