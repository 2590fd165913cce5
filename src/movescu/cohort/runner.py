"""The runner of a list: it drives the workers that carry out the requests (``workers``), and judges each entry.

All decisions are made here, in the thread of the caller: ``admission`` decides when the next request is sent, and what
the end of a request says about the archive; a refused entry is requested again; the journal and the commands are told
of ended entries. A failed entry does not stop the others. If the archive goes away, the entries wait; if it cannot be
reached at all, or cannot reach us, no more are started, and the remaining ones are returned. Entries that request
the same objects are requested once, those that may overlap one after the other (``overlap``).
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import replace as changed
from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu.cohort.admission import PATIENCE, Admission, Fate, RequestEnd, Stop
from movescu.cohort.archive_log import ArchiveLog, tell_unclaimed
from movescu.cohort.controls import Controls
from movescu.cohort.entries import STOPPED, entry_event, given_back, reasons_of
from movescu.cohort.entry_ends import EntryEnds
from movescu.cohort.entry_verdict import COMPLETE
from movescu.cohort.gathered_objects import Gathered
from movescu.cohort.held_ends import HeldEnd, HeldEnds, end_without_worker
from movescu.cohort.job import DeliveredReport, EchoReport, Job, JobVerdict
from movescu.cohort.late_corrections import LateCorrections
from movescu.cohort.order import Order, in_order
from movescu.cohort.overlap import chains, distinct
from movescu.cohort.row_result import RowResult
from movescu.cohort.shared_entries import SharedEntries
from movescu.cohort.shared_flush import MOST
from movescu.cohort.task import RunningTask, Split, Task
from movescu.cohort.worker_threads import WorkerThreads
from movescu.events import EntryState
from movescu.retrieve.causes import INTERRUPTED, NOT_STARTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from movescu.cohort.entry_verdict import EntryVerdict
    from movescu.cohort.hooks import Hooks
    from movescu.cohort.job import LostJob, Report
    from movescu.cohort.journal import Journal
    from movescu.cohort.window import Window
    from movescu.cohort.workers import Workers
    from movescu.query.request_list import Row
    from movescu.retrieve.client import ArchiveClient

_log: Final = logger_of("movescu.retrieve")

_TIMES: Final = 3
"""Highest number of times that an entry is refused with no other request under way; after that, it has failed."""
_LOSSES: Final = 5
"""Highest number of associations that an entry may lose, lest one that crashes the archive be requested for ever."""
_SLICE: Final = 0.5
"""Seconds. Longest wait for a report: signal handlers run between two, and windows open."""


class Runner:
    """Retrieves the entries of a list.

    ``workers``: carry out the jobs. Default: threads, over ``client``. ``jobs``: entries at a time. Default: 1.
    ``slots``: requests that the archive serves at once. Default: None, that is learned. ``patience``: seconds that the
    archive may be away once it was there. Default: 12 h. ``until``: deadline, on the monotonic clock. Default: None, no
    limit. ``journal``: records the result of each entry. ``resume``: skip entries that the journal has as complete and
    whose objects are still whole. Default: False. ``order``: of the requests. Default: that of the list. ``split``:
    studies with more missing objects than this are requested series by series. Default: 0, never. ``window``: time of
    day to start entries in. Default: any. ``on_row``: called with each result. ``hooks``: commands to run for complete
    entries. Default: none. ``controls``: orders meanwhile. Default: none.
    """

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        client: ArchiveClient,
        *,
        workers: Workers | None = None,
        jobs: int = 1,
        slots: int | None = None,
        patience: float = PATIENCE,
        until: float | None = None,
        journal: Journal | None = None,
        resume: bool = False,
        order: Order = Order.LIST,
        split: int = 0,
        window: Window | None = None,
        hooks: Hooks | None = None,
        controls: Controls | None = None,
        on_row: Callable[[RowResult], None] = lambda _: None,
    ) -> None:
        self._client, self._config = client, client.config
        self._workers: Workers = WorkerThreads(client, jobs) if workers is None else workers
        self._jobs, self._slots, self._patience = jobs, slots, patience
        self._journal, self._resume = journal, resume
        self._order, self._split, self._until = order, split, until
        self._window, self._hooks, self._on_row = window, hooks, on_row
        self._waiting: deque[Task] = deque()
        self._suspects: deque[Task] = deque()
        """Tasks that lost two workers: requested last, each alone, so that only those fail that end workers."""
        self.admission = Admission(jobs)
        """Decides when the archive is sent the next request."""
        self._archive = ArchiveLog(self.admission, patience)
        self._shared = SharedEntries(journal, self._key, self._tell_verdict, hooks)
        self._running: dict[int, RunningTask] = {}
        """The jobs that workers have, by number."""
        self._held = HeldEnds()
        self._asking = False  # whether a C-ECHO decides about what is held
        self._controls = controls or Controls()
        self._ends = EntryEnds(client.observers(()), keeps=self._controls.keeps)
        self._started: set[int] = set()
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
        self._ends.expect(rows := tuple(rows))
        try:
            return self._run(rows)
        finally:
            self._close()

    def _run(self, rows: tuple[Row, ...]) -> list[Row]:
        done = {row.number: row for row in rows if self._is_done(row)}
        self.admission = Admission(
            self._jobs,
            slots=self._slots,
            patience=self._patience,
            answered=bool(done),
            jitter=lambda: random.uniform(0.8, 1.2),  # noqa: S311 - no secret
        )
        self._archive = ArchiveLog(self.admission, self._patience)
        for row in done.values():
            self._ends.tell(entry_event(row, EntryState.COMPLETE_BEFORE))
        wanted, self._ends.repeated = distinct(row for row in rows if row.number not in done)
        if self._journal is not None:
            self._journal.enter(((self._key(row), row) for row in wanted), str(self._config.archive))
        self.moving = True
        try:
            made = chains(wanted)
            ordered = in_order(made, self._order, self._client, stopped=lambda: self.cancelled)
            self._waiting = deque(map(Task, ordered))
            self._drive()
        finally:
            self.moving = False
        found = self._workers.close()
        corrections = LateCorrections(self._journal, self._ends, self._key, self._tell_row, self._client.target)
        corrections.apply(found, rows, (*done.values(), *self._shared.taken))
        tell_unclaimed(found.unclaimed)
        waiting = list({row.number: row for task in self._waiting for row in task.chain}.values())
        waiting += [repeated for row in waiting for repeated in self._ends.repeated.get(row.number, ())]
        return sorted(waiting, key=lambda row: row.number)

    # -- after the last entry ------------------------------------------------------------------------------------------

    def _close(self) -> None:
        """Notify the observers of the end of all entries that have none: not started, or interrupted by an error."""
        for held in self._held.all():
            self._ends.tell_end(held.event)
        stored: dict[int, tuple[int, int]] = {}
        if self._running:
            self._workers.close(at_once=True)
            for job in self._workers.lost():
                row, split = (task := self._running[job.number].task).row, task.split
                earlier = (0, 0) if split is None else (split.last.earlier.stored, split.last.earlier.size)
                before = stored.get(row.number, earlier)
                stored[row.number] = before[0] + job.stored, before[1] + job.size
        ends = {task.row.number: task.end for task in self._waiting}
        cause = STOPPED[self.stop] if self.stop else INTERRUPTED if self.cancelled else NOT_STARTED
        for row in self._ends.open:
            if row.number in stored:
                objects, size = stored[row.number]
                state = EntryState.PARTIAL if objects else EntryState.FAILED
                self._ends.tell_end(entry_event(row, state, INTERRUPTED, attempts=1, stored=objects, size=size))
            elif (end := ends.get(row.number)) is not None:
                self._ends.tell_end(given_back(row, end, cause) if self.stop is Stop.NO_SPACE else end)
            else:
                self._ends.tell(entry_event(row, EntryState.NOT_STARTED, cause))

    def _is_done(self, row: Row) -> bool:
        """Return True if the journal has an entry as complete and all of its objects are still whole."""
        if self._journal is None or not self._resume or self._config.retry.verify:  # studies grow
            return False
        entry = self._journal.complete_entry(self._key(row))
        kept = entry is not None and self._client.target is not None and entry.is_kept(self._client.target)
        settled = self._hooks is None or self._hooks.is_settled(row, gone=entry is not None and not kept)
        return kept and settled

    def objects_before(self, row: Row) -> int:
        """Return the number of objects that the journal has of a complete entry."""
        return 0 if self._journal is None else len(self._journal.objects_of(self._key(row)) or ())

    def paths_of_others(self) -> Iterable[str]:
        """Return the paths of files that other runs stored for entries of this one, below the output directory."""
        return self._shared.paths()

    def cancel(self) -> None:
        """Start no further entry and cancel the running ones. Safe from any thread and from a signal handler."""
        self.cancelled = True
        self._workers.cancel()

    @property
    def own_address(self) -> tuple[str, int]:
        """Our address and port, as the client knows them."""
        return self._client.own_address

    @property
    def stop(self) -> Stop | None:
        """Why no more entries were started, None if the runner did not stop by itself."""
        return self.admission.stop

    @property
    def absence(self) -> tuple[float, float] | None:
        """Seconds until an absent archive is probed next, and until it is given up; None if it is there."""
        return self.admission.absence(clock.now())

    # -- the jobs ------------------------------------------------------------------------------------------------------

    def _drive(self) -> None:
        """Start jobs and follow the reports on them, until nothing is left to start and none runs."""
        while True:
            self._waiting.extend(self._controls.tasks(self._ends))
            seconds = self._start()
            if seconds is None and not self._running:
                if self._suspects:
                    self._waiting.append(self._suspects.popleft())
                    continue
                if not self._settle():
                    return
                seconds = _SLICE
            if self._running and not self.admission.under_way:
                self._workers.settle()
            report = self._workers.next(min(_SLICE if seconds is None else seconds, _SLICE))
            if report is not None:
                self._follow(report)
            for lost in self._workers.lost():
                self._lose(self._running.pop(lost.number), lost)

    def _follow(self, report: Report) -> None:
        """Go on after a report of a worker."""
        if isinstance(report, JobVerdict):
            self._end(self._running.pop(report.job), report)
        elif isinstance(report, EchoReport):
            self._echoed(answered=report.answered)
        elif isinstance(report, DeliveredReport):
            self.admission.delivered(report.job)
            if (task := self._running[report.job].task).part is None:
                self._ends.tell_delivered(task.row.number)
        else:
            self._running[report.job].gathered.take(report)

    def _start(self) -> float | None:
        """Start what may be started now; return how long to wait at most, None if no more is to be started."""
        while self._waiting or self._running:
            now = clock.now()
            if self.cancelled or (self._until is not None and now >= self._until):
                return None
            self.opens_in = 0.0 if self._window is None else self._window.wait(clock.wall())
            held = self._controls.paused or self.opens_in > 0
            advice = self.admission.advice(now, held=held)
            if advice.stop is not None:
                return None
            if held or not self._waiting:
                return _SLICE
            if advice.echo:
                self.admission.echo_started()
                self._workers.echo()
            elif advice.send and self._has_room:
                if (task := self._shared.take(self._waiting)) is not None:
                    self._start_one(task, now)
                elif self._waiting:
                    return _SLICE
            else:
                return max(advice.seconds, 0.05)
        return None

    @property
    def _has_room(self) -> bool:
        """Whether another job may be started; see ``Workers.start``."""
        most = self._workers.capacity
        return self.admission.under_way < most and len(self._running) < most + MOST

    def _start_one(self, task: Task, now: float) -> None:
        row, number = task.row, self.admission.started()
        left = None if self._until is None else self._until - now
        self._running[number] = RunningTask(number, task, Gathered())
        split = self._split if task.split is None else 0
        if task.split is None:
            self._ends.tell(entry_event(row, EntryState.RUNNING))
        self._workers.start(Job(number, row.number, task.identifier, left, task.earlier.earlier, split, row.model))

    def _settle(self) -> bool:
        """With nothing left to request, have the archive show that it is there, if ends are held; else return False."""
        late = self._until is not None and clock.now() >= self._until
        over = self.cancelled or late or self.admission.stop is not None
        if over or not self._held:
            self._conclude_all(self._held.all())
            self._review()
            return bool(self._waiting) and not over
        if not self._asking:
            self._asking = True
            self._workers.echo()
        return True

    def _echoed(self, *, answered: bool) -> None:
        if not self._asking:
            self.admission.echo_ended(clock.now(), answered=answered)
            self._archive.note()
            return
        self._asking = False
        if answered:
            self._conclude_all(self._held.all())
        else:
            self.admission.gone(clock.now())
            self._archive.note()
            self._reconsider()

    def _reconsider(self) -> None:
        """Request again what failed just before the archive went away."""
        for end in self._held.all():
            earlier = end.task.earlier
            earlier.reconsidered = True
            earlier.keep(end.verdict, end.result, end.event)
            self._workers.keep(end.gathered.here)
            self._put_back(end.task, first=False)

    def _lose(self, running: RunningTask, lost: LostJob) -> None:
        """Start a job again whose worker is gone, or cannot receive it."""
        self.admission.withdrawn(running.job)
        task = running.task
        task.earlier.workers += lost.counts
        if task.earlier.workers >= _TIMES:  # it may be what ends them
            self._done(end_without_worker(running))
            return
        _log.warning("entry %d: %s; the entry is requested again", task.row.number, lost.why)
        self._put_back(task, first=False)
        if lost.counts and task.earlier.workers == _TIMES - 1:
            self._suspects.append(self._waiting.pop())

    def _put_back(self, task: Task, *, first: bool) -> None:
        """Queue a task again, before the others or after them."""
        if task.split is None:
            self._ends.tell(entry_event(task.row, EntryState.POSTPONED))
        (self._waiting.appendleft if first else self._waiting.append)(task)

    def _end(self, running: RunningTask, verdict: JobVerdict) -> None:
        """Judge the entry of a job that ended, and start it again or record its end."""
        task, gathered = running.task, running.gathered
        earlier = task.earlier
        if verdict.result is not None:
            self.admission.accepted()
        end_of_request = RequestEnd.FAILED if self.cancelled else verdict.end
        refusals = self.admission.refusals
        fate = self.admission.ended(verdict.job, end_of_request, clock.now())
        self._archive.note(task.row.number)
        refused = self.admission.refusals > refusals
        if refused and fate is Fate.AGAIN:
            self._workers.give_way()
        lost = end_of_request in (RequestEnd.AWAY, RequestEnd.SILENT) and not refused
        earlier.losses += lost
        result, cause = earlier.continued(gathered.completed(verdict.result), verdict.cause)
        if task.split is not None and task.part is None:
            result, cause = task.split.judged(result, cause, gathered)
        end = HeldEnd(task, gathered, verdict, result, cause)
        counted = fate is Fate.AGAIN_COUNTED
        if fate is not Fate.DONE and earlier.losses <= _LOSSES and (earlier.refusals < _TIMES or not counted):
            earlier.refusals += counted
            earlier.keep(verdict, result, end.event)
            self._workers.keep(gathered.here)
            # One that lost its association is requested after the others: it may be at fault.
            self._put_back(task, first=not lost)
        else:
            self._done(end)
        if lost:
            self._held.touch(max(self._running, default=verdict.job))
            self._reconsider()
        elif result is not None and result.complete:
            self._conclude_all(self._held.before(verdict.job))

    def _done(self, end: HeldEnd) -> None:
        """Go on after a task that is not requested again by itself."""
        task, verdict = end.task, end.verdict
        if verdict.split and not self.cancelled:
            task.earlier.keep(verdict, end.result, end.event)
            self._waiting.extendleft(reversed(Split(task, end.gathered.parts).parts))
        elif task.part is not None and task.split is not None:
            self._workers.keep(end.gathered.here)
            if (last := task.split.part_ended(task, verdict)) is not None:
                self._waiting.appendleft(last)
        elif end.is_doubtful and not self.cancelled:
            self._conclude_all(self._held.hold(end))
            if self._held.is_touched(end):
                self._reconsider()
        else:
            self._conclude(end)

    def _conclude_all(self, ends: Iterable[HeldEnd]) -> None:
        for end in ends:
            self._conclude(end)

    def _conclude(self, end: HeldEnd) -> None:
        """Record the end of an entry."""
        task, event = end.task, end.event
        for hint in (hint for hint in end.verdict.hints if hint != event.advice):
            _log.warning("entry %d: %s", task.row.number, hint)
        self._ends.tell_end(event)
        self._note(task.row, end)
        if len(task.chain) > 1:
            self._workers.keep(end.gathered.here)
            self._waiting.appendleft(Task(task.chain[1:]))

    def _tell_verdict(self, row: Row, verdict: EntryVerdict) -> None:
        """Take over the end of an entry that another run of the cohort requested."""
        self._ends.tell_end(verdict.event(row))
        self._tell_row(RowResult(row, verdict.outcome, verdict=verdict))

    def _review(self) -> None:
        """Correct the ends that were taken over from other runs and do not stand any more."""
        for row, verdict in self._shared.corrected():
            if self._ends.reopen(row.number) is None:
                continue
            _log.warning("entry %d: the run that completed it has withdrawn its result", row.number)
            if verdict is None:
                self._put_back(Task([row]), first=False)
            else:
                self._tell_verdict(row, verdict)

    def _tell_row(self, told: RowResult) -> None:
        self._on_row(told)
        for repeated in self._ends.repeated.get(told.row.number, ()):
            self._on_row(changed(told, row=repeated, same_as=told.row.number))

    def _note(self, row: Row, end: HeldEnd) -> None:
        """Record the result of an entry."""
        result, here = end.result, end.gathered.here
        outcome = "failed" if result is None else result.outcome
        if self._journal is not None:
            self._journal.note(self._key(row), end.event, reasons_of(result), here)
        self._tell_row(RowResult(row, outcome, result, end.verdict.error if result is None else ""))
        if self._hooks is not None and result is not None and outcome == COMPLETE and not self.cancelled:
            self._hooks.enter(end.gathered.requests(), row)  # may wait for other commands
