"""``--check-files``: check the files of a directory and print which are missing, changed or extra.

Imported with ``--check-files`` alone. Exit code: 0 if nothing is missing or changed, else 63.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu._runtime.record import replace
from movescu.cli import streams
from movescu.cli.commands.query import queries_of
from movescu.cli.exit_codes import ExitCode
from movescu.cli.logging.console_log import escape
from movescu.cli.options.configuration import check_scopes, config_of, value_of
from movescu.cli.output.quantities import size_text
from movescu.cohort.directory_audit import CHANGED, MISSING, DirectoryAudit
from movescu.cohort.journal_file import journal_path
from movescu.cohort.journal_status import reading
from movescu.errors import DirectoryNotFoundError, PeerError, UsageError
from movescu.retrieve.client import ArchiveClient

if TYPE_CHECKING:
    from movescu.cli.options.settings import CommandSettings
    from movescu.cohort.directory_audit import FileFinding

_log: Final = logger_of("movescu.cli")
_FORMATS: Final = ("table", "json")


def run_check_files(settings: CommandSettings) -> int:
    """Check the files of a directory, print the findings, and return the exit code."""
    assert settings.check_files is not None  # called with --check-files alone
    directory, how = settings.check_files, settings.format
    if how not in _FORMATS:
        raise UsageError(f"--format {how} not allowed with --check-files", hint="Allowed: table, json.")
    if not os.path.isdir(directory):
        raise DirectoryNotFoundError(f"{directory!r} is not a directory")
    sample = 1.0 if settings.sample is None else value_of("--sample", settings.sample, _fraction)
    printer = _Printer(how)
    with DirectoryAudit(directory, sample, printer.show) as audit:
        sources = _expect(audit, settings, directory)
        audit.check_files(places=bool(settings.peer))
        code = _ask(audit, settings) if settings.peer else ExitCode.SUCCESS
        printer.end(audit, sources, sample)
        if code == ExitCode.SUCCESS and (audit.counts[MISSING] or audit.counts[CHANGED]):
            code = ExitCode.INCOMPLETE
    return code


def _fraction(text: str) -> float:
    """Parse a percentage, such as 5%. Raise ``UsageError``."""
    try:
        number = float(text.removesuffix("%")) / 100 if text.endswith("%") else -1.0
    except ValueError:
        number = -1.0
    if not 0 < number <= 1:
        raise UsageError(f"{text!r} is not a percentage", hint="write, for example, 5%")
    return number


def _expect(audit: DirectoryAudit, settings: CommandSettings, directory: str) -> list[str]:
    """Load journal and manifest, if they exist; return their names."""
    sources = []
    path = journal_path(directory, settings.journal)
    if settings.journal is not None or os.path.exists(path):
        with reading(path) as (journal, name, *_):
            audit.expect_journal(journal, name)
        sources.append("journal")
    if settings.manifest is not None:
        from movescu.report.manifest import digests_of  # late: needed only with --manifest

        audit.expect_digests(digests_of(settings.manifest, directory))
        sources.append("manifest")
    if not sources:
        _log.warning("no journal and no manifest: checking only that each file is a complete object")
    return sources


def _ask(audit: DirectoryAudit, settings: CommandSettings) -> ExitCode:
    """Compare with the archive's list and return the exit code."""
    config = config_of(settings)
    given = bool(settings.keys or settings.query_files or settings.list_file)
    wanted = [query.identifier for query in queries_of(settings)] if given else list(audit.requests())
    check_scopes(wanted, config)
    session = ArchiveClient.configured(replace(config, receive=None), None).association(querying=True)
    code = ExitCode.SUCCESS
    with contextlib.closing(session):
        session.open()
        try:
            for why in audit.ask(session, wanted, settings.model, given=given):
                _log.error("%s", why)
                code = ExitCode.INCOMPLETE
        except PeerError as error:
            _log.critical("association lost: %s", error)
            return ExitCode.ASSOCIATION_LOST
        with contextlib.suppress(PeerError):  # the comparison is complete
            session.release()
    return code


class _Printer:
    """Prints findings as they are found: a line each, or an array of JSON in an object with the counts."""

    def __init__(self, how: str) -> None:
        self._json = how == "json"
        self._first = True
        if self._json:
            streams.output('{"findings": [', flush=False)

    def show(self, finding: FileFinding) -> None:
        if self._json:
            streams.output(f"{'' if self._first else ','}\n {json.dumps(finding._asdict())}", flush=False)
            self._first = False
            return
        name = " ".join(filter(None, (finding.path, finding.uid and f"(SOP instance {finding.uid})")))
        streams.output(f"{escape(f'{finding.kind:<8} {name}: {finding.detail}')}\n")

    def end(self, audit: DirectoryAudit, sources: list[str], sample: float) -> None:
        if self._json:
            told: dict[str, object] = {"files": audit.files, "size": audit.size, "read": audit.read, **audit.counts}
            told |= {"sources": sources, "sample": sample, "requests": audit.asked}
            streams.output(f"\n], {json.dumps(told)[1:]}\n")
            return
        counts = ", ".join(f"{number} {kind}" for kind, number in audit.counts.items() if number)
        against = f", against {' and '.join(sources)}" if sources else ""
        asked = f"; archive queried for {audit.asked} request{'' if audit.asked == 1 else 's'}" if audit.asked else ""
        streams.output(
            f"{audit.files} file{'' if audit.files == 1 else 's'}, {size_text(audit.size)}, {audit.read} of them read"
            f"{against}{asked}: {counts or 'everything is as expected'}\n"
        )
