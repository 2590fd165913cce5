"""Workers in other processes as the driver sees them: the second implementation of ``workers.Workers``.

Each worker has one receiver, under its own title and port, for many jobs at once; its name is its title. A job goes to
the worker with the fewest jobs, or to the one that had the entry before, which knows the entry's objects. A worker is
lost once the scheduler does not have it any more: it was killed, it stopped, or its machine is away. Its jobs are lost,
and its title rests, because the archive still sends to it what the lost jobs requested. A worker whose disk is full is
sent no more jobs, and those that it could not store are lost, too; only that of the last such worker stops the run.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import uuid
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu._runtime.record import replace
from movescu._runtime.version import VERSION
from movescu.cohort.admission import RequestEnd
from movescu.cohort.cluster import station
from movescu.cohort.cluster.own_directory import folder_of
from movescu.cohort.job import EchoReport, JobVerdict, LateReport, LostJob
from movescu.cohort.job_json import from_json, to_json
from movescu.errors import ClusterError, PeerError, UsageError
from movescu.retrieve.config import RetrieveBy
from movescu.storage.ledger import StoredFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from queue import SimpleQueue

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
SILENCE: Final = 20.0
"""Seconds without an answer of the scheduler after which it counts as gone."""
PATIENCE: Final = 60.0
"""Seconds without any worker after which the run ends."""
_CLOSING: Final = 60.0
"""Seconds. Longest wait for the last reports of the workers."""
_REMEMBERED: Final = 10_000
"""Entries whose last worker is remembered."""


class _Member:
    """A worker: its title and port, and the keys of the calls for its jobs, by number.

    ``ready``: its receiver is open. ``full``: its disk is full.
    """

    def __init__(self, address: str, ae: AE) -> None:
        self.address = address
        self.ae = ae
        self.ready = False
        self.full = False
        self.jobs: dict[int, str] = {}
        self.waiting: list[Job] = []
        """Jobs to be sent once it is ready."""

    @property
    def usable(self) -> bool:
        """Whether it takes jobs."""
        return self.ready and not self.full


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
        self._pool = {ae.title: ae for ae in pool}
        self._config, self._indexed = config, indexed
        self._storage = replace(storage, directory=os.path.abspath(storage.directory))
        self._number, self._rest, self._own = number, rest, own
        self._on_whole = on_whole
        self._cohort = uuid.uuid4().hex
        self._calls: SimpleQueue[Callable[[], None] | None] = clock.queue()
        """What calls of workers came to, for the driver's thread."""
        self._reports: deque[Report] = deque()
        self._lost: list[LostJob] = []
        self._members: dict[str, _Member] = {}
        """Workers by address."""
        self._resting: dict[str, float] = {}
        """When titles of lost workers may be used again."""
        self._refused: set[str] = set()
        """Addresses of workers that cannot be used."""
        self._refusal = ""
        self._full: set[str] = set()
        """Titles of workers whose disks are full."""
        self._last: OrderedDict[int, str] = OrderedDict()
        """Address of the worker that had an entry last."""
        self._homes: dict[int, str] = {}
        """Folder of the worker that has files of an entry by an earlier run."""
        self._files: dict[str, StoredFile] = {}
        self._alone_since = clock.now()
        self._cancelled = self._cancels_sent = self._closed = False
        with contextlib.suppress(PeerError):
            client.open()

    # -- the protocol --------------------------------------------------------------------------------------------------

    @property
    def capacity(self) -> int:
        """Number of jobs at once."""
        ready = sum(member.usable for member in self._members.values())
        return min(self._number, ready * MOST_JOBS)

    def start(self, job: Job) -> None:
        """Send a job to a worker."""
        ready = {one.address: one for one in self._members.values() if one.usable and len(one.jobs) < MOST_JOBS}
        if not ready:  # the last one was lost since ``capacity`` was asked
            self._lost.append(LostJob(job.number))
            return
        member = min(ready.values(), key=lambda one: len(one.jobs))
        before = ready.get(self._last.pop(job.entry, ""))
        if before is not None and len(before.jobs) <= len(member.jobs) + 1:
            member = before
        self._send(self._at_home(job.entry) or member, job)

    def _send(self, member: _Member, job: Job) -> None:
        """Send a job to a worker, once its receiver is open."""
        if not member.ready:
            member.jobs[job.number] = ""
            member.waiting.append(job)
            return
        self._last[job.entry] = member.address
        if len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)
        arguments = self._cohort, to_json(job)
        member.jobs[job.number] = self._call(
            member,
            "job",
            station.run_job,
            arguments,
            lambda output, error: self._done(member, job.number, output, error),
        )

    def _at_home(self, entry: int) -> _Member | None:
        """Return the worker whose directory has files of an entry by an earlier run, if there is one."""
        folder = self._homes.pop(entry, None)
        usable = (one for one in self._members.values() if not one.full and len(one.jobs) < MOST_JOBS)
        if folder is None:
            return None
        return next((one for one in usable if folder_of(one.ae.title) == folder), None)

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
        self._follow()
        if not (self._reports or self._lost):
            self._take(seconds)
        return self._reports.popleft() if self._reports else None

    def lost(self) -> tuple[LostJob, ...]:
        """Return the jobs of lost workers."""
        lost, self._lost = tuple(self._lost), []
        if self._closed:
            lost += tuple(LostJob(number) for member in self._members.values() for number in member.jobs)
            for member in self._members.values():
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
        for member in self._ready():
            self._order(member, "release", station.release)

    def keep(self, sop_instance_uids: Iterable[str]) -> None:
        """Do nothing: each worker keeps what it stored."""

    def close(self, *, at_once: bool = False) -> LateReport:
        """Close the receivers, and return what is known only then; ``at_once``: cancel the jobs and await nothing."""
        if self._closed:
            return LateReport()
        self._closed = True
        found: list[LateReport] = []
        open_ones = {member.address for member in self._ready()}

        def closed(address: str, text: object) -> None:
            open_ones.discard(address)
            if isinstance(text, str):
                found.append(from_json(text))

        with contextlib.suppress(ClusterError):
            for member in self._ready():
                if at_once:
                    self._order(member, "cancel", station.cancel_jobs)
                then = _told(closed, member.address)
                self._call(member, "close", station.close_station, (self._cohort,), then)
            until = clock.now() + _CLOSING
            while open_ones and not at_once and clock.now() < until:
                self._take(0.1)
                self._heed_scheduler()
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

    # -- for the journal -----------------------------------------------------------------------------------------------

    def files_of(self, sop_instance_uids: Iterable[str]) -> list[StoredFile]:
        """Return the files of whole objects, once: they are not kept for longer."""
        return [file for uid in sop_instance_uids if (file := self._files.pop(uid, None)) is not None]

    @property
    def titles(self) -> tuple[str, ...]:
        """The titles of the workers that receive objects."""
        return tuple(member.ae.title for member in self._ready())

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _ready(self) -> list[_Member]:
        return [member for member in self._members.values() if member.ready]

    def _call(
        self,
        member: _Member,
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

    def _order(self, member: _Member, name: str, function: Callable[[str], None]) -> None:
        self._call(member, name, function, (self._cohort,), lambda *_: None)

    def _take(self, seconds: float) -> None:
        """Wait for the results of calls, and deal with them."""
        from queue import Empty  # of the queue

        with contextlib.suppress(Empty):
            while (call := self._calls.get(timeout=seconds)) is not None:
                call()
                seconds = 0.0

    def _done(self, member: _Member, number: int, output: object, error: str) -> None:
        """Take the reports of a job."""
        if self._engine.gone or member.jobs.pop(number, None) is None:
            return  # it is lost, or was before
        if isinstance(output, station.JobOutput) and output.full:
            member.full = True
            self._retire(member, number)
            return
        if isinstance(output, station.JobOutput) and not output.error:
            reports: list[Report] = [from_json(text) for text in output.reports]
            if any(isinstance(one, JobVerdict) and one.end is RequestEnd.NO_SPACE for one in reports):
                member.full = True
                if any(not one.full for one in self._members.values()):  # if none is left, the driver stops
                    self._retire(member, number)
                    return
            for uid, below, size in output.files:
                path = os.path.join(folder_of(member.ae.title), below) if self._own else below
                self._files[uid] = StoredFile(uid, path, size)
                if self._on_whole is not None:
                    self._on_whole(uid, path)
            self._reports.extend(reports)
            return
        error = error or (output.error if isinstance(output, station.JobOutput) else "it was started anew")
        _log.error("worker %s failed: %s", member.ae.title, error)
        self._lost.append(LostJob(number))
        self._lose(member)

    def _retire(self, member: _Member, number: int) -> None:
        """Give back a job whose worker has no space, and send the worker no others."""
        self._lost.append(LostJob(number, why=f"the disk of {member.ae.title} is full"))
        if member.ae.title not in self._full:
            self._full.add(member.ae.title)
            self._refusal = f"the disk of worker {member.ae.title} is full"
            _log.error("%s (or a quota is used up): it is not used any more", self._refusal)

    # -- members -------------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Follow which workers there are. Raise ``ClusterError`` if there is nobody to send jobs to."""
        now = clock.now()
        self._heed_scheduler()
        known = dict(self._engine.workers)
        for member in [one for one in self._members.values() if one.address not in known]:
            _log.warning("worker %s is lost; its title is not used again for %.0f s", member.ae.title, self._rest)
            self._lose(member)
        for address, name in known.items():
            if address not in self._members and address not in self._refused and self._resting.get(name, 0.0) <= now:
                self._admit(address, name)
        self._refused.intersection_update(known)
        if self._cancelled and not self._cancels_sent:
            self._cancels_sent = True
            for member in self._ready():
                self._order(member, "cancel", station.cancel_jobs)
        if any(member.usable for member in self._members.values()):
            self._alone_since = now
        elif now - self._alone_since > PATIENCE or (self._refusal and not self._members and not self._resting):
            raise ClusterError(
                self._refusal or f"no worker for {PATIENCE:.0f} s",
                hint="start workers (movescu-worker), and continue with --resume",
            )

    def _heed_scheduler(self) -> None:
        silent = clock.now() - self._engine.seen > SILENCE
        if silent or self._engine.gone:
            raise ClusterError(
                f"the scheduler has not answered for {SILENCE:.0f} s" if silent else "the scheduler is gone",
                hint="start it again, and continue with --resume",
            )

    def _lose(self, member: _Member) -> None:
        self._members.pop(member.address, None)
        self._resting[member.ae.title] = clock.now() + self._rest
        for number, key in member.jobs.items():
            self._engine.forget(key)
            self._lost.append(LostJob(number))
        member.jobs.clear()

    def _admit(self, address: str, name: str) -> None:
        """Tell a worker to open its receiver."""
        ae = self._pool.get(name)
        if ae is None:
            self._refuse(address, f"the worker {name!r} has no title and port in --ae-pool")
            return
        self._resting.pop(name, None)
        if name in self._full:
            self._refused.add(address)
            return
        member = self._members[address] = _Member(address, ae)
        assert self._config.receive is not None  # the command requires it
        receive = self._config.receive
        if self._config.retrieve_by is not RetrieveBy.GET:
            receive = replace(receive, port=ae.port)
        config = replace(self._config, receive=receive, destination=ae.title)
        setup = station.Setup(self._cohort, config, self._storage, self._indexed, self._own)

        def opened(result: object, error: str) -> None:
            if self._members.get(address) is not member:
                return
            error = error or str(result)
            if error:
                self._lost += (LostJob(job.number) for job in member.waiting)
                del self._members[address]
                self._refuse(address, f"the worker {name} cannot be used: {error}")
                return
            member.ready = True
            waiting, member.waiting = member.waiting, []
            for job in waiting:
                self._send(member, job)
            _log.info("worker %s receives on port %d of %s", ae.title, ae.port, ae.host)
            if self._cancelled:
                self._order(member, "cancel", station.cancel_jobs)

        self._call(member, "open", station.open_station, (VERSION, _pickled(setup)), opened)

    def _refuse(self, address: str, why: str) -> None:
        self._refused.add(address)
        self._refusal = why
        _log.error("%s", why)


def _told(then: Callable[[str, object], None], address: str) -> Callable[[object, str], None]:
    return lambda result, _: then(address, result)


def _pickled(setup: station.Setup) -> bytes:
    try:
        return pickle.dumps(setup)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise UsageError(
            f"this configuration cannot be sent to workers: {error}",
            hint="name keys and certificates as files, not as an ssl.SSLContext",
        ) from error
