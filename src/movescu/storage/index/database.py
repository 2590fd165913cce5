"""The SQLite file that is kept in an output directory, ``.movescu.sqlite``: opening it, whatever state it is in.

Who keeps something in it (``index`` the objects that are there) has tables of its own, which are made anew when
their version changes: what the file holds can be found again in the directory or at the archive. For the same reason a
file that is damaged is moved aside, with a warning, and another one begun.

The journal is SQLite's rollback journal and no write-ahead log, which needs memory that all its users share and so does
not work over NFS. A process that is killed leaves a file that the next one puts right; after a power cut what was
committed is there, for each commit is flushed (``synchronous`` is FULL): two or three ``fsync``, some 10 ms on a disk,
which are not for the thread that receives.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu._runtime.late_log import logger_of
from movescu.errors import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

_log: Final = logger_of("movescu.store")

FILE_NAME: Final = ".movescu.sqlite"
"""In the output directory; it begins as no object's file does."""

_WAIT: Final = 30.0  # seconds that another process, or another thread, may take over a commit
_DAMAGED: Final = (11, 26)  # SQLITE_CORRUPT, SQLITE_NOTADB
_ASIDE: Final = ".damaged"
_JOURNAL: Final = "-journal"


class Tables(NamedTuple):
    """The tables of one user of the file: all their names begin with ``name`` and ``_``.

    ``statements`` make them, indexes included. A change of theirs needs another ``version``.
    """

    name: str
    version: int
    statements: tuple[str, ...]


def open_database(directory: str, tables: Tables, *, wait: float = _WAIT) -> sqlite3.Connection:
    """Open the file of a directory, make it where there is none, and see to it that the tables are there.

    The connection commits each statement by itself (``transaction`` holds several together) and may be used from any
    thread, by one at a time. ``wait``: seconds for which another user of the file is waited for. Raise ``StoreError``.
    """
    path = os.path.join(directory, FILE_NAME)
    _check_place(path)
    try:
        return _open(path, tables, wait)
    except _DamagedError as error:
        _log.warning("%s is damaged (%s); it is kept as %s, and another one is begun", path, error, path + _ASIDE)
        _move_aside(path)
    try:
        return _open(path, tables, wait)
    except _DamagedError as error:
        raise StoreError(f"cannot use {path!r}: {error}") from error


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Hold statements together: all of them are committed at the end, none if something is raised.

    Raise ``StoreError`` in place of SQLite's own errors.
    """
    with told_as_store_errors():
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise


@contextlib.contextmanager
def told_as_store_errors() -> Iterator[None]:
    """Raise ``StoreError`` in place of SQLite's own errors, for statements that stand alone."""
    import sqlite3  # 10 ms, for those alone who keep something

    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(
            f"cannot use {FILE_NAME}: {error}", hint="check the space and the permissions of the output directory"
        ) from error


class _DamagedError(Exception):
    """The file is no database, or one that cannot be read."""


def _check_place(path: str) -> None:
    """Refuse to write through a link out of the directory, or to open what is no file."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        raise StoreError(f"cannot use {path!r}: it is no regular file", hint="remove it")


def _open(path: str, tables: Tables, wait: float) -> sqlite3.Connection:
    import sqlite3

    with told_as_store_errors():
        connection = sqlite3.connect(path, timeout=wait, isolation_level=None, check_same_thread=False)
    try:
        with transaction(connection):
            _prepare(connection, tables)
    except BaseException as error:
        connection.close()
        if getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
            raise _DamagedError(str(error.__cause__)) from error
        raise
    return connection


def _prepare(connection: sqlite3.Connection, tables: Tables) -> None:
    """Make the tables, if those of this version are not there; a page that is damaged is to be found now, not later."""
    (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != "ok":
        raise _DamagedError(finding.replace("\n", " "))
    connection.execute("CREATE TABLE IF NOT EXISTS movescu_tables (name TEXT PRIMARY KEY, version INTEGER NOT NULL)")
    found = connection.execute("SELECT version FROM movescu_tables WHERE name = ?", (tables.name,)).fetchone()
    if found == (tables.version,):
        return
    pattern = f"{tables.name}_*"
    old = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB ?", (pattern,))
    for (name,) in old.fetchall():
        connection.execute(f'DROP TABLE "{name}"')
    for statement in tables.statements:
        connection.execute(statement)
    connection.execute("INSERT OR REPLACE INTO movescu_tables VALUES (?, ?)", (tables.name, tables.version))


def _move_aside(path: str) -> None:
    """Take a damaged file out of the way, its journal too: it would be applied to the new one."""
    for suffix in ("", _JOURNAL):
        with contextlib.suppress(FileNotFoundError):
            os.replace(path + suffix, path + _ASIDE + suffix)
