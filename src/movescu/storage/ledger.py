"""The ledger of an output directory: the objects that a run stored, to be checked before they count as whole.

An object is examined before its file gets its name, unless its pixel data was passed as received; an image without
pixels, which a plain retrieve stores with success, like DCMTK, is stored here too, but not whole: an archive that has
no more of it has lost it. Before a retrieve ends, its objects are compared with the directory: their files are those
that were written, and no two different objects had one name.
"""

from __future__ import annotations

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu.storage import files
from movescu.storage.index.examination import defect_of, study_in, whole_instance_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import Final

    from movescu.dictionary.uids import TransferSyntax
    from movescu.storage.index.index import Index
    from movescu.storage.writer import ObjectFile, OutputDirectory

    _State = tuple[int, int, int]

_log: Final = logger_of("movescu.store")

_GONE: Final = "its file was deleted after it was stored"
_CHANGED: Final = "its file was changed after it was stored"
_TWO: Final = "two different objects have this UID; the second has replaced the first"
_OTHER_STUDY: Final = "two different objects have this UID; the file is that of another study"


class Ledger:
    """The objects that a run stored in a directory, until they are checked. Safe from any thread.

    ``index``: of the directory. Default: None, without one.
    """

    def __init__(self, directory: OutputDirectory, index: Index | None = None) -> None:
        self._directory = directory
        self._index = index
        self._files: dict[str, tuple[str, _State | None, int]] = {}
        """Path, state and time of status change of each object's file, by SOP instance UID."""
        self._defects: dict[str, str] = {}
        """Why objects are not whole, by SOP instance UID."""
        self._studies: dict[str, int] = {}
        """Hash of the study of each object that was checked, without an index."""
        self._lock = clock.Lock()

    def examine(self, file: ObjectFile, uid: str, syntax: TransferSyntax, *, parsed: bool) -> None:
        """Examine an object before its file gets its name. ``parsed``: it was parsed when it was received.

        Raise ``DataSetMismatchError`` if it is the object of another UID.
        """
        defect = defect_of(file.fd, uid, syntax, parsed=parsed)
        with self._lock:
            self._defects.pop(uid, None)
            if defect:
                self._defects[uid] = defect
        if defect:
            _log.warning("object %s is stored, but not whole: %s", uid, defect)

    def kept(self, uid: str, path: str) -> None:
        """Record the file of an object, a path below the directory."""
        status = self._directory.status(path)
        with self._lock:
            self._files[uid] = (
                path,
                None if status is None else _state(status),
                0 if status is None else _changed(status),
            )
            if path in self._directory.conflicts:
                self._directory.conflicts.remove(path)
                self._defects[uid] = _TWO
            defect = self._defects.get(uid)
        if self._index is not None and defect is None:
            self._index.add(uid, path)

    def path(self, uid: str) -> str | None:
        """Return the path of the whole object that the index has, None if it has none."""
        return None if uid in self._defects or self._index is None else self._index.path(uid)

    def check(self, objects: Mapping[str, str]) -> dict[str, str]:
        """Return those of the objects that are not whole any more, with the reasons, and forget the others.

        ``objects``: the study instance UID, empty if unknown, by SOP instance UID.
        """
        return {uid: reason for uid, study in objects.items() if (reason := self._check(uid, study))}

    def _check(self, uid: str, study: str) -> str:
        with self._lock:
            noted = self._files.pop(uid, None)
            defect = self._defects.get(uid, "")
        if defect:
            return defect
        if noted is None:
            return self._check_indexed(uid, study)
        if self._index is None and study:
            self._studies[uid] = hash(study)
        path, state, changed = noted
        status = self._directory.status(path)
        if status is None:
            return _GONE
        if _state(status) != state:
            return _CHANGED
        if _changed(status) != changed and self._look(path) != uid:  # perhaps only its owner or mode
            return _CHANGED
        return ""

    def _check_indexed(self, uid: str, study: str) -> str:
        """Check an object that was left out because the directory had it."""
        if self._index is None:
            return _OTHER_STUDY if study and self._studies.get(uid, hash(study)) != hash(study) else ""
        path = self._index.path(uid)
        if path is None:
            return _GONE
        status = self._directory.status(path)
        if not study or status is None or not self._directory.wrote(status):
            return ""  # archives file old objects in other studies: only those of this run are compared
        try:
            fd = self._directory.open_file(path)
        except OSError:
            return _GONE
        try:
            return _OTHER_STUDY if study_in(fd) not in (study, None) else ""
        finally:
            files.close(fd)

    def _look(self, path: str) -> str | None:
        try:
            fd = self._directory.open_file(path)
        except OSError:
            return None
        return whole_instance_in(fd)


def _state(status: os.stat_result) -> _State:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _changed(status: os.stat_result) -> int:
    return status.st_ctime_ns
