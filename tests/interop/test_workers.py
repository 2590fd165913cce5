"""The protocol of workers: a list over messages alone ends as one over threads does, whatever the archive does."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

import corpus
import peers
import pytest
from message_workers import MessageWorkers

from movescu.cohort import admission
from movescu.cohort.client import Client
from movescu.cohort.job import LostJob
from movescu.cohort.runner import Runner
from movescu.cohort.worker_threads import WorkerThreads
from movescu.query.request_list import read_rows
from movescu.retrieve.config import AE, Config, Receive, Request, Retry, Timeouts
from movescu.storage.options import StorageOptions
from movescu.testing import Archive, Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from movescu.cohort.job import Job, Report
    from movescu.cohort.row_result import RowResult
    from movescu.cohort.workers import Workers

STUDIES = 8


class Place(NamedTuple):
    """An archive, a list of its studies, and our port."""

    archive: Archive
    rows: Path
    folder: Path
    port: int

    def run(self, workers: Callable[[Client], Workers]) -> tuple[dict[int, str], set[str]]:
        """Run the list; return the outcomes of its entries, and the names of the files."""
        received = self.folder / f"received-{len(list(self.folder.iterdir()))}"
        received.mkdir()
        config = Config(
            AE(self.archive.host, self.archive.port),
            timeouts=Timeouts(linger=0.2),
            retry=Retry(pause=0.01),
            receive=Receive(self.port),
            request=Request(model="STUDY"),
        )
        results: list[RowResult] = []
        storage = StorageOptions(directory=str(received))
        with Client.configured(config, storage, closing=False, proved=True) as client:
            runner = Runner(client, workers=workers(client), jobs=4, on_row=results.append)
            assert runner.run(read_rows(str(self.rows))) == []
        assert len(results) == STUDIES + 1
        return (
            {one.row.number: one.outcome for one in results},
            {path.name for path in received.iterdir() if path.name[0] != "."},
        )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(admission, "FIRST_ECHO", 0.2)
    monkeypatch.setattr(admission, "PAUSE", 0.05)
    folder = tmp_path / "archive"
    folder.mkdir()
    made = corpus.make_study(folder, studies=STUDIES, series=2, instances=2, size=2000)
    rows = tmp_path / "rows.csv"
    studies = dict.fromkeys(one.study_uid for one in made)
    rows.write_text("StudyInstanceUID\n1.2.3.4\n" + "".join(f"{uid}\n" for uid in studies))
    port = peers.free_port()
    with Archive(folder, {"MOVESCU": (peers.HOST, port)}) as archive:
        yield Place(archive, rows, tmp_path, port)


@pytest.mark.parametrize(
    "faults",
    [Faults(), Faults(slots=2, pause=0.01), Faults(overcount=1), Faults(fail_every=3)],
    ids=["none", "slots", "overcount", "fails"],
)
def test_workers_behind_messages_do_what_threads_do(place: Place, faults: Faults) -> None:
    place.archive.faults = faults
    by_threads = place.run(lambda client: WorkerThreads(client, 4))
    assert place.run(lambda client: MessageWorkers(WorkerThreads(client, 4))) == by_threads


class _Forgetful(MessageWorkers):
    """Workers of whom one dies with its first job."""

    def __init__(self, others: Workers) -> None:
        super().__init__(others)
        self.gone: list[LostJob] = []
        self.died = threading.Event()

    def start(self, job: Job) -> None:
        if self.died.is_set():
            super().start(job)
        else:
            self.died.set()
            self.gone.append(LostJob(job.number))

    def next(self, seconds: float) -> Report | None:
        return super().next(0.0 if self.gone else seconds)

    def lost(self) -> tuple[LostJob, ...]:
        gone, self.gone = tuple(self.gone), []
        return (*gone, *super().lost())


@pytest.mark.row("list-worker")
def test_job_of_a_worker_that_is_gone_is_carried_out_by_another(place: Place) -> None:
    outcomes, names = place.run(lambda client: _Forgetful(WorkerThreads(client, 4)))
    assert outcomes == {1: "not found", **dict.fromkeys(range(2, STUDIES + 2), "complete")}
    assert len(names) == STUDIES * 4
