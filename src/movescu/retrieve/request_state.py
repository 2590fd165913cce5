"""State of a request over its attempts, and the combined result of several requests (see ``attempts``).

Each attempt whose evidence says that something failed leaves a ``Statement``. A list that is made after it, without a
gap, accounts for it if it has room for every sub-operation that the archive counted and has every object that the
archive named as failed. An attempt is disproved once such a list was made and all of its objects are stored; until
then, its evidence stands, whatever later attempts bring.
"""

from __future__ import annotations

from itertools import islice

from movescu._runtime.record import Record, replace
from movescu.retrieve.config import BATCH
from movescu.retrieve.evidence import Evidence
from movescu.retrieve.evidence import joined as joined_evidence
from movescu.retrieve.result import Result
from movescu.retrieve.tally import Round, Tally, counted_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from movescu.errors import InventoryError, PeerError
    from movescu.query.identifier import Identifier
    from movescu.retrieve.catalogue import ListSizes
    from movescu.retrieve.inventory import Inventory
    from movescu.services.move import MoveResponse
    from movescu.ul.negotiation import RejectedClass

_REPORTED: Final = 1000  # objects of a request that are not whole any more and are reported with the reason


class Statement(Record):
    """The archive's statement in an attempt that failed, and the conditions on which a list accounts for it.

    ``counted``: sub-operations that its responses count. ``requested``: listed objects that the attempt requested.
    ``listed``: objects in the list then, 0 without one. ``named``: SOP instance UIDs that it reports as failed.
    """

    evidence: Evidence
    counted: int
    requested: int
    listed: int
    named: frozenset[str]

    def is_accounted_for(self, listed: Mapping[str, object]) -> bool:
        """Return True if a later list can have every object that the archive counted or named."""
        grown = max(len(listed) - self.listed, 0)
        return self.counted <= self.requested + grown and self.named <= listed.keys()


class RequestState:
    """State of one request, or of several that share their attempts."""

    unmet: str = ""
    """Which conditions (``Selection``) none of the series meets; else empty."""
    is_split: bool = False
    """Whether nothing was requested, since the request is to be split."""
    identifier: Identifier | None = None
    """The keys of one request that is to be listed."""
    listed_before: int = 0
    """Number of objects in the list of an earlier retrieve of the request."""
    refusal: InventoryError | None = None
    """The error for which there is no inventory."""

    def __init__(self, *, remember: bool = False, error: PeerError | None = None) -> None:
        self.last = Round()
        """Round of the last attempt."""
        self.tally = Tally(remember=remember)
        """Objects of all attempts."""
        self.attempts = 0
        self.in_vain = 0
        """Attempts since a wanted object last arrived, that attempt included."""
        self.attempted = False
        """Whether any attempt had an association."""
        self.responses: tuple[MoveResponse, ...] = ()
        """Final responses of the last attempt that sent a request."""
        self.asked = False
        """Whether the last attempt sent a request."""
        self.batch = BATCH
        """Highest number of UIDs in one request."""
        self.inventory: Inventory | None = None
        self.sizes: ListSizes | None = None
        """What the archive stated about the size of its lists; None before the first."""
        self.arrived = 0
        """Number of objects that arrived for the request, an object that arrived twice in an attempt once."""
        self.needed: set[str] = set()
        """SOP instance UIDs of the inventory that were not in the target before."""
        self.missing: set[str] = set()
        """Those of ``needed`` that have not been stored."""
        self.failed_uids: set[str] = set()
        """SOP instance UIDs that the archive reported as failed in any attempt."""
        self.extra: set[str] = set()
        """SOP instance UIDs of objects that arrived without being in the inventory; at most 1000."""
        self.statements: list[Statement] = []
        """Statements that no later list accounts for, except the last attempt's."""
        self.last_statement: Statement | None = None
        """The statement of the last attempt that sent a request, None if nothing failed in it."""
        self.is_accounted_for = False
        """Whether a later list accounts for the last statement."""
        self.error = error
        """The error that ended the last attempt before its final response."""
        self.cancelled = False
        """Whether we cancelled the request."""
        self.unlisted = ""
        """Why a wanted inventory could not be queried, or not completely; else empty."""
        self.hopeless = False
        """Whether there is no inventory and another attempt would not get one."""
        self.lost: dict[str, str] = {}
        """Why objects are not whole in the target any more, by SOP instance UID; known at the end."""
        self.unflushed = False
        """Whether stored objects could not be flushed to the disk."""
        self.withheld = 0
        """Number of objects that the archive lists of a request to which it reported success and sent nothing."""
        self.nothing_found = False
        """Whether an inventory was wanted and the archive has nothing for the keys."""

    @property
    def already_there(self) -> int:
        """Number of listed objects that were in the target before."""
        return 0 if self.inventory is None else len(self.inventory.objects) - len(self.needed)

    @property
    def here(self) -> set[str]:
        """SOP instance UIDs of the objects known to be in the target."""
        listed = set() if self.inventory is None else self.inventory.objects.keys() - self.missing
        return (listed | (self.tally.uids or set())) - self.lost.keys()

    @property
    def is_satisfied(self) -> bool:
        """Whether every listed object has been stored or was in the target, as far as lists were wanted."""
        return not self.unlisted and self.missing <= (self.tally.uids or set())

    @property
    def missing_uids(self) -> set[str]:
        """SOP instance UIDs of the objects that were not stored, or are not whole any more."""
        return self.missing | self.lost.keys()

    def note(self, evidence: Evidence, one: Round, requested: int) -> None:
        """Record the evidence of an attempt that sent a request, with its round; see ``Statement``."""
        from movescu.retrieve.judgement import judge  # late: needed after the final response

        if self.last_statement is not None and not self.is_accounted_for:
            self.statements.append(self.last_statement)
        self.responses, self.is_accounted_for, self.last_statement = tuple(one.responses), False, None
        if judge(evidence).reasons:
            counted = sum(map(counted_of, one.statements))
            named = frozenset(uid for said in one.responses for uid in said.failed_sop_instance_uids)
            listed = 0 if self.inventory is None else len(self.inventory.objects)
            self.last_statement = Statement(evidence, counted, requested, listed, named)

    def note_counts(self, counts: Mapping[str, int]) -> None:
        """Record numbers of objects that the archive stated before its first list, by UID of study or series."""
        from movescu.retrieve.catalogue import ListSizes  # late: needed with an inventory alone

        self.sizes = self.sizes or ListSizes()
        for uid, number in counts.items():
            self.sizes.note(uid, number)

    def compare(self) -> None:
        """Find out which statements the inventory that was just taken accounts for."""
        assert self.inventory is not None
        listed = self.inventory.objects
        self.statements = [one for one in self.statements if not one.is_accounted_for(listed)]
        if self.last_statement is not None:
            self.is_accounted_for = self.last_statement.is_accounted_for(listed)

    @property
    def standing(self) -> Evidence:
        """The evidence of the archive's statements that are not disproved."""
        last = self.last_statement
        disproved = self.is_accounted_for and not (self.missing_uids or self.unlisted)
        return joined_evidence(
            (*(one.evidence for one in self.statements), *(() if disproved or not last else (last.evidence,)))
        )

    @property
    def evidence(self) -> Evidence:
        """Evidence of the request, over all of its attempts."""
        standing, here = self.standing, self.here
        obeyed, tally = standing.cancelled, self.tally
        failed = len(self.failed_uids - here)
        failures = tally.failures.keys() | tally.further_failures
        refused = max(tally.failed - len(failures), 0) + len(failures - here)
        return replace(
            standing,
            failed=max(standing.failed, failed),
            not_stored=refused,
            broken_off=0 if obeyed else len(tally.broken_off - here),
            lost=standing.lost or self.error is not None,
            cancelled=obeyed or self.cancelled,
            missing=len(self.missing_uids) or self.withheld,
            unlisted=bool(self.unlisted),
            nothing_found=self.nothing_found and not self.withheld,
            unflushed=self.unflushed,
            unfound=0 if self.nothing_found or self.inventory is None else len(self.inventory.unfound),
        )


def joined(states: Sequence[RequestState], rejected: tuple[RejectedClass, ...]) -> Result:
    """Return the combined result of several requests; ``rejected``: see ``Result``."""
    tally = Tally()
    for one in states:
        tally.add(one.tally)
    evidence = joined_evidence(one.evidence for one in states)
    return Result(
        responses=tuple(response for one in states for response in one.responses),
        stored=tally.stored,
        failed=tally.failed,
        size=tally.size,
        arrived=sum(one.arrived for one in states),
        evidence=evidence,
        failures={
            **{uid: refused.error for uid, refused in tally.failures.items()},
            **{uid: reason for one in states for uid, reason in islice(one.lost.items(), _REPORTED)},
        },
        rejected=rejected,
        broken_off=tuple(sorted(tally.broken_off)) if evidence.broken_off else (),
        verified=all(one.inventory is not None for one in states),
        missing_uids=tuple(sorted(uid for one in states for uid in one.missing_uids)),
        extra_uids=tuple(sorted(uid for one in states for uid in one.extra)),
        already_there=sum(one.already_there for one in states),
        attempts=max((one.attempts for one in states), default=1),
        unmet=next((one.unmet for one in states if one.unmet), ""),
        unlisted=next((one.unlisted for one in states if one.unlisted), ""),
        errors=tuple(str(one.error) for one in states if one.error is not None),
        unfound=tuple(uid for one in states if one.inventory is not None for uid in one.inventory.unfound),
        service="C-GET" if any(one.last.is_got for one in states) else "C-MOVE",
    )
