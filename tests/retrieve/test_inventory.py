"""The archive's list for one request: what it lacks, and whether the request names exactly what is listed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from movescu.query.identifier import make_identifier
from movescu.query.levels import LEVEL, UNIQUE_KEYS
from movescu.query.scope import Scope
from movescu.retrieve.catalogue import Place
from movescu.retrieve.config import BATCH
from movescu.retrieve.inventory import Inventory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from movescu.query.identifier import Identifier

PLACE = Place("", "1.2.3", "1.2.3.1")


def inventory(*keys: str, model: str = "STUDY", listed: bool = True) -> Inventory:
    made = Inventory(Scope(make_identifier(keys), model))
    if listed:
        made.objects = {"1.2.3.1.1": PLACE}
    return made


STUDY = ("QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3")
PATIENT = ("QueryRetrieveLevel=PATIENT", "PatientID=P1")


def test_request_is_exact_if_all_that_it_names_is_listed_and_nothing_was_dropped() -> None:
    assert inventory(*STUDY).is_exact
    assert not inventory(*STUDY, listed=False).is_exact
    assert not inventory(STUDY[0], "StudyInstanceUID=1.2.3\\1.2.3").is_exact, "a list of studies"
    images = ("QueryRetrieveLevel=IMAGE", "SOPInstanceUID=1.2.3.1.1\\1.2.3.1.2")
    made = inventory(*STUDY[1:], "SeriesInstanceUID=1.2.3.1", *images)
    assert not made.is_exact
    made.objects["1.2.3.1.2"] = PLACE
    assert made.is_exact
    gapped = inventory(*STUDY, listed=False)
    gapped.gaps[PLACE] = "why"
    assert gapped.is_exact
    for name, value in (("dropped", 1), ("hollow", ("1.2.3.9",))):
        doubtful = inventory(*STUDY)
        setattr(doubtful, name, value)
        assert not doubtful.is_exact


@pytest.mark.parametrize(("objects", "gaps", "found"), [(1, 0, True), (0, 1, True), (0, 0, False)])
def test_patient_is_found_if_anything_of_it_is_listed(objects: int, gaps: int, *, found: bool) -> None:
    made = inventory(*PATIENT, model="PATIENT", listed=bool(objects))
    if gaps:
        made.gaps[PLACE] = "why"
    assert made.unfound == (() if found else ("P1",))


def test_five_gaps_are_named_and_the_others_counted() -> None:
    made = inventory(*STUDY)
    made.gaps = {PLACE._replace(series=f"1.{number}"): f"why {number}" for number in range(5)}
    assert made.describe_gaps() == "why 0; why 1; why 2; why 3; why 4"
    made.gaps[PLACE] = "why 5"
    assert made.describe_gaps().endswith("why 4 ... and 1 more")


# -- the requests for some of the objects ------------------------------------------------------------------------------

LEVELS = ("PATIENT", "STUDY", "SERIES", "IMAGE")
HELD = {
    f"1.{study}.{series}.{number}": Place("P1", f"1.{study}", f"1.{study}.{series}")
    for study in range(2)
    for series in range(2)
    for number in range(3)
}
UIDS = sorted(HELD)


def selected(request: Identifier) -> set[str]:
    """Return the objects that an archive sends for a request."""
    texts = {level: request.text(tag) for level, tag in UNIQUE_KEYS.items()}
    named = {level: text.split("\\") for level, text in texts.items() if text}
    assert texts[request.text(LEVEL)], "an empty unique key would request everything"
    return {
        uid
        for uid, place in HELD.items()
        if all(own in named.get(level, [own]) for level, own in zip(LEVELS, (*place, uid), strict=True))
    }


def union(requests: Iterable[Identifier]) -> set[str]:
    return {uid for request in requests for uid in selected(request)}


def named(requests: Iterable[Identifier]) -> list[str]:
    return sorted(f"{one.text(LEVEL)} {one.text(UNIQUE_KEYS[one.text(LEVEL)])}" for one in requests)


REQUESTS = {
    "PATIENT": ("QueryRetrieveLevel=PATIENT", "PatientID=P1"),
    "STUDY": ("QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.0\\1.1"),
    "SERIES": ("QueryRetrieveLevel=SERIES", "StudyInstanceUID=1.0", "SeriesInstanceUID=1.0.0"),
    "IMAGE": (
        *("QueryRetrieveLevel=IMAGE", "StudyInstanceUID=1.0", "SeriesInstanceUID=1.0.0"),
        "SOPInstanceUID=1.0.0.0\\1.0.0.1",
    ),
}


@given(st.data(), st.sampled_from(LEVELS), st.sampled_from(("PATIENT", "STUDY")), st.sampled_from((BATCH, 2, 1)))
def test_requests_bring_what_is_wanted_and_nothing_else(
    data: st.DataObject, level: str, model: str, batch: int
) -> None:
    if level == "PATIENT":
        model = "PATIENT"
    made = inventory(*REQUESTS[level], model=model, listed=False)
    made.objects = {uid: HELD[uid] for uid in selected(made.scope.identifier)}
    wanted = data.draw(st.sets(st.sampled_from(sorted(made.objects))))
    requests = list(made.requests(wanted, batch))
    assert union(requests) == wanted
    assert sum(len(selected(request)) for request in requests) == len(wanted), "nothing is requested twice"
    for request in requests:
        assert LEVELS.index(request.text(LEVEL)) >= LEVELS.index(level), "never above the level of the request"
        images = request.text(UNIQUE_KEYS["IMAGE"])
        assert not images or len(images.split("\\")) <= batch or request == made.scope.identifier
        assert batch == BATCH or images
        assert (model == "PATIENT") is bool(request.text(UNIQUE_KEYS["PATIENT"])) or request == made.scope.identifier
    if level != "IMAGE":
        most = data.draw(st.integers(0, 7))
        parts = list(made.parts(wanted, most))
        assert union(parts) == wanted
        assert sum(map(len, map(selected, parts))) == len(wanted)
        numbers = [sum(made.objects[uid].study == study for uid in wanted) for study in ("1.0", "1.1")]
        whole = [part for part in parts if part.text(LEVEL) == "STUDY"]
        assert not whole or min(number for number in numbers if number) <= most, "large studies are requested by series"


@given(st.data(), st.booleans())
def test_what_was_not_listed_completely_is_requested_as_a_whole(data: st.DataObject, gaps: bool) -> None:
    made = inventory(*REQUESTS["PATIENT"], model="PATIENT", listed=False)
    places = sorted({*HELD.values(), *(place._replace(series="") for place in HELD.values())})
    for place in data.draw(st.sets(st.sampled_from(places), min_size=1)):
        made.gaps[place] = "why"
    listed = data.draw(st.sets(st.sampled_from(UIDS)))
    made.objects = {uid: HELD[uid] for uid in listed}
    wanted = data.draw(st.sets(st.sampled_from(sorted(listed)))) if listed else set()
    open_ones = {
        uid
        for uid in UIDS
        if any(HELD[uid].study == gap.study and gap.series in ("", HELD[uid].series) for gap in made.gaps)
    }
    found = union(made.requests(wanted, gaps=gaps))
    if not gaps:
        assert found >= wanted
        return
    assert found >= wanted | open_ones
    assert found & (listed | open_ones) == wanted | open_ones, "nothing that is listed and not wanted"


PARTS = {
    "both studies": (STUDIES := ("STUDY", "1.0\\1.1"), UIDS, BATCH, ["STUDY 1.0", "STUDY 1.1"]),
    "a study and an object": (STUDIES, UIDS[:7], BATCH, ["STUDY 1.0", "IMAGE 1.1.0.0"]),
    "a series and two objects": (STUDIES, UIDS[:5], BATCH, ["SERIES 1.0.0", "IMAGE 1.0.1.0\\1.0.1.1"]),
    "a study by lists": (
        *(STUDIES, UIDS[:6], 2),
        ["IMAGE 1.0.0.0\\1.0.0.1", "IMAGE 1.0.0.2", "IMAGE 1.0.1.0\\1.0.1.1", "IMAGE 1.0.1.2"],
    ),
    "one study": (("STUDY", "1.0"), UIDS[:6], BATCH, ["STUDY 1.0"]),
    "one study by lists": (
        *(("STUDY", "1.0"), UIDS[:6], BATCH - 1),
        ["IMAGE 1.0.0.0\\1.0.0.1\\1.0.0.2", "IMAGE 1.0.1.0\\1.0.1.1\\1.0.1.2"],
    ),
    "all series of a study": (("SERIES", "1.0.0\\1.0.1"), UIDS[:6], BATCH, ["SERIES 1.0.0", "SERIES 1.0.1"]),
    "all objects of a series": (
        ("IMAGE", "1.0.0.0\\1.0.0.1\\1.0.0.2"),
        UIDS[:3],
        BATCH,
        ["IMAGE " + "\\".join(UIDS[:3])],
    ),
    "two objects of a series": (
        ("IMAGE", "1.0.0.0\\1.0.0.1\\1.0.0.2"),
        UIDS[:2],
        BATCH,
        ["IMAGE " + "\\".join(UIDS[:2])],
    ),
    "nothing": (STUDIES, [], BATCH, []),
}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("dropped", [0, 1])
def test_objects_are_requested_by_the_fewest_requests_at_the_highest_level(name: str, dropped: int) -> None:
    (level, uids), wanted, batch, expected = PARTS[name]
    above = {
        "STUDY": (),
        "SERIES": ("StudyInstanceUID=1.0",),
        "IMAGE": ("StudyInstanceUID=1.0", "SeriesInstanceUID=1.0.0"),
    }
    keyword = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}[level]
    made = inventory(f"QueryRetrieveLevel={level}", *above[level], f"{keyword}={uids}", listed=False)
    listed = selected(made.scope.identifier)
    made.objects = {uid: HELD[uid]._replace(patient="") for uid in UIDS if uid in listed}
    made.dropped = dropped
    requests = list(made.requests(set(wanted), batch))
    assert named(requests) == sorted(expected)
    for request in requests:
        values = [request.text(tag) for tag in UNIQUE_KEYS.values() if request.get(tag) is not None]
        assert all(values), "no empty key"
        assert len(values) == LEVELS.index(request.text(LEVEL)), "those of the levels above"


def test_series_and_studies_with_a_gap_are_requested_once_and_as_a_whole() -> None:
    made = inventory(*REQUESTS["PATIENT"], model="PATIENT", listed=False)
    made.objects = {uid: HELD[uid] for uid in UIDS if not uid.startswith("1.0.0.1")}
    made.gaps[HELD["1.0.0.0"]] = "why"
    every = set(made.objects)
    made.dropped = 1
    assert named(made.requests(every)) == ["SERIES 1.0.0", "SERIES 1.0.1", "STUDY 1.1"]
    made.gaps = {HELD["1.0.0.0"]._replace(series=""): "why"}
    assert named(made.requests(every)) == ["STUDY 1.0", "STUDY 1.1"]
    assert named(made.requests(set())) == ["STUDY 1.0"]
    made.dropped, made.objects = 0, {uid: HELD[uid] for uid in UIDS if uid.startswith("1.1.")}
    every = set(made.objects)
    assert named(made.requests(every)) == ["PATIENT P1"], "as the user asked"
    assert named(made.requests(every, gaps=False)) == ["STUDY 1.1"], "and nothing of which nothing is wanted"
    made.gaps.clear()
    assert named(made.requests(every, gaps=False)) == ["PATIENT P1"]


def test_patient_of_the_request_is_named_if_the_list_has_none() -> None:
    patient, study = "PatientID=P1", "StudyInstanceUID=1.0\\1.1"
    made = inventory("QueryRetrieveLevel=STUDY", patient, study, model="PATIENT", listed=False)
    made.objects = {uid: place._replace(patient="") for uid, place in HELD.items()}
    assert {one.text(UNIQUE_KEYS["PATIENT"]) for one in made.requests(set(UIDS))} == {"P1"}
    made = inventory("QueryRetrieveLevel=STUDY", study, model="PATIENT", listed=False)
    made.objects = {uid: place._replace(patient="") for uid, place in HELD.items()}
    assert [one.get(UNIQUE_KEYS["PATIENT"]) for one in made.requests(set(UIDS))] == [None, None]


def test_keys_that_c_move_cannot_take_are_not_in_the_requests() -> None:
    made = inventory(*STUDY, "AccessionNumber=A1")
    assert not made.is_exact
    (request,) = made.requests(set(made.objects))
    assert sorted(key.tag for key in request) == [LEVEL, UNIQUE_KEYS["STUDY"]]


def test_model_without_series_is_requested_by_studies() -> None:
    made = inventory(*REQUESTS["STUDY"], model="PSONLY", listed=False)
    made.objects = dict(HELD)
    requests = list(made.requests({UIDS[0]}))
    assert [request.text(LEVEL) for request in requests] == ["STUDY"]
    assert union(requests) == {uid for uid in UIDS if uid.startswith("1.0.")}
    made.gaps[HELD["1.1.0.0"]] = "why"
    assert named(made.requests({UIDS[0]})) == ["STUDY 1.0", "STUDY 1.1"], "a gap, too"
    assert not made.is_divisible(set(UIDS), 1)


def test_entry_is_divisible_if_a_study_of_several_series_lacks_more_than_the_limit() -> None:
    made = inventory(*REQUESTS["PATIENT"], model="PATIENT", listed=False)
    made.objects = dict(HELD)
    of_study = {uid for uid in UIDS if uid.startswith("1.0.")}
    assert made.is_divisible(of_study, 5)
    assert not made.is_divisible(of_study, 6)
    assert not made.is_divisible({uid for uid in of_study if uid.startswith("1.0.1.")}, 2), "one series"
    assert not made.is_divisible({UIDS[0], UIDS[-1]}, 1), "one of each study"
    image = inventory(*REQUESTS["IMAGE"])
    image.objects = dict(HELD)
    assert image.is_divisible(of_study, 1) is False
    assert made.is_divisible({*of_study, UIDS[-1]}, 5), "one of two studies"
    assert not made.is_divisible({*of_study, UIDS[-1]}, 6)
    assert named(made.parts({*of_study, UIDS[-1]}, 5)) == ["IMAGE 1.1.1.2", "SERIES 1.0.0", "SERIES 1.0.1"]
    assert named(made.parts({*of_study, UIDS[-1]}, 6)) == ["IMAGE 1.1.1.2", "STUDY 1.0"]
    made.gaps[HELD["1.1.0.0"]] = "why"
    assert named(made.parts(of_study, 6)) == ["STUDY 1.0"], "a gap is no part"


@pytest.mark.parametrize(("counted", "known", "gap"), [(0, 0, True), (2, 1, True), (1, 1, False), (0, 1, False)])
def test_series_that_an_earlier_list_had_is_a_gap_unless_its_objects_are_known(
    counted: int, known: int, *, gap: bool
) -> None:
    earlier, made = inventory(*STUDY, listed=bool(known)), inventory(*STUDY, listed=False)
    made.vanished["1.2.3.1"] = PLACE, counted
    made.keep(earlier)
    assert made.objects == earlier.objects
    assert (PLACE in made.gaps) is gap
    made = inventory(*STUDY, listed=False)
    made.vanished["1.2.3"] = PLACE._replace(series=""), 1
    made.keep(None)
    why = "the archive no longer lists study 1.2.3, of which 0 objects are known"
    assert made.gaps == {PLACE._replace(series=""): why}
    made = inventory(*STUDY)
    made.keep(None)
    assert not made.gaps
