"""Objects that another one of their SOP Instance UID has replaced, where several processes store in one directory.

Each process compares the objects that it stores itself. What another one stored under the same name, it replaces
unseen: the standard has no two objects of one UID, but archives do. So once all have ended, the file of each object
that several complete entries have is looked at: an entry has lost the object if the file is of none of its studies, or
if these are unknown.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu.storage import files
from movescu.storage.index.examination import place_in

if TYPE_CHECKING:
    from collections.abc import Collection


REPLACED: Final = "another object of this UID has replaced it"
_UNKNOWN: Final = "another entry has an object of this UID, too, and nothing shows which of them the file belongs to"


class SharedObject(NamedTuple):
    """An object of an entry that another entry has, too.

    ``key``: of the entry in the journal. ``studies``: Study Instance UIDs of the entry, if they were listed. ``path``:
    below the directory.
    """

    key: str
    studies: tuple[str, ...]
    sop_instance_uid: str
    path: str


def loss_of(one: SharedObject, requested: Collection[str], directory: str) -> str:
    """Return why an entry has lost an object, empty if it has it.

    ``requested``: Study Instance UIDs among the entry's keys; they count if the archive listed none.
    """
    study, studies = _study_in(os.path.join(directory, one.path)), one.studies or requested
    if study is None or (study and studies and study not in studies):
        return REPLACED
    return "" if study and studies else _UNKNOWN


def _study_in(path: str) -> str | None:
    """Return the Study Instance UID of a file, empty if it has none, None if there is no such file."""
    try:
        fd = files.openat(path, os.O_RDONLY | files.O_CLOEXEC | files.O_NOFOLLOW | files.O_NONBLOCK)
    except OSError:
        return None
    try:
        return place_in(fd)[0]
    finally:
        files.close(fd)
