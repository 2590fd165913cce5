"""The ledger of an output directory: the objects that a run stored, to be checked before they count as whole.

An object is examined before its file gets its name, unless its pixel data was passed as received; an image without
pixels, which a plain retrieve stores with success, like DCMTK, is stored here too, but not whole: an archive that has
no more of it has lost it. Before a retrieve ends, its objects are compared with the directory: their files are those
that were written, no two different objects had one UID, and each is of the study and series in which it is listed.

Objects that entries of a list rely on stay in the ledger after that: what arrives later for one of them, whoever sends
it, is compared with its file, and ``late`` returns what the entries could not know when they ended. If a file was
changed or deleted by others, the object that arrives in its place repairs it.
"""

from __future__ import annotations

from typing import NamedTuple

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu.storage import files
from movescu.storage.index.examination import (
    NOWHERE,
    UNDELIMITED,
    defect_of,
    differ,
    place_in,
    whole_instance_in,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Final

    from movescu.dictionary.uids import TransferSyntax
    from movescu.storage.index.examination import Place
    from movescu.storage.index.index import Index
    from movescu.storage.writer import ObjectFile, OutputDirectory

_log: Final = logger_of("movescu.store")

_GONE: Final = "its file was deleted after it was stored"
_CHANGED: Final = "its file was changed after it was stored"
_TWO: Final = "two different objects have this UID"
_ELSEWHERE: Final = "its file is not the object that the archive lists, but one of another study or series"


class _File(NamedTuple):
    """The file of an object when it was stored or checked; ``state``: hash of size, time of change and inode."""

    path: str
    state: int
    changed: int
    """Time of status change in ns."""
    place: Place


class StoredFile(NamedTuple):
    """The file of a whole object; ``path``: below the output directory. ``size``: bytes."""

    uid: str
    path: str
    size: int


class Ledger:
    """The objects that a run stored in a directory, until they are checked. Safe from any thread.

    ``index``: of the directory. Default: None, without one.
    """

    def __init__(self, directory: OutputDirectory, index: Index | None = None) -> None:
        self._directory = directory
        directory.replaced = {}
        self._index = index
        self._files: dict[str, _File] = {}
        """By SOP instance UID, as the following."""
        self._defects: dict[str, str] = {}
        """Why the stored files are not whole."""
        self._conflicts: set[str] = set()
        """Objects of which two different ones arrived, whichever has the file now."""
        self._relying: dict[str, tuple[int, ...]] = {}
        """Numbers of the entries that ended with the object whole."""
        self.superseded: set[str] = set()
        """Objects of earlier runs that others of their UID have replaced, without an entry that relies on them."""
        self._places: dict[Place, Place] = {}
        """Each place once: many objects share it."""
        self._lock = clock.Lock()

    def examine(
        self,
        file: ObjectFile,
        uid: str,
        syntax: TransferSyntax,
        *,
        parsed: bool,
        undelimited: bool,
        meta: bytes = b"",
    ) -> str:
        """Examine an object before its file gets its name, and return why it is not whole, empty if it is.

        ``parsed``: it was parsed when it was received. ``undelimited``: and its pixel data had no delimiter. ``meta``:
        the file meta that was written. Default: empty, it is decoded. Raise ``DataSetMismatchError`` if it is the
        object of another UID.
        """
        return defect_of(file.fd, uid, syntax, parsed=parsed, meta=meta) or (UNDELIMITED if undelimited else "")

    def kept(self, uid: str, path: str, place: Place = NOWHERE, defect: str = "") -> None:
        """Record the file of an object, a path below the directory.

        ``place``: its study and series. ``defect``: as ``examine`` returns it.
        """
        status = self._directory.status(path)
        replaced = self._directory.replaced
        other = None if replaced is None else replaced.pop(path, None)
        with self._lock:
            if uid not in self._defects and self._is_second(uid, other, path):
                self._conflicts.add(uid)
            elif other is not None and not self._directory.wrote(other):
                self.superseded.add(uid)
            self._files[uid] = self._noted(path, status, place)
            if defect:
                self._defects[uid] = defect
            else:
                self._defects.pop(uid, None)
            whole = not defect and uid not in self._conflicts
        if defect:
            _log.warning("object %s is stored, but incomplete: %s", uid, defect)
        if self._index is not None and whole:
            self._index.add(uid, path)

    def _noted(self, path: str, status: os.stat_result | None, place: Place) -> _File:
        place = self._places.setdefault(place, place)
        return _File(path, 0, 0, place) if status is None else _File(path, _state(status), status.st_ctime_ns, place)

    def _is_second(self, uid: str, replaced: os.stat_result | None, path: str) -> bool:
        """Return True if an object that has got a file is not the one that was here.

        ``replaced``: the file in whose place it is.
        """
        before = self._files.get(uid)
        if before is None:
            return replaced is not None and (self._directory.wrote(replaced) or uid in self._relying)
        if before.path == path:
            return replaced is not None and _state(replaced) == before.state
        status = self._directory.status(before.path)
        return status is not None and _state(status) == before.state and not self._directory.is_same(before.path, path)

    def path(self, uid: str, listed: Place = NOWHERE) -> str | None:
        """Return the path of the whole object, None if the directory is not known to have it.

        ``listed``: the study and series that an object of an earlier run has to be of. Default: any. One that this run
        stored is not requested again: it would replace the object that another entry has.
        """
        with self._lock:
            noted = self._files.get(uid)
            if uid in self._defects or uid in self._conflicts:
                return None
        if self._index is not None:
            return self._index.path(uid, NOWHERE if noted is not None else listed)
        return None if noted is None or self._fault_of(uid, noted) else noted.path

    def is_unchanged(self, uid: str, path: str) -> bool | None:
        """Return True if a file is as it was noted, None if none of this path was noted for the object."""
        with self._lock:
            noted = self._files.get(uid)
        if noted is None or noted.path != path:
            return None
        status = self._directory.status(path)
        return status is not None and _state(status) == noted.state

    def files_of(self, uids: Iterable[str]) -> list[StoredFile]:
        """Return the files of objects; those that are gone are left out."""
        found = []
        for uid in uids:
            with self._lock:
                noted = self._files.get(uid)
            path = noted.path if noted is not None else None if self._index is None else self._index.path(uid)
            status = None if path is None else self._directory.status(path)
            if path is not None and status is not None:
                found.append(StoredFile(uid, path, status.st_size))
        return found

    def check(self, objects: Sequence[Mapping[str, Place]], row: int | None = None) -> list[dict[str, str]]:
        """Return those of each request's objects that are not whole any more, with the reasons.

        ``objects``: where the archive lists them, by SOP instance UID. ``row``: the entry that relies on the others.
        Default: None; they are forgotten.
        """
        found = [{uid: reason for uid, place in one.items() if (reason := self._check(uid, place))} for one in objects]
        first = () if row is None else (row,)
        with self._lock:
            for uid in {uid for one in objects for uid in one}:
                if row is None:
                    self._files.pop(uid, None)
                    self._conflicts.discard(uid)
                elif not any(uid in one for one in found):
                    others = self._relying.get(uid)
                    self._relying[uid] = first if others is None else (*others, row)
        return found

    def _check(self, uid: str, listed: Place) -> str:
        with self._lock:
            noted = self._files.get(uid)
            defect = _TWO if uid in self._conflicts else self._defects.get(uid, "")
        if defect:
            return defect
        if noted is None:
            noted = self._find(uid)
            if noted is None:
                return "" if self._index is None else _GONE
        return self._fault_of(uid, noted) or (_ELSEWHERE if differ(noted.place, listed) else "")

    def _fault_of(self, uid: str, noted: _File) -> str:
        """Return why a file is not the one that was noted, empty if it is."""
        status = self._directory.status(noted.path)
        if status is None:
            return _GONE
        if _state(status) != noted.state:
            return _CHANGED
        if status.st_ctime_ns != noted.changed and self._look(noted.path) != uid:  # perhaps only its owner or mode
            return _CHANGED
        return ""

    def _find(self, uid: str) -> _File | None:
        """Return the file of an object that was not requested because the index has it, None if it is gone."""
        path = None if self._index is None else self._index.path(uid)
        status = None if path is None else self._directory.status(path)
        if path is None or status is None:
            return None
        place = NOWHERE
        if self._directory.wrote(status):  # older ones were compared when they were found (``path``)
            try:
                fd = self._directory.open_file(path)
            except OSError:
                return None
            try:
                place = place_in(fd)
            finally:
                files.close(fd)
        return self._noted(path, status, place)

    def renew(self, uid: str, path: str) -> None:
        """Take a file for that of an object, as it is now, if it has the whole object: others were to change it."""
        status = self._directory.status(path)
        if status is None or self._look(path) != uid:
            return
        self._directory.rely(path, status.st_size)
        with self._lock:
            if (noted := self._files.get(uid)) is not None:
                self._files[uid] = self._noted(path, status, noted.place)
        if self._index is not None:
            self._index.add(uid, path)

    def _look(self, path: str) -> str | None:
        try:
            fd = self._directory.open_file(path)
        except OSError:
            return None
        return whole_instance_in(fd)

    def late(self) -> dict[int, dict[str, str]]:
        """Return the objects that are not what entries relied on any more, with the reasons, by entry."""
        found: dict[int, dict[str, str]] = {}
        with self._lock:
            for uid, reason in (self._defects | dict.fromkeys(self._conflicts, _TWO)).items():
                for row in self._relying.get(uid, ()):
                    found.setdefault(row, {})[uid] = reason
        return found

    def relied_on(self, uid: str) -> bool:
        """Return True if an entry relies on an object."""
        return uid in self._relying


def _state(status: os.stat_result) -> int:
    return hash((status.st_size, status.st_mtime_ns, status.st_ino))
