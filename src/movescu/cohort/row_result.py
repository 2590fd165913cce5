"""The result of an entry, for whoever combines the results of a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from movescu.cohort.entry_verdict import EntryVerdict
    from movescu.query.request_list import Row
    from movescu.retrieve.result import Result


@dataclass(frozen=True, slots=True)
class RowResult:
    """Result of an entry; ``result`` is None without an association, for the reason in ``error``.

    ``same_as``: number of the equal entry that was requested instead. ``verdict``: of another run that requested it.
    """

    row: Row
    outcome: str
    result: Result | None = None
    error: str = ""
    same_as: int | None = None
    verdict: EntryVerdict | None = None
