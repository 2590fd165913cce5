"""The entries of a list in the report: bounded in size and memory, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import json
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from effort import is_whole

from movescu.dictionary.tags import tag_of
from movescu.events import EndEvent, EntryEvent, EntryState, ObjectEvent, ResponseEvent
from movescu.query.request_list import read_rows
from movescu.report.entry_table import EntryTable
from movescu.report.summary import Summary
from movescu.retrieve.causes import cause_of_status
from movescu.retrieve.config import AE, Config

if TYPE_CHECKING:
    from pathlib import Path

ENTRIES = 10_000 if is_whole() else 2_000
MOST = (2 << 20) + 1900 * ENTRIES
"""Of memory, in bytes."""


def uid(number: int) -> str:
    return f"1.2.826.0.1.3680043.8.498.{number:038}"[:64]


def failed(number: int, *keys: str) -> EntryEvent:
    cause = cause_of_status(0xA801)
    return EntryEvent(
        row=number,
        state=EntryState.PARTIAL,
        keys=keys or (f"PatientID=PATIENT{number}", f"StudyInstanceUID={uid(number)}"),
        study_instance_uids=(uid(number),),
        stored=1234,
        already_there=1000,
        missing=1000,
        failed=100,
        size=123_456_789,
        seconds=1234.5678,
        attempts=12,
        reason=cause.code,
        words=cause.words,
        fault=cause.fault.value,
        passing=cause.passing,
        advice=cause.advice,
        status=0xA801,
        detail=f"cannot connect to archive.example.org port 104: refused {number}",
        missing_sop_instance_uids=(uid(number),),
    )


def summary_of_many() -> tuple[Summary, int]:
    """The summary of a list, and the most bytes that it has taken."""
    tracemalloc.start()
    try:
        events = [failed(number) for number in range(1, ENTRIES + 1)]
        keys = [(event.keys, event.row) for event in events]  # the list itself has them
        del events
        before = tracemalloc.get_traced_memory()[0]
        table = EntryTable()
        summary = Summary(Config(AE("archive", 104)), table)
        for own, number in keys:
            assert number is not None
            event = failed(number, *own)
            table.add(event)
            summary(event)
            summary(
                ObjectEvent(
                    row=number,
                    sop_class_uid="1.2.3",
                    sop_instance_uid=uid(number),
                    transfer_syntax_uid="1.2.840.10008.1.2",
                    study_instance_uid=uid(number),
                    series_instance_uid=uid(-number),
                    size=1,
                    seconds=0.0,
                    status=0,
                )
            )
            summary(
                ResponseEvent(row=number, message_id=1, status=0xA801, remaining=None, completed=1, failed=1, warning=0)
            )
        summary(EndEvent(outcome="failed", stored=0, failed=0, size=0, seconds=1.0, exit_code=69))
        for _ in summary.texts():
            pass
        most = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    return summary, most


def test_thousands_of_entries_are_small_in_the_report_and_in_memory() -> None:
    # Threads that earlier tests have left may allocate something, too, but not each time.
    summary = next((summary for summary, most in (summary_of_many() for _ in range(3)) if most < MOST), None)
    assert summary
    text = "".join(summary.texts())
    assert len(json.loads(text)["entries"]) == ENTRIES
    for line in text.partition('"entries"')[2].splitlines()[1 : ENTRIES + 1]:
        entry = json.loads(line.rstrip(","))
        own = json.dumps(entry["keys"], separators=(",", ":")), *entry["studies"]
        assert len(line) + 1 - sum(map(len, own)) <= 200, line


@pytest.mark.parametrize("cell", ["=1+1", "+49 89", "-1", "@SUM(A1)", "\tx", "\r=1"])
def test_spreadsheet_begins_no_cell_like_a_formula(cell: str) -> None:
    table = EntryTable()
    table.add(EntryEvent(row=1, state=EntryState.COMPLETE, keys=(f"PatientID={cell}",), columns=((cell, cell),)))
    rows: list[list[str]] = list(csv.reader(table.csv_lines()))
    assert sum(f"'{cell}" in row for row in rows) == 2
    assert not [row for row in rows if cell in row]


def test_failed_list_is_read_again_exactly(tmp_path: Path) -> None:
    first = tmp_path / "list.csv"
    lines = '"=A;1";"O\'""X""^Y";1.2.3;A, B', "#x;y;1.2.4;", '" #1";@z;1.2.5;C'
    first.write_text("\n".join(["PatientID;PatientName;StudyInstanceUID;Ward", *lines, ""]))
    rows = read_rows(str(first))
    table = EntryTable()
    for row in rows:
        table.add(EntryEvent(row=row.number, state=EntryState.FAILED, keys=row.keys, columns=row.columns))
    again = tmp_path / "again.csv"
    again.write_text("".join(table.failed_lines()))
    assert [row.identifier for row in read_rows(str(again))] == [row.identifier for row in rows]
    assert [row.columns for row in read_rows(str(again))] == [row.columns for row in rows]
    assert "PatientID==A;1" in rows[0].keys


def test_failed_list_of_answers_with_different_keys_is_read_again_exactly(tmp_path: Path) -> None:
    found = [
        {"QueryRetrieveLevel": "STUDY", "PatientID": "P1", "StudyInstanceUID": "1.2.3"},
        {"QueryRetrieveLevel": "STUDY", "PatientID": "", "StudyInstanceUID": "1.2.4"},
        {"QueryRetrieveLevel": "SERIES", "PatientID": "P1", "StudyInstanceUID": "1.2.5", "SeriesInstanceUID": "1.2.6"},
    ]
    first = tmp_path / "found.json"
    first.write_text(json.dumps([{f"{tag_of(name):08X}": {"Value": [v]} for name, v in one.items()} for one in found]))
    rows = read_rows(str(first))
    table = EntryTable()
    for row in rows:
        table.add(EntryEvent(row=row.number, state=EntryState.FAILED, keys=row.keys))
    again = tmp_path / "again.csv"
    again.write_text("".join(table.failed_lines()))
    assert [row.identifier for row in read_rows(str(again))] == [row.identifier for row in rows]


def test_failed_list_has_no_complete_entry() -> None:
    table = EntryTable()
    for number, state in enumerate(EntryState, start=1):
        if state.is_end:
            table.add(EntryEvent(row=number, state=state, keys=(f"PatientID={state.name}",)))
    _, *rows = csv.reader(table.failed_lines())
    assert rows == [["PARTIAL"], ["NOT_FOUND"], ["FAILED"], ["NOT_STARTED"]]
    assert sum(table.counts.values()) == 6
