"""Thumbnails of series (``--thumbnails``), decoded by ``thumbnail_worker`` in a process of its own.

A file that crashes the process, or takes longer than ``SECONDS``, costs a placeholder, and a new process takes the next
one. Nothing is decoded in this process, nor while objects are received.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from movescu.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

SECONDS: Final = 20.0
"""Time limit for a picture, in seconds, including the start of the process."""
_MOST: Final = 2000
"""Highest number of pictures on a page."""
_LONGEST: Final = 1 << 20
"""Longest answer, in bytes."""
MEMORY: Final = 1 << 30
"""Limit of the process's address space, in bytes."""


def decoder_command(memory: int = MEMORY) -> tuple[str, ...]:
    """Return the command that decodes within so many bytes.

    Its modules are those of this process, wherever they are: in a zip application, ``python -m`` would not find them.
    """
    program = f"import sys; sys.path[:] = {sys.path!r}; from movescu.report.thumbnail_worker import main; main()"
    return sys.executable, "-c", program, str(memory)


def require_thumbnails() -> None:
    """Raise ``UsageError`` if the packages for thumbnails are not installed."""
    missing = [name for name, module in (("NumPy", "numpy"), ("Pillow", "PIL")) if find_spec(module) is None]
    if missing:
        raise UsageError(f"--thumbnails needs {' and '.join(missing)}", hint="pip install 'movescu[report]'")


def thumbnails(files: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the pictures of files by the keys of these, or ``why`` there is none."""
    made: dict[str, dict[str, Any]] = {}
    with Decoder() as decoder:
        for key, path in files.items():
            if len(made) >= _MOST:
                break
            made[key] = decoder.picture(path)
    return made


class Decoder:
    """A process that decodes, started when it is needed; a context manager.

    ``command``: Default: ours. ``seconds``: that a picture may take.
    """

    def __init__(self, command: Sequence[str] | None = None, seconds: float = SECONDS) -> None:
        self._command = command or decoder_command()
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.SimpleQueue[bytes]
        self._reader: threading.Thread

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def picture(self, path: str) -> dict[str, Any]:
        """Return the picture of a file, or ``why`` there is none."""
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        answer = b""
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(path).encode() + b"\n")
            process.stdin.flush()
            try:
                answer = self._answers.get(timeout=self._seconds)
            except queue.Empty:
                self._end()
                return {"why": "takes too long to decode"}
        if answer.endswith(b"\n"):
            told: dict[str, Any] = json.loads(answer)
            return told
        self._end()
        return {"why": "crashes its decoder"}

    def _start(self) -> subprocess.Popen[bytes]:
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the retrieve
        )
        assert process.stdout is not None
        self._answers = queue.SimpleQueue()
        # By a thread: Windows can wait for no pipe.
        self._reader = threading.Thread(target=_read, args=(process.stdout, self._answers), daemon=True)
        self._reader.start()
        return process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            self._reader.join()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()


def _read(answers: BinaryIO, into: queue.SimpleQueue[bytes]) -> None:
    """Pass on each line; one without a line end if the process has ended or says too much."""
    while (line := answers.readline(_LONGEST)).endswith(b"\n"):
        into.put(line)
    into.put(line)
