"""How long pending C-MOVE responses are left in the socket: a thread that wakes for each slows the one that stores."""

from __future__ import annotations

import pytest

from movescu._runtime import clock
from movescu.services.move import ResponsePace


def rests(monkeypatch: pytest.MonkeyPatch, seconds: float, remaining: int | None, *, objects: int = 10) -> float:
    """The rest after some objects in so many seconds, with so many still to come."""
    now = [100.0]
    monkeypatch.setattr(clock, "now", lambda: now[0])
    pace = ResponsePace()
    pace.rest(1, 1000)
    now[0] += seconds
    return pace.rest(1 + objects, remaining)


def test_fast_objects_are_left_alone_for_twenty_milliseconds_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rests(monkeypatch, 0.005, 1000) == ResponsePace.LONGEST
    assert rests(monkeypatch, 0.005, 20_000) == ResponsePace.LONGEST


def test_rest_is_half_of_what_the_remaining_objects_take(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rests(monkeypatch, 0.005, 40) == pytest.approx(40 / 2 * 0.0005)


@pytest.mark.parametrize(
    ("seconds", "remaining", "objects"),
    [
        (0.005, 31, 10),  # the end is near
        (0.0005, 32, 10),  # a rest shorter than it takes to wake
        (0.03, 1000, 10),  # slow objects: each response is news
        (0.005, None, 10),  # an archive that does not count
        (0.005, 1000, 0),  # nothing arrived
    ],
)
def test_response_is_awaited_at_once(
    monkeypatch: pytest.MonkeyPatch, seconds: float, remaining: int | None, objects: int
) -> None:
    assert rests(monkeypatch, seconds, remaining, objects=objects) == 0.0
