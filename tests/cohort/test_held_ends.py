"""Failures that an archive which is about to go away may have caused: which are held, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from movescu._runtime.record import replace
from movescu.cohort.admission import RequestEnd
from movescu.cohort.gathered_objects import Gathered
from movescu.cohort.held_ends import HeldEnd, HeldEnds, end_without_worker
from movescu.cohort.job import JobVerdict
from movescu.cohort.postponed import Postponed
from movescu.cohort.task import RunningTask, Task
from movescu.events import EntryState
from movescu.query.identifier import make_identifier
from movescu.query.request_list import Row
from movescu.retrieve.causes import WORKERS_LOST, Cause, Fault
from movescu.retrieve.evidence import Evidence
from movescu.retrieve.judgement import Reason
from movescu.retrieve.result import Result
from movescu.services.move import MoveResponse

ROW = Row(7, "StudyInstanceUID=1.2.3", make_identifier(["QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3"]))
FAILED = Result((MoveResponse(1, 0xC000, None, 0, 2, 0),), 0, 0, 0, 0, Evidence(statuses=(0xC000,), failed=2), {})
PASSING = Cause("code", "words", Fault.ARCHIVE, passing=True, advice="")


def held(
    number: int = 1,
    *,
    result: Result | None = FAILED,
    cause: Cause | None = PASSING,
    end: RequestEnd = RequestEnd.FAILED,
    **earlier: Any,
) -> HeldEnd:
    return HeldEnd(Task([ROW], Postponed(**earlier)), Gathered(), JobVerdict(number, end, result, cause), result, cause)


@pytest.mark.parametrize("fault", Fault)
def test_failure_that_is_the_archives_or_on_the_way_to_it_is_held(fault: Fault) -> None:
    blamed = fault in (Fault.ARCHIVE, Fault.NETWORK, Fault.SENDER)
    assert held(cause=replace(PASSING, fault=fault)).is_doubtful is blamed


@pytest.mark.parametrize("end", RequestEnd)
def test_request_that_was_carried_out_and_failed_is_held(end: RequestEnd) -> None:
    assert held(end=end).is_doubtful is (end in (RequestEnd.FAILED, RequestEnd.GOOD))


@pytest.mark.parametrize(
    "changes",
    [
        {"result": None},
        {"cause": None},
        {"cause": replace(PASSING, passing=False)},
        {"result": replace(FAILED, responses=())},
        {"result": replace(FAILED, evidence=Evidence())},
        {"reconsidered": True},
    ],
)
def test_end_that_no_absence_explains_is_final(changes: dict[str, Any]) -> None:
    assert not held(**changes).is_doubtful


def test_end_of_a_task_is_that_of_all_of_its_jobs() -> None:
    told = held(stored=3, size=30, refusals=2).event
    assert (told.row, told.state, told.size, told.attempts) == (7, EntryState.FAILED, 30, 3)


def test_ends_are_final_when_a_later_request_was_carried_out() -> None:
    ends = HeldEnds()
    assert not ends
    for number in (5, 3, 9):
        assert ends.hold(held(number)) == []
    assert ends
    assert [end.verdict.job for end in ends.before(9)] == [5, 3]
    assert [end.verdict.job for end in ends.before(9)] == []
    assert [end.verdict.job for end in ends.all()] == [9]
    assert not ends


def test_so_many_ends_are_held_and_the_oldest_are_final() -> None:
    ends = HeldEnds()
    assert [final for number in range(64) for final in ends.hold(held(number))] == []
    assert [end.verdict.job for end in ends.hold(held(64))] == [0]
    assert len(ends.all()) == 64


def test_absence_touches_the_jobs_that_ran_meanwhile() -> None:
    ends = HeldEnds()
    assert not ends.is_touched(held(1))
    ends.touch(5)
    ends.touch(3)
    assert [ends.is_touched(held(number)) for number in (4, 5, 6)] == [True, True, False]


@pytest.mark.parametrize("before", [None, FAILED])
def test_end_without_a_worker_is_lost_and_has_what_was_known_before(before: Result | None) -> None:
    task = Task([ROW], Postponed(result=before))
    end = end_without_worker(RunningTask(4, task, Gathered()))
    assert (end.verdict.job, end.verdict.end, end.cause) == (4, RequestEnd.FAILED, WORKERS_LOST)
    assert end.result is not None
    assert end.result.errors == (WORKERS_LOST.words,)
    reasons = {Reason.LOST} if before is None else {Reason.LOST, Reason.REFUSED, Reason.COUNTED_AS_FAILED}
    assert set(end.result.judgement.reasons) == reasons
    assert end.result.responses == (() if before is None else before.responses)
    assert (end.result.stored, end.result.failed, end.result.size, end.result.arrived) == (0, 0, 0, 0)
