"""The requests of a retrieve by C-GET: rounds over several associations, and C-MOVE in its place, without sockets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from movescu._runtime.record import replace
from movescu.dictionary.uids import IMPLICIT_LITTLE, TRANSFER_SYNTAXES
from movescu.dimse.messages import CStoreRQ
from movescu.dimse.status import SUB_OPERATIONS_WITH_FAILURES, SUCCESS
from movescu.errors import AssociationAbortedError, ConnectionLostError
from movescu.query.identifier import make_identifier
from movescu.retrieve import sop_classes
from movescu.retrieve.config import AE, Config, Receive, Request, RetrieveBy
from movescu.retrieve.requests import Requests, accounting_for, merged
from movescu.retrieve.service_choice import ServiceChoice
from movescu.retrieve.storage_plan import MOST_ROUNDS, default_contexts, filled
from movescu.retrieve.tally import Round, Tally
from movescu.services.move import MoveResponse
from movescu.services.store import Received
from movescu.storage.incoming_object import Incoming
from movescu.ul.negotiation import Context

if TYPE_CHECKING:
    from collections.abc import Callable

    from movescu.query.identifier import Identifier
    from movescu.retrieve.association_request import StorageContext

CT = "1.2.840.10008.5.1.4.1.1.2"
NATIVE = Receive(None).transfer_syntaxes
RARE = default_contexts(Receive(None))[-1][0]
KEYS = make_identifier(["QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2"], model="STUDY")
MOVED = MoveResponse(9, SUCCESS, None, 7, 0, 0)
GOT = MoveResponse(1, SUCCESS, None, 0, 0, None, service="C-GET")


@dataclass
class Got:
    """What a C-GET brings: objects with our C-STORE status, and the final response, or the end of the association."""

    stored: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    response: MoveResponse | None = GOT
    answered: bool = True


def incoming(uid: str) -> Incoming:
    return Incoming(CStoreRQ(CT, 1, uid), Context(1, CT, IMPLICIT_LITTLE), "ARCHIVE")


@dataclass
class Association:
    """An association whose archive answers C-GET requests by ``gots``, one after the other, and C-MOVE by ``MOVED``."""

    config: Config
    gots: list[Got]
    on_request: Callable[[Association], None] = lambda _: None
    is_open: bool = False
    answered: bool = False
    cancelled: bool = False
    storage: tuple[StorageContext, ...] = ()
    proposed: list[tuple[StorageContext, ...]] = field(default_factory=list)
    moves: int = 0
    releases: int = 0

    def __post_init__(self) -> None:
        self.service = ServiceChoice(self.config)
        assert self.config.receive is not None
        self.storage = filled((), self.config.receive)
        self.one = Round(Tally(remember=True))
        self.wanted: list[set[str] | None] = []

    def open(self) -> None:
        """Propose the contexts."""
        self.is_open = True
        self.proposed.append(self.storage)

    def release(self) -> None:
        """End it."""
        assert self.is_open
        self.is_open = False
        self.releases += 1

    def move(self, _: object, __: object, note: Callable[[int], None]) -> MoveResponse:
        """Answer a C-MOVE."""
        assert self.is_open
        note(9)
        self.moves += 1
        return MOVED

    def get(self, _: object, scp_within: Callable[[Any], Any], __: object, note: Callable[[int], None]) -> MoveResponse:
        """Answer a C-GET."""
        assert self.is_open
        wanted: set[str] | None = scp_within(None)
        self.wanted.append(None if wanted is None else set(wanted))
        number = len(self.wanted)
        note(number)
        got = self.gots.pop(0)
        for status, uids in ((SUCCESS, got.stored), (0xA900, got.refused)):
            for uid in uids:
                if wanted is not None and uid not in wanted and self.one.has_seen(uid):
                    continue
                self.one.count(Received(incoming(uid), 10, status), is_own=True)
                if wanted is not None and status == SUCCESS:
                    wanted.discard(uid)
        self.answered = got.answered
        self.on_request(self)
        if got.response is None:
            self.is_open = False
            raise ConnectionLostError("the archive is gone")
        return replace(got.response, message_id=number)


class Server:
    """Stands in for the storage server."""

    def scp_of(self, _: Round, __: object, wanted: set[str] | None = None) -> set[str] | None:
        """Return what is wanted."""
        return wanted


def failed(*uids: str, completed: int = 0, status: int = SUB_OPERATIONS_WITH_FAILURES) -> MoveResponse:
    return replace(GOT, status=status, completed=completed, failed=len(uids), failed_sop_instance_uids=uids)


def run(
    *gots: Got,
    by: RetrieveBy = RetrieveBy.GET,
    classes: tuple[tuple[str, ...], bool] = ((CT, RARE), True),
    on_request: Callable[[Association], None] = lambda _: None,
    before: tuple[str, ...] = (),
    identifiers: tuple[Identifier, ...] = (KEYS,),
    **receive: Any,
) -> tuple[MoveResponse, Association]:
    config = Config(
        AE("127.0.0.1", 104, "ARCHIVE"),
        receive=Receive(11112 if by is RetrieveBy.AUTO else None, **receive),
        request=Request(model="STUDY"),
        retrieve_by=by,
    )
    association = Association(config, list(gots), on_request)
    for uid in before:
        association.one.count(Received(incoming(uid), 10, SUCCESS), is_own=True)

    def query(session: Association, *_: object) -> tuple[tuple[str, ...], bool]:
        assert session.is_open
        return classes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sop_classes, "sop_classes", query)
        requests = Requests(config, Server(), association)  # type: ignore[arg-type] # stand in
        *_, response = [requests.request(one, association.one, None) for one in identifiers]
    assert not association.gots
    return response, association


# -- C-MOVE in the place of C-GET --------------------------------------------------------------------------------------


def test_archive_that_serves_get_is_asked_once_and_not_moved_from() -> None:
    response, association = run(Got(("1", "2"), response=replace(GOT, completed=2)), by=RetrieveBy.AUTO)
    assert (response.completed, association.moves, association.one.is_got) == (2, 0, True)
    assert association.one.message_ids == {1}
    assert not association.service.may_fall_back, "it serves C-GET: a later failure is one"


def test_archive_that_serves_get_and_has_nothing_is_not_moved_from() -> None:
    response, association = run(Got(), by=RetrieveBy.AUTO)
    assert (response.status, association.moves) == (SUCCESS, 0)


@pytest.mark.parametrize("status", [0x0122, 0x0211])
def test_archive_without_get_is_moved_from(status: int) -> None:
    response, association = run(Got(response=replace(GOT, status=status)), by=RetrieveBy.AUTO)
    assert (response, association.moves, association.one.is_got) == (MOVED, 1, False)
    assert association.one.message_ids == {9}, "its objects are those of the C-MOVE"
    assert not association.service.gets


def test_archive_without_get_is_not_moved_from_where_that_is_not_wanted() -> None:
    response, association = run(Got(response=replace(GOT, status=0x0122)))
    assert (response.status, association.moves, association.one.is_got) == (0x0122, 0, True)
    assert not association.service.may_fall_back


def test_archive_that_has_sent_an_object_serves_get() -> None:
    response, association = run(Got(("1",), response=replace(GOT, status=0x0122)), by=RetrieveBy.AUTO)
    assert (response.status, association.moves) == (0x0122, 0)


def test_archive_that_ends_the_association_without_an_answer_is_moved_from() -> None:
    response, association = run(Got(response=None, answered=False), by=RetrieveBy.AUTO)
    assert (response, association.moves) == (MOVED, 1)
    assert len(association.proposed) == 2, "over another association"


@pytest.mark.parametrize("why", ["answered", "not wanted", "cancelled"])
def test_association_that_was_lost_in_a_get_is_lost(why: str) -> None:
    def on_request(association: Association) -> None:
        association.cancelled = why == "cancelled"

    by = RetrieveBy.GET if why == "not wanted" else RetrieveBy.AUTO
    with pytest.raises(ConnectionLostError):
        run(Got(response=None, answered=why == "answered"), by=by, on_request=on_request)


def test_other_error_of_a_get_is_no_reason_to_move() -> None:
    def on_request(_: Association) -> None:
        raise AssociationAbortedError("no", source=0, reason=0)

    response, _ = run(Got(answered=False), by=RetrieveBy.AUTO, on_request=on_request)
    assert response == MOVED


# -- rounds ------------------------------------------------------------------------------------------------------------


def test_object_without_a_context_is_stored_in_another_round() -> None:
    first = Got(("1", "2"), response=failed("3", completed=2))
    again = Got(("1", "2", "3"), response=replace(GOT, completed=3))
    response, association = run(first, again)
    assert (response.status, response.completed, response.failed) == (SUCCESS, 3, 0)
    assert association.wanted == [None, {"3"}]
    assert association.one.tally.stored == 3
    assert association.releases == 1
    earlier, later = association.proposed
    assert {uid for uid, _ in later} == {RARE}, "what was not proposed before, of the classes that are there"
    assert not set(earlier) & set(later)


def test_object_that_this_side_refused_is_not_asked_for_again() -> None:
    response, association = run(Got(("1",), ("2",), response=failed("2", completed=1)))
    assert (response.failed_sop_instance_uids, len(association.wanted)) == (("2",), 1)


def test_request_without_a_failure_has_one_round() -> None:
    _, association = run(Got(("1",), response=replace(GOT, completed=1)))
    assert len(association.wanted) == 1


@pytest.mark.parametrize("said", [failed("1"), replace(GOT, status=0xC000)])
def test_cancelled_request_has_one_round(said: MoveResponse) -> None:
    def on_request(association: Association) -> None:
        association.cancelled = True

    response, association = run(Got(response=said), on_request=on_request)
    assert (response, len(association.wanted)) == (said, 1)


def test_request_that_is_cancelled_between_two_rounds_has_no_third() -> None:
    def on_request(association: Association) -> None:
        association.cancelled = len(association.wanted) == 2

    response, association = run(
        *(Got(response=failed("1")), Got(response=failed("1"))),
        classes=((), False),
        on_request=on_request,
        transfer_syntaxes=tuple(TRANSFER_SYNTAXES.values()),
    )
    assert (response.failed_sop_instance_uids, len(association.wanted)) == (("1",), 2)


def test_object_that_failed_is_stored_or_failed_whatever_a_later_round_says() -> None:
    response, _ = run(Got(response=failed("1")), Got())
    assert (response.status, response.failed_sop_instance_uids) == (SUB_OPERATIONS_WITH_FAILURES, ("1",))


def test_object_that_only_a_later_round_names_is_wanted_in_the_next() -> None:
    gots = (Got(response=failed("1")), Got(response=failed("2")), Got(("1", "2")))
    every = tuple(TRANSFER_SYNTAXES.values())
    response, association = run(*gots, classes=((), False), transfer_syntaxes=every)
    assert association.wanted == [None, {"1"}, {"1", "2"}]
    assert (response.status, response.failed_sop_instance_uids) == (SUCCESS, ())


def test_rounds_end_when_every_context_was_tried() -> None:
    def on_request(association: Association) -> None:
        association.gots[:0] = [Got(response=failed("1"))]

    every = tuple(TRANSFER_SYNTAXES.values())
    association: Association | None = None

    def keep(one: Association) -> None:
        nonlocal association
        association = one
        on_request(one)

    with pytest.raises(AssertionError):  # an answer is left
        run(Got(response=failed("1")), classes=((), False), on_request=keep, transfer_syntaxes=every)
    assert association is not None
    tried = [context for contexts in association.proposed for context in contexts]
    assert len(tried) == len(set(tried))
    assert len(association.wanted) == MOST_ROUNDS


def test_object_that_only_a_later_round_names_is_missing_unless_it_arrived() -> None:
    first = Got(("1",), response=failed("2", completed=1))
    response, _ = run(first, Got(("2",), response=failed("1", "4", completed=1)))
    assert (response.status, response.failed_sop_instance_uids) == (SUB_OPERATIONS_WITH_FAILURES, ("4",))
    assert response.completed == 2


def test_refusal_of_a_whole_request_is_repeated_with_the_contexts_of_its_classes() -> None:
    first = Got(response=replace(GOT, status=0xC000, completed=None, failed=None))
    response, association = run(first, Got(("1",), response=replace(GOT, completed=1)))
    assert (response.status, response.completed, response.failed or 0) == (SUCCESS, 1, 0)
    assert association.wanted == [None, None]
    assert {uid for uid, _ in association.proposed[1]} >= {CT, RARE}


def test_refusal_of_a_whole_request_stays_if_all_contexts_were_proposed() -> None:
    first = Got(response=replace(GOT, status=0xC000, completed=None, failed=None))
    response, association = run(first, classes=((CT,), True))
    assert (response.status, len(association.wanted)) == (0xC000, 1)


@pytest.mark.parametrize(
    ("again", "completed", "lost"), [("1", 1, 2), ("123", 3, 0), ("123", None, 0), ("1", None, 2), ("", 0, 3)]
)
@pytest.mark.parametrize("before", [(), ("8", "9")])
def test_objects_that_arrived_before_a_whole_request_was_refused_are_accounted_for(
    before: tuple[str, ...], again: str, completed: int | None, lost: int
) -> None:
    first = Got(("1", "2", "3"), response=replace(GOT, status=0xC000, completed=None, failed=None))
    response, _ = run(first, Got(tuple(again), response=replace(GOT, completed=completed)), before=before)
    assert (response.status, response.failed or 0) == (SUB_OPERATIONS_WITH_FAILURES if lost else SUCCESS, lost)


def test_status_that_is_no_failure_of_a_context_is_final() -> None:
    response, association = run(Got(response=replace(GOT, status=0xA801, completed=None, failed=None)))
    assert (response.status, len(association.wanted)) == (0xA801, 1)


@pytest.mark.parametrize(
    ("receive", "queried"),
    [
        ({}, False),
        ({"transfer_syntaxes": tuple(TRANSFER_SYNTAXES.values())}, True),
        ({"transfer_syntaxes": (*NATIVE, TRANSFER_SYNTAXES["1.2.840.10008.1.2.4.50"])}, True),  # JPEG
        ({"transfer_syntaxes": (*NATIVE, TRANSFER_SYNTAXES["1.2.840.10008.1.2.1.99"])}, True),  # deflated
        ({"accept_unknown": True}, True),
    ],
)
def test_classes_are_queried_first_where_there_are_more_contexts_than_room(
    receive: dict[str, Any], *, queried: bool
) -> None:
    _, association = run(Got(("1",), response=replace(GOT, completed=1)), **receive)
    assert ([uid for uid, _ in association.proposed[-1][:2]] == [CT, RARE]) is queried


def test_request_that_is_repeated_begins_with_the_contexts_of_its_classes_and_another_with_all() -> None:
    gots = [Got(("1",), response=failed("2", completed=1)), Got(("2",)), Got(), Got()]
    other = make_identifier(["QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.3"], model="STUDY")
    _, association = run(*gots, identifiers=(KEYS, KEYS, other))
    assert [uid for uid, _ in association.proposed[2][:2]] == [CT, RARE]
    _, association = run(*gots[:3], identifiers=(KEYS, other))
    assert association.proposed[2] == filled((), Receive(None))


# -- the sums of two rounds --------------------------------------------------------------------------------------------


def test_sum_of_two_rounds_has_the_counts_of_both() -> None:
    first = replace(failed("1", "2", completed=5), pending_completed=5, pending_failed=2)
    found = merged(first, {"1"}, GOT, frozenset({"7"}))
    assert (found.completed, found.failed, found.failed_sop_instance_uids) == (6, 2, ("2", "7"))
    assert (found.pending_completed, found.pending_failed) == (6, 2)
    found = merged(replace(GOT, completed=2), frozenset(), GOT, frozenset({"7"}))
    assert (found.status, found.failed) == (SUB_OPERATIONS_WITH_FAILURES, 1), "a success that left one out"
    first = replace(failed("1", status=SUCCESS), pending_failed=1)
    found = merged(first, frozenset(), GOT)
    assert (found.status, found.failed, found.pending_failed) == (SUCCESS, 1, 1)
    assert merged(first, {"1"}, GOT).pending_failed == 0
    uncounted = replace(GOT, status=0xC001, completed=None, remaining=4)
    found = merged(uncounted, {"1"}, replace(GOT, message_id=8), frozenset({"7"}))
    assert (found.status, found.completed, found.remaining, found.message_id) == (0xC001, 1, 4, 8)
    found = merged(uncounted, frozenset(), replace(GOT, status=0xFE00, remaining=3))
    assert (found.status, found.remaining) == (0xFE00, 3)


@pytest.mark.parametrize(
    ("completed", "failures", "status", "count"), [(1, 2, 0xB000, 2), (1, 1, 0xB000, 2), (2, 0, 0xB000, 1)]
)
def test_failures_of_a_repetition_are_those_that_it_counts_and_those_that_it_forgets(
    completed: int, failures: int, status: int, count: int
) -> None:
    later = replace(GOT, status=0xB000 if failures else SUCCESS, completed=completed, failed=failures)
    found = accounting_for(failed("1", "2", "3"), later, before=0, again=0)
    assert (found.status, found.failed) == (status, count)


def test_status_of_a_repetition_that_failed_stays() -> None:
    later = replace(GOT, status=0xA702, completed=0)
    found = accounting_for(failed("1", "2"), later, before=0, again=0)
    assert (found.status, found.failed) == (0xA702, 2)
