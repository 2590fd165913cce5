"""How a received object becomes a file, in each mode of the command: what ``services.store`` hands fragments to.

Bit preserving: the bytes go to the file as they come, behind a file meta made from the C-STORE request. Ignoring:
nothing is looked at or kept.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from movescu.dataset.filemeta import encode_file_meta
from movescu.storage.naming import file_name, prefix

if TYPE_CHECKING:
    from collections.abc import Callable

    from movescu.dimse.messages import CStoreRQ
    from movescu.storage.writer import OutputDirectory
    from movescu.ul.negotiation import Context

_log: Final = logging.getLogger("movescu.store")


class ObjectReceiver(Protocol):
    """Takes one object as it comes in."""

    def write(self, fragment: memoryview) -> None:
        """Take the next bytes of the data set; borrowed. Raises ``StoreError`` and ``DataSetError``."""

    def finish(self) -> None:
        """Keep the object: it was received whole. Raises ``StoreError`` and ``DataSetError``; nothing is kept then."""

    def discard(self) -> None:
        """Keep nothing of the object."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """An object about to be received: its request, presentation context, and the title of its sender."""

    request: CStoreRQ
    context: Context
    calling_ae_title: str

    @property
    def prefix(self) -> str:
        """The file name prefix of its class."""
        return prefix(self.request.affected_sop_class_uid)


class IgnoringReceiver:
    """Receives an object and keeps nothing of it (``--ignore``)."""

    def write(self, fragment: memoryview) -> None:
        """Drop the bytes."""

    def finish(self) -> None:
        """Keep nothing."""

    def discard(self) -> None:
        """Keep nothing."""


class FileReceiver:
    """Writes an object into a directory as it comes."""

    __slots__ = ("_directory", "_file", "_meta", "_name")

    def __init__(self, directory: OutputDirectory, incoming: Incoming, *, meta: bytes) -> None:
        request = incoming.request
        self._directory = directory
        self._name = file_name(request.affected_sop_class_uid, request.affected_sop_instance_uid)
        self._meta = meta
        self._file = directory.create()

    def write(self, fragment: memoryview) -> None:
        """Append the bytes, the first of them behind the file meta. Raises ``StoreError``."""
        if self._meta:
            meta, self._meta = self._meta, b""
            self._file.write(meta, fragment)
        else:
            self._file.write(fragment)

    def finish(self) -> None:
        """Give the file its name. Raises ``StoreError``."""
        if self._directory.exists(self._name):
            _log.warning("DICOM file already exists, overwriting: %s", self._directory.full_name(self._name))
        self._file.commit(self._name)
        _log.debug("stored %s", self._name)

    def discard(self) -> None:
        """Remove what was written."""
        self._file.discard()


def _meta(incoming: Incoming) -> bytes:
    """Give preamble and file meta as DCMTK writes them in its default mode: without a source AE title."""
    request = incoming.request
    return encode_file_meta(
        request.affected_sop_class_uid, request.affected_sop_instance_uid, incoming.context.transfer_syntax.uid
    )


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """What becomes of received objects.

    ``directory``: an existing directory. ``ignore``: nothing is kept. ``file_format``: with preamble and file meta.
    """

    directory: str = "."
    ignore: bool = False
    file_format: bool = True


def receiver_factory(
    options: StorageOptions, directory: OutputDirectory | None
) -> Callable[[Incoming], ObjectReceiver]:
    """Give what makes the receiver of each object; without a directory all of them are ignored."""

    def open_receiver(incoming: Incoming) -> ObjectReceiver:
        if directory is None:
            return IgnoringReceiver()
        return FileReceiver(directory, incoming, meta=_meta(incoming) if options.file_format else b"")

    return open_receiver
