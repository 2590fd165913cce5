"""Resolution of a request: from any keys to requests by unique keys (PS3.4 C.4.1, C.4.2.1.4.1).

C-FIND lists what all keys of a request match; each match becomes a C-MOVE identifier with the unique keys of its level
and of those above. Conditions on series (``selection``) are tested on the series of the matches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu._runtime.record import Record
from movescu.dataset.character_sets import SPECIFIC_CHARACTER_SET
from movescu.dictionary.uids import STUDY_ROOT_FIND
from movescu.errors import IgnoredKeyError, InventoryError, PeerError, UsageError
from movescu.query.identifier import Identifier
from movescu.query.key import Key, quoted
from movescu.query.levels import LEVEL, MODELS, UNIQUE_KEYS
from movescu.query.matching import matches
from movescu.query.scope import LEVELS, Scope, keyword
from movescu.query.selection import Selection, most_studies, pattern_of, states_limit
from movescu.retrieve.attempts import is_final, pause_before
from movescu.retrieve.inventory import Inventory
from movescu.retrieve.request_state import RequestState
from movescu.retrieve.search import Search
from movescu.retrieve.tally import found_nothing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from movescu.query.match import Match
    from movescu.query.selection import Condition
    from movescu.retrieve.association import ArchiveAssociation
    from movescu.retrieve.config import Config

_log: Final = logger_of("movescu.retrieve")

_BATCH: Final = 100  # objects in one request


class Resolution(Record):
    """What the keys of a request match.

    ``requests``: by unique keys. ``unfound``: values of the request's unique key without a match. ``hollow``: UIDs of
    studies that the archive lists without a series. ``gaps``: contradictions between the archive's totals and its list.
    """

    requests: tuple[Identifier, ...] = ()
    unfound: tuple[str, ...] = ()
    hollow: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    unmet: str = ""
    """Which conditions none of the series meets, empty if one does."""
    counts: tuple[tuple[str, int], ...] = ()
    """Numbers of objects that the archive states, by UID of study or series."""


class Shortfall:
    """What a resolution does not find. ``counted``: compare the totals of studies with their series."""

    def __init__(self, *, counted: bool = False) -> None:
        self._counted = counted
        self.unfound: list[str] = []
        """Values of the request's unique key without a match."""
        self.hollow: list[str] = []
        """UIDs of studies that the archive lists without a series."""
        self.gaps: list[str] = []
        """Contradictions between the totals and the list."""
        self.unmet = ""
        """Which conditions none of the series meets, empty if one does."""

    def compare_keys(self, scope: Scope, found: Collection[Match], *, patterns: bool) -> None:
        """Record the values of the request's unique key that no match has."""
        if not scope.level:  # a query may have none
            return
        values = scope.unique(scope.level)
        if scope.level == "PATIENT":
            self.unfound += () if found else values
            return
        uids = {one.text(UNIQUE_KEYS[scope.level]) for one in found}
        for value in values:
            test = pattern_of(value.encode("latin-1")) if patterns else None
            if value not in uids and not (test and any(matches(test, uid.encode()) for uid in uids)):
                self.unfound.append(value)

    def compare_studies(self, patient: Match, studies: Collection[Match]) -> None:
        """Record a patient without a study, or with more than the archive lists."""
        if not studies:
            self.hollow.append(patient.uid)
        elif self._counted and (patient.count("STUDY") or 0) > len(studies):
            number = patient.count("STUDY")
            self.gaps.append(f"the archive counts {number} studies of a patient and lists {len(studies)}")

    def compare_series(self, study: Match, series: Collection[Match]) -> None:
        """Record a study without a series, or one with higher totals than those of its series."""
        if not series:
            self.hollow.append(study.uid)
            return
        number, objects = study.count("SERIES"), study.count("IMAGE")
        counts = [one.count("IMAGE") for one in series]
        if not self._counted:
            return
        if number is not None and number > len(series):
            self.gaps.append(f"the archive counts {number} series in study {study.uid} and lists {len(series)}")
        elif objects is not None and None not in counts and objects > (total := sum(one or 0 for one in counts)):
            self.gaps.append(f"the archive counts {objects} objects in study {study.uid} and {total} in its series")


def resolve(session: ArchiveAssociation, identifier: Identifier, config: Config) -> Resolution:
    """Return the requests by unique keys for what a request matches; none if the archive has nothing.

    Raise ``UsageError`` for keys that cannot be resolved, ``InventoryError`` if the archive cannot answer,
    ``TooManyStudiesError`` if more studies match than allowed, ``PeerError`` if the association ends.
    """
    selection = config.selection or Selection()
    check(identifier, config.request.model, selection)
    shortfall = Shortfall(counted=config.retry.verify)
    found = list(wanted(session, identifier, selection, shortfall=shortfall))
    noun = _NOUNS[found[0].level][len(found) > 1] if found else "entities"
    _log.info("the keys match %d %s", len(found), noun)
    unfound, hollow, gaps = (tuple(one) for one in (shortfall.unfound, shortfall.hollow, shortfall.gaps))
    counts = tuple((one.uid, number) for one in found if (number := _stated(one)) is not None)
    requests = tuple(_requests(found, config.request.model))
    return Resolution(requests, unfound, hollow, gaps, unmet=shortfall.unmet, counts=counts)


def resolve_in_time(
    session: ArchiveAssociation, identifier: Identifier, config: Config, given_up: clock.Event, until: float | None
) -> Resolution:
    """Resolve a request, as ``resolve``; what fails for now is repeated as often as ``--retry`` says.

    ``given_up``: ends the pauses. ``until``: deadline, on the monotonic clock; None without one.
    """
    for attempt in range(1, config.retry.retries + 1):
        try:
            if not session.is_open:
                session.open()
            return resolve(session, identifier, config)
        except PeerError as error:
            late = until is not None and clock.now() >= until
            passing = error.passing if isinstance(error, InventoryError) else not is_final(error)
            if not passing or late or given_up.is_set():
                raise
            seconds = pause_before(attempt, config.retry.pause, until)
            _log.warning("%s; next attempt in %.1f s", error, seconds)
        given_up.wait(seconds)
    if not session.is_open:
        session.open()
    return resolve(session, identifier, config)


def _stated(match: Match) -> int | None:
    return match.count("IMAGE") if match.level in ("STUDY", "SERIES") else None


def check(identifier: Identifier, model: str, selection: Selection) -> None:
    """Raise ``UsageError`` unless the keys can be resolved."""
    scope = Scope(identifier, model)
    scope.check(patterns=selection.resolve, everything=selection.everything)
    if selection.chooses and ("SERIES" not in MODELS[model] or scope.level == "IMAGE"):
        raise UsageError(
            "series cannot be chosen in this model or at level IMAGE", hint="request level PATIENT, STUDY or SERIES"
        )


def wanted(
    session: ArchiveAssociation,
    identifier: Identifier,
    selection: Selection,
    *,
    level: str = "",
    limited: bool = True,
    count: bool = False,
    shortfall: Shortfall | None = None,
) -> Iterator[Match]:
    """Yield what matches a request: entities of its level or, if series are chosen, the series chosen.

    ``level``: of the matches. Default: that of the request. ``limited``: count the studies, and raise
    ``TooManyStudiesError`` if there are more than allowed. ``count``: count what the archive does not count.
    ``shortfall``: takes what was not found. Default: nothing is noted.
    """
    scope, stated = Scope(identifier, "PATIENT"), states_limit(selection)
    more = scope.level == "PATIENT" and bool(scope.filters("PATIENT", patient_root=True))
    if more and not level and session.context(STUDY_ROOT_FIND) is not None:
        level = "STUDY"  # of patients, C-MOVE names Patient ID alone: others may have it
    most, patterns = most_studies(selection), selection.resolve
    search = Search(session, identifier, level=level, patterns=patterns, max_studies=most, always=stated)
    found: Iterable[Match] = search.matches()
    if search.level != "PATIENT" and (limited or (level and stated)):
        found = list(found)
        search.limit_to(found)
    elif limited:
        found = list(found)
        search.check_patients(found)
        if search.is_limited:
            _limit_studies(search, found)
    if shortfall is not None:
        found = list(found)
        shortfall.compare_keys(scope, found, patterns=selection.resolve)
    if not (selection.chooses or level):
        found = _named(search, found)
    if not selection.chooses:
        yield from map(search.counted, list(found)) if count else found
        return
    shortfall = shortfall or Shortfall()
    series = list(_series(search, found, shortfall))
    series_chosen = chosen(series, selection)
    if series and not series_chosen:
        which = "the only series does not meet" if len(series) == 1 else f"none of the {len(series)} series meets"
        shortfall.unmet = f"{which} {selection.options}"
    yield from map(search.counted, series_chosen) if count else series_chosen


def _named(search: Search, found: Iterable[Match]) -> Iterator[Match]:
    """Yield entities that C-MOVE can name: for a Patient ID that archives take for a pattern or a list, the studies."""
    for one in found:
        if one.level == "PATIENT" and any(mark in one.patient_id for mark in "*?\\"):
            yield from search.below(one, "STUDY")
        else:
            yield one


def _limit_studies(search: Search, patients: Collection[Match]) -> None:
    """Raise ``TooManyStudiesError`` if patients have too many studies, by the archive's numbers or by its list."""
    stated = [max(one.count("STUDY") or 0, 1) for one in patients]
    search.limit(sum(stated))
    listed = (len(list(search.below(one, "STUDY"))) for one in patients)
    search.limit(sum(map(max, stated, listed)))


def _series(search: Search, found: Iterable[Match], shortfall: Shortfall) -> Iterator[Match]:
    """Yield the series of matches of any level above that of objects."""
    for one in found:
        if one.level == "SERIES":
            yield one
            continue
        studies = [one]
        if one.level == "PATIENT":
            studies = list(search.below(one, "STUDY"))
            shortfall.compare_studies(one, studies)
        for study in studies:
            series = list(search.below(study, "SERIES"))
            shortfall.compare_series(study, series)
            yield from series


def chosen(every: list[Match], selection: Selection) -> list[Match]:
    """Return the series that meet the conditions.

    Raise ``IgnoredKeyError`` if no series has a value for one of them: most likely, the archive returns none.
    """
    only, exclude = selection.conditions()
    for one in (*only, *exclude):
        if every and not any(series.texts(one.tag) for series in every):
            raise IgnoredKeyError(
                f"the archive ignores {keyword(one.tag)}: no series has a value to compare with {quoted(one.text)}",
                hint="choose series by an attribute that the archive supports, such as Modality",
            )
    return [series for series in every if _is_chosen(series, only, exclude)]


def _is_chosen(series: Match, only: tuple[Condition, ...], exclude: tuple[Condition, ...]) -> bool:
    return all(one.is_met(series) for one in only) and not any(one.is_met(series) for one in exclude)


def _requests(matches: Iterable[Match], model: str) -> Iterator[Identifier]:
    """Yield C-MOVE identifiers: one for each match, but lists of the objects of a series."""
    groups: dict[tuple[str, ...], list[Match]] = {}
    for match in matches:
        place = (match.study_uid, match.series_uid) if match.level == "IMAGE" else (match.study_uid, match.uid)
        groups.setdefault((match.level, match.patient_id, *place), []).append(match)
    for members in groups.values():
        for start in range(0, len(members), _BATCH):
            yield _request(members[start : start + _BATCH], model)


def _request(members: list[Match], model: str) -> Identifier:
    first = members[0]
    keys = [Key(LEVEL, b"CS", first.level.encode())]
    own = MODELS[model]
    for level in (name for name in own if LEVELS.index(name) <= LEVELS.index(first.level)):
        tag = UNIQUE_KEYS[level]
        if level == first.level and level != "PATIENT":  # the archive's own bytes
            keys.append(Key(tag, b"UI", b"\\".join(one.attributes[tag].value.strip(b"\0 ") for one in members)))
        elif first.texts(tag):
            keys.append(Key(tag, first.attributes[tag].vr, first.attributes[tag].value))
            if not keys[-1].value.isascii() and first.attributes[tag].terms != ("",):
                terms = "\\".join(first.attributes[tag].terms).encode()
                keys.append(Key(SPECIFIC_CHARACTER_SET, b"CS", terms))
    return Identifier(keys)


def state_of(found: Resolution, request: Scope) -> RequestState | None:
    """Return the state of what a request did not resolve to, None if that is nothing."""
    lacking = found.unfound or found.hollow
    if found.requests and not (lacking or found.gaps):
        return None
    state = RequestState()
    state.nothing_found = bool(lacking or not found.requests)
    state.unlisted = "; ".join(found.gaps)
    state.unmet = found.unmet
    if lacking:  # it has an inventory without an object, which names what was not found
        tag = UNIQUE_KEYS[request.level]
        own = request.identifier.get(tag)
        keys = [Key(LEVEL, b"CS", request.level.encode())]
        if own is not None:
            keys.append(Key(tag, own.vr, "\\".join(found.unfound).encode("latin-1")))
        state.inventory = Inventory(Scope(Identifier(keys), request.model))
        state.inventory.hollow = found.hollow
    return state


def delivered_nothing(request: Identifier, state: RequestState, config: Config) -> bool:
    """Return True if the archive delivers nothing for a request to which keys were resolved, and log an error.

    An archive that counts nothing is believed where the objects go elsewhere.
    """
    counted = config.arrives_here or all(one.completed is not None for one in state.responses)
    if not (state.responses and counted and found_nothing(state.responses, state.tally)):
        return False
    level = request.text(LEVEL)
    named = request.text(UNIQUE_KEYS[level])
    _log.error("incomplete: the archive lists %s %s and sends no object of it", _NOUNS[level][0], named)
    return True


_NOUNS: Final = {
    "PATIENT": ("patient", "patients"),
    "STUDY": ("study", "studies"),
    "SERIES": ("series", "series"),
    "IMAGE": ("object", "objects"),
}
"""Level -> singular and plural."""
