"""The record of failed flushes of an output directory, ``.movescu.unflushed``: which files may not be on the disk.

A flush that fails has dropped what it could not write. The files are read whole nevertheless, until memory is short or
the machine restarts, and Linux reports an error once: the next flush succeeds, in another process, too. So files whose
flush failed are recorded by their times of change. No run relies on a file that was changed in a recorded period:
``index`` does not find it, and ``writer`` writes it anew when its object arrives again, which gives it another time.
A run reads the record when it begins, and again after each flush of its own: files of another run that it relies on
may have failed meanwhile.

The record has a line for each period: begin and end, in ns since 1970. It is never shortened.
"""

from __future__ import annotations

import contextlib
import os

from movescu._runtime.late_log import logger_of
from movescu.errors import StoreError
from movescu.storage import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final

_log: Final = logger_of("movescu.store")

FILE_NAME: Final = ".movescu.unflushed"
"""In the output directory; no object's file begins with a dot."""

_APPEND: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | files.O_NOFOLLOW
_NEAR: Final = 60 * 10**9  # ns between the changes of two files that share a period
_MOST: Final = 1000  # periods; further ones are joined to the last
_MOST_BYTES: Final = 1 << 20  # of a record that is read


class Periods:
    """Times of change of files, in ns: few periods for very many files."""

    def __init__(self) -> None:
        self._periods: list[tuple[int, int]] = []

    def __bool__(self) -> bool:
        return bool(self._periods)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._periods)

    def add(self, begin: int, end: int) -> None:
        """Add a period, to another one if that is near."""
        for at in reversed(range(len(self._periods))):
            first, last = self._periods[at]
            if (begin - _NEAR <= last and first <= end + _NEAR) or len(self._periods) >= _MOST:
                self._periods[at] = min(first, begin), max(last, end)
                return
        self._periods.append((begin, end))

    def meet(self, others: Iterable[tuple[int, int]]) -> bool:
        """Return True if one of these periods and one of others have a time in common."""
        return any(begin <= last and first <= end for begin, end in self for first, last in others)


class FailedFlushes:
    """The record of a directory, given by its descriptor. Raise ``StoreError`` if it cannot be read."""

    def __init__(self, directory: int) -> None:
        self._directory = directory
        self._recorded = Periods()
        self._size = 0  # of what was read
        self.update()

    def update(self) -> Periods:
        """Read what was recorded since, and return it. Raise ``StoreError`` if the record cannot be read."""
        new = Periods()
        try:
            record = self._read()
        except FileNotFoundError:
            return new
        except OSError as error:
            raise StoreError(
                f"cannot read {FILE_NAME!r} in the output directory: {error.strerror}",
                hint="this file records which objects were not flushed to the disk: make it readable, or remove it",
            ) from error
        self._size += len(record)
        for line in record.splitlines():
            with contextlib.suppress(ValueError):  # the run was killed while it wrote the line
                begin, end = map(int, line.split())
                self._recorded.add(begin, end)
                new.add(begin, end)
        return new

    def _read(self) -> bytes:
        fd = files.openat(FILE_NAME, files.READ_FILE, dir_fd=self._directory)
        try:
            return files.pread(fd, _MOST_BYTES - self._size, self._size)
        finally:
            files.close(fd)

    def cover(self, changed: int) -> bool:
        """Return True if a file may not be on the disk; ``changed``: its time of change in ns."""
        return any(begin <= changed <= end for begin, end in self._recorded)

    def record(self, periods: Periods) -> None:
        """Record that the flush of files that were changed in these periods has failed."""
        for begin, end in periods:
            self._recorded.add(begin, end)
        lines = "".join(f"\n{begin} {end}" for begin, end in periods) + "\n"  # a line before may have no end
        data = lines.encode("ascii")
        try:
            fd = files.openat(FILE_NAME, _APPEND, 0o666, dir_fd=self._directory)
            try:
                while data:
                    data = data[files.write(fd, data) :]
                files.fsync(fd)
            finally:
                files.close(fd)
            files.fsync(self._directory)
        except OSError as error:
            _log.warning(
                "the flush that failed cannot be recorded in %s: %s; delete the files of this run before the next one",
                FILE_NAME,
                error.strerror,
            )
