"""The launchers of ``peers`` and the files of ``corpus``, shown to work without any code of movescu."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import corpus
import peers
import pytest
from pynetdicom import AE, AllStoragePresentationContexts, evt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    Launcher = Callable[[dict[str, peers.Address]], AbstractContextManager[peers.Peer]]

ARCHIVES = [peers.dcmqrscp, peers.orthanc, peers.qrscp]


def move(archive: peers.Peer, study_uid: str, *options: str) -> None:
    """Ask for a study with DCMTK's movescu."""
    keys = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study_uid}"]
    command = [peers.dcmtk_movescu(), "-v", *keys, "-aec", archive.aet, *options, archive.host, str(archive.port)]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


def living(group: int) -> list[str]:
    """The processes of a group that are more than zombies (which are their parent's to bury)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, process_group = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue  # has ended meanwhile
        if int(process_group) == group and state != "Z":
            found.append(stat.parent.name)
    return found


@contextmanager
def meeting_place(port: int, associations: int) -> Iterator[threading.Barrier]:
    """A storage SCP that answers no C-STORE before so many associations have one to answer."""
    barrier = threading.Barrier(associations)

    def meet(_: evt.Event) -> int:
        try:
            barrier.wait(20)
        except threading.BrokenBarrierError:
            return 0xA700
        return 0x0000

    entity = AE("MEETING")
    entity.supported_contexts = AllStoragePresentationContexts
    server = entity.start_server((peers.HOST, port), block=False, evt_handlers=[(evt.EVT_C_STORE, meet)])
    try:
        yield barrier
    finally:
        server.shutdown()


@pytest.mark.parametrize("launch", ARCHIVES)
def test_archive_takes_a_study_answers_a_move_and_leaves_no_process(launch: Launcher, tmp_path: Path) -> None:
    port = peers.free_port()
    made = corpus.make_study(tmp_path, instances=3, size=20_000)
    received = tmp_path / "received"
    received.mkdir()
    with launch({"DCMTK": (peers.HOST, port)}) as archive:
        archive.load(corpus.paths(made))
        move(archive, made[0].study_uid, "-aet", "DCMTK", "+P", str(port), "-od", str(received))
        assert living(archive.process.pid)
    for instance in made:
        assert corpus.dataset_equal(instance.path, received / f"CT.{instance.instance_uid}")
    corpus.check_readable(received.iterdir())
    assert living(archive.process.pid) == []
    assert not archive.folder.exists()
    assert archive not in peers.running


def test_orthanc_learns_a_destination_while_it_runs_and_storescp_receives(tmp_path: Path) -> None:
    made = corpus.make_objects(tmp_path)
    with peers.orthanc() as archive, peers.storescp(aet="THIRD") as third:
        archive.load(corpus.paths(made))
        archive.set_destination("THIRD", third.address)
        move(archive, made[0].study_uid, "-aem", "THIRD")
        received = {file.name.partition(".")[2]: file for file in third.received}
        corpus.check_readable(third.received)
        for instance in made:
            assert corpus.dataset_equal(instance.path, received[instance.instance_uid])


def test_orthanc_sends_four_associations_at_once_when_told_by_rest(tmp_path: Path) -> None:
    made = corpus.make_study(tmp_path, studies=4, size=2048)
    port = peers.free_port()
    with meeting_place(port, 4) as barrier, peers.orthanc({"MEETING": (peers.HOST, port)}) as archive:
        archive.load(corpus.paths(made))
        jobs = archive.send_at_once("MEETING", [instance.study_uid for instance in made])
        assert archive.wait_for_jobs(jobs) == ["Success"] * 4
        assert not barrier.broken


def test_orthanc_makes_an_association_of_each_asynchronous_move(tmp_path: Path) -> None:
    [made] = corpus.make_study(tmp_path, size=2048)
    port = peers.free_port()
    settings = {"SynchronousCMove": False}
    with meeting_place(port, 4) as barrier, peers.orthanc({"MEETING": (peers.HOST, port)}, settings) as archive:
        archive.load([made.path])
        move(archive, made.study_uid, "-aem", "MEETING", "--repeat", "4")
        assert archive.wait_for_jobs(archive.rest("GET", "/jobs")) == ["Success"] * 4
        assert not barrier.broken


def test_storescp_takes_every_bundled_file_as_it_is() -> None:
    bundled = corpus.bundled()
    with peers.storescp(tcp_nodelay=True) as third:
        third.load(corpus.paths(bundled))
        received = {file.name.partition(".")[2]: file for file in third.received}
        corpus.check_readable(third.received)
        for instance in bundled:
            assert corpus.dataset_equal(instance.path, received[instance.instance_uid], by_dcmtk=True)
    assert {instance.is_compressed for instance in bundled} == {True, False}


def test_server_that_does_not_start_is_reported_with_its_log() -> None:
    peers.require("dcmqrscp")
    with pytest.raises(peers.PeerError, match="Unknown option --nonsense"), peers.dcmqrscp(flags=["--nonsense"]):
        pass
    assert peers.running == []


def test_failure_inside_the_block_carries_the_log() -> None:
    with pytest.raises(RuntimeError) as failure, peers.orthanc():
        raise RuntimeError
    assert "Orthanc has started" in "".join(failure.value.__notes__)


def test_server_dies_with_a_killed_test_process(tmp_path: Path) -> None:
    peers.require("storescp")
    script = "import peers, sys\nwith peers.storescp() as server:\n print(server.process.pid, flush=True)\n input()"
    environment = {**os.environ, "PYTHONPATH": str(Path(peers.__file__).parent), "TMPDIR": str(tmp_path)}
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stdin=pipe, stdout=pipe) as owner:
        assert owner.stdout
        server = os.pidfd_open(int(owner.stdout.readline()))
        owner.kill()
    try:
        assert select.select([server], [], [], 10)[0], "the server runs on"
    finally:
        os.close(server)


def test_reserved_port_refuses_until_a_server_takes_it() -> None:
    ports = {peers.free_port() for _ in range(20)}
    assert len(ports) == 20
    port = ports.pop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((peers.HOST, port), 5)
    with socket.create_server((peers.HOST, port)), socket.create_connection((peers.HOST, port), 5):
        pass


def test_made_studies_have_the_counts_and_sizes_asked_for(tmp_path: Path) -> None:
    made = corpus.make_study(tmp_path, patients=2, studies=2, series=3, instances=2, size=corpus.CT_BYTES)
    assert [len({instance[field] for instance in made}) for field in (5, 4, 3, 2)] == [2, 4, 12, 24]
    assert all(file.stat().st_size > corpus.CT_BYTES for file in corpus.paths(made))
    corpus.check_readable(corpus.paths(made))


def test_huge_instance_takes_no_disk(tmp_path: Path) -> None:
    [huge] = corpus.make_study(tmp_path, size=300_000_000)
    status = huge.path.stat()
    assert status.st_size > 299_000_000
    assert status.st_blocks * 512 < 1_000_000


def test_difference_is_named(tmp_path: Path) -> None:
    first, second = corpus.make_study(tmp_path, instances=2, size=2048)
    with pytest.raises(AssertionError, match=r"3 elements differ(.|\n)*InstanceNumber: '1' and '2'"):
        corpus.dataset_equal(first.path, second.path)
    assert corpus.dataset_equal(first.path, second.path, ignore=(0x00080018, 0x00200013, 0x7FE00010))


def test_file_cut_short_is_not_readable(tmp_path: Path) -> None:
    [instance] = corpus.make_study(tmp_path, size=2048)
    instance.path.write_bytes(instance.path.read_bytes()[:-100])
    with pytest.raises(AssertionError, match="dcmdump ends with 1"):
        corpus.check_readable([instance.path])
