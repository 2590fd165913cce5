"""Identifiers of C-MOVE requests, from ``-k`` keys and query files: PS3.4 C.4.2.1.4.1.

An identifier is held as the bytes of a data set in explicit VR little endian. The keys precede the elements of the
query file; recoding sorts by tag and keeps the first of equal tags. So a key replaces an element of the file, and of
two keys for an element the left one counts, as with DCMTK. ``keys`` defines the syntax of keys, ``query_files`` the
formats of files. Likely mistakes that ``advice`` finds are logged as warnings to ``movescu.query``; the request is sent
nevertheless.
"""

from __future__ import annotations

from movescu._runtime.late_log import WARNING, logger_of
from movescu._runtime.record import Record
from movescu.dataset import character_sets
from movescu.dataset.encoding import Encoding
from movescu.dataset.values import elements
from movescu.dictionary.uids import EXPLICIT_LITTLE
from movescu.query.keys import KeySet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from movescu.dictionary.uids import TransferSyntax

_LITTLE: Final = Encoding(transfer_syntax=EXPLICIT_LITTLE)
_log: Final = logger_of("movescu.query")


class Identifier(Record):
    """The data set of a C-MOVE request, in explicit VR little endian."""

    data: bytes

    def encode(self, syntax: TransferSyntax) -> bytes:
        """Return the identifier in the transfer syntax of a presentation context, padded to even length."""
        data = _recode(self.data, EXPLICIT_LITTLE, Encoding(transfer_syntax=syntax))
        return data + b"\0" * (len(data) & 1)  # only deflated data can be odd (PS3.5 A.5)

    def values(self) -> dict[int, bytes]:
        """Return the top-level values by tag."""
        return {tag: value for tag, _, value in elements(self.data)}


def make_identifier(
    keys: Iterable[str],
    query_file: str | None = None,
    *,
    model: str | None = None,
    relational: bool = False,
    keys_only: bool = False,
    resolved: bool = False,
) -> Identifier:
    """Return the identifier of one request; ``keys`` as after ``-k``, ``query_file`` is ``-`` for standard input.

    With a query model (PATIENT, STUDY or PSONLY) the keys are checked against its levels, except those of upper levels
    if ``relational`` retrieval was negotiated, and not at all if ``resolved``: then C-FIND supplies missing ones.
    ``keys_only`` drops from a file all but the keys of the model. Raise ``UsageError``, which names the key or file,
    if one is invalid.
    """
    keys = tuple(keys)
    from_file = _from_file(query_file) if query_file is not None else b""
    from_keys = _from_keys(keys, from_file)
    if keys_only and from_file:
        from_file = _reduced(from_file, from_keys, model or "PATIENT")
    data = from_keys + from_file
    in_order = not from_file and _is_in_order(from_keys)
    identifier = Identifier(data if in_order else _recode(data, EXPLICIT_LITTLE, _LITTLE))
    _advise(identifier.data, query_file, None if resolved else model, relational=relational)
    return identifier


def _is_in_order(from_keys: bytes) -> bool:
    """Return True if recoding would change nothing, which saves loading the transcoder.

    Keys are encoded in order of tags, so only group lengths, repeated padding and sequences need recoding.
    """
    return all(
        tag & 0xFFFF and vr != b"SQ" and not value.endswith((b"  ", b"\0\0") if vr == b"UI" else b"  ")
        for tag, vr, value in elements(from_keys)
    )


def _recode(data: bytes | bytearray, syntax: TransferSyntax, encoding: Encoding) -> bytes:
    from movescu.dataset.transcoder import recode  # usually not needed before the association is established

    return recode(data, syntax, encoding)


def _from_file(name: str) -> bytes:
    from movescu.query.query_files import read_query_file  # most requests have no query file

    return read_query_file(name)


def _from_keys(keys: tuple[str, ...], from_file: bytes) -> bytes:
    """Encode the keys, with the character set and private blocks of the file."""
    if not keys:
        return b""
    values = {tag: value for tag, _, value in elements(from_file)}
    creators = {
        tag: value.decode("latin-1").rstrip(" \0")
        for tag, value in values.items()
        if tag & 0x10000 and 0x10 <= tag & 0xFFFF <= 0xFF
    }
    character_set = values.get(character_sets.SPECIFIC_CHARACTER_SET)

    def remark(key: str, text: str) -> None:
        _log.warning("key %s: %s", key, text)

    return KeySet(keys, creators=creators, character_set=character_set, remark=remark).encode()


def _reduced(from_file: bytes, from_keys: bytes, model: str) -> bytes:
    from movescu.query.advice import keys_only
    from movescu.query.levels import LEVEL

    values = Identifier(_recode(from_keys + from_file, EXPLICIT_LITTLE, _LITTLE)).values()
    level = values.get(LEVEL, b"").decode("latin-1").strip()
    return keys_only(from_file, model, level)


def _advise(data: bytes, query_file: str | None, model: str | None, *, relational: bool) -> None:
    """Log warnings about likely mistakes."""
    if not _log.isEnabledFor(WARNING):
        return
    from movescu.query import advice  # only loaded if warnings are logged

    where = "" if query_file is None else f"request of {query_file}: "
    for line in advice.of_values(data):
        _log.warning("%s%s", where, line)
    if model is None:
        return
    for line in (*advice.of_levels(data, model, relational=relational), *advice.of_doubts(data, model)):
        _log.warning("%s%s", where, line)
