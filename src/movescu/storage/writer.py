"""Files of received objects: written without a name, or under a temporary one, named when whole, flushed as asked.

A name that exists is a whole object: every error of writing is looked at, and only then the file gets its name. Where
the system can (``O_TMPFILE``, most local file systems of Linux), a file has none before: there is nothing to look for
and to rename, which halves the cost of a small file on ext4 (96 us to 47), and nothing is left of a run that is killed.
Elsewhere, NFS among it, the file has a temporary name in the same directory until it is closed. OS errors become
``StoreError`` here (``transport.sockets`` does the same for sockets). All names are relative to a descriptor of the
directory, so that the objects stay together even if the directory is renamed in mid-retrieve. How written files get to
the disk is ``durability``'s.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
import threading
from enum import Enum, auto

from movescu._runtime.record import Record
from movescu.errors import DirectoryNotFoundError, DirectoryNotWritableError, StoreError
from movescu.storage.durability import Durability, Flusher
from movescu.storage.folders import Folder, Folders
from movescu.storage.leftovers import RunLock, Sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final

_NO_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_UNNAMED: Final = getattr(os, "O_TMPFILE", 0) and os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC
_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MODE: Final = 0o666  # less the umask, as fopen() has it
_BLOCK: Final = 1 << 20
_MOST_BUFFERS: Final = 512  # systems take 1024 for one call (IOV_MAX)

_Buffer = bytes | bytearray | memoryview


class Naming(Enum):
    """What became of a name when a file was committed to it."""

    CREATED = auto()
    REPLACED = auto()
    SAME = auto()
    """It had the same content already, and was left as it was."""


class Alternative(Record):
    """What a file is called where the name that it should have is another object's.

    ``path``: in the same folder. ``is_other`` tells of an open file, that has the name, whether it is another object.
    """

    path: str
    is_other: Callable[[int], bool]


class OutputDirectory:
    """An existing directory that objects are written into.

    Raise ``DirectoryNotFoundError`` and ``DirectoryNotWritableError``.
    """

    def __init__(self, path: str, durability: Durability = Durability.END) -> None:
        self.path = path
        if not os.path.isdir(path):
            what = "is no directory" if os.path.exists(path) else "does not exist"
            raise DirectoryNotFoundError(
                f"output directory {what}: {path!r}", hint="create it, or name another with --output-directory"
            )
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _not_writable(path, error) from error
        if not os.access(path, os.W_OK | os.X_OK):
            os.close(self._fd)
            raise _not_writable(path, None)
        self._flusher = Flusher(self._fd, durability)
        self._top = Folder(self._fd)
        self._folders = Folders(self._top, flushed=durability is Durability.OBJECT)
        self._naming = threading.Lock()
        self._numbers = itertools.count(1)
        self._lock = RunLock(self._fd)
        self._mark = self._lock.mark
        self._sweep: Sweep | None = None
        self._spare: list[int] = []  # files without a name that nothing was written to yet
        self._unnamed: bool | None = None  # whether files can be written without a name: not tried yet

    def remove_leftovers(self) -> None:
        """Begin to remove the temporary files that runs which were killed left here; ``close`` waits for it."""
        self._sweep = Sweep(self._fd, self._lock)

    def create(self) -> ObjectFile:
        """Open a temporary file. Raise ``StoreError``."""
        if self._unnamed is None:
            self._unnamed = self._try_unnamed()
        if self._spare:
            with contextlib.suppress(IndexError):  # another association was quicker
                return ObjectFile(self, self._spare.pop(), "")
        name = "" if self._unnamed else self._temporary_name()
        try:
            fd = os.open(name, _CREATE, _MODE, dir_fd=self._fd) if name else self._open_unnamed()
        except OSError as error:
            raise _store_error(f"cannot create a file in {self.path!r}", error) from error
        return ObjectFile(self, fd, name)

    def prepare(self) -> None:
        """Open a file for the object that may come next, while its sender is at work: an eighth of what 8 KB take.

        What fails here, fails later. While it is open the file system cannot be remounted read-only.
        """
        if self._unnamed and not self._spare:
            with contextlib.suppress(OSError):
                self._spare.append(self._open_unnamed())

    def rely(self, path: str, size: int) -> None:
        """Have a file flushed that an earlier run left here, by the time ``flush`` returns. Raise ``StoreError``."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self._fd)
        except OSError as error:
            raise _store_error(f"cannot read {path!r} in {self.path!r}", error) from error
        try:
            self._flusher.relied_on(fd, path, size)
        except OSError as error:
            raise _store_error(f"cannot flush {path!r} in {self.path!r}", error) from error
        finally:
            os.close(fd)

    def _temporary_name(self) -> str:
        return f".movescu-{self._mark}-{next(self._numbers)}.part"

    def _open_unnamed(self) -> int:
        return os.open(".", _UNNAMED, _MODE, dir_fd=self._fd)

    def _try_unnamed(self) -> bool:
        """Return True if a file can be opened without a name here, and be given one."""
        if not _UNNAMED:
            return False
        with contextlib.suppress(OSError):
            fd = self._open_unnamed()
            try:
                self.remove(self._name(fd))
            finally:
                os.close(fd)
            return True
        return False

    def _name(self, fd: int) -> str:
        """Return a file without a name a temporary one."""
        name = self._temporary_name()
        os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=self._fd)
        return name

    def spool(self) -> ObjectFile:
        """Open a file without a name, for bytes on their way into another. Raise ``StoreError``."""
        file = self.create()
        file.unlink()
        return file

    def commit(self, file: ObjectFile, path: str, alternative: Alternative | None = None) -> tuple[Naming, str]:
        """Close a whole file and give it its name, unless the same content is there already and can stay as it is.

        ``path`` is below this directory; its folders are made. Gives the path that the file has, which may be that of
        the alternative.
        """
        folder = self._folder(path)
        if not file.name:
            self._flusher.written(file.fd, path, file.size)
            if self._name_new(file, path, folder):
                return Naming.CREATED, path
            file.name = self._name(file.fd)
        with contextlib.nullcontext() if alternative is None else self._naming:
            outcome, path = self._name_in_place(file, path, folder, alternative)
        self._flusher.named(folder.fd)  # a name that was there need not be on the disk yet
        return outcome, path

    def _name_new(self, file: ObjectFile, path: str, folder: Folder) -> bool:
        """Return a file without a name its own, and close it; False if there is something of that name."""
        name = _last(path)
        try:
            os.link(f"/proc/self/fd/{file.fd}", name, dst_dir_fd=folder.fd)
        except FileExistsError:
            return False
        except FileNotFoundError:  # somebody removed the folder
            self._folders.forget()
            raise
        # What fails from here on leaves a whole file of that name, which another association may have relied on by now.
        self._flusher.named(folder.fd, file.fd)
        file.close()
        return True

    def _name_in_place(
        self, file: ObjectFile, path: str, folder: Folder, alternative: Alternative | None
    ) -> tuple[Naming, str]:
        """Return a file that has a temporary name its own, in place of what may have it."""
        outcome = Naming.CREATED
        try:
            if alternative is not None and _is_taken(_last(path), folder.fd, alternative):
                path, alternative = alternative.path, None
            if _exists(_last(path), folder.fd):
                outcome = self._compare(file.fd, path, folder.fd)
            if outcome is not Naming.SAME:
                self._flusher.written(file.fd, path, file.size)
        finally:
            file.close()
        if outcome is Naming.SAME:
            os.unlink(file.name, dir_fd=self._fd)
        else:
            self._rename(file.name, path, folder, exclusive=outcome is Naming.CREATED and alternative is not None)
        return outcome, path

    def _folder(self, path: str) -> Folder:
        """Return the folder of a file: the directory itself, or one below it, which is made if need be."""
        folder = path.rpartition("/")[0]
        return self._folders.get(folder) if folder else self._top

    def _rename(self, temporary: str, path: str, folder: Folder, *, exclusive: bool) -> None:
        """Return a file its name; ``exclusive``: only if no other process has just given it to another object."""
        name = _last(path)
        try:
            if exclusive and _link(temporary, self._fd, name, folder.fd):
                os.unlink(temporary, dir_fd=self._fd)
            else:
                os.replace(temporary, name, src_dir_fd=self._fd, dst_dir_fd=folder.fd)
        except FileNotFoundError:  # somebody removed the folder
            self._folders.forget()
            raise

    def _compare(self, fd: int, path: str, where: int) -> Naming:
        """Hold a file against what has its name now; links are not followed, and only a regular file is the same."""
        try:
            existing = os.open(_last(path), _OPEN, dir_fd=where)
        except OSError:
            return Naming.REPLACED
        try:
            status = os.fstat(existing)
            same = stat.S_ISREG(status.st_mode) and _same_content(existing, fd)
            if same:  # it may be there without having been flushed yet
                self._flusher.written(existing, path, status.st_size)
        finally:
            os.close(existing)
        return Naming.SAME if same else Naming.REPLACED

    def remove(self, name: str) -> None:
        """Remove a file that has its temporary name, if it is there; one without a name needs nothing."""
        if not name:
            return
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._fd)

    def full_name(self, name: str) -> str:
        """Return the path of a file in this directory, as DCMTK prints it."""
        return os.path.join(self.path, name)

    def flush(self) -> None:
        """Wait until everything that was committed is on the disk. Raise ``StoreError``."""
        try:
            self._flusher.finish()
        except OSError as error:
            raise _store_error(f"cannot flush {self.path!r} to the disk", error) from error

    def close(self) -> None:
        """Return the descriptors back."""
        self._flusher.stop()
        if self._sweep is not None:
            self._sweep.finish()
        self._lock.release()
        self._folders.forget()
        self._unnamed = False  # an association that is late opens none any more
        while self._spare:
            with contextlib.suppress(OSError):  # nothing was written to it
                os.close(self._spare.pop())
        with contextlib.suppress(OSError):  # as above
            self._top.close()


class ObjectFile:
    """A file being written: to be ended by ``commit`` or ``discard``.

    ``name``: its temporary name, empty while it has none. ``size``: bytes written. Positions are bytes from the start
    of the data set, as ``dataset.output.Sink`` has them. All methods raise ``StoreError``.
    """

    __slots__ = ("_directory", "_offset", "fd", "name", "size")

    def __init__(self, directory: OutputDirectory, fd: int, name: str) -> None:
        self._directory = directory
        self.fd = fd
        self.name = name
        self.size = 0
        self._offset = 0

    def begin(self, meta: bytes, *data: _Buffer) -> None:
        """Write what stands before the data set, and the data set's first bytes, in one call of the system."""
        self._offset = len(meta)
        self.write_all([meta, *data])

    def write(self, data: _Buffer) -> None:
        """Append bytes of the data set."""
        self.write_all([data])

    def write_all(self, buffers: Sequence[_Buffer]) -> None:
        """Append bytes of the data set that lie apart, in one call of the system."""
        if len(buffers) > _MOST_BUFFERS:
            buffers = [b"".join(buffers)]
        expected = sum(map(len, buffers))
        self.size += expected
        try:
            written = os.writev(self.fd, buffers)
            if written != expected:  # a signal, a limit of 2 GiB, or a full disk: the next call says which
                data = memoryview(b"".join(buffers))
                while written < expected:
                    written += os.write(self.fd, data[written:])
        except OSError as error:
            raise self._error("write to", error) from error

    def patch(self, position: int, data: bytes) -> None:
        """Overwrite bytes of the data set."""
        try:
            os.pwrite(self.fd, data, self._offset + position)
        except OSError as error:
            raise self._error("write to", error) from error

    def read(self, position: int, size: int) -> bytes:
        """Read bytes of the data set back."""
        try:
            return os.pread(self.fd, size, self._offset + position)
        except OSError as error:
            raise self._error("read back", error) from error

    def truncate(self, position: int) -> None:
        """Forget the data set from a position on."""
        try:
            os.ftruncate(self.fd, self._offset + position)
            os.lseek(self.fd, 0, os.SEEK_END)
        except OSError as error:
            raise self._error("write to", error) from error

    def commit(self, path: str, alternative: Alternative | None = None) -> tuple[Naming, str]:
        """Close the file and give it its name, in place of whatever had it; on an error nothing is left of it.

        ``path`` is below the output directory. Where there is an alternative and another object has the name, the file
        gets that one. Gives the path that it has.

        But where each object is flushed and the disk fails at the name itself: then it may have the name all the same.
        """
        try:
            return self._directory.commit(self, path, alternative)
        except OSError as error:
            self.discard()
            raise _store_error(f"cannot write {self._directory.full_name(path)!r}", error) from error
        except BaseException:
            self.discard()
            raise

    def unlink(self) -> None:
        """Take the file's name away; it lasts until it is closed."""
        self._directory.remove(self.name)
        self.name = ""

    def close(self) -> None:
        """Close the file; its name stays. Raise ``OSError``, after which it is closed all the same."""
        fd, self.fd = self.fd, -1
        os.close(fd)

    def discard(self) -> None:
        """Close and remove the file, if that has not been done; nothing else is touched."""
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                self.close()
        self._directory.remove(self.name)

    def _error(self, what: str, error: OSError) -> StoreError:
        return _store_error(f"cannot {what} a file in {self._directory.path!r}", error)


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _link(temporary: str, directory: int, name: str, where: int) -> bool:
    """Return a file another name, if the file system knows of such, or raise ``FileExistsError``."""
    try:
        os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=where)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return False
    return True


def _exists(name: str, where: int) -> bool:
    """Return True if there is anything of that name in an open folder."""
    try:
        os.stat(name, dir_fd=where, follow_symlinks=False)
    except OSError:
        return False
    return True


def _is_taken(name: str, where: int, alternative: Alternative) -> bool:
    """Return True if a name is another object's, or that of anything else than a file."""
    try:
        existing = os.open(name, _OPEN, dir_fd=where)
    except OSError:
        return _exists(name, where)
    try:
        return not stat.S_ISREG(os.fstat(existing).st_mode) or alternative.is_other(existing)
    finally:
        os.close(existing)


def _same_content(existing: int, new: int) -> bool:
    size = os.fstat(existing).st_size
    if size != os.fstat(new).st_size:
        return False
    for position in range(0, size, _BLOCK):
        if os.pread(existing, _BLOCK, position) != os.pread(new, _BLOCK, position):
            return False
    return True


def _store_error(what: str, error: OSError) -> StoreError:
    return StoreError(f"{what}: {error.strerror}", hint="check the space and the permissions of the output directory")


def _not_writable(path: str, error: OSError | None) -> DirectoryNotWritableError:
    why = error.strerror if error else "permission denied, or a read-only file system"
    return DirectoryNotWritableError(
        f"output directory is not writable: {path!r}: {why}", hint="name another with --output-directory"
    )
