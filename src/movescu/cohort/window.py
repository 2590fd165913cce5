"""The time of day to send requests in, for archives that must not be slowed down in working hours."""

from __future__ import annotations

import re
import time
from typing import Final

from movescu.errors import UsageError

_WINDOW: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])-([01]?[0-9]|2[0-3]):([0-5][0-9])\Z")
_DAY: Final = 24 * 60


class Window:
    """A period of the day, in minutes of local time; it may span midnight."""

    def __init__(self, begin: int, end: int) -> None:
        self._begin = begin
        self._length = (end - begin) % _DAY or _DAY

    def wait(self, now: float) -> float:
        """Return the seconds until the period begins, 0 within it; ``now``: seconds since 1970."""
        local = time.localtime(now)
        since = (local.tm_hour * 60 + local.tm_min - self._begin) % _DAY
        return 0.0 if since < self._length else (_DAY - since) * 60.0 - local.tm_sec


def parse_window(text: str) -> Window:
    """Parse a time of day, as in 20:00-06:00. Raise ``UsageError`` for any other text."""
    match = _WINDOW.match(text)
    if match is None:
        raise UsageError(f"{text!r} is not a time of day", hint="write it as in 20:00-06:00")
    hours = [int(part) for part in match.groups()]
    return Window(hours[0] * 60 + hours[1], hours[2] * 60 + hours[3])
