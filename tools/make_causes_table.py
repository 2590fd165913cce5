"""Update the table of ``docs/exit-codes.md``: the codes of causes, which reports and events name as ``reason``.

Run ``python tools/make_causes_table.py`` after a change of ``movescu.retrieve.causes``, which has the causes.
``tests/test_causes_document.py`` fails while the document is out of date.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from movescu.retrieve import causes
from movescu.retrieve.causes import Cause

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "exit-codes.md"

_PLACE: Final = re.compile(r"(<!-- begin: causes -->\n).*?(<!-- end: causes -->)", re.DOTALL)


def _causes(value: object) -> Iterator[Cause]:
    if isinstance(value, Cause):
        yield value
    elif isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _causes(one)


def table() -> str:
    """Return the table, in the order of codes."""
    every = {one.code: one for one in _causes(vars(causes))}
    lines = ["| reason | what happened | whose fault | passes by itself | what to do |", "|---|---|---|---|---|"]
    for code, one in sorted(every.items()):
        advice = one.advice or "see the detail of the entry"
        passing = "perhaps" if one.passing else "no"
        lines.append(f"| `{code}` | {one.words} | {one.fault.value} | {passing} | {_as_code(advice)} |")
    return "\n".join(lines)


def _as_code(text: str) -> str:
    return re.sub(r"(?<![\w-])(-{1,2}[A-Za-z][\w-]*(?: move)?|\+xa)", r"`\1`", text)


def updated(text: str) -> str:
    """Return the document with its table made anew."""
    return _PLACE.sub(lambda place: f"{place[1]}\n{table()}\n\n{place[2]}", text)


if __name__ == "__main__":
    DOCUMENT.write_text(updated(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
