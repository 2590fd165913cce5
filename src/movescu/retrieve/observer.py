"""The stream of what happens in a retrieve: each observer is told, where it happens and in that thread.

Progress, log, report, ``--events`` and a program's callbacks are all observers. An observer that ``watches`` sees each
object as it arrives, which keeps storage associations from sharing a thread. ``event_observer`` makes the records of
``events``; nothing of that is loaded where nobody asks for them.
"""

from __future__ import annotations

import contextlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from movescu.errors import MovescuError
    from movescu.retrieve.config import Config
    from movescu.retrieve.result import Result
    from movescu.services.move import MoveResponse
    from movescu.services.store import Received
    from movescu.storage.incoming_object import Incoming, ObjectReceiver
    from movescu.transport.connection import Connection
    from movescu.ul.pdu import AssociateAC, AssociateRQ


class Observer:
    """Sees nothing; base of those that see something. ``row``: number of the entry of a list, None without a list."""

    watches = False
    """Whether it sees objects as they arrive."""

    def begin(self, incoming: Incoming) -> None:
        """See that an object begins to arrive."""

    def fragments(self, incoming: Incoming, fragments: tuple[memoryview, ...]) -> None:
        """See bytes of its data set; borrowed."""

    def finish(self, incoming: Incoming) -> None:
        """See that it has arrived, or broke off."""

    def received(self, received: Received, row: int | None) -> None:
        """See how it ended."""

    def broken_off(self, incoming: Incoming, row: int | None) -> None:
        """See that its transfer broke off."""

    def storage(
        self, connection: Connection, request: AssociateRQ, answer: AssociateAC
    ) -> AbstractContextManager[None]:
        """Return a context manager around the service of a storage association."""
        return contextlib.nullcontext()

    def archive(self, state: str, config: Config, error: MovescuError | None = None) -> None:
        """See that the association with the archive is in another state."""

    def response(self, response: MoveResponse, seconds: float, row: int | None) -> None:
        """See a C-MOVE response; ``seconds`` since its request."""

    def retry(self, attempt: int, objects: int | None, pause: float, reason: str, row: int | None) -> None:
        """See that what is missing is about to be requested again."""

    def ended(self, result: Result, seconds: float, row: int | None, *, cancelled: bool) -> None:
        """See the result of a retrieve; ``cancelled``: given up from our side."""

    def watched(self, incoming: Incoming, receiver: ObjectReceiver) -> ObjectReceiver:
        """Return a receiver that does as this one does, and shows what arrives."""
        return _Watched(incoming, receiver, (self,)) if self.watches else receiver


class Observers(Observer):
    """Tells several observers, one after the other."""

    def __init__(self, every: Iterable[Observer]) -> None:
        self._every = tuple(every)
        self._watching = tuple(one for one in self._every if one.watches)
        self.watches = bool(self._watching)

    def watched(self, incoming: Incoming, receiver: ObjectReceiver) -> ObjectReceiver:
        """Return a receiver that does as this one does, and shows what arrives."""
        return _Watched(incoming, receiver, self._watching) if self._watching else receiver

    def received(self, received: Received, row: int | None) -> None:
        """Tell how an object ended."""
        for one in self._every:
            one.received(received, row)

    def broken_off(self, incoming: Incoming, row: int | None) -> None:
        """Tell that its transfer broke off."""
        for one in self._every:
            one.broken_off(incoming, row)

    @contextlib.contextmanager
    def storage(self, connection: Connection, request: AssociateRQ, answer: AssociateAC) -> Iterator[None]:
        """Tell the begin and the end of a storage association that the block serves."""
        with contextlib.ExitStack() as stack:
            for one in self._every:
                stack.enter_context(one.storage(connection, request, answer))
            yield

    def archive(self, state: str, config: Config, error: MovescuError | None = None) -> None:
        """Tell that the association with the archive is in another state."""
        for one in self._every:
            one.archive(state, config, error)

    def response(self, response: MoveResponse, seconds: float, row: int | None) -> None:
        """Tell a response."""
        for one in self._every:
            one.response(response, seconds, row)

    def retry(self, attempt: int, objects: int | None, pause: float, reason: str, row: int | None) -> None:
        """Tell that what is missing is about to be requested again."""
        for one in self._every:
            one.retry(attempt, objects, pause, reason, row)

    def ended(self, result: Result, seconds: float, row: int | None, *, cancelled: bool) -> None:
        """Tell the result of a retrieve."""
        for one in self._every:
            one.ended(result, seconds, row, cancelled=cancelled)


class _Watched:
    """A receiver that hands everything on to another one, and shows it to observers."""

    def __init__(self, incoming: Incoming, receiver: ObjectReceiver, watching: tuple[Observer, ...]) -> None:
        self._incoming = incoming
        self._receiver = receiver
        self._watching = watching
        for one in watching:
            one.begin(incoming)

    def write(self, *fragments: memoryview) -> None:
        """Take the next bytes of the data set."""
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
        """Keep nothing of the object."""
        try:
            self._receiver.discard()
        finally:
            self._end()

    def _end(self) -> None:
        watching, self._watching = self._watching, ()
        for one in watching:
            one.finish(self._incoming)
