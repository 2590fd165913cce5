"""Takes away what other systems lack, so that what stands in for it is tested here.

    make test-without X=locks       run the suite without locks

A row is a name of ``ROWS``. ``take_away`` removes what it names from this process, before movescu is imported;
``environment`` has the variables by which a process of our command does so at its start (``sitecustomize``). Where
``MOVESCU_WITHOUT`` is set, ``conftest`` calls ``begin`` and ``begin_processes``: what the tests have imported of
movescu is without it, and so are the processes that they start; the tests themselves, and their peers, have it.
"""

from __future__ import annotations

import errno
import functools
import importlib
import os
import pkgutil
import select
import shutil
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE: Final = "MOVESCU_WITHOUT"
_HERE: Final = str(Path(__file__).parent)
_GONE: Final = object()
_BETWEEN: Final = "genericpath", "posixpath", "functools"
_undo: list[tuple[Any, str, Any]] = []


def take_away(row: str) -> None:
    """Take away what a row names, from modules that movescu has still to import."""
    ROWS[row]()


def environment(row: str) -> dict[str, str]:
    """The variables with which a process of our command starts without what a row names."""
    variables = {VARIABLE: row, "PYTHONPATH": _HERE}
    if row in ("utf-8", "windows"):
        variables |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    if row == "windows":  # the code page of a console in Western Europe; names of files are in UTF-8
        variables |= {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "cp1252"}
    return variables


def begin() -> None:
    """Have what this process of pytest imports of movescu be without what ``MOVESCU_WITHOUT`` names, if anything."""
    row = os.environ.get(VARIABLE, "")
    if not row:
        return
    take_away(row)
    package = importlib.import_module("movescu")
    for module in pkgutil.walk_packages(package.__path__, "movescu."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    while _undo:
        place, name, value = _undo.pop()
        if isinstance(place, dict):
            place.pop(name, None)
            if value is not _GONE:
                place[name] = value
        else:
            setattr(place, name, value)


def begin_processes() -> None:
    """Have the processes that this one starts from now on be without what ``MOVESCU_WITHOUT`` names, if anything."""
    if row := os.environ.get(VARIABLE, ""):
        os.environ.update(environment(row))


def _remove(module: Any, *names: str) -> None:
    for name in names:
        if hasattr(module, name):
            _undo.append((module, name, getattr(module, name)))
            delattr(module, name)


def _replace(module: Any, name: str, value: Any) -> None:
    _undo.append((module, name, getattr(module, name)))
    setattr(module, name, value)


def _remove_modules(*names: str) -> None:
    for name in names:
        _undo.append((sys.modules, name, sys.modules.get(name, _GONE)))
        sys.modules[name] = None  # type: ignore[assignment] # an import raises ImportError


def _called_by_movescu() -> bool:
    """Whether movescu called, through a function of ``os.path`` or not."""
    frame = sys._getframe(1)
    while frame.f_back is not None and (frame.f_globals is globals() or frame.f_globals.get("__name__") in _BETWEEN):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "")).startswith("movescu.")


# -- the rows ----------------------------------------------------------------------------------------------------------


def _locks() -> None:
    _remove_modules("fcntl")


def _hard_links() -> None:
    def link(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    _replace(os, "link", link)
    _remove_modules("ctypes")  # renameat2, and syncfs with it


def _unnamed_files() -> None:
    _remove(os, "O_TMPFILE")


def _quick_ack() -> None:
    _remove(socket, "TCP_QUICKACK", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")


def _epoll() -> None:
    _remove(select, *(name for name in dir(select) if name.lower().startswith("epoll")))
    _remove(socket, "MSG_DONTWAIT")


def _poll() -> None:
    _epoll()
    _remove(select, *(name for name in dir(select) if name.lower().startswith("poll")))


def _signals() -> None:
    _remove(signal, "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGALRM", "pthread_sigmask", "sigwait", "pthread_kill")
    _remove(os, "killpg", "pipe2", "setsid")


def _utf_8() -> None:
    """Nothing: the environment has it."""


def _directories() -> None:
    """No directory can be opened, no name is relative to one, and a file has to be closed to get another name."""
    supported = set(os.supports_dir_fd)
    _replace(shutil, "disk_usage", _by_other_means(os.statvfs))
    _replace(os, "supports_dir_fd", set())
    _remove(os, "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_TMPFILE")
    _remove(os, "pread", "pwrite", "preadv", "pwritev", "readv", "writev", "statvfs", "fstatvfs", "fchmod")
    assert os.open in supported
    _replace(os, "open", _not_of_directories(os.open))
    _replace(os, "replace", _of_closed_files(os.replace, 2))
    _replace(os, "rename", _of_closed_files(_of_new_names(os.rename, os.link, os.unlink), 2))
    _replace(os, "unlink", _of_closed_files(os.unlink, 1))
    _replace(os, "fsync", _of_writable_files(os.fsync))


def _by_other_means(statvfs: Callable[[Any], os.statvfs_result]) -> Callable[[Any], Any]:
    """``shutil.disk_usage``, which every system has, where ``os`` has no ``statvfs``."""

    def disk_usage(path: Any) -> Any:
        found = statvfs(path)
        blocks = found.f_blocks, found.f_blocks - found.f_bfree, found.f_bavail
        return shutil._ntuple_diskusage(*(count * found.f_frsize for count in blocks))

    return disk_usage


def _not_of_directories(function: Callable[..., int]) -> Callable[..., int]:
    @functools.wraps(function)
    def opened(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if _called_by_movescu() and os.path.isdir(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return function(path, flags, *arguments, **named)

    return opened


def _of_new_names(rename: Callable[..., None], link: Callable[..., None], unlink: Callable[..., None]) -> Any:
    """``os.rename`` of Windows, which replaces nothing."""

    @functools.wraps(rename)
    def renamed(source: Any, target: Any, **named: Any) -> None:
        if not _called_by_movescu() or os.path.isdir(source):
            rename(source, target, **named)
            return
        link(source, target)
        unlink(source)

    return renamed


def _of_closed_files(function: Callable[..., None], paths: int) -> Callable[..., None]:
    @functools.wraps(function)
    def changed(*arguments: Any, **named: Any) -> None:
        if _called_by_movescu() and any(map(_is_open, arguments[:paths])):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), arguments[0])
        function(*arguments, **named)

    return changed


def _is_open(path: Any) -> bool:
    """Whether this process has a file open."""
    try:
        wanted = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    for number in os.listdir("/proc/self/fd"):
        try:
            status = os.fstat(int(number))
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode) and os.path.samestat(status, wanted):
            return True
    return False


def _of_writable_files(function: Callable[[int], None]) -> Callable[[int], None]:
    @functools.wraps(function)
    def flushed(fd: int) -> None:
        flags = Path(f"/proc/self/fdinfo/{fd}").read_text().partition("flags:")[2].split()[0]
        if _called_by_movescu() and int(flags, 8) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        function(fd)

    return flushed


def _case() -> None:
    """Names that differ in case alone are one name."""
    for name, paths in (("open", 1), ("stat", 1), ("mkdir", 1), ("unlink", 1), ("replace", 2), ("link", 2)):
        original = getattr(os, name)
        folding = _folding(original, paths, "dst_dir_fd" if paths == 2 else "dir_fd")
        _replace(os, name, folding)
        if original in os.supports_dir_fd:
            os.supports_dir_fd.add(folding)


def _folding(function: Callable[..., Any], paths: int, keyword: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def folded(*arguments: Any, **named: Any) -> Any:
        if _called_by_movescu() and not isinstance(arguments[0], int):
            first = named.get("src_dir_fd" if paths == 2 else keyword)
            arguments = (_as_there(arguments[0], first), *arguments[1:])
            if paths == 2:
                arguments = (arguments[0], _as_there(arguments[1], named.get(keyword)), *arguments[2:])
        return function(*arguments, **named)

    return folded


def _as_there(path: str | bytes, directory: int | None) -> str:
    """A path with the names that there are, in whatever case."""
    text = os.fsdecode(path)
    if directory is None and not text.startswith("/"):
        return text
    done, parts = ("/", text[1:].split("/")) if directory is None else ("", text.split("/"))
    for part in parts:
        done = os.path.join(done, _name_there(part, done, directory))
    return done


def _name_there(name: str, above: str, directory: int | None) -> str:
    if name in ("", ".", ".."):
        return name
    try:
        place = above if directory is None else f"/proc/self/fd/{directory}/{above}"
        names = os.listdir(place)
    except OSError:
        return name
    if name in names:
        return name
    return next((other for other in names if other.casefold() == name.casefold()), name)


def _windows() -> None:
    """Take everything away that Windows lacks."""
    _case()
    _directories()
    _hard_links()
    _remove_modules("fcntl", "pwd", "grp", "resource", "termios", "syslog", "pty", "tty")
    _quick_ack()
    _poll()
    _signals()


ROWS: Final[dict[str, Callable[[], None]]] = {
    "locks": _locks,
    "hard-links": _hard_links,
    "unnamed-files": _unnamed_files,
    "quick-ack": _quick_ack,
    "epoll": _epoll,
    "poll": _poll,
    "signals": _signals,
    "utf-8": _utf_8,
    "directories": _directories,
    "case": _case,
    "windows": _windows,
}
"""Name -> what takes it away; the last row has all of them."""
