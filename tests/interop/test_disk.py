"""The disk has the last word: what was stored is proved there before ``--verify``, ``--resume`` and ``--list`` succeed.

A plain retrieve does as DCMTK does with objects; only its output directory has to be where it was.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import corpus
import peers
import pytest
import scripted
import without
from command import movescu
from setting import Setting

import movescu as library
from movescu.events import ObjectEvent
from movescu.testing import Archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from corpus import Instance

FLUSHES = "trace=fsync,fdatasync,syncfs"
STUDY, SERIES, IMAGE = 0x0020000D, 0x0020000E, 0x00080018


def even(uid: str) -> str:
    return uid + "\0" * (len(uid) & 1)


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[], Archive]]:
    """Start an archive with the objects in a folder of this name."""
    (tmp_path / "archive").mkdir()
    with contextlib.ExitStack() as stack:

        def start() -> Archive:
            port = peers.free_port()
            return stack.enter_context(Archive(tmp_path / "archive", {"MOVESCU": (peers.HOST, port)}))

        yield start


def run(setting: Setting, sent: list[Instance], *options: object, code: int, listed: bool = True) -> str:
    """Retrieve objects one by one from an archive that lists them if it is asked; give the log."""
    first = sent[0]

    def script(session: scripted.Session) -> None:
        session.accept()
        if listed:
            if "--verify" in options:
                session.answer_find({STUDY: even(first.study_uid)})
            session.answer_find({SERIES: even(first.series_uid)})
            session.answer_find(*({IMAGE: even(uid)} for uid in dict.fromkeys(one.instance_uid for one in sent)))
        session.expect_move()
        statuses = []
        with scripted.sender(setting.port, sent) as sender:
            statuses = [sender.store(one) for one in sent]
        completed = len({one.instance_uid for one, status in zip(sent, statuses, strict=True) if status == 0})
        failed = sum(status != 0 for status in statuses)
        session.respond(0xB000 if failed else 0, completed=completed, failed=failed)
        session.expect_release()

    return setting.run(script, "-S", "-k", f"StudyInstanceUID={first.study_uid}", *options, code=code).log


def changed(instance: Instance, folder: Path, change: Callable[[bytes], bytes], name: str = "changed") -> Instance:
    path = folder / name
    path.write_bytes(change(instance.path.read_bytes()))
    return instance._replace(path=path)


def cut_before_pixels(data: bytes) -> bytes:
    return data[: data.index(b"\xe0\x7f\x10\x00OW")]


@pytest.mark.row("80")
@pytest.mark.parametrize("mode", [[], ["+B"]], ids=["parsed", "+B"])
def test_image_cut_before_its_pixels_is_named_with_verify_and_stored_as_by_dcmtk_without(
    setting: Setting, tmp_path: Path, mode: list[str]
) -> None:
    cut = changed(setting.made[0], tmp_path, cut_before_pixels)
    run(setting, [cut], *mode, code=0, listed=False)
    log = run(setting, [cut, *setting.made[1:]], *mode, "--verify", code=63)
    assert f"SOP instance {cut.instance_uid} does not count: an image without pixel data" in log
    assert f"SOP instance {setting.made[1].instance_uid} is not" not in log


@pytest.mark.row("80")
@pytest.mark.parametrize("layout", ["flat", "study"])
def test_image_without_its_pixels_is_requested_again_and_not_believed(
    setting: Setting, tmp_path: Path, layout: str
) -> None:
    cut = changed(setting.made[0], tmp_path, cut_before_pixels)
    run(setting, [cut], "--layout", layout, code=0, listed=False)
    run(setting, [setting.made[0]], "--layout", layout, "--resume", code=0)


def test_command_for_a_study_does_not_run_if_an_object_is_not_whole_on_the_disk(
    setting: Setting, tmp_path: Path
) -> None:
    cut, ran = changed(setting.made[0], tmp_path, cut_before_pixels), tmp_path / "ran"
    run(setting, [cut], "--verify", "--on-study", f"touch {ran}", code=63)
    assert not ran.exists()


@pytest.mark.row("81")
def test_object_of_another_uid_is_refused_with_verify_in_bit_preserving_mode(setting: Setting) -> None:
    claimed, other = setting.made[0], setting.made[1]
    lying = claimed._replace(path=other.path)
    run(setting, [claimed], "+B", code=0, listed=False)
    log = run(setting, [lying], "+B", "--verify", code=68)
    assert f"SOP instance {other.instance_uid} differs from the request's" in log
    setting.assert_arrived([claimed])


@pytest.mark.row("82")
def test_two_objects_of_one_uid_are_no_success_with_verify(setting: Setting, tmp_path: Path) -> None:
    one = setting.made[0]
    other = changed(one, tmp_path, lambda data: data.replace(b"Test^Patient", b"Real^Patient"))
    run(setting, [one, other], code=0, listed=False)
    for file in setting.received.iterdir():
        file.unlink()
    log = run(setting, [one, other], "--verify", code=63)
    assert f"SOP instance {one.instance_uid} does not count: two different objects have this UID" in log


def test_object_sent_twice_is_a_success_with_verify(setting: Setting) -> None:
    run(setting, [setting.made[0], setting.made[0]], "--verify", code=0)


def test_corrected_object_replaces_that_of_an_earlier_run_with_verify(setting: Setting, tmp_path: Path) -> None:
    run(setting, [setting.made[0]], code=0, listed=False)
    corrected = changed(setting.made[0], tmp_path, lambda data: data.replace(b"Test^Patient", b"Real^Patient"))
    log = run(setting, [corrected], "--verify", code=0)
    assert "overwriting" in log


def delete(file: Path) -> None:
    file.unlink()


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-2])


def replace(file: Path) -> None:
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data)


def touch_mode(file: Path) -> None:
    file.chmod(0o600)


@pytest.mark.row("83")
@pytest.mark.parametrize("retry", [{"verify": True}, {"resume": True}], ids=str)
@pytest.mark.parametrize(
    ("change", "reason"),
    [(delete, "deleted"), (cut_off, "changed"), (replace, "changed"), (touch_mode, "")],
    ids=["deleted", "cut", "replaced", "mode"],
)
def test_file_deleted_or_changed_during_the_run_is_named(
    serve: Callable[[], Archive], tmp_path: Path, retry: dict[str, Any], change: Callable[[Path], None], reason: str
) -> None:
    made = corpus.make_study(tmp_path / "archive", instances=3, size=2000)
    archive = serve()
    out = tmp_path / "out"
    out.mkdir()

    def on_event(event: object) -> None:
        if isinstance(event, ObjectEvent) and event.sop_instance_uid == made[1].instance_uid:
            change(out / f"CT.{made[1].instance_uid}")

    ae, port = library.AE(archive.host, archive.port), archive.destinations["MOVESCU"][1]
    settings = library.Retry(**retry)
    with library.Client(ae, listen=port, to=out, retry=settings, on_event=on_event) as client:
        result = client.retrieve({"StudyInstanceUID": made[0].study_uid})
    assert result.complete is not bool(reason)
    assert result.missing_uids == ((made[1].instance_uid,) if reason else ())
    assert reason in result.failures.get(made[1].instance_uid, "")


@pytest.mark.row("84")
@pytest.mark.parametrize("new", [True, False], ids=["replaced", "renamed"])
def test_directory_renamed_or_replaced_during_the_run_is_no_success(
    serve: Callable[[], Archive], tmp_path: Path, *, new: bool
) -> None:
    made = corpus.make_study(tmp_path / "archive", instances=3, size=2000)
    archive = serve()
    out = tmp_path / "out"
    out.mkdir()

    def on_event(event: object) -> None:
        if isinstance(event, ObjectEvent) and event.sop_instance_uid == made[1].instance_uid:
            out.rename(tmp_path / "moved")
            if new:
                out.mkdir()

    ae, port = library.AE(archive.host, archive.port), archive.destinations["MOVESCU"][1]
    with library.Client(ae, listen=port, to=out, on_event=on_event) as client:
        result = client.retrieve({"StudyInstanceUID": made[0].study_uid})
    assert not result.complete
    assert str(out) in result.errors[-1]
    if os.environ.get(without.VARIABLE) not in ("directories", "windows"):  # there the last one is refused
        assert len([file for file in (tmp_path / "moved").iterdir() if not file.name.startswith(".")]) == 3


@pytest.mark.row("82")
@pytest.mark.parametrize("options", [["--resume"], ["--resume", "--layout", "study"]], ids=" ".join)
def test_object_listed_in_two_studies_of_a_list_is_no_success_of_the_second(
    setting: Setting, tmp_path: Path, options: list[str]
) -> None:
    """The second is left out, as the object is there: but the archive may have another one there."""
    one = setting.made[0]
    rows = tmp_path / "rows.csv"
    rows.write_text(f"StudyInstanceUID\n{one.study_uid}\n1.2.3\n")

    def script(session: scripted.Session) -> None:
        session.accept()
        session.answer_find({SERIES: even(one.series_uid)})
        session.answer_find({IMAGE: even(one.instance_uid)})
        session.expect_move()
        setting.send([one])
        session.respond(completed=1)
        session.answer_find({SERIES: even("1.2.3.4")})
        session.answer_find({IMAGE: even(one.instance_uid)})
        session.answer_find()  # how many objects the study has: the list may leave out others than the one here
        session.expect_release()

    with scripted.archive(script) as archive:
        arguments = ["-S", "--list", rows, *options, "+P", setting.port, *archive.address]
        log = movescu(*arguments, folder=setting.received, code=63).log
    assert f"{one.instance_uid} does not count: its file is not the object that the archive lists" in log
    assert "entry 1" not in log


@pytest.mark.not_without("hard-links", "directories", "windows")  # they have no syncfs
def test_entries_of_a_list_share_flushes(serve: Callable[[], Archive], tmp_path: Path) -> None:
    made = corpus.make_study(tmp_path / "archive", studies=20, series=2, instances=3, size=2000)
    archive = serve()
    rows, trace, out = tmp_path / "rows.csv", tmp_path / "trace", tmp_path / "out"
    rows.write_text("StudyInstanceUID\n" + "".join(f"{uid}\n" for uid in dict.fromkeys(o.study_uid for o in made)))
    out.mkdir()
    command = ["strace", "-f", "-o", str(trace), "-e", FLUSHES, sys.executable, "-m", "movescu"]
    arguments = ["-S", "--list", rows, "--resume", "--layout", "study"]
    where = ["+P", archive.destinations["MOVESCU"][1], archive.host, archive.port]
    subprocess.run([*command, *map(str, [*arguments, *where])], cwd=out, check=True)
    flushes = re.findall(r"^\d+ +(fsync|fdatasync|syncfs)\(", trace.read_text(), re.MULTILINE)
    assert 0 < flushes.count("syncfs") < 20, "less than one an entry, though one is retrieved at a time"
    assert flushes.count("fsync") < 20
