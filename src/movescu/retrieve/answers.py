"""Answers to C-FIND, each compared with the keys that were sent (PS3.4 C.2.2.2, C.4.1.1.4).

An answer that contradicts a key is dropped, and named in a warning. If no answer has a value for a key, or one
without a value comes with status FF01 (PS3.4 table C.4-1), the archive ignores the key, and the matches of the request
are unknown; so they are if an answer has no usable unique key.
``Responses`` and ``Doubts`` serve every query; ``Answers`` reads the plain answers of an inventory.
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu._runtime.late_log import logger_of
from movescu.dataset.character_sets import SPECIFIC_CHARACTER_SET, terms_of
from movescu.dataset.transcoder import values_of
from movescu.dictionary.vr import LONG
from movescu.dimse.status import DATA_SET_DOES_NOT_MATCH, PENDING_WARNING, StatusClass
from movescu.errors import DataSetError, IgnoredKeyError, InventoryError, NoPresentationContextError
from movescu.query.levels import UNIQUE_KEYS
from movescu.query.matching import PATIENT_ID, is_empty, matches
from movescu.query.scope import is_usable, keyword, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from movescu.dictionary.uids import TransferSyntax
    from movescu.query.identifier import Identifier
    from movescu.query.key import Key
    from movescu.retrieve.association import ArchiveAssociation
    from movescu.services.find import FindResponse

_log: Final = logger_of("movescu.retrieve")

MAXIMUM: Final = 1_000_000
"""Highest number of answers to a query, and of objects in an inventory: some archives never stop."""
COUNTS: Final = {"STUDY": 0x00201208, "SERIES": 0x00201209}
"""Number of Study Related Instances and Number of Series Related Instances, by level (PS3.4 C.6.1.1)."""

LASTING: Final = frozenset((DATA_SET_DOES_NOT_MATCH, 0x0122, 0x0124, 0x0211))
"""Final statuses that another attempt would not change (PS3.4 table C.4-1, PS3.7 annex C)."""
_RETURNED: Final = (*UNIQUE_KEYS.values(), *COUNTS.values())
_LONG_LENGTH: Final = Struct("<I").unpack_from
_NAMED: Final = 5  # dropped answers that a warning names


class FindAnswer(NamedTuple):
    """A match as received. ``warned``: some keys are not supported (status FF01); which ones is not said."""

    data: bytes
    syntax: TransferSyntax
    warned: bool


class Responses:
    """The pending responses to one C-FIND; read them to their end before the next request.

    ``number`` and ``final``: how many there were, and the final response, once they have been read.
    """

    def __init__(self, session: ArchiveAssociation, sop_class_uid: str, identifier: Identifier) -> None:
        self._responses = session.find(sop_class_uid, identifier)
        self.number = 0
        self.final: FindResponse | None = None

    def __iter__(self) -> Iterator[FindAnswer]:
        """Yield the answers. Raise ``InventoryError`` if there are too many."""
        try:
            for response, context in self._responses:
                if response.status_class is not StatusClass.PENDING:
                    self.final = response  # judged after the loop: leaving it early aborts the association
                elif self.number >= MAXIMUM:
                    raise InventoryError(f"the archive sends more than {MAXIMUM} answers to one C-FIND")
                else:
                    self.number += 1
                    warned = response.status == PENDING_WARNING
                    yield FindAnswer(response.identifier, context.transfer_syntax, warned)
        except NoPresentationContextError as error:
            raise InventoryError(str(error)) from error

    def check(self, level: str) -> None:
        """Raise ``InventoryError`` for a final response other than success."""
        response, number = self.final, self.number
        if response is not None and response.status_class is not StatusClass.SUCCESS:
            comment = f": {response.error_comment}" if response.error_comment else ""
            after = f" after {number} answer{'' if number == 1 else 's'}" if number else ""
            error = InventoryError(
                f"the archive answers C-FIND at level {level} with status 0x{response.status:04x} "
                f"({response.status_name}{comment}){after}"
            )
            error.passing = response.status not in LASTING
            raise error


class Doubts:
    """What speaks against the answers to one C-FIND. ``keys``: tags that each answer should have a value for."""

    def __init__(self, level: str, keys: Iterable[int]) -> None:
        self._level = level
        self._number = 0
        self._silent = dict.fromkeys(keys, 0)
        self._unsupported: dict[int, None] = {}
        self._unusable = 0
        self._dropped: list[str] = []
        self._contradicted: dict[int, None] = {}

    def count(self) -> None:
        """Count an answer."""
        self._number += 1

    def count_silent(self, tag: int, *, warned: bool) -> None:
        """Count an answer without a value for a key; a tag that is not of ``keys`` does not count.

        ``warned``: see ``FindAnswer``.
        """
        if tag in self._silent:
            self._silent[tag] += 1
            if warned:
                self._unsupported[tag] = None

    def drop(self, uid: str, contradicted: Iterable[int]) -> None:
        """Record an answer that contradicts keys."""
        self._contradicted.update(dict.fromkeys(contradicted))
        self._dropped.append(uid)

    def count_unusable(self) -> None:
        """Count an answer without a usable unique key."""
        self._unusable += 1

    @property
    def dropped(self) -> int:
        """Number of answers that contradict a key."""
        return len(self._dropped)

    def end(self) -> None:
        """Warn of dropped answers. Raise ``IgnoredKeyError`` if the archive ignores a key.

        Raise ``InventoryError`` for answers without a usable unique key: what they stand for is unknown.
        """
        never = (tag for tag, number in self._silent.items() if self._number and number == self._number)
        ignored = tuple(dict.fromkeys((*never, *self._unsupported)))
        if ignored:
            raise IgnoredKeyError(
                f"the archive ignores {names(ignored)} at level {self._level}: the matches of the request are unknown",
                hint="leave the key out, or use one that the archive supports",
                tags=frozenset(ignored),
            )
        if number := len(self._dropped):
            named = ", ".join(self._dropped[:_NAMED])
            more = f" ... and {number - _NAMED} more" if number > _NAMED else ""
            _log.warning(
                "dropped %d answer%s to C-FIND at level %s that contradict%s %s: %s%s",
                *(number, "" if number == 1 else "s", self._level, "s" if number == 1 else ""),
                *(names(self._contradicted), named, more),
            )
        if number := self._unusable:
            raise InventoryError(
                f"{number} answer{'' if number == 1 else 's'} to C-FIND at level {self._level} "
                f"ha{'s' if number == 1 else 've'} no usable {keyword(UNIQUE_KEYS[self._level])}"
            )


class Answers:
    """The answers to one C-FIND of an inventory, each compared with the keys sent.

    ``values``: unique keys; ``filters``: the other keys; ``terms``: their character set.
    """

    def __init__(
        self, level: str, values: Mapping[int, str], filters: Mapping[int, Key], terms: tuple[str, ...]
    ) -> None:
        self._level = level
        self._own = UNIQUE_KEYS[level]
        self._named = {
            tag: frozenset((value,) if tag == PATIENT_ID else listed(value)) for tag, value in values.items() if value
        }
        self._filters = filters
        self._terms = terms
        self._nested = any(key.vr == b"SQ" for key in filters.values())
        self.doubts = Doubts(level, filters)

    def take(self, answer: FindAnswer) -> dict[int, str] | None:
        """Return the unique keys and counts of an answer by tag, None if dropped or unusable.

        What an unreadable answer stands for is unknown, as if it had no unique key.
        """
        try:
            found = (values_of if self._nested else _values)(answer.data, answer.syntax)
        except DataSetError as error:
            _log.warning("an answer to C-FIND at level %s cannot be read: %s", self._level, error)
            found = {}
        self.doubts.count()
        match = {tag: _text(found[tag]) for tag in _RETURNED if tag in found}
        contradicted = [tag for tag, named in self._named.items() if self._contradicts(match.get(tag, ""), named)]
        contradicted += self._unmatched(found, warned=answer.warned) if self._filters else ()
        if not is_usable(match.get(self._own, "") or "\\", patient=self._own == PATIENT_ID):
            self.doubts.count_unusable()
            return None
        if contradicted:
            self.doubts.drop(match[self._own], contradicted)
            return None
        return match

    @staticmethod
    def _contradicts(value: str, named: frozenset[str]) -> bool:
        """Return True if a unique key is none of those sent, or is absent where wild cards may have matched others."""
        return value not in named if value else any("*" in one or "?" in one for one in named)

    def _unmatched(self, found: Mapping[int, bytes], *, warned: bool) -> list[int]:
        """Return the keys that an answer does not match; an absent value matches no key."""
        character_set = found.get(SPECIFIC_CHARACTER_SET, b"")
        terms = terms_of(character_set) if character_set else ("",)
        unmatched = []
        for tag, key in self._filters.items():
            value = found.get(tag, b"")
            if is_empty(value):
                self.doubts.count_silent(tag, warned=warned)
                unmatched.append(tag)
            elif not matches(key, value, terms, self._terms):
                unmatched.append(tag)
        return unmatched


def names(tags: Iterable[int]) -> str:
    """Return the keywords of tags as text: A, B and C."""
    *others, last = map(keyword, tags)
    return f"{', '.join(others)} and {last}" if others else last


def _values(data: bytes, syntax: TransferSyntax) -> dict[int, bytes]:
    """Return the values of an answer by tag: by a fast loop if it is plain, as most are, else by the parser.

    Raise ``DataSetError`` if the answer is malformed.
    """
    values: dict[int, bytes] = {}
    position, short = 0, Struct("<HHI" if syntax.implicit else "<HH2sH").unpack_from
    try:
        while position < len(data):
            group, number, *vr, length = short(data, position)
            position += 8
            if vr and vr[0] in LONG:
                (length,) = _LONG_LENGTH(data, position)
                position += 4
            values[group << 16 | number] = data[position : position + length]
            position += length
    except struct_error:
        position = -1
    plain = position == len(data) and not (syntax.big_endian or syntax.deflated)
    return values if plain else values_of(data, syntax)


def _text(value: bytes) -> str:
    """Return a value decoded byte by byte: it is only compared and sent back."""
    return value.decode("latin-1").strip("\0 ")
