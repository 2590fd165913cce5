"""An incoming object and its receiver: the interface between ``services.store`` and the storage of objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from movescu._runtime.record import Struct
from movescu.storage.file_names import prefix

if TYPE_CHECKING:
    from movescu.dimse.messages import CStoreRQ
    from movescu.ul.negotiation import Context


class ObjectReceiver(Protocol):
    """Receiver of one object."""

    def write(self, *fragments: memoryview) -> None:
        """Add the next bytes of the data set, which are borrowed.

        Raise ``StoreError`` if they cannot be stored, ``DataSetError`` if they are not a data set.
        """

    def finish(self) -> None:
        """Store the object, which was received whole.

        Raise ``StoreError`` if it cannot be stored, ``DataSetError`` if it is not valid; nothing is kept then.
        """

    def discard(self) -> None:
        """Remove everything that was stored of the object."""


class Incoming(Struct):
    """An object about to be received: its request, its presentation context, and its sender's AE title.

    ``uid_has_blanks``: the request's SOP instance UID had blanks, which were removed. Default: False. ``place``: Study
    and Series Instance UID of its data set. Default: none, they were not read.
    """

    request: CStoreRQ
    context: Context
    calling_ae_title: str
    uid_has_blanks: bool = False
    place: frozenset[str] = frozenset()

    def __init__(
        self, request: CStoreRQ, context: Context, calling_ae_title: str, *, uid_has_blanks: bool = False
    ) -> None:
        self.request = request
        self.context = context
        self.calling_ae_title = calling_ae_title
        self.uid_has_blanks = uid_has_blanks
        self.place = frozenset()

    @property
    def sop_class_uid(self) -> str:
        """Its SOP class."""
        return self.request.affected_sop_class_uid

    @property
    def sop_instance_uid(self) -> str:
        """Its SOP instance."""
        return self.request.affected_sop_instance_uid

    @property
    def transfer_syntax_uid(self) -> str:
        """The transfer syntax of its data set."""
        return self.context.transfer_syntax.uid

    @property
    def prefix(self) -> str:
        """The file name prefix of its SOP class."""
        return prefix(self.request.affected_sop_class_uid)
