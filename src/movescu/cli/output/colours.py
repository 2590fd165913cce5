"""Colours of text on a terminal; ``NO_COLOR`` and ``CLICOLOR_FORCE`` are obeyed. Imports nothing slow."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, TextIO

BOLD: Final = "\x1b[1m"
RED: Final = "\x1b[31m"
GREEN: Final = "\x1b[32m"
YELLOW: Final = "\x1b[33m"
CYAN: Final = "\x1b[36m"
DIM: Final = "\x1b[2m"
PLAIN: Final = "\x1b[0m"


def wants_colour(stream: TextIO | None) -> bool:
    """Return True if a stream gets colours: a terminal, unless NO_COLOR is set; any with CLICOLOR_FORCE."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("CLICOLOR_FORCE", "0") != "0":
        return True
    return is_terminal(stream) and os.environ.get("TERM") != "dumb"


def is_terminal(stream: TextIO | None) -> bool:
    """Return True if a stream is a terminal."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False
