"""Much at once: many objects, one huge one, many associations, as many presentation contexts as an association has."""

from __future__ import annotations

import socket
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

import corpus
import peers
import pydicom
import pytest
import scripted
from command import movescu, within
from effort import is_whole

from movescu.dictionary.uids import storage_classes
from movescu.errors import AssociationRejectedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from corpus import Instance

    Launcher = Callable[..., AbstractContextManager[peers.Peer]]

MEGABYTE = 1 << 20
ANY_KEYS = ("-k", "QueryRetrieveLevel=STUDY")


def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A folder for what is sent, and one for what arrives."""
    made, received = tmp_path / "made", tmp_path / "received"
    made.mkdir()
    received.mkdir()
    return made, received


def name(instance: Instance) -> str:
    """The file name that an object is to get."""
    return f"{storage_classes()[instance.sop_class_uid].prefix}.{instance.instance_uid}"


@pytest.mark.parametrize("launch", [peers.dcmqrscp, peers.orthanc])
def test_study_of_many_objects_arrives_whole(launch: Launcher, tmp_path: Path) -> None:
    folder, received = folders(tmp_path)
    made = corpus.make_study(folder, instances=1000 if is_whole() else 200, size=2048)
    port = peers.free_port()
    # A stock dcmqrscp would be 44 ms late with each.
    with launch({"MOVESCU": (peers.HOST, port)}, tcp_nodelay=True) as archive:
        archive.load(corpus.paths(made))
        keys = [*ANY_KEYS, "-k", f"StudyInstanceUID={made[0].study_uid}"]
        outcome = movescu("-S", *keys, "+P", port, "-aec", archive.aet, *archive.address, folder=received)
    assert set(outcome.files) == set(map(name, made))
    corpus.check_readable(list(outcome.files.values())[::50])
    for instance in made[:: 1 if is_whole() else 20]:
        file = outcome.files[name(instance)]
        assert scripted.data_set(instance.path) == scripted.data_set(file) or corpus.dataset_equal(instance.path, file)


def test_object_larger_than_the_memory_arrives(tmp_path: Path) -> None:
    folder, received = folders(tmp_path)
    [huge] = corpus.make_study(folder, size=(300 if is_whole() else 150) * MEGABYTE)
    port = peers.free_port()
    with peers.dcmqrscp({"MOVESCU": (peers.HOST, port)}) as archive:
        archive.load([huge.path])
        keys = [*ANY_KEYS, "-k", f"StudyInstanceUID={huge.study_uid}"]
        arguments = ["-S", *keys, "+P", port, "-aec", archive.aet, *archive.address]
        outcome = movescu(*arguments, folder=received, prefix=within(100 * MEGABYTE))
    file = outcome.files[name(huge)]
    assert_same_data_set(huge.path, file)
    assert pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID == huge.instance_uid
    subprocess.run(["dcmdump", "-q", "+P", "SOPInstanceUID", file], check=True, stdout=subprocess.DEVNULL)


def assert_same_data_set(first: Path, second: Path) -> None:
    """Compare the bytes behind the file meta, piece by piece: pydicom would hold both files whole."""
    with first.open("rb") as a, second.open("rb") as b:
        for file in (a, b):
            file.seek(132 + 12 + pydicom.filereader.read_file_meta_info(file.name).FileMetaInformationGroupLength)
        while piece := a.read(MEGABYTE):
            assert piece == b.read(MEGABYTE)
        assert b.read(1) == b""


def test_four_associations_of_orthanc_bring_all_their_objects(tmp_path: Path) -> None:
    folder, received = folders(tmp_path)
    made = corpus.make_study(folder, studies=4, instances=5)
    port = peers.free_port()
    with peers.orthanc({"MOVESCU": (peers.HOST, port)}) as orthanc:
        orthanc.load(corpus.paths(made))

        def script(session: scripted.Session) -> None:
            session.accept()
            session.expect_move()
            jobs = orthanc.send_at_once("MOVESCU", list(dict.fromkeys(instance.study_uid for instance in made)))
            assert orthanc.wait_for_jobs(jobs) == ["Success"] * 4
            session.respond(completed=len(made))
            session.expect_release()

        with scripted.archive(script) as archive:
            outcome = movescu(*ANY_KEYS, "-v", "+P", port, *archive.address, folder=received)
    assert set(outcome.files) == set(map(name, made))
    for instance in made:
        assert corpus.dataset_equal(instance.path, outcome.files[name(instance)])
    assert outcome.log.count("storage association with") == 8, "four are accepted and released"


def test_orthanc_that_says_success_before_it_sends_loses_nothing(tmp_path: Path) -> None:
    folder, received = folders(tmp_path)
    made = corpus.make_study(folder, studies=4, instances=5)
    queries = []
    for number, study_uid in enumerate(dict.fromkeys(instance.study_uid for instance in made)):
        query = pydicom.Dataset()
        query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", study_uid
        queries.append(tmp_path / str(number))
        query.save_as(queries[-1], implicit_vr=False, little_endian=True)
    port = peers.free_port()
    with peers.orthanc({"MOVESCU": (peers.HOST, port)}, {"SynchronousCMove": False}) as archive:
        archive.load(corpus.paths(made))
        arguments = ["-S", "+P", port, "-od", received, "-aec", archive.aet, *archive.address, *queries]
        outcome = movescu(*arguments, folder=tmp_path)
    assert not [name for name in outcome.files if name.startswith("CT.")], "outside the output directory"
    files = {file.name: file for file in received.iterdir()}
    assert set(files) == set(map(name, made))
    for instance in made:
        assert corpus.dataset_equal(instance.path, files[name(instance)])


def test_objects_that_come_over_many_associations_in_turns_all_arrive(tmp_path: Path) -> None:
    folder, received = folders(tmp_path)
    made = corpus.make_study(folder, series=4, instances=3, size=50_000)
    port = peers.free_port()

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        with ExitStack() as stack:
            senders = [stack.enter_context(scripted.sender(port, made)) for _ in range(4)]
            for number, instance in enumerate(made):
                assert senders[number % 4].store(instance) == 0
        session.respond(completed=len(made))
        session.expect_release()

    with scripted.archive(script) as archive:
        outcome = movescu(*ANY_KEYS, "+P", port, *archive.address, folder=received)
    for instance in made:
        assert corpus.dataset_equal(instance.path, outcome.files[name(instance)])


def test_strangers_that_only_connect_keep_no_sender_out_and_the_65th_sender_is_told_to_come_back(
    tmp_path: Path,
) -> None:
    folder, received = folders(tmp_path)
    made = corpus.make_study(folder, instances=64, size=2048)
    port = peers.free_port()

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        with ExitStack() as stack:
            for _ in range(70):
                stack.enter_context(socket.create_connection((peers.HOST, port), scripted.PATIENCE))
            senders = [stack.enter_context(scripted.sender(port, made)) for _ in range(64)]
            with pytest.raises(AssociationRejectedError) as refusal, scripted.sender(port, made):
                pass
            assert (refusal.value.result, refusal.value.source, refusal.value.reason) == (2, 3, 2)
            for sender, instance in zip(senders, made, strict=True):
                assert sender.store(instance) == 0
        with scripted.sender(port, made) as sender:
            assert sender.store(made[0]) == 0
        session.respond(completed=len(made))
        session.expect_release()

    with scripted.archive(script) as archive:
        outcome = movescu(*ANY_KEYS, "+P", port, *archive.address, folder=received)
    assert set(outcome.files) == set(map(name, made))


def test_sender_with_128_presentation_contexts_may_use_each(tmp_path: Path) -> None:
    folder, received = folders(tmp_path)
    classes = [uid for uid, entry in storage_classes().items() if not entry.retired][:128]
    made = corpus.make_objects(folder, dict.fromkeys(classes, "OT"))
    port = peers.free_port()

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        send_by_dcmtk(port, made)
        session.respond(completed=len(made))
        session.expect_release()

    with scripted.archive(script) as archive:
        outcome = movescu(*ANY_KEYS, "-v", "+P", port, *archive.address, folder=received)
    assert set(outcome.files) == set(map(name, made))
    assert len(outcome.files) == 128
    assert outcome.log.count("storage association with") == 2, "one is accepted and released"
    for instance in made:
        assert corpus.dataset_equal(instance.path, outcome.files[name(instance)], by_dcmtk=True)


def send_by_dcmtk(port: int, instances: list[Instance]) -> None:
    """Send objects of different classes over one association, each class on a context of its own."""
    paths = map(str, corpus.paths(instances))
    command = ["dcmsend", "-v", "-dn", "-nuc", peers.HOST, str(port), *paths]
    result = subprocess.run(command, check=True, capture_output=True, text=True, env=peers.quick_environment())
    assert f"with status SUCCESS  : {len(instances)}" in result.stdout + result.stderr
