"""File systems that are full, read-only or broken, and runs that are killed: the whole path from socket to file.

Afterwards the directory has whole objects under their names and nothing else that lasts; every response to the sender
was true; the association is open, and objects sent after the fault are stored.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import corpus
import pytest
import scripted
from command import OURS, OURS_WITH_NAMED_FILES, Running, running
from effort import some
from injected import Injector, calls_on, can_mount, remount, threads_of, tmpfs
from setting import KEY, Setting

from movescu.dimse.status import OUT_OF_RESOURCES, SUCCESS
from movescu.errors import PeerError
from movescu.storage import writer
from movescu.storage.failed_flushes import FILE_NAME
from movescu.storage.writer import OutputDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from corpus import Instance

mounts = pytest.mark.skipif(not can_mount(), reason="mounting needs root's privileges")


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def stored(folder: Path) -> dict[str, bytes]:
    """What is in a folder beside the lock of a run."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix != ".lock"}


def name(instance: Instance) -> str:
    return f"CT.{instance.instance_uid}"


# -- a file system that is full, read-only, gone -------------------------------------------------------------------


@contextmanager
def retrieving(setting: Setting, folder: Path) -> Iterator[scripted.Sender]:
    """Retrieve into a folder what the block sends over one association. It ends as it would without the trouble."""
    setting.received = folder
    sending, sent = threading.Event(), threading.Event()

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        sending.set()
        assert sent.wait(scripted.PATIENCE)
        session.respond(completed=0)
        session.expect_release()

    with setting.retrieve(script) as retrieve:
        moving = threading.Thread(target=retrieve.run)
        moving.start()
        try:
            assert sending.wait(scripted.PATIENCE)
            with scripted.sender(setting.port, setting.made) as sender:
                yield sender
        finally:
            sent.set()
            moving.join()


@mounts
@pytest.mark.row("32")
def test_object_is_refused_on_a_full_disk_and_the_next_one_stored_when_there_is_room(
    setting: Setting, tmp_path: Path
) -> None:
    first, second, third = setting.made
    with tmpfs(tmp_path / "small", "size=96k") as folder:  # room for one of them
        with retrieving(setting, folder) as sender:
            assert sender.store(first) == SUCCESS
            assert sender.store(second) == OUT_OF_RESOURCES
            assert list(stored(folder)) == [name(first)]
            (folder / name(first)).unlink()
            assert sender.store(third) == SUCCESS
        setting.assert_arrived([third])
        assert [file.name for file in folder.iterdir()] == [name(third)]


@mounts
@pytest.mark.row("33")
@pytest.mark.parametrize("content", ["other", "same"])
def test_good_copy_survives_being_sent_again_onto_a_full_disk(setting: Setting, tmp_path: Path, content: str) -> None:
    first = setting.made[0]
    with tmpfs(tmp_path / "small", "size=96k") as folder:
        with retrieving(setting, folder) as sender:
            assert sender.store(first) == SUCCESS
        if content == "other":
            (folder / name(first)).write_bytes(b"good" * 20_000)
        before = stored(folder)
        with retrieving(setting, folder) as sender:
            assert sender.store(first) == OUT_OF_RESOURCES
        assert stored(folder) == before


@pytest.mark.not_without("locks", "unnamed-files", "directories", "windows")  # whose files are others
@mounts
@pytest.mark.row("34")
def test_object_is_refused_without_inodes_and_the_next_one_stored_when_there_is_one(
    setting: Setting, tmp_path: Path
) -> None:
    first, second, third = setting.made
    with tmpfs(tmp_path / "small", "nr_inodes=3") as folder:  # the root, the lock of the run, and one more
        with retrieving(setting, folder) as sender:
            assert sender.store(first) == SUCCESS
            assert sender.store(second) == OUT_OF_RESOURCES
            (folder / name(first)).unlink()
            assert sender.store(third) == SUCCESS
        setting.assert_arrived([third])


@mounts
@pytest.mark.row("34")
def test_run_without_a_single_inode_refuses_every_object(setting: Setting, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "nr_inodes=1") as folder:
        with retrieving(setting, folder) as sender:
            assert [sender.store(instance) for instance in setting.made] == [OUT_OF_RESOURCES] * 3
        assert list(folder.iterdir()) == []


@mounts
@pytest.mark.row("34")
def test_read_only_disk_refuses_objects_until_it_is_writable_again(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By remounting, where files have names; else the next one is open already, and ``mount`` is refused."""
    monkeypatch.setattr(writer, "_UNNAMED", 0)
    first, second, third = setting.made
    with tmpfs(tmp_path / "small", "size=1m") as folder:
        with retrieving(setting, folder) as sender:
            assert sender.store(first) == SUCCESS
            remount(folder, "ro")
            assert sender.store(second) == OUT_OF_RESOURCES
            assert list(stored(folder)) == [name(first)]
            remount(folder, "rw")
            assert sender.store(third) == SUCCESS
        setting.assert_arrived([first, third])


@pytest.mark.row("34")
def test_directory_with_the_name_of_an_object_is_kept(setting: Setting) -> None:
    first, second, _ = setting.made
    (setting.received / name(first)).mkdir()
    with retrieving(setting, setting.received) as sender:
        assert sender.store(first) == OUT_OF_RESOURCES
        assert sender.store(second) == SUCCESS
    assert (setting.received / name(first)).is_dir()
    (setting.received / name(first)).rmdir()
    setting.assert_arrived([second])


@pytest.mark.row("35")
def test_link_with_the_name_of_an_object_is_replaced_and_its_target_kept(setting: Setting, tmp_path: Path) -> None:
    first = setting.made[0]
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (setting.received / name(first)).symlink_to(victim)
    with retrieving(setting, setting.received) as sender:
        assert sender.store(first) == SUCCESS
    assert victim.read_bytes() == b"precious"
    assert not (setting.received / name(first)).is_symlink()
    setting.assert_arrived([first])


@pytest.mark.row("36")
def test_removed_output_directory_refuses_objects(setting: Setting) -> None:
    first, second, third = setting.made
    with retrieving(setting, setting.received) as sender:
        assert sender.store(first) == SUCCESS
        shutil.rmtree(setting.received)
        assert [sender.store(second), sender.store(third)] == [OUT_OF_RESOURCES] * 2
    assert not setting.received.exists()


@pytest.mark.not_without("directories", "windows")
@pytest.mark.row("36")
def test_output_directory_renamed_within_an_object_has_all_objects(setting: Setting, tmp_path: Path) -> None:
    first, second, third = setting.made
    with retrieving(setting, setting.received) as sender:
        assert sender.store(first) == SUCCESS
        sender.begin(second)
        setting.received.rename(tmp_path / "elsewhere")
        setting.received.mkdir()
        assert sender.complete() == SUCCESS
        assert sender.store(third) == SUCCESS
    assert list(setting.received.iterdir()) == []
    setting.received = tmp_path / "elsewhere"
    setting.assert_arrived(setting.made)


# -- calls that fail, calls at which the run is killed -------------------------------------------------------------

EARLIER = b"an earlier copy of the first object"
STATS = {"newfstatat", "fstat", "stat", "statx"}  # to be killed at one is to be killed behind the call before it
FULL = os.environ.get("SWEEP") == "full"  # "make soak" asks for it
DURABLE = [("--durable", "object")]
MODES = [(), ("+B",), ("+ti",), ("+td",)] if FULL else [()]
PROGRAMS = [OURS, OURS_WITH_NAMED_FILES]


class Trouble:
    """A run of the command amid whose objects a call fails, or kills it: what it said of each, and how it ended.

    The threads that calls are counted in are the one that stores (``True``) and the one that ends the run.
    """

    def __init__(self, setting: Setting, *options: object, program: str = OURS) -> None:
        self._setting = setting
        self._program = program
        self._options = options
        self._objects = setting.made[:2]
        self._runs = 0

    def points(self) -> list[tuple[bool, str, int]]:
        """Find out what can be injected into: the calls on the output folder."""
        log, threads = self._setting.received.parent / "trace", list[int]()

        def record(injector: Injector, pid: int, storing: int) -> None:
            threads.extend((pid, storing))
            injector.record(threads, log)

        self._run(record)
        assert (self.code, list(self.statuses.values())) == (0, [SUCCESS] * 2)
        return [(thread == threads[1], call, number) for thread, call, number in calls_on(self.folder, log)]

    def inject(self, what: str, point: tuple[bool, str, int]) -> None:
        """Let something happen at a call."""
        in_storing, call, number = point

        def attach(injector: Injector, pid: int, storing: int) -> None:
            injector.attach(storing if in_storing else pid, f"{call}:{what}:when={number}")

        self._run(attach)

    def _run(self, attach: Callable[[Injector, int, int], None]) -> None:
        self._runs += 1
        self.folder = self._setting.received / str(self._runs)
        self.folder.mkdir()
        (self.folder / name(self._objects[0])).write_bytes(EARLIER)
        self.statuses: dict[str, int] = {}
        injector, started = Injector(), Future[Running]()

        def script(session: scripted.Session) -> None:
            session.accept()
            session.expect_move()
            pid = started.result(scripted.PATIENCE).pid
            before = threads_of(pid)
            with suppress(PeerError):  # it was killed
                with scripted.sender(self._setting.port, self._objects) as sender:
                    [storing] = threads_of(pid) - before
                    attach(injector, pid, storing)
                    for instance in self._objects:
                        self.statuses[name(instance)] = sender.store(instance)
                session.respond(completed=sum(status == SUCCESS for status in self.statuses.values()))
                session.expect_release()

        with scripted.archive(script) as archive:
            arguments = ["-k", KEY, "+P", self._setting.port, *self._options, *archive.address]
            with running(*arguments, folder=self.folder, program=self._program) as command:
                started.set_result(command)
                self.outcome = command.end()
        self.code = self.outcome.code
        injector.finish()

    def check(self, *, told: bool = True) -> None:
        """What was said to be stored is there, the rest is as it was, and all is whole.

        Not ``told``: an object may be there though its sender did not hear it.
        """
        files = {found: content for found, content in stored(self.folder).items() if not found.startswith(".movescu")}
        for instance in self._objects:
            status, content = self.statuses.get(name(instance)), files.pop(name(instance), None)
            if status == SUCCESS or (not told and content not in (None, EARLIER)):
                assert content is not None
                assert corpus.dataset_equal(instance.path, self.folder / name(instance))
            else:
                assert content == (EARLIER if instance is self._objects[0] else None)
        assert not files

    def sweep(self) -> None:
        """Do what the next run does first."""
        directory = OutputDirectory(str(self.folder))
        directory.remove_leftovers()
        directory.close()


def chosen(points: Sequence[tuple[bool, str, int]]) -> list[tuple[bool, str, int]]:
    """Return the points to be tried: of a call that a thread makes often, the first and the last, or all of them."""
    if FULL:
        return [*points]
    calls: dict[tuple[bool, str], list[tuple[bool, str, int]]] = {}
    for point in points:
        calls.setdefault(point[:2], []).append(point)
    return [point for same in calls.values() for point in some(same, len(same))]


@pytest.mark.not_without("locks", "windows")  # temporary files of killed runs stay for a day then
@pytest.mark.row("37")
@pytest.mark.parametrize("options", [*MODES, *(DURABLE if FULL else [])], ids=" ".join)
@pytest.mark.parametrize("program", PROGRAMS, ids=["unnamed", "named"])
def test_run_killed_at_any_call_leaves_whole_objects_and_removable_leftovers(
    setting: Setting, options: tuple[str, ...], program: str
) -> None:
    run = Trouble(setting, *options, program=program)
    points = [point for point in chosen(run.points()) if FULL or point[1] not in STATS]
    left = 0
    for point in points:
        run.inject("signal=KILL", point)
        assert run.code == -signal.SIGKILL, point
        run.check(told=False)
        left += any(file.suffix == ".part" for file in run.folder.iterdir())
        run.sweep()
        assert not [file for file in run.folder.iterdir() if file.name.startswith(".movescu-")], point
    assert left or program is OURS  # else no file was being written at any of the points


@pytest.mark.not_without("directories", "windows")  # a file whose close fails keeps its name
@pytest.mark.row("32", "33")
@pytest.mark.parametrize("options", [*MODES, *DURABLE], ids=" ".join)
@pytest.mark.parametrize("program", PROGRAMS if FULL else [OURS], ids=["unnamed", "named"][: 1 + FULL])
def test_failing_system_call_refuses_one_object_at_most_and_loses_no_copy(
    setting: Setting, options: tuple[str, ...], program: str
) -> None:
    run = Trouble(setting, *options, program=program)
    failing: set[tuple[bool, str]] = set()
    for point in chosen(run.points()):
        run.inject("error=EIO", point)
        storing, call, _ = point
        run.check(told=call not in {"fsync", "close"})  # they come behind the name
        failures = [status for status in run.statuses.values() if status != SUCCESS]
        assert failures in ([], [OUT_OF_RESOURCES]), point
        assert run.code in ((0, 63) if not failures else (63,)), (point, run.outcome.log)
        failing |= {(storing, call)} if run.code else set()
        assert run.code or not (run.folder / FILE_NAME).exists(), point
        ours = [file.name for file in run.folder.iterdir() if file.name.startswith(".movescu-")]
        assert not ours or call.startswith("unlink"), point
        run.sweep()
        assert not [file for file in run.folder.iterdir() if file.name in ours and file.suffix == ".lock"]
    assert failing >= {(True, "openat"), (True, "writev"), (True, "close"), (options in DURABLE, "fsync")}


@pytest.mark.not_without("locks", "case", "windows")  # without case, folders are read and closed before
@pytest.mark.row("37")
def test_retrieve_after_a_killed_one_removes_its_leftovers_and_stores_the_rest(setting: Setting) -> None:
    killed = Trouble(setting, program=OURS_WITH_NAMED_FILES)
    killed.inject("signal=KILL", (True, "close", 1))
    assert {file.suffix for file in killed.folder.iterdir() if file.name.startswith(".movescu-")} == {".part", ".lock"}
    (killed.folder / name(setting.made[0])).unlink()
    with retrieving(setting, killed.folder) as sender:
        assert [sender.store(instance) for instance in setting.made] == [SUCCESS] * 3
    setting.assert_arrived(setting.made)
    assert len(list(killed.folder.iterdir())) == 3
