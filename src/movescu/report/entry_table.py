"""The entries of a list in the report: as lines of JSON, as a spreadsheet, and as a list to run again.

Some 700 bytes are kept for an entry: its keys are those of the list itself, and the words of its cause are in a table
of their own, because thousands of entries may have the same one.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from sys import intern
from typing import TYPE_CHECKING, Any, Final

from movescu.dimse.status import C_MOVE
from movescu.events import EntryState, keys_json, status_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from movescu.events import EntryEvent

_DETAIL: Final = 300  # characters of an error's own words
_MISSING: Final = 1000  # missing objects that are named
_DANGEROUS: Final = ("=", "+", "-", "@", "\t", "\r")
_AGAIN: Final = (EntryState.PARTIAL, EntryState.NOT_FOUND, EntryState.FAILED, EntryState.NOT_STARTED)


@dataclass(slots=True)
class _Entry:
    """An entry, in its last state; ``cause``: number of its row in the table of causes."""

    state: str
    keys: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    studies: tuple[str, ...]
    stored: int
    already_there: int
    missing: int
    failed: int
    size: int
    seconds: float
    attempts: int
    reason: str
    status: int | None
    detail: str
    same_as: int | None


class EntryTable:
    """The entries of a list, fed with their events."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._causes: dict[str, tuple[str, str, bool, str]] = {}
        self._missing: dict[int, tuple[str, ...]] = {}
        self._named = 0

    def add(self, event: EntryEvent) -> None:
        """Add an entry, or replace its state."""
        assert event.row is not None
        if event.reason:
            self._causes.setdefault(event.reason, (event.words, event.fault, event.passing, event.advice))
        if event.missing_sop_instance_uids and self._named < _MISSING:
            self._missing[event.row] = event.missing_sop_instance_uids[: _MISSING - self._named]
            self._named += len(self._missing[event.row])
        detail = event.detail if len(event.detail) <= _DETAIL else f"{event.detail[: _DETAIL - 3]}..."
        numbers: dict[str, Any] = {name: getattr(event, name) for name in _NUMBERS}
        self._entries[event.row] = _Entry(
            state=event.state.value,
            keys=event.keys,
            columns=event.columns,
            studies=event.study_instance_uids,
            reason=intern(event.reason),
            status=event.status,
            detail=intern(detail),
            same_as=event.same_as,
            **numbers | {"seconds": round(event.seconds, 1)},
        )

    def __bool__(self) -> bool:
        return bool(self._entries)

    @property
    def counts(self) -> dict[str, int]:
        """Number of entries by state; their sum is that of all entries."""
        counts = {state.value: 0 for state in EntryState if state.is_end}
        for entry in self._entries.values():
            counts[entry.state] = counts.get(entry.state, 0) + 1
        return counts

    @property
    def numbers(self) -> list[int]:
        """The numbers of the entries, in order."""
        return sorted(self._entries)

    @property
    def _in_order(self) -> Iterator[tuple[int, _Entry]]:
        return ((number, self._entries[number]) for number in sorted(self._entries))

    # -- JSON ----------------------------------------------------------------------------------------------------------

    def reasons_json(self) -> dict[str, dict[str, Any]]:
        """Return the causes of the entries, by their codes."""
        names = ("words", "fault", "passing", "advice")
        used = sorted({entry.reason for entry in self._entries.values()} - {""})
        return {code: dict(zip(names, self._causes[code], strict=True)) for code in used}

    def entries_json(self, errors: Mapping[str, int], *, full: bool = False) -> Iterator[dict[str, Any]]:
        """Yield the entries; numbers that are 0 and empty texts are left out.

        ``errors``: numbers of the details. ``full``: with size and seconds, too. Default: False.
        """
        return (self._entry_json(number, entry, errors, full=full) for number, entry in self._in_order)

    def entry_json(self, number: int) -> dict[str, Any]:
        """Return an entry in full, with its detail as text."""
        entry = self._entries[number]
        return self._entry_json(number, entry, {}, full=True) | ({"detail": entry.detail} if entry.detail else {})

    def _entry_json(self, number: int, entry: _Entry, errors: Mapping[str, int], *, full: bool) -> dict[str, Any]:
        told: dict[str, Any] = {"row": number, "state": entry.state}
        told |= {name: getattr(entry, name) for name in (_NUMBERS if full else _BRIEF) if getattr(entry, name)}
        if entry.reason:
            told["reason"] = entry.reason
        if entry.status is not None:
            told["status"] = f"0x{entry.status:04x}"
        if entry.detail in errors:
            told["error"] = errors[entry.detail]
        if entry.same_as is not None:
            told["same_as"] = entry.same_as
        told |= {"keys": keys_json(entry.keys), "studies": entry.studies}
        return told | ({"columns": dict(entry.columns)} if entry.columns else {})

    def missing_json(self) -> Iterator[dict[str, Any]]:
        """Yield the missing objects of each entry."""
        return ({"row": number, "sop_instance_uids": uids} for number, uids in sorted(self._missing.items()))

    # -- CSV -----------------------------------------------------------------------------------------------------------

    def csv_lines(self) -> Iterator[str]:
        """Yield the lines of a spreadsheet; a cell that one would take for a formula begins with an apostrophe."""
        names, columns = self._key_names(), self._column_names()
        yield _line(map(_harmless, ["row", "state", *names, *columns, "StudyInstanceUIDs", *_NUMBERS, *_WORDS]))
        for number, entry in self._in_order:
            keys, further = keys_json(entry.keys), dict(entry.columns)
            words, fault, passing, advice = self._causes.get(entry.reason, ("", "", False, ""))
            status = {} if entry.status is None else status_json(entry.status, C_MOVE)
            cells = [
                *(str(number), entry.state),
                *(keys.get(name, "") for name in names),
                *(further.get(name, "") for name in columns),
                *(" ".join(entry.studies), *(str(getattr(entry, name)) for name in _NUMBERS)),
                *(entry.reason, words, fault, ("yes" if passing else "no") if entry.reason else "", advice),
                *(" ".join(status.values()), entry.detail, "" if entry.same_as is None else str(entry.same_as)),
            ]
            yield _line(map(_harmless, cells))

    def failed_lines(self) -> Iterator[str]:
        """Yield the lines of a list of all entries that are not complete, as ``--list`` reads it, with all columns."""
        names, columns = self._key_names(), self._column_names()
        if names:
            yield _line([*names, *columns])
        for _, entry in self._in_order:
            if entry.state in _AGAIN:
                keys, further = keys_json(entry.keys), dict(entry.columns)
                yield _line([*(keys.get(name, "") for name in names), *(further.get(name, "") for name in columns)])

    def _key_names(self) -> list[str]:
        return list(dict.fromkeys(name for entry in self._entries.values() for name in keys_json(entry.keys)))

    def _column_names(self) -> list[str]:
        return list(dict.fromkeys(name for entry in self._entries.values() for name, _ in entry.columns))


_NUMBERS: Final = ("stored", "already_there", "missing", "failed", "size", "seconds", "attempts")
_BRIEF: Final = (
    "stored",
    "already_there",
    "missing",
    "failed",
    "attempts",
)  # in JSON, which has the series beside them
_WORDS: Final = ("reason", "words", "fault", "passing", "advice", "status", "detail", "same_as")


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_DANGEROUS) else cell


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(cells)
    return text.getvalue()
