"""Keys given by a Python program, and their identifier in a C-MOVE request (PS3.4 C.4.2.1.4.1).

Keys are a mapping of keywords to values, a ``pydicom.Dataset``, or the path of a query file. By default, the level is
that of the lowest unique key. The model is Study Root, or Patient Root at level PATIENT.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from movescu.dictionary.uids import EXPLICIT_LITTLE
from movescu.errors import UsageError
from movescu.query.advice import check_uids
from movescu.query.encoded_keys import keys_of
from movescu.query.identifier import Identifier, make_identifier
from movescu.query.inferred_level import check_no_blank, level_of_keys, lowest_of, unknown_keys
from movescu.query.key import Key
from movescu.query.levels import LEVEL, UNIQUE_KEYS
from movescu.query.scope import Scope

if TYPE_CHECKING:
    from pydicom import Dataset

Keys: TypeAlias = "Mapping[str, object] | Dataset | str | os.PathLike[str]"
"""Keywords and values (a list for several UIDs), a data set, or the path of a query file."""

_TOP: Final = "PATIENT"


def identifier_of(keys: Keys, *, resolves: bool = False, lists: bool = False) -> tuple[Identifier, str]:
    """Return the identifier of a request and its query model: STUDY, or PATIENT at level PATIENT.

    Without a level, it is the lowest to which a key with a value belongs: the keys of a study are not to request all of
    a patient. ``resolves``: the keys are matched by C-FIND first. Default: False, one of them has to be a unique key.
    ``lists``: C-FIND lists the objects that match the keys. Default: False, a key whose level is unknown is an error.
    Raise ``UsageError``, which names the key or file, if one is invalid or the level is unknown, or if a key below the
    level that was inferred has no value: without it, more would be requested.
    """
    identifier = _made(keys)
    level = identifier.text(LEVEL)
    if not level:
        level = level_of_keys(identifier, "PATIENT")
        if not level or not (resolves or any(map(identifier.text, UNIQUE_KEYS.values()))):
            raise UsageError(
                "the keys have neither a level nor a unique key",
                hint="give PatientID, StudyInstanceUID, SeriesInstanceUID or SOPInstanceUID; for other keys, "
                "Selection(resolve=True)",
            )
        check_no_blank(identifier, lowest_of(identifier))
        if not (resolves or lists) and (unknown := unknown_keys(identifier)):
            raise UsageError(
                f"{unknown[0]} may be a key of any level: an archive would ignore it, and send more than it matches",
                hint="leave it out, give QueryRetrieveLevel, or have it matched first: Selection(resolve=True)",
            )
        identifier = Identifier((Key(LEVEL, b"CS", level.encode()), *identifier))
    elif level not in UNIQUE_KEYS and level.strip().upper() in UNIQUE_KEYS:
        level = level.strip().upper()
        identifier = Identifier((Key(LEVEL, b"CS", level.encode()), *identifier))
    model = _TOP if level == _TOP else "STUDY"
    Scope(identifier, model).note_blank()
    return identifier, model


def query_of(level: str, keys: Keys | None, more: Mapping[str, object]) -> Identifier:
    """Return the identifier of a query; ``more``: keys by keyword, beside ``keys``.

    Raise ``UsageError`` if a key, or the level, is invalid.
    """
    if not isinstance(level, str):
        raise UsageError(
            f"level {level!r} is not text, such as STUDY",
            hint="the level comes first: find('STUDY', {'PatientID': '1'})",
        )
    level = level.upper()
    if level not in UNIQUE_KEYS:
        raise UsageError(f"level {level!r} is not one of {', '.join(UNIQUE_KEYS)}")
    given = Identifier((*(_made(more) if more else ()), *(() if keys is None else _made(keys))))
    if given.text(LEVEL) not in ("", level):
        raise UsageError(f"the keys have QueryRetrieveLevel {given.text(LEVEL)!r}, the query level {level!r}")
    return Identifier((Key(LEVEL, b"CS", level.encode()), *given))


def _made(keys: Keys) -> Identifier:
    identifier = _read(keys)
    check_uids(identifier)
    return identifier


def _read(keys: Keys) -> Identifier:
    if isinstance(keys, str | os.PathLike):
        return make_identifier((), os.fspath(keys))
    if isinstance(keys, Mapping):
        return make_identifier([f"{name}={text_of(value)}" for name, value in keys.items()])
    if not hasattr(keys, "iterall"):  # pydicom's data sets have it; pydicom itself is slow to import
        raise UsageError(
            f"{keys!r} is not a set of keys",
            hint="give a mapping of keywords to values, a pydicom.Dataset, or the path of a query file",
        )
    return _of_data_set(cast("Dataset", keys))


def text_of(value: object) -> str:
    """Return the text of a value; a missing value of a table (None, NaN) is empty."""
    if isinstance(value, list | tuple):
        return "\\".join(map(text_of, value))
    try:
        missing = value is None or bool(value != value)  # noqa: PLR0124 - NaN is not equal to itself
    except TypeError:  # pandas' NA is neither
        missing = True
    if not missing and isinstance(value, date):  # a date and time too
        return value.strftime("%Y%m%d%H%M%S" if isinstance(value, datetime) else "%Y%m%d")
    return "" if missing else str(value)


def _of_data_set(keys: Dataset) -> Identifier:
    """Return the keys of a data set of pydicom. Raise ``UsageError`` if pydicom cannot."""
    from pydicom.filebase import DicomBytesIO  # slow to import, and loaded already if there is a Dataset
    from pydicom.filewriter import write_dataset

    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    try:
        write_dataset(buffer, keys)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"the data set of keys cannot be encoded: {error}") from error
    data = buffer.getvalue()
    return Identifier(keys_of(data, EXPLICIT_LITTLE) if data else ())
