"""Templates of layouts: from a template and values to a path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from movescu.dictionary import tags as dictionary
from movescu.errors import UsageError
from movescu.storage.layout.template import MAXIMUM_PART, PRESETS, Layout, apart, parse_layout

VALUES = {
    "PatientID": "PAT1",
    "PatientName": "Müller^Jürgen",
    "StudyDate": "20240131",
    "StudyInstanceUID": "1.2",
    "SeriesInstanceUID": "1.2.3",
    "SeriesNumber": "7",
    "SeriesDescription": "T1/T2 *new*",
    "SOPInstanceUID": "1.2.3.4",
    "InstanceNumber": "12",
    "SliceLocation": "-3.25",
    "Rows": "512",
}


def layout(template: str) -> Layout:
    read = parse_layout(template)
    assert read
    return read


def tagged(values: dict[str, str]) -> dict[int, str]:
    return {tag: value for keyword, value in values.items() if (tag := dictionary.tag_of(keyword)) is not None}


def path_in(read: Layout, values: dict[int, str]) -> str:
    return read.folder(values) + read.name(values)


def path(template: str, **values: str) -> str:
    return path_in(layout(template), tagged(VALUES | values))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("study", "1.2/1.2.3/1.2.3.4.dcm"),
        ("patient", "PAT1/20240131_1.2/0007_1.2.3/1.2.3.4.dcm"),
        ("bids-source", "sourcedata/sub-PAT1/ses-2024013177ac31/007-T1%2FT2 %2Anew%2A/1.2.3.4.dcm"),
        ("{PatientID:.2}-{PatientID:>6}/{SOPInstanceUID}", "PA-  PAT1/1.2.3.4"),
        ("{SeriesNumber:04}/{InstanceNumber:+d}.dcm", "0007/+12.dcm"),
        ("{SliceLocation:.1f}/{Rows:x}_{SOPInstanceUID}", "-3.2/200_1.2.3.4"),
        ("{hash:PatientID}/{hash:PatientID:.4}/{SOPInstanceUID}", "f2be7d3e4cd3969b/f2be/1.2.3.4"),
        ("{{{PatientID}}}/{SOPInstanceUID}", "{PAT1}/1.2.3.4"),
        ("{StudyTime}/{StudyTime|no time}/{StudyTime|}/{InstanceNumber}", "unknown/no time/unknown/12"),
        ("{AccessionNumber|}{InstanceNumber}", "12"),
    ],
)
def test_layout_makes_a_path_from_values(template: str, expected: str) -> None:
    assert path(template) == expected


@pytest.mark.parametrize("value", ["CON", "nul", "Lpt1", "aux.x", "A.", "A ", "."])
def test_name_that_windows_cannot_open_is_escaped(value: str) -> None:
    assert "%" in path("{PatientID}/{SOPInstanceUID}", PatientID=value).partition("/")[0]
    assert "%" not in path("{PatientID}x/{SOPInstanceUID}", PatientID=f"x{value}").partition("/")[0]


@pytest.mark.parametrize("value", ["7.0", "7.", "+7.00"])
def test_integer_with_a_point_is_a_number(value: str) -> None:
    assert path("{SeriesNumber:04}/{InstanceNumber}", SeriesNumber=value) == "0007/12"


def test_two_studies_of_a_day_have_folders_of_their_own_for_bids() -> None:
    first, second = (path("bids-source", StudyInstanceUID=uid).split("/")[2] for uid in ("1.2", "1.3"))
    assert first != second


def test_flat_layout_has_no_template() -> None:
    assert parse_layout("flat") is None


@pytest.mark.parametrize("value", ["", "three", "9" * 5000, "1.5", "0x7"])
def test_invalid_number_counts_as_missing(value: str) -> None:
    assert path("{SeriesNumber:04|none}/{InstanceNumber}", SeriesNumber=value) == "none/12"


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("{Foo}/{SOPInstanceUID}", "character 1: unknown keyword 'Foo'"),
        ("x/{PatientNam}/{SOPInstanceUID}", "character 3: unknown keyword 'PatientNam'"),
        ("{}/{SOPInstanceUID}", "unknown keyword ''"),
        ("{SeriesNumber:d4}/{SOPInstanceUID}", "'d4' is not a format of an integer"),
        ("{PatientID:04d}/{SOPInstanceUID}", "'04d' is not a format of a string"),
        ("{SOPInstanceUID:>999999999}", "is not a format of a string"),
        ("/out/{SOPInstanceUID}", "begins or ends with /"),
        ("{SOPInstanceUID}/", "begins or ends with /"),
        ("a//{SOPInstanceUID}", "has an empty part"),
        ("a/../{SOPInstanceUID}", "begins with a dot"),
        ("./{SOPInstanceUID}", "begins with a dot"),
        (".{SOPInstanceUID}", "begins with a dot"),
        ("a\n{SOPInstanceUID}", "characters"),
        ("a\\{SOPInstanceUID}", "characters"),
        ("{StudyDate|a/b}/{SOPInstanceUID}", "cannot have a /"),
        ("{PixelData}/{SOPInstanceUID}", "cannot be written as text"),
        ("{RequestAttributesSequence}/{SOPInstanceUID}", "cannot be written as text"),
        ("{TransferSyntaxUID}/{SOPInstanceUID}", "TransferSyntaxUID is not an attribute of data sets"),
        ("{PatientID/{SOPInstanceUID}", "unmatched {"),
        ("{SOPInstanceUID}}", "unmatched }"),
        ("{PatientID}/{StudyDate}.dcm", "all objects of a series would have the same name"),
        ("a/" * 20 + "{SOPInstanceUID}", "more than 12 parts"),
        ("patients", "no layout 'patients'"),
        ("", "no layout ''"),
    ],
)
def test_invalid_layout_is_refused_with_the_reason(template: str, what: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_layout(template)
    assert what in str(raised.value)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("patientid", "PatientID"), ("StudyUID", "StudyInstanceUID"), ("Acession", "AccessionNumber")],
)
def test_misspelt_keyword_is_answered_with_the_right_one(typed: str, meant: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_layout(f"{{{typed}}}/{{SOPInstanceUID}}")
    assert raised.value.hint == f"did you mean {meant}?"


@pytest.mark.parametrize(
    "value", ["..", ".", "../../etc/passwd", "/etc", "a\0b", "a\nb", "\u202etxt", "\ud800", "a\\b"]
)
def test_value_never_leads_out_of_its_part(value: str) -> None:
    made = path("{PatientID}/{SOPInstanceUID}", PatientID=value)
    folder, name = made.split("/")
    assert name == "1.2.3.4"
    assert folder not in {".", ".."}
    assert folder.isprintable()


@given(st.text(), st.text(), st.sampled_from(sorted(PRESETS.values())[1:]))
def test_different_values_have_different_valid_names(one: str, other: str, template: str) -> None:
    made = [path(template, PatientID=value, StudyInstanceUID=value, SOPInstanceUID=value) for value in (one, other)]
    unknown = {"", "unknown"}
    assert (made[0] == made[1]) == (one == other or {one, other} == unknown)
    for part in "/".join(made).split("/"):
        assert part not in {"", ".", ".."}
        assert not part.startswith(".")
        assert len(part.encode()) <= MAXIMUM_PART
        assert not set(part) & set('\0\\<>:"|?*')


def test_long_parts_are_cut_and_stay_different() -> None:
    first, second = (path("{PatientName}/{SOPInstanceUID}.dcm", PatientName="ü" * 200 + end) for end in "ab")
    assert first != second
    assert max(len(part.encode()) for part in f"{first}/{second}".split("/")) <= MAXIMUM_PART
    assert path("{PatientName}{SOPInstanceUID}.dcm", PatientName="x" * 300).endswith(".dcm")


@pytest.mark.parametrize(
    ("template", "distinct"),
    [
        ("study", True),
        ("{SOPInstanceUID}/file", True),
        ("{InstanceNumber}", False),
        ("{hash:SOPInstanceUID}", False),
        ("{SOPInstanceUID:.5}", False),
    ],
)
def test_layouts_know_whether_all_paths_are_distinct(template: str, *, distinct: bool) -> None:
    assert layout(template).distinct is distinct


def test_object_whose_name_is_taken_has_its_uid_in_the_name() -> None:
    assert apart("a/0012.dcm", "1.2.3") == "a/0012.1.2.3.dcm"
    assert apart("0012", "../1") == "0012...%2F1"
    assert len(apart("x" * 250 + ".dcm", "1.2.3").encode()) <= MAXIMUM_PART
