"""``--live``: the page of a running list. Imported only with this option."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, Final

from movescu.cli import streams
from movescu.cohort.controls import Controls
from movescu.events import as_json
from movescu.report.live_server import LiveServer
from movescu.report.live_state import LiveState
from movescu.report.page import require_page
from movescu.report.summary import archive_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from movescu.cohort.cluster.member import WorkerState
    from movescu.cohort.cluster.workers import ClusterWorkers
    from movescu.cohort.runner import Runner
    from movescu.events import EndEvent, EntryEvent
    from movescu.retrieve.config import Config

_TOLD: Final = ("outcome", "stored", "failed", "size", "missing", "already_there")


class Live:
    """The live page of a list; ``port``: of the page, 0 for a free one. Raise ``UsageError``.

    ``remote``: workers in other processes receive the objects (``follow``). Default: False.
    """

    def __init__(self, config: Config, port: int, *, remote: bool = False) -> None:
        require_page()
        self._config = config
        self._runner: Runner | None = None
        self._workers: ClusterWorkers | None = None
        self.controls: Final = Controls(keeps=True)
        """What the buttons of the page order."""
        self.observer: Final = LiveState(archive_json(config), self._status, remote=remote)
        """Follows the run."""
        orders = {"pause": self._pause, "resume": self._resume, "cancel": self._cancel, "retry": self._retry}
        self._server: Final = LiveServer(self.observer, orders, port)

    def expect(self, entries: Iterable[EntryEvent]) -> None:
        """Add the entries of the list."""
        self.observer.expect(entries)

    def follow(self, workers: ClusterWorkers) -> None:
        """Show workers in other processes, and what they do."""
        self._workers = workers
        workers.watch(lambda one: self.observer.progress(one.entry, one.doing, one.stored, one.size))

    @contextlib.contextmanager
    def shown(self, runner: Runner) -> Iterator[None]:
        """Serve the page during the block, and print its address before."""
        self._runner = runner
        with self._server:
            streams.write(sys.stderr, f"live page: {self._server.url}\n")
            yield

    def concluded(self, end: EndEvent) -> None:
        """Show the end of the run on the pages."""
        told = as_json(end)
        self.observer.conclude({name: told[name] for name in _TOLD if name in told})

    def _status(self) -> dict[str, Any]:
        """Return what the runner says of itself; read without a lock, for display."""
        runner = self._runner
        if runner is None:
            return {}
        admission, archive = runner.admission, self._config.archive
        absence = runner.absence
        return {
            "paused": self.controls.paused,
            "cancelled": runner.cancelled,
            "opens_in": runner.opens_in,
            "workers": [] if self._workers is None else [_worker_json(one) for one in self._workers.members.states()],
            "archives": [
                {
                    "title": archive.title,
                    "address": f"{archive.host} port {archive.port}",
                    "slots": admission.ceiling,
                    "under_way": admission.under_way,
                    "refusals": admission.refusals,
                    "away": None if absence is None else {"next": absence[0], "given_up": absence[1]},
                    "stop": None if runner.stop is None else str(runner.stop),
                }
            ],
        }

    def _pause(self, _: int) -> str:
        self.controls.pause(paused=True)
        return "Paused: running requests continue, no further one starts"

    def _resume(self, _: int) -> str:
        self.controls.pause(paused=False)
        return "Going on"

    def _cancel(self, _: int) -> str:
        if self._runner is not None:
            self._runner.cancel()
        return "Being cancelled"

    def _retry(self, number: int) -> str:
        self.controls.retry(number)
        return f"Entry {number} is requested again, unless it is complete or under way"


def _worker_json(one: WorkerState) -> dict[str, Any]:
    jobs = [{"row": job.entry, "doing": job.doing, "stored": job.stored} for job in one.jobs]
    return {"title": one.title, "address": f"{one.host} port {one.port}", "state": one.state, "jobs": jobs}
