"""Data files of the package, which is a folder or, in a zip application, part of an archive. Imports nothing slow."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def read(path: str) -> bytes:
    """Return the content of a file beside the modules, given by its path below theirs."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except (NotADirectoryError, FileNotFoundError):
        from pkgutil import get_data

        package, _, name = path.replace("\\", "/").rpartition("/movescu/")[2].rpartition("/data/")
        content = get_data(f"movescu.{package.replace('/', '.')}", f"data/{name}")
        assert content is not None  # every loader of the standard library reads data
        return content
    try:  # no file object: a signal that ends the program meanwhile leaves none behind
        return os.read(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)


def with_path(path: str, use: Callable[[str], object]) -> None:
    """Call a function that needs the path of a file; the file is copied out of an archive for the time of the call."""
    if os.path.exists(path):
        use(path)
        return
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        copy = os.path.join(folder, os.path.basename(path))
        with open(copy, "wb") as file:
            file.write(read(path))
        use(copy)
