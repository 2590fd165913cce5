"""Where an encoded data set goes: a sink of bytes, and the layer that lets an encoder correct what it has written.

A length is known only when what it measures has been written. ``Output`` therefore writes a placeholder and patches
it: in the last 256 KiB, which it keeps, or through ``ByteSink.patch`` in what has gone to the file. Nothing else is
held in memory, however large a sequence or group is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from movescu.dictionary.vr import Buffer

_KEPT: Final = 1 << 18
_BLOCK: Final = 1 << 20
_SPOOL_FROM: Final = 4 << 20


class ByteSink(Protocol):
    """A file being written, or its like; positions are bytes from the start of the data set."""

    def write(self, data: Buffer) -> None:
        """Append bytes; the buffer is borrowed for the call."""

    def patch(self, position: int, data: bytes) -> None:
        """Overwrite bytes that have been written."""

    def read(self, position: int, size: int) -> bytes:
        """Read back ``size`` bytes that have been written."""

    def truncate(self, position: int) -> None:
        """Forget everything from a position on."""


class MemorySink:
    """A sink in memory; ``data`` is what has been written."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: Buffer) -> None:
        """Append bytes."""
        self.data += data

    def patch(self, position: int, data: bytes) -> None:
        """Overwrite bytes."""
        self.data[position : position + len(data)] = data

    def read(self, position: int, size: int) -> bytes:
        """Read bytes back."""
        return bytes(memoryview(self.data)[position : position + size])

    def truncate(self, position: int) -> None:
        """Forget everything from a position on."""
        del self.data[position:]


class SpoolingSink:
    """A sink in memory that moves to a spool file when it grows past 4 MiB."""

    def __init__(self, spool: Callable[[], ByteSink]) -> None:
        self._spool = spool
        self._memory = MemorySink()
        self._sink: ByteSink = self._memory
        self.size = 0

    def write(self, data: Buffer) -> None:
        """Append bytes."""
        self.size += len(data)
        if self._sink is self._memory and self.size > _SPOOL_FROM:
            self._sink = self._spool()
            self._sink.write(self._memory.data)
            self._memory.data = bytearray()
        self._sink.write(data)

    def patch(self, position: int, data: bytes) -> None:
        """Overwrite bytes."""
        self._sink.patch(position, data)

    def read(self, position: int, size: int) -> bytes:
        """Read bytes back."""
        return self._sink.read(position, size)

    def truncate(self, position: int) -> None:
        """Forget everything from a position on."""
        self.size = position
        self._sink.truncate(position)


class Output:
    """What an encoder writes to: appends, and corrects anything written before; ``position`` is the end."""

    def __init__(self, sink: ByteSink) -> None:
        self.position = 0
        self._sink = sink
        self._kept = bytearray()
        self._start = 0  # position of the first byte kept

    def write(self, data: Buffer) -> None:
        """Append bytes; the buffer may change after the call."""
        if len(self._kept) + len(data) > _KEPT:
            self.flush()
            if len(data) >= _KEPT:
                self._sink.write(data)
                self._start = self.position = self.position + len(data)
                return
        self._kept += data
        self.position += len(data)

    def write_zeros(self, count: int) -> None:
        """Append NUL bytes."""
        while count:
            size = min(count, _BLOCK)
            self.write(bytes(size))
            count -= size

    def flush(self) -> None:
        """Hand everything to the sink."""
        if self._kept:
            self._sink.write(self._kept)
            self._kept = bytearray()
        self._start = self.position

    def patch(self, position: int, data: bytes) -> None:
        """Overwrite bytes."""
        if position >= self._start:
            at = position - self._start
            self._kept[at : at + len(data)] = data
        else:
            if position + len(data) > self._start:
                self.flush()
            self._sink.patch(position, data)

    def truncate(self, position: int) -> None:
        """Forget everything from a position on."""
        if position >= self._start:
            del self._kept[position - self._start :]
        else:
            self._kept.clear()
            self._sink.truncate(position)
            self._start = position
        self.position = position

    def read(self, position: int, size: int) -> bytes:
        """Read bytes back."""
        if position >= self._start:
            return bytes(self._kept[position - self._start : position - self._start + size])
        self.flush()
        return self._sink.read(position, size)

    def permute(self, first: int, pieces: list[tuple[int, int]], spool: Callable[[], ByteSink]) -> None:
        """Replace everything from position ``first`` on by pieces of it, (position, size), in their order."""
        scratch = SpoolingSink(spool)
        for position, size in pieces:
            for at in range(position, position + size, _BLOCK):
                scratch.write(self.read(at, min(_BLOCK, position + size - at)))
        self.truncate(first)
        for at in range(0, scratch.size, _BLOCK):
            self.write(scratch.read(at, min(_BLOCK, scratch.size - at)))
