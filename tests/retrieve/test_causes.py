"""The likely cause of an incomplete retrieve: every kind of evidence, status and error has one."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from movescu import errors
from movescu._runtime.record import replace
from movescu.dimse.status import CANCEL
from movescu.errors import AssociationRejectedError, PeerError
from movescu.retrieve.causes import (
    advice_for,
    cause_of,
    cause_of_error,
    cause_of_status,
    causes_by_reason,
    every_cause,
    status_of,
)
from movescu.retrieve.evidence import Evidence
from movescu.retrieve.judgement import Reason
from movescu.retrieve.result import Result
from movescu.services.move import MoveResponse
from movescu.ul.negotiation import RejectedClass


def result_of(evidence: Evidence) -> Result:
    return Result(responses=(), stored=0, failed=0, size=0, arrived=0, evidence=evidence, failures={})


def test_each_reason_has_a_cause() -> None:
    assert set(causes_by_reason()) == {reason.name for reason in Reason}


@pytest.mark.parametrize(
    ("code", "statuses"),
    [
        ("not-reached", (0xA702,)),
        ("no-resources", (0xA700, 0xA701, 0xA703, 0xA7FF, 0x0213)),
        ("destination-unknown", (0xA801,)),
        ("keys-refused", (0xA900, 0xA9FF)),
        ("model-refused", (0x0122, 0x0211)),
        ("not-authorized", (0x0124,)),
        ("some-not-delivered", (0xB000,)),
        ("unable-to-process", (0xC000, 0xC123, 0xCFFF)),
        ("refused", (0x0001, 0x0110, 0x0121, 0x0123, 0x0125, 0x0210, 0x0212, 0x0214, 0x9999, 0xFFFF)),
        ("refused", (0xA6FF, 0xA800, 0xA802, 0xA8FF, 0xAA00, 0xAFFF, 0xB001, 0xBFFF, 0xD000)),
    ],
)
def test_each_status_has_a_cause(code: str, statuses: tuple[int, ...]) -> None:
    assert {cause_of_status(status).code for status in statuses} == {code}


def test_each_error_of_a_peer_has_a_cause_with_advice() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, PeerError)]
    for kind in set(kinds) - {AssociationRejectedError}:
        error = kind.__new__(kind, "")
        cause = cause_of_error(error)
        assert cause.words
        assert cause.advice
        assert cause.code != "incomplete"


ERRORS = {
    "timed-out": errors.TimedOutError(""),
    "not-connected": errors.ConnectError(""),
    "connection-lost": errors.ConnectionLostError(""),
    "aborted": errors.AssociationAbortedError("", source=0, reason=0),
    "released": errors.AssociationReleasedError(""),
    "interrupted": errors.InterruptedConnectionError(""),
    "model-refused": errors.NoPresentationContextError(""),
    "protocol-error": errors.ProtocolError(""),
    "association-failed": errors.AccessDeniedError(""),
    "incomplete": errors.StoreError(""),
}


@pytest.mark.parametrize("code", ERRORS)
def test_each_error_has_the_cause_of_its_class(code: str) -> None:
    assert cause_of_error(ERRORS[code]).code == code
    assert cause_of(None, ERRORS[code]).code == code


def rejected(source: int, reason: int, result: int = 1, hint: str = "") -> AssociationRejectedError:
    return AssociationRejectedError("", result=result, source=source, reason=reason, hint=hint)


@pytest.mark.parametrize(
    ("source", "reason", "code"),
    [
        (1, 2, "wrong-service"),
        (1, 3, "calling-title-unknown"),
        (1, 7, "called-title-unknown"),
        (1, 1, "rejected"),
        (2, 2, "rejected"),
        (3, 2, "rejected"),
    ],
)
def test_rejection_is_explained_by_its_reason(source: int, reason: int, code: str) -> None:
    cause = cause_of_error(rejected(source, reason))
    assert (cause.code, cause.passing, cause.advice) == (code, False, "check the archive's log")
    assert cause_of_error(rejected(source, reason, hint="do this")).advice == "do this"
    passing = cause_of_error(rejected(source, reason, result=2))
    assert (passing.code, passing.passing) == ("busy", True)


def test_advice_before_an_association_is_to_check_the_address_and_the_titles() -> None:
    for associated in (True, False):
        assert advice_for(errors.ConnectError("", hint="do this"), associated=associated) == "do this"
    lost = errors.ConnectionLostError("")
    assert advice_for(lost, associated=True) == cause_of_error(lost).advice
    assert "--check" in advice_for(lost, associated=False)


FROM_LIKELY_TO_UNLIKELY: tuple[tuple[dict[str, Any], str], ...] = (
    ({"cancelled": True}, "interrupted"),
    ({"unflushed": True}, "not-flushed"),
    ({"not_stored": 1}, "not-stored"),
    ({"nothing_found": True}, "not-found"),
    ({"statuses": (0xA801,)}, "destination-unknown"),
    ({"lost": True}, "connection-lost"),
    ({"stopped": True}, "stopped"),
    ({"cut_off": 1}, "time-over"),
    ({"broken_off": 1}, "broken-off"),
    ({"short": 1}, "not-arrived"),
    ({"statuses": (0xB000,)}, "some-not-delivered"),
    ({"failed": 1}, "some-not-delivered"),
    ({"remaining": 1}, "some-not-tried"),
    ({"unfound": 1}, "some-not-found"),
    ({"unlisted": True}, "unverified"),
    ({"missing": 1}, "missing"),
)


@pytest.mark.parametrize("number", range(len(FROM_LIKELY_TO_UNLIKELY)))
def test_cause_that_explains_the_others_comes_first(number: int) -> None:
    alone, code = FROM_LIKELY_TO_UNLIKELY[number]
    together = {name: value for one, _ in FROM_LIKELY_TO_UNLIKELY[:number:-1] for name, value in one.items()} | alone
    lost = errors.ConnectionLostError("")
    for known in (alone, together):
        assert cause_of(result_of(Evidence(**known)), lost).code == code


def test_result_without_any_evidence_or_error_is_merely_incomplete() -> None:
    assert cause_of(result_of(Evidence())).code == "incomplete"
    assert cause_of(result_of(Evidence(lost=True))).code == "incomplete"
    assert cause_of(None).code == "incomplete"


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        ((), None),
        ((0x0000, CANCEL), None),
        ((0x0000, 0xB000), 0xB000),
        ((CANCEL, 0xB000, 0xA801, 0xC000), 0xA801),
        ((0xB000, 0x0000, 0xA900), 0xA900),
    ],
)
def test_status_of_failure_says_more_than_one_of_warning(statuses: tuple[int, ...], status: int | None) -> None:
    assert status_of(result_of(Evidence(statuses=statuses))) == status


def test_limits_and_conditions_of_the_request_are_the_cause_if_they_are_not_met() -> None:
    unlisted, nothing = result_of(Evidence(unlisted=True)), result_of(Evidence(nothing_found=True))
    many = errors.TooManyStudiesError("")
    assert cause_of(unlisted, many).code == "too-many-studies"
    assert cause_of(unlisted, errors.InventoryError("")).code == "unverified"
    assert cause_of(nothing, many).code == "not-found"
    assert cause_of(replace(nothing, unmet="none of the 2 series meets")).code == "none-chosen"
    assert cause_of(replace(unlisted, unmet="none of the 2 series meets")).code == "unverified"


def test_every_cause_is_known_by_its_code() -> None:
    every = every_cause()
    assert all(code == cause.code for code, cause in every.items())
    codes = {code for _, code in FROM_LIKELY_TO_UNLIKELY} | ERRORS.keys()
    single = {"busy", "rejected", "aborted-at-once", "too-many-studies", "none-chosen", "not-started", "workers-lost"}
    assert codes | single | {"wrong-service", "keys-refused"} <= every.keys()


def test_abort_in_answer_to_the_request_points_to_the_title() -> None:
    aborted = errors.AssociationAbortedError("", source=0, reason=0)
    assert cause_of(result_of(Evidence(lost=True)), aborted).code == "aborted-at-once"
    some = replace(result_of(Evidence(lost=True)), arrived=1)
    assert cause_of(some, aborted).code == "aborted"
    answered = replace(some, arrived=0, responses=(MoveResponse(1, 0, None, 1, 0, 0),))
    assert cause_of(answered, aborted).code == "aborted", "an earlier request was carried out"


@pytest.mark.parametrize("status", [0xA702, 0xB000])
def test_classes_refused_here_explain_a_failure_without_an_object(status: int) -> None:
    refused = replace(result_of(Evidence(statuses=(status,))), rejected=(RejectedClass("1.2", ("1.2.3",), known=True),))
    assert cause_of(refused).code == "not-accepted-here"
    assert not cause_of(refused).passing
    assert cause_of(replace(refused, arrived=1)).code == cause_of_status(status).code
    assert cause_of(replace(refused, evidence=Evidence(statuses=(0xA801,)))).code == "destination-unknown"
    assert cause_of(replace(refused, evidence=Evidence(missing=1))).code == "missing"


@pytest.mark.parametrize(
    ("evidence", "code"),
    [
        (Evidence(statuses=(0xA702,), failed=1), "none-sent"),
        (Evidence(statuses=(0xA801,)), "refused"),
        (Evidence(statuses=(0xC001,)), "unable-to-process"),
        (Evidence(statuses=(0x0122,)), "model-refused"),
        (Evidence(short=2), "counted-not-sent"),
        (Evidence(lost=True), "get-not-permitted"),
        (Evidence(statuses=(0xA900,)), "keys-refused"),
    ],
)
def test_cause_of_a_failed_get_speaks_of_no_destination_and_no_address(evidence: Evidence, code: str) -> None:
    aborted = errors.AssociationAbortedError("", source=0, reason=0)
    cause = cause_of(replace(result_of(evidence), service="C-GET"), aborted)
    assert cause.code == code
    for word in ("destination", "address", "connect"):
        assert word not in cause.words + cause.advice
    assert cause != cause_of(result_of(evidence), aborted) or code == "keys-refused"
