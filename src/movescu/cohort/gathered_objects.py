"""The objects of an entry, gathered from the reports of its job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from movescu._runtime.record import replace
from movescu.cohort.job import ObjectsReport
from movescu.query.levels import UNIQUE_KEYS
from movescu.retrieve.parts import ListedRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from movescu.cohort.job import PartsReport
    from movescu.query.identifier import Identifier
    from movescu.retrieve.catalogue import Place
    from movescu.retrieve.result import Result


class Gathered:
    """Objects and parts from the reports on a job so far."""

    def __init__(self) -> None:
        self._requests: dict[Identifier, tuple[bool, bool, dict[str, Place]]] = {}
        self._missing: dict[str, Place] = {}
        self.parts: list[Identifier] = []
        """Series of an entry that is to be split."""

    def take(self, report: ObjectsReport | PartsReport) -> None:
        """Add a report."""
        if not isinstance(report, ObjectsReport):
            self.parts += report.parts
            return
        first = (report.listed, report.complete, dict[str, "Place"]())
        places = self._requests.setdefault(report.identifier, first)[2]
        places.update((uid, one.place) for one in report.here for uid in one.uids)
        self._missing.update((uid, one.place) for one in report.missing for uid in one.uids)

    @property
    def here(self) -> set[str]:
        """SOP instance UIDs of the stored objects."""
        return {uid for _, _, places in self._requests.values() for uid in places}

    def of_part(self, part: Identifier) -> Iterator[str]:
        """Yield the SOP instance UIDs of the study or series that a part of an entry names, stored or not."""
        study, series = (part.text(UNIQUE_KEYS[level]) for level in ("STUDY", "SERIES"))
        for places in (*(places for _, _, places in self._requests.values()), self._missing):
            for uid, place in places.items():
                if series in ("", place.series) and study in ("", place.study):
                    yield uid

    def completed(self, result: Result | None) -> Result | None:
        """Return the verdict's result with the missing objects added."""
        return None if result is None else replace(result, missing_uids=tuple(sorted(self._missing)))

    def requests(self) -> Iterator[ListedRequest]:
        """Yield the requests with their objects."""
        for identifier, (listed, complete, places) in self._requests.items():
            yield ListedRequest(identifier, complete, places if listed else None)
