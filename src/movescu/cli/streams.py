"""Standard streams that may be closed, on a full disk, or a pipe without reader.

None of this fails a retrieve, but a listing or report that is lost is no success (``output``). Imports nothing slow:
``--help`` and ``--version`` write through this module too.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, TextIO

_lost: list[str] = []  # why output was lost, once it was

_STREAMS: Final = ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w"))


def secure() -> None:
    """Open the null device in place of each standard stream that is closed.

    Otherwise the next file or connection would get its number, and output to the stream would go there.
    """
    for number, name, mode in _STREAMS:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - open until the exit
            setattr(sys, name, stream)
    for written in (sys.stdout, sys.stderr):
        if written is not None and written.encoding.lower() != "utf-8" and hasattr(written, "reconfigure"):
            written.reconfigure(errors="backslashreplace")  # a name that the encoding lacks must not cost the output


def write(stream: TextIO | None, text: str, *, flush: bool = True) -> bool:
    """Write a text. Return False if the stream fails."""
    if stream is None:
        return False
    try:
        stream.write(text)
        if flush:
            stream.flush()
    except (OSError, ValueError):
        return False
    return True


def output(text: str, *, flush: bool = True) -> None:
    """Write requested text to standard output; record a failure, except a pipe without a reader."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(text)
        if flush:
            sys.stdout.flush()
    except BrokenPipeError:
        return
    except OSError as error:
        _lost[:1] = [error.strerror or str(error)]
    except ValueError:  # closed
        return


def take_failure() -> str:
    """Return why output was lost since the last call, empty if none was."""
    return _lost.pop() if _lost else ""


def settle() -> None:
    """Discard buffered output that cannot be written: the interpreter would retry at exit and change the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            try:  # contextlib would be loaded for --version
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            except (OSError, ValueError, AttributeError):
                continue
