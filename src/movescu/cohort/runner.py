"""The runner of a list: many requests, several at a time, over one port.

Each worker retrieves one entry after the other through a ``Client``, which keeps an association for it; ``admission``
decides when the archive is sent the next one. A failed entry does not stop the others. If the archive goes away, the
entries wait; if it cannot be reached at all, or cannot reach us, no more are started, and the remaining ones are
returned. Entries that request the same objects are requested once, those that may overlap one after the other
(``overlap``).
"""

from __future__ import annotations

import contextlib
import random
from collections import deque
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu._runtime.record import replace
from movescu.cohort.admission import PATIENCE, Admission, Fate, RequestEnd, Stop
from movescu.cohort.entries import end_of, entry_event, retracted
from movescu.cohort.journal import COMPLETE
from movescu.cohort.overlap import chains, distinct
from movescu.cohort.postponed import Postponed
from movescu.cohort.request_end import end_of_error, end_of_result
from movescu.errors import PeerError
from movescu.events import EntryState
from movescu.retrieve.causes import HOPELESS, INTERRUPTED, NOT_STARTED, STOPPED_ASKING, UNREACHED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from movescu.cohort.hooks import Hooks
    from movescu.cohort.journal import Journal
    from movescu.cohort.window import Window
    from movescu.events import EntryEvent
    from movescu.query.request_list import Row
    from movescu.retrieve.client import Client
    from movescu.retrieve.handle import Retrieve
    from movescu.retrieve.result import Result

_log: Final = logger_of("movescu.retrieve")

_TIMES: Final = 3
"""Highest number of times that an entry is refused with no other request under way; after that, it has failed."""
_LOSSES: Final = 5
"""Highest number of associations that an entry may lose, lest one that crashes the archive be requested for ever."""
_NAMED: Final = 5
"""Objects that a message names."""
_STOPPED: Final = {Stop.AWAY: STOPPED_ASKING, Stop.UNREACHED: UNREACHED, Stop.HOPELESS: HOPELESS}
"""Causes of entries that were not requested because the runner stopped."""


@dataclass(frozen=True, slots=True)
class RowResult:
    """Result of an entry; ``result`` is None without an association, for the reason in ``error``.

    ``same_as``: number of the equal entry that was requested instead. Default: None.
    """

    row: Row
    outcome: str
    result: Result | None = None
    error: str = ""
    same_as: int | None = None


class Runner:
    """Retrieves the entries of a list.

    ``jobs``: entries at a time. Default: 1. ``slots``: requests that the archive serves at once. Default: None, that is
    learned. ``patience``: seconds that the archive may be away once it was there. Default: 12 h. ``until``: deadline,
    on the monotonic clock. Default: None, no limit. ``journal``: records the result of each entry. ``resume``: skip
    entries that the journal has as complete and whose objects are still whole. Default: False. ``window``: time of day
    to start entries in. Default: any. ``on_row``: called with each result, in its worker's thread. ``hooks``: commands
    to run for complete entries. Default: none.
    """

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        client: Client,
        *,
        jobs: int = 1,
        slots: int | None = None,
        patience: float = PATIENCE,
        until: float | None = None,
        journal: Journal | None = None,
        resume: bool = False,
        window: Window | None = None,
        hooks: Hooks | None = None,
        on_row: Callable[[RowResult], None] = lambda _: None,
    ) -> None:
        self._client = client
        # With an inventory, each object is attributed to its entry.
        self._config = replace(client.config, retry=replace(client.config.retry, resume=True))
        self._jobs = jobs
        self._slots, self._patience = slots, patience
        self._until = until
        self._journal = journal
        self._resume = resume
        self._window = window
        self._hooks = hooks
        self._on_row = on_row
        self._changed = clock.Condition()
        self._waiting: deque[tuple[list[Row], int]] = deque()
        self._repeated: dict[int, list[Row]] = {}
        self.admission = Admission(jobs)
        """Decides when the archive is sent the next request."""
        self._current: dict[int, Retrieve] = {}
        self._postponed: dict[int, Postponed] = {}
        """Entries that were requested and are requested again, by number."""
        self._observer = client.observers(())
        self._open: dict[int, Row] = {}
        self._ends: dict[int, tuple[Row, EntryEvent]] = {}
        """Ends of entries that may have to be corrected, by number."""
        self._started: set[int] = set()
        self._telling = clock.Lock()
        self._failure: BaseException | None = None
        self.cancelled = False
        """Whether ``cancel`` was called."""
        self.moving = False
        """Whether ``cancel`` has an effect."""
        self.opens_in = 0.0
        """Seconds until the window opens in which entries may be started, 0 within it."""

    def _key(self, row: Row) -> str:
        """Return the key of an entry in the journal: its request, the archive, and the selection among the matches."""
        archive = self._config.archive
        return row.key(f"{archive.title}@{archive.host}:{archive.port}", self._config.selection)

    def run(self, rows: Iterable[Row]) -> list[Row]:
        """Retrieve entries; return those not started, in order. Raise ``StoreError`` if the journal or index fails."""
        rows = tuple(rows)
        self._open.update((row.number, row) for row in rows)
        try:
            return self._run(rows)
        finally:
            self._close()

    def _run(self, rows: tuple[Row, ...]) -> list[Row]:
        done = [row for row in rows if self._is_done(row)]
        self.admission = Admission(
            self._jobs,
            slots=self._slots,
            patience=self._patience,
            answered=bool(done),
            jitter=lambda: random.uniform(0.8, 1.2),  # noqa: S311 - no secret
        )
        for row in done:
            self._tell(entry_event(row, EntryState.COMPLETE_BEFORE))
        before = {row.number for row in done}
        wanted, self._repeated = distinct(row for row in rows if row.number not in before)
        self._waiting.extend((chain, 0) for chain in chains(wanted, self._config.request.model))
        self.moving = True
        workers = [
            clock.Thread(target=self._work, args=(number,), name=f"movescu-job-{number}", daemon=True)
            for number in range(min(self._jobs, len(self._waiting)))
        ]
        try:
            for worker in workers:
                worker.start()
            for worker in workers:
                while worker.is_alive():  # in slices, so that signal handlers can run
                    worker.join(0.5)
        finally:
            self.moving = False
        if self._failure is not None:
            raise self._failure
        self._client.server.close()  # what arrives later would be stored unseen
        self._correct(done)
        waiting = [row for chain, _ in self._waiting for row in chain]
        waiting += [repeated for row in waiting for repeated in self._repeated.get(row.number, ())]
        return sorted(waiting, key=lambda row: row.number)

    def _tell(self, event: EntryEvent) -> None:
        """Notify the observers of a state; an entry has one end."""
        with self._telling:
            assert event.row is not None
            if event.row not in self._open:
                return
            if event.state.is_end:
                row = self._open.pop(event.row)
                if event.state in (EntryState.COMPLETE, EntryState.COMPLETE_BEFORE) and event.same_as is None:
                    self._ends[event.row] = row, event
            if self._observer is not None:
                self._observer.entry(event)

    def _tell_end(self, end: EntryEvent) -> None:
        """Notify the observers of the end of an entry, and of its repetitions, which have no numbers of their own."""
        assert end.row is not None
        self._tell(end)
        none = changed(end, stored=0, already_there=0, missing=0, failed=0, size=0, missing_sop_instance_uids=())
        for repeated in self._repeated.get(end.row, ()):
            own = changed(none, row=repeated.number, keys=repeated.keys, columns=repeated.columns)
            self._tell(changed(own, seconds=0.0, attempts=0, same_as=end.row))

    # -- after the last entry ------------------------------------------------------------------------------------------

    def _correct(self, done: Iterable[Row]) -> None:
        """Correct the ends of entries whose objects others have replaced since, and report what nobody requested.

        ``done``: entries that an earlier run has completed.
        """
        target = self._client.target
        if target is None:
            return
        late = target.late()
        if self._journal is not None and target.superseded:
            for row in done:
                lost = target.superseded.intersection(self._journal.objects_of(self._key(row)) or ())
                if lost:
                    late[row.number] = dict.fromkeys(sorted(lost), "another object of this UID has replaced it")
        for number, reasons in late.items():
            if number in self._ends:
                self._retract(*self._ends.pop(number), reasons)
        unclaimed = [uid for uid in sorted(self._client.server.unclaimed) if not target.relied_on(uid)]
        if unclaimed:
            named = ", ".join(unclaimed[:_NAMED])
            _log.warning(
                "%d object%s arrived that no running entry had requested: SOP instance%s %s",
                *(len(unclaimed), *(2 * ("" if len(unclaimed) == 1 else "s",))),
                named + (f" ... and {len(unclaimed) - _NAMED} more" if len(unclaimed) > _NAMED else ""),
            )

    def _retract(self, row: Row, end: EntryEvent, reasons: dict[str, str]) -> None:
        """Correct the end of an entry: some of its objects are not whole any more."""
        for uid, reason in tuple(reasons.items())[:_NAMED]:
            _log.error("entry %d: incomplete: SOP instance %s is not whole on the disk: %s", row.number, uid, reason)
        told, result = retracted(end, reasons)
        self._open[row.number] = row
        self._open.update((repeated.number, repeated) for repeated in self._repeated.get(row.number, ()))
        self._tell_end(told)
        key = self._key(row)
        if self._journal is not None and (objects := self._journal.objects_of(key)) is not None:
            self._journal.note(key, result.outcome, set(objects) - reasons.keys())
        self._on_row(RowResult(row, result.outcome, result))
        for repeated in self._repeated.get(row.number, ()):
            self._on_row(RowResult(repeated, result.outcome, result, same_as=row.number))

    def _close(self) -> None:
        """Notify the observers of the end of all entries that have none: not started, or interrupted by an error."""
        waiting = {chain[0].number for chain, _ in self._waiting}
        cause = _STOPPED[self.stop] if self.stop else INTERRUPTED if self.cancelled else NOT_STARTED
        for row in tuple(self._open.values()):
            postponed = self._postponed.get(row.number)
            if row.number in waiting and postponed is not None and postponed.end is not None:
                self._tell_end(postponed.end)
            elif row.number in waiting or row.number not in self._started:
                self._tell(entry_event(row, EntryState.NOT_STARTED, cause))
            else:
                tally = self._client.server.tally_of(row.number)
                state = EntryState.PARTIAL if tally.stored else EntryState.FAILED
                self._tell_end(entry_event(row, state, INTERRUPTED, attempts=1, stored=tally.stored, size=tally.size))

    def _is_done(self, row: Row) -> bool:
        """Return True if the journal has an entry as complete and all of its objects are still whole."""
        if self._journal is None or not self._resume or self._config.retry.verify:  # studies grow
            return False
        if self._hooks is not None and not self._hooks.is_settled(row):  # it has to be proven complete again
            return False
        objects = self._journal.objects_of(self._key(row))
        return objects is not None and bool(objects) and all(map(self._client.whole, objects))

    def cancel(self) -> None:
        """Start no further entry and cancel the running ones. Safe from any thread and from a signal handler."""
        self.cancelled = True
        for retrieve in tuple(self._current.values()):
            retrieve.cancel()

    @property
    def own_address(self) -> tuple[str, int]:
        """Our address and port, as the client knows them."""
        return self._client.own_address

    @property
    def stop(self) -> Stop | None:
        """Why no more entries were started, None if that is not the archive's fault."""
        return self.admission.stop

    @property
    def absence(self) -> tuple[float, float] | None:
        """Seconds until an absent archive is probed next, and until it is given up; None if it is there."""
        admission, now = self.admission, clock.now()
        if admission.away_since is None:
            return None
        return max(admission.next_echo - now, 0.0), max(admission.deadline - now, 0.0)

    # -- the workers ---------------------------------------------------------------------------------------------------

    def _work(self, number: int) -> None:
        try:
            while (taken := self._next()) is not None:
                self._row(number, *taken)
        except BaseException as error:  # noqa: BLE001 - raised by run(), in the caller's thread
            self._failure = self._failure or error
            self.cancel()

    def _next(self) -> tuple[list[Row], int, int] | None:
        """Wait for a chain whose first entry may be requested; return it, how often that was refused, and the request.

        Return None if none is left, or no more are requested.
        """
        with self._changed:
            while not self.cancelled and (self._waiting or self.admission.under_way):
                now, late = clock.now(), self._until is not None and clock.now() >= self._until
                advice = self.admission.advice(now)
                if advice.stop is not None or late:
                    return None
                shut = 0.0 if self._window is None else self._window.wait(clock.wall())
                self.opens_in = shut
                if not shut and advice.send and self._waiting:
                    return *self._waiting.popleft(), self.admission.started()
                if not shut and advice.echo:
                    self._echo()
                    continue
                self._changed.wait(min(max(advice.seconds, shut, 0.05), 0.5))
            return None

    def _echo(self) -> None:
        """Find out whether an absent archive is back; the lock is held, and given back meanwhile."""
        self.admission.echo_started()
        self._changed.release()
        answered = False
        try:
            with contextlib.suppress(PeerError):
                self._client.echo()
                answered = True
        finally:
            self._changed.acquire()
            self.admission.echo_ended(clock.now(), answered=answered)
            self._tell_presence(away=True)
            self._changed.notify_all()

    def _tell_presence(self, *, away: bool) -> None:
        """Log that the archive has gone away or is back; ``away``: whether it was away before."""
        if away and self.admission.away_since is None:
            _log.warning("the archive is back")
        elif not away and self.admission.away_since is not None:
            _log.warning("the archive is away; it is asked again from time to time, for %g s", self._patience)

    def _judge(self, request: int, end: RequestEnd, number: int) -> Fate:
        """Record the end of a request, and return what becomes of its entry; log what changed."""
        with self._changed:
            admission = self.admission
            ceiling, away = admission.ceiling, admission.away_since
            fate = admission.ended(request, end, clock.now())
            self._changed.notify_all()
            if end is RequestEnd.REFUSED and admission.ceiling < ceiling:
                _log.warning(
                    "entry %d: the archive lacks resources; continuing with %d request%s at a time",
                    *(number, admission.ceiling, "" if admission.ceiling == 1 else "s"),
                )
            elif end is RequestEnd.REFUSED:
                _log.warning("entry %d: the archive lacks resources; the request is repeated later", number)
            self._tell_presence(away=away is not None)
        if end is RequestEnd.REFUSED and fate is Fate.AGAIN:
            # Each idle association may take one of the archive's slots.
            with contextlib.suppress(PeerError):
                self._client.release()
        return fate

    def _row(self, number: int, chain: list[Row], times: int, request: int) -> None:
        """Retrieve the first entry of a chain; ``times``: how often it was refused alone."""
        row = chain[0]
        earlier = self._postponed.pop(row.number, None) or Postponed()
        retrieve = self._client.prepare(
            (row.identifier,),
            config=self._config,
            row=row.number,
            until=self._until,
            earlier=earlier.states,
        )
        self._current[number] = retrieve
        self._started.add(row.number)
        self._tell(entry_event(row, EntryState.RUNNING))
        begun = clock.now()
        if self.cancelled:
            retrieve.cancel()
        result, error, end_of_request = None, None, RequestEnd.FAILED
        try:
            result = retrieve.run()
            reached = self._client.service.gets or not self._client.port or self._client.server.was_reached
            end_of_request = end_of_result(result, reached=reached)
            self.admission.accepted()
        except PeerError as peer_error:
            error = peer_error
            end_of_request = end_of_error(error, alone=self.admission.under_way == 1)
        finally:
            del self._current[number]
            if self.cancelled:
                end_of_request = RequestEnd.FAILED
            fate = self._judge(request, end_of_request, row.number)
        counted = fate is Fate.AGAIN_COUNTED
        earlier.losses += end_of_request is RequestEnd.AWAY
        told = earlier.continued(result)
        end = earlier.whole_end(end_of(row, retrieve, told, error, clock.now() - begun), times)
        if fate is not Fate.DONE and earlier.losses <= _LOSSES and (times < _TIMES or not counted):
            earlier.keep(result, retrieve.states, end)
            self._postponed[row.number] = earlier
            self._client.keep(uid for state in retrieve.states for uid in state.here)
            self._tell(entry_event(row, EntryState.POSTPONED))
            # One that lost its association is requested after the others: it may be at fault.
            self._put_back(chain, times + counted, first=end_of_request is not RequestEnd.AWAY)
            return
        for hint in dict.fromkeys(retrieve.hints):
            if hint != end.advice:
                _log.warning("entry %d: %s", row.number, hint)
        self._tell_end(end)
        self._note(row, retrieve, told, error)
        if len(chain) > 1:
            self._client.keep(uid for state in retrieve.states for uid in state.here)
            self._put_back(chain[1:], 0, first=True)

    def _put_back(self, chain: list[Row], times: int, *, first: bool) -> None:
        with self._changed:
            (self._waiting.appendleft if first else self._waiting.append)((chain, times))
            self._changed.notify_all()

    def _note(self, row: Row, retrieve: Retrieve, result: Result | None, error: PeerError | None) -> None:
        """Record the result of an entry."""
        outcome = "failed" if result is None else result.outcome
        if self._journal is not None:
            here = {uid for state in retrieve.states for uid in state.here}
            self._journal.note(self._key(row), outcome, here)
        told = "" if error is None else str(error)
        self._on_row(RowResult(row, outcome, result, told))
        for repeated in self._repeated.get(row.number, ()):
            self._on_row(RowResult(repeated, outcome, result, told, same_as=row.number))
        if self._hooks is not None and result is not None and outcome == COMPLETE and not self.cancelled:
            self._hooks.enter(retrieve.states, row)  # may wait for other commands
