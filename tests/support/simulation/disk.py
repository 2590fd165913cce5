"""A simulated disk: files and folders in memory, and apart from them what would be left after a loss of power.

Until it is flushed, each write to a file and each change of a folder is on the disk or is not, independently of all
others; ``after_power_failure`` returns the disk that some choice of them leaves. A flush that fails has dropped the
writes that it was for: a second one succeeds and brings nothing back, as with Linux. One call, the one of number
``fail_at``, fails in the way ``failing``; a crash stops the world before the call of number ``crash_at``.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import sqlite3
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from simulation.threads import CrashError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from simulation.threads import Scheduler

SHORT = "short"
"""A way to fail: a read or write of fewer bytes than asked for."""
PATH = "/out"
"""The output directory, the only one of the disk."""

_BLOCK = 40_000
"""Bytes of a write that are lost or kept together."""
_FIRST_DESCRIPTOR = 5000
_PROCESS = "/proc/self/fd/"
_QUIET = frozenset({"exists", "isdir", "access", "boot_id", "find_syncfs"})


class Inode:
    """A file or folder. ``stable``: what is on the disk; ``pending``: changes since then that may be, too."""

    def __init__(self, number: int, *, folder: bool, changed: int) -> None:
        self.number = number
        self.folder = folder
        self.links = 0
        self.changed = changed
        self.data = bytearray()
        self.entries: dict[str, Inode] = {}
        self.stable = b""
        self.stable_entries: dict[str, Inode] = {}
        self.pending: list[tuple[int, bytes]] = []
        self.pending_entries: list[dict[str, Inode | None]] = []
        self.dropped = False  # whether writes were lost to a flush that failed
        self.holes: list[int] = []  # where blocks were lost
        self.locks: dict[OpenFile, int] = {}

    def settle(self) -> None:
        """Be on the disk as it is."""
        self.stable, self.stable_entries = bytes(self.data), dict(self.entries)

    def flush(self) -> None:
        if not self.dropped:
            self.stable = bytes(self.data)
        for change in self.pending_entries:
            self.stable_entries.update({name: one for name, one in change.items() if one is not None})
            for name in (name for name, one in change.items() if one is None):
                self.stable_entries.pop(name, None)
        self.pending, self.pending_entries = [], []

    def drop(self) -> None:
        """Lose what a flush could not write: data, while names stay in the journal of the file system."""
        self.dropped |= bool(self.pending)
        self.pending = []

    def status(self) -> os.stat_result:
        mode = stat.S_IFDIR | 0o755 if self.folder else stat.S_IFREG | 0o644
        seconds = self.changed / 1e9
        plain = (mode, self.number, 1, self.links, 0, 0, len(self.data), seconds, seconds, seconds)
        times = {"st_mtime": seconds, "st_mtime_ns": self.changed, "st_ctime": seconds, "st_ctime_ns": self.changed}
        return os.stat_result((*map(int, plain),), times)


class OpenFile:
    """An open file description; several descriptors may share it."""

    def __init__(self, inode: Inode) -> None:
        self.inode = inode
        self.position = 0
        self.handles = 1


class Entry(NamedTuple):
    """``os.DirEntry``."""

    name: str
    inode: Inode

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self.inode.folder

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return not self.inode.folder

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return self.inode.status()


class Entries(list[Entry]):
    def __enter__(self) -> Iterator[Entry]:
        return iter(self)

    def __exit__(self, *_: object) -> None:
        pass


class Disk:
    """The disk of a world. ``unnamed``: it has ``O_TMPFILE``. ``syncfs``: the system has it."""

    def __init__(self, scheduler: Scheduler, *, unnamed: bool = True, syncfs: bool = True) -> None:
        self.scheduler = scheduler
        self.unnamed = unnamed
        self.syncfs = syncfs
        self.flush_seconds = 0.0
        """How long each flush takes."""
        self.calls = 0
        self.names: list[str] = []
        """The calls so far."""
        self.fail_at = 0
        self.failing: int | str = errno.EIO
        self.failed = ""
        """The call that failed."""
        self.crash_at = 0
        self.boot = "0badcafe-0000"
        self.databases: dict[str, bytes] = {}
        self._numbers = itertools.count(2)
        self.top = self._made(folder=True)
        self.open: dict[int, OpenFile] = {}

    # -- the state ---------------------------------------------------------------------------------------------------

    def _made(self, *, folder: bool = False) -> Inode:
        return Inode(next(self._numbers), folder=folder, changed=int(self.scheduler.now * 1e9))

    def put(self, name: str, data: bytes) -> None:
        """Have a file on the disk, flushed."""
        inode = self.top.entries[name] = self._made()
        inode.data, inode.links = bytearray(data), 1
        inode.settle()
        self.top.settle()

    def files(self, *, stable: bool = False) -> dict[str, bytes]:
        """The files by path below the directory; ``stable``: those that are on the disk, and as they are there."""

        def walk(folder: Inode, prefix: str) -> Iterator[tuple[str, bytes]]:
            for name, inode in (folder.stable_entries if stable else folder.entries).items():
                if inode.folder:
                    yield from walk(inode, f"{prefix}{name}/")
                else:
                    yield prefix + name, inode.stable if stable else bytes(inode.data)

        return dict(walk(self.top, ""))

    def objects(self, *, stable: bool = False) -> dict[str, bytes]:
        """The files with a name that an object may have."""
        return {path: data for path, data in self.files(stable=stable).items() if "/." not in f"/{path}"}

    def _inodes(self) -> list[Inode]:
        found: dict[int, Inode] = {}

        def walk(inode: Inode) -> None:
            if inode.number in found:
                return
            found[inode.number] = inode
            known = [*inode.entries.values(), *inode.stable_entries.values()]
            for other in (*known, *(one for change in inode.pending_entries for one in change.values())):
                if other is not None:
                    walk(other)

        walk(self.top)
        for file in self.open.values():
            walk(file.inode)
        return [found[number] for number in sorted(found)]

    def changes(self) -> int:
        """The number of changes that a loss of power may keep or lose."""
        return sum(len(inode.pending) + len(inode.pending_entries) for inode in self._inodes())

    def after_power_failure(self, scheduler: Scheduler, kept: Sequence[bool]) -> Disk:
        """Return the disk after a loss of power; ``kept``: for each change, whether it is on the disk."""
        result = Disk(scheduler, unnamed=self.unnamed, syncfs=self.syncfs)
        result.boot, result.databases = "0badcafe-0001", dict(self.databases)
        copies = {inode.number: result._made(folder=inode.folder) for inode in self._inodes()}
        choice = iter(kept)
        for inode in self._inodes():
            copy = copies[inode.number]
            copy.changed = inode.changed
            copy.data = bytearray(inode.stable)
            for offset, data in inode.pending:
                if next(choice):
                    _overwrite(copy.data, offset, data)
                else:
                    copy.holes.append(offset)
            entries: dict[str, Inode | None] = dict(inode.stable_entries)
            for change in inode.pending_entries:
                if next(choice):
                    entries.update(change)
            copy.entries = {name: copies[one.number] for name, one in entries.items() if one is not None}
        for copy in copies.values():
            for one in copy.entries.values():
                one.links += 1
        for copy in copies.values():
            copy.settle()
        result.top = copies[self.top.number]
        return result

    def after_kill(self, scheduler: Scheduler) -> Disk:
        """Return the disk as the next process finds it after this one was killed: nothing is lost."""
        for inode in self._inodes():
            inode.locks.clear()
        result = Disk(scheduler, unnamed=self.unnamed, syncfs=self.syncfs)
        result.databases, result.top, result.boot = dict(self.databases), self.top, self.boot
        result._numbers = self._numbers
        return result

    # -- calls -------------------------------------------------------------------------------------------------------

    def replacements(self) -> dict[str, Any]:
        names = "access boot_id close dup exists flock fstat fsync ftruncate isdir link listdir lseek lstat mkdir "
        names += "open_sqlite openat pread pwrite replace scandir stat unlink write writev find_syncfs"
        return {name: self._call(name, getattr(self, f"_{name}")) for name in names.split()}

    def _call(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if name == "close" and (self.scheduler.crashed or self.calls + 1 == self.crash_at):
                self.scheduler.crash()
                return None  # raises nothing: it may be called by a destructor
            self._count(name)
            if (
                self.failed == ""
                and self.calls == self.fail_at
                and name not in _QUIET
                and not (self.failing == SHORT and name not in ("write", "writev", "pwrite", "pread"))
            ):
                self.failed = name
                return self._fail(function, name, arguments, named)
            return function(*arguments, **named)

        return call

    def _count(self, name: str) -> None:
        self.scheduler.pause()
        self.calls += 1
        self.names.append(name)
        if self.calls == self.crash_at:
            self.scheduler.crash()
            raise CrashError

    def _fail(self, function: Callable[..., Any], name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if self.failing == SHORT:
            if name == "pread":
                fd, size, position = arguments
                return self._pread(fd, max(size // 2, 1), position)
            data = b"".join(arguments[1]) if name == "writev" else bytes(arguments[1])
            half = data[: max(len(data) // 2, 1)]
            return function(arguments[0], [half] if name == "writev" else half, *arguments[2:])
        assert isinstance(self.failing, int)
        if name == "close":
            function(*arguments)  # the descriptor is closed nevertheless
        elif name == "fsync":
            self.open[arguments[0]].inode.drop()
        elif name == "open_sqlite":
            raise sqlite3.OperationalError("disk I/O error")
        raise OSError(self.failing, os.strerror(self.failing))  # in no variable: that would be a cycle

    def _file(self, fd: int) -> OpenFile:
        try:
            return self.open[fd]
        except KeyError:
            raise OSError(errno.EBADF, "Bad file descriptor") from None

    def _parent(self, path: str | bytes, dir_fd: int | None) -> tuple[Inode, str]:
        path = os.fsdecode(path)
        if dir_fd is None:
            if path == PATH:
                return self.top, "."
            if not path.startswith(PATH + "/"):
                raise FileNotFoundError(errno.ENOENT, "No such file or directory")
            folder, path = self.top, path[len(PATH) + 1 :]
        else:
            folder = self._file(dir_fd).inode
        *parts, last = path.split("/")
        for part in parts:
            folder = self._in(folder, part)
        if not folder.folder:
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory")
        return folder, last

    def _in(self, folder: Inode, name: str) -> Inode:
        if name == ".":
            return folder
        if name not in folder.entries:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return folder.entries[name]

    def _find(self, path: str | bytes, dir_fd: int | None = None) -> Inode:
        return self._in(*self._parent(path, dir_fd))

    def _change(self, folder: Inode, change: dict[str, Inode | None]) -> None:
        for name, inode in change.items():
            old = folder.entries.pop(name, None)
            if old is not None:
                old.links -= 1
            if inode is not None:
                folder.entries[name] = inode
                inode.links += 1
        folder.pending_entries.append(change)

    def _descriptor(self, file: OpenFile) -> int:
        fd = next(n for n in itertools.count(_FIRST_DESCRIPTOR) if n not in self.open)
        self.open[fd] = file
        return fd

    def _openat(self, path: str | bytes, flags: int, _mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        folder, name = self._parent(path, dir_fd)
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            if not self.unnamed:
                raise OSError(errno.EOPNOTSUPP, "Operation not supported")
            return self._descriptor(OpenFile(self._made()))
        if flags & os.O_CREAT:
            if name in folder.entries:
                raise FileExistsError(errno.EEXIST, "File exists")
            inode = self._made()
            self._change(folder, {name: inode})
        inode = self._in(folder, name)
        if flags & os.O_DIRECTORY and not inode.folder:
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory")
        return self._descriptor(OpenFile(inode))

    def _close(self, fd: int) -> None:
        file = self._file(fd)
        del self.open[fd]
        file.handles -= 1
        if not file.handles:
            file.inode.locks.pop(file, None)

    def _dup(self, fd: int) -> int:
        file = self._file(fd)
        file.handles += 1
        return self._descriptor(file)

    def _overwrite(self, inode: Inode, offset: int, data: bytes) -> int:
        _overwrite(inode.data, offset, data)
        inode.pending += [(offset + at, data[at : at + _BLOCK]) for at in range(0, len(data), _BLOCK)]
        inode.changed = int(self.scheduler.now * 1e9)
        return len(data)

    def _writev(self, fd: int, buffers: Sequence[Any]) -> int:
        return self._write(fd, b"".join(buffers))

    def _write(self, fd: int, data: Any) -> int:
        file = self._file(fd)
        size = self._overwrite(file.inode, file.position, bytes(data))
        file.position += size
        return size

    def _pwrite(self, fd: int, data: Any, position: int) -> int:
        return self._overwrite(self._file(fd).inode, position, bytes(data))

    def _pread(self, fd: int, size: int, position: int) -> bytes:
        return bytes(self._file(fd).inode.data[position : position + size])

    def _ftruncate(self, fd: int, size: int) -> None:
        inode = self._file(fd).inode
        del inode.data[size:]
        inode.data.extend(bytes(size - len(inode.data)))
        # Kept or lost as one with all before it: which bytes beyond the end were ever written is no matter.
        inode.pending = [(0, bytes(inode.data))]

    def _lseek(self, fd: int, position: int, how: int) -> int:
        file = self._file(fd)
        if how == os.SEEK_HOLE:
            return min([*file.inode.holes, len(file.inode.data)])
        file.position = len(file.inode.data) + position if how == os.SEEK_END else position
        return file.position

    def _fstat(self, fd: int) -> os.stat_result:
        return self._file(fd).inode.status()

    def _stat(self, path: str | bytes, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
        return self._find(path, dir_fd).status()

    def _lstat(self, path: str) -> os.stat_result:
        return self._find(path).status()

    def _exists(self, path: str) -> bool:
        return path == PATH

    def _isdir(self, path: str) -> bool:
        return path == PATH

    def _access(self, path: str, _mode: int) -> bool:
        return path == PATH

    def _listdir(self, fd: int) -> list[str]:
        return list(self._file(fd).inode.entries)

    def _scandir(self, fd: int) -> Entries:
        return Entries(Entry(name, inode) for name, inode in self._file(fd).inode.entries.items())

    def _mkdir(self, path: str, *, dir_fd: int | None = None) -> None:
        folder, name = self._parent(path, dir_fd)
        if name in folder.entries:
            raise FileExistsError(errno.EEXIST, "File exists")
        self._change(folder, {name: self._made(folder=True)})

    def _link(self, source: str, target: str, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        if source.startswith(_PROCESS):
            inode = self._file(int(source[len(_PROCESS) :])).inode
        else:
            inode = self._find(source, src_dir_fd)
        folder, name = self._parent(target, dst_dir_fd)
        if name in folder.entries:
            raise FileExistsError(errno.EEXIST, "File exists")
        self._change(folder, {name: inode})

    def _unlink(self, path: str, *, dir_fd: int | None = None) -> None:
        folder, name = self._parent(path, dir_fd)
        self._in(folder, name)
        self._change(folder, {name: None})

    def _replace(
        self, source: str, target: str, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> None:
        old, name = self._parent(source, src_dir_fd)
        inode = self._in(old, name)
        new, last = self._parent(target, dst_dir_fd)
        if old is new:
            self._change(old, {last: inode, name: None})
        else:
            self._change(new, {last: inode})
            self._change(old, {name: None})

    def _fsync(self, fd: int) -> None:
        inode = self._file(fd).inode
        self._take_time()
        inode.flush()

    def _take_time(self) -> None:
        if self.flush_seconds:
            self.scheduler.sleep(self.flush_seconds)

    def _find_syncfs(self) -> Callable[[int], None] | None:
        def syncfs(_fd: int) -> None:
            self._count("syncfs")
            if self.failed == "" and self.calls == self.fail_at and self.failing != SHORT:
                self.failed = "syncfs"
                for inode in self._inodes():
                    inode.drop()
                assert isinstance(self.failing, int)
                raise OSError(self.failing, os.strerror(self.failing))
            self._take_time()
            for inode in self._inodes():
                inode.flush()

        return syncfs if self.syncfs else None

    def _flock(self, fd: int, how: int) -> None:
        file = self._file(fd)
        others = [mode for one, mode in file.inode.locks.items() if one is not file]
        if (how & fcntl.LOCK_EX and others) or fcntl.LOCK_EX in others:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        file.inode.locks[file] = how & ~fcntl.LOCK_NB

    def _boot_id(self) -> str:
        return self.boot

    def _open_sqlite(self, path: str, _wait: float) -> sqlite3.Connection:
        disk = self

        class Connection(sqlite3.Connection):
            """A database in memory, whose commits are on the disk."""

            def __del__(self) -> None:
                """A program that crashes closes nothing, which Python 3.13 would warn of."""
                self.close()

            def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
                if statement == "COMMIT":
                    disk._count("commit")
                    if disk.failed == "" and disk.calls == disk.fail_at and disk.failing != SHORT:
                        disk.failed = "commit"
                        raise sqlite3.OperationalError("disk I/O error")
                result = super().execute(statement, *parameters)
                if statement == "COMMIT":
                    disk.databases[path] = self.serialize()
                return result

        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, factory=Connection)
        if path in self.databases:
            connection.deserialize(self.databases[path])
        return connection


def _overwrite(data: bytearray, offset: int, new: bytes) -> None:
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(new)] = new
