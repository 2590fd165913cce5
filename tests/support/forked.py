"""Processes of our command without the time that Python takes to start: 0.2 s of processor time become 0.02 s.

A server, one for each test worker, has imported all of movescu, and forks a process of its own for each run: with
descriptors, arguments, environment and a working directory of its own, and with an end of its own. What a process
shows beyond its start, it shows here: exit codes, signals, threads, open files, what Python says as it ends.

    python forked.py FD     serve the requests that come in over a socket
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
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._environment = dict(os.environ)
        with theirs:
            server = subprocess.Popen(
                [sys.executable, "-P", "-W", "error", __file__, str(theirs.fileno())],
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
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, _LARGEST, 4)
        if not request:
            requests.close()
            return None
        if not os.fork():
            requests.detach()
            return _become(request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _become(request: bytes, descriptors: list[int]) -> str:
    """Return in the process that runs the program; its parent, which ends here, tells of its end."""
    program, arguments, cwd, environment = json.loads(request)
    pid = os.fork()
    if pid:
        handle, status = os.pidfd_open(pid), socket.socket(fileno=descriptors.pop())
        for descriptor in descriptors:
            os.close(descriptor)
        socket.send_fds(status, [str(pid).encode()], [handle])
        select.select([handle, status.fileno()], [], [])
        with suppress(ProcessLookupError):  # it has ended; or the worker has, and it must
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with suppress(BrokenPipeError):
            status.send(str(code).encode())
        os._exit(0)
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
    found = _serve(socket.socket(fileno=int(sys.argv[1])))
    if found is not None:
        exec(found, {"__name__": "__main__"})  # noqa: S102 - as python -c does
