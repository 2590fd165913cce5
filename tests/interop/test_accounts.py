"""``--report`` and ``--events``: what programs read of a retrieve is what happened, in the form that is promised."""

from __future__ import annotations

import contextlib
import json
import signal
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jsonschema
import peers
import pytest
import scripted
from command import movescu
from setting import KEY, Setting

from movescu.errors import PeerError

if TYPE_CHECKING:
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
    assert response["status"] == {"code": "0xb000", "name": "Warning: SubOperationsCompleteOneOrMoreFailures"}
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


@pytest.mark.parametrize("arguments", [("--report", "/nowhere/report.json"), ("--report", "-", "--events", "-")])
def test_report_that_cannot_be_written_is_told_before_anything_is_asked_for(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    nobody = (peers.HOST, peers.free_port())
    movescu("-k", KEY, *arguments, *nobody, folder=tmp_path, code=1)


def test_disk_that_is_full_is_no_success_if_the_report_was_to_go_there(setting: Setting) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        session.respond(completed=0)
        session.expect_release()

    outcome = setting.run(script, "--report", "/dev/full", code=40)
    assert "cannot write '/dev/full'" in outcome.log
