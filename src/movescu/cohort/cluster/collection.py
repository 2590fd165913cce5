"""The files of workers with directories of their own, brought together in the directory of the run (``--collect``).

Below the directory, each worker has a folder with a manifest of what the run relies on. A file is read and compared
with its digest, then linked (from another file system, copied) into the directory under the path that it has in the
folder. A copy is flushed, read again from the disk and compared, too. Only when all files of a folder have their second
names, and these are flushed, are the first ones removed. So a file has at least one name at any moment, and a
collection that was interrupted is repeated from the start: files that are there already, with the same digest, count as
collected. A file is never replaced: if the directory has another one under its path, both stay. Links are not followed:
through one, both names might be the same, and removing the first would lose the file.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu._runtime.record import Record
from movescu.cohort.cluster.own_directory import MANIFEST
from movescu.cohort.journal_file import journal_path
from movescu.cohort.journal_opening import rename_folder
from movescu.cohort.journal_status import paths_in, read_status
from movescu.errors import DirectoryNotFoundError, StoreError, UsageError
from movescu.storage.folders import flush_folder, locked_folder
from movescu.storage.leftovers import is_in_use
from movescu.storage.manifest_lines import parse_manifest_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_log: Final = logger_of("movescu.cohort")

_NO_LINKS: Final = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK)
"""Errors of a link that the file systems do not allow: the folder may be mounted from another machine."""
_TEMPORARY: Final = ".movescu-collect.part"
_MOST: Final = 1000
"""Files of a folder with a problem; if there are more, the journal keeps the folder until these are collected."""
_BLOCK: Final = 1 << 20
_OURS: Final = ".movescu"
"""How the names of our own files begin: manifest, index, locks."""


class Collected(Record):
    """What a collection did (``collect``). Truthy if all files that manifests and journal name are in the directory.

    ``folders``: number of workers' folders. ``collected``: files brought here. ``before``: files that were here
    already. ``twice``: files that several workers had. ``left``: files in the folders that no manifest names; they stay
    there. ``problems``: paths that could not be brought here, with the reasons; these files stay, too.
    """

    folders: int
    collected: int
    before: int
    twice: int
    left: int
    problems: tuple[tuple[str, str], ...]

    def __bool__(self) -> bool:
        return not self.problems


def collect(
    directory: str | os.PathLike[str],
    *,
    journal: str | os.PathLike[str] | None = None,
    on_problem: Callable[[str, str], None] = lambda *_: None,
) -> Collected:
    """Bring the files of workers with folders of their own (``worker_files="own"``) together in their directory.

    ``journal``: of the list, a file or a URL. Default: that of the directory. ``on_problem``: called with path and
    reason of each file that cannot be brought here. Default: nothing.

    Raise ``DirectoryNotFoundError`` if there is no such directory, ``UsageError`` while a run stores into it,
    ``StoreError`` if the file system or the journal fails. A collection that was interrupted can be repeated.
    """
    directory = os.fspath(directory)
    if not os.path.isdir(directory):
        raise DirectoryNotFoundError(f"{directory!r} is not a directory")
    path = journal_path(directory, None if journal is None else os.fspath(journal))
    has_journal = journal is not None or os.path.exists(path)
    problems: list[tuple[str, str]] = []

    def tell(where: str, words: str) -> None:
        problems.append((where, words))
        on_problem(where, words)

    with _alone(directory):
        collection = Collection(directory, tell)
        folders = collection.folders()
        _check_ended(directory, folders, path if has_journal else None)
        if not folders:
            _log.warning(
                "%s has no directories of workers (--worker-files own), or they have been collected", directory
            )
        elif not has_journal:
            _log.warning("%s has no journal: if the run had another one, name it with --journal", directory)
        for folder in folders:
            stay = collection.collect(folder)
            if has_journal and len(stay) <= _MOST:
                rename_folder(path, directory, folder, stay)
            if not stay:
                collection.remove(folder)
        for one in paths_in(path) if has_journal else ():
            collection.expect(one, folders)
        if collection.left:
            number = "1 file" if collection.left == 1 else f"{collection.left} files"
            _log.warning("%s of requests that never ended will stay in the folders of workers", number)
        counts = collection.collected, collection.before, collection.twice, collection.left
        return Collected(len(folders), *counts, tuple(problems))


@contextlib.contextmanager
def _alone(directory: str) -> Iterator[None]:
    """Raise ``UsageError`` while another process collects into a directory."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked_folder(directory, waiting=False))
        except BlockingIOError as error:
            raise UsageError(f"another collection of {directory!r} is running", hint="wait for its end") from error
        yield


def _check_ended(directory: str, folders: Iterable[str], journal: str | None) -> None:
    """Raise ``UsageError`` if a run is storing into the directory or one of the folders."""
    busy = [(one.owner.text, directory) for one in read_status(journal).runs] if journal is not None else []
    places = (directory, *(os.path.join(directory, one) for one in folders))
    busy += [("a process", place) for place in places if is_in_use(place)]
    for who, place in busy:
        raise UsageError(f"{who} is storing into {place!r}", hint="collect when its run has ended")


class Collection:
    """The collection of one directory. ``on_problem``: called with path and words.

    Raise ``StoreError`` if the file system fails.
    """

    def __init__(self, directory: str, on_problem: Callable[[str, str], None]) -> None:
        self._directory = directory
        self._real = os.path.realpath(directory)
        self._on_problem = on_problem
        self._told: set[str] = set()
        """Paths with a problem."""
        self.collected = self.before = self.twice = self.problems = 0
        """Number of files brought here, of those that were here already, and of those that several workers had."""
        self.left = 0
        """Number of files in the folders that no manifest names."""

    def folders(self) -> list[str]:
        """Return the names of the workers' folders. One that is a link is a problem."""
        with _told_as_store_errors(self._directory), os.scandir(self._directory) as found:
            names = sorted(one.name for one in found if one.is_dir())
        workers = [name for name in names if os.path.exists(self._path(name, MANIFEST))]
        links = [name for name in workers if os.path.islink(self._path(name))]
        for name in links:
            self._problem(self._path(name), "is a link: move the folder here, or mount it")
        return [name for name in workers if name not in links]

    def _path(self, *parts: str) -> str:
        return os.path.join(self._directory, *parts)

    def collect(self, folder: str) -> set[str]:
        """Bring the files of a folder here; return what has a problem and stays, as paths below the directory."""
        before, linked, changed = set(self._told), list[str](), {self._directory}
        with _told_as_store_errors(self._path(folder)):
            for path, digest in self._wanted(folder).items():
                if os.path.isabs(path) or ".." in path.split(os.sep):  # it would leave the directory
                    self._problem(self._path(folder, MANIFEST), f"names {path!r}, which is not in this folder")
                    continue
                source, target = self._path(folder, path), self._path(path)
                if any(map(self._is_link, (source, target))):
                    self._problem(source, "is a link, or in a folder that is one, or the directory has such a link")
                    continue
                if self._bring(source, target, digest):
                    linked.append(source)
                    while (target := os.path.dirname(target)) not in changed:  # each folder above may be new, too
                        changed.add(target)
            for one in changed:
                flush_folder(one)
            for source in linked:
                os.unlink(source)
        return self._told - before

    def _wanted(self, folder: str) -> dict[str, bytes]:
        """Return the digests of a folder's manifest by path. A last line without an end was never relied on."""
        name, wanted = self._path(folder, MANIFEST), dict[str, bytes]()
        with open(name, "rb") as file:
            lines = file.read().split(b"\n")[:-1]
        for number, line in enumerate(lines, 1):
            if (one := parse_manifest_line(line)) is None:
                self._problem(name, f"is damaged in line {number}")
            else:
                wanted[os.fsdecode(one[0])] = one[1]
        return wanted

    def _is_link(self, path: str) -> bool:
        return os.path.realpath(path) != os.path.join(self._real, os.path.relpath(path, self._directory))

    def expect(self, path: str, folders: Iterable[str] = ()) -> None:
        """Report a file that the journal has, unless it is here; ``folders``: it may be collected from one of them."""
        below = [path.removeprefix(start) for one in folders if path.startswith(start := f"{one}/")]
        if not any(os.path.isfile(self._path(one)) for one in (path, *below)):
            self._problem(self._path(path), "is missing, and the journal has it")

    def _bring(self, source: str, target: str, digest: bytes) -> bool:
        """Bring one file into the directory; return True if the file in the folder can be removed."""
        try:
            own, other = _digest(source), _digest(target)
        except OSError as error:
            self._problem(source, f"cannot be read, or compared with the directory: {error.strerror}")
            return False
        if own is None and other == digest:
            self.before += 1
            return False
        if why := _fault(own, other, digest):
            self._problem(source, why)
            return False
        if other is not None and os.path.samefile(os.path.dirname(source), os.path.dirname(target)):
            self._problem(source, "is in the directory already, for its folder is mounted there, too")
            return False
        if other is not None and not os.path.samefile(source, target):
            self.twice += 1
            return True
        named = other is not None or self._name(source, target, digest)  # has one: an interrupted collection linked it
        self.collected += named
        return named

    def _name(self, source: str, target: str, digest: bytes) -> bool:
        """Link a file into the directory, or copy it if it is on another file system; return True if that was done."""
        os.makedirs(os.path.dirname(target), exist_ok=True)
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return self._copy(source, target, digest)
        return True

    def _copy(self, source: str, target: str, digest: bytes) -> bool:
        """Copy a file from another file system, flush the copy and compare it; return True if it is right."""
        temporary = self._path(_TEMPORARY)
        try:
            with open(source, "rb") as file, open(temporary, "wb") as copy:
                shutil.copyfileobj(file, copy, _BLOCK)
                copy.flush()
                os.fsync(copy.fileno())
                _forget(copy.fileno())
            if _digest(temporary) == digest:
                os.rename(temporary, target)
                return True
            self._problem(source, "was copied, and the copy has other content: check the disk of the directory")
            return False
        finally:
            with contextlib.suppress(FileNotFoundError):  # it has its name
                os.unlink(temporary)

    def _problem(self, path: str, words: str) -> None:
        shown = os.path.relpath(path, self._directory)
        if shown in self._told and not shown.endswith(MANIFEST):
            return
        self._told.add(shown)
        self.problems += 1
        self._on_problem(shown, words)

    def remove(self, folder: str) -> None:
        """Remove the folder of a worker, all of whose files are here, unless it has others."""
        with _told_as_store_errors(self._path(folder)):
            for where, folders, names in os.walk(self._path(folder), topdown=False):
                for name in names:
                    if name.startswith(_OURS):
                        os.unlink(os.path.join(where, name))
                    else:
                        self.left += 1
                for name in folders:
                    with contextlib.suppress(OSError):  # it is not empty
                        os.rmdir(os.path.join(where, name))
            with contextlib.suppress(OSError):
                os.rmdir(self._path(folder))


@contextlib.contextmanager
def _told_as_store_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot collect {path!r}: {error.filename or ''}: {error.strerror}") from error


def _fault(own: bytes | None, other: bytes | None, digest: bytes) -> str:
    """Return why a file cannot be brought here, empty if it can.

    ``own``, ``other``: digests of the file, and of the one that has its name in the directory. ``digest``: when stored.
    """
    if own is None:
        return "is missing, and is not in the directory either"
    if own != digest:
        return "has other content than when it was stored"
    if other not in (None, digest):
        return "differs from the file of this name in the directory; both stay"
    return ""


def _digest(path: str) -> bytes | None:
    """Return the digest of a file, None if there is none."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest().encode()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _forget(fd: int) -> None:
    """Drop a flushed file from memory, where the system can, so that it is next read from the disk."""
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
