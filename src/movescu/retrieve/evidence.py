"""The evidence of a retrieve: everything that is known of it, in one record; ``judgement`` makes an outcome of it."""

from __future__ import annotations

from movescu._runtime.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Evidence(Record):
    """What is known of a retrieve. Every field is evidence of failure: with none of them set it is complete.

    ``statuses``: of the final responses. ``failed``: sub-operations that the archive counts, or lists, as failed.
    ``short``: objects that the archive counts as delivered here and that did not arrive. ``not_stored``: objects that
    arrived and were refused or could not be written. ``broken_off``: objects whose transfer broke off.
    ``cut_off``: storage associations that were open when the time was over. ``lost``: the association with the archive
    ended before a final response. ``cancelled``: C-CANCEL was sent, or the retrieve given up from our side.
    ``missing``: objects that C-FIND listed and that are not here. ``unlisted``: C-FIND was to list and did not.
    ``nothing_found``: C-FIND listed nothing for the request, or for something that it names; or there was no list where
    one was wanted, nothing was counted and nothing arrived.
    ``unflushed``: what was stored could not be flushed to the disk.
    """

    statuses: tuple[int, ...] = ()
    failed: int = 0
    short: int = 0
    not_stored: int = 0
    broken_off: int = 0
    cut_off: int = 0
    lost: bool = False
    cancelled: bool = False
    missing: int = 0
    unlisted: bool = False
    nothing_found: bool = False
    unflushed: bool = False


def joined(evidence: Iterable[Evidence]) -> Evidence:
    """Return the evidence of several requests together."""
    every = tuple(evidence)
    return Evidence(
        statuses=tuple(status for one in every for status in one.statuses),
        failed=sum(one.failed for one in every),
        short=sum(one.short for one in every),
        not_stored=sum(one.not_stored for one in every),
        broken_off=sum(one.broken_off for one in every),
        cut_off=sum(one.cut_off for one in every),
        lost=any(one.lost for one in every),
        cancelled=any(one.cancelled for one in every),
        missing=sum(one.missing for one in every),
        unlisted=any(one.unlisted for one in every),
        nothing_found=any(one.nothing_found for one in every),
        unflushed=any(one.unflushed for one in every),
    )
