"""Tells what happens in a retrieve to who wants to be told: makes the records of ``events`` where it happens.

Only made where there is somebody to tell. Study and series of an object are read from its head as it streams by; that
costs some 0.1 ms an object.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from movescu.dataset.peek import Peek
from movescu.dimse.status import StatusClass
from movescu.events import AssociationEvent, EndEvent, ObjectEvent, RejectedContext, ResponseEvent, RetryEvent
from movescu.ul.negotiation import rejected_classes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from movescu.errors import MovescuError
    from movescu.events import EventSink
    from movescu.retrieval.config import RetrieveOptions
    from movescu.retrieval.result import RetrieveResult
    from movescu.services.move import MoveResponse
    from movescu.services.store import Received
    from movescu.storage.incoming_object import Incoming, ObjectReceiver
    from movescu.transport.connection import Connection
    from movescu.ul.pdu import AssociateAC, AssociateRQ

_STUDY: Final = 0x0020000D
_SERIES: Final = 0x0020000E


class Observer:
    """Makes the events of one retrieve. Its methods may be called from any thread.

    ``row_of`` tells the row of a list that an object belongs to, None where there are none.
    """

    def __init__(self, sink: EventSink, row_of: Callable[[Incoming], int | None] = lambda _: None) -> None:
        self._sink = sink
        self.row_of = row_of
        self._peeks: dict[int, _Peeking] = {}  # by the identity of what is coming in

    # -- objects -------------------------------------------------------------------------------------------------------

    def watched(self, incoming: Incoming, receiver: ObjectReceiver) -> ObjectReceiver:
        """Give a receiver that does as this one does, and looks at the head of the object."""
        peeking = self._peeks[id(incoming)] = _Peeking(incoming, receiver)
        return peeking

    def received(self, received: Received) -> None:
        """Tell what became of an object."""
        error = "" if received.error is None else str(received.error)
        self._object(received.incoming, received.size, received.status, error)

    def broken_off(self, incoming: Incoming) -> None:
        """Tell that the transfer of an object broke off."""
        self._object(incoming, 0, None, "the transfer broke off")

    def _object(self, incoming: Incoming, size: int, status: int | None, error: str) -> None:
        peeking = self._peeks.pop(id(incoming), None)
        uids = {} if peeking is None else peeking.uids
        self._sink(
            ObjectEvent(
                row=self.row_of(incoming),
                sop_class_uid=incoming.request.affected_sop_class_uid,
                sop_instance_uid=incoming.request.affected_sop_instance_uid,
                transfer_syntax_uid=incoming.context.transfer_syntax.uid,
                study_instance_uid=uids.get(_STUDY, ""),
                series_instance_uid=uids.get(_SERIES, ""),
                size=size,
                seconds=0.0 if peeking is None else time.monotonic() - peeking.begun,
                status=status,
                error=error,
            )
        )

    # -- associations --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def storage(self, connection: Connection, request: AssociateRQ, answer: AssociateAC) -> Iterator[None]:
        """Tell the begin and the end of a storage association that the block serves."""
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

    def archive(self, state: str, options: RetrieveOptions, error: MovescuError | None = None) -> None:
        """Tell that the association with the archive is in another state."""
        titles = (options.calling_ae_title, options.called_ae_title)
        self._association("archive", state, f"{options.host} port {options.port}", titles, error=error)

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

    # -- requests ------------------------------------------------------------------------------------------------------

    def responses(
        self, row: int | None = None, then: Callable[[MoveResponse], None] | None = None
    ) -> Callable[[MoveResponse], None]:
        """Give what is to be told the responses of one request after the other; it tells them on, to ``then`` too."""
        begun = time.monotonic()

        def tell(response: MoveResponse) -> None:
            nonlocal begun
            if then is not None:
                then(response)
            self._response(response, time.monotonic() - begun, row)
            if response.status_class is not StatusClass.PENDING:
                begun = time.monotonic()

        return tell

    def _response(self, response: MoveResponse, seconds: float, row: int | None) -> None:
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
            )
        )

    def retry(self, attempt: int, objects: int | None, pause: float, reason: str, row: int | None) -> None:
        """Tell that what did not come is about to be asked for again."""
        self._sink(RetryEvent(row=row, attempt=attempt, objects=objects, pause=pause, reason=reason))


class _Peeking:
    """A receiver that hands everything on to another one, and looks at the head."""

    def __init__(self, incoming: Incoming, receiver: ObjectReceiver) -> None:
        self._receiver = receiver
        self._peek = Peek(incoming.context.transfer_syntax, (_STUDY, _SERIES))
        self.begun = time.monotonic()

    @property
    def uids(self) -> dict[int, str]:
        """What was found, by tag."""
        return self._peek.uids

    def write(self, *fragments: memoryview) -> None:
        """Take the next bytes of the data set."""
        for fragment in fragments:
            self._peek.feed(fragment)
        self._receiver.write(*fragments)

    def finish(self) -> None:
        """Keep the object."""
        self._receiver.finish()

    def discard(self) -> None:
        """Keep nothing of the object."""
        self._receiver.discard()


def end_event(result: RetrieveResult, *, cancelled: bool = False, row: int | None = None) -> EndEvent:
    """Make the event of the end of a retrieve, whose time and exit code are for who tells it."""
    tally = result.tally
    return EndEvent(
        row=row,
        outcome="cancelled" if cancelled else result.outcome,
        stored=tally.stored,
        failed=tally.failed,
        size=tally.size,
        seconds=0.0,
        missing=result.missing,
        verified=result.verified,
        missing_sop_instance_uids=result.missing_uids,
        extra_sop_instance_uids=result.extra_uids,
        already_there=result.already_there,
        attempts=result.attempts,
        errors=(*result.errors, *((result.unlisted,) if result.unlisted else ())),
    )
