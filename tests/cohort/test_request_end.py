"""What the end of a request says about its archive."""

from __future__ import annotations

import pytest

from movescu.cohort.admission import RequestEnd
from movescu.cohort.request_end import end_of_result
from movescu.retrieve.evidence import Evidence
from movescu.retrieve.result import Result
from movescu.services.move import MoveResponse


def result(status: int, *, arrived: int = 0, not_stored: int = 0) -> Result:
    response = MoveResponse(1, status=status, remaining=None, completed=0, failed=not_stored, warning=0)
    evidence = Evidence(statuses=(status,), not_stored=not_stored)
    return Result((response,), arrived - not_stored, not_stored, 0, arrived, evidence, {})


@pytest.mark.parametrize("status", [0xA701, 0xA702])
def test_archive_that_lacks_resources_has_refused(status: int) -> None:
    assert end_of_result(result(status), reached=True) is RequestEnd.REFUSED


@pytest.mark.parametrize("status", [0xA701, 0xA702, 0xB000])
def test_archive_is_not_blamed_for_objects_that_were_refused_here(status: int) -> None:
    assert end_of_result(result(status, arrived=3, not_stored=3), reached=True) is RequestEnd.GOOD
