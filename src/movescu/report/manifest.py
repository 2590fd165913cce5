"""The manifest (``--manifest``): SHA-256 and path of each stored object, as ``sha256sum -c`` reads them.

Files are hashed from their path after they got it, by a thread beside the retrieve, while the system still has them in
memory: what is patched into a file at its end is hashed, too, and the thread that receives does nothing but to note the
path. The manifest is written to a temporary file, flushed, and renamed.

Lines of an existing manifest are kept for files that were not changed since it was written, in folders that were not
changed either, as one may have been renamed into the place of another. The other files are hashed anew. If the content
of one that this run has not stored is another, its line is evidence and stays, and the run is not complete if it relies
on the file. The manifest keeps its time then, so that the next run looks again. Missing files are left out, with a
warning. Lines that another run wrote meanwhile are kept as they are. So a manifest grows with its directory over
several runs, those at the same time included, and after a run that was killed the next one with ``--resume`` adds the
objects that it finds.

A file that a command of ``--on-study`` has changed is hashed anew once the command has succeeded; one that it has moved
away keeps its line. No command runs for a study with a file that is not what the existing manifest has: it could
rewrite the evidence.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu.errors import DirectoryNotWritableError, StoreError, UsageError
from movescu.storage import files
from movescu.storage.folders import flush_folder, locked_folder
from movescu.storage.manifest_lines import manifest_line, parse_manifest_line, with_slashes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from collections.abc import Set as AbstractSet
    from types import TracebackType
    from typing import Self

_log: Final = logger_of("movescu.store")

_NAMED: Final = 5
"""Most files that one warning names."""
_INTERVAL: Final = 0.2
"""Seconds between two looks at the paths noted; the receiving threads wake nobody."""


class Manifest:
    """The manifest of the objects in an output directory; a context manager.

    ``path``: of the manifest. Raise ``UsageError`` if the file has something else, ``DirectoryNotWritableError`` if it
    cannot be written or its directory does not exist.
    """

    def __init__(self, path: str, directory: str) -> None:
        self._path = os.path.realpath(path)
        folder = os.path.dirname(self._path)
        if not os.path.isdir(folder):
            raise DirectoryNotWritableError(f"cannot write {path!r}: its directory does not exist")
        if os.path.isdir(self._path):
            raise DirectoryNotWritableError(f"cannot write {path!r}: Is a directory")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise DirectoryNotWritableError(f"cannot write {path!r}: its directory is not writable")
        if os.path.exists(self._path) and not os.access(self._path, os.W_OK):
            raise DirectoryNotWritableError(f"cannot write {path!r}: Permission denied")
        self._folder = folder
        self._prefix = _relative(os.path.realpath(directory), folder)
        self._known, self._written, self._version = _read(self._path)
        self._unchanged = {folder: self._is_unchanged(folder) for folder in set(map(os.path.dirname, self._known))}
        """Whether folders with known files are those that had their names when the manifest was written."""
        self._lines: dict[bytes, bytes] = {}
        """Digest by path relative to the manifest."""
        self._changed: set[bytes] = set()
        """Paths of files that are not what the existing manifest has, and that this run has not stored."""
        self._relied_on: set[bytes] = set()
        """Those of them that this run relies on."""
        self.renewed = False
        """Whether files were hashed anew that commands have changed, perhaps after the manifest was written."""
        self._noted: deque[tuple[str, bool]] = deque()
        self._hashing = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="movescu-manifest", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()

    def add(self, path: str, *, stored: bool = True) -> None:
        """Record an object, by its path below the output directory. Safe from any thread.

        ``stored``: by this run or one beside it. Default: True; else it was found whole.
        """
        self._noted.append((path, stored))

    def _work(self) -> None:
        while not self._closing.wait(_INTERVAL):
            self.settle(self._closing.is_set)

    def settle(self, ended: Callable[[], bool] = lambda: False) -> None:
        """Hash the files noted so far, in this thread; ``ended``: stop early."""
        with self._hashing:
            while self._noted and not ended():
                below, stored = self._noted.popleft()
                path = self._path_of(below)
                if stored or path not in self._lines:
                    self._enter(path, stored=stored)
                    if path in self._changed:
                        self._relied_on.add(path)

    def renew(self, path: str) -> None:
        """Hash a file anew, given by its path below the output directory, which a command has changed.

        A file that was not what the existing manifest has stays evidence, whatever a command has made of it.
        """
        with self._hashing:
            full = self._path_of(path)
            if full not in self._changed:
                self._enter(full, stored=True)
                self.renewed = True

    def contradicted(self, paths: Iterable[str]) -> list[str]:
        """Return those files, by path below the output directory, that are not what the existing manifest has.

        The files noted so far are hashed first.
        """
        self.settle()
        return [path for path in paths if self._path_of(path) in self._changed]

    def _path_of(self, below: str) -> bytes:
        """Return the path from the manifest of a file, given by its path below the output directory."""
        return with_slashes(os.path.normpath(os.path.join(self._prefix, os.fsencode(below))))

    def _is_unchanged(self, folder: bytes) -> bool:
        """Return True if no folder from this one up to the output directory was changed since the last manifest."""
        while folder not in (b"", os.path.dirname(folder), self._prefix):
            try:
                status = os.stat(os.path.join(os.fsencode(self._folder), folder))
            except OSError:
                return False
            if files.change_time(status) >= self._written:
                return False
            folder = os.path.dirname(folder)
        return True

    def _enter(self, path: bytes, *, stored: bool) -> None:
        """Take over the digest of an unchanged file, or hash it; ``stored``: see ``add``."""
        full = os.path.join(os.fsencode(self._folder), path)
        try:
            known = self._known.get(path)
            kept = known is not None and self._unchanged.get(os.path.dirname(path), False)
            if known is None or not kept or files.change_time(os.stat(full)) >= self._written:
                with open(full, "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest().encode()
                if stored or known in (None, digest):
                    self._changed.discard(path)
                    known = digest
                else:
                    self._changed.add(path)
            self._lines[path] = known
        except OSError as error:
            self._lines.pop(path, None)
            _log.warning("left out of the manifest: %s: %s", os.fsdecode(path), error.strerror)

    def write(self) -> bool:
        """Write the manifest; return False if this run relies on a file that is not what the existing manifest has.

        Raise ``StoreError`` if it cannot be written.
        """
        self.settle()
        for path in self._known.keys() - self._lines.keys():
            self._enter(path, stored=False)
        try:
            with locked_folder(self._folder):  # runs write its manifests one after the other
                self._take_over()
                self._replace()
        except OSError as error:
            raise StoreError(f"cannot write {self._path!r}: {error.strerror}") from error
        except UsageError as error:  # since this run began, another file has its name
            raise StoreError(f"cannot write {self._path!r}: {error}", hint=error.hint) from error
        relied_on = self._changed & self._relied_on
        self._tell_changed(relied_on, "incomplete: ")
        self._tell_changed(self._changed - relied_on)
        number = len(self._lines)
        _log.info("manifest %s: %d object%s", self._path, number, "" if number == 1 else "s")
        return not relied_on

    def _tell_changed(self, changed: AbstractSet[bytes], what: str = "") -> None:
        """Report files that are not what the manifest has; ``what``: it is an error of this run. Default: a warning."""
        if not changed:
            return
        names = sorted(map(os.fsdecode, changed))
        more = f" ... and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        (_log.error if what else _log.warning)(
            "%sthe manifest %s has other digests of %s%s: delete these files and repeat with --resume, or, if the "
            "change was meant, remove their lines",
            what,
            self._path,
            ", ".join(names[:_NAMED]),
            more,
        )

    def _take_over(self) -> None:
        """Add the lines that other runs have written since this one began."""
        latest, _, version = _read(self._path)
        if version != self._version:
            for path in tuple(self._changed):
                if latest.get(path) != self._known.get(path):  # stored by the other run
                    self._changed.discard(path)
                    self._lines.pop(path)
            for path in latest.keys() - self._lines.keys():
                if os.path.lexists(os.path.join(os.fsencode(self._folder), path)):
                    self._lines[path] = latest[path]

    def _replace(self) -> None:
        temporary = os.path.join(self._folder, f".{os.path.basename(self._path)}.{os.getpid()}.part")
        try:
            with open(temporary, "wb") as file:
                file.writelines(manifest_line(path, self._lines[path]) for path in sorted(self._lines))
                file.flush()
                if self._changed:
                    os.utime(file.fileno() if os.utime in os.supports_fd else temporary, ns=(self._written,) * 2)
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        flush_folder(self._folder)


def digests_of(path: str, directory: str) -> dict[bytes, bytes]:
    """Return the digests of a manifest, by path below a directory, without files elsewhere. Raise ``UsageError``."""
    if not os.path.exists(path):
        raise UsageError(f"there is no manifest {path!r}")
    folder = os.fsencode(os.path.dirname(os.path.realpath(path)))
    root = os.path.join(os.path.realpath(os.fsencode(directory)), b"")
    full = ((os.path.normpath(os.path.join(folder, name)), digest) for name, digest in _read(path)[0].items())
    return {with_slashes(name[len(root) :]): digest for name, digest in full if name.startswith(root)}


def _relative(directory: str, folder: str) -> bytes:
    """Return the path of a directory from a folder, with slashes; on another drive of Windows the full path."""
    try:
        return with_slashes(os.fsencode(os.path.relpath(directory, folder)))
    except ValueError:
        return with_slashes(os.fsencode(directory))


def _read(path: str) -> tuple[dict[bytes, bytes], int, tuple[int, int]]:
    """Return digests by path of an existing manifest, its time in ns, and what tells it from another one of its name.

    Nothing if there is none.
    """
    try:
        mode = os.stat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # the open of a FIFO would wait for a writer
            raise UsageError(f"cannot write {path!r}: not a regular file")
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            return dict(_parsed(path, file.read())), status.st_mtime_ns, (status.st_ino, files.change_time(status))
    except FileNotFoundError:
        return {}, 0, (0, 0)
    except OSError as error:
        raise UsageError(f"cannot read {path!r}: {error.strerror}") from error


def _parsed(path: str, content: bytes) -> Iterator[tuple[bytes, bytes]]:
    for line in content.split(b"\n"):
        if not line:
            continue
        found = parse_manifest_line(line)
        if found is None:
            raise UsageError(
                f"{path!r} exists and is not a manifest of SHA-256 digests", hint="name another file with --manifest"
            )
        yield found
