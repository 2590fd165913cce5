"""Dask's scheduler and worker without their HTTP servers, which listen even where no page is to be served.

``dashboard=False`` leaves out only the pages; metrics and information on tasks would be open to all hosts, without TLS.
The classes are made when they are first named, here, so that other processes find them under the same name; importing
this module does not import Dask.
"""

from __future__ import annotations

from typing import Any, Final

_BASES: Final = {"SchedulerWithoutHTTP": "Scheduler", "WorkerWithoutHTTP": "Worker"}


class _WithoutHTTP:
    """Listens on one port alone, that of Dask's own connections."""

    def start_http_server(self, *_: object, **__: object) -> None:
        """Listen on no port."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 - of an untyped package
    """Make and return a class."""
    if name not in _BASES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import distributed

    made = type(name, (_WithoutHTTP, getattr(distributed, _BASES[name])), {"__module__": __name__})
    globals()[name] = made
    return made
