"""Statements of the archive, and the later lists that disprove them: no older list does, and none with a gap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from movescu._runtime.record import replace
from movescu.dictionary.uids import EXPLICIT_LITTLE
from movescu.dimse.messages import CStoreRQ
from movescu.dimse.status import SUCCESS
from movescu.errors import PeerError
from movescu.query.identifier import make_identifier
from movescu.query.scope import Scope
from movescu.retrieve.catalogue import ListSizes, Place
from movescu.retrieve.config import BATCH
from movescu.retrieve.earlier_request import earlier_of
from movescu.retrieve.evidence import Evidence
from movescu.retrieve.inventory import Inventory
from movescu.retrieve.judgement import Outcome, judge
from movescu.retrieve.request_state import RequestState, Statement, joined
from movescu.retrieve.tally import Round, evidence_of
from movescu.services.move import MoveResponse
from movescu.services.store import Received
from movescu.storage.incoming_object import Incoming
from movescu.ul.negotiation import Context, RejectedClass

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


def is_complete(state: RequestState) -> bool:
    return judge(state.evidence).outcome is Outcome.COMPLETE


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


def test_statement_is_accounted_for_by_as_many_objects_as_it_counts_and_all_that_it_names() -> None:
    one = Statement(Evidence(failed=1), counted=3, requested=2, listed=2, named=frozenset(("1", "2")))
    assert not one.is_accounted_for(dict.fromkeys("12"))
    assert one.is_accounted_for(dict.fromkeys("123"))
    assert not one.is_accounted_for(dict.fromkeys("134")), "it named 2 as failed"
    other = replace(one, counted=2)
    assert other.is_accounted_for(dict.fromkeys("12"))
    assert replace(other, named=frozenset()).is_accounted_for({}), "a shorter list takes nothing away"


def test_statement_of_an_earlier_attempt_stands_until_a_list_accounts_for_it() -> None:
    state = stated(response(0xB000, completed=1, failed=2))
    one = Round()
    one.responses.append(response(completed=1))
    state.note(evidence_of(one, expected=0, cut_off=0, cancelled=False), one, 1)
    assert len(state.statements) == 1
    listed(state, inventory("1", "2"), {"1", "2"})
    assert len(state.statements) == 1, "one more failed than it lists"
    listed(state, inventory("1", "2", "3"), {"1", "2", "3"})
    assert not state.statements
    assert is_complete(state)


def test_statement_that_was_accounted_for_does_not_come_back_with_the_next_attempt() -> None:
    state = stated(response(0xB000, completed=1, failed=1))
    listed(state, inventory("1", "2"), {"1", "2"})
    assert is_complete(state)
    one = Round()
    one.responses.append(response(completed=2))
    state.note(evidence_of(one, expected=0, cut_off=0, cancelled=False), one, 2)
    assert not state.statements
    assert state.last_statement is None


def test_list_that_could_not_be_had_disproves_nothing() -> None:
    state = stated(response(0xC000, completed=2))
    listed(state, inventory("1", "2"), {"1", "2"})
    assert state.standing == Evidence()
    state.unlisted = "the archive answers C-FIND with status 0xa700"
    assert state.standing.statuses == (0xC000,)


def failed(uid: str) -> Received:
    request = CStoreRQ("1.2.840.10008.5.1.4.1.1.2", 1, uid)
    return Received(
        Incoming(request, Context(1, request.affected_sop_class_uid, EXPLICIT_LITTLE), "SENDER"), 10, 0xA700
    )


def stored(uid: str) -> Received:
    return Received(failed(uid).incoming, 10, SUCCESS)


def test_object_that_failed_is_no_failure_once_it_is_here() -> None:
    state = RequestState(remember=True)
    assert is_complete(state)
    state.inventory, state.missing = inventory("1", "2"), {"2"}
    for received in (failed("1"), failed("2"), failed("3")):
        state.tally.count(received)
    state.failed_uids = {"1", "2", "9"}
    state.tally.broken_off = {"1", "4"}
    evidence = state.evidence
    assert (evidence.not_stored, evidence.failed, evidence.broken_off, evidence.missing) == (2, 2, 1, 1)
    state.tally.count(stored("9"))
    assert state.here == {"1", "9"}
    assert state.evidence.failed == 1
    state.lost = {"1": "its file was cut"}
    assert state.here == {"9"}
    assert state.missing_uids == {"1", "2"}
    evidence = state.evidence
    assert (evidence.not_stored, evidence.failed, evidence.broken_off, evidence.missing) == (3, 2, 2, 2)


def test_failures_beyond_those_that_are_kept_by_name_count_too() -> None:
    state = RequestState(remember=True)
    for number in range(1005):
        state.tally.count(failed(f"1.{number}"))
    assert len(state.tally.failures) == 1000
    assert state.evidence.not_stored == 1005
    state.inventory = inventory("1.1", "1.1004")
    assert state.evidence.not_stored == 1003, "two of them were here before"


def test_nothing_is_known_of_a_request_before_its_first_attempt() -> None:
    state = RequestState()
    assert (state.attempted, state.asked, state.hopeless, state.is_accounted_for) == (False, False, False, False)
    assert (state.arrived, state.attempts, state.in_vain, state.listed_before) == (0, 0, 0, 0)
    assert state.evidence == Evidence()


@pytest.mark.parametrize(
    ("missing", "here", "unlisted", "satisfied"),
    [
        ("", "", "", True),
        ("12", "", "", False),
        ("12", "1", "", False),
        ("12", "12", "", True),
        ("12", "123", "", True),
        ("1", "23", "", False),
        ("", "", "cut short", False),
        ("12", "12", "cut short", False),
    ],
)
def test_request_is_satisfied_by_all_that_was_missing_if_the_list_is_whole(
    missing: str, here: str, unlisted: str, *, satisfied: bool
) -> None:
    state = RequestState(remember=True)
    state.missing, state.unlisted = set(missing), unlisted
    for uid in here:
        state.tally.count(stored(uid))
    assert state.is_satisfied is satisfied
    if not here:
        assert RequestState().is_satisfied, "without lists nothing is missing"


def test_numbers_that_the_archive_stated_before_its_lists_are_kept() -> None:
    state = RequestState()
    state.note_counts({"1.2.3": 5})
    state.note_counts({"1.2.4": 7})
    assert state.sizes is not None
    assert state.sizes.counts == {"1.2.3": 5, "1.2.4": 7}


@pytest.mark.parametrize("name", ["lost", "cancelled", "unlisted", "unflushed", "nothing_found", "unfound"])
def test_what_is_known_against_a_request_is_in_its_evidence(name: str) -> None:
    state = RequestState()
    state.inventory = inventory("1")
    assert state.evidence == Evidence()
    if name == "lost":
        state.error = PeerError("gone")
    elif name == "unfound":
        state.inventory.hollow = ("1.2.9",)
    else:
        setattr(state, name, "why" if name == "unlisted" else True)
    assert state.evidence == replace(Evidence(), **{name: 1 if name == "unfound" else True})
    state.inventory.hollow, state.nothing_found = ("1.2.9",), True
    assert state.evidence.unfound == 0, "nothing at all was found, which is said once"
    state.inventory = None
    assert state.evidence.unfound == 0


@pytest.mark.parametrize("ours", [True, False])
def test_object_that_broke_off_when_we_cancelled_is_no_failure(*, ours: bool) -> None:
    state, one = RequestState(), Round()
    one.responses.append(response(0xFE00, completed=1))
    state.tally.broken_off = {"1"}
    state.note(evidence_of(one, expected=1, cut_off=0, cancelled=ours), one, 2)
    assert state.evidence.broken_off == (0 if ours else 1)
    assert state.evidence.cancelled == ours
    assert state.evidence.short == 1


def test_lost_association_stands_though_the_next_one_was_opened() -> None:
    state, one = RequestState(), Round()
    one.lost = True
    state.note(evidence_of(one, expected=0, cut_off=0, cancelled=False), one, 1)
    assert state.error is None
    assert state.evidence.lost


def continued(earlier: RequestState) -> RequestState:
    known, later = earlier_of(earlier), RequestState(remember=True)
    assert known is not None
    known.continue_as(later, "STUDY")
    return later


def test_retrieve_that_continues_has_all_that_stands_against_the_earlier_one() -> None:
    earlier = stated(response(0xB000, completed=1, failed=1, failed_uids=("9",)))
    earlier.statements = [Statement(Evidence(remaining=1), 5, 1, 1, frozenset())]
    earlier.missing = {"2"}
    earlier.tally.count(failed("7"))
    earlier.tally.broken_off = {"8"}
    later = continued(earlier)
    assert (later.needed, later.missing, later.failed_uids) == ({"2"}, {"2"}, {"9"})
    assert len(later.statements) == 2
    evidence = later.evidence
    assert (evidence.not_stored, evidence.broken_off, evidence.missing, evidence.remaining) == (1, 1, 1, 1)
    earlier.is_accounted_for = True
    assert len(continued(earlier).statements) == 1


def test_retrieve_that_continues_misses_the_series_that_were_listed_without_an_object() -> None:
    earlier = RequestState(remember=True)
    earlier.inventory, earlier.sizes = inventory("1"), ListSizes()
    series = Place("PAT", "1.2", "1.2.7")
    earlier.sizes.places = {"1.2": Place("PAT", "1.2", ""), "1.2.7": series}
    later = continued(earlier)
    assert later.sizes is not None
    assert later.sizes.places == earlier.sizes.places


def test_failed_objects_too_many_to_be_named_are_not_forgotten() -> None:
    unlisted, listed = frozenset(f"8.{n}" for n in range(1001)), frozenset(f"1.{n}" for n in range(1500))
    earlier = RequestState(remember=True)
    earlier.inventory = inventory(*listed)
    for named, accounted in ((unlisted, False), (listed | {"9"}, True)):
        earlier.statements = [Statement(Evidence(failed=1), 1, 1, 1, named)]
        earlier.failed_uids = set(named)
        later = continued(earlier)
        (said,) = later.statements
        assert len(said.named) == 1000
        assert "9" in said.named or not accounted
        assert said.is_accounted_for(dict.fromkeys((*said.named, *listed))) is accounted


def test_retrieve_that_continues_one_without_a_list_has_its_statement() -> None:
    earlier = RequestState(remember=True)
    earlier.identifier = inventory("1").scope.identifier
    assert earlier_of(earlier) is None
    earlier.statements = [Statement(Evidence(failed=3), 9, 0, 0, frozenset())]
    later = continued(earlier)
    assert later.inventory is None, "or nothing would be requested"
    assert later.evidence.failed == 3


def test_retrieve_that_continues_counts_failures_beyond_those_kept_by_name() -> None:
    earlier = RequestState(remember=True)
    earlier.inventory = inventory("1")
    for number in range(1005):
        earlier.tally.count(failed(f"1.{number}"))
    assert continued(earlier).evidence.not_stored == 1005


def test_retrieve_that_continues_misses_every_listed_object_that_was_not_stored() -> None:
    uids = [f"1.{number}" for number in range(2500)]
    earlier = RequestState(remember=True)
    earlier.inventory = inventory(*uids)
    earlier.missing = set(uids[:2000])
    for uid in uids[:2000]:
        earlier.tally.count(failed(uid))
    later = continued(earlier)
    assert later.missing == earlier.missing
    for uid in uids[:2000]:
        later.tally.count(stored(uid))
    later.missing.clear()
    assert is_complete(later), "a failure counts no more once the object is here"
    later.missing.add(uids[1999])
    assert not is_complete(later)


def test_combined_result_has_the_objects_and_the_failures_of_each_request() -> None:
    first, second = stated(response(completed=2)), RequestState(remember=True)
    first.tally.count(stored("1"))
    first.lost = {"1": "its file was cut"}
    second.inventory, second.missing, second.needed = inventory("3", "4"), {"4"}, {"4"}
    second.inventory.hollow = ("1.2.9",)
    second.tally.count(failed("4"))
    second.error, second.unlisted, second.unmet, second.extra = PeerError("gone"), "why", "which", {"5"}
    first.arrived, second.arrived, first.attempts, second.attempts = 1, 2, 1, 3
    result = joined([first, second], ())
    assert (result.stored, result.failed, result.arrived, result.attempts, result.already_there) == (1, 1, 3, 3, 1)
    assert result.failures == {"4": "", "1": "its file was cut"}
    assert (result.missing_uids, result.extra_uids, result.unfound) == (("1", "4"), ("5",), ("1.2.9",))
    assert (result.errors, result.unlisted, result.unmet, result.verified) == (("gone",), "why", "which", True)
    assert (result.service, result.rejected, result.broken_off) == ("C-MOVE", (), ())
    second.inventory, second.last.is_got, second.tally.broken_off = None, True, {"8", "6"}
    rejected = (RejectedClass("1.2.840.10008.5.1.4.1.1.2", (), known=False),)
    result = joined([first, second], rejected)
    assert (result.service, result.rejected, result.broken_off) == ("C-GET", rejected, ("6", "8"))
    assert not result.verified
    nothing = joined([], ())
    assert (nothing.attempts, nothing.unmet, nothing.unlisted) == (1, "", "")


def test_list_after_a_failure_without_one_before_accounts_for_all_that_was_counted() -> None:
    state, one = RequestState(remember=True), Round()
    assert (state.already_there, state.batch, state.in_vain, state.asked) == (0, BATCH, 0, False)
    one.responses.append(response(0xB000, completed=1, failed=1))
    state.note(evidence_of(one, expected=1, cut_off=0, cancelled=False), one, 0)
    listed(state, inventory("1", "2"), {"1", "2"})
    assert is_complete(state)
    listed(state, inventory("1"), {"1"})
    assert not is_complete(state)


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
