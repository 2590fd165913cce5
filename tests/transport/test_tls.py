"""TLS connections behave like plain ones: no received byte is missed, and an end wakes the thread that waits."""

from __future__ import annotations

import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import certificates
import pytest
import secure
from certificates import Certificates
from wire import loopback, soon

from movescu.errors import ConnectError, ConnectionLostError, PeerError, TLSError
from movescu.transport.sockets import Transport
from movescu.transport.tls import TLS, TLSOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.xdist_group("tls")  # certificates are made once


@pytest.fixture(scope="module")
def pki() -> Certificates:
    return certificates.made()


def options(pki: Certificates) -> TLSOptions:
    key, certificate = pki.ours
    return TLSOptions(str(key), str(certificate), trusted_files=(str(pki.authority),))


@contextmanager
def secured(pki: Certificates) -> Iterator[tuple[Transport, ssl.SSLSocket]]:
    """Our side of a connection that we asked for, and the peer's."""
    with loopback() as (near, far):
        transport = Transport(near, "the peer")
        peers: list[ssl.SSLSocket] = []
        context = secure.server_context(pki, pki.theirs)
        thread = threading.Thread(target=lambda: peers.append(context.wrap_socket(far, server_side=True)))
        thread.start()
        TLS(options(pki)).secure_request(transport, "localhost", soon())
        thread.join()
        with peers[0]:
            yield transport, peers[0]
            transport.close()


def test_bytes_buffered_by_tls_count_as_readable(pki: Certificates) -> None:
    with secured(pki) as (transport, peer):
        peer.sendall(b"two responses, in one record")
        assert transport.receive_into(memoryview(bytearray(4)), soon()) == 4
        assert transport.readable(0)
        rest = bytearray(100)
        assert bytes(rest[: transport.receive_into(memoryview(rest), soon())]) == b"responses, in one record"
        assert not transport.readable(0)


def test_truncated_connection_ends_like_one_with_close_notify(pki: Certificates) -> None:
    for farewell in (True, False):
        with secured(pki) as (transport, peer):
            if farewell:
                with suppress(ssl.SSLError, OSError):
                    peer.settimeout(0)
                    peer.unwrap()
            peer.close()
            assert transport.receive_into(memoryview(bytearray(4)), soon()) == 0


def test_close_sends_close_notify(pki: Certificates) -> None:
    with secured(pki) as (transport, peer):
        peer.suppress_ragged_eofs = False  # type: ignore[attr-defined] # typeshed does not know it
        transport.close()
        assert peer.recv(1) == b""  # a cut would be an error


def test_handshake_can_be_interrupted(pki: Certificates) -> None:
    with loopback() as (near, far):
        transport = Transport(near, "the peer")
        tls = TLS(options(pki), accepting=True)
        errors: list[PeerError] = []

        def accept() -> None:
            try:
                tls.secure_accepted(transport, soon())
            except PeerError as error:
                errors.append(error)

        far.sendall(b"\x16\x03\x01\x02\x00\x01")
        thread = threading.Thread(target=accept)
        thread.start()
        while near.fileno() >= 0:  # until TLS has taken the descriptor over
            thread.join(0.001)
        transport.stop_receiving()
        thread.join(5)
        assert not thread.is_alive()
    assert isinstance(errors[0], ConnectionLostError)


@pytest.mark.parametrize("name", [".example", "x" * 64 + ".example", "a\0b"])
def test_invalid_server_name_is_an_error_without_a_traceback(pki: Certificates, name: str) -> None:
    with pytest.raises(TLSError, match="is not a valid server name"):
        TLS(replace(options(pki), server_name=name))


def test_empty_host_name_is_an_error_without_a_traceback(pki: Certificates) -> None:
    with loopback() as (near, _), pytest.raises(ConnectError, match="cannot secure the connection to the peer"):
        TLS(options(pki)).secure_request(Transport(near, "the peer"), "", soon())


def test_encrypted_key_without_a_password_is_an_error_and_no_prompt(pki: Certificates) -> None:
    key, certificate = pki.encrypted
    with pytest.raises(TLSError, match="encrypted, but no password is given"):
        TLS(TLSOptions(str(key), str(certificate)))


def test_receiving_requires_a_certificate(pki: Certificates) -> None:
    with pytest.raises(TLSError, match="requires a private key and a certificate"):
        TLS(TLSOptions(trusted_files=(str(pki.authority),)), accepting=True)
