"""Make the pictures of README and docs/watching.md from real runs: the query table, and the progress of a retrieve.

The command runs under a pseudo-terminal against the archive of ``python -m movescu.testing --demo``; rich draws what it
wrote as SVG. The archive is slowed down, so that there is progress to be seen. Run it when the display changes.
"""

from __future__ import annotations

import os
import pty
import re
import select
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from fcntl import ioctl
from pathlib import Path

from rich.console import Console
from rich.text import Text

from movescu.testing import Archive
from movescu.testing.demo_objects import write_objects

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
COLUMNS = 100
SHOWN_AFTER = 4.0  # seconds of the retrieve of which the display is shown
_CURSOR = re.compile(r"\x1b\[\d*[AK]|\x1b\[\?25[lh]|\r(?!\n)")


def main() -> None:
    """Write the pictures."""
    PICTURES.mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        own_port = server.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        write_objects(folder)
        with Archive(folder, {"ME": ("127.0.0.1", own_port)}) as archive, tempfile.TemporaryDirectory() as images:
            where = ("-aet", "ME", f"ARCHIVE@{archive.host}:{archive.port}")
            table = run(images, "--query", "--all", *where)
            draw("query", "movescu --query --all -aet ME ARCHIVE@localhost:4242", table)
            keys = ("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.6")
            slow = ("--port", str(own_port), "--limit-rate", "40K", "--verify")
            progress = run(images, *keys, *slow, *where, seconds=SHOWN_AFTER)
            draw(
                "progress",
                "movescu -S -k QueryRetrieveLevel=STUDY -k StudyInstanceUID=1.2.6 --verify -aet ME --port 11112 "
                "ARCHIVE@localhost:4242",
                progress,
            )


def run(folder: str, *arguments: str, seconds: float = 60.0) -> str:
    """Run the command on a terminal and return what is on it, at the end or after some seconds."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    command = [sys.executable, "-m", "movescu", *arguments]
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    environment.pop("NO_COLOR", None)
    output, end = b"", time.monotonic() + seconds
    with subprocess.Popen(  # noqa: S603 - our own command
        command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        while time.monotonic() < end and (select.select([ours], [], [], 0.1)[0] or process.poll() is None):
            try:
                output += os.read(ours, 65536) if select.select([ours], [], [], 0)[0] else b""
            except OSError:  # what Linux says when the last process has closed the terminal
                break
        process.terminate()
    os.close(ours)
    frames = [frame for frame in _CURSOR.split(output.decode()) if frame.strip()]
    return frames[-1] if seconds < 60 else output.decode()


def draw(name: str, command: str, output: str) -> None:
    """Write a picture of a command and its output."""
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    console.print(Text(f"$ {command}", style="bold"))
    console.print(Text.from_ansi(output.replace("\r\n", "\n").rstrip("\n")))
    picture = console.export_svg(title="movescu", unique_id=name)
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)  # fonts would come from elsewhere
    (PICTURES / f"{name}.svg").write_text(f"{picture.rstrip()}\n", encoding="utf-8")
    sys.stdout.write(f"{name}.svg:\n{output}\n")


if __name__ == "__main__":
    main()
