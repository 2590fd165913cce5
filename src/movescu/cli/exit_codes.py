"""Every exit code of the command, and which of several is given.

The codes are DCMTK's where it has one; 62 and 63 stand where DCMTK says 0 though the retrieve failed.
"""

from __future__ import annotations

from enum import IntEnum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


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
