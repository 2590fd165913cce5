"""C-GET from an archive that fails: outcomes, exit codes and files of C-MOVE, or C-MOVE itself with ``auto``."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

import corpus
import peers
import pytest
import scripted
from command import movescu, running

from movescu import Client, Timeouts
from movescu.errors import UsageError
from movescu.testing import Archive, Ending, Faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from command import Outcome
    from corpus import Instance

OBJECTS = 20


class Place(NamedTuple):
    """An archive with a study of two series, and a folder for what arrives."""

    archive: Archive
    made: list[Instance]
    folder: Path
    port: int

    def arguments(self, *options: object, by: str = "get") -> list[object]:
        """The command line of a retrieve; by C-GET it has no port."""
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={self.made[0].study_uid}"]
        port = () if by == "get" else ("+P", self.port)
        return ["-S", *keys, "--retrieve", by, *port, *options, self.archive.host, self.archive.port]

    def run(self, *options: object, by: str = "get", code: int | None = 0) -> Outcome:
        """Retrieve into a new folder."""
        folder = self.folder / f"{by}{len(list(self.folder.iterdir()))}"
        folder.mkdir()
        return movescu(*self.arguments(*options, by=by), folder=folder, code=code)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    source, folder = tmp_path / "archive", tmp_path / "received"
    source.mkdir()
    folder.mkdir()
    made = corpus.make_study(source, series=2, instances=OBJECTS // 2, size=20_000)
    port = peers.free_port()
    with Archive(source, {"MOVESCU": (peers.HOST, port)}) as archive:
        yield Place(archive, made, folder, port)


def contents(outcome: Outcome) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in outcome.files.items()}


SAME_AS_MOVE = {
    "nothing": Faults(),
    "a third of the sub-operations fails": Faults(fail_every=3),
    "every sub-operation fails": Faults(fail_every=1),
    "objects are counted and not sent": Faults(drop_every=4),
    "more is counted than there is": Faults(overcount=2),
    "aborted before anything": Faults(main_ends_by=Ending.ABORT),
    "aborted between objects": Faults(main_ends_by=Ending.ABORT, main_ends_after=7),
    "closed between objects": Faults(main_ends_by=Ending.CLOSE, main_ends_after=7),
    "reset between objects": Faults(main_ends_by=Ending.RESET, main_ends_after=7),
    "released between objects": Faults(main_ends_by=Ending.RELEASE, main_ends_after=7),
    "no context is accepted": Faults(accept_no_context=True),
    "rejected": Faults(reject=(1, 1, 3)),
}


@pytest.mark.row("G4")
@pytest.mark.parametrize("faults", SAME_AS_MOVE.values(), ids=SAME_AS_MOVE)
def test_outcome_and_files_are_those_of_move(place: Place, faults: Faults) -> None:
    place.archive.faults = faults
    moved = place.run("--linger", 1, by="move", code=None)
    got = place.run(code=moved.code)
    by_get, by_move = contents(got), contents(moved)
    if faults.main_ends_by is Ending.RESET:  # what had not been read when the reset arrived is lost
        assert by_get.items() <= {**by_move, **contents(place.run(by="move", code=None))}.items()
    else:
        assert by_get == by_move


@pytest.mark.parametrize("ending", [Ending.ABORT, Ending.CLOSE, Ending.RESET])
def test_association_cut_amid_an_object_leaves_no_part_of_it(place: Place, ending: Ending) -> None:
    place.archive.faults = Faults(sender_ends_by=ending, sender_ends_in=5)
    outcome = place.run(code=62)
    assert len(outcome.files) <= 4
    assert "association lost before the final C-GET response" in outcome.log
    corpus.check_readable(outcome.files.values())


@pytest.mark.parametrize("faults", [Faults(no_final_response=True), Faults(endless_pending=0.05)])
def test_silent_archive_is_given_up(place: Place, faults: Faults) -> None:
    place.archive.faults = faults
    limit = ("-td", 1) if faults.no_final_response else ("--stall-timeout", 1)
    outcome = place.run(*limit, code=62)
    assert len(outcome.files) == OBJECTS


def test_whole_retrieve_has_a_limit(place: Place) -> None:
    place.archive.faults = Faults(pause=0.5)
    outcome = place.run("--total-timeout", 3, code=62)
    assert 0 < len(outcome.files) < OBJECTS


def test_retry_brings_what_failed(place: Place) -> None:
    place.archive.faults = Faults(fail_every=3)
    outcome = place.run("--verify", "--retry", 3, "--retry-pause", 0)
    assert len(outcome.files) == OBJECTS


def test_archive_that_answers_no_roles_is_served(place: Place) -> None:
    place.archive.faults = Faults(answers_no_roles=True)
    assert len(place.run().files) == OBJECTS


def test_cancel_amid_sub_operations_ends_them_on_the_same_association(place: Place) -> None:
    place.archive.faults = Faults(pause=0.05)
    folder = place.folder / "cancelled"
    folder.mkdir()
    with running(*place.arguments("-v"), folder=folder) as command:
        command.await_log("received C-GET response", times=3)
        command.signal(signal.SIGINT)
        outcome = command.end()
    assert outcome.code == 130
    assert 3 <= len(outcome.files) < OBJECTS
    assert "C-CANCEL request sent" in outcome.log
    assert "received final C-GET response (Cancel)" in outcome.log


def test_status_to_the_archive_is_that_of_a_refused_object(place: Place) -> None:
    folder = place.folder / "full"
    folder.mkdir()
    (folder / f"CT.{place.made[0].instance_uid}").mkdir()  # a name that no file can have
    outcome = movescu(*place.arguments(), folder=folder, code=None)
    assert outcome.code != 0
    assert f"not delivered: SOP instance {place.made[0].instance_uid}" in outcome.log
    assert len([path for path in outcome.files.values() if path.is_file()]) == OBJECTS - 1


@pytest.mark.not_without("locks", "windows")  # temporary files of killed runs stay for a day then
@pytest.mark.parametrize("moment", range(10))
@pytest.mark.sampled(4)
def test_killed_and_resumed_it_ends_with_the_same_files(place: Place, moment: int) -> None:
    place.archive.faults = Faults(pause=0.01)
    folder = place.folder / "killed"
    folder.mkdir()
    with running(*place.arguments("-v", "--resume"), folder=folder) as command:
        command.await_log("received store request", times=1 + 2 * moment)
        command.signal(signal.SIGKILL)
        command.end()
    place.archive.faults = Faults()
    outcome = movescu(*place.arguments("--resume"), folder=folder)
    whole = {name: data for name, data in contents(outcome).items() if not name.startswith(".")}
    assert whole == contents(place.run())
    assert len(whole) == OBJECTS


CT = "1.2.840.10008.5.1.4.1.1.2"
RARE = "1.2.840.10008.5.1.4.1.1.601.1"
"""A storage class that is not among those of the first association."""


def test_objects_of_rare_classes_are_requested_again_with_contexts_for_them(tmp_path: Path) -> None:
    source, folder = tmp_path / "archive", tmp_path / "received"
    source.mkdir()
    folder.mkdir()
    made = corpus.make_objects(source, {"1.2.840.10008.5.1.4.1.1.2": "CT", RARE: "OT"})
    with Archive(source) as archive:
        place = Place(archive, made, folder, 0)
        outcome = place.run("-v", "--report", tmp_path / "report.json")
    assert len(outcome.files) == 2
    assert outcome.log.count("C-GET request sent") == 2
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["outcome"], report["stored"], report["associations"]["archive"]) == ("complete", 2, 2)


def test_what_fails_for_another_reason_stays_a_failure_over_the_rounds(tmp_path: Path) -> None:
    source, folder = tmp_path / "archive", tmp_path / "received"
    source.mkdir()
    folder.mkdir()
    made = corpus.make_objects(
        source, {"1.2.840.10008.5.1.4.1.1.2": "CT", "1.2.840.10008.5.1.4.1.1.4": "MR", RARE: "OT"}
    )
    with Archive(source, faults=Faults(fail_every=2)) as archive:
        outcome = Place(archive, made, folder, 0).run(code=68)
    assert len(outcome.files) == 2
    assert outcome.log.count("not delivered: SOP instance") == 1


@pytest.mark.parametrize("sends", [True, False])
def test_object_that_only_a_later_round_names_is_stored_or_missing(tmp_path: Path, *, sends: bool) -> None:
    """The archive may have received it in the meantime: it is not acknowledged and dropped."""
    source, folder = tmp_path / "archive", tmp_path / "received"
    source.mkdir()
    folder.mkdir()
    ct, rare = corpus.make_objects(source, {CT: "CT", RARE: "OT"})
    (new,) = corpus.make_objects(source, {RARE: "OT"}, seed=1)

    def first(session: scripted.Session) -> None:
        session.accept()
        session.expect_get()
        assert session.sender.store(ct) == 0
        session.respond(0xB000, completed=1, failed=1, failed_uids=[rare.instance_uid])
        session.answer_find({0x0020000D: ct.study_uid, 0x00080062: f"{CT}\\{RARE}"})
        session.expect_release()

    def second(session: scripted.Session) -> None:
        session.accept()
        session.expect_get()
        sent = [rare, new] if sends else [rare]
        for one in sent:
            assert session.sender.store(one) == 0
        failed = [ct.instance_uid, *([] if sends else [new.instance_uid])]
        session.respond(0xB000, completed=len(sent), failed=len(failed), failed_uids=failed)
        session.expect_release()

    with scripted.archive(first, second) as archive:
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={ct.study_uid}"]
        arguments = ["-S", *keys, "--retrieve", "get", *archive.address]
        outcome = movescu(*arguments, folder=folder, code=0 if sends else 68)
    assert len(outcome.files) == (3 if sends else 2)


FALLS_BACK = {
    "the context is rejected": Faults(accept_no_get=True),
    "SOP class not supported": Faults(get_status=0x0122),
    "unrecognized operation": Faults(get_status=0x0211),
}


@pytest.mark.row("G4")
@pytest.mark.parametrize("faults", FALLS_BACK.values(), ids=FALLS_BACK)
def test_auto_falls_back_to_move_and_says_so(place: Place, faults: Faults, tmp_path: Path) -> None:
    place.archive.faults = faults
    report, events = tmp_path / "report.json", tmp_path / "events.json"
    outcome = place.run("--report", report, by="auto")
    place.run("--events", events, by="auto")
    assert len(outcome.files) == OBJECTS
    assert "retrieving by C-MOVE" in outcome.log
    fallback = json.loads(report.read_text())["fallback"]
    assert "C-GET" in fallback
    told = [json.loads(line) for line in events.read_text().splitlines()]
    assert [event["reason"] for event in told if event["event"] == "fallback"] == [fallback]
    assert told[-1]["fallback"] == fallback


def test_auto_uses_get_where_it_can(place: Place) -> None:
    place.archive.destinations.clear()
    outcome = place.run("-v", by="auto")
    assert len(outcome.files) == OBJECTS
    assert "C-GET request sent" in outcome.log
    assert "retrieving by C-MOVE" not in outcome.log


def test_auto_remembers_for_the_run_that_the_archive_has_no_get(place: Place) -> None:
    place.archive.faults = Faults(get_status=0x0122)
    outcome = place.run("-v", "--repeat", 3, by="auto")
    assert outcome.log.count("C-GET request sent") == 1
    assert outcome.log.count("C-MOVE request sent") == 3


def test_auto_without_a_port_does_not_move(place: Place) -> None:
    place.archive.faults = Faults(accept_no_get=True)
    arguments = [word for word in place.arguments(by="auto") if word not in ("+P", place.port)]
    outcome = movescu(*arguments, folder=place.folder, code=66)
    assert "C-MOVE (--retrieve move) with --port" in outcome.log


def test_list_with_jobs_attributes_each_object_to_its_entry(place: Place, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    series = sorted({one.series_uid for one in place.made})
    study = place.made[0].study_uid
    rows.write_text("StudyInstanceUID,SeriesInstanceUID\n" + "".join(f"{study},{uid}\n" for uid in series))
    report = tmp_path / "report.json"
    arguments = ["-S", "--retrieve", "get", "--list", rows, "--jobs", 2, "--report", report]
    outcome = movescu(*arguments, place.archive.host, place.archive.port, folder=place.folder)
    assert outcome.files.keys() >= {f"CT.{one.instance_uid}" for one in place.made}
    assert [entry["stored"] for entry in json.loads(report.read_text())["entries"]] == [OBJECTS // 2] * 2


@pytest.mark.parametrize("faults", [Faults(accept_no_get=True), Faults(get_status=0x0211)])
def test_list_falls_back_once_and_its_report_says_so(place: Place, tmp_path: Path, faults: Faults) -> None:
    place.archive.faults = faults
    rows, report, events = tmp_path / "rows.csv", tmp_path / "report.json", tmp_path / "events.json"
    study, series = place.made[0].study_uid, sorted({one.series_uid for one in place.made})
    rows.write_text("StudyInstanceUID,SeriesInstanceUID\n" + "".join(f"{study},{uid}\n" for uid in series))
    told = ["--report", report, "--events", events]
    arguments = ["-S", "--retrieve", "auto", "+P", place.port, "--list", rows, "--jobs", 2, *told]
    outcome = movescu(*arguments, place.archive.host, place.archive.port, folder=place.folder)
    assert outcome.log.count("retrieving by C-MOVE") == 1
    assert "C-GET" in json.loads(report.read_text())["fallback"]
    kinds = [json.loads(line)["event"] for line in events.read_text().splitlines()]
    assert kinds.count("fallback") == 1


def test_list_whose_sub_operations_all_fail_ends_at_once(place: Place, tmp_path: Path) -> None:
    place.archive.faults = Faults(fail_every=1)
    rows = tmp_path / "rows.csv"
    rows.write_text(f"StudyInstanceUID\n{place.made[0].study_uid}\n")
    arguments = ["-S", "--retrieve", "get", "--list", rows, place.archive.host, place.archive.port]
    outcome = movescu(*arguments, folder=place.folder, code=69)
    assert "the archive could not send the objects" in outcome.log


def test_program_retrieves_without_a_port(place: Place) -> None:
    objects = []
    archive = f"{place.archive.ae_title}@{place.archive.host}:{place.archive.port}"
    keys = {"StudyInstanceUID": place.made[0].study_uid}
    with Client(archive, retrieve="get") as client:
        result = client.retrieve(keys, to=lambda dataset: objects.append(dataset.SOPInstanceUID))
    assert result.complete
    assert sorted(objects) == sorted(one.instance_uid for one in place.made)


def test_time_that_a_program_takes_for_an_object_is_no_silence_of_the_archive(place: Place) -> None:
    archive = f"{place.archive.ae_title}@{place.archive.host}:{place.archive.port}"
    keys = {"StudyInstanceUID": place.made[0].study_uid, "SeriesInstanceUID": place.made[0].series_uid}
    timeouts = Timeouts(dimse=0.05, stall=0.05)
    with Client(archive, retrieve="get", timeouts=timeouts) as client:
        assert client.retrieve(keys, to=lambda _: time.sleep(0.1)).complete


def test_client_refuses_an_unknown_service() -> None:
    with pytest.raises(UsageError, match="move, get, auto"):
        Client("ARCHIVE@127.0.0.1:104", retrieve="fetch")


@pytest.mark.parametrize(("by", "options"), [("get", ()), ("auto", ("-q",))])
def test_success_that_withholds_what_the_archive_lists_is_incomplete(
    place: Place, tmp_path: Path, by: str, options: tuple[str, ...]
) -> None:
    place.archive.faults = Faults(get_status=0)
    report = tmp_path / "report.json"
    outcome = place.run("--report", report, "--linger", 1, *options, by=by, code=63)
    assert options or f"({OBJECTS} objects) but did not send it" in outcome.log
    told = json.loads(report.read_text())
    assert (told["outcome"], told["missing"]) == ("incomplete", OBJECTS)
