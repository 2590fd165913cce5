"""An association request without an answer: whether the archive's port speaks another protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from movescu.errors import ConnectionLostError, MovescuError, TimedOutError

if TYPE_CHECKING:
    from movescu.retrieve.config import Config


def explained(error: MovescuError, config: Config) -> MovescuError:
    """Return the error that names the protocol which the archive's port speaks, else the given one.

    ``error``: prevented the association. The port is asked only if it gave no answer.
    """
    if config.tls is not None or error.hint or not isinstance(error, ConnectionLostError | TimedOutError):
        return error
    from movescu.transport.probe import protocol_at  # late: slow to load, and needed after a failure alone
    from movescu.ul.foreign import foreign

    protocol = protocol_at(config.archive.host, config.archive.port, config.request.ip)
    return foreign(protocol, requestor=True) if protocol else error
