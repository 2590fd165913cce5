"""The same command line to DCMTK's movescu and to ours: a script must not see which of the two it has called.

The same archive, the same exit code, the same file names, equal data sets. What the files are byte for byte is for
``test_files_like_dcmtk``; where ours departs on purpose is in ``docs/differences.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import corpus
import peers
import pytest
import scripted
from command import dcmtk, movescu

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from command import Outcome

pytestmark = pytest.mark.xdist_group("against_dcmtk")

PATIENT = "PATIENT0000000"
STUDY = "1.2.826.0.1.3680043.8.498.100000.100000.100000"
SERIES = f"{STUDY}.100001"
IMAGE = f"{SERIES}.100000"


class Shelf:
    """An archive, and where it sends to."""

    def __init__(self, archive: peers.Peer, made: list[corpus.Instance], port: int) -> None:
        self.archive, self.made, self.port = archive, made, port

    def both(self, tmp_path: Path, *arguments: object) -> tuple[Outcome, Outcome]:
        """Run both commands, DCMTK's first; ours is held to its exit code."""
        folders = [tmp_path / "dcmtk", tmp_path / "ours"]
        for folder in folders:
            folder.mkdir()
        oracle = dcmtk(*arguments, folder=folders[0])
        return oracle, movescu(*arguments, folder=folders[1], code=oracle.code)

    def address(self) -> list[object]:
        """What all successful command lines have in common."""
        return ["+P", self.port, "-aec", self.archive.aet, *self.archive.address]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """A patient with a study of two series of one CT each, and another patient with objects of several classes."""
    folder = tmp_path_factory.mktemp("made")
    made = corpus.make_study(folder, series=2, size=2048)
    made += corpus.make_objects(folder, seed=1)
    assert made[1][2:6] == (IMAGE, SERIES, STUDY, PATIENT)
    port = peers.free_port()
    with peers.dcmqrscp({"MOVESCU": (peers.HOST, port), "ME": (peers.HOST, port)}, tcp_nodelay=True) as archive:
        archive.load(corpus.paths(made))
        yield Shelf(archive, made, port)


RETRIEVES = {
    "patient": f"-P -k QueryRetrieveLevel=PATIENT -k PatientID={PATIENT}",
    "study": f"-S -k 0008,0052=STUDY -k 0020,000d={STUDY}",
    "study of the retired model": f"-O -k 0008,0052=STUDY -k 0010,0020={PATIENT} -k 0020,000d={STUDY}",
    "series": f"-S -k 0008,0052=SERIES -k 0020,000d={STUDY} -k 0020,000e={SERIES}",
    "image": f"-S -k 0008,0052=IMAGE -k 0020,000d={STUDY} -k 0020,000e={SERIES} -k 0008,0018={IMAGE}",
    "several classes": "-P -k QueryRetrieveLevel=PATIENT -k PatientID=PATIENT0010000",
    "under another title": f"-aet ME -S -k 0008,0052=SERIES -k 0020,000d={STUDY} -k 0020,000e={SERIES}",
    "data set alone": f"-F -S -k 0008,0052=SERIES -k 0020,000d={STUDY} -k 0020,000e={SERIES}",
    "the leftmost of equal keys": f"-S -k 0008,0052=SERIES -k 0020,000d={STUDY} -k 0020,000e={SERIES} -k 0020,000e=1",
    "of no match": "-S -k 0008,0052=STUDY -k 0020,000d=1.2.3",
    "cancelled": f"--cancel 1 -S -k 0008,0052=STUDY -k 0020,000d={STUDY}",
    "nothing kept": f"--ignore -S -k 0008,0052=STUDY -k 0020,000d={STUDY}",
    "aborted at the end": f"--abort -S -k 0008,0052=SERIES -k 0020,000d={STUDY} -k 0020,000e={SERIES}",
}


@pytest.mark.parametrize("what", RETRIEVES)
@pytest.mark.sampled(2)
def test_retrieve_has_the_same_exit_code_names_and_data_sets(shelf: Shelf, what: str, tmp_path: Path) -> None:
    oracle, ours = shelf.both(tmp_path, *RETRIEVES[what].split(), *shelf.address())
    assert oracle.code == 0
    if what != "cancelled":  # how much comes before the cancel arrives is chance
        assert set(ours.files) == set(oracle.files)
    for name in set(ours.files) & set(oracle.files):
        if "-F" not in RETRIEVES[what]:
            assert corpus.dataset_equal(oracle.files[name], ours.files[name])
        else:
            assert ours.files[name].read_bytes() == oracle.files[name].read_bytes()


FAILURES = {
    "an unknown destination": (69, "-aet STRANGER +P {port} -aec {aet} {host} {archive}"),
    "an unknown third party": (69, "-aem NOWHERE -aec {aet} {host} {archive}"),
    "a wrong called title": (61, "-aec WRONG {host} {archive}"),
    "nobody listening": (61, "{host} {nobody}"),
    "an unknown host": (61, "archive.invalid 104"),
    "a missing output directory": (45, "+P {port} -od none -aec {aet} {host} {archive}"),
    "an output directory and no port": (1, "-od . -aec {aet} {host} {archive}"),
    "a port in use": (60, "+P {archive} -aec {aet} {host} {archive}"),
    "a missing query file": (1, "-aec {aet} {host} {archive} none.dcm"),
    "an unknown option": (1, "--nonsense {host} {archive}"),
}


@pytest.mark.parametrize("what", FAILURES)
def test_failure_has_the_same_exit_code(shelf: Shelf, what: str, tmp_path: Path) -> None:
    code, template = FAILURES[what]
    archive = shelf.archive
    line = template.format(
        port=shelf.port, aet=archive.aet, host=archive.host, archive=archive.port, nobody=peers.free_port()
    )
    keys = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY}"]
    oracle, ours = shelf.both(tmp_path, *keys, *line.split())
    assert oracle.code == code
    assert ours.files == oracle.files == {}


def final(status: int) -> scripted.Script:
    """A script that answers one request with this status."""

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        session.respond(status, completed=0)
        session.expect_release()

    return script


def closes_instead_of_releasing(session: scripted.Session) -> None:
    session.accept()
    session.expect_move()
    session.respond(completed=0)
    session.close()


def accepts_nothing(session: scripted.Session) -> None:
    session.accept(lambda _: False)
    session.expect_end()


SCRIPTS: dict[str, tuple[int, scripted.Script]] = {
    "warning": (68, final(0xB000)),
    "failure": (69, final(0xC123)),
    "refusal": (69, final(0xA702)),
    "unknown status": (69, final(0x1234)),
    "another warning": (69, final(0xB001)),
    "rejection": (61, lambda session: session.reject(1, 1, 3)),
    "no context": (66, accepts_nothing),
    "release fails": (67, closes_instead_of_releasing),
}


@pytest.mark.parametrize("what", SCRIPTS)
def test_what_an_archive_answers_gives_the_same_exit_code(what: str, tmp_path: Path) -> None:
    code, script = SCRIPTS[what]
    keys = ["-k", "QueryRetrieveLevel=STUDY"]
    with scripted.archive(script) as archive:
        assert dcmtk(*keys, *archive.address, folder=tmp_path).code == code
    with scripted.archive(script) as archive:
        movescu(*keys, *archive.address, folder=tmp_path, code=code)
