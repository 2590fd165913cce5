"""``--dry-run``: lists what would be retrieved, with counts, by C-FIND alone (PS3.4 C.4.1).

Prints the table of ``--query``, at the level of the request, or of the series where series are chosen. What the archive
does not count is counted by queries. Imported with ``--dry-run`` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from movescu.cli import streams
from movescu.cli.commands.query import further_tags, queries_of, run_queries
from movescu.cli.options.configuration import check_scopes
from movescu.cli.output.diagnostics import some
from movescu.cli.output.listing import show
from movescu.errors import InventoryError
from movescu.query.selection import Selection
from movescu.retrieve.resolution import Shortfall, wanted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from movescu.cli.options.settings import CommandSettings
    from movescu.query.identifier import Identifier
    from movescu.query.match import Match
    from movescu.retrieve.association import ArchiveAssociation
    from movescu.retrieve.config import Config


def run_dry(settings: CommandSettings, config: Config) -> int:
    """Query the archive, print the matches and return the exit code. Raise errors before the first query."""
    queries = queries_of(settings)
    check_scopes((query.identifier for query in queries), config)
    selection = config.selection or Selection()

    def found(session: ArchiveAssociation, identifier: Identifier) -> Iterable[Match]:
        shortfall = Shortfall()
        matches = list(wanted(session, identifier, selection, count=True, shortfall=shortfall))
        yield from matches
        lacking = (*shortfall.unfound, *shortfall.hollow)
        why = f"the archive lists nothing for {some(lacking)}" if lacking else shortfall.unmet
        if why:
            raise InventoryError(f"{'incomplete' if matches else 'nothing found'}: {why}")

    code, listed = run_queries(queries, config, found)
    matches = list({(match.level, match.uid): match for match in listed}.values())  # entries of a list may overlap
    for level in dict.fromkeys(match.level for match in matches):
        same = [match for match in matches if match.level == level]
        show(same, level, settings.format, further_tags(queries))
    if settings.format == "table" and matches:
        total = sum(match.objects or 0 for match in matches)
        streams.output(f"{total} object{'' if total == 1 else 's'} in all\n")
    return code
