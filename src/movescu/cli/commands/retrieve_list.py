"""``--list``: the rows of a list, several at once, and which exit code they earn together.

Only imported where it is asked for.
"""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from movescu._runtime.late_log import logger_of
from movescu.cli import streams
from movescu.cli.exit_codes import ExitCode, codes_of, first_of
from movescu.cli.options.configuration import persistence, watch
from movescu.cli.signals import Signals
from movescu.cohort.journal import COMPLETE, Journal
from movescu.cohort.runner import Campaign
from movescu.errors import StoreError
from movescu.events import EndEvent
from movescu.query.request_list import read_rows
from movescu.retrieval.config import Persistence
from movescu.retrieval.judgement import Reason
from movescu.retrieval.observer import Observer
from movescu.retrieval.retrieval import make_tls
from movescu.retrieval.storage_server import Reception

if TYPE_CHECKING:
    from movescu.cli.options.settings import CommandSettings
    from movescu.cli.output.accounts import Accounts
    from movescu.cohort.runner import RowResult
    from movescu.query.request_list import Row
    from movescu.retrieval.config import RetrieveOptions
    from movescu.storage.incoming_object import Incoming

_log: Final = logger_of("movescu.cli")


def run_list(settings: CommandSettings, options: RetrieveOptions, accounts: Accounts | None) -> int:
    """Retrieve the rows. Gives the exit code; errors before the first row are raised."""
    assert settings.list_file is not None  # what this is for
    assert options.listen is not None  # the option table sees to it
    rows = read_rows(settings.list_file, settings.keys, model=settings.model)
    window = None
    if settings.between is not None:
        from movescu.cohort.window import parse_window  # for those alone who have one

        window = parse_window(settings.between)
    sink = None if accounts is None else accounts.sink
    tls = make_tls(options.tls, accepting=True)
    reception = Reception(options, watch=watch(settings), tls=tls, indexed=settings.resume)
    reception.observer = None if sink is None else Observer(sink, lambda incoming: _row_of(reception, incoming))
    told = _Told(len(rows))
    with Signals() as signals, contextlib.ExitStack() as stack:
        stack.callback(reception.close)
        reception.open()
        storage = options.listen.storage
        journal = stack.enter_context(Journal(storage.directory)) if storage.to_files else None
        signals.retrieval = campaign = Campaign(
            options,
            persistence(settings) or Persistence(pause=settings.retry_pause),
            reception,
            jobs=settings.jobs,
            tls=tls,
            until=None if options.total_timeout is None else time.monotonic() + options.total_timeout,
            journal=journal,
            go_on=settings.resume,
            window=window,
            observer=reception.observer,
            on_event=sink,
            on_row=told.row,
        )
        waiting = campaign.run(rows)
        told.end(waiting, left_alone=campaign.left_alone)
        try:
            reception.stop()
            reception.flush()
        except StoreError as error:
            _log.critical("incomplete: %s", error)
            told.codes.add(ExitCode.INCOMPLETE)
        if campaign.cancelled:
            told.codes.add(ExitCode.INTERRUPTED)
    if accounts is not None:
        accounts.concluded(told.event(cancelled=campaign.cancelled))
    return first_of(told.codes)


def _row_of(reception: Reception, incoming: Incoming) -> int | None:
    one = reception.round_of(incoming)
    return None if one is None else one.row


class _Told:
    """What is told of the rows, and what they come to together. Rows end in the threads of their workers."""

    def __init__(self, rows: int) -> None:
        self.codes: set[ExitCode] = set()
        self._rows = rows
        self._counts = dict.fromkeys(("complete", "incomplete", "failed", "cancelled"), 0)
        self._sums = dict.fromkeys(("stored", "failed", "size", "missing", "already_there"), 0)
        self._attempts = 1
        self._verified = True
        self._waiting = 0

    def row(self, result: RowResult) -> None:
        """Tell what became of a row, and take note of it."""
        self._counts[result.outcome] += 1
        came = result.result
        if came is not None:
            for name in self._sums:
                self._sums[name] += getattr(came, name)
            self._attempts = max(self._attempts, came.attempts)
        self._verified = self._verified and came is not None and came.verified
        if result.outcome == COMPLETE:
            assert came is not None  # what is complete has a result
            _log.info("row %d (%s): complete, %d objects came", result.row.number, result.row.text, came.stored)
            return
        self.codes.add(_code(result))
        _log.error("row %d (%s): %s%s", result.row.number, result.row.text, result.outcome, _why(result))
        for uid in came.missing_uids if came is not None else ():
            _log.error("row %d: missing: SOP instance %s", result.row.number, uid)

    def end(self, waiting: list[Row], *, left_alone: bool) -> None:
        """Tell what was not begun, and on a terminal how it went."""
        self._waiting = len(waiting)
        if waiting:
            self.codes.add(ExitCode.INCOMPLETE)
        if left_alone:
            _log.critical("the archive has let down one row after the other and is left alone; --resume goes on")
        for row in waiting:
            _log.error("not asked for: row %d (%s)", row.number, row.text)
        if sys.stderr is not None and sys.stderr.isatty():
            told = ", ".join(f"{count} {outcome}" for outcome, count in self._counts.items() if count)
            streams.write(sys.stderr, f"{self._rows} rows: {told or 'nothing left to do'}\n")

    def event(self, *, cancelled: bool) -> EndEvent:
        """Give what they came to together."""
        counts = self._counts
        outcome = "cancelled" if cancelled else COMPLETE
        if outcome == COMPLETE and (self._waiting or counts["incomplete"] or counts["failed"] or counts["cancelled"]):
            outcome = "incomplete" if counts[COMPLETE] or counts["incomplete"] else "failed"
        event = EndEvent(outcome=outcome, stored=0, failed=0, size=0, seconds=0.0, attempts=self._attempts)
        sums: dict[str, Any] = self._sums
        return replace(event, verified=self._verified, **sums)


def _code(result: RowResult) -> ExitCode:
    """Give the code that a row earns which is not complete."""
    came = result.result
    return ExitCode.ASSOCIATION_FAILED if came is None else first_of(codes_of(came.evidence))


_TOLD: Final = (Reason.REFUSED, Reason.WARNED, Reason.LOST, Reason.UNLISTED, Reason.MISSING)
"""Reasons that are told by a status, an error or a number."""


def _why(result: RowResult) -> str:
    came = result.result
    if came is None:
        return f": {result.error}"
    statuses = [f"status 0x{one.status:04x} ({one.status_name})" for one in came.responses if one.status]
    words = (reason.words for reason in came.judgement.reasons if reason not in _TOLD)
    reasons = [*dict.fromkeys(statuses), *came.errors, *([came.unlisted] if came.unlisted else []), *words]
    if came.missing:
        reasons.append(f"{came.missing} object{' is' if came.missing == 1 else 's are'} missing")
    return "".join(f"; {reason}" for reason in reasons)
