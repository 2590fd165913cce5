"""The seam of folders: every system call on an output directory and its files is made by this module's attributes.

What a system lacks is replaced here, once: locks by an error (``leftovers`` does without), files relative to an open
directory by paths (``files_by_path``), ``syncfs`` and ``renameat2`` by None.

They are the functions of ``os``, which raise ``OSError``. A simulation replaces them (``tests/simulated``) by a disk of
its own, which can fail and lose what was not flushed, so they are used as ``files.writev()``; see ``_runtime.clock``.
"""

from __future__ import annotations

import os
import sys
from os import access, ftruncate, lseek, lstat, write
from os.path import exists, isdir

TYPE_CHECKING = False
if TYPE_CHECKING or os.open in os.supports_dir_fd:
    _system = os
    openat = os.open
else:
    from movescu.storage import files_by_path as _system
    from movescu.storage.files_by_path import openat

O_DIRECTORY = _system.O_DIRECTORY
O_NOFOLLOW = _system.O_NOFOLLOW
O_NONBLOCK = _system.O_NONBLOCK
READ_DIRECTORY = os.O_RDONLY | O_DIRECTORY
READ_FILE = os.O_RDONLY | O_NOFOLLOW | O_NONBLOCK
"""Flags to read a file: if others have put a link or pipe in its place, that is not followed or waited for."""
close = _system.close
dup = _system.dup
fstat = _system.fstat
fsync = _system.fsync
link = _system.link
listdir = _system.listdir
mkdir = _system.mkdir
pread = _system.pread
pwrite = _system.pwrite
replace = _system.replace
scandir = _system.scandir
stat = _system.stat
unlink = _system.unlink
writev = _system.writev

try:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
except ImportError:  # Windows
    from movescu.storage.files_by_path import LOCK_EX, LOCK_NB, LOCK_SH, flock  # type: ignore[assignment]

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from typing import Final

__all__ = [
    "LOCK_EX",
    "LOCK_NB",
    "LOCK_SH",
    "O_DIRECTORY",
    "O_NOFOLLOW",
    "O_NONBLOCK",
    "READ_DIRECTORY",
    "READ_FILE",
    "access",
    "boot_id",
    "change_time",
    "close",
    "dup",
    "exists",
    "file_system_type",
    "find_rename_new",
    "find_syncfs",
    "flock",
    "free_space",
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
    "open_sqlite_to_read",
    "openat",
    "pread",
    "pwrite",
    "replace",
    "scandir",
    "stat",
    "unlink",
    "write",
    "writev",
]

_BY_PATH: Final = openat.__module__.startswith("movescu.")  # no descriptor of a directory is the system's then
_NEW_NAME: Final = 1  # RENAME_NOREPLACE
_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"
_MOUNTS: Final = "/proc/self/mountinfo"


def change_time(status: os.stat_result) -> int:
    """Return when a file was last changed, in ns: its content, names or attributes; on Windows its content alone."""
    # There the time of change is that of creation.
    return max(status.st_ctime_ns, status.st_mtime_ns) if os.name == "nt" else status.st_ctime_ns


def find_rename_new() -> Callable[[str, str, int, int], None] | None:
    """Return Linux's ``renameat2`` for names that must be new, which Python's ``os`` lacks; what Windows has instead.

    It takes both names and then the descriptors of their folders, and raises ``FileExistsError``. None if there is
    none.
    """
    if _BY_PATH:
        from movescu.storage.files_by_path import rename_new as by_path  # late: on Windows alone

        return by_path
    if not sys.platform.startswith("linux"):
        return None
    try:
        import ctypes  # late: slow to load, and needed without hard links alone
    except ImportError:  # Python can be built without
        return None
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
    if not sys.platform.startswith("linux") or _BY_PATH:
        return None
    try:
        import ctypes  # late: slow to load, and needed for many files alone
    except ImportError:
        return None
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is None:
        return None

    def syncfs(fd: int) -> None:
        if function(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return syncfs


def free_space(path: str) -> int:
    """Return the number of free bytes in the file system of a directory."""
    import shutil  # late: needed by --check alone

    return shutil.disk_usage(path).free


def boot_id() -> str:
    """Return the boot ID of the machine, which Linux alone has, else an empty text."""
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""


def file_system_type(directory: str) -> str:
    """Return the type of a directory's file system, as Linux names it in ``mountinfo``; empty if it is unknown."""
    try:
        fd = openat(directory, READ_DIRECTORY)
        try:
            with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
                mount = next(line.split()[1] for line in file if line.startswith("mnt_id:"))
        finally:
            close(fd)
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                if line.split(" ", 1)[0] == mount:
                    return line.partition(" - ")[2].split(" ", 1)[0]
    except (OSError, StopIteration, IndexError):
        pass
    return ""


def open_sqlite(path: str, wait: float) -> sqlite3.Connection:
    """Open or make an SQLite database. ``wait``: seconds to wait for another user. Raise ``sqlite3.Error``."""
    import sqlite3  # late: slow to load, and needed for a database alone

    return sqlite3.connect(path, timeout=wait, isolation_level=None, check_same_thread=False)


def open_sqlite_to_read(path: str, wait: float, *, unused: bool = False) -> sqlite3.Connection:
    """Open an SQLite database without changing it. ``unused``: no other process has it open. Default: False."""
    import sqlite3
    from urllib.parse import quote

    uri = f"file:{quote(os.fsencode(path))}?mode=ro{'&immutable=1' if unused else ''}"
    return sqlite3.connect(uri, uri=True, timeout=wait, isolation_level=None, check_same_thread=False)
