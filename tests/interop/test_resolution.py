"""What keys that C-FIND resolves do not find is named and no success, and nothing comes that the keys do not match."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import corpus
import peers
import pytest
import scripted
from command import movescu
from pydicom import dcmread

from movescu import AE, Client, Receive, Retry, Selection
from movescu.dictionary.uids import PATIENT_ROOT_FIND, PATIENT_ROOT_MOVE
from movescu.testing import Archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from command import Outcome
    from corpus import Instance

PATIENT_NAME, PATIENT_ID, ISSUER = 0x00100010, 0x00100020, 0x00100021
STUDY, SERIES, MODALITY, ACCESSION = 0x0020000D, 0x0020000E, 0x00080060, 0x00080050
SERIES_OF_STUDY, OBJECTS_OF_STUDY, OBJECTS_OF_SERIES = 0x00201206, 0x00201208, 0x00201209
STUDIES_OF_PATIENT = 0x00201200
ABSENT = "1.2.3.99"


class Place(NamedTuple):
    """Objects that an archive may have, and a folder for what comes."""

    made: list[Instance]
    received: Path
    port: int

    def run(self, address: tuple[str, int], *options: object, code: int = 0, called: str = "ARCHIVE") -> Outcome:
        titles = ("-aec", called, "+P", self.port, "--linger", 0)
        return movescu(*titles, *options, *address, folder=self.received, code=code)

    def against(self, script: scripted.Script, *options: object, code: int = 0) -> Outcome:
        with scripted.archive(script) as archive:
            return self.run(archive.address, *options, code=code)

    def send(self, sent: Sequence[Instance]) -> None:
        if not sent:
            return
        with scripted.sender(self.port, sent) as sender:
            for one in sent:
                assert sender.store(one, "MOVESCU") == 0

    def serve_moves(self, session: scripted.Session, counts: dict[str, int] | None = None) -> None:
        """Answer queries about all objects, and send what each C-MOVE names, until the release."""
        while session.serve_finds(self.made, counts) is not None:
            uids = [(one, (one.series_uid, one.study_uid)) for one in self.made]
            named = [one for one, (series, study) in uids if series.encode() in session.identifier]
            named = named or [one for one, (series, study) in uids if study.encode() in session.identifier]
            self.send(named)
            session.respond(completed=len(named))

    @property
    def there(self) -> set[str]:
        return {path.name.partition(".")[2] for path in self.received.iterdir() if path.name[0] != "."}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Place]:
    def made(**numbers: int) -> Place:
        for name in ("made", "received"):
            (tmp_path / name).mkdir()
        objects = corpus.make_study(tmp_path / "made", size=2000, **numbers)
        return Place(objects, tmp_path / "received", peers.free_port())

    return made


def keys(level: str, *given: str) -> list[str]:
    return [part for key in (f"QueryRetrieveLevel={level}", *given) for part in ("-k", key)]


SERVERS: dict[str, Callable[[dict[str, tuple[str, int]]], AbstractContextManager[peers.Peer]]] = {
    "Orthanc": lambda destinations: peers.orthanc(destinations, tcp_nodelay=True),
    "dcmqrscp": lambda destinations: peers.dcmqrscp(destinations, tcp_nodelay=True),
}


# -- what is not found -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=SERVERS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[peers.Peer, Place]]:
    folder, port = tmp_path_factory.mktemp("made"), peers.free_port()
    made = corpus.make_study(folder, studies=2, series=2, instances=1, size=2000)
    with SERVERS[request.param]({"MOVESCU": (peers.HOST, port)}) as peer:
        peer.load(corpus.paths(made))
        yield peer, Place(made, folder, port)


@pytest.mark.parametrize("mode", [["--resolve"], ["--only", "Modality=CT"], ["--resolve", "--verify"]])
def test_study_that_is_nowhere_is_named_wherever_keys_are_resolved(
    server: tuple[peers.Peer, Place], mode: list[str], tmp_path: Path
) -> None:
    peer, place = server
    place = place._replace(received=tmp_path)
    wanted = keys("STUDY", f"StudyInstanceUID={place.made[0].study_uid}\\{ABSENT}")
    outcome = place.run(peer.address, "-S", *mode, *wanted, code=63, called=peer.aet)
    assert f"incomplete: the archive lists nothing for {ABSENT}" in outcome.log
    assert place.there == {one.instance_uid for one in place.made[:2]}


def test_study_that_is_nowhere_is_named_by_a_dry_run(server: tuple[peers.Peer, Place], tmp_path: Path) -> None:
    peer, place = server
    wanted = keys("STUDY", f"StudyInstanceUID={place.made[0].study_uid}\\{ABSENT}")
    outcome = place._replace(received=tmp_path).run(peer.address, "-S", "--dry-run", *wanted, code=63, called=peer.aet)
    assert ABSENT in outcome.log
    assert "2 objects in all" in outcome.output


def test_entry_of_a_list_with_a_study_that_is_nowhere_is_partial(make: Callable[..., Place], tmp_path: Path) -> None:
    place, rows, report = make(series=2), tmp_path / "rows.csv", tmp_path / "report.json"
    rows.write_text(f"StudyInstanceUID\n{place.made[0].study_uid}\\{ABSENT}\n")
    with Archive(tmp_path / "made", {"MOVESCU": (peers.HOST, place.port)}) as archive:
        options = ("-S", "--list", rows, "--only", "Modality=CT", "--report", report)
        place.run((archive.host, archive.port), *options, code=63, called=archive.ae_title)
    [entry] = json.loads(report.read_text())["entries"]
    assert (entry["state"], entry["reason"]) == ("partial", "some-not-found")


def test_study_that_is_listed_without_a_series_is_named(make: Callable[..., Place]) -> None:
    place = make(studies=2)
    first, second = place.made

    def script(session: scripted.Session) -> None:
        session.accept()
        session.answer_find(*({STUDY: one.study_uid, ACCESSION: "A1"} for one in (first, second)))
        session.answer_find({SERIES: first.series_uid, MODALITY: "CT"})
        session.answer_find()
        place.serve_moves(session)

    outcome = place.against(script, "-S", "--only", "Modality=CT", *keys("STUDY", "AccessionNumber=A1"), code=63)
    assert f"incomplete: the archive lists nothing for {second.study_uid}" in outcome.log
    assert place.there == {first.instance_uid}


@pytest.mark.parametrize(
    ("totals", "counts", "complaint"),
    [
        ({SERIES_OF_STUDY: "3"}, "1", "the archive counts 3 series in study"),
        ({SERIES_OF_STUDY: "2", OBJECTS_OF_STUDY: "3"}, "1", "the archive counts 3 objects in study"),
        ({SERIES_OF_STUDY: "2", OBJECTS_OF_STUDY: "2"}, "1", ""),
        ({}, "", ""),
    ],
)
def test_totals_of_a_study_prove_that_its_series_are_listed(
    make: Callable[..., Place], totals: dict[int, str], counts: str, complaint: str
) -> None:
    place = make(series=3)
    study = place.made[0].study_uid

    def script(session: scripted.Session) -> None:
        session.accept()
        session.answer_find({STUDY: study, **totals})
        listed = ({SERIES: one.series_uid, MODALITY: "CT", OBJECTS_OF_SERIES: counts} for one in place.made[:2])
        session.answer_find(*listed)
        place.serve_moves(session)

    options = ("-S", "--verify", "--only", "Modality=CT", *keys("STUDY", f"StudyInstanceUID={study}"))
    outcome = place.against(script, *options, code=63 if complaint else 0)
    assert (f"{complaint} {study}" in outcome.log and "cannot be verified" in outcome.log) == bool(complaint)
    assert place.there == {one.instance_uid for one in place.made[:2]}


def test_number_of_studies_of_a_patient_proves_that_they_are_listed(make: Callable[..., Place]) -> None:
    place = make(studies=2)
    first = place.made[0]

    def script(session: scripted.Session) -> None:
        session.accept()
        session.answer_find({PATIENT_ID: first.patient_id, STUDIES_OF_PATIENT: "2"})
        session.answer_find({PATIENT_ID: first.patient_id, STUDY: first.study_uid})
        session.answer_find({SERIES: first.series_uid, MODALITY: "CT"})
        place.serve_moves(session)

    options = ("-P", "--verify", "--only", "Modality=CT", *keys("PATIENT", f"PatientID={first.patient_id}"))
    outcome = place.against(script, *options, code=63)
    assert "the archive counts 2 studies of a patient and lists 1" in outcome.log


@pytest.mark.parametrize("sent", [0, 1])
def test_study_that_is_listed_and_not_sent_is_named(make: Callable[..., Place], sent: int) -> None:
    place = make(studies=2)

    def script(session: scripted.Session) -> None:
        session.accept()
        session.answer_find(*({STUDY: one.study_uid, ACCESSION: "A1"} for one in place.made))
        for one in place.made:
            session.expect_move()
            delivered = [one] if one in place.made[:sent] else []
            place.send(delivered)
            session.respond(completed=len(delivered))
        session.expect_release()

    outcome = place.against(script, "-S", "--resolve", *keys("STUDY", "AccessionNumber=A1"), code=63)
    for one in place.made[sent:]:
        assert f"the archive lists study {one.study_uid} and sends no object of it" in outcome.log
    assert place.there == {one.instance_uid for one in place.made[:sent]}


# -- what the keys do not match ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["our own", "dcmqrscp"])
def namesakes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[tuple[str, int], str, Place]]:
    """Two patients of one Patient ID: the first study is of Alpha, the second of Beta."""
    folder, port = tmp_path_factory.mktemp("made"), peers.free_port()
    made = corpus.make_study(folder, studies=2, size=2000)
    for one, name in zip(made, ("Alpha", "Beta"), strict=True):
        dataset = dcmread(one.path)
        dataset.PatientID, dataset.PatientName = "P1", name
        dataset.save_as(one.path)
    destinations, place = {"MOVESCU": (peers.HOST, port)}, Place(made, folder, port)
    if request.param == "our own":
        with Archive(folder, destinations) as running:
            yield (running.host, running.port), running.ae_title, place
        return
    with peers.dcmqrscp(destinations, tcp_nodelay=True) as peer:
        peer.load(corpus.paths(made))
        yield peer.address, peer.aet, place


@pytest.mark.parametrize(
    "mode",
    [["--resolve"], ["--resolve", "--verify"], ["--only", "Modality=CT"], ["--verify"], ["--resume"], ["--retry", "1"]],
)
def test_keys_of_a_patient_beside_the_patient_id_choose_among_namesakes(
    namesakes: tuple[tuple[str, int], str, Place], mode: list[str], tmp_path: Path
) -> None:
    address, called, place = namesakes
    place = place._replace(received=tmp_path)
    place.run(address, "-P", *mode, *keys("PATIENT", "PatientID=P1", "PatientName=Beta*"), called=called)
    assert place.there == {place.made[1].instance_uid}


@pytest.mark.parametrize("mode", [["--resolve"], ["--only", "Modality=CT"], ["--verify"], ["--resume"]])
@pytest.mark.parametrize("level", ["PATIENT", "STUDY"])
def test_patient_id_of_two_patients_is_refused_where_only_patient_root_is_offered(
    make: Callable[..., Place], mode: list[str], level: str
) -> None:
    place = make()

    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid in (PATIENT_ROOT_FIND, PATIENT_ROOT_MOVE))
        session.answer_find({PATIENT_ID: "P1", ISSUER: "A"})
        session.answer_find({PATIENT_ID: "P1", ISSUER: "A"}, {PATIENT_ID: "P1", ISSUER: "B"})
        session.expect_release()

    given = ["PatientID=P1", "IssuerOfPatientID=A", *(["StudyDate=2020-"] if level == "STUDY" else [])]
    outcome = place.against(script, "-P", *mode, *keys(level, *given), code=63)
    assert "another patient, whom the keys do not match, has the same PatientID" in outcome.log
    assert not place.there


def test_patient_id_of_one_patient_is_enough_where_only_patient_root_is_offered(make: Callable[..., Place]) -> None:
    place = make()

    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid in (PATIENT_ROOT_FIND, PATIENT_ROOT_MOVE))
        session.answer_find({PATIENT_ID: "P1", ISSUER: "A"})
        session.answer_find({PATIENT_ID: "P1", ISSUER: "A"}, {PATIENT_ID: "P10", ISSUER: "B"})
        session.expect_move()
        assert b"P1" in session.identifier
        place.send(place.made)
        session.respond(completed=1)
        session.expect_release()

    place.against(script, "-P", "--resolve", *keys("PATIENT", "PatientID=P1", "IssuerOfPatientID=A"), "--all")
    assert place.there == {place.made[0].instance_uid}


def test_number_of_studies_that_a_patient_states_is_not_taken_for_their_list(make: Callable[..., Place]) -> None:
    place = make(studies=4)

    def script(session: scripted.Session) -> None:
        session.accept()
        session.answer_find({PATIENT_ID: place.made[0].patient_id, STUDIES_OF_PATIENT: "1"})
        session.answer_find(*({PATIENT_ID: one.patient_id, STUDY: one.study_uid} for one in place.made))
        session.expect_release()

    pattern = f"PatientID={place.made[0].patient_id[:-1]}*"
    outcome = place.against(script, "-P", "--resolve", "--max-studies", 2, *keys("PATIENT", pattern), code=63)
    assert "4 studies match the keys, more than --max-studies allows (2)" in outcome.log
    assert not place.there


@pytest.mark.parametrize("mode", [["--verify"], ["--resolve"], ["--only", "Modality=CT"]])
def test_patient_id_with_a_backslash_is_no_list_of_patient_ids(make: Callable[..., Place], mode: list[str]) -> None:
    place = make(studies=2)
    first, second = place.made

    def script(session: scripted.Session) -> None:
        session.accept()
        session.answer_find({STUDY: first.study_uid, PATIENT_ID: "A"}, {STUDY: second.study_uid, PATIENT_ID: "A\\B"})
        if mode[0] == "--only":
            session.answer_find({SERIES: first.series_uid, MODALITY: "CT"})
        place.serve_moves(session)

    outcome = place.against(script, "-S", *mode, *keys("STUDY", "PatientID=A"))
    assert f"contradicts PatientID: {second.study_uid}" in outcome.log
    assert place.there == {first.instance_uid}


# -- lists -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "retries", "code"), [(0xA700, 1, 0), (0xC001, 1, 0), (0xA700, 0, 63), (0xA900, 1, 63)]
)
def test_query_that_resolves_keys_is_repeated_if_it_failed_for_now(
    make: Callable[..., Place], status: int, retries: int, code: int
) -> None:
    place = make()

    def script(session: scripted.Session) -> None:
        session.accept()
        session.answer_find(status=status)
        if code == 0:
            session.answer_find({STUDY: one.study_uid, PATIENT_ID: one.patient_id})
        place.serve_moves(session)

    [one] = place.made
    options = ("--resolve", "--retry", retries, "--retry-pause", 1)
    place.against(script, "-S", *keys("STUDY", f"PatientID={one.patient_id}"), *options, code=code)
    assert bool(place.there) == (code == 0)


@pytest.mark.parametrize("only", [[], ["--only", "Modality=CT"]])
def test_patient_id_with_an_asterisk_is_no_pattern_once_it_was_found(
    make: Callable[..., Place], tmp_path: Path, only: list[str]
) -> None:
    """An archive takes a Patient ID of C-MOVE for a pattern, too: it would send the studies of others."""
    place = make(patients=3)
    for one, patient in zip(place.made, ("P*1", "PX1", "P231"), strict=True):
        data = dcmread(one.path)
        data.PatientID = patient
        data.save_as(one.path)
    with Archive(tmp_path / "made", {"MOVESCU": (peers.HOST, place.port)}) as archive:
        options = ("-P", *keys("PATIENT", "PatientID=P?1"), "--resolve", *only)
        place.run((archive.host, archive.port), *options)
    assert place.there == {one.instance_uid for one in place.made[:2]}


def test_list_with_another_selection_is_not_complete_before(make: Callable[..., Place], tmp_path: Path) -> None:
    place, rows, report = make(series=2), tmp_path / "rows.csv", tmp_path / "report.json"
    dataset = dcmread(place.made[1].path)
    dataset.Modality = "SR"
    dataset.save_as(place.made[1].path)
    rows.write_text(f"StudyInstanceUID\n{place.made[0].study_uid}\n")
    ran = tmp_path / "ran"
    command = ("--on-series", f"""sh -c 'echo "$0" >>{ran}' {{series_uid}}""")

    def states(*options: object) -> list[str]:
        with Archive(tmp_path / "made", {"MOVESCU": (peers.HOST, place.port)}) as archive:
            several = ("-S", "--list", rows, "--resume", "--report", report, *command, *options)
            place.run((archive.host, archive.port), *several, called=archive.ae_title)
        return [entry["state"] for entry in json.loads(report.read_text())["entries"]]

    assert states("--only", "Modality=CT") == ["complete"]
    assert len(place.there) == 1
    assert states() == ["complete"]
    assert place.there == {one.instance_uid for one in place.made}
    assert sorted(ran.read_text().split()) == sorted(one.series_uid for one in place.made)
    assert states() == ["complete before"]
    assert states("--only", "Modality=CT") == ["complete before"]


@pytest.mark.parametrize("listed", [4, 5])
def test_object_that_was_listed_before_an_entry_was_postponed_stays_wanted(
    make: Callable[..., Place], tmp_path: Path, listed: int
) -> None:
    place, rows, report = make(instances=5), tmp_path / "rows.csv", tmp_path / "report.json"
    rows.write_text(f"StudyInstanceUID\n{place.made[0].study_uid}\n")

    def script(session: scripted.Session) -> None:
        session.accept()
        session.serve_finds(place.made)
        place.send(place.made[:3])
        session.respond(0xA702, completed=3, failed=2)
        while session.serve_finds(place.made[:listed]) is not None:
            rest = [one for one in place.made[3:listed] if one.instance_uid.encode() in session.identifier]
            place.send(rest)
            session.respond(completed=len(rest), failed=5 - listed)

    def is_there(session: scripted.Session) -> None:
        session.accept()
        session.answer_echo()
        session.expect_release()

    options = ("-S", "--list", rows, "--retry-pause", 0, "--report", report)
    asked = (is_there,) if listed == 4 else ()  # whether the entry failed, or the archive was about to go away
    with scripted.archive(script, *asked) as archive:
        place.run(archive.address, *options, code=0 if listed == 5 else 63)
    [entry] = json.loads(report.read_text())["entries"]
    assert (entry["state"], entry.get("missing", 0)) == (("complete", 0) if listed == 5 else ("partial", 1))
    assert place.there == {one.instance_uid for one in place.made[:listed]}


@pytest.mark.parametrize(("stated", "code"), [("2", 0), ("3", 63)])
def test_number_of_objects_that_was_stated_when_keys_were_resolved_is_not_forgotten(
    make: Callable[..., Place], stated: str, code: int
) -> None:
    place = make(instances=2)

    def script(session: scripted.Session) -> None:
        session.accept()
        session.answer_find({STUDY: place.made[0].study_uid, ACCESSION: "A1", OBJECTS_OF_STUDY: stated})
        place.serve_moves(session)

    outcome = place.against(script, "-S", "--resolve", "--verify", *keys("STUDY", "AccessionNumber=A1"), code=code)
    assert ("the archive counts 3 objects" in outcome.log) is (code == 63)


def test_study_that_was_listed_before_the_archive_went_away_stays_wanted(
    make: Callable[..., Place], tmp_path: Path
) -> None:
    """The archive goes away in the first of two studies; when the archive is back, it lists only that one."""
    place, rows = make(studies=2), tmp_path / "rows.csv"
    one, _ = place.made
    rows.write_text("AccessionNumber\nA1\n")

    def goes_away(session: scripted.Session) -> None:
        session.accept()
        session.answer_find(*({STUDY: each.study_uid, ACCESSION: "A1"} for each in place.made))
        session.serve_finds(place.made)
        session.connection.close()

    def is_away(session: scripted.Session) -> None:
        session.read_request()
        session.connection.close()

    def is_back(session: scripted.Session) -> None:
        session.accept()
        session.answer_find({STUDY: one.study_uid, ACCESSION: "A1"})
        session.serve_finds([one])
        place.send([one])
        session.respond(completed=1)
        assert session.serve_finds([one]) is None

    options = ("-S", "--list", rows, "--resolve", "--retry-pause", 0)
    with scripted.archive(goes_away, is_away, is_away, is_back) as archive:
        log = place.run(archive.address, *options, code=63).log
    assert "the archive lists nothing for some of the keys" in log
    assert place.there == {one.instance_uid}


def test_entry_with_a_study_that_is_nowhere_is_postponed_and_completed_as_far_as_possible(
    make: Callable[..., Place], tmp_path: Path
) -> None:
    place, rows, report = make(instances=2), tmp_path / "rows.csv", tmp_path / "report.json"
    rows.write_text(f"StudyInstanceUID\n{place.made[0].study_uid}\\{ABSENT}\n")

    def script(session: scripted.Session) -> None:
        session.accept()
        session.serve_finds(place.made)
        session.respond(0xA702)
        assert session.serve_finds(place.made) is not None
        place.send(place.made)
        session.respond(completed=2)
        assert session.serve_finds(place.made) is None

    options = ("-S", "--list", rows, "--resolve", "--retry-pause", 0, "--report", report)
    place.against(script, *options, code=63)
    [entry] = json.loads(report.read_text())["entries"]
    assert (entry["state"], entry["reason"], entry["stored"]) == ("partial", "some-not-found", 2)
    assert place.there == {one.instance_uid for one in place.made}


def test_entry_that_another_list_completes_after_it_was_postponed_is_complete(
    make: Callable[..., Place], tmp_path: Path
) -> None:
    """The archive sends everything and says that it lacks resources: a list made afterwards accounts for that."""
    place, rows, report = make(instances=2), tmp_path / "rows.csv", tmp_path / "report.json"
    rows.write_text(f"StudyInstanceUID\n{place.made[0].study_uid}\n")

    def script(session: scripted.Session) -> None:
        session.accept()
        session.serve_finds(place.made)
        place.send(place.made)
        session.respond(0xA702, completed=2)
        assert session.serve_finds(place.made) is None

    place.against(script, "-S", "--list", rows, "--retry-pause", 0, "--report", report)
    [entry] = json.loads(report.read_text())["entries"]
    assert (entry["state"], entry["stored"]) == ("complete", 2)


# -- the command line, and what it says --------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--only", "--exclude"])
def test_command_for_studies_is_refused_where_series_are_chosen(tmp_path: Path, option: str) -> None:
    options = ("--verify", option, "Modality=CT", "--on-study", "true", "+P", peers.free_port())
    outcome = movescu(*options, *keys("STUDY", "StudyInstanceUID=1.2.3"), "host", 104, folder=tmp_path, code=1)
    assert "--on-study not allowed with --only or --exclude" in outcome.log


@pytest.mark.parametrize("name", ["m", "link"])
@pytest.mark.parametrize(
    ("first", "second"), [("--report", "--manifest"), ("--events", "--manifest"), ("--events", "--report")]
)
def test_two_outputs_in_one_file_are_refused(tmp_path: Path, first: str, second: str, name: str) -> None:
    (tmp_path / "m").touch()
    (tmp_path / "link").hardlink_to(tmp_path / "m")
    options = (first, tmp_path / "m", second, tmp_path / name, "+P", peers.free_port())
    outcome = movescu(*options, *keys("STUDY", "StudyInstanceUID=1.2.3"), "host", 104, folder=tmp_path, code=1)
    assert f"{first} and {second} name the same file" in outcome.log


@pytest.mark.parametrize("output", ["--manifest", "--report", "--failed"])
def test_output_that_would_overwrite_the_list_is_refused(tmp_path: Path, output: str) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("StudyInstanceUID\n1.2.3\n")
    options = ("--list", rows, output, rows, "+P", peers.free_port())
    outcome = movescu(*options, "host", 104, folder=tmp_path, code=1)
    assert f"--list and {output} name the same file" in outcome.log
    assert rows.read_text() == "StudyInstanceUID\n1.2.3\n"
    journal = tmp_path / ".movescu.journal"
    outcome = movescu(*options[:2], output, journal, *options[4:], "host", 104, folder=tmp_path, code=1)
    assert f"the journal and {output} name the same file" in outcome.log
    log = tmp_path / "journal-wal"
    named = ("--journal", tmp_path / "journal", output, log, *options[4:])
    outcome = movescu(*options[:2], *named, "host", 104, folder=tmp_path, code=1)
    assert f"the journal and {output} name the same file" in outcome.log


def test_query_by_a_pattern_of_uids_has_one_warning(make: Callable[..., Place], tmp_path: Path) -> None:
    place = make()
    with Archive(tmp_path / "made") as archive:
        wanted = f"StudyInstanceUID={place.made[0].study_uid[:-2]}*"
        outcome = movescu(
            "--query", "-aec", archive.ae_title, "-k", wanted, archive.host, archive.port, folder=tmp_path
        )
    [line] = outcome.log.splitlines()
    assert "StudyInstanceUID is taken as a pattern" in line


def test_attribute_of_series_that_the_archive_ignores_has_advice(make: Callable[..., Place]) -> None:
    place = make()

    def script(session: scripted.Session) -> None:
        session.accept()
        session.answer_find({STUDY: place.made[0].study_uid})
        session.answer_find({SERIES: place.made[0].series_uid})
        session.expect_release()

    wanted = keys("STUDY", f"StudyInstanceUID={place.made[0].study_uid}")
    outcome = place.against(script, "-S", "--only", "ProtocolName=A", *wanted, code=63)
    assert "the archive ignores ProtocolName" in outcome.log
    assert "choose series by an attribute that the archive supports, such as Modality" in outcome.log


def test_selection_without_conditions_verifies_by_the_list(make: Callable[..., Place], tmp_path: Path) -> None:
    """A program gets the same: the UIDs that were not found are in the result."""
    place = make()
    with Archive(tmp_path / "made", {"MOVESCU": (peers.HOST, place.port)}) as archive:
        client = Client(
            AE(archive.host, archive.port, title=archive.ae_title),
            listen=Receive(place.port),
            to=place.received,
            retry=Retry(verify=True),
            selection=Selection(only=("Modality=CT",)),
        )
        with client:
            uids = [place.made[0].study_uid, ABSENT]
            result = client.retrieve({"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": uids})
    assert (result.outcome, result.unfound, result.stored) == ("incomplete", (ABSENT,), 1)


@pytest.mark.parametrize("options", [("--verify",), ("--retry", 1), ("--resume",), ("--resolve",), ("--dry-run",)])
@pytest.mark.parametrize("level", [(), ("-k", "QueryRetrieveLevel=study")])
def test_level_that_is_missing_or_in_lower_case_is_that_of_the_keys(
    make: Callable[..., Place], options: tuple[object, ...], level: tuple[object, ...]
) -> None:
    place = make(instances=2)
    with Archive(place.made[0].path.parent, {"MOVESCU": (peers.HOST, place.port)}) as archive:
        address = (archive.host, archive.port)
        ran = place.run(address, "-S", *options, *level, "-k", f"StudyInstanceUID={place.made[0].study_uid}")
    assert place.there == (set() if "--dry-run" in options else {one.instance_uid for one in place.made})
    assert "QueryRetrieveLevel" not in ran.log


def test_level_of_a_plain_retrieve_is_sent_as_it_is(make: Callable[..., Place]) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        sent.append(session.identifier)
        session.respond()
        session.expect_release()

    sent: list[bytes] = []
    ran = make(instances=1).against(script, "-S", "-k", "QueryRetrieveLevel=study", "-k", "StudyInstanceUID=1.2.3")
    assert b"study" in sent[0]
    assert "QueryRetrieveLevel 'study' is not written in capital letters; give STUDY" in ran.log
