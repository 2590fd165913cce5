"""An archive that costs almost nothing: it answers a C-MOVE request with prebuilt objects.

For each object, only the SOP instance UIDs (of command and data set) and the message ID are written into the prebuilt
message, which is sent with one system call. A pending response follows each C-STORE response, as from real archives. So
the time measured is the receiver's, from the first C-STORE request on: before that, DCMTK waits up to a second.

``WebServer`` serves the same bytes by HTTP/1.1.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from dataclasses import dataclass

from movescu.dataset.encoding import Encoding
from movescu.dataset.transcoder import recode
from movescu.dictionary.uids import EXPLICIT_LITTLE, TransferSyntax
from movescu.dimse.exchange import Exchange
from movescu.dimse.messages import CMoveRSP, CStoreRQ, encode_command
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Deadline
from movescu.transport.sockets import Transport, connect
from movescu.ul.association import Association
from movescu.ul.negotiation import AcceptorPolicy, answer, user_information
from movescu.ul.pdu import AssociateRQ, PDataTF, PresentationDataValue, ProposedContext

CT = "1.2.840.10008.5.1.4.1.1.2"
HOST = "127.0.0.1"
_WAIT = 600.0
_UID = b"1.2.826.0.1.000000000000"
_VARIANTS = 64  # different objects of varied lengths


@dataclass(frozen=True)
class Work:
    """The objects to send: ``count`` of ``size`` bytes over ``associations`` at once, in a native ``syntax``.

    ``pending``: send a pending response for each. ``varied``: the lengths of ten elements differ from object to object.
    """

    count: int
    size: int
    associations: int = 1
    undefined_lengths: bool = False
    syntax: TransferSyntax = EXPLICIT_LITTLE
    pending: bool = True
    varied: bool = False


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    """Encode an element in explicit VR little endian."""
    if vr in (b"OW", b"SQ"):
        return struct.pack("<HH2sxxI", group, number, vr, len(value)) + value
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) & 1)
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def data_set(work: Work, variant: int = 0) -> bytes:
    """Return a CT of about 60 elements, canonical unless its sequences have undefined lengths."""
    chosen = random.Random(variant)  # noqa: S311 - the same objects in each run
    numbers = [chosen.choice((b"1", b"-1.25", b"1000.125")) if work.varied else b"1.25" for _ in range(10)]
    head = [element(8, 0x05, b"CS", b"ISO_IR 100"), element(8, 0x16, b"UI", CT.encode()), element(8, 0x18, b"UI", _UID)]
    head += [element(8, 0x20 + i, b"DA", b"20260101") for i in range(4)]
    head += [element(8, 0x30 + i, b"TM", b"101112.5") for i in range(4)]
    item = element(8, 0x1150, b"UI", CT.encode()) + element(8, 0x1155, b"UI", b"1.2.3.4")
    head.append(_sequence(8, 0x1140, item, undefined=work.undefined_lengths))
    head += [element(0x10, 0x10 + 0x10 * i, b"LO", b"A value of it") for i in range(4)]
    head += [element(0x18, 0x50 + 0x10 * i, b"DS", b"1.25" if i % 2 else numbers[i // 2]) for i in range(20)]
    head += [element(0x20, 0x0D + i, b"UI", b"1.2.826.0.1.3680043.1") for i in range(2)]
    head += [element(0x20, 0x1000 + i, b"IS", b"17") for i in range(10)]
    head += [element(0x28, 0x02 + i, b"US", b"\1\2") for i in range(12)]
    start = b"".join(head)
    room = max(work.size - len(start) - 12, 2) & ~1
    data = start + element(0x7FE0, 0x10, b"OW", bytes(room))
    if work.syntax is EXPLICIT_LITTLE:
        return data
    return recode(data, EXPLICIT_LITTLE, Encoding(work.syntax, explicit_length=not work.undefined_lengths))


def _sequence(group: int, number: int, content: bytes, *, undefined: bool) -> bytes:
    if not undefined:
        return element(group, number, b"SQ", struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + content + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
    header = struct.pack("<HH2sxxI", group, number, b"SQ", 0xFFFFFFFF)
    return header + item + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


class _Message:
    """A prebuilt C-STORE request, and the places in it that differ from object to object."""

    def __init__(self, work: Work, limit: int, variant: int = 0) -> None:
        uid = _UID.decode()
        request = CStoreRQ(CT, 0x7777, uid, move_originator_ae_title="BENCH", move_originator_message_id=1)
        command = encode_command(request)
        data = data_set(work, variant)
        room = limit - 6
        pieces = [data[at : at + room] for at in range(0, len(data), room)]
        pdus = [PDataTF((PresentationDataValue(1, 3, command),))]
        pdus += [PDataTF((PresentationDataValue(1, 2 * (p is pieces[-1]), p),)) for p in pieces]
        self.data = bytearray(b"".join(pdu.encode() for pdu in pdus))
        self._uids = _places(self.data, _UID)
        self._id = self.data.index(b"\x77\x77")

    def set(self, number: int) -> None:
        digits = b"%012d" % number
        for at in self._uids:
            self.data[at + 12 : at + 24] = digits
        self.data[self._id : self._id + 2] = struct.pack("<H", number & 0xFFFF)


def message_length(work: Work, pdu: int) -> int:
    """Return the length of a message on the wire, for a receiver that accepts PDUs of ``pdu`` bytes."""
    return len(_Message(work, pdu).data)


def _places(data: bytearray, what: bytes) -> list[int]:
    places, at = [], data.find(what)
    while at >= 0:
        places.append(at)
        at = data.find(what, at + 1)
    return places


class _Count:
    """Counts the objects that were sent, over all associations, and reports each on the association of the request."""

    def __init__(self, work: Work, exchange: Exchange, context_id: int, message_id: int) -> None:
        self._work = work
        self._exchange, self._context_id, self._message_id = exchange, context_id, message_id
        self._counting = threading.Lock()
        self._done = 0
        self.begun = 0.0
        """When the first object was sent."""

    def begin(self) -> None:
        """Record that an object is about to be sent."""
        self.begun = self.begun or time.perf_counter()

    def end(self) -> None:
        """Record an object that was answered."""
        with self._counting:
            self._done += 1
            if self._work.pending:
                left = (self._work.count - self._done) & 0xFFFF
                done = self._done & 0xFFFF
                response = CMoveRSP(self._message_id, 0xFF00, remaining=left, completed=done, failed=0, warning=0)
                self._exchange.send(self._context_id, response, Deadline(_WAIT, "the receiver"))


def _send(port: int, work: Work, first: int, count: int, counted: _Count) -> None:
    context = ProposedContext(1, CT, (work.syntax.uid,))
    request = AssociateRQ("MOVESCU", "SENDER", (context,), user_information(131072))
    connection = Connection.request(connect(HOST, port, _WAIT), request, _WAIT)
    limit = connection.peer_maximum_length or 131072
    messages = [_Message(work, limit, variant) for variant in range(_VARIANTS if work.varied else 1)]
    sock = connection._transport._socket  # noqa: SLF001 - bypasses our own layers, which are being measured
    sock.settimeout(None)
    counted.begin()
    for number in range(first, first + count):
        message = messages[number % len(messages)]
        message.set(number)
        sock.sendall(message.data)
        response = sock.recv(4096)
        while len(response) < 6 or len(response) < 6 + int.from_bytes(response[2:6], "big"):
            response += sock.recv(4096)
        counted.end()
    connection.release(Deadline(_WAIT, "release"))


class _Server:
    """Serves one connection in a thread; ``port`` is where. ``seconds``: what its run took, as it counts."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._socket = socket.create_server((HOST, 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        sock, _ = self._socket.accept()
        self._socket.close()
        self.run(sock)

    def run(self, sock: socket.socket) -> None:
        """Serve a connection."""
        raise NotImplementedError

    def finish(self) -> float:
        """Wait for the end. Return ``seconds``."""
        self._thread.join()
        return self.seconds


class Archive(_Server):
    """An SCP of one C-MOVE; ``seconds`` is the time from the first C-STORE request to the last response."""

    def __init__(self, work: Work, port: int) -> None:
        self._work = work
        self._receiver = port
        super().__init__()

    def run(self, sock: socket.socket) -> None:
        """Carry out the C-MOVE of an association."""
        connection = Connection(Transport(sock, "receiver"), Association())
        request = connection.receive_request(_WAIT)
        deadline = Deadline(_WAIT, "the receiver")
        connection.accept(request, answer(request, AcceptorPolicy(lambda _: True, (EXPLICIT_LITTLE,))), deadline)
        exchange = Exchange(connection)
        received = exchange.receive(deadline)
        if received is None:
            raise RuntimeError("the receiver sent no request")
        context_id, message = received
        for _ in exchange.data_set(deadline):
            pass
        counted = _Count(self._work, exchange, context_id, message.message_id)
        share = self._work.count // self._work.associations
        threads = [
            threading.Thread(target=_send, args=(self._receiver, self._work, n * share, share, counted))
            for n in range(self._work.associations)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.seconds = time.perf_counter() - counted.begun
        done = share * self._work.associations
        # The counts have 16 bits; archives omit larger ones.
        counts = {"remaining": 0, "completed": done, "failed": 0, "warning": 0} if done <= 0xFFFF else {}
        response = CMoveRSP(message.message_id, 0, **counts)
        exchange.send(context_id, response, deadline)
        exchange.receive(deadline)
        connection.confirm_release(deadline)


class WebServer(_Server):
    """Serves the data set of ``work`` for each request of one connection, by HTTP/1.1.

    ``seconds`` is the time from the first request to the end of the connection.
    """

    def __init__(self, work: Work) -> None:
        body = data_set(work)
        self._answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        super().__init__()

    def run(self, sock: socket.socket) -> None:
        """Answer the requests of a connection."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        start = 0.0
        while part := sock.recv(4096):
            start = start or time.perf_counter()
            received += part
            while b"\r\n\r\n" in received:
                received = received.partition(b"\r\n\r\n")[2]
                sock.sendall(self._answer)
        self.seconds = time.perf_counter() - start
        sock.close()
