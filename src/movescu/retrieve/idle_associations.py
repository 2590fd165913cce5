"""Associations with the archive between two retrieves."""

from __future__ import annotations

import contextlib

from movescu._runtime import clock
from movescu.errors import LateObjectsError, PeerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from movescu.retrieve.association import ArchiveAssociation
    from movescu.retrieve.config import Config

    Contexts = tuple[str, bool]


class IdleAssociations:
    """Open associations that no retrieve uses, by the presentation contexts proposed for them. Thread-safe."""

    def __init__(self) -> None:
        self._idle: list[tuple[Contexts, ArchiveAssociation]] = []
        self._lock = clock.Lock()
        self._closed = False
        self._late: LateObjectsError | None = None

    def __len__(self) -> int:
        return len(self._idle)

    def pop(self, config: Config) -> ArchiveAssociation | None:
        """Remove and return an association for retrieves of a configuration, None if there is none."""
        own = _contexts(config)
        while True:
            with self._lock:
                place = next((n for n, (contexts, _) in enumerate(self._idle) if contexts == own), None)
                if place is None:
                    return None
                association = self._idle.pop(place)[1]
            if not association.ended():
                return association
            if association.service.gets:  # it may not be the end but an object
                with contextlib.suppress(PeerError):
                    self._release(association)
            association.close()  # most likely, ended by the archive

    def _release(self, association: ArchiveAssociation) -> None:
        try:
            association.release()
        except LateObjectsError as error:
            self._late = error
            raise

    def add(self, association: ArchiveAssociation, config: Config) -> None:
        """Keep an open association; close it if there will be no further retrieve."""
        with self._lock:
            if association.is_open and not self._closed:
                self._idle.append((_contexts(config), association))
                return
        association.close()

    def release(self) -> None:
        """Release all associations. Raise ``PeerError`` if the archive does not confirm one of them.

        Raise ``LateObjectsError`` if objects arrived on one of them, or on one that was released before.
        """
        with contextlib.ExitStack() as ends:  # calls each, whatever another one raises
            for association in self.clear():
                ends.callback(association.close)
                ends.callback(self._release, association)
        if self._late is not None:
            raise self._late

    def clear(self, *, closed: bool = False) -> list[ArchiveAssociation]:
        """Remove and return all associations; ``closed``: keep none from now on. Default: False."""
        with self._lock:
            self._closed |= closed
            idle, self._idle = self._idle, []
        return [association for _, association in idle]


def _contexts(config: Config) -> Contexts:
    """Return the part of a configuration on which the proposed contexts depend: the model, and whether to query."""
    return config.request.model, config.queries


def release_quietly(association: ArchiveAssociation) -> None:
    """Release an association whose work is done: a missing confirmation changes nothing."""
    with contextlib.suppress(PeerError):
        association.release()
