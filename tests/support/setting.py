"""Where a retrieve from a scripted archive takes place: objects to send, our port, and a folder for what arrives."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING

import corpus
import peers
import scripted
from command import OURS, Outcome, Running, here, movescu, running

from movescu.cohort.client import Client
from movescu.query.identifier import make_identifier
from movescu.retrieve.config import AE, Config, Receive, Timeouts
from movescu.storage.options import StorageOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from corpus import Instance

    from movescu.retrieve.handle import Retrieve

KEY = "QueryRetrieveLevel=STUDY"


class Setting:
    """Three objects, and room for what comes of them."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        made, self.received = folder / "made", folder / "received"
        made.mkdir()
        self.received.mkdir(exist_ok=True)
        self._before = {file.name for file in self.received.iterdir()}
        self.made = corpus.make_study(made, instances=3, size=50_000)
        self.port = port or peers.free_port()  # which is held for the rest of the process
        self.by = "move"
        """The service of ``run_here``; by C-GET, without a port."""

    def run(self, script: scripted.Script, *options: object, code: int = 0, prefix: Sequence[str] = ()) -> Outcome:
        """Run the command against a script."""
        with scripted.archive(script) as archive:
            arguments = ["-k", KEY, "+P", self.port, *options, *archive.address]
            return movescu(*arguments, folder=self.received, code=code, prefix=prefix)

    def run_here(self, script: scripted.Script, *options: object, code: int | None = 0, **settings: object) -> Outcome:
        """Run the command in this process, against a script; ``settings``: time-outs of less than a second, say."""
        with scripted.archive(script) as archive:
            receiving = ["+P", self.port] if self.by == "move" else ["--retrieve", self.by]
            arguments = ["-k", KEY, *receiving, *options, *archive.address]
            return here(*arguments, folder=self.received, code=code, **settings)

    def run_beside(
        self,
        script: Callable[[scripted.Session, Running], None],
        *options: object,
        code: int,
        prefix: Sequence[str] = (),
        program: str = OURS,
    ) -> Outcome:
        """Run the command against a script that has a handle of it: to send it signals, to await what it logs."""
        started = Future[Running]()
        with scripted.archive(lambda session: script(session, started.result(scripted.PATIENCE))) as archive:
            arguments = ["-k", KEY, "+P", self.port, *options, *archive.address]
            with running(*arguments, folder=self.received, prefix=prefix, program=program) as command:
                started.set_result(command)
                outcome = command.end()
        outcome.hold_to(code)
        return outcome

    @contextmanager
    def retrieve(
        self,
        script: scripted.Script,
        *,
        linger: float = 10.0,
        store: float = 60.0,
    ) -> Iterator[Retrieve]:
        """Make ready a retrieve by the client against a script, for times of less than a second."""
        with scripted.archive(script) as archive:
            config = Config(
                AE(*archive.address), timeouts=Timeouts(linger=linger, store=store), receive=Receive(self.port)
            )
            with Client.configured(config, StorageOptions(directory=str(self.received))) as client:
                yield client.prepare([make_identifier([KEY])])
                client.release()

    def send(self, instances: list[Instance], over: scripted.Session | None = None) -> None:
        """Store objects over one association, as the archive's other half; by C-GET over that of its request."""
        if over is not None and self.by == "get":
            for instance in instances:
                assert over.sender.store(instance) == 0
            return
        with scripted.sender(self.port, instances) as sender:
            for instance in instances:
                assert sender.store(instance) == 0

    def assert_arrived(self, instances: list[Instance]) -> None:
        """Exactly these have arrived, and whole, beside what was there before."""
        files = {
            file.name: file
            for file in self.received.iterdir()
            if file.name not in self._before and file.suffix != ".lock"
        }
        assert set(files) == {f"CT.{instance.instance_uid}" for instance in instances}
        for instance in instances:
            assert corpus.dataset_equal(instance.path, files[f"CT.{instance.instance_uid}"])
