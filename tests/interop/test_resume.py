"""``--resume``: a retrieve that was killed goes on where it stopped; what is whole does not come again."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, NamedTuple

import corpus
import peers
import pytest
from command import movescu, running

from movescu.testing import Archive, Faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from corpus import Instance


class Place(NamedTuple):
    """An archive with a study of two series, and a folder for it."""

    archive: Archive
    made: list[Instance]
    received: Path
    port: int

    def arguments(self, *options: object) -> list[object]:
        study = f"StudyInstanceUID={self.made[0].study_uid}"
        keys = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", study]
        return [*keys, "--resume", "+P", self.port, *options, self.archive.host, self.archive.port]

    def files(self) -> dict[str, bytes]:
        found = (path for path in self.received.rglob("*") if path.is_file() and not path.name.startswith("."))
        return {str(path.relative_to(self.received)): path.read_bytes() for path in found}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    folder, received = tmp_path / "archive", tmp_path / "received"
    folder.mkdir()
    received.mkdir()
    made = corpus.make_study(folder, series=2, instances=10, size=2000)
    port = peers.free_port()
    with Archive(folder, {"MOVESCU": (peers.HOST, port)}) as archive:
        yield Place(archive, made, received, port)


def came(events: Path) -> list[str]:
    lines = [json.loads(line) for line in events.read_text().splitlines() if line.endswith("}")]
    return [line["sop_instance_uid"] for line in lines if line["event"] == "object"]


def test_resumed_retrieve_says_how_many_objects_were_there(place: Place) -> None:
    movescu(*place.arguments(), folder=place.received)
    outcome = movescu(*place.arguments("-v"), folder=place.received)
    assert "0 objects received, 0 bytes, 0 not stored, 20 already there\n" in outcome.log


@pytest.mark.parametrize("layout", ["flat", "{PatientID}/{SeriesInstanceUID}/{SOPInstanceUID}.dcm"])
def test_killed_and_started_again_it_ends_with_the_same_files_and_no_object_comes_twice(
    place: Place, tmp_path: Path, layout: str
) -> None:
    place.archive.faults = Faults(pause=0.02)
    with running(*place.arguments("-v", "--layout", layout), folder=place.received) as command:
        command.await_log("received C-MOVE response: 8 remaining")
        command.signal(signal.SIGKILL)
        command.end()
    before = place.files()
    assert 10 <= len(before) < 20
    place.archive.faults = Faults()
    events = tmp_path / "events"
    movescu(*place.arguments("--layout", layout, "--events", events), folder=place.received)
    after = place.files()
    assert before.items() <= after.items()
    assert sorted(path.rpartition("/")[2].removeprefix("CT.").removesuffix(".dcm") for path in after) == sorted(
        one.instance_uid for one in place.made
    )
    assert len(came(events)) == 20 - len(before)
    movescu(*place.arguments("--layout", layout, "--events", events), folder=place.received)
    assert came(events) == [], "nothing is left to ask for"


def test_what_is_not_whole_comes_again(place: Place, tmp_path: Path) -> None:
    movescu(*place.arguments(), folder=place.received)
    clean = place.files()
    broken, gone, *_ = sorted(place.received.iterdir())
    broken.write_bytes(broken.read_bytes()[:1000])
    gone.unlink()
    events = tmp_path / "events"
    movescu(*place.arguments("--events", events), folder=place.received)
    assert place.files() == clean
    assert sorted(came(events)) == sorted(path.name.removeprefix("CT.") for path in (broken, gone))
