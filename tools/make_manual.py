"""Make the manual page ``docs/movescu.1`` from the option table and the texts of ``movescu.cli.docs.manual``."""

from __future__ import annotations

from pathlib import Path

from movescu.cli.docs.manual import manual_page

PAGE = Path(__file__).resolve().parent.parent / "docs" / "movescu.1"

if __name__ == "__main__":
    PAGE.write_text(manual_page(), encoding="utf-8")
    print(PAGE.name)
