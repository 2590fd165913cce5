"""Objects behind the final response of C-GET: stored and counted, or the retrieve is incomplete."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import corpus
import pytest
import scripted
from command import movescu

from movescu.cohort.client import Client
from movescu.errors import LateObjectsError
from movescu.query.identifier import make_identifier
from movescu.retrieve.config import AE, Config, Receive, Request, RetrieveBy
from movescu.storage.options import StorageOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from command import Outcome
    from corpus import Instance

INCOMPLETE = 63


@pytest.fixture
def made(tmp_path: Path) -> list[Instance]:
    source = tmp_path / "archive"
    source.mkdir()
    return corpus.make_study(source, instances=3, size=2000)


def keys(made: Sequence[Instance]) -> list[str]:
    return ["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={made[0].study_uid}"]


def run(made: Sequence[Instance], folder: Path, script: scripted.Script, *options: object) -> Outcome:
    """Retrieve from a scripted archive; any exit code."""
    received = folder / "received"
    received.mkdir()
    arguments = ["-S", "--retrieve", "get", *(part for key in keys(made) for part in ("-k", key)), *options]
    with scripted.archive(script) as archive:
        return movescu(*arguments, *archive.address, folder=received, code=None)


def objects(outcome: Outcome) -> list[str]:
    return sorted(name.removeprefix("CT.") for name in outcome.files if name.startswith("CT."))


def send_first(session: scripted.Session, made: Sequence[Instance], *told: Mapping[int, str]) -> None:
    """Send the first object, and a final response that counts it alone; ``told``: see ``expect_get``."""
    session.accept()
    session.expect_get(*told)
    session.sender.store(made[0], originator=None)
    session.respond(completed=1, failed=0, remaining=0)


def begin_whole(session: scripted.Session, *instances: Instance) -> None:
    """Send whole objects without waiting for a response."""
    sender = session.sender
    for one in instances:
        sender.begin(one)
        while sender._rest:
            sender.go_on()


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("completed", [None, 1])
def test_objects_received_with_the_final_response_are_stored(
    made: list[Instance], tmp_path: Path, completed: int | None, first: int
) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_get()
        for one in made[:first]:
            session.sender.store(one, originator=None)
        with session.gathered() as at_once:
            session.respond(completed=completed)
            begin_whole(session, *made[first:])
        session.send_bytes(bytes(at_once))
        for _ in made[first:]:
            session.receive()  # the response to each object
        session.release()

    outcome = run(made, tmp_path, script)
    assert objects(outcome) == sorted(one.instance_uid for one in made)
    assert outcome.code == 0


def test_objects_after_a_success_that_counts_nothing_are_awaited(made: list[Instance], tmp_path: Path) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_get()
        session.respond()
        for one in made:
            session.sender.store(one, originator=None)
        session.release()

    outcome = run(made, tmp_path, script)
    assert objects(outcome) == sorted(one.instance_uid for one in made)
    assert outcome.code == 0


@pytest.mark.parametrize("confirms", [True, False])
def test_object_that_meets_the_release_makes_the_retrieve_incomplete(
    made: list[Instance], tmp_path: Path, *, confirms: bool
) -> None:
    def script(session: scripted.Session) -> None:
        send_first(session, made)
        assert session.receive() is None
        begin_whole(session, *made[1:])
        if confirms:
            session.connection.confirm_release(scripted.soon())
        else:
            session.abort()

    report = tmp_path / "report.json"
    outcome = run(made, tmp_path, script, "--report", report)
    assert outcome.code == INCOMPLETE
    assert "2 objects followed the archive's final response" in outcome.log
    assert json.loads(report.read_text())["outcome"] == "incomplete"


def test_object_that_breaks_off_behind_the_final_response_makes_the_retrieve_incomplete(
    made: list[Instance], tmp_path: Path
) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_get()
        session.sender.store(made[0], originator=None)
        with session.gathered() as at_once:
            session.respond(completed=1, failed=0, remaining=0)
            session.sender.begin(made[1])
        session.send_bytes(bytes(at_once[:-100]))
        session.close()

    outcome = run(made, tmp_path, script)
    assert outcome.code == INCOMPLETE
    assert objects(outcome) == [made[0].instance_uid]


def test_late_response_during_the_release_is_no_failure(made: list[Instance], tmp_path: Path) -> None:
    def script(session: scripted.Session) -> None:
        send_first(session, made)
        assert session.receive() is None
        session.pending(1)
        session.connection.confirm_release(scripted.soon())

    assert run(made, tmp_path, script).code == 0


def test_object_on_an_association_without_a_retrieve_is_reported_at_the_end(made: list[Instance]) -> None:
    retrieved = threading.Event()

    def script(session: scripted.Session) -> None:
        send_first(session, made)
        assert retrieved.wait(scripted.PATIENCE)
        begin_whole(session, made[1])
        assert session.receive() is None
        session.connection.confirm_release(scripted.soon())

    with scripted.archive(script) as archive:
        config = Config(
            AE(*archive.address), receive=Receive(None), request=Request(model="STUDY"), retrieve_by=RetrieveBy.GET
        )
        with Client.configured(config, StorageOptions(ignore=True)) as client:
            assert client.prepare([make_identifier(keys(made))]).run().stored == 1
            retrieved.set()
            with pytest.raises(LateObjectsError):
                client.release()


def test_object_on_an_idle_association_makes_a_list_incomplete(made: list[Instance], tmp_path: Path) -> None:
    def script(session: scripted.Session) -> None:
        one = made[0]
        send_first(session, made, {0x0020000D: one.study_uid, 0x0020000E: one.series_uid, 0x00080018: one.instance_uid})
        assert session.receive() is None
        begin_whole(session, made[1])
        session.connection.confirm_release(scripted.soon())

    studies, report = tmp_path / "studies.txt", tmp_path / "report.json"
    studies.write_text(f"StudyInstanceUID\n{made[0].study_uid}\n")
    with scripted.archive(script) as archive:
        options = ["-S", "--retrieve", "get", "--list", studies, "--report", report, "-od", tmp_path]
        outcome = movescu(*options, *archive.address, folder=tmp_path, code=INCOMPLETE)
    assert "the archive sent 1 object after its final response" in outcome.log
    told = json.loads(report.read_text())
    assert (told["outcome"], told["exit_code"]) == ("incomplete", INCOMPLETE)
