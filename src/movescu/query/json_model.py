"""Query files in the DICOM JSON Model (PS3.18 annex F).

A file holds one data set, alone or in an array. Elements are named by tag or keyword; ``vr`` may be omitted if the
dictionary has it. Text is encoded in the character set that the data set names, else in UTF-8. Bulk data
(``BulkDataURI``) are not fetched. An array with one answer of QIDO-RS, which has no level, becomes the request for it.
"""

from __future__ import annotations

import base64
import json
import struct
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from movescu.dataset import character_sets
from movescu.dataset.values import FLOATS, INTEGERS, SIGNED, is_text, key_vr, pad
from movescu.dictionary import tags as dictionary
from movescu.dictionary.vr import KNOWN, MAX_DEPTH
from movescu.errors import DataSetError
from movescu.query.key import Key, key_of

if TYPE_CHECKING:
    from collections.abc import Callable

_NAMES: Final = ("Alphabetic", "Ideographic", "Phonetic")
_CHARACTER_SET: Final = "00080005"
_BINARY: Final = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN"))
_CHILDREN: Final = frozenset(("vr", "Value", "InlineBinary", "BulkDataURI"))
_FLOAT_NAMES: Final = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf", "inf": "inf", "-inf": "-inf", "nan": "nan"}


class _ModelError(Exception):
    """The element at a path of names is not valid DICOM JSON."""

    def __init__(self, message: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.path = path


def read_json(data: bytes) -> list[Key]:
    """Return the keys, unsorted.

    Raise ``DataSetError``, which states the line, if it is not valid DICOM JSON.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataSetError(f"line {line}: the file is not UTF-8, as JSON must be") from None
    try:
        return _top(_parse(text))
    except _ModelError as error:
        raise DataSetError(f"line {_line_of(text, error.path)}: {': '.join((*error.path, str(error)))}") from None


def _parse(text: str) -> Any:  # noqa: ANN401 - JSON can be anything
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise DataSetError(f"line {error.lineno}: not valid JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or thousands of nested brackets
        raise DataSetError(f"line 1: the JSON cannot be read: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise _ModelError("the name occurs twice", (twice,))
    return result


def _top(model: Any) -> list[Key]:  # noqa: ANN401 - as above
    if isinstance(model, list):
        if len(model) != 1:
            several = f"a query file must have one data set, not {len(model)}"
            raise _ModelError(f"{several}; retrieve the answers of a query with --list")
        model = model[0]
        if isinstance(model, dict):
            from movescu.query.find_responses import request_of  # late: needed for answers of QIDO-RS alone

            model = request_of(model)
    if not isinstance(model, dict):
        raise _ModelError("a data set must be an object")
    terms = _terms(model)
    added: list[Key] = []
    if terms is None and not json.dumps(model, ensure_ascii=False).isascii():
        terms = (character_sets.UTF_8,)
        added = [Key(character_sets.SPECIFIC_CHARACTER_SET, b"CS", character_sets.UTF_8.encode())]
    return added + _data_set(model, terms or ("",), 0)


def _terms(model: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the defined terms of Specific Character Set, None if it is absent or empty."""
    found = model.get(_CHARACTER_SET, model.get("SpecificCharacterSet"))
    values = found.get("Value") if isinstance(found, dict) else None
    if not isinstance(values, list) or not values:
        return None
    return tuple("" if value is None else str(value) for value in values)


def _data_set(model: Any, terms: tuple[str, ...], depth: int) -> list[Key]:  # noqa: ANN401 - as above
    if not isinstance(model, dict):
        raise _ModelError("an item must be an object")
    if depth > MAX_DEPTH:
        raise _ModelError(f"sequences are nested deeper than {MAX_DEPTH}")
    keys = []
    for name, content in model.items():
        try:
            tag = _tag(name)
            if tag >> 16 != 0x0002:
                keys.append(_key(tag, content, terms, depth))
        except _ModelError as error:
            raise _ModelError(str(error), (name, *error.path)) from None
        except (ValueError, OverflowError, struct.error) as error:
            raise _ModelError(f"the value does not fit: {error}", (name,)) from None
    return keys


def _tag(name: str) -> int:
    if len(name) == 8 and all(character in "0123456789abcdefABCDEF" for character in name):
        return int(name, 16)
    tag = dictionary.tag_of(name)
    if tag is None:
        raise _ModelError("neither a tag of eight digits nor a keyword")
    return tag


def _key(tag: int, content: Any, terms: tuple[str, ...], depth: int) -> Key:  # noqa: ANN401 - as above
    if not isinstance(content, dict):
        raise _ModelError("an element must be an object")
    unknown = content.keys() - _CHILDREN
    if unknown:
        raise _ModelError(f"{min(unknown)!r} is not one of {', '.join(sorted(_CHILDREN))}")
    vr = content.get("vr") or key_vr(tag) or "UN"
    if not isinstance(vr, str) or vr.encode("ascii", "replace") not in KNOWN:
        raise _ModelError(f"{vr!r} is not a value representation")
    if tag >> 16 == 0xFFFE:
        raise _ModelError("the tag cannot be an element")
    if "BulkDataURI" in content:
        raise _ModelError("bulk data are not supported (BulkDataURI)")
    if "InlineBinary" in content:
        return key_of(tag, vr, _inline(vr, content["InlineBinary"]))
    values = content.get("Value", [])
    if not isinstance(values, list):
        raise _ModelError("Value must be an array")
    if vr == "SQ":
        return Key(tag, b"SQ", items=[_data_set(item or {}, terms, depth + 1) for item in values])
    return key_of(tag, vr, _encode(vr, values, terms))


def _inline(vr: str, text: Any) -> bytes:  # noqa: ANN401 - as above
    if vr not in _BINARY or not isinstance(text, str):
        raise _ModelError(f"InlineBinary must be text, and VR one of {', '.join(sorted(_BINARY))}")
    return pad(base64.b64decode(text, validate=True))


def _encode(vr: str, values: list[Any], terms: tuple[str, ...]) -> bytes:
    if is_text(vr):
        read = _name if vr == "PN" else _text
        text = "\\".join("" if value is None else read(value) for value in values)
        return pad(character_sets.encode(text, terms), b"\0" if vr == "UI" else b" ")
    if vr not in _NUMBERS and values:
        raise _ModelError(f"VR {vr} takes InlineBinary, not Value")
    return pad(b"".join(_NUMBERS[vr](vr, value) for value in values))


def _text(value: Any) -> str:  # noqa: ANN401 - as above
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _ModelError(f"{value!r} is not text")
    return value if isinstance(value, str) else json.dumps(value)


def _name(value: Any) -> str:  # noqa: ANN401 - as above
    """Return a person name as text (PS3.18 F.2.2)."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict) or value.keys() - set(_NAMES):
        raise _ModelError(f"a name must be an object with {', '.join(_NAMES)}")
    return "=".join(_text(value.get(group, "")) for group in _NAMES).rstrip("=")


def _integer(vr: str, value: Any) -> bytes:  # noqa: ANN401 - as above
    if isinstance(value, bool) or not isinstance(value, int | str) or (isinstance(value, str) and len(value) > 20):
        raise _ModelError(f"{value!r} is not an integer")
    return int(value).to_bytes(INTEGERS[vr] // 8, "little", signed=vr in SIGNED)


def _float(vr: str, value: Any) -> bytes:  # noqa: ANN401 - as above
    if isinstance(value, str):
        value = float(_FLOAT_NAMES[value]) if value in _FLOAT_NAMES else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _ModelError(f"{value!r} is not a number")
    return struct.pack(FLOATS[vr], value)


def _at(_: str, value: Any) -> bytes:  # noqa: ANN401 - as above
    tag = _tag(value) if isinstance(value, str) else -1
    if tag < 0:
        raise _ModelError(f"{value!r} is not a tag")
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF)


_NUMBERS: Final[dict[str, Callable[[str, Any], bytes]]] = {
    **dict.fromkeys(("US", "SS", "UL", "SL", "UV", "SV"), _integer),
    **dict.fromkeys(("FL", "FD"), _float),
    "AT": _at,
}


def _line_of(text: str, path: tuple[str, ...]) -> int:
    """Return the line of an element by searching its names in turn; wrong only if an earlier item has them."""
    position = 0
    for name in path:
        found = text.find(json.dumps(name, ensure_ascii=False), position)
        position = found if found >= 0 else position
    return text.count("\n", 0, position) + 1
