"""What is asked of the archive: query files of every kind, keys over them, several requests in one run.

The scripted archive shows the requests themselves; Orthanc and dcmqrscp show that they are understood.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import corpus
import peers
import pydicom
import pytest
import scripted
from command import movescu
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from movescu.dictionary.uids import (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    PATIENT_ROOT_FIND,
    PATIENT_ROOT_MOVE,
    PATIENT_STUDY_ONLY_FIND,
    PATIENT_STUDY_ONLY_MOVE,
    STUDY_ROOT_FIND,
    STUDY_ROOT_MOVE,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from movescu.ul.pdu import AssociateRQ

    Maker = Callable[[Path, str], Path]

STUDY_KEYS = ("-S", "-k", "QueryRetrieveLevel=STUDY")


def by_pydicom(path: Path, study_uid: str, syntax: UID, *, bare: bool) -> Path:
    """A query file for a study, made by pydicom."""
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", study_uid
    if bare:
        query.save_as(path, implicit_vr=syntax.is_implicit_VR, little_endian=True)
    else:
        query.file_meta = FileMetaDataset()
        query.file_meta.TransferSyntaxUID = syntax
        query.file_meta.MediaStorageSOPClassUID = query.file_meta.MediaStorageSOPInstanceUID = "1.2"
        query.save_as(path, enforce_file_format=True)
    return path


def by_dump2dcm(path: Path, study_uid: str, *options: str) -> Path:
    """A query file for a study, made as DCMTK's manual has it."""
    dump = path.with_suffix(".dump")
    dump.write_text(f"(0008,0052) CS [STUDY]\n(0020,000d) UI [{study_uid}]\n")
    subprocess.run(["dump2dcm", *options, dump, path], check=True)
    return path


MAKERS: dict[str, Maker] = {
    "dump2dcm": by_dump2dcm,
    "dump2dcm, implicit": lambda path, uid: by_dump2dcm(path, uid, "+ti"),
    "dump2dcm, bare": lambda path, uid: by_dump2dcm(path, uid, "-F"),
    "dump2dcm, bare, implicit": lambda path, uid: by_dump2dcm(path, uid, "-F", "+ti"),
    "pydicom": lambda path, uid: by_pydicom(path, uid, ExplicitVRLittleEndian, bare=False),
    "pydicom, implicit": lambda path, uid: by_pydicom(path, uid, ImplicitVRLittleEndian, bare=False),
    "pydicom, bare": lambda path, uid: by_pydicom(path, uid, ExplicitVRLittleEndian, bare=True),
    "pydicom, bare, implicit": lambda path, uid: by_pydicom(path, uid, ImplicitVRLittleEndian, bare=True),
}

Shelf = tuple[peers.Peer, list[corpus.Instance], int]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """An archive with as many studies as there are kinds of query files, of two series."""
    made = corpus.make_study(tmp_path_factory.mktemp("made"), studies=len(MAKERS), series=2, size=2048)
    port = peers.free_port()
    with peers.dcmqrscp({"MOVESCU": (peers.HOST, port)}) as archive:
        archive.load(corpus.paths(made))
        yield archive, made, port


def retrieved(shelf: Shelf, folder: Path, *arguments: object) -> set[str]:
    """The UIDs of the objects that come by these arguments."""
    archive, _, port = shelf
    outcome = movescu("+P", port, "-aec", archive.aet, *archive.address, *arguments, folder=folder)
    return {name.removeprefix("CT.") for name in outcome.files}


@pytest.mark.xdist_group("requests")
def test_query_files_of_every_kind_are_asked_for_in_one_run(shelf: Shelf, tmp_path: Path) -> None:
    _, made, _ = shelf
    queries, received = tmp_path / "queries", tmp_path / "received"
    queries.mkdir()
    received.mkdir()
    studies = list(dict.fromkeys(instance.study_uid for instance in made))
    makers = zip(MAKERS.values(), studies, strict=True)
    files = [maker(queries / f"{number}.dcm", uid) for number, (maker, uid) in enumerate(makers)]
    assert retrieved(shelf, received, "-S", *files) == {instance.instance_uid for instance in made}


@pytest.mark.xdist_group("requests")
@pytest.mark.parametrize("kind", MAKERS)
def test_keys_replace_and_add_to_what_a_query_file_says(shelf: Shelf, kind: str, tmp_path: Path) -> None:
    _, made, _ = shelf
    wanted, other = made[0], made[2]
    assert wanted.study_uid != other.study_uid
    query = MAKERS[kind](tmp_path / "query.dcm", other.study_uid)
    received = tmp_path / "received"
    received.mkdir()
    keys = ["-k", "0008,0052=SERIES", "-k", f"0020,000d={wanted.study_uid}", "-k", f"0020,000E={wanted.series_uid}"]
    assert retrieved(shelf, received, "-S", *keys, query) == {wanted.instance_uid}


@pytest.mark.xdist_group("requests")
@pytest.mark.parametrize("proposed", ["-x=", "-xe", "-xb", "-xi"])
def test_request_is_understood_in_every_transfer_syntax_that_can_be_proposed(
    shelf: Shelf, proposed: str, tmp_path: Path
) -> None:
    _, made, _ = shelf
    found = retrieved(shelf, tmp_path, *STUDY_KEYS, proposed, "-k", f"StudyInstanceUID={made[0].study_uid}")
    assert found == {instance.instance_uid for instance in made[:2]}


def test_requests_are_numbered_over_files_and_repeats_in_their_order(tmp_path: Path) -> None:
    seen: list[tuple[int, str]] = []

    def script(session: scripted.Session) -> None:
        session.accept()
        for _ in range(6):
            request = session.expect_move()
            query = read_identifier(session.identifier)
            seen.append((request.message_id, query.StudyInstanceUID))
            session.respond(completed=0)
        session.expect_release()

    files = [by_dump2dcm(tmp_path / f"{study}.dcm", study) for study in ("1.1", "1.2", "1.3")]
    with scripted.archive(script) as archive:
        movescu("-S", "--repeat", 2, *archive.address, *files, folder=tmp_path)
    assert seen == [(1, "1.1"), (2, "1.1"), (3, "1.2"), (4, "1.2"), (5, "1.3"), (6, "1.3")]


def read_identifier(data: bytes) -> Dataset:
    """The data set of a request, read by pydicom, explicit VR little endian."""
    return pydicom.dcmread(pydicom.filebase.DicomBytesIO(data), force=True)


MODELS = {
    "-P": (PATIENT_ROOT_FIND, PATIENT_ROOT_MOVE),
    "-S": (STUDY_ROOT_FIND, STUDY_ROOT_MOVE),
    "-O": (PATIENT_STUDY_ONLY_FIND, PATIENT_STUDY_ONLY_MOVE),
}


@pytest.mark.parametrize("model", MODELS)
def test_archive_that_keeps_a_list_of_titles_sees_those_of_the_command_line(model: str, tmp_path: Path) -> None:
    requests: list[AssociateRQ] = []

    def script(session: scripted.Session) -> None:
        requests.append(session.accept())
        move = session.expect_move()
        assert (move.affected_sop_class_uid, move.move_destination, move.priority) == (MODELS[model][1], "DEST", 0)
        session.respond(completed=0)
        session.expect_release()

    titles = ["-aet", "ME", "-aec", "ARCHIVE", "-aem", "DEST"]
    with scripted.archive(script) as archive:
        movescu(model, "-k", "QueryRetrieveLevel=STUDY", *titles, *archive.address, folder=tmp_path)
    [request] = requests
    assert (request.calling_ae_title, request.called_ae_title) == ("ME", "ARCHIVE")
    assert [(c.context_id, c.abstract_syntax) for c in request.contexts] == list(
        zip((1, 3), MODELS[model], strict=True)
    )
    assert request.contexts[0].transfer_syntaxes[::2] == (EXPLICIT_LITTLE.uid, IMPLICIT_LITTLE.uid)


def test_without_a_destination_the_archive_is_told_our_own_title(tmp_path: Path) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        assert session.expect_move().move_destination == "ME"
        session.respond(completed=0)
        session.expect_release()

    with scripted.archive(script) as archive:
        movescu("-aet", "ME", "-k", "QueryRetrieveLevel=STUDY", *archive.address, folder=tmp_path)


def test_key_longer_than_the_archives_pdu_arrives_whole(tmp_path: Path) -> None:
    uids = "\\".join(f"1.2.826.0.1.3680043.8.498.{number}" for number in range(1000, 2000))

    def script(session: scripted.Session) -> None:
        session.accept(maximum_length=4096)
        session.expect_move()
        assert "\\".join(read_identifier(session.identifier).SOPInstanceUID) == uids
        session.respond(completed=0)
        session.expect_release()

    keys = ["-k", "QueryRetrieveLevel=IMAGE", "-k", f"SOPInstanceUID={uids}"]
    with scripted.archive(script) as archive:
        movescu("-S", *keys, *archive.address, folder=tmp_path)


@pytest.mark.parametrize("option", ["-pi", "-pr"])
def test_data_set_that_a_pending_response_brings_against_the_standard_is_dropped(option: str, tmp_path: Path) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        session.respond(0xFF00, completed=0, remaining=1, failed_uids=["1.2.3"])
        session.respond(completed=0)
        session.expect_release()

    with scripted.archive(script) as archive:
        movescu(option, "-k", "QueryRetrieveLevel=STUDY", *archive.address, folder=tmp_path)


def test_data_set_that_a_pending_response_announces_and_that_never_comes_is_not_waited_for(tmp_path: Path) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        session.respond(0xFF00, completed=0, remaining=1, announce_data_set=True)
        session.respond(completed=0)
        session.expect_release()

    with scripted.archive(script) as archive:
        movescu("-k", "QueryRetrieveLevel=STUDY", *archive.address, folder=tmp_path)


def test_cancel_names_the_request_and_a_cancelled_retrieve_is_no_failure(tmp_path: Path) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        session.respond(completed=0)
        message_id = session.expect_move().message_id
        session.pending()
        context_id, cancel = session.expect_cancel()
        assert (context_id, cancel.message_id_being_responded_to, message_id) == (3, 2, 2)
        session.pending()  # was under way already
        session.respond(0xFE00, completed=0, remaining=7)
        session.expect_release()

    keys = ["-k", "QueryRetrieveLevel=STUDY", "--repeat", "2", "--cancel", "1"]
    with scripted.archive(script) as archive:
        movescu(*keys, *archive.address, folder=tmp_path)


def test_abort_ends_the_association_by_an_abort(tmp_path: Path) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        session.respond(completed=0)
        session.expect_abort()

    with scripted.archive(script) as archive:
        movescu("-k", "QueryRetrieveLevel=STUDY", "--abort", *archive.address, folder=tmp_path)


UNUSABLE: dict[str, Callable[[Path], object]] = {
    "no DICOM": lambda path: path.write_text("PatientID,StudyInstanceUID\n12345,1.2.3\n"),
    "empty": lambda path: path.touch(),
    "a directory": lambda path: path.mkdir(),
    "missing": lambda _: None,
    "cut short": lambda path: os.truncate(by_dump2dcm(path, "1.2.3.4.5.6"), 300),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_query_file_that_cannot_be_used_ends_the_run_before_anything_is_sent(kind: str, tmp_path: Path) -> None:
    good, bad = by_dump2dcm(tmp_path / "good.dcm", "1.2.3"), tmp_path / "bad.dcm"
    UNUSABLE[kind](bad)
    refused = peers.free_port()  # a connection would end with 61
    outcome = movescu("-S", peers.HOST, refused, good, bad, folder=tmp_path, code=1)
    assert str(bad) in outcome.log
