"""The rows of the option table that are about coming to an end: what came, what did not, and what is told of it."""

from __future__ import annotations

from typing import Final

from movescu.cli.option import Option, Value

_FILE: Final = (Value("FILE", "file"),)

ACCOUNTS: Final = (
    Option(
        "",
        "--report",
        "report",
        "write what it came to into this file, as JSON; - is standard output",
        takes=_FILE,
    ),
    Option(
        "",
        "--events",
        "events",
        "write what happens into it, in lines of JSON; - is standard output",
        takes=_FILE,
    ),
)
