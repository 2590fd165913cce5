"""Standard output and error as they are found: closed, on a full disk, or with nobody who reads any more.

None of that is a reason to fail a retrieve. Loads nothing, for ``--help`` and ``--version`` write through it too.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, TextIO

_STREAMS: Final = ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w"))


def secure() -> None:
    """Open the null device in place of each standard stream that is closed.

    Else the next file or connection would be given its number, and whoever writes to the stream would write there.
    """
    for number, name, mode in _STREAMS:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - for ever
            setattr(sys, name, stream)


def write(stream: TextIO | None, text: str, *, flush: bool = True) -> bool:
    """Write a text; False if it cannot be."""
    if stream is None:
        return False
    try:
        stream.write(text)
        if flush:
            stream.flush()
    except (OSError, ValueError):
        return False
    return True


def settle() -> None:
    """Throw away what cannot be written, or the interpreter tries it again at its end and spoils the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            try:  # contextlib.suppress() would be loaded for --version
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            except (OSError, ValueError, AttributeError):
                continue
