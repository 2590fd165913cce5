"""Negotiation: the proposal, the answer, and the contexts agreed on both sides (PS3.8 9.3.2.2, 9.3.3.2)."""

from __future__ import annotations

import pytest

from movescu._runtime import version
from movescu._runtime.record import replace
from movescu.dictionary.uids import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    PATIENT_ROOT_FIND,
    PATIENT_ROOT_MOVE,
    VERIFICATION,
    TransferSyntax,
    may_be_storage,
)
from movescu.errors import AbortReason, ProtocolError
from movescu.ul.negotiation import (
    AcceptorPolicy,
    Context,
    RejectedClass,
    agreed,
    answer,
    not_granted,
    propose,
    rejected_classes,
    retrieval_negotiation,
    unproposed_syntaxes,
    user_information,
)
from movescu.ul.pdu import AnsweredContext, AssociateAC, AssociateRQ, ContextResult, ProposedContext, decode_pdu
from movescu.ul.user_information import ExtendedNegotiation, RoleSelection, UserInformation

IMPLICIT, EXPLICIT, BIG = IMPLICIT_LITTLE.uid, EXPLICIT_LITTLE.uid, EXPLICIT_BIG.uid


def asked(*contexts: ProposedContext) -> AssociateRQ:
    return AssociateRQ("CALLED", "CALLING", contexts, user_information(16384))


def policy(*syntaxes: TransferSyntax) -> AcceptorPolicy:
    return AcceptorPolicy({VERIFICATION}.__contains__, syntaxes, 65536)


def answered(*contexts: AnsweredContext) -> AssociateAC:
    return AssociateAC("CALLED", "CALLING", contexts, user_information(16384))


def test_request_proposes_find_and_move_as_contexts_1_and_3_with_every_syntax_in_order() -> None:
    assert propose((PATIENT_ROOT_FIND, PATIENT_ROOT_MOVE), (EXPLICIT_LITTLE, EXPLICIT_BIG, IMPLICIT_LITTLE)) == (
        ProposedContext(1, PATIENT_ROOT_FIND, (EXPLICIT, BIG, IMPLICIT)),
        ProposedContext(3, PATIENT_ROOT_MOVE, (EXPLICIT, BIG, IMPLICIT)),
    )


def test_user_information_has_implementation_and_maximum_length() -> None:
    information = user_information(32768)
    assert information.maximum_length == 32768
    assert information.implementation_class_uid == version.CLASS_UID
    assert information.implementation_version_name == version.VERSION_NAME
    assert len(version.CLASS_UID) <= 64
    assert len(version.VERSION_NAME) <= 16


def test_acceptor_chooses_transfer_syntax_by_its_own_order() -> None:
    proposed = ProposedContext(1, VERIFICATION, (IMPLICIT, EXPLICIT))
    assert answer(asked(proposed), policy(EXPLICIT_LITTLE, IMPLICIT_LITTLE)).contexts == (
        AnsweredContext(1, ContextResult.ACCEPTANCE, EXPLICIT),
    )


def test_acceptor_answers_each_context_by_itself() -> None:
    reply = answer(
        asked(
            ProposedContext(1, "1.2.3", (IMPLICIT,)),
            ProposedContext(3, VERIFICATION, (BIG,)),
            ProposedContext(255, VERIFICATION, (BIG, IMPLICIT)),
        ),
        policy(IMPLICIT_LITTLE),
    )
    assert [(c.context_id, c.result) for c in reply.contexts] == [
        (1, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED),
        (3, ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED),
        (255, ContextResult.ACCEPTANCE),
    ]
    assert reply.user_information.maximum_length == 65536


def test_answer_repeats_the_ae_titles_and_decodes_to_itself() -> None:
    reply = answer(asked(ProposedContext(1, VERIFICATION, (IMPLICIT,))), policy(IMPLICIT_LITTLE))
    assert (reply.called_ae_title, reply.calling_ae_title) == ("CALLED", "CALLING")
    data = reply.encode()
    assert decode_pdu(data[0], data[6:]) == reply


def test_acceptor_answers_all_of_128_contexts() -> None:
    contexts = propose((VERIFICATION,) * 128, (IMPLICIT_LITTLE,))
    reply = answer(asked(*contexts), policy(IMPLICIT_LITTLE))
    assert list(agreed(asked(*contexts), reply)) == list(range(1, 257, 2))


def test_requestor_and_acceptor_agree_on_the_same_contexts() -> None:
    request = asked(ProposedContext(1, "1.2.3", (IMPLICIT,)), ProposedContext(3, VERIFICATION, (IMPLICIT, EXPLICIT)))
    reply = answer(request, policy(EXPLICIT_LITTLE))
    assert agreed(request, reply) == {3: Context(3, VERIFICATION, EXPLICIT_LITTLE)}


def test_contexts_that_are_all_refused_leave_nothing_agreed() -> None:
    request = asked(ProposedContext(1, "1.2.3", (IMPLICIT,)))
    assert agreed(request, answer(request, policy(IMPLICIT_LITTLE))) == {}


LIES = {
    "a context that was not proposed": AnsweredContext(5, 0, IMPLICIT),
    "a refused context that was not proposed": AnsweredContext(5, 3, IMPLICIT),
    "a transfer syntax that was not proposed": AnsweredContext(1, 0, EXPLICIT),
    "no transfer syntax": AnsweredContext(1, 0, ""),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_answer_with_an_unproposed_context_is_a_protocol_error(lie: AnsweredContext) -> None:
    request = asked(ProposedContext(1, VERIFICATION, (IMPLICIT,)))
    with pytest.raises(ProtocolError, match="was not proposed") as raised:
        agreed(request, answered(lie))
    assert raised.value.abort_reason is AbortReason.INVALID_PDU_PARAMETER_VALUE


def test_unproposed_syntax_on_one_of_several_contexts_leaves_that_one_out() -> None:
    request = asked(ProposedContext(1, VERIFICATION, (IMPLICIT,)), ProposedContext(3, VERIFICATION, (IMPLICIT,)))
    reply = replace(answered(), contexts=(AnsweredContext(1, 0, EXPLICIT), AnsweredContext(3, 0, IMPLICIT)))
    assert list(agreed(request, reply)) == [3]
    assert unproposed_syntaxes(request, reply) == {1: EXPLICIT}


def test_refused_context_may_name_any_transfer_syntax() -> None:
    request = asked(ProposedContext(1, VERIFICATION, (IMPLICIT,)))
    assert agreed(request, answered(AnsweredContext(1, 4, "9.9.9"))) == {}


def test_context_left_unanswered_is_not_agreed() -> None:
    request = asked(ProposedContext(1, VERIFICATION, (IMPLICIT,)), ProposedContext(3, VERIFICATION, (IMPLICIT,)))
    reply = replace(answered(), contexts=(AnsweredContext(3, 0, IMPLICIT),))
    assert list(agreed(request, reply)) == [3]


# -- what else is negotiated, and what was not accepted --------------------------------------------------------------


def test_acceptor_grants_the_asynchronous_window_and_requests_none() -> None:
    for window in ((20, 1), (0, 0), (5, 5)):
        request = replace(asked(), user_information=replace(asked().user_information, asynchronous_operations=window))
        granted = answer(request, policy(IMPLICIT_LITTLE)).user_information.asynchronous_operations
        assert granted == (window[0], 1)
    assert answer(asked(), policy(IMPLICIT_LITTLE)).user_information.asynchronous_operations is None


def test_acceptor_answers_roles_of_accepted_classes_only() -> None:
    roles = tuple(RoleSelection(uid, scu_role=True, scp_role=True) for uid in (VERIFICATION, "1.2.3", "1.2.4"))
    request = asked(ProposedContext(1, "1.2.3", (IMPLICIT,)), ProposedContext(3, VERIFICATION, (IMPLICIT,)))
    request = replace(request, user_information=replace(request.user_information, role_selections=roles))
    reply = answer(request, policy(IMPLICIT_LITTLE))
    assert reply.user_information.role_selections == (RoleSelection(VERIFICATION, scu_role=True, scp_role=False),)


@pytest.mark.row("CVE-2024-23912")
def test_answer_to_the_most_roles_of_a_request_can_be_encoded() -> None:
    """One of each would not fit beside what we say of ourselves: the user information item ends at 65535 bytes."""
    roles = (RoleSelection(VERIFICATION, scu_role=True, scp_role=False),) * 2620
    names = ("v" * 32_000, "w" * 32_000)
    long = tuple(RoleSelection(name, scu_role=True, scp_role=False) for name in names)
    for given, expected in ((roles, roles[:1]), (long, ())):
        contexts = (ProposedContext(2 * n + 1, uid, (IMPLICIT,)) for n, uid in enumerate((VERIFICATION, *names)))
        request = replace(asked(*contexts), user_information=UserInformation(role_selections=given))
        received = decode_pdu(request.pdu_type, request.encode()[6:])
        assert isinstance(received, AssociateRQ)
        reply = answer(received, AcceptorPolicy(lambda _: True, (IMPLICIT_LITTLE,)))
        assert reply.user_information.role_selections == expected
        assert decode_pdu(reply.pdu_type, reply.encode()[6:]) == reply


def test_rejected_classes_have_the_transfer_syntaxes_that_were_offered() -> None:
    request = asked(
        ProposedContext(1, VERIFICATION, (IMPLICIT,)),
        ProposedContext(3, VERIFICATION, (BIG, EXPLICIT)),
        ProposedContext(5, "1.2.3", (IMPLICIT,)),
        ProposedContext(7, VERIFICATION, ("1.2.4", BIG)),
        ProposedContext(9, "1.2.3", (EXPLICIT, IMPLICIT)),
    )
    assert rejected_classes(request, answer(request, policy(IMPLICIT_LITTLE))) == (
        RejectedClass(VERIFICATION, (BIG, EXPLICIT, "1.2.4"), known=True),
        RejectedClass("1.2.3", (IMPLICIT, EXPLICIT), known=False),
    )


def test_rejected_classes_are_none_if_all_contexts_are_accepted() -> None:
    request = asked(ProposedContext(1, VERIFICATION, (BIG, IMPLICIT)))
    assert rejected_classes(request, answer(request, policy(IMPLICIT_LITTLE))) == ()


@pytest.mark.parametrize(
    ("granted", "missing"),
    [((b"\1\1",), 0), ((b"\1",), 1), ((b"\0\1",), 1), ((b"\0\0",), 2), ((b"",), 2), ((), 2), ((b"\2\1",), 1)],
)
def test_extended_negotiation_byte_other_than_1_grants_nothing(granted: tuple[bytes, ...], missing: int) -> None:
    proposed = retrieval_negotiation(PATIENT_ROOT_MOVE, relational=True, enhanced_conversion=True)
    assert len(not_granted(proposed, [ExtendedNegotiation(PATIENT_ROOT_MOVE, value) for value in granted])) == missing
    assert len(not_granted(proposed, [ExtendedNegotiation(PATIENT_ROOT_FIND, value) for value in granted])) == 2


@pytest.mark.parametrize(
    ("uid", "expected"),
    [
        ("1.2.840.113619.4.27", True),
        ("1.2.840.10008.5.1.4.1.1.9999", True),
        (PATIENT_ROOT_FIND, False),
        ("1.2.840.10008.1.20.1", False),
        ("", False),
    ],
)
def test_private_class_is_accepted_for_storage_and_one_of_another_service_is_not(uid: str, *, expected: bool) -> None:
    assert may_be_storage(uid) == expected
