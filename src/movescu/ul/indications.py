"""Indications and confirmations of an association to its user (PS3.8 section 7), as records."""

from __future__ import annotations

from movescu._runtime.record import Record, Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from movescu.errors import ProtocolError
    from movescu.ul.pdu import Abort, AssociateAC, AssociateRJ, AssociateRQ


class AssociateIndication(Record):
    """A-ASSOCIATE indication: a peer requests an association (AE-6)."""

    request: AssociateRQ


class AssociateConfirmation(Record):
    """A-ASSOCIATE confirmation: the peer accepted or rejected (AE-3, AE-4)."""

    answer: AssociateAC | AssociateRJ


class Fragment(Struct):
    """P-DATA indication: one presentation data value, or a part of one (DT-2, AR-6); ``data`` is borrowed.

    ``control``: the message control header without its reserved bits, which are not to be checked (PS3.8 E.2).
    """

    context_id: int
    control: int
    data: memoryview

    def __init__(self, context_id: int, control: int, data: memoryview) -> None:
        self.context_id = context_id
        self.control = control
        self.data = data


class ReleaseIndication(Record):
    """A-RELEASE indication (AR-2); ``collision``: this side had requested a release, too (AR-8)."""

    collision: bool


class ReleaseConfirmation(Record):
    """A-RELEASE confirmation (AR-3, AR-10)."""


class AbortIndication(Record):
    """A-ABORT indication: the peer's service user aborted (AA-3)."""

    abort: Abort


class ProviderAbortIndication(Record):
    """A-P-ABORT indication: the peer's provider aborted, the peer broke the protocol, or the connection was lost.

    ``abort``: the A-ABORT received (AA-3). ``error``: the protocol violation (AA-8). Both None: connection lost (AA-4).
    """

    abort: Abort | None = None
    error: ProtocolError | None = None


Indication: TypeAlias = (
    AssociateIndication
    | AssociateConfirmation
    | Fragment
    | ReleaseIndication
    | ReleaseConfirmation
    | AbortIndication
    | ProviderAbortIndication
)
