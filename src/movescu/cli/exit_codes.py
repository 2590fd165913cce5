"""The exit codes of the command, and their precedence.

They are DCMTK's where it has one; 62 and 63 replace a 0 that DCMTK returns for a failed retrieve.
"""

from __future__ import annotations

from enum import IntEnum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from movescu.retrieve.evidence import Evidence


class ExitCode(IntEnum):
    """Exit codes of the command; ``docs/differences.md`` has the differences from DCMTK."""

    SUCCESS = 0
    USAGE = 1  # command line, key, query file
    INSUFFICIENT_PRIVILEGES = 2
    OUTPUT_DIRECTORY_NOT_WRITABLE = 40
    OUTPUT_DIRECTORY_NOT_FOUND = 45
    CANNOT_LISTEN = 60
    ASSOCIATION_FAILED = 61  # not connected, rejected, or ended before it was accepted
    ASSOCIATION_LOST = 62  # ended before the final response
    INCOMPLETE = 63  # counted by the archive but not arrived, or arrived and not stored
    NO_PRESENTATION_CONTEXT = 66
    RELEASE_FAILED = 67
    MOVE_WARNING = 68  # final status B000
    MOVE_FAILED = 69  # any other final status but success and cancel
    TLS_SETUP_FAILED = 70
    COMMAND_FAILED = 71  # of --on-study or --on-series; the retrieve succeeded
    JOURNAL_FAILED = 72  # damaged, locked, removed, of another directory or version, on a network, or away
    CLUSTER_FAILED = 75  # scheduler or workers are gone; --resume continues
    INTERNAL_ERROR = 99  # a bug of this program
    HUNG_UP = 129  # by SIGHUP, as when the terminal is closed
    INTERRUPTED = 130  # by Ctrl-C
    TERMINATED = 143  # by SIGTERM


PRECEDENCE: Final = (
    ExitCode.INTERRUPTED,
    ExitCode.MOVE_FAILED,
    ExitCode.MOVE_WARNING,
    ExitCode.ASSOCIATION_LOST,
    ExitCode.ASSOCIATION_FAILED,
    ExitCode.INCOMPLETE,
    ExitCode.COMMAND_FAILED,
    ExitCode.OUTPUT_DIRECTORY_NOT_WRITABLE,  # for the manifest
    ExitCode.RELEASE_FAILED,
)
"""The first of these that applies is the exit code of a run: like DCMTK, a final status before all others."""

OF_REASONS: Final = {
    "REFUSED": ExitCode.MOVE_FAILED,
    "WARNED": ExitCode.MOVE_WARNING,
    "LOST": ExitCode.ASSOCIATION_LOST,
    "CANCELLED": ExitCode.SUCCESS,  # --cancel asked for it; a signal has a code of its own
    "STOPPED": ExitCode.INCOMPLETE,
    "COUNTED_AS_FAILED": ExitCode.INCOMPLETE,
    "REMAINING": ExitCode.INCOMPLETE,
    "SHORT": ExitCode.INCOMPLETE,
    "NOT_STORED": ExitCode.INCOMPLETE,
    "BROKEN_OFF": ExitCode.INCOMPLETE,
    "CUT_OFF": ExitCode.INCOMPLETE,
    "LATE": ExitCode.INCOMPLETE,
    "MISSING": ExitCode.INCOMPLETE,
    "UNLISTED": ExitCode.INCOMPLETE,
    "NOTHING_FOUND": ExitCode.INCOMPLETE,
    "UNFOUND": ExitCode.INCOMPLETE,
    "UNFLUSHED": ExitCode.INCOMPLETE,
}
"""Exit code of each kind of evidence, by the name of its ``Reason``."""


def codes_of(evidence: Evidence, *, plain: bool = False) -> set[ExitCode]:
    """Return all exit codes that apply to a retrieve.

    ``plain``: without a query; like DCMTK's, it succeeds if the archive had nothing to send. Default: False.
    """
    from movescu.retrieve.judgement import judge  # late: needed after the final response

    names = {reason.name for reason in judge(evidence).reasons} - ({"NOTHING_FOUND"} if plain else set())
    return {OF_REASONS[name] for name in names}


def first_of(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the exit code that takes precedence."""
    earned = set(codes)
    return next((code for code in PRECEDENCE if code in earned), ExitCode.SUCCESS)
