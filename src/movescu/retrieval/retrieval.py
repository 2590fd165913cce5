"""A retrieve: our own storage SCP, C-MOVE requests over one association, and what was asked for against what arrived.

``Retrieval`` listens before it asks, keeps both sides going at once, waits for objects that are still on their way when
the final response is there, and gives a ``RetrieveResult`` that says what the archive counted and what was stored.
The receiving side is ``storage_server``, the association ``archive_association``, the wait at the end ``stragglers``;
what of the result is a failure, and which exit code that has, is for ``cli.output.diagnostics``.
"""

from __future__ import annotations

import contextlib
import time

from movescu._runtime.late_log import logger_of
from movescu.dictionary.uids import STUDY_ROOT_FIND
from movescu.errors import PeerError
from movescu.retrieval.archive_association import Session
from movescu.retrieval.result import RetrieveResult, Round, Tally, evidence_of
from movescu.retrieval.storage_server import Reception
from movescu.retrieval.stragglers import Awaiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Final, Self

    from movescu.events import EventSink
    from movescu.query.identifier import Identifier
    from movescu.retrieval.attempts import Pursued, Pursuit
    from movescu.retrieval.config import Persistence, RetrieveOptions
    from movescu.retrieval.observer import Observer
    from movescu.services.move import MoveResponse
    from movescu.storage.incoming_object import ObjectReceiver
    from movescu.transport.tls import TLS, TLSOptions

_log: Final = logger_of("movescu.retrieve")


class Retrieval:
    """Makes C-MOVE requests of one archive and receives what it sends.

    A context manager, to be used step by step: ``listen``, ``open``, ``move`` as often as wanted, ``finish``,
    ``release``. ``watch`` is given what receives an object, for each of them, and gives what takes its place.
    ``on_event`` is told what happens, one call at a time, from whatever thread it happens in.

    With ``persistence``, ``pursue`` takes the place of ``open`` and ``move``.
    """

    def __init__(
        self,
        options: RetrieveOptions,
        *,
        watch: Callable[[ObjectReceiver], ObjectReceiver] | None = None,
        on_event: EventSink | None = None,
        persistence: Persistence | None = None,
    ) -> None:
        self._options = options
        self._persistence = persistence
        self._pursuit: Pursuit | None = None
        self._pursued: list[Pursued] = []
        self._until = None if options.total_timeout is None else time.monotonic() + options.total_timeout
        self._observer = None if on_event is None else make_observer(on_event)
        tls = make_tls(options.tls, accepting=options.listen is not None)
        indexed = persistence is not None and persistence.resume
        self.reception = Reception(options, watch=watch, tls=tls, observer=self._observer, indexed=indexed)
        self.session = Session(
            options,
            tls=tls,
            until=self._until,
            moved=lambda: self.reception.last_activity,
            further=() if persistence is None else (STUDY_ROOT_FIND,),
            meanwhile=self.reception.prepare,
            observer=self._observer,
        )
        self._round = Round(tally=self.reception.tally)
        self._awaiting = Awaiting(options, self._round, self._until)
        self._finishing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.ExitStack() as stack:  # each is done, whatever another one raises; the last one first
            stack.callback(self.reception.close)
            stack.callback(self.session.close)

    # -- the steps -------------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Open the output directory and the port, where there is one.

        Raises ``DirectoryNotFoundError``, ``DirectoryNotWritableError``, ``ListenError``.
        """
        self.reception.open()

    def open(self) -> None:
        """Connect and negotiate the association. Raises ``PeerError``."""
        self.session.open()

    def move(self, identifier: Identifier, on_response: Callable[[MoveResponse], None] | None = None) -> MoveResponse:
        """Make one request and wait for its final response; ``on_response`` is told each of them.

        Raises ``PeerError`` if the association ends before. It is aborted then: an archive that was given up stops.
        """
        if self._observer is not None:
            on_response = self._observer.responses(then=on_response)
        self._round.lost = True
        response = self.session.move(identifier, on_response)
        self._round.lost = False
        self._round.responses.append(response)
        return response

    def pursue(self, identifier: Identifier, on_response: Callable[[MoveResponse], None] | None = None) -> Pursued:
        """Retrieve what an identifier asks for as far as ``persistence`` goes.

        Raises ``PeerError`` if no association comes about.
        """
        from movescu.retrieval.attempts import Pursuit  # for those alone who want more than one attempt

        assert self._persistence is not None  # what this is for
        if self._observer is not None:
            on_response = self._observer.responses(then=on_response)
        self._pursuit = Pursuit(
            self._options,
            self._persistence,
            self.reception,
            self.session,
            observer=self._observer,
            until=self._until,
        )
        try:
            pursued = self._pursuit.run(identifier, on_response)
        finally:
            self._awaiting.waited |= self._pursuit.waited
            self._pursuit = None
        self._pursued.append(pursued)
        return pursued

    def cancel(self) -> None:
        """Send C-CANCEL for the request that is under way, and wait no longer when it has ended.

        Safe from any thread, and from a signal handler.
        """
        self.session.cancel()
        if (pursuit := self._pursuit) is not None:
            pursuit.cancel()
        self.reception.wake()

    @property
    def persistent(self) -> bool:
        """Whether it is for ``pursue``."""
        return self._persistence is not None

    @property
    def moving(self) -> bool:
        """Whether a request, or the wait for what is still on its way, is there to be cancelled."""
        return self.session.moving or self._finishing or self._pursuit is not None

    @property
    def cancelled(self) -> bool:
        """Whether ``cancel`` was called."""
        return self.session.cancelled

    def finish(self) -> RetrieveResult:
        """Wait for what is still on its way, and give the result.

        The wait ends at once if nothing is missing and no storage association is open, or if it was cancelled; else
        after ``linger`` seconds of silence, or when the open associations have been silent for ``store_timeout``. Then
        the port is closed, and what was stored is flushed to the disk, if durability asks for it. Raises
        ``StoreError`` if that fails.
        """
        self._finishing = True
        try:
            return self._finish()
        finally:
            self._finishing = False

    def _finish(self) -> RetrieveResult:
        listener, responses = self.reception.listener, self._round.responses
        if self._pursued:
            from movescu.retrieval.attempts import joined

            self.reception.stop()
            self.reception.flush()
            return joined(self._pursued, self.reception.rejected)
        if listener is not None:
            self._awaiting.wait(listener, cancelled=lambda: self.cancelled)
            self.reception.stop()
        self.reception.flush()
        tally, expected = self.reception.tally, self._awaiting.expected if listener is not None else 0
        evidence = evidence_of(
            responses,
            tally,
            expected=expected,
            cut_off=self._awaiting.cut_off,
            lost=self._round.lost,
            cancelled=self.cancelled or bool(self._options.cancel_after),
        )
        broken_off = tuple(sorted(tally.broken_off)) if evidence.broken_off else ()
        return RetrieveResult(tuple(responses), tally, expected, evidence, self.reception.rejected, broken_off)

    def release(self) -> None:
        """Release the association. Raises ``PeerError`` if the archive does not confirm.

        It need not if objects were awaited after its final response: it may have ended the idle association then.
        """
        ended = self._awaiting.waited and self.session.ended()
        try:
            self.session.release()
        except PeerError as error:
            if not ended:
                raise
            _log.info("the archive ended its association while objects still came: %s", error)

    def abort(self) -> None:
        """Abort the association."""
        self.session.abort()

    # -- what is known -------------------------------------------------------------------------------------------------

    @property
    def own_address(self) -> tuple[str, int]:
        """Address and port at which an archive reaches our storage SCP; the port is 0 if there is none."""
        return self.session.local_address, self.reception.port

    @property
    def tally(self) -> Tally:
        """What has come to our own port so far; it goes on counting."""
        return self.reception.tally

    @property
    def arrived(self) -> int:
        """How many objects have come to our own port so far, stored or not."""
        return self.tally.arrived


def make_observer(on_event: EventSink) -> Observer:
    """Make what tells events to a sink."""
    from movescu.retrieval.observer import Observer  # records that few want

    return Observer(on_event)


def make_tls(options: TLSOptions | None, *, accepting: bool) -> TLS | None:
    """Make what secures connections, None where they are not to be secured. Raises ``TLSError``."""
    if options is None:
        return None
    from movescu.transport.tls import TLS  # ssl takes 10 ms to load

    return TLS(options, accepting=accepting)
