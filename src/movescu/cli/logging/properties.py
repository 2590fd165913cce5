"""Property files of log4cplus: ``key = value`` on a line, ``#`` before a comment, ``${name}`` for a variable.

A variable is a property of the running program (name, process ID, host, date and time of reading), a setting of the
file, or an environment variable, in this order; an unknown one is left as written. ``include file`` is replaced by the
settings of another file. ``config_file`` interprets the settings.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu._runtime.hex_dump import TRACE
from movescu.cli.logging.level import LEVELS
from movescu.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_LARGEST: Final = 1 << 20  # bytes of a file
_LONGEST: Final = 1 << 16  # characters of an expanded value
_MOST: Final = 1000  # variables expanded
_DEEPEST: Final = 8  # nested includes
_MOST_FILES: Final = 100  # included, repetitions counted
_LONGEST_CHAIN: Final = 100  # nested variables
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_BLANKS: Final = " \t\r\n\v\f"

_LEVEL_NAMES: Final = {name.upper(): level for name, level in LEVELS.items()} | {"ALL": TRACE}
_TRUTHS: Final = {"true": True, "1": True, "false": False, "0": False}


class Property(NamedTuple):
    """Value of a setting, and its file and line."""

    value: str
    place: str


def read_text(path: str) -> str:
    """Return the content of a configuration file. Raises ``UsageError``."""
    try:
        with open(path, "rb") as file:  # the path as typed
            data = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"log configuration {path} cannot be read: {reason}") from error
    if len(data) > _LARGEST:
        raise UsageError(f"log configuration {path} has more than {_LARGEST} bytes")
    # Undecodable bytes survive the round trip to a file name.
    return data.decode("utf-8", "surrogateescape")


class Properties:
    """Settings of one file, or those with a common prefix, by the rest of their names."""

    def __init__(self, entries: Mapping[str, Property], complain: Callable[[str], None]) -> None:
        self._entries = entries
        self._complain = complain

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def below(self, prefix: str) -> Properties:
        """Return the settings whose names begin with the prefix."""
        found = {key[len(prefix) :]: entry for key, entry in self._entries.items() if key.startswith(prefix)}
        return Properties(found, self._complain)

    def groups(self) -> dict[str, Properties]:
        """Return the settings grouped by the part before the first dot; inside, the rest, dot included, is the name."""
        found: dict[str, dict[str, Property]] = {}
        for key, entry in self._entries.items():
            name, dot, rest = key.partition(".")
            found.setdefault(name, {})[dot + rest] = entry
        return {name: Properties(entries, self._complain) for name, entries in found.items()}

    def text(self, key: str, default: str = "") -> str:
        """Return a value, or the default for a missing key."""
        entry = self._entries.get(key)
        return default if entry is None else entry.value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return a value that is true or false, or the default for any other, as in DCMTK."""
        return _TRUTHS.get(self.text(key).lower(), default)

    def number(self, key: str, default: int, low: int, high: int) -> int:
        """Return a number, or the default for any other value, limited to ``low`` and ``high``."""
        match = re.match(r"[0-9]{1,9}", self.text(key))
        return min(max(int(match[0]) if match else default, low), high)

    def level(self, key: str) -> int | None:
        """Return a level; None if it is missing or, after a complaint, unknown."""
        name = self.text(key).upper()
        if name and name not in _LEVEL_NAMES:
            self.complain(key, f"unknown level {self.text(key)}")
        return _LEVEL_NAMES.get(name)

    def place(self, key: str) -> str:
        """Return file and line of a setting."""
        return self._entries[key].place if key in self._entries else "log configuration"

    def complain(self, key: str, what: str) -> None:
        """Report a setting that is ignored, with its place."""
        self._complain(f"{self.place(key)}: {what}")


def level_of(name: str) -> int | None:
    """Return the level of a name, None for that of the logger above."""
    return _LEVEL_NAMES.get(name.upper())


def parse(text: str, path: str, complain: Callable[[str], None]) -> Properties:
    """Parse the text of a property file. Raises ``UsageError`` for a file without settings."""
    reader = _Reader(complain)
    reader.read(text, path)
    if not reader.entries:
        raise UsageError(f"log configuration {path} does not contain any settings", hint="A setting is key = value.")
    return Properties(_Expansion(reader.entries).all(), complain)


class _Reader:
    """Collector of the settings of a file and of the files it includes."""

    def __init__(self, complain: Callable[[str], None]) -> None:
        self.entries: dict[str, Property] = {}
        self._complain = complain
        self._included = 0

    def read(self, text: str, path: str, depth: int = 1) -> None:
        for number, raw in enumerate(text.split("\n"), 1):
            line, place = raw.strip(_BLANKS), f"log configuration {path}, line {number}"
            if not line or line.startswith("#"):
                continue
            key, equals, value = line.partition("=")
            if equals:
                self.entries[key.rstrip(_BLANKS)] = Property(value.lstrip(_BLANKS), place)
            elif re.match(r"include\s", line):
                self._include(line[7:].strip(_BLANKS), place, depth)

    def _include(self, path: str, place: str, depth: int) -> None:
        if depth >= _DEEPEST:
            self._complain(f"{place}: includes are nested more than {_DEEPEST} deep")
            return
        self._included += 1
        if self._included > _MOST_FILES:
            raise UsageError(f"{place}: more than {_MOST_FILES} files are included")
        try:
            text = read_text(path)
        except UsageError as error:
            self._complain(f"{place}: {error}")
        else:
            self.read(text, path, depth + 1)


class _Expansion:
    """Expansion of variables, in keys too. Values that contain themselves, or grow too long, stay as written."""

    def __init__(self, entries: Mapping[str, Property]) -> None:
        self._entries = entries
        self._left = _MOST
        now = time.localtime()
        self._given = {
            "appname": "movescu",
            "pid": str(os.getpid()),
            "hostname": host_name(),
            "date": time.strftime("%Y%m%d", now),
            "time": time.strftime("%H%M%S", now),
        }

    def all(self) -> dict[str, Property]:
        """Return the settings, expanded."""
        return {
            self._expanded(key, frozenset()): Property(self._expanded(entry.value, frozenset((key,))), entry.place)
            for key, entry in self._entries.items()
        }

    def _expanded(self, text: str, within: frozenset[str]) -> str:
        if "${" not in text:
            return text
        result = _VARIABLE.sub(lambda match: self._value(match, within), text)
        return result if len(result) <= _LONGEST else text

    def _value(self, match: re.Match[str], within: frozenset[str]) -> str:
        name = match[1]
        if name in self._given:
            return self._given[name]
        entry = self._entries.get(name)
        if entry is None:
            return os.environ.get(name, match[0]) if "\0" not in name else match[0]
        if name in within or self._left <= 0 or len(within) > _LONGEST_CHAIN:
            return match[0]
        self._left -= 1
        return self._expanded(entry.value, within | {name})


def host_name() -> str:
    """Return the name of this machine."""
    import socket  # not loaded yet, and needed by few files

    return socket.gethostname()
