"""Many requests: rows of a list, several side by side, over one port of our own.

Each worker has an association of its own and takes one row after the other through a ``Pursuit``. An archive that says
it lacks resources (A701, A702, a transient rejection) is asked by half as many workers, after pauses that grow; a row
that comes through lets another worker in again. Rows that fail do not stop the others. An archive that lets one row
after the other down is left alone in the end; what was not asked for is told.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu._runtime.record import replace
from movescu.cohort.journal import COMPLETE
from movescu.dictionary.uids import STUDY_ROOT_FIND
from movescu.dimse.status import OUT_OF_RESOURCES_SUB_OPERATIONS
from movescu.errors import AssociationRejectedError, MovescuError, PeerError
from movescu.retrieval.archive_association import Session
from movescu.retrieval.attempts import LONGEST_PAUSE, Pursuit, joined
from movescu.retrieval.observer import end_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from movescu.cohort.journal import Journal
    from movescu.cohort.window import Window
    from movescu.events import EventSink
    from movescu.query.request_list import Row
    from movescu.retrieval.attempts import Pursued
    from movescu.retrieval.config import Persistence, RetrieveOptions
    from movescu.retrieval.observer import Observer
    from movescu.retrieval.result import RetrieveResult
    from movescu.retrieval.storage_server import Reception
    from movescu.transport.tls import TLS

_log: Final = logger_of("movescu.retrieve")

_NO_RESOURCES: Final = (0xA701, OUT_OF_RESOURCES_SUB_OPERATIONS)
_TIMES: Final = 3
"""How often a row is put back because the archive lacks resources."""
_LET_DOWN: Final = 5
"""Rows in a row that end without an answer before the archive is left alone."""


@dataclass(frozen=True, slots=True)
class RowResult:
    """What became of a row; ``result`` is None if there was none, and ``error`` says why."""

    row: Row
    outcome: str
    result: RetrieveResult | None = None
    error: str = ""


class Campaign:
    """Retrieves rows. ``opened`` is a reception that is open.

    ``journal`` is told of each row, ``on_row`` too, from the thread of its worker; ``go_on``: rows that it has as
    complete are passed over. ``window``: when rows are begun. ``until``: when all has to be over.
    """

    def __init__(  # noqa: PLR0913 - what it works with
        self,
        options: RetrieveOptions,
        persistence: Persistence,
        opened: Reception,
        *,
        jobs: int = 1,
        tls: TLS | None = None,
        until: float | None = None,
        journal: Journal | None = None,
        go_on: bool = False,
        window: Window | None = None,
        observer: Observer | None = None,
        on_event: EventSink | None = None,
        on_row: Callable[[RowResult], None] = lambda _: None,
    ) -> None:
        self._options = options
        self._persistence = replace(persistence, resume=True)  # a list of what there is tells the rows' objects apart
        self._reception = opened
        self._jobs = jobs
        self._tls = tls
        self._until = until
        self._journal = journal
        self._go_on = go_on
        self._window = window
        self._observer = observer
        self._on_event = on_event
        self._on_row = on_row
        self._message_ids = _Counter()
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Row, int]] = deque()
        self._busy = 0
        self._allowed = jobs
        self._pause = persistence.pause
        self._not_before = 0.0
        self._let_down = 0
        self._current: dict[int, tuple[Session, Pursuit]] = {}
        self._failure: BaseException | None = None
        self.cancelled = False
        """Whether ``cancel`` was called."""
        self.moving = False
        """Whether there is anything to be cancelled."""

    @property
    def _key(self) -> str:
        options = self._options
        return f"{options.called_ae_title}@{options.host}:{options.port}"

    def run(self, rows: Iterable[Row]) -> list[Row]:
        """Retrieve rows.

        Gives the rows that were not begun, in their order. Raises ``StoreError``.
        """
        self._waiting.extend((row, 0) for row in rows if not self._is_done(row))
        self.moving = True
        workers = [
            threading.Thread(target=self._work, args=(number,), name=f"movescu-job-{number}", daemon=True)
            for number in range(min(self._jobs, len(self._waiting)))
        ]
        try:
            for worker in workers:
                worker.start()
            for worker in workers:
                while worker.is_alive():  # a signal handler runs between two waits
                    worker.join(0.5)
        finally:
            self.moving = False
        if self._failure is not None:
            raise self._failure
        return [row for row, _ in self._waiting]

    def _is_done(self, row: Row) -> bool:
        """Return True if the journal has a row as complete and all of its objects are still here, whole."""
        if self._journal is None or not self._go_on:
            return False
        objects = self._journal.objects_of(row.key(self._key))
        return objects is not None and all(map(self._reception.whole, objects))

    def cancel(self) -> None:
        """Begin no further row, and cancel what is under way. Safe from any thread, and from a signal handler."""
        self.cancelled = True
        for session, pursuit in tuple(self._current.values()):
            session.cancel()
            pursuit.cancel()
        self._reception.wake()

    @property
    def left_alone(self) -> bool:
        """Whether the archive let down so many rows that no more were begun."""
        return self._let_down >= _LET_DOWN

    # -- the workers ---------------------------------------------------------------------------------------------------

    def _work(self, number: int) -> None:
        session = Session(
            self._options,
            tls=self._tls,
            until=self._until,
            moved=lambda: self._reception.last_activity,
            message_ids=self._message_ids,
            further=(STUDY_ROOT_FIND,),
            observer=self._observer,
        )
        try:
            with contextlib.closing(session):
                while (taken := self._next()) is not None:
                    try:
                        self._row(number, session, *taken)
                    finally:
                        self._free()
                with contextlib.suppress(PeerError):  # what came is there
                    session.release()
        except BaseException as error:  # noqa: BLE001 - raised by run(), in the thread of who called it
            self._failure = self._failure or error
            self.cancel()

    def _next(self) -> tuple[Row, int] | None:
        """Wait for a row that may be begun; None if there is none any more."""
        with self._changed:
            while not (self.cancelled or self.left_alone):
                if not self._waiting and not self._busy:
                    return None
                now = time.monotonic()
                shut = 0.0 if self._window is None else self._window.wait(time.time())
                if self._waiting and self._busy < self._allowed and now >= self._not_before and not shut:
                    self._busy += 1
                    return self._waiting.popleft()
                self._changed.wait(min(max(self._not_before - now, shut, 0.05), 0.5))
            return None

    def _free(self) -> None:
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()

    def _row(self, number: int, session: Session, row: Row, times: int) -> None:
        pursuit = Pursuit(
            self._options,
            self._persistence,
            self._reception,
            session,
            observer=self._observer,
            until=self._until,
            alone=self._jobs == 1,
            row=row.number,
        )
        self._current[number] = session, pursuit
        if self.cancelled:
            pursuit.cancel()
        on_response = None if self._observer is None else self._observer.responses(row.number)
        pursued, error = None, None
        begun = time.monotonic()
        try:
            pursued = pursuit.run(row.identifier, on_response)
        except PeerError as peer_error:
            error = peer_error
        finally:
            del self._current[number]
        if _lacks_resources(pursued, error) and times < _TIMES and not self.cancelled:
            self._hold_back(row, times)
            return
        self._note(row, pursued, error, time.monotonic() - begun)

    def _hold_back(self, row: Row, times: int) -> None:
        """Ask for a row again later, and for all of them with fewer associations."""
        with self._changed:
            self._waiting.appendleft((row, times + 1))
            self._allowed = max(self._allowed // 2, 1)
            self._not_before = time.monotonic() + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
            _log.warning(
                "row %d: the archive lacks resources; going on with %d associations in %.1f s",
                *(row.number, self._allowed, self._not_before - time.monotonic()),
            )

    def _note(self, row: Row, pursued: Pursued | None, error: PeerError | None, seconds: float) -> None:
        """Note what became of a row."""
        result = None if pursued is None else joined([pursued], ())
        outcome = "failed" if result is None else result.outcome
        if self._journal is not None:
            self._reception.flush()
            self._journal.note(row.key(self._key), outcome, () if pursued is None else pursued.here)
        with self._changed:
            silent = result is None or (outcome == "failed" and not result.responses)
            self._let_down = self._let_down + 1 if silent else 0
            if silent:
                self._not_before = time.monotonic() + self._pause
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
            if outcome == COMPLETE:
                self._allowed = min(self._allowed + 1, self._jobs)
                self._pause = self._persistence.pause
            self._changed.notify_all()
        if self._on_event is not None and result is not None:
            self._on_event(dataclasses.replace(end_event(result, row=row.number), seconds=seconds))
        self._on_row(RowResult(row, outcome, result, "" if error is None else str(error)))


def _lacks_resources(pursued: Pursued | None, error: MovescuError | None) -> bool:
    if isinstance(error, AssociationRejectedError):
        return error.result == 2  # transient (PS3.8 9.3.4)
    return pursued is not None and any(response.status in _NO_RESOURCES for response in pursued.last.responses)


class _Counter:
    """Message IDs for several threads: none is given again while another 65,534 are."""

    def __init__(self) -> None:
        self._numbers = itertools.cycle(range(1, 0x10000))
        self._lock = threading.Lock()

    def __iter__(self) -> _Counter:
        return self

    def __next__(self) -> int:
        with self._lock:
            return next(self._numbers)
