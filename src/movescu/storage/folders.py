"""The folders of a layout, below the output directory: made when needed, and kept open while in use.

Each is opened relative to its parent without following symbolic links: whatever others put into the directory, nothing
is written outside it. The descriptors used last are kept, so that the next object of a series needs no system call.
OS errors pass through; ``writer`` turns them into errors of this package.
"""

from __future__ import annotations

import contextlib
import os

from movescu._runtime import clock
from movescu.storage import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
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
