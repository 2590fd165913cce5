"""The SCU of the Query/Retrieve service class, C-FIND: PS3.4 C.4.1 and PS3.7 9.1.2.

Sends a request and yields its responses one by one, each with its encoded identifier. ``query.identifier`` encodes the
identifier of the request; the caller decodes those of the responses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from movescu._runtime.late_log import logger_of
from movescu._runtime.record import Record
from movescu.dimse.messages import CCancelRQ, CFindRQ, CFindRSP, Message
from movescu.dimse.status import C_FIND, StatusClass, status_class, status_name
from movescu.errors import AbortReason, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from movescu.dimse.exchange import Exchange
    from movescu.transport.deadlines import Deadline
    from movescu.ul.negotiation import Context

_log: Final = logger_of("movescu.find")

MAXIMUM_IDENTIFIER: Final = 1 << 20
"""Longest identifier of a response accepted, in bytes; that of an ordinary study has a few hundred."""


class FindResponse(Record):
    """A C-FIND response (PS3.7 table 9.1-2).

    ``identifier``: the data set of a match, in the transfer syntax of the presentation context. Default: empty, as in
    a final response.
    """

    message_id: int
    status: int
    identifier: bytes = b""
    error_comment: str = ""
    offending_elements: tuple[int, ...] = ()

    @property
    def status_class(self) -> StatusClass:
        """The class of the status (PS3.7 annex C)."""
        return status_class(self.status)

    @property
    def status_name(self) -> str:
        """The status in words (PS3.4 table C.4-1)."""
        return status_name(self.status, C_FIND)


class FindSCU:
    """Query/Retrieve SCU: sends C-FIND requests on one presentation context, one after the other."""

    def __init__(self, exchange: Exchange, context: Context) -> None:
        self._exchange = exchange
        self._context = context
        self._message_id = 0

    def request(self, identifier: bytes, deadline: Deadline, message_id: int = 0) -> int:
        """Send a C-FIND request, and return its message ID; ``identifier`` is in the context's transfer syntax.

        ``message_id``: default 0, the one after the last request's.
        """
        self._message_id = message_id or self._message_id % 0xFFFF + 1
        self._exchange.begin(self._message_id)
        message = CFindRQ(self._context.abstract_syntax, self._message_id)
        self._exchange.send(self._context.context_id, message, deadline, identifier)
        _log.info("C-FIND request sent (MsgID %d)", self._message_id)
        return self._message_id

    def cancel(self, deadline: Deadline) -> None:
        """Cancel the last request (PS3.7 9.3.2.3); its final response still follows."""
        self._exchange.send(self._context.context_id, CCancelRQ(self._message_id), deadline)
        _log.info("C-CANCEL request sent (MsgID %d)", self._message_id)

    def responses(self, deadline: Deadline) -> Iterator[FindResponse]:
        """Yield the responses to the last request as they arrive, one for each match, up to the final one.

        Raise ``ProtocolError`` for any other message, or for an identifier of more than ``MAXIMUM_IDENTIFIER`` bytes,
        or another ``PeerError``.
        """
        final = False
        while not final:
            _, message = self._exchange.receive_response(deadline)
            response = self._check(message)
            final = status_class(response.status) is not StatusClass.PENDING
            if final:
                self._exchange.end(self._message_id)
            yield FindResponse(
                response.message_id_being_responded_to,
                response.status,
                self._identifier(deadline),
                response.error_comment or "",
                response.offending_elements,
            )

    def _check(self, message: Message) -> CFindRSP:
        if not isinstance(message, CFindRSP):
            raise _unexpected(f"{message.name} where a C-FIND response is due")
        if message.message_id_being_responded_to != self._message_id:
            raise _unexpected(
                f"a response to message {message.message_id_being_responded_to}, which is not the last request"
            )
        return message

    def _identifier(self, deadline: Deadline) -> bytes:
        if not self._exchange.data_set_announced:
            return b""
        identifier = bytearray()
        for batch in self._exchange.data_set_batches(deadline):
            for fragment in batch:
                identifier += fragment
            if len(identifier) > MAXIMUM_IDENTIFIER:
                raise _unexpected(f"an identifier of more than {MAXIMUM_IDENTIFIER} bytes")
        if identifier:
            self._exchange.show_identifier(identifier, self._context.context_id)
        return bytes(identifier)


def _unexpected(what: str) -> ProtocolError:
    return ProtocolError(f"the archive sent {what}", abort_reason=AbortReason.UNEXPECTED_PDU_PARAMETER)
