"""Selections: conditions on series, and values that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from movescu.dictionary.tags import tag_of
from movescu.errors import UsageError
from movescu.query.match import Attribute, Match
from movescu.query.selection import MOST_STUDIES, Selection, most_studies, parse_condition, states_limit


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
        ("SeriesDescription~sag\\cor", b"t2 sag", True),
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


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        *(
            (text, "is not a condition on series")
            for text in ("", "Modality", "~x", "=CT", " =CT", "Modality=", "Modality~ ")
        ),
        ("PatientName=A", "an attribute of level PATIENT"),
        ("StudyDate=2026", "an attribute of level STUDY"),
        ("SOPInstanceUID=1.2", "an attribute of level IMAGE"),
        ("RequestAttributesSequence=A", "series cannot be chosen by RequestAttributesSequence"),
        ("0009,1001=A", "series cannot be chosen by 0009,1001"),
        ("Nonsense=1", "Nonsense"),
        ("SmallestPixelValueInSeries=x", "SmallestPixelValueInSeries=x"),
    ],
)
def test_condition_that_is_none_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        Selection(only=(text,))
    with pytest.raises(UsageError, match=complaint):
        Selection(exclude=(text,))


def test_limit_of_studies_is_the_default_unless_a_selection_has_another() -> None:
    assert most_studies(None) == most_studies(Selection()) == MOST_STUDIES
    assert most_studies(Selection(max_studies=5)) == 5
    assert most_studies(None, named=True) == most_studies(Selection(), named=True) == 0
    assert most_studies(Selection(max_studies=MOST_STUDIES), named=True) == MOST_STUDIES
    assert not states_limit(None)
    for most, stated in ((None, False), (MOST_STUDIES, True), (5, True), (0, False)):
        assert states_limit(Selection(max_studies=most)) is stated
    assert [Selection(max_studies=most).everything for most in (0, 1, None)] == [True, False, False]


@pytest.mark.parametrize("name", ["only", "exclude"])
def test_single_text_in_place_of_conditions_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not a tuple of conditions"):
        Selection(**{name: "Modality=CT"})  # type: ignore[arg-type]


def test_series_may_be_chosen_by_its_uid_and_a_list_of_modalities() -> None:
    one = series("UI", SeriesInstanceUID=b"1.2.3\0")
    assert parse_condition("SeriesInstanceUID=1.2.3").is_met(one)
    assert not parse_condition("SeriesInstanceUID=1.2").is_met(one)
    assert parse_condition("Modality = CT\\MR").is_met(series("CS", Modality=b"MR"))
    assert not parse_condition("Modality=CT\\MR").is_met(series("CS", Modality=b"CR"))


def test_condition_on_a_value_that_the_series_lacks_is_not_met() -> None:
    for text in ("SeriesDescription=*", "SeriesDescription~*", "SeriesDescription=?*"):
        assert not parse_condition(text).is_met(series())
        assert not parse_condition(text).is_met(series(SeriesDescription=b""))


CONDITIONS = st.lists(st.sampled_from(("Modality=CT", "Modality=MR", "SeriesNumber=1")), max_size=2).map(tuple)


@given(*(st.tuples(st.booleans(), CONDITIONS, CONDITIONS) for _ in range(2)))
def test_text_of_a_selection_is_that_of_equal_ones_alone(
    one: tuple[bool, tuple[str, ...], tuple[str, ...]], other: tuple[bool, tuple[str, ...], tuple[str, ...]]
) -> None:
    """It is in the keys of the journal: an entry is not complete with what another selection brought."""
    made = [Selection(resolve, only, exclude) for resolve, only, exclude in (one, other)]
    same = (one[0], set(one[1]), set(one[2])) == (other[0], set(other[1]), set(other[2]))
    assert (made[0].text == made[1].text) is same
    assert bool(made[0].text) is any(one)


def test_conditions_are_named_in_messages_as_options() -> None:
    made = Selection(only=("Modality=CT", "SeriesNumber=1"), exclude=("Modality=SR",))
    assert made.options == "--only Modality=CT, --only SeriesNumber=1, --exclude Modality=SR"


@pytest.mark.parametrize("number", [-1, True, "5"])
def test_selection_of_no_number_of_studies_is_refused(number: object) -> None:
    with pytest.raises(UsageError, match="max_studies"):
        Selection(max_studies=number)  # type: ignore[arg-type]
