"""Which workers there are, and which of them are sent jobs.

A worker is admitted when its title is in the pool, and its receiver can be opened. It is lost once the scheduler does
not have it any more: it was killed, it stopped, or its machine is away. Then its title rests, because the archive still
sends to it what its jobs requested. A worker that is there but cannot receive, because its disk is full, or the archive
does not know or does not reach it, is not used any more, not under another address either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu.cohort.cluster.member import LOST, Member, WorkerState
from movescu.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from movescu.cohort.cluster.messenger import Messenger
    from movescu.retrieve.config import AE

_log: Final = logger_of("movescu.cohort")

SILENCE: Final = 20.0
"""Seconds without an answer of the scheduler after which it counts as gone."""
PATIENCE: Final = 60.0
"""Seconds without any worker after which the run ends."""


class Membership:
    """The workers of a cohort. ``pool``: their titles. ``rest``: seconds that a lost worker's title rests.

    ``open_worker``: opens the receiver of a worker, and calls back. ``on_lost``: called with each worker that is lost.
    """

    def __init__(
        self,
        engine: Messenger,
        pool: Sequence[AE],
        rest: float,
        open_worker: Callable[[Member], None],
        on_lost: Callable[[Member], None],
    ) -> None:
        self._engine, self._rest = engine, rest
        self._pool = {ae.title: ae for ae in pool}
        self._open_worker, self._on_lost = open_worker, on_lost
        self._members: dict[str, Member] = {}
        """Workers by address."""
        self._resting: dict[str, float] = {}
        """When titles of lost workers may be used again."""
        self._unused: dict[str, str] = {}
        """Titles of workers that are not used any more, with the reasons."""
        self._refused: set[str] = set()
        """Addresses of workers that cannot be used."""
        self._refusal = ""
        self._alone_since: float | None = None  # not before the driver first looks: a long list takes minutes to begin
        self.on_change: Callable[[Sequence[WorkerState]], None] = lambda _: None
        """Called when workers come, go, or cannot be used any more, in the driver's thread."""

    # -- what there is -------------------------------------------------------------------------------------------------

    @property
    def all(self) -> list[Member]:
        """All workers that there are. Safe from any thread."""
        return list(self._members.values())

    @property
    def ready(self) -> list[Member]:
        """Those whose receivers are open."""
        return [one for one in self._members.values() if one.ready]

    @property
    def usable(self) -> list[Member]:
        """Those that are sent jobs."""
        return [one for one in self._members.values() if one.usable]

    def has(self, member: Member) -> bool:
        """Return True if a worker is still there."""
        return self._members.get(member.address) is member

    def has_others(self, member: Member) -> bool:
        """Return True if another worker is used, or will be."""
        return any(one is not member and not one.unused for one in self._members.values())

    def states(self) -> list[WorkerState]:
        """Return the states of the workers, in the order of the titles. Safe from any thread."""
        found = {one.ae.title: one.state for one in self.all}
        for title in tuple(self._resting):
            if title not in found and (ae := self._pool.get(title)) is not None:
                found[title] = WorkerState(title, ae.host, ae.port, LOST)
        return [found[title] for title in self._pool if title in found]

    # -- what happens --------------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Follow which workers there are. Raise ``ClusterError`` if there is nobody to send jobs to."""
        now = clock.now()
        self.heed_scheduler()
        known = dict(self._engine.workers)
        for member in [one for one in self._members.values() if one.address not in known]:
            _log.warning("worker %s is lost; its title is not used again for %.0f s", member.ae.title, self._rest)
            self.lose(member)
        for address, name in known.items():
            if address not in self._members and address not in self._refused and self._resting.get(name, 0.0) <= now:
                self._admit(address, name)
        self._refused.intersection_update(known)
        if self.usable or self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since > PATIENCE or (self._refusal and not self._members and not self._resting):
            raise ClusterError(
                self._refusal or f"no worker for {PATIENCE:.0f} s",
                hint="start workers (movescu-worker), and continue with --resume",
            )

    def heed_scheduler(self) -> None:
        """Raise ``ClusterError`` if the scheduler is gone or silent."""
        silent = clock.now() - self._engine.seen > SILENCE
        if silent or self._engine.gone:
            raise ClusterError(
                f"the scheduler has not answered for {SILENCE:.0f} s" if silent else "the scheduler is gone",
                hint="start it again, and continue with --resume",
            )

    def _admit(self, address: str, name: str) -> None:
        ae = self._pool.get(name)
        if ae is None:
            self._refuse(address, f"the worker {name!r} has no title and port in --ae-pool")
            return
        self._resting.pop(name, None)
        if name in self._unused:
            self._refused.add(address)
            return
        member = self._members[address] = Member(address, ae)
        self._open_worker(member)

    def opened(self, member: Member) -> None:
        """Use a worker from now on: its receiver is open."""
        member.ready = True
        _log.info("worker %s receives on port %d of %s", member.ae.title, member.ae.port, member.ae.host)
        self.on_change(self.states())

    def refuse(self, member: Member, error: str) -> None:
        """Do not use a worker whose receiver cannot be opened."""
        del self._members[member.address]
        self._refuse(member.address, f"the worker {member.ae.title} cannot be used: {error}")

    def _refuse(self, address: str, why: str) -> None:
        self._refused.add(address)
        self._refusal = why
        _log.error("%s", why)

    def lose(self, member: Member) -> None:
        """Remove a worker that is lost, and tell whose jobs are lost with it."""
        self._members.pop(member.address, None)
        self._resting[member.ae.title] = clock.now() + self._rest
        self._on_lost(member)
        self.on_change(self.states())

    def retire(self, member: Member, words: str, advice: str) -> None:
        """Send a worker no more jobs; ``words``: of its state."""
        if member.unused:
            return
        member.unused = self._unused[member.ae.title] = words
        self._refusal = f"worker {member.ae.title}: {words}"
        _log.error("worker %s is not used any more: %s: %s", member.ae.title, words, advice)
        self.on_change(self.states())
