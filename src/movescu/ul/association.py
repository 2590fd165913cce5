"""The association: the state machine of PS3.8 section 9.2, without a socket, a clock or a thread.

Theory of operation. Everything that happens to an association is an event of table 9-10, and ``_perform`` looks up the
action of an event in the current state (``state_table``), carries out its effects and enters its next state:

- Bytes of the peer are written into ``get_buffer()`` and announced with ``buffer_updated`` (the shape of
  ``asyncio.BufferedProtocol``). Each whole PDU is an event (Evt3, 4, 6, 10, 12, 13, 16), and so is one that cannot be
  decoded (Evt19); ``buffer_updated`` returns the indications of the actions.
- Service primitives are methods (Evt1, 7 to 9, 11, 14, 15). The PDUs of their actions are taken with ``data_to_send``.
- The transport service and the ARTIM timer are methods, too (Evt2, 5, 17, 18). Time is an argument: the caller moves
  the bytes, watches ``artim_deadline``, and closes the transport connection once ``closed`` is set.

Fast path. In Sta6 both DT-1 and DT-2 lead back to Sta6, so P-DATA-TFs bypass the table there. Of a received one the
header alone is checked, and its fragments are returned as views of the receive buffer, borrowed until the next
``get_buffer``. A fragment of a data set that has arrived in large part is returned in parts, as if the peer had sent
smaller ones: little is moved within the buffer, and the disk works while the network does.

What a peer does that PS3.8 forbids, and that neither endangers memory nor confuses the state machine, is accepted and
noted in ``oddities``: even context IDs, P-DATA-TFs longer than announced, A-RELEASE and A-ABORT of another length.
"""

from __future__ import annotations

import struct

from movescu.errors import AbortReason, LocalProtocolError, ProtocolError
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
from movescu.ul.pdu import (
    HEADER_LENGTH,
    PDU,
    Abort,
    AbortSource,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    ContextResult,
    PDataTF,
    PDUType,
    ReleaseRP,
    ReleaseRQ,
    decode_pdu,
)
from movescu.ul.state_table import ACTIONS, TRANSITIONS, Effect, Event, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Final

MAXIMUM_ASSOCIATE_LENGTH: Final = 1 << 20
"""Longest A-ASSOCIATE PDU accepted, in bytes; 128 contexts of 50 transfer syntaxes each take 200 KB."""

LONGEST_P_DATA: Final = 128 * 1024
"""Longest P-DATA-TF accepted on an association whatever was announced, in bytes, without its header."""

PART: Final = 32 * 1024
"""Smallest part of an unfinished fragment that is returned, in bytes."""

_ASSOCIATED_BUFFER: Final = 128 * 1024  # room for several PDUs of 16 KB: fewer receives for the same bytes
_HEADS: Final = 16 * 1024  # of a C-STORE-RQ and of an object before its pixel data, beside four whole PDUs
_UNASSOCIATED_BUFFER: Final = 4 * 1024
_FIXED_LENGTH: Final = 4  # of A-ASSOCIATE-RJ, A-RELEASE-RQ, A-RELEASE-RP and A-ABORT
_LONGEST_FIXED: Final = 1024  # bytes accepted of these but the first, whose fields say why
_VERSION_1: Final = 0x0001
_CONTROL_BITS: Final = 0x03  # of the message control header: command, last (PS3.8 E.2)
_COMMAND: Final = 0x01
_EMPTY: Final = 6  # length of a P-DATA-TF of one empty fragment
_PDV_DATA: Final = 12  # bytes of a P-DATA-TF before the data of its first presentation data value
_P_DATA_STATES: Final = (State.STA6, State.STA7)

_HEADER: Final = struct.Struct(">BxI")
_PDU_AND_PDV: Final = struct.Struct(">BxIIBB")  # the headers of a P-DATA-TF and its first value (PS3.8 9.3.5)


_PDU_EVENTS: Final = {kind: Event[f"{kind.name}_PDU"] for kind in PDUType}


def unwatched(size: int) -> None:
    """Do nothing when a receive buffer of ``size`` bytes is made: the default of ``Association.on_growth``."""


class Association:
    """An association, as requestor or as acceptor.

    ``maximum_length``: bytes of the longest P-DATA-TF accepted, without its header, as announced. Default: 16384.
    ``artim_timeout``: seconds that ARTIM runs (PS3.8 9.1.5). Default: 30.
    ``buffer_size``: bytes of the receive buffer at least. Default: what a few PDUs need.
    """

    def __init__(self, *, maximum_length: int = 16384, artim_timeout: float = 30.0, buffer_size: int = 0) -> None:
        self.state = State.STA1
        self.requestor = False
        self.maximum_length = maximum_length
        self.artim_timeout = artim_timeout
        self.artim_deadline: float | None = None
        self.closed = False
        """True once the transport connection is closed, or has to be."""
        self.contexts: frozenset[int] = frozenset()
        """IDs of the accepted presentation contexts."""
        self.peer_maximum_length = 0
        """Bytes of the longest P-DATA-TF that the peer accepts, without the header, as announced; 0 is unlimited."""
        self.oddities: dict[str, None] = {}
        """Violations of PS3.8 by the peer that were accepted, in words, in order; the caller may clear it."""
        self.violation: ProtocolError | None = None
        """The error of the peer's PDU that could not be decoded, if one could not."""
        self.on_growth: Callable[[int], None] = unwatched  # called with the new size of the receive buffer
        self._request: AssociateRQ | None = None
        self._accepted_length = maximum_length  # of a P-DATA-TF; grows when the peer first exceeds it
        pdus = 4 * (maximum_length + HEADER_LENGTH) + _HEADS
        self._buffer_size = max(buffer_size, _ASSOCIATED_BUFFER, pdus)
        # A small buffer until the association is established: opening a connection costs a peer nothing.
        self._buffer = bytearray(_UNASSOCIATED_BUFFER)
        self._view = memoryview(self._buffer)
        self._start = 0  # position of the first byte that was not decoded yet
        self._end = 0  # end of the bytes received
        self._rest = 0  # bytes still missing of the fragment that was returned in part
        self._rest_of = (0, 0)  # its context ID and control
        self._deaf = False  # framing is lost: nothing that follows can be decoded
        self._empty: dict[tuple[int, int], Fragment] = {}
        self._out: list[bytes] = []
        self._indications: list[Indication] = []
        self._now = 0.0

    # -- bytes in ------------------------------------------------------------------------------------------------

    def get_buffer(self) -> memoryview:
        """Return the free part of the receive buffer, never empty; this invalidates the fragments returned before."""
        if self._start:
            left = self._end - self._start
            if left:
                self._view[:left] = self._view[self._start : self._end]
            self._start, self._end = 0, left
        size = len(self._buffer)
        if self._end == size or (size < self._buffer_size and self.state in _P_DATA_STATES):
            self._grow()
        return self._view[self._end :]

    def _wanted_size(self) -> int:
        return self._buffer_size if self.state in _P_DATA_STATES else 0

    def _grow(self) -> None:
        # Grown as bytes arrive, not by the length that a header claims: a false one costs the peer its bandwidth,
        # not this side its memory.
        size = max(self._wanted_size(), 2 * len(self._buffer) if self._end == len(self._buffer) else 0)
        self.on_growth(size)
        buffer = bytearray(size)
        buffer[: self._end] = self._view[: self._end]
        self._buffer, self._view = buffer, memoryview(buffer)

    @property
    def unfinished(self) -> bool:
        """Whether the last PDU has arrived in part."""
        return self._end > self._start or self._rest > 0

    def buffer_updated(self, size: int, now: float) -> list[Indication]:
        """Decode the ``size`` bytes just written into the buffer and return their indications.

        ``now``: seconds on any monotonic clock.
        """
        self._now = now
        self._end += size
        while not self._deaf and not self.closed:
            if self._rest and not self._take_rest():
                break
            if self.state is State.STA6:
                self._take_p_data()
            if self._end - self._start < HEADER_LENGTH or not self._take_pdu():
                break
        if self._deaf or self.closed:
            self._start = self._end
        return self._take_indications()

    def _take_p_data(self) -> None:
        """Indicate the fragments of the whole P-DATA-TFs at the front of the buffer: DT-2, past the table."""
        view, position, end = self._view, self._start, self._end
        contexts, limit, indications = self.contexts, self._accepted_length, self._indications
        headers = _PDU_AND_PDV.unpack_from
        while end - position >= _PDV_DATA:
            pdu_type, length, pdv_length, context_id, control = headers(view, position)
            if pdu_type != 4 or length > limit or pdv_length != length - 4 or length < 6 or context_id not in contexts:
                break  # another PDU, several PDVs, or an error: left to the table
            behind = position + HEADER_LENGTH + length
            if behind > end:
                if not control & _COMMAND and end - position >= PART:
                    indications.append(Fragment(context_id, 0, view[position + _PDV_DATA : end]))
                    self._rest, self._rest_of = behind - end, (context_id, control & _CONTROL_BITS)
                    position = end
                break
            made = Fragment if length > _EMPTY else self._fragment
            indications.append(made(context_id, control & _CONTROL_BITS, view[position + _PDV_DATA : behind]))
            position = behind
        self._start = position

    def _fragment(self, context_id: int, control: int, data: bytes | bytearray | memoryview) -> Fragment:
        """Return a fragment; all empty ones are one object, as thousands of them fit into the buffer."""
        fragment = Fragment(context_id, control & _CONTROL_BITS, memoryview(data))
        return fragment if len(data) else self._empty.setdefault((context_id, fragment.control), fragment)

    def _take_rest(self) -> bool:
        """Indicate more of a fragment that was returned in part, where the state allows it; True at its end.

        The state may have changed in its middle, by a release or an abort of this side: DT-2 in Sta6, AR-6 in Sta7.
        """
        size = min(self._rest, self._end - self._start)
        if size < min(self._rest, PART):
            return False
        first, self._start = self._start, self._start + size
        self._rest -= size
        if self.state in _P_DATA_STATES:
            context_id, control = self._rest_of
            control = 0 if self._rest else control
            self._indications.append(Fragment(context_id, control, self._view[first : self._start]))
        return not self._rest

    def _take_pdu(self) -> bool:
        """Put the PDU at the front of the buffer, whose header has arrived, through the table; False if not whole."""
        pdu_type, length = _HEADER.unpack_from(self._view, self._start)
        try:
            self._check_length(pdu_type, length)
            first = self._start + HEADER_LENGTH
            if self._end - first < length:
                return False
            self._start = first + length
            pdu = decode_pdu(pdu_type, self._view[first : first + length])
            if isinstance(pdu, PDataTF) and self.state in _P_DATA_STATES:
                self._check_contexts(pdu)
            elif isinstance(pdu, AssociateRQ) and any(context.context_id % 2 == 0 for context in pdu.contexts):
                self.oddities["even presentation context IDs (PS3.8 9.3.2.2)"] = None
        except ProtocolError as error:
            self._deaf, self.violation = True, error
            self._perform(Event.INVALID_PDU, error=error)
        else:
            self._perform(_PDU_EVENTS[PDUType(pdu_type)], pdu=pdu)
        return True

    def _check_length(self, pdu_type: int, length: int) -> None:
        # Checked as soon as the header is there: no byte of a PDU that will be refused is waited for or held.
        if pdu_type not in _PDU_EVENTS:
            from movescu.ul.foreign import unknown_pdu  # late: needed for peers that do not speak DICOM

            size = HEADER_LENGTH if self.state in (State.STA2, State.STA5) else 1  # later, the peer has spoken DICOM
            raise unknown_pdu(self._view[self._start : self._start + size], requestor=self.requestor)
        expected = "at most"
        if pdu_type in (PDUType.ASSOCIATE_RQ, PDUType.ASSOCIATE_AC):
            limit = MAXIMUM_ASSOCIATE_LENGTH
        elif pdu_type == PDUType.P_DATA_TF:
            limit = self._longest_p_data(length)
        elif pdu_type == PDUType.ASSOCIATE_RJ:
            limit, expected = _FIXED_LENGTH, "exactly"
        else:
            limit = _LONGEST_FIXED
            if length != _FIXED_LENGTH:
                name = PDUType(pdu_type).name.replace("_", "-")
                self.oddities[f"{name} of another length than {_FIXED_LENGTH} (PS3.8 9.3)"] = None
        if length > limit or (expected == "exactly" and length != limit):
            raise ProtocolError(
                f"PDU type {pdu_type:02X}H of {length} bytes, {expected} {limit} are allowed",
                abort_reason=AbortReason.INVALID_PDU_PARAMETER_VALUE,
            )

    def _longest_p_data(self, length: int) -> int:
        """Return the length that a P-DATA-TF may have; note one that is longer than announced."""
        if self.state not in _P_DATA_STATES:  # it will be refused: hold as little of it as possible
            return self.maximum_length
        longest = max(self.maximum_length, LONGEST_P_DATA)
        if self._accepted_length < length <= longest:
            self._accepted_length = longest
            what = f"P-DATA-TF of more than the {self.maximum_length} bytes that were announced to it (PS3.8 D.1)"
            self.oddities[what] = None
        return longest

    def _check_contexts(self, pdu: PDataTF) -> None:
        for value in pdu.values:
            if value.context_id not in self.contexts:
                raise ProtocolError(
                    f"P-DATA-TF on presentation context {value.context_id}, which was not accepted",
                    abort_reason=AbortReason.INVALID_PDU_PARAMETER_VALUE,
                )

    # -- the transport connection and the timer --------------------------------------------------------------------

    def transport_connected(self, now: float) -> None:
        """Record that the connection is open: confirmed (Evt2) after ``associate_request``, else indicated (Evt5)."""
        self._now = now
        if self.state is State.STA4:
            self._perform(Event.TRANSPORT_CONFIRMATION, pdu=self._request)  # AE-2
        else:
            self._perform(Event.TRANSPORT_INDICATION)  # AE-5

    def transport_closed(self, now: float) -> list[Indication]:
        """Record that the connection was closed or lost (Evt17)."""
        self._now = now
        if self.state is not State.STA1:
            self._perform(Event.TRANSPORT_CLOSED)  # AA-4, AA-5, AR-5
        self.closed = True
        return self._take_indications()

    def artim_expired(self, now: float) -> list[Indication]:
        """Record that ``artim_deadline`` has passed (Evt18)."""
        self._now = now
        self._perform(Event.ARTIM_EXPIRED)  # AA-2
        return self._take_indications()

    # -- service primitives ------------------------------------------------------------------------------------------

    def associate_request(self, request: AssociateRQ) -> None:
        """Issue the A-ASSOCIATE request primitive (Evt1); the caller opens the connection next."""
        self._request, self.requestor = request, True
        self._perform(Event.ASSOCIATE_REQUEST)  # AE-1

    def associate_accept(self, answer: AssociateAC) -> None:
        """Issue the A-ASSOCIATE response primitive, accept (Evt7)."""
        self._perform(Event.ASSOCIATE_ACCEPT, pdu=answer)  # AE-7
        self._establish(answer)

    def associate_reject(self, answer: AssociateRJ, now: float) -> None:
        """Issue the A-ASSOCIATE response primitive, reject (Evt8)."""
        self._now = now
        self._perform(Event.ASSOCIATE_REJECT, pdu=answer)  # AE-8

    def p_data_request(self, pdus: Iterable[PDataTF]) -> None:
        """Issue the P-DATA request primitive (Evt9)."""
        if self.state is State.STA6:  # DT-1, past the table
            self._out += [pdu.encode() for pdu in pdus]
            return
        for pdu in pdus:
            self._perform(Event.P_DATA_REQUEST, pdu=pdu)  # AR-7

    def release_request(self) -> None:
        """Issue the A-RELEASE request primitive (Evt11)."""
        self._perform(Event.RELEASE_REQUEST, pdu=ReleaseRQ())  # AR-1

    def release_response(self, now: float) -> None:
        """Issue the A-RELEASE response primitive (Evt14)."""
        self._now = now
        self._perform(Event.RELEASE_RESPONSE, pdu=ReleaseRP())  # AR-4, in a collision AR-9

    def abort_request(self, now: float, error: ProtocolError | None = None) -> None:
        """Issue the A-ABORT request primitive (Evt15).

        ``error``: the protocol violation that a higher layer found; the A-ABORT then has the source service provider
        and its reason (PS3.8 table 9-26). Default: None, the source is the service user.
        """
        self._now = now
        self._perform(Event.ABORT_REQUEST, error=error)  # AA-1, AA-2

    def data_to_send(self) -> bytes:
        """Return the bytes of all PDUs that wait to be sent, for a single ``send``."""
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        return data

    # -- the actions -------------------------------------------------------------------------------------------------

    def _perform(self, event: Event, *, pdu: PDU | None = None, error: ProtocolError | None = None) -> None:
        name = TRANSITIONS.get((self.state, event))
        if name is None:
            raise LocalProtocolError(f"{event.name} is not allowed in Sta{self.state}")
        action = ACTIONS[name]
        next_state = action.next_states[0]
        if event is Event.RELEASE_RQ_PDU and len(action.next_states) == 2 and not self.requestor:  # AR-8
            next_state = action.next_states[1]
        for effect in action.effects:
            if effect is Effect.JUDGE:
                next_state = self._judge(pdu, action.next_states)
            else:
                self._apply(effect, event, pdu, error)
        self.state = next_state

    def _judge(self, pdu: PDU | None, next_states: tuple[State, ...]) -> State:
        # AE-6: the provider rejects another protocol version (PS3.8 9.3.2); AE titles and contexts are up to its user.
        assert isinstance(pdu, AssociateRQ)  # the table pairs AE-6 with this PDU alone
        if pdu.protocol_version & _VERSION_1:
            self._request = pdu
            self._indications.append(AssociateIndication(pdu))
            return next_states[0]
        self._out.append(AssociateRJ(1, 2, 2).encode())
        self.artim_deadline = self._now + self.artim_timeout
        return next_states[1]

    def _apply(self, effect: Effect, event: Event, pdu: PDU | None, error: ProtocolError | None) -> None:
        if effect is Effect.SEND and pdu is not None:  # AE-2, AE-7, AE-8, DT-1, AR-1, AR-4, AR-7, AR-9
            self._out.append(pdu.encode())
        elif effect is Effect.INDICATE:
            self._indicate(pdu)
        elif effect is Effect.SEND_USER_ABORT:  # AA-1
            self._out.append(_abort_for(error).encode())
        elif effect is Effect.SEND_PROVIDER_ABORT:  # AA-7, AA-8
            self._out.append(_abort_for(error or _unexpected(event, self.state)).encode())
        elif effect is Effect.INDICATE_PROVIDER_ABORT:  # AA-4, AA-8
            self._indications.append(ProviderAbortIndication(None, error or _unexpected(event, self.state)))
        elif effect is Effect.START_ARTIM:  # AE-5, AE-8, AR-4, AA-1, AA-8
            self.artim_deadline = self._now + self.artim_timeout
        elif effect is Effect.STOP_ARTIM:  # AE-6, AR-5, AA-2, AA-5
            self.artim_deadline = None
        elif effect is Effect.CLOSE:  # AE-4, AR-3, AA-2, AA-3
            self.closed = True

    def _indicate(self, pdu: PDU | None) -> None:
        if isinstance(pdu, PDataTF):  # DT-2, AR-6
            self._indications += [self._fragment(one.context_id, one.control, one.data) for one in pdu.values]
        elif isinstance(pdu, AssociateAC | AssociateRJ):  # AE-3, AE-4
            self._indications.append(AssociateConfirmation(pdu))
            if isinstance(pdu, AssociateAC):
                self._establish(pdu)
        elif isinstance(pdu, ReleaseRQ):  # AR-2, AR-8
            self._indications.append(ReleaseIndication(self.state is State.STA7))
        elif isinstance(pdu, ReleaseRP):  # AR-3, AR-10
            self._indications.append(ReleaseConfirmation())
        elif isinstance(pdu, Abort):  # AA-3
            user = pdu.source == AbortSource.SERVICE_USER
            self._indications.append(AbortIndication(pdu) if user else ProviderAbortIndication(pdu))

    def _establish(self, answer: AssociateAC) -> None:
        accepted = (c.context_id for c in answer.contexts if c.result == ContextResult.ACCEPTANCE)
        self.contexts = frozenset(accepted)
        peer = answer if self.requestor else self._request
        if peer is not None:
            self.peer_maximum_length = peer.user_information.maximum_length or 0

    def _take_indications(self) -> list[Indication]:
        indications, self._indications = self._indications, []
        return indications


def _abort_for(error: ProtocolError | None) -> Abort:
    if error is None:
        return Abort(AbortSource.SERVICE_USER, AbortReason.NOT_SPECIFIED)
    return Abort(AbortSource.SERVICE_PROVIDER, error.abort_reason)


def _unexpected(event: Event, state: State) -> ProtocolError | None:
    if event is Event.TRANSPORT_CLOSED:
        return None
    return ProtocolError(
        f"{event.name.replace('_', '-')} is not allowed in Sta{state}", abort_reason=AbortReason.UNEXPECTED_PDU
    )
