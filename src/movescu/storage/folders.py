"""The folders of a layout, below the output directory: made when needed, and kept open while in use.

Each is opened relative to its parent without following symbolic links: whatever others put into the directory, nothing
is written outside it. The descriptors used last are kept, so that the next object of a series needs no system call.
OS errors pass through; ``writer`` turns them into errors of this package.

``locked_folder`` and ``flush_folder`` are for any folder, by its path.
"""

from __future__ import annotations

import contextlib
import errno
import stat

from movescu._runtime import clock
from movescu.storage import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

_OPEN: Final = files.READ_DIRECTORY | files.O_NOFOLLOW
_NO_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_NO_RENAMES: Final = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
_KEPT: Final = 64  # open folders: one for each association at a time, far below the usual limit of descriptors


class Folder:
    """An open folder, closed when neither the cache nor a thread refers to it."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        """Close the descriptor."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            files.close(fd)

    def __del__(self) -> None:
        with contextlib.suppress(OSError):  # nothing was written to it
            self.close()


class Folders:
    """The folders below one directory; ``flushed``: the entry of each is on the disk before ``get`` returns it."""

    def __init__(self, directory: Folder, *, flushed: bool) -> None:
        self._directory = directory
        self._flushed = flushed
        self._kept: dict[str, Folder] = {}  # by path, least recently used first
        self._lock = clock.Lock()

    def get(self, path: str) -> Folder:
        """Return the folder of a path with ``/``; it and its parents are made if missing."""
        with self._lock:
            folder = self._kept.pop(path, None) or self._open(path)
            self._kept[path] = folder
            if len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
        return folder

    def forget(self) -> None:
        """Forget all open folders, as one was removed; they are opened again when needed."""
        with self._lock:
            self._kept.clear()

    def _open(self, path: str) -> Folder:
        above = self._directory
        for part in path.split("/"):
            folder = Folder(_open_or_make(part, above.fd))
            if self._flushed:
                files.fsync(above.fd)
            above = folder
        return above


def _open_or_make(name: str, above: int) -> int:
    with contextlib.suppress(FileNotFoundError):
        return files.openat(name, _OPEN, dir_fd=above)
    with contextlib.suppress(FileExistsError):  # another process was faster
        files.mkdir(name, dir_fd=above)
    return files.openat(name, _OPEN, dir_fd=above)


# -- names in an open folder -------------------------------------------------------------------------------------------


def link(temporary: str, directory: int, name: str, where: int) -> bool:
    """Give a file a second name; False if the file system has no links. Raise ``FileExistsError`` if it is taken."""
    try:
        files.link(temporary, name, src_dir_fd=directory, dst_dir_fd=where)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return False
    return True


def rename_new(temporary: str, directory: int, name: str, where: int) -> bool:
    """Rename a file; False if the system cannot do so only to a new name. Raise ``FileExistsError`` if it is taken."""
    function = files.find_rename_new()
    if function is None:
        return False
    try:
        function(temporary, name, directory, where)
    except OSError as error:
        if error.errno not in _NO_RENAMES:
            raise
        return False
    return True


def rename_locked(temporary: str, directory: int, name: str, where: int) -> None:
    """Rename a file to a new name under the lock of the folder, where neither links nor ``rename_new`` can.

    Raise ``FileExistsError`` if it is taken. Other runs take the lock, too: so no name is replaced in between.
    """
    fd = files.openat(".", files.READ_DIRECTORY, dir_fd=where)
    try:
        with contextlib.suppress(OSError):  # the file system has none
            files.flock(fd, files.LOCK_EX)
        if exists(name, where):
            raise FileExistsError(errno.EEXIST, "the name is taken", name)
        files.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=where)
    finally:
        files.close(fd)


def exists(name: str, where: int) -> bool:
    """Return True if anything in an open folder has the name."""
    try:
        files.stat(name, dir_fd=where, follow_symlinks=False)
    except OSError:
        return False
    return True


def is_taken(name: str, where: int, is_other: Callable[[int], bool]) -> bool:
    """Return True if another object, or anything but a file, has the name."""
    try:
        existing = files.openat(name, files.READ_FILE, dir_fd=where)
    except OSError:
        return exists(name, where)
    try:
        return not stat.S_ISREG(files.fstat(existing).st_mode) or is_other(existing)
    finally:
        files.close(existing)


@contextlib.contextmanager
def locked_folder(path: str, *, waiting: bool = True) -> Iterator[None]:
    """Hold the lock of a folder against other processes, where system and file system have one.

    ``waiting``: wait for the one that has it, otherwise raise ``BlockingIOError``. Default: True.
    """
    fd = files.openat(path, files.READ_DIRECTORY)
    try:
        try:
            files.flock(fd, files.LOCK_EX | (0 if waiting else files.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:
            pass  # the file system has none
        yield
    finally:
        files.close(fd)


def flush_folder(path: str) -> None:
    """Flush the names in a folder to the disk, where the system can."""
    fd = files.openat(path, files.READ_DIRECTORY)
    try:
        files.fsync(fd)
    finally:
        files.close(fd)
