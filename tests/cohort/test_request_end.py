"""What the end of a request says about its archive."""

from __future__ import annotations

import pytest

from movescu._runtime.record import replace
from movescu.cohort.admission import RequestEnd
from movescu.cohort.request_end import end_of_error, end_of_result
from movescu.errors import (
    AccessDeniedError,
    AssociationRejectedError,
    ConnectError,
    ConnectionLostError,
    NoPresentationContextError,
    PeerError,
    TimedOutError,
)
from movescu.retrieve.evidence import Evidence
from movescu.retrieve.result import Result
from movescu.services.move import MoveResponse
from movescu.ul.negotiation import RejectedClass

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"

REFUSED, HOPELESS, AWAY = RequestEnd.REFUSED, RequestEnd.HOPELESS, RequestEnd.AWAY
UNREACHED, GOOD, FAILED = RequestEnd.UNREACHED, RequestEnd.GOOD, RequestEnd.FAILED


def result(status: int, *, arrived: int = 0, not_stored: int = 0, failed: int = 0) -> Result:
    response = MoveResponse(1, status=status, remaining=None, completed=0, failed=not_stored + failed, warning=0)
    evidence = Evidence(statuses=(status,), not_stored=not_stored, failed=failed)
    return Result((response,), arrived - not_stored, not_stored, 0, arrived, evidence, {})


@pytest.mark.parametrize("status", [0xA701, 0xA702])
def test_archive_that_lacks_resources_has_refused(status: int) -> None:
    assert end_of_result(result(status), reached=True) is REFUSED


@pytest.mark.row("list-disk")
@pytest.mark.parametrize("status", [0xA701, 0xA702, 0xB000])
def test_archive_is_not_blamed_for_objects_that_were_refused_here(status: int) -> None:
    assert end_of_result(result(status, arrived=3, not_stored=3), reached=True) is GOOD


@pytest.mark.parametrize(("status", "failed", "end"), [(0xA701, 0, REFUSED), (0xA702, 0, REFUSED), (0xA702, 3, FAILED)])
def test_archive_that_could_send_nothing_that_is_accepted_here_is_not_busy(
    status: int, failed: int, end: RequestEnd
) -> None:
    """Another entry's sender may have been rejected meanwhile: an archive that has not tried to send is busy."""
    rejected = replace(result(status, failed=failed), rejected=(RejectedClass(CT_IMAGE, (), known=True),))
    assert end_of_result(rejected, reached=True) is end
    assert end_of_result(replace(rejected, arrived=1), reached=True) is REFUSED


@pytest.mark.parametrize(
    ("arrived", "failed", "reached", "end"),
    [
        (0, 1, False, UNREACHED),
        (0, 1, True, REFUSED),
        (1, 1, False, REFUSED),
        (1, 1, True, REFUSED),
        (0, 0, False, REFUSED),
    ],
)
def test_archive_that_failed_to_send_and_never_connected_cannot_reach_us(
    arrived: int, failed: int, *, reached: bool, end: RequestEnd
) -> None:
    assert end_of_result(result(0xA702, arrived=arrived, failed=failed), reached=reached) is end


def test_one_failure_among_several_responses_is_enough_to_tell_that_we_were_not_reached() -> None:
    both = result(0xA702, failed=1)
    empty = MoveResponse(2, status=0xA702, remaining=None, completed=0, failed=0, warning=0)
    several = Result((*both.responses, empty), 0, 0, 0, 0, both.evidence, {})
    assert end_of_result(several, reached=False) is UNREACHED


@pytest.mark.parametrize(("arrived", "end"), [(0, RequestEnd.UNKNOWN), (1, GOOD)])
def test_archive_that_does_not_know_our_title_sends_nothing(arrived: int, end: RequestEnd) -> None:
    assert end_of_result(result(0xA801, arrived=arrived), reached=True) is end


def test_archive_that_was_lost_without_a_response_is_away() -> None:
    response = result(0).responses[0]
    lost = Evidence(lost=True)
    assert end_of_result(Result((), 0, 0, 0, 0, lost, {}), reached=True) is AWAY
    assert end_of_result(Result((response,), 0, 0, 0, 0, lost, {}), reached=True) is FAILED
    assert end_of_result(Result((), 0, 0, 0, 0, Evidence(missing=1), {}), reached=True) is FAILED


def test_request_was_good_if_it_is_complete_or_anything_arrived() -> None:
    assert end_of_result(result(0), reached=True) is GOOD
    assert end_of_result(result(0xB000, arrived=1, failed=1), reached=True) is GOOD
    assert end_of_result(result(0xC000), reached=True) is FAILED


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (AssociationRejectedError("busy", result=2, source=3, reason=2), REFUSED),
        (AssociationRejectedError("no", result=1, source=1, reason=3), HOPELESS),
        (NoPresentationContextError("none"), HOPELESS),
        (AccessDeniedError("denied"), HOPELESS),
        (ConnectError("no such host", unknown_host=True), HOPELESS),
        (ConnectError("refused"), AWAY),
        (ConnectionLostError("gone"), AWAY),
        (TimedOutError("silence"), RequestEnd.SILENT),
    ],
)
def test_error_without_an_association_says_whether_to_wait_or_to_stop(error: PeerError, end: RequestEnd) -> None:
    assert end_of_error(error) is end


def test_get_whose_sub_operations_all_failed_was_not_refused() -> None:
    assert end_of_result(replace(result(0xA702, failed=3), service="C-GET"), reached=True) is FAILED
    assert end_of_result(replace(result(0xA702), service="C-GET"), reached=True) is REFUSED


def test_request_that_found_the_disk_full_is_complete_or_to_be_repeated() -> None:
    incomplete = replace(result(0xB000, arrived=2, failed=1), evidence=Evidence(not_stored=1))
    assert end_of_result(incomplete, reached=True, no_space=True) is RequestEnd.NO_SPACE
    assert end_of_result(incomplete, reached=True) is GOOD
    unflushed = replace(result(0, arrived=2), evidence=Evidence(unflushed=True))
    assert end_of_result(unflushed, reached=True) is RequestEnd.NOT_FLUSHED
    assert end_of_result(result(0), reached=True, no_space=True) is GOOD, "it was stored when there was room"
