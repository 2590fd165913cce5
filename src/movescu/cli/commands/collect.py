"""``--collect``: bring the files of workers with their own directories together. Imported with ``--collect`` alone.

Exit code: 0 if all files that the workers' manifests name, and those that the journal has, are in the directory, else
63.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu.cli import streams
from movescu.cli.exit_codes import ExitCode
from movescu.cohort.cluster.collection import collect

if TYPE_CHECKING:
    from movescu.cli.options.settings import CommandSettings

_log: Final = logger_of("movescu.cli")


def run_collect(settings: CommandSettings) -> int:
    """Collect the files of a directory, and return the exit code."""
    directory = settings.collect
    assert directory is not None  # called with --collect alone
    done = collect(directory, journal=settings.journal, on_problem=lambda path, words: _log.error("%s %s", path, words))
    streams.output(
        f"{_number(done.collected, 'file')} collected from {_number(done.folders, 'worker')}, {done.before} before, "
        f"{done.twice} from several workers, {_number(len(done.problems), 'problem')}\n"
    )
    return ExitCode.SUCCESS if done else ExitCode.INCOMPLETE


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
