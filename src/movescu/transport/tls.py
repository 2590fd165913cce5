"""Secure transport connections: the BCP 195 profiles of PS3.15 annex B, with the standard library's ``ssl``.

One ``TLSOptions`` makes the contexts of both directions, the association requested and the associations accepted.
Errors of the setup become ``TLSError`` here; errors of a handshake become ``ConnectError`` or ``ConnectionLostError``,
as for plain connections, and OpenSSL's words are replaced by hints that name the option. Imported only for TLS, as
loading ``ssl`` is slow.
"""

from __future__ import annotations

import contextlib
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from movescu._runtime import data_file
from movescu._runtime.late_log import logger_of
from movescu.errors import ConnectError, ConnectionLostError, PeerError, TimedOutError, TLSError, UsageError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from _typeshed import ReadableBuffer, WriteableBuffer

    from movescu.transport.deadlines import Deadline
    from movescu.transport.sockets import Transport

_log: Final = logger_of("movescu.tls")


@dataclass(frozen=True, slots=True)
class Profile:
    """A secure transport connection profile: its oldest TLS version, and its cipher suites in OpenSSL's syntax.

    The suites of TLS 1.3 all satisfy the profiles and are left to OpenSSL.
    """

    name: str
    minimum_version: ssl.TLSVersion
    ciphers: str


# The suites of the non-downgrading profile are those of BCP 195 itself (RFC 7525 4.2). The other profile may downgrade
# to what PS3.15 B.3 required before: its last suite is the one of the AES profile.
PROFILES: Final = {
    "bcp195": Profile(
        "BCP 195 TLS Profile (PS3.15 B.9)", ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM:DHE+AESGCM:ECDHE+AES:AES128-SHA"
    ),
    "bcp195-nd": Profile(
        "Non-downgrading BCP 195 TLS Profile (PS3.15 B.10)", ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM:DHE+AESGCM"
    ),
}
"""Profiles, by the names of DCMTK's options."""

# Standard and OpenSSL's names of cipher suites, in halves; not every combination of them is a suite.
_KEY_EXCHANGES: Final = {
    "TLS_ECDHE_ECDSA_WITH_": "ECDHE-ECDSA-",
    "TLS_ECDHE_RSA_WITH_": "ECDHE-RSA-",
    "TLS_DHE_RSA_WITH_": "DHE-RSA-",
    "TLS_RSA_WITH_": "",
}
_ENCRYPTIONS: Final = {
    "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
    **{f"AES_{bits}_CCM{tag}": f"AES{bits}-CCM{tag[1:]}" for bits in (256, 128) for tag in ("", "_8")},
    "AES_256_CBC_SHA384": "AES256-SHA384",
    "AES_256_CBC_SHA256": "AES256-SHA256",
    "AES_128_CBC_SHA256": "AES128-SHA256",
    **{f"AES_{bits}_CBC_SHA": f"AES{bits}-SHA" for bits in (256, 128)},
}

_VERIFY: Final = {"require": ssl.CERT_REQUIRED, "verify": ssl.CERT_OPTIONAL, "ignore": ssl.CERT_NONE}

# PEM of a public group, ffdhe2048 of RFC 7919: Python sets no group for OpenSSL.
_DIFFIE_HELLMAN: Final = Path(__file__).parent / "data" / "ffdhe2048.pem"

_HASHED: Final = re.compile(r"[0-9a-f]{8}\.r?\d+")


@dataclass(frozen=True, slots=True)
class TLSOptions:
    """Keys, certificates and rules of secure connections. Files are PEM.

    ``key_file`` and ``certificate_file``: of this side. Default: None, no certificate, which only an association
    requestor may do without. ``password``: of the key, or a function that returns it, called at most once and only for
    an encrypted key. ``trusted_files`` and ``trusted_directories``: certificates of authorities. Default: the system's,
    to verify archives. ``crl_files``: certificate revocation lists. ``peer_certificate``: ``require`` and verify it,
    ``verify`` it if the peer has one, or ``ignore`` it. Default: ``require``. ``server_name``: sent to the archive
    (SNI) and expected in its certificate, empty for neither. Default: None, the archive's host name. ``expected_name``:
    the name (SNI) that senders have to send. Default: None, any. ``ciphers``: suites of TLS 1.2 in addition to the
    profile's, by standard or OpenSSL's names.
    """

    key_file: str | None = None
    certificate_file: str | None = None
    password: str | Callable[[], str] | None = None
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
    """The TLS contexts of both directions, the second only if this side is ``accepting`` connections.

    Raise ``TLSError`` if a file or name is unusable.
    """

    def __init__(self, options: TLSOptions, *, accepting: bool = False) -> None:
        self._options = options
        _require_name(options.server_name or "localhost")
        self._password = _Password(options.password)
        self._client = self._context(ssl.PROTOCOL_TLS_CLIENT)
        self._client.verify_mode = ssl.CERT_NONE if options.peer_certificate == "ignore" else ssl.CERT_REQUIRED
        self._client.check_hostname = self._checks_host_name = (
            options.check_host_name and options.peer_certificate != "ignore" and options.server_name != ""
        )
        if not (options.trusted_files or options.trusted_directories):
            self._client.load_default_certs()
        self._server = self._server_context() if accepting else None

    def _server_context(self) -> ssl.SSLContext:
        options = self._options
        if options.certificate_file is None:
            raise TLSError(
                "receiving objects over TLS requires a private key and a certificate",
                hint="give them with --enable-tls",
            )
        trusts = options.trusted_files or options.trusted_directories
        if options.peer_certificate != "ignore" and not trusts:
            # Not the system's: they would admit anyone who has a certificate of any public authority.
            raise TLSError(
                "no certificate authority is given to verify the certificates of senders with",
                hint="give one with --add-cert-file or --add-cert-dir, or accept any sender with --ignore-peer-cert",
            )
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = _VERIFY[options.peer_certificate]
        data_file.with_path(str(_DIFFIE_HELLMAN), context.load_dh_params)
        if options.expected_name is not None:
            context.sni_callback = self._check_name
        return context

    def _context(self, protocol: int) -> ssl.SSLContext:
        options, profile = self._options, PROFILES[self._options.profile]
        context = ssl.SSLContext(protocol)
        context.sslsocket_class = _SecureSocket
        context.check_hostname = False
        context.minimum_version = profile.minimum_version
        # The end of an association is a PDU (PS3.8 9.2), so a truncated connection needs no error of its own; and one
        # whose incoming direction this side has shut down can still carry the A-ABORT.
        context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
        context.set_ciphers(":".join((profile.ciphers, *map(_cipher, options.ciphers))))
        if options.certificate_file is not None:
            _load_own(context, options.certificate_file, options.key_file or options.certificate_file, self._password)
        for path in (*options.trusted_files, *options.crl_files):
            _load_trusted(context, path)
        for path in options.trusted_directories:
            _load_directory(context, path)
        if options.crl_files:
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        return context

    def _check_name(self, _: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> int | None:
        expected = self._options.expected_name or ""
        if name is not None and name.lower() == expected.lower():
            return None
        _log.warning("a sender requested the server name %s, not %s", name or "(none)", expected)
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    @classmethod
    def of_contexts(cls, client: ssl.SSLContext, server: ssl.SSLContext | None) -> Self:
        """Return a TLS of the program's own contexts, for the archive and for senders."""
        made = object.__new__(cls)
        made._options, made._client, made._server = TLSOptions(), client, server
        return made

    def secure_request(self, transport: Transport, host: str, deadline: Deadline) -> None:
        """Secure a connection opened to ``host``. Raise ``ConnectError`` if the handshake fails, ``TimedOutError``."""
        name = host if self._options.server_name is None else self._options.server_name or None
        context = self._client

        def wrap(sock: socket.socket) -> ssl.SSLSocket:
            return context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)

        try:
            _secure(transport, wrap, deadline)
        except TimedOutError as error:
            raise TimedOutError(str(error), hint=_IS_IT_TLS) from error
        except ConnectionLostError as error:
            raise ConnectError(
                f"cannot secure the connection to {transport.peer}: {error}", hint=error.hint or _IS_IT_TLS
            ) from error

    def secure_accepted(self, transport: Transport, deadline: Deadline) -> None:
        """Secure an accepted connection. Raise ``ConnectionLostError`` if the handshake fails, ``TimedOutError``.

        The reason is logged here, because the sender may not get to know it.
        """
        context = self._server
        assert context is not None  # made for accepting=True

        def wrap(sock: socket.socket) -> ssl.SSLSocket:
            return context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)

        try:
            _secure(transport, wrap, deadline)
        except PeerError as error:
            _log.warning("cannot secure the connection from %s: %s", transport.peer, error)
            _log.warning("%s", error.hint or _SEND_BY_TLS)
            raise


def make(options: TLSOptions | ssl.SSLContext | tuple[ssl.SSLContext, ssl.SSLContext], *, accepting: bool) -> TLS:
    """Return a TLS from options or from the program's own contexts, for both directions if ``accepting``.

    Contexts: one for the archive, or a pair of that and one for senders. Raise ``TLSError`` if a file or name is
    unusable, ``UsageError`` for any other value.
    """
    if isinstance(options, TLSOptions):
        return TLS(options, accepting=accepting)
    client, server = options if isinstance(options, tuple) and len(options) == 2 else (options, None)
    if not isinstance(client, ssl.SSLContext) or not isinstance(server, ssl.SSLContext | None):
        raise UsageError(f"tls {options!r} is neither TLSOptions nor an ssl.SSLContext")
    if accepting and server is None:
        raise UsageError(
            "one ssl.SSLContext secures the connection to the archive alone, and senders would connect unsecured",
            hint="give a pair of contexts, for the archive and for senders, or TLSOptions",
        )
    return TLS.of_contexts(client, server)


def cipher_suites() -> dict[str, str]:
    """Return the supported cipher suites: their standard names, with OpenSSL's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:!aNULL:!eNULL")
    known = [cipher["name"] for cipher in context.get_ciphers()]
    standard = {
        own_exchange + own_encryption: exchange + encryption
        for exchange, own_exchange in _KEY_EXCHANGES.items()
        for encryption, own_encryption in _ENCRYPTIONS.items()
    }
    names = {standard.get(name, name): name for name in known}
    return {name: own for name, own in names.items() if name.startswith("TLS_")}


def _cipher(name: str) -> str:
    """Return OpenSSL's name of a cipher suite. Raise ``TLSError`` if it is unknown."""
    suites = cipher_suites()
    if name in suites.values():
        return name
    if name not in suites:
        raise TLSError(f"unknown cipher suite {name!r}", hint="--list-ciphers lists those that are supported")
    return suites[name]


# -- files -------------------------------------------------------------------------------------------------------------


class _Password:
    """The password of the private key, called by OpenSSL for an encrypted key; the user is asked only once."""

    def __init__(self, source: str | Callable[[], str] | None) -> None:
        self._source = source
        self.wanted = False

    def __call__(self) -> bytes:
        self.wanted = True
        if callable(self._source):
            self._source = self._source()
        if self._source is None:
            raise TLSError("the private key is encrypted, but no password is given", hint=_PASSWORD_HINT)
        return self._source.encode("utf-8", "surrogateescape")


_PASSWORD_HINT: Final = "give its password with --use-passwd, or type it when asked (--std-passwd)"  # noqa: S105 - advice


def _load_own(context: ssl.SSLContext, certificate: str, key: str, password: _Password) -> None:
    for path, what in ((key, "private key"), (certificate, "certificate")):
        _require_readable(path, what)
    try:
        context.load_cert_chain(certificate, key, password)
    except (ssl.SSLError, ValueError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise TLSError(
                f"the private key {key!r} and the certificate {certificate!r} do not belong together",
                hint="check the pair; the key comes first: --enable-tls KEY CERT",
            ) from error
        if password.wanted:
            raise TLSError(f"wrong password for the private key {key!r}", hint=_PASSWORD_HINT) from error
        raise TLSError(
            f"no private key in {key!r}, or no certificate in {certificate!r}",
            hint="both files must be PEM, and the key comes first: --enable-tls KEY CERT",
        ) from error


def _load_trusted(context: ssl.SSLContext, path: str) -> None:
    _require_readable(path, "certificate or revocation list")
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise TLSError(f"neither certificate nor revocation list in {path!r}", hint="the file must be PEM") from error


def _load_directory(context: ssl.SSLContext, path: str) -> None:
    try:
        names = [entry.name for entry in Path(path).iterdir()]
    except OSError as error:
        raise TLSError(f"cannot read the directory of certificates {path!r}: {error.strerror}") from error
    if not any(_HASHED.fullmatch(name) for name in names):
        raise TLSError(
            f"OpenSSL would find no certificate in the directory {path!r}",
            hint="OpenSSL looks for names made of hashes: make them with 'openssl rehash' and the directory",
        )
    context.load_verify_locations(capath=path)


def _require_readable(path: str, what: str) -> None:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise TLSError(f"cannot read the {what} {path!r}: {getattr(error, 'strerror', error)}") from error


def _require_name(name: str) -> None:
    try:
        encoded = name.encode("idna")
    except UnicodeError as error:
        raise TLSError(f"{name!r} is not a valid server name") from error
    if b"\0" in encoded:
        raise TLSError(f"{name!r} is not a valid server name")


# -- connections -------------------------------------------------------------------------------------------------------


class _SecureSocket(ssl.SSLSocket):
    """Translates the errors of TLS, also after the handshake: in TLS 1.3 a refused client certificate comes then."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the standard library's signature
        """Perform the handshake. Raise ``ConnectionLostError`` for an error of TLS, ``OSError`` for any other."""
        try:
            super().do_handshake(block)
        except ssl.SSLError as error:
            raise _lost(error) from error

    def recv_into(self, buffer: WriteableBuffer | None, nbytes: int | None = None, flags: int = 0) -> int:
        """Receive. Raise ``ConnectionLostError`` for an error of TLS, ``OSError`` for any other."""
        try:
            return super().recv_into(buffer, nbytes, flags)  # type: ignore[arg-type] # typeshed narrows what Python takes
        except ssl.SSLError as error:
            raise _lost(error) from error

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        """Send. Raise ``ConnectionLostError`` for an error of TLS or a closed connection, ``OSError`` for any other."""
        try:
            return super().send(data, flags)
        except (ssl.SSLEOFError, ConnectionError) as error:
            self._find_alert()
            raise ConnectionLostError("the peer closed the connection", hint=_CLOSED) from error
        except ssl.SSLError as error:
            raise _lost(error) from error

    def _find_alert(self) -> None:
        """Raise ``ConnectionLostError`` for an unread alert, which says why the peer closed the connection."""
        with contextlib.suppress(OSError):
            self.settimeout(0)
            self.recv_into(bytearray(1))

    def close(self) -> None:
        """Send close_notify, which marks the end as intended (RFC 8446 6.1), and close without awaiting the peer's."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: before the handshake, or after the end
            self.settimeout(0)
            self.unwrap()
        super().close()


def _secure(transport: Transport, wrap: Callable[[socket.socket], ssl.SSLSocket], deadline: Deadline) -> None:
    try:
        transport.secure(wrap, deadline)
    except ValueError as error:  # an invalid host name
        transport.close()
        raise ConnectionLostError(str(error)) from error
    except BaseException:
        transport.close()
        raise


# -- reasons -----------------------------------------------------------------------------------------------------------

_IS_IT_TLS: Final = "check that the archive speaks TLS on this port"
_SEND_BY_TLS: Final = "set the sender to send over TLS and to trust the authority of this program's certificate"
_TRUST_OURS: Final = "the peer has to trust the authority of this program's certificate, which has to be valid"
_TRUST_THEIRS: Final = "if the peer is to be trusted, give the certificate of its authority with --add-cert-file"
_CLOSED: Final = "check the peer's log: it may not trust this program's certificate, or not speak TLS"
_CIPHERS: Final = "allow more suites with --profile-bcp195 or --cipher, or have newer ones enabled at the peer"

_REASONS: Final = (
    ("CERTIFICATE_REQUIRED", "the peer requires a certificate of this program", "give one with --enable-tls"),
    ("PEER_DID_NOT_RETURN", "the peer has no certificate", "do not require one: --verify-peer-cert"),
    ("ALERT_UNRECOGNIZED_NAME", "the peer does not have the server name", "give the peer's name with --request-sni"),
    ("ALERT_UNKNOWN_CA", "the peer does not trust the authority of this program's certificate", _TRUST_OURS),
    ("ALERT_CERTIFICATE_EXPIRED", "the peer finds this program's certificate expired", _TRUST_OURS),
    ("ALERT_CERTIFICATE_REVOKED", "the peer finds this program's certificate revoked", _TRUST_OURS),
    ("ALERT_BAD_CERTIFICATE", "the peer refuses this program's certificate", _TRUST_OURS),
    ("ALERT_CERTIFICATE_UNKNOWN", "the peer refuses this program's certificate", _TRUST_OURS),
    ("ALERT_HANDSHAKE_FAILURE", "the peer requires a certificate of this program, or other cipher suites", _CIPHERS),
    ("NO_SHARED_CIPHER", "no cipher suite in common", _CIPHERS),
    ("ALERT_PROTOCOL_VERSION", "no version of TLS in common", "TLS 1.2 is the oldest that is secure"),
    ("UNSUPPORTED_PROTOCOL", "no version of TLS in common", "TLS 1.2 is the oldest that is secure"),
    ("WRONG_VERSION_NUMBER", "the peer does not speak TLS", ""),
)
"""Parts of OpenSSL's names of errors -> message and hint."""

_VERIFY_HINTS: Final = {
    3: "give the revocation list of the certificate's authority with --add-crl-file",  # X509_V_ERR_UNABLE_TO_GET_CRL
    10: "have the certificate renewed, or correct the clock of this machine",  # X509_V_ERR_CERT_HAS_EXPIRED
    12: "give a newer revocation list with --add-crl-file",  # X509_V_ERR_CRL_HAS_EXPIRED
    18: _TRUST_THEIRS,  # X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT
    19: _TRUST_THEIRS,  # X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN
    20: _TRUST_THEIRS,  # X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY
    21: _TRUST_THEIRS,  # X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE
    23: "the certificate was revoked: do not trust whoever presents it",  # X509_V_ERR_CERT_REVOKED
    62: "call the archive by a name in its certificate, give that name with --request-sni, or use --no-host-check",
    64: "call the archive by a name in its certificate, give that name with --request-sni, or use --no-host-check",
}
"""By OpenSSL's number of the error; 62 and 64 are host names and addresses that do not match."""


def _lost(error: ssl.SSLError) -> ConnectionLostError:
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"certificate refused: {error.verify_message}"
        return ConnectionLostError(text, hint=_VERIFY_HINTS.get(error.verify_code, ""))
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return ConnectionLostError("the peer closed the connection", hint=_CLOSED)
    reason = error.reason or error.strerror or str(error)
    for part, text, hint in _REASONS:
        if part in reason:
            return ConnectionLostError(text, hint=hint)
    return ConnectionLostError(reason.replace("_", " ").lower())
