"""The log: on standard error, a letter for the level, a colon, and the text, on each line of a message.

The levels are DCMTK's (fatal, error, warn, info, debug, trace); Python's ``logging`` carries them. Control characters,
which may come from a peer, are escaped in the record itself, so that nothing of it can steer a terminal or pass for
a line of its own, whatever handler and layout take it. Where else the log may go is for ``config_file``.
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
    """Escape control characters but tab and line feed."""
    return text.translate(_ESCAPES)


class EscapedRecord(logging.LogRecord):
    """A message of which no part can be taken for another line, or steers a terminal.

    Line feeds of the message itself are ours and stay; those of its arguments may be a peer's.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the base class's, passed on
        super().__init__(*args, **kwargs)
        if self.exc_info and self.exc_info[0] is not None:
            self.exc_text = escape("".join(traceback.format_exception(*self.exc_info)).rstrip("\n"))

    def getMessage(self) -> str:  # noqa: N802 - the base class's name
        """Give the text."""
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
    """Make every message safe, wherever it goes, and let none fail a retrieve."""
    logging.raiseExceptions = False  # of a closed standard error nobody can be told
    logging.setLogRecordFactory(EscapedRecord)


def set_up(level: int) -> None:
    """Send the messages of ``movescu`` at this level and above to standard error."""
    prepare()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    logger = logging.getLogger("movescu")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level)
