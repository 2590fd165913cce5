"""The tally of a retrieve: what arrived at our own port, against what the archive says it sent.

A ``Tally`` counts, in the threads of the storage associations; a ``Round`` is what is waited for together.
``evidence_of`` makes of them, and of the responses, what ``judgement`` goes by.
"""

from __future__ import annotations

import threading
import time

from movescu.dimse.status import CANCEL, SUCCESS
from movescu.retrieve.evidence import Evidence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence
    from typing import Final

    from movescu.retrieve.observer import Observer
    from movescu.services.move import MoveResponse
    from movescu.services.store import Received
    from movescu.storage.incoming_object import Incoming
    from movescu.storage.target import Target

_REPORTED: Final = 1000  # objects that failed or broke off and are remembered one by one


class Tally:
    """What arrived at our own port so far; counted by the threads of the storage associations.

    ``remember``: the SOP instance UIDs of what was stored are kept, some 150 bytes each, and an object that comes again
    counts once.
    """

    def __init__(self, *, remember: bool = False) -> None:
        self.stored = 0
        self.failed = 0
        self.size = 0
        """Bytes of data sets."""
        self.failures: dict[str, Received] = {}
        """The first thousand objects that were not stored, by SOP instance UID; one that came again and was is none."""
        self.last: Received | None = None
        """The object that came last."""
        self.broken_off: set[str] = set()
        """SOP instance UIDs of objects that began to come, broke off, and did not come again; a thousand at most."""
        self.uids: set[str] | None = set() if remember else None
        """SOP instance UIDs of what was stored, where they are kept."""
        self._again = 0
        self._lock = threading.Lock()

    @property
    def arrived(self) -> int:
        """How many objects came, stored or not; each as often as it came."""
        return self.stored + self.failed + self._again

    def count(self, received: Received) -> None:
        """Count an object. One that failed before counts once, and as what became of it at last."""
        uid = received.incoming.request.affected_sop_instance_uid
        with self._lock:
            self.size += received.size
            self.last = received
            self.failed -= self.failures.pop(uid, None) is not None
            if received.status == SUCCESS:
                self._count_stored(uid)
            else:
                self.failed += 1
                if len(self.failures) < _REPORTED:
                    self.failures[uid] = received
            self.broken_off.discard(uid)

    def add(self, other: Tally) -> None:
        """Add what another one has counted, and counts no more; what was remembered is not."""
        with self._lock:
            self.stored += other.stored
            self.failed += other.failed
            self.size += other.size
            self._again += other._again
            self.failures |= other.failures
            self.broken_off |= other.broken_off

    def _count_stored(self, uid: str) -> None:
        if self.uids is not None:
            if uid in self.uids:
                self._again += 1
                return
            self.uids.add(uid)
        self.stored += 1

    def count_broken_off(self, incoming: Incoming) -> None:
        """Note an object whose sender was lost before it was whole; it may come again."""
        with self._lock:
            if len(self.broken_off) < _REPORTED:
                self.broken_off.add(incoming.request.affected_sop_instance_uid)


class Round:
    """Requests that are waited for together, and what arrived for them.

    ``tally``: of this round, a new one if none is given. ``wanted``: SOP instance UIDs of the objects that are asked
    for, where they are known. ``row``: see ``events``. ``total``: of several rounds for the same objects together.
    ``target``: where its objects go, None for where all go. ``observer`` is told of its objects. ``satisfied`` tells
    whether all that is wanted is there, whatever the archive counts.
    """

    def __init__(
        self,
        tally: Tally | None = None,
        *,
        wanted: Container[str] | None = None,
        row: int | None = None,
        total: Tally | None = None,
        target: Target | None = None,
        observer: Observer | None = None,
        satisfied: Callable[[], bool] = lambda: False,
    ) -> None:
        self.tally = Tally() if tally is None else tally
        self.responses: list[MoveResponse] = []
        self.message_ids: set[int] = set()
        self.wanted = wanted
        self.extra: set[str] = set()
        """SOP instance UIDs of other objects that came all the same, a thousand at most."""
        self.lost = False
        """Whether the association with the archive ended before a final response."""
        self.row = row
        self.total = total
        self.target = target
        self.observer = observer
        self.satisfied = satisfied
        self.touched = 0.0
        """When an object last came, on the monotonic clock."""

    def count(self, received: Received) -> None:
        """Count an object that came for this round."""
        self.touched = time.monotonic()
        self.tally.count(received)
        if self.total is not None:
            self.total.count(received)
        uid = received.incoming.request.affected_sop_instance_uid
        if self.wanted is not None and uid not in self.wanted and len(self.extra) < _REPORTED:
            self.extra.add(uid)

    def count_broken_off(self, incoming: Incoming) -> None:
        """Note an object for this round whose sender was lost before it was whole."""
        self.tally.count_broken_off(incoming)
        if self.total is not None:
            self.total.count_broken_off(incoming)


def evidence_of(
    responses: Sequence[MoveResponse], tally: Tally, *, expected: int, cut_off: int, lost: bool, cancelled: bool
) -> Evidence:
    """Return the evidence of requests that were waited for together.

    ``cancelled``: C-CANCEL was sent for one of them, so that an archive which ends by FE00 does as it was told.
    """
    obeyed = cancelled and any(response.status == CANCEL for response in responses)
    return Evidence(
        statuses=tuple(response.status for response in responses),
        failed=sum(max(response.failed or 0, len(response.failed_sop_instance_uids)) for response in responses),
        short=max(expected - tally.arrived, 0),
        not_stored=tally.failed,
        broken_off=0 if obeyed else len(tally.broken_off),
        cut_off=cut_off,
        lost=lost,
        cancelled=obeyed,
    )


def found_nothing(responses: Sequence[MoveResponse], tally: Tally) -> bool:
    """Return True if every request ended by success, nothing was counted and nothing came."""
    counted = any(one.completed or one.warning or one.failed for one in responses)
    return all(one.status == SUCCESS for one in responses) and not (counted or tally.arrived or tally.broken_off)
