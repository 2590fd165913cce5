"""The exchange of messages over an association, as fragments (PS3.7 6.3, PS3.8 annex E).

A command set is small and assembled whole; a data set is passed on fragment by fragment and never held. ``messages``
encodes and decodes command sets; the services decide which message is allowed.
"""

from __future__ import annotations

from movescu._runtime.late_log import DEBUG, logger_of
from movescu.dimse.command_templates import CommandReader
from movescu.dimse.messages import NO_DATA_SET, CStoreRQ, Message, decode_command, encode_command
from movescu.errors import AbortReason, AssociationReleasedError, ProtocolError
from movescu.ul.indications import Fragment, ReleaseIndication
from movescu.ul.pdu import PDataTF, PresentationDataValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final, TypeAlias

    from movescu.transport.connection import Connection
    from movescu.transport.deadlines import Deadline

_log: Final = logger_of("movescu.dimse")

MAXIMUM_COMMAND_LENGTH: Final = 64 * 1024
"""Longest command set accepted, in bytes; real ones have a few hundred."""

_COMMAND: Final = 1  # message control header, bit 0 (PS3.8 E.2)
_LAST: Final = 2  # bit 1
_NONE: Final = -1  # in place of a presentation context ID
_PDV_OVERHEAD: Final = 6  # PDV length, context ID, message control header
_UNLIMITED_PDU: Final = 128 * 1024  # longest P-DATA-TF sent to a peer that sets no limit
_BATCH: Final = 4 << 20  # bytes of a data set that are encoded as PDUs and sent at once
_C_STORE_RQ: Final = b"\0\0\0\1\2\0\0\0\1\0"  # Command Field (0000,0100) of that value, 0001H
_REMEMBERED: Final = 1000  # requests whose late responses are dropped

_Buffer: TypeAlias = bytes | bytearray | memoryview


class Exchange:
    """Sends and receives the messages of one association."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._fragment = _fragment_length(connection.peer_maximum_length)
        self._reader = CommandReader()
        self._data_set_on = _NONE  # context ID of a data set that is due
        self._optional_on = _NONE  # the same of one that may arrive or not
        self._answered: dict[int, None] = {}  # message IDs, the last of them at the end
        self._warned_of_late = False
        self.dropped = 0
        """Number of C-STORE requests that arrived during ``release`` and were dropped."""

    def send(self, context_id: int, message: Message, deadline: Deadline, data_set: _Buffer | None = None) -> None:
        """Send a message, with one system call unless it is longer than a few MiB."""
        if _log.isEnabledFor(DEBUG):
            self._show("to", context_id, message, data_set)
        pdus = list(self._pdus(context_id, _COMMAND, encode_command(message)))
        if data_set is not None:
            view = memoryview(data_set)
            while len(view) > _BATCH:
                pdus += self._pdus(context_id, 0, view[:_BATCH], last=False)
                self.connection.send(pdus, deadline)
                pdus, view = [], view[_BATCH:]
            pdus += self._pdus(context_id, 0, view)
        self.connection.send(pdus, deadline)

    def send_command(self, context_id: int, command: bytes, deadline: Deadline) -> None:
        """Send an encoded command set, of a message without a data set."""
        if _log.isEnabledFor(DEBUG):
            self._show("to", context_id, decode_command(command))
        self.connection.send(self._pdus(context_id, _COMMAND, command), deadline)

    def _pdus(self, context_id: int, kind: int, data: _Buffer, *, last: bool = True) -> Iterable[PDataTF]:
        if len(data) <= self._fragment:  # every command, most identifiers
            return (PDataTF((PresentationDataValue(context_id, kind | (_LAST if last else 0), data),)),)
        return self._split(context_id, kind, data, last=last)

    def _split(self, context_id: int, kind: int, data: _Buffer, *, last: bool) -> Iterator[PDataTF]:
        size = self._fragment
        for start in range(0, len(data), size):
            control = kind | (_LAST if last and start + size >= len(data) else 0)
            yield PDataTF((PresentationDataValue(context_id, control, data[start : start + size]),))

    def receive(self, deadline: Deadline) -> tuple[int, Message] | None:
        """Wait for the next message, and return its context ID and command; None for the peer's release request.

        ``deadline.within`` is the deadline for the rest of a command that has begun. The rest of the last message's
        data set, if it was not read, is dropped. Raise ``ProtocolError`` if anything but a command arrives, or another
        ``PeerError``.
        """
        if self._data_set_on != _NONE:
            for _ in self.data_set(deadline.within):
                pass
        indication = self.connection.next(deadline)
        if isinstance(indication, ReleaseIndication):
            return None
        fragment = self.connection.fragment(indication)
        if self._optional_on != _NONE:
            fragment = self._skip_optional(fragment, deadline)
        context_id, message = fragment.context_id, self._reader.decode(self._command(fragment, deadline.within))
        if self._reader.oddities:
            self.connection.tolerate(self._reader.oddities)
            self._reader.oddities.clear()
        self._data_set_on = context_id if message.command_data_set_type != NO_DATA_SET else _NONE
        if _log.isEnabledFor(DEBUG):
            self._show("of", context_id, message)
        return context_id, message

    @property
    def uid_has_blanks(self) -> bool:
        """Whether the SOP instance UID of the C-STORE request just received had blanks, which were removed."""
        return self._reader.blanks

    @property
    def has_message(self) -> bool:
        """Whether the fragments that have arrived are exactly one message with its whole data set."""
        controls = [one.control if isinstance(one, Fragment) else -1 for one in self.connection.at_hand]
        if len(controls) < 2:
            return False
        return controls[0] == _COMMAND | _LAST and controls[-1] == _LAST and not any(controls[1:-1])

    def _show(self, way: str, context_id: int, message: Message, data_set: _Buffer | None = None) -> None:
        """Log a message, with its data set if that is an identifier: objects are too large."""
        from movescu.dimse.message_text import message_text  # late: needed for this log alone

        title = f"{message.name} {way} {self.connection.peer} on presentation context {context_id}"
        _log.debug(message_text(title, message))
        if data_set is not None and not isinstance(message, CStoreRQ):
            self.show_identifier(data_set, context_id)

    def show_identifier(self, identifier: _Buffer, context_id: int) -> None:
        """Log an identifier, only at the levels that may show patient data."""
        context = self.connection.contexts.get(context_id)
        if _log.isEnabledFor(DEBUG) and context is not None:
            from movescu.dataset.data_set_text import data_set_text

            syntax = context.transfer_syntax
            _log.debug(data_set_text(f"identifier, {syntax.name}", identifier, syntax))

    def _command(self, fragment: Fragment, deadline: Deadline) -> bytes:
        """Assemble the command set that begins with ``fragment``."""
        if fragment.control == _COMMAND | _LAST and len(fragment.data) <= MAXIMUM_COMMAND_LENGTH:  # the usual case
            return bytes(fragment.data)
        context_id, data = fragment.context_id, bytearray()
        while True:
            self._check(fragment, context_id, _COMMAND)
            data += fragment.data
            if len(data) > MAXIMUM_COMMAND_LENGTH:
                raise _unexpected(f"a command set of more than {MAXIMUM_COMMAND_LENGTH} bytes")
            if fragment.control & _LAST:
                return bytes(data)
            fragment = self.connection.next_fragment(deadline)

    def _skip_optional(self, fragment: Fragment, deadline: Deadline) -> Fragment:
        while fragment.context_id == self._optional_on and not fragment.control & _COMMAND:
            if fragment.control & _LAST:
                self._optional_on = _NONE
            fragment = self.connection.next_fragment(deadline)
        self._optional_on = _NONE
        return fragment

    def receive_response(self, deadline: Deadline) -> tuple[int, Message]:
        """Wait for the next message where a response is due. Raise ``AssociationReleasedError`` for a release.

        A response to a request that had its final response is dropped, with one warning.
        """
        while True:
            received = self.receive(deadline)
            if received is None:
                self.connection.confirm_release(deadline)
                raise AssociationReleasedError(
                    f"{self.connection.peer} released the association before its final response"
                )
            late = getattr(received[1], "message_id_being_responded_to", 0)
            if late not in self._answered:
                return received
            if not self._warned_of_late:
                self._warned_of_late = True
                _log.warning("dropped a late response of %s, to message %d", self.connection.peer, late)

    def release(self, deadline: Deadline) -> None:
        """Release the association; ``dropped`` counts the objects that still arrive. Raise ``PeerError``.

        They cannot be stored: after the release request no response may be sent (PS3.8 7.2).
        """
        command = bytearray()

        def drop(fragment: Fragment) -> None:
            if fragment.control & _COMMAND and len(command) <= MAXIMUM_COMMAND_LENGTH:
                command.extend(fragment.data)
            if fragment.control == _COMMAND | _LAST:
                self.dropped += _C_STORE_RQ in command
                command.clear()

        self.connection.release(deadline, drop)

    def begin(self, message_id: int) -> None:
        """Record a new request; its message ID may have been used before."""
        self._answered.pop(message_id, None)

    def end(self, message_id: int) -> None:
        """Record that a request had its final response."""
        self._answered[message_id] = None
        if len(self._answered) > _REMEMBERED:
            del self._answered[next(iter(self._answered))]

    def data_set(self, deadline: Deadline) -> Iterator[memoryview]:
        """Yield the fragments of the data set of the command just received; each is borrowed until the next.

        The next ``receive`` drops those that were not read. Raise ``ProtocolError`` if anything else arrives.
        """
        for batch in self.data_set_batches(deadline):
            yield from batch

    def data_set_batches(self, deadline: Deadline) -> Iterator[list[memoryview]]:
        """Yield the same in lists, one for each receive, so that each can be written to a file with one system call."""
        context_id, connection = self._data_set_on, self.connection
        while self._data_set_on != _NONE:
            batch = []
            fragment: Fragment | None = connection.next_fragment(deadline)
            while fragment is not None:
                self._check(fragment, context_id, 0)
                batch.append(fragment.data)
                if fragment.control & _LAST:
                    self._data_set_on = _NONE
                    break
                fragment = connection.fragment_at_hand()
            yield batch

    @property
    def data_set_announced(self) -> bool:
        """Whether the data set of the command just received is due."""
        return self._data_set_on != _NONE

    def forget_data_set(self) -> None:
        """Do not wait for the data set that the last command announced, and drop it if it arrives."""
        self._optional_on, self._data_set_on = self._data_set_on, _NONE

    def _check(self, fragment: Fragment, context_id: int, kind: int) -> None:
        if fragment.control & _COMMAND != kind:
            raise _unexpected("a data set fragment where a command is due" if kind else "a command inside a data set")
        if fragment.context_id != context_id:
            raise _unexpected(f"a fragment on presentation context {fragment.context_id} instead of {context_id}")


def _fragment_length(limit: int) -> int:
    """Return the length of the longest fragment, an even one, in a P-DATA-TF of ``limit`` bytes; 0 is no limit."""
    length = (min(limit or _UNLIMITED_PDU, _UNLIMITED_PDU) - _PDV_OVERHEAD) & ~1
    if length < 2:
        raise ProtocolError(
            f"the peer accepts P-DATA-TF of at most {limit} bytes, which have no room for data",
            abort_reason=AbortReason.INVALID_PDU_PARAMETER_VALUE,
        )
    return length


def _unexpected(what: str) -> ProtocolError:
    return ProtocolError(f"the peer sent {what}", abort_reason=AbortReason.UNEXPECTED_PDU_PARAMETER)
