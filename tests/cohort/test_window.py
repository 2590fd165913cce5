"""The time of day at which requests are made."""

from __future__ import annotations

import time

import pytest

from movescu.cohort.window import parse_window
from movescu.errors import UsageError


def at(hour: int, minute: int) -> float:
    return time.mktime((2026, 3, 10, hour, minute, 0, 0, 0, -1))


@pytest.mark.parametrize(
    ("window", "hour", "minute", "minutes"),
    [
        ("20:00-06:00", 19, 30, 30),
        ("20:00-06:00", 20, 0, 0),
        ("20:00-06:00", 23, 59, 0),
        ("20:00-06:00", 5, 59, 0),
        ("20:00-06:00", 6, 0, 14 * 60),
        ("9:15-10:00", 10, 0, 23 * 60 + 15),
        ("00:00-00:00", 12, 0, 0),
    ],
)
def test_window_may_go_over_midnight(window: str, hour: int, minute: int, minutes: int) -> None:
    assert parse_window(window).wait(at(hour, minute)) == minutes * 60


@pytest.mark.parametrize("text", ["", "20-06", "24:00-06:00", "20:00-06:60", "20:00", "20:00-06:00x"])
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_window(text)
