"""Resolution of a request: from any keys to requests by unique keys (PS3.4 C.4.1, C.4.2.1.4.1).

C-FIND lists what all keys of a request match; each match becomes a C-MOVE identifier with the unique keys of its level
and of those above. Conditions on series (``selection``) are tested on the series of the matches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu.dataset.character_sets import SPECIFIC_CHARACTER_SET
from movescu.errors import IgnoredKeyError, UsageError
from movescu.query.identifier import Identifier
from movescu.query.key import Key
from movescu.query.levels import LEVEL, MODELS, UNIQUE_KEYS
from movescu.query.scope import LEVELS, Scope, keyword
from movescu.query.selection import Selection
from movescu.retrieve.search import Search

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from movescu.query.match import Match
    from movescu.query.selection import Condition
    from movescu.retrieve.association import ArchiveAssociation
    from movescu.retrieve.config import Config

_log: Final = logger_of("movescu.retrieve")

_BATCH: Final = 100  # objects in one request


def resolve(session: ArchiveAssociation, identifier: Identifier, config: Config) -> list[Identifier]:
    """Return the requests by unique keys for what a request matches; none if the archive has nothing.

    Raise ``UsageError`` for keys that cannot be resolved, ``InventoryError`` if the archive cannot answer,
    ``TooManyStudiesError`` if more studies match than allowed, ``PeerError`` if the association ends.
    """
    selection = config.selection or Selection()
    check(identifier, config.request.model, selection)
    matches = list(wanted(session, identifier, selection))
    requests = list(_requests(matches, config.request.model))
    noun = _NOUNS[matches[0].level][len(matches) > 1] if matches else "entities"
    _log.info("the keys match %d %s", len(matches), noun)
    return requests


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
) -> Iterator[Match]:
    """Yield what matches a request: entities of its level or, if series are chosen, the series chosen.

    ``level``: of the matches. Default: that of the request. ``limited``: count the studies, and raise
    ``TooManyStudiesError`` if there are more than allowed. ``count``: count what the archive does not count.
    """
    maximum = selection.max_studies
    search = Search(session, identifier, level=level, patterns=selection.resolve, max_studies=maximum)
    if limited and maximum and search.level in ("PATIENT", "STUDY"):
        listed = list(search.matches())
        search.limit(_studies(search, listed) if search.level == "PATIENT" else len(listed))
        found: Iterable[Match] = listed
    else:
        found = search.matches()
    if not selection.chooses:
        yield from map(search.counted, list(found)) if count else found
        return
    every = [series for one in found for series in ([one] if one.level == "SERIES" else search.below(one, "SERIES"))]
    series_chosen = chosen(every, selection)
    yield from map(search.counted, series_chosen) if count else series_chosen


def _studies(search: Search, patients: Iterable[Match]) -> int:
    known = [one.count("STUDY") for one in patients]
    if None not in known:
        return sum(number or 0 for number in known)
    return sum(len(list(search.below(one, "STUDY"))) for one in patients)


def chosen(every: list[Match], selection: Selection) -> list[Match]:
    """Return the series that meet the conditions.

    Raise ``IgnoredKeyError`` if no series has a value for one of them: most likely, the archive returns none.
    """
    only, exclude = selection.conditions()
    for one in (*only, *exclude):
        if every and not any(series.texts(one.tag) for series in every):
            raise IgnoredKeyError(
                f"the archive ignores {keyword(one.tag)}: no series has a value to compare with {one.text!r}",
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
        if level == first.level and level != "PATIENT":
            keys.append(Key(tag, b"UI", "\\".join(one.uid for one in members).encode("latin-1", "replace")))
        elif first.texts(tag):
            keys.append(Key(tag, first.attributes[tag].vr, first.attributes[tag].value))
            if not keys[-1].value.isascii() and first.attributes[tag].terms != ("",):
                terms = "\\".join(first.attributes[tag].terms).encode()
                keys.append(Key(SPECIFIC_CHARACTER_SET, b"CS", terms))
    return Identifier(keys)


_NOUNS: Final = {
    "PATIENT": ("patient", "patients"),
    "STUDY": ("study", "studies"),
    "SERIES": ("series", "series"),
    "IMAGE": ("object", "objects"),
}
"""Level -> singular and plural."""
