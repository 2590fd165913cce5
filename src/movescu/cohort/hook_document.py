"""Input of a command of ``--on-study`` or ``--on-series``: the values of its placeholders, and a JSON document.

The document is the command's standard input. It is ASCII: bytes of a path that are not UTF-8 are lone surrogates, as in
Python's ``os.fsdecode``. The Patient ID is that of the first object, as the answers of an archive need not have it.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any, Final

from movescu.dataset.character_sets import EXTENDED, SPECIFIC_CHARACTER_SET, decode, terms_of
from movescu.dataset.file_meta import decode_file_meta
from movescu.dataset.identity import IdentityReader
from movescu.dataset.transcoder import Reader
from movescu.dataset.values import is_text
from movescu.dictionary.uids import TRANSFER_SYNTAXES
from movescu.errors import DataSetError
from movescu.query.scope import keyword

if TYPE_CHECKING:
    from collections.abc import Sequence

    from movescu.dictionary.vr import Buffer
    from movescu.query.identifier import Identifier
    from movescu.retrieve.parts import Part

VERSION: Final = 1
"""Version of the document; it changes when old readers would misread a new one."""

_PATIENT_ID: Final = 0x00100020
_HEAD: Final = 1 << 16  # bytes of a file in which its Patient ID is looked for


def values_of_part(part: Part, files: Sequence[str]) -> dict[str, str]:
    """Return the values of the placeholders; ``files``: absolute paths."""
    return {
        "study_uid": part.place.study,
        "series_uid": part.place.series,
        "patient_id": patient_id_of(files[0]) or part.place.patient,
        "directory": os.path.commonpath([os.path.dirname(file) for file in files]),
        "count": str(len(files)),
    }


def document_of(
    part: Part, files: Sequence[str], values: dict[str, str], *, archive: str, keys: dict[str, str], row: int | None
) -> bytes:
    """Return the JSON document; ``keys``: of the request, ``row``: number of the list's entry, None without a list."""
    told: dict[str, Any] = {
        "version": VERSION,
        "level": part.level,
        "patient_id": values["patient_id"],
        "study_instance_uid": part.place.study,
        **({"series_instance_uid": part.place.series} if part.level == "SERIES" else {}),
        "directory": values["directory"],
        "count": len(files),
        "series": [{"series_instance_uid": uid, "count": count} for uid, count in part.series],
        "sop_instance_uids": list(part.sop_instance_uids),
        "files": list(files),
        "archive": archive,
        "keys": keys,
        **({} if row is None else {"row": row}),
    }
    return json.dumps(told).encode("ascii") + b"\n"


def keys_of(identifier: Identifier) -> dict[str, str]:
    """Return the keys of a request that have text, by keyword."""
    return {
        keyword(key.tag): _text(key.value, identifier.terms if key.vr in EXTENDED else ("",))
        for key in identifier
        if key.value and is_text(key.vr.decode("ascii"))
    }


def patient_id_of(file: str) -> str:
    """Return the Patient ID in the head of a DICOM file, empty if it is not found."""
    try:
        with open(file, "rb") as opened:
            head = opened.read(_HEAD)
        meta = decode_file_meta(head)
        if meta is None or meta.transfer_syntax_uid not in TRANSFER_SYNTAXES:
            return ""
        found = _PatientReader()
        with contextlib.suppress(_EnoughError):
            Reader(TRANSFER_SYNTAXES[meta.transfer_syntax_uid], found).feed(memoryview(head)[meta.length :])
    except (OSError, DataSetError):
        return ""
    return _text(found.patient_id, terms_of(found.character_set))


def _text(value: bytes, terms: tuple[str, ...]) -> str:
    text = decode(value, terms)
    return (value.decode("latin-1") if text is None else text).strip("\0 ")


class _EnoughError(Exception):
    """The Patient ID has been passed."""


class _PatientReader(IdentityReader):
    """Reads the Patient ID of a data set, and its character set."""

    def __init__(self) -> None:
        super().__init__()
        self.patient_id = b""
        self.character_set = b""

    def element(self, tag: int, vr: bytes, value: Buffer, big: bool) -> None:  # noqa: ARG002, FBT001 - see Handler
        """Record the two values."""
        if self._depth:
            return
        if tag == SPECIFIC_CHARACTER_SET:
            self.character_set = bytes(value)
        elif tag == _PATIENT_ID:
            self.patient_id = bytes(value)
        if tag >= _PATIENT_ID:
            raise _EnoughError

    def begin(self, tag: int, vr: bytes, length: int, big: bool) -> None:  # noqa: ARG002, FBT001 - see Handler
        """Skip a large value."""
        if not self._depth and tag >= _PATIENT_ID:
            raise _EnoughError

    def begin_fragments(self, tag: int) -> None:  # noqa: ARG002 - see Handler
        """Stop at pixel data."""
        raise _EnoughError
