"""``--list``: retrieves the entries of a list, several at a time, and combines their exit codes.

Imported with ``--list`` alone.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu.cli.commands.on_whole import on_whole_of
from movescu.cli.exit_codes import OF_REASONS, ExitCode, codes_of, first_of
from movescu.cli.logging.level import has_display
from movescu.cli.options.configuration import note_literals, observers, storage_of, value_of
from movescu.cli.output.diagnostics import ResponseLog, complain, report_rejected
from movescu.cli.output.list_progress import ListProgress
from movescu.cli.signals import Signals
from movescu.cohort.admission import Stop
from movescu.cohort.entries import entry_event
from movescu.cohort.entry_verdict import COMPLETE
from movescu.cohort.journal import Journal
from movescu.cohort.journal_file import journal_path
from movescu.cohort.order import Order
from movescu.cohort.runner import Runner
from movescu.errors import LateObjectsError, PeerError, StoreError
from movescu.events import EndEvent, EntryState
from movescu.query.request_list import read_rows
from movescu.query.scope import Scope
from movescu.retrieve.causes import NOT_STARTED
from movescu.retrieve.client import ArchiveClient
from movescu.retrieve.event_observer import end_event

if TYPE_CHECKING:
    from movescu.cli.options.settings import CommandSettings
    from movescu.cli.output.accounts import Accounts
    from movescu.cli.output.live import Live
    from movescu.cohort.cluster.group import Cluster
    from movescu.cohort.cluster.workers import ClusterWorkers
    from movescu.cohort.row_result import RowResult
    from movescu.cohort.window import Window
    from movescu.query.request_list import Row
    from movescu.retrieve.config import Config
    from movescu.storage.options import StorageOptions
    from movescu.ul.negotiation import RejectedClass

_log: Final = logger_of("movescu.cli")
_ADVICE_ON_DISKS: Final = {
    Stop.NO_SPACE: " (or a quota is used up): free space there",
    Stop.NOT_FLUSHED: ": check the disk of the output directory",
}


def run_list(settings: CommandSettings, config: Config, accounts: Accounts | None) -> int:
    """Retrieve the entries and return the exit code. Raise errors before the first entry."""
    rows = _rows(settings)
    cluster = _cluster(settings)
    window, storage = _window(settings), storage_of(settings)
    assert storage is not None  # the option table requires --port or --cluster, and --ae-pool has been looked for
    told = _Told(config, accounts, remote=cluster is not None)
    if accounts is not None:
        accounts.expect(entry_event(row, EntryState.NOT_STARTED, NOT_STARTED) for row in rows)
    terminal = has_display(settings.log_level, settings.log_config)
    progress = ListProgress(config, len(rows), terminal=terminal, display=settings.progress)
    progress.places = {row.number: row.place for row in rows}
    seen = [*observers(settings), ResponseLog(), *(() if accounts is None else (accounts.observer,)), progress]
    live = _live(settings, config, rows)
    seen += () if live is None else (live.observer,)
    follow_up = None
    if settings.follows_up:
        from movescu.cli.commands.follow_up import FollowUp  # late: needed with a command or a manifest alone

        follow_up = FollowUp(settings, config, (row.identifier for row in rows))
    on_whole = on_whole_of(follow_up, accounts)
    client = ArchiveClient.configured(
        config, storage, seen, closing=False, indexed=settings.resume, proved=True, on_whole=on_whole
    )
    with Signals() as signals, client, contextlib.ExitStack() as stack:
        client.open()
        hooks = None if follow_up is None else stack.enter_context(follow_up).open(client.target)
        workers = (
            None
            if cluster is None
            else stack.enter_context(cluster).workers(client, storage, indexed=settings.resume, on_whole=on_whole)
        )
        journal = _journal(settings, storage, client, workers, stack)
        _join(settings, workers, journal, live, config, rows)
        runner = Runner(
            client,
            workers=workers,
            jobs=settings.jobs if cluster is None else cluster.jobs,
            slots=settings.slots,
            patience=float(settings.wait_for_archive),
            until=None if config.timeouts.total is None else clock.now() + config.timeouts.total,
            journal=journal,
            resume=settings.resume,
            order=Order(settings.order),
            split=settings.split,
            window=window,
            hooks=hooks,
            controls=None if live is None else live.controls,
            on_row=told.row,
        )
        signals.retrieval = runner if follow_up is None else follow_up.with_commands(runner)
        signals.status = progress.status
        with contextlib.nullcontext() if live is None else live.shown(runner), progress.shown(runner):
            try:
                waiting = runner.run(rows)
            finally:
                told.conclude(told.event(progress, client.service.reason, cancelled=runner.cancelled), live)
        codes = told.codes
        if waiting:
            codes.add(ExitCode.INCOMPLETE)
        codes |= _codes_of_stop(runner.stop, client, settings.ae_pool)
        codes |= _release(client)
        try:
            client.server.close()
            client.flush()
        except StoreError as error:
            _log.critical("incomplete: %s", error)
            codes.add(ExitCode.INCOMPLETE)
        if follow_up is not None:
            codes |= follow_up.of_list(runner.paths_of_others())
        if runner.cancelled:
            codes.add(ExitCode.INTERRUPTED)
    return first_of(codes)


def _release(client: ArchiveClient) -> set[ExitCode]:
    """Release the idle associations, and return the exit code of objects that were sent over them, if any.

    A missing confirmation is no failure: the requests of the associations have ended.
    """
    try:
        client.release()
    except LateObjectsError as error:
        complain("incomplete", error, error.hint)
        return {ExitCode.INCOMPLETE}
    except PeerError as error:
        _log.info("the archive did not confirm the release: %s", error)
    return set()


def _cluster(settings: CommandSettings) -> Cluster | None:
    if settings.cluster is None:
        return None
    from movescu.cli.commands.cluster import cluster_of  # late: needed only with --cluster

    return cluster_of(settings)


def _journal(
    settings: CommandSettings,
    storage: StorageOptions,
    client: ArchiveClient,
    workers: ClusterWorkers | None,
    stack: contextlib.ExitStack,
) -> Journal | None:
    """Return the open journal of the list; None without files. ``workers``: of a cluster, which know the files."""
    if not storage.to_files or client.target is None:
        return None
    path = journal_path(storage.directory, settings.journal)
    files_of, before = (workers or client.target).files_of, client.target.save
    verifies = client.config.retry.verify
    journal = Journal(
        path, storage.directory, rebuild=settings.resume, files_of=files_of, before=before, verifies=verifies
    )
    return stack.enter_context(journal)


def _join(
    settings: CommandSettings,
    workers: ClusterWorkers | None,
    journal: Journal | None,
    live: Live | None,
    config: Config,
    rows: list[Row],
) -> None:
    """Show the workers on the page, and record them in the journal."""
    if workers is None:
        return
    if live is not None:
        live.follow(workers)
    if journal is None:
        return
    from movescu.cohort.cluster.group import introduce  # late: needed only with --cluster

    introduce(workers, journal, config, rows, by_files=settings.resume and settings.worker_files == "own")


def _live(settings: CommandSettings, config: Config, rows: list[Row]) -> Live | None:
    if settings.live is None:
        return None
    from movescu.cli.output.live import Live  # late: needed only with --live

    live = Live(config, settings.live, remote=settings.cluster is not None)
    live.expect(entry_event(row, EntryState.NOT_STARTED, NOT_STARTED) for row in rows)
    return live


def _rows(settings: CommandSettings) -> list[Row]:
    """Read the entries; warn of the first Patient ID whose wild cards are taken literally, and of keys without a value.

    Those are of ``-k``, and so the same in each entry.
    """
    assert settings.list_file is not None  # called with --list alone
    rows = read_rows(settings.list_file, settings.keys, model=settings.model)
    Scope(rows[0].identifier, settings.model).note_blank()
    if not settings.resolve:
        any(note_literals(row.identifier, f"entry {row.number}: ") for row in rows)
    return rows


def _codes_of_stop(stop: Stop | None, client: ArchiveClient, pool: str | None) -> set[ExitCode]:
    """Log why no more entries were requested, and return the exit codes for it; ``stop``: None if they were.

    ``pool``: file with the titles of workers; None without them.
    """
    if stop is None:
        return set()
    if pool is not None and stop in (Stop.UNREACHED, Stop.UNKNOWN):
        what = "cannot connect to the workers" if stop is Stop.UNREACHED else "does not know the workers' AE titles"
        _log.critical(
            "stopping: the archive %s: compare its configuration with %s: titles, addresses and ports, and check the "
            "firewalls between; then continue with --resume",
            *(what, pool),
        )
        return set()  # the entries have theirs
    if stop is Stop.UNREACHED:
        (address, port), title = client.own_address, client.config.move_destination
        _log.critical(
            "stopping: the archive cannot connect to %s port %d: check the address and port of the AE title %s in its "
            "configuration, and the firewalls between; then continue with --resume",
            *(address, port, title),
        )
        return set()  # the entries have theirs
    if stop is Stop.UNKNOWN:
        (address, port), title = client.own_address, client.config.move_destination
        _log.critical(
            "stopping: the archive does not know the AE title %s: add it to its configuration with address %s (as seen "
            "from here) and port %d; then continue with --resume",
            *(title, address, port),
        )
        return set()  # as above
    if (advice := _ADVICE_ON_DISKS.get(stop)) is not None:
        _log.critical("stopping: %s%s, and continue with --resume", stop, advice)
        return set()  # the entries that were not retrieved have theirs
    _log.critical("stopping: %s; continue with --resume once that is corrected", stop)
    return {ExitCode.ASSOCIATION_FAILED}


def _window(settings: CommandSettings) -> Window | None:
    if settings.between is None:
        return None
    from movescu.cohort.window import parse_window  # late: needed only with --between

    return value_of("--between", settings.between, parse_window)


class _Told:
    """Exit codes of the entries. ``remote``: they are retrieved by other processes. Default: False."""

    def __init__(self, config: Config, accounts: Accounts | None, *, remote: bool = False) -> None:
        self._config = config
        self._rejected: dict[RejectedClass, bool] = {}
        """Classes that were not accepted from a sender, and whether of an entry that failed."""
        self._accounts = accounts
        self._remote = remote
        self._codes: dict[int, ExitCode] = {}
        """Of entries that are not complete, by number."""
        self._attempts = 1
        self._verified = True

    def row(self, result: RowResult) -> None:
        """Add the exit code of an entry."""
        self._account(result)
        came = result.result
        if came is not None:
            self._attempts = max(self._attempts, came.attempts)
            self._report_rejected(came.rejected, failed=result.outcome != COMPLETE)
        self._verified = self._verified and came is not None and came.verified
        self._codes.pop(result.row.number, None)
        if result.outcome != COMPLETE:
            self._codes[result.row.number] = _code(result)

    def _report_rejected(self, rejected: tuple[RejectedClass, ...], *, failed: bool) -> None:
        """Log each class that was not accepted once, and once more when an entry fails for the first time."""
        new = tuple(one for one in rejected if one not in self._rejected or (failed and not self._rejected[one]))
        self._rejected.update(dict.fromkeys(new, failed))
        report_rejected(new, self._config, failed=failed)

    @property
    def codes(self) -> set[ExitCode]:
        """The exit codes of the entries."""
        return set(self._codes.values())

    def _account(self, result: RowResult) -> None:
        """Send the end of an entry that had no retrieve of its own here, or no association."""
        own = result.result is not None and result.same_as is None
        if self._accounts is None or (own and not self._remote):
            return
        number = result.row.number
        if own:
            assert result.result is not None
            self._accounts.entry(end_event(result.result, row=number))
            return
        if result.result is None:
            errors = (result.error,) if result.error else ()
            event = EndEvent(row=number, outcome=result.outcome, stored=0, failed=0, size=0, seconds=0.0, errors=errors)
        else:
            came = result.result
            event = replace(
                end_event(came, row=number), stored=0, size=0, already_there=came.stored + came.already_there
            )
        self._accounts.entry(replace(event, same_as=result.same_as))

    def conclude(self, end: EndEvent, live: Live | None) -> None:
        """Pass on the end of the whole list."""
        for one in (self._accounts, live):
            if one is not None:
                one.concluded(end)

    def event(self, progress: ListProgress, fallback: str, *, cancelled: bool) -> EndEvent:
        """Return the event of the end of the whole list; ``fallback``: why C-MOVE replaced C-GET, else empty."""
        return EndEvent(
            outcome=progress.outcome(cancelled=cancelled),
            seconds=0.0,
            attempts=self._attempts,
            verified=self._verified,
            fallback=fallback,
            **progress.totals._asdict(),
        )


def _code(result: RowResult) -> ExitCode:
    """Return the exit code of an entry that is not complete."""
    if result.verdict is not None and result.verdict.reasons:
        return first_of({OF_REASONS.get(name, ExitCode.INCOMPLETE) for name in result.verdict.reasons})
    came = result.result
    return ExitCode.ASSOCIATION_FAILED if came is None else first_of(codes_of(came.evidence))
