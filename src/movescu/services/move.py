"""The SCU of the Query/Retrieve service class, C-MOVE: PS3.4 C.4.2 and PS3.7 9.1.4.

Sends a request and yields its responses one by one, the final one with its Failed SOP Instance UID List.
``query.identifier`` encodes the identifier of the request; ``retrieval`` judges the outcome.
"""

from __future__ import annotations

from movescu._runtime import clock
from movescu._runtime.late_log import logger_of
from movescu._runtime.record import Record
from movescu.dimse import PRIORITY_MEDIUM
from movescu.dimse.messages import NO_DATA_SET, CCancelRQ, CGetRQ, CGetRSP, CMoveRQ, CMoveRSP, Message
from movescu.dimse.status import C_MOVE, PENDING, StatusClass, status_class, status_name
from movescu.errors import AbortReason, DataSetError, ProtocolError, TimedOutError
from movescu.transport.deadlines import Silence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

    from movescu.dimse.exchange import Exchange
    from movescu.transport.deadlines import Deadline
    from movescu.ul.negotiation import Context

_log: Final = logger_of("movescu.move")

_FAILED_SOP_INSTANCE_UID_LIST: Final = 0x00080058
_LIST_SECONDS: Final = 2.0
"""Seconds. Silence after a final response after which the list that it announces is given up."""
_DIFFERENT: Final = 2
MAXIMUM_IDENTIFIER: Final = 16 << 20
"""Longest identifier of a final response that is read, in bytes; a list of 100,000 failed UIDs has 6.5 MB."""


class MoveResponse(Record):
    """A C-MOVE or C-GET response (PS3.7 tables 9.1-4, 9.1-3); a count is None if the archive left it out.

    ``failed_sop_instance_uids``: of a final response (PS3.4 C.4.2.1.4.2). Default: empty. ``pending_completed``,
    ``pending_failed``: of a final response: the highest counts of the pending ones before it, those with warnings among
    the completed. Default: 0. ``pending_total``: the sum of all counts in each pending response before it, if that
    never changed and they counted anything done; else 0, as the archive does not count. ``has_unread_list``: a list of
    failed objects arrived that is too long or malformed. ``service``: C-MOVE or C-GET.
    """

    message_id: int
    status: int
    remaining: int | None
    completed: int | None
    failed: int | None
    warning: int | None
    error_comment: str = ""
    offending_elements: tuple[int, ...] = ()
    failed_sop_instance_uids: tuple[str, ...] = ()
    pending_completed: int = 0
    pending_failed: int = 0
    pending_total: int = 0
    has_unread_list: bool = False
    service: str = "C-MOVE"

    @property
    def status_class(self) -> StatusClass:
        """The class of the status (PS3.7 annex C)."""
        return status_class(self.status)

    @property
    def status_name(self) -> str:
        """The status in words (PS3.4 table C.4-2)."""
        return status_name(self.status, C_MOVE)


class ResponsePace:
    """How long pending responses are left in the socket while objects arrive fast.

    An archive sends one after each object. A thread that wakes for each takes the interpreter from the thread that
    stores. So it rests for at most ``LONGEST`` seconds, and for no more than half of the time that the remaining
    objects will take: the final response is never late.
    """

    LONGEST: Final = 0.02
    SHORTEST: Final = 0.002
    FEWEST: Final = 32
    """Remaining objects below which it does not rest."""

    def __init__(self) -> None:
        self._time, self._completed = 0.0, 0

    def rest(self, completed: int, remaining: int | None) -> float:
        """Return the seconds to rest, 0 for none, by the counts of the last response."""
        now = clock.now()
        objects, seconds = completed - self._completed, now - self._time
        self._time, self._completed = now, completed
        if remaining is None or remaining < self.FEWEST or objects <= 0 or seconds >= objects * self.SHORTEST:
            return 0.0
        rest = min(self.LONGEST, remaining / 2 * seconds / objects)
        return rest if rest >= self.SHORTEST else 0.0


_UNCOUNTED: Final = (None, None, None, None)


class MoveSCU:
    """Query/Retrieve SCU: sends C-MOVE requests on one presentation context, one after the other.

    ``services.get`` derives from it, as C-GET has the same responses.

    ``destination``: AE title that the archive sends to. ``read_pending``: wait for a data set that a pending response
    announces, against PS3.4. Default: False, such a data set is not waited for, and dropped if it arrives.
    """

    service = "C-MOVE"
    """Name of the service, for messages."""
    _response: type[CMoveRSP | CGetRSP] = CMoveRSP

    def __init__(
        self,
        exchange: Exchange,
        context: Context,
        destination: str,
        *,
        read_pending: bool = False,
        priority: int = PRIORITY_MEDIUM,
    ) -> None:
        self._exchange = exchange
        self._context = context
        self._destination = destination
        self._read_pending = read_pending
        self._priority = priority
        self._message_id = 0
        self._counts: tuple[int | None, int | None, int | None, int | None] | None = None
        self._completed = 0
        self._failed = 0
        self._totals: set[int] = set()  # sums of all counts in pending responses: none, one, or two that differ
        self._pace = ResponsePace()
        self._counted = 0.0
        self._uncounted = 0.0

    def progressed(self, *, uncounted: bool) -> float:
        """Return when the counts of the responses last changed, on the monotonic clock, 0 for never.

        ``uncounted``: a response without counts is progress, too, for an archive that gives no other sign of it.
        """
        return max(self._counted, self._uncounted) if uncounted else self._counted

    def _note(self, response: CMoveRSP | CGetRSP) -> None:
        remaining, completed, failed, warning = counts = (
            response.remaining,
            response.completed,
            response.failed,
            response.warning,
        )
        sent, refused = (completed or 0) + (warning or 0), failed or 0
        self._completed = max(self._completed, sent)
        self._failed = max(self._failed, refused)
        if remaining is not None and len(self._totals) < _DIFFERENT and _is_pending(response):
            self._totals.add(remaining + sent + refused)
        if counts == _UNCOUNTED:
            self._uncounted = clock.now()
        elif counts != self._counts:
            self._counts, self._counted = counts, clock.now()

    @property
    def unfinished(self) -> MoveResponse | None:
        """What the pending responses to the last request counted, for want of a final one; None without any count."""
        if self._counts is None:
            return None
        remaining, completed, failed, warning = self._counts
        return MoveResponse(
            self._message_id,
            PENDING,
            remaining,
            completed,
            failed,
            warning,
            pending_completed=self._completed,
            pending_failed=self._failed,
            pending_total=self._total,
        )

    @property
    def _total(self) -> int:
        return next(iter(self._totals)) if len(self._totals) == 1 else 0

    def rest(self) -> float:
        """Return for how many seconds pending responses may be left in the socket; see ``ResponsePace``."""
        return self._pace.rest(self._completed, self._counts[0] if self._counts else None)

    def request(self, identifier: bytes, deadline: Deadline, message_id: int = 0) -> int:
        """Send a request, and return its message ID; ``identifier`` is in the context's transfer syntax.

        ``message_id``: default 0, the one after the last request's.
        """
        self._message_id = message_id or self._message_id % 0xFFFF + 1
        self._exchange.begin(self._message_id)
        self._exchange.send(self._context.context_id, self._message(), deadline, identifier)
        return self._message_id

    def _message(self) -> CMoveRQ | CGetRQ:
        """Return the request to send, and log it."""
        _log.info("C-MOVE request sent (MsgID %d, destination %s)", self._message_id, self._destination)
        return CMoveRQ(self._context.abstract_syntax, self._message_id, self._destination, self._priority)

    def cancel(self, deadline: Deadline) -> None:
        """Cancel the last request (PS3.7 9.3.3.3, 9.3.4.3); its final response still follows."""
        self._exchange.send(self._context.context_id, CCancelRQ(self._message_id), deadline)
        _log.info("C-CANCEL request sent (MsgID %d)", self._message_id)

    def responses(self, deadline: Deadline, attend: Callable[[], None] | None = None) -> Iterator[MoveResponse]:
        """Yield the responses to the last request as they arrive, up to the final one.

        ``attend`` is called before each wait for a response; it may wait itself, and cancel. Raise ``PeerError`` if
        anything else arrives, or the association ends.
        """
        final = False
        while not final:
            response = self._check(self._next(deadline, attend))
            self._note(response)
            final = not _is_pending(response)
            if final:
                self._exchange.end(self._message_id)
            uids: tuple[str, ...] | None = ()
            if response.command_data_set_type != NO_DATA_SET:
                if final:
                    uids = self._failed_uids()
                else:
                    self._skip_data_set()
            yield MoveResponse(
                response.message_id_being_responded_to,
                response.status,
                response.remaining,
                response.completed,
                response.failed,
                response.warning,
                response.error_comment or "",
                response.offending_elements,
                uids or (),
                self._completed if final else 0,
                self._failed if final else 0,
                self._total if final and (self._completed or self._failed) else 0,
                uids is None,
                self.service,
            )

    def _next(self, deadline: Deadline, attend: Callable[[], None] | None) -> Message:
        """Wait for the next response."""
        if attend is not None:
            attend()
        return self._exchange.receive_response(deadline)[1]

    def _check(self, message: Message) -> CMoveRSP | CGetRSP:
        if not isinstance(message, self._response):
            raise _unexpected(f"{message.name} where a {self.service} response is due")
        if message.message_id_being_responded_to != self._message_id:
            raise _unexpected(
                f"a response to message {message.message_id_being_responded_to}, which is not the last request"
            )
        return message

    def _skip_data_set(self) -> None:
        _log.warning("a pending %s response announces a data set, against PS3.4 C.4.2.1.4.2", self.service)
        if not self._read_pending:
            self._exchange.forget_data_set()

    def _failed_uids(self) -> tuple[str, ...] | None:
        """Return the Failed SOP Instance UID List, None if it cannot be read.

        A list that is announced and does not follow is not waited for.
        """
        from movescu.dataset.transcoder import values_of  # late: most final responses have no list

        identifier = bytearray()
        try:
            for fragment in self._exchange.data_set(Silence(_LIST_SECONDS, "waiting for the list of failed objects")):
                if len(identifier) < MAXIMUM_IDENTIFIER:
                    identifier += fragment
        except TimedOutError:
            _log.warning("a final %s response announces a list of failed objects, and none arrived", self.service)
            self._exchange.forget_data_set()
            return ()
        if len(identifier) >= MAXIMUM_IDENTIFIER:
            _log.warning("the archive's list of failed objects is longer than %d bytes: not read", MAXIMUM_IDENTIFIER)
            return None
        self._exchange.show_identifier(identifier, self._context.context_id)
        try:
            value = values_of(identifier, self._context.transfer_syntax).get(_FAILED_SOP_INSTANCE_UID_LIST, b"")
        except DataSetError as error:
            _log.warning("the archive's list of failed objects cannot be read: %s", error)
            return None
        text = value.decode("latin-1")
        return tuple(uid for part in text.split("\\") if (uid := part.strip("\0 ")))


def _is_pending(response: CMoveRSP | CGetRSP) -> bool:
    return status_class(response.status) is StatusClass.PENDING


def _unexpected(what: str) -> ProtocolError:
    return ProtocolError(f"the archive sent {what}", abort_reason=AbortReason.UNEXPECTED_PDU_PARAMETER)
