r"""Specific Character Set (0008,0005): text <-> bytes of a value (PS3.3 C.12.1.1.2, PS3.5 6.1).

Supported are single-byte sets, the multi-byte sets without code extensions, and with code extensions (ISO 2022) those
of Japan, Korea and China. ``EXTENDED`` are the VRs to which this applies. Decoding follows the escape sequences.
"""

from __future__ import annotations

import re
from functools import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

UTF_8: Final = "ISO_IR 192"
SPECIFIC_CHARACTER_SET: Final = 0x00080005
EXTENDED: Final = frozenset((b"LO", b"LT", b"PN", b"SH", b"ST", b"UC", b"UT"))
"""VRs of text in the Specific Character Set (PS3.5 6.1.2.3)."""

# Defined term -> codec of Python (PS3.3 tables C.12-2 and C.12-4).
_CODECS: Final = {
    "": "ascii",
    "ISO_IR 6": "ascii",
    "ISO_IR 100": "latin_1",
    "ISO_IR 101": "iso8859_2",
    "ISO_IR 109": "iso8859_3",
    "ISO_IR 110": "iso8859_4",
    "ISO_IR 144": "iso8859_5",
    "ISO_IR 127": "iso8859_6",
    "ISO_IR 126": "iso8859_7",
    "ISO_IR 138": "iso8859_8",
    "ISO_IR 148": "iso8859_9",
    "ISO_IR 203": "iso8859_15",
    "ISO_IR 13": "shift_jis",
    "ISO_IR 166": "iso8859_11",
    "ISO_IR 192": "utf_8",
    "GB18030": "gb18030",
    "GBK": "gbk",
}
# Other spellings that senders use, in capitals and without blanks and marks -> codec.
_MISSPELT: Final = {term.replace("_", "").replace(" ", ""): codec for term, codec in _CODECS.items() if term} | {
    "UTF8": "utf_8",
    "ISO88591": "latin_1",
}
# Multi-byte sets with code extensions: codec, and the escape sequence unless the codec writes it (PS3.3 table C.12-4).
_EXTENSIONS: Final = {
    "ISO 2022 IR 87": ("iso2022_jp", b""),
    "ISO 2022 IR 159": ("iso2022_jp_1", b""),
    "ISO 2022 IR 149": ("euc_kr", b"\x1b$)C"),
    "ISO 2022 IR 58": ("gb2312", b"\x1b$)A"),
}
# Bytes after ESC -> codec, for codecs that do not read the escape sequence (PS3.3 tables C.12-3 and C.12-4).
_ESCAPED: Final = {
    b"-A": "latin_1",
    b"-B": "iso8859_2",
    b"-C": "iso8859_3",
    b"-D": "iso8859_4",
    b"-L": "iso8859_5",
    b"-G": "iso8859_6",
    b"-F": "iso8859_7",
    b"-H": "iso8859_8",
    b"-M": "iso8859_9",
    b"-b": "iso8859_15",
    b"-T": "iso8859_11",
    b"(J": "shift_jis",
    b")I": "shift_jis",
    b"$)C": "euc_kr",
    b"$)A": "gb2312",
}
_DELIMITERS: Final = r"([\\^=\r\n\t\f])"  # reset to the first set (PS3.5 6.1.2.5.3)


@cache
def _escape_pattern() -> bytes:
    return (
        rb"\x1b(\(B|"
        + b"|".join(
            code.replace(b"(", rb"\(").replace(b")", rb"\)").replace(b"$", rb"\$")
            for code in (*_ESCAPED, b"$B", b"$(D")
        )
        + rb")"
    )


def terms_of(value: bytes) -> tuple[str, ...]:
    """Return the defined terms in a value of Specific Character Set."""
    return tuple(term.strip(" \0") for term in value.decode("latin-1").split("\\"))


def encode(text: str, terms: tuple[str, ...]) -> bytes:
    """Encode text. Raise ``ValueError`` if a set is unknown or lacks a character."""
    first, *others = terms or ("",)
    codec = _codec(first)
    if not others:
        return _encode(text, codec, first)
    return b"".join(_extended(part, codec, others) for part in re.compile(_DELIMITERS).split(text))


def decode(value: bytes, terms: tuple[str, ...]) -> str | None:
    """Decode text; return None if it is invalid in these sets. Terms may be misspelt, as in ``ISO IR 192``."""
    try:
        codec = _MISSPELT.get("".join(filter(str.isalnum, terms[0].upper()))) or _codec(terms[0])
        if len(terms) == 1:
            return value.decode(codec)
        first, *rest = re.compile(_escape_pattern()).split(value)
        extended = (_after_escape(*pair, codec) for pair in zip(rest[::2], rest[1::2], strict=True))
        return first.decode(codec) + "".join(extended)
    except ValueError:
        return None


def _after_escape(escape: bytes, text: bytes, codec: str) -> str:
    """Decode the text after an escape sequence; ESC ( B returns to the first set."""
    if escape in {b"$B", b"$(D"}:
        return (b"\x1b" + escape + text).decode("iso2022_jp_1")
    return text.decode(_ESCAPED.get(escape, codec))


def _codec(term: str) -> str:
    codec = _CODECS.get(term.replace("ISO 2022 IR", "ISO_IR"))
    if codec is None:
        raise ValueError(f"unknown character set {term!r}")
    return codec


def _encode(text: str, codec: str, term: str) -> bytes:
    try:
        return text.encode(codec)
    except UnicodeEncodeError as error:
        name = term or "the default character set"
        raise ValueError(f"{text[error.start]!r} is not in {name}") from None


def _extended(text: str, codec: str, others: list[str]) -> bytes:
    """Encode the text between two delimiters in the first of the sets that has all of it."""
    for other in (None, *others):
        try:
            if other is None:
                return text.encode(codec)
            if other in _EXTENSIONS:
                extension, escape = _EXTENSIONS[other]
                return escape + text.encode(extension)
        except UnicodeEncodeError:
            continue
    raise ValueError(f"none of the character sets has all characters of {text!r}")
