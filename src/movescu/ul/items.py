"""Items of PDUs, as bytes: what all of them are made of, and a reader that takes them apart (PS3.8 9.3.1, annex D).

Whatever does not fit raises ``ProtocolError``, which names the field and carries the reason for the A-ABORT.
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
"""Items and sub-items of one association request or answer; 128 contexts of 100 transfer syntaxes each have 13,000."""

BytesLike: TypeAlias = bytes | bytearray | memoryview


def encode_item(item_type: int, *parts: bytes) -> bytes:
    """Give an item that consists of these parts."""
    body = b"".join(parts)
    return struct.pack(">BxH", item_type, len(body)) + body


def counted(value: bytes) -> bytes:
    """Give a field that is preceded by its length in two bytes."""
    return struct.pack(">H", len(value)) + value


def uid_bytes(value: str) -> bytes:
    """Give the bytes of a UID."""
    return value.encode("latin-1", "replace")


class ItemReader:
    """Takes fields from the bytes of one item; ``where`` names it in errors, ``count`` is of all items of the PDU."""

    __slots__ = ("count", "data", "position", "where")

    def __init__(self, data: BytesLike, where: str, count: Iterator[int] | None = None) -> None:
        self.data = bytes(data)
        self.position = 0
        self.where = where
        self.count = itertools.count(1) if count is None else count

    def __bool__(self) -> bool:
        return self.position < len(self.data)

    def take(self, size: int, name: str) -> bytes:
        """Take so many bytes; ``name`` is that of the field."""
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
        """Take all that is left."""
        return self.take(len(self.data) - self.position, "rest")

    def number(self, size: int, name: str) -> int:
        """Take a number of so many bytes."""
        return int.from_bytes(self.take(size, name), "big")

    def counted(self, name: str) -> bytes:
        """Take a field that is preceded by its length in two bytes."""
        return self.take(self.number(2, f"length of {name}"), name)

    def uid(self, name: str) -> str:
        """Take a UID that is preceded by its length."""
        return decode_text(self.counted(name))

    def item(self) -> tuple[int, ItemReader]:
        """Take an item: its type, and a reader of what it consists of."""
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
    """Give a UID or AE title without its padding."""
    # Padding of either kind is seen at the end of UIDs and AE titles; neither is significant.
    return value.decode("latin-1").strip("\0 ")
