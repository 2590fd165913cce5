"""The progress of DCMTK's movescu: ``RECV: ``, a dot for each PDV of an object, and the end of the line.

Where several associations deliver at once, one object's dots are shown as they come, and the lines of the others stand
whole behind it.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Final

from movescu.cli import streams
from movescu.retrieve.observer import Observer

if TYPE_CHECKING:
    from movescu.storage.incoming_object import Incoming

_HEAD: Final = "RECV: "


class Dots(Observer):
    """Shows on standard output what arrives, until that can no longer be written to."""

    watches = True

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[int, int] = {}  # dots, by the identity of what is arriving
        self._live: int | None = None
        self._waiting: list[str] = []
        self._usable = sys.stdout is not None
        self._at_once = self._usable and sys.stdout.isatty()

    def begin(self, incoming: Incoming) -> None:
        """Begin a line, if no other is on its way."""
        with self._lock:
            self._counts[id(incoming)] = 0
            if self._live is None:
                self._live = id(incoming)
                self._write(_HEAD)

    def fragments(self, incoming: Incoming, fragments: tuple[memoryview, ...]) -> None:
        """Show a dot for each."""
        with self._lock:
            self._counts[id(incoming)] += len(fragments)
            if self._live == id(incoming):
                self._write("." * len(fragments))

    def finish(self, incoming: Incoming) -> None:
        """End a line, or show it whole."""
        with self._lock:
            text = f"{_HEAD}{'.' * self._counts.pop(id(incoming))}\n"
            if self._live == id(incoming):
                self._live = None
                self._write("".join(("\n", *self._waiting)))
                self._waiting.clear()
            elif self._live is None:
                self._write(text)
            else:
                self._waiting.append(text)

    def _write(self, text: str) -> None:
        flush = self._at_once or text.endswith("\n")
        self._usable = self._usable and streams.write(sys.stdout, text, flush=flush)
