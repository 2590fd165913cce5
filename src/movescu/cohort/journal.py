"""The journal of a list: outcome and objects of each entry, in the output directory's SQLite file.

An entry is recorded as complete once its objects are on the disk, and counts as complete only while they are: the
reader checks the files of its objects. Entries are identified by their request and archive, not by their position in
the list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu.storage.index.database import Tables, open_database, told_as_store_errors, transaction

if TYPE_CHECKING:
    from collections.abc import Collection
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


class Journal:
    """The journal of an output directory; a context manager. Thread-safe. Raise ``StoreError`` if SQLite fails."""

    def __init__(self, directory: str) -> None:
        self._database = open_database(directory, _TABLES)
        self._using = clock.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._database.close()

    def objects_of(self, row: str) -> list[str] | None:
        """Return the SOP instance UIDs of a complete entry, None if it is not recorded as complete."""
        with self._using, told_as_store_errors():
            found = self._database.execute(
                "SELECT number FROM journal_rows WHERE row = ? AND outcome = ?", (row, COMPLETE)
            ).fetchone()
            if found is None:
                return None
            uids = self._database.execute("SELECT uid FROM journal_objects WHERE number = ?", found).fetchall()
        return [uid for (uid,) in uids]

    def note(self, row: str, outcome: str, objects: Collection[str]) -> None:
        """Record the outcome of an entry; ``objects``: SOP instance UIDs of its stored objects."""
        with self._using, transaction(self._database):
            (number,) = self._database.execute(
                """INSERT INTO journal_rows (row, outcome, attempts, ended) VALUES (?, ?, 1, ?)
                ON CONFLICT (row) DO UPDATE SET outcome = excluded.outcome, attempts = attempts + 1,
                ended = excluded.ended RETURNING number""",
                (row, outcome, clock.wall()),
            ).fetchone()
            self._database.execute("DELETE FROM journal_objects WHERE number = ?", (number,))
            self._database.executemany(
                "INSERT INTO journal_objects VALUES (?, ?)", ((number, uid) for uid in sorted(set(objects)))
            )
