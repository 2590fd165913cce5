"""``movescu.retrieve`` is one retrieve, ``movescu.Retriever`` is many over a port that stays open.

What the archive has to be told beforehand, and what the settings mean, is as with the command. Both raise the errors of
``movescu.errors``; a retrieve that does not bring everything is no error but a result that says so. Nothing here is
asyncio: there, ``await asyncio.to_thread(movescu.retrieve, host, port, keys, port=11112)`` waits for a retrieve.
"""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self, TypedDict, Unpack

from movescu._runtime.record import replace
from movescu.dictionary.uids import STUDY_ROOT_FIND, TRANSFER_SYNTAXES, UNCOMPRESSED
from movescu.errors import PeerError, UsageError
from movescu.query.python_keys import identifier_of
from movescu.retrieval.archive_association import Session
from movescu.retrieval.attempts import Pursuit, joined
from movescu.retrieval.config import Persistence, RetrieveOptions
from movescu.retrieval.observer import Observer, end_event
from movescu.retrieval.retrieval import make_tls
from movescu.retrieval.storage_server import Reception
from movescu.storage.durability import Durability, durability_of
from movescu.storage.options import ListenOptions
from movescu.storage.sinks import Directory, storage_options

if TYPE_CHECKING:
    import os
    from collections.abc import Generator
    from types import TracebackType

    from movescu.events import Event, EventSink
    from movescu.query.python_keys import Keys
    from movescu.retrieval.result import RetrieveResult
    from movescu.storage.options import StorageOptions
    from movescu.storage.sinks import Destination
    from movescu.transport.tls import TLSOptions
    from movescu.ul.user_information import UserIdentity


class Settings(TypedDict, total=False):
    """What ``retrieve`` and ``Retriever`` may be told beside host and port of the archive.

    Times are in seconds; None means no limit.
    """

    calling_ae_title: str
    """Our own AE title; MOVESCU."""
    called_ae_title: str
    """That of the archive; ANY-SCP."""
    move_destination: str
    """The AE title that the archive is to send to; our own."""
    model: str
    """PATIENT, STUDY or PSONLY; what fits the keys."""
    port: int
    """Our own port, at which the objects are received; 0 lets the system choose. Without one nothing is received."""
    address: str
    """The address of ours that is listened on; all."""
    directory: str | os.PathLike[str]
    """An existing directory, in which the objects are stored; the current one."""
    layout: str
    """The folders and names in it, a name or a template as of ``--layout``; flat."""
    sink: Destination
    """Where the objects go instead: a callable that is given each as a ``pydicom.Dataset``, ``OnBytes``, ``Memory`` or
    a ``Directory``."""
    transfer_syntaxes: tuple[str, ...]
    """UIDs of those in which objects are taken, the best first; the native ones."""
    bit_preserving: bool
    """Store data sets as they come; False: in canonical encoding."""
    durability: Durability | str
    """When files are flushed to the disk; before a retrieve ends."""
    accept_unknown: bool
    """Take storage classes that are not known; no."""
    verify: bool
    """Ask by C-FIND what the archive holds, and hold what came against it; no."""
    resume: bool
    """Do not ask for what is whole in the directory already; no."""
    retries: int
    """How often to ask again for what did not come, in vain; 0."""
    retry_pause: float
    """The pause before a repetition, which doubles while nothing comes; 1."""
    connect_timeout: float | None
    """For the connection to the archive; None."""
    acse_timeout: float | None
    """For an association; 30."""
    dimse_timeout: float | None
    """For a response, while nothing comes in; None."""
    linger: float
    """For objects that the archive counted and that are still to come, in silence; 10."""
    total_timeout: float | None
    """For each retrieve; None."""
    user_identity: UserIdentity
    """Who asks (PS3.7 D.3.3.7); of ``movescu.ul.pdu``."""
    tls: TLSOptions
    """Keys, certificates and what they are held to (PS3.15); of ``movescu.transport.tls``."""


class Retriever:
    """Retrieves from one archive as often as wanted, over a port that stays open; a context manager.

    ``host`` and ``archive_port`` are those of the archive; ``Settings`` has the rest. Entering raises
    ``DirectoryNotFoundError``, ``DirectoryNotWritableError``, ``ListenError`` and ``TLSError``. One retrieve at a time;
    ``cancel`` may be called from any thread.
    """

    def __init__(self, host: str, archive_port: int, **settings: Unpack[Settings]) -> None:
        self._options = _options(host, archive_port, settings)
        self._model = settings.get("model")
        self._persistence = Persistence(
            settings.get("verify", False),
            settings.get("retries", 0),
            settings.get("retry_pause", 1.0),
            settings.get("resume", False),
        )
        self._tls = make_tls(self._options.tls, accepting=self._options.listen is not None)
        self._reception = Reception(self._options, tls=self._tls, indexed=self._persistence.resume)
        self._busy = threading.Lock()
        self._current: tuple[Session, Pursuit] | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(self._reception.close)
            self._reception.open()
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._reception.close()

    @property
    def port(self) -> int:
        """Our own port; 0 if there is none."""
        return self._reception.port

    def retrieve(self, keys: Keys, on_event: EventSink | None = None) -> RetrieveResult:
        """Retrieve what the keys name. ``on_event`` is told what happens, in whatever thread it happens.

        Raises ``UsageError`` for keys that cannot be used, ``PeerError`` if no association comes about, and
        ``StoreError`` if the disk fails in the end. What comes after that is a result.
        """
        identifier, model = identifier_of(keys)
        options = replace(self._options, model=self._model or model)
        begun = time.monotonic()
        until = None if options.total_timeout is None else begun + options.total_timeout
        observer = None if on_event is None else Observer(on_event)
        session = Session(
            options,
            tls=self._tls,
            until=until,
            moved=lambda: self._reception.last_activity,
            further=(STUDY_ROOT_FIND,),
            observer=observer,
        )
        pursuit = Pursuit(options, self._persistence, self._reception, session, observer=observer, until=until)
        with self._busy, contextlib.ExitStack() as stack:
            stack.callback(session.close)
            self._reception.observer = observer
            stack.callback(setattr, self._reception, "observer", None)
            self._current = session, pursuit
            stack.callback(setattr, self, "_current", None)
            pursued = pursuit.run(identifier, None if observer is None else observer.responses())
            self._reception.flush()
            with contextlib.suppress(PeerError):  # what came is there, however the archive takes the end
                session.release()
            result = joined([pursued], self._reception.rejected)
            if observer is not None and on_event is not None:
                end = end_event(result, cancelled=session.cancelled)
                on_event(dataclasses.replace(end, seconds=time.monotonic() - begun))
        return result

    def events(self, keys: Keys) -> Generator[Event, None, RetrieveResult]:
        """Retrieve what the keys name, and give what happens as it does; the last event is the end.

        Leaving the loop early cancels. The generator returns the result, as ``yield from`` gives it. Raises what
        ``retrieve`` raises.
        """
        happened: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        results: list[RetrieveResult] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(self.retrieve(keys, happened.put))
            except BaseException as error:  # noqa: BLE001 - it is raised in the thread of the loop
                errors.append(error)
            happened.put(None)

        thread = threading.Thread(target=run, name="movescu-retriever")
        thread.start()
        try:
            while (event := happened.get()) is not None:
                yield event
        finally:
            if not (results or errors):
                self.cancel()
            thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def cancel(self) -> None:
        """Ask the archive to stop the retrieve that is under way, and wait for nothing more (C-CANCEL, PS3.7 9.3.4.3).

        Safe from any thread, and from a signal handler. Without a retrieve nothing happens.
        """
        current = self._current
        if current is not None:
            session, pursuit = current
            session.cancel()
            pursuit.cancel()
            self._reception.wake()


def retrieve(
    host: str,
    archive_port: int,
    keys: Keys,
    *,
    on_event: EventSink | None = None,
    **settings: Unpack[Settings],
) -> RetrieveResult:
    """Retrieve what the keys name from the archive at ``host`` and ``archive_port``; ``Settings`` has the rest.

    Gives what it came to. Raises what ``Retriever`` and its ``retrieve`` raise.
    """
    with Retriever(host, archive_port, **settings) as retriever:
        return retriever.retrieve(keys, on_event)


# setting -> the field of RetrieveOptions of the same name
_RETRIEVE: Final = (
    *("calling_ae_title", "called_ae_title", "move_destination", "connect_timeout", "acse_timeout", "dimse_timeout"),
    *("linger", "total_timeout", "user_identity", "tls"),
)


def _options(host: str, archive_port: int, settings: Settings) -> RetrieveOptions:
    unknown = settings.keys() - Settings.__annotations__.keys()
    if unknown:
        raise UsageError(f"there is no such setting: {', '.join(sorted(unknown))}")
    listen = None if (port := settings.get("port")) is None else _listen(port, settings)
    options = RetrieveOptions(host, archive_port, maximum_length=_LONGEST_PDU, ip="auto", listen=listen)
    given: dict[str, Any] = {name: value for name, value in settings.items() if name in _RETRIEVE}
    return replace(options, **given)


_LONGEST_PDU: Final = 131072  # bytes; the fastest, and all archives take it: each sends what it likes below


def _listen(port: int, settings: Settings) -> ListenOptions:
    syntaxes = settings.get("transfer_syntaxes")
    unknown = [uid for uid in syntaxes or () if uid not in TRANSFER_SYNTAXES]
    if unknown:
        raise UsageError(f"there is no such transfer syntax: {', '.join(unknown)}")
    return ListenOptions(
        port=port,
        address=settings.get("address", ""),
        transfer_syntaxes=UNCOMPRESSED if syntaxes is None else tuple(TRANSFER_SYNTAXES[uid] for uid in syntaxes),
        accept_unknown=settings.get("accept_unknown", False),
        storage=_storage(settings),
    )


def _storage(settings: Settings) -> StorageOptions:
    if "sink" in settings:
        return storage_options(settings["sink"])
    return Directory(
        settings.get("directory", "."),
        layout=settings.get("layout", "flat"),
        bit_preserving=settings.get("bit_preserving", False),
        durability=durability_of(settings.get("durability", Durability.END)),
    ).storage
