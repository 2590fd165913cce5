"""The order in which the entries of a list are requested (``--order``), by attributes that the archive reports."""

from __future__ import annotations

import contextlib
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu.errors import InventoryError, PeerError
from movescu.query.identifier import Identifier
from movescu.query.key import Key
from movescu.query.levels import LEVEL
from movescu.query.scope import level_of
from movescu.retrieve.search import Search

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from movescu.query.match import Match
    from movescu.query.request_list import Row
    from movescu.retrieve.association import ArchiveAssociation
    from movescu.retrieve.client import ArchiveClient

_log: Final = logger_of("movescu.retrieve")

_DATE: Final = 0x00080020
_TIME: Final = 0x00080030
_OBJECTS: Final = 0x00201208


class Order(StrEnum):
    """Order of the entries."""

    LIST = "list"
    """The order of the list."""
    NEWEST = "newest"
    """Newest study first, by Study Date and Study Time."""
    LARGEST = "largest"
    """Largest study first, by Number of Study Related Instances."""


def in_order(
    chains: Iterable[list[Row]], order: Order, client: ArchiveClient, *, stopped: Callable[[], bool] = lambda: False
) -> list[list[Row]]:
    """Return chains of entries in the order in which they are to be requested.

    The archive is queried for the studies of each entry, over one association. Entries of which it does not tell what
    the order depends on come last, in the order of the list. ``stopped``: returns True to query no more.
    """
    every = list(chains)
    if order is Order.LIST or len(every) < 2:
        return every
    found: dict[int, str] = {}
    for number, value in _values(every, order, client, stopped):
        found[number] = max(found.get(number, ""), value)
    unknown = len(every) - len(found)
    if unknown:
        _log.warning(
            "--order %s: the archive does not report it for %d of %d entries; they are requested last",
            *(order.value, unknown, len(every)),
        )
    known = sorted(found, key=found.__getitem__, reverse=True)
    return [every[number] for number in (*known, *(number for number in range(len(every)) if number not in found))]


def _values(
    every: Sequence[list[Row]], order: Order, client: ArchiveClient, stopped: Callable[[], bool]
) -> Iterator[tuple[int, str]]:
    """Yield the sort key of each chain for which it is known, as text, with the number of the chain."""
    with contextlib.closing(client.association(querying=True)) as association:
        try:
            for number, chain in enumerate(every):
                for row in chain:
                    if stopped():
                        return
                    if not association.is_open:
                        association.open()
                    with contextlib.suppress(InventoryError):
                        values = (_value(match, order) for match in _studies_of(row, association))
                        yield from ((number, value) for value in values if value)
        except PeerError as error:
            _log.warning("--order %s: the archive cannot be queried: %s", order.value, error)
            return
        with contextlib.suppress(PeerError):
            association.release()


def _studies_of(row: Row, association: ArchiveAssociation) -> list[Match]:
    """Return the studies of an entry, by its keys of patient and study."""
    keys = [key for key in row.identifier if key.tag != LEVEL and level_of(key.tag) in ("", "PATIENT", "STUDY")]
    identifier = Identifier((Key(LEVEL, b"CS", b"STUDY"), *keys))
    return list(Search(association, identifier, level="STUDY").matches())


def _value(match: Match, order: Order) -> str:
    if order is Order.LARGEST:
        number = match.objects
        return "" if number is None else f"{number:020}"
    date = match.text(_DATE).replace(".", "")  # with periods: of ACR-NEMA (PS3.5 6.2)
    return date and f"{date} {match.text(_TIME).replace(':', '')}"
