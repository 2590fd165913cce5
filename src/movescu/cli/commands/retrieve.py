"""One run of the command, after its command line was understood: the steps of a retrieve and what ends them.

Imported late, for ``--help`` and ``--version`` need none of it.
"""

from __future__ import annotations

import contextlib
import os
import sys

from movescu._runtime.late_log import ERROR, logger_of
from movescu.cli import streams
from movescu.cli.exit_codes import ExitCode, codes_of, first_of
from movescu.cli.logging import level
from movescu.cli.options.configuration import check_scopes, config_of, identifiers, lists, observers, storage_of
from movescu.cli.output import diagnostics
from movescu.cli.signals import Signals
from movescu.errors import MovescuError, PeerError, UsageError
from movescu.retrieve.client import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Final

    from movescu.cli.options.settings import CommandSettings
    from movescu.cli.output.accounts import Accounts
    from movescu.retrieve.config import Config
    from movescu.retrieve.handle import Retrieve
    from movescu.retrieve.observer import Observer

_log: Final = logger_of("movescu.cli")

_WITH_PROGRESS: Final = ("warn", "error")
"""Levels of the log at which a terminal shows the progress: above them lines do, below them nothing may."""


def run_command(settings: CommandSettings) -> int:
    """Run it. Gives the exit code."""
    try:
        _set_up_log(settings)
    except UsageError as error:
        print_usage_error(error)
        return ExitCode.USAGE
    for warning in settings.warnings:
        _log.warning("%s", warning)
    return _run(settings)


def _set_up_log(settings: CommandSettings) -> None:
    if settings.log_config is None:
        level.configure(settings.log_level)
        return
    from movescu.cli.logging.config_file import configure_from  # for those alone who have a file

    configure_from(settings.log_config)


def _run(settings: CommandSettings) -> int:
    if settings.check or (settings.report is None and settings.events is None):
        return _guarded(settings, None)[0]
    from movescu.cli.output.accounts import Accounts  # for those alone who ask for it

    try:
        accounts = Accounts(settings, config_of(settings))
    except UsageError as error:
        print_usage_error(error)
        return ExitCode.USAGE
    try:
        code, cause = _guarded(settings, accounts)
    except SystemExit as end:  # by a signal
        accounts.conclude(int(end.code or 0))
        raise
    return accounts.conclude(code, cause)


def _guarded(settings: CommandSettings, accounts: Accounts | None) -> tuple[int, BaseException | None]:
    """Run it; gives the exit code, and the error that ended it."""
    try:
        return _chosen(settings, accounts), None
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last resort: no traceback but for who asks
        return _code_of(error), error


def _chosen(settings: CommandSettings, accounts: Accounts | None) -> int:
    """Do what the settings ask for."""
    if settings.check:
        return _check(settings)
    _use_dictionaries()
    if settings.dry_run:
        from movescu.cli.commands.dry_run import run_dry  # for those alone who ask for it

        return run_dry(settings, config_of(settings))
    if settings.list_file is not None:
        from movescu.cli.commands.retrieve_list import run_list

        return run_list(settings, config_of(settings), accounts)
    return _Command(settings, accounts).run()


def _code_of(error: BaseException) -> ExitCode:
    """Give the code of an error that ended the run, and complain of it."""
    if isinstance(error, KeyboardInterrupt):
        _log.critical("interrupted")
        return ExitCode.INTERRUPTED
    if isinstance(error, MovescuError) and (code := diagnostics.code_at_start(error)) is not None:
        return code
    if isinstance(error, UsageError):
        if _log.isEnabledFor(ERROR):
            print_usage_error(error)
        return ExitCode.USAGE
    return _internal_error(error)


def _use_dictionaries() -> None:
    if path := os.environ.get("DCMDICTPATH"):
        from movescu.dictionary.files import use_dictionaries  # few need another dictionary

        use_dictionaries(path)


def _check(settings: CommandSettings) -> int:
    from movescu.cli.commands.check import run_check  # for those alone who ask for it

    return run_check(config_of(settings), storage_of(settings))


def print_usage_error(error: MovescuError) -> None:
    """Print an error of the command line below the banner."""
    from movescu.cli.docs.banner import banner  # texts are loaded where they are printed

    hint = f"({error.hint})\n" if error.hint else ""
    streams.write(sys.stderr, f"{banner()}error: {error}\n{hint}")


def _internal_error(error: BaseException) -> ExitCode:
    _log.critical("internal error: %s: %s", type(error).__name__, error)
    _log.debug("where it happened:", exc_info=error)
    return ExitCode.INTERNAL_ERROR


class _Command:
    """One run: a retrieve of everything that was asked for, and what is said about it."""

    def __init__(self, settings: CommandSettings, accounts: Accounts | None) -> None:
        self._settings = settings
        self._accounts = accounts
        self._config: Config = config_of(settings)

    def run(self) -> int:
        """Run it and return the exit code; errors before the first request are raised."""
        settings = self._settings
        wanted = identifiers(settings)
        if lists(settings):
            check_scopes(wanted, settings.model)
        seen: list[Observer] = [*observers(settings), *(() if self._accounts is None else (self._accounts.observer,))]
        progress = self._progress()
        seen.append(progress)
        client = Client.configured(self._config, storage_of(settings), seen, indexed=settings.resume)
        with Signals() as signals, client:
            client.open()
            retrieve = client.prepare([identifier for identifier in wanted for _ in range(settings.repeat)])
            signals.retrieval = retrieve
            with _shown(progress, client):
                result = retrieve.run()
                diagnostics.report_retrieve(retrieve, result, client)
                codes = codes_of(result.evidence)
                diagnostics.report_rejected(result.rejected, self._config, failed=any(codes))
            codes |= self._end(client, retrieve)
            if retrieve.cancelled:
                codes.add(ExitCode.INTERRUPTED)
        return first_of(codes)

    def _progress(self) -> Observer:
        """Return what sees the responses: on a terminal, what shows the progress, else what logs them."""
        shown = self._settings.log_level in _WITH_PROGRESS and self._settings.log_config is None
        if not shown or sys.stderr is None or not sys.stderr.isatty():
            return diagnostics.ResponseLog()
        from movescu.cli.output.progress import Progress  # only for terminals

        return Progress(self._config, display=self._settings.progress)

    def _end(self, client: Client, retrieve: Retrieve) -> set[ExitCode]:
        """End the association, and return the code that this earns.

        The archive need not confirm if objects were awaited after its final response: it may have ended the idle
        association then.
        """
        if self._settings.abort:
            _log.info("aborting association")
            client.abort()
            return set()
        ended = retrieve.waited and client.ended()
        try:
            client.release()
        except PeerError as error:
            if not ended:
                diagnostics.complain("association release failed", error, ExitCode.RELEASE_FAILED)
                return {ExitCode.RELEASE_FAILED}
            _log.info("the archive ended its association while objects still arrived: %s", error)
        return set()


def _shown(progress: Observer, client: Client) -> AbstractContextManager[object]:
    shown = getattr(progress, "shown", None)  # on a terminal
    return contextlib.nullcontext() if shown is None else shown(client.server.tally)
