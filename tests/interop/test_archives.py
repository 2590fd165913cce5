"""Retrieving from real archives: DCMTK's dcmqrscp, Orthanc and pynetdicom's qrscp, as their makers ship them.

Every level of every information model that an archive serves, to our own port and to a third party's. What arrives is
held against the files that were loaded, by pydicom and dcmdump alone.
"""

from __future__ import annotations

import functools
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import corpus
import peers
import pydicom
import pytest
from command import movescu
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from movescu._runtime import version
from movescu.dictionary.uids import storage_classes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from corpus import Instance

    Launcher = Callable[[dict[str, peers.Address]], AbstractContextManager[peers.Peer]]

LAUNCHERS: dict[str, Launcher] = {"dcmqrscp": peers.dcmqrscp, "orthanc": peers.orthanc, "qrscp": peers.qrscp}

# Orthanc and qrscp do not know the retired Patient/Study Only model, which has no levels below the study (PS3.4 C.6.3).
SERVED = {
    "dcmqrscp": {
        "-P": ("PATIENT", "STUDY", "SERIES", "IMAGE"),
        "-S": ("STUDY", "SERIES", "IMAGE"),
        "-O": ("PATIENT", "STUDY"),
    },
    "orthanc": {"-P": ("PATIENT", "STUDY", "SERIES", "IMAGE"), "-S": ("STUDY", "SERIES", "IMAGE")},
    "qrscp": {"-P": ("PATIENT", "STUDY", "SERIES", "IMAGE"), "-S": ("STUDY", "SERIES", "IMAGE")},
}
LEVELS = [(name, model, level) for name, models in SERVED.items() for model in models for level in models[model]]

# Level -> the key that identifies an object there, and where ``Instance`` has it; highest level first (PS3.4 C.6.1.1).
UNIQUE_KEYS = {
    "PATIENT": ("PatientID", "patient_id"),
    "STUDY": ("StudyInstanceUID", "study_uid"),
    "SERIES": ("SeriesInstanceUID", "series_uid"),
    "IMAGE": ("SOPInstanceUID", "instance_uid"),
}


class Shelf(NamedTuple):
    """A running archive, what is in it, where it sends to us, and the third party that it knows."""

    archive: peers.Peer
    made: list[Instance]
    port: int
    third: peers.StoreScp


@contextmanager
def filled(name: str, folder: Path) -> Iterator[Shelf]:
    """An archive with two patients of two studies of two series of two CTs, and a study of several classes."""
    made = corpus.make_study(folder, patients=2, studies=2, series=2, instances=2, size=4096)
    made += corpus.make_objects(folder, seed=1)
    port = peers.free_port()
    with peers.storescp(aet="THIRD") as third:
        destinations = {"MOVESCU": (peers.HOST, port), "THIRD": third.address}
        with LAUNCHERS[name](destinations) as archive:
            archive.load(corpus.paths(made))
            yield Shelf(archive, made, port, third)


@pytest.fixture(scope="module")
def shelves(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Shelf]]:
    """Each archive, started when it is first asked for: a parametrized fixture would start them again and again."""
    with ExitStack() as stack:
        yield functools.cache(lambda name: stack.enter_context(filled(name, tmp_path_factory.mktemp("made"))))


@pytest.fixture
def shelf(request: pytest.FixtureRequest, shelves: Callable[[str], Shelf]) -> Shelf:
    """The archive that the test names."""
    return shelves(request.param)


def group(name: str) -> list[pytest.MarkDecorator]:
    """Return the marks of a test that an archive sends nothing to us in: one worker runs all tests of an archive."""
    return [pytest.mark.xdist_group(name)]


def sending(name: str) -> list[pytest.MarkDecorator]:
    """Return the marks of a test in which an archive sends objects to us."""
    return [*group(name), *([pytest.mark.pynetdicom_sender] if name == "qrscp" else [])]


def on(marks: Callable[[str], list[pytest.MarkDecorator]]) -> pytest.MarkDecorator:
    """Run a test on each archive, with these marks."""
    each = [pytest.param(name, marks=marks(name)) for name in LAUNCHERS]
    return pytest.mark.parametrize("shelf", each, indirect=True)


def keys(wanted: Instance, model: str, level: str) -> list[str]:
    """The keys of a request for one entity at a level: the unique keys there and above, as far as the model goes."""
    levels = list(UNIQUE_KEYS)
    named = levels[levels.index("STUDY") if model == "-S" else 0 : levels.index(level) + 1]
    unique = [f"{keyword}={getattr(wanted, field)}" for keyword, field in map(UNIQUE_KEYS.__getitem__, named)]
    return [part for key in (f"QueryRetrieveLevel={level}", *unique) for part in ("-k", key)]


def names(instances: list[Instance]) -> set[str]:
    """The file names that these objects are to get."""
    return {f"{storage_classes()[i.sop_class_uid].prefix}.{i.instance_uid}" for i in instances}


@pytest.mark.parametrize(
    ("shelf", "model", "level"),
    [pytest.param(*served, marks=sending(served[0])) for served in LEVELS],
    indirect=["shelf"],
)
@pytest.mark.sampled(3)
def test_what_is_asked_for_arrives_complete_and_nothing_else(
    shelf: Shelf, model: str, level: str, tmp_path: Path
) -> None:
    wanted = shelf.made[5]
    _, field = UNIQUE_KEYS[level]
    expected = [instance for instance in shelf.made if getattr(instance, field) == getattr(wanted, field)]
    outcome = movescu(
        model, *keys(wanted, model, level), "+P", shelf.port, "-aec", shelf.archive.aet, *shelf.archive.address,
        folder=tmp_path,
    )  # fmt: skip
    assert set(outcome.files) == names(expected)
    corpus.check_readable(outcome.files.values())
    for instance in expected:
        assert corpus.dataset_equal(instance.path, outcome.files[f"CT.{instance.instance_uid}"])
    assert outcome.log == ""


@on(sending)
def test_each_class_gets_the_file_name_prefix_that_scripts_look_for(shelf: Shelf, tmp_path: Path) -> None:
    mixed = [instance for instance in shelf.made if instance.patient_id == "PATIENT0010000"]
    outcome = movescu(
        "-S", *keys(mixed[0], "-S", "STUDY"), "+P", shelf.port, "-aec", shelf.archive.aet, *shelf.archive.address,
        folder=tmp_path,
    )  # fmt: skip
    assert set(outcome.files) == names(mixed)
    assert {name.partition(".")[0] for name in outcome.files} == {"CR", "CT", "MR", "US", "SC", "NM", "PI", "XA"}
    for instance in mixed:
        [name] = names([instance])
        assert corpus.dataset_equal(instance.path, outcome.files[name])


@on(sending)
def test_file_meta_says_what_dcmtk_would_say_and_names_us(shelf: Shelf, tmp_path: Path) -> None:
    wanted = shelf.made[0]
    outcome = movescu(
        *keys(wanted, "-P", "IMAGE"), "+P", shelf.port, "-aec", shelf.archive.aet, *shelf.archive.address,
        folder=tmp_path,
    )  # fmt: skip
    [file] = outcome.files.values()
    meta = pydicom.dcmread(file).file_meta
    assert [element.tag.element for element in meta] == [0x0000, 0x0001, 0x0002, 0x0003, 0x0010, 0x0012, 0x0013]
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert meta.MediaStorageSOPClassUID == wanted.sop_class_uid
    assert meta.MediaStorageSOPInstanceUID == wanted.instance_uid
    assert meta.TransferSyntaxUID == (
        ImplicitVRLittleEndian if shelf.archive.aet == "QRSCP" else ExplicitVRLittleEndian
    )
    assert meta.ImplementationClassUID == version.CLASS_UID
    assert meta.ImplementationVersionName == version.VERSION_NAME
    assert file.read_bytes()[:132] == bytes(128) + b"DICM"


@on(group)
def test_files_go_to_a_third_party_without_a_port_of_our_own(shelf: Shelf, tmp_path: Path) -> None:
    wanted = shelf.made[0]
    expected = [instance for instance in shelf.made if instance.series_uid == wanted.series_uid]
    outcome = movescu(
        "-S", *keys(wanted, "-S", "SERIES"), "--move", "THIRD", "-aec", shelf.archive.aet, *shelf.archive.address,
        folder=tmp_path,
    )  # fmt: skip
    assert outcome.files == {}
    received = {file.name: file for file in shelf.third.received}
    assert set(received) == names(expected)
    corpus.check_readable(received.values())
    for instance in expected:
        assert corpus.dataset_equal(instance.path, received[f"CT.{instance.instance_uid}"])


@on(group)
def test_third_party_gets_the_files_and_an_idle_port_of_ours_is_no_failure(shelf: Shelf, tmp_path: Path) -> None:
    outcome = movescu(
        *keys(shelf.made[0], "-P", "IMAGE"), "-aem", "THIRD", "+P", peers.free_port(), "-aec", shelf.archive.aet,
        *shelf.archive.address, folder=tmp_path,
    )  # fmt: skip
    assert outcome.files == {}


def assert_bundled_arrives(launch: Launcher, loaded: list[Instance], options: list[str], tmp_path: Path) -> None:
    """Retrieve all studies, one query file each, and compare."""
    received, queries = tmp_path / "received", tmp_path / "queries"
    received.mkdir()
    queries.mkdir()
    studies = dict.fromkeys(instance.study_uid for instance in loaded)
    files = [query_file(queries / str(number), uid) for number, uid in enumerate(studies)]
    port = peers.free_port()
    with launch({"MOVESCU": (peers.HOST, port)}) as archive:
        archive.load(corpus.paths(loaded))
        arguments = ["-S", *options, "+P", port, "-aec", archive.aet, *archive.address, *files]
        outcome = movescu(*arguments, folder=received)
    assert set(outcome.files) == names(loaded)
    corpus.check_readable(outcome.files.values())
    for instance in loaded:
        [name] = names([instance])
        assert corpus.dataset_equal(instance.path, outcome.files[name], by_dcmtk=True)
        if instance.is_compressed:  # native ones may come in another native transfer syntax
            assert pydicom.dcmread(outcome.files[name]).file_meta.TransferSyntaxUID == instance.transfer_syntax_uid


def query_file(path: Path, study_uid: str) -> Path:
    """A Part 10 file with the keys of a request for a study."""
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", study_uid
    query.file_meta = FileMetaDataset()
    query.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    query.file_meta.MediaStorageSOPClassUID = query.file_meta.MediaStorageSOPInstanceUID = "1.2"
    query.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.xdist_group("dcmqrscp")
def test_every_native_object_of_pydicom_comes_from_dcmqrscp_as_it_is(tmp_path: Path) -> None:
    native = [instance for instance in corpus.bundled() if not instance.is_compressed]
    assert_bundled_arrives(peers.dcmqrscp, native, [], tmp_path)


@pytest.mark.xdist_group("orthanc")
@pytest.mark.debian_12("orthanc")
def test_every_object_of_pydicom_compressed_ones_too_comes_from_orthanc_as_it_is(tmp_path: Path) -> None:
    assert_bundled_arrives(peers.orthanc, list(corpus.bundled()), ["+xa"], tmp_path)
