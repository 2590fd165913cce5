"""A program's list in progress: the runner in a thread of its own, and the results as they come."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu.cohort.admission import Stop
from movescu.cohort.entry_verdict import COMPLETE
from movescu.errors import IncompleteError, PeerError, StoreError
from movescu.query.request_list import Row
from movescu.retrieve.evidence import Evidence
from movescu.retrieve.late_objects import late_error
from movescu.retrieve.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import ExitStack
    from queue import SimpleQueue

    from movescu.cohort.row_result import RowResult
    from movescu.cohort.runner import Runner

    MakeRunner = Callable[[ExitStack, Callable[[RowResult], None]], Runner]


_log: Final = logger_of("movescu.cohort")


class ListInProgress:
    """The entries of a list while they are retrieved.

    ``entries``: an exception in place of an entry that cannot be requested. ``make_runner``: returns the runner, in its
    thread; what it adds to the stack is closed at the end.
    """

    def __init__(self, entries: Sequence[Row | Exception], make_runner: MakeRunner) -> None:
        self._entries = entries
        self._make_runner = make_runner
        self._told: SimpleQueue[tuple[int, Result | Exception] | BaseException | None] = clock.queue()
        self._open = {one.number: one for one in entries if isinstance(one, Row)}
        self._late: dict[int, dict[str, str]] = {}
        self._withdrawn: dict[int, str] = {}
        self._runner: Runner | None = None
        self._cancelled = False
        self._thread = clock.Thread(target=self._run, name="movescu-list", daemon=True)
        self._thread.start()

    def results(self, on_result: Callable[[int, Result | Exception], None] | None) -> Iterator[Result | Exception]:
        """Yield the results in the order of the entries; see ``Client.retrieve_many``. Leaving early cancels."""
        known = {number: one for number, one in enumerate(self._entries) if not isinstance(one, Row)}
        left = True
        try:
            if on_result is not None:
                for number, error in known.items():
                    on_result(number, error)
            ready: dict[int, Result | Exception] = {**known}
            for number in range(len(self._entries)):
                while number not in ready:
                    place, result = self._next()
                    ready[place] = result
                    if on_result is not None:
                        on_result(place, result)
                yield ready.pop(number)
            self._thread.join()
            left = False
        finally:
            self.close()
            if left and (self._late or self._withdrawn):  # a loop over rows and results never comes to the end
                _log.error("%s", late_error(self._late, self._withdrawn))
        if self._late or self._withdrawn:
            raise late_error(self._late, self._withdrawn)
        self._raise_last()

    def _next(self) -> tuple[int, Result | Exception]:
        told = self._told.get()
        if isinstance(told, BaseException):
            raise told
        assert told is not None  # every entry has been told before
        return told

    def _raise_last(self) -> None:
        """Raise the error with which the list ended after the last entry, if there is one."""
        while (told := self._told.get()) is not None:
            if isinstance(told, BaseException):
                raise told

    def cancel(self) -> None:
        """Start no further entry and cancel the running ones. Safe from any thread."""
        self._cancelled = True
        if (runner := self._runner) is not None:
            runner.cancel()

    def close(self) -> None:
        """Cancel the list unless it has ended, and wait for its end."""
        if self._thread.is_alive():
            self.cancel()
            self._thread.join()

    # -- the runner's thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with contextlib.ExitStack() as stack:
                runner = self._make_runner(stack, self._row)
                self._runner = runner
                if self._cancelled:
                    runner.cancel()
                waiting = runner.run(tuple(self._open.values()))
                for row in waiting:
                    self._tell(row.number, _not_started(runner.stop))
                for number, row in tuple(self._open.items()):  # complete in the journal
                    self._tell(number, _complete_before(runner.objects_before(row)))
            self._told.put(None)
        except BaseException as error:  # noqa: BLE001 - raised in the program's thread
            self._told.put(error)
            self._told.put(None)

    def _row(self, told: RowResult) -> None:
        number = told.row.number
        if number not in self._open:  # a correction
            self._correct(told)
            return
        if told.result is not None:
            self._tell(number, told.result)
        elif told.verdict is None:
            self._tell(number, PeerError(told.error))
        elif told.outcome == COMPLETE:
            self._tell(number, _complete_before(told.verdict.objects))
        else:
            self._tell(number, IncompleteError(_words_of(told)))

    def _correct(self, told: RowResult) -> None:
        """Note that an entry whose result was told ended otherwise: here, or in another run of the journal."""
        number = told.row.number
        if told.outcome == COMPLETE:  # requested again, after another run had withdrawn its verdict
            self._late.pop(number, None)
            self._withdrawn.pop(number, None)
        elif told.result is not None and told.result.failures:
            self._late[number] = dict(told.result.failures)
        else:
            self._withdrawn[number] = _words_of(told)

    def _tell(self, number: int, result: Result | Exception) -> None:
        del self._open[number]
        self._told.put((number - 1, result))


def _words_of(told: RowResult) -> str:
    """Return how an incomplete entry ended, and by which other run."""
    if told.verdict is None:
        return told.error or told.outcome
    return f"{told.outcome}, by {told.verdict.owner.text}: {(told.verdict.why or {}).get('words', '')}"


def _not_started(stop: Stop | None) -> Exception:
    if stop is Stop.NOT_FLUSHED:
        return StoreError(f"not requested: {stop}", hint="check the disk, and retrieve the entry again")
    if stop is Stop.NO_SPACE:
        return StoreError(f"not requested: {stop}", hint="free space there, and retrieve the entry again")
    return PeerError(f"not requested: {stop or 'cancelled'}")


def _complete_before(objects: int) -> Result:
    """Return the result of an entry whose objects were all here."""
    return Result((), 0, 0, 0, 0, Evidence(), {}, already_there=objects)
