"""The rows of the option table that are about coming to an end: what came, what did not, and what is told of it."""

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
        "write what it came to into this file, as JSON; - is standard output",
        takes=_FILE,
    ),
    Option(
        "",
        "--events",
        "events",
        "write what happens into it, in lines of JSON; - is standard output",
        takes=_FILE,
    ),
)

COMPLETENESS: Final = (
    Option(
        "",
        "--verify",
        "verify",
        "ask by C-FIND what there is, and hold what came against it; missing objects are named",
        unset=False,
        needs=("--port",),
    ),
    Option(
        "",
        "--retry",
        "retries",
        "ask again for what did not come, until that has been in vain so often",
        takes=(Value("TIMES", "integer", 0, 1000),),
        unset=0,
        needs=("--port",),
    ),
    Option(
        "",
        "--resume",
        "resume",
        "do not ask again for objects that are whole in the output directory already",
        unset=False,
        conflicts=(("--ignore",),),
        needs=("--port",),
    ),
    Option(
        "",
        "--retry-pause",
        "retry_pause",
        "pause so long before the first repetition, twice as long before each further one, up to a minute",
        takes=(Value("SECONDS", "seconds", 0),),
        unset=1.0,
    ),
)

MANY: Final = (
    Option(
        "",
        "--list",
        "list_file",
        "ask for each row of this file, CSV with keywords above its columns, or a list of studies; - is standard input",
        takes=_FILE,
        needs=("--port",),
    ),
    Option(
        "",
        "--jobs",
        "jobs",
        "work on so many rows at once, each over an association of its own",
        takes=(Value("NUMBER", "integer", 1, 64),),
        unset=1,
        needs=("--list",),
    ),
    Option(
        "",
        "--between",
        "between",
        "begin rows only at this time of day, as in 20:00-06:00",
        takes=(Value("TIMES"),),
        needs=("--list",),
    ),
    Option(
        "",
        "--limit-rate",
        "limit_rate",
        "take no more than so many bytes a second, as in 500K or 20M",
        takes=(Value("RATE"),),
        needs=("--port",),
    ),
    Option("", "--dry-run", "dry_run", "retrieve nothing: show by C-FIND what would come", unset=False),
)
