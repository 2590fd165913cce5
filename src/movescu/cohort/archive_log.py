"""Log messages on what a cohort learns of its archive: that it lacks resources, is away, is back, sends unasked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from movescu.cohort.admission import Admission

_log: Final = logger_of("movescu.retrieve")
_NAMED: Final = 5
"""Objects that a message names."""


class ArchiveLog:
    """Logs what has changed. ``patience``: seconds that the archive may be away."""

    def __init__(self, admission: Admission, patience: float) -> None:
        self._admission = admission
        self._patience = patience
        self._seen = admission.ceiling, admission.refusals, admission.away_since is not None

    def note(self, entry: int | None = None) -> None:
        """Log what has changed since the last call; ``entry``: whose request ended. Default: None."""
        (ceiling, refusals, away), admission = self._seen, self._admission
        self._seen = admission.ceiling, admission.refusals, admission.away_since is not None
        if admission.refusals > refusals and admission.ceiling < ceiling:
            _log.warning(
                "entry %s: the archive lacks resources; continuing with %d request%s at a time",
                *(entry, admission.ceiling, "" if admission.ceiling == 1 else "s"),
            )
        elif admission.refusals > refusals:
            _log.warning("entry %s: the archive lacks resources; the request is repeated later", entry)
        if away and admission.away_since is None:
            _log.warning("the archive is back")
        elif not away and admission.away_since is not None:
            _log.warning("the archive is away; trying again with C-ECHO for up to %g s", self._patience)


def tell_unclaimed(uids: Sequence[str]) -> None:
    """Log that objects arrived that nobody requested."""
    if uids:
        more = f" ... and {len(uids) - _NAMED} more" if len(uids) > _NAMED else ""
        _log.warning(
            "%d object%s arrived that no running entry had requested: SOP instance%s %s",
            *(len(uids), *(2 * ("" if len(uids) == 1 else "s",)), ", ".join(uids[:_NAMED]) + more),
        )
