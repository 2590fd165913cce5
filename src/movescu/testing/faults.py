"""What the test archive does wrong when it is told to: the faults of archives that a C-MOVE client has to survive.

``Faults`` says which; each is one small function or one branch at one place, which the field's description names. Every
default is off. Faults that concern different places go together. Counts of sub-operations begin at 1.
"""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, assert_never

from movescu.errors import InterruptedConnectionError
from movescu.transport.deadlines import Deadline
from movescu.ul.pdu import PDataTF, PresentationDataValue

if TYPE_CHECKING:
    from movescu.dimse.exchange import Exchange
    from movescu.dimse.messages import CStoreRQ
    from movescu.transport.connection import Connection

_SECONDS: Final = 10.0
_PDU: Final = 4096  # bytes of the P-DATA-TFs of half an object, for a peer that takes as much
_PDV_OVERHEAD: Final = 6  # PDV length, context ID, message control header (PS3.8 9.3.5.1)


class Ending(Enum):
    """A way in which an association ends before its time."""

    ABORT = auto()
    """A-ABORT (PS3.8 9.3.8)."""
    CLOSE = auto()
    """The connection is closed without a word."""
    RESET = auto()
    """The connection is reset, as when a machine goes down and comes up again."""
    RELEASE = auto()
    """A-RELEASE-RQ where a response is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What an archive does wrong; times are in seconds. An archive's ``faults`` may be changed between requests."""

    reject: tuple[int, int, int] | None = None
    """Associations are rejected with this result, source and reason (PS3.8 9.3.4)."""
    accept_no_context: bool = False
    """Associations are accepted without any presentation context."""

    main_ends_by: Ending | None = None
    """The association of the C-MOVE request ends so, instead of the final response or earlier."""
    main_ends_after: int = 0
    """Sub-operations that are carried out before ``main_ends_by``; it does not happen where there are fewer. 0: the
    request is answered by nothing else. With several storage associations at once a few more may be under way."""

    success_after: int | None = None
    """The final response, success for all, comes after so many sub-operations, and the rest of them later; nothing is
    changed where there are fewer. 0: it comes before the storage association is opened."""
    late: float = 0.0
    """How long after the final response of ``success_after`` the rest begins."""

    no_final_response: bool = False
    """After the last sub-operation the archive is silent."""
    endless_pending: float | None = None
    """Instead of the final response, a pending one comes at this interval until the association ends; C-CANCEL is
    passed over."""
    overcount: int = 0
    """The final response counts so many more completed sub-operations than there were."""

    takes_no_lists: bool = False
    """A request for several SOP instances by their UIDs is refused."""
    drop_every: int = 0
    """Every so many-th object is not sent, and counted as completed."""
    fail_every: int = 0
    """Every so many-th object is not sent, and counted as failed."""
    pause: float = 0.0
    """How long the archive waits before each sub-operation."""

    sender_ends_by: Ending | None = None
    """The storage association ends so in the middle of a data set; what it had still to send fails."""
    sender_ends_in: int = 1
    """The object, in the order of sending, in which ``sender_ends_by`` happens."""
    never_release: bool = False
    """Storage associations are not released after the last object."""
    never_close: bool = False
    """Storage associations are released, and their connections stay open."""

    def drops(self, number: int) -> bool:
        """Tell whether this object is counted as completed instead of sent."""
        return self.drop_every > 0 and number % self.drop_every == 0

    def fails(self, number: int) -> bool:
        """Tell whether this object is counted as failed instead of sent."""
        return self.fail_every > 0 and number % self.fail_every == 0

    def breaks_off(self, number: int) -> bool:
        """Tell whether the sender ends the association in the middle of this object."""
        return self.sender_ends_by is not None and number == self.sender_ends_in


NO_FAULTS: Final = Faults()


def end(connection: Connection, ending: Ending) -> None:
    """End an association and its connection. Raises ``PeerError`` if the peer does not confirm a release."""
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
    """Close a connection by TCP's RST: what the peer has not read yet is lost to it."""
    with socket.socket(fileno=os.dup(connection.fileno())) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hold_open(connection: Connection) -> socket.socket:
    """Give a second handle of the connection: it stays open, for the peer too, when ``connection`` closes."""
    return socket.socket(fileno=os.dup(connection.fileno()))


def break_off(exchange: Exchange, context_id: int, request: CStoreRQ, data_set: memoryview, ending: Ending) -> None:
    """Send a C-STORE request with the first half of its data set, then end the association.

    Raises ``InterruptedConnectionError`` when that is done, and ``PeerError``.
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
