"""The listener: accepts connections (PS3.8 9.1.3) and serves the association of each in a thread of its own.

Connections without an association are counted apart from associations, so that idle sockets do not keep senders out:
ARTIM ends them, beyond ``MAXIMUM_UNASSOCIATED`` the oldest is closed, and beyond ``MAXIMUM_HELD`` the one that holds
most. Beyond ``maximum_associations`` the oldest one that never sent anything makes room; without one, the request is
rejected, transiently, as local limit exceeded (PS3.8 table 9-21). The service itself is the caller's.

Nothing that fails here ends the accepting: not a lack of descriptors, memory or threads, and not a module that cannot
be loaded because of one. What could not be accepted waits in the backlog.
"""

from __future__ import annotations

import errno
import os
from functools import partial

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu.errors import MovescuError, ProtocolError
from movescu.transport import network
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Deadline
from movescu.transport.oddities import Oddities
from movescu.transport.sockets import Transport
from movescu.ul.association import Association
from movescu.ul.pdu import AssociateRJ

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Final

    from movescu.ul.pdu import AssociateRQ

_log: Final = logger_of("movescu.net")

MAXIMUM_UNASSOCIATED: Final = 256
"""Limit of connections whose A-ASSOCIATE-RQ has not arrived."""

MAXIMUM_HELD: Final = 16 << 20
"""Bytes. Limit of what such connections hold of their requests, in sum."""

LOCAL_LIMIT_EXCEEDED: Final = AssociateRJ(result=2, source=3, reason=2)

_MOST_TURNED_AWAY: Final = 256
"""Limit of the refusals remembered; further ones are not logged."""

_JOIN_SECONDS: Final = 5.0

_OTHER_DESCRIPTORS: Final = 48  # of the program, beside those of connections and their files
_FEWEST_UNASSOCIATED: Final = 8

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_EXHAUSTED_PAUSE: Final = 0.2  # seconds until the next attempt to accept, when descriptors or memory are exhausted


class Listener:
    """Accepts connections on a listening socket and serves their associations.

    ``serve(connection, request)`` answers the request and serves the association, in a thread of its own.
    ``maximum_associations``: at the same time. Default: 64. ``maximum_length``: bytes of the longest P-DATA-TF.
    Default: 16384. ``artim_timeout``: seconds until the A-ASSOCIATE-RQ has to arrive. Default: 30. ``prepare``: called
    with each connection before anything is read from it; an error that it raises closes the connection, and nothing is
    sent. ``changed`` is notified when an association, or a connection without one, has ended. ``is_trusted``: whether
    associations of a host's address never make room for others. Default: those of no host do.
    """

    def __init__(
        self,
        sock: socket.socket,
        serve: Callable[[Connection, AssociateRQ], None],
        *,
        maximum_associations: int = 64,
        maximum_length: int = 16384,
        artim_timeout: float = 30.0,
        prepare: Callable[[Transport, Deadline], None] | None = None,
        is_trusted: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._socket = sock
        self._serve = serve
        self._maximum_associations = maximum_associations
        self._maximum_length = maximum_length
        self._artim_timeout = artim_timeout
        self._prepare = prepare
        self._is_trusted = is_trusted
        self._maximum_unassociated = _most_unassociated(maximum_associations)
        self.changed = clock.Condition()
        self._associated: dict[Connection, None] = {}
        self._unassociated: dict[Connection, int] = {}  # bytes that each holds of its request
        self._threads: set[clock.Thread] = set()
        self._closing = clock.Event()
        self._closed = False
        self._oddities = Oddities()
        self._last_activity = 0.0  # of associations that have ended
        self.turned_away: dict[tuple[str, str], None] = {}
        """Addresses whose connections were refused before an association request, each with the reason."""
        self._port = int(sock.getsockname()[1])
        self._wake, self._wakened = network.socketpair()
        self._accepting = clock.Thread(target=self._accept, name="movescu-listener", daemon=True)
        self._accepting.start()

    @property
    def port(self) -> int:
        """The local port."""
        return self._port

    @property
    def open_associations(self) -> tuple[Connection, ...]:
        """The open associations; read it with ``changed`` held."""
        return tuple(self._associated)

    @property
    def unassociated(self) -> int:
        """The number of connections without an association."""
        return len(self._unassociated)

    @property
    def last_activity(self) -> float:
        """When the last byte arrived over an association that carries objects, on the monotonic clock, 0 for never.

        An association without any, as for C-ECHO, is no sign of life of the archive. Now, while such an association is
        served: a peer that this side keeps waiting is not silent.
        """
        with self.changed:
            now = clock.now()
            of_open = (c.last_activity if c.waiting else now for c in self._associated if c.has_carried_objects)
            return max(self._last_activity, *of_open, 0.0)

    def close(self) -> None:
        """Stop accepting, interrupt all connections, and wait a few seconds at most for their threads.

        May be called again, to complete a call that an exception from a signal handler ended.
        """
        if self._closed:
            return
        self._closing.set()
        self._wake.send(b"\0")
        self._accepting.join()
        with self.changed:
            for connection in (*self._unassociated, *self._associated):
                connection.interrupt("the listener is closed")
            threads = tuple(self._threads)
        until = clock.now() + _JOIN_SECONDS
        for thread in threads:
            thread.join(max(until - clock.now(), 0.0))
        self._closed = True
        for sock in (self._socket, self._wake, self._wakened):
            sock.close()

    def _accept(self) -> None:
        # A second descriptor wakes the loop: closing a socket does not wake a thread that waits on it.
        self._socket.setblocking(False)  # noqa: FBT003 - the standard library's signature
        poll = network.poll()
        poll.register(self._socket, network.POLLIN)
        poll.register(self._wakened, network.POLLIN)
        while True:
            try:
                poll.poll()
                if self._closing.is_set():
                    return
                self._accept_one()
            except Exception as error:  # noqa: BLE001 - the port stays open, whatever one connection meets
                self._closing.wait(_EXHAUSTED_PAUSE)
                _log.warning("cannot accept a connection: %s", error)

    def _accept_one(self) -> None:
        try:
            sock, address = self._socket.accept()
        except OSError as error:
            _log.warning("cannot accept a connection: %s", error.strerror)
            if error.errno in _EXHAUSTED:  # the connection still waits: without a pause the loop would spin
                with self.changed:
                    self._close_oldest("out of descriptors or memory")
                self._closing.wait(_EXHAUSTED_PAUSE)
            return
        try:
            self._start(sock, address)
        except BaseException:  # no memory: the peer is not left waiting
            sock.close()
            raise

    def _start(self, sock: socket.socket, address: tuple[str, int]) -> None:
        """Serve a connection in a thread of its own."""
        transport = Transport(sock, f"{address[0]} port {address[1]}")
        association = Association(maximum_length=self._maximum_length)
        connection = Connection(transport, association, self._oddities)
        association.on_growth = partial(self._hold, connection)
        thread = clock.Thread(target=self._run, args=(connection, transport), name="movescu-association", daemon=True)
        with self.changed:
            if len(self._unassociated) >= min(self._maximum_unassociated, MAXIMUM_UNASSOCIATED):
                self._close_oldest("too many connections without an association")
            self._unassociated[connection] = 0
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # the system's limit of threads
            _log.warning("cannot serve %s: %s", connection.peer, error)
            self._end(connection, thread)

    def _turn_away(self, address: str, error: MovescuError) -> bool:
        """Record a connection that is refused; return True for the first one of an address and a reason."""
        key = (address, str(error))
        is_new = key not in self.turned_away and len(self.turned_away) < _MOST_TURNED_AWAY
        if is_new:
            self.turned_away[key] = None
        return is_new

    def _close_oldest(self, why: str) -> None:
        """End the oldest connection without an association; call it with ``changed`` held."""
        if self._unassociated:
            oldest = next(iter(self._unassociated))
            del self._unassociated[oldest]  # its thread is about to end: the next connection interrupts another
            oldest.interrupt(why)

    def _hold(self, connection: Connection, size: int) -> None:
        """Record how much of its request a connection holds; beyond the limit, end those that hold most."""
        with self.changed:
            if connection not in self._unassociated:
                return
            self._unassociated[connection] = size
            while sum(self._unassociated.values()) > MAXIMUM_HELD:
                greediest = max(self._unassociated, key=self._unassociated.__getitem__)
                del self._unassociated[greediest]
                why = "incomplete association requests take too much memory"
                _log.warning("%s disconnected: %s", greediest.peer, why)
                greediest.interrupt(why)

    def _make_room(self) -> None:
        """End the oldest association that never sent anything; call it with ``changed`` held."""
        for connection in self._associated:
            has_sent = connection.has_carried_objects or connection.has_carried_echo
            if not has_sent and not self._is_trusted(_address_of(connection)):
                del self._associated[connection]  # as above
                _log.warning("association of %s ended: it sent nothing, and another needs its place", connection.peer)
                connection.interrupt("another association needs its place")
                return

    def _end(self, connection: Connection, thread: clock.Thread) -> None:
        connection.close()
        with self.changed:
            self._unassociated.pop(connection, None)
            if connection in self._associated:
                del self._associated[connection]
                if connection.has_carried_objects:
                    self._last_activity = clock.now()
            self._threads.discard(thread)
            self.changed.notify_all()

    def _run(self, connection: Connection, transport: Transport) -> None:
        until = Deadline(self._artim_timeout, "preparing a connection that a peer opened")
        try:
            if self._prepare is not None:
                self._prepare_one(transport, self._prepare, until)
            request = self._request_of(connection, transport, until.remaining() or 0.0)
            self._serve_one(connection, request)
        except MovescuError as error:
            _log.debug("%s: %s", connection.peer, error)
        except Exception:  # noqa: BLE001 - one association's failure must not end the others, and is logged whole
            _log.exception("unexpected exception while serving %s", connection.peer)
            connection.abort()
        finally:
            self._end(connection, clock.current_thread())

    def _prepare_one(
        self, transport: Transport, prepare: Callable[[Transport, Deadline], None], until: Deadline
    ) -> None:
        address = transport.peer_address  # unknown once the connection is closed
        try:
            prepare(transport, until)
        except MovescuError as error:  # logged by whoever raised it
            self._turn_away(address, error)
            raise

    def _request_of(self, connection: Connection, transport: Transport, seconds: float) -> AssociateRQ:
        address = transport.peer_address
        try:
            return connection.receive_request(seconds)
        except ProtocolError as error:
            if self._turn_away(address, error):  # a monitoring system may come again and again
                hint = f"; {error.hint}" if error.hint else ""
                _log.warning("connection from %s refused by this program: %s%s", connection.peer, error, hint)
            raise

    def _serve_one(self, connection: Connection, request: AssociateRQ) -> None:
        with self.changed:
            if len(self._associated) >= self._maximum_associations:
                self._make_room()
            full = len(self._associated) >= self._maximum_associations
            if not full:  # a rejected one still counts as a connection without an association
                self._unassociated.pop(connection, None)
                self._associated[connection] = None
        if full:
            limit = self._maximum_associations
            _log.warning("association of %s rejected: the limit of %d at a time is reached", connection.peer, limit)
            connection.reject(LOCAL_LIMIT_EXCEEDED)
        else:
            self._serve(connection, request)


def _most_unassociated(associations: int) -> int:
    """Return the number of connections that leave descriptors for so many associations and their files."""
    if not hasattr(os, "sysconf"):  # Windows has no such limit, but its select() takes 512 sockets
        return MAXIMUM_UNASSOCIATED
    room = os.sysconf("SC_OPEN_MAX") - 2 * associations - _OTHER_DESCRIPTORS
    return min(max(room, _FEWEST_UNASSOCIATED), MAXIMUM_UNASSOCIATED)


def _address_of(connection: Connection) -> str:
    return connection.peer.partition(" ")[0].removeprefix("::ffff:")
