"""``--check``: prints the steps of ``retrieve.connection_test``; exit code of the first failure.

One line per step: result, name and finding; advice is on a line of its own below. Imported with ``--check`` alone.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from movescu._runtime import version
from movescu.cli import streams
from movescu.cli.docs.banner import location
from movescu.cli.exit_codes import ExitCode
from movescu.cli.logging.console_log import escape
from movescu.cli.output.colours import BOLD, DIM, GREEN, PLAIN, RED, YELLOW, wants_colour
from movescu.cli.output.diagnostics import AT_START
from movescu.errors import DestinationUnknownError, IncompleteError
from movescu.retrieve.connection_test import Step, StepResult, check

if TYPE_CHECKING:
    from movescu.errors import MovescuError
    from movescu.query.identifier import Identifier
    from movescu.retrieve.config import Config
    from movescu.storage.options import StorageOptions

_CODES: Final[tuple[tuple[type[MovescuError], ExitCode], ...]] = (
    (DestinationUnknownError, ExitCode.MOVE_FAILED),
    (IncompleteError, ExitCode.INCOMPLETE),
    *((kind, code) for kind, code, _ in AT_START),
)


_COLOURS: Final = {
    StepResult.OK: GREEN,
    StepResult.FAILED: f"{BOLD}{RED}",
    StepResult.SKIPPED: DIM,
    StepResult.UNCLEAR: YELLOW,
}


def run_check(config: Config, storage: StorageOptions | None, identifier: Identifier | None = None) -> ExitCode:
    """Run the connection test, print each step as it ends, and return the exit code.

    ``identifier``: keys of a trial retrieve. Default: None, no trial.
    """
    failed: list[Step] = []
    streams.output(lines_of(Step("program", StepResult.OK, f"movescu {version.VERSION}, {location()}")))
    for step in check(config, storage, identifier):
        if step.result is StepResult.FAILED:
            failed.append(step)
        streams.output(lines_of(step))
    return _code(failed[0]) if failed else ExitCode.SUCCESS


def lines_of(step: Step) -> str:
    """Return the lines of a step, escaped: they may quote the archive."""
    result, name, text = f"{step.result.value:<8}", escape(step.name), escape(step.text)
    if wants_colour(sys.stdout):
        result, name = f"{_COLOURS[step.result]}{result}{PLAIN}", f"{BOLD}{name}{PLAIN}"
    advice = f"{'':8} - {escape(step.advice)}\n" if step.advice else ""
    return f"{result} {name}: {text}\n{advice}"


def _code(step: Step) -> ExitCode:
    return next((code for kind, code in _CODES if isinstance(step.error, kind)), ExitCode.INTERNAL_ERROR)
