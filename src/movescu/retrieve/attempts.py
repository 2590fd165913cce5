"""The attempt loop of one request: query the inventory, request missing objects, judge, repeat (PS3.4 C.4.2).

A plain retrieve is the loop with a single attempt. The archive's inventory (C-FIND) is queried before the first attempt
if the result is to be verified, if objects may be on the disk already, or if the request has keys that C-MOVE does not
allow (``scope``); otherwise once an attempt shows that objects are missing. Every later attempt queries again and
requests only objects that are listed and missing. Permanent failures, by their status (PS3.4 tables B.2-1 and C.4-2),
are not requested again. Only attempts without progress count: the loop continues while new objects arrive. The pause
between attempts grows and is randomized, so that the clients of an overloaded archive do not all return at once.

The evidence of an attempt stands until a later attempt replaces it (``judgement``). An attempt with nothing left to
request replaces none of the archive's statuses and counts: its new list proves only that a lost association or an
expired timeout left nothing out.
"""

from __future__ import annotations

import threading
import time

from movescu._runtime.late_log import logger_of
from movescu._runtime.record import replace
from movescu.dimse.status import CANCEL, DATA_SET_DOES_NOT_MATCH, MOVE_DESTINATION_UNKNOWN
from movescu.errors import (
    AssociationRejectedError,
    FindNotOfferedError,
    IgnoredKeyError,
    InventoryError,
    NoPresentationContextError,
    PeerError,
    TooManyStudiesError,
)
from movescu.retrieve.config import BATCH
from movescu.retrieve.evidence import Evidence
from movescu.retrieve.evidence import joined as joined_evidence
from movescu.retrieve.result import Result
from movescu.retrieve.stragglers import Awaiting
from movescu.retrieve.tally import Round, Tally, evidence_of, found_nothing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final

    from movescu.query.identifier import Identifier
    from movescu.retrieve.association import ArchiveAssociation
    from movescu.retrieve.config import Config
    from movescu.retrieve.inventory import Inventory
    from movescu.retrieve.observer import Observer
    from movescu.retrieve.storage_server import StorageServer
    from movescu.services.move import MoveResponse
    from movescu.storage.target import Target
    from movescu.ul.negotiation import RejectedClass

_log: Final = logger_of("movescu.retrieve")

LONGEST_PAUSE: Final = 60.0
"""Seconds. Upper limit of the pause between two attempts."""

_FOR_GOOD: Final = frozenset((MOVE_DESTINATION_UNKNOWN, DATA_SET_DOES_NOT_MATCH, 0x0122, 0x0124, 0x0211))
"""Final statuses that another attempt would not change (PS3.4 table C.4-2, PS3.7 annex C)."""
_NO_LIST: Final = (IgnoredKeyError, FindNotOfferedError, TooManyStudiesError)
"""Errors of a query that another attempt would not change."""
_NO_MORE: Final = _FOR_GOOD | {CANCEL}
_OUT_OF_RESOURCES: Final = 0xA7  # first byte of our C-STORE status if the disk is full (PS3.4 table B.2-1)
_TRANSIENT: Final = 2  # result of A-ASSOCIATE-RJ (PS3.8 9.3.4)


class RequestState:
    """State of one request, or of several that share their attempts."""

    def __init__(self, *, remember: bool = False, error: PeerError | None = None) -> None:
        self.last = Round()
        """Round of the last attempt."""
        self.tally = Tally(remember=remember)
        """Objects of all attempts."""
        self.attempts = 0
        self.in_vain = 0
        """Attempts since an object last arrived, that attempt included."""
        self.attempted = False
        """Whether any attempt had an association."""
        self.responses: tuple[MoveResponse, ...] = ()
        """Final responses of the last attempt that sent a request."""
        self.asked = False
        """Whether the last attempt sent a request."""
        self.batch = BATCH
        """Highest number of UIDs in one request."""
        self.inventory: Inventory | None = None
        self.needed: set[str] = set()
        """SOP instance UIDs of the inventory that were not in the target before."""
        self.missing: set[str] = set()
        """Those of ``needed`` that have not been stored."""
        self.failed_uids: set[str] = set()
        """SOP instance UIDs that the archive reported as failed in any attempt."""
        self.extra: set[str] = set()
        """SOP instance UIDs of objects that arrived without being in the inventory; at most 1000."""
        self.standing = Evidence()
        """Evidence of the last attempt that sent a request."""
        self.error = error
        """The error that ended the last attempt before its final response."""
        self.cancelled = False
        """Whether we cancelled the request."""
        self.unlisted = ""
        """Why a wanted inventory could not be queried, else empty."""
        self.hopeless = False
        """Whether there is no inventory and another attempt would not get one."""
        self.nothing_found = False
        """Whether an inventory was wanted and the archive has nothing for the keys."""

    @property
    def already_there(self) -> int:
        """Number of listed objects that were in the target before."""
        return 0 if self.inventory is None else len(self.inventory.objects) - len(self.needed)

    @property
    def here(self) -> set[str]:
        """SOP instance UIDs of the objects known to be in the target."""
        listed = set() if self.inventory is None else self.inventory.objects.keys() - self.missing
        return listed | (self.tally.uids or set())

    @property
    def evidence(self) -> Evidence:
        """Evidence of the request, over all of its attempts."""
        obeyed = self.standing.cancelled
        failed = self.failed_uids - (self.tally.uids or set())
        return replace(
            self.standing,
            failed=max(self.standing.failed, len(failed)),
            not_stored=self.tally.failed,
            broken_off=0 if obeyed else len(self.tally.broken_off),
            lost=self.standing.lost or self.error is not None,
            cancelled=obeyed or self.cancelled,
            missing=len(self.missing),
            unlisted=bool(self.unlisted),
            nothing_found=self.nothing_found,
        )


class AttemptLoop:
    """The attempts at one request, or at several together, over one association.

    ``server``: receives the objects. ``target``: stores them. Default: the server's own. ``observer``: notified of
    responses and of new attempts. ``until``: deadline, on the monotonic clock. ``alone``: no other retrieve uses the
    server. ``row``: see ``events``. ``closing``: close the port at the end, so that no object arrives after the count
    and the flush.
    """

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        config: Config,
        server: StorageServer,
        association: ArchiveAssociation,
        *,
        target: Target | None = None,
        observer: Observer | None = None,
        until: float | None = None,
        alone: bool = True,
        row: int | None = None,
        closing: bool = False,
    ) -> None:
        self._closing = closing
        self._config = config
        self._retry = config.retry
        self._server = server
        self._association = association
        self._target = target
        self._observer = observer
        self._until = until
        self._alone = alone
        self._row = row
        self._given_up = threading.Event()
        self._exact = True
        self.waited = False
        """Whether objects were awaited after a final response."""
        self.pausing = False
        """Whether the loop is in the pause between two attempts."""

    def cancel(self) -> None:
        """Stop before the next attempt and end the pause. Safe from any thread and from a signal handler."""
        self._given_up.set()

    def run(self, *identifiers: Identifier) -> RequestState:
        """Run the attempts and return the state of the requests.

        With an inventory there is exactly one identifier. Raise ``UsageError`` if its keys name no object or cannot be
        listed, ``PeerError`` if no association can be opened.
        """
        if self._retry.lists:
            from movescu.query.scope import Scope  # late: needed with an inventory alone

            (identifier,) = identifiers
            scope = Scope(identifier, self._config.request.model)
            scope.check()
            self._exact = scope.is_exact
        state = RequestState(remember=self._retry.lists)
        state.last = Round(row=self._row, total=state.tally, target=self._target, observer=self._observer)
        self._server.begin(state.last)
        try:
            self._loop(identifiers, state)
        finally:
            if self._closing:  # objects cut off by this count for this retrieve
                self._server.close()
            self._server.end(state.last)
        state.cancelled = self._over
        if not state.attempted and state.error is not None and not state.cancelled:
            raise state.error
        state.nothing_found = self._found_nothing(state)
        return state

    def _found_nothing(self, state: RequestState) -> bool:
        if state.inventory is not None:
            return not state.inventory.objects or bool(state.inventory.unfound)
        nothing = bool(state.responses) and found_nothing(state.responses, state.tally)
        return self._listed_first and nothing

    def _loop(self, identifiers: tuple[Identifier, ...], state: RequestState) -> None:
        """Repeat attempts until there is no reason for another, or no hope."""
        while True:
            state.attempts += 1
            stored, missing = state.tally.stored, len(state.missing)
            state.in_vain += 1
            try:
                self._attempt(identifiers, state)
            except PeerError as error:  # no association could be opened
                state.error = error
                if not state.attempted and _is_final(error):
                    raise
            wanted = state.inventory is None or len(state.missing) < missing or not missing
            if state.tally.stored > stored and wanted:  # what nobody requested is no progress
                state.in_vain = 1
            if missing and len(state.missing) > missing // 2:
                # Some archives abandon a request at the first failed object: a smaller batch loses fewer objects.
                state.batch = max(state.batch // 4, 1)
            reason = self._reason(state)
            if _refuses_lists(state):
                state.batch, reason = 1, "the archive may not accept lists of UIDs"
            if not reason or not self._retry.retries or state.in_vain > self._retry.retries:
                return
            self._pause(state, reason)
            if self._over:
                return

    @property
    def _listed_first(self) -> bool:
        return self._retry.verify or self._retry.resume or not self._exact

    @property
    def _over(self) -> bool:
        return self._association.cancelled or self._given_up.is_set()

    # -- one attempt ---------------------------------------------------------------------------------------------------

    def _attempt(self, identifiers: tuple[Identifier, ...], state: RequestState) -> None:
        one = Round(row=self._row, total=state.tally, target=self._target, observer=self._observer)
        self._server.end(state.last, then=one)
        state.last, state.error, state.asked = one, None, False
        if not self._association.is_open:
            self._association.open()
        fresh = False
        if self._listed_first or state.attempts > 1:
            fresh = self._list(identifiers[0], state)
        if state.inventory is not None:
            one.wanted = state.inventory.objects
            one.satisfied = lambda: state.missing <= (state.tally.uids or set())
        if state.error is None and (state.inventory is not None or self._exact):
            self._ask(identifiers, state)
        if state.asked:
            state.standing, state.responses = self._settled(one), tuple(one.responses)
        elif fresh:
            state.standing = replace(state.standing, lost=False, cut_off=0)
        state.attempted = True
        state.missing -= state.tally.uids or set()
        state.extra |= one.extra

    def _list(self, identifier: Identifier, state: RequestState) -> bool:
        """Query the inventory and work out which objects are missing. Return True if the query succeeded."""
        from movescu.query.selection import most_studies  # late: needed with an inventory alone
        from movescu.retrieve.inventory import take_inventory

        state.unlisted = ""
        try:
            inventory = take_inventory(
                self._association, identifier, self._config.request.model, most_studies(self._config.selection)
            )
        except InventoryError as error:
            state.hopeless = isinstance(error, _NO_LIST) and not self._exact
            if isinstance(error, IgnoredKeyError):
                self._exact = False  # C-MOVE might deliver more than the request matches
                state.hopeless = True
            optional = isinstance(error, FindNotOfferedError) or not self._listed_first
            state.unlisted = "" if optional and self._exact and not self._retry.verify else str(error)
            _log.warning("%s%s", error, "" if not self._exact else "; requesting everything")
            return False
        except PeerError as error:
            state.unlisted, state.error, state.last.lost = str(error), error, True
            return False
        if state.inventory is not None:  # what was listed once and is not listed now has not been explained away
            for uid, place in state.inventory.objects.items():
                inventory.objects.setdefault(uid, place)
        state.inventory = inventory
        state.needed = {uid for uid in inventory.objects if not (self._target is not None and self._target.whole(uid))}
        state.missing = state.needed - (state.tally.uids or set())
        return True

    def _ask(self, identifiers: tuple[Identifier, ...], state: RequestState) -> None:
        """Send the requests of one attempt."""
        one, inventory = state.last, state.inventory
        wanted = self._askable(state)
        requests = identifiers if inventory is None else inventory.requests(wanted, state.batch)
        for request in requests:
            if self._over:
                return
            one.lost = state.asked = True
            try:
                response = self._association.move(request, self._on_response(), one.message_ids.add)
            except PeerError as error:
                state.error = error
                return
            one.lost = False
            one.responses.append(response)
            state.failed_uids.update(response.failed_sop_instance_uids)
            if response.status in _FOR_GOOD and self._retry.lists:
                return

    def _on_response(self) -> Callable[[MoveResponse], None] | None:
        """Return a callback that passes responses to the observer, timed from now; None without one."""
        if (observer := self._observer) is None:
            return None
        begun = time.monotonic()
        return lambda response: observer.response(response, time.monotonic() - begun, self._row)

    def _askable(self, state: RequestState) -> set[str]:
        """Return the missing objects, less those that we refused for a permanent reason."""
        failures = state.tally.failures
        refused = {uid for uid, received in failures.items() if received.status >> 8 != _OUT_OF_RESOURCES}
        return state.missing - refused

    def _settled(self, one: Round) -> Evidence:
        """Wait for objects still on their way, and return the evidence of the round."""
        awaiting = Awaiting(self._config, one, self._until, alone=self._alone)
        listener = self._server.listener
        if listener is not None:
            awaiting.wait(listener, cancelled=lambda: self._over)
            self.waited |= awaiting.waited
        return evidence_of(
            one.responses,
            one.tally,
            expected=awaiting.expected if listener is not None else 0,
            cut_off=awaiting.cut_off,
            lost=one.lost,
            cancelled=self._over or bool(self._config.request.cancel_after),
        )

    # -- between two attempts ------------------------------------------------------------------------------------------

    def _reason(self, state: RequestState) -> str:
        """Return the reason for another attempt, empty if there is none or no hope."""
        late = self._until is not None and time.monotonic() >= self._until
        if self._over or late or any(response.status in _NO_MORE for response in state.last.responses):
            return ""
        if state.error is not None:
            return str(state.error)
        if state.unlisted:
            return "" if state.hopeless else state.unlisted
        if state.inventory is not None and (wanting := self._askable(state)):
            return f"{len(wanting)} object{'' if len(wanting) == 1 else 's'} missing"
        from movescu.retrieve.judgement import judge  # late: needed after the final response

        if not state.asked or not (reasons := judge(state.standing).reasons):
            return ""
        return ", ".join(reason.words for reason in reasons)

    def _pause(self, state: RequestState, reason: str) -> None:
        import random  # late: slow to load, needed for another attempt alone

        longest = min(self._retry.pause * 2 ** (state.in_vain - 1), LONGEST_PAUSE)
        seconds = longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        if self._until is not None:
            seconds = min(seconds, max(self._until - time.monotonic(), 0.0))
        _log.warning("attempt %d: %s; next attempt in %.1f s", state.attempts, reason, seconds)
        if self._observer is not None:
            objects = None if state.inventory is None else len(state.missing)
            self._observer.retry(state.attempts + 1, objects, seconds, reason, self._row)
        self.pausing = True
        self._given_up.wait(seconds)
        self.pausing = False


def _refuses_lists(state: RequestState) -> bool:
    """Return True if the archive rejected a possible list of UIDs (PS3.4 C.2.2.2.2)."""
    statuses = {response.status for response in state.last.responses}
    return state.inventory is not None and state.batch > 1 and DATA_SET_DOES_NOT_MATCH in statuses


def _is_final(error: PeerError) -> bool:
    """Return True if opening an association would fail again: a permanent rejection, or no context."""
    if isinstance(error, AssociationRejectedError):
        return error.result != _TRANSIENT
    return isinstance(error, NoPresentationContextError)


def joined(states: Sequence[RequestState], rejected: tuple[RejectedClass, ...]) -> Result:
    """Return the combined result of several requests; ``rejected``: see ``Result``."""
    tally = Tally()
    for one in states:
        tally.add(one.tally)
    evidence = joined_evidence(one.evidence for one in states)
    return Result(
        responses=tuple(response for one in states for response in one.responses),
        stored=tally.stored,
        failed=tally.failed,
        size=tally.size,
        arrived=tally.arrived,
        evidence=evidence,
        failures={uid: str(received.error or "") for uid, received in tally.failures.items()},
        rejected=rejected,
        broken_off=tuple(sorted(tally.broken_off)) if evidence.broken_off else (),
        verified=all(one.inventory is not None for one in states),
        missing_uids=tuple(sorted(uid for one in states for uid in one.missing)),
        extra_uids=tuple(sorted(uid for one in states for uid in one.extra)),
        already_there=sum(one.already_there for one in states),
        attempts=max((one.attempts for one in states), default=1),
        unlisted=next((one.unlisted for one in states if one.unlisted), ""),
        errors=tuple(str(one.error) for one in states if one.error is not None),
        unfound=tuple(uid for one in states if one.inventory is not None for uid in one.inventory.unfound),
    )
