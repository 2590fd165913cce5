"""A list against an archive that limits what it serves at once, or goes away: every entry comes, with few refusals."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

import corpus
import peers
import pytest
from command import movescu, running

from movescu.cohort import admission
from movescu.cohort.client import Client
from movescu.cohort.runner import Runner
from movescu.query.request_list import read_rows
from movescu.retrieve.config import AE, Config, Receive, Request
from movescu.storage.options import StorageOptions
from movescu.testing import Archive, Ending, Faults
from movescu.testing.slots import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from corpus import Instance

    from movescu.cohort.row_result import RowResult
    from movescu.query.request_list import Row

STUDIES = 40


class Place(NamedTuple):
    """An archive with studies of one object, a list of them, and a folder."""

    archive: Archive
    made: list[Instance]
    rows: Path
    received: Path
    port: int

    def arguments(self, *options: object) -> list[object]:
        own = ["-S", "--list", self.rows, "+P", self.port, "--linger", 1, *options]
        return [*own, self.archive.host, self.archive.port]

    @property
    def there(self) -> set[str]:
        return {path.name for path in self.received.iterdir() if path.name[0] != "."}

    @property
    def names(self) -> set[str]:
        return {f"CT.{one.instance_uid}" for one in self.made}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    folder, received = tmp_path / "archive", tmp_path / "received"
    folder.mkdir()
    received.mkdir()
    made = corpus.make_study(folder, studies=STUDIES, series=1, instances=1, size=2000)
    rows = tmp_path / "rows.csv"
    rows.write_text("StudyInstanceUID\n" + "".join(f"{one.study_uid}\n" for one in made))
    port = peers.free_port()
    with Archive(folder, {"MOVESCU": (peers.HOST, port)}) as archive:
        yield Place(archive, made, rows, received, port)


def run(
    place: Place,
    on_row: Callable[[RowResult], None],
    on_runner: Callable[[Runner], None] = lambda _: None,
    *,
    jobs: int = 2,
) -> tuple[Runner, list[Row]]:
    """Run the list in this process, so that the admission's constants can be short."""
    config = Config(
        AE(place.archive.host, place.archive.port), receive=Receive(place.port), request=Request(model="STUDY")
    )
    with Client.configured(config, StorageOptions(directory=str(place.received)), closing=False) as client:
        runner = Runner(client, jobs=jobs, on_row=on_row)
        on_runner(runner)
        return runner, runner.run(read_rows(str(place.rows)))


@pytest.mark.row("list-refused")
@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("refusal", Refusal)
@pytest.mark.sampled(3)
def test_archive_with_few_slots_serves_every_entry(place: Place, refusal: Refusal, slots: int) -> None:
    place.archive.faults = Faults(slots=slots, refuses_by=refusal, pause=0.01)
    movescu(*place.arguments("--jobs", 8, "-ta", 2), folder=place.received)
    assert place.there == place.names
    assert place.archive.slots.refused <= 8 + STUDIES / 50 + 1


def test_slots_that_are_known_are_not_exceeded(place: Place) -> None:
    place.archive.faults = Faults(slots=2, pause=0.01)
    movescu(*place.arguments("--jobs", 8, "--slots", 2), folder=place.received)
    assert place.there == place.names
    assert not place.archive.slots.refused


@pytest.mark.row("list-away")
@pytest.mark.parametrize("after", [1, STUDIES // 2, STUDIES - 2], ids=["first", "middle", "last"])
def test_archive_that_goes_away_is_waited_for(place: Place, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    monkeypatch.setattr(admission, "FIRST_ECHO", 0.1)
    monkeypatch.setattr(admission, "PAUSE", 0.05)
    results: list[RowResult] = []
    runners: list[Runner] = []

    def on_row(result: RowResult) -> None:
        results.append(result)
        if len(results) == after:
            place.archive.close()
            threading.Thread(target=back, daemon=True).start()

    def back() -> None:
        until = time.monotonic() + 20
        while runners[0].absence is None and time.monotonic() < until:
            time.sleep(0.01)
        place.archive.start()

    runner, waiting = run(place, on_row, runners.append)
    assert not waiting
    assert runner.stop is None
    assert place.there == place.names
    assert [result.outcome for result in results] == ["complete"] * STUDIES


@pytest.mark.row("list-away-too-long")
def test_patience_with_an_absent_archive_is_limited(place: Place) -> None:
    place.archive.faults = Faults(pause=0.05)
    options = ("--jobs", 2, "-v", "-to", 2, "--wait-for-archive", 1, "--report", place.received.parent / "report.json")
    with running(*place.arguments(*options), folder=place.received) as command:
        command.await_log("received store request", 3)
        place.archive.close()
        outcome = command.end()
    assert outcome.code in (61, 62)
    assert "stopping: the archive cannot be reached" in outcome.log
    told = json.loads((place.received.parent / "report.json").read_text())["entries"]
    lost = [entry for entry in told if entry["state"] == "failed"]
    assert lost, "entries that were requested and lost the archive are not told as never requested"
    assert all(entry["attempts"] for entry in lost)
    assert {entry["state"] for entry in told} <= {"complete", "failed", "partial", "not started"}
    place.archive.faults = Faults()
    place.archive.start()
    movescu(*place.arguments("--resume"), folder=place.received)
    assert place.there == place.names


@pytest.mark.row("list-stopped")
def test_wait_for_an_absent_archive_can_be_interrupted(place: Place) -> None:
    place.archive.faults = Faults(pause=0.05)
    with running(*place.arguments("--jobs", 2, "-v", "-to", 2), folder=place.received) as command:
        command.await_log("received store request", 3)
        place.archive.close()
        command.await_log("the archive is away")
        command.signal(signal.SIGINT)
        outcome = command.end()
    outcome.hold_to(130)


@pytest.mark.row("list-unreached")
def test_archive_that_cannot_connect_to_us_is_asked_three_times(place: Place) -> None:
    place.archive.destinations["MOVESCU"] = (peers.HOST, peers.free_port())
    outcome = movescu(*place.arguments("--jobs", 2), folder=place.received, code=69)
    assert f"stopping: the archive cannot connect to 127.0.0.1 port {place.port}" in outcome.log
    assert "not requested: entry" in outcome.log


def test_transfer_syntaxes_that_are_rejected_here_make_no_archive_busy(tmp_path: Path) -> None:
    folder, received = tmp_path / "archive", tmp_path / "received"
    folder.mkdir()
    received.mkdir()
    (native,) = corpus.make_study(folder, size=2000)
    compressed = {one.study_uid: one for one in corpus.bundled() if one.is_compressed}
    for one in compressed.values():
        shutil.copy(one.path, folder)
    rows = tmp_path / "rows.csv"
    rows.write_text("\n".join(["StudyInstanceUID", *compressed, native.study_uid]))
    with Archive(folder, {"MOVESCU": (peers.HOST, peers.free_port())}) as archive:
        options = ["-S", "--list", rows, "--jobs", 1, "+P", archive.destinations["MOVESCU"][1]]
        report = tmp_path / "report.csv"
        outcome = movescu(*options, "--report", report, archive.host, archive.port, folder=received, code=None)
    assert "repeated later" not in outcome.log
    with open(report, newline="", encoding="utf-8-sig") as file:
        *others, last = csv.DictReader(file)
    assert {(one["reason"], one["attempts"]) for one in others} == {("not-accepted-here", "1")}
    assert last["state"] == "complete"


@pytest.mark.row("list-rejected")
def test_archive_that_rejects_for_good_is_asked_once_by_each_worker(place: Place) -> None:
    place.archive.faults = Faults(reject=(1, 1, 7))
    outcome = movescu(*place.arguments("--jobs", 2), folder=place.received, code=61)
    assert "stopping: the archive does not accept our requests" in outcome.log
    assert "not requested: entry" in outcome.log


@pytest.mark.row("list-ended-each")
def test_archive_that_ends_each_request_is_left_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Orthanc does, which aborts the requests of a calling title that it does not know."""
    monkeypatch.setattr(admission, "FIRST_ECHO", 0.05)
    monkeypatch.setattr(admission, "PAUSE", 0.05)
    place.archive.faults = Faults(main_ends_by=Ending.ABORT)
    results: list[RowResult] = []
    runner, waiting = run(place, results.append)
    assert runner.stop is admission.Stop.HOPELESS
    assert len(waiting) + len(results) == STUDIES
    assert len(results) < 5


@pytest.mark.row("list-idle")
def test_association_that_the_archive_ended_between_two_entries_fails_none(place: Place) -> None:
    results: list[RowResult] = []

    def on_row(result: RowResult) -> None:
        results.append(result)
        if len(results) in (2, 3):
            place.archive.close()
            place.archive.start()

    run(place, on_row, jobs=1)
    assert [result.outcome for result in results] == ["complete"] * STUDIES
    assert {result.result.attempts for result in results if result.result is not None} == {1}
