"""Selections: conditions on series, and values that are none."""

from __future__ import annotations

import pytest

from movescu.dictionary.tags import tag_of
from movescu.errors import UsageError
from movescu.query.match import Attribute, Match
from movescu.query.selection import Selection, parse_condition


def series(vr: str = "LO", terms: tuple[str, ...] = ("",), **values: bytes) -> Match:
    tags = {tag_of(name): value for name, value in values.items()}
    return Match("SERIES", {tag: Attribute(vr.encode(), value, terms) for tag, value in tags.items() if tag})


@pytest.mark.parametrize(
    ("condition", "value", "met"),
    [
        ("SeriesDescription~axial", b"T1 AXIAL +C ", True),
        ("SeriesDescription~axial", b"T1 sagittal", False),
        ("SeriesDescription~t1*+c", b"T1 axial +C", True),
        ("SeriesDescription~sag\\cor", b"t2 cor", True),
        ("SeriesDescription~axial", b"", False),
        ("SeriesDescription=T1 axial", b"T1 axial ", True),
        ("SeriesDescription=T1", b"T1 axial", False),
        ("SeriesDescription=T1*", b"T1 axial", True),
        ("SeriesDescription=a~b", b"a~b", True),
        ("SeriesDescription~a=b", b"xa=b", True),
        ("0008,103E~AXIAL", b"axial", True),
    ],
)
def test_condition_is_met_as_its_mark_says(condition: str, value: bytes, *, met: bool) -> None:
    assert parse_condition(condition).is_met(series(SeriesDescription=value)) is met


def test_condition_is_met_in_any_character_set() -> None:
    found = series(terms=("ISO_IR 100",), SeriesDescription="Schädel ÄXIAL".encode("latin-1"))
    assert parse_condition("SeriesDescription~äxial").is_met(found)
    assert parse_condition("SeriesDescription=Schädel*").is_met(found)


@pytest.mark.parametrize(
    ("condition", "value", "met"),
    [("SeriesNumber=3", b"3 ", True), ("SeriesNumber=3", b"03", True), ("SeriesNumber=3", b"30", False)],
)
def test_condition_on_a_number_compares_numbers(condition: str, value: bytes, *, met: bool) -> None:
    assert parse_condition(condition).is_met(series("IS", SeriesNumber=value)) is met


def test_condition_on_dates_may_be_a_range() -> None:
    condition = parse_condition("SeriesDate=20260101-20260131")
    assert condition.is_met(series("DA", SeriesDate=b"20260115"))
    assert not condition.is_met(series("DA", SeriesDate=b"20260215"))


@pytest.mark.parametrize("text", ["", "Modality", "~x", "Modality=", "PatientName=A", "StudyDate=2026", "Nonsense=1"])
def test_condition_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Selection(only=(text,))


@pytest.mark.parametrize("number", [-1, True, "5"])
def test_selection_of_no_number_of_studies_is_refused(number: object) -> None:
    with pytest.raises(UsageError, match="max_studies"):
        Selection(max_studies=number)  # type: ignore[arg-type]
