"""Every exit code of the command, and which of several is given.

The codes are DCMTK's where it has one; 62 and 63 stand where DCMTK says 0 though the retrieve failed.
"""

from __future__ import annotations

from enum import IntEnum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from movescu.retrieve.evidence import Evidence


class ExitCode(IntEnum):
    """The exit codes; ``docs/differences.md`` says where DCMTK's differ."""

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
    INTERNAL_ERROR = 99  # a fault of this program
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
    ExitCode.RELEASE_FAILED,
)
"""Of several codes that one run earns, the first of these is given: a status, as DCMTK has it, before all else."""

OF_REASONS: Final = {
    "REFUSED": ExitCode.MOVE_FAILED,
    "WARNED": ExitCode.MOVE_WARNING,
    "LOST": ExitCode.ASSOCIATION_LOST,
    "CANCELLED": ExitCode.SUCCESS,  # --cancel asked for it; a signal has a code of its own
    "STOPPED": ExitCode.INCOMPLETE,
    "COUNTED_AS_FAILED": ExitCode.INCOMPLETE,
    "SHORT": ExitCode.INCOMPLETE,
    "NOT_STORED": ExitCode.INCOMPLETE,
    "BROKEN_OFF": ExitCode.INCOMPLETE,
    "CUT_OFF": ExitCode.INCOMPLETE,
    "MISSING": ExitCode.INCOMPLETE,
    "UNLISTED": ExitCode.INCOMPLETE,
    "NOTHING_FOUND": ExitCode.INCOMPLETE,
    "UNFLUSHED": ExitCode.INCOMPLETE,
}
"""The code that each kind of evidence earns, by the name of its ``Reason``."""


def codes_of(evidence: Evidence) -> set[ExitCode]:
    """Return the codes that a retrieve earns."""
    from movescu.retrieve.judgement import judge  # not before there is something to judge

    return {OF_REASONS[reason.name] for reason in judge(evidence).reasons}


def first_of(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the one of several codes that is given."""
    earned = set(codes)
    return next((code for code in PRECEDENCE if code in earned), ExitCode.SUCCESS)
