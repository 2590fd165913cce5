"""Keys that C-MOVE cannot take, resolved to requests by unique keys: all that matches, nothing else, what is lacking.

The archive (``liar``) has no sockets; it answers with accession numbers and modalities, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import liar
import pytest
from hypothesis import given
from hypothesis import strategies as st
from liar import Answer, objects

from movescu._runtime.record import replace
from movescu.dimse.status import SUB_OPERATIONS_WITH_FAILURES
from movescu.errors import IgnoredKeyError, TooManyStudiesError, UsageError
from movescu.query.identifier import make_identifier
from movescu.query.levels import LEVEL, UNIQUE_KEYS
from movescu.query.scope import Scope
from movescu.query.selection import Selection
from movescu.retrieve.config import AE, Config, Receive, Request, Retry
from movescu.retrieve.request_state import RequestState
from movescu.retrieve.resolution import Resolution, check, delivered_nothing, resolve, state_of
from movescu.services.move import MoveResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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


def named(requests: tuple[Identifier, ...]) -> list[tuple[str, str]]:
    """Return level and UIDs of requests."""
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
    nothing = resolved([], *BY_ACCESSION)
    state = state_of(nothing, Scope(make_identifier(BY_ACCESSION), "STUDY"))
    assert state is not None
    assert state.evidence.nothing_found


def test_pattern_that_a_study_matches_is_found_where_patterns_are_taken() -> None:
    keys = ("QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.*\\1.3.*")
    found = resolved(TWO, *keys, resolve=True)
    assert [uid for _, uid in named(found.requests)] == ["1.2.3", "1.2.4", "1.2.5"]
    assert found.unfound == ("1.3.*",)


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
    check(make_identifier(keys), "STUDY", Selection(resolve=True, max_studies=0))


def test_series_cannot_be_chosen_in_a_model_without_series() -> None:
    with pytest.raises(UsageError, match="in this model"):
        check(make_identifier(ONE), "PSONLY", Selection(only=("Modality=CT",)))
    check(make_identifier(ONE), "STUDY", Selection(only=("Modality=CT",)))


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
