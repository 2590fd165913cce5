"""Faults of the test archive on request: those of real archives that a client has to survive.

Each field of ``Faults`` is one fault, carried out by one small function or one branch. All are off by default. Faults
of different places can be combined. Counts of sub-operations begin at 1.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, assert_never

from movescu.errors import InterruptedConnectionError
from movescu.testing.slots import Refusal
from movescu.transport import network
from movescu.transport.deadlines import Deadline
from movescu.ul.pdu import PDataTF, PresentationDataValue

if TYPE_CHECKING:
    from movescu.dimse.exchange import Exchange
    from movescu.dimse.messages import CStoreRQ
    from movescu.transport.connection import Connection

_SECONDS: Final = 10.0
_PDU: Final = 4096  # bytes of a P-DATA-TF with a part of half an object, if the peer accepts as much
_PDV_OVERHEAD: Final = 6  # PDV length, context ID, message control header (PS3.8 9.3.5.1)


class Ending(Enum):
    """A way in which an association ends early."""

    ABORT = auto()
    """A-ABORT (PS3.8 9.3.8)."""
    CLOSE = auto()
    """The connection is closed without an A-ABORT."""
    RESET = auto()
    """The connection is reset, as after a restart of the machine."""
    RELEASE = auto()
    """A-RELEASE-RQ instead of a response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Faults of an archive; all are off by default. ``Archive.faults`` may be changed between requests."""

    reject: tuple[int, int, int] | None = None
    """Reject associations with this result, source and reason (PS3.8 9.3.4)."""
    accept_no_context: bool = False
    """Accept associations, but none of their presentation contexts."""

    accept_no_get: bool = False
    """Accept no presentation context for C-GET."""
    answers_no_roles: bool = False
    """Answer no role selection, and send the objects of a C-GET all the same."""
    get_status: int | None = None
    """Answer C-GET with this status, without sending anything."""

    slots: int = 0
    """Number of requests, or of associations, that are served at once. 0: no limit."""
    refuses_by: Refusal = Refusal.STATUS
    """How the others are refused."""

    main_ends_by: Ending | None = None
    """End the association of the C-MOVE or C-GET request in this way, instead of the final response or earlier."""
    main_ends_after: int = 0
    """Number of sub-operations before ``main_ends_by``, which does not happen if there are fewer. Default: 0, the end
    is the only answer to the request. With several storage associations at once, a few more may be under way."""

    success_after: int | None = None
    """Send the final response, success for all, after this number of sub-operations, and carry out the others later. No
    effect if there are fewer. 0: before the storage association is opened."""
    late: float = 0.0
    """Seconds from the final response of ``success_after`` to the remaining sub-operations. Default: 0."""

    no_final_response: bool = False
    """Send nothing after the last sub-operation."""
    endless_pending: float | None = None
    """Seconds. Instead of the final response, send a pending one at this interval until the association ends, and
    ignore C-CANCEL."""
    overcount: int = 0
    """Add this number to the completed sub-operations of the final response."""

    takes_no_lists: bool = False
    """Refuse a request for a list of SOP instance UIDs."""
    drop_every: int = 0
    """Do not send every n-th object, and count it as completed. 0: send all."""
    fail_every: int = 0
    """Do not send every n-th object, and count it as failed. 0: send all."""
    pause: float = 0.0
    """Seconds to wait before each sub-operation. Default: 0."""

    sender_ends_by: Ending | None = None
    """End the storage association in this way in the middle of a data set; its remaining objects fail. With C-GET, that
    is the association of the request."""
    sender_ends_in: int = 1
    """Number of the object, in the order of sending, in which ``sender_ends_by`` happens. Default: 1."""
    never_release: bool = False
    """Do not release storage associations after the last object."""
    never_close: bool = False
    """Release storage associations, but keep their connections open."""

    def drops(self, number: int) -> bool:
        """Return True if this object is counted as completed instead of being sent."""
        return self.drop_every > 0 and number % self.drop_every == 0

    def fails(self, number: int) -> bool:
        """Return True if this object is counted as failed instead of being sent."""
        return self.fail_every > 0 and number % self.fail_every == 0

    def breaks_off(self, number: int) -> bool:
        """Return True if the sender ends the association in the middle of this object."""
        return self.sender_ends_by is not None and number == self.sender_ends_in


NO_FAULTS: Final = Faults()


def end(connection: Connection, ending: Ending) -> None:
    """End an association and its connection. Raise ``PeerError`` if the peer does not confirm a release."""
    match ending:
        case Ending.ABORT:
            connection.abort()
        case Ending.CLOSE:
            connection.close()
        case Ending.RESET:
            reset(connection)
        case Ending.RELEASE:
            connection.release(Deadline(_SECONDS, "waiting for the answer to a release request in mid-operation"))
        case _:
            assert_never(ending)


def reset(connection: Connection) -> None:
    """Close a connection by a TCP RST: the peer loses the bytes that it has not read yet."""
    with network.duplicate(connection.fileno()) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hold_open(connection: Connection) -> socket.socket:
    """Return a second handle, which keeps the connection open, for the peer too, when ``connection`` closes."""
    return network.duplicate(connection.fileno())


def break_off(exchange: Exchange, context_id: int, request: CStoreRQ, data_set: memoryview, ending: Ending) -> None:
    """Send a C-STORE request with the first half of its data set, then end the association.

    Always raise: ``InterruptedConnectionError`` after the end, or ``PeerError`` if the peer ends it first.
    """
    deadline = Deadline(_SECONDS, "sending half an object")
    exchange.send(context_id, request, deadline)
    half = data_set[: len(data_set) // 4 * 2]
    size = (min(exchange.connection.peer_maximum_length or _PDU, _PDU) - _PDV_OVERHEAD) & ~1
    for start in range(0, len(half), size):
        value = PresentationDataValue(context_id, 0, half[start : start + size])
        exchange.connection.send((PDataTF((value,)),), deadline)
    end(exchange.connection, ending)
    raise InterruptedConnectionError(f"the storage association ends by {ending.name} in the middle of an object")
