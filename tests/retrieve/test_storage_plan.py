"""Which presentation contexts a C-GET proposes, and over how many associations."""

from __future__ import annotations

import pytest

from movescu._runtime.record import replace
from movescu.cli.options.command_line import parse
from movescu.dictionary.uids import EXPLICIT_LITTLE, OTHER_TRANSFER_SYNTAXES, UNCOMPRESSED, storage_classes
from movescu.dimse.status import CANCEL, OUT_OF_RESOURCES_SUB_OPERATIONS, SUB_OPERATIONS_WITH_FAILURES, SUCCESS
from movescu.retrieve.association_request import MOST_CONTEXTS, MOST_STORAGE_CONTEXTS, association_request
from movescu.retrieve.config import AE, GET_CLASSES, MODELS, Config, Receive, RetrieveBy
from movescu.retrieve.requests import accounting_for, merged
from movescu.retrieve.storage_plan import contexts_for, default_contexts, filled, rounds
from movescu.services.move import MoveResponse

CT, SR, PRIVATE = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.22", "1.2.826.0.1.99"
NATIVE = tuple(syntax.uid for syntax in UNCOMPRESSED)
ALL = parse(["-k", "QueryRetrieveLevel=STUDY", "+xa", "archive", "104"]).preferred
COMPRESSED = [syntax.uid for syntax in ALL if syntax.encapsulated or syntax.deflated]


def test_native_syntaxes_share_a_context_and_each_compressed_one_has_its_own() -> None:
    contexts = contexts_for([CT], Receive(None, transfer_syntaxes=ALL))
    native = tuple(syntax.uid for syntax in ALL if not (syntax.encapsulated or syntax.deflated))
    assert contexts[0] == (CT, native)
    assert [context for context in contexts[1:] if len(context[1]) != 1] == []
    assert [syntax for _, (syntax,) in contexts[1:]] == COMPRESSED


def test_class_without_pixels_has_no_compressed_context() -> None:
    assert len(contexts_for([SR], Receive(None, transfer_syntaxes=ALL))) == 1


def test_unknown_class_is_proposed_if_it_is_accepted() -> None:
    assert contexts_for([PRIVATE], Receive(None)) == ()
    assert contexts_for([PRIVATE], Receive(None, accept_unknown=True)) == ((PRIVATE, NATIVE),)
    assert contexts_for(["1.2.840.10008.1.1"], Receive(None, accept_unknown=True)) == ()


def test_syntax_that_stands_for_others_is_not_proposed() -> None:
    own = Receive(None, transfer_syntaxes=(EXPLICIT_LITTLE, OTHER_TRANSFER_SYNTAXES))
    assert contexts_for([CT], own) == ((CT, (EXPLICIT_LITTLE.uid,)),)


def test_every_storage_class_is_among_the_defaults_once() -> None:
    contexts = default_contexts(Receive(None))
    assert sorted(uid for uid, _ in contexts) == sorted(storage_classes())


@pytest.mark.parametrize("syntaxes", [UNCOMPRESSED, ALL])
def test_rounds_have_every_context_once_and_none_that_was_tried(syntaxes: tuple[object, ...]) -> None:
    own = Receive(None, transfer_syntaxes=syntaxes)  # type: ignore[arg-type] # parametrized
    every = default_contexts(own)
    first = filled((), own, MOST_STORAGE_CONTEXTS)
    later = rounds(every, first, MOST_STORAGE_CONTEXTS)
    assert [len(one) > MOST_STORAGE_CONTEXTS for one in later] == [False] * len(later)
    assert sorted([*first, *(context for one in later for context in one)]) == sorted(every)


@pytest.mark.parametrize("model", MODELS)
def test_association_request_has_128_contexts_at_most_and_a_role_item_for_each_class(model: str) -> None:
    own = Receive(None, transfer_syntaxes=ALL)
    config = Config(archive=AE("archive", 104), receive=own, retrieve_by=RetrieveBy.AUTO)
    storage = filled((), own, 200)
    request = association_request(config, retrieving=(GET_CLASSES[model], MODELS[model][1]), storage=storage)
    assert len(request.contexts) == MOST_CONTEXTS
    assert [context.context_id for context in request.contexts] == list(range(1, 256, 2))
    roles = request.user_information.role_selections
    proposed = {context.abstract_syntax for context in request.contexts} & storage_classes().keys()
    assert sorted(role.sop_class_uid for role in roles) == sorted(proposed)
    assert {(role.scu_role, role.scp_role) for role in roles} == {(False, True)}


# -- the result of several rounds --------------------------------------------------------------------------------------


def response(status: int, completed: int | None, failed: int | None, uids: tuple[str, ...] = ()) -> MoveResponse:
    return MoveResponse(1, status, None, completed, failed, 0, failed_sop_instance_uids=uids, service="C-GET")


FIRST = response(SUB_OPERATIONS_WITH_FAILURES, 5, 2, ("1.1", "1.2"))
LATER = response(SUB_OPERATIONS_WITH_FAILURES, 1, 6)


def test_failed_objects_that_were_stored_later_did_not_fail() -> None:
    found = merged(FIRST, {"1.1", "1.2"}, LATER)
    assert (found.status, found.completed, found.failed, found.failed_sop_instance_uids) == (SUCCESS, 7, 0, ())


def test_failed_object_that_was_not_stored_later_stays_failed() -> None:
    found = merged(FIRST, {"1.1"}, LATER)
    assert (found.status, found.completed, found.failed) == (SUB_OPERATIONS_WITH_FAILURES, 6, 1)
    assert found.failed_sop_instance_uids == ("1.2",)


def test_failure_without_a_name_stays_one() -> None:
    first = response(SUB_OPERATIONS_WITH_FAILURES, 5, 3, ("1.1", "1.2"))
    found = merged(first, {"1.1", "1.2"}, LATER)
    assert (found.status, found.failed) == (SUB_OPERATIONS_WITH_FAILURES, 1)


def test_status_that_says_more_than_failed_sub_operations_stays() -> None:
    first = response(0xC001, 5, 2, ("1.1", "1.2"))
    assert merged(first, {"1.1", "1.2"}, LATER).status == 0xC001


def test_refusal_for_all_sub_operations_is_a_warning_if_some_were_stored_later() -> None:
    first = response(OUT_OF_RESOURCES_SUB_OPERATIONS, 0, 2, ("1.1", "1.2"))
    assert merged(first, {"1.1"}, LATER).status == SUB_OPERATIONS_WITH_FAILURES
    assert merged(first, set(), LATER).status == OUT_OF_RESOURCES_SUB_OPERATIONS


def test_cancel_in_a_later_round_is_one() -> None:
    assert merged(FIRST, set(), response(CANCEL, 0, 0)).status == CANCEL


def test_warning_of_the_archive_stays_when_the_failed_objects_were_stored_later() -> None:
    first = replace(FIRST, warning=1)
    assert merged(first, {"1.1", "1.2"}, LATER).status == SUB_OPERATIONS_WITH_FAILURES


@pytest.mark.parametrize(
    ("completed", "again", "failed"),
    [(2, 2, 0), (None, 2, 0), (1, 1, 1), (0, 0, 2), (None, 0, 2), (None, 1, 1), (3, 3, 0), (1, 2, 1)],
)
@pytest.mark.parametrize(
    ("first", "before"),
    [
        (response(SUB_OPERATIONS_WITH_FAILURES, 0, 2), 0),  # the first response counts two objects
        (response(0xC000, None, None), 2),  # it counts none, and two have arrived
    ],
)
def test_repeated_request_accounts_for_what_was_counted_or_arrived_before(
    first: MoveResponse, before: int, completed: int | None, again: int, failed: int
) -> None:
    later = MoveResponse(2, SUCCESS, None, completed, None if completed is None else 0, None)
    found = accounting_for(first, later, before=before, again=again)
    assert (found.failed or 0, found.status) == (failed, SUB_OPERATIONS_WITH_FAILURES if failed else SUCCESS)
