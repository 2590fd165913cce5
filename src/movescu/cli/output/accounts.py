"""``--events``, ``--report`` and ``--failed``: events and result of a run, as files.

The files are opened and truncated before the first request: one that cannot be written ends the run, and the report of
an earlier run is not mistaken for this one's. Report and list appear whole under their names, or not at all.
Imported with one of these options alone.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import stat
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from movescu._runtime.late_log import logger_of
from movescu.cli import streams
from movescu.cli.exit_codes import ExitCode
from movescu.cli.options.configuration import identifiers
from movescu.cli.options.output_files import STANDARD_OUTPUT
from movescu.errors import DirectoryNotWritableError, MovescuError, UsageError
from movescu.events import EndEvent, EntryEvent, EntryState, as_json, fan_out
from movescu.query.scope import Scope
from movescu.report.entry_table import EntryTable
from movescu.report.summary import Summary
from movescu.retrieve.event_observer import EventObserver, end_event

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from movescu.cli.options.settings import CommandSettings
    from movescu.events import Event, EventSink
    from movescu.retrieve.config import Config
    from movescu.retrieve.result import Result

_log: Final = logger_of("movescu.cli")

_SPREADSHEET: Final = ".csv"
_PIECES: Final = 1000  # written at once


class Accounts:
    """The files of ``--events``, ``--report`` and ``--failed``.

    Raise ``UsageError`` if one cannot be opened, ``DirectoryNotWritableError`` if it is not writable.
    """

    def __init__(self, settings: CommandSettings, options: Config) -> None:
        self._begun = time.monotonic()
        self._table = EntryTable()
        self._spreadsheet = settings.report is not None and settings.report.lower().endswith(_SPREADSHEET)
        self._listed = settings.list_file is not None
        self._settings = settings
        self._events = None if settings.events is None else _Output(settings.events)
        # With a byte order mark, without which Excel takes UTF-8 for something else.
        encoding = "utf-8-sig" if self._spreadsheet else "ascii"
        self._report = None if settings.report is None else _Output(settings.report, encoding)
        self._failed = None if settings.failed is None else _Output(settings.failed, "utf-8")
        self._summary = None if self._report is None else Summary(options, self._table)
        sinks = (None if self._events is None else self._line, self._summary, self._entry)
        self.sink: EventSink | None = fan_out(tuple(sink for sink in sinks if sink is not None))
        self.observer = _Observer(self)
        """Observer that feeds the files."""
        self._columns: dict[int, dict[str, str]] = {}
        """Cells of a list's entries that are not keys: by number and heading."""
        self._end = EndEvent(outcome="failed", stored=0, failed=0, size=0, seconds=0.0)

    def tell(self, event: Event) -> None:
        """Pass an event to the files."""
        if self.sink is not None:
            self.sink(event)

    def entry(self, end: EndEvent) -> None:
        """Send the end of an entry of a list."""
        self.tell(replace(end, columns=self._columns.get(end.row or 0)))

    def concluded(self, end: EndEvent) -> None:
        """Set the end of the run; without one, ``conclude`` reports a failure."""
        self._end = end

    def expect(self, entries: Iterable[EntryEvent]) -> None:
        """Add the entries of a list, in the state that they keep if the run ends before it reaches them."""
        for event in entries:
            self._table.add(event)
            if event.row is not None and event.columns:
                self._columns[event.row] = dict(event.columns)

    def _line(self, event: Event) -> None:
        assert self._events is not None  # a sink only with a file
        self._events.write(_text(as_json(event)))

    def _entry(self, event: Event) -> None:
        if isinstance(event, EntryEvent):
            self._table.add(event)

    def conclude(self, code: int, error: BaseException | None = None) -> int:
        """Send the ``EndEvent``, write the report, close the files, and return the exit code of the run."""
        end = self._end
        errors = end.errors if error is None else (*end.errors, str(error) or type(error).__name__)
        seconds = time.monotonic() - self._begun
        if self.sink is not None:
            self.sink(replace(end, time=time.time(), seconds=seconds, exit_code=code, errors=errors))
        if self._summary is not None and self._report is not None:
            if self._spreadsheet and not self._listed:
                self._table.add(_only_entry(replace(end, errors=errors, seconds=seconds), self._settings))
            self._report.write_all(self._table.csv_lines() if self._spreadsheet else self._summary.texts())
        if self._failed is not None:
            self._failed.write_all(self._table.failed_lines())
        written = [output.close() for output in (self._events, self._report, self._failed) if output is not None]
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
            self._accounts.concluded(end_event(result, cancelled=cancelled))
        else:
            self._accounts.entry(replace(end_event(result, cancelled=cancelled, row=row), seconds=seconds))


def _only_entry(end: EndEvent, settings: CommandSettings) -> EntryEvent:
    """Return a retrieve without a list as an entry, for the spreadsheet."""
    studies: list[str] = []
    with contextlib.suppress(MovescuError):  # invalid keys are an error of the run
        studies = [uid for one in identifiers(settings) for uid in Scope(one, "PATIENT").unique("STUDY")]
    here = end.stored + end.already_there
    states = {"complete": EntryState.COMPLETE, "not found": EntryState.NOT_FOUND}
    state = states.get(end.outcome, EntryState.PARTIAL if here else EntryState.FAILED)
    names = ("stored", "already_there", "missing", "failed", "size", "seconds", "attempts")
    numbers: dict[str, Any] = {name: getattr(end, name) for name in names}
    return EntryEvent(
        row=1,
        state=state,
        keys=tuple(settings.keys),
        study_instance_uids=tuple(dict.fromkeys(studies)),
        detail="; ".join(end.errors),
        **numbers,
    )


def _text(value: dict[str, Any]) -> str:
    # In ASCII, so that text of the archive reaches a terminal as escapes alone.
    return json.dumps(value) + "\n"


class _Output:
    """A text file, or standard output, whose errors the command reports at its end."""

    def __init__(self, path: str, encoding: str = "ascii") -> None:
        self._path = path
        self._encoding = encoding
        self._file: TextIO | None = None
        self._good = True
        if path != STANDARD_OUTPUT:
            try:
                self._file = open(path, "w", encoding=encoding, errors="surrogateescape")  # noqa: SIM115 - closed by close()
            except FileNotFoundError as error:
                raise UsageError(f"cannot write {path!r}: {error.strerror}") from error
            except OSError as error:
                raise DirectoryNotWritableError(f"cannot write {path!r}: {error.strerror}") from error

    def write(self, text: str) -> None:
        """Write and flush; log the first failure."""
        if self._file is None:
            streams.output(text)
        elif self._good:
            try:
                self._file.write(text)
                self._file.flush()
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        self._good = False
        _log.critical("cannot write %r: %s", self._path, error.strerror)

    def write_all(self, pieces: Iterable[str]) -> None:
        """Write a text, given in pieces; a regular file gets it as a whole, or is removed."""
        path = os.path.realpath(self._path)
        folder, name = os.path.split(path)
        regular = self._file is not None and stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        if not regular or not os.access(folder, os.W_OK | os.X_OK):
            pieces = iter(pieces)
            while text := "".join(itertools.islice(pieces, _PIECES)):
                self.write(text)
            return
        temporary = os.path.join(folder, f".{name}.{os.getpid()}.part")
        try:
            with open(temporary, "w", encoding=self._encoding, errors="surrogateescape") as file:
                shutil.copymode(path, temporary)
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            for name in (temporary, path):  # the latter is empty
                with contextlib.suppress(OSError):
                    os.unlink(name)
            self._fail(error)

    def close(self) -> bool:
        """Close the file; return True if everything was written."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # a failure of write() has been logged
                self._file.close()
        return self._good
