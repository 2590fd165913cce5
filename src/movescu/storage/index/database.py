"""The SQLite database of an output directory, ``.movescu.sqlite``.

Each user of the database (``index`` keeps the objects of the directory) has tables of its own, which are made anew when
their version changes: their content can be found again in the directory or at the archive. For the same reason a
damaged database is moved aside, with a warning, and a new one is made.

The journal is SQLite's rollback journal, not a write-ahead log, which needs memory shared by all users and so does not
work over NFS. After a process was killed, the next one repairs the file; after a power failure everything that was
committed is there, for each commit is flushed (``synchronous`` is FULL). That takes several ``fsync``, so the thread
that receives objects never commits.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu._runtime.late_log import logger_of
from movescu.errors import StoreError
from movescu.storage import files

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

_log: Final = logger_of("movescu.store")

FILE_NAME: Final = ".movescu.sqlite"
"""In the output directory; no object's file begins with a dot."""

_WAIT: Final = 30.0  # seconds to wait for the commit of another process or thread
_DAMAGED: Final = (11, 26)  # SQLITE_CORRUPT, SQLITE_NOTADB
_ASIDE: Final = ".damaged"
_JOURNAL: Final = "-journal"


class Tables(NamedTuple):
    """The tables of one user of the database; their names begin with ``name`` and ``_``.

    ``statements`` make them, with their indexes; every change of these needs another ``version``.
    """

    name: str
    version: int
    statements: tuple[str, ...]


def open_database(directory: str, tables: Tables, *, wait: float = _WAIT) -> sqlite3.Connection:
    """Open the database of a directory, and make it and the tables if they are missing.

    The connection commits each statement by itself, except in a ``transaction``, and may be used by any one thread at a
    time. ``wait``: seconds to wait for another user of the file. Default: 30. Raise ``StoreError`` if the file is
    unusable.
    """
    path = os.path.join(directory, FILE_NAME)
    _check_place(path)
    try:
        return _open(path, tables, wait)
    except _DamagedError as error:
        _log.warning("%s is damaged (%s): it is kept as %s, and a new one is made", path, error, path + _ASIDE)
        _move_aside(path)
    try:
        return _open(path, tables, wait)
    except _DamagedError as error:
        raise StoreError(f"cannot use {path!r}: {error}") from error


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit the statements of the block together at its end, none of them if an exception leaves it.

    Raise ``StoreError`` instead of SQLite's own errors.
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
    """Raise ``StoreError`` instead of SQLite's own errors, for statements outside a transaction."""
    import sqlite3  # late: slow to load, and needed for a database alone

    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(
            f"cannot use {FILE_NAME}: {error}", hint="check free space and permissions of the output directory"
        ) from error


class _DamagedError(Exception):
    """The file is not a database, or a damaged one."""


def _check_place(path: str) -> None:
    """Raise ``StoreError`` for a link, which might lead out of the directory, and anything else but a file."""
    try:
        mode = files.lstat(path).st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        raise StoreError(f"cannot use {path!r}: not a regular file", hint=f"remove or rename {FILE_NAME}")


def _open(path: str, tables: Tables, wait: float) -> sqlite3.Connection:
    with told_as_store_errors():
        connection = files.open_sqlite(path, wait)
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
    """Make the tables unless those of this version exist. Raise ``_DamagedError`` now, not at a later statement."""
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
    """Move a damaged file aside, with its journal, which SQLite would apply to the new one."""
    for suffix in ("", _JOURNAL):
        with contextlib.suppress(FileNotFoundError):
            files.replace(path + suffix, path + _ASIDE + suffix)
