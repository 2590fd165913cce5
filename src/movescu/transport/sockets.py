"""TCP connections with deadlines: the transport service of the Upper Layer (PS3.8 section 9.1).

OS errors of sockets become errors of this package here and only here (``storage.writer`` does the same for files).

Latency. A message is sent with one system call, with ``TCP_NODELAY``. A sender that leaves Nagle's algorithm on
(Orthanc, DCMTK's tools) waits for the ACK of its last segment, which the system delays: before a wait for more, unless
something was sent that carries the ACK, ``TCP_QUICKACK`` sends it, on systems that have it. A receive is one system
call, too: its timeout is the socket's own (``SO_RCVTIMEO``), for Python's would poll first. Setting it is another call,
so it is only ever shortened, and a wait that may last longer begins again.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys

from movescu._runtime import clock
from movescu.errors import (
    ConnectError,
    ConnectionLostError,
    ListenError,
    PeerError,
    PrivilegesError,
)
from movescu.transport import network
from movescu.transport.deadlines import Deadline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ssl import SSLSocket
    from typing import Final, TypeGuard

    _Address = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
    _AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, _Address]

_QUICKACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)
_NOT_WAITING: Final[int] = getattr(socket, "MSG_DONTWAIT", 0)
"""A receive without waiting; 0 where the system has none: only a socket that is readable is received from then."""
_TIMEVAL: Final = struct.Struct("@ll") if sys.platform == "linux" and struct.calcsize("l") == 8 else None
"""Seconds and microseconds of ``SO_RCVTIMEO``; None where Python's own timeouts are used: 32-bit systems have two
layouts, by their age."""
_OWN_PORT: Final = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
"""Listen on a port that connections of an earlier run still have; on Windows ``SO_REUSEADDR`` shares it with others."""
_BACKLOG: Final = 128
# A peer whose machine has vanished is noticed after two minutes; with the system's defaults, after two hours.
_KEEP_ALIVE: Final = tuple(
    (getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
    if hasattr(socket, name)
)

FAMILIES: Final = {"4": socket.AF_INET, "6": socket.AF_INET6, "auto": socket.AF_UNSPEC}
"""Address families of the options -i4, -i6 and -i0."""

_SOMEWHERE: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""An address of each version that no network has (RFC 5737, RFC 3849)."""


def _is_secured(sock: socket.socket) -> TypeGuard[SSLSocket]:
    """Return True for a socket of TLS, which buffers received bytes itself."""
    return hasattr(sock, "pending")


class Transport:
    """A TCP connection, blocking; the only owner of its socket."""

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self._socket = sock
        self.peer = peer
        """Address and port of the peer, as messages have them."""
        self._limited: float | None = None  # seconds after which a system call on the socket times out
        self._acknowledging = False  # the system may be delaying an ACK
        self._ending = clock.Lock()
        sock.settimeout(None)
        with contextlib.suppress(OSError):  # the peer may have closed already: the first receive raises that
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, seconds in _KEEP_ALIVE:
                sock.setsockopt(socket.IPPROTO_TCP, option, seconds)

    @property
    def local_address(self) -> str:
        """The local address, empty if the connection is closed; the peer sees it unless there is NAT."""
        with contextlib.suppress(OSError):
            return str(self._socket.getsockname()[0])
        return ""

    @property
    def local_port(self) -> int:
        """The local port, 0 if the connection is closed."""
        with contextlib.suppress(OSError):
            return int(self._socket.getsockname()[1])
        return 0

    @property
    def peer_address(self) -> str:
        """The peer's address, empty if the connection is closed."""
        with contextlib.suppress(OSError):
            return str(self._socket.getpeername()[0])
        return ""

    def receive_into(self, buffer: memoryview, deadline: Deadline) -> int:
        """Receive at least one byte and return the number of bytes; 0 if the peer closed the connection.

        Raise ``TimedOutError``, or ``ConnectionLostError`` for a reset.
        """
        begun = clock.now()
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
        self._acknowledging = size < len(buffer)  # a full buffer is read on at once, or its answer carries the ACK
        return size

    def receive_at_hand(self, buffer: memoryview) -> int:
        """Receive without waiting and return the number of bytes; -1 if there are none, 0 if the peer closed.

        Not for TLS, and without ``epoll`` only from a socket that is ``readable``. Raise ``ConnectionLostError`` for a
        reset.
        """
        try:
            size = self._socket.recv_into(buffer, 0, _NOT_WAITING)
        except BlockingIOError:
            return -1
        except OSError as error:
            raise self._lost(error) from error
        self._acknowledging = size < len(buffer)  # as above
        return size

    def send(self, data: bytes | bytearray | memoryview, deadline: Deadline) -> None:
        """Send all of ``data``. Raise ``TimedOutError``, or ``ConnectionLostError`` for a reset.

        Not by ``sendall``, whose timeout is for all of the data: a peer that accepts some of it is not silent.
        """
        begun = clock.now()
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
                    begun = clock.now()
        except OSError as error:
            raise self._lost(error) from error

    def _acknowledge(self) -> None:
        """Send the ACK of the received bytes now, unless something was sent that carried it."""
        if self._acknowledging:
            self._acknowledging = False
            if _QUICKACK is not None:
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def _limit(self, seconds: float | None) -> None:
        """Make system calls time out after ``seconds`` at the latest; one that times out earlier is repeated."""
        if seconds is not None and (self._limited is None or seconds < self._limited):
            self._set_limit(seconds)

    def _set_limit(self, seconds: float | None) -> None:
        if _TIMEVAL is None or _is_secured(self._socket):  # OpenSSL does the reading, by Python's timeout
            self._socket.settimeout(seconds)
        else:
            whole, part = divmod(max(round((seconds or 0.0) * 1e6), seconds is not None), 1_000_000)
            limit = _TIMEVAL.pack(whole, part)  # zero is no limit
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._limited = seconds

    def _go_on_waiting(self, error: OSError, seconds: float | None, begun: float, deadline: Deadline) -> None:
        """Prepare another wait after one that timed out. Raise ``TimedOutError`` if no time is left."""
        if isinstance(error, TimeoutError) and error.errno is not None:  # ETIMEDOUT: TCP itself gave up
            raise error
        left = None if seconds is None else seconds - (clock.now() - begun)
        if left is not None and left <= 0:
            if deadline.over():
                raise deadline.expired() from error
            left = deadline.remaining()
        self._set_limit(left)

    def _lost(self, error: OSError) -> PeerError:
        return ConnectionLostError(f"connection to {self.peer} lost: {_reason(error)}")

    @property
    def secured(self) -> bool:
        """Whether the connection uses TLS."""
        return _is_secured(self._socket)

    def fileno(self) -> int:
        """Return the socket's descriptor, for a wait on several at once."""
        return self._socket.fileno()

    @property
    def is_unread(self) -> bool:
        """Whether the system holds bytes that were not received yet. Safe from any thread."""
        poll = network.poll()
        with self._ending:  # a descriptor that is closed meanwhile may already belong to another connection
            if (descriptor := self._socket.fileno()) < 0:
                return False
            poll.register(descriptor, network.POLLIN)
            return bool(poll.poll(0))

    def readable(self, seconds: float | None, wake: int = -1) -> bool:
        """Return True if there is anything to receive, the end of the connection included, within ``seconds``.

        The wait also ends when the descriptor ``wake`` is readable.
        """
        if _is_secured(self._socket) and self._socket.pending():
            return True
        with contextlib.suppress(OSError):  # a lost connection is readable: the receive raises the error
            self._acknowledge()
        poll = network.poll()
        poll.register(self._socket, network.POLLIN)
        if wake >= 0:
            poll.register(wake, network.POLLIN)
        ready = poll.poll(None if seconds is None else seconds * 1000)
        return any(fd == self._socket.fileno() for fd, _ in ready)

    def rest(self, seconds: float, wake: int) -> None:
        """Leave what arrives in the socket for some seconds, or until the descriptor ``wake`` is readable.

        The ACK leaves before: without it, the peer's next small message may be held back (Nagle's algorithm).
        """
        with contextlib.suppress(OSError):  # a lost connection: the next receive raises the error
            self._acknowledge()
        poll = network.poll()
        poll.register(wake, network.POLLIN)
        poll.poll(seconds * 1000)

    def secure(self, wrap: Callable[[socket.socket], SSLSocket], deadline: Deadline) -> None:
        """Replace the socket with the one that ``wrap`` returns, and perform the TLS handshake.

        Raise ``TimedOutError``, or ``ConnectionLostError`` if the handshake fails.
        """
        try:
            with self._ending:  # wrapping detaches the descriptor from the socket that another thread may be closing
                self._socket = secured = wrap(self._socket)
            self._set_limit(deadline.remaining())
            secured.do_handshake()
        except TimeoutError as error:
            raise (deadline.expired() if error.errno is None else self._lost(error)) from error
        except OSError as error:
            raise self._lost(error) from error

    def stop_receiving(self) -> None:
        """Shut down the incoming direction, which wakes a thread that is blocked on it. Safe from any thread."""
        # The lock: a descriptor that is closed meanwhile may already belong to another connection.
        with self._ending, contextlib.suppress(OSError):
            network.shutdown(self._socket, socket.SHUT_RD)

    def close(self) -> None:
        """Close the socket."""
        with self._ending:
            self._socket.close()


def resolve(host: str, ip: str = "auto", seconds: float | None = None) -> tuple[str, ...]:
    """Return the addresses of a host. Raise ``ConnectError`` if it has none, ``TimedOutError`` after ``seconds``."""
    found = _resolve(host, 0, ip, Deadline(seconds, f"looking up {host}"))
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


def _resolve(host: str, port: int, ip: str, deadline: Deadline) -> Sequence[_AddressInfo]:
    name = _name_of(host)
    with contextlib.suppress(OSError, UnicodeError):  # a numeric address needs no resolver, and so no thread
        return network.getaddrinfo(name, port, FAMILIES[ip], socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    try:
        return _within(deadline, lambda: network.getaddrinfo(name, port, FAMILIES[ip], socket.SOCK_STREAM))
    except (OSError, UnicodeError) as error:
        raise ConnectError(
            f"host name {host} cannot be resolved: {_reason(error)}",
            unknown_host=getattr(error, "errno", None) != socket.EAI_AGAIN,
            hint=_name_hint(host, port, ip),
        ) from error


def _name_hint(host: str, port: int, ip: str) -> str:
    name, _, number = host.rpartition(":")
    if name and number.isdecimal() and (":" not in name or name.endswith("]")):
        return f"{host} has a port already: leave out the one after it"
    title, at, name = host.rpartition("@")
    if at and title and name:
        shown = port or "PORT"  # 0: the name alone was looked up
        return f"write {host}:{shown} as one word, or -aec {title} {name} {shown}"
    if ":" in host and ip == "4":
        return "an IPv6 address needs -i6 (--ipv6)"
    hint = "check the spelling of the peer's name, or give its IP address"
    return hint if ip == "auto" else f"{hint}; addresses of the other IP version need -i0"


def _name_of(host: str) -> str | bytes:
    """Return a name that IDNA (RFC 3490) would not change as bytes, for which Python does not import its codec."""
    return host.encode() if host.isascii() and all(0 < len(label) < 64 for label in host.split(".")) else host


def _within(deadline: Deadline, ask: Callable[[], Sequence[_AddressInfo]]) -> Sequence[_AddressInfo]:
    """Call the system's resolver in a thread, which is abandoned when the time is up: the call has no timeout."""
    answers: list[Sequence[_AddressInfo]] = []
    errors: list[OSError | UnicodeError] = []

    def run() -> None:
        try:
            answers.append(ask())
        except (OSError, UnicodeError) as error:
            errors.append(error)

    thread = clock.Thread(target=run, name="movescu-resolver", daemon=True)
    thread.start()
    thread.join(deadline.remaining())
    if errors:
        raise errors[0]
    if not answers:
        raise deadline.expired()
    return answers[0]


def own_addresses(ip: str = "auto") -> tuple[str, ...]:
    """Return the addresses of this machine that its routes to the outside start from; nothing is sent."""
    addresses = []
    for family, somewhere in _SOMEWHERE:
        with contextlib.suppress(OSError), network.socket(family, socket.SOCK_DGRAM) as sock:
            if FAMILIES[ip] in (family, socket.AF_UNSPEC):
                sock.connect((somewhere, 9))
                addresses.append(str(sock.getsockname()[0]))
    return tuple(addresses)


def connect(host: str, port: int, seconds: float | None, ip: str = "auto") -> Transport:
    """Open a connection to ``host``, trying each of its addresses in turn; ``ip`` is a key of ``FAMILIES``.

    Raise ``ConnectError`` with the error of the last address, or ``TimedOutError`` after ``seconds``.
    """
    deadline = Deadline(seconds, f"connecting to {host} port {port}")
    failure: OSError | None = None
    for family, kind, protocol, _, address in _resolve(host, port, ip, deadline):
        seconds = deadline.remaining()
        try:
            sock = network.socket(family, kind, protocol)
        except OSError as error:  # the system does not support the address family
            failure = error
            continue
        try:
            sock.settimeout(seconds)
            sock.connect(address)
        except TimeoutError as error:
            sock.close()
            if deadline.at is not None and clock.now() >= deadline.at:
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
        hint="check host and port, that the archive is running, and that no firewall blocks the connection",
    ) from failure


def listen(address: str, port: int, ip: str = "4") -> socket.socket:
    """Open a listening socket; port 0 lets the system choose, an empty ``address`` means all interfaces.

    ``ip`` is a key of ``FAMILIES``; ``auto`` listens on both versions where the system can. Raise ``PrivilegesError``
    if the user may not listen on the port, else ``ListenError``.
    """
    both = ip == "auto" and not address and network.has_dualstack_ipv6()
    family = socket.AF_INET6 if both or ip == "6" or ":" in address else socket.AF_INET
    try:
        sock = network.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ListenError(f"cannot listen on port {port}: {_reason(error)}", hint="try -i4") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, _OWN_PORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        sock.bind((address, port))
        sock.listen(_BACKLOG)
    except PermissionError as error:
        sock.close()
        raise PrivilegesError(
            f"cannot listen on port {port}: {_reason(error)}",
            hint="ports below 1024 need root privileges: choose another with --port",
        ) from error
    except (OSError, OverflowError) as error:
        sock.close()
        raise ListenError(
            f"cannot listen on port {port}: {_reason(error)}",
            hint=_address_hint(address, family)
            if isinstance(error, socket.gaierror) or getattr(error, "errno", None) == errno.EADDRNOTAVAIL
            else "another program may be using the port (a second movescu?): stop it or choose another with --port",
        ) from error
    return sock


def _address_hint(address: str, family: socket.AddressFamily) -> str:
    if family == socket.AF_INET6 and ":" not in address:
        return f"{address} is an IPv4 address, but -i6 holds (an archive's address in brackets implies it): use -i0"
    return f"{address} must be an address of this machine"


def _reason(error: BaseException | None) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
