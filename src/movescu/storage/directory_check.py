"""Whether objects can be stored in a directory: asked before anything is sent, and again when it is opened."""

from __future__ import annotations

import os

from movescu.errors import DirectoryNotFoundError, DirectoryNotWritableError, StoreError
from movescu.storage import files


def check_directory(path: str) -> None:
    """Raise ``DirectoryNotFoundError`` or ``DirectoryNotWritableError`` unless objects can be stored in a directory."""
    if not files.isdir(path):
        what = "is not a directory" if files.exists(path) else "does not exist"
        raise DirectoryNotFoundError(
            f"output directory {what}: {path!r}",
            hint="create the directory, or name another with --output-directory",
        )
    if not files.access(path, os.W_OK | os.X_OK):
        raise not_writable(path, None)


def not_writable(path: str, error: OSError | None) -> DirectoryNotWritableError:
    """Return the error of a directory that cannot be written to; ``error``: of the system, None if that is unknown."""
    why = error.strerror if error else "permission denied, or a read-only file system"
    return DirectoryNotWritableError(
        f"output directory is not writable: {path!r}: {why}", hint="name another with --output-directory"
    )


def moved_error(path: str, why: str | None) -> StoreError:
    """Return the error of a directory that no longer has its name; ``why``: in words, of the system or ours."""
    return StoreError(
        f"output directory {path!r} was moved or replaced while objects were stored in it: {why}",
        hint="the objects are in the directory that had the name before",
    )
