"""``--collect``: bring the files of workers with their own directories together. Imported with ``--collect`` alone.

Exit code: 0 if all files that the workers' manifests name are in the directory, else 63.
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
from movescu.cohort.journal_status import read_status
from movescu.errors import DirectoryNotFoundError, UsageError
from movescu.report.collection import Collection

if TYPE_CHECKING:
    from movescu.cli.options.settings import CommandSettings

_log: Final = logger_of("movescu.cli")


def run_collect(settings: CommandSettings) -> int:
    """Collect the files of a directory, and return the exit code."""
    directory = settings.collect
    assert directory is not None  # called with --collect alone
    if not os.path.isdir(directory):
        raise DirectoryNotFoundError(f"{directory!r} is not a directory")
    journal = journal_path(directory, settings.journal)
    has_journal = settings.journal is not None or os.path.exists(journal)
    if has_journal and (runs := read_status(journal).runs):
        raise UsageError(f"{runs[0].owner.text} is storing into {directory!r}", hint="collect when its run has ended")
    collection = Collection(directory, MANIFEST, lambda path, words: _log.error("%s %s", path, words))
    folders = collection.folders()
    if not folders:
        _log.warning("%s has no directories of workers (--worker-files own), or they are collected", directory)
    for folder in folders:
        if collection.collect(folder):
            if has_journal:
                rename_folder(journal, directory, folder)
            collection.remove(folder)
    streams.output(
        f"{collection.collected} files collected from {len(folders)} workers, {collection.before} before, "
        f"{collection.twice} of several workers, {collection.problems} problems\n"
    )
    if collection.left:
        _log.warning("%d files that belong to no finished request are left where they are", collection.left)
    return ExitCode.INCOMPLETE if collection.problems else ExitCode.SUCCESS
