"""The exit codes: scripts know their numbers, and a final status comes before all others."""

from __future__ import annotations

import pytest

from movescu.cli.exit_codes import PRECEDENCE, ExitCode, first_of

NUMBERS = {
    "SUCCESS": 0,
    "USAGE": 1,
    "INSUFFICIENT_PRIVILEGES": 2,
    "OUTPUT_DIRECTORY_NOT_WRITABLE": 40,
    "OUTPUT_DIRECTORY_NOT_FOUND": 45,
    "CANNOT_LISTEN": 60,
    "ASSOCIATION_FAILED": 61,
    "ASSOCIATION_LOST": 62,
    "INCOMPLETE": 63,
    "NO_PRESENTATION_CONTEXT": 66,
    "RELEASE_FAILED": 67,
    "MOVE_WARNING": 68,
    "MOVE_FAILED": 69,
    "TLS_SETUP_FAILED": 70,
    "COMMAND_FAILED": 71,
    "JOURNAL_FAILED": 72,
    "CLUSTER_FAILED": 75,
    "INTERNAL_ERROR": 99,
    "HUNG_UP": 129,
    "INTERRUPTED": 130,
    "TERMINATED": 143,
}


def test_exit_codes_have_the_numbers_that_scripts_know() -> None:
    assert {code.name: code.value for code in ExitCode} == NUMBERS


@pytest.mark.parametrize("number", range(len(PRECEDENCE)))
def test_first_code_that_applies_is_that_of_the_run(number: int) -> None:
    assert first_of([ExitCode.SUCCESS, *reversed(PRECEDENCE[number:])]) is PRECEDENCE[number]


def test_run_to_which_none_applies_succeeded() -> None:
    assert first_of([]) is ExitCode.SUCCESS
    assert PRECEDENCE[:2] == (ExitCode.INTERRUPTED, ExitCode.MOVE_FAILED), "like DCMTK's, a status before the rest"
