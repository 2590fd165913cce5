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
from movescu.cli.options.output_files import STANDARD_OUTPUT
from movescu.errors import DirectoryNotWritableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

_log: Final = logger_of("movescu.cli")

_PIECES: Final = 1000  # written at once
_DICOM: Final = b"DICM"
_START: Final = 132  # bytes of the preamble and the prefix (PS3.10)
_REPLACED: Final = OSError(0, "another file has this name now, perhaps an object that was stored here")


class OutputFile:
    """A text file, or standard output, whose errors the command reports at its end."""

    def __init__(self, path: str, encoding: str = "ascii") -> None:
        self._path = path
        self._encoding = encoding
        self._file: TextIO | None = None
        self._good = True
        if path != STANDARD_OUTPUT:
            _check(path)
            try:
                self._file = open(path, "w", encoding=encoding, errors="surrogateescape")  # noqa: SIM115 - closed by close()
            except FileNotFoundError as error:
                raise UsageError(f"cannot write {path!r}: {error.strerror}") from error
            except OSError as error:
                raise DirectoryNotWritableError(f"cannot write {path!r}: {error.strerror}") from error

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
        assert self._file is not None  # regular
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno()))
        except OSError:
            return False

    @property
    def _is_regular(self) -> bool:
        return self._file is not None and stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)

    def write_all(self, pieces: Iterable[str]) -> None:
        """Write a text, given in pieces; a regular file gets it as a whole, or is removed."""
        path = os.path.realpath(self._path)
        folder, name = os.path.split(path)
        regular = self._is_regular
        if regular and self._is_replaced():
            self._fail(_REPLACED)
            return
        if not regular or not os.access(folder, os.W_OK | os.X_OK):
            pieces = iter(pieces)
            while text := "".join(itertools.islice(pieces, _PIECES)):
                self.write(text)
            return
        temporary = os.path.join(folder, f".{name}.{os.getpid()}.part")
        try:
            with open(temporary, "w", encoding=self._encoding, errors="surrogateescape") as file:
                shutil.copymode(path, temporary)
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
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

    def close(self) -> bool:
        """Close the file; return True if everything was written."""
        if self._file is not None and not self._file.closed and self._is_regular and self._is_replaced():
            self._fail(_REPLACED)
        if self._file is not None:
            with contextlib.suppress(OSError):  # a failure of write() has been logged
                self._file.close()
        return self._good


def _check(path: str) -> None:
    """Raise ``UsageError`` rather than overwrite an object."""
    with contextlib.suppress(OSError):
        if stat.S_ISREG(os.stat(path).st_mode):
            with open(path, "rb") as file:
                if file.read(_START)[-len(_DICOM) :] == _DICOM:
                    raise UsageError(f"cannot write {path!r}: it is a DICOM file", hint="name another file")
