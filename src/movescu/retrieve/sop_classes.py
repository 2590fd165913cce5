"""The SOP classes of the objects that a request matches, by C-FIND (PS3.4 C.6.1.1, C.6.2.1).

Archives tell them in different ways, tried in this order: SOP Classes in Study; SOP Class UID at level IMAGE; Modality
at level SERIES, which is a guess. Some tell none of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu.dataset.transcoder import values_of
from movescu.dictionary.uids import STUDY_ROOT_FIND
from movescu.errors import DataSetError, InventoryError
from movescu.query.identifier import Identifier
from movescu.query.key import Key
from movescu.query.levels import LEVEL, UNIQUE_KEYS
from movescu.query.scope import Scope, is_usable
from movescu.retrieve.answers import Responses
from movescu.retrieve.config import MODELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from movescu.retrieve.association import ArchiveAssociation

_log: Final = logger_of("movescu.retrieve")

_SOP_CLASS: Final = 0x00080016
_SOP_CLASSES_IN_STUDY: Final = 0x00080062
_MODALITY: Final = 0x00080060
_PATIENT, _STUDY, _SERIES, _IMAGE = UNIQUE_KEYS.values()
_MOST_SERIES: Final = 50
"""Series whose images are queried at most."""

_OF_MODALITY: Final = {
    modality: tuple(f"1.2.840.10008.5.1.4.1.1.{part}" for part in parts.split())
    for modality, parts in {
        "CR": "1",
        "CT": "2 2.1 2.2 7",
        "DX": "1.1 1.1.1 1",
        "MG": "1.2 1.2.1 13.1.3 1.1",
        "MR": "4 4.1 4.2 4.3 4.4 7",
        "NM": "20 7",
        "PT": "128 128.1 130 7",
        "US": "6.1 3.1 6.2 7",
        "XA": "12.1 12.1.1 13.1.1 7",
        "RF": "12.2 12.2.1 7",
        "OT": "7 7.1 7.2 7.3 7.4",
        "SC": "7 7.1 7.2 7.3 7.4",
        "SR": "88.11 88.22 88.33 88.34 88.50 88.65 88.67 88.68 88.69",
        "KO": "88.59",
        "PR": "11.1 11.2 11.3 11.4 11.5 11.8",
        "SEG": "66.4 66.5",
        "REG": "66.1 66.3",
        "DOC": "104.1 104.2",
        "RTSTRUCT": "481.3",
        "RTPLAN": "481.5 481.8",
        "RTDOSE": "481.2",
        "RTIMAGE": "481.1",
        "ECG": "9.1.1 9.1.2 9.1.3 9.1.4",
        "ES": "77.1.1 77.1.1.1 77.1.4",
        "GM": "77.1.2",
        "SM": "77.1.6 77.1.3",
        "XC": "77.1.4 77.1.4.1",
        "OP": "77.1.5.1 77.1.5.2",
        "OPT": "77.1.5.4",
        "IVUS": "3.1 6.1",
    }.items()
}
"""Storage classes of a modality that are likely."""


def sop_classes(session: ArchiveAssociation, identifier: Identifier, model: str) -> tuple[tuple[str, ...], bool]:
    """Return the SOP classes of a request's objects, none if the archive does not tell, and whether they are certain.

    They may be those of more objects than the request matches. Raise ``PeerError`` if the association ends.
    """
    try:
        return _Query(session, Scope(identifier, model)).classes()
    except InventoryError as error:
        _log.info("the archive does not report the SOP classes of the objects: %s", error)
        return (), False


class _Query:
    """The queries for one request."""

    def __init__(self, session: ArchiveAssociation, scope: Scope) -> None:
        self._session = session
        self._scope = scope
        own = MODELS[scope.model][0]
        self._class = next((uid for uid in (STUDY_ROOT_FIND, own) if session.context(uid) is not None), "")
        self._patient = next(iter(scope.unique("PATIENT")), "")

    def classes(self) -> tuple[tuple[str, ...], bool]:
        studies = self._scope.unique("STUDY")
        definite = is_usable(self._patient, patient=True) and all(map(is_usable, studies))
        if not (self._class and definite and (self._patient or studies)):
            return (), False
        found: list[dict[int, str]] = []
        for uid in studies or ("",):
            found += self._find("STUDY", {_STUDY: uid}, _SOP_CLASSES_IN_STUDY)
        told = [match.get(_SOP_CLASSES_IN_STUDY, "") for match in found]
        if found and all(told):
            return tuple(dict.fromkeys(uid for value in told for uid in value.split("\\") if uid)), True
        return self._of_series([uid for match in found if (uid := match.get(_STUDY, ""))])

    def _of_series(self, studies: list[str]) -> tuple[tuple[str, ...], bool]:
        wanted = self._scope.unique("SERIES")
        series = [
            (study, match)
            for study in studies
            for match in self._find("SERIES", {_STUDY: study, _SERIES: ""}, _MODALITY)
            if not wanted or match.get(_SERIES, "") in wanted
        ]
        classes: dict[str, None] = {}
        certain = 0 < len(series) <= _MOST_SERIES
        for study, match in series[: _MOST_SERIES if certain else 0]:
            images = self._find("IMAGE", {_STUDY: study, _SERIES: match.get(_SERIES, ""), _IMAGE: ""}, _SOP_CLASS)
            told = [image.get(_SOP_CLASS, "") for image in images]
            classes |= dict.fromkeys(uid for uid in told if uid)
            if not (told and all(told)):
                certain = False
                break
        if certain:
            return tuple(classes), True
        guessed = (uid for _, match in series for uid in _OF_MODALITY.get(match.get(_MODALITY, ""), ()))
        return tuple(dict.fromkeys((*classes, *guessed))), False

    def _find(self, level: str, uids: Mapping[int, str], wanted: int) -> list[dict[int, str]]:
        """Return the values of the matches, by tag. Raise ``InventoryError`` if the archive refuses the query."""
        values = {_PATIENT: self._patient} if self._patient and self._class != STUDY_ROOT_FIND else {}
        if level == "STUDY" and self._patient:
            values[_PATIENT] = self._patient
        keys = [Key(LEVEL, b"CS", level.encode("ascii")), Key(wanted, b"CS" if wanted == _MODALITY else b"UI")]
        keys += [Key(tag, b"LO", value.encode("latin-1")) for tag, value in values.items()]
        keys += [Key(tag, b"UI", value.encode("latin-1")) for tag, value in uids.items()]
        if self._scope.character_set is not None:
            keys.append(self._scope.character_set)
        responses = Responses(self._session, self._class, Identifier(keys))
        found = []
        for answer in responses:
            try:
                match = values_of(answer.data, answer.syntax)
                found.append({tag: value.decode("latin-1").strip("\0 ") for tag, value in match.items()})
            except DataSetError as error:
                _log.info("an answer to C-FIND at level %s cannot be read: %s", level, error)
                found.append({})
        responses.check(level)
        return found
