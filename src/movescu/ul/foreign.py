"""Bytes that are no PDU: the protocol that a peer speaks instead of DICOM's Upper Layer, by its first bytes.

Two mistakes are frequent: a port of the archive's that is not its DICOM port, and TLS on one side alone.
"""

from __future__ import annotations

from movescu.errors import AbortReason, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_HTTP: Final = "HTTP"
_TLS: Final = "TLS"
_SSH: Final = "SSH"

_STARTS: Final = (
    (b"HTTP/", _HTTP),
    (b"<html", _HTTP),
    (b"<HTML", _HTTP),
    (b"<!DOC", _HTTP),
    (b"GET ", _HTTP),
    (b"HEAD ", _HTTP),
    (b"POST ", _HTTP),
    (b"PUT ", _HTTP),
    (b"OPTIO", _HTTP),
    (b"PRI *", _HTTP),
    (b"\x15\x03", _TLS),  # an alert (RFC 8446 5.1)
    (b"\x16\x03", _TLS),  # a ClientHello
    (b"SSH-", _SSH),
)
"""First bytes, and the protocol that begins with them; the header of a PDU is enough to tell."""

_OF_THE_ARCHIVE: Final = {
    _HTTP: "this is the port of a web server: give the archive's DICOM port, often 104, 4242 or 11112",
    _TLS: "the archive requires TLS on this port: use +tls or +tla, or give its port without TLS",
    _SSH: "this is the port of an SSH server: give the archive's DICOM port, often 104, 4242 or 11112",
}
_OF_A_SENDER: Final = {
    _TLS: "the sender uses TLS, and this port does not: use +tls, or disable TLS for this AE title in the archive",
}


def unknown_pdu(first: bytes | memoryview, *, requestor: bool) -> ProtocolError:
    """Return the error of bytes that begin no PDU; ``requestor``: this side requested the association."""
    head = bytes(first[:6])
    protocol = next((name for start, name in _STARTS if head.startswith(start)), "")
    text = f"the peer speaks {protocol}, not DICOM" if protocol else f"PDU type {head[0]:02X}H is unknown"
    hint = (_OF_THE_ARCHIVE if requestor else _OF_A_SENDER).get(protocol, "")
    return ProtocolError(text, abort_reason=AbortReason.UNRECOGNIZED_PDU, hint=hint)
