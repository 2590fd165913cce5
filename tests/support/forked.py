"""Processes of our command without the time that Python takes to start: 0.2 s of processor time become 0.02 s.

A server, one for each test worker, has imported all of movescu, and forks a process of its own for each run: with
descriptors, arguments, environment and a working directory of its own, and with an end of its own. What a process
shows beyond its start, it shows here: exit codes, signals, threads, open files, what Python says as it ends.

    python forked.py FD [whole]     serve the requests that come in over a socket
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Mapping
    from io import TextIOWrapper

RUN = "from movescu.cli.main import run; run()"
"""The program that ``python -m movescu`` is."""
_READ_AT_START = ("PYTHON", "MOVESCU_WITHOUT", "LC_", "LANG", "TZ", "MALLOC_", "LD_")
_LARGEST = 1 << 17


class Forked:
    """A process that runs, as ``subprocess.Popen`` has it."""

    def __init__(self, pid: int, handle: int, status: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._handle = handle
        self._status = status

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, give the exit code; raises ``subprocess.TimeoutExpired``."""
        if self.returncode is None:
            self._status.settimeout(timeout)
            try:
                said = self._status.recv(64)
            except TimeoutError:
                raise subprocess.TimeoutExpired(["movescu"], timeout or 0) from None
            self.returncode = int(said)
            self._status.close()
            os.close(self._handle)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if the process is there."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        """Kill it, if it is there."""
        self.send_signal(signal.SIGKILL)


class _Server:
    """This worker's server, started when it is first wanted. It ends with the worker, by the end of the socket."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: socket.socket | None = None
        self._environment: dict[str, str] = {}

    def is_for(self, environment: dict[str, str]) -> bool:
        """Whether Python would start alike in this environment."""
        return _at_start(environment) == _at_start(self._environment or os.environ)

    def request(self, request: bytes, descriptors: list[int]) -> None:
        socket.send_fds(self.started(), [request], descriptors)

    def started(self) -> socket.socket:
        with self._lock:
            if self._requests is None:
                self._requests = self._start()
            return self._requests

    def _start(self) -> socket.socket:
        from effort import is_whole  # here: the server, which is not on the path of support, has this module as well

        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._environment = dict(os.environ)
        with theirs:
            server = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-W",
                    "error",
                    __file__,
                    str(theirs.fileno()),
                    *(["whole"] if is_whole() else []),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        atexit.register(server.wait)
        atexit.register(ours.close)
        return ours


_server = _Server()


def can_start() -> bool:
    """Whether a process of the server is what a new one would be, in the environment as it is now."""
    return hasattr(os, "pidfd_open") and _server.is_for(dict(os.environ))


def make_ready() -> None:
    """Start the server, if it is not: it leaves a socket open, which a test that counts them has to know before."""
    _server.started()


def start(program: str, arguments: list[str], cwd: str, stdout: int, stderr: int) -> Forked:
    """Start a process that runs a program, text of Python, with these arguments; its input is empty."""
    ours, theirs = socket.socketpair()
    request = json.dumps([program, arguments, cwd, dict(os.environ)]).encode()
    assert len(request) < _LARGEST
    with theirs, open(os.devnull) as nothing:  # a descriptor is wanted
        _server.request(request, [nothing.fileno(), stdout, stderr, theirs.fileno()])
    said, (handle,), _, _ = socket.recv_fds(ours, 64, 1)
    return Forked(int(said), handle, ours)


def _at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_AT_START)}


# -- the server --------------------------------------------------------------------------------------------------------


def _serve(requests: socket.socket) -> str | None:
    """Fork for each request; return in the new process, with its program, and at the end without."""
    running: dict[int, tuple[int, socket.socket]] = {}  # handle -> process ID, and where its end is told
    while True:
        by_status = {status.fileno(): handle for handle, (_, status) in running.items()}
        ready, _, _ = select.select([requests.fileno(), *running, *by_status], [], [])
        for handle in {by_status.get(descriptor, descriptor) for descriptor in ready} - {requests.fileno()}:
            _tell_the_end(handle, *running.pop(handle))
        if requests.fileno() not in ready:
            continue
        request, descriptors, _, _ = socket.recv_fds(requests, _LARGEST, 4)
        if not request:
            requests.close()
            for handle, (pid, status) in running.items():
                _tell_the_end(handle, pid, status)
            return None
        pid = os.fork()
        if not pid:
            for mine in (requests, *(status for _, status in running.values())):  # the descriptors are closed there
                mine.detach()
            return _become(request, descriptors)
        handle, status = os.pidfd_open(pid), socket.socket(fileno=descriptors.pop())
        for descriptor in descriptors:
            os.close(descriptor)
        running[handle] = pid, status
        with suppress(BrokenPipeError):
            socket.send_fds(status, [str(pid).encode()], [handle])


def _tell_the_end(handle: int, pid: int, status: socket.socket) -> None:
    """Tell how a process ended; if it has not, the worker has, and so must it."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with status, suppress(BrokenPipeError):
        status.send(str(code).encode())
    os.close(handle)


def _become(request: bytes, descriptors: list[int]) -> str:
    """Return in the process that runs the program."""
    program, arguments, cwd, environment = json.loads(request)
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    os.closerange(3, 1 << 20)
    sys.stdin = sys.__stdin__ = _stream(0, "r", sys.stdin)  # type: ignore[misc] # as Python makes them, once
    sys.stdout = sys.__stdout__ = _stream(1, "w", sys.stdout)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, "w", sys.stderr)  # type: ignore[misc]
    sys.stderr.reconfigure(line_buffering=True)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv[:] = ["movescu", *arguments]
    return str(program)


def _run(program: str, *, whole: bool) -> None:
    """Run a program and end this process; if not ``whole``, without undoing all imports, which takes 40 ms of 60.

    What it leaves is collected, so that what has to be closed and was not is told. An error ends it as ever.
    """
    try:
        exec(program, {"__name__": "__main__"})  # noqa: S102 - as python -c does
    except SystemExit as ended:
        code = ended.code
    else:
        code = 0
    if whole or not isinstance(code, int | None):
        sys.exit(code)
    threading._shutdown()  # type: ignore[attr-defined] # as Python does at its end, and in this order
    atexit._run_exitfuncs()
    gc.collect()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.exit(code)  # Python has words and a code for this
    os._exit(code or 0)


def _stream(number: int, mode: str, like: TextIO) -> TextIOWrapper:
    """Make a standard stream anew: what the old one knows of its file is not so any more."""
    return cast("TextIOWrapper", open(number, mode, encoding=like.encoding, errors=like.errors, closefd=False))


def _import_all() -> None:
    import movescu  # tests import this module for its other half

    for module in pkgutil.walk_packages(movescu.__path__, "movescu."):
        if not module.name.startswith("movescu.testing") and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.freeze()  # what is there already need not be looked through, and copied, by each of them


if __name__ == "__main__":
    _import_all()
    _, number, *how = sys.argv
    found = _serve(socket.socket(fileno=int(number)))
    if found is not None:
        _run(found, whole=bool(how))
