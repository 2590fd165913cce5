"""Follow-up of a retrieve: commands for complete studies (``--on-study``, ``--on-series``) and the ``--manifest``.

Imported only with one of these options. The options of commands do not imply ``--verify`` but require a list of the
archive: queries that nobody asked for would surprise the archive, and change what the exit code means.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu.cli.exit_codes import ExitCode
from movescu.errors import StoreError, UsageError
from movescu.storage import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType
    from typing import Self

    from movescu.cli.options.settings import CommandSettings
    from movescu.cli.signals import Cancellable
    from movescu.cohort.command_template import CommandTemplate
    from movescu.cohort.hooks import Hooks
    from movescu.query.identifier import Identifier
    from movescu.report.manifest import Manifest
    from movescu.retrieve.config import Config
    from movescu.retrieve.handle import Retrieve
    from movescu.storage.target import Target

_log: Final = logger_of("movescu.cli")


class FollowUp:
    """The commands and the manifest of one run; a context manager.

    ``identifiers``: of all requests. Raise ``UsageError`` for options that cannot be used.
    """

    def __init__(self, settings: CommandSettings, config: Config, identifiers: Iterable[Identifier]) -> None:
        self._settings = settings
        self._config = config
        self._stack = contextlib.ExitStack()
        self._directory = os.path.abspath(settings.output_directory)
        self._paths: dict[str, str] = {}
        self._stored: set[str] = set()
        self._target: Target | None = None
        self._commands: list[CommandTemplate] = []
        self._manifest: Manifest | None = None
        self.hooks: Hooks | None = None
        """The commands, once opened; None without any."""
        self._parse("--on-study", "STUDY", settings.on_study)
        self._parse("--on-series", "SERIES", settings.on_series)
        if self._commands:
            from movescu.cohort.hooks import check_levels

            check_levels(self._commands, identifiers)
        if settings.manifest is not None:
            from movescu.report.manifest import Manifest  # late: needed only with --manifest

            self._manifest = Manifest(settings.manifest, settings.output_directory)

    def _parse(self, option: str, level: str, text: str | None) -> None:
        if text is None:
            return
        from movescu.cohort.command_template import parse_command  # late: needed with a command alone

        if self._settings.durable == "off":
            raise UsageError(
                f"{option} not allowed with --durable off",
                hint="a command runs once its objects are on the disk: use --durable end or object",
            )
        self._commands.append(parse_command(option, level, text))

    def __enter__(self) -> Self:
        if self._manifest is not None:
            self._stack.enter_context(self._manifest)
        return self

    def open(self, target: Target | None) -> Hooks | None:
        """Open the journal of the commands, in the open output directory; return the commands, None without any.

        ``target``: has the directory, and is told of files that they change.
        """
        self._target = target
        if not self._commands:
            return None
        from movescu.cohort.hook_journal import HookJournal
        from movescu.cohort.hooks import Hooks

        settings, archive = self._settings, self._config.archive
        journal = self._stack.enter_context(HookJournal(settings.output_directory))
        hooks = Hooks(
            self._commands,
            journal,
            self._file_of,
            archive=f"{archive.title}@{archive.host}:{archive.port}",
            selection=self._config.selection,
            jobs=settings.on_jobs,
            resume=settings.resume,
            is_new=self._stored.__contains__,
            before=self._before,
        )
        self.hooks = self._stack.enter_context(hooks)
        return hooks

    def with_commands(self, retrieval: Cancellable) -> Cancellable:
        """Return what a signal cancels: the retrieval, with the commands if there are any."""
        return retrieval if self.hooks is None else Together(retrieval, self.hooks)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def _file_of(self, sop_instance_uid: str) -> str:
        return os.path.join(self._directory, self._paths[sop_instance_uid])

    def _before(self, sop_instance_uids: Sequence[str]) -> Callable[[], None]:
        """Note the state of a command's files; return a function that records those the command changed.

        Raise ``StoreError`` if one of them is not what the existing manifest has.
        """
        if self._manifest is not None:
            changed = self._manifest.contradicted(self._paths[uid] for uid in sop_instance_uids)
            if changed:
                more = f" and {len(changed) - 1} more" if changed[1:] else ""
                raise StoreError(f"not run, as the manifest has another digest of {changed[0]!r}{more}")
        self._stored.difference_update(sop_instance_uids)  # what is stored from now on is news to the command
        before = {uid: _state_of(self._file_of(uid)) for uid in sop_instance_uids}

        def after() -> None:
            for uid, state in before.items():
                if _state_of(self._file_of(uid)) in (None, state):
                    continue
                if self._manifest is not None:
                    self._manifest.renew(self._paths[uid])
                if self._target is not None:
                    self._target.renew(uid, self._paths[uid])

        return after

    def on_whole(self, sop_instance_uid: str, path: str, /, *, stored: bool = True) -> None:
        """Record an object that was stored or found whole; see ``Target``."""
        if self._commands:
            self._paths[sop_instance_uid] = path
            if stored:
                self._stored.add(sop_instance_uid)
        if self._manifest is not None:
            self._manifest.add(path, stored=stored)

    def of_one(self, retrieve: Retrieve) -> set[ExitCode]:
        """Finish after a single retrieve; return the resulting exit codes."""
        codes = self._write()
        if self.hooks is not None and not retrieve.cancelled:
            self.hooks.enter(retrieve.requests())
        return codes | self._wait()

    def of_list(self, paths_of_others: Iterable[str]) -> set[ExitCode]:
        """Finish after a list, whose runner has entered the commands; return the resulting exit codes.

        ``paths_of_others``: of files that other runs stored for its entries; the manifest has them, too.
        """
        if self._manifest is not None:
            for path in paths_of_others:
                self._manifest.add(path)
        return self._write() | self._wait()

    def _write(self) -> set[ExitCode]:
        if self._manifest is not None:
            try:
                if not self._manifest.write():
                    return {ExitCode.INCOMPLETE}
            except StoreError as error:
                _log.critical("%s", error)
                return {ExitCode.OUTPUT_DIRECTORY_NOT_WRITABLE}
        return set()

    def _wait(self) -> set[ExitCode]:
        codes: set[ExitCode] = set()
        if self.hooks is not None:
            self.hooks.finish()
            codes |= {ExitCode.COMMAND_FAILED} if self.hooks.failed else set()
            codes |= {ExitCode.INCOMPLETE} if self.hooks.unproven else set()
        if self._manifest is not None and self._manifest.renewed:
            codes |= self._write()
        return codes


def _state_of(path: str) -> tuple[int, int, int] | None:
    with contextlib.suppress(OSError):
        status = os.stat(path)
        return status.st_size, files.change_time(status), status.st_ino
    return None


class Together:
    """A retrieval and its commands, as one thing to cancel."""

    def __init__(self, retrieval: Cancellable, hooks: Hooks) -> None:
        self._retrieval = retrieval
        self._hooks = hooks

    @property
    def cancelled(self) -> bool:
        """Whether ``cancel`` was called."""
        return self._retrieval.cancelled

    @property
    def moving(self) -> bool:
        """Whether ``cancel`` has an effect."""
        return self._retrieval.moving or self._hooks.busy

    def cancel(self) -> None:
        """Cancel the retrieval and end the commands."""
        self._retrieval.cancel()
        self._hooks.cancel()
