"""The user information item of A-ASSOCIATE-RQ and -AC and its sub-items: PS3.8 annex D, PS3.7 annex D.3.3.

Each sub-item of several fields is a record with ``encode()``. Sub-items of unknown type are skipped (PS3.8 9.3.1).
Their meaning is left to ``negotiation``.
"""

from __future__ import annotations

import struct

from movescu._runtime.record import Record
from movescu.ul.items import ItemReader, counted, decode_text, encode_item, uid_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import ClassVar, Final

# Item and sub-item types
USER_INFORMATION: Final = 0x50
_MAXIMUM_LENGTH: Final = 0x51
_IMPLEMENTATION_CLASS_UID: Final = 0x52
_ASYNCHRONOUS_OPERATIONS: Final = 0x53
_ROLE_SELECTION: Final = 0x54
_IMPLEMENTATION_VERSION_NAME: Final = 0x55
_EXTENDED_NEGOTIATION: Final = 0x56
_COMMON_EXTENDED_NEGOTIATION: Final = 0x57
_USER_IDENTITY_RQ: Final = 0x58
_USER_IDENTITY_AC: Final = 0x59


class RoleSelection(Record):
    """SCP/SCU role selection sub-item (PS3.7 D.3.3.4)."""

    sop_class_uid: str
    scu_role: bool
    scp_role: bool

    def encode(self) -> bytes:
        """Encode sub-item 54H."""
        roles = bytes((self.scu_role, self.scp_role))
        return encode_item(_ROLE_SELECTION, counted(uid_bytes(self.sop_class_uid)), roles)


class ExtendedNegotiation(Record):
    """SOP class extended negotiation sub-item (PS3.7 D.3.3.5)."""

    sop_class_uid: str
    service_class_application_information: bytes

    def encode(self) -> bytes:
        """Encode sub-item 56H."""
        information = self.service_class_application_information
        return encode_item(_EXTENDED_NEGOTIATION, counted(uid_bytes(self.sop_class_uid)), information)


class CommonExtendedNegotiation(Record):
    """SOP class common extended negotiation sub-item (PS3.7 D.3.3.6)."""

    sop_class_uid: str
    service_class_uid: str
    related_general_sop_class_uids: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Encode sub-item 57H; its second byte is its version, 0."""
        related = b"".join(counted(uid_bytes(uid)) for uid in self.related_general_sop_class_uids)
        return encode_item(
            _COMMON_EXTENDED_NEGOTIATION,
            counted(uid_bytes(self.sop_class_uid)),
            counted(uid_bytes(self.service_class_uid)),
            counted(related),
        )


class UserIdentity(Record):
    """User identity sub-item of A-ASSOCIATE-RQ (PS3.7 D.3.3.7.1).

    ``identity_type``: 1 user name, 2 user name and passcode, 3 Kerberos, 4 SAML, 5 JWT.
    """

    identity_type: int
    primary_field: bytes
    secondary_field: bytes = b""
    positive_response_requested: bool = False

    _hidden: ClassVar[frozenset[str]] = frozenset(("primary_field", "secondary_field"))

    def encode(self) -> bytes:
        """Encode sub-item 58H."""
        head = bytes((self.identity_type, self.positive_response_requested))
        return encode_item(_USER_IDENTITY_RQ, head, counted(self.primary_field), counted(self.secondary_field))


class UserInformation(Record):
    """User information item of A-ASSOCIATE-RQ and -AC (PS3.8 9.3.2.3, PS3.7 D.3.3).

    ``maximum_length``: bytes, 0 for unlimited (PS3.8 D.1). Default: None, no such sub-item.
    ``asynchronous_operations``: invoked and performed, 0 for unlimited (PS3.7 D.3.3.3). Default: None, no such
    sub-item. ``user_identity`` belongs to A-ASSOCIATE-RQ, ``user_identity_response`` to -AC.
    """

    maximum_length: int | None = None
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    asynchronous_operations: tuple[int, int] | None = None
    role_selections: tuple[RoleSelection, ...] = ()
    extended_negotiations: tuple[ExtendedNegotiation, ...] = ()
    common_extended_negotiations: tuple[CommonExtendedNegotiation, ...] = ()
    user_identity: UserIdentity | None = None
    user_identity_response: bytes | None = None

    _hidden: ClassVar[frozenset[str]] = frozenset(("user_identity_response",))

    def encode(self) -> bytes:
        """Encode item 50H, its sub-items in ascending order of type."""
        parts: list[bytes] = []
        if self.maximum_length is not None:
            parts.append(encode_item(_MAXIMUM_LENGTH, struct.pack(">I", self.maximum_length)))
        if self.implementation_class_uid:
            parts.append(encode_item(_IMPLEMENTATION_CLASS_UID, uid_bytes(self.implementation_class_uid)))
        if self.asynchronous_operations is not None:
            parts.append(encode_item(_ASYNCHRONOUS_OPERATIONS, struct.pack(">HH", *self.asynchronous_operations)))
        parts += [role.encode() for role in self.role_selections]
        if self.implementation_version_name:
            parts.append(encode_item(_IMPLEMENTATION_VERSION_NAME, self.implementation_version_name.encode("latin-1")))
        parts += [negotiation.encode() for negotiation in self.extended_negotiations]
        parts += [negotiation.encode() for negotiation in self.common_extended_negotiations]
        if self.user_identity is not None:
            parts.append(self.user_identity.encode())
        if self.user_identity_response is not None:
            parts.append(encode_item(_USER_IDENTITY_AC, counted(self.user_identity_response)))
        return encode_item(USER_INFORMATION, *parts)


def decode_user_information(reader: ItemReader) -> UserInformation:
    """Decode the sub-items of item 50H. Raise ``ProtocolError`` if one of them is malformed."""
    values: dict[int, object] = {}
    lists: dict[int, list[object]] = {}
    while reader:
        sub_type, sub = reader.item()
        if sub_type in _REPEATED_SUB_ITEMS:
            lists.setdefault(sub_type, []).append(_REPEATED_SUB_ITEMS[sub_type](sub))
        elif sub_type in _SINGLE_SUB_ITEMS:
            values[sub_type] = _SINGLE_SUB_ITEMS[sub_type](sub)
    fields: dict[str, object] = {_SUB_ITEM_FIELDS[sub_type]: value for sub_type, value in values.items()}
    fields |= {_SUB_ITEM_FIELDS[sub_type]: tuple(entries) for sub_type, entries in lists.items()}
    return UserInformation(**fields)  # type: ignore[arg-type] # the two tables below pair each field with its type


def _decode_extended(reader: ItemReader) -> ExtendedNegotiation:
    return ExtendedNegotiation(reader.uid("SOP class UID"), reader.rest())


def _decode_common_extended(reader: ItemReader) -> CommonExtendedNegotiation:
    sop_class_uid = reader.uid("SOP class UID")
    service_class_uid = reader.uid("service class UID")
    related = ItemReader(reader.counted("related general SOP classes"), reader.where)
    uids: list[str] = []
    while related:
        uids.append(related.uid("related general SOP class UID"))
    return CommonExtendedNegotiation(sop_class_uid, service_class_uid, tuple(uids))


def _decode_role(reader: ItemReader) -> RoleSelection:
    uid = reader.uid("SOP class UID")
    return RoleSelection(uid, bool(reader.number(1, "SCU role")), bool(reader.number(1, "SCP role")))


def _decode_user_identity(reader: ItemReader) -> UserIdentity:
    identity_type = reader.number(1, "user identity type")
    positive_response = bool(reader.number(1, "positive response requested"))
    primary, secondary = reader.counted("primary field"), reader.counted("secondary field")
    return UserIdentity(identity_type, primary, secondary, positive_response)


_SINGLE_SUB_ITEMS: Final[Mapping[int, Callable[[ItemReader], object]]] = {
    _MAXIMUM_LENGTH: lambda reader: reader.number(4, "maximum length"),
    _IMPLEMENTATION_CLASS_UID: lambda reader: decode_text(reader.rest()),
    _ASYNCHRONOUS_OPERATIONS: lambda reader: (reader.number(2, "invoked"), reader.number(2, "performed")),
    _IMPLEMENTATION_VERSION_NAME: lambda reader: decode_text(reader.rest()),
    _USER_IDENTITY_RQ: _decode_user_identity,
    _USER_IDENTITY_AC: lambda reader: reader.counted("server response"),
}
_REPEATED_SUB_ITEMS: Final[Mapping[int, Callable[[ItemReader], object]]] = {
    _ROLE_SELECTION: _decode_role,
    _EXTENDED_NEGOTIATION: _decode_extended,
    _COMMON_EXTENDED_NEGOTIATION: _decode_common_extended,
}
_SUB_ITEM_FIELDS: Final = {
    _MAXIMUM_LENGTH: "maximum_length",
    _IMPLEMENTATION_CLASS_UID: "implementation_class_uid",
    _ASYNCHRONOUS_OPERATIONS: "asynchronous_operations",
    _ROLE_SELECTION: "role_selections",
    _IMPLEMENTATION_VERSION_NAME: "implementation_version_name",
    _EXTENDED_NEGOTIATION: "extended_negotiations",
    _COMMON_EXTENDED_NEGOTIATION: "common_extended_negotiations",
    _USER_IDENTITY_RQ: "user_identity",
    _USER_IDENTITY_AC: "user_identity_response",
}
