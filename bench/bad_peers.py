"""Bad senders for ``soak.py``, which runs ten thousand of them: one association or connection each.

Each is a function of the port. It returns when the receiver has closed the connection, or when it has left itself.
"""

from __future__ import annotations

import socket
import struct
from contextlib import closing, suppress

from sender import CT, HOST, Work, data_set

from movescu._runtime.record import replace
from movescu.dictionary.uids import EXPLICIT_LITTLE
from movescu.dimse.exchange import Exchange
from movescu.dimse.messages import CStoreRQ, encode_command
from movescu.errors import PeerError
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Deadline
from movescu.transport.sockets import connect
from movescu.ul.negotiation import user_information
from movescu.ul.pdu import AssociateRQ, PDataTF, PresentationDataValue, ProposedContext

_WAIT = 60.0
_OBJECT = data_set(Work(1, 8192))
_UID = "1.2.826.0.1.000000000000"
_REQUEST = AssociateRQ("MOVESCU", "SENDER", (ProposedContext(1, CT, (EXPLICIT_LITTLE.uid,)),), user_information(16384))
_LAST, _COMMAND = 2, 1


def _pdu(*values: tuple[int, bytes]) -> bytes:
    return PDataTF(tuple(PresentationDataValue(1, control, data) for control, data in values)).encode()


_STORE = encode_command(CStoreRQ(CT, 1, _UID))


def half_open(port: int) -> socket.socket:
    """Connect and send nothing. Return the socket for ``until_answered``."""
    return socket.create_connection((HOST, port), _WAIT)


def until_answered(sock: socket.socket) -> None:
    """Wait until the receiver sends a PDU or closes, then close: after an A-ABORT the receiver waits for that."""
    with closing(sock), suppress(ConnectionError):
        sock.recv(65536)


def _raw(port: int, data: bytes, *, leave: bool = False) -> None:
    sock = half_open(port)
    with suppress(ConnectionError):
        sock.sendall(data)
    if leave:
        sock.close()
    else:
        until_answered(sock)


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _associated(port: int, data: bytes, end: str = "") -> None:
    """Send bytes over an association, and end it or wait for its end."""
    with closing(socket.create_connection((HOST, port), _WAIT)) as sock:
        sock.sendall(_REQUEST.encode())
        header = sock.recv(6, socket.MSG_WAITALL)
        sock.recv(int.from_bytes(header[2:6], "big"), socket.MSG_WAITALL)
        with suppress(ConnectionError):
            sock.sendall(data)
            if end == "abort":
                sock.sendall(bytes.fromhex("07000000000400000000"))
        if end == "reset":
            _reset(sock)
        elif end == "close":
            sock.shutdown(socket.SHUT_WR)
            until_answered(sock)
        else:
            until_answered(sock)


def connect_and_close(port: int) -> None:
    """Connect and close at once."""
    _raw(port, b"", leave=True)


def cut_request(port: int) -> None:
    """Close the connection during the association request."""
    _raw(port, _REQUEST.encode()[:40], leave=True)


def reset_request(port: int) -> None:
    """Reset the connection after the association request."""
    sock = half_open(port)
    sock.sendall(_REQUEST.encode())
    _reset(sock)


def web_browser(port: int) -> None:
    """Speak another protocol."""
    _raw(port, b"GET / HTTP/1.1\r\nHost: archive\r\n\r\n")


def giant_request(port: int) -> None:
    """Announce a request of 4 GiB."""
    _raw(port, bytes.fromhex("0100ffffffff0001") + bytes(4096))


def unreadable_request(port: int) -> None:
    """Send an association request with wrong item lengths."""
    _raw(port, _REQUEST.encode()[:74] + bytes.fromhex("2000ffff") + bytes(200))


def rejected(port: int) -> None:
    """Propose an unknown protocol version."""
    data = bytearray(_REQUEST.encode())
    data[6:8] = b"\0\2"
    _raw(port, bytes(data))


def nothing_accepted(port: int) -> None:
    """Propose an unknown SOP class, and send on its context although it was not accepted."""
    contexts = (ProposedContext(1, "1.2.3.4.5", (EXPLICIT_LITTLE.uid,)),)
    _raw(port, replace(_REQUEST, contexts=contexts).encode() + _pdu((_COMMAND | _LAST, _STORE)))


def aborted(port: int) -> None:
    """Abort during an object."""
    _associated(port, _pdu((_COMMAND | _LAST, _STORE)) + _pdu((0, _OBJECT[:4000])), "abort")


def closed(port: int) -> None:
    """Close the connection during an object."""
    _associated(port, _pdu((_COMMAND | _LAST, _STORE)) + _pdu((0, _OBJECT[:4000])), "close")


def reset(port: int) -> None:
    """Reset the connection during an object."""
    _associated(port, _pdu((_COMMAND | _LAST, _STORE)) + _pdu((0, _OBJECT[:4000])), "reset")


def bad_command(port: int) -> None:
    """Send an invalid command set."""
    _associated(port, _pdu((_COMMAND | _LAST, b"\0\0\0\0\xff\xff\xff\xff" * 20)))


def command_amid_data(port: int) -> None:
    """Send a command where the rest of a data set is due."""
    _associated(port, _pdu((_COMMAND | _LAST, _STORE)) + _pdu((0, _OBJECT[:4000]), (_COMMAND | _LAST, _STORE)))


def bad_data_sets(port: int) -> None:
    """Send objects that cannot be stored, each with its own UID, and release."""
    connection = Connection.request(connect(HOST, port, _WAIT), _REQUEST, _WAIT)
    exchange, deadline = Exchange(connection), Deadline(_WAIT, "the receiver")
    local = connection.local_address + str(id(connection))
    with suppress(PeerError):
        for number, data in enumerate((b"", b"\xff\xfe\xfd" * 9000, _OBJECT[:-3], _OBJECT * 30)):
            uid = f"1.2.3.{number}.{int.from_bytes(local.encode(), 'big') % 10**20}"
            exchange.send(1, CStoreRQ(CT, number + 1, uid), deadline, data)
            exchange.receive_response(deadline)
        connection.release(deadline)


KINDS = (
    *(connect_and_close, cut_request, reset_request, web_browser, giant_request, unreadable_request, rejected),
    *(nothing_accepted, aborted, closed, reset, bad_command, command_amid_data, bad_data_sets),
)
