"""Objects that are not whole any more although entries of a list were complete with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu.errors import IncompleteError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMED: Final = 5


def late_error(late: Mapping[int, Mapping[str, str]]) -> IncompleteError:
    """Return the error that names them; ``late``: reasons by SOP instance UID, by entry."""
    named = [
        f"entry {number}: SOP instance {uid} is not whole on the disk: {reason}"
        for number, reasons in sorted(late.items())
        for uid, reason in reasons.items()
    ]
    more = f" ... and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return IncompleteError("; ".join(named[:_NAMED]) + more)
