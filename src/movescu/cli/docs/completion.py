"""Completion scripts for bash, zsh and fish (``--completion``), generated from the option table.

The templates are ``data/completion.bash``, ``.zsh`` and ``.fish``. Their words between ``@`` signs are replaced here:
names, the number of values of each option, and the candidates for a value. Options that are refused are not offered.
The scripts do not contain the five thousand keywords for ``-k``: they call ``movescu --completion keywords`` when the
first key is completed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from movescu._runtime import data_file
from movescu.cli.options.table import OPTIONS, PARAMETERS, QUERY_FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from movescu.cli.options.option import Option, Value

_DATA: Final = os.path.join(os.path.dirname(__file__), "data")

_LEVELS: Final = ("PATIENT", "STUDY", "SERIES", "IMAGE")
_LEVEL_KEYWORDS: Final = (
    *("QueryRetrieveLevel", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
)
"""Candidates for ``-k`` if the program lists no keywords, as when DCMTK's is first in the path."""

_WORDS: Final = ("choice", "layout")
"""Kinds of values whose words are offered."""

_OFFERED: Final = tuple(option for option in OPTIONS if not option.refusal)


def completion_text(shell: str) -> str:
    """Return the script for a shell; or, for the scripts, the keywords or the names of sites, one per line."""
    if shell in _LISTS:
        return "".join(f"{word}\n" for word in sorted(_LISTS[shell]()))
    text = data_file.read(os.path.join(_DATA, f"completion.{shell}")).decode()
    for place, content in _CONTENTS[shell]().items():
        text = text.replace(f"@{place}@", content)
    return text


def _keywords() -> Iterable[str]:
    from movescu.dictionary.tags import keywords  # the scripts need no dictionary

    return keywords()


def _sites() -> Iterable[str]:
    from movescu.cli.options.sites import site_names
    from movescu.errors import UsageError

    try:
        return site_names()
    except UsageError:
        return ()  # an error message would garble the line being typed


_LISTS: Final = {"keywords": _keywords, "sites": _sites}


# From the table


def _names(option: Option) -> tuple[str, ...]:
    return tuple(name for name in (option.short, option.long) if name)


def _taking(count: int) -> list[str]:
    """Return the names of the options that take ``count`` values."""
    return [name for option in _OFFERED if len(option.takes) == count for name in _names(option)]


def _values(kind: str) -> Iterator[tuple[list[str], Value]]:
    """Yield the values of a kind, each with its places: ``name:1`` is the first after an option."""
    for option in _OFFERED:
        for number, value in enumerate(option.takes, start=1):
            if value.kind == kind:
                yield [f"{name}:{number}" for name in _names(option)], value


def _places(kind: str) -> list[str]:
    return [place for places, _ in _values(kind) for place in places]


def _common(join: Callable[[Iterable[str]], str]) -> dict[str, str]:
    return {
        "ONE": join(_taking(1)),
        "TWO": join(_taking(2)),
        "FILES": join(_places("file")),
        "DIRECTORIES": join(_places("directory")),
        "HOSTS": join(_places("host")),
        "KEYS": join(_places("key")),
        "SITES": join(_places("site")),
        "LEVELS": " ".join(_LEVELS),
        "LEVEL_KEYWORDS": " ".join(_LEVEL_KEYWORDS),
    }


# For each shell


def _bash() -> dict[str, str]:
    choices = [
        f'{"|".join(places)}) compgen -W "{" ".join(value.offered)}" -- "$current" ;;'
        for kind in _WORDS
        for places, value in _values(kind)
    ]
    optional = [
        f'{"|".join(_names(option))}) optional="{" ".join(option.optional.offered)}" ;;'
        for option in _OFFERED
        if option.optional is not None
    ]
    names = " ".join(name for option in _OFFERED for name in _names(option))
    return _common("|".join) | {"NAMES": names, "CHOICES": "\n        ".join(choices), "OPTIONAL": "\n".join(optional)}


def _fish() -> dict[str, str]:
    choices = [
        f"case {' '.join(places)}\n            printf '%s\\n' {' '.join(value.offered)}"
        for kind in _WORDS
        for places, value in _values(kind)
    ]
    optional = [
        f"case {' '.join(_names(option))}\n            printf '%s\\n' {' '.join(option.optional.offered)}"
        for option in _OFFERED
        if option.optional is not None and option.optional.offered
    ]
    rows = [f"printf '%s\\t%s\\n' {name} {_quoted(o.sentence)}" for o in _OFFERED for name in _names(o)]
    lines = {"NAMES": rows, "CHOICES": choices, "OPTIONAL": optional}
    return _common(" ".join) | {place: "\n        ".join(texts) for place, texts in lines.items()}


def _quoted(text: str) -> str:
    """Quote for fish."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _zsh() -> dict[str, str]:
    specs = [*(spec for option in _OFFERED for spec in _zsh_specs(option)), *_zsh_parameters()]
    lines = ["'" + spec.replace("'", "'\\''") + "'" for spec in specs]
    return _common(" ".join) | {"SPECS": " \\\n        ".join(lines)}


def _zsh_specs(option: Option) -> Iterator[str]:
    """Yield a line for each name; options that exclude each other are offered until one of them is typed."""
    if option.long in ("--help", "--version"):
        alone = "(- *)"
    else:
        rivals = " ".join(name for other in _OFFERED if other.group == option.group for name in _names(other))
        alone = "*" if option.repeats else f"({rivals})"
    values = "".join(f":{value.metavar}:{_zsh_action(value)}" for value in option.takes)
    if option.optional is not None:
        values = f"::{option.optional.metavar.strip('[]')}:{_zsh_action(option.optional)}"
    for name in _names(option):
        yield f"{alone}{_zsh_escape(name, '=')}[{_zsh_escape(option.sentence, '[]:')}]{values}"


def _zsh_parameters() -> Iterator[str]:
    for number, parameter in enumerate(PARAMETERS, start=1):
        yield f"{number}:{parameter.name}: _movescu_parameter {_zsh_action(parameter.value)}"
    yield f"*:{QUERY_FILES.name}: _movescu_parameter {_zsh_action(QUERY_FILES.value)}"


def _zsh_action(value: Value) -> str:
    if value.kind in _WORDS:
        return f"({' '.join(value.offered)})"
    actions = {
        "file": "_files",
        "directory": "_files -/",
        "host": "_hosts",
        "key": "_movescu_keys",
        "site": "_movescu_sites",
    }
    return actions.get(value.kind, f"_message {value.metavar}")


def _zsh_escape(text: str, special: str) -> str:
    return "".join(f"\\{character}" if character in "\\" + special else character for character in text)


_CONTENTS: Final = {"bash": _bash, "zsh": _zsh, "fish": _fish}
