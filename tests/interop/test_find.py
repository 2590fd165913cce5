"""C-FIND: what --query lists, what --resolve, --only and --exclude bring, what a dry run shows, why nothing came."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

import corpus
import peers
import pytest
import scripted
from command import movescu
from pydicom import dcmread

from movescu import AE, AsyncClient, Client, Selection
from movescu.dictionary.uids import PATIENT_ROOT_FIND, STUDY_ROOT_FIND, STUDY_ROOT_MOVE
from movescu.dimse.status import PENDING, PENDING_WARNING
from movescu.errors import FindNotOfferedError, IgnoredKeyError, TooManyStudiesError, UsageError
from movescu.testing import Archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from command import Outcome
    from corpus import Instance

MODALITIES = ("CT", "MR")


class Place(NamedTuple):
    """An archive with two patients of two studies, each with a series of CT and one of MR, and a folder."""

    address: tuple[str, int]
    aet: str
    made: list[Instance]
    received: Path
    port: int

    def run(self, *options: object, code: int = 0, prefix: Sequence[str] = ()) -> Outcome:
        return movescu("-aec", self.aet, *options, *self.address, folder=self.received, code=code, prefix=prefix)

    def retrieve(self, *options: object, code: int = 0) -> Outcome:
        return self.run("-S", "+P", self.port, *options, code=code)

    @property
    def client(self) -> Client:
        return Client(AE(*self.address, title=self.aet))

    @property
    def there(self) -> set[str]:
        return {path.name.partition(".")[2] for path in self.received.iterdir() if path.name[0] != "."}

    @property
    def studies(self) -> list[str]:
        return list(dict.fromkeys(one.study_uid for one in self.made))

    def of_study(self, *numbers: int, series: tuple[int, ...] = (0, 1)) -> set[str]:
        wanted = [[one for one in self.made if one.study_uid == self.studies[number]] for number in numbers]
        every = [list(dict.fromkeys(one.series_uid for one in study)) for study in wanted]
        kept = {uids[n] for uids in every for n in series}
        return {one.instance_uid for study in wanted for one in study if one.series_uid in kept}


SERVERS: dict[str, Callable[[dict[str, tuple[str, int]]], AbstractContextManager[peers.Peer]]] = {
    "Orthanc": lambda destinations: peers.orthanc(destinations, tcp_nodelay=True),
    "dcmqrscp": lambda destinations: peers.dcmqrscp(destinations, tcp_nodelay=True),
    "qrscp": peers.qrscp,
}
_SENDERS = [pytest.param(name, marks=[pytest.mark.pynetdicom_sender] if name == "qrscp" else []) for name in SERVERS]


def make(folder: Path) -> list[Instance]:
    """Four studies of two patients, with accession numbers A1 to A4, dates from 2020 on; series of CT and of MR."""
    folder.mkdir()
    made = corpus.make_study(folder, patients=2, studies=2, series=2, instances=2, size=20_000)
    studies = list(dict.fromkeys(one.study_uid for one in made))
    for one in made:
        number = studies.index(one.study_uid)
        series = sorted({other.series_uid for other in made if other.study_uid == one.study_uid}).index(one.series_uid)
        dataset = dcmread(one.path)
        dataset.AccessionNumber, dataset.StudyDate = f"A{number + 1}", f"{2020 + number}0101"
        dataset.Modality, dataset.SeriesNumber = MODALITIES[series], series + 1
        dataset.SeriesDescription = ("T1 axial +C", "Scout")[series]
        dataset.save_as(one.path)
    return made


@pytest.fixture(scope="module", params=["our own", *_SENDERS])
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("find")
    made, port = make(folder / "made"), peers.free_port()
    destinations = {"MOVESCU": (peers.HOST, port)}
    if request.param == "our own":
        with Archive(folder / "made", destinations) as running:
            yield Place((running.host, running.port), running.ae_title, made, folder, port)
        return
    with SERVERS[request.param](destinations) as peer:
        peer.load(corpus.paths(made))
        yield Place(peer.address, peer.aet, made, folder, port)


@pytest.fixture
def place(archive: Place, tmp_path: Path) -> Place:
    return archive._replace(received=tmp_path)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("own")
    made, port = make(folder / "made"), peers.free_port()
    with Archive(folder / "made", {"MOVESCU": (peers.HOST, port), "DEAD": (peers.HOST, peers.free_port())}) as running:
        yield Place((running.host, running.port), running.ae_title, made, folder, port)


@pytest.fixture
def ours(own: Place, tmp_path: Path) -> Place:
    return own._replace(received=tmp_path)


# -- --query -----------------------------------------------------------------------------------------------------------


def test_query_lists_the_studies_of_accession_numbers_and_retrieves_nothing(place: Place) -> None:
    outcome = place.run("--query", "-k", "AccessionNumber=A2")
    heading, row = outcome.output.splitlines()
    assert heading.startswith("patient ")
    assert row.split()[0] == place.made[0].patient_id
    assert "2021-01-01" in row
    assert row.endswith(place.studies[1])
    assert not place.there


@pytest.mark.parametrize(
    ("keys", "studies"),
    [
        (["StudyDate=20210101-20221231"], [1, 2]),
        (["AccessionNumber=A*", "StudyDate=-20201231"], [0]),
        (["PatientName=test^*", "AccessionNumber=A4"], [3]),
        (["ModalitiesInStudy=MR", "AccessionNumber=A3"], [2]),
    ],
)
@pytest.mark.sampled(3)
def test_query_matches_all_keys(place: Place, keys: list[str], studies: list[int]) -> None:
    if place.aet in ("QRSCP", "DCMQRSCP"):  # their names differ by case, as they may
        keys = [key.replace("test", "Test") for key in keys]
    outcome = place.run("--query", "--format", "uids", *(part for key in keys for part in ("-k", key)))
    assert sorted(outcome.output.split()) == sorted(place.studies[number] for number in studies)


@pytest.mark.parametrize("level", ["patient", "study", "series", "image"])
def test_query_lists_every_level(place: Place, level: str) -> None:
    outcome = place.run("--query", level, "--format", "uids", "-k", f"PatientID={place.made[0].patient_id}")
    of_patient = [one for one in place.made if one.patient_id == place.made[0].patient_id]
    names = {"patient": "patient_id", "study": "study_uid", "series": "series_uid", "image": "instance_uid"}
    assert sorted(outcome.output.split()) == sorted({str(getattr(one, names[level])) for one in of_patient})


def test_query_takes_patterns_and_says_so(place: Place) -> None:
    outcome = place.run("--query", "--format", "uids", "-k", "PatientID=PAT*1")
    assert sorted(outcome.output.split()) == sorted(place.studies[2:])
    assert "PatientID is taken as a pattern" in outcome.log


def test_query_counts_what_the_archive_does_not_count(place: Place) -> None:
    outcome = place.run("--query", "--count", "--format", "json", "-k", "AccessionNumber=A1")
    [found] = json.loads(outcome.output)
    assert (found["NumberOfStudyRelatedSeries"], found["NumberOfStudyRelatedInstances"]) == (2, 4)


def test_query_without_a_match_is_code_63(place: Place) -> None:
    outcome = place.run("--query", "-k", "AccessionNumber=X9", code=63)
    assert not outcome.output
    assert "nothing found" in outcome.log


def test_query_of_csv_has_keywords_and_the_keys_given(ours: Place) -> None:
    outcome = ours.run("--query", "--format", "csv", "-k", "AccessionNumber=A*", "-k", "PatientSex")
    rows = list(csv.DictReader(io.StringIO(outcome.output)))
    assert [row["StudyInstanceUID"] for row in rows] == ours.studies
    assert {row["PatientSex"] for row in rows} == {"O"}


def test_query_of_a_list_names_rows_without_a_match(ours: Place) -> None:
    rows = ours.received / "rows.csv"
    rows.write_text("AccessionNumber\nA1\nX9\nA3\n")
    outcome = ours.run("--query", "--format", "uids", "--list", rows, code=63)
    assert outcome.output.split() == [ours.studies[0], ours.studies[2]]
    assert "entry 2 (line 3: AccessionNumber=X9): nothing found" in outcome.log


@pytest.mark.parametrize("keys", [["-k", "PatientID="], ["-k", "AccessionNumber=*"], ["-k", r"PatientID=A\B"], []])
def test_query_of_everything_is_refused_before_anything_is_sent(tmp_path: Path, keys: list[str]) -> None:
    movescu("--query", *keys, peers.HOST, peers.free_port(), folder=tmp_path, code=1)


def test_query_of_everything_that_is_meant_lists_everything(ours: Place) -> None:
    assert ours.run("--query", "--all", "--format", "uids").output.split() == ours.studies


def test_listing_that_is_lost_on_a_full_device_is_no_success(ours: Place) -> None:
    full = ["sh", "-c", 'exec "$@" >/dev/full', "sh"]
    for how in ("table", "json", "csv", "uids"):
        outcome = ours.run("--query", "--all", "--format", how, code=40, prefix=full)
        assert outcome.log.count("cannot write to standard output: No space left on device") == 1


def test_query_below_too_many_studies_is_refused_with_their_number(ours: Place) -> None:
    keys = ("--query", "series", "-k", "AccessionNumber=A*")
    ours.run("--query", "study", *keys[2:], "--max-studies", 3, code=63)
    outcome = ours.run(*keys, "--max-studies", 3, code=63)
    assert "4 studies match the keys, more than --max-studies allows (3)" in outcome.log
    assert len(ours.run(*keys, "--max-studies", 4, "--format", "uids").output.split()) == 8


def test_query_goes_into_a_list_of_requests(ours: Place) -> None:
    rows = ours.received / "studies"
    (ours.received / "files").mkdir()
    rows.write_text(ours.run("--query", "--format", "uids", "-k", "StudyDate=2022-").output)
    ours = ours._replace(received=ours.received / "files")
    ours.retrieve("--list", rows)
    assert ours.there == ours.of_study(2, 3)


# -- --resolve, --only, --exclude --------------------------------------------------------------------------------------


def test_resolve_brings_the_study_of_an_accession_number(place: Place) -> None:
    place.retrieve("--resolve", "-k", "QueryRetrieveLevel=STUDY", "-k", "AccessionNumber=A2")
    assert place.there == place.of_study(1)


def test_resolve_takes_a_pattern_and_says_so(place: Place) -> None:
    keys = ("-k", "QueryRetrieveLevel=PATIENT", "-k", "PatientID=PAT*1")
    outcome = place.run("-P", "+P", place.port, "--resolve", "--verify", *keys)
    assert place.there == place.of_study(2, 3)
    assert "PatientID is taken as a pattern" in outcome.log


@pytest.mark.parametrize(
    ("options", "series"),
    [
        (["--only", "Modality=CT"], (0,)),
        (["--only", "SeriesDescription~AXIAL +c"], (0,)),
        (["--exclude", "SeriesDescription~scout"], (0,)),
        (["--only", r"Modality=MR\PT"], (1,)),
        (["--only", "Modality=*", "--exclude", "SeriesNumber=1"], (1,)),
    ],
)
@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.sampled(6)
def test_conditions_choose_series(place: Place, options: list[str], series: tuple[int, ...], *, verify: bool) -> None:
    unknown = place.aet in ("QRSCP", "DCMQRSCP") and "Description" in options[1]  # those two know no such attribute
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={place.studies[0]}")
    outcome = place.retrieve(*options, *(["--verify"] if verify else []), *keys, code=63 if unknown else 0)
    assert ("the archive ignores SeriesDescription" in outcome.log) == unknown
    assert place.there == (set() if unknown else place.of_study(0, series=series))


def test_conditions_that_no_series_meets_bring_nothing(ours: Place) -> None:
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={ours.studies[0]}")
    outcome = ours.retrieve("--only", "Modality=US", *keys, code=63)
    assert "nothing found" in outcome.log
    assert not ours.there


def test_conditions_choose_what_query_lists(ours: Place) -> None:
    outcome = ours.run("--query", "--only", "Modality=MR", "--format", "json", "-k", "AccessionNumber=A1")
    assert [one["Modality"] for one in json.loads(outcome.output)] == ["MR"]


@pytest.mark.parametrize("condition", ["Modality", "=CT", "StudyDescription~head", "NoSuchKeyword=1", "Modality="])
def test_condition_that_is_none_is_refused(tmp_path: Path, condition: str) -> None:
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3")
    movescu("--only", condition, *keys, peers.HOST, peers.free_port(), folder=tmp_path, code=1)


@pytest.mark.parametrize("mode", [["--resolve"], ["--verify"], ["--retry", 1], ["--resolve", "--resume"]])
def test_keys_that_match_too_many_studies_bring_nothing(ours: Place, mode: list[object]) -> None:
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", "AccessionNumber=A*")
    outcome = ours.retrieve(*mode, "--max-studies", 3, *keys, code=63)
    assert "4 studies match the keys, more than --max-studies allows (3)" in outcome.log
    assert not ours.there


def test_keys_that_match_too_many_studies_are_allowed_by_all(ours: Place) -> None:
    ours.retrieve("--resolve", "--all", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=")
    assert ours.there == ours.of_study(0, 1, 2, 3)


def test_plain_retrieve_warns_of_keys_that_an_archive_may_take_for_more(ours: Place) -> None:
    uid = f"StudyInstanceUID={ours.studies[0]}"
    outcome = ours.retrieve("-k", "QueryRetrieveLevel=STUDY", "-k", uid, "-k", "PatientName=nobody")
    assert "PatientName: not a key of C-MOVE; an archive may ignore" in outcome.log
    assert ours.there == ours.of_study(0)


# -- --dry-run ---------------------------------------------------------------------------------------------------------


def test_dry_run_shows_counts_and_needs_no_port(place: Place) -> None:
    outcome = place.run("-S", "--dry-run", "-k", "QueryRetrieveLevel=STUDY", "-k", "AccessionNumber=A3")
    _, row, total = outcome.output.splitlines()
    assert row.split()[-3:] == ["2", "4", place.studies[2]]
    assert total == "4 objects in all"
    assert not place.there


def test_dry_run_of_nothing_says_so_and_prints_no_total(ours: Place) -> None:
    outcome = ours.run("-S", "--dry-run", "-k", "QueryRetrieveLevel=STUDY", "-k", "AccessionNumber=NONE", code=63)
    assert "nothing found" in outcome.log
    assert outcome.output == ""


def test_dry_run_shows_the_series_chosen(ours: Place) -> None:
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={ours.studies[0]}")
    outcome = ours.run("-S", "--dry-run", "--only", "Modality=CT", *keys)
    _, row, total = outcome.output.splitlines()
    assert "T1 axial +C" in row
    assert total == "2 objects in all"


# -- why a retrieve brought nothing ------------------------------------------------------------------------------------


def test_failed_retrieve_says_that_the_archive_has_the_study_and_did_not_connect(ours: Place) -> None:
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={ours.studies[0]}")
    outcome = ours.retrieve("-aem", "DEAD", *keys, code=69)
    assert f"ARCHIVE has study {ours.studies[0]} (4 objects) but did not connect to port {ours.port}" in outcome.log


def test_retrieve_of_nothing_says_that_the_archive_has_no_such_study(ours: Place) -> None:
    outcome = ours.retrieve("-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3.99")
    assert "ARCHIVE has no study 1.2.3.99" in outcome.log


def test_archive_that_does_not_answer_why_costs_no_more_than_a_while(ours: Place) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        session.respond(status=0xC000)
        session.answer_find(status=0xC001)
        session.expect_release()

    with scripted.archive(script) as archive:
        keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3")
        outcome = ours._replace(address=archive.address).retrieve(*keys, code=69)
    assert "has no study" not in outcome.log


# -- the library -------------------------------------------------------------------------------------------------------


def test_client_finds_typed_matches(place: Place) -> None:
    [match] = place.client.find("STUDY", AccessionNumber="A2", count=True)
    assert (match.study_uid, match.patient_id) == (place.studies[1], place.made[0].patient_id)
    assert match.study_date == date(2021, 1, 1)
    assert (match.series, match.objects) == (2, 4)
    assert match.dataset.StudyInstanceUID == match["StudyInstanceUID"]
    assert str(match.dataset.AccessionNumber) == match.accession_number == "A2"


def test_client_retrieves_a_match(ours: Place) -> None:
    with Client(AE(*ours.address), listen=ours.port, to=ours.received) as client:
        series = client.find("SERIES", Modality="MR", StudyDate=date(2022, 1, 1))
        assert [one.modalities for one in series] == [("MR",)]
        assert client.retrieve(series[0].keys).stored == 2
    assert ours.there == ours.of_study(2, series=(1,))


def test_client_resolves_keys(ours: Place) -> None:
    selection = Selection(resolve=True, only=("Modality=CT",))
    with Client(AE(*ours.address), listen=ours.port, to=ours.received, selection=selection) as client:
        result = client.retrieve({"QueryRetrieveLevel": "STUDY", "AccessionNumber": "A1"})
    assert result.stored == 2


def test_asynchronous_client_finds(ours: Place) -> None:
    async def find() -> list[str]:
        async with AsyncClient(AE(*ours.address)) as client:
            return [match.study_uid for match in await client.find(AccessionNumber="A4")]

    assert asyncio.run(find()) == ours.studies[3:]


@pytest.mark.parametrize(
    ("level", "keys"),
    [("STUDY", {}), ("STUDIES", {"PatientID": "1"}), ("STUDY", {"SeriesInstanceUID": "1.2"}), ("STUDY", {"No": "1"})],
)
def test_client_refuses_a_query_that_is_none(level: str, keys: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        Client(AE(peers.HOST, peers.free_port())).find(level, keys or None)


def test_client_refuses_to_search_too_many_studies(ours: Place) -> None:
    client = Client(AE(*ours.address), selection=Selection(max_studies=3))
    with pytest.raises(TooManyStudiesError, match="4 studies"):
        client.find("SERIES", Modality="CT")


# -- archives that answer badly ----------------------------------------------------------------------------------------

STUDY, ACCESSION, PATIENT = 0x0020000D, 0x00080050, 0x00100020


def find_of(*answers: dict[int, str], pending: int = PENDING, status: int = 0, release: bool = True) -> scripted.Script:
    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid == STUDY_ROOT_FIND)
        session.answer_find(*answers, status=status, pending=pending)
        if release:
            session.expect_release()
        else:
            session.await_close()

    return script


def test_answer_that_contradicts_a_key_is_dropped(ours: Place) -> None:
    answers = {STUDY: "1.2.1", ACCESSION: "A1"}, {STUDY: "1.2.2", ACCESSION: "B1"}, {STUDY: "1.2.1", ACCESSION: "A1"}
    with scripted.archive(find_of(*answers)) as archive:
        outcome = ours._replace(address=archive.address).run("--query", "--format", "uids", "-k", "AccessionNumber=A*")
    assert outcome.output == "1.2.1\n"
    assert "contradicts AccessionNumber: 1.2.2" in outcome.log


@pytest.mark.parametrize(("pending", "ignored"), [(PENDING, False), (PENDING_WARNING, True)])
def test_answer_without_a_value_may_match_a_key_that_the_archive_does_not_support(
    ours: Place, pending: int, *, ignored: bool
) -> None:
    with scripted.archive(find_of({STUDY: "1.2.1", ACCESSION: "A1"}, {STUDY: "1.2.2"}, pending=pending)) as archive:
        of_it = ours._replace(address=archive.address)
        outcome = of_it.run("--query", "-k", "AccessionNumber=A1", code=69 if ignored else 0)
    assert ("the archive ignores AccessionNumber at level STUDY" in outcome.log) == ignored


def test_patient_id_that_the_archive_ignores_is_no_match(ours: Place) -> None:
    with scripted.archive(find_of({STUDY: "1.2.1"}, {STUDY: "1.2.2"})) as archive:
        outcome = ours._replace(address=archive.address).run("--query", "-k", "PatientID=1", code=69)
    assert "the archive ignores PatientID at level STUDY" in outcome.log
    assert not outcome.output


def test_key_that_the_archive_ignores_is_told_to_a_program() -> None:
    script = find_of({STUDY: "1.2.1"}, release=False)
    with scripted.archive(script) as archive, pytest.raises(IgnoredKeyError, match="AccessionNumber"):
        Client(AE(*archive.address)).find(AccessionNumber="A1")


def test_archive_without_c_find_is_told(ours: Place) -> None:
    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid == PATIENT_ROOT_FIND)
        session.answer_find(status=0xA900)
        session.expect_release()

    with scripted.archive(script) as archive:
        outcome = ours._replace(address=archive.address).run("--query", "-k", "AccessionNumber=A1", code=69)
    assert "the archive answers C-FIND at level PATIENT with status 0xa900" in outcome.log

    def nothing(session: scripted.Session) -> None:
        session.accept(lambda uid: uid == STUDY_ROOT_MOVE)
        session.await_close()

    with scripted.archive(nothing) as archive:
        outcome = ours._replace(address=archive.address).run("--query", "-k", "AccessionNumber=A1", code=66)
    assert "does not offer C-FIND" in outcome.log


def test_level_that_the_archive_does_not_offer_is_told_to_a_program() -> None:
    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid == STUDY_ROOT_FIND)
        session.await_close()

    with scripted.archive(script) as archive, pytest.raises(FindNotOfferedError, match="PATIENT"):
        Client(AE(*archive.address)).find("PATIENT", PatientID="1")


def test_hostile_values_control_no_terminal(ours: Place) -> None:
    hostile = {STUDY: "1.2.1", ACCESSION: "A1\x1b]0;x\x07", PATIENT: "a\nb\x9b2J"}
    for how in ("table", "csv", "json"):
        with scripted.archive(find_of(hostile)) as archive:
            place = ours._replace(address=archive.address)
            outcome = place.run("--query", "--format", how, "-k", "AccessionNumber=A1*")
        assert not [one for one in outcome.output if one != "\n" and not one.isprintable()], how
        assert len(outcome.output.splitlines()) == (3 if how == "json" else 2)


def test_relational_query_is_one_query_if_the_archive_grants_it(ours: Place) -> None:
    series = 0x0020000E

    def script(session: scripted.Session) -> None:
        request = session.read_request()
        granted = request.user_information.extended_negotiations
        assert granted
        session.accept_with(request, extended_negotiations=granted)
        session.answer_find({STUDY: "1.2.1", series: "1.2.1.1", ACCESSION: "A1"}, {series: "1.2.2.1", ACCESSION: "A2"})
        session.expect_release()

    with scripted.archive(script) as archive:
        place = ours._replace(address=archive.address)
        outcome = place.run("--query", "series", "--relational", "--format", "uids", "-k", "AccessionNumber=A1")
    assert outcome.output == "1.2.1.1\n"


def test_conditions_choose_series_of_the_entries_of_a_list(ours: Place) -> None:
    rows = ours.received.parent / "conditions.csv"
    rows.write_text("AccessionNumber\nA1\nX9\nA3\n")
    outcome = ours.retrieve("--list", rows, "--only", "Modality=MR", code=63)
    assert ours.there == ours.of_study(0, 2, series=(1,))
    assert "entry 2 (line 3: AccessionNumber=X9): not found" in outcome.log


def test_answer_without_a_uid_leaves_the_matches_unknown_and_shows_the_others(ours: Place) -> None:
    answers = {STUDY: "1.2.1", ACCESSION: "A1"}, {STUDY: "", ACCESSION: "A1"}
    with scripted.archive(find_of(*answers)) as archive:
        place = ours._replace(address=archive.address)
        outcome = place.run("--query", "--format", "uids", "-k", "AccessionNumber=A1", code=69)
    assert outcome.output == "1.2.1\n"
    assert "1 answer to C-FIND at level STUDY has no usable StudyInstanceUID" in outcome.log
