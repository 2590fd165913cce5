"""The journal of a cohort: what it keeps, who may use it, and how it is told apart from what is no journal."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import postgres
import pytest
from command import movescu

from movescu.cohort.directory_audit import DirectoryAudit
from movescu.cohort.entry_verdict import EntryVerdict, Held
from movescu.cohort.journal import Journal
from movescu.cohort.journal_file import FILE_NAME, FileStore, journal_path, open_journal, told_as_journal_errors
from movescu.cohort.journal_opening import rename_folder
from movescu.cohort.journal_status import read_status, reading
from movescu.cohort.journal_store import VERSION, is_url
from movescu.cohort.journal_workers import JournalWorker
from movescu.cohort.owner import Owner, has_ended, this_process
from movescu.errors import JournalError, StoreError, UsageError
from movescu.events import EntryEvent, EntryState
from movescu.query.identifier import make_identifier
from movescu.query.request_list import Row
from movescu.storage import files
from movescu.storage.ledger import StoredFile

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def row(number: int = 1) -> Row:
    keys = (f"StudyInstanceUID=1.2.{number}",)
    return Row(number, keys[0], make_identifier([*keys, "QueryRetrieveLevel=STUDY"], model="STUDY"), keys=keys)


ON_SERVER = [pytest.mark.xdist_group("postgres"), pytest.mark.not_without("hard-links", "epoll", "poll", "windows")]
"""The second since psycopg uses ctypes and epoll."""


@pytest.fixture(params=["file", pytest.param("server", marks=ON_SERVER)])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A journal in a file, and one in PostgreSQL."""
    return str(tmp_path / FILE_NAME) if request.param == "file" else postgres.server().journal()


def changed(kept: str, statement: str) -> None:
    """Change a journal beside its runs."""
    if is_url(kept):
        postgres.server().execute(statement, kept)
        return
    with closing(sqlite3.connect(kept)) as database, database:
        database.execute(statement)


def opened(folder: Path, kept: str = "", *, rebuild: bool = False, lease: float = 60.0) -> Journal:
    def files_of(uids: Iterable[str]) -> list[StoredFile]:
        return [StoredFile(uid, uid, (folder / uid).stat().st_size) for uid in sorted(uids)]

    return Journal(kept or str(folder / FILE_NAME), str(folder), rebuild=rebuild, lease=lease, files_of=files_of)


def complete(number: int = 1) -> EntryEvent:
    return EntryEvent(row=number, state=EntryState.COMPLETE, study_instance_uids=("1.2",), stored=1, attempts=1)


def stored(folder: Path, *uids: str) -> list[str]:
    for uid in uids:
        (folder / uid).write_bytes(b"object")
    return list(uids)


WHY: dict[str, Any] = {
    "words": "for a reason",
    "fault": "archive",
    "passing": True,
    "advice": "wait",
    "status": 0xA700,
    "detail": "no resources",
}
OTHER_RUN = """
import sys, time
from movescu.cohort.journal import Journal
journal = Journal(sys.argv[2], sys.argv[1])
print(journal.claim("one"), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("end", ["closed", "not closed"])
def test_ends_are_found_by_the_next_run(tmp_path: Path, kept: str, end: str) -> None:
    journal = opened(tmp_path, kept)
    assert journal.claim("one") is None
    journal.note("one", complete(), [], stored(tmp_path, "1.5", "1.6"))
    if end == "closed":
        journal.__exit__(None, None, None)
    else:
        journal.save()
    with opened(tmp_path, kept) as after:
        assert after.objects_of("one") == ["1.5", "1.6"]
        assert after.objects_of("two") is None
    status = read_status(kept)
    assert (status.states, status.objects, status.size) == ({"complete": 1}, 2, 12)
    if end == "not closed":
        journal.__exit__(None, None, None)  # ends its thread


def test_ends_within_a_second_share_a_commit(tmp_path: Path) -> None:
    commits, kept = [], str(tmp_path / FILE_NAME)
    with Journal(kept, str(tmp_path), before=lambda: commits.append(1)) as journal:
        for number in range(50):
            journal.claim(str(number))
            journal.note(str(number), complete(number), [])
    assert 1 <= len(commits) <= 2, "the index is saved before"
    assert read_status(kept).states == {"complete": 50}


def test_entry_is_held_by_one_run(tmp_path: Path, kept: str) -> None:
    with opened(tmp_path, kept) as first, opened(tmp_path, kept) as second:
        first.enter([("one", row())], "ARCHIVE@host:104")
        assert first.claim("one") is None
        assert first.claim("one") is None, "it holds it already"
        assert dict(second.verdicts()) == {"one": None}
        held = second.claim("one")
        assert isinstance(held, Held)
        assert held.owner == this_process()
        (seen,) = read_status(kept).held
        assert (seen.keys, seen.state, seen.lives) == ("StudyInstanceUID=1.2.1", "running", True)
        first.note("one", complete(), [], stored(tmp_path, "1.5"))
        first.save()
        verdict = second.claim("one")
        assert isinstance(verdict, EntryVerdict)
        assert (verdict.outcome, verdict.objects) == ("complete", 1)
        assert second.claim("one", is_done=lambda _: False) is None


def test_failure_is_a_verdict_and_an_interruption_is_none(tmp_path: Path, kept: str) -> None:
    with opened(tmp_path, kept) as first, opened(tmp_path, kept) as second:
        for key, reason in (("one", "busy"), ("two", "interrupted")):
            assert first.claim(key) is None
            end = EntryEvent(row=1, state=EntryState.FAILED, reason=reason, attempts=2, **WHY)
            first.note(key, end, ["LOST"])
        first.save()
        verdict = second.claim("one")
        assert isinstance(verdict, EntryVerdict)
        assert (verdict.state, verdict.outcome, verdict.reasons) == ("failed", "failed", ("LOST",))
        assert second.claim("one", is_done=lambda _: False) == verdict, "of an entry that failed nothing is asked"
        ours = replace(row(7), columns=(("Ward", "3"),))
        event = verdict.event(ours)
        assert (event.row, event.keys, event.columns, event.reason) == (7, ours.keys, ours.columns, "busy")
        assert {name: getattr(event, name) for name in WHY} == WHY
        assert second.claim("two") is None


def test_verdict_ends_with_the_cohort(tmp_path: Path, kept: str) -> None:
    with opened(tmp_path, kept) as first:
        first.claim("one")
        first.note("one", complete(), [], stored(tmp_path, "1.5"))
    with opened(tmp_path, kept) as later:
        assert later.claim("one") is None, "a run of another day requests what it is told to"


def test_objects_that_two_complete_entries_have_are_found_for_both(tmp_path: Path, kept: str) -> None:
    with opened(tmp_path, kept) as journal:
        journal.note("one", complete(), [], stored(tmp_path, "1.5", "1.6"))
        journal.note("two", complete(2), [], stored(tmp_path, "1.6", "1.7"))
        found = {(one.key, one.sop_instance_uid) for one in journal.shared_objects()}
    assert found == {("one", "1.6"), ("two", "1.6")}


@pytest.mark.parametrize(("state", "already_there"), [("complete", 2), ("partial", 2), ("failed", 0)])
def test_objects_of_an_entry_that_another_run_ended_are_already_there(
    tmp_path: Path, state: str, already_there: int
) -> None:
    with opened(tmp_path) as first, opened(tmp_path) as second:
        first.claim("one")
        first.note("one", replace(complete(), state=EntryState(state)), [], stored(tmp_path, "1.5", "1.6"))
        first.save()
        verdict = second.claim("one")
        assert isinstance(verdict, EntryVerdict)
        assert verdict.event(row()).already_there == already_there


def test_run_that_was_killed_has_no_verdicts_for_the_next(tmp_path: Path) -> None:
    killed = opened(tmp_path, lease=1000.0)
    killed.claim("one")
    killed.note("one", EntryEvent(row=1, state=EntryState.FAILED, reason="busy", attempts=1), [])
    killed.save()
    changed(str(tmp_path / FILE_NAME), "UPDATE journal_runs SET renewed = renewed - 61")
    with opened(tmp_path) as later:
        assert later.claim("one") is None
    killed.__exit__(None, None, None)


def test_ends_are_committed_while_the_run_goes_on_and_long_before_the_lease_is_renewed(tmp_path: Path) -> None:
    with opened(tmp_path, lease=1e6) as journal:
        journal._store.together = 0.01
        for number in (1, 2):
            journal.note(str(number), complete(), [])
            while read_status(str(tmp_path)).states != {"complete": number}:
                pass


def test_journal_that_fails_in_the_background_is_an_error_where_it_is_used_next(tmp_path: Path) -> None:
    journal = opened(tmp_path, lease=0.3)
    (tmp_path / FILE_NAME).rename(tmp_path / "away")
    journal.note("one", complete(), [])
    journal._keeper.join(30)
    (tmp_path / "away").rename(tmp_path / FILE_NAME)
    with pytest.raises(JournalError, match="removed or replaced"):
        journal.claim("two")
    with pytest.raises(JournalError, match="removed or replaced"):
        journal.note("two", complete(2), [])
    with pytest.raises(JournalError, match="removed or replaced"):
        journal.__exit__(None, None, None)


def test_index_that_cannot_be_saved_fails_no_entry(tmp_path: Path) -> None:
    def before() -> None:
        raise StoreError("no space")

    with Journal(str(tmp_path / FILE_NAME), str(tmp_path), before=before) as journal:
        journal.note("one", complete(), [])
    assert read_status(str(tmp_path)).states == {"complete": 1}


def test_list_that_is_not_utf_8_has_a_journal(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.enter([("one", replace(row(), text="PatientID=\udcff"))], "ARCHIVE@host:104")
        journal.claim("one")
        [held] = read_status(str(tmp_path)).held
    assert held.keys == "PatientID=\ufffd"


@pytest.mark.parametrize("how", ["cut", "gone"])
def test_verdict_holds_only_while_its_files_are_there(tmp_path: Path, kept: str, how: str) -> None:
    with opened(tmp_path, kept) as first, opened(tmp_path, kept) as second:
        first.claim("one")
        first.note("one", complete(), [], stored(tmp_path, "1.5"))
        first.save()
        if how == "cut":
            (tmp_path / "1.5").write_bytes(b"cut")
        else:
            (tmp_path / "1.5").unlink()
        assert second.claim("one") is None


@pytest.mark.parametrize("gone", [["1.5"], ["1.5", "1.6"]])
def test_file_that_is_gone_when_the_end_is_noted_makes_no_complete_entry(
    tmp_path: Path, kept: str, gone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(tmp_path, "1.5", "1.6")
    lstat = files.lstat

    def sizeless(path: bytes) -> os.stat_result:
        """As file systems do it that have no size for a directory."""
        status = lstat(path)
        return os.stat_result((*status[:6], 0, *status[7:])) if stat.S_ISDIR(status.st_mode) else status

    def files_of(uids: Iterable[str]) -> list[StoredFile]:
        return [StoredFile(uid, uid, 6) for uid in sorted(uids) if uid not in gone]

    with opened(tmp_path, kept) as other, Journal(kept, str(tmp_path), files_of=files_of) as journal:
        monkeypatch.setattr(files, "lstat", sizeless)
        journal.claim("one")
        journal.note("one", complete(), [], ["1.5", "1.6"])
        assert journal.objects_of("one") == ["1.5", "1.6"]
        assert other.claim("one") is None
    status = read_status(kept)
    assert (status.objects, status.size) == (2 - len(gone), 6 * (2 - len(gone)))


@pytest.mark.parametrize("verifies", [False, True])
def test_verdict_that_no_count_proves_is_none_for_a_run_that_verifies(
    tmp_path: Path, kept: str, *, verifies: bool
) -> None:
    with Journal(kept, str(tmp_path), verifies=verifies) as first, Journal(kept, str(tmp_path), verifies=True) as other:
        first.claim("one")
        first.note("one", complete(), [])
        first.save()
        with opened(tmp_path, kept) as plain:
            verdict = plain.claim("one")
        assert isinstance(verdict, EntryVerdict)
        assert verdict.event(row()).state is EntryState.COMPLETE_BEFORE
        assert (other.claim("one") is not None) is verifies


def test_files_of_an_entry_that_was_given_back_are_still_expected(tmp_path: Path, kept: str) -> None:
    with opened(tmp_path, kept) as first:
        first.claim("one")
        first.note("one", complete(), [], stored(tmp_path, "1.5"))
    with opened(tmp_path, kept) as second:
        assert second.claim("one") is None
    (tmp_path / "1.5").unlink()
    found: list[str] = []
    with DirectoryAudit(str(tmp_path), 1.0, lambda finding: found.append(finding.kind)) as audit:
        with reading(kept) as (database, path, *_):
            audit.expect_journal(database, path)
        audit.check_files(places=False)
    assert found == ["missing"]


@pytest.mark.row("list-journal")
def test_journal_with_the_files_of_another_directory_is_refused(tmp_path: Path) -> None:
    path, first, second = tmp_path / "journal", tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    with Journal(str(path), str(second)):
        pass  # nothing was recorded: it has no directory yet
    with Journal(str(path), str(first), files_of=lambda uids: [StoredFile(uid, uid, 6) for uid in uids]) as journal:
        journal.claim("one")
        journal.note("one", complete(), [], stored(first, "1.5"))
    words = rf"has the files of '{first}', not of '{second}'"
    with pytest.raises(JournalError, match=words) as caught:
        Journal(str(path), str(second), rebuild=True)
    assert "--journal" in caught.value.hint
    with pytest.raises(JournalError, match=words):
        findings(second, path)
    assert findings(first, path) == []
    assert read_status(str(path)).directory == str(first)
    (tmp_path / "link").symlink_to(first)
    Journal(str(path), str(tmp_path / "link")).__exit__(None, None, None)


def findings(folder: Path, path: Path) -> list[str]:
    found: list[str] = []
    with DirectoryAudit(str(folder), 1.0, lambda one: found.append(one.kind)) as audit:
        with reading(str(path)) as (database, name, *_):
            audit.expect_journal(database, name)
        audit.check_files(places=False)
    return [kind for kind in found if kind == "missing"]


def test_journal_follows_its_directory_when_that_is_moved(tmp_path: Path) -> None:
    path, first, second = tmp_path / "journal", tmp_path / "first", tmp_path / "second"
    first.mkdir()
    with Journal(str(path), str(first), files_of=lambda uids: [StoredFile(uid, uid, 6) for uid in uids]) as journal:
        journal.claim("one")
        journal.note("one", complete(), [], stored(first, "1.5"))
    first.rename(second)
    assert findings(second, path) == []
    with Journal(str(path), str(second)) as journal:
        assert journal.objects_of("one") == ["1.5"]
    first.mkdir()
    (second / "1.5").unlink()
    assert findings(second, path) == ["missing"]
    with pytest.raises(JournalError, match=rf"has the files of '{second}', not of '{first}'"):
        Journal(str(path), str(first))


def test_entry_that_an_earlier_run_completed_can_be_corrected(tmp_path: Path, kept: str) -> None:
    with opened(tmp_path, kept) as first:
        first.claim("one")
        first.note("one", complete(), [], stored(tmp_path, "1.5", "1.6"))
    with opened(tmp_path, kept) as second:
        partial = EntryEvent(row=1, state=EntryState.PARTIAL, reason="not-arrived")
        second.retract("one", partial, ["MISSING"], {"1.5"})
        assert second.objects_of("one") is None, "or --resume would not request it"
        for key in ("one", "two"):  # neither is complete
            second.retract(key, partial, ["MISSING"], {"1.6"})
        assert second.paths_of("one") == ["1.6"]
    status = read_status(kept)
    assert (status.states, status.objects) == ({"partial": 1}, 1)


def test_end_that_was_just_noted_can_be_corrected(tmp_path: Path, kept: str) -> None:
    with opened(tmp_path, kept, lease=1e6) as journal:
        journal.note("one", complete(), [], stored(tmp_path, "1.5"))
        journal.retract("one", EntryEvent(row=1, state=EntryState.PARTIAL), ["MISSING"], {"1.5"})
    assert read_status(kept).states == {"partial": 1}


def test_later_end_of_an_entry_replaces_its_objects(tmp_path: Path, kept: str) -> None:
    with opened(tmp_path, kept) as journal:
        for uids in (("1.5", "1.6"), ("1.6", "1.7")):
            journal.note("one", complete(), [], stored(tmp_path, *uids))
            assert journal.objects_of("one") == list(uids)


def test_complete_entries_are_found_by_any_of_their_objects(tmp_path: Path, kept: str) -> None:
    with opened(tmp_path, kept) as journal:
        journal.enter([(str(number), row(number)) for number in range(3)], "ARCHIVE@host:104")
        journal.note("0", complete(), [], stored(tmp_path, "1.5", "1.6"))
        journal.note("1", complete(), [], stored(tmp_path, "1.6"))
        journal.note("2", EntryEvent(row=2, state=EntryState.PARTIAL), [], stored(tmp_path, "1.7"))
        others = [f"9.{number}" for number in range(1200)]  # more than one query takes
        assert set(journal.complete_with([*others, "1.6", "1.7"])) == {
            ("0", "StudyInstanceUID=1.2.0"),
            ("1", "StudyInstanceUID=1.2.1"),
        }
        assert set(journal.complete_with(["1.5"])) == {("0", "StudyInstanceUID=1.2.0")}
        assert list(journal.complete_with([])) == []


def test_run_joins_the_latest_of_two_cohorts(tmp_path: Path, kept: str) -> None:
    """A run that was stopped, and goes on, may have missed what others did since."""
    with opened(tmp_path, kept, lease=1e6) as stopped:
        changed(kept, "UPDATE journal_runs SET renewed = renewed - 61 WHERE run = 1")
        with opened(tmp_path, kept) as second:
            changed(kept, "UPDATE journal_runs SET renewed = renewed + 61 WHERE run = 1")
            for journal, key in ((stopped, "one"), (second, "two")):
                journal.note(key, EntryEvent(row=1, state=EntryState.FAILED, reason="busy"), [])
                journal.save()
            with opened(tmp_path, kept) as third:
                assert third.claim("one") is None
                assert isinstance(third.claim("two"), EntryVerdict)


@pytest.mark.parametrize("why", ["[not JSON", '["reason"]', '{"unknown": 1}'])
def test_reason_that_cannot_be_read_makes_no_success(tmp_path: Path, kept: str, why: str) -> None:
    with opened(tmp_path, kept) as first, opened(tmp_path, kept) as second:
        first.claim("one")
        first.note("one", EntryEvent(row=1, state=EntryState.FAILED, reason="busy"), [])
        first.save()
        changed(kept, f"UPDATE journal_entries SET why = '{why}'")  # noqa: S608 - of this test
        verdict = second.claim("one")
        assert isinstance(verdict, EntryVerdict)
        assert verdict.event(row()).state is EntryState.FAILED
        (failed,) = read_status(kept).failed
        assert failed.reason == ""


def test_entries_are_given_back_at_the_end_of_a_run(tmp_path: Path, kept: str) -> None:
    with opened(tmp_path, kept) as second:
        with opened(tmp_path, kept) as first:
            first.claim("one")
        assert read_status(kept).states == {"waiting": 1}
        assert second.claim("one") is None


def test_lease_of_killed_run_is_free_at_once(tmp_path: Path, kept: str) -> None:
    command = [sys.executable, "-c", OTHER_RUN, str(tmp_path), kept]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "None\n"
        with opened(tmp_path, kept) as journal:
            held = journal.claim("one")
            assert isinstance(held, Held)
            assert held.owner is not None
            assert held.owner.pid == other.pid
            other.send_signal(signal.SIGKILL)
            other.wait()
            (seen,) = read_status(kept).held
            assert not seen.lives
            assert journal.claim("one") is None


def test_lease_that_is_not_renewed_expires_and_its_run_notes_no_end(tmp_path: Path, kept: str) -> None:
    stopped, other = opened(tmp_path, kept, lease=1000.0), opened(tmp_path, kept)
    with other:
        stopped.claim("one")
        changed(kept, "UPDATE journal_runs SET renewed = renewed - 61 WHERE run = 1")
        assert other.claim("one") is None
        end = EntryEvent(row=1, state=EntryState.FAILED, reason="busy", attempts=1)
        stopped.note("one", end, [])
        stopped.save()
        other.note("one", complete(), [])
    assert read_status(kept).states == {"complete": 1}
    stopped.__exit__(None, None, None)


def test_lease_is_renewed(tmp_path: Path, kept: str) -> None:
    with opened(tmp_path, kept, lease=0.3):
        moments: set[float] = set()
        while len(moments) < 3:
            moments.update(run.renewed for run in read_status(kept).runs)


def test_process_of_another_start_is_not_taken_for_the_owner() -> None:
    here = this_process()
    assert not has_ended(here)
    boot, namespace, started = here.born.split("/")
    assert has_ended(here._replace(born=f"{boot}/{namespace}/{int(started) + 1}"))
    assert has_ended(here._replace(born=f"another/{namespace}/{started}"))
    assert not has_ended(here._replace(born=f"another/{namespace}/{started}"), anywhere=True), "a namesake's machine"
    assert not has_ended(here._replace(born=f"{boot}/pid:[1]/{int(started) + 1}")), "it cannot be seen from here"
    assert not has_ended(here._replace(host="elsewhere", pid=1 << 30))
    assert not has_ended(here._replace(born="changed by hand"))


def test_process_is_looked_up_by_its_id_where_the_system_tells_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("movescu.cohort.owner._birth", lambda _: "")
    assert not has_ended(this_process())
    assert not has_ended(Owner(this_process().host, 1, ""))
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
        assert has_ended(Owner(this_process().host, ended.pid, ""))


OLD = {
    1: """CREATE TABLE journal_rows (row TEXT PRIMARY KEY, outcome TEXT NOT NULL, objects INTEGER NOT NULL,
        attempts INTEGER NOT NULL, ended REAL NOT NULL) WITHOUT ROWID;
        INSERT INTO journal_rows VALUES ('one', 'complete', 2, 1, 1.0), ('two', 'incomplete', 1, 3, 2.0),
            ('three', 'cancelled', 0, 1, 3.0);""",
    2: """CREATE TABLE journal_rows (number INTEGER PRIMARY KEY, row TEXT NOT NULL UNIQUE, outcome TEXT NOT NULL,
        attempts INTEGER NOT NULL, ended REAL NOT NULL);
        CREATE TABLE journal_objects (number INTEGER NOT NULL, uid TEXT NOT NULL, PRIMARY KEY (number, uid))
        WITHOUT ROWID;
        INSERT INTO journal_rows VALUES (7, 'one', 'complete', 1, 1.0), (8, 'two', 'incomplete', 3, 2.0),
            (9, 'three', 'cancelled', 1, 3.0);
        INSERT INTO journal_objects VALUES (7, '1.5'), (7, '1.6'), (8, '1.7');""",
}


@pytest.mark.parametrize("version", OLD)
def test_journal_of_older_version_is_taken_over(tmp_path: Path, version: int) -> None:
    index = tmp_path / ".movescu.sqlite"
    with closing(sqlite3.connect(index)) as database, database:
        database.execute("CREATE TABLE movescu_tables (name TEXT PRIMARY KEY, version INTEGER NOT NULL)")
        database.execute("INSERT INTO movescu_tables VALUES ('journal', ?), ('hooks', 1)", (version,))
        database.executescript(OLD[version])
    status = read_status(str(tmp_path))
    assert (status.states, status.objects) == ({"complete": 1, "partial": 2}, 3)
    assert not (tmp_path / FILE_NAME).exists(), "to look changes nothing"
    with opened(tmp_path) as journal:
        assert journal.objects_of("one") == (["1.5", "1.6"] if version == 2 else [])
        journal.enter([("one", row())], "ARCHIVE@host:104")
    status = read_status(str(tmp_path))
    assert (status.states, status.objects) == ({"complete": 1, "partial": 2}, 3)
    with closing(sqlite3.connect(index)) as database:
        assert database.execute("SELECT name FROM movescu_tables").fetchall() == [("hooks",)]
        assert not database.execute("SELECT name FROM sqlite_master WHERE name GLOB 'journal_*'").fetchall()


def test_older_journal_that_cannot_be_taken_over_now_is_taken_over_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(tmp_path / ".movescu.sqlite")) as database, database:
        database.execute("CREATE TABLE movescu_tables (name TEXT PRIMARY KEY, version INTEGER NOT NULL)")
        database.execute("INSERT INTO movescu_tables VALUES ('journal', 2)")
        database.executescript(OLD[2])

    def failing(_: sqlite3.Connection, new: sqlite3.Connection) -> None:
        new.execute("INSERT INTO journal_objects VALUES (7, '1.5', x'', 0)")
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr("movescu.cohort.journal_file.take_over", failing)
        with pytest.raises(JournalError, match="disk I/O error"):
            opened(tmp_path)
    with opened(tmp_path) as journal:
        assert journal.objects_of("one") == ["1.5", "1.6"]


@pytest.mark.parametrize("damage", ["DROP TABLE journal_objects", "DROP TABLE movescu_tables"])
def test_older_journal_that_lacks_a_table_costs_what_it_kept_alone(tmp_path: Path, damage: str) -> None:
    with closing(sqlite3.connect(tmp_path / ".movescu.sqlite")) as database, database:
        database.execute("CREATE TABLE movescu_tables (name TEXT PRIMARY KEY, version INTEGER NOT NULL)")
        database.execute("INSERT INTO movescu_tables VALUES ('journal', 2)")
        database.executescript(f"{OLD[2]}; {damage}")
    with opened(tmp_path) as journal:
        assert journal.objects_of("one") is None


def test_journal_elsewhere_that_is_there_already_takes_no_older_one_away(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    path, index = str(tmp_path / "journal"), tmp_path / "second" / ".movescu.sqlite"
    Journal(path, str(tmp_path / "first")).__exit__(None, None, None)
    with closing(sqlite3.connect(index)) as database, database:
        database.execute("CREATE TABLE movescu_tables (name TEXT PRIMARY KEY, version INTEGER NOT NULL)")
        database.execute("INSERT INTO movescu_tables VALUES ('journal', 2)")
        database.executescript(OLD[2])
    Journal(path, str(tmp_path / "second")).__exit__(None, None, None)
    with opened(tmp_path / "second") as journal:
        assert journal.objects_of("one") == ["1.5", "1.6"]


def test_path_of_a_journal_is_in_its_directory_unless_it_has_one(tmp_path: Path) -> None:
    assert journal_path(str(tmp_path)) == str(tmp_path / FILE_NAME)
    assert journal_path(str(tmp_path), "elsewhere") == "elsewhere"


def test_journal_of_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    opened(tmp_path).__exit__(None, None, None)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (VERSION,)
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = (tmp_path / FILE_NAME).read_bytes()
    for use in (lambda: opened(tmp_path, rebuild=True), lambda: read_status(str(tmp_path))):
        with pytest.raises(JournalError, match=rf"\.movescu\.journal' has version {VERSION + 1}, of a newer movescu"):
            use()
    assert (tmp_path / FILE_NAME).read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs")
@pytest.mark.parametrize("make", ["mkdir", "mkfifo"])
def test_what_is_no_file_is_not_read_as_a_journal(tmp_path: Path, make: str) -> None:
    getattr(os, make)(tmp_path / ".movescu.journal")
    with pytest.raises(JournalError, match="is not a regular file"), reading(str(tmp_path)):
        pass


def test_database_of_another_program_is_refused_and_stays(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database, database:
        database.execute("CREATE TABLE pictures (name TEXT)")
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(JournalError, match="database of another program"):
        opened(tmp_path, rebuild=True)
    with pytest.raises(JournalError, match="is not a journal"):
        read_status(str(tmp_path / FILE_NAME))
    assert (tmp_path / FILE_NAME).read_bytes() == before


@pytest.mark.parametrize("how", ["header", "a page", "cut"])
def test_damaged_journal_is_named_and_rebuilt_on_request(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path) as journal:
        journal.enter([(str(number), row(number)) for number in range(300)], "ARCHIVE@host:104")
    file = tmp_path / FILE_NAME
    content = bytearray(file.read_bytes())
    at = 0 if how == "header" else 3 * 4096
    content[at : at + 4096] = b"\xa5" * 4096
    file.write_bytes(content[: len(content) // 2] if how == "cut" else content)
    with pytest.raises(JournalError, match=r"\.movescu\.journal' is damaged") as caught:
        opened(tmp_path)
    assert "--resume" in caught.value.hint
    for use in (lambda: Journal(str(file), str(tmp_path)), lambda: rename_folder(str(file), str(tmp_path), "W1")):
        with pytest.raises(JournalError, match="is damaged"):
            use()
    with opened(tmp_path, rebuild=True) as journal:
        assert journal.claim("one") is None
    assert (tmp_path / f"{FILE_NAME}.damaged").exists()
    assert "is kept as" in caplog.text


def test_log_of_a_damaged_journal_that_a_run_uses_is_moved_aside_with_it(tmp_path: Path) -> None:
    """Or it would be applied to the new one."""
    file = tmp_path / FILE_NAME
    with opened(tmp_path) as journal:
        journal.enter([(str(number), row(number)) for number in range(300)], "ARCHIVE@host:104")
    user = opened(tmp_path)
    user.enter([("one", row())], "ARCHIVE@host:104")
    left = (tmp_path / f"{FILE_NAME}-wal").read_bytes()
    with file.open("r+b") as content:
        content.seek(3 * 4096)
        content.write(b"\xa5" * (file.stat().st_size - 3 * 4096))
    with opened(tmp_path, rebuild=True) as journal:
        assert read_status(str(tmp_path)).states == {}
        assert journal.claim("one") is None
    assert (tmp_path / f"{FILE_NAME}.damaged").read_bytes()[-1:] == b"\xa5"
    assert (tmp_path / f"{FILE_NAME}.damaged-wal").read_bytes()[: len(left)] == left
    assert (tmp_path / f"{FILE_NAME}.damaged-shm").exists()
    with pytest.raises(JournalError, match="removed or replaced"):
        user.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (sqlite3.SQLITE_CORRUPT, "is damaged"),
        (sqlite3.SQLITE_NOTADB, "is damaged"),
        (sqlite3.SQLITE_BUSY, "is locked by another program"),
        (sqlite3.SQLITE_LOCKED, "is locked by another program"),
        (sqlite3.SQLITE_BUSY | 2 << 8, "is locked by another program"),
        (sqlite3.SQLITE_FULL, "the disk is full"),
        (sqlite3.SQLITE_IOERR, "cannot use the journal"),
        (sqlite3.SQLITE_READONLY, "cannot use the journal"),
        (None, "cannot use the journal"),
    ],
)
def test_error_of_the_database_says_what_is_wrong(code: int | None, words: str) -> None:
    error = sqlite3.OperationalError("why")
    if code is not None:
        error.sqlite_errorcode = code
    with pytest.raises(JournalError, match=words), told_as_journal_errors("journal"):
        raise error


def test_journal_that_is_damaged_as_soon_as_it_is_made_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object) -> None:
        error = sqlite3.DatabaseError("malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    monkeypatch.setattr("movescu.cohort.journal_file.make_tables", damaged)
    with pytest.raises(JournalError, match=r"cannot use the journal .*: malformed"):
        opened(tmp_path, rebuild=True)


def test_journal_that_cannot_be_written_is_an_error_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        database.execute("VACUUM")  # makes a file
    monkeypatch.setattr(files, "open_sqlite", files.open_sqlite_to_read)
    monkeypatch.setattr("movescu._runtime.clock.sleep", lambda _: pytest.fail("waits"))
    with pytest.raises(JournalError, match="readonly"):
        opened(tmp_path)


@pytest.mark.parametrize("times", [1, 2])
def test_run_waits_for_another_one_that_is_just_making_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """SQLite refuses the write-ahead log at once then."""
    waits: list[float] = []
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == times:
                other.execute("COMMIT")

        monkeypatch.setattr("movescu._runtime.clock.sleep", sleep)
        with opened(tmp_path) as journal:
            assert journal.claim("one") is None
    assert len(waits) == times


@pytest.mark.parametrize("at", range(1, 8))
def test_journal_that_another_run_makes_while_one_looks_at_it_is_used_by_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Two runs that begin at once: at each statement of the one, the other makes the tables."""
    statements: list[str] = []

    def make_tables_between(statement: str) -> None:
        statements.append(statement)
        if len(statements) == at + 1:  # the first is the opening
            open_journal(str(tmp_path / FILE_NAME), str(tmp_path)).close()

    def connect(path: str, wait: float) -> sqlite3.Connection:
        connection = open_sqlite(path, wait)
        if not statements:
            connection.set_trace_callback(make_tables_between)
            statements.append("open")
        return connection

    open_sqlite = files.open_sqlite
    monkeypatch.setattr("movescu.storage.files.open_sqlite", connect)
    with opened(tmp_path) as journal:
        assert journal.claim("one") is None
    assert len(statements) > at, "the other ran"


@pytest.mark.row("list-journal")
@pytest.mark.parametrize("lock", ["IMMEDIATE", "EXCLUSIVE"])
def test_journal_that_another_program_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    if lock == "EXCLUSIVE":
        opened(tmp_path).__exit__(None, None, None)
    monkeypatch.setattr("movescu.cohort.journal_file.WAIT", 0.05)
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other:
        other.execute(f"BEGIN {lock}")
        with pytest.raises(JournalError, match=r"\.movescu\.journal' is locked by another program"):
            opened(tmp_path)


FLUSHED = """
import os, sys
from movescu.cohort.journal import Journal
from movescu.cohort.journal_opening import rename_folder
from movescu.events import EntryEvent, EntryState
from movescu.storage.ledger import StoredFile
path = sys.argv[1] + "/journal"
files_of = lambda uids: [StoredFile(uid, "W1/" + uid, 7) for uid in uids]
with Journal(path, sys.argv[1], lease=1e6, files_of=files_of) as journal:
    for number in range(2):
        os.write(1, b"CLAIM\\n")
        journal.claim(str(number))
    journal.note("0", EntryEvent(row=1, state=EntryState.COMPLETE), [], ["1.5", "1.6"])
    os.write(1, b"SAVE\\n")
    journal.save()
    os.write(1, b"RETRACT\\n")
    journal.retract("0", EntryEvent(row=1, state=EntryState.PARTIAL), [], {"1.5"})
    os.write(1, b"RENAME\\n")
    rename_folder(path, sys.argv[1], "W1")
    os.write(1, b"END\\n")
"""


def test_end_of_an_entry_is_flushed_and_its_claim_is_not(tmp_path: Path) -> None:
    """After a loss of power no run holds an entry; an end that was reported has to be there."""
    command = ["strace", "-f", "-y", "-o", str(tmp_path / "trace"), "-e", "trace=fsync,fdatasync,write"]
    run = subprocess.run([*command, sys.executable, "-c", FLUSHED, str(tmp_path)], capture_output=True, check=True)
    assert run.stdout == b"CLAIM\n" * 2 + b"SAVE\nRETRACT\nRENAME\nEND\n"
    parts = re.split(r"write\(1<[^>]*>, \"", (tmp_path / "trace").read_text())[1:-1]
    flush = re.compile(r"f(?:data)?sync\(\d+<[^>]*journal(?:-wal)?>")
    found = [(part.partition("\\")[0], bool(flush.search(part))) for part in parts]
    assert found == [("CLAIM", False)] * 2 + [("SAVE", True), ("RETRACT", True), ("RENAME", True)]


def test_transaction_that_may_not_be_lost_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[str] = []

    def traced(path: str, wait: float) -> sqlite3.Connection:
        database = open_sqlite(path, wait)
        database.set_trace_callback(statements.append)
        return database

    def flushed() -> bool:
        """Return True if the last transaction was."""
        place = len(statements) - 1 - statements[::-1].index("COMMIT")
        return next(one for one in statements[place::-1] if "synchronous" in one).endswith("FULL")

    open_sqlite = files.open_sqlite
    monkeypatch.setattr(files, "open_sqlite", traced)
    with opened(tmp_path, lease=1e6) as journal:
        journal._store.together = 1e6
        journal.enter([("one", row())], "ARCHIVE@host:104")
        journal.claim("one")
        assert not flushed()
        journal.note("one", complete(), [], stored(tmp_path, "1.5"))
        journal.save()
        assert flushed()
        assert journal.claim("two") is None
        assert not flushed()
        journal.retract("one", EntryEvent(row=1, state=EntryState.PARTIAL), [], {"1.5"})
        assert flushed()
    assert not flushed(), "the end of a run"
    rename_folder(str(tmp_path / FILE_NAME), str(tmp_path), "W1")
    assert flushed()


def test_ends_of_one_commit_have_the_order_in_which_they_ended(tmp_path: Path) -> None:
    keys = [str(number) for number in (3, 1, 2, 5, 4)]
    with opened(tmp_path) as journal:
        journal.enter([(key, row()) for key in sorted(keys)], "ARCHIVE@host:104")
        for key in keys:
            journal.note(key, complete(), [])
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        found = database.execute("SELECT key, changed FROM journal_entries ORDER BY changed").fetchall()
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert [key for key, _ in found] == keys
    assert found[-1][1] - found[0][1] < 0.1, "or files could have changed since"
    assert all(abs(time.time() - changed) < 600 for _, changed in found)
    assert [file.name for file in tmp_path.iterdir()] == [FILE_NAME]


def test_error_of_the_journal_hides_no_other(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), opened(tmp_path):  # noqa: PT012 - the journal fails at its end, too
        (tmp_path / FILE_NAME).rename(tmp_path / "away")
        raise ZeroDivisionError


def test_folder_whose_files_were_brought_together_is_left_out_of_their_paths(tmp_path: Path) -> None:
    names = ["W1/a/1.dcm", "W1/2.dcm", "W10/3.dcm", "b/W1/4.dcm"]

    def files_of(uids: Iterable[str]) -> list[StoredFile]:
        return [StoredFile(uid, uid, 6) for uid in uids]

    kept = str(tmp_path / FILE_NAME)
    with Journal(kept, str(tmp_path), files_of=files_of) as journal:
        journal.note("one", complete(), [], names)
    rename_folder(kept, str(tmp_path), "W1", ["W1/2.dcm"])
    with opened(tmp_path) as journal:
        assert sorted(journal.paths_of("one")) == ["W1/2.dcm", "W10/3.dcm", "a/1.dcm", "b/W1/4.dcm"]
    rename_folder(kept, str(tmp_path), "W1")
    with opened(tmp_path) as journal:
        assert sorted(journal.paths_of("one")) == ["2.dcm", "W10/3.dcm", "a/1.dcm", "b/W1/4.dcm"]
    stored(tmp_path, "2.dcm")
    (tmp_path / "other").mkdir()
    with pytest.raises(JournalError, match="has the files of"):
        rename_folder(kept, str(tmp_path / "other"), "W10")


def test_failed_transaction_leaves_nothing_and_the_next_succeeds(tmp_path: Path) -> None:
    def failing(database: Any, _: float) -> None:
        database.execute("INSERT INTO journal_objects VALUES (1, '1.5', x'', 0)")
        database.execute("INSERT INTO others VALUES (1)")

    store = FileStore(str(tmp_path / FILE_NAME), str(tmp_path))
    with pytest.raises(JournalError, match="cannot use the journal") as caught:
        store.transact(failing)
    assert "free space" in caught.value.hint
    count = "SELECT count(*) FROM journal_objects"
    assert store.transact(lambda database, _: database.execute(count).fetchone()) == (0,)
    store._database.execute("PRAGMA max_page_count = 1")
    with pytest.raises(JournalError, match="the disk is full"):
        store.transact(lambda database, _: database.execute("CREATE TABLE more (text TEXT)"))
    store.close()


@pytest.mark.row("list-journal")
def test_damage_inside_a_large_journal_is_met_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("movescu.cohort.journal_file._READ_THROUGH", 0)
    with opened(tmp_path) as journal:
        journal.enter([(f"{number}" * 20, row(number)) for number in range(1000)], "ARCHIVE@host:104")
    content = bytearray((tmp_path / FILE_NAME).read_bytes())
    content[15 * 4096 :] = b"\xa5" * (len(content) - 15 * 4096)
    (tmp_path / FILE_NAME).write_bytes(content)
    store = FileStore(str(tmp_path / FILE_NAME), str(tmp_path))
    with pytest.raises(JournalError, match=r"\.movescu\.journal' is damaged") as caught:
        store.read(lambda database: database.execute("SELECT max(keys), max(archive) FROM journal_entries").fetchall())
    assert "--resume" in caught.value.hint
    store.close()


@pytest.mark.row("list-journal")
def test_path_that_can_have_no_journal_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JournalError, match="its directory does not exist"):
        Journal(str(tmp_path / "gone" / "journal"), str(tmp_path))
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalError, match="link': not a regular file"):
        Journal(str(tmp_path / "link"), str(tmp_path))
    assert not (tmp_path / "elsewhere").exists()
    monkeypatch.chdir(tmp_path)
    Journal("journal", ".").__exit__(None, None, None)
    assert (tmp_path / "journal").exists()
    monkeypatch.setattr(files, "open_sqlite", lambda *_: sqlite3.connect(":memory:", isolation_level=None))
    with pytest.raises(JournalError, match="cannot share memory"):
        opened(tmp_path)
    monkeypatch.setattr(files, "open_sqlite", lambda *_: sqlite3.connect(tmp_path))
    with pytest.raises(JournalError, match="cannot open the journal"):
        opened(tmp_path)


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_journal_that_is_gone_ends_the_run(tmp_path: Path, how: str) -> None:
    journal = opened(tmp_path)
    journal.claim("one")
    (tmp_path / FILE_NAME).unlink()
    if how == "replaced":
        opened(tmp_path).__exit__(None, None, None)
    with pytest.raises(JournalError, match="was removed or replaced during the run"):
        journal.claim("two")
    with pytest.raises(JournalError, match="was removed or replaced"):
        journal.__exit__(None, None, None)


NETWORKS = (
    *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs", "gfs2", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"),
    *("ocfs2", "orangefs", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf", "fuse.ceph", "fuse.ceph-fuse", "fuse.davfs2"),
    *("fuse.glusterfs", "fuse.juicefs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "fuse.vmhgfs-fuse"),
)


@pytest.mark.row("list-journal")
@pytest.mark.parametrize("kind", NETWORKS)
def test_journal_on_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(files, "file_system_type", lambda _: kind)
    with pytest.raises(JournalError, match=rf"network file system \({kind}\)") as caught:
        opened(tmp_path)
    assert "--journal FILE" in caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.not_without("directories", "windows")
def test_file_system_is_known_by_its_mount() -> None:
    assert files.file_system_type("/proc") == "proc"
    assert files.file_system_type("/nowhere") == ""


def test_status_needs_a_journal(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no journal"):
        read_status(str(tmp_path))


def test_workers_of_a_run_are_shown_while_it_lives(tmp_path: Path, kept: str) -> None:
    with opened(tmp_path, kept) as journal:
        assert read_status(kept).runs[0].workers == []
        journal.note_workers([JournalWorker("W1", "host1", 11112, "receives"), JournalWorker("W2", "host2", 104, "x")])
        journal.note_workers([JournalWorker("W1", "host1", 11112, "its disk is full")])
        assert [one.state for one in read_status(kept).runs[0].workers] == ["its disk is full"]
        told = movescu("--status", kept, folder=tmp_path).output
        assert "  worker W1 at host1 port 11112: its disk is full\n" in told
        told = json.loads(movescu("--status", kept, "--format", "json", folder=tmp_path).output)
        assert told["runs"][0]["workers"] == [
            {"title": "W1", "host": "host1", "port": 11112, "state": "its disk is full"}
        ]
    assert read_status(kept).runs == []
