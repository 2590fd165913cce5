"""What two programs of the same name propose and accept: association requests asked of them, and caught from them.

``answers`` has a program listen, as a retrieve does, and sends A-ASSOCIATE-RQs to its port while the archive holds the
C-MOVE open; many in one run, for a run is what takes time. ``catch`` takes down what a program sends to an archive:
the bytes of its A-ASSOCIATE-RQ and those of its C-MOVE request.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import peers
import scripted
from command import movescu
from wire import WAIT, read_pdu

from movescu.dimse.messages import CMoveRQ, CMoveRSP, decode_command, encode_command
from movescu.dimse.status import SUCCESS
from movescu.ul.negotiation import user_information
from movescu.ul.pdu import (
    AnsweredContext,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    PDataTF,
    PresentationDataValue,
    ProposedContext,
    ReleaseRP,
    ReleaseRQ,
    decode_pdu,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from command import Outcome

    from movescu.ul.user_information import UserInformation

    Program = Callable[..., Outcome]

KEY = ("-k", "QueryRetrieveLevel=STUDY")
_MOST_CONTEXTS = 128  # odd IDs up to 255

Answer = AssociateAC | AssociateRJ | None
"""None: the connection was closed without an answer."""


def ask(port: int, request: AssociateRQ, host: str = peers.HOST) -> Answer:
    """Ask for an association, release it if it is accepted, and give the answer."""
    with socket.create_connection((host, port), WAIT) as sock:
        return _converse(sock, request)


def _converse(sock: socket.socket, request: AssociateRQ) -> Answer:
    sock.sendall(request.encode())
    pdu = read_pdu(sock)
    answer = decoded(pdu) if pdu else None
    assert isinstance(answer, Answer), answer
    if isinstance(answer, AssociateAC):
        sock.sendall(ReleaseRQ().encode())
        read_pdu(sock)
    return answer


def decoded(pdu: bytes) -> object:
    """The PDU that these bytes are."""
    return decode_pdu(pdu[0], pdu[6:])


def answers(program: Program, requests: Sequence[AssociateRQ], *options: object, folder: Path) -> list[Answer]:
    """What a listening program, ``command.movescu`` or ``command.dcmtk``, answers to each request."""
    port = peers.free_port()
    found: list[Answer] = []

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        for request in requests:
            with socket.create_connection((peers.HOST, port), WAIT) as sock:
                # DCMTK looks for connections once a second, and after each response.
                session.pending()
                found.append(_converse(sock, request))
        session.respond(completed=0)
        session.expect_release()

    at_once = ("--linger", 0) if program is movescu else ()  # for objects of which nobody knows
    with scripted.archive(script) as archive:
        outcome = program(*at_once, *options, *KEY, "+P", port, *archive.address, folder=folder)
        assert outcome.code == 0, outcome.log
    return found


@dataclass(frozen=True)
class Caught:
    """What a program sent to an archive: its A-ASSOCIATE-RQ, and command set and identifier of its first C-MOVE."""

    request: AssociateRQ
    command: bytes
    identifier: bytes


def catch(program: Program, *options: object, folder: Path) -> Caught:
    """Have a program make its requests; the archive accepts the transfer syntaxes that it proposes first."""
    kept: list[Caught] = []

    def script(session: scripted.Session) -> None:
        request = session.read_request()
        sock = session._socket
        session.send_bytes(_accept_first(request).encode())
        command, identifier = _read_message(sock), _read_message(sock)
        message = decode_command(command)
        assert isinstance(message, CMoveRQ)
        kept.append(Caught(request, command, identifier))
        response = encode_command(CMoveRSP(message.message_id, SUCCESS, message.affected_sop_class_uid, completed=0))
        session.send_bytes(PDataTF((PresentationDataValue(request.contexts[1].context_id, 3, response),)).encode())
        assert isinstance(decoded(read_pdu(sock)), ReleaseRQ)
        session.send_bytes(ReleaseRP().encode())

    with scripted.archive(script) as archive:
        outcome = program(*options, *archive.address, folder=folder)
        assert outcome.code == 0, outcome.log
    [caught] = kept
    return caught


def _accept_first(request: AssociateRQ) -> AssociateAC:
    contexts = tuple(AnsweredContext(c.context_id, 0, c.transfer_syntaxes[0]) for c in request.contexts)
    titles = request.called_ae_title, request.calling_ae_title
    return AssociateAC(*titles, contexts, user_information(16384))


def _read_message(sock: socket.socket) -> bytes:
    """Read fragments up to the last one of a command set or a data set."""
    data, last = b"", False
    while not last:
        pdu = decoded(read_pdu(sock))
        assert isinstance(pdu, PDataTF), pdu
        for value in pdu.values:
            data += bytes(value.data)
            last = value.control & 2 != 0
    return data


def requests(
    contexts: Iterable[tuple[str, Sequence[str]]], information: UserInformation | None = None
) -> list[AssociateRQ]:
    """Ask for abstract syntaxes, each with its transfer syntaxes: 128 contexts in each association."""
    proposed = list(contexts)
    lots = [proposed[start : start + _MOST_CONTEXTS] for start in range(0, len(proposed), _MOST_CONTEXTS)]
    return [
        AssociateRQ(
            "MOVESCU",
            "SENDER",
            tuple(ProposedContext(2 * i + 1, uid, tuple(syntaxes)) for i, (uid, syntaxes) in enumerate(lot)),
            information or user_information(16384),
        )
        for lot in lots
    ]


def by_context(asked: Sequence[AssociateRQ], got: Sequence[Answer]) -> dict[tuple[int, int], tuple[int, str]]:
    """Result and transfer syntax by the number of the association and the context ID."""
    found: dict[tuple[int, int], tuple[int, str]] = {}
    for number, (request, answer) in enumerate(zip(asked, got, strict=True)):
        assert isinstance(answer, AssociateAC), answer
        assert [c.context_id for c in answer.contexts] == [c.context_id for c in request.contexts]
        found |= {(number, c.context_id): (c.result, c.transfer_syntax) for c in answer.contexts}
    return found
