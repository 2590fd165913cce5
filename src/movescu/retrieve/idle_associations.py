"""Associations with the archive between two retrieves, and the message IDs that all of them share."""

from __future__ import annotations

import contextlib

from movescu._runtime import clock
from movescu.errors import PeerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from movescu.retrieve.association import ArchiveAssociation
    from movescu.retrieve.config import Config

    Contexts = tuple[str, bool]


class IdleAssociations:
    """Open associations that no retrieve uses, by the presentation contexts proposed for them. Thread-safe."""

    def __init__(self) -> None:
        self._idle: list[tuple[Contexts, ArchiveAssociation]] = []
        self._lock = clock.Lock()
        self._closed = False

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
            association.close()  # most likely, ended by the archive

    def add(self, association: ArchiveAssociation, config: Config) -> None:
        """Keep an open association; close it if there will be no further retrieve."""
        with self._lock:
            if association.is_open and not self._closed:
                self._idle.append((_contexts(config), association))
                return
        association.close()

    def clear(self, *, closed: bool = False) -> list[ArchiveAssociation]:
        """Remove and return all associations; ``closed``: keep none from now on. Default: False."""
        with self._lock:
            self._closed |= closed
            idle, self._idle = self._idle, []
        return [association for _, association in idle]


class MessageIDs:
    """Message IDs for several threads: 1 to 65535, then from 1 again (PS3.7 9.1.4.1.1)."""

    def __init__(self) -> None:
        self._number = 0
        self._lock = clock.Lock()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> int:
        with self._lock:
            self._number = self._number % 0xFFFF + 1
            return self._number


def release_quietly(association: ArchiveAssociation) -> None:
    """Release an association; an archive that does not confirm is ignored, for the objects have been stored."""
    with contextlib.suppress(PeerError):
        association.release()


def _contexts(config: Config) -> Contexts:
    """Return the part of a configuration on which the proposed contexts depend: the model, and whether to query."""
    return config.request.model, config.retry.lists
