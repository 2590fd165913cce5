"""A simulated network: TCP connections within one machine, with short reads and writes, ends and resets.

A socket that is closed with unread bytes resets its connection; so does one that gets bytes after it was closed. Bytes
that arrived before a reset can still be read, as with Linux. Descriptors are used again as soon as they are free.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from simulation.threads import Scheduler

HOST = "10.0.0.1"
_TIMEVAL = struct.Struct("@ll")
_FIRST_DESCRIPTOR = 1000
_FIRST_PORT = 40_000


class End:
    """One end of a connection; several sockets may be handles of it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.peer: End | None = None
        self.inbox = bytearray()
        self.finished = False  # the peer sends no more
        self.deaf = False  # shut down for reading
        self.reset = False
        self.told = False  # the reset was raised
        self.handles = 0
        self.linger = True
        self.starved = False  # a send found no room: the peer's next receive is an edge
        self.edges = 0
        """Changes so far, for an edge-triggered wait."""

    @property
    def closed(self) -> bool:
        return self.handles == 0

    @property
    def readable(self) -> bool:
        return bool(self.inbox) or self.finished or self.reset or self.deaf

    def close(self) -> None:
        peer = self.peer
        if peer is None:
            return
        if self.inbox or not self.linger:
            peer.reset = True
        else:
            peer.finished = True
        peer.edges += 1
        self.inbox.clear()


class Network:
    """The network of a world. ``window``: bytes that a connection holds unread. ``fail_at``: number of the call that
    finds its connection reset."""

    def __init__(self, scheduler: Scheduler, *, window: int = 65536, short: float = 0.0) -> None:
        self.scheduler = scheduler
        self.window = window
        self.short = short
        """How often a call moves fewer bytes than it could."""
        self.fail_at = 0
        self.calls = 0
        self.failed = ""
        self.sockets: dict[int, Socket] = {}
        self.listening: dict[int, Socket] = {}
        self._next_port = _FIRST_PORT

    # -- what the seam has -------------------------------------------------------------------------------------------

    def replacements(self) -> dict[str, Any]:
        return {
            "socket": lambda *_: Socket(self, End((HOST, 0))),
            "socketpair": self.pair,
            "getaddrinfo": self.getaddrinfo,
            "has_dualstack_ipv6": lambda: False,
            "shutdown": lambda sock, how: sock.shutdown(how),
            "duplicate": lambda descriptor: Socket(self, self.sockets[descriptor].end),
            "poll": lambda: Poll(self),
            "epoll": lambda: Epoll(self),
        }

    def getaddrinfo(self, host: str | bytes, port: int, *_: object) -> list[tuple[Any, ...]]:
        name = host.decode() if isinstance(host, bytes) else host
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (name, port))]

    def pair(self) -> tuple[Socket, Socket]:
        return self.connection(End((HOST, 0)), End((HOST, 0)))

    def connection(self, a: End, b: End) -> tuple[Socket, Socket]:
        a.peer, b.peer = b, a
        return Socket(self, a), Socket(self, b)

    def descriptor(self) -> int:
        return next(n for n in range(_FIRST_DESCRIPTOR, 2 * _FIRST_DESCRIPTOR) if n not in self.sockets)

    def port(self) -> int:
        self._next_port += 1
        return self._next_port

    def call(self, what: str, end: End) -> None:
        """Count a call, of which one may find the connection reset."""
        self.scheduler.pause()
        if end.address[1]:  # not one of the pairs by which threads wake each other
            self.calls += 1
            if self.calls == self.fail_at:
                self.failed = what
                for one in (end, end.peer):
                    if one is not None:
                        one.inbox.clear()
                        one.reset, one.edges = True, one.edges + 1

    def some(self, size: int) -> int:
        """``size``, or now and then less."""
        random = self.scheduler.random
        return random.randint(1, size) if size > 1 and self.short and random.random() < self.short else size


class Socket:
    """A handle of one end, or a listening socket."""

    def __init__(self, network: Network, end: End) -> None:
        self.network = network
        self.end = end
        end.handles += 1
        self._descriptor = network.descriptor()
        network.sockets[self._descriptor] = self
        self._seconds: float | None = None
        self._listening: deque[tuple[Socket, tuple[str, int]]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __hash__(self) -> int:
        return hash(self.end.address)

    def fileno(self) -> int:
        return self._descriptor

    def _check(self) -> None:
        if self._descriptor < 0:
            raise OSError(errno.EBADF, "Bad file descriptor")

    # -- options -----------------------------------------------------------------------------------------------------

    def settimeout(self, seconds: float | None) -> None:
        self._check()
        self._seconds = seconds

    def setblocking(self, flag: bool) -> None:
        self.settimeout(None if flag else 0.0)

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        self._check()
        if level == socket.SOL_SOCKET and option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            assert isinstance(value, bytes)
            whole, part = _TIMEVAL.unpack(value)
            self._seconds = whole + part / 1e6 or None
        elif level == socket.SOL_SOCKET and option == socket.SO_LINGER:
            self.end.linger = False

    def getsockname(self) -> tuple[str, int]:
        self._check()
        return self.end.address

    def getpeername(self) -> tuple[str, int]:
        self._check()
        if self.end.peer is None:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        return self.end.peer.address

    # -- connections -------------------------------------------------------------------------------------------------

    def bind(self, address: tuple[str, int]) -> None:
        port = address[1] or self.network.port()
        if port in self.network.listening:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        self.end.address = (address[0] or HOST, port)

    def listen(self, _backlog: int) -> None:
        self._listening = deque()
        self.network.listening[self.end.address[1]] = self

    def accept(self) -> tuple[Socket, tuple[str, int]]:
        self._check()
        self.network.scheduler.pause()
        assert self._listening is not None
        if not self._listening:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return self._listening.popleft()

    def connect(self, address: tuple[str, int]) -> None:
        network = self.network
        network.scheduler.pause()
        listening = network.listening.get(address[1])
        if listening is None or listening._listening is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        self.end.address = (HOST, network.port())
        other = End(address)
        other.peer, self.end.peer = self.end, other
        network.call("connect", self.end)
        if self.end.reset:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        listening._listening.append((Socket(network, other), self.end.address))
        listening.end.edges += 1

    @property
    def readable(self) -> bool:
        return bool(self._listening) if self._listening is not None else self.end.readable

    @property
    def writable(self) -> bool:
        peer = self.end.peer
        return peer is not None and (self.end.reset or len(peer.inbox) < self.network.window)

    # -- bytes -------------------------------------------------------------------------------------------------------

    def recv(self, size: int, flags: int = 0) -> bytes:
        buffer = bytearray(size)
        return bytes(buffer[: self.recv_into(memoryview(buffer), 0, flags)])

    def recv_into(self, buffer: memoryview, _size: int = 0, flags: int = 0) -> int:
        self._check()
        end = self.end
        self.network.call("receive", end)
        if not end.readable:
            if flags & socket.MSG_DONTWAIT or self._seconds == 0.0:
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
            if not self.network.scheduler.wait(lambda: end.readable, self._seconds):
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")  # as SO_RCVTIMEO has it
        if end.inbox:
            size = self.network.some(min(len(buffer), len(end.inbox)))
            buffer[:size] = end.inbox[:size]
            del end.inbox[:size]
            if end.peer is not None and end.peer.starved:
                end.peer.starved, end.peer.edges = False, end.peer.edges + 1
            return size
        if end.reset and not end.told:
            end.told = True
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        return 0

    def send(self, data: bytes | bytearray | memoryview) -> int:
        self._check()
        end = self.end
        self.network.call("send", end)
        peer = end.peer
        if peer is None:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        if not self.writable:
            end.starved = True
            if self._seconds == 0.0 or not self.network.scheduler.wait(lambda: self.writable, self._seconds):
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        if end.reset:
            if not end.told:
                end.told = True
                raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        size = self.network.some(min(len(data), self.network.window - len(peer.inbox)))
        if peer.closed:
            end.reset, end.edges = True, end.edges + 1  # nobody is there: these bytes are answered with a reset
        else:
            peer.inbox += bytes(data[:size])
            peer.edges += 1
        return size

    def shutdown(self, how: int) -> None:
        self._check()
        if how in (socket.SHUT_RD, socket.SHUT_RDWR):
            self.end.deaf, self.end.edges = True, self.end.edges + 1
        if how in (socket.SHUT_WR, socket.SHUT_RDWR) and self.end.peer is not None:
            self.end.peer.finished, self.end.peer.edges = True, self.end.peer.edges + 1

    def close(self) -> None:
        if self._descriptor < 0:
            return
        del self.network.sockets[self._descriptor]
        self._descriptor = -1
        self.end.handles -= 1
        if self._listening is not None:
            self.network.listening.pop(self.end.address[1], None)
            for waiting, _ in self._listening:
                waiting.close()
        if self.end.closed:
            self.end.close()


class Poll:
    """``select.poll``."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._registered: list[int] = []

    def register(self, one: int | Socket, _events: int) -> None:
        self._registered.append(one if isinstance(one, int) else one.fileno())

    def poll(self, milliseconds: float | None = None) -> list[tuple[int, int]]:
        sockets, scheduler = self._network.sockets, self._network.scheduler

        def ready() -> list[tuple[int, int]]:
            return [(n, select.POLLIN) for n in self._registered if n in sockets and sockets[n].readable]

        scheduler.pause()
        if milliseconds == 0:
            return ready()
        scheduler.wait(lambda: bool(ready()), None if milliseconds is None else milliseconds / 1000)
        return ready()


class Epoll:
    """``select.epoll``, edge-triggered."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._seen: dict[int, tuple[Socket, int]] = {}

    def register(self, one: Any, _events: int) -> None:
        descriptor = one.fileno()
        if descriptor < 0:
            raise ValueError("file descriptor cannot be a negative integer")
        if descriptor in self._seen and self._seen[descriptor][0] is self._network.sockets[descriptor]:
            raise FileExistsError(errno.EEXIST, "File exists")
        self._seen[descriptor] = (self._network.sockets[descriptor], -1)

    def unregister(self, one: Any) -> None:
        descriptor = one.fileno()
        if descriptor < 0:
            raise ValueError("file descriptor cannot be a negative integer")
        if self._seen.pop(descriptor, None) is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    def _changed(self) -> list[int]:
        sockets = self._network.sockets
        return [n for n, (one, edges) in self._seen.items() if sockets.get(n) is one and one.end.edges != edges]

    def poll(self) -> list[tuple[int, int]]:
        scheduler = self._network.scheduler
        scheduler.pause()
        scheduler.wait(lambda: bool(self._changed()))
        result = []
        for descriptor in self._changed():
            one = self._seen[descriptor][0]
            self._seen[descriptor] = (one, one.end.edges)
            end = one.end
            events = (select.EPOLLIN if one.readable else 0) | (select.EPOLLOUT if one.writable else 0)
            if end.finished or end.deaf:
                events |= select.EPOLLRDHUP
            if end.reset:
                events |= select.EPOLLHUP | select.EPOLLERR
            result.append((descriptor, events))
        return result

    def close(self) -> None:
        self._seen.clear()
