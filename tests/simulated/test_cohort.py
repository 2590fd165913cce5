"""A list in the simulated world: an entry that is told as complete is on the disk by then, whoever flushed it."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from effort import is_whole
from simulation.disk import PATH
from simulation.network import HOST
from simulation.world import PORT, STUDY, World

from movescu import AE, Directory, Receive, Request
from movescu.cohort.client import Client
from movescu.cohort.runner import Runner
from movescu.query.identifier import make_identifier
from movescu.query.request_list import Row
from movescu.retrieve.config import Config

if TYPE_CHECKING:
    from movescu.cohort.row_result import RowResult

SEEDS = int(os.environ.get("MOVESCU_SIMULATE", "0")) or (4 if is_whole() else 2)
FIRST = int(os.environ.get("MOVESCU_SEED", "0"))
ENTRIES = 6


def rows(world: World) -> list[Row]:
    """An entry for each object."""
    made = []
    for number, uid in enumerate(world.objects, start=1):
        keys = (f"StudyInstanceUID={STUDY}", f"SeriesInstanceUID={STUDY}.1", f"SOPInstanceUID={uid}")
        made.append(Row(number, uid, make_identifier([*keys, "QueryRetrieveLevel=IMAGE"], model="STUDY"), keys=keys))
    return made


class Retrieved:
    """A list that was retrieved; ``lost``: entries that were told as complete and were not on the disk."""

    def __init__(self, world: World, jobs: int) -> None:
        self.world = world
        self.outcomes: dict[int, str] = {}
        self.lost: list[int] = []
        with world.archive() as archive:
            request = Request(model="STUDY", maximum_length=16384, ip="4")
            config = Config(AE(HOST, archive.port, "ARCHIVE"), receive=Receive(PORT), request=request)
            with Client.configured(config, Directory(PATH).storage, closing=False, proved=True) as client:
                assert Runner(client, jobs=jobs, on_row=self.tell).run(rows(world)) == []

    def tell(self, told: RowResult) -> None:
        self.outcomes[told.row.number] = told.outcome
        stable = self.world.disk.objects(stable=True).values()
        if told.outcome == "complete" and not any(one.endswith(self.world.objects[told.row.text]) for one in stable):
            self.lost.append(told.row.number)


@pytest.mark.parametrize("jobs", [1, 3])
def test_entry_that_is_complete_is_on_the_disk(jobs: int) -> None:
    for seed in range(FIRST, FIRST + SEEDS):
        with World(seed, count=ENTRIES, associations=2, switching=0.1, short=0.1) as world:
            found = Retrieved(world, jobs)
        assert (found.outcomes, found.lost) == (dict.fromkeys(range(1, ENTRIES + 1), "complete"), []), seed
        assert world.disk.names.count("syncfs") < ENTRIES


@pytest.mark.parametrize("jobs", [1, 3])
def test_entry_whose_flush_failed_is_not_complete(jobs: int) -> None:
    for seed in range(FIRST, FIRST + SEEDS):
        settings = {"count": ENTRIES, "associations": 2, "switching": 0.1}
        with World(seed, **settings) as clean:  # type: ignore[arg-type] # as above
            Retrieved(clean, jobs)
        with World(seed, **settings) as world:  # type: ignore[arg-type] # as above
            world.disk.fail_at, world.disk.failing = clean.disk.names.index("syncfs") + 1, errno.EIO
            found = Retrieved(world, jobs)
        assert world.disk.failed == "syncfs"
        assert "complete" not in (found.outcomes[1], *(found.outcomes[number] for number in found.lost)), seed
