"""Admission of requests to an archive with a limit, in virtual time."""

from __future__ import annotations

import pytest
from admission_world import World, simulate
from hypothesis import given
from hypothesis import strategies as st

from movescu.cohort.admission import (
    BREAKS_AFTER,
    FIRST_ECHO,
    PATIENCE,
    PAUSE,
    PROBE_AFTER,
    PROBE_SECONDS,
    STOPS_AFTER,
    UNANSWERED,
    Admission,
    Advice,
    Fate,
    RequestEnd,
    Stop,
)


@pytest.mark.parametrize("slots", [1, 2, 3, 8])
@pytest.mark.parametrize("entries", [20, 300, 1000])
def test_limit_is_learned_with_few_refusals_and_little_time_is_lost(slots: int, entries: int) -> None:
    course = simulate(World([(0.0, slots)]), Admission(8), entries)
    assert sorted(course.done) == list(range(entries))
    assert course.refusals <= 8 + entries / PROBE_AFTER + course.ended / PROBE_SECONDS
    optimum = entries / slots
    assert course.ended <= 2 * optimum + 1.5


def test_limit_that_is_known_is_never_exceeded() -> None:
    course = simulate(World([(0.0, 2)]), Admission(8, slots=2), 100)
    assert (len(course.done), course.refusals) == (100, 0)


def test_slots_that_are_given_back_are_used_again() -> None:
    course = simulate(World([(0.0, 1), (60.0, 8)]), Admission(8), 1000)
    assert len(course.done) == 1000
    assert course.ended < 60 + 1000 / 8 * 2


def test_refused_entry_goes_back_unharmed_while_others_are_under_way() -> None:
    admission = Admission(3)
    first, second, third = (admission.started() for _ in range(3))
    assert admission.ended(third, RequestEnd.REFUSED, 1.0) is Fate.AGAIN
    assert (admission.ceiling, admission.advice(1.0).send) == (2, False)
    assert admission.ended(first, RequestEnd.GOOD, 2.0) is Fate.DONE
    assert admission.advice(2.0).send
    assert admission.ended(second, RequestEnd.REFUSED, 3.0) is Fate.AGAIN  # the others were there when it was sent


@pytest.mark.row("list-refused-alone")
def test_entry_that_is_refused_alone_waits_longer_each_time() -> None:
    admission = Admission(1)
    now, pauses = 0.0, []
    for _ in range(8):
        assert admission.ended(admission.started(), RequestEnd.REFUSED, now) is Fate.AGAIN_COUNTED
        pauses.append(admission.advice(now).seconds)
        now += pauses[-1]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_archive_that_is_away_is_probed_and_its_entries_are_unharmed() -> None:
    course = simulate(World([(0.0, 4)], [(20.0, 320.0)]), Admission(8), 400)
    assert len(course.done) == 400
    assert course.stop is None
    assert course.echoes <= 11  # after 5, 15, 35, 75, 135 ... s
    assert course.ended < 300 + 60 + 2 * 100


@pytest.mark.row("list-never-there")
def test_archive_that_never_answered_stops_the_cohort_at_once() -> None:
    course = simulate(World([(0.0, 4)], [(0.0, 1000.0)]), Admission(8), 100)
    assert (course.done, course.stop) == ([], Stop.AWAY)
    assert course.sent <= 8


@pytest.mark.parametrize("answered", [False, True])
def test_archive_that_answered_in_an_earlier_run_is_waited_for(*, answered: bool) -> None:
    course = simulate(World([(0.0, 4)], [(0.0, 100.0)]), Admission(8, answered=answered), 50)
    assert len(course.done) == (50 if answered else 0)


def test_patience_ends() -> None:
    course = simulate(World([(0.0, 4)], [(10.0, 1e9)]), Admission(4, patience=600.0), 1000)
    assert course.stop is Stop.AWAY
    assert 0 < len(course.done) < 100
    assert course.left == 1000 - len(course.done)


def test_archive_that_is_away_when_its_window_closes_is_probed_when_that_opens() -> None:
    world = World([(0.0, 4)], [(10.0, 50_000.0)], [(20.0, 60_000.0)])
    course = simulate(world, Admission(4, patience=600.0), 100)
    assert (len(course.done), course.stop) == (100, None)
    assert course.ended < 60_000 + 60 + 100
    world.absences = [(10.0, 1e9)]
    course = simulate(world, Admission(4, patience=600.0), 100)
    assert course.stop is Stop.AWAY, "patience ends within the window"


def test_archive_that_cannot_connect_to_us_is_not_asked_for_ever() -> None:
    admission = Admission(2)
    for _ in range(STOPS_AFTER):
        assert admission.advice(0.0).stop is None
        assert admission.ended(admission.started(), RequestEnd.UNREACHED, 0.0) is Fate.DONE
    assert admission.advice(0.0) == Advice(stop=Stop.UNREACHED)


def test_one_object_that_came_shows_that_we_can_be_reached() -> None:
    admission = Admission(1)
    for ending in (
        RequestEnd.UNREACHED,
        RequestEnd.UNREACHED,
        RequestEnd.GOOD,
        RequestEnd.UNREACHED,
        RequestEnd.UNREACHED,
    ):
        admission.ended(admission.started(), ending, 0.0)
    assert admission.advice(0.0).stop is None


def test_permanent_rejection_stops_the_cohort() -> None:
    admission = Admission(4, answered=True)
    admission.ended(admission.started(), RequestEnd.HOPELESS, 0.0)
    assert admission.advice(0.0).stop is Stop.HOPELESS


def test_full_disk_stops_the_cohort_and_counts_against_no_entry() -> None:
    admission = Admission(4)
    first, second = admission.started(), admission.started()
    assert admission.ended(first, RequestEnd.NO_SPACE, 0.0) is Fate.AGAIN
    assert admission.advice(0.0).stop is Stop.NO_SPACE
    assert admission.ended(second, RequestEnd.GOOD, 1.0) is Fate.DONE
    assert admission.refusals == 0


def test_failures_to_reach_the_archive_with_answers_in_between_are_not_an_absence() -> None:
    admission = Admission(1, answered=True)
    for ending in (RequestEnd.AWAY, RequestEnd.AWAY, RequestEnd.FAILED) * BREAKS_AFTER:
        admission.ended(admission.started(), ending, 0.0)
    assert admission.away_since is None


@st.composite
def worlds(draw: st.DrawFn) -> World:
    times = sorted(draw(st.lists(st.floats(1, 2000), max_size=4)))
    slots = [(0.0, draw(st.integers(1, 10))), *((time, draw(st.integers(1, 10))) for time in times)]
    begins = sorted(draw(st.lists(st.floats(5, 3000), max_size=3)))
    absences = [(begin, begin + draw(st.floats(0.1, 600))) for begin in begins]
    closed, opens = list[tuple[float, float]](), 0.0
    for _ in range(draw(st.integers(0, 3))):
        closes = opens + draw(st.floats(0.1, 1500))
        opens = closes + draw(st.floats(0.1, 60000))
        closed.append((closes, opens))
    seconds, latency = draw(st.floats(0.05, 30)), draw(st.floats(0.001, 0.1))
    return World(slots, absences, closed, seconds, latency, draw(st.integers(0, 99)))


@given(worlds(), st.integers(1, 12), st.integers(1, 100))
def test_every_entry_is_served_with_bounded_refusals_and_no_busy_loop(world: World, jobs: int, entries: int) -> None:
    course = simulate(world, Admission(jobs), entries)
    if course.stop is None:
        assert sorted(course.done) == list(range(entries))
    changes = len(world.slots) + len(world.absences) + len(world.closed)
    alone = sum(course.counted.values())
    assert course.refusals - alone <= jobs * changes + entries / PROBE_AFTER + course.ended / PROBE_SECONDS + 1
    assert alone == 0  # whoever is alone finds a slot in these worlds
    assert course.asked <= 4 * (course.sent + course.echoes) + 10 + course.ended / PROBE_SECONDS + 4 * changes


@pytest.mark.parametrize("before", [(), (RequestEnd.AWAY,) * BREAKS_AFTER + (RequestEnd.FAILED,)])
def test_archive_that_answers_an_echo_and_no_request_is_left_alone(before: tuple[RequestEnd, ...]) -> None:
    admission, now, sent = Admission(1, answered=True), 0.0, 0
    ended(admission, *before)
    while (advice := admission.advice(now)).stop is None:
        if advice.send:
            admission.ended(admission.started(), RequestEnd.AWAY, now)
            sent += 1
        elif advice.echo:
            admission.echo_started()
            admission.echo_ended(now, answered=True)
        now += advice.seconds
    assert (advice.stop, sent, now < 60) == (Stop.HOPELESS, 12, True)


def ended(admission: Admission, *endings: RequestEnd, now: float = 0.0) -> list[Fate]:
    """End requests that are alone, one after the other."""
    return [admission.ended(admission.started(), ending, now) for ending in endings]


def test_refused_entry_goes_back_unharmed_if_another_was_under_way_meanwhile() -> None:
    admission = Admission(2)
    first, second = admission.started(), admission.started()
    admission.ended(second, RequestEnd.GOOD, 0.0)
    assert admission.ended(first, RequestEnd.REFUSED, 1.0) is Fate.AGAIN
    assert ended(admission, RequestEnd.REFUSED) == [Fate.AGAIN_COUNTED]


def test_silence_while_others_are_served_is_a_refusal_that_counts_against_no_entry() -> None:
    admission = Admission(3, answered=True)
    first, second = admission.started(), admission.started()
    assert admission.ended(second, RequestEnd.SILENT, 0.0) is Fate.AGAIN
    assert (admission.refusals, admission.ceiling, admission.advice(0.0).send) == (1, 1, False)
    assert admission.ended(first, RequestEnd.GOOD, 1.0) is Fate.DONE
    assert admission.advice(1.0).send


def test_silence_without_another_request_is_an_absence() -> None:
    admission = Admission(3, answered=True)
    assert ended(admission, *[RequestEnd.SILENT] * BREAKS_AFTER) == [Fate.AGAIN] * BREAKS_AFTER
    assert (admission.refusals, admission.ceiling, admission.away_since) == (0, 3, 0.0)


def test_silence_of_an_archive_that_never_answered_is_no_refusal() -> None:
    admission = Admission(3)
    first, second = admission.started(), admission.started()
    assert admission.ended(second, RequestEnd.SILENT, 0.0) is Fate.DONE
    assert admission.refusals == 0
    assert admission.advice(0.0) == Advice(seconds=float("inf")), "no third request is sent before the first has ended"
    assert admission.ended(first, RequestEnd.SILENT, 0.0) is Fate.DONE
    assert admission.advice(0.0).stop is Stop.AWAY
    admission = Admission(4)
    numbers = [admission.started() for _ in range(4)]
    for number in numbers[:3]:
        assert admission.advice(0.0).stop is None
        admission.ended(number, RequestEnd.AWAY, 0.0)
    assert admission.advice(0.0).stop is Stop.AWAY, "the fourth is not waited for"


@pytest.mark.parametrize("delivered", [True, False])
def test_archive_that_accepted_a_request_is_worth_waiting_for(*, delivered: bool) -> None:
    admission = Admission(1)
    number = admission.started()
    if delivered:
        admission.delivered(number)
    else:
        admission.accepted()
    assert admission.ended(number, RequestEnd.AWAY, 0.0) is Fate.AGAIN
    assert ended(admission, RequestEnd.AWAY) == [Fate.AGAIN]
    assert admission.advice(10.0).stop is None


def test_request_that_was_carried_out_takes_no_slot_while_its_objects_are_awaited() -> None:
    admission = Admission(1)
    first = admission.started()
    assert not admission.advice(0.0).send
    admission.delivered(first)
    assert (admission.under_way, admission.advice(0.0).send) == (0, True)
    second = admission.started()
    assert admission.ended(second, RequestEnd.REFUSED, 0.0) is Fate.AGAIN_COUNTED, "no other request took a slot"
    admission.ended(first, RequestEnd.GOOD, 0.0)
    assert admission.under_way == 0


def test_withdrawn_request_frees_its_slot() -> None:
    admission = Admission(1)
    for delivered in (False, True):
        number = admission.started()
        if delivered:
            admission.delivered(number)
        admission.withdrawn(number)
        assert (admission.under_way, admission.advice(0.0).send) == (0, True)


def test_destination_that_the_archive_does_not_know_stops_the_cohort() -> None:
    admission = Admission(1)
    ended(admission, RequestEnd.UNKNOWN, RequestEnd.UNKNOWN)
    assert admission.advice(0.0).stop is None
    ended(admission, RequestEnd.UNKNOWN)
    assert admission.advice(0.0).stop is Stop.UNKNOWN


@pytest.mark.parametrize(
    ("first", "stop"),
    [
        ([RequestEnd.HOPELESS], Stop.HOPELESS),
        ([RequestEnd.NO_SPACE], Stop.NO_SPACE),
        ([RequestEnd.NOT_FLUSHED], Stop.NOT_FLUSHED),
        ([RequestEnd.UNREACHED] * STOPS_AFTER, Stop.UNREACHED),
        ([RequestEnd.AWAY], Stop.AWAY),
    ],
)
def test_first_reason_to_stop_is_the_one_that_is_told(first: list[RequestEnd], stop: Stop) -> None:
    admission = Admission(8, patience=60.0)
    ended(admission, *first)
    assert admission.advice(0.0) == Advice(stop=stop)
    for other in (RequestEnd.HOPELESS, RequestEnd.NO_SPACE, *[RequestEnd.UNKNOWN] * STOPS_AFTER):
        ended(admission, other)
        assert admission.advice(0.0) == Advice(stop=stop)
    ended(admission, *[RequestEnd.AWAY] * BREAKS_AFTER)
    assert admission.advice(1e9) == Advice(stop=stop)


def test_rejection_that_stopped_the_cohort_is_told_although_the_archive_goes_away() -> None:
    admission = Admission(2)
    first, second = admission.started(), admission.started()
    admission.ended(first, RequestEnd.HOPELESS, 0.0)
    admission.ended(second, RequestEnd.AWAY, 0.0)
    assert admission.advice(0.0).stop is Stop.HOPELESS


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_pauses_are_randomized_by_the_factor_that_is_given(factor: float) -> None:
    refused, lost = (Admission(1, answered=True, jitter=lambda: factor) for _ in range(2))
    ended(refused, RequestEnd.REFUSED, now=7.0)
    assert refused.advice(7.0) == Advice(seconds=PAUSE * factor)
    assert refused.advice(7.0 + PAUSE * factor).send
    ended(lost, RequestEnd.AWAY, now=7.0)
    assert lost.advice(7.0) == Advice(seconds=PAUSE * factor), "a failure to reach the archive is not repeated at once"
    ended(lost, *[RequestEnd.AWAY] * (BREAKS_AFTER - 1), now=7.0)
    assert lost.absence(8.0) == (FIRST_ECHO * factor - 1.0, PATIENCE - 1.0)
    lost.echo_started()
    lost.echo_ended(20.0, answered=False)
    assert lost.absence(20.0) == (2 * FIRST_ECHO * factor, PATIENCE - 13.0)
    assert lost.absence(1e9) == (0.0, 0.0)


def test_good_request_makes_the_next_pause_short_again() -> None:
    admission = Admission(1)
    ended(admission, RequestEnd.REFUSED, RequestEnd.REFUSED, RequestEnd.GOOD)
    ended(admission, RequestEnd.REFUSED, now=100.0)
    assert admission.advice(100.0).seconds == PAUSE


def test_absent_archive_is_probed_at_growing_intervals_until_it_answers() -> None:
    admission, now, intervals = Admission(1, answered=True), 0.0, []
    assert admission.absence(0.0) is None
    ended(admission, *[RequestEnd.AWAY] * BREAKS_AFTER)
    admission.gone(3.0)  # an absence is not prolonged by what fails meanwhile
    assert admission.deadline == PATIENCE
    for _ in range(6):
        advice = admission.advice(now)
        assert (advice.send, advice.echo) == (False, False)
        intervals.append(advice.seconds)
        now += advice.seconds
        assert admission.advice(now) == Advice(echo=True)
        admission.echo_started()
        assert admission.advice(now) == Advice(seconds=PATIENCE - now), "one probe at a time"
        admission.echo_ended(now, answered=False)
    assert intervals == [5, 10, 20, 40, 60, 60]
    admission.echo_ended(now, answered=True)
    assert (admission.absence(now), admission.deadline, admission.advice(now).send) == (None, float("inf"), True)
    ended(admission, *[RequestEnd.AWAY] * BREAKS_AFTER, now=now)
    assert admission.advice(now).seconds == FIRST_ECHO, "intervals begin anew"


def test_archive_that_answers_a_request_now_and_then_is_not_left_alone() -> None:
    admission = Admission(1, answered=True)
    for _ in range(2 * UNANSWERED):
        ended(admission, *[RequestEnd.AWAY] * BREAKS_AFTER)
        admission.echo_started()
        admission.echo_ended(0.0, answered=True)
        ended(admission, RequestEnd.FAILED)
    assert admission.advice(0.0).stop is None


def test_time_in_which_nothing_may_be_sent_is_no_part_of_an_absence() -> None:
    admission = Admission(1, answered=True, patience=100.0)
    ended(admission, *[RequestEnd.AWAY] * BREAKS_AFTER)
    assert admission.advice(50.0, held=True) == Advice(seconds=float("inf"))
    assert admission.advice(1050.0).echo
    assert admission.deadline == 1100.0
    assert admission.advice(1099.0).stop is None
    assert admission.advice(1100.0).stop is Stop.AWAY


def test_absence_that_begins_while_nothing_may_be_sent_counts_from_then_on() -> None:
    admission = Admission(1, answered=True, patience=100.0)
    number = admission.started()
    ended(admission, *[RequestEnd.AWAY] * (BREAKS_AFTER - 1))
    admission.advice(10.0, held=True)
    admission.ended(number, RequestEnd.AWAY, 20.0)
    admission.advice(500.0)
    assert admission.deadline == 600.0


def test_learned_ceiling_is_raised_by_one_after_good_requests_or_a_long_time() -> None:
    admission = Admission(4)
    numbers = [admission.started() for _ in range(4)]
    admission.ended(numbers.pop(), RequestEnd.REFUSED, 0.0)
    admission.ended(numbers.pop(), RequestEnd.REFUSED, 0.0)
    assert admission.ceiling == 2
    assert admission.advice(100.0) == Advice(seconds=PROBE_SECONDS - 100.0), "or a free slot would never be found"
    assert not admission.advice(PROBE_SECONDS - 0.5).send
    assert admission.advice(PROBE_SECONDS).send
    assert admission.ceiling == 3
    for number in numbers:
        admission.ended(number, RequestEnd.FAILED, PROBE_SECONDS)
    ended(admission, *[RequestEnd.GOOD] * (PROBE_AFTER - 1), now=PROBE_SECONDS)
    admission.advice(PROBE_SECONDS)
    assert admission.ceiling == 3
    ended(admission, RequestEnd.GOOD, now=PROBE_SECONDS)
    admission.advice(PROBE_SECONDS)
    assert admission.ceiling == 4
    for _ in range(4):
        assert admission.advice(9 * PROBE_SECONDS).send
        admission.started()
    assert admission.advice(9 * PROBE_SECONDS) == Advice(seconds=float("inf")), "never more than jobs"
