"""Rows of the option table for completeness, commands for complete studies, request lists and output for programs."""

from __future__ import annotations

from movescu.cli.options.option import Option, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_FILE: Final = (Value("FILE", "file"),)

ACCOUNTS: Final = (
    Option(
        "",
        "--report",
        "report",
        "write the result to this file, as JSON, or for a spreadsheet if its name ends in .csv; - is standard output",
        takes=_FILE,
    ),
    Option(
        "",
        "--events",
        "events",
        "write each event to this file, as a line of JSON; - is standard output",
        takes=_FILE,
    ),
    Option(
        "",
        "--html",
        "html",
        "write the result to this file as a self-contained page for a browser",
        takes=_FILE,
    ),
    Option(
        "",
        "--live",
        "live",
        "show the running list as a page on 127.0.0.1, with buttons to pause, cancel and retry; the address is printed",
        0,
        optional=Value("[PORT]", "integer", 0, 65535),
        needs=("--list",),
    ),
    Option(
        "",
        "--thumbnails",
        "thumbnails",
        "show the middle image of each series on the page",
        unset=False,
        needs=("--html",),
    ),
    Option(
        "",
        "--pseudonymise",
        "pseudonymise",
        "replace what identifies patients in report and page with keyed hashes, or leave it out",
        unset=False,
        conflicts=(("--thumbnails",),),
        needs=("--report", "--html"),
    ),
)

COMPLETENESS: Final = (
    Option(
        "",
        "--verify",
        "verify",
        "query the archive (C-FIND) and compare with what was received; missing objects are listed",
        unset=False,
        conflicts=(("--query",),),
        needs=("--port",),
    ),
    Option(
        "",
        "--retry",
        "retries",
        "re-request missing objects; give up after N attempts without progress",
        takes=(Value("N", "integer", 0, 1000),),
        unset=0,
        missing="0",
        conflicts=(("--query",),),
        needs=("--port",),
    ),
    Option(
        "",
        "--resume",
        "resume",
        "do not re-request objects that are complete in the output directory",
        unset=False,
        conflicts=(
            ("--query",),
            ("--ignore",),
        ),
        needs=("--port",),
    ),
    Option(
        "",
        "--retry-pause",
        "retry_pause",
        "pause before the first retry, in seconds; doubled before each further one, up to a minute",
        takes=(Value("SEC", "seconds", 0),),
        unset=1.0,
    ),
)

_COMMAND: Final = (Value("CMD"),)
_PROVING: Final = ("--verify", "--resume", "--list")

AFTERWARDS: Final = (
    Option(
        "",
        "--on-study",
        "on_study",
        "run this command for each study proven complete, without a shell; {study_uid}, {patient_id}, {directory} and "
        "{count} are replaced, and it reads JSON on standard input",
        takes=_COMMAND,
        conflicts=(("--query",), ("--ignore",), ("--only", "--exclude")),
        needs=_PROVING,
    ),
    Option(
        "",
        "--on-series",
        "on_series",
        "run this command for each series proven complete; like --on-study, with {series_uid}",
        takes=_COMMAND,
        conflicts=(
            ("--query",),
            ("--ignore",),
        ),
        needs=_PROVING,
    ),
    Option(
        "",
        "--on-jobs",
        "on_jobs",
        "run N of these commands at once",
        takes=(Value("N", "integer", 1, 64),),
        unset=1,
        needs=("--on-study", "--on-series"),
    ),
    Option(
        "",
        "--manifest",
        "manifest",
        "write SHA-256 and path of each stored object to this file, for sha256sum -c; lines of unchanged files stay",
        takes=_FILE,
        conflicts=(
            ("--query",),
            ("--ignore",),
        ),
        needs=("--port", "--check-files"),
    ),
)

MANY: Final = (
    Option(
        "",
        "--list",
        "list_file",
        "retrieve each entry of this file: CSV with keywords as column headings, Study Instance UIDs, one per line, a "
        "log of findscu -v or an array of QIDO-RS; - is standard input",
        takes=_FILE,
        needs=("--port", "--query", "--dry-run", "--check-files"),
    ),
    Option(
        "",
        "--failed",
        "failed",
        "write the entries that are not complete to this file, as a list to run again",
        takes=_FILE,
        needs=("--list",),
    ),
    Option(
        "",
        "--journal",
        "journal",
        "keep the journal of the list in this file, on a local disk, or in a database that runs on several machines "
        "share: postgresql://USER@HOST/NAME; runs with the same journal share the list",
        takes=(Value("JOURNAL", "file"),),
        missing=".movescu.journal in the output directory",
        needs=("--list", "--check-files", "--collect"),
    ),
    Option(
        "",
        "--status",
        "status",
        "print the state of this journal, or of this directory's journal; needs no archive and no port",
        takes=(Value("JOURNAL", "file"),),
        alone=True,
    ),
    Option(
        "",
        "--check-files",
        "check_files",
        "compare the files of this directory with its journal and --manifest and, if peer and port are given, with the "
        "archive (C-FIND); retrieve nothing",
        takes=(Value("DIR", "directory"),),
        conflicts=(("--query",), ("--dry-run",), ("--check",), ("--status",), ("--port",)),
        alone=True,
    ),
    Option(
        "",
        "--sample",
        "sample",
        "read only this percentage of the files, such as 5%",
        takes=(Value("PART"),),
        missing="100%",
        needs=("--check-files",),
    ),
    Option(
        "",
        "--jobs",
        "jobs",
        "retrieve N entries at once, each over its own association",
        takes=(Value("N", "integer", 1, 64),),
        unset=1,
        needs=("--list",),
    ),
    Option(
        "",
        "--cluster",
        "cluster",
        "retrieve the list by several processes: local:N starts N of them here, tls://host:port or the FILE of a "
        "scheduler uses workers on other machines; plain: before it allows connections without TLS",
        takes=(Value("WHERE"),),
        conflicts=(("--port",), ("--limit-rate",), ("--html",), ("--query",), ("--dry-run",)),
        needs=("--list",),
        stands_for={"*": ("--port",)},  # without --ae-pool, it is the titles that are missing
    ),
    Option(
        "",
        "--ae-pool",
        "ae_pool",
        "AE titles of the workers: a title, host and port in each line; the archive has to know them",
        takes=_FILE,
        needs=("--cluster",),
    ),
    Option(
        "",
        "--worker-files",
        "worker_files",
        "shared: all workers store into -od; own: each stores into a folder there, named by its title and on its own "
        "disk, with a manifest of its files",
        takes=(Value("WHERE", "choice", choices={"shared": "shared", "own": "own"}),),
        unset="shared",
        needs=("--cluster",),
        conflicts=(("--on-study",), ("--on-series",), ("--manifest",)),
    ),
    Option(
        "",
        "--collect",
        "collect",
        "bring the files of workers with folders of their own together in this directory, and check their digests; "
        "needs no peer and no port",
        takes=(Value("DIR", "directory"),),
        conflicts=(("--query",), ("--dry-run",), ("--check",), ("--status",), ("--check-files",), ("--port",)),
        alone=True,
    ),
    Option(
        "",
        "--slots",
        "slots",
        "send the archive at most N requests at once; by default, its limit is learned",
        takes=(Value("N", "integer", 1, 64),),
        needs=("--list",),
    ),
    Option(
        "",
        "--wait-for-archive",
        "wait_for_archive",
        "wait up to this long, in seconds, for an archive that is unreachable in the middle of a list",
        takes=(Value("SECONDS", "integer", 0),),
        unset=43200,
        needs=("--list",),
    ),
    Option(
        "",
        "--between",
        "between",
        "start entries only at this time of day, such as 20:00-06:00",
        takes=(Value("TIMES"),),
        needs=("--list",),
    ),
    Option(
        "",
        "--order",
        "order",
        "order of the requests: list, newest (study first) or largest (study first), as the archive reports (C-FIND)",
        takes=(Value("ORDER", "choice", choices={"list": "list", "newest": "newest", "largest": "largest"}),),
        unset="list",
        needs=("--list",),
    ),
    Option(
        "",
        "--split",
        "split",
        "request a study with more than N missing objects series by series; with --jobs, several at once",
        takes=(Value("N", "integer", 1),),
        unset=0,
        missing="never",
        needs=("--list",),
    ),
    Option(
        "",
        "--limit-rate",
        "limit_rate",
        "receive at most this many bytes per second, such as 500K or 20M",
        takes=(Value("RATE"),),
        conflicts=(("--query",),),
        needs=("--port",),
    ),
    Option("", "--dry-run", "dry_run", "list what would be retrieved (C-FIND), without retrieving it", unset=False),
)
