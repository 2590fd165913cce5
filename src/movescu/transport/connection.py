"""One association over one TCP connection, blocking: what joins ``ul.association`` and ``transport.sockets``.

Requests and accepts associations, gives their indications one after the other, sends, releases and aborts (PS3.8
section 7). One thread uses a connection; only ``interrupt`` may come from another. Every wait has its deadline.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque

from movescu._runtime.hex_dump import TRACE, hex_text
from movescu._runtime.late_log import DEBUG, logger_of
from movescu.errors import (
    AssociationAbortedError,
    AssociationRejectedError,
    AssociationReleasedError,
    ConnectionLostError,
    InterruptedConnectionError,
    LocalProtocolError,
    MovescuError,
    PeerError,
    ProtocolError,
    TimedOutError,
)
from movescu.transport.deadlines import Deadline
from movescu.ul.association import Association
from movescu.ul.indications import (
    AbortIndication,
    AssociateConfirmation,
    AssociateIndication,
    Fragment,
    Indication,
    ProviderAbortIndication,
    ReleaseConfirmation,
    ReleaseIndication,
)
from movescu.ul.negotiation import Context, agreed
from movescu.ul.pdu import AssociateAC, AssociateRJ, AssociateRQ, PDataTF, PresentationDataValue
from movescu.ul.state_table import State
from movescu.ul.user_information import UserInformation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Final

    from movescu.transport.sockets import Transport

_log: Final = logger_of("movescu.net")

_FAREWELL: Final = 1.0
"""Seconds that a peer gets to close the connection after an A-ABORT, A-ASSOCIATE-RJ or A-RELEASE-RP."""

_REJECT_HINTS: Final = {
    (1, 3): "the archive does not know our calling AE title: have it entered there, or set another with --aetitle",
    (1, 7): "the archive is not called that: set its AE title with --call",
    (3, 1): "the archive is busy: try again later",
    (3, 2): "the archive has too many associations: try again later",
}


class Connection:
    """An association and its transport connection.

    Made by ``request`` or ``accept``. ``contexts`` are the accepted presentation contexts by ID.
    """

    def __init__(self, transport: Transport, association: Association) -> None:
        self._transport = transport
        self._association = association
        self._indications: deque[Indication] = deque()
        self._traced = _log.isEnabledFor(TRACE)
        self.contexts: Mapping[int, Context] = {}
        self.peer_information = UserInformation()
        """What the acceptor said of itself, on the requestor's side."""
        self._interrupted = ""
        self.last_activity = time.monotonic()
        """When a byte last came in, or the wait for one began, on the monotonic clock; read by other threads."""
        self.waiting = False
        """Whether a byte of the peer's is awaited now, which alone makes time its silence; read by other threads."""

    @property
    def peer(self) -> str:
        """Address and port of the peer, for people."""
        return self._transport.peer

    @property
    def local_address(self) -> str:
        """Our own address on this connection."""
        return self._transport.local_address

    @property
    def peer_maximum_length(self) -> int:
        """The longest P-DATA-TF that the peer takes, in bytes behind its header; 0 is unlimited."""
        return self._association.peer_maximum_length

    def fileno(self) -> int:
        """Give the descriptor of the socket, for those who wait on several at once."""
        return self._transport.fileno()

    # -- establishment -------------------------------------------------------------------------------------------

    @classmethod
    def request(cls, transport: Transport, request: AssociateRQ, seconds: float | None) -> Connection:
        """Request an association on a fresh connection and wait ``seconds`` for the answer.

        Raises ``AssociationRejectedError`` and the other ``PeerError``; the transport is closed then.
        """
        association = Association(maximum_length=request.user_information.maximum_length or 16384)
        connection = cls(transport, association)
        with connection.closing_on_error():
            connection._show("to", request)
            association.associate_request(request)
            association.transport_connected(time.monotonic())
            deadline = Deadline(seconds, "waiting for the answer to the association request")
            connection._flush(deadline)
            indication = connection.next(deadline)
            if not isinstance(indication, AssociateConfirmation):
                raise connection._error(indication)
            connection._show("of", indication.answer, request)
            if isinstance(indication.answer, AssociateRJ):
                raise _rejected(indication.answer)
            connection.contexts = agreed(request, indication.answer)
            connection.peer_information = indication.answer.user_information
            _log.info("association accepted by %s", connection.peer)
        return connection

    def receive_request(self, seconds: float) -> AssociateRQ:
        """Wait for the peer's A-ASSOCIATE-RQ; ARTIM runs for ``seconds``. Raises ``PeerError``."""
        self._association.artim_timeout = seconds
        self._association.transport_connected(time.monotonic())
        with self.closing_on_error():
            try:
                indication = self.next(Deadline(seconds, "waiting for an association request"))
            except TimedOutError:
                self._association.artim_expired(time.monotonic())
                raise
            if not isinstance(indication, AssociateIndication):
                raise self._error(indication)
        self._show("of", indication.request)
        return indication.request

    def accept(self, request: AssociateRQ, answer: AssociateAC, deadline: Deadline) -> None:
        """Accept the association. Raises ``PeerError`` if the peer has ended it already."""
        with self.closing_on_error():
            self._require(State.STA3)
            self._show("to", answer, request)
            self._association.associate_accept(answer)
            self.contexts = agreed(request, answer)
            self._flush(deadline)

    def reject(self, answer: AssociateRJ) -> None:
        """Reject the association and end the connection. Raises ``PeerError`` if the peer has ended it already."""
        with self.closing_on_error():
            self._require(State.STA3)
            self._show("to", answer)
            self._association.associate_reject(answer, time.monotonic())
        self._say_farewell()

    # -- data transfer -------------------------------------------------------------------------------------------

    def next(self, deadline: Deadline) -> Indication:
        """Wait for the next indication.

        The data of a ``Fragment`` is borrowed until the next call. Raises ``TimedOutError``, ``ConnectionLostError``.
        """
        indications = self._indications
        if not indications:
            self._receive(deadline)
        indication = indications.popleft()
        if self._association.state is State.STA13 and not indications:
            self._say_farewell()
        return indication

    def _receive(self, deadline: Deadline) -> None:
        """Fill the queue of indications."""
        association = self._association
        while not self._indications:
            limit = deadline.within if association.unfinished else deadline
            self.last_activity = time.monotonic()
            self.waiting = True
            try:
                size = self._transport.receive_into(association.get_buffer(), limit)
            finally:
                self.waiting = False
            self._take_in(size)
            if self._indications:
                return
            if association.state in (State.STA13, State.STA1):
                # What PS3.8 ends without an indication: nothing came, or what came was no request (AA-1, AA-5, AE-6).
                self._say_farewell()
                raise ConnectionLostError(f"no association with {self.peer}: none was asked for as PS3.8 has it")

    def _take_in(self, size: int) -> None:
        """Have the association take so many received bytes from its buffer; 0 is the end of the connection."""
        now = self.last_activity = time.monotonic()
        if self._interrupted:
            raise InterruptedConnectionError(self._interrupted)
        if size:
            self._indications.extend(self._association.buffer_updated(size, now))
        else:
            self._indications.extend(self._association.transport_closed(now))
        if self._traced:
            self._trace("P-DATA-TF of", self._indications)

    def leave(self, now: float) -> None:
        """Note that the peer's next byte is awaited by somebody who will ``take`` it, instead of in ``next``."""
        self.last_activity = now
        self.waiting = True

    def take(self) -> int:
        """Take in what has come, without waiting; -1 if there is nothing, else how many bytes. Not for secured ones.

        Raises ``ConnectionLostError``.
        """
        size = self._transport.receive_at_hand(self._association.get_buffer())
        if size >= 0:
            self.waiting = False
            self._take_in(size)
        return size

    @property
    def at_hand(self) -> Sequence[Indication]:
        """What has been received and not been asked for."""
        return self._indications

    @property
    def has_more(self) -> bool:
        """Whether more than was asked for has been received, in part at least."""
        return bool(self._indications) or self._association.unfinished

    @property
    def secured(self) -> bool:
        """Whether it is one of TLS."""
        return self._transport.secured

    @property
    def is_unread(self) -> bool:
        """Whether the system holds bytes of the peer's that nobody has received yet. Safe from any thread."""
        return self._transport.is_unread

    def readable(self, seconds: float | None, wake: int = -1) -> bool:
        """Tell whether anything came from the peer, waiting ``seconds`` for it at most; None waits for ever.

        For a service that looks between two messages of its own whether it was cancelled (PS3.7 9.3.2.3). The wait
        also ends when the descriptor ``wake`` can be read.
        """
        return bool(self._indications) or self._transport.readable(seconds, wake)

    def next_fragment(self, deadline: Deadline) -> Fragment:
        """Wait for the next fragment; anything else raises the error that it means."""
        return self.fragment(self.next(deadline))

    def fragment_at_hand(self) -> Fragment | None:
        """Give the next fragment if it has been received already and nothing else stands before it, else None."""
        indications = self._indications
        first = indications[0] if indications else None
        if not isinstance(first, Fragment) or self._association.state is State.STA13:
            return None
        indications.popleft()
        return first

    def fragment(self, indication: Indication) -> Fragment:
        """Give the fragment that the indication is; anything else raises the error that it means."""
        if isinstance(indication, Fragment):
            return indication
        raise self._error(indication)

    def send(self, pdus: Iterable[PDataTF], deadline: Deadline) -> None:
        """Send P-DATA-TFs with one call of the system. Raises ``PeerError``."""
        self._require(State.STA6, State.STA8)
        if self._traced:
            pdus = list(pdus)
            self._trace("P-DATA-TF to", (value for pdu in pdus for value in pdu.values))
        self._association.p_data_request(pdus)
        self._flush(deadline)

    def _require(self, *states: State) -> None:
        """Raise what ended the association, if it did: its indication may still wait behind data (PS3.8 7.3)."""
        if self._association.state not in states:
            for indication in self._indications:
                if not isinstance(indication, Fragment):
                    raise self._error(indication)

    # -- the end -------------------------------------------------------------------------------------------------

    def release(self, deadline: Deadline) -> None:
        """Release the association and wait for the confirmation; what still comes in is dropped (PS3.8 7.2).

        Raises ``PeerError`` if the peer does anything but confirm.
        """
        with self.closing_on_error():
            if self._association.state is State.STA6:  # else the peer was quicker: what it did waits behind data
                _log.debug("A-RELEASE-RQ to %s", self.peer)
                self._association.release_request()
                self._flush(deadline)
            while not self._is_released_by(self.next(deadline), deadline):
                pass
        self._say_farewell()

    def _is_released_by(self, indication: Indication, deadline: Deadline) -> bool:
        """Take an indication during a release, with the response that a collision needs; True for the last one."""
        state = self._association.state
        if isinstance(indication, Fragment):
            return False
        if not isinstance(indication, ReleaseIndication | ReleaseConfirmation):
            raise self._error(indication)
        if state in (State.STA8, State.STA9, State.STA12):
            self._association.release_response(time.monotonic())
            self._flush(deadline)
        return state is State.STA8 or isinstance(indication, ReleaseConfirmation)

    def confirm_release(self, deadline: Deadline) -> None:
        """Answer the peer's release request and end the connection."""
        with contextlib.suppress(PeerError, LocalProtocolError):  # the association has ended in every case
            self._association.release_response(time.monotonic())
            _log.debug("A-RELEASE-RP to %s", self.peer)
            self._flush(deadline)
        self._say_farewell()

    def abort(self, error: ProtocolError | None = None) -> None:
        """Abort the association, for ``error`` if the peer broke the protocol, and end the connection."""
        with contextlib.suppress(LocalProtocolError):  # there may be no association left to abort
            self._association.abort_request(time.monotonic(), error)
            _log.debug("A-ABORT to %s", self.peer)
        self._say_farewell()

    def interrupt(self, why: str) -> None:
        """Wake the thread that waits on this connection with ``InterruptedConnectionError``. Safe from any thread."""
        self._interrupted = why
        self._transport.stop_receiving()

    def close(self) -> None:
        """Close the connection without a word."""
        self._transport.close()

    @contextlib.contextmanager
    def closing_on_error(self) -> Iterator[None]:
        """Abort and close if an error leaves the block."""
        try:
            yield
        except ProtocolError as error:
            self.abort(error)
            raise
        except BaseException:
            self.abort()
            raise

    def _flush(self, deadline: Deadline) -> None:
        data = self._association.data_to_send()
        if data:
            self._transport.send(data, deadline)

    def _say_farewell(self) -> None:
        """Send what is left, wait shortly for the peer to close (Sta13), and close."""
        deadline = Deadline(_FAREWELL, f"waiting for {self.peer} to close the connection")
        association = self._association
        with contextlib.suppress(PeerError):
            self._flush(deadline)
            # A socket closed with bytes unread resets the connection, and the peer may lose our last PDU.
            while association.state is State.STA13:
                size = self._transport.receive_into(association.get_buffer(), deadline)
                if not size:
                    break
                association.buffer_updated(size, time.monotonic())
                self._flush(deadline)
        association.transport_closed(time.monotonic())
        self.close()

    def _show(self, way: str, pdu: AssociateRQ | AssociateAC | AssociateRJ, request: AssociateRQ | None = None) -> None:
        """Log a PDU; ``request`` is what it answers."""
        if not _log.isEnabledFor(DEBUG):
            return
        from movescu.ul.pdu_text import association_text, bytes_of  # for those alone who want to see it

        title = f"A-ASSOCIATE-{type(pdu).__name__[-2:]} {way} {self.peer}"
        _log.debug(association_text(title, pdu, request))
        if self._traced:
            _log.log(TRACE, hex_text(title, bytes_of(pdu)))

    def _trace(self, what: str, values: Iterable[Indication | PresentationDataValue]) -> None:
        """Log the bytes of fragments."""
        for value in values:
            if isinstance(value, Fragment | PresentationDataValue):
                kind = "command" if value.control & 1 else "data set"
                head = f"{what} {self.peer}, presentation context {value.context_id}, {kind}"
                _log.log(TRACE, hex_text(f"{head}, last" if value.control & 2 else head, value.data))

    def _error(self, indication: Indication) -> MovescuError:
        """Make the error that an unexpected indication means."""
        if isinstance(indication, AbortIndication):
            abort = indication.abort
            return AssociationAbortedError(
                f"association aborted {abort.describe()}", source=abort.source, reason=abort.reason
            )
        if isinstance(indication, ProviderAbortIndication):
            if indication.error is not None:
                return indication.error
            if indication.abort is not None:
                abort = indication.abort
                return AssociationAbortedError(
                    f"association aborted {abort.describe()}", source=abort.source, reason=abort.reason
                )
            return ConnectionLostError(f"{self.peer} closed the connection")
        if isinstance(indication, ReleaseIndication):
            self.confirm_release(Deadline(_FAREWELL, "answering the release request"))
            return AssociationReleasedError(f"{self.peer} released the association")
        return ProtocolError(f"{type(indication).__name__} was not expected")


def _rejected(answer: AssociateRJ) -> AssociationRejectedError:
    return AssociationRejectedError(
        f"association {answer.describe()}",
        result=answer.result,
        source=answer.source,
        reason=answer.reason,
        hint=_REJECT_HINTS.get((answer.source, answer.reason), ""),
    )
