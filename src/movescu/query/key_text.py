"""Keys as text (``-k``): syntax, and the keys that they stand for.

============================================= ==================================================================
``gggg,eeee=value``                           as in DCMTK: short numbers, ``0x``, text before the ``=``
``(gggg,eeee)=value``, ``ggggeeee=value``     other common forms of tags
``Keyword=value``                             PS3.6, ``RETIRED_`` before a retired one, and names before 2011
``gggg,ee,"CREATOR"=value``                   a private element; its block is reserved for it (PS3.5 7.8.1)
``Sequence[0].Keyword=value``                 an element of an item; any of these forms, any depth
``Sequence[0]``                               an item without elements
============================================= ==================================================================

Of two keys for an element the left one counts. Keys for items of a sequence are combined, must fill items from 0 on
without a gap, and replace the sequence of a query file. A private element that no dictionary has is LO, UT if it is too
long for LO, UN if it is empty. Text is encoded in the given character set; without one, text that is not ASCII is
encoded in UTF-8 and ``SpecificCharacterSet`` is added.
"""

from __future__ import annotations

import os
import re

from movescu.dataset import character_sets as charset
from movescu.dataset.values import encode_value, is_text, key_vr
from movescu.dictionary import tags as dictionary
from movescu.dictionary.vr import MAX_DEPTH, TRAILING_PADDING, Vocabulary
from movescu.errors import UsageError
from movescu.query.key import Key, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Final

    Remark = Callable[[str, str], None]

MAX_ITEMS: Final = 10_000
"""Maximum number of items in a sequence of keys, which catches typing errors."""

# Blanks can match in one way only: with two, matching would take quadratic time.
_NUMBER: Final = r"[+]?(?:0[xX])?([0-9a-fA-F]{1,8})"
_TAG: Final = rf"\s*(?:\(\s*)?{_NUMBER},\s*{_NUMBER}"
_PRIVATE: Final = r'\s*(?:\(\s*)?(?:0[xX])?([0-9a-fA-F]{1,4}),\s*(?:0[xX])?([0-9a-fA-F]{1,2}),\s*"([^"]+)"\s*\)?'
_HEXADECIMAL: Final = "0123456789abcdefABCDEF"
_STEP: Final = r'([^=\[\]".]+|[^=\[\]".]*"[^"]+"\s*\)?)\[([0-9]{1,9})\](\.|=|\Z)'

_LONGEST_NAME: Final = 128
"""Characters. Longer names are not tried as old ones; the longest keyword of PS3.6 has 63."""

# Names in dictionaries before PS3.6 of 2011, which defined keywords, that differ by more than a possessive s.
_OLD_NAMES: Final = {
    "PhysicianOfRecord": "PhysiciansOfRecord",
    "NameOfPhysicianReadingStudy": "NameOfPhysiciansReadingStudy",
    "AdmittingDiagnosisDescription": "AdmittingDiagnosesDescription",
    "ImageDate": "ContentDate",
    "ImageTime": "ContentTime",
    "ImageNumber": "InstanceNumber",
    "PatientsMothersBirthName": "PatientMotherBirthName",
    "ContrastAllergies": "Allergies",
}


class _Level:
    """A data set or item made of keys; ``creators`` are the reserved blocks, by group and block in one number."""

    def __init__(self, creators: dict[int, str] | None = None) -> None:
        self.values: dict[int, tuple[str, bytes]] = {}
        self.sequences: dict[int, dict[int, _Level]] = {}
        self.creators = {} if creators is None else creators

    def keys(self, name: str = "") -> tuple[Key, ...]:
        """Return the keys in order of tags. Raise ``UsageError`` if an item is missing."""
        keys = {tag: Key(tag, vr.encode(), value) for tag, (vr, value) in self.values.items()}
        for tag, numbered in self.sequences.items():
            gap = next((n for n in range(len(numbered)) if n not in numbered), None)
            path = f"{name}{_name_of(tag)}"
            if gap is not None:
                raise UsageError(f"there are keys for items after {path}[{gap}], but none for this item")
            items = [numbered[n].keys(f"{path}[{n}].") for n in range(len(numbered))]
            keys[tag] = Key(tag, b"SQ", items=items)
        return tuple([keys[tag] for tag in sorted(keys)])


class KeySet:
    """The keys of one request.

    ``creators`` are the private creators at the top level of the query file by tag, ``character_set`` its value of
    Specific Character Set. ``remark`` is called with the name of a key and how the value sent differs from the text.
    """

    def __init__(
        self, keys: Iterable[str], *, creators: Mapping[int, str], character_set: bytes | None, remark: Remark
    ) -> None:
        self._top = _Level(creators={tag >> 16 << 8 | tag & 0xFF: name for tag, name in creators.items()})
        self._remark = remark
        self._extended = False
        given = [(key, *_split(key)) for key in keys]
        character_sets = [value for _, steps, name, value in given if not steps and _is_character_set(name)]
        if character_sets:
            character_set = os.fsencode(character_sets[0])
        self._terms = None if character_set is None else charset.terms_of(character_set)
        for reserving in (True, False):  # first the creators given as keys, which keep their blocks
            for key, steps, name, value in given:
                if _is_creator(name) == reserving:
                    self._add(key, steps, name, value)

    def keys(self) -> tuple[Key, ...]:
        """Return the keys in order of tags. Raise ``UsageError`` if an item of a sequence is missing."""
        if self._extended and self._terms is None:
            self._top.values[charset.SPECIFIC_CHARACTER_SET] = ("CS", charset.UTF_8.encode())
        return self._top.keys()

    def _add(self, key: str, steps: list[tuple[str, int]], name: str | None, value: str) -> None:
        if len(steps) > MAX_DEPTH:
            raise UsageError(f"key {quoted(key)}: sequences are nested deeper than {MAX_DEPTH}")
        level = self._top
        for step, index in steps:
            level = self._item(key, level, step, index)
        if name is not None:
            self._set(key, level, name, value)
        elif value:
            raise UsageError(f"key {quoted(key)}: an item has elements, not a value")

    def _item(self, key: str, level: _Level, step: str, index: int) -> _Level:
        tag, vr = self._resolve(level, step, "")
        if vr not in {"SQ", "UN"}:
            raise UsageError(f"key {quoted(key)}: {_name_of(tag)} is not a sequence; its VR is {vr}")
        if index >= MAX_ITEMS:
            raise UsageError(f"key {quoted(key)}: item [{index}] is beyond the maximum of {MAX_ITEMS} items")
        return level.sequences.setdefault(tag, {}).setdefault(index, _Level())

    def _set(self, key: str, level: _Level, name: str, value: str) -> None:
        tag, vr = self._resolve(level, name, value)
        data = self._encode(key, tag, vr, value)
        if len(data) > 0xFFFE and vr not in {"OB", "OW", "UC", "UN", "UR", "UT"}:
            raise UsageError(f"value of key {_text(tag)} is longer than 65534 bytes")
        level.values.setdefault(tag, (vr, data))
        if _is_creator(name) and value:
            level.creators.setdefault(tag >> 16 << 8 | tag & 0xFF, value.rstrip(" "))

    def _resolve(self, level: _Level, name: str, value: str) -> tuple[int, str]:
        """Return the tag and VR that a name stands for."""
        private = _private(name)
        if private is not None:
            group, number, creator = private
            tag = _reserve(level, group, creator) << 8 | number
            known = dictionary.private_vr(creator, tag) if dictionary.knows_creator(creator) else None
            return tag, _private_vr(tag, creator, known, value)
        tag = parse_tag(name)
        vr = key_vr(tag)
        if tag >> 16 == 0xFFFE or tag == TRAILING_PADDING:
            raise UsageError(f"cannot create element for tag: {_text(tag)}")
        if vr is None:
            hint = 'name the creator of a private element: gggg,ee,"CREATOR"=value' if tag & 0x10000 else ""
            raise UsageError(f"unknown tag: {_text(tag)}", hint=hint)
        return tag, vr

    def _encode(self, key: str, tag: int, vr: str, value: str) -> bytes:
        try:
            encoded = encode_value(vr, self._bytes(key, vr, value))
        except (ValueError, OverflowError) as error:
            raise UsageError(f'cannot put tag value: {_text(tag)}="{value}"', hint=f"its VR is {vr}: {error}") from None
        if encoded.remark:
            self._remark(key.partition("=")[0], encoded.remark)
        return encoded.data

    def _bytes(self, key: str, vr: str, value: str) -> bytes:
        """Encode the text of a value in the character set of the request."""
        if value.isascii() or not is_text(vr):
            return os.fsencode(value) if value.isascii() else value.encode("utf-8", "replace")
        if any("\ud800" <= character <= "\udfff" for character in value):
            self._remark(
                key.partition("=")[0],
                "the value is invalid in the terminal's encoding; its bytes are sent unchanged",
            )
            return os.fsencode(value)
        self._extended |= vr.encode() in charset.EXTENDED
        return charset.encode(value, self._terms if self._terms is not None else (charset.UTF_8,))


def _split(key: str) -> tuple[list[tuple[str, int]], str | None, str]:
    """Return the items on the path of a key, the name of its element (None if it ends at an item), and its value."""
    steps, position = [], 0
    while "[" in key and (match := re.compile(_STEP).match(key, position)) is not None:
        steps.append((match[1], int(match[2])))
        position = match.end()
        if match[3] != ".":
            return steps, None, key[position:]
    match = re.compile(_PRIVATE).match(key, position) if '"' in key else None
    if match is not None and int(match[1], 16) & 1 and key[match.end() : match.end() + 1] in ("", "="):
        return steps, match[0], key[match.end() + 1 :]
    name, _, value = key[position:].partition("=")
    return steps, name, value


def _private(name: str) -> tuple[int, int, str] | None:
    match = re.compile(_PRIVATE).match(name) if '"' in name else None
    if match is None or not int(match[1], 16) & 1:
        return None
    return int(match[1], 16), int(match[2], 16), match[3].strip()


def _reserve(level: _Level, group: int, creator: str) -> int:
    """Return the creator's group and block in one number; reserve the first free block if it has none."""
    blocks = range((group << 8) + 0x10, (group << 8) + 0x100)
    block = next((b for b in blocks if level.creators.get(b) == creator), None)
    if block is None:
        block = next((b for b in blocks if b not in level.creators), None)
        if block is None:
            raise UsageError(f"group {group:04x} has no free block for the private creator {creator!r}")
        level.creators[block] = creator
    tag = block >> 8 << 16 | block & 0xFF
    level.values.setdefault(tag, ("LO", encode_value("LO", os.fsencode(creator)).data))
    return block


def _private_vr(tag: int, creator: str, known: str | None, value: str) -> str:
    if known is not None:
        vocabulary = Vocabulary()
        vocabulary.learn(tag >> 16 << 16 | tag >> 8 & 0xFF, os.fsencode(creator))
        return vocabulary.vr(tag).decode()
    if not value:
        return "UN"
    return "LO" if max(map(len, value.split("\\"))) <= 64 else "UT"


def _match_tag(name: str) -> re.Match[str] | None:
    # Compiled only when needed: a keyword needs no pattern.
    return re.compile(_TAG).match(name) if "," in name else None


def _is_eight_digits(name: str) -> bool:
    return len(name) == 8 and not name.strip(_HEXADECIMAL)


def parse_tag(name: str) -> int:
    """Return the tag of a name in any form but that of a private element. Raise ``UsageError`` if it has none."""
    match = _match_tag(name)
    if match:
        return (int(match[1], 16) & 0xFFFF) << 16 | int(match[2], 16) & 0xFFFF
    tag = _find(name)
    if tag is None and _is_eight_digits(name):
        return int(name, 16)
    if tag is None:
        raise UsageError(
            f"bad key format or dictionary name not found in dictionary: {name}",
            hint=_nearest(name)
            or 'write a key as gggg,eeee="value" or Keyword="value", with the keywords of PS3.6: PatientID="123"',
        )
    return tag


def _nearest(name: str) -> str:
    from movescu.dictionary.other_names import nearest  # imported only after a mistake

    near = nearest(name)
    return f"did you mean {near}?" if near else ""


def _find(name: str) -> int | None:
    """Return the tag of a keyword, with or without RETIRED_, or of an old name; None if unknown."""
    for candidate in (name, name.removeprefix("RETIRED_"), "RETIRED_" + name, _OLD_NAMES.get(name, "")):
        tag = dictionary.tag_of(candidate)
        if tag is not None:
            return tag
    return next((tag for text in _without_possessive(name) if (tag := dictionary.tag_of(text)) is not None), None)


def _without_possessive(name: str) -> list[str]:
    """Return a name without its possessive s (PatientsName): each removed alone, then all."""
    if len(name) > _LONGEST_NAME:
        return []
    places = [match.start() for match in re.compile(r"(?<=[a-z])s(?=[A-Z])").finditer(name)]
    return [name[:place] + name[place + 1 :] for place in places] + [re.compile(r"(?<=[a-z])s(?=[A-Z])").sub("", name)]


def _is_character_set(name: str | None) -> bool:
    try:
        return name is not None and _private(name) is None and parse_tag(name) == charset.SPECIFIC_CHARACTER_SET
    except UsageError:
        return False


def _is_creator(name: str | None) -> bool:
    """Return True if a name is the tag of a private creator (PS3.5 7.8.1)."""
    if name is None or _private(name) is not None:
        return False
    tag = parse_tag(name) if _match_tag(name) or _is_eight_digits(name) else 0
    return bool(tag & 0x10000) and 0x10 <= tag & 0xFFFF <= 0xFF


def _name_of(tag: int) -> str:
    return dictionary.keyword_of(tag) or _text(tag)


def _text(tag: int) -> str:
    return f"({tag >> 16:04x},{tag & 0xFFFF:04x})"
