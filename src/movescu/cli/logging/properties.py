"""Property files as log4cplus reads them: ``key = value`` on a line, ``#`` before a comment, ``${name}`` for a value.

A name stands for a setting of the file itself, for something of the running program (its name, process ID, host, and
the date and time of reading), or for a variable of the environment, in this order; an unknown one stays as it is
written. ``include file`` reads another file in its place. What the settings mean is for ``config_file``.
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
_LONGEST: Final = 1 << 16  # characters of a value after its variables were replaced
_MOST: Final = 1000  # variables that are replaced
_DEEPEST: Final = 8  # files that include one another
_MOST_FILES: Final = 100  # that are included, the same one as often as it is
_LONGEST_CHAIN: Final = 100  # variables that stand in the value of one another
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_BLANKS: Final = " \t\r\n\v\f"

_LEVEL_NAMES: Final = {name.upper(): level for name, level in LEVELS.items()} | {"ALL": TRACE}
_TRUTHS: Final = {"true": True, "1": True, "false": False, "0": False}


class Property(NamedTuple):
    """A value, and the file and line where it stands."""

    value: str
    place: str


def read_text(path: str) -> str:
    """Give the content of a configuration file. Raises ``UsageError``."""
    try:
        with open(path, "rb") as file:  # a path as the user wrote it
            data = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"log configuration {path} cannot be read: {reason}") from error
    if len(data) > _LARGEST:
        raise UsageError(f"log configuration {path} has more than {_LARGEST} bytes")
    # Bytes that are no text survive the way to a file name and back.
    return data.decode("utf-8", "surrogateescape")


class Properties:
    """The settings of one file, or those of them that begin with a prefix, under the rest of their name."""

    def __init__(self, entries: Mapping[str, Property], complain: Callable[[str], None]) -> None:
        self._entries = entries
        self._complain = complain

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def below(self, prefix: str) -> Properties:
        """Give the settings that begin with the prefix."""
        found = {key[len(prefix) :]: entry for key, entry in self._entries.items() if key.startswith(prefix)}
        return Properties(found, self._complain)

    def groups(self) -> dict[str, Properties]:
        """Give the settings by what stands before the first dot of their names, under the rest, dot included."""
        found: dict[str, dict[str, Property]] = {}
        for key, entry in self._entries.items():
            name, dot, rest = key.partition(".")
            found.setdefault(name, {})[dot + rest] = entry
        return {name: Properties(entries, self._complain) for name, entries in found.items()}

    def text(self, key: str, default: str = "") -> str:
        """Give a value; a key that is not there has the default."""
        entry = self._entries.get(key)
        return default if entry is None else entry.value

    def flag(self, key: str, *, default: bool) -> bool:
        """Give a value that is true or false; one that is neither counts as not there, as with DCMTK."""
        return _TRUTHS.get(self.text(key).lower(), default)

    def number(self, key: str, default: int, low: int, high: int) -> int:
        """Give a value that is a number, brought between ``low`` and ``high``; one that is none counts as not there."""
        match = re.match(r"[0-9]{1,9}", self.text(key))
        return min(max(int(match[0]) if match else default, low), high)

    def level(self, key: str) -> int | None:
        """Give a level; None if there is none, or, with a complaint, an unknown one."""
        name = self.text(key).upper()
        if name and name not in _LEVEL_NAMES:
            self.complain(key, f"there is no level {self.text(key)}")
        return _LEVEL_NAMES.get(name)

    def place(self, key: str) -> str:
        """Tell file and line of a setting."""
        return self._entries[key].place if key in self._entries else "log configuration"

    def complain(self, key: str, what: str) -> None:
        """Say what is wrong with a setting that is passed over for it."""
        self._complain(f"{self.place(key)}: {what}")


def level_of(name: str) -> int | None:
    """Give the level of a name, None for the level of the logger above."""
    return _LEVEL_NAMES.get(name.upper())


def parse(text: str, path: str, complain: Callable[[str], None]) -> Properties:
    """Read the text of a property file. Raises ``UsageError`` for a file in which there is no setting."""
    reader = _Reader(complain)
    reader.read(text, path)
    if not reader.entries:
        raise UsageError(f"log configuration {path} does not contain any settings", hint="A setting is key = value.")
    return Properties(_Expansion(reader.entries).all(), complain)


class _Reader:
    """Collects the settings of a file, and of those that it includes."""

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
            self._complain(f"{place}: more than {_DEEPEST} files include one another")
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
    """Replaces variables, in keys too. Values that would contain themselves, or grow too long, stay."""

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
        """Give the settings with everything replaced."""
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
    """Give the name of this machine."""
    import socket  # loaded by whoever retrieves, not by who reads a file

    return socket.gethostname()
