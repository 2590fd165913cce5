"""Placement: the folders and the file name of a received object, by a layout.

The values that a layout needs are noted when the data set is parsed. If it was not parsed, as in bit preserving mode,
its head is read back from the whole file; the names are the same. If the layout gives two objects the same path, the
file of the second has its SOP instance UID in its name, with a number if a third object has that name for its own; an
object that is received again has the name it had.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu.dataset.head import companions, find, texts
from movescu.dataset.identity import IDENTITY
from movescu.errors import DataSetError
from movescu.storage.file_names import file_name
from movescu.storage.index.examination import instance_in
from movescu.storage.layout.template import apart
from movescu.storage.naming import Alternative

if TYPE_CHECKING:
    from collections.abc import Iterator

    from movescu.dataset.fast_path.scan import Found
    from movescu.dictionary.uids import TransferSyntax
    from movescu.dimse.messages import CStoreRQ
    from movescu.storage.layout.template import Layout
    from movescu.storage.naming import Naming
    from movescu.storage.writer import ObjectFile

_log: Final = logger_of("movescu.store")

_IN_UTF_8: Final = sys.getfilesystemencoding() == "utf-8"
_KEPT: Final = 64  # folders in the cache: one for each association at a time
_ALTERNATIVES: Final = 9  # names that are tried before an object is refused
_SHORT: Final = 1024  # bytes of the values of a cached folder: a peer may send 64 KiB for each value
_SOP_CLASS_UID: Final = 0x00080016
_SOP_INSTANCE_UID: Final = 0x00080018


class Placing:
    """Names the files of received objects by a layout; ``noted``: the tags of the elements that it needs of each."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.noted = IDENTITY | companions(layout.tags)
        self._folder_tags = tuple(companions(layout.folder_tags) - IDENTITY)
        self._by_instance = _SOP_INSTANCE_UID in layout.folder_tags
        self._name_tags = layout.name_tags - IDENTITY
        self._folders: dict[tuple[object, ...], str] = {}

    def commit(
        self, file: ObjectFile, request: CStoreRQ, syntax: TransferSyntax, found: Found | None
    ) -> tuple[Naming, str]:
        """Give a file its name; return the effect and the path.

        ``syntax``: the transfer syntax of its data set. ``found``: the elements noted, None if it was not parsed. An
        object whose head is unreadable, which only bit preserving mode stores, has its flat name. Raise ``StoreError``
        if the file cannot be stored.
        """
        uid = request.affected_sop_instance_uid
        if found is None:
            try:
                found = find(file.read, syntax, self.noted)
                if _SOP_INSTANCE_UID not in found:
                    raise DataSetError("no SOP Instance UID")  # noqa: TRY301 - handled like an unreadable head
            except DataSetError as error:
                flat = file_name(request.affected_sop_class_uid, uid)
                _log.warning("object %s is stored as %s: its head cannot be read: %s", uid, flat, error)
                return file.commit(flat)
        path = self._path(found, request, big=syntax.big_endian)
        if self._layout.distinct:
            return file.commit(_on_disk(path))

        def others() -> Iterator[str]:  # again from the first one if another run has just taken the name
            return (_on_disk(apart(path, uid, number)) for number in range(1, _ALTERNATIVES + 1))

        return file.commit(_on_disk(path), Alternative(others, lambda fd: instance_in(fd, syntax) != uid))

    def _path(self, found: Found, request: CStoreRQ, *, big: bool) -> str:
        # The UIDs of the request, which are those that are retrieved and counted; in a valid object both are the same.
        class_uid, uid = request.affected_sop_class_uid, request.affected_sop_instance_uid
        identity = {_SOP_CLASS_UID: class_uid, _SOP_INSTANCE_UID: uid}
        # The objects of a series arrive together, with the same bytes in the values of their folder: hence the cache.
        values = tuple(map(found.get, self._folder_tags))
        key = (values, big, class_uid, uid if self._by_instance else "")
        folder = self._folders.get(key)
        if folder is None:
            folder = self._layout.folder(texts(found, self._layout.folder_tags, big=big) | identity)
            if len(self._folders) >= _KEPT:
                self._folders.clear()
            if sum(len(value[1]) for value in values if value) <= _SHORT:
                self._folders[key] = folder
        return folder + self._layout.name(texts(found, self._name_tags, big=big) | identity)


def _on_disk(path: str) -> str:
    """Return a path as the functions of ``os`` take it for a name in UTF-8, whatever the locale."""
    return path if path.isascii() or _IN_UTF_8 else os.fsdecode(path.encode("utf-8", "surrogatepass"))
