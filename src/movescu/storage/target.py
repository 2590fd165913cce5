"""The opened target of a retrieve: an output directory with its index, a sink, or nothing (``--ignore``).

A target opens the receiver of each object, knows which objects are whole already, and is flushed before a retrieve is
complete. Several retrieves may share one.
"""

from __future__ import annotations

import contextlib

from movescu._runtime import clock
from movescu.errors import StoreError
from movescu.storage.durability import Durability

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from movescu.storage.incoming_object import Incoming, ObjectReceiver
    from movescu.storage.index.index import Index
    from movescu.storage.options import StorageOptions
    from movescu.storage.writer import OutputDirectory


class Target:
    """Destination of objects. ``indexed``: open the index of the output directory. Default: False.

    ``on_whole``: called with SOP instance UID and path, below the output directory, of each object that is stored or
    found whole, in the thread of that. Default: None.

    Raise ``DirectoryNotFoundError`` or ``DirectoryNotWritableError``, or ``StoreError`` if the index is unusable.
    """

    def __init__(
        self, storage: StorageOptions, *, indexed: bool = False, on_whole: Callable[[str, str], None] | None = None
    ) -> None:
        self.storage = storage
        self._on_whole = on_whole
        self.index: Index | None = None
        """The whole objects in the output directory, if ``indexed``."""
        self._directory: OutputDirectory | None = None
        self._factory: Callable[[Incoming], ObjectReceiver] | None = None
        self._kept: set[str] = set()
        self._making = clock.Lock()
        self._flushing = clock.Lock()
        self._closed = False
        if storage.to_files:
            self._open(indexed=indexed)

    def _open(self, *, indexed: bool) -> None:
        from movescu.storage.writer import OutputDirectory  # late: needed for files alone

        directory = self._directory = OutputDirectory(self.storage.directory, self.storage.durability)
        try:
            directory.remove_leftovers()
            if indexed:
                from movescu.storage.index.index import open_index  # late: needed to resume alone

                durable = self.storage.durability is Durability.OBJECT
                self.index = open_index(
                    self.storage.directory, self.storage.layout, durable=durable, rely=directory.rely
                )
        except BaseException:
            directory.close()
            raise

    def receiver(self, incoming: Incoming) -> ObjectReceiver:
        """Return the receiver of an object."""
        if self._factory is None:
            self.prepare()
        assert self._factory is not None
        return self._factory(incoming)

    def prepare(self) -> None:
        """Load the modules that receive objects, preferably while the archive prepares its answer."""
        from movescu.storage.receiver import receiver_factory

        with self._making:
            if self._factory is None:
                told = self._on_whole
                if self.index is not None:
                    told = self.index.add if told is None else self._added
                kept = {} if told is None else {"on_kept": told}
                self._factory = receiver_factory(self.storage, self._directory, **kept)

    def expect_next(self) -> None:
        """Prepare for the next object."""
        if self._directory is not None:
            self._directory.prepare()

    def whole(self, sop_instance_uid: str) -> bool:
        """Return True if the output directory is known to have the whole object. Raise ``StoreError``."""
        if sop_instance_uid in self._kept:
            return True
        if self.index is None or self._on_whole is None:
            return self.index is not None and self.index.whole(sop_instance_uid)
        path = self.index.path(sop_instance_uid)
        if path is not None:
            self._on_whole(sop_instance_uid, path)
        return path is not None

    def _added(self, sop_instance_uid: str, path: str) -> None:
        """Pass an object that was stored to the index and to ``on_whole``."""
        assert self.index is not None  # see prepare()
        assert self._on_whole is not None
        self.index.add(sop_instance_uid, path)
        self._on_whole(sop_instance_uid, path)

    def keep(self, sop_instance_uids: Iterable[str]) -> None:
        """Regard objects as whole without an index: they were stored for an earlier request of the same run."""
        if self.index is None:
            self._kept.update(sop_instance_uids)

    def flush(self) -> None:
        """Wait until every stored object is on the disk, if durability requires it. Raise ``StoreError``."""
        with self._flushing:
            if self._closed:
                raise StoreError("the output directory was closed before its files were flushed")
            if self._directory is not None:
                self._directory.flush()
            if self.index is not None and self.storage.durability is not Durability.OFF:
                self.index.flushed()

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
