"""Delivers objects, as the bytes they are, to a program that asks for them: the same to ours and to DCMTK's.

A scripted archive takes the C-MOVE request, sends every object over storage associations of its own, each on a
presentation context with the object's transfer syntax alone, and answers with success. An association that the receiver
aborts is opened again for the next object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import peers
import scripted

from movescu.dimse.exchange import Exchange
from movescu.dimse.messages import CStoreRQ, CStoreRSP
from movescu.errors import PeerError
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Deadline
from movescu.transport.sockets import connect
from movescu.ul.negotiation import user_information
from movescu.ul.pdu import AssociateRQ, ProposedContext

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from command import Outcome

_PATIENCE = 30.0


@dataclass(frozen=True)
class Delivered:
    """An object to deliver: what its request says, and its data set."""

    name: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data: bytes


@dataclass
class Delivery:
    """What a program made of it: its outcome, and the status for each object by name, None for an A-ABORT."""

    outcome: Outcome
    statuses: dict[str, int | None]


def deliver(program: Callable[..., Outcome], objects: Sequence[Delivered], *options: object, folder: Path) -> Delivery:
    """Let a program, ``command.movescu`` or ``command.dcmtk``, retrieve the objects into a folder."""
    port = peers.free_port()
    statuses: dict[str, int | None] = {}

    def script(session: scripted.Session) -> None:
        session.accept()
        session.expect_move()
        remaining = list(objects)
        while remaining:
            remaining = _send(port, objects, remaining, statuses)
        session.respond(completed=sum(status == 0 for status in statuses.values()))
        session.expect_release()

    with scripted.archive(script) as archive:
        keys = ("-k", "0008,0052=STUDY", "-k", "0020,000d=1.2.3")
        outcome = program(*options, "+P", port, "-od", folder, *keys, *archive.address, folder=folder)
    return Delivery(outcome, statuses)


def _send(
    port: int, objects: Sequence[Delivered], remaining: list[Delivered], statuses: dict[str, int | None]
) -> list[Delivered]:
    """Send until the receiver aborts; gives what is left."""
    pairs = dict.fromkeys((o.sop_class_uid, o.transfer_syntax_uid) for o in objects)
    ids = {pair: 2 * number + 1 for number, pair in enumerate(pairs)}
    contexts = tuple(ProposedContext(ids[uid, syntax], uid, (syntax,)) for uid, syntax in pairs)
    request = AssociateRQ("MOVESCU", "SCRIPTED", contexts, user_information(0))
    connection = Connection.request(connect(peers.HOST, port, _PATIENCE), request, _PATIENCE)
    exchange = Exchange(connection)
    for number, thing in enumerate(remaining):
        deadline = Deadline(_PATIENCE, f"the response to {thing.name}")
        command = CStoreRQ(thing.sop_class_uid, number + 1, thing.sop_instance_uid, move_originator_ae_title="SCRIPTED")
        try:
            exchange.send(ids[thing.sop_class_uid, thing.transfer_syntax_uid], command, deadline, thing.data)
            _, response = exchange.receive_response(deadline)
        except PeerError:
            statuses[thing.name] = None
            connection.abort()
            return remaining[number + 1 :]
        assert isinstance(response, CStoreRSP)
        statuses[thing.name] = response.status
    connection.release(Deadline(_PATIENCE, "the answer to the release request"))
    return []
