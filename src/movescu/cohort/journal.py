"""The journal of a cohort: its entries, their states and objects, and the runs that hold them.

Theory. The journal is the only record of the cohort: its requests, and how each entry ended. The disk has the last
word: an entry counts as complete only while its files exist. Entries are identified by request and archive, not by
their position in a list, so different lists may share a journal. It has the files of one directory
(``journal_directory``). A file keeps it (``journal_file``), or a database server (``journal_server``).

Several runs may share it, too. A run holds an entry from its ``claim`` until it records the end. While it lives, it
renews its lease, one row for the whole run; a lease that was not renewed for ``LEASE`` seconds has expired, and that of
a process that is known to have ended is free at once. Runs that overlap in time form a cohort: a run that starts while
another one lives joins it. An end recorded by one run holds for the whole cohort: the others take it over and do not
request the entry again. An entry that was interrupted has no end.

Ends are committed by a thread, in a file those of a second together; closing commits the rest. A commit of ends
is flushed; one of claims and leases is not, since after a power failure no run holds any entry.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu.cohort.entry_verdict import DONE, WHY, CompleteEntry, EntryVerdict, Held, told_of, verdict_of
from movescu.cohort.journal_directory import adopt_directory
from movescu.cohort.journal_opening import open_store
from movescu.cohort.journal_store import is_url
from movescu.cohort.journal_workers import write_workers
from movescu.cohort.owner import Owner, has_ended, this_process
from movescu.cohort.replaced_objects import SharedObject
from movescu.errors import JournalError, StoreError
from movescu.events import EntryState
from movescu.storage import files
from movescu.storage.ledger import StoredFile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from movescu.cohort.journal_store import Database, T
    from movescu.cohort.journal_workers import JournalWorker
    from movescu.events import EntryEvent
    from movescu.query.request_list import Row

_log: Final = logger_of("movescu.cohort")

LEASE: Final = 60.0
"""Seconds after which a lease that was not renewed expires."""
WAITING: Final = "waiting"
"""State of an entry that no run holds and that has no end."""
_RENEWALS: Final = 6  # of a lease while it lasts
_HELD: Final = (EntryState.RUNNING.value, EntryState.POSTPONED.value)
_ENTRY: Final = "SELECT number, state, run, objects, why, changed FROM journal_entries WHERE key = ?"
_HOLDER: Final = "SELECT cohort, host, pid, born, renewed FROM journal_runs WHERE run = ?"
_OTHERS: Final = """SELECT key, state, host, pid, born, objects, why FROM journal_entries e
    JOIN journal_runs r ON e.run = r.run WHERE e.run != ?"""
_BESIDE: Final = """SELECT 1 FROM journal_runs r JOIN journal_runs own ON own.run = ?
    WHERE r.run != own.run AND coalesce(r.ended, r.renewed + ?) >= own.started LIMIT 1"""
_PATHS: Final = """SELECT path FROM journal_objects o JOIN journal_entries e ON o.number = e.number
    WHERE key = ? AND length(path) > 0"""
_SHARED: Final = """SELECT key, studies, uid, path FROM journal_objects o JOIN journal_entries e ON o.number = e.number
    WHERE state IN (?, ?) AND uid IN (SELECT uid FROM journal_objects GROUP BY uid HAVING COUNT(*) > 1)"""
_WITH: Final = """SELECT DISTINCT key, keys FROM journal_objects o JOIN journal_entries e ON o.number = e.number
    WHERE state IN (?, ?) AND uid IN"""
_AT_ONCE: Final = 500  # objects in one query
_FORGET: Final = "DELETE FROM journal_objects WHERE number = ? AND uid = ?"
_RETRACT: Final = """UPDATE journal_entries SET state = ?, run = ?, why = ?, changed = ?,
    objects = (SELECT COUNT(*) FROM journal_objects WHERE number = ? AND length(path) > 0),
    size = (SELECT coalesce(sum(size), 0) FROM journal_objects WHERE number = ?) WHERE number = ?"""
_COMPLETE: Final = "SELECT number, studies, changed FROM journal_entries WHERE key = ? AND state IN (?, ?)"
_FILES: Final = "SELECT uid, path, size FROM journal_objects WHERE number = ? ORDER BY uid"
_INSERT: Final = """INSERT INTO journal_entries
    (key, archive, keys, priority, state, run, attempts, studies, objects, size, why, changed) VALUES """
_ENTER: Final = f"""{_INSERT} (?, ?, ?, ?, ?, NULL, 0, '', 0, 0, '', ?)
    ON CONFLICT (key) DO UPDATE SET archive = excluded.archive, keys = excluded.keys WHERE journal_entries.keys = ''"""
_CLAIM: Final = "UPDATE journal_entries SET state = ?, run = ?, changed = ? WHERE number = ?"
_CLAIM_NEW: Final = f"""{_INSERT} (?, '', '', 0, ?, ?, 0, '', 0, 0, '', ?)
    ON CONFLICT (key) DO NOTHING RETURNING number"""
_NOTE: Final = f"""{_INSERT} (?, '', '', 0, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET state = excluded.state, run = excluded.run,
    attempts = journal_entries.attempts + excluded.attempts, studies = excluded.studies, objects = excluded.objects,
    size = excluded.size, why = excluded.why, changed = excluded.changed
    WHERE journal_entries.run IS NULL OR journal_entries.run = excluded.run RETURNING number"""


class Journal:
    """A journal; a context manager. Thread-safe. Raise ``JournalError`` if the file or the server fails.

    ``path``: of the file, or URL. ``directory``: of output. ``rebuild``: a damaged file is made anew. Default: False.
    ``files_of``: returns the files of objects. Default: nothing is known of them.
    ``before``: called before ends are committed. Default: nothing. ``lease``: seconds. Default: ``LEASE``.
    ``verifies``: this run compares with the archive's counts, and takes over as complete only what another one compared
    too. Default: False.
    """

    def __init__(
        self,
        path: str,
        directory: str,
        *,
        rebuild: bool = False,
        files_of: Callable[[Iterable[str]], list[StoredFile]] = lambda _: [],
        before: Callable[[], None] = lambda: None,
        lease: float = LEASE,
        verifies: bool = False,
    ) -> None:
        self.directory = directory
        """The output directory."""
        self._before = before
        self._files_of = files_of
        self._lease = lease
        self._verifies = verifies
        self._store = open_store(path, directory, rebuild=rebuild)
        self._using = clock.RLock()  # held to use the database
        self._changed = clock.Condition()
        self._noted: list[tuple[str, EntryEvent, Sequence[str], Sequence[StoredFile]]] = []
        self._closing = False
        self._failure: JournalError | None = None
        try:
            self._run, self._cohort = self._transact(self._begin, alone=True)
        except BaseException:
            self._store.close()
            raise
        self._keeper = clock.Thread(target=self._keep, name="movescu-journal", daemon=True)
        self._keeper.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._keeper.join()
        try:
            self.save()
            self._transact(self._end)
        except JournalError:
            if kind is None:
                raise
        finally:
            self._store.close()

    # -- runs ----------------------------------------------------------------------------------------------------------

    def _transact(self, work: Callable[[Database, float], T], *, durable: bool = False, alone: bool = False) -> T:
        """See ``JournalStore.transact``. Raise ``JournalError`` if the thread that renews the lease has failed, too."""
        if self._failure is not None:
            raise self._failure
        with self._using:
            return self._store.transact(work, durable=durable, alone=alone)

    def _read(self, work: Callable[[Database], T]) -> T:
        with self._using:
            return self._store.read(work)

    def _begin(self, database: Database, now: float) -> tuple[int, int]:
        """Add this run; it joins the cohort of a living run, if there is one."""
        directory = adopt_directory(database, self._store.name, self.directory)
        rows = database.execute("SELECT cohort, host, pid, born, renewed FROM journal_runs WHERE ended IS NULL")
        living = [
            cohort
            for cohort, host, pid, born, renewed in rows.fetchall()
            if self._lives(Owner(host, pid, born), renewed, now)
        ]
        (last,) = database.execute("SELECT coalesce(max(run), 0) FROM journal_runs").fetchone()
        cohort = max(living, default=last + 1)
        (run,) = database.execute(
            """INSERT INTO journal_runs (cohort, host, pid, born, directory, started, renewed)
            VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING run""",
            (cohort, *this_process(), directory, now, now),
        ).fetchone()
        return run, cohort

    def _lives(self, owner: Owner, renewed: float, now: float) -> bool:
        return abs(now - renewed) < self._lease and not has_ended(owner, anywhere=is_url(self._store.name))

    def _keep(self) -> None:
        """Renew the lease, and commit ends, together with those that follow soon."""
        pause = self._lease / _RENEWALS
        renewed = clock.now()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._noted or self._closing, pause)
                if self._noted:
                    self._changed.wait_for(lambda: self._closing, min(self._store.together, pause))
                if self._closing:
                    return
            try:
                self.save()
                if clock.now() - renewed >= pause * 0.9:
                    renewed = clock.now()
                    self._transact(self._renew)
            except JournalError as error:  # raised where the journal is used next
                self._failure = error
                return

    def _renew(self, database: Database, now: float) -> None:
        database.execute("UPDATE journal_runs SET renewed = ? WHERE run = ?", (now, self._run))

    def _end(self, database: Database, now: float) -> None:
        """Give back the entries that this run holds, and end it."""
        database.execute(
            "UPDATE journal_entries SET state = ?, changed = ? WHERE run = ? AND state IN (?, ?)",
            (WAITING, now, self._run, *_HELD),
        )
        database.execute("UPDATE journal_runs SET renewed = ?, ended = ? WHERE run = ?", (now, now, self._run))

    def note_workers(self, workers: Iterable[JournalWorker]) -> None:
        """Record the workers of this run, for ``--status``; a failure matters to nobody else."""
        found = list(workers)
        with contextlib.suppress(JournalError):
            self._transact(lambda database, _: write_workers(database, self._store.dialect, self._run, found))

    # -- entries -------------------------------------------------------------------------------------------------------

    def enter(self, rows: Iterable[tuple[str, Row]], archive: str) -> None:
        """Add entries that the journal lacks, by key, and the keys of entries of which it has only the digest.

        ``archive``: its text.
        """
        wanted = [(key, _text(archive), _text(row.text), row.number, WAITING) for key, row in rows]

        def enter(database: Database, now: float) -> None:
            database.executemany(_ENTER, ((*one, now) for one in wanted))

        self._transact(enter)

    def claim(self, key: str, *, is_done: Callable[[bool], bool] = lambda here: here) -> Held | EntryVerdict | None:
        """Hold an entry and return None; else return its holder, or its end in this cohort.

        ``is_done``: called for an entry that another run completed, with whether its files are here; returns False if
        it is to be requested here, too. Default: if they are not.
        """
        return self._transact(lambda database, now: self._claim(database, now, key, is_done))

    def _claim(
        self, database: Database, now: float, key: str, is_done: Callable[[bool], bool]
    ) -> Held | EntryVerdict | None:
        found = database.execute(_ENTRY + self._store.dialect.lock, (key,)).fetchone()
        if found is None:
            made = database.execute(_CLAIM_NEW, (key, EntryState.RUNNING.value, self._run, now)).fetchone()
            return Held(None, now) if made is None else None  # there is one, which another run is just claiming
        number, state, run, objects, why, changed = found
        holder = None if run == self._run else database.execute(_HOLDER, (run,)).fetchone()
        if holder is not None:
            cohort, host, pid, born, renewed = holder
            owner = Owner(host, pid, born)
            if state in _HELD:
                if self._lives(owner, renewed, now):  # one that has ended holds none
                    return Held(owner, changed)
            elif cohort == self._cohort and (
                state not in DONE or (self._proves(why) and is_done(self._has_files(database, number)))
            ):
                verdict = verdict_of(state, owner, objects, why)
                if verdict is not None:
                    return verdict
        database.execute(_CLAIM, (EntryState.RUNNING.value, self._run, now, number))
        return None

    def _proves(self, why: str) -> bool:
        """Return True if a complete entry is proven complete for this run, too."""
        return not self._verifies or bool(told_of(why).get("verifies"))

    def _has_files(self, database: Database, number: int) -> bool:
        """Return True if the files of an entry are here, with their sizes."""
        root = os.fsencode(self.directory)
        for path, size in database.execute("SELECT path, size FROM journal_objects WHERE number = ?", (number,)):
            try:
                status = files.lstat(os.path.join(root, path))
                if not stat.S_ISREG(status.st_mode) or status.st_size != size:
                    return False  # a path is empty where the file was gone already: this is the directory then
            except OSError:
                return False
        return True

    def verdicts(self) -> Iterator[tuple[str, EntryVerdict | None]]:
        """Yield the entries of other runs by key, with their ends as they are recorded now, None without one."""
        rows = self._read(lambda database: database.execute(_OTHERS, (self._run,)).fetchall())
        for key, state, host, pid, born, objects, why in rows:
            yield key, verdict_of(state, Owner(host, pid, born), objects, why)

    @property
    def has_company(self) -> bool:
        """Whether another run has used the journal during this one."""
        found = self._read(lambda database: database.execute(_BESIDE, (self._run, self._lease)).fetchone())
        return found is not None

    def paths_of(self, key: str) -> list[str]:
        """Return the paths of an entry's files, below the output directory."""
        paths = self._read(lambda database: database.execute(_PATHS, (key,)).fetchall())
        return [os.fsdecode(path) for (path,) in paths]

    def note(self, key: str, end: EntryEvent, reasons: Sequence[str], uids: Collection[str] = ()) -> None:
        """Record the end of an entry, in the next commit, unless another run has taken it over.

        ``reasons``: names of ``judgement.Reason``. ``uids``: SOP instance UIDs of its objects.
        """
        if self._failure is not None:
            raise self._failure
        stored = self._files_of(uids)
        if end.state.value in DONE:  # it is complete only while it has all of its files
            gone = set(uids) - {file.uid for file in stored}
            stored += (StoredFile(uid, "", 0) for uid in sorted(gone))
        with self._changed:
            self._noted.append((key, end, reasons, stored))
            if len(self._noted) == 1:
                self._changed.notify_all()

    def retract(self, key: str, end: EntryEvent, reasons: Sequence[str], gone: Collection[str]) -> None:
        """Record the corrected end of a complete entry, whichever run completed it.

        ``gone``: SOP instance UIDs of its objects that are not whole any more.
        """
        self.save()

        def retract(database: Database, now: float) -> None:
            if (found := database.execute(_COMPLETE, (key, *DONE)).fetchone()) is not None:
                number = found[0]
                database.executemany(_FORGET, ((number, uid) for uid in gone))
                told = (end.state.value, self._run, self._why(end, reasons), now)
                database.execute(_RETRACT, (*told, number, number, number))

        self._transact(retract, durable=True)

    def save(self) -> None:
        """Commit the ends noted so far."""
        with self._using:
            with self._changed:
                noted, self._noted = self._noted, []
            if not noted:
                return
            try:
                self._before()
            except StoreError as error:  # a stale index costs the next run time, nothing else
                _log.warning("the index of the output directory is not up to date: %s", error)

            def write(database: Database, now: float) -> None:
                for place, one in enumerate(noted):
                    self._write(database, now + place * 1e-6, *one)  # in the order in which they ended

            self._transact(write, durable=True)

    def _write(
        self,
        database: Database,
        now: float,
        key: str,
        end: EntryEvent,
        reasons: Sequence[str],
        stored: Sequence[StoredFile],
    ) -> None:
        told = (key, end.state.value, self._run, end.attempts, " ".join(end.study_instance_uids))
        objects, size = sum(bool(file.path) for file in stored), sum(file.size for file in stored)
        found = database.execute(_NOTE, (*told, objects, size, self._why(end, reasons), now)).fetchone()
        if found is None:
            return
        database.execute("DELETE FROM journal_objects WHERE number = ?", found)
        database.executemany(
            "INSERT INTO journal_objects (number, uid, path, size) VALUES (?, ?, ?, ?)",
            [
                (*found, uid, os.fsencode(file.path), file.size)
                for uid, file in {one.uid: one for one in stored}.items()
            ],
        )

    def _why(self, end: EntryEvent, reasons: Sequence[str]) -> str:
        """Return why an entry is not complete, as JSON; of one that is, whether counts prove it."""
        if end.state.value in DONE:
            return json.dumps({"verifies": True}) if self._verifies else ""
        why = {name: value for name in WHY if (value := getattr(end, name)) not in ("", None)}
        return json.dumps(why | {"reasons": list(reasons)})

    def objects_of(self, key: str) -> list[str] | None:
        """Return the SOP instance UIDs of a complete entry, None if it is not recorded as complete."""
        found = self.complete_entry(key)
        return None if found is None else [one.uid for one in found.files]

    def complete_entry(self, key: str) -> CompleteEntry | None:
        """Return a complete entry, None if it is not recorded as complete."""
        self.save()

        def read(database: Database) -> CompleteEntry | None:
            found = database.execute(_COMPLETE, (key, *DONE)).fetchone()
            if found is None:
                return None
            number, studies, ended = found
            rows = database.execute(_FILES, (number,))
            kept = [StoredFile(uid, os.fsdecode(path), size) for uid, path, size in rows]
            return CompleteEntry(kept, tuple(studies.split()), ended)

        return self._read(read)

    def complete_with(self, uids: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yield key and text of the complete entries that have one of these objects, an entry perhaps again."""
        self.save()
        left = iter(uids)
        while some := tuple(islice(left, _AT_ONCE)):
            yield from self._read(partial(_with, uids=some))

    def shared_objects(self) -> list[SharedObject]:
        """Return the objects that several complete entries have, once for each entry."""
        self.save()
        found = self._read(lambda database: database.execute(_SHARED, DONE).fetchall())
        return [SharedObject(key, tuple(studies.split()), uid, os.fsdecode(path)) for key, studies, uid, path in found]


def _with(database: Database, uids: tuple[str, ...]) -> list[tuple[str, str]]:
    statement = f"{_WITH} ({', '.join('?' * len(uids))})"
    return list(database.execute(statement, (*DONE, *uids)).fetchall())


def _text(text: str) -> str:
    """Return a text that SQLite can store: bytes that are not UTF-8 are replaced."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
