"""What became of the rows of a list, kept in the output directory's SQLite file: so that a list can be gone on with.

A row is noted as complete only when its objects are on the disk. Rows are known by what they ask for and whom, not by
their place in the list.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from movescu.storage.index.database import Tables, open_database, told_as_store_errors

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_TABLES: Final = Tables(
    "journal",
    1,
    (
        """CREATE TABLE journal_rows (row TEXT PRIMARY KEY, outcome TEXT NOT NULL, objects INTEGER NOT NULL,
        attempts INTEGER NOT NULL, ended REAL NOT NULL) WITHOUT ROWID""",
    ),
)
COMPLETE: Final = "complete"


class Journal:
    """The journal of an output directory, a context manager. Safe in any thread; all methods raise ``StoreError``."""

    def __init__(self, directory: str) -> None:
        self._database = open_database(directory, _TABLES)
        self._using = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._database.close()

    def complete(self) -> set[str]:
        """Give the keys of all rows that are complete."""
        with self._using, told_as_store_errors():
            rows = self._database.execute("SELECT row FROM journal_rows WHERE outcome = ?", (COMPLETE,)).fetchall()
        return {row for (row,) in rows}

    def note(self, row: str, outcome: str, objects: int) -> None:
        """Note what became of a row; ``objects``: how many of its are there."""
        with self._using, told_as_store_errors():
            self._database.execute(
                """INSERT INTO journal_rows VALUES (?, ?, ?, 1, ?) ON CONFLICT (row) DO UPDATE SET
                outcome = excluded.outcome, objects = excluded.objects, attempts = attempts + 1,
                ended = excluded.ended""",
                (row, outcome, objects, time.time()),
            )
