"""The seven PDUs of the DICOM Upper Layer and their items: PS3.8 section 9.3 and annex D, and nothing else.

Each PDU and item is a frozen dataclass; ``encode()`` gives its bytes, ``decode_*`` makes it from bytes. Whether a PDU
is allowed when it arrives is for ``states``, whether its proposals are accepted for ``negotiation``. Items of unknown
type are skipped (PS3.8 9.3.1). Whatever else does not fit raises ``ProtocolError``, which names the field and carries
the reason for the A-ABORT.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias

from movescu.errors import AbortReason, ProtocolError
from movescu.uids import APPLICATION_CONTEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAXIMUM_ITEMS: Final = 16_384
"""Items and sub-items of one association request or answer; 128 contexts of 100 transfer syntaxes each have 13,000."""

HEADER_LENGTH: Final = 6
"""Bytes of the header that all PDUs share: type, reserved, length (PS3.8 9.3.1)."""


class PDUType(IntEnum):
    """First byte of a PDU (PS3.8 9.3)."""

    ASSOCIATE_RQ = 0x01
    ASSOCIATE_AC = 0x02
    ASSOCIATE_RJ = 0x03
    P_DATA_TF = 0x04
    RELEASE_RQ = 0x05
    RELEASE_RP = 0x06
    ABORT = 0x07


class AbortSource(IntEnum):
    """Source field of A-ABORT (PS3.8 table 9-26)."""

    SERVICE_USER = 0
    SERVICE_PROVIDER = 2


class ContextResult(IntEnum):
    """Result/Reason of a presentation context in A-ASSOCIATE-AC (PS3.8 table 9-18)."""

    ACCEPTANCE = 0
    USER_REJECTION = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


REJECT_RESULTS: Final = {1: "rejected permanently", 2: "rejected for now"}
REJECT_SOURCES: Final = {1: "service user", 2: "service provider (ACSE)", 3: "service provider (presentation)"}
REJECT_REASONS: Final = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
"""Meaning of (source, reason) in A-ASSOCIATE-RJ (PS3.8 table 9-21)."""

ABORT_REASONS: Final = {
    AbortReason.NOT_SPECIFIED: "reason not specified",
    AbortReason.UNRECOGNIZED_PDU: "unrecognized PDU",
    AbortReason.UNEXPECTED_PDU: "unexpected PDU",
    AbortReason.UNRECOGNIZED_PDU_PARAMETER: "unrecognized PDU parameter",
    AbortReason.UNEXPECTED_PDU_PARAMETER: "unexpected PDU parameter",
    AbortReason.INVALID_PDU_PARAMETER_VALUE: "invalid PDU parameter value",
}

# Item and sub-item types (PS3.8 9.3.2, 9.3.3, annex D; PS3.7 annex D.3.3)
_APPLICATION_CONTEXT: Final = 0x10
_PROPOSED_CONTEXT: Final = 0x20
_ANSWERED_CONTEXT: Final = 0x21
_ABSTRACT_SYNTAX: Final = 0x30
_TRANSFER_SYNTAX: Final = 0x40
_USER_INFORMATION: Final = 0x50
_MAXIMUM_LENGTH: Final = 0x51
_IMPLEMENTATION_CLASS_UID: Final = 0x52
_ASYNCHRONOUS_OPERATIONS: Final = 0x53
_ROLE_SELECTION: Final = 0x54
_IMPLEMENTATION_VERSION_NAME: Final = 0x55
_EXTENDED_NEGOTIATION: Final = 0x56
_COMMON_EXTENDED_NEGOTIATION: Final = 0x57
_USER_IDENTITY_RQ: Final = 0x58
_USER_IDENTITY_AC: Final = 0x59

_BytesLike: TypeAlias = bytes | bytearray | memoryview


def _item(item_type: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">BxH", item_type, len(body)) + body


def _counted(value: bytes) -> bytes:
    """Give a field that is preceded by its length in two bytes."""
    return struct.pack(">H", len(value)) + value


def _uid(value: str) -> bytes:
    return value.encode("latin-1", "replace")


class _Reader:
    """Takes fields from the bytes of one item; ``where`` names it in errors, ``count`` is of all items of the PDU."""

    __slots__ = ("count", "data", "position", "where")

    def __init__(self, data: _BytesLike, where: str, count: Iterator[int] | None = None) -> None:
        self.data = bytes(data)
        self.position = 0
        self.where = where
        self.count = itertools.count(1) if count is None else count

    def __bool__(self) -> bool:
        return self.position < len(self.data)

    def take(self, size: int, name: str) -> bytes:
        end = self.position + size
        if end > len(self.data):
            raise ProtocolError(
                f"{self.where}: {name} needs {size} bytes, {len(self.data) - self.position} are left",
                abort_reason=AbortReason.INVALID_PDU_PARAMETER_VALUE,
            )
        value = self.data[self.position : end]
        self.position = end
        return value

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.position, "rest")

    def number(self, size: int, name: str) -> int:
        return int.from_bytes(self.take(size, name), "big")

    def counted(self, name: str) -> bytes:
        return self.take(self.number(2, f"length of {name}"), name)

    def uid(self, name: str) -> str:
        return _text(self.counted(name))

    def item(self) -> tuple[int, _Reader]:
        item_type = self.number(1, "item type")
        self.take(1, "reserved byte")
        length = self.number(2, f"length of item {item_type:02X}H")
        if next(self.count) > MAXIMUM_ITEMS:
            raise ProtocolError(
                f"{self.where}: more than {MAXIMUM_ITEMS} items", abort_reason=AbortReason.INVALID_PDU_PARAMETER_VALUE
            )
        data = self.take(length, f"item {item_type:02X}H")
        return item_type, _Reader(data, f"{self.where}, item {item_type:02X}H", self.count)


def _text(value: bytes) -> str:
    # Padding of either kind is seen at the end of UIDs and AE titles; neither is significant.
    return value.decode("latin-1").strip("\0 ")


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """Presentation context item of A-ASSOCIATE-RQ (PS3.8 9.3.2.2)."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]

    def encode(self) -> bytes:
        """Give the bytes of item 20H."""
        return _item(
            _PROPOSED_CONTEXT,
            struct.pack(">B3x", self.context_id),
            _item(_ABSTRACT_SYNTAX, _uid(self.abstract_syntax)),
            *(_item(_TRANSFER_SYNTAX, _uid(syntax)) for syntax in self.transfer_syntaxes),
        )


@dataclass(frozen=True, slots=True)
class AnsweredContext:
    """Presentation context item of A-ASSOCIATE-AC (PS3.8 9.3.3.2)."""

    context_id: int
    result: int
    transfer_syntax: str

    def encode(self) -> bytes:
        """Give the bytes of item 21H."""
        return _item(
            _ANSWERED_CONTEXT,
            struct.pack(">BxBx", self.context_id, self.result),
            _item(_TRANSFER_SYNTAX, _uid(self.transfer_syntax)),
        )


@dataclass(frozen=True, slots=True)
class RoleSelection:
    """SCP/SCU role selection sub-item (PS3.7 D.3.3.4)."""

    sop_class_uid: str
    scu_role: bool
    scp_role: bool

    def encode(self) -> bytes:
        """Give the bytes of sub-item 54H."""
        roles = bytes((self.scu_role, self.scp_role))
        return _item(_ROLE_SELECTION, _counted(_uid(self.sop_class_uid)), roles)


@dataclass(frozen=True, slots=True)
class ExtendedNegotiation:
    """SOP class extended negotiation sub-item (PS3.7 D.3.3.5)."""

    sop_class_uid: str
    service_class_application_information: bytes

    def encode(self) -> bytes:
        """Give the bytes of sub-item 56H."""
        information = self.service_class_application_information
        return _item(_EXTENDED_NEGOTIATION, _counted(_uid(self.sop_class_uid)), information)


@dataclass(frozen=True, slots=True)
class CommonExtendedNegotiation:
    """SOP class common extended negotiation sub-item (PS3.7 D.3.3.6)."""

    sop_class_uid: str
    service_class_uid: str
    related_general_sop_class_uids: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Give the bytes of sub-item 57H; its second byte is the version, 0."""
        related = b"".join(_counted(_uid(uid)) for uid in self.related_general_sop_class_uids)
        return _item(
            _COMMON_EXTENDED_NEGOTIATION,
            _counted(_uid(self.sop_class_uid)),
            _counted(_uid(self.service_class_uid)),
            _counted(related),
        )


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """User identity sub-item of A-ASSOCIATE-RQ (PS3.7 D.3.3.7.1).

    ``identity_type``: 1 user name, 2 user name and passcode, 3 Kerberos, 4 SAML, 5 JWT.
    """

    identity_type: int
    primary_field: bytes = field(repr=False)
    secondary_field: bytes = field(default=b"", repr=False)
    positive_response_requested: bool = False

    def encode(self) -> bytes:
        """Give the bytes of sub-item 58H."""
        head = bytes((self.identity_type, self.positive_response_requested))
        return _item(_USER_IDENTITY_RQ, head, _counted(self.primary_field), _counted(self.secondary_field))


@dataclass(frozen=True, slots=True)
class UserInformation:
    """User information item (PS3.8 9.3.2.3, PS3.7 D.3.3); the same in A-ASSOCIATE-RQ and -AC.

    ``maximum_length`` is in bytes, 0 means unlimited, None means that the sub-item is absent.
    ``asynchronous_operations`` is (invoked, performed), 0 means unlimited (PS3.7 D.3.3.3).
    ``user_identity`` goes with A-ASSOCIATE-RQ, ``user_identity_response`` with -AC.
    """

    maximum_length: int | None = None
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    asynchronous_operations: tuple[int, int] | None = None
    role_selections: tuple[RoleSelection, ...] = ()
    extended_negotiations: tuple[ExtendedNegotiation, ...] = ()
    common_extended_negotiations: tuple[CommonExtendedNegotiation, ...] = ()
    user_identity: UserIdentity | None = None
    user_identity_response: bytes | None = field(default=None, repr=False)

    def encode(self) -> bytes:
        """Give the bytes of item 50H, its sub-items in ascending order of their type."""
        parts: list[bytes] = []
        if self.maximum_length is not None:
            parts.append(_item(_MAXIMUM_LENGTH, struct.pack(">I", self.maximum_length)))
        if self.implementation_class_uid:
            parts.append(_item(_IMPLEMENTATION_CLASS_UID, _uid(self.implementation_class_uid)))
        if self.asynchronous_operations is not None:
            parts.append(_item(_ASYNCHRONOUS_OPERATIONS, struct.pack(">HH", *self.asynchronous_operations)))
        parts += [role.encode() for role in self.role_selections]
        if self.implementation_version_name:
            parts.append(_item(_IMPLEMENTATION_VERSION_NAME, self.implementation_version_name.encode("latin-1")))
        parts += [negotiation.encode() for negotiation in self.extended_negotiations]
        parts += [negotiation.encode() for negotiation in self.common_extended_negotiations]
        if self.user_identity is not None:
            parts.append(self.user_identity.encode())
        if self.user_identity_response is not None:
            parts.append(_item(_USER_IDENTITY_AC, _counted(self.user_identity_response)))
        return _item(_USER_INFORMATION, *parts)


def _decode_user_information(reader: _Reader) -> UserInformation:
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


def _decode_extended(reader: _Reader) -> ExtendedNegotiation:
    return ExtendedNegotiation(reader.uid("SOP class UID"), reader.rest())


def _decode_common_extended(reader: _Reader) -> CommonExtendedNegotiation:
    sop_class_uid = reader.uid("SOP class UID")
    service_class_uid = reader.uid("service class UID")
    related = _Reader(reader.counted("related general SOP classes"), reader.where)
    uids: list[str] = []
    while related:
        uids.append(related.uid("related general SOP class UID"))
    return CommonExtendedNegotiation(sop_class_uid, service_class_uid, tuple(uids))


def _decode_role(reader: _Reader) -> RoleSelection:
    uid = reader.uid("SOP class UID")
    return RoleSelection(uid, bool(reader.number(1, "SCU role")), bool(reader.number(1, "SCP role")))


def _decode_user_identity(reader: _Reader) -> UserIdentity:
    identity_type = reader.number(1, "user identity type")
    positive_response = bool(reader.number(1, "positive response requested"))
    primary, secondary = reader.counted("primary field"), reader.counted("secondary field")
    return UserIdentity(identity_type, primary, secondary, positive_response)


_SINGLE_SUB_ITEMS: Final[Mapping[int, Callable[[_Reader], object]]] = {
    _MAXIMUM_LENGTH: lambda reader: reader.number(4, "maximum length"),
    _IMPLEMENTATION_CLASS_UID: lambda reader: _text(reader.rest()),
    _ASYNCHRONOUS_OPERATIONS: lambda reader: (reader.number(2, "invoked"), reader.number(2, "performed")),
    _IMPLEMENTATION_VERSION_NAME: lambda reader: _text(reader.rest()),
    _USER_IDENTITY_RQ: _decode_user_identity,
    _USER_IDENTITY_AC: lambda reader: reader.counted("server response"),
}
_REPEATED_SUB_ITEMS: Final[Mapping[int, Callable[[_Reader], object]]] = {
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


_PDU: Final = struct.Struct(">BxI")
_PDV: Final = struct.Struct(">IBB")


def _pdu(pdu_type: int, body: bytes) -> bytes:
    return _PDU.pack(pdu_type, len(body)) + body


def _ae_title(value: str) -> bytes:
    return value.encode("latin-1", "replace")[:16].ljust(16)


@dataclass(frozen=True, slots=True)
class AssociateRQ:
    """A-ASSOCIATE-RQ (PS3.8 9.3.2)."""

    called_ae_title: str
    calling_ae_title: str
    contexts: tuple[ProposedContext, ...]
    user_information: UserInformation
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1

    pdu_type: ClassVar[int] = PDUType.ASSOCIATE_RQ

    def encode(self) -> bytes:
        """Give the bytes of the PDU, header included."""
        return _encode_associate(self)


@dataclass(frozen=True, slots=True)
class AssociateAC:
    """A-ASSOCIATE-AC (PS3.8 9.3.3); the AE titles only echo the request's and are not to be tested."""

    called_ae_title: str
    calling_ae_title: str
    contexts: tuple[AnsweredContext, ...]
    user_information: UserInformation
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1

    pdu_type: ClassVar[int] = PDUType.ASSOCIATE_AC

    def encode(self) -> bytes:
        """Give the bytes of the PDU, header included."""
        return _encode_associate(self)


def _encode_associate(pdu: AssociateRQ | AssociateAC) -> bytes:
    titles = _ae_title(pdu.called_ae_title) + _ae_title(pdu.calling_ae_title)
    return _pdu(
        pdu.pdu_type,
        b"".join(
            (
                struct.pack(">H2x", pdu.protocol_version),
                titles,
                bytes(32),
                _item(_APPLICATION_CONTEXT, _uid(pdu.application_context)),
                *(context.encode() for context in pdu.contexts),
                pdu.user_information.encode(),
            )
        ),
    )


@dataclass(frozen=True, slots=True)
class AssociateRJ:
    """A-ASSOCIATE-RJ (PS3.8 9.3.4)."""

    result: int
    source: int
    reason: int

    pdu_type: ClassVar[int] = PDUType.ASSOCIATE_RJ

    def encode(self) -> bytes:
        """Give the bytes of the PDU, header included."""
        return _pdu(self.pdu_type, bytes((0, self.result, self.source, self.reason)))

    def describe(self) -> str:
        """Give result, source and reason in words."""
        result = REJECT_RESULTS.get(self.result, f"result {self.result}")
        source = REJECT_SOURCES.get(self.source, f"source {self.source}")
        reason = REJECT_REASONS.get((self.source, self.reason), f"reason {self.reason}")
        return f"{result} by the {source}: {reason}"


@dataclass(frozen=True, slots=True)
class PresentationDataValue:
    """Presentation data value item (PS3.8 9.3.5.1) with its message control header (annex E.2).

    ``control``: bit 0 set for a fragment of a command, bit 1 for the last fragment of a command or data set.
    """

    context_id: int
    control: int
    data: _BytesLike

    def encode(self) -> bytes:
        """Give the bytes of the item."""
        return b"".join((_PDV.pack(len(self.data) + 2, self.context_id, self.control), self.data))


@dataclass(frozen=True, slots=True)
class PDataTF:
    """P-DATA-TF (PS3.8 9.3.5)."""

    values: tuple[PresentationDataValue, ...]

    pdu_type: ClassVar[int] = PDUType.P_DATA_TF

    def encode(self) -> bytes:
        """Give the bytes of the PDU, header included."""
        return _pdu(self.pdu_type, b"".join([value.encode() for value in self.values]))


@dataclass(frozen=True, slots=True)
class ReleaseRQ:
    """A-RELEASE-RQ (PS3.8 9.3.6)."""

    pdu_type: ClassVar[int] = PDUType.RELEASE_RQ

    def encode(self) -> bytes:
        """Give the bytes of the PDU, header included."""
        return _pdu(self.pdu_type, bytes(4))


@dataclass(frozen=True, slots=True)
class ReleaseRP:
    """A-RELEASE-RP (PS3.8 9.3.7)."""

    pdu_type: ClassVar[int] = PDUType.RELEASE_RP

    def encode(self) -> bytes:
        """Give the bytes of the PDU, header included."""
        return _pdu(self.pdu_type, bytes(4))


@dataclass(frozen=True, slots=True)
class Abort:
    """A-ABORT (PS3.8 9.3.8)."""

    source: int = AbortSource.SERVICE_USER
    reason: int = AbortReason.NOT_SPECIFIED

    pdu_type: ClassVar[int] = PDUType.ABORT

    def encode(self) -> bytes:
        """Give the bytes of the PDU, header included."""
        return _pdu(self.pdu_type, bytes((0, 0, self.source, self.reason)))

    def describe(self) -> str:
        """Give source and reason in words."""
        if self.source == AbortSource.SERVICE_USER:
            return "by the peer's application"
        reason = ABORT_REASONS.get(AbortReason(self.reason)) if self.reason in ABORT_REASONS else None
        return f"by the peer's service provider: {reason or f'reason {self.reason}'}"


PDU: TypeAlias = AssociateRQ | AssociateAC | AssociateRJ | PDataTF | ReleaseRQ | ReleaseRP | Abort


def _decode_proposed(reader: _Reader) -> ProposedContext:
    context_id = reader.number(1, "presentation context ID")
    reader.take(3, "reserved bytes")
    abstract_syntaxes: list[str] = []
    transfer_syntaxes: list[str] = []
    while reader:
        item_type, sub = reader.item()
        if item_type == _ABSTRACT_SYNTAX:
            abstract_syntaxes.append(_text(sub.rest()))
        elif item_type == _TRANSFER_SYNTAX:
            transfer_syntaxes.append(_text(sub.rest()))
    if len(abstract_syntaxes) != 1 or not transfer_syntaxes:
        raise ProtocolError(
            f"presentation context {context_id}: {len(abstract_syntaxes)} abstract and "
            f"{len(transfer_syntaxes)} transfer syntaxes, where one and at least one are required",
            abort_reason=AbortReason.INVALID_PDU_PARAMETER_VALUE,
        )
    return ProposedContext(context_id, abstract_syntaxes[0], tuple(transfer_syntaxes))


def _decode_answered(reader: _Reader) -> AnsweredContext:
    context_id = reader.number(1, "presentation context ID")
    reader.take(1, "reserved byte")
    result = reader.number(1, "result/reason")
    reader.take(1, "reserved byte")
    transfer_syntax = ""
    # The transfer syntax is not significant unless the result is acceptance, and some leave it out then.
    while reader:
        item_type, sub = reader.item()
        if item_type == _TRANSFER_SYNTAX:
            transfer_syntax = _text(sub.rest())
    return AnsweredContext(context_id, result, transfer_syntax)


def _check_context_ids(context_ids: list[int], name: str) -> None:
    # PS3.8 9.3.2.2: odd integers between 1 and 255, each once
    seen: set[int] = set()
    for context_id in context_ids:
        if context_id % 2 == 0 or context_id in seen:
            why = "is even" if context_id % 2 == 0 else "occurs more than once"
            raise ProtocolError(
                f"{name}: presentation context ID {context_id} {why}",
                abort_reason=AbortReason.INVALID_PDU_PARAMETER_VALUE,
            )
        seen.add(context_id)


def _decode_associate(reader: _Reader, context_type: int) -> tuple[dict[str, object], list[_Reader]]:
    """Take what A-ASSOCIATE-RQ and -AC have in common; the presentation context items are left to the caller."""
    fields: dict[str, object] = {"protocol_version": reader.number(2, "protocol version")}
    reader.take(2, "reserved bytes")
    fields["called_ae_title"] = _text(reader.take(16, "called AE title"))
    fields["calling_ae_title"] = _text(reader.take(16, "calling AE title"))
    reader.take(32, "reserved bytes")
    fields["application_context"] = ""
    fields["user_information"] = UserInformation()
    contexts: list[_Reader] = []
    while reader:
        item_type, item = reader.item()
        if item_type == _APPLICATION_CONTEXT:
            fields["application_context"] = _text(item.rest())
        elif item_type == context_type:
            contexts.append(item)
        elif item_type == _USER_INFORMATION:
            fields["user_information"] = _decode_user_information(item)
    return fields, contexts


def _decode_associate_rq(reader: _Reader) -> AssociateRQ:
    fields, items = _decode_associate(reader, _PROPOSED_CONTEXT)
    contexts = tuple(_decode_proposed(item) for item in items)
    if not contexts:
        raise ProtocolError(
            "A-ASSOCIATE-RQ proposes no presentation context", abort_reason=AbortReason.INVALID_PDU_PARAMETER_VALUE
        )
    _check_context_ids([context.context_id for context in contexts], reader.where)
    return AssociateRQ(contexts=contexts, **fields)  # type: ignore[arg-type] # filled field by field above


def _decode_associate_ac(reader: _Reader) -> AssociateAC:
    fields, items = _decode_associate(reader, _ANSWERED_CONTEXT)
    contexts = tuple(_decode_answered(item) for item in items)
    _check_context_ids([context.context_id for context in contexts], reader.where)
    return AssociateAC(contexts=contexts, **fields)  # type: ignore[arg-type] # filled field by field above


def _decode_associate_rj(reader: _Reader) -> AssociateRJ:
    reader.take(1, "reserved byte")
    return AssociateRJ(reader.number(1, "result"), reader.number(1, "source"), reader.number(1, "reason/diag."))


def _decode_p_data_tf(reader: _Reader) -> PDataTF:
    values: list[PresentationDataValue] = []
    while reader:
        length = reader.number(4, "PDV length")
        if length < 2:
            raise ProtocolError(
                f"PDV length {length} has no room for context ID and message control header",
                abort_reason=AbortReason.INVALID_PDU_PARAMETER_VALUE,
            )
        context_id, control = reader.take(2, "context ID and message control header")
        values.append(PresentationDataValue(context_id, control, reader.take(length - 2, "PDV")))
    if not values:
        raise ProtocolError("P-DATA-TF without a PDV", abort_reason=AbortReason.INVALID_PDU_PARAMETER_VALUE)
    return PDataTF(tuple(values))


def _decode_abort(reader: _Reader) -> Abort:
    reader.take(2, "reserved bytes")
    return Abort(reader.number(1, "source"), reader.number(1, "reason/diag."))


def _decode_release_rq(reader: _Reader) -> ReleaseRQ:
    reader.take(4, "reserved bytes")
    return ReleaseRQ()


def _decode_release_rp(reader: _Reader) -> ReleaseRP:
    reader.take(4, "reserved bytes")
    return ReleaseRP()


_DECODERS: Final[Mapping[int, tuple[str, Callable[[_Reader], PDU]]]] = {
    PDUType.ASSOCIATE_RQ: ("A-ASSOCIATE-RQ", _decode_associate_rq),
    PDUType.ASSOCIATE_AC: ("A-ASSOCIATE-AC", _decode_associate_ac),
    PDUType.ASSOCIATE_RJ: ("A-ASSOCIATE-RJ", _decode_associate_rj),
    PDUType.P_DATA_TF: ("P-DATA-TF", _decode_p_data_tf),
    PDUType.RELEASE_RQ: ("A-RELEASE-RQ", _decode_release_rq),
    PDUType.RELEASE_RP: ("A-RELEASE-RP", _decode_release_rp),
    PDUType.ABORT: ("A-ABORT", _decode_abort),
}


def decode_pdu(pdu_type: int, body: _BytesLike) -> PDU:
    """Make a PDU from its type and the bytes behind its header.

    Raises ``ProtocolError`` where PS3.8 9.3 is broken, with the reason for the A-ABORT.
    """
    if pdu_type not in _DECODERS:
        raise ProtocolError(f"PDU type {pdu_type:02X}H is unknown", abort_reason=AbortReason.UNRECOGNIZED_PDU)
    name, decode = _DECODERS[pdu_type]
    return decode(_Reader(body, name))
