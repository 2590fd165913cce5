"""Levels of the command's log. ``console_log``, which writes it, is loaded with the first message."""

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
"""Values of ``--log-level`` -> levels of ``logging``."""

_WITH_DISPLAY: Final = ("warn", "error")

PROGRESS: Final = "movescu.progress"
"""Logger without messages: if its level is exactly INFO, a dot is shown for each PDV."""


def configure(level: str) -> None:
    """Log the messages of ``movescu`` at this level, a key of ``LEVELS``, and above to standard error."""
    secure_streams()
    defer(LEVELS[level], lambda: _set_up(LEVELS[level]))


def _set_up(level: int) -> None:
    from movescu.cli.logging import console_log  # loads ``logging``, which is slow

    console_log.set_up(level)


def secure_streams() -> None:
    """Let standard output and error escape characters that their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def shows_progress() -> bool:
    """Return True if a dot is shown for each PDV received: as in DCMTK, at level INFO only."""
    return logger_of(PROGRESS).getEffectiveLevel() == INFO


def has_display(level: str, log_config: str | None) -> bool:
    """Return True if a terminal gets the progress display: more verbose levels log lines, quieter ones show nothing."""
    return level in _WITH_DISPLAY and log_config is None and sys.stderr is not None and sys.stderr.isatty()
