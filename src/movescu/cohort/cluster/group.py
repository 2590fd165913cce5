"""A cluster: the workers of one list, found or started, and the titles that they receive under."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from movescu.cohort.cluster.address import ClusterAddress, read_pool
from movescu.cohort.cluster.workers import ClusterWorkers
from movescu.cohort.journal_workers import JournalWorker
from movescu.errors import UsageError
from movescu.retrieve.config import AE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType
    from typing import Self

    from movescu.cohort.cluster.member import WorkerState
    from movescu.cohort.journal import Journal
    from movescu.query.request_list import Row
    from movescu.retrieve.client import ArchiveClient
    from movescu.retrieve.config import Config
    from movescu.storage.options import StorageOptions
    from movescu.storage.target import OnWhole

WORKER_FILES: Final = ("shared", "own")
"""Where workers store: all into one directory, or each into one of its own."""


def folders_of(journal: Journal, config: Config, rows: Iterable[Row]) -> dict[int, str]:
    """Return the first folder of the files that a journal has of each entry, by number; none for those without."""
    archive = config.archive
    found: dict[int, str] = {}
    for row in rows:
        key = row.key(f"{archive.title}@{archive.host}:{archive.port}", config.selection)
        folder, below, _ = next(iter(journal.paths_of(key)), "").partition(os.sep)
        if below:
            found[row.number] = folder
    return found


def introduce(
    workers: ClusterWorkers, journal: Journal, config: Config, rows: Iterable[Row], *, by_files: bool = False
) -> None:
    """Record the workers of a run in its journal, for ``--status``.

    ``by_files``: an entry is sent to the worker whose folder has its files. Default: False.
    """

    def tell(states: Iterable[WorkerState]) -> None:
        journal.note_workers(JournalWorker(one.title, one.host, one.port, one.state) for one in states)

    workers.members.on_change = tell
    if by_files:
        workers.expect_at(folders_of(journal, config, rows))


class Cluster:
    """A context manager that starts or finds the workers, and ends what it started.

    ``pool``: titles of the workers. ``named``: what has them, for messages. ``jobs``: entries at once. ``own``: each
    worker stores into a directory of its own. Default: False, all into one. Raise ``UsageError`` if there are fewer
    titles than workers; entering raises ``ClusterError``.
    """

    def __init__(self, where: ClusterAddress, pool: Sequence[AE], named: str, jobs: int, *, own: bool = False) -> None:
        self._where, self._pool = where, tuple(pool)
        if where.local > len(self._pool):
            raise UsageError(
                f"{named} has {len(self._pool)} of {where.local} titles that the workers need",
                hint="add a title, host and port for each worker",
            )
        self.own = own
        """Whether each worker stores into a directory of its own."""
        self.jobs = max(jobs, where.local or len(self._pool))
        """Entries at once, at least one for each worker."""
        self._stack = contextlib.ExitStack()

    @classmethod
    def of(
        cls, where: str, pool: str | os.PathLike[str] | Sequence[AE] | None, jobs: int, worker_files: str = "shared"
    ) -> Self:
        """Return the cluster of a program's arguments, as after ``--cluster``, ``--ae-pool`` and ``--worker-files``."""
        if not isinstance(where, str):
            raise UsageError(
                f"cluster {where!r} does not name a cluster", hint="write it as 'local:4' or 'tls://host:port'"
            )
        if worker_files not in WORKER_FILES:
            raise UsageError(f"worker_files {worker_files!r} is unknown", hint="give 'shared' or 'own'")
        address, own = ClusterAddress.parse(where), worker_files == "own"
        if isinstance(pool, str | os.PathLike):
            return cls(address, read_pool(os.fspath(pool)), repr(os.fspath(pool)), jobs, own=own)
        if not pool or not all(isinstance(one, AE) for one in pool):
            raise UsageError(
                f"ae_pool {pool!r} has no titles of workers",
                hint="give the file that has them, or a list such as [AE('host1', 11113, 'WORKER1')]",
            )
        return cls(address, pool, "ae_pool", jobs, own=own)

    def __enter__(self) -> Self:
        from movescu.cohort.cluster.engine import Engine  # late: loads Dask

        self._engine = Engine(self._where, [ae.title for ae in self._pool])
        self._stack.callback(self._engine.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def workers(
        self,
        client: ArchiveClient,
        storage: StorageOptions,
        *,
        indexed: bool = False,
        on_whole: OnWhole | None = None,
    ) -> ClusterWorkers:
        """Return the workers.

        ``indexed``: they use the index of the directory, if it is their own or on this machine. Default: False.
        ``on_whole``: called with each whole object; see ``Target``.
        """
        return ClusterWorkers(
            self._engine,
            client,
            self._pool,
            config=client.config,
            storage=storage,
            number=self.jobs,
            indexed=indexed and (self.own or bool(self._where.local)),
            own=self.own,
            on_whole=on_whole,
        )
