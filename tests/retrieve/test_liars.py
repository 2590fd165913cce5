"""Archives that lie, about what they have and about what they did: no lie is taken for a complete retrieve.

The archive (``liar``) has no sockets, so that many lies can be tried. What it said is judged here once more, from its
own record and without the program's evidence.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import liar
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from liar import Answer, Delivery, objects

from movescu._runtime.record import replace
from movescu.query.levels import UNIQUE_KEYS
from movescu.retrieve.config import Retry
from movescu.retrieve.judgement import Outcome, judge

if TYPE_CHECKING:
    from movescu.retrieve.request_state import RequestState

STUDY = ("QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3")
SERIES = ("QueryRetrieveLevel=SERIES", "StudyInstanceUID=1.2.3", "SeriesInstanceUID=1.2.3.1")
STUDIES = ("QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3\\1.2.4")
IMAGES = (*SERIES[1:], "QueryRetrieveLevel=IMAGE", "SOPInstanceUID=1.2.3.1.1\\1.2.3.1.2")
MODES = {
    "verify": Retry(verify=True),
    "retry": Retry(retries=2),
    "resume": Retry(resume=True),
    "verify and retry": Retry(verify=True, retries=2),
    "resume and retry": Retry(resume=True, retries=2),
}
HELD = [*objects(2, 1), *objects(1, study="1.2.4")]
IMAGE = UNIQUE_KEYS["IMAGE"]


def is_complete(state: RequestState) -> bool:
    return judge(state.evidence).outcome is Outcome.COMPLETE


@pytest.mark.parametrize("keys", [STUDY, SERIES, STUDIES, IMAGES])
@pytest.mark.parametrize("mode", MODES)
def test_honest_archive_is_believed_in_every_mode(mode: str, keys: tuple[str, ...]) -> None:
    archive = liar.Archive(HELD)
    state = archive.retrieve(MODES[mode], *keys)
    if mode == "retry" and keys == STUDIES:  # nothing is listed: the request goes out as it is
        assert len(archive.requests) == 1
    assert is_complete(state)
    assert state.attempts == 1


def test_series_that_was_listed_once_stays_wanted_if_no_later_list_has_it() -> None:
    """As with an archive of several nodes, one of which does not know the series yet."""
    held = objects(2, 1)

    def find(said: Answer) -> Answer:
        series = said.keys.get(UNIQUE_KEYS["SERIES"], "")
        if said.level == "IMAGE" and series == "1.2.3.2":
            said.matches, said.status = [], 0xA700
            archive.held = held[:2]
        return said

    def move(said: Delivery) -> Delivery:
        if len(archive.requests) == 1:
            del said.delivered[0]
        return said

    archive = liar.Archive(held, find, move)
    state = archive.retrieve(Retry(verify=True, retries=2), *STUDY)
    assert not is_complete(state)
    assert state.unlisted.endswith("the archive no longer lists series 1.2.3.2, of which 0 objects are known")


def test_series_that_left_the_archive_after_its_objects_arrived_is_complete() -> None:
    held = objects(2, 1)

    def move(said: Delivery) -> Delivery:
        if len(archive.requests) == 1:
            del said.delivered[0]  # of the first series
            archive.held = held[:2]  # the second one leaves
        return said

    archive = liar.Archive(held, move=move)
    assert is_complete(archive.retrieve(Retry(resume=True, retries=2), *STUDY))


@pytest.mark.parametrize(
    ("number", "complete"), [("3", True), ("+3", True), ("4", False), ("+4", False), ("", True), ("9" * 5000, True)]
)
def test_number_of_objects_that_an_archive_states_is_read_as_an_integer_string(number: str, *, complete: bool) -> None:
    def find(said: Answer) -> Answer:
        for match in said.matches:
            if said.level == "STUDY":
                match[liar.COUNTS["STUDY"]] = number
        return said

    assert is_complete(liar.Archive(objects(2, 1), find).retrieve(Retry(verify=True), *STUDY)) is complete


def lie_in_find(data: st.DataObject, answer: Answer) -> Answer:
    kind = data.draw(st.sampled_from(("", "", "", "omit", "status", "count", "foreign", "twice", "no uid")))
    if kind == "omit" and answer.matches:
        del answer.matches[data.draw(st.integers(0, len(answer.matches) - 1))]
    elif kind == "status":
        answer.status = data.draw(st.sampled_from((0xA700, 0xC000, 0xFE00, 0xB000, 0x0122)))
    elif kind == "count":
        for match in answer.matches:
            if (tag := liar.COUNTS.get(answer.level)) is not None:
                match[tag] = str(data.draw(st.integers(0, 5)))
    elif kind == "foreign" and answer.matches:
        answer.matches.append({**answer.matches[0], UNIQUE_KEYS[answer.level]: "9.9.9"})
    elif kind == "twice":
        answer.matches *= 2
    elif kind == "no uid" and answer.matches:
        answer.matches[0].pop(UNIQUE_KEYS[answer.level])
    return answer


def lie_in_move(data: st.DataObject, delivery: Delivery) -> Delivery:
    kind = data.draw(st.sampled_from(("", "", "drop", "drop", "twice", "foreign", "refuse", "lost")))
    assert delivery.final is not None
    if kind in ("drop", "lost") and delivery.delivered:
        del delivery.delivered[data.draw(st.integers(0, len(delivery.delivered) - 1))]
    elif kind == "twice" and delivery.delivered:
        delivery.delivered[-1] = delivery.delivered[0]
    elif kind == "foreign" and delivery.delivered:
        delivery.delivered[-1] = liar.Object("9.9", "9.9.9", "9.9.9.9")
    elif kind == "refuse" and delivery.delivered:
        delivery.failing[delivery.delivered[0].uid] = data.draw(st.sampled_from((0xA700, 0xC000)))
    if kind == "lost":
        delivery.final = None
        return delivery
    says = data.draw(st.sampled_from(("what is so", "all is well", "anything", "nothing")))
    if says == "what is so":
        number = len({one.uid for one in delivery.delivered} - delivery.failing.keys())
        failed = len(delivery.requested) - number
        delivery.final = replace(
            delivery.final, completed=number, failed=max(failed, 0), status=0xB000 if failed > 0 else 0
        )
    elif says == "anything":
        count = st.one_of(st.none(), st.integers(0, 4))
        failed_uids = data.draw(st.lists(st.sampled_from([one.uid for one in HELD] + ["9.9"]), max_size=2))
        delivery.final = replace(
            delivery.final,
            status=data.draw(st.sampled_from((0x0000, 0x0000, 0xB000, 0xFE00, 0xA702, 0xC000))),
            completed=data.draw(count),
            failed=data.draw(count),
            remaining=data.draw(count),
            warning=data.draw(count),
            failed_sop_instance_uids=tuple(failed_uids),
        )
    elif says == "nothing":
        delivery.final = replace(delivery.final, completed=None, failed=None, warning=None)
    return delivery


def broken(archive: liar.Archive, before: frozenset[str], mode: str, keys: tuple[str, ...]) -> list[str]:
    """Return what speaks against a complete retrieve, by the record of what the archive said and sent."""
    here = archive.stored | before
    answers = [said for said in archive.history if isinstance(said, Answer)]
    listed = {match[IMAGE] for said in answers if said.level == "IMAGE" for match in asked_for(said)}
    finals = [said.final for said in archive.history if isinstance(said, Delivery) and said.final is not None]
    named = {uid for final in finals for uid in final.failed_sop_instance_uids}
    found = [f"{uid} listed" for uid in listed - here]
    found += [f"{uid} named as failed" for uid in named - here]
    found += [] if here else ["nothing is here"]
    found += [f"contradiction: {archive.history[-1]}"] if contradicts(archive.history[-1]) else []
    if keys != IMAGES:
        found += [f"{number} objects in {uid}" for uid, number in stated(answers) if number > held(here, uid)]
    if "verify" in mode:
        last = {str((said.level, said.keys)): said.status for said in answers if said.level == "IMAGE"}
        found += [f"query failed: {query}" for query, status in last.items() if status]
    return found


def asked_for(said: Answer) -> list[dict[int, str]]:
    """Return the matches that name an entity, and one of those that were asked for."""
    tag = UNIQUE_KEYS[said.level]
    wanted = said.keys.get(tag, "")
    return [match for match in said.matches if match.get(tag) and (not wanted or match[tag] in wanted.split("\\"))]


def stated(answers: list[Answer]) -> list[tuple[str, int]]:
    """Return the numbers of objects that the archive stated, by UID of study or series."""
    counts = ((said, match, match.get(liar.COUNTS.get(said.level, 0))) for said in answers for match in asked_for(said))
    return [(match[UNIQUE_KEYS[said.level]], int(count)) for said, match, count in counts if count is not None]


def held(here: frozenset[str] | set[str], uid: str) -> int:
    """Return the number of objects of a study or series that are here."""
    return sum(one.startswith(f"{uid}.") for one in here)


def contradicts(said: Answer | Delivery) -> bool:
    """Return True for a statement that something failed: only a list that is made after it may disprove it."""
    if isinstance(said, Answer):
        return False
    final = said.final
    if final is None or final.status or final.failed or final.remaining or final.failed_sop_instance_uids:
        return True
    return (final.completed or 0) + (final.warning or 0) > len({one.uid for one in said.delivered})


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=int(os.environ.get("MOVESCU_LIES", "0")) or examples(60))
@given(
    st.data(),
    st.sampled_from((STUDY, SERIES, STUDIES, IMAGES)),
    st.sets(st.sampled_from([one.uid for one in HELD])),
    st.sampled_from(("MOVESCU", None)),
)
def test_no_lie_is_taken_for_a_complete_retrieve(
    mode: str, data: st.DataObject, keys: tuple[str, ...], before: set[str], originator: str | None
) -> None:
    """``MOVESCU_LIES=10000 pytest`` of this module tries more."""
    archive = liar.Archive(
        HELD, lambda said: lie_in_find(data, said), lambda said: lie_in_move(data, said), originator=originator
    )
    own = frozenset(before if "resume" in mode else ())
    if is_complete(archive.retrieve(MODES[mode], *keys, before=own)):
        assert broken(archive, own, mode, keys) == []
