"""Identifiers of C-MOVE requests, from ``-k`` keys and query files: PS3.4 C.4.2.1.4.1.

An identifier is held as the bytes of a data set in explicit VR little endian. Keys stand in front of the query file's
elements, and recoding sorts by tag and keeps the first of equal ones: so a key replaces what the file has, and of
two keys the left one counts, as with DCMTK. What the keys mean is told by ``keys``, what files may be by
``query_files``; what looks wrong about either is logged as a warning to ``movescu.query``, as ``advice`` finds it, and
sent all the same.
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
        """Return its bytes in the transfer syntax of the presentation context; always of even length."""
        data = _recode(self.data, EXPLICIT_LITTLE, Encoding(transfer_syntax=syntax))
        return data + b"\0" * (len(data) & 1)  # only deflated data can be odd (PS3.5 A.5)

    def values(self) -> dict[int, bytes]:
        """Return the values of the top level by tag."""
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
    """Make the identifier of one request; ``keys`` as after ``-k``, ``query_file`` also ``-`` for standard input.

    With the query model (PATIENT, STUDY or PSONLY) the keys are compared with its levels; ``relational``: the archive
    was asked to do without those of upper levels; ``resolved``: C-FIND finds out what is missing. ``keys_only`` takes
    from a file nothing but what the model knows. Raise ``UsageError``, which names the key or file and what is wrong
    with it.
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
    """Return True if recoding, which takes 10 ms to load, would change nothing: keys are encoded in their order.

    What is left to do are group lengths, padding in pairs, and what the items of sequences may have.
    """
    return all(
        tag & 0xFFFF and vr != b"SQ" and not value.endswith((b"  ", b"\0\0") if vr == b"UI" else b"  ")
        for tag, vr, value in elements(from_keys)
    )


def _recode(data: bytes | bytearray, syntax: TransferSyntax, encoding: Encoding) -> bytes:
    from movescu.dataset.transcoder import recode  # not before the association stands, in most cases

    return recode(data, syntax, encoding)


def _from_file(name: str) -> bytes:
    from movescu.query.query_files import read_query_file  # most requests are made of keys

    return read_query_file(name)


def _from_keys(keys: tuple[str, ...], from_file: bytes) -> bytes:
    """Encode the keys, in view of the file that they are added to."""
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
    """Log what looks wrong."""
    if not _log.isEnabledFor(WARNING):
        return
    from movescu.query import advice  # quiet runs need no advice

    where = "" if query_file is None else f"request of {query_file}: "
    for line in advice.of_values(data):
        _log.warning("%s%s", where, line)
    for line in advice.of_levels(data, model, relational=relational) if model is not None else ():
        _log.warning("%s%s", where, line)
