"""The attempt loop: when there is another attempt, after which pause, for what, and what the observer is told.

The archive (``liar``) has no sockets, and pauses take no time: the clock is set by the test.
"""

from __future__ import annotations

import logging
import random
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import liar
import pytest
from liar import Answer, Delivery, objects

from movescu._runtime.record import replace
from movescu.dimse.status import CANCEL, DATA_SET_DOES_NOT_MATCH, MOVE_DESTINATION_UNKNOWN, UNABLE_TO_PROCESS
from movescu.errors import (
    AssociationRejectedError,
    ConnectError,
    ConnectionLostError,
    NoPresentationContextError,
    PeerError,
    UsageError,
)
from movescu.query.identifier import make_identifier
from movescu.query.levels import LEVEL, UNIQUE_KEYS
from movescu.query.selection import Selection
from movescu.retrieve import attempts as module
from movescu.retrieve import stragglers
from movescu.retrieve.attempts import LONGEST_PAUSE
from movescu.retrieve.config import BATCH, Request, Retry, Timeouts
from movescu.retrieve.earlier_request import earlier_of
from movescu.retrieve.judgement import Outcome, judge
from movescu.retrieve.observer import Observer
from movescu.services.move import MoveResponse
from movescu.services.store import Received

if TYPE_CHECKING:
    from collections.abc import Callable

    from liar import Archive

    from movescu.retrieve.attempts import AttemptLoop
    from movescu.retrieve.request_state import RequestState
    from movescu.retrieve.tally import Round

STUDY = make_identifier(["QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3"])
BOTH = make_identifier(["QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3\\1.2.4"])
FILTERED = make_identifier(["QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3", "AccessionNumber=A1"])
IMAGES = make_identifier(
    [
        *("QueryRetrieveLevel=IMAGE", "StudyInstanceUID=1.2.3", "SeriesInstanceUID=1.2.3.1"),
        "SOPInstanceUID=1.2.3.1.1\\1.2.3.1.2",
    ]
)
IMAGE = UNIQUE_KEYS["IMAGE"]


class Clock:
    """The clock of the loop; ``pauses``: in seconds."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.pauses: list[float] = []
        self.on_pause: Callable[[], object] = lambda: None
        self.on_wait: Callable[[], object] = lambda: None

    def now(self) -> float:
        return self.time

    def Event(self) -> Pause:  # noqa: N802 - as of the module it stands in for
        return Pause(self)

    def notify_all(self) -> None:
        """As a condition, nobody waits for it."""

    def acquire(self) -> None: ...
    def release(self) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...

    def wait(self, seconds: float) -> None:
        self.time += seconds
        self.on_wait()


class Pause(threading.Event):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self._clock.pauses.append(timeout)
        self._clock.on_pause()
        if not self.is_set():
            self._clock.time += timeout
        return self.is_set()


class Noted(Observer):
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def listed(self, objects: int, missing: int, row: int | None) -> None:
        self.told.append(("listed", objects, missing, row))

    def received(self, received: Received, row: int | None) -> None:
        self.told.append(("received", row))

    def requested(self, row: int | None) -> None:
        self.told.append(("requested", row))

    def response(self, response: MoveResponse, seconds: float, row: int | None) -> None:
        self.told.append(("response", response.status, seconds, row))

    def retry(self, attempt: int, objects: int | None, pause: float, reason: str, row: int | None) -> None:
        self.told.append(("retry", attempt, objects, pause, reason, row))


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "clock", clock)
    monkeypatch.setattr(stragglers, "clock", clock)
    return clock


def retries(number: int = 2, **settings: Any) -> Retry:
    return Retry(retries=number, pause=settings.pop("pause", 10.0), **settings)


def fails(status: int, failed: int = 0) -> Callable[[Delivery], Delivery]:
    """Return what has an archive send nothing and answer with a status."""

    def move(said: Delivery) -> Delivery:
        assert said.final is not None
        said.delivered, said.final = [], replace(said.final, status=status, completed=0, failed=failed)
        return said

    return move


def outcome(state: RequestState) -> Outcome:
    return judge(state.evidence).outcome


def asked(archive: Archive) -> list[tuple[str, int]]:
    """Return level and number of UIDs of each request."""
    levels = [request.text(LEVEL) for request in archive.requests]
    texts = [request.text(UNIQUE_KEYS[level]) for level, request in zip(levels, archive.requests, strict=True)]
    return [(level, len(text.split("\\"))) for level, text in zip(levels, texts, strict=True)]


def reasons(noted: Noted) -> list[str]:
    return [one[4] for one in noted.told if one[0] == "retry"]


# -- another attempt, or none ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "again"),
    [
        *((status, False) for status in (0xA801, 0xA900, 0x0122, 0x0124, 0x0211, CANCEL)),
        *((status, True) for status in (0xA700, 0xA701, 0xA702, 0xC000, 0xB000, 0x0213, 0x0110)),
    ],
)
def test_request_that_failed_is_repeated_unless_it_would_fail_again(clock: Clock, status: int, *, again: bool) -> None:
    archive = liar.Archive(objects(2), move=fails(status))
    state = archive.loop(retries(2)).run(STUDY)
    assert (state.attempts, len(clock.pauses)) == ((3, 2) if again else (1, 0))
    assert outcome(state) is not Outcome.COMPLETE


def test_request_is_not_repeated_unless_that_is_wanted(clock: Clock) -> None:
    archive = liar.Archive(objects(2), move=fails(0xA700))
    assert archive.loop(Retry(verify=True)).run(STUDY).attempts == 1
    assert archive.loop(Retry()).run(BOTH).attempts == 1
    assert clock.pauses == []
    archive = liar.Archive(objects(2))
    assert archive.loop(retries()).run(STUDY).attempts == 1, "complete"
    assert archive.history == [one for one in archive.history if isinstance(one, Delivery)], "nothing was queried"


@pytest.mark.parametrize(("factor", "first"), [(0.5, 5.0), (1.0, 10.0)])
def test_pause_doubles_up_to_a_minute_and_is_randomized(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, factor: float, first: float
) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: {0.5: low, 1.0: high}[factor])
    liar.Archive(objects(2), move=fails(0xA700)).loop(retries(5)).run(STUDY)
    assert clock.pauses == [first, 2 * first, 4 * first, LONGEST_PAUSE * factor, LONGEST_PAUSE * factor]
    assert LONGEST_PAUSE == 60


def test_archive_that_sends_one_object_for_each_request_sends_all_in_the_end(clock: Clock) -> None:
    def move(said: Delivery) -> Delivery:
        wanting = [one for one in said.requested if one.uid not in archive.stored]
        failed = len(wanting) - 1
        said.delivered, said.final = wanting[:1], MoveResponse(1, 0xB000 if failed else 0, None, 1, failed, 0)
        return said

    archive = liar.Archive(objects(4), move=move)
    state = archive.loop(retries(1)).run(STUDY)
    assert (outcome(state), state.attempts) == (Outcome.COMPLETE, 4)
    assert max(clock.pauses) <= 10, "no pause grows while objects arrive"


def test_objects_that_nobody_requested_are_no_progress() -> None:
    def move(said: Delivery) -> Delivery:
        said = fails(0xB000, failed=2)(said)
        said.delivered = [liar.Object("9.9", "9.9.9", f"9.9.9.{len(archive.requests)}")]
        return said

    archive = liar.Archive(objects(2), move=move)
    state = archive.loop(retries(2, resume=True)).run(STUDY)
    assert (state.attempts, state.extra) == (3, {"9.9.9.1", "9.9.9.2", "9.9.9.3"})


def test_archive_without_queries_that_sends_without_end_is_given_up() -> None:
    def move(said: Delivery) -> Delivery:
        said = fails(0xB000, failed=2)(said)
        said.delivered = [liar.Object("9.9", "9.9.9", f"9.9.9.{len(archive.requests)}")]
        return said

    archive = Unlisted(objects(2), move=move)
    assert archive.loop(retries(2)).run(STUDY).attempts == 3


def test_batches_shrink_while_most_of_the_objects_are_still_missing() -> None:
    archive = liar.Archive(objects(30), move=fails(UNABLE_TO_PROCESS))
    state = archive.loop(retries(6)).run(STUDY)
    assert state.attempts == 7
    whole, lists = asked(archive)[:3], asked(archive)[3:]
    assert whole == [("STUDY", 1)] * 3
    assert lists == [("IMAGE", 25), ("IMAGE", 5), *[("IMAGE", 6)] * 5, *[("IMAGE", 1)] * 60]


@pytest.mark.parametrize(("sent", "batch"), [(1, 25), (2, 100)])
def test_batches_do_not_shrink_if_half_of_the_objects_arrive(clock: Clock, sent: int, batch: int) -> None:
    assert BATCH == 100

    def move(said: Delivery) -> Delivery:
        number = len(archive.requests)
        if number != 3:
            return fails(UNABLE_TO_PROCESS)(said)
        said.delivered = said.requested[:sent]
        said.final = MoveResponse(1, 0xB000, None, sent, 4 - sent, 0)
        return said

    archive = liar.Archive(objects(4), move=move)
    loop = archive.loop(retries(2))
    clock.on_pause = lambda: loop.cancel() if len(clock.pauses) == 3 else None
    assert loop.run(STUDY).batch == batch


def test_time_that_is_over_ends_the_attempts_and_the_pause(clock: Clock) -> None:
    archive = liar.Archive(objects(2), move=fails(0xA700))
    state = archive.loop(retries(5, pause=60.0), {"until": 1010.0}).run(STUDY)
    assert (state.attempts, clock.pauses, clock.time) == (2, [10.0], 1010.0)
    state = archive.loop(retries(5), {"until": 1010.0}).run(STUDY)
    assert state.attempts == 1
    clock.pauses.clear()
    archive.loop(retries(5), {"until": 1010.5}).run(STUDY)
    assert clock.pauses == [0.5]


def test_cancel_ends_the_pause_and_the_attempts(clock: Clock) -> None:
    archive = liar.Archive(objects(2), move=fails(0xA700))
    noted = Noted()
    loop = archive.loop(retries(5), {"observer": noted})
    pausing = []

    def cancel() -> None:
        pausing.append(loop.pausing)
        loop.cancel()

    clock.on_pause = cancel
    assert not loop.pausing
    state = loop.run(STUDY)
    assert (state.attempts, state.cancelled, pausing, loop.pausing) == (1, True, [True], False)
    assert outcome(state) is not Outcome.COMPLETE


@pytest.mark.parametrize("signal", [True, False])
def test_cancel_between_two_requests_leaves_the_second_out(*, signal: bool) -> None:
    def move(said: Delivery) -> Delivery:
        if signal:
            archive.cancelled = True
        else:
            loop.cancel()
        return said

    archive = liar.Archive([*objects(1), *objects(1, study="1.2.4")], move=move)
    loop = archive.loop(Retry())
    state = loop.run(STUDY, make_identifier(["QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.4"]))
    assert (len(archive.requests), state.cancelled) == (1, True)


def test_cancel_during_a_request_is_followed_by_no_pause(clock: Clock) -> None:
    def move(said: Delivery) -> Delivery:
        loop.cancel()
        return fails(0xA700)(said)

    noted = Noted()
    loop = liar.Archive(objects(2), move=move).loop(retries(5), {"observer": noted})
    assert loop.run(STUDY).attempts == 1
    assert (clock.pauses, reasons(noted)) == ([], [])


@pytest.mark.parametrize(("retry", "requests"), [(Retry(resume=True), 1), (Retry(), 2)])
def test_second_request_of_an_attempt_that_would_fail_as_the_first_is_not_sent(retry: Retry, requests: int) -> None:
    archive = liar.Archive([*objects(1), *objects(1, study="1.2.4")], move=fails(MOVE_DESTINATION_UNKNOWN))
    archive.loop(retry).run(*((BOTH,) if retry.lists else (STUDY, STUDY)))
    assert len(archive.requests) == requests


def test_cancel_while_no_association_can_be_had_is_no_error() -> None:
    class Refusing(liar.Archive):
        def open(self) -> None:
            loop.cancel()
            raise ConnectError("refused")

    archive = Refusing(objects(2))
    loop = archive.loop(retries(2))
    state = loop.run(STUDY)
    assert (state.cancelled, state.attempts, outcome(state)) == (True, 1, Outcome.FAILED)


def cancels(archive: Archive, *positions: int, status: int = CANCEL) -> None:
    """Have requests end by a status; those at some positions are cancelled by us."""

    def move(said: Delivery) -> Delivery:
        archive.cancel_sent = len(archive.requests) in positions
        return fails(status)(said)

    archive._move = move


@pytest.mark.parametrize(
    ("positions", "cancelled", "stopped"), [((1, 2), True, False), ((), False, True), ((2,), True, True)]
)
def test_cancel_that_we_sent_is_no_fault_of_the_archive(
    positions: tuple[int, ...], *, cancelled: bool, stopped: bool
) -> None:
    archive = liar.Archive(objects(2))
    cancels(archive, *positions)
    state = archive.loop(Retry()).run(STUDY, STUDY)
    assert (state.evidence.cancelled, state.evidence.stopped) == (cancelled, stopped)


def test_response_to_a_cancel_that_came_late_is_no_fault_of_the_archive() -> None:
    archive = liar.Archive(objects(2))

    def move(said: Delivery) -> Delivery:
        loop.cancel()
        return fails(CANCEL)(said)

    archive._move = move
    loop = archive.loop(Retry())
    state = loop.run(STUDY)
    assert (state.evidence.cancelled, state.evidence.stopped) == (True, False)


def test_reason_for_another_attempt_is_told(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    def move(said: Delivery) -> Delivery:
        number = len(archive.requests)
        if number == 4:
            said.final = None
            return said
        return fails(0xB000 if number == 1 else 0, failed=2)(said) if number < 3 else said

    archive, noted = liar.Archive(objects(1, 1), move=move), Noted()
    with caplog.at_level(logging.WARNING):
        archive.loop(retries(3), {"observer": noted, "row": 7}).run(STUDY)
    assert reasons(noted) == ["final status of warning, failed sub-operations", "2 objects missing"]
    assert [one[:3] for one in noted.told if one[0] == "retry"] == [("retry", 2, None), ("retry", 3, 2)]
    assert [one[3] for one in noted.told if one[0] == "retry"] == clock.pauses
    assert [one for one in noted.told if one[0] not in ("retry", "received")] == [
        ("requested", 7),
        ("response", 0xB000, 0.0, 7),
        ("listed", 2, 2, 7),
        ("requested", 7),
        ("response", 0, 0.0, 7),
        ("listed", 2, 2, 7),
        ("requested", 7),
        ("response", 0, 0.0, 7),
    ]
    assert {one[-1] for one in noted.told} == {7}
    assert all(record.getMessage().startswith("entry 7: ") for record in caplog.records if "attempt" in record.msg)
    caplog.clear()
    liar.Archive(objects(2), move=fails(0xA700)).loop(retries(1)).run(STUDY)
    assert caplog.messages[0].startswith("attempt 1: final status of failure; next attempt in ")


# -- the association ---------------------------------------------------------------------------------------------------


def rejected(result: int) -> PeerError:
    return AssociationRejectedError("rejected", result=result, source=1, reason=1)


class Closed(liar.Archive):
    """An archive that raises errors instead of the first associations."""

    def __init__(self, *errors: PeerError | None, **settings: Any) -> None:
        super().__init__(objects(2), **settings)
        self.errors, self.opened = list(errors), 0

    def open(self) -> None:
        self.opened += 1
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        super().open()


@pytest.mark.parametrize(
    ("error", "opened"),
    [
        (rejected(1), 1),
        (NoPresentationContextError("none"), 1),
        (rejected(2), 3),
        (ConnectError("refused"), 3),
    ],
)
def test_association_that_cannot_be_had_is_tried_again_unless_it_would_fail_again(
    error: PeerError, opened: int
) -> None:
    archive = Closed(*[error] * 5)
    with pytest.raises(type(error)) as raised:
        archive.loop(retries(2)).run(STUDY)
    assert raised.value is error
    assert archive.opened == opened
    archive = Closed(error)
    with pytest.raises(type(error)):
        archive.loop(Retry(verify=True)).run(STUDY)
    assert archive.opened == 1


def test_archive_that_comes_back_completes_the_request() -> None:
    archive, noted = Closed(ConnectError("refused"), rejected(2)), Noted()
    state = archive.loop(retries(2), {"observer": noted}).run(STUDY)
    assert (outcome(state), state.attempts, state.error) == (Outcome.COMPLETE, 3, None)
    assert reasons(noted) == ["refused", "rejected"]


def test_rejection_after_an_association_was_lost_is_no_reason_to_give_up() -> None:
    def move(said: Delivery) -> Delivery:
        if len(archive.requests) == 1:
            said.final = None
            del said.delivered[0]
        return said

    archive = Closed(None, rejected(1), move=move)
    state = archive.loop(retries(2)).run(STUDY)
    assert (outcome(state), state.attempts) == (Outcome.COMPLETE, 3)
    archive = Closed(None, *[rejected(1)] * 9, move=move)
    state = archive.loop(retries(2)).run(STUDY)
    assert (outcome(state), state.attempts, str(state.error)) == (Outcome.FAILED, 3, "rejected")


def test_counts_of_a_request_that_lost_its_association_are_evidence() -> None:
    def move(said: Delivery) -> Delivery:
        said.final, said.delivered = None, []
        archive.unfinished = MoveResponse(1, 0xFF00, 1, 0, 3, 0)
        return said

    archive = liar.Archive(objects(4), move=move)
    state = archive.loop(Retry()).run(STUDY)
    assert (state.evidence.failed, state.evidence.lost, state.nothing_found) == (3, True, False)
    archive.unfinished = None
    archive._move = lambda said: Delivery(said.requested, [], None)
    assert not archive.loop(Retry()).run(STUDY).nothing_found, "it said nothing"
    clean = liar.Archive(objects(4)).loop(Retry()).run(STUDY)
    assert (clean.evidence.lost, clean.arrived) == (False, 4)


# -- the archive's list ------------------------------------------------------------------------------------------------


class Unlisted(liar.Archive):
    """An archive that does not offer C-FIND."""

    def context(self, sop_class_uid: str) -> None:
        return None


@pytest.mark.parametrize(
    ("retry", "complete"),
    [(retries(2, verify=True), False), (retries(2, resume=True), True), (retries(2), True)],
)
def test_archive_without_queries_proves_nothing_and_resumes_nothing_but_sends(retry: Retry, *, complete: bool) -> None:
    archive = Unlisted(objects(2))
    state = archive.loop(retry).run(STUDY)
    assert (outcome(state) is Outcome.COMPLETE, state.hopeless) == (complete, False)
    assert state.tally.stored == 2
    assert bool(state.unlisted) is not complete
    assert (state.identifier, retry.verify or retry.resume) == (STUDY, state.refusal is not None)


def test_archive_whose_queries_fail_is_asked_for_everything_where_no_list_is_wanted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def find(said: Answer) -> Answer:
        said.status, said.matches = 0xA700, []
        return said

    archive = Closed(ConnectError("refused"), find=find)
    with caplog.at_level(logging.WARNING):
        state = archive.loop(retries(1)).run(IMAGES)
    assert (outcome(state), state.attempts, state.unlisted) == (Outcome.COMPLETE, 2, "")
    assert "; requesting everything" in caplog.text
    assert liar.Archive(objects(2)).loop(Retry()).run(STUDY).identifier is None
    state = liar.Archive(objects(2), find).loop(Retry(resume=True)).run(IMAGES)
    assert (outcome(state), state.tally.stored) == (Outcome.INCOMPLETE, 2), "--resume wants a list"
    assert "0xa700" in state.unlisted


def test_patient_whose_id_the_archive_does_not_return_is_not_requested(caplog: pytest.LogCaptureFixture) -> None:
    """It may have ignored the key, and would send other patients, too."""
    patient = make_identifier(["QueryRetrieveLevel=PATIENT", "PatientID=P1"])
    for retry in (retries(1, verify=True), retries(1, resume=True)):
        archive = liar.Archive(objects(2))
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            state = archive.loop(retry, request=Request(model="PATIENT")).run(patient)
        assert (archive.requests, state.attempts, state.hopeless) == ([], 1, True)
        assert "ignores PatientID" in state.unlisted
        assert caplog.text == "", "the result says why"


def test_request_whose_keys_only_a_query_can_match_is_not_sent_without_one() -> None:
    archive: Archive = Unlisted(objects(2))
    state = archive.loop(retries(2)).run(FILTERED)
    assert (archive.requests, state.attempts, state.hopeless) == ([], 1, True)
    assert "does not offer C-FIND" in state.unlisted
    archive = liar.Archive(objects(2))  # it ignores the number
    state = archive.loop(retries(2)).run(FILTERED)
    assert (archive.requests, state.attempts, state.hopeless) == ([], 1, True)
    assert "ignores AccessionNumber" in state.unlisted


def test_query_that_fails_is_repeated_before_a_request_that_needs_it() -> None:
    def find(said: Answer) -> Answer:
        for match in said.matches if said.level == "STUDY" else ():
            match[0x00080050] = "A1"
        if len(archive.history) == 0:
            said.status, said.matches = 0xA700, []
        return said

    archive, noted = liar.Archive(objects(2), find), Noted()
    state = archive.loop(retries(2), {"observer": noted}).run(FILTERED)
    assert (outcome(state), state.attempts, len(archive.requests)) == (Outcome.COMPLETE, 2, 1)
    assert "C-FIND at level STUDY" in reasons(noted)[0]


@pytest.mark.parametrize(
    ("retry", "complete"), [(Retry(verify=True), False), (Retry(resume=True), False), (Retry(), True)]
)
def test_query_that_fails_leaves_a_result_that_needs_it_unproven(retry: Retry, *, complete: bool) -> None:
    def find(said: Answer) -> Answer:
        said.status, said.matches = 0xA700, []
        return said

    archive = liar.Archive(objects(2), find)
    state = archive.loop(retry).run(STUDY)
    assert state.tally.stored == 2
    assert (outcome(state) is Outcome.COMPLETE) is complete


def test_query_during_which_the_association_is_lost_loses_the_attempt() -> None:
    def find(said: Answer) -> Answer:
        if not archive.history:
            archive.history.append(said)
            archive.is_open = False
            raise ConnectionLostError("gone")
        return said

    archive = liar.Archive(objects(2), find)
    noted = Noted()
    state = archive.loop(retries(1, verify=True), {"observer": noted}).run(STUDY)
    assert (outcome(state), state.attempts, len(archive.requests)) == (Outcome.COMPLETE, 2, 1)
    assert reasons(noted) == ["gone"]
    archive = liar.Archive(objects(2), find)
    state = archive.loop(Retry(verify=True)).run(STUDY)
    assert (outcome(state), archive.requests, state.unlisted) == (Outcome.FAILED, [], "gone")


def test_list_after_a_failure_is_made_at_once_and_disproves_it() -> None:
    def move(said: Delivery) -> Delivery:
        assert said.final is not None
        said.final = replace(said.final, status=0xB000, completed=1, failed=1)
        return said

    archive = liar.Archive(objects(2), move=move)
    state = archive.loop(Retry(verify=True)).run(STUDY)
    assert (outcome(state), state.attempts) == (Outcome.COMPLETE, 1)
    state = archive.loop(Retry(resume=True)).run(STUDY)
    assert outcome(state) is not Outcome.COMPLETE, "without --verify the archive is believed"


def lists(archive: Archive) -> int:
    """Return how often its objects were listed."""
    return sum(isinstance(said, Answer) and said.level == "IMAGE" for said in archive.history)


def test_no_list_is_made_after_a_failure_that_it_cannot_disprove() -> None:
    def drop(said: Delivery) -> Delivery:
        said = fails(0xB000, failed=1)(said)
        said.delivered = said.requested[1:]
        return said

    archive = liar.Archive(objects(2), move=drop)
    archive.loop(Retry(verify=True)).run(STUDY)
    assert lists(archive) == 1, "an object is missing"

    def gap(said: Answer) -> Answer:
        said.status = 0xA700 if said.level == "IMAGE" else 0
        return said

    archive = liar.Archive(objects(2), gap, fails(0xB000, failed=1))
    archive.loop(Retry(verify=True)).run(STUDY)
    assert lists(archive) == 1, "the list has a gap"

    def cancel(said: Delivery) -> Delivery:
        loop.cancel()
        said.final = MoveResponse(1, 0xC000, None, 2, 0, 0)
        return said

    archive = liar.Archive(objects(2), move=cancel)
    loop = archive.loop(Retry(verify=True))
    loop.run(STUDY)
    assert lists(archive) == 1, "the user has cancelled"


def test_list_before_an_attempt_that_has_nothing_to_request_is_enough(clock: Clock) -> None:
    def move(said: Delivery) -> Delivery:
        said = fails(0xB000, failed=1)(said)
        said.delivered = said.requested[1:]
        return said

    def arrive_late() -> None:
        assert archive.server is not None
        archive.server._received(Received(liar.incoming(archive.held[0], "MOVESCU", 1), 10, 0))

    archive = liar.Archive(objects(2), move=move)
    clock.on_pause = arrive_late
    state = archive.loop(retries(1, verify=True)).run(STUDY)
    assert (outcome(state), state.attempts, len(archive.requests), lists(archive)) == (Outcome.COMPLETE, 2, 1, 2)


def test_unrequested_objects_are_no_progress_if_the_first_attempt_had_no_list() -> None:
    def move(said: Delivery) -> Delivery:
        said = fails(0xB000, failed=2)(said)
        said.delivered = objects(len(archive.requests), study="1.2.9")[-1:]
        return said

    archive = liar.Archive(objects(2), move=move)
    state = archive.loop(retries(2)).run(STUDY)
    assert (state.attempts, len(archive.requests), state.tally.stored) == (3, 3, 3)


def test_list_that_an_attempt_began_with_is_not_made_again() -> None:
    def move(said: Delivery) -> Delivery:
        said.final = MoveResponse(1, 0xB000, None, 2, 1, 0)
        return said

    archive = liar.Archive(objects(2), move=move)
    state = archive.loop(retries(1, verify=True)).run(STUDY)
    assert (state.attempts, len(archive.requests), lists(archive)) == (2, 1, 3)


@pytest.mark.parametrize(
    ("status", "answers", "failures", "attempts"),
    [
        (0xA700, 0, 1, 2),
        (0xC001, 2, 1, 2),
        (0xA700, 0, 9, 4),
        (0xA700, 2, 9, 2),  # it breaks off at its limit
        (0xA900, 0, 9, 1),
    ],
)
def test_gap_is_a_reason_for_another_attempt_while_its_cause_may_pass(
    status: int, answers: int, failures: int, attempts: int
) -> None:
    failed: list[Answer] = []

    def gap(said: Answer) -> Answer:
        if said.level == "IMAGE" and len(failed) < failures:
            said.status, said.matches = status, said.matches[:answers]
            failed.append(said)
        return said

    archive = liar.Archive(objects(3), gap)
    state = archive.loop(retries(3, resume=True)).run(STUDY)
    assert (state.attempts, len(archive.requests)) == (attempts, 1)
    assert outcome(state) is (Outcome.COMPLETE if failures == 1 else Outcome.INCOMPLETE)


@pytest.mark.parametrize("doubt", ["", "one more object", "a gap", "one more counted"])
def test_list_after_a_lost_association_clears_it_only_if_all_is_listed_and_here(
    caplog: pytest.LogCaptureFixture, doubt: str
) -> None:
    def move(said: Delivery) -> Delivery:
        said.final = None
        if doubt == "one more counted":
            archive.unfinished = MoveResponse(1, 0xFF00, 0, 2, 1, 0)
        if doubt == "one more object":
            archive.held = objects(3)
        return said

    def find(said: Answer) -> Answer:
        if doubt == "a gap" and archive.requests and said.level == "IMAGE":
            said.status = 0xA700
        return said

    archive = liar.Archive(objects(2), find, move)
    with caplog.at_level(logging.WARNING):
        state = archive.loop(Retry(verify=True)).run(STUDY)
    assert lists(archive) == 2
    assert (outcome(state) is Outcome.COMPLETE, state.error is None) == (not doubt, not doubt)
    assert ("shows that all 2 objects are here" in caplog.text) == (not doubt)


@pytest.mark.parametrize(("failed", "complete"), [(1, True), (2, False)])
def test_later_list_accounts_for_no_more_objects_than_it_has(failed: int, *, complete: bool) -> None:
    def move(said: Delivery) -> Delivery:
        said.final = MoveResponse(1, 0xB000, None, 1, failed, 0)
        return said

    archive = liar.Archive(objects(2), move=move)
    state = archive.loop(retries(1)).run(STUDY)
    assert (outcome(state) is Outcome.COMPLETE) is complete


@pytest.mark.parametrize("fails_too", [True, False])
def test_gap_of_a_list_is_requested_again_only_if_something_failed(*, fails_too: bool) -> None:
    series = UNIQUE_KEYS["SERIES"]

    def find(said: Answer) -> Answer:
        if said.level == "IMAGE" and said.keys.get(series) == "1.2.3.2":
            said.status, said.matches = 0xA700, []
        return said

    def move(said: Delivery) -> Delivery:
        if len(archive.requests) == 1:
            del said.delivered[0]
            said.final = MoveResponse(1, 0xB000 if fails_too else 0, None, 3, int(fails_too), 0)
        return said

    archive = liar.Archive(objects(2, 2), find, move)
    archive.loop(retries(1, resume=True)).run(STUDY)
    first, *again = archive.requests
    assert first == STUDY
    assert sorted(request.text(series) for request in again) == (["1.2.3.1", "1.2.3.2"] if fails_too else ["1.2.3.1"])


def test_shorter_list_than_that_of_an_earlier_retrieve_is_incomplete() -> None:
    def drop(said: Delivery) -> Delivery:
        del said.delivered[0]
        said.final = MoveResponse(1, 0, None, 9, 0, 0)
        return said

    archive = liar.Archive(objects(3), move=drop)
    earlier = earlier_of(archive.loop(Retry(resume=True)).run(STUDY))
    assert earlier is not None
    for held, words in ((objects(2), "the archive listed 3 objects before, and 2 now"), (objects(3), "")):
        archive = liar.Archive(held)
        loop = archive.loop(Retry(resume=True), {"target": liar.Disk(frozenset(["1.2.3.1.3"]))})
        short = replace(earlier, missing=(), here=(), statements=(), sizes=())  # as of too many to be named
        state = loop.run(STUDY, earlier=short)
        assert (state.unlisted, outcome(state) is Outcome.COMPLETE) == (words, not words)
        noted = Noted()
        state = liar.Archive(held).loop(retries(1, resume=True), {"observer": noted}).run(STUDY, earlier=short)
        assert (reasons(noted), state.attempts) == ([words] * bool(words), 1 + bool(words)), (
            "it may have been cut short"
        )
    state = liar.Archive(objects(3)).loop(Retry(resume=True)).run(STUDY, earlier=earlier)
    assert (outcome(state), state.evidence.short) == (Outcome.INCOMPLETE, 7), "what the archive said then stands"


class Released(liar.Archive):
    """An archive that ends the association after each request, with all objects sent and something said to fail."""

    again: PeerError | None = None

    def open(self) -> None:
        if self.requests and self.again is not None:
            raise self.again
        super().open()

    def move(self, *args: Any) -> MoveResponse:
        response = super().move(*args)
        self.is_open = False
        return replace(response, status=0xB000, failed=1, completed=1)


def test_list_after_a_failure_needs_an_association() -> None:
    archive = Released(objects(2))
    state = archive.loop(Retry(verify=True)).run(STUDY)
    assert (outcome(state), archive.is_open) == (Outcome.COMPLETE, True)
    archive = Released(objects(2))
    archive.again = ConnectError("refused")
    state = archive.loop(Retry(verify=True)).run(STUDY)
    assert (outcome(state), state.unlisted) == (Outcome.INCOMPLETE, "refused")


def test_request_whose_association_was_lost_after_its_objects_is_complete_by_a_later_list() -> None:
    def move(said: Delivery) -> Delivery:
        said.final = None
        return said

    archive = liar.Archive(objects(2), move=move)
    state = archive.loop(Retry(verify=True)).run(STUDY)
    assert (outcome(state), state.error, archive.is_open) == (Outcome.COMPLETE, None, True)


def test_numbers_stated_before_the_first_list_are_compared_with_it() -> None:
    archive = liar.Archive(objects(2))
    state = archive.loop(Retry(verify=True)).run(STUDY, counts={"1.2.3": 3})
    assert (outcome(state), state.unlisted) == (
        Outcome.INCOMPLETE,
        "the archive counts 3 objects in study 1.2.3 and lists 2",
    )


def test_keys_that_name_everything_are_refused_unless_everything_is_meant() -> None:
    everything = make_identifier(["QueryRetrieveLevel=STUDY", "StudyInstanceUID="])
    archive = liar.Archive(objects(2))
    with pytest.raises(UsageError):
        archive.loop(Retry(verify=True)).run(everything)
    with pytest.raises(UsageError):
        archive.loop(Retry(verify=True), selection=Selection()).run(everything)
    state = archive.loop(Retry(verify=True), selection=Selection(max_studies=0)).run(everything)
    assert outcome(state) is Outcome.COMPLETE


def test_more_studies_than_allowed_are_not_requested() -> None:
    def find(said: Answer) -> Answer:
        for match in said.matches if said.level == "STUDY" else ():
            match[0x00080050] = "A1"
        return said

    by_number = make_identifier(["QueryRetrieveLevel=STUDY", "AccessionNumber=A1"])
    for most, requests in ((1, 0), (2, 2)):
        archive = liar.Archive([*objects(1), *objects(1, study="1.2.4")], find)
        state = archive.loop(retries(2), selection=Selection(max_studies=most)).run(by_number)
        assert (len(archive.requests), state.attempts, state.hopeless) == (requests, 1, not requests)


# -- which objects -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "again"), [(0xA700, True), (0xA7FF, True), (0xC000, False), (0x0117, False)])
def test_object_that_we_refused_for_good_is_not_requested_again(status: int, *, again: bool) -> None:
    def move(said: Delivery) -> Delivery:
        if len(archive.requests) == 1:
            said.failing = {"1.2.3.1.1": status}
        return said

    archive, noted = liar.Archive(objects(3), move=move), Noted()
    state = archive.loop(retries(3), {"observer": noted}).run(STUDY)
    assert len(archive.requests) == (2 if again else 1)
    assert (outcome(state) is Outcome.COMPLETE) is again
    assert "1 object missing" not in reasons(noted) or again


def test_object_on_the_disk_is_not_requested_and_neither_awaited() -> None:
    archive, noted = liar.Archive(objects(3)), Noted()
    disk = liar.Disk(frozenset(["1.2.3.1.1", "1.2.3.1.2"]))
    state = archive.loop(Retry(resume=True), {"target": disk, "observer": noted}).run(STUDY)
    assert [request.text(IMAGE) for request in archive.requests] == ["1.2.3.1.3"]
    assert (outcome(state), state.already_there, noted.told[0]) == (Outcome.COMPLETE, 2, ("listed", 3, 1, None))
    disk = liar.Disk(frozenset(one.uid for one in archive.held))
    state = liar.Archive(objects(3)).loop(Retry(resume=True), {"target": disk}).run(STUDY)
    assert (outcome(state), state.tally.stored, state.asked) == (Outcome.COMPLETE, 0, False)


@pytest.mark.parametrize(("most", "split"), [(0, False), (1, True), (2, False)])
def test_large_study_is_split_before_anything_is_requested(most: int, *, split: bool) -> None:
    archive = liar.Archive(objects(1, 1))
    state = archive.loop(retries(2, verify=True), {"split": most}).run(STUDY)
    assert (state.is_split, len(archive.requests), state.attempts) == (split, 0 if split else 1, 1)


def test_study_that_cannot_be_listed_is_not_split() -> None:
    archive = Unlisted(objects(1, 1))
    state = archive.loop(Retry(resume=True), {"split": 1}).run(STUDY)
    assert (state.is_split, len(archive.requests)) == (False, 1)


def test_study_whose_list_has_a_gap_is_not_split() -> None:
    def find(said: Answer) -> Answer:
        if said.keys.get(UNIQUE_KEYS["SERIES"]) == "1.2.3.3":
            said.status, said.matches = 0xA700, []
        return said

    archive = liar.Archive(objects(1, 1, 1), find)
    state = archive.loop(Retry(verify=True), {"split": 1}).run(STUDY)
    assert (state.is_split, bool(archive.requests)) == (False, True)


@pytest.mark.parametrize("status", [DATA_SET_DOES_NOT_MATCH, MOVE_DESTINATION_UNKNOWN])
def test_list_of_studies_that_is_rejected_is_requested_one_by_one(status: int) -> None:
    def move(said: Delivery) -> Delivery:
        return fails(status)(said) if "\\" in archive.requests[-1].text(UNIQUE_KEYS["STUDY"]) else said

    archive, noted = liar.Archive([*objects(1), *objects(1, study="1.2.4")], move=move), Noted()
    state = archive.loop(retries(1), {"observer": noted}).run(BOTH)
    assert (outcome(state), asked(archive)) == (Outcome.COMPLETE, [("STUDY", 2), ("STUDY", 1), ("STUDY", 1)])
    assert reasons(noted) == ["the archive may not accept lists of UIDs"]
    archive = liar.Archive(objects(1), move=fails(status))
    assert archive.loop(retries(1)).run(STUDY).attempts == 1, "no list"
    assert archive.loop(retries(1)).run(IMAGES).attempts == 2
    sets = make_identifier(
        ["QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3", "SpecificCharacterSet=\\ISO 2022 IR 87"]
    )
    assert archive.loop(retries(1)).run(sets).attempts == 1, "a list, but not of UIDs"


def test_list_of_objects_that_is_rejected_is_requested_one_by_one() -> None:
    def move(said: Delivery) -> Delivery:
        return fails(DATA_SET_DOES_NOT_MATCH)(said) if "\\" in archive.requests[-1].text(IMAGE) else said

    archive = liar.Archive(objects(3), move=move)
    disk = liar.Disk(frozenset(["1.2.3.1.1"]))
    state = archive.loop(retries(1, resume=True), {"target": disk}).run(STUDY)
    assert (outcome(state), asked(archive)) == (Outcome.COMPLETE, [("IMAGE", 2), ("IMAGE", 1), ("IMAGE", 1)])
    archive = liar.Archive(objects(3), move=fails(DATA_SET_DOES_NOT_MATCH))
    state = archive.loop(retries(9, resume=True), {"target": disk}).run(STUDY)
    assert state.attempts == 2, "no single object is accepted"


# -- nothing found -----------------------------------------------------------------------------------------------------

ELSEWHERE: dict[str, Any] = {"destination": "ELSEWHERE"}
RESOLVES: dict[str, Any] = {"selection": Selection(resolve=True)}
UNCOUNTED = (None, None, None)


@pytest.mark.parametrize(
    ("retry", "counts", "config", "nothing"),
    [
        (Retry(), (0, 0, 0), {}, True),
        (Retry(), UNCOUNTED, {}, True),
        (Retry(), (0, 0, 0), ELSEWHERE, True),
        (Retry(), UNCOUNTED, ELSEWHERE, False),
        (Retry(), (0, 0, 0), RESOLVES, False),
        (Retry(), (1, 0, 0), {}, False),
        (Retry(), (0, 1, 0), {}, False),
        (Retry(verify=True), (0, 0, 0), {}, True),
        (Retry(verify=True), (0, 0, 0), RESOLVES, True),
        (retries(1), (0, 0, 0), RESOLVES, True),
        (retries(1), UNCOUNTED, ELSEWHERE, True),
    ],
)
def test_nothing_is_found_if_the_archive_lists_or_counts_nothing(
    retry: Retry,
    counts: tuple[int | None, int | None, int | None],
    config: dict[str, Any],
    *,
    nothing: bool,
) -> None:
    def move(said: Delivery) -> Delivery:
        assert said.final is not None
        said.final = MoveResponse(1, 0, None, *counts)
        return said

    state = liar.Archive([], move=move).loop(retry, **config).run(STUDY)
    assert state.nothing_found is nothing


def test_archive_without_queries_is_believed_to_have_nothing_if_a_list_was_wanted() -> None:
    def move(said: Delivery) -> Delivery:
        said.final = MoveResponse(1, 0, None, None, None, None)
        return said

    for retry, nothing in ((Retry(resume=True), True), (Retry(), False)):
        assert Unlisted([], move=move).loop(retry, **ELSEWHERE).run(STUDY).nothing_found is nothing

    def counted_once(said: Delivery) -> Delivery:
        said.final = MoveResponse(1, 0, None, 0 if len(archive.requests) == 1 else None, None, None)
        return said

    archive = liar.Archive([], move=counted_once)
    assert not archive.loop(Retry(), **ELSEWHERE).run(STUDY, STUDY).nothing_found, "one of two counts nothing"


def test_study_without_a_listed_object_and_with_a_gap_is_not_nothing() -> None:
    def find(said: Answer) -> Answer:
        if said.level == "IMAGE":
            said.status, said.matches = 0xA700, []
        return said

    state = liar.Archive(objects(1), find, fails(0)).loop(Retry(verify=True)).run(STUDY)
    assert (state.nothing_found, outcome(state)) == (False, Outcome.INCOMPLETE)


def test_empty_list_finds_nothing_and_requests_nothing() -> None:
    archive = liar.Archive([])
    state = archive.loop(retries(1, verify=True)).run(STUDY)
    assert (state.nothing_found, state.attempts, outcome(state)) == (True, 1, Outcome.NOT_FOUND)


# -- which objects make up for those that were counted ----------------------------------------------------------------


@pytest.mark.parametrize(("originator", "short"), [("MOVESCU", 0), ("STRANGER", 2), (None, 0)])
def test_objects_that_another_title_requested_make_up_for_none(originator: str | None, short: int) -> None:
    state = liar.Archive(objects(2), originator=originator).loop(Retry()).run(STUDY)
    assert (state.evidence.short, state.tally.stored, state.arrived) == (short, 2, 2 - short)


def test_object_of_another_study_makes_up_for_none() -> None:
    def move(said: Delivery) -> Delivery:
        said.delivered[-1] = liar.Object("9.9", "9.9.9", "9.9.9.9")
        return said

    state = liar.Archive(objects(2), move=move, originator=None).loop(Retry()).run(STUDY)
    assert (state.evidence.short, state.tally.stored) == (1, 2)


def test_objects_of_a_row_are_stored_and_told_as_its_own() -> None:
    def move(said: Delivery) -> Delivery:
        assert archive.server is not None
        rounds.append(archive.server.round_of(incoming))
        return said

    archive, noted, disk = liar.Archive(objects(2), move=move), Noted(), liar.Disk(frozenset())
    incoming = liar.incoming(archive.held[0], "MOVESCU", 1)
    rounds: list[Round | None] = []
    state = archive.loop(Retry(), {"row": 3, "observer": noted, "target": disk}).run(STUDY)
    assert [one for one in noted.told if one[0] == "received"] == [("received", 3)] * 2
    (one,) = rounds
    assert one is not None
    assert one.target is disk  # type: ignore[comparison-overlap] # stands in for it
    assert archive.server is not None
    assert archive.server.round_of(incoming) is None, "none runs"
    assert one.total is state.tally


def test_counts_of_c_get_are_compared_at_once_whatever_the_destination(clock: Clock) -> None:
    def move(said: Delivery) -> Delivery:
        assert archive.server is not None
        archive.server._rounds[-1].is_got = True
        said.delivered.pop()
        return said

    archive = liar.Archive(objects(2), move=move)
    loop = archive.loop(Retry(), timeouts=Timeouts(linger=10.0), **ELSEWHERE)
    assert (loop.run(STUDY).evidence.short, clock.time, loop.waited) == (1, 1000.0, False)
    archive = liar.Archive(objects(1), move=move)
    assert archive.loop(Retry(), **ELSEWHERE).run(STUDY).evidence.short == 1, "nothing goes elsewhere"


def test_counts_cannot_be_compared_without_a_port() -> None:
    archive = liar.Archive(objects(2), move=lambda said: Delivery(said.requested, [], said.final))
    loop = archive.loop(Retry())
    assert archive.server is not None
    archive.server.listener = None
    state = loop.run(STUDY)
    assert (state.evidence.short, outcome(state)) == (0, Outcome.COMPLETE)


# -- the end -----------------------------------------------------------------------------------------------------------


class Port(liar.Listener):
    """A port that notes whether it was closed."""

    closed = False

    def close(self) -> None:
        self.closed = True


loops: list[AttemptLoop] = []  # the last one


def ended(
    archive: Archive, retry: Retry, clock: Clock, sender: Any = None, **settings: Any
) -> tuple[AttemptLoop, bool, list[str]]:
    """Run a loop; return it, whether the port was closed, and what happened at the end. ``sender``: is connected."""
    happened: list[str] = []
    loop = archive.loop(
        retry, {"complete": lambda: happened.append("complete"), **settings}, timeouts=Timeouts(linger=10.0)
    )
    port = Port()
    port.changed, port.last_activity = clock, clock.now()  # type: ignore[assignment] # stands in for it
    assert archive.server is not None
    archive.server.listener = port  # type: ignore[assignment] # as above
    if sender is not None:
        port.open_associations = (sender,)  # type: ignore[assignment] # as above
        sender.interrupt = lambda _: vars(port).update(open_associations=())
    loops[:] = [loop]
    loop.run(STUDY)
    return loop, port.closed, happened


@pytest.mark.parametrize("closing", [True, False])
@pytest.mark.parametrize("verify", [True, False])
def test_archive_is_left_once_nothing_is_left_to_request(clock: Clock, *, closing: bool, verify: bool) -> None:
    loop, closed, happened = ended(liar.Archive(objects(2)), Retry(verify=verify), clock, closing=closing)
    assert (closed, happened, loop.waited) == (closing, ["complete"] if closing else [], False)

    def overcount(said: Delivery) -> Delivery:
        said.final = MoveResponse(1, 0, None, 5, 0, 0)
        return said

    loop, _, happened = ended(liar.Archive(objects(2), move=overcount), Retry(verify=verify), clock, closing=closing)
    assert (happened, loop.waited) == ([], not verify), "the list says that all have arrived"


def test_archive_is_not_left_while_something_may_be_requested(clock: Clock) -> None:
    def find(said: Answer) -> Answer:
        if said.level == "IMAGE":
            said.status = 0xA700
        return said

    assert ended(liar.Archive(objects(2), find), Retry(verify=True), clock, closing=True)[2] == []
    failing = liar.Archive(objects(2), move=fails(0xC000))
    assert ended(failing, Retry(), clock, closing=True)[1:] == (True, [])

    def drop(said: Delivery) -> Delivery:
        said.delivered.pop()
        said.final = MoveResponse(1, 0, None, 1, 0, 0)
        return said

    assert ended(liar.Archive(objects(2), move=drop), Retry(verify=True), clock, closing=True)[2] == []


def test_wait_for_objects_that_were_counted_is_known(clock: Clock) -> None:
    def drop(said: Delivery) -> Delivery:
        said.delivered.pop()
        return said

    loop, _, happened = ended(liar.Archive(objects(2), move=drop), Retry(), clock, closing=True)
    assert (loop.waited, happened, clock.time) == (True, [], 1010.0)


def test_object_that_is_awaited_before_the_archive_is_left_is_known_to_have_been(clock: Clock) -> None:
    def drop(said: Delivery) -> Delivery:
        said.delivered.pop()
        return said

    def arrive_late() -> None:
        assert archive.server is not None
        if clock.time == 1005.0:
            archive.server._received(Received(liar.incoming(archive.held[1], "MOVESCU", 1), 10, 0))

    archive, waited = liar.Archive(objects(2), move=drop), list[bool]()
    clock.on_wait = arrive_late
    loop, _, _ = ended(archive, Retry(), clock, closing=True, complete=lambda: waited.append(loops[0].waited))
    assert (waited, loop.waited, clock.time) == ([True], True, 1005.0)


@pytest.mark.parametrize(
    ("alone", "closing", "complete", "seconds"),
    [(True, True, True, 3), (True, False, True, 0), (False, True, False, 10), (True, True, False, 61)],
)
def test_idle_sender_is_awaited_if_it_may_send_for_this_retrieve(
    clock: Clock, alone: bool, closing: bool, complete: bool, seconds: int
) -> None:
    def drop(said: Delivery) -> Delivery:
        del said.delivered[int(complete) :]
        return said

    archive = liar.Archive(objects(1), move=drop)
    sender = SimpleNamespace(has_carried_objects=True, has_carried_echo=False, is_within_message=False, waiting=True)
    sender.is_unread, sender.last_activity, sender.peer = False, clock.now(), "SENDER"
    ended(archive, Retry(), clock, sender, alone=alone, closing=closing)
    assert clock.time == 1000.0 + seconds


def test_port_is_closed_and_nothing_is_counted_any_more_if_there_is_no_archive(clock: Clock) -> None:
    archive = Closed(ConnectError("refused"))
    with pytest.raises(ConnectError):
        ended(archive, Retry(), clock, closing=True)
    assert archive.server is not None
    assert archive.server.listener.closed  # type: ignore[union-attr] # a Port
    assert not archive.server._rounds


def test_objects_that_go_elsewhere_are_said_to_be_unchecked(caplog: pytest.LogCaptureFixture) -> None:
    def elsewhere(said: Delivery) -> Delivery:
        said.delivered = []
        return said

    archive = liar.Archive(objects(2), move=elsewhere)
    with caplog.at_level(logging.WARNING):
        state = archive.loop(Retry(), **ELSEWHERE).run(STUDY)
    assert "counts 2 objects as sent to ELSEWHERE and none arrived here" in caplog.text
    assert (outcome(state), state.evidence.short) == (Outcome.COMPLETE, 0)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        nowhere = make_identifier(["QueryRetrieveLevel=STUDY", "StudyInstanceUID=9.9"])
        archive.loop(Retry(), **ELSEWHERE).run(STUDY, nowhere)
    assert "counts 2 objects" in caplog.text
    caplog.clear()
    liar.Archive([], move=elsewhere).loop(Retry(), **ELSEWHERE).run(STUDY)
    archive.loop(Retry()).run(STUDY)
    assert "counts" not in caplog.text
