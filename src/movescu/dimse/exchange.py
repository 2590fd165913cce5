"""Messages over an association: sent as fragments, assembled from fragments (PS3.7 6.3, PS3.8 annex E).

A command set is assembled whole, for it is small; a data set is handed on fragment by fragment and never held. What a
message says is in ``messages``; who may send which is for the services.
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
    from collections.abc import Iterator
    from typing import Final, TypeAlias

    from movescu.transport.connection import Connection
    from movescu.transport.deadlines import Deadline

_log: Final = logger_of("movescu.dimse")

MAXIMUM_COMMAND_LENGTH: Final = 64 * 1024
"""Longest command set that is taken, in bytes; the longest that anyone needs has some 400."""

_COMMAND: Final = 1  # message control header, bit 0 (PS3.8 E.2)
_LAST: Final = 2  # bit 1
_PDV_OVERHEAD: Final = 6  # PDV length, context ID, message control header
_UNLIMITED_PDU: Final = 128 * 1024  # what we send to a peer that sets no limit
_BATCH: Final = 4 << 20  # bytes of a data set that are made into PDUs and sent at once

_Buffer: TypeAlias = bytes | bytearray | memoryview


class Exchange:
    """Sends and receives the messages of one association."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._fragment = _fragment_length(connection.peer_maximum_length)
        self._reader = CommandReader()
        self._data_set_on = 0  # context ID of a data set that is still to come, 0 for none
        self._optional_on = 0  # the same of one that may come or not
        self._warned = False

    def send(self, context_id: int, message: Message, deadline: Deadline, data_set: _Buffer | None = None) -> None:
        """Send a message; up to a few MiB it leaves with one call of the system."""
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
        """Send a message without a data set whose command set is encoded already."""
        if _log.isEnabledFor(DEBUG):
            self._show("to", context_id, decode_command(command))
        self.connection.send(self._pdus(context_id, _COMMAND, command), deadline)

    def _pdus(self, context_id: int, kind: int, data: _Buffer, *, last: bool = True) -> Iterator[PDataTF]:
        size = self._fragment
        for start in range(0, max(len(data), 1), size):
            control = kind | (_LAST if last and start + size >= len(data) else 0)
            yield PDataTF((PresentationDataValue(context_id, control, data[start : start + size]),))

    def receive(self, deadline: Deadline) -> tuple[int, Message] | None:
        """Wait for the next command; give its context ID and message, or None for the peer's release request.

        The rest of one that has begun is waited for by ``deadline.within``. A data set that the message before it had
        and that was not read is read and dropped.
        Raise ``ProtocolError`` for what is no command, and the other ``PeerError``.
        """
        if self._data_set_on:
            for _ in self.data_set(deadline.within):
                pass
        indication = self.connection.next(deadline)
        if isinstance(indication, ReleaseIndication):
            return None
        fragment = self.connection.fragment(indication)
        if self._optional_on:
            fragment = self._skip_optional(fragment, deadline)
        context_id, message = fragment.context_id, self._reader.decode(self._command(fragment, deadline.within))
        if self._reader.lengths_lie and not self._warned:
            self._warned = True
            _log.warning("the group length of the commands of %s is wrong or missing", self.connection.peer)
        self._data_set_on = context_id if message.command_data_set_type != NO_DATA_SET else 0
        if _log.isEnabledFor(DEBUG):
            self._show("of", context_id, message)
        return context_id, message

    @property
    def has_message(self) -> bool:
        """Whether what has come and was not asked for is one message with its data set, whole."""
        controls = [one.control if isinstance(one, Fragment) else -1 for one in self.connection.at_hand]
        if len(controls) < 2:
            return False
        return controls[0] == _COMMAND | _LAST and controls[-1] == _LAST and not any(controls[1:-1])

    def _show(self, way: str, context_id: int, message: Message, data_set: _Buffer | None = None) -> None:
        """Log a message, with its data set if that is an identifier; objects are too large."""
        from movescu.dimse.message_text import message_text  # for those alone who want to see it

        title = f"{message.name} {way} {self.connection.peer} on presentation context {context_id}"
        _log.debug(message_text(title, message))
        if data_set is not None and not isinstance(message, CStoreRQ):
            self.show_identifier(data_set, context_id)

    def show_identifier(self, identifier: _Buffer, context_id: int) -> None:
        """Log an identifier, from the level on at which patients may be named."""
        context = self.connection.contexts.get(context_id)
        if _log.isEnabledFor(DEBUG) and context is not None:
            from movescu.dataset.data_set_text import data_set_text

            syntax = context.transfer_syntax
            _log.debug(data_set_text(f"identifier, {syntax.name}", identifier, syntax))

    def _command(self, fragment: Fragment, deadline: Deadline) -> bytes:
        """Assemble the command set that begins with the fragment."""
        if fragment.control == _COMMAND | _LAST and len(fragment.data) <= MAXIMUM_COMMAND_LENGTH:  # as nearly always
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
                self._optional_on = 0
            fragment = self.connection.next_fragment(deadline)
        self._optional_on = 0
        return fragment

    def receive_response(self, deadline: Deadline) -> tuple[int, Message]:
        """Wait for the next command where a response is due; a release is an error then."""
        received = self.receive(deadline)
        if received is None:
            self.connection.confirm_release(deadline)
            raise AssociationReleasedError(f"{self.connection.peer} released the association before its final response")
        return received

    def data_set(self, deadline: Deadline) -> Iterator[memoryview]:
        """Return the fragments of the data set that follows the command just received; each is borrowed.

        It has to be read to its end, or the next ``receive`` drops the rest. Raise ``ProtocolError`` if anything else
        comes.
        """
        for batch in self.data_set_batches(deadline):
            yield from batch

    def data_set_batches(self, deadline: Deadline) -> Iterator[list[memoryview]]:
        """Return the same, those that came with one receive together: they can go to a file with one call."""
        context_id, connection = self._data_set_on, self.connection
        while self._data_set_on:
            batch = []
            fragment: Fragment | None = connection.next_fragment(deadline)
            while fragment is not None:
                self._check(fragment, context_id, 0)
                batch.append(fragment.data)
                if fragment.control & _LAST:
                    self._data_set_on = 0
                    break
                fragment = connection.fragment_at_hand()
            yield batch

    @property
    def data_set_announced(self) -> bool:
        """Whether a data set follows the command just received."""
        return self._data_set_on != 0

    def forget_data_set(self) -> None:
        """Take it that the data set which the last command announced may not come, and drop it if it does."""
        self._optional_on, self._data_set_on = self._data_set_on, 0

    def _check(self, fragment: Fragment, context_id: int, kind: int) -> None:
        if fragment.control & _COMMAND != kind:
            raise _unexpected("a data set fragment where a command is due" if kind else "a command inside a data set")
        if fragment.context_id != context_id:
            raise _unexpected(f"a fragment on presentation context {fragment.context_id} instead of {context_id}")


def _fragment_length(limit: int) -> int:
    """Return the longest fragment, of an even length, that goes into a P-DATA-TF of ``limit`` bytes; 0 is no limit."""
    length = (min(limit or _UNLIMITED_PDU, _UNLIMITED_PDU) - _PDV_OVERHEAD) & ~1
    if length < 2:
        raise ProtocolError(
            f"the peer takes P-DATA-TF of at most {limit} bytes, which has no room for data",
            abort_reason=AbortReason.INVALID_PDU_PARAMETER_VALUE,
        )
    return length


def _unexpected(what: str) -> ProtocolError:
    return ProtocolError(f"the peer sent {what}", abort_reason=AbortReason.UNEXPECTED_PDU_PARAMETER)
