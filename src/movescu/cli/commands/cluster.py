"""``--cluster``: the workers of a list in other processes. Imported with ``--cluster`` alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from movescu.cli.options.configuration import value_of
from movescu.cohort.cluster.address import ClusterAddress, read_pool
from movescu.cohort.cluster.group import Cluster

if TYPE_CHECKING:
    from movescu.cli.options.settings import CommandSettings


def cluster_of(settings: CommandSettings) -> Cluster:
    """Return the cluster of a command line. Raise ``UsageError`` for unusable settings."""
    assert settings.cluster is not None  # called with --cluster alone
    assert settings.ae_pool is not None  # the option table requires it
    where = value_of("--cluster", settings.cluster, ClusterAddress.parse)
    return Cluster(where, read_pool(settings.ae_pool), repr(settings.ae_pool), settings.jobs)
