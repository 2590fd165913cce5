"""``docs/reliability.md`` and ``docs/cohort.md`` are as tests and limits are: their tables are made from both."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import rows

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[1]


def generator() -> ModuleType:
    """The tool that makes the tables."""
    path = ROOT / "tools" / "make_reliability_table.py"
    spec = importlib.util.spec_from_file_location("make_reliability_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_row_has_a_test_and_every_mark_a_row() -> None:
    marks = generator().marks()
    ids = [row.row for row in rows.ROWS]
    assert len(ids) == len(set(ids))
    assert not [row for row in ids if row not in marks], "rows that no test holds"
    assert not sorted(marks.keys() - set(ids)), "marks of rows that there are not"


def test_tables_are_up_to_date() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert text == generator().updated(text), "run tools/make_reliability_table.py"
    text = (ROOT / "docs" / "cohort.md").read_text(encoding="utf-8")
    assert text == generator().updated_cohort(text), "run tools/make_reliability_table.py"
