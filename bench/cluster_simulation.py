"""The driver of a million studies over a hundred workers: what it does for a study, and how much memory it needs.

``python bench/cluster_simulation.py [--studies N] [--workers N] [--jobs N]`` runs the driver of ``--cluster`` itself,
with its journal and an archive without limits; its workers are made up and answer at once, so what is measured is the
driver alone. Printed are, for each tenth of the list, the processor time of a study and the resident memory. What Dask
adds is measured by ``bench/cluster.py``, what archives allow by ``bench/cohort_simulation.py``
(``docs/cluster.md``).
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from movescu._runtime import clock
from movescu.cohort.admission import RequestEnd
from movescu.cohort.client import Client
from movescu.cohort.cluster.station import JobOutput
from movescu.cohort.cluster.workers import ClusterWorkers
from movescu.cohort.job import JobVerdict, LateReport, ObjectsReport
from movescu.cohort.job_json import from_json, to_json
from movescu.cohort.journal import Journal
from movescu.cohort.runner import Runner
from movescu.query.request_list import read_rows
from movescu.retrieve.config import AE, Config, Receive, Request
from movescu.retrieve.earlier_request import SeriesObjects
from movescu.retrieve.evidence import Evidence
from movescu.retrieve.result import Result
from movescu.storage.options import StorageOptions

if TYPE_CHECKING:
    from collections.abc import Callable

OBJECTS = 100
"""Objects of a study."""
UNDER_WAY = 400


class MadeUpWorkers:
    """Workers that have what they are asked for; see ``messenger.Messenger``."""

    gone = False

    def __init__(self, number: int) -> None:
        self.workers = {f"address{one}": f"W{one:03}" for one in range(number)}
        self._waiting: list[tuple[Callable[[object, str], None], object]] = []

    @property
    def seen(self) -> float:
        """Return the time: the scheduler always answers."""
        return clock.now()

    def call(
        self,
        address: str,
        name: str,
        function: Callable[..., object],  # noqa: ARG002 - of the protocol
        arguments: tuple[object, ...],
        then: Callable[[object, str], None],
    ) -> str:
        """Answer a job after the next ones, everything else at once."""
        if name != "job":
            then(to_json(LateReport()) if name == "close" else "", "")
            return name
        self._waiting.append((then, _output(str(arguments[1]), self.workers[address])))
        if len(self._waiting) >= UNDER_WAY // 2:
            self.answer()
        return name

    def answer(self) -> None:
        """Answer the jobs that wait."""
        waiting, self._waiting = self._waiting, []
        for then, output in waiting:
            then(output, "")

    def forget(self, key: str) -> None:
        """Do nothing: no worker is lost."""


def _output(text: str, title: str) -> JobOutput:
    job = from_json(text)
    study = job.identifier.text(0x0020000D)
    uids = tuple(f"{study}.1.{number}" for number in range(OBJECTS))
    series = SeriesObjects("P", study, f"{study}.1", uids)
    result = Result((), OBJECTS, 0, OBJECTS * 500_000, OBJECTS, Evidence(), {}, verified=True)
    reports = (
        ObjectsReport(job.number, job.identifier, listed=True, complete=True, here=(series,)),
        JobVerdict(job.number, RequestEnd.GOOD, result, studies=(study,), seconds=1.0, listed=True),
    )
    return JobOutput(tuple(map(to_json, reports)), tuple((uid, f"{title}/CT.{uid}", 500_000) for uid in uids))


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.partition("VmRSS:")[2].split()[0]) << 10


def main() -> None:
    """Run the simulation and print its figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=UNDER_WAY)
    settings = parser.parse_args()
    samples = [(time.process_time(), resident())]
    with tempfile.TemporaryDirectory(prefix="cluster-simulation.") as name:
        folder = Path(name)
        rows = folder / "rows.csv"
        rows.write_text("StudyInstanceUID\n" + "".join(f"1.2.826.0.1.{n}\n" for n in range(settings.studies)))
        pool = [AE(f"host{n}", 11112, f"W{n:03}") for n in range(settings.workers)]
        config = Config(AE("archive", 104), receive=Receive(None), request=Request(model="STUDY"))
        storage = StorageOptions(directory=str(folder))
        messenger = MadeUpWorkers(settings.workers)
        done = itertools.count(1)

        def on_row(_: object) -> None:
            if next(done) % (settings.studies // 10) == 0:
                samples.append((time.process_time(), resident()))
                print(_line(samples, settings.studies), flush=True)

        with Client.configured(config, storage, closing=False, proved=True) as client:
            workers = ClusterWorkers(messenger, client, pool, config=config, storage=storage, number=settings.jobs)
            take = workers.next

            def next_report(seconds: float) -> object:
                messenger.answer()
                return take(seconds)

            workers.next = next_report  # type: ignore[assignment,method-assign] # answers when the driver waits
            with Journal(str(folder / "journal"), str(folder), files_of=workers.files_of) as journal:
                runner = Runner(client, workers=workers, jobs=settings.jobs, journal=journal, on_row=on_row)
                read = read_rows(str(rows))
                samples[0] = time.process_time(), resident()
                print(f"list read: {samples[0][1] / 2**20:.0f} MiB", flush=True)
                left = runner.run(read)
                journal.save()
            size = sum(path.stat().st_size for path in folder.glob("journal*"))
        print(f"{len(left)} left; journal: {size / 2**20:.0f} MiB")


def _line(samples: list[tuple[float, int]], studies: int) -> str:
    (before, _), (after, memory) = samples[-2:]
    return f"tenth {len(samples) - 1:2}: {(after - before) * 1e4 / studies:.2f} ms a study, {memory / 2**20:.0f} MiB"


if __name__ == "__main__":
    sys.exit(main())
