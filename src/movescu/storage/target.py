"""The opened target of a retrieve: an output directory with its index, a sink, or nothing (``--ignore``).

A target opens the receiver of each object, knows which objects are whole already, and is flushed before a retrieve is
complete. Several retrieves may share one.
"""

from __future__ import annotations

import contextlib

from movescu._runtime import clock
from movescu.errors import StoreError
from movescu.storage import files
from movescu.storage.durability import Durability

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Protocol

    from movescu.storage.incoming_object import Incoming, ObjectReceiver
    from movescu.storage.index.index import Index
    from movescu.storage.ledger import Ledger, StoredFile
    from movescu.storage.options import StorageOptions
    from movescu.storage.writer import OutputDirectory

    class OnWhole(Protocol):
        """A function called with whole objects."""

        def __call__(self, sop_instance_uid: str, path: str, /, *, stored: bool = True) -> None:
            """Note an object and its path, below the output directory; ``stored``: False if it was found there."""


class Target:
    """Destination of objects.

    ``indexed``: open the index of the output directory. Default: False. ``proved``: examine objects when they are
    stored, and again in ``check``. Default: as ``indexed``. ``grouped``: many retrieves are flushed one after the
    other. Default: False. ``on_whole``: called with each object that is stored or found whole, in the thread of that.
    Default: None.

    Raise ``DirectoryNotFoundError`` or ``DirectoryNotWritableError``, or ``StoreError`` if the index is unusable.
    """

    def __init__(
        self,
        storage: StorageOptions,
        *,
        indexed: bool = False,
        proved: bool = False,
        grouped: bool = False,
        on_whole: OnWhole | None = None,
    ) -> None:
        self.storage = storage
        self._on_whole = on_whole
        self.index: Index | None = None
        """The whole objects in the output directory, if ``indexed``."""
        self._directory: OutputDirectory | None = None
        self._ledger: Ledger | None = None
        self._factory: Callable[[Incoming], ObjectReceiver] | None = None
        self._kept: set[str] = set()
        self._making = clock.Lock()
        self._flushing = clock.Lock()
        self._begun = self._succeeded = 0
        """Number of flushes begun, and number of the last one that succeeded."""
        self._closed = False
        if storage.to_files:
            self._open(indexed=indexed, proved=proved or indexed, grouped=grouped)

    def _open(self, *, indexed: bool, proved: bool, grouped: bool) -> None:
        from movescu.storage.writer import OutputDirectory  # late: needed for files alone

        directory = self._directory = OutputDirectory(self.storage.directory, self.storage.durability, grouped=grouped)
        try:
            directory.remove_leftovers()
            if indexed:
                from movescu.storage.index.index import open_index  # late: needed to resume alone

                durable = self.storage.durability is Durability.OBJECT
                self.index = open_index(
                    self.storage.directory,
                    self.storage.layout,
                    durable=durable,
                    rely=directory.rely,
                    doubted=directory.failed_flushes.cover,
                )
            if proved:
                from movescu.storage.ledger import Ledger  # late: needed to prove alone

                self._ledger = Ledger(directory, self.index)
        except BaseException:
            directory.close()
            raise

    def prove(self) -> None:
        """Examine objects from now on, as with ``proved``."""
        from movescu.storage.ledger import Ledger  # late: needed to prove alone

        with self._making:
            if self._ledger is None and self._directory is not None:
                self._ledger, self._factory = Ledger(self._directory, self.index), None

    def receiver(self, incoming: Incoming) -> ObjectReceiver:
        """Return the receiver of an object."""
        if (factory := self._factory) is None:
            factory = self._prepared()
        return factory(incoming)

    def prepare(self) -> None:
        """Load the modules that receive objects, preferably while the archive prepares its answer."""
        self._prepared()

    def _prepared(self) -> Callable[[Incoming], ObjectReceiver]:
        from movescu.storage.receiver import receiver_factory

        with self._making:
            if self._factory is None:
                told = {} if self._on_whole is None else {"on_kept": self._on_whole}
                self._factory = receiver_factory(self.storage, self._directory, **told, ledger=self._ledger)
            return self._factory

    def expect_next(self) -> None:
        """Prepare for the next object."""
        if self._directory is not None:
            self._directory.prepare()

    def whole(self, sop_instance_uid: str, place: tuple[str, str] = ("", "")) -> bool:
        """Return True if the output directory is known to have the whole object. Raise ``StoreError``.

        ``place``: study and series instance UIDs in which it is listed: an object of another study or series, of which
        the file says so, is not the one. Default: any.
        """
        if self.index is None and (self._ledger is None or sop_instance_uid not in self._kept):
            return sop_instance_uid in self._kept
        path = None if self._ledger is None else self._ledger.path(sop_instance_uid, place)
        if path is not None and self._on_whole is not None and sop_instance_uid not in self._kept:
            self._on_whole(sop_instance_uid, path, stored=False)
        return path is not None

    def is_unchanged(self, file: StoredFile, ended: float) -> bool:
        """Return True if a file is as this run has stored it or, if it has not, as ``is_as_recorded``."""
        unchanged = None if self._ledger is None else self._ledger.is_unchanged(file.uid, file.path)
        return self.is_as_recorded(file, ended) if unchanged is None else unchanged

    def is_as_recorded(self, file: StoredFile, ended: float) -> bool:
        """Return True if a file has its size and was not changed since a time, in seconds since 1970."""
        status = None if self._directory is None else self._directory.status(file.path)
        return status is not None and status.st_size == file.size and files.change_time(status) < ended * 10**9

    def check(self, objects: Sequence[Mapping[str, tuple[str, str]]], row: int | None = None) -> list[dict[str, str]]:
        """Return those of each request's objects that are not whole in the directory, with the reasons.

        ``objects``: study and series instance UIDs in which they are listed, empty if unknown, by SOP instance UID.
        ``row``: the entry of a list that relies on the others. Default: None. Without ``proved`` nothing is checked.
        Raise ``StoreError`` if the index fails.
        """
        return [{} for _ in objects] if self._ledger is None else self._ledger.check(objects, row)

    @property
    def superseded(self) -> set[str]:
        """Objects of earlier runs that others of their UID have replaced, without an entry that relies on them."""
        return set() if self._ledger is None else self._ledger.superseded

    def late(self) -> dict[int, dict[str, str]]:
        """Return the objects that are not whole any more although entries rely on them, with the reasons, by entry."""
        return {} if self._ledger is None else self._ledger.late()

    def relied_on(self, sop_instance_uid: str) -> bool:
        """Return True if an entry relies on an object."""
        return self._ledger is not None and self._ledger.relied_on(sop_instance_uid)

    def renew(self, sop_instance_uid: str, path: str) -> None:
        """Take a file for the object's, as it is now, if it has the whole object: others were to change it."""
        if self._ledger is not None:
            self._ledger.renew(sop_instance_uid, path)

    def keep(self, sop_instance_uids: Iterable[str]) -> None:
        """Regard objects as whole without an index: they were stored for an earlier request of the same run."""
        if self.index is None:
            self._kept.update(sop_instance_uids)

    def flush(self) -> None:
        """Wait until every stored object is on the disk, if durability requires it.

        Retrieves that end while another one is flushing share the next flush. Raise ``StoreError`` if that fails, or if
        the path of the output directory no longer leads to it.
        """
        before = self._begun
        with self._flushing:
            if self._succeeded > before:  # it began after all of our objects were stored
                return
            if self._closed:
                raise StoreError("the output directory was closed before its files were flushed")
            self._begun = number = self._begun + 1
            batch = None if self.index is None else self.index.begin_flush()
            if self._directory is not None:
                self._directory.flush()
            if self.index is not None and self.storage.durability is not Durability.OFF:
                self.index.flushed(batch)
            self._succeeded = number

    def save(self) -> None:
        """Save the index, if there is one. Raise ``StoreError`` if that fails."""
        if self.index is not None:
            self.index.save()

    def files_of(self, sop_instance_uids: Iterable[str]) -> list[StoredFile]:
        """Return the files of whole objects, for a journal; those that are gone are left out."""
        return [] if self._ledger is None else self._ledger.files_of(sop_instance_uids)

    def close(self) -> None:
        """Close everything; may be called again."""
        with self._making:
            closed, self._closed = self._closed, True
        if closed:
            return
        with self._flushing, contextlib.ExitStack() as stack:  # not before a flush that goes on has ended
            if self._directory is not None:
                stack.callback(self._directory.close)
            if self.index is not None:
                stack.callback(self.index.close)
