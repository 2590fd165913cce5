"""The SQLite database of an output directory, ``.movescu.sqlite``.

Each user of the database (``index`` keeps the objects of the directory) has tables of its own, which are made anew
unless they are those of its version, to the letter: their content can be found again in the directory or at the
archive. For the same reason a damaged, truncated or foreign file is moved aside, with a warning, and a new database is
made. To open a large database costs no more than a small one: only a small one is read to its end. Damage elsewhere
shows when it is met, and is refused by the file's name.

The journal is SQLite's rollback journal, not a write-ahead log, which needs memory shared by all users and so does not
work over NFS. After a process was killed, the next one repairs the file; after a power failure everything that was
committed is there, but perhaps the last commit. A commit takes two ``fsync``, of journal and file: ``synchronous`` is
NORMAL, and the journal is truncated, which, unlike a new one, needs no flush of the directory. So the thread that
receives objects never commits.
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
_READ_THROUGH: Final = 4 << 20  # bytes of a database that is read to its end when it is opened


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


def close_database(connection: sqlite3.Connection) -> None:
    """Close a connection, and remove the empty journal unless another user needs it."""
    import sqlite3

    with contextlib.suppress(sqlite3.Error):
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    connection.close()


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
        hint = "check free space and permissions of the output directory"
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
            hint = "remove the file: the next run makes it again from the files in the directory"
        raise StoreError(f"cannot use {FILE_NAME}: {error}", hint=hint) from error


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
        with told_as_store_errors():
            connection.execute("PRAGMA journal_mode = TRUNCATE").fetchone()
            connection.execute("PRAGMA synchronous = NORMAL")
        with transaction(connection):
            _prepare(connection, tables, path)
    except BaseException as error:
        connection.close()
        if getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
            raise _DamagedError(str(error.__cause__)) from error
        raise
    return connection


def _prepare(connection: sqlite3.Connection, tables: Tables, path: str) -> None:
    """Make the tables unless exactly these exist. Raise ``_DamagedError`` now, if possible, and not later."""
    size = 0
    with contextlib.suppress(OSError):
        size = files.lstat(path).st_size
    if size <= _READ_THROUGH:
        (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if finding != "ok":
            raise _DamagedError(finding.replace("\n", " "))
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if names and "movescu_tables" not in names:
        raise _DamagedError("it is the database of another program")
    connection.execute("CREATE TABLE IF NOT EXISTS movescu_tables (name TEXT PRIMARY KEY, version INTEGER NOT NULL)")
    found = connection.execute("SELECT version FROM movescu_tables WHERE name = ?", (tables.name,)).fetchone()
    pattern = f"{tables.name}_*"
    made = connection.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL AND tbl_name GLOB ?", (pattern,))
    if {sql for (sql,) in made} == set(tables.statements) and found == (tables.version,):
        return
    old = connection.execute("SELECT type, name FROM sqlite_master WHERE tbl_name = name AND name GLOB ?", (pattern,))
    for kind, name in old.fetchall():
        quoted = name.replace('"', '""')
        connection.execute(f'DROP {"VIEW" if kind == "view" else "TABLE"} "{quoted}"')
    for statement in tables.statements:
        connection.execute(statement)
    connection.execute("INSERT OR REPLACE INTO movescu_tables VALUES (?, ?)", (tables.name, tables.version))


def _move_aside(path: str) -> None:
    """Move a damaged file aside, not its journal: SQLite has applied that, and ignores one beside a new file."""
    with contextlib.suppress(FileNotFoundError):  # another run was faster
        files.replace(path, path + _ASIDE)
