"""The command of ``--on-study`` or ``--on-series``: words with placeholders, run without a shell.

The text is split into words as a shell does it, but for backslashes on Windows, which are part of paths. Each
placeholder is then replaced within its word. So a value with blanks or quotes stays one argument, whatever an archive
has put into it. Braces that are no placeholder are doubled.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
from typing import TYPE_CHECKING, Final

from movescu._runtime.record import Record
from movescu.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PLACEHOLDERS: Final = {
    "study_uid": "Study Instance UID",
    "series_uid": "Series Instance UID, with --on-series alone",
    "patient_id": "Patient ID of the first object; empty if it has none",
    "directory": "deepest folder that has all of the files, as an absolute path",
    "count": "number of objects",
}
"""Placeholder -> its meaning."""

_BRACES: Final = re.compile(r"\{\{|\}\}|\{(\w*)\}|[{}]")


class CommandTemplate(Record):
    """A command and what it runs for. ``option``: its name, for messages. ``level``: STUDY or SERIES."""

    option: str
    level: str
    text: str
    words: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Digest by which the journal knows the command: the text may have secrets."""
        return hashlib.sha256(f"{self.level}\0{self.text}".encode("utf-8", "surrogateescape")).hexdigest()

    def arguments(self, values: Mapping[str, str]) -> list[str]:
        """Return the arguments of the command; ``values``: by placeholder."""
        return [_BRACES.sub(lambda match: _replaced(match, values), word) for word in self.words]


def parse_command(option: str, level: str, text: str) -> CommandTemplate:
    """Parse a command. Raise ``UsageError`` if it cannot be split, has an unknown placeholder or does not exist."""
    try:
        words = tuple(_words(text))
    except ValueError as error:
        raise UsageError(f"{option} {text!r}: {str(error).lower()}") from None
    if not words or not words[0]:
        raise UsageError(f"{option} {text!r} names no command")
    known = {name for name in PLACEHOLDERS if name != "series_uid" or level == "SERIES"}
    for match in (match for word in words for match in _BRACES.finditer(word)):
        if match[0] not in ("{{", "}}") and match[1] not in known:
            names = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS if name in known)
            raise UsageError(
                f"{option}: {match[0]} is not a placeholder",
                hint=f"placeholders are {names}; write {{{{ and }}}} for braces",
            )
    made = CommandTemplate(option, level, text, words)
    (program,) = made.arguments(dict.fromkeys(PLACEHOLDERS, ""))[:1]
    if not _BRACES.search(words[0]) and shutil.which(program) is None:
        raise UsageError(
            f"{option}: cannot run {program!r}: there is no such program",
            hint="give its path; aliases, pipes and other features of a shell need sh -c '...'",
        )
    return made


def _words(text: str) -> Iterator[str]:
    """Split as a shell does; on Windows a backslash is an ordinary character."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    if os.sep == "\\":
        lexer.escape = ""
    return iter(lexer)


def _replaced(match: re.Match[str], values: Mapping[str, str]) -> str:
    return match[0][0] if match[0] in ("{{", "}}") else values[match[1]]
