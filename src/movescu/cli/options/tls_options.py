"""Rows of the option table for TLS (PS3.15 annex B), named as in newer DCMTK versions."""

from __future__ import annotations

from movescu.cli.options.option import Group, Option, Section, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_WITH_TLS: Final = ("--enable-tls", "--anonymous-tls")
_FILE: Final = (Value("FILE", "file"),)
_NO_CHOICE: Final = "is not supported: OpenSSL and the system's random numbers decide this"
_PROFILE_ONLY: Final = "is not supported: the profiles are --profile-bcp195 and --profile-bcp195-nd"

_TLS: Final = (
    Option("-tls", "--disable-tls", "tls", "no TLS", None, default=True),
    Option(
        "+tls",
        "--enable-tls",
        "tls",
        "TLS in both directions, with this private key and certificate",
        takes=(Value("KEY", "file"), Value("CERT", "file")),
    ),
    Option(
        "+tla",
        "--anonymous-tls",
        "tls",
        "TLS to the archive, without a client certificate",
        ("", ""),
        conflicts=(("--port",),),
    ),
)

_TLS_KEY: Final = (
    Option("+ps", "--std-passwd", "tls_password", "ask for the password on the terminal", None, default=True),
    Option(
        "+pw",
        "--use-passwd",
        "tls_password",
        "use this password; other users can see it",
        takes=(Value("PASSWORD"),),
        needs=("--enable-tls",),
    ),
    Option("-pw", "--null-passwd", "tls_password", "use an empty password", "", needs=("--enable-tls",)),
    Option("-pem", "--pem-keys", "tls_key_format", "keys and certificates are PEM files", "pem", default=True),
    Option(
        "-der",
        "--der-keys",
        "tls_key_format",
        "keys and certificates are DER files",
        "der",
        refusal="is not supported: convert to PEM",
    ),
)

_TLS_TRUST: Final = (
    Option(
        "+cf",
        "--add-cert-file",
        "tls_trusted_files",
        "trust the certificates in this file; may be repeated",
        takes=_FILE,
        unset=(),
        repeats=True,
        needs=_WITH_TLS,
    ),
    Option(
        "+cd",
        "--add-cert-dir",
        "tls_trusted_directories",
        "trust the certificates in this directory, prepared by openssl rehash; may be repeated",
        takes=(Value("DIR", "directory"),),
        unset=(),
        repeats=True,
        needs=_WITH_TLS,
    ),
    Option(
        "+crl",
        "--add-crl-file",
        "tls_crl_files",
        "use this certificate revocation list; may be repeated",
        takes=_FILE,
        unset=(),
        repeats=True,
        needs=_WITH_TLS,
    ),
    *(
        Option(short, long, "", text, refusal="is not supported: +crl checks the certificate of the peer")
        for short, long, text in (
            ("+crv", "--enable-crl-vfy", "check the peer certificate for revocation"),
            ("+cra", "--enable-crl-all", "check the whole chain for revocation"),
        )
    ),
)

_TLS_PEER: Final = (
    Option("-rc", "--require-peer-cert", "tls_peer", "require a valid peer certificate", "require", default=True),
    Option(
        "-vc",
        "--verify-peer-cert",
        "tls_peer",
        "reject an invalid peer certificate; accept a peer without one",
        "verify",
        needs=_WITH_TLS,
    ),
    Option(
        "-ic",
        "--ignore-peer-cert",
        "tls_peer",
        "accept any peer; its identity is not verified",
        "ignore",
        needs=_WITH_TLS,
    ),
    Option(
        "",
        "--no-host-check",
        "tls_check_host",
        "accept a peer certificate for any host name",
        value=False,
        unset=True,
        needs=_WITH_TLS,
    ),
)

_TLS_PROFILE: Final = (
    Option("+px", "--profile-bcp195", "tls_profile", "BCP 195", "bcp195", default=True),
    Option("+py", "--profile-bcp195-nd", "tls_profile", "non-downgrading BCP 195", "bcp195-nd", needs=_WITH_TLS),
    *(
        Option(short, long, "", text, refusal=_PROFILE_ONLY)
        for short, long, text in (
            ("+pg", "--profile-8996", "BCP 195, RFC 8996"),
            ("+pm", "--profile-8996-mod", "modified BCP 195, RFC 8996"),
            ("+pz", "--profile-bcp195-ex", "extended BCP 195"),
            ("+pb", "--profile-basic", "Basic (retired)"),
            ("+pa", "--profile-aes", "AES (retired)"),
            ("+pn", "--profile-null", "no encryption"),
        )
    ),
    Option(
        "+cs",
        "--cipher",
        "tls_ciphers",
        "also offer this TLS 1.2 cipher suite; may be repeated",
        takes=(Value("NAME"),),
        unset=(),
        repeats=True,
        needs=_WITH_TLS,
    ),
    Option("+ph", "--list-profiles", "", "list the security profiles and exit"),
    Option("+cc", "--list-ciphers", "", "list the cipher suites and exit"),
    Option("+dp", "--dhparam", "", "Diffie-Hellman parameters", takes=_FILE, refusal=_NO_CHOICE),
    Option("+rs", "--seed", "", "random number seed", takes=_FILE, refusal=_NO_CHOICE),
    Option("+ws", "--write-seed", "", "write the random number seed back", refusal=_NO_CHOICE),
    Option(
        "+wf", "--write-seed-file", "", "write the random number seed to this file", takes=_FILE, refusal=_NO_CHOICE
    ),
)

_TLS_NAME: Final = (
    Option(
        "",
        "--no-sni",
        "tls_server_name",
        "request no server name",
        "",
        needs=("--no-host-check", "--ignore-peer-cert"),
    ),
    Option(
        "",
        "--request-sni",
        "tls_server_name",
        "request this server name, and expect it in the certificate",
        takes=(Value("NAME"),),
        missing="the host name of the archive",
        needs=_WITH_TLS,
    ),
    Option(
        "",
        "--expect-sni",
        "tls_expected_name",
        "accept only senders that request this server name",
        takes=(Value("NAME"),),
        needs=("--enable-tls",),
    ),
)

TLS_SECTION: Final = Section(
    "transport layer security (TLS)",
    (
        Group("use of TLS", _TLS),
        Group("private key", _TLS_KEY),
        Group("trusted certificates", _TLS_TRUST),
        Group("peer certificate", _TLS_PEER),
        Group("security profile and cipher suites", _TLS_PROFILE),
        Group("server name (SNI)", _TLS_NAME),
    ),
)
