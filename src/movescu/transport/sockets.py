"""TCP connections with deadlines: PS3.8 9.1, the transport service that the Upper Layer stands on.

OS errors become ours here and only here (``storage/writer`` does the same for files). A send is one call of the
system for a whole message, with ``TCP_NODELAY``. A sender that leaves Nagle's algorithm on (Orthanc, DCMTK's tools)
waits for our ACK, which the system would hold back for 40 ms an object: where more is awaited and nothing was sent that
carries the ACK, ``TCP_QUICKACK`` sends it before the wait, on systems that have it.

A receive is one call of the system as well: the time-out is the socket's own (``SO_RCVTIMEO``), where Python's would
poll first. It is set only to make it shorter, for setting it would be another call; a wait that may last longer begins
again.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
import sys
import threading
import time

from movescu.errors import (
    ConnectError,
    ConnectionLostError,
    ListenError,
    PeerError,
    PrivilegesError,
)
from movescu.transport.deadlines import Deadline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ssl import SSLSocket
    from typing import Final, TypeGuard

    _Address = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
    _AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, _Address]

_QUICKACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)
_TIMEVAL: Final = struct.Struct("@ll") if sys.platform == "linux" and struct.calcsize("l") == 8 else None
"""Seconds and microseconds, as ``SO_RCVTIMEO`` takes them; None where Python's own time-outs are used: on 32 bits there
are two layouts, by the age of the system."""
_BACKLOG: Final = 128
# A peer whose machine is gone is found after two minutes instead of the system's two hours.
_KEEP_ALIVE: Final = tuple(
    (getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
    if hasattr(socket, name)
)

FAMILIES: Final = {"4": socket.AF_INET, "6": socket.AF_INET6, "auto": socket.AF_UNSPEC}
"""IP versions as the options -i4, -i6 and -i0 have them."""

_SOMEWHERE: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""An address of either version that is on no network of ours (RFC 5737, RFC 3849)."""


def _is_secured(sock: socket.socket) -> TypeGuard[SSLSocket]:
    """Tell whether a socket holds received bytes of its own, as those of TLS do."""
    return hasattr(sock, "pending")


class Transport:
    """One TCP connection, blocking; the only owner of its socket."""

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self._socket = sock
        self.peer = peer
        """Address and port of the other side, for people."""
        self._limited: float | None = None  # seconds after which a call of the system comes back with nothing
        self._acknowledging = False  # there may be an ACK that the system holds back
        self._ending = threading.Lock()
        sock.settimeout(None)
        with contextlib.suppress(OSError):  # the peer may be gone already; the first receive will say so
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, seconds in _KEEP_ALIVE:
                sock.setsockopt(socket.IPPROTO_TCP, option, seconds)

    @property
    def local_address(self) -> str:
        """The address of our side, as the peer sees it where nothing translates it; empty if it is gone."""
        with contextlib.suppress(OSError):
            return str(self._socket.getsockname()[0])
        return ""

    @property
    def local_port(self) -> int:
        """The port of our side; 0 if it is gone."""
        with contextlib.suppress(OSError):
            return int(self._socket.getsockname()[1])
        return 0

    @property
    def peer_address(self) -> str:
        """The address of the other side; empty if it is gone."""
        with contextlib.suppress(OSError):
            return str(self._socket.getpeername()[0])
        return ""

    def receive_into(self, buffer: memoryview, deadline: Deadline) -> int:
        """Receive what is there, at least one byte; 0 means that the peer closed the connection.

        Raises ``TimedOutError``, and ``ConnectionLostError`` for a reset.
        """
        begun = time.monotonic()
        try:
            self._acknowledge()
            while True:
                seconds = deadline.remaining()
                self._limit(seconds)
                try:
                    size = self._socket.recv_into(buffer)
                    break
                except (TimeoutError, BlockingIOError) as error:
                    self._go_on_waiting(error, seconds, begun, deadline)
        except OSError as error:
            raise self._lost(error) from error
        self._acknowledging = size < len(buffer)  # else more is there, or what is answered next carries the ACK
        return size

    def receive_at_hand(self, buffer: memoryview) -> int:
        """Receive what is there, without waiting; -1 if nothing is, 0 if the peer closed the connection.

        Not for secured sockets. Raises ``ConnectionLostError``.
        """
        try:
            size = self._socket.recv_into(buffer, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return -1
        except OSError as error:
            raise self._lost(error) from error
        self._acknowledging = size < len(buffer)  # as above
        return size

    def send(self, data: bytes | bytearray | memoryview, deadline: Deadline) -> None:
        """Send all of ``data``. Raises ``TimedOutError`` and ``ConnectionLostError``.

        Not ``sendall``: its time-out is one for all of the data, and a peer that takes some is not silent.
        """
        begun = time.monotonic()
        self._acknowledging = False
        rest, left = data, len(data)
        try:
            while left:
                seconds = deadline.remaining()
                self._limit(seconds)
                try:
                    size = self._socket.send(rest)
                except (TimeoutError, BlockingIOError) as error:
                    self._go_on_waiting(error, seconds, begun, deadline)
                    continue
                left -= size
                if left:
                    rest = memoryview(rest)[size:]
                    begun = time.monotonic()
        except OSError as error:
            raise self._lost(error) from error

    def _acknowledge(self) -> None:
        """Let the ACK of what has come leave now, if nothing was sent since that would carry it."""
        if self._acknowledging:
            self._acknowledging = False
            if _QUICKACK is not None:
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def _limit(self, seconds: float | None) -> None:
        """See to it that a call of the system waits no longer than that; one that waits less is called again."""
        if seconds is not None and (self._limited is None or seconds < self._limited):
            self._set_limit(seconds)

    def _set_limit(self, seconds: float | None) -> None:
        if _TIMEVAL is None or _is_secured(self._socket):  # a secured socket is read by OpenSSL
            self._socket.settimeout(seconds)
        else:
            whole, part = divmod(max(round((seconds or 0.0) * 1e6), seconds is not None), 1_000_000)
            limit = _TIMEVAL.pack(whole, part)  # zero is for ever
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._limited = seconds

    def _go_on_waiting(self, error: OSError, seconds: float | None, begun: float, deadline: Deadline) -> None:
        """Decide what follows on a wait that brought nothing; raise what it means unless there is time left."""
        if isinstance(error, TimeoutError) and error.errno is not None:  # TCP itself gave up (ETIMEDOUT)
            raise error
        left = None if seconds is None else seconds - (time.monotonic() - begun)
        if left is not None and left <= 0:
            if deadline.over():
                raise deadline.expired() from error
            left = deadline.remaining()
        self._set_limit(left)

    def _lost(self, error: OSError) -> PeerError:
        return ConnectionLostError(f"connection to {self.peer} lost: {_reason(error)}")

    @property
    def secured(self) -> bool:
        """Whether it is one of TLS."""
        return _is_secured(self._socket)

    def fileno(self) -> int:
        """Give the descriptor of the socket, for those who wait on several at once."""
        return self._socket.fileno()

    @property
    def is_unread(self) -> bool:
        """Whether the system holds something that was not received yet. Safe from any thread, and changes nothing."""
        poll = select.poll()
        with self._ending:  # a descriptor closed in between may be another connection's by then
            if (descriptor := self._socket.fileno()) < 0:
                return False
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(0))

    def readable(self, seconds: float | None, wake: int = -1) -> bool:
        """Tell whether there is something to receive, the end of the connection included, within ``seconds``.

        The wait also ends when the descriptor ``wake`` can be read.
        """
        if _is_secured(self._socket) and self._socket.pending():
            return True
        with contextlib.suppress(OSError):  # lost: there is that to be received
            self._acknowledge()
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if wake >= 0:
            poll.register(wake, select.POLLIN)
        ready = poll.poll(None if seconds is None else seconds * 1000)
        return any(fd == self._socket.fileno() for fd, _ in ready)

    def secure(self, wrap: Callable[[socket.socket], SSLSocket], deadline: Deadline) -> None:
        """Put what ``wrap`` makes of the socket in its place, and shake hands.

        Raises ``TimedOutError`` and ``ConnectionLostError``.
        """
        try:
            with self._ending:  # wrapping takes the descriptor from the socket that another thread may be ending
                self._socket = secured = wrap(self._socket)
            self._set_limit(deadline.remaining())
            secured.do_handshake()
        except TimeoutError as error:
            raise (deadline.expired() if error.errno is None else self._lost(error)) from error
        except OSError as error:
            raise self._lost(error) from error

    def stop_receiving(self) -> None:
        """End the incoming direction: a thread that is blocked on this connection wakes up. Safe from any thread."""
        # The lock: a descriptor closed in between may be another connection's by then.
        with self._ending, contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RD)  # a secured socket's own is not safe from any thread

    def close(self) -> None:
        """Give the socket back."""
        with self._ending:
            self._socket.close()


def resolve(host: str, ip: str = "auto", seconds: float | None = None) -> tuple[str, ...]:
    """Give the addresses of a host. Raises ``ConnectError``, and ``TimedOutError`` after ``seconds``."""
    found = _resolve(host, 0, ip, Deadline(seconds, f"looking up {host}"))
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


def _resolve(host: str, port: int, ip: str, deadline: Deadline) -> Sequence[_AddressInfo]:
    name = _name_of(host)
    with contextlib.suppress(OSError, UnicodeError):  # an address in figures needs nobody's answer
        return socket.getaddrinfo(name, port, FAMILIES[ip], socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    try:
        return _within(deadline, lambda: socket.getaddrinfo(name, port, FAMILIES[ip], socket.SOCK_STREAM))
    except (OSError, UnicodeError) as error:
        raise ConnectError(
            f"host name {host} cannot be resolved: {_reason(error)}",
            hint="check the spelling of the peer's name, or give its IP address"
            + ("" if ip == "auto" else "; addresses of the other IP version need -i0"),
        ) from error


def _name_of(host: str) -> str | bytes:
    """Give a name as bytes where IDNA (RFC 3490) leaves it as it is: Python takes 2 ms to load what finds that out."""
    return host.encode() if host.isascii() and all(0 < len(label) < 64 for label in host.split(".")) else host


def _within(deadline: Deadline, ask: Callable[[], Sequence[_AddressInfo]]) -> Sequence[_AddressInfo]:
    """Ask the system's resolver, whose waits nobody else can limit: in a thread that is left to it when time is up."""
    answers: list[Sequence[_AddressInfo]] = []
    errors: list[OSError | UnicodeError] = []

    def run() -> None:
        try:
            answers.append(ask())
        except (OSError, UnicodeError) as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="movescu-resolver", daemon=True)
    thread.start()
    thread.join(deadline.remaining())
    if errors:
        raise errors[0]
    if not answers:
        raise deadline.expired()
    return answers[0]


def own_addresses(ip: str = "auto") -> tuple[str, ...]:
    """Give the addresses from which this machine speaks to the world, by its routes; nothing is sent for that."""
    addresses = []
    for family, somewhere in _SOMEWHERE:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
            if FAMILIES[ip] in (family, socket.AF_UNSPEC):
                sock.connect((somewhere, 9))
                addresses.append(str(sock.getsockname()[0]))
    return tuple(addresses)


def connect(host: str, port: int, seconds: float | None, ip: str = "auto") -> Transport:
    """Open a connection to ``host``, trying each of its addresses in turn; ``ip`` is a key of ``FAMILIES``.

    Raises ``ConnectError``, with what the last address said, or ``TimedOutError`` after ``seconds``.
    """
    deadline = Deadline(seconds, f"connecting to {host} port {port}")
    failure: OSError | None = None
    for family, kind, protocol, _, address in _resolve(host, port, ip, deadline):
        seconds = deadline.remaining()
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as error:  # an address of a family that this system does not have
            failure = error
            continue
        try:
            sock.settimeout(seconds)
            sock.connect(address)
        except TimeoutError as error:
            sock.close()
            if deadline.at is not None and time.monotonic() >= deadline.at:
                raise deadline.expired() from None
            failure = error
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return Transport(sock, f"{host} port {port}")
    raise ConnectError(
        f"cannot connect to {host} port {port}: {_reason(failure)}",
        hint="check host and port, that the archive is running, and that no firewall is in the way",
    ) from failure


def listen(address: str, port: int, ip: str = "4") -> socket.socket:
    """Open a listening socket; port 0 lets the system choose, an empty ``address`` means all interfaces.

    ``ip`` is a key of ``FAMILIES``; ``auto`` listens to both versions where the system can. Raises ``ListenError``,
    ``PrivilegesError`` among them.
    """
    both = ip == "auto" and not address and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both or ip == "6" or ":" in address else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ListenError(f"cannot listen on port {port}: {_reason(error)}", hint="try -i4") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        sock.bind((address, port))
        sock.listen(_BACKLOG)
    except PermissionError as error:
        sock.close()
        raise PrivilegesError(
            f"cannot listen on port {port}: {_reason(error)}",
            hint="ports below 1024 need root's privileges: choose another with --port",
        ) from error
    except (OSError, OverflowError) as error:
        sock.close()
        raise ListenError(
            f"cannot listen on port {port}: {_reason(error)}",
            hint=f"{address} has to be an address of this machine, and the port has to be free"
            if isinstance(error, socket.gaierror) or getattr(error, "errno", None) == errno.EADDRNOTAVAIL
            else "another program may be using the port (a second movescu?): stop it or choose another with --port",
        ) from error
    return sock


def _reason(error: BaseException | None) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
