"""What ``--help`` prints, made from the option table.

``--help`` shows what most people need and three examples; ``--help all`` shows every option, in the order and under the
headings of DCMTK's help, so that who knows the one finds the way in the other. All lines fit into 80 columns. Texts are
made plain; ``painted`` adds colours for a terminal. This module is imported when one of its texts is to be printed, and
not before.
"""

from __future__ import annotations

import os
import re

from movescu.cli.docs.banner import banner
from movescu.cli.options.table import NAMES, PARAMETERS, QUERY_FILES, SECTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final, TextIO

    from movescu.cli.options.option import Group, Option

_WIDTH: Final = 80
_SHORT_WIDTH: Final = 10
_TEXT_COLUMN: Final = 34

USAGE: Final = "movescu [options] peer port [query-file...]"

_MOST_WANTED: Final = {
    "what to retrieve": {"--key": "", "--study": "ask in the Study Root model"},
    "who asks whom, and where the objects go": {
        "--call": "",
        "--aetitle": "",
        "--move": "",
        "--port": "receive the objects on this TCP port",
        "--output-directory": "",
        "--site": "take all of this from sites.toml",
    },
    "how objects come, and are stored": {
        "--accept-all": "take compressed objects too",
        "--bit-preserving": "",
        "--dimse-timeout": "",
    },
    "what is shown": {
        "--check": "go the way step by step and say what works",
        "--verbose": "",
        "--debug": "",
        "--version": "",
    },
}
"""Heading -> options in the short help -> what it says of them, where the table's words need their heading."""

_EXAMPLES: Final = """\
examples:
  Retrieve a study to the folder "in". The archive has to know the AE title ME,
  with the address of this computer and port 11112:
    movescu -S -k QueryRetrieveLevel=STUDY -k StudyInstanceUID=1.2.3 \\
        -aet ME -aec ARCHIVE +P 11112 -od in archive.example.org 104
  Have the archive send all studies of a patient to a third party:
    movescu -k QueryRetrieveLevel=PATIENT -k PatientID=PAT001 \\
        -aet ME -aec ARCHIVE -aem WORKSTATION archive.example.org 104
  Ask for what is written in query files, one request for each:
    movescu -S -aet ME -aec ARCHIVE +P 11112 archive.example.org 104 *.dcm

more: movescu --help all (every option), man movescu (everything)
"""

_HEADING: Final = re.compile(r"^(?!.*usage:) *[^-+\s].*:$|^usage:|^more:", re.MULTILINE)
_NAMES: Final = re.compile(r"^( {2,4})([-+]\S+)?( +)(--[a-z0-9-]+)(?= |$)", re.MULTILINE)
_BOLD, _COLOUR, _PLAIN = "\x1b[1m", "\x1b[36m", "\x1b[0m"


def tls_text(*, ciphers: bool) -> str:
    """Give the list of cipher suites, or of profiles, with a line end."""
    from movescu.transport.tls import PROFILES, cipher_suites  # ssl takes 10 ms to load

    rows = cipher_suites() if ciphers else [f"{name:<12}{profile.name}" for name, profile in PROFILES.items()]
    return banner() + "\n".join(("", *rows)) + "\n"


def help_text() -> str:
    """Give the whole help, with a line end."""
    return banner() + "\n".join((f"usage: {USAGE}", "", *_parameters(), "", *_sections())) + "\n"


def short_help_text() -> str:
    """Give the help for a start: what most people need, and examples."""
    return banner() + "\n".join((f"usage: {USAGE}", "", *_most_wanted(), _EXAMPLES))


def painted(text: str) -> str:
    """Give a help text with headings and names of options set off, for a terminal."""
    text = _HEADING.sub(rf"{_BOLD}\g<0>{_PLAIN}", text)
    return _NAMES.sub(lambda match: match[1] + _paint(match[2]) + match[3] + _paint(match[4]), text)


def wants_colour(stream: TextIO) -> bool:
    """Tell whether colours go to a stream: to terminals, unless NO_COLOR is set; everywhere with CLICOLOR_FORCE."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("CLICOLOR_FORCE", "0") != "0":
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def notes_of(option: Option) -> list[str]:
    """Give what is to be said of an option beside its sentence: its bounds, its default, whether it works."""
    notes = [f"{value.low}..{value.high}" for value in option.takes if value.high is not None]
    if option.default:
        notes.append("default")
    elif option.takes and option.unset:
        notes.append(f"default: {option.unset:g}" if isinstance(option.unset, float) else f"default: {option.unset}")
    elif option.missing:
        notes.append(f"default: {option.missing}")
    if option.refusal:
        notes.append(option.refusal.removeprefix("is ").partition(":")[0])
    return notes


def _paint(name: str | None) -> str:
    return f"{_COLOUR}{name}{_PLAIN}" if name else ""


def _most_wanted() -> Iterator[str]:
    for heading, names in _MOST_WANTED.items():
        yield f"{heading}:"
        for name, text in names.items():
            yield from _option(NAMES[name], "  ", text)


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
        yield from _option(option, indent)


def _option(option: Option, indent: str, text: str = "") -> list[str]:
    names = " ".join((option.long, *(value.metavar for value in option.takes)))
    return _row(f"{indent + option.short:<{_SHORT_WIDTH}}{names}", text or _explained(option))


def _row(names: str, text: str) -> list[str]:
    margin = " " * _TEXT_COLUMN
    first = f"{names:<{_TEXT_COLUMN - 1}} "
    from textwrap import wrap  # 3 ms that --version does without

    return wrap(text, _WIDTH, initial_indent=first, subsequent_indent=margin, break_on_hyphens=False)


def _explained(option: Option) -> str:
    notes = notes_of(option)
    return f"{option.help} ({'; '.join(notes)})" if notes else option.help
