"""Dask's scheduler and worker without their HTTP servers, which listen even where no page is to be served.

``dashboard=False`` leaves out only the pages; metrics and information on tasks would be open to all hosts, without TLS.
Imports Dask, so it is loaded only where a cluster is started.
"""

from __future__ import annotations

import distributed


class SchedulerWithoutHTTP(distributed.Scheduler):  # type: ignore[misc] # untyped
    """A scheduler that listens on one port alone, that of its workers and clients."""

    def start_http_server(self, *_: object, **__: object) -> None:
        """Listen on no port."""


class WorkerWithoutHTTP(distributed.Worker):  # type: ignore[misc] # untyped
    """A worker that listens on one port alone, that of the scheduler and of other workers."""

    def start_http_server(self, *_: object, **__: object) -> None:
        """Listen on no port."""
