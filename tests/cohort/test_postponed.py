"""An entry that is requested again: its end is that of all of its jobs, and nothing that an archive said is lost."""

from __future__ import annotations

from typing import Any

import pytest

from movescu._runtime.record import replace
from movescu.cohort.admission import RequestEnd
from movescu.cohort.entries import entry_event
from movescu.cohort.job import JobVerdict
from movescu.cohort.postponed import Postponed
from movescu.events import EntryEvent, EntryState
from movescu.query.identifier import make_identifier
from movescu.query.request_list import Row
from movescu.retrieve.causes import INTERRUPTED, NO_SPACE, UNREACHED
from movescu.retrieve.earlier_request import EarlierRequest
from movescu.retrieve.evidence import Evidence
from movescu.retrieve.result import Result
from movescu.services.move import MoveResponse

IDENTIFIER = make_identifier(["QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3"], model="STUDY")
ROW = Row(7, "StudyInstanceUID=1.2.3", IDENTIFIER)
FAILED = (MoveResponse(1, 0xB000, None, 1, 2, 0),)
LISTED = EarlierRequest(IDENTIFIER, 0, (), ())


def result(*, stored: int = 0, size: int = 0, responses: tuple[MoveResponse, ...] = ()) -> Result:
    return Result(responses, stored, 0, size, stored, Evidence(), {})


def verdict(of: Result | None, **fields: Any) -> JobVerdict:
    return replace(JobVerdict(1, RequestEnd.FAILED, of), **fields)


def end(state: EntryState = EntryState.FAILED, **numbers: Any) -> EntryEvent:
    return entry_event(ROW, state, **numbers)


def kept(of: Result | None, **fields: Any) -> Postponed:
    entry = Postponed()
    entry.keep(verdict(of, **fields), of, end())
    return entry


def test_nothing_counts_against_a_new_entry() -> None:
    entry = Postponed()
    assert (entry.refusals, entry.losses, entry.workers, entry.listed, entry.reconsidered) == (0, 0, 0, False, False)


def test_first_job_of_an_entry_says_how_it_ended() -> None:
    made = result(stored=1)
    assert Postponed().continued(made, NO_SPACE) == (made, NO_SPACE)
    assert kept(None).continued(made, NO_SPACE) == (made, NO_SPACE), "the one before had no association"


def test_job_without_an_association_has_no_result_whatever_came_before() -> None:
    assert kept(result(responses=FAILED), cause=UNREACHED).continued(None, NO_SPACE) == (None, NO_SPACE)


def test_job_that_requested_objects_stands_for_itself() -> None:
    made = result(stored=2, responses=(replace(FAILED[0], status=0, failed=0),))
    assert kept(result(responses=FAILED), cause=UNREACHED).continued(made, None) == (made, None)


@pytest.mark.parametrize("listed", [True, False])
def test_what_the_archive_said_stands_unless_a_list_made_afterwards_accounts_for_it(*, listed: bool) -> None:
    earlier, later = result(stored=1, responses=FAILED), result(stored=2)
    found = kept(earlier, cause=UNREACHED, listed=listed).continued(later, NO_SPACE)
    assert found == ((replace(later, responses=FAILED), NO_SPACE) if listed else (earlier, UNREACHED))


def test_entry_keeps_what_its_jobs_brought_and_the_end_of_the_last() -> None:
    entry = Postponed(refusals=1)
    first, last = result(stored=2, size=20, responses=FAILED), end(EntryState.PARTIAL)
    entry.keep(verdict(first, cause=UNREACHED, listed=True, earlier=(LISTED,)), first, end())
    entry.keep(verdict(None, cause=NO_SPACE), None, last)
    assert entry == Postponed(1, 0, 0, first, UNREACHED, listed=True, earlier=(LISTED,), stored=2, size=20, end=last)
    own, seen = result(stored=3, size=30), result(stored=3, size=30, responses=FAILED)
    other = replace(LISTED, listed=3)
    entry.keep(verdict(own, cause=INTERRUPTED, earlier=(other,)), seen, last)
    assert entry == Postponed(1, 0, 0, seen, INTERRUPTED, listed=False, earlier=(other,), stored=5, size=50, end=last)


@pytest.mark.parametrize(
    ("before", "state", "already_there", "expected"),
    [
        (2, EntryState.COMPLETE_BEFORE, 3, (EntryState.COMPLETE, 3, 1)),
        (5, EntryState.COMPLETE_BEFORE, 3, (EntryState.COMPLETE, 4, 0)),
        (0, EntryState.COMPLETE_BEFORE, 3, (EntryState.COMPLETE_BEFORE, 1, 3)),
        (2, EntryState.COMPLETE_BEFORE, 0, (EntryState.COMPLETE_BEFORE, 1, 0)),
        (2, EntryState.PARTIAL, 3, (EntryState.PARTIAL, 3, 1)),
        (2, EntryState.COMPLETE, 3, (EntryState.COMPLETE, 3, 1)),
    ],
)
def test_objects_that_an_earlier_job_stored_are_not_those_of_an_earlier_run(
    before: int, state: EntryState, already_there: int, expected: tuple[EntryState, int, int]
) -> None:
    entry = Postponed(refusals=3, stored=before, size=50)
    told = entry.whole_end(end(state, stored=1, already_there=already_there, size=7, attempts=2))
    assert (told.state, told.stored, told.already_there) == expected
    assert (told.size, told.attempts) == (57, 5)
