"""Secure transport connections: PS3.15 annex B (the BCP 195 profiles), by the standard library's ``ssl``.

One ``TLSOptions`` makes the contexts of both directions: for the association that we request, and for those that we
accept. Imported only where TLS is asked for, for ``ssl`` takes 10 ms to load. Errors of the set-up become ``TLSError``
here; those of a handshake become ``ConnectError`` or ``ConnectionLostError``, as for plain connections, with OpenSSL's
words put into those of the options that help.
"""

from __future__ import annotations

import contextlib
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

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
    """A secure transport connection profile: its oldest TLS version, and its cipher suites in OpenSSL's words.

    The suites of TLS 1.3, which all satisfy the profiles, are OpenSSL's own affair.
    """

    name: str
    minimum_version: ssl.TLSVersion
    ciphers: str


# The non-downgrading profile's suites are those of BCP 195 itself (RFC 7525 4.2). The other may go down to what PS3.15
# B.3 demanded before: it ends with the one suite of the AES profile.
PROFILES: Final = {
    "bcp195": Profile(
        "BCP 195 TLS Profile (PS3.15 B.9)", ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM:DHE+AESGCM:ECDHE+AES:AES128-SHA"
    ),
    "bcp195-nd": Profile(
        "Non-downgrading BCP 195 TLS Profile (PS3.15 B.10)", ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM:DHE+AESGCM"
    ),
}
"""By the names that DCMTK's options have."""

# Names of cipher suites, standard and OpenSSL's, in halves. Of the pairs, those exist that OpenSSL has.
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
    "AES_256_CBC_SHA384": "AES256-SHA384",
    "AES_256_CBC_SHA256": "AES256-SHA256",
    "AES_128_CBC_SHA256": "AES128-SHA256",
    "AES_256_CBC_SHA": "AES256-SHA",
    "AES_128_CBC_SHA": "AES128-SHA",
}

_VERIFY: Final = {"require": ssl.CERT_REQUIRED, "verify": ssl.CERT_OPTIONAL, "ignore": ssl.CERT_NONE}

# PEM, of a group that everyone may know: ffdhe2048 of RFC 7919. OpenSSL as Python sets it up has none of its own.
_DIFFIE_HELLMAN: Final = Path(__file__).parent / "data" / "ffdhe2048.pem"

_HASHED: Final = re.compile(r"[0-9a-f]{8}\.r?\d+")


@dataclass(frozen=True, slots=True)
class TLSOptions:
    """What to secure connections with. Paths are of PEM files.

    ``key_file`` and ``certificate_file`` None: anonymous, for requesting alone. ``password``: of the key, or what is
    called, once at most, when the key turns out to need one. ``trusted_files`` and ``trusted_directories``:
    certificates of authorities; without either, archives are verified by those of the system. ``peer_certificate``:
    ``require`` one and verify it, ``verify`` it where the peer has one, ``ignore`` it. ``server_name``: sent to the
    archive (SNI) and expected in its certificate; None for its host name, empty to send and expect none.
    ``expected_name``: the name (SNI) that peers have to ask for when they connect to us, None for any. ``ciphers``:
    suites of TLS 1.2 to be taken beside those of the profile, by their standard names or OpenSSL's.
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
    """The contexts of both directions, that of the second only if we are ``accepting`` connections.

    Raises ``TLSError`` for files and names that cannot be used.
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
                "to receive objects over TLS takes a private key and a certificate", hint="give them with --enable-tls"
            )
        trusts = options.trusted_files or options.trusted_directories
        if options.peer_certificate != "ignore" and not trusts:
            # Not those of the system: who has a certificate of any of them would be let in.
            raise TLSError(
                "no certificate of an authority is given that senders could be verified with",
                hint="give it with --add-cert-file or --add-cert-dir, or let anyone send with --ignore-peer-cert",
            )
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = _VERIFY[options.peer_certificate]
        context.load_dh_params(str(_DIFFIE_HELLMAN))
        if options.expected_name is not None:
            context.sni_callback = self._check_name
        return context

    def _context(self, protocol: int) -> ssl.SSLContext:
        options, profile = self._options, PROFILES[self._options.profile]
        context = ssl.SSLContext(protocol)
        context.sslsocket_class = _SecureSocket
        context.check_hostname = False
        context.minimum_version = profile.minimum_version
        # An association tells its own end (PS3.8 9.2), so a connection that is cut is as good as one that is closed;
        # and one whose incoming direction we ended ourselves can still carry our A-ABORT.
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
        _log.warning("a sender asked for the server name %s, not for %s", name or "(none)", expected)
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    @classmethod
    def of_contexts(cls, client: ssl.SSLContext, server: ssl.SSLContext | None) -> Self:
        """Return one of contexts that a program has set up: to the archive, and for senders."""
        made = object.__new__(cls)
        made._options, made._client, made._server = TLSOptions(), client, server
        return made

    def secure_request(self, transport: Transport, host: str, deadline: Deadline) -> None:
        """Secure a connection that we opened to ``host``. Raises ``ConnectError`` and ``TimedOutError``."""
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
        """Secure a connection that a peer opened. Raises ``ConnectionLostError`` and ``TimedOutError``.

        Why a sender was turned away is logged here: to it, we are the ones who know.
        """
        context = self._server
        assert context is not None  # the caller said that it accepts

        def wrap(sock: socket.socket) -> ssl.SSLSocket:
            return context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)

        try:
            _secure(transport, wrap, deadline)
        except PeerError as error:
            _log.warning("cannot secure the connection from %s: %s", transport.peer, error)
            _log.warning("%s", error.hint or _SEND_BY_TLS)
            raise


def make(options: TLSOptions | ssl.SSLContext | tuple[ssl.SSLContext, ssl.SSLContext], *, accepting: bool) -> TLS:
    """Return what secures connections, in both directions if we are ``accepting``.

    A program's own contexts: one for the connection to the archive, or a pair of that and one for senders. Raises
    ``TLSError`` for files and names that cannot be used, ``UsageError`` for values that are none of these.
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
    """Give the cipher suites that there are: their standard names, and those that OpenSSL has for them."""
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
    """Give OpenSSL's name of a cipher suite. Raises ``TLSError``."""
    suites = cipher_suites()
    if name in suites.values():
        return name
    if name not in suites:
        raise TLSError(f"unknown cipher suite {name!r}", hint="--list-ciphers names those that there are")
    return suites[name]


# -- files -------------------------------------------------------------------------------------------------------------


class _Password:
    """The password of the private key, as OpenSSL asks for it: only where there is need, and of the user only once."""

    def __init__(self, source: str | Callable[[], str] | None) -> None:
        self._source = source
        self.wanted = False

    def __call__(self) -> bytes:
        self.wanted = True
        if callable(self._source):
            self._source = self._source()
        if self._source is None:
            raise TLSError("the private key is encrypted, and no password is given", hint=_PASSWORD_HINT)
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
                hint="the key comes first: --enable-tls KEY CERT",
            ) from error
        if password.wanted:
            raise TLSError(f"wrong password for the private key {key!r}", hint=_PASSWORD_HINT) from error
        raise TLSError(
            f"no private key in {key!r}, or no certificate in {certificate!r}",
            hint="both files have to be PEM, and the key comes first: --enable-tls KEY CERT",
        ) from error


def _load_trusted(context: ssl.SSLContext, path: str) -> None:
    _require_readable(path, "certificate or revocation list")
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise TLSError(f"neither certificate nor revocation list in {path!r}", hint="the file has to be PEM") from error


def _load_directory(context: ssl.SSLContext, path: str) -> None:
    try:
        names = [entry.name for entry in Path(path).iterdir()]
    except OSError as error:
        raise TLSError(f"cannot read the directory of certificates {path!r}: {error.strerror}") from error
    if not any(_HASHED.fullmatch(name) for name in names):
        raise TLSError(
            f"OpenSSL would find no certificate in the directory {path!r}",
            hint="it looks for names made of hashes; 'openssl rehash' followed by the directory makes them",
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
        raise TLSError(f"{name!r} is no name of a server") from error
    if b"\0" in encoded:
        raise TLSError(f"{name!r} is no name of a server")


# -- connections -------------------------------------------------------------------------------------------------------


class _SecureSocket(ssl.SSLSocket):
    """Says what errors of TLS mean, also those that come later: in TLS 1.3, that our certificate is refused."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the standard library's signature
        """Shake hands. Raises ``ConnectionLostError`` and ``OSError``."""
        try:
            super().do_handshake(block)
        except ssl.SSLError as error:
            raise _lost(error) from error

    def recv_into(self, buffer: WriteableBuffer | None, nbytes: int | None = None, flags: int = 0) -> int:
        """Receive. Raises ``ConnectionLostError`` and ``OSError``."""
        try:
            return super().recv_into(buffer, nbytes, flags)  # type: ignore[arg-type] # typeshed narrows what Python takes
        except ssl.SSLError as error:
            raise _lost(error) from error

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        """Send. Raises ``ConnectionLostError`` and ``OSError``."""
        try:
            return super().send(data, flags)
        except (ssl.SSLEOFError, ConnectionError) as error:
            self._find_alert()
            raise ConnectionLostError("the other side closed the connection", hint=_CLOSED) from error
        except ssl.SSLError as error:
            raise _lost(error) from error

    def _find_alert(self) -> None:
        """Raise ``ConnectionLostError`` for an alert that waits to be read: why the peer closed the connection."""
        with contextlib.suppress(OSError):
            self.settimeout(0)
            self.recv_into(bytearray(1))

    def close(self) -> None:
        """Close, after the alert that tells the end from a cut (RFC 8446 6.1); the peer's own is not waited for."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: nothing was secured yet, or all is over
            self.settimeout(0)
            self.unwrap()
        super().close()


def _secure(transport: Transport, wrap: Callable[[socket.socket], ssl.SSLSocket], deadline: Deadline) -> None:
    try:
        transport.secure(wrap, deadline)
    except ValueError as error:  # a host name that cannot be one
        transport.close()
        raise ConnectionLostError(str(error)) from error
    except BaseException:
        transport.close()
        raise


# -- reasons -----------------------------------------------------------------------------------------------------------

_IS_IT_TLS: Final = "check that the archive speaks TLS on this port"
_SEND_BY_TLS: Final = "have the sender set to send over TLS, and to trust the authority of our certificate"
_TRUST_OURS: Final = "the other side has to trust the authority of our certificate, and the certificate has to be valid"
_TRUST_THEIRS: Final = "if it is to be trusted, give the certificate of its authority with --add-cert-file"
_CLOSED: Final = "the log of the other side may say why: it may not trust our certificate, or not speak TLS"
_CIPHERS: Final = "allow more with --profile-bcp195 or --cipher, or have the other side offer newer ones"

_REASONS: Final = (
    ("CERTIFICATE_REQUIRED", "the other side wants a certificate of ours", "give one with --enable-tls"),
    ("PEER_DID_NOT_RETURN", "the other side has no certificate", "do without one by --verify-peer-cert"),
    ("ALERT_UNRECOGNIZED_NAME", "the other side does not have the server name", "give its name with --request-sni"),
    ("ALERT_UNKNOWN_CA", "the other side does not trust the authority of our certificate", _TRUST_OURS),
    ("ALERT_CERTIFICATE_EXPIRED", "the other side finds our certificate expired", _TRUST_OURS),
    ("ALERT_CERTIFICATE_REVOKED", "the other side finds our certificate revoked", _TRUST_OURS),
    ("ALERT_BAD_CERTIFICATE", "the other side refuses our certificate", _TRUST_OURS),
    ("ALERT_CERTIFICATE_UNKNOWN", "the other side refuses our certificate", _TRUST_OURS),
    ("ALERT_HANDSHAKE_FAILURE", "the other side wants a certificate of ours, or other cipher suites", _CIPHERS),
    ("NO_SHARED_CIPHER", "no cipher suite in common", _CIPHERS),
    ("ALERT_PROTOCOL_VERSION", "no version of TLS in common", "TLS 1.2 is the oldest that is secure"),
    ("UNSUPPORTED_PROTOCOL", "no version of TLS in common", "TLS 1.2 is the oldest that is secure"),
    ("WRONG_VERSION_NUMBER", "the other side does not speak TLS", ""),
)
"""Parts of OpenSSL's names of errors -> what it means, and what can be done."""

_VERIFY_HINTS: Final = {
    3: "the revocation list of its authority is missing: give it with --add-crl-file",  # X509_V_ERR_UNABLE_TO_GET_CRL
    10: "it has to be renewed, or the clock of this machine is wrong",  # X509_V_ERR_CERT_HAS_EXPIRED
    12: "a newer revocation list is needed (--add-crl-file)",  # X509_V_ERR_CRL_HAS_EXPIRED
    18: _TRUST_THEIRS,  # X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT
    19: _TRUST_THEIRS,  # X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN
    20: _TRUST_THEIRS,  # X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY
    21: _TRUST_THEIRS,  # X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE
    23: "its owner gave it up: do not trust who shows it",  # X509_V_ERR_CERT_REVOKED
    62: "call the archive by a name in its certificate, give that name with --request-sni, or use --no-host-check",
    64: "call the archive by a name in its certificate, give that name with --request-sni, or use --no-host-check",
}
"""By OpenSSL's number of the error; 62 and 64 are host names and addresses that do not match."""


def _lost(error: ssl.SSLError) -> ConnectionLostError:
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"certificate refused: {error.verify_message}"
        return ConnectionLostError(text, hint=_VERIFY_HINTS.get(error.verify_code, ""))
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return ConnectionLostError("the other side closed the connection", hint=_CLOSED)
    reason = error.reason or error.strerror or str(error)
    for part, text, hint in _REASONS:
        if part in reason:
            return ConnectionLostError(text, hint=hint)
    return ConnectionLostError(reason.replace("_", " ").lower())
