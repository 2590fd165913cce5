"""What happens in a retrieve, as records: what ``--events`` writes line by line, and a report is made from.

One dataclass for each kind of event; ``as_json`` gives the form that ``report/data/events.schema.json`` describes.
Whoever wants to be told gives a callable, an ``EventSink``: it is called from the thread in which the event happens,
one call at a time. Where nobody wants to be told none of these records is made.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from movescu.dimse.status import C_MOVE, C_STORE, status_name

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION: Final = 1
"""Of the form of events and reports; it changes when a reader of the old form would misunderstand the new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """``time``: seconds since 1970. ``row``: the number of the row of a list that it belongs to, from 1."""

    time: float = field(default_factory=time.time)
    row: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationEvent(_Event):
    """An association began or ended.

    ``role``: ``archive`` for the one that we ask over, ``storage`` for one over which objects come. ``state``: opened,
    released, aborted (by us), lost or failed (not opened at all). ``peer``: its address.
    """

    role: str
    state: str
    peer: str
    calling_ae_title: str
    called_ae_title: str
    error: str = ""
    rejected_contexts: tuple[RejectedContext, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedContext:
    """A storage class that a sender proposed and that was not accepted, with the transfer syntaxes offered for it."""

    sop_class_uid: str
    transfer_syntax_uids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectEvent(_Event):
    """An object came. ``size``: bytes of its data set; ``seconds``: how long it took; ``status``: what we answered.

    Study and series are empty where the data set does not tell; ``status`` is None if the transfer broke off.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    size: int
    seconds: float
    status: int | None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseEvent(_Event):
    """A C-MOVE response came; counts are None where the archive left them out (PS3.7 table 9.1-4)."""

    message_id: int
    status: int
    remaining: int | None
    completed: int | None
    failed: int | None
    warning: int | None
    error_comment: str = ""
    failed_sop_instance_uids: tuple[str, ...] = ()
    seconds: float = 0.0
    """Since the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryEvent(_Event):
    """What did not come is about to be asked for again, after a pause of ``pause`` seconds.

    ``objects``: how many, None if that is not known. ``reason``: what the last attempt ended with.
    """

    attempt: int
    objects: int | None
    pause: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndEvent(_Event):
    """A retrieve, or a row of a list, came to its end.

    ``outcome``: complete, incomplete, failed or cancelled. ``verified``: it was compared with what the archive lists;
    only then ``missing`` and ``extra`` can have names. ``size`` in bytes.
    """

    outcome: str
    stored: int
    failed: int
    size: int
    seconds: float
    missing: int = 0
    verified: bool = False
    missing_sop_instance_uids: tuple[str, ...] = ()
    extra_sop_instance_uids: tuple[str, ...] = ()
    already_there: int = 0
    attempts: int = 1
    errors: tuple[str, ...] = ()
    exit_code: int | None = None


Event: TypeAlias = AssociationEvent | ObjectEvent | ResponseEvent | RetryEvent | EndEvent
EventSink: TypeAlias = "Callable[[Event], None]"

_NAMES: Final = {
    AssociationEvent: "association",
    ObjectEvent: "object",
    ResponseEvent: "response",
    RetryEvent: "retry",
    EndEvent: "end",
}
_SERVICES: Final = {ObjectEvent: C_STORE, ResponseEvent: C_MOVE}


def as_json(event: Event) -> dict[str, Any]:
    """Give the form of an event that ``events.schema.json`` describes; what is empty or unknown is left out."""
    result: dict[str, Any] = {"version": VERSION, "event": _NAMES[type(event)], "time": moment(event.time)}
    for name in (item.name for item in fields(event) if item.name != "time"):
        value = getattr(event, name)
        if name == "status":
            result[name] = None if value is None else status_json(value, _SERVICES[type(event)])
        elif name == "rejected_contexts":
            result |= {name: [rejected_json(context) for context in value]} if value else {}
        elif isinstance(value, float):
            result[name] = round(value, 6)
        elif value not in (None, "", ()):
            result[name] = value
    return result


def moment(seconds: float) -> str:
    """Write a time since 1970 as RFC 3339 has it, in UTC."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03}Z"


def status_json(status: int, service: tuple[tuple[int, int, str], ...]) -> dict[str, str]:
    """Write a status in hexadecimal and in the words of its service."""
    return {"code": f"0x{status:04x}", "name": status_name(status, service)}


def rejected_json(context: RejectedContext) -> dict[str, Any]:
    """Write a class that was not accepted."""
    return {"sop_class_uid": context.sop_class_uid, "transfer_syntax_uids": context.transfer_syntax_uids}


def fan_out(sinks: tuple[EventSink, ...]) -> EventSink | None:
    """Join sinks to one that is called by one thread at a time; None where there are none."""
    if not sinks:
        return None
    lock = threading.Lock()

    def tell(event: Event) -> None:
        with lock:
            for sink in sinks:
                sink(event)

    return tell
