"""The progress of jobs, which the driver asks the workers for while somebody looks at it (``--live``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu.cohort.cluster import station
from movescu.cohort.cluster.member import JobProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from movescu.cohort.cluster.member import Member

    Call = Callable[[Member, str, Callable[..., object], Callable[[object, str], None]], object]
    """Calls a function of the station in a worker, and passes its result and error on."""

_LOOK: Final = 1.0
"""Seconds between two looks."""


class Watching:
    """Asks for progress once a second. ``call``: calls a function in a worker."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.on_progress: Callable[[JobProgress], None] | None = None
        """Called with the progress of each job. Default: None, the workers are not asked."""
        self._next = 0.0

    def look(self, now: float, members: Iterable[Member]) -> None:
        """Ask the workers that have jobs, if it is time."""
        if self.on_progress is None or now < self._next:
            return
        self._next = now + _LOOK
        for member in members:
            if not member.jobs:
                member.progress = ()
            elif not member.asked:
                member.asked = True
                self._call(member, "look", station.look, self._seen_by(member))

    def _seen_by(self, member: Member) -> Callable[[object, str], None]:
        def seen(found: object, _: str) -> None:
            member.asked = False
            if not isinstance(found, list | tuple):  # it serves another cohort, or is gone
                return
            member.progress = tuple(JobProgress(*one) for number, *one in found if number in member.jobs)
            for one in member.progress:
                if self.on_progress is not None:
                    self.on_progress(one)

        return seen
