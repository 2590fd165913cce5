"""The directory of one worker (``--worker-files own``), below that of the run, with a manifest of its files.

A job's files are in the manifest, flushed, before the driver gets the verdict. So what the manifest names is all that
the driver relies on, and ``--collect`` needs to know of nothing else. Lines are only added; the last one of a path is
valid. A line that was cut by the end of the process is removed when the next one opens the directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu.errors import StoreError
from movescu.storage import files
from movescu.storage.manifest_lines import manifest_line, parse_manifest_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from movescu.storage.ledger import StoredFile

MANIFEST: Final = ".movescu.sha256"
"""Name of the manifest, in the worker's directory."""
_BLOCK: Final = 1 << 20
_SAFE: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+")


def folder_of(title: str) -> str:
    """Return the name of a worker's folder: its title, with other characters than letters and digits as %XX."""
    return "".join(one if one in _SAFE else f"%{ord(one):02X}" for one in title)


class OwnDirectory:
    """The directory of a worker. ``top``: of the run. Raise ``StoreError`` if it cannot be made or written."""

    def __init__(self, top: str, title: str) -> None:
        self.path = os.path.join(top, folder_of(title))
        self._lock = clock.Lock()
        with self._told_as_store_errors():
            for folder in (top, self.path):
                with contextlib.suppress(FileExistsError):
                    files.mkdir(folder)
            name = os.path.join(self.path, MANIFEST)
            self._fd = files.openat(name, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            status = files.fstat(self._fd)
            content = b"".join(_blocks(self._fd))
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                files.ftruncate(self._fd, whole)
        lines = map(parse_manifest_line, content[:whole].split(b"\n"))
        self._known = dict(one for one in lines if one is not None)
        self._written = status.st_mtime_ns

    @contextlib.contextmanager
    def _told_as_store_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"cannot use the directory {self.path!r}: {error.strerror}") from error

    def add(self, stored: Iterable[StoredFile]) -> None:
        """Add files to the manifest, and flush it. Thread-safe. Raise ``StoreError`` if that fails."""
        with self._told_as_store_errors():
            lines = [line for one in stored if (line := self._line(os.fsencode(one.path)))]
            if lines:
                with self._lock:
                    files.write(self._fd, b"".join(lines))
                files.fsync(self._fd)

    def _line(self, path: bytes) -> bytes:
        """Return the line of a file, empty if the manifest has it."""
        fd = files.openat(os.path.join(os.fsencode(self.path), path), files.READ_FILE)
        try:
            if path in self._known and files.change_time(files.fstat(fd)) < self._written:
                return b""
            digest = hashlib.sha256()
            for block in _blocks(fd):
                digest.update(block)
        finally:
            files.close(fd)
        return manifest_line(path, digest.hexdigest().encode())

    def close(self) -> None:
        """Close the manifest."""
        files.close(self._fd)


def _blocks(fd: int) -> Iterator[bytes]:
    position = 0
    while block := files.pread(fd, _BLOCK, position):
        yield block
        position += len(block)
