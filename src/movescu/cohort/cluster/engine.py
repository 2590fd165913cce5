"""The engine: Dask distributed as launcher of worker processes and as messenger to them, and no more.

Nothing else imports it. Only names of functions of ``station``, texts and numbers go to the workers; keys of tasks,
which logs and dashboards show, have no data of patients. ``local:N`` listens on the loopback address alone, with keys
made for this run, and without a dashboard.
"""

from __future__ import annotations

import contextlib
import logging
import os
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Final

from movescu._runtime import clock
from movescu.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from movescu.cohort.cluster.address import ClusterAddress

THREADS: Final = 64
"""Calls that a worker carries out at the same time: its jobs, and some orders beside them."""
_CONNECT: Final = 15.0
"""Seconds. Longest wait for a scheduler."""
_POLL: Final = 0.5
"""Seconds between two looks at which workers there are."""
_SILENCE: Final = 30
"""Seconds without a sign of life after which a worker on this machine is given up."""
_CLOSING: Final = 10.0
"""Seconds. Longest wait for the workers of this machine to end."""
_HINT: Final = "install the extra: pip install 'movescu[cluster]'"

_KEYS: Final = "set DASK_DISTRIBUTED__COMM__TLS__CA_FILE, ..__{0}__CERT and ..__{0}__KEY (docs/cluster.md)"

_LOGGERS: Final = ("distributed", "bokeh", "tornado", "asyncio")


class Engine:
    """The connection to workers. Thread-safe. Raise ``ClusterError`` if there is none.

    ``where``: the workers. ``titles``: names of the local ones.
    """

    def __init__(self, where: ClusterAddress, titles: Sequence[str]) -> None:
        try:
            import distributed
        except ImportError as error:
            raise ClusterError(f"Dask distributed is not installed: {error}", hint=_HINT) from error
        quieten()
        self.seen = clock.now()
        """When the scheduler last answered, on the monotonic clock."""
        self.workers: dict[str, str] = {}
        """Names of the workers that there are, by address."""
        self.gone = False
        """Whether the connection to the scheduler broke: what it was doing is lost."""
        self._futures: dict[str, Any] = {}
        self._changed = clock.Condition()
        self._closed = False
        self._number = 0
        self._cluster: Any = None
        try:
            self._client = self._connected(distributed, where, titles)
        except ClusterError:
            raise
        except Exception as error:
            raise ClusterError(f"cannot use the cluster: {error or type(error).__name__}") from error
        self._watcher = clock.Thread(target=self._watch, name="movescu-cluster", daemon=True)
        self._watcher.start()

    def _connected(self, distributed: Any, where: ClusterAddress, titles: Sequence[str]) -> Any:  # noqa: ANN401 - untyped
        if where.local:
            self._cluster = local_cluster(distributed, titles[: where.local])
            return distributed.Client(self._cluster, set_as_default=False, timeout=_CONNECT)
        address = address_of(where)
        _require_keys(distributed, address, "client")
        try:
            return distributed.Client(address, set_as_default=False, timeout=_CONNECT)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            raise ClusterError(
                f"no scheduler at {address}: {error}",
                hint="check that it is running, its address, and the keys in the settings of Dask",
            ) from error

    # -- workers -------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._closed:
            try:
                known = self._client.scheduler_info(n_workers=-1)["workers"]
                self.workers = {address: str(one["name"]) for address, one in known.items()}
                self.seen = clock.now()
            except Exception:  # noqa: BLE001, S110 - noticed by the time that passes
                pass
            with self._changed:
                self._changed.wait_for(lambda: self._closed, _POLL)

    def call(
        self,
        address: str,
        name: str,
        function: Callable[..., object],
        arguments: tuple[object, ...],
        then: Callable[[object, str], None],
    ) -> str:
        """See ``Messenger``."""
        self._number += 1
        key = f"movescu-{name}-{os.getpid()}-{self._number}"
        try:
            future = self._client.submit(
                function,
                *arguments,
                key=key,
                workers=[address],
                allow_other_workers=False,
                retries=0,
                pure=False,
            )
        except Exception as error:
            raise ClusterError(f"the scheduler takes no more calls: {error}") from error
        self._futures[key] = future

        def done(future: Any) -> None:  # noqa: ANN401 - untyped
            if self._futures.pop(key, None) is None:
                return  # forgotten
            try:
                result = future.result(timeout=_CONNECT)
            except CancelledError:  # by nobody here
                self.gone = True
                then(None, "the scheduler is gone")
            except Exception as error:  # noqa: BLE001 - told to the caller
                then(None, f"{type(error).__name__}: {error}"[:500])
            else:
                then(result, "")

        future.add_done_callback(done)
        return key

    def forget(self, key: str) -> None:
        """See ``Messenger``."""
        if (future := self._futures.pop(key, None)) is not None:
            with contextlib.suppress(Exception):
                future.cancel()

    def close(self) -> None:
        """Close the connection; end the workers of this machine."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

        def close() -> None:
            with contextlib.suppress(Exception):
                self._client.close(timeout=2)
            if self._cluster is not None:
                with contextlib.suppress(Exception):
                    self._cluster.close(timeout=_CLOSING)

        closing = clock.Thread(target=close, name="movescu-cluster-end", daemon=True)  # a silent scheduler: not awaited
        closing.start()
        closing.join(_CLOSING)


def local_cluster(distributed: Any, titles: Sequence[str]) -> Any:  # noqa: ANN401 - untyped
    """Start a scheduler in this process, and a worker process for each title; a killed one is started again."""
    import dask

    settings = {"scheduler.worker-ttl": f"{_SILENCE}s", "scheduler.http.routes": [], "worker.http.routes": []}
    dask.config.set({f"distributed.{name}": value for name, value in settings.items()})
    own = {
        "host": "127.0.0.1",
        "nthreads": THREADS,
        "memory_limit": 0,
        "dashboard": False,
        "silence_logs": logging.CRITICAL + 1,
        "preload": ["movescu.cohort.cluster.preload"],
    }
    try:
        security = distributed.Security.temporary()
    except ImportError as error:
        raise ClusterError(f"cannot make keys for the workers: {error}", hint=_HINT) from error
    scheduler = {"host": "127.0.0.1", "port": 0, "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    return distributed.SpecCluster(
        workers={title: {"cls": distributed.Nanny, "options": own | {"security": security}} for title in titles},
        scheduler={"cls": distributed.Scheduler, "options": scheduler | {"security": security}},
        security=security,
        silence_logs=logging.CRITICAL + 1,
    )


def quieten() -> None:
    """Keep the engine's log to itself: it shows arguments of calls, and losses that we report ourselves."""
    for name in (*_LOGGERS, *logging.root.manager.loggerDict):  # some have levels of their own
        if name.partition(".")[0] in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def address_of(where: ClusterAddress) -> str:
    """Return the address of a scheduler. Raise ``ClusterError`` if it is unknown, or needs TLS and has none."""
    address = where.scheduler or _address_in(where.file)
    if not (where.plain or address.startswith("tls://")):
        raise ClusterError(
            f"connections to {address} are not encrypted, and whoever reaches the scheduler controls the workers",
            hint=f"start the scheduler with TLS, or write plain:{where.scheduler or where.file}",
        )
    return address


async def worker(title: str, address: str) -> Any:  # noqa: ANN401 - untyped
    """Return a connected worker of this process. Raise ``ClusterError`` if that fails."""
    try:
        import distributed
    except ImportError as error:
        raise ClusterError(f"a worker needs Dask distributed: {error}", hint=_HINT) from error
    quieten()
    _require_keys(distributed, address, "worker")
    try:
        return await distributed.Worker(address, name=title, nthreads=THREADS, memory_limit=0, dashboard=False)
    except Exception as error:
        raise ClusterError(f"no scheduler at {address}: {error or type(error).__name__}") from error


def _require_keys(distributed: Any, address: str, role: str) -> None:  # noqa: ANN401 - untyped
    """Raise ``ClusterError`` if the settings of Dask have no usable keys for an address with TLS."""
    if not address.startswith("tls://"):
        return
    try:
        usable = distributed.Security().get_connection_args(role).get("ssl_context") is not None
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"the keys for {address} are not usable: {error}", hint=_KEYS.format(role.upper())
        ) from error
    if not usable:
        raise ClusterError(f"there are no keys for {address}", hint=_KEYS.format(role.upper()))


def _address_in(path: str) -> str:
    """Return the address that a scheduler wrote to a file."""
    import json

    try:
        with open(path, encoding="utf-8") as file:
            return str(json.load(file)["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            f"cannot read the address of a scheduler from {path!r}: {error}",
            hint="start it as dask scheduler --scheduler-file FILE, or write local:4 or tls://host:port",
        ) from error
