"""``docs/complete.md`` is as the matrix is: its tables are made from the rule that the tests hold the program to."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_tables_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("make_matrix_table", ROOT / "tools" / "make_matrix_table.py")
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    text = (ROOT / "docs" / "complete.md").read_text(encoding="utf-8")
    assert text == generator.updated(text), "run tools/make_matrix_table.py"
