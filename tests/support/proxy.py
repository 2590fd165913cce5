"""A TCP proxy that is a bad network: it splits, delays, cuts, resets, half-closes and stalls.

Each direction of each connection has a ``Way``: how the bytes are handed on, and what happens after so many of them.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = "127.0.0.1"
_PATIENCE = 20.0
_BLOCK = 1 << 16


class Way(NamedTuple):
    """One direction. ``split``: bytes of a piece, 0 as they come. ``delay``: seconds before each piece.

    ``end`` happens when ``after`` bytes have gone through: ``close`` and ``reset`` end both connections, ``half-close``
    this direction, ``stall`` lets nothing more through, in either direction, and closes nothing.
    """

    split: int = 0
    delay: float = 0.0
    after: int = -1
    end: str = "close"


PLAIN = Way()


class Proxy:
    """Hands on what comes to ``port`` to another port of this machine; a context manager.

    ``there``: from the one that connects to the other, ``back``: the other direction.
    """

    def __init__(self, target: int, there: Way = PLAIN, back: Way = PLAIN) -> None:
        self._target, self._there, self._back = target, there, back
        self._listening = socket.create_server((HOST, 0))
        self.port: int = self._listening.getsockname()[1]
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self.passed = [0, 0]
        """Bytes that went there and back, over all connections."""

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for sock in list(self._sockets):
            _shut(sock)
        for thread in self._threads:
            thread.join(_PATIENCE)
            assert not thread.is_alive(), "a proxy hangs"
        for sock in self._sockets:
            sock.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="proxy")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            try:
                far = socket.create_connection((HOST, self._target), _PATIENCE)
            except OSError:
                near.close()
                continue
            for sock in (near, far):
                sock.settimeout(_PATIENCE)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [near, far]
            if self._closing.is_set():  # since it connected: this may be too late for the one who closes
                for sock in (near, far):
                    _shut(sock)
            connection = _Connection()
            self._start(self._pass, near, far, self._there, 0, connection)
            self._start(self._pass, far, near, self._back, 1, connection)

    def _pass(self, source: socket.socket, sink: socket.socket, way: Way, number: int, connection: _Connection) -> None:
        try:
            self._hand_on(source, sink, way, number, connection)
        finally:
            connection.left[number].set()

    def _hand_on(
        self, source: socket.socket, sink: socket.socket, way: Way, number: int, connection: _Connection
    ) -> None:
        passed, stalled = 0, connection.stalled
        with suppress(OSError):
            while data := source.recv(_BLOCK):
                if stalled.is_set():
                    continue
                size = way.split or len(data)
                for start in range(0, len(data), size):
                    piece = data[start : start + size]
                    if 0 <= way.after < passed + len(piece):
                        sink.sendall(piece[: way.after - passed])
                        self._end(source, sink, way.end, number, connection)
                        return
                    if way.delay:
                        self._closing.wait(way.delay)
                    sink.sendall(piece)
                    passed += len(piece)
                    self.passed[number] += len(piece)
        if not stalled.is_set():
            with suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

    def _end(self, source: socket.socket, sink: socket.socket, end: str, number: int, connection: _Connection) -> None:
        if end == "stall":
            connection.stalled.set()
            _drain(source)
        elif end == "half-close":
            sink.shutdown(socket.SHUT_WR)
            _drain(source)
        elif end == "reset":
            connection.stalled.set()  # no FIN goes before it
            connection.left[number].set()
            for sock in (source, sink):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RD)  # the thread of the other direction lets go of it
            connection.left[1 - number].wait(_PATIENCE)  # or it would read from another socket of the same number
            source.close()
            sink.close()
        else:
            _shut(source)
            _shut(sink)


class _Connection:
    """What both directions know. ``stalled``: nothing more goes through. ``left``: which no longer use the sockets."""

    def __init__(self) -> None:
        self.stalled = threading.Event()
        self.left = threading.Event(), threading.Event()


def _drain(sock: socket.socket) -> None:
    with suppress(OSError):
        while sock.recv(_BLOCK):
            pass


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
