"""Which entries of a list are one request, and which may overlap and so follow one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from movescu.cohort.overlap import chains, distinct
from movescu.query.request_list import Row, read_rows

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "list.csv"


def rows_of(path: Path, text: str, model: str = "STUDY") -> list[Row]:
    path.write_text(text)
    return read_rows(str(path), model=model)


def numbers(groups: list[list[Row]]) -> list[list[int]]:
    return [[row.number for row in group] for group in groups]


def test_equal_entries_are_one_whatever_their_other_columns(path: Path) -> None:
    rows, repeated = distinct(rows_of(path, "StudyInstanceUID,Image\n1.2,a\n1.3,b\n1.2,c\n 1.2 ,d\n1.3,\n"))
    assert [row.number for row in rows] == [1, 2]
    assert {number: [row.number for row in same] for number, same in repeated.items()} == {1: [3, 4], 2: [5]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("StudyInstanceUID\n1.2\n1.3\n", [[1], [2]]),
        ("StudyInstanceUID\n1.2\n1.3\n1.3\\1.2\n1.4\n", [[1, 2, 3], [4]]),
        ("StudyInstanceUID,SeriesInstanceUID\n1.2,1.2.1\n1.2,1.2.2\n", [[1], [2]]),
        ("StudyInstanceUID,Modality\n1.2,CT\n1.2,MR\n1.3,CT\n", [[1, 2], [3]]),
        ("AccessionNumber,StudyDate\nA1,20200101\nA2,20200101\nA1,20210101\n", [[1, 3], [2]]),
        ("PatientID,StudyDate\nP1,20200101\nP2,20200101\nP1,2020-\n".replace("2020-", "20200101-"), [[1, 3], [2]]),
        ("PatientID,StudyInstanceUID\nP1,1.2\nP1,1.3\n", [[1], [2]]),
        ("StudyDate\n20200101\n20200102\n", [[1], [2]]),
        ("StudyInstanceUID,AccessionNumber\n1.2,A1\n1.3,A1\n", [[1], [2]]),
        ("StudyInstanceUID,AccessionNumber,Modality\n1.2,A1,CT\n1.3,A1,MR\n1.2,A2,PT\n", [[1, 3], [2]]),
        ("StudyInstanceUID,SeriesInstanceUID,AccessionNumber\n1.2,1.2.1,A1\n1.3,1.3.1,A1\n", [[1], [2]]),
    ],
)
def test_entries_that_may_overlap_form_a_chain(path: Path, text: str, expected: list[list[int]]) -> None:
    assert numbers(chains(rows_of(path, text))) == expected


def test_entry_that_contains_others_comes_before_them(path: Path) -> None:
    text = """[
        {"0020000D": {"vr": "UI", "Value": ["1.2"]}, "0020000E": {"vr": "UI", "Value": ["1.2.1"]}},
        {"0020000D": {"vr": "UI", "Value": ["1.3"]}, "0020000E": {"vr": "UI", "Value": ["1.3.1"]}},
        {"00100020": {"vr": "LO", "Value": ["P1"]}, "0020000D": {"vr": "UI", "Value": ["1.4"]}},
        {"00100020": {"vr": "LO", "Value": ["P1"]}},
        {"0020000D": {"vr": "UI", "Value": ["1.2"]}}
    ]"""
    assert numbers(chains(rows_of(path, text, "PATIENT"))) == [[5, 1], [2], [4, 3]]
