"""The protocol between a retrieve and its client; ``Client`` implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from movescu.retrieve.association import ArchiveAssociation
    from movescu.retrieve.config import Config
    from movescu.retrieve.observer import Observer
    from movescu.retrieve.running import RunningRetrieves
    from movescu.retrieve.service_choice import ServiceChoice
    from movescu.retrieve.storage_server import StorageServer


class Keeper(Protocol):
    """The part of a client that a retrieve needs."""

    @property
    def server(self) -> StorageServer:
        """Our Storage SCP."""

    @property
    def service(self) -> ServiceChoice:
        """The service that retrieves."""

    @property
    def closing(self) -> bool:
        """Whether the port closes when the retrieve ends."""

    @property
    def retrieves(self) -> RunningRetrieves:
        """The retrieves that have not ended."""

    def take(self, config: Config, until: float | None, observer: Observer | None) -> ArchiveAssociation:
        """Return an association for a retrieve."""

    def give_back(self, association: ArchiveAssociation, config: Config) -> None:
        """Return an association to the client."""

    def observers(self, further: Sequence[Observer]) -> Observer | None:
        """Return the client's observers and further ones as one, None if there are none."""
