"""The tally of a retrieve: objects that arrived, to compare with the archive's counts (PS3.7 9.1.4.1).

A ``Tally`` counts objects, in the threads of the storage associations. A ``Round`` joins the requests of one attempt
with the objects that arrive for them. ``evidence_of`` makes ``Evidence`` from a tally and the responses.
"""

from __future__ import annotations

from movescu._runtime import clock
from movescu._runtime.record import Record
from movescu.dimse.status import CANCEL, SUB_OPERATIONS_WITH_FAILURES, SUCCESS, StatusClass
from movescu.errors import StoreError
from movescu.retrieve.belonging import Belonging
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

_REPORTED: Final = 1000  # failed or broken-off objects that are kept by name


class NotStored(Record):
    """Why an object that arrived was not stored: the status of our C-STORE response, and the error's words."""

    status: int
    error: str = ""


class Tally:
    """Counts of the objects that arrived; safe in the threads of the storage associations.

    ``remember``: keep the SOP instance UIDs of all objects, so that one that is sent twice counts once, and one that is
    stored after it failed is no failure; some 150 bytes each.
    """

    def __init__(self, *, remember: bool = False) -> None:
        self.stored = 0
        self.failed = 0
        self.size = 0
        """Bytes of the data sets that were stored."""
        self.failures: dict[str, NotStored] = {}
        """Objects that were not stored, by SOP instance UID, unless stored later; the first 1000."""
        self.further_failures: set[str] = set()
        """SOP instance UIDs of those beyond the first 1000; empty unless remembered."""
        self.last: Received | None = None
        """The object that arrived last."""
        self.no_space = False
        """Whether an object was not stored since the disk is full."""
        self.broken_off: set[str] = set()
        """SOP instance UIDs of objects that broke off and did not arrive again; at most 1000."""
        self.uids: set[str] | None = set() if remember else None
        """SOP instance UIDs of stored objects; None unless remembered."""
        self._again = 0
        self._lock = clock.Lock()

    @property
    def arrived(self) -> int:
        """Number of objects that arrived, stored or not, repetitions included."""
        return self.stored + self.failed + self._again

    def count(self, received: Received) -> None:
        """Count an object. One that failed before counts once, by its last status."""
        with self._lock:
            self.last = received
            if self.failures or self.further_failures or self.broken_off or received.status != SUCCESS:
                self._count_among_failures(received)
            elif self.uids is not None:
                self._count_stored(received.incoming.request.affected_sop_instance_uid, received.size)
            else:  # as it mostly is: without a call
                self.stored += 1
                self.size += received.size

    def _count_among_failures(self, received: Received) -> None:
        uid = received.incoming.request.affected_sop_instance_uid
        self.failed -= self._forget_failure(uid)
        if received.status == SUCCESS:
            self._count_stored(uid, received.size)
        else:
            self.failed += 1
            self.no_space |= isinstance(received.error, StoreError) and received.error.no_space
            if len(self.failures) < _REPORTED:
                self.failures[uid] = NotStored(received.status, str(received.error or ""))
            elif self.uids is not None:
                self.further_failures.add(uid)
        self.broken_off.discard(uid)

    def _forget_failure(self, uid: str) -> bool:
        if self.failures.pop(uid, None) is not None:
            return True
        known = uid in self.further_failures
        self.further_failures.discard(uid)
        return known

    def add(self, other: Tally) -> None:
        """Add the counts of another tally, but not its remembered UIDs. The other must have stopped counting."""
        with self._lock:
            self.stored += other.stored
            self.failed += other.failed
            self.size += other.size
            self.no_space |= other.no_space
            self._again += other._again
            self.failures |= other.failures
            self.broken_off |= other.broken_off

    def _count_stored(self, uid: str, size: int) -> None:
        if self.uids is not None:
            if uid in self.uids:
                self._again += 1
                return
            self.uids.add(uid)
        self.stored += 1
        self.size += size

    def count_broken_off(self, incoming: Incoming) -> None:
        """Record an object whose transfer broke off; it may arrive again."""
        with self._lock:
            if len(self.broken_off) < _REPORTED:
                self.broken_off.add(incoming.request.affected_sop_instance_uid)


class Round:
    """The requests of one attempt and the objects that arrive for them.

    ``tally``: of this round. Default: a new one. ``wanted``: SOP instance UIDs of the requested objects. Default: None,
    unknown. ``row``: see ``events``. ``total``: tally of all attempts. ``target``: stores the objects. Default: the
    server's. ``observer``: notified of the objects. ``satisfied``: returns whether all listed objects are stored.
    Default: None, without a list. ``belonging``: tells which objects make up for those that the archive counts.
    Default: all. An object that arrives twice for one request counts once: it makes up for no other.
    """

    def __init__(  # noqa: PLR0913 - its collaborators, each with a default
        self,
        tally: Tally | None = None,
        *,
        wanted: Container[str] | None = None,
        row: int | None = None,
        total: Tally | None = None,
        target: Target | None = None,
        observer: Observer | None = None,
        satisfied: Callable[[], bool] | None = None,
        belonging: Belonging | None = None,
    ) -> None:
        self.tally = Tally() if tally is None else tally
        self.responses: list[MoveResponse] = []
        """Final responses."""
        self.unfinished: MoveResponse | None = None
        """What the archive counted for a request that it did not respond to finally; None without any count."""
        self.arrived = 0
        """Number of objects of this round that arrived, stored or not; a repetition counts once per request."""
        self.belonging = Belonging() if belonging is None else belonging
        self._seen: dict[int, int] = {}  # hash of the SOP instance UID -> message ID of the request, as the sender says
        self._again: dict[int, list[int]] = {}  # the same of objects that arrived again
        self._counting = clock.Lock()
        self.message_ids: set[int] = set()
        self.wanted = wanted
        self.extra: set[str] = set()
        """SOP instance UIDs of objects that arrived unwanted; at most 1000."""
        self.lost = False
        """Whether the association with the archive ended before a final response."""
        self.cancel_sent = False
        """Whether C-CANCEL was sent for one of the requests."""
        self.uncancelled: set[int] = set()
        """Positions of the final responses to requests that we did not cancel."""
        self.is_got = False
        """Whether C-GET carried out the last request: its objects arrive before the final response."""
        self.late = 0
        """Number of objects that followed the final response of C-GET and were not stored."""
        self.row = row
        self.total = total
        self.target = target
        self.observer = observer
        self.satisfied = satisfied
        self.touched = 0.0
        """When an object last arrived, on the monotonic clock."""

    @property
    def statements(self) -> tuple[MoveResponse, ...]:
        """What the archive counted: final responses, and ``unfinished``."""
        return (*self.responses, *(() if self.unfinished is None else (self.unfinished,)))

    def depends_on_place(self, incoming: Incoming) -> bool:
        """Return True if study and series of an object decide whether it counts."""
        number = incoming.request.move_originator_message_id
        unnumbered = len(self.message_ids) > 1 and number not in self.message_ids
        return unnumbered or self.belonging.depends_on_place(incoming)

    def count(self, received: Received, *, is_own: bool = False) -> None:
        """Count an object that arrived for this round.

        ``is_own``: see ``Belonging.has``. Default: False.
        """
        self.touched = clock.now()
        self.tally.count(received)
        if self.total is not None:
            self.total.count(received)
        uid = received.incoming.request.affected_sop_instance_uid
        if self.belonging.has(received.incoming, is_own=is_own) and self._is_new(received.incoming):
            self.arrived += 1
        if self.wanted is not None and uid not in self.wanted and len(self.extra) < _REPORTED:
            self.extra.add(uid)

    def has_seen(self, sop_instance_uid: str) -> bool:
        """Return True if an object has arrived for these requests, stored or not."""
        return hash(sop_instance_uid) in self._seen

    def _is_new(self, incoming: Incoming) -> bool:
        """Return True if an object arrives for the first time, or again for another request, as they may overlap.

        If the sender does not say for which request, it counts less often than there are requests for its study or
        series.
        """
        request = incoming.request
        uid, number = hash(request.affected_sop_instance_uid), request.move_originator_message_id or 0
        with self._counting:
            if uid not in self._seen:
                self._seen[uid] = number
                return True
            numbers = self._again.setdefault(uid, [self._seen[uid]])
            again = number not in numbers or number not in self.message_ids
            if not again or len(numbers) >= min(len(self.message_ids), self.belonging.requests_of(incoming)):
                return False
            numbers.append(number)
            return True

    def count_broken_off(self, incoming: Incoming) -> None:
        """Record an object of this round whose transfer broke off."""
        self.tally.count_broken_off(incoming)
        if self.total is not None:
            self.total.count_broken_off(incoming)


def evidence_of(one: Round, *, expected: int, cut_off: int, cancelled: bool) -> Evidence:
    """Return the evidence of the requests of one attempt.

    ``expected``: objects that the archive counts as delivered to us. ``cancelled``: we sent C-CANCEL, so that a final
    status FE00 or B000 and its remaining sub-operations are what we asked for (PS3.4 table C.4-2).
    """
    obeyed: list[MoveResponse] = []
    others: list[MoveResponse] = []
    for number, response in enumerate(one.responses):
        ours = cancelled and number not in one.uncancelled and response.status in _CANCELLED
        (obeyed if ours else others).append(response)
    return Evidence(
        statuses=(*(response.status for response in others), *(CANCEL for _ in obeyed)),
        failed=sum(map(failed_of, one.statements)),
        remaining=sum(response.remaining or 0 for response in others) + (0 if obeyed else _unexplained(one)),
        short=max(expected - one.arrived, 0),
        not_stored=one.tally.failed,
        broken_off=0 if obeyed else len(one.tally.broken_off),
        cut_off=cut_off,
        late=one.late,
        lost=one.lost,
        cancelled=bool(obeyed),
        stopped=any(response.status == CANCEL for response in others),
    )


def _unexplained(one: Round) -> int:
    """Return the number of sub-operations that only pending responses count, less those whose objects arrived."""
    totals = sum(response.pending_total for response in one.responses)
    counted = sum(_sum_of(response) for response in one.responses if response.pending_total)
    return max(min(totals - counted, totals - one.arrived), 0)


_CANCELLED: Final = (CANCEL, SUB_OPERATIONS_WITH_FAILURES)


def failed_of(response: MoveResponse) -> int:
    """Return the number of sub-operations that a final response, or a pending one before it, reports as failed."""
    named = max(len(response.failed_sop_instance_uids), int(response.has_unread_list))
    return max(response.failed or 0, response.pending_failed, named)


def delivered_of(response: MoveResponse) -> int:
    """Return the number of objects that a final response, or a pending one before it, counts as delivered."""
    return max((response.completed or 0) + (response.warning or 0), response.pending_completed)


def counted_of(response: MoveResponse) -> int:
    """Return the number of sub-operations that a final response, or a pending one before it, counts."""
    return max(_sum_of(response), response.pending_total)


def _sum_of(response: MoveResponse) -> int:
    pending = response.status_class is StatusClass.PENDING  # its remaining ones may be counted wrongly
    return delivered_of(response) + failed_of(response) + (0 if pending else response.remaining or 0)


def found_nothing(responses: Sequence[MoveResponse], tally: Tally) -> bool:
    """Return True if every request succeeded, the archive counted no object and none arrived."""
    counted = any(delivered_of(one) or failed_of(one) for one in responses)
    return all(one.status == SUCCESS for one in responses) and not (counted or tally.arrived or tally.broken_off)
