"""Identifiers of C-MOVE and C-FIND requests: PS3.4 C.4.1.1.3, C.4.2.1.4.1.

An identifier is a tuple of keys (``key``) in order of tags. Keys precede the elements of a query file, and the first of
equal tags counts. So a key replaces an element of the file, and of two keys for an element the left one counts, as with
DCMTK. ``key_text`` defines the syntax of ``-k``, ``query_files`` the formats of files. Nothing is encoded before the
transfer syntax of the presentation context is known. Likely mistakes that ``advice`` finds are logged as warnings to
``movescu.query``; the request is sent nevertheless.
"""

from __future__ import annotations

from struct import Struct

from movescu._runtime.late_log import WARNING, logger_of
from movescu._runtime.record import Record
from movescu.dataset import character_sets
from movescu.dataset.encoding import Encoding
from movescu.dictionary.vr import KNOWN, LONG, TEXT
from movescu.errors import UsageError
from movescu.query.key import MAX_SHORT, ordered
from movescu.query.key_text import KeySet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Final

    from movescu.dataset.encoder import Encoder
    from movescu.dictionary.uids import TransferSyntax
    from movescu.query.key import Key

    Resolved = Callable[["Identifier", "Identifier"], "Identifier"]

_log: Final = logger_of("movescu.query")

_SHORT: Final = KNOWN - LONG
"""VRs whose header has a length of 16 bits (PS3.5 table 7.1-2)."""
_IMPLICIT: Final = Struct("<HHI").pack
_EXPLICIT: Final = Struct("<HH2sH").pack


class Identifier(Record):
    """The keys of one request, in order of tags, each tag once; of equal tags given, the first counts.

    ``compression_level``: of zlib, 0 to 9, for a deflated transfer syntax (``+cl``). Default: 6.
    """

    keys: tuple[Key, ...]
    compression_level: int = 6

    def __init__(self, keys: Iterable[Key], compression_level: int = 6) -> None:
        self.__dict__["keys"] = ordered(keys)
        self.__dict__["compression_level"] = compression_level

    def __iter__(self) -> Iterator[Key]:
        return iter(self.keys)

    def get(self, tag: int) -> Key | None:
        """Return the key of a tag at the top level, None if there is none."""
        for key in self.keys:
            if key.tag == tag:
                return key
        return None

    def text(self, tag: int) -> str:
        """Return the text of the key of a tag, empty if there is none."""
        key = self.get(tag)
        return "" if key is None else key.text

    @property
    def terms(self) -> tuple[str, ...]:
        """The defined terms of Specific Character Set, an empty one if there are none."""
        key = self.get(character_sets.SPECIFIC_CHARACTER_SET)
        return character_sets.terms_of(key.value) if key is not None and key.value else ("",)

    def encode(self, syntax: TransferSyntax) -> bytes:
        """Return the identifier in the transfer syntax of a presentation context, padded to even length."""
        if not (syntax.big_endian or syntax.deflated) and all(map(_is_plain, self.keys)):
            return b"".join([_encoded(key, implicit=syntax.implicit) for key in self.keys])
        from movescu.dataset.encoder import Encoder  # not needed before the association is established
        from movescu.dataset.output import MemorySink, Output

        sink = MemorySink()
        encoding = Encoding(transfer_syntax=syntax)
        encoder = Encoder(syntax, encoding, Output(sink), file_offset=0, spool=MemorySink)
        _write(self.keys, encoder)
        encoder.finish()
        if not syntax.deflated:
            return bytes(sink.data)
        import zlib  # hardly any archive accepts a deflated context

        deflater = zlib.compressobj(self.compression_level, zlib.DEFLATED, -zlib.MAX_WBITS)
        data = deflater.compress(sink.data) + deflater.flush()
        return data + b"\0" * (len(data) & 1)  # only deflated data can be odd (PS3.5 A.5)


def _is_plain(key: Key) -> bool:
    """Return True for a key whose element is its value behind a short header: no nested keys, nothing to calculate."""
    return key.vr in _SHORT and bool(key.tag & 0xFFFF) and len(key.value) <= MAX_SHORT


def _encoded(key: Key, *, implicit: bool) -> bytes:
    """Return the element of a plain key in little endian, as ``Encoder`` writes it (PS3.5 7.1.2, 7.1.3)."""
    tag, vr, value = key.tag, key.vr, key.value
    if len(value) & 1:
        value += b" " if vr in TEXT else b"\0"
    if implicit:
        return _IMPLICIT(tag >> 16, tag & 0xFFFF, len(value)) + value
    return _EXPLICIT(tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def _write(keys: Iterable[Key], encoder: Encoder) -> None:
    """Encode keys in order."""
    for key in keys:
        if key.vr == b"SQ":
            encoder.begin_sequence(key.tag)
            for item in key.items:
                encoder.begin_item()
                _write(item, encoder)
                encoder.end_item()
            encoder.end_sequence()
        else:
            encoder.element(key.tag, key.vr, key.value, big=False)


def make_identifier(
    keys: Iterable[str],
    query_file: str | None = None,
    *,
    model: str | None = None,
    relational: bool = False,
    keys_only: bool = False,
    resolved: Resolved | None = None,
    compression_level: int = 6,
) -> Identifier:
    """Return the identifier of one request; ``keys`` as after ``-k``, ``query_file`` is ``-`` for standard input.

    With a query model (PATIENT, STUDY or PSONLY) the keys are checked against its levels, except those of upper levels
    if ``relational`` retrieval was negotiated, and not at all if ``resolved``: then C-FIND supplies missing ones, and
    ``resolved`` returns the identifier with its level; called with the keys, and with those before any is dropped.
    ``keys_only`` drops from a file all but the keys of the model. ``compression_level``: see ``Identifier``. Raise
    ``UsageError``, which names the key or file, if one is invalid.
    """
    of_file = Identifier(_from_file(query_file) if query_file is not None else ())
    own = _from_keys(tuple(keys), of_file)
    whole = identifier = Identifier((*own, *of_file))
    if keys_only and of_file.keys:
        identifier = Identifier((*own, *_reduced(of_file, identifier, model or "PATIENT")))
        if not identifier.keys:
            raise UsageError(f"query file {query_file!r} has no key of a retrieve", hint="give the keys with -k")
    if resolved is not None:
        from movescu.query.advice import check_uids  # late: a plain retrieve sends what DCMTK does

        check_uids(identifier)
        identifier = resolved(identifier, whole)
    identifier = Identifier(identifier, compression_level)
    _advise(identifier, query_file, model, relational=relational, resolved=resolved is not None)
    return identifier


def _from_file(name: str) -> tuple[Key, ...]:
    from movescu.query.query_files import read_query_file  # most requests have no query file

    return read_query_file(name)


def _from_keys(keys: tuple[str, ...], of_file: Identifier) -> tuple[Key, ...]:
    """Parse the keys, with the character set and private blocks of the file."""
    if not keys:
        return ()
    creators = {key.tag: key.value.decode("latin-1").rstrip(" \0") for key in of_file if key.is_creator}
    character_set = of_file.get(character_sets.SPECIFIC_CHARACTER_SET)

    def remark(key: str, text: str) -> None:
        _log.warning("key %s: %s", key, text)

    return KeySet(
        keys,
        creators=creators,
        character_set=None if character_set is None else character_set.value,
        remark=remark,
    ).keys()


def _reduced(of_file: Identifier, identifier: Identifier, model: str) -> Iterable[Key]:
    from movescu.query.advice import keys_only
    from movescu.query.levels import LEVEL

    return keys_only(of_file, model, identifier.text(LEVEL))


def _advise(
    identifier: Identifier, query_file: str | None, model: str | None, *, relational: bool, resolved: bool
) -> None:
    """Log warnings about likely mistakes; where keys are resolved, wild cards in unique keys are refused or meant."""
    if not _log.isEnabledFor(WARNING):
        return
    from movescu.query import advice  # only loaded if warnings are logged
    from movescu.query.levels import LEVEL, UNIQUE_KEYS

    where = "" if query_file is None else f"request of {query_file}: "
    patterns = [key for key in identifier if b"*" in key.value or b"?" in key.value]
    meant = {key.tag for key in patterns if resolved and key.tag in UNIQUE_KEYS.values()}
    if identifier.text(LEVEL).strip().upper() in UNIQUE_KEYS:
        meant.add(LEVEL)  # in lower case, it is named below, or corrected
    checked = (key for key in identifier if key.tag not in meant)
    for line in advice.of_values(checked, identifier.terms):
        _log.warning("%s%s", where, line)
    if model is None or resolved:
        return
    doubts = advice.of_doubts(identifier, model)
    for line in (*advice.of_levels(identifier, model, relational=relational), *doubts):
        _log.warning("%s%s", where, line)
