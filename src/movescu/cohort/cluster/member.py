"""A worker as the driver sees it, and its state for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from movescu._runtime.record import Record

if TYPE_CHECKING:
    from movescu.cohort.job import Job
    from movescu.retrieve.config import AE

OPENING: Final = "opening its port"
READY: Final = "receives"
LOST: Final = "is lost"


class JobProgress(NamedTuple):
    """What a worker does for a job. ``stored``, ``size``: objects and bytes of the data sets so far."""

    entry: int
    doing: str
    stored: int
    size: int


class WorkerState(Record):
    """The state of a worker, for people. ``state``: in words. ``jobs``: what it does now, as far as known."""

    title: str
    host: str
    port: int
    state: str
    jobs: tuple[JobProgress, ...] = ()


class SentJob(NamedTuple):
    """A job that a worker has. ``key``: of the call; empty if the worker is not ready yet."""

    entry: int
    key: str


class Member:
    """A worker: its title and port, and its jobs, by number.

    ``ready``: its receiver is open. ``unused``: why it is sent no jobs any more, in words. Default: empty, it is.
    """

    def __init__(self, address: str, ae: AE) -> None:
        self.address = address
        self.ae = ae
        self.ready = False
        self.unused = ""
        self.jobs: dict[int, SentJob] = {}
        self.waiting: list[Job] = []
        """Jobs to be sent once it is ready."""
        self.reached = False
        """Whether the archive has sent it objects."""
        self.in_vain: set[int] = set()
        """Entries that brought it nothing, for the archive does not reach it: see ``workers``."""
        self.others_good = 0
        """Number of jobs that had ended well before these."""
        self.progress: tuple[JobProgress, ...] = ()
        """Of its jobs, when it was last asked."""
        self.asked = False
        """Whether it is being asked."""

    @property
    def usable(self) -> bool:
        """Whether it takes jobs."""
        return self.ready and not self.unused

    @property
    def state(self) -> WorkerState:
        """Its state, for people."""
        words = self.unused or (READY if self.ready else OPENING)
        return WorkerState(self.ae.title, self.ae.host, self.ae.port, words, self.progress)
