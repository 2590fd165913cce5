"""TLS at our own port: who is let in and who is not, and that the retrieve goes on beside those who are not.

The senders are DCMTK's storescu and echoscu, pynetdicom, and some that speak no TLS; the archive is a script, which
has the sender do its part while the C-MOVE request is under way.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

import certificates
import corpus
import peers
import pytest
import secure
from certificates import Certificates
from command import movescu

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    import scripted
    from command import Outcome

    Options = Callable[[Certificates], list[object]]

KEYS = ("-k", "QueryRetrieveLevel=PATIENT")
IN_TIME = 20.0  # seconds; ARTIM, which ends those who say nothing, is 30 by default

pytestmark = pytest.mark.xdist_group("tls")  # certificates are made once


@pytest.fixture(scope="module")
def pki() -> Certificates:
    return certificates.made()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[corpus.Instance]:
    return corpus.make_study(tmp_path_factory.mktemp("made"), instances=2, size=50_000)


def beside(
    pki: Certificates, sends: Callable[[int], None], *options: object, folder: Path, completed: int = 0, code: int = 0
) -> Outcome:
    """Retrieve from an archive that counts so many objects, and let ``sends`` do with our port what it wants."""
    port = peers.free_port()

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        sends(port)
        session.respond(completed=completed)
        session.expect_release()

    with secure.archive(script, secure.server_context(pki, pki.theirs)) as archive:
        arguments = [*KEYS, "+tls", *pki.ours, "+cf", pki.authority, "+P", port, *options, *archive.address]
        return movescu(*arguments, folder=folder, code=code)


def trusting(pki: Certificates) -> list[object]:
    return ["+cf", pki.authority]


GOOD: dict[str, tuple[Options, Options]] = {
    "both with certificates": (lambda _: [], lambda pki: ["+tls", *pki.theirs, "+cf", pki.authority]),
    "-vc, one with": (lambda _: ["-vc"], lambda pki: ["+tls", *pki.theirs, "+cf", pki.authority]),
    "-vc, one without": (lambda _: ["-vc"], lambda pki: ["+tla", "+cf", pki.authority]),
    "-ic, one without": (lambda _: ["-ic"], lambda pki: ["+tla", "+cf", pki.authority]),
    "-ic, a stranger": (lambda _: ["-ic"], lambda pki: ["+tls", *pki.stranger, "+cf", pki.authority]),
    "of another authority, trusted": (
        lambda pki: ["+cf", pki.other_authority],
        lambda pki: ["+tls", *pki.stranger, "+cf", pki.authority],
    ),
    "not revoked": (lambda pki: ["+crl", pki.crl], lambda pki: ["+tls", *pki.theirs, "+cf", pki.authority]),
    "who trusts anyone": (lambda _: [], lambda pki: ["+tls", *pki.theirs, "-ic"]),
    "+px": (lambda _: ["+py"], lambda pki: ["+tls", *pki.theirs, "+cf", pki.authority, "+px"]),
}


@pytest.mark.parametrize("case", GOOD)
def test_storescu_gets_its_objects_in(
    pki: Certificates, made: list[corpus.Instance], case: str, tmp_path: Path
) -> None:
    options, theirs = GOOD[case]

    def sends(port: int) -> None:
        assert secure.send_by_dcmtk(port, *theirs(pki))
        assert secure.send_by_dcmtk(port, *theirs(pki), files=corpus.paths(made))

    outcome = beside(pki, sends, *options(pki), folder=tmp_path, completed=len(made))
    for instance in made:
        assert corpus.dataset_equal(outcome.files[f"CT.{instance.instance_uid}"], instance.path, by_dcmtk=True)


BAD: dict[str, tuple[Options, Options, str, str]] = {
    "without a certificate": (
        lambda _: [],
        lambda pki: ["+tla", "+cf", pki.authority],
        "the peer has no certificate",
        "--verify-peer-cert",
    ),
    "of another authority": (
        lambda _: [],
        lambda pki: ["+tls", *pki.stranger, "+cf", pki.authority],
        "certificate refused: unable to get local issuer certificate",
        "--add-cert-file",
    ),
    "of another authority, -vc": (
        lambda _: ["-vc"],
        lambda pki: ["+tls", *pki.stranger, "+cf", pki.authority],
        "certificate refused: unable to get local issuer certificate",
        "--add-cert-file",
    ),
    "expired": (
        lambda _: [],
        lambda pki: ["+tls", *pki.expired, "+cf", pki.authority],
        "certificate has expired",
        "renewed",
    ),
    "revoked": (
        lambda pki: ["+crl", pki.crl],
        lambda pki: ["+tls", *pki.revoked, "+cf", pki.authority],
        "certificate revoked",
        "do not trust",
    ),
    "who does not trust us": (
        lambda _: [],
        lambda pki: ["+tls", *pki.theirs, "+cf", pki.other_authority],
        "does not trust the authority of this program's certificate",
        "has to trust the authority of this program's certificate",
    ),
    "who asks for no name": (
        lambda _: ["--expect-sni", "localhost"],
        lambda pki: ["+tls", *pki.theirs, "+cf", pki.authority],
        "requested the server name (none), not localhost",
        "",
    ),
    "without TLS": (lambda _: [], lambda _: [], "does not speak TLS", "over TLS"),
}


@pytest.mark.parametrize("case", BAD)
def test_who_is_not_let_in_is_reported_with_advice_and_the_retrieve_goes_on(
    pki: Certificates, made: list[corpus.Instance], case: str, tmp_path: Path
) -> None:
    options, theirs, reason, advice = BAD[case]

    def sends(port: int) -> None:
        assert not secure.send_by_dcmtk(port, *theirs(pki), files=corpus.paths(made))
        if "--expect-sni" not in options(pki):
            assert secure.send_by_dcmtk(port, "+tls", *pki.theirs, *trusting(pki), files=corpus.paths(made[:1]))

    arrives = 0 if "--expect-sni" in options(pki) else 1
    outcome = beside(pki, sends, *options(pki), folder=tmp_path, completed=arrives)
    assert "cannot secure the connection from 127.0.0.1" in outcome.log
    assert reason in outcome.log
    assert advice in outcome.log
    assert len(outcome.files) == arrives


def test_objects_that_senders_could_not_deliver_are_no_success(pki: Certificates, tmp_path: Path) -> None:
    def sends(port: int) -> None:
        assert not secure.send_by_dcmtk(port, "+tla", *trusting(pki))

    outcome = beside(pki, sends, "--linger", 0, folder=tmp_path, completed=1, code=63)
    assert "the peer has no certificate" in outcome.log


@pytest.mark.pynetdicom_sender
@pytest.mark.parametrize("asked", ["localhost", "LocalHost"])
def test_who_asks_for_the_name_that_is_expected_is_served(
    pki: Certificates, made: list[corpus.Instance], asked: str, tmp_path: Path
) -> None:
    def sends(port: int) -> None:
        context = secure.client_context(pki, pki.theirs)
        context.check_hostname = False
        with (
            socket.create_connection((peers.HOST, port), IN_TIME) as sock,
            context.wrap_socket(sock, server_hostname=asked) as secured,
        ):
            assert secured.version() == "TLSv1.3"
        assert set(secure.send_by_pynetdicom(port, secure.client_context(pki, pki.theirs), corpus.paths(made))) == {0}

    beside(pki, sends, "--expect-sni", "localhost", folder=tmp_path, completed=len(made))


@pytest.mark.pynetdicom_sender
@pytest.mark.parametrize("ciphers", ["", "ECDHE+AESGCM", "DHE+AESGCM", "AES128-SHA"])
def test_pynetdicom_gets_its_objects_in_by_every_suite_of_the_profile(
    pki: Certificates, made: list[corpus.Instance], ciphers: str, tmp_path: Path
) -> None:
    def sends(port: int) -> None:
        context = secure.client_context(pki, pki.theirs, ciphers=ciphers)
        assert secure.send_by_pynetdicom(port, context, corpus.paths(made)) == [0, 0]

    assert len(beside(pki, sends, folder=tmp_path, completed=2).files) == 2


# -- those who say nothing, or something else --------------------------------------------------------------------------


def test_who_says_nothing_keeps_neither_others_out_nor_the_end_back(
    pki: Certificates, made: list[corpus.Instance], tmp_path: Path
) -> None:
    silent: list[socket.socket] = []
    sent: list[float] = []

    def sends(port: int) -> None:
        silent.append(socket.create_connection((peers.HOST, port), IN_TIME))
        assert secure.send_by_dcmtk(port, "+tls", *pki.theirs, *trusting(pki), files=corpus.paths(made))
        sent.append(time.monotonic())

    outcome = beside(pki, sends, folder=tmp_path, completed=len(made))
    assert len(outcome.files) == len(made)
    assert time.monotonic() - sent[0] < 5.0  # the listener waits as long for threads that do not end
    silent[0].close()


@pytest.mark.parametrize("said", ["nothing", "half a greeting", "DICOM"])
def test_who_does_not_come_to_the_point_is_shut_out_in_time(pki: Certificates, said: str, tmp_path: Path) -> None:
    def sends(port: int) -> None:
        with socket.create_connection((peers.HOST, port), IN_TIME) as sock:
            sock.sendall({"nothing": b"", "half a greeting": b"\x16\x03\x01\x02\x00\x01", "DICOM": bytes([1, 0])}[said])
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(1000) == b""

    outcome = beside(pki, sends, "-ta", 1, folder=tmp_path)
    assert "cannot secure the connection from 127.0.0.1" in outcome.log
    assert "timed out" in outcome.log


def test_sender_that_never_ends_gets_an_abort_over_tls_too(pki: Certificates, tmp_path: Path) -> None:
    senders: list[ssl.SSLSocket] = []

    def sends(port: int) -> None:
        sock = socket.create_connection((peers.HOST, port), IN_TIME)
        senders.append(secure.client_context(pki, pki.theirs).wrap_socket(sock, server_hostname="localhost"))
        senders[0].sendall(secure.association_request())
        assert senders[0].recv(1) == b"\x02"  # A-ASSOCIATE-AC

    beside(pki, sends, "--store-timeout", 1, folder=tmp_path)
    with senders[0] as sender:
        received = b"".join(iter(lambda: sender.recv(65536), b""))
    assert received[-10:-4] == b"\x07\x00\x00\x00\x00\x04"  # A-ABORT (PS3.8 9.3.8)
