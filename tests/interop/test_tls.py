"""TLS to archives that are not ours: Orthanc, pynetdicom, and scripts for what neither can be brought to do.

What a user would lose: images that are not fetched though all is well, and images that are, though something is not.
So each option has a case that works, and each thing that can be wrong has one that is refused, with words that help.
What comes to our own port over TLS is in ``test_tls_senders``.
"""

from __future__ import annotations

import signal
import socket
from concurrent.futures import Future
from typing import TYPE_CHECKING

import certificates
import corpus
import peers
import pytest
import scripted
import secure
from certificates import PASSWORD, Certificates, Pair
from command import Running, movescu, running

from movescu.dimse.status import CANCEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from command import Outcome

    Change = Callable[[Certificates], list[object]]

KEYS = ("-k", "QueryRetrieveLevel=PATIENT")

pytestmark = pytest.mark.xdist_group("tls")  # certificates are made once


@pytest.fixture(scope="module")
def pki() -> Certificates:
    return certificates.made()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[corpus.Instance]:
    return corpus.make_study(tmp_path_factory.mktemp("made"), instances=2, size=50_000)


def ours(pki: Certificates) -> list[object]:
    """The options of a program that trusts the good authority and is trusted by it."""
    return ["+tls", *pki.ours, "+cf", pki.authority]


def names(instances: list[corpus.Instance]) -> set[str]:
    return {f"CT.{instance.instance_uid}" for instance in instances}


# -- Orthanc -----------------------------------------------------------------------------------------------------------

Shelf = tuple[peers.Orthanc, int]


@pytest.fixture(scope="module")
def shelf(pki: Certificates, made: list[corpus.Instance]) -> Iterator[Shelf]:
    """Orthanc, which wants certificates, with the objects; and the port to which it sends them over TLS."""
    port = peers.free_port()
    with secure.orthanc(pki, {"MOVESCU": (peers.HOST, port)}) as archive:
        archive.load(corpus.paths(made))
        yield archive, port


def retrieve(shelf: Shelf, instance: corpus.Instance, *options: object, folder: Path, code: int = 0) -> Outcome:
    """Retrieve a patient from Orthanc."""
    archive, port = shelf
    keys = [*KEYS, "-k", f"PatientID={instance.patient_id}", "-aec", archive.aet, "-v"]
    return movescu(*keys, "+P", port, *options, *archive.address, folder=folder, code=code)


def test_objects_come_from_orthanc_over_tls_as_they_are(
    shelf: Shelf, pki: Certificates, made: list[corpus.Instance], tmp_path: Path
) -> None:
    outcome = retrieve(shelf, made[0], *ours(pki), folder=tmp_path)
    assert set(outcome.files) == names(made)
    for instance in made:
        assert corpus.dataset_equal(outcome.files[f"CT.{instance.instance_uid}"], instance.path, by_dcmtk=True)


WORKS: dict[str, Change] = {
    "+pw": lambda pki: ["+tls", *pki.encrypted, "+cf", pki.authority, "+pw", PASSWORD],
    "-pw": lambda pki: ["+tls", *pki.ours, "+cf", pki.authority, "-pw"],
    "+cd": lambda pki: ["+tls", *pki.ours, "+cd", pki.directory],
    "+cf twice": lambda pki: ["+tls", *pki.ours, "+cf", pki.other_authority, "+cf", pki.authority],
    "+crl": lambda pki: [*ours(pki), "+crl", pki.crl],
    "-vc": lambda pki: [*ours(pki), "-vc"],
    "-ic": lambda pki: ["+tls", *pki.ours, "-ic"],
    "+px": lambda pki: [*ours(pki), "+px"],
    "+py": lambda pki: [*ours(pki), "+py"],
    "+cs": lambda pki: [*ours(pki), "+py", "+cs", "TLS_RSA_WITH_AES_128_CBC_SHA", "+cs", "AES256-SHA"],
    "--no-sni": lambda pki: [*ours(pki), "--no-sni", "--no-host-check"],
    "--request-sni": lambda pki: [*ours(pki), "--request-sni", "localhost"],
}


@pytest.mark.parametrize("options", WORKS)
def test_objects_come_with_every_option(
    shelf: Shelf, pki: Certificates, made: list[corpus.Instance], options: str, tmp_path: Path
) -> None:
    assert set(retrieve(shelf, made[0], *WORKS[options](pki), folder=tmp_path).files) == names(made)


def test_object_of_30_mb_arrives_whole(shelf: Shelf, pki: Certificates, tmp_path: Path) -> None:
    (tmp_path / "received").mkdir()
    [big] = corpus.make_study(tmp_path, size=30 << 20, seed=7)
    shelf[0].load([big.path])
    outcome = retrieve(shelf, big, *ours(pki), folder=tmp_path / "received")
    [file] = outcome.files.values()
    assert corpus.dataset_equal(file, big.path, by_dcmtk=True)


UNTRUSTED: dict[str, Change] = {
    "of another authority": lambda pki: ["+tls", *pki.stranger, "+cf", pki.authority],
    "expired": lambda pki: ["+tls", *pki.expired, "+cf", pki.authority],
}


@pytest.mark.parametrize("certificate", UNTRUSTED)
def test_who_is_refused_by_orthanc_learns_that_it_is_the_certificate(
    shelf: Shelf, pki: Certificates, made: list[corpus.Instance], certificate: str, tmp_path: Path
) -> None:
    outcome = retrieve(shelf, made[0], *UNTRUSTED[certificate](pki), folder=tmp_path, code=61)
    assert "the peer" in outcome.log
    assert "this program's certificate" in outcome.log
    assert "has to trust the authority of this program's certificate" in outcome.log


def test_who_has_no_certificate_where_orthanc_wants_one_learns_that(
    shelf: Shelf, pki: Certificates, tmp_path: Path
) -> None:
    archive, _ = shelf
    arguments = [*KEYS, "-aec", archive.aet, "-aem", "OTHER", "+tla", "+cf", pki.authority]
    outcome = movescu(*arguments, *archive.address, folder=tmp_path, code=61)
    assert "requires a certificate of this program" in outcome.log
    assert "--enable-tls" in outcome.log


def test_third_party_needs_no_certificate_of_ours(
    pki: Certificates, made: list[corpus.Instance], tmp_path: Path
) -> None:
    with (
        peers.storescp() as third,
        secure.orthanc(pki, {third.aet: third.address}, secure=False, wants_certificate=False) as archive,
    ):
        archive.load(corpus.paths(made))
        keys = [*KEYS, "-k", f"PatientID={made[0].patient_id}", "-aec", archive.aet, "-aem", third.aet]
        movescu(*keys, "+tla", "+cf", pki.authority, *archive.address, folder=tmp_path)
        assert len(third.received) == len(made)


def test_who_speaks_no_tls_to_orthanc_that_does_is_not_kept_waiting(shelf: Shelf, tmp_path: Path) -> None:
    movescu(*KEYS, "-ta", 5, *shelf[0].address, folder=tmp_path, code=61)


# -- what we refuse of an archive --------------------------------------------------------------------------------------


def ask(
    pki: Certificates,
    theirs: Pair,
    *options: object,
    folder: Path,
    code: int = 0,
    ciphers: str = "",
) -> Outcome:
    """Ask a scripted archive with this certificate for nothing; where there is a code, TLS comes to nothing before."""

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        session.respond(completed=0)
        session.expect_release()

    archive = secure.Archive(script, secure.server_context(pki, theirs, ciphers=ciphers))
    archive.start()
    outcome = movescu(*KEYS, *options, *archive.address, folder=folder, code=code)
    if code:
        with pytest.raises(secure.HANDSHAKE_FAILED):
            archive.finish()
    else:
        archive.finish()
    return outcome


REFUSED: dict[str, tuple[Callable[[Certificates], Pair], Change, str, str]] = {
    "another authority": (lambda pki: pki.stranger, lambda _: [], "certificate refused", "--add-cert-file"),
    "expired": (lambda pki: pki.expired, lambda _: [], "certificate has expired", "renewed"),
    "another host": (lambda pki: pki.elsewhere, lambda _: [], "mismatch", "--no-host-check"),
    "another host, -vc": (lambda pki: pki.elsewhere, lambda _: ["-vc"], "mismatch", "--request-sni"),
    "another name": (lambda pki: pki.theirs, lambda _: ["--request-sni", "b.example"], "mismatch", "--request-sni"),
    "revoked": (lambda pki: pki.revoked, lambda pki: ["+crl", pki.crl], "certificate revoked", "do not trust"),
    "no list of its authority": (
        lambda pki: pki.stranger,
        lambda pki: ["+cf", pki.other_authority, "+crl", pki.crl],
        "unable to get certificate CRL",
        "--add-crl-file",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_archive_that_cannot_be_trusted_is_refused_with_advice(pki: Certificates, case: str, tmp_path: Path) -> None:
    theirs, options, reason, advice = REFUSED[case]
    outcome = ask(pki, theirs(pki), *ours(pki), *options(pki), folder=tmp_path, code=61)
    assert reason in outcome.log
    assert advice in outcome.log


BORNE: dict[str, tuple[Callable[[Certificates], Pair], Change]] = {
    "another authority, -ic": (lambda pki: pki.stranger, lambda _: ["-ic"]),
    "expired, -ic": (lambda pki: pki.expired, lambda _: ["-ic"]),
    "another authority, trusted": (lambda pki: pki.stranger, lambda pki: ["+cf", pki.other_authority]),
    "another host, unchecked": (lambda pki: pki.elsewhere, lambda _: ["--no-host-check"]),
    "another host, by its name": (lambda pki: pki.elsewhere, lambda _: ["--request-sni", "archive.example"]),
    "revoked, without the list": (lambda pki: pki.revoked, lambda _: []),
}


@pytest.mark.parametrize("case", BORNE)
def test_archive_is_trusted_where_the_user_says_so(pki: Certificates, case: str, tmp_path: Path) -> None:
    theirs, options = BORNE[case]
    ask(pki, theirs(pki), *ours(pki), *options(pki), folder=tmp_path)


def test_archive_of_an_authority_that_the_system_trusts_needs_no_option(
    pki: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(pki.authority))
    ask(pki, pki.theirs, "+tls", *pki.ours, folder=tmp_path)


def test_objects_of_get_arrive_over_the_secured_association(
    pki: Certificates, made: list[corpus.Instance], tmp_path: Path
) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_get()
        sender = session.sender
        assert [sender.store(one) for one in made] == [0] * len(made)
        session.respond(completed=len(made))
        session.expect_release()

    with secure.archive(script, secure.server_context(pki, pki.theirs)) as archive:
        outcome = movescu(*KEYS, *ours(pki), "--retrieve", "get", "localhost", archive.port, folder=tmp_path)
    assert set(outcome.files) == names(made)


# The name that the archive is asked for (SNI) by these options; addresses are none (RFC 6066 3).
ASKED: dict[tuple[str, ...], str | None] = {
    ("localhost",): "localhost",
    (peers.HOST,): None,
    (peers.HOST, "--request-sni", "localhost"): "localhost",
    ("localhost", "--no-sni", "--no-host-check"): None,
}


@pytest.mark.parametrize("words", ASKED)
def test_archive_is_asked_for_a_name(pki: Certificates, words: tuple[str, ...], tmp_path: Path) -> None:
    def script(session: scripted.Session) -> None:
        session.reject(1, 1, 1)

    host, *options = words
    with secure.archive(script, secure.server_context(pki, pki.theirs)) as archive:
        movescu(*KEYS, *ours(pki), *options, host, archive.port, folder=tmp_path, code=61)
    assert archive.asked_for == [ASKED[words]]


SUITES: dict[str, tuple[str, list[object], int]] = {
    "forward secret": ("ECDHE+AESGCM", ["+py"], 0),
    "Diffie-Hellman": ("DHE+AESGCM", ["+py"], 0),
    "of the AES profile, not with +py": ("AES128-SHA", ["+py"], 61),
    "of the AES profile, with +px": ("AES128-SHA", ["+px"], 0),
    "of none, not by itself": ("AES256-SHA", ["+px"], 61),
    "of none, with +cs": ("AES256-SHA", ["+py", "+cs", "TLS_RSA_WITH_AES_256_CBC_SHA"], 0),
}


@pytest.mark.parametrize("case", SUITES)
def test_old_archives_are_spoken_to_as_the_profile_and_the_user_allow(
    pki: Certificates, case: str, tmp_path: Path
) -> None:
    ciphers, options, code = SUITES[case]
    ask(pki, pki.theirs, *ours(pki), *options, folder=tmp_path, code=code, ciphers=ciphers)


# -- what is no TLS ----------------------------------------------------------------------------------------------------


def test_archive_that_speaks_no_tls_is_named_as_that(pki: Certificates, tmp_path: Path) -> None:
    with peers.dcmqrscp() as archive:
        outcome = movescu(*KEYS, *ours(pki), *archive.address, folder=tmp_path, code=61)
    assert "cannot secure the connection to 127.0.0.1" in outcome.log
    assert "speaks TLS" in outcome.log


def test_archive_that_says_nothing_is_given_up(pki: Certificates, tmp_path: Path) -> None:
    with socket.create_server((peers.HOST, 0)) as silent:
        arguments = [*KEYS, *ours(pki), "-ta", 1, *silent.getsockname()]
        outcome = movescu(*arguments, folder=tmp_path, code=61)
    assert "timed out: securing the connection" in outcome.log
    assert "check that the archive speaks TLS" in outcome.log


# -- pynetdicom --------------------------------------------------------------------------------------------------------


@pytest.mark.pynetdicom_sender
def test_objects_come_from_pynetdicom(pki: Certificates, made: list[corpus.Instance], tmp_path: Path) -> None:
    port = peers.free_port()
    contexts = secure.server_context(pki, pki.theirs), secure.client_context(pki, pki.theirs)
    with secure.pynetdicom_archive(*contexts, (peers.HOST, port), made) as address:
        outcome = movescu(*KEYS, *ours(pki), "+P", port, *address, folder=tmp_path)
    assert set(outcome.files) == names(made)


# -- an association over TLS is one like any other ---------------------------------------------------------------------


def test_cancel_goes_out_between_two_responses(pki: Certificates, tmp_path: Path) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        session.pending()
        session.expect_cancel()
        session.respond(CANCEL, completed=0)
        session.expect_release()

    with secure.archive(script, secure.server_context(pki, pki.theirs)) as archive:
        movescu(*KEYS, *ours(pki), "--cancel", 1, *archive.address, folder=tmp_path)


def test_who_interrupts_cancels_while_the_archive_says_nothing(pki: Certificates, tmp_path: Path) -> None:
    started = Future[Running]()

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        started.result(scripted.PATIENCE).signal(signal.SIGINT)
        session.expect_cancel()
        session.respond(CANCEL, completed=0)
        session.expect_release()

    with secure.archive(script, secure.server_context(pki, pki.theirs)) as archive:
        with running(*KEYS, *ours(pki), *archive.address, folder=tmp_path) as command:
            started.set_result(command)
            outcome = command.end()
        outcome.hold_to(130)


def test_archive_that_is_cut_off_is_no_success(pki: Certificates, tmp_path: Path) -> None:
    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        session.pending()
        session.reset()

    with secure.archive(script, secure.server_context(pki, pki.theirs)) as archive:
        movescu(*KEYS, *ours(pki), *archive.address, folder=tmp_path, code=62)
