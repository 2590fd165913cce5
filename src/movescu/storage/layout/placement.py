"""Where a received object goes by a layout: its folders, and its name.

What a layout takes is noted when the data set is walked on its way to the file. Of what was not walked, such as an
object in bit preserving mode, the head is read back from the file when that is whole. Both give the same names. Where
the layout itself does not keep objects apart, the one that comes second to a name has its SOP instance UID in its own;
an object that comes again has its old name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu.dataset.head import companions, find, texts
from movescu.dataset.identity import IDENTITY
from movescu.errors import DataSetError
from movescu.storage.file_names import file_name
from movescu.storage.index.examination import instance_in
from movescu.storage.layout.template import apart
from movescu.storage.writer import Alternative

if TYPE_CHECKING:
    from movescu.dataset.fast_path.scan import Found
    from movescu.dictionary.uids import TransferSyntax
    from movescu.dimse.messages import CStoreRQ
    from movescu.storage.layout.template import Layout
    from movescu.storage.writer import Naming, ObjectFile

_log: Final = logger_of("movescu.store")

_KEPT: Final = 64  # folders: those that come by turns, in as many associations as are served at once
_SHORT: Final = 1024  # bytes of the values for which folders are kept: a peer may send 64 KiB for each
_SOP_CLASS_UID: Final = 0x00080016
_SOP_INSTANCE_UID: Final = 0x00080018


class Placing:
    """Names the files of received objects by a layout. ``noted``: the tags of what it wants to know of each."""

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
        """Return a file its name. Gives what became of it, and the path; ``syntax`` is that of the data set in it.

        ``found``: what was noted of it, None if it was not walked. An object whose head cannot be read, as bit
        preserving mode stores them, has its flat name. Raise ``StoreError``.
        """
        uid = request.affected_sop_instance_uid
        if found is None:
            try:
                found = find(file.read, syntax, self.noted)
                if _SOP_INSTANCE_UID not in found:
                    raise DataSetError("it has no SOP Instance UID")  # noqa: TRY301 - it is no head of an object
            except DataSetError as error:
                flat = file_name(request.affected_sop_class_uid, uid)
                _log.warning("the head of SOP instance %s cannot be read, it is stored as %s: %s", uid, flat, error)
                return file.commit(flat)
        path = self._path(found, request, big=syntax.big_endian)
        if self._layout.distinct:
            return file.commit(path)
        return file.commit(path, Alternative(apart(path, uid), lambda fd: instance_in(fd, syntax) != uid))

    def _path(self, found: Found, request: CStoreRQ, *, big: bool) -> str:
        # What is asked for and counted is what the request says; in a sound object both are the same.
        class_uid, uid = request.affected_sop_class_uid, request.affected_sop_instance_uid
        identity = {_SOP_CLASS_UID: class_uid, _SOP_INSTANCE_UID: uid}
        # The objects of a series come together, and what is in one folder has the same bytes there: 3 us, not 7 to 11.
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
