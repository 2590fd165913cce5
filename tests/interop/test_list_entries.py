"""Entries of a list on real archives: accession numbers everywhere, and no study moved twice."""

from __future__ import annotations

import gc
import json
import signal
import subprocess
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import corpus
import jsonschema
import peers
import pytest
import scripted
from command import movescu as run
from command import running
from pydicom import dcmread

import movescu
from movescu.dictionary.uids import STUDY_ROOT_FIND, STUDY_ROOT_MOVE
from movescu.retrieve.request_state import RequestState
from movescu.retrieve.stragglers import Awaiting
from movescu.retrieve.tally import Round
from movescu.testing import Archive
from movescu.transport.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from corpus import Instance

SERIES, INSTANCE = 0x0020000E, 0x00080018
ACCESSIONS = {0: "A1", 1: "A2", 2: "B1", 3: "B2"}


def make(folder: Path) -> list[Instance]:
    """Two patients of two studies of two series of one object, with accession numbers and dates."""
    folder.mkdir()
    made = corpus.make_study(folder, patients=2, studies=2, series=2, instances=1, size=2000)
    for one in made:
        number = studies_of(made).index(one.study_uid)
        dataset = dcmread(one.path)
        dataset.AccessionNumber, dataset.StudyDate = ACCESSIONS[number], f"{2020 + number}0101"
        dataset.save_as(one.path)
    return made


def studies_of(made: list[Instance]) -> list[str]:
    return list(dict.fromkeys(one.study_uid for one in made))


def here(folder: Path) -> set[str]:
    return {path.name.partition(".")[2] for path in folder.iterdir() if path.name[0] != "."}


def of_studies(made: list[Instance], *numbers: int) -> set[str]:
    return {one.instance_uid for one in made if studies_of(made).index(one.study_uid) in numbers}


# -- every archive -----------------------------------------------------------------------------------------------------

LAUNCHERS = {"orthanc": peers.orthanc, "dcmqrscp": peers.dcmqrscp, "qrscp": peers.qrscp}
MARKS = {"qrscp": [pytest.mark.pynetdicom_sender]}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.xdist_group(name), *MARKS.get(name, [])]) for name in LAUNCHERS]
)
def test_accession_numbers_bring_their_studies_from_every_archive(name: str, tmp_path: Path) -> None:
    made, received, port = make(tmp_path / "made"), tmp_path / "received", peers.free_port()
    received.mkdir()
    listed = tmp_path / "list.csv"
    listed.write_text('sep=;\nAccession Number;Ward\n="A2";7\nB1;7\n\n="A2";8\n')
    with LAUNCHERS[name]({"MOVESCU": (peers.HOST, port)}) as archive:  # type: ignore[operator] # one of three
        archive.load(corpus.paths(made))
        for model in ("-S", "-P"):
            options = [model, "--list", listed, "--jobs", 2, "-aec", archive.aet, "+P", port, *archive.address]
            outcome = run(*options, folder=received)
            assert "not sent, but kept for --report and --failed: column 'Ward'" in outcome.log
            assert here(received) == of_studies(made, 1, 2)
            for path in received.iterdir():
                if path.is_file():
                    path.unlink()


@pytest.fixture
def made(tmp_path: Path) -> list[Instance]:
    (tmp_path / "received").mkdir()
    return make(tmp_path / "made")


@pytest.fixture
def archive(made: list[Instance]) -> Iterator[Archive]:
    with Archive(made[0].path.parent, {"MOVESCU": (peers.HOST, peers.free_port())}) as one:
        yield one


def retrieve(archive: Archive, folder: Path, text: str, *options: object, code: int = 0) -> dict[str, Any]:
    """Retrieve a list and return the report."""
    listed, report = folder / "list.csv", folder / "report.json"
    listed.write_text(text)
    port = archive.destinations["MOVESCU"][1]
    told = ["--list", listed, "--report", report, "+P", port, *options, archive.host, archive.port]
    run("-S", *told, folder=folder / "received", code=code)
    return report_in(report)


def report_in(path: Path) -> dict[str, Any]:
    """Return a report that the schema allows."""
    report: dict[str, Any] = json.loads(path.read_text())
    jsonschema.validate(report, json.loads(files("movescu").joinpath("report/data/report.schema.json").read_bytes()))
    return report


def rows_of(report: dict[str, Any]) -> dict[int, dict[str, Any]]:
    rows = report["entries"]
    assert isinstance(rows, list)
    assert len({row["row"] for row in rows}) == len(rows)
    return {row["row"]: row for row in rows}


def moves_of(report: dict[str, Any]) -> int:
    responses = report["responses"]
    assert isinstance(responses, list)
    return len(responses)


def test_log_of_findscu_is_a_list(made: list[Instance], archive: Archive, tmp_path: Path) -> None:
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID", "-k", "AccessionNumber=A*"]
    address = [archive.host, str(archive.port)]
    found = subprocess.run(["findscu", "-v", "-S", *keys, *address], check=True, capture_output=True)
    report = retrieve(archive, tmp_path, (found.stdout + found.stderr).decode())
    assert report["outcome"] == "complete"
    assert here(tmp_path / "received") == of_studies(made, 0, 1)


# -- once --------------------------------------------------------------------------------------------------------------


def test_list_with_a_line_per_series_moves_each_study_once(made: list[Instance], tmp_path: Path) -> None:
    """The archive expects exactly these messages: another C-MOVE, or a query for a repeated entry, breaks it."""
    studies, port = studies_of(made)[:2], peers.free_port()

    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid in (STUDY_ROOT_FIND, STUDY_ROOT_MOVE))
        for study in studies:
            objects = [one for one in made if one.study_uid == study]
            session.answer_find(*({SERIES: one.series_uid} for one in objects))
            for one in objects:
                session.answer_find({INSTANCE: one.instance_uid})
            session.expect_move()
            with scripted.sender(port, objects) as sender:
                for one in objects:
                    assert sender.store(one) == 0
            session.respond(completed=len(objects))
        session.expect_release()

    listed, report = tmp_path / "list.csv", tmp_path / "report.json"
    lines = [f"{one.study_uid};{number}" for number, one in enumerate(made) if one.study_uid in studies]
    listed.write_text("Study Instance UID;Series No.\n" + "\n".join(lines))
    with scripted.archive(script) as archive:
        options = ["-S", "--list", listed, "--report", report, "+P", port, "-v", *archive.address]
        outcome = run(*options, folder=tmp_path / "received")
    assert here(tmp_path / "received") == of_studies(made, 0, 1)
    assert f"entry 2 (line 3: StudyInstanceUID={studies[0]}): complete, the same request as entry 1" in outcome.log
    told = report_in(report)
    rows = rows_of(told)
    assert [rows[number]["state"] for number in (1, 2, 3, 4)] == ["complete"] * 4
    assert [rows[number].get("same_as") for number in (1, 2, 3, 4)] == [None, 1, None, 3]
    assert [rows[number]["columns"] for number in (1, 2)] == [{"Series No.": "0"}, {"Series No.": "1"}]
    assert (told["outcome"], told["stored"]) == ("complete", 4)
    assert sum(int(row.get("stored", 0)) for row in rows.values()) == 4


@pytest.mark.parametrize("jobs", [1, 4])
def test_objects_of_entries_that_overlap_are_moved_once(
    made: list[Instance], archive: Archive, tmp_path: Path, jobs: int
) -> None:
    patient = made[0].patient_id
    lines = [f"{patient},20200101", f"{patient},20200101-20211231", f"{patient},20200101-20201231"]
    report = retrieve(archive, tmp_path, "PatientID,StudyDate\n" + "\n".join(lines), "--jobs", jobs)
    assert here(tmp_path / "received") == of_studies(made, 0, 1)
    assert moves_of(report) == 2
    assert report["stored"] == 4
    rows = rows_of(report)
    assert [rows[number]["state"] for number in (1, 2, 3)] == ["complete", "complete", "complete before"]
    assert [(rows[number].get("stored", 0), rows[number].get("already_there", 0)) for number in (1, 2, 3)] == [
        (2, 0),
        (2, 2),
        (0, 2),
    ]


def test_series_of_a_study_in_the_same_list_is_not_moved_again(
    made: list[Instance], archive: Archive, tmp_path: Path
) -> None:
    first, second = made[0], made[1]
    series = json.dumps(
        [
            {
                "0020000D": {"vr": "UI", "Value": [one.study_uid]},
                **({"0020000E": {"vr": "UI", "Value": [uid]}} if uid else {}),
            }
            for one, uid in ((first, first.series_uid), (second, "1.2.3.99"), (first, ""))
        ]
    )
    report = retrieve(archive, tmp_path, series, "--jobs", 2, code=63)
    assert moves_of(report) == 1
    rows = rows_of(report)
    assert [rows[number]["state"] for number in (1, 2, 3)] == ["complete before", "not found", "complete"]
    assert report["stored"] == 2


def test_repeated_entry_that_is_nowhere_has_the_outcome_of_the_first(
    made: list[Instance], archive: Archive, tmp_path: Path
) -> None:
    report = retrieve(archive, tmp_path, f"1.2.3.99\n{made[0].study_uid}\n1.2.3.99\n", code=63)
    rows = rows_of(report)
    assert [rows[number]["state"] for number in (1, 2, 3)] == ["not found", "complete", "not found"]


def test_entries_without_an_association_are_in_the_report(made: list[Instance], tmp_path: Path) -> None:
    archive = Archive(None, {"MOVESCU": (peers.HOST, peers.free_port())}, port=peers.free_port())
    text = f"StudyInstanceUID,Ward\n{made[0].study_uid},7\n{made[0].study_uid},8\n"
    rows = rows_of(retrieve(archive, tmp_path, text, code=61))
    assert [(rows[number]["state"], rows[number]["columns"]) for number in (1, 2)] == [
        ("failed", {"Ward": "7"}),
        ("failed", {"Ward": "8"}),
    ]


def test_entry_interrupted_while_the_archive_lacks_resources_keeps_what_it_stored(
    made: list[Instance], tmp_path: Path
) -> None:
    study, other = studies_of(made)[:2]
    objects, port = [one for one in made if one.study_uid == study], peers.free_port()

    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid in (STUDY_ROOT_FIND, STUDY_ROOT_MOVE))
        assert session.serve_finds(objects) is not None
        with scripted.sender(port, objects) as sender:
            assert sender.store(objects[0]) == 0
        session.respond(0xA702, completed=1, failed=1, remaining=0)
        session.expect_end_or_release()

    listed, report = tmp_path / "list.csv", tmp_path / "report.json"
    listed.write_text(f"{study}\n{other}\n{study}\n")
    with scripted.archive(script) as archive:
        options = ["-S", "--list", listed, "--report", report, "+P", port, "-v", *archive.address]
        with running(*options, folder=tmp_path / "received") as command:
            command.await_log("the archive lacks resources")
            command.signal(signal.SIGINT)
            outcome = command.end()
    outcome.hold_to(130)
    told = report_in(report)
    rows = rows_of(told)
    assert [rows[number]["state"] for number in (1, 2, 3)] == ["partial", "not started", "partial"]
    assert [rows[number].get("same_as") for number in (1, 2, 3)] == [None, None, 1]
    assert told["stored"] == rows[1]["stored"] == 1


def test_dry_run_lists_equal_entries_once(archive: Archive, tmp_path: Path) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text("AccessionNumber\nA1\nA2\nA1\nNONE\nNONE\n")
    options = ["-S", "--list", listed, "--dry-run", "+P", archive.destinations["MOVESCU"][1]]
    outcome = run(*options, archive.host, archive.port, folder=tmp_path / "received", code=63)
    assert [line.split().count("A1") for line in outcome.output.splitlines()] == [0, 1, 0, 0]
    assert outcome.output.endswith("4 objects in all\n")
    assert outcome.log.count("entries 4, 5 (AccessionNumber=NONE): nothing found") == 1


def test_table_of_accession_numbers_is_retrieved_by_a_program(
    made: list[Instance], archive: Archive, tmp_path: Path
) -> None:
    archive_ae = movescu.AE(archive.host, archive.port, archive.ae_title)
    rows: list[dict[str, object]] = [
        {"Accession Number": "A1", "Ward": 7},
        {"Accession Number": 1.5, "Ward": 7},
        {"Accession Number": "B2"},
    ]
    with movescu.Client(archive_ae, listen=archive.destinations["MOVESCU"][1], to=tmp_path / "received") as client:
        client.retrieve({"StudyInstanceUID": made[2].study_uid})  # an association without C-FIND stays open
        results = list(client.retrieve_many(rows, jobs=2))
    assert [getattr(result, "stored", str(result)) for result in results] == [
        2,
        "AccessionNumber is the number 1.5",
        2,
    ]
    assert here(tmp_path / "received") == of_studies(made, 0, 1, 3)


def test_same_failure_of_the_disk_is_logged_five_times(archive: Archive, made: list[Instance], tmp_path: Path) -> None:
    for one in made:
        (tmp_path / "received" / f"CT.{one.instance_uid}").mkdir()
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=" + "\\".join(studies_of(made))]
    address = ["+P", archive.destinations["MOVESCU"][1], archive.host, archive.port]
    outcome = run("-S", *keys, *address, folder=tmp_path / "received", code=69)
    assert outcome.log.count(" is not stored (status ") == 5
    assert outcome.log.count("more objects are not stored: ") == 1
    assert "8 objects arrived but could not be stored" in outcome.log


def test_memory_of_a_retrieve_is_freed_when_it_ends(made: list[Instance], archive: Archive, tmp_path: Path) -> None:
    """A list of weeks must not wait for the garbage collector, which comes the later the more there is."""
    archive_ae = movescu.AE(archive.host, archive.port, archive.ae_title)
    kinds = (RequestState, Round, Awaiting, Connection)
    port = archive.destinations["MOVESCU"][1]
    with movescu.Client(archive_ae, listen=port, to=tmp_path / "received", retry=movescu.Retry(verify=True)) as client:
        client.retrieve({"StudyInstanceUID": made[0].study_uid})
        gc.collect()
        gc.disable()
        try:
            before = {id(one) for one in gc.get_objects() if isinstance(one, kinds)}
            for _ in range(3):
                client.retrieve({"StudyInstanceUID": made[0].study_uid})
            after = [one for one in gc.get_objects() if isinstance(one, kinds) and id(one) not in before]
        finally:
            gc.enable()
    assert len(after) <= 4, after  # of the last retrieve, whose storage association may be about to end
