"""``--list``: retrieves the entries of a list, several at a time, and combines their exit codes.

Imported with ``--list`` alone.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from movescu._runtime import clock
from movescu._runtime.late_log import ERROR, INFO, logger_of
from movescu.cli import streams
from movescu.cli.exit_codes import ExitCode, codes_of, first_of
from movescu.cli.options.configuration import observers, storage_of
from movescu.cli.output.diagnostics import ResponseLog
from movescu.cli.signals import Signals
from movescu.cohort.journal import COMPLETE, Journal
from movescu.cohort.runner import Runner
from movescu.errors import StoreError
from movescu.events import EndEvent
from movescu.query.request_list import read_rows
from movescu.retrieve.client import Client
from movescu.retrieve.event_observer import end_event
from movescu.retrieve.judgement import Outcome, Reason

if TYPE_CHECKING:
    from movescu.cli.options.settings import CommandSettings
    from movescu.cli.output.accounts import Accounts
    from movescu.cohort.runner import RowResult
    from movescu.query.request_list import Row
    from movescu.retrieve.config import Config

_log: Final = logger_of("movescu.cli")


def run_list(settings: CommandSettings, config: Config, accounts: Accounts | None) -> int:
    """Retrieve the entries and return the exit code. Raise errors before the first entry."""
    assert settings.list_file is not None  # called with --list alone
    rows = read_rows(settings.list_file, settings.keys, model=settings.model)
    window = None
    if settings.between is not None:
        from movescu.cohort.window import parse_window  # late: needed with --between alone

        window = parse_window(settings.between)
    storage = storage_of(settings)
    assert storage is not None  # the option table requires --port
    told = _Told(len(rows), accounts)
    if accounts is not None:
        accounts.columns = {row.number: dict(row.columns) for row in rows if row.columns}
    seen = [*observers(settings), ResponseLog(), *(() if accounts is None else (accounts.observer,))]
    follow_up = None
    if settings.follows_up:
        from movescu.cli.commands.follow_up import FollowUp  # late: needed with a command or a manifest alone

        follow_up = FollowUp(settings, config, (row.identifier for row in rows))
    on_whole = None if follow_up is None else follow_up.on_whole
    client = Client.configured(config, storage, seen, closing=False, indexed=settings.resume, on_whole=on_whole)
    with Signals() as signals, client, contextlib.ExitStack() as stack:
        client.open()
        hooks = None if follow_up is None else stack.enter_context(follow_up).open()
        journal = stack.enter_context(Journal(storage.directory)) if storage.to_files else None
        runner = Runner(
            client,
            jobs=settings.jobs,
            until=None if config.timeouts.total is None else clock.now() + config.timeouts.total,
            journal=journal,
            resume=settings.resume,
            window=window,
            hooks=hooks,
            on_row=told.row,
        )
        signals.retrieval = runner if follow_up is None else follow_up.with_commands(runner)
        waiting = runner.run(rows)
        told.end(waiting, gave_up=runner.gave_up)
        try:
            client.server.close()
            client.flush()
        except StoreError as error:
            _log.critical("incomplete: %s", error)
            told.codes.add(ExitCode.INCOMPLETE)
        if follow_up is not None:
            told.codes |= follow_up.of_list()
        if runner.cancelled:
            told.codes.add(ExitCode.INTERRUPTED)
    if accounts is not None:
        accounts.concluded(told.event(cancelled=runner.cancelled))
    return first_of(told.codes)


class _Told:
    """Messages about the entries, and their totals. ``row`` is called in the threads of the workers."""

    def __init__(self, rows: int, accounts: Accounts | None) -> None:
        self._accounts = accounts
        self.codes: set[ExitCode] = set()
        self._rows = rows
        self._counts = dict.fromkeys((outcome.value for outcome in Outcome), 0)
        self._sums = dict.fromkeys(("stored", "failed", "size", "missing", "already_there"), 0)
        self._attempts = 1
        self._verified = True
        self._waiting = 0

    def row(self, result: RowResult) -> None:
        """Log the result of an entry and add it to the totals."""
        self._counts[result.outcome] += 1
        self._account(result)
        if result.same_as is not None:
            level = INFO if result.outcome == COMPLETE else ERROR
            told = result.row.number, result.row.text, result.outcome, result.same_as
            _log.log(level, "entry %d (%s): %s, the same request as entry %d", *told)
            return
        came = result.result
        if came is not None:
            for name in self._sums:
                self._sums[name] += getattr(came, name)
            self._attempts = max(self._attempts, came.attempts)
        self._verified = self._verified and came is not None and came.verified
        if result.outcome == COMPLETE:
            assert came is not None  # a complete entry has a result
            _log.info(
                "entry %d (%s): complete, %d object%s stored%s",
                *(result.row.number, result.row.text, came.stored, "" if came.stored == 1 else "s"),
                f", {came.already_there} already there" if came.already_there else "",
            )
            return
        self.codes.add(_code(result))
        _log.error("entry %d (%s): %s%s", result.row.number, result.row.text, result.outcome, _why(result))
        for uid in came.missing_uids if came is not None else ():
            _log.error("entry %d: missing: SOP instance %s", result.row.number, uid)

    def _account(self, result: RowResult) -> None:
        """Send the end of an entry that had no retrieve of its own, or no association."""
        if self._accounts is None or (result.result is not None and result.same_as is None):
            return
        number = result.row.number
        if result.result is None:
            errors = (result.error,) if result.error else ()
            event = EndEvent(row=number, outcome=result.outcome, stored=0, failed=0, size=0, seconds=0.0, errors=errors)
        else:
            came = result.result
            event = replace(
                end_event(came, row=number), stored=0, size=0, already_there=came.stored + came.already_there
            )
        self._accounts.entry(replace(event, same_as=result.same_as))

    def end(self, waiting: list[Row], *, gave_up: bool) -> None:
        """Log the entries that were not started and, on a terminal, print the totals."""
        self._waiting = len(waiting)
        if waiting:
            self.codes.add(ExitCode.INCOMPLETE)
        if gave_up:
            _log.critical("stopping: 5 requests in a row got no answer; continue with --resume")
        for row in waiting:
            _log.error("not requested: entry %d (%s)", row.number, row.text)
        if sys.stderr is not None and sys.stderr.isatty():
            told = ", ".join(f"{count} {outcome}" for outcome, count in self._counts.items() if count)
            streams.write(
                sys.stderr,
                f"{self._rows} {'entry' if self._rows == 1 else 'entries'}: {told or 'nothing left to do'}\n",
            )

    def event(self, *, cancelled: bool) -> EndEvent:
        """Return the event of the end of the whole list."""
        counts = self._counts
        outcome = "cancelled" if cancelled else COMPLETE
        others = {name for name, count in counts.items() if count and name != COMPLETE}
        if outcome == COMPLETE and (self._waiting or others):
            some = counts[COMPLETE] or counts["incomplete"] or len(others) > 1
            outcome = "incomplete" if some or not others else others.pop()
        event = EndEvent(outcome=outcome, stored=0, failed=0, size=0, seconds=0.0, attempts=self._attempts)
        sums: dict[str, Any] = self._sums
        return replace(event, verified=self._verified, **sums)


def _code(result: RowResult) -> ExitCode:
    """Return the exit code of an entry that is not complete."""
    came = result.result
    return ExitCode.ASSOCIATION_FAILED if came is None else first_of(codes_of(came.evidence))


_TOLD: Final = (Reason.REFUSED, Reason.WARNED, Reason.LOST, Reason.UNLISTED, Reason.MISSING)
"""Reasons already expressed by a status, an error or a number."""


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
