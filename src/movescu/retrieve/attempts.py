"""The attempt loop of one request: query the inventory, request missing objects, judge, repeat (PS3.4 C.4.2).

A plain retrieve is the loop with a single attempt. The archive's inventory (C-FIND) is queried before the first attempt
if the result is to be verified, if objects may be on the disk already, or if the request has keys that C-MOVE does not
allow (``scope``); otherwise once an attempt shows that objects are missing. Every later attempt queries again and
requests only objects that are listed and missing. Permanent failures, by their status (PS3.4 tables B.2-1 and C.4-2),
are not requested again. Only attempts without progress count: the loop continues while new objects arrive. The pause
between attempts grows and is randomized, so that the clients of an overloaded archive do not all return at once.

The evidence of an attempt stands until a list made after it accounts for it (``request_state``). With ``verify`` an
attempt that failed although everything listed is here is followed by such a list at once; otherwise the next attempt
begins with one.
"""

from __future__ import annotations

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
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
from movescu.retrieve.belonging import Belonging
from movescu.retrieve.config import BATCH
from movescu.retrieve.request_state import RequestState
from movescu.retrieve.requests import Requests, refuses_lists
from movescu.retrieve.stragglers import Awaiting
from movescu.retrieve.tally import Round, delivered_of, evidence_of, found_nothing
from movescu.transport.rejection import TRANSIENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Final

    from movescu.query.identifier import Identifier
    from movescu.retrieve.association import ArchiveAssociation
    from movescu.retrieve.catalogue import Place
    from movescu.retrieve.config import Config
    from movescu.retrieve.earlier_request import EarlierRequest
    from movescu.retrieve.evidence import Evidence
    from movescu.retrieve.observer import Observer
    from movescu.retrieve.storage_server import StorageServer
    from movescu.services.move import MoveResponse
    from movescu.storage.target import Target

_log: Final = logger_of("movescu.retrieve")

LONGEST_PAUSE: Final = 60.0
"""Seconds. Upper limit of the pause between two attempts."""

_FOR_GOOD: Final = frozenset((MOVE_DESTINATION_UNKNOWN, DATA_SET_DOES_NOT_MATCH, 0x0122, 0x0124, 0x0211))
"""Final statuses that another attempt would not change (PS3.4 table C.4-2, PS3.7 annex C)."""
_NO_LIST: Final = (IgnoredKeyError, FindNotOfferedError, TooManyStudiesError)
"""Errors of a query that another attempt would not change."""
_NO_MORE: Final = _FOR_GOOD | {CANCEL}
_OUT_OF_RESOURCES: Final = 0xA7  # first byte of our C-STORE status if the disk is full (PS3.4 table B.2-1)


class AttemptLoop:
    """The attempts at one request, or at several together, over one association.

    ``server``: receives the objects. ``target``: stores them. Default: the server's own. ``observer``: notified of
    responses and of new attempts. ``until``: deadline, on the monotonic clock. ``alone``: no other retrieve uses the
    server. ``row``: see ``events``. ``closing``: close the port at the end, so that no object arrives after the count
    and the flush. ``complete``: called once nothing is left to request, before senders are awaited. ``split``: if more
    objects than this are missing in a study, request nothing, for its series are to be requested one by one. Default:
    0, never.
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
        complete: Callable[[], None] = lambda: None,
        split: int = 0,
    ) -> None:
        self._closing = closing
        self._split = split
        self._on_complete = complete
        self._requested = 0
        self._open = 0  # objects that were missing when the attempt had its list
        self._config = config
        self._retry = config.retry
        self._server = server
        self._association = association
        self._requests = Requests(config, server, association)
        self._target = target
        self._observer = observer
        self._until = until
        self._alone = alone
        self._row = row
        self._which = "" if row is None else f"entry {row}: "
        self._given_up = clock.Event()
        self._exact = True
        self._most = 0
        self._dropped = 0  # objects of the association before the attempt
        self.waited = False
        """Whether objects were awaited after a final response."""
        self.pausing = False
        """Whether the loop is in the pause between two attempts."""

    def cancel(self) -> None:
        """Stop before the next attempt and end the pause. Safe from any thread and from a signal handler."""
        self._given_up.set()

    def run(
        self, *identifiers: Identifier, earlier: EarlierRequest | None = None, counts: Mapping[str, int] | None = None
    ) -> RequestState:
        """Run the attempts and return the state of the requests.

        ``earlier``: see ``earlier_request``. ``counts``: objects that the archive stated, by UID of study or series.

        With an inventory there is exactly one identifier. Raise ``UsageError`` if its keys name no object or cannot be
        listed, ``PeerError`` if no association can be opened.
        """
        if self._retry.lists:
            from movescu.query.scope import Scope  # late: needed with an inventory alone
            from movescu.query.selection import most_studies

            (identifier,) = identifiers
            scope = Scope(identifier, self._config.request.model)
            scope.check(everything=self._config.selection is not None and self._config.selection.everything)
            self._most = most_studies(self._config.selection, named=scope.is_exact)
            self._exact = scope.is_exact and (self._config.resolves or not self._config.counts(scope))
        state = RequestState(remember=self._retry.lists)
        if self._retry.lists:
            state.identifier = scope.identifier
        if earlier is not None:
            earlier.continue_as(state, self._config.request.model)
        if counts:
            state.note_counts(counts)
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
            return not (state.inventory.objects or state.inventory.gaps)
        if not state.responses or not found_nothing(state.responses, state.tally):
            return False
        # An archive that counts nothing is believed where the objects go elsewhere.
        listed = self._listed_first or self._retry.retries > 0
        if self._config.resolves and not listed:  # ``delivered_nothing`` names what was listed and not sent
            return False
        return listed or self._config.arrives_here or all(one.completed is not None for one in state.responses)

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
                if not state.attempted and is_final(error):
                    raise
            # Without a list it is unknown what is wanted, and an archive may send without end.
            wanted = state.inventory is not None and (len(state.missing) < self._open or not self._open)
            if state.tally.stored > stored and wanted:  # what nobody requested is no progress
                state.in_vain = 1
            if missing and len(state.missing) > missing // 2:
                # Some archives abandon a request at the first failed object: a smaller batch loses fewer objects.
                state.batch = max(state.batch // 4, 1)
            if self._is_contested(state):
                self._list_again(identifiers[0], state)
            reason = self._reason(state)
            if refuses_lists(state, identifiers):
                reason = "the archive may not accept lists of UIDs"
                state.batch = 1 if state.inventory is not None else BATCH
            if not reason or state.in_vain > self._retry.retries:
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
        one = self._round(state)
        self._server.end(state.last, then=one)
        state.last, state.error, state.asked = one, None, False
        if not self._association.is_open:
            self._association.open()
        if self._listed_first or state.attempts > 1:
            self._list(identifiers[0], state)
        self._open = len(state.missing)
        if state.inventory is not None:
            one.wanted = None if state.inventory.gaps else state.inventory.objects
            one.satisfied = lambda: state.is_satisfied
        if self._split and state.inventory is not None and not state.unlisted:
            state.is_split = state.inventory.is_divisible(state.missing, self._split)
        if state.error is None and (state.inventory is not None or self._exact) and not state.is_split:
            self._ask(identifiers, state)
        if state.asked:
            state.note(self._settled(one, state), one, self._requested)
        state.attempted = True
        state.arrived += one.arrived
        state.missing -= state.tally.uids or set()
        state.extra |= one.extra

    def _round(self, state: RequestState) -> Round:
        config = self._config
        titles = (config.ae_title, config.move_destination, config.archive.title)
        return Round(
            row=self._row,
            total=state.tally,
            target=self._target,
            observer=self._observer,
            belonging=Belonging(frozenset(title.strip() for title in titles)),
        )

    def _list(self, identifier: Identifier, state: RequestState) -> None:
        """Query the inventory and work out which objects are missing."""
        from movescu.retrieve.catalogue import ListSizes
        from movescu.retrieve.inventory import take_inventory

        state.unlisted, state.refusal = "", None
        try:
            state.sizes = state.sizes or ListSizes()
            inventory = take_inventory(
                self._association,
                identifier,
                self._config.request.model,
                sizes=state.sizes,
                counted=self._retry.verify or state.attempts > 1,
                is_here=self._is_here,
                max_studies=self._most,
            )
        except InventoryError as error:
            if isinstance(error, IgnoredKeyError):
                self._exact = False  # C-MOVE might deliver more than the request matches
            state.hopeless = isinstance(error, _NO_LIST) and not self._exact
            optional = isinstance(error, FindNotOfferedError) or not self._listed_first
            state.unlisted = "" if optional and self._exact and not self._retry.verify else str(error)
            state.refusal = error
            if state.hopeless:
                return  # the result says why
            _log.warning("%s%s", error, "" if not self._exact else "; requesting everything")
            return
        except PeerError as error:
            state.unlisted, state.error = str(error), error
            return
        inventory.keep(state.inventory)
        state.inventory = inventory
        state.needed = {uid for uid, place in inventory.objects.items() if not self._is_here(uid, place)}
        state.missing = state.needed - (state.tally.uids or set())
        if self._observer is not None:
            self._observer.listed(len(inventory.objects), len(state.missing), self._row)
        if len(inventory.objects) < state.listed_before:
            state.unlisted = (
                f"the archive listed {state.listed_before} objects before, and {len(inventory.objects)} now"
            )
            _log.warning("%sthe archive's list is incomplete: %s", self._which, state.unlisted)
        elif inventory.gaps:
            state.unlisted = inventory.describe_gaps()
            _log.warning("%sthe archive's list is incomplete: %s", self._which, state.unlisted)
        else:
            state.compare()

    def _is_here(self, uid: str, place: Place) -> bool:
        return self._target is not None and self._target.whole(uid, (place.study, place.series))

    def _is_contested(self, state: RequestState) -> bool:
        """Return True if everything listed is here and the archive's last statement says that something failed."""
        stated = state.last_statement is not None and not state.is_accounted_for
        later = state.asked or state.error is not None  # else the attempt has begun with a list, and made none old
        return self._retry.verify and stated and later and state.is_satisfied and not self._over

    def _list_again(self, identifier: Identifier, state: RequestState) -> None:
        """Query the inventory once more, for a list that was made after the archive's last statement."""
        assert state.last_statement is not None
        from movescu.retrieve.judgement import judge  # late: needed after the final response

        words = ", ".join(reason.words for reason in judge(state.last_statement.evidence).reasons)
        try:
            if not self._association.is_open:
                self._association.open()
            self._list(identifier, state)
        except PeerError as error:
            state.unlisted = str(error)
            return
        if state.is_accounted_for and state.is_satisfied:
            state.error = None
            _log.warning(
                "%sthe archive reported: %s; but a list made afterwards shows that all %d objects are here",
                *(self._which, words, len(state.inventory.objects if state.inventory is not None else ())),
            )

    def _ask(self, identifiers: tuple[Identifier, ...], state: RequestState) -> None:
        """Send the requests of one attempt."""
        one, inventory = state.last, state.inventory
        self._dropped = self._association.dropped
        wanted = self._askable(state)
        self._requested = 0 if inventory is None else len(wanted)
        if inventory is None:
            requests: Iterable[Identifier] = identifiers
        else:  # what the list leaves open is requested again only if something else failed
            requests = inventory.requests(wanted, state.batch, gaps=bool(not state.attempted or state.last_statement))
        for request in requests:
            if self._over:
                return
            one.lost = state.asked = True
            one.belonging.add(request)
            if self._observer is not None:
                self._observer.requested(self._row)
            try:
                response = self._requests.request(request, one, self._on_response())
            except PeerError as error:
                state.error, one.unfinished = error, self._association.unfinished
                return
            one.lost = False
            one.cancel_sent |= self._association.cancel_sent
            if not (self._association.cancel_sent or self._over):
                one.uncancelled.add(len(one.responses))
            one.responses.append(response)
            state.failed_uids.update(response.failed_sop_instance_uids)
            if response.status in _FOR_GOOD and self._retry.lists:
                return

    def _on_response(self) -> Callable[[MoveResponse], None] | None:
        """Return a callback that passes responses to the observer, timed from now; None without one."""
        if (observer := self._observer) is None:
            return None
        begun = clock.now()
        return lambda response: observer.response(response, clock.now() - begun, self._row)

    def _askable(self, state: RequestState) -> set[str]:
        """Return the missing objects, less those that we refused for a permanent reason."""
        failures = state.tally.failures
        refused = {uid for uid, received in failures.items() if received.status >> 8 != _OUT_OF_RESOURCES}
        return state.missing - refused

    def _settled(self, one: Round, state: RequestState) -> Evidence:
        """Wait for objects still on their way, and return the evidence of the round."""

        def evidence(awaiting: Awaiting) -> Evidence:
            asked = self._over or one.cancel_sent
            one.late = self._association.dropped - self._dropped
            if one.is_got:
                expected = sum(map(delivered_of, one.statements))
            else:
                expected = awaiting.expected if listener is not None else 0
            return evidence_of(one, expected=expected, cut_off=awaiting.cut_off, cancelled=asked)

        def complete(awaiting: Awaiting) -> None:
            from movescu.retrieve.judgement import judge  # late: needed after the final response

            self.waited |= awaiting.waited
            if self._closing and state.is_satisfied and not judge(evidence(awaiting)).reasons:
                self._on_complete()

        awaiting = Awaiting(self._config, one, self._until, alone=self._alone, closing=self._closing, complete=complete)
        listener = self._server.listener
        if one.is_got:  # the final response follows all objects; if not, the release shows it
            if not self._over:
                complete(awaiting)
        elif listener is not None:
            awaiting.wait(listener, cancelled=lambda: self._over)
            self.waited |= awaiting.waited
            if awaiting.elsewhere and any(map(delivered_of, one.responses)):
                _log.warning(
                    "the archive counts %d objects as sent to %s and none arrived here: its counts cannot be checked",
                    *(sum(map(delivered_of, one.responses)), self._config.move_destination),
                )
        return evidence(awaiting)

    # -- between two attempts ------------------------------------------------------------------------------------------

    def _reason(self, state: RequestState) -> str:
        """Return the reason for another attempt, empty if there is none or no hope."""
        late = self._until is not None and clock.now() >= self._until
        if (
            self._over
            or late
            or state.is_split
            or any(response.status in _NO_MORE for response in state.last.responses)
        ):
            return ""
        if state.error is not None:
            return str(state.error)
        if state.unlisted and (state.inventory is None or not state.inventory.gaps or state.inventory.failed_for_now):
            return "" if state.hopeless else state.unlisted
        if wanting := self._askable(state):
            return f"{len(wanting)} object{'' if len(wanting) == 1 else 's'} missing"
        from movescu.retrieve.judgement import judge  # late: needed after the final response

        return ", ".join(reason.words for reason in judge(state.standing).reasons)

    def _pause(self, state: RequestState, reason: str) -> None:
        seconds = pause_before(state.in_vain, self._retry.pause, self._until)
        _log.warning("%sattempt %d: %s; next attempt in %.1f s", self._which, state.attempts, reason, seconds)
        if self._observer is not None:
            objects = None if state.inventory is None else len(state.missing)
            self._observer.retry(state.attempts + 1, objects, seconds, reason, self._row)
        self.pausing = True
        self._given_up.wait(seconds)
        self.pausing = False


def pause_before(attempt: int, pause: float, until: float | None) -> float:
    """Return the seconds before a further attempt, from 1; ``pause``: before the first. ``until``: deadline."""
    import random  # late: slow to load, needed for another attempt alone

    seconds: float = min(pause * 2 ** (attempt - 1), LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
    return seconds if until is None else min(seconds, max(until - clock.now(), 0.0))


def is_final(error: PeerError) -> bool:
    """Return True if opening an association would fail again: a permanent rejection, or no context."""
    if isinstance(error, AssociationRejectedError):
        return error.result != TRANSIENT
    return isinstance(error, NoPresentationContextError)
