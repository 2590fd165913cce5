"""Every error of this package, as one tree.

Beside each error stands whose fault it is; an error without such a note has that of its parent.

    MovescuError
     +-- UsageError                        the caller's
     |    +-- CommandLineError
     |    +-- DirectoryNotFoundError
     |    +-- DirectoryNotWritableError
     +-- LocalProtocolError                this program's
     +-- ListenError                       this machine's
     |    +-- PrivilegesError
     +-- TLSError                          the caller's
     +-- PeerError                         the peer's, or the network's on the way to it
     |    +-- ConnectError                 the network's, or the peer's
     |    +-- ConnectionLostError          the network's, or the peer's
     |    +-- TimedOutError                the network's, or the peer's
     |    +-- AccessDeniedError            the peer's
     |    +-- AssociationRejectedError     the peer's, or its configuration's
     |    +-- AssociationAbortedError      the peer's
     |    +-- AssociationReleasedError     the peer's
     |    +-- InterruptedConnectionError   nobody's: this program ended the association
     |    +-- ProtocolError                the peer's
     |    +-- NoPresentationContextError   the archive's configuration's
     |    +-- DestinationUnknownError      the archive's configuration's
     |    +-- LateObjectsError             the archive's
     |    +-- InventoryError               the archive's
     |         +-- FindNotOfferedError
     |         +-- IgnoredKeyError
     |         +-- TooManyStudiesError     the caller's
     +-- NotRequestedError                 the sender's
     +-- DataSetError                      that of the data set's writer
     |    +-- DataSetMismatchError         the sender's
     +-- StoreError                        the file system's, or the sink's
     |    +-- JournalError
     +-- ClusterError                      the cluster's: scheduler or workers
     +-- IncompleteError                   the reasons of the result say whose

Exit codes are not here: they exist only in ``movescu.cli``, which maps these classes to them. Every error carries a
message that names what is wrong and, where something can be done about it, a hint that says what.
"""

from __future__ import annotations

from enum import IntEnum


class MovescuError(Exception):
    """Base of every error that this package raises on purpose.

    ``hint``: one sentence that says what to do about the error. Default: empty.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[MovescuError], args: tuple[object, ...], state: dict[str, object]) -> MovescuError:
    """Return a pickled error as it was; its constructor may want more than its message."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class UsageError(MovescuError):
    """The caller's fault: the arguments or options are invalid, or do not go together."""


class CommandLineError(UsageError):
    """Mistake in the command line.

    ``early``: the error was found before the log level was known; such errors are always shown. For later ones,
    ``silent``: the log level hides errors (``--quiet``); ``show_arguments``: log the arguments before the error.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.early = True
        self.silent = False
        self.show_arguments = False


class DirectoryNotFoundError(UsageError):
    """The caller's fault: the output directory does not exist, or is not a directory."""


class DirectoryNotWritableError(UsageError):
    """The caller's fault: the output directory, or an output file, exists but is not writable."""


class LocalProtocolError(MovescuError):
    """This program's fault: a service primitive was issued in a state where PS3.8 table 9-10 has a blank cell."""


class PeerError(MovescuError):
    """The fault of the peer, or of the network on the way to it: base of all that prevents or ends an association."""


class AbortReason(IntEnum):
    """Reason/diag. field of A-ABORT from the service provider (PS3.8 table 9-26)."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNIZED_PDU_PARAMETER = 4
    UNEXPECTED_PDU_PARAMETER = 5
    INVALID_PDU_PARAMETER_VALUE = 6


class ProtocolError(PeerError):
    """The peer's fault: it sent what PS3.8 or PS3.7 forbids.

    ``abort_reason``: the reason/diag. field (PS3.8 9.3.8) of the A-ABORT that answers it. Default: not specified.
    """

    def __init__(self, message: str, *, abort_reason: AbortReason = AbortReason.NOT_SPECIFIED, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.abort_reason = abort_reason


class AssociationRejectedError(PeerError):
    """The fault of the peer or of its configuration: it answered the association request with A-ASSOCIATE-RJ.

    ``result``, ``source`` and ``reason`` are the fields of that PDU (PS3.8 9.3.4).
    """

    def __init__(self, message: str, *, result: int, source: int, reason: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.result = result
        self.source = source
        self.reason = reason


class AssociationAbortedError(PeerError):
    """The peer's fault: it sent A-ABORT; ``source`` and ``reason`` are the fields of that PDU (PS3.8 9.3.8)."""

    def __init__(self, message: str, *, source: int, reason: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.source = source
        self.reason = reason


class AssociationReleasedError(PeerError):
    """The peer's fault: it released the association before it had sent a response that was due."""


class NoPresentationContextError(PeerError):
    """The fault of the archive's configuration: it accepted no presentation context for the SOP class of a request."""


class ConnectionLostError(PeerError):
    """The fault of the network or of the peer: the transport connection was closed or reset."""


class ConnectError(PeerError):
    """The fault of the network or of the peer: no connection was made (unknown host, refused, unreachable, TLS).

    ``unknown_host``: there is no such host name.
    """

    def __init__(self, message: str, *, unknown_host: bool = False, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.unknown_host = unknown_host


class AccessDeniedError(PeerError):
    """The peer's fault: the access rules (hosts.allow, hosts.deny) or the allowed hosts deny its host."""


class InterruptedConnectionError(PeerError):
    """Nobody's fault: this program itself ended the association while a thread was waiting on it."""


class TimedOutError(PeerError):
    """The fault of the network or of the peer: a timeout expired; the message names which."""


class DestinationUnknownError(PeerError):
    """The archive does not know the move destination."""


class LateObjectsError(PeerError):
    """The archive's fault: it sent objects over the association of a C-GET when that was being released."""


class InventoryError(PeerError):
    """The archive's fault: it does not list its objects (C-FIND). The association is still open."""

    passing: bool = False
    """Whether it failed for now, by a status that another attempt may change. Default: False."""


class FindNotOfferedError(InventoryError):
    """The archive's fault: it does not offer C-FIND."""


class IgnoredKeyError(InventoryError):
    """The archive's fault: it ignored keys of the C-FIND, so the objects that match all keys are unknown.

    ``tags``: of the keys. Default: none.
    """

    def __init__(self, message: str, *, hint: str = "", tags: frozenset[int] = frozenset()) -> None:
        super().__init__(message, hint=hint)
        self.tags = tags


class TooManyStudiesError(InventoryError):
    """The caller's fault: the keys match more studies than allowed; the message has the number."""


class ListenError(MovescuError):
    """This machine's fault: the local port is in use, or the address is not its own."""


class TLSError(MovescuError):
    """The caller's fault: the keys, certificates or cipher suites are unusable."""


class PrivilegesError(ListenError):
    """This machine's fault: it does not let this user listen on the local port."""


class DataSetError(MovescuError):
    """The fault of the data set's writer: its bytes are not valid in its transfer syntax (PS3.5).

    ``offset``: position in bytes from the start of the data set where parsing failed. Default: -1, unknown.
    """

    def __init__(self, message: str, *, offset: int = -1, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.offset = offset


class DataSetMismatchError(DataSetError):
    """The sender's fault: the data set is not the object that its C-STORE request named (PS3.4 B.2.3, status A900)."""


class StoreError(MovescuError):
    """The fault of the file system or of the sink: an object could not be stored (no space, no permission)."""

    @property
    def no_space(self) -> bool:
        """Whether the disk is full, or a quota is used up."""
        from errno import EDQUOT, ENOSPC  # late: rarely needed

        return getattr(self.__cause__, "errno", None) in (ENOSPC, EDQUOT)


class JournalError(StoreError):
    """The journal of a list cannot be used.

    It is damaged, locked, removed, on a network file system, of another directory or a newer version, or its database
    server is away.
    """


class ClusterError(MovescuError):
    """The scheduler or all workers of a cluster are gone, or cannot be used; the run can be continued."""


class NotRequestedError(MovescuError):
    """The sender's fault: no running request named the object that it sent (status 0124)."""


class IncompleteError(MovescuError):
    """The retrieve is incomplete (``Result.raise_for_incomplete``); the result's reasons say whose fault that is."""
