"""Log on standard error: each line of a message starts with the letter of its level and a colon.

The levels are DCMTK's (fatal, error, warn, info, debug, trace), mapped to those of ``logging``. A peer may send control
characters: they are escaped in the record itself, so that under every handler and layout no message controls a terminal
or forges a line. ``config_file`` sets up other destinations.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping

from movescu._runtime.hex_dump import TRACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

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
    """Escape control characters except tab and line feed."""
    return text.translate(_ESCAPES)


class EscapedRecord(logging.LogRecord):
    """Log record whose message can neither forge a line nor control a terminal.

    Line feeds of the format are our own and stay; those of the arguments may be a peer's and are escaped.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the base class's, passed on
        super().__init__(*args, **kwargs)
        if self.exc_info and self.exc_info[0] is not None:
            self.exc_text = escape("".join(traceback.format_exception(*self.exc_info)).rstrip("\n"))

    def getMessage(self) -> str:  # noqa: N802 - the base class's name
        """Return the message."""
        text = str(self.msg)
        if isinstance(self.args, Mapping):
            text %= {name: _one_line(value) for name, value in self.args.items()}
        elif self.args:
            text %= tuple(map(_one_line, self.args))
        return escape(text)


def _one_line(argument: object) -> object:
    if isinstance(argument, str | BaseException):
        return str(argument).replace("\n", "\\n")
    return argument


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        letter = _LETTERS.get(record.levelno, "I")
        lines = escape(super().format(record)).split("\n")
        return "\n".join(f"{letter}: {line}" for line in lines)


def prepare() -> None:
    """Escape every message, whatever its handler, and let no failure to log fail a retrieve."""
    logging.raiseExceptions = False  # standard error may be closed: nowhere to report it
    logging.setLogRecordFactory(EscapedRecord)


def set_up(level: int) -> None:
    """Log the messages of ``movescu`` at this level and above to standard error."""
    prepare()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    logger = logging.getLogger("movescu")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level)
