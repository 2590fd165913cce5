"""Faults of the system: calls of a running process that fail, or at which it is killed; file systems that are full.

strace attaches to a process that waits already, so that the calls of its start do not count.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PATIENCE = 30.0


@cache
def can_mount() -> bool:
    """Whether file systems can be mounted here: root may, but not in every container."""
    if os.geteuid():
        return False
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@contextmanager
def tmpfs(folder: Path, options: str) -> Iterator[Path]:
    """Mount a file system in memory on a new folder, with these options of ``mount``."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def remount(folder: Path, options: str) -> None:
    """Change the options of a file system."""
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


class Injector:
    """Injects into the calls of threads that run: ``attach``, then ``finish`` when they have ended."""

    def __init__(self) -> None:
        self._tracer: subprocess.Popen[str] | None = None

    def attach(self, thread: int, injection: str) -> None:
        """Inject into the calls of a thread from now on: ``writev:error=EIO:when=1`` is the first one of that name."""
        call = injection.partition(":")[0]
        self._trace([thread], os.devnull, "-e", f"trace={call}", "-e", f"inject={injection}")

    def record(self, threads: Sequence[int], log: Path) -> None:
        """Write the calls of threads that have to do with files into a log, from now on."""
        self._trace(threads, str(log), "-y", "-s", "0", "-e", "trace=%file,%desc")

    def _trace(self, threads: Sequence[int], log: str, *arguments: str) -> None:
        chosen = [part for thread in threads for part in ("-p", str(thread))]
        tracer = subprocess.Popen(["strace", *chosen, "-o", log, *arguments], stderr=subprocess.PIPE, text=True)
        self._tracer = tracer
        assert tracer.stderr is not None
        for _ in threads:
            said = tracer.stderr.readline()
            assert "attached" in said, said

    def finish(self) -> None:
        """Wait until the tracer has ended, as it does with what it traces."""
        if self._tracer is not None:
            try:
                self._tracer.communicate(timeout=PATIENCE)
            finally:
                self._tracer.kill()


class Point(NamedTuple):
    """A call of a thread, the how many-eth of that name since it was attached to: where something can go wrong."""

    thread: int
    call: str
    number: int


def calls_on(folder: Path, log: Path) -> list[Point]:
    """Find the calls on a folder in a recorded log."""
    counts: Counter[tuple[str, str]] = Counter()
    found = []
    for thread, name, rest in re.findall(r"^(\d+) +(\w+)\((.*)$", log.read_text(), re.MULTILINE):
        counts[thread, name] += 1
        if str(folder) in rest:
            found.append(Point(int(thread), name, counts[thread, name]))
    return found


def threads_of(pid: int) -> set[int]:
    """Give the threads of a process; the main one has its ID."""
    return {int(task) for task in os.listdir(f"/proc/{pid}/task")}  # names are wanted
