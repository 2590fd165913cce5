"""The attempt loop of one request: list what the archive holds, ask for what is missing, judge, and ask again.

A ``Pursuit`` takes one identifier through as many attempts as it is allowed. What the archive holds (``inventory``) is
listed before the first attempt if the result is to be verified, if objects are here already, or if the request has keys
that C-MOVE does not take (``scope``); else when an attempt shows that something is missing. Every later attempt lists
anew, and asks for what is on that list and not here. What failed for good, by its status of PS3.4 tables B.2-1 and
C.4-2, is not asked for again. Only attempts that bring nothing are counted: as long as something new arrives, the loop
goes on. Pauses between two attempts grow, with a share of chance, so that an archive which is overrun is not overrun
again by all of its clients at once.

The evidence of an attempt stands until a later one replaces it (``judgement``). An attempt that finds nothing left to
ask for replaces none of what the archive said; a list made after it shows no more than that an association which was
lost, or a time that was over, left nothing out.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

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
)
from movescu.query.scope import Scope
from movescu.retrieval import judgement
from movescu.retrieval.inventory import BATCH, Inventory, take_inventory
from movescu.retrieval.judgement import Evidence, judge
from movescu.retrieval.result import RetrieveResult, Round, Tally, evidence_of, found_nothing
from movescu.retrieval.stragglers import Awaiting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from movescu.query.identifier import Identifier
    from movescu.retrieval.archive_association import Session
    from movescu.retrieval.config import Persistence, RetrieveOptions
    from movescu.retrieval.observer import Observer
    from movescu.retrieval.storage_server import Reception
    from movescu.services.move import MoveResponse
    from movescu.ul.negotiation import RejectedClass

_log: Final = logger_of("movescu.retrieve")

LONGEST_PAUSE: Final = 60.0
"""Seconds between two attempts at most."""

_FOR_GOOD: Final = frozenset((MOVE_DESTINATION_UNKNOWN, DATA_SET_DOES_NOT_MATCH, 0x0122, 0x0124, 0x0211))
"""Final statuses that a repetition does not change."""
_NO_MORE: Final = _FOR_GOOD | {CANCEL}
_OUT_OF_RESOURCES: Final = 0xA7  # first byte of what we answer for want of space
_TRANSIENT: Final = 2  # result of A-ASSOCIATE-RJ (PS3.8 9.3.4)


@dataclass(slots=True)
class Pursued:
    """State of one request. ``last``: the round of the last attempt."""

    last: Round = field(default_factory=Round)
    tally: Tally = field(default_factory=Tally)
    """Of all attempts."""
    attempts: int = 0
    in_vain: int = 0
    """Attempts since something last arrived, that one included."""
    attempted: bool = False
    """Whether an attempt came as far as an association."""
    responses: tuple[MoveResponse, ...] = ()
    """The final responses of the last attempt that made a request."""
    asked: bool = False
    """Whether the last attempt made a request."""
    batch: int = BATCH
    """UIDs of one request."""
    inventory: Inventory | None = None
    needed: set[str] = field(default_factory=set)
    """SOP instance UIDs of the inventory that were not there already."""
    missing: set[str] = field(default_factory=set)
    """Those of them that have not been stored."""
    extra: set[str] = field(default_factory=set)
    """SOP instance UIDs of objects that came and are not in the inventory; a thousand at most."""
    standing: Evidence = field(default_factory=Evidence)
    """What the last attempt that made a request showed by the archive's own word and counts."""
    error: PeerError | None = None
    """What ended the last attempt before its final response."""
    cancelled: bool = False
    """Whether it was given up from our side."""
    unlisted: str = ""
    """Why the archive could not be asked what it holds, where that was wanted."""
    hopeless: bool = False
    """Whether there is no list, and no other attempt would get one."""
    nothing_found: bool = False
    """Whether the archive has nothing for these keys, where a list was wanted."""

    @property
    def already_there(self) -> int:
        """How many objects did not have to be asked for."""
        return 0 if self.inventory is None else len(self.inventory.objects) - len(self.needed)

    @property
    def here(self) -> set[str]:
        """SOP instance UIDs of the objects that are here, as far as they are known."""
        listed = set() if self.inventory is None else self.inventory.objects.keys() - self.missing
        return listed | (self.tally.uids or set())

    @property
    def evidence(self) -> Evidence:
        """What is known of the request."""
        obeyed = self.standing.cancelled
        return replace(
            self.standing,
            not_stored=self.tally.failed,
            broken_off=0 if obeyed else len(self.tally.broken_off),
            lost=self.standing.lost or self.error is not None,
            cancelled=obeyed or self.cancelled,
            missing=len(self.missing),
            unlisted=bool(self.unlisted),
            nothing_found=self.nothing_found,
        )


class Pursuit:
    """Retrieves what identifiers ask for, one after the other, over one session.

    ``alone``: nobody else uses the reception. ``row``: see ``events``.
    """

    def __init__(  # noqa: PLR0913 - what it works with
        self,
        options: RetrieveOptions,
        persistence: Persistence,
        reception: Reception,
        session: Session,
        *,
        observer: Observer | None = None,
        until: float | None = None,
        alone: bool = True,
        row: int | None = None,
    ) -> None:
        self._options = options
        self._persistence = persistence
        self._reception = reception
        self._session = session
        self._observer = observer
        self._until = until
        self._alone = alone
        self._row = row
        self._given_up = threading.Event()
        self._exact = True
        self.waited = False
        """Whether something that was on its way had to be waited for."""

    def cancel(self) -> None:
        """Make no further attempt, and end the pause before it. Safe from any thread, and from a signal handler."""
        self._given_up.set()

    def run(self, identifier: Identifier, on_response: Callable[[MoveResponse], None] | None = None) -> Pursued:
        """Retrieve it. ``on_response`` is told each response of the archive.

        Raises ``UsageError`` for keys that name nothing, or nothing alone, where a list is wanted, and ``PeerError`` if
        no association can be opened.
        """
        if self._persistence.lists:
            scope = Scope(identifier, self._options.model)
            scope.check()
            self._exact = scope.is_exact
        pursued = Pursued(tally=Tally(remember=self._persistence.lists))
        self._reception.begin(pursued.last)
        try:
            self._pursue(identifier, pursued, on_response)
        finally:
            self._reception.end(pursued.last)
        pursued.cancelled = self._over
        if not pursued.attempted and pursued.error is not None and not pursued.cancelled:
            raise pursued.error
        pursued.nothing_found = self._found_nothing(pursued)
        return pursued

    def _found_nothing(self, pursued: Pursued) -> bool:
        if pursued.inventory is not None:
            return not pursued.inventory.objects or bool(pursued.inventory.unfound)
        nothing = bool(pursued.responses) and found_nothing(pursued.responses, pursued.tally)
        return self._listed_first and nothing

    def _pursue(
        self, identifier: Identifier, pursued: Pursued, on_response: Callable[[MoveResponse], None] | None
    ) -> None:
        """Make attempts until one will do."""
        while True:
            pursued.attempts += 1
            stored, missing = pursued.tally.stored, len(pursued.missing)
            pursued.in_vain += 1
            try:
                self._attempt(identifier, pursued, on_response)
            except PeerError as error:  # there is no association
                pursued.error = error
                if not pursued.attempted and _is_final(error):
                    raise
            if pursued.tally.stored > stored:
                pursued.in_vain = 1
            if missing and len(pursued.missing) > missing // 2:
                # Some archives give a request up at the first object that fails: with fewer there is less to give up.
                pursued.batch = max(pursued.batch // 4, 1)
            reason = self._reason(pursued)
            if _refuses_lists(pursued):
                pursued.batch, reason = 1, "the archive may take no lists of UIDs"
            if not reason or not self._persistence.retries or pursued.in_vain > self._persistence.retries:
                return
            self._pause(pursued, reason)
            if self._over:
                return

    @property
    def _listed_first(self) -> bool:
        return self._persistence.verify or self._persistence.resume or not self._exact

    @property
    def _over(self) -> bool:
        return self._session.cancelled or self._given_up.is_set()

    # -- one attempt ---------------------------------------------------------------------------------------------------

    def _attempt(
        self, identifier: Identifier, pursued: Pursued, on_response: Callable[[MoveResponse], None] | None
    ) -> None:
        one = Round(row=self._row, total=pursued.tally)
        self._reception.end(pursued.last, then=one)
        pursued.last, pursued.error, pursued.asked = one, None, False
        if not self._session.is_open:
            self._session.open()
        fresh = False
        if self._listed_first or pursued.attempts > 1:
            fresh = self._list(identifier, pursued)
        if pursued.inventory is not None:
            one.wanted = pursued.inventory.objects
            one.satisfied = lambda: pursued.missing <= (pursued.tally.uids or set())
        if pursued.error is None and (pursued.inventory is not None or self._exact):
            self._ask(identifier, pursued, on_response)
        if pursued.asked:
            pursued.standing, pursued.responses = self._settled(one), tuple(one.responses)
        elif fresh:
            pursued.standing = replace(pursued.standing, lost=False, cut_off=0)
        pursued.attempted = True
        pursued.missing -= pursued.tally.uids or set()
        pursued.extra |= one.extra

    def _list(self, identifier: Identifier, pursued: Pursued) -> bool:
        """List what the archive holds, and find out what of it is needed; return True if there is a new list."""
        pursued.unlisted = ""
        try:
            inventory = take_inventory(self._session, identifier, self._options.model)
        except InventoryError as error:
            pursued.hopeless = isinstance(error, (IgnoredKeyError, FindNotOfferedError)) and not self._exact
            if isinstance(error, IgnoredKeyError):
                self._exact = False  # what C-MOVE would bring may be more than the request matches
                pursued.hopeless = True
            optional = isinstance(error, FindNotOfferedError) or not self._listed_first
            pursued.unlisted = "" if optional and self._exact and not self._persistence.verify else str(error)
            _log.warning("%s%s", error, "" if not self._exact else "; all of it is asked for")
            return False
        except PeerError as error:
            pursued.unlisted, pursued.error, pursued.last.lost = str(error), error, True
            return False
        pursued.inventory = inventory
        pursued.needed = {uid for uid in inventory.objects if not self._reception.whole(uid)}
        pursued.missing = pursued.needed - (pursued.tally.uids or set())
        return True

    def _ask(
        self, identifier: Identifier, pursued: Pursued, on_response: Callable[[MoveResponse], None] | None
    ) -> None:
        """Make the requests of an attempt."""
        one, inventory = pursued.last, pursued.inventory
        wanted = self._askable(pursued)
        requests = (identifier,) if inventory is None else inventory.requests(wanted, pursued.batch)
        for request in requests:
            if self._over:
                return
            one.lost = pursued.asked = True
            try:
                response = self._session.move(request, on_response, one.message_ids.add)
            except PeerError as error:
                pursued.error = error
                return
            one.lost = False
            one.responses.append(response)
            if response.status in _FOR_GOOD:
                return

    def _askable(self, pursued: Pursued) -> set[str]:
        """Return what is missing, less what we refused for a reason that does not pass."""
        failures = pursued.tally.failures
        refused = {uid for uid, received in failures.items() if received.status >> 8 != _OUT_OF_RESOURCES}
        return pursued.missing - refused

    def _settled(self, one: Round) -> Evidence:
        """Wait for what is on its way, and return what the round showed."""
        awaiting = Awaiting(self._options, one, self._until, alone=self._alone)
        listener = self._reception.listener
        if listener is not None:
            awaiting.wait(listener, cancelled=lambda: self._over)
            self.waited |= awaiting.waited
        return evidence_of(
            one.responses,
            one.tally,
            expected=awaiting.expected if listener is not None else 0,
            cut_off=awaiting.cut_off,
            lost=one.lost,
            cancelled=self._over or bool(self._options.cancel_after),
        )

    # -- between two attempts ------------------------------------------------------------------------------------------

    def _reason(self, pursued: Pursued) -> str:
        """Tell why to ask again, in words; empty if there is no reason, or no hope."""
        late = self._until is not None and time.monotonic() >= self._until
        if self._over or late or any(response.status in _NO_MORE for response in pursued.last.responses):
            return ""
        if pursued.error is not None:
            return str(pursued.error)
        if pursued.unlisted:
            return "" if pursued.hopeless else pursued.unlisted
        if pursued.inventory is not None and (wanting := self._askable(pursued)):
            return f"{len(wanting)} object{'' if len(wanting) == 1 else 's'} missing"
        if not pursued.asked or not (reasons := judge(pursued.standing).reasons):
            return ""
        return ", ".join(reason.words for reason in reasons)

    def _pause(self, pursued: Pursued, reason: str) -> None:
        import random  # 5 ms that a retrieve without mishap does without

        longest = min(self._persistence.pause * 2 ** (pursued.in_vain - 1), LONGEST_PAUSE)
        seconds = longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        if self._until is not None:
            seconds = min(seconds, max(self._until - time.monotonic(), 0.0))
        _log.warning("attempt %d: %s; asking again in %.1f s", pursued.attempts, reason, seconds)
        if self._observer is not None:
            objects = None if pursued.inventory is None else len(pursued.missing)
            self._observer.retry(pursued.attempts + 1, objects, seconds, reason, self._row)
        self._given_up.wait(seconds)


def _refuses_lists(pursued: Pursued) -> bool:
    """Tell whether the archive did not understand what may have been a list of UIDs (PS3.4 C.2.2.2.2)."""
    statuses = {response.status for response in pursued.last.responses}
    return pursued.inventory is not None and pursued.batch > 1 and DATA_SET_DOES_NOT_MATCH in statuses


def _is_final(error: PeerError) -> bool:
    """Tell whether no association will come about however often it is tried."""
    if isinstance(error, AssociationRejectedError):
        return error.result != _TRANSIENT
    return isinstance(error, NoPresentationContextError)


def joined(pursued: Sequence[Pursued], rejected: tuple[RejectedClass, ...]) -> RetrieveResult:
    """Return the result of several requests together; ``rejected``: see ``RetrieveResult``."""
    tally = Tally()
    for one in pursued:
        tally.add(one.tally)
    evidence = judgement.joined(one.evidence for one in pursued)
    return RetrieveResult(
        tuple(response for one in pursued for response in one.responses),
        tally,
        # What is short is so by the counts of the last attempts, whatever came in those before.
        tally.arrived + evidence.short if evidence.short else 0,
        evidence,
        rejected,
        tuple(sorted(tally.broken_off)) if evidence.broken_off else (),
        all(one.inventory is not None for one in pursued),
        tuple(sorted(uid for one in pursued for uid in one.missing)),
        tuple(sorted(uid for one in pursued for uid in one.extra)),
        sum(one.already_there for one in pursued),
        max(one.attempts for one in pursued),
        next((one.unlisted for one in pursued if one.unlisted), ""),
        tuple(str(one.error) for one in pursued if one.error is not None),
        tuple(uid for one in pursued if one.inventory is not None for uid in one.inventory.unfound),
    )
