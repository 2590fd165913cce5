"""The end of an entry as the journal has it: the verdict of one run, which the others of its cohort take over."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu.events import EntryEvent, EntryState
from movescu.retrieve.causes import INTERRUPTED, NOT_STARTED

if TYPE_CHECKING:
    from typing import Any

    from movescu.cohort.owner import Owner
    from movescu.query.request_list import Row
    from movescu.storage.ledger import StoredFile
    from movescu.storage.target import Target

COMPLETE: Final = "complete"
DONE: Final = (EntryState.COMPLETE.value, EntryState.COMPLETE_BEFORE.value)
WHY: Final = ("reason", "words", "fault", "passing", "advice", "status", "detail")
"""Properties of an ``EntryEvent`` that a journal has as JSON."""
_NO_VERDICTS: Final = (INTERRUPTED.code, NOT_STARTED.code)


class CompleteEntry(NamedTuple):
    """A complete entry. ``studies``: Study Instance UIDs, if known. ``ended``: seconds since 1970."""

    files: list[StoredFile]
    studies: tuple[str, ...]
    ended: float

    def is_kept(self, target: Target) -> bool:
        """Return True if its files are still whole and, where they were replaced since, of its studies."""
        return bool(self.files) and all(
            any(target.whole(one.uid, (study, "")) for study in self._studies_of(one, target)) for one in self.files
        )

    def _studies_of(self, one: StoredFile, target: Target) -> tuple[str, ...]:
        """Return the studies of which a file has to be, empty for any: it is the one that was recorded."""
        return ("",) if target.is_as_recorded(one, self.ended) or not self.studies else self.studies


class Held(NamedTuple):
    """An entry is held by another run. ``owner``: None if it is just claiming it. ``since``: seconds since 1970."""

    owner: Owner | None
    since: float


@dataclass(frozen=True, slots=True)
class EntryVerdict:
    """The end of an entry, reached by another run of the cohort.

    ``objects``: number of its objects. ``reasons``: names of ``judgement.Reason``, empty without an association.
    """

    state: EntryState
    owner: Owner
    objects: int
    why: dict[str, Any]
    reasons: tuple[str, ...]

    @property
    def outcome(self) -> str:
        """The word for programs."""
        return COMPLETE if self.state.value in DONE else self.state.value

    def event(self, row: Row) -> EntryEvent:
        """Return the end of an entry of our own list."""
        done = self.state.value in DONE
        return EntryEvent(
            row=row.number,
            state=EntryState.COMPLETE_BEFORE if done else self.state,
            keys=row.keys,
            columns=row.columns,
            already_there=self.objects if done or self.state is EntryState.PARTIAL else 0,
            **self.why,
        )


def told_of(why: str) -> dict[str, Any]:
    """Return the properties in a journal's JSON; none if it is not as we write it."""
    try:
        told = json.loads(why) if why else {}
    except ValueError:
        return {}
    return {name: told[name] for name in (*WHY, "reasons", "verifies") if isinstance(told, dict) and name in told}


def verdict_of(state: str, owner: Owner, objects: int, why: str) -> EntryVerdict | None:
    """Return the verdict on an entry that another run ended, None if it was interrupted or is not known here."""
    told = told_of(why)
    told.pop("verifies", None)
    reasons = tuple(told.pop("reasons", ()))
    if state not in {one.value for one in EntryState if one.is_end} or told.get("reason") in _NO_VERDICTS:
        return None
    return EntryVerdict(EntryState(state), owner, objects, told, reasons)
