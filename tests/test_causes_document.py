"""``docs/exit-codes.md`` explains every reason that a report or an event can name."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "movescu"
DOCUMENT = ROOT / "docs" / "exit-codes.md"


def test_table_of_reasons_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("make_causes_table", ROOT / "tools" / "make_causes_table.py")
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == generator.updated(text), "run tools/make_causes_table.py"


def test_every_reason_that_is_made_anywhere_has_a_row() -> None:
    made = set()
    for file in SOURCE.rglob("*.py"):
        source = file.read_text(encoding="utf-8")
        if "Cause" not in source:
            continue
        calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
        for call in calls:
            if isinstance(call.func, ast.Name) and call.func.id in ("_passing", "_lasting", "Cause"):
                made |= {str(one.value) for one in call.args[:1] if isinstance(one, ast.Constant)}
    assert len(made) > 30
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [code for code in sorted(made) if f"\n| `{code}` |" not in text] == []
