"""Time from the start of the command to its version and to its first PDU, against an interpreter that does nothing.

Compiled modules are kept, as in an installed program, whatever the environment says: compiling all of them would take
longer than the rest.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_KEYS = ("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3")
_OURS = (sys.executable, "-c", "from movescu.cli.main import run; run()")  # as the console script does


_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _seconds(command: tuple[str, ...]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=_ENVIRONMENT)
    return time.perf_counter() - begun


def _free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return str(sock.getsockname()[1])


def _seconds_to_request(*arguments: str) -> float:
    """Measure from the start of a retrieve to the A-ASSOCIATE-RQ on the wire."""
    with socket.create_server(("127.0.0.1", 0)) as archive:
        begun = time.perf_counter()
        command = [*_OURS, *_KEYS, *arguments, "127.0.0.1", str(archive.getsockname()[1])]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=_ENVIRONMENT) as process:
            sock, _ = archive.accept()
            sock.recv(6)
            seconds = time.perf_counter() - begun
            sock.close()
            process.wait()
    return seconds


def _seconds_to_request_with_port() -> float:
    with tempfile.TemporaryDirectory() as folder:
        return _seconds_to_request("--port", _free_port(), "--output-directory", folder)


def measure(runs: int) -> Iterator[tuple[str, float, float, float]]:
    """Yield each row: name, medians of ours and of the bare interpreter in seconds, and the largest ratio allowed."""
    rows: tuple[tuple[str, Callable[[], float], float], ...] = (
        ("start to --version, against python -c pass", lambda: _seconds((*_OURS, "--version")), 2.5),
        ("start to the A-ASSOCIATE-RQ by -k, against python -c pass", _seconds_to_request, 4.0),
        ("the same with --port, against python -c pass", _seconds_to_request_with_port, 4.0),
    )
    for name, ours, most in rows:
        ours()  # compiles the modules
        pairs = [(ours(), _seconds((sys.executable, "-c", "pass"))) for _ in range(runs)]
        yield name, statistics.median(o for o, _ in pairs), statistics.median(bare for _, bare in pairs), most
