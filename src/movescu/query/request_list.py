"""Lists of requests (``--list``): the entries of a CSV file, lines of text, or the answers of a query, as identifiers.

The first record names the columns by keyword or tag (``list_columns``); without such a record, the file is a list of
Study Instance UIDs, one per line. ``list_text`` has the forms of CSV, ``find_responses`` the answers of C-FIND and
QIDO-RS that are lists too. Columns that name no attribute are kept for the report. Keys common to all entries are given
separately.

Unless a column states it, the level of the entries is the lowest to which a column belongs (``scope``): an entry with
an accession number and a patient ID requests a study. A blank cell that leaves an entry without its unique key is an
error, because the entry would request more than the others; so is a value that a spreadsheet has damaged
(``list_values``). Every entry is checked before the first is requested.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu._runtime.late_log import logger_of
from movescu.dataset.values import key_vr
from movescu.dictionary.uids import EXPLICIT_LITTLE
from movescu.errors import DataSetError, UsageError
from movescu.query.advice import check_uids
from movescu.query.find_responses import answers_of_json, answers_of_log, is_find_log
from movescu.query.identifier import make_identifier
from movescu.query.inferred_level import check_no_blank
from movescu.query.key_text import parse_tag
from movescu.query.levels import LEVEL, MODELS, UNIQUE_KEYS
from movescu.query.list_columns import exact_tag, is_below_patient, lowest_level, tag_of_column
from movescu.query.list_text import ListRecord, read_records, read_text, shown_name
from movescu.query.list_values import fault_of, is_uid
from movescu.query.scope import LEVELS, Scope, keyword

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from movescu.query.identifier import Identifier
    from movescu.query.selection import Selection

_log: Final = logger_of("movescu.query")

_CHARACTER_SET: Final = 0x00080005
_STUDY: Final = UNIQUE_KEYS["STUDY"]
_NAMED: Final = 5  # columns that the warning names


@dataclass(frozen=True, slots=True)
class Row:
    """A request of a list. ``number`` is its position, from 1; ``text`` its keys, for messages.

    ``line``: where it begins in the file, from 1; 0 if unknown.
    ``columns``: the cells that are not keys, by heading, for the report. ``keys``: its own keys, as after ``-k``.
    ``model``: query model of the request. Default: empty, that of the configuration.
    """

    number: int
    text: str
    identifier: Identifier
    columns: tuple[tuple[str, str], ...] = ()
    keys: tuple[str, ...] = ()
    line: int = 0
    model: str = ""

    @property
    def place(self) -> str:
        """The line and the keys, for messages."""
        return f"line {self.line}: {self.text}" if self.line else self.text

    def key(self, archive: str, selection: Selection | None = None) -> str:
        """Return a digest that identifies the request to ``archive``, independent of its position in a list.

        ``selection``: what of the matches is retrieved. Default: all.
        """
        request = self.identifier.encode(EXPLICIT_LITTLE)
        whole = archive.encode("utf-8", "surrogateescape") + b"\0" + request
        if selection is not None and (chosen := selection.text):
            whole += b"\0" + chosen.encode()
        return hashlib.sha256(whole).hexdigest()


class _Common(NamedTuple):
    """Properties common to all entries.

    ``keys``: as after ``-k``. ``stated``: they have a level. ``level``: of an entry without a key that states one.
    ``raw``: bytes that are not UTF-8 are sent, for a key names their character set. ``returned``: keys without a value
    are to be returned, and narrow nothing.
    """

    keys: Sequence[str]
    model: str
    stated: bool
    level: str = ""
    raw: bool = False
    returned: bool = False


class _Column(NamedTuple):
    """A column that is a key; ``place``: its position, from 0, ``name``: keyword or tag of the key."""

    place: int
    heading: str
    tag: int
    name: str
    vr: str

    @classmethod
    def of(cls, place: int, heading: str, tag: int) -> _Column:
        """Return the column of a tag."""
        return cls(place, heading, tag, keyword(tag), key_vr(tag) or "")

    def __str__(self) -> str:
        return f"column {self.place + 1} ({self.heading})"


class _Columns(NamedTuple):
    """The columns of a list: keys, and those for the report by position."""

    keys: list[_Column]
    further: list[tuple[int, str]]
    width: int


def read_rows(path: str, keys: Sequence[str] = (), *, model: str | None = None, returned: bool = False) -> list[Row]:
    """Read a list; ``keys``, as after ``-k``, are added to each entry that does not have them.

    ``returned``: those without a value are to be returned by a query. Default: False, one that would narrow the entries
    is an error. Raise ``UsageError``, which names the line, if one is invalid.
    """
    text = read_text(path)
    stated, raw = (any(_is_named(key, tag) for key in keys) for tag in (LEVEL, _CHARACTER_SET))
    common = _Common(keys, model or "PATIENT", stated, raw=raw, returned=returned)
    if is_find_log(text) or text.lstrip()[:1] in ("[", "{"):
        rows = _of_answers(path, text, common)
    else:
        rows = _of_records(path, text, common)
    if not rows:
        raise UsageError(f"the list {shown_name(path)} has no entries")
    return rows


def _is_named(key: str, tag: int) -> bool:
    name, _, value = key.partition("=")
    try:
        return bool(value) and parse_tag(name) == tag
    except UsageError:  # the path of an item, or a mistake that make_identifier tells
        return False


# -- answers of a query ------------------------------------------------------------------------------------------------


def _of_answers(path: str, text: str, common: _Common) -> list[Row]:
    """Return the entries of a log of findscu, or of an array of QIDO-RS."""
    stated = next((key.partition("=")[2].strip() for key in common.keys if _is_named(key, LEVEL)), "")
    rows = []
    try:
        for number, answer in enumerate((answers_of_log if is_find_log(text) else answers_of_json)(text), start=1):
            try:
                own = answer.keys(MODELS[common.model], stated)
                _check_keys(own)
                rows.append(replace(_row(number, own, common), line=answer.line))
            except (DataSetError, UsageError) as error:
                raise UsageError(f"line {answer.line} of {shown_name(path)}: {error}", hint=error.hint) from error
    except DataSetError as error:
        raise UsageError(f"{shown_name(path)}: {error}", hint=error.hint) from error
    return rows


def _check_keys(own: Sequence[str]) -> None:
    raw = any(_is_named(key, _CHARACTER_SET) for key in own)
    for name, _, value in (key.partition("=") for key in own):
        fault = fault_of(key_vr(parse_tag(name)) or "", value, raw=raw)
        if fault:
            raise UsageError(f"{name}: {fault}")


# -- records -----------------------------------------------------------------------------------------------------------


def _of_records(path: str, text: str, common: _Common) -> list[Row]:
    records = read_records(path, text, lambda cell: exact_tag(cell) is not None)
    if not records:
        return []
    first, rest = records[0], records[1:]
    if _is_row_of_uids(first):
        columns, rest = _Columns([_Column.of(0, "StudyInstanceUID", _STUDY)], [], 1), records
    else:
        columns = _columns(path, first, rest, common)
    tags = [*(column.tag for column in columns.keys), *_tags(common.keys)]
    level = lowest_level(tags, MODELS[common.model])
    raw = common.raw or any(column.tag == _CHARACTER_SET for column in columns.keys)
    common = common._replace(level=level, raw=raw)
    if level and not (common.stated or common.returned or any(column.tag == LEVEL for column in columns.keys)):
        check_no_blank(make_identifier(common.keys), lowest_level(tags, LEVELS))
    rows = []
    for number, record in enumerate(rest, start=1):
        try:
            rows.append(_row_of_record(number, record, columns, common))
        except UsageError as error:
            place = f"line {record.line}{error.column}" if isinstance(error, _CellError) else f"line {record.line}"
            raise UsageError(f"{place} of {shown_name(path)}: {error}", hint=error.hint) from error
    return rows


class _CellError(UsageError):
    """A cell is invalid; ``column`` names its column."""

    def __init__(self, column: _Column, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.column = f", {column}"


def _is_row_of_uids(record: ListRecord) -> bool:
    return is_uid(record.cells[0]) and not any(record.cells[1:])


def _tags(keys: Iterable[str]) -> list[int]:
    """Return the tags of keys with values; the path of an item has none."""
    names = (name for name, _, value in (key.partition("=") for key in keys) if value and "[" not in name)
    return [parse_tag(name) for name in names]


def _columns(path: str, first: ListRecord, rest: Sequence[ListRecord], common: _Common) -> _Columns:
    """Return the columns that the first record names. Raise ``UsageError`` if one probably is a key by another name."""
    own: dict[int, _Column] = {}
    further = []
    where = f"line {first.line} of {shown_name(path)}"
    filled = {place for record in rest for place, cell in enumerate(record.cells) if cell}
    for place, cell in enumerate(first.cells):
        heading = " ".join(cell.split())
        if not heading:
            if place in filled:
                further.append((place, f"column {place + 1}"))
            continue
        try:
            tag = tag_of_column(heading)
        except UsageError as error:
            raise UsageError(f"{where}: {error}", hint=error.hint) from error
        if tag is None:
            taken = any(heading == other for _, other in further)
            further.append((place, f"{heading} ({place + 1})" if taken else heading))
        elif tag in own:
            twice = f"the list names {heading} twice"
            raise UsageError(f"{where}: {twice}: columns {own[tag].place + 1} and {place + 1}", hint="keep one of them")
        else:
            own[tag] = _Column.of(place, heading, tag)
    blank = _to_leave_out([c.tag for c in own.values() if c.place not in filled], own, common)
    if len(blank) < len(own):
        own = {tag: column for tag, column in own.items() if tag not in blank}
    if not own:
        shown = ", ".join(repr(cell[:40]) for cell in first.cells[:_NAMED])
        raise UsageError(
            f"{where}: the first line does not name columns: {shown}",
            hint="name the columns by keyword, as in PatientID,StudyInstanceUID; for a list of accession numbers, "
            "put the line AccessionNumber first",
        )
    if further:
        names = [repr(heading) for _, heading in further]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        _log.warning(
            "%s: not sent, but kept for --report and --failed: column%s %s%s",
            *(shown_name(path), "" if len(names) == 1 else "s", ", ".join(names[:_NAMED]), more),
        )
    return _Columns(list(own.values()), further, max(1, *(c.place + 1 for c in own.values())))


def _to_leave_out(empty: Iterable[int], tags: Iterable[int], common: _Common) -> list[int]:
    """Return the empty columns that are as if they were not there; ``tags``: of all columns."""
    blank = [tag for tag in empty if tag not in UNIQUE_KEYS.values()]
    kept = [tag for tag in tags if tag not in blank]
    if lowest_level([*kept, *_tags(common.keys)], LEVELS) == "PATIENT" and not (common.stated or LEVEL in kept):
        return [tag for tag in blank if not is_below_patient(tag)]  # else, all studies would be requested
    return blank


def _row_of_record(number: int, record: ListRecord, columns: _Columns, common: _Common) -> Row:
    cells = record.cells
    known = {column.place for column in columns.keys} | {place for place, _ in columns.further}
    surplus = next((place for place, cell in enumerate(cells) if cell and place not in known), None)
    if len(cells) < columns.width or surplus is not None:
        raise UsageError(
            f"the entry has {len(cells)} column{'' if len(cells) == 1 else 's'}, the first line has {max(known) + 1}",
            hint="put a value that contains the delimiter in quotes",
        )
    own = []
    for column in columns.keys:
        value = cells[column.place]
        fault = fault_of(column.vr, value, raw=common.raw) if value else ""
        if fault:
            raise _CellError(column, fault)
        if value:
            own.append(f"{column.name}={value}")
    blank = [column for column in columns.keys if not cells[column.place]]
    row = _row(number, own, common, blank)
    further = tuple((heading, _readable(cells[place])) for place, heading in columns.further if place < len(cells))
    return replace(row, columns=further, line=record.line)


def _readable(cell: str) -> str:
    """Return a cell for the report, with bytes that are not UTF-8 replaced."""
    return cell if cell.isascii() else cell.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _row(number: int, own: Sequence[str], common: _Common, blank: Sequence[_Column] = ()) -> Row:
    """Return an entry of its own keys and the common ones; ``blank``: columns without a value in the entry."""
    all_keys = [*own, *common.keys]
    own_level = any(key.startswith("QueryRetrieveLevel=") for key in own)
    if not (common.stated or own_level):
        if not common.level:
            raise UsageError("none of the columns determines the level", hint="give QueryRetrieveLevel with -k")
        all_keys.append(f"QueryRetrieveLevel={common.level}")
    identifier = make_identifier(all_keys)
    check_uids(identifier)
    scope = Scope(identifier, common.model)
    # Without a unique key of its level, any blank matches more. With one, an entry that states its level is complete:
    # in the list of --failed, a study without a patient ID stands beside others, or beside a series.
    alone = scope.level in LEVELS and bool(scope.unique(scope.level))
    for column in blank:
        if not alone or (column.tag in UNIQUE_KEYS.values() and not own_level):
            raise _CellError(
                column,
                f"{column.name} is blank: the entry would request more than the others",
                hint="fill it in, remove the entry, or move it to a list without that column",
            )
    scope.check()
    return Row(number, ", ".join(own), identifier, keys=tuple(own))
