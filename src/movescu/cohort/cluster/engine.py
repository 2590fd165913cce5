"""The engine: Dask distributed as launcher of worker processes and as messenger to them, and no more.

Nothing else imports it. Only names of functions of ``station``, texts and numbers go to the workers. A call is a
message through the scheduler, not a task of Dask: that costs less, and no key, log or dashboard shows it. ``local:N``
listens on the loopback address alone, with keys made for this run. No HTTP server of Dask is started.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

from movescu._runtime import clock
from movescu.cohort.cluster.station import in_thread
from movescu.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from movescu.cohort.cluster.address import ClusterAddress

_CONNECTIONS: Final = 4096
"""Highest number of calls at once: each has a connection to the scheduler."""
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
        self._calls: dict[str, Callable[[object, str], None]] = {}
        """What takes the results of calls, by key."""
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
        self._loop = self._client.loop.asyncio_loop
        self._watcher = clock.Thread(target=self._watch, name="movescu-cluster", daemon=True)
        self._watcher.start()

    def _connected(self, distributed: Any, where: ClusterAddress, titles: Sequence[str]) -> Any:  # noqa: ANN401 - untyped
        if where.local:
            self._cluster = local_cluster(distributed, titles[: where.local])
            return _client(distributed, self._cluster)
        address = address_of(where)
        _require_keys(distributed, address, "client")
        try:
            return _client(distributed, address)
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
        key = f"{name}-{self._number}"
        self._calls[key] = then
        try:
            asyncio.run_coroutine_threadsafe(self._carry(key, address, function, arguments), self._loop)
        except RuntimeError as error:
            raise ClusterError(f"the connection to the scheduler is closed: {error}") from error
        return key

    async def _carry(
        self, key: str, address: str, function: Callable[..., object], arguments: tuple[object, ...]
    ) -> None:
        """Carry a call to a worker, and its result back."""
        result: object = None
        words = ""
        try:
            called = self._client.run(
                in_thread, function, *arguments, workers=[address], on_error="return", asynchronous=True
            )
            result = (await called)[address]
            if isinstance(result, Exception):  # of the connection to the worker
                words, result = _words_of(result), None
        except Exception as error:  # noqa: BLE001 - of the connection to the scheduler
            words = _words_of(error)
            if not await self._answers():
                self.gone, words = True, "the scheduler is gone"
        if (then := self._calls.pop(key, None)) is not None:  # else it is forgotten
            then(result, words)

    async def _answers(self) -> bool:
        """Return True if the scheduler still answers: a single connection may have broken."""
        try:
            await asyncio.wait_for(self._client.scheduler.identity(), _CONNECT)
        except Exception:  # noqa: BLE001 - whatever it is, it is no answer
            return False
        return True

    def forget(self, key: str) -> None:
        """See ``Messenger``."""
        self._calls.pop(key, None)

    def close(self) -> None:
        """Close the connection; end the workers of this machine."""
        self._calls.clear()
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


def _client(distributed: Any, where: Any) -> Any:  # noqa: ANN401 - untyped
    return distributed.Client(where, set_as_default=False, timeout=_CONNECT, connection_limit=_CONNECTIONS)


def _words_of(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def local_cluster(distributed: Any, titles: Sequence[str]) -> Any:  # noqa: ANN401 - untyped
    """Start a scheduler in this process, and a worker process for each title; a killed one is started again."""
    import dask

    from movescu.cohort.cluster.without_http import SchedulerWithoutHTTP, WorkerWithoutHTTP

    dask.config.set({"distributed.scheduler.worker-ttl": f"{_SILENCE}s"})
    own = {
        "host": "127.0.0.1",
        "nthreads": 1,
        "memory_limit": 0,
        "worker_class": WorkerWithoutHTTP,
        "silence_logs": logging.CRITICAL + 1,
        "preload": ["movescu.cohort.cluster.preload"],
    }
    try:
        security = distributed.Security.temporary()
    except ImportError as error:
        raise ClusterError(f"cannot make keys for the workers: {error}", hint=_HINT) from error
    scheduler = {"host": "127.0.0.1", "port": 0, "dashboard": False}
    return distributed.SpecCluster(
        workers={title: {"cls": distributed.Nanny, "options": own | {"security": security}} for title in titles},
        scheduler={"cls": SchedulerWithoutHTTP, "options": scheduler | {"security": security}},
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
    from movescu.cohort.cluster.without_http import WorkerWithoutHTTP

    quieten()
    _require_keys(distributed, address, "worker")
    try:
        return await WorkerWithoutHTTP(address, name=title, nthreads=1, memory_limit=0)
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
