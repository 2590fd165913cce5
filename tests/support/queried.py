"""An archive to query, without sockets: patients, studies, series and objects with attributes of their own.

``Archive`` stands in for ``retrieve.association.ArchiveAssociation``. It keeps the queries, each with its keys, and
checks that each key has the VR of the dictionary. What it cuts short, states or leaves out, a test sets.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from movescu.dataset.character_sets import SPECIFIC_CHARACTER_SET
from movescu.dataset.values import key_vr
from movescu.dictionary.uids import IMPLICIT_LITTLE, STUDY_ROOT_FIND
from movescu.dimse.status import PENDING, SUCCESS
from movescu.query.levels import LEVEL, UNIQUE_KEYS
from movescu.query.scope import LEVELS
from movescu.retrieve.answers import COUNTS
from movescu.retrieve.catalogue import Place
from movescu.services.find import FindResponse
from movescu.testing.query import encode_identifier
from movescu.ul.negotiation import Context

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from movescu.query.identifier import Identifier

SERIES, STUDY = UNIQUE_KEYS["SERIES"], UNIQUE_KEYS["STUDY"]
HELD = {
    f"1.{study}.{series}.{number}": Place(f"P{study}", f"1.{study}", f"1.{study}.{series}")
    for study in range(2)
    for series in range(2)
    for number in range(2)
}
"""Objects of two studies with two series each, by their UIDs."""
Query = tuple[str, dict[int, str]]
"""Level and keys."""


class Archive:
    """The archive. ``attributes``: further ones, by UID or Patient ID. ``classes``: SOP classes that it offers."""

    def __init__(
        self,
        held: Mapping[str, Place] = HELD,
        classes: Sequence[str] = (STUDY_ROOT_FIND,),
        attributes: Mapping[str, Mapping[int, str]] = {},
    ) -> None:
        self.held, self.classes, self.attributes = held, classes, attributes
        self.queries: list[Query] = []
        self.used: set[str] = set()
        """SOP classes of the queries."""
        self.cut: dict[tuple[str, str], tuple[int, int]] = {}
        """Level of a query and UID of the study or series that it is within -> number of answers, and final status."""
        self.counts: dict[str, int] = {}
        """Number of objects that it states for a study or series."""
        self.lacking: tuple[int, ...] = ()
        """Tags without a value in any answer."""
        self.character_set = ""
        """Of its answers."""

    def open(self) -> None:
        """Do nothing."""

    def grants_relational(self, _: str) -> bool:
        """Return False: relational queries were not negotiated."""
        return False

    def context(self, sop_class_uid: str) -> Context | None:
        return Context(1, sop_class_uid, IMPLICIT_LITTLE) if sop_class_uid in self.classes else None

    def find(self, sop_class_uid: str, identifier: Identifier) -> Iterator[tuple[FindResponse, Context]]:
        level, context = identifier.text(LEVEL), Context(1, sop_class_uid, IMPLICIT_LITTLE)
        keys = {key.tag: identifier.text(key.tag) for key in identifier if key.tag & 0xFFFF and key.tag != LEVEL}
        assert {key.tag: key.vr.decode() for key in identifier} == {key.tag: key_vr(key.tag) for key in identifier}
        self.queries.append((level, keys))
        self.used.add(sop_class_uid)
        matches = list(self._matches(level, keys).values())
        above = next((keys[tag] for tag in (SERIES, STUDY) if keys.get(tag) and tag != UNIQUE_KEYS[level]), "")
        number, status = self.cut.get((level, above), (len(matches), SUCCESS))
        for match in matches[:number]:
            for tag in self.lacking:
                match.pop(tag, None)
            values = {tag: value.encode("latin-1") + b"\0" * (len(value) & 1) for tag, value in match.items()}
            if self.character_set:
                values[SPECIFIC_CHARACTER_SET] = self.character_set.encode()
            yield FindResponse(1, PENDING, encode_identifier(values, IMPLICIT_LITTLE)), context
        yield FindResponse(1, status), context

    def _matches(self, level: str, keys: dict[int, str]) -> dict[str, dict[int, str]]:
        found: dict[str, dict[int, str]] = {}
        for uid, place in self.held.items():
            path = dict(zip(UNIQUE_KEYS.values(), (*place, uid), strict=True))
            own, index = path[UNIQUE_KEYS[level]], LEVELS.index(level)
            attributes: dict[int, str] = {}
            for tag in list(path.values())[: index + 1]:
                attributes |= self.attributes.get(tag, {})
            wanted = {tag: keys[tag].split("\\") for tag in path if keys.get(tag)}
            named = all(any(fnmatchcase(path[tag], one) for one in values) for tag, values in wanted.items())
            others = {tag: value for tag, value in keys.items() if value and tag not in path and tag in attributes}
            if not named or any(attributes[tag] != value for tag, value in others.items()):
                continue
            path = {tag: value for tag, value in path.items() if tag in keys}
            number = self.counts.get(own, sum(own in (*one, other) for other, one in self.held.items()))
            count = {COUNTS[level]: str(number)} if COUNTS.get(level) in keys else {}
            found[own] = {**path, **{tag: attributes[tag] for tag in keys if tag in attributes}, **count}
        return found
