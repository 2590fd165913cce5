"""The option table: every option of the command line, as data.

The names, values, ranges and defaults are those of DCMTK's ``movescu``, so that a script which calls the one can call
the other; the sentences are our own. From this table the parser reads what an option takes, sets, excludes and needs;
the help text, the manual page and the shell completions are made from it too. There is no code for a single option
anywhere: an option is a row here (those of TLS in ``tls_options``,
of completeness in ``completeness_options``) and a field of ``CommandSettings``.
What the values mean to the rest of the program, and how ``-k`` keys are read, is left to others.
"""

from __future__ import annotations

from movescu.cli.options.completeness_options import ACCOUNTS, COMPLETENESS, MANY
from movescu.cli.options.option import Group, Option, Parameter, Section, Value
from movescu.cli.options.tls_options import TLS_SECTION
from movescu.dictionary.uids import (
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
    from collections.abc import Iterable
    from typing import Final

PARAMETERS: Final = (
    Parameter("peer", "host name or address of the archive", Value("peer", "host")),
    Parameter("port", "TCP port of the archive", Value("port", "integer", 1, 65535)),
)
QUERY_FILES: Final = Parameter(
    "query-file", "keys of one request: a DICOM file, DICOM JSON or text", Value("query-file", "file")
)

_BIG_FIRST: Final = (EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE)
_DEFLATED_FIRST: Final = (DEFLATED_LITTLE, *UNCOMPRESSED)


def _then_uncompressed(uid: str) -> tuple[TransferSyntax, ...]:
    return (TRANSFER_SYNTAXES[f"1.2.840.10008.1.2.{uid}"], *UNCOMPRESSED)


def _all(first: Iterable[str]) -> tuple[TransferSyntax, ...]:
    """Put the encapsulated syntaxes in ``first`` before all other encapsulated ones, and the native ones last."""
    ahead = dict.fromkeys(f"1.2.840.10008.1.2.{uid}" for uid in first)
    encapsulated = dict.fromkeys(syntax.uid for syntax in TRANSFER_SYNTAXES.values() if syntax.encapsulated)
    return (*(TRANSFER_SYNTAXES[uid] for uid in ahead | encapsulated), *_DEFLATED_FIRST)


# DCMTK's order of preference for --accept-all. When a sender offers several of these for one class, the first of
# them is taken, so this order decides what is on disk afterwards.
_ACCEPT_ALL_FIRST: Final = (
    "4.91",
    "4.90",
    "4.51",
    "4.50",
    "4.70",
    "4.81",
    "4.80",
    "5",
    "4.100",
    "4.101",
    "4.102",
    "4.103",
    "4.104",
    "4.105",
    "4.106",
    "4.107",
    "4.108",
)

_AE_TITLE: Final = (Value("TITLE", "title"),)
_SECONDS: Final = (Value("SEC", "seconds", 1),)
_LEVELS: Final = {level: level for level in ("fatal", "error", "warn", "info", "debug", "trace", "off")}
_VERBOSITY: Final = (("--verbose", "--debug", "--quiet"),)
_NOT_B: Final = (("--bit-preserving",),)

# Short name, long name, help, transfer syntax (its UID after 1.2.840.10008.1.2).
_COMPRESSED: Final = tuple(
    Option(short, long, "preferred", text, _then_uncompressed(uid))
    for short, long, text, uid in (
        ("+xs", "--prefer-lossless", "JPEG lossless first", "4.70"),
        ("+xy", "--prefer-jpeg8", "JPEG lossy of 8 bit first", "4.50"),
        ("+xx", "--prefer-jpeg12", "JPEG lossy of 12 bit first", "4.51"),
        ("+xv", "--prefer-j2k-lossless", "JPEG 2000 lossless first", "4.90"),
        ("+xw", "--prefer-j2k-lossy", "JPEG 2000 lossy first", "4.91"),
        ("+xt", "--prefer-jls-lossless", "JPEG-LS lossless first", "4.80"),
        ("+xu", "--prefer-jls-lossy", "JPEG-LS lossy first", "4.81"),
        ("+xm", "--prefer-mpeg2", "MPEG2 main level first", "4.100"),
        ("+xh", "--prefer-mpeg2-high", "MPEG2 high level first", "4.101"),
        ("+xn", "--prefer-mpeg4", "H.264 level 4.1 first", "4.102"),
        ("+xl", "--prefer-mpeg4-bd", "H.264 level 4.1 for BD first", "4.103"),
        ("+x2", "--prefer-mpeg4-2-2d", "H.264 level 4.2 for 2D first", "4.104"),
        ("+x3", "--prefer-mpeg4-2-3d", "H.264 level 4.2 for 3D first", "4.105"),
        ("+xo", "--prefer-mpeg4-2-st", "H.264 level 4.2 stereo first", "4.106"),
        ("+x4", "--prefer-hevc", "H.265 main profile first", "4.107"),
        ("+x5", "--prefer-hevc10", "H.265 main 10 profile first", "4.108"),
        ("+xr", "--prefer-rle", "RLE first", "5"),
    )
)

_PREFERRED: Final = (
    Option("+x=", "--prefer-uncompr", "preferred", "explicit VR little endian first", UNCOMPRESSED, default=True),
    Option("+xe", "--prefer-little", "preferred", "explicit VR little endian first", UNCOMPRESSED),
    Option("+xb", "--prefer-big", "preferred", "explicit VR big endian first", _BIG_FIRST),
    *_COMPRESSED,
    Option("+xd", "--prefer-deflated", "preferred", "deflated first", _DEFLATED_FIRST),
    Option("+xi", "--implicit", "preferred", "implicit VR little endian and nothing else", (IMPLICIT_LITTLE,)),
    Option("+xa", "--accept-all", "preferred", "everything, compressed before native", _all(_ACCEPT_ALL_FIRST)),
)

_GENERAL: Final = (
    Option("-h", "--help", "", "show the help and end; --help all shows every option"),
    Option("", "--version", "", "show the version and end"),
    Option("", "--arguments", "show_arguments", "log the arguments with long option names", unset=False),
    Option("-q", "--quiet", "log_level", "log fatal errors only", "fatal", unset="warn", block="verbosity"),
    Option("-v", "--verbose", "log_level", "log what is done, show progress", "info", unset="warn", block="verbosity"),
    Option("-d", "--debug", "log_level", "log every detail", "debug", unset="warn", block="verbosity"),
    Option(
        "-ll",
        "--log-level",
        "log_level",
        "log from this level on: fatal, error, warn, info, debug or trace",
        takes=(Value("LEVEL", "choice", choices=_LEVELS | {"all": "trace"}),),
        unset="warn",
        conflicts=_VERBOSITY,
    ),
    Option(
        "-lc",
        "--log-config",
        "log_config",
        "take levels and destinations of the log from this file",
        takes=(Value("FILE", "file"),),
        conflicts=(("--log-level",), *_VERBOSITY),
    ),
)

_KEYS: Final = (
    Option(
        "-k",
        "--key",
        "keys",
        "set a key of the request: gggg,eeee=value or Keyword=value; may be repeated",
        takes=(Value("KEY", "key"),),
        unset=(),
        repeats=True,
    ),
)

_MODEL: Final = (
    Option("-P", "--patient", "model", "Patient Root", "PATIENT", default=True),
    Option("-S", "--study", "model", "Study Root", "STUDY"),
    Option("-O", "--psonly", "model", "Patient/Study Only (retired)", "PSONLY"),
)

_TITLES: Final = (
    Option("-aet", "--aetitle", "calling_aet", "our own AE title", takes=_AE_TITLE, unset="MOVESCU"),
    Option("-aec", "--call", "called_aet", "AE title of the archive", takes=_AE_TITLE, unset="ANY-SCP"),
    Option(
        "-aem",
        "--move",
        "move_destination",
        "AE title to which the archive shall send",
        takes=_AE_TITLE,
        missing="our own",
    ),
)

_PROPOSED: Final = (
    Option(
        "-x=", "--propose-uncompr", "proposed", "native ones, explicit little endian first", UNCOMPRESSED, default=True
    ),
    Option("-xe", "--propose-little", "proposed", "native ones, explicit little endian first", UNCOMPRESSED),
    Option("-xb", "--propose-big", "proposed", "native ones, explicit big endian first", _BIG_FIRST),
    Option("-xd", "--propose-deflated", "proposed", "deflated, then the native ones", _DEFLATED_FIRST),
    Option("-xi", "--propose-implicit", "proposed", "implicit VR little endian alone", (IMPLICIT_LITTLE,)),
)

_ACCESS: Final = (
    Option("-ac", "--access-full", "access_control", "serve any host", value=False, default=True),
    Option("+ac", "--access-control", "access_control", "obey hosts.allow and hosts.deny"),
)

_PORT: Final = (
    Option("", "--no-port", "listen_port", "receive nothing ourselves", None, default=True),
    Option(
        "+P",
        "--port",
        "listen_port",
        "receive the objects on this TCP port",
        takes=(Value("NUMBER", "integer", 1, 65535),),
    ),
)

_PENDING: Final = (
    Option("-pi", "--pending-ignore", "pending_read", "take it that none follows", value=False, default=True),
    Option("-pr", "--pending-read", "pending_read", "read it and throw it away"),
)

_NETWORK: Final = (
    Option("-to", "--timeout", "connect_timeout", "wait so long for a connection", takes=_SECONDS, unset=30.0),
    Option("-ta", "--acse-timeout", "acse_timeout", "wait so long for an association", takes=_SECONDS, unset=30.0),
    Option("-td", "--dimse-timeout", "dimse_timeout", "wait so long for a message", takes=_SECONDS, missing="no limit"),
    Option(
        "-pdu",
        "--max-pdu",
        "max_pdu",
        "largest PDU we receive, in bytes, or auto: the fastest",
        takes=(Value("BYTES", "integer", 4096, 131072, {"auto": 131072}),),
        unset=16384,
    ),
    Option("-dhl", "--disable-host-lookup", "host_lookup", "do not look up host names", value=False, unset=True),
    Option("", "--repeat", "repeat", "send each request so often", takes=(Value("TIMES", "integer", 1),), unset=1),
    Option("", "--abort", "abort", "end with an abort, not a release", unset=False),
    Option("", "--ignore", "ignore", "receive objects but store none", unset=False),
    Option(
        "",
        "--cancel",
        "cancel_after",
        "cancel after so many pending responses, 0 = never",
        takes=(Value("COUNT", "integer", 0),),
        unset=0,
    ),
    Option("-up", "--uid-padding", "uid_padding", "remove blanks around UIDs without a warning", unset=False),
)

_DIRECTORY: Final = (
    Option(
        "-od",
        "--output-directory",
        "output_directory",
        "existing directory to write to",
        takes=(Value("DIR", "directory"),),
        unset=".",
        needs=("--port",),
    ),
)

_BIT_PRESERVING: Final = (
    Option("-B", "--normal", "bit_preserving", "write canonical encoding", value=False, default=True),
    Option("+B", "--bit-preserving", "bit_preserving", "write data sets as they were received"),
)

_FILE_FORMAT: Final = (
    Option("+F", "--write-file", "write_file_format", "DICOM file with meta information", default=True),
    Option("-F", "--write-dataset", "write_file_format", "data set alone", value=False),
)

# A data set with compressed pixel data cannot be written in another transfer syntax without decompressing it.
_NOT_COMPRESSED: Final = (*_NOT_B, ("--accept-all",), *((option.long,) for option in _COMPRESSED))

_WRITE_SYNTAX: Final = (
    Option("+t=", "--write-xfer-same", "write_syntax", "the one received", None, default=True),
    *(
        Option(short, long, "write_syntax", text, syntax, conflicts=_NOT_COMPRESSED)
        for short, long, text, syntax in (
            ("+te", "--write-xfer-little", "explicit VR little endian", EXPLICIT_LITTLE),
            ("+tb", "--write-xfer-big", "explicit VR big endian", EXPLICIT_BIG),
            ("+ti", "--write-xfer-implicit", "implicit VR little endian", IMPLICIT_LITTLE),
            ("+td", "--write-xfer-deflated", "deflated explicit VR little endian", DEFLATED_LITTLE),
        )
    ),
)

_NEW_VR: Final = (
    Option("+u", "--enable-new-vr", "new_vr", "write them as they are", default=True, conflicts=_NOT_B),
    Option("-u", "--disable-new-vr", "new_vr", "write them as OB", value=False, conflicts=_NOT_B),
)

_GROUP_LENGTH: Final = tuple(
    Option(short, long, "group_length", text, value, default=short == "+g=", conflicts=_NOT_B)
    for short, long, text, value in (
        ("+g=", "--group-length-recalc", "correct those that are there", "recalculate"),
        ("+g", "--group-length-create", "write one for every group", "create"),
        ("-g", "--group-length-remove", "write none", "remove"),
    )
)

_LENGTHS: Final = (
    Option("+e", "--length-explicit", "explicit_length", "as lengths", default=True, conflicts=_NOT_B),
    Option("-e", "--length-undefined", "explicit_length", "as delimiters", value=False, conflicts=_NOT_B),
)

_PADDING: Final = (
    Option("-p", "--padding-off", "padding", "remove any", (0, 0), default=True),
    Option(
        "+p",
        "--padding-create",
        "padding",
        "bring the file and each item to multiples of these lengths, 0 = not",
        takes=(Value("F", "integer", 0), Value("I", "integer", 0)),
        conflicts=(("--write-dataset",), ("--bit-preserving",)),
    ),
)

_COMPRESSION: Final = (
    Option(
        "+cl",
        "--compression-level",
        "compression_level",
        "0 = none, 1 = fastest, 9 = smallest",
        takes=(Value("N", "integer", 0, 9),),
        unset=6,
        needs=("--propose-deflated", "--write-xfer-deflated", "--write-xfer-same"),
    ),
)

_OURS: Final = (
    Option(
        "",
        "--completion",
        "",
        "show what makes this shell complete options and values, and end: bash, zsh or fish",
        takes=(
            Value("SHELL", "choice", choices={name: name for name in ("bash", "zsh", "fish", "keywords", "sites")}),
        ),
    ),
    Option(
        "",
        "--durable",
        "durable",
        "flush files to disk: each object, or all at the end, or off",
        takes=(Value("WHEN", "choice", choices={"end": "end", "object": "object", "off": "off"}),),
        unset="end",
    ),
    Option(
        "",
        "--layout",
        "layout",
        "store into folders: flat, study, patient, bids-source, or a template such as "
        "{PatientID}/{SeriesNumber:04}/{SOPInstanceUID}.dcm",
        takes=(Value("LAYOUT"),),
        unset="flat",
        needs=("--port",),
        conflicts=(("--ignore",),),
    ),
    Option(
        "", "--keys-only", "keys_only", "take from a query file only the level and the model's unique keys", unset=False
    ),
    Option("", "--accept-unknown", "accept_unknown", "receive unknown storage classes too", unset=False),
    Option(
        "",
        "--allow-aet",
        "allowed_aets",
        "let this AE title alone store; may be repeated",
        takes=_AE_TITLE,
        unset=(),
        repeats=True,
        needs=("--port",),
    ),
    Option(
        "",
        "--require-called-aet",
        "require_called_aet",
        "let none store that calls another AE title than the move destination",
        unset=False,
        needs=("--port",),
    ),
    Option(
        "",
        "--listen",
        "listen_address",
        "receive on this address of ours alone",
        takes=(Value("ADDRESS", "host"),),
        unset="",
        needs=("--port",),
    ),
    Option(
        "",
        "--max-associations",
        "max_associations",
        "serve so many senders at once",
        takes=(Value("NUMBER", "integer", 1, 1024),),
        unset=64,
        needs=("--port",),
    ),
    Option(
        "",
        "--max-inflated",
        "max_inflated",
        "refuse a deflated object that grows beyond this",
        takes=(Value("MIB", "integer", 1, 4096),),
        unset=1024,
        needs=("--port",),
    ),
    Option(
        "",
        "--priority",
        "priority",
        "ask with this priority: low, medium or high",
        takes=(Value("PRIORITY", "choice", choices={"low": 2, "medium": 0, "high": 1}),),
        unset=0,
    ),
    Option("", "--relational", "relational", "negotiate relational retrieval", unset=False),
    Option("", "--enhanced-conversion", "enhanced_conversion", "negotiate conversion to enhanced images", unset=False),
)

_PATIENCE: Final = (
    Option(
        "",
        "--linger",
        "linger",
        "await objects that the archive counted and that are still to come, in silence, so long",
        takes=(Value("SECONDS", "seconds", 0),),
        unset=10.0,
    ),
    Option(
        "",
        "--store-timeout",
        "store_timeout",
        "end a storage association that is silent so long in a message, or after the final response",
        takes=_SECONDS,
        unset=60.0,
    ),
    Option(
        "",
        "--stall-timeout",
        "stall_timeout",
        "give up when no object has come, and no count changed, so long, 0 = never",
        takes=(Value("SECONDS", "seconds", 0),),
        unset=3600.0,
    ),
    Option(
        "",
        "--total-timeout",
        "total_timeout",
        "give up when the whole retrieve takes longer, 0 = never",
        takes=(Value("SECONDS", "seconds", 0),),
        unset=0.0,
    ),
)

_USER: Final = (
    Option("", "--user", "user_name", "say who asks", takes=(Value("NAME"),), block="identity"),
    Option(
        "",
        "--password-file",
        "password_file",
        "with the passcode in this file (or in MOVESCU_PASSWORD)",
        takes=(Value("FILE", "file"),),
        needs=("--user",),
    ),
    *(
        Option("", long, field, text, takes=(Value("FILE", "file"),), block="identity")
        for long, field, text in (
            ("--kerberos", "kerberos_file", "the Kerberos service ticket in this file"),
            ("--saml", "saml_file", "the SAML assertion in this file"),
            ("--jwt", "jwt_file", "the JSON Web Token in this file"),
        )
    ),
)

_IP: Final = (
    Option("-i4", "--ipv4", "ip", "IPv4 alone", "4", default=True),
    Option("-i6", "--ipv6", "ip", "IPv6 alone", "6"),
    Option("-i0", "--ip-auto", "ip", "both, as names resolve", "auto"),
)

_CONVENIENCE: Final = (
    Option(
        "",
        "--site",
        "site",
        "take what is not given here from this site of sites.toml, peer and port among it",
        takes=(Value("NAME", "site"),),
    ),
    Option(
        "",
        "--check",
        "check",
        "retrieve nothing: go the way step by step and say what works and what to do",
        unset=False,
    ),
    Option("", "--no-progress", "progress", "show no live progress on a terminal", value=False, unset=True),
)

_NOT_WITH_B: Final = "not with --bit-preserving"

SECTIONS: Final = (
    Section("general options", (Group("", _GENERAL),)),
    Section(
        "network options",
        (
            Group("keys", _KEYS),
            Group("query model", _MODEL),
            Group("AE titles", _TITLES),
            Group("transfer syntaxes preferred when objects come in", _PREFERRED),
            Group("transfer syntaxes proposed for the request", _PROPOSED),
            Group("who may send to us", _ACCESS),
            Group("receiving", _PORT),
            Group("a data set announced by a pending response, where none may be", _PENDING),
            Group("IP version", _IP),
            Group("other network options", _NETWORK),
        ),
    ),
    TLS_SECTION,
    Section(
        "output options",
        (
            Group("place", _DIRECTORY, "only with --port"),
            Group("bit preserving mode", _BIT_PRESERVING),
            Group("file format", _FILE_FORMAT),
            Group("transfer syntax", _WRITE_SYNTAX, f"{_NOT_WITH_B} or compressed transmission"),
            Group("value representations younger than 1993", _NEW_VR, _NOT_WITH_B),
            Group("group lengths", _GROUP_LENGTH, _NOT_WITH_B),
            Group("lengths of sequences and items", _LENGTHS, _NOT_WITH_B),
            Group("trailing padding", _PADDING, "not with --write-dataset or --bit-preserving"),
            Group("deflate level", _COMPRESSION, "only with -xd, --write-xfer-deflated or --write-xfer-same"),
        ),
    ),
    Section(
        "options that only this movescu has",
        (
            Group("", _OURS),
            Group("convenience", _CONVENIENCE),
            Group("completeness", COMPLETENESS, "only with --port"),
            Group("many requests, and archives that must not be disturbed", MANY),
            Group("for programs", ACCOUNTS),
            Group("patience", _PATIENCE),
            Group("user identity", _USER),
        ),
    ),
)

OPTIONS: Final = tuple(option for section in SECTIONS for group in section.groups for option in group.options)
"""All options, in the order of the help, which is also the order in which they are checked."""

NAMES: Final[dict[str, Option]] = {name: option for option in OPTIONS for name in (option.short, option.long) if name}
"""Options by their short and by their long names."""
