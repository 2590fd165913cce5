"""Entries of a list given by a Python program, such as the rows of a table of pandas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, time
from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu.dataset.values import key_vr
from movescu.errors import UsageError
from movescu.query.levels import LEVEL, UNIQUE_KEYS
from movescu.query.list_columns import is_below_patient, lowest_level, tag_of_column
from movescu.query.list_values import NUMBERS, fault_of
from movescu.query.python_keys import identifier_of, text_of
from movescu.query.request_list import Row
from movescu.query.scope import LEVELS, Scope, keyword

if TYPE_CHECKING:
    from movescu.query.selection import Selection


_log: Final = logger_of("movescu.query")

_NAMED: Final = 5  # columns that the warning names


def entries_of(
    rows: Iterable[Mapping[str, object]], model: str | None = None, selection: Selection | None = None
) -> list[Row | Exception]:
    """Return the entries, numbered from 1; in place of one that cannot be requested, why.

    ``model``: query model of all. Default: the one that fits the level of each. ``selection``: which keys may be
    patterns or match everything. Default: none. An entry without a unique key of its level must not be blank where
    others are not: it would match more than they do.
    """
    columns: dict[str, int | None] = {}
    named = [_keys_or_error(row, columns) for row in rows]
    unknown = [heading for heading, tag in columns.items() if tag is None]
    if unknown:
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        _log.warning(
            "column%s %s%s %s no attribute: not sent",
            *("" if len(unknown) == 1 else "s", ", ".join(map(repr, unknown[:_NAMED])), more),
            "names" if len(unknown) == 1 else "name",
        )
    filled = {name for keys in named if isinstance(keys, dict) for name, text in keys.items() if text}
    return [
        keys if isinstance(keys, Exception) else _entry_of(number, keys, filled, model, selection)
        for number, keys in enumerate(named, 1)
    ]


def _keys_or_error(row: Mapping[str, object], columns: dict[str, int | None]) -> dict[str, object] | Exception:
    try:
        return keys_of_row(row, columns)
    except Exception as error:  # noqa: BLE001 - yielded in place of a result
        return error


def _entry_of(
    number: int, keys: dict[str, object], filled: set[str], model: str | None, selection: Selection | None
) -> Row | Exception:
    try:
        identifier, own = identifier_of(_with_level(keys))
        scope = Scope(identifier, model or own)
        patterns, everything = (False, False) if selection is None else (selection.resolve, selection.everything)
        scope.check(patterns=patterns, everything=everything)
    except Exception as error:  # noqa: BLE001 - yielded in place of a result
        return error
    for name in (name for name, text in keys.items() if not text):
        tag = tag_of_column(name) or 0
        level = lowest_level((tag,), LEVELS)
        alone = level in LEVELS and any(map(scope.unique, LEVELS[LEVELS.index(level) :]))
        if name in filled and not alone:
            return UsageError(f"{name} is blank: the entry would match more than the others")
        if is_below_patient(tag) and not any(map(_is_below_patient_or_level, filter(keys.get, keys))):
            return UsageError(f"{name} is blank: the entry would match all studies of a patient")
    texts = tuple(f"{name}={text}" for name, text in keys.items())
    return Row(number, ", ".join(texts), identifier, keys=texts, model=model or own)


def _with_level(keys: dict[str, object]) -> dict[str, object]:
    """Return the keys with a level: without one, the lowest of their columns, as in a list."""
    tags = [tag_of_column(name) or 0 for name, text in keys.items() if text]
    return keys if LEVEL in tags else {**keys, keyword(LEVEL): lowest_level(tags, LEVELS)}


def _is_below_patient_or_level(name: str) -> bool:
    tag = tag_of_column(name) or 0
    return tag == LEVEL or is_below_patient(tag)


def check_rows(rows: object, jobs: object) -> None:
    """Raise ``UsageError`` unless ``rows`` can be a sequence of entries, and ``jobs`` is a number from 1."""
    if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
        raise UsageError(f"{rows!r} is not a sequence of entries", hint="give a list of mappings, such as [{...}]")
    if not isinstance(jobs, int) or isinstance(jobs, bool) or jobs < 1:
        raise UsageError(f"jobs {jobs!r} is not a number from 1")


def keys_of_row(row: Mapping[str, object], columns: dict[str, int | None]) -> dict[str, object]:
    """Return the keys of an entry of a table, such as a row of pandas: columns that name no attribute are left out.

    ``columns``: the tags of headings, to be kept for the next entry. Without a unique key, the level is the lowest to
    which a key belongs. Raise ``UsageError`` if a unique key is blank, for the entry would match more than the others,
    and if a heading or value is damaged (``list_columns``, ``list_values``).
    """
    if not hasattr(row, "items"):  # a row of pandas is no Mapping
        raise UsageError(f"{row!r} is not an entry", hint="give a mapping of keywords to values")
    keys: dict[int, str] = {}
    for heading, value in row.items():
        name = str(heading)
        if name not in columns:
            columns[name] = tag_of_column(name)
        tag = columns[name]
        if tag is None:
            continue
        if tag in keys:
            raise UsageError(f"the entry names {keyword(tag)} twice", hint="keep one column of it")
        keys[tag] = _cell(tag, value)
    given = [tag for tag, text in keys.items() if text]
    if LEVEL not in given and not any(tag in given for tag in UNIQUE_KEYS.values()):
        keys[LEVEL] = lowest_level(given, LEVELS)
    return {keyword(tag): text for tag, text in keys.items() if text or tag != LEVEL}


def _cell(tag: int, value: object) -> str:
    """Return the text of a cell. Raise ``UsageError`` if it is blank and must not be, or damaged."""
    vr, name = key_vr(tag) or "", keyword(tag)
    if isinstance(value, float) and value == value and vr not in NUMBERS:  # noqa: PLR0124 - NaN is not equal to itself
        raise UsageError(f"{name} is the number {value}", hint="read the table's columns as text, as with dtype=str")
    form = {"DA": "%Y%m%d", "TM": "%H%M%S", "DT": "%Y%m%d%H%M%S"}.get(vr)
    text = text_of(value).strip()
    if text and form is not None and isinstance(value, date | time):
        text = value.strftime(form)
    fault = fault_of(vr, text) if text else ""
    if fault:
        raise UsageError(f"{name}: {fault}")
    if not text and tag in UNIQUE_KEYS.values():
        raise UsageError(f"{name} is blank: the entry would match more than the others")
    return text
