"""``--collect``: bring the files of workers with their own directories together. Imported with ``--collect`` alone.

Exit code: 0 if all files that the workers' manifests name, and those that the journal has, are in the directory, else
63.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu.cli import streams
from movescu.cli.exit_codes import ExitCode
from movescu.cohort.cluster.own_directory import MANIFEST
from movescu.cohort.journal import rename_folder
from movescu.cohort.journal_file import journal_path
from movescu.cohort.journal_status import paths_in, read_status
from movescu.errors import DirectoryNotFoundError, UsageError
from movescu.report.collection import Collection
from movescu.storage.leftovers import is_in_use

if TYPE_CHECKING:
    from collections.abc import Iterable

    from movescu.cli.options.settings import CommandSettings

_log: Final = logger_of("movescu.cli")


def _check_ended(directory: str, folders: Iterable[str], journal: str | None) -> None:
    """Raise ``UsageError`` if a run is storing into the directory or one of the folders."""
    busy = [(one.owner.text, directory) for one in read_status(journal).runs] if journal is not None else []
    places = (directory, *(os.path.join(directory, one) for one in folders))
    busy += [("a process", place) for place in places if is_in_use(place)]
    for who, place in busy:
        raise UsageError(f"{who} is storing into {place!r}", hint="collect when its run has ended")


def run_collect(settings: CommandSettings) -> int:
    """Collect the files of a directory, and return the exit code."""
    directory = settings.collect
    assert directory is not None  # called with --collect alone
    if not os.path.isdir(directory):
        raise DirectoryNotFoundError(f"{directory!r} is not a directory")
    journal = journal_path(directory, settings.journal)
    has_journal = settings.journal is not None or os.path.exists(journal)
    collection = Collection(directory, MANIFEST, lambda path, words: _log.error("%s %s", path, words))
    folders = collection.folders()
    _check_ended(directory, folders, journal if has_journal else None)
    if not folders:
        _log.warning("%s has no directories of workers (--worker-files own), or they are collected", directory)
    elif not has_journal:
        _log.warning("%s has no journal: if the run had another one, name it with --journal", directory)
    for folder in folders:
        if collection.collect(folder):
            if has_journal:
                rename_folder(journal, directory, folder)
            collection.remove(folder)
    for path in paths_in(journal) if has_journal else ():
        collection.expect(path, folders)
    streams.output(
        f"{collection.collected} files collected from {len(folders)} workers, {collection.before} before, "
        f"{collection.twice} of several workers, {collection.problems} problems\n"
    )
    if collection.left:
        _log.warning("%d files that belong to no finished request are left where they are", collection.left)
    return ExitCode.INCOMPLETE if collection.problems else ExitCode.SUCCESS
