"""Objects of any size, delivered without being held: for what a receiver's memory grows to.

Run as a program, ``python giant.py BYTES``, it prints the peak resident size of our command for each mode and shape.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import command
import encoded
import peers
import scripted
from encoded import el

from movescu.dimse.exchange import Exchange
from movescu.dimse.messages import CStoreRQ, CStoreRSP
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Silence
from movescu.transport.sockets import connect
from movescu.ul.negotiation import user_information
from movescu.ul.pdu import AssociateRQ, PDataTF, PresentationDataValue, ProposedContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODES = ((), ("+B",), ("+td", "+cl", "1"), ("+tb",), ("+ti",), ("+g",), ("-e",), ("+p", "512", "64"), ("-F", "-u"))

_PART = 1 << 20
_PATIENCE = Silence(60.0, "the receiver of a giant")
# Runs a command and writes its peak resident size, in KiB, to a file.
_MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""


def _identity() -> bytes:
    return encoded.encode(encoded.IDENTITY)


def pixels(size: int) -> Iterator[bytes]:
    """One large value at the end, as in a multi-frame image."""
    yield _identity() + el(0x7FE00010, "OW", b"", length=size)
    yield from (bytes(min(_PART, size - at)) for at in range(0, size, _PART))


def sequence(size: int) -> Iterator[bytes]:
    """One sequence of undefined length, of which the length is known when all of it has been seen."""
    yield _identity() + el(encoded.REQUEST, "SQ", b"", length=encoded.UNDEFINED)
    frame = encoded.item(el(0x00091001, "OB", bytes(4096)) + encoded.item_end(), encoded.UNDEFINED)
    for at in range(0, size, 256 * len(frame)):
        yield frame * min(256, -(-(size - at) // len(frame)))
    yield encoded.sequence_end()


def disordered(size: int) -> Iterator[bytes]:
    """A large value that belongs behind what follows it."""
    yield el(0x7FE00010, "OW", b"", length=size)
    yield from (bytes(min(_PART, size - at)) for at in range(0, size, _PART))
    yield _identity()


def peak(shape: Callable[[int], Iterator[bytes]], size: int, *options: str) -> int:
    """Let our command retrieve one object; gives its peak resident size in bytes."""
    port = peers.free_port()

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        _store(port, shape(size))
        session.respond(completed=1)
        session.expect_release()

    with scripted.archive(script) as archive, tempfile.TemporaryDirectory() as name:
        (Path(name) / "out").mkdir()
        measured = Path(name) / "peak"
        prefix = [sys.executable, "-c", _MEASURE, str(measured)]
        keys = ("-k", "0008,0052=STUDY", "-k", "0020,000d=1.2.3", "--durable", "off")
        command.movescu(*options, "+P", port, *keys, *archive.address, folder=Path(name) / "out", prefix=prefix)
        return int(measured.read_text()) << 10


def _store(port: int, data: Iterator[bytes]) -> None:
    context = ProposedContext(1, encoded.CLASS_UID, (encoded.ELE,))
    request = AssociateRQ("MOVESCU", "GIANT", (context,), user_information(0))
    connection = Connection.request(connect(peers.HOST, port, 60.0), request, 60.0)
    exchange = Exchange(connection)
    command = CStoreRQ(encoded.CLASS_UID, 1, encoded.INSTANCE_UID, move_originator_ae_title="GIANT")
    exchange.send(1, command, _PATIENCE)
    room = connection.peer_maximum_length - 6
    for part in data:
        pieces = (part[at : at + room] for at in range(0, len(part), room))
        connection.send([PDataTF((PresentationDataValue(1, 0, piece),)) for piece in pieces], _PATIENCE)
    connection.send([PDataTF((PresentationDataValue(1, 2, b""),))], _PATIENCE)
    _, response = exchange.receive_response(_PATIENCE)
    assert isinstance(response, CStoreRSP)
    assert response.status == 0, response
    connection.release(_PATIENCE)


def main() -> None:
    """Print the table."""
    size = int(sys.argv[1])
    for shape in (pixels, sequence, disordered):
        for mode in MODES:
            small, large = peak(shape, 1000, *mode), peak(shape, size, *mode)
            sys.stdout.write(f"{shape.__name__:12}{' '.join(mode):16}{small >> 20:6} MiB {large >> 20:6} MiB\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
