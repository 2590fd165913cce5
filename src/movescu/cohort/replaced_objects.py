"""Objects that another one of their SOP Instance UID has replaced, where several processes store in one directory.

Each process compares the objects that it stores itself. What another one stored under the same name, it replaces
unseen: the standard has no two objects of one UID, but archives do. So once all have ended, the file of each object
that several complete entries have is looked at: an entry has lost the object if the file is of none of its studies, or
if these are unknown. So is the file of every object if other runs used the journal meanwhile, which may not have ended
their entries yet. A file that is gone, or has another object, was moved or changed by the user.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu.dataset.identity import STUDY
from movescu.storage import files
from movescu.storage.index.examination import INSTANCE, head_in

if TYPE_CHECKING:
    from collections.abc import Collection

_PLACE: Final = frozenset((INSTANCE, STUDY))
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
    values, studies = _head_of(one, directory), one.studies or requested
    if values is None:
        return REPLACED
    study = values.get(STUDY, "")
    if study and studies and study not in studies:
        return REPLACED
    return "" if study and studies else _UNKNOWN


def has_another(one: SharedObject, requested: Collection[str], directory: str) -> bool:
    """Return True if the file of an object has one of the same UID that is of none of the entry's studies."""
    values, studies = _head_of(one, directory) or {}, one.studies or requested
    if values.get(INSTANCE) != one.sop_instance_uid or not studies:
        return False
    return bool(values.get(STUDY)) and values[STUDY] not in studies


def _head_of(one: SharedObject, directory: str) -> dict[int, str] | None:
    """Return SOP and Study Instance UID of an object's file by tag, as far as it has them; None without a file."""
    try:
        fd = files.openat(os.path.join(directory, one.path), files.READ_FILE)
    except OSError:
        return None
    try:
        return head_in(fd, _PLACE)
    finally:
        files.close(fd)
