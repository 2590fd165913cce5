"""Where a received object goes by a layout: its folders, and its name.

What a layout takes is read from the head of the data set as it was written, when the file is whole: nothing of an
object is held for it, and names are made of what the file says. Where the layout itself does not keep objects apart,
the one that comes second to a name has its SOP instance UID in its own; an object that comes again has its old name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu.dataset.head import read_head
from movescu.errors import DataSetError
from movescu.late_log import logger_of
from movescu.storage.examining import instance_in
from movescu.storage.layout import apart
from movescu.storage.naming import file_name
from movescu.storage.writer import Alternative

if TYPE_CHECKING:
    from movescu.dimse.messages import CStoreRQ
    from movescu.storage.layout import Layout
    from movescu.storage.writer import ObjectFile, Outcome
    from movescu.uids import TransferSyntax

_log: Final = logger_of("movescu.store")

_SOP_CLASS_UID: Final = 0x00080016
_SOP_INSTANCE_UID: Final = 0x00080018


class Placing:
    """Names the files of received objects by a layout."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._tags = layout.tags | {_SOP_INSTANCE_UID}

    def commit(self, file: ObjectFile, request: CStoreRQ, syntax: TransferSyntax) -> tuple[Outcome, str]:
        """Give a file its name. Gives what became of it, and the path; ``syntax`` is that of the data set in it.

        An object whose head cannot be read, as bit preserving mode stores them, has its flat name. Raises
        ``StoreError``.
        """
        layout, uid = self._layout, request.affected_sop_instance_uid
        try:
            values = read_head(file.read, syntax, self._tags)
            if _SOP_INSTANCE_UID not in values:
                raise DataSetError("it has no SOP Instance UID")  # noqa: TRY301 - it is no head of an object
        except DataSetError as error:
            flat = file_name(request.affected_sop_class_uid, uid)
            _log.warning("the head of SOP instance %s cannot be read, it is stored as %s: %s", uid, flat, error)
            return file.commit(flat)
        # What is asked for and counted is what the request says; in a sound object both are the same.
        values |= {_SOP_CLASS_UID: request.affected_sop_class_uid, _SOP_INSTANCE_UID: uid}
        path = layout.path(values)
        if layout.distinct:
            return file.commit(path)
        return file.commit(path, Alternative(apart(path, uid), lambda fd: instance_in(fd, syntax) != uid))
