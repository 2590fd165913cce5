"""Templates of C-STORE command sets (PS3.7 9.3.1): the fast path of the two messages that every object needs.

The C-STORE requests of one sender differ in Message ID (0000,0110) and Affected SOP Instance UID (0000,1000) only, and
so do the responses to them. The parts that are equal are compared, or copied, in one piece, instead of element by
element as in ``messages``, which decodes and encodes the first of each kind.
"""

from __future__ import annotations

from functools import lru_cache

from movescu.dimse.messages import (
    AFFECTED_SOP_INSTANCE_UID,
    MESSAGE_ID,
    MESSAGE_ID_BEING_RESPONDED_TO,
    CStoreRQ,
    CStoreRSP,
    Message,
    decode_command,
    decode_ui,
    encode_command,
    has_blanks,
    values_of_command,
)
from movescu.dimse.status import SUCCESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_CLASSES: Final = 64  # pairs of a SOP class and a length of UIDs


class CommandReader:
    """Decoder of one peer's command sets, like ``decode_command``, but fast for a C-STORE-RQ like the last one."""

    __slots__ = (
        *("_first", "_last", "_length", "_middle", "_request", "_uid", "_until_id", "_until_uid"),
        *("blanks", "oddities"),
    )

    def __init__(self) -> None:
        self._length = -1
        self.blanks = False
        """Whether the Affected SOP Instance UID of the last command, a C-STORE-RQ, had blanks."""
        self.oddities: dict[str, None] = {}
        """What was tolerated in command sets, in words, in order; the caller may clear it."""

    def decode(self, data: bytes) -> Message:
        """Decode a command set. Raise ``ProtocolError`` if it is invalid."""
        if (
            len(data) == self._length
            and data[: self._until_id] == self._first
            and data[self._until_id + 2 : self._until_uid] == self._middle
            and data[self._uid.stop :] == self._last
            and (uid := decode_ui(raw := data[self._uid]))
        ):
            self.blanks = has_blanks(raw)
            like, at = self._request, self._until_id
            return CStoreRQ(
                like.affected_sop_class_uid,
                data[at] | data[at + 1] << 8,
                uid,
                like.priority,
                like.move_originator_ae_title,
                like.move_originator_message_id,
                like.command_data_set_type,
            )
        message = decode_command(data, self.oddities)
        self.blanks = False
        if isinstance(message, CStoreRQ):
            self._learn(data, message)
        return message

    def _learn(self, data: bytes, request: CStoreRQ) -> None:
        places = {element: slice(start, end) for element, start, end in values_of_command(data)}
        number, uid = places[MESSAGE_ID], places[AFFECTED_SOP_INSTANCE_UID]
        self.blanks = has_blanks(data[uid])
        if number.start > uid.start:  # elements out of order (PS3.7 6.3.1): no template
            self._length = -1
            return
        self._length, self._request = len(data), request
        self._until_id, self._until_uid, self._uid = number.start, uid.start, uid
        self._first, self._middle, self._last = data[: number.start], data[number.stop : uid.start], data[uid.stop :]


@lru_cache(_CLASSES)
def _stencil(sop_class_uid: str, length: int) -> tuple[bytes, bytes, bytes]:
    """Return the bytes of a response before the message ID, between it and the instance UID, and after that."""
    data = encode_command(CStoreRSP(0, SUCCESS, sop_class_uid, "1" * length))
    places = {element: (start, end) for element, start, end in values_of_command(data)}
    (number, behind), (uid, _) = places[MESSAGE_ID_BEING_RESPONDED_TO], places[AFFECTED_SOP_INSTANCE_UID]
    return data[:number], data[behind:uid], data[uid + length :]


def encode_success(request: CStoreRQ) -> bytes:
    """Encode the C-STORE-RSP with status success (PS3.7 9.3.1.2)."""
    uid = request.affected_sop_instance_uid.encode("latin-1", "replace")
    first, middle, last = _stencil(request.affected_sop_class_uid, len(uid))
    return b"".join((first, request.message_id.to_bytes(2, "little"), middle, uid, last))
