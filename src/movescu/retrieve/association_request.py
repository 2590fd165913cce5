"""The A-ASSOCIATE-RQ for an archive (PS3.8 9.3.2): of a retrieve by C-MOVE or C-GET, and of a query.

With C-GET the storage classes are proposed too, with a role selection item for each (PS3.7 D.3.3.4): this side is their
SCP, although it requests the association.
"""

from __future__ import annotations

from movescu._runtime.late_log import logger_of
from movescu._runtime.record import replace
from movescu.retrieve.config import MODELS
from movescu.ul.negotiation import not_granted, propose, retrieval_negotiation, user_information
from movescu.ul.pdu import AssociateRQ, ProposedContext
from movescu.ul.user_information import RoleSelection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final, TypeAlias

    from movescu.retrieve.config import Config
    from movescu.ul.user_information import UserInformation

_log: Final = logger_of("movescu.retrieve")

StorageContext: TypeAlias = "tuple[str, tuple[str, ...]]"
"""A presentation context for objects: SOP class UID, and transfer syntax UIDs in order of preference."""

MOST_CONTEXTS: Final = 128
"""Presentation contexts of one association: the odd IDs from 1 to 255 (PS3.8 9.3.2.2)."""

MOST_STORAGE_CONTEXTS: Final = MOST_CONTEXTS - 6
"""Those of them for objects, beside C-FIND of two models, C-GET, C-MOVE and C-ECHO."""


def association_request(
    config: Config,
    *further: str,
    retrieving: Sequence[str] | None = None,
    storage: Sequence[StorageContext] = (),
) -> AssociateRQ:
    """Return the A-ASSOCIATE-RQ of a retrieve.

    ``further``: abstract syntaxes to propose beside the model's own. ``retrieving``: SOP classes that retrieve.
    Default: C-MOVE. ``storage``: contexts for the objects of C-GET, as many of them as there is room for. Default:
    none.
    """
    find, move = MODELS[config.request.model]
    retrieving = (move,) if retrieving is None else retrieving
    services = tuple(dict.fromkeys((find, *retrieving, *further)))
    contexts = propose(services, config.request.proposed)
    storage = storage[: MOST_CONTEXTS - len(contexts)]
    relational, enhanced = config.request.relational, config.request.enhanced_conversion
    return AssociateRQ(
        called_ae_title=config.archive.title,
        calling_ae_title=config.ae_title,
        contexts=(
            *contexts,
            *(ProposedContext(2 * n + 1, *context) for n, context in enumerate(storage, start=len(contexts))),
        ),
        user_information=replace(
            user_information(config.request.maximum_length),
            role_selections=tuple(
                RoleSelection(uid, scu_role=False, scp_role=True) for uid in dict.fromkeys(uid for uid, _ in storage)
            ),
            extended_negotiations=tuple(
                one
                for uid in retrieving
                for one in retrieval_negotiation(uid, relational=relational, enhanced_conversion=enhanced)
            ),
            user_identity=config.request.user_identity,
        ),
    )


def query_request(config: Config) -> AssociateRQ:
    """Return the A-ASSOCIATE-RQ of a query: the C-FIND classes of all models."""
    classes = tuple(find for find, _ in MODELS.values())
    relational = config.request.relational
    return AssociateRQ(
        called_ae_title=config.archive.title,
        calling_ae_title=config.ae_title,
        contexts=propose(classes, config.request.proposed),
        user_information=replace(
            user_information(config.request.maximum_length),
            extended_negotiations=tuple(
                one
                for uid in classes
                for one in retrieval_negotiation(uid, relational=relational, enhanced_conversion=False)
            ),
            user_identity=config.request.user_identity,
        ),
    )


def warn_of_missing(proposed: UserInformation, answered: UserInformation) -> None:
    """Warn of what the archive does not grant or acknowledge (PS3.7 D.3.3.5, D.3.3.7)."""
    for what in not_granted(proposed.extended_negotiations, answered.extended_negotiations):
        _log.warning("the archive does not grant %s", what)
    identity = proposed.user_identity
    if identity is not None and identity.positive_response_requested and answered.user_identity_response is None:
        _log.warning("the archive did not acknowledge the user identity: it may not support user identities")
