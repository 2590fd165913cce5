"""The workers of a run with ``--cluster`` in its journal, for ``--status``.

A table of its own, made by the first run that has any: other versions of the program do not know it and need not. It is
told when workers come and go, and holds up nothing: a run continues if it cannot be written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from movescu.cohort.journal_store import Database, Dialect

_TABLE: Final = """CREATE TABLE IF NOT EXISTS journal_workers (run {integer} NOT NULL, title TEXT NOT NULL,
    host TEXT NOT NULL, port {integer} NOT NULL, state TEXT NOT NULL)"""
_LEFT: Final = """DELETE FROM journal_workers WHERE run = ?
    OR run IN (SELECT run FROM journal_runs WHERE ended IS NOT NULL)"""
_FOUND: Final = "SELECT run, title, host, port, state FROM journal_workers ORDER BY run, title"


class JournalWorker(NamedTuple):
    """A worker of a run. ``state``: in words."""

    title: str
    host: str
    port: int
    state: str


def write_workers(database: Database, dialect: Dialect, run: int, workers: Iterable[JournalWorker]) -> None:
    """Record the workers of a run, in place of those that it had."""
    if not _has_table(database, dialect):
        database.execute(_TABLE.format(**dialect._asdict()))
    database.execute(_LEFT, (run,))
    database.executemany("INSERT INTO journal_workers VALUES (?, ?, ?, ?, ?)", [(run, *one) for one in workers])


def read_workers(database: Database, dialect: Dialect) -> dict[int, list[JournalWorker]]:
    """Return the workers by the numbers of their runs."""
    found: dict[int, list[JournalWorker]] = {}
    if _has_table(database, dialect):
        for run, *one in database.execute(_FOUND):
            found.setdefault(run, []).append(JournalWorker(*one))
    return found


def _has_table(database: Database, dialect: Dialect) -> bool:
    return database.execute(dialect.known, ("journal_workers",)).fetchone() is not None
