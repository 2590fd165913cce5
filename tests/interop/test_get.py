"""C-GET from real archives brings what C-MOVE brings, at every level, under every output option, without a port."""

from __future__ import annotations

import functools
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import corpus
import peers
import pydicom
import pytest
from command import movescu
from pydicom.uid import JPEGLosslessSV1, RLELossless

from movescu.dictionary.uids import storage_classes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from command import Outcome
    from corpus import Instance

UNIQUE_KEYS = {
    "PATIENT": ("PatientID", "patient_id"),
    "STUDY": ("StudyInstanceUID", "study_uid"),
    "SERIES": ("SeriesInstanceUID", "series_uid"),
    "IMAGE": ("SOPInstanceUID", "instance_uid"),
}
"""Level -> the key that identifies an object there, and where ``Instance`` has it."""

ALLOWED = {"DicomAlwaysAllowGet": True, "UnknownSopClassAccepted": True, "AcceptedSopClasses": ["1.*"]}
PRIVATE = {"1.2.826.0.1.3680043.8.498.99.1": "OT", "1.2.826.0.1.3680043.8.498.99.2": "OT"}

LAUNCHERS: dict[str, Callable[[dict[str, peers.Address]], AbstractContextManager[peers.Peer]]] = {
    "dcmqrscp": peers.dcmqrscp,
    "orthanc": lambda destinations: peers.orthanc(destinations, ALLOWED),
    "qrscp": peers.qrscp,
}
LEVELS = [
    (name, model, level)
    for name in LAUNCHERS
    for model, levels in {"-P": list(UNIQUE_KEYS), "-S": list(UNIQUE_KEYS)[1:]}.items()
    for level in levels
]
OUTPUT = {
    "as it is": (),
    "bit preserving": ("+B",),
    "bare data set": ("-F",),
    "implicit": ("+ti",),
    "big endian": ("+tb",),
    "deflated": ("+td",),
    "old VRs": ("-u",),
    "group lengths": ("+g",),
    "no group lengths": ("-g",),
    "undefined lengths": ("-e",),
    "padded": ("+p", "1024", "64"),
    "in folders": ("--layout", "study"),
}


def keys(wanted: Instance, model: str, level: str) -> list[str]:
    """The keys of a request for one entity at a level: the unique keys there and above."""
    levels = list(UNIQUE_KEYS)
    named = levels[levels.index("STUDY") if model == "-S" else 0 : levels.index(level) + 1]
    unique = [f"{keyword}={getattr(wanted, field)}" for keyword, field in map(UNIQUE_KEYS.__getitem__, named)]
    return [part for key in (f"QueryRetrieveLevel={level}", *unique) for part in ("-k", key)]


def names(instances: list[Instance]) -> set[str]:
    """The file names that these objects are to get."""
    return {f"{storage_classes()[i.sop_class_uid].prefix}.{i.instance_uid}" for i in instances}


class Shelf(NamedTuple):
    """A running archive, what is in it, and where it sends to."""

    archive: peers.Peer
    made: list[Instance]
    port: int

    def get(self, *arguments: object, folder: Path, code: int | None = 0) -> Outcome:
        """Retrieve by C-GET."""
        archive = ("-aec", self.archive.aet, *self.archive.address)
        return movescu("--retrieve", "get", *arguments, *archive, folder=folder, code=code)

    def move(self, *arguments: object, folder: Path, code: int | None = 0) -> Outcome:
        """Retrieve by C-MOVE."""
        archive = ("-aec", self.archive.aet, *self.archive.address)
        return movescu("+P", self.port, *arguments, *archive, folder=folder, code=code)


@pytest.fixture(scope="module")
def shelves(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Shelf]]:
    """Each archive, with two patients of two studies of two series, and a study of several classes."""

    def filled(name: str) -> Shelf:
        folder = tmp_path_factory.mktemp("made")
        made = corpus.make_study(folder, patients=2, studies=2, series=2, instances=2, size=4096)
        made += corpus.make_objects(folder, seed=1)
        port = peers.free_port()
        archive = stack.enter_context(LAUNCHERS[name]({"MOVESCU": (peers.HOST, port)}))
        archive.load(corpus.paths(made))
        return Shelf(archive, made, port)

    with ExitStack() as stack:
        yield functools.cache(filled)


@pytest.fixture
def shelf(request: pytest.FixtureRequest, shelves: Callable[[str], Shelf]) -> Shelf:
    """The archive that the test names."""
    return shelves(request.param)


def marked(name: str, *values: str) -> object:
    """Return a parameter whose test runs in the one worker that has the archive."""
    return pytest.param(name, *values, marks=pytest.mark.xdist_group(f"get-{name}"), id="-".join((name, *values)))


def contents(outcome: Outcome) -> dict[str, bytes]:
    """The files by name."""
    found = (path for path in outcome.folder.rglob("*") if path.is_file())
    return {str(path.relative_to(outcome.folder)): path.read_bytes() for path in found}


def folders(folder: Path) -> tuple[Path, Path]:
    got, moved = folder / "got", folder / "moved"
    got.mkdir()
    moved.mkdir()
    return got, moved


@pytest.mark.parametrize(("shelf", "model", "level"), [marked(*one) for one in LEVELS], indirect=["shelf"])
@pytest.mark.sampled(4)
def test_every_level_of_every_model_arrives_complete_and_nothing_else(
    shelf: Shelf, model: str, level: str, tmp_path: Path
) -> None:
    wanted = shelf.made[5]
    _, field = UNIQUE_KEYS[level]
    expected = [instance for instance in shelf.made if getattr(instance, field) == getattr(wanted, field)]
    outcome = shelf.get(model, *keys(wanted, model, level), folder=tmp_path)
    assert set(outcome.files) == names(expected)
    for instance in expected:
        assert corpus.dataset_equal(instance.path, outcome.files[f"CT.{instance.instance_uid}"])
    assert outcome.log == ""


@pytest.mark.pynetdicom_sender
@pytest.mark.parametrize(
    ("shelf", "options"),
    [marked(name, options) for name in LAUNCHERS for options in OUTPUT],
    indirect=["shelf"],
)
@pytest.mark.sampled(6)
def test_files_are_those_of_move_under_each_output_option(shelf: Shelf, options: str, tmp_path: Path) -> None:
    got, moved = folders(tmp_path)
    wanted = ("-S", *keys(shelf.made[-1], "-S", "STUDY"), *OUTPUT[options])
    by_get = contents(shelf.get(*wanted, folder=got))
    assert by_get == contents(shelf.move(*wanted, folder=moved))
    assert len(by_get) == len(corpus.SEVERAL_CLASSES)


def test_ten_classes_with_private_ones_arrive_if_unknown_ones_are_accepted(tmp_path: Path) -> None:
    made = corpus.make_objects(tmp_path, corpus.SEVERAL_CLASSES | PRIVATE)
    got, moved = folders(tmp_path)
    port = peers.free_port()
    with peers.orthanc({"MOVESCU": (peers.HOST, port)}, ALLOWED) as archive:
        archive.load(corpus.paths(made))
        shelf = Shelf(archive, made, port)
        wanted = ("-S", *keys(made[0], "-S", "STUDY"), "--accept-unknown")
        by_get = contents(shelf.get(*wanted, folder=got))
        assert by_get == contents(shelf.move(*wanted, folder=moved))
        assert len(by_get) == len(made) == 10


def test_archive_that_tells_no_classes_is_offered_all_in_turn(tmp_path: Path) -> None:
    """Dcmqrscp answers neither SOP Classes in Study nor SOP Class UID nor Modality."""
    rare = "1.2.840.10008.5.1.4.1.1.481.9"
    made = corpus.make_objects(tmp_path, {"1.2.840.10008.5.1.4.1.1.2": "CT", rare: "RTRECORD"})
    got, _ = folders(tmp_path)
    with peers.dcmqrscp() as archive:
        archive.load(corpus.paths(made))
        outcome = Shelf(archive, made, 0).get("-v", "-S", *keys(made[0], "-S", "STUDY"), folder=got)
    assert set(outcome.files) == names(made)


def test_compressed_objects_arrive_as_they_are_if_all_syntaxes_are_accepted(tmp_path: Path) -> None:
    """Orthanc takes one transfer syntax for each context, so each compressed one needs its own."""
    compressed = [one for one in corpus.bundled() if one.is_compressed]
    wanted = [one for one in compressed if one.transfer_syntax_uid in (JPEGLosslessSV1, RLELossless)] + [
        one for one in compressed if one.transfer_syntax_uid.startswith("1.2.840.10008.1.2.4.9")
    ]
    with peers.orthanc({}, ALLOWED | {"TranscodeDicomProtocol": False}) as archive:
        archive.load(corpus.paths(wanted))
        shelf = Shelf(archive, wanted, 0)
        for number, study in enumerate(sorted({one.study_uid for one in wanted})):
            got = tmp_path / str(number)
            got.mkdir()
            expected = [one for one in wanted if one.study_uid == study]
            outcome = shelf.get("-S", *keys(expected[0], "-S", "STUDY"), "+xa", folder=got)
            assert set(outcome.files) == names(expected)
            for one in expected:
                (name,) = names([one])
                assert pydicom.dcmread(outcome.files[name]).file_meta.TransferSyntaxUID == one.transfer_syntax_uid


def test_archive_that_does_not_permit_get_is_named(tmp_path: Path) -> None:
    made = corpus.make_study(tmp_path, instances=1, size=1000)
    got, _ = folders(tmp_path)
    with peers.orthanc() as archive:
        archive.load(corpus.paths(made))
        outcome = Shelf(archive, made, 0).get("-S", *keys(made[0], "-S", "STUDY"), folder=got, code=62)
        assert "ORTHANC may not permit C-GET to MOVESCU" in outcome.log


def test_auto_retrieves_by_move_where_the_archive_does_not_permit_get(tmp_path: Path) -> None:
    made = corpus.make_study(tmp_path, instances=3, size=1000)
    got, _ = folders(tmp_path)
    port = peers.free_port()
    ourselves = {"AET": "MOVESCU", "Host": peers.HOST, "Port": port, "AllowGet": False}
    with peers.orthanc(overrides={"DicomModalities": {"MOVESCU": ourselves}}) as archive:
        archive.load(corpus.paths(made))
        wanted = ("-S", *keys(made[0], "-S", "STUDY"), "--retrieve", "auto")
        outcome = Shelf(archive, made, port).move(*wanted, folder=got)
        assert set(outcome.files) == names(made)
        assert "retrieving by C-MOVE" in outcome.log
