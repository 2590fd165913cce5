"""Update the tables of ``docs/complete.md``: what a retrieve brings, by kind of keys, mode and archive.

Run ``python tools/make_matrix_table.py`` after a change of ``tests/support/matrix.py``, which has the tables and the
rule that ``tests/interop/test_matrix.py`` holds the program to. ``tests/test_matrix_document.py`` fails while the
document is out of date.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from matrix import ARCHIVES, KINDS, MODES, POSITIONS, Cell  # noqa: E402 - of the tests, which are no package

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from matrix import Kind, Mode

DOCUMENT: Final = ROOT / "docs" / "complete.md"

_PLACE: Final = re.compile(r"(<!-- begin: matrix -->\n).*?(<!-- end: matrix -->)", re.DOTALL)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows))


def _codes(kind: Kind, mode: Mode) -> str:
    """Return the exit codes of a kind in a mode: that of most archives, and the others with their letters."""
    cells = [Cell(archive, kind, mode) for archive in ARCHIVES]
    if any(cell.sent for cell in cells):
        return "below"
    texts = {cell.archive.letter: "left out" if cell.left_out else str(cell.code) for cell in cells}
    every = list(texts.values())
    usual = max(every, key=every.count)
    others: dict[str, list[str]] = {}
    for letter, text in texts.items():
        if text != usual:
            others.setdefault(text, []).append(letter)
    return "; ".join([usual, *(f"{', '.join(letters)}: {text}" for text, letters in others.items())])


def _rows() -> Iterator[list[str]]:
    for kind in KINDS:
        yield [kind.shown, str(len(kind.positions) or "none"), *(_codes(kind, mode) for mode in MODES)]


def _left_out() -> Iterator[str]:
    for archive in ARCHIVES:
        cells = [Cell(archive, kind, mode) for kind in KINDS for mode in MODES]
        for reason in dict.fromkeys(cell.left_out for cell in cells if cell.left_out):
            yield f"{archive.letter} is left out: {reason}."


def _plain() -> Iterator[list[str]]:
    for kind in KINDS:
        sent = [Cell(archive, kind, MODES[0]).sent for archive in ARCHIVES]
        if any(sent):
            yield [kind.shown, *(f"{one.what}, {one.code}" for one in sent if one)]


def tables() -> str:
    """Return both tables, with the letters of the archives and what is left out."""
    letters = ", ".join(f"{archive.name} ({archive.letter})" for archive in ARCHIVES)
    sentences = textwrap.fill(" ".join([f"Archives: {letters}.", *_left_out()]), 120)
    return "\n\n".join(
        (
            f"Exit codes, and the number of objects that arrive, of {len(POSITIONS)}:",
            _table(["keys", "objects", *(mode.name for mode in MODES)], _rows()),
            sentences,
            "What arrives, and the exit code, if a plain request sends keys that C-MOVE does not allow:",
            _table(["keys", *(archive.name for archive in ARCHIVES)], _plain()),
        )
    )


def updated(document: str) -> str:
    """Return the document with its tables updated. Raise ``ValueError`` if they have no place in it."""
    made = tables()
    document, count = _PLACE.subn(lambda found: f"{found[1]}{made}\n{found[2]}", document)
    if count != 1:
        raise ValueError(f"the matrix has {count} places in the document")
    return document


if __name__ == "__main__":
    DOCUMENT.write_text(updated(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    print(DOCUMENT.name)
