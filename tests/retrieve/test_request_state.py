"""Statements of the archive, and the later lists that disprove them: no older list does, and none with a gap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from movescu.dimse.status import SUCCESS
from movescu.query.identifier import make_identifier
from movescu.query.scope import Scope
from movescu.retrieve.catalogue import Place
from movescu.retrieve.inventory import Inventory
from movescu.retrieve.judgement import Outcome, judge
from movescu.retrieve.request_state import RequestState
from movescu.retrieve.tally import Round, evidence_of
from movescu.services.move import MoveResponse

PLACE = Place("", "1.2.3", "1.2.3.4")


def response(status: int = SUCCESS, *, failed_uids: tuple[str, ...] = (), **counts: int) -> MoveResponse:
    remaining, completed, failed, warning = (
        counts.get(name, 0) for name in ("remaining", "completed", "failed", "warning")
    )
    return MoveResponse(1, status, remaining, completed, failed, warning, failed_sop_instance_uids=failed_uids)


def inventory(*uids: str) -> Inventory:
    made = Inventory(Scope(make_identifier(["QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3"]), "STUDY"))
    made.objects = dict.fromkeys(uids, PLACE)
    return made


def listed(state: RequestState, made: Inventory, here: set[str]) -> None:
    """Record a list, as the attempt loop does."""
    state.inventory, state.needed = made, set(made.objects)
    state.missing = state.needed - here
    state.unlisted = made.describe_gaps()
    if not made.gaps:
        state.compare()


def stated(said: MoveResponse, *, before: tuple[str, ...] = ("1", "2"), requested: int = 2) -> RequestState:
    """A request whose listed objects have all arrived, and to which the archive then said this."""
    state = RequestState(remember=True)
    listed(state, inventory(*before), {"1", "2"})
    one = Round()
    one.responses.append(said)
    one.arrived = len(before)
    delivered = (said.completed or 0) + (said.warning or 0)
    state.note(evidence_of(one, expected=delivered, cut_off=0, cancelled=False), one, requested)
    state.failed_uids.update(said.failed_sop_instance_uids)
    return state


EXPLAINED = {
    "a failure": response(0xC000, completed=2),
    "unasked FE00": response(0xFE00, completed=2),
    "one of the listed counted as failed": response(0xB000, completed=1, failed=1),
    "a listed object named as failed": response(0xB000, completed=1, failed=1, failed_uids=("2",)),
}
UNEXPLAINED = {
    "one more failed than listed": response(0xB000, completed=2, failed=1),
    "one more completed than listed": response(completed=3),
    "one remaining": response(completed=2, remaining=1),
    "an object named as failed that is not listed": response(0xB000, completed=1, failed=1, failed_uids=("9",)),
}


@pytest.mark.parametrize("name", EXPLAINED | UNEXPLAINED)
def test_statement_stands_against_the_list_made_before_it(name: str) -> None:
    state = stated((EXPLAINED | UNEXPLAINED)[name])
    assert judge(state.evidence).outcome is not Outcome.COMPLETE


@pytest.mark.parametrize("name", EXPLAINED | UNEXPLAINED)
def test_later_list_disproves_a_statement_that_it_accounts_for(name: str) -> None:
    state = stated((EXPLAINED | UNEXPLAINED)[name])
    listed(state, inventory("1", "2"), {"1", "2"})
    assert (judge(state.evidence).outcome is Outcome.COMPLETE) == (name in EXPLAINED)


@pytest.mark.parametrize("name", EXPLAINED)
def test_later_list_with_a_missing_object_or_a_gap_disproves_nothing(name: str) -> None:
    state = stated(EXPLAINED[name])
    listed(state, inventory("1", "2", "3"), {"1", "2"})
    reasons = {reason.name for reason in judge(state.evidence).reasons}
    assert "MISSING" in reasons
    assert len(reasons) > 1
    gapped = inventory("1", "2")
    gapped.gaps[PLACE] = "the archive cut its list short"
    state = stated(EXPLAINED[name])
    listed(state, gapped, {"1", "2"})
    assert {"UNLISTED"} < {reason.name for reason in judge(state.evidence).reasons}


def test_growth_of_the_list_accounts_for_what_was_counted_beyond_it() -> None:
    state = stated(response(completed=3))
    listed(state, inventory("1", "2", "3"), {"1", "2", "3"})
    assert judge(state.evidence).outcome is Outcome.COMPLETE


def test_clean_request_for_a_part_does_not_replace_an_unexplained_statement() -> None:
    state = stated(response(0xB000, completed=1, failed=2))
    listed(state, inventory("1", "2"), {"1"})
    one = Round()
    one.responses.append(response(completed=1))
    one.arrived = 1
    state.note(evidence_of(one, expected=1, cut_off=0, cancelled=False), one, 1)
    state.missing = set()
    assert judge(state.evidence).outcome is not Outcome.COMPLETE


COUNTS = st.fixed_dictionaries({name: st.integers(0, 4) for name in ("completed", "failed", "remaining", "warning")})
UIDS = st.sets(st.sampled_from("12345"), max_size=5)


@given(st.sampled_from((0x0000, 0xB000, 0xC000, 0xFE00)), COUNTS, UIDS, UIDS, UIDS)
def test_exit_0_after_a_statement_means_that_a_later_list_has_room_for_it_and_all_of_it_is_here(
    status: int, counts: dict[str, int], named: set[str], later: set[str], here: set[str]
) -> None:
    said = response(status, failed_uids=tuple(named), **counts)
    state = stated(said)
    before = judge(state.evidence).outcome
    listed(state, inventory(*later), here)
    after = judge(state.evidence).outcome
    if after is Outcome.COMPLETE and before is not Outcome.COMPLETE:
        total = counts["completed"] + counts["warning"] + max(counts["failed"], len(named)) + counts["remaining"]
        assert later <= here
        assert named <= later
        assert total <= max(len(later), 2)
    if not later <= here:
        assert after is not Outcome.COMPLETE
