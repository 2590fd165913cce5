"""The worker's side: one receiver for a cohort, which carries out the jobs that the driver sends.

All functions are called by the engine (``engine``), each call in a thread of its own (``in_thread``). They return
errors as values: the engine would log the arguments of a call that raises, and a job names patients.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu._runtime import clock
from movescu._runtime.record import Record, replace
from movescu._runtime.version import VERSION
from movescu.cohort.cluster.own_directory import OwnDirectory
from movescu.cohort.job import LateReport, ObjectsReport
from movescu.cohort.job_json import from_json, to_json
from movescu.cohort.job_run import JobRun
from movescu.errors import MovescuError, PeerError, StoreError, UsageError
from movescu.retrieve.client import ArchiveClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from movescu.cohort.job import Report
    from movescu.retrieve.config import Config
    from movescu.storage.options import StorageOptions

_REQUESTING: Final = "waiting for the archive"
_RECEIVING: Final = "receiving"
_FLUSHING: Final = "flushing to the disk"
_PATIENCE: Final = 3600.0
"""Seconds. Longest wait for the jobs of a driver that is gone, before the port is used for another one."""


class Setup(Record):
    """What a worker has to know of a cohort.

    ``config``: with the worker's own title and port. ``indexed``: use the index of the output directory. ``own``: store
    into a directory of the worker's own, below the output directory.
    """

    cohort: str
    config: Config
    storage: StorageOptions
    indexed: bool = False
    own: bool = False


def pickled(setup: Setup) -> bytes:
    """Return a setup for ``open_station``. Raise ``UsageError`` if it cannot be sent."""
    try:
        return pickle.dumps(setup)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise UsageError(
            f"this configuration cannot be sent to workers: {error}",
            hint="name keys and certificates as files, not as an ssl.SSLContext",
        ) from error


class JobOutput(NamedTuple):
    """What a job came to: reports in JSON, and the files of whole objects.

    ``files``: SOP instance UID, path and size, and False for a file that was found, and not stored by this run.
    ``error``: what ended the job without a verdict. Default: empty. ``full``: it was that the disk is full.
    """

    reports: tuple[str, ...] = ()
    files: tuple[tuple[str, str, int, bool], ...] = ()
    error: str = ""
    full: bool = False


class _Station:
    """The receiver of a cohort in this process."""

    def __init__(self, setup: Setup) -> None:
        # With an inventory, each object is attributed to its entry.
        self._config = replace(setup.config, retry=replace(setup.config.retry, resume=True))
        storage = setup.storage
        self._own: OwnDirectory | None = None
        if setup.own:
            assert setup.config.destination is not None  # the title
            self._own = OwnDirectory(storage.directory, setup.config.destination)
            storage = replace(storage, directory=self._own.path)
        self._found: set[str] = set()
        """Objects that were in the directory before, and that no job has stored since."""
        self.client = ArchiveClient.configured(
            setup.config, storage, closing=False, indexed=setup.indexed, proved=True, on_whole=self._note
        )
        self.running: dict[int, JobRun] = {}
        self.requested: set[int] = set()
        """Jobs whose requests have ended."""
        self.idle = clock.Condition()
        self._cancelled = False
        self.client.open()

    def _note(self, sop_instance_uid: str, _: str, /, *, stored: bool = True) -> None:
        (self._found.discard if stored else self._found.add)(sop_instance_uid)

    def run(self, text: str) -> JobOutput:
        """Carry out a job."""
        job = from_json(text)
        reports: list[Report] = []
        run = JobRun(self.client, self._config, job, reports.append)
        with self.idle:
            self.running[job.number] = run
        try:
            if self._cancelled:
                run.cancel()
            run.request()
            self.requested.add(job.number)
            run.conclude(flushed=False)
        finally:
            with self.idle:
                del self.running[job.number]
                self.requested.discard(job.number)
                self.idle.notify_all()
        here = {
            uid for report in reports if isinstance(report, ObjectsReport) for some in report.here for uid in some.uids
        }
        self.client.keep(here)  # another job of the cohort may need them
        target = self.client.target
        stored = [] if target is None else target.files_of(here)
        if self._own is not None:
            self._own.add(stored)
        whole = tuple((one.uid, one.path, one.size, one.uid not in self._found) for one in stored)
        return JobOutput(tuple(map(to_json, reports)), whole)

    def cancel(self) -> None:
        """Cancel every job, those started later included."""
        self._cancelled = True
        for run in tuple(self.running.values()):
            run.cancel()

    def look(self) -> list[tuple[int, int, str, int, int]]:
        """Return the number of each job, and its progress (``member.JobProgress``)."""
        found = []
        for number, run in tuple(self.running.items()):
            tally = self.client.server.tally_of(run.job.entry)
            doing = _FLUSHING if number in self.requested else _RECEIVING if tally.arrived else _REQUESTING
            found.append((number, run.job.entry, doing, tally.stored, tally.size))
        return found

    def close(self) -> LateReport:
        """Close the port, and return what is known only then."""
        server, target = self.client.server, self.client.target
        server.close()
        try:
            if target is None:
                return LateReport()
            return LateReport(
                tuple(target.late().items()),
                frozenset(target.superseded),
                tuple(uid for uid in sorted(server.unclaimed) if not target.relied_on(uid)),
            )
        finally:
            self.client.close()
            if self._own is not None:
                self._own.close()


async def in_thread(function: Callable[..., object], *arguments: object) -> object:
    """Call a function in a thread of its own, and return its result. The process can end meanwhile."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[object] = loop.create_future()

    def conclude(value: object, error: BaseException | None) -> None:
        if result.done():  # nobody awaits it any more
            return
        if error is None:
            result.set_result(value)
        else:
            result.set_exception(error)

    def call() -> None:
        value, failure = None, None
        try:
            value = function(*arguments)
        except Exception as error:  # noqa: BLE001 - raised where it is awaited
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(conclude, value, failure)

    clock.Thread(target=call, name="movescu-call", daemon=True).start()
    return await result


_stations: dict[str, _Station] = {}
_opening: Final = clock.Lock()


def open_station(version: str, pickled: bytes) -> str:
    """Open the receiver of a cohort (a ``Setup``); return why that is impossible, empty if it is open."""
    if version != VERSION:
        return f"it runs movescu {VERSION}, the driver {version}: install the same version"
    try:
        setup: Setup = pickle.loads(pickled)  # noqa: S301 - of the driver, which the engine lets run anything here
        with _opening:
            for cohort, other in tuple(_stations.items()):
                with other.idle:  # its driver is gone; what it began is ended
                    other.idle.wait_for(lambda other=other: not other.running, _PATIENCE)  # type: ignore[misc] # default
                _stations.pop(cohort).close()
            _stations[setup.cohort] = _Station(setup)
    except MovescuError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - reported by the driver
        return f"{type(error).__name__}: {error}"
    return ""


def run_job(cohort: str, text: str) -> JobOutput | None:
    """Carry out a job (``job.Job`` in JSON); return None if this process does not serve the cohort."""
    if (station := _stations.get(cohort)) is None:
        return None
    try:
        return station.run(text)
    except StoreError as error:
        return JobOutput(error=str(error), full=error.no_space)
    except Exception as error:  # noqa: BLE001 - reported by the driver
        return JobOutput(error=f"{type(error).__name__}: {error}")


def cancel_jobs(cohort: str) -> None:
    """Cancel the jobs of a cohort."""
    if (station := _stations.get(cohort)) is not None:
        station.cancel()


def look(cohort: str) -> list[tuple[int, int, str, int, int]] | None:
    """Return what the jobs of a cohort do; None if this process does not serve it. See ``_Station.look``."""
    station = _stations.get(cohort)
    return None if station is None else station.look()


def release(cohort: str) -> None:
    """Release idle associations with the archive."""
    if (station := _stations.get(cohort)) is not None:
        try:
            station.client.release()
        except PeerError:
            return


def close_station(cohort: str) -> str:
    """Close the receiver of a cohort; return its ``LateReport`` in JSON."""
    station = _stations.pop(cohort, None)
    return to_json(LateReport() if station is None else station.close())
