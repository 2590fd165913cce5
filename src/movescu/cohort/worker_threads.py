"""The workers of a cohort as threads of this process: each retrieves one job at a time, all over one client."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from movescu._runtime import clock
from movescu._runtime.record import replace
from movescu.cohort.job import DeliveredReport, EchoReport, JobVerdict, LateReport, LostJob
from movescu.cohort.job_run import JobRun
from movescu.cohort.shared_flush import SharedFlush
from movescu.errors import PeerError
from movescu.storage.durability import Durability

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from queue import SimpleQueue

    from movescu.cohort.job import Job, Report
    from movescu.retrieve.client import ArchiveClient
    from movescu.storage.target import Target


class WorkerThreads:
    """Threads that carry out jobs; ``number``: highest number of jobs at once. See ``workers.Workers``.

    ``target``: of the objects. Default: the client's. ``closing``: close the port at the end. Default: True.
    """

    def __init__(
        self, client: ArchiveClient, number: int, *, target: Target | None = None, closing: bool = True
    ) -> None:
        self._client, self._closing = client, closing
        self._own_target = target
        # With an inventory, each object is attributed to its entry.
        self._config = replace(client.config, retry=replace(client.config.retry, resume=True))
        self._number = number
        self._jobs: SimpleQueue[Job | None] = clock.queue()
        self._reports: SimpleQueue[Report | BaseException | None] = clock.queue()
        self._threads: list[clock.Thread] = []
        self._echoing: clock.Thread | None = None
        self._started: dict[int, Job] = {}
        self._running: dict[int, JobRun] = {}
        self._cancelled = self._closed = False
        self._flush = SharedFlush(self._flush_target, self._reports.put)

    @property
    def capacity(self) -> int:
        """Number of jobs at once."""
        return self._number

    def start(self, job: Job) -> None:
        """Start a job, in a new thread if all others may be busy."""
        self._started[job.number] = job
        self._jobs.put(job)
        if len(self._threads) < min(self._number, len(self._started)):
            name = f"movescu-job-{len(self._threads)}"
            self._threads.append(self._thread(self._work, name))

    def settle(self) -> None:
        """Flush for the delivered jobs at once."""
        self._flush.hurry()

    def echo(self) -> None:
        """Send a C-ECHO in a thread of its own."""
        self._echoing = self._thread(self._echo, "movescu-echo")

    @staticmethod
    def _thread(target: Callable[[], None], name: str) -> clock.Thread:
        thread = clock.Thread(target=target, name=name, daemon=True)
        thread.start()
        return thread

    def next(self, seconds: float) -> Report | None:
        """Wait for the next report. Raise the exception that ended a thread."""
        from queue import Empty  # of the queue

        try:
            report = self._reports.get(timeout=seconds)
        except Empty:
            return None
        if isinstance(report, BaseException):
            raise report
        if isinstance(report, JobVerdict):
            self._started.pop(report.job, None)
        return report

    def lost(self) -> tuple[LostJob, ...]:
        """Return the jobs without a verdict, once closed: before that, the exception of a thread ends the cohort."""
        if not self._closed:
            return ()
        jobs, self._started = tuple(self._started.values()), {}
        tallies = ((job, self._client.server.tally_of(job.entry)) for job in jobs)
        return tuple(LostJob(job.number, tally.stored, tally.size) for job, tally in tallies)

    def cancel(self) -> None:
        """Cancel every job. Safe from any thread and from a signal handler."""
        self._cancelled = True
        for run in tuple(self._running.values()):
            run.cancel()
        self._reports.put(None)  # wakes the driver

    def give_way(self) -> None:
        """Release the idle associations."""
        with contextlib.suppress(PeerError):
            self._client.release()

    def keep(self, sop_instance_uids: Iterable[str]) -> None:
        """Regard stored objects as whole."""
        if (target := self._target) is not None:
            target.keep(sop_instance_uids)

    def close(self, *, at_once: bool = False) -> LateReport:
        """End the threads, close the port, and return what is known only then; ``at_once``: end the threads alone."""
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)
        self._flush.close()
        server, target = self._client.server, self._target
        if at_once:
            return LateReport()
        if self._closing:
            server.close()  # what arrives later would be stored unseen
        if target is None:
            return LateReport()
        return LateReport(
            tuple(target.late().items()),
            frozenset(target.superseded),
            tuple(uid for uid in sorted(server.unclaimed) if self._closing and not target.relied_on(uid)),
        )

    @property
    def _target(self) -> Target | None:
        return self._own_target or self._client.target

    def _flush_target(self) -> None:
        if (target := self._target) is not None:
            target.flush()

    # -- the threads ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._run(job)
            except BaseException as error:  # noqa: BLE001 - raised by next(), in the driver's thread
                self._running.pop(job.number, None)
                self._reports.put(error)
                return

    def _run(self, job: Job) -> None:
        run = JobRun(self._client, self._config, job, self._tell, self._own_target)
        self._running[job.number] = run
        if self._cancelled:
            run.cancel()
        run.request()
        if self._shares and run.is_delivered:
            self._flush.add(run, lambda: self._reports.put(DeliveredReport(job.number)))
        else:
            run.conclude(flushed=False)

    @property
    def _shares(self) -> bool:
        """Whether jobs share flushes: with files that are flushed at the end of a retrieve."""
        target = self._target
        return target is not None and target.storage.to_files and target.storage.durability is Durability.END

    def _tell(self, report: Report) -> None:
        if isinstance(report, JobVerdict):
            self._running.pop(report.job, None)
        self._reports.put(report)

    def _echo(self) -> None:
        answered = False
        try:
            self.give_way()  # an archive that serves one association at a time would not answer
            with contextlib.suppress(PeerError):
                self._client.echo()
                answered = True
        finally:
            self._reports.put(EchoReport(answered))
