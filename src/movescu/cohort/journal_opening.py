"""Opening of a journal by its name, a file or a server, and the change of its paths when files have been moved."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from movescu.cohort.journal_directory import adopt_directory
from movescu.cohort.journal_file import FileStore
from movescu.cohort.journal_store import is_url

if TYPE_CHECKING:
    from collections.abc import Collection

    from movescu.cohort.journal_store import Database, JournalStore

_RENAME: Final = "UPDATE journal_objects SET path = substr(path, ?) WHERE substr(path, 1, ?) = ?"


def rename_folder(path: str, directory: str, folder: str, left: Collection[str] = ()) -> None:
    """Record that the files of a folder are in the directory itself now; ``path``: of the journal.

    ``left``: paths of few that are not. Default: none.

    Raise ``JournalError``, also if the journal has the files of another directory.
    """
    store = open_store(path, directory, rebuild=False)
    prefix = os.fsencode(f"{folder}/")

    def rename(database: Database, _: float) -> None:
        adopt_directory(database, store.name, directory)
        statement = f"{_RENAME} AND path NOT IN ({', '.join('?' * len(left))})" if left else _RENAME
        database.execute(statement, (len(prefix) + 1, len(prefix), prefix, *map(os.fsencode, left)))

    try:
        store.transact(rename, durable=True)
    finally:
        store.close()


def open_store(path: str, directory: str, *, rebuild: bool) -> JournalStore:
    """Open the journal of a directory; ``rebuild``: make a damaged file anew. Raise ``JournalError``."""
    if not is_url(path):
        return FileStore(path, directory, rebuild=rebuild)
    from movescu.cohort.journal_server import ServerStore  # late: loads the libraries of the database

    return ServerStore(path)
