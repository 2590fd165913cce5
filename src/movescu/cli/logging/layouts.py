"""Layouts of log4cplus: the text of a message, in one of the three forms that DCMTK knows.

========= ==================================================================================================
Simple    ``LEVEL - message``
TTCC      ``milliseconds [thread] LEVEL logger <> - message``; with ``DateFormat`` a time instead of the first
Pattern   ``ConversionPattern``, for each line of a message; its conversions are in ``_CONVERSIONS``
========= ==================================================================================================

Levels and loggers have DCMTK's names, so that programs that read DCMTK's log files can read ours.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from movescu._runtime.hex_dump import TRACE
from movescu.cli.logging.console_log import escape
from movescu.cli.logging.properties import host_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from movescu.cli.logging.properties import Properties

    Convert: TypeAlias = Callable[[logging.LogRecord, str], str]
    """Return the text of a conversion for a record and a line of its message."""

DCMTK_NAMES: Final = {
    "movescu": "dcmtk",
    "movescu.net": "dcmtk.dcmnet",
    "movescu.dimse": "dcmtk.dcmnet",
    "movescu.ul": "dcmtk.dcmnet",
    "movescu.access": "dcmtk.dcmnet",
    "movescu.dataset": "dcmtk.dcmdata",
    "movescu.dictionary": "dcmtk.dcmdata",
    "movescu.query": "dcmtk.dcmdata",
    "movescu.cli": "dcmtk.apps.movescu",
    "movescu.move": "dcmtk.apps.movescu",
    "movescu.find": "dcmtk.apps.movescu",
    "movescu.echo": "dcmtk.apps.movescu",
    "movescu.store": "dcmtk.apps.movescu",
    "movescu.retrieve": "dcmtk.apps.movescu",
    "movescu.progress": "dcmtk.apps.movescu.progress",
}
"""Our loggers -> those of DCMTK's movescu for the same subject."""

_LEVEL_NAMES: Final = {
    logging.CRITICAL: "FATAL",
    logging.ERROR: "ERROR",
    logging.WARNING: "WARN",
    logging.INFO: "INFO",
    logging.DEBUG: "DEBUG",
    TRACE: "TRACE",
}
_DATE: Final = "%Y-%m-%d %H:%M:%S"
_DATE_PARTS: Final = re.compile(r"%%|%q|%Q")
_CONVERSION: Final = re.compile(r"%%|%(-?)([0-9]*)(?:\.([0-9]+))?(.)", re.DOTALL)
_WIDEST: Final = 4096


@functools.cache
def logger_name(name: str) -> str:
    """Return DCMTK's name of a logger; other loggers keep theirs."""
    known = name
    while known.count(".") > 1:
        known = known.rpartition(".")[0]
    dcmtk = DCMTK_NAMES.get(known)
    return name if dcmtk is None else dcmtk + name[len(known) :]


def level_name(level: int) -> str:
    """Return DCMTK's name of a level."""
    return _LEVEL_NAMES.get(level, logging.getLevelName(level))


def message_of(record: logging.LogRecord) -> str:
    """Return the message, with the traceback of its error if there is one."""
    text = record.getMessage()
    if record.exc_info and not record.exc_text:
        record.exc_text = logging.Formatter().formatException(record.exc_info)
    return escape(f"{text}\n{record.exc_text}" if record.exc_text else text)


def date(text: str, *, local: bool) -> Callable[[logging.LogRecord], str]:
    """Return a function for the time of a record, by a format of strftime with %q (milliseconds) and %Q (and fraction).

    Raises ``ValueError`` for a format that strftime rejects.
    """
    parts = time.localtime if local else time.gmtime

    def write(record: logging.LogRecord) -> str:
        microseconds = int(record.created * 1e6) % 1_000_000
        milliseconds = f"{microseconds // 1000:03}"
        own = {"%%": "%%", "%q": milliseconds, "%Q": f"{milliseconds}.{microseconds % 1000:03}"}
        return time.strftime(_DATE_PARTS.sub(lambda match: own[match[0]], text), parts(record.created))

    write(logging.makeLogRecord({}))
    return write


class SimpleLayout(logging.Formatter):
    """Level and message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text, with its line end."""
        return f"{level_name(record.levelno)} - {message_of(record)}\n"


class TTCCLayout(logging.Formatter):
    """Time, thread, level and logger before the message."""

    def __init__(self, when: Callable[[logging.LogRecord], str]) -> None:
        super().__init__()
        self._when = when

    def format(self, record: logging.LogRecord) -> str:
        """Return the text, with its line end."""
        head = f"{self._when(record)} [{record.thread}] {level_name(record.levelno)} {logger_name(record.name)}"
        return f"{head} <> - {message_of(record)}\n"


class _Part(NamedTuple):
    """Conversion of a pattern, and its width."""

    convert: Convert
    left: bool
    narrowest: int
    widest: int

    def text(self, record: logging.LogRecord, line: str) -> str:
        text = self.convert(record, line)
        if len(text) > self.widest:
            return text[len(text) - self.widest :]  # the end of a logger's or file's name says more
        return text.ljust(self.narrowest) if self.left else text.rjust(self.narrowest)


class PatternLayout(logging.Formatter):
    """Pattern, applied to each line of a message."""

    def __init__(self, pattern: str, complain: Callable[[str], None]) -> None:
        super().__init__()
        self._parts = _parse(pattern, complain)

    def format(self, record: logging.LogRecord) -> str:
        """Return the text, with line ends only where the pattern has them."""
        lines = message_of(record).split("\n")
        return "".join(part.text(record, line) for line in lines for part in self._parts)


# Conversions. Each is made from the option in braces behind its letter, "" without one.


def _of_record(name: str) -> Callable[[str], Convert]:
    return lambda _: lambda record, _line: str(getattr(record, name))


def _constant(value: Callable[[], str]) -> Callable[[str], Convert]:
    cached = functools.cache(value)
    return lambda _: lambda _record, _line: cached()


def _logger(option: str) -> Convert:
    count = int(option) if option.isdecimal() and len(option) < 4 else 0

    def convert(record: logging.LogRecord, _: str) -> str:
        return ".".join(logger_name(record.name).split(".")[-count:])

    return convert


def _when(option: str, *, local: bool) -> Convert:
    write = date(option or _DATE, local=local)
    return lambda record, _: write(record)


def _full_name() -> str:
    import socket  # loaded for this conversion only; it may query a name server

    # As log4cplus: the canonical name of the host's name. ``getfqdn`` may find another name of one of its addresses.
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, flags=socket.AI_CANONNAME)
    except (OSError, UnicodeError):
        return socket.gethostname()
    return found[0][3] or socket.gethostname()


_CONVERSIONS: Final[dict[str, Callable[[str], Convert]]] = {
    "b": _of_record("filename"),
    "c": _logger,
    "d": functools.partial(_when, local=False),
    "D": functools.partial(_when, local=True),
    "F": _of_record("pathname"),
    "h": _constant(host_name),
    "H": _constant(_full_name),
    "i": _constant(lambda: str(os.getpid())),
    "l": lambda _: lambda record, _line: f"{record.pathname}:{record.lineno}",
    "L": _of_record("lineno"),
    "m": lambda _: lambda _record, line: line,
    "M": _of_record("funcName"),
    "n": _constant(lambda: "\n"),
    "p": lambda _: lambda record, _line: level_name(record.levelno),
    "P": lambda _: lambda record, _line: level_name(record.levelno)[:1],
    "r": lambda _: lambda record, _line: str(int(record.relativeCreated)),
    "t": _of_record("thread"),
    "T": lambda _: lambda _record, _line: str(threading.get_native_id()),
    "x": _constant(str),  # diagnostic contexts, nested and mapped: always empty, as in DCMTK's tools
    "X": _constant(str),
}
_WITH_OPTION: Final = "cdDxX"


def _parse(pattern: str, complain: Callable[[str], None]) -> list[_Part]:
    """Parse a pattern. Text other than conversions stands for itself."""
    parts: list[_Part] = []
    position = 0
    while position < len(pattern):
        match = _CONVERSION.search(pattern, position)
        if match is None:
            break
        parts.append(_literal(pattern[position : match.start()]))
        part, position = _conversion(match, complain)
        parts.append(part)
    return [*parts, _literal(pattern[position:])]


def _literal(text: str) -> _Part:
    return _Part(lambda _record, _line: text, left=False, narrowest=0, widest=len(text))


def _conversion(match: re.Match[str], complain: Callable[[str], None]) -> tuple[_Part, int]:
    """Return a conversion, and the position of its end."""
    letter, end = match[4], match.end()
    if letter is None or letter not in _CONVERSIONS:
        if letter is not None:
            complain(f"unknown conversion {match[0]!r} in a pattern")
        return _literal("%" if letter is None else match[0]), end
    option = ""
    if letter in _WITH_OPTION and match.string.startswith("{", end):
        option, brace, _ = match.string[end + 1 :].partition("}")
        end += len(option) + 2
        if not brace:
            complain("unclosed brace in a pattern")
            option = ""
    try:
        convert = _CONVERSIONS[letter](option)
    except (ValueError, OverflowError):
        complain(f"{option!r} is not a time format")
        convert = _CONVERSIONS[letter]("")
    widest = _width(match[3]) if match[3] else _UNLIMITED
    return _Part(convert, left=bool(match[1]), narrowest=min(_width(match[2]), _WIDEST), widest=widest), end


_UNLIMITED: Final = 1 << 30


def _width(digits: str) -> int:
    return min(int(digits[:9]), _UNLIMITED) if digits else 0


# From the settings of an appender's layout


def make_layout(properties: Properties) -> logging.Formatter:
    """Return a layout; the setting ``""`` is its class. Complain of an invalid one and return the simple layout."""
    kind = properties.text("")
    if kind == "log4cplus::TTCCLayout":
        return _make_ttcc(properties)
    if kind == "log4cplus::PatternLayout":
        return _make_pattern(properties)
    if kind not in ("", "log4cplus::SimpleLayout"):
        properties.complain("", f"unsupported layout {kind}")
    return SimpleLayout()


def _make_ttcc(properties: Properties) -> logging.Formatter:
    text, local = properties.text(".DateFormat"), not properties.flag(".Use_gmtime", default=False)
    if text:
        try:
            return TTCCLayout(date(text, local=local))
        except ValueError:
            properties.complain(".DateFormat", f"{text!r} is not a time format")
    return TTCCLayout(lambda record: str(int(record.relativeCreated)))


def _make_pattern(properties: Properties) -> logging.Formatter:
    key = ".ConversionPattern" if properties.text(".ConversionPattern") else ".Pattern"
    pattern = properties.text(key)
    if not pattern:
        properties.complain("", "PatternLayout has no ConversionPattern")
        return SimpleLayout()
    return PatternLayout(pattern, lambda what: properties.complain(key, what))
