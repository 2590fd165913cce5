"""The C-FIND SCU with real archives, and with one that breaks the protocol."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import corpus
import peers
import pytest

from movescu.dataset.transcoder import values_of
from movescu.dictionary.uids import (
    DEFLATED_LITTLE,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    STUDY_ROOT_FIND,
    TransferSyntax,
)
from movescu.dimse.exchange import Exchange
from movescu.dimse.messages import DATA_SET_PRESENT, CFindRQ, CFindRSP, CMoveRSP, Message
from movescu.dimse.status import CANCEL, PENDING, SUCCESS, StatusClass
from movescu.errors import AssociationReleasedError, ProtocolError
from movescu.query.identifier import make_identifier
from movescu.services import find
from movescu.services.find import FindResponse, FindSCU
from movescu.testing import Archive
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Silence
from movescu.transport.listener import Listener
from movescu.transport.sockets import connect, listen
from movescu.ul.negotiation import AcceptorPolicy, answer, propose, user_information
from movescu.ul.pdu import AssociateRQ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SOON = Silence(20.0, "the archive is silent")
STUDY_INSTANCE_UID = 0x0020000D
KEYS = ["QueryRetrieveLevel=STUDY", "StudyInstanceUID", "PatientName=Test*"]


@contextlib.contextmanager
def find_scu(
    host: str, port: int, ae_title: str = "ANY-SCP", syntax: TransferSyntax = EXPLICIT_LITTLE
) -> Iterator[FindSCU]:
    request = AssociateRQ(
        called_ae_title=ae_title,
        calling_ae_title="FIND",
        contexts=propose([STUDY_ROOT_FIND], [syntax]),
        user_information=user_information(16384),
    )
    connection = Connection.request(connect(host, port, 20.0), request, 20.0)
    with connection.closing_on_error():
        yield FindSCU(Exchange(connection), connection.contexts[1])
        connection.release(SOON)


def ask(scu: FindSCU, *keys: str, syntax: TransferSyntax = EXPLICIT_LITTLE) -> list[FindResponse]:
    scu.request(make_identifier(keys).encode(syntax), SOON)
    return list(scu.responses(SOON))


def study_uids(responses: list[FindResponse], syntax: TransferSyntax = EXPLICIT_LITTLE) -> set[str]:
    found = (values_of(response.identifier, syntax)[STUDY_INSTANCE_UID] for response in responses)
    return {value.decode().rstrip("\0 ") for value in found}


def test_find_lists_every_study_of_real_archives(tmp_path: Path) -> None:
    made = corpus.make_study(tmp_path, patients=2, studies=3, size=2048)
    for launch in (peers.dcmqrscp, peers.orthanc):
        with launch() as archive:
            archive.load(corpus.paths(made))
            with find_scu(archive.host, archive.port, archive.aet) as scu:
                *matches, final = ask(scu, *KEYS)
                nothing = ask(scu, *KEYS[:2], "PatientName=Nobody")
        assert len(matches) == 6
        assert study_uids(matches) == {instance.study_uid for instance in made}
        assert {response.status_class for response in matches} == {StatusClass.PENDING}
        assert (final.status, final.status_name, final.identifier) == (SUCCESS, "Success", b"")
        assert [response.status for response in nothing] == [SUCCESS]


@pytest.mark.parametrize("syntax", [IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED_LITTLE])
def test_find_works_in_every_transfer_syntax(tmp_path: Path, syntax: TransferSyntax) -> None:
    made = corpus.make_study(tmp_path, studies=3, size=2048)
    with Archive(tmp_path) as archive, find_scu(archive.host, archive.port, syntax=syntax) as scu:
        *matches, final = ask(scu, *KEYS, syntax=syntax)
    assert study_uids(matches, syntax) == {instance.study_uid for instance in made}
    assert final.status == SUCCESS


def test_refused_identifier_is_reported_with_the_reason() -> None:
    with Archive() as archive, find_scu(archive.host, archive.port) as scu:
        [final] = ask(scu, "QueryRetrieveLevel=PATIENT", "PatientID")
    assert final.status_name == "Error: Identifier does not match SOP Class"
    assert final.offending_elements == (0x00080052,)
    assert "PATIENT" in final.error_comment


# -- archives that answer wrongly --------------------------------------------------------------------------------------


@contextlib.contextmanager
def server(script: Callable[[Exchange, int, CFindRQ], None]) -> Iterator[Listener]:
    """Answers one C-FIND request as scripted."""

    def serve(connection: Connection, request: AssociateRQ) -> None:
        policy = AcceptorPolicy(lambda _: True, (EXPLICIT_LITTLE,))
        connection.accept(request, answer(request, policy), SOON)
        exchange = Exchange(connection)
        received = exchange.receive(SOON)
        assert received is not None
        assert isinstance(received[1], CFindRQ)
        for _ in exchange.data_set(SOON):
            pass
        script(exchange, received[0], received[1])
        if exchange.receive(SOON) is None:
            connection.confirm_release(SOON)

    listener = Listener(listen(peers.HOST, 0), serve)
    try:
        yield listener
    finally:
        listener.close()


def test_cancelled_query_ends_with_the_final_response() -> None:
    def script(exchange: Exchange, context_id: int, request: CFindRQ) -> None:
        match = CFindRSP(request.message_id, PENDING, command_data_set_type=DATA_SET_PRESENT)
        exchange.send(context_id, match, SOON, b"")
        assert exchange.receive(SOON) is not None  # C-CANCEL
        exchange.send(context_id, CFindRSP(request.message_id, CANCEL), SOON)

    with server(script) as listener, find_scu(peers.HOST, listener.port) as scu:
        scu.request(make_identifier(KEYS).encode(EXPLICIT_LITTLE), SOON)
        responses = scu.responses(SOON)
        assert next(responses).status == PENDING
        scu.cancel(SOON)
        assert [response.status_class for response in responses] == [StatusClass.CANCEL]


@pytest.mark.parametrize(
    ("respond", "words"),
    [
        (lambda request: CFindRSP(request.message_id + 1, SUCCESS), "not the last request"),
        (lambda request: CMoveRSP(request.message_id, SUCCESS), "where a C-FIND response is due"),
    ],
)
def test_response_to_another_request_is_a_protocol_error(respond: Callable[[CFindRQ], Message], words: str) -> None:
    with (
        server(lambda exchange, context_id, request: exchange.send(context_id, respond(request), SOON)) as listener,
        pytest.raises(ProtocolError, match=words),
        find_scu(peers.HOST, listener.port) as scu,
    ):
        ask(scu, *KEYS)


def test_endless_identifier_is_refused_at_the_limit() -> None:
    def script(exchange: Exchange, context_id: int, request: CFindRQ) -> None:
        match = CFindRSP(request.message_id, PENDING, command_data_set_type=DATA_SET_PRESENT)
        exchange.send(context_id, match, SOON, bytes(find.MAXIMUM_IDENTIFIER + 1))

    with (
        server(script) as listener,
        pytest.raises(ProtocolError, match="an identifier of more than"),
        find_scu(peers.HOST, listener.port) as scu,
    ):
        ask(scu, *KEYS)


def test_release_in_place_of_the_final_response_is_an_error() -> None:
    with (
        server(lambda exchange, _, __: exchange.connection.release(SOON)) as listener,
        pytest.raises(AssociationReleasedError),
        find_scu(peers.HOST, listener.port) as scu,
    ):
        ask(scu, *KEYS)
