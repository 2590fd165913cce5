"""An object about to be received, and what takes it: what ``services.store`` and those who keep objects agree on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from movescu._runtime.record import Struct
from movescu.storage.file_names import prefix

if TYPE_CHECKING:
    from movescu.dimse.messages import CStoreRQ
    from movescu.ul.negotiation import Context


class ObjectReceiver(Protocol):
    """Takes one object as it comes in."""

    def write(self, *fragments: memoryview) -> None:
        """Take the next bytes of the data set, as they came; borrowed. Raise ``StoreError`` and ``DataSetError``."""

    def finish(self) -> None:
        """Keep the object: it was received whole. Raise ``StoreError`` and ``DataSetError``; nothing is kept then."""

    def discard(self) -> None:
        """Keep nothing of the object."""


class Incoming(Struct):
    """An object about to be received: its request, presentation context, and the title of its sender."""

    request: CStoreRQ
    context: Context
    calling_ae_title: str

    def __init__(self, request: CStoreRQ, context: Context, calling_ae_title: str) -> None:
        self.request = request
        self.context = context
        self.calling_ae_title = calling_ae_title

    @property
    def prefix(self) -> str:
        """The file name prefix of its class."""
        return prefix(self.request.affected_sop_class_uid)
