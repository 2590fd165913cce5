"""The writer: the names and contents of files, whatever else is in the output directory."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest

from movescu.errors import DirectoryNotFoundError, StoreError
from movescu.storage import files, files_by_path, folders, naming, writer
from movescu.storage.durability import Durability
from movescu.storage.naming import Alternative, Naming
from movescu.storage.writer import OutputDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from movescu.storage.writer import ObjectFile


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[OutputDirectory]:
    opened = OutputDirectory(str(tmp_path))
    yield opened
    opened.close()


def store(directory: OutputDirectory, name: str, data: bytes, meta: bytes = b"") -> Naming:
    file = directory.create()
    file.begin(meta, data)
    return file.commit(name)[0]


def names(path: Path) -> list[str]:
    """What is there, but the lock of the run that still has the directory open."""
    return sorted(entry.name for entry in path.iterdir() if entry.suffix != ".lock")


def test_file_has_its_name_only_when_it_is_whole(directory: OutputDirectory, tmp_path: Path) -> None:
    file = directory.create()
    file.begin(b"meta", b"first ")
    file.write(b"second")
    assert "CT.1" not in names(tmp_path)
    assert file.commit("CT.1") == (Naming.CREATED, "CT.1")
    assert names(tmp_path) == ["CT.1"]
    assert (tmp_path / "CT.1").read_bytes() == b"metafirst second"


def test_positions_count_from_the_start_of_the_data_set(directory: OutputDirectory, tmp_path: Path) -> None:
    file = directory.create()
    file.begin(b"meta", b"0123456789")
    file.patch(2, b"XY")
    assert file.read(1, 4) == b"1XY4"
    file.truncate(6)
    file.write(b"end")
    file.commit("CT.1")
    assert (tmp_path / "CT.1").read_bytes() == b"meta01XY45end"


def test_patch_of_which_the_system_writes_a_part_is_completed(
    directory: OutputDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = files.pwrite
    monkeypatch.setattr(files, "pwrite", lambda fd, data, position: pwrite(fd, data[:1], position))
    file = directory.create()
    file.begin(b"meta", b"0123456789")
    file.patch(2, b"WXYZ")
    file.commit("CT.1")
    assert (tmp_path / "CT.1").read_bytes() == b"meta01WXYZ6789"


def test_write_of_which_the_system_takes_a_part_is_completed(
    directory: OutputDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "writev", lambda fd, buffers: os.write(fd, b"".join(buffers)[:3]))
    monkeypatch.setattr(files, "write", lambda fd, data: os.write(fd, data[:2]))
    file = directory.create()
    file.begin(b"meta", b"01234", b"56789")
    file.write(b"end")
    file.commit("CT.1")
    assert (tmp_path / "CT.1").read_bytes() == b"meta0123456789end"


def test_discarded_file_leaves_nothing_and_touches_nothing(directory: OutputDirectory, tmp_path: Path) -> None:
    store(directory, "CT.1", b"good")
    file = directory.create()
    file.begin(b"", b"bad")
    file.discard()
    assert names(tmp_path) == ["CT.1"]
    assert (tmp_path / "CT.1").read_bytes() == b"good"


@pytest.mark.row("38")
def test_file_of_the_same_content_is_kept(directory: OutputDirectory, tmp_path: Path) -> None:
    store(directory, "CT.1", b"same" * 1000)
    before = (tmp_path / "CT.1").stat()
    assert store(directory, "CT.1", b"same" * 1000) is Naming.SAME
    after = (tmp_path / "CT.1").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert names(tmp_path) == ["CT.1"]


@pytest.mark.parametrize("content", [b"other", b"same but longer", b"", b"sAme"])
def test_file_of_other_content_is_replaced(directory: OutputDirectory, tmp_path: Path, content: bytes) -> None:
    store(directory, "CT.1", b"same")
    assert store(directory, "CT.1", bytes(content)) is Naming.REPLACED
    assert (tmp_path / "CT.1").read_bytes() == content


def test_difference_far_inside_a_large_file_is_noticed(directory: OutputDirectory, tmp_path: Path) -> None:
    content = bytearray(5 << 20)
    store(directory, "CT.1", bytes(content))
    content[(4 << 20) + 7] = 1
    assert store(directory, "CT.1", bytes(content)) is Naming.REPLACED
    assert (tmp_path / "CT.1").read_bytes() == content


@pytest.mark.row("35")
def test_link_is_replaced_and_its_target_kept(directory: OutputDirectory, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "CT.1").symlink_to(victim)
    assert store(directory, "CT.1", b"precious") is Naming.REPLACED
    assert not (tmp_path / "CT.1").is_symlink()
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize("data", [b"data", b""])
def test_pipe_of_the_same_name_does_not_hang_the_retrieve(
    directory: OutputDirectory, tmp_path: Path, data: bytes
) -> None:
    os.mkfifo(tmp_path / "CT.1")
    assert store(directory, "CT.1", data) is Naming.REPLACED
    assert (tmp_path / "CT.1").is_file()
    assert (tmp_path / "CT.1").read_bytes() == data


def test_data_set_of_very_many_fragments_is_written(directory: OutputDirectory, tmp_path: Path) -> None:
    """The system takes 1024 buffers in one call."""
    fragments = [bytes([number & 0xFF]) for number in range(3000)]
    file = directory.create()
    file.begin(b"meta", *fragments)
    file.write_all(fragments)
    file.commit("CT.1")
    assert (tmp_path / "CT.1").read_bytes() == b"meta" + b"".join(fragments) * 2


@pytest.mark.parametrize(
    "use",
    [
        lambda file: file.write(b"more"),
        lambda file: file.patch(0, b"more"),
        lambda file: file.read(0, 4),
        lambda file: file.truncate(0),
        lambda file: file.commit("CT.1"),
    ],
    ids=["write", "patch", "read", "truncate", "commit"],
)
def test_file_that_fails_is_an_error_and_leaves_nothing(
    directory: OutputDirectory, tmp_path: Path, use: Callable[[ObjectFile], object]
) -> None:
    file = directory.create()
    file.begin(b"meta", b"data")
    os.close(file.fd)
    with pytest.raises(StoreError, match="Bad file descriptor") as caught:
        use(file)
    assert "free space" in caught.value.hint
    file.fd = -1
    file.discard()
    assert names(tmp_path) == []


def test_file_to_rely_on_that_is_gone_is_an_error(directory: OutputDirectory) -> None:
    with pytest.raises(StoreError, match="cannot read 'CT"):
        directory.rely("CT.1", 7)


@pytest.mark.not_without("directories", "windows")
@pytest.mark.parametrize("how", ["moved", "removed", "replaced"])
def test_flush_fails_if_the_path_does_not_lead_to_the_files_any_more(tmp_path: Path, how: str) -> None:
    (tmp_path / "out").mkdir()
    directory = OutputDirectory(str(tmp_path / "out"))
    store(directory, "CT.1", b"data")
    directory.flush()
    if how == "removed":
        shutil.rmtree(tmp_path / "out")
    else:
        (tmp_path / "out").rename(tmp_path / "elsewhere")
    if how == "replaced":
        (tmp_path / "out").mkdir()
    with pytest.raises(StoreError, match="out' was moved or replaced"):
        directory.flush()
    directory.close()


def test_files_are_stored_where_those_without_a_name_can_be_given_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container without ``/proc``."""
    link = files.link

    def no_proc(source: str, *arguments: Any, **folders: Any) -> None:
        if source.startswith("/proc"):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        link(source, *arguments, **folders)

    monkeypatch.setattr(files, "link", no_proc)
    with closing(OutputDirectory(str(tmp_path))) as directory:
        assert store(directory, "CT.1", b"data") is Naming.CREATED
    assert names(tmp_path) == ["CT.1"]


@pytest.mark.row("34")
def test_directory_of_the_same_name_is_an_error_and_leaves_no_file(directory: OutputDirectory, tmp_path: Path) -> None:
    (tmp_path / "CT.1").mkdir()
    with pytest.raises(StoreError, match=r"CT\.1"):
        store(directory, "CT.1", b"data")
    assert names(tmp_path) == ["CT.1"]


@pytest.mark.row("33")
def test_full_disk_leaves_the_good_copy_and_no_other_file(tmp_path: Path) -> None:
    mounted = tmp_path / "small"
    mounted.mkdir()
    options = "size=256k"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", mounted], capture_output=True).returncode:  # noqa: PLW1510 - judged here
        pytest.skip("mounting needs root's privileges")
    try:
        directory = OutputDirectory(str(mounted))
        store(directory, "CT.1", b"good")
        file = directory.create()
        with pytest.raises(StoreError, match="No space left"):
            file.begin(b"meta", bytes(1 << 20))
        file.discard()
        assert names(mounted) == ["CT.1"]
        assert (mounted / "CT.1").read_bytes() == b"good"
        directory.close()
    finally:
        subprocess.run(["umount", mounted], check=True)


@pytest.mark.not_without("directories", "windows")
def test_objects_stay_together_when_the_directory_is_renamed(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    directory = OutputDirectory(str(tmp_path / "before"))
    store(directory, "CT.1", b"one")
    (tmp_path / "before").rename(tmp_path / "after")
    store(directory, "CT.2", b"two")
    directory.close()
    assert names(tmp_path / "after") == ["CT.1", "CT.2"]


@pytest.mark.row("36")
def test_removed_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    directory = OutputDirectory(str(tmp_path / "gone"))
    shutil.rmtree(tmp_path / "gone")
    with pytest.raises(StoreError):
        directory.create()
    directory.close()


@pytest.mark.parametrize("kind", ["missing", "file", "empty"])
def test_output_path_that_is_no_directory_is_named(tmp_path: Path, kind: str) -> None:
    path = {"missing": str(tmp_path / "missing"), "file": str(tmp_path / "file"), "empty": ""}[kind]
    (tmp_path / "file").touch()
    with pytest.raises(DirectoryNotFoundError, match="output directory"):
        OutputDirectory(path)


@pytest.mark.parametrize(("umask", "mode"), [(0o027, 0o640), (0, 0o666)])
def test_umask_decides_who_may_read_an_object(
    directory: OutputDirectory, tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        store(directory, "CT.1", b"data")
    finally:
        os.umask(before)
    assert (tmp_path / "CT.1").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("planted", ["link", "file"])
def test_temporary_name_that_somebody_has_taken_is_an_error_and_its_file_untouched(
    directory: OutputDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    monkeypatch.setattr(writer, "_UNNAMED", 0)
    directory.create().discard()
    victim, temporary = tmp_path / "victim", tmp_path / directory._temporary_name().replace("-2.", "-3.")
    victim.write_bytes(b"precious")
    if planted == "link":
        temporary.symlink_to(victim)
    else:
        victim.rename(temporary)
        victim = temporary
    with pytest.raises(StoreError, match="cannot create"):
        directory.create()
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize("named", [False, True])
def test_spool_file_vanishes_with_its_descriptor(
    directory: OutputDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, named: bool
) -> None:
    if named:
        monkeypatch.setattr(writer, "_UNNAMED", 0)
    spool = directory.spool()
    spool.write(b"data")
    assert spool.read(0, 4) == b"data"
    assert names(tmp_path) == []
    spool.discard()


@pytest.mark.parametrize("durability", Durability)
@pytest.mark.parametrize("count", [1, 40])
def test_flush_works_for_few_files_and_many(tmp_path: Path, durability: Durability, count: int) -> None:
    directory = OutputDirectory(str(tmp_path), durability)
    for number in range(count):
        store(directory, f"CT.{number}", b"data")
    directory.flush()
    directory.close()
    assert len(names(tmp_path)) == count


def test_removed_file_does_not_fail_the_flush(directory: OutputDirectory, tmp_path: Path) -> None:
    store(directory, "CT.1", b"data")
    (tmp_path / "CT.1").unlink()
    directory.flush()


def test_pipe_in_the_place_of_a_stored_file_fails_the_flush_and_does_not_hang_it(
    directory: OutputDirectory, tmp_path: Path
) -> None:
    store(directory, "CT.1", b"data")
    (tmp_path / "CT.1").unlink()
    os.mkfifo(tmp_path / "CT.1")
    with pytest.raises(StoreError, match="cannot flush"):
        directory.flush()


def test_directory_can_be_shared_by_two_retrieves_of_a_process(directory: OutputDirectory, tmp_path: Path) -> None:
    other = OutputDirectory(str(tmp_path))
    files = [opened.create() for opened in (directory, other) for _ in range(3)]
    for number, file in enumerate(files):
        file.begin(b"", b"data")
        file.commit(f"CT.{number}")
    other.close()
    assert names(tmp_path) == [f"CT.{number}" for number in range(6)]


def test_error_in_the_comparison_leaves_no_temporary_file(
    directory: OutputDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: int) -> bool:
        raise MemoryError

    store(directory, "CT.1", b"good")
    monkeypatch.setattr("movescu.storage.writer.has_same_content", exhausted)
    with pytest.raises(MemoryError):
        store(directory, "CT.1", b"other")
    assert names(tmp_path) == ["CT.1"]
    assert (tmp_path / "CT.1").read_bytes() == b"good"


@pytest.mark.not_without("directories", "windows")
def test_closed_directory_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    directory = OutputDirectory(str(tmp_path))
    for number in range(20):
        store(directory, f"CT.{number}", bytes(8 << 20))
    assert threading.active_count() == before + 1
    directory.close()
    assert threading.active_count() == before


def test_file_that_cannot_be_opened_ahead_is_no_error(
    directory: OutputDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one that another association has taken meanwhile."""

    def exhausted(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    class Taken(list[int]):
        def pop(self, *_: object) -> int:
            return [].pop()

    store(directory, "CT.1", b"data")
    with monkeypatch.context() as patch:
        patch.setattr(files, "openat", exhausted)
        directory.prepare()
    directory._spare = Taken((-1,))
    store(directory, "CT.2", b"more")
    directory._spare = []
    assert names(tmp_path) == ["CT.1", "CT.2"]


@pytest.mark.parametrize("beside", [False, True])
def test_names_that_others_may_have_are_given_by_one_association_at_a_time(
    directory: OutputDirectory, monkeypatch: pytest.MonkeyPatch, *, beside: bool
) -> None:
    """Two objects of one name would otherwise both replace the file before them, and nobody learn of the second."""
    locked: list[bool] = []
    name_in_place = directory._name_in_place

    def watched(*arguments: Any) -> tuple[Naming, str]:
        locked.append(directory._naming.locked())
        return name_in_place(*arguments)

    monkeypatch.setattr(directory, "_name_in_place", watched)
    monkeypatch.setattr(writer, "_UNNAMED", 0)
    alternative = Alternative(lambda: ("CT.2",), lambda _: False) if beside else None
    for content in (b"data", b"more"):
        file = directory.create()
        file.begin(b"", content)
        file.commit("CT.1", alternative)
    assert locked == [beside, True]


def test_files_are_compared_and_links_are_none(directory: OutputDirectory, tmp_path: Path) -> None:
    for name, content in (("CT.1", b"data"), ("CT.2", b"data"), ("CT.3", b"dada")):
        store(directory, name, content)
    (tmp_path / "link").symlink_to(tmp_path / "CT.1")
    before = open_files(tmp_path)
    others = ("CT.2", "CT.3", "CT.4", "link")
    assert [directory.is_same("CT.1", other) for other in others] == [True, False, False, False]
    assert open_files(tmp_path) == before
    assert [directory.status(other) is None for other in others] == [False, False, True, True]


def open_files(folder: Path) -> int:
    """How many files below a folder are open; other tests of this process may have left some to be closed any time."""
    here = 0
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            here += os.readlink(f"/proc/self/fd/{number}").startswith(str(folder))
    return here


def test_prepared_file_is_used_and_the_last_one_closed(tmp_path: Path) -> None:
    before = open_files(tmp_path)
    directory = OutputDirectory(str(tmp_path))
    store(directory, "CT.1", b"data")
    if not directory._unnamed:
        pytest.skip("files have names here before they are whole")
    between = open_files(tmp_path)
    directory.prepare()
    directory.prepare()
    assert open_files(tmp_path) == between + 1
    store(directory, "CT.2", b"more")
    assert open_files(tmp_path) == between
    directory.prepare()
    directory.close()
    assert open_files(tmp_path) == before
    assert names(tmp_path) == ["CT.1", "CT.2"]


# -- two runs in one directory -----------------------------------------------------------------------------------------


def store_beside(directory: OutputDirectory, data: bytes) -> str:
    """Store an object of a layout whose names collide; gives the path of its file."""
    file = directory.create()
    file.begin(b"", data)
    numbers = (f"CT.{number}" for number in range(2, 1000))
    return file.commit("CT.1", Alternative(lambda: numbers, lambda fd: files.pread(fd, 100, 0) != data))[1]


@pytest.fixture
def other(tmp_path: Path) -> Iterator[OutputDirectory]:
    with closing(OutputDirectory(str(tmp_path))) as made:
        yield made


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Take away what a file system or a system may lack."""
    monkeypatch.setattr(writer, "_UNNAMED", 0)
    for name in names:
        monkeypatch.setattr(writer, name, lambda *_: False)


def test_name_that_another_run_takes_meanwhile_stays_its_own(
    directory: OutputDirectory, other: OutputDirectory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    untaken = naming.untaken

    def raced(path: str, folder: Any, alternative: Alternative) -> str:
        found = untaken(path, folder, alternative)
        monkeypatch.setattr(writer, "untaken", untaken)
        assert store_beside(other, b"theirs") == found
        return found

    without(monkeypatch)
    monkeypatch.setattr(writer, "untaken", raced)
    assert store_beside(directory, b"ours") == "CT.2"
    assert [(tmp_path / name).read_bytes() for name in names(tmp_path)] == [b"theirs", b"ours"]


def test_name_that_another_run_takes_before_the_rename_stays_its_own_without_links(
    directory: OutputDirectory, other: OutputDirectory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rename_locked = folders.rename_locked

    def raced(*arguments: Any) -> None:
        monkeypatch.setattr(writer, "rename_locked", rename_locked)
        assert store_beside(other, b"theirs") == "CT.1"
        rename_locked(*arguments)

    without(monkeypatch, "link", "rename_new")
    monkeypatch.setattr(writer, "rename_locked", raced)
    assert store_beside(directory, b"ours") == "CT.2"
    assert [(tmp_path / name).read_bytes() for name in names(tmp_path)] == [b"theirs", b"ours"]


@pytest.mark.parametrize(
    "lacking",
    [
        (),
        pytest.param(("link",), marks=pytest.mark.not_without("windows", "directories")),  # not Windows' own rename
        pytest.param(("link", "rename_new"), marks=pytest.mark.not_without("windows", "directories", "locks")),
    ],
)
def test_runs_in_one_directory_give_every_object_a_name_of_its_own(
    directory: OutputDirectory,
    other: OutputDirectory,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    lacking: tuple[str, ...],
) -> None:
    without(monkeypatch, *lacking)
    threads = [
        threading.Thread(target=lambda d=one, p=prefix: [store_beside(d, b"%c%d" % (p, n)) for n in range(25)])
        for one, prefix in ((directory, 97), (other, 98), (directory, 99), (other, 100))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({path.read_bytes() for path in tmp_path.glob("CT.*")}) == 100


def test_system_that_renames_by_path_replaces_no_other_file(tmp_path: Path) -> None:
    for name in ("new", "CT.1"):
        (tmp_path / name).write_bytes(name.encode())
    where = files_by_path.openat(str(tmp_path), files_by_path.O_DIRECTORY)
    with pytest.raises(FileExistsError):
        files_by_path.rename_new("new", "CT.1", where, where)
    files_by_path.rename_new("new", "CT.2", where, where)
    files_by_path.close(where)
    assert [(tmp_path / name).read_bytes() for name in names(tmp_path)] == [b"CT.1", b"new"]
