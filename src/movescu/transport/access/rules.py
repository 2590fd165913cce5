"""Parser of hosts.allow and hosts.deny, and the options of their rules (hosts_access(5), hosts_options(5)).

Where the manual pages are silent, libwrap's behaviour counts (Debian's build, with option processing and IPv6).
``decision`` matches the rules with daemon and client.

Nothing in these files is ever run, or applied to this process: options that would do so are refused with a warning that
names file and line. A refused ``spawn`` or ``banners`` leaves the verdict to the rest of the rule. Access is denied by
``twist``, which would give the connection to another program, by ``aclexec``, which would have a program decide, and by
``user`` and ``group``, which would drop privileges that this process keeps. As in libwrap, an error in the options of
the rule that matches denies, too.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from movescu.transport.access.patterns import lower, split_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LINE_LIMIT: Final = 2048
"""Bytes of libwrap's line buffer, its final zero included; a longer logical line ends its file."""

MAXIMUM_FILE: Final = 1 << 24
"""Bytes of the largest file that is read. libwrap has no limit; real files are far smaller."""

_LONGEST_TEXT: Final = 300

_BLANK: Final = " \t\r\n"
_SPACE: Final = " \t\r\n\v\f"

FACILITIES: Final = frozenset(
    [
        "kern",
        "user",
        "mail",
        "daemon",
        "auth",
        "lpr",
        "news",
        "uucp",
        "cron",
        "local0",
        "local1",
        "local2",
        "local3",
        "local4",
        "local5",
        "local6",
        "local7",
    ]
)
SEVERITIES: Final = frozenset(["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"])


class _Value(Enum):
    """Whether an option takes a value."""

    NONE = auto()
    OPTIONAL = auto()
    NEEDED = auto()


@dataclass(frozen=True, slots=True)
class _Option:
    """An option of hosts_options(5), and its effect here."""

    value: _Value
    last: bool = False  # must be the last option of its rule
    verdict: bool | None = None  # ends the rule: allow or deny
    warning: str = ""  # why it has no effect
    valid: Callable[[str], bool] | None = None


def _number(base: int, minimum: int | None = None, maximum: int | None = None) -> Callable[[str], bool]:
    pattern = re.compile(rf"[{_SPACE}]*[+-]?[0-{base - 1}]+")  # a line is too short for a number that int() refuses

    def valid(value: str) -> bool:
        if not pattern.fullmatch(value):
            return False
        number = int(value, base)
        return (minimum is None or minimum <= number) and (maximum is None or number <= maximum)

    return valid


def _is_severity(value: str) -> bool:
    facility, dot, severity = lower(value).partition(".")
    return (facility in FACILITIES and severity in SEVERITIES) if dot else facility in SEVERITIES


def _is_setting(value: str) -> bool:
    name = re.split(rf"[{_BLANK}]", value, maxsplit=1)[0]
    return bool(name) and "=" not in name


_NO_EFFECT: Final = "has no effect here"
_NEVER_RUN: Final = "is refused: no command is ever run"

OPTIONS: Final = {
    "allow": _Option(_Value.NONE, last=True, verdict=True),
    "deny": _Option(_Value.NONE, last=True, verdict=False),
    "severity": _Option(_Value.NEEDED, valid=_is_severity),
    "spawn": _Option(_Value.NEEDED, warning=_NEVER_RUN),
    "twist": _Option(_Value.NEEDED, last=True, verdict=False, warning=f"{_NEVER_RUN}; access is denied"),
    "aclexec": _Option(_Value.NEEDED, verdict=False, warning=f"{_NEVER_RUN}; access is denied"),
    "banners": _Option(_Value.NEEDED, warning="is refused: a DICOM peer cannot read a text"),
    "user": _Option(_Value.NEEDED, verdict=False, warning="is refused: the user is not changed; access is denied"),
    "group": _Option(_Value.NEEDED, verdict=False, warning="is refused: the group is not changed; access is denied"),
    "umask": _Option(_Value.NEEDED, warning=_NO_EFFECT, valid=_number(8, 0, 0o777)),
    "nice": _Option(_Value.OPTIONAL, warning=_NO_EFFECT, valid=_number(10)),
    "setenv": _Option(_Value.NEEDED, warning=_NO_EFFECT, valid=_is_setting),
    "linger": _Option(_Value.NEEDED, warning=_NO_EFFECT, valid=_number(10, 0)),
    "rfc931": _Option(_Value.OPTIONAL, warning=_NO_EFFECT, valid=_number(10, 1)),
    "keepalive": _Option(_Value.NONE),  # every connection of this program has it
}
"""The options of hosts_options(5), and Debian's ``aclexec``."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: its lists as text, its options (None if it has none), and its location."""

    daemons: str
    clients: str
    options: str | None
    location: str
    """File and line (``hosts.deny, line 3``), the last of continued lines, as libwrap counts."""

    def __str__(self) -> str:
        fields = (self.daemons, self.clients) if self.options is None else (self.daemons, self.clients, self.options)
        return printable(": ".join(field.strip(_SPACE) for field in fields))


@dataclass(frozen=True, slots=True)
class Table:
    """The rules of one file, in order.

    ``broken``: the file could not be read beyond these rules; if it is hosts.deny, libwrap then denies.
    """

    rules: tuple[Rule, ...] = ()
    warnings: tuple[str, ...] = ()
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The result of a rule's options; ``severity``: of the last ``severity`` option, empty if there is none."""

    allowed: bool
    severity: str
    warnings: tuple[str, ...]


def read_table(path: str) -> Table:
    """Read a file of rules: no rules if it is missing, ``broken`` if it cannot be read (hosts_access(5))."""
    try:
        data = read_limited(path)
    except FileNotFoundError:
        return Table()
    except (OSError, ValueError) as error:
        return Table(warnings=(printable(f"{path} cannot be read: {reason(error)}"),), broken=True)
    return parse(data, path)


def read_limited(path: str) -> bytes:
    """Read a whole file. Raise ``OSError``, or ``ValueError`` for an invalid path or too large a file."""
    with open(path, "rb") as file:  # a path from a rule need not be text that pathlib can print
        data = file.read(MAXIMUM_FILE + 1)
    if len(data) > MAXIMUM_FILE:
        raise ValueError(f"the file is larger than {MAXIMUM_FILE >> 20} MiB")
    return data


def read_patterns(path: str) -> list[str]:
    """Read a file of patterns: words between blanks; commas, EXCEPT and # have no meaning there (hosts_access(5)).

    Raise ``OSError``, or ``ValueError`` if it is not a regular file: a pipe or a device would block.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("not a regular file")
    text = read_limited(path).decode("utf-8", "surrogateescape")
    words = (word.partition("\0")[0] for word in re.split(rf"[{_SPACE}]+", text))
    return [word for word in words if word]


def reason(error: Exception) -> str:
    """Return why a file cannot be read, for a message."""
    return getattr(error, "strerror", None) or str(error)


def printable(text: str) -> str:
    """Return the text of a file as one line of printable characters, cut to a length fit for a log."""
    text = " ".join(text[:_LONGEST_TEXT].split())
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def parse(data: bytes, path: str) -> Table:
    """Parse the rules of a file. Never raises: an invalid line becomes a warning."""
    rules: list[Rule] = []
    warnings: list[str] = []
    for number, line in _logical_lines(data):
        location = printable(f"{path}, line {number}")
        if line is None:
            warnings.append(f"{location}: missing newline, or line too long: the rest of the file is ignored")
            return Table(tuple(rules), tuple(warnings), broken=True)
        if line.startswith("#") or not line.strip(_BLANK):
            continue
        daemons, rest = split_at(line, ":")
        if rest is None:
            warnings.append(f'{location}: missing ":" between daemons and clients: the line is ignored')
            continue
        clients, options = split_at(rest, ":")
        rules.append(Rule(daemons, clients, options, location))
    return Table(tuple(rules), tuple(warnings))


def _logical_lines(data: bytes) -> Iterator[tuple[int, str | None]]:
    """Yield each logical line with the number of its last line; None for one that is too long or not terminated.

    As in libwrap, which reads C strings, a zero byte hides the rest of its line and joins the next one.
    """
    line, number, at = b"", 0, 0
    while at < len(data) and len(line) < LINE_LIMIT - 1:
        room = at + LINE_LIMIT - 1 - len(line)
        end = data.find(b"\n", at, room) + 1 or room
        chunk = data[at:end].partition(b"\0")[0]
        at = end
        line += chunk
        if not chunk.endswith(b"\n"):
            continue
        number += 1
        if chunk.endswith(b"\\\n"):
            line = line[:-2]
        else:
            yield number, line.decode("utf-8", "surrogateescape")
            line = b""
    if line:
        yield number + 1, None


def decide(rule: Rule, *, granted: bool) -> Decision:
    """Apply the options of the rule that matched; ``granted`` is the verdict if none of them has one."""
    if rule.options is None:
        return Decision(granted, "", ())
    warnings: list[str] = []
    severity = ""
    # A colon after a backslash is part of the option.
    fields = [field.replace("\\:", ":") for field in re.split(r"(?<!\\):", rule.options)]
    for left, field in zip(reversed(range(len(fields))), fields, strict=True):
        name, value = _name_and_value(field)
        option = OPTIONS.get(lower(name))
        if problem := _problem(name, value, option, at_end=not left):
            warnings.append(printable(f"{rule.location}: {problem}; access is denied"))
        if option is None or problem:
            return Decision(allowed=False, severity=severity, warnings=tuple(warnings))
        if option.warning:
            warnings.append(f'{rule.location}: option "{lower(name)}" {option.warning}')
        if option.verdict is not None:
            return Decision(option.verdict, severity, tuple(warnings))
        if lower(name) == "severity":
            severity = lower(value).rpartition(".")[2]
    return Decision(granted, severity, tuple(warnings))


def _name_and_value(field: str) -> tuple[str, str]:
    """Split ``name value``, ``name=value`` or ``name = value``."""
    parts = re.match(rf"([^={_BLANK}]*)[{_BLANK}]*=?[{_BLANK}]*(.*)", field.strip(_SPACE), re.DOTALL)
    return (parts[1], parts[2]) if parts else ("", "")


def _problem(name: str, value: str, option: _Option | None, *, at_end: bool) -> str:  # noqa: PLR0911 - one each
    """Return the error of an option, empty if it has none (hosts_options(5), "diagnostics")."""
    if not name:
        return "missing option name"
    if option is None:
        return f'bad option name "{name}"'
    if not value and option.value is _Value.NEEDED:
        return f'option "{name}" requires a value'
    if value and option.value is _Value.NONE:
        return f'option "{name}" requires no value'
    if option.last and not at_end:
        return f'option "{name}" must be at the end'
    if value and option.valid and not option.valid(value):
        return f'option "{name}": bad value "{value}"'
    return ""
