"""The observer that makes the records of ``events`` and passes them to a sink.

Study and series of an object are read from the start of its data set while it arrives.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu.dataset.peek import Peek
from movescu.events import (
    AssociationEvent,
    EndEvent,
    FallbackEvent,
    ObjectEvent,
    RejectedContext,
    ResponseEvent,
    RetryEvent,
)
from movescu.retrieve.observer import Observer
from movescu.ul.negotiation import rejected_classes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from movescu.errors import MovescuError
    from movescu.events import EntryEvent, EventSink
    from movescu.retrieve.config import Config
    from movescu.retrieve.result import Result
    from movescu.services.move import MoveResponse
    from movescu.services.store import Received
    from movescu.storage.incoming_object import Incoming
    from movescu.transport.connection import Connection
    from movescu.ul.pdu import AssociateAC, AssociateRQ

_STUDY: Final = 0x0020000D
_SERIES: Final = 0x0020000E


class EventObserver(Observer):
    """Makes the events of a retrieve and passes them to a sink."""

    watches = True

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink
        self._peeks: dict[int, _Peeking] = {}  # by id() of the arriving object

    # -- objects -------------------------------------------------------------------------------------------------------

    def begin(self, incoming: Incoming) -> None:
        """Start to look for study and series."""
        self._peeks[id(incoming)] = _Peeking(incoming)

    def fragments(self, incoming: Incoming, fragments: tuple[memoryview, ...]) -> None:
        """Read study and series from the start of the data set."""
        if (peeking := self._peeks.get(id(incoming))) is not None:
            for fragment in fragments:
                peeking.peek.feed(fragment)

    def received(self, received: Received, row: int | None) -> None:
        """Send the event of an object that arrived."""
        error = "" if received.error is None else str(received.error)
        self._object(received.incoming, row, received.size, received.status, error)

    def broken_off(self, incoming: Incoming, row: int | None) -> None:
        """Send the event of an object whose transfer broke off."""
        self._object(incoming, row, 0, None, "the transfer broke off")

    def _object(self, incoming: Incoming, row: int | None, size: int, status: int | None, error: str) -> None:
        peeking = self._peeks.pop(id(incoming), None)
        uids = {} if peeking is None else peeking.peek.uids
        self._sink(
            ObjectEvent(
                row=row,
                sop_class_uid=incoming.request.affected_sop_class_uid,
                sop_instance_uid=incoming.request.affected_sop_instance_uid,
                transfer_syntax_uid=incoming.context.transfer_syntax.uid,
                study_instance_uid=uids.get(_STUDY, ""),
                series_instance_uid=uids.get(_SERIES, ""),
                size=size,
                seconds=0.0 if peeking is None else clock.now() - peeking.begun,
                status=status,
                error=error,
            )
        )

    # -- associations --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def storage(self, connection: Connection, request: AssociateRQ, answer: AssociateAC) -> Iterator[None]:
        """Send the events of a storage association: opened before the block, released or lost after it."""
        titles = (request.calling_ae_title, request.called_ae_title)
        rejected = tuple(
            RejectedContext(sop_class_uid=one.sop_class_uid, transfer_syntax_uids=one.offered)
            for one in rejected_classes(request, answer)
        )
        self._association("storage", "opened", connection.peer, titles, rejected=rejected)
        try:
            yield
        except BaseException as error:
            self._association("storage", "lost", connection.peer, titles, error=error)
            raise
        self._association("storage", "released", connection.peer, titles)

    def archive(self, state: str, config: Config, error: MovescuError | None = None) -> None:
        """Send the event of a new state of the association with the archive."""
        archive = config.archive
        self._association(
            "archive", state, f"{archive.host} port {archive.port}", (config.ae_title, archive.title), error=error
        )

    def _association(
        self,
        role: str,
        state: str,
        peer: str,
        titles: tuple[str, str],
        *,
        error: BaseException | None = None,
        rejected: tuple[RejectedContext, ...] = (),
    ) -> None:
        self._sink(
            AssociationEvent(
                role=role,
                state=state,
                peer=peer,
                calling_ae_title=titles[0],
                called_ae_title=titles[1],
                error="" if error is None else str(error) or type(error).__name__,
                rejected_contexts=rejected,
            )
        )

    def ended(self, result: Result, seconds: float, row: int | None, *, cancelled: bool) -> None:
        """Send the event of the end of a retrieve."""
        self._sink(replace(end_event(result, cancelled=cancelled, row=row), seconds=seconds))

    def entry(self, event: EntryEvent) -> None:
        """Send the event of a new state of a list's entry."""
        self._sink(event)

    # -- requests ------------------------------------------------------------------------------------------------------

    def response(self, response: MoveResponse, seconds: float, row: int | None) -> None:
        """Send the event of a response."""
        self._sink(
            ResponseEvent(
                row=row,
                message_id=response.message_id,
                status=response.status,
                remaining=response.remaining,
                completed=response.completed,
                failed=response.failed,
                warning=response.warning,
                error_comment=response.error_comment,
                failed_sop_instance_uids=response.failed_sop_instance_uids,
                seconds=seconds,
                service="" if response.service == "C-MOVE" else response.service,
            )
        )

    def fell_back(self, reason: str) -> None:
        """Send the event of the change to C-MOVE."""
        self._sink(FallbackEvent(reason=reason))

    def retry(self, attempt: int, objects: int | None, pause: float, reason: str, row: int | None) -> None:
        """Send the event of another attempt."""
        self._sink(RetryEvent(row=row, attempt=attempt, objects=objects, pause=pause, reason=reason))


class _Peeking:
    """Study, series and start time of an arriving object."""

    def __init__(self, incoming: Incoming) -> None:
        self.peek = Peek(incoming.context.transfer_syntax, (_STUDY, _SERIES))
        self.begun = clock.now()


def end_event(result: Result, *, cancelled: bool = False, row: int | None = None) -> EndEvent:
    """Return the event of the end of a retrieve, without its duration and exit code."""
    return EndEvent(
        row=row,
        outcome="cancelled" if cancelled else result.outcome,
        stored=result.stored,
        failed=result.failed,
        size=result.size,
        seconds=0.0,
        missing=result.missing,
        verified=result.verified,
        missing_sop_instance_uids=result.missing_uids,
        extra_sop_instance_uids=result.extra_uids,
        already_there=result.already_there,
        attempts=result.attempts,
        errors=(*result.errors, *filter(None, (result.unmet, result.unlisted))),
        fallback=result.fallback,
    )
