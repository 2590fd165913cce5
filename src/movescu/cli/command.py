"""One run of the command, after its command line was understood: the steps of a retrieve and what ends them.

Imported late, for ``--help`` and ``--version`` need none of it.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from typing import TYPE_CHECKING, Final

from movescu import errors
from movescu.cli import logs, report
from movescu.cli.exit_codes import PRECEDENCE, ExitCode
from movescu.cli.wiring import retrieve_options
from movescu.dataset.query import make_identifier
from movescu.errors import MovescuError, PeerError, StoreError, UsageError
from movescu.retrieve import NoPresentationContextError, Retriever

if TYPE_CHECKING:
    from types import FrameType

    from movescu.cli.parser import Settings
    from movescu.dataset.query import Identifier
    from movescu.options import RetrieveOptions

_log: Final = logging.getLogger("movescu.cli")

# error before the first request -> its code, and what was attempted; subclasses first
_AT_START: Final[tuple[tuple[type[MovescuError], ExitCode, str], ...]] = (
    (errors.DirectoryNotFoundError, ExitCode.OUTPUT_DIRECTORY_NOT_FOUND, "cannot store"),
    (errors.DirectoryNotWritableError, ExitCode.OUTPUT_DIRECTORY_NOT_WRITABLE, "cannot store"),
    (errors.PrivilegesError, ExitCode.INSUFFICIENT_PRIVILEGES, "cannot receive"),
    (errors.ListenError, ExitCode.CANNOT_LISTEN, "cannot receive"),
    (errors.TLSError, ExitCode.TLS_SETUP_FAILED, "cannot set up TLS"),
    (NoPresentationContextError, ExitCode.NO_PRESENTATION_CONTEXT, "cannot ask"),
    (PeerError, ExitCode.ASSOCIATION_FAILED, "association request failed"),
)


def run_command(settings: Settings) -> int:
    """Run it. Gives the exit code."""
    logs.configure(settings.log_level)
    try:
        return _Command(settings).run()
    except UsageError as error:
        if error_code := _code_at_start(error):
            return error_code
        if _log.isEnabledFor(logging.ERROR):
            print_usage_error(error)
        return ExitCode.USAGE
    except MovescuError as error:
        return _code_at_start(error) or _internal_error(error)
    except KeyboardInterrupt:
        _log.critical("interrupted")
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort: no traceback but for who asks for it
        return _internal_error(error)


def print_usage_error(error: MovescuError) -> None:
    """Print an error of the command line below the banner."""
    from movescu.cli.help import banner  # noqa: PLC0415 - texts are loaded where they are printed

    hint = f"({error.hint})\n" if error.hint else ""
    sys.stderr.write(f"{banner()}error: {error}\n{hint}")


def _code_at_start(error: MovescuError) -> ExitCode | None:
    for kind, code, what in _AT_START:
        if isinstance(error, kind):
            report.complain(what, error)
            return code
    return None


def _internal_error(error: Exception) -> ExitCode:
    _log.critical("internal error: %s: %s", type(error).__name__, error)
    _log.debug("where it happened:", exc_info=error)
    return ExitCode.INTERNAL_ERROR


class _Command:
    """One run: an association, all its requests, and what is told about it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._options: RetrieveOptions = retrieve_options(settings)
        self._codes: set[ExitCode] = set()

    def run(self) -> int:
        """Run it. Gives the exit code; errors before the first request are raised."""
        settings = self._settings
        identifiers = [make_identifier(settings.keys, file) for file in settings.query_files or (None,)]
        with Retriever(self._options) as retriever, _Signals(retriever):
            retriever.listen()
            retriever.open()
            lost = self._ask(retriever, identifiers)
            self._finish(retriever)
            if not lost:
                self._end(retriever)
            if retriever.cancelled:
                self._codes.add(ExitCode.INTERRUPTED)
        return next((code for code in PRECEDENCE if code in self._codes), ExitCode.SUCCESS)

    def _ask(self, retriever: Retriever, identifiers: list[Identifier]) -> bool:
        """Make all requests; True if the association was lost over it."""
        try:
            for identifier in (i for i in identifiers for _ in range(self._settings.repeat)):
                if retriever.cancelled:
                    break
                response = retriever.move(identifier, report.log_response)
                self._codes |= report.judge_response(response, retriever, self._options)
        except PeerError as error:
            self._codes.add(ExitCode.ASSOCIATION_LOST)
            report.complain("association lost before the final C-MOVE response", error)
            return True
        return False

    def _finish(self, retriever: Retriever) -> None:
        try:
            result = retriever.finish()
        except StoreError as error:
            self._codes.add(ExitCode.INCOMPLETE)
            report.complain("incomplete", error)
            return
        self._codes |= report.judge_result(result, self._options)
        report.report_rejected(result.rejected, failed=bool(self._codes))

    def _end(self, retriever: Retriever) -> None:
        if self._settings.abort:
            _log.info("aborting association")
            retriever.abort()
            return
        try:
            retriever.release()
        except PeerError as error:
            self._codes.add(ExitCode.RELEASE_FAILED)
            report.complain("association release failed", error)


class _Signals:
    """What Ctrl-C and a request to terminate do while a retrieve runs: nothing partial is left in either case.

    The first Ctrl-C sends C-CANCEL and lets the archive come to its end; a second one, and SIGTERM, abort.
    """

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._main = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> None:
        if self._main:
            self._before = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
            signal.signal(signal.SIGINT, self._interrupt)
            signal.signal(signal.SIGTERM, self._terminate)

    def __exit__(self, *_: object) -> None:
        if self._main:
            for number, handler in zip((signal.SIGINT, signal.SIGTERM), self._before, strict=True):
                signal.signal(number, handler)

    def _interrupt(self, _: int, __: FrameType | None) -> None:
        if self._retriever.cancelled or not self._retriever.moving:
            raise KeyboardInterrupt
        _log.warning("cancelling; interrupt again to abort")
        self._retriever.cancel()

    def _terminate(self, _: int, __: FrameType | None) -> None:
        _log.critical("terminated")
        sys.exit(ExitCode.TERMINATED)
