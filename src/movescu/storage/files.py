"""The seam of folders: every system call on an output directory and its files is made by this module's attributes.

They are the functions of ``os``, which raise ``OSError``. A simulation replaces them (``tests/simulated``) by a disk of
its own, which can fail and lose what was not flushed, so they are used as ``files.writev()``; see ``_runtime.clock``.
"""

from __future__ import annotations

import os
import sys
from fcntl import flock
from os import (
    access,
    close,
    dup,
    fstat,
    fsync,
    ftruncate,
    link,
    listdir,
    lseek,
    lstat,
    mkdir,
    pread,
    pwrite,
    replace,
    scandir,
    stat,
    statvfs,
    unlink,
    write,
    writev,
)
from os import open as openat
from os.path import exists, isdir

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from typing import Final

__all__ = [
    "access",
    "boot_id",
    "close",
    "dup",
    "exists",
    "find_rename_new",
    "find_syncfs",
    "flock",
    "fstat",
    "fsync",
    "ftruncate",
    "isdir",
    "link",
    "listdir",
    "lseek",
    "lstat",
    "mkdir",
    "open_sqlite",
    "openat",
    "pread",
    "pwrite",
    "replace",
    "scandir",
    "stat",
    "statvfs",
    "unlink",
    "write",
    "writev",
]

_NEW_NAME: Final = 1  # RENAME_NOREPLACE
_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"


def find_rename_new() -> Callable[[str, str, int, int], None] | None:
    """Return Linux's ``renameat2`` for names that must be new, which Python's ``os`` lacks; None if there is none.

    It takes both names and then the descriptors of their folders, and raises ``FileExistsError``.
    """
    if not sys.platform.startswith("linux"):
        return None
    import ctypes  # late: slow to load, and needed without hard links alone

    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        return None

    def rename_new(source: str, name: str, src_dir_fd: int, dst_dir_fd: int) -> None:
        if function(src_dir_fd, os.fsencode(source), dst_dir_fd, os.fsencode(name), _NEW_NAME) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return rename_new


def find_syncfs() -> Callable[[int], None] | None:
    """Return Linux's ``syncfs``, which Python's ``os`` lacks; None if there is none."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes  # late: slow to load, and needed for many files alone

    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is None:
        return None

    def syncfs(fd: int) -> None:
        if function(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return syncfs


def boot_id() -> str:
    """Return the boot ID of the machine, which Linux alone has, else an empty text."""
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""


def open_sqlite(path: str, wait: float) -> sqlite3.Connection:
    """Open or make an SQLite database. ``wait``: seconds to wait for another user. Raise ``sqlite3.Error``."""
    import sqlite3  # late: slow to load, and needed for a database alone

    return sqlite3.connect(path, timeout=wait, isolation_level=None, check_same_thread=False)
