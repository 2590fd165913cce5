r"""Templates of layouts: the folders and names of received objects, from the attributes of their data sets.

=================================== ================================================================================
``{StudyDate}``                     the value; any keyword of PS3.6 at the top level of a data set that can be text
``{SeriesNumber:04}``               with a format specification of Python: of an integer for IS, US, SS, UL, SL, UV
                                    and SV, of a float for DS, FL and FD, else of a string (``{PatientID:.8}``)
``{StudyDate|none}``                with the text for a value that is missing, empty or not a number; by default
                                    ``unknown``
``{hash:PatientID}``                16 hexadecimal digits of the SHA-256 of the value: the same for the same value
``{{`` and ``}}``                   braces
``/``                               separates the folders, and the last one the name of the file
=================================== ================================================================================

No value leads out of its part of the path, and different values are written differently: characters that a file name
cannot or should not have (control characters, ``/ \ < > : " | ? *``), and ``%``, are escaped as ``%XX`` for each byte
of UTF-8, and so is a dot at the beginning of a part, which would make a hidden file, ``..`` or a temporary file of this
program, a dot or space at the end, and the first character of a name that Windows reserves (``CON``). A part of more
than 255 bytes is cut, and ends with a hash of the whole. Nothing here touches a file: ``storage.folders`` makes the
folders, and ``storage.layout.placement`` resolves equal paths.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from movescu.dictionary import tags as dictionary
from movescu.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

UNKNOWN: Final = "unknown"
"""Text for a missing value, if the template has none."""
MAXIMUM_PART: Final = 255
"""Bytes of the longest file name on the usual file systems."""
MAXIMUM_PARTS: Final = 12
"""Folders and file; more are a mistake, and their path may be longer than a system call accepts."""

FLAT: Final = "flat"
PRESETS: Final = {
    FLAT: "",
    "study": "{StudyInstanceUID}/{SeriesInstanceUID}/{SOPInstanceUID}.dcm",
    "patient": "{PatientID}/{StudyDate}_{StudyInstanceUID}/{SeriesNumber:04}_{SeriesInstanceUID}/{SOPInstanceUID}.dcm",
    "bids-source": "sourcedata/sub-{PatientID}/ses-{StudyDate}{hash:StudyInstanceUID:.6}/"
    "{SeriesNumber:03}-{SeriesDescription}/{SOPInstanceUID}.dcm",
}
"""Layouts by name; ``flat`` has no template: its names are those of ``storage.file_names``."""

_SOP_INSTANCE_UID: Final = 0x00080018
# Usual attributes that all objects of a series have in common (PS3.3 C.7.1 to C.7.3): a template of these alone would
# give all of them the same path.
_COMMON: Final = frozenset(
    (
        *(0x00080005, 0x00080016, 0x00080020, 0x00080021, 0x00080030, 0x00080031, 0x00080050, 0x00080060, 0x00080070),
        *(0x00080080, 0x00080090, 0x00081010, 0x00081030, 0x0008103E, 0x00081040, 0x00081050, 0x00081070, 0x00081090),
        *(0x00100010, 0x00100020, 0x00100021, 0x00100030, 0x00100040, 0x00101010, 0x00101020, 0x00101030),
        *(0x00180015, 0x00180050, 0x00181030, 0x00185100, 0x0020000D, 0x0020000E, 0x00200010, 0x00200011, 0x00200052),
        *(0x00200060, 0x00400244, 0x00400245, 0x00400253, 0x00400254),
    )
)

_INTEGERS: Final = frozenset(("IS", "US", "SS", "UL", "SL", "UV", "SV", "US or SS"))
_FLOATS: Final = frozenset(("DS", "FL", "FD"))
_NO_TEXT: Final = frozenset(("AT", "OB", "OD", "OF", "OL", "OV", "OW", "SQ", "UN", "OB or OW", "US or OW"))

_PIECE: Final = re.compile(
    r"\{\{|\}\}|\{(?P<hash>hash:)?(?P<keyword>\w*)(?::(?P<spec>[^{}|]*))?(?:\|(?P<default>[^{}]*))?\}|[{}]|[^{}]+"
)
_LONG_NUMBER: Final = re.compile(r"\d{4}")
_UNSAFE: Final = re.compile(r'[%/\\<>:"|?*]')
_WHOLE_NUMBER: Final = re.compile(r"\A\s*([+-]?\d+)\.0*\s*\Z")  # as some senders write an IS
_RESERVED: Final = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d) *(?:\.|\Z)", re.IGNORECASE)
_EXTENSION: Final = re.compile(r"\.[A-Za-z0-9]{1,8}\Z")


class Field(NamedTuple):
    """A field of a template; ``kind``: the type of its format specification. ``hashed``: use the hash of the value."""

    tag: int
    kind: type[str | int | float]
    hashed: bool
    spec: str
    default: str

    def text(self, value: str | None) -> str:
        """Return the text for a value (see ``Layout.folder``). Never raises, whatever value a peer sends."""
        if not value:
            return self.default
        if self.hashed:
            return format(short_hash(value), self.spec)
        if self.kind is str:
            return format(value, self.spec)
        first = value.partition("\\")[0]
        try:
            return format(self.kind(first if self.kind is float else _WHOLE_NUMBER.sub(r"\1", first)), self.spec)
        except (ValueError, OverflowError):
            return self.default


class Layout:
    """A parsed template, made by ``parse_layout``.

    ``template``: its text. ``folder_tags``, ``name_tags``: the tags of the values in its folders and its file name.
    ``tags``: both. ``distinct``: no two objects have the same path, because the SOP instance UID is the only value in
    one part of it: beside another value, which may end or begin like a UID, it would not be.
    """

    def __init__(self, template: str, parts: tuple[tuple[str | Field, ...], ...]) -> None:
        fields = [piece for part in parts for piece in part if isinstance(piece, Field)]
        *self._folders, self._name = parts
        self.template = template
        self.tags = frozenset(field.tag for field in fields)
        self.folder_tags = frozenset(p.tag for part in self._folders for p in part if isinstance(p, Field))
        self.name_tags = frozenset(p.tag for p in self._name if isinstance(p, Field))
        self.distinct = any(_is_uid_alone(part) for part in parts)

    def folder(self, values: Mapping[int, str]) -> str:
        """Return the folders of an object, each followed by ``/``.

        ``values``: of its data set by tag, as text without padding, numbers in decimal.
        """
        return "".join([f"{_part(pieces, values)}/" for pieces in self._folders])

    def name(self, values: Mapping[int, str]) -> str:
        """Return the file name of an object; ``values`` as in ``folder``."""
        return _part(self._name, values)


def parse_layout(text: str) -> Layout | None:
    """Parse a template, or the name of one of ``PRESETS``; return None for the flat layout.

    Raise ``UsageError`` with the error and its position.
    """
    if text == FLAT:
        return None
    template = PRESETS.get(text, text)
    if "{" not in template:
        raise UsageError(f"there is no layout {text!r}", hint=f"use {_names()}, or a template with {{Keywords}}")
    parts = tuple(_split(template))
    _check_parts(template, parts)
    layout = Layout(template, parts)
    if layout.tags <= _COMMON:
        raise UsageError(
            f"layout {template!r}: all objects of a series would have the same name",
            hint="put {SOPInstanceUID} or {InstanceNumber} after the last /",
        )
    return layout


def apart(path: str, sop_instance_uid: str, number: int = 1) -> str:
    """Return the path of an object whose own path another object has: with its UID before the extension.

    ``number``: of the alternative; from the second on, it follows the UID. Default: 1.
    """
    folder, slash, name = path.rpartition("/")
    found = _EXTENSION.search(name)
    extension = found[0] if found else ""
    mark = _safe(sop_instance_uid) + (f"_{number}" if number > 1 else "")
    return f"{folder}{slash}{_fitted(f'{name.removesuffix(extension)}.{mark}{extension}')}"


def short_hash(value: str) -> str:
    """Return the hash of a value for a name: 16 hexadecimal digits."""
    from hashlib import sha256  # late: needed for hashes alone

    return sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _is_uid_alone(part: tuple[str | Field, ...]) -> bool:
    """Return True if the SOP instance UID, as it is, is the only value in a part of a template."""
    fields = [piece for piece in part if isinstance(piece, Field)]
    return len(fields) == 1 and fields[0].tag == _SOP_INSTANCE_UID and not (fields[0].spec or fields[0].hashed)


# -- from values to parts ----------------------------------------------------------------------------------------------


def _part(pieces: tuple[str | Field, ...], values: Mapping[int, str]) -> str:
    text = "".join([p if isinstance(p, str) else _safe(p.text(values.get(p.tag))) for p in pieces]) or UNKNOWN
    if text[0] == "." or _RESERVED.match(text):
        text = f"{_escaped(text[0])}{text[1:]}"
    if text[-1] in ". ":
        text = f"{text[:-1]}{_escaped(text[-1])}"
    return _fitted(text) if len(text) > MAXIMUM_PART // 4 else text  # a character has up to 4 bytes


def _safe(text: str) -> str:
    """Escape the characters that a name should not have as ``%XX``."""
    if text.isprintable() and not _UNSAFE.search(text):
        return text
    return "".join(c if c.isprintable() and not _UNSAFE.match(c) else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _fitted(name: str) -> str:
    """Cut a name that is too long for a file system; a hash keeps names with the same beginning different."""
    data = name.encode()
    if len(data) <= MAXIMUM_PART:
        return name
    found = _EXTENSION.search(name)
    ending = f"~{short_hash(name)}{found[0] if found else ''}"
    return data[: MAXIMUM_PART - len(ending)].decode("utf-8", "ignore") + ending


# -- from the template to parts ----------------------------------------------------------------------------------------


def _split(template: str) -> list[tuple[str | Field, ...]]:
    """Parse a template into the pieces of each part."""
    parts: list[list[str | Field]] = [[]]
    for piece in _PIECE.finditer(template):
        text = piece[0]
        if piece["keyword"] is not None:
            parts[-1].append(_field(template, piece))
        elif text in {"{", "}"}:
            raise _error(template, piece.start(), f"unmatched {text}", "write {{ or }} for a brace")
        else:
            first, *others = [text[0]] if text in {"{{", "}}"} else text.split("/")
            parts[-1].append(first)
            parts += [[other] for other in others]
    return [tuple(piece for piece in part if piece) for part in parts]


def _field(template: str, piece: re.Match[str]) -> Field:
    start, keyword, spec = piece.start(), piece["keyword"], piece["spec"] or ""
    tag = dictionary.tag_of(keyword)
    if tag is None:
        raise _error(template, start, f"unknown keyword {keyword!r}", _near(keyword))
    vr = dictionary.vr_of(tag) or "UN"
    if tag < 0x00080000:
        raise _error(template, start, f"{keyword} is not an attribute of data sets")
    if vr in _NO_TEXT or tag >= 0x7FE00000:
        raise _error(template, start, f"{keyword} ({vr}) cannot be written as text")
    hashed = piece["hash"] is not None
    kind = str if hashed else int if vr in _INTEGERS else float if vr in _FLOATS else str
    _check_spec(template, start, keyword, kind, spec)
    default = UNKNOWN if piece["default"] is None else piece["default"]
    if "/" in default:
        raise _error(template, start, "the text for a missing value cannot have a /")
    return Field(tag, kind, hashed, spec, default)


def _check_spec(template: str, start: int, keyword: str, kind: type[str | int | float], spec: str) -> None:
    what = {str: "a string", int: "an integer", float: "a number"}[kind]
    try:
        if _LONG_NUMBER.search(spec):
            raise ValueError  # noqa: TRY301 - Python would accept it, and use that much memory
        format(kind("1"), spec)
    except ValueError:
        raise _error(template, start, f"{spec!r} is not a format of {what}, which {keyword} is") from None


def _check_parts(template: str, parts: tuple[tuple[str | Field, ...], ...]) -> None:
    if len(parts) > MAXIMUM_PARTS:
        raise UsageError(f"layout {template!r}: more than {MAXIMUM_PARTS} parts")
    for part in parts:
        if not part:
            raise UsageError(
                f"layout {template!r}: begins or ends with /, or has an empty part",
                hint="the layout is relative to the output directory",
            )
        literal = "".join(piece for piece in part if isinstance(piece, str))
        if isinstance(part[0], str) and part[0].startswith("."):
            raise UsageError(f"layout {template!r}: the part {part[0]!r} begins with a dot")
        if not literal.isprintable() or "\\" in literal:
            raise UsageError(f"layout {template!r}: characters that no name should have: {literal!r}")


def _error(template: str, start: int, what: str, hint: str = "") -> UsageError:
    return UsageError(f"layout {template!r}: at character {start + 1}: {what}", hint=hint)


def _near(keyword: str) -> str:
    from movescu.dictionary.other_names import nearest  # late: needed for a mistake alone

    near = nearest(keyword)
    return f"did you mean {near}?" if near else "keywords are those of PS3.6, such as StudyDate"


def _names() -> str:
    *others, last = PRESETS
    return f"{', '.join(others)} or {last}"
