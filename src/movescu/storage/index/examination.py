"""Examination of the files in an output directory: which object a file contains, and whether it is whole.

A file of this program with its final name is whole; one of DCMTK's may not be, as DCMTK writes under the final name. Of
an object with native pixel data only the head is read, other objects to their end. A file without file meta (PS3.10)
may be in any transfer syntax in which it can be parsed. A file with a hole is not whole: nobody writes one, but a loss
of power leaves it where a block had not been written yet, and it reads as zeros, which may be pixels.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Final

from movescu.dataset.encoding import Encoding, Identity
from movescu.dataset.fast_path.scan import adapted, adapted_head
from movescu.dataset.file_meta import decode_file_meta
from movescu.dataset.head import read_head
from movescu.dataset.identity import IdentityReader
from movescu.dataset.transcoder import Reader
from movescu.dictionary.uids import DEFLATED_LITTLE, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, TRANSFER_SYNTAXES
from movescu.errors import DataSetError
from movescu.storage import files

if TYPE_CHECKING:
    from movescu.dictionary.uids import TransferSyntax

_SOP_INSTANCE_UID: Final = 0x00080018
_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_SEEK_HOLE: Final[int | None] = getattr(os, "SEEK_HOLE", None)
_META: Final = 1 << 16  # limit of preamble and file meta, in bytes
_BLOCK: Final = 1 << 20
_CANONICAL: Final = Encoding()
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
            lambda position, size: files.pread(fd, size, start + position), syntax, frozenset((_SOP_INSTANCE_UID,))
        )
    except (DataSetError, OSError):
        return None
    return values.get(_SOP_INSTANCE_UID)


def whole_instance(path: str, directory: int) -> str | None:
    """Return the SOP instance UID of the object in a file; None if it has none, or not a whole one.

    ``path`` is below the open ``directory``.
    """
    try:
        fd = files.openat(path, _OPEN, dir_fd=directory)
    except OSError:
        return None
    try:
        status = files.fstat(fd)
        return _whole(fd, status.st_size) if stat.S_ISREG(status.st_mode) else None
    except (DataSetError, OSError):
        return None
    finally:
        files.close(fd)


def _whole(fd: int, size: int) -> str | None:
    if _has_hole(fd, size):
        return None
    head = files.pread(fd, _META, 0)
    start, syntaxes, announced = _begin(head, _WITHOUT_META)
    for syntax in syntaxes:
        try:
            uid = _walk(fd, size, start, head[start:], syntax).sop_instance_uid
        except DataSetError:
            continue
        if uid and announced in ("", uid):
            return uid
    return None


def _has_hole(fd: int, size: int) -> bool:
    """Return True if blocks of a file were never written; False if the file system cannot tell."""
    if not size or _SEEK_HOLE is None:
        return False
    with contextlib.suppress(OSError):
        return files.lseek(fd, 0, _SEEK_HOLE) < size
    return False


def _begin(data: bytes, without_meta: tuple[TransferSyntax, ...]) -> tuple[int, tuple[TransferSyntax, ...], str]:
    """Return where the data set begins, its possible transfer syntaxes, and the SOP instance UID of the file meta."""
    meta = decode_file_meta(data)
    if meta is None:
        return 0, without_meta, ""
    if meta.transfer_syntax_uid not in TRANSFER_SYNTAXES:
        raise DataSetError(f"the transfer syntax {meta.transfer_syntax_uid} is unknown")
    return meta.length, (TRANSFER_SYNTAXES[meta.transfer_syntax_uid],), meta.sop_instance_uid


def _walk(fd: int, size: int, start: int, head: bytes, syntax: TransferSyntax) -> Identity:
    """Parse a data set to its end and return its identity. Raise ``DataSetError`` if it is incomplete or invalid."""
    rest = size - start - len(head)
    if not rest and (found := adapted(head, syntax, _CANONICAL)) is not None:
        return found.identity
    if rest and (begun := adapted_head(head, syntax, _CANONICAL)) is not None and begun.missing == rest:
        return begun.identity
    handler = IdentityReader()
    reader = Reader(syntax, handler)
    position = start
    while block := files.pread(fd, _BLOCK, position):
        reader.feed(memoryview(block))
        position += len(block)
    reader.finish()
    return handler.identity()
