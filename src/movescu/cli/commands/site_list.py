"""``--sites``: the list of sites, each with its archive, our AE title and how objects arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from movescu.cli.logging.console_log import escape
from movescu.cli.options import sites
from movescu.cli.options.command_line import value_of_option
from movescu.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

_HEADINGS = ("site", "archive", "own title", "objects arrive")


def sites_text() -> str:
    """Return the table of sites, with a line end. Raise ``UsageError`` if the file cannot be read."""
    rows = [_HEADINGS, *(_row(name) for name in sites.site_names())]
    return "".join(f"{line}\n" for line in (*_aligned(rows), "", f"file: {escape(sites.sites_file())}"))


def _row(name: str) -> tuple[str, ...]:
    try:
        site = sites.read_site(name, value_of_option)
    except UsageError as error:
        return name, str(error)
    given = {option.long: values for option, values in site.winners.values()}
    host, port = (site.parameters.get(key, "?") for key in ("peer", "port"))
    host = f"[{host}]" if ":" in host else host
    title, own = given.get("--call", ("ANY-SCP",))[0], given.get("--aetitle", ("MOVESCU",))[0]
    service = given.get("--retrieve", ("move",))[0]
    listens = f"on port {given['--port'][0]}" if "--port" in given else "elsewhere (no --port)"
    return name, f"{title}@{host}:{port}", own, "by C-GET" if service == "get" else listens


def _aligned(rows: Iterable[tuple[str, ...]]) -> list[str]:
    shown = [tuple(map(escape, row)) for row in rows]
    whole = [row for row in shown if len(row) == len(_HEADINGS)]  # the others say what is wrong
    widths = [max(len(row[n]) for row in whole) for n in range(len(_HEADINGS) - 1)]
    return ["  ".join([*map(str.ljust, row[:-1], widths), row[-1]]) for row in shown]
