"""``--html``: the page of a run, written at its end. Imported only with this option."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from movescu.cli.output.output_file import OutputFile
from movescu.report.page import PageData, page_pieces, require_page
from movescu.report.samples import Samples

if TYPE_CHECKING:
    from movescu.cli.options.settings import CommandSettings
    from movescu.report.entry_table import EntryTable
    from movescu.report.pseudonyms import Pseudonyms
    from movescu.report.summary import Summary


class Page:
    """The page of a run. Raise errors as ``OutputFile`` does, and ``UsageError`` if something is not installed."""

    def __init__(self, settings: CommandSettings) -> None:
        assert settings.html is not None  # made with --html alone
        require_page()
        if settings.thumbnails:
            from movescu.report.thumbnails import require_thumbnails  # late: as below

            require_thumbnails()
        to_files = settings.receives and not settings.ignore
        self.samples: Final = Samples(settings.output_directory) if to_files else None
        """Files of each series; None without files."""
        self.data: Final = PageData(time.time(), self.samples)
        """Receives the events."""
        self.output: Final = OutputFile(settings.html, "utf-8")
        """The file."""

        self._thumbnails = settings.thumbnails

    def write(self, summary: Summary, table: EntryTable, pseudonyms: Pseudonyms | None, *, listed: bool) -> None:
        """Write the page; ``pseudonyms``: of summary and table. ``listed``: of a list."""
        extra = self.data.values() | {"listed": listed}
        if pseudonyms is not None:
            extra |= {"labels": pseudonyms.labels(extra["labels"]), "pseudonymised": True}
        if self._thumbnails and self.samples is not None:
            from movescu.report.thumbnails import thumbnails  # late: needed only with --thumbnails

            extra["thumbnails"] = thumbnails(self.samples.middles())
        self.output.write_all(page_pieces(summary, table, extra))
