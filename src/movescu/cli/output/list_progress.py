"""The progress of a list: a line for each entry that ended, the display of a terminal, and a summary that adds up.

All of it is made from what observers are told: the states of the entries, the archive's lists (C-FIND) and the objects.
The counts of the lists give the time left; while some entries are not listed yet, they are taken to be like the others.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu._runtime.late_log import ERROR, INFO, logger_of
from movescu.cli import streams
from movescu.cli.logging.console_log import escape
from movescu.cli.output.progress import (
    AFTER_THE_RESPONSE,
    STILL_TERMINALS,
    WITH_ALL_HERE,
    Activity,
    Display,
    ProgressState,
    callback_of,
    shown,
    status_text,
)
from movescu.cli.output.quantities import entries_text, objects_text, size_text, time_text
from movescu.dimse.status import SUCCESS, StatusClass
from movescu.events import EntryState
from movescu.retrieve.judgement import Outcome
from movescu.retrieve.observer import Observer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from movescu.cohort.runner import Runner
    from movescu.events import EntryEvent
    from movescu.retrieve.config import Config
    from movescu.services.move import MoveResponse
    from movescu.services.store import Received

_log: Final = logger_of("movescu.cli")

_NAMED: Final = 5
"""Entries that were not found or not started, and missing objects of an entry, that are named."""
_FLUSHING: Final = "flushing to the disk"
_SHOWN: Final = 4
"""Running entries that the display shows."""
_OF_DESTINATION: Final = ("destination-unknown", "not-reached", "not-arrived", "aborted-at-once")
"""Causes that an entry of this computer in the archive's configuration may end."""
_GOOD: Final = (EntryState.COMPLETE, EntryState.COMPLETE_BEFORE)
_CAPPED: Final = {EntryState.NOT_FOUND: "not found", EntryState.NOT_STARTED: "not requested"}
"""States of which the first entries are named, and the others counted; the words for the latter."""


class Totals(NamedTuple):
    """Sums over the entries that ended."""

    stored: int = 0
    already_there: int = 0
    missing: int = 0
    failed: int = 0
    size: int = 0

    def plus(self, event: EntryEvent, sign: int = 1) -> Totals:
        """Return the sums with those of another entry; ``sign``: -1 to subtract them."""
        return Totals(*(value + sign * getattr(event, name) for name, value in zip(self._fields, self, strict=True)))


class _Running:
    """An entry that runs: what it does, and its objects. ``needed``: missing before the first request, if listed."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.activity = Activity("querying the archive (C-FIND)", time.monotonic())
        self.needed: int | None = None
        self.stored = 0
        self.size = 0
        self.failed = 0

    def do(self, words: str) -> None:
        """Begin another activity."""
        self.activity = Activity(words, time.monotonic())


class ListProgress(Observer):
    """Shows the progress of a list. ``terminal``: with a line for each complete entry; ``display``: with a bar."""

    def __init__(self, config: Config, entries: int, *, terminal: bool, display: bool) -> None:
        self._config = config
        self._entries = entries
        self.places: dict[int, str] = {}
        """Line and keys of each entry, by number."""
        self._terminal = terminal
        self._begun = time.monotonic()
        self._running: dict[int, _Running] = {}
        self._needed: dict[int, int] = {}
        self.counts = dict.fromkeys((state for state in EntryState if state.is_end), 0)
        """Number of entries by their end."""
        self.totals = Totals()
        self._ends: dict[int, EntryEvent] = {}
        """Ends of entries, which may be corrected, or begin anew."""
        self._advised: set[str] = set()
        self._runner: Runner | None = None
        self._senders = 0
        self._counting = threading.Lock()
        live = display and terminal and os.environ.get("TERM", "") not in STILL_TERMINALS
        self._display = Display(self.state) if live else None

    @contextlib.contextmanager
    def shown(self, runner: Runner) -> Iterator[None]:
        """Show the display during the block, and the summary after it."""
        self._runner = runner
        try:
            with shown(self._display):
                yield
        finally:
            self._conclude()

    # -- what happens --------------------------------------------------------------------------------------------------

    def entry(self, event: EntryEvent) -> None:
        """Follow the states of an entry, and log its end."""
        assert event.row is not None
        if (before := self._ends.pop(event.row, None)) is not None:  # it is corrected, or requested again
            self.counts[before.state] -= 1
            self.totals = self.totals.plus(before, -1)
        if event.state is EntryState.RUNNING:
            self._running[event.row] = _Running(event.text)
            return
        self._running.pop(event.row, None)
        if event.state.is_end:
            if event.state in (EntryState.COMPLETE_BEFORE, EntryState.NOT_STARTED):
                self._needed.pop(event.row, None)
            if event.same_as is not None:
                self._needed[event.row] = 0  # the other repetitions will need nothing either
            self.counts[event.state] += 1
            self.totals = self.totals.plus(event)
            self._ends[event.row] = replace(event, missing_sop_instance_uids=())
            self._log_end(event)

    def listed(self, objects: int, missing: int, row: int | None) -> None:  # noqa: ARG002 - of its base
        """Record how many objects an entry needs; a later list counts from those stored."""
        if row is not None and (running := self._running.get(row)) is not None:
            # Its series have lists of their own with --split.
            running.needed = self._needed[row] = max(missing + running.stored, running.needed or 0)

    def requested(self, row: int | None) -> None:
        """Show the wait for the archive to connect."""
        if row is not None and (running := self._running.get(row)) is not None:
            running.activity = callback_of(self._config)

    @contextlib.contextmanager
    def storage(self, *_: object) -> Iterator[None]:
        """Count the open storage associations."""
        with self._counting:
            self._senders += 1
        try:
            yield
        finally:
            with self._counting:
                self._senders -= 1

    def received(self, received: Received, row: int | None) -> None:
        """Count an object."""
        if row is not None and (running := self._running.get(row)) is not None:
            running.size += received.size
            if received.status == SUCCESS:
                running.stored += 1
            else:
                running.failed += 1
            if running.activity.words:
                running.do("")

    def response(self, response: MoveResponse, seconds: float, row: int | None) -> None:  # noqa: ARG002 - of its base
        """Record a final response."""
        if response.status_class is not StatusClass.PENDING:
            self._do(row, AFTER_THE_RESPONSE)

    def retry(self, attempt: int, objects: int | None, pause: float, reason: str, row: int | None) -> None:  # noqa: ARG002 - of its base
        """Show the pause before another attempt."""
        self._do(row, f"attempt {attempt} begins in {pause:.0f} s")

    def delivered(self, row: int) -> None:
        """Show that the objects of an entry are here."""
        self._do(row, _FLUSHING)

    def _do(self, row: int | None, words: str) -> None:
        if row is not None and (running := self._running.get(row)) is not None:
            running.do(words)

    # -- what is shown -------------------------------------------------------------------------------------------------

    def state(self) -> ProgressState:
        """Return the current progress."""
        running = list(self._running.items())
        ended, totals = sum(self.counts.values()), self.totals
        lead = [(f"{ended} of {entries_text(self._entries)}", "bold")]
        bad = [(state, count) for state, count in self.counts.items() if count and state not in _GOOD]
        lead += [(f"{count} {state.value}", "bold red") for state, count in bad]
        needed = list(self._needed.values())
        unlisted = self._entries - ended - sum(one.needed is not None for _, one in running)
        expected = None if not needed else sum(needed) + round(unlisted * sum(needed) / len(needed))
        return ProgressState(
            time.monotonic() - self._begun,
            totals.stored + sum(one.stored for _, one in running),
            expected,
            totals.failed + sum(one.failed for _, one in running),
            totals.size + sum(one.size for _, one in running),
            "",
            lead=tuple(lead),
            estimated=unlisted > 0,
            lines=(*self._lines(running),),
        )

    def _lines(self, running: list[tuple[int, _Running]]) -> Iterator[str]:
        if not running and self._runner is not None and (seconds := self._runner.opens_in):
            yield f"waiting for the time of --between, {time_text(seconds)} left"
        if self._runner is not None and (absence := self._runner.absence):
            yield f"the archive is away: next C-ECHO in {time_text(absence[0])}, given up in {time_text(absence[1])}"
        busy = [(number, one) for number, one in running if one.activity.words != _FLUSHING]
        for number, one in busy[:_SHOWN]:
            of = "" if one.needed is None else f" of {one.needed}"
            told = [f"{one.stored}{of} objects"] if one.stored or one.needed else []
            if one.activity.words == AFTER_THE_RESPONSE and one.needed is not None and one.stored >= one.needed:
                one.activity = one.activity._replace(words=WITH_ALL_HERE)
            if words := one.activity.text(self._senders):
                told.append(words)
            yield escape(
                f"entry {number}: {', '.join(told) or 'running'} ({one.text})"
            )  # a narrow terminal cuts the end
        if len(busy) > _SHOWN:
            yield f"and {len(busy) - _SHOWN} more running"
        if flushing := len(running) - len(busy):
            yield f"{entries_text(flushing)}: {_FLUSHING}"

    def status(self) -> str:
        """Return the current progress as a line."""
        return status_text(self.state())

    def summary(self) -> str:
        """Return the summary line: how many entries ended in each state, and their objects."""
        states = ", ".join(f"{count} {state.value}" for state, count in self.counts.items() if count)
        totals, seconds = self.totals, time.monotonic() - self._begun
        numbers = [objects_text(totals.stored), size_text(totals.size)]
        text = f"{entries_text(self._entries)}: {states}; {', '.join(numbers)} in {seconds:.1f} s"
        if totals.size:
            text += f" ({size_text(totals.size / max(seconds, 0.001))}/s)"
        further = ("already_there", "already there"), ("missing", "missing"), ("failed", "not stored")
        return text + "".join(f", {n} {words}" for name, words in further if (n := getattr(totals, name)))

    def outcome(self, *, cancelled: bool) -> str:
        """Return the outcome of the list; ``cancelled``: by us."""
        states = {state for state, count in self.counts.items() if count}
        bad = states.difference(_GOOD)
        if cancelled or not bad:
            return Outcome.CANCELLED if cancelled else Outcome.COMPLETE
        alone = {EntryState.FAILED: Outcome.FAILED, EntryState.NOT_FOUND: Outcome.NOT_FOUND}
        only = states - {EntryState.NOT_STARTED}
        return alone.get(only.pop(), Outcome.INCOMPLETE) if len(only) == 1 else Outcome.INCOMPLETE

    def _conclude(self) -> None:
        for state, words in _CAPPED.items():
            if (left := self.counts[state] - _NAMED) > 0:
                _log.error("%s: ... and %d more (--failed writes a list of them)", words, left)
        if self._terminal:
            streams.write(sys.stderr, f"{self.summary()}\n")
        else:
            good = sum(self.counts[state] for state in _GOOD) == self._entries
            _log.log(INFO if good else ERROR, "%s", self.summary())

    def _log_end(self, event: EntryEvent) -> None:
        """Log the end of an entry; the likely cause first, the advice once for each cause."""
        same = "" if event.same_as is None else f", the same request as entry {event.same_as}"
        name = f"entry {event.row} ({self.places.get(event.row or 0, event.text)})"
        if event.state in _GOOD:
            text = f"{name}: {event.state.value}{same}{_numbers(event)}"
            _log.info("%s", text)
            if self._terminal:
                streams.write(sys.stderr, f"{escape(text)}\n")
            return
        if event.state in _CAPPED and self.counts[event.state] > _NAMED:
            return
        if event.state is EntryState.NOT_STARTED:
            _log.error("not requested: %s", name)
        else:
            status = "" if event.status is None else f" (status 0x{event.status:04x})"
            detail = f": {event.detail}" if event.detail else ""
            why = f"{event.words}{status}{detail}"
            _log.error("%s: %s%s: %s%s", name, event.state.value, same, why, _numbers(event))
        if event.advice and event.reason not in self._advised:
            self._advised.add(event.reason)
            _log.error("%s", event.advice)
            address, port = ("", 0) if self._runner is None else self._runner.own_address
            if event.reason in _OF_DESTINATION and address and port:
                _log.error(
                    "for the archive's configuration: AE title %s, address %s (as seen from here), port %d",
                    *(self._config.move_destination, address, port),
                )
        missing = event.missing_sop_instance_uids
        for uid in missing[:_NAMED]:
            _log.error("entry %d: missing: SOP instance %s", event.row, uid)
        if len(missing) > _NAMED:
            _log.error("entry %d: missing: ... and %d more (--report lists them)", event.row, len(missing) - _NAMED)


def _numbers(event: EntryEvent) -> str:
    """Return the numbers of an entry that are not 0."""
    told = [f"{objects_text(event.stored)} stored"] if event.stored else []
    told += [f"{event.already_there} already there"] if event.already_there else []
    told += [f"{event.missing} missing"] if event.missing else []
    told += [f"{event.failed} not stored"] if event.failed else []
    told += [f"{event.attempts} attempts"] if event.attempts > 1 else []
    return f"; {', '.join(told)}" if told else ""
