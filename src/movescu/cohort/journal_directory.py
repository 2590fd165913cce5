"""The output directory of a journal: each journal has the files of one.

The path is recorded relative to the journal's own folder, so both may be moved together. If the recorded directory does
not exist any more, it was moved alone, and the journal follows: the directory in use takes its place. If it exists and
is another one, the journal is refused, since its paths would lead to the wrong files. A journal in a database server
has no folder, and records the full path: the directory has the same one on all machines.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu.cohort.journal_store import is_url
from movescu.errors import JournalError
from movescu.storage import files

if TYPE_CHECKING:
    from movescu.cohort.journal_store import Database

_log: Final = logger_of("movescu.cohort")

# Runs that hold or have ended an entry, and those that have not ended themselves.
_RECORDED: Final = """SELECT DISTINCT directory FROM journal_runs r WHERE ended IS NULL
    OR EXISTS (SELECT 1 FROM journal_entries e WHERE e.run = r.run)"""


def _folder(path: str) -> str:
    """Return the folder of a journal, empty if it is in a database server."""
    return "" if is_url(path) else os.path.dirname(os.path.realpath(path))


def recorded_form(path: str, directory: str) -> bytes:
    """Return a directory as a journal records it; ``path``: the journal's name."""
    full, folder = os.path.realpath(directory), _folder(path)
    try:
        return os.fsencode(os.path.relpath(full, folder) if folder else full)
    except ValueError:  # another drive of Windows
        return os.fsencode(full)


def recorded_directories(database: Database, path: str, directory: str) -> list[bytes]:
    """Return the names under which a journal records a directory, and those that it had before it was moved.

    ``path``: the journal's name. Raise ``JournalError`` if the journal has the files of another directory.
    """
    own = recorded_form(path, directory)
    folder = os.fsencode(_folder(path))
    recorded = [name for (name,) in database.execute(_RECORDED)]
    for name in recorded:
        other = os.path.normpath(os.path.join(folder, name))
        if name != own and files.isdir(other) and not _is_same(other, directory):
            raise JournalError(
                f"the journal {path!r} has the files of {os.fsdecode(other)!r}, not of {os.path.realpath(directory)!r}",
                hint="each output directory needs a journal of its own: name another one with --journal",
            )
    return recorded


def known_directory(database: Database, path: str) -> str:
    """Return the path of the directory whose files a journal has, empty if it has none yet."""
    name = next((name for (name,) in database.execute(_RECORDED)), None)
    folder = os.fsencode(_folder(path))
    return "" if name is None else os.fsdecode(os.path.normpath(os.path.join(folder, name)))


def adopt_directory(database: Database, path: str, directory: str) -> bytes:
    """Bind a journal to a directory, also if it was recorded under another name before; return the recorded form.

    Raise ``JournalError`` if the journal has the files of another directory.
    """
    own = recorded_form(path, directory)
    for name in recorded_directories(database, path, directory):
        if name != own:
            _log.info("the journal %s now records the files of %s, formerly %s", path, directory, os.fsdecode(name))
            database.execute("UPDATE journal_runs SET directory = ? WHERE directory = ?", (own, name))
    return own


def _is_same(one: bytes, other: str) -> bool:
    first, second = files.stat(one), files.stat(other)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)
