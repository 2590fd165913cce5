"""Searches: which queries are sent, level by level, and which of the answers are matches.

The archive (``queried``) has no sockets.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from queried import HELD
from queried import Archive as Queried

from movescu.dictionary.uids import IMPLICIT_LITTLE, PATIENT_ROOT_FIND, PATIENT_STUDY_ONLY_FIND, STUDY_ROOT_FIND
from movescu.dimse.status import PENDING, PENDING_WARNING, SUCCESS
from movescu.errors import (
    ConnectionLostError,
    FindNotOfferedError,
    IgnoredKeyError,
    InventoryError,
    TooManyStudiesError,
    UsageError,
)
from movescu.query.identifier import make_identifier
from movescu.query.levels import UNIQUE_KEYS
from movescu.query.match import COUNTS
from movescu.query.selection import Selection
from movescu.retrieve.catalogue import Place
from movescu.retrieve.search import Search, find
from movescu.services.find import FindResponse
from movescu.testing.query import encode_identifier
from movescu.ul.negotiation import Context

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from movescu.query.identifier import Identifier
    from movescu.query.match import Match

PATIENT, STUDY, SERIES, IMAGE = UNIQUE_KEYS.values()
ACCESSION, MODALITY, MODALITIES, SEX, NUMBER = 0x00080050, 0x00080060, 0x00080061, 0x00100040, 0x00200013
DATE, DESCRIPTION, PROTOCOL, CHARACTER_SET = 0x00080020, 0x00081030, 0x00181030, 0x00080005
BOTH = (STUDY_ROOT_FIND, PATIENT_ROOT_FIND)
KNOWN = {
    "1.0": {ACCESSION: "A1"},
    "1.1": {ACCESSION: "A2"},
    "1.0.0": {MODALITY: "CT"},
    "1.0.1": {MODALITY: "MR"},
    "1.1.0": {MODALITY: "CT"},
    "1.1.1": {MODALITY: "CT"},
    "1.0.0.0": {NUMBER: "1"},
    "1.0.0.1": {NUMBER: "2"},
    "1.0.1.0": {NUMBER: "2"},
    "1.0.1.1": {NUMBER: "3"},
}
SAME = {uid: {ACCESSION: "A1"} for uid in ("1.0", "1.1")}


class Relational(Queried):
    """It was negotiated that it answers queries of all levels at once."""

    def grants_relational(self, _: str) -> bool:
        return True


class Says(Queried):
    """An archive that gives each query the same answers, whatever its keys."""

    def __init__(self, *answers: Mapping[int, bytes] | bytes, status: int = PENDING) -> None:
        super().__init__(classes=BOTH)
        self._answers, self._status = answers, status

    def find(self, sop_class_uid: str, _: Identifier) -> Iterator[tuple[FindResponse, Context]]:
        context = Context(1, sop_class_uid, IMPLICIT_LITTLE)
        for answer in self._answers:
            data = answer if isinstance(answer, bytes) else encode_identifier(answer, IMPLICIT_LITTLE)
            yield FindResponse(1, self._status, data), context
        yield FindResponse(1, SUCCESS), context


def search(archive: Queried, *keys: str, **options: Any) -> Search:
    return Search(archive, make_identifier(keys), **options)  # type: ignore[arg-type] # stands in for an association


def found(archive: Queried, *keys: str, **options: Any) -> list[str]:
    return [one.uid for one in search(archive, *keys, **options).matches()]


def match_of(archive: Queried, *keys: str, **options: Any) -> Match:
    (match,) = search(archive, *keys, **options).matches()
    return match


def sent(archive: Queried) -> list[tuple[str, dict[int, str]]]:
    """Return the queries with the keys that have a value."""
    return [(level, {tag: value for tag, value in keys.items() if value}) for level, keys in archive.queries]


# -- which queries are sent --------------------------------------------------------------------------------------------


def test_each_level_is_queried_with_its_own_keys_within_the_matches_of_the_level_above() -> None:
    archive = Queried(attributes=KNOWN)
    keys = ("QueryRetrieveLevel=SERIES", "AccessionNumber=A1", "Modality=CT")
    assert found(archive, *keys) == ["1.0.0"]
    assert sent(archive) == [("STUDY", {ACCESSION: "A1"}), ("SERIES", {STUDY: "1.0", MODALITY: "CT"})]
    assert STUDY in archive.queries[0][1]
    assert SERIES in archive.queries[1][1]
    assert DATE not in archive.queries[1][1], "the study has told it"


def test_patient_is_a_key_of_studies_in_study_root_and_a_level_of_its_own_in_patient_root() -> None:
    keys = ("QueryRetrieveLevel=STUDY", "PatientID=P1", "StudyInstanceUID=1.1")
    for classes, queries in (
        (BOTH, [("STUDY", {PATIENT: "P1", STUDY: "1.1"})]),
        ((PATIENT_ROOT_FIND,), [("PATIENT", {PATIENT: "P1"}), ("STUDY", {PATIENT: "P1", STUDY: "1.1"})]),
    ):
        archive = Queried(classes=classes)
        assert found(archive, *keys) == ["1.1"]
        assert sent(archive) == queries
        assert search(archive, *keys).patient_root is (classes != BOTH)


@pytest.mark.parametrize(
    ("keys", "uids", "queries"),
    [
        (["QueryRetrieveLevel=SERIES", "SeriesInstanceUID=1.0.1"], ["1.0.1"], [("SERIES", {SERIES: "1.0.1"})]),
        (
            ["QueryRetrieveLevel=IMAGE", "SeriesInstanceUID=1.0.1", "SOPInstanceUID=1.0.1.1"],
            ["1.0.1.1"],
            [("SERIES", {SERIES: "1.0.1"}), ("IMAGE", {STUDY: "1.0", SERIES: "1.0.1", IMAGE: "1.0.1.1"})],
        ),
        (["QueryRetrieveLevel=IMAGE", "SOPInstanceUID=1.0.1.1"], ["1.0.1.1"], [("IMAGE", {IMAGE: "1.0.1.1"})]),
        (
            ["QueryRetrieveLevel=SERIES", "AccessionNumber=A1", "SeriesInstanceUID=1.0.1"],
            ["1.0.1"],
            [("STUDY", {ACCESSION: "A1"}), ("SERIES", {STUDY: "1.0", SERIES: "1.0.1"})],
        ),
        (
            ["QueryRetrieveLevel=IMAGE", "StudyInstanceUID=1.0", "InstanceNumber=1"],
            ["1.0.0.0"],
            [
                *(("STUDY", {STUDY: "1.0"}), ("SERIES", {STUDY: "1.0"})),
                ("IMAGE", {STUDY: "1.0", SERIES: "1.0.0", NUMBER: "1"}),
                ("IMAGE", {STUDY: "1.0", SERIES: "1.0.1", NUMBER: "1"}),
            ],
        ),
        (
            ["QueryRetrieveLevel=SERIES", "StudyInstanceUID=1.0\\1.1", "Modality=MR"],
            ["1.0.1"],
            [
                ("STUDY", {STUDY: "1.0\\1.1"}),
                ("SERIES", {STUDY: "1.0", MODALITY: "MR"}),
                ("SERIES", {STUDY: "1.1", MODALITY: "MR"}),
            ],
        ),
    ],
)
def test_level_without_a_key_above_one_with_a_unique_key_is_passed_over(
    keys: list[str], uids: list[str], queries: list[tuple[str, dict[int, str]]]
) -> None:
    archive = Queried(attributes=KNOWN)
    assert found(archive, *keys) == uids
    assert sent(archive) == queries
    assert DATE in archive.queries[0][1], "of the study, which no other query tells"


def test_archive_with_relational_queries_is_sent_one_with_the_keys_of_all_levels() -> None:
    archive = Relational(attributes=KNOWN)
    keys = ("QueryRetrieveLevel=SERIES", "AccessionNumber=A1", "Modality=CT", "StudyInstanceUID=1.0\\1.1")
    assert found(archive, *keys) == ["1.0.0"]
    assert sent(archive) == [("SERIES", {STUDY: "1.0\\1.1", ACCESSION: "A1", MODALITY: "CT"})]
    assert archive.queries[0][1].keys() >= {DATE, 0x00200011, *COUNTS["SERIES"].values()}
    assert not archive.queries[0][1].keys() & {0x00080016, *COUNTS["STUDY"].values()}, "of another level"
    archive.lacking = (MODALITIES,)
    with pytest.raises(IgnoredKeyError, match="ModalitiesInStudy at level SERIES"):
        found(archive, "QueryRetrieveLevel=SERIES", "ModalitiesInStudy=CT")


def test_attributes_to_show_and_empty_keys_are_requested_at_their_own_level() -> None:
    archive = Queried(attributes=KNOWN)
    empty = ("StudyDescription=", "ProtocolName=", "RequestAttributesSequence[0].ScheduledProcedureStepID=")
    keys = ("QueryRetrieveLevel=SERIES", "AccessionNumber=A1", "SOPClassUID=", *empty)
    assert found(archive, *keys) == ["1.0.0", "1.0.1"]
    (_, study), (_, series) = archive.queries
    assert study.keys() >= {PATIENT, 0x00100010, SEX, STUDY, DATE, MODALITIES, DESCRIPTION, *COUNTS["STUDY"].values()}
    assert not study.keys() & set(COUNTS["PATIENT"].values())
    assert not study.keys() & {PROTOCOL, MODALITY, SERIES, 0x00080016, CHARACTER_SET}
    assert series.keys() >= {SERIES, STUDY, MODALITY, PROTOCOL, 0x00080016, *COUNTS["SERIES"].values()}
    assert not series.keys() & {DESCRIPTION, PATIENT, DATE, CHARACTER_SET, IMAGE, 0x00400275}
    archive = Queried(classes=(PATIENT_ROOT_FIND,))
    assert found(archive, "QueryRetrieveLevel=STUDY", "PatientID=P1", "StudyDescription=") == ["1.1"]
    (_, patient), (_, study) = archive.queries
    assert patient.keys() >= {PATIENT, 0x00100010, *COUNTS["PATIENT"].values()}
    assert DESCRIPTION not in patient
    assert DESCRIPTION in study
    assert SEX not in study, "the patient has told it"


def test_character_set_of_the_keys_is_sent_and_group_lengths_are_not() -> None:
    archive = Queried(attributes=KNOWN)
    keys = ("QueryRetrieveLevel=STUDY", "0008,0000=4", "SpecificCharacterSet=ISO_IR 100", "AccessionNumber=A1")
    assert found(archive, *keys) == ["1.0"]
    assert archive.queries[0][1][CHARACTER_SET] == "ISO_IR 100"
    assert 0x00080000 not in archive.queries[0][1]


@pytest.mark.parametrize(
    ("classes", "level", "used"),
    [
        (BOTH, "PATIENT", PATIENT_ROOT_FIND),
        (BOTH, "STUDY", STUDY_ROOT_FIND),
        ((PATIENT_ROOT_FIND,), "IMAGE", PATIENT_ROOT_FIND),
        ((PATIENT_STUDY_ONLY_FIND,), "STUDY", PATIENT_STUDY_ONLY_FIND),
        ((PATIENT_STUDY_ONLY_FIND,), "SERIES", ""),
        ((STUDY_ROOT_FIND,), "PATIENT", ""),
        ((), "STUDY", ""),
    ],
)
def test_first_model_with_the_level_that_the_archive_offers_is_used(
    classes: tuple[str, ...], level: str, used: str
) -> None:
    archive = Queried(classes=classes)
    if used:
        assert found(archive, "PatientID=P1", level=level)
        assert archive.used == {used}
    else:
        with pytest.raises(FindNotOfferedError, match=f"does not offer C-FIND at level {level}"):
            search(archive, "PatientID=P1", level=level)


# -- limits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("most", "refused"), [(1, True), (2, False), (0, False)])
def test_series_of_more_studies_than_allowed_are_not_queried(most: int, *, refused: bool) -> None:
    archive = Queried(attributes=SAME)
    keys = ("QueryRetrieveLevel=SERIES", "AccessionNumber=A1")
    if refused:
        with pytest.raises(TooManyStudiesError, match="2 studies"):
            found(archive, *keys, max_studies=most)
        assert [level for level, _ in archive.queries] == ["STUDY"]
    else:
        assert len(found(archive, *keys, max_studies=most)) == 4
    keys = ("QueryRetrieveLevel=SERIES", "StudyInstanceUID=1.0\\1.1")
    assert len(found(archive, *keys, max_studies=1)) == 4, "named, and no limit is stated"
    if refused:
        with pytest.raises(TooManyStudiesError, match="2 studies"):
            found(archive, *keys, max_studies=most, always=True)
    else:
        assert len(found(archive, *keys, max_studies=most, always=True)) == 4


@pytest.mark.parametrize(
    ("keys", "patterns", "vague"),
    [
        (["StudyInstanceUID=1.0"], True, False),
        (["StudyInstanceUID=1.0", "PatientID=P1"], False, False),
        (["StudyInstanceUID=1.0", "Modality=CT"], False, True),
        (["StudyInstanceUID=1.0", "AccessionNumber=A1"], False, True),
        (["AccessionNumber=A1"], False, True),
        (["StudyInstanceUID=1.*"], True, True),
        (["StudyInstanceUID=1.*"], False, False),
        (["StudyInstanceUID="], False, True),
    ],
)
def test_request_is_vague_unless_unique_keys_alone_name_it(keys: list[str], *, patterns: bool, vague: bool) -> None:
    assert search(Queried(), "QueryRetrieveLevel=SERIES", *keys, patterns=patterns).is_vague is vague


@pytest.mark.parametrize("other", ["M", "F"])
def test_patient_whose_id_another_has_has_no_studies_queried(other: str) -> None:
    archive = Queried(classes=(PATIENT_ROOT_FIND,), attributes={"P0": {SEX: "F"}})
    answered = archive._matches

    def matches(level: str, keys: dict[int, str]) -> dict[str, dict[int, str]]:
        found = answered(level, keys)
        return found if keys.get(SEX) or level != "PATIENT" else {**found, "other": {PATIENT: "P0", SEX: other}}

    archive._matches = matches  # type: ignore[method-assign] # two patients with one ID
    keys = ("QueryRetrieveLevel=STUDY", "PatientID=P0", "PatientSex=F")
    if other == "M":
        with pytest.raises(InventoryError, match="another patient"):
            found(archive, *keys)
        assert "STUDY" not in [level for level, _ in archive.queries]
    else:
        assert found(archive, *keys) == ["1.0"]


# -- below a match, and its numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [BOTH, (PATIENT_ROOT_FIND,)])
def test_entities_below_a_match_are_those_within_it(classes: tuple[str, ...]) -> None:
    archive = Queried({uid: place._replace(patient="P1") for uid, place in HELD.items()}, classes)
    study = match_of(archive, "QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.0")
    made = search(archive, "QueryRetrieveLevel=SERIES", "StudyInstanceUID=1.0", "Modality=MR")
    archive.queries.clear()
    assert [one.uid for one in made.below(study, "SERIES")] == ["1.0.0", "1.0.1"], "whatever the keys"
    upper = {} if classes == BOTH else {PATIENT: "P1"}
    assert sent(archive) == [("SERIES", {**upper, STUDY: "1.0"})]
    archive.queries.clear()
    assert len(list(made.below(study, "IMAGE"))) == 4
    assert [level for level, _ in archive.queries] == ["SERIES", "IMAGE", "IMAGE"]
    assert IMAGE not in archive.queries[0][1]
    (series, _) = made.below(study, "SERIES")
    archive.queries.clear()
    assert [one.uid for one in made.below(series, "IMAGE")] == ["1.0.0.0", "1.0.0.1"]
    assert sent(archive) == [("IMAGE", {**upper, STUDY: "1.0", SERIES: "1.0.0"})]


def test_uid_of_a_lower_level_in_an_answer_restricts_nothing() -> None:
    archive = Queried(attributes={"1.0": {ACCESSION: "A1"}, "1.1": {ACCESSION: "A2"}})
    answered = archive._matches
    archive._matches = lambda *query: {uid: {SERIES: "1.0.0", **one} for uid, one in answered(*query).items()}  # type: ignore[method-assign] # returns what nobody asked for
    keys = ("QueryRetrieveLevel=SERIES", "AccessionNumber=A1")
    assert found(archive, *keys) == ["1.0.0", "1.0.1"]
    study = match_of(archive, *keys, level="STUDY")
    assert [one.uid for one in search(archive, *keys).below(study, "SERIES")] == ["1.0.0", "1.0.1"]


def test_studies_of_a_patient_are_found_by_its_id_in_study_root_too() -> None:
    archive = Queried(classes=BOTH)
    (patient,) = search(archive, "QueryRetrieveLevel=PATIENT", "PatientID=P1").matches()
    made = search(archive, "QueryRetrieveLevel=STUDY", "PatientID=P1")
    archive.queries.clear()
    assert [one.uid for one in made.below(patient, "STUDY")] == ["1.1"]
    assert sent(archive) == [("STUDY", {PATIENT: "P1"})]


@pytest.mark.parametrize(
    ("lacking", "levels"),
    [
        ((), []),
        ((COUNTS["STUDY"]["SERIES"],), ["SERIES"]),
        ((COUNTS["STUDY"]["IMAGE"],), ["SERIES"]),
        (tuple(COUNTS["STUDY"].values()), ["SERIES"]),
        ((*COUNTS["STUDY"].values(), *COUNTS["SERIES"].values()), ["SERIES", "IMAGE", "IMAGE"]),
    ],
)
def test_numbers_that_the_archive_does_not_state_are_counted(lacking: tuple[int, ...], levels: list[str]) -> None:
    archive = Queried(attributes={"1.0": {COUNTS["STUDY"]["SERIES"]: "2"}})
    archive.lacking = lacking
    made = search(archive, "QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.0")
    (study,) = made.matches()
    archive.queries.clear()
    counted = made.counted(study)
    assert (counted.count("SERIES"), counted.count("IMAGE"), counted.uid) == (2, 4, "1.0")
    assert [level for level, _ in archive.queries] == levels
    assert (counted is study) is (not levels)


def test_number_that_the_archive_states_is_not_replaced_by_a_count() -> None:
    archive = Queried(attributes={"1.0": {COUNTS["STUDY"]["SERIES"]: "7"}})
    archive.lacking = (COUNTS["STUDY"]["IMAGE"],)
    made = search(archive, "QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.0")
    (study,) = made.matches()
    counted = made.counted(study)
    assert (counted.count("SERIES"), counted.count("IMAGE")) == (7, 4)


def test_series_without_an_object_counts_as_none() -> None:
    archive = Queried(attributes={"1.0": {COUNTS["STUDY"]["SERIES"]: "2"}})
    archive.lacking = (COUNTS["STUDY"]["IMAGE"], COUNTS["SERIES"]["IMAGE"])
    archive.cut["IMAGE", "1.0.0"] = 0, SUCCESS
    made = search(archive, "QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.0")
    (study,) = made.matches()
    assert made.counted(study).count("IMAGE") == 2


# -- patterns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "uids", "values"),
    [
        (["StudyInstanceUID=1.?"], ["1.0", "1.1"], {}),
        (["StudyInstanceUID=*1"], ["1.1"], {}),
        (["StudyInstanceUID=1.0"], ["1.0"], {STUDY: "1.0"}),
        (["PatientID=P*"], ["1.0", "1.1"], {PATIENT: "P*"}),
        (["PatientID=P?"], ["1.0", "1.1"], {PATIENT: "P?"}),
    ],
)
def test_pattern_of_a_uid_is_matched_here_and_of_a_patient_id_by_the_archive(
    keys: list[str], uids: list[str], values: dict[int, str]
) -> None:
    archive = Queried()
    assert found(archive, "QueryRetrieveLevel=STUDY", *keys, patterns=True) == uids
    assert sent(archive) == [("STUDY", values)]


def test_pattern_where_none_is_meant_is_literal(caplog: pytest.LogCaptureFixture) -> None:
    for key in ("StudyInstanceUID=1.?", "PatientID=P?"):
        with caplog.at_level(logging.WARNING):
            assert found(Queried(), "QueryRetrieveLevel=STUDY", key) == []
    assert "dropped 2 answers" in caplog.text


def test_patient_id_with_a_backslash_is_no_list_even_as_a_pattern() -> None:
    held = {"1.9.0.0": Place("A\\B1", "1.9", "1.9.0"), **HELD}
    assert found(Queried(held), "QueryRetrieveLevel=STUDY", "PatientID=P*\\B*", patterns=True) == []


def test_wild_cards_in_other_keys_are_the_archives() -> None:
    archive = Queried(attributes=KNOWN)
    assert found(archive, "QueryRetrieveLevel=STUDY", "AccessionNumber=A?", patterns=True) == []
    assert sent(archive) == [("STUDY", {ACCESSION: "A?"})]
    named = Says({STUDY: b"1.0\0", 0x00100010: b"Doe^J "})
    assert found(named, "QueryRetrieveLevel=STUDY", "PatientName=doe*", patterns=True) == ["1.0"], "as names match"


# -- Modalities in Study -----------------------------------------------------------------------------------------------


def test_modalities_that_an_archive_ignores_are_read_from_its_series() -> None:
    archive = Queried(attributes=KNOWN)
    archive.lacking = (MODALITIES,)
    keys = ("QueryRetrieveLevel=STUDY", "ModalitiesInStudy=MR")
    match = match_of(archive, *keys)
    assert (match.uid, match["ModalitiesInStudy"], match["AccessionNumber"]) == ("1.0", "CT\\MR", "A1")
    assert [level for level, _ in archive.queries] == ["STUDY", "STUDY", "SERIES", "SERIES"]
    assert MODALITIES in archive.queries[1][1]
    assert not sent(archive)[1][1], "the ignored key is left out"
    assert found(archive, "QueryRetrieveLevel=STUDY", "ModalitiesInStudy=CT") == ["1.0", "1.1"]
    assert found(archive, "QueryRetrieveLevel=STUDY", "ModalitiesInStudy=US") == []
    assert found(archive, *keys[1:], "AccessionNumber=A2", level="STUDY") == []
    with pytest.raises(TooManyStudiesError):
        found(archive, *keys, max_studies=1)
    archive.attributes = {"1.0.1": {MODALITY: "MR"}}
    match = match_of(archive, *keys)
    assert (match["ModalitiesInStudy"], match.attributes[MODALITIES].vr) == ("MR", b"CS"), "one series says it"
    archive.attributes = {}
    assert found(archive, *keys) == [], "no series says what it is"


def test_other_key_that_an_archive_ignores_leaves_the_matches_unknown() -> None:
    with pytest.raises(IgnoredKeyError, match="ignores AccessionNumber at level STUDY"):
        found(Queried(), "QueryRetrieveLevel=STUDY", "AccessionNumber=A1")
    archive = Queried(attributes={"P1": {0x00081080: "x"}}, classes=(PATIENT_STUDY_ONLY_FIND,))
    with pytest.raises(IgnoredKeyError, match="ModalitiesInStudy"):
        found(archive, "QueryRetrieveLevel=STUDY", "ModalitiesInStudy=CT")
    with pytest.raises(IgnoredKeyError, match="Modality"):
        found(Queried(), "QueryRetrieveLevel=SERIES", "StudyInstanceUID=1.0", "Modality=CT")


# -- which answers are matches -----------------------------------------------------------------------------------------


def test_answer_that_contradicts_a_key_is_dropped_and_named(caplog: pytest.LogCaptureFixture) -> None:
    good, bad = {STUDY: b"1.0\0", ACCESSION: b"A1"}, {STUDY: b"1.1\0", ACCESSION: b"A2"}
    with caplog.at_level(logging.WARNING):
        assert found(Says(good, bad), "QueryRetrieveLevel=STUDY", "AccessionNumber=A1") == ["1.0"]
    assert caplog.messages == ["dropped 1 answer to C-FIND at level STUDY that contradicts AccessionNumber: 1.1"]


@pytest.mark.parametrize("answer", [b"\1", b"", {STUDY: b"1.*\0"}, {STUDY: b"1.0\\1.1\0"}, {ACCESSION: b"A1"}])
def test_answer_that_names_no_study_leaves_the_matches_unknown(answer: Mapping[int, bytes] | bytes) -> None:
    good = {STUDY: b"1.0\0", ACCESSION: b"A1"}
    with pytest.raises(InventoryError, match="1 answer to C-FIND at level STUDY has no usable StudyInstanceUID"):
        found(Says(good, answer), "QueryRetrieveLevel=STUDY", "AccessionNumber=A1")


def test_answers_that_all_lack_the_uid_are_no_key_that_is_ignored() -> None:
    with pytest.raises(InventoryError, match="has no usable StudyInstanceUID"):
        found(Says({ACCESSION: b"A1"}), "QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.0")


def test_patient_whose_id_looks_like_a_pattern_is_one() -> None:
    assert found(Says({PATIENT: b"P*"}), "QueryRetrieveLevel=PATIENT", "PatientID=P*") == ["P*"]
    with pytest.raises(InventoryError, match="no usable PatientID"):
        found(Says({PATIENT: b""}), "QueryRetrieveLevel=PATIENT", "PatientName=*", "PatientID=")
    with pytest.raises(InventoryError, match="no usable PatientID"):
        found(Says({PATIENT: b"P*"}, {PATIENT: b"P\\*Q"}), "QueryRetrieveLevel=PATIENT", "PatientID=P*", patterns=True)


def test_entity_that_is_answered_twice_is_one_match() -> None:
    assert found(Says({STUDY: b"1.0\0"}, {STUDY: b"1.0\0"}), "QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.0") == [
        "1.0"
    ]


@pytest.mark.parametrize(("status", "ignored"), [(PENDING, False), (PENDING_WARNING, True)])
def test_answer_without_a_value_for_a_key_is_no_match_and_a_warned_one_an_ignored_key(
    status: int, *, ignored: bool
) -> None:
    archive = Says({STUDY: b"1.0\0", ACCESSION: b"A1"}, {STUDY: b"1.1\0", ACCESSION: b""}, status=status)
    if ignored:
        with pytest.raises(IgnoredKeyError):
            found(archive, "QueryRetrieveLevel=STUDY", "AccessionNumber=A1")
    else:
        assert found(archive, "QueryRetrieveLevel=STUDY", "AccessionNumber=A1") == ["1.0"]


def test_answer_need_not_repeat_the_unique_keys_of_the_levels_above_but_may_not_contradict_them() -> None:
    keys = ("QueryRetrieveLevel=SERIES", "StudyInstanceUID=1.0", "SeriesInstanceUID=1.0.0\\1.0.1")
    answers = [{SERIES: b"1.0.0\0"}, {SERIES: b"1.0.1\0", STUDY: b"1.0\0"}]
    archive = Says(*answers, {SERIES: b"1.0.1\0", STUDY: b"1.9\0"})
    made = search(archive, *keys)
    above = next(iter(search(Says({STUDY: b"1.0\0", DATE: b"20260101"}), *keys, level="STUDY").matches()))
    matches = list(made._query("SERIES", above))
    assert [(one.uid, one.study_uid, one["StudyDate"]) for one in matches] == [
        ("1.0.0", "1.0", "20260101"),
        ("1.0.1", "1.0", "20260101"),
    ]


def test_empty_attribute_of_an_entity_hides_none_of_the_one_above() -> None:
    keys = ("QueryRetrieveLevel=SERIES", "StudyInstanceUID=1.0")
    above = match_of(Says({STUDY: b"1.0\0", DATE: b"20260101"}), *keys, level="STUDY")
    for value, date in ((b"", "20260101"), (b"20260202", "20260202")):
        (series,) = search(Says({SERIES: b"1.0.0\0", DATE: value}), *keys).below(above, "SERIES")
        assert (series["StudyDate"], series.uid) == (date, "1.0.0")


def test_bytes_of_a_unique_key_above_are_sent_back_and_compared_as_they_are() -> None:
    held = {uid: place._replace(patient="J\xf6rg") for uid, place in HELD.items()}
    archive = Queried(held, (PATIENT_ROOT_FIND,))
    archive.character_set = "ISO_IR 192"  # in which that is no letter
    made = search(archive, "QueryRetrieveLevel=PATIENT", "PatientID=J*", patterns=True)
    (patient,) = made.matches()
    archive.queries.clear()
    assert [one.uid for one in made.below(patient, "STUDY")] == ["1.0", "1.1"]
    assert sent(archive) == [("STUDY", {PATIENT: "J\xf6rg"})]
    utf_8 = Queried({uid: place._replace(patient="J\xc3\xb6rg") for uid, place in HELD.items()}, (PATIENT_ROOT_FIND,))
    utf_8.character_set = "ISO_IR 192"
    again = search(utf_8, "QueryRetrieveLevel=PATIENT", "PatientID=J*", patterns=True)
    (patient,) = again.matches()
    assert patient.uid == "J\xf6rg"
    assert [one.uid for one in again.below(patient, "STUDY")] == ["1.0", "1.1"], "whatever the keys are written in"
    archive.held = {uid: place._replace(patient="J\xfcrg") for uid, place in HELD.items()}
    assert [one.uid for one in made.below(patient, "STUDY")] == []


@pytest.mark.parametrize("status", [0xA700, 0xC000])
def test_list_that_the_archive_cuts_short_is_an_error(status: int) -> None:
    archive = Queried(attributes=KNOWN)
    archive.cut["STUDY", ""] = 1, status
    with pytest.raises(InventoryError, match=f"0x{status:04x}"):
        found(archive, "QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.0")


# -- for a program -----------------------------------------------------------------------------------------------------


class Association(Queried):
    """Is opened and released."""

    calls: tuple[str, ...] = ()
    is_lost = False

    def open(self) -> None:
        self.calls += ("open",)

    def release(self) -> None:
        self.calls += ("release",)
        if self.is_lost:
            raise ConnectionLostError("gone")


def listed(archive: Association, level: str, selection: Selection | None = None, **keys: str) -> list[Match]:
    return find(archive, (level, None, keys), selection, count=False)  # type: ignore[arg-type] # stands in


@pytest.mark.parametrize("lost", [True, False])
def test_query_of_a_program_opens_an_association_and_releases_it(*, lost: bool) -> None:
    archive = Association(attributes=KNOWN)
    archive.is_lost = lost
    assert [one.uid for one in listed(archive, "study", StudyInstanceUID="1.?")] == ["1.0", "1.1"]
    assert archive.calls == ("open", "release")


def test_query_of_a_program_counts_what_is_wanted() -> None:
    archive = Association(attributes=KNOWN)
    archive.lacking = tuple(COUNTS["STUDY"].values())
    for count, number in ((False, None), (True, 4)):
        (match,) = find(archive, ("STUDY", None, {"AccessionNumber": "A1"}), None, count=count)  # type: ignore[arg-type] # stands in
        assert match.count("IMAGE") == number


def test_query_of_a_program_for_everything_has_to_say_so() -> None:
    archive = Association(attributes=KNOWN)
    with pytest.raises(UsageError, match="everything in the archive would match"):
        listed(archive, "STUDY")
    assert archive.calls == (), "nothing is sent"
    assert len(listed(archive, "STUDY", Selection(max_studies=0))) == 2


@pytest.mark.parametrize(
    ("level", "most", "refused"),
    [("STUDY", 1, True), ("STUDY", 2, False), ("STUDY", 100, False), ("SERIES", 1, True), ("SERIES", 2, False)],
)
def test_query_of_a_program_lists_no_more_studies_than_allowed(level: str, most: int, *, refused: bool) -> None:
    archive = Association(attributes=SAME)
    if refused:
        with pytest.raises(TooManyStudiesError, match="2 studies"):
            listed(archive, level, Selection(max_studies=most), AccessionNumber="A1")
    else:
        assert len(listed(archive, level, Selection(max_studies=most), AccessionNumber="A1")) == (
            2 if level == "STUDY" else 4
        )


def test_default_limit_is_none_of_the_studies_that_a_program_lists() -> None:
    held = {f"1.{number}.1.1": Place("P", f"1.{number}", f"1.{number}.1") for number in range(101)}
    archive = Association(held, attributes={place.study: {ACCESSION: "A1"} for place in held.values()})
    assert len(listed(archive, "STUDY", AccessionNumber="A1")) == 101
    with pytest.raises(TooManyStudiesError, match="101"):
        listed(archive, "SERIES", AccessionNumber="A1")


def test_group_lengths_of_a_query_file_are_not_requested() -> None:
    sent_keys: list[int] = []

    class Keeps(Says):
        def find(self, uid: str, identifier: Identifier) -> Iterator[tuple[FindResponse, Context]]:
            sent_keys.extend(key.tag for key in identifier)
            return super().find(uid, identifier)

    archive = Keeps({STUDY: b"1.0\0"})
    assert found(archive, "QueryRetrieveLevel=STUDY", "0008,0000=4", "StudyInstanceUID=1.0") == ["1.0"]
    assert 0x00080000 not in sent_keys
