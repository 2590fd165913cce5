"""The index: which whole objects an output directory has, so that a retrieve can continue where another one stopped.

In the flat layout the file names are the index, and the file of an object is examined when it is first asked for. With
folders the index is kept in the directory's database (``database``): object, size and time of change of each file. When
it is opened it is compared with the directory: new and changed files are examined (``examination``), missing ones are
forgotten. So a missing or stale index costs no more than the examination of the files that it does not have.

Received objects are added in the background, many with one commit; a process that is killed loses the last of them,
which costs their examination. After a power failure a file may have its name and size but not its content: files that
were not flushed before the machine restarted are examined again. A file that a run relies on, and that no run is known
to have flushed, is passed to ``rely``, which flushes it before the run ends.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import unquote_to_bytes

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu.errors import StoreError
from movescu.storage import files
from movescu.storage.file_names import file_name
from movescu.storage.index.database import Tables, open_database, told_as_store_errors, transaction
from movescu.storage.index.examination import whole_instance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from movescu.storage.layout.template import Layout

    Rely = Callable[[str, int], None]

_log: Final = logger_of("movescu.store")

_TABLES: Final = Tables(
    "index",
    1,
    (
        # flushed: the files of this run are on the disk; boot: the boot ID of the machine during the run
        "CREATE TABLE index_runs (run INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT NOT NULL, flushed INTEGER NOT NULL)",
        # names are the bytes that the file system has; uid is empty where a file is no whole object
        """CREATE TABLE index_files (folder BLOB NOT NULL, name BLOB NOT NULL, uid TEXT NOT NULL, size INTEGER NOT NULL,
        changed INTEGER NOT NULL, run INTEGER NOT NULL, PRIMARY KEY (folder, name)) WITHOUT ROWID""",
        "CREATE INDEX index_uids ON index_files (uid)",
    ),
)
_FORGET_RUNS: Final = """DELETE FROM index_runs WHERE (flushed OR boot != ?)
    AND run NOT IN (SELECT run FROM index_files)"""
_FORGET_FILES: Final = """DELETE FROM index_files
    WHERE run NOT IN (SELECT run FROM index_runs WHERE flushed OR boot = ?)"""
_NOTE: Final = "INSERT OR REPLACE INTO index_files VALUES (?, ?, ?, ?, ?, ?)"
_MANY: Final = 1000  # files in one commit
_OFTEN: Final = 2.0  # seconds after which fewer files are committed

_Row = tuple[bytes, bytes, str, int, int]  # folder, name, SOP instance UID, size, time of change in ns


class Index(Protocol):
    """The whole objects of an output directory. Safe from any thread."""

    def whole(self, sop_instance_uid: str) -> bool:
        """Return True if the directory has the whole object."""

    def path(self, sop_instance_uid: str) -> str | None:
        """Return the path of the whole object below the directory, None if it has none."""

    def uids(self) -> Iterator[str]:
        """Return the SOP instance UIDs of all whole objects."""

    def add(self, sop_instance_uid: str, path: str) -> None:
        """Add an object and its file, a path below the directory."""

    def flushed(self) -> None:
        """Note that the files of all added objects are on the disk."""

    def close(self) -> None:
        """Save the added objects, and end."""


def open_index(directory: str, layout: Layout | None, *, durable: bool = False, rely: Rely = lambda *_: None) -> Index:
    """Open the index of a directory; with folders, every file that is not in it is examined.

    ``durable``: each object is flushed before it is added. ``rely``: called with path and size of a file that is relied
    on and may not be on the disk yet. Raise ``StoreError`` if the directory or its database is unusable.
    """
    with _told_as_store_error(directory):
        fd = files.openat(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return FlatIndex(fd, rely) if layout is None else KeptIndex(directory, fd, durable=durable, rely=rely)
        except BaseException:
            files.close(fd)
            raise


class FlatIndex:
    """The index of a directory in the flat layout, where a file's name has the UID of its object.

    Owns the descriptor of the directory.
    """

    def __init__(self, directory: int, rely: Rely = lambda *_: None) -> None:
        self._directory = directory
        self._rely = rely
        self._names: dict[str, list[str]] = {}  # by the part after the prefix
        for name in files.listdir(directory):
            if not name.startswith("."):
                self._names.setdefault(name.partition(".")[2], []).append(name)
        self._paths: dict[str, str | None] = {}

    def whole(self, sop_instance_uid: str) -> bool:
        """Return True if the directory has the whole object."""
        return self.path(sop_instance_uid) is not None

    def path(self, sop_instance_uid: str) -> str | None:
        """Return the file of the whole object, None if there is none; a file is examined once."""
        if sop_instance_uid not in self._paths:
            names = self._names.get(file_name("", sop_instance_uid).partition(".")[2], ())
            found = next((n for n in names if whole_instance(n, self._directory) == sop_instance_uid), None)
            self._paths[sop_instance_uid] = found
            if found is not None:
                self._rely(found, files.stat(found, dir_fd=self._directory, follow_symlinks=False).st_size)
        return self._paths[sop_instance_uid]

    def uids(self) -> Iterator[str]:
        """Return the SOP instance UIDs of all whole objects."""
        found = {unquote_to_bytes(ending).decode("latin-1") for ending in self._names}
        return (uid for uid in sorted(found | self._paths.keys()) if self.whole(uid))

    def add(self, sop_instance_uid: str, path: str) -> None:
        """Add an object and its file."""
        self._paths[sop_instance_uid] = path

    def flushed(self) -> None:
        """Do nothing: this index is not saved."""

    def close(self) -> None:
        """Close the descriptor."""
        files.close(self._directory)


class KeptIndex:
    """The index of a directory with folders, kept in its database. Owns the descriptor of the directory."""

    def __init__(self, path: str, directory: int, *, durable: bool, rely: Rely = lambda *_: None) -> None:
        self._directory = directory
        self._rely = rely
        self._durable = durable
        self._database = open_database(path, _TABLES)
        self._using = clock.RLock()  # held to use the database
        self._changed = clock.Condition()
        self._added: list[tuple[str, str]] = []
        self._closing = False
        self._noted = False  # whether the current run has files
        self._keeper: clock.Thread | None = None
        try:
            self._forget()
            self._found = self._begin_run(durable=False)
            self._run = self._begin_run(durable=durable)
            self._compare()
        except BaseException:
            self._database.close()
            raise

    # -- objects in the directory --------------------------------------------------------------------------------------

    def _forget(self) -> None:
        """Delete the files that may have been lost in a restart of the machine, to have them examined again."""
        boot = _boot()
        with transaction(self._database):
            self._database.execute(_FORGET_RUNS, (boot,))
            self._database.execute(_FORGET_FILES, (boot,))

    def _begin_run(self, *, durable: bool) -> int:
        """Return the number of a new run, for the files noted from now on."""
        with transaction(self._database):
            insert = "INSERT INTO index_runs (boot, flushed) VALUES (?, ?)"
            return self._database.execute(insert, (_boot(), durable)).lastrowid or 0

    def _compare(self) -> None:
        """Update the index to the state of the directory."""
        folders = set()
        new: list[_Row] = []
        for folder in self._folders(""):
            folders.add(os.fsencode(folder))
            for row in self._differences(folder):
                new.append(row)
                if len(new) == _MANY:  # so that a process that is killed need not begin again
                    self._note(new, self._found)
                    new = []
        self._note(new, self._found)
        with told_as_store_errors():
            known = self._database.execute("SELECT DISTINCT folder FROM index_files").fetchall()
        with transaction(self._database):
            gone = [row for row in known if row[0] not in folders]
            self._database.executemany("DELETE FROM index_files WHERE folder = ?", gone)

    def _folders(self, folder: str) -> Iterator[str]:
        """Yield a folder and all below it; links are not followed."""
        waiting = [folder]
        while waiting:
            folder = waiting.pop()
            yield folder
            with contextlib.suppress(OSError), _scan(folder, self._directory) as entries:
                waiting += [
                    f"{folder}{entry.name}/"
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
                ]

    def _differences(self, folder: str) -> Iterator[_Row]:
        """Delete the missing files of a folder from the index; examine and yield its new and changed ones."""
        with told_as_store_errors():
            rows = self._database.execute(
                "SELECT name, size, changed FROM index_files WHERE folder = ?", (os.fsencode(folder),)
            )
            known = {name: (size, changed) for name, size, changed in rows}
        there: dict[bytes, tuple[int, int]] = {}
        with contextlib.suppress(OSError), _scan(folder, self._directory) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    there[os.fsencode(entry.name)] = status.st_size, status.st_mtime_ns
        if gone := [(os.fsencode(folder), name) for name in known if name not in there]:
            with transaction(self._database):
                self._database.executemany("DELETE FROM index_files WHERE folder = ? AND name = ?", gone)
        for name, state in there.items():
            if known.get(name) != state:
                uid = whole_instance(folder + os.fsdecode(name), self._directory)
                yield os.fsencode(folder), name, uid or "", *state

    def _note(self, rows: list[_Row], run: int) -> None:
        if rows:
            with self._using, transaction(self._database):
                self._database.executemany(_NOTE, [(*row, run) for row in rows])
                self._noted |= run == self._run

    def whole(self, sop_instance_uid: str) -> bool:
        """Return True if the directory has the whole object."""
        return self.path(sop_instance_uid) is not None

    def path(self, sop_instance_uid: str) -> str | None:
        """Return the file of the whole object, unchanged since it was noted; None if there is none."""
        with self._using, told_as_store_errors():
            for uid, path in self._added:
                if uid == sop_instance_uid and self._state(path):
                    return path
            rows = self._database.execute(
                """SELECT folder, name, size, changed, COALESCE(flushed, 0) OR files.run = ?
                FROM index_files AS files LEFT JOIN index_runs AS runs ON files.run = runs.run WHERE uid = ?""",
                (self._run, sop_instance_uid),
            ).fetchall()
        for folder, name, size, changed, flushed in rows if sop_instance_uid else ():
            if self._state(folder + name) == (size, changed):
                if not flushed:
                    self._rely(os.fsdecode(folder + name), size)
                return os.fsdecode(folder + name)
        return None

    def uids(self) -> Iterator[str]:
        """Return the SOP instance UIDs of all whole objects."""
        self._keep()
        with self._using, told_as_store_errors():
            rows = self._database.execute(
                "SELECT DISTINCT uid FROM index_files WHERE uid != '' ORDER BY uid"
            ).fetchall()
        return (uid for (uid,) in rows)

    def _state(self, path: bytes | str) -> tuple[int, int] | None:
        try:
            status = files.stat(path, dir_fd=self._directory, follow_symlinks=False)
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns

    # -- objects received ----------------------------------------------------------------------------------------------

    def add(self, sop_instance_uid: str, path: str) -> None:
        """Add an object and its file, a path below the directory; the commit is left to a thread in the background."""
        with self._changed:
            self._added.append((sop_instance_uid, path))
            if len(self._added) in (1, _MANY):
                self._changed.notify()
            if self._keeper is None:
                self._keeper = clock.Thread(target=self._keep_on, name="movescu-index", daemon=True)
                self._keeper.start()

    def _keep_on(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._added or self._closing)
                self._changed.wait_for(lambda: len(self._added) >= _MANY or self._closing, timeout=_OFTEN)
                if self._closing:
                    return
            try:
                self._keep()
            except StoreError as error:  # a stale index costs the next run time, nothing else
                _log.warning("the index of the output directory is not up to date: %s", error)

    def _keep(self) -> None:
        """Commit the added objects."""
        with self._using:
            with self._changed:
                added, self._added = self._added, []
            rows: list[_Row] = []
            for uid, path in added:
                state = self._state(path)
                if state is not None:
                    folder, slash, name = path.rpartition("/")
                    rows.append((os.fsencode(folder + slash), os.fsencode(name), uid, *state))
            try:
                self._note(rows, self._run)
            except StoreError:
                with self._changed:
                    self._added = added + self._added
                raise

    def flushed(self) -> None:
        """Note that the files of all added objects are on the disk. Raise ``StoreError`` if that cannot be saved."""
        with self._using:
            self._keep()
            if not self._noted:
                return
            with transaction(self._database):
                self._database.execute("UPDATE index_runs SET flushed = 1 WHERE run = ?", (self._run,))
            self._run, self._noted = self._begin_run(durable=self._durable), False

    def close(self) -> None:
        """Save the added objects, and end. Raise ``StoreError`` if they cannot be saved."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._keeper is not None:
            self._keeper.join()
        try:
            self._keep()
        finally:
            self._database.close()
            files.close(self._directory)


@contextlib.contextmanager
def _scan(folder: str, directory: int) -> Iterator[Iterator[os.DirEntry[str]]]:
    """List a folder below an open directory; a link that has replaced it is not followed."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = files.openat(folder or ".", flags, dir_fd=directory)
    try:
        with files.scandir(fd) as entries:
            yield entries
    finally:
        files.close(fd)


@contextlib.contextmanager
def _told_as_store_error(directory: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot read {directory!r}: {error.strerror}") from error


def _boot() -> str:
    """Return the boot ID of the machine, a random one where there is none: then no two runs share a boot."""
    return files.boot_id() or os.urandom(16).hex()
