"""The Upper Layer for tests: PDUs to converse with, machines that are joined without a socket, real sockets."""

from __future__ import annotations

import socket
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from movescu._runtime.record import names_of
from movescu.dictionary.uids import IMPLICIT_LITTLE, VERIFICATION
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Deadline
from movescu.transport.sockets import Transport
from movescu.ul.association import Association
from movescu.ul.indications import (
    AbortIndication,
    AssociateConfirmation,
    AssociateIndication,
    Fragment,
    Indication,
    ProviderAbortIndication,
)
from movescu.ul.negotiation import AcceptorPolicy, answer, propose, user_information
from movescu.ul.pdu import AssociateAC, AssociateRQ, PDataTF, PresentationDataValue

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT = 30.0  # seconds until a test gives up; nothing that works takes that long
COMMAND, LAST = 1, 2

Plain: TypeAlias = tuple[object, ...]


def request(maximum_length: int = 16384, contexts: int = 1) -> AssociateRQ:
    """Propose Verification, on contexts 1, 3, 5 and so on."""
    return AssociateRQ(
        "CALLED", "CALLING", propose((VERIFICATION,) * contexts, (IMPLICIT_LITTLE,)), user_information(maximum_length)
    )


def acceptance(asked: AssociateRQ | None = None, maximum_length: int = 16384) -> AssociateAC:
    """Accept every context of the request."""
    return answer(asked or request(), AcceptorPolicy(lambda _: True, (IMPLICIT_LITTLE,), maximum_length))


def p_data(*values: tuple[int, int, bytes]) -> PDataTF:
    """Make a P-DATA-TF of PDVs, each of context ID, message control header and data."""
    return PDataTF(tuple(PresentationDataValue(*value) for value in values))


def feed(machine: Association, data: bytes, size: int = 1 << 30) -> list[Plain]:
    """Feed a machine ``size`` bytes at a time, as a socket would; give its indications, safe to keep."""
    indications: list[Plain] = []
    position = 0
    while position < len(data):
        free = machine.get_buffer()
        count = min(len(free), size, len(data) - position)
        free[:count] = data[position : position + count]
        position += count
        indications += [plain(indication) for indication in machine.buffer_updated(count, 0.0)]
    return indications


def plain(indication: Indication) -> Plain:
    """Make an indication comparable: borrowed data copied, an error as its reason."""
    if isinstance(indication, Fragment):
        return "Fragment", indication.context_id, indication.control, bytes(indication.data)
    if isinstance(indication, AssociateIndication):
        return "AssociateIndication", indication.request
    if isinstance(indication, AssociateConfirmation):
        return "AssociateConfirmation", indication.answer
    if isinstance(indication, AbortIndication):
        return "AbortIndication", indication.abort
    if isinstance(indication, ProviderAbortIndication):
        reason = None if indication.error is None else indication.error.abort_reason
        return "ProviderAbortIndication", indication.abort, reason
    return type(indication).__name__, *(getattr(indication, name) for name in names_of(type(indication)))


def machines(maximum_length: int = 16384) -> tuple[Association, Association]:
    """Give requestor and acceptor of an established association."""
    requestor, acceptor = Association(maximum_length=maximum_length), Association(maximum_length=maximum_length)
    requestor.associate_request(request(maximum_length))
    requestor.transport_connected(0.0)
    acceptor.transport_connected(0.0)
    feed(acceptor, requestor.data_to_send())
    acceptor.associate_accept(acceptance(maximum_length=maximum_length))
    feed(requestor, acceptor.data_to_send())
    return requestor, acceptor


def soon(what: str = "the test's patience") -> Deadline:
    """Give a deadline that is reached only if something hangs."""
    return Deadline(WAIT, what)


@contextmanager
def loopback() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give both ends of a TCP connection over 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname(), timeout=WAIT)
        far, _ = server.accept()
    far.settimeout(WAIT)
    with near, far:
        yield near, far


@contextmanager
def black_hole() -> Iterator[int]:
    """Give a port of 127.0.0.1 that never answers: the queue of those that wait to be accepted is full."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.settimeout(0)
            with suppress(BlockingIOError):
                sock.connect(server.getsockname())
        yield server.getsockname()[1]


def connecting(port: int) -> int:
    """The number of connections to a port that wait for an answer (SYN_SENT)."""
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return sum(fields[2].endswith(f":{port:04X}") and fields[3] == "02" for fields in map(str.split, lines))


@contextmanager
def raw_peer(
    maximum_length: int = 16384, peer_maximum_length: int = 16384
) -> Iterator[tuple[Connection, socket.socket]]:
    """Give the accepting Connection of an association and the plain socket of its requestor."""
    with loopback() as (near, far):
        connection = Connection(Transport(near, "peer"), Association(maximum_length=maximum_length))
        far.sendall(request(peer_maximum_length, contexts=2).encode())
        asked = connection.receive_request(WAIT)
        connection.accept(asked, acceptance(asked, maximum_length), soon())
        read_pdu(far)
        yield connection, far


def read_exactly(sock: socket.socket, size: int) -> bytes:
    """Read ``size`` bytes, fewer only if the peer closes."""
    data = b""
    while len(data) < size and (more := sock.recv(size - len(data))):
        data += more
    return data


def read_pdu(sock: socket.socket) -> bytes:
    """Read one PDU with its header; empty if the peer has closed."""
    header = read_exactly(sock, 6)
    return header + read_exactly(sock, int.from_bytes(header[2:6], "big")) if header else b""


def read_all(sock: socket.socket) -> bytes:
    """Read until the peer closes or resets."""
    data = b""
    try:
        while more := sock.recv(1 << 16):
            data += more
    except ConnectionResetError:
        pass
    return data


class WatchedSocket(socket.socket):
    """A real socket that writes down the calls that matter for latency: sends, receives, options set."""

    calls: list[tuple[object, ...]]
    most_per_send = 1 << 30

    @classmethod
    def taking_over(cls, sock: socket.socket) -> WatchedSocket:
        """Make one of the descriptor of another socket, which is void afterwards."""
        watched = cls(fileno=sock.detach())
        watched.calls = []
        return watched

    def send(self, data: Any, *args: int) -> int:  # any buffer
        """Send at most ``most_per_send`` bytes."""
        sent = super().send(memoryview(data)[: self.most_per_send], *args)
        self.calls.append(("send", sent))
        return sent

    def sendall(self, data: Any, *args: int) -> None:  # any buffer
        """Send all."""
        self.calls.append(("send", len(data)))
        super().sendall(data, *args)

    def recv_into(self, *args: Any) -> int:  # the arguments of the method overridden
        """Receive."""
        size = super().recv_into(*args)
        self.calls.append(("receive", size))
        return size

    def setsockopt(self, *args: Any) -> None:  # the arguments of the method overridden
        """Set an option."""
        super().setsockopt(*args)
        if hasattr(self, "calls"):
            self.calls.append(("option", *args))
