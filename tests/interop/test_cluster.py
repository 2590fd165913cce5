"""``--cluster``: a list over several processes; workers, scheduler and driver may go away at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import os
import random
import signal
import threading
from hashlib import sha256
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import corpus
import peers
import pydicom
import pytest
from command import movescu
from process_engine import ProcessEngine

import movescu as movescu_library
from movescu._runtime.record import replace
from movescu._runtime.version import VERSION
from movescu.cohort.admission import Stop
from movescu.cohort.client import Client
from movescu.cohort.cluster import membership, station
from movescu.cohort.cluster.collection import Collection
from movescu.cohort.cluster.engine import worker
from movescu.cohort.cluster.group import folders_of
from movescu.cohort.cluster.own_directory import MANIFEST
from movescu.cohort.cluster.workers import ClusterWorkers
from movescu.cohort.job_json import from_json
from movescu.cohort.journal import Journal
from movescu.cohort.runner import Runner
from movescu.errors import ClusterError, DirectoryNotFoundError, UsageError
from movescu.query.request_list import read_rows
from movescu.retrieve.config import AE, Config, Receive, Request, Retry, Timeouts
from movescu.storage.options import StorageOptions
from movescu.storage.sinks import Memory, Sink
from movescu.storage.writer import OutputDirectory
from movescu.testing import Archive, Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from movescu.cohort.cluster.member import Member
    from movescu.cohort.row_result import RowResult
    from movescu.storage.target import OnWhole

STUDIES = 8
OBJECTS = 4
TITLES = ("WORKER0", "WORKER1")


class MeasuringArchive(Archive):
    """An archive that counts its C-MOVE requests, and how many it served at once, at most."""

    under_way = most = moves = 0
    _counting = threading.Lock()

    def _move(self, *arguments: Any) -> None:
        with self._counting:
            self.moves += 1
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        try:
            super()._move(*arguments)
        finally:
            with self._counting:
                self.under_way -= 1


class Place(NamedTuple):
    """An archive that knows two workers, and a list of its studies."""

    archive: MeasuringArchive
    names: set[str]
    rows: Path
    received: Path
    pool: tuple[AE, ...]

    def digests(self) -> dict[str, str]:
        return {
            path.name: sha256(path.read_bytes()).hexdigest() for path in self.received.iterdir() if path.name[0] != "."
        }

    def files(self) -> set[str]:
        return {path.name for path in self.received.iterdir() if path.name[0] != "."}

    def config(self) -> Config:
        return Config(
            AE(self.archive.host, self.archive.port),
            timeouts=Timeouts(linger=0.2),
            retry=Retry(pause=0.01),
            receive=Receive(None),
            request=Request(model="STUDY"),
        )

    def run(
        self,
        engine: ProcessEngine,
        on_row: Callable[[RowResult], None],
        *,
        rest: float = 30.0,
        slots: int | None = None,
        all_done: bool = True,
        own: bool = False,
        resume: bool = False,
        jobs: int = 4,
        on_whole: OnWhole | None = None,
    ) -> Runner:
        config, storage = self.config(), StorageOptions(directory=str(self.received))
        with Client.configured(config, storage, closing=False, proved=True) as client:
            group = ClusterWorkers(
                *(engine, client, self.pool),
                config=config,
                storage=storage,
                number=jobs,
                rest=rest,
                own=own,
                indexed=resume,
                on_whole=on_whole,
            )
            journal = Journal(str(self.received / ".movescu.journal"), str(self.received), files_of=group.files_of)
            with journal:
                group.expect_at(folders_of(journal, config, read_rows(str(self.rows))))
                runner = Runner(
                    client, workers=group, jobs=jobs, slots=slots, journal=journal, on_row=on_row, resume=resume
                )
                assert (runner.run(read_rows(str(self.rows))) == []) == all_done
                journal.save()
                key = runner._key(read_rows(str(self.rows))[0])
                self.paths.update(journal.paths_of(key))
        return runner

    paths: set[str]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    folder, received = tmp_path / "archive", tmp_path / "received"
    folder.mkdir()
    received.mkdir()
    made = corpus.make_study(folder, studies=STUDIES, instances=OBJECTS, size=2000)
    rows = tmp_path / "rows.csv"
    rows.write_text("StudyInstanceUID\n" + "".join(f"{uid}\n" for uid in dict.fromkeys(one.study_uid for one in made)))
    pool = tuple(AE(peers.HOST, peers.free_port(), title) for title in TITLES)
    with MeasuringArchive(folder, {ae.title: (ae.host, ae.port) for ae in pool}) as archive:
        yield Place(archive, {f"CT.{one.instance_uid}" for one in made}, rows, received, pool, set())


def outcomes(results: list[RowResult]) -> dict[int, str]:
    return {one.row.number: one.outcome for one in results}


def test_list_over_two_processes_is_complete_and_its_files_are_in_the_journal(place: Place) -> None:
    results: list[RowResult] = []
    with ProcessEngine(TITLES) as engine:
        place.run(engine, results.append)
    assert outcomes(results) == dict.fromkeys(range(1, STUDIES + 1), "complete")
    assert place.files() == place.names
    assert len(place.paths) == OBJECTS


def test_driver_is_told_which_files_were_there_before(place: Place) -> None:
    noted: dict[str, bool] = {}

    def note(_: str, path: str, /, *, stored: bool = True) -> None:
        noted[path] = stored

    with ProcessEngine(TITLES) as engine:
        place.run(engine, lambda _: None, on_whole=note)
    assert noted == dict.fromkeys(place.names, True)
    gone, *_ = place.received.glob("CT.*")
    gone.unlink()
    (place.received / ".movescu.journal").unlink()  # else, complete entries are not requested
    with ProcessEngine(TITLES) as engine:
        place.run(engine, lambda _: None, on_whole=note, resume=True)
    assert {path for path, stored in noted.items() if stored} == {gone.name}, "a manifest has digests of the others"


def test_slots_of_the_archive_hold_for_all_workers_together(place: Place) -> None:
    results: list[RowResult] = []
    place.archive.faults = Faults(slots=2, pause=0.005)
    with ProcessEngine(TITLES) as engine:
        place.run(engine, results.append, slots=2)
    assert outcomes(results) == dict.fromkeys(range(1, STUDIES + 1), "complete")
    assert place.archive.slots.refused == 0


@pytest.mark.parametrize(("slots", "studies"), [(3, 24), pytest.param(5, 500, marks=pytest.mark.sampled(100))])
def test_four_workers_never_take_more_slots_than_set(tmp_path: Path, slots: int, studies: int) -> None:
    folder, received, rows = tmp_path / "archive", tmp_path / "received", tmp_path / "rows.csv"
    for one in (folder, received):
        one.mkdir()
    made = corpus.make_study(folder, studies=studies, size=500)
    rows.write_text("StudyInstanceUID\n" + "".join(f"{one.study_uid}\n" for one in made))
    pool = tuple(AE(peers.HOST, peers.free_port(), f"WORKER{number}") for number in range(4))
    results: list[RowResult] = []
    with (
        MeasuringArchive(folder, {ae.title: (ae.host, ae.port) for ae in pool}) as archive,
        ProcessEngine([ae.title for ae in pool]) as engine,
    ):
        place = Place(archive, set(), rows, received, pool, set())
        place.run(engine, results.append, slots=slots, jobs=8)
        assert outcomes(results) == dict.fromkeys(range(1, studies + 1), "complete")
        assert (archive.most, archive.moves) == (slots, studies)


def test_object_that_another_worker_replaces_is_lost_to_its_entry(place: Place, tmp_path: Path) -> None:
    """The first and the last study have an object of one UID; whichever worker stores it last, the file is of one."""
    uids = place.rows.read_text(encoding="ascii").split()[1:]
    made = list((tmp_path / "archive").iterdir())
    double, taken = (pydicom.dcmread(next(one for one in made if study_of(one) == uid)) for uid in (uids[-1], uids[0]))
    double.SOPInstanceUID = double.file_meta.MediaStorageSOPInstanceUID = taken.SOPInstanceUID
    double.save_as(double.filename)
    results: list[RowResult] = []
    titles = {ae.title: (ae.host, ae.port) for ae in place.pool}
    with peers.orthanc(titles, tcp_nodelay=True) as orthanc, ProcessEngine(TITLES) as engine:
        orthanc.load(made)
        place._replace(archive=cast("MeasuringArchive", orthanc)).run(engine, results.append)
    last = outcomes(results)  # an entry that is corrected has another result
    assert [last[1], last[STUDIES]].count("complete") <= 1
    assert [last[number] for number in range(2, STUDIES)] == ["complete"] * (STUDIES - 2)
    assert len(place.files()) == STUDIES * OBJECTS - 1


def study_of(path: Path) -> str:
    return str(pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID)


@pytest.mark.row("cluster-worker")
def test_entries_of_a_killed_worker_are_requested_by_another(place: Place) -> None:
    results: list[RowResult] = []
    place.archive.faults = Faults(pause=0.02)
    with ProcessEngine(TITLES) as engine:

        def on_row(result: RowResult) -> None:
            results.append(result)
            if len(results) == 2:
                engine.processes["WORKER0"].kill()

        place.run(engine, on_row)
    assert outcomes(results) == dict.fromkeys(range(1, STUDIES + 1), "complete")
    assert len(results) == STUDIES
    assert place.files() == place.names


@pytest.mark.sampled(6)
@pytest.mark.row("cluster-worker")
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_worker_that_ends_at_a_random_moment_costs_no_entry(place: Place, number: signal.Signals, seed: int) -> None:
    results: list[RowResult] = []
    with ProcessEngine(TITLES) as engine:
        place.run(engine, results.append)
    assert outcomes(results) == dict.fromkeys(range(1, STUDIES + 1), "complete")
    clean, before = place.digests(), place.archive.moves
    place = place._replace(received=place.received.with_name("again"))
    place.received.mkdir()
    results.clear()
    place.archive.faults = Faults(pause=0.01)
    moment, over = random.Random(seed).randrange(STUDIES * OBJECTS), threading.Event()
    with ProcessEngine(TITLES) as engine:

        def end() -> None:
            while len(place.files()) < moment and not over.wait(0.002):
                pass
            engine.end("WORKER1", number)

        ending = threading.Thread(target=end)
        ending.start()
        try:
            place.run(engine, results.append)
        finally:
            over.set()
            ending.join()
    assert outcomes(results) == dict.fromkeys(range(1, STUDIES + 1), "complete")
    assert len(results) == STUDIES  # one verdict an entry
    assert place.digests() == clean
    assert place.archive.moves - before <= STUDIES + 4, "entries, and what was under way"


def collect(place: Place, code: int = 0) -> str:
    ran = movescu("--collect", place.received, folder=place.received, code=code)
    return str(ran.output) + str(ran.log)


@pytest.mark.row("cluster-own")
def test_directories_of_workers_are_collected_into_one(place: Place) -> None:
    results: list[RowResult] = []
    with ProcessEngine(TITLES) as engine:
        place.run(engine, results.append, own=True)
    assert outcomes(results) == dict.fromkeys(range(1, STUDIES + 1), "complete")
    assert place.files() <= set(TITLES)
    own = {path.name: path for title in TITLES for path in (place.received / title).glob("CT.*")}
    assert own.keys() == place.names
    movescu("--check-files", place.received, folder=place.received)  # exit code 0: the journal knows the folders
    some = sorted(own.values())
    double = some[0].parent.parent / TITLES[some[0].parent.name == TITLES[0]] / some[0].name
    double.parent.mkdir(exist_ok=True)  # the other worker may have come too late for a job
    double.write_bytes(some[0].read_bytes())  # the job of a lost worker, repeated by another
    with (double.parent / ".movescu.sha256").open("a") as manifest:
        manifest.write(f"{sha256(some[0].read_bytes()).hexdigest()}  {double.name}\n")
    (place.received / some[1].name).hardlink_to(some[1])  # the collection was killed here
    whole = some[2].read_bytes()
    some[2].write_bytes(whole[:-1])
    told = collect(place, code=63)
    assert f"{STUDIES * OBJECTS - 1} files collected from 2 workers, 0 before, 1 from several" in told
    assert ", 1 problem\n" in told
    assert f"{some[2].relative_to(place.received)} has other content than when it was stored" in told
    checked = movescu("--check-files", place.received, folder=place.received, code=63).output
    assert ": 1 changed" in checked, "the journal is told of those that were collected"
    some[2].write_bytes(whole)
    assert "1 file collected from 1 worker, " in collect(place)
    assert place.files() == place.names
    assert "0 files collected from 0 workers" in collect(place)
    checked = movescu("--check-files", place.received, folder=place.received).output
    assert f"{STUDIES * OBJECTS} files" in checked


@pytest.mark.row("cluster-own")
def test_folder_on_another_file_system_is_collected_by_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "W1" / "study"
    folder.mkdir(parents=True)
    (folder / "one").write_bytes(b"object")
    (tmp_path / "W1" / MANIFEST).write_text(f"{sha256(b'object').hexdigest()}  study/one\n")
    problems: list[str] = []
    collection = Collection(str(tmp_path), lambda path, _: problems.append(path))

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    def damage(source: BinaryIO, target: BinaryIO, *_: object) -> None:
        target.write(source.read().replace(b"j", b"i"))

    monkeypatch.setattr("movescu.cohort.cluster.collection.os.link", refuse)
    assert collection.folders() == ["W1"]
    with monkeypatch.context() as damaged:
        damaged.setattr("movescu.cohort.cluster.collection.shutil.copyfileobj", damage)
        assert collection.collect("W1")
    assert problems.pop() == "W1/study/one"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [MANIFEST, "one"]
    collection.problems = 0
    assert not collection.collect("W1")
    collection.remove("W1")
    assert [path.name for path in tmp_path.rglob("*")] == ["study", "one"]
    assert (tmp_path / "study" / "one").read_bytes() == b"object"
    assert (problems, collection.collected, collection.left) == ([], 1, 0)


def one_folder(top: Path, *lines: str) -> Path:
    """Make the folder of a worker with one object; ``lines``: further ones of its manifest."""
    folder = top / "W1"
    folder.mkdir(parents=True)
    (folder / "CT.1").write_bytes(b"object")
    text = (f"{sha256(b'object').hexdigest()}  CT.1", *lines)
    (folder / MANIFEST).write_text("".join(f"{line}\n" for line in text))
    return folder


def collected(top: Path) -> dict[str, str]:
    """Collect the folders of a directory; return the problems by path."""
    problems: dict[str, str] = {}
    collection = Collection(str(top), problems.__setitem__)
    for folder in collection.folders():
        if not collection.collect(folder):
            collection.remove(folder)
    return problems


@pytest.mark.row("cluster-own")
@pytest.mark.parametrize("made", ["file", "folder", "worker"])
def test_object_is_not_lost_where_a_link_makes_both_of_its_names_one(tmp_path: Path, made: str) -> None:
    top, below = tmp_path / "run", "study/CT.1" if made == "folder" else "CT.1"
    folder = one_folder(tmp_path if made == "worker" else top)
    if made == "file":
        (top / "CT.1").symlink_to("W1/CT.1")
    elif made == "folder":
        (folder / "study").mkdir()
        (folder / "CT.1").rename(folder / below)
        (folder / MANIFEST).write_text(f"{sha256(b'object').hexdigest()}  {below}\n")
        (top / "study").symlink_to("W1/study")
    else:
        top.mkdir()
        (top / "W1").symlink_to(folder)
    problems = collected(top)
    assert len(problems) == 1
    assert "is a link" in next(iter(problems.values()))
    assert (folder / below).read_bytes() == b"object"


@pytest.mark.row("cluster-own")
def test_line_of_a_manifest_that_is_damaged_leaves_nothing_out_unseen(tmp_path: Path) -> None:
    folder = one_folder(tmp_path, f"{'0' * 63}  CT.2")
    (folder / "CT.2").write_bytes(b"object")
    assert collected(tmp_path) == {f"W1/{MANIFEST}": "is damaged in line 2"}
    assert (tmp_path / "CT.1").exists()


@pytest.mark.row("cluster-own")
def test_object_that_the_journal_has_and_no_folder_is_missed(place: Place, tmp_path: Path) -> None:
    results: list[RowResult] = []
    with ProcessEngine(TITLES) as engine:
        place.run(engine, results.append, own=True)
    folder = next(one for one in place.received.glob("WORKER*") if any(one.glob("CT.*")))  # the first may do everything
    folder.rename(tmp_path / "left")  # it was not copied
    left = [path.name for path in (tmp_path / "left").glob("CT.*")]
    told = collect(place, code=63)
    assert f"{len(left)} problems" in told
    assert f"{folder.name}/{left[0]} is missing, and the journal has it" in told
    (tmp_path / "left").rename(folder)
    collect(place)
    assert place.files() == place.names


@pytest.mark.not_without("locks", "directories", "windows")
def test_folder_of_a_worker_that_stores_is_not_collected(tmp_path: Path) -> None:
    folder = one_folder(tmp_path)
    with contextlib.closing(OutputDirectory(str(folder))):
        outcome = movescu("--collect", tmp_path, folder=tmp_path, code=1)
    assert "a process is storing into" in outcome.log
    fd = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    assert "another collection of" in movescu("--collect", tmp_path, folder=tmp_path, code=1).log
    os.close(fd)
    assert "has no journal" in movescu("--collect", tmp_path, folder=tmp_path).log


@pytest.mark.row("cluster-own")
def test_entries_are_resumed_by_the_workers_that_have_their_files(place: Place) -> None:
    results: list[RowResult] = []
    with ProcessEngine(TITLES) as engine:
        place.run(engine, results.append, own=True)
    results.clear()
    with ProcessEngine(TITLES) as engine:
        place.run(engine, results.append, own=True, resume=True)
    assert outcomes(results) == dict.fromkeys(range(1, STUDIES + 1), "complete")
    assert {one.result and one.result.already_there for one in results} == {OBJECTS}


@pytest.mark.row("cluster-space")
@pytest.mark.parametrize("what", ["disk", "manifest"])
@pytest.mark.parametrize("full", [TITLES[:1], TITLES], ids=["one", "all"])
def test_worker_whose_disk_is_full_is_not_used_any_more(place: Place, full: tuple[str, ...], what: str) -> None:
    results: list[RowResult] = []
    own = what == "manifest"
    with ProcessEngine(TITLES, full=full, what=what) as engine:
        runner = place.run(engine, results.append, all_done=len(full) < len(TITLES), own=own)
    if len(full) < len(TITLES):
        assert outcomes(results) == dict.fromkeys(range(1, STUDIES + 1), "complete")
        assert {path.name for path in place.received.rglob("CT.*")} == place.names
        assert runner.stop is None
    else:
        assert runner.stop is Stop.NO_SPACE
        assert outcomes(results) == {}  # the entries are not to blame


@pytest.mark.row("cluster-unreached")
@pytest.mark.parametrize("unknown", [True, False], ids=["unknown", "unreached"])
@pytest.mark.parametrize("titles", [TITLES[:1], TITLES], ids=["one", "all"])
def test_worker_that_the_archive_cannot_send_to_is_not_used_any_more(
    place: Place,
    titles: tuple[str, ...],
    unknown: bool,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = place.archive.destinations
    for title in titles:
        if unknown:
            del known[title]
        else:
            known[title] = (peers.HOST, peers.free_port())  # where nothing listens
    results: list[RowResult] = []

    def usable(self: membership.Membership) -> list[Member]:
        """Use the good worker alone at first."""
        found = [one for one in self.all if one.usable]
        if titles == TITLES or (results and len(self.ready) == len(TITLES)):
            return found
        return [] if results else [one for one in found if one.ae.title not in titles]

    monkeypatch.setattr(membership.Membership, "usable", property(usable))
    with ProcessEngine(TITLES) as engine:
        runner = place.run(engine, results.append, all_done=len(titles) < len(TITLES))
    words = "does not know its title" if unknown else "cannot connect to it"
    retired = [f"worker {title} is not used any more: the archive {words}" in caplog.text for title in titles]
    if len(titles) < len(TITLES):
        assert all(retired)
        assert outcomes(results) == dict.fromkeys(range(1, STUDIES + 1), "complete")
        assert place.files() == place.names
    else:
        assert retired.count(True) == unknown  # else it may be the archive
        assert runner.stop is (Stop.UNKNOWN if unknown else Stop.UNREACHED)
        assert set(outcomes(results).values()) == {"failed"}
        assert len(results) < STUDIES


@pytest.mark.row("cluster-entry")
def test_entry_whose_workers_end_three_times_has_failed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    results: list[RowResult] = []
    lines = place.rows.read_text().splitlines()
    place.rows.write_text("\n".join(lines[:3]) + "\n")
    with ProcessEngine(TITLES) as engine:
        call: Callable[..., str] = engine.call

        def fatal(
            address: str,
            name: str,
            function: Callable[..., object],
            arguments: tuple[object, ...],
            then: Callable[[object, str], None],
        ) -> str:
            if name == "job" and from_json(str(arguments[1])).entry == 1:
                title = engine.workers[address]
                engine.processes[title].kill()
                engine.processes[title].wait()
                engine.start(title)
            return call(address, name, function, arguments, then)

        monkeypatch.setattr(engine, "call", fatal)
        place.run(engine, results.append, rest=0.0)
    assert outcomes(results) == {1: "failed", 2: "complete"}
    failed = next(one.result for one in results if one.row.number == 1)
    assert failed is not None
    assert failed.errors == ("three workers that requested it ended unexpectedly",)


@pytest.mark.row("cluster-scheduler")
@pytest.mark.parametrize("what", ["silent", "gone", "no workers"])
def test_run_without_scheduler_or_workers_ends_and_can_be_continued(
    place: Place, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    results: list[RowResult] = []
    place.archive.faults = Faults(pause=0.01)
    with ProcessEngine(TITLES) as engine:

        def on_row(result: RowResult) -> None:
            results.append(result)
            if what == "silent":
                engine.silent = True
            elif what == "gone":
                engine.gone = True
            else:
                monkeypatch.setattr(membership, "PATIENCE", 0.2)
                for process in engine.processes.values():
                    process.kill()

        with pytest.raises(ClusterError, match=r"scheduler|no worker"):
            place.run(engine, on_row)
    assert 0 < len(results) < STUDIES
    results.clear()
    place.archive.faults = Faults()
    monkeypatch.setattr(membership, "PATIENCE", 60.0)
    with ProcessEngine(TITLES) as engine:
        place.run(engine, results.append)
    assert outcomes(results) == dict.fromkeys(range(1, STUDIES + 1), "complete")
    assert place.files() == place.names


@pytest.mark.row("cluster-scheduler")
def test_wait_for_workers_begins_with_the_first_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when the list is read: one of a hundred thousand entries takes more than a minute until then."""
    monkeypatch.setattr(membership, "PATIENCE", -1.0)
    with ProcessEngine([]) as engine:
        members = membership.Membership(engine, [AE("host", 104, "W")], 0.0, lambda _: None, lambda _: None)
        members.follow()
        with pytest.raises(ClusterError, match="no worker for"):
            members.follow()


@pytest.mark.row("cluster-version")
def test_worker_of_another_version_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("movescu.cohort.cluster.workers.VERSION", "0.9.9")
    with (
        ProcessEngine(TITLES[:1]) as engine,
        pytest.raises(ClusterError, match=r"WORKER0 cannot be used: it runs movescu .*, the driver 0\.9\.9"),
    ):
        place.run(engine, lambda _: None)


@pytest.mark.row("cluster-version")
def test_worker_without_a_title_in_the_pool_is_refused(place: Place) -> None:
    with ProcessEngine(["STRANGER"]) as engine, pytest.raises(ClusterError, match="'STRANGER' has no title and port"):
        place.run(engine, lambda _: None)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessEngine]:
    """The workers that a program gets from ``cluster="local:2"``, without Dask."""
    with ProcessEngine(TITLES) as engine:
        monkeypatch.setattr("movescu.cohort.cluster.engine.Engine", lambda *_: engine)
        yield engine


def test_program_retrieves_over_workers_and_gets_results_in_order(place: Place, engine: ProcessEngine) -> None:
    uids = place.rows.read_text().splitlines()[1:]
    rows: list[dict[str, object]] = [{"StudyInstanceUID": uid} for uid in (*uids, "1.2.999")]
    told: list[int] = []
    with Client(place.config().archive, to=place.received, retry=Retry(resume=True, pause=0.01)) as client:
        found = client.retrieve_many(
            rows, cluster="local:2", ae_pool=place.pool, on_result=lambda number, _: told.append(number)
        )
        results = [getattr(one, "stored", one) for one in found]
        assert results == [OBJECTS] * STUDIES + [0]
        assert place.files() == place.names
        assert sorted(told) == list(range(STUDIES + 1))
        for address, title in tuple(engine.workers.items()):  # the first run has ended its workers
            engine.workers[f"{address} again"] = title
        again = client.retrieve_many(rows[:2], cluster="local:2", ae_pool=place.pool)
        assert [getattr(one, "already_there", one) for one in again] == [OBJECTS] * 2


@pytest.mark.row("cluster-own")
@pytest.mark.usefixtures("engine")
def test_program_has_workers_store_on_their_own_disks_and_collects(place: Place) -> None:
    uids = place.rows.read_text().splitlines()[1:]
    rows: list[dict[str, object]] = [{"StudyInstanceUID": uid} for uid in uids]
    with Client(place.config().archive, to=place.received) as client:
        found = list(client.retrieve_many(rows, cluster="local:2", ae_pool=place.pool, worker_files="own"))
    assert [getattr(one, "stored", one) for one in found] == [OBJECTS] * STUDIES
    assert place.files() <= set(TITLES)
    collected = movescu_library.collect(place.received)
    assert collected
    assert collected.collected == STUDIES * OBJECTS
    assert collected.folders in (1, 2)
    assert place.files() == place.names
    with pytest.raises(DirectoryNotFoundError):
        movescu_library.collect(place.received / "absent")


@pytest.mark.parametrize("to", [Memory(), print], ids=["memory", "callable"])
def test_workers_of_a_program_store_into_directories_alone(place: Place, to: Sink) -> None:
    with Client(place.config().archive, to=to) as client, pytest.raises(UsageError, match="not into a sink"):
        list(client.retrieve_many([], cluster="local:2", ae_pool=place.pool))


@pytest.mark.parametrize(
    ("cluster", "pool", "message"),
    [
        ("local:2", None, "has no titles of workers"),
        ("local:3", [AE("h", 104, "A")], "1 of 3 titles"),
        (2, [AE("h", 104, "A")], "2 does not name a cluster"),
        ("tcp://h:1", [AE("h", 104, "A")], "not encrypted"),
        (None, [AE("h", 104, "A")], "there are none"),
    ],
    ids=["no pool", "few titles", "number", "no TLS", "no cluster"],
)
def test_unusable_cluster_of_a_program_is_refused(
    place: Place, cluster: Any, pool: list[AE] | None, message: str
) -> None:
    with Client(place.config().archive, to=place.received) as client, pytest.raises(UsageError, match=message):
        list(client.retrieve_many([], cluster=cluster, ae_pool=pool))


def test_error_of_a_worker_does_not_raise_where_the_engine_would_log_it(place: Place) -> None:
    config = replace(place.config(), receive=Receive(peers.free_port()))
    setup = station.Setup("c", config, StorageOptions(directory=str(place.received)))
    assert station.open_station("0", b"no pickle") != ""
    assert station.open_station(VERSION, b"no pickle") != ""
    assert station.run_job("other", "{}") is None
    assert station.open_station(VERSION, station.pickled(setup)) == ""
    try:
        output = station.run_job("c", "no job")
    finally:
        station.close_station("c")
    assert output is not None
    assert output.error.startswith("UsageError")


@pytest.mark.not_without("hard-links", "locks", "epoll", "poll", "windows")  # of which Dask uses some
def test_command_runs_local_workers_without_leaving_any(place: Place, tmp_path: Path) -> None:
    pytest.importorskip("distributed")  # takes seconds to load, in three processes; the others run without it
    pool, report = tmp_path / "pool", tmp_path / "report.json"
    pool.write_text("".join(f"{ae.title} {ae.host} {ae.port}\n" for ae in place.pool))
    arguments = ["-S", "--list", place.rows, "--cluster", "local:2", "--ae-pool", pool, "--report", report]
    movescu(*arguments, place.archive.host, place.archive.port, folder=place.received)
    told = json.loads(report.read_text())
    assert told["stored"] == STUDIES * OBJECTS
    assert place.files() == place.names


def test_scheduler_and_worker_listen_on_no_port_but_their_own() -> None:
    """Dask would also serve HTTP, without TLS and to all hosts."""
    pytest.importorskip("distributed")
    psutil = pytest.importorskip("psutil")
    from movescu.cohort.cluster.without_http import SchedulerWithoutHTTP

    def listening() -> set[int]:
        return {one.laddr.port for one in psutil.Process().net_connections() if one.status == psutil.CONN_LISTEN}

    async def opened() -> set[int]:
        before = listening()
        async with (
            SchedulerWithoutHTTP(host=peers.HOST, port=0, dashboard=False) as scheduler,
            await worker("WORKER1", scheduler.address) as one_worker,
        ):
            ours = {int(one.address.rpartition(":")[2]) for one in (scheduler, one_worker)}
            return listening() - before - ours

    assert asyncio.run(opened()) == set()


@pytest.mark.row("cluster-own")
@pytest.mark.parametrize("path", ["/etc/hostname", "../outside"])
def test_manifest_that_names_files_outside_of_its_folder_moves_none(tmp_path: Path, path: str) -> None:
    (tmp_path / "run" / "W1").mkdir(parents=True)
    (tmp_path / "run" / "outside").write_bytes(b"object")
    (tmp_path / "run" / "W1" / MANIFEST).write_text(f"{sha256(b'object').hexdigest()}  {path}\n")
    problems: list[str] = []
    collection = Collection(str(tmp_path / "run"), lambda _, words: problems.append(words))
    assert collection.collect("W1")
    assert (tmp_path / "run" / "outside").exists()
    assert len(problems) == 1
