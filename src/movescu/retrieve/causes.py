"""The likely cause of an incomplete retrieve: whose fault it is, whether it may pass by itself, and what to do.

The causes are tables: by the final status of C-MOVE (PS3.4 table C.4-2, PS3.7 annex C), by the class of an error, by
the reason of an A-ASSOCIATE-RJ (PS3.8 table 9-21), and by the ``Reason`` of the judgement. ``cause_of`` chooses: a
retrieve that failed in several ways has the cause that explains the others. The archive warns of failed sub-operations
because a disk is full here, for example, so the disk comes first.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Final

from movescu import errors
from movescu._runtime.record import Record, replace
from movescu.dimse.status import (
    CANCEL,
    OUT_OF_RESOURCES_SUB_OPERATIONS,
    SUB_OPERATIONS_WITH_FAILURES,
    SUCCESS,
    UNABLE_TO_PROCESS,
)
from movescu.transport.rejection import STEP_BY_STEP, TRANSIENT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from movescu.errors import MovescuError
    from movescu.retrieve.evidence import Evidence
    from movescu.retrieve.judgement import Judgement

    class _Judged(Protocol):
        """What a cause is found from, of a ``Result``; that names causes itself."""

        @property
        def judgement(self) -> Judgement: ...
        @property
        def responses(self) -> Sequence[object]: ...
        @property
        def arrived(self) -> int: ...
        @property
        def rejected(self) -> Sequence[object]: ...
        @property
        def evidence(self) -> Evidence: ...
        @property
        def unmet(self) -> str: ...
        @property
        def service(self) -> str: ...


class Fault(StrEnum):
    """Who or what has to change for the retrieve to succeed."""

    ARCHIVE = "archive"
    CONFIGURATION = "archive's configuration"
    NETWORK = "network"
    SENDER = "sender"
    REQUEST = "request"
    HERE = "this machine"
    NOBODY = "nobody"


class Cause(Record):
    """A likely cause. ``code``: its name for programs. ``passing``: a later attempt may succeed without a change."""

    code: str
    words: str
    fault: Fault
    passing: bool
    advice: str


def _passing(code: str, fault: Fault, words: str, advice: str) -> Cause:
    return Cause(code, words, fault, passing=True, advice=advice)


def _lasting(code: str, fault: Fault, words: str, advice: str) -> Cause:
    return Cause(code, words, fault, passing=False, advice=advice)


_LATER: Final = "try again later, with fewer --jobs"
_CHECK_LOG: Final = "check the archive's log"
_LOG_AND_AGAIN: Final = "check the archive's log and request them again"
_MODELS: Final = "try another model (-P, -S, -O)"
_RESUME: Final = "continue with --resume"

_NO_RESOURCES: Final = _passing("no-resources", Fault.ARCHIVE, "the archive lacks resources", _LATER)
_NOT_DELIVERED: Final = _passing(
    "some-not-delivered", Fault.ARCHIVE, "the archive could not deliver some objects", _LOG_AND_AGAIN
)
_DESTINATION_UNKNOWN: Final = _lasting(
    "destination-unknown",
    Fault.CONFIGURATION,
    "the archive does not know the move destination",
    "add our AE title with its address and port to the archive's configuration",
)
_NOT_REACHED: Final = _passing(
    "not-reached",
    Fault.CONFIGURATION,
    "the archive cannot reach the move destination, or lacks resources",
    "check the address and port of our AE title in the archive's configuration; else try again later",
)
NOT_SENT: Final = _passing(
    "not-sent",
    Fault.ARCHIVE,
    "the archive connected and sent nothing",
    "check the archive's log: it may not offer the transfer syntax in which it has the objects",
)
_KEYS_REFUSED: Final = _lasting(
    "keys-refused",
    Fault.REQUEST,
    "the archive does not accept these keys",
    "check QueryRetrieveLevel, its unique key, the model (-P, -S, -O)",
)
_MODEL_REFUSED: Final = _lasting(
    "model-refused", Fault.CONFIGURATION, "the archive does not offer the service in this model", _MODELS
)
_NOT_AUTHORIZED: Final = _lasting(
    "not-authorized",
    Fault.CONFIGURATION,
    "the archive does not authorize the request",
    "have the archive's administrator permit our AE title or user",
)
_UNABLE: Final = _passing(
    "unable-to-process",
    Fault.ARCHIVE,
    "the archive could not process the request",
    "check the archive's log, and the address of our AE title in its configuration",
)
_ABORTED_AT_ONCE: Final = _passing(
    "aborted-at-once",
    Fault.CONFIGURATION,
    "the archive aborted the association in answer to C-MOVE: it may not know our AE title",
    "add our AE title with its address and port to the archive's configuration; else check the archive's log",
)
_NOT_ACCEPTED: Final = _lasting(
    "not-accepted-here",
    Fault.HERE,
    "this program accepts none of the transfer syntaxes in which the archive offers the objects",
    "use the option that the log names; +xa accepts all transfer syntaxes, --accept-unknown other SOP classes",
)
_REFUSED: Final = _lasting("refused", Fault.ARCHIVE, "the archive refused the request", _CHECK_LOG)
_BY_MOVE: Final = "use C-MOVE (--retrieve move) with --port"

_OF_GET: Final = {
    "not-reached": _passing(
        "none-sent",
        Fault.ARCHIVE,
        "the archive could not send the objects, or lacks resources",
        "check the archive's log: it may have them in another transfer syntax (+xa accepts all); else try again later",
    ),
    "destination-unknown": _REFUSED,
    "model-refused": replace(_MODEL_REFUSED, advice=f"{_MODELS}, or {_BY_MOVE}"),
    "unable-to-process": replace(_UNABLE, advice=_CHECK_LOG),
    "aborted-at-once": _lasting(
        "get-not-permitted",
        Fault.CONFIGURATION,
        "the archive aborted the association in answer to C-GET: it may not permit C-GET to our AE title",
        f"permit C-GET to our AE title in the archive's configuration, or {_BY_MOVE}",
    ),
    "not-arrived": _lasting(
        "counted-not-sent",
        Fault.ARCHIVE,
        "the archive counts objects as sent that did not arrive",
        _LOG_AND_AGAIN,
    ),
}
"""Causes that differ with C-GET, which has no move destination, by the code of the cause with C-MOVE."""

NOT_DELIVERED: Final = (OUT_OF_RESOURCES_SUB_OPERATIONS, UNABLE_TO_PROCESS)
"""Statuses beside A801 of archives that do not know or cannot reach the destination, or cannot send."""

_STATUS: Final = (
    (0xA702, 0xA702, _NOT_REACHED),
    (0xA700, 0xA7FF, _NO_RESOURCES),
    (0xA801, 0xA801, _DESTINATION_UNKNOWN),
    (0xA900, 0xA9FF, _KEYS_REFUSED),
    (0x0122, 0x0122, _MODEL_REFUSED),
    (0x0124, 0x0124, _NOT_AUTHORIZED),
    (0x0211, 0x0211, _MODEL_REFUSED),
    (0x0213, 0x0213, _NO_RESOURCES),
    (0xB000, 0xB000, _NOT_DELIVERED),
    (0xC000, 0xCFFF, _UNABLE),
    (0x0000, 0xFFFF, _REFUSED),
)
"""First status, last status and cause; specific ranges before wide ones."""

_REJECTION: Final = {
    (1, 2): _lasting("wrong-service", Fault.REQUEST, "the archive does not support DICOM's application context", ""),
    (1, 3): _lasting("calling-title-unknown", Fault.CONFIGURATION, "the archive does not know our AE title", ""),
    (1, 7): _lasting("called-title-unknown", Fault.REQUEST, "the archive has another AE title", ""),
}
"""By source and reason/diag. of A-ASSOCIATE-RJ (PS3.8 table 9-21); the advice is the hint of the error."""

_REJECTED: Final = _lasting("rejected", Fault.CONFIGURATION, "the archive rejected the association", "")
_BUSY: Final = _passing("busy", Fault.ARCHIVE, "the archive is busy: it rejected the association for now", _LATER)

INTERRUPTED: Final = _passing("interrupted", Fault.NOBODY, "interrupted", _RESUME)
NOT_STARTED: Final = _passing("not-started", Fault.NOBODY, "not requested", _RESUME)
STOPPED_ASKING: Final = _passing(
    "given-up",
    Fault.ARCHIVE,
    "not requested, since the archive did not answer several requests in a row",
    "check that the archive is running, and continue with --resume",
)
UNREACHED: Final = _passing(
    "stopped-unreached",
    Fault.CONFIGURATION,
    "not requested, since the archive cannot connect to our port",
    "check the address and port of our AE title in the archive's configuration, and continue with --resume",
)
UNKNOWN: Final = _passing(
    "stopped-unknown",
    Fault.CONFIGURATION,
    "not requested, since the archive does not know the move destination",
    "add our AE title with its address and port to the archive's configuration, and continue with --resume",
)
NO_SPACE: Final = _passing(
    "disk-full",
    Fault.HERE,
    "the disk of the output directory is full",
    "free space there, and continue with --resume",
)
NOT_FLUSHED: Final = _passing(
    "not-flushed",
    Fault.HERE,
    "stored objects could not be flushed to the disk",
    "check the disk of the output directory, and continue with --resume",
)
WORKERS_LOST: Final = _passing(
    "workers-lost",
    Fault.HERE,
    "three workers that requested it ended unexpectedly",
    "check the machines of the workers, their memory and their disks, and continue with --resume",
)
HOPELESS: Final = _passing(
    "stopped-not-accepted",
    Fault.CONFIGURATION,
    "not requested, since the archive does not accept our requests",
    "correct what the failed entries name, and continue with --resume",
)
_NO_ANSWER: Final = (
    "check the archive's DICOM port and AE title (--call), that the archive knows our AE title (--aetitle), and "
    f"whether the archive requires TLS{STEP_BY_STEP}"
)
"""Advice for an association request without an answer: the archive may not even have understood it."""
_NONE_CHOSEN: Final = _lasting(
    "none-chosen", Fault.REQUEST, "no series meets the conditions", "check the values of --only and --exclude"
)
_TOO_MANY: Final = _lasting(
    "too-many-studies",
    Fault.REQUEST,
    "too many studies match the keys",
    "give keys that select fewer, a higher --max-studies, or --all if all of them are meant",
)
_UNEXPLAINED: Final = _passing("incomplete", Fault.ARCHIVE, "incomplete", _CHECK_LOG)

_ERROR: Final[tuple[tuple[type[MovescuError], Cause], ...]] = (
    (
        errors.TimedOutError,
        _passing(
            "timed-out",
            Fault.NETWORK,
            "the archive did not answer in time",
            "check whether the archive is overloaded; -to, -ta, -td and --total-timeout set the limits",
        ),
    ),
    (
        errors.ConnectError,
        _passing(
            "not-connected",
            Fault.NETWORK,
            "the archive cannot be reached",
            "check the archive's host and port, and the firewalls on the way to it",
        ),
    ),
    (
        errors.ConnectionLostError,
        _passing("connection-lost", Fault.NETWORK, "the connection was lost", f"try again; {_CHECK_LOG}"),
    ),
    (
        errors.AssociationAbortedError,
        _passing("aborted", Fault.ARCHIVE, "the archive aborted the association", f"try again; {_CHECK_LOG}"),
    ),
    (
        errors.AssociationReleasedError,
        _passing(
            "released",
            Fault.ARCHIVE,
            "the archive ended the association before its final response",
            f"try again; {_CHECK_LOG}",
        ),
    ),
    (errors.InterruptedConnectionError, INTERRUPTED),
    (errors.NoPresentationContextError, _MODEL_REFUSED),
    (
        errors.ProtocolError,
        _lasting("protocol-error", Fault.ARCHIVE, "the archive violated the protocol", "see the log of -d"),
    ),
    (errors.PeerError, _passing("association-failed", Fault.NETWORK, "the association failed", _CHECK_LOG)),
)
"""Class of an error and cause; subclasses first."""

_REASON: Final = {
    "CANCELLED": INTERRUPTED,
    "UNFLUSHED": NOT_FLUSHED,
    "NOT_STORED": _passing(
        "not-stored",
        Fault.HERE,
        "objects arrived and could not be stored",
        "free space or fix permissions in the output directory, and request them again",
    ),
    "NOTHING_FOUND": _lasting(
        "not-found",
        Fault.REQUEST,
        "the archive has nothing for these keys, or does not show it to this AE title",
        "check the keys",
    ),
    "REFUSED": _UNEXPLAINED,  # by the status
    "LOST": _UNEXPLAINED,  # by the error
    "STOPPED": _passing(
        "stopped",
        Fault.ARCHIVE,
        "the archive cancelled the retrieve on its own",
        "check the archive's log and request it again",
    ),
    "CUT_OFF": _passing(
        "time-over",
        Fault.SENDER,
        "a timeout expired while objects were on their way",
        "raise --total-timeout or --linger, and request the rest with --resume",
    ),
    "BROKEN_OFF": _passing(
        "broken-off",
        Fault.SENDER,
        "the transfer of objects broke off",
        "request them again; check the sender's log",
    ),
    "LATE": _passing("sent-late", Fault.ARCHIVE, "the archive sent objects after its final response", _LOG_AND_AGAIN),
    "SHORT": _lasting(
        "not-arrived",
        Fault.CONFIGURATION,
        "the archive counts objects as delivered that did not arrive",
        "check the address and port of our AE title in the archive's configuration, and the firewalls between",
    ),
    "WARNED": _NOT_DELIVERED,
    "COUNTED_AS_FAILED": _NOT_DELIVERED,
    "REMAINING": _passing(
        "some-not-tried", Fault.ARCHIVE, "the archive did not try to deliver some objects", _LOG_AND_AGAIN
    ),
    "UNFOUND": _lasting(
        "some-not-found", Fault.REQUEST, "the archive lists nothing for some of the keys", "check the keys"
    ),
    "UNLISTED": _lasting(
        "unverified",
        Fault.ARCHIVE,
        "without the archive's list (C-FIND), nothing proves the result",
        "have C-FIND enabled for our AE title, or retrieve without --verify",
    ),
    "MISSING": _passing(
        "missing",
        Fault.ARCHIVE,
        "the archive lists objects that it did not deliver",
        "request them again with --resume and --retry; check the archive's log",
    ),
}
"""By the name of a ``judgement.Reason``, the most likely cause first."""


def cause_of_status(status: int, service: str = "C-MOVE") -> Cause:
    """Return the cause of a final status that is not success; ``service``: C-MOVE or C-GET."""
    return _for(next(cause for first, last, cause in _STATUS if first <= status <= last), service)


def _for(cause: Cause, service: str) -> Cause:
    return _OF_GET.get(cause.code, cause) if service == "C-GET" else cause


def cause_of_error(error: MovescuError) -> Cause:
    """Return the cause of an error that prevented or ended the association."""
    if isinstance(error, errors.AssociationRejectedError):
        if error.result == TRANSIENT:
            return _BUSY
        cause = _REJECTION.get((error.source, error.reason), _REJECTED)
        return replace(cause, advice=error.hint or _CHECK_LOG)
    return next((cause for kind, cause in _ERROR if isinstance(error, kind)), _UNEXPLAINED)


def advice_for(error: MovescuError, *, associated: bool) -> str:
    """Return what the user can do about an error that prevented or ended the association: its hint, else its cause's.

    ``associated``: an association was established.
    """
    if error.hint:
        return error.hint
    return cause_of_error(error).advice if associated else _NO_ANSWER


def cause_of(result: _Judged | None, error: MovescuError | None = None) -> Cause:
    """Return the likely cause of an incomplete result; ``error``: prevented or ended the association."""
    if result is None:
        return _UNEXPLAINED if error is None else cause_of_error(error)
    return _for(_cause_of(result, error), result.service)


def _cause_of(result: _Judged, error: MovescuError | None) -> Cause:
    names = {reason.name for reason in result.judgement.reasons}
    for name, cause in _REASON.items():
        if name not in names:
            continue
        if name == "LOST" and error is not None:
            aborted = isinstance(error, errors.AssociationAbortedError)
            return _ABORTED_AT_ONCE if aborted and not (result.responses or result.arrived) else cause_of_error(error)
        status = status_of(result)
        if name in ("REFUSED", "WARNED") and result.rejected and not result.arrived and status != 0xA801:
            return _NOT_ACCEPTED
        if name == "REFUSED" and status is not None:
            return cause_of_status(status)
        return _of_request(name, result, error) or cause
    return _UNEXPLAINED


def _of_request(name: str, result: _Judged, error: MovescuError | None) -> Cause | None:
    """Return the cause of a reason that lies in the limits or conditions of the request, None if it does not."""
    if name == "UNLISTED" and isinstance(error, errors.TooManyStudiesError):
        return _TOO_MANY
    return _NONE_CHOSEN if name == "NOTHING_FOUND" and result.unmet else None


def status_of(result: _Judged) -> int | None:
    """Return the final status that says most: of failure before warning, None if all are success or cancel."""
    statuses = [status for status in result.evidence.statuses if status not in (SUCCESS, CANCEL)]
    failures = [status for status in statuses if status != SUB_OPERATIONS_WITH_FAILURES]
    return next(iter(failures or statuses), None)


def causes_by_reason() -> dict[str, Cause]:
    """Return the causes by the name of a ``judgement.Reason``, the most likely one first."""
    return dict(_REASON)


@cache
def every_cause() -> dict[str, Cause]:
    """Return all causes by their codes, with the words and the advice that hold for each."""
    tables = (dict(_REASON).values(), _REJECTION.values(), (row[-1] for row in _STATUS), (row[-1] for row in _ERROR))
    single = (one for one in globals().values() if isinstance(one, Cause))
    return {cause.code: cause for cause in (*(one for table in tables for one in table), *single)}
