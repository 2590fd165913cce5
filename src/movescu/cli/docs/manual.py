"""Manual page in roff (man(7)), generated from the option table, the exit codes and the sections written here.

``tools/make_manual.py`` writes it to ``docs/movescu.1``, which is installed with the package. The sections written here
are plain paragraphs: words in back quotes are set in bold, indented blocks are examples, and a line with ``::`` is an
entry of a list. ``_roff`` alone escapes for roff.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from movescu._runtime.version import VERSION
from movescu.cli.docs.help import notes_of
from movescu.cli.exit_codes import ExitCode
from movescu.cli.options.table import PARAMETERS, QUERY_FILES, SECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from movescu.cli.options.option import Group, Option

EXIT_CODES: Final = {
    ExitCode.SUCCESS: "All requested objects were received, or delivered according to the archive without `--port`; "
    "or a request ended because of `--cancel`.",
    ExitCode.USAGE: "The command line, a key, a query file or a dictionary is invalid. Nothing was sent.",
    ExitCode.INSUFFICIENT_PRIVILEGES: "The system denies the port of `--port`, as it does to most users below 1024.",
    ExitCode.OUTPUT_DIRECTORY_NOT_WRITABLE: "The output directory, or the file of `--report`, `--events`, `--html`, "
    "`--failed` or `--manifest`, is not writable.",
    ExitCode.OUTPUT_DIRECTORY_NOT_FOUND: "The output directory does not exist, or is not a directory.",
    ExitCode.CANNOT_LISTEN: "The port of `--port` is in use, or cannot be opened.",
    ExitCode.ASSOCIATION_FAILED: "No association: the archive is unreachable, rejected it, or closed the connection.",
    ExitCode.ASSOCIATION_LOST: "The association ended before the final response: an abort, a closed connection, a "
    "timeout or a protocol error.",
    ExitCode.INCOMPLETE: "The archive counts objects as delivered that were not received, or objects were received and "
    "could not be stored, or `--verify` finds objects missing that the archive lists; or nothing was found where the "
    "archive was queried, or more studies than `--max-studies` allows.",
    ExitCode.NO_PRESENTATION_CONTEXT: "The archive does not accept C-MOVE (C-GET with `--retrieve get`, C-FIND with "
    "`--query` and `--dry-run`) in this information model or in these transfer syntaxes.",
    ExitCode.RELEASE_FAILED: "The retrieve succeeded, but the archive did not confirm the release of the association.",
    ExitCode.MOVE_WARNING: "The archive could not deliver some of the objects (status B000).",
    ExitCode.MOVE_FAILED: "The archive refused the request or failed (any other status, such as A801: move destination "
    "unknown).",
    ExitCode.TLS_SETUP_FAILED: "TLS cannot be set up: a key, a certificate or a cipher suite is not usable.",
    ExitCode.COMMAND_FAILED: "The retrieve succeeded, but a command of `--on-study` or `--on-series` failed or could "
    "not be run.",
    ExitCode.JOURNAL_FAILED: "The journal of a list is damaged, locked, removed, on a network file system, or of a "
    "newer version, or its database cannot be reached.",
    ExitCode.CLUSTER_FAILED: "The scheduler or all workers of `--cluster` are gone or cannot be used; `--resume` "
    "continues.",
    ExitCode.INTERNAL_ERROR: "A bug in this program. Please report it, with the log of `--debug`.",
    ExitCode.HUNG_UP: "Ended by SIGHUP, as when the terminal is closed.",
    ExitCode.INTERRUPTED: "Ended by Ctrl-C.",
    ExitCode.TERMINATED: "Ended by SIGTERM.",
}
"""Exit code -> its meaning."""

_DESCRIPTION: Final = """\
`movescu` requests objects from a DICOM archive (C-MOVE). With `--port` it receives the objects itself and stores each
as a file; without, the archive sends them to a third party. Despite the name nothing is moved: the archive keeps its
objects.

The request names only the AE title of the receiver, the move destination. So the administrator of the archive must
configure AE title, host and port of the receiver before anything can be retrieved. `--check` tests whether that is
done. With `--retrieve get` (C-GET) the objects arrive over the program's own connection, and neither is needed.

Keys (`-k`), query files or both name the objects to retrieve; a key replaces the same element of a query file. Each
query file is one request; without query files, the keys are the request. A request should have the level,
QueryRetrieveLevel, and the unique keys down to it: PatientID, StudyInstanceUID, SeriesInstanceUID and SOPInstanceUID.
The Patient Root model, the default, always includes PatientID; Study Root (`-S`) does not.

Options and parameters may be mixed. Names of options cannot be abbreviated, and a value is always the next argument. Of
options that exclude each other the last one wins. `@file` stands for the words of a file; quotation marks of either
kind keep words together there.

The command line is that of DCMTK's program of the same name. `movescu-py` is another name of this program, which no
other package uses.
"""

_KEYS: Final = """\
A key is an element and its value, as in `-k PatientID=PAT001`. A key without a value is empty. The element is one of

`Keyword`:: a keyword of PS3.6, such as StudyInstanceUID, or its name before 2011
`gggg,eeee`:: a tag; also written (gggg,eeee) or ggggeeee
`gggg,ee,"CREATOR"`:: a private element
`Sequence[0].Keyword`:: an element of an item of a sequence, in any of these forms

Of two keys for one element the first wins. Text other than ASCII is sent in UTF-8, with SpecificCharacterSet set,
unless a key sets SpecificCharacterSet.

A query file is a DICOM file, a data set without file meta information, DICOM JSON (.json), or text as in the example
(.txt, .dump); `-` is standard input.

    # all images of the patient PAT001
    (0008,0052) CS [PATIENT]   # QueryRetrieveLevel
    (0010,0020) LO [PAT001]    # PatientID
"""

_FILES_WRITTEN: Final = """\
Each received object is stored as a file in the output directory, named by a prefix for its SOP class and by its SOP
instance UID, such as `CT.1.2.3`. Until the object is complete, the file has no name, or a temporary one
(`.movescu-*.part`): a file with the final name is whole. An existing file with other content is replaced. Temporary
files of a killed run are removed by the next one; `.movescu-*.lock` marks the runs that are alive.

The archive can send objects only in transfer syntaxes that were accepted: use `+xa` for archives with compressed
objects. Files keep the transfer syntax in which the object was received, unless an option changes it.

With `--durable end`, the default, exit code 0 also means that all files are flushed to disk.
"""

_LOGGING: Final = """\
The log is written to standard error. Each line starts with the letter of its level and a colon: F(atal), E(rror),
W(arning), I(nfo), D(ebug), T(race). By default warnings and errors are logged; `-v` adds each step, `-d` every detail,
and `-q` leaves only fatal errors. Error messages include a remedy. Names and other data of patients are logged only at
levels debug and trace. `--log-config` reads levels and outputs from a file. On a terminal, progress is shown while
objects are received and cleared at the end; there is none in pipes, with `-q` and with `--no-progress`.
"""

_SIGNALS: Final = """\
Ctrl-C (SIGINT) cancels the request (C-CANCEL) and waits for the archive's response; a second one aborts the
association, as SIGTERM and SIGHUP do. No partial file is left behind. SIGUSR1 prints a status line.
"""

_ENVIRONMENT: Final = """\
`DCMDICTPATH`:: data dictionaries in DCMTK's format that replace the built-in one, separated by colons
`MOVESCU_PASSWORD`:: the passcode for `--user`
`MOVESCU_HOSTS_ALLOW`, `MOVESCU_HOSTS_DENY`:: rule files for `--access-control` in place of the system's
`XDG_CONFIG_HOME`:: directory of movescu/sites.toml, by default ~/.config
`XDG_STATE_HOME`:: directory of movescu/pseudonyms.key, for `--pseudonymise`, by default ~/.local/state
`COLUMNS`:: width of the help, from 50 to 100 columns; by default that of the terminal
`NO_COLOR`:: if set, no colours in the help
`CLICOLOR_FORCE`:: if set, colours in the help even in a pipe
"""

_FILES: Final = """\
`~/.config/movescu/sites.toml`:: archives and their options, for `--site`
`/etc/hosts.allow`, `/etc/hosts.deny`:: rules of `--access-control`, for the daemon name movescu
`.movescu.journal`:: in the output directory: the journal of a list
`.movescu.sqlite`:: in the output directory: the index of complete objects, for `--resume`; rebuilt if it is missing
"""

_EXAMPLES: Final = """\
Retrieve a study into the folder in. The archive ARCHIVE must know the AE title ME, with this computer's address and
port 11112:

    movescu -S -k QueryRetrieveLevel=STUDY -k StudyInstanceUID=1.2.3 \\
        -aet ME -aec ARCHIVE --port 11112 -od in archive.example.org 104

Test the connection first:

    movescu --check -S -aet ME -aec ARCHIVE --port 11112 archive.example.org 104

Have all studies of a patient sent to a third party:

    movescu -k QueryRetrieveLevel=PATIENT -k PatientID=PAT001 \\
        -aet ME -aec ARCHIVE -aem WORKSTATION archive.example.org 104

List the CT studies of a day, and retrieve them into one folder for each study and series:

    movescu --query -k ModalitiesInStudy=CT -k StudyDate=20260114 --format uids \\
        -aet ME -aec ARCHIVE archive.example.org 104 >studies
    movescu -S --list studies --resume --layout study \\
        -aet ME -aec ARCHIVE --port 11112 -od in archive.example.org 104

Retrieve by an accession number over the program's own connection, without a port, and compare with the archive's list:

    movescu -S --retrieve get --verify -k AccessionNumber=A1003 \\
        -aet ME -aec ARCHIVE -od in archive.example.org 104

Send one request for each query file:

    movescu -S -aet ME -aec ARCHIVE --port 11112 archive.example.org 104 *.dcm

Complete options, values and keywords in bash:

    eval "$(movescu --completion bash)"
"""

_SEE_ALSO: Final = """\
`dump2dcm`(1), `findscu`(1), `storescp`(1), `hosts_access`(5)

DICOM PS3.4, annexes B (storage) and C (query/retrieve).
"""


def manual_page() -> str:
    """Return the manual page, in roff."""
    parts = [
        f'.TH MOVESCU 1 "" "movescu {_roff(VERSION)}" "User commands"',
        ".nh\n.ad l",
        ".SH NAME\nmovescu \\- retrieve objects from a DICOM archive (C\\-MOVE, C\\-GET)",
        ".SH SYNOPSIS\n.B movescu\n[\\fIoptions\\fR] \\fIpeer port\\fR [\\fIquery\\-file\\fR...]\n.br",
        ".B movescu\n[\\fIoptions\\fR] [\\fITITLE\\fR@]\\fIpeer\\fR:\\fIport\\fR [\\fIquery\\-file\\fR...]",
        _section("DESCRIPTION", _DESCRIPTION),
        ".SH PARAMETERS",
        *(f".TP\n.I {_roff(p.name)}\n{_roff(p.help)}" for p in (*PARAMETERS, QUERY_FILES)),
        ".SH OPTIONS",
        *_options(),
        _section("KEYS AND QUERY FILES", _KEYS),
        _section("FILES WRITTEN", _FILES_WRITTEN),
        _section("LOGGING", _LOGGING),
        ".SH EXIT STATUS",
        *(f".TP\n.B {code}\n{_inline(text)}" for code, text in EXIT_CODES.items()),
        _section("SIGNALS", _SIGNALS),
        _section("ENVIRONMENT", _ENVIRONMENT),
        _section("FILES", _FILES),
        _section("EXAMPLES", _EXAMPLES),
        _section("SEE ALSO", _SEE_ALSO),
    ]
    return '.\\" Made by tools/make_manual.py; do not edit.\n' + "\n".join(parts) + "\n"


# Options


def _options() -> Iterator[str]:
    for section in SECTIONS:
        for group in section.groups:
            yield f".SS {_roff(_heading(section.heading, group))}"
            yield from map(_option, group.options)


def _heading(section: str, group: Group) -> str:
    heading = f"{section}: {group.heading}" if group.heading else section
    return heading + (f" ({group.note})" if group.note else "")


def _option(option: Option) -> str:
    names = ", ".join(f"\\fB{_roff(name)}\\fR" for name in (option.short, option.long) if name)
    words = option.usage.split(" ")[1:]
    values = "".join(f" \\fI{_roff(word)}\\fR" for word in words)
    notes = notes_of(option)
    text = f"{option.help} ({'; '.join(notes)})" if notes else option.help
    return f".TP\n{names}{values}\n{_roff(text)}"


# Roff

_ESCAPES: Final = str.maketrans(
    {"\\": "\\(rs", "-": "\\-", "'": "\\(aq", '"': "\\(dq", "^": "\\(ha", "~": "\\(ti", "`": "\\(ga"}
)


def _roff(text: str) -> str:
    """Escape text for roff, where a full stop at the start of a line would be a request."""
    return re.sub(r"^\.", r"\\&.", text.translate(_ESCAPES), flags=re.MULTILINE)


def _inline(text: str) -> str:
    """Return roff with the words in back quotes in bold."""
    parts = text.split("`")
    return "".join(f"\\fB{_roff(part)}\\fR" if number % 2 else _roff(part) for number, part in enumerate(parts))


def _section(heading: str, text: str) -> str:
    return f".SH {heading}\n" + "\n".join(_blocks(text)).removeprefix(".PP\n")


def _blocks(text: str) -> Iterator[str]:
    for block in text.strip("\n").split("\n\n"):
        lines = block.split("\n")
        if block.startswith("    "):
            yield "\n".join((".PP", ".nf", ".RS 4", *(_roff(line[4:]) for line in lines), ".RE", ".fi"))
        elif ":: " in block:
            for line in lines:
                term, _, meaning = line.partition(":: ")
                yield f".TP\n{_inline(term)}\n{_inline(meaning)}"
        else:
            yield ".PP\n" + "\n".join(map(_inline, lines))
