"""Make the page of options, ``docs/options.md``, from the option table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from movescu.cli.docs.help import notes_of
from movescu.cli.options.table import SECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from movescu.cli.options.option import Group, Option

PAGE = Path(__file__).resolve().parent.parent / "docs" / "options.md"

HEAD = """\
<!-- Made by tools/make_options_page.py; do not edit. -->

# Options

`movescu [options] peer port [query-file...]`, or `movescu [options] [TITLE@]peer:port [query-file...]`

Options and parameters may come in any order. Options cannot be abbreviated. The value of an option is the next
argument, even if it looks like an option. Of options that exclude each other, the last one counts. `@file` inserts the
words of a file. `movescu --help all` shows this list.
"""


def page() -> str:
    """Return the page."""
    return HEAD + "".join(f"\n{line}" for line in _lines())


def _lines() -> Iterator[str]:
    for section in SECTIONS:
        yield f"## {_sentence(section.heading)}\n"
        for group in section.groups:
            yield from _group(group)


def _group(group: Group) -> Iterator[str]:
    if group.heading:
        yield f"### {_sentence(group.heading)}\n"
    if group.note:
        yield f"{_sentence(_text(group.note))}.\n"
    yield "| short | long | meaning |\n|---|---|---|\n" + "".join(map(_row, group.options))


def _row(option: Option) -> str:
    short = f"`{option.short}`" if option.short else ""
    notes = notes_of(option)
    text = f"{option.help} ({'; '.join(notes)})" if notes else option.help
    return f"| {short} | `{option.usage}` | {_text(text)} |\n"


def _text(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE.name)
