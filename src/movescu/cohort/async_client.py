"""The client for asyncio: the interface of ``Client``, with its code in threads.

A retrieve mostly waits for the archive; its thread costs little beside that.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from movescu.cohort.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping
    from types import TracebackType
    from typing import Self

    from movescu.events import Event
    from movescu.query.match import Match
    from movescu.query.python_keys import Keys
    from movescu.retrieve.handle import Retrieve
    from movescu.retrieve.result import Result
    from movescu.storage.sinks import Destination


class AsyncClient:
    """A client of one archive; an asynchronous context manager. Takes the arguments of ``Client``."""

    def __init__(self, *args: Any, **settings: Any) -> None:  # noqa: ANN401 - those of Client
        self._client = Client(*args, **settings)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._client.open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._client.close)

    @property
    def port(self) -> int:
        """Number of our port, 0 without one."""
        return self._client.port

    async def echo(self) -> None:
        """Send C-ECHO; see ``Client.echo``."""
        await asyncio.to_thread(self._client.echo)

    async def find(
        self, level: str = "STUDY", keys: Keys | None = None, *, count: bool = False, **more: object
    ) -> list[Match]:
        """Query the archive (C-FIND) and return the matches; see ``Client.find``."""
        return await asyncio.to_thread(self._client.find, level, keys, count=count, **more)

    async def retrieve(self, keys: Keys, to: Destination | None = None) -> Result:
        """Retrieve matching objects; see ``Client.retrieve``. Cancelling the task cancels the retrieve."""
        return await self.start(keys, to).result()

    def start(self, keys: Keys, to: Destination | None = None) -> AsyncRetrieve:
        """Start a retrieve and return its handle; see ``Client.start``."""
        return AsyncRetrieve(self._client.start(keys, to))

    async def retrieve_many(
        self,
        rows: Iterable[Mapping[str, object]],
        to: Destination | None = None,
        **settings: Any,  # noqa: ANN401 - those of Client.retrieve_many
    ) -> AsyncIterator[Result | Exception]:
        """Retrieve the objects of each entry; see ``Client.retrieve_many``, whose further arguments it takes.

        Cancelling the task, or leaving the loop early, cancels. ``on_result`` is called in another thread.
        """
        on_result = settings.pop("on_result", None)
        start = self._client._start_many  # noqa: SLF001 - this is its other front
        started = await asyncio.to_thread(start, rows, to, **settings)
        results = started.results(on_result)
        try:
            while (result := await asyncio.to_thread(next, results, None)) is not None:
                yield result
        finally:
            started.cancel()


class AsyncRetrieve:
    """A retrieve in progress: iterate its events, cancel it, await its result."""

    def __init__(self, retrieve: Retrieve) -> None:
        self._retrieve = retrieve

    def cancel(self) -> None:
        """Cancel the retrieve; see ``Retrieve.cancel``."""
        self._retrieve.cancel()

    async def result(self) -> Result:
        """Wait for the end and return the result; see ``Retrieve.result``."""
        try:
            return await asyncio.to_thread(self._retrieve.result)
        except asyncio.CancelledError:
            self._retrieve.cancel()
            raise

    async def __aiter__(self) -> AsyncIterator[Event]:
        events = iter(self._retrieve)
        with contextlib.closing(events):
            while (event := await asyncio.to_thread(next, events, None)) is not None:
                yield event
