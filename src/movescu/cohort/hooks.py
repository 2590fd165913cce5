"""The commands that run when a study or series is proven complete (``--on-study``, ``--on-series``).

They run beside the retrieve, in threads of their own, in the order in which studies are completed. The queue is
bounded: if commands are slower than the archive, the entry that fills it waits before the next one is requested; the
objects that arrive never wait. Each command is recorded (``hook_journal``) before it runs and after, so each runs at
least once for a complete study, and not again with ``--resume`` if it succeeded. It does run again if files of the
study were not as they should be and were stored anew: what the command has made of them is gone.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu._runtime.record import Record
from movescu.cohort.hook_document import document_of, keys_of, values_of_part
from movescu.cohort.hook_journal import FAILED, SUCCEEDED, HookKey, digest_of
from movescu.cohort.hook_process import HookProcess
from movescu.errors import StoreError, UsageError
from movescu.query.request_list import Row
from movescu.retrieve.parts import PROVES, level_of_request, parts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType
    from typing import Self

    from movescu.cohort.command_template import CommandTemplate
    from movescu.cohort.hook_journal import HookJournal
    from movescu.query.identifier import Identifier
    from movescu.query.selection import Selection
    from movescu.retrieve.parts import ListedRequest, Part

_log: Final = logger_of("movescu.retrieve")

_WAITING: Final = 200
"""Commands that may wait; what fills the queue waits itself."""
_END: Final = 10.0
"""Seconds to wait for commands that are being ended."""


def check_levels(commands: Iterable[CommandTemplate], identifiers: Iterable[Identifier]) -> None:
    """Raise ``UsageError`` for a request that cannot prove complete what a command runs for."""
    every = tuple(commands)
    for level in dict.fromkeys(map(level_of_request, identifiers)):
        for command in every:
            proving = PROVES[command.level]
            if level not in proving:
                what = command.level.lower()
                instead = ", or use --on-series" if level == "SERIES" else ""
                raise UsageError(
                    f"{command.option} not allowed with requests at level {level}, which prove no {what} complete",
                    hint=f"give QueryRetrieveLevel={' or '.join(proving)}{instead}",
                )


class HookTask(Record):
    """A command to run for a study or series. ``row``: number of the list's entry. Default: None, no list."""

    command: CommandTemplate
    key: HookKey
    part: Part
    identifier: Identifier
    row: int | None = None

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.command.option} for {self.part.level.lower()} {self.part.uid}"


class Hooks:
    """Runs commands; a context manager, which ends those that still run if an exception leaves the block.

    ``file_of``: returns the absolute path of a stored object, by SOP instance UID. ``archive``: its text, as in the
    journal of lists. ``selection``: what of the matches of an entry is retrieved. Default: all. ``jobs``: commands at a
    time. Default: 1. ``resume``: do not run again what succeeded in an earlier run. ``is_new``: returns True for an
    object, by SOP instance UID, that this run has stored since ``before`` was last called for it. Default: none is.
    ``before``: called with the SOP instance UIDs of each command before it runs, in its thread; returns what is called
    once it has succeeded, or raises ``StoreError`` if the command must not run.
    """

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        commands: Sequence[CommandTemplate],
        journal: HookJournal,
        file_of: Callable[[str], str],
        *,
        archive: str,
        selection: Selection | None = None,
        jobs: int = 1,
        resume: bool = False,
        is_new: Callable[[str], bool] = lambda _: False,
        before: Callable[[Sequence[str]], Callable[[], None]] = lambda _: lambda: None,
    ) -> None:
        self._commands = commands
        self._journal = journal
        self._file_of = file_of
        self._archive = archive
        self._selection = selection
        self._jobs = jobs
        self._resume = resume
        self._is_new = is_new
        self._before = before
        self._changed = clock.Condition()
        self._waiting: deque[HookTask] = deque()
        self._known: set[HookKey] = set()
        self._working = 0  # threads
        self._running = 0
        self._closing = False
        self._stopping = False
        self._failure: BaseException | None = None
        self.failed = 0
        """Number of commands that failed or could not be run."""
        self.unproven = 0
        """Number of requests whose objects arrived, but that no list of the archive proves complete."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()
        until = clock.now() + _END
        with self._changed:
            while self._working and (left := until - clock.now()) > 0:
                self._changed.wait(left)

    def is_settled(self, row: Row, *, gone: bool) -> bool:
        """Return True if every command has succeeded for an entry.

        ``gone``: its files are not as they were: the commands have to run again once they are, whatever ends this run.
        """
        key = row.key(self._archive, self._selection)
        if not self._journal.is_settled(key, [command.digest for command in self._commands]):
            return False  # it has to be proven complete again
        if gone:
            self._journal.reopen(key)
        return not gone

    def has_entered(self, row: Row) -> bool:
        """Return True if every command has been entered for an entry, by this run or by another one."""
        key = row.key(self._archive, self._selection)
        return self._journal.has_entered(key, [command.digest for command in self._commands])

    # -- during the retrieve -------------------------------------------------------------------------------------------

    def enter(self, requests: Iterable[ListedRequest], row: Row | None = None) -> None:
        """Have the commands run for the studies and series that a retrieve proved complete, and flushed.

        ``row``: the list's entry, which may have been resolved to several requests. Default: None, no list. Wait while
        the queue is full. Raise ``StoreError`` if the journal fails.
        """
        number = None if row is None else row.number
        entries: dict[str, dict[HookKey, HookTask]] = {}
        for request in requests:
            if not request.complete:
                continue
            if request.objects is None:
                self._tell_unproven(number)
                continue
            if row is None:
                entry = Row(0, "", request.identifier).key(self._archive)
            else:
                entry = row.key(self._archive, self._selection)
            entries.setdefault(entry, {}).update(self._tasks(request, number))
        for entry, tasks in entries.items():
            keys = list(tasks)
            settled = [key for key in keys if self._is_settled(tasks[key])]
            for key in self._journal.enter(entry, keys, settled):
                self._put(tasks[key])

    def _is_settled(self, task: HookTask) -> bool:
        """Return True if a command waits, or has been run and its files have not been stored anew since."""
        with self._changed:
            if any(one.key == task.key for one in self._waiting):
                return True
            known = task.key in self._known
        if not known and not (self._resume and self._journal.has_succeeded(task.key)):
            return False
        return not any(map(self._is_new, task.part.sop_instance_uids))

    def _tasks(self, request: ListedRequest, row: int | None) -> dict[HookKey, HookTask]:
        tasks = {}
        for command in self._commands:
            for part in parts_of(request, command.level):
                key = HookKey(command.digest, part.uid, digest_of(part.sop_instance_uids))
                tasks[key] = HookTask(command, key, part, request.identifier, row)
        return tasks

    def _tell_unproven(self, row: int | None) -> None:
        self.unproven += 1
        _log.error(
            "%s%s not run: the archive does not offer C-FIND, so nothing proves the objects complete",
            *("" if row is None else f"entry {row}: ", _options(self._commands)),
        )

    def _put(self, task: HookTask) -> None:
        with self._changed:
            while len(self._waiting) >= _WAITING and not self._stopping:
                self._changed.wait(0.5)  # in slices, so that a signal handler can stop it
            if self._stopping:
                return
            self._known.add(task.key)
            self._waiting.append(task)
            if self._working < min(self._jobs, self._running + len(self._waiting)):
                clock.Thread(target=self._work, name="movescu-hooks", daemon=True).start()
                self._working += 1
            self._changed.notify()

    # -- the end -------------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether ``cancel`` has an effect."""
        return bool(self._running or self._waiting)

    def cancel(self) -> None:
        """End the commands that run, and start no others. Safe from any thread and from a signal handler."""
        self._stopping = True

    def finish(self) -> None:
        """Wait until all commands have ended. Raise ``StoreError`` if the journal failed."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            # Not by ``Thread.join``: before Python 3.13, one that a signal handler ends by an exception takes the
            # thread for ended. In slices, so that signal handlers can run.
            while self._working:
                self._changed.wait(0.5)
        if self._failure is not None:
            raise self._failure
        if self._waiting:
            number = len(self._waiting)
            _log.error("%d command%s not run; continue with --resume", number, " was" if number == 1 else "s were")

    # -- the threads ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._run_all()
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    def _run_all(self) -> None:
        while (task := self._next()) is not None:
            try:
                self._run(task)
            except StoreError as error:
                self._fail(task, str(error))
            except BaseException as error:  # noqa: BLE001 - raised by finish(), in the caller's thread
                self._failure = self._failure or error
                self.cancel()
            finally:
                with self._changed:
                    self._running -= 1

    def _next(self) -> HookTask | None:
        with self._changed:
            while not self._stopping:
                if self._waiting:
                    self._running += 1
                    task = self._waiting.popleft()
                    self._changed.notify_all()
                    return task
                if self._closing:
                    return None
                self._changed.wait(0.5)
            return None

    def _run(self, task: HookTask) -> None:
        """Run a command and record its outcome; one that was ended by ``cancel`` stays waiting."""
        files = [self._file_of(uid) for uid in task.part.sop_instance_uids]
        after = self._before(task.part.sop_instance_uids)
        values = values_of_part(task.part, files)
        document = document_of(
            task.part, files, values, archive=self._archive, keys=keys_of(task.identifier), row=task.row
        )
        arguments = task.command.arguments(values)
        _log.info("%s: running", task.name)
        _log.debug("%s: arguments %s", task.name, arguments)
        try:
            process = HookProcess(arguments, document, task.name)
        except (OSError, ValueError) as error:
            self._settle(task, FAILED)
            self._fail(task, f"cannot run {arguments[0]!r}: {getattr(error, 'strerror', None) or error}")
            return
        status = process.wait(lambda: self._stopping)
        if status and self._stopping:
            _log.error("%s: ended; continue with --resume", task.name)
            return
        if not status:
            after()
        self._settle(task, FAILED if status else SUCCEEDED)
        if status:
            told = f"exit status {status}" if status > 0 else f"killed by signal {-status}"
            self._fail(task, "; ".join([told, *process.last]))
        else:
            _log.info("%s: succeeded", task.name)

    def _settle(self, task: HookTask, outcome: str) -> None:
        self._journal.settle(task.key, outcome)

    def _fail(self, task: HookTask, why: str) -> None:
        self.failed += 1
        _log.error("%s failed: %s", task.name, why)


def _options(commands: Iterable[CommandTemplate]) -> str:
    """Return the options of commands as text, each once: A and B."""
    *others, last = dict.fromkeys(command.option for command in commands)
    return f"{', '.join(others)} and {last}" if others else last
