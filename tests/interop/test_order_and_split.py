"""``--order`` and ``--split``: which entries are requested first, and giant studies series by series."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import corpus
import peers
import pydicom
import pytest
from command import movescu

from movescu.cohort.client import Client
from movescu.cohort.order import Order
from movescu.cohort.runner import Runner
from movescu.cohort.worker_threads import WorkerThreads
from movescu.query.levels import LEVEL
from movescu.query.request_list import read_rows
from movescu.retrieve.config import AE, Config, Receive, Request, Retry, Timeouts
from movescu.storage.options import StorageOptions
from movescu.testing import Archive, Faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from corpus import Instance

    from movescu.cohort.job import Job
    from movescu.cohort.row_result import RowResult

SERIES, OBJECTS = 3, 4


class _Noted(WorkerThreads):
    """Threads that note their jobs."""

    def __init__(self, client: Client, number: int) -> None:
        super().__init__(client, number)
        self.jobs: list[Job] = []

    def start(self, job: Job) -> None:
        self.jobs.append(job)
        super().start(job)


class Place:
    """An archive, the list of its studies, and a folder."""

    def __init__(self, folder: Path) -> None:
        self.files, self.received, self.rows = folder / "archive", folder / "received", folder / "rows.csv"
        self.report = folder / "report.json"
        self.files.mkdir()
        self.received.mkdir()
        self.port = peers.free_port()
        self.archive = Archive(self.files, {"MOVESCU": (peers.HOST, self.port)})

    def list_studies(self, made: list[Instance]) -> None:
        studies = dict.fromkeys(one.study_uid for one in made)
        self.rows.write_text("StudyInstanceUID\n" + "".join(f"{uid}\n" for uid in studies))

    def run(self, *, jobs: int = 1, order: Order = Order.LIST, split: int = 0) -> tuple[list[Job], list[RowResult]]:
        config = Config(
            AE(self.archive.host, self.archive.port),
            timeouts=Timeouts(linger=0.2),
            retry=Retry(pause=0.01),
            receive=Receive(self.port),
            request=Request(model="STUDY"),
        )
        results: list[RowResult] = []
        storage = StorageOptions(directory=str(self.received))
        with Client.configured(config, storage, closing=False, proved=True) as client:
            noted = _Noted(client, jobs)
            runner = Runner(client, workers=noted, jobs=jobs, order=order, split=split, on_row=results.append)
            assert runner.run(read_rows(str(self.rows))) == []
        return noted.jobs, results

    def command(self, *options: object, code: int = 0) -> dict[str, Any]:
        own = ["-S", "--list", self.rows, "+P", self.port, "--report", self.report, *options]
        movescu(*own, self.archive.host, self.archive.port, folder=self.received, code=code)
        told: dict[str, Any] = json.loads(self.report.read_text())
        return told


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    one = Place(tmp_path)
    one.archive.start()
    yield one
    one.archive.close()


def load(place: Place) -> None:
    """Make the archive read its folder anew."""
    place.archive.close()
    place.archive = Archive(place.files, {"MOVESCU": (peers.HOST, place.port)})
    place.archive.start()


@pytest.mark.parametrize(
    ("order", "expected"), [(Order.LIST, [1, 2, 3, 4]), (Order.NEWEST, [3, 2, 4, 1]), (Order.LARGEST, [2, 1, 3, 4])]
)
def test_entries_are_requested_in_the_order_that_was_asked_for(place: Place, order: Order, expected: list[int]) -> None:
    made = corpus.make_study(place.files, studies=4, instances=2, size=2000)
    dates = ["", "20200101", "20210101", "19990101"]
    studies = list(dict.fromkeys(one.study_uid for one in made))
    for path in place.files.iterdir():
        data = pydicom.dcmread(path)
        data.StudyDate = dates[studies.index(data.StudyInstanceUID)]
        if data.StudyInstanceUID != studies[1] and data.InstanceNumber == 2:
            path.unlink()
        else:
            data.save_as(path)
    place.list_studies(made)
    load(place)
    jobs, results = place.run(order=order)
    assert [job.entry for job in jobs] == expected
    assert {result.outcome for result in results} == {"complete"}


def test_giant_study_is_requested_by_series_and_judged_as_a_whole(place: Place) -> None:
    place.list_studies(corpus.make_study(place.files, series=SERIES, instances=OBJECTS, size=2000))
    load(place)
    jobs, [result] = place.run(jobs=SERIES, split=SERIES * OBJECTS - 1)
    assert [job.identifier.text(LEVEL) for job in jobs] == ["STUDY", *["SERIES"] * SERIES, "STUDY"]
    assert result.outcome == "complete"
    assert len(list(place.received.glob("CT.*"))) == SERIES * OBJECTS


def test_study_of_few_objects_is_requested_as_one(place: Place) -> None:
    place.list_studies(corpus.make_study(place.files, series=SERIES, instances=OBJECTS, size=2000))
    load(place)
    jobs, _ = place.run(split=SERIES * OBJECTS)
    assert len(jobs) == 1


def test_entry_of_a_giant_study_is_told_once_with_all_of_its_objects(place: Place) -> None:
    place.list_studies(corpus.make_study(place.files, series=SERIES, instances=OBJECTS, size=2000))
    load(place)
    told = place.command("--split", 2, "--jobs", 2)
    [entry] = told["entries"]
    assert (entry["state"], entry["stored"], entry.get("already_there", 0)) == ("complete", SERIES * OBJECTS, 0)
    assert place.command("--split", 2, "--resume")["entries"][0]["state"] == "complete before"


@pytest.mark.row("list-part")
def test_objects_that_failed_with_their_series_are_requested_once_more(place: Place) -> None:
    place.list_studies(corpus.make_study(place.files, series=SERIES, instances=OBJECTS, size=2000))
    load(place)
    place.archive.faults = Faults(fail_every=OBJECTS)  # the last of each series
    told = place.command("--split", 2, "--jobs", 2)
    assert told["entries"][0]["stored"] == SERIES * OBJECTS


@pytest.mark.row("list-part")
def test_giant_study_is_as_good_as_its_worst_series(place: Place) -> None:
    place.list_studies(corpus.make_study(place.files, series=SERIES, instances=OBJECTS, size=2000))
    load(place)
    place.archive.faults = Faults(overcount=1)  # no list accounts for an object more
    told = place.command("--split", 2, "--jobs", 2, "--linger", 0, code=63)
    assert told["entries"][0]["state"] == "partial"


def test_split_study_whose_archive_refuses_is_complete_all_the_same(place: Place) -> None:
    place.list_studies(corpus.make_study(place.files, series=6, instances=2, size=2000))
    load(place)
    place.archive.faults = Faults(slots=2, pause=0.01)
    told = place.command("--split", 2, "--jobs", 6)
    assert told["entries"][0]["stored"] == 12
