"""The archive's inventory for one request: every object that matches all of its keys, by C-FIND (PS3.4 C.4.1).

``catalogue`` has the queries. ``Inventory.requests`` makes the C-MOVE identifiers for some of the objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from movescu._runtime.late_log import logger_of
from movescu.errors import InventoryError
from movescu.query.levels import UNIQUE_KEYS
from movescu.query.scope import Scope
from movescu.query.selection import too_many_studies
from movescu.retrieve.answers import MAXIMUM
from movescu.retrieve.catalogue import FIELDS, Catalogue, ListSizes, Place, identifier_for
from movescu.retrieve.config import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from movescu.query.identifier import Identifier
    from movescu.retrieve.association import ArchiveAssociation

_log: Final = logger_of("movescu.retrieve")

_PATIENT, _STUDY, _SERIES, _IMAGE = UNIQUE_KEYS.values()
_K = TypeVar("_K")
_NAMED: Final = 5  # gaps that a message names


class Inventory:
    """The objects that an archive holds for one request."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.objects: dict[str, Place] = {}
        """Places by SOP instance UID."""
        self.hollow: tuple[str, ...] = ()
        """UIDs of studies and series that the archive lists, without any object in them."""
        self.dropped = 0
        """Number of answers that contradict a key of the request."""
        self.gaps: dict[Place, str] = {}
        """Studies and series whose objects the archive did not list, or not all of them, each with the reason."""
        self.failed_for_now = False
        """Whether another attempt may close gaps: see ``Catalogue``."""
        self.vanished: dict[str, tuple[Place, int]] = {}
        """Studies and series of earlier lists that this one lacks, by UID: their places and numbers of objects."""

    def keep(self, earlier: Inventory | None) -> None:
        """Keep what an earlier list had: what was listed once and is not listed now has not been explained away."""
        for uid, place in ({} if earlier is None else earlier.objects).items():
            self.objects.setdefault(uid, place)
        for uid, (place, counted) in self.vanished.items():
            number = sum(uid in (one.study, one.series) for one in self.objects.values())
            if number < max(counted, 1):
                what = "series" if place.series else "study"
                self.gaps[place] = f"the archive no longer lists {what} {uid}, of which {number} objects are known"

    def describe_gaps(self) -> str:
        """Return the reasons of the gaps, at most five of them."""
        reasons = tuple(dict.fromkeys(self.gaps.values()))
        more = f" ... and {len(reasons) - _NAMED} more" if len(reasons) > _NAMED else ""
        return "; ".join(reasons[:_NAMED]) + more

    @property
    def unfound(self) -> tuple[str, ...]:
        """UIDs for which the archive lists nothing: of the request's unique key, and hollow studies and series."""
        level = self.scope.level
        found: AbstractSet[str] = self.objects.keys()
        if level == "PATIENT":
            found = frozenset(self.scope.unique(level)) if self.objects or self.gaps else frozenset()
        elif level != "IMAGE":
            found = {getattr(place, FIELDS[level]) for place in (*self.objects.values(), *self.gaps)}
        return tuple(dict.fromkeys((*(v for v in self.scope.unique(level) if v not in found), *self.hollow)))

    @property
    def is_exact(self) -> bool:
        """Whether the original request matches exactly these objects, as far as can be known, and names one entity.

        Not every archive accepts a list of studies or series: each is requested separately.
        """
        listed = len(self.scope.unique(self.scope.level)) > 1 and self.scope.level != "IMAGE"
        return self.scope.is_exact and not (listed or self.dropped or self.unfound)

    def requests(self, wanted: AbstractSet[str], batch: int = BATCH, *, gaps: bool = True) -> Iterator[Identifier]:
        """Yield the C-MOVE identifiers for some of the objects; ``batch``: highest number of UIDs in a list.

        For all objects: the original request, if C-MOVE allows it. Otherwise: whole studies and series of which all
        objects are wanted, and lists of SOP instance UIDs for the rest (PS3.4 C.4.2.2.1); never above the level of the
        request. With a batch smaller than the default: only lists. ``gaps``: request studies and series that the
        archive did not list completely, too, as a whole. Default: True.
        """
        whole_ones = batch >= BATCH
        if len(wanted) >= len(self.objects) and whole_ones and self.is_exact and (gaps or not self.gaps):
            yield self.scope.identifier
            return
        gapped = frozenset(self.gaps) if gaps else frozenset[Place]()
        level, model = self.scope.level, self.scope.model
        for place in gapped:
            yield self._request("SERIES" if place.series and model != "PSONLY" else "STUDY", place)
        open_ones = {uid: place for uid, place in self.objects.items() if not self._within(gapped, place)}
        whole_ones = whole_ones and level in ("PATIENT", "STUDY")
        studies = _grouped(((place.patient, place.study), uid) for uid, place in open_ones.items())
        for (patient, study), uids in studies.items():
            open_uids = [uid for uid in uids if uid in wanted]
            whole = whole_ones and len(open_uids) == len(uids) and not any(gap.study == study for gap in gapped)
            if open_uids and (whole or model == "PSONLY"):
                yield self._request("STUDY", Place(patient, study, ""))
            elif open_uids:
                yield from self._of_series(uids, wanted, batch)

    def is_divisible(self, wanted: AbstractSet[str], most: int) -> bool:
        """Return True if more than ``most`` objects are wanted of a study, in several series."""
        if self.scope.level == "IMAGE" or self.scope.model == "PSONLY" or len(wanted) <= most:
            return False
        studies = _grouped(((place.study, uid) for uid, place in self.objects.items() if uid in wanted))
        return any(
            len(uids) > most and len({self.objects[uid].series for uid in uids}) > 1 for uids in studies.values()
        )

    def parts(self, wanted: AbstractSet[str], most: int) -> Iterator[Identifier]:
        """Yield identifiers for some of the objects, by series in studies of which more than ``most`` are wanted."""
        studies = _grouped(((place.study, uid) for uid, place in self.objects.items()))
        for uids in studies.values():
            wanted_ones = {uid for uid in uids if uid in wanted}
            if len(wanted_ones) > most:
                yield from self._of_series(uids, wanted, BATCH)
            elif wanted_ones:
                yield from self.requests(wanted_ones, gaps=False)

    @staticmethod
    def _within(gapped: AbstractSet[Place], place: Place) -> bool:
        return bool(gapped) and (place in gapped or place._replace(series="") in gapped)

    def _of_series(self, uids: Iterable[str], wanted: AbstractSet[str], size: int) -> Iterator[Identifier]:
        for place, members in _grouped((self.objects[uid], uid) for uid in uids).items():
            open_uids = [uid for uid in members if uid in wanted]
            if len(open_uids) == len(members) and self.scope.level != "IMAGE" and size >= BATCH:
                yield self._request("SERIES", place)
                continue
            for start in range(0, len(open_uids), size):
                yield self._request("IMAGE", place, open_uids[start : start + size])

    def _request(self, level: str, place: Place, uids: Iterable[str] = ()) -> Identifier:
        values = {_STUDY: place.study, _SERIES: place.series, _IMAGE: "\\".join(uids)}
        patient = place.patient or next(iter(self.scope.unique("PATIENT")), "")
        if self.scope.model != "STUDY":
            values[_PATIENT] = patient
        return identifier_for(level, {tag: value for tag, value in values.items() if value}, self.scope)


def take_inventory(
    session: ArchiveAssociation,
    identifier: Identifier,
    model: str,
    *,
    sizes: ListSizes | None = None,
    counted: bool = False,
    is_here: Callable[[str, Place], bool] | None = None,
    max_studies: int = 0,
) -> Inventory:
    """Query the archive for the objects of a C-MOVE identifier.

    ``sizes``: of earlier queries for the request; what the archive states is added. Default: none. ``counted``: query
    the number of objects of each study, too, to compare. Default: False. ``is_here``: whether an object need not be
    requested; if one is here, what the list lacks would not be requested either, so numbers of objects are queried as
    well. Default: none is. ``max_studies``: highest number of studies that the keys may match. Default: 0, no limit.

    Raise ``InventoryError`` if the archive cannot tell what matches the request, ``PeerError`` if the association ends.
    """
    inventory = Inventory(Scope(identifier, model))
    sizes = ListSizes() if sizes is None else sizes
    catalogue = Catalogue(session, inventory.scope, inventory.gaps, sizes, counted=counted, max_studies=max_studies)
    for uid, place in catalogue.objects():
        if inventory.objects.setdefault(uid, place) != place:
            inventory.gaps[place] = f"SOP instance {uid} is listed in two series"
        if len(inventory.objects) > MAXIMUM:
            raise InventoryError(f"the archive lists more than {MAXIMUM} objects for one request")
    if max_studies and len(studies := {place.study for place in inventory.objects.values()}) > max_studies:
        raise too_many_studies(len(studies), max_studies)  # series and objects whose study the keys do not name
    if is_here is not None and any(is_here(uid, place) for uid, place in inventory.objects.items()):
        catalogue.count(inventory.objects)
    gone = ((uid, place) for uid, place in sizes.places.items() if uid not in catalogue.listed)
    inventory.vanished = {uid: (place, sizes.counts.get(uid, 0)) for uid, place in gone}
    inventory.failed_for_now = catalogue.failed_for_now
    inventory.dropped, inventory.hollow = catalogue.dropped, tuple(catalogue.hollow)
    _log.info(
        "the archive lists %d object%s for the request",
        len(inventory.objects),
        "" if len(inventory.objects) == 1 else "s",
    )
    return inventory


def _grouped(pairs: Iterable[tuple[_K, str]]) -> dict[_K, list[str]]:
    groups: dict[_K, list[str]] = {}
    for key, uid in pairs:
        groups.setdefault(key, []).append(uid)
    return groups
