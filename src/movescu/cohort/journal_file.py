"""The file of a journal: SQLite with a write-ahead log, its tables, versions, and damage.

An output directory has one, ``.movescu.journal``; ``--journal`` names another. With the write-ahead log a commit takes
one flush, or none where a power failure may undo it (a lease), and readers do not block writers. The log needs memory
that all users share, so the file has to be on a local disk: a network file system is refused.

The tables of versions 1 and 2 were part of the directory's index database (``storage.index.database``). They are
converted when a journal is created in their directory, in one transaction. A journal of a newer version is refused,
since its rows may have another meaning. So is a damaged one, unless it may be rebuilt: then it is moved aside and a new
one is created. That costs only time, since the objects are on the disk and the archive lists what they belong to.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu.cohort.journal_store import SQLITE, VERSION, check_version
from movescu.errors import JournalError
from movescu.storage import files
from movescu.storage.index.database import FILE_NAME as INDEX_NAME

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from movescu.cohort.journal_store import Database, T

_log: Final = logger_of("movescu.cohort")

FILE_NAME: Final = ".movescu.journal"
"""In the output directory; no object's file begins with a dot."""
WAIT: Final = 30.0
"""Seconds to wait for another user of the file."""

_APPLICATION: Final = 0x4D4F5645
_NETWORKS: Final = frozenset(
    (
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs", "gfs2", "gpfs", "lustre", "ncpfs", "nfs"),
        *("nfs4", "ocfs2", "orangefs", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf"),
        *("fuse.ceph", "fuse.ceph-fuse", "fuse.davfs2", "fuse.glusterfs", "fuse.juicefs", "fuse.rclone", "fuse.s3fs"),
        *("fuse.sshfs", "fuse.vmhgfs-fuse"),
    )
)
"""File systems, as ``mountinfo`` names them, that other machines can have mounted too."""
_DAMAGED: Final = (11, 26)  # SQLITE_CORRUPT, SQLITE_NOTADB
_FULL: Final = 13  # SQLITE_FULL
_LOCKED: Final = (5, 6)  # SQLITE_BUSY, SQLITE_LOCKED
_ASIDE: Final = ".damaged"
_BESIDE: Final = ("", "-wal", "-shm")
_READ_THROUGH: Final = 4 << 20  # bytes of a journal that is read to its end when it is opened

_REBUILD: Final = "repeat the run with --resume, which makes a new one: objects on the disk are not requested again"
_STATES: Final = {"incomplete": "partial", "cancelled": "partial"}
"""States by the outcomes of versions 1 and 2, where these are other words."""


def journal_path(directory: str, path: str | None = None) -> str:
    """Return the path of a directory's journal; ``path``: given by ``--journal``. Default: none."""
    return os.path.join(directory, FILE_NAME) if path is None else path


class FileStore:
    """A journal in a file; see ``JournalStore``. ``directory``: of output. ``rebuild``: see ``open_journal``."""

    dialect = SQLITE
    together = 1.0  # its flush holds up those of the objects

    def __init__(self, path: str, directory: str, *, rebuild: bool = False) -> None:
        self.name = path
        self._database = open_journal(path, directory, rebuild=rebuild)
        self._identity = self._file_identity()

    def _file_identity(self) -> tuple[int, int]:
        status = files.stat(self.name)
        return status.st_dev, status.st_ino

    def transact(self, work: Callable[[Database, float], T], *, durable: bool = False, alone: bool = False) -> T:  # noqa: ARG002 - each transaction is alone
        """See ``JournalStore``. Raise ``JournalError`` if the file is gone, too."""
        try:
            gone = self._file_identity() != self._identity
        except OSError:
            gone = True
        if gone:
            raise JournalError(
                f"the journal {self.name!r} was removed or replaced during the run",
                hint="continue with --resume: objects that are on the disk are not requested again",
            )
        with told_as_journal_errors(self.name):
            self._database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._database.execute("BEGIN IMMEDIATE")
            try:
                result = work(self._database, clock.wall())
                self._database.execute("COMMIT")
            except BaseException:
                self._database.rollback()
                raise
        return result

    def read(self, work: Callable[[Database], T]) -> T:
        """See ``JournalStore``."""
        with told_as_journal_errors(self.name):
            return work(self._database)

    def close(self) -> None:
        """See ``JournalStore``."""
        self._database.close()


def open_journal(path: str, directory: str, *, rebuild: bool = False) -> sqlite3.Connection:
    """Open a journal, or make it. The connection may be used by any one thread at a time.

    ``directory``: of output; its journal of an older version is taken over. ``rebuild``: move a damaged file aside, and
    make a new one. Default: False. Raise ``JournalError``.
    """
    _check_place(path)
    try:
        return _open(path, directory)
    except _DamagedError as error:
        if not rebuild:
            raise JournalError(
                f"the journal {path!r} is damaged: {error}",
                hint=_REBUILD,
            ) from error
        _log.warning(
            "the journal %s is damaged (%s): it is kept as %s, and a new one is made", path, error, path + _ASIDE
        )
    for suffix in _BESIDE:
        with contextlib.suppress(FileNotFoundError):
            files.replace(path + suffix, path + _ASIDE + suffix)
    try:
        return _open(path, directory)
    except _DamagedError as error:
        raise JournalError(f"cannot use the journal {path!r}: {error}") from error


class _DamagedError(Exception):
    """The file is not a database, or a damaged one."""


def _check_place(path: str) -> None:
    folder = os.path.dirname(path) or "."
    if not files.isdir(folder):
        raise JournalError(f"cannot create the journal {path!r}: its directory does not exist")
    kind = files.file_system_type(folder)
    if kind in _NETWORKS:
        raise JournalError(
            f"the journal {path!r} would be on a network file system ({kind}), where its locks are not reliable",
            hint="name a file on a disk of this machine with --journal FILE",
        )
    try:
        mode = files.lstat(path).st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        raise JournalError(
            f"cannot use the journal {path!r}: not a regular file", hint="name another one with --journal"
        )


@contextlib.contextmanager
def told_as_journal_errors(path: str) -> Iterator[None]:
    """Raise ``JournalError`` instead of SQLite's own errors."""
    import sqlite3  # late: slow to load, and needed for a list alone

    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGED:
            raise JournalError(
                f"the journal {path!r} is damaged: {error}",
                hint=_REBUILD,
            ) from error
        if code in _LOCKED:
            raise JournalError(
                f"the journal {path!r} is locked by another program: {error}",
                hint="end that program, or wait for it, and continue with --resume",
            ) from error
        if code == _FULL:
            raise JournalError(
                f"the disk is full: the journal {path!r} cannot be written",
                hint="free space there, and continue with --resume",
            ) from error
        raise JournalError(
            f"cannot use the journal {path!r}: {error}",
            hint="check free space and permissions, and continue with --resume",
        ) from error


def _open(path: str, directory: str) -> sqlite3.Connection:
    import sqlite3

    try:
        connection = files.open_sqlite(path, WAIT)
    except sqlite3.Error as error:
        raise JournalError(f"cannot open the journal {path!r}: {error}", hint="check its permissions") from error
    try:
        with told_as_journal_errors(path):
            new = _is_new(connection, path)
            _use_log(connection, path)
            connection.execute("PRAGMA synchronous = FULL")
            _check_whole(connection, path)
            if new:
                _make(connection, directory)
    except BaseException as error:
        connection.close()
        if getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
            raise _DamagedError(str(error.__cause__)) from error
        raise
    if new:
        _drop_old(directory)
    return connection


def _use_log(connection: sqlite3.Connection, path: str) -> None:
    """Use a write-ahead log; SQLite refuses the change at once while another user has the file open."""
    import sqlite3

    until = clock.now() + WAIT
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _LOCKED or clock.now() > until:
                raise
            clock.sleep(0.02)
    if mode != "wal":
        raise JournalError(
            f"the file system of the journal {path!r} cannot share memory",
            hint="name a file on a disk of this machine with --journal FILE",
        )


def _is_new(connection: sqlite3.Connection, path: str) -> bool:
    """Return True if a journal has no tables yet. Raise ``JournalError`` for the file of another program or version.

    The tables are looked for first: another run that begins may commit them, and the marks with them, at any moment.
    """
    found = connection.execute("SELECT name FROM sqlite_master LIMIT 1").fetchone()
    (application,), (version,) = (connection.execute(f"PRAGMA {what}").fetchone() for what in _MARKS)
    if application == _APPLICATION:
        check_version(version, path)
        return False
    if found is not None:
        raise JournalError(
            f"{path!r} is not a journal, but the database of another program", hint="name another file with --journal"
        )
    return True


_MARKS: Final = ("application_id", "user_version")


def _check_whole(connection: sqlite3.Connection, path: str) -> None:
    with contextlib.suppress(OSError):
        if files.lstat(path).st_size > _READ_THROUGH:
            return
    (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != "ok":
        raise _DamagedError(finding.replace("\n", " "))


def _make(connection: sqlite3.Connection, directory: str) -> None:
    """Make the tables, and take over the journal of an older version, in one transaction.

    If that fails, nothing is made as soon as the connection is closed.
    """
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None:  # no other run was first
        make_tables(connection)
        with old_journal(directory) as old:
            if old is not None:
                take_over(old, connection)
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables of this version."""
    for statement in SQLITE.tables():
        connection.execute(statement)


# -- versions 1 and 2 --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def old_journal(directory: str) -> Iterator[sqlite3.Connection | None]:
    """Open a directory's database if it has a journal of version 1 or 2, else yield None."""
    import sqlite3

    path = os.path.join(directory, INDEX_NAME)
    if not files.exists(path):
        yield None
        return
    connection = files.open_sqlite_to_read(path, WAIT)
    try:
        try:
            found = connection.execute("SELECT version FROM movescu_tables WHERE name = 'journal'").fetchone()
            if found == (2,):
                connection.execute("SELECT number FROM journal_objects LIMIT 1")
        except sqlite3.Error:  # the index moves a damaged file aside
            found = None
        yield connection if found in ((1,), (2,)) else None
    finally:
        connection.close()


def take_over(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Copy the rows of version 1 or 2. They have no keys, only their digest; version 1 only counts the objects."""
    (version,) = old.execute("SELECT version FROM movescu_tables WHERE name = 'journal'").fetchone()
    count = "objects" if version == 1 else "(SELECT count(*) FROM journal_objects o WHERE o.number = r.number)"
    number = "rowid" if version == 2 else "row_number() OVER (ORDER BY row)"
    rows = old.execute(f"SELECT {number}, row, outcome, attempts, ended, {count} FROM journal_rows r")  # noqa: S608 - no user's text
    new.executemany(
        "INSERT INTO journal_entries VALUES (?, ?, '', '', 0, ?, NULL, ?, '', ?, 0, '', ?)",
        (
            (number, key, _STATES.get(outcome, outcome), attempts, objects, ended)
            for number, key, outcome, attempts, ended, objects in rows
        ),
    )
    if version == 2:
        objects = old.execute("SELECT number, uid FROM journal_objects")
        new.executemany("INSERT INTO journal_objects VALUES (?, ?, x'', 0)", objects)


def _drop_old(directory: str) -> None:
    """Remove the older version that was taken over: each fact is kept once. A failure costs space alone."""
    import sqlite3

    with old_journal(directory) as old:
        if old is None:
            return
    with contextlib.suppress(sqlite3.Error):
        connection = files.open_sqlite(os.path.join(directory, INDEX_NAME), WAIT)
        try:
            connection.executescript(
                "BEGIN IMMEDIATE; DROP TABLE IF EXISTS journal_rows; DROP TABLE IF EXISTS journal_objects; "
                "DELETE FROM movescu_tables WHERE name = 'journal'; COMMIT"
            )
        finally:
            connection.close()
