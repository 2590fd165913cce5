"""Leftovers: temporary files of runs that were killed. Finds and removes them, but never those of a live run.

A killed process leaves ``.movescu-<mark>-<number>.part``. The mark has the beginning of the machine's boot ID, the
process ID and 32 random bits: process IDs alone repeat, for example at each start of a container. A run holds
``flock(2)`` on ``.movescu-<mark>.lock`` from before its first temporary file to its end, and the system drops that lock
however the run ends:

==========================================  ========================================================================
the run's lock                              its temporary files
==========================================  ========================================================================
held                                        in use
free, of this boot of this machine          left over: removed, and the lock after them
free, of another boot or machine            as below: a network file system may not share locks between machines
missing (none could be made)                left over once untouched for a day, by the clock of the file system
==========================================  ========================================================================

A run holds a shared lock on a descriptor for reading, so that the file system can still be remounted read-only; a sweep
tries an exclusive one, for which NFS requires a descriptor for writing. One lock for the run costs an object nothing; a
lock for each temporary file would, especially over a network. Other names are not touched, nor the leftovers of other
users, whose locks cannot be opened for writing.
"""

from __future__ import annotations

import contextlib
import os
import re

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu._runtime.record import Record
from movescu.storage import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_log: Final = logger_of("movescu.store")

_NO_BOOT_ID: Final = "none"
_HEX: Final = "0123456789abcdef"
_PREFIX: Final = ".movescu-"
_OURS: Final = r"\.movescu-(([0-9a-f]{8}|none)-[0-9]+-[0-9a-f]{8})(\.lock|-[0-9]+\.part)"
_MAKE: Final = os.O_RDONLY | os.O_CREAT | os.O_EXCL  # which follows no link
_OPEN: Final = os.O_RDWR | files.O_NOFOLLOW | files.O_NONBLOCK
_UNTOUCHED: Final = 86400.0
"""Seconds without a write after which a temporary file without a reliable lock is left over."""
_MOST_LOCKS: Final = 64  # of killed runs in one sweep, each with a descriptor; the next run takes more
_JOIN_SECONDS: Final = 5.0


class _Found(Record):
    """A temporary file or lock in the directory, with the mark of its run."""

    mark: str
    name: str

    @property
    def is_lock(self) -> bool:
        return self.name == _lock_name(self.mark)


class RunLock:
    """The lock of a run on its temporary files in a directory, given by its descriptor.

    ``mark``: the names of the files begin with ``.movescu-`` and this. If no lock can be made (a full disk, a file
    system without ``flock``), the run goes on without one.
    """

    def __init__(self, directory: int) -> None:
        self._directory = directory
        self._fd = -1
        self.boot = _boot()
        self.mark = self._new_mark()
        with contextlib.suppress(OSError):
            while not self._hold():  # very rare: another run removed the file, as left over, before it was locked
                self.mark = self._new_mark()

    def _new_mark(self) -> str:
        return f"{self.boot}-{os.getpid()}-{os.urandom(4).hex()}"

    def _hold(self) -> bool:
        self._fd = files.openat(_lock_name(self.mark), _MAKE, 0o666, dir_fd=self._directory)
        try:
            files.flock(self._fd, files.LOCK_SH | files.LOCK_NB)
            if files.fstat(self._fd).st_nlink:
                return True
        except BlockingIOError:
            pass
        except OSError:
            self.release()
            raise
        self.release()
        return False

    @property
    def made(self) -> float | None:
        """When the lock was made, in seconds by the clock of the file system; None without a lock."""
        return files.fstat(self._fd).st_mtime if self._fd >= 0 else None

    def release(self) -> None:
        """Release the lock, and remove its file."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                files.unlink(_lock_name(self.mark), dir_fd=self._directory)
            with contextlib.suppress(OSError):
                files.close(self._fd)
            self._fd = -1


class Sweep:
    """Removes the leftovers in a directory, in a thread of its own: the directory may have very many names."""

    def __init__(self, directory: int, lock: RunLock) -> None:
        self._boot, self._own_mark = lock.boot, lock.mark
        self._removed = 0
        self._thread: clock.Thread | None = None
        try:
            self._now = lock.made
            self._directory = files.dup(directory)
        except OSError as error:  # out of descriptors: the next run sweeps
            _not_swept(error)
            return
        self._thread = clock.Thread(target=self._run, name="movescu-leftovers", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait for the end, for a few seconds at most."""
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        try:
            self._sweep()
        except OSError as error:
            _not_swept(error)
        finally:
            with contextlib.suppress(OSError):  # nothing was written to it
                files.close(self._directory)
        if self._removed:
            noun = "file" if self._removed == 1 else "files"
            _log.info("removed %d temporary %s of killed runs", self._removed, noun)

    def _sweep(self) -> None:
        found = self._names()
        if not found:
            return
        with contextlib.ExitStack() as stack:
            locks = [entry for entry in found if entry.is_lock]
            free = {entry.mark for entry in locks[:_MOST_LOCKS] if self._take(entry.name, stack)}
            if free:  # those runs may have written more files since the names were read
                found = self._names()
            held = {entry.mark for entry in found if entry.is_lock} - free
            certain = {mark for mark in free if mark.startswith(self._boot)} if self._boot != _NO_BOOT_ID else set()
            for entry in sorted(found, key=lambda entry: entry.is_lock):  # the locks last: a sweep may be killed too
                if entry.mark in certain or (entry.mark not in held and self._is_untouched(entry.name)):
                    self._remove(entry)

    def _names(self) -> list[_Found]:
        """Return the files and locks of other runs in the directory."""
        with files.scandir(self._directory) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(_PREFIX)]
        others = (name for name in names if not name.startswith(f"{_PREFIX}{self._own_mark}"))  # mostly none
        matches = (re.compile(_OURS).fullmatch(name) for name in others)
        return [_Found(match[1], match[0]) for match in matches if match and match[1] != self._own_mark]

    def _take(self, name: str, stack: contextlib.ExitStack) -> bool:
        """Hold the lock of a run until the stack ends; False if the run holds it, or that is unknown."""
        try:
            fd = files.openat(name, _OPEN, dir_fd=self._directory)
            stack.callback(files.close, fd)
            files.flock(fd, files.LOCK_EX | files.LOCK_NB)
        except OSError:
            return False
        return True

    def _is_untouched(self, name: str) -> bool:
        try:
            written = files.stat(name, dir_fd=self._directory, follow_symlinks=False).st_mtime
        except OSError:
            return False
        return self._now is not None and self._now - written > _UNTOUCHED

    def _remove(self, entry: _Found) -> None:
        with contextlib.suppress(OSError):  # another run was faster, or it is another user's
            files.unlink(entry.name, dir_fd=self._directory)
            self._removed += not entry.is_lock


def is_in_use(path: str) -> bool:
    """Return True if a run on this machine is known to hold the lock on its temporary files in a directory."""
    with contextlib.suppress(OSError), files.scandir(path) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(_PREFIX)]
        matches = (re.fullmatch(_OURS, name) for name in names)
        return any(_is_held(os.path.join(path, match[0])) for match in matches if match and match[3] == ".lock")
    return False


def _is_held(lock: str) -> bool:
    with contextlib.suppress(OSError):
        fd = files.openat(lock, _OPEN)
        try:
            files.flock(fd, files.LOCK_EX | files.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            files.close(fd)
    return False


def _not_swept(error: OSError) -> None:
    _log.info("cannot look for temporary files of killed runs: %s", error.strerror)


def _lock_name(mark: str) -> str:
    return f"{_PREFIX}{mark}.lock"


def _boot() -> str:
    """Return the first 8 digits of the machine's boot ID, which Linux alone has, else ``none``."""
    boot = files.boot_id()[:8]
    return boot if len(boot) == 8 and not boot.strip(_HEX) else _NO_BOOT_ID
