"""The library as a program uses it: ``movescu.retrieve`` and ``movescu.Retriever``."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import corpus
import peers
import pydicom
import pytest
from pydicom.dataset import Dataset

import movescu
from movescu.errors import ConnectError, DirectoryNotFoundError, IncompleteError, UsageError
from movescu.events import EndEvent, ObjectEvent, ResponseEvent
from movescu.testing import Archive, Faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from corpus import Instance


@pytest.fixture
def made(tmp_path: Path) -> list[Instance]:
    (tmp_path / "archive").mkdir()
    (tmp_path / "images").mkdir()
    return corpus.make_study(tmp_path / "archive", studies=2, series=2, instances=3, size=2000)


@pytest.fixture
def archive(tmp_path: Path, made: list[Instance]) -> Iterator[Archive]:
    assert made
    with Archive(tmp_path / "archive", {"MOVESCU": (peers.HOST, peers.free_port())}) as running:
        yield running


def own_port(archive: Archive) -> int:
    return archive.destinations["MOVESCU"][1]


def test_one_call_retrieves_a_study_and_says_what_it_came_to(
    archive: Archive, made: list[Instance], tmp_path: Path
) -> None:
    result = movescu.retrieve(
        archive.host,
        archive.port,
        {"StudyInstanceUID": made[0].study_uid},
        port=own_port(archive),
        directory=tmp_path / "images",
        verify=True,
    )
    assert (result.stored, result.failed, result.missing, result.complete, result.verified) == (6, 0, 0, True, True)
    result.check()
    corpus.check_readable((tmp_path / "images").iterdir())


def test_keys_are_a_mapping_a_data_set_or_a_query_file(archive: Archive, made: list[Instance], tmp_path: Path) -> None:
    study, series = made[0].study_uid, made[0].series_uid
    data_set = Dataset()
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = study, series
    file = tmp_path / "query.dump"
    file.write_text(f"(0020,000d) UI [{study}]\n(0020,000e) UI [{series}]\n")
    uids = [instance.instance_uid for instance in made[:2]]
    asked: dict[str, tuple[movescu.Keys, int]] = {
        "patient": ({"PatientID": made[0].patient_id}, 12),
        "list": ({"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": uids}, 2),
        "data set": (data_set, 3),
        "file": (str(file), 3),
    }
    with movescu.Retriever(
        archive.host, archive.port, port=own_port(archive), directory=tmp_path / "images"
    ) as retriever:
        came = {name: retriever.retrieve(keys).stored for name, (keys, _) in asked.items()}
    assert came == {name: count for name, (_, count) in asked.items()}


@pytest.mark.parametrize("keys", [{}, {"PatientName": "Doe*"}, {"NoSuchKeyword": "1"}, "no such file"])
def test_keys_that_name_nothing_are_told_before_anything_is_asked(
    archive: Archive, tmp_path: Path, keys: movescu.Keys
) -> None:
    archive.faults = Faults(reject=(1, 1, 1))
    with pytest.raises(UsageError):
        movescu.retrieve(archive.host, archive.port, keys, port=own_port(archive), directory=tmp_path)


def test_errors_are_those_of_the_package(tmp_path: Path) -> None:
    nobody, port = peers.free_port(), peers.free_port()
    with pytest.raises(ConnectError):
        movescu.retrieve(peers.HOST, nobody, {"PatientID": "1"}, port=port, directory=tmp_path)
    with pytest.raises(DirectoryNotFoundError):
        movescu.retrieve(peers.HOST, nobody, {"PatientID": "1"}, port=port, directory=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="colour"):
        movescu.retrieve(peers.HOST, nobody, {"PatientID": "1"}, colour="red")  # type: ignore[call-arg]


def test_a_result_that_is_not_complete_can_be_had_as_an_error(
    archive: Archive, made: list[Instance], tmp_path: Path
) -> None:
    archive.faults = Faults(fail_every=4)
    keys = {"StudyInstanceUID": made[0].study_uid}
    result = movescu.retrieve(
        archive.host, archive.port, keys, port=own_port(archive), directory=tmp_path / "images", linger=0.0
    )
    assert (result.complete, result.outcome, result.stored) == (False, "incomplete", 5)
    with pytest.raises(IncompleteError, match="5 objects stored"):
        result.check()


def test_events_are_given_as_they_happen_and_the_last_is_the_end(
    archive: Archive, made: list[Instance], tmp_path: Path
) -> None:
    keys = {"StudyInstanceUID": made[0].study_uid}
    with movescu.Retriever(
        archive.host, archive.port, port=own_port(archive), directory=tmp_path / "images"
    ) as retriever:
        for _ in range(2):  # the port stays open
            events = list(retriever.events(keys))
            came = [event.sop_instance_uid for event in events if isinstance(event, ObjectEvent)]
            assert sorted(came) == sorted(one.instance_uid for one in made if one.study_uid == made[0].study_uid)
            end = events[-1]
            assert isinstance(end, EndEvent)
            assert (end.outcome, end.stored) == ("complete", 6)


def test_leaving_the_loop_or_calling_cancel_from_another_thread_ends_the_retrieve(
    archive: Archive, made: list[Instance], tmp_path: Path
) -> None:
    archive.faults = Faults(endless_pending=0.01)
    keys = {"StudyInstanceUID": made[0].study_uid}
    with movescu.Retriever(
        archive.host, archive.port, port=own_port(archive), directory=tmp_path / "images"
    ) as retriever:
        archive.faults = Faults(pause=0.05)
        for event in retriever.events(keys):
            if isinstance(event, ResponseEvent):
                break
        results = []
        begun = threading.Event()
        thread = threading.Thread(
            target=lambda: results.append(retriever.retrieve(keys, on_event=lambda _: begun.set()))
        )
        thread.start()
        begun.wait(30)
        retriever.cancel()
        thread.join(30)
        assert results[0].outcome == "cancelled"
        archive.faults = Faults()
        assert retriever.retrieve(keys).complete, "it can be used again"


def test_importing_the_package_loads_nothing_of_it() -> None:
    code = "import sys, movescu; print(*(name for name in sys.modules if name.startswith(('movescu.', 'pydicom'))))"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.split() == []
    assert set(movescu.__all__) <= set(dir(movescu))
    assert all(hasattr(movescu, name) for name in movescu.__all__)
    assert not hasattr(movescu, "no_such_name")


def test_objects_go_to_a_callable_or_to_memory_instead_of_files(
    archive: Archive, made: list[Instance], tmp_path: Path
) -> None:
    keys, sizes = {"StudyInstanceUID": made[0].study_uid}, []
    movescu.retrieve(
        archive.host, archive.port, keys, port=own_port(archive), sink=lambda ds: sizes.append(len(ds.PixelData))
    )
    assert sizes == [len(pydicom.dcmread(made[0].path).PixelData)] * 6
    memory = movescu.Memory()
    assert movescu.retrieve(archive.host, archive.port, keys, port=own_port(archive), sink=memory).complete
    assert sorted(str(ds.SOPInstanceUID) for ds in memory) == sorted(one.instance_uid for one in made[:6])
    assert not list((tmp_path / "images").iterdir())


def test_what_is_there_already_is_not_asked_for_again(archive: Archive, made: list[Instance], tmp_path: Path) -> None:
    keys = {"StudyInstanceUID": made[0].study_uid}
    with movescu.Retriever(
        archive.host,
        archive.port,
        port=own_port(archive),
        directory=tmp_path / "images",
        layout="study",
        resume=True,
    ) as retriever:
        first, second = retriever.retrieve(keys), retriever.retrieve(keys)
    assert (first.stored, first.already_there) == (6, 0)
    assert (second.stored, second.already_there, second.complete) == (0, 6, True)
