"""The name of a received object's file: what becomes of a file that has it already.

A file with the same content is kept. One with other content is replaced, unless it is that of a whole object and the
new one is not: an object that was cut on its way must not destroy what an earlier run has stored. If the name is that
of another object, which only a layout makes possible, an alternative name is taken.
"""

from __future__ import annotations

import itertools
from enum import Enum, auto

from movescu._runtime.record import Record
from movescu.errors import DataSetError, StoreError
from movescu.storage import files
from movescu.storage.folders import Folder, is_taken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Final

_BLOCK: Final = 1 << 20


class Naming(Enum):
    """Effect of a commit on the name of the file."""

    CREATED = auto()
    REPLACED = auto()
    SAME = auto()
    """A file of that name had the same content already, and was kept."""


class Alternative(Record):
    """The names of a file whose own name another object has.

    ``paths``: called for paths in the same folder; the first that no other object has is taken. ``is_other``: called
    with the descriptor of the file that has a name; True if it is another object.
    """

    paths: Callable[[], Iterable[str]]
    is_other: Callable[[int], bool]


def last_part(path: str) -> str:
    """Return the name of a file from its path."""
    return path.rpartition("/")[2]


def untaken(path: str, folder: Folder, alternative: Alternative) -> str:
    """Return the first path that no other object has. Raise ``StoreError`` if there is none."""
    for candidate in itertools.chain((path,), alternative.paths()):
        if not is_taken(last_part(candidate), folder.fd, alternative.is_other):
            return candidate
    raise StoreError(
        f"cannot write {path!r}: other objects have its name and every alternative",
        hint="use a layout with {SOPInstanceUID}, or remove files of incomplete objects",
    )


def check_name(path: str, where: int) -> None:
    """Raise ``DataSetError`` if the file of a name has another one, that differs in case alone.

    On Windows and macOS, file systems regard both as one name. Valid UIDs have no letters: no name is read for them.
    """
    name = last_part(path)
    uid = name.partition(".")[2].removesuffix(".dcm")
    if uid.lower() != uid.upper() and name not in files.listdir(where):
        raise DataSetError(
            f"this file system does not distinguish its name {name!r} from that of another object",
            hint="store it in another directory, or on a file system that distinguishes upper and lower case",
        )


def check_replacement(existing: int, new: int, path: str) -> None:
    """Raise ``DataSetError`` if a file is that of a whole object, and the one to replace it is not."""
    from movescu.storage.index.examination import whole_in  # late: needed to replace alone

    if whole_in(existing) is not None and whole_in(new) is None:
        raise DataSetError(
            f"the object is incomplete, and {path!r} has a complete copy: that file is kept",
            hint="delete the file if this object is to be stored in its place",
        )


def has_same_content(existing: int, new: int) -> bool:
    """Return True if two open files have the same content."""
    size = files.fstat(existing).st_size
    if size != files.fstat(new).st_size:
        return False
    for position in range(0, size, _BLOCK):
        if files.pread(existing, _BLOCK, position) != files.pread(new, _BLOCK, position):
            return False
    return True
