"""What is known of an entry that is requested again: the archive's list and statements stay, and so do its objects."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace as changed
from typing import TYPE_CHECKING

from movescu._runtime.record import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from movescu.events import EntryEvent
    from movescu.retrieve.request_state import RequestState
    from movescu.retrieve.result import Result


@dataclass(slots=True)
class Postponed:
    """An entry over all of its requests.

    ``losses``: associations that it lost. ``result``, ``states``: of the last request that had an association.
    ``stored``: objects of all of them. ``end``: how the last request ended; None before that.
    """

    losses: int = 0
    result: Result | None = None
    states: Sequence[RequestState] = ()
    stored: int = 0
    end: EntryEvent | None = None

    def continued(self, result: Result | None) -> Result | None:
        """Return the result of another request, in view of those before."""
        if result is None or self.result is None or result.responses:
            return result
        # Nothing was requested since. What the archive said stands, unless a list made afterwards accounts for it.
        listed = any(state.inventory is not None for state in self.states)
        return replace(result, responses=self.result.responses) if listed else self.result

    def whole_end(self, end: EntryEvent, refusals: int) -> EntryEvent:
        """Return the end of another request as that of the entry; ``refusals``: requests that the archive refused."""
        stored = min(self.stored, end.already_there)  # by this run, before a postponement
        return changed(
            end,
            stored=end.stored + stored,
            already_there=end.already_there - stored,
            attempts=end.attempts + refusals,
        )

    def keep(self, result: Result | None, states: Sequence[RequestState], end: EntryEvent) -> None:
        """Keep what a request brought, before another one."""
        self.end = end
        if result is not None:
            self.result, self.states = result, states
            self.stored += result.stored
