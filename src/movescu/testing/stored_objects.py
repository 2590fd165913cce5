"""What the test archive has: its objects, the attributes of them that can be asked for, and where their bytes are.

An object is a file of PS3.10, or one that was received and is held in memory. Headers are read with pydicom, pixel
data is not. Which attributes belong to which level, and how they are matched, is ``query``'s; values are kept as the
bytes of the data set.
"""

from __future__ import annotations

import mmap
import threading
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from movescu._runtime.late_log import logger_of
from movescu.dataset.file_meta import decode_file_meta
from movescu.dictionary.uids import TRANSFER_SYNTAXES
from movescu.errors import DataSetError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from movescu.dictionary.uids import TransferSyntax

_log: Final = logger_of("movescu.testing")

SPECIFIC_CHARACTER_SET: Final = 0x00080005
SOP_CLASS_UID: Final = 0x00080016
SOP_INSTANCE_UID: Final = 0x00080018
STUDY_INSTANCE_UID: Final = 0x0020000D
SERIES_INSTANCE_UID: Final = 0x0020000E

_UIDS: Final = (SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID)
_HEAD: Final = 64 * 1024  # bytes in which preamble and file meta information have to end
_MAPPED_FROM: Final = 1 << 20  # bytes; what is smaller is read, which is quicker


@dataclass(frozen=True, slots=True)
class Entry:
    """An object of the archive.

    ``values``: bytes of its attributes by tag. ``source``: a file, or the bytes of one; ``offset`` is where in it the
    data set begins.
    """

    values: Mapping[int, bytes]
    transfer_syntax: TransferSyntax
    source: Path | bytes
    offset: int

    @property
    def sop_class_uid(self) -> str:
        """SOP Class UID (0008,0016)."""
        return self.text(SOP_CLASS_UID)

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID (0008,0018)."""
        return self.text(SOP_INSTANCE_UID)

    def text(self, tag: int) -> str:
        """Give the value of an attribute as text, without padding; empty if there is none."""
        return self.values.get(tag, b"").decode("latin-1").strip("\0 ")

    def data_set(self) -> memoryview:
        """Give the bytes of the data set as they are stored; a large file is mapped, not read. Raises ``OSError``."""
        if isinstance(self.source, bytes):
            return memoryview(self.source)[self.offset :]
        with self.source.open("rb") as file:
            size = file.seek(0, 2)
            if size >= _MAPPED_FROM:
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))[self.offset :]
            file.seek(self.offset)
            return memoryview(file.read())


class StoredObjects:
    """The objects of an archive by SOP instance UID; ``tags`` are the attributes that are kept. Safe in any thread."""

    def __init__(self, tags: Iterable[int]) -> None:
        self._tags = sorted({*tags, *_UIDS, SPECIFIC_CHARACTER_SET})
        self._entries: dict[str, Entry] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> tuple[Entry, ...]:
        """Give all objects, in the order in which they came."""
        with self._lock:
            return tuple(self._entries.values())

    def add_folder(self, folder: Path) -> None:
        """Take every DICOM file in a folder and those below it, in order of their names.

        What is no DICOM file with SOP class, SOP instance, series and study UID is passed over. Of several files of one
        SOP instance the first counts.
        """
        if not folder.is_dir():
            raise UsageError(f"there is no folder {str(folder)!r}")
        for path in sorted(folder.rglob("*")):
            if path.is_file() and (entry := self._read(path)) is not None:
                with self._lock:
                    self._entries.setdefault(entry.sop_instance_uid, entry)

    def add(self, source: Path | bytes) -> None:
        """Take one object, in place of the one that has its SOP instance UID. Raises ``DataSetError``."""
        entry = self._read(source)
        if entry is None:
            raise DataSetError("not a DICOM file with SOP class, SOP instance, series and study UID")
        with self._lock:
            self._entries[entry.sop_instance_uid] = entry

    def _read(self, source: Path | bytes) -> Entry | None:
        try:
            meta = decode_file_meta(_head(source))
            if meta is None or meta.transfer_syntax_uid not in TRANSFER_SYNTAXES:
                return None
            values = _read_values(source, self._tags)
        except (DataSetError, OSError) as error:
            _log.info("%s is passed over: %s", source if isinstance(source, Path) else "an object", error)
            return None
        entry = Entry(values, TRANSFER_SYNTAXES[meta.transfer_syntax_uid], source, meta.length)
        return entry if all(entry.text(tag) for tag in _UIDS) else None


def _head(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source[:_HEAD]
    with source.open("rb") as file:
        return file.read(_HEAD)


def _read_values(source: Path | bytes, tags: list[int]) -> dict[int, bytes]:
    """Read the header. Raises ``DataSetError`` and ``OSError``."""
    import pydicom  # 200 ms that a program does without until it starts an archive

    file = BytesIO(source) if isinstance(source, bytes) else source
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd values are what test data is for
        try:
            dataset = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags)
        except OSError:
            raise
        except Exception as error:  # pydicom lets through whatever a broken file makes Python raise
            raise DataSetError(f"the header cannot be read: {error}") from error
        return {tag: _raw(dataset.get_item(tag)) for tag in tags if tag in dataset}


def _raw(element: Any) -> bytes:  # noqa: ANN401 - a RawDataElement of pydicom, or a DataElement where it was decoded
    value = element.value
    if value is None or isinstance(value, bytes):
        return value or b""
    text = value if isinstance(value, str) else "\\".join(map(str, value))
    data = text.encode("latin-1", "replace")
    return data + b" " * (len(data) & 1)
