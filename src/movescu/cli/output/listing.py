"""Lists of matches of a C-FIND on standard output: a table for people; JSON, CSV and UIDs for programs.

The table fits the terminal: long texts are cut, UIDs never; where no room is left for them, they stand on lines of
their own. Values come from the archive and may be hostile: characters that control a terminal are escaped.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import unicodedata
from typing import TYPE_CHECKING, Final

from movescu.cli import streams
from movescu.dataset.character_sets import SPECIFIC_CHARACTER_SET
from movescu.dictionary.tags import tag_of
from movescu.query.levels import LEVEL, UNIQUE_KEYS
from movescu.query.match import COLUMNS
from movescu.query.scope import keyword

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from movescu.query.match import Match

_HEADINGS: Final = {
    "PatientID": "patient",
    "PatientName": "name",
    "PatientBirthDate": "born",
    "PatientSex": "sex",
    "StudyDate": "date",
    "ModalitiesInStudy": "modality",
    "Modality": "modality",
    "StudyDescription": "description",
    "SeriesDescription": "description",
    "AccessionNumber": "accession",
    "SeriesNumber": "series number",
    "InstanceNumber": "object number",
    "BodyPartExamined": "body part",
    "NumberOfPatientRelatedStudies": "studies",
    "NumberOfPatientRelatedSeries": "series",
    "NumberOfStudyRelatedSeries": "series",
    "NumberOfPatientRelatedInstances": "objects",
    "NumberOfStudyRelatedInstances": "objects",
    "NumberOfSeriesRelatedInstances": "objects",
    "StudyInstanceUID": "study UID",
    "SeriesInstanceUID": "series UID",
    "SOPInstanceUID": "object UID",
}
_NOT_IN_TABLES: Final = {
    "PATIENT": (),
    "STUDY": ("StudyTime",),
    "SERIES": ("StudyInstanceUID",),
    "IMAGE": ("SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID"),
}
_GAP: Final = "  "
_NARROWEST: Final = 8
_NOT_SHOWN: Final = frozenset((LEVEL, SPECIFIC_CHARACTER_SET))


def show(matches: Sequence[Match], level: str, how: str, further: Iterable[int] = ()) -> None:
    """Print matches of one level; ``how``: table, json, csv or uids; ``further``: tags to show beside the usual."""
    usual = [tag for name in COLUMNS[level] if (tag := tag_of(name)) is not None]
    tags = list(dict.fromkeys((*usual, *(tag for tag in further if tag not in _NOT_SHOWN))))
    if how == "table":
        hidden = {tag_of(name) for name in _NOT_IN_TABLES[level]}
        tags = [tag for tag in tags if tag not in hidden]
    for text in _WRITERS[how](matches, level, tags):
        streams.output(text, flush=False)
    streams.output("")


# -- for programs ------------------------------------------------------------------------------------------------------


def _json(matches: Sequence[Match], level: str, tags: Sequence[int]) -> Iterator[str]:
    """Yield one array, with a match a line."""
    yield "["
    for number, match in enumerate(matches):
        values = {"QueryRetrieveLevel": level} | {keyword(tag): match.value(tag) for tag in tags}
        yield f"{',' if number else ''}\n{json.dumps(values)}"
    yield "\n]\n"


def _csv(matches: Sequence[Match], _: str, tags: Sequence[int]) -> Iterator[str]:
    yield _line(map(keyword, tags))
    for match in matches:
        yield _line(harmless(match.text(tag)) for tag in tags)


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return _printable(text.getvalue())


def _uids(matches: Sequence[Match], _: str, __: Sequence[int]) -> Iterator[str]:
    return (_printable(f"{harmless(match.uid)}\n") for match in matches)


# -- for people --------------------------------------------------------------------------------------------------------


def _table(matches: Sequence[Match], level: str, tags: Sequence[int]) -> Iterator[str]:
    if not matches:
        return
    rows = [[_cell(match, tag) for tag in tags] for match in matches]
    kept = [n for n, _ in enumerate(tags) if any(row[n] for row in rows)]
    names = [_HEADINGS.get(keyword(tags[n]), keyword(tags[n])) for n in kept]
    own = next((place for place, n in enumerate(kept) if tags[n] == UNIQUE_KEYS[level] and level != "PATIENT"), None)
    cells = [[row[n] for n in kept] for row in rows]
    if own is not None:  # the UID last
        order = [*(n for n in range(len(kept)) if n != own), own]
        kept, names = [kept[n] for n in order], [names[n] for n in order]
        cells = [[row[n] for n in order] for row in cells]
    right = [keyword(tags[n]).startswith("NumberOf") or names[place] == "number" for place, n in enumerate(kept)]
    widths = [max(width_of(text) for text in column) for column in zip(names, *cells, strict=True)]
    room = _terminal_width()
    split = own is not None and _squeezed(widths, room)[-1] < widths[-1]
    fitting = [*_squeezed(widths[:-1], room), widths[-1]] if split else _squeezed(widths, room)
    for row in (names, *cells):
        padded = [_fitted(text, width, right=r) for text, width, r in zip(row, fitting, right, strict=True)]
        if split:
            yield _printable(_GAP.join(padded[:-1]).rstrip() + f"\n{_GAP}{row[-1]}\n")
        else:
            yield _printable(_GAP.join(padded).rstrip() + "\n")


def _cell(match: Match, tag: int) -> str:
    name = keyword(tag)
    texts = match.texts(tag)
    if name.endswith("Date") and len(texts) == 1 and len(texts[0]) == 8 and texts[0].isdigit():
        return f"{texts[0][:4]}-{texts[0][4:6]}-{texts[0][6:]}"
    if not texts and name.startswith("NumberOf"):
        return "?"
    return harmless((", " if name != "PatientName" else "\\").join(texts))


def _squeezed(widths: list[int], room: int) -> list[int]:
    """Return widths that fit, cutting the widest columns first, none below the narrowest width."""
    result = list(widths)
    over = sum(result) + len(_GAP) * (len(result) - 1) - room
    while over > 0:
        widest = max(result[:-1] or result)
        if widest <= _NARROWEST:
            if result[-1] > _NARROWEST:
                result[-1] = max(result[-1] - over, _NARROWEST)
            return result
        result[result.index(widest)] -= 1
        over -= 1
    return result


def _fitted(text: str, width: int, *, right: bool) -> str:
    """Cut or fill a text to a width."""
    size = width_of(text)
    if size > width:
        while width_of(text) > width - 1:
            text = text[:-1]
        text += "…"
        size = width_of(text)
    return " " * (width - size) + text if right else text + " " * (width - size)


def _terminal_width() -> int:
    """Return the columns of the terminal; no limit elsewhere."""
    if sys.stdout is None or not sys.stdout.isatty():
        return 1 << 30
    columns = os.environ.get("COLUMNS", "")
    try:
        return int(columns) if columns.isdigit() and int(columns) else os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return 80


def width_of(text: str) -> int:
    """Return the columns that a text takes on a terminal: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )


def harmless(text: str) -> str:
    """Escape what may control a terminal or forge a line: control and format characters, and lone surrogates."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(one) if unicodedata.category(one) in _HARMFUL else one for one in text)


_HARMFUL: Final = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _printable(text: str) -> str:
    """Replace characters that the encoding of standard output lacks."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


_WRITERS: Final[dict[str, Callable[[Sequence[Match], str, Sequence[int]], Iterator[str]]]] = {
    "table": _table,
    "json": _json,
    "csv": _csv,
    "uids": _uids,
}
