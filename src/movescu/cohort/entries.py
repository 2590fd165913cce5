"""The states of a list's entries: every entry ends in exactly one, so that the counts of a list add up.

``complete before``: nothing was requested, because all of its objects are here. ``partial``: some of its objects are
here. ``not found``: the archive has nothing for its keys. ``failed``: requested, and none of its objects is here. ``not
started``: nothing was requested for another cause.
"""

from __future__ import annotations

from dataclasses import replace as changed
from typing import TYPE_CHECKING, Final

from movescu.cohort.admission import Stop
from movescu.events import EntryEvent, EntryState
from movescu.query.scope import Scope
from movescu.retrieve.causes import (
    HOPELESS,
    INTERRUPTED,
    NO_SPACE,
    NOT_FLUSHED,
    STOPPED_ASKING,
    UNKNOWN,
    UNREACHED,
    cause_of,
    status_of,
)
from movescu.retrieve.evidence import Evidence
from movescu.retrieve.judgement import Outcome
from movescu.retrieve.result import Result

if TYPE_CHECKING:
    from collections.abc import Mapping

    from movescu.cohort.job import JobVerdict
    from movescu.query.request_list import Row
    from movescu.retrieve.causes import Cause

STOPPED: Final = {
    Stop.AWAY: STOPPED_ASKING,
    Stop.UNREACHED: UNREACHED,
    Stop.UNKNOWN: UNKNOWN,
    Stop.NO_SPACE: NO_SPACE,
    Stop.NOT_FLUSHED: NOT_FLUSHED,
    Stop.HOPELESS: HOPELESS,
}
"""Causes of entries that were not requested because the runner stopped."""


def state_of(result: Result | None, *, cancelled: bool) -> EntryState:
    """Return the final state of an entry with a result; ``cancelled``: by us."""
    if result is None:
        return EntryState.FAILED
    here = result.stored + result.already_there
    if result.outcome == Outcome.COMPLETE:
        before = here and not (result.stored or result.responses)
        return EntryState.COMPLETE_BEFORE if before else EntryState.COMPLETE
    if here:
        return EntryState.PARTIAL
    if result.outcome == Outcome.NOT_FOUND:
        return EntryState.NOT_FOUND
    requested = result.responses or result.arrived or result.errors
    return EntryState.NOT_STARTED if cancelled and not requested else EntryState.FAILED


def end_of(row: Row, verdict: JobVerdict, result: Result | None, cause: Cause | None) -> EntryEvent:
    """Return the event of an entry that was retrieved; ``result``, ``cause``: over all of its jobs."""
    state = state_of(result, cancelled=verdict.cancelled)
    if result is None:
        return entry_event(row, state, cause, detail=verdict.error, attempts=1)
    numbers = {
        name: getattr(result, name)
        for name in ("stored", "already_there", "missing", "failed", "size", "attempts", "verified")
    }
    detail, status = "", None
    if result.complete:
        cause = None
    else:
        cause = INTERRUPTED if state is EntryState.NOT_STARTED else cause
        status = status_of(result)
        told = (*result.failures.values(), *result.errors, result.unmet, result.unlisted, *_comments(result))
        detail = next(filter(None, told), "")
    return entry_event(
        *(row, state, cause),
        study_instance_uids=verdict.studies,
        status=status,
        detail=detail,
        seconds=verdict.seconds,
        missing_sop_instance_uids=result.missing_uids,
        **numbers,
    )


def _comments(result: Result) -> list[str]:
    return [response.error_comment for response in result.responses]


def entry_event(row: Row, state: EntryState, cause: Cause | None = None, **further: object) -> EntryEvent:
    """Return the event of an entry, with the words of its cause; ``further``: fields of the event."""
    if cause is not None:
        further |= {
            "reason": cause.code,
            "words": cause.words,
            "fault": cause.fault.value,
            "passing": cause.passing,
            "advice": cause.advice,
        }
    if not further.get("study_instance_uids"):
        further["study_instance_uids"] = Scope(row.identifier, row.model).unique("STUDY")
    return EntryEvent(row=row.number, state=state, keys=row.keys, columns=row.columns, **further)  # type: ignore[arg-type] # fields of EntryEvent


def given_back(row: Row, end: EntryEvent, cause: Cause) -> EntryEvent:
    """Return the end of an entry that is not to blame for how its last request ended; ``cause``: what is."""
    told = entry_event(row, EntryState.NOT_STARTED, cause)
    if not (end.stored or end.already_there):
        return told
    words = {name: getattr(told, name) for name in ("reason", "words", "fault", "passing", "advice")}
    return changed(end, state=EntryState.PARTIAL, status=None, **words)


def retracted(end: EntryEvent, reasons: Mapping[str, str]) -> tuple[EntryEvent, Result]:
    """Return the corrected end of an entry, and its result; ``reasons``: why objects are not whole any more, by UID."""
    missing = tuple(dict.fromkeys((*end.missing_sop_instance_uids, *reasons)))
    evidence = Evidence(missing=len(missing))
    result = Result(
        *((), end.stored, end.failed, end.size, end.stored + end.failed, evidence, dict(reasons)),
        verified=end.verified,
        missing_uids=missing,
        already_there=end.already_there,
        attempts=end.attempts,
    )
    cause = cause_of(result)
    told = changed(
        end,
        state=EntryState.PARTIAL,
        reason=cause.code,
        words=cause.words,
        fault=cause.fault.value,
        passing=cause.passing,
        advice=cause.advice,
        detail=next(iter(reasons.values())),
        missing=len(missing),
        missing_sop_instance_uids=missing,
    )
    return told, result


def reasons_of(result: Result | None) -> list[str]:
    """Return the names of the reasons why a result is not complete; none without a result."""
    return [] if result is None else [reason.name for reason in result.judgement.reasons]
