"""Files below a directory where Python cannot open directories (Windows): found by path, never by descriptor.

``files`` has these functions then, in place of those of ``os``. The "descriptor" of a directory is a number of this
module for its path and its status. A file cannot be renamed or removed while it is open there: one that is removed is
removed when it is closed, and ``writer`` closes a file before it is renamed. A directory that is renamed during a
retrieve is no longer found, which is an error and loses nothing.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

O_DIRECTORY: Final = 1 << 28
O_NOFOLLOW: Final = 1 << 29
O_NONBLOCK: Final = 0

LOCK_SH: Final = 1
LOCK_EX: Final = 2
LOCK_NB: Final = 4

_OWN: Final = O_DIRECTORY | O_NOFOLLOW
_BINARY: Final = getattr(os, "O_BINARY", 0)  # without it, Windows would change line ends
_FIRST: Final = 1 << 30  # far above all descriptors

_numbers: Final = itertools.count(_FIRST)
_directories: Final[dict[int, tuple[str, os.stat_result]]] = {}
_open: Final[dict[int, str]] = {}
"""Path of each open file."""
_removed: Final[dict[int, str]] = {}
"""Open files, each with the name that is removed when it is closed."""


def _full(path: str | bytes, directory: int | None) -> str:
    text = os.fsdecode(path)
    return text if directory is None else os.path.join(_path(directory), text)


def _path(directory: int) -> str:
    if directory not in _directories:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return _directories[directory][0]


def openat(path: str | bytes, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    """Open a file, or a directory for reading. As ``os.open``."""
    full = _full(path, dir_fd)
    if flags & O_NOFOLLOW and os.path.islink(full):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), full)
    is_directory = os.path.isdir(full)
    if flags & O_DIRECTORY and os.path.exists(full) and not is_directory:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), full)
    if is_directory and not flags & (os.O_WRONLY | os.O_RDWR):
        number = next(_numbers)
        _directories[number] = os.path.abspath(full), os.stat(full)
        return number
    if os.path.exists(full) and not os.path.isfile(full):  # a pipe would stand still
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), full)
    fd = os.open(full, flags & ~_OWN | _BINARY, mode)
    _open[fd] = full
    return fd


def close(fd: int) -> None:
    """Close a file or directory, and remove a file whose name was removed before. As ``os.close``."""
    if _directories.pop(fd, None) is not None:
        return
    _open.pop(fd, None)
    removed = _removed.pop(fd, "")
    try:
        os.close(fd)
    finally:
        if removed:
            with contextlib.suppress(OSError):
                unlink(removed)  # another thread may have opened it meanwhile


def dup(fd: int) -> int:
    """Return a second descriptor. As ``os.dup``."""
    if fd not in _directories:
        return os.dup(fd)
    number = next(_numbers)
    _directories[number] = _directories[fd]
    return number


def fstat(fd: int) -> os.stat_result:
    """Return the status of an open file, or the one that a directory had when it was opened."""
    return _directories[fd][1] if fd in _directories else os.fstat(fd)


def fsync(fd: int) -> None:
    """Flush a file, even one that is open for reading alone; a directory cannot be flushed."""
    if fd in _directories:
        return
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.EACCES) or fd not in _open:
            raise
        writable = os.open(_open[fd], os.O_RDWR | _BINARY)
        try:
            os.fsync(writable)
        finally:
            os.close(writable)


def stat(path: str | bytes, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
    """Return the status of a file. As ``os.stat``."""
    return os.stat(_full(path, dir_fd), follow_symlinks=follow_symlinks)


def mkdir(path: str | bytes, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
    """Make a directory. As ``os.mkdir``."""
    os.mkdir(_full(path, dir_fd), mode)


def unlink(path: str | bytes, *, dir_fd: int | None = None) -> None:
    """Remove a file, one that we have open as soon as it is closed, by whatever name. As ``os.unlink``."""
    full = _full(path, dir_fd)
    try:
        os.unlink(full)
    except PermissionError:
        users = [fd for fd in tuple(_open) if fd not in _removed and _is_of(fd, full)]
        if not users:
            raise
        _removed[users[-1]] = full
        if users[-1] not in _open:  # closed just before
            _removed.pop(users[-1], None)
            os.unlink(full)


def _is_of(fd: int, path: str) -> bool:
    """Return True if an open file has this name, perhaps beside the one by which it was opened."""
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    return False


def replace(source: str, target: str, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
    """Rename a file that nobody has open. As ``os.replace``."""
    os.replace(_full(source, src_dir_fd), _full(target, dst_dir_fd))


def rename_new(source: str, target: str, src_dir_fd: int, dst_dir_fd: int) -> None:
    """Rename a file to a name that must be new, as ``os.rename`` does on Windows. Raise ``FileExistsError``."""
    full = _full(target, dst_dir_fd)
    if os.path.lexists(full):  # elsewhere, it would be replaced
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), full)
    os.rename(_full(source, src_dir_fd), full)


def link(source: str, target: str, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
    """Give a file a second name. As ``os.link``."""
    os.link(_full(source, src_dir_fd), _full(target, dst_dir_fd))


def listdir(path: str | int) -> list[str]:
    """Return the names in a directory. As ``os.listdir``."""
    return os.listdir(_path(path) if isinstance(path, int) else path)


def scandir(path: str | int) -> contextlib.AbstractContextManager[object]:
    """Return the entries of a directory. As ``os.scandir``."""
    return os.scandir(_path(path) if isinstance(path, int) else path)


def pread(fd: int, size: int, position: int) -> bytes:
    """Read at a position. As ``os.pread``."""
    before = os.lseek(fd, 0, os.SEEK_CUR)
    try:
        os.lseek(fd, position, os.SEEK_SET)
        return os.read(fd, size)
    finally:
        os.lseek(fd, before, os.SEEK_SET)


def pwrite(fd: int, data: bytes | memoryview, position: int) -> int:
    """Write at a position. As ``os.pwrite``."""
    before = os.lseek(fd, 0, os.SEEK_CUR)
    try:
        os.lseek(fd, position, os.SEEK_SET)
        return os.write(fd, data)
    finally:
        os.lseek(fd, before, os.SEEK_SET)


def writev(fd: int, buffers: Sequence[bytes | bytearray | memoryview]) -> int:
    """Write several buffers. As ``os.writev``."""
    return os.write(fd, b"".join(buffers))


def flock(fd: int, operation: int) -> None:
    """Raise ``OSError``, as ``fcntl.flock`` does on a file system without locks."""
    raise OSError(errno.ENOTSUP, f"no lock {operation} on descriptor {fd}: the system has none")
