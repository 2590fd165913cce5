"""Workers behind messages: each job and each report crosses as JSON and as a pickle, as to another machine."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, TypeVar

from movescu.cohort.job_json import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from movescu.cohort.job import Job, LateReport, LostJob, Report
    from movescu.cohort.workers import Workers

_T = TypeVar("_T", bound="Job | Report | LateReport | LostJob")


class MessageWorkers:
    """Other workers, to whom nothing but messages gets. ``longest``: characters of the longest message so far."""

    def __init__(self, others: Workers) -> None:
        self._others = others
        self.longest = 0

    def _crossed(self, message: _T) -> _T:
        text = to_json(message)
        self.longest = max(self.longest, len(text))
        crossed: _T = from_json(text)
        assert crossed == message
        assert pickle.loads(pickle.dumps(message)) == message
        return crossed

    @property
    def capacity(self) -> int:
        return self._others.capacity

    def start(self, job: Job) -> None:
        self._others.start(self._crossed(job))

    def settle(self) -> None:
        self._others.settle()

    def echo(self) -> None:
        self._others.echo()

    def next(self, seconds: float) -> Report | None:
        report = self._others.next(seconds)
        return None if report is None else self._crossed(report)

    def lost(self) -> tuple[LostJob, ...]:
        return tuple(map(self._crossed, self._others.lost()))

    def cancel(self) -> None:
        self._others.cancel()

    def give_way(self) -> None:
        self._others.give_way()

    def keep(self, sop_instance_uids: Iterable[str]) -> None:
        self._others.keep(sop_instance_uids)

    def close(self, *, at_once: bool = False) -> LateReport:
        return self._crossed(self._others.close(at_once=at_once))
