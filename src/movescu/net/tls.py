"""Secure transport connections: PS3.15 annex B (the BCP 195 profiles), by the standard library's ``ssl``.

One ``TLSOptions`` makes the contexts of both directions: for the association that we request, and for those that we
accept. Imported only where TLS is asked for, for ``ssl`` takes 10 ms to load. Errors of the set-up become ``TLSError``
here; those of a handshake become ``ConnectError`` or ``ConnectionLostError``, as for plain connections.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from movescu.errors import ConnectError, ConnectionLostError, TLSError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from movescu.net.transport import Deadline, Transport


@dataclass(frozen=True, slots=True)
class Profile:
    """A secure transport connection profile: its oldest TLS version, and its cipher suites in OpenSSL's words.

    The suites of TLS 1.3, which all satisfy the profiles, are OpenSSL's own affair.
    """

    name: str
    minimum_version: ssl.TLSVersion
    ciphers: str


PROFILES: Final = {
    "bcp195": Profile("BCP 195 TLS Profile (PS3.15 B.9)", ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM:DHE+AESGCM:ECDHE+AES"),
    "bcp195-nd": Profile(
        "Non-downgrading BCP 195 TLS Profile (PS3.15 B.10)", ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM:DHE+AESGCM"
    ),
}
"""By the names that DCMTK's options have."""

_VERIFY: Final = {"require": ssl.CERT_REQUIRED, "verify": ssl.CERT_OPTIONAL, "ignore": ssl.CERT_NONE}


@dataclass(frozen=True, slots=True)
class TLSOptions:
    """What to secure connections with. Paths are of PEM files.

    ``key_file`` and ``certificate_file`` None: anonymous, for requesting alone. ``password`` None: OpenSSL asks for
    it on the terminal. ``trusted_files`` and ``trusted_directories``: certificates of authorities; none of either:
    those of the system. ``peer_certificate``: ``require`` one and verify it, ``verify`` it where the peer has one,
    ``ignore`` it. ``server_name``: sent to the archive (SNI) and expected in its certificate; None for its host name.
    ``expected_name``: the name (SNI) that peers have to ask for when they connect to us, None for any.
    """

    key_file: str | None = None
    certificate_file: str | None = None
    password: str | None = None
    trusted_files: tuple[str, ...] = ()
    trusted_directories: tuple[str, ...] = ()
    crl_files: tuple[str, ...] = ()
    peer_certificate: str = "require"
    check_host_name: bool = True
    server_name: str | None = None
    expected_name: str | None = None
    profile: str = "bcp195"
    ciphers: tuple[str, ...] = ()


class TLS:
    """The contexts of both directions. Raises ``TLSError`` for files and names that cannot be used."""

    def __init__(self, options: TLSOptions) -> None:
        self._options = options
        self._client = self._context(ssl.PROTOCOL_TLS_CLIENT)
        self._client.check_hostname = options.check_host_name and options.peer_certificate == "require"
        self._client.verify_mode = ssl.CERT_NONE if options.peer_certificate == "ignore" else ssl.CERT_REQUIRED
        self._server = self._context(ssl.PROTOCOL_TLS_SERVER)
        self._server.verify_mode = _VERIFY[options.peer_certificate]
        if options.expected_name is not None:
            self._server.sni_callback = self._check_name

    def _context(self, protocol: int) -> ssl.SSLContext:
        options, profile = self._options, PROFILES[self._options.profile]
        context = ssl.SSLContext(protocol)
        context.check_hostname = False
        context.minimum_version = profile.minimum_version
        _attempt("cipher suites", lambda: context.set_ciphers(":".join(options.ciphers) or profile.ciphers))
        certificate, key = options.certificate_file, options.key_file
        if certificate is not None:
            password = None if options.password is None else options.password.encode()
            _attempt(
                f"key {key!r} or certificate {certificate!r}",
                lambda: context.load_cert_chain(certificate, key, password),
            )
        self._trust(context)
        return context

    def _check_name(self, _: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> int | None:
        return None if name == self._options.expected_name else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    def _trust(self, context: ssl.SSLContext) -> None:
        options = self._options
        for path in (*options.trusted_files, *options.crl_files):
            _attempt(f"certificates in {path!r}", lambda path=path: context.load_verify_locations(cafile=path))  # type: ignore[misc] # mypy knows no defaults of lambdas
        for path in options.trusted_directories:
            _attempt(f"directory {path!r}", lambda path=path: context.load_verify_locations(capath=path))  # type: ignore[misc] # as above
        if options.crl_files:
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        if not options.trusted_files and not options.trusted_directories:
            context.load_default_certs()

    def secure_request(self, transport: Transport, host: str, deadline: Deadline) -> None:
        """Secure a connection that we opened to ``host``. Raises ``ConnectError`` and ``TimedOutError``."""

        def wrap(sock: socket.socket) -> socket.socket:
            try:
                return self._client.wrap_socket(sock, server_hostname=self._options.server_name or host)
            except (ssl.SSLError, ValueError, ConnectionError) as error:
                raise ConnectError(
                    f"cannot secure the connection to {transport.peer}: {_reason(error)}",
                    hint="check that the archive speaks TLS on this port, and which certificates either side trusts",
                ) from error

        self._secure(transport, wrap, deadline)

    def secure_accepted(self, transport: Transport, deadline: Deadline) -> None:
        """Secure a connection that a peer opened. Raises ``ConnectionLostError`` and ``TimedOutError``."""

        def wrap(sock: socket.socket) -> socket.socket:
            try:
                return self._server.wrap_socket(sock, server_side=True)
            except (ssl.SSLError, ValueError, ConnectionError) as error:
                raise ConnectionLostError(
                    f"cannot secure the connection from {transport.peer}: {_reason(error)}"
                ) from error

        self._secure(transport, wrap, deadline)

    def _secure(self, transport: Transport, wrap: Callable[[socket.socket], socket.socket], deadline: Deadline) -> None:
        try:
            transport.secure(wrap, deadline)
        except BaseException:
            transport.close()
            raise


def cipher_suites() -> tuple[str, ...]:
    """Name the cipher suites that may be chosen (``+cs``), in OpenSSL's words."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:!aNULL:!eNULL")
    return tuple(cipher["name"] for cipher in context.get_ciphers())


def _attempt(what: str, step: Callable[[], None]) -> None:
    try:
        step()
    except (OSError, ValueError) as error:
        raise TLSError(f"cannot use {what}: {_reason(error)}", hint="the files have to be PEM") from error


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
