"""The progress of DCMTK's movescu: per object, ``RECV: ``, a dot for each PDV, and a line feed.

With concurrent associations, one object's dots are shown as they arrive; the lines of the others follow, each in one
piece.
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
    """Shows arriving objects on standard output, until writing fails."""

    watches = True

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[int, int] = {}  # dots, by id() of the arriving object
        self._live: int | None = None
        self._waiting: list[str] = []
        self._usable = sys.stdout is not None
        self._at_once = self._usable and sys.stdout.isatty()

    def begin(self, incoming: Incoming) -> None:
        """Start a line, unless another one is unfinished."""
        with self._lock:
            self._counts[id(incoming)] = 0
            if self._live is None:
                self._live = id(incoming)
                self._write(_HEAD)

    def fragments(self, incoming: Incoming, fragments: tuple[memoryview, ...]) -> None:
        """Show a dot for each fragment."""
        with self._lock:
            self._counts[id(incoming)] += len(fragments)
            if self._live == id(incoming):
                self._write("." * len(fragments))

    def finish(self, incoming: Incoming) -> None:
        """End the current line, or show the object's line in one piece."""
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
