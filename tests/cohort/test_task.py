"""Entries that are requested in parts: what was stated against a part stands until a list of the whole refutes it."""

from __future__ import annotations

import pytest

from movescu._runtime.record import replace
from movescu.cohort.admission import RequestEnd
from movescu.cohort.gathered_objects import Gathered
from movescu.cohort.job import JobVerdict, ObjectsReport
from movescu.cohort.job_run import known_of
from movescu.cohort.task import Split, Task
from movescu.query.identifier import Identifier, make_identifier
from movescu.query.request_list import Row
from movescu.retrieve.earlier_request import EarlierRequest, SeriesObjects
from movescu.retrieve.evidence import Evidence
from movescu.retrieve.request_state import RequestState, Statement
from movescu.retrieve.result import Result

STUDY = make_identifier(["QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2"], model="STUDY")
SERIES = make_identifier(
    ["QueryRetrieveLevel=SERIES", "StudyInstanceUID=1.2", "SeriesInstanceUID=1.2.3"], model="STUDY"
)
OBJECTS = make_identifier(
    [
        *("QueryRetrieveLevel=IMAGE", "StudyInstanceUID=1.2", "SeriesInstanceUID=1.2.3"),
        "SOPInstanceUID=1.2.3.0\\1.2.3.1",
    ],
    model="STUDY",
)
RESULT = Result((), 2, 0, 9, 2, Evidence(), {})


def known(identifier: Identifier, *statements: Statement, size: int = 6) -> EarlierRequest:
    sizes, places = (("1.2.3", size),), (("", "1.2", ""), ("", "1.2", "1.2.3"))
    return EarlierRequest(identifier, 6, (), (), sizes, 0, statements, places=places)


def split(part: Identifier) -> Split:
    whole = Task([Row(1, "", STUDY)])
    whole.earlier.earlier = (known(STUDY),)
    return Split(whole, [part])


def verdict(*earlier: EarlierRequest, result: Result | None = RESULT) -> JobVerdict:
    return JobVerdict(1, RequestEnd.GOOD, result, earlier=earlier)


def is_complete(made: Split) -> bool:
    """Return the judgement after a list of six objects in the series."""
    gathered, uids = Gathered(), tuple(f"1.2.3.{number}" for number in range(6))
    gathered.take(ObjectsReport(2, STUDY, listed=True, complete=True, here=(SeriesObjects("", "1.2", "1.2.3", uids),)))
    result, _ = made.judged(RESULT, None, gathered)
    assert result is not None
    return result.complete


@pytest.mark.parametrize(("part", "complete"), [(SERIES, True), (STUDY, True), (OBJECTS, False)])
def test_list_that_has_grown_accounts_for_a_part_unless_that_names_its_objects(
    part: Identifier, *, complete: bool
) -> None:
    made = split(part)
    said = Statement(Evidence(failed=2), 4, 2, 2, frozenset())
    assert made.part_ended(made.parts[0], verdict(known(part, said))) is made.last
    assert is_complete(made) is complete


def test_statement_against_a_part_stands_though_its_last_job_had_no_association() -> None:
    made = split(SERIES)
    made.parts[0].earlier.earlier = (known(SERIES, Statement(Evidence(failed=9), 9, 2, 6, frozenset())),)
    made.part_ended(made.parts[0], verdict(result=None))
    assert not is_complete(made)


def test_entry_of_many_requests_is_continued_with_all_of_them() -> None:
    def study(number: int) -> Identifier:
        return make_identifier(["QueryRetrieveLevel=STUDY", f"StudyInstanceUID=1.2.{number}"], model="STUDY")

    states = []
    for number in range(150):
        state = RequestState(remember=True)
        state.identifier = study(number)
        state.statements = [Statement(Evidence(failed=1), 1, 1, 1, frozenset())]
        states.append(state)
    before = tuple(known(study(number)) for number in range(149, 200))
    found = known_of(states, before, [study(number) for number in range(199, 300)], {"1.2.250": 7})
    assert [one.identifier for one in found] == [study(number) for number in range(300)]
    assert sum(len(one.statements) for one in found) == 150
    assert [one.sizes for one in found[249:252]] == [(), (("1.2.250", 7),), ()], "what it stated stands, too"


def test_object_that_was_listed_in_a_part_and_did_not_arrive_is_expected_of_the_whole() -> None:
    made = split(SERIES)
    missing = SeriesObjects("", "1.2", "1.2.3", ("1.2.3.9",))
    made.part_ended(made.parts[0], verdict(replace(known(SERIES), missing=(missing,))))
    [whole] = made.last.earlier.earlier
    state = RequestState(remember=True)
    whole.continue_as(state, "STUDY")
    assert state.missing == {"1.2.3.9"}
    elsewhere = replace(missing, study="1.7", series="1.7.3")
    made = split(SERIES)
    made.part_ended(made.parts[0], verdict(replace(known(SERIES), missing=(elsewhere,))))
    assert made.last.earlier.earlier[0].missing == ()


def test_size_that_was_stated_for_a_part_is_expected_of_the_list_of_the_whole() -> None:
    made = split(SERIES)
    made.part_ended(made.parts[0], verdict(known(SERIES, size=7)))
    assert made.last.earlier.earlier[0].sizes == (("1.2.3", 7),)
