"""The seven PDUs of the DICOM Upper Layer and their items: PS3.8 section 9.3.

Each PDU and item is a record with ``encode()``; ``decode_pdu`` decodes all of them. Items of unknown type are skipped
(PS3.8 9.3.1), and so are the lengths of PDUs that carry nothing (A-RELEASE), and the parity of context IDs; any other
violation raises ``ProtocolError`` with the field's name and the reason for the A-ABORT. If a PDU is allowed when it
arrives is decided by ``state_table``, if its proposals are accepted by ``negotiation``.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from movescu._runtime.record import Record, Struct
from movescu.dictionary.uids import APPLICATION_CONTEXT
from movescu.errors import AbortReason, ProtocolError
from movescu.ul.items import BytesLike, ItemReader, decode_text, encode_item, uid_bytes
from movescu.ul.user_information import USER_INFORMATION, UserInformation, decode_user_information

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import ClassVar, Final, TypeAlias

_REMEMBERED: Final = 16  # A-ASSOCIATE-RQs
_LONGEST_REMEMBERED: Final = 1 << 14  # bytes of such a one

HEADER_LENGTH: Final = 6
"""Bytes of the header of every PDU: type, reserved, length (PS3.8 9.3.1)."""


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

# Item and sub-item types (PS3.8 9.3.2, 9.3.3); ``user_information`` has its own
_APPLICATION_CONTEXT: Final = 0x10
_PROPOSED_CONTEXT: Final = 0x20
_ANSWERED_CONTEXT: Final = 0x21
_ABSTRACT_SYNTAX: Final = 0x30
_TRANSFER_SYNTAX: Final = 0x40


class ProposedContext(Record):
    """Presentation context item of A-ASSOCIATE-RQ (PS3.8 9.3.2.2)."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]

    def encode(self) -> bytes:
        """Encode item 20H."""
        return encode_item(
            _PROPOSED_CONTEXT,
            struct.pack(">B3x", self.context_id),
            encode_item(_ABSTRACT_SYNTAX, uid_bytes(self.abstract_syntax)),
            *(encode_item(_TRANSFER_SYNTAX, uid_bytes(syntax)) for syntax in self.transfer_syntaxes),
        )


class AnsweredContext(Record):
    """Presentation context item of A-ASSOCIATE-AC (PS3.8 9.3.3.2)."""

    context_id: int
    result: int
    transfer_syntax: str

    def encode(self) -> bytes:
        """Encode item 21H."""
        return encode_item(
            _ANSWERED_CONTEXT,
            struct.pack(">BxBx", self.context_id, self.result),
            encode_item(_TRANSFER_SYNTAX, uid_bytes(self.transfer_syntax)),
        )


_PDU: Final = struct.Struct(">BxI")
_PDV: Final = struct.Struct(">IBB")
_PDU_AND_PDV: Final = struct.Struct(">BxIIBB")


def _pdu(pdu_type: int, body: bytes) -> bytes:
    return _PDU.pack(pdu_type, len(body)) + body


def _ae_title(value: str) -> bytes:
    return value.encode("latin-1", "replace")[:16].ljust(16)


class AssociateRQ(Record):
    """A-ASSOCIATE-RQ (PS3.8 9.3.2)."""

    called_ae_title: str
    calling_ae_title: str
    contexts: tuple[ProposedContext, ...]
    user_information: UserInformation
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1

    pdu_type: ClassVar[int] = PDUType.ASSOCIATE_RQ

    def encode(self) -> bytes:
        """Encode the PDU, header included."""
        return _encode_associate(self)


class AssociateAC(Record):
    """A-ASSOCIATE-AC (PS3.8 9.3.3); its AE titles repeat the request's and shall not be tested."""

    called_ae_title: str
    calling_ae_title: str
    contexts: tuple[AnsweredContext, ...]
    user_information: UserInformation
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1

    pdu_type: ClassVar[int] = PDUType.ASSOCIATE_AC

    def encode(self) -> bytes:
        """Encode the PDU, header included."""
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
                encode_item(_APPLICATION_CONTEXT, uid_bytes(pdu.application_context)),
                *(context.encode() for context in pdu.contexts),
                pdu.user_information.encode(),
            )
        ),
    )


class AssociateRJ(Record):
    """A-ASSOCIATE-RJ (PS3.8 9.3.4)."""

    result: int
    source: int
    reason: int

    pdu_type: ClassVar[int] = PDUType.ASSOCIATE_RJ

    def encode(self) -> bytes:
        """Encode the PDU, header included."""
        return _pdu(self.pdu_type, bytes((0, self.result, self.source, self.reason)))

    def describe(self) -> str:
        """Return result, source and reason in words (PS3.8 table 9-21)."""
        result = REJECT_RESULTS.get(self.result, f"result {self.result}")
        source = REJECT_SOURCES.get(self.source, f"source {self.source}")
        reason = REJECT_REASONS.get((self.source, self.reason), f"reason {self.reason}")
        return f"{result} by the {source}: {reason}"


class PresentationDataValue(Struct):
    """Presentation data value item (PS3.8 9.3.5.1) with its message control header (annex E.2).

    ``control``: bit 0 marks a fragment of a command, bit 1 the last fragment of a command or data set.
    """

    context_id: int
    control: int
    data: BytesLike

    def __init__(self, context_id: int, control: int, data: BytesLike) -> None:
        self.context_id = context_id
        self.control = control
        self.data = data

    def encode(self) -> bytes:
        """Encode the item."""
        return b"".join((_PDV.pack(len(self.data) + 2, self.context_id, self.control), self.data))


class PDataTF(Struct):
    """P-DATA-TF (PS3.8 9.3.5)."""

    values: tuple[PresentationDataValue, ...]

    pdu_type: ClassVar[int] = PDUType.P_DATA_TF

    def __init__(self, values: tuple[PresentationDataValue, ...]) -> None:
        self.values = values

    def encode(self) -> bytes:
        """Encode the PDU, header included."""
        if len(self.values) == 1:  # as all that this program sends
            [value] = self.values
            size = len(value.data) + 2
            return b"".join((_PDU_AND_PDV.pack(4, size + 4, size, value.context_id, value.control), value.data))
        return _pdu(self.pdu_type, b"".join([value.encode() for value in self.values]))


class ReleaseRQ(Record):
    """A-RELEASE-RQ (PS3.8 9.3.6)."""

    pdu_type: ClassVar[int] = PDUType.RELEASE_RQ

    def encode(self) -> bytes:
        """Encode the PDU, header included."""
        return _pdu(self.pdu_type, bytes(4))


class ReleaseRP(Record):
    """A-RELEASE-RP (PS3.8 9.3.7)."""

    pdu_type: ClassVar[int] = PDUType.RELEASE_RP

    def encode(self) -> bytes:
        """Encode the PDU, header included."""
        return _pdu(self.pdu_type, bytes(4))


class Abort(Record):
    """A-ABORT (PS3.8 9.3.8)."""

    source: int = AbortSource.SERVICE_USER
    reason: int = AbortReason.NOT_SPECIFIED

    pdu_type: ClassVar[int] = PDUType.ABORT

    def encode(self) -> bytes:
        """Encode the PDU, header included."""
        return _pdu(self.pdu_type, bytes((0, 0, self.source, self.reason)))

    def describe(self) -> str:
        """Return source and reason in words (PS3.8 table 9-26)."""
        if self.source == AbortSource.SERVICE_USER:
            return "by the peer's application"
        reason = ABORT_REASONS.get(AbortReason(self.reason)) if self.reason in ABORT_REASONS else None
        return f"by the peer's service provider: {reason or f'reason {self.reason}'}"


PDU: TypeAlias = AssociateRQ | AssociateAC | AssociateRJ | PDataTF | ReleaseRQ | ReleaseRP | Abort


def _decode_proposed(reader: ItemReader) -> ProposedContext:
    context_id = reader.number(1, "presentation context ID")
    reader.take(3, "reserved bytes")
    abstract_syntaxes: list[str] = []
    transfer_syntaxes: list[str] = []
    while reader:
        item_type, sub = reader.item()
        if item_type == _ABSTRACT_SYNTAX:
            abstract_syntaxes.append(decode_text(sub.rest()))
        elif item_type == _TRANSFER_SYNTAX:
            transfer_syntaxes.append(decode_text(sub.rest()))
    if len(abstract_syntaxes) != 1 or not transfer_syntaxes:
        raise ProtocolError(
            f"presentation context {context_id}: one abstract syntax and at least one transfer syntax are required, "
            f"not {len(abstract_syntaxes)} and {len(transfer_syntaxes)}",
            abort_reason=AbortReason.INVALID_PDU_PARAMETER_VALUE,
        )
    return ProposedContext(context_id, abstract_syntaxes[0], tuple(transfer_syntaxes))


def _decode_answered(reader: ItemReader) -> AnsweredContext:
    context_id = reader.number(1, "presentation context ID")
    reader.take(1, "reserved byte")
    result = reader.number(1, "result/reason")
    reader.take(1, "reserved byte")
    transfer_syntax = ""
    # The transfer syntax of a rejected context is not significant (PS3.8 9.3.3.2), and some acceptors leave it out.
    while reader:
        item_type, sub = reader.item()
        if item_type == _TRANSFER_SYNTAX:
            transfer_syntax = decode_text(sub.rest())
    return AnsweredContext(context_id, result, transfer_syntax)


def _check_context_ids(context_ids: list[int], name: str) -> None:
    # PS3.8 9.3.2.2: odd integers between 1 and 255, each once. An even one is as good a name as an odd one.
    seen: set[int] = set()
    for context_id in context_ids:
        if context_id in seen:
            raise ProtocolError(
                f"{name}: presentation context ID {context_id} occurs more than once",
                abort_reason=AbortReason.INVALID_PDU_PARAMETER_VALUE,
            )
        seen.add(context_id)


def _decode_associate(reader: ItemReader, context_type: int) -> tuple[dict[str, object], list[ItemReader]]:
    """Decode the fields that A-ASSOCIATE-RQ and -AC share; return them, and readers of the context items."""
    fields: dict[str, object] = {"protocol_version": reader.number(2, "protocol version")}
    reader.take(2, "reserved bytes")
    fields["called_ae_title"] = decode_text(reader.take(16, "called AE title"))
    fields["calling_ae_title"] = decode_text(reader.take(16, "calling AE title"))
    reader.take(32, "reserved bytes")
    fields["application_context"] = ""
    fields["user_information"] = UserInformation()
    contexts: list[ItemReader] = []
    while reader:
        item_type, item = reader.item()
        if item_type == _APPLICATION_CONTEXT:
            fields["application_context"] = decode_text(item.rest())
        elif item_type == context_type:
            contexts.append(item)
        elif item_type == USER_INFORMATION:
            fields["user_information"] = decode_user_information(item)
    return fields, contexts


def _decode_associate_rq(reader: ItemReader) -> AssociateRQ:
    fields, items = _decode_associate(reader, _PROPOSED_CONTEXT)
    contexts = tuple(_decode_proposed(item) for item in items)
    if not contexts:
        raise ProtocolError(
            "A-ASSOCIATE-RQ proposes no presentation context", abort_reason=AbortReason.INVALID_PDU_PARAMETER_VALUE
        )
    _check_context_ids([context.context_id for context in contexts], reader.where)
    return AssociateRQ(contexts=contexts, **fields)  # type: ignore[arg-type] # filled field by field above


def _decode_associate_ac(reader: ItemReader) -> AssociateAC:
    fields, items = _decode_associate(reader, _ANSWERED_CONTEXT)
    contexts = tuple(_decode_answered(item) for item in items)
    _check_context_ids([context.context_id for context in contexts], reader.where)
    return AssociateAC(contexts=contexts, **fields)  # type: ignore[arg-type] # filled field by field above


def _decode_associate_rj(reader: ItemReader) -> AssociateRJ:
    reader.take(1, "reserved byte")
    return AssociateRJ(reader.number(1, "result"), reader.number(1, "source"), reader.number(1, "reason/diag."))


def _decode_p_data_tf(reader: ItemReader) -> PDataTF:
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


def _decode_abort(reader: ItemReader) -> Abort:
    fields = reader.rest().ljust(4, b"\0")  # what is left out was not specified
    return Abort(fields[2], fields[3])


def _decode_release_rq(_: ItemReader) -> ReleaseRQ:
    return ReleaseRQ()


def _decode_release_rp(_: ItemReader) -> ReleaseRP:
    return ReleaseRP()


_DECODERS: Final[Mapping[int, tuple[str, Callable[[ItemReader], PDU]]]] = {
    PDUType.ASSOCIATE_RQ: ("A-ASSOCIATE-RQ", _decode_associate_rq),
    PDUType.ASSOCIATE_AC: ("A-ASSOCIATE-AC", _decode_associate_ac),
    PDUType.ASSOCIATE_RJ: ("A-ASSOCIATE-RJ", _decode_associate_rj),
    PDUType.P_DATA_TF: ("P-DATA-TF", _decode_p_data_tf),
    PDUType.RELEASE_RQ: ("A-RELEASE-RQ", _decode_release_rq),
    PDUType.RELEASE_RP: ("A-RELEASE-RP", _decode_release_rp),
    PDUType.ABORT: ("A-ABORT", _decode_abort),
}


def decode_pdu(pdu_type: int, body: BytesLike) -> PDU:
    """Decode a PDU from the bytes that follow its header.

    Raise ``ProtocolError``, with the reason for the A-ABORT, if they violate PS3.8 9.3.
    """
    if pdu_type not in _DECODERS:
        raise ProtocolError(f"PDU type {pdu_type:02X}H is unknown", abort_reason=AbortReason.UNRECOGNIZED_PDU)
    name, decode = _DECODERS[pdu_type]
    if pdu_type == PDUType.ASSOCIATE_RQ and len(body) <= _LONGEST_REMEMBERED:
        return _request_of(bytes(body), name)
    return decode(ItemReader(body, name))


_requests: Final[dict[bytes, AssociateRQ]] = {}
"""The last A-ASSOCIATE-RQs, by their bytes: a sender that opens an association for each request repeats its own."""


def _request_of(body: bytes, name: str) -> AssociateRQ:
    request = _requests.get(body)
    if request is None:
        request = _decode_associate_rq(ItemReader(body, name))
        if request.user_information.user_identity is None:  # no password is kept
            if len(_requests) >= _REMEMBERED:
                _requests.clear()
            _requests[body] = request
    return request
