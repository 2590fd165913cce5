"""The archive's inventory for one request: every object that matches all of its keys, by C-FIND (PS3.4 C.4.1).

The queries are hierarchical: level by level, with the unique keys of the levels above, as archives without relational
queries require (PS3.4 C.4.1.2.1, C.4.1.3.1). Down to the request's level, C-FIND carries the keys of each level
(``scope``), and each answer is compared with them (``matching``): an answer that contradicts a key is dropped; a key
without a value in any answer was ignored, and the matches are unknown. A level whose entities the request names by
unique keys alone is skipped: a study costs one query for its series and one for the objects of each. Study Root is
preferred whatever the model of the C-MOVE, as a study then needs no patient. ``Inventory.requests`` makes the C-MOVE
identifiers for some of the objects.
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from movescu._runtime.late_log import logger_of
from movescu.dataset.character_sets import SPECIFIC_CHARACTER_SET, terms_of
from movescu.dataset.transcoder import values_of
from movescu.dataset.values import element, pad
from movescu.dictionary.uids import STUDY_ROOT_FIND
from movescu.dictionary.vr import LONG
from movescu.dimse.status import StatusClass
from movescu.errors import (
    DataSetError,
    FindNotOfferedError,
    IgnoredKeyError,
    InventoryError,
    NoPresentationContextError,
)
from movescu.query.identifier import Identifier
from movescu.query.levels import LEVEL, UNIQUE_KEYS
from movescu.query.matching import is_empty, matches
from movescu.query.scope import LEVELS, Scope, is_usable, keyword, listed
from movescu.query.selection import too_many_studies
from movescu.retrieve.config import BATCH, MODELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from movescu.dictionary.uids import TransferSyntax
    from movescu.query.matching import Key
    from movescu.retrieve.association import ArchiveAssociation
    from movescu.services.find import FindResponse

_log: Final = logger_of("movescu.retrieve")

MAXIMUM: Final = 1_000_000
"""Highest number of objects in an inventory and of answers to a query: some archives never stop."""

_LONG_LENGTH: Final = Struct("<I").unpack_from
_PATIENT, _STUDY, _SERIES, _IMAGE = UNIQUE_KEYS.values()
_K = TypeVar("_K")
_NAMED: Final = 5  # dropped answers that a warning names


class Place(NamedTuple):
    """Patient, study and series of an object; ``patient`` is empty where no request needs it."""

    patient: str
    study: str
    series: str


_FIELDS: Final = {"PATIENT": "patient", "STUDY": "study", "SERIES": "series"}


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

    @property
    def unfound(self) -> tuple[str, ...]:
        """UIDs for which the archive lists nothing: of the request's unique key, and hollow studies and series."""
        level = self.scope.level
        found: AbstractSet[str] = self.objects.keys()
        if level == "PATIENT":
            found = frozenset(self.scope.unique(level)) if self.objects else frozenset()
        elif level != "IMAGE":
            found = {getattr(place, _FIELDS[level]) for place in self.objects.values()}
        return tuple(dict.fromkeys((*(v for v in self.scope.unique(level) if v not in found), *self.hollow)))

    @property
    def is_exact(self) -> bool:
        """Whether the original request matches exactly these objects, as far as can be known."""
        return self.scope.is_exact and bool(self.objects) and not (self.dropped or self.unfound)

    def requests(self, wanted: AbstractSet[str], batch: int = BATCH) -> Iterator[Identifier]:
        """Yield the C-MOVE identifiers for some of the objects; ``batch``: highest number of UIDs in a list.

        For all objects: the original request, if C-MOVE allows it. Otherwise: whole studies and series of which all
        objects are wanted, and lists of SOP instance UIDs for the rest (PS3.4 C.4.2.2.1); never above the level of the
        request. With a batch smaller than the default: only lists.
        """
        whole_ones = batch >= BATCH
        if len(wanted) >= len(self.objects) and whole_ones and self.is_exact:
            yield self.scope.identifier
            return
        level, model = self.scope.level, self.scope.model
        studies = _grouped(((place.patient, place.study), uid) for uid, place in self.objects.items())
        for (patient, study), uids in studies.items():
            open_uids = [uid for uid in uids if uid in wanted]
            whole = whole_ones and len(open_uids) == len(uids) and level in ("PATIENT", "STUDY")
            if open_uids and (whole or model == "PSONLY"):
                yield self._request("STUDY", Place(patient, study, ""))
            elif open_uids:
                yield from self._of_series(uids, wanted, batch)

    def _of_series(self, uids: Iterable[str], wanted: AbstractSet[str], size: int) -> Iterator[Identifier]:
        for place, members in _grouped((self.objects[uid], uid) for uid in uids).items():
            open_uids = [uid for uid in members if uid in wanted]
            if open_uids and len(open_uids) == len(members) and self.scope.level != "IMAGE" and size >= BATCH:
                yield self._request("SERIES", place)
                continue
            for start in range(0, len(open_uids), size):
                yield self._request("IMAGE", place, open_uids[start : start + size])

    def _request(self, level: str, place: Place, uids: Iterable[str] = ()) -> Identifier:
        values = {_STUDY: place.study, _SERIES: place.series, _IMAGE: "\\".join(uids)}
        patient = place.patient or next(iter(self.scope.unique("PATIENT")), "")
        if self.scope.model != "STUDY" and patient:
            values[_PATIENT] = patient
        return _identifier(level, {tag: value for tag, value in values.items() if value}, self.scope)


def take_inventory(session: ArchiveAssociation, identifier: Identifier, model: str, max_studies: int = 0) -> Inventory:
    """Query the archive for the objects of a C-MOVE identifier.

    ``max_studies``: highest number of studies that keys other than unique ones may match; 0: no limit.

    Raise ``TooManyStudiesError`` if they match more, ``InventoryError`` if the archive cannot answer, ``PeerError`` if
    the association ends.
    """
    inventory = Inventory(Scope(identifier, model))
    catalogue = _Catalogue(session, inventory.scope, max_studies)
    for uid, place in catalogue.objects():
        inventory.objects[uid] = place
        if len(inventory.objects) > MAXIMUM:
            raise InventoryError(f"the archive lists more than {MAXIMUM} objects for one request")
    inventory.dropped, inventory.hollow = catalogue.dropped, tuple(catalogue.hollow)
    _log.info(
        "the archive lists %d object%s for the request",
        len(inventory.objects),
        "" if len(inventory.objects) == 1 else "s",
    )
    return inventory


class _Catalogue:
    """The queries of an inventory, level by level."""

    def __init__(self, session: ArchiveAssociation, scope: Scope, max_studies: int) -> None:
        self._session = session
        self._max_studies = 0 if scope.is_exact else max_studies
        self._scope = scope
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

    def objects(self) -> Iterator[tuple[str, Place]]:
        """Yield every object and its place."""
        places: list[Place] = [Place("" if self._patient_root else self._patient, "", "")]
        for level in self._levels[:-1]:
            if not self._is_passed_over(level):
                places = [below for place in places for below in self._below(level, place)]
            if level == "STUDY" and self._max_studies and len(places) > self._max_studies:
                raise too_many_studies(len(places), self._max_studies)
        for place in places:
            found = list(self._images(place))
            yield from found
            if not found and self._scope.level != "IMAGE" and (uid := place.series or place.study):
                self.hollow.append(uid)

    @property
    def _patient(self) -> str:
        return next(iter(self._scope.unique("PATIENT")), "")

    def _is_passed_over(self, level: str) -> bool:
        """Return True for a level without keys above a level with unique keys: a relational query."""
        names_below = any(self._scope.unique(name) for name in LEVELS[LEVELS.index(level) + 1 :])
        return names_below and not self._scope.unique(level) and not self._filters(level) and not self._named(level)

    def _named(self, level: str) -> bool:
        """Return True if the request has unique keys of a level above."""
        return any(self._scope.unique(name) for name in LEVELS[1 : LEVELS.index(level)])

    def _filters(self, level: str) -> dict[int, Key]:
        return self._scope.filters(level, patient_root=self._patient_root)

    def _given(self, level: str) -> tuple[str, ...]:
        """Return the values of a level's unique key in the request; none below the request's level."""
        if LEVELS.index(level) > LEVELS.index(self._scope.level):
            return ()
        return self._scope.unique(level)

    def _below(self, level: str, place: Place) -> list[Place]:
        """Return the entities of a level within one of the level above."""
        given = self._given(level)
        field = _FIELDS[level]
        if given and not self._filters(level) and all(is_usable(one, patient=level == "PATIENT") for one in given):
            return [place._replace(**{field: one}) for one in given]
        found = []
        for match in self._find(level, place, "\\".join(given)):
            entity = place._replace(**{field: match[UNIQUE_KEYS[level]]})
            found.append(entity if entity.patient else entity._replace(patient=match.get(_PATIENT, "")))
        if not (found or given or self._filters(level)) and place.study:
            self.hollow.append(place.study)
        return found

    def _images(self, place: Place) -> Iterator[tuple[str, Place]]:
        wanted = frozenset(self._given("IMAGE"))
        key = "\\".join(wanted) if len(wanted) <= BATCH else ""
        for match in self._find("IMAGE", place, key):
            uid = match[_IMAGE]
            if not wanted or uid in wanted:
                study, series = place.study or match.get(_STUDY, ""), place.series or match.get(_SERIES, "")
                yield uid, place if (study, series) == place[1:] else Place(place.patient, study, series)

    def _find(self, level: str, place: Place, own: str) -> Iterator[dict[int, str]]:
        """Yield the unique keys of the matches, by tag; skip matches whose own unique key is unusable.

        ``own``: value of the level's unique key. Read the iterator to its end before the next query.
        """
        uids = {_STUDY: place.study, _SERIES: place.series, UNIQUE_KEYS[level]: own}
        above = LEVELS[: LEVELS.index(level) + 1]
        values = {tag: uids.get(tag, "") for name in above if (tag := UNIQUE_KEYS[name]) in uids}
        filters = self._filters(level)
        if (self._patient_root and place.patient) or (level == "STUDY" and self._scope.model != "STUDY"):
            values[_PATIENT] = place.patient
        values = {tag: value for tag, value in values.items() if tag not in filters}
        answers = _Answers(level, values, filters)
        final: FindResponse | None = None
        try:
            identifier = _identifier(level, values, self._scope, filters)
            for number, (response, context) in enumerate(self._session.find(self._class, identifier), start=1):
                if number > MAXIMUM:
                    raise InventoryError(f"the archive sends more than {MAXIMUM} answers to one C-FIND")
                if response.status_class is not StatusClass.PENDING:
                    final = response  # raised after the loop: leaving it early aborts the association
                elif response.identifier and (match := answers.take(response.identifier, context.transfer_syntax)):
                    yield match
        except DataSetError as error:
            raise InventoryError(f"an answer to C-FIND at level {level} cannot be read: {error}") from error
        except NoPresentationContextError as error:
            raise InventoryError(str(error)) from error
        if final is not None:
            _check(final, level)
        answers.end()
        self.dropped += answers.dropped


class _Answers:
    """The answers to one C-FIND, each compared with the keys sent.

    ``values``: unique keys; ``filters``: the other keys.
    """

    def __init__(self, level: str, values: Mapping[int, str], filters: Mapping[int, Key]) -> None:
        self._level = level
        self._own = UNIQUE_KEYS[level]
        self._named = {
            tag: frozenset((value,) if tag == _PATIENT else listed(value)) for tag, value in values.items() if value
        }
        self._filters = filters
        self._nested = any(key.vr == b"SQ" for key in filters.values())
        self._number = 0
        self._silent = dict.fromkeys(filters, 0)
        self._dropped: list[str] = []
        self._contradicted: dict[int, None] = {}

    def take(self, data: bytes, syntax: TransferSyntax) -> dict[int, str] | None:
        """Return the unique keys of an answer by tag, None if dropped. Raise ``DataSetError`` if malformed."""
        found = values_of(data, syntax) if self._nested else _values(data, syntax)
        self._number += 1
        match = {tag: _text(found[tag]) for tag in UNIQUE_KEYS.values() if tag in found}
        contradicted = [tag for tag, named in self._named.items() if match.get(tag) and match[tag] not in named]
        contradicted += self._unmatched(found) if self._filters else ()
        if contradicted:
            self._contradicted.update(dict.fromkeys(contradicted))
            self._dropped.append(match.get(self._own, ""))
            return None
        if not is_usable(match.get(self._own, "") or "\\", patient=self._own == _PATIENT):
            _log.warning("an answer to C-FIND at level %s has no usable UID", self._level)
            return None
        return match

    def _unmatched(self, found: Mapping[int, bytes]) -> list[int]:
        """Return the keys that an answer does not match; an absent value matches no key."""
        character_set = found.get(SPECIFIC_CHARACTER_SET, b"")
        terms = terms_of(character_set) if character_set else ("",)
        unmatched = []
        for tag, key in self._filters.items():
            value = found.get(tag, b"")
            if is_empty(value):
                self._silent[tag] += 1
                unmatched.append(tag)
            elif not matches(key, value, terms):
                unmatched.append(tag)
        return unmatched

    @property
    def dropped(self) -> int:
        """Number of answers that contradict a key."""
        return len(self._dropped)

    def end(self) -> None:
        """Warn of dropped answers. Raise ``IgnoredKeyError`` if no answer had a value for a key."""
        ignored = [tag for tag, number in self._silent.items() if self._number and number == self._number]
        if ignored:
            raise IgnoredKeyError(
                f"the archive ignores {_names(ignored)} at level {self._level}: the matches of the request are unknown",
                hint="leave the key out, or use one that the archive supports",
            )
        if self._dropped:
            named = ", ".join(uid for uid in self._dropped[:_NAMED] if uid)
            more = f" ... and {len(self._dropped) - _NAMED} more" if len(self._dropped) > _NAMED else ""
            number = len(self._dropped)
            _log.warning(
                "dropped %d answer%s to C-FIND at level %s that contradict%s %s: %s%s",
                *(number, "" if number == 1 else "s", self._level, "s" if number == 1 else ""),
                *(_names(self._contradicted), named, more),
            )


def _names(tags: Iterable[int]) -> str:
    return " and ".join(map(keyword, tags))


def _check(response: FindResponse, level: str) -> None:
    """Raise ``InventoryError`` for a final response other than success."""
    if response.status_class is not StatusClass.SUCCESS:
        comment = f": {response.error_comment}" if response.error_comment else ""
        raise InventoryError(
            f"the archive answers C-FIND at level {level} with status 0x{response.status:04x} "
            f"({response.status_name}{comment})"
        )


def _values(data: bytes, syntax: TransferSyntax) -> dict[int, bytes]:
    """Return the values of an answer by tag: by a fast loop if it is plain, as most are, else by the parser.

    Raise ``DataSetError`` if the answer is malformed.
    """
    values: dict[int, bytes] = {}
    position, short = 0, Struct("<HHI" if syntax.implicit else "<HH2sH").unpack_from
    try:
        while position < len(data):
            group, number, *vr, length = short(data, position)
            position += 8
            if vr and vr[0] in LONG:
                (length,) = _LONG_LENGTH(data, position)
                position += 4
            values[group << 16 | number] = data[position : position + length]
            position += length
    except struct_error:
        position = -1
    plain = position == len(data) and not (syntax.big_endian or syntax.deflated)
    return values if plain else values_of(data, syntax)


def _identifier(
    level: str, values: Mapping[int, str], scope: Scope, filters: Mapping[int, Key] | None = None
) -> Identifier:
    """Encode an identifier with unique keys and, unchanged from the request, further keys."""
    encoded = {LEVEL: element(LEVEL, "CS", pad(level.encode("ascii"), b" "))}
    for tag, value in values.items():
        vr, padding = ("LO", b" ") if tag == _PATIENT else ("UI", b"\0")
        encoded[tag] = element(tag, vr, pad(value.encode("latin-1"), padding))
    for key in (*(filters or {}).values(), *((scope.character_set,) if scope.character_set is not None else ())):
        encoded[key.tag] = element(key.tag, key.vr.decode("ascii"), key.value)
    return Identifier(b"".join(encoded[tag] for tag in sorted(encoded)))


def _text(value: bytes) -> str:
    """Return a value decoded byte by byte: it is only compared and sent back."""
    return value.decode("latin-1").strip("\0 ")


def _grouped(pairs: Iterable[tuple[_K, str]]) -> dict[_K, list[str]]:
    groups: dict[_K, list[str]] = {}
    for key, uid in pairs:
        groups.setdefault(key, []).append(uid)
    return groups
