"""Results of a program's list, when entries end otherwise than was told before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from movescu.cohort.entry_verdict import EntryVerdict
from movescu.cohort.list_in_progress import ListInProgress
from movescu.cohort.owner import Owner
from movescu.cohort.row_result import RowResult
from movescu.errors import IncompleteError
from movescu.events import EntryState
from movescu.query.identifier import make_identifier
from movescu.query.request_list import Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from movescu.cohort.runner import Runner

ROW = Row(1, "1.2.3", make_identifier(["QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3"]))


def ended(state: EntryState) -> RowResult:
    """Give the end of the entry in another run."""
    verdict = EntryVerdict(state, Owner("host", 7, ""), 1, {"words": "not whole"}, ())
    return RowResult(ROW, verdict.outcome, verdict=verdict)


def results(*told: RowResult) -> list[str]:
    """Run a list whose runner tells these ends of its entry; return the outcomes."""
    return [cast("Any", one).outcome for one in running(*told).results(None)]


def running(*told: RowResult) -> ListInProgress:
    """Run a list whose runner tells these ends of its entry."""

    class Telling:
        stop = None

        def __init__(self, on_row: Callable[[RowResult], None]) -> None:
            self._on_row = on_row

        def cancel(self) -> None:
            """Do nothing: all has been told, or will be at once."""

        def run(self, _: object) -> list[Row]:
            for one in told:
                self._on_row(one)
            return []

    def make(_: object, on_row: Callable[[RowResult], None]) -> Runner:
        return cast("Runner", Telling(on_row))

    return ListInProgress([ROW], make)


def test_withdrawn_end_is_logged_where_a_loop_leaves_the_last_result_behind(caplog: pytest.LogCaptureFixture) -> None:
    for _ in zip([ROW], running(ended(EntryState.COMPLETE), ended(EntryState.PARTIAL)).results(None), strict=False):
        pass
    assert "entry 1 is not complete any more: partial, by process 7" in caplog.text


def test_program_is_told_that_another_run_has_withdrawn_a_complete_entry() -> None:
    with pytest.raises(IncompleteError, match=r"entry 1 is not complete any more: partial, by process 7 .*not whole"):
        results(ended(EntryState.COMPLETE), ended(EntryState.PARTIAL))


def test_entry_that_is_complete_again_is_no_error() -> None:
    assert results(*map(ended, (EntryState.COMPLETE, EntryState.PARTIAL, EntryState.COMPLETE))) == ["complete"]
