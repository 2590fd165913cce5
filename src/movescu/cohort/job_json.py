"""The JSON form of jobs and of the reports on them, for workers in other processes and on other machines.

Each record is an object with its fields, and its class under ``is``. Only the classes below are read. What JSON has no
type for is an object, too: ``{"is": "bytes", "hex": ...}``, ``{"is": "map", "items": [[key, value], ...]}``, ``{"is":
"set", "items": [...]}``; a member of an enumeration is an object with its ``name``. Lists are tuples. ``VERSION``
changes when an older reader would misread a record.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from movescu._runtime.record import Record, names_of
from movescu.cohort.admission import RequestEnd
from movescu.cohort.job import (
    DeliveredReport,
    EchoReport,
    Job,
    JobVerdict,
    LateReport,
    LostJob,
    ObjectsReport,
    PartsReport,
)
from movescu.errors import UsageError
from movescu.query.identifier import Identifier
from movescu.query.key import Key
from movescu.retrieve.causes import Cause, Fault
from movescu.retrieve.earlier_request import EarlierRequest, SeriesObjects
from movescu.retrieve.evidence import Evidence
from movescu.retrieve.request_state import Statement
from movescu.retrieve.result import Result
from movescu.services.move import MoveResponse
from movescu.ul.negotiation import RejectedClass

if TYPE_CHECKING:
    from movescu.cohort.job import Report

VERSION: Final = 1

_RECORDS: Final[dict[str, type[Record]]] = {
    kind.__name__: kind
    for kind in (
        *(Job, DeliveredReport, ObjectsReport, PartsReport, JobVerdict, EchoReport, LostJob, LateReport),
        *(Identifier, Key, EarlierRequest, SeriesObjects, Statement, Evidence, Result, MoveResponse, RejectedClass),
        Cause,
    )
}
_ENUMERATIONS: Final[dict[str, type[Enum]]] = {kind.__name__: kind for kind in (RequestEnd, Fault)}


def to_json(message: Job | Report | LostJob | LateReport) -> str:
    """Return the JSON text of a message: one line."""
    return json.dumps({"version": VERSION, "message": _plain(message)}, separators=(",", ":"))


def from_json(text: str) -> Any:  # noqa: ANN401 - of the classes above
    """Return the message of a JSON text. Raise ``UsageError`` if it is none, or of another version."""
    try:
        whole = json.loads(text)
        if whole["version"] != VERSION:
            raise UsageError(f"a message of version {whole['version']}, not {VERSION}", hint="run the same movescu")
        return _made(whole["message"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"not a job message: {error}") from error


def _plain(value: object) -> object:
    """Return a value in JSON types."""
    plain: object
    match value:
        case Enum():
            plain = {"is": type(value).__name__, "name": value.name}
        case Record():
            named = ((name, getattr(value, name)) for name in names_of(type(value)))
            plain = {"is": type(value).__name__, **{name: _plain(item) for name, item in named}}
        case bytes():
            plain = {"is": "bytes", "hex": value.hex()}
        case dict():
            plain = {"is": "map", "items": [[_plain(key), _plain(item)] for key, item in value.items()]}
        case frozenset():
            plain = {"is": "set", "items": sorted(value)}
        case tuple():
            plain = [_plain(item) for item in value]
        case _:
            assert value is None or isinstance(value, str | int | float)
            plain = value
    return plain


def _made(value: Any) -> Any:  # noqa: ANN401 - of any JSON type
    """Return the value of JSON types."""
    if isinstance(value, list):
        return tuple(_made(item) for item in value)
    return _object(value.pop("is"), value) if isinstance(value, dict) else value


def _object(kind: str, fields: dict[str, Any]) -> Any:  # noqa: ANN401 - as above
    made: Any
    match kind:
        case "bytes":
            made = bytes.fromhex(fields["hex"])
        case "map":
            made = {_made(key): _made(item) for key, item in fields["items"]}
        case "set":
            made = frozenset(fields["items"])
        case _ if kind in _ENUMERATIONS:
            made = _ENUMERATIONS[kind][fields["name"]]
        case _:
            made = _RECORDS[kind](**{name: _made(item) for name, item in fields.items()})
    return made
