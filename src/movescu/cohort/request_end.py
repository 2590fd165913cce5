"""What the end of a request says about its archive: from result or error to ``admission.RequestEnd``.

The statuses are those of PS3.4 table C.4-2, the results of A-ASSOCIATE-RJ those of PS3.8 9.3.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from movescu.cohort.admission import RequestEnd
from movescu.dimse.status import MOVE_DESTINATION_UNKNOWN, OUT_OF_RESOURCES_MATCHES, OUT_OF_RESOURCES_SUB_OPERATIONS
from movescu.errors import (
    AccessDeniedError,
    AssociationRejectedError,
    ConnectError,
    NoPresentationContextError,
    TimedOutError,
)
from movescu.retrieve.tally import failed_of
from movescu.transport.rejection import TRANSIENT

if TYPE_CHECKING:
    from movescu.errors import PeerError
    from movescu.retrieve.result import Result


def end_of_error(error: PeerError) -> RequestEnd:
    """Return how a request without an association ended."""
    if isinstance(error, AssociationRejectedError):
        return RequestEnd.REFUSED if error.result == TRANSIENT else RequestEnd.HOPELESS
    if isinstance(error, NoPresentationContextError | AccessDeniedError):
        return RequestEnd.HOPELESS
    if isinstance(error, ConnectError) and error.unknown_host:
        return RequestEnd.HOPELESS
    return RequestEnd.SILENT if isinstance(error, TimedOutError) else RequestEnd.AWAY


def end_of_result(result: Result, *, reached: bool, no_space: bool = False) -> RequestEnd:
    """Return how a request ended; ``reached``: anything connected to our port meanwhile, or there is none.

    ``no_space``: objects were not stored since the disk is full. Default: False.
    """
    if not result.complete and (no_space or result.evidence.unflushed):
        return RequestEnd.NO_SPACE if no_space else RequestEnd.NOT_FLUSHED
    statuses = {response.status for response in result.responses}
    ours = result.evidence.not_stored  # no permission, say: the archive's status follows from our own refusal
    if not ours and OUT_OF_RESOURCES_MATCHES in statuses:
        return RequestEnd.REFUSED
    if not ours and OUT_OF_RESOURCES_SUB_OPERATIONS in statuses:
        failed = any(map(failed_of, result.responses))
        # It had a slot if all sub-operations of a C-GET failed, or if it could offer nothing that we accept.
        had_slot = failed and (result.service == "C-GET" or (result.rejected and not result.arrived))
        if not had_slot:
            return RequestEnd.UNREACHED if failed and not (reached or result.arrived) else RequestEnd.REFUSED
    if MOVE_DESTINATION_UNKNOWN in statuses and not result.arrived:
        return RequestEnd.UNKNOWN
    if result.evidence.lost and not result.responses:
        return RequestEnd.AWAY
    return RequestEnd.GOOD if result.complete or result.arrived else RequestEnd.FAILED
