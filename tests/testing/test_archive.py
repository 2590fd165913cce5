"""The test archive with DCMTK's clients: echoscu, findscu, movescu and senders."""

from __future__ import annotations

import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import command
import corpus
import peers
import pydicom
import pydicom.data
import pytest
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, evt

from movescu.testing import Archive
from movescu.testing.query import matches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


@contextmanager
def storage_scp(on_store: Callable[[], int], associations: list[int] | None = None) -> Iterator[tuple[str, int]]:
    """Run pynetdicom as destination; yield its address. ``associations`` gets the number of contexts of each."""

    def accepted(event: evt.Event) -> None:
        if associations is not None:
            associations.append(len(event.assoc.requestor.requested_contexts))

    entity = AE("DESTINATION")
    entity.supported_contexts = AllStoragePresentationContexts
    handlers = [(evt.EVT_C_STORE, lambda _: on_store()), (evt.EVT_ACCEPTED, accepted)]
    server = entity.start_server((peers.HOST, 0), block=False, evt_handlers=handlers)
    try:
        yield server.socket.getsockname()
    finally:
        server.shutdown()


def folder_of(folder: Path, instances: Iterable[corpus.Instance]) -> Path:
    """Make a folder of links to these files only."""
    folder.mkdir()
    for number, instance in enumerate(instances):
        (folder / f"{number:04}.dcm").symlink_to(instance.path)
    return folder


def find(archive: Archive, folder: Path, model: str, *keys: str) -> list[pydicom.Dataset]:
    """Return the matches that DCMTK's findscu writes."""
    folder.mkdir()
    options = [option for key in keys for option in ("-k", key)]
    arguments = [model, "-X", "-od", str(folder), "-aec", archive.ae_title, *options, archive.host, str(archive.port)]
    result = subprocess.run(["findscu", *arguments], check=False, capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
    assert "E: " not in result.stderr
    return [pydicom.dcmread(file) for file in sorted(folder.iterdir())]


def move(archive: Archive, folder: Path, *arguments: str, code: int = 0) -> command.Outcome:
    """Retrieve with DCMTK's movescu."""
    outcome = command.dcmtk("-v", "-aec", archive.ae_title, *arguments, archive.host, archive.port, folder=folder)
    assert outcome.code == code, outcome.log
    return outcome


def keys_of(level: str, key: str, values: Sequence[str]) -> list[str]:
    separated = "\\".join(values)
    return ["-k", f"QueryRetrieveLevel={level}", "-k", f"{key}={separated}"]


def receive(folder: Path, port: int) -> list[str]:
    """Return options with which DCMTK's movescu stores objects as sent; with +B, into its working directory."""
    folder.mkdir()
    return ["-aet", "DCMTK", "+P", str(port), "+B", "+xa"]


def test_echoscu_gets_an_answer() -> None:
    with Archive() as archive:
        result = subprocess.run(["echoscu", archive.host, str(archive.port)], check=False, timeout=30)
    assert result.returncode == 0


def test_objects_arrive_as_they_are_stored(tmp_path: Path) -> None:
    """One C-MOVE for all of pydicom's sample files, in a dozen transfer syntaxes and classes."""
    bundled = corpus.bundled()
    port, out = peers.free_port(), tmp_path / "out"
    with Archive(folder_of(tmp_path / "in", bundled), {"DCMTK": (peers.HOST, port)}) as archive:
        assert len(archive) == len(bundled)
        keys = keys_of("IMAGE", "SOPInstanceUID", [instance.instance_uid for instance in bundled])
        move(archive, out, "-S", *receive(out, port), *keys)
    received = {file.name.partition(".")[2]: file for file in out.iterdir()}
    for instance in bundled:
        file = received[instance.instance_uid]
        assert corpus.dataset_equal(instance.path, file)
        assert pydicom.dcmread(file).file_meta.TransferSyntaxUID == instance.transfer_syntax_uid


def test_keys_of_each_level_and_lists_select_their_objects(tmp_path: Path) -> None:
    made = corpus.make_study(tmp_path, patients=2, studies=2, series=2, instances=2, size=2048)
    first, last = made[0], made[-1]
    cases = [
        ("-P", keys_of("PATIENT", "PatientID", [first.patient_id]), 8),
        ("-O", keys_of("STUDY", "StudyInstanceUID", [first.study_uid]), 4),
        ("-S", keys_of("STUDY", "StudyInstanceUID", [first.study_uid, last.study_uid]), 8),
        ("-S", keys_of("SERIES", "SeriesInstanceUID", [last.series_uid]), 2),
        ("-P", keys_of("IMAGE", "SOPInstanceUID", [first.instance_uid, last.instance_uid]), 2),
        ("-P", [*keys_of("STUDY", "StudyInstanceUID", [first.study_uid]), "-k", f"PatientID={last.patient_id}"], 0),
        ("-S", keys_of("STUDY", "StudyInstanceUID", ["1.2.3"]), 0),
    ]
    with peers.storescp(tcp_nodelay=True) as third, Archive(tmp_path, {"THIRD": third.address}) as archive:
        for model, keys, count in cases:
            outcome = move(archive, tmp_path, model, "-aem", "THIRD", "-d", *keys)
            assert f"Completed Suboperations       : {count}" in outcome.log, (model, keys)
        # Each was received at least once.
        received = {file.name.partition(".")[2] for file in third.received}
        assert received >= {i.instance_uid for i in made if i.patient_id == first.patient_id}


@pytest.mark.parametrize(
    ("name", "same_as"),
    [
        ("MR_small.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),  # one object in another byte order
        ("image_dfl.dcm", "image_dfl.dcm"),
    ],
)
def test_uncompressed_object_is_recoded_for_receiver_of_implicit_vr_only(
    tmp_path: Path, name: str, same_as: str
) -> None:
    samples, folder = Path(pydicom.data.__file__).parent / "test_files", tmp_path / "in"
    folder.mkdir()
    (folder / name).symlink_to(samples / name)
    with (
        peers.storescp(flags=["+xi", "+B"], tcp_nodelay=True) as third,
        Archive(folder, {"THIRD": third.address}) as archive,
    ):
        keys = keys_of("IMAGE", "SOPInstanceUID", archive.sop_instance_uids)
        move(archive, tmp_path, "-S", "-aem", "THIRD", *keys)
        [file] = third.received
        assert pydicom.dcmread(file).file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
        # Recoding drops trailing padding, as DCMTK does, and implicit VR does not tell OB from OW.
        assert corpus.dataset_equal(file, samples / same_as, by_dcmtk=True)


def test_object_that_receiver_does_not_accept_is_counted_and_named(tmp_path: Path) -> None:
    compressed = next(instance for instance in corpus.bundled() if instance.is_compressed)
    bundled = [compressed, *(instance for instance in corpus.bundled() if instance.path.name == "CT_small.dcm")]
    with (
        peers.storescp(flags=["+B"], tcp_nodelay=True) as third,
        Archive(folder_of(tmp_path / "in", bundled), {"THIRD": third.address}) as archive,
    ):
        keys = keys_of("IMAGE", "SOPInstanceUID", archive.sop_instance_uids)
        outcome = move(archive, tmp_path, "-d", "-S", "-aem", "THIRD", *keys, code=68)
        assert len(third.received) == 1
    assert "Completed Suboperations       : 1" in outcome.log
    assert "Failed Suboperations          : 1" in outcome.log
    assert "FailedSOPInstanceUIDList" in outcome.log
    assert compressed.instance_uid in outcome.log.partition("Response Identifiers")[2]


def test_destination_is_refused_until_it_is_known(tmp_path: Path) -> None:
    [instance] = corpus.make_study(tmp_path, size=2048)
    keys = keys_of("STUDY", "StudyInstanceUID", [instance.study_uid])
    with peers.storescp(tcp_nodelay=True) as third, Archive(tmp_path) as archive:
        outcome = move(archive, tmp_path, "-S", "-aem", "THIRD", *keys, code=69)
        assert "MoveDestinationUnknown" in outcome.log
        archive.destinations["THIRD"] = third.address
        move(archive, tmp_path, "-S", "-aem", "THIRD", *keys)
        assert len(third.received) == 1


def test_destination_that_does_not_answer_fails_every_object(tmp_path: Path) -> None:
    made = corpus.make_study(tmp_path, instances=3, size=2048)
    with Archive(tmp_path, {"NOBODY": (peers.HOST, peers.free_port())}) as archive:
        keys = keys_of("STUDY", "StudyInstanceUID", [made[0].study_uid])
        outcome = move(archive, tmp_path, "-S", "-d", "-aem", "NOBODY", *keys, code=69)
    assert "0xa702" in outcome.log
    assert "Failed Suboperations          : 3" in outcome.log


@pytest.mark.parametrize(
    ("keys", "element"),
    [
        (["-k", "QueryRetrieveLevel=PATIENT", "-k", "PatientID=X"], "(0008,0052)"),  # a level that study root lacks
        (["-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=X"], "(0020,000d)"),  # no unique key
    ],
)
def test_identifier_that_does_not_fit_the_model_is_refused(tmp_path: Path, keys: list[str], element: str) -> None:
    with Archive(destinations={"MOVESCU": (peers.HOST, peers.free_port())}) as archive:
        outcome = move(archive, tmp_path, "-S", "-d", *keys, code=69)
    assert "0xa900" in outcome.log
    assert element in outcome.log


def test_cancel_stops_sub_operations(tmp_path: Path) -> None:
    """DCMTK answers the next C-STORE only after it has sent C-CANCEL: so exactly two objects arrive."""
    made = corpus.make_study(tmp_path, instances=9, size=2048)
    port, out = peers.free_port(), tmp_path / "out"
    with Archive(tmp_path, {"DCMTK": (peers.HOST, port)}) as archive:
        keys = keys_of("STUDY", "StudyInstanceUID", [made[0].study_uid])
        outcome = move(archive, out, "-S", "--cancel", "1", *receive(out, port), *keys)
    assert "Received Final Move Response (Cancel" in outcome.log
    assert 1 <= len(list(out.iterdir())) <= 3


def test_objects_of_more_than_128_contexts_go_over_several_associations(tmp_path: Path) -> None:
    """Objects of seventy classes need 140 contexts."""
    classes = {str(context.abstract_syntax): "OT" for context in AllStoragePresentationContexts[:70]}
    made = corpus.make_objects(tmp_path, classes)
    contexts: list[int] = []
    with storage_scp(lambda: 0x0000, contexts) as address, Archive(tmp_path, {"THIRD": address}) as archive:
        keys = keys_of("STUDY", "StudyInstanceUID", [made[0].study_uid])
        outcome = move(archive, tmp_path, "-S", "-d", "-aem", "THIRD", *keys)
    assert "Completed Suboperations       : 70" in outcome.log
    assert contexts == [128, 12]


def test_move_uses_four_associations_at_once(tmp_path: Path) -> None:
    made = corpus.make_study(tmp_path, instances=8, size=2048)
    together = threading.Barrier(4)

    def store() -> int:
        together.wait(20)  # breaks, which fails the object, unless four wait here at once
        return 0x0000

    with storage_scp(store) as address, Archive(tmp_path, {"MEETING": address}, associations=4) as archive:
        keys = keys_of("STUDY", "StudyInstanceUID", [made[0].study_uid])
        outcome = move(archive, tmp_path, "-S", "-d", "-aem", "MEETING", *keys)
    assert "Completed Suboperations       : 8" in outcome.log


@pytest.mark.parametrize("in_folder", [True, False])
def test_objects_stored_in_archive_can_be_retrieved(tmp_path: Path, *, in_folder: bool) -> None:
    names = ("CT_small.dcm", "JPEG2000.dcm", "MR_small_bigendian.dcm", "rtplan.dcm")
    bundled = [i for i in corpus.bundled() if i.path.name in names]
    kept, out, port = tmp_path / "kept", tmp_path / "out", peers.free_port()
    kept.mkdir()
    received_folder = kept if in_folder else None
    with Archive(destinations={"DCMTK": (peers.HOST, port)}, received_folder=received_folder) as archive:
        loading = ["dcmsend", "-dn", "-nuc", "-aec", archive.ae_title, archive.host, str(archive.port)]
        files = [str(instance.path) for instance in bundled]
        assert subprocess.run([*loading, *files], check=False, timeout=30).returncode == 0
        assert set(archive.sop_instance_uids) == {instance.instance_uid for instance in bundled}
        keys = keys_of("IMAGE", "SOPInstanceUID", archive.sop_instance_uids)
        move(archive, out, "-S", *receive(out, port), *keys)
    assert len(list(kept.iterdir())) == (len(bundled) if in_folder else 0)
    received = {file.name.partition(".")[2]: file for file in out.iterdir()}
    for instance in bundled:
        assert corpus.dataset_equal(instance.path, received[instance.instance_uid], by_dcmtk=True)


# -- C-FIND ----------------------------------------------------------------------------------------------------------


def test_findscu_finds_patients_studies_series_and_images(tmp_path: Path) -> None:
    made = corpus.make_study(tmp_path, patients=2, studies=2, series=3, instances=4, size=2048)
    with Archive(tmp_path) as archive:
        patients = find(archive, tmp_path / "1", "-P", "QueryRetrieveLevel=PATIENT", "PatientID", "PatientName=test^*")
        study_keys = ["QueryRetrieveLevel=STUDY", f"PatientID={made[0].patient_id}", "StudyInstanceUID"]
        counts = ["ModalitiesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"]
        studies = find(archive, tmp_path / "2", "-P", *study_keys, *counts)
        series_keys = ["QueryRetrieveLevel=SERIES", f"StudyInstanceUID={made[0].study_uid}", "SeriesInstanceUID"]
        series = find(archive, tmp_path / "3", "-S", *series_keys, "NumberOfSeriesRelatedInstances")
        image_keys = ["QueryRetrieveLevel=IMAGE", f"SeriesInstanceUID={made[0].series_uid}", "SOPInstanceUID"]
        images = find(archive, tmp_path / "4", "-S", *image_keys)
    assert {patient.PatientID for patient in patients} == {instance.patient_id for instance in made}
    mine = [instance for instance in made if instance.patient_id == made[0].patient_id]
    assert {study.StudyInstanceUID for study in studies} == {instance.study_uid for instance in mine}
    assert {
        str(s.ModalitiesInStudy) + f"{s.NumberOfStudyRelatedSeries}/{s.NumberOfStudyRelatedInstances}" for s in studies
    } == {"CT3/12"}
    assert {s.SeriesInstanceUID for s in series} == {i.series_uid for i in made if i.study_uid == made[0].study_uid}
    assert {s.NumberOfSeriesRelatedInstances for s in series} == {4}
    assert {i.SOPInstanceUID for i in images} == {i.instance_uid for i in made if i.series_uid == made[0].series_uid}
    assert {image.RetrieveAETitle for image in images} == {"ARCHIVE"}


def test_findscu_gets_names_in_the_character_set_of_the_object(tmp_path: Path) -> None:
    folder = Path(pydicom.data.__file__).parent / "charset_files"
    with Archive(folder) as archive:
        keys = ["QueryRetrieveLevel=STUDY", "PatientName=Yamada*", "SpecificCharacterSet"]
        [match] = {
            str(m.PatientName) for m in find(archive, tmp_path / "out", "-S", *keys) if "^" in str(m.PatientName)
        }
    assert match.startswith("Yamada^Tarou=\u5c71\u7530^\u592a\u90ce")


def test_findscu_is_warned_of_unsupported_key(tmp_path: Path) -> None:
    corpus.make_study(tmp_path, size=2048)
    with Archive(tmp_path) as archive:
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID", "-k", "PixelSpacing=0.5"]
        command_line = ["findscu", "-v", "-S", *keys, archive.host, str(archive.port)]
        result = subprocess.run(command_line, check=False, capture_output=True, text=True, timeout=30)
    assert "WarningUnsupportedOptionalKeys" in result.stderr
    assert "PixelSpacing" in result.stderr


@pytest.mark.parametrize(
    ("key", "wanted", "value", "found"),
    [
        ("PatientID", "", "A", True),
        ("PatientID", "*", "", True),
        ("PatientID", "A", "A ", True),
        ("PatientID", "A", "a", False),
        ("PatientID", "A?C*", "ABCD", True),
        ("PatientID", "A.C", "ABC", False),
        ("PatientID", "[A]", "A", False),
        ("PatientName", "doe^*", "Doe^Peter", True),
        ("StudyDate", "20200101-20201231", "20200615", True),
        ("StudyDate", "20200101-20201231", "20210101", False),
        ("StudyDate", "20200101-", "20210101", True),
        ("StudyDate", "-20200101", "", False),
        ("StudyTime", "10-12", "120000", True),
        ("StudyInstanceUID", "1.2\\1.3", "1.3\0", True),
        ("StudyInstanceUID", "1.2\\1.3", "1.31", False),
        ("ModalitiesInStudy", "MR", "CT\\MR", True),
    ],
)
def test_key_matches_value(key: str, wanted: str, value: str, *, found: bool) -> None:
    tag = pydicom.datadict.tag_for_keyword(key)
    assert tag is not None
    assert matches(tag, wanted.encode(), value.encode()) is found
