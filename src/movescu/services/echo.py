"""The SCU of the Verification service class, C-ECHO: PS3.4 annex A and PS3.7 9.1.5.

The caller establishes the association, with a presentation context for the Verification SOP class. The SCP is in
``services.store``.
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
    """Verification SCU: sends C-ECHO requests on one presentation context, one after the other."""

    def __init__(self, exchange: Exchange, context: Context) -> None:
        self._exchange = exchange
        self._context = context
        self._message_id = 0

    def echo(self, deadline: Deadline) -> int:
        """Send a request, wait for the response, and return its status (PS3.7 9.1.5.1.4), 0 for success.

        Raise ``ProtocolError`` if anything but the response arrives, or another ``PeerError``.
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
