"""What an earlier retrieve learned about a request, for another retrieve that continues it, perhaps elsewhere.

An entry of a list that the archive refused, or that lost its association, is requested again. What was listed once
stays wanted then, and what the archive stated stands until a list accounts for it (``request_state``). All of it is in
one record, which names all objects that are missing. Of a request for more objects than ``MOST``, not all of those that
are here are named, and a list that is shorter than the earlier one counts as incomplete. Of failed objects, those that
are in no list are named first: nothing else is known of them. A statement that names more of these than ``MOST`` is
never accounted for.
"""

from __future__ import annotations

import sys
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Final

from movescu._runtime.record import Record, replace
from movescu.query.levels import LEVEL, UNIQUE_KEYS
from movescu.query.scope import Scope
from movescu.retrieve.catalogue import ListSizes, Place
from movescu.retrieve.evidence import joined
from movescu.retrieve.inventory import Inventory
from movescu.retrieve.request_state import Statement
from movescu.retrieve.tally import NotStored

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Iterator, Mapping

    from movescu.query.identifier import Identifier
    from movescu.retrieve.request_state import RequestState

MOST: Final = 1000
"""Highest number of objects that a record names, of each kind but those that are missing."""
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
    stated, by UID of study or series; ``cap``: see ``ListSizes``; ``places``: patient, study and series of those that
    were listed. ``failed_uids``: SOP instance UIDs that the archive reported as failed. ``failures``: objects that we
    did not store, with status and error; ``failed``: number of these, and of further ones that are in no list.
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
    places: tuple[tuple[str, str, str], ...] = ()
    failed: int = 0

    def continue_as(self, state: RequestState, model: str) -> None:
        """Have the state of a new retrieve continue from here."""
        inventory = Inventory(Scope(self.identifier, model))
        inventory.objects.update((uid, one.place) for one in (*self.missing, *self.here) for uid in one.uids)
        state.inventory, state.sizes = inventory if inventory.objects else None, ListSizes()
        state.sizes.counts.update(self.sizes)
        state.sizes.places.update((place.series or place.study, place) for place in map(Place._make, self.places))
        state.sizes.cap = self.cap
        state.listed_before = self.listed
        state.missing = {uid for one in self.missing for uid in one.uids}
        state.needed = set(state.missing)
        state.failed_uids.update(self.failed_uids)
        state.statements += self.statements
        state.tally.failures.update((uid, NotStored(status, error)) for uid, status, error in self.failures)
        state.tally.failed += max(self.failed, len(self.failures))
        state.tally.broken_off.update(self.broken_off)

    def with_counts(self, counts: Mapping[str, int]) -> EarlierRequest:
        """Return this with numbers of objects that the archive stated for its own studies or series, by UID."""
        sizes = dict(self.sizes)
        for uid in self.identifier.text(UNIQUE_KEYS[self.identifier.text(LEVEL)]).split("\\"):
            if counts.get(uid, 0) > sizes.get(uid, 0):
                sizes[uid] = counts[uid]
        return replace(self, sizes=tuple(sizes.items()))

    def with_parts(self, parts: Iterable[EarlierRequest]) -> EarlierRequest:
        """Return this with what requests for parts of it learned: missing objects, and stated sizes of its series."""
        counts, cap = dict(self.sizes), self.cap
        missing = self.missing
        own = {uid for place in self.places for uid in place[1:] if uid}
        for part in parts:
            cap = max(cap, part.cap)
            missing += tuple(one for one in part.missing if one.study in own or one.series in own)
            for uid, number in part.sizes:
                if uid in own:
                    counts[uid] = max(counts.get(uid, 0), number)
        return replace(self, sizes=tuple(counts.items()), cap=cap, missing=missing)


def earlier_of(state: RequestState, most: int = MOST) -> EarlierRequest | None:
    """Return what is known of a request, None if that is nothing; ``most``: objects to name, beside missing ones."""
    inventory, sizes, last = state.inventory, state.sizes or ListSizes(), state.last_statement
    identifier = state.identifier if inventory is None else inventory.scope.identifier
    listed: Mapping[str, Place] = {} if inventory is None else inventory.objects
    gaps = inventory is not None and bool(inventory.gaps)
    standing = (*state.statements, *(() if last is None or state.is_accounted_for else (last,)))
    known = listed or gaps or standing or sizes.places or sizes.counts or state.listed_before or state.tally.failed
    if identifier is None or not (known or state.tally.broken_off):
        return None
    missing = {uid: listed[uid] for uid in sorted(state.missing)}
    rest = ((uid, place) for uid, place in listed.items() if uid not in state.missing)
    numbers = Counter(uid for place in listed.values() for uid in (place.study, place.series))
    short = sorted(sizes.counts.items(), key=lambda one: numbers[one[0]] >= one[1])
    return EarlierRequest(
        identifier,
        max(len(listed), state.listed_before),
        tuple(series_of(missing)),
        tuple(series_of(dict(islice(rest, max(most - len(missing), 0))))),
        sizes=tuple(short[:MOST]),
        cap=sizes.cap,
        statements=_merged(tuple(_bounded(one, listed) for one in standing), listed),
        failed_uids=_first(state.failed_uids, listed),
        failures=tuple(
            (uid, one.status, one.error[:_LONGEST]) for uid, one in islice(state.tally.failures.items(), MOST)
        ),
        broken_off=_first(state.tally.broken_off, listed),
        places=tuple((*sizes.places[uid],) for uid in _first(sizes.places, numbers)),
        failed=state.tally.failed - sum(uid in listed for uid in state.tally.further_failures),
    )


def series_of(places: Mapping[str, Place]) -> Iterator[SeriesObjects]:
    """Yield objects by their series; ``places``: by SOP instance UID."""
    groups: dict[Place, list[str]] = {}
    for uid, place in places.items():
        groups.setdefault(place, []).append(uid)
    for place, uids in groups.items():
        yield SeriesObjects(*place, tuple(uids))


def _bounded(one: Statement, listed: Container[str]) -> Statement:
    named = frozenset(_first(one.named, listed))
    forgotten = any(uid not in listed for uid in one.named - named)
    evidence = replace(one.evidence, statuses=tuple(dict.fromkeys(one.evidence.statuses)))
    return Statement(evidence, sys.maxsize if forgotten else one.counted, one.requested, one.listed, named)


def _merged(statements: tuple[Statement, ...], listed: Container[str]) -> tuple[Statement, ...]:
    """Return few statements instead of many: a list that accounts for the first accounts for all that it replaces."""
    if len(statements) <= _STATEMENTS:
        return statements
    many, few = statements[: 1 - _STATEMENTS], statements[1 - _STATEMENTS :]
    first = Statement(
        joined(one.evidence for one in many),
        max(one.counted for one in many),
        min(one.requested for one in many),
        max(one.listed for one in many),
        frozenset(uid for one in many for uid in one.named),
    )
    return _bounded(first, listed), *few


def _first(uids: Collection[str], known: Container[str]) -> tuple[str, ...]:
    """Return ``MOST`` UIDs; the known ones are left out first."""
    return tuple(sorted(uids, key=lambda uid: (uid in known, uid))[:MOST])
