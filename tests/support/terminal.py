"""A terminal for the tests: runs our command under a pty, and keeps what a person would see.

``Screen`` knows what our output uses, and no more: line feeds, carriage returns, cursor up, erase line, the cursor's
visibility, and colours, which it passes over. Anything else is an error, so that nothing strange goes to a terminal.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Self

from command import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

_TOKEN = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])|[\r\n]|[^\x1b\r\n]+", re.DOTALL)


class Screen:
    """Lines of text and a cursor. Lines longer than the screen is wide go on in the next one."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows = [""]
        self.widest = 0
        """Columns of the longest text that was written at one go."""
        self.cursor_visible = True
        self.colours: set[str] = set()
        self._row = 0
        self._column = 0

    def feed(self, text: str) -> None:
        """Show what was written."""
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            assert match, f"{text[position : position + 20]!r} is nothing that belongs on a terminal"
            position = match.end()
            if match[2]:
                self._control(match[1], match[2])
            elif match[0] == "\r":
                self._column = 0
            elif match[0] == "\n":
                self._next_row()
            else:
                self._write(match[0])

    def resize(self, columns: int) -> None:
        """Break lines that no longer fit, as terminals do."""
        self.columns = columns
        whole, self.rows = self.rows, []
        for row in whole:
            self.rows += [row[at : at + columns] for at in range(0, max(len(row), 1), columns)]
        self._row, self._column = len(self.rows) - 1, len(self.rows[-1])

    @property
    def text(self) -> str:
        """What is to be seen, without blanks and empty lines at the end."""
        return "\n".join(row.rstrip() for row in self.rows).rstrip()

    def _control(self, values: str, letter: str) -> None:
        if letter == "m":
            self.colours |= {value for value in values.split(";") if value[:1] in ("3", "4", "9") and len(value) > 1}
        elif letter == "A":
            self._row -= int(values)
            assert self._row >= 0
        elif letter == "K" and values == "2":
            self.rows[self._row] = ""
        elif values == "?25":
            self.cursor_visible = letter == "h"
        else:
            raise AssertionError(f"ESC [ {values} {letter}")

    def _next_row(self) -> None:
        self._row += 1
        self._column = 0
        if self._row == len(self.rows):
            self.rows.append("")

    def _write(self, text: str) -> None:
        self.widest = max(self.widest, len(text))
        for character in text:
            if self._column == self.columns:
                self._next_row()
            row = self.rows[self._row].ljust(self._column)
            self.rows[self._row] = row[: self._column] + character + row[self._column + 1 :]
            self._column += 1


class Terminal:
    """Our command under a pty, which is its standard input, output and error."""

    def __init__(
        self,
        *arguments: object,
        folder: Path,
        columns: int = 80,
        term: str = "xterm-256color",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        names = ("FORCE_COLOR", "COLUMNS", "LINES")
        inherited = {name: value for name, value in os.environ.items() if name not in names}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "movescu", *map(str, arguments)],
            cwd=folder,
            env={**inherited, "TERM": term, "PYTHONIOENCODING": "utf-8", **(environment or {})},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self._ours = ours
        self._until = time.monotonic() + PATIENCE
        self.output = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def read_until(self, pattern: str) -> None:
        """Read until the output has what the pattern finds."""
        while not re.search(pattern, self.output):
            assert self._read(), f"ended without {pattern!r}:\n{self.output}"

    def type(self, text: str) -> None:
        """Type a text."""
        os.write(self._ours, text.encode())

    def finish(self, code: int = 0) -> str:
        """Read to the end; gives all output."""
        while self._read():
            pass
        assert self.process.wait(PATIENCE) == code, self.output
        assert "Traceback" not in self.output
        return self.output

    def _read(self) -> bool:
        left = self._until - time.monotonic()
        assert select.select([self._ours], [], [], max(left, 0))[0], f"still running:\n{self.output[-2000:]}"
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # what Linux says when the last process has closed the terminal
            return False
        self.output += data.decode(errors="replace")
        return bool(data)
