"""The page of a run (``--html``): one HTML file with its data, script and style, which loads nothing.

The data are those of the report, with what plots and pictures need beside it. They stand in the page as JSON, in ASCII
and without ``<``, so no text of an archive can end the element. The script puts text into the document as text alone; a
Content Security Policy that names the hashes of script and style forbids everything else, requests included.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from movescu._runtime import version
from movescu.dimse.status import SUCCESS, StatusClass, status_class
from movescu.errors import UsageError
from movescu.events import EntryEvent, EntryState, ObjectEvent, ResponseEvent
from movescu.report.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from movescu.events import Event
    from movescu.report.entry_table import EntryTable
    from movescu.report.samples import Samples
    from movescu.report.summary import Summary

_DATA: Final = files("movescu.report") / "data"
_ESCAPES: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def require_page() -> None:
    """Raise ``UsageError`` if the packages for pages are not installed."""
    if find_spec("jinja2") is None:
        raise UsageError("pages need Jinja2, which is not installed", hint="pip install 'movescu[report]'")


class PageData:
    """An ``EventSink`` that collects a page's data beyond the report; ``samples``: None without files."""

    def __init__(self, begun: float, samples: Samples | None) -> None:
        self._samples = samples
        self._timeline = Timeline(begun)

    def __call__(self, event: Event) -> None:
        """Add an event."""
        match event:
            case ObjectEvent():
                self._timeline.object(event.time, event.size, stored=event.status == SUCCESS)
                if self._samples is not None and event.status == SUCCESS:
                    self._samples.add(event)
            case EntryEvent(state=EntryState.POSTPONED):
                self._timeline.refusal(event.time)
            case ResponseEvent(row=None) if status_class(event.status) is StatusClass.FAILURE:
                self._timeline.refusal(event.time)
            case _:
                pass

    def values(self) -> dict[str, Any]:
        """Return the data by name."""
        return {
            "timeline": self._timeline.json(),
            "sizes": self._timeline.sizes_json(),
            "labels": {} if self._samples is None else self._samples.labels(),
        }


def page_pieces(summary: Summary, table: EntryTable, extra: dict[str, Any]) -> Iterator[str]:
    """Yield the page of a run that has ended; ``table``: its entries. ``extra``: data beside the report."""
    report = {
        name: list(value) if name in ("series", "missing_objects", "entries") else value
        for name, value in summary.values(table).items()
    }
    yield from render({"report": report, "page": extra})


def render(data: dict[str, Any]) -> Iterator[str]:
    """Yield the page with these data."""
    from jinja2 import Environment
    from markupsafe import Markup

    environment = Environment(autoescape=True, keep_trailing_newline=True)
    template = environment.from_string(_text("page.html.j2"))
    style = f"{_text('vendor/uPlot.min.css')}\n{_text('page.css')}"
    script, plotter = _text("page.js"), _text("vendor/uPlot.iife.min.js")
    yield from template.generate(
        title="Report of movescu",
        program=f"movescu {version.VERSION}",
        policy=_policy([script, plotter], style, live="report" not in data),
        style=Markup(style),  # noqa: S704 - ours, as the following
        script=Markup(script),  # noqa: S704
        plotter=Markup(plotter),  # noqa: S704
        data=Markup(_embedded(data)),  # noqa: S704 - without a character that HTML knows
    )


def _text(name: str) -> str:
    return (_DATA / name).read_text(encoding="utf-8")


def _embedded(data: dict[str, Any]) -> str:
    """Return data as JSON that may stand in an element of HTML."""
    text = json.dumps(data, separators=(",", ":"))
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text


def _policy(scripts: list[str], style: str, *, live: bool) -> str:
    """Return the Content Security Policy of a page; ``live``: it may speak with its own server."""
    allowed = " ".join(map(_hash, scripts))
    connect = "'self'" if live else "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; img-src data:; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
