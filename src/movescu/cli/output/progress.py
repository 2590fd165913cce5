"""The progress display of a terminal: a bar, counts, and a summary line at the end.

``Progress`` polls the tally and the last response in a thread of its own, so that receiving threads do no work for it.
It writes to standard error alone. Log lines go through it meanwhile and appear above the display. The display is drawn
with rich, loaded when it starts; it fits any width, is removed at the end, and is left out on terminals that cannot
move their cursor. ``movescu.cli.commands.retrieve`` checks that there is a terminal.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from movescu._runtime.late_log import settle
from movescu.cli import streams
from movescu.cli.logging.console_log import escape
from movescu.cli.output.diagnostics import log_response
from movescu.cli.output.quantities import size_text, time_text
from movescu.dictionary.uids import uid_name
from movescu.dimse.status import StatusClass
from movescu.retrieve.observer import Observer
from movescu.retrieve.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TextIO

    from rich.console import Console
    from rich.segment import Segment

    from movescu.errors import MovescuError
    from movescu.retrieve.config import Config
    from movescu.retrieve.result import Result
    from movescu.services.move import MoveResponse

_INTERVAL: Final = 0.25  # seconds between two frames
_WINDOW: Final = 40  # frames over which rates are averaged
AFTER_THE_RESPONSE: Final = "waiting for objects that are on their way"
WITH_ALL_HERE: Final = "waiting for the sender to end its association"
_WIDEST: Final = 100  # columns
STILL_TERMINALS: Final = ("", "dumb", "unknown")  # values of TERM


class ProgressState(NamedTuple):
    """Progress of a retrieve. ``expected``: None if unknown. ``size``: bytes, None if no object is sent to us.

    ``lead``: texts before the numbers, each with its style. ``estimated``: not all of ``expected`` was counted.
    ``lines``: what runs now.
    """

    seconds: float
    done: int
    expected: int | None
    failed: int
    size: int | None
    kind: str
    lead: tuple[tuple[str, str], ...] = ()
    estimated: bool = False
    lines: tuple[str, ...] = ()


class Activity(NamedTuple):
    """What a request does now; ``since``: on the monotonic clock. ``connected``: words once a sender has connected."""

    words: str
    since: float
    connected: str = ""

    def text(self, senders: int) -> str:
        """Return the words, after a second with the time; ``senders``: open storage associations."""
        words, seconds = (senders and self.connected) or self.words, time.monotonic() - self.since
        return f"{words} ({time_text(seconds)})" if words and seconds >= 1 else words


def callback_of(config: Config) -> Activity:
    """Return the wait until the archive opens an association to us, and sends; no words if it sends to another."""
    if config.receive is None or (config.listens and not config.is_own_destination):
        return Activity("", time.monotonic())
    if config.receive.port is None:
        return Activity("waiting for the first object", time.monotonic())
    words = f"waiting for the archive to connect to port {config.receive.port}"
    return Activity(words, time.monotonic(), connected="waiting for the first object")


class Progress(Observer):
    """Shows the progress of a retrieve. ``display`` False: the summary line alone."""

    def __init__(self, config: Config, *, display: bool) -> None:
        self._tally = Tally()
        self._own = config.receive is not None and (config.is_own_destination or not config.listens)
        self._destination = config.move_destination
        self._last: MoveResponse | None = None
        self._ended: list[MoveResponse] = []
        self._there = 0
        self._begun = time.monotonic()
        self._config = config
        self._activity = Activity(f"connecting to {config.archive.host} port {config.archive.port}", self._begun)
        self._senders = 0
        self._quiet_from = sys.maxsize  # objects after which the activity is not shown: it is over then
        live = display and os.environ.get("TERM", "") not in STILL_TERMINALS
        self._display = Display(self.state) if live else None

    @contextlib.contextmanager
    def shown(self, tally: Tally) -> Iterator[None]:
        """Show the display during the block and the summary line after it; ``tally``: of arriving objects."""
        self._tally = tally
        with shown(self._display):
            yield
        streams.write(sys.stderr, f"{self.summary()}\n")

    def archive(self, state: str, config: Config, error: MovescuError | None = None) -> None:  # noqa: ARG002 - of its base
        """Show that the association with the archive is open."""
        if state == "opened":
            self._do("querying the archive (C-FIND)" if config.retry.lists else "")

    def requested(self, row: int | None) -> None:  # noqa: ARG002 - of its base
        """Show the wait for the archive to connect."""
        self._activity, self._quiet_from = callback_of(self._config), self._tally.arrived

    def retry(self, attempt: int, objects: int | None, pause: float, reason: str, row: int | None) -> None:  # noqa: ARG002 - of its base
        """Show the pause before another attempt."""
        self._do(f"attempt {attempt} begins in {pause:.0f} s")

    @contextlib.contextmanager
    def storage(self, *_: object) -> Iterator[None]:
        """Count the open storage associations."""
        self._senders += 1
        try:
            yield
        finally:
            self._senders -= 1

    def _do(self, words: str) -> None:
        self._activity, self._quiet_from = Activity(words, time.monotonic()), sys.maxsize

    def response(self, response: MoveResponse, seconds: float, row: int | None) -> None:  # noqa: ARG002 - of its base
        """Log a C-MOVE response and keep its counts."""
        log_response(response)
        if response.status_class is StatusClass.PENDING:
            self._last = response
        else:
            self._last = None
            self._ended.append(response)
            self._do(AFTER_THE_RESPONSE if self._own else "")

    def ended(self, result: Result, seconds: float, row: int | None, *, cancelled: bool) -> None:  # noqa: ARG002 - of its base
        """Keep the number of objects that were not requested."""
        self._there = result.already_there

    def state(self) -> ProgressState:
        """Return the current progress."""
        tally, last = self._tally, self._last
        responses = self._ended if last is None else [*self._ended, last]
        counted = sum((response.completed or 0) + (response.warning or 0) for response in responses)
        failed = sum(response.failed or 0 for response in responses)
        expected = None
        if responses and (last is None or last.remaining is not None):
            expected = counted + failed + (0 if last is None else last.remaining or 0)
        ours = self._own or tally.arrived > 0
        if self._activity.words == AFTER_THE_RESPONSE and expected is not None and tally.arrived >= counted:
            self._activity = self._activity._replace(words=WITH_ALL_HERE)
        kind = "" if tally.last is None else escape(uid_name(tally.last.incoming.request.affected_sop_class_uid))
        return ProgressState(
            time.monotonic() - self._begun,
            tally.stored if ours else counted,
            expected,
            max(failed, tally.failed),
            tally.size if ours else None,
            kind,
            lines=self._lines(),
        )

    def _lines(self) -> tuple[str, ...]:
        """Return what the retrieve waits for; nothing while objects arrive."""
        arriving = self._tally.arrived > self._quiet_from
        return (self._activity.text(self._senders),) if self._activity.words and not arriving else ()

    def status(self) -> str:
        """Return the current progress as a line."""
        return status_text(self.state())

    def summary(self) -> str:
        """Return the summary line."""
        state = self.state()
        text = f"{state.done} object{'s' if state.done != 1 else ''}"
        if state.size is None:
            text += f" delivered to {self._destination} in {state.seconds:.1f} s"
        else:
            text += f", {size_text(state.size)} in {state.seconds:.1f} s"
            if state.size and state.seconds:
                text += f" ({size_text(state.size / state.seconds)}/s)"
        if self._there:
            text += f", {self._there} already there"
        return f"{text}, {state.failed} failed" if state.failed else text


@contextlib.contextmanager
def shown(display: Display | None) -> Iterator[None]:
    """Show a display, if there is one, during the block."""
    if display is None:
        yield
        return
    display.start()
    try:
        yield
    finally:
        display.stop()


class Display:
    """A few lines at the bottom of a terminal, redrawn periodically."""

    def __init__(self, state: Callable[[], ProgressState]) -> None:
        self._state = state
        self._history: deque[ProgressState] = deque(maxlen=_WINDOW)
        self._lock = threading.RLock()  # reentrant: a signal handler may log during a write
        self._over = threading.Event()
        self._widths: list[int] = []  # of the visible lines
        self._resources = contextlib.ExitStack()
        self._thread = threading.Thread(target=self._run, name="movescu-progress", daemon=True)

    def start(self) -> None:
        """Start the display; standard error goes through ``write`` from now on."""
        from rich.console import Console  # late: slow to load, and needed on terminals alone

        self._console: Console = Console(file=sys.stderr, highlight=False, markup=False, emoji=False)
        with contextlib.ExitStack() as resources:  # undone if a signal interrupts the start
            stream = _Above(self, sys.stderr)
            for handler in _handlers_of(sys.stderr, sys.stdout):
                resources.callback(handler.setStream, handler.stream)
                handler.setStream(stream)
            resources.enter_context(contextlib.redirect_stderr(stream))
            resources.callback(self._console.show_cursor, show=True)
            self._console.show_cursor(show=False)
            self._thread.start()
            self._resources = resources.pop_all()

    def stop(self) -> None:
        """Remove the display."""
        with contextlib.suppress(OSError), self._resources:  # the terminal may be gone
            self._over.set()
            self._thread.join()
            with self._lock, self._console:
                self._erase()

    def write(self, text: str) -> None:
        """Write whole lines above the display, which is redrawn at the next interval."""
        with self._lock:
            with self._console:
                self._erase()
            self._console.file.write(text)  # not through rich, which is slow for many lines
            self._console.file.flush()

    def draw(self) -> None:
        """Redraw the display."""
        self._history.append(self._state())
        with self._lock, self._console:
            self._erase()
            self._draw()

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone
            while not self._over.wait(_INTERVAL):
                self.draw()

    def _erase(self) -> None:
        """Erase the display; on a terminal that became narrower, its lines wrap and take more rows."""
        from rich.control import Control
        from rich.segment import ControlType

        width = self._console.width
        rows = sum(max(-(-columns // width), 1) for columns in self._widths)
        line: list[Any] = [ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)]
        if rows:
            self._console.control(Control(*line, *((ControlType.CURSOR_UP, 1), line[1]) * (rows - 1)))
        self._widths = []

    def _draw(self) -> None:
        from rich.segment import Segment, Segments

        lines = self._picture(min(self._console.width, _WIDEST) - 1)[: max(self._console.height - 1, 1)]
        self._widths = [Segment.get_line_length(line) for line in lines]
        segments = [segment for line in lines for segment in (Segment.line(), *line)][1:]
        self._console.print(Segments(segments), soft_wrap=True)

    def _picture(self, width: int) -> list[list[Segment]]:
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        state = self._history[-1]
        bar = ProgressBar(state.expected or None, state.done, width, pulse=not state.expected)
        rows = [
            Text("  ").join(Text(text, style) for text, style in row) for row in packed(parts_of(self._history), width)
        ]
        options = self._console.options.update(width=width, no_wrap=True)
        rows += [Text(line, "dim", overflow="ellipsis") for line in state.lines]
        for row in rows:
            row.truncate(width, overflow="ellipsis")
        parts: list[ProgressBar | Text] = [bar, *rows]
        return [line for part in parts for line in self._console.render_lines(part, options, pad=False)]


class _Above(io.TextIOBase):
    """Replaces standard error during a display: lines go above it."""

    def __init__(self, display: Display, stream: TextIO) -> None:
        self._display = display
        self._stream = stream
        self._rest = ""

    @property
    def encoding(self) -> str:  # type: ignore[override] # read, as with any stream; only the stub has a variable
        return self._stream.encoding

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, text: str) -> int:
        whole, end, rest = (self._rest + text).rpartition("\n")
        self._rest = rest
        if end:
            self._display.write(whole + end)
        return len(text)


def _handlers_of(*outputs: TextIO | Any) -> Iterator[logging.StreamHandler[Any]]:  # noqa: ANN401 - either may be None
    """Yield the handlers of all loggers that write to one of these streams, if it is a terminal."""
    settle()
    terminals = [stream for stream in outputs if stream is not None and stream.isatty()]
    for logger in (logging.root, *logging.root.manager.loggerDict.values()):
        for handler in getattr(logger, "handlers", ()):
            if isinstance(handler, logging.StreamHandler) and handler.stream in terminals:
                yield handler


def parts_of(history: Sequence[ProgressState]) -> list[tuple[str, str]]:
    """Return the texts of a display, each with its style; rates are averaged over the history."""
    now = history[-1]
    then = next((state for state in history if now.done > state.done), None) or ProgressState(0.0, 0, None, 0, 0, "")
    seconds = max(now.seconds - then.seconds, _INTERVAL)
    of = f" of {'about ' if now.estimated else ''}{now.expected}" if now.expected else ""
    parts = [*now.lead, (f"{now.done}{of} objects", "bold")]
    if now.size is not None:
        parts += [(size_text(now.size), ""), (f"{size_text((now.size - (then.size or 0)) / seconds)}/s", "")]
    if now.expected and now.done > then.done:
        left = max(now.expected - now.done - now.failed, 0) * seconds / (now.done - then.done)
        parts.append((f"{time_text(left)} left", ""))
    else:
        parts.append((f"{time_text(now.seconds)} elapsed", ""))
    if now.failed:
        parts.append((f"{now.failed} failed", "bold red"))
    return [*parts, (now.kind, "dim")] if now.kind else parts


def status_text(state: ProgressState) -> str:
    """Return a state as one line, with the average rate."""
    return "; ".join((", ".join(text for text, _ in parts_of((state,))), *state.lines))


def packed(parts: list[tuple[str, str]], width: int) -> list[list[tuple[str, str]]]:
    """Return rows of as many parts as fit, separated by two spaces."""
    rows: list[list[tuple[str, str]]] = [[]]
    room = width
    for part in parts:
        if rows[-1] and len(part[0]) + 2 > room:
            rows.append([])
            room = width
        room -= len(part[0]) + (2 if rows[-1] else 0)
        rows[-1].append(part)
    return rows
