"""Patterns of hosts_access(5), as pure functions of text.

Implements the sections "patterns", "wildcards" and "operators"; where these are silent, as libwrap does: A to Z are
equal to a to z, all other characters only to themselves. ``decision`` chooses which pattern is compared with which
host; ``rules`` parses the lines of the files.
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

UNKNOWN: Final = "unknown"
"""The name of a host that has none, or was not looked up; also an unknown address or user."""

_V4_BITS: Final = 32
_V6_BITS: Final = 128
_LOWER: Final = {ord("A") + letter: ord("a") + letter for letter in range(26)}
_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]{0,9}")  # as C writes them


def lower(text: str) -> str:
    """Return ``text`` with A to Z, and no other letters, in lower case: how hosts_access(5) ignores case."""
    return text.translate(_LOWER)


def split_at(text: str, delimiter: str) -> tuple[str, str | None]:
    """Split at the first delimiter outside the brackets of ``[IPv6]``; the second part is None if there is none."""
    depth = 0
    for index, character in enumerate(text):
        if character == "[":
            depth += 1
        elif character == "]":
            depth -= 1
        elif character == delimiter and depth == 0:
            return text[:index], text[index + 1 :]
    return text, None


def in_list(text: str, match: Callable[[str], bool]) -> bool:
    """Return True if a list with its exceptions matches: ``a EXCEPT b EXCEPT c`` means a EXCEPT (b EXCEPT c)."""
    lists: list[list[str]] = [[]]
    for token in filter(None, re.split(r"[, \t\r\n]+", text)):
        if lower(token) == "except":
            lists.append([])
        else:
            lists[-1].append(token)
    matching = 0
    while matching < len(lists) and any(map(match, lists[matching])):
        matching += 1
    return matching % 2 == 1  # each exception inverts the lists before it


def canonical(address: str) -> str:
    """Return the form of an address that rules are compared with: IPv4 for an IPv4-mapped IPv6 address."""
    plain, percent, scope = address.partition("%")
    packed = _packed(plain)
    if packed is None:
        return address or UNKNOWN
    if packed[:12] == bytes(10) + b"\xff\xff":
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6 if len(packed) == 16 else socket.AF_INET, packed) + percent + scope


def _packed(address: str) -> bytes | None:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_pton(family, address)
        except (OSError, ValueError):
            continue
    return None


def is_address(text: str) -> bool:
    """Return True if ``text`` is a numeric address."""
    return _packed(without_scope(text)) is not None


def without_scope(address: str) -> str:
    """Return an IPv6 address without its scope, the interface of a link-local address."""
    return address.partition("%")[0]


def string_match(pattern: str, text: str) -> bool:
    """Compare a pattern with a name or an address (hosts_access(5), "patterns"); nets, files and LOCAL are not here."""
    pattern, text = lower(pattern), lower(text)
    if "*" in pattern or "?" in pattern:
        return _wildcards_match(pattern, text)
    if pattern.startswith("."):
        return len(text) > len(pattern) and text.endswith(pattern)
    if pattern == "all":
        return True
    if pattern == "known":
        return text != UNKNOWN
    if pattern.endswith("."):
        return text.startswith(pattern)
    return pattern == text


def _wildcards_match(pattern: str, text: str) -> bool:
    """Match ``*`` and ``?``; only the last star is tried again, so the time is bounded by the product of the sizes."""
    at, index, star, tried = 0, 0, -1, 0
    while index < len(text):
        if pattern[at : at + 1] == "*":
            star, tried, at = at, index, at + 1
        elif pattern[at : at + 1] in ("?", text[index]):
            at, index = at + 1, index + 1
        elif star >= 0:
            tried += 1
            at, index = star + 1, tried
        else:
            return False
    return not pattern[at:].strip("*")


def is_net(net: str, mask: str | None) -> bool:
    """Return True if ``net/mask`` is a pattern that can match; ``mask`` is None for a lone ``[address]``."""
    return _network(net, mask) is not None


def net_match(net: str, mask: str | None, address: str) -> bool:
    """Compare an address with ``net/mask``, ``net/length``, ``[net]/length`` or ``[address]``."""
    pattern, packed = _network(net, mask), _packed(without_scope(address))
    if pattern is None or packed is None:
        return False
    width, base, bits = pattern
    return len(packed) * 8 == width and int.from_bytes(packed) & bits == base


def _network(net: str, mask: str | None) -> tuple[int, int, int] | None:
    """Return width, base and mask. Host bits in the base are ignored in IPv6, and never match in IPv4."""
    if net.startswith("[") and net.endswith("]"):
        packed = _packed(without_scope(net[1:-1]))
        length = _V6_BITS if mask is None else _leading_number(mask)
        if packed is None or len(packed) * 8 != _V6_BITS or not 0 <= length <= _V6_BITS:
            return None
        bits = _mask(length, _V6_BITS)
        return _V6_BITS, int.from_bytes(packed) & bits, bits
    base, v4_bits = _dotted_quad(net), _v4_mask(mask or "")
    if base is None or v4_bits is None or base & ~v4_bits:
        return None
    return _V4_BITS, base, v4_bits


def _v4_mask(mask: str) -> int | None:
    dotted = _dotted_quad(mask)
    if dotted is not None:
        return dotted
    length = _leading_number(mask)
    return _mask(length, _V4_BITS) if 1 <= length <= _V4_BITS else None


def _mask(length: int, width: int) -> int:
    return (1 << width) - (1 << (width - length))


def _leading_number(text: str) -> int:
    """Parse a number as C's ``atoi`` does: 0 if there is none; trailing text is ignored."""
    number = re.match(r"[\v\f]*([+-]?)0*([0-9]{0,6})", text)  # six digits are too many already
    return int(number[1] + (number[2] or "0")) if number else 0


def _dotted_quad(text: str) -> int | None:
    """Parse four numbers, decimal, octal or hexadecimal; None for other text, and for 255.255.255.255 as in libwrap."""
    parts = text.split(".")
    if len(parts) != 4 or not all(map(_NUMBER.fullmatch, parts)):
        return None
    numbers = [int(part, _base_of(part)) for part in parts]
    if max(numbers) > 0xFF or min(numbers) == 0xFF:
        return None
    return int.from_bytes(numbers)


def _base_of(number: str) -> int:
    if number[:2] in ("0x", "0X"):
        return 16
    return 8 if number.startswith("0") else 10
