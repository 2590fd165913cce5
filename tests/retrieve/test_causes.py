"""The likely cause of an incomplete retrieve: every kind of evidence, status and error has one."""

from __future__ import annotations

import inspect

import pytest

from movescu import errors
from movescu._runtime.record import replace
from movescu.dimse.status import CANCEL
from movescu.errors import AssociationRejectedError, PeerError
from movescu.retrieve.causes import Fault, cause_of, cause_of_error, cause_of_status, causes_by_reason
from movescu.retrieve.evidence import Evidence
from movescu.retrieve.judgement import Reason
from movescu.retrieve.result import Result
from movescu.ul.negotiation import RejectedClass


def result_of(evidence: Evidence) -> Result:
    return Result(responses=(), stored=0, failed=0, size=0, arrived=0, evidence=evidence, failures={})


def test_each_reason_has_a_cause() -> None:
    assert set(causes_by_reason()) == {reason.name for reason in Reason}


@pytest.mark.parametrize(
    ("status", "code", "passing"),
    [
        (0xA801, "destination-unknown", False),
        (0xA702, "not-reached", True),
        (0xA701, "no-resources", True),
        (0xA900, "keys-refused", False),
        (0xB000, "some-not-delivered", True),
        (0xC123, "unable-to-process", True),
        (0x0124, "not-authorized", False),
        (0x9999, "refused", False),
    ],
)
def test_each_status_has_a_cause(status: int, code: str, *, passing: bool) -> None:
    cause = cause_of_status(status)
    assert (cause.code, cause.passing) == (code, passing)


def test_each_error_of_a_peer_has_a_cause_with_advice() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, PeerError)]
    for kind in set(kinds) - {AssociationRejectedError}:
        error = kind.__new__(kind, "")
        cause = cause_of_error(error)
        assert cause.words
        assert cause.advice
        assert cause.code != "incomplete"


def test_rejection_is_explained_by_its_reason() -> None:
    unknown = AssociationRejectedError("", result=1, source=1, reason=3)
    assert cause_of_error(unknown).fault is Fault.CONFIGURATION
    busy = AssociationRejectedError("", result=2, source=3, reason=2)
    assert (cause_of_error(busy).code, cause_of_error(busy).passing) == ("busy", True)


def test_cause_that_explains_the_others_comes_first() -> None:
    full = Evidence(statuses=(0xB000,), failed=1, not_stored=1, missing=1)
    assert cause_of(result_of(full)).fault is Fault.HERE
    refused = replace(full, statuses=(CANCEL, 0xB000, 0xA801), not_stored=0)
    assert cause_of(result_of(refused)).code == "destination-unknown"
    assert cause_of(result_of(Evidence(missing=1))).code == "missing"


def test_abort_in_answer_to_the_request_points_to_the_title() -> None:
    aborted = errors.AssociationAbortedError("", source=0, reason=0)
    assert cause_of(result_of(Evidence(lost=True)), aborted).code == "aborted-at-once"
    some = replace(result_of(Evidence(lost=True)), arrived=1)
    assert cause_of(some, aborted).code == "aborted"


def test_classes_refused_here_explain_a_failure_without_an_object() -> None:
    refused = replace(result_of(Evidence(statuses=(0xA702,))), rejected=(RejectedClass("1.2", ("1.2.3",), known=True),))
    assert cause_of(refused).code == "not-accepted-here"
    assert not cause_of(refused).passing


@pytest.mark.parametrize(
    ("evidence", "code"),
    [
        (Evidence(statuses=(0xA702,), failed=1), "none-sent"),
        (Evidence(statuses=(0xA801,)), "refused"),
        (Evidence(statuses=(0xC001,)), "unable-to-process"),
        (Evidence(statuses=(0x0122,)), "model-refused"),
        (Evidence(short=2), "counted-not-sent"),
        (Evidence(lost=True), "get-not-permitted"),
    ],
)
def test_cause_of_a_failed_get_speaks_of_no_destination_and_no_address(evidence: Evidence, code: str) -> None:
    aborted = errors.AssociationAbortedError("", source=0, reason=0)
    cause = cause_of(replace(result_of(evidence), service="C-GET"), aborted)
    assert cause.code == code
    for word in ("destination", "address", "connect"):
        assert word not in cause.words + cause.advice
