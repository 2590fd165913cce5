"""DIMSE messages and the command set that carries them: PS3.7 sections 6.3, 9.3 and annex E.

One class per message of C-ECHO, C-FIND, C-STORE, C-GET, C-MOVE and C-CANCEL. A command set is always implicit VR little
endian (PS3.7 6.3.1). ``_FIELDS`` pairs each attribute with its element; the elements of an attribute that is not in
``_OPTIONAL`` are required. ``exchange`` sends messages as fragments, and assembles them.
"""

from __future__ import annotations

import struct
from operator import attrgetter

from movescu._runtime.record import Struct, names_of
from movescu.dimse import PRIORITY_MEDIUM
from movescu.errors import AbortReason, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, ClassVar, Final, TypeAlias

NO_DATA_SET: Final = 0x0101
"""Command data set type of a message without a data set (PS3.7 E.1)."""
DATA_SET_PRESENT: Final = 0x0001

_ELEMENT: Final = struct.Struct("<HHI")
PADDING: Final = b"\0 \t\n\v\f\r"
"""Characters that peers put after a UID."""
_US_ELEMENT: Final = struct.Struct("<HHIH")
_GROUP_LENGTH: Final = struct.Struct("<HHII")


class CEchoRQ(Struct):
    """C-ECHO-RQ (PS3.7 9.3.5.1)."""

    command_field: ClassVar[int] = 0x0030
    name: ClassVar[str] = "C-ECHO-RQ"
    affected_sop_class_uid: str
    message_id: int
    command_data_set_type: int = NO_DATA_SET


class CEchoRSP(Struct):
    """C-ECHO-RSP (PS3.7 9.3.5.2)."""

    command_field: ClassVar[int] = 0x8030
    name: ClassVar[str] = "C-ECHO-RSP"
    message_id_being_responded_to: int
    status: int
    affected_sop_class_uid: str | None = None
    error_comment: str | None = None
    command_data_set_type: int = NO_DATA_SET


class CFindRQ(Struct):
    """C-FIND-RQ (PS3.7 9.3.2.1)."""

    command_field: ClassVar[int] = 0x0020
    name: ClassVar[str] = "C-FIND-RQ"
    affected_sop_class_uid: str
    message_id: int
    priority: int = PRIORITY_MEDIUM
    command_data_set_type: int = DATA_SET_PRESENT


class CFindRSP(Struct):
    """C-FIND-RSP (PS3.7 9.3.2.2)."""

    command_field: ClassVar[int] = 0x8020
    name: ClassVar[str] = "C-FIND-RSP"
    message_id_being_responded_to: int
    status: int
    affected_sop_class_uid: str | None = None
    offending_elements: tuple[int, ...] = ()
    error_comment: str | None = None
    command_data_set_type: int = NO_DATA_SET


class CStoreRQ(Struct):
    """C-STORE-RQ (PS3.7 9.3.1.1)."""

    command_field: ClassVar[int] = 0x0001
    name: ClassVar[str] = "C-STORE-RQ"
    affected_sop_class_uid: str
    message_id: int
    affected_sop_instance_uid: str
    priority: int = PRIORITY_MEDIUM
    move_originator_ae_title: str | None = None
    move_originator_message_id: int | None = None
    command_data_set_type: int = DATA_SET_PRESENT

    def __init__(  # written out, as it runs for each object and that of ``Struct`` is slower
        self,
        affected_sop_class_uid: str,
        message_id: int,
        affected_sop_instance_uid: str,
        priority: int = PRIORITY_MEDIUM,
        move_originator_ae_title: str | None = None,
        move_originator_message_id: int | None = None,
        command_data_set_type: int = DATA_SET_PRESENT,
    ) -> None:
        self.affected_sop_class_uid = affected_sop_class_uid
        self.message_id = message_id
        self.affected_sop_instance_uid = affected_sop_instance_uid
        self.priority = priority
        self.move_originator_ae_title = move_originator_ae_title
        self.move_originator_message_id = move_originator_message_id
        self.command_data_set_type = command_data_set_type


class CStoreRSP(Struct):
    """C-STORE-RSP (PS3.7 9.3.1.2)."""

    command_field: ClassVar[int] = 0x8001
    name: ClassVar[str] = "C-STORE-RSP"
    message_id_being_responded_to: int
    status: int
    affected_sop_class_uid: str | None = None
    affected_sop_instance_uid: str | None = None
    offending_elements: tuple[int, ...] = ()
    error_comment: str | None = None
    command_data_set_type: int = NO_DATA_SET


class CGetRQ(Struct):
    """C-GET-RQ (PS3.7 9.3.3.1)."""

    command_field: ClassVar[int] = 0x0010
    name: ClassVar[str] = "C-GET-RQ"
    affected_sop_class_uid: str
    message_id: int
    priority: int = PRIORITY_MEDIUM
    command_data_set_type: int = DATA_SET_PRESENT


class CGetRSP(Struct):
    """C-GET-RSP (PS3.7 9.3.3.2); a count of sub-operations is None if the archive left it out."""

    command_field: ClassVar[int] = 0x8010
    name: ClassVar[str] = "C-GET-RSP"
    message_id_being_responded_to: int
    status: int
    affected_sop_class_uid: str | None = None
    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    offending_elements: tuple[int, ...] = ()
    error_comment: str | None = None
    command_data_set_type: int = NO_DATA_SET


class CMoveRQ(Struct):
    """C-MOVE-RQ (PS3.7 9.3.4.1)."""

    command_field: ClassVar[int] = 0x0021
    name: ClassVar[str] = "C-MOVE-RQ"
    affected_sop_class_uid: str
    message_id: int
    move_destination: str
    priority: int = PRIORITY_MEDIUM
    command_data_set_type: int = DATA_SET_PRESENT


class CMoveRSP(Struct):
    """C-MOVE-RSP (PS3.7 9.3.4.2); a count of sub-operations is None if the archive left it out."""

    command_field: ClassVar[int] = 0x8021
    name: ClassVar[str] = "C-MOVE-RSP"
    message_id_being_responded_to: int
    status: int
    affected_sop_class_uid: str | None = None
    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    offending_elements: tuple[int, ...] = ()
    error_comment: str | None = None
    command_data_set_type: int = NO_DATA_SET


class CCancelRQ(Struct):
    """C-CANCEL-RQ (PS3.7 9.3.2.3, 9.3.3.3, 9.3.4.3)."""

    command_field: ClassVar[int] = 0x0FFF
    name: ClassVar[str] = "C-CANCEL-RQ"
    message_id_being_responded_to: int
    command_data_set_type: int = NO_DATA_SET


Message: TypeAlias = (
    CEchoRQ | CEchoRSP | CFindRQ | CFindRSP | CStoreRQ | CStoreRSP | CGetRQ | CGetRSP | CMoveRQ | CMoveRSP | CCancelRQ
)

_MESSAGES: Final[dict[int, type[Message]]] = {
    message.command_field: message
    for message in (
        *(CEchoRQ, CEchoRSP, CFindRQ, CFindRSP, CStoreRQ, CStoreRSP),
        *(CGetRQ, CGetRSP, CMoveRQ, CMoveRSP, CCancelRQ),
    )
}


def _element(element: int, value: bytes) -> bytes:
    return _ELEMENT.pack(0, element, len(value)) + value


def _encode_us(element: int, value: int) -> bytes:
    return _US_ELEMENT.pack(0, element, 2, value)


def _decode_us(value: bytes) -> int:
    if len(value) != 2:
        raise ValueError("two bytes are required")
    return value[0] | value[1] << 8


def _encode_ui(element: int, value: str) -> bytes:
    data = value.encode("latin-1", "replace")
    return _element(element, data + b"\0" if len(data) & 1 else data)


def _encode_text(element: int, value: str) -> bytes:
    data = value.encode("latin-1", "replace")
    return _element(element, data + b" " if len(data) & 1 else data)


def _encode_title(element: int, value: str) -> bytes:
    return _encode_text(element, value.strip(" "))  # blanks around a title are not significant (PS3.5 6.2, AE)


def decode_ui(value: bytes) -> str:
    """Decode a UID, without its padding (PS3.5 9.1)."""
    # A UID has no blanks (PS3.5 9.1), but some peers pad with them, not only at the end.
    return value.rstrip(PADDING).replace(b" ", b"").decode("latin-1")


def has_blanks(value: bytes) -> bool:
    """Return True if a UID has blanks, at its end or inside."""
    return b" " in value or value.rstrip(b"\0") != value.rstrip(PADDING)


def _decode_text(value: bytes) -> str:
    return value.decode("latin-1").strip("\0 ")


def _encode_at(element: int, value: tuple[int, ...]) -> bytes:
    return _element(element, b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in value))


def _decode_at(value: bytes) -> tuple[int, ...]:
    if len(value) % 4:
        raise ValueError("a multiple of four bytes is required")
    words = struct.unpack(f"<{len(value) // 2}H", value)
    return tuple(group << 16 | element for group, element in zip(words[::2], words[1::2], strict=True))


# attribute: element number in group 0000, encoder of the element, decoder of the value (PS3.7 table E.1-1)
_FIELDS: Final[Mapping[str, tuple[int, Callable[[int, Any], bytes], Callable[[bytes], Any]]]] = {
    "affected_sop_class_uid": (0x0002, _encode_ui, decode_ui),
    "command_field": (0x0100, _encode_us, _decode_us),
    "message_id": (0x0110, _encode_us, _decode_us),
    "message_id_being_responded_to": (0x0120, _encode_us, _decode_us),
    "move_destination": (0x0600, _encode_title, _decode_text),
    "priority": (0x0700, _encode_us, _decode_us),
    "command_data_set_type": (0x0800, _encode_us, _decode_us),
    "status": (0x0900, _encode_us, _decode_us),
    "offending_elements": (0x0901, _encode_at, _decode_at),
    "error_comment": (0x0902, _encode_text, _decode_text),
    "affected_sop_instance_uid": (0x1000, _encode_ui, decode_ui),
    "remaining": (0x1020, _encode_us, _decode_us),
    "completed": (0x1021, _encode_us, _decode_us),
    "failed": (0x1022, _encode_us, _decode_us),
    "warning": (0x1023, _encode_us, _decode_us),
    "move_originator_ae_title": (0x1030, _encode_text, _decode_text),
    "move_originator_message_id": (0x1031, _encode_us, _decode_us),
}
_COMMAND_FIELD: Final = 0x0100
MESSAGE_ID: Final = 0x0110
MESSAGE_ID_BEING_RESPONDED_TO: Final = 0x0120
AFFECTED_SOP_INSTANCE_UID: Final = 0x1000
NUMBER_OF_REMAINING_SUB_OPERATIONS: Final = 0x1020
NUMBER_OF_COMPLETED_SUB_OPERATIONS: Final = 0x1021
NUMBER_OF_FAILED_SUB_OPERATIONS: Final = 0x1022
NUMBER_OF_WARNING_SUB_OPERATIONS: Final = 0x1023
MOVE_ORIGINATOR_MESSAGE_ID: Final = 0x1031
"""Element numbers in group 0000 (PS3.7 table E.1-1)."""

_OPTIONAL: Final = frozenset(
    {
        "offending_elements",
        "error_comment",
        "remaining",
        "completed",
        "failed",
        "warning",
        "move_originator_ae_title",
        "move_originator_message_id",
    }
)
_UNUSED: Final = frozenset({"priority", "move_originator_ae_title", "move_originator_message_id"})
"""Attributes of a C-STORE-RQ that a Storage SCP does not need: what is wrong with them is noted, not refused."""


def _required(message: type[Struct]) -> frozenset[str]:
    # PS3.7 9.3: the UIDs are mandatory in requests, optional in responses.
    names = frozenset(names_of(message)) - _OPTIONAL
    if getattr(message, "command_field", 0) & 0x8000:
        names -= {"affected_sop_class_uid", "affected_sop_instance_uid"}
    if message is CStoreRQ:
        names -= _UNUSED
    return names


class _Layout:
    """Getters, encoders and decoders of one kind of message, made once: every object needs a request and a response."""

    __slots__ = ("readers", "values", "writers")

    def __init__(self, kind: type[Struct]) -> None:
        names = sorted(("command_field", *names_of(kind)), key=lambda name: _FIELDS[name][0])
        self.values = attrgetter(*names)
        """Getter of a message's values, in the order of their elements."""
        self.writers = tuple(_FIELDS[name][:2] for name in names)
        required = _required(kind)
        self.readers = tuple(
            (name, _FIELDS[name][0], _FIELDS[name][2], name in required, getattr(kind, name, None))
            for name in names_of(kind)
        )
        """Attribute, element number, decoder, whether it is required, and its default."""


_layouts: Final[dict[type[Struct], _Layout]] = {}


def _layout(kind: type[Struct]) -> _Layout:
    return _layouts.get(kind) or _layouts.setdefault(kind, _Layout(kind))


def encode_command(message: Message) -> bytes:
    """Encode the command set of a message, group length included (PS3.7 6.3.1)."""
    layout = _layout(type(message))
    body = b"".join(
        [
            encode(element, value)
            for (element, encode), value in zip(layout.writers, layout.values(message), strict=True)
            if value is not None and value != ()
        ]
    )
    return _GROUP_LENGTH.pack(0, 0, 4, len(body)) + body


_FOREIGN: Final = {"elements of other groups than 0000 in commands (PS3.7 6.3.1)": None}


def values_of_command(data: bytes, oddities: dict[str, None] | None = None) -> Iterator[tuple[int, int, int]]:
    """Yield the number of each element of group 0000, and where its value begins and ends.

    ``oddities``: takes what is tolerated, in words. Raise ``ProtocolError`` if the bytes are not a command set.
    """
    noted = {} if oddities is None else oddities
    position, end = 0, len(data)
    while position < end:
        if end - position < 8:
            raise _broken(f"{end - position} bytes are left over")
        group, element, length = _ELEMENT.unpack_from(data, position)
        position += 8
        if length > end - position:
            raise _broken(f"element ({group:04X},{element:04X}) of {length} bytes, {end - position} are left")
        if group:
            noted |= _FOREIGN
        else:
            if length & 1:
                noted["values of odd length in commands (PS3.5 7.1.1)"] = None
            yield element, position, position + length
        position += length


def _broken(what: str) -> ProtocolError:
    return ProtocolError(f"command set: {what}", abort_reason=AbortReason.INVALID_PDU_PARAMETER_VALUE)


def _tells_its_length(data: bytes) -> bool:
    """Return True if a command set begins with the correct group length (PS3.7 6.3.1)."""
    return data[:12] == _ELEMENT.pack(0, 0, 4) + (len(data) - 12).to_bytes(4, "little", signed=True)


def decode_command(data: bytes, oddities: dict[str, None] | None = None) -> Message:
    """Decode the command set of a message.

    Elements that the message does not have are ignored, and so is the group length, which some peers get wrong; one
    that nobody here needs may be missing or of any length. ``oddities``: takes what is tolerated, in words. Raise
    ``ProtocolError`` for an unknown command, for another element that is missing, empty or of the wrong length, and
    for bytes that are not a command set.
    """
    noted = {} if oddities is None else oddities
    elements = {element: data[start:end] for element, start, end in values_of_command(data, noted)}
    if noted.keys().isdisjoint(_FOREIGN) and not _tells_its_length(data):
        noted["commands whose group length is wrong or missing (PS3.7 6.3.1)"] = None
    try:
        command_field = _decode_us(elements[_COMMAND_FIELD])
    except (KeyError, ValueError):
        raise _broken("no command field (0000,0100)") from None
    kind = _MESSAGES.get(command_field)
    if kind is None:
        raise _broken(f"command {command_field:04X}H is unknown")
    values: list[Any] = []
    for name, element, decode, required, default in _layout(kind).readers:
        value = default
        raw = elements.get(element)
        try:
            if raw:
                value = decode(raw)
            elif name == "priority" and kind is CStoreRQ:
                noted[f"{kind.name} without Priority (0000,0700)"] = None
        except ValueError as error:
            if name in _UNUSED and kind is CStoreRQ:
                noted[f"{kind.name} with (0000,{element:04X}) of another length"] = None
                values.append(value)
                continue
            raise _broken(f"{kind.name}, {name} (0000,{element:04X}) of {len(raw or b'')} bytes: {error}") from None
        if required and (not raw or value == ""):
            raise _broken(f"{kind.name} without {name} (0000,{element:04X})")
        values.append(value)
    return kind(*values)
