"""Help texts of ``--help``, generated from the option table.

``--help`` shows the most frequent options and three examples; ``--help all`` shows every option, in the order of
DCMTK's help, so that its users find their way. Texts are as wide as the terminal, within limits (``width_of``), and
plain; ``painted`` adds colours. Imported only when one of its texts is printed.
"""

from __future__ import annotations

import os
import re

from movescu._runtime.record import replace
from movescu.cli.docs.banner import banner
from movescu.cli.options.table import NAMES, PARAMETERS, QUERY_FILES, SECTIONS
from movescu.cli.output.colours import BOLD, CYAN, PLAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final, TextIO

    from movescu.cli.options.option import Group, Option

_WIDTH: Final = 80
"""Columns where the output is no terminal."""
_NARROWEST, _WIDEST = 50, 100
"""Columns: a narrower text column holds no option's words, longer lines are hard to read."""
_SHORT_WIDTH: Final = 10
_TEXT_COLUMN: Final = 34

USAGE: Final = "movescu [options] peer port [query-file...]"

_MOST_WANTED: Final = {
    "what to retrieve": {
        "--key": "",
        "--study": "use the Study Root model",
        "--query": "list the matches of the keys",
        "--list": "retrieve each entry of this file",
    },
    "the archive, and where objects go": {
        "--call": "",
        "--aetitle": "",
        "--move": "",
        "--port": "receive objects on this TCP port",
        "--output-directory": "directory for objects (default: .)",
        "--site": "read these settings from a site (see --setup)",
    },
    "receiving and storing": {
        "--retrieve": "get: by C-GET, which needs no port",
        "--accept-all": "accept compressed objects too",
        "--verify": "compare with the archive's list (C-FIND)",
    },
    "diagnosis": {
        "--check": "",
        "--verbose": "",
        "--debug": "",
    },
}
"""Heading -> options of the short help -> their text, where the table's depends on its heading."""

_EXAMPLES: Final = {
    'Retrieve a study into the folder "in". The archive must know the AE title ME, with this computer\'s address and '
    "port 11112.": """\
    movescu -S -k QueryRetrieveLevel=STUDY -k StudyInstanceUID=1.2.3 \\
        -aet ME +P 11112 -od in ARCHIVE@archive.example.org:104""",
    "Have the archive send all studies of a patient to a third party.": """\
    movescu -k QueryRetrieveLevel=PATIENT -k PatientID=PAT001 \\
        -aet ME -aec ARCHIVE -aem WORKSTATION archive.example.org 104""",
    "Send one request for each query file.": """\
    movescu -S -aet ME -aec ARCHIVE +P 11112 archive.example.org 104 *.dcm""",
}
"""What a command line does -> the command line."""

_MORE: Final = "more: movescu --help all (every option), man movescu (the manual)"

_NO_TOPICS: Final = frozenset(
    (
        *("1993", "accepted", "and", "announce", "by", "data", "does", "for", "from", "have", "introduced", "not"),
        *("of", "on", "options", "other", "set", "since", "that", "the", "to", "use", "wrongly"),
    )
)
"""Words of headings that nobody looks for."""

_HEADING: Final = re.compile(r"^(?!.*usage:) {0,2}[^-+\s].*:$|^usage:|^more:", re.MULTILINE)
_NAMES: Final = re.compile(r"^( {2,4})([-+]\S+)?( +)(--[a-z0-9-]+)(?= |$)", re.MULTILINE)


def tls_text(*, ciphers: bool) -> str:
    """Return the list of cipher suites, or of profiles, with a line end."""
    from movescu.transport.tls import PROFILES, cipher_suites  # ssl is slow to load

    rows = cipher_suites() if ciphers else [f"{name:<12}{profile.name}" for name, profile in PROFILES.items()]
    return banner() + "\n".join(("", *rows)) + "\n"


def help_text(width: int = _WIDTH) -> str:
    """Return the help with every option, with a line end."""
    return banner() + "\n".join((f"usage: {USAGE}", "", *_parameters(width), "", *_sections(width))) + "\n"


def short_help_text(width: int = _WIDTH) -> str:
    """Return the short help: the most frequent options, and examples."""
    lines = (f"usage: {USAGE}", "", *_most_wanted(width), *_examples(width), "", *_wrapped(_MORE, width))
    return banner() + "\n".join(lines) + "\n"


def text_about(topic: str, width: int = _WIDTH) -> str:
    """Return the help on a topic: ``all``, the name of an option, or a word of a heading; else the short help."""
    if topic == "all":
        return help_text(width)
    lines = list(_about(topic, width))
    if lines:
        return banner() + "\n".join((f"usage: {USAGE}", "", *lines)) + "\n"
    text = short_help_text(width)
    return f"{text}\n{_unknown(topic, width)}\n" if topic and not topic.isdecimal() else text


def _about(topic: str, width: int) -> Iterator[str]:
    """Yield the groups whose headings have a word, and the options of that name."""
    names = (topic,) if topic in NAMES else (f"--{topic.lower()}", f"-{topic}", f"+{topic}")
    named = {NAMES[name].long for name in names if name in NAMES}
    word = "" if topic in NAMES else topic.lower()
    for section in SECTIONS:
        shown: list[str] = []
        for group in section.groups:
            if _has_word(section.heading, word) or _has_word(group.heading, word):
                shown += _group(group, width)
            elif options := tuple(option for option in group.options if option.long in named):
                shown += _group(replace(group, options=options), width)
        if shown:
            yield from (f"{section.heading}:", *shown)


def _has_word(heading: str, topic: str) -> bool:
    return topic not in _NO_TOPICS and _stem(topic) in {_stem(word) for word in re.findall(r"\w+", heading.lower())}


def _stem(word: str) -> str:
    """Return a word in the singular."""
    return f"{word[:-3]}y" if word.endswith("ies") else word if word == "tls" else word.removesuffix("s")


def _unknown(topic: str, width: int) -> str:
    headings = (group.heading or section.heading for section in SECTIONS for group in section.groups)
    known = sorted({word for text in headings for word in re.findall(r"\w{3,}", text.lower())} - _NO_TOPICS)
    text = f"There is no help on {topic!r}. Topics are the names of options and: {', '.join(known)}."
    return "\n".join(_wrapped(text, width))


def width_of(stream: TextIO | None) -> int:
    """Return the columns for a text on a stream: ``COLUMNS``, the terminal's width, or 80; from 50 to 100."""
    width = _columns(os.environ.get("COLUMNS", "")) or _terminal_width(stream) or _WIDTH
    return min(max(width, _NARROWEST), _WIDEST)


def _columns(text: str) -> int:
    return int(text[:9]) if text.isascii() and text.isdecimal() else 0


def _terminal_width(stream: TextIO | None) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns if stream is not None and stream.isatty() else 0
    except (OSError, ValueError):  # no descriptor, or one that is closed
        return 0


def painted(text: str) -> str:
    """Return a help text with headings in bold and names of options in colour, for a terminal."""
    text = _HEADING.sub(rf"{BOLD}\g<0>{PLAIN}", text)
    return _NAMES.sub(lambda match: match[1] + _paint(match[2]) + match[3] + _paint(match[4]), text)


def notes_of(option: Option) -> list[str]:
    """Return the notes behind an option's help: its bounds, its default, and that it is not supported."""
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
    return f"{CYAN}{name}{PLAIN}" if name else ""


def _most_wanted(width: int) -> Iterator[str]:
    for heading, names in _MOST_WANTED.items():
        yield f"{heading}:"
        for name, text in names.items():
            yield from _option(NAMES[name], "  ", width, text)


def _examples(width: int) -> Iterator[str]:
    yield "examples:"
    for text, command in _EXAMPLES.items():
        yield from _wrapped(text, width, "  ")
        yield command


def _parameters(width: int) -> Iterator[str]:
    yield "parameters:"
    for parameter in (*PARAMETERS, QUERY_FILES):
        yield from _row(f"  {parameter.name}", parameter.help, width)


def _sections(width: int) -> Iterator[str]:
    for section in SECTIONS:
        yield f"{section.heading}:"
        for group in section.groups:
            yield from _group(group, width)


def _group(group: Group, width: int) -> Iterator[str]:
    indent = "    " if group.heading else "  "
    if group.heading:
        note = f" ({group.note})" if group.note else ""
        yield from _wrapped(f"{group.heading}{note}:", width, "  ")
    for option in group.options:
        yield from _option(option, indent, width)


def _option(option: Option, indent: str, width: int, text: str = "") -> list[str]:
    return _row(f"{indent + option.short:<{_SHORT_WIDTH}}{option.usage}", text or _explained(option), width)


def _row(names: str, text: str, width: int) -> list[str]:
    return _wrapped(text, width, f"{names:<{_TEXT_COLUMN - 1}} ", " " * _TEXT_COLUMN)


def _wrapped(text: str, width: int, first: str = "", margin: str = "") -> list[str]:
    from textwrap import wrap  # loaded only where a help text is printed

    return wrap(text, width, initial_indent=first, subsequent_indent=margin or first, break_on_hyphens=False)


def _explained(option: Option) -> str:
    notes = notes_of(option)
    return f"{option.help} ({'; '.join(notes)})" if notes else option.help
