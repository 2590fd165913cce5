"""Runs a retrieve as its user does: the command in a process of its own, and what it left behind.

``movescu`` runs ours, ``dcmtk`` the oracle of the same name. Of ours, each run is held to what no run may do, whatever
else it was for: show a traceback or a Python warning, report an error of its own, leave a temporary file. The process
runs in its output folder, so a file that goes astray is seen.

The process is one of ``forked``, which is ready at once; where a command stands before ours, or the environment is not
what Python was started in, it is ``python -m movescu``.
"""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
import threading
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import forked
import logging_state
import peers

from movescu._runtime.record import replace
from movescu.cli.commands.retrieve import run_command
from movescu.cli.options.command_line import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from forked import Forked

PATIENCE = 60.0  # seconds; a run that takes longer hangs

OURS = forked.RUN
NAMED_FILES = "import movescu.storage.writer as writer; writer._UNNAMED = 0\n"
"""A program's first line: files are written under temporary names, as where the file system cannot do without."""
OURS_WITH_NAMED_FILES = f"{NAMED_FILES}{OURS}"
_INTERPRETER = shlex.split(os.environ.get("MOVESCU_INTERPRETER", ""))
"""The command of the interpreter that runs ours, if it is not that of the tests: Python for Windows, for example."""
_NEVER = ("Traceback", "Exception ignored", "internal error", "unexpected exception")


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

    def hold_to(self, code: int | None) -> None:
        """Hold a run of ours to its exit code, None for any, and to what no run may do."""
        assert code in (None, self.code), f"exit code {self.code} instead of {code}:\n{self.log}"
        assert not [words for words in _NEVER if words in self.log], self.log
        assert not [name for name in self.files if name.startswith(".movescu-")]


class Running:
    """Our command while it runs."""

    def __init__(self, process: subprocess.Popen[bytes] | Forked, log: int, folder: Path) -> None:
        self._process = process
        self._log = log
        self._folder = folder
        self._lines: list[str] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with open(self._log, errors="replace") as log:  # a descriptor
            for line in log:
                with self._more:
                    self._lines.append(line)
                    self._more.notify_all()

    def await_log(self, text: str, times: int = 1) -> None:
        """Wait until it has logged lines with this text, so many."""
        with self._more:
            assert self._more.wait_for(lambda: sum(text in line for line in self._lines) >= times, PATIENCE), (
                f"{text!r} was not logged:\n{''.join(self._lines)}"
            )

    @property
    def lines(self) -> tuple[str, ...]:
        """What it has logged so far."""
        with self._more:
            return tuple(self._lines)

    @property
    def pid(self) -> int:
        """The ID of the process."""
        return self._process.pid

    def signal(self, *numbers: int) -> None:
        """Send it signals."""
        for number in numbers:
            self._process.send_signal(number)

    def ended(self, within: float) -> bool:
        """Return whether it has ended, after waiting for that at most as many seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(within)
        return self._process.returncode is not None

    def end(self) -> Outcome:
        """Wait for its end."""
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {PATIENCE} s:\n{''.join(self._lines)}") from None
        self._reader.join()
        return Outcome(code, "".join(self._lines), "", self._folder)

    def kill(self) -> None:
        """End it, if it has not ended."""
        self._process.kill()
        self._process.wait()
        self._reader.join()


@contextmanager
def running(*arguments: object, folder: Path, prefix: Sequence[str] = (), program: str = OURS) -> Iterator[Running]:
    """Start our command in ``folder``; it does not outlive the block. ``program``: another text of Python."""
    log, written = os.pipe()
    with open(os.devnull, "wb") as nothing, open(written, "wb") as stderr:  # descriptors
        process = _start(program, arguments, folder, prefix, nothing.fileno(), stderr.fileno())
    handle = Running(process, log, folder)
    try:
        yield handle
    finally:
        handle.kill()


def movescu(*arguments: object, folder: Path, code: int | None = 0, prefix: Sequence[str] = ()) -> Outcome:
    """Run our command in ``folder``, hold it to its exit code, None for any; ``prefix`` is a command that runs it."""
    with open(os.memfd_create("output"), "w+b") as output, open(os.memfd_create("log"), "w+b") as log:
        process = _start(OURS, arguments, folder, prefix, output.fileno(), log.fileno())
        try:
            ended = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"still running after {PATIENCE} s:\n{_text(log)}") from None
        outcome = Outcome(ended, _text(log), _text(output), folder)
    outcome.hold_to(code)
    return outcome


def here(*arguments: object, folder: Path, code: int | None = 0, **settings: Any) -> Outcome:  # any field
    """Run our command in this process, into ``folder``, and hold it to its exit code.

    ``settings`` are fields of ``CommandSettings`` and override the arguments: a time-out need not be whole seconds. For
    what only a process can show (descriptors, signals, its own standard error) there is ``movescu``.
    """
    parsed = replace(parse([*map(str, arguments)]), output_directory=str(folder), **settings)
    log = io.StringIO()
    with logging_state.restored(), redirect_stderr(log):
        outcome = Outcome(run_command(parsed), log.getvalue(), "", folder)
    outcome.hold_to(code)
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


def _start(
    program: str, arguments: Sequence[object], folder: Path, prefix: Sequence[str], stdout: int, stderr: int
) -> subprocess.Popen[bytes] | Forked:
    words = [*map(str, arguments)]
    if not prefix and not _INTERPRETER and forked.can_start():
        return forked.start(program, words, str(folder), stdout, stderr)
    started = ["-m", "movescu"] if program == OURS else ["-c", program]
    command = [*prefix, *(_INTERPRETER or [sys.executable]), "-W", "error", *started, *words]
    return subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)


def _text(file: BinaryIO) -> str:
    file.seek(0)
    with io.TextIOWrapper(file, errors="replace") as text:
        return text.read()


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
