"""``--cluster``: the workers of a list in other processes. Imported with ``--cluster`` alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from movescu.cli.options.configuration import value_of
from movescu.cohort.cluster.address import ClusterAddress, read_pool
from movescu.cohort.cluster.group import Cluster
from movescu.errors import UsageError

if TYPE_CHECKING:
    from movescu.cli.options.settings import CommandSettings


def cluster_of(settings: CommandSettings) -> Cluster:
    """Return the cluster of a command line. Raise ``UsageError`` for unusable settings."""
    assert settings.cluster is not None  # called with --cluster alone
    if settings.ae_pool is None:
        raise UsageError(
            "--cluster needs --ae-pool, the AE titles of the workers",
            hint="name a file with a title, host and port in each line, such as WORKER1 host1 11113",
        )
    where = value_of("--cluster", settings.cluster, ClusterAddress.parse)
    own = settings.worker_files == "own"
    return Cluster(where, read_pool(settings.ae_pool), repr(settings.ae_pool), settings.jobs, own=own)
