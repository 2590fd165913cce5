"""Rows of the option table for queries (C-FIND): listing, resolution of keys, and the choice of series."""

from __future__ import annotations

from movescu.cli.options.option import Option, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_LEVELS: Final = {level.lower(): level for level in ("PATIENT", "STUDY", "SERIES", "IMAGE")}
_FORMATS: Final = {name: name for name in ("table", "json", "csv", "uids")}
_CONDITION: Final = (Value("CONDITION"),)

QUERIES: Final = (
    Option(
        "",
        "--query",
        "query",
        "list the matches of the keys (C-FIND) without retrieving them; LEVEL is patient, study, series or image, by "
        "default that of the keys, at least study",
        "",
        optional=Value("[LEVEL]", "choice", choices=_LEVELS),
        conflicts=(("--dry-run",), ("--check",), ("--report",), ("--events",), ("--html",)),
    ),
    Option(
        "",
        "--format",
        "format",
        "format of --query and --dry-run: table, json, csv or uids (the UIDs of the level, one per line); of "
        "--status and --check-files: table or json",
        takes=(Value("FORMAT", "choice", choices=_FORMATS),),
        unset="table",
        needs=("--query", "--dry-run", "--status", "--check-files"),
    ),
    Option(
        "",
        "--count",
        "count",
        "determine by further queries the numbers of series and objects that the archive does not report",
        unset=False,
        needs=("--query",),
    ),
    Option(
        "",
        "--resolve",
        "resolve",
        "match all keys by C-FIND first, and retrieve the matches by their unique keys; Patient ID may have wild cards",
        unset=False,
    ),
    Option(
        "",
        "--only",
        "only",
        "choose only series that meet this condition, such as Modality=CT or SeriesDescription~axial; may be repeated",
        takes=_CONDITION,
        unset=(),
        repeats=True,
    ),
    Option(
        "",
        "--exclude",
        "exclude",
        "leave out series that meet this condition; may be repeated",
        takes=_CONDITION,
        unset=(),
        repeats=True,
    ),
    Option(
        "",
        "--max-studies",
        "max_studies",
        "request nothing if C-FIND resolves the keys to more than N studies (default: 100; of a patient ID or UIDs, "
        "any number)",
        takes=(Value("N", "integer", 1, 1_000_000),),
        unset=None,
    ),
    Option(
        "",
        "--all",
        "max_studies",
        "allow any number of studies, even with no key that selects anything",
        0,
        unset=None,
    ),
)
