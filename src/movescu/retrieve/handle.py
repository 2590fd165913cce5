"""The handle of a retrieve in progress: association, attempt loop, target and result (PS3.4 C.4.2).

``Client`` runs it in the caller's thread, or starts it in a thread of its own and returns it to the program.
"""

from __future__ import annotations

import contextlib

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu._runtime.record import replace
from movescu.errors import InventoryError, PeerError, StoreError, UsageError
from movescu.retrieve.attempts import AttemptLoop
from movescu.retrieve.request_state import RequestState, joined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from queue import SimpleQueue
    from typing import Final, Self

    from movescu.events import Event, EventSink
    from movescu.query.identifier import Identifier
    from movescu.retrieve.association import ArchiveAssociation
    from movescu.retrieve.config import Config
    from movescu.retrieve.earlier_request import EarlierRequest
    from movescu.retrieve.keeper import Keeper
    from movescu.retrieve.observer import Observer
    from movescu.retrieve.parts import ListedRequest, Part
    from movescu.retrieve.result import Result
    from movescu.storage.target import Target


_log: Final = logger_of("movescu.retrieve")
_ABORT_SECONDS: Final = 10.0
"""Seconds. Wait for a cancelled retrieve before it loses the archive."""
_LAST_SECONDS: Final = 2.0
"""Seconds. Wait for it after that."""


class Retrieve:
    """A retrieve in progress.

    Iterate for its events as they happen; leaving the loop early cancels. ``result`` waits for the end.
    """

    def __init__(  # noqa: PLR0913 - of one caller, Client.prepare
        self,
        client: Keeper,
        identifiers: Sequence[Identifier],
        config: Config,
        target: Target | None,
        row: int | None,
        until: float | None,
        *,
        earlier: Sequence[EarlierRequest] = (),
        split: int = 0,
    ) -> None:
        self._client = client
        self._identifiers = identifiers
        self._config = config
        self._target = target
        self._row = row
        self._until = until
        self._split = split
        self._earlier = {one.identifier: one for one in earlier}
        self._observers: list[Observer] = []
        self._happened: SimpleQueue[Event | None] | None = None
        self._failure: BaseException | None = None
        self._cancelled = clock.Event()
        self._association: ArchiveAssociation | None = None
        self._loop: AttemptLoop | None = None
        self._thread: clock.Thread | None = None
        self._runner: clock.Thread | None = None
        self._ended = clock.Event()
        self._result: Result | None = None
        self._error: BaseException | None = None
        self.states: list[RequestState] = []
        """State of each request, or one state of requests that share their attempts."""
        self.hints: list[str] = []
        """Advice on keys that could not be resolved."""
        self.unrequested: tuple[Identifier, ...] = ()
        """Requests to which keys were resolved and that were not begun."""
        self.counts: dict[str, int] = {}
        """Numbers of objects that the archive stated when keys were resolved, by UID of study or series, to verify."""
        self._begun = 0.0  # on the monotonic clock
        self._skipped = False
        self.waited = False
        """Whether objects were awaited after a final response."""
        self.on_leave: Callable[[ArchiveAssociation], None] | None = None
        """Ends the association with the archive as soon as nothing is left to request. Default: the client keeps it."""
        self._seconds = 0.0  # of the requests
        self._judging = False

    @property
    def moving(self) -> bool:
        """Whether ``cancel`` has an effect: with an association, in a pause between attempts, and after the last one.

        Opening an association cannot be cancelled, only abandoned.
        """
        association, loop = self._association, self._loop
        is_open = association is not None and association.is_open
        return self._judging or is_open or (loop is not None and loop.pausing)

    # -- from other threads --------------------------------------------------------------------------------------------

    @property
    def cancelled(self) -> bool:
        """Whether ``cancel`` was called."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Send C-CANCEL for the current request (PS3.7 9.3.4.3) and stop waiting for objects.

        Safe from any thread and from a signal handler. Before the start: nothing will be requested.
        """
        self._cancelled.set()
        if (loop := self._loop) is not None:
            loop.cancel()
        if (association := self._association) is not None:
            association.cancel()
        self._client.server.wake()

    def abort(self) -> None:
        """Cancel, and wait for the end for a limited time."""
        self.cancel()
        self.settle(_ABORT_SECONDS)

    def settle(self, seconds: float) -> None:
        """Wait for the end, flush included, for a limited time; then drop the association with the archive.

        Do nothing in the retrieve's own thread.
        """
        if self._runner is clock.current_thread():
            return
        if not self._ended.wait(seconds):
            if (association := self._association) is not None:
                association.interrupt()
            self._ended.wait(_LAST_SECONDS)
        if self._thread is not None and self._ended.is_set():
            self._thread.join()

    @property
    def started(self) -> bool:
        """Whether the retrieve has a thread of its own."""
        return self._thread is not None

    def start(self) -> Self:
        """Start the retrieve in its own thread."""
        self._happened = clock.queue()
        self.observe(self._happened.put)
        self._client.retrieves.expect(self)
        self._thread = clock.Thread(target=self._run_noting, name="movescu-retrieve", daemon=True)
        try:
            self._thread.start()
        except BaseException:  # the system's limit of threads
            self._client.retrieves.finish(self)
            raise
        return self

    def _run_noting(self) -> None:
        with contextlib.suppress(BaseException):  # kept, and raised by result()
            self.run()

    def result(self, timeout: float | None = None) -> Result:
        """Wait for the end and return the result.

        ``timeout``: seconds. Default: None, no limit. Raise ``TimeoutError`` if the retrieve is still running after
        that, and the errors of ``Client.retrieve``.
        """
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                raise TimeoutError(f"the retrieve is still running after {timeout} s")
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def __iter__(self) -> Generator[Event, None, None]:
        """Yield the events from the start; the last is the ``EndEvent``. Leaving the loop early cancels."""
        if self._happened is None:
            raise UsageError("the retrieve was not started and has no events: start it with Client.start")
        ended = False
        try:
            while (event := self._happened.get()) is not None:
                yield event
            ended = True
        finally:
            if not ended:
                self.cancel()
            if self._thread is not None:
                self._thread.join()
            self._happened.put(None)  # so that a second iteration ends too

    def proven(self, level: str = "STUDY") -> Iterator[Part]:
        """Yield the studies (or with SERIES, series) that the archive's list proves complete, after the end.

        None without a list (``Retry.verify`` or ``resume``), or if the objects could not be flushed.
        """
        from movescu.retrieve.parts import parts_of  # late: needed by few

        self.result()  # raises the error of a retrieve that has failed
        for request in self.requests():
            if request.complete:
                yield from parts_of(request, level)

    def requests(self) -> Iterator[ListedRequest]:
        """Yield what the retrieve requested, after the end, with the archive's lists."""
        from movescu.retrieve.parts import listed_requests  # late: needed by few

        yield from listed_requests(self.states, self._identifiers[0])

    # -- the steps of a retrieve ---------------------------------------------------------------------------------------

    def observe(self, sink: EventSink) -> None:
        """Send this retrieve's events to a sink too; an exception of the sink cancels it and is raised by ``run``."""
        from movescu.retrieve.event_observer import EventObserver  # late: needed for events alone

        def told(event: Event) -> None:
            try:
                sink(event)
            except BaseException as error:  # noqa: BLE001 - raised by run(), in the thread of whoever waits
                self._failure = self._failure or error
                self.cancel()

        self._observers.append(EventObserver(told))

    def run(self) -> Result:
        """Run the retrieve in this thread and return the result; see ``Client.retrieve``."""
        self.request()
        return self.conclude()

    def request(self) -> None:
        """Carry out the requests, and return the association to the client. ``conclude`` follows.

        Raise the errors of ``Client.retrieve``; the retrieve has ended then.
        """
        self._begun = clock.now()
        self._runner = clock.current_thread()
        with self._ended_by_error():
            config, client = self._config, self._client
            alone = client.retrieves.begin(self)
            if self._until is None and config.timeouts.total is not None:
                self._until = self._begun + config.timeouts.total
            observer = client.observers(self._observers)
            try:
                with self._an_association(observer) as association:
                    self._request(association, observer, alone=alone)
            finally:
                client.retrieves.end(self)
            self._judging = True
        self._seconds = clock.now() - self._begun

    @property
    def is_delivered(self) -> bool:
        """Whether all objects were delivered, after ``request``: only the disk is left to prove the retrieve."""
        return bool(self.states) and not self._skipped and self._combined.complete

    @property
    def delivered(self) -> Result:
        """The result after ``request``, before ``conclude``: without the disk."""
        return self._combined

    def note_withheld(self, objects: int) -> None:
        """Record how many objects the archive lists of a request to which it sent nothing; before ``conclude``."""
        self.states[0].withheld = objects

    def conclude(self, flush: Callable[[], None] | None = None) -> Result:
        """Flush and judge what was retrieved, in any thread, and return the result.

        ``flush``: raises ``StoreError`` if what was stored is not on the disk. Default: the target's own.
        """
        begun = clock.now() - self._seconds  # without a wait before this call
        self._runner = clock.current_thread()
        with self._ended_by_error():
            result = self._result = self._judged(flush)
            if (observer := self._client.observers(self._observers)) is not None:
                observer.ended(result, clock.now() - begun, self._row, cancelled=self.cancelled)
        self._end()
        if self._failure is not None:
            self._error = self._failure
            raise self._failure
        return result

    @contextlib.contextmanager
    def _ended_by_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self._error = error
            self._end()
            raise

    def _end(self) -> None:
        self._judging = False
        self._client.retrieves.finish(self)
        self._ended.set()
        if self._happened is not None:
            self._happened.put(None)

    @contextlib.contextmanager
    def _an_association(self, observer: Observer | None) -> Iterator[ArchiveAssociation]:
        """Take an association from the client, and return it after the block; close it if the block raises."""
        client = self._client
        association = self._association = client.take(self._config, self._until, observer)
        try:
            if self.cancelled:
                association.cancel()
            yield association
        except BaseException:
            association.close()
            raise
        finally:
            self._association = None
        client.give_back(association, self._config)

    def _request(self, association: ArchiveAssociation, observer: Observer | None, *, alone: bool) -> None:
        """Run the attempt loop: once for all requests or, resolved or with an inventory, once per request."""
        every, resolves = tuple(self._identifiers), self._config.resolves
        if resolves:
            every = self._resolved(association)
        groups = [(one,) for one in every] if self._config.retry.lists or resolves else [every] if every else []
        for number, group in enumerate(groups, start=1):
            self.unrequested = every[number - 1 :] if resolves else ()
            if self.cancelled:
                self._skipped = True
                break
            loop = self._loop = AttemptLoop(
                self._config,
                self._client.server,
                association,
                target=self._target,
                observer=observer,
                until=self._until,
                alone=alone,
                row=self._row,
                closing=self._client.closing and number == len(groups),
                complete=lambda: self._leave(association),
                split=self._split,
            )
            if self.cancelled:
                loop.cancel()
            try:
                state = loop.run(*group, earlier=self._earlier.get(group[0]), counts=self.counts)
                self.states.append(state)
                self.unrequested = self.unrequested[1:]
                if state.refusal is not None and state.refusal.hint and state.hopeless:
                    self.hints.append(state.refusal.hint)
                if resolves and not (state.nothing_found or state.cancelled):
                    state.nothing_found = self._delivered_nothing(group[0], state)
            except PeerError as error:
                if not self.states:
                    raise
                self.states.append(RequestState(error=error))
                break
            finally:
                self.waited |= loop.waited
                self._loop = None

    def _resolved(self, association: ArchiveAssociation) -> tuple[Identifier, ...]:
        """Match the keys of the requests by C-FIND, and return requests by unique keys.

        A request without a match, or that cannot be matched, has a state without attempts.
        """
        from movescu.query.scope import Scope  # late: needed with keys to resolve alone
        from movescu.retrieve.resolution import Resolution, resolve_in_time, state_of

        if not association.is_open:
            association.open()
        resolved: list[Identifier] = []
        for identifier in self._identifiers:
            if self.cancelled:
                self._skipped = True
                break
            found = Resolution()
            try:
                found = resolve_in_time(association, identifier, self._config, self._cancelled, self._until)
                state = state_of(found, Scope(identifier, self._config.request.model))
            except PeerError as error:
                state = RequestState(error=None if isinstance(error, InventoryError) else error)
                state.unlisted = str(error)
                state.refusal = error if isinstance(error, InventoryError) else None
                if error.hint:
                    self.hints.append(error.hint)
            if state is not None:
                self.states.append(state)
            resolved += found.requests
            for uid, number in found.counts if self._config.retry.verify else ():
                self.counts[uid] = max(number, self.counts.get(uid, 0))
            if state is not None and state.error is not None:
                return ()
        # What was listed once stays wanted.
        return tuple(dict.fromkeys((*resolved, *self._earlier)))

    def _delivered_nothing(self, request: Identifier, state: RequestState) -> bool:
        from movescu.retrieve.resolution import delivered_nothing  # late: needed with keys to resolve alone

        return delivered_nothing(request, state, self._config)

    def _leave(self, association: ArchiveAssociation) -> None:
        self.waited |= self._loop is not None and self._loop.waited
        if self.on_leave is not None and association.is_open:
            self.on_leave(association)

    def _judged(self, flush: Callable[[], None] | None) -> Result:
        """Flush the target, check the objects in it, and return the result."""
        failure = None if self._target is None else self._check_disk(self._target, flush or self._target.flush)
        result = replace(self._combined, fallback=self._client.service.reason)
        if not self.states or self._skipped:  # cancelled before the first request, or between two of them
            unflushed = result.evidence.unflushed or failure is not None
            evidence = replace(result.evidence, cancelled=self.cancelled, unflushed=unflushed)
            result = replace(result, evidence=evidence)
        return result if failure is None else replace(result, errors=(*result.errors, str(failure)))

    @property
    def _combined(self) -> Result:
        return joined(self.states, self._client.server.rejected_since(self._begun))

    def _check_disk(self, target: Target, flush: Callable[[], None]) -> StoreError | None:
        """Find objects that the target does not have as they were stored, once flushed; return the disk's error."""
        try:
            flush()
            parts = [{uid: _place(state, uid) for uid in state.here} for state in self.states]
            for state, lost in zip(self.states, target.check(parts, self._row), strict=True):
                state.lost = lost
                for uid, reason in state.lost.items():
                    _log.error("incomplete: SOP instance %s does not count: %s", uid, reason)
        except StoreError as error:
            for state in self.states:
                state.unflushed = True
                state.tally.no_space |= error.no_space
            return error
        return None


def _place(state: RequestState, uid: str) -> tuple[str, str]:
    """Return the study and series in which the archive lists an object, empty if it does not."""
    place = None if state.inventory is None else state.inventory.objects.get(uid)
    return ("", "") if place is None else (place.study, place.series)
