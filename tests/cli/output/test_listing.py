"""Lists of matches: a table that fits its terminal, and text that controls none."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

import pytest

from movescu.cli.output import listing
from movescu.dictionary.tags import tag_of, vr_of
from movescu.query.match import Attribute, Match

if TYPE_CHECKING:
    from collections.abc import Callable

UID = "1.2.826.0.1.3680043.8.498.11111111111111111111111111111111111"


def study(**values: str) -> Match:
    attributes = {}
    for name, value in ({"StudyInstanceUID": UID, "PatientID": "P1"} | values).items():
        tag = tag_of(name)
        assert tag is not None
        attributes[tag] = Attribute((vr_of(tag) or "LO").encode(), value.encode(), ("ISO_IR 192",))
    return Match("STUDY", attributes)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    def show(*matches: Match, columns: int = 0, how: str = "table") -> list[str]:
        out: io.StringIO = Terminal() if columns else io.StringIO()
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys, "stdout", out)
        listing.show(matches, "STUDY", how)
        return out.getvalue().splitlines()

    return show


@pytest.mark.parametrize("columns", [66, 80, 100, 132])
def test_table_fits_the_terminal_and_cuts_no_uid(shown: Callable[..., list[str]], columns: int) -> None:
    long = study(StudyDescription="CT of the head " * 10, PatientName="Doe^John" * 5, AccessionNumber="A" * 16)
    lines = shown(long, study(StudyDescription="short"), columns=columns)
    assert max(map(len, lines)) <= columns
    assert sum(line.endswith(UID) for line in lines) == 2


def test_table_is_whole_where_there_is_no_terminal(shown: Callable[..., list[str]]) -> None:
    description = "CT of the head " * 20
    heading, row = shown(study(StudyDescription=description))
    assert description.strip() in row
    assert row.endswith(UID)
    assert heading.endswith("study UID")


def test_table_leaves_out_a_column_without_values_and_marks_an_unknown_number(shown: Callable[..., list[str]]) -> None:
    heading, row = shown(study(StudyDate="20260131"))
    assert heading.split() == ["patient", "date", "series", "objects", "study", "UID"]
    assert row.split() == ["P1", "2026-01-31", "?", "?", UID]


@pytest.mark.not_without("utf-8")
def test_table_aligns_wide_characters(shown: Callable[..., list[str]]) -> None:
    lines = shown(study(PatientName="山田^太郎"), study(PatientName="Doe^John"))
    assert {listing.width_of(line) for line in lines[1:]} == {listing.width_of(lines[1])}


@pytest.mark.parametrize("hostile", ["\x1b[2J", "a\nb", "a\rb", "\x9b31m", "\u202eevil", "\u2028", "a\tb"])
@pytest.mark.parametrize("how", ["table", "csv", "json"])
def test_hostile_values_are_made_harmless(shown: Callable[..., list[str]], how: str, hostile: str) -> None:
    lines = shown(study(StudyDescription=hostile), how=how)
    assert len(lines) == (3 if how == "json" else 2)
    assert all(line.isprintable() for line in lines)
    if how == "json":
        assert json.loads("".join(lines))[0]["StudyDescription"] == hostile.strip(" \0")


def test_json_without_a_match_is_an_empty_array(shown: Callable[..., list[str]]) -> None:
    assert json.loads("".join(shown(how="json"))) == []


def test_json_has_numbers_lists_and_null(shown: Callable[..., list[str]]) -> None:
    match = study(NumberOfStudyRelatedSeries="3 ", ModalitiesInStudy="CT\\MR")
    [found] = json.loads("".join(shown(match, how="json")))
    assert found["NumberOfStudyRelatedSeries"] == 3
    assert found["ModalitiesInStudy"] == ["CT", "MR"]
    assert found["AccessionNumber"] is None
