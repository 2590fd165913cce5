"""The protocol between the driver of a cohort and its workers.

The driver (``runner``) calls all methods in one thread, except ``cancel``. Its first implementation are threads
(``worker_threads``); workers on other machines fit, too, since jobs and reports are records that pickle (``job``).
Workers decide nothing: they do not wait for a slot, repeat a request, or know of other jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from movescu.cohort.job import Job, LateReport, LostJob, Report


class Workers(Protocol):
    """A group of workers, each of which carries out one job at a time."""

    @property
    def capacity(self) -> int:
        """Number of jobs that can run at once. It may change as workers come and go."""

    def start(self, job: Job) -> None:
        """Start a job. At most ``capacity`` jobs may be started and neither delivered (``DeliveredReport``) nor ended.

        Beyond these, as many may be delivered and not ended as share a flush (``shared_flush.MOST``).
        """

    def settle(self) -> None:
        """Flush for the delivered jobs at once. Else their verdicts may come a second later, several together."""

    def echo(self) -> None:
        """Send a C-ECHO to the archive, beside the jobs. One ``EchoReport`` follows."""

    def next(self, seconds: float) -> Report | None:
        """Wait for the next report and return it; None after ``seconds``, or when something else needs attention.

        Raise the exception that ended a worker in this process.
        """

    def lost(self) -> tuple[LostJob, ...]:
        """Return the jobs whose workers ended unexpectedly, each once: there will be no more reports on them.

        After ``close``: every job without a verdict.
        """

    def cancel(self) -> None:
        """Cancel every job, those started later included. Safe from any thread and from a signal handler."""

    def give_way(self) -> None:
        """Release idle associations: each may take one of the archive's slots."""

    def keep(self, sop_instance_uids: Iterable[str]) -> None:
        """Mark stored objects as complete: another job of the cohort needs them too."""

    def close(self, *, at_once: bool = False) -> LateReport:
        """Stop receiving objects, and return what is known only then. No job is started after that.

        ``at_once``: some jobs have no verdict, and nothing is awaited; nothing is returned.
        """
