"""The journal of commands: which ran for which study or series, in the output directory's SQLite file.

A row stands for a command, a study or series, and its set of objects: if the archive has more objects later, the
command has not run for these. It is entered as waiting before the command runs and settled after its end, so a command
that was killed with this program is run again.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu._runtime import clock
from movescu.storage.index.database import Tables, open_database, told_as_store_errors, transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType
    from typing import Self

_TABLES: Final = Tables(
    "hooks",
    1,
    (
        """CREATE TABLE hooks_runs (entry TEXT NOT NULL, command TEXT NOT NULL, uid TEXT NOT NULL,
        objects TEXT NOT NULL, outcome TEXT NOT NULL, changed REAL NOT NULL,
        PRIMARY KEY (entry, command, uid)) WITHOUT ROWID""",
        "CREATE INDEX hooks_uids ON hooks_runs (uid)",
    ),
)
_FIND: Final = "SELECT outcome FROM hooks_runs WHERE command = ? AND uid = ? AND objects = ? LIMIT 1"
_SETTLE: Final = "UPDATE hooks_runs SET outcome = ?, changed = ? WHERE command = ? AND uid = ? AND objects = ?"
_REOPEN: Final = """UPDATE hooks_runs SET outcome = ?, changed = ? WHERE (command, uid, objects) IN
    (SELECT command, uid, objects FROM hooks_runs WHERE entry = ?)"""
WAITING: Final = "waiting"
SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"


class HookKey(NamedTuple):
    """A command (its digest), the study or series that it runs for, and the digest of its objects."""

    command: str
    uid: str
    objects: str


def digest_of(sop_instance_uids: Iterable[str]) -> str:
    """Return the digest of a set of objects."""
    return hashlib.sha256("\n".join(sorted(sop_instance_uids)).encode("utf-8", "surrogateescape")).hexdigest()


class HookJournal:
    """The commands of an output directory; a context manager. Thread-safe. Raise ``StoreError`` if SQLite fails."""

    def __init__(self, directory: str) -> None:
        self._database = open_database(directory, _TABLES)
        self._using = clock.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._using:
            self._database.close()

    def is_settled(self, entry: str, commands: Iterable[str]) -> bool:
        """Return True if every one of the commands succeeded for all studies or series of an entry."""
        return all(self._outcomes(entry, command) == {SUCCEEDED} for command in commands)

    def has_entered(self, entry: str, commands: Iterable[str]) -> bool:
        """Return True if every one of the commands was entered for an entry."""
        return all(self._outcomes(entry, command) for command in commands)

    def _outcomes(self, entry: str, command: str) -> set[str]:
        with self._using, told_as_store_errors():
            return {
                outcome
                for (outcome,) in self._database.execute(
                    "SELECT DISTINCT outcome FROM hooks_runs WHERE entry = ? AND command = ?", (entry, command)
                )
            }

    def enter(self, entry: str, keys: Sequence[HookKey], settled: Iterable[HookKey]) -> list[HookKey]:
        """Record that commands have to run for an entry; return those that are not among the ``settled`` ones.

        A settled command keeps its outcome; the others are waiting, in every entry that they run for.
        """
        done = frozenset(settled)
        with self._using, transaction(self._database):
            outcomes = {key: self._outcome(key) if key in done else WAITING for key in keys}
            self._database.execute("DELETE FROM hooks_runs WHERE entry = ?", (entry,))
            self._database.executemany(
                "INSERT OR REPLACE INTO hooks_runs VALUES (?, ?, ?, ?, ?, ?)",
                ((entry, *key, outcome, clock.wall()) for key, outcome in outcomes.items()),
            )
            waiting = [key for key in outcomes if key not in done]
            self._database.executemany(_SETTLE, ((WAITING, clock.wall(), *key) for key in waiting))
        return waiting

    def reopen(self, entry: str) -> None:
        """Record that the commands of an entry have to run again, in every entry that they run for."""
        with self._using, transaction(self._database):
            self._database.execute(_REOPEN, (WAITING, clock.wall(), entry))

    def has_succeeded(self, key: HookKey) -> bool:
        """Return True if a command succeeded for these objects, in any entry."""
        with self._using, told_as_store_errors():
            return self._outcome(key) == SUCCEEDED

    def _outcome(self, key: HookKey) -> str:
        found = self._database.execute(_FIND, key).fetchone()
        return "" if found is None else str(found[0])

    def settle(self, key: HookKey, outcome: str) -> None:
        """Record the outcome of a command, in every entry that it ran for."""
        with self._using, transaction(self._database):
            self._database.execute(_SETTLE, (outcome, clock.wall(), *key))
