"""Notification of entry states: each entry has one end, which may be corrected once."""

from __future__ import annotations

from dataclasses import replace as changed
from typing import TYPE_CHECKING

from movescu.cohort.entries import entry_event
from movescu.events import EntryState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from movescu.events import EntryEvent
    from movescu.query.request_list import Row
    from movescu.retrieve.observer import Observer


class EntryEnds:
    """The entries of a list until their ends. ``observer``: notified of each state. None: nobody is.

    ``keeps``: keep the ends of entries that are not complete, too. Default: False.
    """

    def __init__(self, observer: Observer | None, *, keeps: bool = False) -> None:
        self._observer = observer
        self._keeps = keeps
        self._incomplete: dict[int, tuple[Row, EntryEvent]] = {}
        self._open: dict[int, Row] = {}
        self._good: dict[int, tuple[Row, EntryEvent]] = {}
        self.repeated: dict[int, list[Row]] = {}
        """Entries equal to a requested one, by the number of the requested one."""

    def expect(self, rows: Iterable[Row]) -> None:
        """Add entries."""
        self._open.update((row.number, row) for row in rows)

    @property
    def open(self) -> tuple[Row, ...]:
        """The entries without an end."""
        return tuple(self._open.values())

    @property
    def complete(self) -> tuple[Row, ...]:
        """The entries that have ended complete."""
        return tuple(row for row, _ in self._good.values())

    def tell(self, event: EntryEvent) -> None:
        """Notify the observers of a state."""
        assert event.row is not None
        if event.row not in self._open:
            return
        if event.state.is_end:
            row = self._open.pop(event.row)
            if event.state in (EntryState.COMPLETE, EntryState.COMPLETE_BEFORE) and event.same_as is None:
                self._good[event.row] = row, event
            elif self._keeps and event.same_as is None:
                self._incomplete[event.row] = row, changed(event, missing_sop_instance_uids=())
        if self._observer is not None:
            self._observer.entry(event)

    def tell_delivered(self, number: int) -> None:
        """Notify the observers that all objects of an entry are here, and wait to be flushed."""
        if self._observer is not None:
            self._observer.delivered(number)

    def tell_end(self, end: EntryEvent) -> None:
        """Notify the observers of the end of an entry, and of its repetitions, which have no numbers of their own."""
        assert end.row is not None
        self.tell(end)
        none = changed(end, stored=0, already_there=0, missing=0, failed=0, size=0, missing_sop_instance_uids=())
        for repeated in self.repeated.get(end.row, ()):
            own = changed(none, row=repeated.number, keys=repeated.keys, columns=repeated.columns)
            self.tell(changed(own, seconds=0.0, attempts=0, same_as=end.row))

    def reopen(self, number: int) -> tuple[Row, EntryEvent] | None:
        """Withdraw the end of a complete entry and return both; None if it is not complete."""
        found = self._good.pop(number, None)
        if found is not None:
            self.expect((found[0], *self.repeated.get(number, ())))
        return found

    def reopen_incomplete(self, number: int) -> tuple[Row, EntryEvent] | None:
        """Withdraw the end of an incomplete entry and return both; None for any other entry."""
        found = self._incomplete.pop(number, None)
        if found is not None:
            self.expect((found[0], *self.repeated.get(number, ())))
            self.tell(entry_event(found[0], EntryState.POSTPONED))
        return found
