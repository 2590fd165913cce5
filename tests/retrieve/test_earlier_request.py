"""What is known of a request when another retrieve continues it: all that counts, in a record of limited size."""

from __future__ import annotations

from typing import Any

import pytest

from movescu._runtime.record import replace
from movescu.query.identifier import make_identifier
from movescu.query.scope import Scope
from movescu.retrieve.catalogue import ListSizes, Place
from movescu.retrieve.earlier_request import MOST, EarlierRequest, SeriesObjects, earlier_of
from movescu.retrieve.evidence import Evidence
from movescu.retrieve.inventory import Inventory
from movescu.retrieve.request_state import RequestState, Statement
from movescu.retrieve.tally import NotStored

STUDY = make_identifier(["QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2\\1.9"], model="STUDY")
FIRST, SECOND = Place("P", "1.2", "1.2.1"), Place("P", "1.2", "1.2.2")


def known(*missing: SeriesObjects, here: tuple[SeriesObjects, ...] = (), **fields: Any) -> EarlierRequest:
    return EarlierRequest(STUDY, 9, missing, here, **fields)


def state_of(**fields: Any) -> RequestState:
    state = RequestState(remember=True)
    state.identifier = STUDY
    for name, value in fields.items():
        setattr(state, name, value)
    return state


def inventory(objects: dict[str, Place] | None = None, *, gap: bool = False) -> Inventory:
    made = Inventory(Scope(STUDY, "STUDY"))
    made.objects = objects or {}
    if gap:
        made.gaps[FIRST] = "cut short"
    return made


def sizes(**fields: Any) -> ListSizes:
    made = ListSizes()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_retrieve_continues_with_the_objects_and_sizes_that_were_listed() -> None:
    earlier = known(
        SeriesObjects(*FIRST, ("1", "2")),
        here=(SeriesObjects(*SECOND, ("3",)),),
        sizes=(("1.2", 5), ("1.2.1", 2)),
        cap=7,
        places=((*FIRST,), ("P", "1.2", "")),
        failures=(("1", 0xA700, "full"), ("2", 0xC000, "")),
        failed=3,
        broken_off=("2",),
        failed_uids=("1", "9"),
    )
    state = RequestState(remember=True)
    earlier.continue_as(state, "STUDY")
    assert state.inventory is not None
    assert state.inventory.objects == {"1": FIRST, "2": FIRST, "3": SECOND}
    assert state.inventory.scope.model == "STUDY"
    assert (state.missing, state.needed, state.listed_before) == ({"1", "2"}, {"1", "2"}, 9)
    assert state.sizes is not None
    assert (state.sizes.counts, state.sizes.cap) == ({"1.2": 5, "1.2.1": 2}, 7)
    assert state.sizes.places == {"1.2.1": FIRST, "1.2": Place("P", "1.2", "")}
    assert state.tally.failures == {"1": NotStored(0xA700, "full"), "2": NotStored(0xC000, "")}
    assert (state.tally.failed, state.tally.broken_off, state.failed_uids) == (3, {"2"}, {"1", "9"})
    assert known().listed == 9
    empty = RequestState()
    replace(known(), failures=(("1", 0xA700, ""),)).continue_as(empty, "STUDY")
    assert (empty.inventory, empty.tally.failed) == (None, 1)


def test_numbers_that_the_archive_stated_for_the_studies_of_the_request_are_kept() -> None:
    counted = known(sizes=(("1.9", 5),)).with_counts({"1.2": 1, "1.9": 4, "1.7": 9})
    assert dict(counted.sizes) == {"1.2": 1, "1.9": 5}
    assert dict(counted.with_counts({"1.9": 6}).sizes) == {"1.2": 1, "1.9": 6}


def test_whole_request_has_what_its_parts_learned_of_its_own_series() -> None:
    whole = known(
        SeriesObjects(*FIRST, ("1",)), sizes=(("1.2.1", 5),), cap=3, places=(("", "1.2", ""), ("", "", "1.9.1"))
    )
    others = SeriesObjects("P", "1.7", "1.7.1", ("7",))
    of_study, of_series = SeriesObjects(*SECOND, ("2",)), SeriesObjects("", "1.9", "1.9.1", ("9",))
    parts = [
        known(of_study, others, sizes=(("1.2.1", 4), ("1.2", 6), ("1.7.1", 9)), cap=2),
        known(of_series, sizes=(("1.9.1", 1), ("1.2", 5)), cap=8),
    ]
    made = whole.with_parts(parts)
    assert made.missing == (*whole.missing, of_study, of_series)
    assert (dict(made.sizes), made.cap) == ({"1.2.1": 5, "1.2": 6, "1.9.1": 1}, 8)
    assert whole.with_parts([replace(parts[1], cap=1)]).cap == 3
    nowhere = SeriesObjects("", "", "", ("0",))
    assert whole.with_parts([known(nowhere)]).missing == whole.missing


def test_part_that_states_less_than_is_known_changes_nothing() -> None:
    whole = known(sizes=(("1.2.1", 5),), places=((*FIRST,),))
    assert whole.with_parts([known(sizes=(("1.2.1", 4), ("1.2", 0)))]).sizes == (("1.2.1", 5), ("1.2", 0))


@pytest.mark.parametrize(
    "fields",
    [
        {"inventory": inventory({"1": FIRST})},
        {"inventory": inventory(gap=True)},
        {"statements": [Statement(Evidence(failed=1), 1, 0, 0, frozenset())]},
        {"last_statement": Statement(Evidence(failed=1), 1, 0, 0, frozenset())},
        {"sizes": sizes(places={"1.2": FIRST})},
        {"sizes": sizes(counts={"1.2": 4})},
        {"listed_before": 5},
    ],
)
def test_anything_that_is_known_of_a_request_is_worth_to_be_told(fields: dict[str, Any]) -> None:
    told = earlier_of(state_of(**fields))
    assert told is not None
    assert told.identifier == STUDY
    assert earlier_of(state_of(**fields | {"identifier": None})) is None or "inventory" in fields


def test_failures_and_broken_transfers_are_worth_to_be_told_and_nothing_is_not() -> None:
    state = state_of()
    assert earlier_of(state) is None
    assert earlier_of(state_of(inventory=inventory())) is None
    state.tally.failed = 1
    told = earlier_of(state)
    assert told is not None
    assert told.failed == 1
    state = state_of()
    state.tally.broken_off = {"1"}
    told = earlier_of(state)
    assert told is not None
    assert told.broken_off == ("1",)


def test_statement_that_a_list_accounts_for_is_not_told() -> None:
    state = state_of(last_statement=Statement(Evidence(failed=1), 1, 0, 0, frozenset()), is_accounted_for=True)
    assert earlier_of(state) is None


def test_all_missing_objects_are_named_and_as_many_of_the_others_as_there_is_room_for() -> None:
    objects = {str(number): FIRST for number in range(20)}
    state = state_of(inventory=inventory(objects), missing={"3", "5", "7"}, sizes=sizes(cap=4))
    told = earlier_of(state, 10)
    assert told is not None
    assert [uid for one in told.missing for uid in one.uids] == ["3", "5", "7"]
    here = [uid for one in told.here for uid in one.uids]
    assert here == [uid for uid in objects if uid not in state.missing][:7]
    assert (told.listed, told.cap) == (20, 4)
    told = earlier_of(state, 2)
    assert told is not None
    assert told.here == ()
    state.listed_before = 30
    told = earlier_of(state)
    assert told is not None
    assert (told.listed, len(told.here[0].uids)) == (30, 17)


def test_sizes_of_lists_that_are_short_are_told_before_others() -> None:
    counts = {f"1.2.{number}": 1 for number in range(2 * MOST)}
    objects = {f"{number}": Place("P", "1.2", f"1.2.{number}") for number in range(2 * MOST)}
    short = [f"1.2.{number}" for number in range(MOST, 2 * MOST, 100)]
    counts.update(dict.fromkeys(short, 2))
    told = earlier_of(state_of(inventory=inventory(objects), sizes=sizes(counts=counts)))
    assert told is not None
    assert len(told.sizes) == MOST
    assert [uid for uid, _ in told.sizes[: len(short)]] == short


def test_failed_objects_that_are_forgotten_leave_a_statement_that_nothing_accounts_for() -> None:
    listed = {f"1.{number}": FIRST for number in range(1500)}
    named = frozenset((*(f"8.{number}" for number in range(MOST + 1)), *listed))
    told = earlier_of(state_of(inventory=inventory(listed), statements=[Statement(Evidence(failed=1), 1, 9, 9, named)]))
    assert told is not None
    (said,) = told.statements
    assert not said.is_accounted_for(dict.fromkeys((*said.named, *listed)))


@pytest.mark.parametrize("number", [7, 8, 9, 12])
def test_many_statements_are_told_as_few_that_are_as_hard_to_account_for(number: int) -> None:
    every = [
        Statement(
            Evidence(failed=place, statuses=(0xB000,)),
            10 + place % 3,
            5 - place % 2,
            place % 4,
            frozenset((str(place),)),
        )
        for place in range(number)
    ]
    told = earlier_of(state_of(statements=every))
    assert told is not None
    assert len(told.statements) == min(number, 8)
    assert told.statements[-7:] == tuple(every[-7:])
    many = every[: number - 7]
    if number <= 8:
        assert told.statements == tuple(every)
        return
    first = told.statements[0]
    assert (first.counted, first.requested, first.listed) == (
        max(one.counted for one in many),
        min(one.requested for one in many),
        max(one.listed for one in many),
    )
    assert first.named == {str(place) for place in range(number - 7)}
    assert first.evidence.failed == sum(one.evidence.failed for one in many)
    assert first.evidence.statuses == (0xB000,), "once"
