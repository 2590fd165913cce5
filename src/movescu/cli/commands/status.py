"""``--status``: print the state of a journal, without network. Imported only with ``--status``."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from movescu.cli import streams
from movescu.cli.exit_codes import ExitCode
from movescu.cli.logging.console_log import escape
from movescu.cli.output.quantities import entries_text, size_text, time_text
from movescu.cohort.journal_status import read_status
from movescu.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from movescu.cohort.journal_status import JournalStatus

_FORMATS: Final = ("table", "json")
_NAMED: Final = 20
"""Highest number of entries of one kind in the table."""


def run_status(path: str, how: str) -> int:
    """Print the state of a journal, or of a directory's journal; ``how``: table or json. Raise as ``read_status``."""
    if how not in _FORMATS:
        raise UsageError(f"--format {how} not allowed with --status", hint="Allowed: table, json.")
    status = read_status(path)
    streams.output(_json(status) if how == "json" else "".join(f"{escape(line)}\n" for line in _lines(status)))
    return ExitCode.SUCCESS


def _json(status: JournalStatus) -> str:
    told = asdict(status)
    for run in told["runs"]:
        run["workers"] = [one._asdict() for one in run["workers"]]
    for held in (*told["runs"], *told["held"]):
        host, pid, _ = held.pop("owner")
        held |= {"host": host, "pid": pid}
    return json.dumps(told, indent=1) + "\n"


def _lines(status: JournalStatus) -> Iterator[str]:
    now = status.now
    yield f"journal:   {status.path}"
    counts = ", ".join(f"{number} {state}" for state, number in status.states.items())
    if status.directory:
        yield f"directory: {status.directory}"
    yield f"entries:   {sum(status.states.values())}{counts and f' ({counts})'}"
    yield f"objects:   {status.objects}, {size_text(status.size)}"
    for run in status.runs:
        yield f"running:   {run.owner.text}, for {time_text(now - run.started)}"
        for worker in run.workers:
            yield f"  worker {worker.title} at {worker.host} port {worker.port}: {worker.state}"
    if not status.runs:
        yield "running:   none"
    if status.changed:
        yield f"changed:   {_date(status.changed)}, {time_text(max(now - status.changed, 0.0))} ago"
    if status.held:
        yield "under way:"
    for held in status.held[:_NAMED]:
        gone = "" if held.lives else ", which has ended: the next run requests it"
        yield f"  {held.keys}: {held.state} for {time_text(now - held.since)}, by {held.owner.text}{gone}"
    yield from _more(len(status.held))
    if status.failed:
        yield "not complete:"
    for one in status.failed[:_NAMED]:
        why = ": ".join(filter(None, (one.words, one.detail))) or "unknown reason"
        yield f"  {one.keys}: {one.state}: {why} ({_date(one.ended)})"
    yield from _more(len(status.failed))


def _more(number: int) -> Iterator[str]:
    if number > _NAMED:
        yield f"  ... and {entries_text(number - _NAMED)} more (--format json lists all)"


def _date(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
