from __future__ import annotations

from contextlib import nullcontext
from errno import ENOSPC

import pytest

from movescu._runtime.record import replace
from movescu.dictionary.uids import EXPLICIT_LITTLE
from movescu.dimse.messages import CStoreRQ
from movescu.dimse.status import PENDING, SUCCESS
from movescu.errors import DataSetError, StoreError
from movescu.query.identifier import Identifier
from movescu.query.key import Key
from movescu.query.levels import LEVEL, UNIQUE_KEYS
from movescu.retrieve.belonging import Belonging, PlaceReader
from movescu.retrieve.config import AE, Config
from movescu.retrieve.request_state import RequestState
from movescu.retrieve.storage_server import StorageServer
from movescu.retrieve.tally import Round, Tally, counted_of, delivered_of, evidence_of, failed_of, found_nothing
from movescu.services.move import MoveResponse
from movescu.services.store import Received
from movescu.storage.incoming_object import Incoming
from movescu.ul.negotiation import Context

CT = "1.2.840.10008.5.1.4.1.1.2"


def incoming(uid: str, originator: str | None = None, number: int | None = None) -> Incoming:
    request = CStoreRQ(CT, 1, uid, move_originator_ae_title=originator, move_originator_message_id=number)
    return Incoming(request, Context(1, CT, EXPLICIT_LITTLE), "SENDER")


def stored(uid: str, originator: str | None = None, number: int | None = None) -> Received:
    return Received(incoming(uid, originator, number), 10, SUCCESS)


def test_object_that_failed_and_came_again_is_no_failure() -> None:
    tally = Tally()
    tally.count(Received(incoming("1.1"), 10, 0xA700))
    tally.count(Received(incoming("1.1"), 10, 0xA700))
    tally.count(Received(incoming("1.2"), 10, 0xC000))
    assert (tally.stored, tally.failed, tally.arrived) == (0, 2, 2)
    tally.count(Received(incoming("1.1"), 10, 0))
    assert (tally.stored, tally.failed, tally.arrived) == (1, 1, 2)
    assert list(tally.failures) == ["1.2"]


def test_what_broke_off_and_came_again_is_whole() -> None:
    tally = Tally()
    tally.count_broken_off(incoming("1.1"))
    tally.count_broken_off(incoming("1.2"))
    tally.count(Received(incoming("1.1"), 10, 0))
    assert tally.broken_off == {"1.2"}


def test_flood_of_failures_does_not_fill_the_memory() -> None:
    tally = Tally()
    for number in range(3000):
        tally.count(Received(incoming(f"1.{number}"), 10, 0xA700))
        tally.count_broken_off(incoming(f"2.{number}"))
    assert tally.failed == 3000
    assert len(tally.failures) == len(tally.broken_off) == 1000


def test_failure_beyond_those_kept_by_name_is_none_once_the_object_is_stored() -> None:
    tally = Tally(remember=True)
    uids = [f"1.{number}" for number in range(1002)]
    for uid in uids:
        tally.count(Received(incoming(uid), 10, 0xA700))
    for uid in (*uids, uids[-1]):
        tally.count(stored(uid))
    assert (tally.failed, tally.stored, tally.size, tally.arrived) == (0, 1002, 10020, 1003)


@pytest.mark.parametrize("remember", [True, False])
def test_size_is_that_of_the_stored_objects(*, remember: bool) -> None:
    tally = Tally(remember=remember)
    for uid in ("1.1", "1.2"):
        tally.count(stored(uid))
    tally.count(Received(incoming("1.3"), 10, 0xA700))
    assert tally.size == 20


def test_full_disk_is_told_from_other_failures_and_the_words_are_kept() -> None:
    other, full = StoreError("no permission"), StoreError("no space left")
    full.__cause__ = OSError(ENOSPC, "No space left on device")
    tally, both = Tally(), Tally()
    assert not tally.no_space
    for uid, error in (("1.0", None), ("1.1", DataSetError("no data set")), ("1.2", other)):
        tally.count(Received(incoming(uid), 10, 0xC000, error))
        assert not tally.no_space
    tally.count(Received(incoming("1.3"), 10, 0xA700, full))
    tally.count(Received(incoming("1.4"), 10, 0xC000, other))
    assert tally.no_space
    assert [one.error for one in tally.failures.values()] == ["", "no data set", *map(str, (other, full, other))]
    both.add(Tally())
    assert not both.no_space
    both.add(tally)
    both.add(Tally())
    assert both.no_space


def test_uids_are_remembered_only_where_that_is_wanted() -> None:
    assert (Tally().uids, Tally(remember=True).uids) == (None, set()), "they take memory"
    assert (RequestState().tally.uids, RequestState(remember=True).tally.uids) == (None, set())


def test_round_knows_whether_an_object_arrived_whatever_became_of_it() -> None:
    one = Round()
    one.count(stored("1.1"))
    one.count(Received(incoming("1.2"), 10, 0xA700))
    assert [one.has_seen(uid) for uid in ("1.1", "1.2", "1.3")] == [True, True, False]


def test_round_begins_with_nothing_and_keeps_what_it_is_for() -> None:
    observer, target = object(), object()
    one = Round(row=7, observer=observer, target=target)  # type: ignore[arg-type] # of no use here
    assert (one.row, one.observer, one.target) == (7, observer, target)
    assert (one.lost, one.cancel_sent, one.is_got, one.touched, one.arrived) == (False, False, False, 0.0, 0)


def test_tallies_of_several_requests_add_up() -> None:
    first, second, both = Tally(remember=True), Tally(), Tally()
    for uid in ("1.1", "1.1", "1.2"):
        first.count(stored(uid))
    second.count(Received(incoming("1.3"), 5, 0xA700))
    second.count_broken_off(incoming("1.4"))
    for one in (first, second):
        both.add(one)
    assert (both.stored, both.failed, both.size, both.arrived) == (2, 1, 20, 4)
    assert (list(both.failures), both.broken_off) == (["1.3"], {"1.4"})


class Receiver:
    """Keeps what happens to an object."""

    def __init__(self) -> None:
        self.data = b""
        self.calls: list[str] = []

    def write(self, *fragments: memoryview) -> None:
        self.data += b"".join(fragments)

    def finish(self) -> None:
        self.calls.append("finish")

    def discard(self) -> None:
        self.calls.append("discard")


@pytest.mark.parametrize("requested", [True, False])
def test_study_and_series_of_an_object_are_read_on_its_way_and_may_refuse_it(*, requested: bool) -> None:
    def check(one: Incoming) -> None:
        assert not receiver.calls
        assert one.place == {"1.2", "1.3"}
        if not requested:
            raise StoreError("not requested")

    keys = [Key(tag, b"UI", uid) for tag, uid in zip(UNIQUE_KEYS.values(), (b"", b"1.2", b"1.3", b"1.4"), strict=True)]
    data, receiver, one = Identifier(keys).encode(EXPLICIT_LITTLE), Receiver(), incoming("1.4")
    reader = PlaceReader(one, receiver, check)
    reader.write(memoryview(data[:20]), memoryview(data[20:30]))
    reader.write(memoryview(data[30:]))
    with nullcontext() if requested else pytest.raises(StoreError):
        reader.finish()
    reader.discard()
    assert receiver.data == data
    assert receiver.calls == (["finish", "discard"] if requested else ["discard"])


def test_object_counts_once_for_a_request_and_twice_for_two() -> None:
    one = Round()
    one.message_ids.add(1)
    one.belonging.add(request(STUDY="1"))
    for uid in ("1.1", "1.1", "1.2"):
        one.count(stored(uid))
    assert one.arrived == 2
    one.message_ids.add(2)
    one.belonging.add(request(SERIES="1.9"))
    for uid in ("1.1", "1.1", "1.1", "1.2"):
        one.count(stored(uid))
    assert one.arrived == 4


def test_object_that_is_sent_again_for_the_same_request_or_one_of_another_study_makes_up_for_nothing() -> None:
    one = Round()
    one.message_ids |= {1, 2}
    for study in ("1", "2"):
        one.belonging.add(request(STUDY=study))
    one.count(stored("1.1", "US", 1))
    one.count(stored("1.1", "US", 1))
    assert one.arrived == 1
    one.count(stored("1.1", "US", 2))
    assert one.arrived == 2
    for _ in range(2):
        again = stored("1.2", "US", 7)
        again.incoming.place = frozenset(("1",))
        assert one.depends_on_place(again.incoming)
        one.count(again)
    assert one.arrived == 3


def test_object_that_somebody_else_asked_for_is_stored_and_does_not_count() -> None:
    one = Round(belonging=Belonging(frozenset(("US", "ARCHIVE"))))
    one.count(stored("1.0", "SENDER"))  # an archive that names itself
    for uid, originator in (("1.1", "US"), ("1.2", "ARCHIVE "), ("1.3", None), ("1.4", " "), ("1.5", "SOMEBODY")):
        one.count(stored(uid, originator))
    assert (one.arrived, one.tally.stored) == (5, 6)


def request(**keys: str) -> Identifier:
    return Identifier(Key(UNIQUE_KEYS[level], b"UI", value.encode()) for level, value in keys.items())


@pytest.mark.parametrize(
    ("requests", "place", "counts"),
    [
        ([request(STUDY="1.1")], {"1.1", "1.1.1"}, True),
        ([request(STUDY="1.1")], {"1.2", "1.2.1"}, False),
        ([request(STUDY="1.1", SERIES="1.1.1")], {"1.1", "1.1.2"}, False),
        ([request(STUDY="1.1", SERIES="1.1.1\\1.1.2")], {"1.1", "1.1.2"}, True),
        ([request(STUDY="1.1"), request(STUDY="1.2")], {"1.2", "1.2.1"}, True),
        ([request(STUDY="1.1"), request(PATIENT="7")], {"1.2", "1.2.1"}, True),
        ([request(PATIENT="7"), request(STUDY="1.1")], {"1.2", "1.2.1"}, True),
        ([request(STUDY="1.*")], {"1.2", "1.2.1"}, True),
        ([request(STUDY="1.1\\ 1.2 ")], {"1.2", "1.2.1"}, True),
        ([request(STUDY="1.1", SERIES="1.1.*")], {"1.2", "1.2.1"}, False),
        ([request(STUDY="1.1", SERIES="1.1.1", IMAGE="1.1.1.1")], {"1.1", "1.1.1"}, True),
        ([request(STUDY="1.1", SERIES="1.1.1", IMAGE="1.1.1.2")], {"1.1", "1.1.1"}, False),
        ([request(STUDY="1.1", SERIES="1.1.1", IMAGE="1.1.1.2")], set(), False),
        ([request(IMAGE="1.1.1.2"), request(STUDY="1.1")], {"1.1", "1.1.1"}, True),
        ([Identifier((*request(STUDY="1.1", SERIES="1.1.1"), Key(LEVEL, b"CS", b"STUDY ")))], {"1.1", "1.1.2"}, True),
        ([request(STUDY="1.1")], set(), True),
        ([], {"1.1", "1.1.1"}, True),
    ],
)
def test_object_without_a_move_originator_counts_if_it_or_its_series_or_study_was_requested(
    requests: list[Identifier], place: set[str], *, counts: bool
) -> None:
    belonging = Belonging(frozenset(("US",)))
    for one in requests:
        belonging.add(one)
    object_ = incoming("1.1.1.1")
    object_.place = frozenset(place)
    assert belonging.has(object_) == counts
    assert belonging.has(object_, is_own=True) == counts
    assert belonging.depends_on_place(object_) == any(
        one.text(UNIQUE_KEYS["STUDY"]) not in ("", "1.*") and not one.text(UNIQUE_KEYS["IMAGE"]) for one in requests
    )
    named = incoming("1.1.1.1", "US")
    named.place = object_.place
    assert belonging.has(named)


def test_pattern_in_a_request_names_no_study() -> None:
    for pattern in ("1.*", "1.?", "1.1\\1.*"):
        belonging = Belonging()
        belonging.add(request(STUDY=pattern))
        assert not belonging.is_placed
        assert not belonging.depends_on_place(incoming("1.1"))


def test_requests_are_placed_if_each_of_them_names_studies_or_series() -> None:
    belonging = Belonging()
    assert not belonging.is_placed
    belonging.add(request(STUDY="1.1"))
    assert belonging.is_placed
    belonging.add(request(PATIENT="7"))
    assert not belonging.is_placed
    assert belonging.depends_on_place(incoming("1.1"))
    assert not belonging.depends_on_place(incoming("1.1", "US"))


def test_object_of_another_request_of_ours_counts_over_our_own_association_only_by_its_place() -> None:
    belonging = Belonging(frozenset(("US",)))
    belonging.add(request(STUDY="1.1"))
    stranger = incoming("1.1", "SOMEBODY")
    stranger.place = frozenset(("1.1",))
    assert not belonging.has(stranger)
    assert belonging.has(stranger, is_own=True)
    one = Round(belonging=belonging)
    one.count(Received(stranger, 10, SUCCESS), is_own=True)
    assert one.arrived == 1


def test_place_decides_if_several_requests_run_and_the_sender_names_none_of_them() -> None:
    one = Round()
    assert not one.depends_on_place(incoming("1.1", "US"))
    one.message_ids.add(1)
    assert not one.depends_on_place(incoming("1.1", "US", 7)), "there is one request alone"
    one.message_ids.add(2)
    assert one.depends_on_place(incoming("1.1", "US", 7))
    assert one.depends_on_place(incoming("1.1", "US"))
    assert not one.depends_on_place(incoming("1.1", "US", 2))
    one.belonging.add(request(STUDY="1.1"))
    alone = Round()
    alone.belonging.add(request(STUDY="1.1"))
    assert alone.depends_on_place(incoming("1.1"))
    assert one.depends_on_place(incoming("1.1")), "it has no Move Originator"


def test_round_notes_what_nobody_wanted_and_feeds_the_tally_of_all_attempts() -> None:
    total = Tally()
    one = Round(wanted={"1.1"}, total=total)
    one.count(stored("1.1"))
    one.count(stored("1.2"))
    one.count_broken_off(incoming("1.3"))
    assert (one.extra, total.stored, total.broken_off, one.tally.broken_off) == ({"1.2"}, 2, {"1.3"}, {"1.3"})
    assert one.touched > 0


def response(status: int = SUCCESS, *, completed: int | None = 0, **more: int) -> MoveResponse:
    made = MoveResponse(1, status, more.get("remaining"), completed, more.get("failed", 0), more.get("warning", 0))
    names = ("pending_completed", "pending_failed", "pending_total")
    fields = {name: more[name] for name in names if name in more}
    return replace(made, **fields)


@pytest.mark.parametrize(
    ("said", "nothing"),
    [
        (response(), True),
        (response(completed=None), True),
        (response(0xB000), False),
        (response(completed=1), False),
        (response(warning=1), False),
        (response(failed=1), False),
        (response(pending_completed=1), False),
    ],
)
def test_nothing_was_found_if_a_success_counts_nothing(said: MoveResponse, *, nothing: bool) -> None:
    assert found_nothing([said], Tally()) == nothing
    assert not found_nothing([said, response(0xC000)], Tally())
    assert found_nothing([said, response()], Tally()) == nothing


def test_something_was_found_if_an_object_arrived_or_broke_off() -> None:
    arrived, broken = Tally(), Tally()
    arrived.count(stored("1.1"))
    broken.count_broken_off(incoming("1.1"))
    assert not found_nothing([response()], arrived)
    assert not found_nothing([response()], broken)


def test_highest_counts_of_pending_responses_are_evidence() -> None:
    assert delivered_of(response(completed=2, warning=1)) == 3
    assert delivered_of(response(completed=None, pending_completed=4)) == 4
    assert failed_of(response(failed=1, pending_failed=2)) == 2
    assert failed_of(replace(response(), failed_sop_instance_uids=("1", "2", "3"))) == 3
    assert failed_of(replace(response(), has_unread_list=True)) == 1
    silent = replace(response(completed=None), failed=None, warning=None)
    assert (delivered_of(silent), failed_of(silent), counted_of(silent)) == (0, 0, 0)
    assert counted_of(response(completed=2, failed=1, warning=1, remaining=3)) == 7
    assert counted_of(response(completed=2, pending_total=9)) == 9
    assert counted_of(response(PENDING, completed=2, remaining=3)) == 2, "pending ones may count it wrongly"


@pytest.mark.parametrize(
    ("said", "arrived", "remaining"),
    [
        ([response(completed=2, remaining=1)], 2, 1),
        ([response(completed=2, remaining=1), response(completed=1, remaining=2)], 3, 3),
        ([response(completed=2, pending_total=5)], 2, 3),
        ([response(completed=2, pending_total=5)], 4, 1),
        ([response(completed=4, pending_total=5)], 2, 1),
        ([response(completed=2, failed=1, pending_total=5)], 2, 2),
        ([response(completed=2, remaining=1, pending_total=5)], 2, 3),
        ([response(completed=2, pending_total=5)], 6, 0),
        ([response(completed=7, pending_total=5)], 0, 0),
        ([response(completed=3), response(completed=1, pending_total=4)], 3, 1),
        ([response(completed=3), response(completed=1, pending_total=4)], 0, 3),
        ([response(completed=None)], 0, 0),
    ],
)
def test_what_only_pending_responses_count_remains_unless_its_objects_arrived(
    said: list[MoveResponse], arrived: int, remaining: int
) -> None:
    one = Round()
    one.responses += said
    one.arrived = arrived
    assert evidence_of(one, expected=0, cut_off=0, cancelled=False).remaining == remaining


def test_evidence_has_what_did_not_arrive_or_was_not_stored_and_the_loss() -> None:
    one = Round()
    one.lost = True
    one.count(stored("1.1"))
    one.count(Received(incoming("1.2"), 10, 0xA700))
    said = evidence_of(one, expected=5, cut_off=0, cancelled=True)
    assert (said.short, said.not_stored, said.lost, said.cancelled) == (3, 1, True, False)
    one.lost = False
    assert not evidence_of(one, expected=5, cut_off=0, cancelled=True).lost
    assert evidence_of(one, expected=1, cut_off=0, cancelled=False).short == 0


def test_cancel_that_came_too_late_was_not_obeyed() -> None:
    one = Round()
    one.responses.append(response(remaining=2))
    late = evidence_of(one, expected=0, cut_off=0, cancelled=True)
    assert (late.cancelled, late.remaining) == (False, 2)
    one.responses.append(response(0xFE00, remaining=1))
    assert evidence_of(one, expected=0, cut_off=0, cancelled=True).cancelled


def test_statement_that_was_never_finished_counts_too() -> None:
    one = Round()
    one.unfinished = response(PENDING, completed=2, failed=3, remaining=4)
    assert evidence_of(one, expected=0, cut_off=0, cancelled=False).failed == 3


def test_flood_of_unwanted_objects_does_not_fill_the_memory() -> None:
    one = Round(wanted=set())
    for number in range(1001):
        one.count(stored(f"1.{number}"))
    assert len(one.extra) == 1000


@pytest.mark.parametrize("status", [0xFE00, 0xB000])
def test_end_that_we_asked_for_is_a_cancel(status: int) -> None:
    one = Round()
    one.responses.append(response(status, completed=1, remaining=3))
    one.count_broken_off(incoming("1.1"))
    obeyed = evidence_of(one, expected=1, cut_off=2, cancelled=True)
    assert (obeyed.statuses, obeyed.cancelled, obeyed.remaining, obeyed.broken_off) == ((0xFE00,), True, 0, 0)
    unasked = evidence_of(one, expected=1, cut_off=2, cancelled=False)
    assert (unasked.statuses, unasked.cancelled, unasked.remaining, unasked.broken_off) == ((status,), False, 3, 1)
    assert (unasked.short, unasked.cut_off) == (1, 2)


@pytest.mark.parametrize("cancelled", [True, False])
def test_request_that_the_archive_cancelled_unasked_is_stopped(*, cancelled: bool) -> None:
    one = Round()
    one.responses += [response(), response(0xFE00, remaining=3)]
    one.uncancelled |= {0, 1}
    said = evidence_of(one, expected=0, cut_off=0, cancelled=cancelled)
    assert (said.stopped, said.cancelled, said.remaining) == (True, False, 3)


def test_late_object_of_an_ended_entry_is_not_counted_for_the_one_that_still_runs() -> None:
    server = StorageServer(Config(AE("127.0.0.1", 104)))
    first, second = Round(row=1, wanted={"1.1", "1.2"}), Round(row=2, wanted={"2.1"})
    for one in (first, second):
        server.end(Round(), then=one)
    server.end(first)
    assert server.round_of(incoming("1.2")) is None
    assert server.round_of(incoming("2.1")) is second
    assert server.round_of(incoming("3.1")) is second, "an object that nobody listed is one too many of the running one"
