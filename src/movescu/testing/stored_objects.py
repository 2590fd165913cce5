"""The objects of the test archive: their attributes for queries, and the place of their bytes.

An object is a file of PS3.10, or the bytes of a received one in memory. pydicom reads the header, without the pixel
data. Values are kept as the bytes of the data set. ``query`` knows which attributes belong to which level, and matches
them.
"""

from __future__ import annotations

import mmap
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from movescu._runtime import clock
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
_HEAD: Final = 64 * 1024  # bytes; preamble and file meta information have to end within them
_MAPPED_FROM: Final = 1 << 20  # bytes; reading a smaller file is faster than mapping it


@dataclass(frozen=True, slots=True)
class Entry:
    """An object of the archive.

    ``values``: the bytes of its attributes by tag. ``source``: a file, or the bytes of one; the data set begins at
    ``offset``.
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
        """Return the value of an attribute as text, without padding; an empty text if there is none."""
        return self.values.get(tag, b"").decode("latin-1").strip("\0 ")

    def data_set(self) -> memoryview:
        """Return the data set's bytes as stored; a large file is mapped. Raise ``OSError`` if it cannot be read."""
        if isinstance(self.source, bytes):
            return memoryview(self.source)[self.offset :]
        with self.source.open("rb") as file:
            size = file.seek(0, 2)
            if size >= _MAPPED_FROM:
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))[self.offset :]
            file.seek(self.offset)
            return memoryview(file.read())


class StoredObjects:
    """The objects of an archive by SOP instance UID, with the attributes ``tags``. Safe in any thread."""

    def __init__(self, tags: Iterable[int]) -> None:
        self._tags = sorted({*tags, *_UIDS, SPECIFIC_CHARACTER_SET})
        self._entries: dict[str, Entry] = {}
        self._studies: dict[str, dict[str, Entry]] = {}
        self._lock = clock.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self, studies: Iterable[str] = ()) -> tuple[Entry, ...]:
        """Return the objects of some studies, in order of arrival. Default: all objects."""
        with self._lock:
            wanted = tuple(studies)
            if not wanted:
                return tuple(self._entries.values())
            return tuple(entry for uid in dict.fromkeys(wanted) for entry in self._studies.get(uid, {}).values())

    def add_folder(self, folder: Path) -> None:
        """Add every DICOM file of a folder and its subfolders, in order of their names.

        Files that are not DICOM, or lack SOP class, SOP instance, series or study UID, are skipped. Of several files
        with one SOP instance UID the first is used. Raise ``UsageError`` if there is no such folder.
        """
        if not folder.is_dir():
            raise UsageError(f"there is no folder {str(folder)!r}")
        for path in sorted(folder.rglob("*")):
            if path.is_file() and (entry := self._read(path)) is not None:
                with self._lock:
                    if entry.sop_instance_uid not in self._entries:
                        self._put(entry)

    def add(self, source: Path | bytes) -> None:
        """Add one object, or replace the one with its SOP instance UID. Raise ``DataSetError`` if it lacks a UID."""
        entry = self._read(source)
        if entry is None:
            raise DataSetError("not a DICOM file with SOP class, SOP instance, series and study UID")
        with self._lock:
            self._put(entry)

    def add_all(self, other: StoredObjects) -> None:
        """Add the objects of another archive, without reading them again."""
        for entry in other.entries():
            with self._lock:
                self._put(entry)

    def _put(self, entry: Entry) -> None:
        uid = entry.sop_instance_uid
        if (replaced := self._entries.get(uid)) is not None:
            del self._studies[replaced.text(STUDY_INSTANCE_UID)][uid]
        self._entries[uid] = entry
        self._studies.setdefault(entry.text(STUDY_INSTANCE_UID), {})[uid] = entry

    def _read(self, source: Path | bytes) -> Entry | None:
        try:
            meta = decode_file_meta(_head(source))
            if meta is None or meta.transfer_syntax_uid not in TRANSFER_SYNTAXES:
                return None
            values = _read_values(source, self._tags)
        except (DataSetError, OSError) as error:
            _log.info("skipped %s: %s", source if isinstance(source, Path) else "an object", error)
            return None
        entry = Entry(values, TRANSFER_SYNTAXES[meta.transfer_syntax_uid], source, meta.length)
        return entry if all(entry.text(tag) for tag in _UIDS) else None


def _head(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source[:_HEAD]
    with source.open("rb") as file:
        return file.read(_HEAD)


def _read_values(source: Path | bytes, tags: list[int]) -> dict[int, bytes]:
    """Return the values of a header. Raise ``DataSetError`` if it cannot be parsed, and ``OSError``."""
    import pydicom  # slow to load, and needed only once an archive starts

    file = BytesIO(source) if isinstance(source, bytes) else source
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # test data has odd values on purpose
        try:
            dataset = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags)
        except OSError:
            raise
        except Exception as error:  # pydicom passes on any exception that a broken file causes
            raise DataSetError(f"the header cannot be read: {error}") from error
        return {tag: _raw(dataset.get_item(tag)) for tag in tags if tag in dataset}


def _raw(element: Any) -> bytes:  # noqa: ANN401 - a RawDataElement of pydicom, or a DataElement where it was decoded
    value = element.value
    if value is None or isinstance(value, bytes):
        return value or b""
    text = value if isinstance(value, str) else "\\".join(map(str, value))
    data = text.encode("latin-1", "replace")
    return data + b" " * (len(data) & 1)
