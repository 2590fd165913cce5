"""The ends of entries: the state, the numbers and the cause that a report, a journal and a summary show."""

from __future__ import annotations

from dataclasses import asdict
from dataclasses import replace as changed
from typing import Any

import pytest

from movescu._runtime.record import replace
from movescu.cohort.admission import RequestEnd
from movescu.cohort.entries import end_of, entry_event, given_back, reasons_of, retracted, state_of
from movescu.cohort.job import JobVerdict
from movescu.events import EntryState
from movescu.query.identifier import make_identifier
from movescu.query.request_list import Row
from movescu.retrieve.causes import INTERRUPTED, NO_SPACE, cause_of
from movescu.retrieve.evidence import Evidence
from movescu.retrieve.result import Result
from movescu.services.move import MoveResponse

KEYS = ("StudyInstanceUID=1.2.3",)
ROW = Row(
    7,
    KEYS[0],
    make_identifier([*KEYS, "QueryRetrieveLevel=STUDY"], model="STUDY"),
    keys=KEYS,
    columns=(("site", "A"),),
)
RESPONSE = (MoveResponse(1, 0, None, 1, 0, 0),)
NOTHING = Evidence(nothing_found=True)
MISSING = Evidence(missing=2)


def result(evidence: Evidence = Evidence(), **fields: Any) -> Result:  # noqa: B008 - records do not change
    return replace(Result((), 0, 0, 0, 0, evidence, {}), **fields)


def verdict(of: Result | None, **fields: Any) -> JobVerdict:
    return replace(JobVerdict(1, RequestEnd.GOOD, of, seconds=2.5, studies=("1.2.3",)), **fields)


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"stored": 1, "responses": RESPONSE}, EntryState.COMPLETE),
        ({"stored": 1, "already_there": 1}, EntryState.COMPLETE),
        ({"already_there": 2}, EntryState.COMPLETE_BEFORE),
        ({"already_there": 2, "responses": RESPONSE}, EntryState.COMPLETE),
        ({"responses": RESPONSE}, EntryState.COMPLETE),
        ({}, EntryState.COMPLETE),
        ({"evidence": MISSING, "stored": 1}, EntryState.PARTIAL),
        ({"evidence": MISSING, "already_there": 1}, EntryState.PARTIAL),
        ({"evidence": MISSING, "stored": 1, "already_there": 1}, EntryState.PARTIAL),
        ({"evidence": MISSING}, EntryState.FAILED),
        ({"evidence": NOTHING}, EntryState.NOT_FOUND),
        ({"evidence": NOTHING, "stored": 1}, EntryState.PARTIAL),
        ({"evidence": replace(NOTHING, lost=True)}, EntryState.FAILED),
    ],
)
def test_state_of_an_entry_says_what_is_here_and_whether_it_was_requested(
    fields: dict[str, Any], state: EntryState
) -> None:
    assert state_of(result(**fields), cancelled=False) is state


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, EntryState.NOT_STARTED),
        ({"responses": RESPONSE}, EntryState.FAILED),
        ({"arrived": 1}, EntryState.FAILED),
        ({"errors": ("lost",)}, EntryState.FAILED),
        ({"stored": 1}, EntryState.PARTIAL),
    ],
)
def test_cancelled_entry_is_not_started_if_nothing_was_requested(fields: dict[str, Any], state: EntryState) -> None:
    assert state_of(result(Evidence(cancelled=True), **fields), cancelled=True) is state
    assert state_of(None, cancelled=True) is EntryState.FAILED


def test_end_of_an_entry_has_the_numbers_of_its_result_and_the_first_words_of_its_failure() -> None:
    evidence = Evidence(statuses=(0xB000, 0xA702), missing=2)
    fields = {"stored": 3, "already_there": 4, "failed": 5, "size": 6, "attempts": 7, "verified": True}
    made = result(evidence, missing_uids=("1.1", "1.2"), failures={"1.1": "", "1.2": "no room"}, **fields)
    end = end_of(ROW, verdict(made, studies=("1.2.3", "1.2.4")), made, cause_of(made))
    assert {name: getattr(end, name) for name in fields} == fields
    assert (end.row, end.keys, end.columns, end.state) == (7, KEYS, ROW.columns, EntryState.PARTIAL)
    assert (end.missing, end.missing_sop_instance_uids) == (2, ("1.1", "1.2"))
    assert (end.status, end.reason, end.detail, end.seconds) == (0xA702, "not-reached", "no room", 2.5)
    assert end.study_instance_uids == ("1.2.3", "1.2.4")


@pytest.mark.parametrize("name", ["errors", "unmet", "unlisted", "comment"])
def test_detail_of_an_entry_is_whatever_says_why(name: str) -> None:
    words: dict[str, Any] = {"errors": ("why",), "comment": (replace(RESPONSE[0], error_comment="why"),)}
    made = result(MISSING, **{"responses" if name == "comment" else name: words.get(name, "why")})
    assert end_of(ROW, verdict(made), made, cause_of(made)).detail == "why"


def test_complete_entry_has_no_cause() -> None:
    made = result(stored=1, failures={"1.1": "it came again"})
    end = end_of(ROW, verdict(made), made, cause_of(result(MISSING)))
    assert (end.state, end.reason, end.status, end.detail) == (EntryState.COMPLETE, "", None, "")


def test_entry_that_was_interrupted_before_its_request_says_so() -> None:
    made = result(Evidence(cancelled=True))
    end = end_of(ROW, verdict(made, cancelled=True), made, cause_of(result(MISSING)))
    assert (end.state, end.reason) == (EntryState.NOT_STARTED, INTERRUPTED.code)
    lost = result(Evidence(cancelled=True, lost=True), errors=("gone",))
    end = end_of(ROW, verdict(lost, cancelled=True), lost, cause_of(result(MISSING)))
    assert (end.state, end.reason) == (EntryState.FAILED, "missing")
    silent = result(MISSING)
    assert end_of(ROW, verdict(silent), silent, cause_of(silent)).detail == "", "nothing says why"


def test_entry_without_an_association_has_the_studies_of_its_keys() -> None:
    end = end_of(ROW, verdict(None, error="refused", studies=()), None, NO_SPACE)
    assert (end.state, end.detail, end.attempts) == (EntryState.FAILED, "refused", 1)
    assert end.study_instance_uids == ("1.2.3",)
    told = asdict(end)
    assert {name: told[name] for name in ("reason", "words", "fault", "passing", "advice")} == {
        "reason": NO_SPACE.code,
        "words": NO_SPACE.words,
        "fault": NO_SPACE.fault.value,
        "passing": NO_SPACE.passing,
        "advice": NO_SPACE.advice,
    }


@pytest.mark.parametrize("name", ["stored", "already_there"])
def test_entry_that_is_given_back_keeps_what_it_stored_and_no_blame(name: str) -> None:
    blamed = entry_event(ROW, EntryState.FAILED, cause_of(result(MISSING)), status=0xA702)
    told = given_back(ROW, blamed, NO_SPACE)
    assert told == entry_event(ROW, EntryState.NOT_STARTED, NO_SPACE, time=told.time)
    some: dict[str, Any] = {name: 3}
    told = given_back(ROW, changed(blamed, **some), NO_SPACE)
    assert told == entry_event(ROW, EntryState.PARTIAL, NO_SPACE, time=told.time, **some)


def test_complete_entry_whose_objects_are_lost_is_partial_and_its_result_incomplete() -> None:
    end = entry_event(
        *(ROW, EntryState.COMPLETE),
        stored=3,
        failed=1,
        size=9,
        already_there=2,
        attempts=4,
        verified=True,
        missing_sop_instance_uids=("1.1",),
    )
    told, of = retracted(end, {"1.1": "gone", "1.2": "changed"})
    assert (told.state, told.missing, told.missing_sop_instance_uids) == (EntryState.PARTIAL, 2, ("1.1", "1.2"))
    assert (told.reason, told.detail, told.stored) == ("missing", "gone", 3)
    assert all((told.words, told.fault, told.passing, told.advice))
    assert (of.complete, of.missing_uids, of.verified) == (False, ("1.1", "1.2"), True)
    assert (of.stored, of.failed, of.size, of.arrived, of.already_there, of.attempts) == (3, 1, 9, 4, 2, 4)
    assert of.failures == {"1.1": "gone", "1.2": "changed"}
    assert reasons_of(of) == ["MISSING"]
    assert reasons_of(None) == []
