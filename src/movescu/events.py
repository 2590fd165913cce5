"""The events of a retrieve, as records: the lines of ``--events`` and the source of the report.

One dataclass for each kind of event; ``as_json`` returns the form described by ``report/data/events.schema.json``.
Every event has ``time``, in seconds since 1970, and ``row``, the number of the list's entry, from 1 (None without a
list). An ``EventSink`` is a callable that receives the events, in the thread of each event, one call at a time. Without
a sink no records are made.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from movescu._runtime import clock
from movescu.dimse.status import C_MOVE, C_STORE, status_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VERSION: Final = 1
"""Version of the JSON form of events and reports; it changes when old readers would misread the new form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """``time``: seconds since 1970. ``row``: number of the list's entry, from 1. Default: None, no list."""

    time: float = field(default_factory=lambda: clock.wall())  # noqa: PLW0108 - a seam: looked up when it is called
    row: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationEvent(_Event):
    """An association started or ended.

    ``role``: ``archive`` for requests, ``storage`` for objects. ``state``: opened, released, aborted (by us), lost or
    failed (never opened). ``peer``: address of the other side.
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
    """A storage class that a sender proposed and we did not accept, with the transfer syntaxes offered for it."""

    sop_class_uid: str
    transfer_syntax_uids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectEvent(_Event):
    """An object arrived. ``size``: bytes of its data set; ``seconds``: duration; ``status``: of our C-STORE response.

    Study and series are empty if the data set lacks them; ``status`` is None if the transfer broke off.
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
    """A C-MOVE or C-GET response arrived; counts that the archive left out are None (PS3.7 tables 9.1-4, 9.1-3).

    ``service``: ``C-GET`` for a response to that. Default: empty, C-MOVE.
    """

    message_id: int
    status: int
    remaining: int | None
    completed: int | None
    failed: int | None
    warning: int | None
    error_comment: str = ""
    failed_sop_instance_uids: tuple[str, ...] = ()
    seconds: float = 0.0
    """Seconds since the request."""
    service: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackEvent(_Event):
    """C-MOVE replaces C-GET for the rest of the run, for a ``reason``."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryEvent(_Event):
    """Missing objects will be requested again after a pause of ``pause`` seconds.

    ``objects``: number of missing objects, None if unknown. ``reason``: why the last attempt was not enough.
    """

    attempt: int
    objects: int | None
    pause: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndEvent(_Event):
    """A retrieve, or one entry of a list, ended.

    ``outcome``: complete, not found, incomplete, failed or cancelled. ``verified``: the objects were compared with the
    archive's list; only then are missing and extra objects named. ``size``: bytes. ``columns``: cells of the entry that
    are not keys, by heading. ``same_as``: number of the equal entry that was requested instead. ``fallback``: why
    C-MOVE replaced C-GET. Default: empty, it did not.
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
    columns: Mapping[str, str] | None = None
    same_as: int | None = None
    fallback: str = ""


class EntryState(StrEnum):
    """State of an entry of a list; all but the first two are final."""

    RUNNING = "running"
    POSTPONED = "postponed"
    COMPLETE = "complete"
    COMPLETE_BEFORE = "complete before"
    PARTIAL = "partial"
    NOT_FOUND = "not found"
    FAILED = "failed"
    NOT_STARTED = "not started"

    @property
    def is_end(self) -> bool:
        """Whether no further state follows."""
        return self not in (EntryState.RUNNING, EntryState.POSTPONED)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryEvent(_Event):
    """An entry of a list changed its state.

    ``keys``: of the entry, as after ``-k``. ``columns``: its further cells. ``study_instance_uids``: of the archive's
    list, else of the keys. ``size``: bytes. ``reason``, ``words``, ``fault``, ``passing`` and ``advice``: the likely
    cause of an incomplete entry (``retrieve.causes``). ``status``: its final C-MOVE status. ``detail``: the error's own
    words.
    """

    state: EntryState
    keys: tuple[str, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    study_instance_uids: tuple[str, ...] = ()
    stored: int = 0
    already_there: int = 0
    missing: int = 0
    failed: int = 0
    size: int = 0
    seconds: float = 0.0
    attempts: int = 0
    verified: bool = False
    reason: str = ""
    words: str = ""
    fault: str = ""
    passing: bool = False
    advice: str = ""
    status: int | None = None
    detail: str = ""
    same_as: int | None = None
    """Number of the equal entry that was requested instead; the numbers of objects are that entry's."""
    missing_sop_instance_uids: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The keys, for messages."""
        return ", ".join(self.keys)


Event: TypeAlias = AssociationEvent | ObjectEvent | ResponseEvent | FallbackEvent | RetryEvent | EntryEvent | EndEvent
EventSink: TypeAlias = "Callable[[Event], None]"

_NAMES: Final = {
    AssociationEvent: "association",
    ObjectEvent: "object",
    ResponseEvent: "response",
    FallbackEvent: "fallback",
    RetryEvent: "retry",
    EntryEvent: "entry",
    EndEvent: "end",
}
_SERVICES: Final = {ObjectEvent: C_STORE, ResponseEvent: C_MOVE, EntryEvent: C_MOVE}


def as_json(event: Event) -> dict[str, Any]:
    """Return the JSON form of an event (``events.schema.json``), without empty and unknown values."""
    result: dict[str, Any] = {"version": VERSION, "event": _NAMES[type(event)], "time": moment(event.time)}
    for name in (item.name for item in fields(event) if item.name != "time"):
        value = getattr(event, name)
        if isinstance(event, EntryEvent) and not value and (name != "passing" or not event.reason):
            continue  # most numbers of an entry are 0, until its end
        if name == "keys":
            result[name] = keys_json(value)
        elif name == "columns":
            result |= {name: dict(value)} if value else {}
        elif name == "status":
            result[name] = None if value is None else status_json(value, _SERVICES[type(event)])
        elif name == "rejected_contexts":
            result |= {name: [rejected_json(context) for context in value]} if value else {}
        elif isinstance(value, float):
            result[name] = round(value, 6)
        elif value not in (None, "", ()):
            result[name] = value
    return result


def moment(seconds: float) -> str:
    """Return seconds since 1970 as an RFC 3339 timestamp in UTC."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03}Z"


def status_json(status: int, service: tuple[tuple[int, int, str], ...]) -> dict[str, str]:
    """Return a status as hexadecimal code and as the name that its service gives it."""
    return {"code": f"0x{status:04x}", "name": status_name(status, service)}


def keys_json(keys: tuple[str, ...]) -> dict[str, str]:
    """Return keys, as after ``-k``, as values by name."""
    return {name: value for name, _, value in (key.partition("=") for key in keys)}


def rejected_json(context: RejectedContext) -> dict[str, Any]:
    """Return the JSON form of a rejected storage class."""
    return {"sop_class_uid": context.sop_class_uid, "transfer_syntax_uids": context.transfer_syntax_uids}


def fan_out(sinks: tuple[EventSink, ...]) -> EventSink | None:
    """Return several sinks as one, serialized by a lock; None without sinks."""
    if not sinks:
        return None
    lock = clock.Lock()

    def tell(event: Event) -> None:
        with lock:
            for sink in sinks:
                sink(event)

    return tell
