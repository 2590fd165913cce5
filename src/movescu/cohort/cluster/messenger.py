"""The protocol between the driver's side of a cluster (``workers``) and what carries its calls to workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Messenger(Protocol):
    """Carries calls to workers; safe from any thread. Today's is Dask (``engine``)."""

    gone: bool
    """Whether the connection broke: what it was doing is lost."""

    @property
    def seen(self) -> float:
        """When the scheduler last answered, on the monotonic clock."""

    @property
    def workers(self) -> Mapping[str, str]:
        """Names of the workers that there are, by address."""

    def call(
        self,
        address: str,
        name: str,
        function: Callable[..., object],
        arguments: tuple[object, ...],
        then: Callable[[object, str], None],
    ) -> str:
        """Call a function in a worker, and return the key of the call, which begins with ``name``.

        ``then``: called with the result, or with None and the error, in another thread. Raise ``ClusterError``.
        """

    def forget(self, key: str) -> None:
        """Await the result of a call no longer: its worker is gone."""
