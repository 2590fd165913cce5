"""Observers of a retrieve: notified of each event where it happens, in that thread.

Progress, log, report, ``--events`` and a program's callbacks are all observers. An observer that ``watches`` sees each
object's data as it arrives; storage associations then do not share a thread. ``event_observer`` makes the records of
``events`` and is loaded only when they are wanted.
"""

from __future__ import annotations

import contextlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from movescu.errors import MovescuError
    from movescu.events import EntryEvent
    from movescu.retrieve.config import Config
    from movescu.retrieve.result import Result
    from movescu.services.move import MoveResponse
    from movescu.services.store import Received
    from movescu.storage.incoming_object import Incoming, ObjectReceiver
    from movescu.transport.connection import Connection
    from movescu.ul.pdu import AssociateAC, AssociateRQ


class Observer:
    """Base of all observers; does nothing. ``row``: number of the list's entry, None without a list."""

    watches = False
    """Whether the observer sees objects as they arrive."""

    def begin(self, incoming: Incoming) -> None:
        """Handle the start of an object."""

    def fragments(self, incoming: Incoming, fragments: tuple[memoryview, ...]) -> None:
        """Handle bytes of its data set; the views are borrowed."""

    def finish(self, incoming: Incoming) -> None:
        """Handle the end of its transfer, complete or broken off."""

    def received(self, received: Received, row: int | None) -> None:
        """Handle an object that arrived, stored or not."""

    def broken_off(self, incoming: Incoming, row: int | None) -> None:
        """Handle an object whose transfer broke off."""

    def storage(
        self, connection: Connection, request: AssociateRQ, answer: AssociateAC
    ) -> AbstractContextManager[None]:
        """Return a context manager that encloses a storage association."""
        return contextlib.nullcontext()

    def archive(self, state: str, config: Config, error: MovescuError | None = None) -> None:
        """Handle a new state of the association with the archive."""

    def listed(self, objects: int, missing: int, row: int | None) -> None:
        """Handle the archive's list (C-FIND): the number of its objects, and of those that are not here."""

    def requested(self, row: int | None) -> None:
        """Handle the start of a request."""

    def response(self, response: MoveResponse, seconds: float, row: int | None) -> None:
        """Handle a C-MOVE or C-GET response; ``seconds`` since its request."""

    def fell_back(self, reason: str) -> None:
        """Handle the change from C-GET to C-MOVE."""

    def retry(self, attempt: int, objects: int | None, pause: float, reason: str, row: int | None) -> None:
        """Handle the start of the pause before another attempt."""

    def delivered(self, row: int) -> None:
        """Handle the end of an entry's request: its objects are here, and wait to be flushed."""

    def ended(self, result: Result, seconds: float, row: int | None, *, cancelled: bool) -> None:
        """Handle the result of a retrieve; ``cancelled``: by us."""

    def entry(self, event: EntryEvent) -> None:
        """Handle a new state of a list's entry."""

    def watched(self, incoming: Incoming, receiver: ObjectReceiver) -> ObjectReceiver:
        """Return a receiver that forwards to this one and shows the data to watching observers."""
        return _Watched(incoming, receiver, (self,)) if self.watches else receiver


class Observers(Observer):
    """Several observers as one, notified in order."""

    def __init__(self, every: Iterable[Observer]) -> None:
        self._every = tuple(every)
        self._watching = tuple(one for one in self._every if one.watches)
        self.watches = bool(self._watching)

    def watched(self, incoming: Incoming, receiver: ObjectReceiver) -> ObjectReceiver:
        """Return a receiver that forwards to this one and shows the data to watching observers."""
        return _Watched(incoming, receiver, self._watching) if self._watching else receiver

    def received(self, received: Received, row: int | None) -> None:
        """Notify each observer of an object that arrived."""
        for one in self._every:
            one.received(received, row)

    def broken_off(self, incoming: Incoming, row: int | None) -> None:
        """Notify each observer of an object whose transfer broke off."""
        for one in self._every:
            one.broken_off(incoming, row)

    @contextlib.contextmanager
    def storage(self, connection: Connection, request: AssociateRQ, answer: AssociateAC) -> Iterator[None]:
        """Enclose a storage association in the context managers of all observers."""
        with contextlib.ExitStack() as stack:
            for one in self._every:
                stack.enter_context(one.storage(connection, request, answer))
            yield

    def archive(self, state: str, config: Config, error: MovescuError | None = None) -> None:
        """Notify each observer of a new state of the association with the archive."""
        for one in self._every:
            one.archive(state, config, error)

    def listed(self, objects: int, missing: int, row: int | None) -> None:
        """Notify each observer of the archive's list."""
        for one in self._every:
            one.listed(objects, missing, row)

    def requested(self, row: int | None) -> None:
        """Notify each observer of the start of a request."""
        for one in self._every:
            one.requested(row)

    def response(self, response: MoveResponse, seconds: float, row: int | None) -> None:
        """Notify each observer of a C-MOVE response."""
        for one in self._every:
            one.response(response, seconds, row)

    def fell_back(self, reason: str) -> None:
        """Notify each observer of the change from C-GET to C-MOVE."""
        for one in self._every:
            one.fell_back(reason)

    def retry(self, attempt: int, objects: int | None, pause: float, reason: str, row: int | None) -> None:
        """Notify each observer of another attempt."""
        for one in self._every:
            one.retry(attempt, objects, pause, reason, row)

    def delivered(self, row: int) -> None:
        """Notify each observer of the end of an entry's request."""
        for one in self._every:
            one.delivered(row)

    def ended(self, result: Result, seconds: float, row: int | None, *, cancelled: bool) -> None:
        """Notify each observer of the result of a retrieve."""
        for one in self._every:
            one.ended(result, seconds, row, cancelled=cancelled)

    def entry(self, event: EntryEvent) -> None:
        """Notify each observer of a new state of a list's entry."""
        for one in self._every:
            one.entry(event)


class _Watched:
    """A receiver that forwards to another one and shows the data to observers."""

    def __init__(self, incoming: Incoming, receiver: ObjectReceiver, watching: tuple[Observer, ...]) -> None:
        self._incoming = incoming
        self._receiver = receiver
        self._watching = watching
        for one in watching:
            one.begin(incoming)

    def write(self, *fragments: memoryview) -> None:
        """Write the next bytes of the data set."""
        for one in self._watching:
            one.fragments(self._incoming, fragments)
        self._receiver.write(*fragments)

    def finish(self) -> None:
        """Keep the object."""
        try:
            self._receiver.finish()
        finally:
            self._end()

    def discard(self) -> None:
        """Discard the object."""
        try:
            self._receiver.discard()
        finally:
            self._end()

    def _end(self) -> None:
        watching, self._watching = self._watching, ()
        for one in watching:
            one.finish(self._incoming)
