"""What ``--help`` and ``--version`` print, made from the option table.

The order and the headings are those of DCMTK's help, so that who knows the one finds the way in the other. All lines
fit into 80 columns. This module is imported when one of its texts is to be printed, and not before.
"""

from __future__ import annotations

import sys
from textwrap import wrap
from typing import TYPE_CHECKING, Final

from movescu.cli.options import PARAMETERS, QUERY_FILES, SECTIONS
from movescu.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from movescu.cli.options import Group, Option

_WIDTH: Final = 80
_SHORT_WIDTH: Final = 10
_TEXT_COLUMN: Final = 34

_PURPOSE: Final = "movescu: retrieves objects from a DICOM archive (C-MOVE)"
_USAGE: Final = "usage: movescu [options] peer port [query-file...]"
_VERSION: Final = IMPLEMENTATION_VERSION_NAME.partition("_")[2]


def banner() -> str:
    """Give the lines that open the help and stand above errors of the command line: the version, the purpose."""
    return f"movescu {_VERSION}\n\n{_PURPOSE}\n"


def tls_text(*, ciphers: bool) -> str:
    """Give the list of cipher suites, or of profiles, with a line end."""
    from movescu.net.tls import PROFILES, cipher_suites  # noqa: PLC0415 - ssl takes 10 ms to load

    rows = cipher_suites() if ciphers else [f"{name:<12}{profile.name}" for name, profile in PROFILES.items()]
    return banner() + "\n".join(("", *rows)) + "\n"


def help_text() -> str:
    """Give the whole help, with a line end."""
    return banner() + "\n".join((_USAGE, "", *_parameters(), "", *_sections())) + "\n"


def version_text() -> str:
    """Give the version, and what a report of an error needs beside it, with a line end."""
    python = ".".join(str(part) for part in sys.version_info[:3])
    return f"{banner()}\nPython {python} on {sys.platform}\nimplementation class UID {IMPLEMENTATION_CLASS_UID}\n"


def _parameters() -> Iterator[str]:
    yield "parameters:"
    for parameter in (*PARAMETERS, QUERY_FILES):
        yield from _row(f"  {parameter.name}", parameter.help)


def _sections() -> Iterator[str]:
    for section in SECTIONS:
        yield f"{section.heading}:"
        for group in section.groups:
            yield from _group(group)


def _group(group: Group) -> Iterator[str]:
    indent = "    " if group.heading else "  "
    if group.heading:
        note = f" ({group.note})" if group.note else ""
        yield f"  {group.heading}{note}:"
    for option in group.options:
        names = " ".join((option.long, *(value.metavar for value in option.takes)))
        yield from _row(f"{indent + option.short:<{_SHORT_WIDTH}}{names}", _explained(option))


def _row(names: str, text: str) -> list[str]:
    margin = " " * _TEXT_COLUMN
    first = f"{names:<{_TEXT_COLUMN - 1}} "
    return wrap(text, _WIDTH, initial_indent=first, subsequent_indent=margin, break_on_hyphens=False)


def _explained(option: Option) -> str:
    notes = [f"{value.low}..{value.high}" for value in option.takes if value.high is not None]
    if option.default:
        notes.append("default")
    elif option.takes and option.unset:
        notes.append(f"default: {option.unset:g}" if isinstance(option.unset, float) else f"default: {option.unset}")
    elif option.missing:
        notes.append(f"default: {option.missing}")
    if option.refusal:
        notes.append(option.refusal.removeprefix("is ").partition(":")[0])
    return f"{option.help} ({'; '.join(notes)})" if notes else option.help
