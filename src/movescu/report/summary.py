"""The report of a retrieve (``--report``): one JSON object, as in ``data/report.schema.json``, from its events.

Memory does not grow with the number of objects: a few numbers per series, and at most 1000 failed objects.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from movescu._runtime import version
from movescu.dimse.status import C_STORE, PENDING, PENDING_WARNING, SUCCESS
from movescu.events import (
    VERSION,
    AssociationEvent,
    EndEvent,
    Event,
    ObjectEvent,
    RejectedContext,
    ResponseEvent,
    RetryEvent,
    as_json,
    moment,
    rejected_json,
    status_json,
)

if TYPE_CHECKING:
    from movescu.retrieve.config import Config

_REPORTED: Final = 1000  # failures, errors and rejected contexts that are listed


@dataclass(slots=True)
class _Series:
    """Counts of a series; times are seconds since 1970."""

    stored: int = 0
    failed: int = 0
    size: int = 0
    begun: float = 0.0
    ended: float = 0.0


class Summary:
    """An ``EventSink`` that makes the report."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._begun = time.time()
        self._series: dict[tuple[int | None, str, str], _Series] = {}
        self._failures: dict[str, dict[str, Any]] = {}
        self._responses: list[dict[str, Any]] = []
        self._retries: list[dict[str, Any]] = []
        self._rows: list[dict[str, Any]] = []
        self._associations = {"archive": 0, "storage": 0}
        self._errors: dict[str, None] = {}
        self._rejected: dict[RejectedContext, None] = {}
        self._end: EndEvent | None = None

    def __call__(self, event: Event) -> None:
        """Add an event to the report."""
        match event:
            case ObjectEvent():
                self._object(event)
            case AssociationEvent():
                self._association(event)
            case ResponseEvent() if event.status not in (PENDING, PENDING_WARNING):
                self._responses.append(_without_envelope(event))
            case RetryEvent():
                self._retries.append(_without_envelope(event))
            case EndEvent() if event.row is not None:
                self._rows.append(_without_envelope(event))
            case EndEvent():
                self._end = event
            case _:
                pass

    def _object(self, event: ObjectEvent) -> None:
        key = (event.row, event.study_instance_uid, event.series_instance_uid)
        series = self._series.setdefault(key, _Series(begun=event.time - event.seconds))
        series.size += event.size
        series.ended = event.time
        uid = event.sop_instance_uid
        if event.status == SUCCESS:
            series.stored += 1
            self._failures.pop(uid, None)
            return
        series.failed += 1
        if len(self._failures) < _REPORTED:
            status = None if event.status is None else status_json(event.status, C_STORE)
            self._failures[uid] = {
                "sop_instance_uid": uid,
                "sop_class_uid": event.sop_class_uid,
                "status": status,
                "error": event.error,
            }

    def _association(self, event: AssociationEvent) -> None:
        if event.state == "opened":
            self._associations[event.role] += 1
        if event.error and len(self._errors) < _REPORTED:
            self._errors[event.error] = None
        for context in event.rejected_contexts:
            if len(self._rejected) < _REPORTED:
                self._rejected[context] = None

    def as_json(self) -> dict[str, Any]:
        """Return the report. The ``EndEvent`` of the run must have been added."""
        end = self._end
        assert end is not None
        told = as_json(end)
        errors = dict.fromkeys((*self._errors, *end.errors))
        return {
            "version": VERSION,
            "program": f"movescu {version.VERSION}",
            "begun": moment(self._begun),
            "ended": moment(end.time),
            "archive": self._archive(),
            **{name: value for name, value in told.items() if name not in ("version", "event", "time", "errors")},
            "responses": self._responses,
            "series": [_series_json(*item) for item in self._series.items()],
            "failures": list(self._failures.values()),
            "retries": self._retries,
            "associations": self._associations,
            "rejected_contexts": [rejected_json(context) for context in self._rejected],
            "errors": list(errors),
            **({"rows": self._rows} if self._rows else {}),
        }

    def _archive(self) -> dict[str, Any]:
        config = self._config
        return {
            "host": config.archive.host,
            "port": config.archive.port,
            "called_ae_title": config.archive.title,
            "calling_ae_title": config.ae_title,
            "move_destination": config.move_destination,
            "model": config.request.model,
        }


def _without_envelope(event: Event) -> dict[str, Any]:
    return {name: value for name, value in as_json(event).items() if name not in ("version", "event")}


def _series_json(key: tuple[int | None, str, str], series: _Series) -> dict[str, Any]:
    row, study, uid = key
    return {
        **({} if row is None else {"row": row}),
        "study_instance_uid": study,
        "series_instance_uid": uid,
        "stored": series.stored,
        "failed": series.failed,
        "size": series.size,
        "seconds": round(series.ended - series.begun, 6),
    }
