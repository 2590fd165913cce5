"""``--list``: many requests, side by side, killed and gone on with; and archives that must not be disturbed."""

from __future__ import annotations

import json
import random
import re
import signal
import threading
from typing import TYPE_CHECKING, NamedTuple

import corpus
import peers
import pytest
from command import movescu, running

from movescu.cohort.client import Client
from movescu.cohort.runner import Runner
from movescu.query.request_list import read_rows
from movescu.retrieve.config import AE, Config, Receive, Request, Retry, Timeouts
from movescu.storage.options import StorageOptions
from movescu.testing import Archive, Faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from corpus import Instance

    from movescu.cohort.row_result import RowResult
    from movescu.query.request_list import Row


class Place(NamedTuple):
    """An archive with studies, a list of them, and a folder."""

    archive: Archive
    made: list[Instance]
    rows: Path
    received: Path
    port: int

    def arguments(self, *options: object) -> list[object]:
        own = ["-S", "--list", self.rows, "+P", self.port, *options]
        return [*own, self.archive.host, self.archive.port]

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.received.iterdir() if not path.name.startswith(".")}

    def names(self) -> set[str]:
        return {f"CT.{one.instance_uid}" for one in self.made}

    def run(self, *, jobs: int = 1, retry: Retry | None = None) -> tuple[list[RowResult], list[Row]]:
        config = Config(
            AE(self.archive.host, self.archive.port),
            timeouts=Timeouts(linger=0.2),
            retry=retry or Retry(pause=0.01),
            receive=Receive(self.port),
            request=Request(model="STUDY"),
        )
        results: list[RowResult] = []
        storage = StorageOptions(directory=str(self.received))
        with Client.configured(config, storage, closing=False) as client:
            runner = Runner(client, jobs=jobs, on_row=results.append)
            return results, runner.run(read_rows(str(self.rows)))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    folder, received = tmp_path / "archive", tmp_path / "received"
    folder.mkdir()
    received.mkdir()
    made = corpus.make_study(folder, studies=12, instances=4, size=2000)
    rows = tmp_path / "rows.csv"
    lines = dict.fromkeys(f"{one.patient_id},{one.study_uid}" for one in made)
    rows.write_text("PatientID,StudyInstanceUID\n" + "".join(f"{line}\n" for line in lines))
    port = peers.free_port()
    with Archive(folder, {"MOVESCU": (peers.HOST, port)}) as archive:
        yield Place(archive, made, rows, received, port)


@pytest.mark.not_without("locks", "windows")  # as above: temporary files stay for a day
@pytest.mark.row("list-killed")
def test_list_killed_at_random_moments_and_resumed_gives_the_files_of_one_clean_run(
    place: Place, tmp_path: Path
) -> None:
    chance = random.Random(2)
    place.archive.faults = Faults(pause=0.01)
    for _ in range(3):
        with running(*place.arguments("--jobs", 4, "--resume", "-v"), folder=place.received) as command:
            command.await_log("received store request", chance.randrange(2, 12))
            command.signal(signal.SIGKILL)
            command.end()
    place.archive.faults = Faults()
    report = tmp_path / "report.json"
    movescu(*place.arguments("--jobs", 4, "--resume", "--report", report), folder=place.received)
    assert place.files().keys() == place.names()
    corpus.check_readable(place.received / name for name in place.names())
    told = json.loads(report.read_text())
    assert told["outcome"] == "complete"
    movescu(*place.arguments("--resume", "--report", report), folder=place.received)
    assert json.loads(report.read_text())["associations"]["archive"] == 0, "the journal has them all as complete"


@pytest.mark.row("list-incomplete")
def test_row_that_fails_is_named_and_stops_no_other(place: Place, tmp_path: Path) -> None:
    lines = place.rows.read_text().splitlines()
    place.rows.write_text("\n".join([*lines[:3], "NOBODY,1.2.3", *lines[3:]]) + "\n")
    (place.received / f"CT.{place.made[0].instance_uid}").mkdir()
    report = tmp_path / "report.json"
    outcome = movescu(*place.arguments("--jobs", 3, "--report", report, "--linger", 0), folder=place.received, code=68)
    assert "entry 1 (line 2: PatientID=" in outcome.log
    assert f"missing: SOP instance {place.made[0].instance_uid}" in outcome.log
    told = json.loads(report.read_text())
    outcomes = {entry["row"]: entry["state"] for entry in told["entries"]}
    assert sorted(number for number, word in outcomes.items() if word != "complete") == [1, 3]
    assert len(outcomes) == 13
    by_row: dict[int, int] = {}
    for series in told["series"]:
        by_row[series["row"]] = by_row.get(series["row"], 0) + series["stored"]
    assert set(by_row.values()) == {3, 4}, "each object is told as one of its row"


def test_what_comes_for_rows_side_by_side_is_told_apart_by_what_they_want(place: Place) -> None:
    place.archive.faults = Faults(drop_every=4)
    results, waiting = place.run(jobs=4, retry=Retry(verify=True))
    assert not waiting
    assert sorted(result.row.number for result in results) == list(range(1, 13))
    for result in results:
        assert result.result is not None
        assert (result.outcome, result.result.stored, len(result.result.missing_uids)) == ("incomplete", 3, 1)


def test_busy_archive_is_asked_with_fewer_associations_until_it_recovers(place: Place) -> None:
    place.archive.faults = Faults(reject=(2, 3, 2))
    timer = threading.Timer(0.1, lambda: setattr(place.archive, "faults", Faults()))
    timer.start()
    results, waiting = place.run(jobs=4, retry=Retry(pause=0.1))
    timer.join()
    assert not waiting
    assert {result.outcome for result in results} == {"complete"}
    assert place.files().keys() == place.names()


@pytest.mark.row("list-never-there")
def test_archive_that_was_never_there_is_asked_once(place: Place) -> None:
    dead = replace_port(place, peers.free_port())
    results, waiting = dead.run()
    assert len(results) == 1
    assert [row.number for row in waiting] == list(range(2, 13))


def replace_port(place: Place, port: int) -> Place:
    dead = Archive(None, port=port)
    return place._replace(archive=dead)


@pytest.mark.row("list-stopped")
def test_interrupted_list_ends_soon_and_says_what_is_open(place: Place) -> None:
    place.archive.faults = Faults(pause=0.05)
    with running(*place.arguments("--jobs", 2, "-v"), folder=place.received) as command:
        command.await_log("received store request", 2)
        command.signal(signal.SIGINT)
        outcome = command.end()
    outcome.hold_to(130)
    assert "cancelling" in outcome.log
    assert "not requested: entry 3 (line 4: PatientID=" in outcome.log
    place.archive.faults = Faults()
    movescu(*place.arguments("--jobs", 2, "--resume"), folder=place.received)
    assert place.files().keys() == place.names()


@pytest.mark.row("list-unknown")
def test_destination_that_the_archive_does_not_know_is_told_once_with_its_address(place: Place) -> None:
    place.archive.destinations = {}
    outcome = movescu(*place.arguments(), folder=place.received, code=69)
    told = f"AE title MOVESCU, address {peers.HOST} (as seen from here), port {place.port}\n"
    assert outcome.log.count(told) == 1
    assert "stopping: the archive does not know the AE title MOVESCU: add it to its configuration" in outcome.log
    assert outcome.log.count("the archive does not know the move destination") < 12, "it was not asked for all"
    assert outcome.log.index(told) < outcome.log.index("missing: SOP instance")


@pytest.mark.row("list-rejected")
def test_list_stops_at_once_if_the_archive_does_not_know_us(place: Place) -> None:
    place.archive.faults = Faults(reject=(1, 1, 3))
    outcome = movescu(*place.arguments(), folder=place.received, code=61)
    assert outcome.log.count("calling AE title not recognized") == 1
    assert "have it added there, or set another with --aetitle" in outcome.log
    assert "is running" not in outcome.log


def test_attempt_in_a_list_names_its_entry(place: Place) -> None:
    place.archive.faults = Faults(fail_every=3)
    outcome = movescu(*place.arguments("--retry", 1, "--retry-pause", 0), folder=place.received, code=None)
    assert re.search(r"W: entry \d+: attempt 1: ", outcome.log)


@pytest.mark.parametrize(("option", "value"), [("--between", "9-17"), ("--limit-rate", "fast")])
def test_value_of_an_option_that_is_invalid_is_named_with_it(place: Place, option: str, value: str) -> None:
    outcome = movescu(*place.arguments(option, value), folder=place.received, code=1)
    assert f"Invalid value for option {option} ({value})" in outcome.log


def test_dry_run_tells_what_would_come_and_retrieves_nothing(place: Place) -> None:
    outcome = movescu(*place.arguments("--dry-run"), folder=place.received)
    [row] = [line.split() for line in outcome.output.splitlines() if line.endswith(place.made[0].study_uid)]
    assert row[-3:-1] == ["1", "4"]
    assert outcome.output.endswith("48 objects in all\n")
    assert not place.files()


def test_rate_that_is_limited_brings_all_the_same(place: Place) -> None:
    place.rows.write_text(f"{place.made[0].study_uid}\n")
    movescu(*place.arguments("--limit-rate", "100K"), folder=place.received)
    assert len(place.files()) == 4


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has no entries"),
        ("PatientIdd,StudyInstanceUID\n1,1.2.3\n", "PatientIdd.*\n?.*name it PatientID"),
        ("PatientID,StudyInstanceUID\n1\n", "line 2 .* 1 column, the first line has 2"),
        ("PatientID,StudyInstanceUID\nP1,1.2.3\nP1,\n", "line 3, column 2 .* StudyInstanceUID is blank"),
        ("StudyInstanceUID\n1.2.*\n", "line 2, column 1 .* is not a UID"),
        ("StudyInstanceUID,0020000D\n1.2.3,1.2.4\n", "names 0020000D twice"),
        ("NumberOfFrames\n1\n", "none of the columns determines the level"),
    ],
)
def test_list_that_cannot_be_read_is_told_before_anything_is_asked(place: Place, text: str, complaint: str) -> None:
    place.rows.write_text(text)
    place.archive.faults = Faults(reject=(1, 1, 1))
    outcome = movescu(*place.arguments(), folder=place.received, code=1)
    assert re.search(complaint, outcome.log), outcome.log
