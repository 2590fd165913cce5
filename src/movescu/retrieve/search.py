"""Searches: what an archive has for the keys of a query, level by level, by C-FIND (PS3.4 C.4.1).

The queries are hierarchical: each level with the unique keys of the levels above, as archives without relational
queries require (PS3.4 C.4.1.2.1, C.4.1.3.1). Archives with relational queries answer them too. A level without keys
above a level with a unique key is passed over: only a relational archive can answer that. If relational queries were
negotiated, one query has the keys of all levels. Study Root is preferred, except at level PATIENT; its studies have the
attributes of their patients (PS3.4 C.6.2.1).

Each answer is compared with every key (PS3.4 C.2.2.2, ``matching``). An answer that contradicts a key is dropped. A key
without a value in any answer was ignored, and the matches are unknown: ``IgnoredKeyError``. Modalities in Study, which
many archives do not support, is then read from the series.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu.dataset.values import key_vr, pad
from movescu.dictionary.uids import PATIENT_ROOT_FIND, PATIENT_STUDY_ONLY_FIND, STUDY_ROOT_FIND
from movescu.errors import (
    DataSetError,
    FindNotOfferedError,
    IgnoredKeyError,
    PeerError,
)
from movescu.query.identifier import Identifier
from movescu.query.key import Key
from movescu.query.levels import LEVEL, MODELS, UNIQUE_KEYS
from movescu.query.match import COUNTS, RETURN_KEYS, Attribute, Match, attributes_of, count_attribute
from movescu.query.matching import PATIENT_ID, is_empty, is_universal, matches
from movescu.query.python_keys import query_of
from movescu.query.scope import LEVELS, Scope, is_usable, level_of
from movescu.query.selection import most_studies, pattern_of, states_limit, too_many_studies
from movescu.retrieve.answers import Doubts, FindAnswer, Responses
from movescu.retrieve.patients import check_patient

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from movescu.query.python_keys import Keys
    from movescu.query.selection import Selection
    from movescu.retrieve.association import ArchiveAssociation

_log: Final = logger_of("movescu.retrieve")

MODALITIES_IN_STUDY: Final = 0x00080061

_MODEL_OF: Final = {PATIENT_ROOT_FIND: "PATIENT", STUDY_ROOT_FIND: "STUDY", PATIENT_STUDY_ONLY_FIND: "PSONLY"}
_ORDER: Final = (STUDY_ROOT_FIND, PATIENT_ROOT_FIND, PATIENT_STUDY_ONLY_FIND)


class Search:
    """The search for the matches of one identifier, over an open association.

    ``level``: of the matches. Default: that of the identifier. ``patterns``: Patient ID and UIDs may have wild cards;
    else they are literal. ``max_studies``: highest number of studies below which lower levels are queried; 0: no limit.
    ``always``: the limit holds for keys that name studies or a patient, too. Default: False.
    """

    def __init__(
        self,
        session: ArchiveAssociation,
        identifier: Identifier,
        *,
        level: str = "",
        patterns: bool = False,
        max_studies: int = 0,
        always: bool = False,
    ) -> None:
        self._session = session
        self._scope = Scope(identifier, "PATIENT")
        self._scope.level = self.level = level or self._scope.level
        self._patterns = patterns
        self._max_studies = max_studies
        self._always = always
        self._given = {key.tag: key for key in identifier if key.tag & 0xFFFF}
        self._terms = identifier.terms
        self._class = self._sop_class()
        self._patient_root = self._class != STUDY_ROOT_FIND
        self._levels = LEVELS[0 if self._patient_root else 1 :]

    @property
    def patient_root(self) -> bool:
        """Whether the queries begin with patients."""
        return self._patient_root

    def _sop_class(self) -> str:
        """Return the SOP class to query with. Raise ``FindNotOfferedError`` if the archive accepted none."""
        offered = [
            uid for uid in _ORDER if self._session.context(uid) is not None and self.level in MODELS[_MODEL_OF[uid]]
        ]
        if not offered:
            raise FindNotOfferedError(
                f"the archive cannot be queried: the archive does not offer C-FIND at level {self.level}"
            )
        return offered[0]

    # -- matches -------------------------------------------------------------------------------------------------------

    def matches(self) -> Iterator[Match]:
        """Yield the matches. Read the iterator to its end before the next request.

        Raise ``InventoryError`` if the archive cannot answer, ``TooManyStudiesError`` if lower levels of more studies
        than allowed would be queried, ``PeerError`` if the association ends.
        """
        if self._session.grants_relational(self._class):
            yield from self._query(self.level, None, relational=True)
            return
        above: list[Match | None] = [None]
        for level in self._levels[: self._levels.index(self.level)]:
            if not self._is_passed_over(level):
                above = [match for one in above for match in self._query(level, one)]
            if level == "PATIENT":
                self.check_patients(filter(None, above))
            if level == "STUDY":
                self.limit(len(above))
        for one in above:
            yield from self._query(self.level, one)

    def limit(self, studies: int) -> None:
        """Raise ``TooManyStudiesError`` if there are more studies than allowed."""
        if self.is_limited and studies > self._max_studies:
            raise too_many_studies(studies, self._max_studies)

    def limit_to(self, found: Iterable[Match]) -> None:
        """Raise ``TooManyStudiesError`` if studies, series or objects are of more studies than allowed."""
        if self.is_limited:
            self.limit(len({match.text(UNIQUE_KEYS["STUDY"]) for match in found}))

    def check_patients(self, patients: Iterable[Match]) -> None:
        """Raise ``InventoryError`` if another patient, whom the keys do not match, has the Patient ID of one of these.

        Below the level of patients, requests have the Patient ID alone.
        """
        filters = self._filters("PATIENT")
        for patient in patients if filters else ():
            own = _unique_key(PATIENT_ID, patient.patient_id, patient)
            check_patient(self._session, self._class, own, filters, self._scope)

    def below(self, match: Match, level: str) -> Iterator[Match]:
        """Yield the entities of a level within a match, whatever the keys of the level."""
        above = [match]
        first, last = (LEVELS.index(name) for name in (match.level, level))
        for name in LEVELS[first + 1 : last]:
            above = [found for one in above for found in self._within(name, one)]
        for one in above:
            yield from self._within(level, one)

    def counted(self, match: Match) -> Match:
        """Return a match with its numbers of entities below; those that the archive did not return are counted."""
        wanted = COUNTS.get(match.level, {})
        if all(match.count(level) is not None for level in wanted):
            return match
        level = LEVELS[LEVELS.index(match.level) + 1]
        lower = list(self._within(level, match))
        numbers = {level: len(lower)}
        for further in list(wanted)[1:]:
            if match.count(further) is None:
                lower = [self.counted(one) for one in lower]
                numbers[further] = sum(one.count(further) or 0 for one in lower)
        counts = {wanted[name]: count_attribute(n) for name, n in numbers.items() if match.count(name) is None}
        return Match(match.level, match.attributes | counts)

    @property
    def is_limited(self) -> bool:
        """Whether the number of studies that match is limited."""
        return self._max_studies > 0 and (self._always or self.is_vague)

    @property
    def is_vague(self) -> bool:
        """Whether any key but unique keys, without patterns, decides what matches."""
        filters = {tag for level in self._levels for tag in self._filters(level)} - {PATIENT_ID}
        named = any(self._scope.unique(level) for level in LEVELS)
        return bool(filters) or not named or (self._patterns and bool(self._scope.patterns))

    def _is_passed_over(self, level: str) -> bool:
        names_below = any(self._scope.unique(name) for name in LEVELS[LEVELS.index(level) + 1 :])
        return names_below and not self._scope.unique(level) and not self._filters(level)

    def _filters(self, level: str) -> Mapping[int, Key]:
        return self._scope.filters(level, patient_root=self._patient_root)

    # -- one query -----------------------------------------------------------------------------------------------------

    def _query(self, level: str, above: Match | None, *, relational: bool = False) -> Iterator[Match]:
        """Yield the entities of a level that match the keys, within one of the level above."""
        levels = self._levels[: self._levels.index(level) + 1]
        keys: dict[int, Key] = {}
        for name in levels:
            tag, values = UNIQUE_KEYS[name], self._scope.unique(name)
            known = above.text(tag) if above is not None and name != level else ""
            keys[tag] = _unique_key(tag, known, above) if known else _unique_key(tag, "\\".join(values))
        for name in levels if relational else (level,):
            keys |= self._filters(name)
        wanted = self._return_keys(level, relational=above is None)
        try:
            yield from self._asked(level, keys, wanted, above)
        except IgnoredKeyError:
            if not (level == "STUDY" and self._modalities_ignored(keys)):
                raise
            yield from self._by_series(keys, wanted, above)

    def _within(self, level: str, above: Match) -> Iterator[Match]:
        """Yield all entities of a level within one of the level above."""
        levels = self._levels[: self._levels.index(level) + 1]
        tags = {name: UNIQUE_KEYS[name] for name in levels}
        keys = {tag: _unique_key(tag, above.text(tag) if name != level else "", above) for name, tag in tags.items()}
        if level == "STUDY":
            keys[PATIENT_ID] = _unique_key(PATIENT_ID, above.patient_id, above)
        yield from self._asked(level, keys, self._return_keys(level), above)

    def _return_keys(self, level: str, *, relational: bool = False) -> tuple[int, ...]:
        """Return the tags to request beside the keys: those to show, and the empty keys of the request."""
        names = LEVELS[: LEVELS.index(level) + 1] if relational else (level,)
        tags = [tag for name in names for tag in RETURN_KEYS[name] if name == level or tag >> 8 != 0x002012]
        own = [
            tag
            for tag, key in self._given.items()
            if is_empty(key.value) and not key.items and (level_of(tag) or self.level) in names
        ]
        return tuple(dict.fromkeys((*tags, *own)))

    def _asked(
        self, level: str, keys: Mapping[int, Key], wanted: Iterable[int], above: Match | None
    ) -> Iterator[Match]:
        """Send one C-FIND and yield the matches among its answers."""
        upper = frozenset(UNIQUE_KEYS[name] for name in self._levels[: self._levels.index(level)])
        answers = _Matches(level, {tag: self._test(key, above) for tag, key in keys.items()}, above, upper, self._terms)
        identifier = self._identifier(level, keys, wanted)
        responses = Responses(self._session, self._class, identifier)
        for answer in responses:
            if match := answers.take(answer):
                yield match
        responses.check(level)
        answers.doubts.end()

    def _test(self, key: Key, above: Match | None) -> Key:
        """Return the key that answers are compared with: a pattern, where patterns are meant.

        A value of the entity ``above`` is none: a Patient ID may have an asterisk.
        """
        known = above is not None and above.text(key.tag)
        return pattern_of(key.value, listed=key.tag != PATIENT_ID) if self._is_pattern(key) and not known else key

    def _is_pattern(self, key: Key) -> bool:
        literal = key.vr == b"UI" or key.tag == PATIENT_ID
        return self._patterns and literal and (b"*" in key.value or b"?" in key.value)

    def _identifier(self, level: str, keys: Mapping[int, Key], wanted: Iterable[int]) -> Identifier:
        # No archive matches wild cards in UIDs (PS3.4 C.2.2.2.1): all are requested, and matched here.
        sent = [Key(key.tag, key.vr) if key.vr == b"UI" and self._is_pattern(key) else key for key in keys.values()]
        if self._scope.character_set is not None:
            sent.append(self._scope.character_set)
        returned = (Key(tag, self._vr(tag)) for tag in wanted)
        return Identifier((Key(LEVEL, b"CS", level.encode()), *sent, *returned))

    def _vr(self, tag: int) -> bytes:
        given = self._given.get(tag)
        return (key_vr(tag) or "UN").encode() if given is None else given.vr

    # -- Modalities in Study, of archives that do not know it --------------------------------------------------------

    def _modalities_ignored(self, keys: Mapping[int, Key]) -> bool:
        return MODALITIES_IN_STUDY in keys and "SERIES" in MODELS[_MODEL_OF[self._class]]

    def _by_series(self, keys: Mapping[int, Key], wanted: Iterable[int], above: Match | None) -> Iterator[Match]:
        """Yield the studies that match the other keys and have a series of the modality."""
        key = keys[MODALITIES_IN_STUDY]
        others = {tag: one for tag, one in keys.items() if tag != MODALITIES_IN_STUDY}
        studies = list(self._asked("STUDY", others, (*wanted, MODALITIES_IN_STUDY), above))
        self.limit(len(studies))
        _log.info("the archive ignores ModalitiesInStudy; querying the series of each study (%d)", len(studies))
        for study in studies:
            found = dict.fromkeys(one["Modality"] for one in self._within("SERIES", study) if one["Modality"])
            value = "\\".join(found).encode("latin-1", "replace")
            if matches(key, value):
                yield Match("STUDY", study.attributes | {MODALITIES_IN_STUDY: Attribute(b"CS", pad(value, b" "))})


class _Matches:
    """The answers to one C-FIND as matches, each compared with the keys sent.

    ``upper``: tags of the unique keys of the levels above, which answers need not have. ``terms``: character set of
    the keys.
    """

    def __init__(
        self,
        level: str,
        keys: Mapping[int, Key],
        above: Match | None,
        upper: frozenset[int],
        terms: tuple[str, ...],
    ) -> None:
        self._level = level
        self._own = UNIQUE_KEYS[level]
        self._keys = {tag: key for tag, key in keys.items() if not is_universal(key)}
        self._above = {} if above is None else above.attributes
        self._seen: set[str] = set()
        self._upper = upper
        self._terms = terms
        self.doubts = Doubts(level, (tag for tag in self._keys if tag != self._own and tag not in upper))

    def take(self, answer: FindAnswer) -> Match | None:
        """Return the match of an answer, None if it is dropped; an unreadable answer has no unique key."""
        try:
            found = attributes_of(answer.data, answer.syntax)
        except DataSetError as error:
            _log.warning("an answer to C-FIND at level %s cannot be read: %s", self._level, error)
            found = {}
        self.doubts.count()
        contradicted = [tag for tag in self._keys if not self._agrees(tag, found.get(tag), warned=answer.warned)]
        attributes = {**self._above, **found}
        for tag in self._above:  # an entity's own empty attribute hides none of the entity above
            if tag in found and is_empty(found[tag].value):
                attributes[tag] = self._above[tag]
        match = Match(self._level, attributes)
        if not is_usable(match.uid or "\\", patient=self._own == PATIENT_ID):
            self.doubts.count_unusable()
            return None
        if contradicted:
            self.doubts.drop(match.uid, contradicted)
            return None
        if match.uid in self._seen:
            return None
        self._seen.add(match.uid)
        return match

    def _agrees(self, tag: int, found: Attribute | None, *, warned: bool) -> bool:
        """Return True if an answer matches a key; unique keys of the levels above may be missing from it."""
        key, value = self._keys[tag], b"" if found is None else found.value
        if is_empty(value):
            self.doubts.count_silent(tag, warned=warned)
            return tag in self._upper
        terms = ("",) if found is None else found.terms
        if tag in self._upper and found is not None and not value.isascii():  # the bytes of the level above, sent back
            return key.value == value.strip(b"\0 ")
        return matches(key, value, terms, self._terms)


def _unique_key(tag: int, value: str, match: Match | None = None) -> Key:
    """Return a unique key; the bytes of a match's own value are sent back unchanged."""
    vr = b"LO" if tag == PATIENT_ID else b"UI"
    if match is not None and value and (known := match.attributes.get(tag)) is not None:
        return Key(tag, vr, known.value.strip(b"\0 "))
    return Key(tag, vr, value.encode("latin-1"))


def find(
    session: ArchiveAssociation,
    query: tuple[str, Keys | None, Mapping[str, object]],
    selection: Selection | None,
    *,
    count: bool,
) -> list[Match]:
    """Open the association and return the matches of a query for a program. Raise as ``Client.find`` does.

    ``query``: level, keys, and more keys by keyword.
    """
    identifier = query_of(*query)
    most = most_studies(selection)
    Scope(identifier, "PATIENT").check_query(everything=most == 0, by="Selection(max_studies=0)")
    session.open()
    stated = states_limit(selection)
    search = Search(session, identifier, patterns=True, max_studies=most, always=stated)
    found = list(search.matches())
    if search.level != "PATIENT" and stated:
        search.limit_to(found)
    if count:
        found = [search.counted(one) for one in found]
    with contextlib.suppress(PeerError):  # everything has been found
        session.release()
    return found
