"""The option table: every option of the command line, as data.

Names, values, ranges and defaults are those of DCMTK's ``movescu``, so that a script can call either program; the
sentences are our own. The parser reads here what an option takes, sets, excludes and needs; the help, the manual page,
the page of options and the shell completions are generated from the same rows. No option has code of its own: an option
is a row here (some in ``tls_options``, ``completeness_options`` and ``query_options``) and a field of
``CommandSettings``. ``configuration`` turns the fields into the library's terms, ``query.key_text`` parses ``-k``.

An option's help is a noun phrase or an imperative, with the unit of its value. What stands before the first ``; `` is
also the option's line in the menus of the shells.
"""

from __future__ import annotations

from movescu.cli.options.completeness_options import ACCOUNTS, AFTERWARDS, COMPLETENESS, MANY
from movescu.cli.options.option import Group, Option, Parameter, Section, Value
from movescu.cli.options.query_options import QUERIES
from movescu.cli.options.tls_options import TLS_SECTION
from movescu.dictionary.uids import (
    ALL_TRANSFER_SYNTAXES,
    DEFLATED_LITTLE,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    TRANSFER_SYNTAXES,
    UNCOMPRESSED,
    TransferSyntax,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

PARAMETERS: Final = (
    Parameter(
        "peer", "host name or address of the archive; or TITLE@host:port without a port argument", Value("peer", "host")
    ),
    Parameter("port", "TCP port of the archive", Value("port", "integer", 1, 65535)),
)
QUERY_FILES: Final = Parameter(
    "query-file", "keys of one request, as a DICOM file, DICOM JSON or text", Value("query-file", "file")
)

_BIG_FIRST: Final = (EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE)
_DEFLATED_FIRST: Final = (DEFLATED_LITTLE, *UNCOMPRESSED)


def _then_uncompressed(uid: str) -> tuple[TransferSyntax, ...]:
    return (TRANSFER_SYNTAXES[f"1.2.840.10008.1.2.{uid}"], *UNCOMPRESSED)


_LITTLE_ENDIAN: Final = "explicit VR little endian, big endian, implicit VR"
_BIG_ENDIAN: Final = "explicit VR big endian, little endian, implicit VR"

_AE_TITLE: Final = (Value("TITLE", "title"),)
_SECONDS: Final = (Value("SEC", "seconds", 1),)
_LEVELS: Final = {level: level for level in ("fatal", "error", "warn", "info", "debug", "trace", "off")}
_VERBOSITY: Final = (("--verbose", "--debug", "--quiet"),)
_LAYOUTS: Final = {name: name for name in ("flat", "study", "patient", "bids-source")}
_NOT_B: Final = (("--bit-preserving",),)

# Short name, long name, help, last components of the transfer syntax UID (after 1.2.840.10008.1.2).
_COMPRESSED: Final = tuple(
    Option(short, long, "preferred", f"accept {text}, then uncompressed", _then_uncompressed(uid))
    for short, long, text, uid in (
        ("+xs", "--prefer-lossless", "JPEG lossless", "4.70"),
        ("+xy", "--prefer-jpeg8", "JPEG baseline (lossy, 8 bits)", "4.50"),
        ("+xx", "--prefer-jpeg12", "JPEG extended (lossy, 12 bits)", "4.51"),
        ("+xv", "--prefer-j2k-lossless", "JPEG 2000 lossless", "4.90"),
        ("+xw", "--prefer-j2k-lossy", "JPEG 2000, lossy or lossless", "4.91"),
        ("+xt", "--prefer-jls-lossless", "JPEG-LS lossless", "4.80"),
        ("+xu", "--prefer-jls-lossy", "JPEG-LS near-lossless", "4.81"),
        ("+xm", "--prefer-mpeg2", "MPEG-2 main level", "4.100"),
        ("+xh", "--prefer-mpeg2-high", "MPEG-2 high level", "4.101"),
        ("+xn", "--prefer-mpeg4", "H.264 level 4.1", "4.102"),
        ("+xl", "--prefer-mpeg4-bd", "H.264 level 4.1 for Blu-ray", "4.103"),
        ("+x2", "--prefer-mpeg4-2-2d", "H.264 level 4.2 for 2D video", "4.104"),
        ("+x3", "--prefer-mpeg4-2-3d", "H.264 level 4.2 for 3D video", "4.105"),
        ("+xo", "--prefer-mpeg4-2-st", "H.264 level 4.2 for stereo video", "4.106"),
        ("+x4", "--prefer-hevc", "H.265 main profile", "4.107"),
        ("+x5", "--prefer-hevc10", "H.265 main 10 profile", "4.108"),
        ("+xr", "--prefer-rle", "RLE lossless", "5"),
    )
)

_PREFERRED: Final = (
    Option("+x=", "--prefer-uncompr", "preferred", f"accept {_LITTLE_ENDIAN}", UNCOMPRESSED, default=True),
    Option("+xe", "--prefer-little", "preferred", f"accept {_LITTLE_ENDIAN}", UNCOMPRESSED),
    Option("+xb", "--prefer-big", "preferred", f"accept {_BIG_ENDIAN}", _BIG_FIRST),
    *_COMPRESSED,
    Option("+xd", "--prefer-deflated", "preferred", "accept deflated, then uncompressed", _DEFLATED_FIRST),
    Option("+xi", "--implicit", "preferred", "accept only implicit VR little endian", (IMPLICIT_LITTLE,)),
    Option(
        "+xa",
        "--accept-all",
        "preferred",
        "accept every transfer syntax, compressed before uncompressed",
        ALL_TRANSFER_SYNTAXES,
    ),
)

_GENERAL: Final = (
    Option("-h", "--help", "", "show help and exit; --help all lists every option, --help WORD those of a topic"),
    Option("", "--version", "", "show the version and exit"),
    Option("", "--arguments", "show_arguments", "log the arguments, with long option names", unset=False),
    Option("-q", "--quiet", "log_level", "log fatal errors only", "fatal", unset="warn", block="verbosity"),
    Option("-v", "--verbose", "log_level", "log each step and show progress", "info", unset="warn", block="verbosity"),
    Option(
        "-d",
        "--debug",
        "log_level",
        "log every detail, patient data included",
        "debug",
        unset="warn",
        block="verbosity",
    ),
    Option(
        "-ll",
        "--log-level",
        "log_level",
        "log at this level and above: fatal, error, warn, info, debug or trace",
        takes=(Value("LEVEL", "choice", choices=_LEVELS | {"all": "trace"}),),
        unset="warn",
        conflicts=_VERBOSITY,
    ),
    Option(
        "-lc",
        "--log-config",
        "log_config",
        "read the log's levels and outputs from this file",
        takes=(Value("FILE", "file"),),
        conflicts=(("--log-level",), *_VERBOSITY),
    ),
)

_KEYS: Final = (
    Option(
        "-k",
        "--key",
        "keys",
        "set a key of the request, gggg,eeee=value or Keyword=value; may be repeated",
        takes=(Value("KEY", "key"),),
        unset=(),
        repeats=True,
    ),
)

_MODEL: Final = (
    Option("-P", "--patient", "model", "Patient Root; requests name a PatientID", "PATIENT", default=True),
    Option("-S", "--study", "model", "Study Root; requests need no PatientID", "STUDY"),
    Option("-O", "--psonly", "model", "Patient/Study Only (retired)", "PSONLY"),
)

_TITLES: Final = (
    Option("-aet", "--aetitle", "calling_aet", "AE title of this program", takes=_AE_TITLE, unset="MOVESCU"),
    Option("-aec", "--call", "called_aet", "AE title of the archive", takes=_AE_TITLE, unset="ANY-SCP"),
    Option(
        "-aem",
        "--move",
        "move_destination",
        "move destination: AE title that the archive sends to",
        takes=_AE_TITLE,
        missing="that of --aetitle",
    ),
)

_PROPOSED: Final = (
    Option("-x=", "--propose-uncompr", "proposed", f"propose {_LITTLE_ENDIAN}", UNCOMPRESSED, default=True),
    Option("-xe", "--propose-little", "proposed", f"propose {_LITTLE_ENDIAN}", UNCOMPRESSED),
    Option("-xb", "--propose-big", "proposed", f"propose {_BIG_ENDIAN}", _BIG_FIRST),
    Option("-xd", "--propose-deflated", "proposed", "propose deflated, then uncompressed", _DEFLATED_FIRST),
    Option("-xi", "--propose-implicit", "proposed", "propose only implicit VR little endian", (IMPLICIT_LITTLE,)),
)

_ACCESS: Final = (
    Option("-ac", "--access-full", "access_control", "accept senders on any host", value=False, default=True),
    Option("+ac", "--access-control", "access_control", "apply the rules of hosts.allow and hosts.deny"),
)

_PORT: Final = (
    Option("", "--no-port", "listen_port", "receive nothing; the archive sends to a third party", None, default=True),
    Option(
        "+P",
        "--port",
        "listen_port",
        "receive objects on this TCP port",
        takes=(Value("NUMBER", "integer", 1, 65535),),
    ),
)

_SERVICE: Final = (
    Option(
        "",
        "--retrieve",
        "retrieve",
        "retrieve by move (C-MOVE), get (C-GET) or auto; get needs no port here, auto is C-GET where the "
        "archive accepts it, else C-MOVE",
        takes=(Value("SERVICE", "choice", choices={name: name for name in ("move", "get", "auto")}),),
        unset="move",
        stands_for={"get": ("--port",), "auto": ("--port",)},
    ),
)

_PENDING: Final = (
    Option(
        "-pi",
        "--pending-ignore",
        "pending_read",
        "expect no data set, despite the announcement",
        value=False,
        default=True,
    ),
    Option("-pr", "--pending-read", "pending_read", "read the data set and discard it"),
)

_NETWORK: Final = (
    Option("-to", "--timeout", "connect_timeout", "connection timeout, in seconds", takes=_SECONDS, unset=30.0),
    Option(
        "-ta",
        "--acse-timeout",
        "acse_timeout",
        "timeout for association negotiation and release, in seconds",
        takes=_SECONDS,
        unset=30.0,
    ),
    Option(
        "-td",
        "--dimse-timeout",
        "dimse_timeout",
        "timeout for each DIMSE message, in seconds",
        takes=_SECONDS,
        missing="no limit",
    ),
    Option(
        "-pdu",
        "--max-pdu",
        "max_pdu",
        "largest PDU to receive, in bytes; auto chooses the fastest",
        takes=(Value("BYTES", "integer", 4096, 131072, {"auto": 131072}),),
        unset=16384,
    ),
    Option(
        "-dhl",
        "--disable-host-lookup",
        "host_lookup",
        "do not look up the host names of senders",
        value=False,
        unset=True,
    ),
    Option("", "--repeat", "repeat", "send each request N times", takes=(Value("N", "integer", 1),), unset=1),
    Option("", "--abort", "abort", "end the association with an abort, not a release", unset=False),
    Option("", "--ignore", "ignore", "receive objects without storing them", unset=False),
    Option(
        "",
        "--cancel",
        "cancel_after",
        "cancel a request (C-CANCEL) after N pending responses; 0: never",
        takes=(Value("N", "integer", 0),),
        unset=0,
        missing="0",
    ),
    Option("-up", "--uid-padding", "uid_padding", "trim blanks around UIDs without a warning", unset=False),
)

_DIRECTORY: Final = (
    Option(
        "-od",
        "--output-directory",
        "output_directory",
        "existing directory for received objects",
        takes=(Value("DIR", "directory"),),
        unset=".",
        conflicts=(("--query",),),
        needs=("--port",),
    ),
)

_BIT_PRESERVING: Final = (
    Option("-B", "--normal", "bit_preserving", "write data sets in canonical encoding", value=False, default=True),
    Option("+B", "--bit-preserving", "bit_preserving", "write data sets byte for byte as received"),
)

_FILE_FORMAT: Final = (
    Option("+F", "--write-file", "write_file_format", "write DICOM files, with file meta information", default=True),
    Option("-F", "--write-dataset", "write_file_format", "write bare data sets, no file meta information", value=False),
)

# Writing compressed pixel data in another transfer syntax would mean decompressing it, which this program never does.
_NOT_COMPRESSED: Final = (*_NOT_B, ("--accept-all",), *((option.long,) for option in _COMPRESSED))

_WRITE_SYNTAX: Final = (
    Option("+t=", "--write-xfer-same", "write_syntax", "keep the transfer syntax received", None, default=True),
    *(
        Option(short, long, "write_syntax", text, syntax, conflicts=_NOT_COMPRESSED)
        for short, long, text, syntax in (
            ("+te", "--write-xfer-little", "write explicit VR little endian", EXPLICIT_LITTLE),
            ("+tb", "--write-xfer-big", "write explicit VR big endian", EXPLICIT_BIG),
            ("+ti", "--write-xfer-implicit", "write implicit VR little endian", IMPLICIT_LITTLE),
            ("+td", "--write-xfer-deflated", "write deflated explicit VR little endian", DEFLATED_LITTLE),
        )
    ),
)

_NEW_VR: Final = (
    Option("+u", "--enable-new-vr", "new_vr", "keep new value representations", default=True, conflicts=_NOT_B),
    Option("-u", "--disable-new-vr", "new_vr", "write new value representations as OB", value=False, conflicts=_NOT_B),
)

_GROUP_LENGTH: Final = tuple(
    Option(short, long, "group_length", text, value, default=short == "+g=", conflicts=_NOT_B)
    for short, long, text, value in (
        ("+g=", "--group-length-recalc", "correct the group lengths present", "recalculate"),
        ("+g", "--group-length-create", "write a group length for every group", "create"),
        ("-g", "--group-length-remove", "write no group lengths", "remove"),
    )
)

_LENGTHS: Final = (
    Option("+e", "--length-explicit", "explicit_length", "write explicit lengths", default=True, conflicts=_NOT_B),
    Option(
        "-e",
        "--length-undefined",
        "explicit_length",
        "write undefined lengths and delimiters",
        value=False,
        conflicts=_NOT_B,
    ),
)

_PADDING: Final = (
    Option("-p", "--padding-off", "padding", "remove padding", (0, 0), default=True),
    Option(
        "+p",
        "--padding-create",
        "padding",
        "pad the file to a multiple of F bytes and each item to a multiple of I bytes; 0: do not pad",
        takes=(Value("F", "integer", 0), Value("I", "integer", 0)),
        conflicts=(("--write-dataset",), ("--bit-preserving",)),
    ),
)

_COMPRESSION: Final = (
    Option(
        "+cl",
        "--compression-level",
        "compression_level",
        "level of deflate compression: 0 none, 1 fastest, 9 smallest",
        takes=(Value("N", "integer", 0, 9),),
        unset=6,
        needs=("--propose-deflated", "--write-xfer-deflated", "--write-xfer-same"),
    ),
)

_SHELLS: Final = {name: name for name in ("bash", "zsh", "fish", "keywords", "sites")}

_OURS: Final = (
    Option(
        "",
        "--completion",
        "",
        "print a completion script for bash, zsh or fish, and exit",
        takes=(Value("SHELL", "choice", choices=_SHELLS, internal=("keywords", "sites")),),
    ),
    Option(
        "",
        "--durable",
        "durable",
        "flush files to disk: object (each by itself), end (all before the exit) or off",
        takes=(Value("WHEN", "choice", choices={"end": "end", "object": "object", "off": "off"}),),
        unset="end",
    ),
    Option(
        "",
        "--layout",
        "layout",
        "folders and names of files: flat, study, patient, bids-source, or a template such as "
        "{StudyDate}/{SOPInstanceUID}.dcm",
        takes=(Value("LAYOUT", "layout", choices=_LAYOUTS),),
        unset="flat",
        needs=("--port",),
        conflicts=(
            ("--query",),
            ("--ignore",),
        ),
    ),
    Option("", "--keys-only", "keys_only", "send only the level and the unique keys of a query file", unset=False),
    Option("", "--accept-unknown", "accept_unknown", "accept unknown storage SOP classes too", unset=False),
    Option(
        "",
        "--accept-nonstandard",
        "accept_nonstandard",
        "accept transfer syntaxes that this program does not know, and UIDs of more than 64 characters",
        unset=False,
        needs=("--bit-preserving",),
    ),
    Option(
        "",
        "--allow-aet",
        "allowed_aets",
        "accept senders with this AE title only; may be repeated",
        takes=_AE_TITLE,
        unset=(),
        repeats=True,
        needs=("--port",),
    ),
    Option(
        "",
        "--require-called-aet",
        "require_called_aet",
        "accept only senders that call the move destination's AE title",
        unset=False,
        needs=("--port",),
    ),
    Option(
        "",
        "--accept-from",
        "accept_from",
        "accept connections from this host or network (192.168.1.0/24) only; may be repeated",
        takes=(Value("HOST|NET", "host"),),
        unset=(),
        repeats=True,
        needs=("--port",),
    ),
    Option(
        "",
        "--only-requested",
        "only_requested",
        "refuse objects that no running request named",
        unset=False,
        needs=("--port",),
    ),
    Option(
        "",
        "--listen",
        "listen_address",
        "local address to receive on",
        takes=(Value("ADDRESS", "host"),),
        unset="",
        missing="all",
        needs=("--port",),
    ),
    Option(
        "",
        "--max-associations",
        "max_associations",
        "accept at most N associations at once",
        takes=(Value("N", "integer", 1, 1024),),
        unset=64,
        needs=("--port",),
    ),
    Option(
        "",
        "--max-inflated",
        "max_inflated",
        "refuse deflated objects that inflate to more than this, in MiB",
        takes=(Value("MIB", "integer", 1, 4096),),
        unset=1024,
        needs=("--port",),
    ),
    Option(
        "",
        "--priority",
        "priority",
        "priority of the requests: low, medium or high",
        takes=(Value("PRIORITY", "choice", choices={"low": 2, "medium": 0, "high": 1}),),
        unset=0,
        missing="medium",
    ),
    Option(
        "",
        "--relational",
        "relational",
        "negotiate relational retrieval; requests may omit the unique keys of upper levels",
        unset=False,
    ),
    Option(
        "",
        "--enhanced-conversion",
        "enhanced_conversion",
        "negotiate conversion to enhanced multi-frame images",
        unset=False,
    ),
)

_TIME_LIMITS: Final = (
    Option(
        "",
        "--linger",
        "linger",
        "wait for objects that the archive counted and that have not arrived; give up after SEC seconds of silence; "
        "by default only 2 after a success that counted no object, if none arrived",
        takes=(Value("SEC", "seconds", 0),),
        unset=10.0,
    ),
    Option(
        "",
        "--store-timeout",
        "store_timeout",
        "abort a storage association after SEC seconds of silence within a message or after the final response",
        takes=_SECONDS,
        unset=60.0,
    ),
    Option(
        "",
        "--stall-timeout",
        "stall_timeout",
        "give up after SEC seconds without a new object or a changed count; 0: never",
        takes=(Value("SEC", "seconds", 0),),
        unset=3600.0,
    ),
    Option(
        "",
        "--total-timeout",
        "total_timeout",
        "give up when the retrieve takes more than SEC seconds; 0: never",
        takes=(Value("SEC", "seconds", 0),),
        unset=0.0,
        missing="0",
    ),
)

_USER: Final = (
    Option(
        "",
        "--user",
        "user_name",
        "name of the user, sent with the association request",
        takes=(Value("NAME"),),
        block="identity",
    ),
    Option(
        "",
        "--password-file",
        "password_file",
        "file with the user's passcode; without it, MOVESCU_PASSWORD",
        takes=(Value("FILE", "file"),),
        needs=("--user",),
    ),
    *(
        Option("", long, field, text, takes=(Value("FILE", "file"),), block="identity")
        for long, field, text in (
            ("--kerberos", "kerberos_file", "file with a Kerberos service ticket"),
            ("--saml", "saml_file", "file with a SAML assertion"),
            ("--jwt", "jwt_file", "file with a JSON Web Token"),
        )
    ),
)

_IP: Final = (
    Option("-i4", "--ipv4", "ip", "use IPv4 only", "4", default=True),
    Option("-i6", "--ipv6", "ip", "use IPv6 only", "6"),
    Option("-i0", "--ip-auto", "ip", "use either, as host names resolve", "auto"),
)

_CONVENIENCE: Final = (
    Option(
        "",
        "--site",
        "site",
        "read options, peer and port from this site of sites.toml; the command line wins",
        takes=(Value("NAME", "site"),),
    ),
    Option("", "--setup", "", "set up a site: ask for the archive's address, test each answer, and write sites.toml"),
    Option("", "--sites", "", "list the sites of sites.toml and exit"),
    Option(
        "",
        "--check",
        "check",
        "test the connection step by step; with keys and --port, retrieve one object and discard it",
        unset=False,
    ),
    Option("", "--no-progress", "progress", "do not show live progress on a terminal", value=False, unset=True),
)

_NOT_WITH_B: Final = "not with --bit-preserving"

SECTIONS: Final = (
    Section("general options", (Group("", _GENERAL),)),
    Section(
        "network options",
        (
            Group("keys of the request", _KEYS),
            Group("information model", _MODEL),
            Group("AE titles", _TITLES),
            Group("transfer syntaxes accepted from senders, by preference", _PREFERRED),
            Group("transfer syntaxes proposed to the archive", _PROPOSED),
            Group("host access control", _ACCESS),
            Group("receiving port", _PORT),
            Group("pending responses that wrongly announce a data set", _PENDING),
            Group("IP version", _IP),
            Group("other network options", _NETWORK),
        ),
    ),
    TLS_SECTION,
    Section(
        "output options",
        (
            Group("directory", _DIRECTORY, "only with --port"),
            Group("bit preservation", _BIT_PRESERVING),
            Group("file format", _FILE_FORMAT),
            Group("transfer syntax", _WRITE_SYNTAX, f"{_NOT_WITH_B} or compressed transmission"),
            Group("value representations introduced since 1993", _NEW_VR, _NOT_WITH_B),
            Group("group length elements", _GROUP_LENGTH, _NOT_WITH_B),
            Group("length of sequences and items", _LENGTHS, _NOT_WITH_B),
            Group("trailing padding", _PADDING, "not with --write-dataset or --bit-preserving"),
            Group("compression level", _COMPRESSION, "only with -xd, --write-xfer-deflated or --write-xfer-same"),
        ),
    ),
    Section(
        "options that DCMTK does not have",
        (
            Group("the service that retrieves", _SERVICE),
            Group("", _OURS),
            Group("sites, checks and progress", _CONVENIENCE),
            Group("queries, and the choice of studies and series", QUERIES),
            Group("completeness", COMPLETENESS, "only with --port"),
            Group("lists of requests, and load on the archive", MANY),
            Group("commands for complete studies, and checksums", AFTERWARDS),
            Group("output for programs", ACCOUNTS),
            Group("time limits", _TIME_LIMITS),
            Group("user identity", _USER),
        ),
    ),
)

OPTIONS: Final = tuple(option for section in SECTIONS for group in section.groups for option in group.options)
"""All options, in the order of the help, in which the parser also checks them."""

NAMES: Final[dict[str, Option]] = {name: option for option in OPTIONS for name in (option.short, option.long) if name}
"""Options by short and by long name."""
