"""Bytes that are no PDU: the protocol that a peer speaks instead of DICOM's Upper Layer, by its first bytes.

Two mistakes are frequent: a port of the archive's that is not its DICOM port, and TLS on one side alone.
"""

from __future__ import annotations

from movescu.errors import AbortReason, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

HTTP: Final = "HTTP"
TLS: Final = "TLS"
_SSH: Final = "SSH"

_STARTS: Final = (
    (b"HTTP/", HTTP),
    (b"<html", HTTP),
    (b"<HTML", HTTP),
    (b"<!DOC", HTTP),
    (b"GET ", HTTP),
    (b"HEAD ", HTTP),
    (b"POST ", HTTP),
    (b"PUT ", HTTP),
    (b"OPTIO", HTTP),
    (b"PRI *", HTTP),
    (b"\x15\x03", TLS),  # an alert (RFC 8446 5.1)
    (b"\x16\x03", TLS),  # a ClientHello
    (b"SSH-", _SSH),
)
"""First bytes, and the protocol that begins with them; the header of a PDU is enough to tell."""

_OF_THE_ARCHIVE: Final = {
    HTTP: "this is the port of a web server: give the archive's DICOM port, often 104, 4242 or 11112",
    TLS: "the archive requires TLS on this port: use +tls or +tla, or give its port without TLS",
    _SSH: "this is the port of an SSH server: give the archive's DICOM port, often 104, 4242 or 11112",
}
_OF_A_SENDER: Final = {
    TLS: "the sender uses TLS, and this port does not: use +tls, or disable TLS for this AE title in the archive",
}


def unknown_pdu(first: bytes | memoryview, *, requestor: bool) -> ProtocolError:
    """Return the error of bytes that begin no PDU; ``requestor``: this side requested the association."""
    protocol = protocol_of(first)
    if protocol:
        return foreign(protocol, requestor=requestor)
    return ProtocolError(f"PDU type {first[0]:02X}H is unknown", abort_reason=AbortReason.UNRECOGNIZED_PDU)


def protocol_of(first: bytes | memoryview) -> str:
    """Return the name of the protocol that begins with these bytes, empty if unknown."""
    head = bytes(first[:6])
    return next((name for start, name in _STARTS if head.startswith(start)), "")


def foreign(protocol: str, *, requestor: bool) -> ProtocolError:
    """Return the error of a peer that speaks another protocol."""
    hint = (_OF_THE_ARCHIVE if requestor else _OF_A_SENDER).get(protocol, "")
    text = f"the peer speaks {protocol}, not DICOM"
    return ProtocolError(text, abort_reason=AbortReason.UNRECOGNIZED_PDU, hint=hint)
