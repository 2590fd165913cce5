"""From which level on the command logs; ``console_log`` says how, and is loaded when there is something to log."""

from __future__ import annotations

import sys

from movescu._runtime.hex_dump import TRACE
from movescu._runtime.late_log import CRITICAL, DEBUG, ERROR, INFO, WARNING, defer, logger_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

LEVELS: Final = {
    "off": CRITICAL + 10,
    "fatal": CRITICAL,
    "error": ERROR,
    "warn": WARNING,
    "info": INFO,
    "debug": DEBUG,
    "trace": TRACE,
}
"""Names of the command line -> levels of ``logging``."""

PROGRESS: Final = "movescu.progress"
"""The logger whose level, if it is exactly INFO, lets a dot for each PDV be shown; nothing is logged to it."""


def configure(level: str) -> None:
    """Have the messages of ``movescu`` at this level and above sent to standard error; it is a key of ``LEVELS``."""
    secure_streams()
    defer(LEVELS[level], lambda: _set_up(LEVELS[level]))


def _set_up(level: int) -> None:
    from movescu.cli.logging import console_log  # with ``logging``, which takes 8 ms

    console_log.set_up(level)


def secure_streams() -> None:
    """Let no character fail that the encoding of standard output or error does not have."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def shows_progress() -> bool:
    """Tell whether a dot is shown for each PDV that comes in: as with DCMTK, if the level is INFO, and no other."""
    return logger_of(PROGRESS).getEffectiveLevel() == INFO
