"""The state of a running list, for its live page: an observer that does little work for each object.

It does not watch the data of objects, so storage associations are served as without it. A reader (``LiveReader``) gets
everything at first, and after that what has changed since it last asked.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from movescu.dimse.status import SUCCESS, StatusClass
from movescu.events import EntryState
from movescu.report.entry_table import EntryTable
from movescu.report.timeline import Timeline
from movescu.retrieve.observer import Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from movescu.events import EntryEvent
    from movescu.services.move import MoveResponse
    from movescu.services.store import Received

_WAITING: Final = "waiting"
"""State of an entry that has not been requested yet."""
_RATE_SECONDS: Final = 10.0


class _Running:
    """An entry being requested. Times: seconds since 1970."""

    __slots__ = ("doing", "last", "needed", "since", "size", "stored")

    def __init__(self) -> None:
        self.since = time.time()
        self.last = 0.0
        self.needed: int | None = None
        self.stored = self.size = 0
        self.doing = "querying the archive (C-FIND)"


class LiveState(Observer):
    """The data of a live page; ``status``: returns the state of the runner. Safe from any thread.

    ``remote``: the objects are received elsewhere; ``progress`` has their numbers. Default: False.
    """

    def __init__(self, archive: dict[str, Any], status: Callable[[], dict[str, Any]], *, remote: bool = False) -> None:
        self._archive = archive
        self._status = status
        self._table = EntryTable()
        self._begun = time.time()
        self._timeline = Timeline(self._begun)
        self._running: dict[int, _Running] = {}
        self._ended: dict[int, tuple[int, int]] = {}
        """Numbers of objects and bytes of the entries that have ended."""
        self._totals = [0, 0]
        self._remote = remote
        self._counted: dict[int, tuple[int, int]] = {}
        """Objects and bytes of entries under way that other processes receive, over all of their jobs."""
        self._recent: deque[tuple[float, int]] = deque(maxlen=64)
        self._senders = 0
        self._lock = threading.Lock()
        self._readers: list[LiveReader] = []
        self._requested: set[int] = set()
        self.end: dict[str, Any] | None = None
        """The report on the whole run, once it has ended."""

    # -- what happens --------------------------------------------------------------------------------------------------

    def expect(self, entries: Iterable[EntryEvent]) -> None:
        """Add the entries of the list, as waiting."""
        for event in entries:
            self._table.add(event)

    def entry(self, event: EntryEvent) -> None:
        """Follow the states of an entry."""
        assert event.row is not None
        with self._lock:
            self._table.add(event)
            self._requested.add(event.row)
            if self._remote and event.state.is_end:
                self._count_end(event)
            if event.state is EntryState.RUNNING:
                self._running[event.row] = _Running()
            else:
                self._running.pop(event.row, None)
            if event.state is EntryState.POSTPONED:
                self._timeline.refusal(event.time)
            self._change(event.row)

    def listed(self, objects: int, missing: int, row: int | None) -> None:  # noqa: ARG002 - of its base
        """Set how many objects an entry needs."""
        if (running := self._of(row)) is not None:
            running.needed = missing + running.stored

    def requested(self, row: int | None) -> None:
        """Show that a request was sent."""
        self._do(row, "waiting for the archive to connect")

    def response(self, response: MoveResponse, seconds: float, row: int | None) -> None:  # noqa: ARG002 - of its base
        """Show a final response."""
        if response.status_class is not StatusClass.PENDING:
            self._do(row, "final response received")

    def retry(self, attempt: int, objects: int | None, pause: float, reason: str, row: int | None) -> None:  # noqa: ARG002 - of its base
        """Show another attempt."""
        self._do(row, f"attempt {attempt} begins in {pause:.0f} s")

    def delivered(self, row: int) -> None:
        """Show that the objects of an entry are here."""
        self._do(row, "flushing to the disk")

    def progress(self, row: int, doing: str, stored: int, size: int) -> None:
        """Show what another process does for an entry; ``stored``, ``size``: objects and bytes of its job so far."""
        with self._lock:
            running = self._of(row)
            if running is None or stored < running.stored:  # of a job before this one
                return
            if stored > running.stored:
                before = self._counted.get(row, (0, 0))
                self._count(row, before[0] + stored - running.stored, before[1] + size - running.size)
                running.last, running.stored, running.size = time.time(), stored, size
            running.doing = doing
            for reader in self._readers:
                reader.rows.add(row)

    def _count_end(self, event: EntryEvent) -> None:
        """Count what nothing was known of before the entry ended."""
        assert event.row is not None
        own = event.same_as is None
        before = self._counted.get(event.row, (0, 0))
        if own and event.stored > before[0]:
            self._count(event.row, event.stored, max(event.size, before[1]))
        self._counted.pop(event.row, None)

    def _count(self, row: int, stored: int, size: int) -> None:
        before = self._counted.get(row, (0, 0))
        self._counted[row] = stored, size
        self._timeline.objects(time.time(), stored - before[0], size - before[1])
        self._totals[0] += stored - before[0]
        self._totals[1] += size - before[1]

    def received(self, received: Received, row: int | None) -> None:
        """Count an object."""
        now, size, stored = time.time(), received.size, received.status == SUCCESS
        with self._lock:
            self._timeline.object(now, size, stored=stored)
            self._totals[0] += stored
            self._totals[1] += size
            running = self._of(row)
            if running is not None and row is not None:
                running.last = now
                running.stored += stored
                running.size += size
                running.doing = "receiving"
                for reader in self._readers:
                    reader.rows.add(row)

    @contextlib.contextmanager
    def storage(self, *_: object) -> Iterator[None]:
        """Count the storage associations."""
        with self._lock:
            self._senders += 1
        try:
            yield
        finally:
            with self._lock:
                self._senders -= 1

    def _of(self, row: int | None) -> _Running | None:
        return None if row is None else self._running.get(row)

    def _do(self, row: int | None, words: str) -> None:
        if (running := self._of(row)) is not None:
            running.doing = words

    def _change(self, row: int) -> None:
        for reader in self._readers:
            reader.rows.add(row)
            reader.news.set()

    def conclude(self, end: dict[str, Any]) -> None:
        """Set the report on the whole run, and notify the readers."""
        with self._lock:
            self.end = end
            for reader in self._readers:
                reader.news.set()

    # -- what is told --------------------------------------------------------------------------------------------------

    def reader(self) -> LiveReader:
        """Return a reader."""
        with self._lock:
            reader = LiveReader(self, self._table.numbers)
            self._readers.append(reader)
        return reader

    def leave(self, reader: LiveReader) -> None:
        """Forget a reader."""
        with self._lock:
            self._readers.remove(reader)

    def told(self, rows: set[int], *, whole: bool) -> dict[str, Any]:
        """Return the state with these entries; ``whole``: with all that does not change."""
        with self._lock:
            entries = [self._entry_json(row) for row in sorted(rows)]
            run = self._run_json()
            page: dict[str, Any] = {"timeline": self._timeline.json(), "sizes": self._timeline.sizes_json()}
            reasons = self._table.reasons_json() if whole or any("reason" in one for one in entries) else None
        report: dict[str, Any] = {"entries": entries, "seconds": time.time() - self._begun}
        if reasons is not None:
            report["reasons"] = reasons
        if whole:
            report |= {"archive": self._archive, "begun": self._begun * 1000}
        if self.end is not None:
            report |= self.end
        ended = self.end is not None
        return {"whole": whole, "ended": ended, "report": report, "page": page | {"run": run | self._status()}}

    def _entry_json(self, row: int) -> dict[str, Any]:
        told = self._table.entry_json(row)
        if row not in self._requested:
            return {**told, "state": _WAITING, "reason": ""}
        if (running := self._running.get(row)) is not None:
            told |= {"stored": running.stored, "size": running.size}
            told |= {} if running.needed is None else {"needed": running.needed}
        return told

    def _run_json(self) -> dict[str, Any]:
        now, (stored, size) = time.time(), self._totals
        self._recent.append((now, size))
        while len(self._recent) > 1 and now - self._recent[0][0] > _RATE_SECONDS:
            self._recent.popleft()
        begun, before = self._recent[0]
        return {
            "stored": stored,
            "size": size,
            "rate": (size - before) / (now - begun) if now > begun else 0.0,
            "senders": self._senders,
            "jobs": [
                {
                    "row": row,
                    "seconds": now - one.since,
                    "last": now - one.last if one.last else None,
                    "stored": one.stored,
                    "size": one.size,
                    "needed": one.needed,
                    "doing": one.doing,
                }
                for row, one in sorted(self._running.items())
            ],
        }


class LiveReader:
    """A reader of a live state; ``rows``: entries that have changed since it last asked."""

    def __init__(self, state: LiveState, rows: Iterable[int]) -> None:
        self._state = state
        self.rows = set(rows)
        self.news = threading.Event()
        self._whole = True

    def next(self, seconds: float) -> dict[str, Any]:
        """Wait for a change, up to the given seconds, and return the data to send."""
        if not self._whole:
            self.news.wait(seconds)
        self.news.clear()
        rows, self.rows = self.rows, set()
        whole, self._whole = self._whole, False
        return self._state.told(rows, whole=whole)
