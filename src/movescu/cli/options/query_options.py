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
        "list what the keys match (C-FIND), without retrieving it; LEVEL is patient, study, series or image, else that "
        "of the keys, at least study",
        "",
        optional=Value("[LEVEL]", "choice", choices=_LEVELS),
        conflicts=(("--dry-run",), ("--check",), ("--report",), ("--events",)),
    ),
    Option(
        "",
        "--format",
        "format",
        "format of --query and --dry-run: table, json, csv or uids (the UIDs of the level, one a line)",
        takes=(Value("FORMAT", "choice", choices=_FORMATS),),
        unset="table",
        needs=("--query", "--dry-run"),
    ),
    Option(
        "",
        "--count",
        "count",
        "count series and objects that the archive does not count, by further queries",
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
        "only series that meet this condition, such as Modality=CT or SeriesDescription~axial; may be repeated",
        takes=_CONDITION,
        unset=(),
        repeats=True,
    ),
    Option(
        "",
        "--exclude",
        "exclude",
        "no series that meets this condition; may be repeated",
        takes=_CONDITION,
        unset=(),
        repeats=True,
    ),
    Option(
        "",
        "--max-studies",
        "max_studies",
        "refuse keys that match more than N studies where C-FIND resolves them",
        takes=(Value("N", "integer", 1, 1_000_000),),
        unset=100,
    ),
    Option(
        "",
        "--all",
        "max_studies",
        "everything that the keys match is meant, whatever the number of studies, even without keys",
        0,
        unset=100,
    ),
)
