"""Answers of queries as requests: logs of DCMTK's findscu, and JSON arrays of QIDO-RS (PS3.18 10.6).

Of each answer, only its level and the unique keys down to it are used: the other attributes are what the archive
returned, not what the user asks for. An answer without a level has that of its lowest unique key.

findscu logs each answer below a line ``Find Response: 1 (Pending)``, at debug level ``Response Identifiers:``, as
dcmdump would print it, with a prefix such as ``I: ``. The identifier of the query itself is not an answer.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from movescu.dataset.values import key_vr
from movescu.dictionary import tags as dictionary
from movescu.errors import DataSetError
from movescu.query.levels import LEVEL, UNIQUE_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHARACTER_SET: Final = 0x00080005
_TAGS: Final = frozenset((_CHARACTER_SET, LEVEL, *UNIQUE_KEYS.values()))

_PREFIX: Final = re.compile(r"[FEWIDT]: ?")
_BEGIN: Final = re.compile(r"(Find Response: ?[0-9]*|Response Identifiers:|RESPONSE: ?[0-9]+ )")
_LOG: Final = re.compile(r"(?m)^(?:[FEWIDT]: ?)?(?:Find Response: ?[0-9]+|Response Identifiers:|Request Identifiers:)")
_IS_TAG: Final = re.compile(r"[0-9a-fA-F]{8}\Z")
_ELEMENT: Final = re.compile(r"\(([0-9a-fA-F]{4}),([0-9a-fA-F]{4})\) [A-Za-z?]{2} (.*)")


class Answer(NamedTuple):
    """An answer: number of its first line, and the texts of its unique keys, level and character set by tag."""

    line: int
    values: dict[int, str]

    def level(self, stated: str = "") -> str:
        """Return the level of the request; ``stated``: given by the user. Raise ``DataSetError`` if it has none."""
        unique = (name for name in reversed(UNIQUE_KEYS) if self.values.get(UNIQUE_KEYS[name]))
        level = stated or self.values.get(LEVEL, "") or next(unique, "")
        if level not in UNIQUE_KEYS:
            wrong = f"the level {level[:16]!r}" if level else "neither a level nor a unique key"
            raise DataSetError(f"the answer has {wrong}")
        if not self.values.get(UNIQUE_KEYS[level]):
            keyword = dictionary.keyword_of(UNIQUE_KEYS[level])
            raise DataSetError(f"the answer has no {keyword}", hint=f"query with the key {keyword}=")
        return level

    def request(self, model: tuple[str, ...], level: str) -> dict[int, str]:
        """Return the values of the request for the answer at a level; ``model``: levels of the query model."""
        names = list(UNIQUE_KEYS)
        unique = [UNIQUE_KEYS[name] for name in names[: names.index(level) + 1] if name in model or name == level]
        values = {tag: self.values[tag] for tag in (_CHARACTER_SET, *unique) if self.values.get(tag)}
        if all(value.isascii() for value in values.values()):
            values.pop(_CHARACTER_SET, None)
        return {LEVEL: level, **values}

    def keys(self, model: tuple[str, ...], stated: str = "") -> list[str]:
        """Return the keys of the request, as after ``-k``; see ``level`` and ``request``."""
        request = self.request(model, self.level(stated))
        return [f"{dictionary.keyword_of(tag)}={value}" for tag, value in request.items()]

    def dump(self) -> bytes:
        """Return the request as text for ``dump_text``."""
        request = self.request(tuple(UNIQUE_KEYS), self.level())
        lines = (f"({tag >> 16:04x},{tag & 0xFFFF:04x}) {key_vr(tag)} [{value}]" for tag, value in request.items())
        return "\n".join(lines).encode("utf-8", "surrogateescape")


def is_find_log(text: str) -> bool:
    """Return True if a text is a log of findscu."""
    return _LOG.search(text) is not None


def answers_of_log(text: str) -> Iterator[Answer]:
    """Yield the answers in a log of findscu. Raise ``DataSetError``, which states the line, for a cut-off value."""
    answer: Answer | None = None
    for number, whole in enumerate(text.split("\n"), start=1):
        line = _PREFIX.sub("", whole.rstrip("\r"), count=1) if _PREFIX.match(whole) else whole.rstrip("\r")
        if _BEGIN.match(line):
            if answer is not None and answer.values:
                yield answer
            answer = Answer(number, {})
        elif (match := _ELEMENT.match(line)) and answer is not None:
            tag = int(match[1] + match[2], 16)
            if tag in _TAGS:
                answer.values.setdefault(tag, _value(match[3], number))
        elif answer is not None and answer.values and not line.lstrip().startswith(("(", "#")):
            yield answer
            answer = None
    if answer is not None and answer.values:
        yield answer


def _value(text: str, line: int) -> str:
    if text.startswith("["):
        value, bracket, comment = text[1:].rpartition("]")
        if not bracket or (comment.strip() and not comment.lstrip().startswith("#")):
            # A bracket in the comment, or none: dcmdump shortens long values.
            raise DataSetError(f"line {line}: the value is cut off", hint="give the list as CSV")
        return value.strip(" \0")
    if text.startswith("(no value"):
        return ""
    raise DataSetError(f"line {line}: the value is not in brackets")


def answers_of_json(text: str) -> Iterator[Answer]:
    """Yield the answers of an array. Raise ``DataSetError``, which states the line, if it is not DICOM JSON."""
    try:
        read = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataSetError(f"line {error.lineno}: not valid JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or thousands of nested brackets
        raise DataSetError(f"line 1: the JSON cannot be read: {error}") from None
    places = _lines_of_items(text)
    for number, model in enumerate(read if isinstance(read, list) else [read], start=1):
        line = next(places, 1)
        if not isinstance(model, dict):
            raise DataSetError(f"line {line}: answer {number} is not a data set in DICOM JSON")
        try:
            yield Answer(line, answer_values(model))
        except ValueError as error:
            raise DataSetError(f"line {line}: answer {number}: {error}") from None


def answer_values(model: dict[str, Any]) -> dict[int, str]:
    """Return the values of an answer in DICOM JSON by tag. Raise ``ValueError`` for one that is not text."""
    values = {}
    for tag in _TAGS:
        keyword = dictionary.keyword_of(tag)
        content = next((model[name] for name in (f"{tag:08X}", f"{tag:08x}", keyword) if name in model), None)
        if content is None:
            continue
        listed = content.get("Value", []) if isinstance(content, dict) else None
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise ValueError(f"{keyword} is not an attribute of DICOM JSON")
        values[tag] = "\\".join(listed).strip()
    return values


def request_of(model: dict[str, Any]) -> dict[str, Any]:
    """Return the request that an answer of QIDO-RS without a level stands for; other data sets as they are."""
    names = {f"{LEVEL:08X}", f"{LEVEL:08x}", "QueryRetrieveLevel"}
    if names & model.keys():
        return model
    try:
        values = answer_values(model)
    except ValueError:
        return model
    given = [level for level, tag in UNIQUE_KEYS.items() if values.get(tag)]
    if not given:
        return model
    kept = {_CHARACTER_SET, *UNIQUE_KEYS.values()}
    request = {
        name: content
        for name, content in model.items()
        if (int(name, 16) if _IS_TAG.match(name) else dictionary.tag_of(name)) in kept
    }
    return {**request, f"{LEVEL:08X}": {"vr": "CS", "Value": [given[-1]]}}


def _lines_of_items(text: str) -> Iterator[int]:
    """Yield the line of each item of an array: a brace that opens at depth 1 outside strings."""
    depth, line, counted = 0, 1, 0
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text):
        mark = match[0]
        if mark in "[{":
            depth += 1
            if mark == "{" and depth <= 2:
                line, counted = line + text.count("\n", counted, match.start()), match.start()
                yield line
        elif mark in "]}":
            depth -= 1
