"""Examination of the files in an output directory: which object a file contains, and whether it is whole.

A file of this program with its final name is whole; one of DCMTK's may not be, as DCMTK writes under the final name. Of
an object with native pixel data only the head is read, other objects to their end. A file without file meta (PS3.10)
may be in any transfer syntax in which it can be parsed. A data set that was cut between two elements can be parsed to
its end: an image, which has Rows and Columns, is whole only with its pixels (``CONTENT``), and encapsulated pixel data
only with its delimiter, without which fragments may be missing. Of other objects nothing tells a cut between two
elements of the top level. A file with a hole is not whole: nobody writes one, but a loss of power leaves it where a
block had not been written yet, and it reads as zeros, which may be pixels.
"""

from __future__ import annotations

import contextlib
import os
import stat
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from movescu.dataset.encoding import Encoding
from movescu.dataset.fast_path.scanner import Scanner, adapted_head, scanner
from movescu.dataset.file_meta import decode_file_meta
from movescu.dataset.head import read_head
from movescu.dataset.identity import IDENTITY, PLACE, SERIES, STUDY, IdentityReader
from movescu.dataset.parser import NO_DELIMITER
from movescu.dataset.transcoder import Reader
from movescu.dictionary import tags as dictionary
from movescu.dictionary.uids import DEFLATED_LITTLE, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, TRANSFER_SYNTAXES
from movescu.dictionary.vr import PIXEL_DATA, Buffer
from movescu.errors import DataSetError, DataSetMismatchError
from movescu.storage import files

if TYPE_CHECKING:
    from movescu.dataset.fast_path.scan import Found
    from movescu.dictionary.uids import TransferSyntax

INSTANCE: Final = 0x00080018
"""SOP Instance UID."""
_SEEK_HOLE: Final[int | None] = getattr(os, "SEEK_HOLE", None)
_META: Final = 1 << 16  # limit of preamble and file meta, in bytes
_META_GROUP: Final = b"\2\0"
_BLOCK: Final = 1 << 20
_CANONICAL: Final = Encoding()
ROWS: Final = 0x00280010
COLUMNS: Final = 0x00280011
CONTENT: Final = frozenset((PIXEL_DATA, 0x7FE00008, 0x7FE00009, 0x00287FE0, 0x00420011, 0x56000020))
"""Pixel Data, Float and Double Float Pixel Data; and what an object may have in their place: Pixel Data Provider URL,
Encapsulated Document, Spectroscopy Data."""
_NOTED: Final = IDENTITY | {ROWS, COLUMNS} | CONTENT
NO_PIXELS: Final = "an image without pixel data"
UNDELIMITED: Final = "its pixel data ends without a delimiter: fragments may be missing"
_AT_ONCE: Final = 1 << 20  # bytes of a file that is held
_FRAGMENTS: Final = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
_ITEM: Final = Struct("<HHI").unpack_from
Place: TypeAlias = tuple[str, str]
NOWHERE: Final[Place] = ("", "")
"""Study and series instance UIDs of an object of which neither is known."""
_WITHOUT_META: Final = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED_LITTLE)


def instance_in(fd: int, syntax: TransferSyntax) -> str | None:
    """Return the SOP instance UID of the object in an open file, from its head alone; None if that is unreadable.

    ``syntax``: the transfer syntax of a file without file meta.
    """
    try:
        start, (syntax,), uid = _begin(files.pread(fd, _META, 0), (syntax,))
        if uid:
            return uid
        values = read_head(
            lambda position, size: files.pread(fd, size, start + position), syntax, frozenset((INSTANCE,))
        )
    except (DataSetError, OSError):
        return None
    return values.get(INSTANCE)


def place_in(fd: int) -> Place:
    """Return the study and series instance UIDs of the object in an open file, from its head; empty where unknown."""
    values = head_in(fd, PLACE)
    return values.get(STUDY, ""), values.get(SERIES, "")


def fits(path: str, directory: int, place: Place) -> bool:
    """Return False if the object in a file is one of another study or series than ``place``, as far as is known.

    ``path`` is below the open ``directory``.
    """
    if place == NOWHERE:
        return True
    try:
        fd = files.openat(path, files.READ_FILE, dir_fd=directory)
    except OSError:
        return False
    try:
        return not differ(place_in(fd), place)
    finally:
        files.close(fd)


def differ(place: Place, other: Place) -> bool:
    """Return True if study or series are known of both places and are not the same."""
    return any(one and two and one != two for one, two in zip(place, other, strict=True))


def head_in(fd: int, tags: frozenset[int]) -> dict[int, str]:
    """Return values of the object in an open file by tag, from its head; nothing if it cannot be read."""
    with contextlib.suppress(DataSetError, OSError):
        start, syntaxes, _ = _begin(files.pread(fd, _META, 0), _WITHOUT_META)
        for syntax in syntaxes:
            with contextlib.suppress(DataSetError):
                values = read_head(lambda position, size: files.pread(fd, size, start + position), syntax, tags)
                if values:
                    return values
    return {}


def whole_instance(path: str, directory: int) -> str | None:
    """Return the SOP instance UID of the object in a file; None if it has none, or not a whole one.

    ``path`` is below the open ``directory``.
    """
    try:
        fd = files.openat(path, files.READ_FILE, dir_fd=directory)
    except OSError:
        return None
    return whole_instance_in(fd)


def whole_instance_in(fd: int) -> str | None:
    """Return the SOP instance UID of the object in an open file, None as ``whole_instance``, and close the file."""
    try:
        return whole_in(fd)
    finally:
        files.close(fd)


def whole_in(fd: int) -> str | None:
    """Return the SOP instance UID of the object in an open file, None as ``whole_instance``, and leave it open."""
    try:
        status = files.fstat(fd)
        return _whole(fd, status.st_size) if stat.S_ISREG(status.st_mode) else None
    except (DataSetError, OSError):
        return None


def defect_of(fd: int, uid: str, syntax: TransferSyntax, *, parsed: bool, meta: bytes = b"") -> str:
    """Return why an object that was received into an open file is not whole, empty if it is.

    ``syntax``: its transfer syntax. ``parsed``: it was parsed when it was received, and needs not be read to its end.
    ``meta``: the file meta that was written, to be compared instead of decoded. Default: empty, it is decoded.
    Raise ``DataSetMismatchError`` if it is the object of another UID.
    """
    head = files.pread(fd, _META, 0)
    try:
        start = len(meta)
        begins = bool(meta) and head.startswith(meta) and head[start : start + 2] != _META_GROUP
        if not (begins and syntax.uid in TRANSFER_SYNTAXES):
            start, (syntax,), _ = _begin(head, (syntax,))
        found = _walk(fd, files.fstat(fd).st_size, start, head[start:], syntax, shortly=parsed)
    except DataSetError as error:
        return f"its data set cannot be read: {error}"
    if found.sop_instance_uid not in (uid, None):
        raise DataSetMismatchError(f"SOP instance {found.sop_instance_uid} differs from the request's")
    if found.sop_instance_uid is None and not parsed:
        return "its data set has no SOP Instance UID"
    return found.defect


def _whole(fd: int, size: int) -> str | None:
    if _has_hole(fd, size):
        return None
    head = files.pread(fd, _META, 0)
    start, syntaxes, announced = _begin(head, _WITHOUT_META)
    for syntax in syntaxes:
        try:
            found = _walk(fd, size, start, head[start:], syntax)
        except DataSetError:
            continue
        if found.sop_instance_uid and announced in ("", found.sop_instance_uid):
            return None if found.defect else found.sop_instance_uid
    return None


class _Walked(NamedTuple):
    """The data set of a file. ``defect``: why it is not whole, empty if it is."""

    sop_instance_uid: str | None
    defect: str = ""


def _has_hole(fd: int, size: int) -> bool:
    """Return True if blocks of a file were never written; False if the file system cannot tell."""
    with contextlib.suppress(OSError):  # of an empty file, too
        return _SEEK_HOLE is not None and files.lseek(fd, 0, _SEEK_HOLE) < size
    return False


def _begin(data: bytes, without_meta: tuple[TransferSyntax, ...]) -> tuple[int, tuple[TransferSyntax, ...], str]:
    """Return where the data set begins, its possible transfer syntaxes, and the SOP instance UID of the file meta."""
    meta = decode_file_meta(data)
    if meta is None:
        return 0, without_meta, ""
    if meta.transfer_syntax_uid not in TRANSFER_SYNTAXES:
        raise DataSetError(f"the transfer syntax {meta.transfer_syntax_uid} is unknown")
    return meta.length, (TRANSFER_SYNTAXES[meta.transfer_syntax_uid],), meta.sop_instance_uid


def _walk(fd: int, size: int, start: int, head: bytes, syntax: TransferSyntax, *, shortly: bool = False) -> _Walked:
    """Parse a data set to its end. Raise ``DataSetError`` if it is incomplete or invalid.

    ``shortly``: to its pixels, if it has any.
    """
    rest = size - start - len(head)
    if rest and (begun := adapted_head(head, syntax, _CANONICAL)) is not None and begun.missing == rest:
        return _Walked(begun.identity.sop_instance_uid)
    if not rest or (not shortly and size <= _AT_ONCE):
        data = head if not rest else head + files.pread(fd, rest, start + len(head))
        if (found := _scanner(syntax).adapted(data)) is not None:
            noted = [value for tag, (_, value) in found.found.items() if tag in CONTENT]
            if not noted or any(noted) or _has_fragment(data):  # else a long value, or an empty one
                bare = not noted and _is_image(found.found)
                return _Walked(found.identity.sop_instance_uid, NO_PIXELS if bare else "")
    handler = _ContentReader()
    reader = Reader(syntax, handler)
    position = start
    while (block := files.pread(fd, _BLOCK, position)) and not (shortly and handler.content):
        reader.feed(memoryview(block))
        position += len(block)
    if not (shortly and handler.content):
        reader.finish()
    defect = NO_PIXELS if handler.is_image and not handler.content else ""
    if not defect and NO_DELIMITER in reader.parser.oddities:
        defect = UNDELIMITED
    return _Walked(handler.identity().sop_instance_uid, defect)


@dictionary.derived
def _scanners() -> dict[TransferSyntax, Scanner]:
    return {}


def _scanner(syntax: TransferSyntax) -> Scanner:
    """Return the scanner of a transfer syntax; looked up by less than ``scanner`` does, as each object needs one."""
    found = _scanners().get(syntax)
    if found is None:
        found = _scanners()[syntax] = scanner(syntax, _CANONICAL, _NOTED)
    return found


def _has_fragment(data: bytes) -> bool:
    """Return True if a whole data set ends with encapsulated pixel data that has a fragment."""
    position = data.rfind(_FRAGMENTS)
    if position < 0:
        return False
    position += len(_FRAGMENTS)
    for _ in range(2):  # the offset table, the first fragment
        group, element, length = _ITEM(data, position)
        position += 8 + length
    return (group, element) == (0xFFFE, 0xE000) and length > 0


def _is_image(found: Found) -> bool:
    return all(tag in found and any(found[tag][1]) for tag in (ROWS, COLUMNS))


class _ContentReader(IdentityReader):
    """A handler that reads the identity of a data set, and whether it is an image and has its pixels."""

    def __init__(self) -> None:
        super().__init__()
        self._sides: set[int] = set()
        self._fragments = -1  # fragments begun; -1 in an icon
        self.content = False

    @property
    def is_image(self) -> bool:
        """Whether the data set has Rows and Columns, other than 0."""
        return len(self._sides) == 2

    def element(self, tag: int, vr: bytes, value: Buffer, big: bool) -> None:  # noqa: FBT001 - see Handler
        """Record the size and the pixels."""
        super().element(tag, vr, value, big)
        if not self._depth:
            if tag in (ROWS, COLUMNS) and any(value):
                self._sides.add(tag)
            self.content |= tag in CONTENT and len(value) > 0

    def begin(self, tag: int, vr: bytes, length: int, big: bool) -> None:  # noqa: FBT001 - see Handler
        """Record the pixels."""
        super().begin(tag, vr, length, big)
        self.content |= tag in CONTENT and not self._depth

    def begin_fragments(self, tag: int) -> None:  # noqa: ARG002 - pixel data: no other element may be encapsulated
        """Enter encapsulated pixel data, that of an icon perhaps."""
        self._fragments = -1 if self._depth else 0

    def begin_fragment(self, length: int) -> None:
        """Record the pixels: any fragment after the offset table."""
        self.content |= self._fragments > 0 and length > 0
        self._fragments += self._fragments >= 0
