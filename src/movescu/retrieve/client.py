"""The client: the one way from keys to a result, for the command, for lists and for programs (PS3.4 C.4.2).

An ``ArchiveClient`` is bound to one archive. It keeps our port open over all of its retrieves, concurrent ones
included, and reuses its associations with the archive. A ``Retrieve`` is one of them in progress: it takes an
association, runs the attempt loop over it, flushes the target and makes the ``Result``.

Failures before an association is established are raised; later ones are in the result. What only programs use, keys
and values of Python and lists of them, is in ``cohort.client``.
"""

from __future__ import annotations

import contextlib

from movescu._runtime import clock
from movescu.dictionary.uids import STUDY_ROOT_FIND, VERIFICATION
from movescu.errors import PeerError, UsageError
from movescu.retrieve.association import ArchiveAssociation
from movescu.retrieve.config import Config, make_tls
from movescu.retrieve.destinations import Destinations
from movescu.retrieve.handle import Retrieve
from movescu.retrieve.idle_associations import IdleAssociations, release_quietly
from movescu.retrieve.message_ids import MessageIDs
from movescu.retrieve.running import RunningRetrieves, settle
from movescu.retrieve.service_choice import ServiceChoice
from movescu.retrieve.storage_server import StorageServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType
    from typing import Self

    from movescu.query.identifier import Identifier
    from movescu.retrieve.earlier_request import EarlierRequest
    from movescu.retrieve.observer import Observer
    from movescu.storage.options import StorageOptions
    from movescu.storage.sinks import Destination
    from movescu.storage.target import OnWhole, Target


class ArchiveClient:
    """A client of one archive, with a port that stays open; a context manager. Programs have ``cohort.client.Client``.

    Make it with ``configured``. Entering opens the port, as ``open`` does.
    """

    _given_model: str | None
    _on_whole: OnWhole | None

    @classmethod
    def configured(
        cls,
        config: Config,
        storage: StorageOptions | None,
        observers: Iterable[Observer] = (),
        *,
        closing: bool = True,
        indexed: bool = False,
        proved: bool = False,
        on_whole: OnWhole | None = None,
    ) -> Self:
        """Return a client with the command's values, unchecked.

        ``storage``: None without a port. ``closing``: close the port when a retrieve ends, so that no object arrives
        after the count and the flush. ``indexed``: use the index of whole objects in the directory. ``proved``: compare
        each retrieve's objects with the directory. Default: with ``--verify`` and ``--resume`` only.
        ``on_whole``: see ``Target``.
        """
        made = object.__new__(cls)
        made._on_whole = on_whole
        made._given_model = config.request.model
        made._prepare(config, storage, tuple(observers), closing=closing, indexed=indexed, proved=proved)
        return made

    def _prepare(
        self,
        config: Config,
        storage: StorageOptions | None,
        observers: tuple[Observer, ...],
        *,
        closing: bool,
        indexed: bool,
        proved: bool = False,
    ) -> None:
        from movescu.retrieve.observer import Observers

        self.config = config
        """Configuration of the client."""
        self._given_storage = storage
        self._storage = storage if config.receive is not None else None
        self._every = observers
        self._observers = Observers(observers) if observers else None
        self._closing = closing
        self._indexed = indexed
        self._proved = proved or config.retry.verify
        self.service = ServiceChoice(config, self._observers)
        """The service that retrieves: C-MOVE or C-GET."""
        self._tls = make_tls(config.tls, accepting=config.listens)
        watched = self._observers is not None and self._observers.watches
        self._server = StorageServer(
            config, tls=self._tls, observer=self._observers, side_by_side=watched or not closing
        )
        self._target: Target | None = None
        self._destinations = Destinations(self._open_target)
        self._idle = IdleAssociations()
        self.retrieves = RunningRetrieves()
        """The retrieves that have not ended."""
        self._lock = clock.RLock()
        self._message_ids = MessageIDs()
        self._open = self._closed = False
        self._own_address = ""

    # -- the port ------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(abort=kind is not None and not issubclass(kind, Exception))

    def open(self) -> None:
        """Open the output directory and the port, if configured. Do nothing if they are open.

        Raise ``DirectoryNotFoundError`` or ``DirectoryNotWritableError`` if the directory cannot be used,
        ``ListenError`` if the port cannot be opened, ``UsageError`` if the client is closed.
        """
        with self._lock:
            self._require_open()
            if self._open:
                return
            if self._storage is not None:
                target = self._open_target(self._storage)
                try:
                    self._server.target = target
                    self._server.open()
                except BaseException:
                    target.close()
                    raise
                self._target = target
            self._open = True

    def _require_open(self) -> None:
        if self._closed:
            raise UsageError("the client is closed", hint="make a new client")

    def _open_target(self, storage: StorageOptions) -> Target:
        from movescu.storage.target import Target  # late: needed to receive alone

        return Target(
            storage,
            indexed=self._indexed,
            proved=self._proved,
            grouped=not self._closing,
            on_whole=self._on_whole,
        )

    def close(self, *, abort: bool = False) -> None:
        """Cancel running retrieves, release the associations, close the port. Do nothing if closed.

        ``abort``: abort the associations instead. Default: False.
        """
        with self._lock:
            closed, self._closed = self._closed, True
            idle = self._idle.clear(closed=True)
            unfinished = self.retrieves.close()
        if closed:
            return
        with contextlib.ExitStack() as stack:  # runs every callback, last one first, even if one raises
            stack.callback(settle, unfinished, 1.0, abort=abort)  # a long flush has ended with its target
            for target in self._destinations.targets:
                stack.callback(target.close)
            if self._target is not None:
                stack.callback(self._target.close)
            stack.callback(self._server.close)
            for association in idle:
                stack.callback(association.close)
                if not abort:
                    stack.callback(release_quietly, association)
            stack.callback(settle, unfinished, 10.0, abort=abort)
            for one in unfinished:
                stack.callback(one.cancel)

    @property
    def port(self) -> int:
        """Number of our port, 0 without one."""
        return self._server.port

    @property
    def server(self) -> StorageServer:
        """Our own storage SCP."""
        return self._server

    # -- for programs -------------------------------------------------------------------------------------------------

    def echo(self) -> None:
        """Send C-ECHO (PS3.4 annex A). Raise ``PeerError`` unless the archive answers with success."""
        self._require_open()
        with contextlib.closing(self.association(further=(VERIFICATION,))) as association:
            association.open()
            association.echo()
            with contextlib.suppress(PeerError):  # the echo has succeeded
                association.release()

    # -- for the command and for lists ---------------------------------------------------------------------------------

    def prepare(
        self,
        identifiers: Sequence[Identifier],
        *,
        config: Config | None = None,
        target: Target | None = None,
        row: int | None = None,
        until: float | None = None,
        earlier: Sequence[EarlierRequest] = (),
        split: int = 0,
    ) -> Retrieve:
        """Return a retrieve of identifiers, not started.

        ``earlier``: what is known of those that it continues. ``split``: see ``AttemptLoop``. Raise ``UsageError`` if a
        limit of studies is stated that nothing can hold.
        """
        target, config = target or self._target, config or self.config
        if config.selection is not None and not config.queries:
            from movescu.query.scope import Scope  # late: needed with a limit alone

            if any(config.counts(Scope(one, config.request.model)) for one in identifiers):
                raise UsageError(
                    "the studies cannot be limited: a plain retrieve does not count what the keys match",
                    hint="use --resolve or --verify with --max-studies, Selection(resolve=True) in a program",
                )
        return Retrieve(self, identifiers, config, target, row, until, earlier=earlier, split=split)

    def association(
        self,
        *,
        further: Sequence[str] = (),
        config: Config | None = None,
        until: float | None = None,
        querying: bool = False,
    ) -> ArchiveAssociation:
        """Return an association, not open; ``further``, ``querying``: see ``ArchiveAssociation``."""
        return ArchiveAssociation(
            config or self.config,
            tls=self._tls,
            until=until,
            moved=lambda: self._server.last_activity,
            arrived=lambda: self._server.tally.arrived,
            message_ids=self._message_ids,
            further=tuple(further),
            querying=querying,
            meanwhile=self._server.prepare,
            on_connected=self._server.note_archive,
            observer=self._observers,
            service=self.service,
        )

    @property
    def own_address(self) -> tuple[str, int]:
        """Our address and port as the archive sees them; empty before the first association, 0 without a port."""
        return self._own_address, self.port

    @property
    def is_connected(self) -> bool:
        """Whether an idle association is open."""
        return len(self._idle) > 0

    def take(self, config: Config, until: float | None, observer: Observer | None) -> ArchiveAssociation:
        """Return an idle association of the same contexts, else a new one, not open."""
        association = self._idle.pop(config)
        if association is None:
            further = (STUDY_ROOT_FIND,) if config.queries else ()
            association = self.association(further=further, config=config, until=until)
        association.take_up(until=until, observer=observer)
        return association

    def give_back(self, association: ArchiveAssociation, config: Config) -> None:
        """Keep an open association for the next retrieve."""
        self._own_address = association.local_address
        self._idle.add(association, config)

    def release(self) -> None:
        """Release the idle associations. Raise ``PeerError`` if the archive does not confirm."""
        self._idle.release()

    def abort(self) -> None:
        """Abort the idle associations."""
        for association in self._idle.clear():
            association.close()

    def observers(self, further: Sequence[Observer]) -> Observer | None:
        """Return the client's observers and further ones as one, None if there are none."""
        from movescu.retrieve.observer import Observers

        return Observers((*self._every, *further)) if further else self._observers

    def target_of(self, to: Destination | None) -> Target | None:
        """Return the open target of a destination, by default the client's own; None without a port."""
        return self._target and self._destinations.target_of(to, self._target)

    @property
    def target(self) -> Target | None:
        """The destination of the objects by default, None before ``open`` and without a port."""
        return self._target

    def keep(self, sop_instance_uids: Iterable[str]) -> None:
        """Regard objects as whole from now on, so that later retrieves with an inventory do not request them again."""
        if self._target is not None:
            self._target.keep(sop_instance_uids)

    def flush(self) -> None:
        """Wait until stored objects are on the disk. Raise ``StoreError`` if they cannot be flushed."""
        if self._target is not None:
            self._target.flush()

    @property
    def closing(self) -> bool:
        """Whether the port closes when a retrieve ends."""
        return self._closing
