"""``--dry-run``: lists the objects that would be retrieved, per study and series, by C-FIND alone (PS3.4 C.4.1).

One line per study and, indented, per series, on standard output. Imported with ``--dry-run`` alone.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu._runtime.record import replace
from movescu.cli import streams
from movescu.cli.exit_codes import ExitCode
from movescu.cli.logging.console_log import escape
from movescu.cli.options.configuration import check_scopes, identifiers
from movescu.cohort.overlap import distinct
from movescu.dictionary.uids import STUDY_ROOT_FIND
from movescu.errors import InventoryError, PeerError
from movescu.query.request_list import read_rows
from movescu.retrieve.client import Client
from movescu.retrieve.inventory import take_inventory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from movescu.cli.options.settings import CommandSettings
    from movescu.query.identifier import Identifier
    from movescu.query.request_list import Row
    from movescu.retrieve.config import Config
    from movescu.retrieve.inventory import Inventory

_log: Final = logger_of("movescu.cli")


def run_dry(settings: CommandSettings, config: Config) -> int:
    """Query the archive, print the objects and return the exit code. Raise errors before the first request."""
    wanted = _wanted(settings)
    found: set[str] = set()
    code = ExitCode.SUCCESS
    session = Client.configured(replace(config, receive=None), None).association(further=(STUDY_ROOT_FIND,))
    with contextlib.closing(session):
        session.open()
        for text, identifier in wanted:
            try:
                inventory = take_inventory(session, identifier, config.request.model)
            except InventoryError as error:
                _log.error("%s%s", text and f"{text}: ", error)
                code = ExitCode.INCOMPLETE
                continue
            except PeerError as error:
                _log.critical("association lost: %s", error)
                return ExitCode.ASSOCIATION_LOST
            if text:
                streams.write(sys.stdout, f"{escape(text)}\n")
            streams.write(sys.stdout, "".join(f"{escape(line)}\n" for line in _lines(inventory)))
            found.update(inventory.objects)
        streams.write(sys.stdout, f"{_objects(len(found))} in all\n")
        with contextlib.suppress(PeerError):  # the listing is complete
            session.release()
    return code


def _wanted(settings: CommandSettings) -> list[tuple[str, Identifier]]:
    if settings.list_file is None:
        wanted = identifiers(settings)
        check_scopes(wanted, settings.model)
        return [("", identifier) for identifier in wanted]
    rows = read_rows(settings.list_file, settings.keys, model=settings.model)
    rows, repeated = distinct(rows)
    return [(_entry(row, repeated.get(row.number, ())), row.identifier) for row in rows]


def _entry(row: Row, repeated: Sequence[Row]) -> str:
    numbers = [row.number, *(one.number for one in repeated)]
    return f"{'entry' if len(numbers) == 1 else 'entries'} {', '.join(map(str, numbers))} ({row.text})"


def _lines(inventory: Inventory) -> Iterator[str]:
    """Yield a line for each study and series, in the archive's order."""
    studies: dict[str, dict[str, int]] = {}
    for place in inventory.objects.values():
        series = studies.setdefault(place.study, {})
        series[place.series] = series.get(place.series, 0) + 1
    for study, counts in studies.items():
        yield f"study {study}: {_objects(sum(counts.values()))} in {len(counts)} series"
        yield from (f"  series {uid}: {_objects(count)}" for uid, count in counts.items())


def _objects(count: int) -> str:
    return f"{count} object{'' if count == 1 else 's'}"
