"""The target of a retrieve, opened: an output directory with its index, a sink, or nothing at all (``--ignore``).

A target gives each incoming object its receiver, knows what is whole already, and is flushed before a retrieve may be
called complete. Several retrieves may share one.
"""

from __future__ import annotations

import contextlib
import threading

from movescu.storage.durability import Durability

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from movescu.storage.incoming_object import Incoming, ObjectReceiver
    from movescu.storage.index.index import Index
    from movescu.storage.options import StorageOptions
    from movescu.storage.writer import OutputDirectory


class Target:
    """Where objects go. ``indexed``: what is whole in the output directory is known.

    Raises ``DirectoryNotFoundError``, ``DirectoryNotWritableError`` and ``StoreError``.
    """

    def __init__(self, storage: StorageOptions, *, indexed: bool = False) -> None:
        self.storage = storage
        self.index: Index | None = None
        """What is whole in the output directory, where that is to be known."""
        self._directory: OutputDirectory | None = None
        self._factory: Callable[[Incoming], ObjectReceiver] | None = None
        self._making = threading.Lock()
        self._flushing = threading.Lock()
        self._closed = False
        if storage.to_files:
            self._open(indexed=indexed)

    def _open(self, *, indexed: bool) -> None:
        from movescu.storage.writer import OutputDirectory  # for those alone who store files

        directory = self._directory = OutputDirectory(self.storage.directory, self.storage.durability)
        try:
            directory.remove_leftovers()
            if indexed:
                from movescu.storage.index.index import open_index  # for those alone who resume

                durable = self.storage.durability is Durability.OBJECT
                self.index = open_index(
                    self.storage.directory, self.storage.layout, durable=durable, rely=directory.rely
                )
        except BaseException:
            directory.close()
            raise

    def receiver(self, incoming: Incoming) -> ObjectReceiver:
        """Return what receives an object."""
        if self._factory is None:
            self.prepare()
        assert self._factory is not None
        return self._factory(incoming)

    def prepare(self) -> None:
        """Load what receives objects: best done while the archive is at work."""
        from movescu.storage.receiver import receiver_factory

        with self._making:
            if self._factory is None:
                kept = {} if self.index is None else {"on_kept": self.index.add}
                self._factory = receiver_factory(self.storage, self._directory, **kept)

    def expect_next(self) -> None:
        """Make ready for the object that may come next."""
        if self._directory is not None:
            self._directory.prepare()

    def whole(self, sop_instance_uid: str) -> bool:
        """Return True if an object is known to be in the output directory, whole. Raises ``StoreError``."""
        return self.index is not None and self.index.whole(sop_instance_uid)

    def flush(self) -> None:
        """Wait until what was stored is on the disk, if durability asks for it. Raises ``StoreError``."""
        with self._flushing:
            if self._directory is not None:
                self._directory.flush()
            if self.index is not None and self.storage.durability is not Durability.OFF:
                self.index.flushed()

    def close(self) -> None:
        """Give everything back; a second time nothing happens."""
        with self._making:
            closed, self._closed = self._closed, True
        if closed:
            return
        with contextlib.ExitStack() as stack:
            if self._directory is not None:
                stack.callback(self._directory.close)
            if self.index is not None:
                stack.callback(self.index.close)
