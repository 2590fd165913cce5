"""The requests of one retrieve, each by the service in use: C-MOVE, or C-GET in rounds (PS3.4 C.4.2, C.4.3).

Theory of C-GET. An archive sends what the association has a presentation context for; what it has none for is a failed
sub-operation, or the end of the request. Mostly the first association has every context that is needed
(``storage_plan``). If not, the request is repeated over another association, which has the contexts that were not
proposed before. Then only the objects that failed count: others that arrive again are not stored again. So the rounds
have one result, that of the last statement on each object: what the first response counts as failed, and names, and
what was stored afterwards, did not fail. A failure without a name stays one.

If C-MOVE may replace C-GET (``service_choice``), it does so when the archive accepts no context for C-GET, answers that
it does not know the operation, or ends the association without any other answer.
"""

from __future__ import annotations

from movescu._runtime.late_log import logger_of
from movescu._runtime.record import replace
from movescu.dimse.status import (
    DATA_SET_DOES_NOT_MATCH,
    MOVE_DESTINATION_UNKNOWN,
    OUT_OF_RESOURCES_SUB_OPERATIONS,
    SUB_OPERATIONS_WITH_FAILURES,
    SUCCESS,
    StatusClass,
)
from movescu.errors import AssociationAbortedError, AssociationReleasedError, ConnectionLostError
from movescu.retrieve.association_request import MOST_STORAGE_CONTEXTS
from movescu.retrieve.idle_associations import release_quietly
from movescu.retrieve.tally import counted_of, delivered_of, failed_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet
    from typing import Final

    from movescu.query.identifier import Identifier
    from movescu.retrieve.association import ArchiveAssociation
    from movescu.retrieve.association_request import StorageContext
    from movescu.retrieve.config import Config, Receive
    from movescu.retrieve.request_state import RequestState
    from movescu.retrieve.storage_server import StorageServer
    from movescu.retrieve.tally import Round
    from movescu.services.move import MoveResponse

_log: Final = logger_of("movescu.retrieve")

NOT_SERVED: Final = frozenset((0x0122, 0x0211))
"""Final statuses of an archive without C-GET: SOP class not supported, unrecognized operation (PS3.7 annex C)."""
_ENDED: Final = (AssociationAbortedError, AssociationReleasedError, ConnectionLostError)
_SUB_OPERATIONS_FAILED: Final = frozenset((SUCCESS, SUB_OPERATIONS_WITH_FAILURES, OUT_OF_RESOURCES_SUB_OPERATIONS))
"""Final statuses that say no more than that sub-operations failed: some, or all."""
_ROOM: Final = MOST_STORAGE_CONTEXTS


class Requests:
    """Carries out the requests of one retrieve over one association, which it may open again."""

    def __init__(self, config: Config, server: StorageServer, association: ArchiveAssociation) -> None:
        self._config = config
        self._server = server
        self._association = association
        self._classes: dict[Identifier, tuple[tuple[str, ...], bool]] = {}

    @property
    def gets(self) -> bool:
        """Whether the next request is a C-GET."""
        return self._association.service.gets

    def request(
        self, identifier: Identifier, one: Round, on_response: Callable[[MoveResponse], None] | None
    ) -> MoveResponse:
        """Send a request, receive its objects if it is a C-GET, and return its final response.

        Raise ``PeerError`` if the association ends before.
        """
        association = self._association
        if self.gets:
            one.is_got = True
            response = self._get(identifier, one, on_response)
            if response is not None:
                return response
        one.is_got = False
        if not association.is_open:
            association.open()
        return association.move(identifier, on_response, one.message_ids.add)

    def _get(
        self, identifier: Identifier, one: Round, on_response: Callable[[MoveResponse], None] | None
    ) -> MoveResponse | None:
        """Retrieve by C-GET; None if the archive does not serve it, and C-MOVE may replace it."""
        service = self._association.service
        earlier, arrived = frozenset(one.message_ids), one.tally.arrived
        get = _Get(self._config, self._server, self._association, self._classes)
        try:
            response = get.request(identifier, one, on_response)
        except _ENDED as error:
            if get.answered or not service.may_fall_back or self._association.cancelled:
                raise
            why = f"the archive ended the association without an answer to C-GET: {error}"
        else:
            if response.status not in NOT_SERVED or not service.may_fall_back or one.tally.arrived > arrived:
                service.may_fall_back = service.may_fall_back and response.status in NOT_SERVED  # else it is served
                return response
            why = f"the archive answers C-GET with status 0x{response.status:04x} ({response.status_name})"
        one.message_ids.intersection_update(earlier)
        service.fall_back(why)
        return None


class _Get:
    """One request by C-GET, over as many associations as its objects need contexts for."""

    def __init__(
        self,
        config: Config,
        server: StorageServer,
        association: ArchiveAssociation,
        classes: dict[Identifier, tuple[tuple[str, ...], bool]],
    ) -> None:
        assert config.receive is not None  # checked with the configuration
        self._config = config
        self._own: Receive = config.receive
        self._server = server
        self._association = association
        self._classes = classes
        self._tried: set[StorageContext] = set()
        self.answered = False
        """Whether the archive sent anything for the request."""

    def request(
        self, identifier: Identifier, one: Round, on_response: Callable[[MoveResponse], None] | None
    ) -> MoveResponse:
        """Send the request in rounds, and return its final response."""
        from movescu.retrieve.storage_plan import MOST_ROUNDS, contexts_for, default_contexts, filled, rounds

        own, association = self._own, self._association
        compressed = any(syntax.encapsulated or syntax.deflated for syntax in own.accepted)
        asked = compressed or own.accept_unknown or identifier in self._classes
        needed = contexts_for(self._told(identifier)[0], own)[:_ROOM] if asked else ()
        self._open_with(needed or filled((), own))
        begun = one.arrived
        response = self._send(identifier, one, on_response)
        if not _may_lack_contexts(response) or association.cancelled:
            return response
        classes, certain = self._told(identifier)
        needed = contexts_for(classes, own)
        if not certain:
            needed = (*needed, *default_contexts(own))
        if not (failed := frozenset(response.failed_sop_instance_uids)):
            return self._again(identifier, one, on_response, response, needed, one.arrived - begun)
        wanted = set(failed - one.tally.failures.keys())  # what this side did not store fails again
        for number, contexts in enumerate(rounds(needed, self._tried, _ROOM), start=2):
            if not wanted or number > MOST_ROUNDS or association.cancelled:
                break
            _log.info(
                "%d object%s failed, perhaps for want of a presentation context: requesting again with %d others",
                *(len(wanted), "" if len(wanted) == 1 else "s", len(contexts)),
            )
            self._open_with(contexts)
            before = frozenset(wanted)
            later = self._send(identifier, one, on_response, wanted)
            further = frozenset(uid for uid in later.failed_sop_instance_uids if not one.has_seen(uid))
            response = merged(response, before - wanted, later, further)
            wanted |= further
        return response

    def _again(
        self,
        identifier: Identifier,
        one: Round,
        on_response: Callable[[MoveResponse], None] | None,
        response: MoveResponse,
        needed: Sequence[StorageContext],
        arrived: int,
    ) -> MoveResponse:
        """Repeat a request that failed as a whole, over an association with all contexts that are needed.

        ``arrived``: objects that have arrived for it.
        """
        from movescu.retrieve.storage_plan import filled

        if not set(needed[:_ROOM]) - self._tried:
            return response
        _log.info("the archive may lack a presentation context: requesting again with others")
        self._open_with(filled(needed, self._own))
        before = one.tally.arrived
        later = self._send(identifier, one, on_response)
        return accounting_for(response, later, before=arrived, again=one.tally.arrived - before)

    def _told(self, identifier: Identifier) -> tuple[tuple[str, ...], bool]:
        """Query the SOP classes of the objects once, and return them; True if they are certain."""
        if identifier not in self._classes:
            from movescu.retrieve.sop_classes import sop_classes  # late: few requests need it

            if not self._association.is_open:
                self._association.open()
            self._classes[identifier] = sop_classes(self._association, identifier, self._config.request.model)
        return self._classes[identifier]

    def _open_with(self, contexts: Sequence[StorageContext]) -> None:
        """Open an association that has the contexts, unless it is open."""
        association = self._association
        if association.is_open and not set(contexts) - set(association.storage):
            return
        if association.is_open:
            release_quietly(association)
        from movescu.retrieve.storage_plan import filled

        association.storage = tuple(contexts) if self._tried else filled(contexts, self._own)
        association.open()

    def _send(
        self,
        identifier: Identifier,
        one: Round,
        on_response: Callable[[MoveResponse], None] | None,
        wanted: set[str] | None = None,
    ) -> MoveResponse:
        association = self._association
        self._tried.update(association.storage)
        try:
            return association.get(
                identifier,
                lambda within: self._server.scp_of(one, within, wanted),
                on_response,
                one.message_ids.add,
            )
        finally:
            self.answered |= association.answered


def _may_lack_contexts(response: MoveResponse) -> bool:
    """Return True if sub-operations failed, or the whole request as Orthanc's does (status C000)."""
    return bool(failed_of(response)) or response.status >> 12 == 0xC


def accounting_for(first: MoveResponse, later: MoveResponse, *, before: int, again: int) -> MoveResponse:
    """Return the final response to a repeated request; what only the first response counted has failed.

    ``before``: number of objects that arrived for the first request. ``again``: for the repetition, which matters if
    the archive does not count.
    """
    lost = max(counted_of(first), before) - (delivered_of(later) or again) - failed_of(later)
    if lost <= 0:
        return later
    status = SUB_OPERATIONS_WITH_FAILURES if later.status == SUCCESS else later.status
    return replace(later, status=status, failed=failed_of(later) + lost)


def merged(
    first: MoveResponse, gained: AbstractSet[str], later: MoveResponse, further: AbstractSet[str] = frozenset()
) -> MoveResponse:
    """Return the final response of two rounds: the first, less the failed objects that were stored afterwards.

    ``gained``: their SOP instance UIDs, all of them named by the first response. ``later``: the last round's response.
    ``further``: objects that only this one names as failed, and that never arrived. Default: none.
    """
    left = tuple(uid for uid in first.failed_sop_instance_uids if uid not in gained)
    new = tuple(sorted(further - set(left)))
    failed = max(failed_of(first) - len(gained), len(left)) + len(new)
    left += new
    completed = (first.completed or 0) + len(gained)
    ended = later.status_class is StatusClass.CANCEL
    if ended:
        status = later.status
    elif first.status not in _SUB_OPERATIONS_FAILED or not gained:
        status = SUB_OPERATIONS_WITH_FAILURES if new and first.status == SUCCESS else first.status
    else:
        status = SUB_OPERATIONS_WITH_FAILURES if failed or first.warning else SUCCESS
    return replace(
        first,
        message_id=later.message_id,
        status=status,
        remaining=later.remaining if ended else first.remaining,
        completed=completed,
        failed=failed,
        failed_sop_instance_uids=left,
        pending_completed=max(first.pending_completed, completed),
        pending_failed=failed,
    )


def refuses_lists(state: RequestState, identifiers: tuple[Identifier, ...]) -> bool:
    """Return True if the archive rejected a possible list of UIDs (PS3.4 C.2.2.2.2).

    Without an inventory, requests go out as given; pynetdicom's qrscp answers A801 to a list. With one, studies and
    series are requested separately, and objects in lists.
    """
    statuses = {response.status for response in state.last.responses}
    if state.inventory is not None:
        return state.batch > 1 and DATA_SET_DOES_NOT_MATCH in statuses
    listed = any(b"\\" in key.value for one in identifiers for key in one if key.vr == b"UI")
    return listed and not statuses.isdisjoint((DATA_SET_DOES_NOT_MATCH, MOVE_DESTINATION_UNKNOWN))
