"""Status codes of DIMSE responses: PS3.7 annex C, PS3.4 tables B.2-1, C.4-1 and C.4-2, as data.

A code belongs to one of five classes (PS3.7 C.1 to C.5); its meaning depends on the service of the response.
"""

from __future__ import annotations

from enum import Enum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

SUCCESS: Final = 0x0000
PENDING: Final = 0xFF00
PENDING_WARNING: Final = 0xFF01
CANCEL: Final = 0xFE00

OUT_OF_RESOURCES: Final = 0xA700
DATA_SET_DOES_NOT_MATCH: Final = 0xA900
CANNOT_UNDERSTAND: Final = 0xC000
UNABLE_TO_PROCESS: Final = 0xC000
SOP_CLASS_NOT_SUPPORTED: Final = 0x0122
INVALID_SOP_INSTANCE: Final = 0x0117
NOT_AUTHORIZED: Final = 0x0124
OUT_OF_RESOURCES_MATCHES: Final = 0xA701
OUT_OF_RESOURCES_SUB_OPERATIONS: Final = 0xA702
MOVE_DESTINATION_UNKNOWN: Final = 0xA801
SUB_OPERATIONS_WITH_FAILURES: Final = 0xB000


class StatusClass(Enum):
    """Classes of status codes (PS3.7 annex C)."""

    SUCCESS = "Success"
    WARNING = "Warning"
    FAILURE = "Failure"
    CANCEL = "Cancel"
    PENDING = "Pending"


def status_class(status: int) -> StatusClass:
    """Return the class of a status code (PS3.7 C.1 to C.5); an unknown code is a failure."""
    if status == SUCCESS:
        return StatusClass.SUCCESS
    if status in (PENDING, PENDING_WARNING):
        return StatusClass.PENDING
    if status == CANCEL:
        return StatusClass.CANCEL
    if status in (0x0001, 0x0107, 0x0116) or status >> 12 == 0xB:
        return StatusClass.WARNING
    return StatusClass.FAILURE


# (first code, last code, name), the specific ranges before the wide ones
_GENERAL: Final = (
    (0x0000, 0x0000, "Success"),
    (0x0105, 0x0105, "Failed: No such Attribute"),
    (0x0106, 0x0106, "Failed: Invalid Attribute Value"),
    (0x0107, 0x0107, "Warning: Attribute list error"),
    (0x0110, 0x0110, "Failed: Processing failure"),
    (0x0111, 0x0111, "Failed: Duplicate SOP Instance"),
    (0x0112, 0x0112, "Failed: No such SOP Instance"),
    (0x0115, 0x0115, "Failed: Invalid argument value"),
    (0x0116, 0x0116, "Warning: Attribute Value out of range"),
    (0x0117, 0x0117, "Failed: Invalid SOP Instance"),
    (0x0118, 0x0118, "Failed: No such SOP Class"),
    (0x0119, 0x0119, "Failed: Class-Instance conflict"),
    (0x0120, 0x0120, "Failed: Missing Attribute"),
    (0x0121, 0x0121, "Failed: Missing Attribute Value"),
    (0x0122, 0x0122, "Refused: SOP Class not supported"),
    (0x0124, 0x0124, "Refused: Not authorized"),
    (0x0210, 0x0210, "Failed: Duplicate invocation"),
    (0x0211, 0x0211, "Failed: Unrecognized operation"),
    (0x0212, 0x0212, "Failed: Mistyped argument"),
    (0x0213, 0x0213, "Failed: Resource limitation"),
    (0xFE00, 0xFE00, "Cancel"),
    (0xFF00, 0xFF00, "Pending"),
    (0xFF01, 0xFF01, "Pending: Optional Keys not supported"),
)

C_STORE: Final = (
    (0xA700, 0xA7FF, "Refused: Out of resources"),
    (0xA900, 0xA9FF, "Error: Data Set does not match SOP Class"),
    (0xB000, 0xB000, "Warning: Coercion of Data Elements"),
    (0xB006, 0xB006, "Warning: Elements discarded"),
    (0xB007, 0xB007, "Warning: Data Set does not match SOP Class"),
    (0xC000, 0xCFFF, "Error: Cannot understand"),
    *_GENERAL,
)
"""PS3.4 table B.2-1."""

C_MOVE: Final = (
    (0xA701, 0xA701, "Refused: Out of resources - Unable to calculate number of matches"),
    (0xA702, 0xA702, "Refused: Out of resources - Unable to perform sub-operations"),
    (0xA700, 0xA7FF, "Refused: Out of resources"),
    (0xA801, 0xA801, "Refused: Move Destination unknown"),
    (0xA900, 0xA9FF, "Error: Identifier does not match SOP Class"),
    (0xB000, 0xB000, "Warning: Sub-operations complete - One or more failures"),
    (0xC000, 0xCFFF, "Failed: Unable to process"),
    *_GENERAL,
)
"""PS3.4 tables C.4-2 and C.4-3: C-GET has the same statuses, less A801."""

C_FIND: Final = (
    (0xA700, 0xA700, "Refused: Out of resources"),
    (0xA900, 0xA900, "Error: Identifier does not match SOP Class"),
    (0xC000, 0xCFFF, "Failed: Unable to process"),
    *_GENERAL,
)
"""PS3.4 table C.4-1."""


def status_name(status: int, table: tuple[tuple[int, int, str], ...] = _GENERAL) -> str:
    """Return the name of a status code in the table of its service, or ``Unknown Status: 0x1234``."""
    for first, last, name in table:
        if first <= status <= last:
            return name
    return f"Unknown Status: 0x{status:04x}"
