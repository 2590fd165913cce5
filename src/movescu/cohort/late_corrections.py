"""Corrections of ends after the last entry: what the entries could not know when they ended.

Objects that arrive later, whoever sends them, may take the place of those that an entry relies on: an entry of this
run, of an earlier one, or of another run that takes part in the cohort.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu.cohort.entries import reasons_of, retracted
from movescu.cohort.entry_verdict import COMPLETE
from movescu.cohort.replaced_objects import REPLACED, SharedObject, has_another, loss_of
from movescu.cohort.row_result import RowResult
from movescu.events import EntryEvent, EntryState
from movescu.query.levels import UNIQUE_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from collections.abc import Set as AbstractSet

    from movescu.cohort.entry_ends import EntryEnds
    from movescu.cohort.job import LateReport
    from movescu.cohort.journal import Journal
    from movescu.query.request_list import Row
    from movescu.storage.ledger import StoredFile
    from movescu.storage.target import Target

_log: Final = logger_of("movescu.retrieve")

_NAMED: Final = 5
"""Objects that a message names."""


class LateCorrections:
    """Corrects ends in the journal and for the observers. ``key_of``: returns the key of an entry in the journal.

    ``tell_row``: called with the corrected results. ``target``: of this run.
    """

    def __init__(
        self,
        journal: Journal | None,
        ends: EntryEnds,
        key_of: Callable[[Row], str],
        tell_row: Callable[[RowResult], None],
        target: Target | None,
    ) -> None:
        self._journal, self._ends = journal, ends
        self._key_of, self._tell_row = key_of, tell_row
        self._target = target

    def apply(self, found: LateReport, rows: Iterable[Row], done: Iterable[Row]) -> None:
        """Correct the ends of entries whose objects others have replaced since.

        ``rows``: all entries. ``done``: those that other runs have completed, earlier or meanwhile.
        """
        late = dict(found.late)
        if self._journal is not None and not found.compared:
            by_key = {self._key_of(row): row for row in rows}
            for one in self._journal.shared_objects():
                row = by_key.get(one.key)
                if row is not None and (why := loss_of(one, _studies_among(row), self._journal.directory)):
                    late.setdefault(row.number, {})[one.sop_instance_uid] = why
        if self._journal is not None and found.superseded:
            for row in done:
                lost = found.superseded.intersection(self._journal.objects_of(self._key_of(row)) or ())
                if lost:
                    late[row.number] = dict.fromkeys(sorted(lost), REPLACED)
            self._withdraw(found.superseded, rows)
        if self._journal is not None and self._journal.has_company:
            self._look_again(self._journal, late)
        for number, reasons in late.items():
            if (good := self._ends.reopen(number)) is not None:
                self._retract(*good, reasons)

    def _look_again(self, journal: Journal, late: dict[int, dict[str, str]]) -> None:
        """Find the complete entries whose objects another run has replaced, or that it has corrected in the journal."""
        verdicts = dict(journal.verdicts())
        for row in self._ends.complete:
            key, studies = self._key_of(row), _studies_among(row)
            if (entry := journal.complete_entry(key)) is not None:
                changed = (one for one in entry.files if one.path and not self._is_unchanged(one, entry.ended))
                named = (SharedObject(key, entry.studies, one.uid, one.path) for one in changed)
                lost = [one.sop_instance_uid for one in named if has_another(one, studies, journal.directory)]
                if lost:
                    late.setdefault(row.number, {}).update(dict.fromkeys(lost, REPLACED))
            elif (verdict := verdicts.get(key)) is not None and verdict.outcome != COMPLETE:
                self._ends.reopen(row.number)
                _log.error("entry %d: incomplete: %s", row.number, verdict.why.get("detail") or "as another run found")
                self._ends.tell_end(verdict.event(row))
                self._tell_row(RowResult(row, verdict.outcome, verdict=verdict))

    def _is_unchanged(self, file: StoredFile, ended: float) -> bool:
        return self._target is not None and self._target.is_unchanged(file, ended)

    def _withdraw(self, superseded: AbstractSet[str], rows: Iterable[Row]) -> None:
        """Correct the ends of entries of other lists in the journal, of whose studies the objects are not any more."""
        assert self._journal is not None  # its entries are asked for
        own = {self._key_of(row) for row in rows}
        for key, name in dict(self._journal.complete_with(superseded)).items():
            entry = None if key in own else self._journal.complete_entry(key)
            if entry is None:
                continue
            reasons = {
                one.uid: why
                for one in entry.files
                if one.uid in superseded
                and (why := loss_of(SharedObject(key, entry.studies, one.uid, one.path), (), self._journal.directory))
            }
            if reasons:
                uid, why = next(iter(reasons.items()))
                _log.warning("entry %s of another list is incomplete now: SOP instance %s: %s", name, uid, why)
                end = EntryEvent(state=EntryState.COMPLETE, study_instance_uids=entry.studies)
                told, result = retracted(end, reasons)
                self._journal.retract(key, told, reasons_of(result), reasons.keys())

    def _retract(self, row: Row, end: EntryEvent, reasons: dict[str, str]) -> None:
        """Correct the end of an entry: some of its objects are not whole any more."""
        for uid, reason in tuple(reasons.items())[:_NAMED]:
            _log.error("entry %d: incomplete: SOP instance %s does not count: %s", row.number, uid, reason)
        told, result = retracted(end, reasons)
        self._ends.tell_end(told)
        if self._journal is not None:
            self._journal.retract(self._key_of(row), told, reasons_of(result), reasons.keys())
        self._tell_row(RowResult(row, result.outcome, result))


def _studies_among(row: Row) -> tuple[str, ...]:
    return tuple(uid for uid in row.identifier.text(UNIQUE_KEYS["STUDY"]).split("\\") if uid)
