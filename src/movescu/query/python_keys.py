"""Keys given by a Python program, and their identifier in a C-MOVE request (PS3.4 C.4.2.1.4.1).

Keys are a mapping of keywords to values, a ``pydicom.Dataset``, or the path of a query file. By default, the level is
that of the lowest unique key. The model is Study Root, or Patient Root at level PATIENT.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from movescu.dataset.encoding import Encoding
from movescu.dataset.transcoder import recode
from movescu.dataset.values import element, pad
from movescu.dictionary.tags import tag_of
from movescu.dictionary.uids import EXPLICIT_LITTLE
from movescu.errors import UsageError
from movescu.query.identifier import Identifier, make_identifier
from movescu.query.levels import LEVEL, UNIQUE_KEYS

if TYPE_CHECKING:
    from pydicom import Dataset

Keys: TypeAlias = "Mapping[str, object] | Dataset | str | os.PathLike[str]"
"""Keywords and values (a list for several UIDs), a data set, or the path of a query file."""

_TOP: Final = "PATIENT"


def identifier_of(keys: Keys) -> tuple[Identifier, str]:
    """Return the identifier of a request and its query model: STUDY, or PATIENT at level PATIENT.

    Raise ``UsageError``, which names the key or file, if one is invalid or the keys have neither level nor unique key.
    """
    identifier = _made(keys)
    values = identifier.values()
    level = values.get(LEVEL, b"").decode("latin-1").strip("\0 ")
    if not level:
        given = [name for name, tag in UNIQUE_KEYS.items() if values.get(tag)]
        if not given:
            raise UsageError(
                "the keys have neither a level nor a unique key",
                hint="give PatientID, StudyInstanceUID, SeriesInstanceUID or SOPInstanceUID",
            )
        level = given[-1]
        # _plain sorts the appended level into place.
        identifier = _plain(identifier.data + element(LEVEL, "CS", pad(level.encode(), b" ")))
    return identifier, _TOP if level == _TOP else "STUDY"


def query_of(level: str, keys: Keys | None, more: Mapping[str, object]) -> Identifier:
    """Return the identifier of a query; ``more``: keys by keyword, beside ``keys``.

    Raise ``UsageError`` if a key, or the level, is invalid.
    """
    if level not in UNIQUE_KEYS:
        raise UsageError(f"level {level!r} is not one of {', '.join(UNIQUE_KEYS)}")
    data = b"" if keys is None else _made(keys).data
    if more:
        data = _made(more).data + data  # _plain sorts, and keeps the first of two
    given = Identifier(data).values().get(LEVEL, b"").decode("latin-1").strip("\0 ")
    if given and given != level:
        raise UsageError(f"the keys have QueryRetrieveLevel {given!r}, the query level {level!r}")
    return _plain(element(LEVEL, "CS", pad(level.encode(), b" ")) + data)


def _made(keys: Keys) -> Identifier:
    if isinstance(keys, str | os.PathLike):
        return make_identifier((), os.fspath(keys))
    if isinstance(keys, Mapping):
        return make_identifier([f"{name}={_text(value)}" for name, value in keys.items()])
    return _of_data_set(cast("Dataset", keys))


def keys_of_row(row: Mapping[str, object]) -> dict[str, object]:
    """Return the keys of a row of a table, such as one of pandas: columns that are no keywords are left out.

    Raises ``UsageError`` if a unique key is blank, for the row would match more than the others.
    """
    keys = {str(name): value for name, value in row.items() if tag_of(str(name)) is not None}
    for name, value in keys.items():
        if tag_of(name) in UNIQUE_KEYS.values() and not _text(value):
            raise UsageError(f"{name} is blank: the row would match more than the others")
    return keys


def _text(value: object) -> str:
    """Return the text of a value; a missing value of a table (None, NaN) is empty."""
    if isinstance(value, list | tuple):
        return "\\".join(map(_text, value))
    try:
        missing = value is None or bool(value != value)  # noqa: PLR0124 - NaN is not equal to itself
    except TypeError:  # pandas' NA is neither
        missing = True
    if not missing and isinstance(value, date):  # a date and time too
        return value.strftime("%Y%m%d%H%M%S" if isinstance(value, datetime) else "%Y%m%d")
    return "" if missing else str(value)


def _of_data_set(keys: Dataset) -> Identifier:
    """Encode a data set of pydicom. Raise ``UsageError`` if pydicom cannot."""
    from pydicom.filebase import DicomBytesIO  # slow to import, and loaded already if there is a Dataset
    from pydicom.filewriter import write_dataset

    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    try:
        write_dataset(buffer, keys)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"the data set of keys cannot be encoded: {error}") from error
    return _plain(buffer.getvalue())


def _plain(data: bytes) -> Identifier:
    return Identifier(recode(data, EXPLICIT_LITTLE, Encoding(transfer_syntax=EXPLICIT_LITTLE)) if data else b"")
