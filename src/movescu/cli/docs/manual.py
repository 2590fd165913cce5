"""The manual page: roff text (man(7)), made from the option table, the exit codes and what is written here by hand.

``tools/make_manual.py`` writes it to ``docs/movescu.1``, which is installed with the package. The sections by hand are
plain paragraphs: words between back quotes are set in bold, what is indented is an example, and what has a word alone
before ``::`` is an entry of a list. How ``-`` and other letters are to be written in roff is the business of ``_roff``.
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
    ExitCode.SUCCESS: "Everything that was asked for came, or was delivered as far as the archive tells; or the "
    "archive ended a request because of `--cancel`.",
    ExitCode.USAGE: "The command line, a key, a query file or a dictionary cannot be used. Nothing was sent.",
    ExitCode.INSUFFICIENT_PRIVILEGES: "The system refuses the port of `--port`, as it does to most users below 1024.",
    ExitCode.OUTPUT_DIRECTORY_NOT_WRITABLE: "The output directory, or the file of `--report` or `--events`, cannot be "
    "written to.",
    ExitCode.OUTPUT_DIRECTORY_NOT_FOUND: "The output directory does not exist, or is none.",
    ExitCode.CANNOT_LISTEN: "The port of `--port` is in use, or cannot be listened on.",
    ExitCode.ASSOCIATION_FAILED: "No association: the archive cannot be reached, rejected it, or ended it at once.",
    ExitCode.ASSOCIATION_LOST: "The association ended before the final response: an abort, a closed connection, a "
    "time-out or an error of protocol.",
    ExitCode.INCOMPLETE: "The archive counts objects as delivered that did not arrive, or objects arrived and could "
    "not be stored, or objects that it lists are missing with `--verify`.",
    ExitCode.NO_PRESENTATION_CONTEXT: "The archive does not offer C-MOVE in this query model or in these transfer "
    "syntaxes.",
    ExitCode.RELEASE_FAILED: "All went well, but the archive did not confirm the end of the association.",
    ExitCode.MOVE_WARNING: "The archive could not deliver some of the objects (status B000).",
    ExitCode.MOVE_FAILED: "The archive refused the request or failed (any other status, as A801: move destination "
    "unknown).",
    ExitCode.TLS_SETUP_FAILED: "TLS cannot be set up: a key, a certificate or a cipher suite cannot be used.",
    ExitCode.INTERNAL_ERROR: "A fault of this program. Please report it, with the log of `--debug`.",
    ExitCode.HUNG_UP: "Ended by SIGHUP, as when the terminal is closed.",
    ExitCode.INTERRUPTED: "Ended by Ctrl-C.",
    ExitCode.TERMINATED: "Ended by SIGTERM.",
}
"""What each exit code tells."""

_DESCRIPTION: Final = """\
`movescu` asks a DICOM archive to send objects (C-MOVE). With `--port` it receives them itself and stores each as a
file; without, the archive sends them to a third party. Nothing is moved: the archive keeps its objects.

The archive gets nothing but an AE title to send to, and has to know host and port of that title. So its administrator
has to enter AE title, host and port of whoever receives, before anything can be retrieved. `--check` tells whether that
has been done.

What is to be retrieved is said by keys (`-k`), by query files, or both: a key replaces what a query file has. Each
query file is one request; without one, the keys are the request. A request should have the level, QueryRetrieveLevel,
and the unique keys down to it, from PatientID, StudyInstanceUID, SeriesInstanceUID and SOPInstanceUID. In the model
Patient Root, which is the default, PatientID is always one of them; in Study Root (`-S`) it is not.

Options and parameters may stand in any order. An option has to be given whole, and its value is the next argument.
Of options that exclude each other the last one counts. `@file` stands for the words in a file; quotation marks of
either kind keep words together there.

The command line is that of DCMTK's program of the same name.
"""

_KEYS: Final = """\
A key is an element and its value, as in `-k PatientID=PAT001`. Without a value the key is empty. The element is one of

`Keyword`:: a keyword of PS3.6, as StudyInstanceUID, or the name it had before 2011
`gggg,eeee`:: a tag; also as (gggg,eeee) and as ggggeeee
`gggg,ee,"CREATOR"`:: a private element
`Sequence[0].Keyword`:: an element of an item of a sequence, in any of these forms

If an element is given twice, the first one counts. Text that is not ASCII is sent in UTF-8, and SpecificCharacterSet
is set, unless a key sets it.

A query file is a DICOM file, a data set without meta information, DICOM JSON (.json), or text as in the example (.txt,
.dump); `-` is standard input.

    # all images of the patient PAT001
    (0008,0052) CS [PATIENT]   # QueryRetrieveLevel
    (0010,0020) LO [PAT001]    # PatientID
"""

_FILES_WRITTEN: Final = """\
A received object is stored as a file in the output directory. Its name is made of a prefix for its SOP class and of its
SOP instance UID, as `CT.1.2.3`. While an object is being received it has a temporary name (`.movescu-*.part`): a file
with the final name is whole. A file that is there and has another content is replaced. What a run that was killed left
is removed by the next one; `.movescu-*.lock` tells it which runs are alive.

An object in a transfer syntax that was not accepted cannot be sent by the archive: give `+xa` for archives with
compressed objects. The file has the transfer syntax in which the object came, unless an option asks for another.

With `--durable end`, the default, exit code 0 also tells that all files have been flushed to the disk.
"""

_LOGGING: Final = """\
The log goes to standard error. Each line begins with a letter for its level and a colon: F(atal), E(rror), W(arning),
I(nfo), D(ebug), T(race). Warnings and what is worse are shown, with `-v` what is done, with `-d` every detail; `-q`
leaves fatal errors only. An error tells what can be done about it. Names and other data of patients are in the log only
from the level debug on. `--log-config` reads levels and destinations from a file. On a terminal the progress is shown
while objects come; it disappears at the end, and in pipes, with `-q` and with `--no-progress` there is none.
"""

_SIGNALS: Final = """\
Ctrl-C (SIGINT) asks the archive to stop (C-CANCEL) and waits for its answer; a second one aborts. SIGTERM and SIGHUP
abort. No partial file is left behind.
"""

_ENVIRONMENT: Final = """\
`DCMDICTPATH`:: data dictionaries to use instead of the built-in one, in DCMTK's format, separated by colons
`MOVESCU_PASSWORD`:: the passcode for `--user`
`MOVESCU_HOSTS_ALLOW`, `MOVESCU_HOSTS_DENY`:: files for `--access-control` instead of those of the system
`XDG_CONFIG_HOME`:: where the file of sites is looked for
`NO_COLOR`:: if set, the help has no colours
`CLICOLOR_FORCE`:: if set, the help has colours even in a pipe
"""

_FILES: Final = """\
`~/.config/movescu/sites.toml`:: archives and how to speak to them, for `--site`
`/etc/hosts.allow`, `/etc/hosts.deny`:: who may send to us, with `--access-control`; the name of the service is movescu
"""

_EXAMPLES: Final = """\
Retrieve a study to the folder in. The archive ARCHIVE has to know the AE title ME, with the address of this computer
and port 11112:

    movescu -S -k QueryRetrieveLevel=STUDY -k StudyInstanceUID=1.2.3 \\
        -aet ME -aec ARCHIVE --port 11112 -od in archive.example.org 104

See whether that could work:

    movescu --check -S -aet ME -aec ARCHIVE --port 11112 archive.example.org 104

Have all studies of a patient sent to a third party:

    movescu -k QueryRetrieveLevel=PATIENT -k PatientID=PAT001 \\
        -aet ME -aec ARCHIVE -aem WORKSTATION archive.example.org 104

Ask for what is written in query files:

    movescu -S -aet ME -aec ARCHIVE --port 11112 archive.example.org 104 *.dcm

Make bash complete options, values and keywords:

    eval "$(movescu --completion bash)"
"""

_SEE_ALSO: Final = """\
`dump2dcm`(1), `findscu`(1), `storescp`(1), `hosts_access`(5)

DICOM PS3.4, annexes B (storage) and C (query/retrieve).
"""


def manual_page() -> str:
    """Give the manual page, in roff."""
    parts = [
        f'.TH MOVESCU 1 "" "movescu {_roff(VERSION)}" "User commands"',
        ".nh\n.ad l",
        ".SH NAME\nmovescu \\- retrieve objects from a DICOM archive (C\\-MOVE)",
        ".SH SYNOPSIS\n.B movescu\n[\\fIoptions\\fR] \\fIpeer port\\fR [\\fIquery\\-file\\fR...]",
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
    values = "".join(f" \\fI{_roff(value.metavar)}\\fR" for value in option.takes)
    notes = notes_of(option)
    text = f"{option.help} ({'; '.join(notes)})" if notes else option.help
    return f".TP\n{names}{values}\n{_roff(text)}"


# Roff

_ESCAPES: Final = str.maketrans(
    {"\\": "\\(rs", "-": "\\-", "'": "\\(aq", '"': "\\(dq", "^": "\\(ha", "~": "\\(ti", "`": "\\(ga"}
)


def _roff(text: str) -> str:
    """Write text so that roff sets it as it stands; a full stop at the start of a line would be a request."""
    return re.sub(r"^\.", r"\\&.", text.translate(_ESCAPES), flags=re.MULTILINE)


def _inline(text: str) -> str:
    """Set what is between back quotes in bold."""
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
