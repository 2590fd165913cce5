"""A list of studies that several runs of our command share, and an archive that counts what it is asked for."""

from __future__ import annotations

import hashlib
import json
import threading
from typing import TYPE_CHECKING, Any

import corpus
import peers
from command import OURS, PATIENCE, movescu, running

from movescu.testing import Archive, Faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack
    from pathlib import Path

    from command import Running


class CountingArchive(Archive):
    """An archive that counts its C-MOVE requests and knows two runs."""

    def __init__(self, folder: Path) -> None:
        self.titles = ("FIRST", "SECOND")
        super().__init__(folder, {title: (peers.HOST, peers.free_port()) for title in self.titles})
        self.moves = 0
        self.together = False
        """Whether requests are served only once both runs have sent one."""
        self._titles: set[str] = set()
        self._moved = threading.Condition()

    def _move(self, exchange: Any, context: Any, request: Any, calling_ae_title: str) -> None:
        with self._moved:
            self.moves += 1
            self._titles.add(calling_ae_title)
            self._moved.notify_all()
            if self.together:
                assert self._moved.wait_for(lambda: len(self._titles) == len(self.titles), PATIENCE)
        super()._move(exchange, context, request, calling_ae_title)

    def await_runs(self) -> None:
        """Wait until each run has sent a request."""
        with self._moved:
            assert self._moved.wait_for(lambda: len(self._titles) == len(self.titles), PATIENCE)

    def await_moves(self, number: int) -> None:
        with self._moved:
            assert self._moved.wait_for(lambda: self.moves >= number, PATIENCE)


class Cohort:
    """A list of studies, an archive that has them, and the directory of the runs."""

    def __init__(self, archive: CountingArchive, made: list[corpus.Instance], folder: Path) -> None:
        self.archive = archive
        self.journal: tuple[object, ...] = ()
        """Options that name the journal."""
        self.directory = folder / "received"
        self.directory.mkdir()
        self.studies = list(dict.fromkeys(one.study_uid for one in made))
        self.digests = {f"CT.{one.instance_uid}" for one in made}
        self.list = folder / "studies.txt"
        self.list.write_text("".join(f"{study}\n" for study in self.studies))

    def arguments(self, which: int, *options: object, studies: Path | None = None) -> list[object]:
        title = self.archive.titles[which]
        own = ["-S", "-aet", title, "--list", studies or self.list, "+P", self.archive.destinations[title][1]]
        return [*own, "-v", *self.journal, *options, self.archive.host, self.archive.port]

    def start(self, stack: ExitStack, which: int, *options: object, program: str = OURS) -> Running:
        arguments = self.arguments(which, *options)
        return stack.enter_context(running(*arguments, folder=self.directory, program=program))

    def files(self) -> dict[str, str]:
        found = (path for path in self.directory.iterdir() if not path.name.startswith("."))
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}

    def hold_to_one_clean_run(self) -> None:
        """Hold the files to those of one clean run, and the journal to one verdict an entry."""
        states = self.status()["states"]
        assert states.keys() <= {"complete", "complete before"}
        assert sum(states.values()) == len(self.studies)
        received, moves, directory = self.files(), self.archive.moves, self.directory
        self.archive.together = False
        self.archive.faults, journal, self.journal = Faults(), self.journal, ()
        self.directory = directory.with_name("clean")
        self.directory.mkdir()
        movescu(*self.arguments(0), folder=self.directory)
        assert self.files() == received
        self.directory, self.journal, self.archive.moves = directory, journal, moves

    def status(self, path: object = None) -> dict[str, Any]:
        journal = path or (self.journal[-1] if self.journal else self.directory)
        outcome = movescu("--status", journal, "--format", "json", folder=self.list.parent)
        told: dict[str, Any] = json.loads(outcome.output)
        return told


def made(folder: Path, studies: int, instances: int = 3) -> Iterator[Cohort]:
    """Yield a list of studies, with an archive that has them."""
    source = folder / "archive"
    source.mkdir()
    objects = corpus.make_study(source, studies=studies, instances=instances, size=2000)
    with CountingArchive(source) as archive:
        yield Cohort(archive, objects, folder)
