"""Our Storage SCP in a retrieve: the port, and the request that each object belongs to (PS3.4 annex B).

The port opens before the first request and serves any number of concurrent requests. An object belongs to the ``Round``
that requested it: the only round; else the one that wants its SOP Instance UID; else, without an inventory, the one
with the sender's Move Originator Message ID (PS3.7 9.1.1.1). What arrives over the association of a C-GET belongs to
its round (``scp_of``). The target of the round stores it. Without a port, and without C-GET, no object arrives and none
is counted.
"""

from __future__ import annotations

import contextlib
from collections import deque
from functools import partial

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu.dictionary.uids import VERIFICATION, may_be_storage, storage_classes
from movescu.dimse.status import SUCCESS
from movescu.errors import NotRequestedError, StoreError
from movescu.retrieve.belonging import PlaceReader
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

_ENDED: Final = 32  # ended rounds that late objects may belong to
_UNCLAIMED: Final = 10_000


class StorageServer:
    """Serves storage associations while open.

    ``observer``: notified of objects whose round has no observer. ``side_by_side``: serve each association in a thread
    of its own, as a program or an observer may block on an object.
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
        self._only_requested = config.receive is not None and config.receive.only_requested
        self._tls = tls
        self._observer = observer
        self._side_by_side = side_by_side
        self.target: Target | None = None
        """Stores objects whose round has no target; None to refuse them."""
        self.tally = Tally()
        """Objects of all rounds."""
        self._ended: deque[Round] = deque(maxlen=_ENDED)
        """Rounds that ended without all of the objects that they wanted."""
        self.unclaimed: set[str] = set()
        """SOP instance UIDs of stored objects that no running retrieve had requested; at most 10,000."""
        self._rounds: tuple[Round, ...] = ()
        self._archive_addresses: set[str] = set()
        self._changing = clock.Lock()
        self._scp: StorageSCP | None = None
        self._serving = clock.Lock()
        self.listener: Listener | None = None

    def open(self) -> None:
        """Open the port, if configured. Raise ``ListenError`` if that fails."""
        own, config = self._config.receive, self._config
        if own is None or own.port is None or self.listener is not None:
            return
        from movescu.transport.listener import Listener  # late: needed to receive alone
        from movescu.transport.sockets import listen

        prepare = self._prepare(own)
        self.listener = Listener(
            listen(own.address, own.port, config.request.ip),
            self._serve,
            maximum_associations=own.maximum_associations,
            maximum_length=config.request.maximum_length,
            artim_timeout=config.timeouts.acse or 30.0,
            prepare=prepare,
            is_trusted=self._archive_addresses.__contains__,
        )
        _log.info("listening on port %d", self.listener.port)

    def prepare(self) -> None:
        """Load the Storage SCP, if there is a port; call while the archive works on a request."""
        if self._config.receive is not None:
            self._storage_scp(self._config.receive)
            for target in self._targets():
                target.prepare()

    def note_archive(self, address: str) -> None:
        """Record an address of the archive: its associations never make room for others."""
        self._archive_addresses.add(address.removeprefix("::ffff:"))

    def _storage_scp(self, own: Receive) -> StorageSCP:
        """Return the Storage SCP; make it on first use."""
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
        """Return the receiver of an object: its target's, shown to watching observers."""
        self._check_requested(incoming)
        one = self.round_of(incoming) if self._rounds else None
        receiver = self._receiver_in(one, incoming)
        if self._only_requested:
            is_placed = any(other.depends_on_place(incoming) for other in self._rounds)
        else:
            is_placed = one is not None and one.depends_on_place(incoming)
        if is_placed:
            receiver = PlaceReader(incoming, receiver, self._check_requested)
        observer = self._observer_of(one)
        return receiver if observer is None else observer.watched(incoming, receiver)

    def _receiver_in(self, one: Round | None, incoming: Incoming) -> ObjectReceiver:
        target = self.target if one is None or one.target is None else one.target
        if target is None:
            raise StoreError("no running retrieve requested the object")
        return target.receiver(incoming)

    def _is_requested(self, incoming: Incoming) -> bool:
        """Return True if a running request named an object: by the list, else as its ``belonging`` decides."""
        uid = incoming.sop_instance_uid
        return any(one.belonging.has(incoming) if one.wanted is None else uid in one.wanted for one in self._rounds)

    def _check_requested(self, incoming: Incoming) -> None:
        """Raise ``NotRequestedError`` for an object to be refused, as far as is known of it."""
        if self._only_requested and not self._is_requested(incoming):
            raise _not_requested(incoming)

    def _observer_of(self, one: Round | None) -> Observer | None:
        return self._observer if one is None or one.observer is None else one.observer

    def _serve(self, connection: Connection, request: AssociateRQ) -> None:
        """Serve an association; notify the observer of its start and end unless it is rejected."""
        assert self._config.receive is not None  # the listener calls this
        scp = self._storage_scp(self._config.receive)
        observed: AbstractContextManager[None] = contextlib.nullcontext()
        if self._observer is not None and (reply := scp.answer(request)) is not None:
            observed = self._observer.storage(connection, request, reply)
        with observed:
            scp.serve(connection, request)

    def _prepare(self, own: Receive) -> Callable[[Transport, Deadline], None] | None:
        """Return a function that checks and secures a connection before its association request, None without steps."""
        steps: list[Callable[[Transport, Deadline], None]] = []
        if own.accept_from:
            from movescu.transport.access.addresses import AllowedHosts  # late: few name hosts

            steps.append(AllowedHosts(own.accept_from, self._config.timeouts.connect))
        if own.access_rules:
            from movescu.transport.access.guard import Guard  # late: needed for access rules alone

            steps.append(Guard(host_lookup=own.host_lookup))
        if self._tls is not None:
            steps.append(self._tls.secure_accepted)

        def prepare(transport: Transport, deadline: Deadline) -> None:
            for step in steps:
                step(transport, deadline)

        return prepare if steps else None

    # -- objects -------------------------------------------------------------------------------------------------------

    def end(self, one: Round, then: Round | None = None) -> None:
        """Stop counting for a round, if it counts; ``then``: start counting for this one at the same moment."""
        with self._changing:
            rest = tuple(other for other in self._rounds if other is not one)
            self._rounds = rest if then is None else (*rest, then)
            if then is None and one.wanted is not None and not (one.satisfied is not None and one.satisfied()):
                self._ended.append(one)
            one.satisfied = None  # it refers to what refers to the round: freed without the collector

    def tally_of(self, row: int) -> Tally:
        """Return the tally of a running entry; an empty one if it does not run."""
        totals = (one.total for one in self._rounds if one.row == row)
        return next((total for total in totals if total is not None), Tally())

    def round_of(self, incoming: Incoming) -> Round | None:
        """Return the round that an object belongs to, None if unknown."""
        rounds, request = self._rounds, incoming.request
        if not rounds:
            return None
        if len(rounds) == 1:
            [only] = rounds
            if only.wanted is None:
                return only
            uid = request.affected_sop_instance_uid
            return None if uid not in only.wanted and self._is_late(uid) else only
        uid, message_id = request.affected_sop_instance_uid, request.move_originator_message_id
        named = [one for one in rounds if one.wanted is not None and uid in one.wanted]
        numbered = (one for one in named or rounds if message_id in one.message_ids)
        return next(numbered, named[0] if named else None)

    def _is_late(self, uid: str) -> bool:
        """Return True if a round that has ended still lacks an object: no other may count it as its own."""
        return any(one.wanted is not None and uid in one.wanted for one in self._ended)

    def _own_receiver(self, one: Round, incoming: Incoming) -> ObjectReceiver:
        """Return the receiver of an object on the association of its request (C-GET)."""

        def check(incoming: Incoming) -> None:
            uid = incoming.sop_instance_uid
            named = one.belonging.has(incoming, is_own=True) if one.wanted is None else uid in one.wanted
            if self._only_requested and not named:
                raise _not_requested(incoming)

        receiver = self._receiver_in(one, incoming)
        if one.belonging.is_placed:
            return PlaceReader(incoming, receiver, check)
        check(incoming)
        return receiver

    def scp_of(self, one: Round, within: Deadline, wanted: set[str] | None = None) -> StorageSCP:
        """Return the Storage SCP of a C-GET: all that arrives over its association belongs to its round.

        ``within``: the limit on the archive within a message. ``wanted``: SOP instance UIDs to store again, less
        those that were; other objects that have arrived before are dropped. Default: None, all are stored.
        """
        from movescu.services.store import StorageSCP

        def drops(incoming: Incoming) -> bool:
            uid = incoming.request.affected_sop_instance_uid
            return wanted is not None and uid not in wanted and one.has_seen(uid)

        def receiver(incoming: Incoming) -> ObjectReceiver:
            if drops(incoming):
                from movescu.storage.receiver import IgnoringReceiver

                return IgnoringReceiver()
            made, observer = self._own_receiver(one, incoming), self._observer_of(one)
            return made if observer is None else observer.watched(incoming, made)

        def received(received: Received) -> None:
            if not (drops(received.incoming) or isinstance(received.error, NotRequestedError)):
                self._count(received, one, is_own=True)
                if wanted is not None and received.status == SUCCESS:
                    wanted.discard(received.incoming.request.affected_sop_instance_uid)

        def responded() -> None:
            if (target := one.target or self.target) is not None:
                target.expect_next()

        assert self._config.receive is not None  # checked with the configuration
        policy = _policy(self._config, self._config.receive)
        broken_off = partial(self._count_broken_off, one=one)
        return StorageSCP(
            policy,
            receiver,
            received,
            on_broken_off=broken_off,
            on_responded=responded,
            side_by_side=True,
            store_timeout=within,
        )

    def _received(self, received: Received) -> None:
        if not isinstance(received.error, NotRequestedError):  # a stranger's object is no failure of the retrieve
            self._count(received, self.round_of(received.incoming) if self._rounds else None)

    def _count(self, received: Received, one: Round | None, *, is_own: bool = False) -> None:
        self.tally.count(received)
        if one is not None:
            one.count(received, is_own=is_own)
        elif received.status == SUCCESS and len(self.unclaimed) < _UNCLAIMED:
            self.unclaimed.add(received.incoming.request.affected_sop_instance_uid)
        if (observer := self._observer_of(one)) is not None:
            observer.received(received, None if one is None else one.row)

    def _broken_off(self, incoming: Incoming) -> None:
        if not self._only_requested or self._is_requested(incoming):
            self._count_broken_off(incoming, self.round_of(incoming) if self._rounds else None)

    def _count_broken_off(self, incoming: Incoming, one: Round | None) -> None:
        self.tally.count_broken_off(incoming)
        if one is not None:
            one.count_broken_off(incoming)
        if (observer := self._observer_of(one)) is not None:
            observer.broken_off(incoming, None if one is None else one.row)

    # -- state ---------------------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """Number of our port, 0 without one."""
        return self.listener.port if self.listener is not None else 0

    @property
    def last_activity(self) -> float:
        """When a byte last arrived on a storage association, on the monotonic clock; 0 for never."""
        return self.listener.last_activity if self.listener is not None else 0.0

    @property
    def rejected(self) -> tuple[RejectedClass, ...]:
        """SOP classes with presentation contexts that we did not accept."""
        return self.rejected_since(0.0)

    def rejected_since(self, when: float) -> tuple[RejectedClass, ...]:
        """Return those that we did not accept since a time on the monotonic clock."""
        if self._scp is None:
            return ()
        return tuple(one for one, last in (*self._scp.rejected.items(),) if last >= when)

    @property
    def was_reached(self) -> bool:
        """Whether anyone has connected in order to store: requested an association for that, or been turned away."""
        return self.has_turned_away or (self._scp is not None and self._scp.requested > 0)

    @property
    def has_turned_away(self) -> bool:
        """Whether we have refused a connection, or an association; the log has the reason."""
        refused = self._scp is not None and self._scp.refused > 0
        return refused or (self.listener is not None and bool(self.listener.turned_away))

    def wake(self) -> None:
        """Wake every thread that waits for a change of the listener."""
        if self.listener is not None:
            with self.listener.changed:
                self.listener.changed.notify_all()

    def close(self) -> None:
        """Close the port: a later object would be neither counted nor flushed."""
        if self.listener is not None:
            self.listener.close()


def _not_requested(incoming: Incoming) -> NotRequestedError:
    return NotRequestedError(
        f"no running request named it ({incoming.calling_ae_title} sent it)",
        hint="without --only-requested it is stored",
    )


def _policy(config: Config, own: Receive) -> AcceptorPolicy:
    from movescu.ul.negotiation import AcceptorPolicy  # late: see prepare()

    # Stripped, like the titles of a request: surrounding spaces are not significant (PS3.8 table 9-11).
    called = frozenset((config.move_destination.strip(),)) if own.require_called_ae_title else frozenset[str]()
    return AcceptorPolicy(
        _storage_policy(own),
        own.accepted,
        config.request.maximum_length,
        calling_ae_titles=frozenset(own.calling_ae_titles),
        called_ae_titles=called,
    )


def _storage_policy(own: Receive) -> Callable[[str], bool]:
    classes = storage_classes()
    return lambda uid: uid in classes or uid == VERIFICATION or (own.accept_unknown and may_be_storage(uid))
