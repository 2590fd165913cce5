"""Update the tables of ``docs/reliability.md`` and ``docs/cohort.md``: situations and their tests, and the limits.

Run ``python tools/make_reliability_table.py`` after a change of a limit, of a row (``tests/support/rows.py``), or of a
test with the mark of a row. The marks are read from the sources of the tests; no test is run or imported.
``tests/test_reliability_document.py`` fails while the document is out of date, and for a row without a test.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from rows import COHORT, PUBLISHED, SITUATIONS  # noqa: E402 - of the tests, which are no package

from movescu.cli.options.table import NAMES  # noqa: E402 - behind the path
from movescu.dataset.encoder import MAX_OPEN  # noqa: E402 - as above
from movescu.dataset.transcoder import MAX_HELD  # noqa: E402 - as above
from movescu.dictionary.uids import MAXIMUM_UID_LENGTH  # noqa: E402 - as above
from movescu.dictionary.vr import MAX_DEPTH  # noqa: E402 - as above
from movescu.dimse.exchange import MAXIMUM_COMMAND_LENGTH  # noqa: E402 - as above
from movescu.services.move import MAXIMUM_IDENTIFIER  # noqa: E402 - as above
from movescu.transport.deadlines import CANCEL_SECONDS  # noqa: E402 - as above
from movescu.transport.listener import MAXIMUM_HELD, MAXIMUM_UNASSOCIATED  # noqa: E402 - as above
from movescu.ul.association import LONGEST_P_DATA, MAXIMUM_ASSOCIATE_LENGTH  # noqa: E402 - as above
from movescu.ul.items import MAXIMUM_ITEMS  # noqa: E402 - as above

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rows import Row

DOCUMENT: Final = ROOT / "docs" / "reliability.md"
COHORTS: Final = ROOT / "docs" / "cohort.md"

_ABORT: Final = "A-ABORT; the log names length and limit"


def _default(option: str, unit: str = "") -> str:
    """Return the default of an option."""
    value = NAMES[option].unset
    if not value:
        return "none"
    return f"{value:g} {unit}".strip() if isinstance(value, int | float) else str(value)


def limits() -> Iterator[tuple[str, str, str, str]]:
    """Yield each limit: its subject, its value, what sets it, and the response to a violation."""
    constant = "constant"
    yield "association request or answer", f"{MAXIMUM_ASSOCIATE_LENGTH} bytes", constant, f"{_ABORT}, at the header"
    yield "items and sub-items of one", f"{MAXIMUM_ITEMS}", constant, _ABORT
    yield "presentation contexts of one", "256", "PS3.8: IDs of one byte, each once", _ABORT
    yield "P-DATA-TF", f"{LONGEST_P_DATA} bytes", "constant; `--max-pdu` is announced", f"{_ABORT}, at the header"
    yield "command set", f"{MAXIMUM_COMMAND_LENGTH} bytes", constant, _ABORT
    yield "list of failed objects in a final response", f"{MAXIMUM_IDENTIFIER} bytes", constant, "not read; a warning"
    yield "SOP instance UID", f"{MAXIMUM_UID_LENGTH} characters", "PS3.5; not with `--accept-nonstandard`", "0117"
    yield "depth of nested sequences", f"{MAX_DEPTH}", constant, "C000; the error names the limit"
    yield "elements of a data set that is recoded, and of its open items", f"{MAX_OPEN}", constant, "C000; as above"
    yield "a deflated object, inflated", _default("--max-inflated", "MiB"), "`--max-inflated`", "C000; as above"
    yield "a deflated identifier, inflated", f"{MAX_HELD >> 20} MiB", constant, "not read; a warning"
    yield (
        "associations at the port of `--port`",
        _default("--max-associations"),
        "`--max-associations`",
        "an idle one of another host than the archive's makes room, else rejected as transient; a warning",
    )
    yield (
        "connections without an association",
        f"{MAXIMUM_UNASSOCIATED}",
        "constant, less if descriptors are few",
        "the oldest is closed",
    )
    yield (
        "their requests, in sum",
        f"{MAXIMUM_HELD >> 20} MiB",
        constant,
        "the one that holds most is closed; a warning",
    )
    yield (
        "from the accept of a connection to its association request",
        _default("--acse-timeout", "s"),
        "`--acse-timeout`",
        "closed",
    )
    yield (
        "look-up of the archive's name and connection to it",
        _default("--timeout", "s"),
        "`--timeout`",
        "exit code 61",
    )
    yield (
        "answer of the archive to the association request, and to the release",
        _default("--acse-timeout", "s"),
        "`--acse-timeout`",
        "exit code 61, 67",
    )
    yield (
        "silence where a C-MOVE response is due",
        _default("--dimse-timeout", "s"),
        "`--dimse-timeout`",
        "exit code 62",
    )
    yield (
        "time without an object or a changed count",
        _default("--stall-timeout", "s"),
        "`--stall-timeout`",
        "exit code 62",
    )
    yield "silence after C-CANCEL", f"{CANCEL_SECONDS:g} s", constant, "aborted"
    yield (
        "silence of a sender within a message",
        _default("--store-timeout", "s"),
        "`--store-timeout`",
        "A-ABORT",
    )
    yield (
        "silence while counted objects are still missing",
        _default("--linger", "s"),
        "`--linger`",
        "exit code 63",
    )
    yield "the whole retrieve", _default("--total-timeout", "s"), "`--total-timeout`", "exit code 62 or 63"


def marks() -> dict[str, list[tuple[str, str]]]:
    """Return the tests of each row as file, without ``tests/``, and name, in the order of the files."""
    found: dict[str, list[tuple[str, str]]] = {}
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        name = file.relative_to(ROOT / "tests").with_suffix("").as_posix()
        text = file.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if ".row(" in text else ():
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                for row in _rows_of(node.decorator_list):
                    found.setdefault(row, []).append((name, node.name))
    return found


def _rows_of(decorators: Iterable[ast.expr]) -> Iterator[str]:
    """Yield the rows that decorators name, also those inside ``pytest.param(..., marks=...)``."""
    for decorator in decorators:
        for node in ast.walk(decorator):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "row":
                yield from (str(a.value) for a in node.args if isinstance(a, ast.Constant))


def _holding(tests: Sequence[tuple[str, str]]) -> str:
    by_file: dict[str, list[str]] = {}
    for file, name in tests:
        names = by_file.setdefault(file, [])
        if name not in names:
            names.append(name)
    return "; ".join(f"`{file}`: {', '.join(f'`{n}`' for n in names)}" for file, names in by_file.items())


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = (heads, ["---"] * len(heads), *rows)
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells)


def _rows(rows: Iterable[Row]) -> Iterator[tuple[str, str, str, str]]:
    tests = marks()
    for row, situation, outcome in rows:
        yield row, situation, outcome, _holding(tests.get(row, ()))


def updated(document: str) -> str:
    """Return ``docs/reliability.md`` with its tables updated. Raise ``ValueError`` if a table has no place in it."""
    heads = ("row", "input", "response", "checked by, in `tests/`")
    tables = {
        "limits": _table(("limit on", "value", "set by", "response beyond it"), limits()),
        "situations": _table(heads, _rows(SITUATIONS)),
        "published": _table(heads, _rows(PUBLISHED)),
    }
    return _with_tables(document, tables)


def updated_cohort(document: str) -> str:
    """Return ``docs/cohort.md`` with its table updated. Raise ``ValueError`` if that has no place in it."""
    heads = ("what happens", "result", "checked by, in `tests/`")
    return _with_tables(document, {"failures": _table(heads, (row[1:] for row in _rows(COHORT)))})


def _with_tables(document: str, tables: Mapping[str, str]) -> str:
    for name, lines in tables.items():
        pattern = re.compile(rf"(<!-- begin: {name} -->\n).*?(<!-- end: {name} -->)", re.DOTALL)
        document, count = pattern.subn(lambda found, lines=lines: f"{found[1]}{lines}\n{found[2]}", document)  # type: ignore[misc] # a default argument binds the loop's variable
        if count != 1:
            raise ValueError(f"{name} has {count} places in the document")
    return document


if __name__ == "__main__":
    for path, update in ((DOCUMENT, updated), (COHORTS, updated_cohort)):
        path.write_text(update(path.read_text(encoding="utf-8")), encoding="utf-8")
        print(path.name)
