"""What an archive holds for a request, by C-FIND: every object, with the study and series that it belongs to.

Goes down level by level with the unique keys of those above, as archives insist on that know no relational queries
(PS3.4 C.4.1.2.1, C.4.1.3.1), and only by those levels that the request leaves open: a study costs a query for its
series and one for the objects of each. Study Root is preferred whatever the model of the C-MOVE, for there a study
needs no patient. ``Inventory.requests`` makes what has to be asked to get some of the objects.
"""

from __future__ import annotations

import itertools
from struct import Struct
from struct import error as struct_error
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from movescu._runtime.late_log import logger_of
from movescu.dataset.character_sets import SPECIFIC_CHARACTER_SET
from movescu.dataset.transcoder import values_of
from movescu.dataset.values import element, pad
from movescu.dictionary.uids import MAXIMUM_UID_LENGTH, STUDY_ROOT_FIND
from movescu.dictionary.vr import LONG
from movescu.dimse.status import StatusClass
from movescu.errors import DataSetError, PeerError
from movescu.query.identifier import Identifier
from movescu.query.levels import LEVEL, UNIQUE_KEYS
from movescu.retrieval.archive_association import NoPresentationContextError
from movescu.retrieval.config import MODELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from movescu.dictionary.uids import TransferSyntax
    from movescu.retrieval.archive_association import Session
    from movescu.services.find import FindResponse

_log: Final = logger_of("movescu.retrieve")

BATCH: Final = 100
"""UIDs of one request at most: 6.5 KB, which archives take that have little room for a list."""
MAXIMUM: Final = 1_000_000
"""Objects of one inventory, and answers to one query: a bound for archives that never come to an end."""

_LONG_LENGTH: Final = Struct("<I").unpack_from
_PATIENT, _STUDY, _SERIES, _IMAGE = UNIQUE_KEYS.values()
_K = TypeVar("_K")
_LEVELS: Final = tuple(UNIQUE_KEYS)
_VRS: Final = {_PATIENT: "LO", LEVEL: "CS", SPECIFIC_CHARACTER_SET: "CS"}


class InventoryError(PeerError):
    """The archive does not tell what it holds; the association is still there."""


class Place(NamedTuple):
    """Where an object belongs; ``patient`` is empty where no request needs it."""

    patient: str
    study: str
    series: str


class Inventory:
    """The objects that an archive holds for one request. ``level`` is that of the request."""

    def __init__(self, identifier: Identifier, model: str) -> None:
        self.identifier = identifier
        self.model = model
        self.keys = _keys_of(identifier)
        self.level = self.keys.pop(LEVEL, "")
        self.objects: dict[str, Place] = {}
        """Places by SOP instance UID."""

    def requests(self, wanted: AbstractSet[str], batch: int = BATCH) -> Iterator[Identifier]:
        """Give the requests for some of the objects; ``batch``: how many UIDs a list has.

        All of them: the request as it was made. Else whole studies and series where all of their objects are wanted,
        and lists of SOP instance UIDs for the rest; never at a level above that of the request. With smaller batches
        there are only lists.
        """
        whole_ones = batch >= BATCH
        if len(wanted) >= len(self.objects) and (whole_ones or not self.objects):
            yield self.identifier
            return
        studies = _grouped(((place.patient, place.study), uid) for uid, place in self.objects.items())
        for (patient, study), uids in studies.items():
            open_uids = [uid for uid in uids if uid in wanted]
            whole = whole_ones and len(open_uids) == len(uids) and self.level in ("PATIENT", "STUDY")
            if open_uids and (whole or self.model == "PSONLY"):
                yield self._request("STUDY", Place(patient, study, ""))
            elif open_uids:
                yield from self._of_series(uids, wanted, batch)

    def _of_series(self, uids: Iterable[str], wanted: AbstractSet[str], size: int) -> Iterator[Identifier]:
        for place, members in _grouped((self.objects[uid], uid) for uid in uids).items():
            open_uids = [uid for uid in members if uid in wanted]
            if open_uids and len(open_uids) == len(members) and self.level != "IMAGE" and size >= BATCH:
                yield self._request("SERIES", place)
                continue
            for start in range(0, len(open_uids), size):
                yield self._request("IMAGE", place, open_uids[start : start + size])

    def _request(self, level: str, place: Place, uids: Iterable[str] = ()) -> Identifier:
        values = {LEVEL: level, _STUDY: place.study, _SERIES: place.series, _IMAGE: "\\".join(uids)}
        patient = place.patient or self.keys.get(_PATIENT, "")
        if self.model != "STUDY" and patient:
            values[_PATIENT] = patient
        return _identifier({tag: value for tag, value in values.items() if value}, self.keys)


def take_inventory(session: Session, identifier: Identifier, model: str) -> Inventory:
    """Ask the archive what it holds for a C-MOVE identifier.

    Raises ``InventoryError`` if it does not answer that, and ``PeerError`` if the association ends.
    """
    inventory = Inventory(identifier, model)
    for uid, place in _Catalogue(session, inventory).objects():
        inventory.objects[uid] = place
        if len(inventory.objects) > MAXIMUM:
            raise InventoryError(f"the archive lists more than {MAXIMUM} objects for one request")
    _log.info("the archive holds %d objects for the request", len(inventory.objects))
    return inventory


class _Catalogue:
    """Goes down the levels."""

    def __init__(self, session: Session, inventory: Inventory) -> None:
        self._session = session
        self._keys = inventory.keys
        self._model = inventory.model
        self._level = inventory.level
        own = MODELS[inventory.model][0]
        classes = [uid for uid in (STUDY_ROOT_FIND, own) if session.context(uid) is not None]
        if not classes or inventory.level not in _LEVELS:
            why = "its request has no level" if classes else "it does not offer C-FIND"
            raise InventoryError(f"what the archive holds cannot be asked for: {why}")
        self._class = classes[0]

    def objects(self) -> Iterator[tuple[str, Place]]:
        """Give every object and its place."""
        wanted = frozenset(_listed(self._keys.get(_IMAGE, ""))) if self._level == "IMAGE" else frozenset[str]()
        if self._level in ("SERIES", "IMAGE") and not self._keys.get(_STUDY):
            places: Iterable[Place] = (Place(self._keys.get(_PATIENT, ""), "", self._keys.get(_SERIES, "")),)
        else:
            places = itertools.chain.from_iterable(map(self._series, self._studies()))
        for place in places:
            for uid, found in self._images(place, wanted):
                if not wanted or uid in wanted:
                    yield uid, found

    def _studies(self) -> Iterable[Place]:
        patient = self._keys.get(_PATIENT, "")
        given = _listed(self._keys.get(_STUDY, "")) if self._level != "PATIENT" else []
        if given and all(map(_is_usable, given)):
            return [Place(patient, study, "") for study in given]
        matches = self._find("STUDY", _STUDY, {_PATIENT: patient, _STUDY: "\\".join(given)})
        return [Place(match.get(_PATIENT, patient), match[_STUDY], "") for match in matches]

    def _series(self, study: Place) -> Iterable[Place]:
        given = _listed(self._keys.get(_SERIES, "")) if self._level in ("SERIES", "IMAGE") else []
        if given and all(map(_is_usable, given)):
            return [study._replace(series=series) for series in given]
        matches = self._find("SERIES", _SERIES, {_STUDY: study.study, _SERIES: "\\".join(given)}, study.patient)
        return [study._replace(series=match[_SERIES]) for match in matches]

    def _images(self, place: Place, wanted: frozenset[str]) -> Iterator[tuple[str, Place]]:
        key = "\\".join(wanted) if len(wanted) <= BATCH else ""
        keys = {_STUDY: place.study, _SERIES: place.series, _IMAGE: key}
        for match in self._find("IMAGE", _IMAGE, keys, place.patient):
            study, series = place.study or match.get(_STUDY, ""), place.series or match.get(_SERIES, "")
            yield match[_IMAGE], place if (study, series) == place[1:] else Place(place.patient, study, series)

    def _find(self, level: str, key: int, keys: dict[int, str], patient: str = "") -> Iterator[dict[int, str]]:
        """Give the values of the matches, by tag, as they come; of those whose ``key`` can be asked for again.

        To be read to its end before the next query.
        """
        values = {LEVEL: level, **keys}
        if self._class != STUDY_ROOT_FIND and patient:
            values[_PATIENT] = patient
        number = 0
        try:
            for response, context in self._session.find(self._class, _identifier(values, self._keys)):
                number += 1
                if number > MAXIMUM:
                    raise InventoryError(f"the archive gives more than {MAXIMUM} answers to one C-FIND")
                if response.status_class is not StatusClass.PENDING:
                    _check(response, level)
                elif response.identifier:
                    match = _match(response.identifier, context.transfer_syntax)
                    if _is_usable(match.get(key, "")):
                        yield match
                    else:
                        _log.warning("an answer to C-FIND at level %s has no UID that can be asked for", level)
        except DataSetError as error:
            raise InventoryError(f"an answer to C-FIND at level {level} cannot be read: {error}") from error
        except NoPresentationContextError as error:
            raise InventoryError(str(error)) from error


def _match(data: bytes, syntax: TransferSyntax) -> dict[int, str]:
    found = _values(data, syntax)
    return {tag: _text(found[tag]) for tag in UNIQUE_KEYS.values() if tag in found}


def _check(response: FindResponse, level: str) -> None:
    """Raise ``InventoryError`` for a final response other than success."""
    if response.status_class is not StatusClass.SUCCESS:
        comment = f": {response.error_comment}" if response.error_comment else ""
        raise InventoryError(
            f"the archive answers C-FIND at level {level} with status 0x{response.status:04x} "
            f"({response.status_name}{comment})"
        )


def _values(data: bytes, syntax: TransferSyntax) -> dict[int, bytes]:
    """Give the values of an answer by tag; in 5 us where it is as plain as most, in 80 where it is not.

    Raises ``DataSetError``.
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


def _identifier(values: Mapping[int, str], keys: Mapping[int, str]) -> Identifier:
    """Make an identifier; ``keys``: of the request, for its character set."""
    if SPECIFIC_CHARACTER_SET in keys:
        values = {**values, SPECIFIC_CHARACTER_SET: keys[SPECIFIC_CHARACTER_SET]}
    data = b""
    for tag in sorted(values):
        vr = _VRS.get(tag, "UI")
        data += element(tag, vr, pad(values[tag].encode("latin-1"), b"\0" if vr == "UI" else b" "))
    return Identifier(data)


def _keys_of(identifier: Identifier) -> dict[int, str]:
    tags = (SPECIFIC_CHARACTER_SET, LEVEL, *UNIQUE_KEYS.values())
    return {tag: _text(value) for tag, value in identifier.values().items() if tag in tags and value}


def _text(value: bytes) -> str:
    """Give a value as it stands, byte for character: it is only compared, and sent back."""
    return value.decode("latin-1").strip("\0 ")


def _listed(value: str) -> list[str]:
    return [uid for part in value.split("\\") if (uid := part.strip())]


def _is_usable(uid: str) -> bool:
    """Tell whether a UID names one entity: one that is too long, a list or a pattern would ask for something else."""
    return 0 < len(uid) <= MAXIMUM_UID_LENGTH and not any(mark in uid for mark in "\\*?")


def _grouped(pairs: Iterable[tuple[_K, str]]) -> dict[_K, list[str]]:
    groups: dict[_K, list[str]] = {}
    for key, uid in pairs:
        groups.setdefault(key, []).append(uid)
    return groups
