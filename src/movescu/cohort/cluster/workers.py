"""Workers in other processes as the driver sees them: the second implementation of ``workers.Workers``.

Each worker has one receiver, under its own title and port, for many jobs at once; its name is its title. A job goes to
the worker with the fewest jobs, or to the one that had the entry before, which knows the entry's objects. The jobs of a
worker that is lost (``membership``) are lost, too. What a worker cannot receive, because its disk is full, or the
archive does not know or does not reach it, is requested by the others; only the verdicts of the last one count.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import uuid
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu._runtime.record import replace
from movescu._runtime.version import VERSION
from movescu.cohort.admission import RequestEnd
from movescu.cohort.cluster import station
from movescu.cohort.cluster.member import SentJob
from movescu.cohort.cluster.membership import Membership
from movescu.cohort.cluster.own_directory import folder_of
from movescu.cohort.cluster.watching import Watching
from movescu.cohort.job import EchoReport, JobVerdict, LateReport, LostJob
from movescu.cohort.job_json import from_json, to_json
from movescu.errors import ClusterError, PeerError
from movescu.retrieve.causes import NO_SPACE
from movescu.retrieve.config import RetrieveBy
from movescu.storage.ledger import StoredFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from queue import SimpleQueue

    from movescu.cohort.cluster.member import JobProgress, Member
    from movescu.cohort.cluster.messenger import Messenger
    from movescu.cohort.job import Job, Report
    from movescu.retrieve.client import ArchiveClient
    from movescu.retrieve.config import AE, Config
    from movescu.storage.options import StorageOptions
    from movescu.storage.target import OnWhole

_log: Final = logger_of("movescu.cohort")

MOST_JOBS: Final = 32
"""Highest number of jobs of one worker at once."""
TITLE_REST: Final = 30.0
"""Seconds for which the title of a lost worker is not used again."""
_CLOSING: Final = 60.0
"""Seconds. Longest wait for the last reports of the workers."""
_REMEMBERED: Final = 10_000
"""Entries whose last worker is remembered."""
_AT_ONCE: Final = {
    RequestEnd.NO_SPACE: (
        "there is no space on the disk of",
        "its disk is full, or a quota is used up",
        "free space on {ae.host}, and start it again",
    ),
    RequestEnd.NOT_FLUSHED: (
        "objects cannot be flushed to the disk of",
        "objects cannot be flushed to its disk",
        "check the disk of {ae.host}, and start it again",
    ),
    RequestEnd.UNKNOWN: (
        "the archive does not know",
        "the archive does not know its title",
        "add {ae.title} with {ae.host} port {ae.port} to the archive's configuration",
    ),
}
"""Ends of a request that say that a worker cannot receive: why the entry is requested again, words, advice."""
_IN_VAIN: Final = {
    RequestEnd.UNREACHED: (
        "the archive cannot connect to it",
        "check that the archive has {ae.title} at {ae.host} port {ae.port}, and the firewalls on the way there",
    ),
    RequestEnd.AWAY: (
        "it cannot connect to the archive",
        "check the route and the firewalls from {ae.host} to the archive",
    ),
    RequestEnd.HOPELESS: (
        "the archive rejects its associations",
        "check that the archive accepts our AE title from {ae.host}",
    ),
}
"""Ends that say so if two entries end like this at a worker that never received, while others receive."""
_OTHERS: Final = 2
"""Workers that may request an entry in vain before such a verdict counts."""


class ClusterWorkers:
    """Workers of an engine. ``client``: of the driver, without a port. ``pool``: titles and ports of the workers.

    ``config``, ``storage``, ``indexed``: of the cohort. ``number``: highest number of jobs at once. ``on_whole``:
    called with each whole object (see ``Target``), in the driver's thread. Default: None. ``rest``: seconds
    that a lost worker's title rests. Default: ``TITLE_REST``. ``own``: each worker stores into a directory of its own.
    Default: False, all into that of the run.
    """

    def __init__(  # noqa: PLR0913 - of the cohort
        self,
        engine: Messenger,
        client: ArchiveClient,
        pool: Sequence[AE],
        *,
        config: Config,
        storage: StorageOptions,
        number: int,
        indexed: bool = False,
        on_whole: OnWhole | None = None,
        rest: float = TITLE_REST,
        own: bool = False,
    ) -> None:
        self._engine, self._client = engine, client
        self._config, self._indexed = config, indexed
        self._storage = replace(storage, directory=os.path.abspath(storage.directory))
        self._number, self._own = number, own
        self._on_whole = on_whole
        self._cohort = uuid.uuid4().hex
        self._calls: SimpleQueue[Callable[[], None] | None] = clock.queue()
        """What calls of workers came to, for the driver's thread."""
        self._reports: deque[Report] = deque()
        self._lost: list[LostJob] = []
        self.members = Membership(engine, pool, rest, self._open, self._lose_jobs)
        """The workers that there are."""
        self._last: OrderedDict[int, str] = OrderedDict()
        """Address of the worker that had an entry last."""
        self._homes: dict[int, str] = {}
        """Folder of the worker that has files of an entry by an earlier run."""
        self._files: dict[str, StoredFile] = {}
        self._good = 0
        """Jobs that ended well."""
        self._watching = Watching(
            lambda member, name, look, then: self._call(member, name, look, (self._cohort,), then)
        )
        self._cancelled = self._cancels_sent = self._closed = False
        with contextlib.suppress(PeerError):
            client.open()

    # -- the protocol --------------------------------------------------------------------------------------------------

    @property
    def capacity(self) -> int:
        """Number of jobs at once."""
        return min(self._number, len(self.members.usable) * MOST_JOBS)

    def start(self, job: Job) -> None:
        """Send a job to a worker."""
        free = [one for one in self.members.usable if len(one.jobs) < MOST_JOBS]
        ready = {one.address: one for one in free if job.entry not in one.in_vain} or {one.address: one for one in free}
        if not ready:  # the last one was lost since ``capacity`` was asked
            self._lost.append(LostJob(job.number, counts=False))
            return
        member = min(ready.values(), key=lambda one: len(one.jobs))
        before = ready.get(self._last.pop(job.entry, ""))
        if before is not None and len(before.jobs) <= len(member.jobs) + 1:
            member = before
        self._send(self._at_home(job.entry) or member, job)

    def _send(self, member: Member, job: Job) -> None:
        """Send a job to a worker, once its receiver is open."""
        if not member.ready:
            member.jobs[job.number] = SentJob(job.entry, "")
            member.waiting.append(job)
            return
        self._last[job.entry] = member.address
        if len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)
        arguments = self._cohort, to_json(job)
        key = self._call(
            member,
            "job",
            station.run_job,
            arguments,
            lambda output, error: self._done(member, job.number, output, error),
        )
        member.jobs[job.number] = SentJob(job.entry, key)

    def _at_home(self, entry: int) -> Member | None:
        """Return the worker whose directory has files of an entry by an earlier run, if there is one."""
        folder = self._homes.pop(entry, None)
        if folder is None:
            return None
        free = (one for one in self.members.all if not one.unused and len(one.jobs) < MOST_JOBS)
        return next((one for one in free if folder_of(one.ae.title) == folder), None)

    def expect_at(self, homes: Mapping[int, str]) -> None:
        """Prefer workers for entries; ``homes``: names of the folders that have their files, by entry."""
        self._homes.update(homes)

    def echo(self) -> None:
        """Send a C-ECHO from this process."""

        def echo() -> None:
            answered = False
            with contextlib.suppress(PeerError):
                self._client.echo()
                answered = True
            self._calls.put(lambda: self._reports.append(EchoReport(answered)))

        self.give_way()
        clock.Thread(target=echo, name="movescu-echo", daemon=True).start()

    def next(self, seconds: float) -> Report | None:
        """Wait for the next report. Raise ``ClusterError`` if the scheduler is gone, or all workers are."""
        self.members.follow()
        self._watching.look(clock.now(), self.members.ready)
        if self._cancelled and not self._cancels_sent:
            self._cancels_sent = True
            for member in self.members.ready:
                self._order(member, "cancel", station.cancel_jobs)
        if not (self._reports or self._lost):
            self._take(seconds)
        return self._reports.popleft() if self._reports else None

    def lost(self) -> tuple[LostJob, ...]:
        """Return the jobs of lost workers."""
        lost, self._lost = tuple(self._lost), []
        if self._closed:
            lost += tuple(LostJob(number) for member in self.members.all for number in member.jobs)
            for member in self.members.all:
                member.jobs.clear()
        return lost

    def cancel(self) -> None:
        """Cancel every job. Safe from any thread and from a signal handler."""
        self._cancelled = True
        self._calls.put(None)  # wakes the driver, which tells the workers

    def settle(self) -> None:
        """Do nothing: each job flushes its objects before its verdict."""

    def give_way(self) -> None:
        """Release the idle associations, the workers' too."""
        with contextlib.suppress(PeerError):
            self._client.release()
        for member in self.members.ready:
            self._order(member, "release", station.release)

    def keep(self, sop_instance_uids: Iterable[str]) -> None:
        """Do nothing: each worker keeps what it stored."""

    def close(self, *, at_once: bool = False) -> LateReport:
        """Close the receivers, and return what is known only then; ``at_once``: cancel the jobs and await nothing."""
        if self._closed:
            return LateReport()
        self._closed = True
        found: list[LateReport] = []
        open_ones = {member.address for member in self.members.ready}

        def closed(address: str, text: object) -> None:
            open_ones.discard(address)
            if isinstance(text, str):
                found.append(from_json(text))

        with contextlib.suppress(ClusterError):
            for member in self.members.ready:
                if at_once:
                    self._order(member, "cancel", station.cancel_jobs)
                then = _told(closed, member.address)
                self._call(member, "close", station.close_station, (self._cohort,), then)
            until = clock.now() + _CLOSING
            while open_ones and not at_once and clock.now() < until:
                self._take(0.1)
                self.members.heed_scheduler()
                open_ones &= self._engine.workers.keys()
        late: dict[int, dict[str, str]] = {}
        for number, reasons in itertools.chain.from_iterable(one.late for one in found):
            late.setdefault(number, {}).update(reasons)
        return LateReport(
            tuple(late.items()),
            frozenset().union(*(one.superseded for one in found)),
            tuple(sorted({uid for one in found for uid in one.unclaimed})),
            compared=self._own,  # files of several workers do not replace each other
        )

    # -- for journal and page ------------------------------------------------------------------------------------------

    def files_of(self, sop_instance_uids: Iterable[str]) -> list[StoredFile]:
        """Return the files of whole objects, once: they are not kept for longer."""
        return [file for uid in sop_instance_uids if (file := self._files.pop(uid, None)) is not None]

    @property
    def titles(self) -> tuple[str, ...]:
        """The titles of the workers that receive objects."""
        return tuple(member.ae.title for member in self.members.ready)

    def watch(self, on_progress: Callable[[JobProgress], None]) -> None:
        """Ask the workers what they do, every second, and pass it on in the driver's thread."""
        self._watching.on_progress = on_progress

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _call(
        self,
        member: Member,
        name: str,
        function: Callable[..., object],
        arguments: tuple[object, ...],
        then: Callable[[object, str], None],
    ) -> str:
        """Call a function in a worker; ``then`` is called with result and error in the driver's thread."""
        calls = self._calls
        return self._engine.call(
            member.address,
            name,
            function,
            arguments,
            lambda result, error: calls.put(lambda: then(result, error)),
        )

    def _order(self, member: Member, name: str, function: Callable[[str], None]) -> None:
        self._call(member, name, function, (self._cohort,), lambda *_: None)

    def _take(self, seconds: float) -> None:
        """Wait for the results of calls, and deal with them."""
        from queue import Empty  # of the queue

        with contextlib.suppress(Empty):
            while (call := self._calls.get(timeout=seconds)) is not None:
                call()
                seconds = 0.0

    def _open(self, member: Member) -> None:
        """Tell a worker to open its receiver."""
        assert self._config.receive is not None  # the command requires it
        receive = self._config.receive
        if self._config.retrieve_by is not RetrieveBy.GET:
            receive = replace(receive, port=member.ae.port)
        config = replace(self._config, receive=receive, destination=member.ae.title)
        setup = station.Setup(self._cohort, config, self._storage, self._indexed, self._own)

        def opened(result: object, error: str) -> None:
            if not self.members.has(member):
                return
            if error := error or str(result):
                self._lost += (LostJob(job.number, counts=False) for job in member.waiting)
                self.members.refuse(member, error)
                return
            self.members.opened(member)
            waiting, member.waiting = member.waiting, []
            for job in waiting:
                self._send(member, job)
            if self._cancelled:
                self._order(member, "cancel", station.cancel_jobs)

        self._call(member, "open", station.open_station, (VERSION, station.pickled(setup)), opened)

    def _lose_jobs(self, member: Member) -> None:
        for number, job in member.jobs.items():
            self._engine.forget(job.key)
            self._lost.append(LostJob(number))
        member.jobs.clear()

    # -- verdicts ------------------------------------------------------------------------------------------------------

    def _done(self, member: Member, number: int, output: object, error: str) -> None:
        """Take the reports of a job."""
        if self._engine.gone or (job := member.jobs.pop(number, None)) is None:
            return  # it is lost, or was before
        if not isinstance(output, station.JobOutput) or (output.error and not output.full):
            error = error or (output.error if isinstance(output, station.JobOutput) else "it was restarted")
            _log.error("worker %s failed: %s", member.ae.title, error)
            self._lost.append(LostJob(number))
            self.members.lose(member)
            return
        reports: list[Report] = [from_json(text) for text in output.reports]
        if output.full:  # its manifest could not be written
            reports = [JobVerdict(number, RequestEnd.NO_SPACE, None, NO_SPACE, output.error)]
        end = next(one.end for one in reports if isinstance(one, JobVerdict))
        if self.members.has_others(member) and (why := self._is_unfit(member, job.entry, end)):
            self._last.pop(job.entry, None)
            self._lost.append(LostJob(number, why=why, counts=False))
            return
        if end is RequestEnd.GOOD:
            member.reached = True
            self._good += 1
            member.in_vain.clear()
        for uid, below, size, stored in output.files:
            path = os.path.join(folder_of(member.ae.title), below) if self._own else below
            self._files[uid] = StoredFile(uid, path, size)
            if self._on_whole is not None:
                self._on_whole(uid, path, stored=stored)
        self._reports.extend(reports)

    def _is_unfit(self, member: Member, entry: int, end: RequestEnd) -> str:
        """Return why another worker has to request an entry, empty if the verdict on it counts."""
        title = member.ae.title
        if end in _AT_ONCE:
            why, words, advice = _AT_ONCE[end]
            self.members.retire(member, words, advice.format(ae=member.ae))
            return f"{why} {title}"
        if end not in _IN_VAIN or member.reached or entry in member.in_vain:
            return ""
        if sum(entry in one.in_vain for one in self.members.all) >= _OTHERS:  # it may be the archive, or the entry
            return ""
        if not member.in_vain:
            member.others_good = self._good
        member.in_vain.add(entry)
        words, advice = _IN_VAIN[end]
        # Since the first one, others must have reached the archive, lest it be away; what it says itself needs less.
        if len(member.in_vain) > 1 and self._good > (0 if end is RequestEnd.UNREACHED else member.others_good):
            self.members.retire(member, words, advice.format(ae=member.ae))
        return f"worker {title} ({member.ae.host} port {member.ae.port}): {words}"


def _told(then: Callable[[str, object], None], address: str) -> Callable[[object, str], None]:
    return lambda result, _: then(address, result)
