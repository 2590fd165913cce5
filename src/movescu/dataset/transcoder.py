"""Conversion of data sets between encodings, in memory or streamed through a file (PS3.5 section 10).

``scan`` decides in one walk whether a received object can be written unchanged, as nearly every object can.
``recode`` converts the others in memory, ``Recoder`` as a stream if they are too large for that. This module connects
``parser.Parser`` to ``encoder.Encoder``, and inflates and deflates (PS3.5 A.5). ``encoder`` lists where the result
differs from DCMTK's; ``file_meta`` encodes what precedes the data set in a file.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from movescu.dataset.encoder import Encoder
from movescu.dataset.encoding import MAX_INFLATED, Encoding, GroupLength, Identity
from movescu.dataset.fast_path.scanner import unchanged
from movescu.dataset.identity import IdentityReader
from movescu.dataset.output import ByteSink, MemorySink, Output, SpoolingSink
from movescu.dataset.parser import Parser
from movescu.dataset.values import elements
from movescu.dictionary.uids import EXPLICIT_LITTLE
from movescu.errors import DataSetError

if TYPE_CHECKING:
    from collections.abc import Callable

    from movescu.dataset.parser import Handler
    from movescu.dictionary.uids import TransferSyntax
    from movescu.dictionary.vr import Buffer

__all__ = ["ByteSink", "Encoding", "GroupLength", "Identity", "MemorySink", "Recoder", "recode", "scan", "values_of"]

MAX_HELD: Final = 64 << 20
"""Bytes. Maximum inflated size of a data set held in memory; a list of 100,000 UIDs has 6.5 MB."""

_BLOCK: Final = 1 << 16


class Reader:
    """Feeds a data set to a parser, inflating it block by block, so that a zip bomb takes no memory."""

    def __init__(self, syntax: TransferSyntax, handler: Handler, maximum: int = MAX_INFLATED) -> None:
        self.parser = Parser(syntax, handler)
        self._maximum = maximum
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS) if syntax.deflated else None
        self._inflated = 0
        self._behind = 0  # bytes after the end of the deflated data

    def feed(self, chunk: memoryview) -> None:
        """Feed the next bytes as received. Raise ``DataSetError`` if they are malformed."""
        inflater = self._inflater
        if inflater is None:
            self.parser.feed(chunk)
            return
        pending: Buffer = chunk
        while pending and not inflater.eof:
            self._inflate(pending)
            pending = inflater.unconsumed_tail
        if inflater.eof:  # bytes after the end are padding, of one byte (PS3.5 A.5)
            self._behind += len(pending) or len(inflater.unused_data)
            if self._behind > 1:
                self.parser.note_padding()

    def _inflate(self, data: Buffer) -> None:
        assert self._inflater is not None  # only called for deflated data sets
        try:
            block = self._inflater.decompress(data, _BLOCK)
        except zlib.error as error:
            raise DataSetError(f"the data set is not deflated, or corrupt: {error}") from error
        self._inflated += len(block)
        if self._inflated > self._maximum:
            raise DataSetError(
                f"the data set inflates to more than {self._maximum >> 20} MiB",
                hint="--max-inflated raises the limit, and --bit-preserving (+B) stores it without inflating",
            )
        self.parser.feed(memoryview(block))

    def finish(self) -> None:
        """End the data set. Raise ``DataSetError`` if it is incomplete."""
        if self._inflater is not None:
            while not self._inflater.eof:
                before = self._inflated
                self._inflate(b"")
                if self._inflated == before:
                    raise DataSetError("the deflated data set ends before it is complete")
        self.parser.finish()


class Recoder:
    """Recodes a data set, fed in chunks of any size, into ``sink``.

    ``file_offset`` is the number of bytes before the data set in its file, for +p. ``spool`` makes an empty scratch
    sink: one for output to be deflated (beyond 4 MiB), and one for each large level that has to be sorted. Memory stays
    within a few MiB whatever the object. ``maximum_inflated`` limits the bytes of an inflated data set. ``left_out``:
    groups that are not written, of the top level. Default: none. All methods raise ``DataSetError`` if the data set is
    malformed; errors of the sink pass through.
    """

    def __init__(
        self,
        syntax: TransferSyntax,
        encoding: Encoding,
        sink: ByteSink,
        *,
        file_offset: int = 0,
        maximum_inflated: int = MAX_INFLATED,
        left_out: frozenset[int] = frozenset(),
        spool: Callable[[], ByteSink],
    ) -> None:
        target = encoding.transfer_syntax or syntax
        self._sink = sink
        self._level = encoding.compression_level
        self._plain = SpoolingSink(spool) if target.deflated else None  # lengths can only be patched before deflating
        output = Output(self._plain or sink)
        self._encoder = Encoder(target, encoding, output, file_offset=file_offset, left_out=left_out, spool=spool)
        self._reader = Reader(syntax, self._encoder, maximum_inflated)

    @property
    def oddities(self) -> dict[str, int]:
        """Violations of PS3.5 in the data set, in words, and the first tag with each."""
        return self._reader.parser.oddities | self._encoder.oddities

    def feed(self, chunk: memoryview) -> None:
        """Recode the next bytes; the chunk is borrowed for the call."""
        self._reader.feed(chunk)

    def finish(self) -> Identity:
        """Complete the data set in the sink; return its identity."""
        self._reader.finish()
        identity = self._encoder.finish()
        if self._plain is not None:
            self._deflate(self._plain)
        return identity

    def _deflate(self, plain: SpoolingSink) -> None:
        deflater = zlib.compressobj(self._level, zlib.DEFLATED, -zlib.MAX_WBITS)
        for position in range(0, plain.size, _BLOCK):
            block = plain.read(position, min(_BLOCK, plain.size - position))
            self._sink.write(deflater.compress(block))
        self._sink.write(deflater.flush())


def recode(data: Buffer, syntax: TransferSyntax, encoding: Encoding, *, file_offset: int = 0) -> bytes:
    """Return a whole data set in another encoding; ``file_offset`` is the number of bytes before it in its file.

    Raise ``DataSetError`` if it is malformed, or inflates to more than ``MAX_HELD``.
    """
    sink = MemorySink()
    recoder = Recoder(syntax, encoding, sink, file_offset=file_offset, maximum_inflated=MAX_HELD, spool=MemorySink)
    recoder.feed(memoryview(data))
    recoder.finish()
    return bytes(sink.data)


def values_of(data: bytes | bytearray, syntax: TransferSyntax) -> dict[int, bytes]:
    """Return the top-level values by tag, in little endian, such as those of a received identifier.

    Raise ``DataSetError`` if the data set is malformed.
    """
    if not data:
        return {}
    plain = recode(data, syntax, Encoding(transfer_syntax=EXPLICIT_LITTLE))
    return {tag: value for tag, _, value in elements(plain)}


def scan(data: Buffer, syntax: TransferSyntax, encoding: Encoding) -> tuple[Identity, bool]:
    """Return the identity of a whole data set, and whether it can be written unchanged.

    True: the bytes are exactly what ``recode`` would return. False: call ``recode``; it returns other bytes, or the
    encoding is one for which only recoding can tell (deflated, +g, +p). Raise ``DataSetError`` if it is malformed.
    """
    identity = unchanged(data, syntax, encoding)
    if identity is not None:
        return identity, True
    handler = IdentityReader()
    reader = Reader(syntax, handler)
    reader.feed(memoryview(data))
    reader.finish()
    return handler.identity(), False
