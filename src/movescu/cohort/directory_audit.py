"""The check of a directory (``--check-files``): its files against journal, manifest and archive; nothing is changed.

Each file is compared with the journal's and the manifest's record of its path: missing, another size, or another
content. All files, or a sample, are read: the object has to be complete and have its UID, and a file in the manifest
its digest. A file in neither is extra; without journal and manifest, each file has to be a complete object. A file
whose flush to the disk has failed is changed, however it reads (``storage.failed_flushes``). Where names that differ in
case, or in how their characters are composed, are one name, a file is known by each: its folder has the name that the
first object gave it.

An archive is queried (C-FIND) for the given requests, or else for the studies of the files and the journal: a listed
object has to be in the directory, in the study and series in which it is listed, and an object of a queried study or
series has to be listed.

Expected and found files are kept in a temporary database, since a directory may have millions of files.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import unicodedata
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu.cohort.journal_directory import recorded_directories
from movescu.cohort.journal_file import WAIT
from movescu.errors import InventoryError, StoreError
from movescu.query.identifier import make_identifier
from movescu.query.list_values import is_uid
from movescu.query.scope import Scope
from movescu.retrieve.inventory import take_inventory
from movescu.storage import files
from movescu.storage.failed_flushes import FailedFlushes
from movescu.storage.index.examination import place_in, whole_in
from movescu.storage.manifest_lines import with_slashes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Self

    from movescu.cohort.journal_store import Database
    from movescu.query.identifier import Identifier
    from movescu.retrieve.association import ArchiveAssociation

MISSING: Final = "missing"
CHANGED: Final = "changed"
EXTRA: Final = "extra"
_BLOCK: Final = 1 << 20
_INCOMPLETE: Final = "the archive's list is not complete"
_NAMED: Final = 5  # UIDs in a message
_UNFLUSHED: Final = "it may not be on the disk, as a flush has failed: delete it, and retrieve the object again"
_TABLES: Final = (
    """CREATE TABLE expected (path BLOB PRIMARY KEY, uid TEXT, size INTEGER, digest TEXT, seen INTEGER, folded BLOB)
    WITHOUT ROWID""",
    "CREATE INDEX expected_uids ON expected (uid)",
    "CREATE INDEX expected_folded ON expected (folded)",
    "CREATE TABLE found (uid TEXT, path BLOB, study TEXT, series TEXT, listed INTEGER)",
    "CREATE INDEX found_uids ON found (uid)",
    "CREATE INDEX found_studies ON found (study)",
    "CREATE TABLE studies (study TEXT PRIMARY KEY) WITHOUT ROWID",
)

_OF_NAME: Final = "SELECT uid, size, digest FROM expected WHERE path = ?"
_OTHER_NAMES: Final = "SELECT path FROM expected WHERE folded = ? AND NOT seen"


class FileFinding(NamedTuple):
    """Something that is not as expected. ``path``: below the directory, empty for an object that has no file."""

    kind: str
    path: str
    uid: str
    detail: str


class DirectoryAudit:
    """The check of one directory; a context manager.

    ``sample``: part of the files whose content is read, 1.0 for all. ``on_finding``: called with each finding. Raise
    ``StoreError`` if the directory's record of failed flushes cannot be read.
    """

    def __init__(self, directory: str, sample: float, on_finding: Callable[[FileFinding], None]) -> None:
        self._directory = os.fsencode(directory)
        self._limit = int(sample * (1 << 32))
        self._salt = int.from_bytes(os.urandom(4), "big")  # another sample each time
        self._on_finding = on_finding
        self._database = files.open_sqlite("", WAIT)  # a temporary file, beyond what fits into memory
        for statement in _TABLES:
            self._database.execute(statement)
        self._database.execute("BEGIN")
        self._expects = False
        self._failed_flushes = _failed_flushes_of(self._directory)
        self.files = self.size = self.read = 0
        """Number of files, their bytes, and how many contents were read."""
        self.counts = dict.fromkeys((MISSING, CHANGED, EXTRA), 0)
        """Number of findings by kind."""
        self.asked = 0
        """Number of requests for which the archive was asked."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def _tell(self, kind: str, path: bytes, uid: str, detail: str) -> None:
        self.counts[kind] += 1
        self._on_finding(FileFinding(kind, os.fsdecode(path), uid, detail))

    # -- what is expected ----------------------------------------------------------------------------------------------

    def expect_journal(self, journal: Database, path: str) -> None:
        """Expect the objects of a journal; ``path``: its name.

        Raise ``JournalError`` if it has the files of another directory.
        """
        self._expects = True
        for own in recorded_directories(journal, path, os.fsdecode(self._directory)):
            rows = journal.execute(
                """SELECT path, uid, o.size FROM journal_objects o JOIN journal_entries e ON o.number = e.number
                JOIN journal_runs r ON e.run = r.run WHERE directory = ? ORDER BY changed""",
                (own,),
            )
            objects = ((path, uid, size, _folded(path)) for path, uid, size in rows)
            self._database.executemany("INSERT OR REPLACE INTO expected VALUES (?, ?, ?, NULL, 0, ?)", objects)
            studies = journal.execute(
                "SELECT studies FROM journal_entries e JOIN journal_runs r ON e.run = r.run WHERE directory = ?", (own,)
            )
            for (some,) in studies:
                self._database.executemany("INSERT OR IGNORE INTO studies VALUES (?)", ((one,) for one in some.split()))

    def expect_digests(self, digests: Mapping[bytes, bytes]) -> None:
        """Expect the files of a manifest: SHA-256 by path below the directory."""
        self._expects = True
        self._database.executemany(
            """INSERT INTO expected VALUES (?, '', -1, ?, 0, ?)
            ON CONFLICT (path) DO UPDATE SET digest = excluded.digest""",
            ((path, digest.decode(), _folded(path)) for path, digest in digests.items()),
        )

    # -- the files -----------------------------------------------------------------------------------------------------

    def check_files(self, *, places: bool) -> None:
        """Check each file; ``places``: read the head of each, to compare with an archive. Raise ``StoreError``."""
        for path in self._walk(b""):
            self.files += 1
            self._check_file(path, places=places)
        unseen = self._database.execute("SELECT path, uid FROM expected WHERE NOT seen ORDER BY path").fetchall()
        for path, uid in unseen:
            self._tell(MISSING, path, uid, "the file does not exist")

    def _walk(self, folder: bytes) -> Iterator[bytes]:
        """Yield the files below a folder, without those whose names begin with a dot, and without following links."""
        try:
            with files.scandir(os.path.join(self._directory, folder)) as entries:
                found = sorted((os.fsencode(one.name), one.is_dir(follow_symlinks=False)) for one in entries)
        except OSError as error:
            shown = os.fsdecode(os.path.join(self._directory, folder))
            raise StoreError(f"cannot read {shown!r}: {error.strerror}", hint="check its permissions") from error
        for name, is_folder in found:
            path = with_slashes(os.path.join(folder, name))  # as journals and manifests have it
            if name.startswith(b"."):
                continue
            if is_folder:
                yield from self._walk(path)
            else:
                yield path

    def _check_file(self, path: bytes, *, places: bool) -> None:
        known = self._expected(path)
        uid, size, digest = known or ("", -1, None)
        try:
            fd = files.openat(os.path.join(self._directory, path), files.READ_FILE)
        except OSError as error:
            self._tell(CHANGED, path, uid, f"the file cannot be opened: {error.strerror}")
            return
        try:
            status = files.fstat(fd)
            self.size += status.st_size
            fault, found = "", ""
            if not stat.S_ISREG(status.st_mode):
                fault = "not a regular file"
            elif size not in (-1, status.st_size):
                fault = f"{status.st_size} bytes instead of {size}"
            elif self._failed_flushes.cover(status.st_mtime_ns):
                fault = _UNFLUSHED
            elif zlib.crc32(path, self._salt) < self._limit:
                self.read += 1
                fault, found = self._content_fault(fd, uid, digest)
            if known is None and self._expects and fault != _UNFLUSHED:
                self._tell(EXTRA, path, found, "in neither journal nor manifest")
            elif fault:
                self._tell(CHANGED, path, uid or found, fault)
            if places:
                self._keep_place(fd, path, uid if fault else found or uid, is_told=bool(fault))
        finally:
            files.close(fd)

    def _expected(self, path: bytes) -> tuple[str, int, str | None] | None:
        """Return what is expected of a file: UID, size and digest; None if it is not expected under any name."""
        name, known = path, self._database.execute(_OF_NAME, (path,)).fetchone()
        if known is None:
            others = self._database.execute(_OTHER_NAMES, (_folded(path),)).fetchall()
            name = next((other for (other,) in others if self._are_same(path, other)), path)
            known = self._database.execute(_OF_NAME, (name,)).fetchone()
        self._database.execute("UPDATE expected SET seen = 1 WHERE path = ?", (name,))
        return None if known is None else tuple(known)

    def _are_same(self, path: bytes, other: bytes) -> bool:
        """Return True if two names are those of one file."""
        with contextlib.suppress(OSError):
            one, two = (files.stat(os.path.join(self._directory, name)) for name in (path, other))
            return os.path.samestat(one, two)
        return False

    def _keep_place(self, fd: int, path: bytes, uid: str, *, is_told: bool) -> None:
        """Keep where an object is, for the archive's list; ``is_told``: its file is not as expected."""
        uid = uid if uid or is_told else whole_in(fd) or ""
        if uid:
            place = ("", "") if is_told else place_in(fd)
            self._database.execute("INSERT INTO found VALUES (?, ?, ?, ?, 0)", (uid, path, *place))

    def _content_fault(self, fd: int, uid: str, digest: str | None) -> tuple[str, str]:
        """Return what is wrong with the content of a file, empty if nothing, and the object in it."""
        if digest is not None and _digest(fd) != digest:
            return "its digest differs from that in the manifest", ""
        found = whole_in(fd)
        if found is None:
            return ("" if digest is not None and not uid else "not a complete object"), ""
        if uid and found != uid:
            return f"the file has SOP instance {found}", found
        return "", found

    # -- the archive ---------------------------------------------------------------------------------------------------

    def requests(self) -> Iterator[Identifier]:
        """Yield a request for each study of the files and of the journal."""
        studies = self._database.execute("SELECT study FROM found UNION SELECT study FROM studies ORDER BY 1")
        for (study,) in studies.fetchall():
            if is_uid(study):
                yield make_identifier([f"StudyInstanceUID={study}", "QueryRetrieveLevel=STUDY"])

    def ask(
        self, session: ArchiveAssociation, requests: Iterable[Identifier], model: str, *, given: bool = False
    ) -> Iterator[str]:
        """Compare with the archive's list for requests; yield why a list cannot be had or is not complete.

        ``given``: the user has named them, so each has to match something. Default: False.
        """
        covered: set[tuple[str, str]] = set()
        for identifier in requests:
            self.asked += 1
            scope = Scope(identifier, model)
            try:
                inventory = take_inventory(session, identifier, model)
            except InventoryError as error:
                yield f"{_INCOMPLETE}: {error}"
                continue
            if inventory.gaps:
                yield f"{_INCOMPLETE}: {inventory.describe_gaps()}"
            elif given and (inventory.unfound or not inventory.objects):
                uids = ", ".join(inventory.unfound[:_NAMED])
                yield f"the archive lists nothing for {uids or f'request {self.asked}'}"
            for uid, place in inventory.objects.items():
                self._check_listed(uid, place.study, place.series)
                if not inventory.gaps:
                    covered |= _covered(scope.level, place.study, place.series)
            if not inventory.gaps and scope.level in ("STUDY", "SERIES"):
                column = scope.level.lower()
                covered |= {(column, uid) for uid in scope.unique(scope.level)}
        for column, uid in sorted(covered):
            rows = self._database.execute(f"SELECT path, uid FROM found WHERE {column} = ? AND NOT listed", (uid,))  # noqa: S608 - one of two names
            for path, instance in rows.fetchall():
                self._tell(EXTRA, path, instance, "the archive does not list it")
            self._database.execute(f"UPDATE found SET listed = 1 WHERE {column} = ?", (uid,))  # noqa: S608 - as above

    def _check_listed(self, uid: str, study: str, series: str) -> None:
        rows = self._database.execute("SELECT path, study, series FROM found WHERE uid = ?", (uid,)).fetchall()
        gone = self._database.execute("SELECT 1 FROM expected WHERE uid = ? AND NOT seen", (uid,)).fetchone()
        if not rows and gone is None:  # else it was told with its path
            self._tell(MISSING, b"", uid, f"the archive lists it in series {series} of study {study}")
        elif rows and not any(_is_same(own, study) and _is_same(own_series, series) for _, own, own_series in rows):
            self._tell(CHANGED, rows[0][0], uid, f"the archive lists it in series {series} of study {study}")
        self._database.execute("UPDATE found SET listed = 1 WHERE uid = ?", (uid,))


def _folded(path: bytes) -> bytes:
    """Return what names have in common that some file system may take for one."""
    return os.fsencode(unicodedata.normalize("NFC", os.fsdecode(path)).casefold())


def _failed_flushes_of(directory: bytes) -> FailedFlushes:
    fd = files.openat(os.fsdecode(directory), files.READ_DIRECTORY)
    try:
        return FailedFlushes(fd)
    finally:
        files.close(fd)


def _covered(level: str, study: str, series: str) -> set[tuple[str, str]]:
    """Return what a complete list for a request at a level tells everything of."""
    if level in ("PATIENT", "STUDY"):
        return {("study", study)}
    return {("series", series)} if level == "SERIES" else set()


def _is_same(own: str, listed: str) -> bool:
    return not own or not listed or own == listed


def _digest(fd: int) -> str:
    digest, position = hashlib.sha256(), 0
    with contextlib.suppress(OSError):
        while block := files.pread(fd, _BLOCK, position):
            digest.update(block)
            position += len(block)
        return digest.hexdigest()
    return ""
