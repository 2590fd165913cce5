"""``--query``: lists the matches of the keys, by C-FIND alone (PS3.4 C.4.1), and retrieves nothing.

Patient ID and UIDs may be patterns. Exit code: 0 with matches, 63 without, or if the archive cannot answer. Imported
with ``--query`` alone. ``run_queries`` serves ``--dry-run`` too.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu._runtime.late_log import logger_of
from movescu._runtime.record import replace
from movescu.cli.exit_codes import ExitCode
from movescu.cli.options.configuration import identifiers, note_patterns
from movescu.cli.output.listing import show
from movescu.cohort.overlap import distinct
from movescu.errors import CommandLineError, InventoryError, PeerError, TooManyStudiesError
from movescu.query.identifier import Identifier, make_identifier
from movescu.query.request_list import read_rows
from movescu.query.scope import Scope
from movescu.query.selection import Selection
from movescu.retrieve.client import ArchiveClient
from movescu.retrieve.resolution import Shortfall, wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from movescu.cli.options.settings import CommandSettings
    from movescu.query.match import Match
    from movescu.query.request_list import Row
    from movescu.retrieve.association import ArchiveAssociation
    from movescu.retrieve.config import Config

_log: Final = logger_of("movescu.cli")


class NamedQuery(NamedTuple):
    """One query: its keys, and what messages call it, empty if there is but one."""

    text: str
    identifier: Identifier


def run_query(settings: CommandSettings, config: Config) -> int:
    """Query the archive, print the matches and return the exit code. Raise errors before the first query."""
    selection = replace(config.selection or Selection(), resolve=True)
    queries = queries_of(settings)
    level = settings.query or _level(queries, selection)
    if selection.chooses and level != "SERIES":
        raise CommandLineError(
            "--only and --exclude choose series", hint="List the series that they choose with --query series."
        )
    for query in queries:
        scope = Scope(query.identifier, "PATIENT")
        scope.level = level
        scope.check_query(everything=selection.everything)
        note_patterns(query.identifier)

    def found(session: ArchiveAssociation, identifier: Identifier) -> Iterable[Match]:
        shortfall = Shortfall() if selection.chooses else None  # without conditions, each match is yielded at once
        yield from wanted(
            session, identifier, selection, level=level, limited=False, count=settings.count, shortfall=shortfall
        )
        if shortfall is not None and shortfall.unmet:
            raise _NothingFoundError(f"nothing found: {shortfall.unmet}")

    code, matches = run_queries(queries, config, found, unknown=ExitCode.MOVE_FAILED)
    show(matches, level, settings.format, further_tags(queries))
    return code


class _NothingFoundError(InventoryError):
    """The archive has studies, but no series that the conditions choose."""


def run_queries(
    queries: Sequence[NamedQuery],
    config: Config,
    find: Callable[[ArchiveAssociation, Identifier], Iterable[Match]],
    *,
    unknown: ExitCode = ExitCode.INCOMPLETE,
) -> tuple[ExitCode, list[Match]]:
    """Run queries over one association; return the exit code and all matches. Raise errors before the first query.

    ``unknown``: the exit code if the archive does not tell what matches. Default: 63, as if nothing did.
    """
    codes: set[ExitCode] = set()
    matches: list[Match] = []
    until = None if config.timeouts.total is None else time.monotonic() + config.timeouts.total
    session = ArchiveClient.configured(replace(config, receive=None), None).association(until=until, querying=True)
    with contextlib.closing(session):
        session.open()
        for query in queries:
            which = query.text and f"{query.text}: "
            found: list[Match] = []
            try:
                found.extend(find(session, query.identifier))
            except InventoryError as error:
                matches += found
                _log.error("%s%s", which, error)
                if error.hint:
                    _log.error("%s", error.hint)
                known = isinstance(error, (_NothingFoundError, TooManyStudiesError))
                codes.add(ExitCode.INCOMPLETE if known else unknown)
                continue
            except PeerError as error:
                _log.critical("association lost: %s", error)
                return ExitCode.ASSOCIATION_LOST, matches
            if not found:
                _log.error("%snothing found: the archive has nothing for these keys", which)
                codes.add(ExitCode.INCOMPLETE)
            matches += found
        with contextlib.suppress(PeerError):  # the listing is complete
            session.release()
    return max(codes, default=ExitCode.SUCCESS), matches


def queries_of(settings: CommandSettings) -> list[NamedQuery]:
    """Return the queries of the command line: one for each query file or entry of a list."""
    if settings.list_file is not None:
        returned = settings.query is not None
        read = read_rows(settings.list_file, settings.keys, model=settings.model, returned=returned)
        rows, repeated = distinct(read)
        return [NamedQuery(_entry(row, repeated.get(row.number, ())), row.identifier) for row in rows]
    if not settings.keys and not settings.query_files:
        return [NamedQuery("", make_identifier(()))]
    several = len(settings.query_files) > 1
    names = settings.query_files if several else ("",)
    return [NamedQuery(name, identifier) for name, identifier in zip(names, identifiers(settings), strict=True)]


def _entry(row: Row, repeated: Sequence[Row]) -> str:
    numbers = [row.number, *(one.number for one in repeated)]
    if len(numbers) == 1:
        return f"entry {row.number} ({row.place})"
    return f"entries {', '.join(map(str, numbers))} ({row.text})"


def further_tags(queries: Iterable[NamedQuery]) -> list[int]:
    """Return the tags of all keys, to be shown beside the usual attributes."""
    return [key.tag for query in queries for key in query.identifier if key.tag & 0xFFFF and not key.is_creator]


def _level(queries: Iterable[NamedQuery], selection: Selection) -> str:
    """Return the level of a query that names none: that of its keys, at least STUDY."""
    if selection.chooses:
        return "SERIES"
    return next((Scope(query.identifier, "PATIENT").natural_level for query in queries), "STUDY")
