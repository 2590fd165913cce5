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
from movescu.cli.options.configuration import check_scopes, identifiers, persistence, retrieve_options, watch
from movescu.cli.output import diagnostics
from movescu.cli.signals import Signals
from movescu.errors import MovescuError, PeerError, StoreError, UsageError
from movescu.retrieval.judgement import Evidence
from movescu.retrieval.retrieval import Retrieval

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Final

    from movescu.cli.options.settings import CommandSettings
    from movescu.cli.output.accounts import Accounts
    from movescu.query.identifier import Identifier
    from movescu.retrieval.config import RetrieveOptions
    from movescu.services.move import MoveResponse

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
        accounts = Accounts(settings, retrieve_options(settings))
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

        return run_dry(settings, retrieve_options(settings))
    if settings.list_file is not None:
        from movescu.cli.commands.retrieve_list import run_list

        return run_list(settings, retrieve_options(settings), accounts)
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

    return run_check(retrieve_options(settings))


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
    """One run: an association, all its requests, and what is told about it."""

    def __init__(self, settings: CommandSettings, accounts: Accounts | None) -> None:
        self._settings = settings
        self._accounts = accounts
        self._options: RetrieveOptions = retrieve_options(settings)
        self._codes: set[ExitCode] = set()

    def run(self) -> int:
        """Run it. Gives the exit code; errors before the first request are raised."""
        settings = self._settings
        wanted = identifiers(settings)
        sink = None if self._accounts is None else self._accounts.sink
        if persistence(settings) is not None:
            check_scopes(wanted, settings.model)
        made = Retrieval(self._options, watch=watch(settings), on_event=sink, persistence=persistence(settings))
        with Signals() as signals, made as retrieval:
            signals.retrieval = retrieval
            retrieval.listen()
            if not retrieval.persistent:
                retrieval.open()
            ask = self._pursue if retrieval.persistent else self._ask
            with self._watching(retrieval) as on_response:
                lost = ask(retrieval, wanted, on_response)
                self._finish(retrieval)
            if not lost:
                self._end(retrieval)
            if retrieval.cancelled:
                self._codes.add(ExitCode.INTERRUPTED)
        return first_of(self._codes)

    def _watching(self, retrieval: Retrieval) -> AbstractContextManager[Callable[[MoveResponse], None]]:
        """Give what is told the responses as they come: on a terminal, what shows the progress."""
        shown = self._settings.log_level in _WITH_PROGRESS and self._settings.log_config is None
        if not shown or sys.stderr is None or not sys.stderr.isatty():
            return contextlib.nullcontext(diagnostics.log_response)
        from movescu.cli.output.progress import Progress  # only for terminals

        return Progress(retrieval.tally, self._options, display=self._settings.progress)

    def _ask(self, retrieval: Retrieval, wanted: list[Identifier], on_response: Callable[[MoveResponse], None]) -> bool:
        """Make all requests; True if the association was lost over it."""
        try:
            for identifier in (i for i in wanted for _ in range(self._settings.repeat)):
                if retrieval.cancelled:
                    break
                response = retrieval.move(identifier, on_response)
                cancelled = retrieval.cancelled or bool(self._options.cancel_after)
                self._codes |= codes_of(Evidence(statuses=(response.status,), cancelled=cancelled))
                diagnostics.report_response(response, retrieval, self._options)
        except PeerError as error:
            self._codes.add(ExitCode.ASSOCIATION_LOST)
            diagnostics.complain("association lost before the final C-MOVE response", error, ExitCode.ASSOCIATION_LOST)
            return True
        return False

    def _pursue(
        self, retrieval: Retrieval, wanted: list[Identifier], on_response: Callable[[MoveResponse], None]
    ) -> bool:
        """Retrieve each as far as persistence goes; True if there is no association at the end.

        Raises ``PeerError`` if none comes about for the first.
        """
        for number, identifier in enumerate(i for i in wanted for _ in range(self._settings.repeat)):
            if retrieval.cancelled:
                break
            try:
                pursued = retrieval.pursue(identifier, on_response)
            except PeerError as error:
                if not number:
                    raise
                self._codes.add(ExitCode.ASSOCIATION_LOST)
                diagnostics.complain("no association for the rest", error, ExitCode.ASSOCIATION_LOST)
                return True
            diagnostics.report_pursued(pursued, retrieval, self._options)
        return not retrieval.session.is_open

    def _finish(self, retrieval: Retrieval) -> None:
        try:
            result = retrieval.finish()
        except StoreError as error:
            self._codes.add(ExitCode.INCOMPLETE)
            diagnostics.complain("incomplete", error)
            return
        self._codes |= codes_of(result.evidence)
        diagnostics.report_result(result, self._options)
        if self._accounts is not None:
            from movescu.retrieval.observer import end_event

            self._accounts.concluded(end_event(result, cancelled=retrieval.cancelled))
        diagnostics.report_rejected(result.rejected, self._options, failed=any(self._codes))

    def _end(self, retrieval: Retrieval) -> None:
        if self._settings.abort:
            _log.info("aborting association")
            retrieval.abort()
            return
        try:
            retrieval.release()
        except PeerError as error:
            self._codes.add(ExitCode.RELEASE_FAILED)
            diagnostics.complain("association release failed", error, ExitCode.RELEASE_FAILED)
