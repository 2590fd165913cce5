"""Query files: their formats, and the keys in them.

=========== ==================================================================== ==============================
form        detected by                                                          read by
=========== ==================================================================== ==============================
DICOM file  ``DICM`` at byte 128, or group 0002 at the start (PS3.10 7.1)        ``encoded_keys``
JSON        a name ending in ``.json``, or ``{`` or ``[`` at the start           ``json_model`` (PS3.18 annex F)
text        a name ending in ``.dump`` or ``.txt``, or a tag or ``#`` at start   ``dump_text`` (DCMTK's dump2dcm)
log         a line ``Find Response: 1``, as findscu -v writes it                 ``find_responses``: its one answer
data set    everything else; VR and byte order as in the first element           ``encoded_keys``
=========== ==================================================================== ==============================

The name ``-`` stands for standard input.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final

from movescu.dataset.encoder import MAX_OPEN
from movescu.dataset.file_meta import decode_file_meta
from movescu.dictionary.uids import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    TRANSFER_SYNTAXES,
    TransferSyntax,
    uid_name,
)
from movescu.dictionary.vr import KNOWN
from movescu.errors import DataSetError, UsageError
from movescu.query.encoded_keys import keys_of
from movescu.query.key import ordered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from movescu.query.key import Key

STANDARD_INPUT: Final = "-"

_FIRST_TAG: Final = 0x00080000  # commands and file meta information have lower ones
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_TEXT: Final = rb"\s*(#|Dataset\.file_meta -|\([ \t]*(0[xX])?[ \t]*[0-9a-fA-F][0-9a-fA-F \t]*,)"
_LOG: Final = rb"(?m)^([FEWIDT]: ?)?(Find Response: ?[0-9]|Request Identifiers:|Response Identifiers:)"
_HINT: Final = "a query file is a DICOM file or data set, DICOM JSON, or text as dump2dcm reads it"


def read_query_file(path: str) -> tuple[Key, ...]:
    """Return the keys of a query file in order of tags; ``-`` is standard input.

    Raise ``UsageError``, which names the file, if it is invalid.
    """
    data = _read(path)
    shown = "standard input" if path == STANDARD_INPUT else repr(path)
    compression = _compression(data)
    if compression:
        raise UsageError(
            f"query file {shown} is compressed ({compression}); a request cannot be",
            hint="decompress it first, for example with dcmdjpeg, dcmdjpls or dcmdrle, or give its keys with -k",
        )
    try:
        return _data_set(path, data)
    except DataSetError as error:
        raise UsageError(f"query file {shown} is not DICOM: {error}", hint=error.hint or _HINT) from error


def _read(path: str) -> bytes:
    try:
        if path == STANDARD_INPUT:
            return sys.stdin.buffer.read()
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read query file {path!r}: {reason}") from error


def _data_set(path: str, data: bytes) -> tuple[Key, ...]:
    if not data:
        raise DataSetError("the file is empty", offset=0)
    keys = ordered(_content(path.lower(), data))
    if not any(key.tag >= _FIRST_TAG for key in keys):
        raise DataSetError("the data set has no element that a query could have")
    if _most_open(keys) > MAX_OPEN:
        raise DataSetError(f"the data set has more than {MAX_OPEN} elements")
    return keys


def _most_open(keys: tuple[Key, ...]) -> int:
    """Return the largest number of elements in the data set and open items, which the encoder limits."""
    return max((n + max(map(_most_open, key.items), default=0) for n, key in enumerate(keys, start=1)), default=0)


def _content(name: str, data: bytes) -> Sequence[Key]:
    """Return the keys, unsorted."""
    if data[128:132] == b"DICM":
        return _binary(data)
    text = data.removeprefix(_BYTE_ORDER_MARK)
    if name.endswith(".json") or text.lstrip()[:1] in (b"{", b"["):
        from movescu.query.json_model import read_json  # json is imported only if used

        return read_json(text)
    if re.search(_LOG, text):
        return _answer(text)
    if name.endswith((".dump", ".txt")) or re.match(_TEXT, text):
        from movescu.query.dump_text import read_dump

        return read_dump(text)
    return _binary(data)


def _answer(log: bytes) -> tuple[Key, ...]:
    """Return the request for the one answer in a log of findscu."""
    from movescu.query.dump_text import read_dump
    from movescu.query.find_responses import answers_of_log

    answers = list(answers_of_log(log.decode("utf-8", "surrogateescape")))
    if len(answers) != 1:
        found = f"{len(answers)} answers, not one" if answers else "no answers"
        raise DataSetError(f"the log of a query has {found}", hint="retrieve the answers of a query with --list")
    return tuple(read_dump(answers[0].dump()))


def _binary(data: bytes) -> tuple[Key, ...]:
    """Read a DICOM file or a bare data set."""
    meta = decode_file_meta(data)
    if meta is None:
        syntax, position = _detect(data), 0
    else:
        position = meta.length
        if meta.transfer_syntax_uid not in TRANSFER_SYNTAXES:
            raise DataSetError(f"unknown transfer syntax {meta.transfer_syntax_uid!r}")
        syntax = TRANSFER_SYNTAXES[meta.transfer_syntax_uid]
    if len(data) == position:
        raise DataSetError("the file has no data set", offset=position)
    return keys_of(memoryview(data)[position:], syntax)


def _compression(data: bytes) -> str:
    """Return the name of the transfer syntax of a compressed DICOM file, empty for anything else."""
    try:
        meta = decode_file_meta(data)
    except DataSetError:
        return ""
    syntax = None if meta is None else TRANSFER_SYNTAXES.get(meta.transfer_syntax_uid)
    return uid_name(syntax.uid) if syntax is not None and syntax.encapsulated else ""


def _detect(data: bytes) -> TransferSyntax:
    """Return the transfer syntax of a bare data set: explicit if a VR follows the tag; byte order by the group."""
    if data[4:6] not in KNOWN:
        return IMPLICIT_LITTLE
    little, big = int.from_bytes(data[:2], "little"), int.from_bytes(data[:2], "big")
    return EXPLICIT_LITTLE if little <= big else EXPLICIT_BIG
