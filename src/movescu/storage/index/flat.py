"""The index of a directory in the flat layout, where a file's name has the UID of its object.

The prefix of the name is that of a SOP class, of which a retrieve knows nothing before it has the object; so all
prefixes are tried, the last successful one first. The names of a large directory are not read for a few objects: each
object that is not found pays for some of them, until all are known and no name has to be tried any more.
"""

from __future__ import annotations

import contextlib
import stat
from itertools import islice
from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu.dictionary.uids import storage_classes
from movescu.storage import files
from movescu.storage.file_names import UNKNOWN_PREFIX, file_name
from movescu.storage.index.examination import NOWHERE, fits, whole_instance

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from movescu.storage.index.examination import Place

    _State = tuple[int, int, int, int]

_AT_ONCE: Final = 128  # names that are read for an object that is not found


class FlatIndex:
    """The index of a directory in the flat layout. Owns the descriptor of the directory. See ``open_index``."""

    def __init__(self, directory: int, rely: Callable[[str, int], None], doubted: Callable[[int], bool]) -> None:
        self._directory = directory
        self._rely, self._doubted = rely, doubted
        self._prefixes = list(dict.fromkeys((*(one.prefix for one in storage_classes().values()), UNKNOWN_PREFIX)))
        self._listing: Generator[str, None, None] | None = _names_in(directory)
        self._searching = clock.Lock()  # to read names, and to change the order of the prefixes
        self._names: dict[str, list[str]] = {}
        """Names read so far, by the part after the prefix."""
        self._known: dict[str, tuple[str, _State | None] | None] = {}
        """Name and state of the file by SOP instance UID; None for an object that is not whole here."""

    def whole(self, sop_instance_uid: str) -> bool:
        """Return True if the directory has the whole object."""
        return self.path(sop_instance_uid) is not None

    def path(self, sop_instance_uid: str, place: Place = NOWHERE) -> str | None:
        """Return the name of the file with the whole object, None if it is of another study or series than ``place``.

        It is examined again only if it has changed.
        """
        name = self._path(sop_instance_uid)
        return name if name is not None and fits(name, self._directory, place) else None

    def _path(self, sop_instance_uid: str) -> str | None:
        known = self._known.get(sop_instance_uid)
        if known is not None:
            name, noted = known
            state = self._state(name)
            if state is not None and state == noted:
                return name
            if state is not None and noted is not None and state[0] < noted[0]:  # cut since, even if it can be parsed
                return None
        elif sop_instance_uid in self._known:
            return None
        self._known[sop_instance_uid] = found = self._find(sop_instance_uid)
        return None if found is None else found[0]

    def _find(self, uid: str) -> tuple[str, _State] | None:
        with self._searching:
            candidates = tuple(self._candidates(file_name("", uid).partition(".")[2]))
        for name in candidates:
            state = self._state(name)
            if state is None or self._doubted(state[1]):
                continue
            if whole_instance(name, self._directory) == uid:
                self._rely(name, state[0])
                return name, state
        return None

    def _candidates(self, ending: str) -> Iterator[str]:
        """Yield the names that the file of an object may have."""
        if self._listing is not None:
            for number, prefix in enumerate(self._prefixes):
                name = f"{prefix}.{ending}"
                if self._state(name) is not None:
                    self._prefixes.insert(0, self._prefixes.pop(number))
                    yield name
                    return
            self._read()
        yield from self._names.get(ending, ())

    def _read(self) -> None:
        """Read some more names of the directory."""
        assert self._listing is not None  # else all are read
        names = list(islice(self._listing, _AT_ONCE))
        for name in names:
            if not name.startswith("."):
                self._names.setdefault(name.partition(".")[2], []).append(name)
        if len(names) < _AT_ONCE:
            self._listing = None

    def _state(self, name: str) -> _State | None:
        with contextlib.suppress(OSError):
            status = files.stat(name, dir_fd=self._directory, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
        return None

    def add(self, sop_instance_uid: str, path: str) -> None:
        """Add an object."""
        self._known[sop_instance_uid] = path, self._state(path)

    def begin_flush(self) -> None:
        """Do nothing: this index is not saved."""

    def flushed(self, batch: object = None) -> None:
        """Do nothing: this index is not saved."""

    def save(self) -> None:
        """Do nothing: this index is not saved."""

    def close(self) -> None:
        """Close the descriptor."""
        if self._listing is not None:
            self._listing.close()
        files.close(self._directory)


def _names_in(directory: int) -> Generator[str, None, None]:
    with files.scandir(directory) as entries:
        for entry in entries:
            yield entry.name
