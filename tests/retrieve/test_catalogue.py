"""The queries of an inventory: which are sent with which keys, what they list, and what they leave open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from queried import HELD, Archive

from movescu.dictionary.uids import IMPLICIT_LITTLE, PATIENT_ROOT_FIND, STUDY_ROOT_FIND
from movescu.dimse.status import PENDING, SUCCESS
from movescu.errors import FindNotOfferedError, IgnoredKeyError, InventoryError, TooManyStudiesError
from movescu.query.identifier import make_identifier
from movescu.query.levels import LEVEL, UNIQUE_KEYS
from movescu.retrieve import inventory as module
from movescu.retrieve.answers import COUNTS
from movescu.retrieve.catalogue import ListSizes, Place
from movescu.retrieve.inventory import take_inventory
from movescu.services.find import FindResponse
from movescu.testing.query import encode_identifier
from movescu.ul.negotiation import Context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queried import Query

    from movescu.query.identifier import Identifier
    from movescu.retrieve.inventory import Inventory

PATIENT, STUDY, SERIES, IMAGE = UNIQUE_KEYS.values()
ACCESSION, MODALITY, MODALITIES, SEX, NUMBER = 0x00080050, 0x00080060, 0x00080061, 0x00100040, 0x00200013


def keys_of(level: str, *keys: str) -> Identifier:
    return make_identifier([f"QueryRetrieveLevel={level}", *keys])


def taken(archive: Archive, level: str, *keys: str, model: str = "STUDY", **settings: Any) -> Inventory:
    return take_inventory(archive, keys_of(level, *keys), model, **settings)  # type: ignore[arg-type] # stands in for it


def of_series(study: str) -> list[Query]:
    """The queries below a study."""
    return [
        ("SERIES", {STUDY: study, SERIES: "", COUNTS["SERIES"]: ""}),
        ("IMAGE", {STUDY: study, SERIES: f"{study}.0", IMAGE: ""}),
        ("IMAGE", {STUDY: study, SERIES: f"{study}.1", IMAGE: ""}),
    ]


def below(*uids: str) -> dict[str, Place]:
    """The objects of a study or series."""
    return {uid: place for uid, place in HELD.items() if set(uids) & {place.study, place.series, uid}}


def unnamed(places: dict[str, Place]) -> dict[str, Place]:
    """Places without their patients, as Study Root has them."""
    return {uid: place._replace(patient="") for uid, place in places.items()}


ONE = ("StudyInstanceUID=1.0",)
ONE_SERIES = (*ONE, "SeriesInstanceUID=1.0.1")
COUNT_OF_STUDY = ("STUDY", {STUDY: "1.0", COUNTS["STUDY"]: ""})


# -- queries -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counted", [True, False])
def test_study_costs_one_query_for_its_series_and_one_for_each_of_these(*, counted: bool) -> None:
    archive = Archive()
    found = taken(archive, "STUDY", *ONE, counted=counted)
    assert found.objects == unnamed(below("1.0"))
    assert archive.queries == [*([COUNT_OF_STUDY] if counted else []), *of_series("1.0")]
    assert (found.gaps, found.hollow, found.dropped, found.vanished) == ({}, (), 0, {})


def test_series_of_a_request_are_not_looked_for() -> None:
    archive = Archive()
    found = taken(archive, "SERIES", *ONE, "SeriesInstanceUID=1.0.1\\1.0.0")
    assert found.objects == unnamed(below("1.0"))
    assert [level for level, _ in archive.queries] == ["IMAGE", "IMAGE"]
    archive = Archive()
    assert taken(archive, "SERIES", *ONE_SERIES, counted=True).objects == unnamed(below("1.0.1"))
    count = ("SERIES", {STUDY: "1.0", SERIES: "1.0.1", COUNTS["SERIES"]: ""})
    assert archive.queries == [count, of_series("1.0")[2]]
    archive = Archive()
    assert len(taken(archive, "SERIES", *ONE, "SeriesInstanceUID=1.0.1\\1.0.0", counted=True).objects) == 4
    assert archive.queries[0] == ("SERIES", {STUDY: "1.0", SERIES: "1.0.1\\1.0.0", COUNTS["SERIES"]: ""})
    assert [level for level, _ in archive.queries] == ["SERIES", "IMAGE", "IMAGE"]


def test_objects_of_a_request_are_queried_by_their_uids() -> None:
    archive = Archive()
    found = taken(archive, "IMAGE", *ONE_SERIES, "SOPInstanceUID=1.0.1.1")
    assert (found.objects, found.hollow) == (unnamed(below("1.0.1.1")), ())
    assert archive.queries == [("IMAGE", {STUDY: "1.0", SERIES: "1.0.1", IMAGE: "1.0.1.1"})]


@pytest.mark.parametrize("number", [100, 101])
def test_long_list_of_objects_is_compared_here(number: int) -> None:
    archive = Archive()
    uids = ["1.0.1.1", *(f"9.{other}" for other in range(number - 1))]
    found = taken(archive, "IMAGE", *ONE_SERIES, "SOPInstanceUID=" + "\\".join(uids))
    assert found.objects == unnamed(below("1.0.1.1"))
    assert set(archive.queries[0][1][IMAGE].split("\\")) == (set(uids) if number == 100 else {""})


def test_levels_without_keys_above_a_unique_key_are_passed_over() -> None:
    """As an archive with relational queries answers."""
    archive = Archive()
    found = taken(archive, "IMAGE", "SOPInstanceUID=1.1.0.1")
    assert archive.queries == [("IMAGE", {STUDY: "", SERIES: "", IMAGE: "1.1.0.1"})]
    assert found.objects == unnamed(below("1.1.0.1"))
    archive = Archive()
    found = taken(archive, "SERIES", "SeriesInstanceUID=1.1.0")
    assert archive.queries == [("IMAGE", {STUDY: "", SERIES: "1.1.0", IMAGE: ""})]
    assert found.objects == unnamed(below("1.1.0"))
    archive = Archive(attributes={"1.1": {ACCESSION: "A1"}, "1.0": {ACCESSION: "A2"}})
    found = taken(archive, "IMAGE", "AccessionNumber=A1", "SeriesInstanceUID=1.1.0", "SOPInstanceUID=1.1.0.1")
    assert [level for level, _ in archive.queries] == ["STUDY", "IMAGE"], "a level with a key is queried"
    archive = Archive()
    taken(archive, "IMAGE", *ONE, "SOPInstanceUID=1.0.0.1")
    assert [level for level, _ in archive.queries] == ["SERIES", "IMAGE", "IMAGE"], "of a known study"


def test_place_is_known_from_the_query_or_else_from_the_answer() -> None:
    archive = Archive()
    archive.lacking = STUDY, SERIES
    found = taken(archive, "IMAGE", *ONE_SERIES, "SOPInstanceUID=1.0.1.1")
    assert found.objects == unnamed(below("1.0.1.1"))
    assert taken(archive, "IMAGE", "SOPInstanceUID=1.0.1.1").objects == {"1.0.1.1": Place("", "", "")}


def test_keys_below_the_level_of_the_request_are_not_used() -> None:
    archive = Archive()
    found = taken(archive, "STUDY", *ONE, "SeriesInstanceUID=1.0.1")
    assert found.objects == unnamed(below("1.0"))


def test_value_that_names_no_entity_is_queried() -> None:
    archive = Archive()
    assert taken(archive, "STUDY", "StudyInstanceUID=1.0\\1.*").objects == unnamed(below("1.0"))
    assert archive.queries[0] == ("STUDY", {STUDY: "1.0\\1.*", COUNTS["STUDY"]: ""})
    archive = Archive({uid: place._replace(patient="P*") for uid, place in HELD.items()}, (PATIENT_ROOT_FIND,))
    assert len(taken(archive, "PATIENT", "PatientID=P*", model="PATIENT").objects) == 8, "a Patient ID is literal"
    assert archive.queries[0][0] == "STUDY"


def test_patient_is_listed_by_studies() -> None:
    archive = Archive(classes=(STUDY_ROOT_FIND, PATIENT_ROOT_FIND))
    found = taken(archive, "PATIENT", "PatientID=P1", model="PATIENT")
    assert archive.queries == [("STUDY", {PATIENT: "P1", STUDY: "", COUNTS["STUDY"]: ""}), *of_series("1.1")]
    assert found.objects == below("1.1")
    assert archive.used == {STUDY_ROOT_FIND}
    archive = Archive(classes=(PATIENT_ROOT_FIND,))
    found = taken(archive, "PATIENT", "PatientID=P1", model="PATIENT")
    assert archive.queries[0] == ("STUDY", {PATIENT: "P1", STUDY: "", COUNTS["STUDY"]: ""})
    assert [keys[PATIENT] for _, keys in archive.queries] == ["P1"] * 4, "queries of Patient Root name the patient"
    assert found.objects == below("1.1")


def test_patient_root_of_a_study_root_request_is_not_used() -> None:
    with pytest.raises(FindNotOfferedError):
        taken(Archive(classes=(PATIENT_ROOT_FIND,)), "STUDY", *ONE)
    with pytest.raises(FindNotOfferedError):
        taken(Archive(classes=()), "PATIENT", "PatientID=P1", model="PATIENT")
    with pytest.raises(InventoryError, match="no QueryRetrieveLevel"):
        take_inventory(Archive(), make_identifier(list(ONE)), "STUDY")  # type: ignore[arg-type] # as above


def test_study_of_a_patient_root_request_has_its_patient() -> None:
    archive = Archive()
    found = taken(archive, "STUDY", "StudyInstanceUID=1.0\\1.1", model="PATIENT", counted=True)
    studies = [keys for level, keys in archive.queries if level == "STUDY"]
    assert studies == [{PATIENT: "", STUDY: uid, COUNTS["STUDY"]: ""} for uid in ("1.0", "1.1")]
    assert found.objects == unnamed(HELD), "as the user asked"
    archive = Archive(attributes={uid: {ACCESSION: "A1"} for uid in ("1.0", "1.1")})
    assert taken(archive, "STUDY", "AccessionNumber=A1", model="PATIENT").objects == HELD
    archive = Archive(classes=(PATIENT_ROOT_FIND,))
    found = taken(archive, "STUDY", *ONE, model="PATIENT")
    assert archive.queries == of_series("1.0"), "the patient is unknown"


def test_patient_whose_id_another_patient_has_is_not_listed() -> None:
    held = {**below("1.0"), **{uid: place._replace(patient="P0") for uid, place in below("1.1").items()}}
    for other, shared in (("M", True), ("F", False)):
        archive = Archive(held, classes=(PATIENT_ROOT_FIND,), attributes={"P0": {SEX: "F"}})
        find = archive.find

        def both(uid: str, identifier: Identifier, find: Any = find, other: str = other) -> Iterator[Any]:
            if identifier.text(LEVEL) == "PATIENT" and not identifier.text(SEX):
                values = {PATIENT: b"P0", SEX: other.encode() + b" "}
                response = FindResponse(1, PENDING, encode_identifier(values, IMPLICIT_LITTLE))
                yield response, Context(1, uid, IMPLICIT_LITTLE)
            yield from find(uid, identifier)

        archive.find = both  # type: ignore[method-assign,assignment] # two patients with one ID
        if shared:
            with pytest.raises(InventoryError):
                taken(archive, "PATIENT", "PatientID=P0", "PatientSex=F", model="PATIENT")
        else:
            assert set(taken(archive, "PATIENT", "PatientID=P0", "PatientSex=F", model="PATIENT").objects) == set(HELD)


def test_other_keys_are_sent_at_their_level_and_down_to_that_of_the_request() -> None:
    archive = Archive(attributes={"1.0": {ACCESSION: "A1"}, "1.1": {ACCESSION: "A2"}})
    found = taken(archive, "STUDY", "AccessionNumber=A1", counted=True)
    assert found.objects == unnamed(below("1.0"))
    assert archive.queries == [("STUDY", {ACCESSION: "A1", STUDY: "", COUNTS["STUDY"]: ""}), *of_series("1.0")]
    archive = Archive(attributes={"1.0.0": {MODALITY: "CT"}, "1.0.1": {MODALITY: "MR"}})
    found = taken(archive, "SERIES", *ONE, "Modality=MR", counted=True)
    assert found.objects == unnamed(below("1.0.1"))
    assert [level for level, _ in archive.queries] == ["SERIES", "IMAGE"], "numbers come with the series"
    archive = Archive(attributes={"1.0.0": {MODALITY: "CT"}, "1.0.1": {MODALITY: "MR"}})
    found = taken(archive, "SERIES", *ONE, "SeriesInstanceUID=1.0.0\\1.0.1", "Modality=MR", counted=True)
    assert [level for level, _ in archive.queries] == ["SERIES", "IMAGE"], "queried with those keys, counts included"
    assert found.objects == unnamed(below("1.0.1"))
    archive = Archive(attributes={"1.0.1.0": {NUMBER: "1"}, "1.0.1.1": {NUMBER: "2"}})
    found = taken(archive, "IMAGE", *ONE_SERIES, "InstanceNumber=2")
    assert (found.objects, archive.queries[0][1][NUMBER]) == (unnamed(below("1.0.1.1")), "2")


def test_study_that_is_named_and_has_another_key_is_queried() -> None:
    archive = Archive(attributes={"1.0": {ACCESSION: "A1"}, "1.1": {ACCESSION: "A2"}})
    found = taken(archive, "STUDY", "StudyInstanceUID=1.0\\1.1", "AccessionNumber=A2")
    assert found.objects == unnamed(below("1.1"))
    assert archive.queries[0] == ("STUDY", {ACCESSION: "A2", STUDY: "1.0\\1.1", COUNTS["STUDY"]: ""})


def test_answers_that_contradict_a_key_are_counted() -> None:
    archive = Archive()
    archive.attributes = {"1.0": {ACCESSION: "A1"}, "1.1": {ACCESSION: "A1"}}
    found = taken(archive, "STUDY", "AccessionNumber=A1")
    assert (len(found.objects), found.dropped) == (8, 0)
    answered = archive._matches
    archive._matches = lambda level, keys: {  # type: ignore[method-assign] # one that contradicts
        uid: {**match, ACCESSION: "A9"} if uid == "1.1" else match for uid, match in answered(level, keys).items()
    }
    found = taken(archive, "STUDY", "AccessionNumber=A1")
    assert (found.objects, found.dropped) == (unnamed(below("1.0")), 1)


def test_modalities_in_study_that_an_archive_ignores_are_looked_up_in_its_series() -> None:
    attributes = {"1.0.0": {MODALITY: "CT"}, "1.0.1": {MODALITY: "MR"}, "1.1.0": {MODALITY: "US"}}
    attributes |= {"1.1.1": {MODALITY: "US"}}
    attributes |= {uid: {ACCESSION: "A1"} for uid in ("1.0", "1.1")}
    archive = Archive(attributes=attributes)
    found = taken(archive, "STUDY", "AccessionNumber=A1", "ModalitiesInStudy=MR")
    assert found.objects == unnamed(below("1.0"))
    studies = [keys for level, keys in archive.queries if level == "STUDY"]
    assert [(keys.get(ACCESSION), keys.get(MODALITIES)) for keys in studies] == [("A1", "MR"), ("A1", None)]
    with pytest.raises(IgnoredKeyError):
        taken(Archive(), "STUDY", "AccessionNumber=A1", "ModalitiesInStudy=MR")
    with pytest.raises(IgnoredKeyError):
        taken(Archive(), "SERIES", *ONE, "Modality=MR")


def test_keys_that_match_more_studies_than_allowed_list_none() -> None:
    archive = Archive(attributes={uid: {ACCESSION: "A1"} for uid in ("1.0", "1.1")})
    assert len(taken(archive, "STUDY", "AccessionNumber=A1").objects) == 8
    for most in (0, 2, 3):
        assert len(taken(archive, "STUDY", "AccessionNumber=A1", max_studies=most).objects) == 8
    archive.queries.clear()
    with pytest.raises(TooManyStudiesError, match="2"):
        taken(archive, "STUDY", "AccessionNumber=A1", max_studies=1)
    assert [level for level, _ in archive.queries] == ["STUDY"]
    for keys in (("STUDY", "StudyInstanceUID=1.0\\1.1"), ("SERIES", "SeriesInstanceUID=1.0.0\\1.1.0")):
        with pytest.raises(TooManyStudiesError, match="2"):
            taken(archive, *keys, max_studies=1)
        assert taken(archive, *keys, max_studies=2).objects


def test_character_set_of_the_keys_goes_with_every_query() -> None:
    archive = Archive(attributes={"1.0": {ACCESSION: "A1"}})
    sets: list[str] = []
    find = archive.find

    def noting(uid: str, identifier: Identifier) -> Iterator[Any]:
        sets.append(identifier.text(0x00080005))
        return find(uid, identifier)

    archive.find = noting  # type: ignore[method-assign,assignment] # notes character sets
    taken(archive, "STUDY", *ONE, "SpecificCharacterSet=ISO_IR 100")
    assert sets == ["ISO_IR 100"] * 3


# -- what is left open -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "gap"),
    [(("IMAGE", "1.0.1"), Place("", "1.0", "1.0.1")), (("SERIES", "1.0"), Place("", "1.0", ""))],
)
def test_query_that_fails_within_a_study_leaves_a_gap_and_the_other_objects(query: tuple[str, str], gap: Place) -> None:
    archive = Archive()
    archive.cut[query] = 1, 0xA700
    found = taken(archive, "STUDY", "StudyInstanceUID=1.0\\1.1")
    assert set(found.gaps) == {gap}
    assert found.gaps[gap].startswith(f"the archive answers C-FIND at level {query[0]} with status 0xa700")
    assert below("1.1").keys() < found.objects.keys() < HELD.keys()
    assert found.hollow == ()
    image = Archive()
    image.cut["IMAGE", "1.0.1"] = 1, 0xA700
    with pytest.raises(InventoryError, match="0xa700"):
        taken(image, "IMAGE", *ONE_SERIES, "SOPInstanceUID=1.0.1.1")


def test_query_that_fails_at_the_level_of_the_request_lists_nothing() -> None:
    archive = Archive()
    archive.cut["STUDY", ""] = 1, 0xA700
    with pytest.raises(InventoryError, match="0xa700"):
        taken(archive, "PATIENT", "PatientID=P1", model="PATIENT")
    archive = Archive(attributes={uid: {ACCESSION: "A1"} for uid in ("1.0", "1.1")})
    archive.cut["STUDY", ""] = 1, 0xA700
    with pytest.raises(InventoryError, match="0xa700"):
        taken(archive, "STUDY", "AccessionNumber=A1")
    archive = Archive(attributes={uid: {MODALITY: "CT"} for uid in ("1.0.0", "1.0.1")})
    archive.cut["SERIES", "1.0"] = 1, 0xA700
    with pytest.raises(InventoryError, match="0xa700"):
        taken(archive, "SERIES", *ONE, "Modality=CT")


@pytest.mark.parametrize(
    ("counts", "gap", "words"),
    [
        ({"1.0": 5}, Place("", "1.0", ""), "the archive counts 5 objects in study 1.0 and lists 4"),
        ({"1.0.1": 3}, Place("", "1.0", "1.0.1"), "the archive counts 3 objects in series 1.0.1 and lists 2"),
        ({"1.0": 4, "1.0.1": 2}, None, ""),
        ({"1.0": 3, "1.0.1": 1}, None, ""),
    ],
)
def test_number_that_the_archive_states_and_does_not_list_is_a_gap(
    counts: dict[str, int], gap: Place | None, words: str
) -> None:
    archive, sizes = Archive(), ListSizes()
    archive.counts = counts
    found = taken(archive, "STUDY", *ONE, counted=True, sizes=sizes)
    assert found.gaps == ({} if gap is None else {gap: words})
    assert len(found.objects) == 4
    assert sizes.counts == {"1.0": 4, "1.0.0": 2, "1.0.1": 2} | counts
    assert sizes.cap == (0 if gap is None else 2 if gap.series else 4)
    archive.counts = {}
    later = taken(archive, "STUDY", *ONE, sizes=sizes)
    assert later.gaps.keys() >= found.gaps.keys(), "it was stated once"
    assert (Place("", "1.0", "1.0.0") in later.gaps) is (sizes.cap == 2), "as long as a list that was cut short"


def test_number_of_a_study_of_a_patient_is_compared() -> None:
    archive = Archive()
    archive.counts = {"1.1": 5}
    found = taken(archive, "PATIENT", "PatientID=P1", model="PATIENT", counted=True)
    assert found.gaps == {Place("P1", "1.1", ""): "the archive counts 5 objects in study 1.1 and lists 4"}


def test_number_of_a_study_is_not_compared_if_one_of_its_series_has_a_gap() -> None:
    archive = Archive()
    archive.cut["IMAGE", "1.0.1"] = 1, 0xA700
    archive.counts["1.0"] = 9
    found = taken(archive, "STUDY", "StudyInstanceUID=1.0", counted=True)
    assert set(found.gaps) == {Place("", "1.0", "1.0.1")}


def test_number_of_a_series_is_stated_by_its_own_request() -> None:
    archive = Archive()
    archive.counts = {"1.0.1": 3, "1.0": 99}
    found = taken(archive, "SERIES", *ONE_SERIES, counted=True)
    assert found.gaps == {Place("", "1.0", "1.0.1"): "the archive counts 3 objects in series 1.0.1 and lists 2"}


def test_archive_that_does_not_state_numbers_is_believed() -> None:
    archive = Archive()
    archive.cut["STUDY", ""] = 0, 0xC000
    assert taken(archive, "STUDY", *ONE, counted=True).gaps == {}


def test_as_many_answers_as_a_list_that_was_cut_short_had_are_a_gap() -> None:
    held = {**HELD, "1.1.0.9": HELD["1.1.0.0"]}
    archive, sizes = Archive(held), ListSizes()
    archive.cut["IMAGE", "1.0.0"] = 2, 0xA700
    found = taken(archive, "STUDY", "StudyInstanceUID=1.0\\1.1", sizes=sizes)
    assert sizes.cap == 2
    at_most = "the archive seems to send at most 2 answers to a query: its list at level IMAGE may be cut short"
    assert {place.series or place.study: words for place, words in found.gaps.items()} == {
        "1.0.0": "the archive answers C-FIND at level IMAGE with status 0xa700 (Refused: Out of resources) "
        "after 2 answers",
        "1.0.1": at_most,
        "1.1.1": at_most,
    }
    uids = "\\".join(below("1.0.1"))
    named = taken(Archive(), "IMAGE", *ONE_SERIES, f"SOPInstanceUID={uids}", sizes=sizes)
    assert len(named.objects) == 2, "as many as were asked for"
    with pytest.raises(InventoryError, match="at most 2"):
        taken(Archive(), "IMAGE", *ONE_SERIES, f"SOPInstanceUID={uids}\\1.0.1.9", sizes=sizes)


def test_single_answer_of_an_archive_that_gave_no_more_before_is_a_gap() -> None:
    sizes = ListSizes()
    sizes.cap = 1
    found = taken(Archive({"1.0.1.1": HELD["1.0.1.1"]}), "SERIES", *ONE_SERIES, sizes=sizes)
    assert (len(found.objects), len(found.gaps)) == (1, 1)


def test_studies_and_series_without_any_object_are_named() -> None:
    archive = Archive()
    archive.cut["IMAGE", "1.0.1"] = 0, SUCCESS
    archive.cut["SERIES", "1.1"] = 0, SUCCESS
    archive.counts["1.0.1"] = 0
    found = taken(archive, "STUDY", "StudyInstanceUID=1.0\\1.1")
    assert found.hollow == ("1.1", "1.0.1")
    assert found.objects == unnamed(below("1.0.0"))
    archive = Archive()
    archive.cut["IMAGE", "1.0.1"] = 0, SUCCESS
    assert taken(archive, "SERIES", *ONE_SERIES).hollow == ("1.0.1",)
    assert taken(archive, "IMAGE", *ONE_SERIES, "SOPInstanceUID=1.0.1.1").hollow == ()
    archive.cut["IMAGE", "1.0.1"] = 0, 0xA700
    assert taken(archive, "SERIES", *ONE_SERIES).hollow == (), "its objects are unknown"
    for classes in ((STUDY_ROOT_FIND,), (PATIENT_ROOT_FIND,)):
        assert taken(Archive({}, classes), "PATIENT", "PatientID=P1", model="PATIENT").hollow == ()
    assert taken(Archive(), "SERIES", *ONE, "SeriesInstanceUID=1.9*").hollow == (), "nothing is known of the study"
    archive = Archive(attributes={uid: {MODALITY: "CT"} for uid in ("1.0.0", "1.0.1")})
    assert taken(archive, "SERIES", *ONE, "Modality=MR").hollow == (), "the study has others"


def test_study_and_series_of_an_earlier_list_that_are_not_listed_any_more_are_named() -> None:
    archive, sizes = Archive(), ListSizes()
    taken(archive, "STUDY", *ONE, sizes=sizes)
    assert sizes.places == {"1.0": Place("", "1.0", ""), "1.0.0": HELD["1.0.0.0"]._replace(patient="")} | {
        "1.0.1": HELD["1.0.1.0"]._replace(patient="")
    }
    archive.held = below("1.0.0")
    found = taken(archive, "STUDY", *ONE, sizes=sizes)
    assert found.vanished == {"1.0.1": (Place("", "1.0", "1.0.1"), 2)}


def test_object_that_is_listed_in_two_series_is_a_gap() -> None:
    archive = Archive()
    answered = archive._matches
    archive._matches = lambda level, keys: {  # type: ignore[method-assign] # one that lists it everywhere
        **answered(level, keys),
        **({"1.0.0.0": {**keys, IMAGE: "1.0.0.0"}} if level == "IMAGE" else {}),
    }
    found = taken(archive, "STUDY", *ONE)
    assert found.gaps == {Place("", "1.0", "1.0.1"): "SOP instance 1.0.0.0 is listed in two series"}
    assert found.objects["1.0.0.0"].series == "1.0.0"


def test_list_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for most in (4, 3):
        monkeypatch.setattr(module, "MAXIMUM", most)
        if most == 4:
            assert len(taken(Archive(), "STUDY", *ONE).objects) == 4
        else:
            with pytest.raises(InventoryError, match="more than 3 objects"):
                taken(Archive(), "STUDY", *ONE)
