"""What an association negotiates: presentation contexts proposed, accepted and agreed (PS3.8 9.3.2.2, 9.3.3.2).

Pure functions from policy and request to answer; the PDUs are in ``pdu``, the order of things in ``association``. The
acceptor's order of transfer syntaxes decides, not the requestor's, as with DCMTK.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from movescu.errors import AbortReason, ProtocolError
from movescu.uids import (
    APPLICATION_CONTEXT,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    IMPLICIT_LITTLE,
    TRANSFER_SYNTAXES,
    TransferSyntax,
)
from movescu.ul.pdu import (
    AnsweredContext,
    AssociateAC,
    AssociateRQ,
    ContextResult,
    ProposedContext,
    UserInformation,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

CONTEXT_RESULTS: Final = {
    ContextResult.ACCEPTANCE: "accepted",
    ContextResult.USER_REJECTION: "rejected by the user",
    ContextResult.NO_REASON: "rejected without a reason",
    ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED: "the abstract syntax is not supported",
    ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED: "none of the transfer syntaxes is supported",
}
"""Result/Reason of a presentation context in words (PS3.8 table 9-18)."""


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context: on ``context_id``, ``abstract_syntax`` is spoken in ``transfer_syntax``."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: TransferSyntax


@dataclass(frozen=True, slots=True)
class AcceptorPolicy:
    """What an acceptor takes.

    ``abstract_syntaxes`` tells whether a SOP class UID is taken; ``transfer_syntaxes`` are in order of preference.
    ``maximum_length`` is what is announced: the longest P-DATA-TF taken, in bytes.
    """

    abstract_syntaxes: Callable[[str], bool]
    transfer_syntaxes: tuple[TransferSyntax, ...]
    maximum_length: int = 16384


def propose(
    abstract_syntaxes: Sequence[str], transfer_syntaxes: Iterable[TransferSyntax]
) -> tuple[ProposedContext, ...]:
    """Propose each abstract syntax with all the transfer syntaxes, as contexts 1, 3, 5 and so on."""
    uids = tuple(syntax.uid for syntax in transfer_syntaxes)
    return tuple(ProposedContext(2 * i + 1, uid, uids) for i, uid in enumerate(abstract_syntaxes))


def user_information(maximum_length: int) -> UserInformation:
    """Say of ourselves what every association says (PS3.7 D.3.3.1, D.3.3.2); ``maximum_length`` in bytes."""
    return UserInformation(
        maximum_length=maximum_length,
        implementation_class_uid=IMPLEMENTATION_CLASS_UID,
        implementation_version_name=IMPLEMENTATION_VERSION_NAME,
    )


def answer(request: AssociateRQ, policy: AcceptorPolicy) -> AssociateAC:
    """Answer each proposed context as the policy has it (PS3.8 table 9-18)."""
    return AssociateAC(
        called_ae_title=request.called_ae_title,
        calling_ae_title=request.calling_ae_title,
        contexts=tuple(_answer_context(context, policy) for context in request.contexts),
        user_information=user_information(policy.maximum_length),
        application_context=APPLICATION_CONTEXT,
    )


def _answer_context(context: ProposedContext, policy: AcceptorPolicy) -> AnsweredContext:
    if not policy.abstract_syntaxes(context.abstract_syntax):
        result = ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED
    else:
        for syntax in policy.transfer_syntaxes:
            if syntax.uid in context.transfer_syntaxes:
                return AnsweredContext(context.context_id, ContextResult.ACCEPTANCE, syntax.uid)
        result = ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED
    # The transfer syntax of a rejected context is not significant; the default one is what DCMTK sends.
    return AnsweredContext(context.context_id, result, IMPLICIT_LITTLE.uid)


def agreed(request: AssociateRQ, answer: AssociateAC) -> Mapping[int, Context]:
    """Give the accepted contexts by ID, the same on both sides.

    Raises ``ProtocolError`` if the answer accepts what was not proposed.
    """
    proposed = {context.context_id: context for context in request.contexts}
    contexts: dict[int, Context] = {}
    for answered in answer.contexts:
        context_id, syntax = answered.context_id, answered.transfer_syntax
        if context_id not in proposed:
            raise _not_proposed(f"presentation context {context_id}")
        if answered.result != ContextResult.ACCEPTANCE:
            continue
        if syntax not in proposed[context_id].transfer_syntaxes or syntax not in TRANSFER_SYNTAXES:
            raise _not_proposed(f"transfer syntax {syntax!r} on presentation context {context_id}")
        contexts[context_id] = Context(context_id, proposed[context_id].abstract_syntax, TRANSFER_SYNTAXES[syntax])
    return contexts


def _not_proposed(what: str) -> ProtocolError:
    return ProtocolError(
        f"A-ASSOCIATE-AC answers {what}, which was not proposed", abort_reason=AbortReason.INVALID_PDU_PARAMETER_VALUE
    )
