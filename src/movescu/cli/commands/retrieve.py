"""One run of the command after its command line was parsed: choose the mode, retrieve, map errors to exit codes.

Imported late: ``--help`` and ``--version`` do not need it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from functools import partial

from movescu._runtime.late_log import ERROR, logger_of
from movescu.cli import streams
from movescu.cli.commands.on_whole import on_whole_of
from movescu.cli.exit_codes import ExitCode, codes_of, first_of
from movescu.cli.last_resort import LastResort
from movescu.cli.logging import level
from movescu.cli.options.configuration import (
    check_scopes,
    config_of,
    identifiers,
    lists,
    observers,
    resolves,
    storage_of,
)
from movescu.cli.output import diagnostics
from movescu.cli.signals import Signals
from movescu.errors import LateObjectsError, MovescuError, PeerError, UsageError
from movescu.retrieve.client import ArchiveClient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager
    from typing import Final

    from movescu.cli.commands.follow_up import FollowUp
    from movescu.cli.options.settings import CommandSettings
    from movescu.cli.output.accounts import Accounts
    from movescu.cli.output.progress import Progress
    from movescu.query.identifier import Identifier
    from movescu.retrieve.association import ArchiveAssociation
    from movescu.retrieve.config import Config
    from movescu.retrieve.handle import Retrieve
    from movescu.retrieve.observer import Observer

_log: Final = logger_of("movescu.cli")


def run_command(settings: CommandSettings) -> int:
    """Run the command and return its exit code."""
    with LastResort(0 if settings.follows_up else settings.total_timeout):
        try:
            _set_up_log(settings)
        except UsageError as error:
            print_usage_error(error)
            return ExitCode.USAGE
        for warning in settings.warnings:
            _log.warning("%s", warning)
        return _with_output(_run(settings))


def _with_output(code: int) -> int:
    """Return the exit code of a run: a success is none if what was to go to standard output is lost."""
    if not (failure := streams.take_failure()):
        return code
    _log.critical("cannot write to standard output: %s", failure)
    return ExitCode.OUTPUT_DIRECTORY_NOT_WRITABLE if code == ExitCode.SUCCESS else code


def _set_up_log(settings: CommandSettings) -> None:
    if settings.log_config is None:
        level.configure(settings.log_level)
        return
    from movescu.cli.logging.config_file import configure_from  # late: needed only with --log-config

    configure_from(settings.log_config)


def _run(settings: CommandSettings) -> int:
    told = any(path is not None for path in (settings.report, settings.events, settings.html, settings.failed))
    if settings.check or not (told or settings.manifest is not None):
        return _guarded(settings, None)[0]
    from movescu.cli.options.output_files import check_output_files  # late: few runs have files for programs

    try:
        check_output_files(settings)
    except UsageError as error:
        print_usage_error(error)
        return ExitCode.USAGE
    if not told:
        return _guarded(settings, None)[0]
    from movescu.cli.output.accounts import Accounts

    with Signals(begins=False) as signals:  # from before a file is opened: each is complete, or says what ended the run
        try:
            accounts = Accounts(settings, config_of(settings))
        except UsageError as error:
            return _code_of(error, settings)
        try:
            code, cause = _guarded(settings, accounts)
        except SystemExit as end:  # raised by a signal handler
            code, cause = int(end.code or 0), None
        signals.status = lambda: "writing the report"
        return _concluded(accounts, settings, code, cause)


def _concluded(accounts: Accounts, settings: CommandSettings, code: int, cause: BaseException | None) -> int:
    """Write the files of the run and return its exit code.

    A signal meanwhile is the end of the run: the files say so, or they would tell of another exit code than the shell.
    Further signals are ignored.
    """
    try:
        return accounts.conclude(code, cause)
    except KeyboardInterrupt as error:
        return accounts.conclude(_code_of(error, settings), error)
    except SystemExit as end:
        return accounts.conclude(int(end.code or 0))


def _guarded(settings: CommandSettings, accounts: Accounts | None) -> tuple[int, BaseException | None]:
    """Run the chosen mode; return the exit code and the error that ended the run, or None."""
    try:
        return _chosen(settings, accounts), None
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - last resort: a traceback at debug level alone
        return _code_of(error, settings), error


def _chosen(settings: CommandSettings, accounts: Accounts | None) -> int:
    """Run the mode that the settings select, and return the exit code."""
    if settings.check:
        return _check(settings)
    _use_dictionaries()
    if settings.status is not None or settings.check_files is not None or settings.collect is not None:
        return _look(settings)
    if settings.query is not None:
        from movescu.cli.commands.query import run_query  # late: needed only with --query

        return run_query(settings, config_of(settings))
    if settings.dry_run:
        from movescu.cli.commands.dry_run import run_dry  # late: needed only with --dry-run

        return run_dry(settings, config_of(settings))
    if settings.list_file is not None:
        from movescu.cli.commands.retrieve_list import run_list

        return run_list(settings, config_of(settings), accounts)
    return _Command(settings, accounts).run()


def _look(settings: CommandSettings) -> int:
    """Look at what earlier runs have left, or collect it, and return the exit code."""
    if settings.status is not None:
        from movescu.cli.commands.status import run_status  # late: needed only with --status

        return run_status(settings.status, settings.format)
    if settings.collect is not None:
        from movescu.cli.commands.collect import run_collect  # late: needed only with --collect

        return run_collect(settings)
    from movescu.cli.commands.check_files import run_check_files  # late: needed only with --check-files

    return run_check_files(settings)


def _code_of(error: BaseException, settings: CommandSettings) -> ExitCode:
    """Log the error that ended the run and return its exit code."""
    if isinstance(error, KeyboardInterrupt):
        _log.critical("interrupted")
        return ExitCode.INTERRUPTED
    if isinstance(error, PeerError):
        from movescu.retrieve.foreign_port import explained  # late: needed after a failure alone

        error = explained(error, config_of(settings))
    if isinstance(error, MovescuError):
        reads = settings.status is not None or settings.check_files is not None
        if (code := diagnostics.code_at_start(error, reads_journal=reads)) is not None:
            return code
    if isinstance(error, UsageError):
        if _log.isEnabledFor(ERROR):
            print_usage_error(error)
        return ExitCode.USAGE
    return _internal_error(error)


def _use_dictionaries() -> None:
    if path := os.environ.get("DCMDICTPATH"):
        from movescu.dictionary.files import use_dictionaries  # late: few use another dictionary

        use_dictionaries(path)


def _check(settings: CommandSettings) -> int:
    from movescu.cli.commands.check import run_check  # late: needed only with --check

    wanted: Identifier | None = None
    if settings.keys or settings.query_files:
        _use_dictionaries()
        wanted = identifiers(settings)[0]
    return run_check(config_of(settings), storage_of(settings), wanted)


def print_usage_error(error: MovescuError) -> None:
    """Print an error of the command line: in one line on a terminal, else below the banner, as DCMTK's programs do."""
    from movescu.cli.docs.banner import error_line, error_text  # late: texts are loaded when printed
    from movescu.cli.output.colours import is_terminal, wants_colour

    terminal = is_terminal(sys.stderr)
    text = error_line(error, colour=wants_colour(sys.stderr)) if terminal else error_text(error)
    streams.write(sys.stderr, text)


def _internal_error(error: BaseException) -> ExitCode:
    _log.critical("internal error: %s: %s", type(error).__name__, error)
    _log.debug("where it happened:", exc_info=error)
    return ExitCode.INTERNAL_ERROR


class _Command:
    """A retrieve of all keys and query files, with its messages."""

    def __init__(self, settings: CommandSettings, accounts: Accounts | None) -> None:
        self._settings = settings
        self._accounts = accounts
        self._config: Config = config_of(settings)
        self._unreleased: PeerError | None = None

    def run(self) -> int:
        """Retrieve and return the exit code. Raise errors before the first request."""
        settings = self._settings
        wanted = identifiers(settings)
        if self._accounts is not None:
            self._accounts.requested = wanted
        if lists(settings) or resolves(settings):
            check_scopes(wanted, self._config)
        seen: list[Observer] = [*observers(settings), *(() if self._accounts is None else (self._accounts.observer,))]
        progress = self._progress()
        seen.append(progress)
        follow_up = self._follow_up(wanted)
        on_whole = on_whole_of(follow_up, self._accounts)
        storage = storage_of(settings)
        client = ArchiveClient.configured(self._config, storage, seen, indexed=settings.resume, on_whole=on_whole)
        with Signals() as signals, client, follow_up or contextlib.nullcontext():
            client.open()
            retrieve = client.prepare([identifier for identifier in wanted for _ in range(settings.repeat)])
            signals.retrieval = retrieve
            signals.status = partial(_status, progress, client)
            retrieve.on_leave = partial(self._leave, client, retrieve)
            if follow_up is not None:
                follow_up.open(client.target)
                signals.retrieval = follow_up.with_commands(retrieve)
            with _shown(progress, client):
                retrieve.request()
                why = self._why_nothing(client, retrieve, wanted)
                result = retrieve.conclude()
                codes = codes_of(result.evidence, plain=not self._config.queries)
                diagnostics.report_rejected(result.rejected, self._config, failed=any(codes))
                diagnostics.report_retrieve(retrieve, result, client, explained=bool(why))
                if why:
                    (_log.error if result.evidence.missing else _log.warning)("%s", why)
            codes |= self._end(client, retrieve)
            if follow_up is not None:
                codes |= follow_up.of_one(retrieve)
            if retrieve.cancelled:
                codes.add(ExitCode.INTERRUPTED)
        return first_of(codes)

    def _why_nothing(self, client: ArchiveClient, retrieve: Retrieve, wanted: Sequence[Identifier]) -> str:
        """Query the archive if it delivered nothing, and return the message; empty if something came, or if unknown.

        Objects that it lists, and should have sent here, are evidence against a success.
        """
        delivered, config = retrieve.delivered, self._config
        codes = codes_of(delivered.evidence, plain=not config.queries)
        if retrieve.cancelled or not diagnostics.brought_nothing(delivered, config, codes):
            return ""
        from movescu.cli.output.explanation import explanation  # late: needed after a failure alone

        why, listed = explanation(client, wanted, delivered)
        if listed and not codes and (client.service.gets or config.arrives_here):
            retrieve.note_withheld(listed)
            return f"incomplete: the archive reports success, but {why}"
        return why

    def _follow_up(self, wanted: Iterable[Identifier]) -> FollowUp | None:
        if not self._settings.follows_up:
            return None
        from movescu.cli.commands.follow_up import FollowUp  # late: needed with a command or a manifest alone

        return FollowUp(self._settings, self._config, wanted)

    def _progress(self) -> Progress | diagnostics.ResponseLog:
        """Return the observer of responses: the progress display on a terminal, else the log."""
        if not level.has_display(self._settings.log_level, self._settings.log_config):
            return diagnostics.ResponseLog()
        from movescu.cli.output.progress import Progress  # late: needed on terminals alone

        return Progress(self._config, display=self._settings.progress)

    def _leave(self, client: ArchiveClient, retrieve: Retrieve, association: ArchiveAssociation) -> None:
        """End an association with nothing left to request, before senders end theirs: some wait for it.

        Not if nothing arrived: the archive will be asked why.
        """
        if not client.server.tally.arrived and not self._config.queries:
            return
        if self._settings.abort:
            _log.info("aborting association")
            association.abort()
        else:
            self._release(retrieve, association.release)
            if isinstance(self._unreleased, LateObjectsError):
                self._unreleased = None  # the evidence of the attempt has them

    def _release(self, retrieve: Retrieve, release: Callable[[], None]) -> None:
        """Release an association and note a missing confirmation.

        It is no error if objects were awaited after the final response: the archive may have ended the idle association
        meanwhile.
        """
        try:
            release()
        except PeerError as error:
            if retrieve.waited and not isinstance(error, LateObjectsError):
                _log.info(
                    "the archive did not confirm the release, perhaps because the association was idle: %s", error
                )
            else:
                self._unreleased = error

    def _end(self, client: ArchiveClient, retrieve: Retrieve) -> set[ExitCode]:
        """End the association, unless it has ended, and return the resulting exit codes."""
        if not self._settings.abort:
            self._release(retrieve, client.release)
        elif client.is_connected:
            _log.info("aborting association")
            client.abort()
        if self._unreleased is None:
            return set()
        if isinstance(self._unreleased, LateObjectsError):
            diagnostics.complain("incomplete", self._unreleased, self._unreleased.hint)
            return {ExitCode.INCOMPLETE}
        kept = "stored objects were kept; only the end of the association was not confirmed"
        diagnostics.complain("association release failed", self._unreleased, self._unreleased.hint or kept)
        return {ExitCode.RELEASE_FAILED}


def _status(progress: Progress | diagnostics.ResponseLog, client: ArchiveClient) -> str:
    if isinstance(progress, diagnostics.ResponseLog):
        return progress.status(client.server.tally)
    return progress.status()


def _shown(progress: Observer, client: ArchiveClient) -> AbstractContextManager[object]:
    shown = getattr(progress, "shown", None)  # the progress display has it
    return contextlib.nullcontext() if shown is None else shown(client.server.tally)
