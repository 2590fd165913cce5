"""Durability: when the files of received objects are flushed to the disk (``--durable``).

``Durability.END``, the default, costs little while objects are received. A few files are flushed one by one at the end.
For many files, the whole file system is flushed by ``syncfs(2)`` (which reports write errors since Linux 5.8): by a
thread in the background whenever another 64 MiB were written, and once more at the end. An ``fsync`` for each of many
small files would take far longer than receiving them. Where many retrieves end one after the other (``grouped``), even
a few files are flushed so: with their folders they would take an ``fsync`` each. Without ``syncfs``, files beyond the
first few are flushed when they are committed.

A flush that fails has dropped what it could not write, of any file, and the next one succeeds (Linux reports an error
once). So once a flush has failed for files that stay, each later one of the run fails, too, and ``failed_flushes``
records the files for later runs, with those that this run commits afterwards. Files of other runs that this one relies
on are not on the disk either if that record says so once they have been flushed here.
"""

from __future__ import annotations

import contextlib
from enum import Enum
from errno import EIO

from movescu._runtime import clock
from movescu.errors import UsageError
from movescu.storage import files
from movescu.storage.failed_flushes import FailedFlushes, Periods

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from typing import Final

_FEW: Final = 16  # files that are flushed one by one at the end
_BEHIND: Final = 64 << 20  # bytes written between two flushes in the background


class Durability(Enum):
    """When received objects are flushed to the disk (``--durable``)."""

    END = "end"
    """Before the end of the retrieve: exit code 0 means that everything was flushed."""
    OBJECT = "object"
    """Before each C-STORE response of success."""
    OFF = "off"
    """Whenever the system decides."""


def durability_of(value: Durability | str) -> Durability:
    """Return the ``Durability`` of a value or word. Raise ``UsageError`` if it is none."""
    try:
        return Durability(value)
    except ValueError:
        words = ", ".join(one.value for one in Durability)
        raise UsageError(f"durability {value!r} is not one of {words}") from None


class Flusher:
    """Flushes the files that are committed to one directory. Every method raises ``OSError``.

    ``failures``: the directory's record of failed flushes. ``grouped``: flush even a few files together. Default:
    False.
    """

    def __init__(
        self, directory: int, durability: Durability, failures: FailedFlushes, *, grouped: bool = False
    ) -> None:
        self._limit = 0 if grouped else _FEW
        self._unflushed = False  # whether a file was committed since the last flush of the file system
        self._directory = directory
        self._durability = durability
        self._lock = clock.Lock()
        self._few: list[str] = []
        self._folders: set[str] = set()
        self._many = False
        self._size = 0  # bytes since the last flush in the background
        self._wake = clock.Event()
        self._finished = False
        self._thread: clock.Thread | None = None
        self._failures = failures
        self._failure: OSError | None = None
        self._changed = Periods()
        """When the files were changed that were committed since the last flush."""
        self._relied = Periods()
        """When the files were changed that other runs have written, and this one relies on."""
        self._syncfs: Callable[[int], None] | None = None

    def written(self, fd: int, name: str, size: int) -> None:
        """Record that a file of ``size`` bytes is about to get its name, a path below the directory."""
        alone = self._durability is Durability.OBJECT
        if self._durability is Durability.END:
            alone = self._remember(files.fstat(fd).st_mtime_ns, name, size)
        if alone:
            files.fsync(fd)

    def kept(self, fd: int, name: str, size: int) -> None:
        """Record a file that keeps its name, as it has the content of one that was just received."""
        self._rely(files.fstat(fd).st_mtime_ns)
        with self._flushing_one(fd):
            self.written(fd, name, size)

    def relied_on(self, fd: int, name: str, size: int) -> None:
        """Record a file of an earlier run, which may have ended before it was flushed."""
        if self._durability is Durability.OFF:
            return
        self._rely(changed := files.fstat(fd).st_mtime_ns)
        if self._remember(changed, name, size):
            with self._flushing_one(fd):
                files.fsync(fd)

    def _rely(self, changed: int) -> None:
        with self._lock:
            self._relied.add(changed, changed)

    def named(self, folder: int, name: str, fd: int = -1) -> None:
        """Record that a file was given its name in ``folder``, an open folder that is itself flushed.

        ``fd``: the file, if it had no name before: btrfs does not flush an unnamed file before Linux 6.17, and reports
        success.
        """
        self._unflushed = True  # again: a flush may have come between the file and its name
        if self._durability is Durability.OBJECT:
            try:
                if fd >= 0:
                    files.fsync(fd)
                files.fsync(folder)
            except OSError:
                with contextlib.suppress(OSError):  # someone has removed it meanwhile
                    self._record(_period_of(files.stat(name, dir_fd=folder, follow_symlinks=False)))
                raise

    def _remember(self, changed: int, name: str, size: int) -> bool:
        """Remember a file for ``finish``; True if it has to be flushed at once instead."""
        with self._lock:
            self._changed.add(changed, changed)
            return self._plan(name, size)

    def _plan(self, name: str, size: int) -> bool:
        self._unflushed = True
        among_few = not self._many
        if among_few:
            self._few.append(name)
            if len(self._few) > self._limit:
                self._many = True
                self._syncfs = files.find_syncfs()  # without it, the first few are still flushed at the end
        if self._syncfs is None:
            self._folders.add(name.rpartition("/")[0])
        self._size += size
        if self._syncfs is not None and self._size >= _BEHIND:
            self._size = 0
            if self._thread is None:
                self._thread = clock.Thread(target=self._run, name="movescu-flusher", daemon=True)
                self._thread.start()
            self._wake.set()
        return not among_few and self._syncfs is None

    def _run(self) -> None:
        assert self._syncfs is not None  # the thread is started only then
        try:
            while True:
                self._wake.wait()
                self._wake.clear()
                if self._finished:
                    return
                with self._flushing():
                    self._syncfs(self._directory)
        except OSError:
            pass  # finish() raises it

    def stop(self) -> None:
        """End the thread that flushes in the background; wait for no more than its current flush."""
        if self._thread is not None:
            self._finished = True
            self._wake.set()
            self._thread.join()
            self._thread, self._finished = None, False

    def finish(self) -> None:
        """Wait until every committed file is on the disk; never again after a failure (see above)."""
        self.stop()
        if self._failure is None:
            with self._flushing():
                self._flush_all()
            if self._durability is Durability.OFF or not self._relied.meet(self._failures.update()):
                return
            self._failure = OSError(EIO, "another run could not flush files that are needed here")
        self._record(self._take_changed())  # what was committed since is not flushed any more
        raise OSError(self._failure.errno, self._failure.strerror)

    @contextlib.contextmanager
    def _flushing(self) -> Iterator[None]:
        """If the block fails, record the files committed before, and those committed meanwhile."""
        changed = self._take_changed()
        try:
            yield
        except OSError as error:
            self._failure = error
            with self._lock:
                for period in self._changed:
                    changed.add(*period)
            self._record(changed)
            raise

    def _take_changed(self) -> Periods:
        with self._lock:
            changed, self._changed = self._changed, Periods()
        return changed

    @contextlib.contextmanager
    def _flushing_one(self, fd: int) -> Iterator[None]:
        """If the block fails, record a file."""
        try:
            yield
        except OSError as error:
            self._failure = error
            self._record(_period_of(files.fstat(fd)))
            raise

    def _record(self, changed: Periods) -> None:
        if changed:
            self._failures.record(changed)

    def _flush_all(self) -> None:
        if self._syncfs is not None:
            if self._unflushed:  # else nothing was committed since that was last done
                self._unflushed = False
                self._syncfs(self._directory)
        elif self._few:
            for name in self._few:
                self._flush(name)
            for name in _with_those_above(self._folders):
                self._flush(name)
            files.fsync(self._directory)

    def _flush(self, name: str) -> None:
        try:
            fd = files.openat(name, files.READ_FILE, dir_fd=self._directory)
        except FileNotFoundError:
            return  # someone has removed the file meanwhile: nothing is left to flush
        try:
            files.fsync(fd)
        finally:
            files.close(fd)


def _period_of(status: os.stat_result) -> Periods:
    changed = Periods()
    changed.add(status.st_mtime_ns, status.st_mtime_ns)
    return changed


def _with_those_above(folders: set[str]) -> set[str]:
    """Return the folders and all between them and the directory, which may be new, too."""
    result = set()
    for folder in folders:
        while folder and folder not in result:
            result.add(folder)
            folder = folder.rpartition("/")[0]  # noqa: PLW2901 - the next one up
    return result
