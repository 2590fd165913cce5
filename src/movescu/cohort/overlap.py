"""Entries of a list that request the same objects: each object is moved once.

Equal entries are one request. Other entries may overlap: a study and one of its series, or two entries of one accession
number with different further keys, whose objects are known only once the archive has been queried. Such entries form a
chain: they are requested one after the other, the highest level first, and each requests only what those before it did
not store. The unique keys of the entries (PS3.4 C.6), and Accession Number in place of a study's, show what may
overlap: two entries do if they name the same entity, or if one names an entity above the other's that is requested too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu.query.scope import LEVELS, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from movescu.query.request_list import Row

    Entity = tuple[str, str]

_ACCESSION_NUMBER: Final = 0x00080050


def distinct(rows: Iterable[Row]) -> tuple[list[Row], dict[int, list[Row]]]:
    """Return the entries without repetitions, and the repetitions of an entry by its number."""
    first: dict[str, Row] = {}
    repeated: dict[int, list[Row]] = {}
    for row in rows:
        earlier = first.setdefault(row.key(""), row)
        if earlier is not row:
            repeated.setdefault(earlier.number, []).append(row)
    return list(first.values()), repeated


def chains(rows: Iterable[Row]) -> list[list[Row]]:
    """Return chains of entries that may overlap, in the order of the list; most have a single entry."""
    scopes = [(row, Scope(row.identifier, row.model)) for row in rows]
    entities = [list(_entities(scope)) for _, scope in scopes]
    owned = {entity for groups in entities for entity in next(iter(groups), ())}
    groups = _Groups()
    for number, above in enumerate(entities):
        for entity in {*next(iter(above), ()), *(one for group in above[1:] for one in group if one in owned)}:
            groups.join(number, entity)
    made: dict[int, list[tuple[Row, Scope]]] = {}
    for number, one in enumerate(scopes):
        made.setdefault(groups.first(number), []).append(one)
    return [[row for row, _ in sorted(chain, key=_rank)] for chain in made.values()]


def _rank(one: tuple[Row, Scope]) -> int:
    return LEVELS.index(one[1].level)


def _entities(scope: Scope) -> Iterator[list[Entity]]:
    """Yield the entities that a request names, level by level from its own upwards."""
    for level in reversed(LEVELS):  # below its own it has no keys
        named = [(level, value) for value in scope.unique(level)]
        key = scope.filters(level, patient_root=True).get(_ACCESSION_NUMBER)
        if not named and key is not None:
            named = [("accession", key.value.decode("latin-1").strip("\0 "))]
        if named:
            yield named


class _Groups:
    """Numbers joined by what they have in common: disjoint sets."""

    def __init__(self) -> None:
        self._parents: dict[int, int] = {}
        self._by_entity: dict[Entity, int] = {}

    def first(self, number: int) -> int:
        """Return the lowest number of a group."""
        path = []
        while (parent := self._parents.get(number, number)) != number:
            path.append(number)
            number = parent
        self._parents.update(dict.fromkeys(path, number))
        return number

    def join(self, number: int, entity: Entity) -> None:
        """Put a number into the group of an entity."""
        one, other = self.first(number), self.first(self._by_entity.setdefault(entity, number))
        self._parents[max(one, other)] = min(one, other)
