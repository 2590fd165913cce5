"""Negotiation of an association: presentation contexts and extensions (PS3.8 9.3.2.2, 9.3.3.2; PS3.7 D.3.3).

Pure functions: the requestor proposes, the acceptor answers a request by its ``AcceptorPolicy``, and both derive the
agreed presentation contexts from request and answer. Of several proposed transfer syntaxes the acceptor's order of
preference decides, not the requestor's, as with DCMTK.
"""

from __future__ import annotations

from movescu._runtime import version
from movescu._runtime.record import Record, replace
from movescu.dictionary.uids import (
    APPLICATION_CONTEXT,
    IMPLICIT_LITTLE,
    OTHER_TRANSFER_SYNTAXES,
    TRANSFER_SYNTAXES,
    TransferSyntax,
    unknown_transfer_syntax,
)
from movescu.errors import AbortReason, ProtocolError
from movescu.ul.pdu import AnsweredContext, AssociateAC, AssociateRJ, AssociateRQ, ContextResult, ProposedContext
from movescu.ul.user_information import ExtendedNegotiation, RoleSelection, UserInformation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Final

CONTEXT_RESULTS: Final = {
    ContextResult.ACCEPTANCE: "accepted",
    ContextResult.USER_REJECTION: "rejected by the user",
    ContextResult.NO_REASON: "rejected without a reason",
    ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED: "the abstract syntax is not supported",
    ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED: "none of the transfer syntaxes is supported",
}
"""Result/Reason of a presentation context in words (PS3.8 table 9-18)."""


_RETRIEVAL_EXTENSIONS: Final = ("relational retrieval", "conversion to enhanced multi-frame images")
"""Meaning of each byte of the service class application information of C-MOVE classes (PS3.4 C.5.2.1)."""

_LONGEST_UID: Final = 64  # characters (PS3.5 9.1)

CALLING_AE_TITLE_NOT_RECOGNIZED: Final = AssociateRJ(result=1, source=1, reason=3)
CALLED_AE_TITLE_NOT_RECOGNIZED: Final = AssociateRJ(result=1, source=1, reason=7)


class Context(Record):
    """An accepted presentation context: ``abstract_syntax`` is encoded in ``transfer_syntax`` on ``context_id``."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: TransferSyntax


class AcceptorPolicy(Record):
    """The associations and presentation contexts that an acceptor accepts.

    ``abstract_syntaxes``: True for the UID of a SOP class that is accepted. ``transfer_syntaxes``: in order of
    preference; ``OTHER_TRANSFER_SYNTAXES`` stands for those that no table has. ``maximum_length``: bytes of the longest
    P-DATA-TF, as announced. Default: 16384. ``calling_ae_titles`` and ``called_ae_titles``: those of the requests that
    are accepted. Default: any. ``is_scu``: this side may be the SCU, so that the SCP role is granted where it is
    proposed (C-GET). Default: False.
    """

    abstract_syntaxes: Callable[[str], bool]
    transfer_syntaxes: tuple[TransferSyntax, ...]
    maximum_length: int = 16384
    calling_ae_titles: frozenset[str] = frozenset()
    called_ae_titles: frozenset[str] = frozenset()
    is_scu: bool = False

    @property
    def nonstandard(self) -> bool:
        """Whether transfer syntaxes that no table has, and UIDs of any length, are accepted."""
        return OTHER_TRANSFER_SYNTAXES in self.transfer_syntaxes


def propose(
    abstract_syntaxes: Sequence[str], transfer_syntaxes: Iterable[TransferSyntax]
) -> tuple[ProposedContext, ...]:
    """Propose each abstract syntax with all the transfer syntaxes, as contexts 1, 3, 5 and so on."""
    uids = tuple(syntax.uid for syntax in transfer_syntaxes)
    return tuple(ProposedContext(2 * i + 1, uid, uids) for i, uid in enumerate(abstract_syntaxes))


def user_information(maximum_length: int) -> UserInformation:
    """Return the user information of every association (PS3.7 D.3.3.1, D.3.3.2); ``maximum_length`` in bytes."""
    return UserInformation(
        maximum_length=maximum_length,
        implementation_class_uid=version.CLASS_UID,
        implementation_version_name=version.VERSION_NAME,
    )


def retrieval_negotiation(
    sop_class_uid: str, *, relational: bool, enhanced_conversion: bool
) -> tuple[ExtendedNegotiation, ...]:
    """Propose relational retrieval and enhanced multi-frame image conversion for a C-MOVE class (PS3.4 C.5.2.1)."""
    if not relational and not enhanced_conversion:
        return ()
    # Older acceptors know the first byte only, so the second is left out unless it is set.
    information = bytes((relational, enhanced_conversion)) if enhanced_conversion else bytes((relational,))
    return (ExtendedNegotiation(sop_class_uid, information),)


def not_granted(proposed: Sequence[ExtendedNegotiation], answered: Sequence[ExtendedNegotiation]) -> tuple[str, ...]:
    """Return the names of the extensions that ``retrieval_negotiation`` proposed and the answer does not grant.

    A byte that the answer leaves out grants nothing.
    """
    granted = {entry.sop_class_uid: entry.service_class_application_information for entry in answered}
    return tuple(
        name
        for entry in proposed
        for number, name in enumerate(_RETRIEVAL_EXTENSIONS)
        if entry.service_class_application_information[number : number + 1] == b"\1"
        and granted.get(entry.sop_class_uid, b"")[number : number + 1] != b"\1"
    )


def refusal(request: AssociateRQ, policy: AcceptorPolicy) -> AssociateRJ | None:
    """Return the rejection of a request with the wrong AE titles (PS3.8 table 9-21), else None."""
    if policy.calling_ae_titles and request.calling_ae_title not in policy.calling_ae_titles:
        return CALLING_AE_TITLE_NOT_RECOGNIZED
    if policy.called_ae_titles and request.called_ae_title not in policy.called_ae_titles:
        return CALLED_AE_TITLE_NOT_RECOGNIZED
    return None


def answer(request: AssociateRQ, policy: AcceptorPolicy) -> AssociateAC:
    """Return the acceptance of a request, with a result for each proposed context (PS3.8 table 9-18)."""
    contexts = tuple(_answer_context(context, policy) for context in request.contexts)
    return AssociateAC(
        called_ae_title=request.called_ae_title,
        calling_ae_title=request.calling_ae_title,
        contexts=contexts,
        user_information=replace(
            user_information(policy.maximum_length),
            asynchronous_operations=_answer_window(request.user_information.asynchronous_operations),
            role_selections=_answer_roles(request, contexts, policy),
        ),
        application_context=APPLICATION_CONTEXT,
    )


def _answer_window(proposed: tuple[int, int] | None) -> tuple[int, int] | None:
    """Grant the requestor its window (PS3.7 D.3.3.3): it may send requests before the responses to earlier ones.

    They wait in the connection and are carried out in order. This side invokes no operations.
    """
    return None if proposed is None else (proposed[0], 1)


def _answer_roles(
    request: AssociateRQ, answered: Sequence[AnsweredContext], policy: AcceptorPolicy
) -> tuple[RoleSelection, ...]:
    """Accept the SCU role where it is proposed; the SCP role, which is this side's, by the policy (PS3.7 D.3.3.4).

    Only classes that are accepted, and whose UID has a valid length, are answered, each once: with all that a peer may
    propose, the answers could exceed the 65535 bytes of the user information item.
    """
    accepted = {context.context_id for context in answered if context.result == ContextResult.ACCEPTANCE}
    classes = {context.abstract_syntax for context in request.contexts if context.context_id in accepted}
    roles = {role.sop_class_uid: role for role in request.user_information.role_selections}
    return tuple(
        RoleSelection(uid, role.scu_role, scp_role=role.scp_role and policy.is_scu)
        for uid, role in roles.items()
        if uid in classes and len(uid) <= _LONGEST_UID
    )


class RejectedClass(Record):
    """A SOP class with rejected presentation contexts; other contexts of the class may have been accepted.

    ``offered``: the transfer syntaxes of those contexts. ``known``: False if the class itself is not supported, True if
    the transfer syntaxes are the reason.
    """

    sop_class_uid: str
    offered: tuple[str, ...]
    known: bool


def rejected_classes(request: AssociateRQ, answer: AssociateAC) -> tuple[RejectedClass, ...]:
    """Return the SOP classes of which an answer rejects a context, in the order of the request."""
    results = {context.context_id: context.result for context in answer.contexts}
    offered: dict[str, dict[str, None]] = {}
    unsupported = set()
    for context in request.contexts:
        result = results.get(context.context_id)
        if result != ContextResult.ACCEPTANCE:
            offered.setdefault(context.abstract_syntax, {}).update(dict.fromkeys(context.transfer_syntaxes))
        if result == ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED:
            unsupported.add(context.abstract_syntax)
    return tuple(RejectedClass(uid, tuple(syntaxes), uid not in unsupported) for uid, syntaxes in offered.items())


def _answer_context(context: ProposedContext, policy: AcceptorPolicy) -> AnsweredContext:
    if not policy.abstract_syntaxes(context.abstract_syntax):
        result = ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED
    else:
        for syntax in policy.transfer_syntaxes:
            if syntax.uid in context.transfer_syntaxes:
                return AnsweredContext(context.context_id, ContextResult.ACCEPTANCE, syntax.uid)
        if policy.nonstandard and (
            unknown := [u for u in context.transfer_syntaxes if u and u not in TRANSFER_SYNTAXES]
        ):
            return AnsweredContext(context.context_id, ContextResult.ACCEPTANCE, unknown[0])
        result = ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED
    # The transfer syntax of a rejected context is not significant (PS3.8 9.3.3.2); DCMTK sends the default one.
    return AnsweredContext(context.context_id, result, IMPLICIT_LITTLE.uid)


def agreed(request: AssociateRQ, answer: AssociateAC) -> Mapping[int, Context]:
    """Return the accepted contexts by ID, the same on both sides.

    One whose transfer syntax was not proposed is left out: it harms nobody unless it is used. Raise ``ProtocolError``
    if the answer has a context that was not proposed, or no other context than such.
    """
    proposed = {context.context_id: context for context in request.contexts}
    contexts: dict[int, Context] = {}
    unusable = ""
    for answered in answer.contexts:
        context_id, syntax = answered.context_id, answered.transfer_syntax
        if context_id not in proposed:
            raise _not_proposed(f"presentation context {context_id}")
        if answered.result != ContextResult.ACCEPTANCE:
            continue
        if syntax not in proposed[context_id].transfer_syntaxes:
            unusable = f"transfer syntax {syntax!r} on presentation context {context_id}"
            continue
        known = TRANSFER_SYNTAXES.get(syntax) or unknown_transfer_syntax(syntax)
        contexts[context_id] = Context(context_id, proposed[context_id].abstract_syntax, known)
    if unusable and not contexts:
        raise _not_proposed(unusable)
    return contexts


def unproposed_syntaxes(request: AssociateRQ, answer: AssociateAC) -> dict[int, str]:
    """Return the transfer syntaxes by context ID that an answer accepts and the request does not propose."""
    proposed = {context.context_id: context.transfer_syntaxes for context in request.contexts}
    return {
        answered.context_id: answered.transfer_syntax
        for answered in answer.contexts
        if answered.result == ContextResult.ACCEPTANCE
        and answered.transfer_syntax not in proposed.get(answered.context_id, ())
    }


def _not_proposed(what: str) -> ProtocolError:
    return ProtocolError(
        f"A-ASSOCIATE-AC answers {what}, which was not proposed", abort_reason=AbortReason.INVALID_PDU_PARAMETER_VALUE
    )
