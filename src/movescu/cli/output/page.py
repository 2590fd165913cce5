"""``--html``: the page of a run, written at its end. Imported with this option alone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from movescu.cli.output.output_file import OutputFile
from movescu.report.page import PageData, page_pieces, require_page
from movescu.report.samples import Samples

if TYPE_CHECKING:
    from movescu.cli.options.settings import CommandSettings
    from movescu.report.entry_table import EntryTable
    from movescu.report.summary import Summary


class Page:
    """The page of a run. Raise errors as ``OutputFile`` does, and ``UsageError`` if something is not installed."""

    def __init__(self, settings: CommandSettings) -> None:
        assert settings.html is not None  # made with --html alone
        require_page()
        to_files = settings.receives and not settings.ignore
        self.samples: Final = Samples(settings.output_directory) if to_files else None
        """Files of each series; None without files."""
        self.data: Final = PageData(time.time(), self.samples)
        """Receives the events."""
        self.output: Final = OutputFile(settings.html, "utf-8")
        """The file."""

    def write(self, summary: Summary, table: EntryTable, *, listed: bool) -> None:
        """Write the page; ``listed``: of a list."""
        self.output.write_all(page_pieces(summary, table, self.data.values() | {"listed": listed}))
