"""Several runs of one cohort, killed at any moment, and what ``--status`` says of it meanwhile."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import cohorts
import pytest
from command import movescu, running, without_privileges
from injected import can_mount, remount, tmpfs

from movescu.cohort.journal import Journal
from movescu.events import EntryEvent, EntryState
from movescu.query.request_list import read_rows
from movescu.query.selection import Selection
from movescu.testing import Faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cohorts import Cohort
    from command import Outcome

FULL = os.environ.get("SWEEP") == "full"
"""``make soak``: more kills of longer runs."""
STUDIES = 60 if FULL else 12
KILLS = 10 if FULL else 3


@pytest.fixture
def cohort(tmp_path: Path) -> Iterator[Cohort]:
    yield from cohorts.made(tmp_path, STUDIES)


def ends(outcome: Outcome) -> int:
    assert outcome.code == 0, outcome.log
    return outcome.log.count("received store request")


@pytest.mark.parametrize("resume", [(), ("--resume",)], ids=["anew", "resumed"])
def test_two_runs_share_a_list_and_each_study_is_moved_once(
    cohort: Cohort, resume: tuple[str, ...], tmp_path: Path
) -> None:
    cohort.archive.together = True
    manifests = [tmp_path / "shared" if resume else tmp_path / f"sums{which}" for which in (0, 1)]
    with ExitStack() as stack:
        runs = [cohort.start(stack, which, "--jobs", 2, "--manifest", manifests[which], *resume) for which in (0, 1)]
        outcomes = [run.end() for run in runs]
    counts = [ends(outcome) for outcome in outcomes]
    assert min(counts) > 0, "both are at work"
    assert sum(counts) == 3 * STUDIES
    assert cohort.archive.moves == STUDIES
    assert cohort.files().keys() == cohort.digests
    status = cohort.status()
    assert (status["states"], status["objects"]) == ({"complete": STUDIES}, 3 * STUDIES)
    digests = {f"{digest}  received/{name}" for name, digest in cohort.files().items()}
    for manifest in manifests:
        assert set(manifest.read_text().splitlines()) == digests, "whichever run stored the file"


@pytest.mark.parametrize("later", ["partial", "requested again"])
def test_verdict_that_another_run_withdraws_is_looked_up_before_the_end(cohort: Cohort, later: str) -> None:
    archive, path = cohort.archive, cohort.directory / ".movescu.journal"
    rows = read_rows(str(cohort.list), (), model="STUDY")[:3]
    cohort.list.write_text("".join(f"{study}\n" for study in cohort.studies[:3]))
    keys = [row.key(f"ANY-SCP@{archive.host}:{archive.port}", Selection()) for row in rows]

    def end(number: int) -> EntryEvent:
        return EntryEvent(row=number, state=EntryState.COMPLETE, stored=0, attempts=1)

    with Journal(str(path), str(cohort.directory)) as other, ExitStack() as stack:
        for key, row in zip(keys[:2], rows, strict=False):
            assert other.claim(key) is None
            other.note(key, end(row.number), [])
        assert other.claim(keys[2]) is None
        other.save()
        run = cohort.start(stack, 0)
        run.await_log("entry 2: complete, by process")
        run.await_log("entry 3: in progress by process")
        if later == "partial":
            told = EntryEvent(row=1, state=EntryState.PARTIAL, reason="not-whole", words="not whole")
            other.note(keys[0], told, ["MISSING"])
        else:
            other.note(keys[0], EntryEvent(row=1, state=EntryState.PARTIAL, reason="interrupted"), [])
        other.note(keys[2], end(3), [])
        other.save()
        outcome = run.end()
    assert "entry 1: the run that completed it has withdrawn its result" in outcome.log
    assert outcome.code == (63 if later == "partial" else 0)
    assert archive.moves == (0 if later == "partial" else 1)


def test_lists_that_differ_share_the_entries_they_have_in_common(cohort: Cohort, tmp_path: Path) -> None:
    cohort.archive.together = True
    other = tmp_path / "other.txt"
    other.write_text("".join(f"{study}\n" for study in reversed(cohort.studies[3:])))
    with ExitStack() as stack:
        first = cohort.start(stack, 0)
        arguments = cohort.arguments(1, studies=other)
        second = stack.enter_context(running(*arguments, folder=cohort.directory))
        assert sum(ends(run.end()) for run in (first, second)) == 3 * STUDIES
    assert cohort.archive.moves == STUDIES


def test_command_runs_for_each_study_though_only_one_run_has_it(cohort: Cohort, tmp_path: Path) -> None:
    cohort.archive.together = True
    few = tmp_path / "few.txt"
    few.write_text("".join(f"{study}\n" for study in cohort.studies[:4]))
    with ExitStack() as stack:
        for which, options in enumerate(((), ("--on-study", "true {study_uid}"))):
            arguments = cohort.arguments(which, *options, studies=few)
            run = stack.enter_context(running(*arguments, folder=cohort.directory))
        log = run.end().log
    for study in cohort.studies[:4]:
        assert f"--on-study for study {study}: succeeded" in log


def test_study_whose_files_a_command_has_moved_is_not_requested_by_another_run(cohort: Cohort) -> None:
    cohort.archive.together = True
    options = ["--layout", "study", "--on-study", "rm -r {directory}"]
    with ExitStack() as stack:
        for run in [cohort.start(stack, which, *options) for which in (0, 1)]:
            outcome = run.end()
            assert outcome.code == 0, outcome.log
    assert cohort.archive.moves == STUDIES


def test_failure_of_one_run_is_the_verdict_of_the_other(cohort: Cohort, tmp_path: Path) -> None:
    cohort.archive.faults, cohort.archive.together = Faults(drop_every=3), True
    report = tmp_path / "report.json"
    with ExitStack() as stack:
        first = cohort.start(stack, 0, "--linger", 0)
        second = cohort.start(stack, 1, "--linger", 0, "--report", report)
        codes = [run.end().code for run in (first, second)]
    assert codes == [63, 63]
    assert cohort.archive.moves == STUDIES
    entries = json.loads(report.read_text())["entries"]
    assert {entry["state"] for entry in entries} == {"partial"}
    assert {entry["reason"] for entry in entries} == {"not-arrived"}
    status = cohort.status()
    assert status["states"] == {"partial": STUDIES}
    assert {one["reason"] for one in status["failed"]} == {"not-arrived"}


@pytest.mark.row("list-killed")
@pytest.mark.parametrize("seed", range(19, 24) if FULL else [19])
def test_runs_killed_at_random_moments_leave_the_files_of_one_clean_run(
    cohort: Cohort, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    cohort.archive.faults, jobs = Faults(pause=0.02), chance.randint(1, 3) if FULL else 1
    options = ["--resume", "--jobs", jobs, "--manifest", tmp_path / "sums"]
    with ExitStack() as stack:
        runs = [cohort.start(stack, which, *options) for which in (0, 1)]
        for number in range(KILLS):
            which = chance.randrange(2)
            cohort.archive.await_moves(2 + 3 * number + chance.randrange(3))
            runs[which].signal(signal.SIGKILL)
            runs[which].kill()
            runs[which] = cohort.start(stack, which, *options)
        for run in runs:
            assert run.end().code == 0
    assert cohort.archive.moves <= STUDIES + KILLS * jobs
    assert cohort.files().keys() == cohort.digests
    lines = {f"{digest}  received/{name}" for name, digest in cohort.files().items()}
    assert set((tmp_path / "sums").read_text().splitlines()) == lines
    states = cohort.status()["states"]
    assert states.keys() <= {"complete", "complete before"}
    assert sum(states.values()) == STUDIES, "one verdict an entry"
    received, cohort.directory = cohort.files(), tmp_path / "clean"
    cohort.directory.mkdir()
    cohort.archive.faults = Faults()
    movescu(*cohort.arguments(0), folder=cohort.directory)
    assert cohort.files() == received


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount file systems")
@pytest.mark.row("list-full")
def test_full_disk_ends_the_run_and_fails_no_entry(cohort: Cohort, tmp_path: Path) -> None:
    options = ["--jobs", 2, "--journal", tmp_path / "journal", "--resume", "--report", tmp_path / "report.json"]
    with tmpfs(tmp_path / "small", "size=110k") as cohort.directory:
        outcome = movescu(*cohort.arguments(0, *options), folder=cohort.directory, code=63)
        assert outcome.log.count("stopping: the disk of the output directory is full") == 1
        entries = json.loads((tmp_path / "report.json").read_text())["entries"]
        states = [entry["state"] for entry in entries]
        assert set(states) <= {"complete", "partial", "not started"}
        assert 0 < states.count("complete") < len(states) - states.count("partial") < len(states)
        assert {entry["reason"] for entry in entries if entry["state"] != "complete"} == {"disk-full"}
        assert cohort.archive.moves <= states.count("complete") + 2
        told = cohort.status(tmp_path / "journal")["states"]
        assert told == {"complete": states.count("complete"), "waiting": STUDIES - states.count("complete")}
        remount(cohort.directory, "size=4m")
        movescu(*cohort.arguments(0, *options), folder=cohort.directory)
        assert cohort.files().keys() == cohort.digests
        assert cohort.archive.moves <= STUDIES + 2, "complete entries are not requested again"


@pytest.mark.not_without("hard-links", "directories", "windows")  # they have no syncfs
@pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
@pytest.mark.row("list-flush")
def test_disk_that_fails_ends_the_run_and_is_not_believed_later(cohort: Cohort) -> None:
    """A flush that fails has dropped what it could not write; each later one of the run would fail, too."""
    failing = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=syncfs,fsync"]
    injected = [*failing, "-e", "inject=syncfs:error=EIO:when=1"]
    check = ["--check-files", cohort.directory]
    cohort.archive.faults = Faults(pause=0.15)  # else one flush would be for all
    outcome = movescu(*cohort.arguments(0), folder=cohort.directory, code=63, prefix=injected)
    cohort.archive.faults = Faults()
    assert (
        "stopping: stored objects cannot be flushed to the disk: check the disk of the output directory" in outcome.log
    )
    assert cohort.archive.moves < STUDIES, "the others would be in vain"
    status = cohort.status()
    assert not status["states"].get("complete")
    assert "a flush has failed" in movescu(*check, folder=cohort.directory, code=63).output
    lost = {name: (cohort.directory / name).stat().st_ino for name in cohort.files()}
    assert lost
    outcome = movescu(*cohort.arguments(0), "--resume", folder=cohort.directory)
    assert outcome.log.count("received store request") == 3 * STUDIES
    assert not [name for name, inode in lost.items() if (cohort.directory / name).stat().st_ino == inode]
    movescu(*check, folder=cohort.directory)


def test_status_tells_what_is_under_way_and_changes_nothing(cohort: Cohort) -> None:
    cohort.archive.faults = Faults(pause=0.05)
    with ExitStack() as stack:
        run = cohort.start(stack, 0)
        run.await_log("received store request", 4)
        status = cohort.status()
        held = status["held"][-1]  # ends of the last second are not committed yet
        assert held["pid"] == status["runs"][0]["pid"] == run.pid
        assert held["keys"].startswith("StudyInstanceUID=")
        table = movescu("--status", cohort.directory / ".movescu.journal", folder=cohort.list.parent).output
        assert f"process {run.pid} on " in table
        assert f"entries:   {STUDIES} (" in table
        assert run.end().code == 0
    assert "running:   none" in movescu("--status", ".", folder=cohort.directory).output
    assert not [path.name for path in cohort.directory.glob(".movescu.journal-*")], "the log went with the last user"
    cohort.directory.chmod(0o555)
    try:
        told = movescu("--status", ".", folder=cohort.directory, prefix=without_privileges()).output
    finally:
        cohort.directory.chmod(0o755)
    assert f"{STUDIES} complete" in told


def test_journal_may_be_elsewhere(cohort: Cohort, tmp_path: Path) -> None:
    journal = tmp_path / "cohort.journal"
    movescu(*cohort.arguments(0, "--journal", journal), folder=cohort.directory)
    assert cohort.status(journal)["states"] == {"complete": STUDIES}
    assert not (cohort.directory / ".movescu.journal").exists()
    before = cohort.archive.moves
    movescu(*cohort.arguments(0, "--journal", journal, "--resume"), folder=cohort.directory)
    assert cohort.archive.moves == before


@pytest.mark.row("list-journal")
def test_journal_removed_during_a_run_ends_it_with_one_error(cohort: Cohort) -> None:
    cohort.archive.faults = Faults(pause=0.02)
    with ExitStack() as stack:
        run = cohort.start(stack, 0)
        run.await_log("received store request", 4)
        (cohort.directory / ".movescu.journal").unlink()
        outcome = run.end()
    assert outcome.code == 72
    assert outcome.log.count("was removed or replaced during the run") == 1
    assert "continue with --resume" in outcome.log
    cohort.archive.faults = Faults()
    movescu(*cohort.arguments(0, "--resume"), folder=cohort.directory)
    assert cohort.files().keys() == cohort.digests


@pytest.mark.row("list-journal")
def test_damaged_journal_is_named_and_resume_rebuilds_it(cohort: Cohort) -> None:
    movescu(*cohort.arguments(0), folder=cohort.directory)
    (cohort.directory / ".movescu.journal").write_bytes(b"\xa5" * 8192)
    before = cohort.archive.moves
    outcome = movescu(*cohort.arguments(0), folder=cohort.directory, code=72)
    assert "journal './.movescu.journal' is damaged" in outcome.log
    assert "--resume" in outcome.log
    for look in (("--status", "."), ("--check-files", ".")):
        log = movescu(*look, folder=cohort.directory, code=72).log
        assert "cannot read the journal" in log
        assert log.count("is damaged") == 1
    movescu(*cohort.arguments(0, "--resume"), folder=cohort.directory)
    assert cohort.archive.moves == before, "the disk decides"
    assert cohort.status()["states"] == {"complete before": STUDIES}


@pytest.mark.row("list-journal")
def test_newer_journal_is_refused(cohort: Cohort) -> None:
    movescu(*cohort.arguments(0), folder=cohort.directory)
    with closing(sqlite3.connect(cohort.directory / ".movescu.journal")) as database:
        database.execute("PRAGMA user_version = 99")
    for arguments in (cohort.arguments(0, "--resume"), ["--status", "."]):
        assert "has version 99" in movescu(*arguments, folder=cohort.directory, code=72).log
