"""The scope of a request: which key is matched at which level, and what may go into a C-MOVE as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from movescu.dictionary.tags import tag_of
from movescu.errors import UsageError
from movescu.query.identifier import make_identifier
from movescu.query.scope import LEVELS, Scope, keyword, level_of

UNIQUE = {
    "PATIENT": "PatientID",
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}
OTHERS = {
    "PatientName": "PATIENT",
    "IssuerOfPatientID": "PATIENT",
    "AccessionNumber": "STUDY",
    "ModalitiesInStudy": "STUDY",
    "Modality": "SERIES",
    "SeriesDescription": "SERIES",
    "InstanceNumber": "IMAGE",
    "Rows": "IMAGE",
}
SERIES_OR_ABOVE = [name for name, level in OTHERS.items() if level != "IMAGE"]
ATTRIBUTES = {
    "PATIENT": "PatientName PatientID IssuerOfPatientID IssuerOfPatientIDQualifiersSequence PatientBirthDate "
    "PatientBirthTime PatientSex OtherPatientIDs OtherPatientNames OtherPatientIDsSequence EthnicGroup PatientComments "
    "NumberOfPatientRelatedStudies NumberOfPatientRelatedSeries NumberOfPatientRelatedInstances",
    "STUDY": "StudyDate StudyTime AccessionNumber IssuerOfAccessionNumberSequence ModalitiesInStudy SOPClassesInStudy "
    "ReferringPhysicianName StudyDescription ProcedureCodeSequence PhysiciansOfRecord NameOfPhysiciansReadingStudy "
    "AdmittingDiagnosesDescription PatientAge PatientSize PatientWeight Occupation AdditionalPatientHistory "
    "StudyInstanceUID StudyID OtherStudyNumbers NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances "
    "RequestedProcedureDescription",
    "SERIES": "SeriesDate SeriesTime Modality Manufacturer InstitutionName StationName SeriesDescription "
    "SeriesDescriptionCodeSequence InstitutionalDepartmentName PerformingPhysicianName OperatorsName "
    "ManufacturerModelName BodyPartExamined DeviceSerialNumber ProtocolName SeriesInstanceUID SeriesNumber Laterality "
    "NumberOfSeriesRelatedInstances PerformedProcedureStepStartDate PerformedProcedureStepStartTime "
    "PerformedProcedureStepEndDate PerformedProcedureStepEndTime PerformedProcedureStepID "
    "PerformedProcedureStepDescription RequestAttributesSequence",
    "IMAGE": "SOPInstanceUID",
    "": "InstanceNumber Rows NumberOfFrames SpecificCharacterSet QueryRetrieveLevel",
}
"""Keywords of the attributes of each level (PS3.4 C.6, PS3.3)."""
SELECTS_NOTHING = (
    *("SpecificCharacterSet=ISO_IR 100", "RetrieveAETitle=X", "TimezoneOffsetFromUTC=+0100"),
    *("InstanceAvailability=ONLINE", "QueryRetrieveView=CLASSIC"),
    *("StudyDescription=*", "BodyPartExamined=", "0009,0010=ACME"),
)
USABLE = ("1.2", "1.2\\1.3", "1" * 64)


def scope(level: str, *keys: str, model: str = "STUDY") -> Scope:
    return Scope(make_identifier([f"QueryRetrieveLevel={level}", *keys]), model)


@given(
    st.sampled_from(LEVELS),
    st.sets(st.sampled_from(sorted(OTHERS))),
    st.sets(st.sampled_from(LEVELS)),
    st.booleans(),
)
def test_each_key_is_matched_at_its_own_level_but_never_below_that_of_the_request(
    level: str, others: set[str], unique: set[str], patient_root: bool
) -> None:
    one = scope(level, *(f"{name}=1" for name in (*others, *(UNIQUE[name] for name in unique))), *SELECTS_NOTHING)
    first = 0 if patient_root else 1
    last = max(LEVELS.index(level), first)
    wanted: dict[str, set[str]] = {name: set() for name in LEVELS}
    for name in others:
        wanted[LEVELS[min(max(LEVELS.index(OTHERS[name]), first), last)]].add(name)
    if "PATIENT" in unique and not patient_root:  # in Study Root, it is a key of studies
        wanted["STUDY"].add("PatientID")
    found = {name: set(map(keyword, one.filters(name, patient_root=patient_root))) for name in LEVELS}
    assert found == wanted
    assert {name for name in LEVELS if one.unique(name)} == unique


@given(
    st.sampled_from(("STUDY", "PATIENT")),
    st.sampled_from(LEVELS),
    st.dictionaries(st.sampled_from(LEVELS), st.sampled_from((*USABLE, *USABLE, "", "1.*", "1.2\\", "1" * 65))),
    st.sampled_from(("", "", "Modality=CT", "Modality=", "SpecificCharacterSet=ISO_IR 100")),
)
def test_keys_go_into_a_move_unchanged_only_if_each_names_one_entity_of_the_level_or_above(
    model: str, level: str, unique: dict[str, str], other: str
) -> None:
    keys = [f"{UNIQUE[name]}={value}" for name, value in unique.items()]
    one = scope(level, *keys, *([other] if other else []), model=model)
    levels = LEVELS if model == "PATIENT" else LEVELS[1:]
    above = levels[: levels.index(level) + 1] if level in levels else ()
    exact = (
        bool(unique.get(level))
        and unique.keys() <= set(above)
        and not other.startswith("Modality")
        and all(value in (*USABLE, "") for value in unique.values())
    )
    assert one.is_exact is exact


@pytest.mark.parametrize(
    ("level", "keys", "exact"),
    [
        ("STUDY", ["StudyInstanceUID=1.2"], True),
        ("STUDY", ["StudyInstanceUID=1.2\\1.3"], True),
        ("STUDY", ["StudyInstanceUID=1", "0009,0010=ACME", "0008,0000=4"], True),
        ("STUDY", [f"StudyInstanceUID={'1' * 64}"], True),
        ("STUDY", [f"StudyInstanceUID={'1' * 65}"], False),
        ("STUDY", ["StudyInstanceUID=1.2\\1.*"], False),
        ("STUDY", ["StudyInstanceUID=1.2\\"], False),
        ("STUDY", ["StudyInstanceUID=1.2", "SeriesInstanceUID="], False),
        ("STUDY", ["StudyInstanceUID=1.2", "SeriesInstanceUID=1.3"], False),
        ("SERIES", ["StudyInstanceUID=1.2", "SeriesInstanceUID=1.3"], True),
        ("SERIES", ["SeriesInstanceUID=1.3"], True),
        ("SERIES", ["StudyInstanceUID=", "SeriesInstanceUID=1.3"], True),
        ("SERIES", ["StudyInstanceUID=1.2", "SeriesInstanceUID=1.3", "SOPInstanceUID=1.4"], False),
        ("IMAGE", ["StudyInstanceUID=1.2", "SeriesInstanceUID=1.3", "SOPInstanceUID=1.4\\1.5"], True),
        ("IMAGE", ["StudyInstanceUID=1.?", "SeriesInstanceUID=1.3", "SOPInstanceUID=1.4"], False),
    ],
)
def test_unique_keys_of_the_level_and_above_alone_go_into_a_move(level: str, keys: list[str], *, exact: bool) -> None:
    assert scope(level, *keys).is_exact is exact
    assert not scope(level, *keys, "Modality=").is_exact


@pytest.mark.parametrize(
    ("level", "keys", "complaint"),
    [
        ("WARD", ["StudyInstanceUID=1.2"], "'WARD' is not a level of this model"),
        ("", ["StudyInstanceUID=1.2"], "QueryRetrieveLevel is missing"),
        ("STUDY", ["StudyInstanceUID=1.*"], "does not name one entity"),
        ("STUDY", ["PatientID=A\\B", "StudyInstanceUID=1.2"], "does not name one entity"),
        ("STUDY", ["StudyInstanceUID=1.2", "SeriesInstanceUID=1.3"], "below STUDY"),
        ("SERIES", ["StudyInstanceUID=1.2", "SOPInstanceUID=1.3"], "below SERIES"),
        ("STUDY", ["StudyInstanceUID="], "StudyInstanceUID is empty and no other key of level STUDY has a value"),
        ("STUDY", ["StudyInstanceUID=", "PatientName=*"], "PatientName selects nothing at level STUDY"),
        ("STUDY", ["PatientName=*", "AccessionNumber=?*"], "select nothing at level STUDY"),
        ("STUDY", ["PatientName=*", "StudyDate="], "PatientName selects nothing at level STUDY"),
        ("SERIES", ["StudyInstanceUID=1.2", "SeriesInstanceUID="], "everything would match"),
    ],
)
def test_keys_that_select_nothing_definite_are_refused(level: str, keys: list[str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint.replace("*", r"\*")):
        scope(level, *keys).check()


@pytest.mark.parametrize(
    ("level", "keys", "options"),
    [
        ("STUDY", ["AccessionNumber=A1"], {}),
        ("STUDY", ["PatientID=P1"], {}),
        ("STUDY", ["PatientID=P*"], {}),
        ("SERIES", ["StudyInstanceUID=1.2", "Modality=CT"], {}),
        ("STUDY", ["PatientName=A"], {}),
        ("STUDY", ["RequestAttributesSequence[0].AccessionNumber=A1"], {}),
        ("STUDY", ["StudyInstanceUID=1.*"], {"patterns": True}),
        ("STUDY", ["StudyInstanceUID="], {"everything": True}),
    ],
)
def test_keys_that_select_something_are_accepted(level: str, keys: list[str], options: dict[str, bool]) -> None:
    scope(level, *keys).check(**options)


def test_keys_of_the_patient_select_no_study_in_patient_root() -> None:
    with pytest.raises(UsageError, match="PatientName selects nothing at level STUDY"):
        scope("STUDY", "PatientName=A", model="PATIENT").check()


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        ("PatientID=A\\B*", "PatientID .* does not name one entity"),
        ("StudyInstanceUID=*.*", "StudyInstanceUID selects nothing at level STUDY: everything would match"),
    ],
)
def test_pattern_that_is_a_list_or_matches_everything_is_refused(key: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        scope("STUDY", key).check(patterns=True)


@pytest.mark.parametrize("level", ATTRIBUTES)
def test_attribute_belongs_to_the_level_of_its_table(level: str) -> None:
    assert {name: level_of(tag_of(name) or 0) for name in ATTRIBUTES[level].split()} == dict.fromkeys(
        ATTRIBUTES[level].split(), level
    )


@pytest.mark.parametrize("level", LEVELS)
def test_request_for_everything_says_which_key_is_lacking(level: str) -> None:
    with pytest.raises(UsageError, match="everything would match") as raised:
        scope(level, model="PATIENT").check()
    assert f"give {UNIQUE[level]}" in raised.value.hint


def test_key_without_a_keyword_is_named_by_its_tag() -> None:
    assert (keyword(0x00100020), keyword(0x00091001)) == ("PatientID", "(0009,1001)")


def test_uids_of_a_list_are_values_of_their_own() -> None:
    one = scope("SERIES", "StudyInstanceUID=1.2", "SeriesInstanceUID=1.3 \\\\1.4")
    assert (one.unique("STUDY"), one.unique("SERIES"), one.unique("IMAGE")) == (("1.2",), ("1.3", "1.4"), ())


def test_keys_without_a_level_are_matched_at_none() -> None:
    one = Scope(make_identifier(["AccessionNumber=A1"]), "STUDY")
    assert not any(one.filters(level, patient_root=False) for level in LEVELS)
    assert not one.is_exact


@pytest.mark.parametrize(
    ("level", "keys", "complaint"),
    [
        ("STUDY", ["PatientID=A\\B"], "PatientID has a backslash"),
        ("STUDY", ["AccessionNumber=A", "SeriesInstanceUID=1.3"], "SeriesInstanceUID is a key of level SERIES, below"),
        ("STUDY", ["StudyInstanceUID="], "no key has a value: everything in the archive would match"),
        ("STUDY", ["PatientName=*^*"], "PatientName selects nothing: everything"),
        ("STUDY", ["PatientName=*", "StudyDate=-"], "select nothing: everything"),
        ("STUDY", ["StudyInstanceUID=*"], "StudyInstanceUID selects nothing: everything"),
        ("STUDY", ["StudyInstanceUID=*.*"], "StudyInstanceUID selects nothing: everything"),
    ],
)
def test_query_for_everything_in_the_archive_is_refused(level: str, keys: list[str], complaint: str) -> None:
    one = scope(level, *keys)
    with pytest.raises(UsageError, match=complaint.replace("*", r"\*")):
        one.check_query()
    if "everything" in complaint:
        one.check_query(everything=True)


@pytest.mark.parametrize(
    ("level", "keys", "patterns"),
    [
        ("PATIENT", ["PatientID=P*"], ("PatientID",)),
        ("STUDY", ["StudyInstanceUID=1.?\\1.3", "PatientID=P1"], ("StudyInstanceUID",)),
        ("SERIES", ["StudyInstanceUID=1.2", "Modality=C*"], ()),
        ("STUDY", ["AccessionNumber=A1"], ()),
    ],
)
def test_query_knows_which_of_its_unique_keys_are_patterns(
    level: str, keys: list[str], patterns: tuple[str, ...]
) -> None:
    one = scope(level, *keys)
    one.check_query()
    assert one.patterns == patterns


@given(st.sampled_from(("", *LEVELS)), st.sets(st.sampled_from((*OTHERS, *UNIQUE.values()))))
def test_query_that_names_no_level_is_for_that_of_its_lowest_key(level: str, names: set[str]) -> None:
    keys = [f"{name}=1" for name in names]
    one = Scope(make_identifier([*([f"QueryRetrieveLevel={level}"] if level else []), *keys]), "PATIENT")
    levels = dict(zip(UNIQUE.values(), LEVELS, strict=True)) | {name: OTHERS[name] for name in SERIES_OR_ABOVE}
    lowest = max((*(levels[name] for name in names if name in levels), "STUDY"), key=LEVELS.index)
    assert one.natural_level == (level or lowest)
