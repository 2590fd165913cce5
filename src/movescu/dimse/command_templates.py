"""Command sets that come and go with every object of a study, without a look at each of their elements (PS3.7 9.3.1).

The C-STORE requests of one sender are alike but for Message ID (0000,0110) and Affected SOP Instance UID (0000,1000),
and so are our responses to them. What is alike is compared, or copied, in one piece: 1.5 us for a request and 1 us for
a response, where ``messages`` takes 8 and 5. What a command set says, and whether it is one, is left to ``messages``.
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
    tells_its_length,
    values_of_command,
)
from movescu.dimse.status import SUCCESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_CLASSES: Final = 64  # SOP classes times lengths of UIDs


class CommandReader:
    """Decodes the command sets of one peer, as ``decode_command`` does; quickly what is like the C-STORE-RQ before."""

    __slots__ = ("_first", "_last", "_length", "_middle", "_request", "_uid", "_until_id", "_until_uid", "lengths_lie")

    def __init__(self) -> None:
        self._length = -1
        self.lengths_lie = False
        """Whether a group length was wrong or missing; what is like a command before is as that was."""

    def decode(self, data: bytes) -> Message:
        """Make a message from the bytes of a command set. Raise ``ProtocolError``."""
        if (
            len(data) == self._length
            and data[: self._until_id] == self._first
            and data[self._until_id + 2 : self._until_uid] == self._middle
            and data[self._uid.stop :] == self._last
            and (uid := decode_ui(data[self._uid]))
        ):
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
        message = decode_command(data)
        self.lengths_lie = self.lengths_lie or not tells_its_length(data)
        if isinstance(message, CStoreRQ):
            self._learn(data, message)
        return message

    def _learn(self, data: bytes, request: CStoreRQ) -> None:
        places = {element: slice(start, end) for element, start, end in values_of_command(data)}
        number, uid = places[MESSAGE_ID], places[AFFECTED_SOP_INSTANCE_UID]
        if number.start > uid.start:  # out of order (PS3.7 6.3.1): read element by element
            self._length = -1
            return
        self._length, self._request = len(data), request
        self._until_id, self._until_uid, self._uid = number.start, uid.start, uid
        self._first, self._middle, self._last = data[: number.start], data[number.stop : uid.start], data[uid.stop :]


@lru_cache(_CLASSES)
def _stencil(sop_class_uid: str, length: int) -> tuple[bytes, bytes, bytes]:
    """Return what stands before the message ID, between it and the instance UID of this length, and behind that."""
    data = encode_command(CStoreRSP(0, SUCCESS, sop_class_uid, "1" * length))
    places = {element: (start, end) for element, start, end in values_of_command(data)}
    (number, behind), (uid, _) = places[MESSAGE_ID_BEING_RESPONDED_TO], places[AFFECTED_SOP_INSTANCE_UID]
    return data[:number], data[behind:uid], data[uid + length :]


def encode_success(request: CStoreRQ) -> bytes:
    """Return the command set of the C-STORE-RSP that says success (PS3.7 9.3.1.2)."""
    uid = request.affected_sop_instance_uid.encode("latin-1", "replace")
    first, middle, last = _stencil(request.affected_sop_class_uid, len(uid))
    return b"".join((first, request.message_id.to_bytes(2, "little"), middle, uid, last))
