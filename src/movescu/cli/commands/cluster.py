"""``--cluster``: the workers of a list in other processes. Imported with ``--cluster`` alone."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from movescu.cli.options.configuration import value_of
from movescu.cohort.cluster.address import ClusterAddress, read_pool
from movescu.cohort.cluster.workers import ClusterWorkers
from movescu.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from movescu.cli.options.settings import CommandSettings
    from movescu.retrieve.client import Client
    from movescu.storage.options import StorageOptions


class Cluster:
    """A context manager that starts or finds the workers, and ends what it started.

    Raise ``UsageError`` for unusable settings; entering raises ``ClusterError``.
    """

    def __init__(self, settings: CommandSettings) -> None:
        assert settings.cluster is not None  # called with --cluster alone
        assert settings.ae_pool is not None  # the option table requires it
        self._settings = settings
        self._where = value_of("--cluster", settings.cluster, ClusterAddress.parse)
        self._pool = read_pool(settings.ae_pool)
        if self._where.local > len(self._pool):
            raise UsageError(
                f"{settings.ae_pool!r} has {len(self._pool)} titles for {self._where.local} workers",
                hint="add a title, host and port for each worker",
            )
        self.jobs = max(settings.jobs, self._where.local or len(self._pool))
        """Entries at once, at least one for each worker."""
        self._stack = contextlib.ExitStack()

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
        self, client: Client, storage: StorageOptions, on_whole: Callable[[str, str], None] | None
    ) -> ClusterWorkers:
        """Return the workers. ``on_whole``: called with SOP instance UID and path of each whole object."""
        return ClusterWorkers(
            self._engine,
            client,
            self._pool,
            config=client.config,
            storage=storage,
            number=self.jobs,
            indexed=self._settings.resume and bool(self._where.local),
            on_whole=on_whole,
        )
