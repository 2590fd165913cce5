"""The A-ASSOCIATE PDUs (PS3.8 section 9.3) as text for the log.

User identities (PS3.7 D.3.3.7) are never shown, neither decoded nor in ``bytes_of``: of a possible password the log has
the type alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu._runtime.hex_dump import text_of
from movescu._runtime.record import replace
from movescu.dictionary.uids import uid_name
from movescu.ul.pdu import AssociateAC, AssociateRJ, AssociateRQ, ContextResult
from movescu.ul.user_information import UserIdentity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from movescu.ul.pdu import AnsweredContext, ProposedContext
    from movescu.ul.user_information import UserInformation

_RESULTS: Final = {
    ContextResult.ACCEPTANCE: "accepted",
    ContextResult.USER_REJECTION: "rejected by the user",
    ContextResult.NO_REASON: "rejected without a reason",
    ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED: "abstract syntax not supported",
    ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED: "transfer syntaxes not supported",
}
_IDENTITIES: Final = {
    1: "user name",
    2: "user name and passcode",
    3: "Kerberos service ticket",
    4: "SAML assertion",
    5: "JSON web token",
}


def association_text(
    title: str, pdu: AssociateRQ | AssociateAC | AssociateRJ, request: AssociateRQ | None = None
) -> str:
    """Return a PDU as lines below a title; ``request``: the one that an A-ASSOCIATE-AC answers."""
    if isinstance(pdu, AssociateRJ):
        return text_of((title, f"  {pdu.describe()}"))
    return text_of((title, *_lines(pdu, request)))


def bytes_of(pdu: AssociateRQ | AssociateAC | AssociateRJ) -> bytes:
    """Encode a PDU with an empty user identity, so that a PDU that was received never becomes longer."""
    if isinstance(pdu, AssociateRJ):
        return pdu.encode()
    information = pdu.user_information
    if information.user_identity is not None:
        kind = information.user_identity.identity_type
        information = replace(information, user_identity=UserIdentity(kind, b""))
    if information.user_identity_response is not None:
        information = replace(information, user_identity_response=b"")
    return replace(pdu, user_information=information).encode()


def _named(uid: str) -> str:
    name = uid_name(uid)
    return uid if name == uid else f"{name} ({uid})"


def _lines(pdu: AssociateRQ | AssociateAC, request: AssociateRQ | None) -> Iterator[str]:
    yield f"  called AE title: {pdu.called_ae_title}"
    yield f"  calling AE title: {pdu.calling_ae_title}"
    yield f"  application context: {_named(pdu.application_context)}"
    yield from _information_lines(pdu.user_information)
    if isinstance(pdu, AssociateRQ):
        for proposed in pdu.contexts:
            yield from _proposed_lines(proposed)
        return
    abstract = {context.context_id: context.abstract_syntax for context in request.contexts} if request else {}
    for answered in pdu.contexts:
        yield from _answered_lines(answered, abstract.get(answered.context_id, ""))


def _proposed_lines(context: ProposedContext) -> Iterator[str]:
    yield f"  presentation context {context.context_id}: {_named(context.abstract_syntax)}"
    yield from (f"    {_named(uid)}" for uid in context.transfer_syntaxes)


def _answered_lines(context: AnsweredContext, abstract_syntax: str) -> Iterator[str]:
    result = f"result {context.result}"
    if context.result in _RESULTS:
        result = _RESULTS[ContextResult(context.result)]
    name = f", {_named(abstract_syntax)}" if abstract_syntax else ""
    yield f"  presentation context {context.context_id}: {result}{name}"
    if context.result == ContextResult.ACCEPTANCE:
        yield f"    {_named(context.transfer_syntax)}"


def _information_lines(information: UserInformation) -> Iterator[str]:
    yield f"  maximum length: {_length(information.maximum_length)}"
    yield f"  implementation class UID: {information.implementation_class_uid}"
    yield f"  implementation version name: {information.implementation_version_name}"
    if information.asynchronous_operations is not None:
        invoked, performed = information.asynchronous_operations
        yield f"  asynchronous operations: {invoked} invoked, {performed} performed"
    for role in information.role_selections:
        roles = [name for name, taken in (("SCU", role.scu_role), ("SCP", role.scp_role)) if taken]
        yield f"  roles for {_named(role.sop_class_uid)}: {' and '.join(roles) or 'none'}"
    for extended in information.extended_negotiations:
        bits = extended.service_class_application_information[:32].hex(" ")
        yield f"  extended negotiation for {_named(extended.sop_class_uid)}: {bits}"
    for common in information.common_extended_negotiations:
        yield f"  {_named(common.sop_class_uid)} belongs to service class {common.service_class_uid}"
    if information.user_identity is not None:
        kind = information.user_identity.identity_type
        yield f"  user identity: {_IDENTITIES.get(kind, f'type {kind}')}, not shown"
    if information.user_identity_response is not None:
        yield "  user identity accepted, response not shown"


def _length(length: int | None) -> str:
    return "not given" if length is None else str(length) if length else "no limit"
