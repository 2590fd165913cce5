"""Items and sub-items of PDUs: encoding of their common parts, and a reader (PS3.8 9.3.1, annex D).

A field that does not fit into its item raises ``ProtocolError`` with its name and the reason for the A-ABORT.
"""

from __future__ import annotations

import itertools
import struct

from movescu.errors import AbortReason, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final, TypeAlias

MAXIMUM_ITEMS: Final = 16_384
"""Limit of items and sub-items in one A-ASSOCIATE PDU; 128 contexts of 100 transfer syntaxes each have 13,000."""

BytesLike: TypeAlias = bytes | bytearray | memoryview


def encode_item(item_type: int, *parts: bytes) -> bytes:
    """Encode an item."""
    body = b"".join(parts)
    return struct.pack(">BxH", item_type, len(body)) + body


def counted(value: bytes) -> bytes:
    """Encode a field with its length in two bytes before it."""
    return struct.pack(">H", len(value)) + value


def uid_bytes(value: str) -> bytes:
    """Encode a UID, without padding (PS3.8 annex F)."""
    return value.encode("latin-1", "replace")


class ItemReader:
    """Reader of the fields of one item, in order.

    ``where``: the item's name in errors. ``count``: counts the items of the whole PDU. Default: a new count.
    """

    __slots__ = ("count", "data", "position", "where")

    def __init__(self, data: BytesLike, where: str, count: Iterator[int] | None = None) -> None:
        self.data = bytes(data)
        self.position = 0
        self.where = where
        self.count = itertools.count(1) if count is None else count

    def __bool__(self) -> bool:
        return self.position < len(self.data)

    def take(self, size: int, name: str) -> bytes:
        """Return the next ``size`` bytes; ``name`` is the field's. Raise ``ProtocolError`` if fewer are left."""
        end = self.position + size
        if end > len(self.data):
            raise ProtocolError(
                f"{self.where}: {name} needs {size} bytes, {len(self.data) - self.position} are left",
                abort_reason=AbortReason.INVALID_PDU_PARAMETER_VALUE,
            )
        value = self.data[self.position : end]
        self.position = end
        return value

    def rest(self) -> bytes:
        """Return the bytes that are left."""
        return self.take(len(self.data) - self.position, "rest")

    def number(self, size: int, name: str) -> int:
        """Read an unsigned number of ``size`` bytes."""
        return int.from_bytes(self.take(size, name), "big")

    def counted(self, name: str) -> bytes:
        """Read a field that has its length in two bytes before it."""
        return self.take(self.number(2, f"length of {name}"), name)

    def uid(self, name: str) -> str:
        """Read a UID that has its length before it."""
        return decode_text(self.counted(name))

    def item(self) -> tuple[int, ItemReader]:
        """Read an item: return its type, and a reader of its fields."""
        item_type = self.number(1, "item type")
        self.take(1, "reserved byte")
        length = self.number(2, f"length of item {item_type:02X}H")
        if next(self.count) > MAXIMUM_ITEMS:
            raise ProtocolError(
                f"{self.where}: more than {MAXIMUM_ITEMS} items", abort_reason=AbortReason.INVALID_PDU_PARAMETER_VALUE
            )
        data = self.take(length, f"item {item_type:02X}H")
        return item_type, ItemReader(data, f"{self.where}, item {item_type:02X}H", self.count)


def decode_text(value: bytes) -> str:
    """Decode a UID or AE title, without its padding."""
    # Peers pad UIDs and AE titles with zeros and with blanks; neither is significant.
    return value.decode("latin-1").strip("\0 ")
