r"""Query files as text, in the format of DCMTK's dcmdump and dump2dcm.

An element is a line: ``(gggg,eeee)``, a VR unless the dictionary has it, a value, and optionally a ``#`` comment::

    (0008,0052) CS [STUDY]          # the value extends to the last bracket; \n is a new line
    (0008,0060) CT\MR               # or to the comment, without blanks around it
    (0008,0016) UI =CTImageStorage  # a UID by its name
    (0042,0011) OB =picture.bin     # OB and OW from a file, else hexadecimal numbers
    (0010,0010) PN (no value)       # no value; a value of AT is (gggg,eeee)
    (0040,0100) SQ                  # a sequence: items follow, each between (fffe,e000) and (fffe,e00d),
    (fffe,e0dd)                     # and this delimiter ends it

``values`` encodes the values, as for ``-k``. Text keeps its bytes; if they are UTF-8 and no character set is named,
Specific Character Set is added. Lines of group 0002 are ignored. Unlike dump2dcm, this stops at the first invalid line,
and treats two capital letters that are not a VR as an error, which they nearly always are; if nothing follows them,
they are the value.

A data set printed by pydicom is read too: ``(0020,000D) Study Instance UID  UI: 1.2.3``. Its sequences, bytes and
UIDs shown by name cannot be read back and are errors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from movescu._runtime.late_log import logger_of
from movescu.dataset.character_sets import EXTENDED, SPECIFIC_CHARACTER_SET, UTF_8, decode
from movescu.dataset.values import encode_value, key_vr, pad
from movescu.dictionary.vr import KNOWN, MAX_DEPTH
from movescu.errors import DataSetError
from movescu.query.key import Key, key_of

_log: Final = logger_of("movescu.query")

_TAG: Final = re.compile(rb"\((?:0[xX])?([0-9a-fA-F]{1,8}),(?:0[xX])?([0-9a-fA-F]{1,8})\)\Z")
_VR: Final = re.compile(rb"([A-Z]{2})(?![A-Za-z])")
_INNER_VR: Final = re.compile(rb"(ox|xs|na|up|px|lt|\?\?)(?![A-Za-z])")
_PIXEL_ITEM: Final = re.compile(rb"pi(?![A-Za-z])")
_PRINTED: Final = re.compile(rb"(?:[A-Z\[][^:]*[ \t])?([A-Z]{2}(?: or [A-Z]{2})*):(?:[ \t]+(.*))?\Z")
_RULE: Final = re.compile(rb"(Dataset\.file_meta )?-+\Z")
_PRINTED_SEQUENCE: Final = re.compile(rb"[^:]*[ \t][0-9]+ item\(s\) -*\Z")
_BLANKS: Final = b" \t\r\n\v\f"
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


@dataclass
class _Open:
    """An open data set, item or sequence; ``line`` is the number of its first line."""

    tag: int
    line: int
    is_sequence: bool = False
    keys: list[Key] = field(default_factory=list)
    """Of a data set or item."""
    items: list[list[Key]] = field(default_factory=list)
    """Of a sequence."""
    extended: list[bytes] = field(default_factory=list)
    """For the data set only: text values that are not ASCII."""


class _LineError(Exception):
    """A line is invalid."""


def read_dump(text: bytes) -> list[Key]:
    """Return the keys, unsorted.

    Raise ``DataSetError``, which states the line, if one is invalid.
    """
    levels = [_Open(0, 0)]
    for number, line in enumerate(text.split(b"\n"), 1):
        stripped = line.strip(_BLANKS)
        if stripped and not (stripped.startswith(b"#") or _RULE.match(stripped)):
            try:
                _take(stripped, number, levels)
            except _LineError as error:
                raise DataSetError(f"line {number}: {error}") from None
    if len(levels) > 1:
        kind = "sequence" if levels[-1].is_sequence else "item"
        raise DataSetError(f"line {levels[-1].line}: the {kind} that begins here has no end")
    return _character_set(levels[0]) + levels[0].keys


def _character_set(top: _Open) -> list[Key]:
    """Return Specific Character Set for UTF-8 if the text is UTF-8 and does not name a character set."""
    if not top.extended or any(key.tag == SPECIFIC_CHARACTER_SET for key in top.keys):
        return []
    if any(decode(value, (UTF_8,)) is None for value in top.extended):
        return []  # unknown encoding; ``advice`` will warn
    return [Key(SPECIFIC_CHARACTER_SET, b"CS", UTF_8.encode())]


def _take(line: bytes, number: int, levels: list[_Open]) -> None:
    tag, rest = _tag(line)
    if tag >> 16 == 0xFFFE:
        _delimit(tag, rest, number, levels)
        return
    if levels[-1].is_sequence:
        raise _LineError("an element in place of an item (fffe,e000)")
    printed = _printed(rest) if tag >> 16 != 0x0002 else None
    vr, rest = _vr(tag, rest) if printed is None else (printed[0], b"")
    if vr == "SQ":
        if len(levels) >= 2 * MAX_DEPTH:
            raise _LineError(f"sequences are nested deeper than {MAX_DEPTH}")
        levels.append(_Open(tag, number, is_sequence=True))
    elif tag >> 16 != 0x0002:
        value = _value(vr, rest) if printed is None else printed[1]
        if not value.isascii() and vr.encode() in EXTENDED:
            levels[0].extended.append(value)
        levels[-1].keys.append(_key(tag, vr, value, number))


def _delimit(tag: int, rest: bytes, number: int, levels: list[_Open]) -> None:
    """Begin or end an item, or end a sequence."""
    level = levels[-1]
    if _PIXEL_ITEM.match(rest):
        raise _LineError("a query cannot have compressed pixel data")
    if tag == _ITEM and level.is_sequence:
        levels.append(_Open(tag, number))
    elif tag == _ITEM_END and not level.is_sequence and len(levels) > 1:
        levels.pop()
        levels[-1].items.append(level.keys)
    elif tag == _SEQUENCE_END and level.is_sequence:
        levels.pop()
        levels[-1].keys.append(Key(level.tag, b"SQ", items=level.items))
    else:
        raise _LineError(f"(fffe,{tag & 0xFFFF:04x}) does not belong here")


def _tag(line: bytes) -> tuple[int, bytes]:
    """Parse the tag of a line, ignoring blanks; return it and the rest of the line."""
    before, delimiter, rest = line.partition(b")")
    match = _TAG.match(before.translate(None, _BLANKS) + delimiter)
    if match is None:
        raise _LineError("the line does not begin with a tag: (gggg,eeee)")
    group, number = int(match[1], 16) & 0xFFFF, int(match[2], 16) & 0xFFFF
    return group << 16 | number, rest.lstrip(_BLANKS)


def _vr(tag: int, rest: bytes) -> tuple[str, bytes]:
    """Return the VR, from the line or the dictionary, and the rest of the line."""
    inner, match = _INNER_VR.match(rest), _VR.match(rest)
    following = rest[2:].lstrip(_BLANKS)
    if match is not None and match[1] in KNOWN:
        return match[1].decode(), following
    if match is not None and following and not following.startswith((b"#", b"\\")):
        raise _LineError(f"{match[1].decode()} is not a value representation; put a value of several words in [ ]")
    return key_vr(tag) or "UN", following if inner is not None else rest


def _printed(rest: bytes) -> tuple[str, bytes] | None:
    """Return VR and value of a line of a data set printed by pydicom, None for any other line."""
    first = _VR.match(rest)
    if first is not None and first[1] in KNOWN and not rest[2:].startswith(b":"):
        return None
    if _PRINTED_SEQUENCE.match(rest):
        raise _LineError("a sequence printed by pydicom cannot be read; write the data set as JSON: Dataset.to_json()")
    match = _PRINTED.match(rest)
    if match is None or match[1][:2] not in KNOWN:
        return None
    vr = match[1].decode()
    text = (match[2] or b"").decode("utf-8", "replace").strip()
    return vr[:2], _literal(vr, text)


def _literal(vr: str, text: str) -> bytes:
    """Return a value that pydicom printed. Raise ``_LineError`` if it cannot be read back."""
    if vr == "UI" and text[:1].isdigit():
        return text.encode()
    from ast import literal_eval  # late: needed for printed data sets alone

    try:
        value = literal_eval(text) if text else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = ...
    parts = value if isinstance(value, list) else [value]
    if "\ufffd" in text or not all(one is None or isinstance(one, (str, int, float)) for one in parts):
        raise _LineError(
            f"the value {text[:40]!r}, as pydicom prints it, cannot be read back; "
            "write the data set as JSON: Dataset.to_json()"
        )
    return "\\".join("" if one is None else str(one) for one in parts).encode("utf-8", "surrogatepass")


def _value(vr: str, rest: bytes) -> bytes:
    """Return the text of the value without brackets and comment."""
    if rest.startswith(b"["):
        end = rest.rfind(b"]")
        if end < 0:
            raise _LineError("a value that begins with [ must end with ]")
        return rest[1:end].replace(b"\\n", b"\r\n")
    if rest.startswith(b"<"):
        raise _LineError("a value cannot begin with < unless it is in [ ]")
    if rest.startswith(b"("):
        return b"".join(rest[: rest.rfind(b")") + 1].split()) if vr == "AT" and b"," in rest else b""
    return rest.partition(b"#")[0].strip(_BLANKS)


def _key(tag: int, vr: str, value: bytes, number: int) -> Key:
    try:
        if value.startswith(b"=") and vr in {"OB", "OW"}:
            return key_of(tag, vr, _file(value[1:]))
        encoded = encode_value(vr, value)
        if encoded.remark:
            _log.warning("line %d of the query file: %s", number, encoded.remark)
        return key_of(tag, vr, encoded.data)
    except ValueError as error:
        raise _LineError(f"the value does not fit VR {vr}: {error}") from None


def _file(name: bytes) -> bytes:
    """Read a value from the file it names."""
    try:
        with open(name, "rb") as file:
            return pad(file.read())
    except OSError as error:
        raise _LineError(f"cannot read {name.decode('utf-8', 'replace')!r}: {error.strerror}") from None
