"""Retrieves that cannot begin: each ends with its exit code, and says what is wrong and what can be done.

The archives that refuse here are real ones; the scripted archive gives the answers that no real one can be brought to.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import corpus
import peers
import pytest
import scripted
from command import movescu, without_privileges

from movescu.dictionary.uids import PATIENT_ROOT_FIND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    Launcher = Callable[[dict[str, peers.Address]], AbstractContextManager[peers.Peer]]

STUDY = "1.2.826.0.1.3680043.8.498.100000.100000.100000"  # what corpus.make_study makes first
KEYS = ("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> corpus.Instance:
    """The object of that study."""
    [instance] = corpus.make_study(tmp_path_factory.mktemp("made"), size=2048)
    assert instance.study_uid == STUDY
    return instance


@pytest.fixture(scope="module")
def dcmqrscp(made: corpus.Instance) -> Iterator[peers.DcmQrScp]:
    """An archive with the study of ``KEYS``, that knows nobody."""
    with peers.dcmqrscp() as archive:
        archive.load([made.path])
        yield archive


@pytest.fixture(scope="module")
def orthanc(made: corpus.Instance) -> Iterator[peers.Orthanc]:
    """The same; it wants to be called by its name."""
    with peers.orthanc(overrides={"DicomCheckCalledAet": True}) as archive:
        archive.load([made.path])
        yield archive


def unreachable() -> tuple[str, int]:
    """An address where nobody listens. A run that fails before it connects cannot tell; others end with 61."""
    return peers.HOST, peers.free_port()


# -- before anything is sent ---------------------------------------------------------------------------------------


@pytest.mark.row("48")
def test_missing_output_directory_is_reported_before_the_archive_is_asked(tmp_path: Path) -> None:
    arguments = ["+P", peers.free_port(), "-od", tmp_path / "none"]
    outcome = movescu(*KEYS, *arguments, *unreachable(), folder=tmp_path, code=45)
    assert f"{tmp_path / 'none'}" in outcome.log
    assert "create the directory, or name another with --output-directory" in outcome.log


def test_file_in_place_of_the_output_directory_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    arguments = ["+P", peers.free_port(), "-od", tmp_path / "file"]
    movescu(*KEYS, *arguments, *unreachable(), folder=tmp_path, code=45)


def test_output_directory_that_cannot_be_written_to_is_reported_before_the_archive_is_asked(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    arguments = ["+P", peers.free_port(), "-od", closed]
    outcome = movescu(*KEYS, *arguments, *unreachable(), folder=tmp_path, code=40, prefix=without_privileges())
    assert f"{closed}" in outcome.log
    assert "name another with --output-directory" in outcome.log


@pytest.mark.row("48")
def test_port_in_use_is_reported_before_the_archive_is_asked(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = movescu(*KEYS, "+P", port, *unreachable(), folder=tmp_path, code=60)
    assert f"cannot listen on port {port}" in outcome.log
    assert "choose another with --port" in outcome.log


def test_privileged_port_needs_privileges(tmp_path: Path) -> None:
    outcome = movescu(
        *KEYS, "+P", 104, *unreachable(), folder=tmp_path, code=2, prefix=without_privileges()
    )  # fmt: skip
    assert "ports below 1024 need root privileges: choose another with --port" in outcome.log


# -- no association ------------------------------------------------------------------------------------------------


@pytest.mark.row("48")
def test_refused_connection_names_host_and_port(tmp_path: Path) -> None:
    host, port = unreachable()
    outcome = movescu(*KEYS, host, port, folder=tmp_path, code=61)
    assert f"cannot connect to {host} port {port}: Connection refused" in outcome.log
    assert "check host and port" in outcome.log


@pytest.mark.row("48")
def test_unknown_host_is_named(tmp_path: Path) -> None:
    outcome = movescu(*KEYS, "archive.invalid", 104, folder=tmp_path, code=61)  # RFC 2606: never a host
    assert "host name archive.invalid cannot be resolved" in outcome.log
    assert "check the spelling" in outcome.log


def test_dcmqrscp_called_by_a_wrong_name_is_reported_with_its_reason(dcmqrscp: peers.DcmQrScp, tmp_path: Path) -> None:
    outcome = movescu(*KEYS, "-aec", "WRONG", *dcmqrscp.address, folder=tmp_path, code=61)
    assert "rejected permanently by the service user: called AE title not recognized" in outcome.log
    assert "set it with --call" in outcome.log


def test_orthanc_called_by_a_wrong_name_is_reported_with_its_reason(orthanc: peers.Orthanc, tmp_path: Path) -> None:
    outcome = movescu(*KEYS, "-aec", "WRONG", *orthanc.address, folder=tmp_path, code=61)
    assert "called AE title not recognized" in outcome.log
    assert "set it with --call" in outcome.log


REJECTIONS = {
    (1, 1, 3): ("calling AE title not recognized", "--aetitle"),
    (1, 1, 7): ("called AE title not recognized", "--call"),
    (2, 3, 1): ("temporary congestion", "try again later"),
    (2, 3, 2): ("local limit exceeded", "try again later"),
    (1, 1, 1): ("no reason given", ""),
}


@pytest.mark.parametrize("rejection", REJECTIONS)
def test_rejected_association_tells_why_and_what_to_do(rejection: tuple[int, int, int], tmp_path: Path) -> None:
    reason, advice = REJECTIONS[rejection]
    with scripted.archive(lambda session: session.reject(*rejection)) as archive:
        outcome = movescu(*KEYS, *archive.address, folder=tmp_path, code=61)
    assert reason in outcome.log
    assert advice in outcome.log


def silent(session: scripted.Session) -> None:
    """Read the request, answer nothing, and wait for the program to give up."""
    session.read_request()
    session.expect_abort()


def closes(session: scripted.Session) -> None:
    session.read_request()
    session.close()


def aborts(session: scripted.Session) -> None:
    session.read_request()
    session.abort()


@pytest.mark.parametrize("script", [silent, closes, aborts])
def test_archive_that_does_not_answer_the_association_request_is_no_success(
    script: scripted.Script, tmp_path: Path
) -> None:
    with scripted.archive(script) as archive:
        outcome = movescu(*KEYS, "-ta", 1, *archive.address, folder=tmp_path, code=61)
    assert "association request failed" in outcome.log


# -- no context ----------------------------------------------------------------------------------------------------


def test_model_that_orthanc_does_not_serve_is_reported(orthanc: peers.Orthanc, tmp_path: Path) -> None:
    keys = ["-O", "-k", "QueryRetrieveLevel=STUDY"]
    outcome = movescu(*keys, "-aec", orthanc.aet, *orthanc.address, folder=tmp_path, code=66)
    assert "the archive does not offer C-MOVE" in outcome.log
    assert "try another model (-P, -S, -O)" in outcome.log


@pytest.mark.parametrize("accepted", [(), (PATIENT_ROOT_FIND,)])
def test_archive_that_finds_but_does_not_move_is_reported(accepted: tuple[str, ...], tmp_path: Path) -> None:
    def script(session: scripted.Session) -> None:
        session.accept(lambda uid: uid in accepted)
        session.expect_abort()

    with scripted.archive(script) as archive:
        movescu("-k", "QueryRetrieveLevel=STUDY", *archive.address, folder=tmp_path, code=66)


# -- an unknown destination ----------------------------------------------------------------------------------------


def test_dcmqrscp_that_does_not_know_us_gets_an_explanation_for_its_administrator(
    dcmqrscp: peers.DcmQrScp, tmp_path: Path
) -> None:
    port = peers.free_port()
    arguments = ["-aet", "STRANGER", "+P", port, "-aec", dcmqrscp.aet]
    outcome = movescu(*KEYS, *arguments, *dcmqrscp.address, folder=tmp_path, code=69)
    assert "Refused: Move Destination unknown" in outcome.log
    assert f"AE title STRANGER, address 127.0.0.1 (as seen from here), port {port}" in outcome.log


def test_unknown_third_party_is_named(dcmqrscp: peers.DcmQrScp, tmp_path: Path) -> None:
    arguments = ["-aem", "NOWHERE", "-aec", dcmqrscp.aet]
    outcome = movescu(*KEYS, *arguments, *dcmqrscp.address, folder=tmp_path, code=69)
    assert "AE title NOWHERE" in outcome.log


def test_orthanc_that_does_not_know_us_gets_the_same_though_its_status_says_less(
    orthanc: peers.Orthanc, tmp_path: Path
) -> None:
    port = peers.free_port()
    arguments = ["-aet", "STRANGER", "+P", port, "-aec", orthanc.aet]
    outcome = movescu(*KEYS, *arguments, *orthanc.address, folder=tmp_path, code=69)
    assert "may not know, or not reach, the move destination 'STRANGER'" in outcome.log
    assert f"AE title STRANGER, address 127.0.0.1 (as seen from here), port {port}" in outcome.log


def test_qrscp_that_does_not_know_us_gets_an_explanation_for_its_administrator(tmp_path: Path) -> None:
    port = peers.free_port()
    with peers.qrscp() as archive:
        arguments = ["-aet", "STRANGER", "+P", port, "-aec", archive.aet]
        outcome = movescu(*KEYS, *arguments, *archive.address, folder=tmp_path, code=69)
    assert f"AE title STRANGER, address 127.0.0.1 (as seen from here), port {port}" in outcome.log


@pytest.mark.parametrize("launch", [peers.dcmqrscp, peers.orthanc])
def test_archive_that_knows_us_at_a_wrong_port_is_told_the_right_one(
    launch: Launcher, made: corpus.Instance, tmp_path: Path
) -> None:
    port, wrong = peers.free_port(), peers.free_port()
    with launch({"MOVESCU": (peers.HOST, wrong)}) as archive:
        archive.load([made.path])
        outcome = movescu(*KEYS, "+P", port, "-aec", archive.aet, *archive.address, folder=tmp_path, code=69)
    assert "may not know, or not reach, the move destination 'MOVESCU'" in outcome.log
    assert f"port {port}" in outcome.log


# -- what a new user gets wrong, and no error tells ----------------------------------------------------------------


def test_who_asks_for_what_is_not_there_is_told_so(dcmqrscp: peers.DcmQrScp, tmp_path: Path) -> None:
    keys = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3"]
    outcome = movescu(*keys, "+P", peers.free_port(), "-aec", dcmqrscp.aet, *dcmqrscp.address, folder=tmp_path)
    assert outcome.log == (f"W: {dcmqrscp.aet} has no study 1.2.3, or does not show it to this AE title\n")


def test_archive_that_fails_for_want_of_a_match_is_not_taken_at_its_word(
    orthanc: peers.Orthanc, tmp_path: Path
) -> None:
    keys = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3"]
    outcome = movescu(*keys, "-aec", orthanc.aet, *orthanc.address, folder=tmp_path, code=69)
    assert "may have nothing for these keys, or may not know, or not reach, the move destination" in outcome.log


def test_keys_that_the_archive_does_not_take_are_named_as_the_fault(dcmqrscp: peers.DcmQrScp, tmp_path: Path) -> None:
    keys = ["-S", "-k", f"StudyInstanceUID={STUDY}"]
    outcome = movescu(*keys, "-aec", dcmqrscp.aet, *dcmqrscp.address, folder=tmp_path, code=69)
    assert "the archive does not accept these keys: check QueryRetrieveLevel" in outcome.log


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ("-k StudyInstanceUIDs=1 host 104", "(did you mean StudyInstanceUID?)"),
        ("-k patientid=1 host 104", "(did you mean PatientID?)"),
        ("-k Acession=1 host 104", "(did you mean AccessionNumber?)"),
        (
            "-k PatientID=1 host",
            "(The command needs the archive's address, as host and port or TITLE@host:port, or ",
        ),
    ],
)
def test_slip_of_the_hand_is_answered_with_what_was_meant(arguments: str, hint: str, tmp_path: Path) -> None:
    assert hint in movescu(*arguments.split(), folder=tmp_path, code=1).log
