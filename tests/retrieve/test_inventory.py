"""The archive's list for one request: what it lacks, and whether the request names exactly what is listed."""

from __future__ import annotations

import pytest

from movescu.query.identifier import make_identifier
from movescu.query.scope import Scope
from movescu.retrieve.catalogue import Place
from movescu.retrieve.inventory import Inventory

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
