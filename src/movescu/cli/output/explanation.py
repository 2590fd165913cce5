"""The command's message about a retrieve that delivered nothing: whether the archive has the requested entity.

Imported after such a retrieve alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import WARNING, logger_of
from movescu.dimse.status import (
    DATA_SET_DOES_NOT_MATCH,
    MOVE_DESTINATION_UNKNOWN,
    NOT_AUTHORIZED,
    SOP_CLASS_NOT_SUPPORTED,
    SUCCESS,
)
from movescu.retrieve.explanation import Finding, ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from movescu.query.identifier import Identifier
    from movescu.retrieve.client import ArchiveClient
    from movescu.retrieve.result import Result

_log: Final = logger_of("movescu.cli")

_NOUNS: Final = {"PATIENT": "patient", "STUDY": "study", "SERIES": "series", "IMAGE": "object"}


def explanation(client: ArchiveClient, wanted: Sequence[Identifier], result: Result) -> tuple[str, int]:
    """Return why nothing was delivered, and how many objects the archive lists of what it should have sent.

    The text says whether the archive has the first entity requested that it lists, and whether it connected to our
    port; it is empty if that is unknown. The number is at least 1 for such an entity, 0 without one. The archive is not
    queried if its status says that it does not know the move destination, nor after a failure that is not logged.
    """
    statuses = {response.status for response in result.responses}
    if MOVE_DESTINATION_UNKNOWN in statuses or not (statuses <= {SUCCESS} or _log.isEnabledFor(WARNING)):
        return "", 0
    finding = ask(client, wanted)
    if finding is None:
        return (_unreached(client) if is_unreached(client) and not _is_refused(result) else ""), 0
    number = 1 if finding.objects is None else finding.objects
    return _sentence(finding, client), number if finding.there else 0


def _is_refused(result: Result) -> bool:
    """Return True if the archive refused the request itself, and so had no reason to connect."""
    refused = (DATA_SET_DOES_NOT_MATCH, NOT_AUTHORIZED, SOP_CLASS_NOT_SUPPORTED)
    return any(response.status in refused for response in result.responses)


def is_unreached(client: ArchiveClient) -> bool:
    """Return True if nobody has connected to our port, and the objects were to come to it."""
    config = client.config
    ours = config.listens and config.is_own_destination
    return ours and not (client.service.gets or client.server.was_reached)


def report_unreached(client: ArchiveClient) -> None:
    """Log the port at which nobody has connected."""
    _log.warning("%s", _unreached(client))


def _unreached(client: ArchiveClient) -> str:
    address, port = client.own_address
    return (
        f"nothing connected to port {port}: check that the archive has address {address} and port {port} for "
        f"{client.config.move_destination}, and that no firewall blocks the connection"
    )


def _sentence(finding: Finding, client: ArchiveClient) -> str:
    title, config = client.config.archive.title, client.config
    what = f"{_NOUNS[finding.level]} {finding.uid}"
    if not finding.there:
        return f"{title} has no {what}, or does not show it to this AE title"
    count = "" if finding.objects is None else f" ({finding.objects} object{'' if finding.objects == 1 else 's'})"
    if client.service.gets:
        return f"{title} has {what}{count} but did not send it over the association"
    if config.receive is None or config.receive.port is None:
        return f"{title} has {what}{count} but did not send it to {config.move_destination}"
    if client.server.was_reached:
        return f"{title} has {what}{count} and connected to port {client.port}, but delivered nothing"
    return f"{title} has {what}{count} but did not connect to port {client.port}"
