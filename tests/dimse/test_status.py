"""Status codes: the class and the name of a response's status (PS3.7 annex C, PS3.4 tables B.2-1 and C.4-2)."""

from __future__ import annotations

import pytest

from movescu.dimse.status import C_FIND, C_MOVE, C_STORE, StatusClass, status_class, status_name

CLASSES = {
    0x0000: StatusClass.SUCCESS,
    0xFF00: StatusClass.PENDING,
    0xFF01: StatusClass.PENDING,
    0xFE00: StatusClass.CANCEL,
    0x0001: StatusClass.WARNING,
    0x0107: StatusClass.WARNING,
    0x0116: StatusClass.WARNING,
    0xB000: StatusClass.WARNING,
    0xBFFF: StatusClass.WARNING,
    0x0110: StatusClass.FAILURE,
    0x0122: StatusClass.FAILURE,
    0xA700: StatusClass.FAILURE,
    0xA801: StatusClass.FAILURE,
    0xA900: StatusClass.FAILURE,
    0xC000: StatusClass.FAILURE,
    0xCFFF: StatusClass.FAILURE,
    0xFF02: StatusClass.FAILURE,  # unknown: never taken for an answer that is still to come
    0x1234: StatusClass.FAILURE,
}


@pytest.mark.parametrize(("status", "expected"), CLASSES.items(), ids=map(hex, CLASSES))
def test_status_code_belongs_to_its_class(status: int, expected: StatusClass) -> None:
    assert status_class(status) is expected


def test_pending_status_codes_are_two() -> None:
    assert [code for code in range(0x10000) if status_class(code) is StatusClass.PENDING] == [0xFF00, 0xFF01]


NAMES = [
    (0x0000, C_MOVE, "Success"),
    (0xFF00, C_MOVE, "Pending"),
    (0xFE00, C_MOVE, "Cancel"),
    (0xA701, C_MOVE, "Refused: Out of resources - Unable to calculate number of matches"),
    (0xA702, C_MOVE, "Refused: Out of resources - Unable to perform sub-operations"),
    (0xA801, C_MOVE, "Refused: Move Destination unknown"),
    (0xA900, C_MOVE, "Error: Identifier does not match SOP Class"),
    (0xB000, C_MOVE, "Warning: Sub-operations complete - One or more failures"),
    (0xC123, C_MOVE, "Failed: Unable to process"),
    (0x0122, C_MOVE, "Refused: SOP Class not supported"),
    (0xA700, C_STORE, "Refused: Out of resources"),
    (0xA7FF, C_STORE, "Refused: Out of resources"),
    (0xB000, C_STORE, "Warning: Coercion of Data Elements"),
    (0xB006, C_STORE, "Warning: Elements discarded"),
    (0xB007, C_STORE, "Warning: Data Set does not match SOP Class"),
    (0xC000, C_STORE, "Error: Cannot understand"),
    (0xFF01, C_FIND, "Pending: Optional Keys not supported"),
    (0x9999, C_MOVE, "Unknown Status: 0x9999"),
    (0xA801, C_STORE, "Unknown Status: 0xa801"),
]


@pytest.mark.parametrize(("status", "table", "name"), NAMES)
def test_status_code_has_the_name_of_its_service(
    status: int, table: tuple[tuple[int, int, str], ...], name: str
) -> None:
    assert status_name(status, table) == name


@pytest.mark.parametrize("table", [C_STORE, C_MOVE, C_FIND], ids=["store", "move", "find"])
def test_status_range_is_never_hidden_by_a_wider_one(table: tuple[tuple[int, int, str], ...]) -> None:
    for first, last, name in table:
        assert name in {status_name(first, table), status_name(last, table)}
