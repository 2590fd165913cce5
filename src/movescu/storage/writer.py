"""The output directory and the files of received objects, written without their name and named when whole.

A name that exists is a whole object: a file gets its name only after everything was written without an error. Where the
system can (``O_TMPFILE``, most local file systems of Linux), the file has no name before: this saves a rename, and a
run that is killed leaves nothing behind. Elsewhere, for example on NFS, it has a temporary name in the same directory
until it is closed (``leftovers``). All names are relative to a descriptor of the directory, so that the objects stay
together even if the directory is renamed during the retrieve. OS errors of files become ``StoreError`` here
(``transport.sockets`` does the same for sockets). ``durability`` flushes the files.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat

from movescu._runtime import clock
from movescu.errors import StoreError
from movescu.storage import files
from movescu.storage.directory_check import check_directory, moved_error, not_writable
from movescu.storage.durability import Durability, Flusher
from movescu.storage.failed_flushes import FailedFlushes
from movescu.storage.folders import Folder, Folders, exists, link, rename_locked, rename_new
from movescu.storage.leftovers import RunLock, Sweep
from movescu.storage.naming import (
    Alternative,
    Naming,
    check_name,
    check_replacement,
    has_same_content,
    last_part,
    untaken,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL  # which follows no link
_UNNAMED: Final = getattr(os, "O_TMPFILE", 0) and os.O_RDWR | os.O_TMPFILE
_MODE: Final = 0o666  # less the umask, as with fopen()
_LARGE_DIRECTORY: Final = 4 << 20  # bytes of a directory, with some 50,000 names
_MOST_BUFFERS: Final = 512  # for one system call; the usual limit is 1024 (IOV_MAX)

_Buffer = bytes | bytearray | memoryview


class OutputDirectory:
    """An existing directory that objects are written into.

    Raise ``DirectoryNotFoundError`` if it does not exist, ``DirectoryNotWritableError`` if it is not writable.
    ``grouped``: flush even a few files together. Default: False.
    """

    def __init__(self, path: str, durability: Durability = Durability.END, *, grouped: bool = False) -> None:
        self.path = path
        check_directory(path)
        try:
            fd = files.openat(path, files.READ_DIRECTORY)
        except OSError as error:
            raise not_writable(path, error) from error
        self._top = Folder(fd)
        try:
            self.failed_flushes = FailedFlushes(fd)
        except StoreError:
            self._top.close()
            raise
        self._flusher = Flusher(fd, durability, self.failed_flushes, grouped=grouped)
        self._folders = Folders(self._top, flushed=durability is Durability.OBJECT)
        self._naming = clock.Lock()
        self._numbers = itertools.count(1)
        self._lock = RunLock(fd)
        self._sweep: Sweep | None = None
        self._spare: list[int] = []  # descriptors of empty files without a name, opened ahead
        self._unnamed: bool | None = None  # whether files can be without a name; None before the first try
        self.replaced: dict[str, os.stat_result] | None = None
        """Status of files that others of their name have replaced, by path, for the ledger; None without one."""
        self._began = 0  # when the first file was made, in ns, by the clock of the file system

    def remove_leftovers(self) -> None:
        """Start to remove the temporary files of killed runs; ``close`` waits for the end of that.

        A directory of very many names is swept only if this run needs temporary names, too: reading a million names
        takes a second, and files without a name leave nothing behind.
        """
        if self._unnamed is None:
            self._unnamed = self._try_unnamed()
        with contextlib.suppress(OSError):
            if self._unnamed and files.fstat(self._top.fd).st_size > _LARGE_DIRECTORY:
                return
        self._sweep_once()

    def _sweep_once(self) -> None:
        with self._naming:
            if self._sweep is None:
                self._sweep = Sweep(self._top.fd, self._lock)

    def create(self) -> ObjectFile:
        """Open a new file, without a name or with a temporary one. Raise ``StoreError`` if that fails."""
        if self._unnamed is None:
            self._unnamed = self._try_unnamed()
        if self._spare:
            try:  # here and in ``prepare``, ``suppress`` would be three calls for each object
                return ObjectFile(self, self._spare.pop(), "")
            except IndexError:  # another association was faster
                pass
        name = "" if self._unnamed else self._temporary_name()
        try:
            fd = files.openat(name, _CREATE, _MODE, dir_fd=self._top.fd) if name else self._open_unnamed()
        except OSError as error:
            raise _store_error(f"cannot create a file in {self.path!r}", error) from error
        with contextlib.suppress(OSError):
            self._began = self._began or files.fstat(fd).st_mtime_ns
        return ObjectFile(self, fd, name)

    def prepare(self) -> None:
        """Open the file of the next object ahead, while the sender prepares its request.

        An error is ignored: ``create`` meets it again. While the file is open the file system cannot be remounted
        read-only.
        """
        if self._unnamed and not self._spare:
            try:  # noqa: SIM105 - see ``create``
                self._spare.append(self._open_unnamed())
            except OSError:
                pass

    def rely(self, path: str, size: int) -> None:
        """Have ``flush`` flush the file of an earlier run, too. Raise ``StoreError`` if it cannot be read."""
        try:
            fd = files.openat(path, files.READ_FILE, dir_fd=self._top.fd)
        except OSError as error:
            raise _store_error(f"cannot read {path!r} in {self.path!r}", error) from error
        try:
            try:
                self._flusher.relied_on(fd, path, size)
            finally:
                files.close(fd)
        except OSError as error:
            raise _store_error(f"cannot flush {path!r} in {self.path!r}", error) from error

    def _temporary_name(self) -> str:
        return f".movescu-{self._lock.mark}-{next(self._numbers)}.part"

    def _open_unnamed(self) -> int:
        return files.openat(".", _UNNAMED, _MODE, dir_fd=self._top.fd)

    def _try_unnamed(self) -> bool:
        """Return True if a file can be opened without a name here, and then be given one."""
        if not _UNNAMED:
            return False
        with contextlib.suppress(OSError):
            fd = self._open_unnamed()
            try:
                self.remove(self._name(fd))
            finally:
                files.close(fd)
            return True
        return False

    def _name(self, fd: int) -> str:
        """Give a file without a name a temporary one, and return it."""
        name = self._temporary_name()
        files.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=self._top.fd)
        return name

    def spool(self) -> ObjectFile:
        """Open a file without a name for intermediate data. Raise ``StoreError`` if that fails."""
        file = self.create()
        file.unlink()
        return file

    def commit(self, file: ObjectFile, path: str, alternative: Alternative | None = None) -> tuple[Naming, str]:
        """Close a whole file and give it its name, unless a file of that name has the same content.

        ``path`` is below this directory; its folders are made. Return the effect, and the path that the file has, which
        may be an alternative. Raise ``DataSetError`` if it is not whole and would replace a whole one.
        """
        folder = self._folder(path)
        if not file.name:
            self._flusher.written(file.fd, path, file.size)
            if self._name_new(file, path, folder):
                return Naming.CREATED, path
            self._sweep_once()
            file.name = self._name(file.fd)
        while True:
            locked = alternative is not None or exists(last_part(path), folder.fd)
            with self._naming if locked else contextlib.nullcontext(), contextlib.suppress(FileExistsError):
                outcome, path = self._name_in_place(file, path, folder, alternative)
                break
            file.fd = self.open_file(file.name)  # another run has just made a file of that name: compare it
        self._flusher.named(folder.fd, last_part(path))  # also for SAME: the existing name may not be on the disk yet
        return outcome, path

    def _name_new(self, file: ObjectFile, path: str, folder: Folder) -> bool:
        """Give a file without a name its own, and close it; False if the name exists."""
        name = last_part(path)
        try:
            files.link(f"/proc/self/fd/{file.fd}", name, dst_dir_fd=folder.fd)
        except FileExistsError:
            return False
        except FileNotFoundError:  # someone removed the folder
            self._folders.forget()
            raise
        # An error from here on leaves the whole file in place: another association may already rely on it.
        self._flusher.named(folder.fd, name, file.fd)
        file.close()
        return True

    def _name_in_place(
        self, file: ObjectFile, path: str, folder: Folder, alternative: Alternative | None
    ) -> tuple[Naming, str]:
        """Give a file with a temporary name its own, in place of whatever has that."""
        outcome = Naming.CREATED
        try:
            if alternative is not None:
                path = untaken(path, folder, alternative)
            if exists(last_part(path), folder.fd):
                outcome = self._compare(file.fd, path, folder.fd, alternative)
            if outcome is not Naming.SAME:
                self._flusher.written(file.fd, path, file.size)
        finally:
            file.close()
        if outcome is Naming.SAME:
            files.unlink(file.name, dir_fd=self._top.fd)
        else:
            self._rename(file.name, path, folder, exclusive=outcome is Naming.CREATED)
        return outcome, path

    def _folder(self, path: str) -> Folder:
        """Return the folder of a file, the directory itself or one below it, which is made if missing."""
        folder = path.rpartition("/")[0]
        return self._folders.get(folder) if folder else self._top

    def _rename(self, temporary: str, path: str, folder: Folder, *, exclusive: bool) -> None:
        """Give a file its name; ``exclusive``: fail if another process has just given it to another file."""
        name = last_part(path)
        try:
            if exclusive and link(temporary, self._top.fd, name, folder.fd):
                with contextlib.suppress(OSError):  # a whole file has its name: the next run removes the other one
                    files.unlink(temporary, dir_fd=self._top.fd)
            elif not exclusive:
                files.replace(temporary, name, src_dir_fd=self._top.fd, dst_dir_fd=folder.fd)
            elif not rename_new(temporary, self._top.fd, name, folder.fd):
                rename_locked(temporary, self._top.fd, name, folder.fd)
        except FileNotFoundError:  # someone removed the folder
            self._folders.forget()
            raise

    def _compare(self, fd: int, path: str, where: int, alternative: Alternative | None) -> Naming:
        """Compare a file with the one that has its name: SAME only for a regular file, links are not followed.

        One of the same content is replaced, too, if its flush has failed: it may not be on the disk. Raise
        ``FileExistsError`` if another run has just given the name to another object.
        """
        try:
            existing = files.openat(last_part(path), files.READ_FILE, dir_fd=where)
        except OSError:
            return Naming.REPLACED
        try:
            status = files.fstat(existing)
            equal = stat.S_ISREG(status.st_mode) and has_same_content(existing, fd)
            same = equal and not self.failed_flushes.cover(status.st_mtime_ns)
            if same:  # it may not have been flushed yet
                self._flusher.kept(existing, path, status.st_size)
            elif not equal:
                if alternative is not None and alternative.is_other(existing):
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
                check_name(path, where)
                check_replacement(existing, fd, path)
        finally:
            files.close(existing)
        if not equal and self.replaced is not None:
            self.replaced[path] = status
        return Naming.SAME if same else Naming.REPLACED

    def is_same(self, path: str, other: str) -> bool:
        """Return True if two files have the same content."""
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            fds = []
            for one in (path, other):
                fds.append(self.open_file(one))
                stack.callback(files.close, fds[-1])
            return has_same_content(*fds)
        return False

    def wrote(self, status: os.stat_result) -> bool:
        """Return True if a file was written since this directory was opened."""
        return 0 < self._began <= status.st_mtime_ns

    def status(self, path: str) -> os.stat_result | None:
        """Return the status of a regular file below this directory, None if there is none."""
        with contextlib.suppress(OSError):
            status = files.stat(path, dir_fd=self._top.fd, follow_symlinks=False)
            return status if stat.S_ISREG(status.st_mode) else None
        return None

    def open_file(self, path: str) -> int:
        """Return a descriptor for reading a file below this directory. Raise ``OSError``."""
        return files.openat(path, files.READ_FILE, dir_fd=self._top.fd)

    def remove(self, name: str) -> None:
        """Remove the file of a temporary name, if it exists; nothing for an empty name."""
        if not name:
            return
        with contextlib.suppress(OSError):
            files.unlink(name, dir_fd=self._top.fd)

    def full_name(self, name: str) -> str:
        """Return the full path of a file in this directory, as DCMTK prints it."""
        return os.path.join(self.path, name)

    def flush(self) -> None:
        """Wait until every committed file is on the disk. Raise ``StoreError`` if that fails.

        Also if the path of this directory no longer leads to it.
        """
        try:
            self._flusher.finish()
        except OSError as error:
            raise _store_error(f"cannot flush {self.path!r} to the disk", error) from error
        try:
            now, opened = files.stat(self.path), files.fstat(self._top.fd)
        except OSError as error:
            raise moved_error(self.path, error.strerror) from error
        if (now.st_dev, now.st_ino) != (opened.st_dev, opened.st_ino):
            raise moved_error(self.path, "another directory has its name")

    def close(self) -> None:
        """Close the descriptors, and remove the lock."""
        self._flusher.stop()
        if self._sweep is not None:
            self._sweep.finish()
        self._lock.release()
        self._folders.forget()
        self._unnamed = False  # an association that still ends opens no more spare files
        while self._spare:
            with contextlib.suppress(OSError):  # nothing was written to it
                files.close(self._spare.pop())
        with contextlib.suppress(OSError):  # as above
            self._top.close()


class ObjectFile:
    """A file being written, until ``commit`` or ``discard``.

    ``name``: its temporary name, empty without one. ``size``: bytes written. Positions are in bytes from the start of
    the data set, as in ``dataset.output.Sink``. Methods that write or read raise ``StoreError``.
    """

    __slots__ = ("_directory", "_offset", "fd", "name", "size")

    def __init__(self, directory: OutputDirectory, fd: int, name: str) -> None:
        self._directory = directory
        self.fd = fd
        self.name = name
        self.size = 0
        self._offset = 0

    def begin(self, meta: bytes, *data: _Buffer) -> None:
        """Write the preamble and file meta, and the first bytes of the data set, with one system call."""
        self._offset = len(meta)
        self.write_all([meta, *data])

    def write(self, data: _Buffer) -> None:
        """Append bytes of the data set."""
        self.write_all([data])

    def write_all(self, buffers: Sequence[_Buffer]) -> None:
        """Append several buffers of the data set, with one system call."""
        if len(buffers) > _MOST_BUFFERS:
            buffers = [b"".join(buffers)]
        expected = sum(map(len, buffers))
        self.size += expected
        try:
            written = files.writev(self.fd, buffers)
            if written != expected:  # a signal, the limit of 2 GiB, or a full disk: the next call tells which
                data = memoryview(b"".join(buffers))
                while written < expected:
                    written += files.write(self.fd, data[written:])
        except OSError as error:
            raise self._error("write to", error) from error

    def patch(self, position: int, data: bytes) -> None:
        """Overwrite bytes of the data set."""
        try:
            written = files.pwrite(self.fd, data, self._offset + position)
            while written < len(data):  # as in write_all()
                written += files.pwrite(self.fd, data[written:], self._offset + position + written)
        except OSError as error:
            raise self._error("write to", error) from error

    def read(self, position: int, size: int) -> bytes:
        """Read bytes of the data set back."""
        try:
            return files.pread(self.fd, size, self._offset + position)
        except OSError as error:
            raise self._error("read back", error) from error

    def truncate(self, position: int) -> None:
        """Cut the data set off at a position."""
        try:
            files.ftruncate(self.fd, self._offset + position)
            files.lseek(self.fd, 0, os.SEEK_END)
        except OSError as error:
            raise self._error("write to", error) from error

    def commit(self, path: str, alternative: Alternative | None = None) -> tuple[Naming, str]:
        """Close the file and give it its name, in place of whatever has that; return the effect and the file's path.

        ``path`` is below the output directory. With an ``alternative``, the file gets another name if another object
        has its own. Raise ``DataSetError`` if a whole object would be replaced by one that is not, ``StoreError`` on an
        error, and remove the file; only if each object is flushed, and flushing the name itself fails, the file may
        keep its name.
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
        """Remove the file's temporary name; the file lasts until it is closed."""
        self._directory.remove(self.name)
        self.name = ""

    def close(self) -> None:
        """Close the file; its name stays. Raise ``OSError`` on an error; the file is closed nevertheless."""
        fd, self.fd = self.fd, -1
        files.close(fd)

    def discard(self) -> None:
        """Close and remove the file, unless that was done."""
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                self.close()
        self._directory.remove(self.name)

    def _error(self, what: str, error: OSError) -> StoreError:
        return _store_error(f"cannot {what} a file in {self._directory.path!r}", error)


def _store_error(what: str, error: OSError) -> StoreError:
    return StoreError(f"{what}: {error.strerror}", hint="check free space and permissions of the output directory")
