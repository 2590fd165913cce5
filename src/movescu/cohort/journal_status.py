"""The state of a journal, read without changing it while others may write: for ``--status`` and ``--check-files``."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu.cohort.entry_verdict import told_of
from movescu.cohort.journal import LEASE, WAITING
from movescu.cohort.journal_directory import known_directory
from movescu.cohort.journal_file import (
    FILE_NAME,
    WAIT,
    make_tables,
    old_journal,
    take_over,
    told_as_journal_errors,
)
from movescu.cohort.journal_store import VERSION, JournalReading, check_version, is_url
from movescu.cohort.journal_workers import read_workers
from movescu.cohort.owner import Owner, has_ended
from movescu.errors import JournalError, UsageError
from movescu.events import EntryState
from movescu.storage import files

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from movescu.cohort.journal_workers import JournalWorker

_HELD: Final = (EntryState.RUNNING.value, EntryState.POSTPONED.value)
_DONE: Final = (EntryState.COMPLETE.value, EntryState.COMPLETE_BEFORE.value)
ORDER: Final = (
    *_DONE,
    *(EntryState.PARTIAL.value, EntryState.NOT_FOUND.value, EntryState.FAILED.value),
    *(*_HELD, WAITING, EntryState.NOT_STARTED.value),
)
"""States in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class JournalRun:
    """A living run. Times: seconds since 1970. ``workers``: of ``--cluster``."""

    owner: Owner
    started: float
    renewed: float
    workers: list[JournalWorker] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class HeldEntry:
    """An entry that a run holds; ``lives``: False if that run is known to have ended."""

    keys: str
    state: str
    owner: Owner
    since: float
    lives: bool


@dataclass(frozen=True, slots=True)
class EndedEntry:
    """An entry that is not complete; ``reason``: its code, ``words``: for people."""

    keys: str
    state: str
    reason: str
    words: str
    detail: str
    attempts: int
    ended: float


@dataclass(frozen=True, slots=True)
class JournalStatus:
    """The state of a journal. ``states``: number of entries by state. ``changed``: time of the last change, or 0.

    ``path``: or URL, without a password. ``directory``: whose files it has, empty if it has none yet. ``now``: when it
    was read, by the clock of its runs.
    """

    path: str
    version: int
    states: dict[str, int]
    objects: int
    size: int
    changed: float
    directory: str = ""
    now: float = 0.0
    runs: list[JournalRun] = field(default_factory=list)
    held: list[HeldEntry] = field(default_factory=list)
    failed: list[EndedEntry] = field(default_factory=list)


@contextlib.contextmanager
def reading(path: str) -> Iterator[JournalReading]:
    """Open a journal, or that of a directory, to read; yield it as it is at one moment.

    Raise ``UsageError`` if there is none, ``JournalError`` if it cannot be read.
    """
    if is_url(path):
        from movescu.cohort.journal_server import reading_server  # late: loads the libraries of the database

        with reading_server(path) as found:
            yield found
        return
    directory = path if files.isdir(path) else ""
    if directory:
        path = os.path.join(directory, FILE_NAME)
    if directory and not files.exists(path):
        with old_journal(directory) as old:
            if old is not None:
                with contextlib.closing(files.open_sqlite(":memory:", WAIT)) as copy:
                    make_tables(copy)
                    take_over(old, copy)
                    yield JournalReading(copy, path, clock.wall())
                return
    if not files.exists(path):
        raise UsageError(
            f"there is no journal {path!r}",
            hint="name the output directory of a run with --list, or the file of --journal",
        )
    if not stat.S_ISREG(files.stat(path).st_mode):  # the open of a FIFO would wait for a writer
        raise JournalError(f"{path!r} is not a regular file", hint="name the journal with --journal")
    with contextlib.closing(_opened(path)) as connection, told_as_journal_errors(path):
        connection.execute("BEGIN")
        yield JournalReading(connection, path, clock.wall())


def _opened(path: str) -> sqlite3.Connection:
    """Open a journal to read; where its log cannot be made, as in a directory that is not writable, without one."""
    import sqlite3

    failure: Exception | None = None
    for unused in (not files.exists(f"{path}-wal"), True):  # a reader cannot remove the log that it makes
        connection = files.open_sqlite_to_read(path, WAIT, unused=unused)
        try:
            connection.execute("SELECT 1 FROM journal_entries LIMIT 1").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()  # a run may just commit it with the table
        except sqlite3.Error as error:
            connection.close()
            failure = error
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CANTOPEN:
                continue
            break
        try:
            check_version(version, path)
        except JournalError:
            connection.close()
            raise
        return connection
    assert failure is not None
    if "no such table" in str(failure):
        raise JournalError(f"{path!r} is not a journal") from failure
    with told_as_journal_errors(path):
        raise failure
    raise AssertionError


def read_status(path: str) -> JournalStatus:
    """Return the state of a journal, or of a directory's journal. Raise ``UsageError`` or ``JournalError``."""
    with reading(path) as (database, name, now, dialect):
        counts = dict(database.execute("SELECT state, count(*) FROM journal_entries GROUP BY state"))
        states = {state: counts.pop(state) for state in ORDER if state in counts} | counts
        objects, size, changed = database.execute(
            "SELECT coalesce(sum(objects), 0), coalesce(sum(size), 0), coalesce(max(changed), 0) FROM journal_entries"
        ).fetchone()
        runs, living = [], set()
        workers = read_workers(database, dialect)
        for run, host, pid, born, started, renewed in database.execute(
            "SELECT run, host, pid, born, started, renewed FROM journal_runs WHERE ended IS NULL ORDER BY run"
        ):
            owner = Owner(host, pid, born)
            if now - renewed < LEASE and not has_ended(owner, anywhere=is_url(name)):
                living.add(run)
                runs.append(JournalRun(owner, started, renewed, workers.get(run, [])))
                changed = max(changed, renewed)
        held = [
            HeldEntry(keys or key, state, Owner(host, pid, born), since, run in living)
            for keys, key, state, host, pid, born, since, run in database.execute(
                """SELECT keys, key, state, host, pid, born, changed, e.run FROM journal_entries e
                JOIN journal_runs r ON e.run = r.run WHERE state IN (?, ?) ORDER BY changed""",
                _HELD,
            )
        ]
        failed = [_ended(*row) for row in database.execute(_FAILED, (*_DONE, *_HELD, WAITING))]
        directory = known_directory(database, name)
        return JournalStatus(
            name, VERSION, states, int(objects), int(size), changed, directory, now, runs, held, failed
        )


def paths_in(path: str) -> Iterator[str]:
    """Yield the paths of the files that a journal has, below their directory. Raise as ``read_status``."""
    with reading(path) as (database, *_):
        for (name,) in database.execute("SELECT DISTINCT path FROM journal_objects WHERE length(path) > 0"):
            yield os.fsdecode(name)


_FAILED: Final = """SELECT keys, key, state, why, attempts, changed FROM journal_entries
    WHERE state NOT IN (?, ?, ?, ?, ?) ORDER BY changed, number"""


def _ended(keys: str, key: str, state: str, why: str, attempts: int, ended: float) -> EndedEntry:
    told = told_of(why)
    reason, words, detail = (str(told.get(name, "")) for name in ("reason", "words", "detail"))
    return EndedEntry(keys or key, state, reason, words, detail, attempts, ended)
