"""How written files get to the disk: with each object, behind the receiving, or when the system likes.

``Durability.END``, the default, costs next to nothing while objects come in: few files are flushed one by one at the
end; where they are many, the file system that holds them is flushed whole by ``syncfs(2)`` (which reports write errors
since Linux 5.8), from a thread that runs behind the receiving whenever another 64 MiB have been written, and once more
at the end. A retrieve of 1000 objects of 8 KB onto ext4 takes 0.5 s that way, as without any flush, and 4.6 s with an
``fsync`` for each. Where there is no ``syncfs``, files beyond the first few are flushed as they are committed.
"""

from __future__ import annotations

import os
import sys
import threading
from enum import Enum

from movescu.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

_FEW: Final = 16  # files that are flushed one by one at the end
_BEHIND: Final = 64 << 20  # bytes that are written between two flushes behind the receiving


class Durability(Enum):
    """When received objects are flushed to the disk (``--durable``)."""

    END = "end"
    """Before the end: exit code 0 means that everything was flushed."""
    OBJECT = "object"
    """Before each C-STORE success."""
    OFF = "off"
    """Whenever the system does it."""


def durability_of(value: Durability | str) -> Durability:
    """Return what a value names: one of ``Durability``, or its word. Raise ``UsageError``."""
    try:
        return Durability(value)
    except ValueError:
        words = ", ".join(one.value for one in Durability)
        raise UsageError(f"durability {value!r} is none of {words}") from None


class Flusher:
    """Flushes the files that are committed to one directory; raise ``OSError``, every method of it."""

    def __init__(self, directory: int, durability: Durability) -> None:
        self._directory = directory
        self._durability = durability
        self._lock = threading.Lock()
        self._few: list[str] = []
        self._folders: set[str] = set()
        self._many = False
        self._size = 0  # bytes since the last flush behind the receiving
        self._wake = threading.Event()
        self._finished = False
        self._thread: threading.Thread | None = None
        self._failure: OSError | None = None
        self._syncfs: Callable[[int], None] | None = None

    def written(self, fd: int, name: str, size: int) -> None:
        """Note that a file of so many bytes is about to get its name, a path below the directory."""
        if self._durability is Durability.OBJECT:
            os.fsync(fd)
        elif self._durability is Durability.END:
            with self._lock:
                alone = self._remember(name, size)
            if alone:
                os.fsync(fd)

    def relied_on(self, fd: int, name: str, size: int) -> None:
        """Note a file of an earlier run, which may have ended before its files were flushed."""
        if self._durability is not Durability.OFF:
            with self._lock:
                alone = self._remember(name, size)
            if alone:
                os.fsync(fd)

    def named(self, folder: int, fd: int = -1) -> None:
        """Note that a file has got its name, in an open folder of which it is on the disk that it is there.

        ``fd``: the file, if it had no name before. btrfs flushes no such file, though it says so, before Linux 6.17.
        """
        if self._durability is Durability.OBJECT:
            if fd >= 0:
                os.fsync(fd)
            os.fsync(folder)

    def _remember(self, name: str, size: int) -> bool:
        """Take a file in; True if it has to be flushed at once."""
        among_few = not self._many
        if among_few:
            self._few.append(name)
            if len(self._few) > _FEW:
                self._many = True
                self._syncfs = _find_syncfs()  # without it, the few keep their turn at the end
        self._folders.add(name.rpartition("/")[0])
        self._size += size
        if self._syncfs is not None and self._size >= _BEHIND:
            self._size = 0
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="movescu-flusher", daemon=True)
                self._thread.start()
            self._wake.set()
        return not among_few and self._syncfs is None

    def _run(self) -> None:
        assert self._syncfs is not None  # the thread is started where there is one
        try:
            while True:
                self._wake.wait()
                self._wake.clear()
                if self._finished:
                    return
                self._syncfs(self._directory)
        except OSError as error:
            self._failure = error

    def stop(self) -> None:
        """End the thread that flushes behind the receiving; nothing is awaited but the flush it may be at."""
        if self._thread is not None:
            self._finished = True
            self._wake.set()
            self._thread.join()
            self._thread, self._finished = None, False

    def finish(self) -> None:
        """Wait until all that was committed is on the disk."""
        if self._durability is Durability.OFF:
            return
        self.stop()
        if self._failure is not None:
            raise self._failure
        if self._syncfs is not None:
            self._syncfs(self._directory)
        elif self._few or self._many:
            for name in self._few:
                self._flush(name)
            for name in _with_those_above(self._folders):
                self._flush(name)
            os.fsync(self._directory)

    def _flush(self, name: str) -> None:
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self._directory)
        except FileNotFoundError:
            return  # somebody took it away in the meantime: nothing of ours is left to flush
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _with_those_above(folders: set[str]) -> set[str]:
    """Return the folders and all between them and the directory, which may be new as well."""
    result = set()
    for folder in folders:
        while folder and folder not in result:
            result.add(folder)
            folder = folder.rpartition("/")[0]  # noqa: PLW2901 - the next one up
    return result


def _find_syncfs() -> Callable[[int], None] | None:
    """Return Linux's ``syncfs``, which Python's ``os`` does not have."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes  # 10 ms, for retrieves of many files alone

    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is None:
        return None

    def syncfs(fd: int) -> None:
        if function(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return syncfs
