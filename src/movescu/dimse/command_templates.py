"""Templates of command sets (PS3.7 9.3): the fast path of the messages that every object, query and retrieve needs.

The C-STORE requests of one sender differ in Message ID (0000,0110), Affected SOP Instance UID (0000,1000) and Move
Originator Message ID (0000,1031) only, and so do the responses to them in the first two. The parts that are equal are
compared, or copied, in one piece, instead of element by element as in ``messages``, which decodes and encodes the first
of each kind.

The responses of C-FIND and C-MOVE with the same status and counts differ in Message ID Being Responded To (0000,0120)
only. So does what they mean: their values are looked up by all of their other bytes, whichever association they are of.
"""

from __future__ import annotations

from functools import lru_cache

from movescu.dimse.messages import (
    AFFECTED_SOP_INSTANCE_UID,
    MESSAGE_ID,
    MESSAGE_ID_BEING_RESPONDED_TO,
    MOVE_ORIGINATOR_MESSAGE_ID,
    CFindRSP,
    CMoveRSP,
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
    from typing import Any, Final

_CLASSES: Final = 64  # pairs of a SOP class and a length of UIDs
_RESPONSES: Final = 256  # kinds of response that are remembered
_LONGEST: Final = 256  # bytes of a response that is remembered
_HEADER: Final = b"\0\0\x20\x01\2\0\0\0"  # of Message ID Being Responded To
_CLASS_TAG: Final = b"\0\0\2\0"  # of Affected SOP Class UID

_responses: Final[dict[bytes, tuple[type[CFindRSP | CMoveRSP], dict[str, Any]]]] = {}
"""Kind and values of responses, by the bytes beside the message ID."""


class _StoreTemplate:
    """The bytes of a C-STORE-RQ beside its message ID, its instance UID and, at its end, the C-MOVE's message ID."""

    __slots__ = ("_first", "_last", "_length", "_middle", "_request", "_uid", "_until_id", "_until_move", "_until_uid")

    def __init__(self, data: bytes, request: CStoreRQ) -> None:
        places = {element: slice(start, end) for element, start, end in values_of_command(data)}
        number, uid = places[MESSAGE_ID], places[AFFECTED_SOP_INSTANCE_UID]
        move = places.get(MOVE_ORIGINATOR_MESSAGE_ID, slice(0, 0))
        # Elements out of order (PS3.7 6.3.1) match nothing.
        self._length, self._request = len(data) if number.start < uid.start else -1, request
        self._until_id, self._until_uid, self._uid = number.start, uid.start, uid
        is_last = uid.stop < move.start == len(data) - 2 and move.stop == len(data)
        self._until_move = move.start if is_last else len(data)
        self._first, self._middle = data[: number.start], data[number.stop : uid.start]
        self._last = data[uid.stop : self._until_move]

    def decoded(self, data: bytes) -> tuple[CStoreRQ, bool] | None:
        """Return the request, and whether its instance UID had blanks; None if the bytes differ elsewhere."""
        if (
            len(data) == self._length
            and data[: self._until_id] == self._first
            and data[self._until_id + 2 : self._until_uid] == self._middle
            and data[self._uid.stop : self._until_move] == self._last
            and (uid := decode_ui(raw := data[self._uid]))
        ):
            like, at, move = self._request, self._until_id, self._until_move
            request = CStoreRQ(
                like.affected_sop_class_uid,
                data[at] | data[at + 1] << 8,
                uid,
                like.priority,
                like.move_originator_ae_title,
                data[move] | data[move + 1] << 8 if move < self._length else like.move_originator_message_id,
                like.command_data_set_type,
            )
            return request, has_blanks(raw)
        return None


_newest: Final[list[_StoreTemplate]] = []
"""The last template made of a request without oddities: a sender's next association begins with it."""


class CommandReader:
    """Decoder of one peer's command sets, like ``decode_command``.

    It is fast for a C-STORE-RQ like the last one, and for responses to C-FIND and C-MOVE like earlier ones.
    """

    __slots__ = ("_template", "blanks", "oddities")

    def __init__(self) -> None:
        self._template = _newest[0] if _newest else None
        self.blanks = False
        """Whether the Affected SOP Instance UID of the last command, a C-STORE-RQ, had blanks."""
        self.oddities: dict[str, None] = {}
        """What was tolerated in command sets, in words, in order; the caller may clear it."""

    def decode(self, data: bytes) -> Message:
        """Decode a command set. Raise ``ProtocolError`` if it is invalid."""
        if self._template is not None and (stored := self._template.decoded(data)) is not None:
            request, self.blanks = stored
            return request
        self.blanks = False
        at = _place_of_id(data)
        if at and (known := _responses.get(data[:at] + data[at + 2 :])):
            kind, values = known
            response = kind.__new__(kind)
            response.__dict__.update(values, message_id_being_responded_to=data[at] | data[at + 1] << 8)
            return response
        message = decode_command(data, self.oddities)
        if isinstance(message, CStoreRQ):
            self._learn(data, message)
        elif at and isinstance(message, CFindRSP | CMoveRSP) and not self.oddities:
            _remember(data, at, message)
        return message

    def _learn(self, data: bytes, request: CStoreRQ) -> None:
        self._template = _StoreTemplate(data, request)
        places = {element: slice(start, end) for element, start, end in values_of_command(data)}
        self.blanks = has_blanks(data[places[AFFECTED_SOP_INSTANCE_UID]])
        if not self.oddities:
            _newest[:] = (self._template,)


def _place_of_id(data: bytes) -> int:
    """Return where the value of Message ID Being Responded To is, 0 if not where it is in most responses.

    That is behind the group length, Affected SOP Class UID, which may be missing, and Command Field.
    """
    has_class = data[12:16] == _CLASS_TAG and len(data) > 16
    at = 38 + data[16] if has_class else 30
    return at if data[at - 8 : at] == _HEADER else 0


def _remember(data: bytes, at: int, response: CFindRSP | CMoveRSP) -> None:
    """Remember the values of a response without oddities, whose message ID is at ``at`` and nowhere else."""
    places = [start for element, start, _ in values_of_command(data) if element == MESSAGE_ID_BEING_RESPONDED_TO]
    if places == [at] and len(data) <= _LONGEST:
        if len(_responses) >= _RESPONSES:
            _responses.clear()
        _responses[data[:at] + data[at + 2 :]] = type(response), dict(response.__dict__)


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
