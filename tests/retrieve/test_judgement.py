"""The judgement: no evidence of failure makes an outcome better, and none is without an exit code."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from movescu._runtime.record import replace
from movescu.cli.exit_codes import OF_REASONS, ExitCode, codes_of, first_of
from movescu.retrieve.evidence import Evidence, joined
from movescu.retrieve.judgement import Outcome, Reason, judge

STATUSES = st.sampled_from((0x0000, 0xB000, 0xFE00, 0xA701, 0xA702, 0xA801, 0xA900, 0xC000, 0x0122, 0xB001, 0x1234))
RANKS = list(Outcome)
FLAGS = ("lost", "cancelled", "stopped", "unlisted", "nothing_found", "unflushed")
COUNTS = ("failed", "remaining", "short", "not_stored", "broken_off", "cut_off", "late", "missing", "unfound")
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "statuses": st.lists(STATUSES, max_size=3).map(tuple),
    **{name: st.integers(0, 3) for name in COUNTS},
    **{name: st.booleans() for name in FLAGS},
}
EVIDENCE = st.fixed_dictionaries(FIELDS).map(lambda fields: Evidence(**fields))

ALONE = {
    Reason.REFUSED: (Evidence(statuses=(0xA801,)), Outcome.FAILED, ExitCode.MOVE_FAILED),
    Reason.LOST: (Evidence(lost=True), Outcome.FAILED, ExitCode.ASSOCIATION_LOST),
    Reason.CANCELLED: (Evidence(statuses=(0xFE00,), cancelled=True), Outcome.CANCELLED, ExitCode.SUCCESS),
    Reason.STOPPED: (Evidence(statuses=(0xFE00,)), Outcome.INCOMPLETE, ExitCode.INCOMPLETE),
    Reason.WARNED: (Evidence(statuses=(0xB000,)), Outcome.INCOMPLETE, ExitCode.MOVE_WARNING),
    Reason.COUNTED_AS_FAILED: (Evidence(failed=1), Outcome.INCOMPLETE, ExitCode.INCOMPLETE),
    Reason.REMAINING: (Evidence(remaining=1), Outcome.INCOMPLETE, ExitCode.INCOMPLETE),
    Reason.SHORT: (Evidence(short=1), Outcome.INCOMPLETE, ExitCode.INCOMPLETE),
    Reason.NOT_STORED: (Evidence(not_stored=1), Outcome.INCOMPLETE, ExitCode.INCOMPLETE),
    Reason.BROKEN_OFF: (Evidence(broken_off=1), Outcome.INCOMPLETE, ExitCode.INCOMPLETE),
    Reason.CUT_OFF: (Evidence(cut_off=1), Outcome.INCOMPLETE, ExitCode.INCOMPLETE),
    Reason.LATE: (Evidence(late=1), Outcome.INCOMPLETE, ExitCode.INCOMPLETE),
    Reason.MISSING: (Evidence(missing=1), Outcome.INCOMPLETE, ExitCode.INCOMPLETE),
    Reason.UNLISTED: (Evidence(unlisted=True), Outcome.INCOMPLETE, ExitCode.INCOMPLETE),
    Reason.NOTHING_FOUND: (Evidence(nothing_found=True), Outcome.NOT_FOUND, ExitCode.INCOMPLETE),
    Reason.UNFOUND: (Evidence(unfound=1), Outcome.INCOMPLETE, ExitCode.INCOMPLETE),
    Reason.UNFLUSHED: (Evidence(unflushed=True), Outcome.INCOMPLETE, ExitCode.INCOMPLETE),
}


def test_retrieve_without_evidence_of_failure_is_complete() -> None:
    assert judge(Evidence(statuses=(0x0000,))).outcome is Outcome.COMPLETE
    assert first_of(codes_of(Evidence(statuses=(0x0000,)))) == 0


@pytest.mark.parametrize("reason", Reason)
def test_each_kind_of_evidence_has_its_outcome_and_its_exit_code(reason: Reason) -> None:
    evidence, outcome, code = ALONE[reason]
    assert judge(evidence).outcome is outcome
    assert judge(evidence).reasons == (reason,)
    assert first_of(codes_of(evidence)) is code


@pytest.mark.parametrize("reason", Reason)
def test_plain_retrieve_of_what_is_nowhere_has_dcmtks_exit_code(reason: Reason) -> None:
    evidence, _, code = ALONE[reason]
    assert first_of(codes_of(evidence, plain=True)) is (ExitCode.SUCCESS if reason is Reason.NOTHING_FOUND else code)


@given(EVIDENCE, st.sampled_from(sorted(FIELDS)), st.data())
def test_more_evidence_of_failure_never_makes_an_outcome_better(
    evidence: Evidence, name: str, data: st.DataObject
) -> None:
    more = data.draw(FIELDS[name])
    worse = replace(evidence, **{name: _more(getattr(evidence, name), more)})
    before, after = judge(evidence), judge(worse)
    if name != "cancelled":  # an archive that stops because it was told to is another reason, and a worse outcome
        assert set(before.reasons) <= set(after.reasons)
    assert RANKS.index(before.outcome) <= RANKS.index(after.outcome)


def _more(before: Any, more: Any) -> Any:  # the fields have several types
    return before or more if isinstance(more, bool) else before + more


@given(st.lists(EVIDENCE, min_size=1, max_size=4))
@example([Evidence(statuses=(0xFE00,)), Evidence(cancelled=True)])
def test_several_requests_together_are_as_good_as_the_worst_of_them(every: list[Evidence]) -> None:
    together = RANKS.index(judge(joined(every)).outcome)
    assert together >= max(RANKS.index(judge(one).outcome) for one in every)
    if any(first_of(codes_of(one)) for one in every):
        assert first_of(codes_of(joined(every))) is not ExitCode.SUCCESS


@given(st.lists(EVIDENCE, max_size=3))
@example([Evidence(statuses=(0xFE00,))])
@example([Evidence(nothing_found=True)] * 2)
@example([Evidence(nothing_found=True), Evidence(failed=1)])
def test_evidence_of_several_requests_has_all_that_each_of_them_has(every: list[Evidence]) -> None:
    together = joined(every)
    nothing = [one.nothing_found for one in every]
    found_some = 0 < sum(nothing) < len(every)  # what has nothing is a key that was not found, if others were
    for name in FIELDS:
        values = [getattr(one, name) for one in every]
        if name == "statuses":
            assert together.statuses == tuple(status for one in values for status in one)
        elif name == "stopped":
            assert together.stopped == any(Reason.STOPPED in judge(one).reasons for one in every)
        elif name == "nothing_found":
            assert together.nothing_found == (sum(nothing) == len(every) > 0)
        elif name == "unfound":
            assert together.unfound == sum(values) + (sum(nothing) if found_some else 0)
        else:
            assert getattr(together, name) == (any(values) if name in FLAGS else sum(values))


@given(EVIDENCE)
def test_exit_code_0_is_for_what_is_complete_and_what_was_cancelled(evidence: Evidence) -> None:
    if first_of(codes_of(evidence)) is ExitCode.SUCCESS:
        assert set(judge(evidence).reasons) <= {Reason.CANCELLED}


def test_outcome_is_the_worst_that_any_evidence_leaves_possible() -> None:
    found = judge(Evidence(failed=1, lost=True, nothing_found=True))
    assert (found.outcome, found.reasons) == (
        Outcome.FAILED,
        (Reason.LOST, Reason.COUNTED_AS_FAILED, Reason.NOTHING_FOUND),
    )


def test_outcomes_and_reasons_have_the_words_that_programs_read() -> None:
    assert list(Outcome) == ["complete", "not found", "incomplete", "cancelled", "failed"]
    assert [reason.words for reason in judge(Evidence(lost=True, missing=1)).reasons] == [
        "association lost",
        "listed and not here",
    ]


def test_every_reason_has_its_code() -> None:
    assert OF_REASONS.keys() == {reason.name for reason in Reason}
