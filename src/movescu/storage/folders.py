"""The folders of a layout below the output directory: made as they are needed, and held open while they are in use.

Each is opened relative to the one above it, and no symbolic link is followed: whatever others put into the directory,
nothing is written outside it. The last few descriptors are kept, so that the next object of a series costs no call of
the system. OS errors pass through: ``writer`` has words for them.
"""

from __future__ import annotations

import contextlib
import os
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KEPT: Final = 64  # folders: of a usual limit of 1024 descriptors, for as many associations as are served at once


class Folder:
    """An open folder; it is closed when nobody has it any more, neither the cache nor a thread."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        """Return the descriptor back."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


class Folders:
    """The folders below one directory. ``flushed``: that each is there is on the disk before it is given."""

    def __init__(self, directory: Folder, *, flushed: bool) -> None:
        self._directory = directory
        self._flushed = flushed
        self._kept: dict[str, Folder] = {}  # by path, the one used last behind
        self._lock = threading.Lock()

    def get(self, path: str) -> Folder:
        """Return a folder, made with those above it if it is not there; parts of the path have ``/`` between them."""
        with self._lock:
            folder = self._kept.pop(path, None) or self._open(path)
            self._kept[path] = folder
            if len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
        return folder

    def forget(self) -> None:
        """Open all of them anew: one was taken away."""
        with self._lock:
            self._kept.clear()

    def _open(self, path: str) -> Folder:
        above = self._directory
        for part in path.split("/"):
            folder = Folder(_open_or_make(part, above.fd))
            if self._flushed:
                os.fsync(above.fd)
            above = folder
        return above


def _open_or_make(name: str, above: int) -> int:
    with contextlib.suppress(FileNotFoundError):
        return os.open(name, _OPEN, dir_fd=above)
    with contextlib.suppress(FileExistsError):  # another process was quicker
        os.mkdir(name, dir_fd=above)
    return os.open(name, _OPEN, dir_fd=above)
