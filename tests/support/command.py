"""Runs a retrieve as its user does: the command in a process of its own, and what it left behind.

``movescu`` runs ours, ``dcmtk`` the oracle of the same name. Of ours, each run is held to what no run may do, whatever
else it was for: show a traceback or a Python warning, report an error of its own, leave a temporary file. The process
runs in its output folder, so a file that goes astray is seen.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import peers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PATIENCE = 60.0  # seconds; a run that takes longer hangs

_NEVER = ("Traceback", "Exception ignored", "internal error", "an error of ours")


@dataclass(frozen=True)
class Outcome:
    """What a run came to. ``log`` is what it wrote to standard error."""

    code: int
    log: str
    output: str
    folder: Path

    @property
    def files(self) -> dict[str, Path]:
        """Everything in the output folder, by name."""
        return {path.name: path for path in sorted(self.folder.iterdir())}


def movescu(*arguments: object, folder: Path, code: int = 0, prefix: Sequence[str] = ()) -> Outcome:
    """Run our command in ``folder`` and hold it to its exit code; ``prefix`` is a command that runs it."""
    outcome = _run([*prefix, sys.executable, "-W", "error", "-m", "movescu", *map(str, arguments)], folder, None)
    assert outcome.code == code, f"exit code {outcome.code} instead of {code}:\n{outcome.log}"
    assert not [words for words in _NEVER if words in outcome.log], outcome.log
    assert not [name for name in outcome.files if name.endswith(".part")]
    return outcome


def dcmtk(*arguments: object, folder: Path) -> Outcome:
    """Run DCMTK's command in ``folder``, without the waits of Nagle's algorithm."""
    return _run([peers.dcmtk_movescu(), *map(str, arguments)], folder, peers.quick_environment())


def without_privileges() -> list[str]:
    """A prefix that takes from root what other users do not have: to write everywhere, to listen below port 1024.

    Not by another user's ID: the files of this project need not be readable for others.
    """
    return [] if os.geteuid() else ["setpriv", "--bounding-set=-all", "--"]


def within(memory: int) -> list[str]:
    """A prefix that lets the process have so many bytes of data, and no more."""
    return ["prlimit", f"--data={memory}", "--"]


def _run(command: Sequence[str], folder: Path, environment: dict[str, str] | None) -> Outcome:
    try:
        result = subprocess.run(
            command,
            check=False,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"still running after {PATIENCE} s:\n{error.stderr!r}") from None
    return Outcome(result.returncode, result.stderr, result.stdout, folder)
