"""Runs a retrieve as its user does: the command in a process of its own, and what it left behind.

``movescu`` runs ours, ``dcmtk`` the oracle of the same name. Of ours, each run is held to what no run may do, whatever
else it was for: show a traceback or a Python warning, report an error of its own, leave a temporary file. The process runs in its
output folder, so a file that goes astray is seen.
"""

from __future__ import annotations

import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import peers

if TYPE_CHECKING:
    from collections.abc import Sequence

PATIENCE = 60.0  # seconds; a run that takes longer hangs

_NEVER = ("Traceback", "Exception ignored", "internal error", "an error of ours")


@dataclass(frozen=True)
class Outcome:
    """What a run came to. ``log`` is what it wrote to standard error."""

    code: int
    log: str
    output: str
    folder: Path
    peak_memory: int
    """Bytes: the most that the process held resident."""

    @property
    def files(self) -> dict[str, Path]:
        """Everything in the output folder, by name."""
        return {path.name: path for path in sorted(self.folder.iterdir())}


def movescu(
    *arguments: object, folder: Path, code: int = 0, privileged: bool = True, environment: dict[str, str] | None = None
) -> Outcome:
    """Run our command in ``folder`` and hold it to its exit code.

    ``privileged`` false: as a user who may neither write everywhere nor listen below port 1024.
    """
    prefix = [] if privileged else _no_privileges()
    outcome = _run([*prefix, sys.executable, "-W", "error", "-m", "movescu", *map(str, arguments)], folder, environment)
    assert outcome.code == code, f"exit code {outcome.code} instead of {code}:\n{outcome.log}"
    assert not [words for words in _NEVER if words in outcome.log], outcome.log
    assert not [name for name in outcome.files if name.endswith(".part")]
    return outcome


def dcmtk(*arguments: object, folder: Path) -> Outcome:
    """Run DCMTK's command in ``folder``, without the waits of Nagle's algorithm."""
    return _run([peers.dcmtk_movescu(), *map(str, arguments)], folder, peers.quick_environment())


def _no_privileges() -> Sequence[str]:
    """A prefix that takes from root what other users do not have. The files of this project stay readable, which they
    need not be for another user.
    """
    return [] if os.geteuid() else ["setpriv", "--bounding-set=-all", "--"]


def _run(command: Sequence[str], folder: Path, environment: dict[str, str] | None) -> Outcome:
    with tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=log
        )
        hung, usage = _wait(process)
        texts = []
        for file in (log, output):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    assert not hung, f"still running after {PATIENCE} s: {shutil.which(command[0])}\n{texts[0]}"
    return Outcome(process.returncode, texts[0], texts[1], folder, usage.ru_maxrss * 1024)


def _wait(process: subprocess.Popen[bytes]) -> tuple[bool, resource.struct_rusage]:
    """Wait for the end, and kill where it does not come. Not by ``Popen.wait``, which does not tell the memory used."""
    watched = os.pidfd_open(process.pid)
    try:
        hung = not select.select([watched], [], [], PATIENCE)[0]
        if hung:
            process.send_signal(signal.SIGKILL)
    finally:
        os.close(watched)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return hung, usage
