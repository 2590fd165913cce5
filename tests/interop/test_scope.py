"""What verify, retry, resume, dry run and lists ask an archive for: what the user's keys match, and no object more."""

from __future__ import annotations

import csv
import json
import re
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import corpus
import peers
import pytest
import scripted
from command import movescu
from pydicom import dcmread

from movescu.dictionary.tags import tag_of
from movescu.dictionary.uids import STUDY_ROOT_FIND, STUDY_ROOT_MOVE
from movescu.dimse.status import PENDING
from movescu.testing import Archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from command import Outcome
    from corpus import Instance


class Place(NamedTuple):
    """An archive with two patients of two studies each, and a folder for what comes."""

    address: tuple[str, int]
    aet: str
    made: list[Instance]
    received: Path
    port: int

    def run(self, *options: object, keys: Sequence[str] = (), code: int = 0) -> Outcome:
        own = [part for key in keys for part in ("-k", key)]
        titles = ("-S", "-aec", self.aet, "+P", self.port)
        return movescu(*titles, *own, *options, *self.address, folder=self.received, code=code)

    @property
    def there(self) -> set[str]:
        return {path.name.partition(".")[2] for path in self.received.iterdir() if path.name[0] != "."}

    def of_study(self, number: int) -> set[str]:
        study = self.studies[number]
        return {one.instance_uid for one in self.made if one.study_uid == study}

    @property
    def studies(self) -> list[str]:
        return list(dict.fromkeys(one.study_uid for one in self.made))


ARCHIVES: dict[str, Callable[[dict[str, tuple[str, int]]], AbstractContextManager[peers.Peer]]] = {
    "Orthanc": lambda destinations: peers.orthanc(destinations, tcp_nodelay=True),
    "dcmqrscp": lambda destinations: peers.dcmqrscp(destinations, tcp_nodelay=True),
}


def make(folder: Path) -> list[Instance]:
    """Four studies, of two patients, with the accession numbers A1 to A4 and dates from 2020 on."""
    folder.mkdir()
    made = corpus.make_study(folder, patients=2, studies=2, series=2, instances=1, size=20_000)
    studies = list(dict.fromkeys(one.study_uid for one in made))
    for one in made:
        number = studies.index(one.study_uid)
        dataset = dcmread(one.path)
        dataset.AccessionNumber, dataset.StudyDate = f"A{number + 1}", f"{2020 + number}0101"
        dataset.save_as(one.path)
    return made


@pytest.fixture(scope="module", params=ARCHIVES)
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("scope")
    made, port = make(folder / "made"), peers.free_port()
    with ARCHIVES[request.param]({"MOVESCU": (peers.HOST, port)}) as peer:
        peer.load(corpus.paths(made))
        yield Place(peer.address, peer.aet, made, folder, port)


@pytest.fixture
def place(archive: Place, tmp_path: Path) -> Place:
    received = tmp_path / "received"
    received.mkdir()
    return archive._replace(received=received)


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Place]:
    made, received, port = make(tmp_path / "made"), tmp_path / "received", peers.free_port()
    received.mkdir()
    with Archive(tmp_path / "made", {"MOVESCU": (peers.HOST, port)}) as running:
        yield Place((running.host, running.port), running.ae_title, made, received, port)


MODES: dict[str, list[object]] = {
    "verify": ["--verify"],
    "retry": ["--retry", 1],
    "resume": ["--resume"],
    "everything": ["--verify", "--retry", 1, "--resume"],
}


@pytest.mark.parametrize("mode", MODES)
def test_accession_number_brings_its_study_and_no_other(place: Place, mode: str) -> None:
    place.run(*MODES[mode], keys=["QueryRetrieveLevel=STUDY", "AccessionNumber=A2"])
    assert place.there == place.of_study(1)


def test_dates_and_a_patient_together_bring_what_both_match(place: Place) -> None:
    keys = ["QueryRetrieveLevel=STUDY", f"PatientID={place.made[0].patient_id}", "StudyDate=20210101-"]
    place.run("--verify", keys=keys)
    assert place.there == place.of_study(1)


@pytest.mark.parametrize("mode", [*MODES, "dry run"])
def test_key_that_the_archive_ignores_ends_the_run_and_nothing_is_retrieved(place: Place, mode: str) -> None:
    options: list[object] = ["--dry-run"] if mode == "dry run" else MODES[mode]
    keys = ["QueryRetrieveLevel=STUDY", "StudyStatusID=X", f"PatientID={place.made[0].patient_id}"]
    ignored = place.aet == "DCMQRSCP"  # Orthanc knows it, and finds nothing
    outcome = place.run(*options, keys=keys, code=63)
    assert ("the archive ignores StudyStatusID at level STUDY" in outcome.log) == ignored
    assert not place.there


@pytest.mark.parametrize(("modality", "found"), [("CT", True), ("MR", False)])
def test_modalities_in_study_are_decided_by_the_series_where_the_archive_ignores_them(
    place: Place, modality: str, *, found: bool
) -> None:
    keys = ["QueryRetrieveLevel=STUDY", f"ModalitiesInStudy={modality}", f"PatientID={place.made[0].patient_id}"]
    place.run("--verify", keys=keys, code=0 if found else 63)
    assert place.there == (place.of_study(0) | place.of_study(1) if found else set())


@pytest.mark.parametrize("mode", [*MODES, "dry run"])
@pytest.mark.parametrize(
    "keys",
    [
        ["StudyInstanceUID="],
        ["StudyInstanceUID=*"],
        ["AccessionNumber=*"],
        ["AccessionNumber=", "StudyDate="],
        ["AccessionNumber=?*"],
        ["StudyInstanceUID=", "RetrieveAETitle=ARC"],
        ["StudyInstanceUID=1.2.*"],
        ["StudyInstanceUID=1.2.3", "SeriesInstanceUID=1.2.3.4"],
    ],
)
def test_keys_that_name_nothing_are_refused_before_anything_is_sent(tmp_path: Path, mode: str, keys: list[str]) -> None:
    options: list[object] = ["--dry-run"] if mode == "dry run" else MODES[mode]
    nobody = Place((peers.HOST, peers.free_port()), "NOBODY", [], tmp_path, peers.free_port())
    nobody.run(*options, keys=["QueryRetrieveLevel=STUDY", *keys], code=1)


EMPTY = {
    "study of a patient": (["PatientID=P", "StudyInstanceUID="], "StudyInstanceUID"),
    "series of a study": (["StudyInstanceUID=1.2", "SeriesInstanceUID="], "SeriesInstanceUID"),
    "object of a series": (["StudyInstanceUID=1.2", "SeriesInstanceUID=1.3", "SOPInstanceUID="], "SOPInstanceUID"),
    "other key": (["PatientID=P", "AccessionNumber="], "AccessionNumber"),
}


@pytest.mark.parametrize("model", ["-P", "-S"])
@pytest.mark.parametrize("keys", EMPTY)
@pytest.mark.parametrize("mode", [*MODES, "resolve", "only", "dry run", "list", "file"])
@pytest.mark.sampled(8)
def test_variable_that_is_not_set_does_not_widen_the_request(tmp_path: Path, mode: str, keys: str, model: str) -> None:
    given, empty = EMPTY[keys]
    others: dict[str, list[object]] = {"resolve": ["--resolve"], "only": ["--only", "Modality=CT"]}
    options: dict[str, list[object]] = {**MODES, **others, "dry run": ["--dry-run"], "file": ["--verify"]}
    last: list[str] = []
    if mode == "list":
        cells = [key.split("=") for key in given[:-1]]
        (tmp_path / "list.csv").write_text("\n".join(",".join(cell[row] for cell in cells) for row in (0, 1)))
        options["list"], given = ["--list", "list.csv"], given[-1:]
    elif mode == "file":
        content = {}
        for name, value in (key.split("=") for key in given):
            vr = "UI" if name.endswith("UID") else "LO"
            content[f"{tag_of(name):08X}"] = {"vr": vr, "Value": [value] if value else []}
        (tmp_path / "keys.json").write_text(json.dumps(content))
        last, given = ["keys.json"], []
    words = [part for key in given for part in ("-k", key)]
    address = (peers.HOST, peers.free_port())
    parts: tuple[object, ...] = (*options[mode], *words, *address, *last)
    outcome = movescu(model, "+P", peers.free_port(), *parts, folder=tmp_path, code=1)
    assert f"{empty} is empty: all that the other keys match would be requested" in outcome.log


@pytest.mark.parametrize("mode", [["--verify"], ["--resolve"], ["--query", "study"]])
def test_uid_with_a_blank_inside_is_no_other_uid(embedded: Place, mode: list[str]) -> None:
    uid = embedded.studies[0]
    keys = ["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={uid[:-3]} {uid[-3:]}"]
    outcome = embedded.run(*mode, keys=keys, code=1)
    assert "StudyInstanceUID: the UID has blanks in it: it would name something else" in outcome.log
    outcome = embedded.run(keys=keys)
    assert "key StudyInstanceUID: blanks were removed from the UID" in outcome.log
    assert embedded.there == embedded.of_study(0), "what DCMTK sends"


def test_key_that_keys_only_drops_still_decides_the_level(embedded: Place, tmp_path: Path) -> None:
    patient = dcmread(embedded.made[0].path).PatientID
    query = tmp_path / "query.dump"
    query.write_text(f"(0010,0020) LO [{patient}]\n(0008,0050) SH [A1]\n")
    titles = ("-aec", embedded.aet, "+P", embedded.port, "--keys-only", "--verify", *embedded.address)
    outcome = movescu("-P", *titles, query, folder=embedded.received, code=1)
    assert "PatientID selects nothing at level STUDY, and StudyInstanceUID is empty" in outcome.log
    query.write_text(query.read_text() + f"(0020,000d) UI [{embedded.studies[0]}]\n")
    movescu("-P", *titles, query, folder=embedded.received)
    assert embedded.there == embedded.of_study(0)


@pytest.mark.parametrize("options", [("--verify",), ("--resolve",)])
def test_inferred_level_that_decides_the_scope_is_told(embedded: Place, options: tuple[str, ...]) -> None:
    outcome = embedded.run(*options, keys=[f"PatientID={dcmread(embedded.made[0].path).PatientID}"])
    assert "W: QueryRetrieveLevel is missing: STUDY is inferred from the keys" in outcome.log
    assert embedded.there == embedded.of_study(0) | embedded.of_study(1)


def test_empty_unique_key_beside_a_stated_level_is_told(embedded: Place) -> None:
    patient = dcmread(embedded.made[0].path).PatientID
    keys = ["QueryRetrieveLevel=STUDY", f"PatientID={patient}", "StudyInstanceUID="]
    outcome = embedded.run("--verify", keys=keys)
    assert outcome.log.count("W: StudyInstanceUID is empty: all that the other keys match is requested") == 1
    assert embedded.there == embedded.of_study(0) | embedded.of_study(1)


def test_empty_unique_key_beside_the_stated_level_of_a_list_is_told_once(embedded: Place) -> None:
    path = embedded.received.parent / "list.csv"
    path.write_text("PatientID\n" + "\n".join(sorted({dcmread(one.path).PatientID for one in embedded.made})))
    outcome = embedded.run("--list", path, keys=["QueryRetrieveLevel=STUDY", "StudyInstanceUID="])
    assert outcome.log.count("StudyInstanceUID is empty: all that the other keys match is requested") == 1


def test_key_of_unknown_level_brings_the_objects_that_it_matches(embedded: Place) -> None:
    one = dcmread(embedded.made[0].path)
    number = str(one.InstanceNumber)
    embedded.run("--verify", keys=[f"PatientID={one.PatientID}", f"InstanceNumber={number}"])
    matching = {i.instance_uid for i in embedded.made if str(dcmread(i.path).InstanceNumber) == number}
    assert embedded.there == matching & (embedded.of_study(0) | embedded.of_study(1))


@pytest.mark.parametrize("mode", MODES)
def test_nothing_found_is_no_success(place: Place, mode: str) -> None:
    outcome = place.run(*MODES[mode], keys=["QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3.99"], code=63)
    assert "nothing found: the archive" in outcome.log


def test_one_of_two_studies_that_is_nowhere_is_named(place: Place) -> None:
    keys = ["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={place.studies[0]}\\1.2.3.99"]
    outcome = place.run("--verify", keys=keys, code=63)
    assert "nothing for 1.2.3.99\n" in outcome.log
    assert place.there == place.of_study(0)


def test_patient_id_with_a_wild_card_is_one_patient_id(place: Place) -> None:
    outcome = place.run("--verify", keys=["QueryRetrieveLevel=STUDY", "PatientID=PATIENT*"], code=63)
    assert "PatientID is taken literally, with its * or ?: --resolve takes patterns" in outcome.log
    assert "nothing found" in outcome.log
    assert not place.there


def test_request_of_everything_that_is_meant_brings_everything(place: Place) -> None:
    keys = ["QueryRetrieveLevel=STUDY", "PatientName=*"]
    assert "PatientName selects nothing" in place.run("--verify", keys=keys, code=1).log
    place.run("--verify", "--all", keys=keys)
    assert place.there == {one.instance_uid for one in place.made}


@pytest.mark.parametrize("mode", [["--verify"], ["--retry", "1"], ["--resolve"], ["--dry-run"]])
def test_too_many_studies_are_one_error_with_the_option(place: Place, mode: list[str]) -> None:
    outcome = place.run(*mode, "--max-studies", 1, keys=["QueryRetrieveLevel=STUDY", "StudyDate=19000101-"], code=63)
    assert outcome.log.count("more than --max-studies allows (1): nothing was requested") == 1
    assert outcome.log.count("a higher --max-studies, or --all") == 1
    assert "verified" not in outcome.log


@pytest.mark.parametrize("named", ["patient", "studies", "series"])
@pytest.mark.parametrize("mode", [["--verify"], ["--retry", "1"], ["--resolve"], ["--only", "Modality=*"], ["list"]])
def test_limit_of_studies_holds_for_keys_that_name_them(embedded: Place, mode: list[str], named: str) -> None:
    patient = dcmread(embedded.made[0].path).PatientID
    series = {one.study_uid: one.series_uid for one in embedded.made if one.study_uid in embedded.studies[:2]}
    level, key, value = {
        "patient": ("PATIENT", "PatientID", patient),
        "studies": ("STUDY", "StudyInstanceUID", "\\".join(embedded.studies[:2])),
        "series": ("SERIES", "SeriesInstanceUID", "\\".join(series.values())),
    }[named]
    keys, options = [f"QueryRetrieveLevel={level}", f"{key}={value}"], mode
    if mode == ["list"]:
        path = embedded.received.parent / "list.csv"
        path.write_text(f"{key}\n{value}\n")
        keys, options = keys[:1], ["--list", str(path)]
    outcome = embedded.run("-P", *options, "--max-studies", 1, keys=keys, code=63)
    assert "2 studies match the keys, more than --max-studies allows (1): nothing was requested" in outcome.log
    assert not any(name.startswith("1.") for name in embedded.there)
    embedded.run("-P", *options, "--max-studies", 2, keys=keys)
    there = {one.instance_uid for one in embedded.made if one.series_uid in series.values() or named != "series"}
    assert there & (embedded.of_study(0) | embedded.of_study(1)) <= embedded.there


def test_limit_of_studies_that_a_plain_retrieve_cannot_hold_is_refused(embedded: Place) -> None:
    patient = dcmread(embedded.made[0].path).PatientID
    keys = ["QueryRetrieveLevel=PATIENT", f"PatientID={patient}"]
    outcome = embedded.run("-P", "--max-studies", 1, keys=keys, code=1)
    assert "the studies cannot be limited: a plain retrieve does not count what the keys match" in outcome.log
    embedded.run("--max-studies", 1, keys=["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={embedded.studies[0]}"])
    assert embedded.there == embedded.of_study(0)


@pytest.mark.parametrize("mode", [[], ["--dry-run"], ["--query", "series"]])
def test_condition_that_no_series_meets_is_named(place: Place, mode: list[str]) -> None:
    keys = ["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={place.studies[0]}"]
    outcome = place.run(*mode, "--only", "Modality=XA", keys=keys, code=63)
    assert re.search(r"nothing found: (none of the \d+|the only) series .* --only Modality=XA", outcome.log)
    assert "archive has nothing" not in outcome.log


# -- lists -----------------------------------------------------------------------------------------------------------


def write(place: Place, *rows: Sequence[str]) -> Path:
    path = place.received.parent / "rows.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def test_list_of_accession_numbers_brings_their_studies(place: Place) -> None:
    rows = write(
        place, ["PatientID", "AccessionNumber"], [place.made[0].patient_id, "A1"], [place.made[-1].patient_id, "A4"]
    )
    place.run("--list", rows, "--jobs", 2)
    assert place.there == place.of_study(0) | place.of_study(3)


def test_list_names_what_is_nowhere_and_does_not_note_it_as_complete(place: Place) -> None:
    rows = write(place, ["StudyInstanceUID"], [place.studies[0]], ["1.2.3.99"])
    for _ in range(2):
        outcome = place.run("--list", rows, "--resume", code=63)
        assert "(line 3: StudyInstanceUID=1.2.3.99): not found: the archive has nothing" in outcome.log
    assert place.there == place.of_study(0)


def test_resumed_list_looks_at_the_files_of_what_was_complete(place: Place) -> None:
    rows = write(place, ["StudyInstanceUID"], *([study] for study in place.studies))
    place.run("--list", rows, "--resume")
    gone, cut, *_ = sorted(path for path in place.received.iterdir() if path.name[0] != ".")
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-100])
    place.run("--list", rows, "--resume")
    assert place.there == {one.instance_uid for one in place.made}
    corpus.check_readable([gone, cut])


# -- archives that contradict themselves -------------------------------------------------------------------------------


SERIES, INSTANCE = 0x0020000E, 0x00080018


def contradicting(place: Place, answer: dict[str, Any], *, later: int) -> scripted.Script:
    """An archive that lists two objects, sends them, says something else, and then lists ``later`` objects."""

    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid in (STUDY_ROOT_FIND, STUDY_ROOT_MOVE))
        study = place.made[:2]
        assert session.serve_finds(study) is not None
        with scripted.sender(place.port, study) as sender:
            for one in study:
                assert sender.store(one) == 0
        said = {"completed": len(study)} | answer
        if (pending := said.pop("pending", None)) is not None:
            session.respond(PENDING, **pending)
        session.respond(**said)
        assert session.serve_finds([one._replace(study_uid=place.studies[0]) for one in place.made[:later]]) is None

    return script


CONTRADICTIONS: dict[str, tuple[int, dict[str, Any]]] = {
    "a failed count": (63, {"failed": 1}),
    "a failed count among those listed": (63, {"completed": 1, "failed": 1}),
    "a failed object that is not listed": (63, {"completed": 1, "failed": 1, "failed_uids": ["1.2.3.4"]}),
    "a remaining count": (63, {"remaining": 1}),
    "B000": (68, {"status": 0xB000, "failed": 1}),
    "a failure": (69, {"status": 0xC000}),
    "more completed than arrived": (63, {"completed": 3}),
    "FE00 that nobody asked for": (63, {"status": 0xFE00}),
    "more counted while pending": (63, {"failed": 0, "pending": {"completed": 2, "remaining": 1, "failed": 0}}),
    "more counted while pending, and no final count": (
        63,
        {"completed": None, "pending": {"completed": 2, "remaining": 1, "failed": 0}},
    ),
    "failed while pending": (63, {"failed": 0, "pending": {"completed": 2, "remaining": 0, "failed": 1}}),
}
PROVEN = ("a failed count among those listed", "a failure", "FE00 that nobody asked for")


@pytest.mark.parametrize("mode", ["plain", "verify", "resume"])
@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_archive_that_contradicts_itself_is_no_success(embedded: Place, mode: str, name: str) -> None:
    """Unless a list made afterwards, which only --verify asks for, accounts for what it said."""
    code, answer = CONTRADICTIONS[name]
    with scripted.archive(contradicting(embedded, answer, later=2)) as archive:
        place = embedded._replace(address=archive.address, aet="ARCHIVE")
        keys = ["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={place.studies[0]}"]
        proven = mode == "verify" and name in PROVEN
        outcome = place.run(*MODES.get(mode, []), "--linger", 0, keys=keys, code=0 if proven else code)
    assert ("a list made afterwards shows that all 2 objects are here" in outcome.log) == proven
    assert place.there == place.of_study(0)


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_list_after_a_contradiction_decides(embedded: Place, name: str) -> None:
    """It lists one more object than came."""
    code, answer = CONTRADICTIONS[name]
    with scripted.archive(contradicting(embedded, answer, later=3)) as archive:
        place = embedded._replace(address=archive.address, aet="ARCHIVE")
        keys = ["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={place.studies[0]}"]
        outcome = place.run("--verify", "--linger", 0, keys=keys, code=code)
    assert f"missing: SOP instance {place.made[2].instance_uid}" in outcome.log


@pytest.mark.parametrize("mode", [["--verify"], ["--retry", 1], ["--verify", "--retry", 1]])
@pytest.mark.parametrize("counts", [{"completed": 2, "remaining": 1}, {"completed": 3}, {"completed": 1, "failed": 2}])
def test_archive_that_counts_more_than_it_lists_and_is_lost_is_no_success(
    embedded: Place, counts: dict[str, Any], mode: list[object]
) -> None:
    study = embedded.made[:2]

    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid in (STUDY_ROOT_FIND, STUDY_ROOT_MOVE))
        assert session.serve_finds(study) is not None
        with scripted.sender(embedded.port, study) as sender:
            for one in study:
                assert sender.store(one) == 0
        session.respond(PENDING, **counts)
        session.abort()

    def again(session: scripted.Session) -> None:
        session.accept(lambda uid: uid in (STUDY_ROOT_FIND, STUDY_ROOT_MOVE))
        assert session.serve_finds(study) is None

    keys = ["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={embedded.studies[0]}"]
    with scripted.archive(script, again) as archive:
        place = embedded._replace(address=archive.address, aet="ARCHIVE")
        place.run(*mode, "--linger", 0, keys=keys, code=62)
    assert place.there == {one.instance_uid for one in study}


@pytest.mark.parametrize("mode", [["--verify"], ["--verify", "--resume"]])
def test_answer_given_twice_counts_once(embedded: Place, mode: list[object]) -> None:
    """The archive counts 4 objects in the study, and lists one of its two series twice."""
    one, other = embedded.made[:2]
    study = {0x0020000D: one.study_uid}

    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid in (STUDY_ROOT_FIND, STUDY_ROOT_MOVE))
        session.answer_find(study | {0x00201208: "2"})
        session.answer_find(*(study | {SERIES: one.series_uid},) * 2)
        session.answer_find({INSTANCE: one.instance_uid}, {INSTANCE: one.instance_uid})
        session.expect_move()
        with scripted.sender(embedded.port, [one, other]) as sender:
            assert sender.store(one) == 0
        session.respond(completed=1)
        session.expect_release()

    outcome = run_scripted(embedded, script, *mode, "--linger", 0, keys=[f"StudyInstanceUID={one.study_uid}"], code=63)
    assert f"the archive counts 2 objects in study {one.study_uid} and lists 1" in outcome.log


def test_series_that_is_requested_alone_is_compared_with_its_total(embedded: Place) -> None:
    one = embedded.made[0]

    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid in (STUDY_ROOT_FIND, STUDY_ROOT_MOVE))
        assert session.serve_finds([one], {one.series_uid: 2}) is not None
        with scripted.sender(embedded.port, [one]) as sender:
            assert sender.store(one) == 0
        session.respond(completed=1)
        session.expect_release()

    keys = ["QueryRetrieveLevel=SERIES", f"StudyInstanceUID={one.study_uid}", f"SeriesInstanceUID={one.series_uid}"]
    with scripted.archive(script) as archive:
        place = embedded._replace(address=archive.address, aet="ARCHIVE")
        outcome = place.run("--verify", "--linger", 0, keys=keys, code=63)
    assert f"the archive counts 2 objects in series {one.series_uid} and lists 1" in outcome.log


@pytest.mark.parametrize("first", ["a total", "a query cut short"])
def test_what_an_archive_stated_once_is_not_forgotten_in_the_next_attempt(embedded: Place, first: str) -> None:
    study = embedded.made[:2]
    cut_short = first == "a query cut short"

    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid in (STUDY_ROOT_FIND, STUDY_ROOT_MOVE))
        keys = {0x0020000D: study[0].study_uid, 0x00080050: "A1"}
        if cut_short:
            session.answer_find(keys, status=0xA700)
            session.answer_find(keys)
        else:
            session.answer_find(keys)
            assert session.serve_finds(study, {study[0].study_uid: 3}) is not None
            with scripted.sender(embedded.port, study) as sender:
                for one in study:
                    assert sender.store(one) == 0
            session.respond(0xA702, completed=2)
            session.answer_find(keys)
            assert session.serve_finds(study) is not None
            session.respond(completed=0)
        session.expect_release()

    keys, code = ["AccessionNumber=A1"], 63 if cut_short else 69
    outcome = run_scripted(embedded, script, "--verify", "--retry", 1, "--linger", 0, keys=keys, code=code)
    assert ("seems to send at most 1 answers" if cut_short else "the archive counts 3 objects in study") in outcome.log


@pytest.mark.parametrize("level", ["study", "series"])
def test_archive_that_counts_more_objects_than_it_lists_is_not_believed(embedded: Place, level: str) -> None:
    study = embedded.made[:2]

    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid in (STUDY_ROOT_FIND, STUDY_ROOT_MOVE))
        counts = {study[0].study_uid: 3} if level == "study" else {study[0].series_uid: 2}
        assert session.serve_finds(study, counts) is not None
        with scripted.sender(embedded.port, study) as sender:
            for one in study:
                assert sender.store(one) == 0
        session.respond(completed=2)
        assert session.serve_finds(study, counts) is None

    keys = [f"StudyInstanceUID={embedded.studies[0]}"]
    outcome = run_scripted(embedded, script, "--verify", "--linger", 0, keys=keys, code=63)
    assert f"the archive counts {3 if level == 'study' else 2} objects in {level}" in outcome.log
    assert embedded.there == embedded.of_study(0)


@pytest.mark.parametrize("level", ["STUDY", "SERIES"])
def test_resumed_request_is_not_narrowed_by_a_list_that_is_shorter_than_its_total(embedded: Place, level: str) -> None:
    """Orthanc 1.13 with LimitFindResults cuts a list short and reports success: what is cut is never requested."""
    first, second = study = embedded.made[:2]
    shutil.copy(first.path, embedded.received / f"CT.{first.instance_uid}")

    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid in (STUDY_ROOT_FIND, STUDY_ROOT_MOVE))
        counts = {first.study_uid if level == "STUDY" else first.series_uid: 2}
        assert session.serve_finds([first], counts) is not None, "nothing was requested"
        with scripted.sender(embedded.port, study) as sender:
            for one in study:
                assert sender.store(one) == 0
        session.respond(completed=2)
        assert session.serve_finds([first], counts) is None

    series = [f"SeriesInstanceUID={first.series_uid}"] if level == "SERIES" else []
    keys = [f"QueryRetrieveLevel={level}", f"StudyInstanceUID={first.study_uid}", *series]
    with scripted.archive(script) as archive:
        place = embedded._replace(address=archive.address, aet="ARCHIVE")
        outcome = place.run("--resume", "--linger", 0, keys=keys, code=63)
    assert f"the archive counts 2 objects in {level.lower()}" in outcome.log
    assert second.instance_uid in embedded.there


@pytest.mark.parametrize("mode", [[], ["--retry", 1], ["--verify"]])
@pytest.mark.parametrize("how", ["twice", "for another title", "of another study"])
def test_object_that_nobody_asked_for_makes_up_for_no_missing_one(
    embedded: Place, mode: list[object], how: str
) -> None:
    """The archive counts two objects as delivered."""
    study = embedded.made[:1]
    other = next(one for one in embedded.made if one.study_uid != embedded.studies[0])
    sent = [*study, {"twice": study[0], "for another title": embedded.made[1], "of another study": other}[how]]
    titles = {"twice": "MOVESCU", "for another title": "SOMEBODY", "of another study": None}

    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid in (STUDY_ROOT_FIND, STUDY_ROOT_MOVE))
        move = session.serve_finds(study)
        assert move is not None
        with scripted.sender(embedded.port, sent) as sender:
            for number, one in enumerate(sent):
                assert sender.store(one, titles[how] if number else "MOVESCU") == 0
        session.respond(completed=2)
        while session.serve_finds(study) is not None:  # --retry requests again what is missing, and that is nothing
            session.respond(completed=0)

    keys = [f"StudyInstanceUID={embedded.studies[0]}"]
    outcome = run_scripted(embedded, script, *mode, "--linger", 0, keys=keys, code=63)
    assert "counts 2 objects as delivered" in outcome.log


def limited(place: Place, wishes: dict[str, object], *options: object) -> Outcome:
    with peers.orthanc({"MOVESCU": (peers.HOST, place.port)}, wishes, tcp_nodelay=True) as peer:
        peer.load(corpus.paths(place.made))
        of_it = place._replace(address=peer.address, aet=peer.aet)
        return of_it.run(*options, keys=["QueryRetrieveLevel=STUDY", f"StudyInstanceUID={place.studies[0]}"], code=63)


@pytest.mark.parametrize("options", [["--verify"], ["--resume"], ["--verify", "--retry", 2]])
@pytest.mark.parametrize("limit", ["LimitFindInstances", "LimitFindResults"])
@pytest.mark.debian_12("orthanc")
def test_list_that_orthanc_cuts_short_does_not_stop_the_retrieve(
    tmp_path: Path, limit: str, options: list[object]
) -> None:
    made_in, received = tmp_path / "made", tmp_path / "received"
    made_in.mkdir()
    received.mkdir()
    made = corpus.make_study(made_in, series=3, instances=3, size=2000)
    place = Place(("", 0), "", made, received, peers.free_port())
    outcome = limited(place, {limit: 2}, *options)
    assert place.there == {one.instance_uid for one in made}
    assert "cannot be verified" in outcome.log
    assert "status 0xfe00 (Cancel) after 2 answers" in outcome.log


@pytest.mark.parametrize("lost", [False, True])
def test_object_that_broke_off_and_is_in_no_list_is_no_success(embedded: Place, *, lost: bool) -> None:
    """All that was listed is here; then an object of which the list knew nothing is cut, and the archive may abort."""
    unlisted = embedded.made[2]
    study = embedded.made[:2]

    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid in (STUDY_ROOT_FIND, STUDY_ROOT_MOVE))
        session.serve_finds(study)
        with scripted.sender(embedded.port, [*study, unlisted], release=False) as sender:
            for one in study:
                assert sender.store(one) == 0
            sender.begin(unlisted)
            sender.connection.abort()
        if lost:
            session.abort()
        else:
            session.respond(completed=2)
            session.serve_finds(study)

    keys = [f"StudyInstanceUID={embedded.studies[0]}"]
    outcome = run_scripted(embedded, script, "--verify", "--linger", 0, keys=keys, code=62 if lost else 63)
    assert f"the transfer of SOP instance {unlisted.instance_uid} broke off" in outcome.log


def script_of_finds(*steps: Callable[[scripted.Session], None]) -> scripted.Script:
    """An archive that answers C-FIND, and takes no C-MOVE."""

    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid in (STUDY_ROOT_FIND, STUDY_ROOT_MOVE))
        for step in steps:
            step(session)
        session.expect_release()

    return script


def run_scripted(embedded: Place, script: scripted.Script, *options: object, keys: Sequence[str], code: int) -> Outcome:
    with scripted.archive(script) as archive:
        place = embedded._replace(address=archive.address, aet="ARCHIVE")
        return place.run(*options, keys=["QueryRetrieveLevel=STUDY", *keys], code=code)


def test_list_that_ends_in_failure_is_no_list(embedded: Place) -> None:
    """An accession number cannot be asked for without one."""
    study = {0x0020000D: embedded.studies[0], 0x00080050: "A1"}
    script = script_of_finds(lambda session: session.answer_find(study, status=0xA700))
    outcome = run_scripted(embedded, script, "--verify", keys=["AccessionNumber=A1"], code=63)
    assert "0xa700" in outcome.log
    assert not embedded.there


def test_answer_that_contradicts_a_key_is_dropped_and_not_retrieved(embedded: Place) -> None:
    other = {0x0020000D: embedded.studies[1], 0x00080050: "A2"}
    script = script_of_finds(lambda session: session.answer_find(other))
    outcome = run_scripted(embedded, script, "--verify", "--retry", 0, keys=["AccessionNumber=A1"], code=63)
    assert f"dropped 1 answer to C-FIND at level STUDY that contradicts AccessionNumber: {embedded.studies[1]}" in (
        outcome.log
    )


@pytest.mark.parametrize("answer", [{0x00080052: "STUDY"}, {0x00080050: "A1"}])
def test_answer_without_a_uid_leaves_the_matches_unknown(embedded: Place, answer: dict[int, str]) -> None:
    study = {0x0020000D: embedded.studies[0], 0x00080050: "A1"}
    script = script_of_finds(lambda session: session.answer_find(study, answer))
    outcome = run_scripted(embedded, script, "--verify", keys=["AccessionNumber=A1"], code=63)
    assert "1 answer to C-FIND at level STUDY has no usable StudyInstanceUID" in outcome.log
    assert not embedded.there


def test_key_that_no_answer_has_a_value_for_was_ignored(embedded: Place) -> None:
    studies = [{0x0020000D: study} for study in embedded.studies]
    script = script_of_finds(lambda session: session.answer_find(*studies))
    outcome = run_scripted(embedded, script, "--retry", 3, keys=["AccessionNumber=A1"], code=63)
    assert "the archive ignores AccessionNumber at level STUDY" in outcome.log


def test_key_without_a_value_in_an_answer_that_warns_of_keys_was_ignored(embedded: Place) -> None:
    answers = {0x0020000D: embedded.studies[0], 0x00080050: "A1"}, {0x0020000D: embedded.studies[1]}
    script = script_of_finds(lambda session: session.answer_find(*answers, pending=0xFF01))
    outcome = run_scripted(embedded, script, "--resume", keys=["AccessionNumber=A1"], code=63)
    assert "the archive ignores AccessionNumber at level STUDY" in outcome.log
    assert not embedded.there


def test_series_that_is_listed_without_an_object_is_named(embedded: Place) -> None:
    study = embedded.made[:2]

    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid in (STUDY_ROOT_FIND, STUDY_ROOT_MOVE))
        session.answer_find()
        session.answer_find(*({SERIES: one.series_uid} for one in study))
        session.answer_find({INSTANCE: study[0].instance_uid})
        session.answer_find()
        session.expect_move()
        with scripted.sender(embedded.port, study) as sender:
            assert sender.store(study[0]) == 0
        session.respond(completed=1)
        session.expect_release()

    keys = [f"StudyInstanceUID={embedded.studies[0]}"]
    outcome = run_scripted(embedded, script, "--verify", keys=keys, code=63)
    assert f"nothing for {study[1].series_uid}" in outcome.log
