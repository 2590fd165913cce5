"""What a port speaks that does not answer an association request: DICOM with TLS, or HTTP.

A web server waits for the end of a line that never comes, and a TLS server closes the connection: neither says what it
is. So each is addressed in its own language, over a connection of its own. For a failed association request alone.
"""

from __future__ import annotations

import ssl
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final

from movescu.errors import PeerError
from movescu.transport.deadlines import Deadline
from movescu.transport.sockets import connect
from movescu.ul.foreign import HTTP, TLS, protocol_of

if TYPE_CHECKING:
    import socket

_SECONDS: Final = 2.0
"""Upper limit of each of the two connections."""


def protocol_at(host: str, port: int, ip: str) -> str:
    """Return the name of the protocol other than DICOM that a port speaks, empty if unknown."""
    with suppress(PeerError):  # the port accepts no further connection, or resets it
        return _answer_to_http(host, port, ip) or _answer_to_tls(host, port, ip)
    return ""


def _answer_to_http(host: str, port: int, ip: str) -> str:
    deadline = Deadline(_SECONDS, "waiting for an answer to HTTP")
    with closing(connect(host, port, deadline.remaining(), ip)) as transport, suppress(PeerError):
        buffer = bytearray(16)
        transport.send(b"HEAD / HTTP/1.0\r\n\r\n", deadline)
        size = transport.receive_into(memoryview(buffer), deadline)
        return protocol_of(bytes(buffer[:size])) if size else ""
    return ""


def _answer_to_tls(host: str, port: int, ip: str) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent but the handshake
    context.set_alpn_protocols(["http/1.1"])
    spoken: list[ssl.SSLSocket] = []

    def wrap(sock: socket.socket) -> ssl.SSLSocket:
        spoken.append(context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False))
        return spoken[0]

    deadline = Deadline(_SECONDS, "waiting for an answer to TLS")
    with closing(connect(host, port, deadline.remaining(), ip)) as transport:
        try:
            transport.secure(wrap, deadline)
        except PeerError as error:
            reason = getattr(error.__cause__, "reason", None) or ""
            return TLS if "_ALERT_" in reason else ""  # an alert is an answer
        return HTTP if spoken[0].selected_alpn_protocol() else TLS
