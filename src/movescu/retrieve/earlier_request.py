"""What an earlier retrieve learned of a request, for another one that continues it, perhaps elsewhere.

An entry of a list that the archive refused, or that lost its association, is requested again. What was listed once
stays wanted then, and what the archive stated stands until a list accounts for it (``request_state``). All of it is in
one record of limited size: of a request for more objects than ``MOST``, those that are missing are named first, and a
list that is shorter than the earlier one counts as incomplete.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from movescu._runtime.record import Record, replace
from movescu.query.scope import Scope
from movescu.retrieve.catalogue import ListSizes, Place
from movescu.retrieve.evidence import joined
from movescu.retrieve.inventory import Inventory
from movescu.retrieve.request_state import Statement
from movescu.retrieve.tally import NotStored

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from movescu.query.identifier import Identifier
    from movescu.retrieve.request_state import RequestState

MOST: Final = 1000
"""Highest number of objects that a record names, of each kind."""
_STATEMENTS: Final = 8
_LONGEST: Final = 500
"""Characters of a message."""


class SeriesObjects(Record):
    """Objects of a series: SOP instance UIDs. Patient, study and series are empty if unknown."""

    patient: str
    study: str
    series: str
    uids: tuple[str, ...]

    @property
    def place(self) -> Place:
        """Patient, study and series."""
        return Place(self.patient, self.study, self.series)


class EarlierRequest(Record):
    """What is known of a request. ``listed``: number of objects in the archive's list.

    ``missing``: listed and not stored. ``here``: listed and stored. ``sizes``: numbers of objects that the archive
    stated, by UID of study or series; ``cap``: see ``ListSizes``. ``failed_uids``: SOP instance UIDs that the archive
    reported as failed. ``failures``: objects that we did not store, with status and error.
    """

    identifier: Identifier
    listed: int
    missing: tuple[SeriesObjects, ...]
    here: tuple[SeriesObjects, ...]
    sizes: tuple[tuple[str, int], ...] = ()
    cap: int = 0
    statements: tuple[Statement, ...] = ()
    failed_uids: tuple[str, ...] = ()
    failures: tuple[tuple[str, int, str], ...] = ()
    broken_off: tuple[str, ...] = ()

    def continue_as(self, state: RequestState, model: str) -> None:
        """Have the state of a new retrieve continue from here."""
        inventory = Inventory(Scope(self.identifier, model))
        inventory.objects.update((uid, one.place) for one in (*self.missing, *self.here) for uid in one.uids)
        state.inventory, state.sizes = inventory, ListSizes()
        state.sizes.counts.update(self.sizes)
        state.sizes.cap = self.cap
        state.listed_before = self.listed
        state.missing = {uid for one in self.missing for uid in one.uids}
        state.needed = set(state.missing)
        state.failed_uids.update(self.failed_uids)
        state.statements += self.statements
        state.tally.failures.update((uid, NotStored(status, error)) for uid, status, error in self.failures)
        state.tally.failed += len(self.failures)
        state.tally.broken_off.update(self.broken_off)


def earlier_of(state: RequestState, most: int = MOST) -> EarlierRequest | None:
    """Return what is known of a request, None if the archive has listed nothing for it; ``most``: objects to name."""
    inventory = state.inventory
    if inventory is None or not (inventory.objects or inventory.gaps):
        return None
    missing = dict(islice(((uid, inventory.objects[uid]) for uid in sorted(state.missing)), most))
    rest = ((uid, place) for uid, place in inventory.objects.items() if uid not in state.missing)
    sizes = state.sizes or ListSizes()
    last = state.last_statement
    standing = (*state.statements, *(() if last is None or state.is_accounted_for else (last,)))
    return EarlierRequest(
        inventory.scope.identifier,
        max(len(inventory.objects), state.listed_before),
        tuple(series_of(missing)),
        tuple(series_of(dict(islice(rest, most - len(missing))))),
        sizes=tuple(islice(sizes.counts.items(), MOST)),
        cap=sizes.cap,
        statements=_merged(tuple(map(_bounded, standing))),
        failed_uids=tuple(sorted(state.failed_uids)[:MOST]),
        failures=tuple(
            (uid, one.status, one.error[:_LONGEST]) for uid, one in islice(state.tally.failures.items(), MOST)
        ),
        broken_off=tuple(sorted(state.tally.broken_off)[:MOST]),
    )


def series_of(places: Mapping[str, Place]) -> Iterator[SeriesObjects]:
    """Yield objects by their series; ``places``: by SOP instance UID."""
    groups: dict[Place, list[str]] = {}
    for uid, place in places.items():
        groups.setdefault(place, []).append(uid)
    for place, uids in groups.items():
        yield SeriesObjects(*place, tuple(uids))


def _bounded(one: Statement) -> Statement:
    named = one.named if len(one.named) <= MOST else frozenset(sorted(one.named)[:MOST])
    evidence = replace(one.evidence, statuses=tuple(dict.fromkeys(one.evidence.statuses)))
    return Statement(evidence, one.counted, one.requested, one.listed, named)


def _merged(statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """Return few statements instead of many: a list that accounts for the first accounts for all that it replaces."""
    if len(statements) <= _STATEMENTS:
        return statements
    many, few = statements[: 1 - _STATEMENTS], statements[1 - _STATEMENTS :]
    first = Statement(
        joined(one.evidence for one in many),
        max(one.counted for one in many),
        min(one.requested for one in many),
        max(one.listed for one in many),
        frozenset(_first(uid for one in many for uid in one.named)),
    )
    return _bounded(first), *few


def _first(uids: Iterable[str]) -> list[str]:
    return sorted(set(uids))[:MOST]
