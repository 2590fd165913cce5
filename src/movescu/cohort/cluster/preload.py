"""What each worker process runs first (Dask's ``preload``): Ctrl-C is for the driver, which cancels the jobs."""

from __future__ import annotations

import signal


def dask_setup(_: object) -> None:
    """Ignore SIGINT, which a terminal sends to all processes of a command; keep the engine's log to itself."""
    from movescu.cohort.cluster.engine import quieten

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    quieten()
