"""The Verification service class, C-ECHO, as SCU: PS3.4 annex A and PS3.7 9.1.5.

Asks whether the other side is there and speaks DICOM. Answering is ``services.store``'s, making the association the
caller's: it needs one presentation context for the Verification SOP class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu.dictionary.uids import VERIFICATION
from movescu.dimse.messages import CEchoRQ, CEchoRSP
from movescu.errors import AbortReason, ProtocolError

if TYPE_CHECKING:
    from movescu.dimse.exchange import Exchange
    from movescu.transport.deadlines import Deadline
    from movescu.ul.negotiation import Context

_log: Final = logger_of("movescu.echo")


class EchoSCU:
    """Makes C-ECHO requests on one presentation context, one after the other."""

    def __init__(self, exchange: Exchange, context: Context) -> None:
        self._exchange = exchange
        self._context = context
        self._message_id = 0

    def echo(self, deadline: Deadline) -> int:
        """Ask, and wait for the answer. Gives its status (PS3.7 9.1.5.1.4), 0 for success.

        Raise ``ProtocolError`` for anything but the response, and the other ``PeerError``.
        """
        self._message_id = self._message_id % 0xFFFF + 1
        self._exchange.send(self._context.context_id, CEchoRQ(VERIFICATION, self._message_id), deadline)
        _log.info("C-ECHO request sent (MsgID %d)", self._message_id)
        _, message = self._exchange.receive_response(deadline)
        if not isinstance(message, CEchoRSP) or message.message_id_being_responded_to != self._message_id:
            raise ProtocolError(
                f"the peer sent {message.name} where the response to C-ECHO request {self._message_id} is due",
                abort_reason=AbortReason.UNEXPECTED_PDU_PARAMETER,
            )
        return message.status
