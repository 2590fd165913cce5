"""Jobs and verdicts as messages: nothing is lost, all are of limited size, and nothing else is read."""

from __future__ import annotations

import pickle

import pytest

from movescu.cohort.admission import RequestEnd
from movescu.cohort.job import EchoReport, Job, JobVerdict, LateReport, ObjectsReport, PartsReport
from movescu.cohort.job_json import from_json, to_json
from movescu.cohort.job_run import bounded
from movescu.errors import UsageError
from movescu.query.identifier import make_identifier
from movescu.query.key import Key
from movescu.query.scope import Scope
from movescu.retrieve.catalogue import ListSizes, Place
from movescu.retrieve.causes import NOT_SENT
from movescu.retrieve.earlier_request import EarlierRequest, SeriesObjects, earlier_of
from movescu.retrieve.evidence import Evidence
from movescu.retrieve.inventory import Inventory
from movescu.retrieve.request_state import RequestState, Statement
from movescu.retrieve.result import Result
from movescu.retrieve.tally import NotStored
from movescu.services.move import MoveResponse
from movescu.ul.negotiation import RejectedClass

LONGEST = 2 << 20
"""Characters of the longest message."""

IDENTIFIER = make_identifier(["QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3", "PatientName=Grün"])
RESPONSE = MoveResponse(7, 0xB000, None, 3, 1, 0, failed_sop_instance_uids=("1.2",), error_comment="äh")
RESULT = Result(
    (RESPONSE,),
    3,
    1,
    99,
    4,
    Evidence(statuses=(0xB000,), failed=1),
    {"1.2": "full"},
    (RejectedClass("1.3", ("1",), known=True),),
)
SERIES = SeriesObjects("PAT", "1.2.3", "1.2.4", ("1.2.5", "1.2.6"))
EARLIER = EarlierRequest(
    *(IDENTIFIER, 3, (SERIES,), (), (("1.2.3", 4),), 2),
    statements=(Statement(Evidence(lost=True), 4, 3, 3, frozenset(("1.9", "1.8"))),),
    failures=(("1.2.5", 0xA700, "full"),),
)
SEQUENCE = Key(0x00400275, b"SQ", items=[[Key(0x00400009, b"SH", b"\xfc")]])


@pytest.mark.parametrize(
    "message",
    [
        Job(3, 1, IDENTIFIER, 2.5, (EARLIER,), 500),
        Job(4, 2, make_identifier(["QueryRetrieveLevel=STUDY"]), None),
        ObjectsReport(3, IDENTIFIER, listed=True, complete=False, here=(SERIES,), missing=(SERIES, SERIES)),
        PartsReport(3, (IDENTIFIER, IDENTIFIER)),
        JobVerdict(3, RequestEnd.GOOD, RESULT, NOT_SENT, studies=("1.2.3",), hints=("hint",), earlier=(EARLIER,)),
        JobVerdict(3, RequestEnd.AWAY, None, error="nobody there"),
        EchoReport(answered=True),
        LateReport(((2, {"1.2": "gone"}),), frozenset(("1.5",)), ("1.6",)),
    ],
    ids=lambda message: type(message).__name__,
)
def test_message_crosses_unchanged(message: Job) -> None:
    text = to_json(message)
    assert "\n" not in text
    assert from_json(text) == message
    assert pickle.loads(pickle.dumps(message)) == message


def test_key_with_items_crosses_unchanged() -> None:
    job = Job(1, 1, make_identifier(["QueryRetrieveLevel=STUDY"]))
    keys = (*job.identifier.keys, SEQUENCE)
    job = Job(1, 1, type(job.identifier)(keys))
    assert from_json(to_json(job)).identifier.keys[-1].items[0][0].value == b"\xfc"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 1}',
        '{"version": 2, "message": null}',
        '{"version": 1, "message": {"is": "Popen", "args": ["true"]}}',
        '{"version": 1, "message": {"is": "Job"}}',
        '{"version": 1, "message": {"is": "bytes", "hex": "zz"}}',
        '{"version": 1, "message": {"is": "RequestEnd", "name": "NOBODY"}}',
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        from_json(text)


def uid(number: int) -> str:
    """A UID of the full length."""
    return f"1.2.{'9' * 50}.{number:07}"


def test_verdict_of_a_giant_entry_is_of_limited_size() -> None:
    uids = tuple(map(uid, range(20_000)))
    response = MoveResponse(7, 0xB000, 0, 0, 20_000, 0, "x" * 64, failed_sop_instance_uids=uids)
    result = Result(
        *((response,) * 500, 0, 20_000, 0, 20_000, Evidence(statuses=(0xB000,) * 20_000)),
        dict.fromkeys(uids[:5000], "y" * 10_000),
        missing_uids=uids,
        extra_uids=uids,
        errors=("z" * 10_000,) * 500,
    )
    assert len(to_json(JobVerdict(1, RequestEnd.GOOD, bounded(result)))) < LONGEST


def test_job_that_continues_a_giant_request_is_of_limited_size_and_expects_as_long_a_list() -> None:
    state = RequestState(remember=True)
    state.inventory, state.sizes = Inventory(Scope(IDENTIFIER, "STUDY")), ListSizes()
    places = [Place("PATIENT", "1.2.3", uid(number)) for number in range(2000)]
    state.inventory.objects.update((uid(number), places[number % 2000]) for number in range(50_000))
    state.missing = set(map(uid, range(700)))
    state.failed_uids = set(map(uid, range(5000)))
    state.sizes.counts = {uid(number): 25 for number in range(2000)}
    state.tally.failures = {uid(number): NotStored(0xA700, "full" * 1000) for number in range(1000)}
    state.statements = [Statement(Evidence(failed=9), 9, 9, 9, frozenset(state.failed_uids)) for _ in range(50)]
    earlier = earlier_of(state)
    assert earlier is not None
    assert len(to_json(Job(1, 1, IDENTIFIER, earlier=(earlier,)))) < LONGEST
    again = RequestState(remember=True)
    earlier.continue_as(again, "STUDY")
    assert (again.missing, again.listed_before) == (state.missing, 50_000)
    assert again.evidence.failed >= 9
