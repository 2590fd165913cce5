"""Files of received objects: written under a temporary name, renamed when whole.

A name that exists is a whole object: the temporary file lies in the same directory, every error up to that of
``close`` is looked at, and only then the file gets its name. OS errors become ``StoreError`` here (``net/transport``
does the same for sockets). All names are relative to a descriptor of the directory, so that the objects stay together
even if the directory is renamed in mid-retrieve.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import Final

from movescu.errors import DirectoryNotFoundError, DirectoryNotWritableError, StoreError

_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_MODE: Final = 0o666  # less the umask, as fopen() has it
_IOV_MAX: Final = 1024


class OutputDirectory:
    """An existing directory that objects are written into.

    Raises ``DirectoryNotFoundError`` and ``DirectoryNotWritableError``.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        if not os.path.isdir(path):  # noqa: PTH112 - pathlib costs 10 ms at start
            raise DirectoryNotFoundError(
                f"output directory does not exist: {path!r}", hint="create it, or name another with --output-directory"
            )
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _not_writable(path, error) from error
        if not os.access(path, os.W_OK | os.X_OK):
            os.close(self._fd)
            raise _not_writable(path, None)
        self._numbers = itertools.count(1)
        self._pid = os.getpid()

    def create(self) -> ObjectFile:
        """Open a temporary file. Raises ``StoreError``."""
        name = f".movescu-{self._pid}-{next(self._numbers)}.part"
        try:
            fd = os.open(name, _CREATE, _MODE, dir_fd=self._fd)
        except OSError as error:
            raise _store_error(f"cannot create a file in {self.path!r}", error) from error
        return ObjectFile(self, self._fd, fd, name)

    def exists(self, name: str) -> bool:
        """Tell whether there is anything of that name."""
        try:
            os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except OSError:
            return False
        return True

    def full_name(self, name: str) -> str:
        """Give the path of a file in this directory, as DCMTK prints it."""
        return os.path.join(self.path, name)  # noqa: PTH118 - pathlib costs 10 ms at start

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)


class ObjectFile:
    """A file being written under its temporary name: to be ended by ``commit`` or ``discard``."""

    __slots__ = ("_directory", "_directory_fd", "_fd", "_name")

    def __init__(self, directory: OutputDirectory, directory_fd: int, fd: int, name: str) -> None:
        self._directory = directory
        self._directory_fd = directory_fd
        self._fd = fd
        self._name = name

    def write(self, *buffers: bytes | bytearray | memoryview) -> None:
        """Append the buffers, in one call of the system if it takes them all. Raises ``StoreError``."""
        expected = sum(map(len, buffers))
        try:
            written = os.writev(self._fd, buffers)
            if written != expected:  # a signal, or a disk that is full: the next call says which
                data = memoryview(b"".join(buffers))
                while written < expected:
                    written += os.write(self._fd, data[written:])
        except OSError as error:
            raise _store_error(f"cannot write to a file in {self._directory.path!r}", error) from error

    def commit(self, name: str) -> None:
        """Close the file and give it its name, in place of whatever had it. Raises ``StoreError``; then it is gone."""
        fd, self._fd = self._fd, -1
        try:
            os.close(fd)
            os.replace(self._name, name, src_dir_fd=self._directory_fd, dst_dir_fd=self._directory_fd)
        except OSError as error:
            self.discard()
            raise _store_error(f"cannot write {self._directory.full_name(name)!r}", error) from error

    def discard(self) -> None:
        """Close and remove the file; nothing else is touched."""
        with contextlib.suppress(OSError):
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
        with contextlib.suppress(OSError):
            os.unlink(self._name, dir_fd=self._directory_fd)


def _store_error(what: str, error: OSError) -> StoreError:
    return StoreError(f"{what}: {error.strerror}", hint="check the space and the permissions of the output directory")


def _not_writable(path: str, error: OSError | None) -> DirectoryNotWritableError:
    why = error.strerror if error else "Permission denied"
    return DirectoryNotWritableError(
        f"output directory is not writable: {path!r}: {why}", hint="name another with --output-directory"
    )
