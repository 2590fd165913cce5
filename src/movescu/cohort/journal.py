"""The journal of a list: outcome and objects of each entry, in the output directory's SQLite file.

An entry is recorded as complete once its objects are on the disk, and counts as complete only while they are: the
reader checks the files of its objects. Entries are identified by their request and archive, not by their position in
the list. Two are saved with one commit, which takes three flushes; a run that is killed may lose one of them, and the
next one finds by a query that nothing of it is missing.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu.storage.index.database import Tables, close_database, open_database, told_as_store_errors, transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Self

_TABLES: Final = Tables(
    "journal",
    2,
    (
        """CREATE TABLE journal_rows (number INTEGER PRIMARY KEY, row TEXT NOT NULL UNIQUE, outcome TEXT NOT NULL,
        attempts INTEGER NOT NULL, ended REAL NOT NULL)""",
        """CREATE TABLE journal_objects (number INTEGER NOT NULL, uid TEXT NOT NULL,
        PRIMARY KEY (number, uid)) WITHOUT ROWID""",
    ),
)
COMPLETE: Final = "complete"
_TOGETHER: Final = 2  # entries in one commit


class Journal:
    """The journal of an output directory; a context manager. Thread-safe. Raise ``StoreError`` if SQLite fails.

    ``saving``: see ``Index.saving``; the index of the directory is saved with each entry, which takes one commit
    instead of two. Default: nothing is saved with an entry.
    """

    def __init__(
        self,
        directory: str,
        saving: Callable[[], AbstractContextManager[Callable[[sqlite3.Connection], None]]] = lambda: nullcontext(
            lambda _: None
        ),
    ) -> None:
        self._database = open_database(directory, _TABLES)
        self._saving = saving
        self._using = clock.RLock()
        self._waiting: list[tuple[str, str, float, tuple[str, ...]]] = []
        """Entries to be saved: request, outcome, time and objects."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            with self._using:
                self._save()
        finally:
            close_database(self._database)

    def objects_of(self, row: str) -> list[str] | None:
        """Return the SOP instance UIDs of a complete entry, None if it is not recorded as complete."""
        with self._using, told_as_store_errors():
            self._save()
            found = self._database.execute(
                "SELECT number FROM journal_rows WHERE row = ? AND outcome = ?", (row, COMPLETE)
            ).fetchone()
            if found is None:
                return None
            uids = self._database.execute("SELECT uid FROM journal_objects WHERE number = ?", found).fetchall()
        return [uid for (uid,) in uids]

    def note(self, row: str, outcome: str, objects: Collection[str]) -> None:
        """Record the outcome of an entry; ``objects``: SOP instance UIDs of its stored objects."""
        with self._using:
            self._waiting.append((row, outcome, clock.wall(), tuple(sorted(set(objects)))))
            if len(self._waiting) >= _TOGETHER:
                self._save()

    def _save(self) -> None:
        if not self._waiting:
            return
        with self._saving() as save, transaction(self._database):
            save(self._database)
            for row, outcome, ended, objects in self._waiting:
                (number,) = self._database.execute(
                    """INSERT INTO journal_rows (row, outcome, attempts, ended) VALUES (?, ?, 1, ?)
                    ON CONFLICT (row) DO UPDATE SET outcome = excluded.outcome, attempts = attempts + 1,
                    ended = excluded.ended RETURNING number""",
                    (row, outcome, ended),
                ).fetchone()
                self._database.execute("DELETE FROM journal_objects WHERE number = ?", (number,))
                self._database.executemany(
                    "INSERT INTO journal_objects VALUES (?, ?)", ((number, uid) for uid in objects)
                )
        self._waiting.clear()
