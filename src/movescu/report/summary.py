"""The report of a retrieve (``--report``): one JSON object, as in ``data/report.schema.json``, from its events.

Memory does not grow with the number of objects: a few numbers per series and entry, and at most 1000 failed objects.
Series and entries have a line each, which is made when it is written.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from movescu._runtime import version
from movescu.dimse.status import C_STORE, PENDING, PENDING_WARNING, SUCCESS
from movescu.events import (
    VERSION,
    AssociationEvent,
    EndEvent,
    EntryEvent,
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
    from collections.abc import Iterable, Iterator

    from movescu.report.entry_table import EntryTable
    from movescu.retrieve.config import Config

_REPORTED: Final = 1000  # failures, errors and rejected contexts that are listed; of a list, responses and retries too


@dataclass(slots=True)
class _Series:
    """Counts of a series; times are seconds since 1970."""

    stored: int = 0
    failed: int = 0
    size: int = 0
    begun: float = 0.0
    ended: float = 0.0


class Summary:
    """An ``EventSink`` that makes the report; ``table``: has the entries of a list."""

    def __init__(self, config: Config, table: EntryTable) -> None:
        self._table = table
        self.begun = time.time()
        """Seconds since 1970."""
        self.archive = archive_json(config)
        """The report's data on the archive."""
        self._series: dict[tuple[int | None, str, str], _Series] = {}
        self._failures: dict[str, dict[str, Any]] = {}
        self._responses: list[dict[str, Any]] = []
        self._retries: list[dict[str, Any]] = []
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
            case ResponseEvent():
                self._response(event)
            case RetryEvent() if event.row is None or len(self._retries) < _REPORTED:
                self._retries.append(_without_envelope(event))
            case EntryEvent():
                self._entry(event)
            case EndEvent() if event.row is None:
                self._end = event
            case _:
                pass

    def _response(self, event: ResponseEvent) -> None:
        """Add a final response; of a list's entries, the first thousand."""
        if event.status in (PENDING, PENDING_WARNING):
            return
        if event.row is None or len(self._responses) < _REPORTED:
            self._responses.append(_without_envelope(event))

    def _entry(self, event: EntryEvent) -> None:
        if event.detail and len(self._errors) < _REPORTED:
            self._errors[event.detail] = None

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

    def texts(self) -> Iterator[str]:
        """Yield the report in pieces. The ``EndEvent`` of the run must have been added."""
        for number, (name, value) in enumerate(self.values().items()):
            yield f"{',' if number else '{'}\n  {json.dumps(name)}: "
            if name in ("series", "missing_objects", "entries"):
                yield from _lines(value)
            else:
                yield json.dumps(value, indent=2).replace("\n", "\n  ")
        yield "\n}\n"

    def values(self, table: EntryTable | None = None) -> dict[str, Any]:
        """Return the report by name, with iterators of series, missing objects and entries.

        The ``EndEvent`` of the run must have been added. ``table``: other entries, told in full. Default: None.
        """
        end = self._end
        assert end is not None
        told = as_json(end)
        errors = dict.fromkeys((*self._errors, *end.errors))
        return {
            "version": VERSION,
            "program": f"movescu {version.VERSION}",
            "begun": moment(self.begun),
            "ended": moment(end.time),
            "archive": self.archive,
            **{name: value for name, value in told.items() if name not in ("version", "event", "time", "errors")},
            "responses": self._responses,
            "series": (_series_json(*item) for item in self._series.items()),
            "failures": list(self._failures.values()),
            "retries": self._retries,
            "associations": self._associations,
            "rejected_contexts": [rejected_json(context) for context in self._rejected],
            "errors": list(errors),
            **(self._of_list(list(errors), self._table) if self._table and table is None else {}),
            **({} if table is None else self._of_list(list(errors), table, full=True)),
        }

    def _of_list(self, errors: list[str], table: EntryTable, *, full: bool = False) -> dict[str, Any]:
        return {
            "counts": table.counts,
            "reasons": table.reasons_json(),
            "missing_objects": table.missing_json(),
            "entries": table.entries_json({error: number for number, error in enumerate(errors)}, full=full),
        }


def archive_json(config: Config) -> dict[str, Any]:
    """Return the report's data on the archive."""
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


def _lines(values: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield an array with a line for each value."""
    begun = False
    for value in values:
        yield f"{',' if begun else '['}\n    {json.dumps(value, separators=(',', ':'))}"
        begun = True
    yield "\n  ]" if begun else "[]"


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
