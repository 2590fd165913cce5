"""The log on standard error: a letter for the level, a colon, and the text, on each line of a message.

The levels are DCMTK's (fatal, error, warn, info, debug, trace); Python's ``logging`` carries them. Control characters,
which may come from a peer, are escaped, so that nothing of it can steer a terminal.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

TRACE: Final = 5

LEVELS: Final = {
    "off": logging.CRITICAL + 10,
    "fatal": logging.CRITICAL,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
}
"""Names of the command line -> levels of ``logging``."""

_LETTERS: Final = {
    logging.CRITICAL: "F",
    logging.ERROR: "E",
    logging.WARNING: "W",
    logging.INFO: "I",
    logging.DEBUG: "D",
    TRACE: "T",
}
_ESCAPES: Final = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}


def escape(text: str) -> str:
    """Escape control characters but tab and line feed, and what standard error cannot encode."""
    return text.translate(_ESCAPES)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        letter = _LETTERS.get(record.levelno, "I")
        lines = escape(super().format(record)).split("\n")
        return "\n".join(f"{letter}: {line}" for line in lines)


def configure(level: str) -> None:
    """Send the messages of ``movescu`` at this level and above to standard error; ``level`` is a key of ``LEVELS``."""
    if hasattr(sys.stderr, "reconfigure"):
        sys.stderr.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    logger = logging.getLogger("movescu")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(LEVELS[level])
    logging.raiseExceptions = False  # a closed standard error is no reason to fail a retrieve
