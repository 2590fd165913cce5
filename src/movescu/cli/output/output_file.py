"""A file that a run writes. It is opened before the first request: if it cannot be written, the run ends at once."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import stat
from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu.cli import streams
from movescu.cli.options.output_files import STANDARD_OUTPUT, check_replaced
from movescu.errors import DirectoryNotWritableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

_log: Final = logger_of("movescu.cli")

_PIECES: Final = 1000  # written at once
_REPLACED: Final = OSError(0, "another file has this name now, perhaps an object that was stored here")


class OutputFile:
    """A text file, or standard output, whose errors the command reports at its end."""

    def __init__(self, path: str, encoding: str = "ascii") -> None:
        self._path = path
        self._encoding = encoding
        self._file: TextIO | None = None
        self._own: list[os.stat_result] = []
        """Of the file that was opened, if it is a regular one, and of those written in its place."""
        self._begun = False  # to write a text to another file
        self._good = True
        if path != STANDARD_OUTPUT:
            check_replaced(path)
            try:
                self._file = open(path, "w", encoding=encoding, errors="surrogateescape")  # noqa: SIM115 - closed by close()
            except OSError as error:
                raise DirectoryNotWritableError(f"cannot write {path!r}: {error.strerror}") from error
            status = os.fstat(self._file.fileno())
            self._own = [status] if stat.S_ISREG(status.st_mode) else []

    def write(self, text: str) -> None:
        """Write and flush; log the first failure."""
        if self._file is None:
            streams.output(text)
        elif self._good:
            try:
                self._file.write(text)
                self._file.flush()
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        if self._good:
            self._good = False
            _log.critical("cannot write %r: %s", self._path, error.strerror)

    def _is_replaced(self) -> bool:
        """Return True if another file has its name now, such as an object that was stored under it."""
        try:
            status = os.stat(self._path)
        except OSError:
            return False
        return bool(self._own) and not any(os.path.samestat(status, own) for own in self._own)

    def write_all(self, pieces: Iterable[str]) -> None:
        """Write a text, given in pieces; a regular file gets it as a whole, or is removed.

        It may be called again, if an exception has left it or to replace the text; a file that is not regular keeps the
        first one.
        """
        path = os.path.realpath(self._path)
        folder, name = os.path.split(path)
        if self._is_replaced():
            self._fail(_REPLACED)
        elif not self._own or not os.access(folder, os.W_OK | os.X_OK):
            self._write_pieces(iter(pieces))
        else:
            self._replace(path, os.path.join(folder, f".{name}.{os.getpid()}.part"), pieces)

    def _write_pieces(self, pieces: Iterator[str]) -> None:
        if self._begun:
            return
        self._begun = True
        while text := "".join(itertools.islice(pieces, _PIECES)):
            self.write(text)

    def _replace(self, path: str, temporary: str, pieces: Iterable[str]) -> None:
        try:
            with open(temporary, "w", encoding=self._encoding, errors="surrogateescape") as file:
                shutil.copymode(path, temporary)
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
                self._own.append(os.fstat(file.fileno()))
            if self._file is not None:
                self._file.close()  # Windows replaces no open file
            os.replace(temporary, path)
        except OSError as error:
            if self._file is not None:
                self._file.close()  # Windows removes no open file
            for name in (temporary, path):  # the latter is empty
                with contextlib.suppress(OSError):
                    os.unlink(name)
            self._fail(error)
        except BaseException:  # a signal; perhaps after the file was replaced
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def close(self) -> bool:
        """Close the file; return True if everything was written."""
        if self._file is not None and not self._file.closed and self._is_replaced():  # closed: by its replacement
            self._fail(_REPLACED)
        if self._file is not None:
            with contextlib.suppress(OSError):  # a failure of write() has been logged
                self._file.close()
        return self._good
