"""The studies and series of a request that were proven complete: by the archive's list, all of it stored and flushed.

A request proves whole studies only if its level is PATIENT or STUDY, and whole series unless its level is IMAGE: its
list has nothing of what is beside them in the archive.
"""

from __future__ import annotations

from movescu._runtime.record import Record
from movescu.query.levels import LEVEL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Final

    from movescu.query.identifier import Identifier
    from movescu.retrieve.catalogue import Place
    from movescu.retrieve.request_state import RequestState

PROVES: Final = {"STUDY": ("PATIENT", "STUDY"), "SERIES": ("PATIENT", "STUDY", "SERIES")}
"""Level of a part -> levels of the requests that prove it whole."""


class Part(Record):
    """A study or series of a request. ``level``: STUDY or SERIES."""

    level: str
    place: Place
    """The series of a study is empty."""
    sop_instance_uids: tuple[str, ...]
    series: tuple[tuple[str, int], ...]
    """UID and number of objects of each series."""

    @property
    def uid(self) -> str:
        """Its Study or Series Instance UID."""
        return self.place.study if self.level == "STUDY" else self.place.series


def level_of_request(identifier: Identifier) -> str:
    """Return the Query/Retrieve Level, empty if there is none."""
    return identifier.text(LEVEL)


def is_complete(state: RequestState) -> bool:
    """Return True if there is no evidence of failure for a request; without an inventory, that proves nothing."""
    from movescu.retrieve.judgement import judge  # late: needed after the final response

    return not judge(state.evidence).reasons


class ListedRequest(Record):
    """A request that has ended. ``objects``: places by SOP instance UID, as listed; None without a list."""

    identifier: Identifier
    complete: bool
    objects: Mapping[str, Place] | None


def listed_requests(states: Iterable[RequestState], identifier: Identifier) -> Iterator[ListedRequest]:
    """Yield the requests of a retrieve; ``identifier``: of those without a list."""
    for state in states:
        inventory = state.inventory
        if inventory is None:
            yield ListedRequest(identifier, is_complete(state), None)
        else:
            yield ListedRequest(inventory.scope.identifier, is_complete(state), inventory.objects)


def parts_of(request: ListedRequest, level: str) -> Iterator[Part]:
    """Yield the studies or series of a request, in the archive's order; none without a list."""
    from movescu.retrieve.catalogue import Place  # late: needed with an inventory alone

    if request.objects is None or level_of_request(request.identifier) not in PROVES[level]:
        return
    groups: dict[Place, list[str]] = {}
    for uid, place in request.objects.items():
        key = place if level == "SERIES" else Place(place.patient, place.study, "")
        groups.setdefault(key, []).append(uid)
    for place, uids in groups.items():
        counts: dict[str, int] = {}
        for uid in uids:
            series = request.objects[uid].series
            counts[series] = counts.get(series, 0) + 1
        yield Part(level, place, tuple(uids), tuple(counts.items()))
