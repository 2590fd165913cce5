"""Evidence of a retrieve: one record of all that is known about it, the input of ``judgement``."""

from __future__ import annotations

from movescu._runtime.record import Record, replace
from movescu.dimse.status import CANCEL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final


class Evidence(Record):
    """Evidence of a retrieve. Every field is evidence of failure; a retrieve with none of them is complete.

    Of the archive's responses: ``statuses``: of the final responses. ``failed``: sub-operations that the archive counts
    or lists as failed. ``remaining``: sub-operations that a final response counts as not carried out, unless we
    cancelled. ``lost``: the association with the archive ended before a final response.

    Of the objects: ``short``: objects that the archive counts as delivered to us, less those that arrived.
    ``not_stored``: objects that arrived but were refused or could not be written. ``broken_off``: objects whose
    transfer broke off. ``cut_off``: storage associations still open when a timeout expired. ``late``: objects that
    followed the final response of C-GET and were not stored.

    Of the archive's list (C-FIND): ``missing``: objects that it has and that were not stored; without their names, if
    it was queried because a success had brought nothing. ``unlisted``: a list was wanted and could not be had, or not
    all of it. ``nothing_found``: it has nothing for the request; or, without a list, the archive counted no object and
    none arrived. ``unfound``: unique keys for which it has nothing, while it has something for others.

    Of our side: ``cancelled``: we sent C-CANCEL or abandoned the retrieve. ``stopped``: the archive cancelled another
    request, unasked. ``unflushed``: stored objects could not be flushed to the disk.
    """

    statuses: tuple[int, ...] = ()
    failed: int = 0
    remaining: int = 0
    short: int = 0
    not_stored: int = 0
    broken_off: int = 0
    cut_off: int = 0
    late: int = 0
    lost: bool = False
    cancelled: bool = False
    stopped: bool = False
    missing: int = 0
    unlisted: bool = False
    nothing_found: bool = False
    unfound: int = 0
    unflushed: bool = False


_NONE: Final = Evidence()


def is_stopped(one: Evidence) -> bool:
    """Return True if the archive cancelled a request, unasked."""
    return one.stopped or (CANCEL in one.statuses and not one.cancelled)


def joined(evidence: Iterable[Evidence]) -> Evidence:
    """Return the combined evidence of several requests."""
    every = tuple(evidence)
    if not every:
        return _NONE
    if len(every) == 1:  # the evidence of most requests
        [only] = every
        return only if only.stopped == is_stopped(only) else replace(only, stopped=True)
    nothing = [one.nothing_found for one in every]
    return Evidence(
        statuses=tuple(status for one in every for status in one.statuses),
        failed=sum(one.failed for one in every),
        remaining=sum(one.remaining for one in every),
        short=sum(one.short for one in every),
        not_stored=sum(one.not_stored for one in every),
        broken_off=sum(one.broken_off for one in every),
        cut_off=sum(one.cut_off for one in every),
        late=sum(one.late for one in every),
        lost=any(one.lost for one in every),
        cancelled=any(one.cancelled for one in every),
        stopped=any(map(is_stopped, every)),
        missing=sum(one.missing for one in every),
        unlisted=any(one.unlisted for one in every),
        nothing_found=all(nothing),
        unfound=sum(one.unfound for one in every) + (0 if all(nothing) else sum(nothing)),
        unflushed=any(one.unflushed for one in every),
    )
