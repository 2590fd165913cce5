"""Patients who share a Patient ID: whether others than those that the keys match have it (PS3.4 C.6.1.1.2).

Below the patient level, and in a C-MOVE, a request contains only the Patient ID. So it would also retrieve the objects
of another patient who has the same ID, from another issuer or by mistake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu.errors import DataSetError
from movescu.query.identifier import Identifier
from movescu.query.key import Key
from movescu.query.levels import LEVEL
from movescu.query.match import Attribute, attributes_of
from movescu.query.matching import PATIENT_ID, matches
from movescu.query.selection import shared_patient_id
from movescu.retrieve.answers import Responses

if TYPE_CHECKING:
    from collections.abc import Mapping

    from movescu.query.scope import Scope
    from movescu.retrieve.answers import FindAnswer
    from movescu.retrieve.association import ArchiveAssociation

_NOTHING: Final = Attribute(b"LO", b"")


def check_patient(
    session: ArchiveAssociation, sop_class_uid: str, own: Key, filters: Mapping[int, Key], scope: Scope
) -> None:
    """Raise ``InventoryError`` if another patient, whom the keys do not match, has a Patient ID, or the archive fails.

    ``own``: the Patient ID. ``filters``: the other keys of the level.
    """
    keys = [Key(LEVEL, b"CS", b"PATIENT"), own, *(Key(tag, key.vr) for tag, key in filters.items())]
    if scope.character_set is not None:
        keys.append(scope.character_set)
    responses = Responses(session, sop_class_uid, Identifier(keys))
    others = [_is_other(answer, own, filters, scope.identifier.terms) for answer in responses]
    responses.check("PATIENT")
    if any(others):
        raise shared_patient_id()


def _is_other(answer: FindAnswer, own: Key, filters: Mapping[int, Key], terms: tuple[str, ...]) -> bool:
    """Return True if an answer has the Patient ID and contradicts another key, or cannot be read."""
    try:
        found = attributes_of(answer.data, answer.syntax)
    except DataSetError:
        return True
    if found.get(PATIENT_ID, _NOTHING).value.strip(b"\0 ") != own.value.strip(b"\0 "):
        return False
    values = ((key, found.get(tag, _NOTHING)) for tag, key in filters.items())
    return not all(matches(key, one.value, one.terms, terms) for key, one in values)
