"""Temporary files of runs that did not end: which they are, and taking them away without touching those of a live run.

A killed process leaves ``.movescu-<mark>-<number>.part``. Its mark has the beginning of the machine's boot ID, the
process ID and 32 random bits: a process ID alone comes again, at each start of a container for one. A run holds
``flock(2)`` on ``.movescu-<mark>.lock`` from before its first temporary file to its end, and the system drops that lock
however the run ends. So the word of a lock is:

==========================================  ========================================================================
the run's lock                              its temporary files
==========================================  ========================================================================
held                                        are in use
free, of this boot of this machine          are left over: removed, and the lock after them
free, of another boot or machine            as below: the lock may be one that a network file system does not hand on
there is none (no lock could be made)       left over once untouched for a day, by the clock of the file system
==========================================  ========================================================================

A run holds a shared lock on a descriptor for reading, so that the file system can be remounted read-only meanwhile; who
looks for leftovers tries an exclusive one, for which NFS wants a descriptor for writing. The lock costs a run 45 us and
an object nothing; a lock on each temporary file would cost each object 3 us, more over a network. Nobody else's names
are touched, and no lock is taken that cannot be opened for writing: the leftovers of other users.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading

from movescu._runtime.late_log import logger_of
from movescu._runtime.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_log: Final = logger_of("movescu.store")

_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"
_NO_BOOT_ID: Final = "none"
_HEX: Final = "0123456789abcdef"
_PREFIX: Final = ".movescu-"
_OURS: Final = r"\.movescu-(([0-9a-f]{8}|none)-[0-9]+-[0-9a-f]{8})(\.lock|-[0-9]+\.part)"
_MAKE: Final = os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_OPEN: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_UNTOUCHED: Final = 86400.0
"""Seconds after which a temporary file without a lock that counts is left over; a live one is being written."""
_MOST_LOCKS: Final = 64  # of dead runs that are taken in one sweep, each with a descriptor; the next run takes more
_JOIN_SECONDS: Final = 5.0


class _Found(Record):
    """A name in the directory that a run gave, and the run's mark."""

    mark: str
    name: str

    @property
    def is_lock(self) -> bool:
        return self.name == _lock_name(self.mark)


class RunLock:
    """The lock that a run holds on its temporary files in a directory, given by its descriptor.

    ``mark`` is what their names begin with, behind ``.movescu-``. Where no lock can be made - a full disk, a file
    system without ``flock`` - the run goes on without.
    """

    def __init__(self, directory: int) -> None:
        self._directory = directory
        self._fd = -1
        self.boot = _boot()
        self.mark = self._new_mark()
        with contextlib.suppress(OSError):
            while not self._hold():  # as good as never: somebody took our file for left over before it was locked
                self.mark = self._new_mark()

    def _new_mark(self) -> str:
        return f"{self.boot}-{os.getpid()}-{os.urandom(4).hex()}"

    def _hold(self) -> bool:
        self._fd = os.open(_lock_name(self.mark), _MAKE, 0o666, dir_fd=self._directory)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if os.fstat(self._fd).st_nlink:
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
        """When the lock was made, in seconds by the clock of the file system; None if there is none."""
        return os.fstat(self._fd).st_mtime if self._fd >= 0 else None

    def release(self) -> None:
        """Return the lock back, and remove its file."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.unlink(_lock_name(self.mark), dir_fd=self._directory)
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = -1


class Sweep:
    """Removes what other runs left in a directory, in a thread of its own: 100,000 names take 0.1 s of processor."""

    def __init__(self, directory: int, lock: RunLock) -> None:
        self._directory = os.dup(directory)
        self._boot, self._own_mark, self._now = lock.boot, lock.mark, lock.made
        self._removed = 0
        self._thread = threading.Thread(target=self._run, name="movescu-leftovers", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait for the end, for a few seconds at most."""
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        try:
            self._sweep()
        except OSError as error:
            _log.info("cannot look for temporary files that were left over: %s", error.strerror)
        finally:
            os.close(self._directory)
        if self._removed:
            _log.info("removed %d temporary files of runs that did not end", self._removed)

    def _sweep(self) -> None:
        found = self._names()
        if not found:
            return
        with contextlib.ExitStack() as stack:
            locks = [entry for entry in found if entry.is_lock]
            free = {entry.mark for entry in locks[:_MOST_LOCKS] if self._take(entry.name, stack)}
            if free:  # those runs may have gone on while the names were read
                found = self._names()
            held = {entry.mark for entry in found if entry.is_lock} - free
            certain = {mark for mark in free if mark.startswith(self._boot)} if self._boot != _NO_BOOT_ID else set()
            for entry in sorted(found, key=lambda entry: entry.is_lock):  # the locks last: a sweep may be killed too
                if entry.mark in certain or (entry.mark not in held and self._is_untouched(entry.name)):
                    self._remove(entry)

    def _names(self) -> list[_Found]:
        """Read what other runs than our own have in the directory."""
        with os.scandir(self._directory) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(_PREFIX)]
        others = (name for name in names if not name.startswith(f"{_PREFIX}{self._own_mark}"))  # mostly there are none
        matches = (re.compile(_OURS).fullmatch(name) for name in others)
        return [_Found(match[1], match[0]) for match in matches if match and match[1] != self._own_mark]

    def _take(self, name: str, stack: contextlib.ExitStack) -> bool:
        """Take the lock of a run until the stack ends; False if it is held, or if that cannot be told."""
        try:
            fd = os.open(name, _OPEN, dir_fd=self._directory)
            stack.callback(os.close, fd)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _is_untouched(self, name: str) -> bool:
        try:
            written = os.stat(name, dir_fd=self._directory, follow_symlinks=False).st_mtime
        except OSError:
            return False
        return self._now is not None and self._now - written > _UNTOUCHED

    def _remove(self, entry: _Found) -> None:
        with contextlib.suppress(OSError):  # another run was quicker, or it is not ours to remove
            os.unlink(entry.name, dir_fd=self._directory)
            self._removed += not entry.is_lock


def _lock_name(mark: str) -> str:
    return f"{_PREFIX}{mark}.lock"


def _boot() -> str:
    """Return the beginning of the boot ID of this machine, 8 digits; Linux alone tells it."""
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            boot = file.read(8)
    except (OSError, ValueError):
        return _NO_BOOT_ID
    return boot if len(boot) == 8 and not boot.strip(_HEX) else _NO_BOOT_ID
