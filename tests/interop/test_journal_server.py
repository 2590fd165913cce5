"""A journal in PostgreSQL: several runs share it, and what becomes of a run whose database goes away."""

from __future__ import annotations

import random
import signal
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import cohorts
import peers
import postgres
import psycopg
import pytest
from command import OURS, movescu

from movescu._runtime import clock
from movescu.cohort.entry_verdict import Held
from movescu.cohort.journal import Journal
from movescu.cohort.journal_status import read_status
from movescu.errors import JournalError, UsageError
from movescu.testing import Faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cohorts import Cohort
    from postgres import Postgres

pytestmark = [
    pytest.mark.xdist_group("postgres"),
    pytest.mark.not_without("hard-links", "epoll", "poll", "windows"),  # psycopg uses ctypes and epoll
]

STUDIES = 8
SECRET = "hunter2"
SIGNALS = [pytest.param(signal.SIGKILL, id="killed"), pytest.param(signal.SIGSTOP, id="stopped")]
IMPATIENT = f"from movescu.cohort import journal_server\njournal_server.SILENCE = 0.5\n{OURS}"
"""Our command, which notices the silence of a database within half a second."""
SHORT_LEASE = f"from movescu.cohort.journal import Journal\nJournal.__init__.__kwdefaults__['lease'] = 2.0\n{OURS}"
QUICKLY_GONE = f"from movescu.cohort import journal_server\njournal_server.PATIENCE = 0.5\n{OURS}"


@pytest.fixture
def cohort(tmp_path: Path) -> Iterator[Cohort]:
    for one in cohorts.made(tmp_path, STUDIES):
        one.journal = ("--journal", postgres.server().journal())
        yield one


@pytest.fixture
def database() -> Iterator[Postgres]:
    """The server of all tests here, which is there again after each."""
    server = postgres.server()
    yield server
    server.restore()


def test_runs_share_a_list_and_each_study_is_moved_once(cohort: Cohort) -> None:
    cohort.archive.together = True
    with ExitStack() as stack:
        outcomes = [run.end() for run in [cohort.start(stack, which, "--jobs", 2) for which in (0, 1)]]
    assert [one.code for one in outcomes] == [0, 0], outcomes[0].log + outcomes[1].log
    assert min(one.log.count("received store request") for one in outcomes) > 0, "both are at work"
    assert cohort.archive.moves == STUDIES
    assert cohort.files().keys() == cohort.digests
    status = cohort.status()
    assert (status["states"], status["objects"]) == ({"complete": STUDIES}, len(cohort.digests))
    assert not (cohort.directory / ".movescu.journal").exists()
    movescu("--check-files", cohort.directory, *cohort.journal, folder=cohort.list.parent)
    movescu(*cohort.arguments(0, "--resume"), folder=cohort.directory)
    assert cohort.archive.moves == STUDIES, "complete entries are not requested again"


def test_clock_of_the_database_decides_about_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = postgres.server().journal()
    with Journal(url, str(tmp_path)) as first:
        assert first.claim("one") is None
        monkeypatch.setattr(clock, "wall", lambda: 0.0)
        with Journal(url, str(tmp_path)) as second:
            assert isinstance(second.claim("one"), Held)


def test_entry_that_another_run_is_claiming_is_left_out(tmp_path: Path) -> None:
    url = postgres.server().journal()
    with Journal(url, str(tmp_path)) as journal, psycopg.connect(url) as other:
        assert journal.claim("one") is None
        other.execute("SELECT 1 FROM journal_entries WHERE key = 'one' FOR UPDATE")
        held = journal.claim("one")
        assert isinstance(held, Held)
        assert held.owner is None


def test_run_begins_alone(tmp_path: Path) -> None:
    """Of two that begin at once, each would take the other for one that is not there yet."""
    from sqlalchemy import Engine, event

    statements: list[str] = []

    def note(*given: Any) -> None:
        statements.append(given[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        Journal(postgres.server().journal(), str(tmp_path)).__exit__(None, None, None)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    number = next(number for number, one in enumerate(statements) if "INSERT INTO journal_runs" in one)
    begin = max(place for place, one in enumerate(statements[:number]) if one.startswith("SELECT set_config"))
    assert "pg_advisory_xact_lock" in statements[begin + 1]


def test_journal_of_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    url = postgres.server().journal()
    Journal(url, str(tmp_path)).__exit__(None, None, None)
    postgres.server().execute("UPDATE journal_version SET version = 99", url)
    for use in (lambda: Journal(url, str(tmp_path)), lambda: read_status(url)):
        with pytest.raises(JournalError, match=r"postgresql://movescu@/postgres.* has version 99, of a newer movescu"):
            use()


def test_journal_without_its_version_is_damaged(tmp_path: Path) -> None:
    url = postgres.server().journal()
    Journal(url, str(tmp_path)).__exit__(None, None, None)
    postgres.server().execute("DELETE FROM journal_version", url)
    for use in (lambda: Journal(url, str(tmp_path)), lambda: read_status(url)):
        with pytest.raises(JournalError, match=r"postgresql://movescu@/postgres.* is damaged"):
            use()


def test_journal_with_the_files_of_another_directory_is_refused(tmp_path: Path) -> None:
    url = postgres.server().journal()
    with Journal(url, str(tmp_path)) as journal:
        journal.claim("one")
        assert read_status(url).directory == str(tmp_path)
        (tmp_path / "other").mkdir()
        with pytest.raises(JournalError, match="has the files of"):
            Journal(url, str(tmp_path / "other"))
    assert not [thread.name for thread in threading.enumerate() if "journal" in thread.name]


def test_password_is_not_shown(cohort: Cohort, database: Postgres) -> None:
    (_, url) = cohort.journal
    urls = [str(url).replace("movescu@", f"movescu:{SECRET}@"), f"{url}&password={SECRET}"]
    for one in urls:
        outcome = movescu("--status", one, folder=cohort.directory, code=1)
        assert "there is no journal in postgresql://movescu@/postgres" in outcome.log
        assert "can see the password" in outcome.log
        assert SECRET not in outcome.log
    movescu(*cohort.arguments(0, "--journal", urls[0], "-d"), folder=cohort.directory)
    for how in ("table", "json"):
        told = movescu("--status", urls[0], "--format", how, folder=cohort.directory)
        assert SECRET not in told.log + told.output
    away = f"postgresql://movescu:{SECRET}@{peers.HOST}:{peers.free_port()}/cohort"
    report = cohort.list.parent / "report.json"
    options = ["--journal", away, "-d", "--report", report]
    log = movescu(*cohort.arguments(0, *options), folder=cohort.directory, code=72).log
    assert SECRET not in log
    database.signal(signal.SIGKILL)
    log = movescu(*cohort.arguments(0, "--journal", urls[1], "-d"), folder=cohort.directory, code=72).log
    assert SECRET not in log


def test_password_comes_from_the_environment_or_a_service(
    tmp_path: Path, database: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = database.schema()
    Journal(database.url(schema), str(tmp_path)).__exit__(None, None, None)
    service = tmp_path / "service"
    service.write_text(f"[cohort]\nhost={database.folder}\ndbname=postgres\nuser=movescu\npassword={SECRET}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    assert read_status(f"postgresql:///?service=cohort&options=-csearch_path%3D{schema}").states == {}
    monkeypatch.setenv("PGHOST", database.folder)
    assert read_status(f"postgres://movescu@/postgres?options=-csearch_path%3D{schema}").states == {}


@pytest.mark.parametrize("url", ["postgresql://u:p@ss@host/db", "postgresql://host:x/db", "mysql://host/db"])
def test_url_that_is_none_is_refused_without_repeating_it(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError) as caught:
        Journal(url, str(tmp_path))
    assert "ss@host" not in str(caught.value)


def test_journal_in_a_server_needs_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(JournalError, match="needs SQLAlchemy and psycopg") as caught:
        Journal("postgresql://host/db", str(tmp_path))
    assert "movescu[cluster]" in caught.value.hint


@pytest.mark.row("list-database")
def test_database_that_is_away_at_the_start_is_named_once(cohort: Cohort) -> None:
    away = f"postgresql://movescu@{peers.HOST}:{peers.free_port()}/cohort"
    for arguments in (cohort.arguments(0, "--journal", away), ["--status", away]):
        outcome = movescu(*arguments, folder=cohort.directory, code=72)
        assert outcome.log.count("cannot connect to the journal's database") == 1
        assert "check host, port, user and database" in outcome.log
        assert "postgresql://movescu@127.0.0.1" in outcome.log
    assert cohort.archive.moves == 0


@pytest.mark.sampled(16)
@pytest.mark.row("list-database-away")
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("number", SIGNALS)
def test_database_that_comes_back_costs_nothing(
    cohort: Cohort, database: Postgres, number: signal.Signals, seed: int
) -> None:
    cohort.archive.faults, chance = Faults(pause=0.02), random.Random(seed)
    with ExitStack() as stack:
        run = cohort.start(stack, 0, "--jobs", 2, program=IMPATIENT)
        cohort.archive.await_moves(chance.randrange(1, STUDIES - 2))
        threading.Event().wait(chance.random() * 0.05)
        if number == signal.SIGKILL:
            database.kill()
        else:
            database.signal(number)
        run.await_log("waiting for it")
        database.restore()
        outcome = run.end()
    assert outcome.code == 0, outcome.log
    assert "is there again" in outcome.log
    cohort.hold_to_one_clean_run()
    assert cohort.archive.moves == STUDIES


def under_way(url: str, pid: int) -> int:
    statement = f"""SELECT count(*) FROM journal_entries e JOIN journal_runs r ON e.run = r.run
        WHERE state IN ('running', 'postponed') AND pid = {pid}"""  # noqa: S608 - a number of the system
    ((number,),) = postgres.server().execute(statement, url)
    return int(number)


@pytest.mark.sampled(16)
@pytest.mark.row("list-killed")
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("number", SIGNALS)
def test_run_that_ends_at_a_random_moment_costs_no_entry(cohort: Cohort, number: signal.Signals, seed: int) -> None:
    chance = random.Random(seed)
    cohort.archive.faults, cohort.archive.together = Faults(pause=0.01), True
    with ExitStack() as stack:
        runs = [cohort.start(stack, which, "--jobs", 2, "--resume", program=SHORT_LEASE) for which in (0, 1)]
        cohort.archive.await_runs()
        cohort.archive.await_moves(chance.randrange(2, STUDIES - 1))
        threading.Event().wait(chance.random() * 0.05)
        runs[0].signal(signal.SIGSTOP)
        held = under_way(str(cohort.journal[-1]), runs[0].pid)
        runs[0].signal(number)
        outcomes = [runs[1].end()]
        if number == signal.SIGSTOP:
            runs[0].signal(signal.SIGCONT)
            outcomes.append(runs[0].end())
    assert [one.code for one in outcomes] == [0] * len(outcomes), outcomes[-1].log
    cohort.hold_to_one_clean_run()
    assert cohort.archive.moves <= STUDIES + held, "entries, and what was under way"


@pytest.mark.row("list-database")
def test_database_that_stays_away_ends_the_run_and_resume_continues(cohort: Cohort, database: Postgres) -> None:
    cohort.archive.faults = Faults(pause=0.02)
    with ExitStack() as stack:
        run = cohort.start(stack, 0, program=QUICKLY_GONE)
        cohort.archive.await_moves(3)
        database.kill()
        outcome = run.end()
    assert outcome.code == 72
    outcome.hold_to(72)
    assert "continue with --resume" in outcome.log
    database.restore()
    cohort.archive.faults = Faults()
    movescu(*cohort.arguments(0, "--resume"), folder=cohort.directory)
    assert cohort.archive.moves <= STUDIES + 2, "ends of the last second, and what was under way"
    assert cohort.files().keys() == cohort.digests
    assert set(cohort.status()["states"]) <= {"complete", "complete before"}
