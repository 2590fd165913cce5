"""Our own storage SCP in a retrieve: the port, and the request that each incoming object belongs to (PS3.4 annex B).

Open before anything is requested, and over as many requests, side by side, as are made. What arrives belongs to the
``Round`` that asked for it: to the only one there is; else to the one that wants it by its SOP Instance UID; where such
lists are not to be had, to the one whose message ID the sender gives as the Move Originator's (PS3.7 9.1.1.1). It goes
to the target of that round. Without a port of our own nothing arrives, and nothing is counted.
"""

from __future__ import annotations

import contextlib
import threading

from movescu._runtime.late_log import logger_of
from movescu.dictionary.uids import VERIFICATION, may_be_storage, storage_classes
from movescu.errors import StoreError
from movescu.retrieve.stragglers import shortest
from movescu.retrieve.tally import Round, Tally

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Final

    from movescu.retrieve.config import Config, Receive
    from movescu.retrieve.observer import Observer
    from movescu.services.store import Received, StorageSCP
    from movescu.storage.incoming_object import Incoming, ObjectReceiver
    from movescu.storage.target import Target
    from movescu.transport.connection import Connection
    from movescu.transport.deadlines import Deadline
    from movescu.transport.listener import Listener
    from movescu.transport.sockets import Transport
    from movescu.transport.tls import TLS
    from movescu.ul.negotiation import AcceptorPolicy, RejectedClass
    from movescu.ul.pdu import AssociateRQ

_log: Final = logger_of("movescu.retrieve")


class StorageServer:
    """Serves storage associations, for as long as it is open.

    ``observer`` is told of what belongs to no round that has one. ``side_by_side``: no association is served in the
    thread of another, for what a program or an observer does with an object may wait for anything.
    """

    def __init__(
        self,
        config: Config,
        *,
        tls: TLS | None = None,
        observer: Observer | None = None,
        side_by_side: bool = False,
    ) -> None:
        self._config = config
        self._tls = tls
        self._observer = observer
        self._side_by_side = side_by_side
        self.target: Target | None = None
        """Where objects go whose round has no target of its own; None to refuse them."""
        self.tally = Tally()
        """Of all that arrived."""
        self._rounds: tuple[Round, ...] = ()
        self._changing = threading.Lock()
        self._scp: StorageSCP | None = None
        self._serving = threading.Lock()
        self.listener: Listener | None = None

    def open(self) -> None:
        """Open the port, where there is one. Raises ``ListenError``."""
        own, config = self._config.receive, self._config
        if own is None or self.listener is not None:
            return
        from movescu.transport.listener import Listener  # for those alone who have a port
        from movescu.transport.sockets import listen

        self.listener = Listener(
            listen(own.address, own.port, config.request.ip),
            self._serve,
            maximum_associations=own.maximum_associations,
            maximum_length=config.request.maximum_length,
            artim_timeout=config.timeouts.acse or 30.0,
            prepare=self._prepare(own),
        )
        _log.info("listening on port %d", self.listener.port)

    def prepare(self) -> None:
        """Load what serves storage associations, if there is a port: best done while the archive is at work."""
        if self._config.receive is not None:
            self._storage_scp(self._config.receive)
            for target in self._targets():
                target.prepare()

    def _storage_scp(self, own: Receive) -> StorageSCP:
        """Return what serves storage associations, made when it is first needed."""
        with self._serving:
            if self._scp is None:
                self._scp = self._make_scp(own)
            return self._scp

    def _make_scp(self, own: Receive) -> StorageSCP:
        from movescu.services.store import StorageSCP

        timeouts = self._config.timeouts
        return StorageSCP(
            _policy(self._config, own),
            self._receiver,
            self._received,
            on_broken_off=self._broken_off,
            side_by_side=self._side_by_side,
            on_responded=self._expect_next,
            store_timeout=shortest(timeouts.store, timeouts.dimse),
        )

    def _targets(self) -> Iterator[Target]:
        if self.target is not None:
            yield self.target
        for one in self._rounds:
            if one.target is not None:
                yield one.target

    def _expect_next(self) -> None:
        if self._rounds and (target := self._rounds[-1].target) is not None:
            target.expect_next()

    def _receiver(self, incoming: Incoming) -> ObjectReceiver:
        """Return what receives an object: the target of its round, watched by whoever observes."""
        one = self.round_of(incoming) if self._rounds else None
        target = self.target if one is None or one.target is None else one.target
        if target is None:
            raise StoreError("no retrieve that is under way asked for the object")
        receiver, observer = target.receiver(incoming), self._observer_of(one)
        return receiver if observer is None else observer.watched(incoming, receiver)

    def _observer_of(self, one: Round | None) -> Observer | None:
        return self._observer if one is None or one.observer is None else one.observer

    def _serve(self, connection: Connection, request: AssociateRQ) -> None:
        """Serve an association; have its begin and end told, if it is not rejected."""
        assert self._config.receive is not None  # there is a listener
        scp = self._storage_scp(self._config.receive)
        observed: AbstractContextManager[None] = contextlib.nullcontext()
        if self._observer is not None and (reply := scp.answer(request)) is not None:
            observed = self._observer.storage(connection, request, reply)
        with observed:
            scp.serve(connection, request)

    def _prepare(self, own: Receive) -> Callable[[Transport, Deadline], None] | None:
        """Return what is done with a connection before it may ask for an association, None for nothing."""
        steps: list[Callable[[Transport, Deadline], None]] = []
        if own.access_rules:
            from movescu.transport.access.guard import Guard  # for those alone who ask for it

            steps.append(Guard(host_lookup=own.host_lookup))
        if self._tls is not None:
            steps.append(self._tls.secure_accepted)

        def prepare(transport: Transport, deadline: Deadline) -> None:
            for step in steps:
                step(transport, deadline)

        return prepare if steps else None

    # -- what arrives --------------------------------------------------------------------------------------------------

    def begin(self, one: Round) -> None:
        """Have what arrives counted for a round too."""
        with self._changing:
            self._rounds = (*self._rounds, one)

    def end(self, one: Round, then: Round | None = None) -> None:
        """Have nothing more counted for a round, but for the one that follows it."""
        with self._changing:
            rest = tuple(other for other in self._rounds if other is not one)
            self._rounds = rest if then is None else (*rest, then)

    def round_of(self, incoming: Incoming) -> Round | None:
        """Return the round to which an object belongs, None if that is not known."""
        rounds, request = self._rounds, incoming.request
        if len(rounds) <= 1:
            return rounds[0] if rounds else None
        uid, message_id = request.affected_sop_instance_uid, request.move_originator_message_id
        named = [one for one in rounds if one.wanted is not None and uid in one.wanted]
        numbered = (one for one in named or rounds if message_id in one.message_ids)
        return next(numbered, named[0] if named else None)

    def _received(self, received: Received) -> None:
        self.tally.count(received)
        one = self.round_of(received.incoming) if self._rounds else None
        if one is not None:
            one.count(received)
        if (observer := self._observer_of(one)) is not None:
            observer.received(received, None if one is None else one.row)

    def _broken_off(self, incoming: Incoming) -> None:
        self.tally.count_broken_off(incoming)
        one = self.round_of(incoming) if self._rounds else None
        if one is not None:
            one.count_broken_off(incoming)
        if (observer := self._observer_of(one)) is not None:
            observer.broken_off(incoming, None if one is None else one.row)

    # -- the rest ------------------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """Our port, 0 if there is none."""
        return self.listener.port if self.listener is not None else 0

    @property
    def last_activity(self) -> float:
        """When a byte last arrived over a storage association, on the monotonic clock, 0 for never."""
        return self.listener.last_activity if self.listener is not None else 0.0

    @property
    def rejected(self) -> tuple[RejectedClass, ...]:
        """The SOP classes of which presentation contexts were not accepted."""
        return tuple(self._scp.rejected) if self._scp is not None else ()

    def wake(self) -> None:
        """Wake whoever waits for a change of the listener."""
        if self.listener is not None:
            with self.listener.changed:
                self.listener.changed.notify_all()

    def close(self) -> None:
        """Close the port: what would arrive later would be in no count, and not flushed."""
        if self.listener is not None:
            self.listener.close()


def _policy(config: Config, own: Receive) -> AcceptorPolicy:
    from movescu.ul.negotiation import AcceptorPolicy  # see prepare()

    # As titles are read from a request: without the blanks around them (PS3.8 table 9-11).
    called = frozenset((config.move_destination.strip(),)) if own.require_called_ae_title else frozenset[str]()
    return AcceptorPolicy(
        _storage_policy(own),
        own.transfer_syntaxes,
        config.request.maximum_length,
        calling_ae_titles=frozenset(own.calling_ae_titles),
        called_ae_titles=called,
    )


def _storage_policy(own: Receive) -> Callable[[str], bool]:
    classes = storage_classes()
    return lambda uid: uid in classes or uid == VERIFICATION or (own.accept_unknown and may_be_storage(uid))
