"""The index: which whole objects an output directory has, so that a retrieve can continue where another one stopped.

In the flat layout the file names are the index (``flat``), and the file of an object is examined when it is first asked
for. With folders the index is kept in the directory's database (``database``): for each file its object and its state,
which is size, inode, times of change and a checksum of its first bytes. An object counts as whole if its file has the
state that was noted. A file with another state is examined (``examination``). If an object has no such file, the
directory is compared with the index, once: folders whose own state has changed are listed, and their new and changed
files examined. A file that is smaller than noted was cut, even if what is left can be parsed. So a missing or stale
index costs the examination of the files that it does not have, and the size of an index that is up to date costs
nothing.

Received objects are added in the background, many with one commit; a process that is killed loses the last of them,
which costs their examination. After a power failure a file may have its name and size but not its content: files that
were not flushed before the machine restarted are examined again. A file that a run relies on, and that no run is known
to have flushed, is passed to ``rely``, which flushes it before the run ends. A file whose flush has failed
(``failed_flushes``) counts as missing.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final, Protocol

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu.errors import StoreError
from movescu.storage import files
from movescu.storage.index.database import Tables, close_database, open_database, told_as_store_errors, transaction
from movescu.storage.index.examination import NOWHERE, fits, whole_instance
from movescu.storage.index.states import Added, Batch, Changes, file_state, folder_state, is_settled, scan, state_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from movescu.storage.index.examination import Place
    from movescu.storage.index.states import FileRow, FileState
    from movescu.storage.layout.template import Layout

    Rely = Callable[[str, int], None]
    Doubted = Callable[[int], bool]

_log: Final = logger_of("movescu.store")

_TABLES: Final = Tables(
    "index",
    2,
    (
        # flushed: the files of this run are on the disk; boot: the boot ID of the machine during the run
        "CREATE TABLE index_runs (run INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT NOT NULL, flushed INTEGER NOT NULL)",
        # names are the bytes that the file system has; uid is empty where a file is no whole object
        """CREATE TABLE index_files (folder BLOB NOT NULL, name BLOB NOT NULL, uid TEXT NOT NULL, size INTEGER NOT NULL,
        modified INTEGER NOT NULL, changed INTEGER NOT NULL, inode INTEGER NOT NULL, start INTEGER NOT NULL,
        run INTEGER NOT NULL, PRIMARY KEY (folder, name)) WITHOUT ROWID""",
        "CREATE INDEX index_uids ON index_files (uid)",
        # the state of a folder when its files were last compared; modified is -1 if it was changed since
        """CREATE TABLE index_folders (folder BLOB PRIMARY KEY, modified INTEGER NOT NULL, inode INTEGER NOT NULL)
        WITHOUT ROWID""",
    ),
)
_NOTE: Final = "INSERT OR REPLACE INTO index_files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FOLDER: Final = "INSERT OR REPLACE INTO index_folders VALUES (?, ?, ?)"
_FIND: Final = """SELECT folder, name, size, modified, changed, inode, start, flushed, boot
    FROM index_files AS files LEFT JOIN index_runs AS runs ON files.run = runs.run WHERE uid = ?"""
_MANY: Final = 5000  # files in one commit
_OFTEN: Final = 30.0  # seconds after which fewer files are committed
_CHANGED: Final = (-1, 0)


class Index(Protocol):
    """The whole objects of an output directory. Safe from any thread."""

    def whole(self, sop_instance_uid: str) -> bool:
        """Return True if the directory has the whole object."""

    def path(self, sop_instance_uid: str, place: Place = NOWHERE) -> str | None:
        """Return the path of the whole object below the directory, None if it has none.

        ``place``: the study and series that it has to be of. Default: any.
        """

    def add(self, sop_instance_uid: str, path: str) -> None:
        """Add an object and its file, a path below the directory, as it is now."""

    def begin_flush(self) -> object:
        """Return what ``flushed`` needs: the objects added so far."""

    def flushed(self, batch: object = None) -> None:
        """Record that the files of these objects are on the disk. Default: of all added objects."""

    def save(self) -> None:
        """Save the added objects."""

    def close(self) -> None:
        """Save the added objects, and end."""


def open_index(
    directory: str,
    layout: Layout | None,
    *,
    durable: bool = False,
    rely: Rely = lambda *_: None,
    doubted: Doubted = lambda _: False,
) -> Index:
    """Open the index of a directory.

    ``durable``: each object is flushed before it is added. ``rely``: called with path and size of a file that is relied
    on and may not be on the disk yet. ``doubted``: called with the time of change of a file in ns; returns True if its
    flush has failed. Raise ``StoreError`` if the directory or its database is unusable.
    """
    with _told_as_store_error(directory):
        fd = files.openat(directory, files.READ_DIRECTORY)
        try:
            if layout is None:
                from movescu.storage.index.flat import FlatIndex  # late: one of two

                return FlatIndex(fd, rely, doubted)
            return KeptIndex(directory, fd, durable=durable, rely=rely, doubted=doubted)
        except BaseException:
            files.close(fd)
            raise


class KeptIndex:
    """The index of a directory with folders, kept in its database. Owns the descriptor of the directory."""

    def __init__(self, path: str, directory: int, *, durable: bool, rely: Rely, doubted: Doubted) -> None:
        self._directory = directory
        self._rely, self._doubted = rely, doubted
        self._durable = durable
        self._boot = _boot()
        self._database = open_database(path, _TABLES)
        self._using = clock.RLock()  # held to use the database
        self._changed = clock.Condition()
        self._added: dict[str, Added] = {}
        """Objects added and not saved, by SOP instance UID."""
        self._batch = Batch(flushed=durable)
        self._late: list[Batch] = []
        """Batches saved before they were flushed."""
        self._found = Batch(flushed=False)
        """Files that the comparison found."""
        self._unsaved: dict[str, tuple[str, FileState]] = {}
        """Files that were found and could not be saved, by SOP instance UID."""
        self._chosen: dict[str, str] = {}
        """The file of an object of which there are several, in different studies or series, by SOP instance UID."""
        self._touched: set[bytes] = set()
        """Folders of the saved objects."""
        self._compared = False
        self._closing = False
        self._keeper: clock.Thread | None = None

    # -- objects in the directory --------------------------------------------------------------------------------------

    def whole(self, sop_instance_uid: str) -> bool:
        """Return True if the directory has the whole object."""
        return self.path(sop_instance_uid) is not None

    def path(self, sop_instance_uid: str, place: Place = NOWHERE) -> str | None:
        """Return the path of a file with the whole object: it is as it was when noted, or is whole now.

        ``place``: the study and series that it has to be of. Default: any.
        """
        if not sop_instance_uid:
            return None
        with self._using:
            added = self._added.get(sop_instance_uid)
            if added is not None and self._state_of(added) is not None and self._fits(added.path, place):
                return added.path
            path = self._noted_file(sop_instance_uid, place)
            if path is None and not self._compared:
                self._compare()
                path = self._noted_file(sop_instance_uid, place)
            return path

    def _fits(self, path: str, place: Place) -> bool:
        return fits(path, self._directory, place)

    def _noted_file(self, uid: str, place: Place) -> str | None:
        with told_as_store_errors():
            rows = self._database.execute(_FIND, (uid,)).fetchall()
        rows.sort(key=lambda row: os.fsdecode(row[0] + row[1]) != self._chosen.get(uid))
        others = False
        for folder, name, *noted, on_disk, boot in rows:
            path = os.fsdecode(folder + name)
            state = file_state(path, self._directory)
            if state is None or self._doubted(state[1]):
                continue
            trusted = list(state) == noted and (on_disk or boot == self._boot)
            if not trusted:
                cut = state[0] < noted[0]
                found = "" if cut else whole_instance(path, self._directory) or ""
                changes = Changes()
                changes.files.append((folder, name, found, state))
                self._commit(changes)
                if found != uid:
                    continue
            if not self._fits(path, place):
                others = True
                continue
            if others:
                self._chosen[uid] = path
            if not (trusted and on_disk):
                self._rely(path, state[0])
            return path
        path, state = self._unsaved.get(uid, ("", None))
        if state is None or file_state(path, self._directory) != state or self._doubted(state[1]):
            return None
        if not self._fits(path, place):
            return None
        self._rely(path, state[0])
        return path

    def _compare(self) -> None:
        """Update the index to the state of the directory."""
        self._compared = True
        self.save()
        with told_as_store_errors():
            known = {
                folder: (modified, inode)
                for folder, modified, inode in self._database.execute("SELECT * FROM index_folders")
            }
        below: dict[bytes, list[bytes]] = {}
        for folder in known:
            below.setdefault(folder[: folder.rfind(b"/", 0, -1) + 1], []).append(folder)
        waiting = [b""]
        left = set(known)
        changes = Changes()
        while waiting:
            folder = waiting.pop()
            state = folder_state(folder, self._directory)
            if state is None:
                continue
            left.discard(folder)
            if known.get(folder) == state:
                waiting += [one for one in below.get(folder, ()) if one]
            else:
                waiting += self._compare_folder(folder, changes)
                changes.folders.append((folder, *(state if is_settled(state) else _CHANGED)))
        changes.gone_folders = [(folder,) for folder in left]
        self._commit(changes)

    def _compare_folder(self, folder: bytes, changes: Changes) -> list[bytes]:
        """Find the missing files of a folder, examine its new and changed ones; return its folders."""
        with told_as_store_errors():
            rows = self._database.execute(
                "SELECT name, uid, size, modified, changed, inode FROM index_files WHERE folder = ?", (folder,)
            )
            known = {name: (uid, tuple(noted)) for name, uid, *noted in rows}
        folders = []
        text = os.fsdecode(folder)
        with contextlib.suppress(OSError), scan(text, self._directory) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                if name.startswith(b"."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(folder + name + b"/")
                elif entry.is_file(follow_symlinks=False):
                    before, noted = known.pop(name, ("", ()))
                    if noted == state_of(entry.stat(follow_symlinks=False)):
                        continue
                    found = file_state(text + entry.name, self._directory)
                    if found is not None:
                        cut = before and found[0] < noted[0]
                        uid = "" if cut else whole_instance(text + entry.name, self._directory) or ""
                        changes.files.append((folder, name, uid, found))
                if len(changes.files) >= _MANY:  # so that a process that is killed need not begin again
                    self._commit(changes)
        changes.gone += [(folder, name) for name in known]
        return folders

    def _commit(self, changes: Changes) -> None:
        """Save what was found in the directory, and forget it here; on a full disk, keep the objects in memory."""
        known, database = self._found.run, self._database
        try:
            with transaction(database):
                if changes.files:
                    self._write(database, changes.files, self._found)
                database.executemany("DELETE FROM index_files WHERE folder = ? AND name = ?", changes.gone)
                database.executemany("DELETE FROM index_files WHERE folder = ?", changes.gone_folders)
                database.executemany("DELETE FROM index_folders WHERE folder = ?", changes.gone_folders)
                database.executemany(_FOLDER, changes.folders)
        except StoreError as error:
            self._found.run = known  # a new run was not committed
            _log.warning("the index of the output directory is not up to date: %s", error)
            self._unsaved |= {uid: (os.fsdecode(folder + name), state) for folder, name, uid, state in changes.files}
        changes.clear()

    def _write(self, database: sqlite3.Connection, rows: list[FileRow], batch: Batch) -> None:
        if not batch.run:
            insert = "INSERT INTO index_runs (boot, flushed) VALUES (?, ?)"
            batch.run = database.execute(insert, (self._boot, batch.flushed)).lastrowid or 0
        run = batch.run
        database.executemany(_NOTE, [(folder, name, uid, *state, run) for folder, name, uid, state in rows])

    # -- objects received ----------------------------------------------------------------------------------------------

    def add(self, sop_instance_uid: str, path: str) -> None:
        """Add an object and its file, a path below the directory; the commit is left to a thread in the background."""
        try:
            status = files.stat(path, dir_fd=self._directory, follow_symlinks=False)
        except OSError:
            return
        with self._changed:
            self._added[sop_instance_uid] = Added(path, state_of(status), self._batch)
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
                self.save()
            except StoreError as error:  # a stale index costs the next run time, nothing else
                _log.warning("the index of the output directory is not up to date: %s", error)

    def save(self) -> None:
        """Commit the added objects. They stay added if that fails."""
        if not (self._added or self._late):
            return
        with self._using:
            with self._changed:
                added, self._added = self._added, {}
                late, self._late = self._late, []
            batches = {id(one.batch): one.batch for one in added.values()}
            new = [batch for batch in batches.values() if not batch.run]
            folders: set[bytes] = set()
            try:
                with transaction(self._database):
                    self._save(self._database, added, late, folders)
            except BaseException:
                with self._changed:
                    self._added = added | self._added
                    self._late += late
                for batch in new:  # their runs were not committed
                    batch.run = 0
                raise
            self._touched |= folders

    def _save(
        self,
        database: sqlite3.Connection,
        added: dict[str, Added],
        late: list[Batch],
        folders: set[bytes],
    ) -> None:
        rows: dict[int, tuple[Batch, list[FileRow]]] = {}
        for uid, one in added.items():
            folder, slash, name = os.fsencode(one.path).rpartition(b"/")
            folders.add(folder + slash)
            state = self._state_of(one)
            if state is not None:
                rows.setdefault(id(one.batch), (one.batch, []))[1].append((folder + slash, name, uid, state))
        for batch, of_batch in rows.values():
            self._write(database, of_batch, batch)
        database.executemany("UPDATE index_runs SET flushed = 1 WHERE run = ?", [(batch.run,) for batch in late])
        database.executemany(_FOLDER, [(folder, *_CHANGED) for folder in folders])

    def begin_flush(self) -> Batch:
        """Return what ``flushed`` needs: the objects added so far."""
        with self._using, self._changed:
            batch, self._batch = self._batch, Batch(flushed=self._durable)
            return batch

    def _state_of(self, added: Added) -> FileState | None:
        """Return the state of an object's file, None if it was changed since it was added."""
        state = file_state(added.path, self._directory)
        return state if state is not None and state[:-1] == added.state else None

    def flushed(self, batch: object = None) -> None:
        """Record that the files of the objects added before ``begin_flush`` are on the disk, in the next commit."""
        batch = batch if isinstance(batch, Batch) else self.begin_flush()
        with self._using, self._changed:
            if batch.run and not batch.flushed:
                self._late.append(batch)
            batch.flushed = True

    def close(self) -> None:
        """Save the added objects, and end. Raise ``StoreError`` if they cannot be saved."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._keeper is not None:
            self._keeper.join()
        try:
            self.save()
            self._settle()
        finally:
            close_database(self._database)
            files.close(self._directory)

    def _settle(self) -> None:
        """Record the state of the folders of added objects if they have nothing that the index does not know."""
        settled = []
        for folder in self._touched:
            state = folder_state(folder, self._directory)
            if state is None or not is_settled(state):
                continue
            with told_as_store_errors():
                sql = "SELECT name FROM index_files WHERE folder = ?"
                names = {name for (name,) in self._database.execute(sql, (folder,))}
            with contextlib.suppress(OSError), scan(os.fsdecode(folder), self._directory) as entries:
                if all(os.fsencode(one.name) in names or one.name.startswith(".") for one in entries):
                    settled.append((folder, *state))
        if settled:
            changes = Changes()
            changes.folders += settled
            self._commit(changes)


@contextlib.contextmanager
def _told_as_store_error(directory: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot read {directory!r}: {error.strerror}") from error


def _boot() -> str:
    """Return the boot ID of the machine, a random one where there is none: then no two runs share a boot."""
    return files.boot_id() or os.urandom(16).hex()
