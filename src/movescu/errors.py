"""The errors of this package: one tree, ordered by whose fault it is.

Ours, the peer's, the network's, the data set's, the file system's. Exit codes are not here: they exist only in
``movescu.cli.main``, which maps these classes to them. Every error carries a message that names what is wrong
and, where something can be done about it, a hint that says what.
"""

from __future__ import annotations

from enum import IntEnum


class MovescuError(Exception):
    """Base of all errors that this package raises on purpose.

    ``hint`` is one sentence for the person who has to act on the error, or empty.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(MovescuError):
    """Ours: something was asked for that cannot be, before or without talking to a peer."""


class DirectoryNotFoundError(UsageError):
    """Ours: the output directory does not exist, or is none."""


class DirectoryNotWritableError(UsageError):
    """Ours: the output directory exists, and nothing can be written into it."""


class LocalProtocolError(MovescuError):
    """Ours: a service primitive was used in a state in which PS3.8 table 9-10 does not allow it."""


class PeerError(MovescuError):
    """The other side's, or the way to it: the base of everything that ends an association from outside."""


class AbortReason(IntEnum):
    """Reason/diag. field of A-ABORT from the service provider (PS3.8 table 9-26)."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNIZED_PDU_PARAMETER = 4
    UNEXPECTED_PDU_PARAMETER = 5
    INVALID_PDU_PARAMETER_VALUE = 6


class ProtocolError(PeerError):
    """The peer sent what PS3.8 or PS3.7 forbids.

    ``abort_reason`` is the reason/diag. field (PS3.8 9.3.8) with which the association ought to be aborted.
    """

    def __init__(self, message: str, *, abort_reason: AbortReason = AbortReason.NOT_SPECIFIED, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.abort_reason = abort_reason


class AssociationRejectedError(PeerError):
    """A-ASSOCIATE-RJ was received; ``result``, ``source`` and ``reason`` are its fields (PS3.8 9.3.4)."""

    def __init__(self, message: str, *, result: int, source: int, reason: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.result = result
        self.source = source
        self.reason = reason


class AssociationAbortedError(PeerError):
    """A-ABORT was received; ``source`` and ``reason`` are its fields (PS3.8 9.3.8)."""

    def __init__(self, message: str, *, source: int, reason: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.source = source
        self.reason = reason


class AssociationReleasedError(PeerError):
    """The peer released the association while an answer was still due."""


class ConnectionLostError(PeerError):
    """The transport connection was closed or reset under an association."""


class ConnectError(PeerError):
    """No transport connection could be made: unknown host, refused, unreachable."""


class AccessDeniedError(PeerError):
    """A host connected to us that the access rules do not let in."""


class InterruptedConnectionError(PeerError):
    """Our own side ended the association while its thread was waiting."""


class TimedOutError(PeerError):
    """A wait came to its end; the message names which."""


class ListenError(MovescuError):
    """Ours: the local port cannot be listened on."""


class TLSError(MovescuError):
    """Ours: keys, certificates or cipher suites that TLS cannot be set up with."""


class PrivilegesError(ListenError):
    """Ours: the local port may not be listened on by this user."""


class DataSetError(MovescuError):
    """Bytes that are no data set in the transfer syntax that they claim (PS3.5).

    ``offset`` is the position in bytes from the start of the data set at which reading failed, -1 if unknown.
    """

    def __init__(self, message: str, *, offset: int = -1, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.offset = offset


class DataSetMismatchError(DataSetError):
    """A data set that is not the object its C-STORE request said (PS3.4 B.2.3, status A900)."""


class StoreError(MovescuError):
    """A received object could not be written to its file: no space, no permission, a directory in its place."""


class IncompleteError(MovescuError):
    """A retrieve that did not bring everything, where that is wanted as an error: ``Result.check``."""
