"""What the examples of a page run in: a folder with what they find in it, an archive, programs and sites."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import documents
import peers

from movescu.testing import Archive
from movescu.testing.demo_objects import write_objects

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 60.0  # seconds; an example that takes longer hangs
SITES = documents.only(documents.ROOT / "docs" / "index.md", "toml")
SHELLS = {
    "sh": ["bash", "-euo", "pipefail", "-c"],
    "bash": ["bash", "-euo", "pipefail", "-c"],
    "zsh": ["zsh", "-fc"],
    "fish": ["fish", "-Nc"],
    "python": [sys.executable, "-W", "error", "-c"],
}
"""Language of a block -> what runs it."""
SET_UP = {"zsh": "autoload -Uz compinit; compinit -u -D; "}


class Ran(NamedTuple):
    """What a block came to."""

    code: int
    output: str


class Surroundings:
    """A folder with what examples find in it, and an archive; ``adapted`` puts its address into a text."""

    def __init__(self, folder: Path, archive: Archive, own_port: int, more_ports: dict[int, int]) -> None:
        self.folder, self.objects = folder, folder / "archive"
        self.variables = {"HOME": str(folder), "PYTHONWARNINGS": "error"}
        self.sites = folder / ".config" / "movescu" / "sites.toml"
        self._places = [
            (r"\b4242\b", str(archive.port)),
            (r"\b11112\b", str(own_port)),
            *((rf"\b{number}\b", str(port)) for number, port in more_ports.items()),
        ]
        self._background = [
            (r"movescu\.testing --demo", "movescu.testing --demo --port 4242 --destination ME=127.0.0.1:11112"),
            (r"\b4242\b", "0"),  # not that of the archive of the page
        ]
        (folder / "examples").symlink_to(documents.ROOT / "examples")
        self._started: list[subprocess.Popen[str]] = []
        # Ours alone: beside it, pynetdicom has programs with the names of DCMTK's.
        self._programs = folder / "bin"
        self._programs.mkdir()
        self.add_programs("movescu", "movescu-py", "python", "python3")

    def add_programs(self, *names: str) -> None:
        """Let blocks find programs of this environment."""
        for name in names:
            script = self._programs / name
            script.write_text(f'#!/bin/sh\nexec {Path(sys.executable).parent / name} "$@"\n')
            script.chmod(0o755)

    def adapted(self, text: str) -> str:
        for place, content in self._places:
            text = re.sub(place, content, text)
        return text

    def run(self, block: documents.Block) -> Ran:
        """Run a block to its end, or one of the background until it has put out a line."""
        if block.mark == "background":
            return Ran(0, self._start(block))
        with self._process(block, self.adapted(block.text)) as process:
            try:
                output, _ = process.communicate(timeout=PATIENCE)
            finally:
                process.kill()
        return Ran(process.returncode, output)

    def _start(self, block: documents.Block) -> str:
        text = block.text
        for place, content in self._background:
            text = re.sub(place, content, text)
        process = self._process(block, f"exec {self.adapted(text)}")
        self._started.append(process)
        assert process.stdout
        return "".join(process.stdout.readline() for _ in range(1 + ("--demo" in text)))

    def _process(self, block: documents.Block, text: str) -> subprocess.Popen[str]:
        path = f"{self._programs}{os.pathsep}{os.environ['PATH']}"
        return subprocess.Popen(
            [*SHELLS[block.language], SET_UP.get(block.language, "") + text],
            cwd=self.folder,
            env={"PATH": path, **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def close(self) -> None:
        """End what runs in the background."""
        for process in self._started:
            with process:
                process.terminate()


@contextmanager
def surroundings_of(folder: Path) -> Iterator[Surroundings]:
    """Make them in an empty folder, with an archive that has what ``python -m movescu.testing --demo`` serves."""
    objects = folder / "archive"
    objects.mkdir()
    write_objects(objects)
    own_port = peers.free_port()
    with Archive(ae_title="WORKSTATION") as third_party:
        destinations = {"ME": ("127.0.0.1", own_port), "WORKSTATION": (third_party.host, third_party.port)}
        workers = {11113: peers.free_port(), 11114: peers.free_port()}
        destinations |= {f"WORKER{number - 11112}": ("127.0.0.1", port) for number, port in workers.items()}
        with Archive(objects, destinations, ae_title="ARCHIVE") as archive:
            result = Surroundings(folder, archive, own_port, workers)
            result.sites.parent.mkdir(parents=True)
            result.sites.write_text(result.adapted(SITES))
            yield result
            result.close()
