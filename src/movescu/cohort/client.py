"""The client of programs: keys and values of Python, one request at a time or a list of them (PS3.4 C.4.2).

A ``Client`` is bound to one archive. It keeps our port open over all of its retrieves, concurrent ones included, and
reuses its associations with the archive. A list goes through the runner, as with the command's ``--list``: the runner
learns how many requests the archive serves at once, waits for an archive that is away, and requests once what several
entries name.

Failures before an association is established are raised; later ones are in the result.
"""

from __future__ import annotations

import contextlib

from movescu._runtime.record import replace
from movescu.cohort.admission import PATIENCE
from movescu.errors import UsageError
from movescu.retrieve.client import ArchiveClient
from movescu.retrieve.config import AE, Receive, Request, RetrieveBy, Retry, Timeouts

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from ssl import SSLContext

    from movescu.cohort.cluster.group import Cluster
    from movescu.cohort.list_in_progress import ListInProgress
    from movescu.cohort.row_result import RowResult
    from movescu.cohort.runner import Runner
    from movescu.events import EventSink
    from movescu.query.match import Match
    from movescu.query.python_keys import Keys
    from movescu.query.request_list import Row
    from movescu.query.selection import Selection
    from movescu.retrieve.handle import Retrieve
    from movescu.retrieve.observer import Observer
    from movescu.retrieve.result import Result
    from movescu.storage.options import StorageOptions
    from movescu.storage.sinks import Destination
    from movescu.transport.tls import TLSOptions


class Client(ArchiveClient):
    """A client of one archive, with a port that stays open; a context manager.

    ``ae``: the archive, an ``AE`` or its text (``ARCHIVE@pacs:104``). ``ae_title``: our own. Default: MOVESCU.
    ``listen``: port to receive objects on, or a ``Receive``; 0 lets the system choose. Default: None, receive nothing.
    ``to``: destination of the objects (see ``retrieve``), if any are received. Default: the current directory.
    ``destination``: AE title that the archive sends to. Default: our own. ``timeouts``, ``retry``, ``request``,
    ``selection``: see ``Timeouts``, ``Retry``, ``Request`` and ``Selection``. ``tls``: keys and certificates (PS3.15
    annex B), an ``ssl.SSLContext`` for the archive, or a pair of that and one for senders. Default: None. ``on_event``:
    called with each event of every retrieve, one call at a time, in the thread of the event. Default: None.
    ``retrieve``: ``move`` (C-MOVE), ``get`` (C-GET; needs no port) or ``auto`` (C-GET where the archive accepts it,
    else C-MOVE with a port). Default: ``move``.

    Raise ``UsageError`` for an unusable value. Entering opens the port, and raises ``ListenError``,
    ``DirectoryNotFoundError`` or ``DirectoryNotWritableError`` if that fails; without ``with`` the first retrieve does.
    Raise ``TLSError`` for unusable keys or certificates.
    """

    def __init__(  # noqa: PLR0913 - each with its default
        self,
        ae: AE | str,
        *,
        ae_title: str = "MOVESCU",
        listen: int | Receive | None = None,
        to: Destination = ".",
        destination: str | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - records do not change
        retry: Retry = Retry(),  # noqa: B008
        request: Request | None = None,
        selection: Selection | None = None,
        tls: TLSOptions | SSLContext | tuple[SSLContext, SSLContext] | None = None,
        on_event: EventSink | None = None,
        retrieve: str = RetrieveBy.MOVE,
    ) -> None:
        from movescu.retrieve.client_config import config_of  # late: needed by programs alone
        from movescu.storage.sinks import storage_options

        config = config_of(
            ae,
            ae_title=ae_title,
            listen=listen,
            destination=destination,
            timeouts=timeouts,
            retry=retry,
            request=request,
            selection=selection,
            tls=tls,
            retrieve=retrieve,
        )
        self._given_model = None if request is None or not request.model else request.model
        self._given_to = None if to == "." else to
        observers: tuple[Observer, ...] = ()
        _check_callable("on_event", on_event)
        if on_event is not None:
            from movescu.retrieve.event_observer import EventObserver  # late: needed for events alone

            observers = (EventObserver(on_event),)
        self._on_whole = None
        self._prepare(config, storage_options(to), observers, closing=False, indexed=retry.resume)

    def find(
        self, level: str = "STUDY", keys: Keys | None = None, *, count: bool = False, **more: object
    ) -> list[Match]:
        """Query the archive (C-FIND), and return the matches at a level: PATIENT, STUDY, SERIES or IMAGE.

        ``keys``: as of ``retrieve``; more by keyword: ``find(PatientName="DOE*")``. The archive returns those without a
        value. ``count``: count series and objects that it does not count. Default: False. Raise ``UsageError`` for
        unusable keys or a closed client, ``TooManyStudiesError`` beyond ``Selection.max_studies`` (studies are listed
        without a limit by default), or another ``PeerError``.
        """
        from movescu.retrieve.search import find

        self._require_open()
        with contextlib.closing(self.association(querying=True)) as association:
            return find(association, (level, keys, more), self.config.selection, count=count)

    def retrieve(self, keys: Keys, to: Destination | None = None, *, on_event: EventSink | None = None) -> Result:
        """Retrieve the objects that match the keys, and return the result.

        ``keys``: a mapping of keywords to values, a ``pydicom.Dataset``, or the path of a query file. Without
        QueryRetrieveLevel, the level is the lowest of the keys with a value; a key below it without one, such as a
        StudyInstanceUID of None beside a PatientID, is an error: it would request the whole patient. ``to``: a
        directory, a ``Directory`` with a layout, a ``Sink``, ``Memory()``, or a callable taking each object as a
        ``pydicom.Dataset``. Default: the client's destination. ``on_event``: called with each event. Default: None.

        Raise ``UsageError`` for unusable keys, ``PeerError`` if no association can be opened, and any exception of
        ``on_event``.
        """
        _check_callable("on_event", on_event)
        one = self._retrieve_of(keys, to)
        if on_event is not None:
            one.observe(on_event)
        return one.run()

    def start(self, keys: Keys, to: Destination | None = None) -> Retrieve:
        """Start a retrieve in its own thread and return its handle; see ``retrieve``."""
        return self._retrieve_of(keys, to).start()

    def retrieve_many(  # noqa: PLR0913 - each with its default
        self,
        rows: Iterable[Mapping[str, object]],
        to: Destination | None = None,
        *,
        jobs: int = 1,
        slots: int | None = None,
        wait_for_archive: float = PATIENCE,
        cluster: str | None = None,
        ae_pool: str | os.PathLike[str] | Sequence[AE] | None = None,
        worker_files: str = "shared",
        on_result: Callable[[int, Result | Exception], None] | None = None,
    ) -> Iterator[Result | Exception]:
        """Retrieve the objects of each entry, ``jobs`` at a time, and yield results in the order of the entries.

        An entry that fails with an exception yields the exception. The columns are named by keyword, in any case, with
        or without blanks; those that name no attribute are not sent, with one warning. An entry must not be blank in a
        column that others fill, unless it has a unique key of the same level or of a lower one; nor in one below level
        PATIENT if it would request all studies of a patient. What an entry matches is listed first (C-FIND). Equal
        entries are requested once. Leaving the loop early cancels.

        ``slots``: requests that the archive serves at once. Default: None, that is learned. ``wait_for_archive``:
        seconds that the archive may be away once it was there; then the remaining entries yield ``PeerError``. Default:
        12 hours. ``cluster``: where worker processes are, as after ``--cluster``: ``local:4``, ``tls://host:port``, or
        the file of a scheduler; they store into the directory, which has the journal of the list, and the client's own
        port is not used. Default: None, this process retrieves. ``ae_pool``: titles and ports of the workers, or the
        file that has them. ``worker_files``: ``own``, each worker stores into a folder of its own in the directory, on
        its own disk (``collect`` brings them together). Default: ``shared``. ``on_result``: called in the thread of the
        loop with the position of an entry, from 0, and its result as soon as it is known, in the order in which entries
        end. Default: None.

        Raise ``UsageError`` if ``rows`` is not a sequence or another argument is unusable, ``StoreError`` if the
        directory fails, ``ClusterError`` if scheduler or workers are gone; after the last entry, ``IncompleteError`` if
        other objects have replaced those of complete ones since, or another run has withdrawn its result. An entry that
        is not a mapping yields ``UsageError``. Files that a program deletes or changes after the end of their entry are
        not checked again.
        """
        _check_callable("on_result", on_result)
        yield from self._start_many(rows, to, jobs, slots, wait_for_archive, cluster, ae_pool, worker_files).results(
            on_result
        )

    def _start_many(  # noqa: PLR0913, PLR0917 - those of retrieve_many
        self,
        rows: Iterable[Mapping[str, object]],
        to: Destination | None = None,
        jobs: int = 1,
        slots: int | None = None,
        wait_for_archive: float = PATIENCE,
        cluster: str | None = None,
        ae_pool: str | os.PathLike[str] | Sequence[AE] | None = None,
        worker_files: str = "shared",
    ) -> ListInProgress:
        """Start to retrieve entries; see ``retrieve_many``."""
        from functools import partial  # late: needed for many entries alone

        from movescu.cohort.list_in_progress import ListInProgress
        from movescu.cohort.runner import Runner
        from movescu.cohort.worker_threads import WorkerThreads
        from movescu.query.python_rows import check_rows, entries_of
        from movescu.storage.sinks import storage_options

        check_rows(rows, jobs)
        _check_limits(slots, wait_for_archive)
        group = self._cluster(cluster, ae_pool, jobs, worker_files)
        entries = entries_of(rows, self._given_model, self.config.selection)
        storage = self._given_storage if to is None else storage_options(to)
        if group is not None and (storage is None or not storage.to_files):
            raise UsageError("workers store into a directory, not into a sink", hint="give a directory")
        target = None
        if group is None:
            self._check_destination(to)
            self.open()
            if (target := self.target_of(to)) is not None:
                target.prove()

        def make_runner(stack: contextlib.ExitStack, on_row: Callable[[RowResult], None]) -> Runner:
            made = partial(Runner, slots=slots, patience=float(wait_for_archive), on_row=on_row)
            if group is not None and storage is not None:
                listed = [one for one in entries if not isinstance(one, Exception)]
                return self._driver(stack, group, storage, made, listed)
            workers = WorkerThreads(self, jobs, target=target, closing=False)
            return made(self, workers=workers, jobs=jobs)

        return ListInProgress(entries, make_runner)

    @staticmethod
    def _cluster(
        cluster: str | None, pool: str | os.PathLike[str] | Sequence[AE] | None, jobs: int, worker_files: str
    ) -> Cluster | None:
        if cluster is None:
            if pool is not None:
                raise UsageError("ae_pool has titles of workers, and there are none", hint="give cluster, too")
            if worker_files != "shared":
                raise UsageError("worker_files is for workers, and there are none", hint="give cluster, too")
            return None
        from movescu.cohort.cluster.group import Cluster  # late: needed with workers elsewhere alone

        return Cluster.of(cluster, pool, jobs, worker_files)

    def _driver(
        self,
        stack: contextlib.ExitStack,
        cluster: Cluster,
        storage: StorageOptions,
        made: Callable[..., Runner],
        rows: Iterable[Row],
    ) -> Runner:
        """Return the runner of a list that workers in other processes retrieve, with its journal."""
        from movescu.cohort.cluster.group import introduce
        from movescu.cohort.journal import Journal
        from movescu.cohort.journal_file import journal_path

        config = replace(self.config, receive=replace(self.config.receive or Receive(None), port=None))
        retry = config.retry
        client = ArchiveClient.configured(
            config, storage, self._every, closing=False, indexed=retry.resume, proved=True
        )
        stack.enter_context(client).open()
        assert client.target is not None
        workers = stack.enter_context(cluster).workers(client, storage, indexed=retry.resume)
        journal = Journal(
            journal_path(storage.directory, None),
            storage.directory,
            rebuild=retry.resume,
            files_of=workers.files_of,
            before=client.target.save,
            verifies=retry.verify,
        )
        stack.enter_context(journal)
        introduce(workers, journal, config, rows, by_files=cluster.own and retry.resume)
        return made(client, workers=workers, jobs=cluster.jobs, journal=journal, resume=retry.resume)

    def _retrieve_of(self, keys: Keys, to: Destination | None) -> Retrieve:
        from movescu.query.python_keys import identifier_of

        self._check_destination(to)
        self.open()
        identifier, model = identifier_of(keys, resolves=self.config.resolves, lists=self.config.retry.lists)
        request = replace(self.config.request, model=self._given_model or model)
        return self.prepare((identifier,), config=replace(self.config, request=request), target=self.target_of(to))

    def _check_destination(self, to: Destination | None) -> None:
        """Raise ``UsageError`` if objects have a destination and none are received."""
        to = self._given_to if to is None else to
        if to is not None and self.config.receive is None:
            raise UsageError(f"to={to!r}, but this client receives no objects", hint="give listen, or retrieve='get'")


def _check_callable(name: str, value: object) -> None:
    """Raise ``UsageError`` unless a value that is given can be called."""
    if value is not None and not callable(value):
        raise UsageError(f"{name} {value!r} cannot be called")


def _check_limits(slots: object, wait: object) -> None:
    """Raise ``UsageError`` unless ``slots`` is None or a number from 1, and ``wait`` a number of seconds."""
    if slots is not None and (not isinstance(slots, int) or isinstance(slots, bool) or slots < 1):
        raise UsageError(f"slots {slots!r} is not a number from 1")
    if not isinstance(wait, int | float) or isinstance(wait, bool) or not wait >= 0:
        raise UsageError(f"wait_for_archive {wait!r} is not a number of seconds")
