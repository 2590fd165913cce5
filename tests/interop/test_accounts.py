"""``--report`` and ``--events``: what programs read of a retrieve is what happened, in the form that is promised."""

from __future__ import annotations

import contextlib
import csv
import json
import signal
import stat
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import encoded
import jsonschema
import peers
import pytest
import scripted
from command import OURS, here, movescu, without_privileges
from dcmconv import data_set_of
from setting import KEY, Setting

from movescu.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from command import Running


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def held_to(schema: str, text: str) -> dict[str, Any]:
    assert text.isprintable() or schema == "report", "an archive's words could reach a terminal as they are"
    assert text.isascii()
    value: dict[str, Any] = json.loads(text)
    jsonschema.validate(value, json.loads(files("movescu").joinpath(f"report/data/{schema}.schema.json").read_bytes()))
    return value


def report_of(setting: Setting) -> dict[str, Any]:
    return held_to("report", (setting.received.parent / "report.json").read_text())


def test_report_and_the_events_tell_what_came_what_did_not_and_why(setting: Setting) -> None:
    first, second, third = setting.made
    (setting.received / f"CT.{second.instance_uid}").mkdir()

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        with scripted.sender(setting.port, setting.made) as sender:
            assert [sender.store(instance) for instance in (first, second)] == [0, 0xA700]
        session.pending(1)
        session.respond(
            0xB000, completed=1, failed=2, failed_uids=[third.instance_uid], comment="tape \x1b[31mrobot\x07 is down"
        )
        session.expect_release()

    report_file = setting.received.parent / "report.json"
    outcome = setting.run(script, "--report", report_file, "--events", "-", "-v", code=68)
    events = [held_to("events", line) for line in outcome.output.splitlines()]

    objects = [event for event in events if event["event"] == "object"]
    assert [(one["sop_instance_uid"], one["status"]["code"]) for one in objects] == [
        (first.instance_uid, "0x0000"),
        (second.instance_uid, "0xa700"),
    ]
    assert all(one["series_instance_uid"] == first.series_uid for one in objects)
    states = [(event["role"], event["state"]) for event in events if event["event"] == "association"]
    assert sorted(states) == [(role, state) for role in ("archive", "storage") for state in ("opened", "released")]
    *_, end = events
    assert (end["event"], end["exit_code"], end["outcome"]) == ("end", 68, "incomplete")

    report = report_of(setting)
    [response] = report["responses"]
    assert response["status"] == {"code": "0xb000", "name": "Warning: Sub-operations complete - One or more failures"}
    assert response["failed_sop_instance_uids"] == [third.instance_uid]
    assert response["error_comment"] == "tape \x1b[31mrobot\x07 is down"
    [series] = report["series"]
    assert (series["stored"], series["failed"], series["series_instance_uid"]) == (1, 1, first.series_uid)
    assert series["size"] == sum(one["size"] for one in objects)
    [failure] = report["failures"]
    assert failure["sop_instance_uid"] == second.instance_uid
    assert (report["stored"], report["failed"], report["exit_code"]) == (1, 1, 68)


def test_object_that_broke_off_and_a_lost_association_are_in_the_report(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        with contextlib.suppress(PeerError), scripted.sender(setting.port, setting.made) as sender:
            sender.begin(setting.made[0])
            sender.connection.abort()
        session.abort()

    setting.run(script, "--report", setting.received.parent / "report.json", "--linger", 0, code=62)
    report = report_of(setting)
    assert (report["outcome"], report["exit_code"]) == ("failed", 62)
    assert report["failures"][0]["status"] is None
    assert any("abort" in error for error in report["errors"])


def test_signal_leaves_a_report_that_says_so(setting: Setting) -> None:
    def script(session: scripted.Session, command: Running) -> None:
        session.accept()
        session.expect_move()
        command.signal(signal.SIGTERM)
        session.expect_end()

    setting.run_beside(script, "--report", setting.received.parent / "report.json", code=143)
    assert report_of(setting)["exit_code"] == 143


def test_archive_that_is_not_there_is_in_the_report(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.reject(1, 1, 3)

    setting.run(script, "--report", setting.received.parent / "report.json", code=61)
    report = report_of(setting)
    assert (report["outcome"], report["exit_code"], report["associations"]["archive"]) == ("failed", 61, 0)
    assert any("rejected" in error for error in report["errors"])


@pytest.mark.parametrize("option", ["--report", "--events", "--html", "--failed", "--manifest"])
@pytest.mark.parametrize("file", ["/nowhere/file", "{folder}", "/dev/null/file"])
def test_output_that_cannot_be_written_is_told_before_anything_is_asked_for(
    tmp_path: Path, option: str, file: str
) -> None:
    (tmp_path / "list.csv").write_text("StudyInstanceUID\n1.2\n")
    keys = ("--list", str(tmp_path / "list.csv"), "-S") if option == "--failed" else ("-k", KEY)
    arguments = (*keys, "+P", peers.free_port(), option, file.format(folder=tmp_path), peers.HOST, peers.free_port())
    assert "cannot write '" in here(*arguments, folder=tmp_path, code=40).log


def test_two_outputs_do_not_share_standard_output(tmp_path: Path) -> None:
    here("-k", KEY, "--report", "-", "--events", "-", peers.HOST, peers.free_port(), folder=tmp_path, code=1)


def test_disk_that_is_full_is_no_success_if_the_report_was_to_go_there(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        session.respond(completed=0)
        session.expect_release()

    outcome = setting.run(script, "--linger", 0, "--report", "/dev/full", code=40)
    assert "cannot write '/dev/full'" in outcome.log


LIMITED = ["sh", "-c", '{ prlimit --fsize=100 "$@" 2>&1; echo "$?" >../code; } | cat >&2', "sh"]
FULL = ["sh", "-c", 'exec "$@" >/dev/full', "sh"]


@pytest.mark.parametrize("options", [("--report", "-"), ("--events", "-")])
def test_output_that_is_lost_on_a_full_device_is_no_success(setting: Setting, options: tuple[str, ...]) -> None:
    outcome = setting.run(delivering_nothing, "--linger", 0, *options, code=40, prefix=FULL)
    assert outcome.log.count("cannot write to standard output: No space left on device") == 1


def test_pipe_that_nobody_reads_changes_no_exit_code(setting: Setting) -> None:
    prefix = ["sh", "-c", '{ "$@"; echo "$?" >../code; } | true', "sh"]
    outcome = setting.run(delivering_nothing, "--linger", 0, "--report", "-", prefix=prefix)
    assert (setting.received.parent / "code").read_text() == "0\n"
    assert "standard output" not in outcome.log


def delivering_nothing(session: scripted.Session) -> None:
    session.accept()
    session.expect_move()
    session.respond(completed=0)
    session.expect_release()


def test_plain_retrieve_of_what_is_nowhere_is_not_found_and_succeeds_as_with_dcmtk(setting: Setting) -> None:
    setting.run(delivering_nothing, "--linger", 0, "--report", "../report.json", code=0)
    report = json.loads((setting.received.parent / "report.json").read_text())
    assert (report["outcome"], report["exit_code"]) == ("not found", 0)


def test_report_that_does_not_fit_leaves_no_half_of_it(setting: Setting, tmp_path: Path) -> None:
    report = tmp_path / "reports" / "report.json"
    report.parent.mkdir()
    outcome = setting.run(delivering_nothing, "--linger", 0, "--report", report, prefix=LIMITED)
    assert (setting.received.parent / "code").read_text() == "40\n"
    assert f"cannot write '{report}': File too large" in outcome.log
    assert list(report.parent.iterdir()) == []


@pytest.mark.not_without("directories", "windows")  # they refuse the object: the file of its name is open
@pytest.mark.parametrize("option", ["--report", "--events", "--manifest"])
def test_object_is_not_overwritten_by_an_output_of_its_name(setting: Setting, option: str) -> None:
    name = f"CT.{setting.made[0].instance_uid}"

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        setting.send(setting.made)
        session.respond(completed=len(setting.made))
        session.expect_release()

    outcome = setting.run(script, option, name, code=40)
    assert f"cannot write '{name}': " in outcome.log or "is not a manifest" in outcome.log
    setting.assert_arrived(setting.made)
    again = movescu(*("-k", KEY), option, name, "host", 104, "+P", setting.port, folder=setting.received, code=1)
    assert "it is a DICOM file" in again.log or "is not a manifest" in again.log
    setting.assert_arrived(setting.made)


def test_report_keeps_the_permissions_of_its_file(setting: Setting, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.touch(0o640)
    setting.run(delivering_nothing, "--linger", 0, "--report", report)
    assert json.loads(report.read_text())["exit_code"] == 0
    assert stat.S_IMODE(report.stat().st_mode) == 0o640


@pytest.mark.parametrize("option", ["--report", "--events", "--failed", "--manifest"])
def test_file_that_is_not_writable_has_an_exit_code_of_its_own(tmp_path: Path, option: str) -> None:
    file = tmp_path / "file"
    file.touch(0o444)
    (tmp_path / "list.csv").write_text("StudyInstanceUID\n1.2\n")
    nobody = (peers.HOST, peers.free_port())
    keys = ("--list", "../list.csv", "-S") if option == "--failed" else ("-k", KEY)
    received = tmp_path / "received"
    received.mkdir()
    arguments = (*keys, "+P", peers.free_port(), option, file, *nobody)
    outcome = movescu(*arguments, folder=received, code=40, prefix=without_privileges())
    assert f"cannot write '{file}': Permission denied" in outcome.log


def test_spreadsheet_of_one_retrieve_names_its_keys(setting: Setting) -> None:
    report = setting.received.parent / "report.csv"
    keys = ("-k", "StudyInstanceUID=1.2.3")
    log = setting.run(lambda session: session.reject(1, 1, 3), *keys, "--report", report, code=61).log
    assert log.count("W:") == len({line for line in log.splitlines() if line.startswith("W:")}) > 0  # of the keys
    [row] = csv.DictReader(report.read_text("utf-8-sig").splitlines())
    assert (row["StudyInstanceUID"], row["StudyInstanceUIDs"]) == ("1.2.3", "1.2.3")


@pytest.mark.parametrize("option", ["--report", "--events", "--html", "--manifest"])
@pytest.mark.parametrize("name", [".movescu.unflushed", ".movescu.sqlite", ".MOVESCU.journal-wal"])
def test_output_has_no_name_of_the_files_kept_beside_the_objects(tmp_path: Path, option: str, name: str) -> None:
    """Neither an existing one, which is evidence, nor one that would be read as such later."""
    nobody = (peers.HOST, peers.free_port())
    for there in (False, True):
        if there:
            (tmp_path / name).write_text("1 2\n")
        outcome = here(
            "-k", KEY, "+P", peers.free_port(), option, str(tmp_path / name), *nobody, folder=tmp_path, code=1
        )
        assert "names that begin with .movescu are reserved" in outcome.log
        assert (tmp_path / name).exists() == there
    link = tmp_path / "r.json"
    link.symlink_to(name)
    here("-k", KEY, "+P", peers.free_port(), option, str(link), *nobody, folder=tmp_path, code=1)
    assert (tmp_path / name).read_text() == "1 2\n"


def other_contents(setting: Setting) -> Iterator[bytes]:
    """Yield what an output must not replace: objects without file meta (``-F``), a database, a manifest."""
    _, data_set = data_set_of(setting.made[0].path.read_bytes())
    yield data_set
    yield data_set[132:]  # whatever begins it
    yield encoded.deflate(data_set)
    yield b"SQLite format 3\0" + bytes(84)
    yield b"0" * 64 + b"  CT.1.2\n"


@pytest.mark.parametrize("option", ["--report", "--events", "--html"])
def test_output_replaces_neither_objects_nor_evidence(setting: Setting, option: str) -> None:
    nobody = (peers.HOST, peers.free_port())
    file = setting.received / "file"
    for content in other_contents(setting):
        file.write_bytes(content)
        outcome = here("-k", KEY, "+P", setting.port, option, str(file), *nobody, folder=setting.received, code=1)
        assert f"cannot write '{file}': it is " in outcome.log
        assert file.read_bytes() == content
    file.write_text("Grüße, \x07 and \x1b$B in a text", "utf-8")
    for _ in range(2):  # the second run replaces what the first one wrote
        here("-k", KEY, "+P", setting.port, option, str(file), *nobody, folder=setting.received, code=61)
        assert "Grüße" not in file.read_text("utf-8")


SIGNAL_IN_THE_REPORT = f"""\
import signal
from movescu.report.entry_table import EntryTable
from movescu.report.summary import Summary

def interrupted(pieces):
    def pieces_with_signal(source):
        for piece in pieces(source):
            yield piece
            if pending:
                signal.raise_signal(pending.pop())
    return pieces_with_signal

pending = [NUMBER]
Summary.texts, EntryTable.csv_lines = interrupted(Summary.texts), interrupted(EntryTable.csv_lines)
{OURS}"""


@pytest.mark.parametrize("name", ["r.json", "r.csv"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_while_the_report_is_written_is_in_it(
    setting: Setting, name: str, number: signal.Signals, code: int
) -> None:
    """The report and the shell tell of one exit code, and no part of a file stays."""
    files = {option: setting.received.parent / option for option in (name, "events")}
    options = ["--report", str(files[name]), "--events", str(files["events"]), "--linger", 0]
    program = SIGNAL_IN_THE_REPORT.replace("NUMBER", str(int(number)))
    setting.run_beside(lambda session, _: delivering_nothing(session), *options, code=code, program=program)
    ends = [event for event in map(json.loads, files["events"].read_text().splitlines()) if event["event"] == "end"]
    assert [end["exit_code"] for end in ends] == [code]
    if name == "r.json":
        assert json.loads(files[name].read_text())["exit_code"] == code
    else:
        assert len(list(csv.DictReader(files[name].read_text("utf-8-sig").splitlines()))) == 1
    assert not list(setting.received.parent.glob(".*.part"))
