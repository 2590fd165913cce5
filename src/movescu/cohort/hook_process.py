"""The process of one command: JSON on its standard input, its output in the log, and its end on request.

The command leads a session of its own: Ctrl-C on the terminal does not reach it, so that it is this program that ends
it, with all of its process group, by SIGTERM and then by SIGKILL. Standard input is a file without a name rather than a
pipe: a command need not read it. A process that the command left behind with its output open is not awaited.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections import deque
from typing import IO, TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_log: Final = logger_of("movescu.retrieve")

_SECRETS: Final = ("MOVESCU_PASSWORD",)
"""Variables that a command does not inherit."""
_GRACE: Final = 5.0
"""Seconds from SIGTERM to SIGKILL."""
_SLICE: Final = 0.25
"""Seconds. Longest interval between two looks at whether the command is to end."""
_DRAIN: Final = 1.0
"""Seconds in which output is still read after the end of the command."""
_LINE: Final = 4096  # bytes of output that are logged as one line
_HAS_GROUPS: Final = hasattr(os, "killpg")
"""Whether processes form groups: on Windows the command alone is ended, and at once."""
_KILL: Final[int] = getattr(signal, "SIGKILL", signal.SIGTERM)
_LAST: Final = 5  # lines of output that explain a failure


class HookProcess:
    """A command that runs. ``name`` begins each line of its output in the log. Raise ``OSError`` or ``ValueError``."""

    def __init__(self, arguments: Sequence[str], document: bytes, name: str) -> None:
        self._name = name
        self.last: deque[str] = deque(maxlen=_LAST)
        """Last lines of its output."""
        environment = {key: value for key, value in os.environ.items() if key not in _SECRETS}
        with tempfile.TemporaryFile() as file:
            file.write(document)
            file.seek(0)
            self._process = subprocess.Popen(  # noqa: S603 - the user's own command, without a shell
                arguments,
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        assert self._process.stdout is not None  # a pipe
        self._reader = clock.Thread(
            target=self._read, args=(self._process.stdout,), name="movescu-hook-output", daemon=True
        )
        self._reader.start()

    def _read(self, output: IO[bytes]) -> None:
        with output, contextlib.suppress(OSError, ValueError):
            while line := output.readline(_LINE):
                text = line.decode("utf-8", "replace").rstrip("\r\n")
                self.last.append(text)
                _log.info("%s: %s", self._name, text)

    def wait(self, stopping: Callable[[], bool]) -> int:
        """Wait for the end and return the exit status, negative for a signal; end the command once ``stopping``."""
        asked = 0.0
        while self._process.poll() is None:
            if self._reader.is_alive():
                self._reader.join(_SLICE)  # its output ends with the command, as a rule
            else:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_SLICE)
            if stopping():
                now = clock.now()
                if not asked:
                    asked = now
                    self._end(signal.SIGTERM)
                elif now - asked > _GRACE:
                    self._end(_KILL)
        if asked:
            self._end(_KILL)  # what is left of its group
        self._reader.join(_DRAIN)
        return self._process.returncode

    def _end(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if _HAS_GROUPS:
                os.killpg(self._process.pid, number)
            else:
                self._process.kill()
