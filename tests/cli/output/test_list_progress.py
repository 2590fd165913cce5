"""A list on a terminal: what runs and is waited for, a line for each entry, and a summary that adds up."""

from __future__ import annotations

import csv
import json
import re
import signal
import socket
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import corpus
import peers
import pytest
from command import movescu, running
from terminal import Screen, Terminal

from movescu.cli.output.list_progress import ListProgress
from movescu.events import EntryEvent, EntryState
from movescu.query.request_list import read_rows
from movescu.retrieve.config import AE, Config
from movescu.testing import Archive, Faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STATES = ("complete", "complete before", "partial", "not found", "failed", "not started")


class Place(NamedTuple):
    """An archive with three studies of four objects, and a list of them and of one that it does not have."""

    archive: Archive
    folder: Path
    received: Path
    arguments: list[object]

    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.folder / "report.json").read_text())
        return report


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    stored, received = tmp_path / "archive", tmp_path / "received"
    stored.mkdir()
    received.mkdir()
    made = corpus.make_study(stored, studies=3, instances=4, size=2000)
    studies = dict.fromkeys(one.study_uid for one in made)
    rows = tmp_path / "rows.csv"
    rows.write_text("StudyInstanceUID\n" + "".join(f"{uid}\n" for uid in ("1.2.3", *studies)))
    port = peers.free_port()
    with Archive(stored, {"MOVESCU": (peers.HOST, port)}) as archive:
        files = ["--report", tmp_path / "report.json", "--failed", tmp_path / "failed.csv"]
        arguments = ["-S", "--list", rows, "+P", port, "--resume", *files, archive.host, archive.port]
        yield Place(archive, tmp_path, received, arguments)


def numbers_of(summary: str) -> dict[str, int]:
    """The number of entries by state in a summary line."""
    return {state: int(number) for number, state in re.findall(rf"(\d+) ({'|'.join(STATES)})(?=[,;])", summary)}


def hold_to_counts(place: Place, summary: str, entries: int) -> dict[str, int]:
    """Hold a summary line and the report to each other and to the number of entries; give the counts."""
    report = place.report()
    numbers = numbers_of(summary)
    assert sum(numbers.values()) == entries == sum(report["counts"].values()), summary
    assert numbers == {state: count for state, count in report["counts"].items() if count}
    states = [entry["state"] for entry in report["entries"]]
    assert {state: states.count(state) for state in states} == numbers
    for name in ("stored", "already_there", "missing", "failed"):
        assert report[name] == sum(entry.get(name, 0) for entry in report["entries"])
    return numbers


def test_list_on_a_terminal_leaves_a_line_for_each_entry_and_a_summary(place: Place) -> None:
    place.archive.faults = Faults(pause=0.1)
    with Terminal(*place.arguments, folder=place.received, columns=200) as terminal:
        output = terminal.finish(63)
    assert re.search(r"\d of 4 entries", output)
    assert re.search(r"\d+ of (about )?\d+ objects", output)
    assert re.search(r"entry \d: \d of 4 objects \(StudyInstanceUID=", output)
    screen = Screen(200)
    screen.feed(output)
    *lines, summary = screen.text.split("\n")
    assert [line.split(" (")[0] for line in lines if "entry" in line] == ["E: entry 1", "entry 2", "entry 3", "entry 4"]
    assert not [line for line in lines if "━" in line]
    assert hold_to_counts(place, summary, 4) == {"complete": 3, "not found": 1}


def test_summary_adds_up_after_an_interrupt_and_over_a_resumed_run(place: Place) -> None:
    place.archive.faults = Faults(pause=0.2)
    with Terminal(*place.arguments, folder=place.received, columns=200) as terminal:
        terminal.read_until(r"entry 3: [1-3] of 4")
        terminal.process.send_signal(signal.SIGINT)
        output = terminal.finish(130)
    summary = output.rstrip().rpartition("\n")[2]
    assert hold_to_counts(place, summary, 4) == {"not found": 1, "complete": 1, "partial": 1, "not started": 1}
    [partial] = [entry for entry in place.report()["entries"] if entry["state"] == "partial"]
    assert partial["reason"] == "interrupted"
    again = read_rows(str(place.folder / "failed.csv"))
    rows = read_rows(str(place.folder / "rows.csv"))
    assert [row.identifier for row in again] == [rows[number].identifier for number in (0, 2, 3)]
    place.archive.faults = Faults()
    outcome = movescu(*place.arguments, folder=place.received, code=63)
    counts = hold_to_counts(place, outcome.log.rstrip().rpartition("\n")[2], 4)
    assert counts == {"not found": 1, "complete before": 1, "complete": 2}


def test_killed_list_accounts_for_each_entry_once(place: Place) -> None:
    place.archive.faults = Faults(pause=0.2)
    with running(*place.arguments, "-v", folder=place.received) as command:
        command.await_log("received store request", 2)
        command.signal(signal.SIGTERM)
        outcome = command.end()
    outcome.hold_to(143)
    [summary] = [line for line in outcome.log.splitlines() if "4 entries: " in line]
    assert hold_to_counts(place, summary, 4) == {"not found": 1, "partial": 1, "not started": 2}
    assert len(read_rows(str(place.folder / "failed.csv"))) == 4


def test_files_name_all_entries_when_nothing_can_be_requested(place: Place) -> None:
    movescu("-od", place.received / "absent", *place.arguments, folder=place.folder, code=45)
    assert place.report()["counts"]["not started"] == 4
    assert len(read_rows(str(place.folder / "failed.csv"))) == 4


def test_display_says_that_the_callback_is_awaited(place: Place) -> None:
    blocking = socket.create_server((peers.HOST, 0), backlog=1)  # the archive's connection is not answered there
    with blocking:
        place.archive.destinations["MOVESCU"] = blocking.getsockname()
        with Terminal(*place.arguments, folder=place.received, columns=200) as terminal:
            terminal.read_until(r"entry 2: 0 of 4 objects, waiting for the archive to connect to port \d+ \(\d:\d\d\)")


def test_display_says_that_the_time_of_between_is_awaited(place: Place) -> None:
    hour = (time.localtime().tm_hour + 12) % 24
    between = f"{hour:02}:00-{hour:02}:30"
    with Terminal("--between", between, *place.arguments, folder=place.received, columns=200) as terminal:
        terminal.read_until(r"waiting for the time of --between, 1?\d:\d\d:\d\d left")
        terminal.process.send_signal(signal.SIGINT)
        output = terminal.finish(130)
    assert hold_to_counts(place, output.rstrip().rpartition("\n")[2], 4) == {"not started": 4}


@pytest.mark.not_without("signals", "windows")
def test_status_line_is_printed_on_sigusr1(place: Place) -> None:
    place.archive.faults = Faults(pause=0.2)
    with running(*place.arguments, "-v", folder=place.received) as command:
        command.await_log("received store request")
        command.signal(signal.SIGUSR1)
        command.await_log("of 4 entries, ")
        outcome = command.end()
    outcome.hold_to(63)
    [line] = [line for line in outcome.log.splitlines() if "of 4 entries, " in line]
    assert re.search(r"1 of 4 entries, 1 not found, \d+.* objects, .*; entry 2: .*\(StudyInstanceUID=", line)


def test_estimate_takes_the_rest_of_a_list_to_repeat_studies_as_its_beginning_does() -> None:
    progress = ListProgress(Config(AE("archive.example.org", 104)), 8, terminal=False, display=False)
    progress.entry(EntryEvent(row=1, state=EntryState.RUNNING))
    progress.listed(100, 100, 1)
    progress.entry(EntryEvent(row=1, state=EntryState.COMPLETE, stored=100))
    for number in (2, 3, 4):
        progress.entry(EntryEvent(row=number, state=EntryState.COMPLETE, same_as=1))
    assert progress.state().expected == 200


def test_entries_that_are_not_found_are_named_up_to_five(caplog: pytest.LogCaptureFixture) -> None:
    progress = ListProgress(Config(AE("archive.example.org", 104)), 9, terminal=False, display=False)
    progress.places = {number: f"line {number + 1}: PatientID=P{number}" for number in range(1, 10)}
    with progress.shown(None):  # type: ignore[arg-type] # without a display, the runner is not asked
        for number in range(1, 10):
            progress.entry(EntryEvent(row=number, state=EntryState.NOT_FOUND, keys=(f"PatientID=P{number}",)))
    lines = [message for message in caplog.messages if "not found: " in message]
    assert len(lines) == 6
    assert lines[0].startswith("entry 1 (line 2: PatientID=P1): not found: ")
    assert lines[-1] == "not found: ... and 4 more (--failed writes a list of them)"


def test_quiet_list_prints_nothing(place: Place) -> None:
    with Terminal("-q", *place.arguments, folder=place.received) as terminal:
        assert terminal.finish(63) == ""


def test_spreadsheet_has_all_entries(place: Place) -> None:
    arguments = [place.folder / "x.csv" if one == place.folder / "report.json" else one for one in place.arguments]
    movescu(*arguments, folder=place.received, code=63)
    with (place.folder / "x.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["not found", "complete", "complete", "complete"]
    assert [row["stored"] for row in rows] == ["0", "4", "4", "4"]
    assert rows[0]["fault"] == "request"


def test_failed_must_not_overwrite_the_list(place: Place) -> None:
    rows = place.folder / "rows.csv"
    before = rows.read_text()
    arguments = [rows if one == place.folder / "failed.csv" else one for one in place.arguments]
    assert "name the same file" in movescu(*arguments, folder=place.received, code=1).log
    assert rows.read_text() == before
