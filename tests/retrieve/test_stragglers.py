"""The wait after the final response, on a clock set by the test: how long for what, who is ended, what is cut off."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from movescu._runtime.record import replace
from movescu.dimse.status import SUB_OPERATIONS_WITH_FAILURES, SUCCESS, UNABLE_TO_PROCESS
from movescu.retrieve import stragglers as module
from movescu.retrieve.config import AE, Config, Receive, Timeouts
from movescu.retrieve.stragglers import Awaiting, shortest
from movescu.retrieve.tally import Round
from movescu.services.move import MoveResponse

if TYPE_CHECKING:
    from collections.abc import Callable

FINAL = 1000.0
"""When the final response arrived."""
TIMEOUTS = Timeouts(linger=10.0, unannounced=2.0, store=60.0)
CONFIG = Config(AE("127.0.0.1", 104, "ARCHIVE"), receive=Receive(11112), timeouts=TIMEOUTS)
UNCOUNTED = MoveResponse(1, SUCCESS, None, None, None, None)


class Sender:
    """A storage association. ``last``: when its last byte arrived, in seconds after the final response."""

    peer = "SENDER"

    def __init__(self, last: float = 0.0, *, objects: bool = True, echo: bool = False, within: bool = False) -> None:
        self.last_activity = FINAL + last
        self.has_carried_objects, self.has_carried_echo, self.is_within_message = objects, echo, within
        self.waiting, self.is_unread = True, False
        self.ended: float | None = None
        """When it was ended by us, in seconds after the final response."""
        self.port: Port | None = None

    def interrupt(self, _: str) -> None:
        assert self.port is not None
        self.ended = self.port.seconds
        self.port.open_associations = tuple(one for one in self.port.open_associations if one is not self)


class Port:
    """The listener, its lock and the clock: each wait takes all of its time, unless something happens before."""

    def __init__(self, *senders: Sender) -> None:
        self.seconds, self.open_associations, self.unassociated = 0.0, senders, 0
        self.events: list[tuple[float, Callable[[], object]]] = []
        self.held, self.longest = 0, 0.0
        self.changed = self
        self._ended = -math.inf
        for one in senders:
            one.port = self

    def now(self) -> float:
        return FINAL + self.seconds

    @property
    def last_activity(self) -> float:
        active = (one.last_activity for one in self.open_associations if one.has_carried_objects)
        return max((self._ended, *active))

    def at(self, seconds: float, event: Callable[[], object]) -> None:
        """Have something happen, some seconds after the final response."""
        self.events.append((seconds, event))
        self.events.sort(key=lambda one: one[0])

    def moves(self, seconds: float, one: Round | None = None, sender: Sender | None = None) -> None:
        """Have an object arrive."""

        def arrive() -> None:
            self._ended = self.now()
            if one is not None:
                one.arrived += 1
                one.touched = self.now()
            if sender is not None:
                sender.last_activity = self.now()

        self.at(seconds, arrive)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self) -> None:
        self.held += 1
        assert self.held == 1

    def release(self) -> None:
        self.held -= 1
        assert self.held == 0

    def wait(self, seconds: float) -> None:
        assert self.held
        assert seconds > 0, "a busy loop"
        self.longest = max(self.longest, seconds)
        until = self.seconds + seconds
        if self.events and self.events[0][0] <= until:
            until, event = self.events.pop(0)
            self.seconds = max(self.seconds, until)
            event()
        else:
            self.seconds = until
        assert self.seconds < 1e5, "no end"


def round_of(*responses: MoveResponse, arrived: int = 0, listed: bool | None = None) -> Round:
    """Make a round. ``listed``: whether all that is listed has arrived. Default: None, without a list."""
    one = Round(satisfied=None if listed is None else lambda: listed)
    one.responses, one.arrived = list(responses), arrived
    return one


def said(completed: int | None = 0, status: int = SUCCESS, **counts: Any) -> MoveResponse:
    """Make a final response."""
    return replace(MoveResponse(1, status, None, completed, 0, 0), **counts)


class Wait:
    """One wait: how long it took, and what was known at its end."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        port: Port,
        one: Round,
        *,
        config: Config = CONFIG,
        until: float | None = None,
        cancelled: float = math.inf,
        complete: Callable[[], object] = lambda: None,
        **settings: Any,
    ) -> None:
        monkeypatch.setattr(module, "clock", port)
        self.completed: list[tuple[float, int, bool]] = []

        def note(awaiting: Awaiting) -> None:
            assert not port.held, "it waits for the archive, while senders need the lock"
            self.completed.append((port.seconds, len(port.open_associations), awaiting.waited))
            complete()

        end = None if until is None else FINAL + until
        self.awaiting = Awaiting(config, one, end, complete=note, **settings)
        self.awaiting.wait(port, cancelled=lambda: port.seconds >= cancelled)  # type: ignore[arg-type] # stands in for it
        self.seconds, self.cut_off, self.waited = port.seconds, self.awaiting.cut_off, self.awaiting.waited
        assert not port.held
        assert port.longest <= 1.0, "a signal handler's cancel would be seen late"


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Wait]:
    return lambda *args, **settings: Wait(monkeypatch, *args, **settings)


@pytest.mark.parametrize("listed", [None, True])
@pytest.mark.parametrize("closing", [True, False])
def test_nothing_is_awaited_once_everything_counted_or_listed_has_arrived(
    wait: Callable[..., Wait], *, listed: bool | None, closing: bool
) -> None:
    found = wait(Port(), round_of(said(2 if listed is None else 9), arrived=2, listed=listed), closing=closing)
    assert (found.seconds, found.cut_off, found.waited, found.completed) == (0, 0, False, [(0, 0, False)])


def test_idle_sender_is_left_alone_unless_the_port_is_about_to_close(wait: Callable[..., Wait]) -> None:
    sender = Sender()
    found = wait(Port(sender), round_of(said(2), arrived=2), closing=False)
    assert (found.seconds, found.cut_off, sender.ended) == (0, 0, None)
    sender = Sender(-0.5)
    found = wait(Port(sender), round_of(said(2), arrived=2))
    assert (sender.ended, found.cut_off, found.waited) == (2, 0, True)
    assert found.completed == [(0, 1, False)], "the archive's own association is released first"


@pytest.mark.parametrize("closing", [True, False])
def test_object_under_way_is_awaited_although_everything_has_arrived(
    wait: Callable[..., Wait], *, closing: bool
) -> None:
    sender = Sender(within=True)
    port = Port(sender, Sender(25.0))
    port.at(30.0, lambda: vars(sender).update(is_within_message=False, last_activity=port.now()))
    found = wait(port, round_of(said(2), arrived=2), closing=closing)
    assert found.completed == [(30, 2 - closing, True)]
    assert (found.seconds, sender.ended) == ((33, 32) if closing else (30, None))
    assert found.waited


def test_object_under_way_that_has_stopped_ends_after_the_store_timeout(wait: Callable[..., Wait]) -> None:
    sender = Sender(within=True)
    found = wait(Port(sender), round_of(said(2), arrived=2))
    assert sender.ended == 60
    assert found.completed[0][0] >= 60, "what is told then is the end"


def test_sender_that_our_side_keeps_waiting_is_not_silent(wait: Callable[..., Wait]) -> None:
    sender = Sender()
    port = Port(sender)
    sender.waiting, sender.is_unread = False, False
    port.at(100.0, lambda: vars(sender).update(waiting=True, is_unread=True))
    port.at(200.0, lambda: vars(sender).update(is_unread=False))
    found = wait(port, round_of(said(2), arrived=1))
    assert sender.ended == 200
    assert found.seconds == 201


@pytest.mark.parametrize(
    ("response", "seconds"),
    [
        (said(2), 10),  # counted
        (said(1, SUB_OPERATIONS_WITH_FAILURES, warning=1), 10),
        (said(None, pending_completed=2), 10),
        (said(0, UNABLE_TO_PROCESS), 0),  # nothing counted, nothing announced
        (said(None, UNABLE_TO_PROCESS), 0),
        (said(0), 2),  # a success that names nothing
        (UNCOUNTED, 2),
        (said(0, failed=2), 0),
        (said(0, failed_sop_instance_uids=("1.2",)), 0),
    ],
)
def test_silence_ends_the_wait_for_objects_that_were_counted_and_sooner_if_none_was(
    wait: Callable[..., Wait], response: MoveResponse, seconds: float
) -> None:
    found = wait(Port(), round_of(response))
    assert (found.seconds, found.cut_off, found.waited) == (seconds, 0, seconds > 1)


def test_requests_that_share_an_attempt_are_awaited_together(wait: Callable[..., Wait]) -> None:
    refused = said(None, UNABLE_TO_PROCESS)
    assert wait(Port(), round_of(said(2), refused, arrived=1)).seconds == 10, "a refusal counts nothing"
    assert wait(Port(), round_of(said(0), refused)).seconds == 2, "the other was a success that names nothing"
    assert wait(Port(), round_of(said(0, failed=1), said(0))).seconds == 0, "something failed, which is told"


def test_counts_of_a_request_without_a_final_response_are_awaited(wait: Callable[..., Wait]) -> None:
    one = round_of()
    one.unfinished = said(2)
    assert wait(Port(), one).awaiting.expected == 2
    assert wait(Port(), one).seconds == 10
    one.lost = True
    assert wait(Port(), one).seconds == 0, "the archive is gone"


def test_archive_that_counts_nothing_and_sends_is_not_awaited(wait: Callable[..., Wait]) -> None:
    assert wait(Port(), round_of(UNCOUNTED, arrived=1)).seconds == 0
    assert wait(Port(), round_of(UNCOUNTED, arrived=1, listed=False)).seconds == 10, "the list says that one is to come"
    port = Port()
    port.unassociated = 1
    assert wait(port, round_of(UNCOUNTED, arrived=1)).seconds == 10, "someone connects"
    assert wait(Port(), round_of(said(1), UNCOUNTED, arrived=1)).seconds == 0, "one of two counts nothing"


def test_objects_that_arrive_prolong_the_wait_until_all_have(wait: Callable[..., Wait]) -> None:
    one = round_of(said(3))
    port = Port()
    for seconds in (9.0, 18.0):
        port.moves(seconds, one)
    assert wait(port, one).seconds == 28
    one, port = round_of(said(3)), Port()
    for seconds in (9.0, 18.0, 27.0):
        port.moves(seconds, one)
    found = wait(port, one)
    assert (found.seconds, found.completed, found.waited) == (27, [(27, 0, True)], True)


def test_open_association_is_awaited_for_the_store_timeout_while_objects_are_missing(wait: Callable[..., Wait]) -> None:
    sender = Sender(-30.0)
    found = wait(Port(sender), round_of(said(2), arrived=1))
    assert (sender.ended, found.seconds, found.cut_off) == (60, 61, 0)
    sender = Sender(30.0)
    wait(Port(sender), round_of(said(2), arrived=1))
    assert sender.ended == 90


@pytest.mark.parametrize(("linger", "store", "ended"), [(10.0, 60.0, 5), (60.0, 20.0, 15)])
def test_association_without_any_object_gets_the_shorter_timeout_from_its_last_byte(
    wait: Callable[..., Wait], linger: float, store: float, ended: float
) -> None:
    config = replace(CONFIG, timeouts=replace(TIMEOUTS, linger=linger, store=store))
    sender = Sender(-5.0, objects=False)
    wait(Port(sender), round_of(said(2), arrived=1), config=config)
    assert sender.ended == ended


def test_association_for_echo_alone_is_not_awaited(wait: Callable[..., Wait]) -> None:
    sender = Sender(objects=False, echo=True)
    found = wait(Port(sender), round_of(said(2), arrived=1), until=5.0)
    assert (found.seconds, found.cut_off, sender.ended) == (5, 0, None)
    sender = Sender(objects=True, echo=True)
    found = wait(Port(sender), round_of(said(2), arrived=1), until=5.0)
    assert (found.seconds, found.cut_off) == (5, 1)


def test_more_objects_than_counted_show_that_the_counts_are_no_end(wait: Callable[..., Wait]) -> None:
    sender = Sender()
    found = wait(Port(sender), round_of(said(2), arrived=3), closing=False)
    assert (sender.ended, found.completed) == (60, [])
    sender = Sender()
    assert wait(Port(sender), round_of(said(2), arrived=3, listed=True), closing=False).seconds == 0
    assert wait(Port(), round_of(said(2), arrived=3)).seconds == 0


@pytest.mark.parametrize(
    ("limits", "ended"),
    [({}, 60), ({"dimse": 20.0}, 20), ({"stall": 15.0}, 15), ({"dimse": 90.0}, 60), ({"stall": None}, 60)],
)
def test_idle_sender_of_a_lost_archive_ends_after_the_shortest_timeout(
    wait: Callable[..., Wait], limits: dict[str, Any], ended: float
) -> None:
    config = replace(CONFIG, timeouts=replace(TIMEOUTS, **limits))
    for one in (round_of(arrived=1), round_of(said(1), arrived=1)):
        one.lost, sender = True, Sender(-1.0)
        found = wait(Port(sender), one, config=config)
        assert (sender.ended, found.cut_off, found.completed) == (ended - 1, 0, [])


def test_total_timeout_ends_the_wait_and_open_associations_are_cut_off(wait: Callable[..., Wait]) -> None:
    found = wait(Port(Sender(), Sender(1.0)), round_of(said(9), arrived=1), until=7.5)
    assert (found.seconds, found.cut_off, found.waited) == (7.5, 2, True)
    assert wait(Port(), round_of(said(9), arrived=1), until=7.5).seconds == 7.5
    assert wait(Port(Sender()), round_of(said(9), arrived=1), until=60.0).cut_off == 1, "not ended as silent"
    found = wait(Port(Sender()), round_of(said(9), arrived=1), until=-1.0)
    assert (found.seconds, found.cut_off) == (0, 1)
    found = wait(Port(Sender()), round_of(said(2), arrived=2), until=0.5)
    assert (found.seconds, found.cut_off) == (0.5, 0), "everything has arrived"
    one = round_of(said(9), arrived=1)
    one.lost = True
    assert wait(Port(Sender()), one, until=7.5).cut_off == 0, "the archive is gone, which is reported"


def test_cancel_ends_the_wait_and_cuts_nothing_off(wait: Callable[..., Wait]) -> None:
    found = wait(Port(Sender()), round_of(said(9), arrived=1), cancelled=3.0)
    assert (found.seconds, found.cut_off) == (3, 0)
    found = wait(Port(Sender()), round_of(said(1), arrived=1), cancelled=0.0)
    assert (found.seconds, found.completed) == (0, [])


def test_round_that_shares_the_port_is_awaited_by_its_own_objects_alone(wait: Callable[..., Wait]) -> None:
    one, sender = round_of(said(3), arrived=1), Sender()
    port = Port(sender)
    port.moves(6.0, one, sender)
    port.moves(12.0, None, sender)  # of another request
    found = wait(port, one, alone=False)
    assert (found.seconds, found.cut_off, sender.ended) == (16, 0, None)
    assert wait(Port(Sender()), round_of(said(3), arrived=3), alone=False).seconds == 0
    assert wait(Port(Sender()), round_of(said(3), arrived=1), alone=False, until=4.0).seconds == 4
    one.lost = True
    assert wait(Port(Sender()), one, alone=False).seconds == 0


def test_objects_that_go_to_a_third_party_are_not_awaited(wait: Callable[..., Wait]) -> None:
    config = replace(CONFIG, destination="ELSEWHERE")
    found = wait(Port(), round_of(said(5)), config=config)
    assert (found.awaiting.elsewhere, found.awaiting.expected, found.seconds) == (True, 0, 0)
    assert wait(Port(), round_of(UNCOUNTED), config=config).seconds == 0
    found = wait(Port(), round_of(said(5), arrived=1), config=config)
    assert (found.awaiting.elsewhere, found.awaiting.expected, found.seconds) == (False, 5, 10)


def test_error_of_what_is_called_leaves_the_lock_free_for_the_senders(wait: Callable[..., Wait]) -> None:
    port = Port()
    with pytest.raises(ZeroDivisionError):
        wait(port, round_of(said(1), arrived=1), complete=lambda: 1 / 0)
    assert not port.held


@pytest.mark.parametrize(("arrived", "level"), [(2, "INFO"), (1, "WARNING")])
def test_end_of_a_silent_sender_is_a_warning_if_objects_are_missing(
    wait: Callable[..., Wait], caplog: pytest.LogCaptureFixture, arrived: int, level: str
) -> None:
    with caplog.at_level("INFO"):
        wait(Port(Sender()), round_of(said(2), arrived=arrived))
    assert [record.levelname for record in caplog.records] == [level]
    assert "storage association with SENDER: ended after" in caplog.text


def test_shortest_of_timeouts_of_which_none_is_set_is_none() -> None:
    assert shortest(None, None) is None
    assert shortest(None, 3.0, 2.0, None) == 2
