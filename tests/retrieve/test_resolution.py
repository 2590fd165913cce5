"""Keys that C-MOVE cannot take, resolved to requests by unique keys: all that matches, nothing else, what is lacking.

The archives (``liar``, ``queried``) have no sockets; they answer with accession numbers and modalities, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import liar
import pytest
from hypothesis import given
from hypothesis import strategies as st
from liar import Answer, objects
from queried import HELD
from queried import Archive as Queried

from movescu._runtime.record import replace
from movescu.dataset.character_sets import SPECIFIC_CHARACTER_SET
from movescu.dataset.values import key_vr
from movescu.dictionary.uids import PATIENT_ROOT_FIND, STUDY_ROOT_FIND
from movescu.dimse.status import SUB_OPERATIONS_WITH_FAILURES
from movescu.errors import IgnoredKeyError, InventoryError, TooManyStudiesError, UsageError
from movescu.query.identifier import make_identifier
from movescu.query.levels import LEVEL, UNIQUE_KEYS
from movescu.query.scope import Scope
from movescu.query.selection import Selection
from movescu.retrieve.config import AE, Config, Receive, Request, Retry
from movescu.retrieve.request_state import RequestState
from movescu.retrieve.resolution import Resolution, Shortfall, check, delivered_nothing, resolve, state_of, wanted
from movescu.services.move import MoveResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from liar import Object

    from movescu.query.identifier import Identifier

ACCESSION, MODALITY, SERIES_IN_STUDY, INSTANCE_NUMBER = 0x00080050, 0x00080060, 0x00201206, 0x00200013
STUDY, SERIES, IMAGE = (UNIQUE_KEYS[level] for level in ("STUDY", "SERIES", "IMAGE"))
BY_ACCESSION = ("QueryRetrieveLevel=STUDY", "AccessionNumber=A1")
ONE = ("QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3")
CONFIG = Config(AE("127.0.0.1", 104, "ARCHIVE"), receive=Receive(11112), request=Request(model="STUDY"))


def resolved(
    held: list[Object],
    *keys: str,
    accessions: Mapping[str, str] = {},
    modalities: Mapping[str, str] = {},
    find: Callable[[Answer], Answer] = lambda answer: answer,
    verify: bool = False,
    **selection: Any,
) -> Resolution:
    """Resolve keys. ``accessions``: by study. ``modalities``: by series."""

    def answer(said: Answer) -> Answer:
        for match in said.matches:
            for tag, values, key in ((ACCESSION, accessions, STUDY), (MODALITY, modalities, SERIES)):
                if tag in said.keys and key in match:
                    match[tag] = values.get(match[key], "")
            if INSTANCE_NUMBER in said.keys:
                match[INSTANCE_NUMBER] = "1"
        return find(said)

    archive = liar.Archive(held, answer)
    archive.open()
    config = replace(CONFIG, retry=Retry(verify=verify), selection=Selection(**selection) if selection else None)
    return resolve(archive, make_identifier(keys), config)  # type: ignore[arg-type] # stands in for an association


def named(requests: Iterable[Identifier]) -> list[tuple[str, str]]:
    """Return level and UIDs of requests."""
    requests = list(requests)
    for request in requests:
        assert {key.tag: key.vr.decode() for key in request} == {key.tag: key_vr(key.tag) for key in request}
    levels = [request.text(LEVEL) for request in requests]
    return [(level, request.text(UNIQUE_KEYS[level])) for level, request in zip(levels, requests, strict=True)]


TWO = [*objects(2, 1), *objects(1, study="1.2.4"), *objects(1, study="1.2.5")]


def test_each_study_with_the_number_is_requested_and_no_other() -> None:
    found = resolved(TWO, *BY_ACCESSION, accessions={"1.2.3": "A1", "1.2.4": "A2", "1.2.5": "A1"})
    assert named(found.requests) == [("STUDY", "1.2.3"), ("STUDY", "1.2.5")]
    assert dict(found.counts) == {"1.2.3": 3, "1.2.5": 1}
    assert (found.unfound, found.hollow, found.gaps, found.unmet) == ((), (), (), "")
    assert state_of(found, Scope(make_identifier(BY_ACCESSION), "STUDY")) is None


def test_series_and_objects_are_requested_below_their_study() -> None:
    keys = ("QueryRetrieveLevel=SERIES", "StudyInstanceUID=1.2.3", "Modality=CT")
    found = resolved(TWO, *keys, modalities={"1.2.3.1": "CT", "1.2.3.2": "MR"})
    assert named(found.requests) == [("SERIES", "1.2.3.1")]
    assert found.requests[0].text(STUDY) == "1.2.3"
    assert dict(found.counts) == {"1.2.3.1": 2}


def test_request_has_the_archives_own_uids_and_none_of_a_level_below() -> None:
    held = {uid: place._replace(study="1.0\xe9") for uid, place in HELD.items()}
    archive = Queried(held, attributes={"1.0\xe9": {ACCESSION: "A1"}, "1.1": {}})
    archive.character_set = "ISO_IR 192"  # in which that is no letter
    answered = archive._matches
    archive._matches = lambda *query: {uid: {**one, SERIES: "1.0.0"} for uid, one in answered(*query).items()}  # type: ignore[method-assign] # returns what nobody asked for
    found = resolve(archive, make_identifier(BY_ACCESSION), CONFIG)  # type: ignore[arg-type] # stands in for an association
    (request,) = found.requests
    own = {key.tag: key.value.strip(b" \0") for key in request}
    assert own == {LEVEL: b"STUDY", STUDY: b"1.0\xe9"}


@pytest.mark.parametrize("number", [99, 100, 101, 250])
def test_objects_of_a_series_are_requested_by_lists_of_a_hundred(number: int) -> None:
    held = [*objects(number, 2), *objects(1, study="1.2.4")]
    keys = ("QueryRetrieveLevel=IMAGE", "StudyInstanceUID=1.2.3")
    found = resolved(held, *keys, "SeriesInstanceUID=1.2.3.1", "InstanceNumber=1")
    lists = [uids.split("\\") for level, uids in named(found.requests) if level == "IMAGE"]
    assert sorted(uid for uids in lists for uid in uids) == sorted(one.uid for one in held if one.series == "1.2.3.1")
    assert len(lists) == -(-number // 100)
    assert max(map(len, lists)) <= 100
    assert {(one.text(STUDY), one.text(SERIES)) for one in found.requests} == {("1.2.3", "1.2.3.1")}
    assert found.counts == ()


@given(st.lists(st.sampled_from(("CT", "MR", "")), min_size=1, max_size=4), st.booleans())
def test_series_are_chosen_by_their_conditions(modalities: list[str], exclude: bool) -> None:
    held = objects(*[1] * len(modalities))
    have = {f"1.2.3.{number}": modality for number, modality in enumerate(modalities, 1)}
    conditions: dict[str, Any] = {"exclude" if exclude else "only": ("Modality=CT",)}
    if not any(modalities):
        with pytest.raises(IgnoredKeyError, match="Modality"):
            resolved(held, *ONE, modalities=have, **conditions)
        return
    found = resolved(held, *ONE, modalities=have, **conditions)
    wanted = [uid for uid, modality in have.items() if (modality == "CT") is not exclude]
    assert named(found.requests) == [("SERIES", uid) for uid in wanted]
    assert bool(found.unmet) is not bool(wanted)
    state = state_of(found, Scope(make_identifier(ONE), "STUDY"))
    assert (state is None) is bool(wanted)
    if state is not None:
        assert state.nothing_found
        assert state.evidence.nothing_found
        assert state.unmet == found.unmet


def test_words_for_series_that_do_not_meet_the_conditions_have_their_number() -> None:
    one, two = (resolved(objects(*[1] * n), *ONE, modalities={"1.2.3.1": "MR"}, only=("Modality=CT",)) for n in (1, 2))
    assert one.unmet.startswith("the only series does not meet")
    assert two.unmet.startswith("none of the 2 series meets")


def test_study_of_a_request_that_is_not_found_is_named() -> None:
    keys = ("QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3\\1.2.9")
    found = resolved(TWO, *keys)
    assert (named(found.requests), found.unfound) == ([("STUDY", "1.2.3")], ("1.2.9",))
    state = state_of(found, Scope(make_identifier(keys), "STUDY"))
    assert state is not None
    assert state.evidence.nothing_found
    assert state.inventory is not None
    assert state.inventory.unfound == ("1.2.9",)
    keys = ("QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.8\\1.2.9")
    state = state_of(resolved(TWO, *keys), Scope(make_identifier(keys), "STUDY"))
    assert state is not None
    assert state.inventory is not None
    assert state.inventory.unfound == ("1.2.8", "1.2.9")
    assert all(key.vr.decode() == key_vr(key.tag) for key in state.inventory.scope.identifier)
    nothing = resolved([], *BY_ACCESSION)
    state = state_of(nothing, Scope(make_identifier(BY_ACCESSION), "STUDY"))
    assert state is not None
    assert state.evidence.nothing_found


def test_pattern_that_a_study_matches_is_found_where_patterns_are_taken() -> None:
    keys = ("QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.*\\1.3.*")
    found = resolved(TWO, *keys, resolve=True)
    assert [uid for _, uid in named(found.requests)] == ["1.2.3", "1.2.4", "1.2.5"]
    assert found.unfound == ("1.3.*",)
    found = resolved([*TWO, *objects(1, study="1.9")], *keys[:1], "StudyInstanceUID=1.2.*\\1.9", resolve=True)
    assert found.unfound == ()


def test_study_that_is_listed_without_a_series_is_lacking() -> None:
    def find(said: Answer) -> Answer:
        if said.level == "SERIES" and said.keys.get(STUDY) == "1.2.4":
            said.matches.clear()
        return said

    keys = ("QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3\\1.2.4")
    have = {"1.2.3.1": "CT", "1.2.3.2": "CT"}
    found = resolved(TWO, *keys, modalities=have, find=find, only=("Modality=CT",))
    assert (found.hollow, len(found.requests)) == (("1.2.4",), 2)
    state = state_of(found, Scope(make_identifier(keys), "STUDY"))
    assert state is not None
    assert state.nothing_found
    assert state.inventory is not None
    assert state.inventory.unfound == ("1.2.4",)


@pytest.mark.parametrize(
    ("tag", "number", "complaint"),
    [
        (SERIES_IN_STUDY, "3", "the archive counts 3 series in study 1.2.3 and lists 2"),
        (SERIES_IN_STUDY, "2", ""),
        (liar.COUNTS["STUDY"], "4", "the archive counts 4 objects in study 1.2.3 and 3 in its series"),
        (liar.COUNTS["STUDY"], "3", ""),
        (liar.COUNTS["STUDY"], "2", ""),
        (liar.COUNTS["STUDY"], "", ""),
    ],
)
def test_study_with_more_than_its_series_is_incomplete_with_verify(tag: int, number: str, complaint: str) -> None:
    def find(said: Answer) -> Answer:
        for match in said.matches if said.level == "STUDY" else ():
            match[tag] = number
        return said

    have = {"1.2.3.1": "CT", "1.2.3.2": "MR"}
    settings: dict[str, Any] = {"modalities": have, "find": find, "only": ("Modality=CT",)}
    assert resolved(TWO, *ONE, **settings).gaps == ()
    found = resolved(TWO, *ONE, verify=True, **settings)
    assert found.gaps == ((complaint,) if complaint else ())
    state = state_of(found, Scope(make_identifier(ONE), "STUDY"))
    assert (state is not None) is bool(complaint)
    if state is not None:
        assert (state.unlisted, state.nothing_found) == (complaint, False)
        assert state.evidence.unlisted


def test_total_of_a_study_is_not_compared_with_series_of_which_one_has_none() -> None:
    def find(said: Answer) -> Answer:
        for match in said.matches:
            if said.level == "STUDY":
                match[liar.COUNTS["STUDY"]] = "9"
            elif match.get(SERIES) == "1.2.3.2":
                match.pop(liar.COUNTS["SERIES"], None)
        return said

    have = {"1.2.3.1": "CT", "1.2.3.2": "MR"}
    found = resolved(TWO, *ONE, modalities=have, find=find, only=("Modality=CT",), verify=True)
    assert found.gaps == ()


def test_series_without_an_object_is_compared_with_the_total_too() -> None:
    def find(said: Answer) -> Answer:
        for match in said.matches:
            if match.get(SERIES) == "1.2.3.2":
                match[liar.COUNTS["SERIES"]] = "0"
        return said

    have = {"1.2.3.1": "CT", "1.2.3.2": "MR"}
    found = resolved(objects(2, 1), *ONE, modalities=have, find=find, only=("Modality=CT",), verify=True)
    assert found.gaps == ("the archive counts 3 objects in study 1.2.3 and 2 in its series",)


def test_more_studies_than_allowed_are_requested_for_nobody() -> None:
    every = dict.fromkeys(("1.2.3", "1.2.4", "1.2.5"), "A1")
    assert len(resolved(TWO, *BY_ACCESSION, accessions=every, max_studies=3).requests) == 3
    with pytest.raises(TooManyStudiesError, match="3"):
        resolved(TWO, *BY_ACCESSION, accessions=every, max_studies=2)


@pytest.mark.parametrize(
    ("keys", "selection"),
    [
        (("QueryRetrieveLevel=STUDY", "StudyInstanceUID="), {}),
        (("QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2*"), {}),
        (
            ("QueryRetrieveLevel=IMAGE", "StudyInstanceUID=1.2", "SeriesInstanceUID=1.3", "SOPInstanceUID=1.4"),
            {"only": ("Modality=CT",)},
        ),
    ],
)
def test_keys_that_name_everything_or_cannot_be_chosen_from_are_refused(
    keys: tuple[str, ...], selection: dict[str, Any]
) -> None:
    with pytest.raises(UsageError):
        check(make_identifier(keys), "STUDY", Selection(**selection))
    with pytest.raises(UsageError):
        resolved(TWO, *keys, **selection)
    check(make_identifier(keys), "STUDY", Selection(resolve=True, max_studies=0))


def test_series_cannot_be_chosen_in_a_model_without_series() -> None:
    with pytest.raises(UsageError, match="in this model"):
        check(make_identifier(ONE), "PSONLY", Selection(only=("Modality=CT",)))
    check(make_identifier(ONE), "STUDY", Selection(only=("Modality=CT",)))


def test_conditions_on_series_of_which_there_are_none_are_not_to_blame() -> None:
    found = resolved(TWO, "QueryRetrieveLevel=STUDY", "StudyInstanceUID=9.9", only=("Modality=CT",))
    assert (found.requests, found.unfound, found.unmet) == ((), ("9.9",), "")


@pytest.mark.parametrize(("accessions", "words"), [("A2", "0 entities"), ("A1", "1 study"), ("A3", "2 studies")])
def test_number_of_matches_is_logged(caplog: pytest.LogCaptureFixture, accessions: str, words: str) -> None:
    with caplog.at_level("INFO"):
        have = {"1.2.3": "A1", "1.2.4": "A3", "1.2.5": "A3"}
        resolved(TWO, "QueryRetrieveLevel=STUDY", f"AccessionNumber={accessions}", accessions=have)
    assert f"the keys match {words}" in caplog.messages


# -- patients ----------------------------------------------------------------------------------------------------------

PATIENT_ID, SEX, STUDIES_OF_PATIENT = UNIQUE_KEYS["PATIENT"], 0x00100040, 0x00201200
BOTH = (STUDY_ROOT_FIND, PATIENT_ROOT_FIND)
HELD_BY_P1 = {uid: place._replace(patient="P1") for uid, place in HELD.items()}


def of_patient(archive: Queried, *keys: str, verify: bool = False, **selection: Any) -> Resolution:
    """Resolve keys of a patient in Patient Root."""
    config = replace(
        CONFIG,
        request=Request(model="PATIENT"),
        retry=Retry(verify=verify),
        selection=Selection(**{"resolve": True, **selection}),
    )
    identifier = make_identifier(["QueryRetrieveLevel=PATIENT", *keys])
    return resolve(archive, identifier, config)  # type: ignore[arg-type] # stands in for an association


def test_patient_is_requested_by_its_id_or_named_as_unfound() -> None:
    found = of_patient(Queried(classes=BOTH), "PatientID=P1")
    assert (named(found.requests), found.unfound, found.counts) == ([("PATIENT", "P1")], (), ())
    found = of_patient(Queried(classes=BOTH), "PatientID=P9")
    assert (found.requests, found.unfound) == ((), ("P9",))
    found = of_patient(Queried(classes=BOTH), "PatientID=P*")
    assert named(found.requests) == [("PATIENT", "P0"), ("PATIENT", "P1")]


@pytest.mark.parametrize("classes", [(STUDY_ROOT_FIND,), BOTH])
def test_patient_with_another_key_is_requested_by_studies(classes: tuple[str, ...]) -> None:
    """Others may have the same Patient ID, and C-MOVE names that alone."""
    archive = Queried(HELD_BY_P1, classes, {"1.0": {SEX: "F"}, "1.1": {SEX: "M"}})
    found = of_patient(archive, "PatientID=P1", "PatientSex=F")
    assert named(found.requests) == [("STUDY", "1.0")]
    assert found.requests[0].text(PATIENT_ID) == "P1"


@pytest.mark.parametrize("other", ["M", "F"])
def test_patient_whose_id_another_has_is_not_requested_by_it(other: str) -> None:
    held = {uid: place._replace(patient="P0") for uid, place in HELD.items()}
    archive = Queried(held, (PATIENT_ROOT_FIND,), {"1.0": {}, "P0": {SEX: "F"}})
    answered = archive._matches

    def matches(level: str, keys: dict[int, str]) -> dict[str, dict[int, str]]:
        found = answered(level, keys)
        return found if keys.get(SEX) or level != "PATIENT" else {**found, "other": {PATIENT_ID: "P0", SEX: other}}

    archive._matches = matches  # type: ignore[method-assign] # two patients with one ID
    if other == "M":
        with pytest.raises(InventoryError, match="Patient"):
            of_patient(archive, "PatientID=P0", "PatientSex=F")
    else:
        assert named(of_patient(archive, "PatientID=P0", "PatientSex=F").requests) == [("PATIENT", "P0")]


@pytest.mark.parametrize(("stated", "found"), [("", 1), ("1", 1), ("2", 2), ("x", 1)])
@pytest.mark.parametrize("most", [0, 1, 2, 3, 4])
def test_patients_with_more_studies_than_allowed_are_not_requested(most: int, stated: str, found: int) -> None:
    archive = Queried(HELD, BOTH, {"P1": {STUDIES_OF_PATIENT: stated}})
    archive.lacking = () if stated else (STUDIES_OF_PATIENT,)
    if 0 < most < 1 + found:
        with pytest.raises(TooManyStudiesError, match=f"{1 + found} studies"):
            of_patient(archive, "PatientID=P*", max_studies=most)
        assert "STUDY" not in [level for level, _ in archive.queries], "the archive's numbers say it"
    else:
        assert len(of_patient(archive, "PatientID=P*", max_studies=most).requests) == 2
    assert ("STUDY" in [level for level, _ in archive.queries]) is (most > 1 and most > found), (
        "nothing needs that list"
    )
    archive.queries.clear()
    assert len(of_patient(archive, "PatientID=P1").requests) == 1, "named by the user"
    assert [level for level, _ in archive.queries] == ["PATIENT"], "and nothing limits it"
    if most and found > most:
        with pytest.raises(TooManyStudiesError, match=f"{found} studies"):
            of_patient(archive, "PatientID=P1", max_studies=most)
    else:
        assert len(of_patient(archive, "PatientID=P1", max_studies=most).requests) == 1


@pytest.mark.parametrize("most", [1, 2])
def test_patients_with_more_studies_listed_than_stated_are_not_requested(most: int) -> None:
    archive = Queried(HELD_BY_P1, BOTH, {"P1": {STUDIES_OF_PATIENT: "1"}})
    if most == 1:
        with pytest.raises(TooManyStudiesError, match="2 studies"):
            of_patient(archive, "PatientID=P*", max_studies=most)
    else:
        assert len(of_patient(archive, "PatientID=P*", max_studies=most).requests) == 1


@pytest.mark.parametrize(("stated", "gap"), [("3", True), ("2", False), ("1", False), ("", False)])
def test_patient_with_more_studies_than_are_listed_is_incomplete_with_verify(stated: str, *, gap: bool) -> None:
    modalities = {uid: {MODALITY: "CT"} for uid in ("1.0.0", "1.0.1", "1.1.0", "1.1.1")}
    archive = Queried(HELD_BY_P1, BOTH, {**modalities, "P1": {STUDIES_OF_PATIENT: stated}})
    archive.lacking = () if stated else (STUDIES_OF_PATIENT,)
    found = of_patient(archive, "PatientID=P1", only=("Modality=CT",), verify=True)
    assert [uid for _, uid in named(found.requests)] == ["1.0.0", "1.0.1", "1.1.0", "1.1.1"]
    assert found.gaps == (("the archive counts 3 studies of a patient and lists 2",) if gap else ())
    assert of_patient(archive, "PatientID=P1", only=("Modality=CT",)).gaps == ()


def test_patient_that_is_listed_without_a_study_is_lacking() -> None:
    archive = Queried(HELD_BY_P1, BOTH)
    archive.cut["STUDY", ""] = 0, 0
    found = of_patient(archive, "PatientID=P1", only=("Modality=CT",), verify=True)
    assert (found.requests, found.hollow, found.gaps) == ((), ("P1",), ())


def test_patient_id_beyond_ascii_is_requested_with_its_character_set() -> None:
    held = {uid: place._replace(patient="J\xf6rg") for uid, place in HELD.items()}
    ascii_, latin, unnamed = Queried(HELD_BY_P1), Queried(held), Queried(held)
    ascii_.character_set, latin.character_set = "ISO_IR 100", "ISO 2022 IR 100\\ISO 2022 IR 101"
    for archive, patient, terms in (
        (ascii_, b"P1", None),
        (latin, b"J\xf6rg", b"ISO 2022 IR 100\\ISO 2022 IR 101"),
        (unnamed, b"J\xf6rg", None),
    ):
        archive.attributes = {"1.0": {ACCESSION: "A1"}, "1.1": {ACCESSION: "A2"}}
        config = replace(CONFIG, request=Request(model="PATIENT"))
        found = resolve(archive, make_identifier(BY_ACCESSION), config)  # type: ignore[arg-type] # as above
        assert named(found.requests) == [("STUDY", "1.0")]
        (request,) = found.requests
        own, character_set = request.get(PATIENT_ID), request.get(SPECIFIC_CHARACTER_SET)
        assert own is not None
        assert own.value.strip() == patient
        assert (None if character_set is None else character_set.value) == terms


@pytest.mark.parametrize("resolve", [True, False])
def test_patient_id_beyond_ascii_is_found_in_the_character_set_of_the_request(*, resolve: bool) -> None:
    patient = "J\xf6rg".encode()
    archive = Queried({uid: place._replace(patient=patient.decode("latin-1")) for uid, place in HELD.items()}, BOTH)
    archive.character_set = "ISO_IR 192"
    found = of_patient(archive, "PatientID=J\xf6rg", "SpecificCharacterSet=ISO_IR 192", resolve=resolve)
    assert (len(found.requests), found.unfound) == (1, ())
    own = found.requests[0].get(PATIENT_ID)
    assert own is not None
    assert own.value.strip(b" \0") == patient


# -- matches for other purposes than requests --------------------------------------------------------------------------


def matched(archive: Queried, *keys: str, **settings: Any) -> list[tuple[str, str, int | None]]:
    """Return level, UID and number of objects of matches."""
    found = wanted(archive, make_identifier(keys), **{"selection": Selection(), **settings})  # type: ignore[arg-type] # as above
    return [(one.level, one.uid, one.count("IMAGE")) for one in found]


def test_matches_are_counted_where_the_archive_does_not_count() -> None:
    archive = Queried()
    archive.lacking = tuple(liar.COUNTS.values())
    assert matched(archive, "QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.0") == [("STUDY", "1.0", None)]
    assert matched(archive, "QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.0", count=True) == [("STUDY", "1.0", 4)]
    archive.attributes = {"1.0.0": {MODALITY: "CT"}, "1.0.1": {MODALITY: "MR"}}
    for count, number in ((False, None), (True, 2)):
        only = Selection(only=("Modality=CT",))
        assert matched(archive, *ONE[:1], "StudyInstanceUID=1.0", selection=only, count=count) == [
            ("SERIES", "1.0.0", number)
        ]


@pytest.mark.parametrize("level", ["PATIENT", "STUDY", "SERIES"])
def test_matches_of_the_level_that_the_caller_names_are_found(level: str) -> None:
    archive = Queried(HELD_BY_P1, BOTH, {"1.0": {SEX: "F"}, "1.1": {SEX: "M"}, "P1": {SEX: "F"}})
    found = matched(archive, "QueryRetrieveLevel=PATIENT", "PatientID=P1", "PatientSex=F", level=level, limited=False)
    assert {one[0] for one in found} == {level}
    archive = Queried(attributes={"1.0": {SEX: "F"}, "1.0.0": {MODALITY: "CT"}, "1.0.1": {MODALITY: "MR"}})
    keys = ("QueryRetrieveLevel=SERIES", "StudyInstanceUID=1.0", "Modality=CT", "PatientSex=F")
    assert matched(archive, *keys) == [("SERIES", "1.0.0", 2)], "the level of the request, without one"


def test_query_without_a_level_chooses_series_and_misses_no_key() -> None:
    archive, shortfall = Queried(attributes={"1.0.0": {MODALITY: "CT"}}), Shortfall()
    only = Selection(only=("Modality=CT",))
    found = matched(archive, "StudyInstanceUID=1.0", level="STUDY", selection=only, shortfall=shortfall)
    assert (found, shortfall.unfound) == ([("SERIES", "1.0.0", 2)], [])


def test_series_of_a_request_for_series_are_chosen_among_them() -> None:
    archive = Queried(attributes={"1.0.0": {MODALITY: "CT"}, "1.0.1": {MODALITY: "MR"}})
    keys = ("QueryRetrieveLevel=SERIES", "StudyInstanceUID=1.0", "SeriesInstanceUID=1.0.0\\1.0.1")
    assert matched(archive, *keys, selection=Selection(only=("Modality=MR",))) == [("SERIES", "1.0.1", 2)]
    assert len(matched(archive, *keys, selection=Selection(exclude=("Modality=US",)))) == 2


@pytest.mark.parametrize(
    ("most", "limited", "level", "fails"),
    [
        (1, True, "", True),
        (1, False, "", False),
        (1, False, "STUDY", True),
        (2, False, "STUDY", False),
        (0, False, "STUDY", False),
        (100, False, "STUDY", False),
        (1, False, "PATIENT", False),
    ],
)
def test_query_lists_no_more_studies_than_the_user_allows(most: int, limited: bool, level: str, *, fails: bool) -> None:
    archive = Queried(classes=BOTH, attributes={uid: {ACCESSION: "A1"} for uid in ("1.0", "1.1")})
    settings: dict[str, Any] = {"level": level, "limited": limited, "selection": Selection(max_studies=most)}
    keys = ("QueryRetrieveLevel=STUDY", "AccessionNumber=A1") if level != "PATIENT" else ("PatientID=P*",)
    if fails:
        with pytest.raises(TooManyStudiesError):
            matched(archive, *keys, **settings)
    else:
        assert len(matched(archive, *keys, **settings)) >= (2 if level != "PATIENT" else 0)


@pytest.mark.parametrize("limited", [True, False])
def test_default_limit_is_one_of_requests_and_none_of_queries(*, limited: bool) -> None:
    held = {
        f"1.{study}.1.1": HELD["1.0.0.0"]._replace(study=f"1.{study}", series=f"1.{study}.1") for study in range(101)
    }
    archive = Queried(held, attributes={place.study: {ACCESSION: "A1"} for place in held.values()})
    keys, level = ("QueryRetrieveLevel=STUDY", "AccessionNumber=A1"), "" if limited else "STUDY"
    if limited:
        with pytest.raises(TooManyStudiesError, match="101"):
            matched(archive, *keys, level=level, limited=limited)
    else:
        assert len(matched(archive, *keys, level=level, limited=limited)) == 101


# -- a match of which nothing is sent ----------------------------------------------------------------------------------

RESPONSE = MoveResponse(1, 0, None, 0, 0, 0)
UNCOUNTED = MoveResponse(1, 0, None, None, None, None)


@pytest.mark.parametrize(
    ("responses", "elsewhere", "nothing"),
    [
        ((RESPONSE,), False, True),
        ((RESPONSE,), True, True),
        ((UNCOUNTED,), False, True),
        ((UNCOUNTED,), True, False),
        ((RESPONSE, UNCOUNTED), True, False),
        ((replace(RESPONSE, completed=1),), False, False),
        ((replace(RESPONSE, status=SUB_OPERATIONS_WITH_FAILURES),), False, False),
        ((), False, False),
    ],
)
def test_match_of_which_nothing_is_sent_is_no_success(
    responses: tuple[MoveResponse, ...], *, elsewhere: bool, nothing: bool
) -> None:
    state = RequestState()
    state.responses = responses
    config = replace(CONFIG, destination="ELSEWHERE") if elsewhere else CONFIG
    assert delivered_nothing(make_identifier(ONE), state, config) is nothing


@pytest.mark.parametrize(
    ("level", "key", "words"),
    [
        ("PATIENT", "PatientID=1.2", "patient 1.2"),
        ("STUDY", "StudyInstanceUID=1.2", "study 1.2"),
        ("SERIES", "SeriesInstanceUID=1.2", "series 1.2"),
        ("IMAGE", "SOPInstanceUID=1.2", "object 1.2"),
    ],
)
def test_match_of_which_nothing_is_sent_is_named(
    caplog: pytest.LogCaptureFixture, level: str, key: str, words: str
) -> None:
    state = RequestState()
    state.responses = (RESPONSE,)
    assert delivered_nothing(make_identifier([f"QueryRetrieveLevel={level}", key]), state, CONFIG)
    assert caplog.messages == [f"incomplete: the archive lists {words} and sends no object of it"]
