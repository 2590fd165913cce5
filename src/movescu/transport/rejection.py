"""A-ASSOCIATE-RJ as an error, with what the user can do about each reason (PS3.8 9.3.4, table 9-21)."""

from __future__ import annotations

from movescu.errors import AssociationRejectedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from movescu.ul.pdu import AssociateRJ

TRANSIENT: Final = 2
"""Result of a rejection that may pass by itself."""

_BUSY: Final = "the archive is busy: try again later, or let --retry repeat the request"

_HINTS: Final = {
    (1, 2): "the peer does not know the application context of DICOM: check host and port",
    (1, 3): "the archive does not know the calling AE title: have it added there, or set another with --aetitle",
    (1, 7): "the archive has another AE title: set it with --call",
    (3, 2): "the archive has too many associations: try again later, or let --retry repeat the request",
}
"""By source and reason."""

STEP_BY_STEP: Final = "; --check tests the connection step by step"
"""The end of an advice; ``--check`` itself leaves it out."""
_ELSE: Final = f"check the AE titles (--aetitle, --call) and the archive's configuration{STEP_BY_STEP}"


def rejected(answer: AssociateRJ) -> AssociationRejectedError:
    """Return the error of a rejected association."""
    otherwise = _BUSY if answer.result == TRANSIENT else _ELSE
    return AssociationRejectedError(
        f"association {answer.describe()}",
        result=answer.result,
        source=answer.source,
        reason=answer.reason,
        hint=_HINTS.get((answer.source, answer.reason), otherwise),
    )
