"""Requests for a study that cannot exist: what the archive answers shows whether it would serve a real one."""

from __future__ import annotations

import contextlib
import uuid
from functools import partial
from typing import TYPE_CHECKING

from movescu._runtime.record import replace
from movescu.errors import AssociationAbortedError, ConnectionLostError, NoPresentationContextError
from movescu.query.identifier import make_identifier
from movescu.retrieve.client import ArchiveClient
from movescu.retrieve.config import Receive, RetrieveBy
from movescu.retrieve.idle_associations import release_quietly
from movescu.retrieve.requests import NOT_SERVED
from movescu.retrieve.tally import Round
from movescu.storage.options import StorageOptions

if TYPE_CHECKING:
    from movescu.query.identifier import Identifier
    from movescu.retrieve.config import Config
    from movescu.services.move import MoveResponse


def request_for_nothing(config: Config) -> Identifier:
    """Return a request for a study that cannot exist."""
    keys = ["QueryRetrieveLevel=STUDY", f"StudyInstanceUID=2.25.{uuid.uuid4().int}"]
    if config.request.model != "STUDY":
        keys.append("PatientID=MOVESCU-CHECK")
    return make_identifier(keys)


def get_nothing(config: Config) -> MoveResponse:
    """Request it by C-GET over an association of its own, and return the response.

    Raise ``NoPresentationContextError`` if the archive does not serve C-GET, or another ``PeerError``.
    """
    receive = config.receive or Receive(None)
    config = replace(config, retrieve_by=RetrieveBy.GET, receive=replace(receive, port=None))
    with ArchiveClient.configured(config, StorageOptions(ignore=True)) as client:
        association = client.association()
        with contextlib.closing(association):
            association.open()
            try:
                response = association.get(request_for_nothing(config), partial(client.server.scp_of, Round()))
            except (AssociationAbortedError, ConnectionLostError) as error:
                raise NoPresentationContextError(
                    f"{config.archive.title} may not permit C-GET to {config.ae_title}: {error}",
                    hint=f"permit C-GET to {config.ae_title} in the archive's configuration",
                ) from error
            finally:
                release_quietly(association)
    if response.status in NOT_SERVED:
        raise NoPresentationContextError(f"the archive answers C-GET with {answer_text(response)}")
    return response


def answer_text(response: MoveResponse) -> str:
    """Return the status of a response as text."""
    comment = f": {response.error_comment}" if response.error_comment else ""
    return f"0x{response.status:04x} ({response.status_name}{comment})"
