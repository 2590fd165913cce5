"""Encoded data sets for the codec's tests, made byte by byte and by nothing of movescu.

``el`` encodes one element in any of the encodings, ``Tree`` a whole data set from a nested description, so that one
object can be had in each of them. ``objects`` is the made corpus: what the standard allows, what it once allowed, and
what archives send all the same.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

ELE = "1.2.840.10008.1.2.1"
ILE = "1.2.840.10008.1.2"
EBE = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG = "1.2.840.10008.1.2.4.50"

UNDEFINED = 0xFFFFFFFF
LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
UNITS = {"AT": 2, "OW": 2, "SS": 2, "US": 2, "FL": 4, "OF": 4, "OL": 4, "SL": 4, "UL": 4}
UNITS |= {"FD": 8, "OD": 8, "OV": 8, "SV": 8, "UV": 8}
CLASS_UID = "1.2.840.10008.5.1.4.1.1.7"
INSTANCE_UID = "1.2.3.4"


class Layout(NamedTuple):
    """One of the encodings of PS3.5 section 10."""

    implicit: bool = False
    big: bool = False
    undefined: bool = False


LITTLE = Layout()
IMPLICIT = Layout(implicit=True)
BIG = Layout(big=True)


def el(tag: int, vr: str | None, value: bytes, order: str = "<", length: int | None = None) -> bytes:
    """Encode an element; ``vr`` None is implicit VR, and ``length`` may lie."""
    size = len(value) if length is None else length
    group, element = tag >> 16, tag & 0xFFFF
    if vr is None:
        return struct.pack(order + "HHI", group, element, size) + value
    if vr in LONG_VRS:
        return struct.pack(order + "HH2sHI", group, element, vr.encode(), 0, size) + value
    return struct.pack(order + "HH2sH", group, element, vr.encode(), size) + value


def item(content: bytes, length: int | None = None, order: str = "<") -> bytes:
    """Encode an item header and its content."""
    return struct.pack(order + "HHI", 0xFFFE, 0xE000, len(content) if length is None else length) + content


def item_end(order: str = "<") -> bytes:
    """Encode an item delimiter."""
    return struct.pack(order + "HHI", 0xFFFE, 0xE00D, 0)


def sequence_end(order: str = "<") -> bytes:
    """Encode a sequence delimiter."""
    return struct.pack(order + "HHI", 0xFFFE, 0xE0DD, 0)


def fragments(*values: bytes, vr: str = "OB") -> bytes:
    """Encode pixel data in encapsulated form; the first value is the offset table."""
    return el(0x7FE00010, vr, b"".join(map(item, values)) + sequence_end(), length=UNDEFINED)


class Node(NamedTuple):
    """An element: a value in little endian byte order, or items."""

    tag: int
    vr: str
    value: bytes | list[list[Node]]


def swapped(value: bytes, unit: int) -> bytes:
    """Reverse each unit of a value; a last one that is not whole is reversed as it is."""
    whole = len(value) // unit * unit
    result = bytearray(value)
    for i in range(unit):
        result[i:whole:unit] = value[unit - 1 - i : whole : unit]
    return bytes(result[:whole]) + value[whole:][::-1]


def encode(nodes: list[Node], layout: Layout = LITTLE) -> bytes:
    """Encode a data set or the content of an item."""
    order = ">" if layout.big else "<"
    result = b""
    for node in nodes:
        vr = None if layout.implicit else node.vr
        if isinstance(node.value, bytes):
            value = swapped(node.value, UNITS.get(node.vr, 1)) if layout.big else node.value
            result += el(node.tag, vr, value, order)
        elif layout.undefined:
            body = b"".join(item(encode(i, layout) + item_end(order), UNDEFINED, order) for i in node.value)
            result += el(node.tag, vr, body + sequence_end(order), order, UNDEFINED)
        else:
            result += el(node.tag, vr, b"".join(item(encode(i, layout), None, order) for i in node.value), order)
    return result


def deflate(data: bytes, level: int = 6) -> bytes:
    """Deflate a data set as PS3.5 A.5 says, without the byte of padding."""
    deflater = zlib.compressobj(level, zlib.DEFLATED, -15)
    return deflater.compress(data) + deflater.flush()


IDENTITY = [Node(0x00080016, "UI", CLASS_UID.encode() + b"\0"), Node(0x00080018, "UI", INSTANCE_UID.encode() + b"\0")]
NAME = Node(0x00100010, "PN", b"Doe^Jane")
REQUEST = 0x00400275  # a sequence of PS3.6

RICH = [
    Node(0x00080005, "CS", b"ISO_IR 100"),
    *IDENTITY,
    Node(0x00080020, "DA", b"20260101"),
    Node(
        0x00081140,
        "SQ",
        [
            [Node(0x00081150, "UI", b"1.2.3\0"), Node(0x00081155, "UI", b"1.2.3.4\0")],
            [],
            [Node(0x0040A170, "SQ", [[Node(0x00080100, "SH", b"ABC "), Node(0x0040A170, "SQ", [])]])],
        ],
    ),
    NAME,
    Node(0x00101030, "DS", b"1.5\\2.5 "),
    Node(0x00189073, "FD", struct.pack("<2d", 1.5, -2.25)),
    Node(0x00189810, "US", b"\1\2"),
    Node(0x00280009, "AT", b"\x10\0\x20\x10"),
    Node(0x00280010, "US", b"\2\0"),
    Node(0x00280103, "US", b"\1\0"),
    Node(0x00280106, "SS", b"\xff\xfe"),
    Node(0x00281101, "US", b"\0\1\0\0\x10\0"),
    Node(0x00281201, "OW", b"abcdef"),
    Node(0x00290010, "LO", b"SIEMENS CSA HEADER"),
    Node(0x00291008, "CS", b"IMAGE NUM 4 "),
    Node(0x00291010, "OB", b"\1\2\3\4\5\6"),
    Node(REQUEST, "SQ", []),
    Node(0x60003000, "OW", b"\1\2\3\4"),
    Node(0x7FE00010, "OW", bytes(range(64))),
]
"""An object that canonical bytes can be had of in each encoding: every VR is the one that implicit VR finds again."""

_PADDING = Node(0xFFFCFFFC, "OB", bytes(6))
_PADDING_LENGTH = Node(0xFFFC0000, "UL", b"\7\0\0\0")
_LENGTHS = [
    Node(0x00080000, "UL", b"\7\0\0\0"),
    *IDENTITY,
    Node(0x00100000, "UL", b"\0\0\0\0"),
    NAME,
    Node(0x00290000, "UL", b"\1\1\0\0"),
    Node(0x00290010, "LO", b"ACME"),
    Node(0x00400000, "UL", b"\1\1\0\0"),
    Node(REQUEST, "SQ", [[Node(0x00100000, "UL", b"\0\0\0\0"), NAME, Node(0x00200010, "SH", b"AB")], []]),
]
_PADDED = [*IDENTITY, NAME, Node(REQUEST, "SQ", [[NAME, _PADDING], [_PADDING]]), _PADDING]
_DISORDERED = [
    Node(0x00400000, "UL", b"\0\0\0\0"),
    Node(REQUEST, "SQ", [[Node(0x00200010, "SH", b"AB"), NAME, Node(0x00200010, "SH", b"CD")]]),
    NAME,
    *IDENTITY,
    Node(0x00100010, "PN", b"Other"[:4]),
    Node(0x00100000, "UL", b"\0\0\0\0"),
    Node(0x00080018, "UI", b"9.9\0"),
]
_VRS = {
    "AE": b"TITLE ",
    "AS": b"030Y",
    "AT": b"\1\2\3\4",
    "CS": b"A\\B   ",
    "DA": b"20260101",
    "DS": b"1.5 ",
    "DT": b"20260101101010",
    "FD": b"abcdefgh" * 2,
    "FL": b"abcdefgh",
    "IS": b"1\\2 ",
    "LO": b" lead and trail     ",
    "LT": b"  a text\r\nof lines  ",
    "OB": b"\1\2\3\4",
    "OD": b"abcdefgh",
    "OF": b"abcdefgh",
    "OL": b"abcdefgh",
    "OV": b"abcdefgh",
    "OW": b"abcdef",
    "PN": b"Yamada^Tarou=\x1b$B;3ED\x1b(B   ",
    "SH": b"\\\\  ",
    "SL": b"abcdefgh",
    "SS": b"abcd",
    "ST": b"     a  ",
    "SV": b"abcdefgh",
    "TM": b"101010.5",
    "UC": b"unlimited   ",
    "UI": b" 1.2. 33\0 \0\0",
    "UL": b"abcdefgh",
    "UN": b"what  ",
    "UR": b"http://x  ",
    "US": b"abcd",
    "UT": b" long text  ",
    "UV": b"abcdefgh",
}
_EVERY_VR = [*IDENTITY, *(Node(0x00990000 + i, vr, value) for i, (vr, value) in enumerate(_VRS.items(), 0x1001))]


def _in_every_encoding(name: str, nodes: list[Node]) -> dict[str, tuple[str, bytes]]:
    little = encode(nodes)
    undefined = encode(nodes, Layout(undefined=True))
    return {
        f"{name}, explicit little": (ELE, little),
        f"{name}, implicit little": (ILE, encode(nodes, IMPLICIT)),
        f"{name}, explicit big": (EBE, encode(nodes, BIG)),
        f"{name}, deflated": (DEFLATED, deflate(little, 3)),
        f"{name}, undefined lengths": (ELE, undefined),
        f"{name}, implicit, undefined lengths": (ILE, encode(nodes, Layout(implicit=True, undefined=True))),
        f"{name}, big, undefined lengths": (EBE, encode(nodes, Layout(big=True, undefined=True))),
    }


def _implicit(*values: tuple[int, bytes]) -> bytes:
    return encode(IDENTITY, IMPLICIT) + b"".join(el(tag, None, value) for tag, value in values)


def _ambiguous() -> dict[str, tuple[str, bytes]]:
    """VRs that other elements decide."""
    signed = [(0x00189810, b"ab"), (0x00280104, b"ab"), *((0x00280000 + e, b"ab") for e in (0x106, 0x107, 0x108))]
    signed += [(0x00280109, b"ab"), (0x00280120, b"ab"), (0x00281101, b"abcdef"), (0x00283002, b"abcdef")]
    signed += [(0x00283006, b"ab"), (0x00409211, b"ab"), (0x00409216, b"ab"), (0x00603004, b"ab")]
    wave = [(0x54000110, b"ab"), (0x54000112, b"ab"), (0x5400100A, b"ab"), (0x54001010, b"abcd")]
    repeating = [(0x50003000, b"abcd"), (0x5002200C, b"ab"), (0x60003000, b"abcd"), (0x60010010, b"ab")]
    repeating += [(0x601E3000, b"abcd"), (0x7F000010, b"abcd"), (0x7FE00010, b"abcd")]
    result = {"repeating groups": (ILE, _implicit(*repeating))}
    for value in (0, 1, 2):
        pixel = (0x00280103, struct.pack("<H", value))
        result[f"pixel representation {value}"] = (ILE, _implicit(pixel, *signed))
        inner = b"".join(el(tag, None, text) for tag, text in signed)
        result[f"pixel representation {value} outside"] = (ILE, _implicit(pixel, (REQUEST, item(inner))))
    for bits in (8, 16):
        result[f"waveform of {bits} bits"] = (ILE, _implicit((0x54001004, struct.pack("<H", bits)), *wave))
    result["waveform of no known bits"] = (ILE, _implicit(*wave))
    return result


def _private() -> dict[str, tuple[str, bytes]]:
    known = (0x00290010, b"SIEMENS CSA HEADER")
    creators = [(0x00090010, b"ACME"), (0x00090011, b""), (0x00090012, b"OTHER ")]
    values = [(0x00091001, b"ab  "), (0x00091101, b"ab"), (0x00091301, b"cd")]
    return {
        "private with creators": (
            ILE,
            _implicit(*creators, *values, known, (0x00291008, b"A   "), (0x00291010, b"ab")),
        ),
        "private of another block": (
            ILE,
            _implicit((0x002900E1, known[1]), (0x0029E108, b"A   "), (0x00291008, b"A  ")),
        ),
        "private without creators": (ILE, _implicit((0x00090001, b"ab"), (0x00091001, b"ab"), (0x00291008, b"A   "))),
        "private creator outside": (ILE, _implicit(known, (REQUEST, item(el(0x00291008, None, b"A   "))))),
        "private creators of odd VR": (
            ELE,
            encode(IDENTITY)
            + el(0x00090010, "UN", b"ACME")
            + el(0x00090011, "SH", b"ACME  ")
            + el(0x00091001, "UN", b"a "),
        ),
        "private implicit sequence": (
            ILE,
            _implicit() + el(0x00091001, None, item(el(0x00100010, None, b"AB")) + sequence_end(), length=UNDEFINED),
        ),
    }


def _unknown() -> dict[str, tuple[str, bytes]]:
    inner = item(el(0x00100010, None, b"AB") + el(0x00280010, None, b"\1\2") + el(0x00091001, None, b"cd"))
    nested = item(el(0x00091002, None, inner + sequence_end(), length=UNDEFINED) + el(REQUEST, None, inner))
    base = encode(IDENTITY)
    return {
        "UN of undefined length": (ELE, base + el(0x00091001, "UN", inner + sequence_end(), length=UNDEFINED)),
        "UN of undefined length, nested": (ELE, base + el(0x00091001, "UN", nested + sequence_end(), length=UNDEFINED)),
        "UN of undefined length, big": (
            EBE,
            encode(IDENTITY, BIG) + el(0x00091001, "UN", inner + sequence_end(), ">", UNDEFINED),
        ),
        "UN of defined length, known tag": (ELE, base + el(0x00280010, "UN", b"\1\0") + el(0x00400555, "UN", inner)),
        "unknown VRs": (
            ELE,
            base
            + struct.pack("<HH2sHI", 0x10, 0x11, b"ZZ", 0, 4)
            + b"abcd"
            + struct.pack("<HH2sH", 0x10, 0x13, b"zz", 4)
            + b"abcd"
            + struct.pack("<HH2sH", 0x10, 0x15, b"??", 2)
            + b"ab",
        ),
        "unknown VR of undefined length": (
            ELE,
            base + struct.pack("<HH2sHI", 0x10, 0x11, b"ZZ", 0, UNDEFINED) + inner + sequence_end(),
        ),
        "reserved bytes set": (ELE, base + struct.pack("<HH2sHI", 0x10, 0x11, b"OB", 5, 2) + b"ab"),
    }


def _large() -> dict[str, tuple[str, bytes]]:
    text = b"0123456789abcde " * 4096
    return {
        "65534 bytes in short VRs": (ILE, _implicit((0x00100020, text[:65534]), (0x00280009, text[:65532]))),
        "65536 bytes in short VRs": (ILE, _implicit((0x00100020, text[:65535] + b"x"), (0x00280009, text))),
        "70000 bytes in short VRs": (ILE, _implicit((0x00104000, text + b"x" * 4464), (0x00280010, text * 2))),
        "blanks that bring text below 64 KB": (ILE, _implicit((0x00104000, b"abc " * 9000 + b" " * 34000))),
        "blanks that bring text to nothing": (ILE, _implicit((0x00104000, b" " * 70000), (0x00080119, b" " * 70000))),
        "long text that ends in blanks": (ELE, encode([*IDENTITY, Node(0x00189074, "UT", text * 3 + b"  ")])),
        "large swapped values": (
            ELE,
            encode([*IDENTITY, *(Node(0x00991001 + i, vr, text * 5) for i, vr in enumerate(("OW", "OF", "OD", "OB")))]),
        ),
        "large swapped values, big": (
            EBE,
            encode(
                [*IDENTITY, *(Node(0x00991001 + i, vr, text * 5) for i, vr in enumerate(("OW", "OL", "OV", "UN")))], BIG
            ),
        ),
    }


def _encapsulated() -> dict[str, tuple[str, bytes]]:
    base = encode([*IDENTITY, NAME])
    icon = el(0x00880200, "SQ", item(el(0x7FE00010, "OB", b"ab")))
    return {
        "fragments": (JPEG, base + fragments(b"", b"\xff\xd8ab", b"cd")),
        "fragments, offset table": (
            JPEG,
            base + fragments(struct.pack("<2I", 0, 12), b"abcd", b"efghij") + el(0xFFFAFFFA, "SQ", b""),
        ),
        "fragments of odd length": (JPEG, base + fragments(b"", b"abc", b"", b"d")),
        "fragments as OW": (JPEG, base + fragments(b"", b"ab", vr="OW")),
        "no fragments": (JPEG, base + fragments()),
        "large fragments": (JPEG, base + fragments(b"", bytes(range(256)) * 300, b"x" * 70001)),
        "fragments, native icon": (JPEG, base + icon + fragments(b"", b"ab")),
        "fragments in an item": (
            JPEG,
            base + el(0x00880200, "SQ", item(fragments(b"", b"ab"))) + fragments(b"", b"cd"),
        ),
        "encapsulated syntax without pixel data": (JPEG, base),
        "native pixel data in an encapsulated syntax": (JPEG, base + el(0x7FE00010, "OW", b"ab")),
        "fragments in a native syntax": (ELE, base + fragments(b"", b"ab")),
    }


def _delimiters() -> dict[str, tuple[str, bytes]]:
    base, name = encode(IDENTITY), encode([NAME])

    def sequence(content: bytes, length: int | None = None) -> tuple[str, bytes]:
        return ELE, base + el(REQUEST, "SQ", content, length=length)

    return {
        "sequence delimiter in a known length": sequence(item(name) + sequence_end()),
        "item delimiter in a known length": sequence(item(name + item_end())),
        "item ends with its sequence": sequence(item(name, UNDEFINED)),
        "delimiters with lengths": sequence(
            item(name + item_end()[:4] + b"\4\0\0\0", UNDEFINED) + sequence_end()[:4] + b"\2\0\0\0", UNDEFINED
        ),
        "items of both kinds": sequence(item(name) + item(name + item_end(), UNDEFINED) + sequence_end(), UNDEFINED),
        "sequence delimiter too early": sequence(item(name) + sequence_end() + item(name)),
        "sequence without its end": sequence(item(name), UNDEFINED),
        "inner sequence without its end": sequence(item(el(REQUEST, "SQ", item(name), length=UNDEFINED))),
        "item delimiter for a sequence": sequence(item(name) + item_end(), UNDEFINED),
        "element in place of an item": sequence(name),
        "element past its item": sequence(item(el(0x00100010, "PN", b"ABCD", length=6))),
        "value cut off": (ELE, base + el(0x00100010, "PN", b"ABCD", length=6)),
        "header cut off": (ELE, base + name + b"\x10\0\x20\0LO"),
    }


def objects() -> dict[str, tuple[str, bytes]]:
    """Give the made corpus: name -> transfer syntax UID and data set."""
    single = {
        "one element": (ELE, el(0x00100010, "PN", b"AB")),
        "group 0002 in the data set": (ELE, encode([*IDENTITY, Node(0x00020010, "UI", b"1.2\0")])),
        "group lengths of other VRs": (
            ELE,
            encode([*IDENTITY, Node(0x00100000, "US", b"\1\0"), NAME, Node(0x00200000, "UN", b"abcd")]),
        ),
        "group length of the padding": (ELE, encode([*IDENTITY, _PADDING_LENGTH, _PADDING])),
        "group length of the padding alone": (ELE, encode([*IDENTITY, _PADDING_LENGTH])),
        "group length of the padding of an item": (
            ELE,
            encode([*IDENTITY, Node(REQUEST, "SQ", [[NAME, _PADDING_LENGTH, _PADDING], [NAME, _PADDING_LENGTH]])]),
        ),
        "group lengths without groups": (ELE, encode([Node(0x00070000, "UL", bytes(4)), *IDENTITY, _LENGTHS[-2]])),
    }
    return {
        **single,
        **_in_every_encoding("rich", RICH),
        **_in_every_encoding("every VR", _EVERY_VR),
        **_in_every_encoding("group lengths", _LENGTHS),
        **_in_every_encoding("padded", _PADDED),
        **_in_every_encoding("disordered", _DISORDERED),
        **_ambiguous(),
        **_private(),
        **_unknown(),
        **_large(),
        **_encapsulated(),
        **_delimiters(),
    }


def exceptions() -> dict[str, tuple[str, bytes]]:
    """Give objects of which movescu writes other bytes than DCMTK, or none, for a reason."""
    base, name = encode(IDENTITY), encode([NAME])
    return {
        "text of odd length": (
            ELE,
            encode([*IDENTITY, Node(0x00100010, "PN", b"ABC"), Node(0x00100020, "LO", b"A  ")]),
        ),
        "OW of odd length": (ELE, encode([*IDENTITY, Node(0x7FE00010, "OW", b"abc")])),
        "group length of eight bytes": (ELE, encode([Node(0x00080000, "UL", b"abcdefgh"), *IDENTITY])),
        "item delimiter in the data set": (ELE, base + item_end() + name),
        "item longer than its sequence": (
            ELE,
            base + el(REQUEST, "SQ", item(name, len(name) + 2)) + el(0x00400555, "SQ", b""),
        ),
        "VR letters that DCMTK uses inside": (ELE, base + struct.pack("<HH2sH", 0x10, 0x11, b"ox", 4) + b"abcd"),
        "tags newer than DCMTK's dictionary": (ILE, _implicit((0x00080403, b"STUDY "))),
        "private tags of which the dictionaries differ": (
            ILE,
            _implicit((0x002900E1, b"DIGISCAN IMAGE"), (0x0029E133, b"ab")),
        ),
        "private creator after an element out of order": (
            ILE,
            _implicit((0x00400555, b""), (0x00100010, b"AB"), (0x00290010, b"SIEMENS CSA HEADER"), (0x00291008, b"AB")),
        ),
        "sequences nested too deep": (ELE, base + _nested(70)),
        "bytes of zero at the end": (ELE, base + name + bytes(8)),
    }


def _nested(depth: int) -> bytes:
    content = b""
    for _ in range(depth):
        content = el(REQUEST, "SQ", item(content))
    return content
