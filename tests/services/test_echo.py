"""The C-ECHO SCU with real servers, and with one that breaks the protocol."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import peers
import pytest

from movescu.dictionary.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE, VERIFICATION
from movescu.dimse.exchange import Exchange
from movescu.dimse.messages import CEchoRQ, CEchoRSP, CFindRSP, Message
from movescu.errors import ProtocolError
from movescu.services.echo import EchoSCU
from movescu.testing import Archive
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Silence
from movescu.transport.listener import Listener
from movescu.transport.sockets import connect, listen
from movescu.ul.negotiation import AcceptorPolicy, answer, propose, user_information
from movescu.ul.pdu import AssociateRQ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOON = Silence(20.0, "the server is silent")


@contextlib.contextmanager
def echo_scu(host: str, port: int, ae_title: str = "ANY-SCP") -> Iterator[EchoSCU]:
    request = AssociateRQ(
        called_ae_title=ae_title,
        calling_ae_title="ECHO",
        contexts=propose([VERIFICATION], [EXPLICIT_LITTLE, IMPLICIT_LITTLE]),
        user_information=user_information(16384),
    )
    connection = Connection.request(connect(host, port, 20.0), request, 20.0)
    with connection.closing_on_error():
        yield EchoSCU(Exchange(connection), connection.contexts[1])
        connection.release(SOON)


def test_echo_succeeds_with_real_servers() -> None:
    for launch in (peers.dcmqrscp, peers.orthanc, peers.storescp):
        with launch() as server, echo_scu(server.host, server.port, server.aet) as scu:
            assert [scu.echo(SOON) for _ in range(3)] == [0, 0, 0]


def test_echo_succeeds_with_the_testing_archive() -> None:
    with Archive() as archive, echo_scu(archive.host, archive.port) as scu:
        assert scu.echo(SOON) == 0


@contextlib.contextmanager
def server(respond: Callable[[CEchoRQ], Message]) -> Iterator[Listener]:
    """Answers one C-ECHO request, with whatever message it is given."""

    def serve(connection: Connection, request: AssociateRQ) -> None:
        policy = AcceptorPolicy(lambda _: True, (IMPLICIT_LITTLE,))
        connection.accept(request, answer(request, policy), SOON)
        exchange = Exchange(connection)
        received = exchange.receive(SOON)
        assert received is not None
        assert isinstance(received[1], CEchoRQ)
        exchange.send(received[0], respond(received[1]), SOON)
        if exchange.receive(SOON) is None:
            connection.confirm_release(SOON)

    listener = Listener(listen(peers.HOST, 0), serve)
    try:
        yield listener
    finally:
        listener.close()


def test_echo_returns_the_status_of_the_response() -> None:
    with (
        server(lambda request: CEchoRSP(request.message_id, 0x0122)) as listener,
        echo_scu(peers.HOST, listener.port) as scu,
    ):
        assert scu.echo(SOON) == 0x0122


@pytest.mark.parametrize(
    "respond",
    [lambda request: CEchoRSP(request.message_id + 1, 0), lambda request: CFindRSP(request.message_id, 0)],
    ids=["another message ID", "another message"],
)
def test_echo_rejects_a_response_to_another_request(respond: Callable[[CEchoRQ], Message]) -> None:
    with (
        server(respond) as listener,
        pytest.raises(ProtocolError, match="where the response to C-ECHO request 1 is due"),
        echo_scu(peers.HOST, listener.port) as scu,
    ):
        scu.echo(SOON)
