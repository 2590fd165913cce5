"""``--cluster`` with Dask itself: scheduler and workers are killed or stopped at random moments, and started again."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import cohorts
import peers
import pytest
from cohorts import Cohort
from command import OURS, Running, running

from movescu.testing import Faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.not_without("hard-links", "locks", "epoll", "poll", "windows")  # of which Dask uses some

STUDIES = 12
JOBS = 4
TITLES = ("FIRST", "SECOND")
PATIENT = 0.05  # seconds of the archive for each object, so that moments fall into the run
QUICK = f"""\
import movescu.cohort.cluster.membership as membership
import movescu.cohort.cluster.workers as workers
membership.SILENCE = 2.0
workers.TITLE_REST = 0.5
{OURS}"""
"""Our command, which notices a silent scheduler after 2 s."""
SIGNALS = (signal.SIGKILL, signal.SIGSTOP)


class Dask:
    """A scheduler and the workers of two titles, each in a process of its own."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.port = peers.free_port()
        self.address = f"plain:tcp://{peers.HOST}:{self.port}"
        self.scheduler = self._start(
            *("-m", "distributed.cli.dask_scheduler", "--host", peers.HOST, "--port", self.port, "--no-dashboard"),
            ready="Scheduler at:",
        )
        self.workers = {
            title: self._start(*("-c", "from movescu.cli.worker import run; run()", title, self.address), ready="")
            for title in TITLES
        }

    def _start(self, *arguments: object, ready: str) -> subprocess.Popen[str]:
        command = [sys.executable, *map(str, arguments)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        self._stack.callback(process.stderr.close)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        while ready and ready not in (line := process.stderr.readline()):
            assert line, "it has ended"
        return process


@pytest.fixture
def cohort(tmp_path: Path) -> Iterator[Cohort]:
    pytest.importorskip("distributed")
    for made in cohorts.made(tmp_path, STUDIES):
        pool = tmp_path / "pool"
        places = made.archive.destinations
        pool.write_text("".join(f"{title} {places[title][0]} {places[title][1]}\n" for title in TITLES))
        yield made


def started(cohort: Cohort, stack: ExitStack, dask: Dask) -> Running:
    own = ["-S", "-aet", "DRIVER", "--list", cohort.list, "-v", "--jobs", JOBS, "--resume"]
    own += ["--cluster", dask.address, "--ae-pool", cohort.list.with_name("pool")]
    place = [cohort.archive.host, cohort.archive.port]
    return stack.enter_context(running(*own, *place, folder=cohort.directory, program=QUICK))


@pytest.mark.sampled(20)
@pytest.mark.row("cluster-scheduler")
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("number", SIGNALS, ids=["killed", "stopped"])
def test_scheduler_that_ends_at_a_random_moment_costs_no_entry(
    cohort: Cohort, number: signal.Signals, seed: int
) -> None:
    chance = random.Random(seed)
    cohort.archive.faults = Faults(pause=PATIENT)
    with ExitStack() as stack:
        dask = Dask(stack)
        run = started(cohort, stack, dask)
        cohort.archive.await_moves(chance.randrange(1, STUDIES - JOBS))
        threading.Event().wait(chance.random() * 0.1)
        dask.scheduler.send_signal(number)
        first = run.end()
    assert first.code == 75, first.log
    assert "continue with --resume" in first.log
    with ExitStack() as stack:
        second = started(cohort, stack, Dask(stack)).end()
    assert second.code == 0, second.log
    cohort.hold_to_one_clean_run()
    assert cohort.archive.moves <= STUDIES + JOBS, "entries, and what was under way"


@pytest.mark.sampled(100)
@pytest.mark.row("cluster-worker")
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("number", SIGNALS, ids=["killed", "stopped"])
def test_worker_of_dask_that_ends_at_a_random_moment_costs_no_entry(
    cohort: Cohort, number: signal.Signals, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL", "2s")
    chance = random.Random(seed)
    cohort.archive.faults = Faults(pause=PATIENT)
    with ExitStack() as stack:
        dask = Dask(stack)
        run = started(cohort, stack, dask)
        cohort.archive.await_moves(chance.randrange(1, STUDIES - JOBS))
        threading.Event().wait(chance.random() * 0.1)
        dask.workers[chance.choice(TITLES)].send_signal(number)
        ended = run.end()
    assert ended.code == 0, ended.log
    cohort.hold_to_one_clean_run()
    assert cohort.archive.moves <= STUDIES + JOBS, "entries, and what was under way"
