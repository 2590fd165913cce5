"""What is proposed, what is accepted, and what both sides make of it (PS3.8 9.3.2.2, 9.3.3.2)."""

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


def test_find_and_move_are_proposed_as_contexts_one_and_three_with_every_syntax_in_order() -> None:
    assert propose((PATIENT_ROOT_FIND, PATIENT_ROOT_MOVE), (EXPLICIT_LITTLE, EXPLICIT_BIG, IMPLICIT_LITTLE)) == (
        ProposedContext(1, PATIENT_ROOT_FIND, (EXPLICIT, BIG, IMPLICIT)),
        ProposedContext(3, PATIENT_ROOT_MOVE, (EXPLICIT, BIG, IMPLICIT)),
    )


def test_every_association_says_who_we_are_and_what_we_take() -> None:
    information = user_information(32768)
    assert information.maximum_length == 32768
    assert information.implementation_class_uid == version.CLASS_UID
    assert information.implementation_version_name == version.VERSION_NAME
    assert len(version.CLASS_UID) <= 64
    assert len(version.VERSION_NAME) <= 16


def test_the_acceptors_order_of_transfer_syntaxes_decides() -> None:
    proposed = ProposedContext(1, VERIFICATION, (IMPLICIT, EXPLICIT))
    assert answer(asked(proposed), policy(EXPLICIT_LITTLE, IMPLICIT_LITTLE)).contexts == (
        AnsweredContext(1, ContextResult.ACCEPTANCE, EXPLICIT),
    )


def test_each_context_is_answered_for_itself() -> None:
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


def test_the_answer_echoes_the_titles_and_can_be_read_back() -> None:
    reply = answer(asked(ProposedContext(1, VERIFICATION, (IMPLICIT,))), policy(IMPLICIT_LITTLE))
    assert (reply.called_ae_title, reply.calling_ae_title) == ("CALLED", "CALLING")
    data = reply.encode()
    assert decode_pdu(data[0], data[6:]) == reply


def test_a_sender_that_offers_all_128_contexts_is_answered_on_all() -> None:
    contexts = propose((VERIFICATION,) * 128, (IMPLICIT_LITTLE,))
    reply = answer(asked(*contexts), policy(IMPLICIT_LITTLE))
    assert list(agreed(asked(*contexts), reply)) == list(range(1, 257, 2))


def test_both_sides_agree_on_the_same_contexts() -> None:
    request = asked(ProposedContext(1, "1.2.3", (IMPLICIT,)), ProposedContext(3, VERIFICATION, (IMPLICIT, EXPLICIT)))
    reply = answer(request, policy(EXPLICIT_LITTLE))
    assert agreed(request, reply) == {3: Context(3, VERIFICATION, EXPLICIT_LITTLE)}


def test_nothing_is_agreed_where_every_context_is_refused() -> None:
    request = asked(ProposedContext(1, "1.2.3", (IMPLICIT,)))
    assert agreed(request, answer(request, policy(IMPLICIT_LITTLE))) == {}


LIES = {
    "a context that was not proposed": AnsweredContext(5, 0, IMPLICIT),
    "a refused context that was not proposed": AnsweredContext(5, 3, IMPLICIT),
    "a transfer syntax that was not proposed": AnsweredContext(1, 0, EXPLICIT),
    "no transfer syntax": AnsweredContext(1, 0, ""),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_an_answer_to_what_was_not_proposed_ends_the_association_at_once(lie: AnsweredContext) -> None:
    request = asked(ProposedContext(1, VERIFICATION, (IMPLICIT,)))
    with pytest.raises(ProtocolError, match="was not proposed") as raised:
        agreed(request, answered(lie))
    assert raised.value.abort_reason is AbortReason.INVALID_PDU_PARAMETER_VALUE


def test_a_refused_context_may_name_any_transfer_syntax() -> None:
    request = asked(ProposedContext(1, VERIFICATION, (IMPLICIT,)))
    assert agreed(request, answered(AnsweredContext(1, 4, "9.9.9"))) == {}


def test_a_context_left_unanswered_is_not_agreed() -> None:
    request = asked(ProposedContext(1, VERIFICATION, (IMPLICIT,)), ProposedContext(3, VERIFICATION, (IMPLICIT,)))
    reply = replace(answered(), contexts=(AnsweredContext(3, 0, IMPLICIT),))
    assert list(agreed(request, reply)) == [3]


# -- what else is negotiated, and what was not accepted --------------------------------------------------------------


def test_the_window_that_a_sender_asks_for_is_granted_and_none_of_ours_is_asked_of_it() -> None:
    for window in ((20, 1), (0, 0), (5, 5)):
        request = replace(asked(), user_information=replace(asked().user_information, asynchronous_operations=window))
        granted = answer(request, policy(IMPLICIT_LITTLE)).user_information.asynchronous_operations
        assert granted == (window[0], 1)
    assert answer(asked(), policy(IMPLICIT_LITTLE)).user_information.asynchronous_operations is None


def test_a_role_is_answered_for_the_classes_that_are_accepted() -> None:
    roles = tuple(RoleSelection(uid, scu_role=True, scp_role=True) for uid in (VERIFICATION, "1.2.3", "1.2.4"))
    request = asked(ProposedContext(1, "1.2.3", (IMPLICIT,)), ProposedContext(3, VERIFICATION, (IMPLICIT,)))
    request = replace(request, user_information=replace(request.user_information, role_selections=roles))
    reply = answer(request, policy(IMPLICIT_LITTLE))
    assert reply.user_information.role_selections == (RoleSelection(VERIFICATION, scu_role=True, scp_role=False),)


@pytest.mark.row("CVE-2024-23912")
def test_the_answer_to_as_many_roles_as_a_request_holds_can_be_sent() -> None:
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


def test_rejected_contexts_are_told_by_class_with_the_syntaxes_in_which_it_cannot_come() -> None:
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


def test_nothing_is_told_where_all_contexts_are_accepted() -> None:
    request = asked(ProposedContext(1, VERIFICATION, (BIG, IMPLICIT)))
    assert rejected_classes(request, answer(request, policy(IMPLICIT_LITTLE))) == ()


@pytest.mark.parametrize(
    ("granted", "missing"),
    [((b"\1\1",), 0), ((b"\1",), 1), ((b"\0\1",), 1), ((b"\0\0",), 2), ((b"",), 2), ((), 2), ((b"\2\1",), 1)],
)
def test_a_byte_of_the_extended_negotiation_that_is_not_1_is_a_no(granted: tuple[bytes, ...], missing: int) -> None:
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
def test_a_private_class_may_be_for_storage_and_one_of_another_service_may_not(uid: str, *, expected: bool) -> None:
    assert may_be_storage(uid) == expected
