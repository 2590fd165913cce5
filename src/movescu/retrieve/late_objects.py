"""Objects that are not whole any more although entries of a list were complete with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu.errors import IncompleteError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMED: Final = 5
_NONE: Final[Mapping[int, str]] = {}


def late_error(late: Mapping[int, Mapping[str, str]], withdrawn: Mapping[int, str] = _NONE) -> IncompleteError:
    """Return the error that names them; ``late``: reasons by SOP instance UID, by entry.

    ``withdrawn``: entries that did not stay complete, with their ends in words. Default: none.
    """
    named = [f"entry {number} is not complete any more: {words}" for number, words in sorted(withdrawn.items())]
    named += [
        f"entry {number}: SOP instance {uid} does not count: {reason}"
        for number, reasons in sorted(late.items())
        for uid, reason in reasons.items()
    ]
    more = f" ... and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return IncompleteError("; ".join(named[:_NAMED]) + more)
