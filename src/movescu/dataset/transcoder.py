"""From one encoding of a data set to another: whole in memory, or as a stream through a file (PS3.5 section 10).

``scan`` answers in one walk whether a received object may be written as it is; that is the way of nearly every
object. ``recode`` makes the new bytes of one that may not, ``Recoder`` those of an object too large to hold. This
module joins ``parser.Parser`` to ``encoder.Encoder`` and does what surrounds a data set: inflating and deflating
(PS3.5 A.5). ``encoder`` lists where the result differs from DCMTK's; ``file_meta`` makes what stands before it.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from movescu.dataset.encoder import Encoder
from movescu.dataset.encoding import MAX_INFLATED, Encoding, GroupLength, Identity
from movescu.dataset.fast_path.scan import unchanged
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
"""Bytes to which one may grow that is held in memory; a list of 100,000 UIDs has 6.5 MB."""

_BLOCK: Final = 1 << 16


class Reader:
    """Pushes a data set into a parser, inflated if need be, a block at a time: a bomb costs time and no memory."""

    def __init__(self, syntax: TransferSyntax, handler: Handler, maximum: int = MAX_INFLATED) -> None:
        self.parser = Parser(syntax, handler)
        self._maximum = maximum
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS) if syntax.deflated else None
        self._inflated = 0

    def feed(self, chunk: memoryview) -> None:
        """Take the next bytes as they were received."""
        inflater = self._inflater
        if inflater is None:
            self.parser.feed(chunk)
            return
        pending: Buffer = chunk
        while pending and not inflater.eof:  # bytes after the end are padding (PS3.5 A.5)
            self._inflate(pending)
            pending = inflater.unconsumed_tail

    def _inflate(self, data: Buffer) -> None:
        assert self._inflater is not None  # called for deflated data sets only
        try:
            block = self._inflater.decompress(data, _BLOCK)
        except zlib.error as error:
            raise DataSetError(f"the data set is not deflated as it should be: {error}") from error
        self._inflated += len(block)
        if self._inflated > self._maximum:
            raise DataSetError(f"the data set inflates to more than {self._maximum >> 20} MiB")
        self.parser.feed(memoryview(block))

    def finish(self) -> None:
        """Tell that this was all."""
        if self._inflater is not None:
            while not self._inflater.eof:
                before = self._inflated
                self._inflate(b"")
                if self._inflated == before:
                    raise DataSetError("the deflated data set ends before it is complete")
        self.parser.finish()


class Recoder:
    """Recodes a data set that is fed in chunks of any size into ``sink``, which holds it alone when this is done.

    ``file_offset`` is the number of bytes before the data set in its file, for +p. ``spool`` makes an empty scratch
    sink: one is used for what is deflated (over 4 MiB), and one for each large level that has to be sorted. Memory
    stays within some MiB whatever the object. ``maximum_inflated``: bytes to which a deflated one may grow. All methods
    raise ``DataSetError``; the sink's own errors pass through.
    """

    def __init__(
        self,
        syntax: TransferSyntax,
        encoding: Encoding,
        sink: ByteSink,
        *,
        file_offset: int = 0,
        maximum_inflated: int = MAX_INFLATED,
        spool: Callable[[], ByteSink],
    ) -> None:
        target = encoding.transfer_syntax or syntax
        self._sink = sink
        self._level = encoding.compression_level
        self._plain = SpoolingSink(spool) if target.deflated else None  # lengths are patched before it is deflated
        output = Output(self._plain or sink)
        self._encoder = Encoder(target, encoding, output, file_offset=file_offset, spool=spool)
        self._reader = Reader(syntax, self._encoder, maximum_inflated)

    @property
    def oddities(self) -> dict[str, int]:
        """What of the data set is not as PS3.5 has it, in words, and the first tag of which that is so."""
        return self._reader.parser.oddities | self._encoder.oddities

    def feed(self, chunk: memoryview) -> None:
        """Take the next bytes; the chunk is borrowed for the call."""
        self._reader.feed(chunk)

    def finish(self) -> Identity:
        """Complete the data set in the sink. Gives what it says of itself."""
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
    """Give a whole data set in another encoding; ``file_offset`` is the number of bytes before it in its file.

    Raises ``DataSetError``. A deflated data set is held inflated, up to ``MAX_HELD``: larger ones are ``Recoder``'s.
    """
    sink = MemorySink()
    recoder = Recoder(syntax, encoding, sink, file_offset=file_offset, maximum_inflated=MAX_HELD, spool=MemorySink)
    recoder.feed(memoryview(data))
    recoder.finish()
    return bytes(sink.data)


def values_of(data: bytes | bytearray, syntax: TransferSyntax) -> dict[int, bytes]:
    """Return the top level's values by tag, in little endian, as of a received identifier. Raise ``DataSetError``."""
    if not data:
        return {}
    plain = recode(data, syntax, Encoding(transfer_syntax=EXPLICIT_LITTLE))
    return {tag: value for tag, _, value in elements(plain)}


def scan(data: Buffer, syntax: TransferSyntax, encoding: Encoding) -> tuple[Identity, bool]:
    """Walk a whole data set once and tell what it says of itself, and whether to write it untouched.

    True: the bytes are exactly what ``recode`` would give. False: ask ``recode``; it gives other bytes, or the
    encoding is one of those for which finding out is recoding (deflated, +g, +p). Raises ``DataSetError``.
    """
    identity = unchanged(data, syntax, encoding)
    if identity is not None:
        return identity, True
    handler = IdentityReader()
    reader = Reader(syntax, handler)
    reader.feed(memoryview(data))
    reader.finish()
    return handler.identity(), False
