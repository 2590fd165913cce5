from __future__ import annotations

import pytest

from movescu._runtime import clock
from movescu.errors import UsageError
from movescu.retrieve.pace import Pace, parse_rate


def test_rates_are_powers_of_1024() -> None:
    assert [parse_rate(text) for text in ("500", "2k", "20M", "1.5G", "1MB/s")] == [
        500,
        2048,
        20 << 20,
        1.5 * (1 << 30),
        1 << 20,
    ]


@pytest.mark.parametrize("text", ["", "0", "-1", "M", "1T", "fast", "20 M"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_rate(text)


def test_pace_makes_up_for_all_that_came_but_for_a_short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    now = [100.0]

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(clock, "sleep", sleep)
    monkeypatch.setattr(clock, "now", lambda: now[0])
    pace = Pace(1000)
    for _ in range(10):
        pace.take(500)
    assert sum(waits) == pytest.approx(4.9)
