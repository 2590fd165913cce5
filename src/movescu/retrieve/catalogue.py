"""The queries of an inventory, level by level (PS3.4 C.4.1.2.1, C.4.1.3.1).

The queries are hierarchical: with the unique keys of the levels above, as archives without relational queries require.
Down to the request's level, C-FIND carries the keys of each level (``query.scope``), and each answer is compared with
them (``answers``). A level whose entities the request names by unique keys alone is skipped: a study costs one query
for its series and one for the objects of each. A key that the archive ignores is decided one level lower where that
works (``_LOWER``). Study Root is preferred whatever the model of the C-MOVE, as a study then needs no patient.

A query that fails below the request's level leaves a gap: the objects of that study or series are unknown, those of
others are not. So does a number of objects that the archive states and does not list, and a number of answers that
equals the highest that the archive gave before it cut an answer short.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from movescu._runtime.late_log import logger_of
from movescu.dictionary.uids import STUDY_ROOT_FIND
from movescu.dimse.status import StatusClass
from movescu.errors import FindNotOfferedError, IgnoredKeyError, InventoryError
from movescu.query.identifier import Identifier
from movescu.query.key import Key
from movescu.query.levels import LEVEL, UNIQUE_KEYS
from movescu.query.matching import number_of
from movescu.query.scope import LEVELS, Scope, is_usable
from movescu.query.selection import too_many_studies
from movescu.retrieve.answers import COUNTS, LASTING, Answers, Responses, names
from movescu.retrieve.config import BATCH, MODELS
from movescu.retrieve.patients import check_patient

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from movescu.retrieve.association import ArchiveAssociation

_log: Final = logger_of("movescu.retrieve")

_PATIENT, _STUDY, _SERIES, _IMAGE = UNIQUE_KEYS.values()
_MODALITIES_IN_STUDY: Final = 0x00080061
_MODALITY: Final = 0x00080060
_LOWER: Final = {("STUDY", _MODALITIES_IN_STUDY): ("SERIES", _MODALITY)}
"""Where a key that an archive ignores is decided instead: level and attribute."""
_T = TypeVar("_T")


class Place(NamedTuple):
    """Patient, study and series of an object; ``patient`` is empty where no request needs it."""

    patient: str
    study: str
    series: str


FIELDS: Final = {"PATIENT": "patient", "STUDY": "study", "SERIES": "series"}
"""Field of ``Place`` for the unique key of each level."""


class ListSizes:
    """What an archive stated about the size of its lists, over all queries for a request."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        """Highest number of objects stated, by UID of study or series."""
        self.cap = 0
        """Highest number of answers that the archive gave to a query before it broke off, 0 if unknown."""
        self.places: dict[str, Place] = {}
        """Studies and series that were listed, by UID."""

    def note(self, uid: str, number: int) -> None:
        """Record a number of objects."""
        self.counts[uid] = max(self.counts.get(uid, 0), number)


class Catalogue:
    """The queries of an inventory, level by level. ``sizes``: of earlier queries for the same request, too."""

    def __init__(
        self,
        session: ArchiveAssociation,
        scope: Scope,
        gaps: dict[Place, str],
        sizes: ListSizes,
        *,
        counted: bool,
        max_studies: int,
    ) -> None:
        self._session = session
        self._max_studies = max_studies
        self._scope = scope
        self._gaps = gaps
        self._counted = counted
        self._sizes = sizes
        self._stated: set[str] = set()  # studies and series whose number of objects was stated in these queries
        own = MODELS[scope.model][0]
        classes = [uid for uid in (STUDY_ROOT_FIND, own) if session.context(uid) is not None]
        if not classes:
            raise FindNotOfferedError("the archive cannot be queried: the archive does not offer C-FIND")
        if scope.level not in LEVELS:
            raise InventoryError("the archive cannot be queried: the request has no QueryRetrieveLevel")
        self._class = classes[0]
        self._patient_root = self._class != STUDY_ROOT_FIND
        self._levels = LEVELS[0 if self._patient_root else 1 :]
        self.hollow: list[str] = []
        """UIDs of studies and series without any object."""
        self.dropped = 0
        """Number of answers that contradict a key of the request."""
        self.listed: set[str] = set()
        """UIDs of the studies and series."""
        self.failed_for_now = False
        """Whether a query failed with a status that another attempt may change, and not at the archive's limit."""

    def objects(self) -> Iterator[tuple[str, Place]]:
        """Yield every object and its place."""
        places = [Place("", "", "")]
        for level in self._levels[:-1]:
            if not self._is_passed_over(level):
                places = [below for place in places for below in self._parts(level, place)]
            if level == "STUDY" and self._max_studies and len(places) > self._max_studies:
                raise too_many_studies(len(places), self._max_studies)
        studies: dict[Place, int] = {}
        for place in dict.fromkeys(places):
            found = self._under_gap(place, self._images(place))
            yield from found
            if self._scope.level == "IMAGE":
                continue
            self._note_place(place)
            study, number = Place(place.patient, place.study, ""), len({uid for uid, _ in found})
            studies[study] = studies.get(study, 0) + number
            self._compare(place, place.series, number)
            if not found and place not in self._gaps:
                self.hollow.append(place.series)
        if self._scope.level in ("PATIENT", "STUDY"):
            known = {gap.study for gap in self._gaps}
            for study, number in studies.items():
                if study.study not in known:
                    self._compare(study, study.study, number)

    def count(self, objects: Mapping[str, Place]) -> None:
        """Query and compare the numbers of objects of listed studies, or of the requested series, after ``objects``."""
        if self._counted or self._scope.level == "IMAGE":
            return
        series = Counter(objects.values())
        studies = Counter(place._replace(series="") for place in objects.values())
        for study in studies:
            self._count(study)
        known = {gap.study for gap in self._gaps}
        for place, number in (series if self._scope.level == "SERIES" else studies).items():
            if place.study not in known:
                self._compare(place, place.series or place.study, number)

    def _note_place(self, place: Place) -> None:
        study = place._replace(series="")
        for uid, one in ((place.study, study), (place.series, place)):
            if uid:
                self.listed.add(uid)
                self._sizes.places.setdefault(uid, one)

    def _parts(self, level: str, place: Place) -> list[Place]:
        """Return the entities of a level within one of the level above."""
        if self._counted and place.study:
            self._count(place)
        below = LEVELS.index(level) > LEVELS.index(self._scope.level)
        found = self._under_gap(place, self._below(level, place)) if below else list(self._below(level, place))
        if level == "PATIENT" and (filters := self._filters(level)):  # the levels below are queried by PatientID alone
            for one in dict.fromkeys(found):
                own = Key(_PATIENT, b"LO", one.patient.encode("latin-1"))
                check_patient(self._session, self._class, own, filters, self._scope)
        return found

    def _under_gap(self, place: Place, entities: Iterator[_T]) -> list[_T]:
        """Return the entities that a query lists; if it fails within a known study, note a gap."""
        found: list[_T] = []
        try:
            found.extend(entities)
        except InventoryError as error:
            if not place.study or self._scope.level == "IMAGE":
                raise
            self._gaps[place] = str(error)
        return found

    def _count(self, place: Place) -> None:
        """Query the number of objects of a study, or of the requested series. An archive may leave it out."""
        if place.study in self._stated or self._filters("SERIES"):  # stated with the answers to those keys
            return
        series = "\\".join(self._given("SERIES"))
        level, own = ("SERIES", series) if series else ("STUDY", place.study)
        try:
            for _ in self._find(level, place, own, {}):
                pass
        except InventoryError as error:
            _log.info("the archive does not report the number of objects of study %s: %s", place.study, error)

    def _compare(self, place: Place, uid: str, number: int) -> None:
        """Record a gap if the archive lists fewer objects of a study or series than it counts."""
        counted = self._sizes.counts.get(uid, 0)
        if counted > number and place not in self._gaps:
            what = "series" if place.series else "study"
            self._sizes.cap = max(self._sizes.cap, number)
            self._gaps[place] = f"the archive counts {counted} objects in {what} {uid} and lists {number}"

    def _is_passed_over(self, level: str) -> bool:
        """Return True for a level without keys above a level with unique keys: a relational query."""
        names_below = any(self._scope.unique(name) for name in LEVELS[LEVELS.index(level) + 1 :])
        return names_below and not self._scope.unique(level) and not self._filters(level) and not self._named(level)

    def _named(self, level: str) -> bool:
        """Return True if the request has unique keys of a level above."""
        return any(self._scope.unique(name) for name in LEVELS[1 : LEVELS.index(level)])

    def _filters(self, level: str) -> Mapping[int, Key]:
        return self._scope.filters(level, patient_root=self._patient_root)

    def _given(self, level: str) -> tuple[str, ...]:
        """Return the values of a level's unique key in the request; none below the request's level."""
        if LEVELS.index(level) > LEVELS.index(self._scope.level):
            return ()
        return self._scope.unique(level)

    def _below(self, level: str, place: Place) -> Iterator[Place]:
        """Yield the entities of a level within one of the level above."""
        given, field, filters = self._given(level), FIELDS[level], self._filters(level)
        if given and not filters and all(is_usable(one, patient=level == "PATIENT") for one in given):
            yield from (place._replace(**{field: one}) for one in given)
            return
        found = False
        for match in self._matching(level, place, "\\".join(given), filters):
            found = True
            entity = place._replace(**{field: match[UNIQUE_KEYS[level]]})
            yield entity if entity.patient else entity._replace(patient=match.get(_PATIENT, ""))
        if not (found or given or filters) and place.study:
            self.hollow.append(place.study)

    def _matching(self, level: str, place: Place, own: str, filters: Mapping[int, Key]) -> Iterator[dict[int, str]]:
        """Yield the matches of a query; decide keys that the archive ignores one level lower if possible."""
        try:
            yield from self._find(level, place, own, filters)
        except IgnoredKeyError as error:
            if not all((level, tag) in _LOWER for tag in error.tags):
                raise
            ignored = error.tags
        else:
            return
        _log.info("the archive ignores %s at level %s: querying one level lower", names(ignored), level)
        rest = {tag: key for tag, key in filters.items() if tag not in ignored}
        for match in list(self._find(level, place, own, rest)):
            entity = place._replace(**{FIELDS[level]: match[UNIQUE_KEYS[level]]})
            lower = [(_LOWER[level, tag], filters[tag]) for tag in ignored]
            if all(
                list(self._find(below, entity, "", {tag: Key(tag, key.vr, key.value)})) for (below, tag), key in lower
            ):
                yield match

    def _images(self, place: Place) -> Iterator[tuple[str, Place]]:
        wanted = frozenset(self._given("IMAGE"))
        key = "\\".join(wanted) if len(wanted) <= BATCH else ""
        for match in self._find("IMAGE", place, key, self._filters("IMAGE")):
            uid = match[_IMAGE]
            if not wanted or uid in wanted:
                study, series = place.study or match.get(_STUDY, ""), place.series or match.get(_SERIES, "")
                yield uid, place if (study, series) == place[1:] else Place(place.patient, study, series)

    def _find(self, level: str, place: Place, own: str, filters: Mapping[int, Key]) -> Iterator[dict[int, str]]:
        """Yield the unique keys of the matches, by tag.

        ``own``: value of the level's unique key. ``filters``: other keys. Read the iterator to its end before the next
        query. Raise ``InventoryError`` after the last match if there may be more.
        """
        uids = {_STUDY: place.study, _SERIES: place.series, UNIQUE_KEYS[level]: own}
        above = LEVELS[: LEVELS.index(level) + 1]
        values = {tag: uids[tag] for name in above if (tag := UNIQUE_KEYS[name]) in uids}
        if (self._patient_root and place.patient) or (level == "STUDY" and self._scope.model != "STUDY"):
            values[_PATIENT] = place.patient
        answers = Answers(level, values, filters, self._scope.identifier.terms)
        identifier = identifier_for(level, values, self._scope, filters, COUNTS.get(level, 0))
        responses = Responses(self._session, self._class, identifier)
        for answer in responses:
            if match := answers.take(answer):
                self._note_count(level, match)
                yield match
        self._check(responses, level, named=len(own.split("\\")) if own else 0)
        answers.doubts.end()
        self.dropped += answers.doubts.dropped

    def _check(self, responses: Responses, level: str, *, named: int) -> None:
        """Raise ``InventoryError`` for a failure, or if there may be more matches than the answers.

        ``named``: number of unique key values in the query.
        """
        number, final = responses.number, responses.final
        if final is not None and final.status_class is not StatusClass.SUCCESS:
            at_limit = 0 < number == self._sizes.cap
            self.failed_for_now |= not at_limit and final.status not in LASTING
            self._sizes.cap = max(self._sizes.cap, number)
        responses.check(level)
        if number and number == self._sizes.cap and number != named:
            raise InventoryError(
                f"the archive seems to send at most {number} answers to a query: its list at level {level} may "
                "be cut short"
            )

    def _note_count(self, level: str, match: Mapping[int, str]) -> None:
        number = number_of(match.get(COUNTS.get(level, 0), ""))
        if number is not None and (uid := match.get(UNIQUE_KEYS[level])):
            self._stated.add(uid)
            self._sizes.note(uid, number)


def identifier_for(
    level: str, values: Mapping[int, str], scope: Scope, filters: Mapping[int, Key] | None = None, count: int = 0
) -> Identifier:
    """Return an identifier with unique keys and, unchanged from the request, further keys.

    ``count``: tag of a number of objects to be returned, 0 for none.
    """
    keys = [Key(LEVEL, b"CS", level.encode("ascii")), *(filters or {}).values()]
    keys += [Key(tag, b"LO" if tag == _PATIENT else b"UI", value.encode("latin-1")) for tag, value in values.items()]
    if count:
        keys.append(Key(count, b"IS", b""))
    if scope.character_set is not None:
        keys.append(scope.character_set)
    return Identifier(keys)
