"""Admission of requests to an archive with a limit, in virtual time."""

from __future__ import annotations

import pytest
from admission_world import World, simulate
from hypothesis import given
from hypothesis import strategies as st

from movescu.cohort.admission import (
    BREAKS_AFTER,
    PROBE_AFTER,
    PROBE_SECONDS,
    STOPS_AFTER,
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


def test_archive_that_answers_an_echo_and_no_request_is_left_alone() -> None:
    admission, now, sent = Admission(1, answered=True), 0.0, 0
    while (advice := admission.advice(now)).stop is None:
        if advice.send:
            admission.ended(admission.started(), RequestEnd.AWAY, now)
            sent += 1
        elif advice.echo:
            admission.echo_started()
            admission.echo_ended(now, answered=True)
        now += advice.seconds
    assert (advice.stop, sent, now < 60) == (Stop.HOPELESS, 12, True)
