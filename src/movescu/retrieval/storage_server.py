"""The receiving side of a retrieve: output directory, port, storage SCP, and the tally of what came.

Open before anything is asked for, and over as many requests, side by side, as are made. What comes belongs to the
``Round`` that asked for it: to the only one there is; else to the one that wants it by its SOP Instance UID; where
such lists are not to be had, to the one whose message ID the sender gives as the Move Originator's (PS3.7 9.1.1.1).
"""

from __future__ import annotations

import contextlib
import threading

from movescu._runtime.late_log import logger_of
from movescu.dictionary.uids import VERIFICATION, may_be_storage, storage_classes
from movescu.retrieval.result import Round, Tally
from movescu.retrieval.stragglers import shortest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Final

    from movescu.retrieval.config import RetrieveOptions
    from movescu.retrieval.observer import Observer
    from movescu.services.store import Received, StorageSCP
    from movescu.storage.incoming_object import Incoming, ObjectReceiver
    from movescu.storage.index.index import Index
    from movescu.storage.options import ListenOptions, StorageOptions
    from movescu.storage.writer import OutputDirectory
    from movescu.transport.connection import Connection
    from movescu.transport.deadlines import Deadline
    from movescu.transport.listener import Listener
    from movescu.transport.sockets import Transport
    from movescu.transport.tls import TLS
    from movescu.ul.negotiation import AcceptorPolicy, RejectedClass
    from movescu.ul.pdu import AssociateRQ

_log: Final = logger_of("movescu.retrieve")


class Reception:
    """Our own storage SCP, for as long as it is open; without a port of our own nothing comes, and nothing is counted.

    ``watch`` is given what receives an object, for each of them, and gives what takes its place. ``indexed``: what is
    whole in the output directory is known, in ``index``.
    """

    def __init__(
        self,
        options: RetrieveOptions,
        *,
        watch: Callable[[ObjectReceiver], ObjectReceiver] | None = None,
        tls: TLS | None = None,
        observer: Observer | None = None,
        indexed: bool = False,
    ) -> None:
        self._options = options
        self._watch = watch
        self._tls = tls
        self.observer = observer
        """What is told of all that comes; may be changed while nothing comes."""
        self._indexed = indexed
        self.index: Index | None = None
        """What is whole in the output directory, where that is to be known."""
        self.tally = Tally()
        """Of all that came."""
        self._rounds: tuple[Round, ...] = ()
        self._changing = threading.Lock()
        self._flushing = threading.Lock()
        self._directory: OutputDirectory | None = None
        self._scp: StorageSCP | None = None
        self._serving = threading.Lock()
        self.listener: Listener | None = None

    def open(self) -> None:
        """Open the output directory and the port, where there is one.

        Raises ``DirectoryNotFoundError``, ``DirectoryNotWritableError``, ``ListenError``.
        """
        own, options = self._options.listen, self._options
        if own is None:
            return
        from movescu.transport.listener import Listener  # for those alone who have a port, as all of this
        from movescu.transport.sockets import listen

        if own.storage.to_files:
            from movescu.storage.writer import OutputDirectory

            self._directory = OutputDirectory(own.storage.directory, own.storage.durability)
            self._directory.remove_leftovers()
            if self._indexed:
                self.index = _open_index(own.storage, self._directory.rely)
        self.listener = Listener(
            listen(own.address, own.port, options.ip),
            self._serve,
            maximum_associations=own.maximum_associations,
            maximum_length=options.maximum_length,
            artim_timeout=options.acse_timeout or 30.0,
            prepare=self._prepare(own),
        )
        _log.info("listening on port %d", self.listener.port)

    def prepare(self) -> None:
        """Load what serves storage associations, if there is a port: 20 ms, best spent while the archive is at work."""
        if self._options.listen is not None:
            self._storage_scp(self._options.listen)

    def _storage_scp(self, own: ListenOptions) -> StorageSCP:
        """Give what serves storage associations, made when it is first wanted."""
        with self._serving:
            if self._scp is None:
                self._scp = self._make_scp(own)
            return self._scp

    def _make_scp(self, own: ListenOptions) -> StorageSCP:
        from movescu.services.store import StorageSCP
        from movescu.storage.receiver import receiver_factory

        kept = {} if self.index is None else {"on_kept": self.index.add}
        return StorageSCP(
            _policy(self._options, own),
            self._watched(receiver_factory(own.storage, self._directory, **kept)),
            self._received,
            on_broken_off=self._broken_off,
            side_by_side=own.storage.sink is not None or self._watch is not None or self.observer is not None,
            on_responded=self._directory.prepare if self._directory is not None else lambda: None,
            store_timeout=shortest(self._options.store_timeout, self._options.dimse_timeout),
        )

    def _watched(self, factory: Callable[[Incoming], ObjectReceiver]) -> Callable[[Incoming], ObjectReceiver]:
        watch = self._watch

        def open_receiver(incoming: Incoming) -> ObjectReceiver:
            receiver = factory(incoming) if watch is None else watch(factory(incoming))
            return receiver if self.observer is None else self.observer.watched(incoming, receiver)

        return open_receiver

    def _serve(self, connection: Connection, request: AssociateRQ) -> None:
        """Serve an association; have its begin and end told, if it is not rejected."""
        assert self._options.listen is not None  # there is a listener
        scp = self._storage_scp(self._options.listen)
        observed: AbstractContextManager[None] = contextlib.nullcontext()
        if self.observer is not None and (reply := scp.answer(request)) is not None:
            observed = self.observer.storage(connection, request, reply)
        with observed:
            scp.serve(connection, request)

    def _prepare(self, own: ListenOptions) -> Callable[[Transport, Deadline], None] | None:
        """Give what has to be done with a connection before it may ask for an association, None for nothing."""
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

    # -- what comes ----------------------------------------------------------------------------------------------------

    def begin(self, one: Round) -> None:
        """Have what comes counted for a round too."""
        with self._changing:
            self._rounds = (*self._rounds, one)

    def end(self, one: Round, then: Round | None = None) -> None:
        """Have nothing more counted for a round, but for the one that follows it."""
        with self._changing:
            rest = tuple(other for other in self._rounds if other is not one)
            self._rounds = rest if then is None else (*rest, then)

    def round_of(self, incoming: Incoming) -> Round | None:
        """Give the round to which an object belongs, None if that cannot be told."""
        rounds, request = self._rounds, incoming.request
        if len(rounds) <= 1:
            return rounds[0] if rounds else None
        uid, message_id = request.affected_sop_instance_uid, request.move_originator_message_id
        named = [one for one in rounds if one.wanted is not None and uid in one.wanted]
        numbered = (one for one in named or rounds if message_id in one.message_ids)
        return next(numbered, named[0] if named else None)

    def _received(self, received: Received) -> None:
        self.tally.count(received)
        if self._rounds and (one := self.round_of(received.incoming)) is not None:
            one.count(received)
        if self.observer is not None:
            self.observer.received(received)

    def _broken_off(self, incoming: Incoming) -> None:
        self.tally.count_broken_off(incoming)
        if self._rounds and (one := self.round_of(incoming)) is not None:
            one.count_broken_off(incoming)
        if self.observer is not None:
            self.observer.broken_off(incoming)

    # -- the rest ------------------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """Our port, 0 if there is none."""
        return self.listener.port if self.listener is not None else 0

    @property
    def last_activity(self) -> float:
        """When a byte last came in over a storage association, on the monotonic clock, 0 for never."""
        return self.listener.last_activity if self.listener is not None else 0.0

    @property
    def rejected(self) -> tuple[RejectedClass, ...]:
        """The SOP classes of which presentation contexts were not accepted."""
        return tuple(self._scp.rejected) if self._scp is not None else ()

    def wake(self) -> None:
        """Wake who waits for a change of the listener."""
        if self.listener is not None:
            with self.listener.changed:
                self.listener.changed.notify_all()

    def whole(self, sop_instance_uid: str) -> bool:
        """Tell whether an object is known to be in the output directory already. Raises ``StoreError``."""
        return self.index is not None and self.index.whole(sop_instance_uid)

    def flush(self) -> None:
        """Wait until what was stored is on the disk, if durability asks for it. Raises ``StoreError``."""
        with self._flushing:
            if self._directory is not None:
                self._directory.flush()
            if self.index is not None and self._flushes:
                self.index.flushed()

    @property
    def _flushes(self) -> bool:
        from movescu.storage.durability import Durability  # for those alone who have a directory

        own = self._options.listen
        return own is not None and own.storage.durability is not Durability.OFF

    def stop(self) -> None:
        """Close the port: what would come later would be in no count, and not flushed."""
        if self.listener is not None:
            self.listener.close()

    def close(self) -> None:
        """Give everything back."""
        with contextlib.ExitStack() as stack:
            if self._directory is not None:
                stack.callback(self._directory.close)
            if self.index is not None:
                stack.callback(self.index.close)
            stack.callback(self.stop)


def _policy(options: RetrieveOptions, own: ListenOptions) -> AcceptorPolicy:
    from movescu.ul.negotiation import AcceptorPolicy

    # As titles are read from a request: without the blanks around them (PS3.8 table 9-11).
    called = frozenset((options.destination.strip(),)) if own.require_called_ae_title else frozenset[str]()
    return AcceptorPolicy(
        _storage_policy(own),
        own.transfer_syntaxes,
        options.maximum_length,
        calling_ae_titles=frozenset(own.calling_ae_titles),
        called_ae_titles=called,
    )


def _storage_policy(own: ListenOptions) -> Callable[[str], bool]:
    classes = storage_classes()
    return lambda uid: uid in classes or uid == VERIFICATION or (own.accept_unknown and may_be_storage(uid))


def _open_index(storage: StorageOptions, rely: Callable[[str, int], None]) -> Index:
    from movescu.storage.durability import Durability
    from movescu.storage.index.index import open_index  # for those alone who resume

    durable = storage.durability is Durability.OBJECT
    return open_index(storage.directory, storage.layout, durable=durable, rely=rely)
