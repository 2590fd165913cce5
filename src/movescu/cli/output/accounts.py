"""``--events``, ``--report``, ``--html`` and ``--failed``: events and result of a run, as files.

The files are opened and truncated before the first request: one that cannot be written ends the run, and the report of
an earlier run is not mistaken for this one's. Report and list appear whole under their names, or not at all.
Imported only with one of these options.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from movescu._runtime import clock
from movescu.cli.exit_codes import ExitCode
from movescu.cli.output.output_file import OutputFile
from movescu.cli.output.page import Page
from movescu.errors import MovescuError
from movescu.events import EndEvent, EntryEvent, EntryState, as_json
from movescu.query.scope import Scope
from movescu.report.entry_table import EntryTable
from movescu.report.summary import Summary
from movescu.retrieve.causes import cause_of, cause_of_error
from movescu.retrieve.event_observer import EventObserver, end_event
from movescu.retrieve.judgement import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from movescu.cli.options.settings import CommandSettings
    from movescu.events import Event
    from movescu.query.identifier import Identifier
    from movescu.report.pseudonyms import Pseudonyms
    from movescu.retrieve.causes import Cause
    from movescu.retrieve.config import Config
    from movescu.retrieve.result import Result
    from movescu.storage.target import OnWhole

_E = TypeVar("_E", bound="Event")
_SPREADSHEET: Final = ".csv"


class Accounts:
    """The files of ``--events``, ``--report``, ``--html`` and ``--failed``.

    Raise ``UsageError`` if one cannot be opened, ``DirectoryNotWritableError`` if it is not writable.
    """

    def __init__(self, settings: CommandSettings, options: Config) -> None:
        self._begun = time.monotonic()
        self._table = EntryTable()
        self._spreadsheet = settings.report is not None and settings.report.lower().endswith(_SPREADSHEET)
        self._listed = settings.list_file is not None
        self._keys = tuple(settings.keys)
        self.requested: Sequence[Identifier] = ()
        """The requests of a retrieve without a list."""
        self._events = None if settings.events is None else OutputFile(settings.events)
        # With a byte order mark, without which Excel takes UTF-8 for something else.
        encoding = "utf-8-sig" if self._spreadsheet else "ascii"
        self._report = None if settings.report is None else OutputFile(settings.report, encoding)
        self._failed = None if settings.failed is None else OutputFile(settings.failed, "utf-8")
        self._page = None if settings.html is None else Page(settings)
        self._shown = EntryTable() if settings.pseudonymise else self._table
        """The entries of report and page."""
        told = self._report is not None or self._page is not None
        self._summary = Summary(options, self._shown) if told else None
        self._pseudonyms = _pseudonyms_of(self._summary) if settings.pseudonymise else None
        self._telling = clock.Lock()
        self.observer = _Observer(self)
        """Observer that feeds the files."""
        self._columns: dict[int, dict[str, str]] = {}
        """Cells of a list's entries that are not keys: by number and heading."""
        self._end = EndEvent(outcome="failed", stored=0, failed=0, size=0, seconds=0.0)
        self._cause: Cause | None = None
        """Of the end of a single retrieve."""

    @property
    def on_whole(self) -> OnWhole | None:
        """What is called with each whole object; None if nothing needs it."""
        return None if self._page is None or self._page.samples is None else self._page.samples.on_whole

    def tell(self, event: Event) -> None:
        """Pass an event to the files."""
        with self._telling:
            if self._events is not None:
                self._line(event)
            self._keep(event)

    def entry(self, end: EndEvent) -> None:
        """Send the end of an entry of a list."""
        self.tell(replace(end, columns=self._columns.get(end.row or 0)))

    def concluded(self, end: EndEvent, cause: Cause | None = None) -> None:
        """Set the end of the run; without one, ``conclude`` reports a failure. ``cause``: of a single retrieve."""
        self._end, self._cause = end, cause

    def expect(self, entries: Iterable[EntryEvent]) -> None:
        """Add the entries of a list, in the state that they keep if the run ends before it reaches them."""
        for event in entries:
            self._entry(event)
            if event.row is not None and event.columns:
                self._columns[event.row] = dict(event.columns)

    def _line(self, event: Event) -> None:
        assert self._events is not None  # called with a file alone
        self._events.write(_text(as_json(event)))

    def _keep(self, event: Event) -> None:
        """Add an event to what report, page and list are made of."""
        if self._summary is not None:
            self._summary(self._hidden(event))
        if self._page is not None:
            self._page.data(event)
        self._entry(event)

    def _entry(self, event: Event) -> None:
        if isinstance(event, EntryEvent):
            self._table.add(event)
            if self._shown is not self._table:
                self._shown.add(self._hidden(event))

    def _hidden(self, event: _E) -> _E:
        """Return an event as report and page tell it."""
        return event if self._pseudonyms is None else self._pseudonyms.event(event)  # type: ignore[return-value] # of its class

    def conclude(self, code: int, error: BaseException | None = None) -> int:
        """Send the ``EndEvent``, write the report, close the files, and return the exit code of the run.

        After an exception, such as that of a signal, it may be called again: its report replaces the first one.
        """
        end = self._end
        if end.outcome == Outcome.COMPLETE and code == ExitCode.INCOMPLETE:  # known only after the retrieve
            end = replace(end, outcome=Outcome.INCOMPLETE)
        errors = end.errors if error is None else (*end.errors, str(error) or type(error).__name__)
        seconds = time.monotonic() - self._begun
        end_of_run = replace(end, time=time.time(), seconds=seconds, exit_code=code, errors=errors)
        with self._telling:
            self._keep(end_of_run)
        table = self._shown
        if not self._listed and (self._spreadsheet or self._page is not None):
            if isinstance(error, MovescuError):
                self._cause = cause_of_error(error)
            table = EntryTable()
            only = _only_entry(replace(end, errors=errors, seconds=seconds), self._keys, self.requested, self._cause)
            table.add(self._hidden(only))
        if self._summary is not None and self._report is not None:
            self._report.write_all(table.csv_lines() if self._spreadsheet else self._summary.texts())
        if self._summary is not None and self._page is not None:
            self._page.write(self._summary, table, self._pseudonyms, listed=self._listed)
        if self._failed is not None:
            self._failed.write_all(self._table.failed_lines())
        if self._events is not None:
            self._line(end_of_run)  # last: once this is told, nothing changes it
        written = [output.close() for output in (self._events, self._report, self._failed) if output is not None]
        written += [] if self._page is None else [self._page.output.close()]
        if code == ExitCode.SUCCESS and not all(written):
            return ExitCode.OUTPUT_DIRECTORY_NOT_WRITABLE
        return code


class _Observer(EventObserver):
    """Forwards events; the end of a single retrieve is replaced by that of the run, with its exit code."""

    def __init__(self, accounts: Accounts) -> None:
        super().__init__(accounts.tell)
        self._accounts = accounts

    def ended(self, result: Result, seconds: float, row: int | None, *, cancelled: bool) -> None:
        """Keep the end of a single retrieve, or send that of an entry."""
        if row is None:
            cause = None if result.complete else cause_of(result)
            self._accounts.concluded(end_event(result, cancelled=cancelled), cause)
        else:
            self._accounts.entry(replace(end_event(result, cancelled=cancelled, row=row), seconds=seconds))


def _pseudonyms_of(summary: Summary | None) -> Pseudonyms:
    """Return the pseudonyms of a run, and hide what its report says before the first event."""
    from movescu.report.pseudonyms import Pseudonyms, load_key  # late: needed only with --pseudonymise

    pseudonyms = Pseudonyms(load_key(), time.time() if summary is None else summary.begun)
    if summary is not None:
        summary.archive, summary.begun = pseudonyms.archive(summary.archive), 0.0
    return pseudonyms


def _only_entry(
    end: EndEvent, keys: tuple[str, ...], requested: Sequence[Identifier], cause: Cause | None
) -> EntryEvent:
    """Return a retrieve without a list as an entry, for the spreadsheet."""
    studies = [uid for one in requested for uid in Scope(one, "PATIENT").unique("STUDY")]
    here = end.stored + end.already_there
    states = {"complete": EntryState.COMPLETE, "not found": EntryState.NOT_FOUND}
    state = states.get(end.outcome, EntryState.PARTIAL if here else EntryState.FAILED)
    names = ("stored", "already_there", "missing", "failed", "size", "seconds", "attempts")
    numbers: dict[str, Any] = {name: getattr(end, name) for name in names}
    if cause is not None:
        told = {"reason": cause.code, "words": cause.words, "fault": cause.fault.value, "advice": cause.advice}
        numbers |= told | {"passing": cause.passing}
    return EntryEvent(
        row=1,
        state=state,
        keys=keys,
        study_instance_uids=tuple(dict.fromkeys(studies)),
        detail="; ".join(end.errors),
        missing_sop_instance_uids=end.missing_sop_instance_uids,
        **numbers,
    )


def _text(value: dict[str, Any]) -> str:
    # In ASCII, so that text of the archive reaches a terminal as escapes alone.
    return json.dumps(value) + "\n"
