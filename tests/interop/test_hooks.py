"""``--on-study``, ``--on-series``: a command for each study or series that was proven complete, and for no other."""

from __future__ import annotations

import json
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import corpus
import peers
import pytest
import scripted
from command import PATIENCE, here, movescu, running

from movescu.dictionary.uids import STUDY_ROOT_MOVE
from movescu.testing import Archive, Faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from corpus import Instance

RECORDER = """\
import json, os, sys
told = json.load(sys.stdin)
with open(sys.argv[1], "a") as log:
    log.write(json.dumps([sys.argv[2:], told]) + "\\n")
print("first line", flush=True)
print("second line", file=sys.stderr)
failing = sys.argv[1] + ".fail"
sys.exit(3 if os.path.exists(failing) and told["study_instance_uid"] in open(failing).read() else 0)
"""


class Place(NamedTuple):
    """An archive with three studies of two series, a list of them, and a command that records its calls."""

    archive: Archive
    made: list[Instance]
    rows: Path
    received: Path
    port: int
    log: Path

    @property
    def studies(self) -> list[str]:
        return list(dict.fromkeys(one.study_uid for one in self.made))

    def command(self, *words: str) -> str:
        program = self.log.with_name("recorder.py")
        program.write_text(RECORDER)
        return shlex.join([sys.executable, str(program), str(self.log), *words])

    def list_arguments(self, *options: object) -> list[object]:
        return ["-S", "--list", self.rows, "+P", self.port, *options, self.archive.host, self.archive.port]

    def study_arguments(self, *options: object) -> list[object]:
        keys = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={self.studies[0]}"]
        return [*keys, "+P", self.port, *options, self.archive.host, self.archive.port]

    def calls(self) -> list[tuple[list[str], dict[str, Any]]]:
        """The calls so far: arguments and document of each."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [(arguments, told) for arguments, told in map(json.loads, lines)]

    def called_for(self) -> list[str]:
        return sorted(told.get("series_instance_uid") or told["study_instance_uid"] for _, told in self.calls())

    def fail(self, *studies: str) -> None:
        self.log.with_name(f"{self.log.name}.fail").write_text("\n".join(studies))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    folder, received = tmp_path / "archive", tmp_path / "received"
    folder.mkdir()
    received.mkdir()
    made = corpus.make_study(folder, studies=3, series=2, instances=3, size=2000)
    rows = tmp_path / "rows.csv"
    lines = dict.fromkeys(f"{one.patient_id},{one.study_uid}" for one in made)
    rows.write_text("PatientID,StudyInstanceUID\n" + "".join(f"{line}\n" for line in lines))
    port = peers.free_port()
    with Archive(folder, {"MOVESCU": (peers.HOST, port)}) as archive:
        yield Place(archive, made, rows, received, port, tmp_path / "calls")


def test_command_runs_once_for_each_complete_study_with_its_values(place: Place) -> None:
    words = ("{study_uid}", "id={patient_id}", "{directory}", "{count}", "two words; $HOME", "{{}}")
    options = ["--on-study", place.command(*words), "--layout", "{StudyInstanceUID}/{SOPInstanceUID}.dcm", "-v"]
    outcome = movescu(*place.list_arguments(*options), folder=place.received)
    assert place.called_for() == sorted(place.studies)
    for arguments, told in place.calls():
        study = told["study_instance_uid"]
        own = [one for one in place.made if one.study_uid == study]
        folder = str(place.received / study)
        assert arguments == [study, f"id={own[0].patient_id}", folder, "6", "two words; $HOME", "{}"]
        assert sorted(told["sop_instance_uids"]) == sorted(one.instance_uid for one in own)
        files = [f"{folder}/{uid}.dcm" for uid in told["sop_instance_uids"]]
        assert told["files"] == files
        assert all(map(os.path.exists, files))
        assert told["keys"] == {
            "QueryRetrieveLevel": "STUDY",
            "PatientID": own[0].patient_id,
            "StudyInstanceUID": study,
        }
        assert [one["count"] for one in told["series"]] == [3, 3]
        assert told["archive"] == f"ANY-SCP@{place.archive.host}:{place.archive.port}"
        assert 1 <= told["row"] <= 3
    assert f"--on-study for study {place.studies[0]}: first line" in outcome.log
    assert f"--on-study for study {place.studies[0]}: second line" in outcome.log


def test_command_runs_for_each_series_of_a_single_retrieve(place: Place) -> None:
    series = sorted({one.series_uid for one in place.made if one.study_uid == place.studies[0]})
    movescu(*place.study_arguments("--verify", "--on-series", place.command("{series_uid}")), folder=place.received)
    assert place.called_for() == series
    assert sorted(arguments[0] for arguments, _ in place.calls()) == series


def test_command_does_not_run_for_an_incomplete_study(place: Place) -> None:
    place.archive.faults = Faults(drop_every=6)
    options = ["--on-study", place.command(), "--linger", 0]
    movescu(*place.list_arguments(*options), folder=place.received, code=63)
    assert not place.calls()
    place.archive.faults = Faults()
    movescu(*place.list_arguments(*options, "--resume"), folder=place.received)
    assert place.called_for() == sorted(place.studies), "once the missing objects are there"


def test_command_that_failed_runs_again_with_resume_and_no_other_does(place: Place) -> None:
    place.fail(place.studies[1])
    options = ["--on-study", place.command(), "--resume"]
    outcome = movescu(*place.list_arguments(*options), folder=place.received, code=71)
    assert f"--on-study for study {place.studies[1]} failed: exit status 3; first line; second line" in outcome.log
    assert place.called_for() == sorted(place.studies)
    place.fail()
    movescu(*place.list_arguments(*options), folder=place.received)
    assert place.called_for() == sorted([*place.studies, place.studies[1]])
    movescu(*place.list_arguments(*options), folder=place.received)
    assert len(place.calls()) == 4, "all have succeeded"


def test_command_of_a_single_retrieve_is_remembered_too(place: Place) -> None:
    place.fail(place.studies[0])
    options = ["--resume", "--on-study", place.command()]
    movescu(*place.study_arguments(*options), folder=place.received, code=71)
    place.fail()
    movescu(*place.study_arguments(*options), folder=place.received)
    movescu(*place.study_arguments(*options), folder=place.received)
    movescu(*place.list_arguments(*options), folder=place.received)
    assert place.called_for() == sorted([*place.studies, place.studies[0]])


@pytest.mark.parametrize("fails", [False, True])
def test_command_runs_again_for_files_that_are_stored_anew(place: Place, fails: bool) -> None:
    """What it had made of them is gone; also if the run that has stored them did not come to the command."""
    place.rows.write_text(f"{place.studies[0]}\n")
    removing = place.command()
    place.log.with_name("recorder.py").write_text(
        f"{RECORDER.rpartition('sys.exit')[0]}\n[*map(os.remove, told['files'])]\n"
    )
    options = place.list_arguments("--resume", "--on-study", removing)
    movescu(*options, folder=place.received)
    if fails:
        place.archive.faults = Faults(overcount=1)
        movescu(*options, "--linger", 0, folder=place.received, code=63)
        assert len(list(place.received.glob("CT.*"))) == 6
        place.archive.faults = Faults()
    outcome = movescu(*options, "-v", folder=place.received)
    assert ("received store request" in outcome.log) == (not fails)
    assert len(place.calls()) == 2
    assert not list(place.received.glob("CT.*"))


@pytest.mark.parametrize("layout", ["flat", "study"])
def test_files_that_a_command_has_made_smaller_are_those_of_the_next_run(place: Place, layout: str) -> None:
    place.rows.write_text(f"{place.studies[0]}\n")
    changing = place.command()
    place.log.with_name("recorder.py").write_text(
        f"{RECORDER.rpartition('sys.exit')[0]}\n"
        "from pydicom import dcmread\n"
        "for path in told['files']:\n"
        "    data = dcmread(path)\n"
        "    data.Rows, data.Columns, data.PixelData = 1, 1, b'xy'\n"
        "    data.save_as(path)\n"
    )
    options = place.list_arguments("--resume", "--layout", layout, "--manifest", "SUMS", "--on-study", changing)
    for _ in range(2):
        movescu(*options, folder=place.received)
        assert subprocess.run(["sha256sum", "-c", "--quiet", "SUMS"], cwd=place.received, check=False).returncode == 0
        found = [path for path in place.received.rglob("*") if place.studies[0] in path.name and path.is_file()]
        assert len(found) == 6
        assert all(path.stat().st_size < 2000 for path in found), "not stored anew"
        assert len(place.calls()) == 1


@pytest.mark.parametrize("listed", [False, True])
def test_command_does_not_run_for_files_that_the_manifest_contradicts(place: Place, listed: bool) -> None:
    """It could write them anew: the evidence would be gone, and the next run would take them for proven."""
    rewriting = place.command()
    place.log.with_name("recorder.py").write_text(
        f"{RECORDER.rpartition('sys.exit')[0]}\n"
        "for path in told['files']:\n"
        "    content = open(path, 'rb').read()\n"
        "    os.remove(path)\n"
        "    open(path, 'wb').write(content)\n"
    )
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=" + "\\".join(place.studies)]
    requests = ["--list", place.rows] if listed else keys
    nodes = [place.archive.host, place.archive.port]
    options = ["-S", *requests, "+P", place.port, "--resume", "--manifest", "SUMS"]
    movescu(*options, *nodes, folder=place.received)
    manifest = place.received / "SUMS"
    lines = manifest.read_text()
    changed = place.received / f"CT.{place.made[0].instance_uid}"
    changed.write_bytes(changed.read_bytes()[:-1] + b"?")
    for command in (["--on-study", rewriting], []):
        outcome = movescu(*options, *command, *nodes, folder=place.received, code=63)
        assert f"other digests of {changed.name}" in outcome.log
        assert place.called_for() == sorted(place.studies[1:])
        digests = [line for line in lines.splitlines() if changed.name in line]
        assert digests == [line for line in manifest.read_text().splitlines() if changed.name in line]
    changed.unlink()
    movescu(*options, "--on-study", rewriting, *nodes, folder=place.received)
    assert place.called_for() == sorted(place.studies)


def test_another_command_runs_for_what_was_complete_before(place: Place) -> None:
    movescu(*place.list_arguments("--resume"), folder=place.received)
    movescu(*place.list_arguments("--resume", "--on-study", place.command("a")), folder=place.received)
    movescu(*place.list_arguments("--resume", "--on-study", place.command("b")), folder=place.received)
    assert [arguments for arguments, _ in place.calls()] == [["a"]] * 3 + [["b"]] * 3


def test_command_runs_again_for_a_study_that_has_grown(place: Place, tmp_path: Path) -> None:
    options = ["--resume", "--verify", "--on-study", place.command("{count}")]
    movescu(*place.study_arguments(*options), folder=place.received)
    more = tmp_path / "more"
    more.mkdir()
    corpus.make_study(more, studies=3, series=2, instances=4, size=2000)
    with Archive(more, {"MOVESCU": (peers.HOST, place.port)}) as archive:
        grown = place._replace(archive=archive)
        movescu(*grown.study_arguments(*options), folder=place.received)
    assert [arguments for arguments, _ in place.calls()] == [["6"], ["8"]]


def test_study_of_two_entries_runs_one_command(place: Place) -> None:
    place.rows.write_text(f"StudyInstanceUID\n{place.studies[0]}\n{place.studies[0]}\n")
    movescu(*place.list_arguments("--on-study", place.command(), "--jobs", 2), folder=place.received)
    assert place.called_for() == [place.studies[0]]


def blocked(place: Place) -> tuple[str, Path]:
    """A command that records its process and then waits until it is ended; and what it records."""
    started = place.log.with_name("started")
    return shlex.join(["sh", "-c", f"sleep 600 & echo $! > {started}.new; mv {started}.new {started}; wait"]), started


def process_of(started: Path) -> int:
    deadline = time.monotonic() + PATIENCE
    while not started.exists():
        assert time.monotonic() < deadline, "the command was not started"
        time.sleep(0.01)
    return int(started.read_text())


def ends(pid: int) -> bool:
    """Wait for the end of a process that was sent a signal: it may still have to be given the time to end."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    ended = bool(select.select([handle], [], [], PATIENCE)[0])
    os.close(handle)
    return ended


def test_killed_process_has_only_commands_run_again_that_had_not_succeeded(place: Place) -> None:
    command, started = blocked(place)
    first, second, third = place.studies
    ran, free = place.log.with_name("ran"), place.log.with_name("free")
    script = f"echo $0 >> {ran}; [ -e {free} ] || [ $0 = {first} ] || exec {command}"
    options = ["--resume", "--on-study", shlex.join(["sh", "-c", script, "{study_uid}"])]
    with running(*place.list_arguments(*options), folder=place.received) as process:
        pid = process_of(started)
        process.signal(signal.SIGKILL)
        process.end()
    os.kill(pid, signal.SIGKILL)
    free.touch()
    movescu(*place.list_arguments(*options), folder=place.received)
    assert ran.read_text().split() == [first, second, second, third]


def test_full_queue_holds_up_entries_and_loses_no_command(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("movescu.cohort.hooks._WAITING", 1)
    options = ["--jobs", 2, "--on-series", place.command()]
    here(*place.list_arguments(*options), folder=place.received)
    assert place.called_for() == sorted({one.series_uid for one in place.made})


@pytest.mark.not_without("signals", "windows")  # there are no process groups
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_the_command_with_its_children(place: Place, number: int, code: int) -> None:
    command, started = blocked(place)
    with running(*place.list_arguments("--on-study", command), folder=place.received) as process:
        pid = process_of(started)
        process.signal(number)
        process.end().hold_to(code)
    assert ends(pid)


@pytest.mark.not_without("signals", "windows")
def test_termination_ends_the_command_that_alone_is_awaited(place: Place) -> None:
    command, started = blocked(place)
    with running(*place.list_arguments("--on-study", command, "-v"), folder=place.received) as process:
        pid = process_of(started)
        process.await_log("3 entries: 3 complete")
        process.signal(signal.SIGTERM)
        process.end().hold_to(143)
    assert ends(pid)


@pytest.mark.not_without("signals", "windows")
def test_interrupt_ends_the_command_of_a_single_retrieve(place: Place) -> None:
    command, started = blocked(place)
    with running(*place.study_arguments("--verify", "--on-series", command), folder=place.received) as process:
        pid = process_of(started)
        process.signal(signal.SIGINT)
        outcome = process.end()
    outcome.hold_to(130)
    assert "1 command was not run; continue with --resume" in outcome.log, "the one for the other series"
    assert ends(pid)


def test_command_that_cannot_be_run_or_leaves_its_output_open_holds_up_nothing(place: Place) -> None:
    script = place.log.with_name("script")
    script.write_text("#!/nonexistent\n")
    script.chmod(0o755)
    outcome = movescu(*place.list_arguments("--on-study", script), folder=place.received, code=71)
    assert f"failed: cannot run '{script}': No such file or directory" in outcome.log
    begun = time.monotonic()
    movescu(*place.list_arguments("--on-study", "sh -c 'sleep 60 & exit 0'"), folder=place.received)
    assert time.monotonic() - begun < 30


def test_slow_commands_run_beside_the_retrieve_and_side_by_side(place: Place) -> None:
    meeting = place.log.with_name("meeting")
    meeting.mkdir()
    script = f'touch {meeting}/$0; while [ "$(ls {meeting} | wc -l)" -lt 3 ]; do sleep 0.01; done'
    command = shlex.join(["sh", "-c", script, "{study_uid}"])
    movescu(*place.list_arguments("--on-study", command, "--on-jobs", 3), folder=place.received)
    assert sorted(path.name for path in meeting.iterdir()) == sorted(place.studies)


def test_password_is_not_told_to_the_command(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOVESCU_PASSWORD", "secret")
    found = place.log.with_name("found")
    command = shlex.join(["sh", "-c", f'echo "$MOVESCU_PASSWORD" >> {found}'])
    movescu(*place.study_arguments("--verify", "--on-study", command), folder=place.received)
    assert found.read_text() == "\n"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--on-study", "true"), "--on-study only allowed with --verify, --resume or --list"),
        (("--verify", "--on-study", "true {series_uid}"), "{series_uid} is not a placeholder"),
        (("--verify", "--on-series", "awk {print}"), "{print} is not a placeholder"),
        (("--verify", "--on-study", "sh -c 'true"), "no closing quotation"),
        (("--verify", "--on-study", ""), "names no command"),
        (("--verify", "--on-study", "no-such-program {count}"), "there is no such program"),
        (("--verify", "--on-study", "true", "--durable", "off"), "not allowed with --durable off"),
        (("--verify", "--on-study", "true", "--ignore"), "--on-study not allowed with --ignore"),
        (("--on-jobs", "2"), "--on-jobs only allowed with --on-study or --on-series"),
    ],
)
def test_command_that_cannot_be_meant_is_a_usage_error(place: Place, options: tuple[str, ...], complaint: str) -> None:
    outcome = movescu(*place.study_arguments(*options), folder=place.received, code=1)
    assert complaint in outcome.log


def test_request_that_proves_no_study_is_a_usage_error(place: Place) -> None:
    one = place.made[0]
    place.rows.write_text(f"StudyInstanceUID,SeriesInstanceUID\n{one.study_uid},{one.series_uid}\n")
    outcome = movescu(*place.list_arguments("--on-study", place.command()), folder=place.received, code=1)
    assert "--on-study not allowed with requests at level SERIES" in outcome.log
    movescu(*place.list_arguments("--on-series", place.command()), folder=place.received)
    assert place.called_for() == [one.series_uid]


def test_study_without_a_list_is_not_proven_complete(place: Place) -> None:
    own = [one for one in place.made if one.study_uid == place.studies[0]]

    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid == STUDY_ROOT_MOVE)
        session.expect_move()
        with scripted.sender(place.port, own) as sender:
            for one in own:
                assert sender.store(one) == 0
        session.respond(completed=len(own))
        session.expect_release()

    with scripted.archive(script) as archive:
        host, port = archive.address
        commands = ("--on-study", place.command(), "--on-study", place.command("2"), "--on-series", place.command())
        arguments = place.study_arguments("--resume", *commands)[:-2]
        outcome = movescu(*arguments, host, port, folder=place.received, code=63)
    assert "E: --on-study and --on-series not run: the archive does not offer C-FIND" in outcome.log
    assert not place.calls()


def test_orthanc_has_its_studies_proven_complete(place: Place) -> None:
    with peers.orthanc({"MOVESCU": (peers.HOST, place.port)}) as orthanc:
        orthanc.load(corpus.paths(place.made))
        arguments = ["-S", "--list", place.rows, "+P", place.port, "-aec", orthanc.aet, "--jobs", 2]
        options = ["--on-study", place.command("{patient_id}"), "--on-series", place.command("{series_uid}")]
        movescu(*arguments, *options, orthanc.host, orthanc.port, folder=place.received)
    series = {one.series_uid for one in place.made}
    assert place.called_for() == sorted([*place.studies, *series])
