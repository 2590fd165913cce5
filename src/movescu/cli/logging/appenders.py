"""Appenders and filters of log4cplus, as handlers and filters of ``logging``.

A handler writes the text of its layout, line ends included. An appender that cannot be set up is left out with a
warning; a message that cannot be written later is dropped silently: no log fails a retrieve. File names, and the order
of backups, are those of log4cplus.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import re
import sys
import time
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from movescu.cli.logging.layouts import logger_name, make_layout
from movescu.cli.logging.properties import host_name
from movescu.cli.options.output_files import check_name, check_replaced
from movescu.errors import UsageError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from movescu.cli.logging.properties import Properties

    Decision: TypeAlias = Callable[[logging.LogRecord], bool | None]
    """A filter: True logs the record, False drops it, None leaves the decision to the next filter."""

_UNITS: Final = {"": 1, "KB": 1 << 10, "MB": 1 << 20}
_LARGEST_FILE: Final = 10 << 20
_SMALLEST_FILE: Final = 200 << 10  # log4cplus does not roll smaller ones
_MOST_BACKUPS: Final = 9999

_SCHEDULES: Final = {
    "MONTHLY": "%Y-%m",
    "WEEKLY": "%Y-%W",
    "DAILY": "%Y-%m-%d",
    "TWICE_DAILY": "%Y-%m-%d-%p",
    "HOURLY": "%Y-%m-%d-%H",
    "MINUTELY": "%Y-%m-%d-%H-%M",
}

_FACILITIES: Final = {
    "kern": 0,
    "user": 1,
    "mail": 2,
    "daemon": 3,
    "auth": 4,
    "syslog": 5,
    "lpr": 6,
    "news": 7,
    "uucp": 8,
    "cron": 9,
    "authpriv": 10,
    "ftp": 11,
    **{f"local{number}": 16 + number for number in range(8)},
}
_SEVERITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


class _Console(logging.StreamHandler[Any]):
    terminator = ""


class _File(logging.FileHandler):
    """File that is appended to, or truncated."""

    terminator = ""

    def __init__(self, path: str, mode: str) -> None:
        super().__init__(path, mode, encoding="utf-8", errors="backslashreplace")

    def _roll(self, names: Sequence[str]) -> None:
        """Rename the file to a backup and open a new one. ``names`` are those of the backups, the newest first."""
        if self.stream is not None:
            self.stream.close()
        with contextlib.suppress(OSError):  # a directory may have the name: then the file just grows
            for older, newer in itertools.pairwise(reversed((self.baseFilename, *names))):
                if os.path.exists(newer):  # strings, as in the base class
                    os.replace(newer, older)
        self.mode = "a"
        self.stream = self._open()


class RollingFile(_File):
    """File that becomes ``.1`` once it has more than ``largest`` bytes, when ``.1`` becomes ``.2`` and so on."""

    def __init__(self, path: str, mode: str, largest: int, backups: int) -> None:
        super().__init__(path, mode)
        self._largest = largest
        self._backups = backups

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message, then roll if the file is too large."""
        super().emit(record)
        try:
            if self.stream is not None and os.fstat(self.stream.fileno()).st_size > self._largest:
                self._roll([f"{self.baseFilename}.{number + 1}" for number in range(self._backups)])
        except (OSError, ValueError):
            self.handleError(record)


class DailyRollingFile(_File):
    """File that is renamed to its name and date at the end of its period, and when the program ends.

    An existing file of that name becomes ``.1``.
    """

    def __init__(self, path: str, mode: str, schedule: str, backups: int) -> None:
        super().__init__(path, mode)
        self._schedule = schedule
        self._backups = backups
        self._period = self._period_of(time.time())

    def _period_of(self, seconds: float) -> str:
        return time.strftime(self._schedule, time.localtime(seconds))

    def emit(self, record: logging.LogRecord) -> None:
        """Roll if the period is over, then write a message."""
        period = self._period_of(record.created)
        if period != self._period:
            self._end_period(record)
            self._period = period
        super().emit(record)

    def _end_period(self, record: logging.LogRecord | None = None) -> None:
        name = f"{self.baseFilename}.{self._period}"
        try:
            self._roll([name, *(f"{name}.{number + 1}" for number in range(self._backups))])
        except (OSError, ValueError):
            if record is not None:
                self.handleError(record)

    def close(self) -> None:
        """Rename the file to its date, as log4cplus does at the end."""
        with self._lock_of():
            if self.stream is not None and not self.stream.closed:
                self._end_period()
        super().close()

    def _lock_of(self) -> contextlib.AbstractContextManager[Any]:
        return self.lock or contextlib.nullcontext()


class _RemoteSyslog(logging.Handler):
    """Syslog server, which receives datagrams in the format of RFC 5424."""

    def __init__(self, sock: socket.socket, identity: str, facility: int) -> None:
        super().__init__()
        self._socket = sock
        self._identity = identity
        self._facility = facility
        self._host = host_name()

    def emit(self, record: logging.LogRecord) -> None:
        """Send a message."""
        try:
            when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            head = f"<{self._facility << 3 | _severity(record)}>1 {when}.{int(record.msecs):03}Z {self._host}"
            text = f"{head} {self._identity} {os.getpid()} {logger_name(record.name)} - {self.format(record)}"
            self._socket.send(text.encode("utf-8", "backslashreplace"))
        except (OSError, ValueError):
            self.handleError(record)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()


class _LocalSyslog(logging.Handler):
    """Syslog of this machine."""

    def __init__(self, log: Callable[[int, str], None], facility: int) -> None:
        super().__init__()
        self._log = log
        self._facility = facility

    def emit(self, record: logging.LogRecord) -> None:
        """Log a message."""
        try:
            text = self.format(record).rstrip("\n").encode("utf-8", "backslashreplace").decode()
            self._log(self._facility << 3 | _severity(record), text.replace("\0", ""))
        except (OSError, ValueError):
            self.handleError(record)


def _severity(record: logging.LogRecord) -> int:
    return next((severity for level, severity in _SEVERITIES if record.levelno >= level), 7)


# Appenders by name


def _make_console(properties: Properties) -> logging.Handler:
    # The spelling matters: with logToStderr, as in DCMTK's samples, log4cplus writes to standard output.
    return _Console(sys.stderr if properties.flag(".logToStdErr", default=False) else sys.stdout)


def _path_and_mode(properties: Properties, *, append: bool) -> tuple[str, str]:
    path = properties.text(".File")
    if not path:
        raise ValueError("File is not set")
    check_name(path)
    check_replaced(path)
    return path, "a" if properties.flag(".Append", default=append) else "w"


def _make_file(properties: Properties) -> logging.Handler:
    return _File(*_path_and_mode(properties, append=False))


def _make_rolling(properties: Properties) -> logging.Handler:
    match = re.fullmatch(r"([0-9]{1,12})\s*(|KB|MB)", properties.text(".MaxFileSize").strip(), re.IGNORECASE)
    size = int(match[1]) * _UNITS[match[2].upper()] if match else _LARGEST_FILE
    backups = properties.number(".MaxBackupIndex", 1, 1, _MOST_BACKUPS)
    return RollingFile(*_path_and_mode(properties, append=True), max(size, _SMALLEST_FILE), backups)


def _make_daily(properties: Properties) -> logging.Handler:
    name = properties.text(".Schedule", "DAILY").upper()
    if name not in _SCHEDULES:
        properties.complain(".Schedule", f"unknown schedule {properties.text('.Schedule')}; using DAILY")
    schedule = _SCHEDULES.get(name, _SCHEDULES["DAILY"])
    backups = properties.number(".MaxBackupIndex", 10, 1, _MOST_BACKUPS)
    return DailyRollingFile(*_path_and_mode(properties, append=True), schedule, backups)


def _make_syslog(properties: Properties) -> logging.Handler:
    name = properties.text(".facility", "user").lower()
    if name not in _FACILITIES:
        properties.complain(".facility", f"unknown syslog facility {name}; using user")
    facility, identity = _FACILITIES.get(name, _FACILITIES["user"]), properties.text(".ident")
    if host := properties.text(".host"):
        return _RemoteSyslog(_datagrams_to(host, properties.number(".port", 514, 1, 65535)), identity, facility)
    import syslog  # not on every system

    syslog.openlog(identity.replace("\0", "") or "movescu")
    return _LocalSyslog(syslog.syslog, facility)


def _datagrams_to(host: str, port: int) -> socket.socket:
    import socket  # loaded for this appender only

    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.connect(address)
        sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
    except BaseException:
        sock.close()
        raise
    return sock


def _make_null(_: Properties) -> logging.Handler:
    return logging.NullHandler()


_APPENDERS: Final[dict[str, Callable[[Properties], logging.Handler]]] = {
    "log4cplus::ConsoleAppender": _make_console,
    "log4cplus::FileAppender": _make_file,
    "log4cplus::RollingFileAppender": _make_rolling,
    "log4cplus::DailyRollingFileAppender": _make_daily,
    "log4cplus::SysLogAppender": _make_syslog,
    "log4cplus::NullAppender": _make_null,
}


def make_appender(properties: Properties) -> logging.Handler | None:
    """Return the handler for an appender's settings, or None after a complaint; the setting ``""`` is its class."""
    kind = properties.text("")
    if kind not in _APPENDERS:
        properties.complain("", f"unsupported appender {kind}" if kind else "the appender has no class")
        return None
    try:
        handler = _APPENDERS[kind](properties)
    except (OSError, ValueError, ImportError, OverflowError, UsageError) as error:
        reason = getattr(error, "strerror", None) or error
        properties.complain("", f"cannot set up the appender {kind}: {reason}")
        return None
    handler.setFormatter(make_layout(properties.below(".layout")))
    handler.setLevel(properties.level(".Threshold") or logging.NOTSET)
    if filters := _make_filters(properties):
        handler.addFilter(lambda record: _passes(filters, record))
    return handler


# Filters


def _deny_all(_: Properties) -> Decision:
    return lambda _record: False


def _level_match(properties: Properties) -> Decision:
    level, verdict = properties.level(".LogLevelToMatch"), properties.flag(".AcceptOnMatch", default=False)
    return lambda record: verdict if record.levelno == level else None


def _level_range(properties: Properties) -> Decision:
    low, high = properties.level(".LogLevelMin"), properties.level(".LogLevelMax")
    verdict = properties.flag(".AcceptOnMatch", default=False) or None

    def decide(record: logging.LogRecord) -> bool | None:
        outside = (low is not None and record.levelno < low) or (high is not None and record.levelno > high)
        return False if outside else verdict

    return decide


def _string_match(properties: Properties) -> Decision:
    text, verdict = properties.text(".StringToMatch"), properties.flag(".AcceptOnMatch", default=False)
    return lambda record: verdict if text and text in record.getMessage() else None


_FILTERS: Final[dict[str, Callable[[Properties], Decision]]] = {
    "log4cplus::spi::DenyAllFilter": _deny_all,
    "log4cplus::spi::LogLevelMatchFilter": _level_match,
    "log4cplus::spi::LogLevelRangeFilter": _level_range,
    "log4cplus::spi::StringMatchFilter": _string_match,
}


def _make_filters(properties: Properties) -> Sequence[Decision]:
    """Return the filters 1, 2 and so on, up to the first missing number."""
    filters: list[Decision] = []
    groups = properties.below(".filters.").groups()
    for number in itertools.count(1):
        group = groups.get(str(number))
        if group is None or not (kind := group.text("")):
            break
        if kind in _FILTERS:
            filters.append(_FILTERS[kind](group))
        else:
            group.complain("", f"unsupported filter {kind}")
    return filters


def _passes(filters: Sequence[Decision], record: logging.LogRecord) -> bool:
    """Return True if the first filter that decides logs the record, or if none decides."""
    decisions = (decide(record) for decide in filters)
    return next((decision for decision in decisions if decision is not None), True)
