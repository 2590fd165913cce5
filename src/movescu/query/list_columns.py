"""The columns of a request list: which attribute a heading names.

A heading is a tag or a keyword of PS3.6, in any case, with or without blanks and punctuation: ``AccessionNumber``,
``Accession Number``, ``accession_number``, ``Patient's Name``. A heading that names no attribute is kept for the report
and not sent. One that probably means a key by another name (``MRN``) or is a misspelled keyword is an error, for
without this key the entries would request more.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from movescu.dataset.values import key_vr
from movescu.dictionary import tags as dictionary
from movescu.dictionary.other_names import UNMISTAKABLE
from movescu.dictionary.other_names import folded as _fold
from movescu.dictionary.tags import derived
from movescu.errors import UsageError
from movescu.query.levels import LEVEL, UNIQUE_KEYS
from movescu.query.scope import LEVELS, level_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TAG: Final = re.compile(
    r"\(?\s*(?:0[xX])?([0-9a-fA-F]{4})\s*,\s*(?:0[xX])?([0-9a-fA-F]{4})\s*\)?\Z|([0-9a-fA-F]{8})\Z"
)
_POSSESSIVE: Final = re.compile(r"['\u2019]s\b")
_OLD_POSSESSIVE: Final = re.compile(r"(?<=[a-z])s(?=[A-Z ])")
"""As in PatientsName, a name in old dictionaries."""


def tag_of_column(heading: str) -> int | None:
    """Return the tag that a heading names, None if it names no attribute by which archives are queried.

    Raise ``UsageError``, which suggests the keyword, if it probably means a key.
    """
    tag = exact_tag(heading)
    if tag is not None:
        return tag
    folded = _folded(heading)
    meant = UNMISTAKABLE.get(folded, "") or _misspelled(folded)
    if meant:
        raise UsageError(f"the column {heading!r} is not named by a keyword", hint=f"name it {meant}")
    return None


def exact_tag(heading: str) -> int | None:
    """Return the tag that a heading names, None if it names none."""
    heading = heading.strip()
    if (match := _TAG.match(heading)) is not None:
        number = int((match[1] or "") + (match[2] or "") + (match[3] or ""), 16)
        return number if number & 0xFFFF and key_vr(number) is not None else None  # group lengths are no keys
    tag = dictionary.tag_of(heading)
    if tag is None:
        tag = _keywords().get(_folded(heading))
    if tag is None:
        tag = _keywords().get(_folded(_OLD_POSSESSIVE.sub("", heading)))
    # Words such as Date, Status and Location are keywords too, but of other things than the user of a list means.
    if tag is not None and _capitals(dictionary.keyword_of(tag) or "") == 1 and not level_of(tag):
        return None
    return tag


def lowest_level(tags: Iterable[int], model: Sequence[str]) -> str:
    """Return the lowest level to which keys belong, empty if none has a known level; ``model``: levels of the model."""
    levels = {level_of(tag) for tag in tags} - {""}
    lowest = max(levels, key=LEVELS.index, default="")
    return lowest if lowest in model or not lowest else model[0 if lowest == "PATIENT" else -1]


def is_below_patient(tag: int) -> bool:
    """Return True if a key belongs to a level below PATIENT."""
    return level_of(tag) in LEVELS[1:]


def _capitals(keyword: str) -> int:
    return sum(character.isupper() for character in keyword)


def _folded(heading: str) -> str:
    """Return the letters and digits of a heading in lower case."""
    return _fold(_POSSESSIVE.sub("", heading))


@derived
def _keywords() -> dict[str, int]:
    """Return the tags of all keywords by their folded names."""
    return {_folded(keyword): tag for keyword in dictionary.keywords() if (tag := dictionary.tag_of(keyword))}


def _misspelled(folded: str) -> str:
    """Return the keyword that a folded heading misspells, empty if it is none of a key that requests have."""
    from difflib import get_close_matches  # imported only after a heading that names no attribute

    if len(folded) < 6:
        return ""
    near = get_close_matches(folded, _common(), n=1, cutoff=0.85)
    return _common()[near[0]] if near else ""


@derived
def _common() -> dict[str, str]:
    """Return the keywords that lists of requests have, by their folded names."""
    tags = (*UNIQUE_KEYS.values(), LEVEL, 0x00080050, 0x00080020, 0x00100010, 0x00100030, 0x00080061)
    return {_folded(name): name for tag in tags if (name := dictionary.keyword_of(tag)) is not None}
