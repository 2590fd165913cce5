"""Objects too large for memory are streamed through a ``Recoder`` with bounded memory."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from effort import is_whole
from encoded import (
    IDENTITY,
    IMPLICIT,
    LITTLE,
    NAME,
    REQUEST,
    RICH,
    UNDEFINED,
    Layout,
    deflate,
    el,
    encode,
    item,
    sequence_end,
)

from movescu.dataset.transcoder import Encoding, GroupLength, MemorySink, Recoder, recode, scan
from movescu.dictionary import uids
from movescu.errors import DataSetError

ELE = uids.EXPLICIT_LITTLE

STREAM = '''
import sys, tempfile, zlib
sys.path.insert(0, {support!r})
from encoded import *
from movescu.dictionary import uids
from movescu.dataset.transcoder import Encoding, GroupLength, Recoder

MIB = 1 << 20
BLOCK = bytes(range(256)) * 512

class FileSink:
    def __init__(self):
        self.file = tempfile.TemporaryFile(buffering=0)
    def write(self, data):
        self.file.seek(0, 2)
        self.file.write(data)
    def patch(self, position, data):
        self.file.seek(position)
        self.file.write(data)
    def read(self, position, size):
        self.file.seek(position)
        return self.file.read(size)
    def truncate(self, position):
        self.file.truncate(position)

def value(size):
    for _ in range(size // len(BLOCK)):
        yield BLOCK

def image(size, vr="OW"):
    yield encode([*IDENTITY, NAME])
    yield el(0x7FE00010, vr, b"", length=size)
    yield from value(size)

def big(size):
    yield encode([*IDENTITY, NAME], BIG)
    yield el(0x7FE00010, "OW", b"", ">", size)
    yield from value(size)

def disordered(size):
    yield el(0x7FE00010, "OW", b"", length=size)
    yield from value(size)
    yield encode([*IDENTITY, NAME])

def sequence(size):
    one = item(encode([NAME]) + el(0x00420011, "OB", bytes(1000)) + item_end(), UNDEFINED)
    yield encode(IDENTITY) + el(REQUEST, "SQ", b"", length=UNDEFINED)
    for _ in range(size // 100 // len(one)):
        yield one * 100
    yield sequence_end()

def nothing(size):
    """Return a deflate bomb, of which each KiB inflates to a MiB."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    yield deflater.compress(encode(IDENTITY) + el(0x7FE00010, "OB", b"", length=size))
    for _ in range(size // MIB):
        yield deflater.compress(bytes(MIB))
    yield deflater.flush()

def blanks(size):
    yield encode([*IDENTITY]) + el(0x00420010, "UT", b"", length=size)
    for _ in range(size // MIB):
        yield b" " * MIB

FEEDS = {{f.__name__: f for f in (image, big, disordered, sequence, nothing, blanks)}}

def run(name, size, source, encoding):
    sink = FileSink()
    recoder = Recoder(source, encoding, sink, file_offset=350, spool=FileSink)
    for block in FEEDS[name](size):
        recoder.feed(memoryview(block))
    assert recoder.finish().sop_instance_uid == INSTANCE_UID
    return sink.file.seek(0, 2)

def peak():
    """Return the memory in MiB. ru_maxrss is useless: it starts at the size of the parent process."""
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024

SOURCE, ENCODING = uids.TRANSFER_SYNTAXES[{source!r}], {encoding}
run({name!r}, 2 * MIB, SOURCE, ENCODING)
before = peak()
print(run({name!r}, {size} * MIB, SOURCE, ENCODING), peak() - before)
'''


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize(
    ("name", "source", "encoding"),
    [
        ("image", ELE, "Encoding()"),
        ("image", ELE, "Encoding(uids.EXPLICIT_BIG)"),
        ("image", ELE, "Encoding(uids.DEFLATED_LITTLE, compression_level=1)"),
        ("image", ELE, "Encoding(group_length=GroupLength.CREATE)"),
        ("image", ELE, "Encoding(explicit_length=False, file_padding=1 << 20, item_padding=64)"),
        ("big", uids.EXPLICIT_BIG, "Encoding(uids.IMPLICIT_LITTLE)"),
        ("disordered", ELE, "Encoding(group_length=GroupLength.CREATE)"),
        ("sequence", ELE, "Encoding()"),
        ("sequence", ELE, "Encoding(uids.DEFLATED_LITTLE, compression_level=1)"),
        ("nothing", uids.DEFLATED_LITTLE, "Encoding()"),
        ("nothing", uids.DEFLATED_LITTLE, "Encoding(uids.EXPLICIT_LITTLE)"),
        ("blanks", ELE, "Encoding()"),
    ],
)
@pytest.mark.sampled(6)
def test_large_object_takes_no_memory(
    name: str, source: uids.TransferSyntax, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    support = str(Path(__file__).parent.parent / "support")
    size = 100 if name == "sequence" or not is_whole() else 300
    script = STREAM.format(support=support, source=source.uid, name=name, encoding=encoding, size=size)
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    written, rise = map(int, done.stdout.split())
    print(f"the peak rose by {rise} MiB")  # noqa: T201 - the figure is asked for
    assert rise < 64
    assert written > 0


def pieces(data: bytes, size: int = 1000) -> list[memoryview]:
    return [memoryview(data)[i : i + size] for i in range(0, len(data), size)]


def streamed(data: bytes, syntax: uids.TransferSyntax, encoding: Encoding) -> bytes:
    sink = MemorySink()
    recoder = Recoder(syntax, encoding, sink, spool=MemorySink)
    for piece in pieces(data):
        recoder.feed(piece)
    recoder.finish()
    return bytes(sink.data)


def test_group_length_far_back_in_the_file_is_corrected() -> None:
    """The length and the end of the group are further apart than the buffer is long."""
    large = el(0x7FE00010, "OW", bytes(3 << 20))
    expected = el(0x7FE00000, "UL", len(large).to_bytes(4, "little")) + large
    assert streamed(large, ELE, Encoding(group_length=GroupLength.CREATE)) == expected


def test_sequence_larger_than_the_buffer_gets_its_length() -> None:
    content = item(encode([NAME])) * 100_000
    data = el(REQUEST, "SQ", content + sequence_end(), length=UNDEFINED)
    assert streamed(data, ELE, Encoding()) == el(REQUEST, "SQ", content)


def test_large_data_set_out_of_order_is_sorted() -> None:
    pixels = el(0x7FE00010, "OW", bytes(range(256)) * 40_000)
    head = encode([*IDENTITY, NAME])
    assert streamed(pixels + head + pixels, ELE, Encoding()) == head + pixels


def test_deflated_output_has_patched_lengths() -> None:
    data = encode([*IDENTITY]) + el(REQUEST, "SQ", item(bytes(0)) + sequence_end(), length=UNDEFINED)
    data += el(0x7FE00010, "OW", bytes(6 << 20))
    written = streamed(data, ELE, Encoding(uids.DEFLATED_LITTLE))
    assert written == deflate(recode(data, ELE, Encoding()))


def test_deflated_object_is_deflated_again_without_its_padding() -> None:
    data = encode([*IDENTITY, NAME])
    assert recode(deflate(data, 1) + b"\0", uids.DEFLATED_LITTLE, Encoding()) == deflate(data)
    assert recode(deflate(data, 1), uids.DEFLATED_LITTLE, Encoding(compression_level=9)) == deflate(data, 9)
    identity, unchanged = scan(deflate(data), uids.DEFLATED_LITTLE, Encoding())
    assert identity.sop_instance_uid == "1.2.3.4"
    assert not unchanged


@pytest.mark.row("28")
def test_zip_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("movescu.dataset.transcoder.MAX_HELD", 1 << 20)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = deflater.compress(el(0x7FE00010, "OB", bytes(4 << 20))) + deflater.flush()
    with pytest.raises(DataSetError, match="inflates to more than"):
        recode(bomb, uids.DEFLATED_LITTLE, Encoding())


def test_borrowed_chunk_may_change_after_the_call() -> None:
    data = encode([*IDENTITY, NAME]) + el(0x7FE00010, "OW", b"abcd" * 50_000)
    sink, buffer = MemorySink(), bytearray(777)
    recoder = Recoder(ELE, Encoding(), sink, spool=MemorySink)
    for piece in pieces(data, 777):
        buffer[: len(piece)] = piece
        recoder.feed(memoryview(buffer)[: len(piece)])
        buffer[:] = b"\xee" * 777
    recoder.finish()
    assert bytes(sink.data) == data


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("layout", [LITTLE, IMPLICIT])
def test_recode_accepts_any_buffer(buffer: type[bytes | bytearray | memoryview], layout: Layout) -> None:
    syntax = uids.IMPLICIT_LITTLE if layout.implicit else ELE
    data = encode(RICH, layout)
    assert scan(buffer(data), syntax, Encoding())[1]
    assert recode(buffer(data), syntax, Encoding()) == data


def test_stored_blocks_hold_the_same_data_as_compressed_ones() -> None:
    data = encode(RICH)
    assert zlib.decompress(recode(data, ELE, Encoding(uids.DEFLATED_LITTLE, compression_level=0)), -15) == data
