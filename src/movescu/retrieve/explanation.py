"""Why a retrieve delivered nothing: whether the archive has the requested entity, by C-FIND (PS3.4 C.4.1).

Queried over the association of the retrieve, if that is still open and has a context for C-FIND, for a few seconds at
most: an archive that has failed may not answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu._runtime.record import Record
from movescu.errors import InventoryError, PeerError
from movescu.query.levels import MODELS, UNIQUE_KEYS
from movescu.query.scope import LEVELS, Scope
from movescu.retrieve.search import Search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from movescu.query.identifier import Identifier
    from movescu.retrieve.association import ArchiveAssociation
    from movescu.retrieve.client import ArchiveClient

_log: Final = logger_of("movescu.retrieve")

_SECONDS: Final = 3.0
"""Upper limit of the queries."""


class Finding(Record):
    """Whether an archive has an entity. ``objects``: how many it has of it. Default: None, unknown."""

    level: str
    uid: str
    there: bool
    objects: int | None = None


def ask(client: ArchiveClient, identifiers: Sequence[Identifier]) -> Finding | None:
    """Query the entities that requests name, the first of each, and return the finding of the first that is there.

    If none is, that of the first request; None if the archive cannot be queried about that.
    """
    first: Finding | None = None
    until = clock.now() + _SECONDS
    for number, identifier in enumerate(dict.fromkeys(identifiers)):
        found = _ask(client, identifier, until)
        if found is not None and found.there:
            return found
        first = found if number == 0 else first
    return first


def _ask(client: ArchiveClient, identifier: Identifier, until: float) -> Finding | None:
    scope = Scope(identifier, client.config.request.model)
    if scope.level not in LEVELS or not scope.is_exact or clock.now() >= until:
        return None
    association = client.take(client.config, until, None)
    try:
        return _asked(association, identifier, scope) if association.is_open else None
    except PeerError as error:
        _log.debug("cannot query the archive: %s", error)
        return None
    finally:
        client.give_back(association, client.config)


def _asked(association: ArchiveAssociation, identifier: Identifier, scope: Scope) -> Finding | None:
    search = Search(association, identifier)
    uid = scope.unique(scope.level)[0]
    found = [match for match in search.matches() if match.uid == uid]
    if not found:
        return Finding(scope.level, uid, there=False) if _is_certain(search, scope) else None
    objects = found[0].objects
    if objects is None:
        try:
            objects = search.counted(found[0]).objects
        except InventoryError:
            objects = None
    return Finding(scope.level, uid, there=True, objects=objects)


def _is_certain(search: Search, scope: Scope) -> bool:
    """Return True if every archive can answer the query: it has the unique keys of all levels above."""
    levels = MODELS["PATIENT" if search.patient_root else "STUDY"]
    return all(scope.unique(name) for name in levels[: levels.index(scope.level)] if UNIQUE_KEYS[name])
