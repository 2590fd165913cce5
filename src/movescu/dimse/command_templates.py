"""Templates of command sets (PS3.7 9.3): the fast path of the messages that every object, query and retrieve needs.

The C-STORE requests of one sender differ in Message ID (0000,0110), Affected SOP Instance UID (0000,1000) and Move
Originator Message ID (0000,1031) only, and so do the responses to them in the first two. The parts that are equal are
compared, or copied, in one piece, instead of element by element as in ``messages``, which decodes and encodes the first
of each kind.

The responses of C-FIND, C-GET and C-MOVE with the same status differ in Message ID Being Responded To (0000,0120) and
in the numbers of sub-operations (0000,1020) to (0000,1023). They are compared in one piece with earlier ones, whichever
association those were of: a retrieve has a pending response for each object.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from movescu.dimse.messages import (
    AFFECTED_SOP_INSTANCE_UID,
    MESSAGE_ID,
    MESSAGE_ID_BEING_RESPONDED_TO,
    MOVE_ORIGINATOR_MESSAGE_ID,
    NUMBER_OF_COMPLETED_SUB_OPERATIONS,
    NUMBER_OF_FAILED_SUB_OPERATIONS,
    NUMBER_OF_REMAINING_SUB_OPERATIONS,
    NUMBER_OF_WARNING_SUB_OPERATIONS,
    CFindRSP,
    CGetRSP,
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
    from typing import Final

_CLASSES: Final = 64  # pairs of a SOP class and a length of UIDs
_LIKE: Final = 4  # templates of responses of one length
_LONGEST: Final = 256  # bytes of a response that a template is made of


class _StoreTemplate:
    """The bytes of a C-STORE-RQ beside its message ID, its instance UID and, at its end, the C-MOVE's message ID."""

    __slots__ = ("_fixed", "_layout", "_length", "_request")

    def __init__(self, data: bytes, request: CStoreRQ) -> None:
        places = {element: slice(start, end) for element, start, end in values_of_command(data)}
        number, uid = places[MESSAGE_ID], places[AFFECTED_SOP_INSTANCE_UID]
        move = places.get(MOVE_ORIGINATOR_MESSAGE_ID, slice(0, 0))
        is_last = uid.stop < move.start == len(data) - 2 and move.stop == len(data)
        self._length, self._request = -1, request
        if number.stop - number.start == 2 and number.stop <= uid.start:  # else, elements out of order, it matches none
            behind = move.start if is_last else len(data)
            gaps = f"<{number.start}sH{uid.start - number.stop}s{uid.stop - uid.start}s{behind - uid.stop}s"
            self._length, self._layout = len(data), struct.Struct(gaps + ("H" if is_last else "")).unpack
            first, _, middle, _, last, *_ = self._layout(data)
            self._fixed = first, middle, last

    def decoded(self, data: bytes) -> tuple[CStoreRQ, bool] | None:
        """Return the request, and whether its instance UID had blanks; None if the bytes differ elsewhere."""
        if len(data) != self._length:
            return None
        first, number, middle, raw, last, *move = self._layout(data)
        if (first, middle, last) != self._fixed or not (uid := decode_ui(raw)):
            return None
        like = self._request
        request = CStoreRQ(
            like.affected_sop_class_uid,
            number,
            uid,
            like.priority,
            like.move_originator_ae_title,
            move[0] if move else like.move_originator_message_id,
            like.command_data_set_type,
        )
        return request, has_blanks(raw)


class _ResponseTemplate:
    """The bytes of a response beside its message ID and its numbers of sub-operations, and what they mean."""

    __slots__ = ("_fixed", "_kind", "_layout", "_names", "_values")

    def __init__(self, data: bytes, response: CFindRSP | CGetRSP | CMoveRSP, numbers: list[tuple[int, str]]) -> None:
        """Make a template of a response without oddities; ``numbers``: the place and name of each, in order."""
        ends = [0, *(start + 2 for start, _ in numbers)]
        gaps = [start - end for (start, _), end in zip(numbers, ends, strict=False)]
        layout = "".join(f"{gap}sH" for gap in gaps) + f"{len(data) - ends[-1]}s"
        self._layout = struct.Struct("<" + layout)
        self._fixed = self._layout.unpack(data)[::2]
        self._names = tuple(name for _, name in numbers)
        self._kind, self._values = type(response), dict(response.__dict__)

    def decoded(self, data: bytes) -> CFindRSP | CGetRSP | CMoveRSP | None:
        """Return the response, None if the bytes, of the same length, differ elsewhere."""
        parts = self._layout.unpack(data)
        if parts[::2] != self._fixed:
            return None
        response = self._kind.__new__(self._kind)
        response.__dict__.update(self._values)
        response.__dict__.update(zip(self._names, parts[1::2]))  # noqa: B905 - as many, and much slower if checked
        return response


_responses: Final[dict[int, list[_ResponseTemplate]]] = {}
"""Templates of responses by their length, the newest first."""

_newest: Final[list[_StoreTemplate]] = []
"""The last template made of a request without oddities: a sender's next association begins with it."""


class CommandReader:
    """Decoder of one peer's command sets, like ``decode_command``.

    It is fast for a C-STORE-RQ like the last one, and for responses like earlier ones, of C-FIND, C-GET and C-MOVE.
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
        for template in _responses.get(len(data), ()):
            if (response := template.decoded(data)) is not None:
                return response
        message = decode_command(data, self.oddities)
        if isinstance(message, CStoreRQ):
            self._learn(data, message)
        elif isinstance(message, CFindRSP | CGetRSP | CMoveRSP) and not self.oddities:
            _remember(data, message)
        return message

    def _learn(self, data: bytes, request: CStoreRQ) -> None:
        self._template = _StoreTemplate(data, request)
        places = {element: slice(start, end) for element, start, end in values_of_command(data)}
        self.blanks = has_blanks(data[places[AFFECTED_SOP_INSTANCE_UID]])
        if not self.oddities:
            _newest[:] = (self._template,)


_NUMBERS: Final = {
    MESSAGE_ID_BEING_RESPONDED_TO: "message_id_being_responded_to",
    NUMBER_OF_REMAINING_SUB_OPERATIONS: "remaining",
    NUMBER_OF_COMPLETED_SUB_OPERATIONS: "completed",
    NUMBER_OF_FAILED_SUB_OPERATIONS: "failed",
    NUMBER_OF_WARNING_SUB_OPERATIONS: "warning",
}


def _remember(data: bytes, response: CFindRSP | CGetRSP | CMoveRSP) -> None:
    """Make a template of a response without oddities, unless it is long, or has an element twice."""
    places = list(values_of_command(data))
    if len(data) > _LONGEST or len({element for element, _, _ in places}) < len(places):
        return
    numbers = [
        (start, name)
        for element, start, end in places
        if (name := _NUMBERS.get(element)) and end - start == 2 and hasattr(response, name)
    ]
    like = _responses.setdefault(len(data), [])
    like.insert(0, _ResponseTemplate(data, response, numbers))
    del like[_LIKE:]


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
