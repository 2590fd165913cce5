"""States of files and folders below an open directory, by which the index tells whether they were changed.

And what the index has not saved yet: objects that were added, and changes that a comparison found.
"""

from __future__ import annotations

import contextlib
import stat
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from movescu._runtime import clock
from movescu.storage import files

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

FileState: TypeAlias = tuple[int, int, int, int, int]
"""Size, time of change and of status change in ns, inode, checksum of the first bytes."""

FileRow: TypeAlias = tuple[bytes, bytes, str, FileState]
"""Folder, name, SOP instance UID and state of a file."""

_START: Final = 4096  # bytes of a file that the checksum covers
_SETTLED: Final = 2_000_000_000  # ns after which a further change has another time on every file system


def file_state(path: str, directory: int) -> FileState | None:
    """Return the state of a file, None if there is none."""
    try:
        fd = files.openat(path, files.READ_FILE, dir_fd=directory)
    except OSError:
        return None
    try:
        return *state_of(files.fstat(fd)), zlib.crc32(files.pread(fd, _START, 0))
    except OSError:  # of a folder or a pipe, too
        return None
    finally:
        files.close(fd)


def folder_state(folder: bytes, directory: int) -> tuple[int, int] | None:
    """Return time of change in ns and inode of a folder, None if there is none."""
    try:
        status = files.stat(folder[:-1] or b".", dir_fd=directory, follow_symlinks=False)
    except OSError:
        return None
    return (status.st_mtime_ns, _signed(status.st_ino)) if stat.S_ISDIR(status.st_mode) else None


@contextlib.contextmanager
def scan(folder: str, directory: int) -> Iterator[Iterator[os.DirEntry[str]]]:
    """List a folder below an open directory; a link that has replaced it is not followed."""
    flags = files.READ_DIRECTORY | files.O_NOFOLLOW
    fd = files.openat(folder or ".", flags, dir_fd=directory)
    try:
        with files.scandir(fd) as entries:
            yield entries
    finally:
        files.close(fd)


def state_of(status: os.stat_result) -> tuple[int, int, int, int]:
    """Return the state of a file, without the checksum."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, _signed(status.st_ino)


def _signed(inode: int) -> int:
    """Return the number of an inode as SQLite can keep it."""
    return inode - (1 << 64) if inode >> 63 else inode


def is_settled(state: tuple[int, int]) -> bool:
    """Return True unless a folder has just changed: a further change might have the same time."""
    return clock.wall() * 1e9 - state[0] > _SETTLED


class Batch:
    """Objects added between two flushes. ``run``: their run in the database, 0 before they are saved."""

    __slots__ = ("flushed", "run")

    def __init__(self, *, flushed: bool) -> None:
        self.flushed = flushed
        self.run = 0


class Added(NamedTuple):
    """The file of an added object, with its state without the checksum."""

    path: str
    state: tuple[int, int, int, int]
    batch: Batch


class Changes:
    """What a comparison found and has not saved: rows of files and folders, and the keys of those that are gone."""

    def __init__(self) -> None:
        self.files: list[FileRow] = []
        self.folders: list[tuple[bytes, int, int]] = []
        self.gone: list[tuple[bytes, bytes]] = []
        self.gone_folders: list[tuple[bytes]] = []

    def clear(self) -> None:
        """Forget everything."""
        for some in (self.files, self.folders, self.gone, self.gone_folders):
            some.clear()
