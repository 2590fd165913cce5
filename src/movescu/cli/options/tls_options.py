"""The rows of the option table that concern TLS, with the names of newer DCMTK versions; ``transport.tls`` does it."""

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
        "TLS both ways, with this private key and certificate",
        takes=(Value("KEY", "file"), Value("CERT", "file")),
    ),
    Option(
        "+tla",
        "--anonymous-tls",
        "tls",
        "TLS without a certificate of our own",
        ("", ""),
        conflicts=(("--port",),),
    ),
)

_TLS_KEY: Final = (
    Option("+ps", "--std-passwd", "tls_password", "asked for on the terminal", None, default=True),
    Option("+pw", "--use-passwd", "tls_password", "this one", takes=(Value("PASSWORD"),), needs=("--enable-tls",)),
    Option("-pw", "--null-passwd", "tls_password", "none", "", needs=("--enable-tls",)),
    Option("-pem", "--pem-keys", "tls_key_format", "files are PEM", "pem", default=True),
    Option("-der", "--der-keys", "tls_key_format", "files are DER", "der", refusal="is not supported: convert to PEM"),
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
        "trust the certificates in this directory; may be repeated",
        takes=(Value("DIR", "directory"),),
        unset=(),
        repeats=True,
        needs=_WITH_TLS,
    ),
    Option(
        "+crl",
        "--add-crl-file",
        "tls_crl_files",
        "heed this revocation list; may be repeated",
        takes=_FILE,
        unset=(),
        repeats=True,
        needs=_WITH_TLS,
    ),
    *(
        Option(short, long, "", text, refusal="is not supported: +crl checks the certificate of the peer")
        for short, long, text in (
            ("+crv", "--enable-crl-vfy", "heed revocation lists"),
            ("+cra", "--enable-crl-all", "heed revocation lists for the whole chain"),
        )
    ),
)

_TLS_PEER: Final = (
    Option("-rc", "--require-peer-cert", "tls_peer", "has to have one, and a good one", "require", default=True),
    Option("-vc", "--verify-peer-cert", "tls_peer", "a good one, if any", "verify", needs=_WITH_TLS),
    Option("-ic", "--ignore-peer-cert", "tls_peer", "anything", "ignore", needs=_WITH_TLS),
    Option("", "--no-host-check", "tls_check_host", "of any host name", value=False, unset=True, needs=_WITH_TLS),
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
            ("+pn", "--profile-null", "without encryption"),
        )
    ),
    Option(
        "+cs",
        "--cipher",
        "tls_ciphers",
        "this cipher suite of TLS 1.2 too; may be repeated",
        takes=(Value("NAME"),),
        unset=(),
        repeats=True,
        needs=_WITH_TLS,
    ),
    Option("+ph", "--list-profiles", "", "list the profiles and exit"),
    Option("+cc", "--list-ciphers", "", "list the cipher suites and exit"),
    Option("+dp", "--dhparam", "", "parameters of Diffie-Hellman", takes=_FILE, refusal=_NO_CHOICE),
    Option("+rs", "--seed", "", "seed of random numbers", takes=_FILE, refusal=_NO_CHOICE),
    Option("+ws", "--write-seed", "", "write the seed back", refusal=_NO_CHOICE),
    Option("+wf", "--write-seed-file", "", "write the seed to a file", takes=_FILE, refusal=_NO_CHOICE),
)

_TLS_NAME: Final = (
    Option(
        "",
        "--no-sni",
        "tls_server_name",
        "ask for no name, which leaves none to check",
        "",
        needs=("--no-host-check", "--ignore-peer-cert"),
    ),
    Option(
        "",
        "--request-sni",
        "tls_server_name",
        "ask for this name, and expect it in the certificate",
        takes=(Value("NAME"),),
        missing="the host name of the archive",
        needs=_WITH_TLS,
    ),
    Option(
        "",
        "--expect-sni",
        "tls_expected_name",
        "serve those alone who ask for this name",
        takes=(Value("NAME"),),
        needs=("--enable-tls",),
    ),
)

TLS_SECTION: Final = Section(
    "transport layer security (TLS)",
    (
        Group("connections", _TLS),
        Group("password of the private key", _TLS_KEY),
        Group("certificates", _TLS_TRUST),
        Group("certificate of the peer", _TLS_PEER),
        Group("profile and cipher suites", _TLS_PROFILE),
        Group("server name (SNI)", _TLS_NAME),
    ),
)
