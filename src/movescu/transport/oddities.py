"""What peers do that PS3.7 and PS3.8 forbid, and that is accepted all the same: logged once for each peer.

Peers are told apart by their address: a sender that opens an association for each object is warned of once.
"""

from __future__ import annotations

from movescu._runtime.late_log import logger_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

_log: Final = logger_of("movescu.net")

_MOST: Final = 4096
"""Limit of the peers and oddities remembered; further ones are not logged."""


class Oddities:
    """The oddities of the peers of one port, or of one association. Safe to share by threads."""

    def __init__(self) -> None:
        self._noted: set[tuple[str, str]] = set()

    def note(self, peer: str, address: str, oddities: Iterable[str]) -> None:
        """Log oddities, in words, in one warning; leave out those logged for the peer's address before."""
        new = {(address, what): None for what in oddities if (address, what) not in self._noted}
        if new and len(self._noted) < _MOST:
            self._noted.update(new)
            _log.warning(
                "%s does not follow the standard; accepted nevertheless: %s", peer, ", ".join(what for _, what in new)
            )
