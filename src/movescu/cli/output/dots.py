"""The progress of DCMTK's movescu: ``RECV: ``, a dot for each PDV of an object, and the end of the line.

Where several associations deliver at once, one object's dots are shown as they come, and the lines of the others stand
whole behind it.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Final

from movescu.cli import streams

if TYPE_CHECKING:
    from movescu.storage.incoming_object import ObjectReceiver

_HEAD: Final = "RECV: "


class Dots:
    """Shows on standard output what comes in, until that can no longer be written to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: _Line | None = None
        self._waiting: list[str] = []
        self._usable = sys.stdout is not None
        self._at_once = self._usable and sys.stdout.isatty()

    def watch(self, receiver: ObjectReceiver) -> ObjectReceiver:
        """Give a receiver that does as this one does, and shows its dots."""
        return _Line(self, receiver)

    def begin(self, line: _Line) -> None:
        """Begin a line, if no other is on its way."""
        with self._lock:
            if self._live is None:
                self._live = line
                self._write(_HEAD)

    def dot(self, line: _Line) -> None:
        """Show a dot."""
        with self._lock:
            if self._live is line:
                self._write(".")

    def end(self, line: _Line) -> None:
        """End a line, or show it whole."""
        with self._lock:
            if self._live is line:
                self._live = None
                self._write("".join(("\n", *self._waiting)))
                self._waiting.clear()
            elif self._live is None:
                self._write(line.text)
            else:
                self._waiting.append(line.text)

    def _write(self, text: str) -> None:
        flush = self._at_once or text.endswith("\n")
        self._usable = self._usable and streams.write(sys.stdout, text, flush=flush)


class _Line:
    """A receiver of one object, and its line."""

    def __init__(self, dots: Dots, receiver: ObjectReceiver) -> None:
        self._dots = dots
        self._receiver = receiver
        self._count = 0
        self._open = True
        dots.begin(self)

    @property
    def text(self) -> str:
        """The whole line."""
        return f"{_HEAD}{'.' * self._count}\n"

    def write(self, *fragments: memoryview) -> None:
        """Take the next bytes of the data set."""
        for _ in fragments:
            self._count += 1
            self._dots.dot(self)
        self._receiver.write(*fragments)

    def finish(self) -> None:
        """Keep the object."""
        self._end()
        self._receiver.finish()

    def discard(self) -> None:
        """Keep nothing of the object."""
        self._end()
        self._receiver.discard()

    def _end(self) -> None:
        if self._open:
            self._open = False
            self._dots.end(self)
