"""The association requests of a retrieve and of a query (PS3.8 9.3.2), with their contexts and items."""

from __future__ import annotations

from movescu._runtime.record import replace
from movescu.retrieve.config import MODELS
from movescu.ul.negotiation import propose, retrieval_negotiation, user_information
from movescu.ul.pdu import AssociateRQ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from movescu.retrieve.config import Config


def association_request(config: Config, *further: str) -> AssociateRQ:
    """Return the A-ASSOCIATE-RQ of a retrieve; ``further``: abstract syntaxes to propose beside the model's own."""
    model = MODELS[config.request.model]
    others = (uid for uid in further if uid not in model)
    return AssociateRQ(
        called_ae_title=config.archive.title,
        calling_ae_title=config.ae_title,
        contexts=propose((*model, *others), config.request.transfer_syntaxes),
        user_information=replace(
            user_information(config.request.maximum_length),
            extended_negotiations=retrieval_negotiation(
                model[1], relational=config.request.relational, enhanced_conversion=config.request.enhanced_conversion
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
        contexts=propose(classes, config.request.transfer_syntaxes),
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
