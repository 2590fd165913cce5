"""Workers in processes of their own, behind pipes: what ``cohort.cluster.engine`` is over Dask, started in no time.

A process calls what it is sent in threads, and answers with the results. It can be killed like any other.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from movescu._runtime import clock
from movescu.storage import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SERVE = "import process_engine; process_engine.serve({})"


def serve(full: str = "") -> None:
    """Call what arrives on standard input. ``full``: ``disk``, nothing can be written; ``manifest``, that alone."""

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if full == "disk":
        files.writev = files.write = files.pwrite = refuse
    elif full:
        files.write = refuse
    output, writing = sys.stdout.buffer, threading.Lock()

    def call(key: str, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
        answer = pickle.dumps((key, function(*arguments)))
        with writing:
            output.write(answer)
            output.flush()

    with contextlib.suppress(EOFError):
        while True:
            threading.Thread(target=call, args=pickle.load(sys.stdin.buffer), daemon=True).start()


class ProcessEngine:
    """Processes as workers; ``titles``: their names. ``full``: of those whose disks are; ``what``: see ``serve``."""

    def __init__(self, titles: Iterable[str], full: Iterable[str] = (), what: str = "disk") -> None:
        self._full, self._what = frozenset(full), what
        self.gone = False
        self.silent = False
        self.workers: dict[str, str] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        """By title: of the one that was started last."""
        self._calls: dict[str, Callable[[object, str], None]] = {}
        self._every: dict[str, subprocess.Popen[bytes]] = {}
        self._begun = clock.now()
        self._number = 0
        for title in titles:
            self.start(title)

    @property
    def seen(self) -> float:
        return self._begun - 1000.0 if self.silent else clock.now()

    def start(self, title: str) -> None:
        path = ":".join(sys.path)
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE.format(repr(self._what if title in self._full else ""))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": path},
        )
        address = f"process {process.pid}"
        self.processes[title] = self._every[address] = process
        self.workers[address] = title
        threading.Thread(target=self._read, args=(address, process), daemon=True).start()

    def end(self, title: str, number: signal.Signals) -> None:
        """Send a signal to a worker; one that is stopped is given up, as by a scheduler that misses its heartbeat."""
        process = self.processes[title]
        process.send_signal(number)
        if number == signal.SIGSTOP:
            self.workers.pop(f"process {process.pid}", None)

    def _read(self, address: str, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as stdout, contextlib.suppress(EOFError, pickle.UnpicklingError):
            while True:
                key, result = pickle.load(stdout)
                if (then := self._calls.pop(key, None)) is not None:
                    then(result, "")
        self.workers.pop(address, None)

    def call(
        self,
        address: str,
        name: str,
        function: Callable[..., object],
        arguments: tuple[object, ...],
        then: Callable[[object, str], None],
    ) -> str:
        self._number += 1
        key = f"{name}-{self._number}"
        self._calls[key] = then
        stdin = self._every[address].stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):
            stdin.write(pickle.dumps((key, function, arguments)))
            stdin.flush()
        return key

    def forget(self, key: str) -> None:
        self._calls.pop(key, None)

    def close(self) -> None:
        for process in self._every.values():
            process.kill()
            process.wait()
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
